/* The catalog room: a new database page by page, schema changes with commit, rollback and restart,
 * Windows files, damaged ones. */
#include <stdatomic.h>
#include <unistd.h>

#include "catalog/catalog.h"
#include "folder.h"

/* ---- a world ---- */

static char file_path[OS_PATH_MAX];
static struct log *the_log;
static struct cache *cache;
static struct versions *versions;
static struct dbfile *db;
static struct trx sweeper, sweeper_inner;
static bool logging;

struct session {
    struct trx trx, inner;
};

static struct dbfile *find_db(void *context, dbid_t dbid)
{
    (void)context;
    return dbid == 1 ? db : NULL;
}
static struct txn_databases dbs = {.find = find_db};

static void rooms_begin(uint32_t page_size)
{
    struct cache_config cc = {.page_size = page_size, .bytes_max = 16u << 20, .bytes_min = 1 << 20};
    struct log_config lc = {.log_dir = folder,
                            .system_dir = folder,
                            .base_name = "edb",
                            .file_size = 1u << 20,
                            .page_size = page_size,
                            .enabled = logging,
                            .legacy_names = 3,
                            .instance_name = "test"};
    CHECK_OK(cache_create(&cc, &cache));
    CHECK_OK(log_create(&lc, &the_log));
    CHECK_OK(log_start_new(the_log, 1));
    CHECK_OK(versions_create(64u << 20, &versions));
    trx_init(&sweeper_inner, versions, the_log, PROCID_SWEEP - 2, true, NULL);
    trx_init(&sweeper, versions, the_log, PROCID_SWEEP, true, &sweeper_inner);
}

static void rooms_end(void)
{
    trx_term(&sweeper);
    trx_term(&sweeper_inner);
    versions_destroy(versions);
    CHECK_OK(log_stop(the_log));
    log_destroy(the_log);
    cache_destroy(cache);
}

static void files_begin(void)
{
    folder_begin("catalog");
    folder_join(file_path, "c.edb");
}

static void session_open(struct session *s)
{
    static _Atomic uint16_t next = 2;
    uint16_t procid = (uint16_t)(atomic_fetch_add(&next, 2) + 2);
    trx_init(&s->inner, versions, the_log, (uint16_t)(procid + 1), true, NULL);
    trx_init(&s->trx, versions, the_log, procid, false, &s->inner);
}
static void session_close(struct session *s)
{
    trx_term(&s->trx);
    trx_term(&s->inner);
}
static void begin(struct session *s)
{
    CHECK_OK(txn_begin(&s->trx, false));
}
static void commit(struct session *s)
{
    CHECK_OK(txn_commit(&s->trx, TXN_LAZY));
}
static void rollback(struct session *s)
{
    CHECK_OK(txn_rollback(&s->trx, &dbs, 1));
}
static void sweep(void)
{
    bool worked;
    do {
        CHECK_OK(txn_sweep(&sweeper, &dbs, 1000, &worked));
    } while (worked);
}

static struct dbfile_config db_config(bool read_only)
{
    return (struct dbfile_config){
        .cache = cache, .log = the_log, .versions = versions, .dbid = 1, .read_only = read_only};
}

static void create_database(uint32_t page_size, pgno_t pages)
{
    struct session s;
    files_begin();
    rooms_begin(page_size);
    struct dbfile_config dc = db_config(false);
    CHECK_OK(dbfile_create(&dc, file_path, pages, true, &db));
    CHECK_OK(space_init(db));
    session_open(&s);
    CHECK_OK(catalog_bootstrap(db, &s.trx, &dbs, pages));
    CHECK_OK(catalog_open(db, &dbs, folder, &s.trx));
    session_close(&s);
}

static void set_clean(struct db_header *h, void *context)
{
    (void)context;
    h->state = DB_CLEAN;
    h->dbtime = atomic_load(&db->dbtime);
    h->objid_last = atomic_load(&db->objid_last);
}

static void close_database(void)
{
    sweep();
    catalog_close(db);
    sweep();
    CHECK_OK(dbfile_flush(db));
    if (!db->read_only)
        CHECK_OK(dbfile_update_header(db, set_clean, NULL));
    space_term(db);
    dbfile_close(db);
    db = NULL;
    rooms_end();
}

static void open_database(uint32_t page_size, bool read_only)
{
    struct session s;
    rooms_begin(page_size);
    struct dbfile_config dc = db_config(read_only);
    CHECK_OK(dbfile_open(&dc, file_path, &db));
    CHECK_OK(space_init(db));
    session_open(&s);
    CHECK_OK(catalog_open(db, &dbs, folder, &s.trx));
    session_close(&s);
}

