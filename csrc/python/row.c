/* Row: one record as a read-only mapping that remembers its bookmark. Values are made when the row
 * is, or at the first look (after an insert or update). */
#include "python/convert.h"

#include <structmember.h>

struct row {
    PyObject_HEAD struct plan *plan;
    PyObject *table;    /* of pyjet: has _row_load, _row_update, _row_delete */
    PyObject *bookmark; /* bytes */
    PyObject *values;   /* tuple, or NULL: not loaded */
};

PyObject *py_row_new(struct state *st, struct plan *plan, PyObject *table,
                     const PYJET_CELL *bookmark)
{
    PyObject *bytes = PyBytes_FromStringAndSize(bookmark->pv, bookmark->cb);
    struct row *row = bytes == NULL ? NULL : PyObject_GC_New(struct row, st->row_type);
    if (row == NULL) {
        Py_XDECREF(bytes);
        return NULL;
    }
    row->plan = (struct plan *)Py_NewRef((PyObject *)plan);
    row->table = Py_NewRef(table);
    row->bookmark = bytes;
    row->values = NULL;
    PyObject_GC_Track(row);
    return (PyObject *)row;
}

bool py_row_fill(struct state *st, PyObject *self, const PYJET_CELL *cells)
{
    struct row *row = (struct row *)self;
    PyObject *values = PyTuple_New(row->plan->count);
    for (uint32_t i = 0; values != NULL && i < row->plan->count; i++) {
        PyObject *value = py_cell_to(st, &row->plan->columns[i], &cells[i]);
        if (value == NULL)
            Py_CLEAR(values);
        else
            PyTuple_SET_ITEM(values, i, value);
    }
    if (values == NULL)
        return false;
    Py_XSETREF(row->values, values);
    return true;
}

struct plan *py_row_plan(PyObject *self)
{
    return ((struct row *)self)->plan;
}

PyObject *py_row_bookmark(PyObject *self)
{
    return Py_NewRef(((struct row *)self)->bookmark);
}

/* The values, of the caller's own: whatever allocates may collect garbage, and that may run code that changes the row. */
static PyObject *loaded(struct row *row)
{
    if (row->values == NULL) {
        PyObject *answer = PyObject_CallMethodOneArg(
            row->table, state_of((PyObject *)row)->str_row_load, (PyObject *)row);
        if (answer == NULL)
            return NULL;
        Py_DECREF(answer);
        if (row->values == NULL)
            PyErr_SetString(PyExc_RuntimeError, "the row has not been loaded");
    }
    return Py_XNewRef(row->values);
}

static int row_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct row *row = (struct row *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(row->plan);
    Py_VISIT(row->table);
    Py_VISIT(row->values);
    return 0;
}

static int row_clear(PyObject *self)
{
    Py_CLEAR(((struct row *)self)->table);
    return 0;
}

