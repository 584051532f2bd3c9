#include <stdio.h>

#include "backup/backup_private.h"

/* The steps that every streaming backup of an instance takes: JetBackupInstance takes them all in one call, an external backup's
 * caller one by one (backup-semantics.md 4, 5.4, 5.6, 7). */

#define INTERNAL_COPY_EVENTS 30 /* 210 becomes 240, ... */

err_t backup_create(const struct backup_host *host, struct backup **out)
{
    *out = NULL;
    struct backup *b = calloc(1, sizeof *b);
    if (b == NULL)
        return RAISE(JET_errOutOfMemory);
    b->host = *host;
    os_lock_init(&b->lock, RANK_BACKUP);
    os_cond_init(&b->changed);
    *out = b;
    return JET_errSuccess;
}

void backup_destroy(struct backup *b)
{
    if (b == NULL)
        return;
    ASSERT(b->driver == DRIVER_NONE && b->external == NULL && !b->inside);
    os_cond_term(&b->changed);
    os_lock_term(&b->lock);
    free(b);
}

bool backup_is_running(struct backup *b)
{
    if (b == NULL)
        return false;
    os_lock_take(&b->lock);
    bool running = b->driver != DRIVER_NONE;
    os_lock_release(&b->lock);
    return running;
}

bool backup_is_surrogate(struct backup *b)
{
    os_lock_take(&b->lock);
    bool surrogate = b->driver == DRIVER_SURROGATE;
    os_lock_release(&b->lock);
    return surrogate;
}

/* An external backup that is between two steps is ended here: its caller may never come again. */
static void wait_for_end_locked(struct backup *b, err_t reason)
{
    while (b->driver != DRIVER_NONE) {
        bool surrogate = b->driver == DRIVER_SURROGATE;
        if ((b->driver != DRIVER_CALLER && !surrogate) || b->inside) {
            os_cond_wait(&b->changed, &b->lock);
            continue;
        }
        b->inside = true;
        os_lock_release(&b->lock);
        if (surrogate)
            surrogate__abandon(b);
        else
            external__abandon(b, reason); /* driver and inside are free again */
        os_lock_take(&b->lock);
    }
}

void backup_stop(struct backup *b, err_t reason, bool wait)
{
    os_lock_take(&b->lock);
    if (b->driver != DRIVER_NONE)
        atomic_store(&b->stop, reason);
    if (wait)
        wait_for_end_locked(b, reason);
    os_lock_release(&b->lock);
}

err_t series__stopped(const struct series *s)
{
    return atomic_load(&s->b->stop);
}

/* ---- events ---- */

static bool has_internal_twin(int id)
{
    return id >= 210 && id <= 227 && id != 211 && id != 212;
}

void series__event(const struct series *s, int id, enum event_severity severity, const char *text, const char *first, const char *second)
{
    int shown = s->internal && has_internal_twin(id) ? id + INTERNAL_COPY_EVENTS : id;
    event_report(shown, severity, s->b->host.instance_name, text, first, second, NULL);
}

void series__event_file(const struct series *s, int id, enum event_severity severity, const char *text, err_t why, const char *path)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)why);
    series__event(s, id, severity, text, number, path);
}

/* ---- in ---- */

err_t series__check(struct backup *b, bool full)
{
    struct log *log = b->host.log;
    if (!log_is_enabled(log)) {
        err_t err = RAISE(JET_errLoggingDisabled);
        err_detail("logging is off (JET_paramRecovery): only a closed database can be copied");
        return err;
    }
    if (log_poisoned(log) < 0)
        return RAISE(JET_errLogWriteFail);
    if (!full && log_is_circular(log)) {
        err_t err = RAISE(JET_errInvalidBackup);
        err_detail("circular logging keeps no logs for an incremental backup; make a full one");
        return err;
    }
    return JET_errSuccess;
}

