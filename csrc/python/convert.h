/* Between column bytes and Python objects. The converter of a column is chosen once, when its plan
 * is made. */
#ifndef PYTHON_CONVERT_H
#define PYTHON_CONVERT_H

#include "python/state.h"

enum column_kind {
    KIND_BIT,
    KIND_INT,
    KIND_SINGLE,
    KIND_DOUBLE,
    KIND_DATE,
    KIND_FILETIME,
    KIND_BYTES,
    KIND_TEXT16,
    KIND_TEXT1252,
    KIND_GUID
};

enum { PLAN_MULTI = 1, PLAN_FILETIME = 2 }; /* flags of a column of a plan, as Python gives them */

struct plan_column {
    PyObject *name;
    JET_COLUMNID id;
    uint8_t kind, size; /* size of a fixed value; 0: any */
    bool is_signed, multi;
};
/* Immutable. */
struct plan {
    PyObject_HEAD uint32_t count;
    struct plan_column *columns;
    JET_COLUMNID *ids;
    PyObject *names;   /* tuple of str */
    PyObject *by_name; /* dict: str -> position */
};
/* The column of this name, or KeyError -> JET_errColumnNotFound. */
int plan_find(struct state *st, struct plan *plan, PyObject *name);

/* Memory of values on their way to the engine; pieces never move. */
struct arena {
    struct arena_block *blocks;
    PyObject **held; /* bytes objects whose memory is used in place */
    uint32_t held_count, held_room;
    size_t bytes; /* of all values, held ones included */
};
void *py_arena_take(struct arena *a, size_t size); /* NULL: MemoryError is set */
bool py_arena_hold(struct arena *a, PyObject *object);
void py_arena_reset(struct arena *a); /* empty; its memory is kept for the next batch */
void py_arena_clear(struct arena *a);

/* cell.pv points into the arena, or into an object the arena holds. */
bool py_cell_from(struct state *st, struct arena *a, const struct plan_column *column,
                  PyObject *value, PYJET_CELL *cell);
PyObject *py_cell_to(struct state *st, const struct plan_column *column, const PYJET_CELL *cell);

/* ---- convert_time.c ---- */
int time_setup(struct state *st);
PyObject *date_from_ole(double days); /* a float when no date */
PyObject *date_from_filetime(uint64_t ticks);
bool date_to_micros(struct state *st, PyObject *value, int64_t *days,
                    int64_t *micros); /* days since 1899-12-30 */
bool ole_from_date(struct state *st, PyObject *value, double *days);
bool filetime_from_date(struct state *st, PyObject *value, uint64_t *ticks);

/* ---- row.c ---- */
PyObject *py_row_new(struct state *st, struct plan *plan, PyObject *table,
                     const PYJET_CELL *bookmark); /* values not loaded */
struct plan *py_row_plan(PyObject *row);          /* borrowed */
PyObject *py_row_bookmark(PyObject *row);         /* a new reference to its bytes */
bool py_row_fill(struct state *st, PyObject *row, const PYJET_CELL *cells);

#endif
