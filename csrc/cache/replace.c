/* Which page leaves: pages of scans first, then a clock. A page starts without credit and earns it
 * by being touched again, so pages used once do not push out those in use. Only clean pages leave;
 * when there is none, the thread that needs a frame writes some. */
#include "cache/cache_private.h"

#define EVICT_TRIES 100   /* with nothing on its way to disk */
#define EVICT_TURNS 10000 /* in all: others may take what this thread made free */
#define EVICT_WRITE_MIN 16u

/* The frame's page leaves when nobody uses it and its copy on disk is current. The frame comes back
 * write-latched. */
static bool evict(struct cache *cache, struct frame *f)
{
    struct dbfile *db = atomic_load(&f->db);
    pgno_t pgno = atomic_load(&f->pgno);
    if (db == NULL || atomic_load(&f->dirty) || atomic_load(&f->writing) || atomic_load(&f->pins))
        return false;
    uint32_t bucket;
    struct shard *shard = cache__shard(cache, db, pgno, &bucket);
    bool gone = false;
    os_lock_take(&shard->lock);
    if (frame_is(f, db, pgno) && atomic_load(&f->pins) == 0 && latch__try_write(f)) {
        /* `writing` is read first: a write-back that failed sets `dirty` before it ends. */
        gone = !atomic_load(&f->writing) && !atomic_load(&f->dirty);
        if (gone)
            cache__unlink_locked(cache, bucket, f);
        else
            latch__write_release(f);
    }
    os_lock_release(&shard->lock);
    if (gone) {
        cache__forget_dirty(cache, f);
        atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
    }
    return gone;
}

static struct frame *take_free(struct cache *cache)
{
    struct frame *f = NULL;
    os_lock_take(&cache->replace_lock);
    if (cache->free_count > 0)
        f = &cache->frames[cache->free[--cache->free_count]];
    else if (cache->never_used < cache->frame_count)
        f = &cache->frames[cache->never_used++];
    os_lock_release(&cache->replace_lock);
    if (f != NULL)
        latch__write(f); /* only a stale hint can be on it, and lets go at once */
    return f;
}

void cache__give_frame(struct cache *cache, struct frame *f)
{
    ASSERT(atomic_load(&f->db) == NULL && !atomic_load(&f->dirty));
    latch__write_release(f);
    os_lock_take(&cache->replace_lock);
    cache->free[cache->free_count++] = frame_number(cache, f);
    os_lock_release(&cache->replace_lock);
}

void cache__note_cold(struct cache *cache, struct frame *f)
{
    atomic_store(&f->cold, 1);
    os_lock_take(&cache->replace_lock);
    if (cache->cold_count == COLD_RING) { /* the oldest is left to the clock */
        cache->cold_first = (cache->cold_first + 1) % COLD_RING;
        cache->cold_count--;
    }
    cache->cold[(cache->cold_first + cache->cold_count++) % COLD_RING] = frame_number(cache, f);
    os_lock_release(&cache->replace_lock);
}

static struct frame *take_cold(struct cache *cache)
{
    for (;;) {
        struct frame *f = NULL;
        os_lock_take(&cache->replace_lock);
        if (cache->cold_count > 0) {
            f = &cache->frames[cache->cold[cache->cold_first]];
            cache->cold_first = (cache->cold_first + 1) % COLD_RING;
            cache->cold_count--;
        }
        os_lock_release(&cache->replace_lock);
        if (f == NULL)
            return NULL;
        if (atomic_load(&f->cold) && evict(cache, f))
            return f;
    }
}

/* As many steps as take the credit of a page with the most. */
static struct frame *take_by_clock(struct cache *cache)
{
    for (uint64_t step = 0; step < (uint64_t)cache->frame_count * (TOUCH_MAX + 1); step++) {
        uint32_t i =
            atomic_fetch_add_explicit(&cache->hand, 1, memory_order_relaxed) % cache->frame_count;
        struct frame *f = &cache->frames[i];
        uint8_t credit = atomic_load_explicit(&f->touch, memory_order_relaxed);
        if (credit > 0)
            atomic_store_explicit(&f->touch, credit - 1, memory_order_relaxed);
        else if (evict(cache, f))
            return f;
    }
    return NULL;
}

static err_t all_in_use(struct cache *cache)
{
    atomic_fetch_add(&cache->starved, 1);
    err_t err = RAISE(JET_errOutOfMemory);
    err_detail("page cache: all %u frames are latched or cannot be written", cache->frame_count);
    return err;
}

/* The caller may hold latches of other pages: nothing below waits for a latch. Writes in flight are
 * waited for: they need none either. */
err_t cache__take_frame(struct cache *cache, bool may_write, struct frame **out)
{
    *out = NULL;
    for (uint32_t tries = 0, turn = 0; tries < EVICT_TRIES && turn < EVICT_TURNS; turn++) {
        if ((*out = take_free(cache)) != NULL || (*out = take_cold(cache)) != NULL ||
            (*out = take_by_clock(cache)) != NULL)
            return JET_errSuccess;
        if (!may_write)
            return CACHE_WOULD_BLOCK;
        uint32_t most =
            cache->frame_count / 8; /* syncs are paid once a batch, others wait for it */
        most = most < EVICT_WRITE_MIN ? EVICT_WRITE_MIN : most;
        struct write_goal goal = {.older_than = LGPOS_MAX,
                                  .pages_max = most < BATCH_PAGES_MAX ? most : BATCH_PAGES_MAX};
        uint32_t written = 0;
        cache_ring(cache);
        TRY_RETURN(cache__write_back(cache, &goal, WRITE_STEAL, &written));
        if (written == 0 && !cache__wait_any_written(cache)) {
            os_sleep_ms(tries < 4 ? 1 : 5);
            tries++;
        }
    }
    return all_in_use(cache);
}

/* Somebody who still holds a latch here has lost it for good: better a stop than a hang. */
#define DROP_WAIT_MS 10000

static void drop_page(struct cache *cache, struct frame *f, struct dbfile *db)
{
    for (uint32_t waited = 0;; waited++) {
        cache__wait_written(f);
        pgno_t pgno = atomic_load(&f->pgno);
        uint32_t bucket;
        struct shard *shard = cache__shard(cache, db, pgno, &bucket);
        bool gone = false;
        os_lock_take(&shard->lock);
        if (!frame_is(f, db, pgno) && atomic_load(&f->db) != db) {
            os_lock_release(&shard->lock);
            return;
        }
        if (frame_is(f, db, pgno) && atomic_load(&f->pins) == 0 && latch__try_write(f)) {
            gone = !atomic_load(&f->writing);
            if (gone)
                cache__unlink_locked(cache, bucket, f);
            else
                latch__write_release(f);
        }
        os_lock_release(&shard->lock);
        if (gone) {
            cache__forget_dirty(cache, f);
            cache__give_frame(cache, f);
            return;
        }
        ENFORCE(waited < DROP_WAIT_MS);
        os_sleep_ms(1);
    }
}

void cache__drop_database(struct cache *cache, struct dbfile *db)
{
    os_lock_take(&cache->replace_lock);
    uint32_t used = cache->never_used;
    os_lock_release(&cache->replace_lock);
    for (uint32_t i = 0; i < used; i++)
        if (atomic_load(&cache->frames[i].db) == db)
            drop_page(cache, &cache->frames[i], db);
}
