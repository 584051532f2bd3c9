#include <stdio.h>

#include "backup/backup_private.h"

/* What a backup writes about itself: Backup2 records and the bkinfo of the headers. */

err_t stamp__record(struct run *run, enum backup_phase phase, dbid_t dbid, const struct bkinfo *details, lgpos_t *at)
{
    uint8_t bytes[RECORD_SIZE] = {0};
    bytes[0] = LOG_Backup2;
    bytes[1] = (uint8_t)phase;
    bytes[6] = run->full ? SCOPE_FULL : SCOPE_INCREMENTAL;
    bytes[7] = dbid;
    if (details != NULL)
        memcpy(bytes + 8, details, sizeof *details);
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, sizeof bytes)}, .head = bytes};
    struct log_stamp stamp = {0};
    TRY_RETURN(log_append(run->b->host.log, &record, 1, &stamp));
    if (at != NULL)
        *at = stamp.first;
    return JET_errSuccess;
}

struct stamp {
    struct bkinfo info;
    bool full;
};

static void edit(struct db_header *h, void *context)
{
    const struct stamp *s = context;
    static const struct bkinfo none;
    struct bkinfo *to = s->full ? &h->full_prev : &h->inc_prev;
    if (to->mark > s->info.mark)
        return;
    *to = s->info;
    if (!s->full) {
        h->type_inc_prev = 0;
        return;
    }
    h->type_full_prev = 0;
    h->inc_prev = h->diff_prev = none;
    h->type_inc_prev = h->type_diff_prev = 0;
}

void stamp__headers(struct run *run)
{
    struct stamp s = {.full = run->full, .info = run->mark};
    s.info.gen_low = run->copy_mic;
    s.info.gen_high = run->copy_mac - 1;
    if (!run->full) {
        s.info.mark = run->roll_at;
        os_logtime_now(&s.info.time);
    }
    for (int i = 0; i < run->db_count; i++) {
        err_t err = stamp__record(run, PHASE_UPDATE, run->dbs[i]->dbid, &s.info, NULL);
        if (err >= 0)
            err = log_flush_all(run->b->host.log);
        if (err >= 0)
            err = dbfile_update_header(run->dbs[i], edit, &s);
        if (err < 0)
            run__event_file(run, 219, EVENT_WARNING, "a header could not be given the backup's marks", err, run->dbs[i]->path);
    }
    struct bkinfo *m = &s.info;
    if (run->full)
        checkpointer_set_backup_marks(run->b->host.checkpointer, m->mark, m->time, LGPOS_MIN, (struct logtime){{0}});
    else
        checkpointer_set_backup_marks(run->b->host.checkpointer, LGPOS_MIN, (struct logtime){{0}}, m->mark, m->time);
}
