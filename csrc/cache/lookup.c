/* The page table and the way to a latched page: find or read in, latch, let go. No lock wider than
 * a bucket's. */
#include <inttypes.h>
#include <stdio.h>

#include "cache/cache_private.h"

#define FRAMES_MIN                                                                                 \
    32u /* a split of a deep tree holds about a dozen pages; a few threads at once                 \
         */
#define SHARDS_MAX 1024u
#define CHAIN_STEPS 8 /* of a chain that may change meanwhile */

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 1;
    while (p < n)
        p *= 2;
    return p;
}

err_t cache_create(const struct cache_config *config, struct cache **out)
{
    err_t err = JET_errSuccess;
    *out = NULL;
    ENFORCE(page_size_valid(config->page_size));
    uint64_t frames = config->bytes_max / config->page_size;
    frames = frames < FRAMES_MIN ? FRAMES_MIN : frames > UINT32_MAX / 4 ? UINT32_MAX / 4 : frames;
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return RAISE(JET_errOutOfMemory);
    cache->page_size = config->page_size;
    cache->frame_count = (uint32_t)frames;
    cache->pool_bytes = (size_t)frames * cache->page_size;
    cache->bucket_mask = power_of_two(cache->frame_count) - 1;
    cache->shard_mask = cache->bucket_mask < SHARDS_MAX ? cache->bucket_mask : SHARDS_MAX - 1;
    cache->dirty_words = (cache->frame_count + 63) / 64;
    cache->frames = os_map((size_t)frames * sizeof *cache->frames, true);
    cache->pool = os_map(cache->pool_bytes, true);
    cache->buckets = os_map((cache->bucket_mask + 1) * sizeof *cache->buckets, true);
    cache->free = calloc(cache->frame_count, sizeof *cache->free);
    cache->dirty_map = calloc(cache->dirty_words, sizeof *cache->dirty_map);
    cache->shards = os_map((cache->shard_mask + 1) * sizeof *cache->shards, false);
    os_lock_init(&cache->replace_lock, RANK_CACHE_REPLACE);
    os_lock_init(&cache->work_lock, RANK_CACHE_DIRTY);
    os_cond_init(&cache->work);
    for (uint32_t i = 0; cache->shards != NULL && i <= cache->shard_mask; i++)
        os_lock_init(&cache->shards[i].lock, RANK_CACHE_BUCKET);
    if (cache->frames == NULL || cache->pool == NULL || cache->buckets == NULL ||
        cache->free == NULL || cache->dirty_map == NULL || cache->shards == NULL)
        FAIL(JET_errOutOfMemory);
    *out = cache;
    return JET_errSuccess;
out:
    cache_destroy(cache);
    return err;
}

void cache_destroy(struct cache *cache)
{
    if (cache == NULL)
        return;
    ENFORCE(atomic_load(&cache->databases) == 0);
    cache__free_batches(cache);
    if (cache->shards != NULL) {
        for (uint32_t i = 0; i <= cache->shard_mask; i++)
            os_lock_term(&cache->shards[i].lock);
        os_unmap(cache->shards, (cache->shard_mask + 1) * sizeof *cache->shards);
    }
    os_cond_term(&cache->work);
    os_lock_term(&cache->work_lock);
    os_lock_term(&cache->replace_lock);
    if (cache->frames != NULL)
        os_unmap(cache->frames, (size_t)cache->frame_count * sizeof *cache->frames);
    if (cache->pool != NULL)
        os_unmap(cache->pool, cache->pool_bytes);
    if (cache->buckets != NULL)
        os_unmap((void *)cache->buckets, (cache->bucket_mask + 1) * sizeof *cache->buckets);
    free(cache->free);
    free((void *)cache->dirty_map);
    free(cache);
}

/* ---- the table ---- */

