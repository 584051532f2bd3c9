/* engine: one instance: builds every room in order, owns sessions and background threads, tears down in reverse.
 *
 * Invariants
 *  1. One cache a process (decision 15), made by the first instance, gone with the last. One page size a process.
 *  2. An instance's life: created -> initialising -> running -> terminating -> created. The gate (instance_enter) tells each call
 *     what state it meets, in the order of backup-semantics.md section 3.
 *  3. Threads: page writer + checkpoint, log preparer, log flusher, version sweep. Started after undo, joined by term, dead in a forked child
 *     (instance_enter gives JET_errInstanceUnavailable there).
 *  4. After a failed log or database write the instance is poisoned: JET_errInstanceUnavailable from then on; nothing more
 *     reaches the disk; a restart recovers.
 *  5. No lock is held across a callback. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "backup/backup.h"
#include "check/check.h"

struct instance;
struct session;

/* ---- parameters (engine/params.c): kept as 64-bit numbers and UTF-8 strings, defaults and limits from jet_params.def ---- */
struct params;
MUST_CHECK err_t params_create(struct params **out, const struct params *copy_from);
void params_destroy(struct params *p);
enum params_stage { PARAMS_BEFORE_INIT, PARAMS_AFTER_INIT };
MUST_CHECK err_t params_set(struct params *p, uint32_t id, uint64_t number, const char *text, enum params_stage stage);
MUST_CHECK err_t params_get(const struct params *p, uint32_t id, uint64_t *number, const char **text);
uint64_t params_number(const struct params *p, uint32_t id);
const char *params_text(const struct params *p, uint32_t id);
struct params *params_global(void);
/* Ours, beside ESE's (ids from 0x10000 up, never ESE's): */
enum pyjet_param {
    PYJET_paramDoubleWrite = 0x10001,     /* 1: on */
    PYJET_paramVersionStoreBytes = 0x10002,
    PYJET_paramBackupReadRetries = 0x10003,
    PYJET_paramRandomSteal = 0x10004,     /* tests: page writer steals dirty pages at random */
    PYJET_paramPageWriterOff = 0x10005,   /* tests */
};

/* ---- instances ---- */
MUST_CHECK err_t instance_create(const char *name, const char *display_name, struct instance **out);
void instance_destroy(struct instance *inst); /* created, not running */
struct params *instance_params(struct instance *inst);
const char *instance_name(struct instance *inst);
struct init_options {
    JET_GRBIT grbit;
    const struct recovery_map *map;
    int map_count;
    lgpos_t stop; /* as recovery_config.stop */
    struct progress progress;
};
/* Locks the folders, recovers when there is something to, starts logging and the threads. */
MUST_CHECK err_t instance_init(struct instance *inst, const struct init_options *options, struct recovery_result *result);
/* grbit: JET_bitTermComplete, TermAbrupt, TermStopBackup, TermDirty. */
MUST_CHECK err_t instance_term(struct instance *inst, JET_GRBIT grbit);
/* The gate: every API call on the instance passes it; leave pairs with a successful enter. for_backup changes the order (C6). */
MUST_CHECK err_t instance_enter(struct instance *inst, bool for_backup);
void instance_leave(struct instance *inst);
void instance_poison(struct instance *inst, err_t why);
bool instance_is_running(struct instance *inst);
/* Iterates the process's instances: first NULL. Under the engine's own short lock; the result may only be compared. */
struct instance *instance_next(struct instance *after);

