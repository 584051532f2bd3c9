#include "api/api_private.h"

/* Rows in batches, for callers whose own loop would cost more than the work: fetch, insert, get by key. */

#define BATCH_MOST 256u

struct column_plan { /* looked up once a batch */
    colid_t id;
    bool multi_valued;
};

static err_t plan_columns(struct api_cursor *c, const JET_COLUMNID *ids, uint32_t count, struct column_plan **out)
{
    void *memory;
    struct table_desc *desc = cursor_table(c->cursor);
    TRY_RETURN(arena_take(&c->arena, count * (uint32_t)sizeof **out, &memory));
    *out = memory;
    err_t err = JET_errSuccess;
    os_rwlock_read(&desc->lock);
    for (uint32_t i = 0; i < count && err >= 0; i++) {
        const struct column_def *def = record_column(&desc->layout, ids[i]);
        if (def == NULL)
            err = RAISE(JET_errColumnNotFound);
        else
            (*out)[i] = (struct column_plan){ids[i], (def->flags & COLUMN_MULTI_VALUED) != 0};
    }
    os_rwlock_release(&desc->lock);
    return err;
}

static err_t keep(struct api_cursor *c, struct slice bytes, const void **out)
{
    void *memory;
    TRY_RETURN(arena_take(&c->arena, bytes.n, &memory));
    if (bytes.n > 0)
        memcpy(memory, bytes.p, bytes.n);
    *out = memory;
    return JET_errSuccess;
}

static err_t count_values(struct api_cursor *c, struct slice record, colid_t id, uint32_t *count)
{
    struct table_desc *desc = cursor_table(c->cursor);
    os_rwlock_read(&desc->lock);
    err_t err = record_count_values(&desc->layout, record, id, count);
    os_rwlock_release(&desc->lock);
    return err;
}

static err_t fill_value(struct api_cursor *c, struct slice record, colid_t id, uint32_t sequence, PYJET_CELL *cell)
{
    struct slice data;
    bool null;
    TRY_RETURN(cursor_record_value(c->cursor, record, id, sequence, &c->scratch, &data, &null));
    if (null) {
        *cell = (PYJET_CELL){.null = 1};
        return JET_errSuccess;
    }
    *cell = (PYJET_CELL){.pv = data.p, .cb = data.n};
    bool in_scratch = c->scratch.p != NULL && data.p >= c->scratch.p && data.p < c->scratch.p + c->scratch.room;
    if (in_scratch || data.p == NULL)
        TRY_RETURN(keep(c, data, &cell->pv)); /* never NULL, so that an empty value differs from none */
    return JET_errSuccess;
}

static err_t fill_cell(struct api_cursor *c, struct slice record, const struct column_plan *plan, PYJET_CELL *cell)
{
    uint32_t count = 1;
    void *memory;
    if (plan->multi_valued)
        TRY_RETURN(count_values(c, record, plan->id, &count));
    if (count <= 1) {
        TRY_RETURN(fill_value(c, record, plan->id, 1, cell));
        cell->values = cell->null ? 0 : 1;
        return JET_errSuccess;
    }
    TRY_RETURN(arena_take(&c->arena, count * (uint32_t)sizeof *cell, &memory));
    *cell = (PYJET_CELL){.pv = memory, .cb = count * (uint32_t)sizeof *cell, .values = count};
    for (uint32_t i = 0; i < count; i++)
        TRY_RETURN(fill_value(c, record, plan->id, i + 1, (PYJET_CELL *)memory + i));
    return JET_errSuccess;
}

static err_t fill_row(struct api_cursor *c, struct slice record, const struct column_plan *plan, uint32_t count, PYJET_CELL *cells)
{
    for (uint32_t j = 0; j < count; j++)
        TRY_RETURN(fill_cell(c, record, &plan[j], &cells[j]));
    return JET_errSuccess;
}

static err_t check_columns(const JET_COLUMNID *ids, const PYJET_CELL *cells, uint32_t count)
{
    return count > 0 && (ids == NULL || cells == NULL) ? api_invalid("columns are counted but not given") : JET_errSuccess;
}

