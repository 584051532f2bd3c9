/* Versions in the hash of nodes: made, published, removed. */
#include "version/version_private.h"

/* Small allocations cost more than their bytes. */
#define MALLOC_OVERHEAD 16u

uint64_t version__hash(const struct version_key *where)
{
    uint64_t h = hash_u64(((uint64_t)where->dbid << 32) ^ where->objid);
    h = hash_bytes(where->key, h);
    return where->data.n == 0 ? h : hash_bytes(where->data, h);
}

struct os_lock *version__lock_of(struct versions *store, uint64_t hash)
{
    return &store->stripes[hash & (STRIPES - 1)].lock;
}

static bool is_of(const struct version *v, const struct version_key *where, uint64_t hash)
{
    return v->hash == hash && v->objid == where->objid && v->dbid == where->dbid &&
           slice_equal(version__key(v), where->key) && slice_equal(version__data(v), where->data);
}

struct version *version__head(struct versions *store, const struct version_key *where,
                              uint64_t hash)
{
    struct version *v = version__first(store, hash);
    while (v != NULL && !is_of(v, where, hash))
        v = atomic_load_explicit(&v->bucket_next, memory_order_relaxed); /* under the lock */
    return v;
}

/* Without the lock. A node's version is chained and unchained while its bucket is never empty for a
 * moment in between (head_replace), so what is to be shown is that the caller cannot come too late
 * to see the chain, or too early to see that it is gone.
 *
 * Published: the publisher has the write latch, and counted the version before that. A caller
 * who latched the page later sees both, by the latch. One who works on a copy made earlier may miss
 * them, and then the copy is right: it is of the time before the change; if he sees the frame's
 * version unchanged afterwards, it was still the page's state when he looked here.
 *
 * Undone: the page got its old bytes back under the write latch, and the frame's version moved,
 * before the chain was taken away by a release store. A caller who sees the chain gone (acquire)
 * therefore sees the frame's version moved as well, when he compares it afterwards. A caller with a
 * latch kept the undo away.
 *
 * Swept: the page's state is what every snapshot sees, chain or no chain.
 *
 * The counter: releases on the way down, and its additions, being read-modify-writes, keep the
 * release sequences whole. */
bool version_none(struct versions *store, const struct version_key *where)
{
    if (atomic_load_explicit(&store->count[where->dbid], memory_order_acquire) == 0)
        return true;
    return version__first(store, version__hash(where)) == NULL;
}

static void put(uint8_t *to, struct slice s)
{
    if (s.n != 0)
        memcpy(to, s.p, s.n);
}

/* The bucket is fetched from memory while the change is logged and applied: see version_publish. */
static uint64_t hash_and_fetch(struct versions *store, const struct version_key *where)
{
    uint64_t hash = version__hash(where);
    __builtin_prefetch(&store->buckets[hash & store->bucket_mask], 1);
    __builtin_prefetch(version__lock_of(store, hash), 1);
    return hash;
}

static size_t bytes_of(const struct version_key *where, struct slice before)
{
    return sizeof(struct version) + where->key.n + where->data.n + before.n;
}

err_t version__create(struct versions *store, struct run *run, enum version_oper oper,
                      const struct version_key *where, struct slice before, struct version **out)
{
    *out = NULL;
    uint64_t hash = hash_and_fetch(store, where);
    size_t size = bytes_of(where, before);
    struct version *v = run != NULL ? run__take(run, size) : malloc(size);
    if (v == NULL)
        return RAISE(JET_errOutOfMemory);
    *v = (struct version){
        .run = run,
        .own = run == NULL,
        .hash = hash,
        .objid = where->objid,
        .root = where->root,
        .dbid = where->dbid,
        .key_n = where->key.n,
        .data_n = where->data.n,
        .before_n = before.n,
        .size = (uint32_t)(size + MALLOC_OVERHEAD),
        .oper = (uint8_t)oper,
    };
    list_init(&v->in_run);
    put(v->bytes, where->key);
    put(v->bytes + where->key.n, where->data);
    put(v->bytes + where->key.n + where->data.n, before);
    if (run != NULL) {
        run__count(run, v->dbid, v->size);
    } else {
        atomic_fetch_add_explicit(&store->bytes, v->size, memory_order_relaxed);
        atomic_fetch_add_explicit(&store->count[v->dbid], 1, memory_order_relaxed);
    }
    *out = v;
    return JET_errSuccess;
}

void version__free(struct versions *store, struct version *v)
{
    if (!v->own) {
        struct run *run = v->run;
        uint32_t size = v->size;
        run__uncount(run, v->dbid, size);
        if (version__is_open(v))
            run__give_back(run, v, size - MALLOC_OVERHEAD);
        return;
    }
    atomic_fetch_sub_explicit(&store->bytes, v->size, memory_order_relaxed);
    atomic_fetch_sub_explicit(&store->count[v->dbid], 1, memory_order_release);
    free(v);
}

static void point(_Atomic(struct version *) *at, struct version *v)
{
    atomic_store_explicit(at, v, memory_order_release);
    if (v != NULL)
        v->bucket_at = at;
}

static void head_insert(_Atomic(struct version *) *at, struct version *v)
{
    point(&v->bucket_next, atomic_load_explicit(at, memory_order_relaxed));
    point(at, v);
}

static void head_remove(struct version *v)
{
    point(v->bucket_at, atomic_load_explicit(&v->bucket_next, memory_order_relaxed));
}

