/* MSysObjids: one row for each tree. MSysLocales: a small store of names and numbers that newer
 * engines look for. */
#include "catalog/catalog_private.h"

/* ---- rows of MSysObjids ---- */

static void objid_key(objid_t objid, uint8_t key[5])
{
    key[0] = 0x7F;
    store_be32(key + 1, objid ^ 0x80000000u);
}

static err_t set_objid_row(struct record_builder *b, objid_t objid, objid_t table, uint32_t type)
{
    uint8_t bytes[10];
    store_u32(bytes, objid);
    store_u32(bytes + 4, table);
    store_u16(bytes + 8, (uint16_t)type);
    TRY_RETURN(record_builder_set(b, 256, 1, SLICE(bytes, 4), false));
    TRY_RETURN(record_builder_set(b, 257, 1, SLICE(bytes + 4, 4), false));
    return record_builder_set(b, 258, 1, SLICE(bytes + 8, 2), false);
}

err_t catalog__objid_add(struct catalog *cat, struct trx *trx, objid_t objid, objid_t table,
                         enum row_type type)
{
    err_t err = JET_errSuccess;
    struct record_builder *b = NULL;
    struct buffer record = {0};
    struct btree_cursor c;
    uint8_t key[5];
    if (cat->objids == NULL)
        return JET_errSuccess;
    btree_cursor_init(&c, cat->objids->tree, trx);
    objid_key(objid, key);
    TRY(record_builder_create(&cat->objids->layout, &b));
    TRY(set_objid_row(b, objid, table, type));
    TRY(record_builder_pack(b, &record));
    err = btree_insert(&c, SLICE(key, 5), buffer_slice(&record), cat->how);
    if (err == JET_errKeyDuplicate) /* an object number twice */
        err = RAISE(JET_errCatalogCorrupted);
out:
    btree_cursor_term(&c);
    record_builder_destroy(b);
    buffer_free(&record);
    return err;
}

/* Older engines may have left the row out. */
err_t catalog__objid_remove(struct catalog *cat, struct trx *trx, objid_t objid)
{
    struct btree_cursor c;
    uint8_t key[5];
    if (cat->objids == NULL)
        return JET_errSuccess;
    btree_cursor_init(&c, cat->objids->tree, trx);
    objid_key(objid, key);
    err_t err = btree_delete(&c, SLICE(key, 5), SLICE_EMPTY, cat->how);
    btree_cursor_term(&c);
    return err == JET_errRecordDeleted ? JET_errSuccess : err;
}

/* ---- system tables ---- */

struct system_column {
    colid_t id;
    uint32_t coltyp, flags;
    const char *name;
};
struct system_table {
    struct table_parts parts;
    const struct system_column *columns;
    int column_count;
    const char *index;
    uint32_t index_flags;
    colid_t key;
};

static const struct system_column objids_columns[] = {
    {256, JET_coltypLong, 0, "objid"},
    {257, JET_coltypLong, 0, "objidTable"},
    {258, JET_coltypShort, 0, "type"},
};
static const struct system_column locales_columns[] = {
    {1, JET_coltypUnsignedByte, COLUMN_NOT_NULL, "Type"},
    {2, JET_coltypLong, COLUMN_ESCROW | COLUMN_HAS_DEFAULT, "iValue"},
    {128, JET_coltypBinary, 0, "Key"},
};

static err_t make_columns(struct catalog_table *t, struct trx *trx, const struct system_table *want)
{
    static const uint8_t zero[4];
    for (int i = 0; i < want->column_count; i++) {
        const struct system_column *c = &want->columns[i];
        struct table_column column = {0};
        uint32_t size = coltyp_size(c->coltyp);
        catalog__set_name(column.name, c->name);
        column.def = (struct column_def){.id = c->id,
                                         .coltyp = c->coltyp,
                                         .flags = c->flags,
                                         .cb_max = size != 0 ? size : BYTES_255};
        if (c->id <= COLID_FIXED_LAST)
            column.def.record_offset = (uint16_t)catalog__fixed_end(t);
        if ((c->flags & COLUMN_HAS_DEFAULT) != 0)
            column.def.default_value = SLICE(zero, size);
        TRY_RETURN(catalog__make_column(t, trx, &column));
    }
    return JET_errSuccess;
}

static err_t make_system_table(struct catalog *cat, struct trx *trx,
                               const struct system_table *want, struct catalog_table **out)
{
    struct catalog_row index = {.table = want->parts.objid,
                                .type = ROW_INDEX,
                                .space_usage = want->parts.density,
                                .flags = want->index_flags,
                                .has_lcmap = true,
                                .lcmap_flags = LCMAP_DEFAULT,
                                .locale = LOCALE_DEFAULT,
                                .key_ids_n = 4};
    store_u16(index.key_ids + 2, (uint16_t)want->key);
    catalog__set_name(index.name, want->index);
    TRY_RETURN(catalog__make_table(cat, trx, &want->parts, out));
    err_t err = make_columns(*out, trx, want);
    if (err >= 0)
        err = catalog__make_index(*out, trx, &index);
    if (err < 0) {
        catalog_release(&(*out)->desc);
        *out = NULL;
    }
    return err;
}

struct objid_lister {
    struct catalog *cat;
    struct trx *trx;
};

