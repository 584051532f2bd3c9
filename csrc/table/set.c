/* The prepared update: prepare, set columns, cancel. The copy buffer is a record_builder; no index
 * and no record changes before cursor_update. */
#include "table/table_private.h"

enum table_prep cursor_prepared(struct table_cursor *c)
{
    if (!c->prepared)
        return PREP_NONE;
    if (c->prep == JET_prepReplace)
        return PREP_REPLACE;
    return c->prep == JET_prepReplaceNoLock ? PREP_REPLACE_NO_LOCK : PREP_INSERT;
}

err_t table__cancel(struct table_cursor *c)
{
    if (!c->prepared)
        return JET_errSuccess;
    c->prepared = false;
    err_t err = lv__undo(c);
    lv__forget(c);
    return err;
}

/* ---- prepare ---- */

static err_t check_updatable(struct table_cursor *c)
{
    if ((c->grbit & JET_bitTableReadOnly) != 0 || c->desc->db->read_only)
        return RAISE(JET_errPermissionDenied);
    if (c->trx->level > 0 && c->trx->read_only)
        return RAISE(JET_errTransReadOnly);
    for (uint32_t i = 0; i < c->desc->index_count; i++)
        if (c->desc->indexes[i].foreign_sort) {
            err_t err = RAISE(JET_errPermissionDenied);
            err_detail("index %s of table %s is sorted by Windows' rules for text, which are not "
                       "known here",
                       c->desc->indexes[i].name, c->desc->name);
            return err;
        }
    return JET_errSuccess;
}

static err_t set_number(struct table_cursor *c, colid_t id, uint64_t value)
{
    const struct column_def *column = record_column(&c->desc->layout, id);
    uint8_t bytes[8];
    store_u64(bytes, value);
    return column == NULL ? RAISE(JET_errColumnNotFound)
                          : record_builder_set(c->builder, id, 1,
                                               SLICE(bytes, coltyp_size(column->coltyp)), false);
}

static err_t start_insert(struct table_cursor *c, bool keep_autoincrement)
{
    uint64_t value;
    if (c->desc->version_column != 0)
        TRY_RETURN(set_number(c, c->desc->version_column, 0));
    if (c->desc->autoinc_column == 0 || keep_autoincrement)
        return JET_errSuccess;
    TRY_RETURN(table__next_autoincrement(c->desc, &value));
    return set_number(c, c->desc->autoinc_column, value);
}

/* The current record goes into the copy buffer; its bookmark and bytes are remembered. */
static err_t load_current(struct table_cursor *c)
{
    struct slice record;
    TRY_RETURN(table__fetch(c, &record));
    TRY_RETURN(buffer_set(&c->original, record));
    TRY_RETURN(buffer_set(&c->target, buffer_slice(&c->primary.key)));
    return record_builder_load(c->builder, buffer_slice(&c->original));
}

static err_t start_replace(struct table_cursor *c)
{
    struct slice record;
    struct version_undo newest;
    c->lock_rceid = 0;
    if (c->prep == JET_prepReplace && c->trx->level > 0) {
        TRY_RETURN(table__fetch(c, &record));
        TRY_RETURN(buffer_set(&c->target, buffer_slice(&c->primary.key)));
        TRY_RETURN(btree_lock(&c->primary, buffer_slice(&c->target), SLICE_EMPTY));
        if (version_newest(c->trx, 0, &newest))
            c->lock_rceid = newest.rceid;
    }
    return load_current(c);
}

static err_t start(struct table_cursor *c)
{
    switch (c->prep) {
    case JET_prepInsert:
        TRY_RETURN(record_builder_clear(c->builder));
        c->original.n = 0;
        return start_insert(c, false);
    case JET_prepInsertCopy:
    case JET_prepInsertCopyDeleteOriginal:
    case JET_prepInsertCopyReplaceOriginal:
        TRY_RETURN(load_current(c));
        return start_insert(c, c->prep == JET_prepInsertCopyReplaceOriginal);
    case JET_prepReplace:
    case JET_prepReplaceNoLock:
        return start_replace(c);
    default:
        return RAISE(JET_errInvalidParameter);
    }
}

static err_t start_locked(struct table_cursor *c)
{
    os_rwlock_read(&c->desc->lock);
    err_t err = start(c);
    os_rwlock_release(&c->desc->lock);
    return err;
}

