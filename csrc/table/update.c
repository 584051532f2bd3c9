/* Changing rows: one statement each. Order inside: long values, the record, the index entries,
 * references that went. */
#include "table/table_private.h"

static err_t call_back(struct table_cursor *c, JET_CBTYP type)
{
    if (c->callback.fn == NULL)
        return JET_errSuccess;
    err_t err = c->callback.fn(c->callback.context, c, type);
    return err < 0 ? err : JET_errSuccess;
}

/* ---- what every record must fulfil ---- */

static err_t check_not_null(struct table_cursor *c)
{
    for (uint32_t i = 0; i < c->desc->column_count; i++) {
        const struct column_def *column = &c->desc->columns[i].def;
        struct record_value v;
        if ((column->flags & COLUMN_NOT_NULL) == 0 || (column->flags & COLUMN_DELETED) != 0)
            continue;
        TRY_RETURN(record_builder_get(c->builder, column->id, 1, &v));
        if (!v.null)
            continue;
        err_t err = RAISE(JET_errNullInvalid);
        err_detail("column %s of table %s", c->desc->columns[i].name, c->desc->name);
        return err;
    }
    return JET_errSuccess;
}

/* An escrow column is changed where it lies in the record: it must lie there. */
static err_t write_escrow_defaults(struct table_cursor *c)
{
    for (uint32_t i = 0;
         i < c->desc->column_count && c->desc->columns[i].def.id <= COLID_FIXED_LAST; i++) {
        const struct column_def *column = &c->desc->columns[i].def;
        struct record_value v;
        if ((column->flags & COLUMN_ESCROW) == 0 || (column->flags & COLUMN_DELETED) != 0)
            continue;
        TRY_RETURN(record_builder_get(c->builder, column->id, 1, &v));
        if (v.null)
            return RAISE(JET_errNullInvalid);
        if (v.is_default)
            TRY_RETURN(record_builder_set(c->builder, column->id, 1, v.data, false));
    }
    return JET_errSuccess;
}

/* The copy buffer as it will be written. May make the table's long value tree: no lock of the
 * description is held. */
static err_t pack(struct table_cursor *c)
{
    TRY_RETURN(check_not_null(c));
    TRY_RETURN(write_escrow_defaults(c));
    TRY_RETURN(lv__separate(c));
    c->packed.n = 0;
    return record_builder_pack(c->builder, &c->packed);
}

/* ---- insert ---- */

static err_t insert_record(struct table_cursor *c)
{
    struct table_desc *desc = c->desc;
    struct slice record = buffer_slice(&c->packed);
    uint8_t key[KEY_SIZE_MOST];
    uint32_t n = 4, number = 0;
    if (desc->primary != NULL)
        TRY_RETURN(table__primary_key(desc, c->trx, record, key, &n));
    for (int i = 0; i < 1000; i++) {
        if (desc->primary == NULL) {
            TRY_RETURN(table__next_sequence(desc, &number));
            store_be32(key, number);
        }
        /* ascending inserts are common: btree checks the claim against its last leaf */
        err_t err = btree_insert(&c->primary, SLICE(key, n), record, BTREE_APPEND);
        /* a number that somebody took before the counter was read */
        if (desc->primary == NULL && (err == JET_errKeyDuplicate || err == JET_errWriteConflict))
            continue;
        if (err == JET_errKeyDuplicate)
            err_detail("primary index of table %s", desc->name);
        TRY_RETURN(err);
        return buffer_set(&c->bookmark, SLICE(key, n));
    }
    return RAISE(JET_errWriteConflict);
}

static err_t insert_row(struct table_cursor *c)
{
    TRY_RETURN(insert_record(c));
    return table__update_indexes(c->desc, c->trx, SLICE_EMPTY, buffer_slice(&c->packed),
                                 buffer_slice(&c->bookmark), NULL);
}

/* ---- delete ---- */

static err_t delete_row(struct table_cursor *c, struct slice bookmark, struct slice record)
{
    TRY_RETURN(btree_delete(&c->primary, bookmark, SLICE_EMPTY, BTREE_PLAIN));
    return table__update_indexes(c->desc, c->trx, record, SLICE_EMPTY, bookmark, NULL);
}

/* ---- replace ---- */

/* Others cannot have changed a record that we locked, and we have changed nothing since. */
static bool is_locked_still(const struct table_cursor *c)
{
    struct version_undo newest;
    return c->lock_rceid != 0 && c->prep == JET_prepReplace && version_newest(c->trx, 0, &newest) &&
           newest.rceid == c->lock_rceid;
}

