/* Changing rows: insert one, insert many in a loop of C, update and delete by bookmark. */
#include "python/fetch.h"

#define CHUNK_ROWS 1000
#define CHUNK_ROWS_INSIDE                                                                          \
    128 /* in a transaction of the caller's: how many rows one release of the GIL covers */
#define CHUNK_BYTES (16u << 20)

/* ---- rows waiting to be inserted ---- */
struct batch {
    struct arena arena;
    JET_COLUMNID *columns;
    PYJET_CELL *cells;
    uint32_t *starts; /* of each row in columns/cells, and the end */
    uint32_t rows, cell_count, cell_room, row_room;
    PyObject **guess; /* keys of the row before: dicts of one origin share them */
    int *guess_at;
    uint32_t guess_count, guess_room;
};

static bool batch_grow(struct batch *b, uint32_t more)
{
    if (b->rows + 2 > b->row_room) {
        uint32_t room = b->row_room == 0 ? 256 : b->row_room * 2;
        uint32_t *starts = PyMem_RawRealloc(b->starts, room * sizeof(*starts));
        if (starts == NULL)
            return PyErr_NoMemory(), false;
        b->starts = starts;
        b->row_room = room;
        b->starts[0] = 0;
    }
    if (b->cell_count + more <= b->cell_room)
        return true;
    uint32_t room = b->cell_room == 0 ? 1024 : b->cell_room;
    while (room < b->cell_count + more)
        room *= 2;
    JET_COLUMNID *columns = PyMem_RawRealloc(b->columns, room * sizeof(*columns));
    if (columns != NULL)
        b->columns = columns;
    PYJET_CELL *cells = PyMem_RawRealloc(b->cells, room * sizeof(*cells));
    if (cells != NULL)
        b->cells = cells;
    if (columns == NULL || cells == NULL)
        return PyErr_NoMemory(), false;
    b->cell_room = room;
    return true;
}

static inline bool batch_room(struct batch *b, uint32_t more)
{
    return (b->rows + 2 <= b->row_room && b->cell_count + more <= b->cell_room) ||
           batch_grow(b, more);
}

static void batch_reset(struct batch *b)
{
    py_arena_reset(&b->arena);
    b->rows = b->cell_count = 0;
}

static void batch_free(struct batch *b)
{
    py_arena_clear(&b->arena);
    PyMem_RawFree(b->columns);
    PyMem_RawFree(b->cells);
    PyMem_RawFree(b->starts);
    while (b->guess_count > 0)
        Py_DECREF(b->guess[--b->guess_count]);
    PyMem_RawFree(b->guess);
    PyMem_RawFree(b->guess_at);
}

static int find_column(struct state *st, struct batch *b, struct plan *plan, PyObject *name,
                       uint32_t i)
{
    if (i < b->guess_count && b->guess[i] == name)
        return b->guess_at[i];
    int at = plan_find(st, plan, name);
    if (at < 0 || i > b->guess_count)
        return at;
    if (i == b->guess_count) {
        if (b->guess_count == b->guess_room) {
            uint32_t room = b->guess_room == 0 ? 16 : b->guess_room * 2;
            PyObject **guess = PyMem_RawRealloc(b->guess, room * sizeof(*guess));
            if (guess != NULL)
                b->guess = guess;
            int *guess_at = PyMem_RawRealloc(b->guess_at, room * sizeof(*guess_at));
            if (guess_at != NULL)
                b->guess_at = guess_at;
            if (guess == NULL || guess_at == NULL)
                return at; /* no memory for the shortcut: go without */
            b->guess_room = room;
        }
        b->guess_count++;
    } else
        Py_DECREF(b->guess[i]);
    b->guess[i] = Py_NewRef(name);
    b->guess_at[i] = at;
    return at;
}

static bool batch_value(struct state *st, struct batch *b, struct plan *plan, int at,
                        PyObject *value)
{
    uint32_t n = b->cell_count;
    if (at < 0 || !py_cell_from(st, &b->arena, &plan->columns[at], value, &b->cells[n]))
        return false;
    b->columns[n] = plan->ids[at];
    b->cell_count++;
    return true;
}

static bool dict_changed(void)
{
    PyErr_SetString(PyExc_RuntimeError, "the dict changed while it was inserted");
    return false;
}

/* A converter may run Python code that changes the dict, in size or, with a key for a key, in what
 * comes next: never more values than there is room for, and none left out unseen. */
