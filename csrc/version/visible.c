/* Who may see what, and who may change what. */
#include "version/version_private.h"

struct viewer {
    const struct run *run; /* own changes */
    uint64_t snapshot;     /* TRXID_INFINITE: all commits */
};

static struct viewer viewer_of(const struct trx *trx)
{
    if (trx == NULL || trx->level == 0)
        return (struct viewer){NULL, TRXID_INFINITE};
    if (trx->latest)
        return (struct viewer){trx->run, TRXID_INFINITE};
    return (struct viewer){trx->run, atomic_load_explicit(&trx->snapshot, memory_order_relaxed)};
}

/* An open run's commit number is infinite as well: it is never seen by others, not even by a viewer
 * without snapshot. */
static bool sees(const struct viewer *viewer, const struct version *v)
{
    if (v->run == viewer->run)
        return true;
    uint64_t commit = atomic_load_explicit(&v->run->commit, memory_order_acquire);
    return commit != TRXID_INFINITE && commit <= viewer->snapshot;
}

/* ---- reading ---- */

struct seen {
    bool exists;
    struct slice data;
    struct buffer *scratch;
    bool in_scratch;
};

static err_t to_scratch(struct seen *s)
{
    if (s->in_scratch)
        return JET_errSuccess;
    TRY_RETURN(buffer_set(s->scratch, s->data));
    s->data = buffer_slice(s->scratch);
    s->in_scratch = true;
    return JET_errSuccess;
}

static err_t take_back_delta(struct seen *s, const struct version *v)
{
    uint32_t width = v->oper == VERSION_DELTA64 ? 8 : 4;
    if ((uint64_t)v->delta_offset + width > s->data.n) {
        if (!s->exists)
            return JET_errSuccess;
        err_t err = RAISE(JET_errDatabaseCorrupted);
        err_detail("a counter lies beyond its node in the tree with root %u", v->root);
        return err;
    }
    TRY_RETURN(to_scratch(s));
    uint8_t *at = s->scratch->p + v->delta_offset;
    if (width == 8)
        store_u64(at, load_u64(at) - (uint64_t)v->delta);
    else
        store_u32(at, load_u32(at) - (uint32_t)v->delta);
    return JET_errSuccess;
}

static err_t take_back(struct seen *s, const struct version *v)
{
    switch ((enum version_oper)v->oper) {
    case VERSION_INSERT:
        s->exists = false;
        break;
    case VERSION_DELETE:
        s->exists = true;
        break;
    case VERSION_REPLACE: /* copied at the end: only the oldest one taken back counts */
        s->data = version__before(v);
        s->in_scratch = false;
        break;
    case VERSION_DELTA:
    case VERSION_DELTA64:
        return take_back_delta(s, v);
    case VERSION_LOCK:
        break;
    }
    return JET_errSuccess;
}

static bool is_delta(const struct version *v)
{
    return v->oper == VERSION_DELTA || v->oper == VERSION_DELTA64;
}

/* Only escrow additions of several transactions lie upon each other unordered: below any other
 * change that the viewer sees there is none that he does not see, since its maker saw all of them.
 */
static err_t take_back_unseen(struct seen *s, const struct viewer *viewer,
                              const struct version *head)
{
    for (const struct version *v = head; v != NULL; v = v->older) {
        if (atomic_load_explicit(&v->undone, memory_order_acquire))
            continue;
        if (!sees(viewer, v))
            TRY_RETURN(take_back(s, v));
        else if (!is_delta(v) && v->oper != VERSION_LOCK)
            break;
    }
    return JET_errSuccess;
}

err_t version_see(struct versions *store, const struct trx *trx, const struct version_key *where,
                  bool deleted, struct slice data, struct buffer *scratch, bool *exists,
                  struct slice *seen)
{
    struct seen s = {.exists = !deleted, .data = data, .scratch = scratch};
    struct viewer viewer = viewer_of(trx);
    uint64_t hash = version__hash(where);
    struct os_lock *lock = version__lock_of(store, hash);
    os_lock_take(lock);
    err_t err = take_back_unseen(&s, &viewer, version__head(store, where, hash));
    /* A before-image lives as long as its version, which ends when the lock is let go. */
    if (err >= 0 && s.exists && s.data.p != data.p && !s.in_scratch)
        err = to_scratch(&s);
    os_lock_release(lock);
    if (err < 0)
        return err;
    *exists = s.exists;
    *seen = s.exists ? s.data : SLICE_EMPTY;
    return JET_errSuccess;
}

