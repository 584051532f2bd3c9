/* Instance, Session and Cursor: who holds whom, who is in the engine, what has ended. */
#include "python/state.h"

#include <structmember.h>

static bool alive_here(struct state *st, uint32_t epoch)
{
    if (epoch == st->epoch)
        return true;
    PyErr_SetString(st->fork_error != NULL ? st->fork_error : PyExc_RuntimeError,
                    "this handle was opened before a fork: open the files anew in the child");
    return false;
}

/* ---- instance ---- */
PyObject *py_instance_of_engine(struct state *st, JET_INSTANCE id)
{
    struct instance *i = PyObject_New(struct instance, st->instance_type);
    if (i == NULL) {
        struct away away = go_away();
        JetTerm2(id, JET_bitTermAbrupt);
        come_back(away);
        return NULL;
    }
    memset((char *)i + sizeof(PyObject), 0, sizeof(*i) - sizeof(PyObject));
    i->id = id;
    i->epoch = st->epoch;
    return (PyObject *)i;
}

/* The instances that this thread is inside of now, innermost last; a call may run Python code that makes another one. */
enum { INSIDE_MOST = 16 };
static _Thread_local const struct instance *inside[INSIDE_MOST];
static _Thread_local int inside_depth;

static void note_inside(const struct instance *i)
{
    if (inside_depth < INSIDE_MOST)
        inside[inside_depth] = i;
    inside_depth++;
}

static bool this_thread_is_inside(const struct instance *i)
{
    for (int k = 0; k < inside_depth && k < INSIDE_MOST; k++)
        if (inside[k] == i)
            return true;
    return inside_depth > INSIDE_MOST;
}

bool py_instance_enter(struct state *st, struct instance *i)
{
    if (!alive_here(st, i->epoch))
        return false;
    if (i->ended || i->ending) {
        raise_jet_detail(st, i->ended ? JET_errInvalidInstance : JET_errTermInProgress,
                         i->ended ? "the instance has been terminated" : "");
        return false;
    }
    atomic_fetch_add(&i->calls, 1);
    note_inside(i);
    return true;
}

void py_instance_leave(struct instance *i)
{
    inside_depth--;
    atomic_fetch_sub(&i->calls, 1);
}

static void instance_mark_ended(struct instance *i)
{
    i->ended = true;
    while (i->sessions != NULL)
        py_session_ended(i->sessions);
}

/* Waits until no other thread is inside the engine with this instance; a running backup is told to
 * end. */
static bool wait_for_calls(struct state *st, struct instance *i)
{
    if (atomic_load(&i->calls) == 0)
        return true;
    if (inside_callback() || this_thread_is_inside(i)) {
        raise_jet_detail(st, JET_errSessionSharingViolation,
                         "an instance cannot be terminated from inside a call of its own, nor from a callback of the engine: the call "
                         "would wait for itself");
        return false;
    }
    PyThread_type_lock never = PyThread_allocate_lock();
    if (never == NULL) {
        PyErr_NoMemory();
        return false;
    }
    PyThread_acquire_lock(never, WAIT_LOCK);
    bool ok = true;
    while (ok && atomic_load(&i->calls) > 0) {
        struct away away = go_away();
        if (i->started)
            PyjetStopRunningBackup(i->id, JET_errBackupAbortByServer);
        PyThread_acquire_lock_timed(never, 2000, 0);
        come_back(away);
        ok = PyErr_CheckSignals() == 0;
    }
    PyThread_release_lock(never);
    PyThread_free_lock(never);
    return ok;
}

/* No call is inside, and none comes in: the list changes only here. */
static void end_sessions(struct instance *i)
{
    while (i->sessions != NULL) {
        struct session *s = i->sessions;
        Py_INCREF(s);
        py_session_end(s);
        if (!s->ended) /* refused: JetTerm will say why */
            py_session_ended(s);
        Py_DECREF(s);
    }
}

/* Errors of JetTerm2 that leave the instance as it was; after any other it is gone, what it could not write included. */
static bool term_was_refused(JET_ERR err)
{
    return err == JET_errTooManyActiveUsers || err == JET_errBackupInProgress || err == JET_errTermInProgress || err == JET_errInvalidGrbit ||
           err == JET_errSessionSharingViolation;
}

bool py_instance_end(struct state *st, struct instance *i, JET_GRBIT grbit, bool sessions)
{
    if (!alive_here(st, i->epoch))
        return false;
    if (i->ended || i->ending) {
        raise_jet_detail(st, i->ended ? JET_errInvalidInstance : JET_errTermInProgress,
                         i->ended ? "the instance has been terminated" : "");
        return false;
    }
    i->ending = true;
    JET_ERR left; /* a call may be waiting for a thaw */
    AWAY(left, PyjetLeaveSnapshots(i->id, grbit));
    if (left == JET_errBackupInProgress) {
        i->ending = false;
        raise_jet(st, left);
        return false;
    }
    if (!wait_for_calls(st, i)) {
        i->ending = false;
        return false;
    }
    if (sessions)
        end_sessions(i);
    JET_ERR err;
    AWAY(err, JetTerm2(i->id, grbit));
    i->ending = false;
    if (err < 0 && err != JET_errNotInitialized) {
        raise_jet(st, err);
        if (!term_was_refused(err))
            instance_mark_ended(i);
        return false;
    }
    instance_mark_ended(i);
    return true;
}

