/* cache, inside: the frame, the pool, and what the files of the room share. */
#ifndef CACHE_CACHE_PRIVATE_H
#define CACHE_CACHE_PRIVATE_H

#include "cache/cache.h"

/* Latch word: one writer bit, two bits about waiters, and the count of readers. */
#define LATCH_X 0x80000000u       /* held for writing */
#define LATCH_WAITING 0x40000000u /* a writer waits: no new readers */
#define LATCH_PARKED 0x20000000u  /* somebody sleeps on the word: wake on release */
#define LATCH_COUNT 0x1fffffffu

#define TOUCH_MAX 3u
#define FRAME_NONE 0u /* links hold frame number + 1 */

/* Never freed, never reused for something else; identity (db, pgno) changes only under the write
 * latch and the lock of the bucket. */
struct frame {
    /* A hit touches this line only. */
    _Alignas(64) _Atomic uint32_t latch;
    _Atomic uint32_t version;
    _Atomic(struct dbfile *)
        db; /* NULL: holds no page. A key only: followed under latch or `writing` */
    _Atomic pgno_t pgno;
    _Atomic uint32_t next; /* bucket chain; changed under the bucket's lock */
    _Atomic uint32_t pins; /* threads between finding the frame and latching it */
    _Atomic uint8_t dirty; /* changes that no copy in flight holds */
    _Atomic uint8_t touch;
    _Atomic uint8_t undo;
    _Atomic uint8_t cold;
    uint8_t blank;   /* did not come from disk, not formatted yet: no page. Under the latch */
    uint8_t sound;   /* page_validate said so, or it was made here. Set under the write latch */
    uint8_t changed; /* marked dirty since the version moved. Under the write latch */
    _Atomic uint32_t
        writing; /* a write-back owns it: 0 no, 1 yes, 2 yes and somebody sleeps on it */
    _Atomic(struct log *) log; /* of db; compared, never followed */
    _Atomic lgpos_t
        bound; /* lowest begin bound of changes that no copy in flight holds; LGPOS_MAX = none */
    _Atomic lgpos_t
        bound_writing;         /* lowest bound of changes copied but not yet known to be on disk */
    _Atomic lgpos_t lgpos_end; /* flush the log up to it before the page is written */
    _Atomic uint32_t owner; /* thread that holds the write latch; 0 before it lets go */
};
static_assert(offsetof(struct frame, lgpos_end) == 64, "a hit touches one line");

struct shard {
    _Alignas(64) struct os_lock lock; /* RANK_CACHE_BUCKET */
    _Atomic uint64_t hits; /* may miss a few: counted without the lock */
    uint64_t misses;
};

#define BATCH_BYTES (2u << 20)
#define BATCH_PAGES_MAX 512u
#define COLD_RING 64u

struct batch; /* writeback.c */

struct cache {
    uint32_t page_size;
    uint32_t frame_count;
    struct frame *frames;
    uint8_t *pool;
    size_t pool_bytes;

    uint32_t bucket_mask, shard_mask;
    _Atomic uint32_t *buckets;
    struct shard *shards;

    struct os_lock replace_lock; /* RANK_CACHE_REPLACE: the three below */
    uint32_t never_used;         /* frames from here on have never held a page */
    uint32_t *free;              /* numbers of frames that hold no page */
    uint32_t free_count;
    uint32_t cold[COLD_RING]; /* pages of scans, oldest at cold_first */
    uint32_t cold_first, cold_count;
    _Atomic uint32_t hand;

    _Atomic uint64_t
        *dirty_map; /* bit a frame: dirty or being written; may be set for a clean frame */
    uint32_t dirty_words;
    _Atomic uint32_t dirty_count;
    _Atomic uint32_t write_hand;

    struct os_lock work_lock; /* RANK_CACHE_DIRTY: the bell and the idle batches */
    struct os_cond work;
    bool rung;
    struct batch *idle;

    _Atomic uint32_t databases;
    _Atomic uint64_t reads, writes, evictions, double_writes, stolen, write_errors, starved;
};

/* dbfile.frames: what the cache keeps about a database. */
struct dbfile_own {
    _Atomic uint32_t reading; /* a raw read of the window is under way */
};