/* ---- changing ---- */

/* Own changes, and changes that the viewer sees, were only possible where nothing unseen lay below;
 * escrow additions are the exception. An undone version still conflicts: older ones of its maker
 * may be waiting for their undo. */
static bool conflicts(const struct viewer *viewer, const struct version *head, bool delta)
{
    for (const struct version *v = head; v != NULL; v = v->older) {
        if (v->run == viewer->run) {
            if (!is_delta(v))
                return false;
            continue;
        }
        if (delta && is_delta(v))
            continue;
        if (v->oper == VERSION_LOCK && !version__is_open(v))
            continue;
        if (!sees(viewer, v))
            return true;
        if (!is_delta(v))
            return false;
    }
    return false;
}

static err_t check(struct trx *trx, const struct version_key *where, bool delta)
{
    struct viewer viewer = viewer_of(trx);
    if (version_none(trx->store, where))
        return JET_errSuccess;
    uint64_t hash = version__hash(where);
    struct os_lock *lock = version__lock_of(trx->store, hash);
    os_lock_take(lock);
    bool conflict = conflicts(&viewer, version__head(trx->store, where, hash), delta);
    os_lock_release(lock);
    if (!conflict)
        return JET_errSuccess;
    return RAISE(JET_errWriteConflict);
}

err_t version_check_write(struct trx *trx, const struct version_key *where)
{
    return check(trx, where, false);
}

err_t version_check_delta(struct trx *trx, const struct version_key *where)
{
    return check(trx, where, true);
}

/* ---- clean-up ---- */

bool version_exists(struct versions *store, const struct version_key *where)
{
    uint64_t hash = version__hash(where);
    struct os_lock *lock = version__lock_of(store, hash);
    os_lock_take(lock);
    bool exists = version__head(store, where, hash) != NULL;
    os_lock_release(lock);
    return exists;
}

bool version_is_settled(struct versions *store, const struct version_key *where)
{
    if (version_none(store, where))
        return true;
    uint64_t hash = version__hash(where), oldest = 0;
    struct os_lock *lock = version__lock_of(store, hash);
    bool settled = true, asked = false;
    os_lock_take(lock);
    for (const struct version *v = version__head(store, where, hash); settled && v != NULL;
         v = v->older) {
        uint64_t commit = atomic_load_explicit(&v->run->commit, memory_order_acquire);
        if (commit != TRXID_INFINITE && !asked) {
            oldest = versions_oldest_snapshot(store); /* rank 35 below ours of 40 */
            asked = true;
        }
        settled = commit != TRXID_INFINITE && commit <= oldest;
    }
    os_lock_release(lock);
    return settled;
}

/* ---- schema changes ---- */

static bool is_foreign(const struct version *v, const struct trx *trx, uint64_t snapshot)
{
    if (v->run == trx->run)
        return false;
    uint64_t commit = atomic_load_explicit(&v->run->commit, memory_order_acquire);
    return commit == TRXID_INFINITE || commit > snapshot;
}

/* Buckets b, b + STRIPES, ... hang on one stripe: its lock is taken once. */
static bool stripe_is_busy(struct versions *store, const struct trx *trx, uint64_t stripe,
                           dbid_t dbid, objid_t objid)
{
    uint64_t snapshot = atomic_load(&trx->snapshot);
    bool busy = false;
    os_lock_take(&store->stripes[stripe].lock);
    for (uint64_t b = stripe; b <= store->bucket_mask && !busy; b += STRIPES)
        for (struct version *head = atomic_load(&store->buckets[b]); head != NULL && !busy;
             head = atomic_load(&head->bucket_next))
            for (struct version *v = head; v != NULL && !busy; v = v->older)
                busy = v->objid == objid && v->dbid == dbid && is_foreign(v, trx, snapshot);
    os_lock_release(&store->stripes[stripe].lock);
    return busy;
}

bool version_tree_is_busy(struct versions *store, const struct trx *trx, dbid_t dbid, objid_t objid)
{
    for (uint64_t stripe = 0; stripe < STRIPES && stripe <= store->bucket_mask; stripe++)
        if (stripe_is_busy(store, trx, stripe, dbid, objid))
            return true;
    return false;
}
