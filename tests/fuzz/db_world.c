#include "db_world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "made.h"

#define CHANGES_MOST 8

/* ---- making ---- */

static const struct {
    const char *name;
    JET_COLTYP coltyp;
    JET_GRBIT grbit;
} columns[] = {
    {"id", JET_coltypLong, JET_bitColumnNotNULL},
    {"n", JET_coltypLongLong, 0},
    {"t", JET_coltypText, 0},
    {"u", JET_coltypText, 0},
    {"b", JET_coltypBinary, 0},
    {"lb", JET_coltypLongBinary, 0},
    {"lt", JET_coltypLongText, 0},
    {"m", JET_coltypText, JET_bitColumnTagged | JET_bitColumnMultiValued},
    {"g", JET_coltypGUID, 0},
};
#define COLUMNS (sizeof columns / sizeof columns[0])

static void add_rows(JET_SESID ses, JET_TABLEID table, const JET_COLUMNID *ids, uint32_t count, int end)
{
    static uint8_t value[20000];
    for (int row = 0; row < end; row++) {
        OK(JetBeginTransaction(ses));
        OK(JetPrepareUpdate(ses, table, JET_prepInsert));
        for (uint32_t i = 0; i < count; i++) {
            uint32_t n = columns[i].coltyp == JET_coltypLong ? 4 : columns[i].coltyp == JET_coltypLongLong ? 8 : columns[i].coltyp == JET_coltypGUID ? 16 : (uint32_t)(row * 5 + 8) % 60;
            if (i == 5 || i == 6)
                n = row % 5 == 0 ? 6000u + (uint32_t)row : 30u;
            for (uint32_t k = 0; k < n; k++)
                value[k] = (uint8_t)('a' + (row + (int)(k * (i + 1))) % 24);
            if (i == 0)
                store_u32(value, (uint32_t)row);
            if (i > 0 && (row + (int)i) % 6 == 0)
                continue;
            OK(JetSetColumn(ses, table, ids[i], value, n, 0, NULL));
            if (i == 7) {
                JET_SETINFO second = {.cbStruct = sizeof second, .itagSequence = 0};
                OK(JetSetColumn(ses, table, ids[i], value + 1, n, 0, &second));
            }
        }
        OK(JetUpdate(ses, table, NULL, 0, NULL));
        OK(JetCommitTransaction(ses, 0));
    }
}

static JET_TABLEID create(JET_SESID ses, JET_DBID db, const char *name, uint32_t count, JET_COLUMNID *ids)
{
    JET_TABLEID table;
    OK(JetCreateTable(ses, db, name, 1, 80, &table));
    for (uint32_t i = 0; i < count; i++) {
        JET_COLUMNDEF def = {.cbStruct = sizeof def, .coltyp = columns[i].coltyp, .grbit = columns[i].grbit, .cp = (uint16_t)(i == 3 ? 1200 : 1252)};
        OK(JetAddColumn(ses, table, columns[i].name, &def, i == 4 ? "deflt" : NULL, i == 4 ? 5 : 0, &ids[i]));
    }
    OK(JetCreateIndex(ses, table, "pk", JET_bitIndexPrimary, "+id\0", 5, 80));
    OK(JetCreateIndex(ses, table, "by_n", 0, "-n\0+t\0", 7, 80));
    if (count < COLUMNS)
        return table;
    OK(JetCreateIndex(ses, table, "by_m", 0, "+m\0", 4, 80));
    OK(JetCreateIndex(ses, table, "by_u", JET_bitIndexIgnoreNull, "+u\0", 4, 80));
    return table;
}

static void copy_folder(const char *from, const char *to)
{
    char command[3000];
    snprintf(command, sizeof command, "cp -r '%s' '%s'", from, to);
    FUZZ_ENFORCE(system(command) == 0);
}

