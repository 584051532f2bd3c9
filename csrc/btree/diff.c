/* Differences between two states of a node's data (log-format.md 7.5). */
#include "btree/btree_format.h"

enum { DIFF_SAME_LENGTH = 0x20, DIFF_INSERT = 0x40, DIFF_LONG = 0x80 }; /* as the flag byte of wide headers */
#define DIFF_OFFSET_MASK 0x1fffu

/* ---- apply ---- */

struct diff_reader {
    struct slice rest;
    bool wide;
};

static bool cut_number(struct diff_reader *d, bool two, uint32_t *out)
{
    uint32_t n = two ? 2 : 1;
    if (d->rest.n < n)
        return false;
    *out = two ? load_u16(d->rest.p) : d->rest.p[0];
    d->rest = slice_after(d->rest, n);
    return true;
}

struct diff_step {
    uint32_t offset; /* in the old data */
    uint32_t old_length, new_length;
    const uint8_t *bytes;
};

static bool read_step(struct diff_reader *d, struct diff_step *s)
{
    uint32_t head, flags;
    if (!cut_number(d, true, &head))
        return false;
    if (d->wide) {
        s->offset = head;
        if (!cut_number(d, false, &flags))
            return false;
    } else {
        s->offset = head & DIFF_OFFSET_MASK;
        flags = head >> 8 & 0xe0;
    }
    bool two = (flags & DIFF_LONG) != 0;
    if (!cut_number(d, two, &s->new_length))
        return false;
    s->old_length = flags & DIFF_SAME_LENGTH ? s->new_length : 0;
    if ((flags & (DIFF_SAME_LENGTH | DIFF_INSERT)) == 0 && !cut_number(d, two, &s->old_length))
        return false;
    if (s->new_length > d->rest.n)
        return false;
    s->bytes = d->rest.p;
    d->rest = SLICE(d->rest.p + s->new_length, d->rest.n - s->new_length);
    return true;
}

static bool put(uint8_t *to, uint32_t *at, uint32_t room, const uint8_t *from, uint32_t n)
{
    if (n > room - *at)
        return false;
    if (n != 0)
        memcpy(to + *at, from, n);
    *at += n;
    return true;
}

static bool apply_steps(struct slice before, struct diff_reader *d, uint8_t *to, uint32_t room, uint32_t *size)
{
    uint32_t from = 0, at = 0;
    while (d->rest.n != 0) {
        struct diff_step s;
        if (!read_step(d, &s) || s.offset < from || s.offset > before.n || s.old_length > before.n - s.offset)
            return false;
        if (!put(to, &at, room, before.p + from, s.offset - from) || !put(to, &at, room, s.bytes, s.new_length))
            return false;
        from = s.offset + s.old_length;
    }
    *size = at;
    if (!put(to, size, room, before.p + from, before.n - from))
        return false;
    return true;
}

err_t btree_diff_apply(struct slice before, struct slice diff, bool wide, uint8_t *to, uint32_t room, uint32_t after_size)
{
    struct diff_reader d = {diff, wide};
    uint32_t size = 0;
    if (apply_steps(before, &d, to, room, &size) && size == after_size)
        return JET_errSuccess;
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("differences of %u bytes do not lead from %u to %u bytes of data", diff.n, before.n, after_size);
    return err;
}

/* ---- make ---- */

struct diff_writer {
    uint8_t *to;
    uint32_t at, room;
    bool wide, full;
};

static void write_step(struct diff_writer *w, const struct diff_step *s)
{
    bool two = s->new_length > 255 || s->old_length > 255;
    unsigned flags = two ? DIFF_LONG : 0;
    if (s->old_length == s->new_length)
        flags |= DIFF_SAME_LENGTH;
    else if (s->old_length == 0)
        flags |= DIFF_INSERT;
    bool with_old = (flags & (DIFF_SAME_LENGTH | DIFF_INSERT)) == 0;
    uint32_t head = (w->wide ? 3u : 2u) + (two ? 2u : 1u) * (with_old ? 2u : 1u);
    if (w->full || head + s->new_length > w->room - w->at) {
        w->full = true;
        return;
    }
    uint8_t *p = w->to + w->at;
    w->at += head + s->new_length;
    store_u16(p, (uint16_t)(s->offset | (w->wide ? 0 : flags << 8)));
    p += 2;
    if (w->wide)
        *p++ = (uint8_t)flags;
    uint32_t numbers[2] = {s->new_length, s->old_length};
    for (int i = 0; i < (with_old ? 2 : 1); i++) {
        if (two)
            store_u16(p, (uint16_t)numbers[i]);
        else
            *p = (uint8_t)numbers[i];
        p += two ? 2 : 1;
    }
    if (s->new_length != 0)
        memcpy(p, s->bytes, s->new_length);
}

/* Bytes from `at` on that are equal in both, a word at a time. */
static uint32_t equal_run(const uint8_t *a, const uint8_t *b, uint32_t at, uint32_t end)
{
    uint32_t i = at;
    while (i + 8 <= end && load_u64(a + i) == load_u64(b + i))
        i += 8;
    while (i < end && a[i] == b[i])
        i++;
    return i - at;
}

/* Equal-length stretches: differing runs, joined over gaps that would cost more as a header than as bytes. */
static void diff_same_length(struct diff_writer *w, const uint8_t *old, const uint8_t *new, uint32_t from, uint32_t end)
{
    uint32_t head = w->wide ? 4 : 3, i = from + equal_run(old + 0, new + 0, from, end);
    while (i < end && !w->full) {
        uint32_t start = i, last = i;
        while (i < end && i - last <= head) {
            if (old[i] != new[i])
                last = i;
            i++;
        }
        write_step(w, &(struct diff_step){start, last + 1 - start, last + 1 - start, new + start});
        i = last + 1;
        i += equal_run(old, new, i, end);
    }
}

/* The middle of a pair whose length changed: one step that replaces all between the common head and tail. */
static void diff_resized(struct diff_writer *w, struct slice before, struct slice after)
{
    uint32_t most = before.n < after.n ? before.n : after.n;
    uint32_t head = equal_run(before.p, after.p, 0, most), tail = 0;
    while (tail < most - head && before.p[before.n - 1 - tail] == after.p[after.n - 1 - tail])
        tail++;
    struct diff_step s = {head, before.n - head - tail, after.n - head - tail, after.p + head};
    write_step(w, &s);
}

uint32_t btree_diff_make(struct slice before, struct slice after, bool wide, uint8_t *to, uint32_t room)
{
    struct diff_writer w = {to, 0, room < 0x7fff ? room : 0x7fff, wide, false};
    uint32_t offset_most = wide ? 0xffff : DIFF_OFFSET_MASK;
    if (before.n > offset_most || after.n > 0xffff)
        return 0;
    if (before.n == after.n)
        diff_same_length(&w, before.p, after.p, 0, before.n);
    else
        diff_resized(&w, before, after);
    /* equal data makes no step: say so with one that changes nothing, so that 0 keeps its meaning */
    if (w.at == 0 && !w.full)
        write_step(&w, &(struct diff_step){0, 0, 0, NULL});
    return w.full || w.at >= room ? 0 : w.at;
}
