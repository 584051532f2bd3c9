/* A world for tests of trees: a folder, a small log, a cache, a database file with one root, a bump
 * allocator for pages, sessions with rollback and sweep, and the structure check of a tree. */
#ifndef BTREE_WORLD_H
#define BTREE_WORLD_H

#include <unistd.h>

#include "btree/btree.h"
#include "ctest.h"

#define ROOT_PAGE 1u
#define OBJID 7u

struct world {
    char dir[OS_PATH_MAX];
    uint32_t page_size;
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct dbfile *db;
    struct btree *tree;
};

static struct {
    struct os_lock lock;
    pgno_t next;
    pgno_t free[4096];
    int free_count;
    int fail_after; /* -1: never */
} allocator;

static err_t take_page(struct btree *tree, struct trx *inner, pgno_t near, pgno_t *out)
{
    (void)near;
    CHECK(inner->level >= 1);
    if (allocator.fail_after == 0)
        return RAISE(JET_errOutOfDatabaseSpace);
    if (allocator.fail_after > 0)
        allocator.fail_after--;
    os_lock_take(&allocator.lock);
    *out = allocator.free_count > 0 ? allocator.free[--allocator.free_count] : allocator.next++;
    pgno_t want = allocator.next;
    os_lock_release(&allocator.lock);
    return want > tree->db->page_count ? dbfile_grow(tree->db, want + 63) : JET_errSuccess;
}

static err_t give_page(struct btree *tree, struct trx *inner, pgno_t pgno)
{
    (void)tree;
    CHECK(inner->level >= 1);
    os_lock_take(&allocator.lock);
    CHECK(allocator.free_count < 4096);
    allocator.free[allocator.free_count++] = pgno;
    os_lock_release(&allocator.lock);
    return JET_errSuccess;
}

static const struct page_source test_source = {.take = take_page, .give = give_page};

static err_t world_remove(void *context, const char *name, bool is_dir)
{
    char path[OS_PATH_MAX];
    (void)is_dir;
    CHECK_OK(os_join(path, sizeof path, context, name));
    return os_unlink(path);
}

static void make_root(struct world *w, uint32_t kind)
{
    struct page_ref root;
    uint8_t header[16];
    struct space_header h = {.cpg_primary = 1,
                             .flags = kind & PAGE_NON_UNIQUE ? SPACE_NON_UNIQUE : 0};
    CHECK_OK(cache_latch(w->db, ROOT_PAGE, LATCH_WRITE, CACHE_NO_READ, &root));
    page_format(root.page, ROOT_PAGE, OBJID, PAGE_ROOT | PAGE_LEAF | kind, DBTIME_START);
    space_header_store(&h, header);
    page_set_external(root.page, SLICE(header, 16));
    cache_mark_dirty(&root, log_tail(w->log));
    cache_set_lgpos(&root, LGPOS_MIN);
    cache_release(&root);
}

