/* cache: pages in memory: pin, latch, dirty, write back; the log is flushed first; database header and growth.
 *
 * Invariants
 *  1. Frames are type-stable and apart from the pages (perf-design.md). {frame, version} tells whether a page changed.
 *  2. A page is marked dirty BEFORE its record is logged (cache_mark_dirty with a bound <= the Begin0) and gets the
 *     record's end position after (cache_set_lgpos), all under its write latch: so a checkpoint scan that first reads
 *     log_tail never misses it.
 *  3. Write-back of a page: copy it under a read latch after logging UndoInfo for its uncommitted replaces and deletes;
 *     release; flush the log up to it; see that the header on disk covers the generation (dbfile_cover_generation);
 *     seal; double-write file, sync; in place; sync before the double-write file is used again.
 *  4. No latch is held across I/O except the write latch of the one page being read in.
 *  5. A page whose checksum is bad is never handed out. One flipped bit is corrected, marked dirty, and reported (event 474).
 *  6. Latch order: parent before child, left before right, tree root before its space trees; else try. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "version/version.h"

struct cache;
struct frame;
struct dbfile;

struct cache_config {
    uint32_t page_size;
    uint64_t bytes_max;
    uint64_t bytes_min;
};
MUST_CHECK err_t cache_create(const struct cache_config *config, struct cache **out);
void cache_destroy(struct cache *cache); /* no dbfile left */

enum latch_mode { LATCH_READ, LATCH_WRITE };
struct page_ref {
    struct frame *frame; /* NULL = none */
    struct page page;
    pgno_t pgno;
    enum latch_mode mode;
    uint32_t version; /* of the frame when latched; changes with every change of the page */
};
#define PAGE_REF_NONE ((struct page_ref){0})

enum cache_how {
    CACHE_WAIT = 0,
    CACHE_NO_READ = 1, /* page is about to be formatted: do not read it from disk; LATCH_WRITE */
    CACHE_TRY = 2,     /* never waits, never reads the disk: CACHE_WOULD_BLOCK instead */
    CACHE_COLD = 4,    /* a scan: do not keep it long (backup, check) */
    CACHE_REDO = 8,    /* missing (beyond the end of the file) or all-zero pages come as zero pages, no error */
};
#define CACHE_WOULD_BLOCK 999001 /* private code, > 0, never leaves the engine */

/* Errors: JET_errReadVerifyFailure (with file and page in the detail), JET_errPageNotInitialized,
 * JET_errFileIOBeyondEOF, JET_errOutOfMemory (all frames latched), JET_errDiskIO; for LATCH_WRITE also
 * JET_errDatabaseCorrupted: the checksum is right, the structure (page_validate) is not. */
MUST_CHECK err_t cache_latch(struct dbfile *db, pgno_t pgno, enum latch_mode mode, unsigned cache_how, struct page_ref *out);
void cache_release(struct page_ref *ref); /* releasing NONE is a no-op; sets NONE */
/* Read -> write without letting go; false when another reader is in, or the page's structure is damaged (latching it
 * for writing tells): nothing changed. */
bool cache_try_upgrade(struct page_ref *ref);
void cache_downgrade(struct page_ref *ref);
/* A cursor's hint: latch this frame for reading if it still is (db, pgno, version). */
bool cache_latch_hint(struct frame *frame, struct dbfile *db, pgno_t pgno, uint32_t version, struct page_ref *out);
/* The same for writing, whatever has changed on the page since: when it is at hand and nobody has it. */
bool cache_latch_hint_write(struct frame *frame, struct dbfile *db, pgno_t pgno, struct page_ref *out);
/* Has the page not changed since version was read? No latch needed; exact only with the page unlatched for writing. */
bool cache_still_valid(struct frame *frame, struct dbfile *db, pgno_t pgno, uint32_t version);
void cache_prefetch(struct dbfile *db, pgno_t pgno); /* a hint, never waits */

/* Under a write latch, before logging. begin_bound: trx_begin_bound. Cannot fail. */
void cache_mark_dirty(struct page_ref *ref, lgpos_t begin_bound);
/* ... and after the page was changed: it must not reach the disk before the log is flushed up to `end`. Bumps the version. */
void cache_set_lgpos(struct page_ref *ref, lgpos_t end);
/* The page may hold uncommitted replaces or deletes: write-back must look for UndoInfo. Kept until none is found. */
void cache_note_undo(struct page_ref *ref);
bool cache_has_undo(const struct page_ref *ref);
/* Logs the UndoInfo of every node of the page now (before its nodes move to other pages). */
MUST_CHECK err_t cache_log_undo_info(struct page_ref *ref);

