/* Cache, log and database for tests of cache: a scratch folder a case, pages with a counter in them. */
#ifndef CACHE_WORLD_H
#define CACHE_WORLD_H

#include <sys/stat.h>
#include <unistd.h>
#include "cache/cache.h"
#include "scratch.h"
#pragma GCC diagnostic ignored "-Wunused-function" /* a test file takes what it needs */

/* ---- a scratch folder, a cache, a log, a database ---- */

static const char *in(const char *name)
{
    static char paths[4][OS_PATH_MAX];
    static int next;
    char *p = paths[next++ % 4];
    CHECK_OK(os_join(p, OS_PATH_MAX, scratch, name));
    return p;
}

struct world {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct double_write *dw;
    struct dbfile *db;
    uint32_t page_size;
};

enum { WITH_LOG = 1, WITH_DW = 2 };

static struct dbfile_config config_of(const struct world *w, bool read_only)
{
    return (struct dbfile_config){.cache = w->cache,
                                  .log = w->log,
                                  .versions = w->versions,
                                  .double_write = w->dw,
                                  .dbid = 1,
                                  .read_only = read_only};
}

static void make_cache(struct world *w, uint32_t frames)
{
    struct cache_config cc = {.page_size = w->page_size,
                              .bytes_max = (uint64_t)frames * w->page_size};
    CHECK_OK(cache_create(&cc, &w->cache));
}

static struct world make_world(uint32_t page_size, uint32_t frames, pgno_t pages, unsigned with)
{
    struct world w = {.page_size = page_size};
    new_scratch("cache");
    make_cache(&w, frames);
    if (with & WITH_LOG) {
        struct log_config lc = {.log_dir = scratch,
                                .system_dir = scratch,
                                .base_name = "edb",
                                .file_size = 64 * 1024,
                                .buffer_size = 1 << 20,
                                .page_size = page_size,
                                .enabled = true,
                                .instance_name = "test"};
        CHECK_OK(log_create(&lc, &w.log));
        CHECK_OK(log_start_new(w.log, 1));
        CHECK_OK(versions_create(1 << 20, &w.versions));
    }
    if (with & WITH_DW)
        CHECK_OK(double_write_open(in("edb.dwr"), page_size, &w.dw));
    struct dbfile_config dc = config_of(&w, false);
    CHECK_OK(dbfile_create(&dc, in("a.edb"), pages, false, &w.db));
    return w;
}

static void end_world(struct world *w)
{
    os_fault_set(NULL);
    dbfile_close(w->db);
    double_write_close(w->dw, true);
    if (w->log != NULL) {
        versions_destroy(w->versions);
        CHECK_OK(log_stop(w->log));
        log_destroy(w->log);
    }
    cache_destroy(w->cache);
}

/* Close and open again with a new cache: nothing but the file remains. */
static void reopen(struct world *w)
{
    dbfile_close(w->db);
    cache_destroy(w->cache);
    make_cache(w, 64);
    struct dbfile_config dc = config_of(w, false);
    CHECK_OK(dbfile_open(&dc, in("a.edb"), &w->db));
}

/* ---- a page of tests: a counter and the end of its last record, in bytes that no node uses ----
 */

#define AT_COUNT 512u
#define AT_END 520u
#define AT_GENERATION 528u
#define AT_SELF 532u
#define AT_TAIL 256u /* from the end */

static uint64_t count_of(struct page page)
{
    return load_u64(page.p + AT_COUNT);
}

/* Appends a record that stands for the change; its bytes are of no matter to the cache. */
static struct log_stamp append(struct log *log)
{
    uint8_t bytes[6] = {LOG_Trace, 0, 0, 1, 0, 'x'};
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, 6)}, .head = bytes};
    struct log_stamp stamp = {0};
    CHECK_OK(log_append(log, &record, 1, &stamp));
    return stamp;
}

/* Puts `count` into the page, the way a room above changes one. */
static void set_count(struct world *w, struct page_ref *ref, uint64_t count, lgpos_t bound)
{
    cache_mark_dirty(ref, bound);
    struct log_stamp stamp = {0};
    if (w->log != NULL)
        stamp = append(w->log);
    store_u64(ref->page.p + AT_COUNT, count);
    store_u64(ref->page.p + ref->page.size - AT_TAIL, count); /* so that half a page is no page */
    store_u32(ref->page.p + AT_SELF, ref->pgno);
    store_u64(ref->page.p + AT_END, stamp.end);
    store_u32(ref->page.p + AT_GENERATION, LGPOS_GEN(stamp.last));
    cache_set_lgpos(ref, stamp.end);
}

static lgpos_t now_bound(struct world *w)
{
    return w->log != NULL ? log_tail(w->log) : LGPOS_MIN;
}

static void format(struct world *w, pgno_t pgno, uint64_t count)
{
    struct page_ref ref;
    CHECK_OK(cache_latch(w->db, pgno, LATCH_WRITE, CACHE_NO_READ, &ref));
    cache_mark_dirty(&ref, now_bound(w));
    page_format(ref.page, pgno, 7, PAGE_LEAF, DBTIME_START + 1);
    set_count(w, &ref, count, now_bound(w));
    cache_release(&ref);
}