static const char *judge(void)
{
    static const char *places[] = {"../shared/tools/edbcheck.py", "../../shared/tools/edbcheck.py"};
    static char path[2 * OS_PATH_MAX];
    const char *samples = getenv("PYJET_SAMPLES");
    if (samples != NULL) {
        snprintf(path, sizeof path, "%s/../tools/edbcheck.py", samples);
        if (access(path, R_OK) == 0)
            return path;
    }
    for (int i = 0; i < 2; i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

/* The closed file, as an independent checker sees it. */
static void judge_file(void)
{
    char command[5 * OS_PATH_MAX];
    const char *tool = judge();
    if (tool == NULL) {
        printf("skipped: no edbcheck.py beside the project\n");
        return;
    }
    snprintf(command, sizeof command, "python3 '%s' check '%s' > '%s/verdict' 2>&1", tool,
             file_path, folder);
    if (system(command) != 0) {
        snprintf(command, sizeof command, "head -40 '%s/verdict' 1>&2", folder);
        CHECK(system(command) >= 0);
        CHECK(!"edbcheck accepts the file");
    }
}

static void end_judged(void)
{
    close_database();
    judge_file();
    folder_end();
}

/* ---- helpers ---- */

static struct table_desc *table(struct session *s, const char *name)
{
    struct table_desc *desc;
    CHECK_OK(catalog_table(db, &s->trx, name, &desc));
    return desc;
}

static err_t try_table(struct session *s, const char *name)
{
    struct table_desc *desc;
    err_t err = catalog_table(db, &s->trx, name, &desc);
    if (err >= 0)
        catalog_release(desc);
    return err;
}

static err_t add_column(struct table_desc *desc, struct session *s, const char *name,
                        JET_COLTYP type, JET_GRBIT grbit, colid_t *id)
{
    struct catalog_column_want want = {.name = name, .coltyp = type, .grbit = grbit};
    return catalog_add_column(desc, &s->trx, &want, id);
}

static err_t add_index(struct table_desc *desc, struct session *s, const char *name,
                       const char *key, uint32_t size, JET_GRBIT grbit)
{
    struct catalog_index_want want = {.name = name, .key = key, .key_size = size, .grbit = grbit};
    return catalog_create_index(desc, &s->trx, &want);
}
#define KEY(text) text "\0", sizeof(text "\0")

static const struct table_column *column(const struct table_desc *desc, const char *name)
{
    for (uint32_t i = 0; i < desc->column_count; i++)
        if ((desc->columns[i].def.flags & COLUMN_DELETED) == 0 &&
            strcmp(desc->columns[i].name, name) == 0)
            return &desc->columns[i];
    return NULL;
}

static uint32_t owned_by_system(void)
{
    struct btree *top;
    struct space_sum sum;
    CHECK_OK(btree_open(db, 1, &top));
    CHECK_OK(space_sum(top, &sum));
    btree_close(top);
    return sum.available;
}

static err_t count_table(void *context, const struct catalog_table_info *info)
{
    CHECK(info->name[0] != 0 && info->root != 0);
    ++*(int *)context;
    return JET_errSuccess;
}

static int count_tables(struct session *s)
{
    int n = 0;
    CHECK_OK(catalog_visit_tables(db, &s->trx, count_table, &n));
    return n;
}

/* ---- names ---- */

CASE(names)
{
    char name[NAME_ROOM], utf8[3 * NAME_ROOM], back[NAME_ROOM], longest[80];
    CHECK_OK(catalog_name_from_utf8("Preis \xE2\x82\xAC \xC3\xBC  ", name));
    CHECK(strcmp(name, "Preis \x80 \xFC") == 0);
    catalog_name_to_utf8(name, utf8);
    CHECK(strcmp(utf8, "Preis \xE2\x82\xAC \xC3\xBC") == 0);
    for (int c = 0x21; c < 0x100; c++) {
        if (strchr("!.[]", c) != NULL)
            continue;
        char one[NAME_ROOM] = {(char)c};
        catalog_name_to_utf8(one, utf8);
        CHECK_OK(catalog_name_from_utf8(utf8, back));
        CHECK(strcmp(one, back) == 0);
    }
    memset(longest, 'x', sizeof longest);
    longest[64] = 0;
    CHECK_OK(catalog_name_from_utf8(longest, name));
    longest[64] = ' ';
    longest[65] = 0;
    CHECK_OK(catalog_name_from_utf8(longest, name));
    longest[64] = 'x';
    CHECK_EQ(catalog_name_from_utf8(longest, name), JET_errInvalidName);
    static const char *bad[] = {"",   " ",    " a",       "a.b",   "a!",       "[a",
                                "a]", "a\tb", "\xD0\x94", "a\xFF", "\xC0\x80", "\xE2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(catalog_name_from_utf8(bad[i], name), JET_errInvalidName);
}

/* ---- a new database ---- */

static void check_page(pgno_t pgno, objid_t objid, uint32_t flags, uint32_t external)
{
    struct page_ref ref;
    CHECK_OK(cache_latch(db, pgno, LATCH_READ, CACHE_WAIT, &ref));
    CHECK_EQ(page_objid(ref.page), objid);
    CHECK_EQ(page_flags(ref.page) &
                 (PAGE_ROOT | PAGE_SPACE_TREE | PAGE_INDEX | PAGE_LONG_VALUE | PAGE_NON_UNIQUE),
             flags);
    struct slice tag;
    tag = page_external(ref.page);
    CHECK_EQ(tag.n, external);
    cache_release(&ref);
}

static void check_space(pgno_t pgno, uint32_t cpg, uint32_t parent, uint32_t flags, uint32_t last)
{
    struct page_ref ref;
    struct slice tag;
    CHECK_OK(cache_latch(db, pgno, LATCH_READ, CACHE_WAIT, &ref));
    tag = page_external(ref.page);
    CHECK_EQ(load_u32(tag.p), cpg);
    CHECK_EQ(load_u32(tag.p + 4), parent);
    CHECK_EQ(load_u32(tag.p + 8), flags);
    CHECK_EQ(load_u32(tag.p + 12), last);
    cache_release(&ref);
}

static void new_database(uint32_t page_size)
{
    struct session s;
    create_database(page_size, 254);
    session_open(&s);
    check_page(1, 1, PAGE_ROOT, 16);
    check_space(1, 254, 0, 1, 2);
    check_page(2, 1, PAGE_ROOT | PAGE_SPACE_TREE, 16);
    check_page(3, 1, PAGE_ROOT | PAGE_SPACE_TREE, 16);
    check_page(4, 2, PAGE_ROOT, 16);
    check_space(4, 20, 1, 1, 5);
    check_page(7, 4, PAGE_ROOT | PAGE_INDEX, 16);
    check_space(7, 3, 4, 1, 8);
    check_page(8, 4, PAGE_ROOT | PAGE_INDEX | PAGE_SPACE_TREE, 16);
    check_page(10, 5, PAGE_ROOT | PAGE_INDEX, 16);
    check_space(10, 3, 4, 1, 11);
    check_page(24, 3, PAGE_ROOT, 16);
    check_space(24, 5, 1, 1, 25);
    check_page(29, 6, PAGE_ROOT, 16);
    check_space(29, 1, 1, 0, 0);
    check_page(30, 7, PAGE_ROOT, 16);
    check_space(30, 1, 1, 0, 0);
    CHECK_EQ(atomic_load(&db->objid_last), 7);
    CHECK_EQ(count_tables(&s), 4);
    struct table_desc *self = catalog_system_table(db, false);
    CHECK_EQ(self->column_count, 28);
    CHECK_EQ(self->index_count, 3);
    CHECK_EQ(column(self, "LVChunkMax")->def.record_offset, 39);
    CHECK_EQ(catalog_system_table(db, true)->index_count, 1);
    CHECK_EQ(try_table(&s, "msysOBJIDS"), 0);
    CHECK_EQ(try_table(&s, "nothing"), JET_errObjectNotFound);
    session_close(&s);
    end_judged();
}

CASE(bootstrap_4k)
{
    new_database(4096);
}
CASE(bootstrap_8k)
{
    new_database(8192);
}
CASE(bootstrap_16k)
{
    new_database(16384);
}
CASE(bootstrap_32k)
{
    new_database(32768);
}

/* ---- tables ---- */

CASE(create_commit_restart)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "Orders", 1, 0, &d));
    CHECK_EQ(d->objid, 8);
    CHECK_EQ(d->tree->root, 31);
    CHECK_OK(add_column(d, &s, "id", JET_coltypLong,
                        JET_bitColumnAutoincrement | JET_bitColumnNotNULL, &id));
    CHECK_EQ(id, 1);
    CHECK_OK(add_column(d, &s, "flag", JET_coltypBit, 0, &id));
    CHECK_OK(add_column(d, &s, "qty", JET_coltypLong, 0, &id));
    CHECK_EQ(id, 3);
    CHECK_OK(add_column(d, &s, "item", JET_coltypText, 0, &id));
    CHECK_EQ(id, 128);
    CHECK_OK(add_column(d, &s, "note", JET_coltypLongText, 0, &id));
    CHECK_EQ(id, 256);
    CHECK_OK(add_column(d, &s, "tags", JET_coltypText,
                        JET_bitColumnTagged | JET_bitColumnMultiValued, &id));
    CHECK_OK(add_index(d, &s, "pk", KEY("+id"), JET_bitIndexPrimary));
    CHECK_OK(add_index(d, &s, "by_item", KEY("+item\0-qty"), 0));
    CHECK_OK(add_index(d, &s, "by_tags", KEY("tags"), JET_bitIndexIgnoreNull));
    CHECK(!d->sequential && d->primary == &d->indexes[0]);
    CHECK_EQ(d->indexes[0].def.flags, 0x1002F);
    CHECK_EQ(d->indexes[1].def.flags, 0x1000E);
    CHECK_EQ(d->indexes[2].def.flags, 0x1008C);
    CHECK_EQ(column(d, "qty")->def.record_offset, 9);
    CHECK_EQ(d->autoinc_column, 1);
    CHECK_OK(catalog_create_table(db, &s.trx, "Gro\xC3\x9F", 10, 100, &d));
    catalog_release(d);
    commit(&s);
    session_close(&s);
    close_database();
    judge_file();
    open_database(4096, false);
    session_open(&s);
    d = table(&s, "orders");
    CHECK_EQ(d->column_count, 6);
    CHECK_EQ(d->index_count, 3);
    CHECK(strcmp(d->indexes[2].name, "by_tags") == 0 && !d->indexes[2].foreign_sort);
    CHECK_EQ(d->indexes[1].def.segments[1].column, 3);
    CHECK(d->indexes[1].def.segments[1].descending);
    CHECK_EQ(column(d, "item")->def.code_page, 1252);
    catalog_release(d);
    CHECK_EQ(try_table(&s, "Gro\xC3\x9F"), 0);
    CHECK_EQ(count_tables(&s), 6);
    session_close(&s);
    end_judged();
}

