/* The txn room over real trees: rollback, statements, commit, sweep, redo of begin and end records.
 */
#include <unistd.h>

#include "folder.h"
#include "txn/txn.h"

/* ---- a world: folder, log, cache, one database with one tree, sessions ---- */

#define PAGES 200

static struct log *the_log;
static struct cache *cache;
static struct versions *store;
static struct dbfile *db;
static struct btree *tree, *top;
static struct trx sweeper, sweeper_inner;

static struct dbfile *find_db(void *context, dbid_t dbid)
{
    (void)context;
    return dbid == 1 ? db : NULL;
}
static const struct txn_databases dbs = {.find = find_db};

static void world_begin(bool logging)
{
    char path[OS_PATH_MAX];
    folder_begin("txn");
    folder_join(path, "t.edb");
    struct cache_config cc = {.page_size = 4096, .bytes_max = 4 << 20, .bytes_min = 1 << 20};
    struct log_config lc = {.log_dir = folder,
                            .system_dir = folder,
                            .base_name = "edb",
                            .file_size = 1u << 20,
                            .page_size = 4096,
                            .enabled = logging,
                            .legacy_names = 3,
                            .instance_name = "test"};
    CHECK_OK(cache_create(&cc, &cache));
    CHECK_OK(log_create(&lc, &the_log));
    CHECK_OK(log_start_new(the_log, 1));
    CHECK_OK(versions_create(16 << 20, &store));
    struct dbfile_config dc = {.cache = cache, .log = the_log, .versions = store, .dbid = 1};
    CHECK_OK(dbfile_create(&dc, path, PAGES, true, &db));
    trx_init(&sweeper_inner, store, the_log, PROCID_SWEEP - 2, true, NULL);
    trx_init(&sweeper, store, the_log, PROCID_SWEEP, true, &sweeper_inner);
    CHECK_OK(space_init(db));
    CHECK_OK(space_create_root(db, &sweeper, PAGES));
    CHECK_OK(btree_open(db, 1, &top));
    struct space_tree_want want = {.parent = top,
                                   .page_flags = 0,
                                   .unique = true,
                                   .objid = space_new_objid(db),
                                   .cpg = 16,
                                   .multiple = true};
    pgno_t root;
    CHECK_OK(space_create_tree(&want, &sweeper, &root));
    CHECK_OK(btree_open(db, root, &tree));
}

static void world_end(void)
{
    bool worked;
    do {
        CHECK_OK(txn_sweep(&sweeper, &dbs, 1000, &worked));
    } while (worked);
    CHECK_EQ(versions_bytes(store), 0);
    btree_close(tree);
    btree_close(top);
    CHECK_OK(dbfile_flush(db));
    space_term(db);
    dbfile_close(db);
    trx_term(&sweeper);
    trx_term(&sweeper_inner);
    versions_destroy(store);
    CHECK_OK(log_stop(the_log));
    log_destroy(the_log);
    cache_destroy(cache);
    folder_end();
}

struct session {
    struct trx trx, inner;
    struct btree_cursor cursor;
};

static void session_begin(struct session *s, uint16_t procid)
{
    trx_init(&s->inner, store, the_log, (uint16_t)(procid + 100), true, NULL);
    trx_init(&s->trx, store, the_log, procid, false, &s->inner);
    btree_cursor_init(&s->cursor, tree, &s->trx);
}

static void session_end(struct session *s)
{
    btree_cursor_term(&s->cursor);
    trx_term(&s->trx);
    trx_term(&s->inner);
}

static struct slice key_of(uint32_t i, uint8_t bytes[4])
{
    store_be32(bytes, i);
    return SLICE(bytes, 4);
}

static err_t put(struct session *s, uint32_t i, const char *text)
{
    uint8_t k[4];
    return btree_insert(&s->cursor, key_of(i, k), SLICE(text, strlen(text)), BTREE_PLAIN);
}
static err_t change(struct session *s, uint32_t i, const char *text)
{
    uint8_t k[4];
    return btree_replace(&s->cursor, key_of(i, k), SLICE(text, strlen(text)), BTREE_PLAIN);
}
static err_t drop(struct session *s, uint32_t i)
{
    uint8_t k[4];
    return btree_delete(&s->cursor, key_of(i, k), SLICE_EMPTY, BTREE_PLAIN);
}

