/* Transactions: begin, log, end of a level. What is undone is undone by txn; here only numbers,
 * records and lists. */
#include <stdio.h>

#include "version/version_private.h"

#define RECORDS_ON_STACK 12

void trx_init(struct trx *trx, struct versions *store, struct log *log, uint16_t procid,
              bool internal, struct trx *inner)
{
    *trx = (struct trx){
        .store = store, .log = log, .procid = procid, .internal = internal, .inner = inner};
    atomic_init(&trx->snapshot, TRXID_INFINITE);
    atomic_init(&trx->begin_lgpos, LGPOS_MAX);
    os_lock_take(&store->list_lock);
    list_add_back(&store->trxs, &trx->in_store);
    os_lock_release(&store->list_lock);
}

static void forget(struct trx *trx)
{
    trx->run = NULL;
    trx->actions = NULL;
    trx->level = trx->level_logged = 0;
    trx->read_only = trx->must_rollback = false;
    atomic_store(&trx->begin_lgpos, LGPOS_MAX);
    atomic_store(&trx->snapshot, TRXID_INFINITE);
}

void trx_term(struct trx *trx)
{
    struct trx_action *action = trx->actions;
    while (action != NULL) {
        struct trx_action *next = action->next;
        action->fn(action, TRX_FORGOTTEN, NULL);
        action = next;
    }
    if (trx->run != NULL) {
        run__drop(trx->store, trx->run, 0);
        run__destroy(trx->run);
    }
    forget(trx);
    os_lock_take(&trx->store->list_lock);
    list_remove(&trx->in_store);
    os_lock_release(&trx->store->list_lock);
}

void trx_set_label(struct trx *trx, const char *label)
{
    os_lock_take(&trx->store->list_lock);
    snprintf(trx->label, sizeof trx->label, "%s", label);
    os_lock_release(&trx->store->list_lock);
}

/* The counterpart of versions__oldest_locked: publish, then look whether commits went on meanwhile.
 */
static uint64_t publish_snapshot(struct trx *trx)
{
    uint64_t now = atomic_load(&trx->store->commit_counter), snapshot;
    do {
        snapshot = now;
        atomic_store(&trx->snapshot, snapshot);
        now = atomic_load(&trx->store->commit_counter);
    } while (now != snapshot);
    return snapshot;
}

err_t trx_begin(struct trx *trx)
{
    if (trx->level >= TRX_LEVEL_MAX)
        return RAISE(JET_errTransTooDeep);
    if (trx->level == 0) {
        uint64_t newest =
            trx->internal ? atomic_load(&trx->store->commit_counter) : publish_snapshot(trx);
        trx->begin_number = newest + 2; /* between commits, as ESE's sessions do */
        trx->started_ns = os_now_ns();
    }
    trx->level++;
    if (trx->run != NULL)
        run__begin_level(trx->run, trx->level);
    return JET_errSuccess;
}

/* ---- logging ---- */

static void record_of_bytes(struct log_record *record, uint8_t *bytes, uint32_t n)
{
    *record = (struct log_record){.part_count = 1, .part = {SLICE(bytes, n)}, .head = bytes};
}

static uint32_t make_begin(const struct trx *trx, uint8_t bytes[8])
{
    bytes[0] = trx->level_logged == 0 ? LOG_Begin0 : LOG_Begin;
    store_u16(bytes + 1, trx->procid);
    bytes[3] = (uint8_t)(trx->level_logged | (trx->level - trx->level_logged) << 4);
    store_u32(bytes + 4, (uint32_t)trx->begin_number);
    return trx->level_logged == 0 ? 8 : 4;
}

static err_t append_with_begin(struct trx *trx, const struct log_record *records, int count,
                               struct log_stamp *stamp)
{
    struct log_record on_stack[RECORDS_ON_STACK], *all = on_stack;
    uint8_t begin[8];
    if (count + 1 > RECORDS_ON_STACK) {
        all = malloc((size_t)(count + 1) * sizeof *all);
        if (all == NULL)
            return RAISE(JET_errOutOfMemory);
    }
    record_of_bytes(&all[0], begin, make_begin(trx, begin));
    memcpy(all + 1, records, (size_t)count * sizeof *all);
    err_t err = log_append(trx->log, all, count + 1, stamp);
    if (err >= 0)
        trx->level_logged = trx->level;
    if (all != on_stack)
        free(all);
    return err;
}

/* Appends as the transaction. begin_lgpos is stored before anything is in the log: a checkpoint
 * that read log_tail before it looked for begins cannot miss this one. */
static err_t append(struct trx *trx, struct log_record *records, int count, struct log_stamp *stamp)
{
    bool first = atomic_load_explicit(&trx->begin_lgpos, memory_order_relaxed) == LGPOS_MAX;
    if (first)
        atomic_store(&trx->begin_lgpos, log_tail(trx->log));
    err_t err = trx->level_logged < trx->level ? append_with_begin(trx, records, count, stamp)
                                               : log_append(trx->log, records, count, stamp);
    if (err < 0 && first)
        atomic_store(&trx->begin_lgpos, LGPOS_MAX);
    if (err >= 0)
        trx->last_lgpos_end = stamp->end;
    return err;
}

err_t trx_log(struct trx *trx, struct log_record *records, int count, struct log_stamp *stamp)
{
    struct log_stamp own = {0};
    ASSERT(trx->level >= 1);
    TRY_RETURN(append(trx, records, count, stamp != NULL ? stamp : &own));
    if (trx->run == NULL)
        return JET_errSuccess;
    for (int i = 0; i < count; i++)
        if (records[i].head[0] == LOG_Undo)
            run__mark_undone(trx->run, load_u32(records[i].head + 32));
    return JET_errSuccess;
}