/* Nobody has changed the record since it was prepared. The cursor stays where it is. */
static err_t check_unchanged(struct table_cursor *c)
{
    struct btree_cursor here, *at = &c->primary;
    bool exact, near = at->place == BTREE_ON &&
                       slice_equal(buffer_slice(&at->key), buffer_slice(&c->target));
    err_t err;
    if (is_locked_still(c))
        return JET_errSuccess;
    btree_cursor_init(&here, c->desc->tree, c->trx);
    if (near) {
        err = btree_refresh(at);
    } else {
        at = &here;
        err = btree_seek(at, buffer_slice(&c->target), SLICE_EMPTY, false, SEEK_EQ, &exact);
    }
    if (err == JET_errRecordNotFound)
        err = RAISE(JET_errRecordDeleted);
    else if (err >= 0 && !slice_equal(at->data, buffer_slice(&c->original)))
        err = RAISE(JET_errWriteConflict);
    btree_cursor_term(&here);
    return err;
}

static bool primary_is_touched(const struct table_desc *desc, const struct record_builder *b)
{
    for (uint32_t i = 0; desc->primary != NULL && i < desc->primary->def.segment_count; i++)
        if (record_builder_changed(b, desc->primary->def.segments[i].column))
            return true;
    return false;
}

static err_t check_primary_key(struct table_cursor *c)
{
    uint8_t key[KEY_SIZE_MOST];
    uint32_t n = 0;
    if (!primary_is_touched(c->desc, c->builder))
        return JET_errSuccess;
    TRY_RETURN(table__primary_key(c->desc, c->trx, buffer_slice(&c->packed), key, &n));
    return slice_equal(SLICE(key, n), buffer_slice(&c->target))
               ? JET_errSuccess
               : RAISE(JET_errRecordPrimaryChanged);
}

static err_t replace_row(struct table_cursor *c)
{
    struct slice old = buffer_slice(&c->original), record = buffer_slice(&c->packed);
    TRY_RETURN(check_unchanged(c));
    TRY_RETURN(check_primary_key(c));
    if (slice_equal(old, record))
        return JET_errSuccess;
    TRY_RETURN(btree_replace(&c->primary, buffer_slice(&c->target), record, BTREE_PLAIN));
    return table__update_indexes(c->desc, c->trx, old, record, buffer_slice(&c->target),
                                 c->builder);
}

static err_t count_version(struct table_cursor *c)
{
    struct record_value v;
    uint8_t bytes[4];
    colid_t id = c->desc->version_column;
    if (id == 0)
        return JET_errSuccess;
    TRY_RETURN(record_builder_get(c->builder, id, 1, &v));
    store_u32(bytes, (v.null || v.data.n != 4 ? 0 : load_u32(v.data.p)) + 1);
    return record_builder_set(c->builder, id, 1, SLICE(bytes, 4), false);
}

/* ---- the statement ---- */

static err_t change_rows(struct table_cursor *c)
{
    struct slice target = buffer_slice(&c->target), original = buffer_slice(&c->original);
    if (!table_may_update(c->desc, c->trx))
        return RAISE(JET_errWriteConflict);
    switch (c->prep) {
    case JET_prepReplace:
    case JET_prepReplaceNoLock:
        TRY_RETURN(replace_row(c));
        return buffer_set(&c->bookmark, target);
    case JET_prepInsertCopyDeleteOriginal:
    case JET_prepInsertCopyReplaceOriginal:
        TRY_RETURN(check_unchanged(c));
        TRY_RETURN(delete_row(c, target, original));
        return insert_row(c);
    default:
        return insert_row(c);
    }
}

static err_t run_update(struct table_cursor *c)
{
    bool replace = cursor_prepared(c) != PREP_INSERT;
    bool keeps = c->prep == JET_prepInsert ||
                 c->prep == JET_prepInsertCopy; /* the original, if there is one */
    struct slice original = buffer_slice(&c->original);
    if (replace)
        TRY_RETURN(count_version(c));
    TRY_RETURN(pack(c));
    TRY_RETURN(lv__add_refs(c, keeps ? SLICE_EMPTY : original, buffer_slice(&c->packed)));
    os_rwlock_read(&c->desc->lock);
    err_t err = change_rows(c);
    os_rwlock_release(&c->desc->lock);
    TRY_RETURN(err);
    return lv__release(c, keeps ? SLICE_EMPTY : original, buffer_slice(&c->packed));
}

/* The version number stays as it was when the update did not come off. */
static err_t take_back(struct table_cursor *c)
{
    struct record_value v;
    TRY_RETURN(lv__put_back(c));
    if (c->desc->version_column == 0 || cursor_prepared(c) == PREP_INSERT)
        return JET_errSuccess;
    TRY_RETURN(
        record_get(&c->desc->layout, buffer_slice(&c->original), c->desc->version_column, 1, &v));
    return record_builder_set(c->builder, c->desc->version_column, 1, v.data, v.null);
}