/* A plain insert reads the description as a set does: without its lock. */
err_t cursor_prepare(struct table_cursor *c, uint32_t prep)
{
    if (prep == JET_prepCancel)
        return c->prepared ? table__cancel(c) : RAISE(JET_errUpdateNotPrepared);
    if (c->prepared)
        return RAISE(JET_errAlreadyPrepared);
    TRY_RETURN(check_updatable(c));
    if (c->builder == NULL)
        TRY_RETURN(record_builder_create(&c->desc->layout, &c->builder));
    c->prep = prep;
    lv__forget(c);
    bool plain = prep == JET_prepInsert && c->desc->autoinc_column == 0;
    TRY_RETURN(plain ? start(c) : start_locked(c));
    c->prep_level = c->trx->level;
    c->prepared = true;
    return JET_errSuccess;
}

err_t cursor_autoincrement(struct table_cursor *c, uint64_t *value)
{
    struct record_value v;
    *value = 0;
    if (!c->prepared)
        return RAISE(JET_errUpdateNotPrepared);
    if (c->desc->autoinc_column == 0)
        return RAISE(JET_errColumnNotFound);
    TRY_RETURN(record_builder_get(c->builder, c->desc->autoinc_column, 1, &v));
    if (!v.null && v.data.n == 4)
        *value = load_u32(v.data.p);
    else if (!v.null && v.data.n == 8)
        *value = load_u64(v.data.p);
    return JET_errSuccess;
}

/* ---- set ---- */

struct set {
    struct table_cursor *c;
    const struct column_def *column;
    uint32_t sequence, offset;
    struct slice data;
    JET_GRBIT grbit;
};

static uint32_t size_most(const struct column_def *column)
{
    uint32_t most = column->cb_max;
    return most == 0 || most > (uint32_t)JET_cbLVColumnMost ? (uint32_t)JET_cbLVColumnMost : most;
}

static err_t check_settable(struct table_cursor *c, const struct column_def *column)
{
    if (column->id == c->desc->autoinc_column || column->id == c->desc->version_column)
        return RAISE(JET_errColumnNotUpdatable);
    if ((column->flags & COLUMN_ESCROW) != 0 && cursor_prepared(c) != PREP_INSERT)
        return RAISE(JET_errInvalidOperation);
    return JET_errSuccess;
}

/* Two values are the same: as bytes, or as keys. */
static err_t is_same(struct set *s, struct slice other, bool *same)
{
    static const struct index_def whole = {.key_most = KEY_SIZE_MOST, .segment_count = 1};
    uint8_t a[KEY_SIZE_MOST], b[KEY_SIZE_MOST];
    uint32_t a_n = 0, b_n = 0;
    bool cut;
    *same = slice_equal(s->data, other);
    if ((s->grbit & JET_bitSetUniqueNormalizedMultiValues) == 0)
        return JET_errSuccess;
    TRY_RETURN(
        key_segment(s->column, &whole, false, s->data, false, false, a, &a_n, KEY_SIZE_MOST, &cut));
    TRY_RETURN(
        key_segment(s->column, &whole, false, other, false, false, b, &b_n, KEY_SIZE_MOST, &cut));
    *same = slice_equal(SLICE(a, a_n), SLICE(b, b_n));
    return JET_errSuccess;
}

static err_t check_unique(struct set *s)
{
    struct table_cursor *c = s->c;
    uint32_t count;
    if ((s->grbit & (JET_bitSetUniqueMultiValues | JET_bitSetUniqueNormalizedMultiValues)) == 0)
        return JET_errSuccess;
    TRY_RETURN(record_builder_count(c->builder, s->column->id, &count));
    for (uint32_t i = 1; i <= count; i++) {
        struct record_value v;
        struct slice other;
        bool same;
        if (i == s->sequence)
            continue;
        TRY_RETURN(record_builder_get(c->builder, s->column->id, i, &v));
        TRY_RETURN(table__whole_value(c->desc, c->trx, &v, UINT32_MAX, &c->value, &other));
        TRY_RETURN(is_same(s, other, &same));
        if (same)
            return RAISE(JET_errMultiValuedDuplicate);
    }
    return JET_errSuccess;
}

