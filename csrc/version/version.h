/* version: transaction numbers, snapshots, before-images, who may see what; logs Begin and Commit.
 *
 * Invariants
 *  1. A node's page holds its newest state. Older states are found by undoing, newest first, the versions of its
 *     bookmark that the reader may not see. A node whose flag NODE_VERSION is clear has no versions.
 *  2. A version belongs to a run (the changes of one outermost transaction). Its commit number is the run's: one
 *     atomic store makes all of them visible, before the commit counter is published (log_stamp.on_commit).
 *  3. A reader with snapshot S sees commits <= S and its own changes, nothing else. Without a transaction: all commits.
 *  4. A version is published under the write latch of its node's page, after the record was logged. All that may fail
 *     (memory, bounds) fails in version_reserve, before the log.
 *  5. UndoInfo of a version is logged under its run's lock and only while the run is uncommitted: it can never follow
 *     the Commit0 in the log. trx_log of an Undo record marks the version undone, while the caller has the page's write
 *     latch: no UndoInfo follows its Undo, and readers no longer take it back a second time.
 *  6. A run is swept when its commit number is <= the oldest snapshot of any transaction. */
#ifndef VERSION_VERSION_H
#define VERSION_VERSION_H

#include "log/log.h"

#define TRX_LEVEL_MAX 7
#define TRX_LEVEL_SLOTS 16 /* what a log record can name */
#define PROCID_SWEEP 0xFFFC /* version clean-up, as in ESE */
#define PROCID_USER_MAX 0x7FFF

struct versions; /* the store: one an instance */
struct version;  /* one change of one node */
struct run;      /* the versions of one outermost transaction */

/* What a transaction must do later than now: give back the space of a dropped tree, say. The owner allocates it. */
enum trx_event { TRX_COMMITTED, TRX_SWEPT, TRX_ROLLED_BACK, TRX_FORGOTTEN };
struct trx;
struct trx_action {
    struct trx_action *next;
    uint8_t level;
    /* COMMITTED: right after the commit number is out. SWEPT: no snapshot is older than the commit; `trx` is the
     * sweeper's, at level 0. ROLLED_BACK: the level that made it is undone. FORGOTTEN: the instance goes down before the
     * sweep, do nothing (trx NULL). After SWEPT, ROLLED_BACK or FORGOTTEN the action frees itself. */
    void (*fn)(struct trx_action *action, enum trx_event event, struct trx *trx);
};

/* One session's transaction; sessions embed it. Used by one thread at a time, but for the atomics and `lock`. */
struct trx {
    struct versions *store;
    struct log *log;
    uint16_t procid;
    uint8_t level;        /* 0 = none */
    uint8_t level_logged; /* levels whose Begin is in the log */
    bool internal;        /* inner transactions of space and structure: unversioned, no snapshot */
    bool read_only;
    bool latest;          /* sees every commit, not its snapshot alone: for schema rows under an exclusive claim */
    bool must_rollback;   /* a statement could not be undone: only a rollback is possible */
    uint64_t begin_number;         /* trxBegin0 */
    _Atomic uint64_t snapshot;     /* commits up to it are visible; TRXID_INFINITE = no transaction */
    _Atomic lgpos_t begin_lgpos;   /* at or before the Begin0 in the log; LGPOS_MAX = nothing logged */
    lgpos_t last_lgpos_end;        /* end of the last record this transaction logged */
    struct run *run;               /* NULL until the first version */
    struct trx_action *actions;    /* newest first */
    struct trx *inner;             /* for space and structure work; NULL in inner ones */
    struct list in_store;
    void *owner;                   /* the session, for hints and names */
    uint64_t started_ns;
    char label[32];                /* names the session in hints */
};

MUST_CHECK err_t versions_create(uint64_t bytes_max, struct versions **out);
void versions_destroy(struct versions *store);
uint64_t versions_bytes(struct versions *store);
uint64_t versions_count(struct versions *store, dbid_t dbid); /* transactions with versions, and clean-up work, of one database */
void versions_set_max(struct versions *store, uint64_t bytes_max);
/* The commit counter; starts at 4 after start, +4 a commit. For log_stamp. */
_Atomic uint64_t *versions_commit_counter(struct versions *store);
uint64_t versions_oldest_snapshot(struct versions *store);
/* Label of the session with the oldest snapshot, for the hint of JET_errVersionStoreOutOfMemory. */
void versions_oldest_label(struct versions *store, char *label, size_t room);
/* Begin0 position of the oldest logged, unfinished transaction; LGPOS_MAX when none. For the checkpoint: read log_tail
 * before this call (it bounds what begins meanwhile), and flush the log up to a log_tail read AFTER it before the
 * checkpoint reaches the disk: a transaction that ended just now is missing here, and its Commit0 may not be durable. */
lgpos_t versions_oldest_begin(struct versions *store);

