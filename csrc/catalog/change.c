/* Schema changes as part of the user's transaction: rows roll back as rows do, descriptions and
 * trees by these actions. */
#include "catalog/catalog_private.h"

static void run_change(struct trx_action *action, enum trx_event event, struct trx *trx);

err_t catalog__change_new(struct catalog_table *t, enum change_kind kind,
                          struct change_action **out)
{
    struct change_action *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return RAISE(JET_errOutOfMemory);
    c->action.fn = run_change;
    c->kind = kind;
    c->cat = t->cat;
    c->table = t;
    os_lock_take(&c->cat->lock);
    t->desc.refs++;
    c->cat->pending++;
    os_lock_release(&c->cat->lock);
    *out = c;
    return JET_errSuccess;
}

void catalog__change_add(struct trx *trx, struct change_action *change)
{
    trx_add_action(trx, &change->action);
}

/* The clean-up runs in a thread of its own: the catalog may have been closed meanwhile, and must not be while it is used. */
static bool enter(struct catalog *cat)
{
    os_lock_take(&cat->lock);
    bool open = !cat->closed;
    cat->inside += open;
    os_lock_release(&cat->lock);
    return open;
}

static void leave(struct catalog *cat)
{
    os_lock_take(&cat->lock);
    if (--cat->inside == 0 && cat->closed)
        os_cond_broadcast(&cat->nobody_inside);
    os_lock_release(&cat->lock);
}

/* Of a closed catalog only memory is left to give back. */
static void change_free(struct change_action *c)
{
    struct catalog *cat = c->cat;
    if (enter(cat)) {
        catalog_release(&c->table->desc);
        leave(cat);
    }
    os_lock_take(&cat->lock);
    bool last = --cat->pending == 0 && cat->closed;
    os_lock_release(&cat->lock);
    if (last)
        catalog__free(cat);
    free(c);
}

void catalog__change_cancel(struct change_action *change)
{
    if (change != NULL)
        change_free(change);
}

err_t catalog__free_tree(struct btree *tree, struct trx *trx)
{
    struct dbfile *db = tree->db;
    err_t err = btree_retire(tree);
    if (err >= 0)
        err = space_free_tree(tree, trx);
    else
        space_note_lost(db);
    btree_close(tree);
    return err;
}

err_t catalog__give_up_tree(struct dbfile *db, struct trx *trx, pgno_t root, err_t err)
{
    struct err_origin why = *err_last();
    struct btree *tree;
    if (btree_open(db, root, &tree) >= 0)
        (void)!catalog__free_tree(tree, trx);
    else
        space_note_lost(db);
    err_restore(&why);
    return err;
}

/* ---- taking back. Nothing here may be refused: a tree whose space cannot be given back leaks
 * until the next reconciliation. ---- */

static void disown(struct catalog_table *t, const void *owner)
{
    os_lock_take(&t->cat->lock);
    t->cat->serial++;
    os_lock_release(&t->cat->lock);
    atomic_store(&t->desc.ddl_owner, owner);
}

/* Indexes and long values lie in the table's space and go with it. */
static void free_table_space(struct catalog_table *t, struct trx *trx)
{
    struct table_desc *desc = &t->desc;
    bool retired = true;
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (desc->indexes[i].tree != desc->tree)
            retired &= btree_retire(desc->indexes[i].tree) >= 0;
    if (desc->longval_tree != NULL)
        retired &= btree_retire(desc->longval_tree) >= 0;
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (desc->indexes[i].tree != desc->tree)
            btree_close(desc->indexes[i].tree);
    btree_close(desc->longval_tree);
    desc->longval_tree = NULL;
    desc->index_count = 0;
    if (retired && btree_retire(desc->tree) >= 0)
        (void)!space_free_tree(desc->tree, trx);
    else
        space_note_lost(t->cat->db);
}

static void undo_created(struct change_action *c, struct trx *trx)
{
    struct catalog_table *t = c->table;
    catalog__unlink(t);
    t->dropped = true;
    t->creator = NULL;
    atomic_store(&t->desc.ddl_owner, (const void *)t);
    free_table_space(t, trx);
}

static void undo_longval(struct change_action *c, struct trx *trx)
{
    __atomic_store_n(&c->table->desc.longval_tree, NULL, __ATOMIC_RELEASE);
    atomic_store(&c->table->desc.longval.lid_last, 0);
    (void)!catalog__free_tree(c->tree, trx);
}

