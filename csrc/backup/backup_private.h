/* backup, inside the room. */
#ifndef BACKUP_BACKUP_PRIVATE_H
#define BACKUP_BACKUP_PRIVATE_H

#include "backup/backup.h"

#define CHUNK_BYTES (1u << 20)
#define RECORD_SIZE 35u

enum backup_phase { PHASE_BEGIN = 1, PHASE_PREPARE_LOGS = 2, PHASE_TRUNCATE = 3, PHASE_UPDATE = 4, PHASE_ABORT = 5, PHASE_STOP = 6 };
enum backup_scope { SCOPE_FULL = 1, SCOPE_INCREMENTAL = 2, SCOPE_COPY = 5, SCOPE_DIFFERENTIAL = 6 };

/* Who drives the one backup of an instance. */
enum backup_driver {
    DRIVER_NONE,
    DRIVER_ENGINE, /* JetBackupInstance: one call from begin to end */
    DRIVER_CALLER, /* external: a call a step */
    DRIVER_SNAPSHOT, /* of the operating system: others copy the files */
    DRIVER_SURROGATE, /* taken from another copy of the data */
};

struct backup {
    struct backup_host host;
    struct os_lock lock; /* RANK_BACKUP: driver, inside */
    struct os_cond changed;
    enum backup_driver driver;
    bool inside;                /* a step of an external backup is at work; the next one waits */
    bool refused;               /* no streaming backup is begun: JetStopBackupInstance */
    _Atomic err_t stop;         /* the running one ends with it */
    struct external *external;  /* while the caller drives */
    struct surrogate *surrogate; /* while there is one */
    JET_HANDLE last_handle;     /* never given out twice */
};

/* ---- series.c: the steps that every streaming backup takes, whoever drives it ----
 * series__enter, series__begin; streams of databases; series__roll; streams of logs; series__truncate; stamps; series__leave. */
enum series_state { SERIES_DATABASES, SERIES_LOGS };
struct member {
    struct dbfile *db;
    bool copied; /* to its last byte */
};
struct series {
    struct backup *b;
    enum series_state state;
    bool full, internal;
    bool zero_deleted;            /* a full one wipes what was deleted, before it copies */
    bool rolled;                  /* the range of logs is known */
    bool truncated;
    struct member dbs[DBID_MAX];  /* attached, logged; pinned */
    int db_count;
    struct dbfile *attached[DBID_MAX]; /* all that are pinned, those too that no backup takes */
    int attached_count;
    struct bkinfo mark;           /* of the begin: mark and time */
    struct bkinfo roll;           /* of the roll: mark and time */
    uint32_t copy_mic, copy_mac;  /* logs of the set: [mic, mac) */
    uint32_t delete_mic, delete_mac;
    uint8_t *logs_read;           /* a bit a generation of the set */
    uint32_t read_retries;
    err_t (*poll)(void *context); /* while a read waits to be tried again; may be NULL */
    void *poll_context;
};
struct log_deletion { /* [low, high); equal: nothing */
    uint32_t low, high;
};
/* What no backup can do without: logging on, the log sound, circular logging off for an increment. */
MUST_CHECK err_t series__check(struct backup *b, bool full);
/* The instance's one backup from claim to unclaim: JET_errBackupInProgress, JET_errSurrogateBackupInProgress. */
MUST_CHECK err_t series__claim(struct backup *b, enum backup_driver driver);
void series__unclaim(struct backup *b);
/* Becomes the instance's one backup, with its databases pinned: JET_errBackupInProgress, JET_errMissingFullBackup. */
MUST_CHECK err_t series__enter(struct series *s, struct backup *b, enum backup_driver driver, bool full);
MUST_CHECK err_t series__check_checkpoint(const struct series *s); /* of a full one: recovery of the set starts there */
MUST_CHECK err_t series__begin(struct series *s);
MUST_CHECK err_t series__roll(struct series *s);
MUST_CHECK err_t series__truncate(struct series *s, struct log_deletion *deleted);
/* Stamps headers unless told not to, and says in the log that the backup is over. */
MUST_CHECK err_t series__settle(struct series *s, bool stamp);
void series__abort(struct series *s); /* the log says so; err_last stays */
void series__leave(struct series *s);
err_t series__stopped(const struct series *s); /* 0, or why the run must end */
void series__note_log_read(struct series *s, uint32_t generation);
/* Events of an internal copy have numbers of their own. Parameters end with NULL. */
void series__event(const struct series *s, int id, enum event_severity severity, const char *text, const char *first, const char *second);
void series__event_file(const struct series *s, int id, enum event_severity severity, const char *text, err_t err, const char *path);

