#include <stdio.h>

#include "backup/backup_private.h"

/* The logs of a set, on their way into its folder. */

/* A log of the same name in the set must be the same one, from the last run; it is replaced whole. */
static err_t may_replace(const char *source, const char *to)
{
    struct log_header a, b;
    enum os_kind kind = os_kind_of(to, NULL);
    if (kind == OS_KIND_NONE)
        return JET_errSuccess;
    if (kind != OS_KIND_FILE) {
        err_t err = RAISE(JET_errFileAlreadyExists);
        err_detail("%s is no regular file, and a link in a set is not followed: put the log itself there", to);
        return err;
    }
    TRY_RETURN(log_read_header(source, &a));
    err_t read = log_read_header(to, &b);
    if (backup__is_unread(read))
        return read;
    bool same = read >= 0 && a.generation == b.generation &&
                memcmp(a.created.b, b.created.b, sizeof a.created.b) == 0 &&
                signature_equal(&a.signature, &b.signature);
    if (same)
        return JET_errSuccess;
    err_t err = RAISE(JET_errFileAlreadyExists);
    err_detail("%s belongs to another log sequence; back up into a directory of its own", to);
    return err;
}

/* Bytes up to the last segment that is not all zero: the unused end of a log becomes a hole. */
static size_t used_size(const uint8_t *bytes, size_t n)
{
    while (n >= LOG_SEGMENT && page_is_all_zero((struct page){(uint8_t *)(uintptr_t)bytes + n - LOG_SEGMENT, LOG_SEGMENT}))
        n -= LOG_SEGMENT;
    return n;
}

/* A file of its own: what has the name already, be it a link, is not written to, nor removed after a failure. */
static err_t write_whole(struct run *run, const char *path, const uint8_t *bytes, size_t n)
{
    struct os_file *file;
    size_t used = used_size(bytes, n);
    TRY_RETURN(os_file_open(path, OS_WRITE | OS_CREATE | OS_EXCL, &file));
    err_t err = run__note_created(run, path);
    if (err < 0 && os_unlink_in(run->target, os_last_name(path)) < 0)
        err_clear();
    if (err >= 0 && used > 0)
        err = os_file_write(file, 0, bytes, used);
    if (err >= 0 && used < n)
        err = os_file_set_size(file, n);
    if (err >= 0)
        err = os_file_sync(file);
    os_file_close(file);
    return err;
}

static bool is_created(const struct run *run, const char *path)
{
    const struct created *c = run->created;
    while (c != NULL && strcmp(c->path, path) != 0)
        c = c->next;
    return c != NULL;
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
    bool same = os_exists(to) && range__read_whole(to, &there, &size) >= 0 && size == n && memcmp(there, bytes, n) == 0;
    os_free_aligned(there);
    return same;
}

/* Written beside and renamed: a set's own log is never half there. One that stood there before stays the set's when the run fails:
 * both are the same bytes. The logs that an increment brings into a complete set come there for good one after the other: a power
 * cut that left a later one without an earlier one would make the whole set unrestorable. */
static err_t put_log(struct run *run, const char *to, const uint8_t *bytes, size_t n)
{
    char beside[OS_PATH_MAX];
    bool was_there = os_exists(to);
    if ((size_t)snprintf(beside, sizeof beside, "%s.tmp", to) >= sizeof beside)
        return RAISE(JET_errInvalidPath);
    if (!was_there)
        TRY_RETURN(run__note_created(run, to)); /* before it is there: a log that nobody takes away again may leave a gap behind it */
    if (os_exists(beside)) /* of a run that was cut off */
        TRY_RETURN(os_unlink_in(run->target, os_last_name(beside)));
    TRY_RETURN(write_whole(run, beside, bytes, n));
    TRY_RETURN(os_rename(beside, to));
    forget_created(run, beside);
    return run->full ? JET_errSuccess : os_dir_sync(run->target);
}

