/* The error idiom: err_t is JET_ERR; < 0 error, 0 success, > 0 warning. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "include/jet_types.h"

typedef JET_ERR err_t;

#define MUST_CHECK __attribute__((warn_unused_result))

/* The only way an error is born: remembers file and line (and may trap, see err_trap_on). */
#define RAISE(code) err_raise((code), __FILE__, __LINE__)

/* Jump to `out` on error; warnings are dropped. Needs `err_t err` and the label `out` in scope. */
#define TRY(x)                                                                                     \
    do {                                                                                           \
        err_t try_err_ = (x);                                                                      \
        if (try_err_ < 0) {                                                                        \
            err = try_err_;                                                                        \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

/* The same where nothing is owned yet. */
#define TRY_RETURN(x)                                                                              \
    do {                                                                                           \
        err_t try_err_ = (x);                                                                      \
        if (try_err_ < 0)                                                                          \
            return try_err_;                                                                       \
    } while (0)

/* Raise and jump to `out`. */
#define FAIL(code)                                                                                 \
    do {                                                                                           \
        err = RAISE(code);                                                                         \
        goto out;                                                                                  \
    } while (0)

struct err_origin {
    err_t err;
    const char *file;
    int line;
    char detail[768]; /* what the failing call was about: a file name, a page; may be empty */
};

err_t err_raise(err_t code, const char *file, int line);
/* Attach a detail ("shop.edb page 17") to the error raised last on this thread. printf-like. */
void err_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The error raised last on this thread; never NULL. */
const struct err_origin *err_last(void);
/* Puts back what a clean-up in between may have overwritten: `struct err_origin origin = *err_last();` before it. */
void err_restore(const struct err_origin *origin);
void err_clear(void);
const char *err_name(err_t err);     /* "JET_errDiskFull"; "JET_err?" when unknown */
const char *err_text(err_t err);     /* one line of plain words */
const char *err_category(err_t err); /* "Disk", "Usage", ... */
const char *err_hint(err_t err);     /* what to do next; never NULL */
/* Stop in the debugger (SIGTRAP) when this code is raised; 0 = never. Also PYJET_ERR_TRAP=code. */
void err_trap_on(err_t code);

#endif
