#include <stdio.h>

#include "backup/backup_private.h"

/* External backup: the caller reads what JetBackupInstance would write. One step at a time is inside; no lock is held meanwhile.
 *
 *   begin(full) -> DATABASES: list, open, read, close -> logs listed -> LOGS: open, read, close, truncate -> end
 *   begin(incremental) --------------------------------------------> LOGS */

#define BEGIN_GRBITS (JET_bitBackupIncremental | JET_bitInternalCopy)
#define END_GRBITS (JET_bitBackupEndNormal | JET_bitBackupEndAbort | JET_bitBackupTruncateDone | JET_bitBackupNoDbHeaderUpdate)
#define BUFFER_ALIGN 4096u
#define FIRST_READ_DATABASE 3u /* pages: both headers and one more */
#define FIRST_READ_LOG 2u

enum open_kind { OPEN_NOTHING, OPEN_DATABASE, OPEN_LOG };

struct external {
    struct series series;
    enum open_kind open;
    JET_HANDLE handle;
    struct stream stream; /* a database */
    uint32_t generation;  /* a log: */
    uint8_t *log;         /* all of it, verified; from the first read on */
    uint64_t log_at, log_size;
};

/* ---- into a step and out of it ---- */

enum step_kind { STEP_PROGRESS, STEP_END };

/* Stopped comes first; what ends something stays allowed then. */
static err_t step_refusal(const struct backup *b, enum step_kind kind)
{
    err_t stop = b->driver == DRIVER_CALLER ? atomic_load(&b->stop) : 0;
    if (stop < 0 && kind == STEP_PROGRESS)
        return stop;
    if (b->driver == DRIVER_NONE && b->refused && kind == STEP_PROGRESS)
        return JET_errBackupAbortByServer;
    if (b->driver == DRIVER_SURROGATE && kind == STEP_END)
        return JET_errSurrogateBackupInProgress;
    return b->driver == DRIVER_CALLER ? JET_errSuccess : JET_errNoBackup;
}

static err_t step_in(struct backup *b, enum step_kind kind, struct external **out)
{
    os_lock_take(&b->lock);
    while (b->inside)
        os_cond_wait(&b->changed, &b->lock);
    err_t err = step_refusal(b, kind);
    b->inside = err >= 0;
    *out = b->external;
    os_lock_release(&b->lock);
    if (err >= 0)
        return JET_errSuccess;
    err = RAISE(err);
    if (err == JET_errNoBackup)
        err_detail("no external backup is under way: it was not begun, has ended, or was cancelled by an error");
    else
        err_detail("the backup was stopped by the server; close its file and end it");
    return err;
}

static err_t step_out(struct backup *b, err_t err)
{
    os_lock_take(&b->lock);
    b->inside = false;
    os_cond_broadcast(&b->changed);
    os_lock_release(&b->lock);
    return err;
}

static err_t refuse(err_t code, const char *why)
{
    err_t err = RAISE(code);
    err_detail("%s", why);
    return err;
}

/* ---- ends ---- */

static void forget_file(struct external *e)
{
    os_free_aligned(e->log);
    e->log = NULL;
    stream__close(&e->stream);
    e->open = OPEN_NOTHING;
}

/* The step that calls is inside; afterwards nothing is. */
static void leave(struct external *e)
{
    struct backup *b = e->series.b;
    forget_file(e);
    os_lock_take(&b->lock);
    b->external = NULL;
    os_lock_release(&b->lock);
    series__leave(&e->series);
    free(e);
}

static void end_badly(struct external *e, int event, const char *text, err_t why)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)why);
    series__abort(&e->series);
    series__event(&e->series, event, EVENT_ERROR, text, event == 214 ? number : NULL, NULL);
    leave(e);
}

void external__abandon(struct backup *b, err_t why)
{
    end_badly(b->external, 226, "the backup was aborted by the server", why);
}

/* An error after which the rest would be worth nothing. */
static err_t cancel(struct external *e, err_t err)
{
    if (series__stopped(&e->series) < 0) /* its end tells why it ended */
        return step_out(e->series.b, err);
    end_badly(e, 214, "the backup ended with an error", err);
    return err;
}