static inline struct dbfile_own *db_own(struct dbfile *db)
{
    return db->frames;
}
static inline uint32_t frame_number(const struct cache *cache, const struct frame *f)
{
    return (uint32_t)(f - cache->frames);
}
static inline struct page frame_page(const struct cache *cache, const struct frame *f)
{
    return (struct page){cache->pool + (size_t)frame_number(cache, f) * cache->page_size,
                         cache->page_size};
}
static inline bool frame_is(const struct frame *f, const struct dbfile *db, pgno_t pgno)
{
    return atomic_load(&f->db) == db && atomic_load(&f->pgno) == pgno;
}
static inline uint64_t page_offset(pgno_t pgno, uint32_t page_size)
{
    return ((uint64_t)pgno + 1) * page_size;
}

/* latch.c */
void latch__read(struct frame *f);
void latch__write(struct frame *f);
bool latch__try_read(struct frame *f);
bool latch__try_write(struct frame *f);
/* This thread itself has it for writing: waiting would be for ever. */
bool latch__is_mine(const struct frame *f);
void latch__read_release(struct frame *f);
void latch__write_release(struct frame *f);
void latch__downgrade(struct frame *f);
bool latch__upgrade(struct frame *f);

/* lookup.c: the page table */
struct shard *cache__shard(struct cache *cache, const struct dbfile *db, pgno_t pgno,
                           uint32_t *bucket);
struct frame *cache__find_locked(struct cache *cache, uint32_t bucket, const struct dbfile *db,
                                 pgno_t pgno);
/* Takes the page away from a frame that the caller holds write-latched; lock of its bucket held. */
void cache__unlink_locked(struct cache *cache, uint32_t bucket, struct frame *f);

/* replace.c: frames without a page */
/* A write-latched frame that holds no page. may_write: dirty pages may be written to get one (else
 * CACHE_WOULD_BLOCK when there is none). */
MUST_CHECK err_t cache__take_frame(struct cache *cache, bool may_write, struct frame **out);
/* Gives it back: holds no page, is write-latched. */
void cache__give_frame(struct cache *cache, struct frame *f);
void cache__note_cold(struct cache *cache, struct frame *f);
void cache__drop_database(struct cache *cache, struct dbfile *db);

/* writeback.c */
/* Both write also inside an open backup window, but not while it is read. */
#define WRITE_STEAL 1u /* an evicting thread asks */
#define WRITE_ALL 2u   /* what cannot be written is an error */
MUST_CHECK err_t cache__write_back(struct cache *cache, const struct write_goal *goal, unsigned how,
                                   uint32_t *written);
void cache__free_batches(struct cache *cache);
void cache__set_dirty(struct cache *cache, struct frame *f);
void cache__forget_dirty(struct cache *cache,
                         struct frame *f); /* the frame is write-latched and not being written */
void cache__wait_written(struct frame *f);
bool cache__wait_any_written(struct cache *cache); /* false: nothing is on its way to disk */
/* Some page of the database is dirty or on its way to disk. */
bool cache__database_dirty(struct cache *cache, struct dbfile *db);

/* dbfile.c */
/* What became of a write or sync of the file: an error that no room or memory explains is for ever. Returns err. */
err_t dbfile__wrote(struct dbfile *db, err_t err);

/* double_write.c */
struct double_write_page {
    struct dbfile *db;
    pgno_t pgno;
};
/* Waits until the file is free, writes the batch there and syncs it. On success the file is the
 * caller's until double_write__end. pages: count pages back to back. */
MUST_CHECK err_t double_write__begin(struct double_write *dw, const struct double_write_page *list,
                                     uint32_t count, const void *pages);
/* err: what became of the writes in place; after an error the file keeps its contents and takes no
 * more. */
void double_write__end(struct double_write *dw, err_t err);

/* db_header.c */
struct db_header_copies {
    bool primary_good, shadow_good, differ;
};
MUST_CHECK err_t db_header__read(struct os_file *file, struct db_header *out,
                                 struct db_header_copies *copies);
/* Only the copy that is not the one `h` came from: a crash between the two writes must not leave an
 * old one. */
MUST_CHECK err_t db_header__repair(struct os_file *file, const struct db_header *h,
                                   const struct db_header_copies *copies);

#endif
