/* The ends: of runs inside the log, and of recovery's own (log-format.md 8.7). */
#include <stdio.h>

#include "recovery/recovery_private.h"

/* ---- redo of Init, ShutDownMark, Term, RecoveryQuit ---- */

err_t recovery__drop_unfinished(struct recovery *r)
{
    for (int i = 1; i <= DBID_MAX; i++) {
        struct redo_database *d = &r->database[i];
        struct db_header h;
        if (d->state != REDO_OPEN)
            continue;
        dbfile_copy_header(d->db, &h);
        if (h.state != DB_JUST_CREATED)
            continue;
        char path[sizeof d->path];
        snprintf(path, sizeof path, "%s", d->path);
        recovery__close(d);
        TRY_RETURN(os_unlink(path));
    }
    recovery__set_attached(r);
    return JET_errSuccess;
}

/* The run that ended here closed its databases without a DetachDB: their headers say the place of the ShutDownMark. */
static err_t redo_quit(struct recovery *r)
{
    lgpos_t at = r->mark_at != LGPOS_MIN ? r->mark_at : r->view.at;
    recovery__end_sessions(r);
    TRY_RETURN(recovery__drop_unfinished(r));
    for (int i = 1; i <= DBID_MAX; i++) {
        struct redo_database *d = &r->database[i];
        if (d->state == REDO_OPEN)
            TRY_RETURN(recovery__detach(r, d, at));
        d->state = REDO_ABSENT;
    }
    r->last = LAST_QUIT;
    r->quit_at = r->view.at;
    r->mark_at = LGPOS_MIN;
    return JET_errSuccess;
}

err_t recovery__redo_instance(struct recovery *r, struct slice record)
{
    switch (record.p[0]) {
    case LOG_Init:
    case LOG_Init2:
        recovery__end_sessions(r);
        r->counters_known = false; /* transaction numbers begin anew */
        return JET_errSuccess;
    case LOG_ShutDownMark:
        r->last = LAST_MARK;
        r->mark_at = r->view.at;
        return JET_errSuccess;
    case LOG_RecoveryUndo:
    case LOG_RecoveryUndo2:
        return JET_errSuccess;
    case LOG_RecoveryQuitKeepAttachments:
        recovery__end_sessions(r);
        return JET_errSuccess;
    default:
        return redo_quit(r);
    }
}

/* ---- where logging goes on ---- */

