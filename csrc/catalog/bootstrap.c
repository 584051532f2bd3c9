/* The first pages of a new database (edb-format.md 8): nothing is versioned, since nobody else can
 * see it yet. */
#include "catalog/catalog_private.h"

#define OBJECTS_PAGES 20u
#define SHADOW_PAGES 5u
#define INDEX_PAGES 3u

static err_t make_tree(struct trx *trx, struct btree *parent, objid_t objid, pgno_t root,
                       uint32_t cpg, uint32_t flags)
{
    pgno_t made;
    struct space_tree_want want = {.parent = parent,
                                   .page_flags = flags,
                                   .unique = true,
                                   .objid = objid,
                                   .cpg = cpg,
                                   .multiple = true,
                                   .fixed_root = root};
    return space_create_tree(&want, trx, &made);
}

static err_t make_trees(struct catalog *cat, struct trx *trx, pgno_t pages)
{
    err_t err = JET_errSuccess;
    struct btree *system = NULL, *objects = NULL;
    TRY(space_create_root(cat->db, trx, pages));
    atomic_store(&cat->db->objid_last, ROOTS_OBJID);
    TRY(btree_open(cat->db, SYSTEM_ROOT, &system));
    TRY(make_tree(trx, system, OBJECTS_OBJID, OBJECTS_ROOT, OBJECTS_PAGES, 0));
    TRY(make_tree(trx, system, SHADOW_OBJID, SHADOW_ROOT, SHADOW_PAGES, 0));
    TRY(btree_open(cat->db, OBJECTS_ROOT, &objects));
    TRY(make_tree(trx, objects, NAMES_OBJID, NAMES_ROOT, INDEX_PAGES, PAGE_INDEX));
    TRY(make_tree(trx, objects, ROOTS_OBJID, ROOTS_ROOT, INDEX_PAGES, PAGE_INDEX));
    err = catalog__open_trees(cat);
out:
    btree_close(objects);
    btree_close(system);
    return err;
}

/* ---- the catalog's rows about itself (9.3) ---- */

static err_t add_table_row(struct catalog *cat, struct trx *trx, objid_t objid, const char *name,
                           pgno_t root, uint32_t pages)
{
    struct catalog_row row = {.table = objid,
                              .type = ROW_TABLE,
                              .id = objid,
                              .root_or_coltyp = root,
                              .space_usage = DENSITY_DEFAULT,
                              .flags = TABLE_SYSTEM | TABLE_FIXED_DDL,
                              .pages_or_locale = pages,
                              .is_root = true};
    catalog__set_name(row.name, name);
    return catalog__insert_row(cat, trx, &row);
}

static err_t add_column_rows(struct catalog *cat, struct trx *trx, objid_t objid)
{
    for (uint32_t i = 0; i < catalog__column_count; i++) {
        const struct row_column_def *c = &catalog__columns[i];
        uint32_t size = coltyp_size(c->coltyp);
        struct catalog_row row = {.table = objid,
                                  .type = ROW_COLUMN,
                                  .id = c->id,
                                  .root_or_coltyp = c->coltyp,
                                  .space_usage = size != 0                   ? size
                                                 : coltyp_is_long(c->coltyp) ? 0
                                                                             : BYTES_255,
                                  .flags = c->not_null ? COLUMN_NOT_NULL : 0,
                                  .pages_or_locale = 1252,
                                  .has_offset = c->id <= COLID_FIXED_LAST,
                                  .record_offset = 4};
        if (!c->at_update_20)
            continue;
        catalog__set_name(row.name, c->name);
        TRY_RETURN(catalog__insert_row(cat, trx, &row));
    }
    return JET_errSuccess;
}

struct own_index {
    objid_t table, objid;
    pgno_t root;
    const char *name;
    uint32_t flags;
    uint8_t columns[3];
    uint8_t column_count;
};

