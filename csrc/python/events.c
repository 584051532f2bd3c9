/* The engine's events to one Python callable. The engine calls with no lock held, from any thread.
 *
 * The sink is one a process; the first interpreter that asks for events has them until it lets go.
 * Its callable is taken out before the interpreter ends (an atexit handler of pyjet), so no call
 * comes later. */
#include "python/state.h"

static _Atomic(struct state *) events_owner;

/* Paths are bytes: what is no UTF-8 comes as everywhere in Python. */
static PyObject *text_or_none(const char *text)
{
    if (text == NULL)
        return Py_NewRef(Py_None);
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape");
}

static PyObject *event_params(const PYJET_EVENT *event)
{
    PyObject *params = PyTuple_New(event->cParams);
    for (int i = 0; params != NULL && i < event->cParams; i++) {
        PyObject *item = text_or_none(event->rgszParams[i] != NULL ? event->rgszParams[i] : "");
        if (item == NULL)
            Py_CLEAR(params);
        else
            PyTuple_SET_ITEM(params, i, item);
    }
    return params;
}

static void tell(struct state *st, const PYJET_EVENT *event)
{
    PyObject *target = Py_XNewRef(st->event_target);
    if (target == NULL)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *params = event_params(event);
    PyObject *answer = NULL;
    if (params != NULL)
        answer = PyObject_CallFunction(target, "iiNON", (int)event->id, (int)event->severity,
                                       text_or_none(event->instance), params, text_or_none(event->text));
    if (answer == NULL)
        PyErr_WriteUnraisable(target);
    Py_XDECREF(answer);
    Py_XDECREF(params);
    Py_DECREF(target);
    PyErr_Restore(type, value, traceback);
}

static void sink(void *context, const PYJET_EVENT *event)
{
    struct state *st = context;
    struct visit visit;
    if (atomic_load(&events_owner) != st || !visit_begin(st->interpreter, &visit))
        return;
    tell(st, event);
    visit_end(&visit);
}

void events_remove(struct state *st)
{
    struct state *owner = st;
    if (!st->owns_events || !atomic_compare_exchange_strong(&events_owner, &owner, NULL))
        return;
    st->owns_events = false;
    struct away away = go_away();
    PyjetSetEventSink(NULL, NULL); /* waits for calls that run */
    come_back(away);
}

PyObject *events_install(PyObject *module, PyObject *callable)
{
    struct state *st = state_of_module(module);
    if (callable == Py_None) {
        events_remove(st);
        Py_CLEAR(st->event_target);
        Py_RETURN_NONE;
    }
    struct state *none = NULL;
    Py_XSETREF(st->event_target, Py_NewRef(callable));
    if (atomic_compare_exchange_strong(&events_owner, &none, st)) {
        st->owns_events = true;
        struct away away = go_away();
        PyjetSetEventSink(sink, st);
        come_back(away);
    }
    Py_RETURN_NONE;
}