/* ---- begin ---- */

static err_t check_begin(struct backup *b, JET_GRBIT grbit)
{
    bool full = (grbit & JET_bitBackupIncremental) == 0;
    TRY_RETURN(series__check(b, true));
    if ((grbit & ~(JET_GRBIT)BEGIN_GRBITS) != 0)
        return refuse(JET_errInvalidGrbit, "an external backup takes 0 or JET_bitBackupIncremental, or JET_bitInternalCopy alone");
    TRY_RETURN(series__check(b, full));
    if ((grbit & JET_bitInternalCopy) != 0 && grbit != JET_bitInternalCopy)
        return refuse(JET_errInvalidGrbit, "JET_bitInternalCopy stands alone");
    return JET_errSuccess;
}

err_t backup_begin(struct backup *b, JET_GRBIT grbit, const struct backup_options *options)
{
    bool full = (grbit & JET_bitBackupIncremental) == 0;
    TRY_RETURN(check_begin(b, grbit));
    struct external *e = calloc(1, sizeof *e);
    if (e == NULL)
        return RAISE(JET_errOutOfMemory);
    e->series.read_retries = options->read_retries;
    e->series.zero_deleted = full && options->zero_deleted;
    e->series.internal = (grbit & JET_bitInternalCopy) != 0;
    err_t err = series__enter(&e->series, b, DRIVER_CALLER, full);
    if (err < 0) {
        free(e);
        return err;
    }
    err = series__begin(&e->series);
    if (err < 0) {
        leave(e);
        return err;
    }
    os_lock_take(&b->lock);
    b->external = e;
    os_lock_release(&b->lock);
    return step_out(b, JET_errSuccess);
}

/* ---- lists ---- */

static err_t list_add(struct backup_list *list, const char *path)
{
    uint32_t n = (uint32_t)strlen(path) + 1;
    char *grown = realloc(list->text, list->size + n + 1);
    if (grown == NULL)
        return RAISE(JET_errOutOfMemory);
    list->text = grown;
    memcpy(grown + list->size - (list->size > 0), path, n);
    list->size += n + (list->size == 0);
    grown[list->size - 1] = '\0';
    return JET_errSuccess;
}

/* An empty one is two NULs, as every list of ESE ends with two. */
static err_t list_close(struct backup_list *list)
{
    if (list->text != NULL)
        return JET_errSuccess;
    list->text = calloc(2, 1);
    list->size = 2;
    return list->text == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
}

static void list_free(struct backup_list *list)
{
    free(list->text);
    *list = (struct backup_list){0};
}

err_t backup_list_databases(struct backup *b, struct backup_list *out)
{
    struct external *e;
    *out = (struct backup_list){0};
    TRY_RETURN(step_in(b, STEP_PROGRESS, &e));
    const struct series *s = &e->series;
    if (!s->full)
        return step_out(b, refuse(JET_errInvalidBackupSequence, "an incremental backup copies logs only: list those"));
    err_t err = JET_errSuccess;
    for (int i = 0; i < s->db_count && err >= 0; i++)
        err = list_add(out, s->dbs[i].db->path);
    if (err >= 0)
        err = list_close(out);
    if (err >= 0)
        return step_out(b, err);
    list_free(out);
    return cancel(e, err);
}

static err_t list_generations(const struct series *s, uint32_t first, uint32_t end, struct backup_list *out)
{
    char path[OS_PATH_MAX];
    for (uint32_t g = first; g < end; g++) {
        TRY_RETURN(log_path(s->b->host.log, g, path));
        TRY_RETURN(list_add(out, path));
    }
    return list_close(out);
}

/* The log is rolled by whoever asks first. Entered and left here. */
static err_t list_of_logs(struct backup *b, bool truncated, struct backup_list *out, struct backup_generations *range)
{
    struct external *e;
    *out = (struct backup_list){0};
    TRY_RETURN(step_in(b, STEP_PROGRESS, &e));
    struct series *s = &e->series;
    if (e->open != OPEN_NOTHING)
        return step_out(b, refuse(JET_errInvalidBackupSequence, "a file of the backup is open; close it first"));
    err_t err = series__roll(s);
    if (err >= 0)
        err = truncated ? list_generations(s, s->delete_mic, s->delete_mac, out) : list_generations(s, s->copy_mic, s->copy_mac, out);
    if (err < 0) {
        list_free(out);
        return cancel(e, err);
    }
    if (range != NULL)
        *range = (struct backup_generations){s->copy_mic, s->copy_mac - 1};
    return step_out(b, JET_errSuccess);
}

