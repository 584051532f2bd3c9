/* Random work on one tree with a log, pages stolen at random; then the log redone over copies of the file taken at any moment:
 * each page is what it is in memory, and what is unfinished can be undone. And: turnover keeps a tree small. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "btree/btree_format.h"
#include "scratch.h"
#include "txn/txn.h"

static unsigned long long dice;

static uint32_t roll(uint32_t n)
{
    return (uint32_t)(ctest_random(&dice) >> 11) % n;
}

/* ---- a scratch folder ---- */

static const char *in(const char *name)
{
    static char paths[4][OS_PATH_MAX];
    static int next;
    char *p = paths[next++ % 4];
    CHECK_OK(os_join(p, OS_PATH_MAX, scratch, name));
    return p;
}

/* Bytes [from, to) of one file into the other, which has the size already or grows. */
static void copy_range(const char *from_name, const char *to_name, uint64_t from, uint64_t to)
{
    static uint8_t block[1 << 16];
    FILE *a = fopen(in(from_name), "rb"), *b = fopen(in(to_name), "r+b");
    if (b == NULL)
        b = fopen(in(to_name), "w+b");
    CHECK(a != NULL && b != NULL);
    CHECK(fseek(a, (long)from, SEEK_SET) == 0 && fseek(b, (long)from, SEEK_SET) == 0);
    while (from < to) {
        size_t want = to - from < sizeof block ? (size_t)(to - from) : sizeof block, n = fread(block, 1, want, a);
        if (n == 0)
            break;
        CHECK(fwrite(block, 1, n, b) == n);
        from += n;
    }
    CHECK(fclose(a) == 0 && fclose(b) == 0);
}

/* ---- a world: cache, log, versions, one database with one tree; pages come from a counter and a stack ---- */

#define ROOT 1u
#define OBJID 10u
#define SESSIONS 4
#define FREE_MAX 20000

struct world {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct dbfile *db;
    struct btree *tree;
    struct trx trx[SESSIONS], inner[SESSIONS], sweeper, sweeper_inner;
    uint32_t page_size;
};

static pgno_t next_page, free_pages[FREE_MAX];
static uint32_t free_count;

static err_t take(struct btree *tree, struct trx *inner, pgno_t near, pgno_t *out)
{
    (void)near;
    CHECK(inner->level >= 1);
    if (free_count > 0) {
        *out = free_pages[--free_count];
        return JET_errSuccess;
    }
    *out = next_page++;
    if (*out > atomic_load(&tree->db->page_count))
        return dbfile_grow(tree->db, *out + 63);
    return JET_errSuccess;
}

static err_t give(struct btree *tree, struct trx *inner, pgno_t pgno)
{
    (void)tree;
    CHECK(inner->level >= 1 && free_count < FREE_MAX && pgno != ROOT);
    for (uint32_t i = 0; i < free_count; i++)
        CHECK(free_pages[i] != pgno);
    free_pages[free_count++] = pgno;
    return JET_errSuccess;
}

static const struct page_source source = {take, give, NULL};

static void make_cache(struct world *w, uint32_t frames)
{
    struct cache_config cc = {.page_size = w->page_size, .bytes_max = (uint64_t)frames * w->page_size};
    CHECK_OK(cache_create(&cc, &w->cache));
}

static struct dbfile_config config_of(const struct world *w)
{
    return (struct dbfile_config){.cache = w->cache, .log = w->log, .versions = w->versions, .dbid = 1};
}

static void make_trx(struct world *w, bool with_log)
{
    (void)with_log;
    for (int i = 0; i < SESSIONS; i++) {
        trx_init(&w->inner[i], w->versions, w->log, (uint16_t)(100 + i), true, NULL);
        trx_init(&w->trx[i], w->versions, w->log, (uint16_t)(10 + i), false, &w->inner[i]);
    }
    trx_init(&w->sweeper_inner, w->versions, w->log, 99, true, NULL);
    trx_init(&w->sweeper, w->versions, w->log, PROCID_SWEEP, true, &w->sweeper_inner);
}

static void make_root(struct world *w, bool unique)
{
    struct page_ref root;
    uint8_t header[16];
    struct space_header h = {.cpg_primary = 1, .parent = 0, .flags = unique ? 0 : SPACE_NON_UNIQUE, .avail_or_oe = 0};
    CHECK_OK(cache_latch(w->db, ROOT, LATCH_WRITE, CACHE_NO_READ, &root));
    page_format(root.page, ROOT, OBJID, PAGE_ROOT | PAGE_LEAF | (unique ? 0 : PAGE_INDEX | PAGE_NON_UNIQUE), DBTIME_START);
    space_header_store(&h, header);
    page_set_external(root.page, SLICE(header, 16));
    cache_mark_dirty(&root, log_tail(w->log));
    cache_set_lgpos(&root, log_tail(w->log));
    cache_release(&root);
    atomic_store(&w->db->dbtime, DBTIME_START);
    CHECK_OK(dbfile_flush(w->db));
}

