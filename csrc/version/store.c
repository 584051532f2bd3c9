/* The store: counters, who is in a transaction, the queue of committed runs, the bell. */
#include <stdio.h>

#include "version/version_private.h"

#define BUCKETS_MIN (UINT64_C(1) << 12)
#define BUCKETS_MAX (UINT64_C(1) << 18) /* 2 MiB: one huge page, and mostly in a core's cache; 512 MiB of versions make chains of 8 */

static uint64_t bucket_count(uint64_t bytes_max)
{
    uint64_t count = BUCKETS_MIN;
    while (count < BUCKETS_MAX && count < bytes_max / 256)
        count *= 2;
    return count;
}

err_t versions_create(uint64_t bytes_max, struct versions **out)
{
    *out = NULL;
    struct versions *store = calloc(1, sizeof *store);
    if (store == NULL)
        return RAISE(JET_errOutOfMemory);
    uint64_t count = bucket_count(bytes_max);
    store->bucket_mask = count - 1;
    store->buckets = os_map(count * sizeof *store->buckets, true); /* met at random: few entries of the page tables */
    store->stripes = aligned_alloc(_Alignof(struct stripe), STRIPES * sizeof(struct stripe));
    if (store->buckets == NULL || store->stripes == NULL) {
        os_unmap(store->buckets, count * sizeof *store->buckets);
        free(store->stripes);
        free(store);
        return RAISE(JET_errOutOfMemory);
    }
    for (unsigned i = 0; i < STRIPES; i++)
        os_lock_init(&store->stripes[i].lock, RANK_VERSION);
    os_lock_init(&store->list_lock, RANK_TRX_LIST);
    os_lock_init(&store->clean_lock, RANK_OS);
    os_lock_init(&store->bell_lock, RANK_OS);
    os_cond_init(&store->bell);
    list_init(&store->trxs);
    list_init(&store->clean);
    atomic_init(&store->bytes_max, bytes_max);
    atomic_init(&store->commit_counter, 4);
    *out = store;
    return JET_errSuccess;
}

