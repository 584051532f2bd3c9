#include <stdio.h>

#include "backup/offline.h"

/* A backup that was really taken from another copy of the data: here it is only noted (backup-semantics.md 12.2). */

struct surrogate {
    struct offline base;
};

static err_t refuse(err_t code, const char *why)
{
    err_t err = RAISE(code);
    err_detail("%s", why);
    return err;
}

static void begun(struct surrogate *g)
{
    struct backup *b = g->base.b;
    os_lock_take(&b->lock);
    b->surrogate = g;
    b->inside = false;
    os_cond_broadcast(&b->changed);
    os_lock_release(&b->lock);
}

static err_t check_begin(struct backup *b, uint32_t gen_first, uint32_t gen_last, JET_GRBIT grbit)
{
    if (gen_first > gen_last || gen_last > log_current_generation(b->host.log))
        return refuse(JET_errInvalidParameter, "the range of logs is backwards, or reaches beyond the current log");
    TRY_RETURN(series__check(b, true));
    if ((grbit & ~(JET_GRBIT)JET_bitBackupIncremental) != 0)
        return refuse(JET_errInvalidGrbit, "a surrogate backup takes 0 or JET_bitBackupIncremental");
    if (log_is_circular(b->host.log))
        return refuse(JET_errInvalidBackup, "with circular logging nothing can follow a backup that was taken elsewhere");
    return JET_errSuccess;
}

err_t backup_begin_surrogate(struct backup *b, uint32_t gen_first, uint32_t gen_last, JET_GRBIT grbit)
{
    bool full = (grbit & JET_bitBackupIncremental) == 0;
    TRY_RETURN(check_begin(b, gen_first, gen_last, grbit));
    struct surrogate *g = calloc(1, sizeof *g);
    if (g == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = offline__enter(&g->base, b, OFFLINE_SURROGATE, full ? SCOPE_FULL : SCOPE_INCREMENTAL);
    if (err < 0) {
        free(g);
        return err;
    }
    struct bkinfo *info = &g->base.stamp.info;
    *info = (struct bkinfo){.mark = log_tail(b->host.log), .gen_low = gen_first, .gen_high = gen_last};
    os_logtime_now(&info->time);
    err = offline__record(&g->base, PHASE_BEGIN, NULL);
    if (err < 0) {
        offline__leave(&g->base);
        free(g);
        return err;
    }
    event_report(full ? 210 : 211, EVENT_INFO, b->host.instance_name, "a surrogate backup begins", NULL);
    begun(g);
    return JET_errSuccess;
}

/* ---- end ---- */

static err_t take(struct backup *b, struct surrogate **out)
{
    os_lock_take(&b->lock);
    while (b->inside)
        os_cond_wait(&b->changed, &b->lock);
    enum backup_driver driver = b->driver;
    *out = b->surrogate;
    b->inside = driver == DRIVER_SURROGATE;
    os_lock_release(&b->lock);
    if (driver == DRIVER_SURROGATE)
        return JET_errSuccess;
    return driver == DRIVER_NONE ? refuse(JET_errNoBackup, "no surrogate backup is under way")
                                 : refuse(JET_errBackupInProgress, "the backup under way is no surrogate; end it by its own call");
}

static void finish(struct surrogate *g, bool stamp)
{
    struct backup *b = g->base.b;
    offline__settle(&g->base, stamp);
    os_lock_take(&b->lock);
    b->surrogate = NULL;
    os_lock_release(&b->lock);
    offline__leave(&g->base);
    free(g);
}

static err_t check_end(JET_GRBIT grbit)
{
    const JET_GRBIT with_normal = JET_bitBackupTruncateDone | JET_bitBackupNoDbHeaderUpdate;
    if (grbit == JET_bitBackupEndAbort || (grbit & ~with_normal) == JET_bitBackupEndNormal)
        return JET_errSuccess;
    return refuse(JET_errInvalidParameter, "end it by JET_bitBackupEndNormal (with TruncateDone, NoDbHeaderUpdate) or JET_bitBackupEndAbort");
}

static void end_well(struct surrogate *g, JET_GRBIT grbit)
{
    const char *name = g->base.b->host.instance_name;
    enum backup_scope *scope = &g->base.stamp.scope;
    if ((grbit & JET_bitBackupTruncateDone) == 0) /* the logs stay: nothing may follow it but what it followed itself */
        *scope = *scope == SCOPE_FULL ? SCOPE_COPY : SCOPE_DIFFERENTIAL;
    if ((grbit & JET_bitBackupNoDbHeaderUpdate) != 0)
        g->base.db_count = 0;
    finish(g, true);
    event_report(213, EVENT_INFO, name, "the backup ended successfully", NULL);
}

err_t backup_end_surrogate(struct backup *b, JET_GRBIT grbit)
{
    struct surrogate *g;
    TRY_RETURN(take(b, &g));
    err_t err = check_end(grbit);
    if (err < 0) {
        begun(g); /* as it was */
        return err;
    }
    if (grbit != JET_bitBackupEndAbort) {
        end_well(g, grbit);
        return JET_errSuccess;
    }
    finish(g, false);
    event_report(215, EVENT_ERROR, b->host.instance_name, "the backup was aborted by its caller", NULL);
    return JET_errSuccess;
}

void surrogate__abandon(struct backup *b)
{
    finish(b->surrogate, false);
    event_report(226, EVENT_ERROR, b->host.instance_name, "the backup was aborted by the server", NULL);
}
