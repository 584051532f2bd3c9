#include <unistd.h>

#include "recovery/recovery.h"
#include "scratch.h"

/* ---- folders ---- */

static const char *in(const char *dir, const char *name)
{
    static char paths[8][OS_PATH_MAX];
    static int next;
    char *p = paths[next++ % 8];
    CHECK_OK(os_join(p, OS_PATH_MAX, dir, name));
    return p;
}

static void copy_file(const char *from, const char *to)
{
    enum { STEP = 1 << 16 };
    static uint8_t bytes[STEP];
    struct os_file *a, *b;
    size_t got;
    CHECK_OK(os_file_open(from, OS_READ, &a));
    CHECK_OK(os_file_open(to, OS_WRITE | OS_CREATE | OS_TRUNCATE, &b));
    for (uint64_t at = 0;; at += got) {
        CHECK_OK(os_file_read_some(a, at, bytes, STEP, &got));
        if (got == 0)
            break;
        CHECK_OK(os_file_write(b, at, bytes, got));
    }
    os_file_close(a);
    os_file_close(b);
}

static char copy_from[OS_PATH_MAX], copy_to[OS_PATH_MAX];

static err_t copy_entry(void *context, const char *name, bool is_dir)
{
    (void)context;
    if (!is_dir)
        copy_file(in(copy_from, name), in(copy_to, name));
    return JET_errSuccess;
}

/* What a kill at this moment would leave. */
static void copy_dir(const char *from, const char *to)
{
    snprintf(copy_from, sizeof copy_from, "%s", from);
    snprintf(copy_to, sizeof copy_to, "%s", to);
    remove_tree(copy_to);
    CHECK_OK(os_dir_create(copy_to));
    CHECK_OK(os_dir_list(copy_from, copy_entry, NULL));
}

static void flip_bit(const char *path, uint64_t offset)
{
    struct os_file *f;
    uint8_t byte;
    CHECK_OK(os_file_open(path, OS_WRITE, &f));
    CHECK_OK(os_file_read(f, offset, &byte, 1));
    byte ^= 0x10;
    CHECK_OK(os_file_write(f, offset, &byte, 1));
    os_file_close(f);
}

/* ---- a small instance over one database with one tree ---- */

enum { SESSIONS = 4, KEYS = 480, PAGE = 4096, TREE_ROOT_UNKNOWN = 0 };

struct world {
    char dir[OS_PATH_MAX];
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct double_write *dw;
    struct checkpointer *checkpointer;
    struct dbfile *db;
    struct btree *system, *tree;
    struct table_desc *desc; /* with a catalog: the tree's table */
    struct trx trx[SESSIONS], inner[SESSIONS], sweeper, sweeper_inner;
    struct txn_databases dbs;
    struct recovery_result recovered;
    lgpos_t init_at;
    bool catalog;
};
struct options {
    uint32_t frames;
    uint32_t log_size;
    bool circular, catalog;
    uint64_t depth;
    bool no_undo, ignore_lost, ignore_missing_db;
    const char *set_dir;
    uint32_t set_low, set_high;
    lgpos_t stop;
    struct progress progress;
};
static const struct options plain = {.frames = 256, .log_size = 64 * 1024, .depth = 256 * 1024};

static pgno_t tree_root;   /* of the tree, the same in every copy */
static char first_path[OS_PATH_MAX]; /* where the database was created */

static struct dbfile *find_db(void *context, dbid_t dbid)
{
    struct world *w = context;
    return dbid == 1 ? w->db : NULL;
}

/* What catalog does for real databases. */
static err_t reconcile(struct dbfile *db, struct trx *trx, uint32_t *found)
{
    struct btree *system, *tree;
    TRY_RETURN(btree_open(db, 1, &system));
    err_t err = JET_errSuccess;
    if (tree_root != PGNO_NIL) {
        err = btree_open(db, tree_root, &tree);
        if (err >= 0) {
            err = space_reconcile(tree, NULL, 0, trx, found);
            btree_close(tree);
        }
        if (err >= 0)
            err = space_reconcile(system, &tree_root, 1, trx, found);
    }
    btree_close(system);
    return err;
}

static void make_rooms(struct world *w, const struct options *o)
{
    struct cache_config cc = {.page_size = PAGE, .bytes_max = (uint64_t)o->frames * PAGE};
    struct log_config lc = {
        .log_dir = w->dir,
        .system_dir = w->dir,
        .base_name = "edb",
        .file_size = o->log_size,
        .buffer_size = 1 << 20,
        .page_size = PAGE,
        .circular = o->circular,
        .enabled = true,
        .legacy_names = JET_bitESE98FileNames | JET_bitEightDotThreeSoftCompat,
        .instance_name = "test",
    };
    CHECK_OK(cache_create(&cc, &w->cache));
    CHECK_OK(log_create(&lc, &w->log));
    CHECK_OK(versions_create(64 << 20, &w->versions));
}

static err_t recover(struct world *w, const struct options *o)
{
    char db_path[OS_PATH_MAX];
    CHECK_OK(os_join(db_path, sizeof db_path, w->dir, "a.edb"));
    struct recovery_map map = {.from = first_path, .to = db_path};
    struct recovery_config rc = {
        .cache = w->cache,
        .log = w->log,
        .versions = w->versions,
        .double_write = &w->dw,
        .page_size = PAGE,
        .log_dir = w->dir,
        .system_dir = w->dir,
        .base_name = "edb",
        .instance_name = "test",
        .map = &map,
        .map_count = first_path[0] != 0,
        .undo = !o->no_undo,
        .ignore_lost_logs = o->ignore_lost,
        .ignore_missing_db = o->ignore_missing_db,
        .reconcile = o->catalog ? NULL : reconcile,
        .progress = o->progress,
    };
    rc.stop = o->stop;
    rc.set_dir = o->set_dir;
    rc.set_gen_low = o->set_low;
    rc.set_gen_high = o->set_high;
    return recovery_run(&rc, &w->recovered);
}

