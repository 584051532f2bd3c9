/* Column bytes to Python objects and back. Bytes from disk may be anything: a value that does not
 * have the size of its type comes out as bytes. */
#include "python/convert.h"

#include <string.h>

/* ---- memory ---- */
struct arena_block {
    struct arena_block *next;
    size_t size, used;
    _Alignas(16) unsigned char data[];
};
#define BLOCK_SIZE 32768

static struct arena_block *add_block(struct arena *a, size_t size)
{
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct arena_block *b = PyMem_RawMalloc(sizeof(*b) + room);
    if (b == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *b = (struct arena_block){.next = a->blocks, .size = room};
    return a->blocks = b;
}

static inline void *take(struct arena *a, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct arena_block *b = a->blocks;
    if ((b == NULL || b->size - b->used < size) && (b = add_block(a, size)) == NULL)
        return NULL;
    void *p = b->data + b->used;
    b->used += size;
    return p;
}

void *py_arena_take(struct arena *a, size_t size)
{
    return take(a, size);
}

bool py_arena_hold(struct arena *a, PyObject *object)
{
    if (a->held_count == a->held_room) {
        uint32_t room = a->held_room == 0 ? 64 : a->held_room * 2;
        PyObject **held = PyMem_RawRealloc(a->held, room * sizeof(*held));
        if (held == NULL) {
            PyErr_NoMemory();
            return false;
        }
        a->held = held;
        a->held_room = room;
    }
    a->held[a->held_count++] = Py_NewRef(object);
    return true;
}

static void free_blocks(struct arena_block *b)
{
    while (b != NULL) {
        struct arena_block *next = b->next;
        PyMem_RawFree(b);
        b = next;
    }
}

void py_arena_reset(struct arena *a)
{
    while (a->held_count > 0)
        Py_DECREF(a->held[--a->held_count]);
    a->bytes = 0;
    struct arena_block *b = a->blocks;
    if (b == NULL)
        return;
    free_blocks(b->next);
    b->next = NULL;
    b->used = 0;
    if (b->size > BLOCK_SIZE) {
        PyMem_RawFree(b);
        a->blocks = NULL;
    }
}

void py_arena_clear(struct arena *a)
{
    py_arena_reset(a);
    free_blocks(a->blocks);
    PyMem_RawFree(a->held);
    memset(a, 0, sizeof(*a));
}

/* ---- code page 1252: 0x80-0x9f; 0 = the byte itself, as Windows does for the five holes ---- */
static const uint16_t high_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

static int byte_1252(Py_UCS4 c)
{
    if (c < 0x80 || (c >= 0xa0 && c < 0x100))
        return (int)c;
    for (int i = 0; i < 32; i++)
        if (high_1252[i] == c || (high_1252[i] == 0 && c == (Py_UCS4)(0x80 + i)))
            return 0x80 + i;
    return -1;
}

static bool text_to_1252(PyObject *value, unsigned char *to)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(value);
    if (PyUnicode_IS_ASCII(value)) {
        memcpy(to, PyUnicode_1BYTE_DATA(value), (size_t)n);
        return true;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        int b = byte_1252(PyUnicode_READ_CHAR(value, i));
        if (b < 0) {
            char hex[16]; /* Python's own formats know %X from 3.12 on */
            snprintf(hex, sizeof(hex), "%04X", (unsigned)PyUnicode_READ_CHAR(value, i));
            PyErr_Format(
                PyExc_ValueError,
                "character U+%s at %zd is not in code page 1252: use Text() without ascii=True",
                hex, i);
            return false;
        }
        to[i] = (unsigned char)b;
    }
    return true;
}

static PyObject *text_from_1252(const unsigned char *p, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && (p[i] < 0x80 || p[i] >= 0xa0))
        i++;
    if (i == n)
        return PyUnicode_DecodeLatin1((const char *)p, n, NULL);
    PyObject *text = PyUnicode_New(n, 0xffff);
    for (i = 0; text != NULL && i < n; i++) {
        uint16_t high = p[i] >= 0x80 && p[i] < 0xa0 ? high_1252[p[i] - 0x80] : 0;
        PyUnicode_WRITE(PyUnicode_2BYTE_KIND, PyUnicode_DATA(text), i, high != 0 ? high : p[i]);
    }
    if (text == NULL)
        return NULL;
    /* a text that needs no wide character has to be stored narrow, or it equals nothing */
    PyObject *narrow = PyUnicode_FromKindAndData(PyUnicode_2BYTE_KIND, PyUnicode_DATA(text), n);
    Py_DECREF(text);
    return narrow;
}

