#include <stdio.h>

#include "backup/backup_private.h"

/* Restore: everything about the set is checked, then databases are copied (trailer off, its range into the header), then recovery
 * replays the set's logs and what follows them. The set is only read. */

struct plan { /* one database */
    const char *from;
    char to[OS_PATH_MAX];
    struct db_header header;
    struct trailer trailer;
    uint64_t size; /* of the file in the set */
};

struct job {
    const struct restore_options *o;
    struct restore_result *result;
    struct plan *plans;
    int count;
    uint64_t done, total; /* bytes: databases, then logs */
    uint64_t log_bytes;
};

static err_t fail_file(err_t code, int event, const char *path, const char *text)
{
    event_report(event, EVENT_ERROR, "", text, path, NULL);
    err_t err = RAISE(code);
    err_detail("%s: %s", path, text);
    return err;
}

static uint32_t kib(uint64_t bytes)
{
    return (uint32_t)(bytes / 1024);
}

static err_t tell(const struct job *job, JET_SNT snt)
{
    const struct progress *p = &job->o->progress;
    uint64_t done = job->done < job->total ? job->done : job->total;
    return p->fn == NULL ? JET_errSuccess : p->fn(p->context, JET_snpRestore, snt, kib(done), kib(job->total));
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

static err_t check_against_logs(const struct job *job, const struct plan *plan)
{
    const struct restore_set *set = job->o->set;
    const struct trailer *t = &plan->trailer;
    const struct db_header *h = &plan->header;
    struct log_header log;
    char name[64], path[OS_PATH_MAX];
    TRY_RETURN(log_name(set->base_name, set->gen_low, 3, name, sizeof name));
    TRY_RETURN(os_join(path, sizeof path, set->dir, name));
    TRY_RETURN(log_read_header(path, &log));
    bool same = memcmp(t->sign_db.b, h->sign_db.b, 28) == 0 && t->info.mark == h->full_cur.mark &&
                memcmp(t->sign_log.b, h->sign_log.b, 28) == 0 && memcmp(h->sign_log.b, log.signature.b, 28) == 0;
    if (!same)
        return fail_file(JET_errDatabasePatchFileMismatch, 430, plan->from, "database, its last page and the logs do not belong together");
    if (set->gen_low > t->info.gen_low)
        return fail_range(plan, JET_errStartingRestoreLogTooHigh, 431, set->gen_low, t->info.gen_low);
    if (set->gen_high < t->info.gen_high)
        return fail_range(plan, JET_errEndingRestoreLogTooLow, 432, set->gen_high, t->info.gen_high);
    return JET_errSuccess;
}

static err_t plan_database(struct job *job, int i)
{
    struct plan *plan = &job->plans[i];
    const struct restore_set *set = job->o->set;
    plan->from = set->databases[i];
    TRY_RETURN(db_header_read_path(plan->from, &plan->header));
    if (plan->header.full_cur.gen_low == 0) {
        err_t err = RAISE(JET_errRestoreOfNonBackupDatabase);
        err_detail("%s was not written by a backup", plan->from);
        return err;
    }
    TRY_RETURN(read_trailer(plan->from, plan));
    TRY_RETURN(check_against_logs(job, plan));
    if (job->o->destination == NULL) {
        if (set->originals[i][0] == '\0')
            return fail_file(JET_errDatabasePatchFileMismatch, 430, plan->from, "the set's logs do not name this database");
        memcpy(plan->to, set->originals[i], sizeof plan->to);
    } else {
        const char *name = strrchr(plan->from, '/');
        TRY_RETURN(os_join(plan->to, sizeof plan->to, job->o->destination, name == NULL ? plan->from : name + 1));
    }
    job->total += plan->size;
    return JET_errSuccess;
}

/* ---- places ---- */

static bool same_place(const char *a, const char *b)
{
    char x[OS_PATH_MAX], y[OS_PATH_MAX];
    bool same = os_full_path(a, x, sizeof x) >= 0 && os_full_path(b, y, sizeof y) >= 0 && strcmp(x, y) == 0;
    return same;
}

static err_t inside_set(const char *path)
{
    err_t err = RAISE(JET_errInvalidPath);
    err_detail("%s is the backup set itself: a set is only read, restore to another folder", path);
    return err;
}

/* What is there is overwritten, but not under somebody who has it open. */
static err_t check_target(const struct restore_set *set, const char *to)
{
    char dir[OS_PATH_MAX];
    struct os_file *file;
    snprintf(dir, sizeof dir, "%s", to);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        *slash = '\0';
    if (slash != NULL && same_place(dir[0] == '\0' ? "/" : dir, set->dir))
        return inside_set(set->dir);
    if (!os_exists(to))
        return JET_errSuccess;
    TRY_RETURN(os_file_open(to, OS_WRITE, &file));
    err_t err = os_file_lock(file, true);
    os_file_close(file);
    if (err < 0)
        err_detail("%s is open in an instance; detach it there before it is overwritten", to);
    return err;
}

static err_t check_places(const struct job *job)
{
    const struct restore_options *o = job->o;
    if (same_place(o->log_dir, o->set->dir) || same_place(o->system_dir, o->set->dir))
        return inside_set(o->set->dir);
    for (int i = 0; i < job->count; i++)
        TRY_RETURN(check_target(o->set, job->plans[i].to));
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

static err_t plan_all(struct job *job, const struct recovery_config *recovery)
{
    const struct restore_set *set = job->o->set;
    TRY_RETURN(check_configuration(job, recovery));
    for (int i = 0; i < job->count; i++)
        TRY_RETURN(plan_database(job, i));
    job->log_bytes = (uint64_t)(set->gen_high - set->gen_low + 1) * set->log_file_size;
    job->total += job->log_bytes;
    if (job->o->destination != NULL && !os_is_dir(job->o->destination)) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%s is no folder; create it, or set JET_paramCreatePathIfNotExist", job->o->destination);
        return err;
    }
    return check_places(job);
}

/* ---- live logs that could follow the set (backup-semantics.md 10.2 step 4) ---- */

static err_t check_live(const struct job *job, const char *dir)
{
    const struct restore_set *set = job->o->set;
    struct log_survey live;
    struct log_header set_last, h;
    char name[64], path[OS_PATH_MAX];
    TRY_RETURN(log_survey(dir, set->base_name, &live));
    if (!live.any)
        return JET_errSuccess;
    TRY_RETURN(log_name(set->base_name, set->gen_high, 3, name, sizeof name));
    TRY_RETURN(os_join(path, sizeof path, set->dir, name));
    TRY_RETURN(log_read_header(path, &set_last));
    for (uint32_t g = live.gen_first; g <= live.gen_last; g++) {
        bool current = g == live.gen_last && live.current;
        TRY_RETURN(log_name(set->base_name, current ? 0 : g, 3, name, sizeof name));
        TRY_RETURN(os_join(path, sizeof path, dir, name));
        if (!os_exists(path))
            continue;
        TRY_RETURN(log_read_header(path, &h));
        if (memcmp(h.signature.b, set_last.signature.b, 28) != 0)
            return fail_file(JET_errExistingLogFileHasBadSignature, 457, path, "a live log of another sequence stands in the way");
    }
    if (live.gen_first > set->gen_high + 1) {
        char last[64];
        TRY_RETURN(log_name(set->base_name, set->gen_high, 3, last, sizeof last));
        TRY_RETURN(log_name(set->base_name, live.gen_first, 3, name, sizeof name));
        event_report(458, EVENT_WARNING, "", "the live logs do not follow the set", last, name, NULL);
        err_t err = RAISE(JET_errExistingLogFileIsNotContiguous);
        err_detail("%s: the lowest live log is generation %u, the set ends with %u", dir, live.gen_first, set->gen_high);
        return err;
    }
    if (live.gap && live.gen_missing > set->gen_high) {
        TRY_RETURN(log_name(set->base_name, live.gen_missing, 3, name, sizeof name));
        return fail_file(JET_errMissingCurrentLogFiles, 450, name, "a live log that must follow the set is missing");
    }
    return JET_errSuccess;
}

/* ---- copying ---- */

static err_t bad_page(const char *path, pgno_t pgno)
{
    err_t err = RAISE(JET_errReadVerifyFailure);
    err_detail("%s: page %u of the set is damaged", path, pgno);
    return err;
}

static err_t verify_chunk(const struct plan *plan, pgno_t first, uint32_t count, uint8_t *bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        bool corrected;
        struct page page = {bytes + (size_t)i * plan->header.page_size, plan->header.page_size};
        err_t err = page_verify(page, first + i, &corrected);
        if (err < 0 && err != JET_errPageNotInitialized)
            return bad_page(plan->from, first + i);
    }
    return JET_errSuccess;
}