static void make_world(struct world *w, uint32_t page_size, uint32_t frames, bool unique)
{
    *w = (struct world){.page_size = page_size};
    new_scratch("replay");
    make_cache(w, frames);
    struct log_config lc = {.log_dir = scratch, .system_dir = scratch, .base_name = "edb", .file_size = 256 * 1024, .buffer_size = 1 << 20,
                            .page_size = page_size, .enabled = true, .instance_name = "test"};
    CHECK_OK(log_create(&lc, &w->log));
    CHECK_OK(log_start_new(w->log, 1));
    CHECK_OK(versions_create(64u << 20, &w->versions));
    struct dbfile_config dc = config_of(w);
    next_page = ROOT + 1;
    free_count = 0;
    CHECK_OK(dbfile_create(&dc, in("a.edb"), 64, false, &w->db));
    make_root(w, unique);
    CHECK_OK(btree_registry_create(w->db, &source));
    CHECK_OK(btree_open(w->db, ROOT, &w->tree));
    make_trx(w, true);
}

static void end_trees(struct world *w)
{
    for (int i = 0; i < SESSIONS; i++) {
        trx_term(&w->trx[i]);
        trx_term(&w->inner[i]);
    }
    trx_term(&w->sweeper);
    trx_term(&w->sweeper_inner);
    if (w->tree != NULL)
        btree_close(w->tree);
    btree_registry_destroy(w->db);
    dbfile_close(w->db);
    versions_destroy(w->versions);
    cache_destroy(w->cache);
}

static void end_world(struct world *w)
{
    end_trees(w);
    CHECK_OK(log_stop(w->log));
    log_destroy(w->log);
}

static struct dbfile *find_db(void *context, dbid_t dbid)
{
    CHECK_EQ(dbid, 1);
    return context;
}

static void sweep(struct world *w)
{
    struct txn_databases dbs = {.context = w->db, .find = find_db};
    bool worked = true;
    while (worked)
        CHECK_OK(txn_sweep(&w->sweeper, &dbs, 1000, &worked));
}

static void rollback(struct world *w, struct trx *trx)
{
    struct txn_databases dbs = {.context = w->db, .find = find_db};
    CHECK_OK(txn_rollback(trx, &dbs, 0));
}

/* ---- random work ---- */

struct work {
    uint32_t keys;      /* how many different ones */
    uint32_t data_most;
    bool unique;
    bool mirror;        /* a long common prefix */
    bool fifo;          /* rows come at the end and go at the beginning */
    bool tides;         /* times when it grows, and times when most is deleted */
};
static bool ebb; /* a time of deletion */
static uint32_t fifo_head, fifo_tail; /* of work that appends and deletes in order; tail may overtake head: nothing there */

static uint32_t make_key(const struct work *k, uint8_t to[64])
{
    uint32_t i = roll(k->keys), n = 0;
    if (k->mirror)
        n = (uint32_t)snprintf((char *)to, 64, "a rather long prefix %02u/", i % 7);
    store_be32(to + n, i * 2654435761u);
    return n + 4;
}

static uint32_t make_fifo_key(bool insert, bool drop, uint8_t to[64])
{
    uint32_t span = fifo_head > fifo_tail ? fifo_head - fifo_tail : 1, i = fifo_tail + roll(span);
    if (insert)
        i = fifo_head++;
    else if (drop)
        i = fifo_tail < fifo_head ? fifo_tail++ : fifo_tail;
    store_be32(to, i);
    memset(to + 4, 'k', 40);
    return 44;
}

static uint32_t make_data(const struct work *k, uint8_t *to)
{
    uint32_t n = k->unique ? 8 + roll(roll(10) == 0 ? k->data_most : 100) : 8;
    for (uint32_t i = 0; i < n; i++)
        to[i] = (uint8_t)(k->unique ? ctest_random(&dice) : roll(3));
    if (k->unique && roll(2)) { /* much like other data: worth a difference */
        n = 40 + 8 * roll(2);
        memset(to, 'd', n);
        to[roll(n)] = (uint8_t)roll(256);
    }
    return n;
}

