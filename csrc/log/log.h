/* log: append, group flush and read generations of records it does not understand.
 *
 * Invariants
 * 1. Records get their positions in append order under one short lock; in the same breath the database's dbtime and
 *    (for Commit0) the commit number are given, so both are in log order.
 * 2. A waited flush ends its segment with NOP2: no segment is ever rewritten.
 * 3. The next file is zero-written and synced before it becomes current; the folder is synced after each rename.
 * 4. A failed write or sync poisons the log: every later call returns the same error.
 * 5. Logging off (JET_paramRecovery "off"): the same calls hand out dbtimes and LGPOS_MIN and write nothing. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdatomic.h>

#include "os/os.h"
#include "page/page.h"

/* ---- record types and their heads on disk (log-format.md 6) ---- */
enum log_type {
#define LOG_TYPE(number, name, room) LOG_##name = number,
#include "log/logtypes.def"
#undef LOG_TYPE
};
#define LOG_SEGMENT 4096u
#define LOG_SEGMENT_HEAD 40u
#define LOG_ATTACH_ROOM 2048u

/* ---- one instance's log ---- */
struct log;

struct log_config {
    const char *log_dir;    /* absolute */
    const char *system_dir; /* absolute: checkpoint */
    const char *base_name;  /* 3 characters */
    uint32_t file_size;     /* bytes, multiple of 4096 */
    uint32_t buffer_size;   /* bytes of the ring; rounded up to >= 1 MiB */
    uint32_t page_size;
    bool circular;
    bool enabled;           /* false: logging off */
    unsigned legacy_names;  /* JET_paramLegacyFileNames */
    const char *instance_name; /* for events */
};

/* A database that log headers and checkpoints must list. Numbers are read when a generation starts. */
struct log_attached {
    dbid_t dbid;
    const _Atomic dbtime_t *dbtime;
    const _Atomic objid_t *objid_last;
    lgpos_t lgpos_attach, lgpos_consistent;
    struct signature sign_db;
    const char *path;
};

MUST_CHECK err_t log_create(const struct log_config *config, struct log **out);
void log_destroy(struct log *log); /* closes without writing */

/* What lies in the folder: see log_survey. */
struct log_survey {
    bool any;             /* some log of this base name is there */
    bool current;         /* <base>.log is the highest; one left from an earlier copy of the folder is not */
    uint32_t gen_first;   /* lowest and highest generation by headers (archived and current) */
    uint32_t gen_last;
    bool gap;             /* a generation between is missing: gen_missing, the lowest */
    uint32_t gen_missing;
    uint32_t gen_whole;   /* from here to gen_last none is missing: as many files as that */
};
MUST_CHECK err_t log_survey(const char *dir, const char *base_name, struct log_survey *out);

/* Writing begins: generation 1 in an empty folder (signature new) ... */
MUST_CHECK err_t log_start_new(struct log *log, uint32_t generation);
/* ... or on from where a reader came to the end: next segment of the current generation. When the current file is
 * missing or full, generation gen_last + 1. The torn window after `end` is zeroed first (decision 3). */
MUST_CHECK err_t log_start_append(struct log *log, lgpos_t end);
/* Flushes all and stops. The log files stay as they are. */
MUST_CHECK err_t log_stop(struct log *log);

/* The attach list that headers of new generations carry. Copied; call again after each attach/detach. */
void log_set_attached(struct log *log, const struct log_attached *list, int count);
/* Ask before an attach whether the list would fit in a header: JET_errTooManyAttachedDatabases when not. */
MUST_CHECK err_t log_check_attached(const struct log_attached *list, int count);
void log_set_checkpoint_hint(struct log *log, lgpos_t checkpoint); /* for headers of new generations */

/* One record to append: up to 6 pieces laid end to end. part[0] is the head and must be writable memory:
 * when dbtime_at > 0 the new dbtime is stored there at that offset, when commit_at > 0 the commit number (u32). */
#define LOG_PARTS_MAX 8
struct log_record {
    int part_count;
    struct slice part[LOG_PARTS_MAX];
    uint8_t *head;    /* = part[0].p, writable */
    int16_t dbtime_at; /* 0 = none */
    int16_t commit_at; /* 0 = none */
};
struct log_stamp {
    _Atomic dbtime_t *dbtime_counter; /* in: of the database; NULL when no record asks for one */
    _Atomic uint64_t *commit_counter; /* in: NULL or where the commit number is drawn from (+4 each; published
                                         after `on_commit` has run) */
    void (*on_commit)(void *context, uint64_t commit_number); /* in: called under the append lock; must be tiny */
    void *context;
    dbtime_t dbtime;       /* out: one for all records of the call */
    uint64_t commit_number; /* out */
    lgpos_t first;         /* out: position of the first record */
    lgpos_t last;          /* out: position of the last record */
    lgpos_t end;           /* out: position after the last; flush up to it to make them durable */
};
/* Appends all records contiguously and within one generation (the rest of the old one becomes NOPs); what does not
 * fit in a whole log file, or in the ring, is JET_errLogBufferTooSmall. Errors come before anything was appended: JET_errLogDiskFull,
 * JET_errLogWriteFail, JET_errLogSequenceEnd, JET_errOutOfMemory, poison. */
