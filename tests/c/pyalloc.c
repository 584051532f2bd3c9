/* A Python module of the tests only: the n-th allocation of this thread in the interpreter fails, and what is allocated is counted.
 * tests/crash/pywalk.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { DOMAINS = 3 };
static PyMemAllocatorEx real[DOMAINS];
static _Thread_local bool armed;
static uint64_t seen, hits, after, count;
static bool inside; /* of the extension: nearer than any Python code */
static const char *within; /* one of these, nearer than any Python code, or NULL. What each keeps when it fails: KEEPERS of pywalk.py */
static const char *const keepers[] = {"PyCell_New", "_PyTuple_Resize"};
static bool sparing, spared;
static _Atomic int64_t live;

/* CPython 3.11 dies when a dict's iterator has no memory for its tuple: PyTuple_Pack inside PyObject_GetIter, nothing of Python's between. */
static bool kills_cpython(void)
{
    void *frame[16];
    bool packs = false;
    int n = backtrace(frame, 16);
    for (int i = 0; i < n; i++) {
        Dl_info info;
        if (dladdr(frame[i], &info) == 0 || info.dli_sname == NULL)
            continue;
        packs = packs || strcmp(info.dli_sname, "PyTuple_Pack") == 0;
        if (strcmp(info.dli_sname, "PyObject_GetIter") == 0)
            return packs;
        if (strcmp(info.dli_sname, "_PyEval_EvalFrameDefault") == 0)
            return false;
    }
    return false;
}

static bool called_by_extension(void)
{
    void *frame[48];
    int n = backtrace(frame, 48);
    if (getenv("PYALLOC_TRACE") != NULL)
        backtrace_symbols_fd(frame, n, 2);
    for (int i = 0; i < n; i++) {
        Dl_info info;
        if (dladdr(frame[i], &info) == 0 || info.dli_fname == NULL)
            continue;
        if (strstr(info.dli_fname, "/_jet.") != NULL)
            return true;
        if (info.dli_sname == NULL)
            continue;
        for (size_t k = 0; k < sizeof(keepers) / sizeof(*keepers); k++)
            if (strcmp(info.dli_sname, keepers[k]) == 0)
                within = keepers[k];
        if (strcmp(info.dli_sname, "_PyEval_EvalFrameDefault") == 0)
            return false;
    }
    return false;
}

static bool no_memory(void)
{
    if (!armed)
        return false;
    uint64_t n = seen++;
    if (n < after || n - after >= count)
        return false;
    if (sparing) {
        armed = false;
        bool spare = kills_cpython();
        armed = true;
        spared = spared || spare;
        if (spare)
            return false;
    }
    if (hits++ == 0) {
        armed = false;
        inside = called_by_extension();
        armed = true;
    }
    return true;
}

static void *counted(void *p)
{
    live += p != NULL;
    return p;
}

static void *on_malloc(void *context, size_t n)
{
    PyMemAllocatorEx *a = context;
    return no_memory() ? NULL : counted(a->malloc(a->ctx, n));
}

static void *on_calloc(void *context, size_t n, size_t size)
{
    PyMemAllocatorEx *a = context;
    return no_memory() ? NULL : counted(a->calloc(a->ctx, n, size));
}

static void *on_realloc(void *context, void *p, size_t n)
{
    PyMemAllocatorEx *a = context;
    if (no_memory())
        return NULL;
    void *q = a->realloc(a->ctx, p, n);
    return p == NULL ? counted(q) : q;
}

static void on_free(void *context, void *p)
{
    PyMemAllocatorEx *a = context;
    live -= p != NULL;
    a->free(a->ctx, p);
}

static PyObject *install(PyObject *module, PyObject *unused)
{
    static const PyMemAllocatorDomain domain[DOMAINS] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
    (void)module, (void)unused;
    for (int i = 0; i < DOMAINS && real[i].malloc == NULL; i++) {
        PyMem_GetAllocator(domain[i], &real[i]);
        PyMemAllocatorEx ours = {&real[i], on_malloc, on_calloc, on_realloc, on_free};
        PyMem_SetAllocator(domain[i], &ours);
    }
    Py_RETURN_NONE;
}

static PyObject *fail(PyObject *module, PyObject *args)
{
    unsigned long long skip, n;
    (void)module;
    if (!PyArg_ParseTuple(args, "KK:fail", &skip, &n))
        return NULL;
    seen = hits = 0;
    inside = spared = false;
    within = NULL;
    after = skip;
    count = n;
    armed = true;
    Py_RETURN_NONE;
}

/* (allocations seen, failed; of the first that failed: whether it was asked for by the extension, within which keeper; whether one was
 * spared). Nothing fails from here on. */
static PyObject *stop(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    armed = false;
    return Py_BuildValue("KKNzN", (unsigned long long)seen, (unsigned long long)hits, PyBool_FromLong(inside), within,
                         PyBool_FromLong(spared));
}

static PyObject *spare(PyObject *module, PyObject *whether)
{
    (void)module;
    sparing = whether == Py_True;
    Py_RETURN_NONE;
}

static PyObject *blocks(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyLong_FromLongLong(live);
}

static PyMethodDef calls[] = {
    {"install", install, METH_NOARGS, "install(): from now on allocations are counted."},
    {"fail", fail, METH_VARARGS, "fail(after, count): so many allocations of this thread pass, then so many fail."},
    {"stop", stop, METH_NOARGS, "stop() -> (seen, failed, inside, within, spared)."},
    {"spare", spare, METH_O, "spare(bool): whether allocations whose failure kills CPython itself pass."},
    {"blocks", blocks, METH_NOARGS, "blocks() -> allocations less frees since install()."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "pyalloc", .m_size = -1, .m_methods = calls};

PyMODINIT_FUNC PyInit_pyalloc(void);
PyMODINIT_FUNC PyInit_pyalloc(void)
{
    return PyModule_Create(&definition);
}