static void collect_pushed_locked(struct versions *store)
{
    struct run *newest = atomic_exchange_explicit(&store->pushed, NULL, memory_order_acquire);
    struct run *oldest = NULL, *last = newest;
    while (newest != NULL) {
        struct run *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    if (oldest == NULL)
        return;
    if (store->last != NULL)
        store->last->next = oldest;
    else
        store->first = oldest;
    store->last = last;
}

void versions_destroy(struct versions *store)
{
    if (store == NULL)
        return;
    ASSERT(list_is_empty(&store->trxs));
    collect_pushed_locked(store);
    for (struct run *run = store->first, *next; run != NULL; run = next) {
        next = run->next;
        run__drop(store, run, 0);
        run__forget_actions(run);
        run__destroy(run);
    }
    LIST_FOR_EACH_SAFE(link, after, &store->clean)
    free(LIST_ENTRY(link, struct version, in_run));
    for (unsigned i = 0; i < STRIPES; i++)
        os_lock_term(&store->stripes[i].lock);
    os_lock_term(&store->list_lock);
    os_lock_term(&store->clean_lock);
    os_lock_term(&store->bell_lock);
    os_cond_term(&store->bell);
    free(store->pages);
    os_unmap(store->buckets, (store->bucket_mask + 1) * sizeof *store->buckets);
    free(store->stripes);
    free(store);
}

uint64_t versions_bytes(struct versions *store)
{
    return atomic_load_explicit(&store->bytes, memory_order_relaxed);
}

uint64_t versions_count(struct versions *store, dbid_t dbid)
{
    return atomic_load_explicit(&store->count[dbid], memory_order_relaxed);
}

void versions_set_max(struct versions *store, uint64_t bytes_max)
{
    atomic_store_explicit(&store->bytes_max, bytes_max, memory_order_relaxed);
}

_Atomic uint64_t *versions_commit_counter(struct versions *store)
{
    return &store->commit_counter;
}

uint64_t version_undo_info_count(struct versions *store)
{
    return atomic_load_explicit(&store->undo_infos, memory_order_relaxed);
}

/* The counter is read first: a transaction that the scan misses re-reads the counter after it
 * published its snapshot (trx_begin), so what it settles on is no older than what we read here. All
 * of it sequentially consistent. */
uint64_t versions__oldest_locked(struct versions *store)
{
    uint64_t oldest = atomic_load(&store->commit_counter);
    LIST_FOR_EACH(link, &store->trxs)
    {
        uint64_t snapshot = atomic_load(&LIST_ENTRY(link, struct trx, in_store)->snapshot);
        if (snapshot < oldest)
            oldest = snapshot;
    }
    return oldest;
}

uint64_t versions_oldest_snapshot(struct versions *store)
{
    os_lock_take(&store->list_lock);
    uint64_t oldest = versions__oldest_locked(store);
    os_lock_release(&store->list_lock);
    return oldest;
}

void versions_oldest_label(struct versions *store, char *label, size_t room)
{
    uint64_t oldest = TRXID_INFINITE;
    if (room == 0)
        return;
    label[0] = '\0';
    os_lock_take(&store->list_lock);
    LIST_FOR_EACH(link, &store->trxs)
    {
        const struct trx *trx = LIST_ENTRY(link, struct trx, in_store);
        uint64_t snapshot = atomic_load(&trx->snapshot);
        if (snapshot >= oldest)
            continue;
        oldest = snapshot;
        if (trx->label[0] != '\0')
            snprintf(label, room, "%s", trx->label);
        else
            snprintf(label, room, "session %u", (unsigned)trx->procid);
    }
    os_lock_release(&store->list_lock);
}

lgpos_t versions_oldest_begin(struct versions *store)
{
    lgpos_t oldest = LGPOS_MAX;
    os_lock_take(&store->list_lock);
    LIST_FOR_EACH(link, &store->trxs)
    {
        lgpos_t begin = atomic_load(&LIST_ENTRY(link, struct trx, in_store)->begin_lgpos);
        if (begin < oldest)
            oldest = begin;
    }
    os_lock_release(&store->list_lock);
    return oldest;
}

/* ---- committed runs ---- */

/* Pushes are serialized by the log's append lock, hence in commit order; the taker turns the list
 * over. */
void versions__push_committed(struct versions *store, struct run *run)
{
    struct run *top = atomic_load_explicit(&store->pushed, memory_order_relaxed);
    do
        run->next = top;
    while (!atomic_compare_exchange_weak_explicit(&store->pushed, &top, run, memory_order_release,
                                                  memory_order_relaxed));
}

/* Undone inserts as a run of their own: nobody ever saw them, so it is settled from the start. */
static struct run *take_clean(struct versions *store)
{
    struct list taken;
    list_init(&taken);
    os_lock_take(&store->clean_lock);
    if (!list_is_empty(&store->clean)) {
        list_add_front(&store->clean, &taken);
        list_remove(&store->clean);
    }
    os_lock_release(&store->clean_lock);
    if (list_is_empty(&taken))
        return NULL;

    struct run *run;
    if (run__create(store, NULL, &run) < 0) {
        os_lock_take(&store->clean_lock);
        list_add_front(&taken, &store->clean);
        list_remove(&taken);
        os_lock_release(&store->clean_lock);
        return NULL;
    }
    atomic_store(&run->commit, 0);
    list_add_front(&taken, &run->levels[1]);
    list_remove(&taken);
    LIST_FOR_EACH(link, &run->levels[1])
    {
        LIST_ENTRY(link, struct version, in_run)->run = run;
        run->changes++;
    }
    return run;
}

struct run *versions_take_settled(struct versions *store)
{
    os_lock_take(&store->list_lock);
    collect_pushed_locked(store);
    struct run *run = store->first;
    if (run != NULL && atomic_load(&run->commit) <= versions__oldest_locked(store)) {
        store->first = run->next;
        if (store->first == NULL)
            store->last = NULL;
        run->next = NULL;
    } else {
        run = NULL;
    }
    os_lock_release(&store->list_lock);
    return run != NULL ? run : take_clean(store);
}

void versions_put_back(struct versions *store, struct run *run)
{
    os_lock_take(&store->list_lock);
    collect_pushed_locked(store);
    run->next = store->first;
    store->first = run;
    if (store->last == NULL)
        store->last = run;
    os_lock_release(&store->list_lock);
}

void versions_add_clean(struct versions *store, const struct version_key *where)
{
    struct version *v;
    if (version__create(store, NULL, VERSION_DELETE, where, SLICE_EMPTY, &v) < 0)
        return;
    os_lock_take(&store->clean_lock);
    list_add_back(&store->clean, &v->in_run);
    os_lock_release(&store->clean_lock);
}

/* ---- bell ---- */

void versions_ring(struct versions *store)
{
    os_lock_take(&store->bell_lock);
    atomic_store_explicit(&store->rung, true, memory_order_relaxed);
    os_cond_broadcast(&store->bell);
    os_lock_release(&store->bell_lock);
}

void versions_wait_work(struct versions *store, uint32_t ms)
{
    uint64_t until = os_now_ns() + (uint64_t)ms * 1000000;
    os_lock_take(&store->bell_lock);
    while (!atomic_load_explicit(&store->rung, memory_order_relaxed)) {
        uint64_t now = os_now_ns();
        if (now >= until || !os_cond_wait_ms(&store->bell, &store->bell_lock,
                                             (uint32_t)((until - now) / 1000000 + 1)))
            break;
    }
    atomic_store_explicit(&store->rung, false, memory_order_relaxed);
    os_lock_release(&store->bell_lock);
}
