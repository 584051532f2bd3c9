/* backup: streams a consistent copy of pages and logs out; restore puts it back and asks recovery to roll it forward.
 * Facts: backup-semantics.md (all), backup-behaviours.csv; log-format.md 6.9, 8.9. */
#ifndef BACKUP_BACKUP_H
#define BACKUP_BACKUP_H

#include "recovery/recovery.h"

/* One instance's backup context: a state word under a short lock (RANK_BACKUP); no lock is held while it copies. */
struct backup;

struct backup_host { /* what backup needs of the instance; filled by engine (socket backup <- engine) */
    void *context;
    struct log *log;
    struct checkpointer *checkpointer;
    const char *instance_name, *base_name, *log_dir, *system_dir;
    unsigned legacy_names;
    uint32_t page_size;
    struct trx *trx; /* for Backup2 records; level 0 */
    struct trx *scrub_trx; /* for the pages that JET_paramZeroDatabaseDuringBackup wipes; internal, with an inner one */
    MUST_CHECK err_t (*sweep)(void *context); /* old versions that nobody needs give their nodes up */
    /* Attached databases, pinned against detach until unpin. list: room DBID_MAX. */
    int (*pin_databases)(void *context, struct dbfile **list);
    void (*unpin_databases)(void *context);
};
MUST_CHECK err_t backup_create(const struct backup_host *host, struct backup **out);
void backup_destroy(struct backup *b);

struct backup_options {
    const char *path;        /* absolute; NULL = truncate logs only */
    JET_GRBIT grbit;         /* JET_bitBackupIncremental | JET_bitBackupAtomic */
    bool create_path;        /* JET_paramCreatePathIfNotExist */
    bool zero_deleted;       /* JET_paramZeroDatabaseDuringBackup */
    uint32_t read_retries;   /* of a page whose checksum fails */
    struct progress progress;
    void (*pause)(void *context, uint32_t percent); /* tests: called at 25, 50, 75 percent of the pages; may be NULL */
    void *pause_context;
};
struct backup_result {
    uint32_t files, databases, logs;
    uint64_t bytes;
    uint32_t gen_low, gen_high;           /* logs of the set, this run */
    uint32_t deleted_low, deleted_high;   /* truncated: [low, high) */
    uint64_t ns;
    char path[OS_PATH_MAX];               /* where the set lies */
};
MUST_CHECK err_t backup_run(struct backup *b, const struct backup_options *options, struct backup_result *result);
/* What that run would do now, told without doing it: its errors, databases with their bytes, the range of logs (whose bytes are left
 * to the caller), where they would go; without a path the logs that would be deleted. Nothing is made, written or deleted; for the time of the
 * call it is the instance's one backup. */
MUST_CHECK err_t backup_look(struct backup *b, const struct backup_options *options, struct backup_result *result);
bool backup_is_running(struct backup *b);
bool backup_is_surrogate(struct backup *b);
/* Makes a running backup end with `reason` (JET_errBackupAbortByServer, JET_errTermInProgress ...) and waits for it when wait; an
 * external one that is between two calls is ended at once then, else its next step that makes progress fails with `reason`. */
void backup_stop(struct backup *b, err_t reason, bool wait);

/* JetStopBackupInstance: ends a running streaming backup with JET_errBackupAbortByServer, and refuses all later ones with it. */
void backup_refuse(struct backup *b);
/* Takes that back: JET_errBackupInProgress while the stopped one has not ended. */
MUST_CHECK err_t backup_allow(struct backup *b);

/* ---- external backup: the same steps, a call each (backup-semantics.md 4, 7); any thread, one call at a time, others wait ---- */
struct backup_list {
    char *text; /* UTF-8 paths, each with its NUL, and one NUL more; free() */
    uint32_t size;
};
struct backup_generations {
    uint32_t low, high; /* both included */
};
/* grbit: JET_bitBackupIncremental, JET_bitInternalCopy. Of the options path, progress and pause are not used: a full one that wipes
 * what was deleted does so when a database is opened. */
MUST_CHECK err_t backup_begin(struct backup *b, JET_GRBIT grbit, const struct backup_options *options);
MUST_CHECK err_t backup_list_databases(struct backup *b, struct backup_list *out);
/* size: of all that backup_read_file will give. Most errors in the log phase end the backup (section 4). */
MUST_CHECK err_t backup_open_file(struct backup *b, const char *path, JET_HANDLE *handle, uint64_t *size);
/* to: aligned to 4096; n: whole pages. Verified; *actual < n only at the end. */
MUST_CHECK err_t backup_read_file(struct backup *b, JET_HANDLE handle, void *to, uint32_t n, uint32_t *actual);
MUST_CHECK err_t backup_close_file(struct backup *b, JET_HANDLE handle);
/* Both finish the current log when called first. range may be NULL. */
MUST_CHECK err_t backup_list_logs(struct backup *b, struct backup_list *out, struct backup_generations *range);
MUST_CHECK err_t backup_list_truncated(struct backup *b, struct backup_list *out);
MUST_CHECK err_t backup_truncate(struct backup *b);
/* JET_bitBackupEndNormal (with TruncateDone, NoDbHeaderUpdate) or JET_bitBackupEndAbort. A normal end of a backup that was stopped, or
 * has not come to its logs, is an abort: success, and the event tells, and *outcome: 0, why the server ended it, or
 * ERR_ABORT_BY_CALLER. */
