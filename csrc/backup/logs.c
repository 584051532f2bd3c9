#include <stdio.h>

#include "backup/backup_private.h"

/* The logs of a set: which ones, copied and verified whole, and which live ones go afterwards. */

static err_t log_file_name(const struct run *run, uint32_t generation, char name[64])
{
    return log_name(run->b->host.base_name, generation, run->b->host.legacy_names, name, 64);
}

static err_t missing(struct run *run, uint32_t generation)
{
    char name[64] = "";
    err_t named = log_file_name(run, generation, name);
    (void)named; /* the number tells enough when there is no name */
    event_report(459, EVENT_ERROR, run->b->host.instance_name, "a log file that the backup needs is missing", name, NULL);
    err_t err = RAISE(JET_errMissingFileToBackup);
    err_detail("log generation %u is needed and not there: make a full backup", generation);
    return err;
}

static err_t check_chain(struct run *run)
{
    for (int i = 0; i < run->db_count; i++) {
        os_lock_take(&run->dbs[i]->header_lock);
        uint32_t full = run->dbs[i]->header.full_prev.gen_high, inc = run->dbs[i]->header.inc_prev.gen_high;
        os_lock_release(&run->dbs[i]->header_lock);
        uint32_t last = full > inc ? full : inc;
        if (last + 1 < run->delete_mic)
            return missing(run, last + 1);
    }
    return JET_errSuccess;
}

err_t logs__range(struct run *run)
{
    struct log *log = run->b->host.log;
    uint32_t closed;
    TRY_RETURN(log_roll(log, &closed));
    run->copy_mac = closed + 1;
    struct bkinfo range = run->mark;
    range.gen_low = run->copy_mic;
    range.gen_high = closed;
    TRY_RETURN(stamp__record(run, PHASE_PREPARE_LOGS, 0, &range, &run->roll_at));
    TRY_RETURN(log_lowest_generation(log, &run->delete_mic));
    uint32_t checkpoint = LGPOS_GEN(checkpointer_position(run->b->host.checkpointer));
    run->delete_mac = checkpoint < run->copy_mac ? checkpoint : run->copy_mac;
    if (!run->full) {
        run->copy_mic = run->delete_mic;
        TRY_RETURN(check_chain(run));
    }
    char first[64], last[64];
    TRY_RETURN(log_file_name(run, run->copy_mic, first));
    TRY_RETURN(log_file_name(run, run->copy_mac - 1, last));
    event_report(223, EVENT_INFO, run->b->host.instance_name, "logs of the backup", first, last, NULL);
    return JET_errSuccess;
}

/* ---- copying ---- */

static err_t bad_log(struct run *run, const char *path)
{
    run__event_file(run, 218, EVENT_ERROR, "a log file failed its check", JET_errLogReadVerifyFailure, path);
    err_t err = RAISE(JET_errLogReadVerifyFailure);
    err_detail("%s is damaged; the backup is refused. Make a full backup once the checkpoint has passed it", path);
    return err;
}

static err_t same_sequence(struct run *run, const char *path)
{
    struct log_header h;
    if (log_read_header(path, &h) < 0)
        return bad_log(run, path);
    if (memcmp(h.signature.b, log_signature(run->b->host.log)->b, sizeof h.signature.b) != 0)
        return bad_log(run, path);
    return JET_errSuccess;
}

/* A log of the same name in the set must be the same one, from the last run; it is replaced whole. */
static err_t may_replace(const char *source, const char *to)
{
    struct log_header a, b;
    if (!os_exists(to))
        return JET_errSuccess;
    TRY_RETURN(log_read_header(source, &a));
    bool same = log_read_header(to, &b) >= 0 && a.generation == b.generation &&
                memcmp(a.created.b, b.created.b, sizeof a.created.b) == 0 &&
                memcmp(a.signature.b, b.signature.b, sizeof a.signature.b) == 0;
    if (same)
        return JET_errSuccess;
    err_t err = RAISE(JET_errFileAlreadyExists);
    err_detail("%s belongs to another log sequence; back up into a directory of its own", to);
    return err;
}

static err_t read_whole(const char *path, uint8_t **bytes, size_t *n)
{
    struct os_file *file;
    uint64_t size = 0;
    *bytes = NULL;
    TRY_RETURN(os_file_open(path, OS_READ, &file));
    err_t err = os_file_size(file, &size);
    if (err >= 0 && size > 64u << 20)
        err = RAISE(JET_errLogFileCorrupt);
    if (err >= 0 && (*bytes = malloc(size == 0 ? 1 : (size_t)size)) == NULL)
        err = RAISE(JET_errOutOfMemory);
    if (err >= 0)
        err = os_file_read(file, 0, *bytes, (size_t)size);
    os_file_close(file);
    *n = (size_t)size;
    return err;
}

/* Bytes up to the last segment that is not all zero: the unused end of a log becomes a hole. */
static size_t used_size(const uint8_t *bytes, size_t n)
{
    while (n >= LOG_SEGMENT && page_is_all_zero((struct page){(uint8_t *)(uintptr_t)bytes + n - LOG_SEGMENT, LOG_SEGMENT}))
        n -= LOG_SEGMENT;
    return n;
}

static err_t write_whole(struct run *run, const char *path, const uint8_t *bytes, size_t n)
{
    struct os_file *file;
    size_t used = used_size(bytes, n);
    TRY_RETURN(os_file_open(path, OS_WRITE | OS_CREATE | OS_TRUNCATE, &file));
    err_t err = run__note_created(run, path);
    if (err >= 0 && used > 0)
        err = os_file_write(file, 0, bytes, used);
    if (err >= 0 && used < n)
        err = os_file_set_size(file, n);
    if (err >= 0)
        err = os_file_sync(file);
    os_file_close(file);
    return err;
}