err_t cursor_update(struct table_cursor *c, struct slice *bookmark)
{
    struct txn_savepoint savepoint;
    if (bookmark != NULL)
        *bookmark = SLICE_EMPTY;
    if (!c->prepared)
        return RAISE(JET_errUpdateNotPrepared);
    if (c->trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    bool replace = cursor_prepared(c) != PREP_INSERT;
    TRY_RETURN(call_back(c, replace ? JET_cbtypBeforeReplace : JET_cbtypBeforeInsert));
    if (!c->prepared) /* by the callback */
        return RAISE(JET_errUpdateNotPrepared);
    TRY_RETURN(txn_statement_begin(c->trx, &savepoint));
    err_t err = run_update(c);
    err = txn_statement_end(c->trx, c->desc->databases, &savepoint, err);
    if (err < 0) {
        err_t back = take_back(c);
        return back < 0 ? back : err;
    }
    lv__forget(c);
    c->prepared = false;
    if (bookmark != NULL)
        *bookmark = buffer_slice(&c->bookmark);
    return call_back(c, replace ? JET_cbtypAfterReplace : JET_cbtypAfterInsert);
}

/* ---- delete ---- */

static err_t run_delete(struct table_cursor *c)
{
    struct slice original = buffer_slice(&c->original);
    os_rwlock_read(&c->desc->lock);
    err_t err = table_may_update(c->desc, c->trx)
                    ? delete_row(c, buffer_slice(&c->target), original)
                    : RAISE(JET_errWriteConflict);
    os_rwlock_release(&c->desc->lock);
    TRY_RETURN(err);
    return lv__release(c, original, SLICE_EMPTY);
}

static err_t check_may_change(struct table_cursor *c)
{
    if (c->prepared)
        return RAISE(JET_errAlreadyPrepared);
    if ((c->grbit & JET_bitTableReadOnly) != 0 || c->desc->db->read_only)
        return RAISE(JET_errPermissionDenied);
    if (c->trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    if (c->trx->read_only)
        return RAISE(JET_errTransReadOnly);
    for (uint32_t i = 0; i < c->desc->index_count; i++)
        if (c->desc->indexes[i].foreign_sort)
            return RAISE(JET_errPermissionDenied);
    return JET_errSuccess;
}

static err_t load_target(struct table_cursor *c)
{
    struct slice record;
    TRY_RETURN(table__fetch(c, &record));
    TRY_RETURN(buffer_set(&c->original, record));
    return buffer_set(&c->target, buffer_slice(&c->primary.key));
}

err_t cursor_delete(struct table_cursor *c)
{
    struct txn_savepoint savepoint;
    TRY_RETURN(check_may_change(c));
    TRY_RETURN(load_target(c));
    TRY_RETURN(call_back(c, JET_cbtypBeforeDelete));
    TRY_RETURN(txn_statement_begin(c->trx, &savepoint));
    err_t err = run_delete(c);
    TRY_RETURN(txn_statement_end(c->trx, c->desc->databases, &savepoint, err));
    return call_back(c, JET_cbtypAfterDelete);
}

/* ---- lock and escrow ---- */

/* A read lock is a write lock: there is no other in the version store. */
err_t cursor_lock(struct table_cursor *c, JET_GRBIT grbit)
{
    struct slice record;
    if (grbit != JET_bitReadLock && grbit != JET_bitWriteLock)
        return RAISE(JET_errInvalidGrbit);
    if (c->trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    if (c->trx->read_only)
        return RAISE(JET_errTransReadOnly);
    if ((c->grbit & JET_bitTableReadOnly) != 0 || c->desc->db->read_only)
        return RAISE(JET_errPermissionDenied);
    TRY_RETURN(table__fetch(c, &record));
    TRY_RETURN(buffer_set(&c->scratch, buffer_slice(&c->primary.key)));
    return btree_lock(&c->primary, buffer_slice(&c->scratch), SLICE_EMPTY);
}

/* The column must lie in the record, as cursor_update writes it. */
static err_t check_escrow(struct table_cursor *c, colid_t id, struct slice record, uint16_t *offset)
{
    const struct column_def *column = record_column(&c->desc->layout, id);
    struct record_value v;
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    if ((column->flags & COLUMN_ESCROW) == 0 || column->coltyp != JET_coltypLong ||
        id > COLID_FIXED_LAST)
        return RAISE(JET_errInvalidOperation);
    TRY_RETURN(record_get(&c->desc->layout, record, id, 1, &v));
    if (v.null || v.is_default || v.data.p != record.p + column->record_offset)
        return RAISE(JET_errInvalidOperation);
    *offset = column->record_offset;
    return JET_errSuccess;
}

err_t cursor_escrow(struct table_cursor *c, colid_t id, int32_t delta, int32_t *before)
{
    struct slice record;
    uint16_t offset = 0;
    TRY_RETURN(check_may_change(c));
    TRY_RETURN(table__fetch(c, &record));
    TRY_RETURN(check_escrow(c, id, record, &offset));
    TRY_RETURN(buffer_set(&c->scratch, buffer_slice(&c->primary.key)));
    os_rwlock_read(&c->desc->lock);
    err_t err = table_may_update(c->desc, c->trx)
                    ? btree_delta(&c->primary, buffer_slice(&c->scratch), offset, delta, before)
                    : RAISE(JET_errWriteConflict);
    os_rwlock_release(&c->desc->lock);
    return err;
}