/* NULL: nothing there. */
static void expect(struct session *s, uint32_t i, const char *text)
{
    uint8_t k[4];
    bool exact;
    err_t err = btree_seek(&s->cursor, key_of(i, k), SLICE_EMPTY, false, SEEK_EQ, &exact);
    if (text == NULL) {
        CHECK_EQ(err, JET_errRecordNotFound);
        return;
    }
    CHECK_OK(err);
    CHECK(slice_equal(s->cursor.data, SLICE(text, strlen(text))));
}

static uint32_t count_rows(struct session *s)
{
    uint32_t n = 0;
    err_t err = btree_first(&s->cursor);
    for (; err >= 0; n++)
        err = btree_next(&s->cursor);
    CHECK_EQ(err, JET_errNoCurrentRecord);
    return n;
}

/* Nodes on pages, whoever sees them. */
static err_t add_nodes(void *context, pgno_t pgno, struct page page, int depth)
{
    (void)pgno;
    (void)depth;
    if (page_flags(page) & PAGE_LEAF)
        *(uint32_t *)context += (uint32_t)page_line_count(page);
    return JET_errSuccess;
}

static uint32_t count_nodes(void)
{
    uint32_t n = 0;
    CHECK_OK(btree_visit(tree, true, add_nodes, &n));
    return n;
}

static void sweep_all(void)
{
    bool worked;
    do {
        CHECK_OK(txn_sweep(&sweeper, &dbs, 100, &worked));
    } while (worked);
}

/* ---- write-ahead ---- */

/* A commit that is only in memory lets its versions go without UndoInfo: then the page waits for that commit's record, or a crash
 * would leave a change that nothing can take back. */
CASE(page_waits_for_a_commit_in_memory)
{
    struct session a;
    world_begin(true);
    session_begin(&a, 1);
    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(put(&a, 1, "one"));
    CHECK_OK(put(&a, 2, "two"));
    CHECK_OK(txn_commit(&a.trx, TXN_DURABLE));
    for (int swept = 0; swept < 2; swept++) {
        CHECK_OK(txn_begin(&a.trx, false));
        CHECK_OK(change(&a, 1, swept ? "uno" : "eins"));
        CHECK_OK(log_flush_all(the_log));
        CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
        CHECK(log_flushed(the_log) < a.trx.last_lgpos_end);
        if (swept)
            sweep_all(); /* not even the version is there */
        CHECK_OK(dbfile_flush(db));
        CHECK(log_flushed(the_log) >= a.trx.last_lgpos_end);
    }
    session_end(&a);
    world_end();
}

/* ---- rollback ---- */