static void forget_created(struct run *run, const char *path)
{
    for (struct created **at = &run->created; *at != NULL; at = &(*at)->next)
        if (strcmp((*at)->path, path) == 0) {
            struct created *gone = *at;
            *at = gone->next;
            free(gone->path);
            free(gone);
            return;
        }
}

/* From the last run, and still the same bytes: nothing to do. */
static bool is_there(const char *to, const uint8_t *bytes, size_t n)
{
    uint8_t *there = NULL;
    size_t size = 0;
    bool same = os_exists(to) && read_whole(to, &there, &size) >= 0 && size == n && memcmp(there, bytes, n) == 0;
    free(there);
    return same;
}

/* Written beside and renamed: a set's own log is never half there. One that stood there before stays the set's when the run fails:
 * both are the same bytes. */
static err_t put_log(struct run *run, const char *to, const uint8_t *bytes, size_t n)
{
    char beside[OS_PATH_MAX];
    bool was_there = os_exists(to);
    if ((size_t)snprintf(beside, sizeof beside, "%s.tmp", to) >= sizeof beside)
        return RAISE(JET_errInvalidPath);
    TRY_RETURN(write_whole(run, beside, bytes, n));
    TRY_RETURN(os_rename(beside, to));
    forget_created(run, beside);
    return was_there ? JET_errSuccess : run__note_created(run, to);
}

static err_t copy_log(struct run *run, uint32_t generation)
{
    char from[OS_PATH_MAX], name[64], to[OS_PATH_MAX];
    uint8_t *bytes = NULL;
    size_t n;
    err_t err = JET_errSuccess;
    TRY(log_path(run->b->host.log, generation, from));
    TRY(log_file_name(run, generation, name));
    TRY(os_join(to, sizeof to, run->target, name));
    if (!os_exists(from))
        return missing(run, generation);
    TRY(same_sequence(run, from));
    TRY(read_whole(from, &bytes, &n));
    if (log_verify_image(bytes, n, generation) < 0) {
        err = bad_log(run, from);
        goto out;
    }
    TRY(may_replace(from, to));
    TRY(run__progress(run, n));
    if (is_there(to, bytes, n))
        goto out;
    TRY(put_log(run, to, bytes, n));
    run->result->logs++;
    run->result->files++;
    run->result->bytes += used_size(bytes, n);
out:
    free(bytes);
    return err;
}

static err_t put_marker(struct run *run, const struct dbfile *db)
{
    char path[OS_PATH_MAX];
    const char *name = strrchr(db->path, '/');
    TRY_RETURN(os_join(path, sizeof path - 4, run->target, name == NULL ? db->path : name + 1));
    char *dot = strrchr(path, '.');
    if (dot == NULL || strchr(dot, '/') != NULL)
        dot = path + strlen(path);
    memcpy(dot, ".pat", 5);
    TRY_RETURN(write_whole(run, path, NULL, 0));
    run->result->files++;
    return JET_errSuccess;
}

err_t logs__copy(struct run *run)
{
    for (uint32_t g = run->copy_mic; g < run->copy_mac; g++) {
        err_t stop = run__stopped(run);
        if (stop < 0)
            return RAISE(stop);
        TRY_RETURN(copy_log(run, g));
    }
    for (int i = 0; i < run->db_count && run->full; i++)
        TRY_RETURN(put_marker(run, run->dbs[i]));
    return JET_errSuccess;
}

/* ---- truncation: the checkpoint's own log and the current one always stay ---- */

static err_t delete_range(struct run *run, uint32_t first, uint32_t end)
{
    char a[64], b[64];
    uint32_t deleted = 0;
    if (first >= end) {
        event_report(225, EVENT_INFO, run->b->host.instance_name, "no log can be deleted", NULL);
        return JET_errSuccess;
    }
    TRY_RETURN(log_file_name(run, first, a));
    TRY_RETURN(log_file_name(run, end - 1, b));
    event_report(224, EVENT_INFO, run->b->host.instance_name, "logs are deleted", a, b, NULL);
    TRY_RETURN(log_delete_range(run->b->host.log, first, end, &deleted));
    if (deleted < end - first) {
        snprintf(a, sizeof a, "%u", end - first - deleted);
        event_report(227, EVENT_WARNING, run->b->host.instance_name, "logs to delete were gone already", a, NULL);
    }
    run->result->deleted_low = first;
    run->result->deleted_high = end;
    return JET_errSuccess;
}

err_t logs__truncate(struct run *run)
{
    if (run->delete_mic < run->delete_mac) {
        struct bkinfo range = run->mark;
        range.gen_low = run->delete_mic;
        range.gen_high = run->delete_mac;
        TRY_RETURN(stamp__record(run, PHASE_TRUNCATE, 0, &range, NULL));
        TRY_RETURN(log_flush_all(run->b->host.log));
    }
    return delete_range(run, run->delete_mic, run->delete_mac);
}

err_t logs__truncate_only(struct run *run)
{
    uint32_t lowest, end = LGPOS_GEN(checkpointer_position(run->b->host.checkpointer));
    TRY_RETURN(log_lowest_generation(run->b->host.log, &lowest));
    if (log_is_circular(run->b->host.log))
        end = lowest; /* circular logging deletes by itself */
    return delete_range(run, lowest, end);
}