static void format_all(struct world *w, pgno_t pages)
{
    for (pgno_t p = 1; p <= pages; p++)
        format(w, p, p);
}

static uint64_t read_count(struct world *w, pgno_t pgno)
{
    struct page_ref ref;
    CHECK_OK(cache_latch(w->db, pgno, LATCH_READ, CACHE_WAIT, &ref));
    uint64_t n = count_of(ref.page);
    CHECK_EQ(load_u64(ref.page.p + ref.page.size - AT_TAIL), n);
    cache_release(&ref);
    return n;
}

static err_t latch_error(struct world *w, pgno_t pgno, unsigned how)
{
    struct page_ref ref;
    err_t err = cache_latch(w->db, pgno, LATCH_READ, how, &ref);
    CHECK(err != 0 || ref.frame != NULL);
    cache_release(&ref);
    return err;
}

static struct cache_stats stats(struct world *w)
{
    struct cache_stats s;
    cache_stats(w->cache, &s);
    return s;
}

static void flip(const char *path, uint64_t at, uint8_t mask)
{
    struct os_file *f;
    uint8_t byte;
    CHECK_OK(os_file_open(path, OS_WRITE, &f));
    CHECK_OK(os_file_read(f, at, &byte, 1));
    byte ^= mask;
    CHECK_OK(os_file_write(f, at, &byte, 1));
    os_file_close(f);
}

/* Noise, or zeros: a run of one byte over zeros may keep the checksum. */
static void overwrite(const char *path, uint64_t at, uint8_t with, size_t n)
{
    unsigned long long seed = with;
    struct os_file *f;
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = with == 0 ? 0 : (uint8_t)ctest_random(&seed);
    CHECK_OK(os_file_open(path, OS_WRITE, &f));
    CHECK_OK(os_file_write(f, at, bytes, n));
    os_file_close(f);
    free(bytes);
}

static uint64_t place(pgno_t pgno, uint32_t page_size)
{
    return ((uint64_t)pgno + 1) * page_size;
}

/* ---- changing and writing ---- */

static err_t write_all(struct world *w, uint32_t *written)
{
    struct write_goal goal = {.older_than = LGPOS_MAX, .pages_max = UINT32_MAX};
    return cache_write_back(w->cache, &goal, written);
}

static void dirty_with_bound(struct world *w, pgno_t pgno, uint64_t count, lgpos_t bound)
{
    struct page_ref ref;
    CHECK_OK(cache_latch(w->db, pgno, LATCH_WRITE, CACHE_WAIT, &ref));
    set_count(w, &ref, count, bound);
    cache_release(&ref);
}

static struct version_key key_of(const char *key, const char *data)
{
    return (struct version_key){.dbid = 1,
                                .objid = 7,
                                .root = 1,
                                .key = SLICE(key, strlen(key)),
                                .data = SLICE(data, strlen(data))};
}

/* What a room above does for an uncommitted replace or delete of a node. */
static struct version *change_node(struct world *w, struct trx *trx, struct page_ref *ref,
                                   enum version_oper oper, struct version_key where)
{
    struct version *v;
    struct log_stamp stamp = {0};
    uint8_t bytes[6] = {LOG_Trace, 0, 0, 1, 0, 'x'};
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, 6)}, .head = bytes};
    struct slice before = oper == VERSION_REPLACE ? SLICE("before", 6) : SLICE_EMPTY;
    CHECK_OK(version_reserve(trx, oper, &where, before, 0, 0, &v));
    cache_mark_dirty(ref, trx_begin_bound(trx));
    CHECK_OK(trx_log(trx, &record, 1, &stamp));
    version_publish(trx, v);
    if (oper != VERSION_INSERT)
        cache_note_undo(ref);
    cache_set_lgpos(ref, stamp.end);
    (void)w;
    return v;
}

/* Pages 1 (unique) and 2 (not unique), three nodes each; the first two of each carry the flag. */
static void format_nodes(struct world *w)
{
    for (pgno_t p = 1; p <= 2; p++) {
        struct page_ref ref;
        CHECK_OK(cache_latch(w->db, p, LATCH_WRITE, CACHE_NO_READ, &ref));
        cache_mark_dirty(&ref, now_bound(w));
        page_format(ref.page, p, 7, PAGE_LEAF | (p == 2 ? PAGE_NON_UNIQUE : 0), DBTIME_START + 1);
        page_insert(ref.page, 0, SLICE("k1", 2), SLICE("d1", 2), NODE_VERSION);
        page_insert(ref.page, 1, SLICE("k2", 2), SLICE("d2", 2), NODE_VERSION);
        page_insert(ref.page, 2, SLICE("k3", 2), SLICE("d3", 2), 0);
        cache_release(&ref);
    }
    CHECK_OK(dbfile_flush(w->db));
}

#endif