/* ---- surrogate.c ---- */
void surrogate__abandon(struct backup *b); /* by the server; `inside` is the caller's */

/* ---- scrub.c: nothing unless zero_deleted is set. finish_logs, leave_logs: around the begin's record, before the logs are pinned;
 *      database: before it is copied ---- */
MUST_CHECK err_t scrub__finish_logs(struct series *s);
MUST_CHECK err_t scrub__leave_logs(struct series *s);
MUST_CHECK err_t scrub__database(struct series *s, struct dbfile *db);

/* ---- stop.c ---- */
err_t stop__refused(void); /* raises JET_errBackupAbortByServer */

/* ---- zeros.c: pages that lie on the disk as zeros ---- */
struct zeros;
MUST_CHECK err_t zeros__note(struct zeros **zeros, pgno_t last, pgno_t pgno); /* free() it */
/* JET_errPageNotInitialized, the detail names the page: one of them is in use, and the disk has lost it. */
MUST_CHECK err_t zeros__check(struct zeros *zeros, const struct series *s, struct dbfile *db);

/* ---- stream.c: a database of the set as it is given out: header twice, its pages, the trailer ---- */
struct stream {
    struct series *series;
    struct member *member;
    struct db_header header;
    uint32_t page_size;
    pgno_t last;
    pgno_t ahead; /* the disk has been asked for the pages before it */
    uint64_t at, size;
    struct zeros *zeros; /* pages that were all zero; NULL: none */
};
uint64_t stream__size(const struct dbfile *db);
void stream__open(struct stream *st, struct series *s, struct member *m);
void stream__close(struct stream *st); /* also one that is all zero */
/* The next bytes, verified; n: whole pages. *actual < n only at the end. What was not read is as it was. */
MUST_CHECK err_t stream__read(struct stream *st, uint8_t *to, uint32_t n, uint32_t *actual);
uint32_t stream__kib(const struct dbfile *db);

/* ---- external.c ---- */
void external__abandon(struct backup *b, err_t why); /* by the server: the steps are over; `inside` is the caller's */

struct created { /* files that this run made, for their removal */
    char *path;
    struct created *next;
};

struct run { /* one JetBackupInstance: a series whose bytes go into a folder */
    struct series series;
    const struct backup_options *o;
    struct backup_result *result;
    bool full, atomic;
    char root[OS_PATH_MAX];   /* what the caller named */
    char target[OS_PATH_MAX]; /* where files go: root, root/temp, root/old */
    bool made_temp, promoted;
    struct created *created;
    bool told_begin;
    uint32_t done, total;              /* progress: KiB */
    uint32_t pages_done, pages_total, paused; /* for the pause hook */
};

/* ---- run ---- */
MUST_CHECK err_t run__progress(struct run *run, uint64_t bytes);
MUST_CHECK err_t run__note_created(struct run *run, const char *path);

/* ---- directory.c ---- */
MUST_CHECK err_t directory__check(struct run *run);    /* before anything happens */
MUST_CHECK err_t directory__look(const struct run *run); /* what prepare would refuse; a folder that is not there is fine */
MUST_CHECK err_t directory__target(const struct run *run, char path[OS_PATH_MAX]); /* where files will go, or lie now */
MUST_CHECK err_t directory__prepare(struct run *run);
MUST_CHECK err_t directory__promote(struct run *run);  /* atomic full: temp becomes new */
void directory__clean_up(struct run *run, bool failed);

/* ---- sweep.c: a folder of `root` that holds a set, or what is left of one; a missing one is fine. JET_errBackupDirectoryNotEmpty,
 *      JET_errDeleteBackupFileFail name what is in the way; nothing is deleted then ---- */
