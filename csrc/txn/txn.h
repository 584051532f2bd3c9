/* txn: begin, commit, roll back; undoes changes; sweeps old versions. */
#ifndef TXN_TXN_H
#define TXN_TXN_H

#include "space/space.h"

/* Finds the open database of a dbid for undo and clean-up; filled by engine (socket txn <- engine). */
struct txn_databases {
    void *context;
    struct dbfile *(*find)(void *context, dbid_t dbid); /* NULL when it is not attached */
    /* Clean-up only; may be NULL: all. A tree that was dropped before is nobody's work: its pages may be others'. */
    bool (*has_tree)(void *context, dbid_t dbid, objid_t objid);
};

MUST_CHECK err_t txn_begin(struct trx *trx, bool read_only);
enum txn_commit_how { TXN_DURABLE = 0, TXN_LAZY = 1 };
/* Durable: returns after the flush of its Commit0. A failed flush: JET_errInstanceUnavailable semantics are the caller's. */
MUST_CHECK err_t txn_commit(struct trx *trx, enum txn_commit_how how);
/* Waits until the last lazily committed transaction of this session is durable (JET_bitWaitLastLevel0Commit). */
MUST_CHECK err_t txn_wait_last_commit(struct trx *trx);
/* Undoes `levels` levels (0 = all). Cannot be refused; an I/O error leaves the transaction open and is returned. */
MUST_CHECK err_t txn_rollback(struct trx *trx, const struct txn_databases *dbs, uint8_t levels);
/* A mark in the innermost level (level >= 1). A statement that fails is undone down to it, without a level of its own:
 * nothing is logged for a statement that succeeds. */
struct txn_savepoint {
    uint8_t level;
    uint32_t rceid;             /* newest version of the transaction then; 0 = none */
    struct trx_action *actions; /* newest action then */
};
MUST_CHECK err_t txn_statement_begin(struct trx *trx, struct txn_savepoint *sp);
/* Returns outcome (< 0: after undoing; err_last stays what it was). When the undo itself fails: its error, and the
 * transaction can only be rolled back. */
MUST_CHECK err_t txn_statement_end(struct trx *trx, const struct txn_databases *dbs, struct txn_savepoint *sp, err_t outcome);

/* One round of clean-up: settled versions are dropped, deleted nodes removed, emptied pages freed, TRX_SWEPT actions
 * run. *worked = false when there was nothing. sweeper: procid PROCID_SWEEP, best internal (no
 * snapshot), with an inner trx of another procid, level 0. An
 * error (a full disk, say) loses no work: what is left is taken up by a later call. */
MUST_CHECK err_t txn_sweep(struct trx *sweeper, const struct txn_databases *dbs, uint32_t versions_max, bool *worked);

/* What a committer can do of it: settled versions are dropped, up to the first that has a node to remove or an action to run, which
 * waits for txn_sweep. One call at a time, and none beside txn_sweep. */
void txn_sweep_light(struct versions *store, uint32_t versions_max);

/* After redo, when txn_sweep has nothing left: the pages that redo noted (versions_note_page) are looked through and forgotten.
 * The first error ends it. The sweeper may be left at level 1, to be committed where the log has room for that. */
MUST_CHECK err_t txn_sweep_pages(struct trx *sweeper, const struct txn_databases *dbs);

/* Inner transactions: level 1 unversioned, logged Begin0 ... Commit0 lazily. */
MUST_CHECK err_t txn_inner_begin(struct trx *inner);
MUST_CHECK err_t txn_inner_end(struct trx *inner);

/* Redo of Begin0, Begin, Commit0, Commit, Rollback, Refresh; CommitCtx ignored. */
MUST_CHECK err_t txn_redo(struct trx *trx, lgpos_t at, struct slice record);

#endif
