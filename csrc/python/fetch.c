/* Reading rows: one by key, many in batches. */
#include "python/fetch.h"

#define BATCH_FIRST 16
#define BATCH_MOST 256

/* ---- rows in batches ---- */
struct rows {
    PyObject_HEAD struct cursor *cursor; /* this iterator's own */
    struct plan *plan;
    PyObject *table, *release; /* release(): called once, at the end */
    PYJET_CELL *cells, *bookmarks;
    uint32_t batch, have, at;
    bool backwards, finished, running;
};

PyObject *py_rows(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *names)
{
    struct cursor *cursor;
    PyObject *plan, *table, *release;
    int32_t backwards = 0;
    ARGS("rows cursor:C plan:o table:o release:o backwards:i=", &cursor, &plan, &table, &release,
         &backwards);
    struct rows *r = NULL;
    if (!Py_IS_TYPE(plan, args.st->plan_type))
        PyErr_SetString(PyExc_TypeError, "expected a Plan");
    else
        r = PyObject_GC_New(struct rows, args.st->rows_type);
    if (r != NULL) {
        memset((char *)r + sizeof(PyObject), 0, sizeof(*r) - sizeof(PyObject));
        r->cursor = (struct cursor *)Py_NewRef((PyObject *)cursor);
        r->plan = (struct plan *)Py_NewRef(plan);
        r->table = Py_NewRef(table);
        r->release = release == Py_None ? NULL : Py_NewRef(release);
        r->backwards = backwards != 0;
        PyObject_GC_Track(r);
    }
    args_drop(&args);
    return (PyObject *)r;
}

static int finish(struct rows *r)
{
    r->finished = true;
    r->have = r->at = 0;
    PyObject *release = r->release;
    r->release = NULL;
    if (release == NULL)
        return 0;
    PyObject *answer = PyObject_CallNoArgs(release);
    Py_DECREF(release);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

static bool grow(struct rows *r)
{
    uint32_t want = r->batch == 0            ? BATCH_FIRST
                    : r->batch >= BATCH_MOST ? BATCH_MOST
                                             : r->batch * 4;
    if (want == r->batch)
        return true;
    size_t cells = (size_t)want * (r->plan->count + 1);
    PYJET_CELL *memory = PyMem_RawRealloc(r->cells, cells * sizeof(*memory));
    if (memory == NULL) {
        PyErr_NoMemory();
        return false;
    }
    r->cells = memory;
    r->bookmarks = memory + (size_t)want * r->plan->count;
    r->batch = want;
    return true;
}

/* A column that another session has deleted: the table's next iterator does without it. */
static void reload_schema(struct rows *r)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *done =
        r->table == NULL ? NULL : PyObject_CallMethod(r->table, "_reload_schema", NULL);
    Py_XDECREF(done);
    PyErr_Clear(); /* what is raised is the error of the rows */
    PyErr_Restore(type, value, traceback);
}

static bool fetch(struct state *st, struct rows *r)
{
    if (PyErr_CheckSignals() < 0 || !grow(r) || !py_cursor_enter(st, r->cursor))
        return false;
    JET_ERR err;
    uint32_t n = r->batch;
    struct cursor *c = r->cursor;
    AWAY(err, PyjetFetchRows(c->session->id, c->id, r->plan->ids, r->plan->count, r->backwards,
                             r->cells, r->bookmarks, &n));
    py_session_leave(c->session);
    r->at = 0;
    r->have = err < 0 ? 0 : n;
    if (err < 0 && err != JET_errNoCurrentRecord)
        raise_jet(st, err);
    if (err == JET_errColumnNotFound)
        reload_schema(r);
    return !(err < 0 && err != JET_errNoCurrentRecord);
}

/* Cells live until the cursor's next call, or its end. Values may be made by Python code, other threads run meanwhile: the session is
 * entered, so that nobody ends it or its transaction. */
static PyObject *make_row(struct state *st, struct rows *r)
{
    if (!py_cursor_enter(st, r->cursor))
        return NULL;
    PyObject *row = py_row_new(st, r->plan, r->table, &r->bookmarks[r->at]);
    if (row != NULL && !py_row_fill(st, row, &r->cells[(size_t)r->at * r->plan->count]))
        Py_CLEAR(row);
    py_session_leave(r->cursor->session);
    return row;
}

