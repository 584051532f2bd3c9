/* Decoding compressed long columns and page images (edb-format.md 12). Input is hostile: nothing is
 * read past it, nothing written past the size asked for. */
#include "record/record_private.h"

enum scheme {
    SCHEME_ASCII7 = 1,
    SCHEME_UNICODE7 = 2,
    SCHEME_XPRESS = 3,
    SCHEME_SCRUBBED = 4,
    SCHEME_XPRESS9 = 5,
    SCHEME_LZ4 = 7,
};
#define XPRESS_HEAD 3u /* scheme byte, u16 uncompressed size */
#define MATCH_MIN 3u

/* Characters in a 7-bit stream; the head's low bits + 1 = bits used of the last byte. */
static err_t count_packed(struct slice stored, uint32_t *count)
{
    if (stored.n < 2 || stored.n > UINT32_MAX / 16)
        return RAISE(JET_errDecompressionFailed);
    *count = ((stored.n - 2) * 8 + (stored.p[0] & 7) + 1) / 7;
    return JET_errSuccess;
}

/* `step` 1: bytes; 2: UTF-16 units. */
static void unpack(struct slice bits, uint32_t count, uint8_t *out, uint32_t step)
{
    uint32_t window = 0, have = 0, at = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (have < 7) {
            window |= (uint32_t)bits.p[at++] << have;
            have += 8;
        }
        out[i * step] = window & 0x7f;
        if (step == 2)
            out[i * 2 + 1] = 0;
        window >>= 7;
        have -= 7;
    }
}

err_t record_decompressed_size(struct slice stored, uint32_t *size)
{
    *size = 0;
    if (stored.n == 0)
        return RAISE(JET_errDecompressionFailed);
    uint32_t scheme = stored.p[0] >> 3;
    switch (scheme) {
    case SCHEME_ASCII7:
        return count_packed(stored, size);
    case SCHEME_UNICODE7:
        TRY_RETURN(count_packed(stored, size));
        *size *= 2;
        return JET_errSuccess;
    case SCHEME_XPRESS:
        if (stored.n < XPRESS_HEAD)
            return RAISE(JET_errDecompressionFailed);
        *size = load_u16(stored.p + 1);
        return JET_errSuccess;
    default:
        break;
    }
    /* Xpress9, Xpress10, LZ4 come from engines newer than the files that we handle. */
    bool newer = scheme >= SCHEME_XPRESS9 && scheme <= SCHEME_LZ4;
    err_t err = RAISE(newer ? JET_errFeatureNotAvailable : JET_errDecompressionFailed);
    err_detail(scheme == SCHEME_SCRUBBED ? "value was scrubbed" : "compression scheme %u", scheme);
    return err;
}

err_t record_decompress(struct slice stored, struct buffer *out)
{
    uint32_t size = 0;
    out->n = 0;
    TRY_RETURN(record_decompressed_size(stored, &size));
    TRY_RETURN(buffer_reserve(out, size));
    uint32_t scheme = stored.p[0] >> 3;
    if (scheme == SCHEME_XPRESS)
        TRY_RETURN(
            xpress_decompress(SLICE(stored.p + XPRESS_HEAD, stored.n - XPRESS_HEAD), out->p, size));
    else if (scheme == SCHEME_ASCII7)
        unpack(SLICE(stored.p + 1, stored.n - 1), size, out->p, 1);
    else
        unpack(SLICE(stored.p + 1, stored.n - 1), size / 2, out->p, 2);
    out->n = size;
    return JET_errSuccess;
}

/* ---- Xpress, plain LZ77 ---- */

struct xpress_in {
    const uint8_t *p, *end;
    const uint8_t *nibble; /* byte whose high half is still to be used */
};

static bool has(const struct xpress_in *in, uint32_t n)
{
    return (size_t)(in->end - in->p) >= n;
}

/* Length of a match after its 16-bit word, before MATCH_MIN is added; false at the end of input. */
static bool match_length(struct xpress_in *in, uint32_t word, uint64_t *length)
{
    *length = word & 7;
    if (*length < 7)
        return true;
    uint32_t extra;
    if (in->nibble != NULL) {
        extra = *in->nibble >> 4;
        in->nibble = NULL;
    } else {
        if (!has(in, 1))
            return false;
        in->nibble = in->p;
        extra = *in->p++ & 15;
    }
    *length = 7 + extra;
    if (extra < 15)
        return true;
    if (!has(in, 1))
        return false;
    uint32_t x = *in->p++;
    *length = 22 + x;
    if (x < 255)
        return true;
    if (!has(in, 2))
        return false;
    *length = load_u16(in->p);
    in->p += 2;
    if (*length != 0)
        return true;
    if (!has(in, 4))
        return false;
    *length = load_u32(in->p);
    in->p += 4;
    return true;
}

static void copy_match(uint8_t *to, uint32_t distance, uint32_t n)
{
    const uint8_t *from = to - distance;
    if (distance >= n)
        memcpy(to, from, n);
    else
        for (uint32_t i = 0; i < n; i++) /* the match repeats what it has just written */
            to[i] = from[i];
}

err_t xpress_decompress(struct slice in_bytes, uint8_t *out, uint32_t out_size)
{
    struct xpress_in in = {in_bytes.p, in_bytes.p + in_bytes.n, NULL};
    uint32_t flags = 0, left = 0, n = 0;
    while (n < out_size) {
        if (left == 0) {
            if (!has(&in, 4))
                return RAISE(JET_errDecompressionFailed);
            flags = load_u32(in.p);
            in.p += 4;
            left = 32;
        }
        bool match = (flags & 0x80000000u) != 0;
        flags <<= 1;
        left--;
        if (!match) {
            if (!has(&in, 1))
                return RAISE(JET_errDecompressionFailed);
            out[n++] = *in.p++;
            continue;
        }
        if (!has(&in, 2))
            return RAISE(JET_errDecompressionFailed);
        uint32_t word = load_u16(in.p);
        uint64_t length;
        in.p += 2;
        uint32_t distance = (word >> 3) + 1;
        if (!match_length(&in, word, &length) || distance > n || length + MATCH_MIN > out_size - n)
            return RAISE(JET_errDecompressionFailed);
        copy_match(out + n, distance, (uint32_t)length + MATCH_MIN);
        n += (uint32_t)length + MATCH_MIN;
    }
    return JET_errSuccess;
}
