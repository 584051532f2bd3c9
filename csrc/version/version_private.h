/* Inside version: the store, runs, versions. See README.rst for the invariants and the locks. */
#ifndef VERSION_PRIVATE_H
#define VERSION_PRIVATE_H

#include "version/version.h"

#define STRIPES 512u /* bucket locks; a power of two */

/* One change of one node. The newest of a node is the head: it alone is in the bucket's list. */
struct version {
    struct version *newer, *older; /* of the same node */
    _Atomic(struct version *) bucket_next; /* heads only */
    _Atomic(struct version *) *bucket_at;  /* heads only: what points here */
    struct version *redo_next;     /* in the run's rceid table, redo only */
    struct list in_run;            /* one of run->levels */
    struct run *run;
    uint64_t hash;
    int64_t delta;
    uint32_t rceid;
    objid_t objid;
    pgno_t root;
    uint32_t key_n, data_n, before_n;
    uint32_t size; /* what it counts in the store's bytes */
    uint16_t delta_offset;
    uint8_t oper;
    dbid_t dbid;
    bool own;         /* an allocation of its own, not memory of its run */
    bool chained;     /* in its node's chain */
    bool undo_logged; /* under run->lock, as undone */
    _Atomic bool undone;
    uint8_t bytes[]; /* key, data, before */
};

/* Memory of a run's versions. It goes with the run; what was taken last can be given back. */
struct run_block {
    struct run_block *next;
    uint32_t room, used;
    _Alignas(16) uint8_t bytes[];
};

struct run {
    struct versions *store;
    struct log *log;
    _Atomic uint64_t commit; /* TRXID_INFINITE while open */
    struct os_lock lock; /* RANK_TRX: the levels below, undo_logged, and UndoInfo against Commit0 */
    struct run *next;    /* pushed, or settled queue */
    struct list levels[TRX_LEVEL_SLOTS];   /* versions by the level they belong to, oldest first */
    uint32_t level_rceid[TRX_LEVEL_SLOTS]; /* newest rceid when the level began */
    uint32_t rceid_last;
    uint8_t level; /* innermost level of the transaction */
    bool redo;
    bool unsorted; /* redo: versions came late by UndoInfo */
    uint16_t procid;
    uint32_t begin_number;
    uint64_t changes; /* versions that are no locks */
    uint64_t locks;
    struct trx_action *actions;
    struct version **redo_table; /* by rceid */
    uint32_t redo_room, redo_count;
    uint64_t bytes, bytes_counted; /* of its versions; what the store counts of them, or somewhat more */
    uint32_t counted[DBID_MAX + 1]; /* its versions by database: the store counts the run once for each */
    struct run_block *blocks; /* newest first; only the transaction's own thread takes and gives back */
};

struct stripe {
    _Alignas(64) struct os_lock lock; /* RANK_VERSION */
};

#define VERSIONS_PAGES_RECENT 256u

struct versions {
    _Atomic(struct version *) *buckets; /* changed under the stripe's lock; version_none peeks */
    uint64_t bucket_mask;
    struct stripe *stripes;
    _Atomic uint64_t bytes, bytes_max;
    _Atomic uint64_t count[256]; /* by dbid */
    _Atomic uint64_t commit_counter;
    _Atomic uint32_t rceid;
    _Atomic uint64_t undo_infos;
    _Atomic bool redoing; /* the log cannot be written yet */

    struct os_lock list_lock; /* RANK_TRX_LIST: trxs, labels, the settled queue */
    struct list trxs;
    struct run *first, *last;     /* committed runs in commit order */
    _Atomic(struct run *) pushed; /* newest commit first; pushed under the log's append lock */
    struct os_lock clean_lock;    /* RANK_OS: clean, pages */
    struct list clean;            /* deletes without a chain, from undone inserts */
    struct version_page *pages;   /* to be looked through */
    uint32_t page_count, page_room;
    struct version_page pages_recent[VERSIONS_PAGES_RECENT]; /* not to note each delete of a page */

    struct os_lock bell_lock; /* RANK_OS */
    struct os_cond bell;
    _Atomic bool rung;
};

static inline struct slice version__key(const struct version *v)
{
    return SLICE(v->bytes, v->key_n);
}
static inline struct slice version__data(const struct version *v)
{
    return SLICE(v->bytes + v->key_n, v->data_n);
}
static inline struct slice version__before(const struct version *v)
{
    return SLICE(v->bytes + v->key_n + v->data_n, v->before_n);
}
static inline bool version__is_open(const struct version *v)
{
    return atomic_load_explicit(&v->run->commit, memory_order_acquire) == TRXID_INFINITE;
}

/* store.c */
uint64_t versions__oldest_locked(struct versions *store);
void versions__push_committed(struct versions *store,
                              struct run *run); /* under the log's append lock */

/* chain.c */
uint64_t version__hash(const struct version_key *where);
static inline struct version *version__first(struct versions *store, uint64_t hash)
{
    return atomic_load_explicit(&store->buckets[hash & store->bucket_mask], memory_order_acquire);
}
struct os_lock *version__lock_of(struct versions *store, uint64_t hash);
struct version *version__head(struct versions *store, const struct version_key *where,
                              uint64_t hash);
/* In memory of the run, or (NULL) its own. */
MUST_CHECK err_t version__create(struct versions *store, struct run *run, enum version_oper oper,
                                 const struct version_key *where, struct slice before,
                                 struct version **out);
void version__chain(struct versions *store, struct version *v);
void version__unchain(struct versions *store, struct version *v);
void version__free(struct versions *store, struct version *v);
/* version_remove, but nothing becomes clean-up work. */
void version__drop(struct versions *store, struct version *v);

/* run.c */
MUST_CHECK err_t run__create(struct versions *store, const struct trx *trx, struct run **out);
void run__destroy(struct run *run); /* no versions */
void *run__take(struct run *run, size_t n); /* NULL: out of memory */
void run__give_back(struct run *run, void *p, size_t n);
/* A version of the run came or goes: what the store counts moves in steps. As the run, of one thread at a time. */
void run__count(struct run *run, dbid_t dbid, uint32_t size);
void run__uncount(struct run *run, dbid_t dbid, uint32_t size);
void run__begin_level(struct run *run, uint8_t level);
void run__lower(struct run *run, uint8_t level); /* versions above move down to it */
uint8_t run__level_of(const struct run *run, const struct version *v); /* under run->lock */
void run__mark_undone(struct run *run, uint32_t rceid);
void run__drop(struct versions *store, struct run *run,
               uint8_t level); /* all versions above level, without undo */
void run__drop_locks(struct versions *store, struct run *run);
struct version *run__newest(struct run *run, uint8_t level);
void run__forget_actions(struct run *run);
void version__describe(struct version *v, uint8_t level, struct version_undo *out);

/* redo.c */
void run__redo_forget(struct run *run, struct version *v);

#endif
