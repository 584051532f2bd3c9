/* Begin, commit, roll back, savepoints of statements, inner transactions. */
#include "txn/txn.h"

err_t txn_begin(struct trx *trx, bool read_only)
{
    bool outermost = trx->level == 0;
    TRY_RETURN(trx_begin(trx));
    if (outermost)
        trx->read_only = read_only;
    return JET_errSuccess;
}

/* Only the outermost commit is worth a flush: what lies above it may still be rolled back. */
err_t txn_commit(struct trx *trx, enum txn_commit_how how)
{
    lgpos_t end;
    TRY_RETURN(trx_commit(trx, &end));
    if (trx->level > 0 || end == LGPOS_MIN || how == TXN_LAZY)
        return JET_errSuccess;
    return log_flush(trx->log, end);
}

err_t txn_wait_last_commit(struct trx *trx)
{
    return trx->last_lgpos_end == LGPOS_MIN ? JET_errSuccess
                                            : log_flush(trx->log, trx->last_lgpos_end);
}

/* ---- undo ---- */

/* The version goes after its node is as before. Without its database there is nothing to undo:
 * recovery may lack one that was removed since. */
static err_t undo_one(struct trx *trx, const struct txn_databases *dbs,
                      const struct version_undo *u)
{
    if (u->oper != VERSION_LOCK) {
        struct dbfile *db = dbs->find(dbs->context, u->where.dbid);
        bool skip = PYJET_BREAK_UNDO && u->rceid % 4 == 0;
        if (db != NULL && !skip)
            TRY_RETURN(btree_undo(db, trx, u));
    }
    version_remove(trx->store, u->version);
    return JET_errSuccess;
}

/* Newest first, down to the version `rceid` (0: all above `level`). */
static err_t undo_versions(struct trx *trx, const struct txn_databases *dbs, uint8_t level,
                           uint32_t rceid)
{
    struct version_undo u;
    while (version_newest(trx, level, &u) && (rceid == 0 || u.rceid != rceid))
        TRY_RETURN(undo_one(trx, dbs, &u));
    return JET_errSuccess;
}

/* An action is off the list before it runs: it frees itself. */
static void roll_back_actions(struct trx *trx, uint8_t level, const struct trx_action *until)
{
    while (trx->actions != until && trx->actions != NULL && trx->actions->level > level) {
        struct trx_action *action = trx->actions;
        trx->actions = action->next;
        action->fn(action, TRX_ROLLED_BACK, trx);
    }
}

err_t txn_rollback(struct trx *trx, const struct txn_databases *dbs, uint8_t levels)
{
    if (trx->level == 0 || levels > trx->level)
        return RAISE(JET_errNotInTransaction);
    if (levels == 0)
        levels = trx->level;
    uint8_t to = (uint8_t)(trx->level - levels);
    TRY_RETURN(undo_versions(trx, dbs, to, 0));
    roll_back_actions(trx, to, NULL);
    return trx_rollback_done(trx, levels);
}

/* ---- statements ---- */

err_t txn_statement_begin(struct trx *trx, struct txn_savepoint *sp)
{
    *sp = (struct txn_savepoint){.level = trx->level, .actions = trx->actions};
    if (trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    if (trx->must_rollback)
        return RAISE(JET_errRollbackRequired);
    sp->rceid = version_newest_rceid(trx);
    return JET_errSuccess;
}

err_t txn_statement_end(struct trx *trx, const struct txn_databases *dbs, struct txn_savepoint *sp,
                        err_t outcome)
{
    if (outcome >= 0)
        return outcome;
    ASSERT(trx->level == sp->level);
    struct err_origin why = *err_last();
    log_use_reserve(trx->log, true); /* a way back, as a rollback is */
    err_t err = undo_versions(trx, dbs, (uint8_t)(sp->level - 1), sp->rceid);
    log_use_reserve(trx->log, false);
    if (err < 0) {
        trx->must_rollback = true;
        return err;
    }
    roll_back_actions(trx, (uint8_t)(sp->level - 1), sp->actions);
    err_restore(&why);
    return outcome;
}

/* ---- inner transactions ---- */

err_t txn_inner_begin(struct trx *inner)
{
    ASSERT(inner->internal && inner->level == 0);
    return trx_begin(inner);
}

err_t txn_inner_end(struct trx *inner)
{
    lgpos_t end;
    return trx_commit(inner, &end);
}