struct shard *cache__shard(struct cache *cache, const struct dbfile *db, pgno_t pgno,
                           uint32_t *bucket)
{
    uint64_t h = hash_u64((uint64_t)(uintptr_t)db * 0x9e3779b97f4a7c15u + pgno);
    *bucket = (uint32_t)h & cache->bucket_mask;
    return &cache->shards[*bucket & cache->shard_mask];
}

struct frame *cache__find_locked(struct cache *cache, uint32_t bucket, const struct dbfile *db,
                                 pgno_t pgno)
{
    uint32_t link = atomic_load_explicit(&cache->buckets[bucket], memory_order_relaxed);
    while (link != FRAME_NONE) {
        struct frame *f = &cache->frames[link - 1];
        if (frame_is(f, db, pgno))
            return f;
        link = atomic_load_explicit(&f->next, memory_order_relaxed);
    }
    return NULL;
}

/* The header and the first tags: they come from memory together with the frame, not after it. A
 * chain is mostly one frame long, so the guess is mostly right. */
static inline void prefetch_page(const struct cache *cache, uint32_t number)
{
    const uint8_t *page = cache->pool + (size_t)number * cache->page_size;
    __builtin_prefetch(page);
    __builtin_prefetch(page + cache->page_size - 64);
    __builtin_prefetch(page + cache->page_size - 128);
}

/* Frames never go away, so a chain that changes under the reader leads at worst into another one.
 * What is found must be looked at again under its latch; whoever finds nothing asks with the lock. */
static struct frame *find_unlocked(struct cache *cache, uint32_t bucket, const struct dbfile *db,
                                   pgno_t pgno)
{
    uint32_t link = atomic_load_explicit(&cache->buckets[bucket], memory_order_acquire);
    for (int steps = 0; link != FRAME_NONE && steps < CHAIN_STEPS; steps++) {
        struct frame *f = &cache->frames[link - 1];
        prefetch_page(cache, link - 1);
        if (frame_is(f, db, pgno))
            return f;
        link = atomic_load_explicit(&f->next, memory_order_acquire);
    }
    return NULL;
}

static void link_locked(struct cache *cache, uint32_t bucket, struct frame *f, struct dbfile *db,
                        pgno_t pgno)
{
    f->blank = f->changed = f->sound = 0;
    atomic_store(&f->bound, LGPOS_MAX);
    atomic_store(&f->bound_writing, LGPOS_MAX);
    atomic_store(&f->lgpos_end, LGPOS_MIN);
    atomic_store(&f->touch, 0);
    atomic_store(&f->undo, 0);
    atomic_store(&f->cold, 0);
    atomic_store(&f->pgno, pgno);
    atomic_store(&f->log, db->log);
    atomic_store(&f->db, db);
    atomic_fetch_add(&f->version, 1);
    uint32_t first = atomic_load_explicit(&cache->buckets[bucket], memory_order_relaxed);
    atomic_store_explicit(&f->next, first, memory_order_release);
    atomic_store_explicit(&cache->buckets[bucket], frame_number(cache, f) + 1,
                          memory_order_release);
}

void cache__unlink_locked(struct cache *cache, uint32_t bucket, struct frame *f)
{
    _Atomic uint32_t *link = &cache->buckets[bucket];
    while (*link != frame_number(cache, f) + 1)
        link = &cache->frames[*link - 1].next;
    atomic_store_explicit(link, atomic_load_explicit(&f->next, memory_order_relaxed),
                          memory_order_release);
    atomic_store(&f->db, NULL);
    atomic_store(&f->log, NULL);
    atomic_store(&f->pgno, PGNO_NIL);
    atomic_fetch_add(&f->version, 1);
}

/* A write-latched frame whose page turned out to be none. Threads that wait for its latch look
 * again. */
static void drop_frame(struct cache *cache, struct frame *f)
{
    uint32_t bucket;
    struct shard *shard = cache__shard(cache, atomic_load(&f->db), atomic_load(&f->pgno), &bucket);
    os_lock_take(&shard->lock);
    cache__unlink_locked(cache, bucket, f);
    os_lock_release(&shard->lock);
    cache__give_frame(cache, f);
}

