/* recovery: moves the checkpoint; at restart replays the log by a table of handlers, then undoes the unfinished.
 * Facts: log-format.md 5, 7, 8, 12; backup-semantics.md 10, 11. */
#ifndef RECOVERY_RECOVERY_H
#define RECOVERY_RECOVERY_H

#include "catalog/catalog.h"

/* Socket: progress (recovery, backup <- api). done of total, never going back. A negative return stops the run with it. */
struct progress {
    void *context;
    err_t (*fn)(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total);
};

/* Where a database named in the logs lies now; NULL map entry = where the log says. Paths UTF-8, absolute. */
struct recovery_map {
    const char *from; /* NULL: the database whose signature the file at `to` has */
    const char *to;
    JET_GRBIT grbit;  /* JET_bitRestoreMapIgnoreWhenMissing, ...FailWhenMissing (whatever the run ignores), ...OverwriteOnCreate */
};

struct recovery_config {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    /* NULL: no double-write file. Else torn pages are put back from system_dir/<base>.dwr, then it is opened for this run and
     * handed over: *double_write is the caller's to close, after an error too. */
    struct double_write **double_write;
    uint32_t page_size;
    const char *log_dir, *system_dir, *base_name;
    const char *instance_name;
    /* hard recovery (restore): the set's folder is read first, range must be redone; NULL otherwise */
    const char *set_dir;
    uint32_t set_gen_low, set_gen_high;
    const char *restore_dir;     /* databases of the set lie here under their own names (when no map entry) */
    const struct recovery_map *map;
    int map_count;
    lgpos_t stop;                /* records up to it are redone; {g, 0, 0} = through the end of generation g; 0 = all */
    bool undo_at_stop;           /* a restore to a point in time: what is open at `stop` is undone, the log goes on from there;
                                    log_dir held no logs when the restore began, and holds none beyond its generation */
    bool map_only;               /* a database that the map does not name is passed over, also when the log creates it */
    bool ignore_missing_db;      /* JET_bitReplayIgnoreMissingDB */
    bool ignore_lost_logs;
    bool undo;                   /* false: stop after redo (JET_bitRecoveryWithoutUndo) */
    struct progress progress;
    /* Redo keeps pages in memory whose before-images are not in the log yet: as many as the cache held that wrote the log. One that
     * has no frame left is exchanged for a larger one, with a fresh log and fresh versions, and recovery begins anew. NULL:
     * JET_errOutOfMemory. */
    err_t (*larger_cache)(void *context, struct recovery_config *c);
    void *larger_context;
    /* Gives pages that nobody uses back after undo; NULL = catalog_open, catalog_reconcile. Tests on bare trees set their own. */
    err_t (*reconcile)(struct dbfile *db, struct trx *trx, uint32_t *pages_found);
};
struct recovery_result {
    bool redone;                 /* some log was replayed */
    bool clean_end;              /* the log ended with a quit record: nothing to undo */
    uint32_t gen_first, gen_last;
    uint64_t records, applied, skipped, bytes;
    uint64_t undone;             /* versions undone */
    uint64_t sessions_undone;
    uint64_t pages_restored;     /* from the double-write file */
    uint64_t pages_reconciled;
    lgpos_t end;                 /* logging goes on here */
    lgpos_t full_backup, inc_backup; /* marks of the last backups, for checkpointer_set_backup_marks */
    struct logtime full_time, inc_time;
    uint64_t undo_after_steal, macros_half_redone, records_filtered; /* counters of "Not a toy" */
};
/* Replays what lies in the folders, leaves every database clean and closed and the log open for appending (log_start_append or
 * log_start_new done, RecoveryUndo2 ... RecoveryQuit2 written when something was to undo). `log` and `versions` are fresh:
 * created, not started. Warnings: JET_wrnCommittedLogFilesLost (ignore_lost_logs). Without undo, or stopped by
 * `stop`: JET_errRecoveredWithoutUndo, or ...DatabasesConsistent when the log ended clean; the log is not open then.
 * Restore: the databases lie at their new places with the trailer already moved into the header; the set's logs stay where
 * they are, but for the newest one replayed, which is copied into log_dir when log_dir lacks it, so that the next
 * generation continues the chain. */