static err_t add_objid_of_row(void *context, const struct catalog_row *row)
{
    const struct objid_lister *l = context;
    bool has_tree = row->type == ROW_TABLE || row->type == ROW_LONG_VALUES ||
                    (row->type == ROW_INDEX && row->id != row->table);
    return has_tree ? catalog__objid_add(l->cat, l->trx, row->id, row->table, row->type)
                    : JET_errSuccess;
}

static err_t add_objids_table(struct catalog *cat, struct trx *trx, bool fixed_root)
{
    struct catalog_table *t;
    struct objid_lister lister = {cat, trx};
    const struct system_table want = {
        .parts = {.name = "MSysObjids",
                  .flags = TABLE_SYSTEM | TABLE_FIXED_DDL | TABLE_DYNAMIC,
                  .density = 100,
                  .objid = space_new_objid(cat->db),
                  .fixed_root = fixed_root ? OBJIDS_ROOT : 0},
        .columns = objids_columns,
        .column_count = 3,
        .index = "primary",
        .index_flags = 0x1002F,
        .key = 256};
    TRY_RETURN(make_system_table(cat, trx, &want, &t));
    cat->objids = &t->desc;
    return catalog__visit_rows(cat, trx, 0, add_objid_of_row, &lister);
}

/* ---- MSysLocales ---- */

static err_t add_local(struct catalog *cat, struct trx *trx, struct table_desc *desc,
                       const char *name, uint8_t type, uint32_t value)
{
    err_t err = JET_errSuccess;
    struct record_builder *b = NULL;
    struct buffer record = {0};
    struct btree_cursor c;
    uint8_t utf16[BYTES_255 + 1], number[4], key[KEY_SIZE_MOST];
    uint32_t n = 2 * (uint32_t)(strlen(name) + 1), size = 0;
    bool truncated;
    for (uint32_t i = 0; i < n / 2; i++)
        store_u16(utf16 + 2 * i, (uint16_t)(unsigned char)name[i]);
    store_u32(number, value);
    btree_cursor_init(&c, desc->tree, trx);
    TRY(record_builder_create(&desc->layout, &b));
    TRY(record_builder_set(b, 1, 1, SLICE(&type, 1), false));
    TRY(record_builder_set(b, 2, 1, SLICE(number, 4), false));
    TRY(record_builder_set(b, 128, 1, SLICE(utf16, n), false));
    TRY(record_builder_pack(b, &record));
    TRY(key_segment(record_column(&desc->layout, 128), &desc->primary->def, false, SLICE(utf16, n),
                    false, false, key, &size, KEY_MOST_DEFAULT, &truncated));
    TRY(btree_insert(&c, SLICE(key, size), buffer_slice(&record), cat->how));
out:
    btree_cursor_term(&c);
    record_builder_destroy(b);
    buffer_free(&record);
    return err;
}

static err_t add_locales_table(struct catalog *cat, struct trx *trx, bool fixed_root)
{
    static const struct {
        const char *name;
        uint8_t type;
        uint32_t value;
    } rows[] = {
        {".Schema\\External\\Major", 1, 1},  {".Schema\\External\\Minor", 1, 0},
        {".Schema\\External\\Update", 1, 0}, {".Schema\\Internal\\Major", 1, 1},
        {".Schema\\Internal\\Minor", 1, 0},  {".Schema\\Internal\\Update", 1, 0},
        {"MSysLocalesConsistent", 2, 1},
    };
    struct catalog_table *t;
    const struct system_table want = {.parts = {.name = "MSysLocales",
                                                .flags = TABLE_SYSTEM | TABLE_DYNAMIC,
                                                .density = 92,
                                                .objid = space_new_objid(cat->db),
                                                .fixed_root = fixed_root ? LOCALES_ROOT : 0},
                                      .columns = locales_columns,
                                      .column_count = 3,
                                      .index = "KeyPrimary",
                                      .index_flags = 0x1402F,
                                      .key = 128};
    TRY_RETURN(make_system_table(cat, trx, &want, &t));
    err_t err = JET_errSuccess;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && err >= 0; i++)
        err = add_local(cat, trx, &t->desc, rows[i].name, rows[i].type, rows[i].value);
    catalog_release(&t->desc);
    return err;
}

static err_t is_missing(struct catalog *cat, struct trx *trx, const char *name, bool *missing)
{
    struct catalog_row row;
    err_t err = catalog__find_table_row(cat, trx, name, &row);
    *missing = err == JET_errRecordNotFound;
    return *missing ? JET_errSuccess : err;
}

static err_t add_missing(struct catalog *cat, struct trx *trx, bool fixed_root, bool no_locales)
{
    if (cat->objids == NULL)
        TRY_RETURN(add_objids_table(cat, trx, fixed_root));
    return no_locales ? add_locales_table(cat, trx, fixed_root) : JET_errSuccess;
}

err_t catalog__add_system_tables(struct catalog *cat, struct trx *trx, bool fixed_root)
{
    bool no_locales;
    TRY_RETURN(is_missing(cat, trx, "MSysLocales", &no_locales));
    if (cat->objids != NULL && !no_locales)
        return JET_errSuccess;
    TRY_RETURN(txn_begin(trx, false));
    struct table_desc *had = cat->objids;
    err_t err = add_missing(cat, trx, fixed_root, no_locales);
    if (err >= 0)
        err = txn_commit(trx, TXN_LAZY);
    if (err < 0) {
        if (cat->objids != had)
            catalog_release(cat->objids);
        cat->objids = had;
        err_t undone = txn_rollback(trx, cat->dbs, 1);
        return undone < 0 ? undone : err;
    }
    return JET_errSuccess;
}
