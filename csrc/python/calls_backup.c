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

enum { MAP_MOST = 6 }; /* databases of a set */

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

/* look_at_backup(instance, path or None, grbit=0, create_path=0) -> dict */
static PYFN(look_at_backup)
{
    struct instance *i;
    const char *path;
    uint32_t grbit = 0, create_path = 0;
    ARGS("look_at_backup instance:I path:p grbit:u= create_path:u=", &i, &path, &grbit, &create_path);
    PYJET_BACKUP *result = PyMem_RawCalloc(1, sizeof(*result));
    PyObject *answer = NULL;
    if (result == NULL)
        PyErr_NoMemory();
    else if (py_instance_enter(args.st, i)) {
        JET_ERR err;
        AWAY(err, PyjetLookAtBackup(i->id, path, grbit, (int32_t)create_path, result));
        py_instance_leave(i);
        answer = err < 0 ? raise_jet(args.st, err) : backup_dict(result);
    }
    PyMem_RawFree(result);
    args_drop(&args);
    return answer;
}

/* Pairs of (database, new name), from an object that holds them while the strings are used. */
static PyObject *hold_renames(PyObject *pairs, JET_RSTMAP_A *map, uint32_t *count)
{
    PyObject *held = PyList_New(0), *list = pairs == Py_None ? PyList_New(0) : PySequence_List(pairs);
    Py_ssize_t n = list == NULL ? 0 : PyList_GET_SIZE(list);
    bool good = held != NULL && list != NULL;
    if (good && n > MAP_MOST)
        good = (PyErr_Format(PyExc_ValueError, "a set has at most %d databases", MAP_MOST), false);
    for (Py_ssize_t k = 0; good && k < n; k++) {
        PyObject *old = NULL, *new = NULL;
        good = PyTuple_Check(PyList_GET_ITEM(list, k));
        if (!good)
            PyErr_SetString(PyExc_TypeError, "names come in tuples of two");
        good = good &&
               PyArg_ParseTuple(PyList_GET_ITEM(list, k), "O&O&", PyUnicode_FSConverter, &old,
                                PyUnicode_FSConverter, &new) &&
               PyList_Append(held, old) == 0 && PyList_Append(held, new) == 0;
        if (good)
            map[k] = (JET_RSTMAP_A){PyBytes_AS_STRING(old), PyBytes_AS_STRING(new)};
        Py_XDECREF(old);
        Py_XDECREF(new);
    }
    *count = (uint32_t)n;
    Py_XDECREF(list);
    if (!good)
        Py_CLEAR(held);
    return held;
}

static PyObject *restore_dict(const PYJET_RESTORE *r)
{
    return Py_BuildValue("{sKsKsKsKsNsN}", NUMBER(files, r->files), NUMBER(databases, r->databases),
                         NUMBER(bytes, r->bytes), NUMBER(ns, r->ns), "recovery",
                         recovery_dict(&r->recovery), "database",
                         files_of((const char (*)[4096])r->database, r->databases));
}

static PyObject *run_restore(struct state *st, struct instance *i, const PYJET_RESTORE_OPTIONS *o,
                             PyObject *progress)
{
    struct watcher watcher;
    watcher_begin(&watcher, st, progress, JET_errCallbackFailed);
    PYJET_RESTORE *r = PyMem_RawCalloc(1, sizeof(*r));
    PyObject *answer = NULL;
    if (r == NULL)
        PyErr_NoMemory();
    else if (py_instance_enter(st, i)) {
        JET_ERR err;
        AWAY(err, PyjetRestoreTo(i->id, o, watcher_progress, &watcher, r));
        py_instance_leave(i);
        if (err < 0 || watcher.type != NULL)
            watcher_raise(&watcher, err);
        else
            answer = restore_dict(r);
    }
    PyMem_RawFree(r);
    return answer;
}

/* restore(instance, set, destination, roll_forward=None, progress=None, rename=None, stop=0,
 * stop_time=None) -> dict */
static PYFN(restore)
{
    struct instance *i;
    PYJET_RESTORE_OPTIONS o = {.set = NULL};
    JET_RSTMAP_A map[MAP_MOST];
    int64_t stop = 0;
    PyObject *progress = Py_None, *pairs = Py_None, *time = Py_None;
    ARGS("restore instance:I set:p destination:p roll_forward:p= progress:o= rename:o= stop:l= "
         "stop_time:o=",
         &i, &o.set, &o.destination, &o.roll_forward_dir, &progress, &pairs, &stop, &time);
    PyObject *answer = NULL, *held = hold_renames(pairs, map, &o.renames);
    o.rename = map;
    o.stop = (uint64_t)stop;
    bool good = held != NULL;
    if (good && time != Py_None &&
        !(PyBytes_Check(time) && PyBytes_GET_SIZE(time) == (Py_ssize_t)sizeof(o.stop_time))) {
        PyErr_SetString(PyExc_TypeError, "stop_time is the 8 bytes of a JET_LOGTIME");
        good = false;
    } else if (good && time != Py_None)
        memcpy(&o.stop_time, PyBytes_AS_STRING(time), sizeof(o.stop_time));
    if (good)
        answer = run_restore(args.st, i, &o, progress);
    Py_XDECREF(held);
    args_drop(&args);
    return answer;
}

/* dump_instance(instance) -> JSON */
static PYFN(dump_instance)
{
    struct instance *i;
    ARGS("dump_instance instance:I", &i);
    char *text = NULL;
    JET_ERR err;
    INSTANCE_CALL(err, i, PyjetDumpInstance(i->id, &text));
    PyObject *answer = err < 0 ? raise_jet(args.st, err)
                               : PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (text != NULL)
        JetFreeBuffer(text);
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
    METHOD(look_at_backup,
           "look_at_backup(instance, path or None, grbit=0, create_path=0) -> dict: what backup "
           "would do now, by its errors; nothing is done. bytes: of the databases alone."),
    METHOD(restore, "restore(instance, set, destination, roll_forward=None, progress=None, "
                    "rename=None, stop=0, stop_time=None) -> dict; the instance is created, not "
                    "started. rename: pairs; stop: a position, stop_time: 8 bytes of JET_LOGTIME."),
    METHOD(dump_instance, "dump_instance(instance) -> str: JSON of what it is now."),
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
