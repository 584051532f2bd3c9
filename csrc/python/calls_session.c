/* Calls about sessions, transactions and databases. */
#include "python/state.h"

static PYFN(JetBeginSession)
{
    struct instance *i;
    ARGS("JetBeginSession instance:I", &i);
    JET_SESID id = JET_sesidNil;
    JET_ERR err;
    INSTANCE_CALL(err, i, JetBeginSession(i->id, &id, NULL, NULL));
    PyObject *session = err < 0 ? raise_jet(args.st, err) : py_session_of_engine(args.st, i, id);
    args_drop(&args);
    return session;
}

static PYFN(JetEndSession)
{
    struct session *s;
    ARGS("JetEndSession session:S", &s);
    if (!py_session_enter(args.st, s)) {
        args_drop(&args);
        return NULL;
    }
    JET_ERR err = py_session_end(s);
    py_session_leave(s);
    FINISH(err);
}

#define SESSION_PLAIN(name)                                                                        \
    static PYFN(name)                                                                              \
    {                                                                                              \
        struct session *s;                                                                         \
        ARGS(#name " session:S", &s);                                                              \
        JET_ERR err;                                                                               \
        SESSION_CALL(err, s, name(s->id));                                                         \
        FINISH(err);                                                                               \
    }
SESSION_PLAIN(JetResetSessionContext)

static PYFN(JetSetSessionContext)
{
    struct session *s;
    int64_t context;
    ARGS("JetSetSessionContext session:S context:l", &s, &context);
    JET_ERR err;
    SESSION_CALL(err, s, JetSetSessionContext(s->id, (JET_API_PTR)context));
    FINISH(err);
}

static PYFN(JetIdle)
{
    struct session *s;
    uint32_t grbit = 0;
    ARGS("JetIdle session:S grbit:u=", &s, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetIdle(s->id, grbit));
    FINISH(err);
}

static PYFN(JetGetVersion)
{
    struct session *s;
    ARGS("JetGetVersion session:S", &s);
    uint32_t version = 0;
    JET_ERR err;
    SESSION_CALL(err, s, JetGetVersion(s->id, &version));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLong(version);
    args_drop(&args);
    return answer;
}

/* ---- transactions ---- */
static PYFN(JetBeginTransaction2)
{
    struct session *s;
    uint32_t grbit = 0;
    ARGS("JetBeginTransaction2 session:S grbit:u=", &s, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetBeginTransaction2(s->id, grbit));
    s->level += err >= 0;
    FINISH(err);
}

static PYFN(JetCommitTransaction)
{
    struct session *s;
    uint32_t grbit = 0;
    ARGS("JetCommitTransaction session:S grbit:u=", &s, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetCommitTransaction(s->id, grbit));
    if (err >= 0 && s->level > 0) {
        s->level--;
        py_session_committed(s);
    }
    FINISH(err);
}

static PYFN(JetRollback)
{
    struct session *s;
    uint32_t grbit = 0;
    ARGS("JetRollback session:S grbit:u=", &s, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetRollback(s->id, grbit));
    if (err >= 0) {
        s->level = grbit & JET_bitRollbackAll || s->level == 0 ? 0 : s->level - 1;
        py_session_rolled_back(s);
    }
    FINISH(err);
}

/* ---- databases ---- */
static PYFN(JetCreateDatabase2)
{
    struct session *s;
    const char *path;
    uint32_t pages = 0, grbit = 0;
    ARGS("JetCreateDatabase2 session:S path:p pages_most:u= grbit:u=", &s, &path, &pages, &grbit);
    JET_DBID dbid = JET_dbidNil;
    JET_ERR err;
    SESSION_CALL(err, s, JetCreateDatabase2(s->id, path, pages, &dbid, grbit));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLong(dbid);
    args_drop(&args);
    return answer;
}

static PYFN(JetAttachDatabase2)
{
    struct session *s;
    const char *path;
    uint32_t pages = 0, grbit = 0;
    ARGS("JetAttachDatabase2 session:S path:p pages_most:u= grbit:u=", &s, &path, &pages, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetAttachDatabase2(s->id, path, pages, grbit));
    FINISH(err);
}

static PYFN(JetDetachDatabase2)
{
    struct session *s;
    const char *path;
    uint32_t grbit = 0;
    ARGS("JetDetachDatabase2 session:S path:p grbit:u=", &s, &path, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetDetachDatabase2(s->id, path, grbit));
    FINISH(err);
}

static PYFN(JetOpenDatabase)
{
    struct session *s;
    const char *path;
    uint32_t grbit = 0;
    ARGS("JetOpenDatabase session:S path:p grbit:u=", &s, &path, &grbit);
    JET_DBID dbid = JET_dbidNil;
    JET_ERR err;
    SESSION_CALL(err, s, JetOpenDatabase(s->id, path, NULL, &dbid, grbit));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLong(dbid);
    args_drop(&args);
    return answer;
}

static PYFN(JetCloseDatabase)
{
    struct session *s;
    uint32_t dbid, grbit = 0;
    ARGS("JetCloseDatabase session:S dbid:u grbit:u=", &s, &dbid, &grbit);
    JET_ERR err;
    SESSION_CALL(err, s, JetCloseDatabase(s->id, dbid, grbit));
    FINISH(err);
}

/* Levels whose result is one number, and the file's name. */
static PYFN(JetGetDatabaseInfo)
{
    struct session *s;
    uint32_t dbid, level;
    ARGS("JetGetDatabaseInfo session:S dbid:u level:u", &s, &dbid, &level);
    char text[4096] = "";
    uint32_t number = 0;
    bool named = level == JET_DbInfoFilename;
    JET_ERR err;
    SESSION_CALL(err, s,
                 JetGetDatabaseInfo(s->id, dbid, named ? (void *)text : &number,
                                    named ? sizeof(text) : sizeof(number), level));
    PyObject *answer = err < 0 ? raise_jet(args.st, err)
                       : named ? PyUnicode_DecodeFSDefault(text)
                               : PyLong_FromUnsignedLong(number);
    args_drop(&args);
    return answer;
}

PyMethodDef session_calls[] = {
    METHOD(JetBeginSession, "JetBeginSession(instance) -> Session."),
    METHOD(JetEndSession, "JetEndSession(session): rolls back what is open, closes its cursors."),
    METHOD(
        JetSetSessionContext,
        "JetSetSessionContext(session, context): lets a transaction move from thread to thread."),
    METHOD(JetResetSessionContext, "JetResetSessionContext(session)."),
    METHOD(JetIdle, "JetIdle(session, grbit=0): do background work now. Gives "
                    "JET_wrnNoIdleActivity when there is none."),
    METHOD(JetGetVersion, "JetGetVersion(session) -> int."),
    METHOD(JetBeginTransaction2,
           "JetBeginTransaction2(session, grbit=0): one level deeper, 7 at most."),
    METHOD(JetCommitTransaction, "JetCommitTransaction(session, grbit=0): durable at level 1 "
                                 "unless JET_bitCommitLazyFlush."),
    METHOD(JetRollback, "JetRollback(session, grbit=0): undo one level, or all."),
    METHOD(JetCreateDatabase2,
           "JetCreateDatabase2(session, path, pages_most=0, grbit=0) -> dbid; attached and open."),
    METHOD(JetAttachDatabase2, "JetAttachDatabase2(session, path, pages_most=0, grbit=0); "
                               "JET_wrnDatabaseAttached when it was."),
    METHOD(JetDetachDatabase2,
           "JetDetachDatabase2(session, path or None, grbit=0): leaves the file clean; None: all."),
    METHOD(JetOpenDatabase,
           "JetOpenDatabase(session, path, grbit=0) -> dbid of an attached database."),
    METHOD(JetCloseDatabase, "JetCloseDatabase(session, dbid, grbit=0)."),
    METHOD(JetGetDatabaseInfo,
           "JetGetDatabaseInfo(session, dbid, level) -> int, or str for JET_DbInfoFilename."),
    {NULL, NULL, 0, NULL},
};
