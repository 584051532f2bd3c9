/* What lies in the folders, and where redo begins (log-format.md 5, 8.1, backup-semantics.md 11.1). */
#include <stdio.h>

#include "recovery/recovery_private.h"

err_t recovery__missing(struct recovery *r, err_t code, uint32_t generation, uint32_t highest)
{
    char low[16], high[16];
    snprintf(low, sizeof low, "%X", generation);
    snprintf(high, sizeof high, "%X", highest);
    event_report(558, EVENT_ERROR, r->config->instance_name, "a log file is missing", low, high, NULL);
    err_t err = RAISE(code);
    err_detail("generation %X of %s in %s; the highest is %X", generation, r->config->base_name, r->config->log_dir, highest);
    return err;
}

/* Without a current file, the next one tells whether a crash stood between the two renames of a roll: then its header is of the
 * generation after the newest, and nothing is behind it. The roll is finished before anything else is written, so that a second
 * crash finds the same, or a whole log. */
static err_t finish_roll(struct recovery *r, uint32_t generation, bool *finished)
{
    static const char *const extensions[] = {"log", "jtx"};
    struct log_header *h = malloc(sizeof *h);
    err_t err = h == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    *finished = false;
    for (int i = 0; i < 2 && err >= 0 && !*finished; i++) {
        char name[32], next[OS_PATH_MAX], current[OS_PATH_MAX];
        snprintf(name, sizeof name, "%stmp.%s", r->config->base_name, extensions[i]);
        TRY(os_join(next, sizeof next, r->config->log_dir, name));
        snprintf(name, sizeof name, "%s.%s", r->config->base_name, extensions[i]);
        TRY(os_join(current, sizeof current, r->config->log_dir, name));
        if (!os_exists(next))
            continue;
        if (log_read_header(next, h) < 0 || h->generation != generation + 1) {
            err_clear();
            continue;
        }
        TRY(os_rename(next, current));
        if (!PYJET_BREAK_FINISH_NAME)
            TRY(os_dir_sync(r->config->log_dir));
        *finished = true;
    }
out:
    free(h);
    return err;
}

static err_t look_at_folders(struct recovery *r, struct log_survey *live, struct log_survey *set)
{
    *set = (struct log_survey){0};
    TRY_RETURN(log_survey(r->config->log_dir, r->config->base_name, live));
    if (recovery__is_restore(r)) {
        TRY_RETURN(log_survey(r->config->set_dir, r->config->base_name, set));
        return set->any ? JET_errSuccess : recovery__missing(r, JET_errMissingLogFile, r->config->set_gen_low, 0);
    }
    if (!live->any || live->current)
        return JET_errSuccess;
    bool finished;
    TRY_RETURN(finish_roll(r, live->gen_last, &finished));
    if (finished)
        return log_survey(r->config->log_dir, r->config->base_name, live);
    return r->config->ignore_lost_logs ? JET_errSuccess : recovery__missing(r, JET_errMissingLogFile, live->gen_last + 1, live->gen_last);
}

/* ---- the checkpoint ---- */

static err_t read_checkpoint(struct recovery *r)
{
    char path[OS_PATH_MAX];
    TRY_RETURN(log_checkpoint_adopt(r->config->log));
    TRY_RETURN(log_checkpoint_path(r->config->log, path));
    err_t err = log_checkpoint_read(path, &r->checkpoint);
    r->have_checkpoint = err >= 0 && LGPOS_GEN(r->checkpoint.checkpoint) != 0;
    if (err == JET_errCheckpointFileNotFound || err == JET_errCheckpointCorrupt)
        err = JET_errSuccess; /* it is made anew: redo from the lowest log */
    if (!r->have_checkpoint)
        r->checkpoint = (struct checkpoint){0};
    return err;
}

static err_t open_reader(struct recovery *r, lgpos_t start)
{
    const struct recovery_config *c = r->config;
    bool restore = recovery__is_restore(r);
    struct log_reader_config config = {
        .dirs = {restore ? c->set_dir : c->log_dir, c->log_dir},
        .dir_count = restore && strcmp(c->set_dir, c->log_dir) != 0 ? 2 : 1,
        .base_name = c->base_name,
        .mode = LOG_READ_SOFT,
        .gen_strict_last = restore ? c->set_gen_high : 0,
        .gen_stop = LGPOS_GEN(c->stop),
    };
    log_reader_close(r->reader);
    r->reader = NULL;
    r->start = start;
    err_t err = log_reader_open(&config, start, &r->reader);
    if (err < 0) {
        struct err_origin why = *err_last();
        event_report(455, EVENT_ERROR, c->instance_name, "a log file cannot be opened", why.detail, err_name(err), NULL);
        err_restore(&why);
    }
    return err;
}

static bool is_quit(struct slice record)
{
    switch (record.n == 0 ? LOG_NOP : record.p[0]) {
    case LOG_Term:
    case LOG_Term2:
    case LOG_RecoveryQuit:
    case LOG_RecoveryQuit2:
        return true;
    default:
        return false;
    }
}

/* A checkpoint without a list stands at a quit record (then nothing is attached there), or comes from an engine that
 * trusts lists only where a file begins. */
static err_t peek_quit(struct recovery *r, bool *quit)
{
    bool end;
    *quit = false;
    TRY_RETURN(open_reader(r, r->checkpoint.checkpoint));
    err_t err = log_reader_next(r->reader, &r->view, &end);
    if (err < 0) { /* redo will meet it again */
        err_clear();
        return JET_errSuccess;
    }
    *quit = !end && is_quit(r->view.bytes);
    return JET_errSuccess;
}

