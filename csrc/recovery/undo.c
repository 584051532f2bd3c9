/* Undo: what the log leaves open is rolled back, and logged as any rollback is (log-format.md 8.6). Then space is reconciled with
 * the catalog, so that nothing leaks (decision 8). */
#include "recovery/recovery_private.h"

static struct dbfile *find_database(void *context, dbid_t dbid)
{
    struct recovery *r = context;
    if (r->undoing)
        r->result->undone++; /* asked once for each version that is taken back */
    if (dbid == 0 || dbid > DBID_MAX || r->database[dbid].state != REDO_OPEN)
        return NULL;
    return r->database[dbid].db;
}

static err_t open_space(struct recovery *r)
{
    for (int i = 1; i <= DBID_MAX; i++) {
        struct redo_database *d = &r->database[i];
        if (d->state != REDO_OPEN || d->space_open)
            continue;
        TRY_RETURN(space_init(d->db));
        d->space_open = true;
    }
    return JET_errSuccess;
}

/* ---- sessions ---- */

static err_t abort_macros(struct recovery *r, struct redo_session *s)
{
    for (struct redo_macro *m = s->macros; m != NULL; m = m->next) {
        uint8_t bytes[11] = {LOG_MacroAbort};
        struct log_record record = {.part_count = 1, .part = {SLICE(bytes, sizeof bytes)}, .head = bytes};
        struct log_stamp stamp = {0};
        store_u16(bytes + 1, s->trx.procid);
        store_u64(bytes + 3, m->dbtime);
        TRY_RETURN(log_append(r->config->log, &record, 1, &stamp));
    }
    recovery__macros_drop(s);
    return JET_errSuccess;
}

static bool anything_open(const struct recovery *r)
{
    for (uint32_t i = 0; i <= UINT16_MAX; i++)
        if (r->session[i] != NULL && (r->session[i]->trx.level != 0 || r->session[i]->macros != NULL))
            return true;
    return false;
}

static err_t roll_back(struct recovery *r)
{
    for (uint32_t i = 0; i <= UINT16_MAX; i++)
        if (r->session[i] != NULL)
            TRY_RETURN(abort_macros(r, r->session[i]));
    r->undoing = true;
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        struct redo_session *s = r->session[i];
        if (s == NULL || s->trx.level == 0)
            continue;
        TRY_RETURN(txn_rollback(&s->trx, &r->databases, 0));
        r->result->sessions_undone++;
    }
    r->undoing = false;
    recovery__end_sessions(r);
    return JET_errSuccess;
}

/* ---- after it ---- */

/* Which trees there are is what the committed rows say. Versions of dropped ones are in the store too: redo does not know of
 * the drop, whose space may long be used again. */
static bool has_tree(void *context, dbid_t dbid, objid_t objid)
{
    const struct recovery *r = context;
    return catalog_find_tree(&r->trees[dbid], objid) != NULL;
}

static err_t note_trees(struct recovery *r, struct dbfile *db, struct trx *trx)
{
    TRY_RETURN(catalog_open(db, &r->databases, r->config->system_dir, trx));
    err_t err = catalog_list_trees(db, &r->trees[db->dbid]);
    catalog_close(db);
    return err;
}

static err_t find_trees(struct recovery *r)
{
    struct trx trx;
    err_t err = JET_errSuccess;
    if (r->config->reconcile != NULL)
        return JET_errSuccess; /* bare trees: no catalog, nothing is dropped */
    trx_init(&trx, r->config->versions, r->config->log, PROCID_RECOVERY, false, &r->inner);
    for (int i = 1; i <= DBID_MAX && err >= 0; i++)
        if (r->database[i].state == REDO_OPEN)
            err = note_trees(r, r->database[i].db, &trx);
    trx_term(&trx);
    r->databases.has_tree = has_tree;
    return err;
}

static void forget_trees(struct recovery *r)
{
    r->databases.has_tree = NULL;
    for (int i = 0; i <= DBID_MAX; i++) {
        free(r->trees[i].list);
        r->trees[i] = (struct catalog_trees){0};
    }
}

/* Nodes that only the undone ever saw. */
static err_t sweep(struct recovery *r)
{
    enum { VERSIONS_A_ROUND = 4096 };
    struct trx sweeper;
    bool worked = true;
    err_t err = JET_errSuccess;
    trx_init(&sweeper, r->config->versions, r->config->log, PROCID_SWEEP, true, &r->inner);
    while (worked && err >= 0)
        err = txn_sweep(&sweeper, &r->databases, VERSIONS_A_ROUND, &worked);
    trx_term(&sweeper);
    return err;
}

/* Deletes that were committed, and whose clean-up the crash cut off. It is no part of what recovery owes: it stops at a full disk
 * instead of using the reserve, and at a page that cannot be read. */
static err_t clean_pages(struct recovery *r)
{
    struct trx sweeper;
    lgpos_t end;
    trx_init(&sweeper, r->config->versions, r->config->log, PROCID_SWEEP, true, &r->inner);
    log_use_reserve(r->config->log, false);
    err_t err = txn_sweep_pages(&sweeper, &r->databases);
    log_use_reserve(r->config->log, true);
    if (err < 0)
        err_clear();
    err = sweeper.level > 0 ? trx_commit(&sweeper, &end) : JET_errSuccess;
    trx_term(&sweeper);
    return err;
}

static err_t by_catalog(struct recovery *r, struct dbfile *db, struct trx *trx, uint32_t *found)
{
    TRY_RETURN(catalog_open(db, &r->databases, r->config->system_dir, trx));
    err_t err = catalog_reconcile(db, trx, found);
    catalog_close(db);
    return err;
}

static err_t reconcile_one(struct recovery *r, struct trx *trx, struct redo_database *d)
{
    uint32_t found = 0;
    err_t err = r->config->reconcile != NULL ? r->config->reconcile(d->db, trx, &found) : by_catalog(r, d->db, trx, &found);
    r->result->pages_reconciled += found;
    return err;
}

static err_t reconcile(struct recovery *r)
{
    struct trx trx;
    err_t err = JET_errSuccess;
    trx_init(&trx, r->config->versions, r->config->log, PROCID_RECOVERY, false, &r->inner);
    for (int i = 1; i <= DBID_MAX && err >= 0; i++)
        if (r->database[i].state == REDO_OPEN)
            err = reconcile_one(r, &trx, &r->database[i]);
    trx_term(&trx);
    return err;
}

err_t recovery__undo(struct recovery *r, lgpos_t *undo_at)
{
    r->databases = (struct txn_databases){.context = r, .find = find_database};
    *undo_at = log_tail(r->config->log);
    bool open = anything_open(r);
    if (r->last == LAST_MARK && !open)
        return JET_errSuccess; /* the pages were on disk when the log ended */
    r->last = LAST_OTHER;
    TRY_RETURN(recovery_log_undo(r->config->log, undo_at));
    log_use_reserve(r->config->log, true);
    err_t err = JET_errSuccess;
    TRY(open_space(r));
    TRY(roll_back(r));
    TRY(recovery__drop_unfinished(r));
    TRY(find_trees(r));
    TRY(sweep(r));
    TRY(clean_pages(r));
    TRY(reconcile(r));
    TRY(sweep(r));
out:
    forget_trees(r);
    log_use_reserve(r->config->log, false);
    return err;
}