#define ERR_ABORT_BY_CALLER (-800) /* ESE's errBackupAbortByCaller; no call returns it */
MUST_CHECK err_t backup_end(struct backup *b, JET_GRBIT grbit, err_t *outcome);

/* ---- surrogate backup: taken elsewhere, noted here. Header type snapshot; as a copy or differential unless TruncateDone. ---- */
MUST_CHECK err_t backup_begin_surrogate(struct backup *b, uint32_t gen_first, uint32_t gen_last, JET_GRBIT grbit);
MUST_CHECK err_t backup_end_surrogate(struct backup *b, JET_GRBIT grbit); /* grbits of backup_end */

/* ---- an instance's part in a snapshot of the operating system (snapshot.c). From begin to end it is the instance's one backup. ---- */
struct snapshot;
/* kind: JET_bitIncrementalSnapshot, JET_bitCopySnapshot. JET_errOSSnapshotNotAllowed, JET_errMissingFullBackup. */
MUST_CHECK err_t snapshot_begin(struct backup *b, JET_GRBIT kind, struct snapshot **out);
MUST_CHECK err_t snapshot_write_down(struct snapshot *s); /* ahead of the freeze, while others write: the freeze is short then */
/* Nobody else writes: the caller has seen to that, until the thaw. From its return on no byte of the instance's files changes. */
MUST_CHECK err_t snapshot_freeze(struct snapshot *s);
void snapshot_thaw(struct snapshot *s);
MUST_CHECK err_t snapshot_truncate(struct snapshot *s, bool all_databases);
void snapshot_end(struct snapshot *s, bool stamp); /* thaws; frees s */

/* A file name that no database may have: the engine gives it to a file of its own, or a set to a log or marker. The detail says so. */
MUST_CHECK err_t backup_check_name(const char *base_name, const char *path);

/* ---- restore: the set is only read ---- */
struct restore_set { /* what lies in a backup folder (or in its new/ or old/ of an atomic one) */
    char dir[OS_PATH_MAX];
    char base_name[4];
    uint32_t gen_low, gen_high;
    uint32_t page_size, log_file_size;
    int database_count;
    char databases[DBID_MAX][OS_PATH_MAX]; /* full paths in the set */
    char originals[DBID_MAX][OS_PATH_MAX]; /* where they lay, by the logs */
};
/* Errors of backup-semantics.md section 10: JET_errNoBackupDirectory, JET_errMissingLogFile, JET_errBadPatchPage ... */
MUST_CHECK err_t restore_survey(const char *path, struct restore_set *out);
/* The logs alone, [gen_low, gen_high] of them (0, 0: all that are there); databases stay empty for the caller to fill in. */
MUST_CHECK err_t restore_survey_logs(const char *path, uint32_t gen_low, uint32_t gen_high, struct restore_set *out);
/* Where redo of the set, and of the logs in roll_forward_dir (may be NULL), must stop to give what was durable at a time.
 * LGPOS_MIN: all of them are older. */
MUST_CHECK err_t restore_find_time(const struct restore_set *set, const char *roll_forward_dir, const struct logtime *time, lgpos_t *stop);
struct restore_options {
    const struct restore_set *set;
    const char *destination;  /* folder for the databases; NULL = where they lay */
    const struct recovery_map *rename; /* from: file name in the set, or where it lay; to: a full path, or a name in destination */
    int rename_count;
    lgpos_t stop;             /* as recovery_config.stop, then what is open there is undone; 0 = all there is */
    bool in_place;            /* the set's databases lie where they are wanted already: only their trailers go */
    const char *log_dir, *system_dir; /* of the restoring instance */
    const char *roll_forward_dir;     /* live logs to go on with; NULL = the set alone */
    uint32_t roll_forward_last;       /* generations above are left there; 0 = none is */
    struct progress progress;
};
struct restore_result {
    uint32_t files;
    uint64_t bytes;
    uint64_t ns;
    struct recovery_result recovery;
    int database_count;
    char databases[DBID_MAX][OS_PATH_MAX];
};
/* Copies the databases (trailer checked and taken off), then recovery_run over the set's range with `recovery`'s rooms. */
MUST_CHECK err_t restore_run(const struct restore_options *options, struct recovery_config *recovery, struct restore_result *result);

#endif
