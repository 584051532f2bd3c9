#include <stdio.h>

#include "api/api_private.h"

/* Backup, and what a status callback sees of any long run (backup-semantics.md 5, 13). */

/* ---- progress ---- */

static err_t tell(struct api_progress *p, JET_SNT snt, uint32_t done, uint32_t total)
{
    if (p->progress != NULL)
        return p->progress(p->context, p->snp, snt, done, total);
    JET_SNPROG prog = {.cbStruct = sizeof prog, .cunitDone = done, .cunitTotal = total};
    void *pv = snt == JET_sntFail ? NULL : &prog;
    err_t ignored = p->status != NULL ? p->status(JET_sesidNil, p->snp, snt, pv) /* decision 26 */
                    : p->init != NULL ? p->init(p->snp, snt, pv, p->context)
                                      : JET_errSuccess;
    (void)ignored;
    return JET_errSuccess;
}

/* The Python layer paces a backup by what has been copied: it gets KiB, of a total that may grow with the logs. */
static bool tells_kib(const struct api_progress *p)
{
    return p->progress != NULL && p->snp == JET_snpBackup;
}

static err_t tell_kib(struct api_progress *p, uint32_t done, uint32_t total)
{
    p->done = done > p->done ? done : p->done;
    p->total = total > p->total ? total : p->total;
    return tell(p, JET_sntProgress, p->done < p->total ? p->done : p->total, p->total);
}

/* Rooms may tell the same run in phases, each with its own total: what reaches the callback is one Begin, growing percents. */
static err_t on_progress(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    struct api_progress *p = context;
    if (snt == JET_sntComplete || snt == JET_sntFail)
        return JET_errSuccess; /* the end is told by api_progress_end */
    if (!p->begun) {
        p->begun = true;
        p->snp = snp;
        p->total = tells_kib(p) && total > 0 ? total : 100;
        TRY_RETURN(tell(p, JET_sntBegin, 0, p->total));
    }
    if (snt != JET_sntProgress)
        return JET_errSuccess;
    if (tells_kib(p))
        return tell_kib(p, done, total);
    uint32_t percent = total == 0 ? 0 : (uint32_t)((uint64_t)(done < total ? done : total) * 100 / total);
    if (percent > 99)
        percent = 99; /* 100 belongs to Complete */
    if (percent <= p->done)
        return p->progress != NULL ? p->progress(p->context, p->snp, JET_sntProgress, p->done, 100) : JET_errSuccess;
    p->done = percent;
    return tell(p, JET_sntProgress, percent, 100);
}

struct progress api_progress_socket(struct api_progress *p)
{
    return (struct progress){p, on_progress};
}

err_t api_progress_end(struct api_progress *p, err_t outcome)
{
    if (!p->begun)
        return outcome;
    struct err_origin origin = *err_last();
    p->begun = false;
    bool as_asked = outcome == JET_errRecoveredWithoutUndo || outcome == JET_errRecoveredWithoutUndoDatabasesConsistent;
    err_t ignored = outcome < 0 && !as_asked ? tell(p, JET_sntFail, p->done, p->total) : tell(p, JET_sntComplete, p->total, p->total);
    (void)ignored;
    if (outcome < 0) {
        err_restore(&origin);
    }
    return outcome;
}

/* ---- backup ---- */

static err_t absolute(const char *path, char full[OS_PATH_MAX], const char **out)
{
    *out = NULL;
    if (path == NULL || path[0] == '\0')
        return JET_errSuccess;
    TRY_RETURN(os_full_path(path, full, OS_PATH_MAX));
    if (strlen(full) >= JET_cbFullNameMost) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%.80s...: a backup path has at most %d characters", full, JET_cbFullNameMost - 1);
        return err;
    }
    *out = full;
    return JET_errSuccess;
}

static err_t check_backup_grbit(JET_GRBIT grbit)
{
    if ((grbit & ~(JET_GRBIT)(JET_bitBackupIncremental | JET_bitBackupAtomic)) == 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errInvalidGrbit);
    err_detail("a backup takes JET_bitBackupIncremental and JET_bitBackupAtomic");
    return err;
}

/* The gate's errors come before those of the arguments. */
static err_t check_arguments(struct instance *inst, const char *path, JET_GRBIT grbit, char full[OS_PATH_MAX], struct backup_options *options)
{
    options->grbit = grbit;
    TRY_RETURN(instance_enter(inst, true));
    err_t err = check_backup_grbit(grbit);
    if (err >= 0)
        err = absolute(path, full, &options->path);
    instance_leave(inst);
    return err;
}

static err_t backup_pinned(struct instance *inst, const char *path, JET_GRBIT grbit, struct api_progress *progress, struct backup_result *result)
{
    char full[OS_PATH_MAX];
    struct backup_options options = {.progress = api_progress_socket(progress)};
    TRY_RETURN(check_arguments(inst, path, grbit, full, &options));
    return api_progress_end(progress, instance_backup(inst, &options, result));
}

static err_t run_backup(JET_INSTANCE instance, const char *path, JET_GRBIT grbit, struct api_progress *progress, struct backup_result *result)
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = backup_pinned(i->inst, path, grbit, progress, result);
    api_unpin_instance(i);
    return err;
}