static void drop_rooms(struct world *w)
{
    checkpointer_destroy(w->checkpointer);
    versions_destroy(w->versions);
    double_write_close(w->dw, false);
    log_destroy(w->log);
    cache_destroy(w->cache);
}

static uint64_t fault_hits;

/* Up to recovery; on an error everything is torn down. */
static err_t begin_world(struct world *w, const char *dir, const struct options *o)
{
    memset(w, 0, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "%s", dir);
    make_rooms(w, o);
    err_t err = recover(w, o);
    fault_hits = os_fault_hits();
    os_fault_set(NULL); /* plans of faults are meant for recovery */
    if (err < 0) {
        drop_rooms(w);
        return err;
    }
    struct checkpointer_config pc = {
        .cache = w->cache, .log = w->log, .versions = w->versions, .depth_max = o->depth, .instance_name = "test"};
    CHECK_OK(checkpointer_create(&pc, &w->checkpointer));
    CHECK_OK(recovery_log_init(w->log, &w->init_at));
    w->dbs = (struct txn_databases){.context = w, .find = find_db};
    w->catalog = o->catalog;
    for (int i = 0; i < SESSIONS; i++) {
        trx_init(&w->inner[i], w->versions, w->log, (uint16_t)(20 + i), true, NULL);
        trx_init(&w->trx[i], w->versions, w->log, (uint16_t)(2 + i), false, &w->inner[i]);
    }
    trx_init(&w->sweeper_inner, w->versions, w->log, 30, true, NULL);
    trx_init(&w->sweeper, w->versions, w->log, PROCID_SWEEP, true, &w->sweeper_inner);
    return JET_errSuccess;
}

struct attach_edit {
    struct world *w;
    lgpos_t at;
    enum db_state state;
};

static void edit_attach(struct db_header *h, void *context)
{
    const struct attach_edit *e = context;
    uint32_t gen = LGPOS_GEN(e->at);
    h->state = e->state;
    h->lgpos_attach = e->at;
    h->sign_log = *log_signature(e->w->log);
    h->gen_min_required = h->gen_min_consistent = h->gen_max_required = h->gen_max_committed = gen;
    CHECK_OK(log_generation_time(e->w->log, gen, &h->time_gen_max_created));
}

static void edit_state(struct db_header *h, void *context)
{
    h->state = *(enum db_state *)context;
}

static void list_database(struct world *w)
{
    struct log_attached a = {
        .dbid = 1,
        .dbtime = &w->db->dbtime,
        .objid_last = &w->db->objid_last,
        .lgpos_attach = w->db->header.lgpos_attach,
        .lgpos_consistent = w->db->header.lgpos_consistent,
        .sign_db = w->db->header.sign_db,
        .path = w->db->path,
    };
    log_set_attached(w->log, &a, 1);
}

static struct dbfile_config db_config(struct world *w)
{
    return (struct dbfile_config){.cache = w->cache, .log = w->log, .versions = w->versions, .double_write = w->dw, .dbid = 1};
}

static void finish_creation(struct world *w)
{
    enum db_state dirty = DB_DIRTY;
    CHECK_OK(recovery_log_create_db_finish(w->log, 1, 1));
    CHECK_OK(log_flush_all(w->log));
    CHECK_OK(dbfile_update_header(w->db, edit_state, &dirty));
    CHECK_OK(checkpointer_attach(w->checkpointer, w->db));
    checkpointer_release(w->checkpointer);
}

static void open_table(struct world *w)
{
    CHECK_OK(catalog_open(w->db, &w->dbs, w->dir, &w->trx[0]));
    CHECK_OK(catalog_table(w->db, &w->trx[0], "t", &w->desc));
    w->tree = w->desc->tree;
}

static void create_by_catalog(struct world *w)
{
    struct table_desc *desc;
    CHECK_OK(catalog_bootstrap(w->db, &w->trx[0], &w->dbs, 64));
    finish_creation(w);
    CHECK_OK(catalog_open(w->db, &w->dbs, w->dir, &w->trx[0]));
    CHECK_OK(txn_begin(&w->trx[0], false));
    CHECK_OK(catalog_create_table(w->db, &w->trx[0], "t", 8, 80, &desc));
    CHECK_OK(txn_commit(&w->trx[0], TXN_DURABLE));
    w->desc = desc;
    w->tree = desc->tree;
}

/* finish: with CreateDBFinish. */
static void create_database(struct world *w, bool finish)
{
    struct dbfile_config dc = db_config(w);
    struct attach_edit e = {w, 0, DB_JUST_CREATED};
    checkpointer_hold(w->checkpointer);
    CHECK_OK(dbfile_create(&dc, in(w->dir, "a.edb"), 64, false, &w->db));
    snprintf(first_path, sizeof first_path, "%s", w->db->path);
    CHECK_OK(recovery_log_create_db(w->log, 1, 1, w->db->path, &w->db->header.sign_db, 0, &e.at));
    CHECK_OK(log_flush_all(w->log));
    CHECK_OK(dbfile_update_header(w->db, edit_attach, &e));
    list_database(w);
    CHECK_OK(space_init(w->db));
    if (w->catalog) {
        create_by_catalog(w);
        return;
    }
    CHECK_OK(space_create_root(w->db, &w->inner[0], 64));
    CHECK_OK(btree_open(w->db, 1, &w->system));
    struct space_tree_want want = {
        .parent = w->system, .page_flags = 0, .unique = true, .objid = space_new_objid(w->db), .cpg = 8, .multiple = true};
    CHECK_OK(space_create_tree(&want, &w->inner[0], &tree_root));
    CHECK_OK(btree_open(w->db, tree_root, &w->tree));
    if (finish)
        finish_creation(w);
}