err_t series__claim(struct backup *b, enum backup_driver driver)
{
    os_lock_take(&b->lock);
    enum backup_driver now = b->driver;
    bool refused = now == DRIVER_NONE && b->refused && (driver == DRIVER_ENGINE || driver == DRIVER_CALLER);
    if (now == DRIVER_NONE && !refused) {
        b->driver = driver;
        b->inside = driver == DRIVER_CALLER || driver == DRIVER_SURROGATE;
        atomic_store(&b->stop, 0);
    }
    os_lock_release(&b->lock);
    if (refused)
        return stop__refused();
    if (now == DRIVER_NONE)
        return JET_errSuccess;
    err_t err = now == DRIVER_SURROGATE ? RAISE(JET_errSurrogateBackupInProgress) : RAISE(JET_errBackupInProgress);
    err_detail(now == DRIVER_SNAPSHOT ? "a snapshot of this instance is under way; end it or abort it"
                                      : "a backup of this instance is running; wait for its end");
    return err;
}

void series__unclaim(struct backup *b)
{
    os_lock_take(&b->lock);
    b->driver = DRIVER_NONE;
    b->inside = false;
    os_cond_broadcast(&b->changed);
    os_lock_release(&b->lock);
}

static void take_databases(struct series *s)
{
    s->attached_count = s->b->host.pin_databases(s->b->host.context, s->attached);
    for (int i = 0; i < s->attached_count; i++)
        if (s->attached[i]->logged && !s->attached[i]->read_only)
            s->dbs[s->db_count++] = (struct member){.db = s->attached[i]};
}

static err_t check_full_before(const struct series *s)
{
    for (int i = 0; i < s->db_count && !s->full; i++) {
        struct dbfile *db = s->dbs[i].db;
        os_lock_take(&db->header_lock);
        bool has_full = db->header.full_prev.gen_low != 0 && db->header.type_full_prev == 0;
        os_lock_release(&db->header_lock);
        if (has_full)
            continue;
        event_report(206, EVENT_ERROR, s->b->host.instance_name, "a database has no full backup yet", db->path, NULL);
        err_t err = RAISE(JET_errMissingFullBackup);
        err_detail("%s has had no full backup that an increment could follow; make a full one", db->path);
        return err;
    }
    return JET_errSuccess;
}

err_t series__enter(struct series *s, struct backup *b, enum backup_driver driver, bool full)
{
    s->b = b;
    s->full = full;
    TRY_RETURN(series__claim(b, driver));
    take_databases(s);
    err_t err = check_full_before(s);
    if (err < 0)
        series__leave(s);
    return err;
}

void series__leave(struct series *s)
{
    struct backup *b = s->b;
    checkpointer_pin(b->host.checkpointer, 0);
    b->host.unpin_databases(b->host.context);
    free(s->logs_read);
    s->logs_read = NULL;
    series__unclaim(b);
}

/* ---- begin ---- */

