#include <stdio.h>

#include "backup/backup_private.h"

/* The logs of a backup: which ones, their bytes, and which live ones go afterwards. */

err_t range__log_name(const struct series *s, uint32_t generation, char name[64])
{
    return log_name(s->b->host.base_name, generation, s->b->host.legacy_names, name, 64);
}

err_t range__missing(const struct series *s, uint32_t generation)
{
    char name[64] = "";
    err_t named = range__log_name(s, generation, name);
    (void)named; /* the number tells enough when there is no name */
    event_report(459, EVENT_ERROR, s->b->host.instance_name, "a log file that the backup needs is missing", name, NULL);
    err_t err = RAISE(JET_errMissingFileToBackup);
    err_detail("log generation %u is needed and not there: make a full backup", generation);
    return err;
}

static uint32_t last_in_backup(struct dbfile *db)
{
    os_lock_take(&db->header_lock);
    uint32_t full = db->header.full_prev.gen_high, inc = db->header.inc_prev.gen_high;
    os_lock_release(&db->header_lock);
    return full > inc ? full : inc;
}

static err_t check_chain(const struct series *s)
{
    for (int i = 0; i < s->db_count; i++) {
        uint32_t last = last_in_backup(s->dbs[i].db);
        if (last + 1 < s->delete_mic)
            return range__missing(s, last + 1);
    }
    return JET_errSuccess;
}

/* Logs that the next increment of a database outside of this backup starts from must stay. */
static void spare_others(struct series *s)
{
    for (int i = 0; i < s->db_count; i++) {
        struct dbfile *db = s->dbs[i].db;
        if (s->dbs[i].copied)
            continue;
        os_lock_take(&db->header_lock);
        uint32_t last = db->header.full_prev.gen_high; /* 0: never backed up, so nothing may go */
        os_lock_release(&db->header_lock);
        s->delete_mac = last < s->delete_mac ? last : s->delete_mac;
    }
}

err_t range__find(struct series *s)
{
    struct log *log = s->b->host.log;
    TRY_RETURN(log_lowest_generation(log, &s->delete_mic));
    uint32_t checkpoint = LGPOS_GEN(checkpointer_position(s->b->host.checkpointer));
    s->delete_mac = checkpoint < s->copy_mac ? checkpoint : s->copy_mac;
    if (s->full) {
        spare_others(s);
    } else {
        s->copy_mic = s->delete_mic;
        TRY_RETURN(check_chain(s));
    }
    s->logs_read = calloc((s->copy_mac - s->copy_mic + 7) / 8, 1);
    if (s->logs_read == NULL)
        return RAISE(JET_errOutOfMemory);
    char first[64], last[64];
    TRY_RETURN(range__log_name(s, s->copy_mic, first));
    TRY_RETURN(range__log_name(s, s->copy_mac - 1, last));
    event_report(223, EVENT_INFO, s->b->host.instance_name, "logs of the backup", first, last, NULL);
    return JET_errSuccess;
}

/* The same range before the roll, which would close the current log. */
err_t range__look(struct series *s)
{
    TRY_RETURN(log_lowest_generation(s->b->host.log, &s->delete_mic));
    s->copy_mac = log_current_generation(s->b->host.log) + 1;
    s->copy_mic = s->full ? LGPOS_GEN(checkpointer_position(s->b->host.checkpointer)) : s->delete_mic;
    return s->full ? JET_errSuccess : check_chain(s);
}

/* ---- their bytes ---- */

static err_t bad_log(const struct series *s, const char *path)
{
    series__event_file(s, 218, EVENT_ERROR, "a log file failed its check", JET_errLogReadVerifyFailure, path);
    err_t err = RAISE(JET_errLogReadVerifyFailure);
    err_detail("%s is damaged; the backup is refused. Make a full backup once the checkpoint has passed it", path);
    return err;
}

err_t range__read_whole(const char *path, uint8_t **bytes, size_t *n)
{
    struct os_file *file;
    uint64_t size = 0;
    *bytes = NULL;
    TRY_RETURN(os_file_open(path, OS_READ, &file));
    err_t err = os_file_size(file, &size);
    if (err >= 0 && size > 64u << 20)
        err = RAISE(JET_errLogFileCorrupt);
    if (err >= 0 && (*bytes = os_alloc_aligned((size_t)size)) == NULL)
        err = RAISE(JET_errOutOfMemory);
    if (err >= 0)
        err = os_file_read(file, 0, *bytes, (size_t)size);
    os_file_close(file);
    *n = (size_t)size;
    return err;
}