static void one_change(struct world *w, struct trx *trx, const struct work *k)
{
    uint8_t key[64], data[8192];
    struct btree_cursor cursor;
    err_t err;
    uint32_t oper = roll(k->unique ? 10 : 5);
    if (k->tides && roll(3) != 0)
        oper = ebb ? 3 : 0;
    struct slice s = SLICE(key, k->fifo ? make_fifo_key(oper < 3, oper == 3 || oper == 4, key) : make_key(k, key));
    struct slice d = SLICE(data, make_data(k, data));
    btree_cursor_init(&cursor, w->tree, trx);
    switch (oper) {
    case 0:
    case 1:
    case 2:
        err = btree_insert(&cursor, s, d, BTREE_PLAIN);
        break;
    case 3:
    case 4:
        err = btree_delete(&cursor, s, k->unique ? SLICE_EMPTY : d, BTREE_PLAIN);
        break;
    case 5:
        err = btree_delta(&cursor, s, 0, (int32_t)roll(1000) - 500, NULL);
        break;
    default: /* small differences as well as new data */
        err = btree_replace(&cursor, s, d, BTREE_PLAIN);
        break;
    }
    if (err < 0 && err != JET_errKeyDuplicate && err != JET_errWriteConflict && err != JET_errRecordDeleted && err != JET_errRecordNotFound)
        CHECK_OK(err);
    btree_cursor_term(&cursor);
}

static void steal(struct world *w, uint32_t pages)
{
    struct write_goal goal = {.log = w->log, .older_than = LGPOS_MAX, .pages_max = pages, .random_steal = true};
    uint32_t written;
    CHECK_OK(cache_write_back(w->cache, &goal, &written));
}

static err_t txn_commit_all(struct trx *trx)
{
    while (trx->level > 0)
        TRY_RETURN(txn_commit(trx, TXN_LAZY));
    return JET_errSuccess;
}

static void one_step(struct world *w, const struct work *k)
{
    struct trx *trx = &w->trx[roll(SESSIONS)];
    if (trx->level == 0 || (trx->level < 3 && roll(30) == 0))
        CHECK_OK(txn_begin(trx, false));
    one_change(w, trx, k);
    switch (roll(40)) {
    case 0:
    case 1:
        CHECK_OK(txn_commit(trx, TXN_LAZY));
        break;
    case 2:
        rollback(w, trx);
        break;
    case 3:
    case 4:
        steal(w, 1 + roll(4));
        break;
    case 5:
        sweep(w);
        break;
    }
}

/* ---- redo ---- */

struct replay {
    struct world *w;
    bool in_range;
    uint64_t applied, skipped;
    lgpos_t stop; /* LGPOS_MAX: all */
    uint32_t steal_in; /* 0 = never */
    struct {
        bool open;
        struct slice record[64];
        struct buffer bytes[64];
        int count;
    } macro[SESSIONS + 110];
};

static struct trx *session_of(struct world *w, uint16_t procid)
{
    if (procid == PROCID_SWEEP)
        return &w->sweeper;
    if (procid == 99)
        return &w->sweeper_inner;
    return procid >= 100 ? &w->inner[procid - 100] : &w->trx[procid - 10];
}

static void redo_macro_record(struct replay *r, struct redo *redo, uint16_t procid, struct slice bytes)
{
    int slot = procid == PROCID_SWEEP ? 0 : procid;
    CHECK(slot < SESSIONS + 110);
    if (bytes.p[0] == LOG_MacroBegin) {
        CHECK(!r->macro[slot].open);
        r->macro[slot].open = true;
        r->macro[slot].count = 0;
        return;
    }
    if (bytes.p[0] != LOG_MacroCommit) {
        int i = r->macro[slot].count++;
        CHECK(i < 64);
        CHECK_OK(buffer_set(&r->macro[slot].bytes[i], bytes));
        r->macro[slot].record[i] = buffer_slice(&r->macro[slot].bytes[i]);
        return;
    }
    CHECK(r->macro[slot].open);
    r->macro[slot].open = false;
    CHECK_OK(btree_redo_macro(redo, r->macro[slot].record, r->macro[slot].count));
}

static uint64_t redone[256]; /* records by type */

static void redo_record(struct replay *r, const struct log_view *v)
{
    unsigned type = v->bytes.p[0];
    redone[type]++;
    if (type == LOG_NOP2 || type == LOG_MS || type == LOG_End)
        return;
    uint16_t procid = load_u16(v->bytes.p + 1);
    struct trx *trx = session_of(r->w, procid);
    struct redo redo = {.db = r->w->db, .trx = trx, .at = v->at, .end = v->end, .in_range = r->in_range, .applied = &r->applied, .skipped = &r->skipped};
    int slot = procid == PROCID_SWEEP ? 0 : procid;
    switch (type) {
    case LOG_Begin0:
    case LOG_Begin:
    case LOG_Commit:
    case LOG_Commit0:
    case LOG_Rollback:
        CHECK_OK(txn_redo(trx, v->at, v->bytes));
        break;
    case LOG_MacroBegin:
    case LOG_MacroCommit:
    case LOG_Split2:
    case LOG_Merge2:
        redo_macro_record(r, &redo, procid, v->bytes);
        break;
    default:
        if (r->macro[slot].open && type != LOG_UndoInfo)
            redo_macro_record(r, &redo, procid, v->bytes);
        else
            CHECK_OK(btree_redo(&redo, v->bytes));
    }
}

