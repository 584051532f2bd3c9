#include <stdio.h>

#include "backup/backup_private.h"

/* JetBackupInstance, step by step (backup-semantics.md 5.1): a series whose bytes go into a folder. */

#define GRBITS (JET_bitBackupIncremental | JET_bitBackupAtomic)

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

static err_t poll_progress(void *context)
{
    return run__progress(context, 0);
}

/* ---- before anything happens ---- */

static err_t check_request(struct run *run)
{
    if ((run->o->grbit & ~(JET_GRBIT)GRBITS) != 0) {
        err_t err = RAISE(JET_errInvalidGrbit);
        err_detail("a backup takes JET_bitBackupIncremental and JET_bitBackupAtomic, nothing else");
        return err;
    }
    TRY_RETURN(series__check(run->series.b, run->full));
    return run->o->path == NULL || run->o->path[0] == '\0' ? JET_errSuccess : directory__check(run);
}

static void sum_up(struct run *run)
{
    struct series *s = &run->series;
    struct log *log = s->b->host.log;
    for (int i = 0; i < s->db_count && run->full; i++) {
        run->pages_total += atomic_load(&s->dbs[i].db->page_count);
        run->total += stream__kib(s->dbs[i].db);
    }
    uint32_t first, last = log_current_generation(log);
    if (log_lowest_generation(log, &first) < 0 || first > last)
        first = last;
    run->total += (last - (run->full ? s->copy_mic : first) + 1) * (log_file_size(log) / 1024);
    if (run->total == 0)
        run->total = 1;
}

/* ---- the whole ---- */

static err_t copy_all(struct run *run)
{
    struct series *s = &run->series;
    TRY_RETURN(directory__prepare(run));
    sum_up(run);
    run->told_begin = true;
    TRY_RETURN(tell(run, JET_sntBegin, 0));
    for (int i = 0; i < s->db_count && run->full; i++)
        TRY_RETURN(pages__copy_database(run, &s->dbs[i]));
    TRY_RETURN(series__roll(s));
    TRY_RETURN(logs__copy(run));
    err_t stop = series__stopped(s);
    if (stop < 0)
        return RAISE(stop);
    return directory__promote(run);
}

/* From here the set is complete and durable; what fails now leaves it so. */
static err_t settle(struct run *run)
{
    struct log_deletion gone;
    TRY_RETURN(series__truncate(&run->series, &gone));
    run->result->deleted_low = gone.low;
    run->result->deleted_high = gone.high;
    return series__settle(&run->series, true);
}

static void report_end(struct run *run, err_t err)
{
    const char *name = run->series.b->host.instance_name;
    char number[16];
    snprintf(number, sizeof number, "%d", (int)err);
    if (err >= 0)
        event_report(213, EVENT_INFO, name, "the backup ended successfully", NULL);
    else if (series__stopped(&run->series) < 0)
        event_report(215, EVENT_ERROR, name, "the backup was aborted", NULL);
    else
        event_report(214, EVENT_ERROR, name, "the backup ended with an error", number, NULL);
}

static err_t run_begun(struct run *run)
{
    err_t err = series__begin(&run->series);
    if (err >= 0)
        err = copy_all(run);
    bool complete = err >= 0;
    if (complete)
        err = settle(run);
    else
        series__abort(&run->series);
    directory__clean_up(run, !complete);
    err_t told = JET_errSuccess;
    if (run->told_begin)
        told = tell(run, err >= 0 ? JET_sntComplete : JET_sntFail, err >= 0 ? run->total : run->done);
    report_end(run, err);
    return err < 0 ? err : told < 0 ? told : JET_errSuccess;
}

static err_t run_truncate_only(struct run *run)
{
    struct log_deletion gone = {0, 0};
    err_t err = range__truncate_only(&run->series, &gone);
    run->result->deleted_low = gone.low;
    run->result->deleted_high = gone.high;
    report_end(run, err);
    return err;
}

static bool has_folder(const struct run *run)
{
    return run->o->path != NULL && run->o->path[0] != '\0';
}

static err_t enter(struct backup *b, const struct backup_options *options, struct backup_result *result, struct run **out)
{
    memset(result, 0, sizeof *result);
    struct run *run = calloc(1, sizeof *run);
    *out = run;
    if (run == NULL)
        return RAISE(JET_errOutOfMemory);
    run->o = options;
    run->result = result;
    run->full = (options->grbit & JET_bitBackupIncremental) == 0;
    run->atomic = (options->grbit & JET_bitBackupAtomic) != 0;
    struct series *s = &run->series;
    *s = (struct series){.b = b, .read_retries = options->read_retries, .poll = poll_progress, .poll_context = run};
    s->zero_deleted = run->full && options->zero_deleted;
    TRY_RETURN(check_request(run));
    return series__enter(s, b, DRIVER_ENGINE, run->full);
}

err_t backup_run(struct backup *b, const struct backup_options *options, struct backup_result *result)
{
    uint64_t began = os_now_ns();
    struct run *run;
    err_t err = enter(b, options, result, &run);
    if (err >= 0) {
        struct series *s = &run->series;
        err = has_folder(run) ? run_begun(run) : run_truncate_only(run);
        series__leave(s);
        result->gen_low = s->copy_mic;
        result->gen_high = s->copy_mac == 0 ? 0 : s->copy_mac - 1;
        memcpy(result->path, run->target, sizeof result->path);
        result->ns = os_now_ns() - began;
    }
    free(run);
    return err;
}

/* ---- the same without doing it ---- */

/* What a run into a folder meets late: two databases of one name. */
static err_t look_at_names(const struct run *run)
{
    const struct series *s = &run->series;
    for (int i = 0; i < s->db_count; i++)
        for (int k = 0; k < i; k++) {
            if (strcmp(os_last_name(s->dbs[i].db->path), os_last_name(s->dbs[k].db->path)) != 0)
                continue;
            err_t err = RAISE(JET_errFileAlreadyExists);
            err_detail("%s and %s have one name: a set has one folder for all", s->dbs[k].db->path, s->dbs[i].db->path);
            return err;
        }
    return JET_errSuccess;
}

static err_t look_at_databases(struct run *run)
{
    const struct series *s = &run->series;
    TRY_RETURN(look_at_names(run));
    TRY_RETURN(series__check_checkpoint(s));
    for (int i = 0; i < s->db_count; i++) {
        run->result->databases++;
        run->result->bytes += stream__size(s->dbs[i].db);
    }
    return JET_errSuccess;
}

static err_t look(struct run *run)
{
    struct series *s = &run->series;
    TRY_RETURN(directory__look(run));
    if (run->full)
        TRY_RETURN(look_at_databases(run));
    TRY_RETURN(range__look(s));
    TRY_RETURN(directory__target(run, run->result->path));
    TRY_RETURN(logs__look(run, run->result->path));
    run->result->gen_low = s->copy_mic;
    run->result->gen_high = s->copy_mac - 1;
    return JET_errSuccess;
}

err_t backup_look(struct backup *b, const struct backup_options *options, struct backup_result *result)
{
    struct run *run;
    err_t err = enter(b, options, result, &run);
    if (err >= 0) {
        struct log_deletion gone = {0, 0};
        err = has_folder(run) ? look(run) : range__find_truncatable(&run->series, &gone);
        result->deleted_low = gone.low;
        result->deleted_high = gone.high;
        series__leave(&run->series);
    }
    free(run);
    return err;
}