CASE(create_rolls_back)
{
    struct session s, other;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    session_open(&other);
    uint32_t free_pages = owned_by_system();
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 10, 80, &d));
    CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
    CHECK_OK(add_index(d, &s, "i", KEY("+a"), 0));
    CHECK(owned_by_system() < free_pages);
    begin(&other);
    CHECK_EQ(try_table(&other, "t"), JET_errObjectNotFound);
    struct table_desc *twin;
    CHECK_EQ(catalog_create_table(db, &other.trx, "T", 1, 80, &twin), JET_errWriteConflict);
    rollback(&other);
    CHECK_EQ(catalog_create_table(db, &s.trx, "T", 1, 80, &twin), JET_errTableDuplicate);
    catalog_release(d);
    rollback(&s);
    CHECK_EQ(try_table(&s, "t"), JET_errObjectNotFound);
    sweep();
    CHECK_EQ(owned_by_system(), free_pages);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 3, 80, &d));
    catalog_release(d);
    commit(&s);
    session_close(&s);
    session_close(&other);
    end_judged();
}

CASE(levels)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 1, 80, &d));
    CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
    uint32_t indexes = d->index_count;
    begin(&s);
    CHECK_OK(add_column(d, &s, "b", JET_coltypText, 0, &id));
    CHECK_OK(add_index(d, &s, "i", KEY("+b"), 0));
    CHECK_OK(catalog_rename_column(d, &s.trx, "a", "c"));
    CHECK_OK(catalog_rename_table(db, &s.trx, "t", "u"));
    rollback(&s);
    CHECK_EQ(d->column_count, 1);
    CHECK_EQ(d->index_count, indexes);
    CHECK(strcmp(d->name, "t") == 0 && column(d, "a") != NULL && d->layout.variable_count == 0);
    begin(&s);
    CHECK_OK(catalog_rename_column(d, &s.trx, "a", "c"));
    commit(&s);
    CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
    CHECK_EQ(id, 2);
    commit(&s);
    CHECK_EQ(d->column_count, 2);
    catalog_release(d);
    session_close(&s);
    end_judged();
}

CASE(drop_and_snapshots)
{
    struct session s, old;
    struct table_desc *d;
    create_database(4096, 256);
    session_open(&s);
    session_open(&old);
    uint32_t free_pages = owned_by_system();
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 10, 80, &d));
    CHECK_EQ(catalog_drop_table(db, &s.trx, "MSysObjids"), JET_errCannotDeleteSystemTable);
    commit(&s);
    CHECK_OK(catalog_table_use(d, &old.trx, 0));
    begin(&s);
    CHECK_EQ(catalog_drop_table(db, &s.trx, "t"), JET_errTableInUse);
    rollback(&s);
    CHECK(table_may_update(d, &old.trx));
    catalog_table_unuse(d, &old.trx, 0);
    catalog_release(d);
    begin(&s);
    CHECK_OK(catalog_drop_table(db, &s.trx, "t"));
    CHECK_EQ(try_table(&s, "t"), JET_errObjectNotFound);
    CHECK_EQ(try_table(&old, "t"), JET_errTableLocked);
    rollback(&s);
    CHECK_EQ(try_table(&s, "t"), 0);
    begin(&old);
    begin(&s);
    CHECK_OK(catalog_drop_table(db, &s.trx, "t"));
    commit(&s);
    CHECK_EQ(try_table(&s, "t"), JET_errObjectNotFound);
    CHECK_EQ(try_table(&old, "t"), JET_errObjectNotFound);
    sweep();
    CHECK(owned_by_system() < free_pages); /* an old snapshot is open */
    commit(&old);
    sweep();
    CHECK_EQ(owned_by_system(), free_pages);
    session_close(&s);
    session_close(&old);
    end_judged();
}

CASE(two_change_one_table)
{
    struct session a, b;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&a);
    session_open(&b);
    begin(&a);
    CHECK_OK(catalog_create_table(db, &a.trx, "t", 1, 80, &d));
    CHECK_OK(add_column(d, &a, "x", JET_coltypLong, 0, &id));
    commit(&a);
    begin(&a);
    begin(&b);
    CHECK_OK(add_column(d, &a, "y", JET_coltypLong, 0, &id));
    CHECK(table_may_update(d, &a.trx) && !table_may_update(d, &b.trx));
    CHECK_EQ(add_column(d, &b, "z", JET_coltypLong, 0, &id), JET_errWriteConflict);
    CHECK_EQ(catalog_drop_table(db, &b.trx, "t"), JET_errWriteConflict);
    rollback(&a);
    CHECK(table_may_update(d, &b.trx));
    CHECK_OK(add_column(d, &b, "z", JET_coltypLong, 0, &id));
    CHECK_EQ(id, 2);
    CHECK_OK(add_index(d, &b, "i", KEY("z"), 0));
    begin(&a);
    CHECK(!table_index_is_visible(d, &d->indexes[0], &a.trx));
    CHECK(table_index_is_visible(d, &d->indexes[0], &b.trx));
    commit(&b);
    CHECK(!table_index_is_visible(d, &d->indexes[0], &a.trx));
    commit(&a);
    begin(&a);
    CHECK(table_index_is_visible(d, &d->indexes[0], &a.trx));
    CHECK_OK(catalog_table_use(d, &b.trx, JET_bitTableReadOnly));
    CHECK_EQ(catalog_drop_index(d, &a.trx, "i"), JET_errIndexInUse);
    CHECK_EQ(catalog_rename_table(db, &a.trx, "t", "u"), JET_errTableInUse);
    CHECK_OK(catalog_table_use(d, &a.trx, JET_bitTableDenyWrite));
    CHECK_EQ(catalog_table_use(d, &b.trx, 0), JET_errTableLocked);
    CHECK_EQ(catalog_table_use(d, &a.trx, JET_bitTableDenyRead), JET_errTableInUse);
    catalog_table_unuse(d, &a.trx, JET_bitTableDenyWrite);
    catalog_table_unuse(d, &b.trx, JET_bitTableReadOnly);
    CHECK_OK(catalog_drop_index(d, &a.trx, "I"));
    CHECK_EQ(d->index_count, 0);
    rollback(&a);
    CHECK_EQ(d->index_count, 1);
    begin(&a);
    CHECK_OK(catalog_drop_index(d, &a.trx, "i"));
    CHECK_OK(catalog_rename_table(db, &a.trx, "t", "u"));
    commit(&a);
    CHECK_EQ(try_table(&a, "t"), JET_errObjectNotFound);
    CHECK_EQ(try_table(&a, "u"), 0);
    catalog_release(d);
    session_close(&a);
    session_close(&b);
    end_judged();
}

/* ---- columns ---- */