/* Opens the copy with memory of its own; the log stays the live one, flushed. */
static void open_copy(struct world *w, const struct world *live, const char *name)
{
    *w = (struct world){.page_size = live->page_size, .log = live->log};
    make_cache(w, 4000);
    CHECK_OK(versions_create(64u << 20, &w->versions));
    struct dbfile_config dc = config_of(w);
    CHECK_OK(dbfile_open(&dc, in(name), &w->db));
    make_trx(w, false);
}

static void replay(struct replay *r)
{
    struct log_reader_config lc = {.dirs = {scratch}, .dir_count = 1, .base_name = "edb", .mode = LOG_READ_SOFT};
    struct log_reader *reader;
    struct log_view view;
    bool end = false;
    CHECK_OK(log_flush_all(r->w->log));
    CHECK_OK(log_reader_open(&lc, LGPOS_MIN, &reader));
    for (;;) {
        CHECK_OK(log_reader_next(reader, &view, &end));
        if (end || view.at >= r->stop)
            break;
        redo_record(r, &view);
        if (r->steal_in != 0 && roll(r->steal_in) == 0)
            steal(r->w, 1 + roll(4));
    }
    log_reader_close(reader);
    for (int i = 0; i < SESSIONS + 110; i++)
        for (int j = 0; j < 64; j++)
            buffer_free(&r->macro[i].bytes[j]);
}

/* ---- comparing ---- */

static void check_same_line(struct page a, struct page b, int line, pgno_t pgno)
{
    struct node x, y;
    uint8_t key_x[32768], key_y[32768];
    CHECK_OK(page_node(a, line, &x));
    CHECK_OK(page_node(b, line, &y));
    struct slice kx = SLICE(key_x, node_key_copy(&x, key_x)), ky = SLICE(key_y, node_key_copy(&y, key_y));
    if ((x.flags & NODE_DELETED) != (y.flags & NODE_DELETED) || !slice_equal(kx, ky) || !slice_equal(x.data, y.data)) {
        fprintf(stderr, "page %u line %d of %d differs: flags %x %x\n", pgno, line, page_line_count(a), x.flags, y.flags);
        exit(1);
    }
}

static void check_same_page(struct page a, struct page b, pgno_t pgno)
{
    const uint32_t mask = ~(uint32_t)(PAGE_FLUSH_TYPE_MASK | PAGE_NEW_CHECKSUM);
    if (page_dbtime(a) != page_dbtime(b) || page_prev(a) != page_prev(b) || page_next(a) != page_next(b) || page_objid(a) != page_objid(b) ||
        (page_flags(a) & mask) != (page_flags(b) & mask) || page_line_count(a) != page_line_count(b) ||
        !slice_equal(page_external(a), page_external(b))) {
        fprintf(stderr, "page %u: dbtime %llu %llu, flags %x %x, lines %d %d, prev %u %u, next %u %u\n", pgno, (unsigned long long)page_dbtime(a),
                (unsigned long long)page_dbtime(b), page_flags(a), page_flags(b), page_line_count(a), page_line_count(b), page_prev(a), page_prev(b),
                page_next(a), page_next(b));
        exit(1);
    }
    CHECK_OK(page_validate(a));
    CHECK_OK(page_validate(b));
    for (int line = 0; line < page_line_count(a); line++)
        check_same_line(a, b, line, pgno);
}

/* Taken for a split that then needed none, and given back: no record ever named it. */
static bool is_blank_and_free(struct page page, pgno_t pgno)
{
    for (uint32_t i = 0; i < page.size; i++)
        if (page.p[i] != 0)
            return false;
    for (uint32_t i = 0; i < free_count; i++)
        if (free_pages[i] == pgno)
            return true;
    return false;
}

static void check_same_pages(struct world *a, struct world *b)
{
    for (pgno_t pgno = ROOT; pgno < next_page; pgno++) {
        struct page_ref x, y;
        CHECK_OK(cache_latch(a->db, pgno, LATCH_READ, CACHE_REDO, &x));
        CHECK_OK(cache_latch(b->db, pgno, LATCH_READ, CACHE_REDO, &y));
        if (!is_blank_and_free(x.page, pgno) || !is_blank_and_free(y.page, pgno))
            check_same_page(x.page, y.page, pgno);
        cache_release(&y);
        cache_release(&x);
    }
}

/* The tree's bookmarks and data in order, as a checksum; keys must rise. */
static uint64_t sum_of_rows(struct world *w, uint32_t *rows)
{
    struct btree_cursor cursor;
    uint64_t sum = 1469598103934665603u;
    struct buffer last = {0};
    *rows = 0;
    btree_cursor_init(&cursor, w->tree, NULL);
    for (err_t err = btree_first(&cursor); err != JET_errNoCurrentRecord; err = btree_next(&cursor)) {
        CHECK_OK(err);
        if (w->tree->unique)
            CHECK(*rows == 0 || slice_compare(buffer_slice(&last), buffer_slice(&cursor.key)) < 0);
        CHECK_OK(buffer_set(&last, buffer_slice(&cursor.key)));
        sum = hash_bytes(buffer_slice(&cursor.key), sum);
        sum = hash_bytes(cursor.data, sum);
        ++*rows;
    }
    buffer_free(&last);
    btree_cursor_term(&cursor);
    return sum;
}

