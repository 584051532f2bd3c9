/* How far redo has come, in percent of the log between its first and last generation. Told once a percent, never going back. */
#include "recovery/recovery_private.h"

static uint32_t percent_now(const struct recovery *r)
{
    uint64_t segments = log_reader_header(r->reader)->file_size / LOG_SEGMENT;
    uint64_t all = r->result->gen_last - r->result->gen_first + 1;
    uint64_t before = r->generation - r->result->gen_first;
    if (segments == 0 || r->generation > r->result->gen_last)
        return 99;
    uint64_t n = 100 * (before * segments + LGPOS_SEC(r->view.at)) / (all * segments);
    return n > 99 ? 99 : (uint32_t)n;
}

err_t recovery__progress(struct recovery *r, JET_SNT snt)
{
    const struct progress *p = &r->config->progress;
    if (p->fn == NULL)
        return JET_errSuccess;
    if (snt == JET_sntBegin) {
        if (r->begun) /* with a smaller cache: it has been told how far that came */
            return JET_errSuccess;
        r->begun = true;
        r->percent = 0;
    } else if (!r->begun) {
        return JET_errSuccess;
    } else if (snt == JET_sntProgress) {
        uint32_t now = percent_now(r);
        if (now <= r->percent)
            return JET_errSuccess;
        r->percent = now;
    } else if (snt == JET_sntComplete) {
        r->percent = 100;
    }
    return p->fn(p->context, JET_snpRestore, snt, r->percent, 100);
}