static err_t copy_file(const char *from, const char *to)
{
    enum { STEP = 1 << 20 };
    err_t err = JET_errSuccess;
    struct os_file *in = NULL, *out_file = NULL;
    uint8_t *memory = os_alloc_aligned(STEP);
    size_t got = 0;
    if (memory == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(os_file_open(from, OS_READ, &in));
    TRY(os_file_open(to, OS_WRITE | OS_CREATE | OS_TRUNCATE, &out_file));
    for (uint64_t at = 0;; at += got) {
        TRY(os_file_read_some(in, at, memory, STEP, &got));
        if (got == 0)
            break;
        TRY(os_file_write(out_file, at, memory, got));
    }
    TRY(os_file_sync(out_file));
out:
    os_file_close(in);
    os_file_close(out_file);
    os_free_aligned(memory);
    return err;
}

/* The chain goes on from the newest log, which must lie in log_dir: its header and checksums are the next one's past. */
static err_t bring_newest_log(struct recovery *r, uint32_t generation)
{
    const struct recovery_config *c = r->config;
    struct log_survey live;
    char path[OS_PATH_MAX];
    TRY_RETURN(log_survey(c->log_dir, c->base_name, &live));
    if (live.any && live.gen_last >= generation)
        return JET_errSuccess;
    TRY_RETURN(log_path(c->log, generation, path));
    TRY_RETURN(copy_file(log_reader_path(r->reader), path));
    return os_dir_sync(c->log_dir);
}

/* What lies behind the stop is no part of this log any more: the file goes on in its own name, without it. A set is only read;
 * the original of a log that was brought into log_dir goes. */
static err_t cut_newest_log(struct recovery *r)
{
    const struct recovery_config *c = r->config;
    char path[OS_PATH_MAX], cut[OS_PATH_MAX];
    TRY_RETURN(log_path(c->log, LGPOS_GEN(r->redo_end), path));
    if ((size_t)snprintf(cut, sizeof cut, "%s.cut", path) >= sizeof cut)
        return RAISE(JET_errInvalidPath);
    TRY_RETURN(log_cut_copy(r->path, cut, r->redo_end));
    size_t dir = strlen(c->log_dir);
    bool brought = strncmp(r->path, c->log_dir, dir) == 0 && r->path[dir] == '/' && strchr(r->path + dir + 1, '/') == NULL;
    TRY_RETURN(os_rename(cut, path));
    if (brought && strcmp(r->path, path) != 0)
        TRY_RETURN(os_unlink(r->path));
    return os_dir_sync(c->log_dir);
}

err_t recovery__open_log(struct recovery *r)
{
    bool in_current;
    lgpos_t end = log_reader_end(r->reader, &in_current);
    if (r->cut)
        end = r->redo_end;
    if (r->cut && LGPOS_GEN(end) != r->generation) /* a quit record's position may stand at the very end of its file */
        return RAISE(JET_errInvalidLogSequence);
    if (r->cut)
        TRY_RETURN(cut_newest_log(r));
    else if (recovery__is_restore(r))
        TRY_RETURN(bring_newest_log(r, LGPOS_GEN(end)));
    recovery__set_attached(r);
    TRY_RETURN(log_start_append(r->config->log, end));
    versions_redo_done(r->config->versions, r->rceid_last, r->begin_last);
    return JET_errSuccess;
}

/* ---- recovery's own end ---- */

static err_t write_checkpoint(struct recovery *r, lgpos_t at)
{
    struct checkpoint c = r->checkpoint;
    if (recovery__is_restore(r)) {
        c.full_backup = c.inc_backup = c.last_full_checkpoint = LGPOS_MIN;
        c.full_time = c.inc_time = (struct logtime){{0}};
    }
    c.checkpoint = c.db_consistency = at;
    c.signature = *log_signature(r->config->log);
    c.attached_valid = false;
    c.attached_count = 0;
    r->checkpoint = c;
    return log_checkpoint_write(r->config->log, &c);
}

static err_t log_the_mark(struct recovery *r, lgpos_t *mark)
{
    *mark = r->mark_at;
    if (r->last == LAST_MARK)
        return JET_errSuccess;
    TRY_RETURN(recovery_log_shutdown_mark(r->config->log, mark));
    return log_flush_all(r->config->log);
}

static err_t close_databases(struct recovery *r)
{
    lgpos_t mark;
    for (int i = 1; i <= DBID_MAX; i++)
        if (r->database[i].state == REDO_OPEN)
            TRY_RETURN(dbfile_flush(r->database[i].db));
    TRY_RETURN(log_the_mark(r, &mark));
    for (int i = 1; i <= DBID_MAX; i++) {
        struct redo_database *d = &r->database[i];
        if (d->state != REDO_OPEN)
            continue;
        TRY_RETURN(recovery__clean_header(r, d, mark));
        recovery__close(d);
    }
    recovery__set_attached(r);
    return JET_errSuccess;
}

err_t recovery__finish(struct recovery *r, lgpos_t undo_at)
{
    struct log *log = r->config->log;
    lgpos_t quit = r->quit_at;
    if (r->last != LAST_QUIT) {
        TRY_RETURN(close_databases(r));
        TRY_RETURN(recovery_log_quit(log, undo_at, r->start, recovery__is_restore(r), &quit));
        TRY_RETURN(log_flush_all(log));
    }
    bool there = r->have_checkpoint && r->checkpoint.checkpoint == quit && !r->checkpoint.attached_valid;
    if (!there)
        TRY_RETURN(write_checkpoint(r, quit));
    r->result->end = log_tail(log);
    return JET_errSuccess;
}