static void settle(JET_INSTANCE *inst, const char *dir)
{
    OK(JetSetSystemParameter(inst, 0, JET_paramSystemPath, 0, dir));
    OK(JetSetSystemParameter(inst, 0, JET_paramLogFilePath, 0, dir));
    OK(JetSetSystemParameter(inst, 0, JET_paramTempPath, 0, dir));
    OK(JetSetSystemParameter(inst, 0, JET_paramLogFileSize, 64, NULL));
    OK(JetSetSystemParameter(inst, 0, JET_paramCreatePathIfNotExist, 1, NULL));
    OK(JetSetSystemParameter(inst, 0, JET_paramDbExtensionSize, 16, NULL));
}

static int world_fd = -1;
static uint8_t *world_image;
static uint32_t world_pages;

static void load_world(void)
{
    size_t n;
    const char *path = fuzz_path("world/a.edb");
    world_image = fuzz_read(path, &n);
    world_fd = open(path, O_RDWR | O_CLOEXEC);
    FUZZ_ENFORCE(world_fd >= 0 && n % WORLD_PAGE == 0 && n > 20 * WORLD_PAGE);
    world_pages = (uint32_t)(n / WORLD_PAGE);
}

void db_world_create(const char *dir, uint32_t page_size, int rows)
{
    JET_INSTANCE inst;
    JET_SESID ses;
    JET_DBID db;
    JET_COLUMNID ids[COLUMNS];
    char path[1024];
    OK(JetSetSystemParameter(NULL, 0, JET_paramDatabasePageSize, page_size, NULL));
    OK(JetCreateInstance(&inst, dir));
    settle(&inst, dir);
    OK(JetInit(&inst));
    OK(JetBeginSession(inst, &ses, NULL, NULL));
    snprintf(path, sizeof path, "%s/a.edb", dir);
    OK(JetCreateDatabase(ses, path, NULL, &db, 0));
    add_rows(ses, create(ses, db, "rows", COLUMNS, ids), ids, COLUMNS, rows);
    OK(JetTerm2(inst, JET_bitTermComplete));
}

void db_world_make(void)
{
    JET_INSTANCE inst;
    JET_SESID ses;
    JET_DBID db;
    JET_COLUMNID ids[COLUMNS];
    char path[1024];
    OK(JetSetSystemParameter(NULL, 0, JET_paramDatabasePageSize, WORLD_PAGE, NULL));
    OK(JetCreateInstance(&inst, "world"));
    settle(&inst, fuzz_path("world"));
    OK(JetInit(&inst));
    OK(JetBeginSession(inst, &ses, NULL, NULL));
    snprintf(path, sizeof path, "%s", fuzz_path("world/a.edb"));
    OK(JetCreateDatabase(ses, path, NULL, &db, 0));
    JET_TABLEID first = create(ses, db, "rows", COLUMNS, ids);
    add_rows(ses, first, ids, COLUMNS, 26);
    OK(JetBackupInstance(inst, fuzz_path("set"), 0, NULL));
    OK(JetCloseTable(ses, first));
    JET_TABLEID second = create(ses, db, "more", 3, ids);
    add_rows(ses, second, ids, 3, 6);
    OK(JetBeginTransaction(ses)); /* what recovery has to undo */
    OK(JetMove(ses, second, JET_MoveFirst, 0));
    OK(JetDelete(ses, second));
    copy_folder(fuzz_path("world"), fuzz_path("dirty"));
    OK(JetRollback(ses, 0));
    OK(JetTerm2(inst, JET_bitTermComplete));
    load_world();
}

/* ---- changing ---- */

static pgno_t changed[CHANGES_MOST];
static int changed_count;

static bool used(struct page page)
{
    return !page_is_all_zero(page) && page_line_count(page) >= 0;
}

/* The pick-th page that is wanted, round and round. */
static pgno_t choose(db_world_wants wants, uint32_t pick)
{
    pgno_t pages[4096];
    uint32_t n = 0;
    for (uint32_t at = 2; at < world_pages && n < 4096; at++) {
        struct page page = {world_image + (size_t)at * WORLD_PAGE, WORLD_PAGE};
        if (used(page) && wants(page_flags(page), page_objid(page)))
            pages[n++] = at - 1;
    }
    FUZZ_ENFORCE(n > 0);
    return pages[pick % n];
}