/* ---- reading in ---- */

static err_t no_page(const struct dbfile *db, pgno_t pgno, err_t code)
{
    err_t err = RAISE(code);
    err_detail("%s: page %u", db->path, pgno);
    return err;
}

static void report_checksum(const struct dbfile *db, pgno_t pgno, enum event_severity severity,
                            const char *text)
{
    char offset[32], size[16], number[16];
    snprintf(offset, sizeof offset, "%" PRIu64, page_offset(pgno, db->page_size));
    snprintf(size, sizeof size, "%u", db->page_size);
    snprintf(number, sizeof number, "%u", pgno);
    event_report(474, severity, "", text, db->path, offset, size, number, NULL);
}

/* The frame is write-latched and in the table; a zero page is left in it when there is nothing to
 * read. */
static err_t read_in(struct dbfile *db, pgno_t pgno, unsigned how, struct frame *f)
{
    struct page page = frame_page(db->cache, f);
    if (pgno > atomic_load(&db->page_count)) {
        memset(page.p, 0, page.size);
        f->blank = 1;
        return how & CACHE_REDO ? JET_errSuccess : no_page(db, pgno, JET_errFileIOBeyondEOF);
    }
    atomic_fetch_add_explicit(&db->cache->reads, 1, memory_order_relaxed);
    TRY_RETURN(os_file_read(db->file, page_offset(pgno, page.size), page.p, page.size));
    bool corrected = false;
    err_t err = page_verify(page, pgno, &corrected);
    if (PYJET_BREAK_CHECKSUM && err == JET_errReadVerifyFailure)
        err = JET_errSuccess;
    if (err == JET_errPageNotInitialized) {
        f->blank = 1;
        return how & CACHE_REDO ? JET_errSuccess : no_page(db, pgno, err);
    }
    if (err < 0) {
        report_checksum(db, pgno, EVENT_ERROR,
                        "A page read from the database has a wrong checksum");
        return no_page(db, pgno, err);
    }
    if (corrected) {
        report_checksum(db, pgno, EVENT_WARNING,
                        "One flipped bit of a database page was corrected");
        /* No bound: when this write never happens, the bit is corrected again. */
        struct page_ref ref = {.frame = f, .page = page, .pgno = pgno, .mode = LATCH_WRITE};
        if (!db->read_only)
            cache_mark_dirty(&ref, LGPOS_MAX);
        f->changed = 0; /* nobody has seen the page yet */
    }
    return JET_errSuccess;
}

/* *raced: another thread has brought the page meanwhile; nothing is held. */
static err_t load(struct dbfile *db, pgno_t pgno, unsigned how, struct frame **out, bool *raced)
{
    struct cache *cache = db->cache;
    if (how & CACHE_TRY && !(how & CACHE_NO_READ))
        return CACHE_WOULD_BLOCK;
    struct frame *f = NULL;
    err_t err = cache__take_frame(cache, !(how & CACHE_TRY), &f);
    if (err != JET_errSuccess)
        return err;
    uint32_t bucket;
    struct shard *shard = cache__shard(cache, db, pgno, &bucket);
    os_lock_take(&shard->lock);
    *raced = cache__find_locked(cache, bucket, db, pgno) != NULL;
    if (!*raced) {
        link_locked(cache, bucket, f, db, pgno);
        shard->misses++;
    }
    os_lock_release(&shard->lock);
    if (*raced) {
        cache__give_frame(cache, f);
        return JET_errSuccess;
    }
    if (how & CACHE_NO_READ) {
        memset(frame_page(cache, f).p, 0, cache->page_size);
        f->blank = f->sound = 1;
    } else {
        err = read_in(db, pgno, how, f);
        if (err < 0) {
            drop_frame(cache, f);
            return err;
        }
    }
    if (how & CACHE_COLD)
        cache__note_cold(cache, f);
    *out = f;
    return JET_errSuccess;
}

/* ---- latching ---- */