static err_t copy_pages(struct job *job, struct plan *plan, struct os_file *from, struct copier *c)
{
    uint32_t ps = plan->header.page_size, chunk = CHUNK_BYTES / ps;
    pgno_t last = (pgno_t)(plan->size / ps) - 3;
    for (pgno_t first = 1; first <= last; first += chunk) {
        uint32_t count = last - first + 1 < chunk ? last - first + 1 : chunk;
        uint64_t at = ((uint64_t)first + 1) * ps;
        uint8_t *bytes;
        TRY_RETURN(copier__buffer(c, &bytes));
        TRY_RETURN(os_file_read(from, at, bytes, (size_t)count * ps));
        TRY_RETURN(verify_chunk(plan, first, count, bytes));
        TRY_RETURN(copier__write(c, at, count * ps));
        job->done += (uint64_t)count * ps;
        TRY_RETURN(tell(job, JET_sntProgress));
    }
    return JET_errSuccess;
}

static err_t put_header(const struct job *job, struct plan *plan)
{
    static const struct logtime never;
    struct db_header h = plan->header;
    uint32_t high = job->o->set->gen_high;
    h.full_cur.gen_high = high;
    if (h.gen_max_required < high)
        h.gen_max_required = high;
    if (h.gen_max_committed < high)
        h.gen_max_committed = high;
    h.time_gen_max_created = never;
    struct os_file *file;
    TRY_RETURN(os_file_open(plan->to, OS_WRITE, &file));
    err_t err = db_header_write(file, &h);
    os_file_close(file);
    return err;
}