static void finish_all(struct world *w)
{
    for (int i = 0; i < SESSIONS; i++)
        if (w->trx[i].level > 0)
            rollback(w, &w->trx[i]);
}

static void check_copy(struct world *live, const char *name, bool in_range, bool crash_again)
{
    struct world copy;
    struct replay r = {.w = &copy, .in_range = in_range, .stop = LGPOS_MAX};
    if (crash_again) { /* the first redo is cut off, some of its pages on the disk */
        struct replay first = {.w = &copy, .in_range = true, .stop = log_tail(live->log) / 4 * 3, .steal_in = 5};
        first.stop = LGPOS(LGPOS_GEN(log_tail(live->log)), 0, 0);
        open_copy(&copy, live, name);
        replay(&first);
        end_trees(&copy);
    }
    open_copy(&copy, live, name);
    replay(&r);
    CHECK(r.applied > 0);
    check_same_pages(live, &copy);
    end_trees(&copy);
}

/* Redo, then undo of what is unfinished: the rows are those that live has after its own rollbacks. `rows`, `sum`: live's. */
static void check_undo(struct world *live, const char *name, lgpos_t stop, uint64_t sum, uint32_t rows)
{
    struct world copy;
    struct replay r = {.w = &copy, .in_range = true, .stop = stop};
    uint32_t got;
    open_copy(&copy, live, name);
    replay(&r);
    versions_redo_done(copy.versions, 1u << 24, 1u << 24);
    atomic_store(&copy.db->dbtime, atomic_load(&live->db->dbtime) + 100);
    CHECK_OK(btree_registry_create(copy.db, &source));
    CHECK_OK(btree_open(copy.db, ROOT, &copy.tree));
    finish_all(&copy);
    CHECK(sum_of_rows(&copy, &got) == sum);
    CHECK_EQ(got, rows);
    end_trees(&copy);
}

static uint64_t size_of_file(const char *name)
{
    struct stat st;
    CHECK(stat(in(name), &st) == 0);
    return (uint64_t)st.st_size;
}

/* The last rows go too: the tree shrinks to its root. */
static void drain(struct world *w)
{
    struct btree_cursor cursor;
    struct buffer key = {0};
    for (int i = 0; i < SESSIONS; i++)
        CHECK_OK(txn_commit_all(&w->trx[i]));
    CHECK_OK(txn_begin(&w->trx[0], false));
    btree_cursor_init(&cursor, w->tree, &w->trx[0]);
    for (err_t err = btree_first(&cursor); err != JET_errNoCurrentRecord; err = btree_next(&cursor)) {
        CHECK_OK(err);
        CHECK_OK(buffer_set(&key, buffer_slice(&cursor.key)));
        CHECK_OK(btree_delete(&cursor, buffer_slice(&key), SLICE_EMPTY, BTREE_PLAIN));
    }
    btree_cursor_term(&cursor);
    buffer_free(&key);
    CHECK_OK(txn_commit(&w->trx[0], TXN_LAZY));
    sweep(w);
    CHECK_EQ(next_page - 1 - free_count, 1);
}

static void workload(uint32_t page_size, uint32_t frames, const struct work *k, int steps)
{
    struct world w;
    struct btree_stats stats;
    uint32_t rows;
    make_world(&w, page_size, frames, k->unique);
    copy_range("a.edb", "first.edb", 0, UINT64_MAX);
    copy_range("a.edb", "fuzzy.edb", 0, UINT64_MAX);
    for (int i = 0; i < steps; i++) {
        ebb = i / (steps / 5) % 2 == 1;
        one_step(&w, k);
        if (k->fifo && i % 5000 == 4999)
            drain(&w);
        if (i == steps / 2)
            copy_range("a.edb", "half.edb", 0, UINT64_MAX);
        if (i > steps / 4 && roll(60) == 0) { /* a moving picture, as a backup takes it */
            uint64_t size = size_of_file("a.edb"), at = roll((uint32_t)(size / page_size)) * (uint64_t)page_size;
            copy_range("a.edb", "fuzzy.edb", at, at + (1 + roll(12)) * page_size);
        }
    }
    CHECK_OK(log_flush_all(w.log));
    copy_range("a.edb", "last.edb", 0, UINT64_MAX);
    copy_range("a.edb", "undo.edb", 0, UINT64_MAX);
    btree_stats(&stats);
    printf("  %u pages, %u free, %llu splits, %llu merges, %llu emptied, %llu half redone\n", next_page - 1, free_count, (unsigned long long)stats.splits,
           (unsigned long long)stats.merges, (unsigned long long)stats.empty_pages, (unsigned long long)stats.macro_redone_half);
    check_copy(&w, "first.edb", false, false);
    check_copy(&w, "half.edb", true, false);
    check_copy(&w, "last.edb", true, false);
    check_copy(&w, "last.edb", true, true);
    check_copy(&w, "fuzzy.edb", true, false);
    lgpos_t stop = log_tail(w.log);
    finish_all(&w);
    uint64_t sum = sum_of_rows(&w, &rows);
    CHECK(rows > 0);
    check_undo(&w, "undo.edb", stop, sum, rows);
    check_undo(&w, "half.edb", stop, sum, rows);
    end_world(&w);
}

