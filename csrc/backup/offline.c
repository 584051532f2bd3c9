#include <stdio.h>

#include "backup/offline.h"

#define HEADER_TYPE_SNAPSHOT 1u

static bool is_increment(const struct offline *o)
{
    return o->stamp.scope == SCOPE_INCREMENTAL || o->stamp.scope == SCOPE_DIFFERENTIAL;
}

static err_t check_full_before(const struct offline *o)
{
    for (int i = 0; i < o->db_count && is_increment(o); i++) {
        struct dbfile *db = o->db[i];
        os_lock_take(&db->header_lock);
        bool has_full = db->header.full_prev.gen_low != 0 && db->header.type_full_prev == HEADER_TYPE_SNAPSHOT;
        os_lock_release(&db->header_lock);
        if (has_full)
            continue;
        event_report(206, EVENT_ERROR, o->b->host.instance_name, "a database has no full backup of this kind yet", db->path, NULL);
        err_t err = RAISE(JET_errMissingFullBackup);
        err_detail("%s has had no full backup of this kind that an increment could follow; make a full one", db->path);
        return err;
    }
    return JET_errSuccess;
}

err_t offline__enter(struct offline *o, struct backup *b, enum offline_type type, enum backup_scope scope)
{
    struct dbfile *all[DBID_MAX];
    *o = (struct offline){.b = b, .stamp = {.scope = scope, .record_type = type, .header_type = HEADER_TYPE_SNAPSHOT}};
    TRY_RETURN(series__claim(b, type == OFFLINE_SNAPSHOT ? DRIVER_SNAPSHOT : DRIVER_SURROGATE));
    int n = b->host.pin_databases(b->host.context, all);
    for (int i = 0; i < n; i++)
        if (all[i]->logged && !all[i]->read_only)
            o->db[o->db_count++] = all[i];
    err_t err = check_full_before(o);
    if (err < 0)
        offline__leave(o);
    return err;
}

void offline__leave(struct offline *o)
{
    o->b->host.unpin_databases(o->b->host.context);
    series__unclaim(o->b);
}

err_t offline__record(const struct offline *o, enum backup_phase phase, const struct bkinfo *range)
{
    struct stamp stamp = o->stamp;
    if (range != NULL)
        stamp.info = *range;
    return stamp__append(o->b, &stamp, phase, 0, NULL);
}

static void stamp_all(struct offline *o)
{
    char number[16];
    for (int i = 0; i < o->db_count; i++) {
        err_t err = stamp__database(o->b, o->db[i], &o->stamp);
        if (err >= 0)
            continue;
        snprintf(number, sizeof number, "%d", (int)err);
        event_report(219, EVENT_WARNING, o->b->host.instance_name, "a header could not be given the backup's marks", number,
                     o->db[i]->path, NULL);
    }
    stamp__checkpoint(o->b, &o->stamp);
}

void offline__settle(struct offline *o, bool stamp)
{
    struct err_origin origin = *err_last();
    err_t err = JET_errSuccess;
    if (stamp)
        stamp_all(o);
    else
        err = offline__record(o, PHASE_ABORT, NULL);
    if (err >= 0)
        err = offline__record(o, PHASE_STOP, NULL);
    if (err >= 0)
        err = log_flush_all(o->b->host.log);
    if (err < 0)
        err_clear(); /* these two are informational: nothing redoes them */
    if (origin.err < 0) {
        err_restore(&origin);
    }
}
