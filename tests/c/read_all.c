/* Reads everything in a database in one call, for judges that read thousands of them (`make reader`, tests/reading.py): each table by
 * its primary index with every value, then by each other index, entry for entry against the rows. Links to no engine: the caller
 * gives the functions of the library that it has loaded. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/esent.h"
#include "include/pyjet.h"

#define PUBLIC __attribute__((visibility("default")))
#define TRY(call) do { JET_ERR e_ = (call); if (e_ < 0) return e_; } while (0)
enum { BATCH = 64, COLUMNS = 64, INDEXES = 32, NAME = 64 };
#define NO_VALUE UINT32_MAX

struct calls {
    __typeof__(&JetBeginTransaction) begin;
    __typeof__(&JetCommitTransaction) commit;
    __typeof__(&JetOpenTableA) open;
    __typeof__(&JetCloseTable) close;
    __typeof__(&JetSetCurrentIndexA) set_index;
    __typeof__(&JetMove) move;
    __typeof__(&PyjetFetchRows) fetch;
    __typeof__(&PyjetVisitTables) tables;
    __typeof__(&PyjetVisitColumns) columns;
    __typeof__(&PyjetVisitIndexes) indexes;
};

struct buffer {
    char *at;
    size_t n, room;
};

struct found {
    struct buffer bytes;
    char wrong[512]; /* what disagrees; empty: nothing */
};

/* A row as the primary index shows it: its bookmark and its short values stand in `rows`. */
struct row {
    size_t bookmark, values, end;
    uint64_t null; /* a bit for each column */
    bool seen;     /* by the index that is being read */
};

struct column {
    char name[NAME];
    JET_COLUMNID id;
    JET_COLTYP type;
    uint32_t cp;
    bool is_long;
};

struct reading {
    const struct calls *calls;
    JET_SESID ses;
    JET_DBID dbid;
    struct found *found;
    JET_TABLEID cursor;
    const char *table;
    struct column column[COLUMNS];
    uint32_t columns;
    char index[INDEXES][NAME];
    JET_GRBIT grbit[INDEXES];
    uint64_t segments[INDEXES]; /* a bit for each column; first[]: the first */
    uint64_t first[INDEXES];
    uint32_t indexes;
    struct row *row;
    size_t rows, row_room;
    struct buffer rows_bytes, scratch;
    char (*tables)[NAME];
    size_t table_count;
};

static void put(struct buffer *b, const void *p, size_t n)
{
    if (b->n + n > b->room) {
        size_t room = (b->n + n) * 2;
        char *more = realloc(b->at, room);
        if (more == NULL)
            abort();
        b->at = more;
        b->room = room;
    }
    if (n != 0)
        memcpy(b->at + b->n, p, n);
    b->n += n;
}

static void put32(struct buffer *b, uint32_t value) { put(b, &value, sizeof value); }

static void put_name(struct buffer *b, const char *name)
{
    put32(b, (uint32_t)strlen(name));
    put(b, name, strlen(name));
}

static void put_cell(struct buffer *b, const PYJET_CELL *cell)
{
    put32(b, cell->null ? NO_VALUE : cell->cb);
    if (!cell->null)
        put(b, cell->pv, cell->cb);
}

/* The first disagreement is kept. */
__attribute__((format(printf, 2, 3))) static void wrong(struct reading *r, const char *format, ...)
{
    if (r->found->wrong[0] != '\0')
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(r->found->wrong, sizeof r->found->wrong, format, args);
    va_end(args);
}

static void wrong_entry(struct reading *r, const char *index, const char *what, const char *bookmark, size_t n)
{
    char hex[2 * 32 + 1] = "";
    for (size_t i = 0; i < n && i < 32; i++)
        sprintf(hex + 2 * i, "%02x", (unsigned char)bookmark[i]);
    wrong(r, "%s.%s disagrees: %s, bookmark %s", r->table, index, what, hex);
}

/* ---- what there is ---- */

static JET_ERR see_table(void *context, const PYJET_TABLE *table)
{
    struct reading *r = context;
    if (strncmp(table->name, "MSys", 4) == 0)
        return JET_errSuccess;
    void *more = realloc(r->tables, (r->table_count + 1) * sizeof *r->tables);
    if (more == NULL)
        abort();
    r->tables = more;
    snprintf(r->tables[r->table_count++], NAME, "%s", table->name);
    return JET_errSuccess;
}

static JET_ERR see_column(void *context, const PYJET_COLUMN *c)
{
    struct reading *r = context;
    if (r->columns == COLUMNS)
        return JET_errTooManyColumns;
    struct column *column = &r->column[r->columns++];
    snprintf(column->name, NAME, "%s", c->name);
    column->id = c->columnid;
    column->type = c->coltyp;
    column->cp = c->cp;
    column->is_long = c->coltyp == JET_coltypLongBinary || c->coltyp == JET_coltypLongText;
    return JET_errSuccess;
}