CASE(column_checks)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    CHECK_EQ(catalog_create_table(db, &s.trx, "t", 1, 80, &d), JET_errNotInTransaction);
    begin(&s);
    CHECK_EQ(catalog_create_table(db, &s.trx, "t", 1, 10, &d), JET_errDensityInvalid);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 1, 80, &d));
    CHECK_EQ(add_column(d, &s, "a", 0, 0, &id), JET_errInvalidColumnType);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypSLV, 0, &id), JET_errInvalidColumnType);
    CHECK_EQ(add_column(d, &s, "a", 19, 0, &id), JET_errInvalidColumnType);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong, JET_bitColumnMultiValued, &id),
             JET_errMultiValuedColumnMustBeTagged);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong, JET_bitColumnTTKey, &id), JET_errInvalidGrbit);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLongText, JET_bitColumnFixed, &id),
             JET_errInvalidGrbit);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLongText, JET_bitColumnNotNULL, &id),
             JET_errTaggedNotNULL);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypText, JET_bitColumnAutoincrement, &id),
             JET_errInvalidGrbit);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong,
                        JET_bitColumnAutoincrement | JET_bitColumnTagged, &id),
             JET_errCannotBeTagged);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong, JET_bitColumnUserDefinedDefault, &id),
             JET_errFeatureNotAvailable);
    CHECK_OK(add_column(d, &s, "inc", JET_coltypCurrency, JET_bitColumnAutoincrement, &id));
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong, JET_bitColumnAutoincrement, &id),
             JET_errColumnRedundant);
    CHECK_OK(add_column(d, &s, "ver", JET_coltypLong, JET_bitColumnVersion, &id));
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong, JET_bitColumnVersion, &id),
             JET_errColumnRedundant);
    CHECK_EQ(add_column(d, &s, "VER", JET_coltypLong, 0, &id), JET_errColumnDuplicate);
    CHECK_EQ(add_column(d, &s, "a.b", JET_coltypLong, 0, &id), JET_errInvalidName);
    struct catalog_column_want w = {
        .name = "w", .coltyp = JET_coltypText, .cb_max = 300, .code_page = 1200};
    CHECK_EQ(catalog_add_column(d, &s.trx, &w, &id), JET_wrnColumnMaxTruncated);
    CHECK_EQ(column(d, "w")->def.cb_max, 255);
    w = (struct catalog_column_want){.name = "w2", .coltyp = JET_coltypText, .code_page = 437};
    CHECK_EQ(catalog_add_column(d, &s.trx, &w, &id), JET_errInvalidCodePage);
    w = (struct catalog_column_want){.name = "f",
                                     .coltyp = JET_coltypText,
                                     .cb_max = 6,
                                     .grbit = JET_bitColumnFixed,
                                     .has_default = true,
                                     .default_value = SLICE("ab", 2)};
    CHECK_OK(catalog_add_column(d, &s.trx, &w, &id));
    CHECK_EQ(column(d, "f")->def.default_value.n, 6);
    CHECK(memcmp(column(d, "f")->def.default_value.p, "ab    ", 6) == 0);
    w.default_value = SLICE("abcdefg", 7);
    w.name = "g";
    CHECK_EQ(catalog_add_column(d, &s.trx, &w, &id), JET_errDefaultValueTooBig);
    w = (struct catalog_column_want){
        .name = "esc", .coltyp = JET_coltypLong, .grbit = JET_bitColumnEscrowUpdate};
    CHECK_EQ(catalog_add_column(d, &s.trx, &w, &id), JET_errInvalidGrbit);
    w.has_default = true;
    w.default_value = SLICE("\0\0\0\0", 4);
    CHECK_OK(catalog_add_column(d, &s.trx, &w, &id));
    CHECK_EQ(add_index(d, &s, "i", KEY("esc"), 0), JET_errCannotIndex);
    CHECK_OK(catalog_set_default(d, &s.trx, "w", SLICE("x\0", 2), false));
    CHECK_EQ(catalog_set_default(d, &s.trx, "inc", SLICE("x\0", 2), false),
             JET_errInvalidParameter);
    CHECK_EQ(catalog_set_default(d, &s.trx, "nix", SLICE("x\0", 2), false), JET_errColumnNotFound);
    commit(&s);
    begin(&s);
    CHECK_EQ(add_column(d, &s, "a", JET_coltypLong, JET_bitColumnEscrowUpdate, &id),
             JET_errExclusiveTableLockRequired);
    commit(&s);
    catalog_release(d);
    session_close(&s);
    end_judged();
}

CASE(columns_go_and_ids_stay)
{
    struct session s;
    struct table_desc *d;
    struct table_cursor *c;
    uint8_t got[8];
    uint32_t actual, used;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 1, 80, &d));
    CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
    CHECK_OK(add_column(d, &s, "b", JET_coltypLongLong, 0, &id));
    CHECK_OK(add_column(d, &s, "c", JET_coltypText, 0, &id));
    CHECK_OK(add_index(d, &s, "i", KEY("c"), 0));
    CHECK_OK(cursor_open(d, &s.trx, 0, &c));
    CHECK_OK(cursor_prepare(c, JET_prepInsert));
    CHECK_OK(cursor_set(c, 1, 1, 0, SLICE("aaaa", 4), false, 0));
    CHECK_OK(cursor_set(c, 2, 1, 0, SLICE("bbbbbbbb", 8), false, 0));
    CHECK_OK(cursor_set(c, 128, 1, 0, SLICE("c", 1), false, 0));
    CHECK_OK(cursor_update(c, NULL));
    cursor_close(c);
    commit(&s);
    begin(&s);
    CHECK_EQ(catalog_drop_column(d, &s.trx, "c", 0), JET_errColumnInUse);
    CHECK_OK(catalog_drop_column(d, &s.trx, "b", 0));
    CHECK(column(d, "b") == NULL && record_column(&d->layout, 2) == NULL);
    rollback(&s);
    CHECK(column(d, "b") != NULL && record_column(&d->layout, 2) != NULL);
    begin(&s);
    CHECK_OK(catalog_drop_column(d, &s.trx, "a", 0));
    CHECK_OK(catalog_drop_column(d, &s.trx, "b", 0));
    CHECK_EQ(catalog_drop_column(d, &s.trx, "b", 0), JET_errColumnNotFound);
    commit(&s);
    catalog_release(d);
    session_close(&s);
    close_database();
    judge_file();
    open_database(4096, false);
    session_open(&s);
    d = table(&s, "t");
    CHECK(column(d, "b") == NULL);
    begin(&s);
    CHECK_OK(add_column(d, &s, "b", JET_coltypShort, 0, &id));
    CHECK_EQ(id, 3);
    CHECK_EQ(column(d, "b")->def.record_offset, 16);
    commit(&s);
    /* Room of the dropped columns stays in old rows and is there in new ones. */
    begin(&s);
    CHECK_OK(cursor_open(d, &s.trx, 0, &c));
    CHECK_OK(cursor_move(c, JET_MoveFirst, 0));
    CHECK_OK(cursor_retrieve(c, 128, 1, 0, 0, got, sizeof got, &actual, &used));
    CHECK(actual == 1 && got[0] == 'c');
    CHECK_EQ(cursor_retrieve(c, 3, 1, 0, 0, got, sizeof got, &actual, &used), JET_wrnColumnNull);
    CHECK_EQ(cursor_retrieve(c, 1, 1, 0, 0, got, sizeof got, &actual, &used),
             JET_errColumnNotFound);
    CHECK_OK(cursor_prepare(c, JET_prepReplace));
    CHECK_OK(cursor_set(c, 3, 1, 0, SLICE("xy", 2), false, 0));
    CHECK_OK(cursor_update(c, NULL));
    CHECK_OK(cursor_retrieve(c, 3, 1, 0, 0, got, sizeof got, &actual, &used));
    CHECK(actual == 2 && memcmp(got, "xy", 2) == 0);
    CHECK_OK(cursor_prepare(c, JET_prepInsert));
    CHECK_OK(cursor_set(c, 3, 1, 0, SLICE("zz", 2), false, 0));
    CHECK_OK(cursor_update(c, NULL));
    CHECK_OK(cursor_move(c, JET_MoveLast, 0));
    CHECK_OK(cursor_retrieve(c, 3, 1, 0, 0, got, sizeof got, &actual, &used));
    CHECK(actual == 2 && memcmp(got, "zz", 2) == 0);
    cursor_close(c);
    commit(&s);
    catalog_release(d);
    session_close(&s);
    end_judged();
}

CASE(many_columns)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    char name[20];
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "wide", 1, 80, &d));
    for (int i = 0; i < 127; i++) {
        snprintf(name, sizeof name, "f%d", i);
        CHECK_OK(add_column(d, &s, name, JET_coltypLong, 0, &id));
    }
    CHECK_EQ(add_column(d, &s, "f127", JET_coltypLong, 0, &id), JET_errTooManyColumns);
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "t%d", i);
        CHECK_OK(add_column(d, &s, name, JET_coltypLong, JET_bitColumnTagged, &id));
    }
    commit(&s);
    begin(&s);
    CHECK_OK(add_column(d, &s, "last", JET_coltypLong, JET_bitColumnTagged, &id));
    rollback(&s);
    CHECK_EQ(d->column_count, 827);
    CHECK_EQ(d->layout.tagged_count, 700);
    catalog_release(d);
    session_close(&s);
    end_judged();
}