static void start(void)
{
    dice = ctest_seed();
    for (int i = 0; i < 8; i++)
        (void)ctest_random(&dice);
}

CASE(redo_of_small_rows)
{
    start();
    workload(4096, 200, &(struct work){.keys = 3000, .data_most = 200, .unique = true}, 12000);
}

CASE(redo_of_long_rows_with_prefixes)
{
    start();
    workload(4096, 64, &(struct work){.keys = 1200, .data_most = 1500, .unique = true, .mirror = true}, 8000);
}

CASE(redo_of_an_index)
{
    start();
    workload(4096, 100, &(struct work){.keys = 2000, .mirror = true}, 12000);
}

CASE(redo_of_large_pages)
{
    start();
    workload(16384, 64, &(struct work){.keys = 2000, .data_most = 5000, .unique = true, .mirror = true}, 5000);
}

CASE(redo_of_tides)
{
    start();
    workload(2048, 128, &(struct work){.keys = 8000, .data_most = 300, .unique = true, .mirror = true, .tides = true}, 30000);
}

CASE(redo_of_a_queue)
{
    start();
    fifo_head = fifo_tail = 0;
    workload(2048, 128, &(struct work){.keys = 1, .data_most = 300, .unique = true, .fifo = true, .tides = true}, 24000);
    CHECK(redone[LOG_EmptyTree] > 0);
}

/* ---- many threads ---- */

struct crew {
    struct world *w;
    int session;
    const struct work *k;
    unsigned long long dice;
    _Atomic int *running;
    int steps;
};

static void crew_change(struct crew *c, struct trx *trx)
{
    uint8_t key[8], data[200];
    struct btree_cursor cursor;
    bool shrink = c->steps / 3000 % 2 == 0;
    memset(data, 'x', sizeof data);
    store_be64(key, ctest_random(&c->dice) % 6000 * 7919);
    btree_cursor_init(&cursor, c->w->tree, trx);
    uint32_t oper = (uint32_t)(ctest_random(&c->dice) >> 9) % 4;
    err_t err = oper == 3     ? btree_replace(&cursor, SLICE(key, 8), SLICE(data, 20 + ctest_random(&c->dice) % 180), BTREE_PLAIN)
                : (oper != 0) == shrink ? btree_delete(&cursor, SLICE(key, 8), SLICE_EMPTY, BTREE_PLAIN)
                              : btree_insert(&cursor, SLICE(key, 8), SLICE(data, 150), BTREE_PLAIN);
    if (err < 0 && err != JET_errKeyDuplicate && err != JET_errWriteConflict && err != JET_errRecordDeleted && err != JET_errRecordNotFound)
        CHECK_OK(err);
    btree_cursor_term(&cursor);
}

static void crew_run(void *context)
{
    struct crew *c = context;
    struct trx *trx = &c->w->trx[c->session];
    for (; c->steps > 0; c->steps--) {
        if (trx->level == 0)
            CHECK_OK(txn_begin(trx, false));
        crew_change(c, trx);
        switch (ctest_random(&c->dice) >> 13 & 31) {
        case 0:
        case 1:
            CHECK_OK(txn_commit(trx, TXN_LAZY));
            break;
        case 2:
            rollback(c->w, trx);
            break;
        }
    }
    if (trx->level > 0)
        CHECK_OK(txn_commit(trx, TXN_LAZY));
    atomic_fetch_sub(c->running, 1);
}

/* Scans without a transaction, both ways: keys keep their order while pages split and merge below. */
static void reader_run(void *context)
{
    struct crew *c = context;
    while (atomic_load(c->running) > 0) {
        struct btree_cursor cursor;
        uint8_t last[8] = {0};
        bool any = false, up = ctest_random(&c->dice) >> 20 & 1;
        btree_cursor_init(&cursor, c->w->tree, NULL);
        for (err_t err = up ? btree_first(&cursor) : btree_last(&cursor); err != JET_errNoCurrentRecord;
             err = up ? btree_next(&cursor) : btree_prev(&cursor)) {
            CHECK_OK(err);
            CHECK_EQ(cursor.key.n, 8);
            int order = memcmp(last, cursor.key.p, 8);
            CHECK(!any || (up ? order < 0 : order > 0));
            memcpy(last, cursor.key.p, 8);
            any = true;
        }
        btree_cursor_term(&cursor);
    }
}

