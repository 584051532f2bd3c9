/* Reading and changing rows in C: the module functions of fetch.c and change.c. */
#ifndef PYTHON_FETCH_H
#define PYTHON_FETCH_H

#include "python/convert.h"

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
