#include <stdio.h>

#include "backup/restore_private.h"

/* Everything about the set is checked before anything is copied: its databases against their last pages and the logs, the places
 * where they go, the moment to stop at. */

err_t plan__fail_file(err_t code, int event, const char *path, const char *text)
{
    event_report(event, EVENT_ERROR, "", text, path, NULL);
    err_t err = RAISE(code);
    err_detail("%s: %s", path, text);
    return err;
}

/* ---- checks of one database of the set ---- */

static err_t read_trailer(const char *path, struct plan *plan)
{
    struct os_file *file;
    uint32_t ps = plan->header.page_size;
    uint8_t *page = malloc(ps);
    if (page == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = os_file_open(path, OS_READ, &file);
    if (err >= 0) {
        err = os_file_size(file, &plan->size);
        if (err >= 0 && (plan->size < 4ull * ps || plan->size % ps != 0))
            err = RAISE(JET_errBadPatchPage);
        if (err >= 0)
            err = os_file_read(file, plan->size - ps, page, ps);
        if (err >= 0)
            err = trailer__load(page, ps, &plan->trailer);
        if (err == JET_errBadPatchPage)
            err_detail("%s: the page that a backup puts at the end of a database is missing or damaged", path);
        os_file_close(file);
    }
    free(page);
    return err;
}

static err_t fail_range(const struct plan *plan, err_t code, int event, uint32_t found, uint32_t needed)
{
    char a[16], b[16];
    snprintf(a, sizeof a, "%u", found);
    snprintf(b, sizeof b, "%u", needed);
    event_report(event, EVENT_ERROR, "", "logs that a database of the set needs are missing", a, b, NULL);
    err_t err = RAISE(code);
    err_detail("%s needs the logs %s generation %u; the set's %s is %u", plan->from, event == 431 ? "from" : "up to", needed,
               event == 431 ? "first" : "last", found);
    return err;
}

/* Event 430 and its error: what lies there was not made by one backup. */
static err_t not_together(const char *path)
{
    return plan__fail_file(JET_errDatabasePatchFileMismatch, 430, path, "database, its last page and the logs do not belong together");
}

static err_t first_log(const struct restore_set *set, struct log_header *log)
{
    char path[OS_PATH_MAX];
    TRY_RETURN(log_find(set->dir, set->base_name, set->gen_low, path));
    return log_read_header(path, log);
}

static err_t check_against_logs(const struct job *job, const struct plan *plan)
{
    const struct restore_set *set = job->o->set;
    const struct trailer *t = &plan->trailer;
    const struct db_header *h = &plan->header;
    struct log_header log;
    TRY_RETURN(first_log(set, &log));
    if (!signature_equal(&h->sign_log, &log.signature))
        return not_together(plan->from);
    if (!plan->moved && (!signature_equal(&t->sign_db, &h->sign_db) || t->info.mark != h->full_cur.mark ||
                         !signature_equal(&t->sign_log, &h->sign_log)))
        return not_together(plan->from);
    if (set->gen_low > t->info.gen_low)
        return fail_range(plan, JET_errStartingRestoreLogTooHigh, 431, set->gen_low, t->info.gen_low);
    if (set->gen_high < t->info.gen_high)
        return fail_range(plan, JET_errEndingRestoreLogTooLow, 432, set->gen_high, t->info.gen_high);
    return JET_errSuccess;
}

/* Pages may be as new as the end of the generation that the trailer names: no moment before it is in the set. */
static err_t check_stop(const struct job *job, const struct plan *plan)
{
    lgpos_t stop = job->o->stop;
    uint32_t high = plan->trailer.info.gen_high;
    bool whole = LGPOS_SEC(stop) == 0 && LGPOS_BYTE(stop) == 0;
    if (stop == LGPOS_MIN || LGPOS_GEN(stop) > high || (whole && LGPOS_GEN(stop) == high))
        return JET_errSuccess;
    err_t err = RAISE(JET_errEndingRestoreLogTooLow);
    err_detail("%s can be restored to the end of generation %X at the earliest, when its backup ended; an older backup reaches further back",
               plan->from, high);
    return err;
}

/* A try that was cut off moved the trailer of a file in place: the range is the header's. */
static void take_moved(struct plan *plan)
{
    plan->moved = true;
    plan->trailer = (struct trailer){.info = plan->header.full_cur};
    plan->trailer.info.gen_high = plan->trailer.info.gen_low; /* the range of the first try; recovery checks what is required */
}

static bool has_marker(const char *database)
{
    char path[OS_PATH_MAX];
    return set__marker_path(database, path) >= 0 && os_exists(path);
}

/* Its marker says that a backup put a database there, and this is not the one; without it nothing ever said so. */
static err_t refuse_stranger(const char *path)
{
    err_t err = has_marker(path) ? RAISE(JET_errRestoreOfNonBackupDatabase) : RAISE(JET_errPatchFileMissing);
    err_detail("%s was not written by a backup", path);
    return err;
}

static err_t plan_database(struct job *job, int i)
{
    struct plan *plan = &job->plans[i];
    const struct restore_set *set = job->o->set;
    plan->from = set->databases[i];
    plan->original = set->originals[i];
    TRY_RETURN(db_header_read_path(plan->from, &plan->header));
    if (plan->header.full_cur.gen_low == 0)
        return refuse_stranger(plan->from);
    if (job->o->in_place && plan->header.full_cur.gen_high != 0)
        take_moved(plan);
    else
        TRY_RETURN(read_trailer(plan->from, plan));
    TRY_RETURN(check_against_logs(job, plan));
    TRY_RETURN(check_stop(job, plan));
    TRY_RETURN(map__target(job, i, plan->to));
    job->total += plan->size;
    return JET_errSuccess;
}

/* ---- places ---- */

bool plan__same_place(const char *a, const char *b)
{
    char x[OS_PATH_MAX], y[OS_PATH_MAX];
    return os_full_path(a, x, sizeof x) >= 0 && os_full_path(b, y, sizeof y) >= 0 && strcmp(x, y) == 0;
}

static err_t inside_set(const char *path)
{
    err_t err = RAISE(JET_errInvalidPath);
    err_detail("%s is the backup set itself: a set is only read, restore to another folder", path);
    return err;
}

/* What is there is overwritten, but not under somebody who has it open. */
static err_t check_free(const char *to)
{
    struct os_file *file;
    if (!os_exists(to))
        return JET_errSuccess;
    TRY_RETURN(os_file_open(to, OS_WRITE, &file));
    err_t err = os_file_lock(file, true);
    os_file_close(file);
    if (err < 0)
        err_detail("%s is open in an instance; detach it there before it is overwritten", to);
    return err;
}

static err_t check_target(const struct job *job, const char *to)
{
    char dir[OS_PATH_MAX];
    TRY_RETURN(os_parent(to, dir));
    if (!job->o->in_place && plan__same_place(dir, job->o->set->dir))
        return inside_set(job->o->set->dir);
    if (!os_is_dir(dir)) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%s is no folder; create it, or set JET_paramCreatePathIfNotExist", dir);
        return err;
    }
    return check_free(to);
}