/* ---- indexes ---- */

CASE(index_checks)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 1, 80, &d));
    CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
    CHECK_OK(add_column(d, &s, "m", JET_coltypLong, JET_bitColumnTagged | JET_bitColumnMultiValued,
                        &id));
    struct catalog_column_want u = {.name = "u", .coltyp = JET_coltypText, .code_page = 1200};
    CHECK_OK(catalog_add_column(d, &s.trx, &u, &id));
    CHECK_EQ(add_index(d, &s, "i", "+a\0", 3, 0), JET_errIndexInvalidDef);
    CHECK_EQ(add_index(d, &s, "i", "\0\0", 2, 0), JET_errIndexInvalidDef);
    CHECK_EQ(add_index(d, &s, "i", KEY("+a\0-a"), 0), JET_errIndexInvalidDef);
    CHECK_EQ(add_index(d, &s, "i", KEY("+nix"), 0), JET_errColumnNotFound);
    CHECK_EQ(add_index(d, &s, "i", KEY("+m"), JET_bitIndexPrimary), JET_errIndexInvalidDef);
    CHECK_EQ(add_index(d, &s, "i", KEY("+a"), JET_bitIndexPrimary | JET_bitIndexIgnoreNull),
             JET_errInvalidGrbit);
    CHECK_EQ(add_index(d, &s, "i", KEY("+a"), JET_bitIndexTuples), JET_errFeatureNotAvailable);
    CHECK_EQ(add_index(d, &s, "i", KEY("+a"), JET_bitIndexEmpty), JET_errInvalidGrbit);
    struct catalog_index_want w = {.name = "i", .key = "+u\0", .key_size = 4, .key_most = 1001};
    CHECK_EQ(catalog_create_index(d, &s.trx, &w), JET_errIndexInvalidDef);
    w.key_most = 1000;
    w.var_seg_mac = 100;
    w.locale = "de-DE";
    CHECK_OK(catalog_create_index(d, &s.trx, &w));
    CHECK_EQ(d->indexes[0].def.key_most, 1000);
    CHECK_EQ(d->indexes[0].def.var_seg_mac, 100);
    CHECK_EQ(d->indexes[0].def.flags, 0x1044E);
    CHECK(!d->indexes[0].foreign_sort && strcmp(d->indexes[0].locale, "de-DE") == 0);
    CHECK_EQ(catalog_create_index(d, &s.trx, &w), JET_errIndexDuplicate);
    CHECK_OK(
        add_index(d, &s, "p", KEY("+a"), JET_bitIndexPrimary | JET_bitIndexDisallowTruncation));
    CHECK(d->primary == &d->indexes[0] && strcmp(d->indexes[1].name, "i") == 0);
    CHECK_EQ(add_index(d, &s, "p2", KEY("+a"), JET_bitIndexPrimary), JET_errIndexHasPrimary);
    CHECK_EQ(catalog_drop_index(d, &s.trx, "p"), JET_errIndexMustStay);
    CHECK_EQ(catalog_drop_index(d, &s.trx, "zz"), JET_errIndexNotFound);
    commit(&s);
    catalog_release(d);
    session_close(&s);
    close_database();
    judge_file();
    open_database(4096, true);
    session_open(&s);
    d = table(&s, "t");
    CHECK_EQ(d->indexes[1].def.key_most, 1000);
    CHECK_EQ(d->indexes[1].def.var_seg_mac, 100);
    CHECK(!d->indexes[1].foreign_sort);
    begin(&s);
    CHECK_EQ(add_column(d, &s, "zz", JET_coltypLong, 0, &id), JET_errDatabaseFileReadOnly);
    commit(&s);
    catalog_release(d);
    session_close(&s);
    end_judged();
}

/* ---- long values ---- */

struct maker {
    struct table_desc *desc;
    struct btree *tree;
    err_t err;
};

static void make_longval(void *context)
{
    struct maker *m = context;
    struct session s;
    session_open(&s);
    m->err = txn_begin(&s.trx, false);
    if (m->err >= 0)
        m->err = m->desc->longval.tree(m->desc->longval.context, &s.trx, true, &m->tree);
    CHECK_OK(txn_commit(&s.trx, TXN_LAZY));
    session_close(&s);
}

CASE(one_tree_of_long_values)
{
    struct session s;
    struct table_desc *d;
    struct btree *tree;
    struct maker makers[4];
    struct os_thread *threads[4];
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 1, 80, &d));
    begin(&s);
    CHECK_OK(d->longval.tree(d->longval.context, &s.trx, true, &tree));
    CHECK(tree != NULL && tree == d->longval_tree);
    rollback(&s);
    CHECK_OK(d->longval.tree(d->longval.context, &s.trx, false, &tree));
    CHECK(tree == NULL);
    commit(&s);
    /* A committed table: whoever comes first makes it, for all, also when its own transaction is
     * rolled back. */
    for (int i = 0; i < 4; i++) {
        makers[i] = (struct maker){.desc = d};
        CHECK_OK(os_thread_start("maker", make_longval, &makers[i], &threads[i]));
    }
    for (int i = 0; i < 4; i++)
        os_thread_join(threads[i]);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(makers[i].err);
        CHECK(makers[i].tree == d->longval_tree);
    }
    catalog_release(d);
    session_close(&s);
    close_database();
    judge_file();
    open_database(4096, false);
    session_open(&s);
    d = table(&s, "t");
    CHECK(d->longval_tree != NULL);
    catalog_release(d);
    begin(&s);
    CHECK_OK(catalog_drop_table(db, &s.trx, "t"));
    commit(&s);
    session_close(&s);
    end_judged();
}

/* ---- leaks ---- */

CASE(reconcile)
{
    struct session s;
    struct table_desc *d;
    struct btree *top;
    pgno_t root;
    uint32_t found;
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "t", 4, 80, &d));
    commit(&s);
    CHECK_OK(catalog_reconcile(db, &s.trx, &found));
    CHECK_EQ(found, 0);
    CHECK_OK(btree_open(db, 1, &top));
    struct space_tree_want lost = {
        .parent = top, .unique = true, .objid = space_new_objid(db), .cpg = 5, .multiple = true};
    CHECK_OK(space_create_tree(&lost, &s.trx, &root));
    lost = (struct space_tree_want){.parent = d->tree,
                                    .page_flags = PAGE_INDEX,
                                    .unique = true,
                                    .objid = space_new_objid(db),
                                    .cpg = 1};
    CHECK_OK(space_create_tree(&lost, &s.trx, &root));
    CHECK_OK(catalog_reconcile(db, &s.trx, &found));
    CHECK_EQ(found, 6);
    CHECK_OK(catalog_reconcile(db, &s.trx, &found));
    CHECK_EQ(found, 0);
    btree_close(top);
    catalog_release(d);
    session_close(&s);
    end_judged();
}

/* ---- with rows ---- */

static void put_row(struct table_cursor *c, uint32_t a, uint32_t b, uint32_t long_size)
{
    static uint8_t bytes[5000];
    struct slice b_value = SLICE_OF(b);
    CHECK_OK(cursor_prepare(c, JET_prepInsert));
    CHECK_OK(cursor_set(c, 1, 1, 0, SLICE_OF(a), false, 0));
    CHECK_OK(cursor_set(c, 2, 1, 0, b_value, false, 0));
    if (long_size > 0)
        CHECK_OK(cursor_set(c, 256, 1, 0, SLICE(bytes, long_size), false, 0));
    CHECK_OK(cursor_update(c, NULL));
}

