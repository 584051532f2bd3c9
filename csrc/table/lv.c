/* Long values of a prepared update: made, written in place, moved out of the record; what a cancel
 * or a failed update takes back; references that come and go with a record.
 *
 * A value that the record had before the update is written in place when nobody else refers to it
 * and no index reads it (old index keys must still be found at update); the bytes that were there
 * are kept for a cancel. Otherwise a copy is made. */
#include "table/table_private.h"

static err_t reserve_edit(struct table_cursor *c, struct lv_edit **out)
{
    if (c->edit_count == c->edit_room) {
        uint32_t room = c->edit_room == 0 ? 4 : 2 * c->edit_room;
        struct lv_edit *edits = realloc(c->edits, room * sizeof *edits);
        if (edits == NULL)
            return RAISE(JET_errOutOfMemory);
        c->edits = edits;
        c->edit_room = room;
    }
    *out = &c->edits[c->edit_count];
    **out = (struct lv_edit){0};
    return JET_errSuccess;
}

void lv__forget_from(struct table_cursor *c, uint32_t first)
{
    for (uint32_t i = first; i < c->edit_count; i++)
        buffer_free(&c->edits[i].was);
    if (c->edit_count > first)
        c->edit_count = first;
}

void lv__forget(struct table_cursor *c)
{
    lv__forget_from(c, 0);
    c->moved_count = 0;
    c->moved_bytes.n = 0;
    c->intrinsic_count = 0;
}

static bool same_id(struct longval_id a, struct longval_id b)
{
    return a.lid == b.lid && a.lid64 == b.lid64;
}

bool lv__is_made(const struct table_cursor *c, struct longval_id id)
{
    for (uint32_t i = 0; i < c->edit_count; i++)
        if (c->edits[i].made && same_id(c->edits[i].id, id))
            return true;
    return false;
}

static err_t remember_made(struct table_cursor *c, uint32_t lid)
{
    struct lv_edit *edit;
    TRY_RETURN(reserve_edit(c, &edit));
    edit->id = (struct longval_id){.lid = lid};
    edit->made = true;
    c->edit_count++;
    return JET_errSuccess;
}

err_t lv__make(struct table_cursor *c, struct slice bytes, uint32_t *lid)
{
    TRY_RETURN(longval_create(&c->desc->longval, c->trx, bytes, lid));
    return remember_made(c, *lid);
}

/* ---- writing ---- */

static bool is_indexed(const struct table_desc *desc, colid_t column)
{
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (table__index_has_column(&desc->indexes[i].def, column))
            return true;
    return false;
}

static err_t may_write(struct table_cursor *c, colid_t column, struct longval_id id, bool *in_place)
{
    uint32_t size, refs;
    bool original = c->prep == JET_prepReplace || c->prep == JET_prepReplaceNoLock;
    *in_place = lv__is_made(c, id);
    if (*in_place || !original || is_indexed(c->desc, column))
        return JET_errSuccess;
    TRY_RETURN(longval_size(&c->desc->longval, c->trx, id, &size, &refs));
    *in_place = refs == 1;
    return JET_errSuccess;
}

static err_t make_copy(struct table_cursor *c, struct longval_id *id, uint32_t keep)
{
    uint32_t lid;
    TRY_RETURN(longval_copy(&c->desc->longval, c->trx, *id, keep, &lid));
    TRY_RETURN(remember_made(c, lid));
    *id = (struct longval_id){.lid = lid};
    return JET_errSuccess;
}

/* What [offset, offset + n) holds, before it is written over. */
static err_t remember_bytes(struct table_cursor *c, struct longval_id id, uint32_t offset,
                            uint32_t n)
{
    struct lv_edit *edit;
    uint32_t got = 0, refs;
    TRY_RETURN(reserve_edit(c, &edit));
    edit->id = id;
    edit->offset = offset;
    TRY_RETURN(longval_size(&c->desc->longval, c->trx, id, &edit->size_was, &refs));
    if (offset < edit->size_was) {
        n = n < edit->size_was - offset ? n : edit->size_was - offset;
        TRY_RETURN(buffer_reserve(&edit->was, n));
        err_t err = longval_read(&c->desc->longval, c->trx, id, offset, edit->was.p, n, &got);
        if (err < 0) {
            buffer_free(&edit->was);
            return err;
        }
        edit->was.n = got;
    }
    c->edit_count++;
    return JET_errSuccess;
}

err_t lv__write(struct table_cursor *c, colid_t column, struct longval_id *id, uint32_t offset,
                struct slice bytes)
{
    bool in_place;
    TRY_RETURN(may_write(c, column, *id, &in_place));
    if (!in_place)
        TRY_RETURN(make_copy(c, id, UINT32_MAX));
    else if (!lv__is_made(c, *id))
        TRY_RETURN(remember_bytes(c, *id, offset, bytes.n));
    return longval_write(&c->desc->longval, c->trx, *id, offset, bytes);
}

