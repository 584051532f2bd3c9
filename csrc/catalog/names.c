/* Names: UTF-8 in our API, code page 1252 on the disk. */
#include "catalog/catalog_private.h"

/* 0x80-0x9F; the five that code page 1252 leaves open stand for the control characters of the same
 * number. */
static const uint16_t high_controls[32] = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178,
};

/* One character of UTF-8, or -1: overlong forms and surrogates are none. */
static int32_t next_utf8(const uint8_t **at)
{
    const uint8_t *p = *at;
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    int more = p[0] < 0x80   ? 0
               : p[0] < 0xC2 ? -1
               : p[0] < 0xE0 ? 1
               : p[0] < 0xF0 ? 2
               : p[0] < 0xF5 ? 3
                             : -1;
    if (more < 0)
        return -1;
    uint32_t c = more == 0 ? p[0] : p[0] & (0x3Fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return -1;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < least[more] || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF)
        return -1;
    *at = p + 1 + more;
    return (int32_t)c;
}

static int to_1252(int32_t c)
{
    if (c < 0x80 || (c >= 0xA0 && c < 0x100))
        return c;
    for (int i = 0; i < 32; i++)
        if (high_controls[i] == c)
            return 0x80 + i;
    return -1;
}

static err_t bad_name(const char *utf8, const char *why)
{
    err_t err = RAISE(JET_errInvalidName);
    err_detail("the name \"%.80s\" %s", utf8, why);
    return err;
}

err_t catalog_name_from_utf8(const char *utf8, char *name1252)
{
    const uint8_t *at = (const uint8_t *)utf8;
    uint32_t n = 0, used = 0; /* without trailing spaces */
    name1252[0] = '\0';
    if (utf8 == NULL)
        return RAISE(JET_errInvalidName);
    while (*at != 0) {
        int32_t c = next_utf8(&at);
        int byte = c < 0 ? -1 : to_1252(c);
        if (byte < 0)
            return bad_name(utf8, "has a character that code page 1252 lacks");
        if (byte < 0x20 || strchr("!.[]", byte) != NULL)
            return bad_name(utf8, "has a control character or one of ! . [ ]");
        if (byte == ' ' && n == 0)
            return bad_name(utf8, "begins with a space");
        if (byte != ' ' && n >= NAME_ROOM - 1)
            return bad_name(utf8, "is longer than 64 characters");
        if (n < NAME_ROOM - 1)
            name1252[n] = (char)byte;
        n++;
        if (byte != ' ')
            used = n;
    }
    if (used == 0)
        return bad_name(utf8, "is empty");
    name1252[used] = '\0';
    return JET_errSuccess;
}

void catalog_name_to_utf8(const char *name1252, char *utf8)
{
    for (uint32_t i = 0; i < NAME_ROOM - 1 && name1252[i] != '\0'; i++) {
        uint8_t byte = (uint8_t)name1252[i];
        uint32_t c = byte >= 0x80 && byte < 0xA0 ? high_controls[byte - 0x80] : byte;
        if (c < 0x80) {
            *utf8++ = (char)c;
        } else if (c < 0x800) {
            *utf8++ = (char)(0xC0 | c >> 6);
            *utf8++ = (char)(0x80 | (c & 0x3F));
        } else {
            *utf8++ = (char)(0xE0 | c >> 12);
            *utf8++ = (char)(0x80 | (c >> 6 & 0x3F));
            *utf8++ = (char)(0x80 | (c & 0x3F));
        }
    }
    *utf8 = '\0';
}

err_t catalog__parse_name(const char *utf8, char name[NAME_ROOM])
{
    return catalog_name_from_utf8(utf8, name);
}

void catalog__set_name(char to[NAME_ROOM], const char *from)
{
    size_t n = strnlen(from, NAME_ROOM - 1);
    memcpy(to, from, n);
    memset(to + n, 0, NAME_ROOM - n);
}

static uint8_t upper(char c)
{
    return (uint8_t)(c >= 'a' && c <= 'z' ? c - 0x20 : c);
}

bool catalog__same_name(const char *a, const char *b)
{
    while (*a != '\0' && upper(*a) == upper(*b))
        a++, b++;
    return upper(*a) == upper(*b);
}
