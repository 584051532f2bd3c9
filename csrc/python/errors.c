/* From JET_ERR to Python exceptions. The classes are built in pyjet/errors.py from error_list(). */
#include "python/state.h"

struct known_error {
    const char *name;
    JET_ERR code;
    const char *category, *text;
};
static const struct known_error known_errors[] = {
#define JET_ERROR(name, value, category, text) {#name, value, #category, text},
#define JET_ERROR_ALIAS(name, value) {#name, value, NULL, NULL},
#include "include/jet_errors.def"
#undef JET_ERROR
#undef JET_ERROR_ALIAS
};

PyObject *py_errors_list(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < sizeof(known_errors) / sizeof(*known_errors); i++) {
        const struct known_error *e = &known_errors[i];
        PyObject *entry = Py_BuildValue("(sizz)", e->name, (int)e->code, e->category, e->text);
        if (entry == NULL || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

PyObject *error_texts(PyObject *module, PyObject *code)
{
    (void)module;
    long err = PyLong_AsLong(code);
    if (err == -1 && PyErr_Occurred())
        return NULL;
    if (err < INT32_MIN || err > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a JET_ERR has 32 bits");
        return NULL;
    }
    return Py_BuildValue("(zzzz)", PyjetErrorName((JET_ERR)err), PyjetErrorText((JET_ERR)err),
                         PyjetErrorCategory((JET_ERR)err), PyjetErrorHint((JET_ERR)err));
}

PyObject *errors_install(PyObject *module, PyObject *args)
{
    struct state *st = state_of_module(module);
    PyObject *make, *fork_error;
    if (!PyArg_ParseTuple(args, "OO:install_errors", &make, &fork_error))
        return NULL;
    Py_XSETREF(st->make_error, Py_NewRef(make));
    Py_XSETREF(st->fork_error, Py_NewRef(fork_error));
    Py_RETURN_NONE;
}

static PyObject *raise_with(struct state *st, JET_ERR err, PyObject *detail)
{
    if (detail == NULL)
        return NULL;
    if (st->make_error == NULL)
        PyErr_Format(PyExc_RuntimeError, "%s (%d) %U", PyjetErrorName(err), (int)err, detail);
    else {
        PyObject *exception = PyObject_CallFunction(st->make_error, "iO", (int)err, detail);
        if (exception != NULL) {
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
            Py_DECREF(exception);
        }
    }
    Py_DECREF(detail);
    return NULL;
}

/* The engine's detail lives until the thread's next call: a rollback after an error would take it
 * away. */
static _Thread_local char kept_detail[1024];
static _Thread_local JET_ERR kept_for;

void py_keep_detail(JET_ERR err)
{
    const char *detail = PyjetErrorDetail(err);
    snprintf(kept_detail, sizeof(kept_detail), "%s", detail != NULL ? detail : "");
    kept_for = err;
}

PyObject *raise_jet(struct state *st, JET_ERR err)
{
    const char *detail = PyjetErrorDetail(err);
    if (detail == NULL || *detail == '\0')
        detail = kept_for == err ? kept_detail : "";
    kept_for = JET_errSuccess;
    return raise_with(st, err,
                      PyUnicode_DecodeUTF8(detail, (Py_ssize_t)strlen(detail), "surrogateescape"));
}

PyObject *raise_jet_detail(struct state *st, JET_ERR err, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    PyObject *detail = PyUnicode_FromFormatV(format, list);
    va_end(list);
    return raise_with(st, err, detail);
}

PyObject *py_done(struct state *st, JET_ERR err)
{
    if (err < 0)
        return raise_jet(st, err);
    if (err > 0)
        return PyLong_FromLong(err);
    Py_RETURN_NONE;
}
