/* Arguments of a call by position or name, from one line that tells names and kinds. */
#include "python/state.h"

static PyTypeObject *handle_type(struct state *st, char kind)
{
    return kind == 'I' ? st->instance_type : kind == 'S' ? st->session_type : st->cursor_type;
}

/* One of our handles, or an object of pyjet that has one as its attribute `handle`. */
static bool take_handle(struct args *a, char kind, PyObject *value, void *slot)
{
    PyTypeObject *type = handle_type(a->st, kind);
    PyObject *handle = Py_NewRef(value);
    if (!Py_IS_TYPE(value, type)) {
        Py_DECREF(handle);
        handle = PyObject_GetAttr(value, a->st->str_handle);
        if (handle == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError))
            return false; /* raised by code of the object's own */
        if (handle == NULL || !Py_IS_TYPE(handle, type)) {
            Py_XDECREF(handle);
            PyErr_Format(PyExc_TypeError, "expected a handle of type %s, got %s", type->tp_name,
                         Py_TYPE(value)->tp_name);
            return false;
        }
    }
    a->held[a->held_count++] = handle;
    *(PyObject **)slot = handle;
    return true;
}

int py_number32(PyObject *value, void *to)
{
    PyObject *number = PyNumber_Index(value);
    if (number == NULL)
        return 0;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow != 0 || n < 0 || n > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "number is negative or too large");
        return 0;
    }
    *(unsigned *)to = (unsigned)n;
    return 1;
}

static bool take_number(char kind, PyObject *value, void *slot)
{
    PyObject *number = PyNumber_Index(value);
    if (number == NULL)
        return false;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    bool fits = overflow == 0 && (kind == 'i'   ? n >= INT32_MIN && n <= INT32_MAX
                                  : kind == 'u' ? n >= 0 && n <= UINT32_MAX
                                                : true);
    if (!fits) {
        PyErr_SetString(PyExc_OverflowError, kind == 'i' ? "number does not fit 32 bits"
                                                         : "number is negative or too large");
        return false;
    }
    if (kind == 'i')
        *(int32_t *)slot = (int32_t)n;
    else if (kind == 'u')
        *(uint32_t *)slot = (uint32_t)n;
    else
        *(int64_t *)slot = n;
    return true;
}

static bool take_text(struct args *a, char kind, PyObject *value, void *slot)
{
    if (value == Py_None) {
        *(const char **)slot = NULL;
        return true;
    }
    PyObject *bytes = NULL;
    if (kind == 'p') {
        if (!PyUnicode_FSConverter(value, &bytes))
            return false;
    } else {
        if (!PyUnicode_Check(value)) {
            PyErr_Format(PyExc_TypeError, "expected str, got %s", Py_TYPE(value)->tp_name);
            return false;
        }
        bytes = PyUnicode_AsUTF8String(value);
        if (bytes == NULL)
            return false;
        if (strlen(PyBytes_AS_STRING(bytes)) != (size_t)PyBytes_GET_SIZE(bytes)) {
            Py_DECREF(bytes);
            PyErr_SetString(PyExc_ValueError, "text holds a NUL character");
            return false;
        }
    }
    a->held[a->held_count++] = bytes;
    *(const char **)slot = PyBytes_AS_STRING(bytes);
    return true;
}

static bool take_bytes(struct args *a, PyObject *value, void *slot)
{
    struct bytes_view *view = slot;
    *view = (struct bytes_view){NULL, 0, true};
    if (value == Py_None)
        return true;
    Py_buffer *buffer = &a->buffers[a->buffer_count];
    if (PyObject_GetBuffer(value, buffer, PyBUF_SIMPLE) < 0)
        return false;
    a->buffer_count++;
    if (buffer->len > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "more than 2 GiB in one value");
        return false;
    }
    *view = (struct bytes_view){buffer->buf, (uint32_t)buffer->len, false};
    return true;
}

static bool take_one(struct args *a, char kind, PyObject *value, void *slot)
{
    switch (kind) {
    case 'I':
    case 'S':
    case 'C':
        return take_handle(a, kind, value, slot);
    case 's':
    case 'p':
        return take_text(a, kind, value, slot);
    case 'b':
        return take_bytes(a, value, slot);
    case 'o':
        *(PyObject **)slot = value;
        return true;
    default:
        return take_number(kind, value, slot);
    }
}

static PyObject *find_named(PyObject *const *values, Py_ssize_t count, PyObject *names,
                            const char *name, size_t size, Py_ssize_t *used)
{
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        Py_ssize_t length;
        const char *given = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(names, i), &length);
        if (given == NULL)
            PyErr_Clear(); /* a name with surrogates is none of ours */
        if (given != NULL && (size_t)length == size && memcmp(given, name, size) == 0) {
            ++*used;
            return values[count + i];
        }
    }
    return NULL;
}

bool args_take(struct args *a, PyObject *module, const char *spec, PyObject *const *values,
               Py_ssize_t count, PyObject *names, ...)
{
    memset(a, 0, sizeof(*a));
    a->st = state_of_module(module);
    const char *p = strchr(spec, ' ');
    int function_length = (int)(p == NULL ? strlen(spec) : (size_t)(p - spec));
    Py_ssize_t position = 0, used = 0;
    bool ok = true;
    va_list list;
    va_start(list, names);
    while (ok && p != NULL && *p == ' ') {
        const char *name = ++p, *colon = strchr(p, ':');
        char kind = colon[1];
        bool optional = colon[2] == '=';
        void *slot = va_arg(list, void *);
        PyObject *named = find_named(values, count, names, name, (size_t)(colon - name), &used);
        PyObject *value = position < count ? values[position] : named;
        if (position < count && named != NULL) {
            PyErr_Format(PyExc_TypeError, "%.*s() got '%.*s' twice", function_length, spec,
                         (int)(colon - name), name);
            ok = false;
        } else if (value != NULL)
            ok = take_one(a, kind, value, slot);
        else if (!optional) {
            PyErr_Format(PyExc_TypeError, "%.*s() lacks its argument '%.*s'", function_length, spec,
                         (int)(colon - name), name);
            ok = false;
        }
        position++;
        p = colon + (optional ? 3 : 2);
    }
    va_end(list);
    if (ok && (count > position || (names != NULL && used != PyTuple_GET_SIZE(names)))) {
        PyErr_Format(PyExc_TypeError, "%.*s() got too many arguments, or one that it does not know",
                     function_length, spec);
        ok = false;
    }
    if (!ok)
        args_drop(a);
    return ok;
}

void args_drop(struct args *a)
{
    while (a->held_count > 0)
        Py_DECREF(a->held[--a->held_count]);
    while (a->buffer_count > 0)
        PyBuffer_Release(&a->buffers[--a->buffer_count]);
}