static void attach_database(struct world *w)
{
    struct dbfile_config dc = db_config(w);
    struct attach_edit e = {w, 0, DB_DIRTY};
    checkpointer_hold(w->checkpointer);
    CHECK_OK(dbfile_open(&dc, in(w->dir, "a.edb"), &w->db));
    CHECK_EQ(w->db->header.state, DB_CLEAN);
    CHECK_OK(recovery_log_attach_db(w->log, 1, 1, w->db->path, &w->db->header, &e.at));
    CHECK_OK(log_flush_all(w->log));
    CHECK_OK(dbfile_update_header(w->db, edit_attach, &e));
    list_database(w);
    CHECK_OK(space_init(w->db));
    if (w->catalog) {
        open_table(w);
    } else {
        CHECK_OK(btree_open(w->db, 1, &w->system));
        CHECK_OK(btree_open(w->db, tree_root, &w->tree));
    }
    CHECK_OK(checkpointer_attach(w->checkpointer, w->db));
    checkpointer_release(w->checkpointer);
}

/* As a kill would: nothing reaches the disk any more. */
static void abandon(struct world *w)
{
    for (int i = 0; i < SESSIONS; i++) {
        trx_term(&w->trx[i]);
        trx_term(&w->inner[i]);
    }
    trx_term(&w->sweeper);
    trx_term(&w->sweeper_inner);
    if (w->desc != NULL) {
        catalog_release(w->desc);
        catalog_close(w->db);
    } else if (w->tree != NULL) {
        btree_close(w->tree);
    }
    if (w->system != NULL)
        btree_close(w->system);
    if (w->db != NULL) {
        space_term(w->db);
        dbfile_close(w->db);
    }
    drop_rooms(w);
}

static void edit_clean(struct db_header *h, void *context)
{
    h->state = DB_CLEAN;
    h->lgpos_consistent = h->lgpos_detach = *(lgpos_t *)context;
    h->gen_min_required = h->gen_max_required = h->gen_min_consistent = h->gen_max_committed = 0;
    memset(&h->time_gen_max_created, 0, sizeof h->time_gen_max_created);
}

static void sweep(struct world *w)
{
    bool worked = true;
    while (worked)
        CHECK_OK(txn_sweep(&w->sweeper, &w->dbs, 10000, &worked));
}

/* How far an orderly end gets. */
enum stop_at { STOP_MARKED, STOP_CLEAN_HEADER, STOP_TERM, STOP_ALL };

static void shut_down(struct world *w, enum stop_at stop)
{
    lgpos_t mark, term;
    CHECK_OK(dbfile_flush(w->db));
    CHECK_OK(recovery_log_shutdown_mark(w->log, &mark));
    CHECK_OK(log_flush_all(w->log));
    if (stop >= STOP_CLEAN_HEADER) {
        CHECK_OK(dbfile_update_header(w->db, edit_clean, &mark));
        checkpointer_detach(w->checkpointer, w->db);
    }
    if (stop >= STOP_TERM) {
        CHECK_OK(recovery_log_term(w->log, w->init_at, &term));
        CHECK_OK(log_flush_all(w->log));
    }
    if (stop >= STOP_ALL)
        CHECK_OK(checkpointer_write_file(w->checkpointer, term, false));
    CHECK_OK(log_stop(w->log));
    abandon(w);
}

/* ---- the model: a number a key, 0 = absent ---- */

struct model {
    uint32_t committed[KEYS];
    uint32_t now[KEYS];                       /* with what is not committed */
    uint32_t saved[SESSIONS][3][KEYS];        /* when level i + 1 began */
    unsigned long long random;
    uint64_t commits, rollbacks;
};

static unsigned long long chance(struct model *m, unsigned n)
{
    return ctest_random(&m->random) % n;
}

static struct slice key_of(int k)
{
    static uint8_t key[12];
    store_be32(key, (uint32_t)k * 2654435761u >> 12);
    store_be32(key + 4, (uint32_t)k);
    memset(key + 8, 'k', 4);
    return SLICE(key, 12);
}

static struct slice value_of(uint32_t number)
{
    static uint8_t data[400];
    uint32_t n = 4 + number % 300;
    store_u32(data, number);
    for (uint32_t i = 4; i < n; i++)
        data[i] = (uint8_t)(number * 31 + i);
    return SLICE(data, n);
}

static void change(struct world *w, struct model *m, int s)
{
    int k = (int)chance(m, KEYS / SESSIONS) * SESSIONS + s;
    struct btree_cursor c;
    btree_cursor_init(&c, w->tree, &w->trx[s]);
    uint32_t number = (uint32_t)chance(m, 1u << 30) + 1;
    if (m->now[k] == 0) {
        CHECK_OK(btree_insert(&c, key_of(k), value_of(number), BTREE_PLAIN));
        m->now[k] = number;
    } else if (chance(m, 3) == 0) {
        CHECK_OK(btree_delete(&c, key_of(k), SLICE_EMPTY, BTREE_PLAIN));
        m->now[k] = 0;
    } else {
        CHECK_OK(btree_replace(&c, key_of(k), value_of(number), BTREE_PLAIN));
        m->now[k] = number;
    }
    btree_cursor_term(&c);
}

static void keep_own(uint32_t *to, const uint32_t *from, int s)
{
    for (int k = s; k < KEYS; k += SESSIONS)
        to[k] = from[k];
}

static void begin_level(struct world *w, struct model *m, int s)
{
    keep_own(m->saved[s][w->trx[s].level], m->now, s);
    CHECK_OK(txn_begin(&w->trx[s], false));
}

static void end_level(struct world *w, struct model *m, int s)
{
    struct trx *trx = &w->trx[s];
    if (chance(m, 4) == 0) {
        CHECK_OK(txn_rollback(trx, &w->dbs, 1));
        keep_own(m->now, m->saved[s][trx->level], s);
        m->rollbacks++;
    } else {
        CHECK_OK(txn_commit(trx, TXN_DURABLE));
        if (trx->level == 0)
            keep_own(m->committed, m->now, s);
        m->commits++;
    }
}