static err_t set_null(struct set *s)
{
    struct table_cursor *c = s->c;
    const struct column_def *column = s->column;
    bool defaulted =
        (column->flags & (COLUMN_HAS_DEFAULT | COLUMN_USER_DEFAULT)) == COLUMN_HAS_DEFAULT;
    uint32_t count = 0;
    TRY_RETURN(record_builder_count(c->builder, column->id, &count));
    bool last = count <= 1 && s->sequence <= 1;
    if (last && defaulted && (s->grbit & JET_bitSetRevertToDefaultValue) != 0)
        return record_builder_set(c->builder, column->id, 1, column->default_value, false);
    if (last && (column->flags & COLUMN_NOT_NULL) != 0)
        return RAISE(JET_errNullInvalid);
    return record_builder_set(c->builder, column->id, s->sequence, SLICE_EMPTY, true);
}

/* ---- long values ---- */

static err_t note_intrinsic(struct table_cursor *c, colid_t id)
{
    for (uint32_t i = 0; i < c->intrinsic_count; i++)
        if (c->intrinsic[i] == id)
            return JET_errSuccess;
    colid_t *grown = realloc(c->intrinsic, (c->intrinsic_count + 1) * sizeof *grown);
    if (grown == NULL)
        return RAISE(JET_errOutOfMemory);
    c->intrinsic = grown;
    c->intrinsic[c->intrinsic_count++] = id;
    return JET_errSuccess;
}

/* The whole new value of a long column: in the copy buffer, or at once in the tree when it is to be
 * there. */