static err_t add_index_row(struct catalog *cat, struct trx *trx, const struct own_index *index)
{
    struct catalog_row row = {.table = index->table,
                              .type = ROW_INDEX,
                              .id = index->objid,
                              .root_or_coltyp = index->root,
                              .space_usage = DENSITY_DEFAULT,
                              .flags = index->flags,
                              .has_lcmap = true,
                              .lcmap_flags = LCMAP_DEFAULT,
                              .locale = LOCALE_DEFAULT};
    catalog__set_name(row.name, index->name);
    for (int i = 0; i < index->column_count; i++) {
        store_u16(row.key_ids + row.key_ids_n + 2, index->columns[i]);
        row.key_ids_n += 4;
    }
    return catalog__insert_row(cat, trx, &row);
}

static err_t add_own_rows(struct catalog *cat, struct trx *trx)
{
    static const struct own_index indexes[] = {
        {OBJECTS_OBJID,
         OBJECTS_OBJID,
         OBJECTS_ROOT,
         "Id",
         0x10031,
         {COL_TABLE, COL_TYPE, COL_ID},
         3},
        {OBJECTS_OBJID,
         NAMES_OBJID,
         NAMES_ROOT,
         "Name",
         0x10011,
         {COL_TABLE, COL_TYPE, COL_NAME},
         3},
        {OBJECTS_OBJID,
         ROOTS_OBJID,
         ROOTS_ROOT,
         "RootObjects",
         0x10009,
         {COL_ROOT_FLAG, COL_NAME},
         2},
        {SHADOW_OBJID, SHADOW_OBJID, SHADOW_ROOT, "Id", 0x10031, {COL_TABLE, COL_TYPE, COL_ID}, 3},
    };
    TRY_RETURN(add_table_row(cat, trx, OBJECTS_OBJID, "MSysObjects", OBJECTS_ROOT, OBJECTS_PAGES));
    TRY_RETURN(add_column_rows(cat, trx, OBJECTS_OBJID));
    for (int i = 0; i < 3; i++)
        TRY_RETURN(add_index_row(cat, trx, &indexes[i]));
    TRY_RETURN(
        add_table_row(cat, trx, SHADOW_OBJID, "MSysObjectsShadow", SHADOW_ROOT, SHADOW_PAGES));
    TRY_RETURN(add_column_rows(cat, trx, SHADOW_OBJID));
    return add_index_row(cat, trx, &indexes[3]);
}

static err_t commit_rows(struct catalog *cat, struct trx *trx)
{
    TRY_RETURN(txn_begin(trx, false));
    err_t err = add_own_rows(cat, trx);
    if (err >= 0)
        err = txn_commit(trx, TXN_LAZY);
    if (err >= 0)
        return JET_errSuccess;
    err_t undone = trx->level > 0 ? txn_rollback(trx, cat->dbs, 0) : JET_errSuccess;
    return undone < 0 ? undone : err;
}

err_t catalog_bootstrap(struct dbfile *db, struct trx *trx, const struct txn_databases *dbs,
                        pgno_t pages)
{
    err_t err = JET_errSuccess;
    struct catalog *cat;
    if (pages <= LOCALES_ROOT)
        return RAISE(JET_errInvalidParameter);
    TRY_RETURN(catalog__create(db, (struct txn_databases *)(uintptr_t)dbs, NULL, &cat));
    db->catalog = cat;
    cat->how = BTREE_UNVERSIONED;
    for (uint32_t i = 0; i < catalog__column_count; i++)
        if (!catalog__columns[i].at_update_20 && catalog__columns[i].id <= COLID_FIXED_LAST)
            cat->fixed[catalog__columns[i].id - COLID_FIXED_FIRST].id = 0;
    TRY(make_trees(cat, trx, pages));
    TRY(commit_rows(cat, trx));
    TRY(catalog__add_system_tables(cat, trx, true));
out:
    catalog_close(db);
    return err;
}
