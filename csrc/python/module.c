/* pyjet._jet: slots, state, the list of functions. */
#include "python/convert.h"
#include "python/state.h"

static struct PyModuleDef module_def;

struct state *state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

struct state *state_of(PyObject *self)
{
    return PyType_GetModuleState(Py_TYPE(self));
}

static PyObject *forked(PyObject *module, PyObject *unused)
{
    (void)unused;
    state_of_module(module)->epoch++;
    Py_RETURN_NONE;
}

static PyMethodDef own_calls[] = {
    {"error_list", py_errors_list, METH_NOARGS,
     "error_list() -> list of (name, code, category, text), aliases with text None."},
    {"error_texts", error_texts, METH_O,
     "error_texts(code) -> (name, text, category, hint) of any JET_ERR."},
    {"install_errors", errors_install, METH_VARARGS,
     "install_errors(make, fork_error): who makes exceptions."},
    {"install_events", events_install, METH_O,
     "install_events(callable or None): who is told the engine's events."},
    {"forked", forked, METH_NOARGS,
     "forked(): to be called in a forked child; its handles raise from then on."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (*slot == NULL && !PyErr_Occurred()) /* CPython 3.11 forgets to say so */
        PyErr_NoMemory();
    return *slot == NULL ? -1 : PyModule_AddType(module, *slot);
}

static int intern(PyObject **slot, const char *text)
{
    *slot = PyUnicode_InternFromString(text);
    return *slot == NULL ? -1 : 0;
}

static int add_strings(struct state *st)
{
    if (intern(&st->str_bytes_le, "bytes_le") < 0 || intern(&st->str_handle, "handle") < 0 ||
        intern(&st->str_astimezone, "astimezone") < 0 ||
        intern(&st->str_row_update, "_row_update") < 0 ||
        intern(&st->str_row_delete, "_row_delete") < 0 ||
        intern(&st->str_row_load, "_row_load") < 0 ||
        intern(&st->str_add_note, "add_note") < 0)
        return -1;
    PyObject *uuid = PyImport_ImportModule("uuid");
    if (uuid == NULL)
        return -1;
    st->uuid_type = PyObject_GetAttrString(uuid, "UUID");
    Py_DECREF(uuid);
    return st->uuid_type == NULL ? -1 : 0;
}

static int module_exec(PyObject *module)
{
    struct state *st = state_of_module(module);
    st->interpreter = PyInterpreterState_Get();
    PyMethodDef *lists[] = {own_calls,    instance_calls, session_calls, table_calls,
                            cursor_calls, backup_calls,   external_calls, file_calls,
                            snapshot_calls, recover_calls};
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        if (PyModule_AddFunctions(module, lists[i]) < 0)
            return -1;
    if (add_type(module, &py_instance_spec, &st->instance_type) < 0 ||
        add_type(module, &py_session_spec, &st->session_type) < 0 ||
        add_type(module, &py_cursor_spec, &st->cursor_type) < 0 ||
        add_type(module, &py_plan_spec, &st->plan_type) < 0 ||
        add_type(module, &py_row_spec, &st->row_type) < 0 ||
        add_type(module, &py_rows_spec, &st->rows_type) < 0 ||
        add_type(module, &py_lookup_spec, &st->lookup_type) < 0)
        return -1;
    if (add_strings(st) < 0 || time_setup(st) < 0)
        return -1;
    return constants_add(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct state *st = state_of_module(module);
    Py_VISIT(st->instance_type);
    Py_VISIT(st->session_type);
    Py_VISIT(st->cursor_type);
    Py_VISIT(st->plan_type);
    Py_VISIT(st->row_type);
    Py_VISIT(st->rows_type);
    Py_VISIT(st->lookup_type);
    Py_VISIT(st->make_error);
    Py_VISIT(st->fork_error);
    Py_VISIT(st->event_target);
    Py_VISIT(st->uuid_type);
    Py_VISIT(st->utc);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct state *st = state_of_module(module);
    events_remove(st);
    Py_CLEAR(st->instance_type);
    Py_CLEAR(st->session_type);
    Py_CLEAR(st->cursor_type);
    Py_CLEAR(st->plan_type);
    Py_CLEAR(st->row_type);
    Py_CLEAR(st->rows_type);
    Py_CLEAR(st->lookup_type);
    Py_CLEAR(st->make_error);
    Py_CLEAR(st->fork_error);
    Py_CLEAR(st->event_target);
    Py_CLEAR(st->uuid_type);
    Py_CLEAR(st->utc);
    Py_CLEAR(st->str_bytes_le);
    Py_CLEAR(st->str_handle);
    Py_CLEAR(st->str_astimezone);
    Py_CLEAR(st->str_row_update);
    Py_CLEAR(st->str_row_delete);
    Py_CLEAR(st->str_row_load);
    Py_CLEAR(st->str_add_note);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pyjet._jet",
    .m_doc =
        "The engine's calls under their own names, and the loops over rows that pyjet runs in C.",
    .m_size = sizeof(struct state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__jet(void)
{
    return PyModuleDef_Init(&module_def);
}