static void change_node(struct page page, uint32_t what, uint32_t line, uint32_t at, struct slice bytes)
{
    struct node node;
    uint8_t copy[PAGE_SIZE_MAX], key[2 * PAGE_SIZE_MAX];
    int count = page_line_count(page);
    if (count == 0 || page_validate(page) < 0)
        return;
    line %= (uint32_t)count;
    if (page_node(page, (int)line, &node) < 0)
        return;
    if (what <= 4) {
        if (node.data.n == 0 || bytes.n == 0)
            return;
        at %= node.data.n;
        uint32_t n = bytes.n < node.data.n - at ? bytes.n : node.data.n - at;
        memcpy(page.p + (node.data.p - page.p) + at, bytes.p, n);
    } else if (what == 5) {
        if (page_can_replace(page, (int)line, bytes.n))
            page_replace(page, (int)line, bytes);
    } else if (what == 6) {
        page_delete(page, (int)line);
    } else {
        struct slice whole = SLICE(key, node_key_copy(&node, key));
        uint32_t n = whole.n < bytes.n ? whole.n : bytes.n;
        memcpy(key + whole.n - n, bytes.p, n);
        struct slice data = SLICE(copy, node.data.n);
        memcpy(copy, node.data.p, node.data.n);
        bool equal;
        int to = page_search(page, whole, &equal);
        if (!equal && page_can_insert(page, whole, data))
            page_insert(page, to, whole, data, node.flags & NODE_DELETED);
    }
}

static void change_bytes(struct page page, pgno_t pgno, uint32_t what, struct input *in)
{
    uint32_t line = input_u8(in), at = input_u16(in);
    struct slice with = input_bytes(in, input_u8(in));
    if (what <= 1) {
        at %= page.size;
        memcpy(page.p + at, with.p, with.n < page.size - at ? with.n : page.size - at);
    } else {
        change_node(page, what, line, at, with);
    }
    page_seal(page, pgno);
}

void db_world_change_page(struct page page, pgno_t pgno, struct input *in)
{
    uint32_t what = input_u8(in) % 8;
    change_bytes(page, pgno, what, in);
}

static void change_one(db_world_wants wants, struct input *in)
{
    static uint8_t bytes[WORLD_PAGE] __attribute__((aligned(4096)));
    uint32_t what = input_u8(in) % 8;
    pgno_t pgno = choose(wants, input_u8(in));
    off_t offset = (off_t)(pgno + 1) * WORLD_PAGE;
    FUZZ_ENFORCE(pread(world_fd, bytes, WORLD_PAGE, offset) == WORLD_PAGE);
    change_bytes((struct page){bytes, WORLD_PAGE}, pgno, what, in);
    FUZZ_ENFORCE(pwrite(world_fd, bytes, WORLD_PAGE, offset) == WORLD_PAGE);
    changed[changed_count++] = pgno;
}

void db_world_change(db_world_wants wants, struct input *in)
{
    changed_count = 0;
    while (changed_count < CHANGES_MOST && in->n > 3)
        change_one(wants, in);
}

void db_world_restore(void)
{
    for (int i = 0; i < changed_count; i++) {
        off_t offset = (off_t)(changed[i] + 1) * WORLD_PAGE;
        FUZZ_ENFORCE(pwrite(world_fd, world_image + offset, WORLD_PAGE, offset) == WORLD_PAGE);
    }
}

/* ---- reading ---- */

#define TABLES_MOST 32
#define COLUMNS_MOST 64

/* Every byte that is handed out is read, by a call that sanitizers check. */
static uint8_t sink[1 << 16];
static void touch(const void *p, size_t n)
{
    for (size_t at = 0, some; at < n; at += some) {
        some = n - at < sizeof sink ? n - at : sizeof sink;
        memcpy(sink, (const uint8_t *)p + at, some);
    }
}