/* One step of a random session. */
static void step(struct world *w, struct model *m)
{
    int s = (int)chance(m, SESSIONS);
    uint8_t level = w->trx[s].level;
    unsigned long long what = chance(m, 20);
    if (level == 0 || (level < 3 && what == 0))
        begin_level(w, m, s);
    else if (what < 4)
        end_level(w, m, s);
    else
        change(w, m, s);
}

static void write_some(struct world *w, struct model *m)
{
    struct write_goal goal = {.log = w->log, .older_than = LGPOS_MAX, .pages_max = 8, .random_steal = true};
    uint32_t written;
    switch (chance(m, 40)) {
    case 0:
    case 1:
    case 2:
        CHECK_OK(cache_write_back(w->cache, &goal, &written));
        break;
    case 3:
        sweep(w);
        break;
    case 4:
        CHECK_OK(checkpointer_run(w->checkpointer, false));
        break;
    default:
        break;
    }
}

static void work(struct world *w, struct model *m, int steps)
{
    for (int i = 0; i < steps; i++) {
        step(w, m);
        write_some(w, m);
    }
}

static void check_tree(struct world *w, const struct model *m)
{
    struct btree_cursor c;
    bool exact;
    int present = 0, counted = 0;
    btree_cursor_init(&c, w->tree, NULL);
    for (int k = 0; k < KEYS; k++) {
        err_t err = btree_seek(&c, key_of(k), SLICE_EMPTY, false, SEEK_EQ, &exact);
        if (m->committed[k] == 0) {
            CHECK_EQ(err, JET_errRecordNotFound);
            continue;
        }
        CHECK_OK(err);
        CHECK(slice_equal(c.data, value_of(m->committed[k])));
        present++;
    }
    for (err_t err = btree_first(&c); err >= 0; err = btree_next(&c))
        counted++;
    CHECK_EQ(counted, present);
    btree_cursor_term(&c);
}

/* Whatever space there is, is somebody's. */
static void check_space(struct world *w)
{
    uint32_t found = 0;
    CHECK_OK(w->catalog ? catalog_reconcile(w->db, &w->trx[0], &found) : reconcile(w->db, &w->trx[0], &found));
    CHECK_EQ(found, 0);
}

static bool damaged_on_purpose; /* a closed log stays as it is: a reader corrects it each time */

/* The judge of the logs, where it is at hand (PYJET_JUDGES: its folder). */
static void judge_logs(const char *dir)
{
    const char *tools = getenv("PYJET_JUDGES");
    char command[3 * OS_PATH_MAX];
    if (tools == NULL || damaged_on_purpose)
        return;
    snprintf(command, sizeof command, "python3 %s/edblog.py check %s/edb.log $(ls %s/edb0*.log 2>/dev/null) > %s/judge.txt 2>&1 || { cat %s/judge.txt; false; }", tools, dir, dir, dir, dir);
    CHECK_EQ(system(command), 0);
}

