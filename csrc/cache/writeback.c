/* Dirty pages go to disk in batches: copy each under a read latch, let go, then flush the log,
 * cover the generation in the header, seal, double-write file, in place, sync. What "clean" means
 * stands in README.rst. */
#include <limits.h>

#include "cache/cache_private.h"

#define CANDIDATES_MAX 4096u

struct candidate {
    struct log *log; /* sort key: one batch, one log */
    struct dbfile *db;
    struct frame *frame;
    pgno_t pgno;
};
struct item {
    struct frame *frame;
    lgpos_t lgpos_end;
};
struct batch {
    struct batch *next; /* idle */
    uint8_t *pages;     /* copies, back to back */
    uint32_t room, count;
    struct log *log;
    struct double_write *dw;
    struct item item[BATCH_PAGES_MAX];
    struct double_write_page
        page[BATCH_PAGES_MAX]; /* .db stays valid while the frame is `writing` */
    uint32_t candidate_count;
    struct candidate candidate[CANDIDATES_MAX];
};

/* ---- the set of dirty frames ---- */

static _Atomic uint64_t *dirty_word(struct cache *cache, const struct frame *f, uint64_t *bit)
{
    uint32_t i = frame_number(cache, f);
    *bit = (uint64_t)1 << (i % 64);
    return &cache->dirty_map[i / 64];
}

/* Half of the pages may be dirty without anybody being woken: eviction still finds a clean one
 * quickly. */
static void count_dirty(struct cache *cache)
{
    if (atomic_fetch_add(&cache->dirty_count, 1) == cache->frame_count / 2)
        cache_ring(cache);
}

/* Under the write latch. Invariant: dirty => bit set, so a scan of the bits misses no dirty page.
 */
void cache__set_dirty(struct cache *cache, struct frame *f)
{
    if (atomic_load(&f->dirty))
        return;
    uint64_t bit;
    _Atomic uint64_t *word = dirty_word(cache, f, &bit);
    atomic_fetch_or(word, bit);
    if (!atomic_exchange(&f->dirty, 1)) /* a write that failed may have set it meanwhile */
        count_dirty(cache);
}

void cache__forget_dirty(struct cache *cache, struct frame *f)
{
    uint64_t bit;
    _Atomic uint64_t *word = dirty_word(cache, f, &bit);
    if (atomic_exchange(&f->dirty, 0))
        atomic_fetch_sub(&cache->dirty_count, 1);
    atomic_store(&f->bound, LGPOS_MAX);
    atomic_store(&f->bound_writing, LGPOS_MAX);
    atomic_store(&f->undo, 0);
    if (atomic_load(word) & bit)
        atomic_fetch_and(word, ~bit);
}

/* The bit goes only under a latch, when no change can come in between, and by the owner of
 * `writing`: a copy in flight counts for cache_oldest_dirty. */
static void clear_bit_if_clean(struct cache *cache, struct frame *f)
{
    if (atomic_load(&f->dirty) || !latch__try_read(f))
        return;
    if (!atomic_load(&f->dirty)) {
        uint64_t bit;
        _Atomic uint64_t *word = dirty_word(cache, f, &bit);
        atomic_fetch_and(word, ~bit);
    }
    latch__read_release(f);
}

lgpos_t cache_oldest_dirty(struct cache *cache, struct log *log)
{
    lgpos_t oldest = LGPOS_MAX;
    for (uint32_t w = 0; w < cache->dirty_words; w++) {
        for (uint64_t bits = atomic_load(&cache->dirty_map[w]); bits != 0; bits &= bits - 1) {
            struct frame *f = &cache->frames[w * 64 + (uint32_t)__builtin_ctzll(bits)];
            struct dbfile *db = atomic_load(&f->db);
            if (db == NULL || (log != NULL && atomic_load(&f->log) != log))
                continue;
            /* `bound` first: it moves to bound_writing, never back. */
            lgpos_t bound = atomic_load(&f->bound), in_flight = atomic_load(&f->bound_writing);
            if (atomic_load(&f->db) != db) /* it left clean, another came */
                continue;
            bound = bound < in_flight ? bound : in_flight;
            oldest = bound < oldest ? bound : oldest;
        }
    }
    return oldest;
}