/* ---- transactions ---- */
/* inner: another trx of the same session for internal work (may be NULL only for internal ones themselves). */
void trx_init(struct trx *trx, struct versions *store, struct log *log, uint16_t procid, bool internal, struct trx *inner);
/* At level 0; above it only when the instance is given up (the log is poisoned): versions are dropped, nothing is logged. */
void trx_term(struct trx *trx);
void trx_set_label(struct trx *trx, const char *label); /* names the session in hints */
MUST_CHECK err_t trx_begin(struct trx *trx); /* JET_errTransTooDeep at level 7; logs nothing */
/* Appends records of this transaction, the deferred Begin0/Begin first, in one log_append. Sets begin_lgpos before
 * anything is in the log. Needs level >= 1. Page heads must carry procid, begin number and level: trx_stamp_page_head.
 * stamp->first is the position of the Begin0/Begin when there was one. stamp may be NULL. */
MUST_CHECK err_t trx_log(struct trx *trx, struct log_record *records, int count, struct log_stamp *stamp);
/* A position not after the Begin0 that trx_log would write or has written: pages are marked dirty with it first. */
lgpos_t trx_begin_bound(struct trx *trx);
/* Ends the innermost level. Level 1: Commit0 is logged (if anything was), versions become visible, actions get
 * TRX_COMMITTED; *end = position to flush to for durability (LGPOS_MIN when nothing was logged).
 * After an error at level 1 the transaction is still open. */
MUST_CHECK err_t trx_commit(struct trx *trx, lgpos_t *end);
/* Part of txn_rollback: versions and actions of the levels above `level` are undone already: logs Rollback, drops the
 * levels. */
MUST_CHECK err_t trx_rollback_done(struct trx *trx, uint8_t levels);
void trx_add_action(struct trx *trx, struct trx_action *action);

/* ---- versions ---- */
enum version_oper { /* numbers as in the Undo record */
    VERSION_INSERT = 1,
    VERSION_REPLACE = 2,
    VERSION_DELETE = 3,
    VERSION_DELTA = 4,
    VERSION_DELTA64 = 9,
    VERSION_LOCK = 100, /* write lock without a change; never logged */
};
/* Which node: the tree by database and object, the node by its bookmark (data only in non-unique trees). */
struct version_key {
    dbid_t dbid;
    objid_t objid;
    pgno_t root;
    struct slice key;
    struct slice data;
};
struct version_undo { /* what txn needs to undo or clean up a version; slices live as long as the version */
    struct version *version;
    enum version_oper oper;
    uint8_t level;
    uint32_t rceid;
    struct version_key where;
    struct slice before; /* replace */
    int64_t delta;
    uint16_t delta_offset;
};

/* Allocates a version; nobody sees it yet. before: replace only, copied. JET_errVersionStoreOutOfMemory with a detail that
 * names the oldest session: never waits, since the caller has a latch; JET_errTransReadOnly. Rings the sweep bell when the
 * store is 3/4 full. */
MUST_CHECK err_t version_reserve(struct trx *trx, enum version_oper oper, const struct version_key *where, struct slice before,
                                 int64_t delta, uint16_t delta_offset, struct version **out);
uint32_t version_rceid(const struct version *v); /* grows by 4; never 0 */
void version_publish(struct trx *trx, struct version *v);
void version_cancel(struct version *v); /* a reserved one; NULL is fine */

/* May trx change this node? JET_errWriteConflict when another's uncommitted version, or one committed after trx's
 * snapshot, is there. */
MUST_CHECK err_t version_check_write(struct trx *trx, const struct version_key *where);
/* The same for an escrow addition: other sessions' additions do not stand in its way. */
MUST_CHECK err_t version_check_delta(struct trx *trx, const struct version_key *where);
/* Size of the largest before-image among the node's uncommitted replaces, 0 when there is none: what a rollback may put back. */
uint32_t version_before_most(struct versions *store, const struct version_key *where);
/* What trx (NULL or level 0: no snapshot, all commits) sees of a node whose page state is (deleted, data).
 * *exists; *seen = data as seen: `data` itself, or bytes in scratch. Caller holds a latch on the page, or a copy of
 * the page: then the copy must still be of the frame's version AFTER this call, else the answer is void. */
MUST_CHECK err_t version_see(struct versions *store, const struct trx *trx, const struct version_key *where, bool deleted,
                             struct slice data, struct buffer *scratch, bool *exists, struct slice *seen);
/* Certainly no version of this node: what the page holds is what everybody sees. Takes no lock; false may be a chance meeting in
 * the hash. The caller has a latch or a copy as for version_see. */
