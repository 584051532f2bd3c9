/* The databases that redo has open: their ranges, backup stamps, and how they are closed. */
#include <stdio.h>

#include "recovery/recovery_private.h"

struct redo_database *recovery__database(struct recovery *r, dbid_t dbid)
{
    if (dbid == 0 || dbid > DBID_MAX)
        return NULL;
    struct redo_database *d = &r->database[dbid];
    return d->state == REDO_OPEN && r->view.at > d->lgpos_attach ? d : NULL;
}

/* ---- generations ---- */

/* What a killed process wrote is in the kernel's memory, perhaps not on disk. Pages must not get ahead of it. */
static err_t sync_log(const char *path)
{
    struct os_file *f = NULL;
    TRY_RETURN(os_file_open(path, OS_READ, &f));
    err_t err = os_file_sync(f);
    os_file_close(f);
    return err;
}

/* The generation that a header names last must be the one that it was. */
static err_t check_time(struct recovery *r, const struct redo_database *d)
{
    static const struct logtime unknown;
    if (d->committed_max != r->generation || memcmp(&d->committed_time, &unknown, sizeof unknown) == 0 ||
        memcmp(&d->committed_time, &r->generation_time, sizeof unknown) == 0)
        return JET_errSuccess;
    err_t err = RAISE(r->generation <= d->range_max ? JET_errInvalidLogSequence : JET_errCommittedLogFilesMissing);
    err_detail("%s was written with another generation %X than %.120s", d->path, r->generation, r->path);
    return err;
}

struct cover_edit {
    uint32_t generation;
    struct logtime created;
};

static void edit_cover(struct db_header *h, void *context)
{
    const struct cover_edit *c = context;
    if (h->state == DB_CLEAN)
        h->state = DB_DIRTY;
    if (h->gen_max_required < c->generation)
        h->gen_max_required = c->generation;
    if (h->gen_max_committed < c->generation) {
        h->gen_max_committed = c->generation;
        h->time_gen_max_created = c->created;
    }
}

err_t recovery__cover(struct recovery *r, struct redo_database *d)
{
    struct cover_edit c = {r->generation, r->generation_time};
    struct db_header h;
    dbfile_copy_header(d->db, &h);
    TRY_RETURN(check_time(r, d));
    if (h.state != DB_CLEAN && h.gen_max_required >= c.generation && h.gen_max_committed >= c.generation)
        return JET_errSuccess;
    return dbfile_update_header(d->db, edit_cover, &c);
}

err_t recovery__enter_generation(struct recovery *r)
{
    snprintf(r->path, sizeof r->path, "%s", log_reader_path(r->reader));
    r->generation_time = log_reader_header(r->reader)->created;
    TRY_RETURN(sync_log(r->path));
    for (int i = 1; i <= DBID_MAX; i++)
        if (r->database[i].state == REDO_OPEN)
            TRY_RETURN(recovery__cover(r, &r->database[i]));
    return JET_errSuccess;
}

/* ---- the end of redo: is everything there that the databases need (log-format.md 8.8) ---- */

static err_t lacks(struct recovery *r, const struct redo_database *d, err_t code, uint32_t low, uint32_t high)
{
    char range[40];
    snprintf(range, sizeof range, "%X-%X", low, high);
    event_report(code == JET_errRequiredLogFilesMissing ? 453 : 496, EVENT_ERROR, r->config->instance_name,
                 "log files that a database needs are missing", d->path, range, NULL);
    err_t err = RAISE(code);
    err_detail("%s needs generations up to %X, the log ends with %X", d->path, high, low);
    return err;
}

struct lost_edit {
    uint32_t last;
};

static void edit_lost(struct db_header *h, void *context)
{
    const struct lost_edit *e = context;
    h->gen_max_committed = e->last;
    memset(&h->time_gen_max_created, 0, sizeof h->time_gen_max_created);
}

static err_t check_open(struct recovery *r, struct redo_database *d)
{
    if (r->generation < d->range_max)
        return lacks(r, d, JET_errRequiredLogFilesMissing, r->generation, d->range_max);
    if (r->generation >= d->committed_max)
        return JET_errSuccess;
    if (!r->config->ignore_lost_logs)
        return lacks(r, d, JET_errCommittedLogFilesMissing, r->generation, d->committed_max);
    struct lost_edit e = {r->generation};
    r->lost_committed = true;
    return dbfile_update_header(d->db, edit_lost, &e);
}

static err_t deferred_error(const struct redo_database *d, err_t code, const char *what)
{
    err_t err = RAISE(code);
    err_detail("%s: %s", d->path, what);
    return err;
}

/* Still deferred, and no record has detached it. */
static err_t check_deferred(struct recovery *r, struct redo_database *d)
{
    lgpos_t end = r->view.end;
    switch (d->why) {
    case DEFER_CONSISTENT:
        if (d->header_position <= end)
            return JET_errSuccess;
        return deferred_error(d, JET_errConsistentTimeMismatch, "it was closed later than the log ends");
    case DEFER_UNMAPPED:
        return JET_errSuccess;
    case DEFER_MISSING:
        if ((d->map_grbit & JET_bitRestoreMapIgnoreWhenMissing) != 0 ||
            (r->config->ignore_missing_db && (d->map_grbit & JET_bitRestoreMapFailWhenMissing) == 0))
            return JET_errSuccess;
        return deferred_error(d, JET_errAttachedDatabaseMismatch, "the file is missing");
    case DEFER_ATTACH_LATER:
        return deferred_error(d, JET_errAttachedDatabaseMismatch, "it was attached later than the log ends");
    default:
        return deferred_error(d, JET_errAttachedDatabaseMismatch, "another database lies there, or it went to another log");
    }
}

