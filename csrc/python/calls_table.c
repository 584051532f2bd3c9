/* Calls that define tables, columns and indexes, and that tell about them. */
#include "python/state.h"

/* ---- structures from tuples. All texts and bytes belong to objects that the caller holds through
 * the call. ---- */
static bool text_of(PyObject *keep, PyObject *text, char **out)
{
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    if (bytes == NULL)
        return false;
    int ok = PyList_Append(keep, bytes);
    Py_DECREF(bytes);
    *out = PyBytes_AS_STRING(bytes);
    if (ok == 0 && strlen(*out) != (size_t)PyBytes_GET_SIZE(bytes)) {
        PyErr_SetString(PyExc_ValueError, "a name holds a NUL character");
        return false;
    }
    return ok == 0;
}

static bool is_tuple(PyObject *item)
{
    if (!PyTuple_Check(item))
        PyErr_SetString(PyExc_TypeError, "a column or index is described by a tuple");
    return PyTuple_Check(item);
}

/* (name, coltyp, grbit, code page, cbMax, default or None) */
static bool column_of(PyObject *keep, PyObject *item, JET_COLUMNCREATE_A *c)
{
    PyObject *name, *def;
    unsigned coltyp, grbit, code_page, most;
    if (!is_tuple(item) ||
        !PyArg_ParseTuple(item, "UO&O&O&O&O:column", &name, py_number32, &coltyp, py_number32, &grbit, py_number32,
                          &code_page, py_number32, &most, &def))
        return false;
    memset(c, 0, sizeof(*c));
    c->cbStruct = sizeof(*c);
    c->coltyp = coltyp;
    c->grbit = grbit;
    c->cp = code_page;
    c->cbMax = most;
    if (def != Py_None) {
        if (!PyBytes_Check(def)) {
            PyErr_SetString(PyExc_TypeError, "a default is bytes or None");
            return false;
        }
        c->pvDefault = PyBytes_AS_STRING(def);
        c->cbDefault = (uint32_t)PyBytes_GET_SIZE(def);
    }
    return text_of(keep, name, &c->szColumnName);
}

/* (name, key as "+a\0-b\0\0", grbit, density, largest key or 0) */
static bool index_of(PyObject *keep, PyObject *item, JET_INDEXCREATE_A *x)
{
    PyObject *name, *key;
    unsigned grbit, density, most;
    if (!is_tuple(item) ||
        !PyArg_ParseTuple(item, "USO&O&O&:index", &name, &key, py_number32, &grbit, py_number32, &density, py_number32,
                          &most))
        return false;
    memset(x, 0, sizeof(*x));
    x->cbStruct = sizeof(*x);
    x->szKey = PyBytes_AS_STRING(key);
    x->cbKey = (uint32_t)PyBytes_GET_SIZE(key);
    x->grbit = grbit | (most != 0 ? JET_bitIndexKeyMost : 0);
    x->ulDensity = density;
    x->cbKeyMost = most;
    return text_of(keep, name, &x->szIndexName);
}

static void *array_of(PyObject *tuple, size_t size)
{
    void *p = PyMem_Calloc((size_t)PyTuple_GET_SIZE(tuple) + 1, size);
    if (p == NULL)
        PyErr_NoMemory();
    return p;
}

static bool fill_columns(PyObject *keep, PyObject *columns, JET_COLUMNCREATE_A *to)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(columns); i++)
        if (!column_of(keep, PyTuple_GET_ITEM(columns, i), &to[i]))
            return false;
    return true;
}

static bool fill_indexes(PyObject *keep, PyObject *indexes, JET_INDEXCREATE_A *to)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(indexes); i++)
        if (!index_of(keep, PyTuple_GET_ITEM(indexes, i), &to[i]))
            return false;
    return true;
}

static PYFN(JetCreateTableColumnIndex)
{
    struct session *s;
    uint32_t dbid, pages = 0, density = 0, grbit = 0;
    const char *name;
    PyObject *columns, *indexes, *answer = NULL;
    ARGS("JetCreateTableColumnIndex session:S dbid:u name:s columns:o indexes:o pages:u= "
         "density:u= grbit:u=",
         &s, &dbid, &name, &columns, &indexes, &pages, &density, &grbit);
    PyObject *keep = PyList_New(0);
    columns = keep == NULL ? NULL : PySequence_Tuple(columns);
    indexes = columns == NULL ? NULL : PySequence_Tuple(indexes);
    JET_TABLECREATE_A t = {.cbStruct = sizeof(t),
                           .szTableName = (char *)name,
                           .ulPages = pages,
                           .ulDensity = density,
                           .grbit = grbit};
    if (indexes == NULL ||
        (t.rgcolumncreate = array_of(columns, sizeof(*t.rgcolumncreate))) == NULL ||
        (t.rgindexcreate = array_of(indexes, sizeof(*t.rgindexcreate))) == NULL ||
        !fill_columns(keep, columns, t.rgcolumncreate) ||
        !fill_indexes(keep, indexes, t.rgindexcreate))
        goto out;
    t.cColumns = (uint32_t)PyTuple_GET_SIZE(columns);
    t.cIndexes = (uint32_t)PyTuple_GET_SIZE(indexes);
    if (py_session_enter(args.st, s)) {
        JET_ERR err;
        AWAY(err, JetCreateTableColumnIndexA(s->id, dbid, &t));
        py_session_leave(s);
        answer = err < 0 ? raise_jet(args.st, err) : py_cursor_of_engine(args.st, s, t.tableid);
    }
out:
    PyMem_Free(t.rgcolumncreate);
    PyMem_Free(t.rgindexcreate);
    Py_XDECREF(keep);
    Py_XDECREF(columns);
    Py_XDECREF(indexes);
    args_drop(&args);
    return answer;
}