static bool dict_values(struct state *st, struct batch *b, struct plan *plan, PyObject *dict)
{
    Py_ssize_t size = PyDict_GET_SIZE(dict), position = 0, i = 0;
    PyObject *name, *value;
    bool ok = batch_room(b, (uint32_t)size);
    while (ok && PyDict_Next(dict, &position, &name, &value)) {
        Py_INCREF(name);
        Py_INCREF(value);
        ok = i < size ? batch_value(st, b, plan, find_column(st, b, plan, name, (uint32_t)i), value)
                      : dict_changed();
        Py_DECREF(name);
        Py_DECREF(value);
        if (ok && PyDict_GET_SIZE(dict) != size)
            ok = dict_changed();
        i++;
    }
    return ok && (i == size || dict_changed());
}

static bool batch_dict(struct state *st, struct batch *b, struct plan *plan, PyObject *dict)
{
    bool ok;
    Py_BEGIN_CRITICAL_SECTION(dict);
    ok = dict_values(st, b, plan, dict);
    Py_END_CRITICAL_SECTION();
    if (ok)
        b->starts[++b->rows] = b->cell_count;
    return ok;
}

static bool batch_sequence(struct state *st, struct batch *b, struct plan *plan, const int *order,
                           Py_ssize_t n, PyObject *row)
{
    PyObject *items = PySequence_Tuple(row);
    if (items == NULL || !batch_room(b, (uint32_t)n)) {
        Py_XDECREF(items);
        return false;
    }
    bool ok = PyTuple_GET_SIZE(items) == n;
    if (!ok)
        PyErr_Format(PyExc_ValueError, "a row has %zd values, %zd columns were named",
                     PyTuple_GET_SIZE(items), n);
    for (Py_ssize_t i = 0; ok && i < n; i++)
        ok = batch_value(st, b, plan, order[i], PyTuple_GET_ITEM(items, i));
    Py_DECREF(items);
    b->starts[++b->rows] = b->cell_count;
    return ok;
}

static bool batch_row(struct state *st, struct batch *b, struct plan *plan, const int *order,
                      Py_ssize_t n, PyObject *row)
{
    uint32_t rows = b->rows, cells = b->cell_count;
    bool ok;
    if (order != NULL)
        ok = batch_sequence(st, b, plan, order, n, row);
    else if (PyDict_CheckExact(row))
        ok = batch_dict(st, b, plan, row);
    else if (!PyMapping_Check(row) || PyUnicode_Check(row) || PyTuple_Check(row) ||
             PyList_Check(row)) {
        PyErr_Format(PyExc_TypeError, "expected a mapping, got %s: rows as sequences need columns=",
                     Py_TYPE(row)->tp_name);
        ok = false;
    } else {
        PyObject *dict = PyDict_New();
        ok = dict != NULL && PyDict_Update(dict, row) == 0 && batch_dict(st, b, plan, dict);
        Py_XDECREF(dict);
    }
    if (!ok) {
        b->rows = rows;
        b->cell_count = cells;
    }
    return ok;
}

/* The exception that is set tells which row it is about; CPython 3.10 has no notes, and of its
 * MemoryErrors one is kept and used again. */
static void note_row(struct state *st, uint64_t row)
{
    if (PyErr_Occurred() == PyExc_MemoryError)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *note =
        PyUnicode_FromFormat("row %llu of those given, counted from 0", (unsigned long long)row);
    PyObject *done = note == NULL ? NULL : PyObject_CallMethodOneArg(value, st->str_add_note, note);
    Py_XDECREF(done);
    Py_XDECREF(note);
    PyErr_Clear(); /* what is raised is the row's own */
    PyErr_Restore(type, value, traceback);
}

/* Outside a transaction the rows of a batch are one of their own. */
static bool flush(struct state *st, struct cursor *c, struct batch *b, uint64_t *inserted)
{
    if (b->rows == 0)
        return true;
    if (!py_cursor_enter(st, c))
        return false;
    JET_ERR err;
    uint32_t went;
    AWAY(err,
         PyjetInsertRows(c->session->id, c->id, b->columns, b->cells, b->starts, b->rows, &went));
    py_session_leave(c->session);
    if (err < 0) {
        raise_jet(st, err);
        if (went < b->rows)
            note_row(st, *inserted + went);
        return false;
    }
    *inserted += b->rows;
    batch_reset(b);
    return PyErr_CheckSignals() == 0;
}

static int *column_order(struct state *st, struct plan *plan, PyObject *columns, Py_ssize_t *n)
{
    PyObject *names = PySequence_Tuple(columns);
    if (names == NULL)
        return NULL;
    *n = PyTuple_GET_SIZE(names);
    int *order = PyMem_RawCalloc((size_t)*n + 1, sizeof(*order));
    for (Py_ssize_t i = 0; order != NULL && i < *n; i++)
        if ((order[i] = plan_find(st, plan, PyTuple_GET_ITEM(names, i))) < 0) {
            PyMem_RawFree(order);
            order = NULL;
        }
    if (order == NULL && !PyErr_Occurred())
        PyErr_NoMemory();
    Py_DECREF(names);
    return order;
}

