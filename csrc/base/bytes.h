/* Slices of bytes, and unaligned little- and big-endian access. Header only. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct slice {
    const uint8_t *p;
    uint32_t n;
};

#define SLICE_EMPTY ((struct slice){0})
#define SLICE(ptr, len) ((struct slice){(const uint8_t *)(ptr), (uint32_t)(len)})
#define SLICE_OF(object) SLICE(&(object), sizeof(object))

/* What follows the first n bytes; n <= s.n. */
static inline struct slice slice_after(struct slice s, uint32_t n)
{
    return n == 0 ? s : SLICE(s.p + n, s.n - n); /* no address is computed from the NULL of an empty slice */
}

/* Bit i of a map of bits. */
static inline bool bit_has(const uint8_t *map, uint32_t i)
{
    return (map[i / 8] >> i % 8 & 1) != 0;
}
static inline void bit_set(uint8_t *map, uint32_t i)
{
    map[i / 8] |= (uint8_t)(1u << i % 8);
}
static inline void bit_clear(uint8_t *map, uint32_t i)
{
    map[i / 8] &= (uint8_t)~(1u << i % 8);
}

/* A growing buffer; zero-initialised it is empty. Freed by buffer_free. */
struct buffer {
    uint8_t *p;
    uint32_t n;
    uint32_t room;
};

static inline struct slice buffer_slice(const struct buffer *b)
{
    return SLICE(b->p, b->n);
}

MUST_CHECK static inline err_t buffer_reserve(struct buffer *b, uint32_t room)
{
    if (room <= b->room)
        return JET_errSuccess;
    uint32_t grown = b->room < 64 ? 64 : b->room;
    while (grown < room)
        grown = grown > UINT32_MAX / 2 ? room : grown * 2;
    uint8_t *p = realloc(b->p, grown);
    if (p == NULL)
        return RAISE(JET_errOutOfMemory);
    b->p = p;
    b->room = grown;
    return JET_errSuccess;
}

/* The bytes may be a part of the buffer itself only when no growth is needed. */
MUST_CHECK static inline err_t buffer_append(struct buffer *b, struct slice s)
{
    TRY_RETURN(buffer_reserve(b, b->n + s.n));
    if (s.n != 0)
        memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    return JET_errSuccess;
}

MUST_CHECK static inline err_t buffer_set(struct buffer *b, struct slice s)
{
    TRY_RETURN(buffer_reserve(b, s.n));
    if (s.n != 0)
        memmove(b->p, s.p, s.n);
    b->n = s.n;
    return JET_errSuccess;
}

static inline void buffer_free(struct buffer *b)
{
    free(b->p);
    *b = (struct buffer){0};
}

/* memcmp order, a proper prefix sorts first. */
static inline int slice_compare(struct slice a, struct slice b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#define BYTES_LE(bits)                                                                             \
    static inline uint##bits##_t load_u##bits(const void *p)                                       \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof v);                                                                   \
        return v;                                                                                  \
    }                                                                                              \
    static inline void store_u##bits(void *p, uint##bits##_t v)                                    \
    {                                                                                              \
        memcpy(p, &v, sizeof v);                                                                   \
    }
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "big-endian hosts are not supported: ESE's files are little-endian and mapped as they are"
#endif
BYTES_LE(16)
BYTES_LE(32)
BYTES_LE(64)

/* Eight bytes at a time: the first that differ are the lowest of the difference. */
static inline uint32_t slice_common_prefix(struct slice a, struct slice b)
{
    uint32_t n = a.n < b.n ? a.n : b.n, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t differ = load_u64(a.p + i) ^ load_u64(b.p + i);
        if (differ != 0)
            return i + (uint32_t)__builtin_ctzll(differ) / 8;
    }
    if (n >= 8 && i < n) { /* the last eight, of which the first are known to be the same */
        uint64_t differ = load_u64(a.p + n - 8) ^ load_u64(b.p + n - 8);
        return differ != 0 ? n - 8 + (uint32_t)__builtin_ctzll(differ) / 8 : n;
    }
    while (i < n && a.p[i] == b.p[i])
        i++;
    return i;
}

static inline uint32_t load_be32(const void *p)
{
    return __builtin_bswap32(load_u32(p));
}
static inline void store_be32(void *p, uint32_t v)
{
    store_u32(p, __builtin_bswap32(v));
}
static inline uint64_t load_be64(const void *p)
{
    return __builtin_bswap64(load_u64(p));
}
static inline void store_be64(void *p, uint64_t v)
{
    store_u64(p, __builtin_bswap64(v));
}

#endif
