/* Calls about backup and restore: long, watched, with the callable's exceptions raised to the
 * caller. */
#include "python/state.h"

static PyObject *files_of(const char (*paths)[4096], uint32_t n)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < n && i < 6; i++) {
        PyObject *path = PyUnicode_DecodeFSDefault(paths[i]);
        if (path == NULL || PyList_Append(list, path) < 0)
            Py_CLEAR(list);
        Py_XDECREF(path);
    }
    return list;
}

#define NUMBER(name, value) #name, (unsigned long long)(value)

PyObject *recovery_dict(const PYJET_RECOVERY *r)
{
    return Py_BuildValue(
        "{sNsNsKsKsKsKsKsKsKsKsKsKsKsKsK}", "redone", PyBool_FromLong(r->redone), "clean_end",
        PyBool_FromLong(r->clean_end), NUMBER(gen_first, r->gen_first),
        NUMBER(gen_last, r->gen_last), NUMBER(records, r->records), NUMBER(applied, r->applied),
        NUMBER(skipped, r->skipped), NUMBER(bytes, r->bytes), NUMBER(undone, r->undone),
        NUMBER(sessions_undone, r->sessions_undone), NUMBER(pages_restored, r->pages_restored),
        NUMBER(pages_reconciled, r->pages_reconciled),
        NUMBER(undo_after_steal, r->undo_after_steal),
        NUMBER(macros_half_redone, r->macros_half_redone),
        NUMBER(records_filtered, r->records_filtered));
}

static int put_number(PyObject *dict, const char *name, uint64_t value)
{
    PyObject *number = PyLong_FromUnsignedLongLong(value);
    int ok = number == NULL ? -1 : PyDict_SetItemString(dict, name, number);
    Py_XDECREF(number);
    return ok;
}

PyObject *stats_dict(const PYJET_STATS *s)
{
    PyObject *dict = PyDict_New(), *recovery = recovery_dict(&s->recovery);
    int bad =
        dict == NULL || recovery == NULL || PyDict_SetItemString(dict, "recovery", recovery) < 0;
    Py_XDECREF(recovery);
#define PUT(field) bad = bad || put_number(dict, #field, s->field) < 0
    PUT(log_bytes), PUT(log_flushes), PUT(commits_durable), PUT(undo_info), PUT(versions_bytes),
        PUT(sweeps), PUT(checkpoints), PUT(checkpoint), PUT(log_tail), PUT(cache_frames),
        PUT(cache_used), PUT(cache_dirty), PUT(cache_reads), PUT(cache_writes), PUT(cache_hits),
        PUT(cache_misses), PUT(cache_evictions), PUT(cache_double_writes), PUT(cache_stolen),
        PUT(splits), PUT(merges), PUT(empty_pages), PUT(retries), PUT(undo_after_steal),
        PUT(macro_redone_half), PUT(os_opens), PUT(os_reads), PUT(os_writes), PUT(os_syncs);
#undef PUT
    if (bad)
        Py_CLEAR(dict);
    return dict;
}

static PyObject *backup_dict(const PYJET_BACKUP *b)
{
    return Py_BuildValue(
        "{sKsKsKsKsKsKsKsKsKsN}", NUMBER(files, b->files), NUMBER(databases, b->databases),
        NUMBER(logs, b->logs), NUMBER(gen_low, b->gen_low), NUMBER(gen_high, b->gen_high),
        NUMBER(deleted_low, b->deleted_low), NUMBER(deleted_high, b->deleted_high),
        NUMBER(bytes, b->bytes), NUMBER(ns, b->ns), "path", PyUnicode_DecodeFSDefault(b->path));
}

/* backup(instance, path or None, grbit=0, progress=None) -> dict */
static PYFN(backup)
{
    struct instance *i;
    const char *path;
    uint32_t grbit = 0;
    PyObject *progress = Py_None;
    ARGS("backup instance:I path:p grbit:u= progress:o=", &i, &path, &grbit, &progress);
    struct watcher watcher;
    watcher_begin(&watcher, args.st, progress, JET_errBackupAbortByServer);
    PYJET_BACKUP *result = PyMem_RawCalloc(1, sizeof(*result));
    PyObject *answer = NULL;
    if (result == NULL)
        PyErr_NoMemory();
    else if (py_instance_enter(args.st, i)) {
        JET_ERR err;
        AWAY(err, PyjetBackup(i->id, path, grbit, watcher_progress, &watcher, result));
        py_instance_leave(i);
        answer =
            err < 0 || watcher.type != NULL ? watcher_raise(&watcher, err) : backup_dict(result);
    }
    PyMem_RawFree(result);
    args_drop(&args);
    return answer;
}

