/* Calls about instances and system parameters. */
#include "python/state.h"

static PYFN(JetCreateInstance2)
{
    const char *name, *display = NULL;
    uint32_t grbit = 0;
    ARGS("JetCreateInstance2 name:s display_name:s= grbit:u=", &name, &display, &grbit);
    JET_INSTANCE id = JET_instanceNil;
    JET_ERR err;
    AWAY(err, JetCreateInstance2(&id, name, display != NULL ? display : name, grbit));
    PyObject *instance = err < 0 ? raise_jet(args.st, err) : py_instance_of_engine(args.st, id);
    args_drop(&args);
    return instance;
}

static PYFN(JetInit2)
{
    struct instance *i;
    uint32_t grbit = 0;
    ARGS("JetInit2 instance:I grbit:u=", &i, &grbit);
    JET_ERR err;
    INSTANCE_CALL(err, i, JetInit2(&i->id, grbit));
    i->started = i->started || err >= 0;
    FINISH(err);
}

static PYFN(JetTerm2)
{
    struct instance *i;
    uint32_t grbit = JET_bitTermComplete;
    ARGS("JetTerm2 instance:I grbit:u=", &i, &grbit);
    bool ok = py_instance_end(args.st, i, grbit, false);
    args_drop(&args);
    return ok ? Py_NewRef(Py_None) : NULL;
}

static PYFN(term)
{
    struct instance *i;
    uint32_t grbit = JET_bitTermComplete;
    ARGS("term instance:I grbit:u=", &i, &grbit);
    bool ok = py_instance_end(args.st, i, grbit, true);
    args_drop(&args);
    return ok ? Py_NewRef(Py_None) : NULL;
}

static bool instance_or_none(struct args *a, PyObject *object, struct instance **i)
{
    *i = NULL;
    if (object == Py_None)
        return true;
    PyObject *handle = Py_IS_TYPE(object, a->st->instance_type)
                           ? Py_NewRef(object)
                           : PyObject_GetAttr(object, a->st->str_handle);
    if (handle != NULL && !Py_IS_TYPE(handle, a->st->instance_type)) {
        PyErr_SetString(PyExc_TypeError, "expected an Instance or None");
        Py_CLEAR(handle);
    }
    if (handle == NULL)
        return false;
    a->held[a->held_count++] = handle;
    *i = (struct instance *)handle;
    return py_instance_enter(a->st, *i);
}

/* From the lowest of 64 bits with a sign to the highest without one. */
static bool take_any_number(PyObject *value, uint64_t *number)
{
    PyObject *n = PyNumber_Index(value);
    if (n == NULL)
        return false;
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(n, &overflow);
    *number = overflow > 0 ? PyLong_AsUnsignedLongLong(n) : (uint64_t)small;
    if (overflow < 0)
        PyErr_SetString(PyExc_OverflowError, "number does not fit 64 bits");
    Py_DECREF(n);
    return !PyErr_Occurred();
}

static PYFN(JetSetSystemParameter)
{
    PyObject *who, *value;
    uint32_t param;
    ARGS("JetSetSystemParameter instance:o param:u value:o", &who, &param, &value);
    struct instance *i;
    if (!instance_or_none(&args, who, &i)) {
        args_drop(&args);
        return NULL;
    }
    PyObject *text = NULL;
    uint64_t number = 0;
    bool ok = true;
    if (PyIndex_Check(value)) {
        ok = take_any_number(value, &number);
    } else if (value != Py_None) {
        ok = PyUnicode_FSConverter(value, &text);
    }
    JET_ERR err = JET_errSuccess;
    if (ok)
        AWAY(err, JetSetSystemParameter(i != NULL ? &i->id : NULL, JET_sesidNil, param, number,
                                        text != NULL ? PyBytes_AS_STRING(text) : NULL));
    if (i != NULL)
        py_instance_leave(i);
    PyObject *answer = ok ? py_done(args.st, err) : NULL;
    Py_XDECREF(text);
    args_drop(&args);
    return answer;
}

static PYFN(JetGetSystemParameter)
{
    PyObject *who;
    uint32_t param;
    int32_t as_text = 0;
    int64_t number = 0;
    ARGS("JetGetSystemParameter instance:o param:u as_text:i= value:l=", &who, &param, &as_text,
         &number);
    struct instance *i;
    if (!instance_or_none(&args, who, &i)) {
        args_drop(&args);
        return NULL;
    }
    char text[4096] = "";
    JET_API_PTR value = (JET_API_PTR)number; /* JET_paramErrorToString takes the error in it */
    JET_ERR err;
    AWAY(err, JetGetSystemParameter(i != NULL ? i->id : JET_instanceNil, JET_sesidNil, param,
                                    &value, as_text ? text : NULL, as_text ? sizeof(text) : 0));
    if (i != NULL)
        py_instance_leave(i);
    PyObject *answer = err < 0   ? raise_jet(args.st, err)
                       : as_text ? PyUnicode_DecodeFSDefault(text)
                                 : PyLong_FromUnsignedLongLong(value);
    args_drop(&args);
    return answer;
}

/* init(instance, grbit, progress) -> dict of what recovery did. */
static PYFN(init)
{
    struct instance *i;
    uint32_t grbit = 0;
    PyObject *progress = Py_None;
    ARGS("init instance:I grbit:u= progress:o=", &i, &grbit, &progress);
    struct watcher watcher;
    watcher_begin(&watcher, args.st, progress, JET_errCallbackFailed);
    PYJET_RECOVERY r = {0};
    JET_ERR err;
    INSTANCE_CALL(err, i, PyjetInit(&i->id, grbit, watcher_progress, &watcher, &r));
    i->started = i->started || err >= 0;
    PyObject *answer =
        err < 0 || watcher.type != NULL ? watcher_raise(&watcher, err) : recovery_dict(&r);
    args_drop(&args);
    return answer;
}

static PYFN(stats)
{
    struct instance *i;
    ARGS("stats instance:I", &i);
    PYJET_STATS s = {0};
    JET_ERR err;
    INSTANCE_CALL(err, i, PyjetStats(i->id, &s));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : stats_dict(&s);
    args_drop(&args);
    return answer;
}

PyMethodDef instance_calls[] = {
    METHOD(JetCreateInstance2,
           "JetCreateInstance2(name, display_name=None, grbit=0) -> Instance, not started."),
    METHOD(JetInit2, "JetInit2(instance, grbit=0): start; recovers from the logs when the last run "
                     "ended in a crash."),
    METHOD(JetTerm2, "JetTerm2(instance, grbit=JET_bitTermComplete): end; waits for calls of other "
                     "threads, stops a running backup."),
    METHOD(term, "term(instance, grbit=JET_bitTermComplete): JetTerm2 after all sessions have been "
                 "ended, their transactions undone."),
    METHOD(
        JetSetSystemParameter,
        "JetSetSystemParameter(instance or None, param, value): value is an int, a str or a path."),
    METHOD(JetGetSystemParameter, "JetGetSystemParameter(instance or None, param, as_text=0, "
                                  "value=0) -> int, or str when as_text."),
    METHOD(init, "init(instance, grbit=0, progress=None) -> dict: JetInit with progress and the "
                 "numbers of recovery."),
    METHOD(stats, "stats(instance) -> dict of counters."),
    {NULL, NULL, 0, NULL},
};
