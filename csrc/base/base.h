/* base: the words that every room uses. See README.rst. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "base/assert.h"
#include "base/broken.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/event.h"
#include "base/list.h"

typedef uint32_t pgno_t;   /* page number, 1-based; 0 is nil */
typedef uint32_t objid_t;  /* object id of a tree */
typedef uint64_t dbtime_t; /* a database's counter of page changes */
typedef uint64_t trxid_t;  /* transaction number; the low 32 bits are what logs hold */
typedef uint8_t dbid_t;    /* 1..6; 0 is the temporary database, never logged */

#define PGNO_NIL 0u
#define OBJID_NIL 0u
#define DBTIME_NIL UINT64_MAX /* "-1": see the macro record, or a new page */
#define DBTIME_START 0x40u
#define TRXID_INFINITE UINT64_MAX
#define DBID_MAX 6

/* A position in the log. As u64 it is what files hold and it compares in log order:
 * bits 0-15 byte in the segment, 16-31 segment, 32-63 generation. */
typedef uint64_t lgpos_t;
#define LGPOS_MIN ((lgpos_t)0)
#define LGPOS_MAX UINT64_MAX
#define LGPOS(gen, isec, ib) (((lgpos_t)(uint32_t)(gen) << 32) | ((lgpos_t)(isec) << 16) | (lgpos_t)(ib))
#define LGPOS_GEN(pos) ((uint32_t)((pos) >> 32))
#define LGPOS_SEC(pos) ((uint32_t)(((pos) >> 16) & 0xffff))
#define LGPOS_BYTE(pos) ((uint32_t)((pos) & 0xffff))

/* Small shared on-disk structures (edb-format.md 2.1). */
struct logtime {
    uint8_t b[8];
};
struct signature {
    uint8_t b[28];
};
struct bkinfo {
    lgpos_t mark;
    struct logtime time;
    uint32_t gen_low;
    uint32_t gen_high;
};
static_assert(sizeof(struct logtime) == 8 && sizeof(struct signature) == 28, "on disk");
static_assert(sizeof(struct bkinfo) == 24, "on disk");

static inline bool signature_equal(const struct signature *a, const struct signature *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

/* 64-bit mixing hash of bytes. Stored in log segments and double-write files: its values are part of their format. */
uint64_t hash_bytes(struct slice s, uint64_t seed);
static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

#endif