static void undo(struct change_action *c, struct trx *trx)
{
    struct catalog_table *t = c->table;
    os_rwlock_write(&t->desc.lock);
    if (c->kind == CHANGE_COLUMN_NEW)
        catalog__take_column(t, c->column.def.id);
    else if (c->kind == CHANGE_COLUMN)
        catalog__put_column(t, &c->column);
    else if (c->kind == CHANGE_INDEX_NEW || c->kind == CHANGE_INDEX_GONE)
        catalog__publish_indexes(t, c->indexes, c->index_count);
    else if (c->kind == CHANGE_NAME)
        catalog__set_name(t->desc.name, c->name);
    else if (c->kind == CHANGE_DROPPED)
        t->dropped = false;
    os_rwlock_release(&t->desc.lock);
    if (c->kind == CHANGE_INDEX_NEW && c->tree != t->desc.tree)
        (void)!catalog__free_tree(c->tree, trx);
    else if (c->kind == CHANGE_CREATED)
        undo_created(c, trx);
    else if (c->kind == CHANGE_LONGVAL)
        undo_longval(c, trx);
    else if (c->kind == CHANGE_OWNER)
        disown(t, t->dropped ? (const void *)t : NULL);
}

/* ---- commit ---- */

static void committed(struct change_action *c, struct trx *trx)
{
    struct catalog_table *t = c->table;
    if (c->kind == CHANGE_INDEX_NEW) {
        /* Not below our own number; snapshots taken in between only lose the use of the index. */
        uint64_t now = atomic_load(versions_commit_counter(trx->store));
        for (uint32_t i = 0; i < t->desc.index_count; i++)
            if (t->desc.indexes[i].def.objid == c->index_objid)
                atomic_store(&t->desc.indexes[i].created_commit, now);
    } else if (c->kind == CHANGE_CREATED) {
        os_lock_take(&t->cat->lock);
        t->creator = NULL;
        t->desc.exclusive = false;
        for (uint32_t i = 0; i < t->use_count; i++)
            t->desc.exclusive |= t->uses[i].deny_read > 0 || t->uses[i].deny_write > 0;
        os_lock_release(&t->cat->lock);
    } else if (c->kind == CHANGE_OWNER) {
        disown(t, t->dropped ? (const void *)t : NULL);
    }
}

/* No snapshot sees what was dropped. */
static void swept(struct change_action *c, struct trx *trx)
{
    if (!enter(c->cat))
        return;
    if (c->kind == CHANGE_INDEX_GONE) {
        (void)!catalog__free_tree(c->tree, trx);
    } else if (c->kind == CHANGE_DROPPED) {
        catalog__unlink(c->table);
        free_table_space(c->table, trx);
    }
    leave(c->cat);
}

static void run_change(struct trx_action *action, enum trx_event event, struct trx *trx)
{
    struct change_action *c = (struct change_action *)(void *)action;
    if (event == TRX_COMMITTED) {
        committed(c, trx);
        return;
    }
    if (event == TRX_ROLLED_BACK)
        undo(c, trx);
    else if (event == TRX_SWEPT)
        swept(c, trx);
    change_free(c);
}

/* ---- checks ---- */

err_t catalog__check_writable(const struct catalog *cat, const struct trx *trx)
{
    if (cat->db->read_only)
        return RAISE(JET_errDatabaseFileReadOnly);
    if (trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    return trx->read_only ? RAISE(JET_errTransReadOnly) : JET_errSuccess;
}

/* From here to the end of the transaction others do not change the table's rows; statements under
 * way are waited for. */
err_t catalog__own(struct catalog_table *t, struct trx *trx)
{
    struct change_action *c;
    TRY_RETURN(catalog__check_writable(t->cat, trx));
    if ((t->desc.flags & (TABLE_SYSTEM | TABLE_FIXED_DDL | TABLE_TEMPLATE)) != 0 &&
        (t->cat->how & BTREE_UNVERSIONED) == 0 && t->creator != trx)
        return RAISE(JET_errFixedDDL);
    TRY_RETURN(catalog__change_new(t, CHANGE_OWNER, &c));
    os_rwlock_write(&t->desc.lock);
    const void *owner = atomic_load(&t->desc.ddl_owner);
    if (owner == NULL)
        atomic_store(&t->desc.ddl_owner, (const void *)trx);
    os_rwlock_release(&t->desc.lock);
    if (owner == NULL) {
        catalog__change_add(trx, c);
        return JET_errSuccess;
    }
    catalog__change_cancel(c);
    if (owner == trx && !t->dropped)
        return JET_errSuccess;
    err_t err = RAISE(owner == t || t->dropped ? JET_errObjectNotFound : JET_errWriteConflict);
    err_detail("another session is changing table %s of %s", t->desc.name, t->cat->db->path);
    return err;
}

err_t catalog__check_quiet(struct catalog_table *t, struct trx *trx)
{
    if (!version_tree_is_busy(trx->store, trx, t->cat->db->dbid, t->desc.objid))
        return JET_errSuccess;
    err_t err = RAISE(JET_errWriteConflict);
    err_detail("another session changed rows of table %s of %s", t->desc.name, t->cat->db->path);
    return err;
}