MUST_CHECK err_t log_append(struct log *log, struct log_record *records, int count, struct log_stamp *stamp);

/* Returns when everything before `end` is durable (group commit: leader and followers). An end beyond the tail
 * means the tail. */
MUST_CHECK err_t log_flush(struct log *log, lgpos_t end);
MUST_CHECK err_t log_flush_all(struct log *log);
/* Between freeze and thaw no byte of the log reaches the disk: who flushes waits. Nothing may be unflushed that somebody waits
 * for with a latch; the caller has seen to that. */
void log_freeze(struct log *log);
void log_thaw(struct log *log);
lgpos_t log_flushed(struct log *log); /* everything before it is durable */
/* Where the record appended last ends: flushing to there makes all records durable, and begins no generation that is empty. */
lgpos_t log_last_end(struct log *log);
lgpos_t log_tail(struct log *log);    /* position the next record gets, at least */
uint32_t log_current_generation(struct log *log);
/* Ends the current generation and starts the next; returns when the old one is closed and archived on disk.
 * *closed = generation that was ended. A generation without a record is not ended: *closed = current - 1. */
MUST_CHECK err_t log_roll(struct log *log, uint32_t *closed);
/* Creation time of a generation's header (of a present file). */
MUST_CHECK err_t log_generation_time(struct log *log, uint32_t generation, struct logtime *out);
const struct signature *log_signature(struct log *log);
bool log_is_enabled(struct log *log);
uint32_t log_file_size(struct log *log); /* bytes of one generation */
bool log_is_circular(struct log *log);
err_t log_poisoned(struct log *log); /* 0, or the error that stopped it */
/* The reserve files may be used from now on: for rollbacks and an orderly end on a full disk. */
/* Calls pair: several threads may roll back at once. */
void log_use_reserve(struct log *log, bool on);
uint64_t log_bytes_appended(struct log *log);
uint64_t log_flush_count(struct log *log);

/* Background work, called by engine's thread: makes the next file ready. *worked tells whether there was some. */
MUST_CHECK err_t log_prepare_next(struct log *log, bool *worked);
/* Is the next file still to be made? fill_percent: how much of the current generation is used. */
bool log_lacks_next(struct log *log, uint32_t *fill_percent);
/* Blocks until a generation was started, `ms` passed, log_ring or log_stop: bell for the log preparer. */
void log_wait_roll(struct log *log, uint32_t ms);

/* Background work, called by another thread of engine: makes durable what is full of the ring, so that who appends seldom
 * waits for room. Any error has poisoned the log. */
MUST_CHECK err_t log_flush_full(struct log *log);
/* Blocks until a write's worth of segments is full, `ms` passed, log_ring or log_stop: bell for the log flusher. */
void log_wait_full(struct log *log, uint32_t ms);
void log_ring(struct log *log); /* ends one wait for each of the two bells, also one that has not begun */

/* Names and deletion. path: OS_PATH_MAX room. generation 0 = the current file. */
MUST_CHECK err_t log_path(struct log *log, uint32_t generation, char *path);
MUST_CHECK err_t log_name(const char *base_name, uint32_t generation, unsigned legacy_names, char *name, size_t room);
/* The file of a folder whose name says that it holds a generation (0: the current one), by whichever names JET_paramLegacyFileNames
 * gave, in whatever case. JET_errFileNotFound names the default one, and so does `path`. */
MUST_CHECK err_t log_find(const char *dir, const char *base_name, uint32_t generation, char *path);
/* A name, in whatever case, that an instance of this base name gives to a log, the next one, a reserve, or the checkpoint. */
bool log_is_own_name(const char *base_name, const char *name);
/* Deletes archived generations in [first, end) lowest first, folder synced. *deleted counts. */
MUST_CHECK err_t log_delete_range(struct log *log, uint32_t first, uint32_t end, uint32_t *deleted);
MUST_CHECK err_t log_lowest_generation(struct log *log, uint32_t *generation); /* lowest archived, or current */

/* ---- pieces of records that hold paths or settings ---- */
#define LOG_PARAMS_SIZE 567u
/* The instance's settings as Init2 and headers hold them; LOG_PARAMS_SIZE bytes. */
void log_store_params(const struct log *log, uint8_t *to);
/* UTF-8 to UTF-16 with its NUL; returns bytes, 0 when `room` is too small. Bytes that are no UTF-8 survive the round trip. */
uint32_t log_path_store(const char *path, uint8_t *to, uint32_t room);
/* Back, to a NUL or the end; wide: UTF-16, else one byte a character. False when it does not fit. */
bool log_path_load(const uint8_t *from, uint32_t n, bool wide, char *to, uint32_t room);