static struct table_desc *make_filled(struct session *s, const char *name, uint32_t rows)
{
    struct table_desc *d;
    struct table_cursor *c;
    colid_t id;
    begin(s);
    CHECK_OK(catalog_create_table(db, &s->trx, name, 1, 80, &d));
    CHECK_OK(add_column(d, s, "a", JET_coltypLong, 0, &id));
    CHECK_OK(add_column(d, s, "b", JET_coltypLong, 0, &id));
    CHECK_OK(add_column(d, s, "c", JET_coltypLongBinary, 0, &id));
    CHECK_OK(add_index(d, s, "p", KEY("a"), JET_bitIndexPrimary));
    CHECK_OK(cursor_open(d, &s->trx, 0, &c));
    for (uint32_t i = 0; i < rows; i++)
        put_row(c, i, i % 100, i % 50 == 0 ? 4500 : 0);
    cursor_close(c);
    commit(s);
    return d;
}

static int entries(struct btree *tree, struct trx *trx)
{
    struct btree_cursor c;
    int n = 0;
    btree_cursor_init(&c, tree, trx);
    err_t err = btree_first(&c);
    for (; err >= 0; n++)
        err = btree_next(&c);
    CHECK_EQ(err, JET_errNoCurrentRecord);
    btree_cursor_term(&c);
    return n;
}

CASE(index_on_rows)
{
    struct session s, other;
    struct table_cursor *c;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    session_open(&other);
    struct table_desc *d = make_filled(&s, "t", 1500);
    uint32_t free_pages = owned_by_system();
    begin(&s);
    CHECK_EQ(add_index(d, &s, "p2", KEY("b"), JET_bitIndexPrimary), JET_errIndexHasPrimary);
    CHECK_EQ(add_index(d, &s, "u", KEY("b"), JET_bitIndexUnique), JET_errKeyDuplicate);
    CHECK_EQ(d->index_count, 1);
    CHECK_OK(add_index(d, &s, "i", KEY("b"), 0));
    CHECK_EQ(entries(d->indexes[1].tree, &s.trx), 1500);
    CHECK_OK(cursor_open(d, &s.trx, 0, &c));
    put_row(c, 5000, 7, 0);
    CHECK_EQ(entries(d->indexes[1].tree, &s.trx), 1501);
    cursor_close(c);
    rollback(&s);
    CHECK_EQ(d->index_count, 1);
    CHECK_EQ(entries(d->tree, &s.trx), 1500);
    sweep();

    /* What another has changed and we do not see would be missing. */
    begin(&other);
    CHECK_OK(cursor_open(d, &other.trx, 0, &c));
    put_row(c, 6000, 1, 0);
    begin(&s);
    CHECK_EQ(add_index(d, &s, "i", KEY("b"), 0), JET_errWriteConflict);
    CHECK(table_may_update(d, &other.trx)); /* the failed statement left nothing behind */
    commit(&other);
    CHECK_EQ(add_index(d, &s, "i", KEY("b"), 0), JET_errWriteConflict);
    CHECK_EQ(catalog_drop_table(db, &s.trx, "t"), JET_errWriteConflict);
    commit(&s);
    begin(&s);
    CHECK_OK(add_index(d, &s, "i", KEY("b\0-a"), JET_bitIndexUnique));
    begin(&other);
    CHECK_OK(cursor_prepare(c, JET_prepInsert));
    CHECK_OK(cursor_set(c, 1, 1, 0, SLICE("\1\1\1\1", 4), false, 0));
    CHECK_EQ(cursor_update(c, NULL), JET_errWriteConflict);
    cursor_close(c);
    rollback(&other);
    CHECK_OK(add_column(d, &s, "late", JET_coltypLong, 0, &id));
    commit(&s);
    CHECK_EQ(entries(d->indexes[1].tree, &s.trx), 1501);
    CHECK(owned_by_system() <= free_pages);
    catalog_release(d);
    session_close(&s);
    session_close(&other);
    end_judged();
}

CASE(drop_gives_all_space_back)
{
    struct session s;
    create_database(4096, 256);
    session_open(&s);
    struct table_desc *d = make_filled(&s, "first", 200); /* the file grows once */
    catalog_release(d);
    uint32_t available = owned_by_system();
    d = make_filled(&s, "second", 600);
    begin(&s);
    CHECK_OK(add_index(d, &s, "i", KEY("b"), 0));
    commit(&s);
    CHECK_EQ(try_table(&s, "second"), 0);
    catalog_release(d);
    begin(&s);
    CHECK_OK(catalog_drop_table(db, &s.trx, "second"));
    commit(&s);
    uint32_t found;
    sweep();
    CHECK(owned_by_system() >= available);
    CHECK_OK(catalog_reconcile(db, &s.trx, &found));
    CHECK_EQ(found, 0);
    session_close(&s);
    end_judged();
}

CASE(three_hundred_tables)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    char name[20];
    create_database(4096, 256);
    session_open(&s);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "table %d", i);
        begin(&s);
        CHECK_OK(catalog_create_table(db, &s.trx, name, 1, 80, &d));
        CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
        CHECK_OK(add_column(d, &s, "b", JET_coltypText, 0, &id));
        catalog_release(d);
        commit(&s);
    }
    CHECK_EQ(count_tables(&s), 304);
    for (int i = 0; i < 300; i += 2) {
        snprintf(name, sizeof name, "TABLE %d", i);
        begin(&s);
        CHECK_OK(catalog_drop_table(db, &s.trx, name));
        commit(&s);
    }
    sweep();
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "table %d", i);
        CHECK_EQ(try_table(&s, name), i % 2 == 0 ? JET_errObjectNotFound : 0);
    }
    session_close(&s);
    close_database();
    judge_file();
    open_database(4096, false);
    session_open(&s);
    CHECK_EQ(count_tables(&s), 154);
    session_close(&s);
    end_judged();
}

/* The same with a log: every change has its record. */
CASE(logged)
{
    struct session s;
    struct table_desc *d;
    colid_t id;
    logging = true;
    create_database(4096, 256);
    session_open(&s);
    lgpos_t before = log_tail(the_log);
    d = make_filled(&s, "t", 300);
    CHECK(log_tail(the_log) > before);
    begin(&s);
    CHECK_OK(add_index(d, &s, "i", KEY("b"), 0));
    CHECK_OK(add_column(d, &s, "d", JET_coltypText, 0, &id));
    rollback(&s);
    begin(&s);
    CHECK_OK(add_index(d, &s, "i", KEY("b"), 0));
    commit(&s);
    catalog_release(d);
    begin(&s);
    CHECK_OK(catalog_drop_table(db, &s.trx, "t"));
    commit(&s);
    session_close(&s);
    close_database();
    logging = false;
    open_database(4096, true);
    session_open(&s);
    CHECK_EQ(count_tables(&s), 4);
    session_close(&s);
    close_database();
    folder_end();
}

static void forget_table(struct session *s, const char *upper_name)
{
    struct btree *roots;
    struct btree_cursor c;
    uint8_t key[NAME_ROOM + 4] = {0x7F, 0xFF, 0x7F};
    size_t n = strlen(upper_name);
    memcpy(key + 3, upper_name, n);
    CHECK_OK(btree_open(db, 10, &roots));
    btree_cursor_init(&c, roots, &s->trx);
    CHECK_OK(btree_delete(&c, SLICE(key, n + 4), SLICE_EMPTY, 0));
    btree_cursor_term(&c);
    btree_close(roots);
}