bool cache__database_dirty(struct cache *cache, struct dbfile *db)
{
    for (uint32_t w = 0; w < cache->dirty_words; w++) {
        for (uint64_t bits = atomic_load(&cache->dirty_map[w]); bits != 0; bits &= bits - 1) {
            struct frame *f = &cache->frames[w * 64 + (uint32_t)__builtin_ctzll(bits)];
            if (atomic_load(&f->db) == db && (atomic_load(&f->writing) || atomic_load(&f->dirty)))
                return true;
        }
    }
    return false;
}

/* ---- the bell ---- */

void cache_ring(struct cache *cache)
{
    os_lock_take(&cache->work_lock);
    cache->rung = true;
    os_cond_broadcast(&cache->work);
    os_lock_release(&cache->work_lock);
}

void cache_wait_work(struct cache *cache, uint32_t ms)
{
    os_lock_take(&cache->work_lock);
    while (!cache->rung)
        if (!os_cond_wait_ms(&cache->work, &cache->work_lock, ms))
            break;
    cache->rung = false;
    os_lock_release(&cache->work_lock);
}

/* ---- one write-back of a frame at a time ---- */

void cache__wait_written(struct frame *f)
{
    uint32_t w;
    while ((w = atomic_load(&f->writing)) != 0)
        if (w == 2 || atomic_compare_exchange_strong(&f->writing, &w, 2))
            os_park(&f->writing, 2);
}

bool cache__wait_any_written(struct cache *cache)
{
    for (uint32_t w = 0; w < cache->dirty_words; w++) {
        for (uint64_t bits = atomic_load(&cache->dirty_map[w]); bits != 0; bits &= bits - 1) {
            struct frame *f = &cache->frames[w * 64 + (uint32_t)__builtin_ctzll(bits)];
            if (!atomic_load(&f->writing))
                continue;
            cache__wait_written(f);
            return true;
        }
    }
    return false;
}

static void end_writing(struct frame *f)
{
    if (atomic_exchange(&f->writing, 0) == 2)
        os_unpark(&f->writing, INT_MAX);
}

/* A bit that finish() could not take away, for somebody held the latch. */
static void tidy_bit(struct cache *cache, struct frame *f)
{
    uint32_t idle = 0;
    if (!atomic_compare_exchange_strong(&f->writing, &idle, 1))
        return;
    clear_bit_if_clean(cache, f);
    end_writing(f);
}

/* ---- UndoInfo ---- */

/* A latch on the page is held. After it, every version that was there has its UndoInfo; new ones
 * set the flag again. A version that needs none, or is gone, belongs to a transaction whose commit
 * may still be in memory only: the page waits for all that is logged until now. */
static err_t log_undo_info(struct dbfile *db, struct frame *f, pgno_t pgno)
{
    err_t err = JET_errSuccess;
    struct page page = frame_page(db->cache, f);
    struct buffer key = {0};
    lgpos_t end = LGPOS_MIN;
    bool with_data = page_flags(page) & PAGE_NON_UNIQUE;
    for (int line = 0; line < page_line_count(page); line++) {
        struct node node;
        TRY(page_node(page, line, &node));
        if (!(node.flags & NODE_VERSION))
            continue;
        TRY(buffer_reserve(&key, node_key_size(&node)));
        struct version_key where = {.dbid = db->dbid,
                                    .objid = page_objid(page),
                                    .key = SLICE(key.p, node_key_copy(&node, key.p)),
                                    .data = with_data ? node.data : SLICE_EMPTY};
        TRY(version_log_undo_info(db->versions, &where, pgno, line, &end));
    }
    atomic_store(&f->undo, 0);
out:
    buffer_free(&key);
    if (db->log != NULL && log_last_end(db->log) > end)
        end = log_last_end(db->log);
    lgpos_t seen = atomic_load(&f->lgpos_end);
    while (end > seen && !atomic_compare_exchange_weak(&f->lgpos_end, &seen, end))
        ;
    return err;
}

err_t cache_log_undo_info(struct page_ref *ref)
{
    struct dbfile *db = atomic_load(&ref->frame->db);
    return cache_has_undo(ref) && db->versions != NULL ? log_undo_info(db, ref->frame, ref->pgno)
                                                       : JET_errSuccess;
}