static err_t set_whole(struct set *s, struct slice data, bool at_once)
{
    struct table_cursor *c = s->c;
    uint32_t lid;
    bool intrinsic = (s->grbit & JET_bitSetIntrinsicLV) != 0;
    if (data.n > size_most(s->column))
        return RAISE(JET_errColumnTooBig);
    if (intrinsic && data.n > c->desc->db->page_size)
        return RAISE(JET_errColumnDoesNotFit);
    if (intrinsic)
        TRY_RETURN(note_intrinsic(c, s->column->id));
    if (!at_once || intrinsic || data.n == 0)
        return record_builder_set(c->builder, s->column->id, s->sequence, data, false);
    if (c->trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    TRY_RETURN(lv__make(c, data, &lid));
    return record_builder_set_separated(c->builder, s->column->id, s->sequence, lid);
}

/* Size of the value after the edit, and where the bytes go. */
static err_t plan_edit(const struct set *s, uint32_t had, uint32_t *at, uint32_t *size)
{
    bool append = (s->grbit & JET_bitSetAppendLV) != 0,
         overwrite = (s->grbit & JET_bitSetOverwriteLV) != 0;
    uint32_t most = size_most(s->column);
    *at = append ? had : s->offset;
    uint64_t end = (uint64_t)*at + s->data.n;
    if (!append && !overwrite) /* JET_bitSetSizeLV alone: the data's length is the size */
        end = s->data.n;
    *size = (uint32_t)(end > most ? most : end);
    if (end > most)
        return RAISE(JET_errColumnTooBig);
    if ((s->grbit & JET_bitSetSizeLV) == 0 && *size < had)
        *size = had;
    return JET_errSuccess;
}

static bool has_bytes(const struct set *s)
{
    return (s->grbit & (JET_bitSetAppendLV | JET_bitSetOverwriteLV)) != 0 && s->data.n != 0;
}

static err_t edit_separated(struct set *s, const struct record_value *v)
{
    struct table_cursor *c = s->c;
    struct longval_id id;
    uint32_t had, refs, at, size;
    if (c->trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    TRY_RETURN(longval_id_from_record(v->data, &id));
    TRY_RETURN(longval_size(&c->desc->longval, c->trx, id, &had, &refs));
    TRY_RETURN(plan_edit(s, had, &at, &size));
    if (size == 0) /* values of no length lie in the record */
        return record_builder_set(c->builder, s->column->id, s->sequence, SLICE_EMPTY, false);
    if (has_bytes(s) && at > had) {
        TRY_RETURN(lv__resize(c, s->column->id, &id, at));
        had = at;
    }
    if (has_bytes(s)) {
        TRY_RETURN(lv__write(c, s->column->id, &id, at, s->data));
        had = at + s->data.n > had ? at + s->data.n : had;
    }
    if (size != had)
        TRY_RETURN(lv__resize(c, s->column->id, &id, size));
    if (id.lid64)
        return JET_errSuccess; /* changed in place: a copy has a LID of ours */
    return record_builder_set_separated(c->builder, s->column->id, s->sequence, (uint32_t)id.lid);
}

/* A long size that is only asked for need not be made of bytes first. */
static err_t make_sized(struct set *s, struct slice start, uint32_t size)
{
    struct table_cursor *c = s->c;
    struct longval_id id;
    uint32_t lid;
    TRY_RETURN(lv__make(c, start, &lid));
    id = (struct longval_id){.lid = lid};
    TRY_RETURN(lv__resize(c, s->column->id, &id, size));
    return record_builder_set_separated(c->builder, s->column->id, s->sequence, lid);
}

static err_t edit_inline(struct set *s, const struct record_value *v)
{
    struct table_cursor *c = s->c;
    struct slice old;
    uint32_t at, size;
    TRY_RETURN(table__whole_value(c->desc, c->trx, v, UINT32_MAX, &c->scratch, &old));
    if (v->null)
        old = SLICE_EMPTY;
    TRY_RETURN(plan_edit(s, old.n, &at, &size));
    bool out = size > INLINE_LONG_MOST && (s->grbit & JET_bitSetIntrinsicLV) == 0;
    if (out && c->trx->level == 0)
        return RAISE(JET_errNotInTransaction);
    if (out && !has_bytes(s))
        return make_sized(s, old, size);
    TRY_RETURN(buffer_reserve(&c->value, size > old.n ? size : old.n));
    if (old.n != 0)
        memcpy(c->value.p, old.p, old.n);
    if (size > old.n)
        memset(c->value.p + old.n, 0, size - old.n);
    if (has_bytes(s))
        memcpy(c->value.p + at, s->data.p, s->data.n);
    return set_whole(s, SLICE(c->value.p, size), out);
}

/* Append, overwrite, new size: of the value that is there, or of an empty one. */
static err_t edit_long(struct set *s)
{
    struct record_value v = {.null = true};
    if (s->sequence != 0)
        TRY_RETURN(record_builder_get(s->c->builder, s->column->id, s->sequence, &v));
    return v.separated ? edit_separated(s, &v) : edit_inline(s, &v);
}

/* ---- the call ---- */

/* In a transaction a large value goes out at once: it need not be held in memory until the update.
 */
#define AT_ONCE (64u << 10)

static err_t set_value(struct set *s)
{
    const struct column_def *column = s->column;
    bool is_long = coltyp_is_long(column->coltyp);
    if (is_long &&
        (s->grbit & (JET_bitSetAppendLV | JET_bitSetOverwriteLV | JET_bitSetSizeLV)) != 0)
        return edit_long(s);
    if (!is_long) {
        if (s->grbit != 0)
            TRY_RETURN(check_unique(s));
        return record_builder_set(s->c->builder, column->id, s->sequence, s->data, false);
    }
    TRY_RETURN(check_unique(s));
    bool separate = (s->grbit & JET_bitSetSeparateLV) != 0;
    return set_whole(s, s->data, separate || (s->data.n > AT_ONCE && s->c->trx->level > 0));
}

/* Chunks that a failed set has written must not stay in the transaction. */
static err_t set_long_value(struct set *s)
{
    struct table_cursor *c = s->c;
    struct txn_savepoint savepoint;
    uint32_t edits = c->edit_count;
    if (c->trx->level == 0)
        return set_value(s);
    TRY_RETURN(txn_statement_begin(c->trx, &savepoint));
    err_t err = txn_statement_end(c->trx, c->desc->databases, &savepoint, set_value(s));
    if (err < 0)
        lv__forget_from(c, edits);
    return err;
}

err_t cursor_set(struct table_cursor *c, colid_t id, uint32_t sequence, uint32_t offset,
                 struct slice data, bool null, JET_GRBIT grbit)
{
    if (!c->prepared)
        return RAISE(JET_errUpdateNotPrepared);
    if (id == 0 || id > COLID_TAGGED_LAST)
        return RAISE(JET_errBadColumnId);
    const struct column_def *column = record_column(&c->desc->layout, id);
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    TRY_RETURN(check_settable(c, column));
    bool is_long = coltyp_is_long(column->coltyp);
    bool edit =
        is_long && (grbit & (JET_bitSetAppendLV | JET_bitSetOverwriteLV | JET_bitSetSizeLV)) != 0;
    bool zero_length = (grbit & JET_bitSetZeroLength) != 0 && id > COLID_FIXED_LAST;
    struct set s = {c, column, sequence, offset, data, grbit};
    if (!edit && (null || (data.n == 0 && !zero_length)))
        return set_null(&s);
    return is_long ? set_long_value(&s) : set_value(&s);
}