CASE(rollback_by_levels)
{
    struct session a, b;
    world_begin(true);
    session_begin(&a, 1);
    session_begin(&b, 2);
    CHECK_EQ(txn_rollback(&a.trx, &dbs, 0), JET_errNotInTransaction);
    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(put(&a, 1, "one"));
    CHECK_OK(put(&a, 2, "two"));
    CHECK_OK(put(&a, 3, "three"));
    CHECK_OK(txn_commit(&a.trx, TXN_DURABLE));
    CHECK(log_flushed(the_log) >= a.trx.last_lgpos_end);

    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(change(&a, 1, "a longer one"));
    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(drop(&a, 2));
    CHECK_OK(put(&a, 4, "four"));
    CHECK_OK(change(&a, 4, "4"));
    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(change(&a, 1, "x"));
    CHECK_EQ(txn_rollback(&a.trx, &dbs, 4), JET_errNotInTransaction);
    expect(&b, 1, "one");
    expect(&b, 2, "two");
    expect(&b, 4, NULL);
    CHECK_OK(txn_begin(&b.trx, false));
    CHECK_EQ(change(&b, 1, "no"), JET_errWriteConflict);
    CHECK_OK(txn_rollback(&b.trx, &dbs, 0));
    CHECK_OK(txn_rollback(&a.trx, &dbs, 2));
    CHECK_EQ(a.trx.level, 1);
    expect(&a, 1, "a longer one");
    expect(&a, 2, "two");
    expect(&a, 4, NULL);
    expect(&b, 1, "one");
    CHECK_OK(drop(&a, 3));
    CHECK_OK(put(&a, 4, "again"));
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    CHECK_OK(txn_wait_last_commit(&a.trx));
    CHECK(log_flushed(the_log) >= a.trx.last_lgpos_end);
    expect(&b, 1, "a longer one");
    expect(&b, 3, NULL);
    expect(&b, 4, "again");

    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(drop(&a, 4));
    CHECK_OK(put(&a, 4, "other"));
    CHECK_OK(txn_rollback(&a.trx, &dbs, 0));
    CHECK_EQ(a.trx.level, 0);
    expect(&a, 4, "again");
    sweep_all();
    CHECK_EQ(count_nodes(), 3); /* 3 is gone from its page */
    CHECK_EQ(count_rows(&a), 3);
    session_end(&a);
    session_end(&b);
    world_end();
}

/* ---- statements ---- */

struct note {
    struct trx_action action;
    char name;
};
static char story[100];

static void tell(struct trx_action *action, enum trx_event event, struct trx *trx)
{
    struct note *n = (struct note *)(void *)action;
    CHECK(event == TRX_FORGOTTEN || trx != NULL);
    CHECK(event != TRX_SWEPT || trx->level == 0);
    snprintf(story + strlen(story), 8, "%c%c ", n->name, "CSRF"[event]);
    if (event != TRX_COMMITTED)
        free(n);
}

static void note(struct trx *trx, char name)
{
    struct note *n = calloc(1, sizeof *n);
    CHECK(n != NULL);
    *n = (struct note){{.fn = tell}, name};
    trx_add_action(trx, &n->action);
}

CASE(statements)
{
    struct session a;
    struct txn_savepoint sp;
    world_begin(true);
    story[0] = '\0';
    session_begin(&a, 1);
    CHECK_EQ(txn_statement_begin(&a.trx, &sp), JET_errNotInTransaction);
    CHECK_OK(txn_begin(&a.trx, false));
    for (int round = 0; round < 3;
         round++) { /* with nothing, something of the level, something below it */
        CHECK_OK(txn_statement_begin(&a.trx, &sp));
        note(&a.trx, 'u');
        CHECK_OK(put(&a, 10, "ten"));
        CHECK_OK(change(&a, 10, "10"));
        RAISE(JET_errKeyDuplicate);
        err_detail("index by_%s", "item");
        CHECK_EQ(txn_statement_end(&a.trx, &dbs, &sp, JET_errKeyDuplicate), JET_errKeyDuplicate);
        CHECK_EQ(err_last()->err, JET_errKeyDuplicate);
        CHECK(strcmp(err_last()->detail, "index by_item") == 0);
        expect(&a, 10, NULL);
        if (round == 0) {
            CHECK_OK(txn_statement_begin(&a.trx, &sp));
            note(&a.trx, 'k');
            CHECK_OK(put(&a, 1, "kept"));
            CHECK_EQ(txn_statement_end(&a.trx, &dbs, &sp, JET_wrnSeekNotEqual),
                     JET_wrnSeekNotEqual);
        }
        expect(&a, 1, "kept");
        CHECK_EQ(a.trx.level, round < 2 ? 1 : 2);
        if (round == 1)
            CHECK_OK(txn_begin(&a.trx, false));
    }
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    CHECK(strcmp(story, "uR uR uR kC ") == 0);
    sweep_all();
    CHECK(strcmp(story, "uR uR uR kC kS ") == 0);
    CHECK_EQ(count_nodes(), 1);

    CHECK_OK(txn_begin(&a.trx, false));
    a.trx.must_rollback = true;
    CHECK_EQ(txn_statement_begin(&a.trx, &sp), JET_errRollbackRequired);
    CHECK_EQ(txn_commit(&a.trx, TXN_LAZY), JET_errRollbackRequired);
    CHECK_OK(txn_rollback(&a.trx, &dbs, 0));
    session_end(&a);
    world_end();
}