/* Recovers a copy, compares it with the model, ends it in good order. */
static struct recovery_result check_copy(const char *where, const struct model *m, const struct options *o)
{
    struct world w;
    char dir[OS_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", where);
    CHECK_OK(begin_world(&w, dir, o));
    struct recovery_result result = w.recovered;
    judge_logs(dir);
    attach_database(&w);
    check_tree(&w, m);
    check_space(&w);
    check_tree(&w, m);
    shut_down(&w, STOP_ALL);
    CHECK_OK(begin_world(&w, dir, o));
    CHECK(w.recovered.clean_end && !w.recovered.redone);
    attach_database(&w);
    check_tree(&w, m);
    shut_down(&w, STOP_ALL);
    return result;
}

static void start(struct world *w, struct model *m, const struct options *o)
{
    new_scratch("recovery");
    memset(m, 0, sizeof *m);
    first_path[0] = 0;
    tree_root = PGNO_NIL;
    CHECK_OK(os_dir_create(in(scratch, "live")));
    CHECK_OK(begin_world(w, in(scratch, "live"), o));
    create_database(w, true);
}

/* ---- cases ---- */

CASE(new_and_clean)
{
    struct world w;
    struct model m;
    start(&w, &m, &plain);
    CHECK(!w.recovered.redone);
    shut_down(&w, STOP_ALL);
    CHECK_OK(begin_world(&w, in(scratch, "live"), &plain));
    CHECK(w.recovered.clean_end && !w.recovered.redone);
    attach_database(&w);
    check_tree(&w, &m);
    shut_down(&w, STOP_ALL);
    judge_logs(in(scratch, "live"));
    remove_scratch();
}

CASE(crash_without_writes)
{
    struct world w;
    struct model m;
    start(&w, &m, &plain);
    m.random = ctest_seed();
    for (int i = 0; i < 300; i++)
        step(&w, &m);
    copy_dir(w.dir, in(scratch, "copy"));
    struct recovery_result r = check_copy(in(scratch, "copy"), &m, &plain);
    CHECK(r.redone && !r.clean_end && r.applied > 0 && r.sessions_undone > 0 && r.undone > 0);
    abandon(&w);
    remove_scratch();
}

CASE(crashes)
{
    struct world w;
    struct model m;
    struct options o = plain;
    o.frames = 64;
    struct recovery_result sum = {0};
    start(&w, &m, &o);
    m.random = ctest_seed();
    uint64_t undo_infos = 0;
    for (int round = 0; round < 30; round++) {
        work(&w, &m, 20 + (int)chance(&m, 300));
        undo_infos = version_undo_info_count(w.versions);
        copy_dir(w.dir, in(scratch, "copy"));
        struct recovery_result r = check_copy(in(scratch, "copy"), &m, round % 2 == 0 ? &o : &plain);
        sum.undone += r.undone;
        sum.undo_after_steal += r.undo_after_steal;
        sum.macros_half_redone += r.macros_half_redone;
        sum.records_filtered += r.records_filtered;
        sum.skipped += r.skipped;
        sum.pages_reconciled += r.pages_reconciled;
    }
    printf("undo infos %llu, undone %llu, after steal %llu, macros half %llu, filtered %llu, skipped %llu, reconciled %llu\n",
           (unsigned long long)undo_infos, (unsigned long long)sum.undone, (unsigned long long)sum.undo_after_steal,
           (unsigned long long)sum.macros_half_redone, (unsigned long long)sum.records_filtered, (unsigned long long)sum.skipped,
           (unsigned long long)sum.pages_reconciled);
    CHECK(undo_infos > 0 && sum.undone > 0 && sum.undo_after_steal > 0 && sum.records_filtered > 0 && sum.skipped > 0);
    abandon(&w);
    remove_scratch();
}

/* The same over a real catalog, with tables made and dropped, some never committed. */
CASE(catalog_crashes)
{
    struct world w;
    struct model m;
    struct options o = plain;
    uint64_t reconciled = 0;
    o.catalog = true;
    o.frames = 128;
    start(&w, &m, &o);
    m.random = ctest_seed();
    for (int round = 0; round < 12; round++) {
        struct trx other, inner;
        struct table_desc *desc;
        char name[16];
        snprintf(name, sizeof name, "u%d", round);
        trx_init(&inner, w.versions, w.log, 41, true, NULL);
        trx_init(&other, w.versions, w.log, 40, false, &inner);
        CHECK_OK(txn_begin(&other, false));
        CHECK_OK(catalog_create_table(w.db, &other, name, 8, 80, &desc));
        catalog_release(desc);
        work(&w, &m, 150);
        copy_dir(w.dir, in(scratch, "copy"));
        reconciled += check_copy(in(scratch, "copy"), &m, &o).pages_reconciled;
        if (round % 3 == 0)
            CHECK_OK(txn_rollback(&other, &w.dbs, 0));
        else
            CHECK_OK(txn_commit(&other, TXN_DURABLE));
        if (round % 3 == 2) {
            CHECK_OK(txn_begin(&other, false));
            CHECK_OK(catalog_drop_table(w.db, &other, name));
            CHECK_OK(txn_commit(&other, TXN_DURABLE));
        }
        trx_term(&other);
        trx_term(&inner);
        copy_dir(w.dir, in(scratch, "copy"));
        reconciled += check_copy(in(scratch, "copy"), &m, &o).pages_reconciled;
    }
    printf("pages reconciled: %llu\n", (unsigned long long)reconciled);
    CHECK(reconciled > 0);
    for (int s = 0; s < SESSIONS; s++)
        if (w.trx[s].level != 0)
            CHECK_OK(txn_rollback(&w.trx[s], &w.dbs, 0));
    sweep(&w);
    shut_down(&w, STOP_ALL);
    remove_scratch();
}

/* A crash inside recovery, at its n-th write, again and again in the same folder. */
CASE(crashes_in_recovery)
{
    struct world w, again;
    struct model m;
    struct options o = plain;
    o.frames = 64;
    start(&w, &m, &o);
    m.random = ctest_seed();
    int failed = 0;
    for (int round = 0; round < 4; round++) {
        work(&w, &m, 300);
        copy_dir(w.dir, in(scratch, "copy"));
        for (uint64_t n = round; n < 200; n += 1 + n / 4) {
            struct os_fault fault = {.ops = 1u << OS_OP_WRITE | 1u << OS_OP_SIZE | 1u << OS_OP_SYNC | 1u << OS_OP_UNLINK | 1u << OS_OP_RENAME,
                                     .path_part = "/copy/",
                                     .after = n,
                                     .count = UINT64_MAX,
                                     .error = -1};
            os_fault_set(&fault);
            err_t err = begin_world(&again, in(scratch, "copy"), &o);
            if (err >= 0) {
                CHECK_EQ(fault_hits, 0);
                abandon(&again);
                break;
            }
            failed++;
        }
        check_copy(in(scratch, "copy"), &m, &plain);
    }
    CHECK(failed > 20);
    abandon(&w);
    remove_scratch();
}

/* An orderly end that is cut off at each of its steps. */
CASE(cut_off_ends)
{
    struct world w;
    struct model m;
    for (int stop = STOP_MARKED; stop <= STOP_ALL; stop++) {
        start(&w, &m, &plain);
        m.random = ctest_seed();
        work(&w, &m, 200);
        for (int s = 0; s < SESSIONS; s++)
            if (w.trx[s].level != 0)
                CHECK_OK(txn_rollback(&w.trx[s], &w.dbs, 0));
        memcpy(m.now, m.committed, sizeof m.now);
        sweep(&w);
        shut_down(&w, (enum stop_at)stop);
        struct recovery_result r = check_copy(in(scratch, "live"), &m, &plain);
        CHECK_EQ(r.clean_end, stop >= STOP_TERM);
        CHECK_EQ(r.undone + r.sessions_undone, 0);
    }
    remove_scratch();
}

CASE(unfinished_creation)
{
    struct world w;
    new_scratch("recovery");
    first_path[0] = 0;
    tree_root = PGNO_NIL;
    CHECK_OK(os_dir_create(in(scratch, "live")));
    CHECK_OK(begin_world(&w, in(scratch, "live"), &plain));
    create_database(&w, false);
    CHECK_OK(dbfile_flush(w.db));
    abandon(&w);
    CHECK(os_exists(in(in(scratch, "live"), "a.edb")));
    CHECK_OK(begin_world(&w, in(scratch, "live"), &plain));
    CHECK(w.recovered.redone);
    CHECK(!os_exists(in(in(scratch, "live"), "a.edb")));
    abandon(&w);
    remove_scratch();
}

/* The file was never written: all of it comes from the log. */
CASE(created_again_from_the_log)
{
    struct world w;
    struct model m;
    start(&w, &m, &plain);
    m.random = ctest_seed();
    for (int i = 0; i < 200; i++)
        step(&w, &m);
    copy_dir(w.dir, in(scratch, "copy"));
    CHECK_OK(os_unlink(in(in(scratch, "copy"), "a.edb")));
    check_copy(in(scratch, "copy"), &m, &plain);
    abandon(&w);
    remove_scratch();
}

static void expect(const char *dir, const struct options *o, err_t expected)
{
    struct world w;
    err_t err = begin_world(&w, dir, o);
    if (err != expected)
        fprintf(stderr, "%s instead of %s: %s\n", err_name(err), err_name(expected), err_last()->detail);
    CHECK_EQ(err, expected);
}

static void lose(const char *dir, const char *name)
{
    char path[OS_PATH_MAX];
    CHECK_OK(os_join(path, sizeof path, dir, name));
    CHECK_OK(os_unlink(path));
}

CASE(damage)
{
    struct world w;
    struct model m;
    struct options o = plain;
    char dir[OS_PATH_MAX], name[32];
    o.depth = 320 * 1024;
    start(&w, &m, &o);
    m.random = ctest_seed();
    while (log_current_generation(w.log) < 12) {
        for (int i = 0; i < 50; i++)
            step(&w, &m);
        for (int s = 0; s < SESSIONS; s++)
            while (w.trx[s].level != 0)
                end_level(&w, &m, s);
        CHECK_OK(checkpointer_run(w.checkpointer, false));
    }
    for (int i = 0; i < 30; i++)
        step(&w, &m);
    CHECK_OK(os_join(dir, sizeof dir, scratch, "copy"));
    uint32_t low = LGPOS_GEN(checkpointer_position(w.checkpointer)), high = log_current_generation(w.log);
    printf("generations %u..%u\n", low, high);
    CHECK(low > 1 && low + 2 < high);

    copy_dir(w.dir, dir); /* nothing wrong */
    check_copy(dir, &m, &o);

    copy_dir(w.dir, dir); /* no checkpoint: all logs */
    lose(dir, "edb.chk");
    check_copy(dir, &m, &o);

    copy_dir(w.dir, dir); /* one copy of it damaged, then both */
    flip_bit(in(dir, "edb.chk"), 13);
    check_copy(dir, &m, &o);
    copy_dir(w.dir, dir);
    flip_bit(in(dir, "edb.chk"), 13);
    flip_bit(in(dir, "edb.chk"), 4096 + 13);
    check_copy(dir, &m, &o);

    copy_dir(w.dir, dir); /* logs below the checkpoint are not needed */
    lose(dir, "edb00001.log");
    check_copy(dir, &m, &o);

    copy_dir(w.dir, dir); /* the checkpoint's log */
    CHECK_OK(log_name("edb", low, 3, name, sizeof name));
    lose(dir, name);
    expect(dir, &o, JET_errMissingLogFile);

    copy_dir(w.dir, dir); /* a gap */
    CHECK_OK(log_name("edb", low + 1, 3, name, sizeof name));
    lose(dir, name);
    expect(dir, &o, JET_errMissingLogFile);

    copy_dir(w.dir, dir); /* no checkpoint, and the lowest that is required is gone */
    lose(dir, "edb.chk");
    for (uint32_t g = 1; g <= low; g++) {
        CHECK_OK(log_name("edb", g, 3, name, sizeof name));
        lose(dir, name);
    }
    expect(dir, &o, JET_errRequiredLogFilesMissing);

    copy_dir(w.dir, dir); /* the current one */
    lose(dir, "edb.log");
    expect(dir, &o, JET_errMissingLogFile);

    copy_dir(w.dir, dir); /* a flipped bit is put right */
    CHECK_OK(log_name("edb", high - 1, 3, name, sizeof name));
    flip_bit(in(dir, name), 5 * 4096 + 1000);
    damaged_on_purpose = true;
    check_copy(dir, &m, &o);
    damaged_on_purpose = false;

    copy_dir(w.dir, dir); /* three in one segment are not */
    for (int i = 0; i < 3; i++)
        flip_bit(in(dir, name), 5 * 4096 + 1000 + 37u * (unsigned)i);
    struct world again;
    err_t err = begin_world(&again, dir, &o);
    CHECK(err == JET_errLogFileCorrupt || err == JET_errCommittedLogFileCorrupt);

    copy_dir(w.dir, dir); /* the database is gone */
    lose(dir, "a.edb");
    lose(dir, "edb.dwr");
    expect(dir, &o, JET_errAttachedDatabaseMismatch);
    struct options lenient = o;
    lenient.ignore_missing_db = true;
    CHECK_OK(begin_world(&again, dir, &lenient));
    abandon(&again);

    copy_dir(w.dir, dir); /* redo only, twice, then all */
    struct options half = o;
    half.no_undo = true;
    expect(dir, &half, JET_errRecoveredWithoutUndo);
    expect(dir, &half, JET_errRecoveredWithoutUndo);
    half.no_undo = false;
    half.stop = LGPOS(high - 1, 0, 0);
    expect(dir, &half, JET_errRecoveredWithoutUndo);
    check_copy(dir, &m, &o);
    abandon(&w);
    remove_scratch();
}

/* Current log lost together with committed work: refused, or let go on request. */
CASE(lost_committed)
{
    struct world w;
    struct model m, before;
    struct options o = plain;
    char dir[OS_PATH_MAX], name[32];
    start(&w, &m, &o);
    m.random = ctest_seed();
    while (log_current_generation(w.log) < 3)
        work(&w, &m, 20);
    CHECK_OK(os_join(dir, sizeof dir, scratch, "copy"));
    struct required_edit {
        uint32_t generation;
    } committed = {log_current_generation(w.log) + 2};
    copy_dir(w.dir, dir);
    struct os_file *f;
    struct db_header h;
    CHECK_OK(os_file_open(in(dir, "a.edb"), OS_WRITE, &f));
    CHECK_OK(db_header_read(f, &h, NULL));
    h.gen_max_committed = committed.generation;
    CHECK_OK(db_header_write(f, &h));
    os_file_close(f);
    before = m;
    expect(dir, &o, JET_errCommittedLogFilesMissing);
    struct world again;
    o.ignore_lost = true;
    CHECK_EQ(begin_world(&again, dir, &o), JET_errSuccess);
    attach_database(&again);
    check_tree(&again, &before);
    shut_down(&again, STOP_ALL);
    (void)name;
    abandon(&w);
    remove_scratch();
}

/* Under load the checkpoint comes along, old logs go, and every crash is recovered from what is left. */
CASE(checkpoint_advances)
{
    struct world w;
    struct model m;
    struct options o = plain;
    o.circular = true;
    o.depth = 128 * 1024;
    start(&w, &m, &o);
    m.random = ctest_seed();
    lgpos_t last = LGPOS_MIN;
    int moved = 0;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 60; i++)
            step(&w, &m);
        for (int s = 0; s < SESSIONS; s++) /* none may hold it for long */
            while (w.trx[s].level != 0)
                end_level(&w, &m, s);
        CHECK_OK(checkpointer_run(w.checkpointer, round % 10 == 9));
        lgpos_t now = checkpointer_position(w.checkpointer);
        CHECK(now >= last);
        moved += now > last;
        last = now;
        if (round % 12 == 11) {
            copy_dir(w.dir, in(scratch, "copy"));
            check_copy(in(scratch, "copy"), &m, &o);
        }
    }
    uint32_t lowest, current = log_current_generation(w.log);
    CHECK_OK(log_lowest_generation(w.log, &lowest));
    printf("moved %d times; generations %u..%u\n", moved, lowest, current);
    CHECK(moved > 10 && lowest + 8 > current && current > 12);
    checkpointer_pin(w.checkpointer, lowest);
    uint32_t pinned = lowest;
    for (int i = 0; i < 600; i++)
        step(&w, &m);
    for (int s = 0; s < SESSIONS; s++)
        while (w.trx[s].level != 0)
            end_level(&w, &m, s);
    CHECK_OK(checkpointer_run(w.checkpointer, true));
    CHECK_OK(log_lowest_generation(w.log, &lowest));
    CHECK_EQ(lowest, pinned);
    checkpointer_pin(w.checkpointer, 0);
    checkpointer_hold(w.checkpointer);
    last = checkpointer_position(w.checkpointer);
    for (int i = 0; i < 100; i++)
        step(&w, &m);
    CHECK_OK(checkpointer_run(w.checkpointer, true));
    CHECK_EQ(checkpointer_position(w.checkpointer), last);
    checkpointer_release(w.checkpointer);
    copy_dir(w.dir, in(scratch, "copy"));
    check_copy(in(scratch, "copy"), &m, &o);
    for (int s = 0; s < SESSIONS; s++)
        while (w.trx[s].level != 0)
            end_level(&w, &m, s);
    uint32_t closed;
    CHECK_OK(log_roll(w.log, &closed));
    CHECK_OK(checkpointer_run(w.checkpointer, true)); /* a crash now: the headers must not require the empty generation */
    CHECK(LGPOS_GEN(checkpointer_position(w.checkpointer)) <= closed);
    copy_dir(w.dir, in(scratch, "copy"));
    check_copy(in(scratch, "copy"), &m, &o);
    char dir[OS_PATH_MAX];
    CHECK_OK(os_join(dir, sizeof dir, scratch, "copy"));
    copy_dir(w.dir, dir);
    CHECK_OK(os_unlink(in(dir, "edb.log"))); /* nothing is in it, so nothing is lost with it */
    o.ignore_lost = true;
    check_copy(dir, &m, &o);
    abandon(&w);
    remove_scratch();
}