static PyObject *next_row(struct state *st, struct rows *r)
{
    if (r->at == r->have && !fetch(st, r))
        return NULL;
    if (r->at == r->have)
        return NULL;
    if (r->cursor->closed || r->cursor->session->ended)
        return raise_jet_detail(st, JET_errInvalidTableId,
                                "the session ended while its rows were read");
    PyObject *row = make_row(st, r);
    r->at++;
    return row;
}

static PyObject *rows_next(PyObject *self)
{
    struct rows *r = (struct rows *)self;
    if (r->finished)
        return NULL;
    struct state *st = state_of(self);
    if (r->running)
        return raise_jet_detail(st, JET_errSessionSharingViolation,
                                "the iterator is being read by another thread");
    r->running = true;
    PyObject *row = next_row(st, r);
    r->running = false;
    if (row != NULL)
        return row;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (finish(r) < 0 && type != NULL)
        PyErr_Clear();
    if (type != NULL)
        PyErr_Restore(type, value, traceback);
    return NULL;
}

static PyObject *rows_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct rows *r = (struct rows *)self;
    if (r->running)
        return raise_jet_detail(state_of(self), JET_errSessionSharingViolation, "a row of the iterator is being read");
    if (!r->finished && finish(r) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *rows_exit(PyObject *self, PyObject *args)
{
    (void)args;
    return rows_close(self, NULL);
}

static PyObject *rows_self(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static void rows_finalize(PyObject *self)
{
    struct rows *r = (struct rows *)self;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!r->finished && finish(r) < 0)
        PyErr_WriteUnraisable(self);
    PyErr_Restore(type, value, traceback);
}

static int rows_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct rows *r = (struct rows *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(r->table);
    Py_VISIT(r->release);
    return 0;
}

static int rows_clear(PyObject *self)
{
    struct rows *r = (struct rows *)self;
    Py_CLEAR(r->table);
    Py_CLEAR(r->release);
    return 0;
}

static void rows_dealloc(PyObject *self)
{
    struct rows *r = (struct rows *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    PyMem_RawFree(r->cells);
    Py_XDECREF(r->table);
    Py_XDECREF(r->release);
    Py_XDECREF(r->plan);
    Py_XDECREF(r->cursor);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef rows_methods[] = {
    {"close", rows_close, METH_NOARGS, "close(): give up the rows not read yet, and the snapshot."},
    {"__enter__", rows_self, METH_NOARGS, NULL},
    {"__exit__", rows_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot rows_slots[] = {
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_finalize, rows_finalize},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_clear, rows_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, rows_next},
    {Py_tp_methods, rows_methods},
    {Py_tp_doc, "Iterator of Row over one snapshot; a context manager that closes it."},
    {0, NULL},
};
PyType_Spec py_rows_spec = {
    "pyjet._jet.Rows", sizeof(struct rows), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, rows_slots};

/* ---- keys ---- */
bool py_key_cells(struct state *st, struct arena *arena, struct plan *keys, PyObject *key,
                  PYJET_CELL *cells)
{
    if (!PyTuple_Check(key) || PyTuple_GET_SIZE(key) > keys->count) {
        PyErr_Format(PyExc_TypeError, "the index has %u columns: give at most so many values",
                     (unsigned)keys->count);
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++) {
        if (!py_cell_from(st, arena, &keys->columns[i], PyTuple_GET_ITEM(key, i), &cells[i]))
            return false;
        if (cells[i].values > 1) {
            PyErr_SetString(PyExc_TypeError, "a key takes one value a column");
            return false;
        }
    }
    return true;
}

static JET_ERR make_key(struct cursor *c, const PYJET_CELL *cells, uint32_t n, JET_GRBIT last)
{
    for (uint32_t i = 0; i < n; i++) {
        JET_GRBIT grbit = (i == 0 ? JET_bitNewKey : 0) | (i + 1 == n ? last : 0);
        if (!cells[i].null && cells[i].cb == 0)
            grbit |= JET_bitKeyDataZeroLength;
        JET_ERR err = JetMakeKey(c->session->id, c->id, cells[i].null ? NULL : cells[i].pv,
                                 cells[i].cb, grbit);
        if (err < 0)
            return err;
    }
    return JET_errSuccess;
}

struct span {
    PYJET_CELL low[JET_ccolKeyMost], high[JET_ccolKeyMost];
    uint32_t low_count, high_count;
    JET_GRBIT low_limit, high_limit; /* limit bits of the last key column */
    bool inclusive, backwards;
};

static JET_ERR set_forward(struct cursor *c, const struct span *s)
{
    JET_SESID ses = c->session->id;
    JET_ERR err;
    if (s->low_count == 0)
        err = JetMove(ses, c->id, JET_MoveFirst, 0);
    else if ((err = make_key(c, s->low, s->low_count, s->low_limit)) >= 0)
        err = JetSeek(ses, c->id, JET_bitSeekGE);
    if (err < 0 || s->high_count == 0)
        return err;
    if ((err = make_key(c, s->high, s->high_count, s->high_limit)) < 0)
        return err;
    return JetSetIndexRange(ses, c->id,
                            JET_bitRangeUpperLimit | (s->inclusive ? JET_bitRangeInclusive : 0));
}

static JET_ERR set_backward(struct cursor *c, const struct span *s)
{
    JET_SESID ses = c->session->id;
    JET_ERR err;
    if (s->high_count == 0)
        err = JetMove(ses, c->id, JET_MoveLast, 0);
    else if ((err = make_key(c, s->high, s->high_count, s->high_limit)) >= 0)
        err = JetSeek(ses, c->id, s->inclusive ? JET_bitSeekLE : JET_bitSeekLT);
    if (err < 0 || s->low_count == 0)
        return err;
    if ((err = make_key(c, s->low, s->low_count, s->low_limit)) < 0)
        return err;
    return JetSetIndexRange(ses, c->id, JET_bitRangeInclusive);
}

/* span(cursor, keys, low, high, inclusive, prefix, backwards) -> bool: stand on its first row.
 * prefix 1: low is a prefix of the key, as whole columns; 2: its last column is a prefix too. Keys
 * of bytes are padded with zeros, so that a prefix may stand before bytes that it is none of: what
 * begins with it begins (3), in descending order ends (4), with the prefix itself. */
PyObject *py_span(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *names)
{
    struct cursor *cursor;
    PyObject *keys, *low, *high;
    int32_t inclusive, prefix, backwards;
    ARGS("span cursor:C keys:o low:o high:o inclusive:i prefix:i backwards:i", &cursor, &keys, &low,
         &high, &inclusive, &prefix, &backwards);
    struct span s = {.inclusive = inclusive != 0 || prefix != 0, .backwards = backwards != 0};
    struct arena arena = {0};
    JET_ERR err = JET_errSuccess;
    PyObject *answer = NULL;
    if (!Py_IS_TYPE(keys, args.st->plan_type) || ((struct plan *)keys)->count > JET_ccolKeyMost) {
        PyErr_SetString(PyExc_TypeError, "expected the Plan of an index");
        goto out;
    }
    if (!py_key_cells(args.st, &arena, (struct plan *)keys, low, s.low) ||
        !py_key_cells(args.st, &arena, (struct plan *)keys, high, s.high))
        goto out;
    s.low_count = (uint32_t)PyTuple_GET_SIZE(low);
    s.high_count = (uint32_t)PyTuple_GET_SIZE(high);
    /* A key of fewer columns is a prefix by itself; only an end that is to be included needs a
     * limit bit. */
    if (prefix == 2 || prefix == 4)
        s.low_limit = JET_bitPartialColumnStartLimit;
    if (prefix == 2 || prefix == 3)
        s.high_limit = JET_bitPartialColumnEndLimit;
    else if (s.inclusive && s.high_count < ((struct plan *)keys)->count)
        s.high_limit = JET_bitFullColumnEndLimit;
    if (!py_cursor_enter(args.st, cursor))
        goto out;
    AWAY(err, s.backwards ? set_backward(cursor, &s) : set_forward(cursor, &s));
    py_session_leave(cursor->session);
    if (err >= 0 || err == JET_errNoCurrentRecord || err == JET_errRecordNotFound)
        answer = PyBool_FromLong(err >= 0);
    else
        raise_jet(args.st, err);
out:
    py_arena_clear(&arena);
    args_drop(&args);
    return answer;
}

/* ---- one row ---- */
PyObject *py_get_one(struct state *st, struct cursor *c, const PYJET_CELL *key, uint32_t n,
                     const struct wanted *w)
{
    struct plan *plan = w->plan;
    PYJET_CELL few[32], bookmark = {0}, *cells = few;
    if (plan->count > 32 && (cells = PyMem_RawCalloc(plan->count, sizeof(*cells))) == NULL)
        return PyErr_NoMemory();
    JET_ERR err;
    AWAY(err, PyjetGetRow(c->session->id, c->id, key, n, plan->ids, plan->count, cells, &bookmark));
    PyObject *answer = NULL;
    if (err == JET_errRecordNotFound && w->none)
        answer = Py_NewRef(Py_None);
    else if (err < 0)
        raise_jet(st, err);
    else
        answer = w->row != NULL ? Py_NewRef(w->row) : py_row_new(st, plan, w->table, &bookmark);
    if (answer != NULL && err >= 0 && !py_row_fill(st, answer, cells))
        Py_CLEAR(answer);
    if (cells != few)
        PyMem_RawFree(cells);
    return answer;
}

PyObject *py_get_row(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *names)
{
    struct cursor *cursor;
    PyObject *keys, *key, *plan, *table, *answer = NULL;
    ARGS("get_row cursor:C keys:o key:o plan:o table:o", &cursor, &keys, &key, &plan, &table);
    PYJET_CELL cells[JET_ccolKeyMost];
    struct arena arena = {0};
    if (!Py_IS_TYPE(keys, args.st->plan_type) || ((struct plan *)keys)->count > JET_ccolKeyMost ||
        !Py_IS_TYPE(plan, args.st->plan_type)) {
        PyErr_SetString(PyExc_TypeError, "expected Plans");
    } else if (py_key_cells(args.st, &arena, (struct plan *)keys, key, cells) &&
               py_cursor_enter(args.st, cursor)) {
        struct wanted wanted = {.plan = (struct plan *)plan, .table = table};
        answer = py_get_one(args.st, cursor, cells, (uint32_t)PyTuple_GET_SIZE(key), &wanted);
        py_session_leave(cursor->session);
    }
    py_arena_clear(&arena);
    args_drop(&args);
    return answer;
}

/* The row under the cursor. */
PyObject *py_current_row(PyObject *module, PyObject *const *values, Py_ssize_t count,
                         PyObject *names)
{
    struct cursor *cursor;
    PyObject *plan, *table, *answer = NULL;
    ARGS("current_row cursor:C plan:o table:o", &cursor, &plan, &table);
    if (!Py_IS_TYPE(plan, args.st->plan_type))
        PyErr_SetString(PyExc_TypeError, "expected a Plan");
    else if (py_cursor_enter(args.st, cursor)) {
        struct wanted wanted = {.plan = (struct plan *)plan, .table = table};
        answer = py_get_one(args.st, cursor, NULL, 0, &wanted);
        py_session_leave(cursor->session);
    }
    args_drop(&args);
    return answer;
}

/* Reads the row's record anew, found by its bookmark. */
PyObject *py_load_row(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *names)
{
    struct cursor *cursor;
    PyObject *row, *answer = NULL;
    ARGS("load_row cursor:C row:o", &cursor, &row);
    if (!Py_IS_TYPE(row, args.st->row_type))
        PyErr_SetString(PyExc_TypeError, "expected a Row");
    else if (py_cursor_enter(args.st, cursor)) {
        JET_ERR err;
        PyObject *bookmark = py_row_bookmark(row);
        AWAY(err, JetGotoBookmark(cursor->session->id, cursor->id, PyBytes_AS_STRING(bookmark),
                                  (uint32_t)PyBytes_GET_SIZE(bookmark)));
        Py_DECREF(bookmark);
        struct wanted wanted = {.plan = py_row_plan(row), .row = row};
        answer = err < 0 ? raise_jet(args.st, err)
                         : py_get_one(args.st, cursor, NULL, 0, &wanted);
        py_session_leave(cursor->session);
    }
    args_drop(&args);
    return answer;
}
