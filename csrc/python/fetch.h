/* Reading and changing rows in C: the module functions of fetch.c and change.c. */
#ifndef PYTHON_FETCH_H
#define PYTHON_FETCH_H

#include "python/convert.h"

/* The values of a key tuple; false: an exception is set. */
bool py_key_cells(struct state *st, struct arena *arena, struct plan *keys, PyObject *key,
                  PYJET_CELL *cells);
struct wanted {
    struct plan *plan;
    PyObject *table; /* of a new Row */
    PyObject *row;   /* this one is to be filled instead, or NULL */
    bool none;       /* None when there is no such row, not an exception */
};
/* One row by its key (n = 0: where the cursor stands). The caller is in the session. */
PyObject *py_get_one(struct state *st, struct cursor *c, const PYJET_CELL *key, uint32_t n,
                     const struct wanted *w);

PYFN(rows);
PYFN(span);
PYFN(get_row);
PYFN(current_row);
PYFN(load_row);
PYFN(insert_row);
PYFN(insert_many);
PYFN(update_row);
PYFN(delete_row);

#endif
