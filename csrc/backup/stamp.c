#include <stdio.h>

#include "backup/backup_private.h"

/* What a backup writes about itself: Backup2 records and the bkinfo of the headers. */

enum backup_scope stamp__scope(const struct series *s)
{
    if (s->full)
        return s->truncated ? SCOPE_FULL : SCOPE_COPY;
    return s->truncated ? SCOPE_INCREMENTAL : SCOPE_DIFFERENTIAL;
}

err_t stamp__append(struct backup *b, const struct stamp *stamp, enum backup_phase phase, dbid_t dbid, lgpos_t *at)
{
    uint8_t bytes[RECORD_SIZE] = {0};
    bytes[0] = LOG_Backup2;
    bytes[1] = (uint8_t)phase;
    store_u32(bytes + 2, stamp->record_type);
    bytes[6] = (uint8_t)stamp->scope;
    bytes[7] = dbid;
    memcpy(bytes + 8, &stamp->info, sizeof stamp->info);
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, sizeof bytes)}, .head = bytes};
    struct log_stamp at_log = {0};
    TRY_RETURN(log_append(b->host.log, &record, 1, &at_log));
    if (at != NULL)
        *at = at_log.first;
    return JET_errSuccess;
}

err_t stamp__record(struct series *s, enum backup_phase phase, enum backup_scope scope, dbid_t dbid, const struct bkinfo *details,
                    lgpos_t *at)
{
    struct stamp stamp = {.scope = scope};
    if (details != NULL)
        stamp.info = *details;
    return stamp__append(s->b, &stamp, phase, dbid, at);
}

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
    *type = stamp->header_type;
    if (stamp->scope != SCOPE_FULL)
        return;
    h->inc_prev = h->diff_prev = none;
    h->type_inc_prev = h->type_diff_prev = 0;
}

err_t stamp__database(struct backup *b, struct dbfile *db, struct stamp *stamp)
{
    TRY_RETURN(stamp__append(b, stamp, PHASE_UPDATE, db->dbid, NULL));
    TRY_RETURN(log_flush_all(b->host.log)); /* a header never knows of what the log does not */
    return dbfile_update_header(db, edit, stamp);
}

void stamp__checkpoint(struct backup *b, const struct stamp *stamp)
{
    const struct bkinfo *m = &stamp->info;
    if (stamp->scope == SCOPE_FULL)
        checkpointer_set_backup_marks(b->host.checkpointer, m->mark, m->time, LGPOS_MIN, (struct logtime){{0}});
    else if (stamp->scope == SCOPE_INCREMENTAL)
        checkpointer_set_backup_marks(b->host.checkpointer, LGPOS_MIN, (struct logtime){{0}}, m->mark, m->time);
}

void stamp__headers(struct series *s)
{
    struct stamp stamp = {.scope = stamp__scope(s), .info = s->full ? s->mark : s->roll};
    stamp.info.gen_low = s->copy_mic;
    stamp.info.gen_high = s->copy_mac - 1;
    for (int i = 0; i < s->db_count; i++) {
        if (s->full && !s->dbs[i].copied)
            continue;
        err_t err = stamp__database(s->b, s->dbs[i].db, &stamp);
        if (err < 0)
            series__event_file(s, 219, EVENT_WARNING, "a header could not be given the backup's marks", err, s->dbs[i].db->path);
    }
    stamp__checkpoint(s->b, &stamp);
}