struct cache_stats {
    uint64_t frames, used, dirty, reads, writes, hits, misses, evictions, double_writes, stolen, write_errors;
};
void cache_stats(struct cache *cache, struct cache_stats *out);
/* The page that the caller has latched is changed, or on its way to disk. */
bool cache_will_write(const struct page_ref *ref);
/* How often no frame could be had: all latched, or with pages that may not be written yet. */
uint64_t cache_starved(struct cache *cache);

/* ---- write-back, driven by engine's writer thread ---- */
struct write_goal {
    struct dbfile *only;    /* NULL = all databases of this log */
    struct log *log;        /* of the instance whose pages are meant; NULL = any */
    lgpos_t older_than;     /* pages first dirtied before it are written; LGPOS_MAX = all dirty */
    uint32_t pages_max;     /* at most so many in this call */
    bool random_steal;      /* tests: pick dirty pages at random */
};
/* Writes a batch (sorted, neighbours merged). Pages in a backup window or latched for writing are skipped. *written. */
MUST_CHECK err_t cache_write_back(struct cache *cache, const struct write_goal *goal, uint32_t *written);
/* Lowest begin bound of any dirty page of the log's databases; LGPOS_MAX when all are clean. */
lgpos_t cache_oldest_dirty(struct cache *cache, struct log *log);
/* Bell: too many dirty pages, or ms passed. */
void cache_wait_work(struct cache *cache, uint32_t ms);
void cache_ring(struct cache *cache);

/* ---- double-write file (decision 2): one an instance ---- */
struct double_write;
MUST_CHECK err_t double_write_open(const char *path, uint32_t page_size, struct double_write **out);
void double_write_close(struct double_write *dw, bool remove_file);
/* Before redo: puts torn pages back. find: database file by signature path; *restored counts. */
MUST_CHECK err_t double_write_restore(const char *path, uint64_t *restored);

/* ---- a database file ---- */
#define DB_HEADER_USED 748u
enum db_state { DB_JUST_CREATED = 1, DB_DIRTY = 2, DB_CLEAN = 3, DB_CONVERTING = 4, DB_FORCE_DETACH = 5, DB_RESEED = 6, DB_DIRTY_PATCHED = 7, DB_REVERTING = 8 };

struct db_header { /* edb-format.md 2.2, unpacked where it is used; `raw` holds the rest and is the base when writing */
    enum db_state state;
    dbtime_t dbtime;
    objid_t objid_last;
    uint32_t page_size;
    uint32_t version, update_major, update_minor;
    dbid_t dbid;
    uint8_t db_flags0; /* bit 0: shadow catalog disabled */
    struct signature sign_db, sign_log;
    lgpos_t lgpos_attach, lgpos_consistent, lgpos_detach;
    struct logtime time_attach, time_consistent, time_detach;
    uint32_t gen_min_required, gen_max_required, gen_min_consistent, gen_max_committed;
    struct logtime time_gen_max_created;
    dbtime_t dbtime_last_scrub; /* what was deleted before is wiped */
    struct logtime time_scrub;
    struct bkinfo full_prev, inc_prev, full_cur, snapshot_cur, copy_prev, diff_prev;
    uint32_t type_full_prev, type_inc_prev, type_copy_prev, type_diff_prev;
    uint8_t raw[DB_HEADER_USED];
};
/* Header of any file, either copy. Errors: JET_errFileNotFound, JET_errReadVerifyFailure (both copies bad),
 * JET_errInvalidDatabaseVersion, JET_errPageSizeMismatch never. *shadow_used may be NULL. */
MUST_CHECK err_t db_header_read(struct os_file *file, struct db_header *out, bool *shadow_used);
MUST_CHECK err_t db_header_read_path(const char *path, struct db_header *out);
void db_header_init(struct db_header *h, uint32_t page_size); /* of a new database: state 1, new signature, 0x620 update 20 */
/* One copy of the header as bytes: h->page_size of them. */
void db_header_image(struct db_header *h, uint8_t *page);
/* One copy, sync, the other copy, sync (decision 4). Fresh signDbHdrFlush each time. */
MUST_CHECK err_t db_header_write(struct os_file *file, struct db_header *h);

