/* OUR order of Unicode text in keys. It is not Windows' order, and the catalog must say so (sort
 * version 0x0000000100000001, edb-format.md 15 choice 2). It is part of the file format all the
 * same: indexes on disk were sorted by it, so neither this file nor upper.def may change without a
 * new sort version.
 *
 * A key is the text's UTF-16 units, each upper-cased by the simple mapping of the BMP, mapped so
 * that they compare as code points, big-endian, ended by 0000. Case is ignored, nothing else is. */
#include "record/record_private.h"

struct upper_run {
    uint16_t first, last;
    uint16_t step;
    int32_t delta;
};
static const struct upper_run upper_runs[] = {
#define X(first, last, step, delta) {first, last, step, delta},
#include "record/upper.def"
#undef X
};

static uint32_t upper_wide(uint32_t unit)
{
    uint32_t low = 0, high = sizeof upper_runs / sizeof upper_runs[0];
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (upper_runs[middle].last < unit)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == sizeof upper_runs / sizeof upper_runs[0])
        return unit;
    const struct upper_run *run = &upper_runs[low];
    if (unit < run->first || (unit - run->first) % run->step != 0)
        return unit;
    return (uint32_t)((int32_t)unit + run->delta);
}

static uint32_t upper(uint32_t unit)
{
    if (unit < 0x80)
        return unit >= 'a' && unit <= 'z' ? unit - 0x20 : unit;
    return upper_wide(unit);
}

/* Surrogates above the rest of the BMP, so that units compare as the code points do. */
static uint32_t weight(uint32_t unit)
{
    if (unit < 0xd800)
        return unit;
    return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

struct output {
    uint8_t *p;
    uint32_t n, room;
    bool truncated;
};

static void put(struct output *o, uint32_t w)
{
    uint8_t bytes[2] = {(uint8_t)(w >> 8), (uint8_t)w};
    for (int i = 0; i < 2; i++) {
        if (o->n < o->room)
            o->p[o->n++] = bytes[i];
        else
            o->truncated = true;
    }
}

err_t key_unicode_default(struct slice utf16, uint32_t flags, uint8_t *out, uint32_t room,
                          uint32_t *size, bool *truncated)
{
    struct output o = {out, 0, room, false};
    for (uint32_t i = 0; i + 1 < utf16.n && !o.truncated;
         i += 2) { /* half a character at the end is dropped */
        uint32_t w = weight(upper(load_u16(utf16.p + i)));
        if (w > 1) {
            put(&o, w);
        } else { /* keep 0000 for the end: U+0000 and U+0001 take two units */
            put(&o, 1);
            put(&o, w + 1);
        }
    }
    if ((flags & COLLATE_PARTIAL) == 0)
        put(&o, 0);
    *size = o.n;
    *truncated = o.truncated;
    return JET_errSuccess;
}