/* A cut of an old value copies what stays: the rest need not be remembered. */
err_t lv__resize(struct table_cursor *c, colid_t column, struct longval_id *id, uint32_t size)
{
    bool in_place;
    uint32_t had, refs;
    TRY_RETURN(longval_size(&c->desc->longval, c->trx, *id, &had, &refs));
    TRY_RETURN(may_write(c, column, *id, &in_place));
    if (!lv__is_made(c, *id) && (!in_place || size < had))
        TRY_RETURN(make_copy(c, id, size));
    else if (!lv__is_made(c, *id))
        TRY_RETURN(remember_bytes(c, *id, had, 0));
    return longval_resize(&c->desc->longval, c->trx, *id, size);
}

/* ---- out of the record ---- */

static bool is_intrinsic(const struct table_cursor *c, colid_t id)
{
    for (uint32_t i = 0; i < c->intrinsic_count; i++)
        if (c->intrinsic[i] == id)
            return true;
    return false;
}

static err_t remember_moved(struct table_cursor *c, colid_t id, uint32_t sequence,
                            struct slice data)
{
    if (c->moved_count == c->moved_room) {
        uint32_t room = c->moved_room == 0 ? 4 : 2 * c->moved_room;
        struct lv_moved *moved = realloc(c->moved, room * sizeof *moved);
        if (moved == NULL)
            return RAISE(JET_errOutOfMemory);
        c->moved = moved;
        c->moved_room = room;
    }
    c->moved[c->moved_count] = (struct lv_moved){id, sequence, c->moved_bytes.n, data.n};
    TRY_RETURN(buffer_append(&c->moved_bytes, data));
    c->moved_count++;
    return JET_errSuccess;
}

static err_t move_out(struct table_cursor *c, colid_t id, uint32_t sequence)
{
    struct record_value v;
    struct slice data;
    uint32_t lid;
    TRY_RETURN(record_builder_get(c->builder, id, sequence, &v));
    TRY_RETURN(table__whole_value(c->desc, c->trx, &v, UINT32_MAX, &c->scratch, &data));
    TRY_RETURN(remember_moved(c, id, sequence, data));
    TRY_RETURN(longval_create(&c->desc->longval, c->trx, data, &lid));
    return record_builder_set_separated(c->builder, id, sequence, lid);
}

/* The largest long value in the record that may leave it; *id = 0 when there is none of more than
 * `over` bytes. */
static err_t find_largest(struct table_cursor *c, uint32_t over, colid_t *id, uint32_t *sequence)
{
    *id = 0;
    for (colid_t at = COLID_VARIABLE_LAST;;) {
        uint32_t count;
        TRY_RETURN(record_builder_next_tagged(c->builder, at, &at));
        if (at == 0)
            return JET_errSuccess;
        const struct column_def *column = record_column(&c->desc->layout, at);
        if (!coltyp_is_long(column->coltyp) || is_intrinsic(c, at))
            continue;
        TRY_RETURN(record_builder_count(c->builder, at, &count));
        for (uint32_t i = 1; i <= count; i++) {
            struct record_value v;
            TRY_RETURN(record_builder_get(c->builder, at, i, &v));
            if (v.separated || v.is_default || v.data.n <= over)
                continue;
            over = v.data.n;
            *id = at;
            *sequence = i;
        }
    }
}

static uint32_t record_most(const struct table_desc *desc)
{
    uint32_t key_most = desc->primary == NULL || desc->primary->def.key_most == 0
                            ? 255
                            : desc->primary->def.key_most;
    return record_size_most(desc->db->page_size, key_most);
}

err_t lv__separate(struct table_cursor *c)
{
    uint32_t most = record_most(c->desc), sequence = 0;
    colid_t id = 0;
    for (;;) {
        bool fits = record_builder_size(c->builder) <= most;
        TRY_RETURN(find_largest(c, fits ? INLINE_LONG_MOST : sizeof(uint32_t), &id, &sequence));
        if (id != 0)
            TRY_RETURN(move_out(c, id, sequence));
        else if (fits)
            return JET_errSuccess;
        else
            return RAISE(JET_errRecordTooBig);
    }
}

err_t lv__put_back(struct table_cursor *c)
{
    for (uint32_t i = 0; i < c->moved_count; i++) {
        const struct lv_moved *m = &c->moved[i];
        struct slice data = SLICE(c->moved_bytes.p + m->at, m->n);
        TRY_RETURN(record_builder_set(c->builder, m->id, m->sequence, data, false));
    }
    c->moved_count = 0;
    c->moved_bytes.n = 0;
    return JET_errSuccess;
}