err_t backup_list_logs(struct backup *b, struct backup_list *out, struct backup_generations *range)
{
    return list_of_logs(b, false, out, range);
}

err_t backup_list_truncated(struct backup *b, struct backup_list *out)
{
    return list_of_logs(b, true, out, NULL);
}

/* ---- open ---- */

static struct member *find_database(struct series *s, const char *full)
{
    for (int i = 0; i < s->db_count; i++)
        if (strcmp(s->dbs[i].db->path, full) == 0)
            return &s->dbs[i];
    return NULL;
}

static err_t find_log(const struct series *s, const char *full, uint32_t *generation)
{
    char path[OS_PATH_MAX];
    for (uint32_t g = s->copy_mic; s->rolled && g < s->copy_mac; g++) {
        TRY_RETURN(log_path(s->b->host.log, g, path));
        *generation = g;
        if (strcmp(path, full) == 0)
            return JET_errSuccess;
    }
    *generation = 0;
    return JET_errSuccess;
}

static void give_handle(struct external *e, enum open_kind kind, JET_HANDLE *handle)
{
    e->open = kind;
    e->handle = ++e->series.b->last_handle;
    *handle = e->handle;
}

static err_t open_database(struct external *e, const char *full, const char *path, JET_HANDLE *handle, uint64_t *size)
{
    struct member *m = find_database(&e->series, full);
    if (m == NULL) {
        series__event_file(&e->series, 217, EVENT_ERROR, "copy of a database failed", JET_errDatabaseNotFound, path);
        err_t err = RAISE(JET_errDatabaseNotFound);
        err_detail("%s is no database of this backup; take the names that JetGetAttachInfo gives", path);
        return step_out(e->series.b, err);
    }
    m->copied = false; /* read again: the last one counts */
    err_t err = scrub__database(&e->series, m->db);
    if (err < 0) {
        if (series__stopped(&e->series) == 0)
            series__event_file(&e->series, 217, EVENT_ERROR, "copy of a database failed", err, m->db->path);
        return step_out(e->series.b, err);
    }
    stream__open(&e->stream, &e->series, m);
    *size = e->stream.size;
    give_handle(e, OPEN_DATABASE, handle);
    return step_out(e->series.b, JET_errSuccess);
}

static err_t size_of(const char *path, uint64_t *size)
{
    struct os_file *file;
    TRY_RETURN(os_file_open(path, OS_READ, &file));
    err_t err = os_file_size(file, size);
    os_file_close(file);
    return err;
}

static err_t open_log(struct external *e, const char *full, const char *path, JET_HANDLE *handle, uint64_t *size)
{
    struct series *s = &e->series;
    if (find_database(s, full) != NULL)
        return cancel(e, refuse(JET_errInvalidBackupSequence, "databases are read before the logs are listed; begin a new backup"));
    err_t err = find_log(s, full, &e->generation);
    if (err < 0)
        return cancel(e, err);
    if (e->generation == 0) {
        err = RAISE(JET_errInvalidParameter);
        err_detail("%s is no log of this backup; take the names that JetGetLogInfo gives", path);
        return step_out(s->b, err);
    }
    if (!os_exists(full))
        return cancel(e, range__missing(s, e->generation));
    err = size_of(full, &e->log_size);
    if (err < 0)
        return cancel(e, err);
    e->log_at = 0;
    *size = e->log_size;
    give_handle(e, OPEN_LOG, handle);
    return step_out(s->b, JET_errSuccess);
}

