/* The end of an instance: calls and backups first, then sessions and threads, then a clean end on disk, or none. */
#include <stdio.h>

#include "engine/engine_private.h"

static bool has_open_transaction(struct instance *inst)
{
    bool found = false;
    os_lock_take(&inst->lock);
    LIST_FOR_EACH (link, &inst->sessions)
        found |= LIST_ENTRY(link, struct session, in_instance)->pair.trx.level > 0;
    os_lock_release(&inst->lock);
    return found;
}

static void wait_until_empty(struct instance *inst, bool abrupt)
{
    os_lock_take(&inst->lock);
    while (atomic_load(&inst->inside) > 0) {
        os_cond_wait_ms(&inst->changed, &inst->lock, 50);
        if (!abrupt || atomic_load(&inst->inside) == 0)
            continue;
        backup_stop(inst->backup, JET_errTermInProgress, false); /* one that was past the gate, but not begun yet */
    }
    os_lock_release(&inst->lock);
}

static err_t end_sessions(struct instance *inst)
{
    while (!list_is_empty(&inst->sessions)) {
        struct session *s = LIST_ENTRY(inst->sessions.next, struct session, in_instance);
        TRY_RETURN(session_end(s));
    }
    return JET_errSuccess;
}

/* No clean end while errors have left pages to nobody: where they cannot come back now, recovery does it. */
static err_t reclaim_space(struct instance *inst)
{
    struct dbfile *list[DBID_MAX];
    int n = instance_databases(inst, list);
    for (int i = 0; i < n; i++)
        if (!list[i]->read_only)
            TRY_RETURN(catalog_reclaim(list[i], &inst->system.trx));
    return JET_errSuccess;
}

/* All pages on disk, ShutDownMark, clean headers, Term2, checkpoint there (log-format.md 6.4, 8.7). */
static err_t end_clean(struct instance *inst)
{
    lgpos_t mark = LGPOS_MIN, term = LGPOS_MIN;
    if (!log_is_enabled(inst->log))
        return databases__close_all(inst, LGPOS_MIN, false);
    TRY_RETURN(threads__sweep_all(inst));
    TRY_RETURN(reclaim_space(inst));
    TRY_RETURN(checkpointer_run(inst->checkpointer, true));
    struct dbfile *list[DBID_MAX];
    int n = instance_databases(inst, list);
    for (int i = 0; i < n; i++)
        if (!list[i]->read_only)
            TRY_RETURN(dbfile_flush(list[i]));
    TRY_RETURN(recovery_log_shutdown_mark(inst->log, &mark));
    TRY_RETURN(log_flush_all(inst->log));
    TRY_RETURN(databases__close_all(inst, mark, true));
    TRY_RETURN(recovery_log_term(inst->log, inst->init_at, &term));
    TRY_RETURN(log_flush_all(inst->log));
    TRY_RETURN(checkpointer_write_file(inst->checkpointer, term, false));
    return log_stop(inst->log);
}

bool instance__stops_backup(JET_GRBIT grbit)
{
    return (grbit & (JET_bitTermAbrupt | JET_bitTermDirty | JET_bitTermStopBackup)) != 0;
}

static err_t stop_backup_first(struct instance *inst, JET_GRBIT grbit)
{
    if (!backup_is_running(inst->backup))
        return JET_errSuccess;
    if (!instance__stops_backup(grbit)) {
        err_t err = RAISE(JET_errBackupInProgress);
        err_detail("a backup is running; wait for it, or terminate with JET_bitTermStopBackup");
        return err;
    }
    backup_stop(inst->backup, JET_errTermInProgress, true);
    return JET_errSuccess;
}

err_t instance__term_rooms(struct instance *inst, bool dirty)
{
    err_t err = JET_errSuccess, poisoned = instance__check_available(inst);
    if (poisoned >= 0 && !dirty)
        log_use_reserve(inst->log, true);
    err_t ended = end_sessions(inst);
    threads__stop(inst);
    if (poisoned >= 0)
        poisoned = instance__check_available(inst);
    if (poisoned < 0 || dirty || ended < 0) {
        err_t closed = databases__close_all(inst, LGPOS_MIN, false);
        (void)closed; /* nothing was written */
        err = dirty ? RAISE(JET_errDirtyShutdown) : poisoned < 0 ? instance__check_available(inst) : ended;
    } else {
        err = end_clean(inst);
        if (err < 0) {
            err_t closed = databases__close_all(inst, LGPOS_MIN, false);
            (void)closed; /* the first error tells more; recovery mends the rest at the next start */
        }
    }
    rooms__close(inst);
    return err;
}

err_t instance_term(struct instance *inst, JET_GRBIT grbit)
{
    bool dirty = (grbit & JET_bitTermDirty) != 0;
    int running = INSTANCE_RUNNING;
    if (inst->process_id != os_process_id())
        return RAISE(JET_errInstanceUnavailable);
    if (!atomic_compare_exchange_strong(&inst->state, &running, INSTANCE_TERMINATING))
        return running == INSTANCE_TERMINATING ? RAISE(JET_errTermInProgress) : RAISE(JET_errNotInitialized);
    err_t err = instance_leave_snapshots(inst, grbit);
    if (err >= 0)
        err = stop_backup_first(inst, grbit);
    if (err >= 0) {
        wait_until_empty(inst, instance__stops_backup(grbit));
        if (!dirty && has_open_transaction(inst) && atomic_load(&inst->poison) == 0) {
            err = RAISE(JET_errTooManyActiveUsers);
            err_detail("a session has an open transaction; commit it or roll it back first");
        }
    }
    if (err < 0) {
        atomic_store(&inst->state, INSTANCE_RUNNING);
        return err;
    }
    err = instance__term_rooms(inst, dirty);
    if (err < 0 && err != JET_errDirtyShutdown) {
        char number[16];
        snprintf(number, sizeof number, "%d", (int)err);
        event_report(104, EVENT_ERROR, inst->display, "the instance stopped with an error", number, NULL);
    } else {
        event_report(103, EVENT_INFO, inst->display, "the instance has stopped", NULL);
    }
    event_gate_remove(&inst->event_gate);
    atomic_store(&inst->state, INSTANCE_CREATED);
    return err;
}
