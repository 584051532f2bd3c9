/* Rows of MSysObjects in their trees: the table, the indexes Name and RootObjects, the shadow. */
#include "catalog/catalog_private.h"

/* ---- reading ---- */

static err_t read_at(struct catalog *cat, struct trx *trx, struct slice key,
                     struct catalog_row *row)
{
    err_t err = JET_errSuccess;
    struct btree_cursor c;
    bool exact;
    btree_cursor_init(&c, cat->objects, trx);
    TRY(btree_seek(&c, key, SLICE_EMPTY, false, SEEK_EQ, &exact));
    TRY(catalog__decode_row(cat, c.data, row));
out:
    btree_cursor_term(&c);
    return err;
}

err_t catalog__read_row(struct catalog *cat, struct trx *trx, objid_t table, uint32_t type,
                        uint32_t id, struct catalog_row *row)
{
    uint8_t key[ROW_KEY_SIZE];
    catalog__row_key(table, type, id, key);
    return read_at(cat, trx, SLICE(key, ROW_KEY_SIZE), row);
}

/* Without a snapshot the table may be renamed between the two looks: then the name is gone. */
err_t catalog__find_table_row(struct catalog *cat, struct trx *trx, const char *name,
                              struct catalog_row *row)
{
    err_t err = JET_errSuccess;
    struct btree_cursor c;
    uint8_t key[NAME_KEY_ROOM];
    bool exact;
    uint32_t n = catalog__root_key(name, key);
    btree_cursor_init(&c, cat->roots, trx);
    TRY(btree_seek(&c, SLICE(key, n), SLICE_EMPTY, false, SEEK_EQ, &exact));
    if (c.data.n != ROW_KEY_SIZE)
        FAIL(JET_errCatalogCorrupted);
    err = read_at(cat, trx, c.data, row);
    if (err >= 0 && row->type != ROW_TABLE)
        err = RAISE(JET_errCatalogCorrupted);
    else if (err >= 0 && !catalog__same_name(row->name, name))
        err = RAISE(JET_errRecordNotFound);
out:
    btree_cursor_term(&c);
    return err;
}

err_t catalog__visit_rows(struct catalog *cat, struct trx *trx, objid_t table, catalog__row_fn fn,
                          void *context)
{
    err_t err = JET_errSuccess;
    struct btree_cursor c;
    struct catalog_row *row = malloc(sizeof *row);
    uint8_t key[ROW_KEY_SIZE];
    bool exact;
    if (row == NULL)
        return RAISE(JET_errOutOfMemory);
    btree_cursor_init(&c, cat->objects, trx);
    catalog__row_key(table, 0, 0, key);
    err = btree_seek(&c, SLICE(key, table == 0 ? 1 : 5), SLICE_EMPTY, false, SEEK_GE, &exact);
    if (err == JET_errRecordNotFound)
        err = JET_errNoCurrentRecord;
    while (err >= 0) {
        if (table != 0 && (c.key.n < 5 || memcmp(c.key.p, key, 5) != 0))
            break;
        TRY(catalog__decode_row(cat, c.data, row));
        TRY(fn(context, row));
        err = btree_next(&c);
    }
    if (err == JET_errNoCurrentRecord)
        err = JET_errSuccess;
out:
    btree_cursor_term(&c);
    free(row);
    return err;
}

/* ---- writing ---- */

static err_t insert(struct catalog *cat, struct trx *trx, struct btree *tree, struct slice key,
                    struct slice data)
{
    struct btree_cursor c;
    btree_cursor_init(&c, tree, trx);
    err_t err = btree_insert(&c, key, data, cat->how);
    btree_cursor_term(&c);
    return err;
}

static err_t replace(struct catalog *cat, struct trx *trx, struct btree *tree, struct slice key,
                     struct slice data)
{
    struct btree_cursor c;
    btree_cursor_init(&c, tree, trx);
    err_t err = btree_replace(&c, key, data, cat->how);
    btree_cursor_term(&c);
    return err;
}

static err_t delete(struct catalog *cat, struct trx *trx, struct btree *tree, struct slice key)
{
    struct btree_cursor c;
    btree_cursor_init(&c, tree, trx);
    err_t err = btree_delete(&c, key, SLICE_EMPTY, cat->how);
    btree_cursor_term(&c);
    return err;
}

