/* Redo of the records that begin and end transactions (log-format.md 6.6, 8.6). */
#include "txn/txn.h"

#define ANY_LEVEL (TRX_LEVEL_SLOTS - 1)

static err_t corrupt(struct slice record, lgpos_t at)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("%s record at %08X:%04X:%04X makes no sense",
               record.n == 0 ? "empty" : log_type_name(record.p[0]), LGPOS_GEN(at), LGPOS_SEC(at),
               LGPOS_BYTE(at));
    return err;
}

static uint32_t size_of(unsigned type)
{
    switch (type) {
    case LOG_Begin0:
    case LOG_BeginDT:
    case LOG_Commit0:
        return 8;
    case LOG_Refresh:
        return 7;
    case LOG_CommitCtx:
        return 5;
    default:
        return 4;
    }
}

static err_t redo_begin(struct trx *trx, lgpos_t at, struct slice record, bool outermost)
{
    unsigned low = record.p[3] & 15, high = record.p[3] >> 4;
    if (high == 0 || low + high > ANY_LEVEL || outermost != (low == 0))
        return corrupt(record, at);
    if (outermost)
        trx_redo_begin0(trx, load_u32(record.p + 4), (uint8_t)high, at);
    else if (trx->level != 0)
        trx_redo_level(trx, (uint8_t)(low + high));
    return JET_errSuccess;
}

static err_t redo_commit(struct trx *trx, lgpos_t at, struct slice record)
{
    uint8_t to = record.p[3];
    if (to == 0 || to > ANY_LEVEL)
        return corrupt(record, at);
    if (trx->level != 0 && to < trx->level)
        trx_redo_level(trx, to);
    return JET_errSuccess;
}

/* Every change of these levels has its Undo record before this one, and each took its version
 * along. Were one left all the same, its page is as the log made it: the version is dropped without
 * a change, since undoing it here would not be in the log and a later redo would come to another
 * page. */
static err_t redo_rollback(struct trx *trx, lgpos_t at, struct slice record)
{
    uint8_t levels = record.p[3];
    if (trx->level == 0)
        return JET_errSuccess;
    if (levels == 0 || levels > trx->level)
        return corrupt(record, at);
    trx_redo_rollback(trx, (uint8_t)(trx->level - levels));
    return JET_errSuccess;
}

/* trx is the record's session. One whose Begin0 lies before the start of redo is at level 0: its
 * records are skipped. */
err_t txn_redo(struct trx *trx, lgpos_t at, struct slice record)
{
    if (record.n == 0 || record.n < size_of(record.p[0]))
        return corrupt(record, at);
    switch (record.p[0]) {
    case LOG_Begin0:
    case LOG_BeginDT:
        return redo_begin(trx, at, record, true);
    case LOG_Begin:
        return redo_begin(trx, at, record, false);
    case LOG_Refresh:
        trx_redo_begin0(trx, load_u32(record.p + 3), 1, at);
        return JET_errSuccess;
    case LOG_Commit0:
        trx_redo_end(trx);
        return JET_errSuccess;
    case LOG_Commit:
        return redo_commit(trx, at, record);
    case LOG_Rollback:
        return redo_rollback(trx, at, record);
    case LOG_CommitCtx:
        return JET_errSuccess;
    default: /* PrepCommit, PrepRollback: never written */
        return corrupt(record, at);
    }
}
