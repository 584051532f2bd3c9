/* Plan: the columns of a table, or some of them, with the converter of each. */
#include "python/convert.h"

static bool choose(struct plan_column *c, unsigned coltyp, unsigned code_page, unsigned flags)
{
    c->multi = (flags & PLAN_MULTI) != 0;
#define INT(bytes, has_sign) (c->kind = KIND_INT, c->size = (bytes), c->is_signed = (has_sign))
    switch (coltyp) {
    case JET_coltypBit:
        c->kind = KIND_BIT, c->size = 1;
        break;
    case JET_coltypUnsignedByte:
        INT(1, false);
        break;
    case JET_coltypShort:
        INT(2, true);
        break;
    case JET_coltypUnsignedShort:
        INT(2, false);
        break;
    case JET_coltypLong:
        INT(4, true);
        break;
    case JET_coltypUnsignedLong:
        INT(4, false);
        break;
    case JET_coltypCurrency:
    case JET_coltypLongLong:
        INT(8, true);
        break;
    case JET_coltypUnsignedLongLong:
        INT(8, false);
        break;
    case JET_coltypIEEESingle:
        c->kind = KIND_SINGLE, c->size = 4;
        break;
    case JET_coltypIEEEDouble:
        c->kind = KIND_DOUBLE, c->size = 8;
        break;
    case JET_coltypDateTime:
        c->kind = flags & PLAN_FILETIME ? KIND_FILETIME : KIND_DATE, c->size = 8;
        break;
    case JET_coltypGUID:
        c->kind = KIND_GUID, c->size = 16;
        break;
    case JET_coltypText:
    case JET_coltypLongText:
        c->kind = code_page == 1200 ? KIND_TEXT16 : KIND_TEXT1252;
        break;
    default: /* Binary, LongBinary, and types of later files: bytes as they are */
        c->kind = KIND_BYTES;
        break;
    }
#undef INT
    return true;
}

int plan_find(struct state *st, struct plan *plan, PyObject *name)
{
    PyObject *at = PyDict_GetItemWithError(plan->by_name, name);
    if (at != NULL)
        return (int)PyLong_AsLong(at);
    if (!PyErr_Occurred())
        raise_jet_detail(st, JET_errColumnNotFound, "%R", name);
    return -1;
}

static bool add_column(struct plan *plan, uint32_t at, PyObject *item)
{
    struct plan_column *c = &plan->columns[at];
    PyObject *name;
    unsigned id, coltyp, code_page, flags;
    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a column of a Plan is a tuple");
        return false;
    }
    if (!PyArg_ParseTuple(item, "UO&O&O&O&:Plan", &name, py_number32, &id, py_number32, &coltyp, py_number32, &code_page,
                          py_number32, &flags))
        return false;
    c->name = Py_NewRef(name);
    PyUnicode_InternInPlace(&c->name);
    c->id = plan->ids[at] = id;
    PyTuple_SET_ITEM(plan->names, at, Py_NewRef(c->name));
    PyObject *number = PyLong_FromUnsignedLong(at);
    bool ok = number != NULL && PyDict_SetItem(plan->by_name, c->name, number) == 0;
    Py_XDECREF(number);
    return ok && choose(c, coltyp, code_page, flags);
}

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *list;
    static char *keywords[] = {"columns", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Plan", keywords, &list))
        return NULL;
    PyObject *items = PySequence_Tuple(list);
    struct plan *plan = items == NULL ? NULL : (struct plan *)type->tp_alloc(type, 0);
    if (plan == NULL) {
        Py_XDECREF(items);
        return NULL;
    }
    size_t n = (size_t)PyTuple_GET_SIZE(items);
    plan->columns = PyMem_Calloc(n + 1, sizeof(*plan->columns));
    plan->ids = PyMem_Calloc(n + 1, sizeof(*plan->ids));
    plan->names = PyTuple_New((Py_ssize_t)n);
    plan->by_name = PyDict_New();
    bool ok =
        plan->columns != NULL && plan->ids != NULL && plan->names != NULL && plan->by_name != NULL;
    if (!ok)
        PyErr_NoMemory();
    for (size_t i = 0; ok && i < n; i++, plan->count++)
        ok = add_column(plan, (uint32_t)i, PyTuple_GET_ITEM(items, (Py_ssize_t)i));
    Py_DECREF(items);
    if (!ok)
        Py_CLEAR(plan);
    return (PyObject *)plan;
}

static void plan_dealloc(PyObject *self)
{
    struct plan *plan = (struct plan *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_ssize_t n = plan->names == NULL ? 0 : PyTuple_GET_SIZE(plan->names);
    for (Py_ssize_t i = 0; plan->columns != NULL && i < n; i++)
        Py_XDECREF(plan->columns[i].name);
    PyMem_Free(plan->columns);
    PyMem_Free(plan->ids);
    Py_XDECREF(plan->names);
    Py_XDECREF(plan->by_name);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *plan_names(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((struct plan *)self)->names);
}

static PyObject *plan_encode(PyObject *self, PyObject *args)
{
    PyObject *name, *value;
    if (!PyArg_ParseTuple(args, "OO:encode", &name, &value))
        return NULL;
    struct state *st = state_of(self);
    int at = plan_find(st, (struct plan *)self, name);
    struct arena arena = {0};
    PYJET_CELL cell;
    PyObject *bytes = NULL;
    if (at >= 0 && py_cell_from(st, &arena, &((struct plan *)self)->columns[at], value, &cell))
        bytes = cell.null ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(cell.pv, cell.cb);
    py_arena_clear(&arena);
    return bytes;
}

static PyObject *plan_decode(PyObject *self, PyObject *args)
{
    PyObject *name;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "Oy*:decode", &name, &buffer))
        return NULL;
    struct state *st = state_of(self);
    int at = plan_find(st, (struct plan *)self, name);
    PYJET_CELL cell = {.pv = buffer.buf, .cb = (uint32_t)buffer.len};
    PyObject *value = at < 0 ? NULL : py_cell_to(st, &((struct plan *)self)->columns[at], &cell);
    PyBuffer_Release(&buffer);
    return value;
}

static PyMethodDef plan_methods[] = {
    {"encode", plan_encode, METH_VARARGS,
     "encode(name, value) -> the column's bytes, None for NULL."},
    {"decode", plan_decode, METH_VARARGS, "decode(name, bytes) -> the value."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef plan_getset[] = {
    {"names", plan_names, NULL, "tuple of column names", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot plan_slots[] = {
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_methods, plan_methods},
    {Py_tp_getset, plan_getset},
    {Py_tp_doc, "Plan(columns): columns as tuples (name, columnid, coltyp, code page, flags); "
                "flags: 1 several values, 2 FILETIME."},
    {0, NULL},
};
PyType_Spec py_plan_spec = {"pyjet._jet.Plan", sizeof(struct plan), 0, Py_TPFLAGS_DEFAULT,
                            plan_slots};