/* ---- UTF-16 ---- */
static PyObject *text_from_16(const unsigned char *p, uint32_t cb)
{
    uint32_t n = cb / 2, i = 0;
    unsigned seen = 0;
    for (; i < n; i++)
        seen |= (unsigned)p[2 * i + 1] << 8 | p[2 * i];
    if (seen < 0x80) {
        PyObject *text = PyUnicode_New(n, 0x7f);
        for (i = 0; text != NULL && i < n; i++)
            PyUnicode_1BYTE_DATA(text)[i] = p[2 * i];
        return text;
    }
    int order = -1;
    return PyUnicode_DecodeUTF16((const char *)p, cb, "surrogatepass", &order);
}

static size_t units_16(PyObject *value)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(value), more = 0;
    if (PyUnicode_KIND(value) == PyUnicode_4BYTE_KIND)
        for (Py_ssize_t i = 0; i < n; i++)
            more += PyUnicode_READ_CHAR(value, i) > 0xffff;
    return (size_t)(n + more);
}

static void widen(const Py_UCS1 *restrict from, Py_ssize_t n, uint16_t *restrict to)
{
    Py_ssize_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++) /* a fixed number: one or two instructions */
            to[i + k] = from[i + k];
    for (; i < n; i++)
        to[i] = from[i];
}

static void text_to_16(PyObject *value, uint16_t *to)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(value);
    if (PyUnicode_KIND(value) == PyUnicode_1BYTE_KIND) {
        widen(PyUnicode_1BYTE_DATA(value), n, to);
        return;
    }
    if (PyUnicode_KIND(value) == PyUnicode_2BYTE_KIND) {
        memcpy(to, PyUnicode_2BYTE_DATA(value), (size_t)n * 2);
        return;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(value, i);
        if (c > 0xffff) {
            *to++ = (uint16_t)(0xd7c0 + (c >> 10));
            *to++ = (uint16_t)(0xdc00 + (c & 0x3ff));
        } else
            *to++ = (uint16_t)c;
    }
}

/* ---- to cells ---- */
static inline bool put(struct arena *a, const void *bytes, size_t size, PYJET_CELL *cell)
{
    void *p = take(a, size == 0 ? 1 : size);
    if (p == NULL)
        return false;
    if (size > 0)
        memcpy(p, bytes, size);
    a->bytes += size;
    *cell = (PYJET_CELL){.pv = p, .cb = (uint32_t)size};
    return true;
}

/* Nobody wants to read a number of many digits, and Python refuses to write one of thousands. */
static void complain_of_size(const struct plan_column *column, PyObject *value)
{
    PyObject *text = PyObject_Str(value);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        text = PyUnicode_FromString("a number of thousands of digits");
    }
    if (text != NULL)
        PyErr_Format(PyExc_OverflowError, "%.100U%s does not fit the %d-bit column %R", text,
                     PyUnicode_GET_LENGTH(text) > 100 ? "..." : "", column->size * 8, column->name);
    Py_XDECREF(text);
}

static bool from_int(struct arena *a, const struct plan_column *column, PyObject *value,
                     PYJET_CELL *cell)
{
    PyObject *number = PyNumber_Index(value);
    if (number == NULL)
        return false;
    int overflow = 0;
    uint64_t bits;
    bool fits;
    if (!column->is_signed && column->size == 8) {
        bits = PyLong_AsUnsignedLongLong(number);
        fits = !(bits == (uint64_t)-1 && PyErr_Occurred());
        PyErr_Clear();
    } else {
        long long n = PyLong_AsLongLongAndOverflow(number, &overflow);
        int width = column->size * 8;
        fits = overflow == 0;
        if (column->is_signed)
            fits = fits && (width == 64 ||
                            (n >= -(INT64_C(1) << (width - 1)) && n < INT64_C(1) << (width - 1)));
        else
            fits = fits && n >= 0 && n < INT64_C(1) << width;
        bits = (uint64_t)n;
    }
    Py_DECREF(number);
    if (fits)
        return put(a, &bits, column->size,
                   cell); /* little-endian, as the file and every machine of ours */
    complain_of_size(column, value);
    return false;
}

static bool from_double(struct arena *a, const struct plan_column *column, double value,
                        PYJET_CELL *cell)
{
    float single = (float)value;
    return column->kind == KIND_SINGLE ? put(a, &single, 4, cell) : put(a, &value, 8, cell);
}

