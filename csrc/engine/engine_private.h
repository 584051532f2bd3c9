/* engine, inside the room. */
#ifndef ENGINE_ENGINE_PRIVATE_H
#define ENGINE_ENGINE_PRIVATE_H

#include "engine/engine.h"

#define NAME_MAX_INSTANCE 256
#define PROCID_SYSTEM 1u       /* attach, bootstrap, backup; its inner one is 2 */
#define PROCID_SCRUB 0xFFF4u    /* pages wiped for a backup; its inner one is the next */
#define PROCID_SESSION_FIRST 4u /* sessions own two each: even, and the odd one behind it for inner work */
#define SESSIONS_MOST 10000u

enum instance_state { INSTANCE_CREATED, INSTANCE_INITIALISING, INSTANCE_RUNNING, INSTANCE_TERMINATING, INSTANCE_RESTORING };

struct attached { /* slot dbid - 1 */
    struct dbfile *db; /* NULL: free */
    bool busy;         /* being attached or detached: nobody else may use it */
    uint32_t opens;    /* by sessions */
};

struct trx_pair { /* a transaction and its inner one */
    struct trx trx, inner;
};

/* ---- gate.c: who changes something goes through; a snapshot shuts it. No lock: a count and a word to sleep on. ---- */
struct gate {
    _Atomic uint32_t shut, inside;
};
void gate__enter(struct gate *g); /* waits while it is shut; nothing may be held that a reader needs */
void gate__leave(struct gate *g);
/* True: nobody is inside, and nobody comes in. False when somebody still is at `deadline` (os_now_ns): it is open again then. */
bool gate__shut(struct gate *g, uint64_t deadline);
void gate__open(struct gate *g);

struct instance {
    struct list in_process;
    char name[NAME_MAX_INSTANCE], display[NAME_MAX_INSTANCE];
    struct event_gate event_gate;
    struct params *params;
    struct os_lock lock; /* RANK_INSTANCE: dbs, sessions, state changes */
    struct os_cond changed;
    struct gate gate;
    _Atomic uint64_t handle; /* what the API calls it */
    _Atomic int state;
    struct cache *redo_cache; /* recovery's own, when the shared one was too small; else NULL */
    _Atomic err_t poison;
    _Atomic err_t write_failed; /* of a database's file, as cache met it: becomes poison at the next look */
    _Atomic uint32_t service; /* JET_bitStopService... that hold, or SERVICE_STOPPED */
    _Atomic int inside;
    int process_id;
    char log_dir[OS_PATH_MAX], system_dir[OS_PATH_MAX], temp_dir[OS_PATH_MAX], base_name[4];
    struct os_dir_lock *log_lock, *system_lock;
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    uint64_t version_bytes; /* bound of the store */
    struct double_write *double_write;
    struct checkpointer *checkpointer;
    struct backup *backup;
    struct txn_databases finder;
    struct attached dbs[DBID_MAX];
    _Atomic(struct dbfile *) by_dbid[DBID_MAX]; /* the same, for undo and clean-up: no lock */
    struct os_lock attach_lock; /* one attach, detach or create at a time; RANK_INSTANCE + 1 */
    struct list sessions;
    uint32_t session_count;
    uint8_t procids[SESSIONS_MOST / 8 + 1];
    struct os_lock sweep_lock; /* RANK_CHECKPOINT - 1: one sweep at a time; a detach waits for the one in flight */
    _Atomic uint64_t unswept; /* bytes of versions that the last committer who swept had to leave */
    struct trx_pair sweep, system, scrub;
    bool trx_ready;
    struct os_thread *writer, *preparer, *flusher, *sweeper;
    _Atomic bool stop;
    lgpos_t init_at;
    struct recovery_result recovery;
    _Atomic uint64_t commits_durable, sweeps, checkpoints;
    void (*backup_pause)(void *context, uint32_t percent);
    void *backup_pause_context;
};

struct open_cursor {
    struct table_cursor *cursor;
    struct table_desc *desc;
    JET_GRBIT grbit;
    JET_DBID dbid;
    uint8_t level; /* of the transaction when it was opened */
};

struct session {
    struct list in_instance;
    struct instance *inst;
    uint16_t procid;
    struct trx_pair pair;
    _Atomic uint64_t busy;   /* thread inside, 0 = none */
    uint64_t trx_thread;     /* began the outermost level */
    bool changing;           /* it is inside the instance's gate, until the call ends */
    bool has_context;
    uint64_t context, context_thread;
    JET_GRBIT commit_default;
    uint32_t opens[DBID_MAX + 1];
    struct open_cursor *cursors;
    uint32_t cursor_count, cursor_room;
};

static inline struct trx *session_own_trx(struct session *s)
{
    return &s->pair.trx;
}

void trx_pair_init(struct trx_pair *pair, struct instance *inst, uint16_t procid, uint16_t inner_procid, bool internal, const char *label);
void trx_pair_term(struct trx_pair *pair);

/* threads.c */
MUST_CHECK err_t threads__start(struct instance *inst);
void threads__stop(struct instance *inst);
/* Sweeps until nothing is left to do. */
err_t threads__sweep_all(struct instance *inst);
MUST_CHECK err_t threads__sweep_rounds(struct instance *inst, uint32_t most); /* while others write there is always more */

/* rooms.c: everything below an instance, built in floor order and taken down in reverse. */
MUST_CHECK err_t rooms__open(struct instance *inst);
void rooms__close(struct instance *inst);
void rooms__drop_redo_cache(struct instance *inst);
MUST_CHECK err_t rooms__recovery_config(struct instance *inst, const struct init_options *options, struct recovery_config *out);
/* The process's cache. */
MUST_CHECK err_t cache__acquire(uint32_t page_size, struct cache **out);
void cache__release_shared(void);

/* databases.c */
void databases__publish_list(struct instance *inst); /* attach list for the log; under attach_lock */
MUST_CHECK err_t databases__make_clean(struct dbfile *db, lgpos_t at);
MUST_CHECK err_t databases__close_all(struct instance *inst, lgpos_t at, bool clean);
struct dbfile *databases__find(void *context, dbid_t dbid);
void session__close_databases(struct session *s);



/* stop.c */
#define SERVICE_STOPPED 1u /* all of it: no bit of ESE's */
MUST_CHECK err_t instance__check_service(struct instance *inst);

/* instance.c */
/* The gate for calls that end something: they are allowed when the service is stopped. */
MUST_CHECK err_t instance__enter_ending(struct instance *inst);
/* Running instances, each entered: room for `room`; *count may be more. The caller leaves them. */
void instances__enter_running(struct instance **list, int room, int *count);

/* term.c */
bool instance__stops_backup(JET_GRBIT term_grbit);
/* Sessions, threads and databases end; dirty: nothing is written. The rooms are closed afterwards, whatever the error. */
err_t instance__term_rooms(struct instance *inst, bool dirty);

/* session.c */
void session__close_cursors(struct session *s, int above_level); /* opened at a deeper level; -1 = all */

bool instance__write_failed(struct instance *inst);
MUST_CHECK err_t instance__check_available(struct instance *inst); /* for waits: nobody may move any more */
/* An error that leaves the instance unable to go on: a failed write or sync, of the log or of a database? Then it is poisoned. What
 * could not be read, or had no memory, is the caller's. Returns err. */
err_t instance__judge(struct instance *inst, err_t err);

#endif