static err_t fetch(struct api_cursor *c, const JET_COLUMNID *ids, uint32_t count, bool backwards, PYJET_CELL *cells, PYJET_CELL *bookmarks,
                   uint32_t *rows_wanted)
{
    struct column_plan *plan;
    void *memory;
    int got = 0;
    uint32_t most = *rows_wanted < BATCH_MOST ? *rows_wanted : BATCH_MOST;
    *rows_wanted = 0;
    TRY_RETURN(check_columns(ids, cells, count));
    arena_reset(&c->arena);
    TRY_RETURN(plan_columns(c, ids, count, &plan));
    TRY_RETURN(arena_take(&c->arena, most * (uint32_t)sizeof(struct cursor_row), &memory));
    struct cursor_row *rows = memory;
    if (most == 0)
        return JET_errSuccess;
    err_t err = cursor_next_batch(c->cursor, backwards, rows, (int)most, &got);
    if (err == JET_errNoCurrentRecord)
        return JET_errSuccess; /* the end */
    TRY_RETURN(err);
    for (int i = 0; i < got; i++) {
        TRY_RETURN(fill_row(c, rows[i].record, plan, count, cells + (size_t)i * count));
        if (bookmarks != NULL)
            bookmarks[i] = (PYJET_CELL){.pv = rows[i].bookmark.p, .cb = rows[i].bookmark.n, .values = 1};
    }
    *rows_wanted = (uint32_t)got;
    return JET_errSuccess;
}

JET_ERR PyjetFetchRows(JET_SESID sesid, JET_TABLEID tableid, const JET_COLUMNID *columns, uint32_t cColumns, int32_t backwards,
                       PYJET_CELL *cells, PYJET_CELL *bookmarks, uint32_t *pcRows)
{
    struct api_cursor *c;
    if (pcRows == NULL)
        return api_invalid("the number of rows is needed");
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = fetch(c, columns, cColumns, backwards != 0, cells, bookmarks, pcRows);
    api_leave_cursor(c);
    return err;
}

/* ---- insert ---- */

struct inserting {
    struct api_cursor *c;
    const JET_COLUMNID *ids;
    const PYJET_CELL *cells;
    uint32_t count;
    void *bookmark;
    uint32_t room;
    uint32_t *actual;
};

static err_t set_value(const struct inserting *i, JET_COLUMNID id, uint32_t sequence, const PYJET_CELL *cell)
{
    bool null = cell->null != 0;
    JET_GRBIT grbit = !null && cell->cb == 0 ? JET_bitSetZeroLength : 0;
    if (cell->pv == NULL && !null && cell->cb > 0)
        return api_invalid("bytes are counted but not given");
    return cursor_set(i->c->cursor, id, sequence, 0, null ? SLICE_EMPTY : SLICE(cell->pv, cell->cb), null, grbit);
}

static err_t set_cells(const struct inserting *i)
{
    for (uint32_t j = 0; j < i->count; j++) {
        const PYJET_CELL *cell = &i->cells[j];
        if (cell->pv == NULL && !cell->null)
            continue;
        if (cell->values <= 1 || cell->null) {
            TRY_RETURN(set_value(i, i->ids[j], 1, cell));
            continue;
        }
        const PYJET_CELL *values = cell->pv;
        for (uint32_t v = 0; v < cell->values; v++)
            TRY_RETURN(set_value(i, i->ids[j], v + 1, &values[v]));
    }
    return JET_errSuccess;
}

static err_t set_and_update(const struct inserting *i)
{
    struct slice bookmark;
    TRY_RETURN(set_cells(i));
    TRY_RETURN(cursor_update(i->c->cursor, &bookmark));
    if (i->actual != NULL)
        *i->actual = bookmark.n;
    if (i->bookmark == NULL)
        return JET_errSuccess;
    memcpy(i->bookmark, bookmark.p, bookmark.n < i->room ? bookmark.n : i->room);
    return bookmark.n <= i->room ? JET_errSuccess : JET_wrnBufferTruncated;
}

static err_t insert(void *context, struct trx *trx)
{
    (void)trx;
    struct inserting *i = context;
    TRY_RETURN(cursor_prepare(i->c->cursor, JET_prepInsert));
    err_t err = set_and_update(i);
    if (err >= 0)
        return err;
    struct err_origin origin = *err_last();
    if (cursor_prepared(i->c->cursor) != PREP_NONE) {
        err_t cancelled = cursor_prepare(i->c->cursor, JET_prepCancel);
        if (cancelled < 0)
            return cancelled;
    }
    err_restore(&origin);
    return err;
}