/* ---- headers ---- */
struct log_attach_info { /* one entry of an attach list, unpacked */
    dbid_t dbid;
    dbtime_t dbtime;
    objid_t objid_last;
    lgpos_t lgpos_attach, lgpos_consistent;
    struct signature sign_db;
    char path[1040]; /* UTF-8 */
};
struct log_header {
    uint32_t generation;
    uint32_t file_size;
    uint32_t page_size;
    uint32_t major, minor, update_major, update_minor;
    struct logtime created, created_previous;
    struct signature signature;
    uint8_t flags;
    lgpos_t checkpoint;
    uint64_t checksum_previous;
    int attached_count;
    struct log_attach_info attached[DBID_MAX];
};
/* Errors: JET_errFileNotFound, JET_errLogFileCorrupt, JET_errBadLogVersion, JET_errLogFileSizeMismatch. */
MUST_CHECK err_t log_read_header(const char *path, struct log_header *out);

/* ---- checkpoint file ---- */
struct checkpoint {
    lgpos_t checkpoint;      /* redo starts here */
    lgpos_t db_consistency;
    lgpos_t last_full_checkpoint;
    lgpos_t full_backup, inc_backup;
    struct logtime full_time, inc_time;
    struct signature signature;
    bool attached_valid;
    int attached_count;
    struct log_attach_info attached[DBID_MAX];
};
MUST_CHECK err_t log_checkpoint_read(const char *path, struct checkpoint *out); /* either copy; JET_errCheckpointCorrupt, JET_errCheckpointFileNotFound */
/* Two copies, a sync after each. Never moves checkpoint->checkpoint: the caller's numbers. */
MUST_CHECK err_t log_checkpoint_write(struct log *log, const struct checkpoint *c);
MUST_CHECK err_t log_checkpoint_path(struct log *log, char *path);
/* Before it is read: one that an earlier run wrote under the other extension (JET_paramLegacyFileNames) gets this run's, so that there
 * is never a second, stale one. */
MUST_CHECK err_t log_checkpoint_adopt(struct log *log);

/* ---- reading ---- */
struct log_reader;
struct log_view { /* a whole record, fragments joined; valid until the next call */
    lgpos_t at;   /* position of the record */
    lgpos_t end;
    struct slice bytes;
};
enum log_read_mode {
    LOG_READ_SOFT,   /* live logs: a torn tail is the end (decision 3) */
    LOG_READ_STRICT, /* a backup set: a torn segment is JET_errLogTornWriteDuringHardRestore, a bad one with good
                        ones behind it JET_errLogCorruptDuringHardRestore */
};
/* Where to look for a generation: dirs in order, first hit serves (set first, then live logs). */
struct log_reader_config {
    const char *dirs[3];
    int dir_count;
    const char *base_name;
    enum log_read_mode mode;
    uint32_t gen_strict_last; /* generations up to it are read strictly even in SOFT mode; 0 = none */
    uint32_t gen_stop;        /* do not read beyond this generation; 0 = no limit */
};
MUST_CHECK err_t log_reader_open(const struct log_reader_config *config, lgpos_t start, struct log_reader **out);
void log_reader_close(struct log_reader *r);
/* Next record; every type but NOP and fragment pieces (those are joined): NOP2 comes too. A start of LGPOS_MIN means the
 * first record of the lowest generation. *end = true at the end of the log. Errors: JET_errLogFileCorrupt, JET_errMissingLogFile (gap),
 * JET_errInvalidLogSequence, JET_errBadLogSignature, JET_errLogSequenceChecksumMismatch ... with details. */
MUST_CHECK err_t log_reader_next(struct log_reader *r, struct log_view *out, bool *end);
const struct log_header *log_reader_header(struct log_reader *r); /* of the generation of the record read last */
const char *log_reader_path(struct log_reader *r);
/* After *end: where the log stops, for log_start_append; and whether the last file was the current one. */
lgpos_t log_reader_end(struct log_reader *r, bool *in_current);
/* Reads every segment of one file and checks all of it, as backup does while it copies. */
MUST_CHECK err_t log_verify_file(const char *path, uint32_t generation);
/* The same over bytes in memory: whole file image. */
MUST_CHECK err_t log_verify_image(const uint8_t *image, size_t n, uint32_t generation);
/* A moment: *stop = where reading must end so that only segments that were flushed up to `time` are read (in the form of
 * JET_RSTINFO.lgposStop); *later false: all of the file was. What was durable by then is before *stop, what was appended later is not. */
MUST_CHECK err_t log_find_time(const char *path, const struct logtime *time, bool *later, lgpos_t *stop);
/* A copy of a file whose records end at `end` (the log_view.end of one of them), synced. JET_errInvalidLogSequence: not in this file. */
MUST_CHECK err_t log_cut_copy(const char *from, const char *to, lgpos_t end);
/* Size of the record that starts at bytes (fixed part + named lengths); 0 = not enough bytes yet, < 0 error. */
MUST_CHECK err_t log_record_size(struct slice bytes, uint32_t *size);
const char *log_type_name(unsigned type);

#endif