static err_t copy_database(struct job *job, struct plan *plan)
{
    struct os_file *from = NULL;
    struct copier *c = NULL;
    err_t err = JET_errSuccess;
    TRY(os_file_open(plan->from, OS_READ, &from));
    TRY(copier__create(plan->to, false, plan->size - plan->header.page_size, &c));
    TRY(copy_pages(job, plan, from, c));
    err = copier__finish(c);
    c = NULL;
    if (err >= 0)
        err = put_header(job, plan);
    job->result->bytes += plan->size;
    job->result->files++;
out:
    copier__abandon(c);
    os_file_close(from);
    return err;
}

static err_t sync_folder_of(const char *path)
{
    char dir[OS_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL)
        return JET_errSuccess;
    *slash = '\0';
    return os_dir_sync(dir[0] == '\0' ? "/" : dir);
}

/* Live logs beyond the set, for a roll forward from another folder: copied, so that that folder stays as it is. */
static err_t copy_file(const char *from, const char *to)
{
    struct os_file *in = NULL, *out = NULL;
    uint8_t *bytes = malloc(CHUNK_BYTES);
    uint64_t at = 0;
    size_t got = CHUNK_BYTES;
    err_t err = bytes == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    TRY(err);
    TRY(os_file_open(from, OS_READ, &in));
    TRY(os_file_open(to, OS_WRITE | OS_CREATE | OS_TRUNCATE, &out));
    while (got == CHUNK_BYTES) {
        TRY(os_file_read_some(in, at, bytes, CHUNK_BYTES, &got));
        TRY(os_file_write(out, at, bytes, got));
        at += got;
    }
    TRY(os_file_sync(out));
out:
    os_file_close(out);
    os_file_close(in);
    free(bytes);
    return err;
}

static bool brings_logs(const struct job *job)
{
    const struct restore_options *o = job->o;
    return o->roll_forward_dir != NULL && !same_place(o->roll_forward_dir, o->log_dir); /* its own logs it reads anyway */
}

static err_t check_no_logs(const struct job *job)
{
    struct log_survey own;
    TRY_RETURN(log_survey(job->o->log_dir, job->o->set->base_name, &own));
    if (!own.any)
        return JET_errSuccess;
    event_report(458, EVENT_WARNING, "", "logs stand where those to roll forward with would go", job->o->log_dir, job->o->roll_forward_dir, NULL);
    err_t err = RAISE(JET_errExistingLogFileIsNotContiguous);
    err_detail("%s holds logs already; a roll forward from %s wants an empty log folder", job->o->log_dir, job->o->roll_forward_dir);
    return err;
}

static err_t bring_live_logs(const struct job *job)
{
    const struct restore_set *set = job->o->set;
    struct log_survey live;
    char name[64], from[OS_PATH_MAX], to[OS_PATH_MAX];
    TRY_RETURN(log_survey(job->o->roll_forward_dir, set->base_name, &live));
    for (uint32_t g = set->gen_high + 1; live.any && g <= live.gen_last; g++) {
        TRY_RETURN(log_name(set->base_name, g == live.gen_last && live.current ? 0 : g, 3, name, sizeof name));
        TRY_RETURN(os_join(from, sizeof from, job->o->roll_forward_dir, name));
        TRY_RETURN(os_join(to, sizeof to, job->o->log_dir, name));
        TRY_RETURN(copy_file(from, to));
    }
    return os_dir_sync(job->o->log_dir);
}

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
    return tell(job, JET_sntProgress);
}

static err_t replay(struct job *job, struct recovery_config *config)
{
    const struct restore_set *set = job->o->set;
    struct recovery_map map[DBID_MAX];
    int n = 0;
    for (int i = 0; i < job->count; i++)
        if (set->originals[i][0] != '\0')
            map[n++] = (struct recovery_map){set->originals[i], job->plans[i].to};
    config->set_dir = set->dir;
    config->set_gen_low = set->gen_low;
    config->set_gen_high = set->gen_high;
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
        TRY_RETURN(copy_database(job, &job->plans[i]));
        TRY_RETURN(sync_folder_of(job->plans[i].to));
    }
    if (brings_logs(job))
        TRY_RETURN(bring_live_logs(job));
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
    TRY(plan_all(&job, recovery));
    TRY(check_live(&job, options->log_dir));
    if (brings_logs(&job)) {
        TRY(check_live(&job, options->roll_forward_dir));
        TRY(check_no_logs(&job));
    }
    event_report(204, EVENT_INFO, recovery->instance_name, "a restore begins", options->set->dir, options->log_dir, NULL);
    err = tell(&job, JET_sntBegin);
    if (err >= 0)
        err = put_back(&job, recovery);
    job.done = err >= 0 ? job.total : job.done;
    err_t told = tell(&job, err >= 0 ? JET_sntComplete : JET_sntFail);
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