/* ---- progress ---- */

struct told {
    int begins, ends, fails;
    uint32_t last;
    int steps;
};

static err_t tell(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    struct told *t = context;
    CHECK_EQ(snp, JET_snpRestore);
    CHECK_EQ(total, 100);
    CHECK(done <= total);
    if (snt == JET_sntProgress)
        CHECK(done > t->last && t->begins == 1 && t->ends == 0);
    t->begins += snt == JET_sntBegin;
    t->ends += snt == JET_sntComplete;
    t->fails += snt == JET_sntFail;
    t->steps += snt == JET_sntProgress;
    t->last = done;
    return JET_errSuccess;
}

CASE(progress)
{
    struct world w, again;
    struct model m;
    struct told told = {0};
    struct options o = plain;
    start(&w, &m, &o);
    m.random = ctest_seed();
    work(&w, &m, 800);
    copy_dir(w.dir, in(scratch, "copy"));
    o.progress = (struct progress){&told, tell};
    CHECK_OK(begin_world(&again, in(scratch, "copy"), &o));
    abandon(&again);
    CHECK(told.begins == 1 && told.ends == 1 && told.fails == 0 && told.steps > 2 && told.last == 100);
    copy_dir(w.dir, in(scratch, "copy"));
    lose(in(scratch, "copy"), "edb.chk");
    lose(in(scratch, "copy"), "edb00002.log");
    told = (struct told){0};
    expect(in(scratch, "copy"), &o, JET_errMissingLogFile);
    CHECK(told.begins == 1 && told.ends == 0 && told.fails == 1);
    abandon(&w);
    remove_scratch();
}