void instance_backup_options(const struct instance *inst, struct backup_options *out); /* what its parameters say; the rest zero */
MUST_CHECK err_t instance_look_at_backup(struct instance *inst, const struct backup_options *options, struct backup_result *result);
MUST_CHECK err_t instance_backup(struct instance *inst, const struct backup_options *options, struct backup_result *result);
/* Around each step of an external backup (backup_begin ... backup_end); leave gives back err. */
MUST_CHECK err_t instance_enter_backup(struct instance *inst, struct backup **out);
err_t instance_leave_backup(struct instance *inst, err_t err);
/* Ends a running backup of this instance with `reason`; not sticky. */
MUST_CHECK err_t instance_stop_backup(struct instance *inst, err_t reason);
/* JetStopBackupInstance and its undoing: backup_refuse, backup_allow. JET_errInvalidParameter unless it runs. */
MUST_CHECK err_t instance_refuse_backups(struct instance *inst);
MUST_CHECK err_t instance_allow_backups(struct instance *inst);
/* JetStopServiceInstance2. Once all is stopped, the gate gives JET_errClientRequestToStopJetService to all but what ends things. */
MUST_CHECK err_t instance_stop_service(struct instance *inst, JET_GRBIT grbit);
/* Restore into a fresh instance (its params say base name and folders): copies, recovers, leaves it not running. */
struct instance_restore { /* as restore_options */
    const char *set;                   /* folder of the set; or: */
    const struct restore_set *survey;  /* logs of a set whose databases lie where they are wanted already */
    const char *destination, *roll_forward_dir;
    uint32_t roll_forward_last;
    const struct recovery_map *rename;
    int rename_count;
    lgpos_t stop;
    const struct logtime *stop_time;   /* instead of stop: what was durable by then; NULL = none */
    struct progress progress;
};
MUST_CHECK err_t instance_restore(struct instance *inst, const struct instance_restore *options, struct restore_result *result);
/* Test hook: called by a running backup at 25, 50, 75 percent. */
void instance_set_backup_pause(struct instance *inst, void (*fn)(void *context, uint32_t percent), void *context);

/* What the API calls the instance: comes back in the lists of a freeze. */
void instance_set_handle(struct instance *inst, uint64_t handle);

/* ---- snapshots of the operating system (engine/snapshot.c): ids of the process, states of backup-semantics.md 12.1.
 * Errors: JET_errOSSnapshotInvalidSnapId, ...InvalidSequence, ...NotAllowed, ...TimeOut, JET_errMissingFullBackup. ---- */
MUST_CHECK err_t ossnap_prepare(JET_GRBIT grbit, uint64_t *id); /* JET_errNotInitialized: no instance */
MUST_CHECK err_t ossnap_add(uint64_t id, struct instance *inst);
struct frozen_instance {
    uint64_t handle;
    char name[256];
    int database_count;
    char database[DBID_MAX][OS_PATH_MAX];
};
/* Nothing of the instances changes on disk from its return on, until the thaw or JET_paramOSSnapshotTimeout. *list: free(). */
MUST_CHECK err_t ossnap_freeze(uint64_t id, struct frozen_instance **list, int *count);
MUST_CHECK err_t ossnap_info(uint64_t id, struct frozen_instance **list, int *count);
MUST_CHECK err_t ossnap_thaw(uint64_t id);
MUST_CHECK err_t ossnap_truncate(uint64_t id, struct instance *only, bool all_databases); /* only NULL: all instances */
MUST_CHECK err_t ossnap_end(uint64_t id, bool abort);
/* Before the sessions of an instance that is to end are waited for: one may be waiting for a thaw. JET_errBackupInProgress unless
 * the grbit of JetTerm2 stops backups. */
MUST_CHECK err_t instance_leave_snapshots(struct instance *inst, JET_GRBIT term_grbit);

/* Ends the current log generation of a running instance: *closed = the generation ended, of which what was committed up to the
 * call is part. */
MUST_CHECK err_t instance_roll_log(struct instance *inst, uint32_t *closed);

struct database_facts {
    char path[OS_PATH_MAX];
    bool logged, read_only;
    pgno_t pages;
    struct db_header header; /* as in memory */
};
struct instance_facts {
    char name[256], base_name[4];
    char log_dir[OS_PATH_MAX], system_dir[OS_PATH_MAX]; /* of a running one, as the rest */
    bool running, logging, circular, backup_running;
    struct signature sign_log;
    uint32_t log_file_size, gen_lowest, gen_current;
    lgpos_t log_tail, checkpoint;
    int database_count;
    struct database_facts databases[DBID_MAX];
};
MUST_CHECK err_t instance_facts(struct instance *inst, struct instance_facts *out); /* large: not on the stack */

struct instance_stats { /* counters for tests and benchmarks */
    uint64_t log_bytes, log_flushes, commits_durable, undo_info, versions_bytes, sweeps, checkpoints;
    lgpos_t checkpoint, log_tail;
    struct cache_stats cache;
    struct btree_stats btree;
    struct recovery_result recovery; /* of the last init */
};
void instance_stats(struct instance *inst, struct instance_stats *out);

