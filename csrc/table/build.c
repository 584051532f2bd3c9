/* Filling a new index from the table's rows: sorted first, then appended to a tree that nobody else
 * sees. The caller keeps other updates away and has seen that none is uncommitted or newer than
 * trx's snapshot (version_tree_is_busy); older snapshots do not see the index (created_commit). */
#include "table/table_private.h"

#define BUILD_SORT_MEMORY (32u << 20)
#define BATCH 64

struct build {
    struct sort *sort;
    struct slice bookmark;
};

static err_t add_entry(void *context, struct slice key)
{
    struct build *b = context;
    return sort_add(b->sort, key, b->bookmark);
}

static err_t collect(struct table_desc *desc, const struct table_index *index, struct trx *trx,
                     struct build *b)
{
    err_t err = JET_errSuccess;
    struct btree_cursor cursor;
    struct btree_row rows[BATCH];
    int count = 1;
    btree_cursor_init(&cursor, desc->tree, trx);
    err = btree_first(&cursor);
    while (err >= 0 && count > 0) {
        TRY(btree_next_batch(&cursor, rows, BATCH, &count));
        for (int i = 0; i < count; i++) {
            b->bookmark = rows[i].key;
            TRY(table_entries(desc, index, trx, rows[i].data, add_entry, b));
        }
        if (count > 0)
            err = btree_next(&cursor);
    }
    err = err == JET_errNoCurrentRecord ? JET_errSuccess : err;
out:
    btree_cursor_term(&cursor);
    return err;
}

static err_t fill(const struct table_desc *desc, struct table_index *index, struct trx *trx,
                  struct sort *sort)
{
    err_t err = JET_errSuccess;
    struct btree_cursor cursor;
    struct buffer before = {0};
    bool end = false, first = true;
    btree_cursor_init(&cursor, index->tree, trx);
    for (;;) {
        struct slice key, data;
        TRY(sort_next(sort, &key, &data, &end));
        if (end)
            break;
        if (index->tree->unique && !first && slice_equal(key, buffer_slice(&before))) {
            err = RAISE(JET_errKeyDuplicate);
            err_detail("index %s of table %s", index->name, desc->name);
            goto out;
        }
        first = false;
        TRY(buffer_set(&before, key));
        TRY(btree_insert(&cursor, key, data, BTREE_UNVERSIONED | BTREE_APPEND));
    }
out:
    buffer_free(&before);
    btree_cursor_term(&cursor);
    return err;
}

err_t table_build_index(struct table_desc *desc, struct table_index *index, struct trx *trx,
                        const char *temp_dir)
{
    err_t err = JET_errSuccess;
    struct sort_config config = {
        .memory_max = BUILD_SORT_MEMORY, .temp_dir = temp_dir, .with_data = true};
    struct build b = {0};
    TRY(sort_create(&config, &b.sort));
    TRY(collect(desc, index, trx, &b));
    TRY(sort_finish(b.sort));
    TRY(fill(desc, index, trx, b.sort));
out:
    sort_destroy(b.sort);
    return err;
}
