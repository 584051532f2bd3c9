/* One recovery, phase by phase (log-format.md 8.1). */
#include <stdio.h>

#include "recovery/recovery_private.h"

/* Torn pages first: redo reads every page that it changes. */
static err_t open_double_write(const struct recovery_config *c, struct recovery_result *result)
{
    char name[16], path[OS_PATH_MAX];
    if (c->double_write == NULL)
        return JET_errSuccess;
    *c->double_write = NULL;
    snprintf(name, sizeof name, "%s.dwr", c->base_name);
    TRY_RETURN(os_join(path, sizeof path, c->system_dir, name));
    if (c->set_dir == NULL) /* the databases of a set were copied whole; copies of pages that lie here are another life's */
        TRY_RETURN(double_write_restore(path, &result->pages_restored));
    return double_write_open(path, c->page_size, c->double_write);
}

static err_t redo(struct recovery *r)
{
    r->generation = LGPOS_GEN(r->start);
    TRY_RETURN(recovery__enter_generation(r));
    TRY_RETURN(recovery__attach_list(r));
    TRY_RETURN(recovery__replay(r));
    return r->stopped ? JET_errSuccess : recovery__check_ranges(r); /* stopped on request: the range is needed later */
}

/* Pages whose before-images are not in the log stay in memory and are dropped: the headers tell what must be redone. */
static err_t end_without_undo(struct recovery *r)
{
    event_report(304, EVENT_INFO, r->config->instance_name, "the logs were replayed, nothing was undone", NULL);
    r->result->clean_end = r->last == LAST_QUIT;
    return RAISE(r->last == LAST_QUIT ? JET_errRecoveredWithoutUndoDatabasesConsistent : JET_errRecoveredWithoutUndo);
}

static err_t undo_and_end(struct recovery *r)
{
    lgpos_t undo_at = LGPOS_MIN;
    r->result->clean_end = r->last == LAST_QUIT;
    TRY_RETURN(recovery__open_log(r));
    if (r->last != LAST_QUIT)
        TRY_RETURN(recovery__undo(r, &undo_at));
    return recovery__finish(r, undo_at);
}

static err_t replay_all(struct recovery *r)
{
    const char *name = r->config->instance_name;
    event_report(300, EVENT_INFO, name, "recovery begins", NULL);
    TRY_RETURN(recovery__progress(r, JET_sntBegin));
    r->result->redone = true;
    TRY_RETURN(redo(r));
    bool undo = r->config->undo && (!r->stopped || r->config->undo_at_stop);
    TRY_RETURN(undo ? undo_and_end(r) : end_without_undo(r));
    event_report(302, EVENT_INFO, name, "recovery has finished", NULL);
    return r->lost_committed ? JET_wrnCommittedLogFilesLost : JET_errSuccess;
}

static err_t run(struct recovery *r)
{
    bool any;
    TRY_RETURN(open_double_write(r->config, r->result));
    if (!log_is_enabled(r->config->log))
        return JET_errSuccess;
    TRY_RETURN(recovery__scan(r, &any));
    if (!any)
        return recovery__start_new(r);
    if (r->last == LAST_QUIT)
        return r->config->undo && !r->stopped ? undo_and_end(r) : end_without_undo(r);
    return replay_all(r);
}

/* The error must outlive the tidying up. */
static err_t tell_end(struct recovery *r, err_t err)
{
    struct err_origin why = *err_last();
    bool ended = err >= 0 || err == JET_errRecoveredWithoutUndo || err == JET_errRecoveredWithoutUndoDatabasesConsistent;
    if (!ended)
        event_report(454, EVENT_ERROR, r->config->instance_name, "recovery failed", err_name(err), why.detail, NULL);
    err_t told = recovery__progress(r, ended ? JET_sntComplete : JET_sntFail);
    if (err >= 0)
        return told < 0 ? told : err;
    err_restore(&why);
    return err;
}

static void count(struct recovery *r)
{
    struct btree_stats now;
    btree_stats(&now);
    r->result->undo_after_steal = now.undo_after_steal - r->stats_before.undo_after_steal;
    r->result->macros_half_redone = now.macro_redone_half - r->stats_before.macro_redone_half;
    r->result->full_backup = r->checkpoint.full_backup;
    r->result->inc_backup = r->checkpoint.inc_backup;
    r->result->full_time = r->checkpoint.full_time;
    r->result->inc_time = r->checkpoint.inc_time;
}

struct attempt {
    bool starved; /* the cache had no frame left, and a larger one can be had: no end is told then */
    bool begun;   /* what progress has been told of the attempts until now */
    uint32_t percent;
};

static err_t run_once(const struct recovery_config *config, struct recovery_result *result, struct attempt *a)
{
    uint64_t before = cache_starved(config->cache);
    *result = (struct recovery_result){0};
    a->starved = false;
    struct recovery *r = calloc(1, sizeof *r);
    if (r == NULL)
        return RAISE(JET_errOutOfMemory);
    r->config = config;
    r->result = result;
    r->begun = a->begun;
    r->percent = a->percent;
    btree_stats(&r->stats_before);
    trx_init(&r->inner, config->versions, config->log, PROCID_RECOVERY_INNER, true, NULL);
    err_t err = run(r);
    a->starved = err == JET_errOutOfMemory && config->larger_cache != NULL && cache_starved(config->cache) != before;
    a->begun = r->begun;
    a->percent = r->percent;
    if (!a->starved)
        err = tell_end(r, err);
    recovery__end_sessions(r);
    trx_term(&r->inner);
    for (int i = 1; i <= DBID_MAX; i++)
        recovery__close(&r->database[i]);
    log_reader_close(r->reader);
    count(r);
    free(r);
    return err;
}

err_t recovery_run(const struct recovery_config *config, struct recovery_result *result)
{
    struct recovery_config own = *config;
    struct attempt a = {.starved = false};
    err_t err = run_once(&own, result, &a);
    while (a.starved) {
        TRY_RETURN(own.larger_cache(own.larger_context, &own));
        err = run_once(&own, result, &a);
    }
    return err;
}
