/* New tables, and the tree of long values that a table gets with its first separated value. */
#include "catalog/catalog_private.h"

static err_t register_table(struct catalog *cat, struct trx *trx, const struct catalog_row *row,
                            struct catalog_table **out)
{
    err_t err = JET_errSuccess;
    struct catalog_table *t = NULL;
    struct change_action *c = NULL;
    *out = NULL;
    TRY_RETURN(catalog__table_new(cat, row, &t));
    t->desc.refs = 1;
    t->creator = trx;
    t->desc.exclusive = true;
    catalog__link(t);
    TRY(catalog__change_new(t, CHANGE_CREATED, &c));
    catalog__change_add(trx, c);
    *out = t;
    return JET_errSuccess;
out:
    catalog__unlink(t);
    catalog_release(&t->desc);
    return err;
}

/* The tree comes first, unversioned; from the moment it is there an action takes it back. */
err_t catalog__make_table(struct catalog *cat, struct trx *trx, const struct table_parts *parts,
                          struct catalog_table **out)
{
    struct catalog_row row = {.table = parts->objid,
                              .type = ROW_TABLE,
                              .id = parts->objid,
                              .space_usage = parts->density,
                              .flags = parts->flags,
                              .pages_or_locale = parts->pages,
                              .is_root = true};
    struct space_tree_want want = {.parent = cat->system,
                                   .unique = true,
                                   .objid = parts->objid,
                                   .cpg = parts->pages > 1 ? parts->pages : 1,
                                   .multiple = parts->pages >= 3,
                                   .fixed_root = parts->fixed_root};
    *out = NULL;
    catalog__set_name(row.name, parts->name);
    TRY_RETURN(space_create_tree(&want, trx, &row.root_or_coltyp));
    err_t err = register_table(cat, trx, &row, out);
    if (err < 0)
        return catalog__give_up_tree(cat->db, trx, row.root_or_coltyp, err);
    err = catalog__own(*out, trx);
    if (err >= 0)
        err = catalog__insert_row(cat, trx, &row);
    if (err >= 0)
        err = catalog__objid_add(cat, trx, parts->objid, parts->objid, ROW_TABLE);
    if (err < 0) {
        catalog_release(&(*out)->desc);
        *out = NULL;
    }
    return err == JET_errKeyDuplicate ? RAISE(JET_errTableDuplicate) : err;
}

static err_t check_new_name(struct catalog *cat, struct trx *trx, const char *name)
{
    struct catalog_row row;
    err_t err = catalog__find_table_row(cat, trx, name, &row);
    if (err == JET_errRecordNotFound)
        return JET_errSuccess;
    TRY_RETURN(err);
    err = RAISE(JET_errTableDuplicate);
    err_detail("table %s of %s", name, cat->db->path);
    return err;
}

err_t catalog_create_table(struct dbfile *db, struct trx *trx, const char *name, uint32_t pages,
                           uint32_t density, struct table_desc **out)
{
    struct catalog *cat = catalog_of(db);
    struct catalog_table *t = NULL;
    struct txn_savepoint sp;
    char name1252[NAME_ROOM];
    *out = NULL;
    TRY_RETURN(catalog__check_writable(cat, trx));
    TRY_RETURN(catalog__parse_name(name, name1252));
    if (density == 0)
        density = DENSITY_DEFAULT;
    if (density < 20 || density > 100)
        return RAISE(JET_errDensityInvalid);
    TRY_RETURN(check_new_name(cat, trx, name1252));
    struct table_parts parts = {
        .name = name1252, .density = density, .pages = pages, .objid = space_new_objid(db)};
    TRY_RETURN(txn_statement_begin(trx, &sp));
    err_t err = catalog__make_table(cat, trx, &parts, &t);
    err = txn_statement_end(trx, cat->dbs, &sp, err);
    if (err >= 0)
        *out = &t->desc;
    return err;
}

/* ---- long values ---- */