/* Short ones are copied, so that what they lay in can be used again at once. */
static bool from_plain_bytes(struct arena *a, PyObject *value, PYJET_CELL *cell)
{
    size_t size = (size_t)PyBytes_GET_SIZE(value);
    if (size <= 256)
        return put(a, PyBytes_AS_STRING(value), size, cell);
    a->bytes += size;
    *cell = (PYJET_CELL){.pv = PyBytes_AS_STRING(value), .cb = (uint32_t)size};
    return py_arena_hold(a, value);
}

static bool from_bytes(struct arena *a, PyObject *value, PYJET_CELL *cell)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE) < 0)
        return false;
    bool ok = buffer.len <= INT32_MAX && put(a, buffer.buf, (size_t)buffer.len, cell);
    if (!ok && !PyErr_Occurred())
        PyErr_SetString(PyExc_OverflowError, "more than 2 GiB in one value");
    PyBuffer_Release(&buffer);
    return ok;
}

static bool from_text(struct arena *a, const struct plan_column *column, PyObject *value,
                      PYJET_CELL *cell)
{
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "expected str, got %s", Py_TYPE(value)->tp_name);
        return false;
    }
    bool wide = column->kind == KIND_TEXT16;
    size_t size = wide ? units_16(value) * 2 : (size_t)PyUnicode_GET_LENGTH(value);
    if (size > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "more than 2 GiB in one value");
        return false;
    }
    void *p = py_arena_take(a, size == 0 ? 1 : size);
    if (p == NULL || (!wide && !text_to_1252(value, p)))
        return false;
    if (wide)
        text_to_16(value, p);
    a->bytes += size;
    *cell = (PYJET_CELL){.pv = p, .cb = (uint32_t)size};
    return true;
}

static bool from_guid(struct state *st, struct arena *a, PyObject *value, PYJET_CELL *cell)
{
    int is = PyObject_IsInstance(value, st->uuid_type);
    if (is <= 0) {
        if (is == 0)
            PyErr_Format(PyExc_TypeError, "expected uuid.UUID, got %s", Py_TYPE(value)->tp_name);
        return false;
    }
    PyObject *bytes = PyObject_GetAttr(value, st->str_bytes_le);
    if (bytes == NULL)
        return false;
    bool good = PyBytes_Check(bytes) && PyBytes_GET_SIZE(bytes) == 16;
    if (!good)
        PyErr_Format(PyExc_TypeError, "bytes_le of a %s is no bytes object of 16", Py_TYPE(value)->tp_name);
    bool ok = good && put(a, PyBytes_AS_STRING(bytes), 16, cell);
    Py_DECREF(bytes);
    return ok;
}

static bool from_one(struct state *st, struct arena *a, const struct plan_column *column,
                     PyObject *value, PYJET_CELL *cell)
{
    double number;
    uint64_t ticks;
    unsigned char bit;
    switch ((enum column_kind)column->kind) {
    case KIND_BIT: {
        int truth = PyObject_IsTrue(value);
        bit = truth > 0 ? 0xff : 0;
        return truth >= 0 && put(a, &bit, 1, cell);
    }
    case KIND_INT:
        return from_int(a, column, value, cell);
    case KIND_SINGLE:
    case KIND_DOUBLE:
        number = PyFloat_AsDouble(value);
        return !(number == -1.0 && PyErr_Occurred()) && from_double(a, column, number, cell);
    case KIND_DATE:
        return ole_from_date(st, value, &number) && put(a, &number, 8, cell);
    case KIND_FILETIME:
        return filetime_from_date(st, value, &ticks) && put(a, &ticks, 8, cell);
    case KIND_BYTES:
        return from_bytes(a, value, cell);
    case KIND_GUID:
        return from_guid(st, a, value, cell);
    default:
        return from_text(a, column, value, cell);
    }
}

/* Python's own complaint does not know the column: say it. A class of the caller's stays what it is; what a value's own code has
 * raised is the cause. */