/* ---- torn pages ---- */

CASE(torn_page)
{
    struct world w, again;
    struct model m;
    char dir[OS_PATH_MAX];
    start(&w, &m, &plain);
    m.random = ctest_seed();
    work(&w, &m, 400);
    struct write_goal goal = {.log = w.log, .older_than = LGPOS_MAX, .pages_max = 64};
    uint32_t written = 0;
    step(&w, &m);
    for (int i = 0; written == 0 && i < 100; i++) {
        step(&w, &m);
        CHECK_OK(cache_write_back(w.cache, &goal, &written));
    }
    CHECK(written > 0);
    CHECK_OK(os_join(dir, sizeof dir, scratch, "copy"));
    copy_dir(w.dir, dir);
    /* the pages of the last batch stand in the double-write file: damage one of them */
    struct os_file *f;
    uint8_t head[64];
    CHECK_OK(os_file_open(in(dir, "edb.dwr"), OS_READ, &f));
    CHECK_OK(os_file_read(f, 0, head, sizeof head));
    os_file_close(f);
    pgno_t pgno = load_u32(head + 32 + 4);
    for (int i = 0; i < 40; i++)
        flip_bit(in(dir, "a.edb"), ((uint64_t)pgno + 1) * PAGE + 512 + 3u * (unsigned)i);
    CHECK_OK(begin_world(&again, dir, &plain));
    CHECK_EQ(again.recovered.pages_restored, 1);
    abandon(&again);
    check_copy(dir, &m, &plain);
    abandon(&w);
    remove_scratch();
}

