/* Lookup: cursor, key and columns of a table's usual get(), chosen once, so that one row costs one
 * call. */
#include "python/fetch.h"

#include <structmember.h>

struct lookup {
    PyObject_HEAD vectorcallfunc call;
    struct cursor *cursor; /* nobody else's between two calls */
    struct plan *keys, *plan;
    unsigned width;
};

/* lookup(key, table): None: no such row. False: the cursor has ended with its transaction. */
static PyObject *lookup_call(PyObject *self, PyObject *const *values, size_t flags, PyObject *names)
{
    struct lookup *l = (struct lookup *)self;
    struct state *st = state_of(self);
    if (PyVectorcall_NARGS(flags) != 2 || (names != NULL && PyTuple_GET_SIZE(names) != 0)) {
        PyErr_SetString(PyExc_TypeError, "lookup(key, table) takes two arguments, by position");
        return NULL;
    }
    PYJET_CELL cells[JET_ccolKeyMost];
    struct arena arena = {0};
    PyObject *row = NULL;
    if (l->cursor->closed)
        Py_RETURN_FALSE;
    if (py_key_cells(st, &arena, l->keys, values[0], cells) && py_cursor_enter(st, l->cursor)) {
        struct wanted wanted = {.plan = l->plan, .table = values[1], .none = true};
        row = py_get_one(st, l->cursor, cells, (uint32_t)PyTuple_GET_SIZE(values[0]), &wanted);
        py_session_leave(l->cursor->session);
    }
    py_arena_clear(&arena);
    return row;
}

static PyObject *lookup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct state *st = PyType_GetModuleState(type);
    static char *keywords[] = {"cursor", "keys", "plan", NULL};
    PyObject *cursor, *keys, *plan;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!:Lookup", keywords, st->cursor_type,
                                     &cursor, st->plan_type, &keys, st->plan_type, &plan))
        return NULL;
    if (((struct plan *)keys)->count > JET_ccolKeyMost) {
        PyErr_SetString(PyExc_TypeError, "expected the Plan of an index");
        return NULL;
    }
    struct lookup *l = (struct lookup *)type->tp_alloc(type, 0);
    if (l == NULL)
        return NULL;
    l->call = lookup_call;
    l->cursor = (struct cursor *)Py_NewRef(cursor);
    l->keys = (struct plan *)Py_NewRef(keys);
    l->plan = (struct plan *)Py_NewRef(plan);
    l->width = l->keys->count;
    return (PyObject *)l;
}

static void lookup_dealloc(PyObject *self)
{
    struct lookup *l = (struct lookup *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(l->cursor);
    Py_DECREF(l->keys);
    Py_DECREF(l->plan);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef lookup_members[] = {
    {"width", T_UINT, offsetof(struct lookup, width), READONLY, "columns of a whole key"},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct lookup, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot lookup_slots[] = {
    {Py_tp_new, lookup_new},
    {Py_tp_dealloc, lookup_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, lookup_members},
    {Py_tp_doc, "Lookup(cursor, keys, plan): lookup(key, table) -> the Row with this key, None "
                "when there is none, False when the cursor has been closed."},
    {0, NULL},
};
PyType_Spec py_lookup_spec = {"pyjet._jet.Lookup", sizeof(struct lookup), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, lookup_slots};
