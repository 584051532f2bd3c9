/* log: what its files share. Locks: flush_lock (20) is taken before buffer_lock (18); see
 * README.rst. */
#ifndef LOG_LOG_PRIVATE_H
#define LOG_LOG_PRIVATE_H

#include "log/log.h"
#include "log/log_format.h"

/* Most segments of an unsynced write batch (decision 3): behind the first missing segment of a torn
 * tail, valid ones can lie at most this far. */
#define LOG_WINDOW 64u
#define LOG_RING_MIN (1u << 20)
#define LOG_FLUSH_AHEAD LOG_WINDOW /* so many full segments wake the flusher */

/* What the next file (<base>tmp) is. Guarded by buffer_lock; TAKEN: a generation was begun in the
 * ring whose file the flusher has not renamed yet. */
enum log_next { NEXT_NONE, NEXT_MAKING, NEXT_READY, NEXT_TAKEN };

/* The instance-wide part of every header. */
struct log_sequence {
    struct signature signature;
    uint32_t update_major, update_minor;
    uint8_t flags;          /* of the newest header */
    struct logtime created; /* of the newest generation begun */
};

struct log {
    struct log_config config; /* strings owned */
    char *log_dir, *system_dir, *base_name, *instance_name;
    uint32_t file_segments, last_data; /* segments of a file; the last one that holds records */
    uint32_t ring_segments;
    uint8_t *ring;
    bool started;

    /* ---- under buffer_lock: where the tail is ---- */
    struct os_lock buffer_lock;
    uint64_t cur_seq; /* counts segments since start: slot = cur_seq % ring_segments */
    uint32_t cur_gen, cur_isec;
    uint32_t fill;   /* bytes used in the current segment; 0 = not begun */
    lgpos_t next_at; /* position of the next record */
    bool stopped;
    bool flusher_waits; /* full_cond is worth a call */
    bool flusher_rung;  /* log_ring */
    struct os_cond full_cond;
    enum log_next next;
    bool next_from_reserve, cur_from_reserve;
    struct os_cond next_cond; /* `next` left NEXT_MAKING */
    struct os_cond roll_cond;
    uint64_t rolls, rolls_seen;
    bool rung;
    bool pending; /* generation cur_gen begins at border_seq; its file is still <base>tmp */
    uint64_t border_seq;
    struct log_sequence sequence;
    uint8_t attach_area[LOG_ATTACH_ROOM];
    struct log_attached attached[DBID_MAX];
    int attached_count;
    uint32_t attached_at[DBID_MAX]; /* offset of each entry in attach_area */
    _Atomic lgpos_t checkpoint_hint;

    /* ---- under flush_lock: what is on disk ---- */
    struct os_lock flush_lock;
    struct os_file *file; /* current */
    struct os_file *next_file; /* <base>tmp: of who makes it, then of who rolls: a roll opens nothing */
    struct os_file *spare;     /* a handle kept for the next file, while there is none: same owners */
    uint32_t disk_isec;   /* next segment to write */
    uint64_t accumulated; /* XOR of the segment checksums of the generation on disk */
    uint8_t *header; /* aligned block: header of the pending generation, written by buffer_lock's
                        owner */
    uint32_t group_last; /* callers served by the last flush */

    /* ---- published ---- */
    _Atomic uint64_t written_seq; /* segments before it are durable and their slots free */
    _Atomic lgpos_t flushed, tail, wanted;
    _Atomic lgpos_t last_end; /* where the last record ended */
    _Atomic uint32_t generation; /* = cur_gen */
    _Atomic uint32_t disk_gen;   /* generation of the current file */
    _Atomic uint32_t epoch, waiters;
    _Atomic uint32_t frozen;
    _Atomic err_t poison;
    _Atomic int use_reserve; /* how many asked for it */
    _Atomic uint64_t bytes_appended, flush_count;
};

static inline uint8_t *log__slot(struct log *log, uint64_t seq)
{
    return log->ring + (size_t)(seq % log->ring_segments) * LOG_SEGMENT;
}

/* ---- header.c ---- */
/* Entry of an attach list; 0 when it does not fit in `room`. */
uint32_t log__pack_attached(const struct log_attach_info *info, uint8_t *to, uint32_t room);
MUST_CHECK err_t log__unpack_attached(const uint8_t *area, struct log_attach_info *list,
                                      int *count);