MUST_CHECK err_t sweep__check_folder(const struct run *run, const char *name); /* the folder itself: no link, no file */
MUST_CHECK err_t sweep__check(const struct run *run, const char *name);        /* and all that lies in it */
MUST_CHECK err_t sweep__folder(const struct run *run, const char *name);       /* checked, emptied, removed, synced */

/* ---- pages.c: databases into the set ---- */
MUST_CHECK err_t pages__copy_database(struct run *run, struct member *m);

/* ---- logs.c: logs into the set ---- */
MUST_CHECK err_t logs__copy(struct run *run);
MUST_CHECK err_t logs__look(const struct run *run, const char *target); /* logs that are missing, or that are another sequence's in the set */

/* ---- range.c: which logs, their bytes, their deletion ---- */
MUST_CHECK err_t range__find(struct series *s);
MUST_CHECK err_t range__look(struct series *s); /* copy_mic and copy_mac as a run would find them now */
MUST_CHECK err_t range__log_name(const struct series *s, uint32_t generation, char name[64]);
/* A whole log of the set, verified; os_free_aligned. JET_errMissingFileToBackup, JET_errLogReadVerifyFailure. */
MUST_CHECK err_t range__load_log(const struct series *s, uint32_t generation, uint8_t **bytes, size_t *n);
MUST_CHECK err_t range__missing(const struct series *s, uint32_t generation);
MUST_CHECK err_t range__read_whole(const char *path, uint8_t **bytes, size_t *n);
bool backup__is_unread(err_t err); /* the machine failed, which says nothing about a file's bytes */
MUST_CHECK err_t range__delete(const struct series *s, uint32_t first, uint32_t end, struct log_deletion *deleted);
MUST_CHECK err_t range__find_truncatable(const struct series *s, struct log_deletion *range);
MUST_CHECK err_t range__truncate_only(const struct series *s, struct log_deletion *deleted);

/* ---- stamp.c ---- */
struct stamp { /* what is written, for whom */
    struct bkinfo info;
    enum backup_scope scope;
    uint32_t record_type, header_type; /* 0 streaming; snapshot 1 and 1; surrogate 3 and 1 */
};
MUST_CHECK err_t stamp__append(struct backup *b, const struct stamp *stamp, enum backup_phase phase, dbid_t dbid, lgpos_t *at);
MUST_CHECK err_t stamp__database(struct backup *b, struct dbfile *db, struct stamp *stamp);
void stamp__checkpoint(struct backup *b, const struct stamp *stamp); /* the checkpoint file's marks */
MUST_CHECK err_t stamp__record(struct series *s, enum backup_phase phase, enum backup_scope scope, dbid_t dbid,
                               const struct bkinfo *details, lgpos_t *at);
void stamp__headers(struct series *s); /* a failure is a warning: event 219 */
enum backup_scope stamp__scope(const struct series *s);

/* ---- set.c: names in a set ---- */
bool set__is_log(const char *name, uint32_t *generation); /* an archived one, of any base name */
bool set__is_log_beside(const char *name);                /* one that was being written: <log>.tmp */
bool set__is_marker(const char *name);
/* The marker (.pat) that stands for a database of a set. path: room OS_PATH_MAX. */
MUST_CHECK err_t set__marker_path(const char *database, char *path);

/* ---- trailer.c: the last page of a copied database ---- */
struct trailer {
    struct bkinfo info;
    struct signature sign_db, sign_log;
};
void trailer__store(const struct trailer *t, uint8_t *page, uint32_t page_size);
/* JET_errBadPatchPage when the page is no intact trailer. */
MUST_CHECK err_t trailer__load(const uint8_t *page, uint32_t page_size, struct trailer *out);

/* ---- copy.c: a file image of `size` bytes, written while the next chunk is read ---- */
struct copier;
MUST_CHECK err_t copier__create(const char *path, bool exclusive, uint64_t size, struct copier **out);
/* A buffer of CHUNK_BYTES to fill; then hand it over with where it goes. */
MUST_CHECK err_t copier__buffer(struct copier *c, uint8_t **out);
MUST_CHECK err_t copier__write(struct copier *c, uint64_t offset, uint32_t n);
/* Waits, syncs and closes; frees c in any case. */
MUST_CHECK err_t copier__finish(struct copier *c);
void copier__abandon(struct copier *c);

#endif
