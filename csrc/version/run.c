/* A run: the versions and actions of one outermost transaction, kept by the level that they belong
 * to. */
#include "version/version_private.h"

/* trx NULL: a run of clean-up work that belongs to nobody. */
err_t run__create(struct versions *store, const struct trx *trx, struct run **out)
{
    *out = NULL;
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return RAISE(JET_errOutOfMemory);
    run->store = store;
    atomic_init(&run->commit, TRXID_INFINITE);
    os_lock_init(&run->lock, RANK_TRX);
    for (unsigned i = 0; i < TRX_LEVEL_SLOTS; i++)
        list_init(&run->levels[i]);
    if (trx != NULL) {
        run->log = trx->log;
        run->procid = trx->procid;
        run->begin_number = (uint32_t)trx->begin_number;
        run->level = trx->level;
    }
    *out = run;
    return JET_errSuccess;
}

void run__destroy(struct run *run)
{
    os_lock_term(&run->lock);
    for (struct run_block *b = run->blocks, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(run->redo_table);
    free(run);
}

/* ---- memory of versions: made by a session, freed by the sweep, so better in few pieces ---- */

#define BLOCK_FIRST 1024u
#define BLOCK_MOST 65536u

static size_t rounded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

void *run__take(struct run *run, size_t n)
{
    struct run_block *b = run->blocks;
    n = rounded(n);
    if (b == NULL || b->room - b->used < n) {
        size_t room = b == NULL ? BLOCK_FIRST : (size_t)b->room * 4;
        room = room > BLOCK_MOST ? BLOCK_MOST : room;
        room = room < n ? n : room;
        b = malloc(sizeof *b + room);
        if (b == NULL)
            return NULL;
        *b = (struct run_block){.next = run->blocks, .room = (uint32_t)room};
        run->blocks = b;
    }
    void *p = b->bytes + b->used;
    b->used += (uint32_t)n;
    return p;
}

/* A transaction that goes back and forth by savepoints does not grow: newest first is how it goes
 * back. */
void run__give_back(struct run *run, void *p, size_t n)
{
    struct run_block *b = run->blocks;
    if (b->used < rounded(n) || (uint8_t *)p != b->bytes + b->used - rounded(n))
        return;
    b->used -= (uint32_t)rounded(n);
    if (b->used == 0 && b->next != NULL) {
        run->blocks = b->next;
        free(b);
    }
}

/* The store's counters are lines that all sessions and the sweep share: a run counts in steps, which are small beside what it
 * has, and exact where the store may soon be full. */
#define COUNT_STEP_MOST 65536u

static uint64_t count_step(const struct run *run)
{
    uint64_t quarter = run->bytes_counted / 4;
    return quarter < COUNT_STEP_MOST ? quarter : COUNT_STEP_MOST;
}

static void count_bytes(struct run *run)
{
    struct versions *store = run->store;
    uint64_t most = atomic_load_explicit(&store->bytes_max, memory_order_relaxed);
    uint64_t step = versions_bytes(store) < most / 2 ? count_step(run) : 0;
    uint64_t more = run->bytes + step - run->bytes_counted;
    atomic_fetch_add_explicit(&store->bytes, more, memory_order_relaxed);
    run->bytes_counted += more;
}

/* Before a version of the database is chained its count is not 0: version_none. */
void run__count(struct run *run, dbid_t dbid, uint32_t size)
{
    run->bytes += size;
    if (run->bytes > run->bytes_counted)
        count_bytes(run);
    if (dbid > DBID_MAX || run->counted[dbid]++ == 0)
        atomic_fetch_add_explicit(&run->store->count[dbid], 1, memory_order_relaxed);
}

void run__uncount(struct run *run, dbid_t dbid, uint32_t size)
{
    run->bytes -= size;
    if (run->bytes == 0 || run->bytes_counted - run->bytes > COUNT_STEP_MOST) {
        atomic_fetch_sub_explicit(&run->store->bytes, run->bytes_counted - run->bytes, memory_order_relaxed);
        run->bytes_counted = run->bytes;
    }
    if (dbid > DBID_MAX || --run->counted[dbid] == 0)
        atomic_fetch_sub_explicit(&run->store->count[dbid], 1, memory_order_release);
}

void run__begin_level(struct run *run, uint8_t level)
{
    os_lock_take(&run->lock);
    for (uint8_t l = (uint8_t)(run->level + 1); l <= level; l++)
        run->level_rceid[l] = run->rceid_last;
    run->level = level;
    os_lock_release(&run->lock);
}

static void splice_back(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* Caller holds run->lock. Nothing was added below `level` while the levels above were open, so
 * order is kept. */
void run__lower(struct run *run, uint8_t level)
{
    for (unsigned l = level + 1u; l < TRX_LEVEL_SLOTS; l++)
        splice_back(&run->levels[level], &run->levels[l]);
    run->level = level;
}

/* A level's versions are those with a younger rceid than the run's newest at its begin. */
uint8_t run__level_of(const struct run *run, const struct version *v)
{
    uint8_t level = run->level;
    while (level > 1 && run->level_rceid[level] != 0 &&
           (int32_t)(v->rceid - run->level_rceid[level]) <= 0)
        level--;
    return level;
}

/* Redo adds versions out of order when their before-image comes by UndoInfo: a merge sort puts that
 * right. */
static struct list *merge_sorted(struct list *a, struct list *b)
{
    struct list *first = NULL, **at = &first;
    while (a != NULL && b != NULL) {
        uint32_t ra = LIST_ENTRY(a, struct version, in_run)->rceid;
        uint32_t rb = LIST_ENTRY(b, struct version, in_run)->rceid;
        struct list **take = (int32_t)(ra - rb) <= 0 ? &a : &b;
        *at = *take;
        at = &(*at)->next;
        *take = (*take)->next;
    }
    *at = a != NULL ? a : b;
    return first;
}

static void sort_level(struct list *head)
{
    struct list *sorted[48] = {0}; /* sorted[i]: 2^i items, or nothing */
    struct list *link = head->next;
    while (link != head) {
        struct list *one = link;
        link = link->next;
        one->next = NULL;
        unsigned i = 0;
        for (; sorted[i] != NULL; i++) {
            one = merge_sorted(sorted[i], one);
            sorted[i] = NULL;
        }
        sorted[i] = one;
    }
    struct list *all = NULL;
    for (unsigned i = 0; i < 48; i++)
        if (sorted[i] != NULL)
            all = merge_sorted(sorted[i], all);
    list_init(head);
    while (all != NULL) {
        struct list *next = all->next;
        list_add_back(head, all);
        all = next;
    }
}

struct version *run__newest(struct run *run, uint8_t level)
{
    if (run->unsorted) {
        for (unsigned l = 0; l < TRX_LEVEL_SLOTS; l++)
            sort_level(&run->levels[l]);
        run->unsorted = false;
    }
    for (unsigned l = TRX_LEVEL_SLOTS - 1; l > level; l--)
        if (!list_is_empty(&run->levels[l]))
            return LIST_ENTRY(run->levels[l].prev, struct version, in_run);
    return NULL;
}

/* Rollback undoes newest first, so the newest is the one that an Undo record names. */
void run__mark_undone(struct run *run, uint32_t rceid)
{
    struct version *v = run__newest(run, 0);
    if (v == NULL || v->rceid != rceid)
        return;
    os_lock_take(&run->lock);
    atomic_store_explicit(&v->undone, true, memory_order_release);
    os_lock_release(&run->lock);
}

/* Also of a run that is open: nothing is turned into clean-up work. */
void run__drop(struct versions *store, struct run *run, uint8_t level)
{
    for (unsigned l = level + 1u; l < TRX_LEVEL_SLOTS; l++) {
        LIST_FOR_EACH_SAFE(link, after, &run->levels[l])
        {
            version__drop(store, LIST_ENTRY(link, struct version, in_run));
        }
    }
}

void run__drop_locks(struct versions *store, struct run *run)
{
    for (unsigned l = 1; run->locks > 0 && l < TRX_LEVEL_SLOTS; l++) {
        LIST_FOR_EACH_SAFE(link, after, &run->levels[l])
        {
            struct version *v = LIST_ENTRY(link, struct version, in_run);
            if (v->oper == VERSION_LOCK)
                version_remove(store, v);
        }
    }
}

void run__forget_actions(struct run *run)
{
    struct trx_action *action = run_actions(run);
    while (action != NULL) {
        struct trx_action *next = action->next;
        action->fn(action, TRX_FORGOTTEN, NULL);
        action = next;
    }
}

void version__describe(struct version *v, uint8_t level, struct version_undo *out)
{
    *out = (struct version_undo){
        .version = v,
        .oper = (enum version_oper)v->oper,
        .level = level,
        .rceid = v->rceid,
        .where = {v->dbid, v->objid, v->root, version__key(v), version__data(v)},
        .before = version__before(v),
        .delta = v->delta,
        .delta_offset = v->delta_offset,
    };
}

bool version_newest(struct trx *trx, uint8_t level, struct version_undo *out)
{
    struct version *v = trx->run == NULL ? NULL : run__newest(trx->run, level);
    if (v == NULL)
        return false;
    uint8_t at = trx->run->level;
    while (at > level + 1 && list_is_empty(&trx->run->levels[at]))
        at--;
    version__describe(v, at, out);
    return true;
}

uint32_t version_newest_rceid(const struct trx *trx)
{
    const struct run *run = trx->run;
    if (run == NULL || list_is_empty(&run->levels[trx->level]))
        return 0;
    ASSERT(!run->unsorted);
    return LIST_ENTRY(run->levels[trx->level].prev, struct version, in_run)->rceid;
}

bool run_next(struct run *run, struct version_undo *out)
{
    for (uint8_t l = 0; l < TRX_LEVEL_SLOTS; l++) {
        if (list_is_empty(&run->levels[l]))
            continue;
        version__describe(LIST_ENTRY(run->levels[l].next, struct version, in_run), l, out);
        return true;
    }
    return false;
}

bool run_drop_some(struct versions *store, struct run *run, uint32_t *most)
{
    for (unsigned l = 0; l < TRX_LEVEL_SLOTS; l++)
        while (!list_is_empty(&run->levels[l])) {
            struct version *v = LIST_ENTRY(run->levels[l].next, struct version, in_run);
            if (*most == 0 || v->oper == VERSION_DELETE)
                return false;
            --*most;
            version__drop(store, v);
        }
    return true;
}

bool run_has_actions(const struct run *run)
{
    return run->actions != NULL;
}

struct trx_action *run_actions(struct run *run)
{
    struct trx_action *actions = run->actions;
    run->actions = NULL;
    return actions;
}

void run_free(struct versions *store, struct run *run)
{
    ASSERT(run->actions == NULL && run->changes == 0 && run->locks == 0);
    (void)store;
    run__destroy(run);
}
