/* Tables and indexes go: rows in the transaction, space when no snapshot is left that may read it
 * (decision 20). Renaming. */
#include "catalog/catalog_private.h"

/* ---- rows ---- */

struct row_names {
    struct {
        uint32_t type, id;
    } *list;
    uint32_t n, room;
};

static err_t note_row(void *context, const struct catalog_row *row)
{
    struct row_names *names = context;
    if (names->n == names->room) {
        uint32_t room = names->room == 0 ? 32 : names->room * 2;
        void *grown = realloc(names->list, room * sizeof *names->list);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        names->list = grown;
        names->room = room;
    }
    names->list[names->n].type = row->type;
    names->list[names->n++].id = row->id;
    return JET_errSuccess;
}

static bool has_objid_row(const struct catalog_table *t, uint32_t type, uint32_t id)
{
    return type == ROW_TABLE || type == ROW_LONG_VALUES ||
           (type == ROW_INDEX && id != t->desc.objid);
}

/* Rows that a transaction of our own second number (the long values') or another session committed
 * after our snapshot go too: the claim on the table keeps everybody else away. */
static err_t delete_rows(struct catalog_table *t, struct trx *trx)
{
    err_t err = JET_errSuccess;
    struct row_names names = {0};
    trx->latest = true;
    TRY(catalog__visit_rows(t->cat, trx, t->desc.objid, note_row, &names));
    for (uint32_t i = 0; i < names.n; i++) {
        TRY(catalog__delete_row(t->cat, trx, t->desc.objid, names.list[i].type, names.list[i].id));
        if (has_objid_row(t, names.list[i].type, names.list[i].id))
            TRY(catalog__objid_remove(t->cat, trx, names.list[i].id));
    }
out:
    trx->latest = false;
    free(names.list);
    return err;
}

/* ---- tables ---- */

static err_t drop_in_statement(struct catalog_table *t, struct trx *trx)
{
    struct change_action *c;
    TRY_RETURN(catalog__own(t, trx));
    TRY_RETURN(catalog__check_quiet(t, trx));
    TRY_RETURN(catalog__change_new(t, CHANGE_DROPPED, &c));
    os_lock_take(&t->cat->lock);
    bool in_use = t->use_count > 0;
    if (!in_use)
        t->dropped = true;
    os_lock_release(&t->cat->lock);
    if (in_use) {
        catalog__change_cancel(c);
        return RAISE(JET_errTableInUse);
    }
    catalog__change_add(trx, c);
    return delete_rows(t, trx);
}

static err_t in_statement(struct catalog_table *t, struct trx *trx,
                          err_t (*fn)(struct catalog_table *t, struct trx *trx, void *context),
                          void *context)
{
    struct txn_savepoint sp;
    TRY_RETURN(catalog__check_writable(t->cat, trx));
    TRY_RETURN(txn_statement_begin(trx, &sp));
    return txn_statement_end(trx, t->cat->dbs, &sp, fn(t, trx, context));
}

static err_t drop_fn(struct catalog_table *t, struct trx *trx, void *context)
{
    (void)context;
    return drop_in_statement(t, trx);
}

err_t catalog_drop_table(struct dbfile *db, struct trx *trx, const char *name)
{
    struct table_desc *desc;
    TRY_RETURN(catalog_table(db, trx, name, &desc));
    struct catalog_table *t = catalog_table_of(desc);
    err_t err = JET_errSuccess;
    if ((desc->flags & TABLE_SYSTEM) != 0)
        err = RAISE(JET_errCannotDeleteSystemTable);
    else if ((desc->flags & TABLE_TEMPLATE) != 0)
        err = RAISE(JET_errCannotDeleteTemplateTable);
    else
        err = in_statement(t, trx, drop_fn, NULL);
    catalog_release(desc);
    return err;
}

static err_t rename_fn(struct catalog_table *t, struct trx *trx, void *context)
{
    const char *to = context;
    struct change_action *c;
    struct row_edit edit = {.column = COL_NAME, .data = SLICE(to, strlen(to))};
    TRY_RETURN(catalog__own(t, trx));
    if (catalog__used_by_others(t, trx))
        return RAISE(JET_errTableInUse);
    err_t err = catalog__edit_row(t->cat, trx, t->desc.objid, ROW_TABLE, t->desc.objid, &edit, 1);
    if (err == JET_errKeyDuplicate)
        return RAISE(JET_errTableDuplicate);
    TRY_RETURN(err);
    TRY_RETURN(catalog__change_new(t, CHANGE_NAME, &c));
    catalog__set_name(c->name, t->desc.name);
    os_rwlock_write(&t->desc.lock);
    catalog__set_name(t->desc.name, to);
    os_rwlock_release(&t->desc.lock);
    catalog__change_add(trx, c);
    return JET_errSuccess;
}

err_t catalog_rename_table(struct dbfile *db, struct trx *trx, const char *from, const char *to)
{
    struct table_desc *desc;
    char name[NAME_ROOM];
    TRY_RETURN(catalog__parse_name(to, name));
    TRY_RETURN(catalog_table(db, trx, from, &desc));
    err_t err = in_statement(catalog_table_of(desc), trx, rename_fn, name);
    catalog_release(desc);
    return err;
}

/* ---- indexes ---- */

static err_t drop_index_rows(struct catalog_table *t, struct trx *trx,
                             const struct table_index *index)
{
    TRY_RETURN(catalog__delete_row(t->cat, trx, t->desc.objid, ROW_INDEX, index->def.objid));
    return catalog__objid_remove(t->cat, trx, index->def.objid);
}

static err_t drop_index_fn(struct catalog_table *t, struct trx *trx, void *context)
{
    struct table_desc *desc = &t->desc;
    const char *name = context;
    struct change_action *c;
    uint32_t at = 0;
    TRY_RETURN(catalog__own(t, trx));
    while (at < desc->index_count && !catalog__same_name(desc->indexes[at].name, name))
        at++;
    if (at == desc->index_count)
        return RAISE(JET_errIndexNotFound);
    if ((desc->indexes[at].def.flags & INDEX_PRIMARY) != 0)
        return RAISE(JET_errIndexMustStay);
    if (catalog__used_by_others(t, trx)) {
        err_t err = RAISE(JET_errIndexInUse);
        err_detail("another session has table %s open", desc->name);
        return err;
    }
    TRY_RETURN(drop_index_rows(t, trx, &desc->indexes[at]));
    struct table_index *fewer = catalog__alloc(t, desc->index_count * sizeof *fewer);
    if (fewer == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY_RETURN(catalog__change_new(t, CHANGE_INDEX_GONE, &c));
    c->indexes = desc->indexes;
    c->index_count = desc->index_count;
    c->tree = desc->indexes[at].tree;
    memcpy(fewer, desc->indexes, at * sizeof *fewer);
    memcpy(fewer + at, desc->indexes + at + 1, (desc->index_count - at - 1) * sizeof *fewer);
    os_rwlock_write(&desc->lock);
    catalog__publish_indexes(t, fewer, desc->index_count - 1);
    os_rwlock_release(&desc->lock);
    catalog__change_add(trx, c);
    return JET_errSuccess;
}

err_t catalog_drop_index(struct table_desc *desc, struct trx *trx, const char *name)
{
    char name1252[NAME_ROOM];
    TRY_RETURN(catalog__parse_name(name, name1252));
    return in_statement(catalog_table_of(desc), trx, drop_index_fn, name1252);
}
