/* Which segments of a log file are data, and where the log ends (log-format.md 3.3 with decision
 * 3). */
#include <stdio.h>

#include "log/log_private.h"

enum segment_state { SEG_VALID, SEG_EMPTY, SEG_SHADOW, SEG_OLD, SEG_FUTURE, SEG_BAD };

static bool all_zero(const uint8_t *p, uint32_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static uint64_t compute(const uint8_t *segment, uint32_t isec)
{
    return checksum_ecc(segment, LOG_SEGMENT, isec, true);
}

/* Of all but the checksum, the sum and its mark. */
static uint64_t sum_of(const uint8_t *segment)
{
    uint64_t head = hash_bytes(SLICE(segment + SEG_LGPOS, SEG_SUM - SEG_LGPOS), SEG_HAS_SUM);
    return hash_bytes(SLICE(segment + SEG_FLAGS, LOG_SEGMENT - SEG_FLAGS), head);
}

uint64_t log__seal_segment(uint8_t *segment, uint32_t isec)
{
    store_u64(segment + SEG_SUM, sum_of(segment));
    store_u32(segment + SEG_SUM_MARK, SEG_HAS_SUM);
    uint64_t checksum = compute(segment, isec);
    store_u64(segment + SEG_CHECKSUM, checksum);
    return checksum;
}

/* ESE's checksum sees parities only: a lost sector may look like one flipped bit, or like nothing at all. */
static bool sum_fits(const uint8_t *segment)
{
    return PYJET_BREAK_SUM || load_u32(segment + SEG_SUM_MARK) != SEG_HAS_SUM || load_u64(segment + SEG_SUM) == sum_of(segment);
}

static enum segment_state position_state(const uint8_t *segment, uint32_t isec, uint32_t generation)
{
    lgpos_t own = load_u64(segment + SEG_LGPOS), here = LGPOS(generation, isec, 0);
    if ((load_u32(segment + SEG_FLAGS) & SEG_FLAG_NEW_CHECKSUM) == 0)
        return SEG_BAD;
    return own == here ? SEG_VALID : own < here ? SEG_OLD : SEG_FUTURE;
}

/* *repaired: one flipped bit was set right in the image. */
static enum segment_state classify(uint8_t *segment, uint32_t isec, uint32_t generation,
                                   bool *repaired)
{
    uint64_t stored = load_u64(segment + SEG_CHECKSUM), computed = compute(segment, isec);
    *repaired = false;
    if (stored == computed)
        return sum_fits(segment) ? position_state(segment, isec, generation) : SEG_BAD;
    if (all_zero(segment, LOG_SEGMENT))
        return SEG_EMPTY;
    if (isec > 1 && stored == compute(segment, isec - 1))
        return SEG_SHADOW;
    uint8_t copy[LOG_SEGMENT];
    memcpy(copy, segment, sizeof copy);
    if (!checksum_ecc_correct(copy, LOG_SEGMENT, stored, computed) ||
        load_u64(copy + SEG_CHECKSUM) != compute(copy, isec) || !sum_fits(copy))
        return SEG_BAD;
    enum segment_state state = position_state(copy, isec, generation);
    if (state != SEG_VALID)
        return SEG_BAD;
    memcpy(segment, copy, sizeof copy);
    *repaired = true;
    return SEG_VALID;
}

/* Does segment isec + 1 hold the intact copy of isec, as Windows writes partial segments? */
static bool shadow_serves(const uint8_t *image, uint32_t isec, uint32_t generation)
{
    const uint8_t *next = image + (size_t)(isec + 1) * LOG_SEGMENT;
    return load_u64(next + SEG_CHECKSUM) == compute(next, isec) &&
           position_state(next, isec, generation) == SEG_VALID;
}

/* A segment that a waited flush filled is the last one of its batch: what follows it was written
 * after a sync. */
static bool ends_batch(const uint8_t *segment)
{
    uint32_t at = LOG_SEGMENT_HEAD, size;
    while (at < LOG_SEGMENT) {
        if (log_record_size(SLICE(segment + at, LOG_SEGMENT - at), &size) < 0 || size == 0 ||
            size > LOG_SEGMENT - at)
            return false;
        if (segment[at] == LOG_NOP2 && at + size == LOG_SEGMENT)
            return true;
        at += size;
    }
    return false;
}

/* Decision 3: the segments from `bad` on can be one unsynced batch that was lost in part when
 * nothing valid lies further than a batch reaches, nor behind the end of a batch. *at: the valid
 * segment that says no. */
static bool lost_batch(uint8_t *image, uint32_t segments, uint32_t generation, uint32_t bad,
                       uint32_t *at)
{
    bool batch_ended = false, repaired;
    for (uint32_t s = bad + 1; s < segments - 1; s++) {
        uint8_t *segment = image + (size_t)s * LOG_SEGMENT;
        if (classify(segment, s, generation, &repaired) != SEG_VALID)
            continue;
        if (batch_ended || s > bad + LOG_WINDOW) {
            *at = s;
            return false;
        }
        batch_ended = ends_batch(segment);
    }
    return true;
}

static bool valid_beyond(uint8_t *image, uint32_t segments, uint32_t generation, uint32_t end,
                         uint32_t *at)
{
    bool repaired;
    for (uint32_t s = end + 1; s < segments - 1; s++)
        if (classify(image + (size_t)s * LOG_SEGMENT, s, generation, &repaired) == SEG_VALID) {
            *at = s;
            return true;
        }
    return false;
}

static void judge(struct log__scan *out, err_t verdict, const char *what, uint32_t isec)
{
    out->verdict = verdict;
    snprintf(out->detail, sizeof out->detail, "segment %u %s", isec, what);
}

/* The log stops being data at `end`, which is in `state`. */
static void judge_end(uint8_t *image, uint32_t segments, uint32_t generation, enum log__scan_as as,
                      enum segment_state state, struct log__scan *out)
{
    err_t corrupt = as == SCAN_STRICT ? JET_errLogCorruptDuringHardRestore : JET_errLogFileCorrupt;
    uint32_t at = 0;
    if (state == SEG_FUTURE) {
        judge(out, corrupt, "claims a later position", out->end);
    } else if (as == SCAN_LAST) {
        if (!lost_batch(image, segments, generation, out->end, &at))
            judge(out, corrupt, "is valid behind a damaged one", at);
        else
            out->torn |=
                state == SEG_BAD || valid_beyond(image, segments, generation, out->end, &at);
    } else if (valid_beyond(image, segments, generation, out->end, &at)) {
        judge(out, corrupt, "is valid behind a damaged one", at);
    } else if (state == SEG_BAD) {
        judge(out, as == SCAN_STRICT ? JET_errLogTornWriteDuringHardRestore : corrupt, "is damaged",
              out->end);
    }
}

void log__scan(uint8_t *image, uint32_t segments, uint32_t generation, enum log__scan_as as,
               struct log__scan *out)
{
    *out = (struct log__scan){.end = segments - 1};
    for (uint32_t s = 1; s < segments - 1; s++) {
        uint8_t *segment = image + (size_t)s * LOG_SEGMENT;
        bool repaired;
        enum segment_state state = classify(segment, s, generation, &repaired);
        if (state != SEG_VALID && state != SEG_EMPTY && shadow_serves(image, s, generation)) {
            if (as == SCAN_STRICT) {
                out->end = s;
                judge(out, JET_errLogTornWriteDuringHardRestore, "is torn", s);
                return;
            }
            memcpy(segment, segment + LOG_SEGMENT, LOG_SEGMENT);
            out->torn = repaired = true;
            state = SEG_VALID;
        }
        if (state != SEG_VALID) {
            out->end = s;
            judge_end(image, segments, generation, as, state, out);
            return;
        }
        out->repaired |= repaired;
        out->accumulated ^= load_u64(segment + SEG_CHECKSUM);
    }
}

/* ---- whole files ---- */

err_t log__image_read(const char *path, uint8_t **image, struct log_header *header)
{
    err_t err = JET_errSuccess;
    struct os_file *f = NULL;
    *image = NULL;
    TRY(log_read_header(path, header));
    TRY(os_file_open(path, OS_READ, &f));
    *image = os_alloc_aligned(header->file_size);
    if (*image == NULL)
        FAIL(JET_errOutOfMemory);
    TRY(os_file_read(f, 0, *image, header->file_size));
out:
    os_file_close(f);
    if (err < 0) {
        os_free_aligned(*image);
        *image = NULL;
    }
    return err;
}

/* Where the data ends, when every segment is as it was written and nothing but zeros follows: as log__scan finds it, without a
 * change of the image. 0: not so. */
static uint32_t sound_end(const uint8_t *image, uint32_t segments, uint32_t generation)
{
    uint32_t end = 1;
    for (; end < segments - 1; end++) {
        const uint8_t *segment = image + (size_t)end * LOG_SEGMENT;
        if (load_u64(segment + SEG_CHECKSUM) != compute(segment, end) || !sum_fits(segment) ||
            position_state(segment, end, generation) != SEG_VALID)
            break;
    }
    for (uint32_t s = end; s < segments - 1; s++)
        if (!all_zero(image + (size_t)s * LOG_SEGMENT, LOG_SEGMENT))
            return 0;
    return end;
}

static err_t walk_all(const uint8_t *image, uint32_t generation, uint32_t end)
{
    struct log__walk walk;
    struct log_view view;
    lgpos_t physical;
    bool done = false;
    err_t err = JET_errSuccess;
    log__walk_start(&walk, image, generation, end);
    while (err >= 0 && !done)
        err = log__walk_next(&walk, &view, &physical, &done);
    buffer_free(&walk.joined);
    return err;
}

/* On a copy: a repair must not reach the caller's bytes. */
static err_t scan_and_walk(const uint8_t *image, size_t n, uint32_t generation)
{
    uint8_t *copy = os_map(n, true);
    if (copy == NULL)
        return RAISE(JET_errOutOfMemory);
    for (size_t at = 0; at < n; at += LOG_SEGMENT)
        if (!all_zero(image + at, LOG_SEGMENT)) /* the unused end costs no memory */
            memcpy(copy + at, image + at, LOG_SEGMENT);
    struct log__scan scan;
    log__scan(copy, (uint32_t)(n / LOG_SEGMENT), generation, SCAN_STRICT, &scan);
    err_t err = JET_errSuccess;
    if (scan.verdict != 0) {
        err = RAISE(JET_errLogReadVerifyFailure);
        err_detail("generation %X: %s", generation, scan.detail);
    } else {
        err = walk_all(copy, generation, scan.end);
    }
    os_unmap(copy, n);
    return err;
}

/* What a backup promises about a log that it copied: every segment good, only unused space behind
 * the last, and the records can be framed. */
static err_t verify(const uint8_t *image, size_t n, uint32_t generation)
{
    struct log_header header;
    TRY_RETURN(log__header_decode(image, &header));
    if (header.file_size != n)
        return RAISE(JET_errLogFileSizeMismatch);
    if (header.generation != generation)
        return RAISE(JET_errLogGenerationMismatch);
    uint32_t end = sound_end(image, (uint32_t)(n / LOG_SEGMENT), generation);
    return end > 0 ? walk_all(image, generation, end) : scan_and_walk(image, n, generation);
}

err_t log_verify_image(const uint8_t *image, size_t n, uint32_t generation)
{
    if (n < (size_t)LOG_SEGMENTS_MIN * LOG_SEGMENT || n > (size_t)LOG_SEGMENTS_MAX * LOG_SEGMENT ||
        n % LOG_SEGMENT != 0)
        return RAISE(JET_errLogReadVerifyFailure);
    err_t err = verify(image, n, generation);
    if (err < 0 && err != JET_errLogReadVerifyFailure && err != JET_errOutOfMemory)
        err = RAISE(JET_errLogReadVerifyFailure);
    return err;
}

err_t log_verify_file(const char *path, uint32_t generation)
{
    struct log_header header;
    uint8_t *image;
    err_t err = log__image_read(path, &image, &header);
    if (err == JET_errLogFileCorrupt || err == JET_errLogFileSizeMismatch ||
        err == JET_errFileIOBeyondEOF)
        err = RAISE(JET_errLogReadVerifyFailure);
    if (err >= 0)
        err = log_verify_image(image, header.file_size, generation);
    os_free_aligned(image);
    return err;
}
