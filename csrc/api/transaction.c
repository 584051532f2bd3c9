#include "api/api_private.h"

/* Transactions. A file opened without an instance never changes: there begin and commit only count. */

static err_t reader_begin(struct api_session *s)
{
    if (s->reader_level >= TRX_LEVEL_MAX)
        return RAISE(JET_errTransTooDeep);
    s->reader_level++;
    return JET_errSuccess;
}

static err_t reader_end(struct api_session *s, bool all)
{
    if (s->reader_level == 0)
        return RAISE(JET_errNotInTransaction);
    s->reader_level = all ? 0 : (uint8_t)(s->reader_level - 1);
    return JET_errSuccess;
}

JET_ERR JetBeginTransaction2(JET_SESID sesid, JET_GRBIT grbit)
{
    struct api_session *s;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err;
    if ((grbit & ~(JET_GRBIT)JET_bitTransactionReadOnly) != 0)
        err = RAISE(JET_errInvalidGrbit);
    else
        err = s->session != NULL ? session_begin_transaction(s->session, grbit) : reader_begin(s);
    api_leave(s);
    return err;
}

JET_ERR JetBeginTransaction(JET_SESID sesid)
{
    return JetBeginTransaction2(sesid, 0);
}

JET_ERR JetBeginTransaction3(JET_SESID sesid, int64_t trxid, JET_GRBIT grbit)
{
    (void)trxid; /* the caller's own number, for traces */
    return JetBeginTransaction2(sesid, grbit);
}

JET_ERR JetCommitTransaction(JET_SESID sesid, JET_GRBIT grbit)
{
    struct api_session *s;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = s->session != NULL ? session_commit(s->session, grbit) : reader_end(s, false);
    api_leave(s);
    return err;
}

JET_ERR JetCommitTransaction2(JET_SESID sesid, JET_GRBIT grbit, uint32_t cmsecDurableCommit, JET_COMMIT_ID *pCommitId)
{
    if (cmsecDurableCommit != 0 || pCommitId != NULL) {
        err_t err = RAISE(JET_errFeatureNotAvailable);
        err_detail("a durability delay and commit ids are not available: give 0 and NULL");
        return err;
    }
    return JetCommitTransaction(sesid, grbit);
}

JET_ERR JetRollback(JET_SESID sesid, JET_GRBIT grbit)
{
    struct api_session *s;
    TRY_RETURN(api_enter_ending(sesid, &s));
    err_t err;
    if (s->session != NULL) {
        err = session_rollback(s->session, grbit);
        struct err_origin origin = *err_last();
        api_drop_dead_cursors(s);
        if (err < 0) {
            err_restore(&origin);
        }
    } else {
        err = reader_end(s, (grbit & JET_bitRollbackAll) != 0);
    }
    api_leave(s);
    return err;
}