/* ---- references ---- */

typedef err_t (*reference_fn)(void *context, struct longval_id id);

static err_t each_reference(struct table_desc *desc, struct slice record, reference_fn fn,
                            void *context)
{
    if (record.n == 0)
        return JET_errSuccess;
    for (colid_t at = COLID_VARIABLE_LAST;;) {
        uint32_t count;
        TRY_RETURN(record_next_tagged(&desc->layout, record, at, &at));
        if (at == 0)
            return JET_errSuccess;
        if (!coltyp_is_long(record_column(&desc->layout, at)->coltyp))
            continue;
        TRY_RETURN(record_count_values(&desc->layout, record, at, &count));
        for (uint32_t i = 1; i <= count; i++) {
            struct record_value v;
            struct longval_id id;
            TRY_RETURN(record_get(&desc->layout, record, at, i, &v));
            if (!v.separated)
                continue;
            TRY_RETURN(longval_id_from_record(v.data, &id));
            TRY_RETURN(fn(context, id));
        }
    }
}

struct compare {
    struct table_cursor *c;
    struct slice other; /* the record that must not have the reference */
    struct longval_id id;
    bool found;
};

static err_t note_same(void *context, struct longval_id id)
{
    struct compare *compare = context;
    compare->found |= same_id(id, compare->id);
    return JET_errSuccess;
}

static err_t refers(struct table_desc *desc, struct slice record, struct longval_id id, bool *found)
{
    struct compare compare = {.id = id};
    TRY_RETURN(each_reference(desc, record, note_same, &compare));
    *found = compare.found;
    return JET_errSuccess;
}

static err_t add_ref(void *context, struct longval_id id)
{
    struct compare *compare = context;
    struct table_cursor *c = compare->c;
    bool found = lv__is_made(c, id);
    for (uint32_t i = 0; i < c->moved_count && !found; i++) {
        struct record_value v;
        TRY_RETURN(record_builder_get(c->builder, c->moved[i].id, c->moved[i].sequence, &v));
        found = v.separated && v.data.n == 4 && load_u32(v.data.p) == id.lid;
    }
    if (!found)
        TRY_RETURN(refers(c->desc, compare->other, id, &found));
    return found ? JET_errSuccess : longval_add_ref(&c->desc->longval, c->trx, id);
}

err_t lv__add_refs(struct table_cursor *c, struct slice old, struct slice new_record)
{
    struct compare compare = {.c = c, .other = old};
    colid_t tagged;
    TRY_RETURN(record_builder_next_tagged(c->builder, COLID_VARIABLE_LAST, &tagged));
    if (tagged == 0) /* nor has the record that it was packed into */
        return JET_errSuccess;
    return each_reference(c->desc, new_record, add_ref, &compare);
}

static err_t release_one(void *context, struct longval_id id)
{
    struct compare *compare = context;
    bool found = false;
    TRY_RETURN(refers(compare->c->desc, compare->other, id, &found));
    return found ? JET_errSuccess
                 : longval_release(&compare->c->desc->longval, compare->c->trx, id);
}

err_t lv__release(struct table_cursor *c, struct slice old, struct slice new_record)
{
    struct compare compare = {.c = c, .other = new_record};
    TRY_RETURN(each_reference(c->desc, old, release_one, &compare));
    for (uint32_t i = 0; i < c->edit_count; i++)
        if (c->edits[i].made)
            TRY_RETURN(release_one(&compare, c->edits[i].id));
    return JET_errSuccess;
}

/* ---- cancel ---- */

static err_t undo_edit(struct table_cursor *c, const struct lv_edit *edit)
{
    struct longval_home *home = &c->desc->longval;
    if (edit->made)
        return longval_release(home, c->trx, edit->id);
    if (edit->was.n != 0)
        TRY_RETURN(longval_write(home, c->trx, edit->id, edit->offset, buffer_slice(&edit->was)));
    return longval_resize(home, c->trx, edit->id, edit->size_was);
}

err_t lv__undo(struct table_cursor *c)
{
    err_t err = JET_errSuccess;
    bool own = c->trx->level == 0 && c->edit_count > 0;
    if (own)
        TRY_RETURN(txn_begin(c->trx, false));
    for (uint32_t i = c->edit_count; i > 0 && err >= 0; i--)
        err = undo_edit(c, &c->edits[i - 1]);
    if (err < 0 && !own)
        c->trx->must_rollback = true; /* half of the update is left in the transaction */
    if (own && err >= 0)
        err = txn_commit(c->trx, TXN_LAZY);
    if (own && c->trx->level > 0) {
        err_t undone = txn_rollback(c->trx, c->desc->databases, 0);
        err = err < 0 ? err : undone;
    }
    return err;
}