/* The end of the log is known: nothing but fillers follows the quit record. */
static err_t ends_here(struct recovery *r, bool *yes)
{
    bool end = false;
    lgpos_t quit_at = r->view.at;
    *yes = false;
    for (;;) {
        TRY_RETURN(log_reader_next(r->reader, &r->view, &end));
        if (end)
            break;
        if (r->view.bytes.n == 0 || r->view.bytes.p[0] != LOG_NOP2)
            return JET_errSuccess;
    }
    r->last = LAST_QUIT;
    r->quit_at = quit_at;
    *yes = true;
    return JET_errSuccess;
}

/* ---- start ---- */

static void take_header_list(struct recovery *r)
{
    const struct log_header *h = log_reader_header(r->reader);
    memcpy(r->list, h->attached, sizeof r->list);
    r->list_count = h->attached_count;
}

static err_t start_at_generation(struct recovery *r, uint32_t generation)
{
    TRY_RETURN(open_reader(r, LGPOS(generation, 1, 0)));
    take_header_list(r);
    return JET_errSuccess;
}

static err_t start_at_checkpoint(struct recovery *r, bool *done)
{
    const struct checkpoint *c = &r->checkpoint;
    bool quit;
    *done = false;
    if (c->attached_valid) {
        TRY_RETURN(open_reader(r, c->checkpoint));
        memcpy(r->list, c->attached, sizeof r->list);
        r->list_count = c->attached_count;
        return JET_errSuccess;
    }
    TRY_RETURN(peek_quit(r, &quit));
    if (!quit)
        return start_at_generation(r, LGPOS_GEN(c->checkpoint));
    TRY_RETURN(ends_here(r, done));
    if (*done)
        return JET_errSuccess;
    r->list_count = 0;
    return open_reader(r, c->checkpoint);
}

static err_t start_soft(struct recovery *r, const struct log_survey *live, bool *done)
{
    *done = false;
    TRY_RETURN(read_checkpoint(r));
    uint32_t generation = LGPOS_GEN(r->checkpoint.checkpoint);
    if (r->have_checkpoint) {
        /* the signature first: a checkpoint of another stream says nothing about this one */
        uint32_t at = generation >= live->gen_first && generation <= live->gen_last ? generation : live->gen_last;
        TRY_RETURN(open_reader(r, LGPOS(at, 1, 0)));
        r->have_checkpoint = signature_equal(&log_reader_header(r->reader)->signature, &r->checkpoint.signature);
    }
    if (!r->have_checkpoint) {
        r->checkpoint = (struct checkpoint){0};
        return start_at_generation(r, live->gen_first);
    }
    if (generation < live->gen_first || generation > live->gen_last) {
        event_report(455, EVENT_ERROR, r->config->instance_name, "the checkpoint's log file cannot be opened", r->config->log_dir, "JET_errMissingLogFile", NULL);
        return recovery__missing(r, JET_errMissingLogFile, generation, live->gen_last);
    }
    if (recovery__beyond_stop(r, r->checkpoint.checkpoint))
        return RAISE(JET_errRecoveredWithoutUndo);
    return start_at_checkpoint(r, done);
}

err_t recovery__scan(struct recovery *r, bool *any)
{
    struct log_survey live, set;
    bool done = false;
    TRY_RETURN(look_at_folders(r, &live, &set));
    *any = live.any || set.any;
    if (!*any)
        return JET_errSuccess;
    if (recovery__is_restore(r))
        TRY_RETURN(start_at_generation(r, r->config->set_gen_low != 0 ? r->config->set_gen_low : set.gen_first));
    else
        TRY_RETURN(start_soft(r, &live, &done));
    const struct log_header *h = log_reader_header(r->reader);
    if (h->page_size != r->config->page_size) {
        err_t err = RAISE(JET_errPageSizeMismatch);
        err_detail("%s: databases with pages of %u bytes, not %u", log_reader_path(r->reader), h->page_size, r->config->page_size);
        return err;
    }
    r->sign_log = h->signature;
    r->result->gen_first = LGPOS_GEN(r->start);
    r->result->gen_last = live.any && live.gen_last > set.gen_last ? live.gen_last : set.gen_last;
    r->stopped = r->config->stop != LGPOS_MIN;
    if (r->stopped && LGPOS_GEN(r->config->stop) > r->result->gen_last)
        return recovery__missing(r, JET_errMissingLogFile, LGPOS_GEN(r->config->stop), r->result->gen_last);
    if (r->stopped)
        r->result->gen_last = LGPOS_GEN(r->config->stop);
    r->redo_end = r->start;
    if (r->result->gen_last < r->result->gen_first)
        return recovery__missing(r, JET_errMissingLogFile, r->result->gen_first, r->result->gen_last);
    return JET_errSuccess;
}

/* An empty folder: a stale checkpoint goes first, so that no crash leaves it beside the new logs. */
err_t recovery__start_new(struct recovery *r)
{
    char path[OS_PATH_MAX];
    struct log *log = r->config->log;
    TRY_RETURN(log_checkpoint_adopt(log));
    TRY_RETURN(log_checkpoint_path(log, path));
    err_t err = os_unlink(path);
    if (err < 0 && err != JET_errFileNotFound)
        return err;
    TRY_RETURN(log_start_new(log, 1));
    versions_redo_done(r->config->versions, 0, 0);
    struct checkpoint first = {
        .checkpoint = LGPOS(1, 1, 0),
        .db_consistency = LGPOS(1, 1, 0),
        .signature = *log_signature(log),
        .attached_valid = true,
    };
    r->result->end = log_tail(log);
    r->result->gen_first = r->result->gen_last = 1;
    return log_checkpoint_write(log, &first);
}