static void row_dealloc(PyObject *self)
{
    struct row *row = (struct row *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(row->table);
    Py_XDECREF(row->bookmark);
    Py_XDECREF(row->values);
    Py_XDECREF(row->plan);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static Py_ssize_t row_length(PyObject *self)
{
    return ((struct row *)self)->plan->count;
}

static PyObject *row_subscript(PyObject *self, PyObject *name)
{
    struct row *row = (struct row *)self;
    int at = plan_find(state_of(self), row->plan, name);
    PyObject *values = at < 0 ? NULL : loaded(row);
    PyObject *value = values == NULL ? NULL : Py_NewRef(PyTuple_GET_ITEM(values, at));
    Py_XDECREF(values);
    return value;
}

static int row_contains(PyObject *self, PyObject *name)
{
    return PyDict_Contains(((struct row *)self)->plan->by_name, name);
}

static PyObject *row_iter(PyObject *self)
{
    return PyObject_GetIter(((struct row *)self)->plan->names);
}

static PyObject *row_keys(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PySequence_List(((struct row *)self)->plan->names);
}

static PyObject *row_values(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *values = loaded((struct row *)self);
    PyObject *list = values == NULL ? NULL : PySequence_List(values);
    Py_XDECREF(values);
    return list;
}

static PyObject *row_items(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *values = loaded((struct row *)self), *names = ((struct row *)self)->plan->names;
    PyObject *list = values == NULL ? NULL : PyList_New(PyTuple_GET_SIZE(names));
    for (Py_ssize_t i = 0; list != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *pair = PyTuple_Pack(2, PyTuple_GET_ITEM(names, i), PyTuple_GET_ITEM(values, i));
        if (pair == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, pair);
    }
    Py_XDECREF(values);
    return list;
}

static PyObject *row_dict(PyObject *self)
{
    PyObject *items = row_items(self, NULL);
    PyObject *dict = items == NULL ? NULL : PyDict_New();
    if (dict != NULL && PyDict_MergeFromSeq2(dict, items, 1) < 0)
        Py_CLEAR(dict);
    Py_XDECREF(items);
    return dict;
}

static PyObject *row_get(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (n < 1 || n > 2) {
        PyErr_SetString(PyExc_TypeError, "get(name, default=None)");
        return NULL;
    }
    int has = row_contains(self, args[0]);
    if (has < 0)
        return NULL;
    return has ? row_subscript(self, args[0]) : Py_NewRef(n == 2 ? args[1] : Py_None);
}

static PyObject *row_compare(PyObject *self, PyObject *other, int op)
{
    struct state *st = state_of(self);
    bool rows = Py_IS_TYPE(other, st->row_type);
    if ((op != Py_EQ && op != Py_NE) || !(rows || PyDict_Check(other)))
        Py_RETURN_NOTIMPLEMENTED;
    PyObject *mine = row_dict(self);
    PyObject *theirs = rows ? row_dict(other) : Py_NewRef(other);
    PyObject *answer =
        mine == NULL || theirs == NULL ? NULL : PyObject_RichCompare(mine, theirs, op);
    Py_XDECREF(mine);
    Py_XDECREF(theirs);
    return answer;
}

static PyObject *row_repr(PyObject *self)
{
    PyObject *dict = row_dict(self);
    PyObject *text = dict == NULL ? NULL : PyUnicode_FromFormat("Row(%R)", dict);
    Py_XDECREF(dict);
    return text;
}

static PyObject *row_update(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct row *row = (struct row *)self;
    PyObject *given = NULL;
    if (!PyArg_ParseTuple(args, "|O:update", &given))
        return NULL;
    PyObject *values = PyDict_New();
    if (values == NULL || (given != NULL && PyDict_Update(values, given) < 0) ||
        (kwargs != NULL && PyDict_Update(values, kwargs) < 0)) {
        Py_XDECREF(values);
        return NULL;
    }
    PyObject *bookmark = PyObject_CallMethodObjArgs(row->table, state_of(self)->str_row_update,
                                                    row->bookmark, values, NULL);
    Py_DECREF(values);
    if (bookmark == NULL)
        return NULL;
    if (!PyBytes_Check(bookmark)) {
        Py_DECREF(bookmark);
        PyErr_SetString(PyExc_TypeError, "_row_update has to return bytes");
        return NULL;
    }
    Py_SETREF(row->bookmark, bookmark);
    Py_CLEAR(row->values);
    Py_RETURN_NONE;
}

static PyObject *row_delete(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct row *row = (struct row *)self;
    return PyObject_CallMethodOneArg(row->table, state_of(self)->str_row_delete, row->bookmark);
}

static PyMethodDef row_methods[] = {
    {"keys", row_keys, METH_NOARGS, "keys() -> list of column names."},
    {"values", row_values, METH_NOARGS, "values() -> list of values."},
    {"items", row_items, METH_NOARGS, "items() -> list of (name, value)."},
    {"get", (PyCFunction)(void (*)(void))row_get, METH_FASTCALL,
     "get(name, default=None) -> value, default when there is no such column."},
    {"update", (PyCFunction)(void (*)(void))row_update, METH_VARARGS | METH_KEYWORDS,
     "update(values=None, \\*\\*columns): write these columns of the record; the row then shows the "
     "record as it is now.\n\n"
     "Outside a transaction this is a durable commit of its own. RecordDeletedError, "
     "WriteConflictError, KeyDuplicateError."},
    {"delete", row_delete, METH_NOARGS,
     "delete(): delete the record. Outside a transaction a durable commit of its own. "
     "RecordDeletedError, WriteConflictError."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef row_members[] = {
    {"bookmark", T_OBJECT_EX, offsetof(struct row, bookmark), READONLY,
     "bytes: the record's bookmark"},
    {"table", T_OBJECT_EX, offsetof(struct row, table), READONLY, "the table"},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot row_slots[] = {
    {Py_tp_dealloc, row_dealloc},
    {Py_tp_traverse, row_traverse},
    {Py_tp_clear, row_clear},
    {Py_mp_length, row_length},
    {Py_mp_subscript, row_subscript},
    {Py_sq_contains, row_contains},
    {Py_tp_iter, row_iter},
    {Py_tp_richcompare, row_compare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_repr, row_repr},
    {Py_tp_methods, row_methods},
    {Py_tp_members, row_members},
    {Py_tp_doc,
     "One record as a mapping from column names to values; what was read when it was read."},
    {0, NULL},
};
PyType_Spec py_row_spec = {"pyjet._jet.Row", sizeof(struct row), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_MAPPING |
                               Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           row_slots};