/* ---- sweep ---- */

CASE(sweep_waits_for_readers_and_frees_pages)
{
    struct session a, reader;
    bool worked;
    char text[100];
    memset(text, 'x', sizeof text);
    text[99] = '\0';
    world_begin(true);
    session_begin(&a, 1);
    session_begin(&reader, 2);
    for (uint32_t i = 0; i < 600; i++) {
        CHECK_OK(txn_begin(&a.trx, false));
        CHECK_OK(put(&a, i, text));
        CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    }
    struct space_sum full, empty;
    CHECK_OK(space_sum(tree, &full));
    CHECK_OK(txn_begin(&reader.trx, true));
    CHECK_OK(txn_begin(&a.trx, false));
    for (uint32_t i = 0; i < 600; i++)
        CHECK_OK(drop(&a, i));
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    sweep_all();
    CHECK_EQ(count_nodes(), 600);
    CHECK_EQ(count_rows(&a), 0);
    CHECK_EQ(count_rows(&reader), 600);
    CHECK(versions_bytes(store) > 0);
    CHECK_OK(txn_commit(&reader.trx, TXN_LAZY));
    uint32_t rounds = 0;
    do { /* in bites */
        CHECK_OK(txn_sweep(&sweeper, &dbs, 50, &worked));
        CHECK_EQ(sweeper.level, 0);
        rounds += worked;
    } while (worked);
    CHECK(rounds >= 12);
    CHECK_EQ(count_nodes(), 0);
    CHECK_EQ(versions_bytes(store), 0);
    CHECK_OK(space_sum(tree, &empty));
    CHECK(empty.available > full.available + 10);
    session_end(&a);
    session_end(&reader);
    world_end();
}

/* A rolled back insert, and a database that is gone. */
CASE(clean_up_of_undone)
{
    struct session a;
    world_begin(false); /* with logging off, too */
    session_begin(&a, 1);
    CHECK_OK(txn_begin(&a.trx, false));
    for (uint32_t i = 0; i < 100; i++)
        CHECK_OK(put(&a, i, "undone"));
    CHECK_OK(txn_rollback(&a.trx, &dbs, 0));
    CHECK_EQ(count_rows(&a), 0);
    CHECK_EQ(count_nodes(), 100);
    sweep_all();
    CHECK_EQ(count_nodes(), 0);
    struct version_key elsewhere = {.dbid = 5, .objid = 9, .root = 9, .key = SLICE("k", 1)};
    versions_add_clean(store, &elsewhere);
    sweep_all();
    session_end(&a);
    world_end();
}

static void one_by_one(struct session *s, uint32_t from, uint32_t to, const char *text)
{
    for (uint32_t i = from; i < to; i++) {
        CHECK_OK(txn_begin(&s->trx, false));
        CHECK_OK(put(s, i, text));
        CHECK_OK(txn_commit(&s->trx, TXN_LAZY));
    }
}

/* A committer drops what needs no page: nothing that a reader may need, no more than it is told, and nothing behind a delete. */
CASE(committers_sweep_lightly)
{
    struct session a, reader;
    world_begin(true);
    session_begin(&a, 1);
    session_begin(&reader, 2);
    one_by_one(&a, 0, 100, "first");
    CHECK_OK(txn_begin(&reader.trx, true));
    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(change(&a, 5, "second"));
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    txn_sweep_light(store, 40);
    uint64_t bytes = versions_bytes(store);
    txn_sweep_light(store, 1000);
    CHECK(versions_bytes(store) > 0 && versions_bytes(store) < bytes);
    expect(&reader, 5, "first");
    CHECK_OK(txn_commit(&reader.trx, TXN_LAZY));
    txn_sweep_light(store, 1000);
    CHECK_EQ(versions_bytes(store), 0);
    expect(&a, 5, "second");

    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(put(&a, 200, "kept"));
    CHECK_OK(drop(&a, 7));
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    one_by_one(&a, 300, 310, "after");
    txn_sweep_light(store, 1000);
    CHECK(versions_bytes(store) > 0);
    CHECK_EQ(count_nodes(), 111); /* the deleted one is there: it is the sweeper's */
    sweep_all();
    CHECK_EQ(count_nodes(), 110);
    CHECK_EQ(versions_bytes(store), 0);
    CHECK_EQ(count_rows(&a), 110);
    session_end(&a);
    session_end(&reader);
    world_end();
}