static uint64_t bit_of(const struct reading *r, JET_COLUMNID id)
{
    for (uint32_t i = 0; i < r->columns; i++)
        if (r->column[i].id == id)
            return (uint64_t)1 << i;
    return 0;
}

static JET_ERR see_index(void *context, const PYJET_INDEX *x)
{
    struct reading *r = context;
    if (x->grbit & JET_bitIndexPrimary)
        return JET_errSuccess;
    if (r->indexes == INDEXES)
        return JET_errTooManyIndexes;
    uint32_t i = r->indexes++;
    snprintf(r->index[i], NAME, "%s", x->name);
    r->grbit[i] = x->grbit;
    r->segments[i] = 0;
    for (uint32_t s = 0; s < x->cSegments; s++)
        r->segments[i] |= bit_of(r, x->segment[s]);
    r->first[i] = bit_of(r, x->segment[0]);
    return JET_errSuccess;
}

/* ---- by the primary index ---- */

/* The values that an index pass shows again: all but the long ones. */
static void put_short(struct buffer *b, const struct reading *r, const PYJET_CELL *cells, bool with_long)
{
    for (uint32_t c = 0, at = 0; c < r->columns; c++) {
        if (!r->column[c].is_long)
            put_cell(b, &cells[at]);
        at += with_long || !r->column[c].is_long;
    }
}

static struct row *new_row(struct reading *r)
{
    if (r->rows == r->row_room) {
        r->row_room = r->row_room * 2 + 256;
        struct row *more = realloc(r->row, r->row_room * sizeof *more);
        if (more == NULL)
            abort();
        r->row = more;
    }
    return &r->row[r->rows++];
}

static int compare(const char *a, size_t a_n, const char *b, size_t b_n)
{
    int by = memcmp(a, b, a_n < b_n ? a_n : b_n);
    return by != 0 ? by : (a_n > b_n) - (a_n < b_n);
}

static int compare_bookmark(const struct reading *r, const struct row *row, const PYJET_CELL *bookmark)
{
    return compare(r->rows_bytes.at + row->bookmark, row->values - row->bookmark, bookmark->pv, bookmark->cb);
}

static JET_ERR keep_row(struct reading *r, const PYJET_CELL *cells, const PYJET_CELL *bookmark)
{
    if (r->rows != 0 && compare_bookmark(r, &r->row[r->rows - 1], bookmark) >= 0)
        wrong_entry(r, "primary", "rows out of order", bookmark->pv, bookmark->cb);
    struct row *row = new_row(r);
    *row = (struct row){.bookmark = r->rows_bytes.n};
    put(&r->rows_bytes, bookmark->pv, bookmark->cb);
    row->values = r->rows_bytes.n;
    put_short(&r->rows_bytes, r, cells, true);
    row->end = r->rows_bytes.n;
    for (uint32_t c = 0; c < r->columns; c++) {
        if (cells[c].values > 1)
            return JET_errFeatureNotAvailable;
        row->null |= (uint64_t)(cells[c].null != 0) << c;
        put_cell(&r->found->bytes, &cells[c]);
    }
    return JET_errSuccess;
}

static JET_ERR check_entry(struct reading *r, const char *index, const PYJET_CELL *cells, const PYJET_CELL *bookmark)
{
    size_t low = 0, high = r->rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_bookmark(r, &r->row[middle], bookmark) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == r->rows || compare_bookmark(r, &r->row[low], bookmark) != 0) {
        wrong_entry(r, index, "an entry of a row that is not there", bookmark->pv, bookmark->cb);
        return JET_errSuccess;
    }
    struct row *row = &r->row[low];
    if (row->seen)
        wrong_entry(r, index, "two entries of a row", bookmark->pv, bookmark->cb);
    row->seen = true;
    r->scratch.n = 0;
    put_short(&r->scratch, r, cells, false);
    if (compare(r->scratch.at, r->scratch.n, r->rows_bytes.at + row->values, row->end - row->values) != 0)
        wrong_entry(r, index, "an entry whose row shows other values", bookmark->pv, bookmark->cb);
    return JET_errSuccess;
}