JET_ERR JetBackupInstanceA(JET_INSTANCE instance, JET_PCSTR szBackupPath, JET_GRBIT grbit, JET_PFNSTATUS pfnStatus)
{
    struct api_progress progress = {.status = pfnStatus};
    struct backup_result result;
    return run_backup(instance, szBackupPath, grbit, &progress, &result);
}
PLAIN_IS_A(JetBackupInstance);

JET_ERR JetBackupInstanceW(JET_INSTANCE instance, JET_PCWSTR szBackupPath, JET_GRBIT grbit, JET_PFNSTATUS pfnStatus)
    WITH_TEXT(path, szBackupPath, JetBackupInstanceA(instance, path, grbit, pfnStatus))

JET_ERR JetBackupA(JET_PCSTR szBackupPath, JET_GRBIT grbit, JET_PFNSTATUS pfnStatus)
{
    TRY_RETURN(api_require_single());
    return JetBackupInstanceA(0, szBackupPath, grbit, pfnStatus);
}
PLAIN_IS_A(JetBackup);

JET_ERR JetBackupW(JET_PCWSTR szBackupPath, JET_GRBIT grbit, JET_PFNSTATUS pfnStatus)
    WITH_TEXT(path, szBackupPath, JetBackupA(path, grbit, pfnStatus))

static void backup_out(const struct backup_result *r, PYJET_BACKUP *to)
{
    *to = (PYJET_BACKUP){
        .files = r->files,
        .databases = r->databases,
        .logs = r->logs,
        .gen_low = r->gen_low,
        .gen_high = r->gen_high,
        .deleted_low = r->deleted_low,
        .deleted_high = r->deleted_high,
        .bytes = r->bytes,
        .ns = r->ns,
    };
    memcpy(to->path, r->path, sizeof to->path);
}

JET_ERR PyjetBackup(JET_INSTANCE instance, const char *path, JET_GRBIT grbit, PYJET_PROGRESS progress, void *context, PYJET_BACKUP *result)
{
    struct api_progress p = {.progress = progress, .context = context};
    struct backup_result r = {0};
    err_t err = run_backup(instance, path, grbit, &p, &r);
    if (result != NULL)
        backup_out(&r, result);
    return err;
}

JET_ERR PyjetLookAtBackup(JET_INSTANCE instance, const char *path, JET_GRBIT grbit, int32_t create_path, PYJET_BACKUP *result)
{
    struct api_instance *i;
    char full[OS_PATH_MAX];
    struct backup_options options = {.create_path = create_path != 0};
    struct backup_result r = {0};
    if (result == NULL)
        return api_invalid("a place for the answer is needed");
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = check_arguments(i->inst, path, grbit, full, &options);
    if (err >= 0)
        err = instance_look_at_backup(i->inst, &options, &r);
    api_unpin_instance(i);
    backup_out(&r, result);
    return err;
}

JET_ERR PyjetStopRunningBackup(JET_INSTANCE instance, JET_ERR reason)
{
    struct api_instance *i;
    if (reason >= 0)
        return api_invalid("the reason is an error, so a negative number");
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = instance_stop_backup(i->inst, reason);
    api_unpin_instance(i);
    return err;
}

JET_ERR PyjetSetBackupPause(JET_INSTANCE instance, void (*fn)(void *context, uint32_t percent), void *context)
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    instance_set_backup_pause(i->inst, fn, context);
    api_unpin_instance(i);
    return JET_errSuccess;
}

/* ---- numbers ---- */

JET_ERR PyjetStats(JET_INSTANCE instance, PYJET_STATS *stats)
{
    struct api_instance *i;
    struct instance_stats s;
    if (stats == NULL)
        return api_invalid("a place for the numbers is needed");
    TRY_RETURN(api_pin_instance(instance, false, &i));
    err_t err = instance_enter(i->inst, false);
    if (err < 0) {
        api_unpin_instance(i);
        return err;
    }
    instance_stats(i->inst, &s);
    instance_leave(i->inst);
    api_unpin_instance(i);
    *stats = (PYJET_STATS){
        .log_bytes = s.log_bytes,
        .log_flushes = s.log_flushes,
        .commits_durable = s.commits_durable,
        .undo_info = s.undo_info,
        .versions_bytes = s.versions_bytes,
        .sweeps = s.sweeps,
        .checkpoints = s.checkpoints,
        .checkpoint = s.checkpoint,
        .log_tail = s.log_tail,
        .cache_frames = s.cache.frames,
        .cache_used = s.cache.used,
        .cache_dirty = s.cache.dirty,
        .cache_reads = s.cache.reads,
        .cache_writes = s.cache.writes,
        .cache_hits = s.cache.hits,
        .cache_misses = s.cache.misses,
        .cache_evictions = s.cache.evictions,
        .cache_double_writes = s.cache.double_writes,
        .cache_stolen = s.cache.stolen,
        .splits = s.btree.splits,
        .merges = s.btree.merges,
        .empty_pages = s.btree.empty_pages,
        .retries = s.btree.retries,
        .undo_after_steal = s.btree.undo_after_steal,
        .macro_redone_half = s.btree.macro_redone_half,
        .os_opens = os_op_total(OS_OP_OPEN),
        .os_reads = os_op_total(OS_OP_READ),
        .os_writes = os_op_total(OS_OP_WRITE),
        .os_syncs = os_op_total(OS_OP_SYNC),
    };
    api_recovery_out(&s.recovery, &stats->recovery);
    return JET_errSuccess;
}