/* ---- redo of begin and end ---- */

static err_t redo(struct trx *trx, const char *hex)
{
    uint8_t bytes[16];
    unsigned value;
    uint32_t n = 0;
    for (; sscanf(hex, "%2x", &value) == 1; hex += hex[2] == ' ' ? 3 : 2) {
        bytes[n++] = (uint8_t)value;
        if (hex[2] == '\0')
            break;
    }
    return txn_redo(trx, LGPOS(2, 1, 0x40), SLICE(bytes, n));
}

CASE(redo_levels)
{
    struct trx trx;
    struct version_undo u;
    struct version_key where = {.dbid = 1, .objid = 9, .root = 9, .key = SLICE("k", 1)};
    world_begin(false);
    trx_init(&trx, store, the_log, 7, false, NULL);
    /* begun before redo: skipped */
    CHECK_OK(redo(&trx, "05 07 00 11"));
    CHECK_OK(redo(&trx, "06 07 00 01"));
    CHECK_OK(redo(&trx, "07 07 00 01"));
    CHECK_EQ(trx.level, 0);
    CHECK_OK(redo(&trx, "09 07 00 00 08 00 00 00"));
    CHECK_OK(redo(&trx, "08 07 00 20 0e 00 00 00"));
    CHECK(trx.level == 2 && trx.begin_number == 14 && trx_begin_bound(&trx) == LGPOS(2, 1, 0x40));
    CHECK_OK(version_redo_add(&trx, VERSION_DELETE, 4, 2, &where, SLICE_EMPTY, 0, 0));
    CHECK_OK(redo(&trx, "06 07 00 01"));
    CHECK_OK(redo(&trx, "05 07 00 21"));
    CHECK_EQ(trx.level, 3);
    CHECK_OK(version_redo_add(&trx, VERSION_DELETE, 8, 3, &where, SLICE_EMPTY, 0, 0));
    CHECK_OK(redo(&trx, "07 07 00 02"));
    CHECK(trx.level == 1 && version_newest(&trx, 0, &u) && u.rceid == 4);
    CHECK_OK(redo(&trx, "45 01 00 00 00 01"));
    CHECK_OK(redo(&trx, "09 07 00 00 08 00 00 00"));
    CHECK(trx.level == 0 && versions_bytes(store) == 0);
    CHECK_OK(redo(&trx, "0a 07 00 12 00 00 00"));
    CHECK(trx.level == 1 && trx.begin_number == 18);
    static const char *const bad[] = {
        "08 07 00",                /* short */
        "08 07 00 00 0e 00 00 00", /* opens no level */
        "08 07 00 12 0e 00 00 00", /* outermost above a level */
        "05 07 00 10",             /* nested at level 0 */
        "05 07 00 f1",             /* too many levels */
        "06 07 00 00",             /* nested commit to 0 */
        "06 07 00 ff",
        "07 07 00 00",
        "07 07 00 02",          /* more than are open */
        "36 07 00 00 00 00 00", /* PrepCommit */
        "37 07 00",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(redo(&trx, bad[i]), JET_errLogFileCorrupt);
    CHECK_EQ(txn_redo(&trx, 0, SLICE_EMPTY), JET_errLogFileCorrupt);
    CHECK_OK(redo(&trx, "07 07 00 01"));
    CHECK_EQ(trx.level, 0);
    versions_redo_done(store, 8, 18);
    trx_term(&trx);
    world_end();
}

CTEST_MAIN
