#include <stdio.h>

#include "api/api_private.h"

/* Backup and restore, and what a status callback sees of them (backup-semantics.md 5, 10, 13). */

/* ---- progress ---- */

static err_t tell(struct api_progress *p, JET_SNT snt, uint32_t done, uint32_t total)
{
    if (p->progress != NULL)
        return p->progress(p->context, p->snp, snt, done, total);
    if (p->status == NULL)
        return JET_errSuccess;
    JET_SNPROG prog = {.cbStruct = sizeof prog, .cunitDone = done, .cunitTotal = total};
    err_t ignored = p->status(JET_sesidNil, p->snp, snt, snt == JET_sntFail ? NULL : &prog); /* decision 26 */
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
    err_t ignored = outcome < 0 ? tell(p, JET_sntFail, p->done, p->total) : tell(p, JET_sntComplete, p->total, p->total);
    (void)ignored;
    if (outcome < 0) {
        err_raise(origin.err, origin.file, origin.line);
        err_detail("%s", origin.detail);
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

static err_t backup_pinned(struct instance *inst, const char *path, JET_GRBIT grbit, struct api_progress *progress, struct backup_result *result)
{
    char full[OS_PATH_MAX];
    struct backup_options options = {.grbit = grbit, .progress = api_progress_socket(progress)};
    TRY_RETURN(instance_enter(inst, true)); /* the gate's errors come before those of the arguments */
    err_t err = check_backup_grbit(grbit);
    if (err >= 0)
        err = absolute(path, full, &options.path);
    instance_leave(inst);
    TRY_RETURN(err);
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

JET_ERR PyjetBackup(JET_INSTANCE instance, const char *path, JET_GRBIT grbit, PYJET_PROGRESS progress, void *context, PYJET_BACKUP *result)
{
    struct api_progress p = {.progress = progress, .context = context};
    struct backup_result r = {0};
    err_t err = run_backup(instance, path, grbit, &p, &r);
    if (result == NULL)
        return err;
    *result = (PYJET_BACKUP){
        .files = r.files,
        .databases = r.databases,
        .logs = r.logs,
        .gen_low = r.gen_low,
        .gen_high = r.gen_high,
        .deleted_low = r.deleted_low,
        .deleted_high = r.deleted_high,
        .bytes = r.bytes,
        .ns = r.ns,
    };
    memcpy(result->path, r.path, sizeof result->path);
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

/* ---- restore ---- */

static err_t restore_pinned(struct api_instance *i, const char *set, const char *destination, const char *roll_forward,
                            struct api_progress *progress, struct restore_result *result)
{
    struct progress socket = api_progress_socket(progress);
    if (set == NULL || set[0] == '\0')
        return api_invalid("the folder of a backup set is needed");
    if (destination != NULL && destination[0] == '\0')
        destination = NULL;
    return api_progress_end(progress, instance_restore(i->inst, set, destination, roll_forward, &socket, result));
}

static err_t run_restore(JET_INSTANCE instance, const char *set, const char *destination, JET_PFNSTATUS pfn)
{
    struct api_progress progress = {.status = pfn};
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    struct restore_result *result = calloc(1, sizeof *result);
    err_t err = result == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    if (err >= 0) /* ESE's calls roll forward with the logs that lie in the instance's log folder */
        err = restore_pinned(i, set, destination, params_text(instance_params(i->inst), JET_paramLogFilePath), &progress, result);
    free(result);
    api_unpin_instance(i);
    return err;
}

JET_ERR JetRestoreInstanceA(JET_INSTANCE instance, JET_PCSTR sz, JET_PCSTR szDest, JET_PFNSTATUS pfn)
{
    return run_restore(instance, sz, szDest, pfn);
}
PLAIN_IS_A(JetRestoreInstance);

JET_ERR JetRestoreInstanceW(JET_INSTANCE instance, JET_PCWSTR sz, JET_PCWSTR szDest, JET_PFNSTATUS pfn)
    WITH_TEXTS(set, sz, destination, szDest, JetRestoreInstanceA(instance, set, destination, pfn))

/* Single-instance mode: an instance is made for the call when there is none, and goes with it. */
JET_ERR JetRestore2A(JET_PCSTR sz, JET_PCSTR szDest, JET_PFNSTATUS pfn)
{
    struct api_instance *i, *pinned;
    if (api_mode() == MODE_MULTI)
        return RAISE(JET_errRunningInMultiInstanceMode);
    if (api_mode() == MODE_SINGLE)
        return run_restore(0, sz, szDest, pfn);
    TRY_RETURN(api_set_mode(MODE_SINGLE));
    TRY_RETURN(api_add_instance(NULL, NULL, &i));
    TRY_RETURN(api_pin_instance(i->handle, true, &pinned));
    err_t err = run_restore(i->handle, sz, szDest, pfn);
    struct err_origin origin = *err_last();
    TRY_RETURN(api_remove_instance(i));
    if (err < 0) {
        err_raise(origin.err, origin.file, origin.line);
        err_detail("%s", origin.detail);
    }
    return err;
}
PLAIN_IS_A(JetRestore2);

JET_ERR JetRestore2W(JET_PCWSTR sz, JET_PCWSTR szDest, JET_PFNSTATUS pfn)
    WITH_TEXTS(set, sz, destination, szDest, JetRestore2A(set, destination, pfn))

JET_ERR JetRestoreA(JET_PCSTR szSource, JET_PFNSTATUS pfn)
{
    return JetRestore2A(szSource, NULL, pfn);
}
PLAIN_IS_A(JetRestore);

JET_ERR JetRestoreW(JET_PCWSTR szSource, JET_PFNSTATUS pfn)
{
    return JetRestore2W(szSource, NULL, pfn);
}

static void restore_out(const struct restore_result *r, PYJET_RESTORE *to)
{
    *to = (PYJET_RESTORE){.files = r->files, .databases = (uint32_t)r->database_count, .bytes = r->bytes, .ns = r->ns};
    api_recovery_out(&r->recovery, &to->recovery);
    static_assert(sizeof to->database == sizeof r->databases, "as many paths of the same length");
    memcpy(to->database, r->databases, sizeof to->database);
}

JET_ERR PyjetRestore(JET_INSTANCE instance, const char *set, const char *destination, const char *roll_forward_dir, PYJET_PROGRESS progress,
                     void *context, PYJET_RESTORE *result)
{
    struct api_progress p = {.progress = progress, .context = context};
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    struct restore_result *r = calloc(1, sizeof *r);
    err_t err = r == NULL ? RAISE(JET_errOutOfMemory) : restore_pinned(i, set, destination, roll_forward_dir, &p, r);
    if (r != NULL && result != NULL)
        restore_out(r, result);
    free(r);
    api_unpin_instance(i);
    return err;
}

JET_ERR PyjetSurveySet(const char *path, PYJET_SET *set)
{
    if (path == NULL || set == NULL)
        return api_invalid("a folder and a place for the answer are needed");
    struct restore_set *found = calloc(1, sizeof *found);
    if (found == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = restore_survey(path, found);
    if (err >= 0) {
        *set = (PYJET_SET){
            .gen_low = found->gen_low,
            .gen_high = found->gen_high,
            .page_size = found->page_size,
            .log_file_size = found->log_file_size,
            .databases = (uint32_t)found->database_count,
        };
        static_assert(sizeof set->database == sizeof found->databases && sizeof set->dir == sizeof found->dir, "same paths");
        memcpy(set->dir, found->dir, sizeof set->dir);
        memcpy(set->base_name, found->base_name, sizeof set->base_name);
        memcpy(set->database, found->databases, sizeof set->database);
        memcpy(set->original, found->originals, sizeof set->original);
    }
    free(found);
    return err;
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
