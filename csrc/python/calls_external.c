/* External backup: a step a call. Lists are gathered in two calls, sizes come as one number. */
#include "python/state.h"

/* JetBeginExternalBackupInstance(instance, grbit=0) */
static PYFN(JetBeginExternalBackupInstance)
{
    struct instance *i;
    uint32_t grbit = 0;
    ARGS("JetBeginExternalBackupInstance instance:I grbit:u=", &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetBeginExternalBackupInstance(i->id, grbit));
    FINISH(err);
}

/* ---- lists ---- */

typedef JET_ERR (*list_call)(JET_INSTANCE instance, char *to, uint32_t room, uint32_t *actual,
                             void *more);

static JET_ERR call_attach_info(JET_INSTANCE id, char *to, uint32_t room, uint32_t *actual,
                                void *more)
{
    (void)more;
    return JetGetAttachInfoInstanceA(id, to, room, actual);
}

static JET_ERR call_log_info(JET_INSTANCE id, char *to, uint32_t room, uint32_t *actual, void *more)
{
    return JetGetLogInfoInstance2A(id, to, room, actual, more);
}

static JET_ERR call_truncate_info(JET_INSTANCE id, char *to, uint32_t room, uint32_t *actual,
                                  void *more)
{
    (void)more;
    return JetGetTruncateLogInfoInstanceA(id, to, room, actual);
}

/* The list of one moment: asked again when it has grown between asking for its size and for itself.
 * *text: PyMem_RawFree. */
static JET_ERR fetch_list(JET_INSTANCE id, list_call call, void *more, char **text)
{
    uint32_t room = 0, actual = 0;
    *text = NULL;
    JET_ERR err = call(id, NULL, 0, &actual, more);
    while (err >= 0 && actual > room) {
        room = actual;
        PyMem_RawFree(*text);
        *text = PyMem_RawMalloc(room);
        err = *text == NULL ? JET_errOutOfMemory : call(id, *text, room, &actual, more);
    }
    return err;
}

static PyObject *paths_of(const char *text)
{
    PyObject *list = PyList_New(0);
    for (const char *p = text; list != NULL && *p != '\0'; p += strlen(p) + 1) {
        PyObject *path = PyUnicode_DecodeFSDefault(p);
        if (path == NULL || PyList_Append(list, path) < 0)
            Py_CLEAR(list);
        Py_XDECREF(path);
    }
    return list;
}

static PyObject *list_of(struct state *st, struct instance *i, list_call call, void *more)
{
    char *text;
    JET_ERR err;
    if (!py_instance_enter(st, i))
        return NULL;
    AWAY(err, fetch_list(i->id, call, more, &text));
    py_instance_leave(i);
    PyObject *list = err < 0 ? raise_jet(st, err) : paths_of(text);
    PyMem_RawFree(text);
    return list;
}

/* JetGetAttachInfoInstance(instance) -> [path] */
static PYFN(JetGetAttachInfoInstance)
{
    struct instance *i;
    ARGS("JetGetAttachInfoInstance instance:I", &i);
    PyObject *list = list_of(args.st, i, call_attach_info, NULL);
    args_drop(&args);
    return list;
}

/* JetGetLogInfoInstance2(instance) -> ([path], generation low, generation high, base name) */
static PYFN(JetGetLogInfoInstance2)
{
    struct instance *i;
    ARGS("JetGetLogInfoInstance2 instance:I", &i);
    JET_LOGINFO_A info = {.cbSize = sizeof info};
    PyObject *list = list_of(args.st, i, call_log_info, &info);
    args_drop(&args);
    if (list == NULL)
        return NULL;
    return Py_BuildValue("(NIIs)", list, info.ulGenLow, info.ulGenHigh, info.szBaseName);
}

/* JetGetTruncateLogInfoInstance(instance) -> [path] */
static PYFN(JetGetTruncateLogInfoInstance)
{
    struct instance *i;
    ARGS("JetGetTruncateLogInfoInstance instance:I", &i);
    PyObject *list = list_of(args.st, i, call_truncate_info, NULL);
    args_drop(&args);
    return list;
}

/* ---- files ---- */

static void close_file_of_nobody(struct instance *i, JET_HANDLE handle)
{
    atomic_fetch_add(&i->calls, 1); /* who terminates the instance waits */
    struct away away = go_away();
    JetCloseFileInstance(i->id, handle);
    come_back(away);
    atomic_fetch_sub(&i->calls, 1);
}

/* JetOpenFileInstance(instance, name) -> (handle, size) */
static PYFN(JetOpenFileInstance)
{
    struct instance *i;
    const char *name;
    ARGS("JetOpenFileInstance instance:I name:p", &i, &name);
    JET_HANDLE handle = 0;
    uint32_t low = 0, high = 0;
    JET_ERR err;
    INSTANCE_CALL(err, i, JetOpenFileInstanceA(i->id, name, &handle, &low, &high));
    PyObject *answer = err < 0
                           ? raise_jet(args.st, err)
                           : Py_BuildValue("(KK)", (unsigned long long)handle,
                                           (unsigned long long)high << 32 | low);
    if (err >= 0 && answer == NULL) /* nobody could close it */
        close_file_of_nobody(i, handle);
    args_drop(&args);
    return answer;
}