JET_ERR PyjetInsertRow(JET_SESID sesid, JET_TABLEID tableid, const JET_COLUMNID *columns, const PYJET_CELL *cells, uint32_t cColumns,
                       void *bookmark, uint32_t cbBookmark, uint32_t *pcbActual)
{
    struct inserting i = {NULL, columns, cells, cColumns, bookmark, cbBookmark, pcbActual};
    TRY_RETURN(api_enter_update(sesid, tableid, &i.c));
    err_t err = check_columns(columns, cells, cColumns);
    if (err >= 0)
        err = session_atomically(i.c->session->session, insert, &i);
    api_leave_cursor(i.c);
    return err;
}

struct inserting_rows {
    struct api_cursor *c;
    const JET_COLUMNID *ids;
    const PYJET_CELL *cells;
    const uint32_t *starts;
    uint32_t count, done;
};

static err_t insert_rows(void *context, struct trx *trx)
{
    struct inserting_rows *r = context;
    for (; r->done < r->count; r->done++) {
        session_give_way(r->c->session->session); /* a freeze waits for a row, not for all of them */
        uint32_t first = r->starts[r->done], end = r->starts[r->done + 1];
        struct inserting i = {.c = r->c, .ids = r->ids + first, .cells = r->cells + first, .count = end - first};
        TRY_RETURN(insert(&i, trx));
    }
    return JET_errSuccess;
}

static err_t check_rows(const struct inserting_rows *r)
{
    if (r->count == 0)
        return JET_errSuccess;
    if (r->starts == NULL)
        return api_invalid("rows are counted but not given");
    for (uint32_t i = 0; i < r->count; i++)
        if (r->starts[i] > r->starts[i + 1])
            return api_invalid("a row ends before it starts");
    return check_columns(r->ids, r->cells, r->starts[r->count]);
}

JET_ERR PyjetInsertRows(JET_SESID sesid, JET_TABLEID tableid, const JET_COLUMNID *columns, const PYJET_CELL *cells, const uint32_t *starts,
                        uint32_t cRows, uint32_t *pcInserted)
{
    struct inserting_rows r = {NULL, columns, cells, starts, cRows, 0};
    if (pcInserted != NULL)
        *pcInserted = 0;
    TRY_RETURN(api_enter_update(sesid, tableid, &r.c));
    err_t err = check_rows(&r);
    if (err >= 0 && cRows > 0)
        err = session_atomically(r.c->session->session, insert_rows, &r);
    if (pcInserted != NULL)
        *pcInserted = r.done;
    api_leave_cursor(r.c);
    return err;
}

/* ---- get by key ---- */

static err_t seek_key(struct api_cursor *c, const PYJET_CELL *key, uint32_t count)
{
    if (count == 0)
        return JET_errSuccess; /* the row the cursor stands on */
    if (key == NULL)
        return api_invalid("key values are counted but not given");
    for (uint32_t i = 0; i < count; i++) {
        if (key[i].pv == NULL && key[i].cb > 0 && !key[i].null)
            return api_invalid("bytes are counted but not given");
        JET_GRBIT grbit = (i == 0 ? JET_bitNewKey : 0) | (!key[i].null && key[i].cb == 0 ? JET_bitKeyDataZeroLength : 0);
        TRY_RETURN(cursor_make_key(c->cursor, SLICE(key[i].pv, key[i].null ? 0 : key[i].cb), key[i].null != 0, grbit));
    }
    return cursor_seek(c->cursor, JET_bitSeekEQ);
}

static err_t get_row(struct api_cursor *c, const PYJET_CELL *key, uint32_t key_count, const JET_COLUMNID *ids, uint32_t count, PYJET_CELL *cells,
                     PYJET_CELL *bookmark)
{
    struct column_plan *plan;
    struct slice record, where;
    TRY_RETURN(check_columns(ids, cells, count));
    arena_reset(&c->arena);
    TRY_RETURN(plan_columns(c, ids, count, &plan));
    TRY_RETURN(seek_key(c, key, key_count));
    if (bookmark != NULL) {
        TRY_RETURN(cursor_bookmark(c->cursor, &where));
        *bookmark = (PYJET_CELL){.cb = where.n, .values = 1};
        TRY_RETURN(keep(c, where, &bookmark->pv));
    }
    TRY_RETURN(cursor_record(c->cursor, &record));
    return fill_row(c, record, plan, count, cells);
}

JET_ERR PyjetGetRow(JET_SESID sesid, JET_TABLEID tableid, const PYJET_CELL *key, uint32_t cKey, const JET_COLUMNID *columns, uint32_t cColumns,
                    PYJET_CELL *cells, PYJET_CELL *bookmark)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = get_row(c, key, cKey, columns, cColumns, cells, bookmark);
    api_leave_cursor(c);
    return err;
}
