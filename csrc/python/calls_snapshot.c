/* Calls about snapshots of the operating system: freeze, copy, thaw. */
#include "python/state.h"

static PYFN(JetOSSnapshotPrepare)
{
    uint32_t grbit = 0;
    ARGS("JetOSSnapshotPrepare grbit:u=", &grbit);
    JET_OSSNAPID id = 0;
    JET_ERR err;
    AWAY(err, JetOSSnapshotPrepare(&id, grbit));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLongLong(id);
    if (err >= 0 && answer == NULL) { /* nobody could end it */
        struct away away = go_away();
        JetOSSnapshotAbort(id, 0);
        come_back(away);
    }
    args_drop(&args);
    return answer;
}

static PYFN(JetOSSnapshotPrepareInstance)
{
    int64_t id;
    struct instance *i;
    uint32_t grbit = 0;
    ARGS("JetOSSnapshotPrepareInstance snapid:l instance:I grbit:u=", &id, &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetOSSnapshotPrepareInstance((JET_OSSNAPID)id, i->id, grbit));
    FINISH(err);
}

/* (name, [path of each database]) */
static PyObject *instance_tuple(const JET_INSTANCE_INFO_A *info)
{
    PyObject *paths = PyList_New(0);
    for (size_t k = 0; paths != NULL && k < info->cDatabases; k++) {
        PyObject *path = PyUnicode_DecodeFSDefault(info->szDatabaseFileName[k]);
        if (path == NULL || PyList_Append(paths, path) < 0)
            Py_CLEAR(paths);
        Py_XDECREF(path);
    }
    PyObject *name = PyUnicode_DecodeFSDefault(info->szInstanceName);
    return Py_BuildValue("(NN)", name, paths);
}

static PyObject *instance_list(const JET_INSTANCE_INFO_A *infos, uint32_t n)
{
    PyObject *list = PyList_New(0);
    for (uint32_t k = 0; list != NULL && k < n; k++) {
        PyObject *one = instance_tuple(&infos[k]);
        if (one == NULL || PyList_Append(list, one) < 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

typedef JET_ERR (*listing_call)(const JET_OSSNAPID, uint32_t *, JET_INSTANCE_INFO_A **, const JET_GRBIT);

static PyObject *listing(struct state *st, listing_call call, int64_t id, uint32_t grbit)
{
    JET_INSTANCE_INFO_A *infos = NULL;
    uint32_t n = 0;
    JET_ERR err;
    AWAY(err, call((JET_OSSNAPID)id, &n, &infos, grbit));
    PyObject *answer = err < 0 ? raise_jet(st, err) : instance_list(infos, n);
    JetFreeBuffer((char *)infos);
    return answer;
}

static PYFN(JetOSSnapshotFreeze)
{
    int64_t id;
    uint32_t grbit = 0;
    ARGS("JetOSSnapshotFreeze snapid:l grbit:u=", &id, &grbit);
    PyObject *answer = listing(args.st, JetOSSnapshotFreezeA, id, grbit);
    args_drop(&args);
    return answer;
}

static PYFN(JetOSSnapshotGetFreezeInfo)
{
    int64_t id;
    uint32_t grbit = 0;
    ARGS("JetOSSnapshotGetFreezeInfo snapid:l grbit:u=", &id, &grbit);
    PyObject *answer = listing(args.st, JetOSSnapshotGetFreezeInfoA, id, grbit);
    args_drop(&args);
    return answer;
}

#define BY_ID(name)                                                                                \
    static PYFN(name)                                                                              \
    {                                                                                              \
        int64_t id;                                                                                \
        uint32_t grbit = 0;                                                                        \
        ARGS(#name " snapid:l grbit:u=", &id, &grbit);                                             \
        JET_ERR err;                                                                               \
        AWAY(err, name((JET_OSSNAPID)id, grbit));                                                  \
        FINISH(err);                                                                               \
    }
BY_ID(JetOSSnapshotThaw)
BY_ID(JetOSSnapshotAbort)
BY_ID(JetOSSnapshotEnd)
BY_ID(JetOSSnapshotTruncateLog)

static PYFN(JetOSSnapshotTruncateLogInstance)
{
    int64_t id;
    struct instance *i;
    uint32_t grbit = 0;
    ARGS("JetOSSnapshotTruncateLogInstance snapid:l instance:I grbit:u=", &id, &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetOSSnapshotTruncateLogInstance((JET_OSSNAPID)id, i->id, grbit));
    FINISH(err);
}

static PYFN(JetBeginSurrogateBackup)
{
    struct instance *i;
    uint32_t first, last, grbit = 0;
    ARGS("JetBeginSurrogateBackup instance:I first:u last:u grbit:u=", &i, &first, &last, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetBeginSurrogateBackup(i->id, first, last, grbit));
    FINISH(err);
}

static PYFN(JetEndSurrogateBackup)
{
    struct instance *i;
    uint32_t grbit = JET_bitBackupEndNormal;
    ARGS("JetEndSurrogateBackup instance:I grbit:u=", &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetEndSurrogateBackup(i->id, grbit));
    FINISH(err);
}

PyMethodDef snapshot_calls[] = {
    METHOD(JetBeginSurrogateBackup,
           "JetBeginSurrogateBackup(instance, first, last, grbit=0): a backup of these log "
           "generations is being taken from another copy of the data."),
    METHOD(JetEndSurrogateBackup,
           "JetEndSurrogateBackup(instance, grbit=JET_bitBackupEndNormal): the headers note it."),
    METHOD(JetOSSnapshotPrepare, "JetOSSnapshotPrepare(grbit=0) -> id of a new snapshot."),
    METHOD(JetOSSnapshotPrepareInstance,
           "JetOSSnapshotPrepareInstance(snapid, instance, grbit=0): the instance takes part."),
    METHOD(JetOSSnapshotFreeze,
           "JetOSSnapshotFreeze(snapid, grbit=0) -> [(instance name, [database path, ...]), ...].\n\n"
           "Until the thaw, or JET_paramOSSnapshotTimeout, no file changes; who writes waits, who "
           "reads does not."),
    METHOD(JetOSSnapshotGetFreezeInfo,
           "JetOSSnapshotGetFreezeInfo(snapid, grbit=0) -> the list of the freeze again."),
    METHOD(JetOSSnapshotThaw,
           "JetOSSnapshotThaw(snapid, grbit=0): writing goes on. OSSnapshotTimeOutError when it "
           "did before: the copy is worth nothing then."),
    METHOD(JetOSSnapshotTruncateLog,
           "JetOSSnapshotTruncateLog(snapid, grbit=0): with JET_bitAllDatabasesSnapshot, logs that "
           "the snapshot made unnecessary go."),
    METHOD(JetOSSnapshotTruncateLogInstance,
           "JetOSSnapshotTruncateLogInstance(snapid, instance, grbit=0): those of one instance."),
    METHOD(JetOSSnapshotAbort,
           "JetOSSnapshotAbort(snapid, grbit=0): give it up, in any state; thaws."),
    METHOD(JetOSSnapshotEnd,
           "JetOSSnapshotEnd(snapid, grbit=0): the headers say that a snapshot was taken."),
    {NULL, NULL, 0, NULL},
};
