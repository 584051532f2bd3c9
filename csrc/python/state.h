/* What all files of the extension share: the module's state, the handle objects, entering and
 * leaving the engine. Invariants: README.rst. */
#ifndef PYTHON_STATE_H
#define PYTHON_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/pyjet.h"

#ifndef Py_BEGIN_CRITICAL_SECTION /* CPython 3.13 has them: an object's own lock, without the GIL */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

struct state {
    PyTypeObject *instance_type, *session_type, *cursor_type, *plan_type, *row_type, *rows_type,
        *lookup_type;
    PyObject *make_error;   /* pyjet.errors.make(code, detail, hint) -> exception */
    PyObject *fork_error;   /* pyjet.errors.ForkError */
    PyObject *event_target; /* callable(id, severity, instance, params, text), or NULL */
    PyObject *uuid_type, *utc;
    PyObject *str_bytes_le, *str_handle, *str_astimezone, *str_row_update, *str_row_delete,
        *str_row_load, *str_add_note;
    void *time;     /* convert_time.c's own */
    uint32_t epoch; /* grows in a forked child: older handles are dead there */
    PyInterpreterState *interpreter;
    bool owns_events;
};
struct state *state_of_module(PyObject *module);
struct state *state_of(PyObject *self); /* of one of our types */

/* ---- handles. All fields are read and written with the GIL held, but for the atomics ---- */
struct session;
struct cursor;
struct instance {
    PyObject_HEAD JET_INSTANCE id;
    bool started, ended, ending;
    uint32_t epoch;
    _Atomic int calls; /* inside the engine now, sessions' calls included */
    struct session *sessions;
    PyObject *weak;
};
struct session {
    PyObject_HEAD struct instance *instance; /* strong; NULL: a lone file */
    JET_SESID id;
    JET_DBID file_dbid;
    bool ended;
    int level; /* of transactions, as this layer has begun them */
    uint32_t epoch;
    atomic_flag busy;
    struct cursor *cursors;
    struct session *next, *previous;
    PyObject *weak;
};
struct cursor {
    PyObject_HEAD struct session *session; /* strong */
    JET_TABLEID id;
    bool closed;
    int born; /* transaction level at which it was opened: a rollback below it closes it */
    struct cursor *next, *previous;
    PyObject *weak;
};
extern PyType_Spec py_instance_spec, py_session_spec, py_cursor_spec, py_plan_spec, py_row_spec,
    py_rows_spec, py_lookup_spec;

/* The object of what the engine has just opened; without memory for it the engine's is ended again. */
PyObject *py_instance_of_engine(struct state *st, JET_INSTANCE id);
PyObject *py_session_of_engine(struct state *st, struct instance *instance, JET_SESID id);
PyObject *py_cursor_of_engine(struct state *st, struct session *session, JET_TABLEID id);
/* Opens and takes the handle for one call; false = an exception is set. */
bool py_instance_enter(struct state *st, struct instance *i);
void py_instance_leave(struct instance *i);
bool py_session_enter(struct state *st, struct session *s);
void py_session_leave(struct session *s);
bool py_cursor_enter(struct state *st, struct cursor *c);
/* The engine has ended it: the objects know from now on. */
void py_session_ended(struct session *s);
void py_cursor_ended(struct cursor *c);
void py_session_committed(struct session *s); /* its level is the new one */
void py_session_rolled_back(struct session *s);
JET_ERR py_session_end(struct session *s); /* enters nothing: the caller has */
/* Waits for calls in flight; with `sessions` ends these first, so that their transactions roll
 * back. */
bool py_instance_end(struct state *st, struct instance *i, JET_GRBIT grbit, bool sessions);

/* ---- leaving the interpreter and coming back ---- */
struct away {
    PyThreadState *own, *outer;
};
struct away go_away(void);
void come_back(struct away away);
/* From inside a callback of the engine, on any thread: */
struct visit {
    PyThreadState *thread, *outer;
    bool own;
};
bool visit_begin(PyInterpreterState *interpreter, struct visit *visit);
void visit_end(struct visit *visit);
bool inside_callback(void);

#define AWAY(err, expr)                                                                            \
    do {                                                                                           \
        struct away away_ = go_away();                                                             \
        err = (expr);                                                                              \
        come_back(away_);                                                                          \
    } while (0)