static err_t insert_names(struct catalog *cat, struct trx *trx, const struct catalog_row *row,
                          struct slice primary)
{
    uint8_t key[NAME_KEY_ROOM];
    uint32_t n = catalog__name_key(row->table, row->type, row->name, key);
    TRY_RETURN(insert(cat, trx, cat->names, SLICE(key, n), primary));
    if (!row->is_root)
        return JET_errSuccess;
    n = catalog__root_key(row->name, key);
    return insert(cat, trx, cat->roots, SLICE(key, n), primary);
}

static err_t delete_names(struct catalog *cat, struct trx *trx, const struct catalog_row *row)
{
    uint8_t key[NAME_KEY_ROOM];
    uint32_t n = catalog__name_key(row->table, row->type, row->name, key);
    TRY_RETURN(delete(cat, trx, cat->names, SLICE(key, n)));
    if (!row->is_root)
        return JET_errSuccess;
    n = catalog__root_key(row->name, key);
    return delete(cat, trx, cat->roots, SLICE(key, n));
}

err_t catalog__insert_row(struct catalog *cat, struct trx *trx, const struct catalog_row *row)
{
    err_t err = JET_errSuccess;
    struct buffer record = {0};
    uint8_t bytes[ROW_KEY_SIZE];
    struct slice key = SLICE(bytes, ROW_KEY_SIZE);
    catalog__row_key(row->table, row->type, row->id, bytes);
    TRY(catalog__encode_row(cat, row, &record));
    TRY(insert_names(cat, trx, row, key)); /* first: this is where names meet */
    TRY(insert(cat, trx, cat->objects, key, buffer_slice(&record)));
    if (cat->has_shadow)
        TRY(insert(cat, trx, cat->shadow, key, buffer_slice(&record)));
out:
    buffer_free(&record);
    return err;
}

err_t catalog__delete_row(struct catalog *cat, struct trx *trx, objid_t table, uint32_t type,
                          uint32_t id)
{
    struct catalog_row row;
    uint8_t bytes[ROW_KEY_SIZE];
    struct slice key = SLICE(bytes, ROW_KEY_SIZE);
    catalog__row_key(table, type, id, bytes);
    TRY_RETURN(read_at(cat, trx, key, &row));
    TRY_RETURN(delete(cat, trx, cat->objects, key));
    TRY_RETURN(delete_names(cat, trx, &row));
    return cat->has_shadow ? delete(cat, trx, cat->shadow, key) : JET_errSuccess;
}

static err_t edited_record(struct catalog *cat, struct slice old, const struct row_edit *edits,
                           int count, struct buffer *record)
{
    err_t err = JET_errSuccess;
    struct record_builder *b = NULL;
    TRY(record_builder_create(&cat->layout, &b));
    TRY(record_builder_load(b, old));
    for (int i = 0; i < count; i++)
        TRY(record_builder_set(b, edits[i].column, 1, edits[i].data, edits[i].null));
    TRY(record_builder_pack(b, record));
out:
    record_builder_destroy(b);
    return err;
}

static err_t write_edited(struct catalog *cat, struct trx *trx, struct slice key,
                          struct slice before, struct slice record)
{
    struct catalog_row old, new;
    TRY_RETURN(catalog__decode_row(cat, before, &old));
    TRY_RETURN(catalog__decode_row(cat, record, &new));
    if (strcmp(old.name, new.name) != 0) {
        TRY_RETURN(delete_names(cat, trx, &old));
        TRY_RETURN(insert_names(cat, trx, &new, key));
    }
    TRY_RETURN(replace(cat, trx, cat->objects, key, record));
    return cat->has_shadow ? replace(cat, trx, cat->shadow, key, record) : JET_errSuccess;
}

/* Columns that we know nothing of stay in the row. */
err_t catalog__edit_row(struct catalog *cat, struct trx *trx, objid_t table, uint32_t type,
                        uint32_t id, const struct row_edit *edits, int count)
{
    err_t err = JET_errSuccess;
    struct btree_cursor c;
    struct buffer before = {0}, record = {0};
    uint8_t bytes[ROW_KEY_SIZE];
    struct slice key = SLICE(bytes, ROW_KEY_SIZE);
    bool exact;
    btree_cursor_init(&c, cat->objects, trx);
    catalog__row_key(table, type, id, bytes);
    TRY(btree_seek(&c, key, SLICE_EMPTY, false, SEEK_EQ, &exact));
    TRY(buffer_set(&before, c.data));
    TRY(edited_record(cat, buffer_slice(&before), edits, count, &record));
    TRY(write_edited(cat, trx, key, buffer_slice(&before), buffer_slice(&record)));
out:
    btree_cursor_term(&c);
    buffer_free(&before);
    buffer_free(&record);
    return err;
}