/* ---- choosing ---- */

static bool wanted(const struct frame *f, const struct write_goal *goal)
{
    if (!atomic_load(&f->dirty) || atomic_load(&f->writing))
        return false;
    if (goal->only != NULL && atomic_load(&f->db) != goal->only)
        return false;
    if (goal->log != NULL && atomic_load(&f->log) != goal->log)
        return false;
    if (goal->random_steal && (os_random_u32() & 1))
        return false;
    lgpos_t bound = atomic_load(&f->bound), floor = atomic_load(&f->bound_writing);
    return goal->older_than == LGPOS_MAX || bound < goal->older_than || floor < goal->older_than;
}

static int by_place(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->log != y->log)
        return (uintptr_t)x->log < (uintptr_t)y->log ? -1 : 1;
    if (x->db != y->db)
        return (uintptr_t)x->db < (uintptr_t)y->db ? -1 : 1;
    return (x->pgno > y->pgno) - (x->pgno < y->pgno);
}

/* From where the last gathering ended, so that every page has its turn. */
static void gather(struct cache *cache, const struct write_goal *goal, struct batch *b)
{
    b->candidate_count = 0;
    uint32_t start = atomic_load(&cache->write_hand) % cache->dirty_words, step = 0;
    for (; step < cache->dirty_words && b->candidate_count + 64 <= CANDIDATES_MAX; step++) {
        uint32_t w = (start + step) % cache->dirty_words;
        for (uint64_t bits = atomic_load(&cache->dirty_map[w]); bits != 0; bits &= bits - 1) {
            struct frame *f = &cache->frames[w * 64 + (uint32_t)__builtin_ctzll(bits)];
            struct candidate c = {atomic_load(&f->log), atomic_load(&f->db), f,
                                  atomic_load(&f->pgno)};
            if (c.db != NULL && wanted(f, goal))
                b->candidate[b->candidate_count++] = c;
            else if (!atomic_load(&f->dirty))
                tidy_bit(cache, f);
        }
    }
    atomic_store(&cache->write_hand, start + step);
    qsort(b->candidate, b->candidate_count, sizeof b->candidate[0], by_place);
}

/* ---- copying ---- */

/* Read after `writing` is set: whoever opens the window afterwards sees the flag and waits. */
static bool window_forbids(struct dbfile *db, pgno_t pgno, unsigned how)
{
    if (atomic_load(&db->frozen))
        return true;
    if (pgno < atomic_load(&db->window_low) || pgno >= atomic_load(&db->window_high))
        return false;
    return !(how & (WRITE_ALL | WRITE_STEAL)) || atomic_load(&db_own(db)->reading);
}

/* The frame is read-latched. */
static void move_to_copy(struct cache *cache, struct frame *f, uint8_t *to)
{
    lgpos_t bound = atomic_load(&f->bound);
    /* bound_writing keeps what a failed write left there. Raised before `bound` goes: see
     * cache_oldest_dirty. */
    if (bound < atomic_load(&f->bound_writing))
        atomic_store(&f->bound_writing, bound);
    atomic_store(&f->bound, LGPOS_MAX);
    atomic_store(&f->dirty, 0);
    atomic_fetch_sub(&cache->dirty_count, 1);
    memcpy(to, frame_page(cache, f).p, cache->page_size);
}

enum { COPY_DONE, COPY_SKIPPED, COPY_OTHER_BATCH };