bool version_none(struct versions *store, const struct version_key *where);
/* No version of this node is uncommitted or younger than the oldest snapshot: a deleted node may be removed. */
bool version_is_settled(struct versions *store, const struct version_key *where);
bool version_exists(struct versions *store, const struct version_key *where);
/* Has another transaction changed or locked a node of this tree without commit, or with one that trx does not see? Looks at the
 * whole store: for schema changes. The caller keeps new changes away. */
bool version_tree_is_busy(struct versions *store, const struct trx *trx, dbid_t dbid, objid_t objid);

/* Logs UndoInfo for every uncommitted replace or delete of this node that has none yet (invariant 5). pgno = the page it
 * lies on. *end is raised to the end of what was logged. Caller holds the page's latch (read is enough).
 * JET_errCannotLogDuringRecoveryRedo while the log cannot be written yet: the page must stay in memory. */
MUST_CHECK err_t version_log_undo_info(struct versions *store, const struct version_key *where, pgno_t pgno, int line, lgpos_t *end);
uint64_t version_undo_info_count(struct versions *store);

/* Undo: the newest version of trx above `level`; false when none. */
bool version_newest(struct trx *trx, uint8_t level, struct version_undo *out);
/* rceid of the newest version of the innermost level; 0: none. */
uint32_t version_newest_rceid(const struct trx *trx);
/* Undone or swept: unlinks and frees. An undone insert leaves a flag-deleted node: it turns into clean-up work, which
 * versions_take_settled hands out as a delete. */
void version_remove(struct versions *store, struct version *v);

/* Sweep: takes the oldest committed run that no snapshot needs (invariant 6); NULL when none. */
struct run *versions_take_settled(struct versions *store);
bool run_next(struct run *run, struct version_undo *out); /* oldest first; the version stays until version_remove */
/* Drops versions, oldest first, *most of them at most, up to one that was a delete: false when versions are left. */
bool run_drop_some(struct versions *store, struct run *run, uint32_t *most);
bool run_has_actions(const struct run *run);
struct trx_action *run_actions(struct run *run); /* hands the list over */
void run_free(struct versions *store, struct run *run); /* no versions and no actions left */
void versions_put_back(struct versions *store, struct run *run); /* what is left of it is taken again, first */
/* A node that is flag-deleted and may be removed is to be cleaned (again); lost when there is no memory. */
void versions_add_clean(struct versions *store, const struct version_key *where);
/* A leaf where redo met a delete, or put deleted nodes: the versions that would lead the sweep there end with redo, so it looks
 * through the page itself. Lost when there is no memory, or beyond a quarter of a million pages. */
struct version_page {
    dbid_t dbid;
    objid_t objid;
    pgno_t root, pgno;
};
void versions_note_page(struct versions *store, const struct version_page *page);
bool versions_take_page(struct versions *store, struct version_page *out); /* false when there is none */
/* Bell: waits until there may be something to sweep, or ms passed. */
void versions_wait_work(struct versions *store, uint32_t ms);
void versions_ring(struct versions *store);

/* ---- redo: rebuilding what the log tells (log-format.md 8.6) ---- */
void trx_redo_begin0(struct trx *trx, uint64_t begin_number, uint8_t levels, lgpos_t at);
void trx_redo_end(struct trx *trx); /* Commit0, or rolled back to 0: drops versions */
void trx_redo_level(struct trx *trx, uint8_t level); /* Begin/Commit: versions above move down */
void trx_redo_rollback(struct trx *trx, uint8_t level); /* Rollback: versions above are dropped; 0 ends it */
MUST_CHECK err_t version_redo_add(struct trx *trx, enum version_oper oper, uint32_t rceid, uint8_t level, const struct version_key *where,
                                  struct slice before, int64_t delta, uint16_t delta_offset);
bool version_redo_find(struct trx *trx, uint32_t rceid, struct version_undo *out);
/* Its UndoInfo was met in the log: write-back need not log it again. No such version: no effect. */
void version_redo_undo_logged(struct trx *trx, uint32_t rceid);
/* The log can be written from now on (call it before undo); counters go on above what the log held. */
void versions_redo_done(struct versions *store, uint32_t rceid_last, uint64_t begin_last);

/* ---- record heads ---- */
#define LOG_PAGE_HEAD 32u
#define LOG_NODE_HEAD 44u
enum { LOG_FLAG_VERSIONED = 1, LOG_FLAG_UNIQUE = 4, LOG_FLAG_SPACE = 8 };
/* Fills the 32-byte PAGE head (log-format.md 6.2); dbtime is put in by log_append at offset 8. */
void trx_stamp_page_head(const struct trx *trx, uint8_t head[LOG_PAGE_HEAD], unsigned type, dbid_t dbid, pgno_t pgno,
                         dbtime_t dbtime_before, int line, unsigned flags);
/* ... and the 12 bytes more of a NODE head. */
void log_node_head(uint8_t head[LOG_NODE_HEAD], uint32_t rceid, pgno_t root, objid_t objid);

#endif
