#include "api/api_private.h"

/* UTF-16 <-> UTF-8. A byte that is no UTF-8 and the half surrogate 0xDC00 + byte stand for each other, as in the log's paths,
 * so that every file name of Linux survives. */

static uint32_t put_utf8(uint32_t c, uint8_t *to)
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (uint8_t)(0xC0 | c >> 6);
        to[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (uint8_t)(0xE0 | c >> 12);
        to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        to[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    to[0] = (uint8_t)(0xF0 | c >> 18);
    to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    to[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

static err_t bad_unit(uint32_t unit, uint32_t at)
{
    err_t err = RAISE(JET_errUnicodeTranslationFail);
    err_detail("UTF-16 unit 0x%04x at %u has no partner", unit, at);
    return err;
}

err_t text_from_wide_n(const JET_WCHAR *wide, uint32_t units, char **out, uint32_t *size)
{
    *out = NULL;
    uint8_t *to = malloc((size_t)units * 3 + 1);
    uint32_t n = 0;
    if (to == NULL)
        return RAISE(JET_errOutOfMemory);
    for (uint32_t i = 0; i < units; i++) {
        uint32_t c = wide[i];
        if (c >= 0xD800 && c < 0xDC00 && i + 1 < units && wide[i + 1] >= 0xDC00 && wide[i + 1] < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (wide[++i] - 0xDC00u);
        } else if (c >= 0xDC80 && c <= 0xDCFF) {
            to[n++] = (uint8_t)(c - 0xDC00);
            continue;
        } else if (c >= 0xD800 && c < 0xE000) {
            free(to);
            return bad_unit(c, i);
        }
        n += put_utf8(c, to + n);
    }
    to[n] = 0;
    *out = (char *)to;
    *size = n;
    return JET_errSuccess;
}

err_t text_from_wide(const JET_WCHAR *wide, char **out)
{
    uint32_t units = 0, size;
    *out = NULL;
    if (wide == NULL)
        return JET_errSuccess;
    while (wide[units] != 0)
        units++;
    return text_from_wide_n(wide, units, out, &size);
}

/* One character of well-formed UTF-8; 0 bytes when it is none. */
static uint32_t get_utf8(const uint8_t *p, uint32_t *c)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t n = p[0] < 0x80 ? 1 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : 0;
    if (n <= 1) {
        *c = p[0];
        return n;
    }
    *c = p[0] & (0xFFu >> (n + 1));
    for (uint32_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        *c = *c << 6 | (p[i] & 0x3F);
    }
    return *c < least[n] || *c > 0x10FFFF || (*c >= 0xD800 && *c < 0xE000) ? 0 : n;
}

uint32_t text_to_wide(const char *text, JET_WCHAR *to, uint32_t room)
{
    const uint8_t *p = (const uint8_t *)text;
    uint32_t units = 0, fit = room / sizeof(JET_WCHAR);
    for (bool more = true; more;) {
        uint32_t c, n = get_utf8(p, &c);
        if (n == 0) {
            c = 0xDC00u + p[0];
            n = 1;
        }
        JET_WCHAR pair[2] = {(JET_WCHAR)c, 0};
        uint32_t count = c >= 0x10000 ? 2 : 1;
        if (count == 2) {
            pair[0] = (JET_WCHAR)(0xD800 + ((c - 0x10000) >> 10));
            pair[1] = (JET_WCHAR)(0xDC00 + (c & 0x3FF));
        }
        for (uint32_t i = 0; i < count; i++, units++)
            if (units < fit)
                memcpy(to + units, &pair[i], sizeof(JET_WCHAR));
        more = c != 0;
        p += n;
    }
    return units * (uint32_t)sizeof(JET_WCHAR);
}

err_t text_give(const char *text, bool wide, void *to, uint32_t room)
{
    if (to == NULL)
        return api_invalid("a buffer for the text is needed");
    uint32_t size = wide ? text_to_wide(text, NULL, 0) : (uint32_t)strlen(text) + 1;
    if (size > room) {
        err_t err = RAISE(JET_errBufferTooSmall);
        err_detail("the text needs %u bytes, the buffer has %u", size, room);
        return err;
    }
    if (wide)
        text_to_wide(text, to, room);
    else
        memcpy(to, text, size);
    return JET_errSuccess;
}