/* err_t, or one of the above in *did. Never waits for a latch. */
static err_t copy_page(struct cache *cache, const struct candidate *c, unsigned how,
                       struct batch *b, int *did)
{
    err_t err = JET_errSuccess;
    struct frame *f = c->frame;
    uint32_t idle = 0;
    *did = COPY_SKIPPED;
    if (!latch__try_read(f))
        return JET_errSuccess;
    if (!frame_is(f, c->db, c->pgno))
        goto out;
    struct dbfile *db = c->db; /* alive: closing it needs this latch, later waits for `writing` */
    if (b->count > 0 && (db->log != b->log || db->double_write != b->dw)) {
        *did = COPY_OTHER_BATCH;
        goto out;
    }
    if (!atomic_compare_exchange_strong(&f->writing, &idle, 1))
        goto out;
    /* `dirty` is asked as the owner of `writing`: another write-back may just have taken the page.
     */
    if (atomic_load(&f->dirty) && !window_forbids(db, c->pgno, how)) {
        if (atomic_load(&f->undo) && db->versions != NULL)
            err = log_undo_info(db, f, c->pgno);
        /* In redo nothing can be logged: such a page stays until its transaction's end, or its
         * UndoInfo, is redone. */
        if (err == JET_errCannotLogDuringRecoveryRedo && !(how & WRITE_ALL)) {
            err = JET_errSuccess;
        } else if (err >= 0) {
            b->log = db->log;
            b->dw = db->double_write;
            b->page[b->count] = (struct double_write_page){db, c->pgno};
            b->item[b->count] = (struct item){f, atomic_load(&f->lgpos_end)};
            move_to_copy(cache, f, b->pages + (size_t)b->count * cache->page_size);
            b->count++;
            *did = COPY_DONE;
        }
    }
    if (*did != COPY_DONE)
        end_writing(f);
out:
    latch__read_release(f);
    return err;
}

/* ---- writing ---- */

/* [i, end): the pages of one database. */
static uint32_t end_of_database(const struct batch *b, uint32_t i)
{
    uint32_t end = i + 1;
    while (end < b->count && b->page[end].db == b->page[i].db)
        end++;
    return end;
}

/* Everything that must be on disk before the pages: log, header range, room in the file. */
static err_t make_way(struct batch *b)
{
    lgpos_t end = LGPOS_MIN;
    for (uint32_t i = 0; i < b->count; i++)
        end = b->item[i].lgpos_end > end ? b->item[i].lgpos_end : end;
    bool logged = end > LGPOS_MIN && b->log != NULL && log_is_enabled(b->log);
    if (logged && !PYJET_BREAK_WAL)
        TRY_RETURN(log_flush(b->log, end));
    for (uint32_t i = 0, stop; i < b->count; i = stop) {
        struct dbfile *db = b->page[i].db;
        stop = end_of_database(b, i);
        end = LGPOS_MIN;
        for (uint32_t k = i; k < stop; k++)
            end = b->item[k].lgpos_end > end ? b->item[k].lgpos_end : end;
        if (logged && end > LGPOS_MIN) {
            /* `end` may already stand in a generation that has not begun. */
            uint32_t generation = LGPOS_GEN(end), current = log_current_generation(b->log);
            TRY_RETURN(dbfile_cover_generation(db, generation < current ? generation : current));
        }
        pgno_t last = b->page[stop - 1].pgno;
        TRY_RETURN(dbfile_cover(db, last)); /* redo met a page before the growth */
    }
    return JET_errSuccess;
}

static err_t write_in_place(struct cache *cache, struct batch *b)
{
    for (uint32_t i = 0, stop; i < b->count; i = stop) {
        struct dbfile *db = b->page[i].db;
        stop = i + 1;
        while (stop < b->count && b->page[stop].db == db &&
               b->page[stop].pgno == b->page[stop - 1].pgno + 1)
            stop++;
        TRY_RETURN(os_file_write(db->file, page_offset(b->page[i].pgno, cache->page_size),
                                 b->pages + (size_t)i * cache->page_size,
                                 (size_t)(stop - i) * cache->page_size));
    }
    for (uint32_t i = 0; i < b->count; i = end_of_database(b, i))
        TRY_RETURN(os_file_sync(b->page[i].db->file));
    return JET_errSuccess;
}

static err_t write_batch(struct cache *cache, struct batch *b)
{
    TRY_RETURN(make_way(b));
    for (uint32_t i = 0; i < b->count; i++) {
        struct page page = {b->pages + (size_t)i * cache->page_size, cache->page_size};
        ENFORCE(!page_is_all_zero(page)); /* marked dirty, never formatted */
        page_seal(page, b->page[i].pgno);
    }
    if (b->dw == NULL)
        return dbfile__wrote(b->page[0].db, write_in_place(cache, b));
    TRY_RETURN(dbfile__wrote(b->page[0].db, double_write__begin(b->dw, b->page, b->count, b->pages)));
    atomic_fetch_add_explicit(&cache->double_writes, b->count, memory_order_relaxed);
    err_t err = write_in_place(cache, b);
    if (err == JET_errDiskFull) /* a page may be half there: that does not pass when the disk has room again */
        err = RAISE(JET_errDiskIO);
    double_write__end(b->dw, err);
    return dbfile__wrote(b->page[0].db, err);
}

