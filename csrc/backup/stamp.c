#include <stdio.h>

#include "backup/backup_private.h"

/* What a backup writes about itself: Backup2 records and the bkinfo of the headers. */

enum backup_scope stamp__scope(const struct series *s)
{
    if (s->full)
        return s->truncated ? SCOPE_FULL : SCOPE_COPY;
    return s->truncated ? SCOPE_INCREMENTAL : SCOPE_DIFFERENTIAL;
}

err_t stamp__record(struct series *s, enum backup_phase phase, enum backup_scope scope, dbid_t dbid, const struct bkinfo *details,
                    lgpos_t *at)
{
    uint8_t bytes[RECORD_SIZE] = {0};
    bytes[0] = LOG_Backup2;
    bytes[1] = (uint8_t)phase;
    bytes[6] = (uint8_t)scope;
    bytes[7] = dbid;
    if (details != NULL)
        memcpy(bytes + 8, details, sizeof *details);
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, sizeof bytes)}, .head = bytes};
    struct log_stamp stamp = {0};
    TRY_RETURN(log_append(s->b->host.log, &record, 1, &stamp));
    if (at != NULL)
        *at = stamp.first;
    return JET_errSuccess;
}

struct stamp {
    struct bkinfo info;
    enum backup_scope scope;
};

static struct bkinfo *field_of(struct db_header *h, enum backup_scope scope, uint32_t **type)
{
    switch (scope) {
    case SCOPE_FULL:
        *type = &h->type_full_prev;
        return &h->full_prev;
    case SCOPE_INCREMENTAL:
        *type = &h->type_inc_prev;
        return &h->inc_prev;
    case SCOPE_COPY:
        *type = &h->type_copy_prev;
        return &h->copy_prev;
    default:
        *type = &h->type_diff_prev;
        return &h->diff_prev;
    }
}

static void edit(struct db_header *h, void *context)
{
    const struct stamp *stamp = context;
    static const struct bkinfo none;
    uint32_t *type;
    struct bkinfo *to = field_of(h, stamp->scope, &type);
    if (to->mark > stamp->info.mark)
        return;
    *to = stamp->info;
    *type = 0; /* a streaming backup */
    if (stamp->scope != SCOPE_FULL)
        return;
    h->inc_prev = h->diff_prev = none;
    h->type_inc_prev = h->type_diff_prev = 0;
}

static err_t stamp_one(struct series *s, struct dbfile *db, struct stamp *stamp)
{
    TRY_RETURN(stamp__record(s, PHASE_UPDATE, stamp->scope, db->dbid, &stamp->info, NULL));
    TRY_RETURN(log_flush_all(s->b->host.log)); /* a header never knows of what the log does not */
    return dbfile_update_header(db, edit, stamp);
}

void stamp__headers(struct series *s)
{
    struct stamp stamp = {.scope = stamp__scope(s), .info = s->full ? s->mark : s->roll};
    const struct bkinfo *m = &stamp.info;
    stamp.info.gen_low = s->copy_mic;
    stamp.info.gen_high = s->copy_mac - 1;
    for (int i = 0; i < s->db_count; i++) {
        if (s->full && !s->dbs[i].copied)
            continue;
        err_t err = stamp_one(s, s->dbs[i].db, &stamp);
        if (err < 0)
            series__event_file(s, 219, EVENT_WARNING, "a header could not be given the backup's marks", err, s->dbs[i].db->path);
    }
    if (stamp.scope == SCOPE_FULL)
        checkpointer_set_backup_marks(s->b->host.checkpointer, m->mark, m->time, LGPOS_MIN, (struct logtime){{0}});
    else if (stamp.scope == SCOPE_INCREMENTAL)
        checkpointer_set_backup_marks(s->b->host.checkpointer, LGPOS_MIN, (struct logtime){{0}}, m->mark, m->time);
}