/* ---- errors.c ---- */
PyObject *raise_jet(struct state *st, JET_ERR err);                                 /* NULL */
PyObject *raise_jet_detail(struct state *st, JET_ERR err, const char *format, ...); /* NULL */
PyObject *py_done(struct state *st, JET_ERR err); /* None; a positive code as int; raises */
void py_keep_detail(JET_ERR err); /* before a call that follows a failed one on the same thread */
PyObject *py_errors_list(PyObject *module, PyObject *unused);
PyObject *errors_install(PyObject *module, PyObject *args);
PyObject *error_texts(PyObject *module, PyObject *code);

/* ---- args.c ---- */
struct args {
    struct state *st;
    PyObject *held[8];
    Py_buffer buffers[2];
    int held_count, buffer_count;
};
struct bytes_view {
    const void *pv;
    uint32_t cb;
    bool none;
};
/* spec: "JetMove cursor:C rows:i grbit:u=": I S C handles, i u l numbers, s text or None, p path or
 * None, b bytes or None (struct bytes_view), o any object; "=" may be left out, and then its
 * variable keeps its value. */
bool args_take(struct args *a, PyObject *module, const char *spec, PyObject *const *values,
               Py_ssize_t count, PyObject *names, ...);
void args_drop(struct args *a);
/* For "O&" of PyArg_ParseTuple: an unsigned number of 32 bits; "I" would cut off what is over. */
int py_number32(PyObject *value, void *to);

#define PYFN(name)                                                                                 \
    PyObject *py_##name(PyObject *module, PyObject *const *values, Py_ssize_t count,               \
                        PyObject *names)
#define ARGS(spec, ...)                                                                            \
    struct args args;                                                                              \
    if (!args_take(&args, module, spec, values, count, names, __VA_ARGS__))                        \
    return NULL
#define METHOD(name, doc)                                                                          \
    {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL | METH_KEYWORDS, doc}

/* One call of the engine under a session or cursor: enter, leave the interpreter, come back, and
 * give back `done`. */
#define SESSION_CALL(err, s, expr)                                                                 \
    if (py_session_enter(args.st, s)) {                                                            \
        AWAY(err, expr);                                                                           \
        py_session_leave(s);                                                                       \
    } else                                                                                         \
        return args_drop(&args), NULL
#define CURSOR_CALL(err, c, expr)                                                                  \
    if (py_cursor_enter(args.st, c)) {                                                             \
        AWAY(err, expr);                                                                           \
        py_session_leave((c)->session);                                                            \
    } else                                                                                         \
        return args_drop(&args), NULL
#define INSTANCE_CALL(err, i, expr)                                                                \
    if (py_instance_enter(args.st, i)) {                                                           \
        AWAY(err, expr);                                                                           \
        py_instance_leave(i);                                                                      \
    } else                                                                                         \
        return args_drop(&args), NULL
#define FINISH(err)                                                                                \
    do {                                                                                           \
        struct state *st_ = args.st;                                                               \
        args_drop(&args);                                                                          \
        return py_done(st_, err);                                                                  \
    } while (0)

/* ---- callback.c ---- */
struct watcher { /* of one long call: polls signals, calls the callable, keeps its exception */
    struct state *st;
    PyObject *callable; /* NULL: signals only */
    PyObject *type, *value, *traceback;
    JET_ERR stop; /* what the run ends with */
};
JET_ERR watcher_progress(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total);
void watcher_begin(struct watcher *w, struct state *st, PyObject *callable, JET_ERR stop);
PyObject *watcher_raise(struct watcher *w,
                        JET_ERR err); /* NULL; the callable's own exception first */

/* ---- events.c ---- */
void events_remove(struct state *st);
PyObject *events_install(PyObject *module, PyObject *callable);

/* ---- calls_backup.c ---- */
PyObject *recovery_dict(const PYJET_RECOVERY *r);
PyObject *stats_dict(const PYJET_STATS *s);

/* ---- method tables ---- */
extern PyMethodDef instance_calls[], session_calls[], table_calls[], cursor_calls[], backup_calls[],
    external_calls[], file_calls[], snapshot_calls[], recover_calls[];
int constants_add(PyObject *module);

#endif