static PYFN(JetDeleteTable)
{
    struct session *s;
    uint32_t dbid;
    const char *name;
    ARGS("JetDeleteTable session:S dbid:u name:s", &s, &dbid, &name);
    JET_ERR err;
    SESSION_CALL(err, s, JetDeleteTable(s->id, dbid, name));
    FINISH(err);
}

static PYFN(JetRenameTable)
{
    struct session *s;
    uint32_t dbid;
    const char *name, *to;
    ARGS("JetRenameTable session:S dbid:u name:s new_name:s", &s, &dbid, &name, &to);
    JET_ERR err;
    SESSION_CALL(err, s, JetRenameTable(s->id, dbid, name, to));
    FINISH(err);
}

static PYFN(JetAddColumn)
{
    struct cursor *c;
    PyObject *column;
    ARGS("JetAddColumn cursor:C column:o", &c, &column);
    JET_COLUMNCREATE_A want;
    PyObject *keep = PyList_New(0);
    PyObject *answer = NULL;
    if (keep != NULL && column_of(keep, column, &want) && py_cursor_enter(args.st, c)) {
        JET_COLUMNDEF def = {.cbStruct = sizeof(def),
                             .coltyp = want.coltyp,
                             .cp = (uint16_t)want.cp,
                             .cbMax = want.cbMax,
                             .grbit = want.grbit};
        JET_COLUMNID id = 0;
        JET_ERR err;
        AWAY(err, JetAddColumn(c->session->id, c->id, want.szColumnName, &def, want.pvDefault,
                               want.cbDefault, &id));
        py_session_leave(c->session);
        answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLong(id);
    }
    Py_XDECREF(keep);
    args_drop(&args);
    return answer;
}

static PYFN(JetCreateIndex2)
{
    struct cursor *c;
    PyObject *index, *answer = NULL;
    ARGS("JetCreateIndex2 cursor:C index:o", &c, &index);
    JET_INDEXCREATE_A want;
    PyObject *keep = PyList_New(0);
    if (keep != NULL && index_of(keep, index, &want) && py_cursor_enter(args.st, c)) {
        JET_ERR err;
        AWAY(err, JetCreateIndex2A(c->session->id, c->id, &want, 1));
        py_session_leave(c->session);
        answer = py_done(args.st, err);
    }
    Py_XDECREF(keep);
    args_drop(&args);
    return answer;
}