static void instance_dealloc(PyObject *self)
{
    struct instance *i = (struct instance *)self;
    struct state *st = state_of(self);
    PyTypeObject *type = Py_TYPE(self);
    if (i->weak != NULL)
        PyObject_ClearWeakRefs(self);
    if (!i->ended && i->epoch == st->epoch) {
        struct away away = go_away();
        JetTerm2(i->id, i->started ? JET_bitTermComplete : JET_bitTermAbrupt);
        come_back(away);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef instance_members[] = {
    {"started", T_BOOL, offsetof(struct instance, started), READONLY, "JetInit has succeeded"},
    {"ended", T_BOOL, offsetof(struct instance, ended), READONLY, "JetTerm has been called"},
    {"id", T_ULONGLONG, offsetof(struct instance, id), READONLY, "the engine's number"},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct instance, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot instance_slots[] = {
    {Py_tp_dealloc, instance_dealloc},
    {Py_tp_members, instance_members},
    {Py_tp_doc, "JET_INSTANCE. Made by JetCreateInstance2, ended by JetTerm."},
    {0, NULL},
};
PyType_Spec py_instance_spec = {"pyjet._jet.Instance", sizeof(struct instance), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                instance_slots};

/* ---- session ---- */
static void end_session_of_nobody(struct instance *i, JET_SESID id)
{
    if (i != NULL)
        atomic_fetch_add(&i->calls, 1); /* who terminates the instance waits */
    struct away away = go_away();
    if (i == NULL)
        PyjetCloseFile(id);
    else
        JetEndSession(id, 0);
    come_back(away);
    if (i != NULL)
        atomic_fetch_sub(&i->calls, 1);
}

PyObject *py_session_of_engine(struct state *st, struct instance *instance, JET_SESID id)
{
    struct session *s = PyObject_New(struct session, st->session_type);
    if (s == NULL) {
        end_session_of_nobody(instance, id);
        return NULL;
    }
    memset((char *)s + sizeof(PyObject), 0, sizeof(*s) - sizeof(PyObject));
    s->id = id;
    s->epoch = st->epoch;
    s->file_dbid = JET_dbidNil;
    atomic_flag_clear(&s->busy);
    s->instance = instance;
    if (instance != NULL) {
        Py_INCREF(instance);
        s->next = instance->sessions;
        if (s->next != NULL)
            s->next->previous = s;
        instance->sessions = s;
    }
    return (PyObject *)s;
}

bool py_session_enter(struct state *st, struct session *s)
{
    if (!alive_here(st, s->epoch))
        return false;
    if (s->ended) {
        raise_jet_detail(st, JET_errInvalidSesid, "the session has ended");
        return false;
    }
    if (s->instance != NULL && !py_instance_enter(st, s->instance))
        return false;
    if (!atomic_flag_test_and_set(&s->busy))
        return true;
    if (s->instance != NULL)
        py_instance_leave(s->instance);
    raise_jet_detail(
        st, JET_errSessionSharingViolation,
        "the session is inside a call of another thread: give each thread its own session");
    return false;
}

void py_session_leave(struct session *s)
{
    atomic_flag_clear(&s->busy);
    if (s->instance != NULL)
        py_instance_leave(s->instance);
}

void py_session_ended(struct session *s)
{
    s->ended = true;
    s->level = 0;
    while (s->cursors != NULL)
        py_cursor_ended(s->cursors);
    if (s->instance == NULL)
        return;
    if (s->previous != NULL)
        s->previous->next = s->next;
    else if (s->instance->sessions == s)
        s->instance->sessions = s->next;
    if (s->next != NULL)
        s->next->previous = s->previous;
    s->next = s->previous = NULL;
}

void py_session_committed(struct session *s)
{
    for (struct cursor *c = s->cursors; c != NULL; c = c->next)
        if (c->born > s->level)
            c->born = s->level;
}

void py_session_rolled_back(struct session *s)
{
    for (struct cursor *c = s->cursors, *next; c != NULL; c = next) {
        next = c->next;
        if (c->born <= s->level)
            continue;
        JetCloseTable(s->id,
                      c->id); /* in memory only; refused when the engine has closed it already */
        py_cursor_ended(c);
    }
}

JET_ERR py_session_end(struct session *s)
{
    JET_ERR err;
    if (s->instance == NULL)
        AWAY(err, PyjetCloseFile(s->id));
    else
        AWAY(err, JetEndSession(s->id, 0));
    if (err >= 0 || err == JET_errInvalidSesid)
        py_session_ended(s);
    return err;
}

/* Other threads run while the engine undoes what was open: nobody may find a session in the list that is on its way out, and
 * who terminates the instance waits as for any call. */
static void end_dropped(struct session *s)
{
    struct instance *i = s->instance;
    JET_ERR err;
    py_session_ended(s);
    if (i == NULL) {
        AWAY(err, PyjetCloseFile(s->id));
    } else {
        atomic_fetch_add(&i->calls, 1);
        AWAY(err, JetEndSession(s->id, 0));
        atomic_fetch_sub(&i->calls, 1);
    }
    (void)err;
}

static void session_dealloc(PyObject *self)
{
    struct session *s = (struct session *)self;
    struct state *st = state_of(self);
    PyTypeObject *type = Py_TYPE(self);
    if (s->weak != NULL)
        PyObject_ClearWeakRefs(self);
    if (!s->ended && s->epoch == st->epoch)
        end_dropped(s);
    if (!s->ended)
        py_session_ended(s);
    Py_XDECREF(s->instance);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef session_members[] = {
    {"level", T_INT, offsetof(struct session, level), READONLY, "transaction level, 0-7"},
    {"ended", T_BOOL, offsetof(struct session, ended), READONLY, "JetEndSession has been called"},
    {"file_dbid", T_UINT, offsetof(struct session, file_dbid), READONLY,
     "of a lone file: its JET_DBID"},
    {"id", T_ULONGLONG, offsetof(struct session, id), READONLY, "the engine's number"},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct session, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot session_slots[] = {
    {Py_tp_dealloc, session_dealloc},
    {Py_tp_members, session_members},
    {Py_tp_doc, "JET_SESID. One thread at a time."},
    {0, NULL},
};
PyType_Spec py_session_spec = {"pyjet._jet.Session", sizeof(struct session), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                               session_slots};

/* ---- cursor ---- */
PyObject *py_cursor_of_engine(struct state *st, struct session *session, JET_TABLEID id)
{
    struct cursor *c = PyObject_New(struct cursor, st->cursor_type);
    if (c == NULL) { /* the interpreter's lock was held since the session was left; a thread without one is refused, and its session closes it */
        JetCloseTable(session->id, id);
        return NULL;
    }
    memset((char *)c + sizeof(PyObject), 0, sizeof(*c) - sizeof(PyObject));
    c->id = id;
    c->born = session->level;
    c->session = (struct session *)Py_NewRef((PyObject *)session);
    c->next = session->cursors;
    if (c->next != NULL)
        c->next->previous = c;
    session->cursors = c;
    return (PyObject *)c;
}

bool py_cursor_enter(struct state *st, struct cursor *c)
{
    if (!c->closed || c->session->ended)
        return py_session_enter(st, c->session);
    if (alive_here(st, c->session->epoch))
        raise_jet_detail(st, JET_errInvalidTableId, "the cursor has been closed");
    return false;
}

void py_cursor_ended(struct cursor *c)
{
    if (c->closed)
        return;
    c->closed = true;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else if (c->session->cursors == c)
        c->session->cursors = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    c->next = c->previous = NULL;
}

static void cursor_dealloc(PyObject *self)
{
    struct cursor *c = (struct cursor *)self;
    struct state *st = state_of(self);
    PyTypeObject *type = Py_TYPE(self);
    if (c->weak != NULL)
        PyObject_ClearWeakRefs(self);
    /* A session that another thread is using closes its cursors when it ends. */
    if (!c->closed && c->session->epoch == st->epoch &&
        !atomic_flag_test_and_set(&c->session->busy)) {
        struct away away = go_away();
        JetCloseTable(c->session->id, c->id);
        come_back(away);
        atomic_flag_clear(&c->session->busy);
    }
    py_cursor_ended(c);
    Py_DECREF(c->session);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef cursor_members[] = {
    {"session", T_OBJECT, offsetof(struct cursor, session), READONLY, "its Session"},
    {"closed", T_BOOL, offsetof(struct cursor, closed), READONLY,
     "JetCloseTable has been called, or its session has ended"},
    {"id", T_ULONGLONG, offsetof(struct cursor, id), READONLY, "the engine's number"},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct cursor, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot cursor_slots[] = {
    {Py_tp_dealloc, cursor_dealloc},
    {Py_tp_members, cursor_members},
    {Py_tp_doc, "JET_TABLEID: a cursor on a table."},
    {0, NULL},
};
PyType_Spec py_cursor_spec = {"pyjet._jet.Cursor", sizeof(struct cursor), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, cursor_slots};