static err_t check_places(const struct job *job)
{
    const struct restore_options *o = job->o;
    if (plan__same_place(o->log_dir, o->set->dir) || plan__same_place(o->system_dir, o->set->dir))
        return inside_set(o->set->dir);
    for (int i = 0; i < job->count; i++)
        TRY_RETURN(check_target(job, job->plans[i].to));
    return JET_errSuccess;
}

static err_t check_configuration(const struct job *job, const struct recovery_config *recovery)
{
    const struct restore_set *set = job->o->set;
    if (strcmp(set->base_name, recovery->base_name) != 0) {
        err_t err = RAISE(JET_errFileNotFound);
        err_detail("%s holds logs named %s..., the instance's base name is %s", set->dir, set->base_name, recovery->base_name);
        return err;
    }
    if (set->page_size != recovery->page_size) {
        err_t err = RAISE(JET_errPageSizeMismatch);
        err_detail("%s was made with pages of %u bytes, not %u", set->dir, set->page_size, recovery->page_size);
        return err;
    }
    return JET_errSuccess;
}

static err_t check_destination(const struct restore_options *o)
{
    if (o->destination == NULL || os_is_dir(o->destination))
        return JET_errSuccess;
    err_t err = RAISE(JET_errInvalidPath);
    err_detail("%s is no folder; create it, or set JET_paramCreatePathIfNotExist", o->destination);
    return err;
}

err_t plan__all(struct job *job, const struct recovery_config *recovery)
{
    const struct restore_set *set = job->o->set;
    uint32_t stop = LGPOS_GEN(job->o->stop);
    TRY_RETURN(check_configuration(job, recovery));
    TRY_RETURN(check_destination(job->o));
    TRY_RETURN(map__check(job));
    for (int i = 0; i < job->count; i++)
        TRY_RETURN(plan_database(job, i));
    job->gen_high = stop != 0 && stop < set->gen_high ? stop : set->gen_high;
    job->log_bytes = (uint64_t)(job->gen_high - set->gen_low + 1) * set->log_file_size;
    job->total += job->log_bytes;
    return check_places(job);
}
