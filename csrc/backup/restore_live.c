#include <stdio.h>

#include "backup/restore_private.h"

/* Live logs that could follow the set (backup-semantics.md 10.2 step 4): checked; from another folder they are copied, so that
 * that folder stays as it is, and never among logs that lie at the destination. */

/* One live log; those that the set has too need not be there. */
static err_t check_log(const struct restore_set *set, const char *dir, uint32_t generation, bool current)
{
    struct log_header set_last, h;
    char path[OS_PATH_MAX];
    TRY_RETURN(log_find(set->dir, set->base_name, set->gen_high, path));
    TRY_RETURN(log_read_header(path, &set_last));
    err_t err = log_find(dir, set->base_name, current ? 0 : generation, path);
    if (err == JET_errFileNotFound)
        return JET_errSuccess;
    TRY_RETURN(err);
    TRY_RETURN(log_read_header(path, &h));
    if (!signature_equal(&h.signature, &set_last.signature))
        return plan__fail_file(JET_errExistingLogFileHasBadSignature, 457, path, "a live log of another sequence stands in the way");
    return JET_errSuccess;
}

/* Headers may claim any generation: looked at are those of the set, and the last run without a gap, of which each is a file. */
static err_t check_logs(const struct restore_set *set, const char *dir, const struct log_survey *live)
{
    uint32_t last = live->gen_last - live->current;
    TRY_RETURN(check_log(set, dir, 0, true)); /* also one that is older than the others */
    for (uint32_t g = live->gen_first > set->gen_low ? live->gen_first : set->gen_low; g <= last && g <= set->gen_high; g++)
        TRY_RETURN(check_log(set, dir, g, false));
    for (uint32_t g = live->gen_whole; g <= last; g++)
        TRY_RETURN(check_log(set, dir, g, false));
    return JET_errSuccess;
}

static err_t find_live(const struct restore_set *set, const char *dir, const struct log_survey *live, uint32_t generation, char *path)
{
    return log_find(dir, set->base_name, live->current && generation == live->gen_last ? 0 : generation, path);
}

static err_t check_folder(const struct job *job, const char *dir)
{
    const struct restore_set *set = job->o->set;
    struct log_survey live;
    char path[OS_PATH_MAX];
    TRY_RETURN(log_survey(dir, set->base_name, &live));
    if (!live.any)
        return JET_errSuccess;
    TRY_RETURN(check_logs(set, dir, &live));
    if (live.gen_first > set->gen_high + 1) {
        char last[OS_PATH_MAX];
        TRY_RETURN(log_find(set->dir, set->base_name, set->gen_high, last));
        TRY_RETURN(find_live(set, dir, &live, live.gen_first, path));
        event_report(458, EVENT_WARNING, "", "the live logs do not follow the set", os_last_name(last), os_last_name(path), NULL);
        err_t err = RAISE(JET_errExistingLogFileIsNotContiguous);
        err_detail("%s: the lowest live log is generation %u, the set ends with %u", dir, live.gen_first, set->gen_high);
        return err;
    }
    if (live.gen_whole > set->gen_high + 1) {
        uint32_t missing = live.gen_missing > set->gen_high ? live.gen_missing : set->gen_high + 1;
        err_t err = log_find(dir, set->base_name, missing, path); /* names it as it would be found */
        if (err < 0 && err != JET_errFileNotFound)
            return err;
        return plan__fail_file(JET_errMissingCurrentLogFiles, 450, os_last_name(path), "a live log that must follow the set is missing");
    }
    return JET_errSuccess;
}

static bool brings_logs(const struct job *job)
{
    const struct restore_options *o = job->o;
    return o->roll_forward_dir != NULL && !plan__same_place(o->roll_forward_dir, o->log_dir); /* its own logs it reads anyway */
}

/* Generations above are of no use: beyond the stop, or still being written by a running target. */
static uint32_t last_wanted(const struct job *job, const struct log_survey *live)
{
    uint32_t last = live->gen_last, stop = LGPOS_GEN(job->o->stop), limit = job->o->roll_forward_last;
    if (stop != 0 && stop < last)
        last = stop;
    return limit != 0 && limit < last ? limit : last;
}

static err_t check_no_logs(const struct job *job)
{
    struct log_survey own;
    TRY_RETURN(log_survey(job->o->log_dir, job->o->set->base_name, &own));
    if (!own.any)
        return JET_errSuccess;
    event_report(458, EVENT_WARNING, "", "logs stand where those to roll forward with would go", job->o->log_dir, NULL);
    err_t err = RAISE(JET_errExistingLogFileIsNotContiguous);
    err_detail("%s holds logs already; a roll forward from another folder and a stop want an empty log folder", job->o->log_dir);
    return err;
}

/* Before a stop inside the live logs they are brought whole: recovery cuts the last one. */
err_t live__bring(const struct job *job)
{
    const struct restore_options *o = job->o;
    struct log_survey live;
    char from[OS_PATH_MAX], to[OS_PATH_MAX];
    if (!brings_logs(job))
        return JET_errSuccess;
    TRY_RETURN(log_survey(o->roll_forward_dir, o->set->base_name, &live));
    for (uint32_t g = o->set->gen_high + 1; live.any && g <= last_wanted(job, &live); g++) {
        TRY_RETURN(find_live(o->set, o->roll_forward_dir, &live, g, from));
        TRY_RETURN(os_join(to, sizeof to, o->log_dir, os_last_name(from)));
        TRY_RETURN(restore__copy_file(from, to));
    }
    return os_dir_sync(o->log_dir);
}

/* Who names a folder wants its logs: without any the restore would end earlier than asked, with success. */
static err_t check_any(const struct job *job)
{
    struct log_survey live;
    const struct restore_options *o = job->o;
    if (o->roll_forward_dir == NULL)
        return JET_errSuccess;
    TRY_RETURN(log_survey(o->roll_forward_dir, o->set->base_name, &live));
    if (live.any)
        return JET_errSuccess;
    err_t err = RAISE(JET_errFileNotFound);
    err_detail("%s holds no log named %s*.log to roll forward with; name the folder of the live logs, or leave it out to restore the set alone",
               o->roll_forward_dir, o->set->base_name);
    return err;
}

/* A moment in a generation that is nowhere is told before anything is copied. */
static err_t check_reaches(const struct job *job)
{
    const struct restore_options *o = job->o;
    struct log_survey live;
    uint32_t wanted = LGPOS_GEN(o->stop), last = o->set->gen_high;
    if (wanted <= last)
        return JET_errSuccess;
    TRY_RETURN(log_survey(o->roll_forward_dir != NULL ? o->roll_forward_dir : o->log_dir, o->set->base_name, &live));
    if (live.any && live.gen_last > last)
        last = live.gen_last;
    if (wanted <= last)
        return JET_errSuccess;
    err_t err = RAISE(JET_errMissingLogFile);
    err_detail("the moment to restore to lies in log generation %u, the last one that is there is %u: name the folder with the logs that "
               "followed the set, or an earlier moment", wanted, last);
    return err;
}

err_t live__check(const struct job *job)
{
    const struct restore_options *o = job->o;
    TRY_RETURN(check_any(job));
    TRY_RETURN(check_reaches(job));
    TRY_RETURN(check_folder(job, o->log_dir));
    if (brings_logs(job))
        TRY_RETURN(check_folder(job, o->roll_forward_dir));
    return brings_logs(job) || o->stop != LGPOS_MIN ? check_no_logs(job) : JET_errSuccess;
}
