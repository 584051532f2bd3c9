/* Keys of records, and the entries of secondary indexes. */
#include "table/table_private.h"

/* No key looks at more bytes of a long value: two bytes of text give at least one of a key. */
#define KEY_SOURCE_MOST (4 * KEY_SIZE_MOST)

struct record_source {
    struct table_desc *desc;
    struct trx *trx;
    struct slice record;
    struct buffer scratch;
};

static err_t source_value(void *context, colid_t id, uint32_t sequence, struct slice *data,
                          bool *null)
{
    struct record_source *s = context;
    struct record_value v;
    *data = SLICE_EMPTY;
    TRY_RETURN(record_get(&s->desc->layout, s->record, id, sequence, &v));
    *null = v.null;
    return v.null ? JET_errSuccess
                  : table__whole_value(s->desc, s->trx, &v, KEY_SOURCE_MOST, &s->scratch, data);
}

static err_t source_count(void *context, colid_t id, uint32_t *count)
{
    struct record_source *s = context;
    return record_count_values(&s->desc->layout, s->record, id, count);
}

/* ---- key sets ---- */

void key_set__term(struct key_set *set)
{
    buffer_free(&set->bytes);
    free(set->at);
    *set = (struct key_set){0};
}

static bool contains(const struct key_set *set, struct slice key)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (slice_equal(key_set__key(set, i), key))
            return true;
    return false;
}

static err_t add_key(struct key_set *set, struct slice key, uint32_t entry)
{
    if (contains(set, key))
        return JET_errSuccess;
    if (set->count + 1 >= set->room) {
        uint32_t room = set->room == 0 ? 8 : 2 * set->room;
        void *at = realloc(set->at, room * sizeof *set->at);
        if (at == NULL)
            return RAISE(JET_errOutOfMemory);
        set->at = at;
        set->room = room;
    }
    set->at[set->count].offset = set->bytes.n;
    set->at[set->count].entry = entry;
    TRY_RETURN(buffer_append(&set->bytes, key));
    set->at[++set->count].offset = set->bytes.n;
    return JET_errSuccess;
}

err_t key_set__collect(struct table_desc *desc, const struct index_def *def, struct trx *trx,
                       struct slice record, struct key_set *set)
{
    err_t err = JET_errSuccess;
    struct record_source s = {.desc = desc, .trx = trx, .record = record};
    struct key_source source = {&s, source_value, source_count};
    uint8_t key[KEY_SIZE_MOST];
    enum key_result result = KEY_MADE;
    for (uint32_t entry = 0; result != KEY_END; entry++) {
        uint32_t n = 0;
        TRY(key_make(&desc->layout, def, &source, entry, key, &n, &result));
        if (result == KEY_MADE)
            TRY(add_key(set, SLICE(key, n), entry));
    }
out:
    buffer_free(&s.scratch);
    return err;
}

err_t table_entries(struct table_desc *desc, const struct table_index *index, struct trx *trx,
                    struct slice record, table_entry_fn fn, void *context)
{
    err_t err = JET_errSuccess;
    struct key_set set = {0};
    TRY(key_set__collect(desc, &index->def, trx, record, &set));
    for (uint32_t i = 0; i < set.count; i++)
        TRY(fn(context, key_set__key(&set, i)));
out:
    key_set__term(&set);
    return err;
}

err_t table__key_of_value(struct table_desc *desc, const struct index_def *def, struct trx *trx,
                          struct slice record, uint32_t sequence, uint8_t *key, uint32_t *n)
{
    struct record_source s = {.desc = desc, .trx = trx, .record = record};
    struct key_source source = {&s, source_value, source_count};
    enum key_result result;
    err_t err = key_make(&desc->layout, def, &source, sequence - 1, key, n, &result);
    buffer_free(&s.scratch);
    if (err >= 0 && result != KEY_MADE)
        err = RAISE(JET_errNoCurrentRecord);
    return err;
}

err_t table__primary_key(struct table_desc *desc, struct trx *trx, struct slice record,
                         uint8_t *key, uint32_t *n)
{
    struct record_source s = {.desc = desc, .trx = trx, .record = record};
    struct key_source source = {&s, source_value, source_count};
    enum key_result result;
    err_t err = key_make(&desc->layout, &desc->primary->def, &source, 0, key, n, &result);
    buffer_free(&s.scratch);
    if (err >= 0 && result != KEY_MADE)
        err = RAISE(JET_errNullKeyDisallowed);
    return err;
}

/* ---- entries in step with records ---- */

bool table__index_has_column(const struct index_def *def, colid_t id)
{
    for (uint32_t i = 0; i < def->segment_count; i++)
        if (def->segments[i].column == id)
            return true;
    for (uint32_t i = 0; i < def->condition_count; i++)
        if (def->conditions[i].column == id)
            return true;
    return false;
}

static bool is_touched(const struct index_def *def, const struct record_builder *builder)
{
    for (uint32_t i = 0; i < def->segment_count; i++)
        if (record_builder_changed(builder, def->segments[i].column))
            return true;
    for (uint32_t i = 0; i < def->condition_count; i++)
        if (record_builder_changed(builder, def->conditions[i].column))
            return true;
    return false;
}

/* Old entries first: the new ones of a unique index may be theirs. */
static err_t change_entries(struct btree *tree, struct trx *trx, const struct key_set *old,
                            const struct key_set *new_set, struct slice bookmark)
{
    err_t err = JET_errSuccess;
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, tree, trx);
    for (uint32_t i = 0; i < old->count; i++) {
        struct slice key = key_set__key(old, i);
        if (contains(new_set, key))
            continue;
        err = btree_delete(&cursor, key, tree->unique ? SLICE_EMPTY : bookmark, BTREE_PLAIN);
        if (err == JET_errRecordDeleted) {
            err = RAISE(JET_errSecondaryIndexCorrupted);
            err_detail("the index with root %u lacks the entry of a record", tree->root);
        }
        TRY(err);
    }
    for (uint32_t i = 0; i < new_set->count; i++) {
        struct slice key = key_set__key(new_set, i);
        if (!contains(old, key))
            TRY(btree_insert(&cursor, key, bookmark, BTREE_PLAIN));
    }
out:
    btree_cursor_term(&cursor);
    return err;
}

static err_t update_index(struct table_desc *desc, const struct table_index *index, struct trx *trx,
                          struct slice old, struct slice new_record, struct slice bookmark)
{
    err_t err = JET_errSuccess;
    struct key_set was = {0}, is = {0};
    if (old.n != 0)
        TRY(key_set__collect(desc, &index->def, trx, old, &was));
    if (new_record.n != 0)
        TRY(key_set__collect(desc, &index->def, trx, new_record, &is));
    TRY(change_entries(index->tree, trx, &was, &is, bookmark));
out:
    key_set__term(&was);
    key_set__term(&is);
    return err;
}

err_t table__update_indexes(struct table_desc *desc, struct trx *trx, struct slice old,
                            struct slice new_record, struct slice bookmark,
                            const struct record_builder *builder)
{
    for (uint32_t i = 0; i < desc->index_count; i++) {
        const struct table_index *index = &desc->indexes[i];
        if (index == desc->primary || (builder != NULL && !is_touched(&index->def, builder)))
            continue;
        err_t err = update_index(desc, index, trx, old, new_record, bookmark);
        if (err == JET_errKeyDuplicate)
            err_detail("index %s of table %s", index->name, desc->name);
        TRY_RETURN(err);
    }
    return JET_errSuccess;
}
