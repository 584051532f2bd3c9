/* A world for tests above txn: a folder, a log, a cache, one database, trees on demand, sessions, the sweep. */
#ifndef TABLE_WORLD_H
#define TABLE_WORLD_H

#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* a test file takes what it needs */
#include "folder.h"
#include "longval/longval.h"

static uint32_t world_page_size;
static struct log *world_log;
static struct cache *world_cache;
static struct versions *world_versions;
static struct dbfile *world_db;
static struct btree *world_top;
static struct trx world_sweeper, world_sweeper_inner;

static struct dbfile *world_find_db(void *context, dbid_t dbid)
{
    (void)context;
    return dbid == 1 ? world_db : NULL;
}
static struct txn_databases world_dbs = {.find = world_find_db};

static void world_begin(uint32_t page_size)
{
    char path[OS_PATH_MAX];
    world_page_size = page_size;
    folder_begin("table");
    folder_join(path, "t.edb");
    struct cache_config cc = {.page_size = page_size, .bytes_max = 64u << 20, .bytes_min = 1 << 20};
    struct log_config lc = {.log_dir = folder,
                            .system_dir = folder,
                            .base_name = "edb",
                            .file_size = 4u << 20,
                            .page_size = page_size,
                            .enabled = true,
                            .legacy_names = 3,
                            .instance_name = "test"};
    CHECK_OK(cache_create(&cc, &world_cache));
    CHECK_OK(log_create(&lc, &world_log));
    CHECK_OK(log_start_new(world_log, 1));
    CHECK_OK(versions_create(256u << 20, &world_versions));
    struct dbfile_config dc = {
        .cache = world_cache, .log = world_log, .versions = world_versions, .dbid = 1};
    CHECK_OK(dbfile_create(&dc, path, 256, true, &world_db));
    trx_init(&world_sweeper_inner, world_versions, world_log, PROCID_SWEEP - 2, true, NULL);
    trx_init(&world_sweeper, world_versions, world_log, PROCID_SWEEP, true, &world_sweeper_inner);
    CHECK_OK(space_init(world_db));
    CHECK_OK(space_create_root(world_db, &world_sweeper, 256));
    CHECK_OK(btree_open(world_db, 1, &world_top));
}

static void world_sweep(void)
{
    bool worked;
    do {
        CHECK_OK(txn_sweep(&world_sweeper, &world_dbs, 1000, &worked));
    } while (worked);
}

/* Trees are closed by now, sessions at level 0. */
static void world_end(void)
{
    world_sweep();
    CHECK_EQ(versions_bytes(world_versions), 0);
    btree_close(world_top);
    CHECK_OK(dbfile_flush(world_db));
    space_term(world_db);
    dbfile_close(world_db);
    trx_term(&world_sweeper);
    trx_term(&world_sweeper_inner);
    versions_destroy(world_versions);
    CHECK_OK(log_stop(world_log));
    log_destroy(world_log);
    cache_destroy(world_cache);
    folder_end();
}

static struct btree *world_tree(struct btree *parent, uint32_t page_flags, bool unique)
{
    struct space_tree_want want = {.parent = parent,
                                   .page_flags = page_flags,
                                   .unique = unique,
                                   .objid = space_new_objid(world_db),
                                   .cpg = 16,
                                   .multiple = true};
    struct btree *tree;
    pgno_t root;
    CHECK_OK(space_create_tree(&want, &world_sweeper, &root));
    CHECK_OK(btree_open(world_db, root, &tree));
    return tree;
}

struct session {
    struct trx trx, inner;
};

static void session_open(struct session *s)
{
    static _Atomic uint16_t procids = 2;
    uint16_t procid = (uint16_t)(atomic_fetch_add(&procids, 2) + 2);
    trx_init(&s->inner, world_versions, world_log, (uint16_t)(procid + 1), true, NULL);
    trx_init(&s->trx, world_versions, world_log, procid, false, &s->inner);
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
    CHECK_OK(txn_rollback(&s->trx, &world_dbs, 1));
}

/* A long value tree below the top, made when it is first wanted. */
struct world_home {
    struct longval_home home;
    struct btree *parent, *tree;
};
static err_t world_longval_tree(void *context, struct trx *trx, bool create, struct btree **tree)
{
    struct world_home *w = context;
    (void)trx;
    if (w->tree == NULL && create)
        w->tree = world_tree(w->parent, PAGE_LONG_VALUE, true);
    *tree = w->tree;
    return JET_errSuccess;
}
static void world_home_init(struct world_home *w, struct btree *parent)
{
    *w = (struct world_home){.home = {.context = w, .tree = world_longval_tree}, .parent = parent};
    w->home.chunk_size = longval_chunk_size(world_page_size);
}
static void world_home_term(struct world_home *w)
{
    if (w->tree != NULL)
        btree_close(w->tree);
}
static int __attribute__((unused)) world_count(struct btree *tree, struct trx *trx)
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

#endif
