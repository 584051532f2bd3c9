/* Redo: the versions of transactions that the log shows, so that what stays unfinished can be
 * undone. */
#include "version/version_private.h"

void trx_redo_begin0(struct trx *trx, uint64_t begin_number, uint8_t levels, lgpos_t at)
{
    ASSERT(levels >= 1 && levels < TRX_LEVEL_SLOTS);
    if (trx->level != 0)
        trx_redo_end(trx);
    atomic_store(&trx->store->redoing, true);
    trx->level = trx->level_logged = levels;
    trx->begin_number = begin_number;
    trx->started_ns = os_now_ns();
    atomic_store(&trx->begin_lgpos, at);
}

void trx_redo_end(struct trx *trx)
{
    if (trx->run != NULL) {
        run__drop(trx->store, trx->run, 0);
        run__destroy(trx->run);
        trx->run = NULL;
    }
    trx->level = trx->level_logged = 0;
    atomic_store(&trx->begin_lgpos, LGPOS_MAX);
}

void trx_redo_level(struct trx *trx, uint8_t level)
{
    ASSERT(level >= 1 && level < TRX_LEVEL_SLOTS);
    if (trx->run != NULL && level > trx->level) {
        run__begin_level(trx->run, level);
    } else if (trx->run != NULL) {
        os_lock_take(&trx->run->lock);
        run__lower(trx->run, level);
        os_lock_release(&trx->run->lock);
    }
    trx->level = trx->level_logged = level;
}

void trx_redo_rollback(struct trx *trx, uint8_t level)
{
    if (level == 0) {
        trx_redo_end(trx);
        return;
    }
    if (trx->run != NULL)
        run__drop(trx->store, trx->run, level);
    trx_redo_level(trx, level);
}

/* ---- versions by rceid ---- */

static struct version **slot_of(const struct run *run, uint32_t rceid)
{
    return &run->redo_table[(rceid >> 2) & (run->redo_room - 1)];
}

static struct version *find(const struct run *run, uint32_t rceid)
{
    struct version *v = run == NULL || run->redo_table == NULL ? NULL : *slot_of(run, rceid);
    while (v != NULL && v->rceid != rceid)
        v = v->redo_next;
    return v;
}

/* Without memory for a larger table the old one does, only slower. */
static err_t grow_table(struct run *run)
{
    uint32_t room = run->redo_room == 0 ? 64 : run->redo_room * 2, old_room = run->redo_room;
    if (run->redo_count < run->redo_room || room < run->redo_room)
        return JET_errSuccess;
    struct version **table = calloc(room, sizeof *table), **old = run->redo_table;
    if (table == NULL)
        return old == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    run->redo_table = table;
    run->redo_room = room;
    for (uint32_t i = 0; i < old_room; i++) {
        for (struct version *v = old[i], *next; v != NULL; v = next) {
            next = v->redo_next;
            v->redo_next = *slot_of(run, v->rceid);
            *slot_of(run, v->rceid) = v;
        }
    }
    free(old);
    return JET_errSuccess;
}

void run__redo_forget(struct run *run, struct version *v)
{
    struct version **at = slot_of(run, v->rceid);
    while (*at != v)
        at = &(*at)->redo_next;
    *at = v->redo_next;
    run->redo_count--;
}

err_t version_redo_add(struct trx *trx, enum version_oper oper, uint32_t rceid, uint8_t level,
                       const struct version_key *where, struct slice before, int64_t delta,
                       uint16_t delta_offset)
{
    if (trx->level == 0 || find(trx->run, rceid) != NULL)
        return JET_errSuccess;
    if (trx->run == NULL) {
        TRY_RETURN(run__create(trx->store, trx, &trx->run));
        trx->run->redo = true;
    }
    struct run *run = trx->run;
    TRY_RETURN(grow_table(run));
    struct version *v;
    TRY_RETURN(version__create(trx->store, run, oper, where, before, &v));
    v->rceid = rceid;
    v->delta = delta;
    v->delta_offset = delta_offset;
    if (level > trx->level)
        level = trx->level;
    list_add_back(&run->levels[level == 0 ? 1 : level], &v->in_run);
    run->changes++;
    if (run->rceid_last == 0 || (int32_t)(rceid - run->rceid_last) > 0)
        run->rceid_last = rceid;
    else
        run->unsorted = true;
    v->redo_next = *slot_of(run, rceid);
    *slot_of(run, rceid) = v;
    run->redo_count++;
    version__chain(trx->store, v);
    return JET_errSuccess;
}

bool version_redo_find(struct trx *trx, uint32_t rceid, struct version_undo *out)
{
    struct version *v = find(trx->run, rceid);
    if (v == NULL)
        return false;
    version__describe(v, run__level_of(trx->run, v), out);
    return true;
}

void version_redo_undo_logged(struct trx *trx, uint32_t rceid)
{
    struct version *v = find(trx->run, rceid);
    if (v == NULL)
        return;
    os_lock_take(&v->run->lock);
    v->undo_logged = true;
    os_lock_release(&v->run->lock);
}

void versions_redo_done(struct versions *store, uint32_t rceid_last, uint64_t begin_last)
{
    uint64_t above = (begin_last | 3) + 1; /* begins lie 2 above a commit number */
    atomic_store(&store->rceid, rceid_last);
    if (above > atomic_load(&store->commit_counter))
        atomic_store(&store->commit_counter, above);
    atomic_store(&store->redoing, false);
}