/* restore(instance, set, destination, roll_forward=None, progress=None) -> dict */
static PYFN(restore)
{
    struct instance *i;
    const char *set, *destination, *roll_forward = NULL;
    PyObject *progress = Py_None;
    ARGS("restore instance:I set:p destination:p roll_forward:p= progress:o=", &i, &set,
         &destination, &roll_forward, &progress);
    struct watcher watcher;
    watcher_begin(&watcher, args.st, progress, JET_errCallbackFailed);
    PYJET_RESTORE *r = PyMem_RawCalloc(1, sizeof(*r));
    PyObject *answer = NULL;
    if (r == NULL)
        PyErr_NoMemory();
    else if (py_instance_enter(args.st, i)) {
        JET_ERR err;
        AWAY(err,
             PyjetRestore(i->id, set, destination, roll_forward, watcher_progress, &watcher, r));
        py_instance_leave(i);
        if (err < 0 || watcher.type != NULL)
            watcher_raise(&watcher, err);
        else
            answer = Py_BuildValue(
                "{sKsKsKsKsNsN}", NUMBER(files, r->files), NUMBER(databases, r->databases),
                NUMBER(bytes, r->bytes), NUMBER(ns, r->ns), "recovery", recovery_dict(&r->recovery),
                "database", files_of((const char (*)[4096])r->database, r->databases));
    }
    PyMem_RawFree(r);
    args_drop(&args);
    return answer;
}

/* stop_running_backup(instance): the run of another thread ends; further ones may begin. */
static PYFN(stop_running_backup)
{
    struct instance *i;
    ARGS("stop_running_backup instance:I", &i);
    JET_ERR err;
    INSTANCE_CALL(err, i, PyjetStopRunningBackup(i->id, JET_errBackupAbortByServer));
    FINISH(err);
}

static PYFN(JetStopBackupInstance)
{
    struct instance *i;
    ARGS("JetStopBackupInstance instance:I", &i);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetStopBackupInstance(i->id));
    FINISH(err);
}

static PYFN(resume_backup)
{
    struct instance *i;
    ARGS("resume_backup instance:I", &i);
    JET_ERR err;
    INSTANCE_CALL(err, i, PyjetResumeBackupInstance(i->id));
    FINISH(err);
}

static PYFN(JetStopServiceInstance2)
{
    struct instance *i;
    uint32_t grbit = JET_bitStopServiceAll;
    ARGS("JetStopServiceInstance2 instance:I grbit:u=", &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetStopServiceInstance2(i->id, grbit));
    FINISH(err);
}

static PYFN(survey)
{
    const char *path;
    ARGS("survey path:p", &path);
    PYJET_SET *set = PyMem_RawCalloc(1, sizeof(*set));
    PyObject *answer = NULL;
    if (set == NULL)
        PyErr_NoMemory();
    else {
        JET_ERR err;
        AWAY(err, PyjetSurveySet(path, set));
        if (err < 0)
            raise_jet(args.st, err);
        else
            answer = Py_BuildValue(
                "{sNsNsKsKsKsKsNsN}", "dir", PyUnicode_DecodeFSDefault(set->dir), "base_name",
                PyUnicode_DecodeFSDefault(set->base_name), NUMBER(gen_low, set->gen_low),
                NUMBER(gen_high, set->gen_high), NUMBER(page_size, set->page_size),
                NUMBER(log_file_size, set->log_file_size), "databases",
                files_of((const char (*)[4096])set->database, set->databases), "original",
                files_of((const char (*)[4096])set->original, set->databases));
    }
    PyMem_RawFree(set);
    args_drop(&args);
    return answer;
}

PyMethodDef backup_calls[] = {
    METHOD(backup, "backup(instance, path or None, grbit=0, progress=None) -> dict.\n\n"
                   "progress(snp, snt, done, total) is called on this thread; its exception ends "
                   "the run and is raised here."),
    METHOD(restore, "restore(instance, set, destination, roll_forward=None, progress=None) -> "
                    "dict; the instance is created, not started."),
    METHOD(stop_running_backup, "stop_running_backup(instance): the run of another thread ends "
                                "with BackupAbortByServerError."),
    METHOD(JetStopBackupInstance,
           "JetStopBackupInstance(instance): the running backup ends, later ones are refused, with "
           "BackupAbortByServerError, until resume_backup."),
    METHOD(resume_backup, "resume_backup(instance): backups are allowed again."),
    METHOD(JetStopServiceInstance2,
           "JetStopServiceInstance2(instance, grbit=JET_bitStopServiceAll): calls are refused with "
           "ClientRequestToStopJetServiceError, but for those that end something."),
    METHOD(survey, "survey(path) -> dict: what a backup set holds."),
    {NULL, NULL, 0, NULL},
};
