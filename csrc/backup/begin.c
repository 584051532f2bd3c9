#include <stdio.h>

#include "backup/backup_private.h"

/* JetBackupInstance, step by step (backup-semantics.md 5.1). */

#define GRBITS (JET_bitBackupIncremental | JET_bitBackupAtomic)

err_t backup_create(const struct backup_host *host, struct backup **out)
{
    *out = NULL;
    struct backup *b = calloc(1, sizeof *b);
    if (b == NULL)
        return RAISE(JET_errOutOfMemory);
    b->host = *host;
    os_lock_init(&b->lock, RANK_BACKUP);
    os_cond_init(&b->ended);
    *out = b;
    return JET_errSuccess;
}

void backup_destroy(struct backup *b)
{
    if (b == NULL)
        return;
    ASSERT(!b->running);
    os_cond_term(&b->ended);
    os_lock_term(&b->lock);
    free(b);
}

bool backup_is_running(struct backup *b)
{
    if (b == NULL)
        return false;
    os_lock_take(&b->lock);
    bool running = b->running;
    os_lock_release(&b->lock);
    return running;
}

void backup_stop(struct backup *b, err_t reason, bool wait)
{
    os_lock_take(&b->lock);
    if (b->running)
        atomic_store(&b->stop, reason);
    while (wait && b->running)
        os_cond_wait(&b->ended, &b->lock);
    os_lock_release(&b->lock);
}

err_t run__stopped(const struct run *run)
{
    return atomic_load(&run->b->stop);
}

static err_t tell(struct run *run, JET_SNT snt, uint32_t done)
{
    const struct progress *p = &run->o->progress;
    if (p->fn == NULL)
        return JET_errSuccess;
    return p->fn(p->context, JET_snpBackup, snt, done, run->total);
}

err_t run__progress(struct run *run, uint64_t bytes)
{
    run->done += (uint32_t)(bytes / 1024);
    if (run->done > run->total)
        run->total = run->done; /* logs grow while databases are copied */
    return tell(run, JET_sntProgress, run->done);
}

err_t run__note_created(struct run *run, const char *path)
{
    struct created *c = calloc(1, sizeof *c);
    char *copy = strdup(path);
    if (c == NULL || copy == NULL) {
        free(c);
        free(copy);
        return RAISE(JET_errOutOfMemory);
    }
    *c = (struct created){copy, run->created};
    run->created = c;
    return JET_errSuccess;
}

void run__event_file(const struct run *run, int id, enum event_severity severity, const char *text, err_t why, const char *path)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)why);
    event_report(id, severity, run->b->host.instance_name, text, number, path, NULL);
}

/* ---- before anything happens ---- */

static err_t check_request(struct run *run)
{
    const struct backup_host *h = &run->b->host;
    if ((run->o->grbit & ~(JET_GRBIT)GRBITS) != 0) {
        err_t err = RAISE(JET_errInvalidGrbit);
        err_detail("a backup takes JET_bitBackupIncremental and JET_bitBackupAtomic, nothing else");
        return err;
    }
    if (!log_is_enabled(h->log)) {
        err_t err = RAISE(JET_errLoggingDisabled);
        err_detail("logging is off (JET_paramRecovery): only a closed database can be copied");
        return err;
    }
    if (log_poisoned(h->log) < 0)
        return RAISE(JET_errLogWriteFail);
    if (!run->full && log_is_circular(h->log)) {
        err_t err = RAISE(JET_errInvalidBackup);
        err_detail("circular logging keeps no logs for an incremental backup; make a full one");
        return err;
    }
    return run->o->path == NULL || run->o->path[0] == '\0' ? JET_errSuccess : directory__check(run);
}

static err_t enter(struct run *run)
{
    struct backup *b = run->b;
    os_lock_take(&b->lock);
    bool busy = b->running;
    if (!busy) {
        b->running = true;
        atomic_store(&b->stop, 0);
    }
    os_lock_release(&b->lock);
    if (!busy)
        return JET_errSuccess;
    err_t err = RAISE(JET_errBackupInProgress);
    err_detail("a backup of this instance is running; wait for its end");
    return err;
}

static void leave(struct run *run)
{
    struct backup *b = run->b;
    os_lock_take(&b->lock);
    b->running = false;
    os_cond_broadcast(&b->ended);
    os_lock_release(&b->lock);
}

/* ---- begin ---- */

/* Logs from the checkpoint's generation on must stay until the copy is done. */
static void pin_logs(struct run *run)
{
    struct checkpointer *c = run->b->host.checkpointer;
    do { /* again when the checkpoint went on in between: circular logging may have deleted what it left */
        run->copy_mic = LGPOS_GEN(checkpointer_position(c));
        checkpointer_pin(c, run->copy_mic);
    } while (LGPOS_GEN(checkpointer_position(c)) > run->copy_mic);
}

static void take_databases(struct run *run)
{
    struct dbfile *all[DBID_MAX];
    int n = run->b->host.pin_databases(run->b->host.context, all);
    for (int i = 0; i < n; i++)
        if (all[i]->logged && !all[i]->read_only)
            run->dbs[run->db_count++] = all[i];
}

