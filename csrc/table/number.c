/* Numbers that a table gives: sequence numbers of records without primary index, autoincrement
 * values (decision 23). They are read from the table once and then counted in memory; a rollback
 * does not take them back. */
#include "table/table_private.h"

static err_t read_sequence(struct table_desc *desc, uint32_t *last)
{
    struct btree_cursor cursor;
    *last = 0;
    btree_cursor_init(&cursor, desc->tree, NULL);
    err_t err = btree_last(&cursor);
    if (err >= 0 && cursor.key.n == 4)
        *last = load_be32(cursor.key.p);
    else if (err >= 0)
        err = RAISE(JET_errDatabaseCorrupted);
    btree_cursor_term(&cursor);
    return err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}

err_t table__next_sequence(struct table_desc *desc, uint32_t *out)
{
    uint32_t now = atomic_load(&desc->sequence_last), base = now;
    if (now == 0)
        TRY_RETURN(read_sequence(desc, &base));
    do {
        if (now != 0)
            base = now;
        if (base == UINT32_MAX)
            return RAISE(JET_errOutOfSequentialIndexValues);
    } while (!atomic_compare_exchange_weak(&desc->sequence_last, &now, base + 1));
    *out = base + 1;
    return JET_errSuccess;
}

/* ---- autoincrement ---- */

static uint64_t number_of(const struct column_def *column, struct slice data)
{
    if (column->coltyp == JET_coltypUnsignedLongLong && data.n == 8)
        return load_u64(data.p);
    if (data.n == 4)
        return (int32_t)load_u32(data.p) > 0 ? load_u32(data.p) : 0;
    return data.n == 8 && (int64_t)load_u64(data.p) > 0 ? load_u64(data.p) : 0;
}

/* The largest value by an index that begins with the column: its last entry, or the first one of a
 * descending one. */
static err_t read_by_index(const struct table_index *index, const struct column_def *column,
                           uint64_t *most)
{
    err_t err = JET_errSuccess;
    struct btree_cursor cursor;
    struct buffer value = {0};
    bool null = false, descending = index->def.segments[0].descending;
    btree_cursor_init(&cursor, index->tree, NULL);
    err = descending ? btree_first(&cursor) : btree_last(&cursor);
    if (err >= 0) {
        struct slice key = buffer_slice(&cursor.key);
        err = key_segment_decode(column, descending, &key, &value, &null);
    }
    if (err >= 0 && !null)
        *most = number_of(column, buffer_slice(&value));
    buffer_free(&value);
    btree_cursor_term(&cursor);
    return err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}

static err_t read_by_scan(struct table_desc *desc, const struct column_def *column, uint64_t *most)
{
    err_t err = JET_errSuccess;
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, desc->tree, NULL);
    for (err = btree_first(&cursor); err >= 0; err = btree_next(&cursor)) {
        struct record_value v;
        err = record_get(&desc->layout, cursor.data, column->id, 1, &v);
        if (err < 0)
            break;
        uint64_t n = v.null ? 0 : number_of(column, v.data);
        *most = n > *most ? n : *most;
    }
    btree_cursor_term(&cursor);
    return err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}

static err_t read_autoincrement(struct table_desc *desc, const struct column_def *column,
                                uint64_t *most)
{
    *most = 0;
    for (uint32_t i = 0; i < desc->index_count; i++) {
        const struct table_index *index = &desc->indexes[i];
        bool whole = (index->def.flags & INDEX_PRIMARY) != 0 ||
                     (index->def.condition_count == 0 && (index->def.flags & INDEX_ANY_NULL) != 0 &&
                      (index->def.flags & INDEX_SORT_NULLS_HIGH) == 0);
        if (whole && !atomic_load(&index->building) && atomic_load(&index->created_commit) == 0 &&
            index->def.segments[0].column == column->id)
            return read_by_index(index, column, most);
    }
    return read_by_scan(desc, column, most);
}

err_t table__next_autoincrement(struct table_desc *desc, uint64_t *out)
{
    const struct column_def *column = record_column(&desc->layout, desc->autoinc_column);
    uint64_t now = atomic_load(&desc->autoinc_last), base = now;
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    uint64_t last = column->coltyp == JET_coltypLong               ? INT32_MAX
                    : column->coltyp == JET_coltypUnsignedLongLong ? UINT64_MAX
                                                                   : INT64_MAX;
    if (now == 0)
        TRY_RETURN(read_autoincrement(desc, column, &base));
    do {
        if (now != 0)
            base = now;
        if (base >= last)
            return RAISE(JET_errOutOfAutoincrementValues);
    } while (!atomic_compare_exchange_weak(&desc->autoinc_last, &now, base + 1));
    *out = base + 1;
    return JET_errSuccess;
}