/* In one step: the bucket must not look empty meanwhile. */
static void head_replace(struct version *old, struct version *v)
{
    point(&v->bucket_next, atomic_load_explicit(&old->bucket_next, memory_order_relaxed));
    point(old->bucket_at, v);
}

/* Becomes the newest of its node. In redo a version whose before-image came late takes its place by
 * rceid. */
void version__chain(struct versions *store, struct version *v)
{
    struct version_key where = {v->dbid, v->objid, v->root, version__key(v), version__data(v)};
    struct os_lock *lock = version__lock_of(store, v->hash);
    os_lock_take(lock);
    struct version *older = version__head(store, &where, v->hash), *newer = NULL;
    while (v->run->redo && older != NULL && (int32_t)(older->rceid - v->rceid) > 0) {
        newer = older;
        older = older->older;
    }
    v->newer = newer;
    v->older = older;
    if (newer == NULL && older != NULL) {
        head_replace(older, v);
    } else if (newer == NULL) {
        head_insert(&store->buckets[v->hash & store->bucket_mask], v);
    } else {
        newer->older = v;
    }
    if (older != NULL)
        older->newer = v;
    v->chained = true;
    os_lock_release(lock);
}

void version__unchain(struct versions *store, struct version *v)
{
    struct os_lock *lock = version__lock_of(store, v->hash);
    os_lock_take(lock);
    if (v->newer == NULL && v->older != NULL) {
        head_replace(v, v->older);
    } else if (v->newer == NULL) {
        head_remove(v);
    } else {
        v->newer->older = v->older;
    }
    if (v->older != NULL)
        v->older->newer = v->newer;
    v->chained = false;
    os_lock_release(lock);
}

/* ---- reserve, publish, remove ---- */

static err_t out_of_memory(struct versions *store, uint64_t bytes_max)
{
    char label[64];
    versions_ring(store);
    versions_oldest_label(store, label, sizeof label);
    err_t err = RAISE(JET_errVersionStoreOutOfMemory);
    err_detail("the version store is full (%llu bytes); the oldest transaction is that of %s",
               (unsigned long long)bytes_max,
               label[0] != '\0' ? label : "nobody: clean-up lags behind");
    return err;
}

static uint32_t new_rceid(struct versions *store)
{
    uint32_t rceid;
    do
        rceid = atomic_fetch_add_explicit(&store->rceid, 4, memory_order_relaxed) + 4;
    while (rceid == 0);
    return rceid;
}

err_t version_reserve(struct trx *trx, enum version_oper oper, const struct version_key *where,
                      struct slice before, int64_t delta, uint16_t delta_offset,
                      struct version **out)
{
    struct versions *store = trx->store;
    *out = NULL;
    ASSERT(trx->level >= 1 && !trx->internal);
    if (trx->read_only)
        return RAISE(JET_errTransReadOnly);
    uint64_t bytes_max = atomic_load_explicit(&store->bytes_max, memory_order_relaxed);
    uint64_t want = bytes_of(where, before) + MALLOC_OVERHEAD;
    uint64_t bytes = versions_bytes(store) + want;
    if (bytes > bytes_max)
        return out_of_memory(store, bytes_max);
    if (bytes > bytes_max / 4 * 3 && !atomic_load_explicit(&store->rung, memory_order_relaxed))
        versions_ring(store);
    if (trx->run == NULL)
        TRY_RETURN(run__create(store, trx, &trx->run));

    struct version *v;
    TRY_RETURN(version__create(store, trx->run, oper, where, before, &v));
    v->delta = delta;
    v->delta_offset = delta_offset;
    v->rceid = new_rceid(store);
    *out = v;
    return JET_errSuccess;
}

uint32_t version_rceid(const struct version *v)
{
    return v->rceid;
}

void version_publish(struct trx *trx, struct version *v)
{
    struct run *run = trx->run;
    ASSERT(run == v->run && !v->chained);
    list_add_back(&run->levels[trx->level], &v->in_run);
    if (run->rceid_last == 0 || (int32_t)(v->rceid - run->rceid_last) > 0)
        run->rceid_last = v->rceid;
    if (v->oper == VERSION_LOCK)
        run->locks++;
    else
        run->changes++;
    version__chain(trx->store, v);
}

void version_cancel(struct version *v)
{
    if (v != NULL)
        version__free(v->run->store, v);
}

/* undone_insert: its node is nobody's now, and is to be cleaned up. */
static void take_out(struct versions *store, struct version *v, bool undone_insert)
{
    struct run *run = v->run;
    /* Redo makes room first for what may still have to be undone; such a node waits for a merge or
     * a later insert. */
    if (run->redo &&
        versions_bytes(store) > atomic_load_explicit(&store->bytes_max, memory_order_relaxed) / 2)
        undone_insert = false;
    if (v->chained)
        version__unchain(store, v);
    list_remove(&v->in_run);
    if (run->redo_table != NULL)
        run__redo_forget(run, v);
    if (v->oper == VERSION_LOCK)
        run->locks--;
    else
        run->changes--;
    if (undone_insert) { /* without memory for it the node waits, as in redo */
        struct version_key where = {v->dbid, v->objid, v->root, version__key(v), version__data(v)};
        versions_add_clean(store, &where);
    }
    version__free(store, v);
}

void version_remove(struct versions *store, struct version *v)
{
    take_out(store, v, v->oper == VERSION_INSERT && version__is_open(v));
}

void version__drop(struct versions *store, struct version *v)
{
    take_out(store, v, false);
}
