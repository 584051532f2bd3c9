/* Reading columns: of the current record, of the copy buffer, of a record handed out, or out of the
 * index entry. */
#include "table/table_private.h"

/* ---- one value ---- */

/* The size is a claim of the file: memory follows what has been read, a piece at a time. */
#define PIECE_BYTES (1u << 20)

static err_t read_separated(struct table_desc *desc, struct trx *trx, struct slice reference,
                            uint32_t most, struct buffer *scratch)
{
    struct longval_id id;
    uint32_t size, refs, got;
    TRY_RETURN(longval_id_from_record(reference, &id));
    TRY_RETURN(longval_size(&desc->longval, trx, id, &size, &refs));
    if (size > most)
        size = most;
    scratch->n = 0;
    while (scratch->n < size) {
        uint32_t most_now = scratch->n < PIECE_BYTES ? PIECE_BYTES : scratch->n;
        uint32_t n = size - scratch->n < most_now ? size - scratch->n : most_now;
        TRY_RETURN(buffer_reserve(scratch, scratch->n + n));
        TRY_RETURN(longval_read(&desc->longval, trx, id, scratch->n, scratch->p + scratch->n, n, &got));
        scratch->n += got;
        if (got < n) /* without a snapshot it may have become shorter */
            break;
    }
    return JET_errSuccess;
}

err_t table__whole_value(struct table_desc *desc, struct trx *trx, const struct record_value *v,
                         uint32_t most, struct buffer *scratch, struct slice *data)
{
    *data = v->data;
    if (v->null || (!v->separated && !v->compressed))
        return JET_errSuccess;
    scratch->n = 0;
    if (v->separated)
        TRY_RETURN(read_separated(desc, trx, v->data, most, scratch));
    else
        TRY_RETURN(record_decompress(v->data, scratch));
    *data = buffer_slice(scratch);
    return JET_errSuccess;
}

static err_t copy_out(struct slice data, uint32_t offset, void *to, uint32_t room, uint32_t *actual)
{
    *actual = offset < data.n ? data.n - offset : 0;
    uint32_t n = *actual < room ? *actual : room;
    if (n != 0)
        memcpy(to, data.p + offset, n);
    return n < *actual ? JET_wrnBufferTruncated : JET_errSuccess;
}

static err_t copy_value(struct table_cursor *c, const struct record_value *v, uint32_t offset,
                        void *to, uint32_t room, uint32_t *actual)
{
    struct slice data = v->data;
    if (v->null)
        return JET_wrnColumnNull;
    if (v->separated) {
        struct longval_id id;
        uint32_t got, size;
        TRY_RETURN(longval_id_from_record(v->data, &id));
        TRY_RETURN(longval_fetch(&c->desc->longval, c->trx, id, offset, to, room, &got, &size));
        *actual = offset < size ? size - offset : 0;
        return got < *actual ? JET_wrnBufferTruncated : JET_errSuccess;
    }
    if (v->compressed)
        TRY_RETURN(table__whole_value(c->desc, c->trx, v, UINT32_MAX, &c->scratch, &data));
    return copy_out(data, offset, to, room, actual);
}

static err_t check_column(const struct table_cursor *c, colid_t id)
{
    if (id == 0 || id > COLID_TAGGED_LAST)
        return RAISE(JET_errBadColumnId);
    if (record_column(&c->desc->layout, id) != NULL)
        return JET_errSuccess;
    err_t err = RAISE(JET_errColumnNotFound);
    err_detail("column %u of table %s", id, c->desc->name);
    return err;
}

static bool reads_copy(const struct table_cursor *c, JET_GRBIT grbit)
{
    return (grbit & JET_bitRetrieveCopy) != 0 && c->prepared;
}

/* ---- out of the index entry ---- */

/* Decodes column `id` of a key; *exact = false when the key does not tell. */
static err_t decode_key(struct table_cursor *c, const struct index_def *def, struct slice key,
                        colid_t id, bool *exact, bool *null)
{
    uint32_t most = def->key_most == 0 ? 255 : def->key_most;
    bool cut = key.n >= most || (def->var_seg_mac != 0 && def->var_seg_mac < most);
    *exact = false;
    for (uint32_t i = 0; i < def->segment_count && !cut; i++) {
        const struct column_def *column = record_column(&c->desc->layout, def->segments[i].column);
        if (column == NULL || !key_segment_decodable(column) ||
            (column->coltyp == JET_coltypGUID && (def->flags & INDEX_DOTNET_GUID) != 0))
            break;
        TRY_RETURN(
            key_segment_decode(column, def->segments[i].descending, &key, &c->scratch, null));
        *exact = column->id == id;
        if (*exact)
            break;
    }
    return JET_errSuccess;
}