static void name_column(const struct plan_column *column)
{
    if (PyErr_Occurred() != PyExc_TypeError)
        return;
    PyObject *type, *value, *traceback, *named_type, *named, *named_traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_Format(PyExc_TypeError, "column %R: %S", column->name, value);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        PyErr_Fetch(&named_type, &named, &named_traceback);
        PyErr_NormalizeException(&named_type, &named, &named_traceback);
        PyException_SetCause(named, Py_NewRef(value));
        PyErr_Restore(named_type, named, named_traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

static bool from_many(struct state *st, struct arena *a, const struct plan_column *column,
                      PyObject *list, PYJET_CELL *cell)
{
    PyObject *items = PySequence_Tuple(list);
    if (items == NULL)
        return false;
    Py_ssize_t n = PyTuple_GET_SIZE(items);
    bool ok = true;
    if (n == 0)
        *cell = (PYJET_CELL){.null = 1};
    else if (n == 1)
        ok = py_cell_from(st, a, column, PyTuple_GET_ITEM(items, 0), cell);
    else {
        PYJET_CELL *cells = py_arena_take(a, (size_t)n * sizeof(*cells));
        ok = cells != NULL;
        for (Py_ssize_t i = 0; ok && i < n; i++) {
            PyObject *item = PyTuple_GET_ITEM(items, i);
            if (item == Py_None) {
                PyErr_Format(PyExc_ValueError, "column %R: one of several values cannot be None",
                             column->name);
                ok = false;
            } else
                ok = from_one(st, a, column, item, &cells[i]);
        }
        *cell = (PYJET_CELL){
            .pv = cells, .cb = (uint32_t)((size_t)n * sizeof(*cells)), .values = (uint32_t)n};
    }
    Py_DECREF(items);
    return ok;
}

static bool from_other(struct state *st, struct arena *a, const struct plan_column *column,
                       PyObject *value, PYJET_CELL *cell)
{
    bool ok = column->multi && (PyList_Check(value) || PyTuple_Check(value))
                  ? from_many(st, a, column, value, cell)
                  : from_one(st, a, column, value, cell);
    if (!ok)
        name_column(column);
    return ok;
}

bool py_cell_from(struct state *st, struct arena *a, const struct plan_column *column,
                  PyObject *value, PYJET_CELL *cell)
{
    if (value == Py_None) {
        *cell = (PYJET_CELL){.null = 1};
        return true;
    }
    if (column->kind == KIND_BYTES && PyBytes_CheckExact(value) &&
        PyBytes_GET_SIZE(value) <= INT32_MAX)
        return from_plain_bytes(a, value, cell);
    return from_other(st, a, column, value, cell);
}

/* ---- from cells ---- */
static PyObject *int_from(const struct plan_column *column, const unsigned char *p)
{
    uint64_t bits = 0;
    memcpy(&bits, p, column->size);
    if (!column->is_signed)
        return PyLong_FromUnsignedLongLong(bits);
    int away = 64 - column->size * 8;
    return PyLong_FromLongLong((int64_t)(bits << away) >> away);
}

static PyObject *guid_from(struct state *st, const unsigned char *p)
{
    PyObject *names = PyTuple_Pack(1, st->str_bytes_le);
    PyObject *values[2] = {NULL, PyBytes_FromStringAndSize((const char *)p, 16)};
    PyObject *guid = NULL;
    if (names != NULL && values[1] != NULL)
        guid = PyObject_Vectorcall(st->uuid_type, values + 1, 0 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                   names);
    Py_XDECREF(names);
    Py_XDECREF(values[1]);
    return guid;
}

static PyObject *to_one(struct state *st, const struct plan_column *column, const PYJET_CELL *cell)
{
    const unsigned char *p = cell->pv;
    double number;
    float single;
    uint64_t ticks;
    if ((column->size != 0 && cell->cb != column->size) ||
        (column->kind == KIND_TEXT16 && cell->cb % 2 != 0))
        return PyBytes_FromStringAndSize((const char *)p, cell->cb);
    switch ((enum column_kind)column->kind) {
    case KIND_BIT:
        return PyBool_FromLong(*p != 0);
    case KIND_INT:
        return int_from(column, p);
    case KIND_SINGLE:
        memcpy(&single, p, 4);
        return PyFloat_FromDouble(single);
    case KIND_DOUBLE:
    case KIND_DATE:
        memcpy(&number, p, 8);
        return column->kind == KIND_DATE ? date_from_ole(number) : PyFloat_FromDouble(number);
    case KIND_FILETIME:
        memcpy(&ticks, p, 8);
        return date_from_filetime(ticks);
    case KIND_TEXT16:
        return text_from_16(p, cell->cb);
    case KIND_TEXT1252:
        return text_from_1252(p, cell->cb);
    case KIND_GUID:
        return guid_from(st, p);
    default:
        return PyBytes_FromStringAndSize((const char *)p, cell->cb);
    }
}

PyObject *py_cell_to(struct state *st, const struct plan_column *column, const PYJET_CELL *cell)
{
    if (cell->null)
        Py_RETURN_NONE;
    if (cell->values <= 1 && !column->multi)
        return to_one(st, column, cell);
    const PYJET_CELL *cells = cell->values > 1 ? cell->pv : cell;
    Py_ssize_t n = cell->values > 1 ? cell->values : 1;
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list != NULL && i < n; i++) {
        PyObject *item = cells[i].null ? Py_NewRef(Py_None) : to_one(st, column, &cells[i]);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    return list;
}