MUST_CHECK err_t recovery_run(const struct recovery_config *config, struct recovery_result *result);

/* ---- records of the life of an instance and its databases (instance_log.c); at = position of the record, may be NULL ---- */
MUST_CHECK err_t recovery_log_init(struct log *log, lgpos_t *at);          /* Init2, the first record of each run */
MUST_CHECK err_t recovery_log_shutdown_mark(struct log *log, lgpos_t *at); /* all pages are on disk */
MUST_CHECK err_t recovery_log_term(struct log *log, lgpos_t init_at, lgpos_t *at); /* Term2, headers are clean */
MUST_CHECK err_t recovery_log_undo(struct log *log, lgpos_t *at);          /* RecoveryUndo2 */
MUST_CHECK err_t recovery_log_quit(struct log *log, lgpos_t undo, lgpos_t redo_from, bool hard, lgpos_t *at); /* RecoveryQuit2 */
MUST_CHECK err_t recovery_log_create_db(struct log *log, uint16_t procid, dbid_t dbid, const char *path, const struct signature *sign_db,
                                        JET_GRBIT grbit, lgpos_t *at);
MUST_CHECK err_t recovery_log_create_db_finish(struct log *log, uint16_t procid, dbid_t dbid);
MUST_CHECK err_t recovery_log_attach_db(struct log *log, uint16_t procid, dbid_t dbid, const char *path, const struct db_header *before,
                                        lgpos_t *at);
MUST_CHECK err_t recovery_log_detach_db(struct log *log, uint16_t procid, dbid_t dbid, const char *path, lgpos_t *at);

/* Where a database of this signature lay, by the CreateDB and AttachDB records and attach lists of the archived logs of a
 * folder from generation gen_low on; "" when they do not name it. */
MUST_CHECK err_t recovery_find_database(const char *dir, const char *base_name, uint32_t gen_low, const struct signature *sign_db, char *path,
                                        size_t room);

/* ---- the checkpoint of a running instance ---- */
struct checkpointer; /* engine owns one an instance */
struct checkpointer_config {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    uint64_t depth_max;    /* JET_paramCheckpointDepthMax, bytes */
    const char *instance_name;
};
MUST_CHECK err_t checkpointer_create(const struct checkpointer_config *config, struct checkpointer **out);
void checkpointer_destroy(struct checkpointer *c);
void checkpointer_set_depth(struct checkpointer *c, uint64_t depth_max);
/* Databases that count; engine tells at attach and detach (under RANK_CHECKPOINT). */
MUST_CHECK err_t checkpointer_attach(struct checkpointer *c, struct dbfile *db);
void checkpointer_detach(struct checkpointer *c, struct dbfile *db);
/* Nothing moves between hold and release (pages are still written): around create, attach and detach, from before their
 * record is logged until the header is on disk and the database is in (or out of) the list. Counts. */
void checkpointer_hold(struct checkpointer *c);
void checkpointer_release(struct checkpointer *c);
/* One round: write pages older than the depth, sync, move headers and the checkpoint file; circular logging deletes old
 * generations. force: flush everything that is needed to bring the checkpoint to the log's end. */
MUST_CHECK err_t checkpointer_run(struct checkpointer *c, bool force);
lgpos_t checkpointer_position(struct checkpointer *c);
/* The generation redo would start from must stay: a running backup pins it. 0 = none. */
void checkpointer_pin(struct checkpointer *c, uint32_t generation);
/* Backup marks for the checkpoint file (full_backup, inc_backup, times); LGPOS_MIN = that one stays. Those of earlier runs are
 * read from the file at create. */
void checkpointer_set_backup_marks(struct checkpointer *c, lgpos_t full, struct logtime full_time, lgpos_t inc, struct logtime inc_time);
/* Clean end: everything flushed, ShutDownMark logged by the caller before, headers clean, Term2 written, checkpoint there. */
MUST_CHECK err_t checkpointer_write_file(struct checkpointer *c, lgpos_t at, bool attached_valid);

#endif