struct names {
    char name[TABLES_MOST][256];
    int count;
};
struct ids {
    JET_COLUMNID id[COLUMNS_MOST];
    uint32_t count;
};

static JET_ERR note_table(void *context, const PYJET_TABLE *t)
{
    struct names *names = context;
    if (names->count < TABLES_MOST)
        snprintf(names->name[names->count++], sizeof names->name[0], "%s", t->name);
    return 0;
}

static JET_ERR note_column(void *context, const PYJET_COLUMN *c)
{
    struct ids *ids = context;
    touch(c->pvDefault, c->cbDefault);
    if (ids->count < COLUMNS_MOST)
        ids->id[ids->count++] = c->columnid;
    return 0;
}

static JET_ERR note_index(void *context, const PYJET_INDEX *index)
{
    struct names *names = context;
    FUZZ_ENFORCE(index->cSegments <= 16);
    if (names->count < TABLES_MOST)
        snprintf(names->name[names->count++], sizeof names->name[0], "%s", index->name);
    return 0;
}

static void read_cell(const PYJET_CELL *cell)
{
    if (cell->values > 1)
        for (uint32_t i = 0; i < cell->values; i++)
            read_cell((const PYJET_CELL *)cell->pv + i);
    else if (!cell->null)
        touch(cell->pv, cell->cb);
}

static void read_rows(JET_SESID ses, JET_TABLEID table, const struct ids *ids, uint32_t most)
{
    static PYJET_CELL cells[16 * COLUMNS_MOST], bookmarks[16];
    JET_ERR err = JetMove(ses, table, JET_MoveFirst, 0);
    fuzz_error(err);
    for (uint32_t seen = 0; err >= 0 && seen < most;) {
        uint32_t n = most - seen < 16 ? most - seen : 16;
        err = PyjetFetchRows(ses, table, ids->id, ids->count, 0, cells, bookmarks, &n);
        fuzz_error(err);
        if (err < 0 || n == 0)
            break;
        FUZZ_ENFORCE(n <= 16);
        for (uint32_t i = 0; i < n * ids->count; i++)
            read_cell(&cells[i]);
        seen += n;
    }
    fuzz_error(JetMove(ses, table, JET_MoveLast, 0));
    fuzz_error(JetMove(ses, table, JET_MovePrevious, 0));
}

/* JetEnumerateColumns hands out many pieces: all are let go at once. */
static void *given[4096];
static uint32_t given_count;
static void *give_memory(void *context, void *p, uint32_t n)
{
    (void)context;
    uint32_t at = 0;
    while (at < given_count && given[at] != p)
        at++;
    if (p != NULL && n == 0) {
        FUZZ_ENFORCE(at < given_count);
        free(p);
        given[at] = given[--given_count];
        return NULL;
    }
    if (p == NULL && given_count == sizeof given / sizeof given[0])
        return NULL;
    p = realloc(p, n);
    if (p != NULL)
        given[at] = p;
    given_count += at == given_count && p != NULL;
    return p;
}

static void read_all_columns(JET_SESID ses, JET_TABLEID table)
{
    uint32_t count = 0;
    JET_ENUMCOLUMN *found = NULL;
    JET_ERR err = JetEnumerateColumns(ses, table, 0, NULL, &count, &found, give_memory, NULL, 1 << 16, 0);
    FUZZ_ENFORCE(err >= 0 || PyjetErrorName(err)[0] != 0);
    for (uint32_t i = 0; err >= 0 && i < count; i++) {
        if (found[i].err == JET_wrnColumnSingleValue) {
            touch(found[i].pvData, found[i].cbData);
            continue;
        }
        for (uint32_t k = 0; k < found[i].cEnumColumnValue; k++)
            if (found[i].rgEnumColumnValue[k].pvData != NULL)
                touch(found[i].rgEnumColumnValue[k].pvData, found[i].rgEnumColumnValue[k].cbData);
    }
    while (given_count > 0)
        free(given[--given_count]);
}