static bool insert_all(struct state *st, struct cursor *c, struct plan *plan, PyObject *iterator,
                       const int *order, Py_ssize_t n, uint64_t *inserted)
{
    struct batch b = {0};
    PyObject *row;
    bool ok = true;
    while (ok && (row = PyIter_Next(iterator)) != NULL) {
        ok = batch_row(st, &b, plan, order, n, row);
        Py_DECREF(row);
        if (!ok)
            note_row(st, *inserted + b.rows);
        uint32_t most = c->session->level == 0 ? CHUNK_ROWS : CHUNK_ROWS_INSIDE;
        if (ok && (b.rows >= most || b.arena.bytes >= CHUNK_BYTES))
            ok = flush(st, c, &b, inserted);
    }
    ok = ok && !PyErr_Occurred() && flush(st, c, &b, inserted);
    batch_free(&b);
    return ok;
}

PyObject *py_insert_many(PyObject *module, PyObject *const *values, Py_ssize_t count,
                         PyObject *names)
{
    struct cursor *cursor;
    PyObject *plan, *rows, *columns = Py_None;
    ARGS("insert_many cursor:C plan:o rows:o columns:o=", &cursor, &plan, &rows, &columns);
    uint64_t inserted = 0;
    Py_ssize_t n = 0;
    int *order = NULL;
    PyObject *iterator = NULL;
    bool ok = false;
    if (!Py_IS_TYPE(plan, args.st->plan_type))
        PyErr_SetString(PyExc_TypeError, "expected a Plan");
    else if (columns == Py_None ||
             (order = column_order(args.st, (struct plan *)plan, columns, &n)) != NULL) {
        iterator = PyObject_GetIter(rows);
        ok = iterator != NULL &&
             insert_all(args.st, cursor, (struct plan *)plan, iterator, order, n, &inserted);
    }
    Py_XDECREF(iterator);
    PyMem_RawFree(order);
    args_drop(&args);
    return ok ? PyLong_FromUnsignedLongLong(inserted) : NULL;
}

/* insert_row(cursor, plan, values, table) -> Row, not loaded. */
PyObject *py_insert_row(PyObject *module, PyObject *const *values, Py_ssize_t count,
                        PyObject *names)
{
    struct cursor *cursor;
    PyObject *plan, *row, *table, *answer = NULL;
    ARGS("insert_row cursor:C plan:o values:o table:o", &cursor, &plan, &row, &table);
    struct batch b = {0};
    unsigned char bookmark[JET_cbBookmarkMostMost + 8];
    uint32_t size = 0;
    if (!Py_IS_TYPE(plan, args.st->plan_type))
        PyErr_SetString(PyExc_TypeError, "expected a Plan");
    else if (batch_row(args.st, &b, (struct plan *)plan, NULL, 0, row) &&
             py_cursor_enter(args.st, cursor)) {
        JET_ERR err;
        AWAY(err, PyjetInsertRow(cursor->session->id, cursor->id, b.columns, b.cells, b.cell_count,
                                 bookmark, sizeof(bookmark), &size));
        py_session_leave(cursor->session);
        PYJET_CELL cell = {.pv = bookmark, .cb = size};
        answer = err < 0 ? raise_jet(args.st, err)
                         : py_row_new(args.st, (struct plan *)plan, table, &cell);
    }
    batch_free(&b);
    args_drop(&args);
    return answer;
}

/* ---- update and delete by bookmark ---- */
static JET_ERR set_value(struct cursor *c, JET_COLUMNID id, const PYJET_CELL *cell,
                         uint32_t sequence)
{
    JET_SETINFO info = {.cbStruct = sizeof(info), .itagSequence = sequence};
    if (cell->null)
        return JetSetColumn(c->session->id, c->id, id, NULL, 0, 0, &info);
    return JetSetColumn(c->session->id, c->id, id, cell->pv, cell->cb,
                        cell->cb == 0 ? JET_bitSetZeroLength : 0, &info);
}

static JET_ERR count_values(struct cursor *c, JET_COLUMNID id, uint32_t *n)
{
    JET_RETRIEVECOLUMN ask = {.columnid = id,
                              .grbit = JET_bitRetrieveCopy | JET_bitRetrieveIgnoreDefault,
                              .itagSequence = 0};
    JET_ERR err = JetRetrieveColumns(c->session->id, c->id, &ask, 1);
    *n = err >= 0 ? ask.itagSequence : 0;
    return err;
}

/* All values of a column that may have several: the new ones over the old, and the rest of the old
 * removed from the end. */