/* JetReadFileInstance(instance, handle, buffer) -> bytes read */
static PYFN(JetReadFileInstance)
{
    struct instance *i;
    int64_t handle;
    PyObject *object;
    ARGS("JetReadFileInstance instance:I handle:l buffer:o", &i, &handle, &object);
    Py_buffer buffer;
    PyObject *answer = NULL;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_WRITABLE) == 0) {
        uint32_t actual = 0;
        JET_ERR err = JET_errSuccess;
        if (buffer.len > UINT32_MAX)
            PyErr_SetString(PyExc_OverflowError, "the buffer has more than 4 GiB");
        else if (py_instance_enter(args.st, i)) {
            AWAY(err, JetReadFileInstance(i->id, (JET_HANDLE)handle, buffer.buf,
                                          (uint32_t)buffer.len, &actual));
            py_instance_leave(i);
            answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLong(actual);
        }
        PyBuffer_Release(&buffer);
    }
    args_drop(&args);
    return answer;
}

/* JetCloseFileInstance(instance, handle) */
static PYFN(JetCloseFileInstance)
{
    struct instance *i;
    int64_t handle;
    ARGS("JetCloseFileInstance instance:I handle:l", &i, &handle);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetCloseFileInstance(i->id, (JET_HANDLE)handle));
    FINISH(err);
}

/* ---- the end ---- */

/* JetTruncateLogInstance(instance) */
static PYFN(JetTruncateLogInstance)
{
    struct instance *i;
    ARGS("JetTruncateLogInstance instance:I", &i);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetTruncateLogInstance(i->id));
    FINISH(err);
}

/* JetEndExternalBackupInstance2(instance, grbit) */
static PYFN(JetEndExternalBackupInstance2)
{
    struct instance *i;
    uint32_t grbit;
    ARGS("JetEndExternalBackupInstance2 instance:I grbit:u", &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetEndExternalBackupInstance2(i->id, grbit));
    FINISH(err);
}

/* end_external_backup(instance, grbit) -> outcome */
static PYFN(end_external_backup)
{
    struct instance *i;
    uint32_t grbit;
    ARGS("end_external_backup instance:I grbit:u", &i, &grbit);
    JET_ERR err, outcome = JET_errSuccess;
    INSTANCE_CALL(err, i, PyjetEndExternalBackup(i->id, grbit, &outcome));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromLong(outcome);
    args_drop(&args);
    return answer;
}

PyMethodDef external_calls[] = {
    METHOD(JetBeginExternalBackupInstance,
           "JetBeginExternalBackupInstance(instance, grbit=0): a backup whose bytes the caller "
           "reads.\n\ngrbit: 0 full, JET_bitBackupIncremental logs only, JET_bitInternalCopy. "
           "Databases stay in use; none comes or goes until the end. Raises BackupInProgressError, "
           "InvalidGrbitError, InvalidBackupError (circular logging), MissingFullBackupError, "
           "LoggingDisabledError."),
    METHOD(JetGetAttachInfoInstance,
           "JetGetAttachInfoInstance(instance) -> [path]: the databases of a full backup.\n\n"
           "Raises NoBackupError, InvalidBackupSequenceError in an incremental one."),
    METHOD(JetOpenFileInstance,
           "JetOpenFileInstance(instance, name) -> (handle, size): one file at a time, of those "
           "listed.\n\nsize: of all that will be read. Raises InvalidBackupSequenceError for a "
           "database once the logs are listed (and the backup is cancelled), DatabaseNotFoundError, "
           "InvalidParameterError for another name, OutOfMemoryError while a file is open."),
    METHOD(JetReadFileInstance,
           "JetReadFileInstance(instance, handle, buffer) -> bytes read; 0 at the end.\n\nbuffer: "
           "writable, aligned to 4096 bytes (an mmap is), whole pages, 3 or more for the first read "
           "of a database, 2 of a log. What is read is verified: ReadVerifyFailureError drops the "
           "database from the backup, LogReadVerifyFailureError cancels the backup."),
    METHOD(JetCloseFileInstance,
           "JetCloseFileInstance(instance, handle): one that was not read to its end is no part of "
           "the backup."),
    METHOD(JetGetLogInfoInstance2,
           "JetGetLogInfoInstance2(instance) -> ([path], low, high, base name): the logs to copy, "
           "their generations.\n\nFinishes the current log when called first; databases cannot be "
           "opened any more."),
    METHOD(JetGetTruncateLogInfoInstance,
           "JetGetTruncateLogInfoInstance(instance) -> [path]: logs that JetTruncateLogInstance "
           "would delete."),
    METHOD(JetTruncateLogInstance,
           "JetTruncateLogInstance(instance): delete logs that the backup made unnecessary.\n\n"
           "Raises LogFileNotCopiedError unless every log listed was read to its end, "
           "InvalidBackupSequenceError before they are listed or while a file is open."),
    METHOD(JetEndExternalBackupInstance2,
           "JetEndExternalBackupInstance2(instance, grbit): JET_bitBackupEndNormal or "
           "JET_bitBackupEndAbort.\n\nA normal end writes into the headers of the databases what was "
           "backed up; JET_bitBackupTruncateDone and JET_bitBackupNoDbHeaderUpdate go with it."),
    METHOD(end_external_backup,
           "end_external_backup(instance, grbit) -> 0, or why a normal end became an abort: the "
           "error the server stopped it with, or -800 (by the caller)."),
    {NULL, NULL, 0, NULL},
};
