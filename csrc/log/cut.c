/* Up to a moment: where in a file it lies, and a copy of a file that ends there (restores to a point in time). */
#include "log/log_private.h"

/* Milliseconds are split over the last two bytes; what is left out (UTC, snapshot) does not order. */
static uint64_t order_of(const uint8_t *t)
{
    uint64_t ms = (uint64_t)(t[6] >> 1) | (uint64_t)(t[7] >> 1 & 7) << 7;
    return (uint64_t)t[5] << 50 | (uint64_t)t[4] << 42 | (uint64_t)t[3] << 34 | (uint64_t)t[2] << 26 | (uint64_t)t[1] << 18 |
           (uint64_t)t[0] << 10 | ms;
}

static err_t read_scanned(const char *path, uint8_t **image, struct log_header *h, struct log__scan *scan)
{
    TRY_RETURN(log__image_read(path, image, h));
    log__scan(*image, h->file_size / LOG_SEGMENT, h->generation, SCAN_LAST, scan);
    if (scan->verdict == 0)
        return JET_errSuccess;
    err_t err = RAISE(scan->verdict);
    err_detail("%.200s: %s", path, scan->detail);
    os_free_aligned(*image);
    *image = NULL;
    return err;
}

/* Position of the last record that begins before a segment: a position after NOPs names the segment before, so segment numbers
 * alone would not do. None: the whole generation before is what can be read. */
static err_t last_before(const uint8_t *image, const struct log_header *h, const struct log__scan *scan, uint32_t segment, lgpos_t *stop)
{
    struct log__walk walk;
    struct log_view view;
    lgpos_t physical;
    bool done = false;
    err_t err = JET_errSuccess;
    *stop = LGPOS(h->generation - 1, 0, 0);
    log__walk_start(&walk, image, h->generation, scan->end);
    for (;;) {
        err = log__walk_next(&walk, &view, &physical, &done);
        if (err < 0 || done || LGPOS_SEC(physical) >= segment)
            break;
        *stop = view.at;
    }
    buffer_free(&walk.joined);
    return err;
}

err_t log_find_time(const char *path, const struct logtime *time, bool *later, lgpos_t *stop)
{
    struct log_header h;
    struct log__scan scan;
    uint8_t *image;
    *later = false;
    *stop = LGPOS_MIN;
    TRY_RETURN(read_scanned(path, &image, &h, &scan));
    uint32_t s = 1;
    while (s < scan.end && order_of(image + (size_t)s * LOG_SEGMENT + SEG_TIME) <= order_of(time->b))
        s++;
    *later = s < scan.end;
    err_t err = *later ? last_before(image, &h, &scan, s, stop) : JET_errSuccess;
    os_free_aligned(image);
    return err;
}

/* Segments from `end` on become unused space; the one that it cuts keeps its records before it. */
static err_t cut(uint8_t *image, const struct log_header *h, const struct log__scan *scan, lgpos_t end)
{
    uint32_t segment = LGPOS_SEC(end), byte = LGPOS_BYTE(end), first = segment + (byte > 0);
    bool inside = LGPOS_GEN(end) == h->generation && segment >= 1 && first <= scan->end &&
                  (byte == 0 || (byte >= LOG_SEGMENT_HEAD && byte < LOG_SEGMENT));
    if (!inside)
        return RAISE(JET_errInvalidLogSequence);
    if (byte > 0) {
        uint8_t *s = image + (size_t)segment * LOG_SEGMENT;
        memset(s + byte, 0, LOG_SEGMENT - byte);
        log__seal_segment(s, segment);
    }
    memset(image + (size_t)first * LOG_SEGMENT, 0, h->file_size - (size_t)first * LOG_SEGMENT);
    return JET_errSuccess;
}

err_t log_cut_copy(const char *from, const char *to, lgpos_t end)
{
    struct log_header h;
    struct log__scan scan;
    struct os_file *f = NULL;
    uint8_t *image = NULL;
    err_t err = JET_errSuccess;
    TRY(read_scanned(from, &image, &h, &scan));
    TRY(cut(image, &h, &scan, end));
    TRY(os_file_open(to, OS_WRITE | OS_CREATE | OS_TRUNCATE, &f));
    TRY(os_file_write(f, 0, image, h.file_size));
    TRY(os_file_sync(f));
out:
    os_file_close(f);
    os_free_aligned(image);
    return err;
}