/* Which value of the record made the current entry. */
static err_t entry_sequence(struct table_cursor *c, struct slice record, uint32_t *sequence)
{
    err_t err = JET_errSuccess;
    struct key_set set = {0};
    *sequence = 1;
    TRY(key_set__collect(c->desc, &c->def, c->trx, record, &set));
    for (uint32_t i = 0; i < set.count; i++)
        if (slice_equal(key_set__key(&set, i), buffer_slice(&c->index.key)))
            *sequence = set.at[i].entry + 1;
out:
    key_set__term(&set);
    return err;
}

static err_t retrieve_from_key(struct table_cursor *c, colid_t id, JET_GRBIT grbit, bool *exact,
                               bool *null)
{
    bool bookmark = (grbit & JET_bitRetrieveFromPrimaryBookmark) != 0;
    const struct index_def *def = &c->def;
    struct slice key;
    *exact = false;
    if (bookmark) {
        if (c->desc->primary == NULL)
            return JET_errSuccess;
        def = &c->desc->primary->def;
        TRY_RETURN(table__bookmark(c, &key));
    } else {
        TRY_RETURN(table__on_entry(c));
        key = buffer_slice(&table__main(c)->key);
    }
    return decode_key(c, def, key, id, exact, null);
}

/* ---- the calls ---- */

/* A value of the copy buffer or the current record; slices live until the next call. */
static err_t find_value(struct table_cursor *c, colid_t id, uint32_t sequence, JET_GRBIT grbit,
                        struct record_value *v)
{
    struct slice record;
    if (reads_copy(c, grbit)) {
        TRY_RETURN(record_builder_get(c->builder, id, sequence, v));
    } else {
        TRY_RETURN(table__fetch(c, &record));
        TRY_RETURN(record_get(&c->desc->layout, record, id, sequence, v));
    }
    if (v->is_default && (grbit & JET_bitRetrieveIgnoreDefault) != 0)
        *v = (struct record_value){.null = true};
    return JET_errSuccess;
}

err_t cursor_retrieve(struct table_cursor *c, colid_t id, uint32_t sequence, uint32_t offset,
                      JET_GRBIT grbit, void *to, uint32_t room, uint32_t *actual,
                      uint32_t *sequence_used)
{
    struct record_value v;
    bool copy = reads_copy(c, grbit);
    *actual = 0;
    if (sequence_used != NULL)
        *sequence_used = sequence;
    TRY_RETURN(check_column(c, id));
    if (sequence == 0)
        return RAISE(JET_errBadItagSequence);
    if (!copy && (grbit & (JET_bitRetrieveFromIndex | JET_bitRetrieveFromPrimaryBookmark)) != 0) {
        bool exact, null = false;
        TRY_RETURN(retrieve_from_key(c, id, grbit, &exact, &null));
        if (exact)
            return null ? JET_wrnColumnNull
                        : copy_out(buffer_slice(&c->scratch), offset, to, room, actual);
    }
    if (!copy && c->secondary && (grbit & (JET_bitRetrieveFromIndex | JET_bitRetrieveTag)) != 0 &&
        id > COLID_VARIABLE_LAST && table__index_has_column(&c->def, id)) {
        struct slice record;
        TRY_RETURN(table__fetch(c, &record));
        TRY_RETURN(entry_sequence(c, record, &sequence));
        if (sequence_used != NULL)
            *sequence_used = sequence;
    }
    TRY_RETURN(find_value(c, id, sequence, grbit, &v));
    return copy_value(c, &v, offset, to, room, actual);
}

err_t cursor_count_values(struct table_cursor *c, colid_t id, JET_GRBIT grbit, uint32_t *count)
{
    struct slice record;
    *count = 0;
    TRY_RETURN(check_column(c, id));
    if (reads_copy(c, grbit))
        return record_builder_count(c->builder, id, count);
    TRY_RETURN(table__fetch(c, &record));
    return record_count_values(&c->desc->layout, record, id, count);
}

err_t cursor_next_tagged(struct table_cursor *c, colid_t after, JET_GRBIT grbit, colid_t *id)
{
    struct slice record;
    *id = 0;
    if (reads_copy(c, grbit))
        return record_builder_next_tagged(c->builder, after, id);
    TRY_RETURN(table__fetch(c, &record));
    return record_next_tagged(&c->desc->layout, record, after, id);
}

err_t cursor_record(struct table_cursor *c, struct slice *record)
{
    return table__fetch(c, record);
}

err_t cursor_record_value(struct table_cursor *c, struct slice record, colid_t id,
                          uint32_t sequence, struct buffer *scratch, struct slice *data, bool *null)
{
    struct record_value v;
    *data = SLICE_EMPTY;
    *null = true;
    TRY_RETURN(record_get(&c->desc->layout, record, id, sequence, &v));
    *null = v.null;
    return v.null ? JET_errSuccess
                  : table__whole_value(c->desc, c->trx, &v, UINT32_MAX, scratch, data);
}