#define CURSOR_NAME(name)                                                                          \
    static PYFN(name)                                                                              \
    {                                                                                              \
        struct cursor *c;                                                                          \
        const char *what;                                                                          \
        ARGS(#name " cursor:C name:s", &c, &what);                                                 \
        JET_ERR err;                                                                               \
        CURSOR_CALL(err, c, name(c->session->id, c->id, what));                                    \
        FINISH(err);                                                                               \
    }
CURSOR_NAME(JetDeleteColumn)
CURSOR_NAME(JetDeleteIndex)

static PYFN(JetRenameColumn)
{
    struct cursor *c;
    const char *name, *to;
    ARGS("JetRenameColumn cursor:C name:s new_name:s", &c, &name, &to);
    JET_ERR err;
    CURSOR_CALL(err, c, JetRenameColumn(c->session->id, c->id, name, to, 0));
    FINISH(err);
}

/* ---- telling ---- */
struct teller {
    struct state *st;
    PyObject *list;
};

static JET_ERR tell(struct teller *t, PyObject *item, struct visit *visit)
{
    if (item != NULL && PyList_Append(t->list, item) < 0)
        Py_CLEAR(item);
    bool ok = item != NULL;
    Py_XDECREF(item);
    /* an exception stays with the thread state and is raised after the call */
    visit_end(visit);
    return ok ? JET_errSuccess : JET_errCallbackFailed;
}

static JET_ERR tell_table(void *context, const PYJET_TABLE *x)
{
    struct teller *t = context;
    struct visit visit;
    if (!visit_begin(t->st->interpreter, &visit))
        return JET_errOutOfMemory;
    return tell(
        t, Py_BuildValue("(sIIIII)", x->name, x->objid, x->root, x->flags, x->pages, x->density),
        &visit);
}

static JET_ERR tell_column(void *context, const PYJET_COLUMN *x)
{
    struct teller *t = context;
    struct visit visit;
    if (!visit_begin(t->st->interpreter, &visit))
        return JET_errOutOfMemory;
    return tell(t,
                Py_BuildValue("(sIIIIIy#)", x->name, (unsigned)x->columnid, (unsigned)x->coltyp,
                              (unsigned)x->grbit, (unsigned)x->cp, (unsigned)x->cbMax,
                              (const char *)x->pvDefault, (Py_ssize_t)x->cbDefault),
                &visit);
}

static JET_ERR tell_index(void *context, const PYJET_INDEX *x)
{
    struct teller *t = context;
    struct visit visit;
    if (!visit_begin(t->st->interpreter, &visit))
        return JET_errOutOfMemory;
    PyObject *segments = PyList_New(0);
    for (uint32_t i = 0; segments != NULL && i < x->cSegments && i < 16; i++) {
        PyObject *pair = Py_BuildValue("(Ii)", (unsigned)x->segment[i], (int)x->descending[i]);
        if (pair == NULL || PyList_Append(segments, pair) < 0)
            Py_CLEAR(segments);
        Py_XDECREF(pair);
    }
    PyObject *item = segments == NULL
                         ? NULL
                         : Py_BuildValue("(sIIIIIIsN)", x->name, (unsigned)x->grbit, x->cbKeyMost,
                                         x->density, x->flags, x->objid, x->root,
                                         x->locale != NULL ? x->locale : "", segments);
    return tell(t, item, &visit);
}

static PyObject *told(struct args *a, struct teller *t, JET_ERR err)
{
    PyObject *list = t->list;
    if (PyErr_Occurred() || err < 0) {
        Py_CLEAR(list);
        if (!PyErr_Occurred())
            raise_jet(a->st, err);
    }
    args_drop(a);
    return list;
}

static PYFN(visit_tables)
{
    struct session *s;
    uint32_t dbid;
    ARGS("visit_tables session:S dbid:u", &s, &dbid);
    struct teller t = {args.st, PyList_New(0)};
    JET_ERR err = JET_errOutOfMemory;
    if (t.list != NULL && py_session_enter(args.st, s)) {
        AWAY(err, PyjetVisitTables(s->id, dbid, tell_table, &t));
        py_session_leave(s);
    }
    return told(&args, &t, err);
}

static PyObject *visit_cursor(struct args *a, struct cursor *c, bool columns)
{
    struct teller t = {a->st, PyList_New(0)};
    JET_ERR err = JET_errOutOfMemory;
    if (t.list != NULL && py_cursor_enter(a->st, c)) {
        if (columns)
            AWAY(err, PyjetVisitColumns(c->session->id, c->id, tell_column, &t));
        else
            AWAY(err, PyjetVisitIndexes(c->session->id, c->id, tell_index, &t));
        py_session_leave(c->session);
    }
    return told(a, &t, err);
}

static PYFN(visit_columns)
{
    struct cursor *c;
    ARGS("visit_columns cursor:C", &c);
    return visit_cursor(&args, c, true);
}

static PYFN(visit_indexes)
{
    struct cursor *c;
    ARGS("visit_indexes cursor:C", &c);
    return visit_cursor(&args, c, false);
}

PyMethodDef table_calls[] = {
    METHOD(JetCreateTableColumnIndex,
           "JetCreateTableColumnIndex(session, dbid, name, columns, indexes, pages=0, density=0, "
           "grbit=0) -> Cursor, exclusive.\n\n"
           "columns: (name, coltyp, grbit, code page, cbMax, default bytes or None); indexes: "
           "(name, b'+a\\0-b\\0\\0', grbit, density, cbKeyMost)."),
    METHOD(JetDeleteTable,
           "JetDeleteTable(session, dbid, name). TableInUseError while cursors are open."),
    METHOD(JetRenameTable, "JetRenameTable(session, dbid, name, new_name)."),
    METHOD(JetAddColumn,
           "JetAddColumn(cursor, (name, coltyp, grbit, code page, cbMax, default)) -> columnid."),
    METHOD(JetDeleteColumn, "JetDeleteColumn(cursor, name)."),
    METHOD(JetRenameColumn, "JetRenameColumn(cursor, name, new_name)."),
    METHOD(
        JetCreateIndex2,
        "JetCreateIndex2(cursor, (name, key, grbit, density, cbKeyMost)): also on a filled table."),
    METHOD(JetDeleteIndex, "JetDeleteIndex(cursor, name)."),
    METHOD(visit_tables,
           "visit_tables(session, dbid) -> list of (name, objid, root, flags, pages, density)."),
    METHOD(visit_columns, "visit_columns(cursor) -> list of (name, columnid, coltyp, grbit, code "
                          "page, cbMax, default or None)."),
    METHOD(visit_indexes, "visit_indexes(cursor) -> list of (name, grbit, cbKeyMost, density, "
                          "flags, objid, root, locale, [(columnid, descending)])."),
    {NULL, NULL, 0, NULL},
};
