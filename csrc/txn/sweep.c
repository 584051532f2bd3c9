/* The sweep: what no snapshot needs any more goes, deleted nodes from their pages, versions from
 * memory. */
#include "txn/txn.h"

#define CLEANS_A_TRANSACTION 32 /* short: a checkpoint may not pass the Begin0 of an open one */

struct sweep {
    struct trx *trx;
    const struct txn_databases *dbs;
    struct versions *store;
    struct buffer key; /* of the node at work: its version is gone by then */
    uint32_t cleans;   /* in the transaction that is open */
    uint32_t versions_left;
};

static err_t end_batch(struct sweep *s)
{
    s->cleans = 0;
    if (s->trx->level == 0)
        return JET_errSuccess;
    lgpos_t end;
    return trx_commit(s->trx, &end);
}

/* The database, when the tree is still there; in a transaction then. */
static err_t open_batch(struct sweep *s, dbid_t dbid, objid_t objid, struct dbfile **db)
{
    *db = s->dbs->find(s->dbs->context, dbid);
    if (*db != NULL && s->dbs->has_tree != NULL && !s->dbs->has_tree(s->dbs->context, dbid, objid))
        *db = NULL;
    return *db != NULL && s->trx->level == 0 ? trx_begin(s->trx) : JET_errSuccess;
}

static err_t count_clean(struct sweep *s)
{
    return ++s->cleans < CLEANS_A_TRANSACTION ? JET_errSuccess : end_batch(s);
}

static err_t clean_node(struct sweep *s, const struct version_key *where)
{
    struct dbfile *db;
    TRY_RETURN(open_batch(s, where->dbid, where->objid, &db));
    if (db == NULL)
        return JET_errSuccess;
    TRY_RETURN(btree_clean(db, s->trx, where));
    return count_clean(s);
}

static err_t clean_page(struct sweep *s, const struct version_page *where)
{
    struct dbfile *db;
    TRY_RETURN(open_batch(s, where->dbid, where->objid, &db));
    if (db == NULL)
        return JET_errSuccess;
    TRY_RETURN(btree_clean_page(db, s->trx, where));
    return count_clean(s);
}

/* The version goes first, so that btree finds its node free of versions. The run is settled:
 * whoever looks at the node between the two steps sees it deleted with or without the version. A
 * node that could not be removed now is kept as clean-up work. */
static err_t sweep_version(struct sweep *s, const struct version_undo *u)
{
    if (u->oper != VERSION_DELETE) {
        version_remove(s->store, u->version);
        return JET_errSuccess;
    }
    struct version_key where = u->where;
    TRY_RETURN(buffer_set(&s->key, where.key));
    TRY_RETURN(buffer_append(&s->key, where.data));
    where.key = SLICE(s->key.p, u->where.key.n);
    where.data = SLICE(s->key.p + u->where.key.n, u->where.data.n);
    version_remove(s->store, u->version);
    err_t err = clean_node(s, &where);
    if (err < 0)
        versions_add_clean(s->store, &where);
    return err;
}

/* *done: nothing is left of the run. */
static err_t sweep_run(struct sweep *s, struct run *run, bool *done)
{
    struct version_undo u;
    *done = false;
    for (; s->versions_left > 0; s->versions_left--) {
        if (!run_next(run, &u)) {
            *done = true;
            break;
        }
        TRY_RETURN(sweep_version(s, &u));
    }
    if (!*done)
        return JET_errSuccess;
    /* Actions want the sweeper at level 0. */
    TRY_RETURN(end_batch(s));
    for (struct trx_action *action = run_actions(run), *next; action != NULL; action = next) {
        next = action->next;
        action->fn(action, TRX_SWEPT, s->trx);
    }
    return JET_errSuccess;
}

err_t txn_sweep(struct trx *sweeper, const struct txn_databases *dbs, uint32_t versions_max,
                bool *worked)
{
    struct sweep s = {
        .trx = sweeper, .dbs = dbs, .store = sweeper->store, .versions_left = versions_max};
    struct run *run;
    err_t err = JET_errSuccess;
    *worked = false;
    ASSERT(sweeper->level == 0);
    while (s.versions_left > 0 && (run = versions_take_settled(s.store)) != NULL) {
        bool done = false;
        *worked = true;
        err = sweep_run(&s, run, &done);
        if (!done || err < 0) {
            versions_put_back(s.store, run);
            break;
        }
        run_free(s.store, run);
    }
    /* Even after an error: the sweeper has nothing to undo, and an open transaction would hold the
     * checkpoint. */
    err_t ended = end_batch(&s);
    buffer_free(&s.key);
    return err < 0 ? err : ended;
}

void txn_sweep_light(struct versions *store, uint32_t versions_max)
{
    struct run *run;
    while (versions_max > 0 && (run = versions_take_settled(store)) != NULL) {
        if (!run_drop_some(store, run, &versions_max) || run_has_actions(run)) {
            versions_put_back(store, run);
            break;
        }
        run_free(store, run);
    }
}

err_t txn_sweep_pages(struct trx *sweeper, const struct txn_databases *dbs)
{
    struct sweep s = {.trx = sweeper, .dbs = dbs, .store = sweeper->store};
    struct version_page page;
    err_t err = JET_errSuccess;
    while (err >= 0 && versions_take_page(s.store, &page))
        err = clean_page(&s, &page);
    while (versions_take_page(s.store, &page))
        ; /* the next insert or merge there finds what is left */
    return err;
}