static void sweeper_run(void *context)
{
    struct crew *c = context;
    while (atomic_load(c->running) > 0) {
        struct txn_databases dbs = {.context = c->w->db, .find = find_db};
        bool worked;
        CHECK_OK(txn_sweep(&c->w->sweeper, &dbs, 200, &worked));
        steal(c->w, 2);
    }
}

CASE(threads_split_and_merge_under_readers)
{
    struct world w;
    struct work k = {.unique = true};
    struct crew crew[SESSIONS + 2];
    struct os_thread *threads[SESSIONS + 2];
    _Atomic int running = SESSIONS;
    struct btree_stats stats;
    start();
    make_world(&w, 2048, 256, true);
    copy_range("a.edb", "first.edb", 0, UINT64_MAX);
    for (int i = 0; i < SESSIONS + 2; i++) {
        crew[i] = (struct crew){&w, i, &k, ctest_random(&dice), &running, 9000};
        os_thread_fn fn = i < SESSIONS ? crew_run : i == SESSIONS ? sweeper_run : reader_run;
        CHECK_OK(os_thread_start("crew", fn, &crew[i], &threads[i]));
    }
    for (int i = 0; i < SESSIONS + 2; i++)
        os_thread_join(threads[i]);
    sweep(&w);
    btree_stats(&stats);
    printf("  %u pages, %u free, %llu splits, %llu merges, %llu emptied\n", next_page - 1, free_count, (unsigned long long)stats.splits,
           (unsigned long long)stats.merges, (unsigned long long)stats.empty_pages);
    CHECK(stats.splits > 50 && stats.merges + stats.empty_pages > 3);
    check_copy(&w, "first.edb", false, false);
    end_world(&w);
}

/* What the cases above are worth. */
CASE(redo_met_every_record)
{
    static const unsigned types[] = {LOG_Insert, LOG_FlagDelete, LOG_Replace, LOG_ReplaceD, LOG_Delete, LOG_Delta, LOG_UndoInfo, LOG_Undo,
                                     LOG_FlagInsertAndReplaceData, LOG_Split2, LOG_Merge2};
    start();
    workload(4096, 64, &(struct work){.keys = 600, .data_most = 900, .unique = true, .mirror = true}, 6000);
    workload(4096, 64, &(struct work){.keys = 600}, 3000);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        printf("  %s %llu\n", log_type_name(types[i]), (unsigned long long)redone[types[i]]);
        CHECK(redone[types[i]] > 0);
    }
}

/* ---- turnover ---- */

struct turnover {
    struct world w;
    struct trx *trx;
    uint32_t rows;
};

static void row_key(uint64_t id, uint8_t key[8])
{
    store_be64(key, id);
}

static void put_row(struct turnover *t, uint64_t id)
{
    uint8_t key[8], data[60];
    struct btree_cursor cursor;
    row_key(id, key);
    memset(data, (int)id, sizeof data);
    btree_cursor_init(&cursor, t->w.tree, t->trx);
    CHECK_OK(btree_insert(&cursor, SLICE(key, 8), SLICE(data, sizeof data), BTREE_PLAIN));
    btree_cursor_term(&cursor);
}

static void drop_row(struct turnover *t, uint64_t id)
{
    uint8_t key[8];
    struct btree_cursor cursor;
    row_key(id, key);
    btree_cursor_init(&cursor, t->w.tree, t->trx);
    CHECK_OK(btree_delete(&cursor, SLICE(key, 8), SLICE_EMPTY, BTREE_PLAIN));
    btree_cursor_term(&cursor);
}

static void commit_and_sweep(struct turnover *t)
{
    CHECK_OK(txn_commit(t->trx, TXN_LAZY));
    sweep(&t->w);
    CHECK_OK(txn_begin(t->trx, false));
}

static uint32_t pages_used(void)
{
    return next_page - 1 - free_count;
}

static err_t count_page(void *context, pgno_t pgno, struct page page, int depth)
{
    (void)pgno;
    (void)depth;
    CHECK(page.p != NULL);
    CHECK_OK(page_validate(page));
    ++*(uint32_t *)context;
    return JET_errSuccess;
}

/* Each page that the source gave is in the tree, or was given back: nothing leaks. */
static void check_no_leak(struct turnover *t)
{
    uint32_t count = 0;
    CHECK_OK(btree_visit(t->w.tree, true, count_page, &count));
    CHECK_EQ(count, pages_used());
}