/* ---- sessions ---- */
MUST_CHECK err_t session_begin(struct instance *inst, struct session **out); /* JET_errOutOfSessions */
MUST_CHECK err_t session_end(struct session *s); /* rolls back, closes cursors and databases */
/* One call at a time: JET_errSessionSharingViolation, also for a transaction begun by another thread (api-notes.md 6). */
MUST_CHECK err_t session_enter(struct session *s);
/* For a call that ends something, so that it is allowed when the instance's service is stopped. */
MUST_CHECK err_t session_enter_ending(struct session *s);
void session_leave(struct session *s);
struct instance *session_instance(struct session *s);
struct trx *session_trx(struct session *s);
MUST_CHECK err_t session_begin_transaction(struct session *s, JET_GRBIT grbit);
MUST_CHECK err_t session_commit(struct session *s, JET_GRBIT grbit);
MUST_CHECK err_t session_rollback(struct session *s, JET_GRBIT grbit);
uint8_t session_level(struct session *s);
/* From here to session_leave the session may change what goes to disk. Waits while the instance is frozen: no latch may be held. */
void session_begin_change(struct session *s);
/* Between two statements of one call: a freeze that waits for this session gets its turn first. No latch may be held. */
void session_give_way(struct session *s);
/* Its transaction has something in the log: ending it, or a cursor with a prepared update, is a change too. */
bool session_has_changes(struct session *s);
void session_set_commit_default(struct session *s, JET_GRBIT grbit);
void session_set_context(struct session *s, uint64_t context, bool set);

/* ---- databases. Path UTF-8; dbid 1..6. ---- */
MUST_CHECK err_t session_create_database(struct session *s, const char *path, JET_GRBIT grbit, JET_DBID *dbid);
MUST_CHECK err_t session_attach_database(struct session *s, const char *path, JET_GRBIT grbit); /* JET_wrnDatabaseAttached */
MUST_CHECK err_t session_detach_database(struct session *s, const char *path, JET_GRBIT grbit); /* NULL = all */
MUST_CHECK err_t session_open_database(struct session *s, const char *path, JET_GRBIT grbit, JET_DBID *dbid);
MUST_CHECK err_t session_close_database(struct session *s, JET_DBID dbid);
MUST_CHECK err_t session_database(struct session *s, JET_DBID dbid, struct dbfile **out); /* JET_errInvalidDatabaseId */
int instance_databases(struct instance *inst, struct dbfile **list); /* room DBID_MAX */

/* ---- cursors of a session ---- */
MUST_CHECK err_t session_open_table(struct session *s, JET_DBID dbid, const char *name, JET_GRBIT grbit, struct table_cursor **out);
/* A cursor on a description that the caller holds a reference of (a table just created); the cursor takes it over. */
MUST_CHECK err_t session_adopt_table(struct session *s, JET_DBID dbid, struct table_desc *desc, JET_GRBIT grbit, struct table_cursor **out);
JET_DBID session_cursor_dbid(struct session *s, struct table_cursor *c); /* JET_dbidNil: not a cursor of this session */
MUST_CHECK err_t session_dup_cursor(struct session *s, struct table_cursor *c, struct table_cursor **out);
MUST_CHECK err_t session_close_cursor(struct session *s, struct table_cursor *c);
/* Runs a change as its own transaction when the session is at level 0 (api-notes.md 7): begin, fn, commit or roll back. */
MUST_CHECK err_t session_atomically(struct session *s, err_t (*fn)(void *context, struct trx *trx), void *context);

/* ---- a file alone, no instance: read-only, clean or as it is ---- */
struct reader; /* a read-only database in a private cache */
/* allow_dirty: open a database that was not shut down cleanly, as it lies. Otherwise JET_errDatabaseDirtyShutdown. */
MUST_CHECK err_t reader_open(const char *path, bool allow_dirty, struct reader **out);
void reader_close(struct reader *r);
struct dbfile *reader_db(struct reader *r);
struct trx *reader_trx(struct reader *r);
MUST_CHECK err_t reader_open_table(struct reader *r, const char *name, struct table_cursor **out);
void reader_close_table(struct reader *r, struct table_cursor *c);

#endif