/* A good checksum does not make a sound page, and writers of page/ rely on one: what came from disk
 * is checked when it is first latched for writing. */
static err_t check_sound(struct dbfile *db, struct frame *f, unsigned how)
{
    if (how & CACHE_NO_READ) /* to be formatted; should it not be, the next writer checks it */
        return JET_errSuccess;
    if (!f->sound && !f->blank) {
        err_t err = page_validate(frame_page(db->cache, f));
        if (err < 0) {
            struct err_origin why = *err_last();
            err = err_raise(err, why.file, why.line);
            err_detail("%s: page %u: %.150s", db->path, atomic_load(&f->pgno), why.detail);
            return err;
        }
    }
    f->sound = 1;
    return JET_errSuccess;
}

static struct page_ref make_ref(struct dbfile *db, struct frame *f, pgno_t pgno,
                                enum latch_mode mode)
{
    return (struct page_ref){.frame = f,
                             .page = frame_page(db->cache, f),
                             .pgno = pgno,
                             .mode = mode,
                             .version = atomic_load(&f->version)};
}

static void touch(struct frame *f)
{
    uint8_t n = atomic_load_explicit(&f->touch, memory_order_relaxed);
    if (n < TOUCH_MAX)
        atomic_store_explicit(&f->touch, n + 1, memory_order_relaxed);
    if (atomic_load_explicit(&f->cold, memory_order_relaxed))
        atomic_store_explicit(&f->cold, 0, memory_order_relaxed);
}

static bool try_latch(struct frame *f, enum latch_mode mode)
{
    return mode == LATCH_READ ? latch__try_read(f) : latch__try_write(f);
}

static void count_hit(struct shard *shard)
{
    uint64_t hits = atomic_load_explicit(&shard->hits, memory_order_relaxed);
    atomic_store_explicit(&shard->hits, hits + 1, memory_order_relaxed);
}

static void unlatch(struct frame *f, enum latch_mode mode)
{
    if (mode == LATCH_READ)
        latch__read_release(f);
    else
        latch__write_release(f);
}

/* NULL: not in memory. *latched = false: somebody else holds the latch; then the frame comes
 * pinned, which keeps its page from being evicted until the latch does. */
static struct frame *find(struct dbfile *db, pgno_t pgno, enum latch_mode mode, bool *latched)
{
    uint32_t bucket;
    struct shard *shard = cache__shard(db->cache, db, pgno, &bucket);
    struct frame *f = find_unlocked(db->cache, bucket, db, pgno);
    if (f != NULL && try_latch(f, mode)) {
        if (frame_is(f, db, pgno)) {
            *latched = true;
            count_hit(shard);
            return f;
        }
        unlatch(f, mode);
    }
    os_lock_take(&shard->lock);
    f = cache__find_locked(db->cache, bucket, db, pgno);
    if (f != NULL) {
        *latched = try_latch(f, mode);
        if (!*latched)
            atomic_fetch_add(&f->pins, 1);
        count_hit(shard);
    }
    os_lock_release(&shard->lock);
    return f;
}

/* Who asks for a page that he is changing already was led there by a damaged link, or by a log record
 * that names one page twice. */
static err_t latch_pinned(struct dbfile *db, struct frame *f, enum latch_mode mode, unsigned how)
{
    err_t err = JET_errSuccess;
    if (latch__is_mine(f)) {
        err = RAISE(JET_errDatabaseCorrupted);
        err_detail("%s: page %u stands in two places of one change", db->path, atomic_load(&f->pgno));
    } else if (how & CACHE_TRY) {
        err = try_latch(f, mode) ? JET_errSuccess : CACHE_WOULD_BLOCK;
    } else if (mode == LATCH_READ) {
        latch__read(f);
    } else {
        latch__write(f);
    }
    atomic_fetch_sub(&f->pins, 1);
    return err;
}