/* What asks for one row, one value, one place. */
static void read_singly(JET_SESID ses, JET_TABLEID table, const struct ids *ids)
{
    static uint8_t value[4000], mark[2000];
    uint32_t got = 0;
    JET_RECPOS place = {.cbStruct = sizeof place};
    JET_ERR err = JetMove(ses, table, JET_MoveFirst, 0);
    fuzz_error(err);
    for (int row = 0; err >= 0 && row < 3; row++) {
        for (uint32_t i = 0; i < ids->count; i++) {
            JET_RETINFO info = {.cbStruct = sizeof info, .ibLongValue = (uint32_t)row * 1500, .itagSequence = 1 + (uint32_t)row % 2};
            got = 0;
            err = JetRetrieveColumn(ses, table, ids->id[i], value, sizeof value, &got, 0, &info);
            fuzz_error(err);
            if (err >= 0)
                touch(value, got < sizeof value ? got : sizeof value);
        }
        read_all_columns(ses, table);
        if (JetGetBookmark(ses, table, mark, sizeof mark, &got) >= 0 && got <= sizeof mark)
            fuzz_error(JetGotoBookmark(ses, table, mark, got));
        fuzz_error(JetGetRecordPosition(ses, table, &place, sizeof place));
        err = JetMove(ses, table, JET_MoveNext, 0);
        fuzz_error(err);
    }
    fuzz_error(JetMove(ses, table, JET_MoveFirst, 0));
    fuzz_error(JetIndexRecordCount(ses, table, &got, 100));
    fuzz_error(JetGotoPosition(ses, table, &place));
}

static void read_table(JET_SESID ses, JET_DBID db, const char *name, const struct db_reading *reading)
{
    static struct names indexes;
    JET_TABLEID table;
    struct ids ids = {.count = 0};
    indexes.count = 0;
    JET_ERR err = JetOpenTable(ses, db, name, NULL, 0, JET_bitTableReadOnly, &table);
    fuzz_error(err);
    if (err < 0)
        return;
    fuzz_error(PyjetVisitColumns(ses, table, note_column, &ids));
    fuzz_error(PyjetVisitIndexes(ses, table, note_index, &indexes));
    read_rows(ses, table, &ids, strncmp(name, "MSys", 4) == 0 ? reading->system_rows : reading->rows);
    for (int i = 0; i < indexes.count; i++) {
        err = JetSetCurrentIndex(ses, table, indexes.name[i]);
        fuzz_error(err);
        if (err < 0)
            continue;
        read_rows(ses, table, &ids, reading->index_rows);
        fuzz_error(JetMakeKey(ses, table, "\5\0\0\0\0\0\0", 8, JET_bitNewKey));
        fuzz_error(JetSeek(ses, table, JET_bitSeekGE));
        if (reading->singly)
            read_singly(ses, table, &ids);
    }
    fuzz_error(JetCloseTable(ses, table));
}

static JET_ERR ignore(void *context, const PYJET_FINDING *finding)
{
    uint32_t *n = context;
    (void)finding;
    ++*n;
    return 0;
}

void db_world_read_file(const char *path, const struct db_reading *reading)
{
    static struct names tables;
    JET_SESID ses;
    JET_DBID db;
    uint32_t findings = 0;
    PYJET_CHECK check;
    tables.count = 0;
    JET_ERR err = PyjetOpenFile(path, PYJET_bitAllowDirty, &ses, &db);
    fuzz_error(err);
    if (err >= 0) {
        fuzz_error(PyjetVisitTables(ses, db, note_table, &tables));
        for (int i = 0; i < tables.count; i++)
            read_table(ses, db, tables.name[i], reading);
        fuzz_error(PyjetCloseFile(ses));
    }
    if (reading->check)
        fuzz_error(PyjetCheckFile(path, 0, ignore, &findings, &check));
}

void db_world_read(const struct db_reading *reading)
{
    db_world_read_file(fuzz_path("world/a.edb"), reading);
}
