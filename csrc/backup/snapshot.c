#include <stdio.h>

#include "backup/offline.h"

/* One instance's part in a snapshot of the operating system: the files made still and whole while others copy them
 * (backup-semantics.md 12.1). Who writes is kept away by the caller. */

struct snapshot {
    struct offline base;
    bool was_frozen, frozen;
    uint32_t copy_mac; /* the first generation that belongs to the time after */
};

static err_t not_allowed(const char *why)
{
    err_t err = RAISE(JET_errOSSnapshotNotAllowed);
    err_detail("%s", why);
    return err;
}

static enum backup_scope scope_of(JET_GRBIT kind)
{
    static const enum backup_scope scopes[] = {
        [0] = SCOPE_FULL,
        [JET_bitIncrementalSnapshot] = SCOPE_INCREMENTAL,
        [JET_bitCopySnapshot] = SCOPE_COPY,
        [JET_bitIncrementalSnapshot | JET_bitCopySnapshot] = SCOPE_DIFFERENTIAL,
    };
    return scopes[kind & (JET_bitIncrementalSnapshot | JET_bitCopySnapshot)];
}

err_t snapshot_begin(struct backup *b, JET_GRBIT kind, struct snapshot **out)
{
    *out = NULL;
    if (!log_is_enabled(b->host.log))
        return not_allowed("logging is off (JET_paramRecovery): a copy could not be recovered. Take the other instances with "
                           "JET_bitExplicitPrepare");
    struct snapshot *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = offline__enter(&s->base, b, OFFLINE_SNAPSHOT, scope_of(kind));
    if (err >= 0) {
        *out = s;
        return err;
    }
    free(s);
    if (err != JET_errBackupInProgress && err != JET_errSurrogateBackupInProgress)
        return err;
    return not_allowed("a backup or another snapshot of the instance is under way; wait for its end");
}

err_t snapshot_write_down(struct snapshot *s)
{
    return checkpointer_run(s->base.b->host.checkpointer, true);
}

/* ---- freeze ---- */

static err_t roll(struct snapshot *s)
{
    const struct backup_host *h = &s->base.b->host;
    uint32_t closed = log_current_generation(h->log);
    if (!log_is_circular(h->log))
        TRY_RETURN(log_roll(h->log, &closed));
    s->copy_mac = closed + 1;
    s->base.stamp.info.gen_high = closed;
    TRY_RETURN(offline__record(&s->base, PHASE_PREPARE_LOGS, NULL));
    return log_flush_all(h->log);
}

static err_t lowest_needed(struct snapshot *s)
{
    const struct backup_host *h = &s->base.b->host;
    s->base.stamp.info.gen_low = LGPOS_GEN(checkpointer_position(h->checkpointer));
    if (s->base.stamp.scope == SCOPE_INCREMENTAL || s->base.stamp.scope == SCOPE_DIFFERENTIAL)
        return log_lowest_generation(h->log, &s->base.stamp.info.gen_low);
    return JET_errSuccess;
}

/* Pages first: their UndoInfo goes to the log. Then the log, the headers and the checkpoint. */
static err_t still_databases(struct snapshot *s)
{
    for (int i = 0; i < s->base.db_count; i++)
        TRY_RETURN(dbfile_freeze(s->base.db[i]));
    return JET_errSuccess;
}

static err_t freeze(struct snapshot *s)
{
    const struct backup_host *h = &s->base.b->host;
    TRY_RETURN(still_databases(s));
    TRY_RETURN(lowest_needed(s));
    s->base.stamp.info.mark = log_tail(h->log);
    os_logtime_now(&s->base.stamp.info.time);
    TRY_RETURN(offline__record(&s->base, PHASE_BEGIN, NULL));
    TRY_RETURN(roll(s));
    TRY_RETURN(checkpointer_run(h->checkpointer, true));
    log_freeze(h->log);
    return JET_errSuccess;
}

err_t snapshot_freeze(struct snapshot *s)
{
    s->frozen = true;
    err_t err = freeze(s);
    if (err < 0)
        snapshot_thaw(s);
    else
        s->was_frozen = true;
    return err;
}

void snapshot_thaw(struct snapshot *s)
{
    if (!s->frozen)
        return;
    s->frozen = false;
    for (int i = 0; i < s->base.db_count; i++)
        dbfile_thaw(s->base.db[i]);
    log_thaw(s->base.b->host.log);
}

/* ---- after it ---- */

static err_t delete_logs(const struct snapshot *s, uint32_t first, uint32_t end)
{
    const struct backup_host *h = &s->base.b->host;
    char a[64], b[64];
    uint32_t deleted = 0;
    struct bkinfo range = s->base.stamp.info;
    range.gen_low = first;
    range.gen_high = end;
    TRY_RETURN(offline__record(&s->base, PHASE_TRUNCATE, &range));
    TRY_RETURN(log_flush_all(h->log));
    TRY_RETURN(log_name(h->base_name, first, h->legacy_names, a, sizeof a));
    TRY_RETURN(log_name(h->base_name, end - 1, h->legacy_names, b, sizeof b));
    event_report(224, EVENT_INFO, h->instance_name, "logs are deleted", a, b, NULL);
    TRY_RETURN(log_delete_range(h->log, first, end, &deleted));
    if (deleted == end - first)
        return JET_errSuccess;
    snprintf(a, sizeof a, "%u", end - first - deleted);
    event_report(227, EVENT_WARNING, h->instance_name, "logs to delete were gone already", a, NULL);
    return JET_errSuccess;
}

err_t snapshot_truncate(struct snapshot *s, bool all_databases)
{
    const struct backup_host *h = &s->base.b->host;
    uint32_t first, end = LGPOS_GEN(checkpointer_position(h->checkpointer));
    TRY_RETURN(log_lowest_generation(h->log, &first));
    end = s->copy_mac < end ? s->copy_mac : end;
    if (all_databases && !log_is_circular(h->log) && first < end)
        return delete_logs(s, first, end);
    event_report(225, EVENT_INFO, h->instance_name, "no log can be deleted", NULL);
    return JET_errSuccess;
}

void snapshot_end(struct snapshot *s, bool stamp)
{
    snapshot_thaw(s);
    if (s->was_frozen)
        offline__settle(&s->base, stamp);
    offline__leave(&s->base);
    free(s);
}