static void begin_turnover(struct turnover *t, uint32_t rows)
{
    make_world(&t->w, 4096, 1000, true);
    t->trx = &t->w.trx[0];
    t->rows = rows;
    CHECK_OK(txn_begin(t->trx, false));
    for (uint32_t i = 0; i < rows; i++) {
        put_row(t, i);
        if (i % 500 == 499)
            commit_and_sweep(t);
    }
    commit_and_sweep(t);
}

static void end_turnover(struct turnover *t, uint32_t fresh)
{
    uint32_t rows;
    CHECK_OK(txn_commit(t->trx, TXN_LAZY));
    sweep(&t->w);
    check_no_leak(t);
    (void)sum_of_rows(&t->w, &rows);
    printf("  %u rows, %u pages freshly loaded, %u used now, %u at most\n", rows, fresh, pages_used(), next_page - 1);
    CHECK_EQ(rows, t->rows);
    CHECK(next_page - 1 <= 2 * fresh);
    end_world(&t->w);
}

CASE(turnover_first_in_first_out)
{
    struct turnover t;
    start();
    begin_turnover(&t, 6000);
    uint32_t fresh = pages_used();
    for (uint64_t i = 0; i < 20 * t.rows; i++) {
        drop_row(&t, i);
        put_row(&t, i + t.rows);
        if (i % 200 == 199)
            commit_and_sweep(&t);
    }
    end_turnover(&t, fresh);
}

CASE(turnover_at_random)
{
    struct turnover t;
    start();
    begin_turnover(&t, 6000);
    uint32_t fresh = pages_used();
    uint64_t *ids = malloc(t.rows * sizeof *ids);
    for (uint32_t i = 0; i < t.rows; i++)
        ids[i] = i;
    for (uint32_t i = 0; i < 20 * t.rows; i++) {
        uint32_t at = roll(t.rows);
        drop_row(&t, ids[at]);
        ids[at] = (ctest_random(&dice) << 32) | i; /* lands anywhere */
        put_row(&t, ids[at]);
        if (i % 200 == 199)
            commit_and_sweep(&t);
    }
    free(ids);
    end_turnover(&t, fresh);
}

CASE(turnover_keeps_one_in_thirty)
{
    struct turnover t;
    start();
    begin_turnover(&t, 6000);
    uint32_t fresh = pages_used();
    uint64_t next = t.rows;
    for (int round = 0; round < 20; round++) { /* most of a load goes, a few of each stay among the rest */
        uint64_t first = next;
        for (uint32_t i = 0; i < t.rows; i++, next++) {
            put_row(&t, next);
            if (i % 200 == 199)
                commit_and_sweep(&t);
            if (i >= 200)
                if ((next - 200) % 30 != 0)
                    drop_row(&t, next - 200);
        }
        for (uint64_t id = next - 200; id < next; id++)
            if (id % 30 != 0)
                drop_row(&t, id);
        commit_and_sweep(&t);
        for (uint64_t id = first; id < next; id++) /* the old ones go when the next round is over: bounded rows */
            if (id % 30 == 0 && round < 19)
                drop_row(&t, id);
    }
    uint32_t kept = 0;
    for (uint64_t id = next - t.rows; id < next; id++)
        kept += id % 30 == 0;
    t.rows += kept;
    end_turnover(&t, fresh);
}

/* All rows but one in thirty of a loaded table go: their pages must come back, whatever the order. */
CASE(thinning_gives_pages_back)
{
    for (int order = 0; order < 3; order++) {
        struct turnover t;
        start();
        begin_turnover(&t, 12000);
        uint32_t fresh = pages_used();
        uint64_t *ids = malloc(t.rows * sizeof *ids);
        for (uint32_t i = 0; i < t.rows; i++)
            ids[i] = order == 1 ? t.rows - 1 - i : i;
        for (uint32_t i = t.rows - 1; order == 2 && i > 0; i--) {
            uint32_t j = roll(i + 1);
            uint64_t x = ids[i];
            ids[i] = ids[j], ids[j] = x;
        }
        uint32_t left = 0;
        for (uint32_t i = 0; i < t.rows; i++) {
            if (ids[i] % 30 != 0)
                drop_row(&t, ids[i]);
            else
                left++;
            if (i % 100 == 99)
                commit_and_sweep(&t);
        }
        commit_and_sweep(&t);
        free(ids);
        printf("  order %d: %u pages became %u\n", order, fresh, pages_used());
        CHECK(pages_used() <= fresh / 30 * 2 + 3);
        t.rows = left;
        end_turnover(&t, fresh);
    }
}

CASE(emptying_leaves_the_root)
{
    struct turnover t;
    start();
    begin_turnover(&t, 12000);
    for (uint64_t i = 0; i < t.rows; i++)
        drop_row(&t, i);
    commit_and_sweep(&t);
    CHECK_EQ(pages_used(), 1);
    check_no_leak(&t);
    t.rows = 0;
    put_row(&t, 7);
    t.rows = 1;
    end_turnover(&t, next_page);
}

CTEST_MAIN
