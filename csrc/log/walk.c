/* The records in the data segments of one generation: NOPs skipped, fragments joined. */
#include "log/log_private.h"

void log__walk_start(struct log__walk *walk, const uint8_t *image, uint32_t generation,
                     uint32_t end)
{
    *walk = (struct log__walk){
        .image = image, .generation = generation, .end = end, .isec = 1, .ib = LOG_SEGMENT_HEAD};
}

static lgpos_t here(const struct log__walk *w)
{
    return LGPOS(w->generation, w->isec, w->ib == LOG_SEGMENT_HEAD ? 0 : w->ib);
}

static lgpos_t after(const struct log__walk *w, uint32_t ib)
{
    return ib == LOG_SEGMENT ? LGPOS(w->generation, w->isec + 1, 0)
                             : LGPOS(w->generation, w->isec, ib);
}

static err_t corrupt(const struct log__walk *w, const char *what)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("%s at %08X,%04X,%04X", what, w->generation, w->isec, w->ib);
    return err;
}

static void next_segment(struct log__walk *w)
{
    w->isec++;
    w->ib = LOG_SEGMENT_HEAD;
}

/* After a crash the writer goes on in a fresh segment with one of these; a chain that was not
 * finished before is then no record. */
static bool restarts(const struct log__walk *w, const uint8_t *record, uint32_t size)
{
    unsigned type = record[0];
    if (type == LOG_FragmentBegin && size > FRAGMENT_BEGIN_HEAD)
        type = record[FRAGMENT_BEGIN_HEAD];
    return w->ib == LOG_SEGMENT_HEAD &&
           (type == LOG_RecoveryUndo || type == LOG_RecoveryUndo2 || type == LOG_UndoInfo ||
            type == LOG_Init || type == LOG_Init2 || type == LOG_ShutDownMark);
}

static err_t join(struct log__walk *w, const uint8_t *record, uint32_t size, lgpos_t at,
                  bool *whole)
{
    *whole = false;
    if (record[0] == LOG_FragmentBegin) {
        uint32_t total = load_u32(record + 1);
        if (w->ib + size != LOG_SEGMENT || size - FRAGMENT_BEGIN_HEAD >= total)
            return corrupt(w, "fragment that does not reach its segment's end");
        w->joining = true;
        w->join_at = at;
        w->join_physical = here(w);
        w->join_total = total;
        w->joined.n = 0;
        TRY_RETURN(buffer_append(&w->joined,
                                 SLICE(record + FRAGMENT_BEGIN_HEAD, size - FRAGMENT_BEGIN_HEAD)));
    } else {
        if (!w->joining || w->ib != LOG_SEGMENT_HEAD)
            return corrupt(w, "fragment without a beginning");
        TRY_RETURN(buffer_append(&w->joined, SLICE(record + FRAGMENT_HEAD, size - FRAGMENT_HEAD)));
        if (w->joined.n > w->join_total)
            return corrupt(w, "fragments exceed their record");
        *whole = w->joined.n == w->join_total;
        if (!*whole && w->ib + size != LOG_SEGMENT)
            return corrupt(w, "fragment that does not reach its segment's end");
    }
    return JET_errSuccess;
}

static err_t check_joined(struct log__walk *w)
{
    uint32_t size;
    TRY_RETURN(log_record_size(buffer_slice(&w->joined), &size));
    unsigned type = w->joined.p[0];
    if (size != w->join_total || type == LOG_NOP || type == LOG_FragmentBegin ||
        type == LOG_Fragment)
        return corrupt(w, "fragments that make no record");
    return JET_errSuccess;
}

/* A zero byte where a record is expected runs to the segment end. */
static err_t skip_nops(struct log__walk *w, const uint8_t *record, uint32_t room)
{
    for (uint32_t i = 1; i < room; i++)
        if (record[i] != 0)
            return corrupt(w, "NOPs that do not reach the segment end");
    if (w->skipped == 0)
        w->skipped = here(w);
    next_segment(w);
    return JET_errSuccess;
}

err_t log__walk_next(struct log__walk *w, struct log_view *out, lgpos_t *physical, bool *done)
{
    *done = false;
    while (w->isec < w->end) {
        uint32_t room = LOG_SEGMENT - w->ib, size;
        if (room == 0) {
            next_segment(w);
            continue;
        }
        const uint8_t *record = w->image + (size_t)w->isec * LOG_SEGMENT + w->ib;
        if (record[0] == LOG_NOP) {
            TRY_RETURN(skip_nops(w, record, room));
            continue;
        }
        TRY_RETURN(log_record_size(SLICE(record, room), &size));
        if (size == 0 || size > room)
            return corrupt(w, "record that leaves its segment");
        if (w->joining && record[0] != LOG_Fragment) {
            if (!restarts(w, record, size))
                return corrupt(w, "record inside a fragment chain");
            w->joining = false;
        }
        *physical = here(w);
        lgpos_t at = w->skipped != 0 ? w->skipped : *physical;
        bool whole = true, piece = record[0] == LOG_FragmentBegin || record[0] == LOG_Fragment;
        if (piece)
            TRY_RETURN(join(w, record, size, at, &whole));
        w->skipped = 0;
        out->at = piece ? w->join_at : at;
        out->end = after(w, w->ib + size);
        out->bytes = piece ? buffer_slice(&w->joined) : SLICE(record, size);
        if (piece && whole) {
            TRY_RETURN(check_joined(w));
            w->joining = false;
            *physical = w->join_physical;
        }
        w->ib += size;
        if (whole)
            return JET_errSuccess;
    }
    *done = true;
    return JET_errSuccess;
}

lgpos_t log__walk_end(const struct log__walk *w)
{
    if (w->skipped != 0)
        return w->skipped;
    return LGPOS(w->generation, w->end, 0);
}