/* ---- restore ---- */

static void into_set(const char *dir, const char *set, uint32_t low, uint32_t high)
{
    char name[32];
    for (uint32_t g = low; g <= high; g++) {
        CHECK_OK(log_name("edb", g, 3, name, sizeof name));
        copy_file(in(dir, name), in(set, name));
    }
}

/* A copy of the database while it changes, and the logs that belong to it: as backup does it. */
CASE(restore)
{
    struct world w, again;
    struct model m, at_roll;
    struct options o = plain;
    char set[OS_PATH_MAX], to[OS_PATH_MAX];
    start(&w, &m, &o);
    m.random = ctest_seed();
    work(&w, &m, 600);
    uint32_t low = LGPOS_GEN(checkpointer_position(w.checkpointer)), high;
    CHECK_OK(os_join(set, sizeof set, scratch, "set"));
    CHECK_OK(os_join(to, sizeof to, scratch, "to"));
    CHECK_OK(os_dir_create(set));
    CHECK_OK(os_dir_create(to));
    low = low == 0 ? 1 : low;
    struct db_header h = w.db->header;
    copy_file(in(w.dir, "a.edb"), in(to, "a.edb"));
    work(&w, &m, 300);
    CHECK_OK(log_roll(w.log, &high));
    at_roll = m;
    into_set(w.dir, set, low, high);
    h.full_cur = (struct bkinfo){.mark = LGPOS(low, 1, 0), .gen_low = low, .gen_high = high};
    h.gen_max_required = h.gen_max_committed = high;
    memset(&h.time_gen_max_created, 0, sizeof h.time_gen_max_created);
    struct os_file *f;
    CHECK_OK(os_file_open(in(to, "a.edb"), OS_WRITE, &f));
    CHECK_OK(db_header_write(f, &h));
    os_file_close(f);

    o.set_dir = set;
    o.set_low = low;
    o.set_high = high;
    CHECK_OK(begin_world(&again, to, &o));
    CHECK(again.recovered.redone && again.recovered.applied > 0);
    attach_database(&again);
    check_tree(&again, &at_roll);
    shut_down(&again, STOP_ALL);
    check_copy(to, &at_roll, &plain);

    /* with the live logs behind the set: all that was committed */
    work(&w, &m, 300);
    remove_tree(to);
    copy_dir(w.dir, to);
    lose(to, "edb.chk");
    CHECK_OK(os_file_open(in(to, "a.edb"), OS_WRITE, &f));
    CHECK_OK(db_header_read(f, &h, NULL));
    h.full_cur = (struct bkinfo){.mark = LGPOS(low, 1, 0), .gen_low = low, .gen_high = high};
    CHECK_OK(db_header_write(f, &h));
    os_file_close(f);
    CHECK_OK(begin_world(&again, to, &o));
    attach_database(&again);
    check_tree(&again, &m);
    shut_down(&again, STOP_ALL);

    /* a set that lacks a log, one with a bad one */
    remove_tree(to);
    CHECK_OK(os_dir_create(to));
    copy_file(in(w.dir, "a.edb"), in(to, "a.edb"));
    char name[32];
    CHECK_OK(log_name("edb", high, 3, name, sizeof name));
    flip_bit(in(set, name), 4096 + 99);
    flip_bit(in(set, name), 4096 + 1098);
    err_t err = begin_world(&again, to, &o);
    printf("a damaged set: %s, %s\n", err_name(err), err_last()->detail);
    CHECK(err == JET_errLogCorruptDuringHardRestore || err == JET_errLogTornWriteDuringHardRestore);
    lose(set, name);
    expect(to, &o, JET_errRequiredLogFilesMissing);
    abandon(&w);
    remove_scratch();
}

/* A copy out of a backup set is no database to be recovered softly. */
CASE(extent_without_end)
{
    /* a damaged list of owned extents reaches to the last page there can be, far behind the file's end */
    struct world w;
    struct page_ref oe;
    uint8_t key[4], data[4];
    uint32_t found = 0;
    new_scratch("recovery");
    first_path[0] = 0;
    CHECK_OK(os_dir_create(in(scratch, "live")));
    CHECK_OK(begin_world(&w, in(scratch, "live"), &plain));
    create_database(&w, true);
    CHECK_OK(cache_latch(w.db, 2, LATCH_WRITE, CACHE_WAIT, &oe)); /* of the system root */
    store_be32(key, UINT32_MAX);
    store_u32(data, 5);
    page_insert(oe.page, page_line_count(oe.page), SLICE(key, 4), SLICE(data, 4), 0);
    cache_release(&oe);
    CHECK_OK(reconcile(w.db, &w.trx[0], &found));
    CHECK_EQ(found, 5);
    abandon(&w);
}

CASE(backup_copy_refused)
{
    struct world w;
    struct model m;
    char dir[OS_PATH_MAX];
    start(&w, &m, &plain);
    CHECK_OK(os_join(dir, sizeof dir, scratch, "copy"));
    copy_dir(w.dir, dir);
    struct os_file *f;
    struct db_header h;
    CHECK_OK(os_file_open(in(dir, "a.edb"), OS_WRITE, &f));
    CHECK_OK(db_header_read(f, &h, NULL));
    h.full_cur.gen_low = 1;
    CHECK_OK(db_header_write(f, &h));
    os_file_close(f);
    expect(dir, &plain, JET_errSoftRecoveryOnBackupDatabase);
    abandon(&w);
    remove_scratch();
}

CTEST_MAIN