err_t backup_open_file(struct backup *b, const char *path, JET_HANDLE *handle, uint64_t *size)
{
    struct external *e;
    char full[OS_PATH_MAX];
    TRY_RETURN(step_in(b, STEP_PROGRESS, &e));
    if (path == NULL || path[0] == '\0')
        return step_out(b, refuse(JET_errInvalidParameter, "the name of a file is needed"));
    if (handle == NULL || size == NULL)
        return step_out(b, refuse(JET_errInvalidParameter, "places for the handle and both halves of the size are needed"));
    if (e->open != OPEN_NOTHING)
        return step_out(b, refuse(JET_errOutOfMemory, "one file of a backup can be open at a time; close the other"));
    if (os_full_path(path, full, sizeof full) < 0)
        full[0] = '\0'; /* no file of the backup has such a name */
    return e->series.state == SERIES_DATABASES ? open_database(e, full, path, handle, size) : open_log(e, full, path, handle, size);
}

/* ---- read ---- */

static err_t check_read(const struct external *e, JET_HANDLE handle, const void *to, uint32_t n, uint32_t page_size)
{
    if (e->open == OPEN_NOTHING || handle != e->handle)
        return refuse(JET_errInvalidParameter, "no open file of the backup has this handle");
    if (to == NULL || (uintptr_t)to % BUFFER_ALIGN != 0)
        return refuse(JET_errInvalidParameter, "the buffer must be aligned to 4096 bytes");
    if (n == 0 || n % page_size != 0)
        return refuse(JET_errInvalidParameter, "bytes to read: whole pages of the database, at least one");
    if (e->open == OPEN_DATABASE && e->stream.at == 0 && n < FIRST_READ_DATABASE * page_size)
        return refuse(JET_errInvalidParameter, "the first read of a database takes 3 pages or more");
    if (e->open == OPEN_LOG && e->log_at == 0 && n < FIRST_READ_LOG * page_size)
        return refuse(JET_errInvalidParameter, "the first read of a log takes 2 pages or more");
    return JET_errSuccess;
}

static err_t read_database(struct external *e, void *to, uint32_t n, uint32_t *actual)
{
    struct series *s = &e->series;
    err_t err = stream__read(&e->stream, to, n, actual);
    if (err < 0 && series__stopped(s) == 0) { /* the others can still be copied */
        series__event_file(s, 217, EVENT_ERROR, "copy of a database failed", err, e->stream.member->db->path);
        forget_file(e);
    }
    return step_out(s->b, err);
}

static err_t read_log(struct external *e, void *to, uint32_t n, uint32_t *actual)
{
    struct series *s = &e->series;
    size_t size = (size_t)e->log_size;
    if (e->log == NULL) {
        err_t err = range__load_log(s, e->generation, &e->log, &size);
        if (err >= 0 && size != e->log_size)
            err = refuse(JET_errLogReadVerifyFailure, "the log's size changed after it was opened");
        if (err < 0)
            return cancel(e, err);
    }
    uint64_t left = e->log_size - e->log_at;
    *actual = left < n ? (uint32_t)left : n;
    memcpy(to, e->log + e->log_at, *actual);
    e->log_at += *actual;
    return step_out(s->b, JET_errSuccess);
}

err_t backup_read_file(struct backup *b, JET_HANDLE handle, void *to, uint32_t n, uint32_t *actual)
{
    struct external *e;
    *actual = 0;
    TRY_RETURN(step_in(b, STEP_PROGRESS, &e));
    err_t err = check_read(e, handle, to, n, b->host.page_size);
    if (err < 0)
        return step_out(b, err);
    return e->open == OPEN_DATABASE ? read_database(e, to, n, actual) : read_log(e, to, n, actual);
}

/* ---- close ---- */

static void tell_incomplete(const struct external *e, const char *path, uint64_t at, uint64_t size)
{
    char read[24], all[24];
    snprintf(read, sizeof read, "%llu", (unsigned long long)at);
    snprintf(all, sizeof all, "%llu", (unsigned long long)size);
    event_report(e->series.internal ? 252 : 222, EVENT_INFO, e->series.b->host.instance_name, "copy of a file ended before its end", path,
                 read, all, NULL);
}

static void close_database(struct external *e)
{
    struct stream *st = &e->stream;
    if (st->at < st->size) {
        tell_incomplete(e, st->member->db->path, st->at, st->size);
        return;
    }
    st->member->copied = true;
    series__event(&e->series, 221, EVENT_INFO, "copy of a database ended", st->member->db->path, NULL);
}