/* From the first row to the last; index NULL: the primary one, whose rows are kept. */
static JET_ERR walk(struct reading *r, const char *index)
{
    JET_COLUMNID ids[COLUMNS];
    uint32_t n = 0;
    for (uint32_t c = 0; c < r->columns; c++)
        if (index == NULL || !r->column[c].is_long)
            ids[n++] = r->column[c].id;
    static _Thread_local PYJET_CELL cells[BATCH * COLUMNS], bookmarks[BATCH];
    JET_ERR err = r->calls->move(r->ses, r->cursor, JET_MoveFirst, 0);
    if (err == JET_errNoCurrentRecord)
        return JET_errSuccess;
    TRY(err);
    for (;;) {
        uint32_t count = BATCH;
        TRY(r->calls->fetch(r->ses, r->cursor, ids, n, 0, cells, bookmarks, &count));
        if (count == 0)
            return JET_errSuccess;
        for (uint32_t i = 0; i < count; i++)
            TRY(index == NULL ? keep_row(r, &cells[i * n], &bookmarks[i]) : check_entry(r, index, &cells[i * n], &bookmarks[i]));
    }
}

/* ---- by the others ---- */

static bool left_out(const struct reading *r, uint32_t index, const struct row *row)
{
    uint64_t null = row->null & r->segments[index];
    bool all = null == r->segments[index];
    return ((r->grbit[index] & JET_bitIndexIgnoreNull) && all) || ((r->grbit[index] & JET_bitIndexIgnoreAnyNull) && null != 0) ||
           ((r->grbit[index] & JET_bitIndexIgnoreFirstNull) && (null & r->first[index]) != 0 && !all); /* a key of NULLs is another rule's */
}

static JET_ERR check_index(struct reading *r, uint32_t index)
{
    for (size_t i = 0; i < r->rows; i++)
        r->row[i].seen = false;
    TRY(r->calls->set_index(r->ses, r->cursor, r->index[index]));
    TRY(walk(r, r->index[index]));
    for (size_t i = 0; i < r->rows; i++) {
        const struct row *row = &r->row[i];
        if (row->seen == left_out(r, index, row))
            wrong_entry(r, r->index[index], row->seen ? "an entry of a row that it leaves out" : "a row without an entry",
                        r->rows_bytes.at + row->bookmark, row->values - row->bookmark);
    }
    return JET_errSuccess;
}

/* ---- a table, all tables ---- */

static JET_ERR read_opened(struct reading *r)
{
    struct buffer *to = &r->found->bytes;
    r->columns = r->indexes = 0;
    r->rows = r->rows_bytes.n = 0;
    TRY(r->calls->columns(r->ses, r->cursor, see_column, r));
    TRY(r->calls->indexes(r->ses, r->cursor, see_index, r));
    size_t start = to->n;
    put32(to, 0); /* bytes of the table from here on, and its rows; known below */
    put32(to, 0);
    put_name(to, r->table);
    put32(to, r->columns);
    for (uint32_t c = 0; c < r->columns; c++) {
        put32(to, r->column[c].type);
        put32(to, r->column[c].cp);
        put_name(to, r->column[c].name);
    }
    put32(to, r->indexes);
    for (uint32_t i = 0; i < r->indexes; i++)
        put_name(to, r->index[i]);
    TRY(walk(r, NULL));
    uint32_t size[2] = {(uint32_t)(to->n - start), (uint32_t)r->rows};
    memcpy(to->at + start, size, sizeof size);
    for (uint32_t i = 0; i < r->indexes; i++)
        TRY(check_index(r, i));
    return JET_errSuccess;
}

static JET_ERR read_table(struct reading *r)
{
    TRY(r->calls->open(r->ses, r->dbid, r->table, NULL, 0, 0, &r->cursor));
    JET_ERR err = read_opened(r);
    JET_ERR closed = r->calls->close(r->ses, r->cursor);
    return err < 0 ? err : closed;
}

static JET_ERR read_tables(struct reading *r)
{
    TRY(r->calls->tables(r->ses, r->dbid, see_table, r));
    for (size_t i = 0; i < r->table_count; i++) {
        r->table = r->tables[i];
        TRY(read_table(r));
    }
    return JET_errSuccess;
}

/* All in one snapshot. *found must be zeroed; reader_free takes it back, whatever came. */
PUBLIC JET_ERR reader_read(const struct calls *calls, JET_SESID ses, JET_DBID dbid, struct found *found);
PUBLIC void reader_free(struct found *found);

JET_ERR reader_read(const struct calls *calls, JET_SESID ses, JET_DBID dbid, struct found *found)
{
    struct reading *r = calloc(1, sizeof *r);
    if (r == NULL)
        abort();
    r->calls = calls;
    r->ses = ses;
    r->dbid = dbid;
    r->found = found;
    JET_ERR err = calls->begin(ses);
    if (err >= 0) {
        err = read_tables(r);
        JET_ERR ended = calls->commit(ses, 0);
        err = err < 0 ? err : ended;
    }
    free(r->row);
    free(r->rows_bytes.at);
    free(r->scratch.at);
    free(r->tables);
    free(r);
    return err;
}

void reader_free(struct found *found)
{
    free(found->bytes.at);
    found->bytes = (struct buffer){0};
}