static struct world *world_make(uint32_t page_size, uint32_t frames, uint32_t kind)
{
    struct world *w = calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");
    char path[OS_PATH_MAX];
    snprintf(path, sizeof path, "%s/pyjet-btree-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(path) != NULL);
    CHECK_OK(os_full_path(path, w->dir, sizeof w->dir));
    w->page_size = page_size;
    struct cache_config cc = {.page_size = page_size, .bytes_max = (uint64_t)frames * page_size};
    CHECK_OK(cache_create(&cc, &w->cache));
    struct log_config lc = {.log_dir = w->dir,
                            .system_dir = w->dir,
                            .base_name = "edb",
                            .file_size = 64 * 1024,
                            .buffer_size = 1 << 20,
                            .page_size = page_size,
                            .enabled = true,
                            .instance_name = "test"};
    CHECK_OK(log_create(&lc, &w->log));
    CHECK_OK(log_start_new(w->log, 1));
    CHECK_OK(versions_create(64u << 20, &w->versions));
    struct dbfile_config dc = {
        .cache = w->cache, .log = w->log, .versions = w->versions, .dbid = 1};
    CHECK_OK(os_join(path, sizeof path, w->dir, "a.edb"));
    CHECK_OK(dbfile_create(&dc, path, 64, false, &w->db));
    memset(&allocator, 0, sizeof allocator);
    os_lock_init(&allocator.lock, RANK_OS);
    allocator.next = ROOT_PAGE + 1;
    allocator.fail_after = -1;
    make_root(w, kind);
    CHECK_OK(btree_registry_create(w->db, &test_source));
    CHECK_OK(btree_open(w->db, ROOT_PAGE, &w->tree));
    return w;
}

static void world_end_log(struct world *w, bool log_works)
{
    btree_close(w->tree);
    btree_registry_destroy(w->db);
    dbfile_close(w->db);
    versions_destroy(w->versions);
    if (log_works)
        CHECK_OK(log_stop(w->log));
    log_destroy(w->log);
    cache_destroy(w->cache);
    os_lock_term(&allocator.lock);
    CHECK_OK(os_dir_list(w->dir, world_remove, w->dir));
    CHECK_OK(os_dir_remove(w->dir));
    free(w);
}

static void world_end(struct world *w)
{
    world_end_log(w, true);
}

/* ---- sessions ---- */

struct session {
    struct world *w;
    struct trx trx, inner;
    struct btree_cursor cursor;
};

static void session_open(struct session *s, struct world *w, uint16_t procid)
{
    memset(s, 0, sizeof *s);
    s->w = w;
    trx_init(&s->inner, w->versions, w->log, (uint16_t)(procid + 1), true, NULL);
    trx_init(&s->trx, w->versions, w->log, procid, false, &s->inner);
    btree_cursor_init(&s->cursor, w->tree, &s->trx);
}

static void session_close(struct session *s)
{
    btree_cursor_term(&s->cursor);
    trx_term(&s->trx);
    trx_term(&s->inner);
}

static void session_commit(struct session *s)
{
    lgpos_t end;
    CHECK_OK(trx_commit(&s->trx, &end));
}

static void session_rollback(struct session *s, uint8_t levels)
{
    struct version_undo u;
    uint8_t to = (uint8_t)(s->trx.level - levels);
    while (version_newest(&s->trx, to, &u)) {
        CHECK_OK(btree_undo(s->w->db, &s->trx, &u));
        version_remove(s->w->versions, u.version);
    }
    CHECK_OK(trx_rollback_done(&s->trx, levels));
}

/* What txn_sweep does, without actions. */
static void session_sweep(struct session *s)
{
    struct run *run;
    while ((run = versions_take_settled(s->w->versions)) != NULL) {
        struct version_undo u;
        lgpos_t end;
        CHECK_OK(trx_begin(&s->trx));
        while (run_next(run, &u)) {
            struct version_key where = u.where;
            uint8_t bytes[4096];
            memcpy(bytes, where.key.p, where.key.n);
            if (where.data.n != 0)
                memcpy(bytes + where.key.n, where.data.p, where.data.n);
            where.data = SLICE(bytes + where.key.n, where.data.n);
            where.key = SLICE(bytes, where.key.n);
            version_remove(s->w->versions, u.version);
            CHECK_OK(btree_clean(s->w->db, &s->trx, &where));
        }
        CHECK_OK(trx_commit(&s->trx, &end));
        run_free(s->w->versions, run);
    }
}

/* ---- structure of a tree: every page valid, one depth, separators, links, no empty page ---- */

struct check {
    struct world *w;
    int leaf_depth;
    pgno_t last_leaf;
    int pages, leaves, nodes;
};

static struct slice joined_key(struct page page, const struct node *node, bool with_data,
                               uint8_t *to)
{
    uint32_t n = node_key_copy(node, to);
    (void)page;
    if (with_data) {
        memcpy(to + n, node->data.p, node->data.n);
        n += node->data.n;
    }
    return SLICE(to, n);
}

static void check_page(struct check *c, pgno_t pgno, pgno_t expected_prev, int depth,
                       struct slice low, struct slice high, bool high_infinite)
{
    struct btree *tree = c->w->tree;
    struct page_ref ref;
    uint8_t copy[PAGE_SIZE_MAX];
    struct page page = {copy, c->w->page_size};
    CHECK(depth < 16);
    CHECK_OK(cache_latch(c->w->db, pgno, LATCH_READ, CACHE_WAIT, &ref));
    memcpy(copy, ref.page.p, page.size);
    cache_release(&ref);
    CHECK_OK(page_validate(page));
    CHECK_EQ(page_objid(page), OBJID);
    CHECK(page_uncommitted_free(page) <= page_free(page));
    uint32_t flags = page_flags(page);
    int count = page_line_count(page);
    bool leaf = (flags & PAGE_LEAF) != 0;
    CHECK_EQ((flags & PAGE_ROOT) != 0, pgno == ROOT_PAGE);
    CHECK_EQ(flags & PAGE_EMPTY, 0);
    CHECK(count > 0 || (leaf && pgno == ROOT_PAGE));
    c->pages++;
    if (leaf) {
        if (c->leaf_depth == 0)
            c->leaf_depth = depth;
        CHECK_EQ(c->leaf_depth, depth);
        CHECK_EQ(page_prev(page), c->last_leaf);
        (void)expected_prev;
        if (c->last_leaf != 0) {
            CHECK_OK(cache_latch(c->w->db, c->last_leaf, LATCH_READ, CACHE_WAIT, &ref));
            CHECK_EQ(page_next(ref.page), pgno);
            cache_release(&ref);
        }
        c->last_leaf = pgno;
        c->leaves++;
    } else {
        CHECK_EQ(page_prev(page), 0);
        CHECK_EQ(page_next(page), 0);
    }
    uint8_t *before = malloc(2 * PAGE_SIZE_MAX), *here = before + PAGE_SIZE_MAX;
    struct slice at = low;
    for (int i = 0; i < count; i++) {
        struct node node;
        CHECK_OK(page_node(page, i, &node));
        struct slice k = joined_key(page, &node, leaf && !tree->unique, here);
        if (leaf) {
            c->nodes++;
            CHECK(i == 0 ? slice_compare(k, at) >= 0 : slice_compare(k, at) > 0);
            CHECK(high_infinite || slice_compare(k, high) < 0);
        } else {
            bool last = i == count - 1;
            pgno_t child;
            CHECK_OK(page_child(page, i, &child));
            CHECK_EQ((flags & PAGE_PARENT_OF_LEAF) != 0,
                     depth + 1 == c->leaf_depth || c->leaf_depth == 0
                         ? (flags & PAGE_PARENT_OF_LEAF) != 0
                         : false);
            if (k.n == 0)
                CHECK(last && high_infinite);
            else
                CHECK(slice_compare(k, at) > 0 && (high_infinite || slice_compare(k, high) <= 0));
            if (last)
                CHECK(high_infinite ? k.n == 0 : slice_equal(k, high));
            uint8_t *keep = malloc(k.n + at.n + 2);
            memcpy(keep, k.p, k.n);
            if (at.n != 0)
                memcpy(keep + k.n, at.p, at.n);
            check_page(c, child, 0, depth + 1, SLICE(keep + k.n, at.n), SLICE(keep, k.n), k.n == 0);
            free(keep);
        }
        memcpy(before, here, k.n);
        at = SLICE(before, k.n);
    }
    free(before);
}

static struct check check_tree(struct world *w)
{
    struct check c = {.w = w};
    struct page_ref ref;
    check_page(&c, ROOT_PAGE, 0, 1, SLICE_EMPTY, SLICE_EMPTY, true);
    if (c.last_leaf != 0) {
        CHECK_OK(cache_latch(w->db, c.last_leaf, LATCH_READ, CACHE_WAIT, &ref));
        CHECK_EQ(page_next(ref.page), 0);
        cache_release(&ref);
    }
    return c;
}

#endif