MUST_CHECK err_t log__header_decode(const uint8_t *block, struct log_header *out);
/* Header of generation cur_gen into log->header, but for the two checksums. Caller holds
 * buffer_lock. */
void log__header_build_locked(struct log *log, const struct logtime *created_previous);
void log__header_seal(struct log *log);

/* ---- generation.c ---- */
struct log__found {
    uint32_t generation; /* by header; by name when the header of an archived file is unreadable; 0
                            = unreadable current */
    bool current;
    char name[32];
};
struct log__listing {
    struct log__found *found; /* sorted: generation, archived before current */
    int count, room;
};
MUST_CHECK err_t log__list(const char *dir, const char *base_name, struct log__listing *out);
void log__listing_free(struct log__listing *listing);
const struct log__found *log__listing_find(const struct log__listing *listing, uint32_t generation);
MUST_CHECK err_t log__file_path(struct log *log, const char *suffix, const char *extension,
                                char *path);
#define LOG_NAMES_DEFAULT (JET_bitESE98FileNames | JET_bitEightDotThreeSoftCompat)
const char *log__extension(unsigned legacy_names);

/* ---- next.c: the file that becomes current ---- */
MUST_CHECK err_t log__next_make(
    struct log *log); /* no lock held; NEXT_READY (or TAKEN by another) when it returns */
MUST_CHECK err_t log__reserve_make(struct log *log, bool *worked);
MUST_CHECK err_t log__hold_spare(struct log *log); /* at start: nobody else is there yet */
MUST_CHECK err_t log__begin_generation_locked(struct log *log); /* needs NEXT_READY */
MUST_CHECK err_t log__roll_files(struct log *log);              /* flush_lock held */
/* At start: the file of cur_gen becomes current; the current one goes to the archive name of
 * `archive` (0: none). */
MUST_CHECK err_t log__install_first(struct log *log, uint32_t archive,
                                    const struct logtime *created_previous);

/* ---- append.c ---- */
void log__close_segment_locked(struct log *log, bool mark);

/* ---- flush.c ---- */
err_t log__poison(struct log *log, err_t cause); /* returns the poison */
MUST_CHECK err_t log__check(struct log *log);
void log__flush_release(struct log *log);
uint64_t log__unwritten_locked(const struct log *log); /* segments full in the ring */

/* ---- segment.c: which segments of a file image count (log-format.md 3.3, decision 3) ---- */
struct log__scan {
    uint32_t end;         /* first segment that is not data */
    uint64_t accumulated; /* XOR of the checksums of the data segments */
    bool repaired;        /* a flipped bit was corrected or a shadow copied, in the image */
    bool torn;            /* a torn write was met: a shadow used, or bad segments cut off */
    err_t verdict; /* to be raised after the records before `end`; 0 = the log ends there in good
                      order */
    char detail[96];
};
enum log__scan_as { SCAN_LAST, SCAN_CLOSED, SCAN_STRICT };
/* Its own sum, then ESE's checksum, which is returned. */
uint64_t log__seal_segment(uint8_t *segment, uint32_t isec);
void log__scan(uint8_t *image, uint32_t segments, uint32_t generation, enum log__scan_as as,
               struct log__scan *out);
MUST_CHECK err_t log__image_read(const char *path, uint8_t **image, struct log_header *header);
/* The records of data segments, fragments joined. */
struct log__walk {
    const uint8_t *image;
    uint32_t generation, end; /* data segments: 1 .. end - 1 */
    uint32_t isec, ib;
    lgpos_t skipped; /* position of the first NOP before the next record, or 0 */
    bool joining;
    lgpos_t join_at, join_physical;
    uint32_t join_total;
    struct buffer joined;
};
void log__walk_start(struct log__walk *walk, const uint8_t *image, uint32_t generation,
                     uint32_t end);
/* *physical: where the first byte lies; *done at the end. */
MUST_CHECK err_t log__walk_next(struct log__walk *walk, struct log_view *out, lgpos_t *physical,
                                bool *done);
lgpos_t log__walk_end(const struct log__walk *walk); /* position of a next record */

#endif
