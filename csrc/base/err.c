#include "base/err.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct known_error {
    err_t err;
    const char *name;
    const char *category;
    const char *text;
};

static const struct known_error known_errors[] = {
#define JET_ERROR(name, value, category, text) {value, #name, #category, text},
#define JET_ERROR_ALIAS(name, value)
#include "include/jet_errors.def"
#undef JET_ERROR
#undef JET_ERROR_ALIAS
};

struct known_hint {
    err_t err; /* 0: the hint is for a category */
    const char *category;
    const char *hint;
};

static const struct known_hint known_hints[] = {
#define ERR_HINT(name, hint) {name, NULL, hint},
#define CATEGORY_HINT(category, hint) {0, #category, hint},
#include "base/hints.def"
#undef ERR_HINT
#undef CATEGORY_HINT
};

static _Thread_local struct err_origin last_error;
static _Atomic err_t trap_code;

/* Before main, so that the first error can be the one that is hunted. */
__attribute__((constructor)) static void trap_from_environment(void)
{
    const char *code = getenv("PYJET_ERR_TRAP");
    if (code != NULL)
        trap_code = (err_t)strtol(code, NULL, 10);
}

err_t err_raise(err_t code, const char *file, int line)
{
    last_error.err = code;
    last_error.file = file;
    last_error.line = line;
    last_error.detail[0] = '\0';
    err_t trap = atomic_load_explicit(&trap_code, memory_order_relaxed);
    if (trap != 0 && code == trap)
        raise(SIGTRAP);
    return code;
}

void err_detail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last_error.detail, sizeof last_error.detail, format, args);
    va_end(args);
}

const struct err_origin *err_last(void) { return &last_error; }

void err_restore(const struct err_origin *origin) { last_error = *origin; }

void err_clear(void) { memset(&last_error, 0, sizeof last_error); }

void err_trap_on(err_t code) { trap_code = code; }

static const struct known_error *find_known(err_t err)
{
    for (size_t i = 0; i < sizeof known_errors / sizeof known_errors[0]; i++)
        if (known_errors[i].err == err)
            return &known_errors[i];
    return NULL;
}

const char *err_name(err_t err)
{
    const struct known_error *k = find_known(err);
    return k == NULL ? "JET_err?" : k->name;
}

const char *err_text(err_t err)
{
    const struct known_error *k = find_known(err);
    return k == NULL ? "Unknown error" : k->text;
}

const char *err_category(err_t err)
{
    const struct known_error *k = find_known(err);
    return k == NULL ? "Unknown" : k->category;
}

const char *err_hint(err_t err)
{
    const struct known_error *k = find_known(err);
    const char *category = k == NULL ? "Unknown" : k->category, *fallback = "";
    for (size_t i = 0; i < sizeof known_hints / sizeof known_hints[0]; i++) {
        const struct known_hint *h = &known_hints[i];
        if (h->category == NULL ? h->err == err : strcmp(h->category, category) == 0) {
            if (h->category == NULL)
                return h->hint;
            fallback = h->hint;
        }
    }
    return fallback;
}

void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "pyjet: %s:%d: failed: %s\n", file, line, what);
    abort();
}