static err_t check_full_before(struct run *run)
{
    for (int i = 0; i < run->db_count && !run->full; i++) {
        os_lock_take(&run->dbs[i]->header_lock);
        bool has_full = run->dbs[i]->header.full_prev.gen_low != 0 && run->dbs[i]->header.type_full_prev == 0;
        os_lock_release(&run->dbs[i]->header_lock);
        if (has_full)
            continue;
        event_report(206, EVENT_ERROR, run->b->host.instance_name, "a database has no full backup yet", run->dbs[i]->path, NULL);
        err_t err = RAISE(JET_errMissingFullBackup);
        err_detail("%s has had no full backup that an increment could follow; make a full one", run->dbs[i]->path);
        return err;
    }
    return JET_errSuccess;
}

static void sum_up(struct run *run)
{
    for (int i = 0; i < run->db_count && run->full; i++) {
        run->pages_total += atomic_load(&run->dbs[i]->page_count);
        run->total += pages__kib(run->dbs[i]);
    }
    uint32_t first, last = log_current_generation(run->b->host.log);
    if (log_lowest_generation(run->b->host.log, &first) < 0 || first > last)
        first = last;
    struct log_header h;
    char path[OS_PATH_MAX];
    uint32_t log_kib = log_path(run->b->host.log, 0, path) >= 0 && log_read_header(path, &h) >= 0 ? h.file_size / 1024 : 1024;
    run->total += (last - (run->full ? run->copy_mic : first) + 1) * log_kib;
    if (run->total == 0)
        run->total = 1;
}

static err_t begin(struct run *run)
{
    run->mark.mark = log_tail(run->b->host.log);
    os_logtime_now(&run->mark.time);
    TRY_RETURN(stamp__record(run, PHASE_BEGIN, 0, &run->mark, NULL));
    event_report(run->full ? 210 : 211, EVENT_INFO, run->b->host.instance_name,
                 run->full ? "a full backup begins" : "an incremental backup begins", NULL);
    return JET_errSuccess;
}

/* ---- the whole ---- */

static err_t copy_all(struct run *run)
{
    TRY_RETURN(directory__prepare(run));
    sum_up(run);
    run->told_begin = true;
    TRY_RETURN(tell(run, JET_sntBegin, 0));
    for (int i = 0; i < run->db_count && run->full; i++)
        TRY_RETURN(pages__copy_database(run, run->dbs[i]));
    TRY_RETURN(logs__range(run));
    TRY_RETURN(logs__copy(run));
    err_t stop = run__stopped(run);
    if (stop < 0)
        return RAISE(stop);
    return directory__promote(run);
}

/* From here the set is complete and durable; what fails now leaves it so. */
static err_t settle(struct run *run)
{
    TRY_RETURN(logs__truncate(run));
    stamp__headers(run);
    TRY_RETURN(stamp__record(run, PHASE_STOP, 0, NULL, NULL));
    return log_flush_all(run->b->host.log);
}

static void report_end(struct run *run, err_t err)
{
    const char *name = run->b->host.instance_name;
    char number[16];
    snprintf(number, sizeof number, "%d", (int)err);
    if (err >= 0)
        event_report(213, EVENT_INFO, name, "the backup ended successfully", NULL);
    else if (run__stopped(run) < 0)
        event_report(215, EVENT_ERROR, name, "the backup was aborted", NULL);
    else
        event_report(214, EVENT_ERROR, name, "the backup ended with an error", number, NULL);
}

static void abort_records(struct run *run)
{
    struct err_origin origin = *err_last();
    if (stamp__record(run, PHASE_ABORT, 0, NULL, NULL) < 0 || stamp__record(run, PHASE_STOP, 0, NULL, NULL) < 0)
        err_clear(); /* informational: nothing redoes them */
    err_raise(origin.err, origin.file, origin.line);
    err_detail("%s", origin.detail);
}

static err_t run_begun(struct run *run)
{
    bool complete = false;
    err_t err = begin(run);
    if (err >= 0)
        err = copy_all(run);
    complete = err >= 0;
    if (complete)
        err = settle(run);
    if (err < 0 && !complete)
        abort_records(run);
    directory__clean_up(run, !complete);
    err_t told = JET_errSuccess;
    if (run->told_begin)
        told = tell(run, err >= 0 ? JET_sntComplete : JET_sntFail, err >= 0 ? run->total : run->done);
    report_end(run, err);
    return err < 0 ? err : told < 0 ? told : JET_errSuccess;
}

static err_t run_entered(struct run *run)
{
    take_databases(run);
    err_t err = check_full_before(run);
    bool truncate_only = run->o->path == NULL || run->o->path[0] == '\0';
    if (err >= 0 && truncate_only) {
        err = logs__truncate_only(run);
        report_end(run, err);
    } else if (err >= 0) {
        pin_logs(run);
        err = run_begun(run);
        checkpointer_pin(run->b->host.checkpointer, 0);
    }
    run->b->host.unpin_databases(run->b->host.context);
    return err;
}

err_t backup_run(struct backup *b, const struct backup_options *options, struct backup_result *result)
{
    memset(result, 0, sizeof *result);
    uint64_t began = os_now_ns();
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return RAISE(JET_errOutOfMemory);
    run->b = b;
    run->o = options;
    run->result = result;
    run->full = (options->grbit & JET_bitBackupIncremental) == 0;
    run->atomic = (options->grbit & JET_bitBackupAtomic) != 0;
    err_t err = check_request(run);
    if (err >= 0)
        err = enter(run);
    if (err >= 0) {
        err = run_entered(run);
        leave(run);
        result->gen_low = run->copy_mic;
        result->gen_high = run->copy_mac == 0 ? 0 : run->copy_mac - 1;
        memcpy(result->path, run->target, sizeof result->path);
        result->ns = os_now_ns() - began;
    }
    free(run);
    return err;
}
