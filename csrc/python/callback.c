/* Leaving the interpreter, coming back inside a callback, and the watcher of long calls. */
#include "python/state.h"

/* The thread state this thread put aside when it went into the engine; NULL on the engine's own
 * threads. It may be of another interpreter than the one to visit: events go to one of them, and
 * from CPython 3.12 on each has a lock of its own. */
static _Thread_local PyThreadState *put_aside;
static _Thread_local int callback_depth;

struct away go_away(void)
{
    struct away away = {.outer = put_aside};
    away.own = PyEval_SaveThread();
    put_aside = away.own;
    return away;
}

void come_back(struct away away)
{
    PyEval_RestoreThread(away.own);
    put_aside = away.outer;
}

bool visit_begin(PyInterpreterState *interpreter, struct visit *visit)
{
    visit->outer = visit->thread = put_aside;
    visit->own = put_aside == NULL || PyThreadState_GetInterpreter(put_aside) != interpreter;
    if (visit->own)
        visit->thread = PyThreadState_New(interpreter);
    if (visit->thread == NULL)
        return false;
    put_aside = NULL;
    callback_depth++;
    PyEval_RestoreThread(visit->thread);
    return true;
}

void visit_end(struct visit *visit)
{
    callback_depth--;
    if (visit->own) {
        PyThreadState_Clear(visit->thread);
        PyThreadState_DeleteCurrent();
    } else {
        PyEval_SaveThread();
    }
    put_aside = visit->outer;
}

bool inside_callback(void)
{
    return callback_depth > 0;
}

void watcher_begin(struct watcher *w, struct state *st, PyObject *callable, JET_ERR stop)
{
    memset(w, 0, sizeof(*w));
    w->st = st;
    w->callable = callable == Py_None ? NULL : callable;
    w->stop = stop;
}

static bool call_callable(struct watcher *w, JET_SNP snp, JET_SNT snt, uint32_t done,
                          uint32_t total)
{
    PyObject *answer = PyObject_CallFunction(w->callable, "IIII", (unsigned)snp, (unsigned)snt,
                                             (unsigned)done, (unsigned)total);
    bool go_on = answer != NULL && answer != Py_False;
    Py_XDECREF(answer);
    return go_on;
}

JET_ERR watcher_progress(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    struct watcher *w = context;
    if (w->type != NULL)
        return w->stop;
    struct visit visit;
    if (!visit_begin(w->st->interpreter, &visit))
        return JET_errOutOfMemory;
    bool go_on = PyErr_CheckSignals() == 0 &&
                 (w->callable == NULL || call_callable(w, snp, snt, done, total));
    if (PyErr_Occurred())
        PyErr_Fetch(&w->type, &w->value, &w->traceback);
    visit_end(&visit);
    return go_on ? JET_errSuccess : w->stop;
}

/* The run failed by itself as well: its error becomes the context of the callable's exception. */
static void chain(struct watcher *w, JET_ERR err)
{
    PyObject *type, *value, *traceback;
    raise_jet(w->st, err);
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_NormalizeException(&w->type, &w->value, &w->traceback);
    PyObject *before = PyException_GetContext(w->value);
    if (before == NULL && value != NULL && value != w->value)
        PyException_SetContext(w->value, Py_NewRef(value));
    Py_XDECREF(before);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

PyObject *watcher_raise(struct watcher *w, JET_ERR err)
{
    if (w->type == NULL)
        return raise_jet(w->st, err);
    if (err < 0 && err != w->stop)
        chain(w, err);
    PyErr_Restore(w->type, w->value, w->traceback);
    w->type = NULL;
    return NULL;
}
