#include <stdio.h>

#include "backup/restore_private.h"

/* Restore: everything about the set is checked, then databases are copied (trailer off, its range into the header), then recovery
 * replays the set's logs and what follows them. The set is only read. */

/* ---- replay ---- */

static err_t scaled(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    struct job *job = context;
    (void)snp;
    if (snt != JET_sntProgress || total == 0)
        return JET_errSuccess; /* one Begin and one end a restore: ours */
    uint64_t base = job->total - job->log_bytes;
    uint64_t at = base + (uint64_t)((double)job->log_bytes * done / total);
    if (at > job->done)
        job->done = at;
    return restore__tell(job, JET_sntProgress);
}

static err_t replay(struct job *job, struct recovery_config *config)
{
    const struct restore_set *set = job->o->set;
    struct recovery_map map[DBID_MAX];
    int n = 0;
    for (int i = 0; i < job->count; i++)
        if (job->plans[i].original[0] != '\0')
            map[n++] = (struct recovery_map){job->plans[i].original, job->plans[i].to, 0};
    config->set_dir = set->dir;
    config->set_gen_low = set->gen_low;
    config->set_gen_high = job->gen_high;
    config->stop = job->o->stop;
    config->undo_at_stop = true;
    config->map_only = job->o->in_place;
    config->restore_dir = job->o->destination;
    config->map = map;
    config->map_count = n;
    config->progress = (struct progress){job, scaled};
    return recovery_run(config, &job->result->recovery);
}

/* A restored database starts without a history of backups: the first one must be full. */
static err_t forget_backups(const char *path)
{
    static const struct bkinfo none;
    struct os_file *file;
    struct db_header h;
    TRY_RETURN(os_file_open(path, OS_WRITE, &file));
    err_t err = db_header_read(file, &h, NULL);
    if (err >= 0) {
        h.full_prev = h.inc_prev = h.full_cur = h.snapshot_cur = h.copy_prev = h.diff_prev = none;
        h.type_full_prev = h.type_inc_prev = h.type_copy_prev = h.type_diff_prev = 0;
        err = db_header_write(file, &h);
    }
    os_file_close(file);
    return err;
}

static err_t put_back(struct job *job, struct recovery_config *config)
{
    for (int i = 0; i < job->count; i++) {
        TRY_RETURN(restore__put_database(job, &job->plans[i]));
        TRY_RETURN(os_parent_sync(job->plans[i].to));
    }
    TRY_RETURN(live__bring(job));
    TRY_RETURN(replay(job, config));
    for (int i = 0; i < job->count; i++)
        TRY_RETURN(forget_backups(job->plans[i].to));
    return JET_errSuccess;
}

static void fill_result(struct job *job, uint64_t began)
{
    job->result->database_count = job->count;
    for (int i = 0; i < job->count; i++)
        memcpy(job->result->databases[i], job->plans[i].to, OS_PATH_MAX);
    job->result->ns = os_now_ns() - began;
}

err_t restore_run(const struct restore_options *options, struct recovery_config *recovery, struct restore_result *result)
{
    uint64_t began = os_now_ns();
    struct job job = {.o = options, .result = result, .count = options->set->database_count};
    char number[16];
    memset(result, 0, sizeof *result);
    job.plans = calloc((size_t)job.count, sizeof *job.plans);
    if (job.plans == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = JET_errSuccess;
    TRY(plan__all(&job, recovery));
    TRY(live__check(&job));
    event_report(204, EVENT_INFO, recovery->instance_name, "a restore begins", options->set->dir, options->log_dir, NULL);
    err = restore__tell(&job, JET_sntBegin);
    if (err >= 0)
        err = put_back(&job, recovery);
    job.done = err >= 0 ? job.total : job.done;
    err_t told = restore__tell(&job, err >= 0 ? JET_sntComplete : JET_sntFail);
    if (err < 0) {
        snprintf(number, sizeof number, "%d", (int)err);
        event_report(454, EVENT_ERROR, recovery->instance_name, "the restore failed", number, NULL);
    }
    event_report(205, EVENT_INFO, recovery->instance_name, "the restore ended", NULL);
    err = err < 0 ? err : told < 0 ? told : JET_errSuccess;
    fill_result(&job, began);
out:
    free(job.plans);
    return err;
}