err_t cache_latch(struct dbfile *db, pgno_t pgno, enum latch_mode mode, unsigned how,
                  struct page_ref *out)
{
    *out = PAGE_REF_NONE;
    ASSERT(mode == LATCH_WRITE || !(how & CACHE_NO_READ));
    if (pgno == PGNO_NIL) /* a link read from a damaged page */
        return no_page(db, pgno, JET_errDatabaseCorrupted);
    for (;;) {
        bool latched = false;
        struct frame *f = find(db, pgno, mode, &latched);
        if (f == NULL) {
            bool raced = false;
            err_t err = load(db, pgno, how, &f, &raced);
            if (err != JET_errSuccess)
                return err;
            if (raced)
                continue;
            if (mode == LATCH_READ)
                latch__downgrade(f);
        } else {
            err_t err = latched ? JET_errSuccess : latch_pinned(db, f, mode, how);
            if (err != JET_errSuccess)
                return err;
            if (!frame_is(f, db, pgno)) { /* its reader failed and dropped it */
                unlatch(f, mode);
                continue;
            }
            if (f->blank && !(how & (CACHE_NO_READ | CACHE_REDO))) {
                unlatch(f, mode);
                return no_page(db, pgno,
                               pgno > atomic_load(&db->page_count) ? JET_errFileIOBeyondEOF
                                                                   : JET_errPageNotInitialized);
            }
            if (!(how & CACHE_COLD))
                touch(f);
        }
        err_t err = mode == LATCH_WRITE ? check_sound(db, f, how) : JET_errSuccess;
        if (err < 0) {
            latch__write_release(f);
            return err;
        }
        *out = make_ref(db, f, pgno, mode);
        return JET_errSuccess;
    }
}

/* The end of a write latch: its changes become a new version. A page that was to be formatted and
 * was not (the log had no room, say) is no page, dirty or not. */
static void end_write(struct cache *cache, struct frame *f)
{
    if (f->blank) {
        f->blank = page_is_all_zero(frame_page(cache, f));
        if (f->blank)
            cache__forget_dirty(cache, f);
    }
    if (f->changed) {
        atomic_fetch_add(&f->version, 1);
        f->changed = 0;
    }
}

void cache_release(struct page_ref *ref)
{
    struct frame *f = ref->frame;
    if (f == NULL)
        return;
    if (ref->mode == LATCH_READ) {
        latch__read_release(f);
    } else {
        struct cache *cache = atomic_load(&f->db)->cache;
        end_write(cache, f);
        if (f->blank)
            drop_frame(cache, f);
        else
            latch__write_release(f);
    }
    *ref = PAGE_REF_NONE;
}

bool cache_try_upgrade(struct page_ref *ref)
{
    ASSERT(ref->mode == LATCH_READ);
    struct frame *f = ref->frame;
    if (!latch__upgrade(f))
        return false;
    if (check_sound(atomic_load(&f->db), f, 0) < 0) { /* latching it for writing will say why */
        latch__downgrade(f);
        return false;
    }
    ref->mode = LATCH_WRITE;
    return true;
}

void cache_downgrade(struct page_ref *ref)
{
    ASSERT(ref->mode == LATCH_WRITE);
    end_write(atomic_load(&ref->frame->db)->cache, ref->frame);
    ref->version = atomic_load(&ref->frame->version);
    ref->mode = LATCH_READ;
    latch__downgrade(ref->frame);
}

bool cache_latch_hint(struct frame *f, struct dbfile *db, pgno_t pgno, uint32_t version,
                      struct page_ref *out)
{
    *out = PAGE_REF_NONE;
    if (!cache_still_valid(f, db, pgno, version) || !latch__try_read(f))
        return false;
    if (!cache_still_valid(f, db, pgno, version) || f->blank) {
        latch__read_release(f);
        return false;
    }
    touch(f);
    *out = make_ref(db, f, pgno, LATCH_READ);
    return true;
}

