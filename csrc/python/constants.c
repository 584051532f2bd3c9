/* JET_... constants as attributes of the module: grbits, information levels, parameters, column
 * types, error codes. */
#include "python/state.h"

static const struct {
    const char *name;
    long long value;
} constants[] = {
#define JET_CONSTANT(name) {#name, (long long)(name)},
#include "python/constants.def"
#undef JET_CONSTANT
#define JET_PARAM(name, id, kind, scope, dflt, min, max, when, text) {#name, id},
#include "include/jet_params.def"
#undef JET_PARAM
#define JET_ERROR(name, value, category, text) {#name, value},
#define JET_ERROR_ALIAS(name, value) {#name, value},
#include "include/jet_errors.def"
#undef JET_ERROR
#undef JET_ERROR_ALIAS
    {"PYJET_paramDoubleWrite", PYJET_paramDoubleWrite},
    {"PYJET_paramVersionStoreBytes", PYJET_paramVersionStoreBytes},
    {"PYJET_paramBackupReadRetries", PYJET_paramBackupReadRetries},
    {"PYJET_paramRandomSteal", PYJET_paramRandomSteal},
    {"PYJET_paramPageWriterOff", PYJET_paramPageWriterOff},
    {"PYJET_bitAllowDirty", PYJET_bitAllowDirty},
};

static const struct {
    const char *name, *kind, *scope, *dflt, *text;
    int id;
} params[] = {
#define JET_PARAM(name, id, kind, scope, dflt, min, max, when, text)                               \
    {#name, kind, scope, dflt, text, id},
#include "include/jet_params.def"
#undef JET_PARAM
};

static int add_params(PyObject *module)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < sizeof(params) / sizeof(*params); i++) {
        PyObject *item = Py_BuildValue("(sissss)", params[i].name, params[i].id, params[i].kind,
                                       params[i].scope, params[i].dflt, params[i].text);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    int ok = list == NULL ? -1 : PyModule_AddObjectRef(module, "PARAMETERS", list);
    Py_XDECREF(list);
    return ok;
}

int constants_add(PyObject *module)
{
    for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++) {
        PyObject *value = constants[i].value == -1 && strstr(constants[i].name, "Nil") != NULL
                              ? PyLong_FromUnsignedLongLong(UINT64_MAX)
                              : PyLong_FromLongLong(constants[i].value);
        if (value == NULL)
            return -1;
        int ok = PyModule_AddObjectRef(module, constants[i].name, value);
        Py_DECREF(value);
        if (ok < 0)
            return -1;
    }
    return add_params(module);
}