static JET_ERR set_all_values(struct cursor *c, JET_COLUMNID id, const PYJET_CELL *cell)
{
    uint32_t old, n = cell->null ? 0 : cell->values > 1 ? cell->values : 1;
    const PYJET_CELL *cells = cell->values > 1 ? cell->pv : cell;
    JET_ERR err = count_values(c, id, &old);
    for (uint32_t i = 0; i < n && err >= 0; i++)
        err = set_value(c, id, &cells[i], i + 1);
    if (n == 0 && old == 0 && err >= 0)
        return set_value(c, id, cell, 1); /* NULL in place of a default */
    for (uint32_t i = old; i > n && err >= 0; i--)
        err = set_value(c, id, &(PYJET_CELL){.null = 1}, i);
    return err;
}

struct change {
    struct cursor *cursor;
    struct plan *plan;
    const struct batch *values;
    const void *bookmark;
    uint32_t bookmark_size;
    unsigned char after[JET_cbBookmarkMostMost + 8];
    uint32_t after_size;
};

static bool is_multi(const struct plan *plan, JET_COLUMNID id)
{
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->ids[i] == id)
            return plan->columns[i].multi;
    return false;
}

static JET_ERR update_record(struct change *u)
{
    struct cursor *c = u->cursor;
    JET_SESID ses = c->session->id;
    JET_ERR err = JetGotoBookmark(ses, c->id, (void *)u->bookmark, u->bookmark_size);
    if (err < 0 || (err = JetPrepareUpdate(ses, c->id, JET_prepReplace)) < 0) {
        py_keep_detail(err);
        return err;
    }
    for (uint32_t i = 0; i < u->values->cell_count && err >= 0; i++) {
        JET_COLUMNID id = u->values->columns[i];
        const PYJET_CELL *cell = &u->values->cells[i];
        err = is_multi(u->plan, id) ? set_all_values(c, id, cell) : set_value(c, id, cell, 1);
    }
    if (err >= 0)
        err = JetUpdate(ses, c->id, u->after, sizeof(u->after), &u->after_size);
    if (err < 0) {
        py_keep_detail(err);
        JetPrepareUpdate(ses, c->id, JET_prepCancel);
    }
    return err;
}

static JET_ERR in_own_transaction(struct change *u, JET_ERR (*fn)(struct change *u))
{
    struct session *s = u->cursor->session;
    if (s->level > 0)
        return fn(u);
    JET_ERR err = JetBeginTransaction(s->id);
    if (err < 0)
        return err;
    if ((err = fn(u)) >= 0 && (err = JetCommitTransaction(s->id, 0)) < 0)
        py_keep_detail(err);
    if (err < 0)
        JetRollback(s->id, 0);
    return err;
}

/* update_row(cursor, plan, bookmark, values) -> the bookmark afterwards. */
PyObject *py_update_row(PyObject *module, PyObject *const *values, Py_ssize_t count,
                        PyObject *names)
{
    struct cursor *cursor;
    PyObject *plan, *row, *answer = NULL;
    struct bytes_view bookmark;
    ARGS("update_row cursor:C plan:o bookmark:b values:o", &cursor, &plan, &bookmark, &row);
    struct batch b = {0};
    if (!Py_IS_TYPE(plan, args.st->plan_type))
        PyErr_SetString(PyExc_TypeError, "expected a Plan");
    else if (batch_row(args.st, &b, (struct plan *)plan, NULL, 0, row) &&
             py_cursor_enter(args.st, cursor)) {
        struct change u = {.cursor = cursor,
                           .plan = (struct plan *)plan,
                           .values = &b,
                           .bookmark = bookmark.pv,
                           .bookmark_size = bookmark.cb};
        JET_ERR err;
        AWAY(err, in_own_transaction(&u, update_record));
        py_session_leave(cursor->session);
        answer = err < 0 ? raise_jet(args.st, err)
                         : PyBytes_FromStringAndSize((const char *)u.after, u.after_size);
    }
    batch_free(&b);
    args_drop(&args);
    return answer;
}

static JET_ERR delete_record(struct change *u)
{
    struct cursor *c = u->cursor;
    JET_ERR err = JetGotoBookmark(c->session->id, c->id, (void *)u->bookmark, u->bookmark_size);
    if (err >= 0)
        err = JetDelete(c->session->id, c->id);
    if (err < 0)
        py_keep_detail(err);
    return err;
}

PyObject *py_delete_row(PyObject *module, PyObject *const *values, Py_ssize_t count,
                        PyObject *names)
{
    struct cursor *cursor;
    struct bytes_view bookmark;
    ARGS("delete_row cursor:C bookmark:b", &cursor, &bookmark);
    struct change u = {.cursor = cursor, .bookmark = bookmark.pv, .bookmark_size = bookmark.cb};
    JET_ERR err;
    CURSOR_CALL(err, cursor, in_own_transaction(&u, delete_record));
    FINISH(err);
}