/* `writing` falls last: then the frame may be evicted and its database closed. */
static void finish(struct cache *cache, struct batch *b, err_t err)
{
    for (uint32_t i = 0; i < b->count; i++) {
        struct frame *f = b->item[i].frame;
        if (err >= 0) {
            atomic_store(&f->bound_writing, LGPOS_MAX);
            clear_bit_if_clean(cache, f);
        } else if (!atomic_exchange(&f->dirty, 1)) {
            count_dirty(cache);
        }
        end_writing(f);
    }
    if (err >= 0)
        atomic_fetch_add_explicit(&cache->writes, b->count, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&cache->write_errors, 1, memory_order_relaxed);
    b->count = 0;
}

/* ---- a call ---- */

static err_t take_batch(struct cache *cache, struct batch **out)
{
    os_lock_take(&cache->work_lock);
    struct batch *b = cache->idle;
    if (b != NULL)
        cache->idle = b->next;
    os_lock_release(&cache->work_lock);
    if (b == NULL && (b = calloc(1, sizeof *b)) != NULL) {
        b->room = BATCH_BYTES / cache->page_size < BATCH_PAGES_MAX ? BATCH_BYTES / cache->page_size
                                                                   : BATCH_PAGES_MAX;
        b->pages = os_alloc_aligned((size_t)b->room * cache->page_size);
        if (b->pages == NULL) {
            free(b);
            b = NULL;
        }
    }
    *out = b;
    return b != NULL ? JET_errSuccess : RAISE(JET_errOutOfMemory);
}

static void give_batch(struct cache *cache, struct batch *b)
{
    os_lock_take(&cache->work_lock);
    b->next = cache->idle;
    cache->idle = b;
    os_lock_release(&cache->work_lock);
}

void cache__free_batches(struct cache *cache)
{
    while (cache->idle != NULL) {
        struct batch *b = cache->idle;
        cache->idle = b->next;
        os_free_aligned(b->pages);
        free(b);
    }
}

/* Writes the gathered candidates, as many batches as it takes. */
static err_t write_candidates(struct cache *cache, struct batch *b, unsigned how,
                              uint32_t pages_max, uint32_t *written)
{
    err_t err = JET_errSuccess;
    for (uint32_t next = 0; next < b->candidate_count && *written < pages_max;) {
        int did = COPY_SKIPPED;
        while (next < b->candidate_count && b->count < b->room && *written + b->count < pages_max) {
            err = copy_page(cache, &b->candidate[next], how, b, &did);
            if (err < 0 || did == COPY_OTHER_BATCH)
                break;
            next++;
        }
        uint32_t count = b->count;
        if (err >= 0 && count > 0)
            err = write_batch(cache, b);
        finish(cache, b, err);
        if (err < 0)
            return err;
        *written += count;
    }
    return err;
}

err_t cache__write_back(struct cache *cache, const struct write_goal *goal, unsigned how,
                        uint32_t *written)
{
    struct batch *b;
    *written = 0;
    TRY_RETURN(take_batch(cache, &b));
    err_t err = JET_errSuccess;
    bool more = true;
    while (err >= 0 && more && *written < goal->pages_max) {
        uint32_t before = *written;
        gather(cache, goal, b);
        err = write_candidates(cache, b, how, goal->pages_max, written);
        more = *written > before &&
               b->candidate_count + 64 > CANDIDATES_MAX; /* there may be more than fitted */
    }
    give_batch(cache, b);
    if (how & WRITE_STEAL || goal->random_steal)
        atomic_fetch_add_explicit(&cache->stolen, *written, memory_order_relaxed);
    return err;
}

err_t cache_write_back(struct cache *cache, const struct write_goal *goal, uint32_t *written)
{
    return cache__write_back(cache, goal, 0, written);
}