struct dbfile {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct double_write *double_write; /* NULL: in-place only */
    struct os_file *file;
    char *path;
    dbid_t dbid;
    bool read_only;
    bool logged;     /* changes of this database go to the log */
    uint32_t page_size;
    uint32_t extend_pages;       /* least growth of the file (JET_paramDbExtensionSize); 0 = ESE's 256 */
    _Atomic dbtime_t dbtime;     /* counter; log_stamp draws from it */
    _Atomic objid_t objid_last;
    _Atomic pgno_t page_count;   /* pages in the file now */
    struct os_lock header_lock;  /* RANK_DBFILE: header and its way to disk */
    struct db_header header;
    _Atomic uint32_t gen_covered; /* genMaxRequired on disk */
    _Atomic pgno_t window_low, window_high; /* backup window [low, high): write-back skips it */
    _Atomic uint32_t pins;       /* running backups, check */
    _Atomic uint32_t frozen;     /* between dbfile_freeze and dbfile_thaw: nothing of it is written */
    _Atomic bool space_lost;     /* space's: pages of it may belong to nobody (space_note_lost) */
    void *trees;                 /* btree's registry of open trees */
    void *catalog;               /* catalog's per-database state */
    void *frames;                /* cache's own */
    _Atomic err_t *write_failed; /* of the configuration */
};
struct dbfile_config {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct double_write *double_write;
    dbid_t dbid;
    bool read_only;
    _Atomic err_t *write_failed; /* gets the first error of a write or sync of the file; NULL: nobody asks */
};
/* Opens and locks the file; the header is read and checked for page size (JET_errPageSizeMismatch), not for its state. */
MUST_CHECK err_t dbfile_open(const struct dbfile_config *config, const char *path, struct dbfile **out);
/* Creates the file with a header in state just-created and `pages` zero pages. JET_errDatabaseDuplicate when it exists
 * unless overwrite. */
MUST_CHECK err_t dbfile_create(const struct dbfile_config *config, const char *path, pgno_t pages, bool overwrite, struct dbfile **out);
/* Drops the database's frames (dirty ones too: flush first) and closes the file. */
void dbfile_close(struct dbfile *db);
/* Writes all dirty pages of the database (also those inside no window), syncs. */
MUST_CHECK err_t dbfile_flush(struct dbfile *db);
MUST_CHECK err_t dbfile_sync(struct dbfile *db); /* header_lock not held */
/* Grows the file to `pages` pages (zero-filled, page_count published). Never shrinks. */
MUST_CHECK err_t dbfile_grow(struct dbfile *db, pgno_t pages);
/* The same for a page number out of a log, which may be any: a leap is made as a hole, at once and without taking room on the disk. */
MUST_CHECK err_t dbfile_cover(struct dbfile *db, pgno_t pages);
/* The header as it is now. (It moves whenever pages of the database are written, and since the cache is the process's, another
 * instance's thread that needs a frame may write them.) */
void dbfile_copy_header(struct dbfile *db, struct db_header *out);
/* Change the header under header_lock and write it: fn edits; both copies reach the disk before it returns. */
MUST_CHECK err_t dbfile_update_header(struct dbfile *db, void (*fn)(struct db_header *h, void *context), void *context);
/* genMaxRequired and genMaxCommitted on disk are >= generation when it returns. */
MUST_CHECK err_t dbfile_cover_generation(struct dbfile *db, uint32_t generation);
/* Backup: raw pages [first, first+count) as they are on disk, consistent one by one: opens the window, waits for
 * writes in flight inside, reads; the window stays open until the next call or dbfile_window_close. */
MUST_CHECK err_t dbfile_read_raw(struct dbfile *db, pgno_t first, uint32_t count, void *to);
void dbfile_window_close(struct dbfile *db);
void dbfile_will_read_raw(struct dbfile *db, pgno_t first, uint32_t count); /* a hint, does not wait */
/* Writes all dirty pages; from then on write-back leaves the database alone, until the thaw. Nobody may change pages in between:
 * then all of them are clean and a reader finds frames as ever. */
MUST_CHECK err_t dbfile_freeze(struct dbfile *db);
void dbfile_thaw(struct dbfile *db);

#endif