static err_t copy_log(struct run *run, uint32_t generation)
{
    struct series *s = &run->series;
    char from[OS_PATH_MAX], name[64], to[OS_PATH_MAX];
    uint8_t *bytes = NULL;
    size_t n;
    err_t err = JET_errSuccess;
    TRY(log_path(s->b->host.log, generation, from));
    TRY(range__log_name(s, generation, name));
    TRY(os_join(to, sizeof to, run->target, name));
    TRY(range__load_log(s, generation, &bytes, &n));
    TRY(may_replace(from, to));
    TRY(run__progress(run, n));
    if (!is_there(to, bytes, n)) {
        TRY(put_log(run, to, bytes, n));
        run->result->logs++;
        run->result->files++;
        run->result->bytes += used_size(bytes, n);
    }
    series__note_log_read(s, generation);
out:
    os_free_aligned(bytes);
    return err;
}

static err_t not_following(err_t why, const char *target, uint32_t last, const char *what)
{
    err_t err = RAISE(why);
    err_detail("%s ends with generation %u; %s: make a full backup into another folder", target, last, what);
    return err;
}

/* An increment goes on where the set ends, in the same sequence: else the set would restore no more, and the increment be lost with it. */
static err_t check_follows(const struct run *run, const char *target)
{
    const struct series *s = &run->series;
    const char *base_name = s->b->host.base_name;
    struct log_survey there;
    struct log_header last;
    char path[OS_PATH_MAX];
    TRY_RETURN(log_survey(target, base_name, &there));
    if (!there.any)
        return JET_errSuccess;
    if (log_find(target, base_name, there.gen_last, path) >= 0 && os_kind_of(path, NULL) == OS_KIND_FILE &&
        log_read_header(path, &last) >= 0 && !signature_equal(&last.signature, log_signature(s->b->host.log)))
        return not_following(JET_errFileAlreadyExists, target, there.gen_last, "it belongs to another log sequence");
    if (there.gen_last + 1 < s->copy_mic)
        return not_following(JET_errMissingFileToBackup, target, there.gen_last, "logs that followed it are gone from the log folder");
    return JET_errSuccess;
}

err_t logs__look(const struct run *run, const char *target)
{
    const struct series *s = &run->series;
    if (!run->full)
        TRY_RETURN(check_follows(run, target));
    char from[OS_PATH_MAX], name[64], to[OS_PATH_MAX];
    for (uint32_t g = s->copy_mic; g < s->copy_mac; g++) {
        TRY_RETURN(log_path(s->b->host.log, g, from));
        if (!os_exists(from))
            return range__missing(s, g);
        TRY_RETURN(range__log_name(s, g, name));
        TRY_RETURN(os_join(to, sizeof to, target, name));
        TRY_RETURN(may_replace(from, to));
    }
    return JET_errSuccess;
}

static err_t put_marker(struct run *run, const struct dbfile *db)
{
    char copy[OS_PATH_MAX], path[OS_PATH_MAX];
    TRY_RETURN(os_join(copy, sizeof copy, run->target, os_last_name(db->path)));
    TRY_RETURN(set__marker_path(copy, path));
    if (is_created(run, path)) /* of a database that differs in its extension only */
        return JET_errSuccess;
    TRY_RETURN(write_whole(run, path, NULL, 0));
    run->result->files++;
    return JET_errSuccess;
}

err_t logs__copy(struct run *run)
{
    struct series *s = &run->series;
    if (!run->full)
        TRY_RETURN(check_follows(run, run->target));
    for (uint32_t g = s->copy_mic; g < s->copy_mac; g++) {
        err_t stop = series__stopped(s);
        if (stop < 0)
            return RAISE(stop);
        TRY_RETURN(copy_log(run, g));
    }
    for (int i = 0; i < s->db_count && run->full; i++)
        TRY_RETURN(put_marker(run, s->dbs[i].db));
    return JET_errSuccess;
}