lgpos_t trx_begin_bound(struct trx *trx)
{
    lgpos_t begin = atomic_load_explicit(&trx->begin_lgpos, memory_order_relaxed);
    return begin != LGPOS_MAX ? begin : log_tail(trx->log);
}

static err_t log_level_end(struct trx *trx, enum log_type type, uint8_t value)
{
    uint8_t bytes[4] = {(uint8_t)type, 0, 0, value};
    struct log_record record;
    struct log_stamp stamp = {0};
    store_u16(bytes + 1, trx->procid);
    record_of_bytes(&record, bytes, sizeof bytes);
    TRY_RETURN(log_append(trx->log, &record, 1, &stamp));
    trx->last_lgpos_end = stamp.end;
    return JET_errSuccess;
}

/* ---- commit ---- */

/* run->lock is held over record and change: an UndoInfo that names a level lies where the log has
 * that level open. */
static err_t commit_nested(struct trx *trx)
{
    struct run *run = trx->run;
    uint8_t to = (uint8_t)(trx->level - 1);
    err_t err = JET_errSuccess;
    if (run != NULL)
        os_lock_take(&run->lock);
    if (trx->level_logged == trx->level)
        TRY(log_level_end(trx, LOG_Commit, to));
    if (trx->level_logged > to)
        trx->level_logged = to;
    if (run != NULL)
        run__lower(run, to);
    for (struct trx_action *a = trx->actions; a != NULL && a->level > to; a = a->next)
        a->level = to;
    trx->level = to;
out:
    if (run != NULL)
        os_lock_release(&run->lock);
    return err;
}

static void on_commit(void *context, uint64_t commit_number)
{
    struct run *run = context;
    atomic_store_explicit(&run->commit, commit_number, memory_order_release);
    versions__push_committed(run->store, run);
}

static err_t log_commit(struct trx *trx, struct log_stamp *stamp)
{
    uint8_t bytes[8] = {LOG_Commit0};
    struct log_record record;
    store_u16(bytes + 1, trx->procid);
    record_of_bytes(&record, bytes, sizeof bytes);
    record.commit_at = 4;
    stamp->commit_counter = versions_commit_counter(trx->store);
    if (trx->run == NULL)
        return append(trx, &record, 1, stamp);

    stamp->on_commit = on_commit;
    stamp->context = trx->run;
    os_lock_take(&trx->run->lock);
    err_t err = append(trx, &record, 1, stamp);
    os_lock_release(&trx->run->lock);
    return err;
}

static err_t commit_outermost(struct trx *trx, lgpos_t *end)
{
    struct run *run = trx->run;
    struct log_stamp stamp = {0};
    if (trx->level_logged == 0 && trx->actions == NULL && (run == NULL || run->changes == 0)) {
        if (run != NULL) {
            run__drop_locks(trx->store, run);
            run__destroy(run);
        }
        forget(trx);
        return JET_errSuccess;
    }
    if (trx->actions != NULL && run == NULL) {
        TRY_RETURN(run__create(trx->store, trx, &trx->run));
        run = trx->run;
    }
    /* Our snapshot is older than our commit: until it is given up the sweep leaves the run alone.
     */
    if (trx->internal && run != NULL)
        (void)publish_snapshot(trx);
    if (run != NULL)
        run->actions = trx->actions;
    err_t err = log_commit(trx, &stamp);
    if (err < 0) {
        if (run != NULL)
            run->actions = NULL;
        if (trx->internal)
            atomic_store(&trx->snapshot, TRXID_INFINITE);
        return err;
    }
    *end = stamp.end;
    trx->level = trx->level_logged = 0;
    trx->run = NULL;
    if (run != NULL) {
        run__drop_locks(trx->store, run);
        for (struct trx_action *a = trx->actions; a != NULL; a = a->next)
            a->fn(a, TRX_COMMITTED, trx);
    }
    forget(trx);
    return JET_errSuccess;
}

err_t trx_commit(struct trx *trx, lgpos_t *end)
{
    *end = LGPOS_MIN;
    if (trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    if (trx->must_rollback)
        return RAISE(JET_errRollbackRequired);
    return trx->level > 1 ? commit_nested(trx) : commit_outermost(trx, end);
}

/* ---- rollback ---- */

err_t trx_rollback_done(struct trx *trx, uint8_t levels)
{
    struct run *run = trx->run;
    err_t err = JET_errSuccess;
    ASSERT(levels >= 1 && levels <= trx->level);
    uint8_t to = (uint8_t)(trx->level - levels);
    ASSERT(run == NULL || run__newest(run, to) == NULL);
    if (run != NULL)
        os_lock_take(&run->lock);
    if (trx->level_logged > to)
        err = log_level_end(trx, LOG_Rollback, (uint8_t)(trx->level_logged - to));
    if (err >= 0 && run != NULL)
        run__lower(run, to);
    if (run != NULL)
        os_lock_release(&run->lock);
    if (err < 0)
        return err;

    if (trx->level_logged > to)
        trx->level_logged = to;
    trx->must_rollback = false;
    trx->level = to;
    if (to == 0) {
        if (run != NULL)
            run__destroy(run);
        forget(trx);
    }
    return JET_errSuccess;
}

void trx_add_action(struct trx *trx, struct trx_action *action)
{
    action->level = trx->level;
    action->next = trx->actions;
    trx->actions = action;
}