/* A file of an engine that knew neither MSysObjids nor MSysLocales. */
CASE(older_file_gets_system_tables)
{
    struct session s;
    struct table_desc *d;
    create_database(4096, 256);
    session_open(&s);
    catalog_release(make_filled(&s, "t", 100)); /* objid 8, long values 9 */
    begin(&s);
    forget_table(&s, "MSYSOBJIDS");
    forget_table(&s, "MSYSLOCALES");
    commit(&s);
    session_close(&s);
    close_database();
    open_database(4096, true); /* read-only: as it is */
    session_open(&s);
    CHECK_EQ(try_table(&s, "MSysObjids"), JET_errObjectNotFound);
    session_close(&s);
    close_database();
    open_database(4096, false);
    session_open(&s);
    d = table(&s, "MSysObjids");
    CHECK_EQ(d->objid, 10);
    CHECK_EQ(entries(d->tree, &s.trx),
             2 + 2 + 2 + 2 + 2); /* 2 3 4 5, the forgotten 6 7, 8 9, 10 11 */
    catalog_release(d);
    d = table(&s, "MSysLocales");
    CHECK_EQ(entries(d->tree, &s.trx), 7);
    catalog_release(d);
    session_close(&s);
    close_database();
    folder_end();
}

/* ---- failing reads ---- */

static err_t use_everything(struct session *s)
{
    err_t err = JET_errSuccess;
    struct table_desc *d = NULL, *fresh = NULL;
    colid_t id;
    begin(s);
    TRY(catalog_table(db, &s->trx, "t", &d));
    TRY(add_index(d, s, "i", KEY("b"), 0));
    TRY(add_column(d, s, "d", JET_coltypText, 0, &id));
    TRY(catalog_rename_column(d, &s->trx, "b", "e"));
    TRY(catalog_create_table(db, &s->trx, "fresh", 1, 80, &fresh));
    TRY(add_column(fresh, s, "d", JET_coltypText, 0, &id));
    TRY(catalog_drop_table(db, &s->trx, "gone"));
out:
    if (d != NULL)
        catalog_release(d);
    if (fresh != NULL)
        catalog_release(fresh);
    if (err >= 0)
        commit(s);
    else
        rollback(s);
    return err;
}

/* The n-th read of the file fails, for n = 0, 1, ...: what was begun is undone, and the next
 * session does it all. */
CASE(failing_reads)
{
    struct session s;
    create_database(4096, 256);
    session_open(&s);
    catalog_release(make_filled(&s, "t", 300));
    catalog_release(make_filled(&s, "gone", 30));
    session_close(&s);
    close_database();
    int failed = 0;
    bool done = false;
    for (uint64_t n = 0; !done; n++) {
        rooms_begin(4096);
        struct dbfile_config dc = db_config(false);
        CHECK_OK(dbfile_open(&dc, file_path, &db));
        CHECK_OK(space_init(db));
        session_open(&s);
        os_fault_set(&(struct os_fault){
            .ops = 1u << OS_OP_READ, .path_part = "c.edb", .after = n, .count = 1, .error = 5});
        err_t err = catalog_open(db, &dbs, folder, &s.trx);
        if (err >= 0)
            err = use_everything(&s);
        bool hit = os_fault_hits() > 0;
        os_fault_set(NULL);
        CHECK(err >= 0 || hit);
        failed += err < 0;
        done = !hit;
        if (db->catalog != NULL && err < 0) {
            CHECK_EQ(try_table(&s, "fresh"), JET_errObjectNotFound);
            CHECK_EQ(try_table(&s, "gone"), 0);
            struct table_desc *d = table(&s, "t");
            CHECK(d->index_count == 1 && column(d, "b") != NULL && d->column_count == 3);
            CHECK(atomic_load(&d->ddl_owner) == NULL);
            catalog_release(d);
        }
        session_close(&s);
        close_database();
        CHECK(n < 500 && (err < 0 || done));
    }
    CHECK(failed > 10);
    judge_file();
    folder_end();
}

/* ---- threads ---- */

static _Atomic bool sweeping;

static void sweep_until_told(void *context)
{
    bool worked;
    (void)context;
    while (atomic_load(&sweeping)) {
        CHECK_OK(txn_sweep(&sweeper, &dbs, 100, &worked));
        os_sleep_ms(1);
    }
}

/* Tables of its own, one name that all want, and one table that all read the description of. */
static void change_schemas(void *context)
{
    int me = *(int *)context;
    struct session s;
    char name[20];
    session_open(&s);
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "own %d %d", me, i % 3);
        struct table_desc *d = make_filled(&s, name, 60), *shared;
        begin(&s);
        CHECK_OK(add_index(d, &s, "i", KEY("b"), 0));
        if (i % 4 == 1)
            rollback(&s);
        else
            commit(&s);
        catalog_release(d);
        begin(&s);
        err_t err = catalog_create_table(db, &s.trx, "wanted", 1, 80, &shared);
        CHECK(err >= 0 || err == JET_errWriteConflict || err == JET_errTableDuplicate);
        if (err >= 0)
            catalog_release(shared);
        if (i % 2 == 0)
            commit(&s);
        else
            rollback(&s);
        begin(&s);
        err = catalog_drop_table(db, &s.trx, "wanted");
        CHECK(err >= 0 || err == JET_errWriteConflict || err == JET_errObjectNotFound ||
              err == JET_errTableLocked || err == JET_errTableInUse);
        CHECK_OK(catalog_drop_table(db, &s.trx, name));
        commit(&s);
        CHECK_EQ(try_table(&s, "common"), 0);
    }
    session_close(&s);
}

CASE(threads)
{
    struct session s;
    struct os_thread *sweep_thread, *threads[3];
    int numbers[3] = {0, 1, 2};
    create_database(4096, 256);
    session_open(&s);
    catalog_release(make_filled(&s, "common", 10));
    atomic_store(&sweeping, true);
    CHECK_OK(os_thread_start("sweep", sweep_until_told, NULL, &sweep_thread));
    for (int i = 0; i < 3; i++)
        CHECK_OK(os_thread_start("schemas", change_schemas, &numbers[i], &threads[i]));
    for (int i = 0; i < 3; i++)
        os_thread_join(threads[i]);
    atomic_store(&sweeping, false);
    os_thread_join(sweep_thread);
    sweep();
    uint32_t found;
    CHECK_OK(catalog_reconcile(db, &s.trx, &found));
    CHECK_EQ(found, 0);
    session_close(&s);
    end_judged();
}

/* ---- files made by Windows ---- */

static bool unpack(const char *name)
{
    static const char *places[] = {"../shared/samples", "../../shared/samples"};
    char command[4 * OS_PATH_MAX], path[2 * OS_PATH_MAX];
    const char *dir = getenv("PYJET_SAMPLES");
    for (int i = 0; i < 2 && dir == NULL; i++)
        if (access(places[i], R_OK) == 0)
            dir = places[i];
    if (dir == NULL)
        return false;
    snprintf(path, sizeof path, "%s/%s.gz", dir, name);
    if (access(path, R_OK) != 0)
        return false;
    files_begin();
    snprintf(command, sizeof command, "gzip -dc '%s' > '%s'", path, file_path);
    CHECK(system(command) == 0);
    return true;
}

struct census {
    struct session *session;
    int tables, columns, indexes, foreign, longvals, unopened;
};

static err_t take_census(void *context, const struct catalog_table_info *info)
{
    struct census *c = context;
    struct table_desc *d;
    c->tables++;
    err_t err = catalog_table(db, &c->session->trx, info->name, &d);
    if (err < 0) {
        c->unopened++;
        return JET_errSuccess;
    }
    c->columns += (int)d->column_count;
    c->indexes += (int)d->index_count;
    for (uint32_t i = 0; i < d->index_count; i++)
        c->foreign += d->indexes[i].foreign_sort;
    c->longvals += d->longval_tree != NULL;
    catalog_release(d);
    return JET_errSuccess;
}