bool cache_latch_hint_write(struct frame *f, struct dbfile *db, pgno_t pgno, struct page_ref *out)
{
    *out = PAGE_REF_NONE;
    if (f == NULL || !frame_is(f, db, pgno) || !latch__try_write(f))
        return false;
    /* A page that is not sound says so to who latches it by number. */
    if (!frame_is(f, db, pgno) || f->blank || !f->sound) {
        latch__write_release(f);
        return false;
    }
    touch(f);
    *out = make_ref(db, f, pgno, LATCH_WRITE);
    return true;
}

bool cache_still_valid(struct frame *f, struct dbfile *db, pgno_t pgno, uint32_t version)
{
    return f != NULL && atomic_load(&f->version) == version && frame_is(f, db, pgno);
}

void cache_prefetch(struct dbfile *db, pgno_t pgno)
{
    if (pgno == PGNO_NIL || pgno > atomic_load(&db->page_count))
        return;
    uint32_t bucket;
    struct shard *shard = cache__shard(db->cache, db, pgno, &bucket);
    os_lock_take(&shard->lock);
    bool present = cache__find_locked(db->cache, bucket, db, pgno) != NULL;
    os_lock_release(&shard->lock);
    if (!present)
        os_file_will_read(db->file, page_offset(pgno, db->page_size), db->page_size);
}

/* ---- changes ---- */

void cache_mark_dirty(struct page_ref *ref, lgpos_t begin_bound)
{
    struct frame *f = ref->frame;
    struct dbfile *db = atomic_load(&f->db);
    ENFORCE(ref->mode == LATCH_WRITE && !db->read_only);
    f->changed = 1;
    /* Only holders of the latch touch `bound`: a write latch here, a read latch in write-back. */
    if (begin_bound < atomic_load(&f->bound))
        atomic_store(&f->bound, begin_bound);
    cache__set_dirty(db->cache, f);
}

void cache_set_lgpos(struct page_ref *ref, lgpos_t end)
{
    struct frame *f = ref->frame;
    ASSERT(ref->mode == LATCH_WRITE && atomic_load(&f->dirty));
    /* Both move under the write latch only, or under a read latch that this one excludes. */
    if (end > atomic_load_explicit(&f->lgpos_end, memory_order_relaxed))
        atomic_store_explicit(&f->lgpos_end, end, memory_order_release);
    f->changed = 0;
    ref->version = atomic_load_explicit(&f->version, memory_order_relaxed) + 1;
    atomic_store_explicit(&f->version, ref->version, memory_order_release);
}

void cache_note_undo(struct page_ref *ref)
{
    ASSERT(ref->mode == LATCH_WRITE);
    atomic_store(&ref->frame->undo, 1);
}

bool cache_has_undo(const struct page_ref *ref)
{
    return atomic_load(&ref->frame->undo) != 0;
}

bool cache_will_write(const struct page_ref *ref)
{
    return atomic_load(&ref->frame->dirty) || atomic_load(&ref->frame->writing);
}

uint64_t cache_starved(struct cache *cache)
{
    return atomic_load(&cache->starved);
}

void cache_stats(struct cache *cache, struct cache_stats *out)
{
    *out = (struct cache_stats){.frames = cache->frame_count};
    for (uint32_t i = 0; i <= cache->shard_mask; i++) {
        os_lock_take(&cache->shards[i].lock);
        out->hits += atomic_load_explicit(&cache->shards[i].hits, memory_order_relaxed);
        out->misses += cache->shards[i].misses;
        os_lock_release(&cache->shards[i].lock);
    }
    os_lock_take(&cache->replace_lock);
    out->used = cache->never_used - cache->free_count;
    os_lock_release(&cache->replace_lock);
    out->dirty = atomic_load(&cache->dirty_count);
    out->reads = atomic_load(&cache->reads);
    out->writes = atomic_load(&cache->writes);
    out->evictions = atomic_load(&cache->evictions);
    out->double_writes = atomic_load(&cache->double_writes);
    out->stolen = atomic_load(&cache->stolen);
    out->write_errors = atomic_load(&cache->write_errors);
}
