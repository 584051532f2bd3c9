/* check, inside the room: a JSON writer. Every value takes the key before it; NULL: an element of a
 * list. */
#ifndef CHECK_JSON_H
#define CHECK_JSON_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "check/check.h"

/* A writer that remembers its first error: what is written after it is dropped. */
struct json {
    struct buffer *out;
    err_t err;
    bool comma;
};

static inline void put(struct json *j, const void *p, size_t n)
{
    if (j->err >= 0)
        j->err = buffer_append(j->out, SLICE(p, n));
}

static inline void format(struct json *j, const char *f, ...) __attribute__((format(printf, 2, 3)));
static inline void format(struct json *j, const char *f, ...)
{
    char text[256];
    va_list args;
    va_start(args, f);
    int n = vsnprintf(text, sizeof text, f, args);
    va_end(args);
    ASSERT(n >= 0 && n < (int)sizeof text);
    put(j, text, (size_t)n);
}

/* Bytes of one UTF-8 character at s; 0: these bytes make none. */
static inline uint32_t character_size(const unsigned char *s)
{
    uint32_t n = s[0] < 0x80                   ? 1
                 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                 : (s[0] & 0xF0) == 0xE0       ? 3
                 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                               : 0;
    for (uint32_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool too_long = n > 2 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90));
    bool outside = n > 2 && ((s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF4 && s[1] >= 0x90));
    return too_long || outside ? 0 : n;
}

/* A file name may hold any bytes: those that are no UTF-8 become lone surrogates, as Python's file
 * names have them. */
static inline void text_value(struct json *j, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    put(j, "\"", 1);
    while (*p != '\0') {
        uint32_t n = character_size(p);
        if (n == 0)
            format(j, "\\udc%02x", *p);
        else if (*p < 0x20 || *p == '"' || *p == '\\')
            format(j, "\\u%04x", *p);
        else
            put(j, p, n);
        p += n == 0 ? 1 : n;
    }
    put(j, "\"", 1);
}

static inline void key(struct json *j, const char *name)
{
    if (j->comma)
        put(j, ", ", 2);
    if (name != NULL)
        format(j, "\"%s\": ", name);
    j->comma = true;
}

static inline void open_object(struct json *j, const char *name)
{
    key(j, name);
    put(j, "{", 1);
    j->comma = false;
}
static inline void close_object(struct json *j)
{
    put(j, "}", 1);
    j->comma = true;
}
static inline void open_list(struct json *j, const char *name)
{
    key(j, name);
    put(j, "[", 1);
    j->comma = false;
}
static inline void close_list(struct json *j)
{
    put(j, "]", 1);
    j->comma = true;
}

static inline void number(struct json *j, const char *name, uint64_t n)
{
    key(j, name);
    format(j, "%" PRIu64, n);
}
static inline void signed_number(struct json *j, const char *name, int64_t n)
{
    key(j, name);
    format(j, "%" PRId64, n);
}
static inline void text(struct json *j, const char *name, const char *s)
{
    key(j, name);
    text_value(j, s);
}
static inline void boolean(struct json *j, const char *name, bool b)
{
    key(j, name);
    put(j, b ? "true" : "false", b ? 4 : 5);
}
static inline void bytes(struct json *j, const char *name, struct slice s)
{
    static const char digits[] = "0123456789abcdef";
    key(j, name);
    put(j, "\"", 1);
    for (uint32_t i = 0; i < s.n; i++) {
        char two[2] = {digits[s.p[i] >> 4], digits[s.p[i] & 15]};
        put(j, two, 2);
    }
    put(j, "\"", 1);
}
/* Positions as ESE's tools print them: generation:segment:byte, hexadecimal. */
static inline void position(struct json *j, const char *name, lgpos_t at)
{
    key(j, name);
    format(j, "\"%08X:%04X:%04X\"", LGPOS_GEN(at), LGPOS_SEC(at), LGPOS_BYTE(at));
}
static inline void dbtime(struct json *j, const char *name, dbtime_t t)
{
    if (t == DBTIME_NIL)
        signed_number(j, name, -1);
    else
        number(j, name, t);
}
/* null: never. */
static inline void logtime(struct json *j, const char *name, const struct logtime *t)
{
    static const struct logtime never;
    key(j, name);
    if (memcmp(t, &never, sizeof never) == 0) {
        put(j, "null", 4);
        return;
    }
    unsigned ms = (unsigned)(t->b[6] >> 1) | (unsigned)(t->b[7] >> 1 & 7) << 7;
    format(j, "\"%04u-%02u-%02uT%02u:%02u:%02u.%03u%s\"", 1900u + t->b[5], t->b[4], t->b[3],
           t->b[2], t->b[1], t->b[0], ms, t->b[6] & 1 ? "Z" : "");
}
static inline void signature(struct json *j, const char *name, const struct signature *s)
{
    open_object(j, name);
    number(j, "random", load_u32(s->b));
    logtime(j, "created", (const struct logtime *)(const void *)(s->b + 4));
    close_object(j);
}
static inline void backup(struct json *j, const char *name, const struct bkinfo *b)
{
    open_object(j, name);
    position(j, "mark", b->mark);
    logtime(j, "time", &b->time);
    number(j, "gen_low", b->gen_low);
    number(j, "gen_high", b->gen_high);
    close_object(j);
}

static inline struct json begin(struct buffer *out)
{
    struct json j = {.out = out};
    open_object(&j, NULL);
    return j;
}
static inline err_t end(struct json *j)
{
    close_object(j);
    return j->err;
}

#endif
