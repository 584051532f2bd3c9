/* Databases and logs that a target makes for itself, through the API: a call of it must not fail. */
#ifndef FUZZ_MADE_H
#define FUZZ_MADE_H

#include <stdio.h>
#include <stdlib.h>

#include "include/esent.h"
#include "include/pyjet.h"

#define OK(x) made((x), #x)
static inline void made(JET_ERR err, const char *what)
{
    if (err >= 0)
        return;
    fprintf(stderr, "%s: %s %s\n", what, PyjetErrorName(err), PyjetErrorDetail(err));
    abort();
}

#endif