static err_t create_longval_rows(struct catalog_table *t, struct trx *trx,
                                 const struct catalog_row *row)
{
    TRY_RETURN(catalog__insert_row(t->cat, trx, row));
    return catalog__objid_add(t->cat, trx, row->id, t->desc.objid, ROW_LONG_VALUES);
}

/* In `trx`; the tree is the description's at once. */
static err_t make_longval(struct catalog_table *t, struct trx *trx)
{
    struct catalog_row row = {.table = t->desc.objid,
                              .type = ROW_LONG_VALUES,
                              .id = space_new_objid(t->cat->db),
                              .space_usage = 100,
                              .pages_or_locale = 1,
                              .name = "LV"};
    struct space_tree_want want = {.parent = t->desc.tree,
                                   .page_flags = PAGE_LONG_VALUE,
                                   .unique = true,
                                   .objid = row.id,
                                   .cpg = 1};
    struct change_action *c;
    struct btree *tree;
    TRY_RETURN(catalog__change_new(t, CHANGE_LONGVAL, &c));
    err_t err = space_create_tree(&want, trx, &row.root_or_coltyp);
    if (err >= 0) {
        err = btree_open(t->cat->db, row.root_or_coltyp, &tree);
        if (err < 0)
            err = catalog__give_up_tree(t->cat->db, trx, row.root_or_coltyp, err);
    }
    if (err < 0) {
        catalog__change_cancel(c);
        return err;
    }
    c->tree = tree;
    catalog__change_add(trx, c);
    TRY_RETURN(create_longval_rows(t, trx, &row));
    __atomic_store_n(&t->desc.longval_tree, tree, __ATOMIC_RELEASE);
    return JET_errSuccess;
}

/* The rows belong to the user's transaction while the table itself is uncommitted: both go or stay.
 */
static err_t make_longval_with_table(struct catalog_table *t, struct trx *trx)
{
    struct txn_savepoint sp;
    TRY_RETURN(txn_statement_begin(trx, &sp));
    return txn_statement_end(trx, t->cat->dbs, &sp, make_longval(t, trx));
}

/* Else they are committed at once, in a transaction of the session's second number: others use the
 * tree from now on. */
static err_t make_longval_alone(struct catalog_table *t, struct trx *trx)
{
    struct trx own;
    struct trx *inner = trx->inner;
    lgpos_t end;
    ASSERT(inner != NULL && inner->level == 0);
    trx_init(&own, trx->store, trx->log, inner->procid, false, NULL);
    err_t err = trx_begin(&own);
    if (err >= 0) {
        err = make_longval(t, &own);
        if (err >= 0)
            err = trx_commit(&own, &end);
        if (err < 0) {
            err_t undone = txn_rollback(&own, t->cat->dbs, 0);
            err = undone < 0 ? undone : err;
        }
    }
    trx_term(&own);
    return err;
}

err_t catalog__longval_tree(void *context, struct trx *trx, bool create, struct btree **tree)
{
    struct catalog_table *t = context;
    err_t err = JET_errSuccess;
    *tree = __atomic_load_n(&t->desc.longval_tree, __ATOMIC_ACQUIRE);
    if (*tree != NULL || !create)
        return JET_errSuccess;
    TRY_RETURN(catalog__check_writable(t->cat, trx));
    /* One maker at a time; a ranked lock would stand across I/O and below desc->lock. */
    uint32_t idle = 0;
    while (!atomic_compare_exchange_strong(&t->longval_busy, &idle, 1)) {
        os_park(&t->longval_busy, 1);
        idle = 0;
    }
    if (__atomic_load_n(&t->desc.longval_tree, __ATOMIC_ACQUIRE) == NULL)
        err = t->creator == trx || trx->inner == NULL ? make_longval_with_table(t, trx)
                                                      : make_longval_alone(t, trx);
    atomic_store(&t->longval_busy, 0);
    os_unpark(&t->longval_busy, INT32_MAX);
    *tree = __atomic_load_n(&t->desc.longval_tree, __ATOMIC_ACQUIRE);
    return err;
}
