/* Calls for recovery under other names, and for the records of logs. */
#include "python/state.h"

enum { MAP_MOST = 14 };

/* Pairs of texts into map; the list that holds their bytes, or NULL with an exception. */
static PyObject *hold_pairs(PyObject *pairs, JET_RSTMAP_A *map, uint32_t *count)
{
    PyObject *held = PyList_New(0), *list = PySequence_List(pairs);
    bool good = held != NULL && list != NULL;
    Py_ssize_t n = list == NULL ? 0 : PyList_GET_SIZE(list);
    if (good && n > MAP_MOST)
        good = (PyErr_Format(PyExc_ValueError, "at most %d pairs of names", MAP_MOST), false);
    for (Py_ssize_t k = 0; good && k < n; k++) {
        PyObject *from = NULL, *to = NULL;
        good = PyTuple_Check(PyList_GET_ITEM(list, k));
        if (!good)
            PyErr_SetString(PyExc_TypeError, "names come in tuples of two");
        good = good &&
               PyArg_ParseTuple(PyList_GET_ITEM(list, k), "O&O&", PyUnicode_FSConverter, &from,
                                PyUnicode_FSConverter, &to) &&
               PyList_Append(held, from) == 0 && PyList_Append(held, to) == 0;
        if (good)
            map[k] = (JET_RSTMAP_A){PyBytes_AS_STRING(from), PyBytes_AS_STRING(to)};
        Py_XDECREF(from);
        Py_XDECREF(to);
    }
    *count = (uint32_t)n;
    Py_XDECREF(list);
    if (!good)
        Py_CLEAR(held);
    return held;
}

static PyObject *recover_held(struct state *st, struct instance *i, const JET_RSTMAP_A *map,
                              uint32_t count, uint32_t grbit, PyObject *progress)
{
    struct watcher watcher;
    watcher_begin(&watcher, st, progress, JET_errCallbackFailed);
    PYJET_RECOVERY r = {0};
    if (!py_instance_enter(st, i))
        return NULL;
    JET_ERR err;
    AWAY(err, PyjetInitMapped(&i->id, map, count, grbit, watcher_progress, &watcher, &r));
    py_instance_leave(i);
    i->started = i->started || err >= 0;
    return err < 0 || watcher.type != NULL ? watcher_raise(&watcher, err) : recovery_dict(&r);
}

static PYFN(init_mapped)
{
    struct instance *i;
    JET_RSTMAP_A map[MAP_MOST];
    uint32_t pairs_count = 0, grbit = 0;
    PyObject *pairs, *progress = Py_None, *answer = NULL;
    ARGS("init_mapped instance:I pairs:o grbit:u= progress:o=", &i, &pairs, &grbit, &progress);
    PyObject *held = hold_pairs(pairs, map, &pairs_count);
    if (held != NULL)
        answer = recover_held(args.st, i, map, pairs_count, grbit, progress);
    Py_XDECREF(held);
    args_drop(&args);
    return answer;
}

struct lines {
    struct state *st;
    PyObject *callable;
    PyObject *type, *value, *traceback;
};

static JET_ERR tell_line(void *context, const char *json)
{
    struct lines *l = context;
    struct visit visit;
    if (!visit_begin(l->st->interpreter, &visit))
        return JET_errOutOfMemory;
    PyObject *answer = NULL;
    if (PyErr_CheckSignals() == 0)
        answer = PyObject_CallFunction(l->callable, "s", json);
    bool go_on = answer != NULL && answer != Py_False;
    if (answer == NULL)
        PyErr_Fetch(&l->type, &l->value, &l->traceback);
    Py_XDECREF(answer);
    visit_end(&visit);
    return go_on ? JET_errSuccess : JET_errCallbackFailed;
}

static PYFN(dump_log)
{
    const char *dir, *base_name;
    uint32_t first = 0, last = 0;
    PyObject *callable;
    ARGS("dump_log dir:p base_name:s line:o first:u= last:u=", &dir, &base_name, &callable, &first,
         &last);
    struct lines l = {.st = args.st, .callable = callable};
    JET_ERR err;
    AWAY(err, PyjetDumpLog(dir, base_name, first, last, tell_line, &l));
    PyObject *answer = NULL;
    if (l.type != NULL)
        PyErr_Restore(l.type, l.value, l.traceback);
    else if (err < 0 && err != JET_errCallbackFailed)
        raise_jet(args.st, err);
    else
        answer = Py_NewRef(Py_None);
    args_drop(&args);
    return answer;
}

PyMethodDef recover_calls[] = {
    METHOD(init_mapped, "init_mapped(instance, pairs, grbit=0, progress=None) -> dict: start, with "
                        "databases at other places: pairs of (path as logged, path now)."),
    METHOD(dump_log, "dump_log(dir, base_name, line, first=0, last=0): line(json) for each record; "
                     "its False ends it."),
    {NULL, NULL, 0, NULL},
};
