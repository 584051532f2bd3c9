/* Before-images that a rollback may need. UndoInfo: the before-image of a change goes to the log
 * just before the page that has the change goes to the disk. */
#include "version/version_private.h"

#define UNDO_INFO_HEAD 56u

static bool needs_undo_info(const struct version *v)
{
    return (v->oper == VERSION_REPLACE || v->oper == VERSION_DELETE) && version__is_open(v);
}

static void make_head(const struct run *run, const struct version *v, pgno_t pgno, int line,
                      uint8_t head[UNDO_INFO_HEAD])
{
    unsigned unique = v->data_n == 0 ? LOG_FLAG_UNIQUE : 0;
    struct trx as = {
        .procid = run->procid, .begin_number = run->begin_number, .level = run__level_of(run, v)};
    trx_stamp_page_head(&as, head, LOG_UndoInfo, v->dbid, pgno, DBTIME_NIL, line,
                        LOG_FLAG_VERSIONED | unique);
    store_u64(head + 8, DBTIME_NIL);
    log_node_head(head, v->rceid, v->root, v->objid);
    store_u16(head + 44, (uint16_t)v->key_n);
    store_u16(head + 46, (uint16_t)v->data_n);
    store_u16(head + 48, v->oper);
    store_u16(head + 50, (uint16_t)v->before_n);
    store_u16(head + 52, 0);
    store_u16(head + 54, (uint16_t)v->before_n);
}

/* Under the run's lock, so that neither Commit0 nor the Undo of this version can come between look
 * and log. */
static err_t log_one(struct versions *store, struct log *log, struct version *v, pgno_t pgno,
                     int line, lgpos_t *end)
{
    struct run *run = v->run;
    uint8_t head[UNDO_INFO_HEAD];
    struct log_stamp stamp = {0};
    err_t err = JET_errSuccess;
    os_lock_take(&run->lock);
    if (v->undo_logged || atomic_load(&v->undone) || !version__is_open(v))
        goto out;
    if (atomic_load(&store->redoing))
        FAIL(JET_errCannotLogDuringRecoveryRedo);
    make_head(run, v, pgno, line, head);
    struct log_record record = {
        .part_count = 4,
        .part = {SLICE(head, sizeof head), version__key(v), version__data(v), version__before(v)},
        .head = head,
    };
    TRY(log_append(log, &record, 1, &stamp));
    v->undo_logged = true;
    atomic_fetch_add_explicit(&store->undo_infos, 1, memory_order_relaxed);
    if (stamp.end > *end)
        *end = stamp.end;
out:
    os_lock_release(&run->lock);
    return err;
}

err_t version_log_undo_info(struct versions *store, const struct version_key *where, pgno_t pgno,
                            int line, lgpos_t *end)
{
    if (version_none(store, where))
        return JET_errSuccess;
    uint64_t hash = version__hash(where);
    struct os_lock *lock = version__lock_of(store, hash);
    err_t err = JET_errSuccess;
    os_lock_take(lock);
    for (struct version *v = version__head(store, where, hash); v != NULL; v = v->older)
        if (needs_undo_info(v))
            TRY(log_one(store, v->run->log, v, pgno, line, end));
out:
    os_lock_release(lock);
    return err;
}

uint32_t version_before_most(struct versions *store, const struct version_key *where)
{
    if (version_none(store, where))
        return 0;
    uint64_t hash = version__hash(where);
    struct os_lock *lock = version__lock_of(store, hash);
    uint32_t most = 0;
    os_lock_take(lock);
    for (const struct version *v = version__head(store, where, hash); v != NULL; v = v->older)
        if (v->oper == VERSION_REPLACE && v->before_n > most && version__is_open(v) &&
            !atomic_load(&v->undone))
            most = v->before_n;
    os_lock_release(lock);
    return most;
}