CASE(windows_files)
{
    static const struct {
        const char *name;
        uint32_t page_size;
        bool read_only;
        int tables, columns, indexes, foreign, longvals;
    } files[] = {
        {"decompress_test.edb", 8192, false, 5, 66, 6, 0, 0},
        {"multivalue_longvalue.edb", 4096, false, 5, 80, 6, 0, 1},
        {"srudb_win10.dat", 4096, true, 14, 193, 34, 0, 0},
        {"secedit_win11.sdb", 4096, true, 10, 85, 13, 0, 0},
        {"qmgr_win10_16k_dirty.db", 16384, true, 6, 66, 8, 0, 2},
        {"catalog1_live_copy.edb", 4096, true, 10, 92, 26, 2, 0},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct session s;
        if (!unpack(files[i].name)) {
            printf("skipped: no sample %s\n", files[i].name);
            continue;
        }
        open_database(files[i].page_size, files[i].read_only);
        session_open(&s);
        struct census c = {.session = &s};
        CHECK_OK(catalog_visit_tables(db, &s.trx, take_census, &c));
        printf("%s: %d tables, %d columns, %d indexes, %d foreign, %d long values\n", files[i].name,
               c.tables, c.columns, c.indexes, c.foreign, c.longvals);
        CHECK_EQ(c.unopened, 0);
        CHECK_EQ(c.tables, files[i].tables);
        CHECK_EQ(c.columns, files[i].columns);
        CHECK_EQ(c.indexes, files[i].indexes);
        CHECK_EQ(c.foreign, files[i].foreign);
        CHECK_EQ(c.longvals, files[i].longvals);
        session_close(&s);
        close_database();
        folder_end();
    }
}

/* A file of update 20 takes new tables, and the judge still likes it. */
CASE(windows_file_changed)
{
    static const struct {
        const char *name;
        uint32_t page_size;
    } files[] = {{"decompress_test.edb", 8192}, {"multivalue_longvalue.edb", 4096}};
    for (int i = 0; i < 2; i++) {
        struct session s;
        struct table_desc *d;
        colid_t id;
        if (!unpack(files[i].name)) {
            printf("skipped: no sample %s\n", files[i].name);
            continue;
        }
        open_database(files[i].page_size, false);
        session_open(&s);
        begin(&s);
        CHECK_OK(catalog_create_table(db, &s.trx, "ours", 1, 80, &d));
        CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
        CHECK_OK(add_index(d, &s, "i", KEY("+a"), 0));
        catalog_release(d);
        commit(&s);
        session_close(&s);
        end_judged();
    }
}

/* ---- damage ---- */

/* The space header in a root of the closed file, under a right checksum. */
static void change_space_header(pgno_t root, void (*change)(struct space_header *h))
{
    static uint8_t bytes[4096];
    struct page page = {bytes, sizeof bytes};
    struct space_header h;
    FILE *f = fopen(file_path, "r+b");
    long at = (long)(root + 1) * 4096;
    CHECK(f != NULL && fseek(f, at, SEEK_SET) == 0 && fread(bytes, 1, sizeof bytes, f) == sizeof bytes);
    CHECK_OK(page_space_header(page, &h));
    change(&h);
    space_header_store(&h, (uint8_t *)page_external(page).p);
    page_seal(page, root);
    CHECK(fseek(f, at, SEEK_SET) == 0 && fwrite(bytes, 1, sizeof bytes, f) == sizeof bytes);
    fclose(f);
}

static void no_parent(struct space_header *h) { h->parent = PGNO_NIL; }
static void one_extent(struct space_header *h) { h->flags &= ~(uint32_t)SPACE_MULTIPLE; }

/* Whoever writes to a stranger's file meets roots that no space came from: a table's, and a system root that says it is small. */
CASE(roots_without_a_parent)
{
    static const struct {
        bool of_table;
        void (*change)(struct space_header *h);
    } damages[] = {{true, no_parent}, {false, one_extent}};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct session s;
        create_database(4096, 256);
        session_open(&s);
        struct table_desc *d = make_filled(&s, "victim", 600);
        pgno_t root = d->tree->root;
        catalog_release(d);
        session_close(&s);
        close_database();
        change_space_header(damages[i].of_table ? root : 1, damages[i].change);
        open_database(4096, false);
        session_open(&s);
        begin(&s);
        CHECK_OK(catalog_drop_table(db, &s.trx, "victim"));
        commit(&s);
        sweep(); /* where its space goes back */
        CHECK(space_has_lost(db));
        begin(&s);
        err_t err = catalog_create_table(db, &s.trx, "next", 20, 80, &d); /* 20 pages at once */
        CHECK_EQ(err, damages[i].of_table ? JET_errSuccess : JET_errDatabaseCorrupted);
        if (err >= 0)
            catalog_release(d);
        rollback(&s);
        session_close(&s);
        close_database();
        folder_end();
    }
}

/* Any bytes in the catalog's pages: an error or a table, never a crash. Checksums are made good
 * again. */
CASE(hostile_catalog)
{
    unsigned long long seed = ctest_seed();
    struct session s;
    struct table_desc *d;
    colid_t id;
    create_database(4096, 256);
    session_open(&s);
    begin(&s);
    CHECK_OK(catalog_create_table(db, &s.trx, "victim", 1, 80, &d));
    CHECK_OK(add_column(d, &s, "a", JET_coltypLong, 0, &id));
    CHECK_OK(add_column(d, &s, "b", JET_coltypText, 0, &id));
    CHECK_OK(add_column(d, &s, "c", JET_coltypLongText, 0, &id));
    CHECK_OK(add_index(d, &s, "p", KEY("+a"), JET_bitIndexPrimary));
    CHECK_OK(add_index(d, &s, "i", KEY("+b\0-a"), 0));
    catalog_release(d);
    commit(&s);
    session_close(&s);
    close_database();

    FILE *f = fopen(file_path, "rb");
    static uint8_t image[260 * 4096], page[4096];
    CHECK(f != NULL);
    size_t n = fread(image, 1, sizeof image, f);
    fclose(f);
    CHECK(n > 40 * 4096);
    int opened = 0, refused = 0;
    for (int round = 0; round < 300; round++) {
        static const pgno_t targets[] = {4, 7, 10, 13, 14, 15, 16, 31};
        pgno_t pgno = targets[ctest_random(&seed) % 8];
        uint8_t *at = image + (size_t)(pgno + 1) * 4096;
        int changes = 1 + (int)(ctest_random(&seed) % 16);
        memcpy(page, at, 4096);
        for (int i = 0; i < changes; i++)
            page[40 + ctest_random(&seed) % (4096 - 40)] ^=
                (uint8_t)(1u << ctest_random(&seed) % 8);
        page_seal((struct page){.p = page, .size = 4096}, pgno);
        f = fopen(file_path, "r+b");
        CHECK(f != NULL && fseek(f, (long)(pgno + 1) * 4096, SEEK_SET) == 0 &&
              fwrite(page, 1, 4096, f) == 4096);
        fclose(f);

        rooms_begin(4096);
        struct dbfile_config dc = db_config(true);
        CHECK_OK(dbfile_open(&dc, file_path, &db));
        CHECK_OK(space_init(db));
        session_open(&s);
        err_t err = catalog_open(db, &dbs, folder, &s.trx);
        if (err >= 0) {
            struct census c = {.session = &s};
            err = catalog_visit_tables(db, &s.trx, take_census, &c);
            if (try_table(&s, "victim") < 0)
                err = -1;
        }
        opened += err >= 0;
        refused += err < 0;
        session_close(&s);
        catalog_close(db);
        space_term(db);
        dbfile_close(db);
        db = NULL;
        rooms_end();
        f = fopen(file_path, "r+b");
        CHECK(f != NULL && fseek(f, (long)(pgno + 1) * 4096, SEEK_SET) == 0 &&
              fwrite(at, 1, 4096, f) == 4096);
        fclose(f);
    }
    printf("%d opened, %d refused\n", opened, refused);
    CHECK(opened > 0 && refused > 0);
    folder_end();
}

CTEST_MAIN
