#include "base/err.h"

#include <signal.h>
#include <stdarg.h>
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

static _Thread_local struct err_origin last_error;
static err_t trap_code;

err_t err_raise(err_t code, const char *file, int line)
{
    last_error.err = code;
    last_error.file = file;
    last_error.line = line;
    last_error.detail[0] = '\0';
    if (trap_code != 0 && code == trap_code)
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

const struct err_origin *err_last(void)
{
    return &last_error;
}

void err_clear(void)
{
    memset(&last_error, 0, sizeof last_error);
}

void err_trap_on(err_t code)
{
    trap_code = code;
}

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

void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "pyjet: %s:%d: failed: %s\n", file, line, what);
    abort();
}