/* Recovery of the set starts where the checkpoint says: one that cannot be read is told now, not then. */
err_t series__check_checkpoint(const struct series *s)
{
    char path[OS_PATH_MAX];
    err_t err = JET_errSuccess;
    struct checkpoint *c = malloc(sizeof *c);
    if (c == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(log_checkpoint_path(s->b->host.log, path));
    TRY(log_checkpoint_read(path, c));
    if (!signature_equal(&c->signature, log_signature(s->b->host.log))) {
        err = RAISE(JET_errBadCheckpointSignature);
        err_detail("%s belongs to another log sequence", path);
    }
out:
    free(c);
    return err;
}

/* Logs from the checkpoint's generation on must stay until the copy is done. */
static void pin_logs(struct series *s)
{
    struct checkpointer *c = s->b->host.checkpointer;
    do { /* again when the checkpoint went on in between: circular logging may have deleted what it left */
        s->copy_mic = LGPOS_GEN(checkpointer_position(c));
        checkpointer_pin(c, s->copy_mic);
    } while (LGPOS_GEN(checkpointer_position(c)) > s->copy_mic);
}

err_t series__begin(struct series *s)
{
    TRY_RETURN(scrub__finish_logs(s));
    if (s->full)
        TRY_RETURN(series__check_checkpoint(s));
    pin_logs(s);
    s->state = s->full ? SERIES_DATABASES : SERIES_LOGS;
    s->mark.mark = log_tail(s->b->host.log);
    os_logtime_now(&s->mark.time);
    TRY_RETURN(stamp__record(s, PHASE_BEGIN, s->full ? SCOPE_FULL : SCOPE_INCREMENTAL, 0, &s->mark, NULL));
    if (s->zero_deleted) {
        TRY_RETURN(scrub__leave_logs(s));
        pin_logs(s);
    }
    series__event(s, s->full ? 210 : 211, EVENT_INFO, s->full ? "a full backup begins" : "an incremental backup begins", NULL, NULL);
    return JET_errSuccess;
}

/* ---- logs ---- */

/* The current log is finished: from here on the range of logs is known, and no database is copied any more. */
err_t series__roll(struct series *s)
{
    uint32_t closed;
    if (s->rolled)
        return JET_errSuccess;
    TRY_RETURN(log_roll(s->b->host.log, &closed));
    s->copy_mac = closed + 1;
    struct bkinfo range = s->mark;
    range.gen_low = s->copy_mic;
    range.gen_high = closed;
    TRY_RETURN(stamp__record(s, PHASE_PREPARE_LOGS, s->full ? SCOPE_FULL : SCOPE_INCREMENTAL, 0, &range, &s->roll.mark));
    os_logtime_now(&s->roll.time);
    TRY_RETURN(range__find(s));
    s->state = SERIES_LOGS;
    s->rolled = true;
    return JET_errSuccess;
}

void series__note_log_read(struct series *s, uint32_t generation)
{
    ASSERT(s->rolled && generation >= s->copy_mic && generation < s->copy_mac);
    bit_set(s->logs_read, generation - s->copy_mic);
}

static err_t check_all_read(const struct series *s)
{
    for (uint32_t bit = 0; bit < s->copy_mac - s->copy_mic; bit++) {
        if (bit_has(s->logs_read, bit))
            continue;
        event_report(520, EVENT_WARNING, s->b->host.instance_name, "no log is deleted: one of the backup was not read to its end", NULL);
        err_t err = RAISE(JET_errLogFileNotCopied);
        err_detail("log generation %u was not read to its end; nothing is deleted", s->copy_mic + bit);
        return err;
    }
    return JET_errSuccess;
}

err_t series__truncate(struct series *s, struct log_deletion *deleted)
{
    *deleted = (struct log_deletion){0, 0};
    TRY_RETURN(check_all_read(s));
    if (s->delete_mic < s->delete_mac) {
        struct bkinfo range = s->mark;
        range.gen_low = s->delete_mic;
        range.gen_high = s->delete_mac;
        TRY_RETURN(stamp__record(s, PHASE_TRUNCATE, s->full ? SCOPE_FULL : SCOPE_INCREMENTAL, 0, &range, NULL));
        TRY_RETURN(log_flush_all(s->b->host.log));
    }
    TRY_RETURN(range__delete(s, s->delete_mic, s->delete_mac, deleted));
    if (s->delete_mic < s->delete_mac)
        s->delete_mic = s->delete_mac;
    s->truncated = true;
    return JET_errSuccess;
}

/* ---- end ---- */

err_t series__settle(struct series *s, bool stamp)
{
    if (stamp)
        stamp__headers(s);
    TRY_RETURN(stamp__record(s, PHASE_STOP, stamp__scope(s), 0, NULL, NULL));
    return log_flush_all(s->b->host.log);
}

void series__abort(struct series *s)
{
    enum backup_scope scope = s->full ? SCOPE_FULL : SCOPE_INCREMENTAL;
    struct err_origin origin = *err_last();
    if (stamp__record(s, PHASE_ABORT, scope, 0, NULL, NULL) < 0 || stamp__record(s, PHASE_STOP, scope, 0, NULL, NULL) < 0)
        err_clear(); /* informational: nothing redoes them */
    if (origin.err >= 0)
        return;
    err_restore(&origin);
}