err_t recovery__check_ranges(struct recovery *r)
{
    for (int i = 1; i <= DBID_MAX; i++) {
        struct redo_database *d = &r->database[i];
        if (d->state == REDO_OPEN)
            TRY_RETURN(check_open(r, d));
        else if (d->state == REDO_DEFERRED)
            TRY_RETURN(check_deferred(r, d));
    }
    return JET_errSuccess;
}

/* ---- backup's stamps ---- */

struct stamp_edit {
    uint8_t scope;
    uint32_t type;
    struct bkinfo info;
};
enum { SCOPE_FULL = 1, SCOPE_INC = 2, SCOPE_COPY = 5, SCOPE_DIFF = 6 };

static void put(struct bkinfo *to, uint32_t *type_to, const struct stamp_edit *e)
{
    if (to->mark > e->info.mark)
        return;
    *to = e->info;
    *type_to = e->type;
}

static void edit_stamp(struct db_header *h, void *context)
{
    const struct stamp_edit *e = context;
    switch (e->scope) {
    case SCOPE_FULL:
        if (h->full_prev.mark <= e->info.mark) {
            h->inc_prev = h->diff_prev = (struct bkinfo){0};
            h->type_inc_prev = h->type_diff_prev = 0;
        }
        put(&h->full_prev, &h->type_full_prev, e);
        break;
    case SCOPE_INC:
        put(&h->inc_prev, &h->type_inc_prev, e);
        break;
    case SCOPE_COPY:
        put(&h->copy_prev, &h->type_copy_prev, e);
        break;
    default:
        put(&h->diff_prev, &h->type_diff_prev, e);
        break;
    }
}

static void note_marks(struct recovery *r, const struct stamp_edit *e)
{
    struct checkpoint *c = &r->checkpoint;
    if (e->scope == SCOPE_FULL && e->info.mark > c->full_backup) {
        c->full_backup = e->info.mark;
        c->full_time = e->info.time;
    } else if (e->scope == SCOPE_INC && e->info.mark > c->inc_backup) {
        c->inc_backup = e->info.mark;
        c->inc_time = e->info.time;
    }
}

/* Phase 4 of a backup: what it wrote into the headers of its databases. */
err_t recovery__redo_backup(struct recovery *r, struct slice record)
{
    enum { PHASE_UPDATE = 4 };
    struct stamp_edit e;
    if (record.n < 35)
        return recovery__bad_record(r, record);
    struct redo_database *d = recovery__database(r, record.p[7]);
    e = (struct stamp_edit){.scope = record.p[6], .type = load_u32(record.p + 2)};
    if (record.p[1] != PHASE_UPDATE || d == NULL)
        return JET_errSuccess;
    if (e.scope != SCOPE_FULL && e.scope != SCOPE_INC && e.scope != SCOPE_COPY && e.scope != SCOPE_DIFF)
        return recovery__bad_record(r, record);
    memcpy(&e.info, record.p + 8, sizeof e.info);
    note_marks(r, &e);
    return dbfile_update_header(d->db, edit_stamp, &e);
}

/* ---- closing ---- */

void recovery__close(struct redo_database *d)
{
    if (d->state == REDO_OPEN) {
        if (d->space_open)
            space_term(d->db);
        dbfile_close(d->db);
    }
    *d = (struct redo_database){0};
}

struct clean_edit {
    lgpos_t at;
    bool restore;
};

static void edit_clean(struct db_header *h, void *context)
{
    const struct clean_edit *e = context;
    h->state = DB_CLEAN;
    h->lgpos_consistent = h->lgpos_detach = e->at;
    os_logtime_now(&h->time_consistent);
    h->time_detach = h->time_consistent;
    h->gen_min_required = h->gen_max_required = h->gen_min_consistent = h->gen_max_committed = 0;
    h->time_gen_max_created = (struct logtime){{0}};
    h->full_cur = h->snapshot_cur = (struct bkinfo){0};
    if (!e->restore)
        return;
    h->full_prev = h->inc_prev = h->copy_prev = h->diff_prev = (struct bkinfo){0};
    h->type_full_prev = h->type_inc_prev = h->type_copy_prev = h->type_diff_prev = 0;
}

err_t recovery__clean_header(struct recovery *r, struct redo_database *d, lgpos_t at)
{
    struct clean_edit e = {at, recovery__is_restore(r)};
    return dbfile_update_header(d->db, edit_clean, &e);
}

err_t recovery__detach(struct recovery *r, struct redo_database *d, lgpos_t at)
{
    TRY_RETURN(dbfile_flush(d->db));
    TRY_RETURN(recovery__clean_header(r, d, at));
    recovery__close(d);
    return JET_errSuccess;
}

/* What headers of new generations list. */
void recovery__set_attached(struct recovery *r)
{
    struct log_attached list[DBID_MAX];
    int count = 0;
    for (int i = 1; i <= DBID_MAX; i++) {
        struct redo_database *d = &r->database[i];
        struct db_header h;
        if (d->state != REDO_OPEN)
            continue;
        dbfile_copy_header(d->db, &h);
        list[count++] = (struct log_attached){
            .dbid = (dbid_t)i,
            .dbtime = &d->db->dbtime,
            .objid_last = &d->db->objid_last,
            .lgpos_attach = d->lgpos_attach,
            .lgpos_consistent = h.lgpos_consistent,
            .sign_db = d->sign_db,
            .path = d->db->path,
        };
    }
    log_set_attached(r->config->log, list, count);
}