bool backup__is_unread(err_t err)
{
    return err == JET_errOutOfMemory || err == JET_errDiskIO || err == JET_errDiskFull || err == JET_errOutOfFileHandles ||
           err == JET_errFileAccessDenied || err == JET_errNTSystemCallFailed || err == JET_errFileSystemCorruption;
}

static err_t check_sequence(const struct series *s, const char *path)
{
    struct log_header h;
    err_t err = log_read_header(path, &h);
    if (backup__is_unread(err))
        return err;
    bool ours = err >= 0 && signature_equal(&h.signature, log_signature(s->b->host.log));
    return ours ? JET_errSuccess : bad_log(s, path);
}

err_t range__load_log(const struct series *s, uint32_t generation, uint8_t **bytes, size_t *n)
{
    char path[OS_PATH_MAX];
    *bytes = NULL;
    TRY_RETURN(log_path(s->b->host.log, generation, path));
    if (!os_exists(path))
        return range__missing(s, generation);
    TRY_RETURN(check_sequence(s, path));
    err_t err = range__read_whole(path, bytes, n);
    if (err >= 0) {
        err = log_verify_image(*bytes, *n, generation);
        if (err < 0 && !backup__is_unread(err))
            err = bad_log(s, path);
    }
    if (err < 0) {
        os_free_aligned(*bytes);
        *bytes = NULL;
    }
    return err;
}

/* ---- truncation: the checkpoint's own log and the current one always stay ---- */

static err_t delete_told(const struct series *s, uint32_t first, uint32_t end, enum event_severity severity, const char *text,
                         struct log_deletion *gone)
{
    char a[64], b[64];
    uint32_t deleted = 0;
    const char *name = s->b->host.instance_name;
    if (first >= end) {
        event_report(225, EVENT_INFO, name, "no log can be deleted", NULL);
        return JET_errSuccess;
    }
    TRY_RETURN(range__log_name(s, first, a));
    TRY_RETURN(range__log_name(s, end - 1, b));
    event_report(224, severity, name, text, a, b, NULL);
    TRY_RETURN(log_delete_range(s->b->host.log, first, end, &deleted));
    if (deleted < end - first) {
        snprintf(a, sizeof a, "%u", end - first - deleted);
        event_report(227, EVENT_WARNING, name, "logs to delete were gone already", a, NULL);
    }
    *gone = (struct log_deletion){first, end};
    return JET_errSuccess;
}

err_t range__delete(const struct series *s, uint32_t first, uint32_t end, struct log_deletion *gone)
{
    return delete_told(s, first, end, EVENT_INFO, "logs are deleted", gone);
}

/* The last generation that backups of every database hold; 0: there is one without. */
static uint32_t last_saved(const struct series *s)
{
    uint32_t saved = UINT32_MAX;
    for (int i = 0; i < s->db_count; i++) {
        uint32_t last = last_in_backup(s->dbs[i].db);
        saved = last < saved ? last : saved;
    }
    return saved;
}

err_t range__find_truncatable(const struct series *s, struct log_deletion *range)
{
    TRY_RETURN(log_lowest_generation(s->b->host.log, &range->low));
    range->high = LGPOS_GEN(checkpointer_position(s->b->host.checkpointer));
    if (log_is_circular(s->b->host.log) || range->high < range->low)
        range->high = range->low; /* circular logging deletes by itself */
    return JET_errSuccess;
}

/* Whatever lies below the checkpoint, as ESE's page has it: also what a roll forward or the next increment would need. */
err_t range__truncate_only(const struct series *s, struct log_deletion *deleted)
{
    struct log_deletion range;
    TRY_RETURN(range__find_truncatable(s, &range));
    if (range.high == range.low || range.high - 1 <= last_saved(s))
        return range__delete(s, range.low, range.high, deleted);
    return delete_told(s, range.low, range.high, EVENT_WARNING,
                       "logs are deleted that no backup holds: nothing rolls forward over them, make a full backup", deleted);
}
