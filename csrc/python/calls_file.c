/* Calls about files without an instance: read-only opening, checking, headers. */
#include "python/state.h"

static PYFN(open_file)
{
    const char *path;
    uint32_t grbit = 0;
    ARGS("open_file path:p grbit:u=", &path, &grbit);
    JET_SESID id = JET_sesidNil;
    JET_DBID dbid = JET_dbidNil;
    JET_ERR err;
    AWAY(err, PyjetOpenFile(path, grbit, &id, &dbid));
    PyObject *session = err < 0 ? raise_jet(args.st, err) : py_session_of_engine(args.st, NULL, id);
    if (session != NULL)
        ((struct session *)session)->file_dbid = dbid;
    args_drop(&args);
    return session;
}

struct findings {
    struct state *st;
    PyObject *callable; /* NULL: only counted */
    PyObject *type, *value, *traceback;
};

static JET_ERR tell_finding(void *context, const PYJET_FINDING *x)
{
    struct findings *f = context;
    if (f->type != NULL)
        return JET_errCallbackFailed;
    struct visit visit;
    if (!visit_begin(f->st->interpreter, &visit))
        return JET_errOutOfMemory;
    PyObject *answer = NULL;
    if (PyErr_CheckSignals() == 0)
        answer = f->callable == NULL || x == NULL
                     ? Py_NewRef(Py_None)
                     : PyObject_CallFunction(f->callable, "iIIzz", (int)x->kind, x->pgno, x->objid,
                                             x->table, x->text);
    if (answer == NULL)
        PyErr_Fetch(&f->type, &f->value, &f->traceback);
    Py_XDECREF(answer);
    visit_end(&visit);
    return f->type == NULL ? JET_errSuccess : JET_errCallbackFailed;
}

static PYFN(check_file)
{
    const char *path;
    PyObject *callable = Py_None;
    uint32_t grbit = 0;
    ARGS("check_file path:p grbit:u= finding:o=", &path, &grbit, &callable);
    struct findings f = {.st = args.st, .callable = callable == Py_None ? NULL : callable};
    PYJET_CHECK sum = {0};
    JET_ERR err;
    AWAY(err, PyjetCheckFile(path, grbit | PYJET_bitCheckAlive, tell_finding, &f, &sum));
    PyObject *answer = NULL;
    if (f.type != NULL)
        PyErr_Restore(f.type, f.value, f.traceback);
    else if (err < 0)
        raise_jet(args.st, err);
    else
        answer =
            Py_BuildValue("{sKsKsKsKsKsKsKsKsKsKsK}", "pages", sum.pages, "pages_used",
                          sum.pages_used, "pages_available", sum.pages_available, "pages_leaked",
                          sum.pages_leaked, "trees", sum.trees, "tables", sum.tables, "records",
                          sum.records, "index_entries", sum.index_entries, "long_values",
                          sum.long_values, "findings", sum.findings, "notes", sum.notes);
    args_drop(&args);
    return answer;
}

static PYFN(dump_header)
{
    const char *path;
    ARGS("dump_header path:p", &path);
    char *text = NULL;
    JET_ERR err;
    AWAY(err, PyjetDumpHeader(path, &text));
    PyObject *answer = err < 0 ? raise_jet(args.st, err)
                               : PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (text != NULL)
        JetFreeBuffer(text);
    args_drop(&args);
    return answer;
}

/* ---- for tests ---- */
static PYFN(set_fault)
{
    uint32_t ops, delay = 0;
    const char *part = NULL;
    int64_t after = 0, times = 1;
    int32_t error = 0;
    ARGS("set_fault ops:u path_part:s= after:l= times:l= error:i= delay_ms:u=", &ops, &part, &after,
         &times, &error, &delay);
    PYJET_FAULT fault = {.ops = ops,
                         .path_part = part,
                         .after = (uint64_t)after,
                         .count = (uint64_t)times,
                         .error = error,
                         .delay_ms = delay};
    PyjetSetFault(ops == 0 ? NULL : &fault);
    args_drop(&args);
    Py_RETURN_NONE;
}

static PyObject *fault_hits(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyLong_FromUnsignedLongLong(PyjetFaultHits());
}

static PYFN(record_start)
{
    const char *dir, *trace;
    ARGS("record_start dir:p trace:p", &dir, &trace);
    JET_ERR err = PyjetRecordStart(dir, trace);
    FINISH(err);
}

static PyObject *record_stop(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyjetRecordStop();
    Py_RETURN_NONE;
}

static PYFN(record_mark)
{
    const char *text;
    ARGS("record_mark text:s", &text);
    PyjetRecordMark(text);
    args_drop(&args);
    Py_RETURN_NONE;
}

PyMethodDef file_calls[] = {
    METHOD(open_file, "open_file(path, grbit=0) -> Session of a read-only file; its database is "
                      "session.file_dbid."),
    METHOD(check_file, "check_file(path, grbit=0, finding=None) -> dict; finding(kind, pgno, "
                       "objid, table, text) for each."),
    METHOD(dump_header, "dump_header(path) -> JSON text: header of a database, log or checkpoint."),
    METHOD(set_fault, "For tests: set_fault(ops, path_part=None, after=0, times=1, error=0, "
                      "delay_ms=0); ops 0 turns it off."),
    {"fault_hits", fault_hits, METH_NOARGS, "For tests: how often the fault has struck."},
    METHOD(record_start, "For tests: record_start(dir, trace): writes below dir go to the trace."),
    {"record_stop", record_stop, METH_NOARGS, "For tests."},
    METHOD(record_mark, "For tests: record_mark(text)."),
    {NULL, NULL, 0, NULL},
};