static void close_log(struct external *e)
{
    char path[OS_PATH_MAX];
    if (e->log != NULL && e->log_at == e->log_size)
        series__note_log_read(&e->series, e->generation);
    else if (log_path(e->series.b->host.log, e->generation, path) >= 0)
        tell_incomplete(e, path, e->log_at, e->log_size);
}

err_t backup_close_file(struct backup *b, JET_HANDLE handle)
{
    struct external *e;
    TRY_RETURN(step_in(b, STEP_END, &e));
    if (e->open == OPEN_NOTHING || handle != e->handle)
        return step_out(b, refuse(JET_errInvalidParameter, "no open file of the backup has this handle"));
    if (e->open == OPEN_DATABASE)
        close_database(e);
    else
        close_log(e);
    forget_file(e);
    return step_out(b, JET_errSuccess);
}

/* ---- truncate and end ---- */

err_t backup_truncate(struct backup *b)
{
    struct external *e;
    struct log_deletion gone;
    TRY_RETURN(step_in(b, STEP_PROGRESS, &e));
    if (e->open != OPEN_NOTHING)
        return step_out(b, refuse(JET_errInvalidBackupSequence, "a file of the backup is open; close it first"));
    if (!e->series.rolled)
        return step_out(b, refuse(JET_errInvalidBackupSequence, "list the logs and read them first"));
    if (e->series.internal) /* it stamps no header: the next increment would miss what it took away */
        return step_out(b, refuse(JET_errInvalidBackupSequence, "an internal copy leaves the logs; only a backup truncates them"));
    return step_out(b, series__truncate(&e->series, &gone));
}

static err_t check_end(JET_GRBIT grbit)
{
    JET_GRBIT how = grbit & (JET_bitBackupEndNormal | JET_bitBackupEndAbort);
    bool extras = (grbit & (JET_bitBackupTruncateDone | JET_bitBackupNoDbHeaderUpdate)) != 0;
    if ((grbit & ~(JET_GRBIT)END_GRBITS) != 0 || (how != JET_bitBackupEndNormal && how != JET_bitBackupEndAbort))
        return refuse(JET_errInvalidParameter, "an end is either JET_bitBackupEndNormal or JET_bitBackupEndAbort");
    if (extras && how != JET_bitBackupEndNormal)
        return refuse(JET_errInvalidParameter, "JET_bitBackupTruncateDone and NoDbHeaderUpdate go with JET_bitBackupEndNormal");
    return JET_errSuccess;
}

static err_t end_well(struct external *e, JET_GRBIT grbit)
{
    struct series *s = &e->series;
    bool stamp = !s->internal && (grbit & JET_bitBackupNoDbHeaderUpdate) == 0;
    if ((grbit & JET_bitBackupTruncateDone) != 0)
        s->truncated = true;
    err_t err = series__settle(s, stamp);
    if (err < 0) {
        end_badly(e, 214, "the backup ended with an error", err);
        return err;
    }
    series__event(s, 213, EVENT_INFO, "the backup ended successfully", NULL, NULL);
    leave(e);
    return JET_errSuccess;
}

err_t backup_end(struct backup *b, JET_GRBIT grbit, err_t *outcome)
{
    struct external *e;
    *outcome = JET_errSuccess;
    TRY_RETURN(step_in(b, STEP_END, &e));
    err_t err = check_end(grbit);
    if (err < 0)
        return step_out(b, err);
    forget_file(e);
    bool normal = (grbit & JET_bitBackupEndNormal) != 0;
    err_t stop = series__stopped(&e->series);
    if (stop >= 0 && normal && e->series.rolled)
        return end_well(e, grbit);
    *outcome = stop < 0 ? stop : ERR_ABORT_BY_CALLER;
    if (stop < 0 && normal)
        end_badly(e, 226, "the backup was aborted by the server", stop);
    else
        end_badly(e, 215, "the backup was aborted by its caller", ERR_ABORT_BY_CALLER);
    return JET_errSuccess;
}
