/* Cursors: open and close, the current index, the current record. */
#include "table/table_private.h"

static void use_primary_def(struct table_cursor *c)
{
    const struct table_index *primary = c->desc->primary;
    c->def = primary != NULL ? primary->def : (struct index_def){0};
    c->index_objid = primary != NULL ? primary->def.objid : OBJID_NIL;
}

err_t cursor_open(struct table_desc *desc, struct trx *trx, JET_GRBIT grbit,
                  struct table_cursor **out)
{
    struct table_cursor *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return RAISE(JET_errOutOfMemory);
    c->desc = desc;
    c->trx = trx;
    c->grbit = grbit;
    c->deferred = true;
    btree_cursor_init(&c->primary, desc->tree, trx);
    use_primary_def(c);
    *out = c;
    return JET_errSuccess;
}

void cursor_close(struct table_cursor *c)
{
    if (c == NULL)
        return;
    err_t err = table__cancel(c);
    (void)err; /* what could not be taken back lies unused in the long value tree */
    table__use_primary(c);
    btree_cursor_term(&c->primary);
    record_builder_destroy(c->builder);
    buffer_free(&c->original);
    buffer_free(&c->target);
    buffer_free(&c->packed);
    lv__forget(c);
    free(c->edits);
    free(c->moved);
    buffer_free(&c->moved_bytes);
    free(c->intrinsic);
    buffer_free(&c->bookmark);
    buffer_free(&c->scratch);
    buffer_free(&c->value);
    buffer_free(&c->rows);
    free(c);
}

/* As JetDupCursor: on the first record of the primary index, without search key or update. */
err_t cursor_dup(struct table_cursor *c, struct table_cursor **out)
{
    return cursor_open(c->desc, c->trx, c->grbit, out);
}

struct table_desc *cursor_table(struct table_cursor *c)
{
    return c->desc;
}

struct trx *cursor_trx(struct table_cursor *c)
{
    return c->trx;
}

void cursor_set_callback(struct table_cursor *c, struct row_callback cb)
{
    c->callback = cb;
}

void cursor_trx_ended(struct table_cursor *c, bool rolled_back, uint8_t level)
{
    if (rolled_back && c->prepared && c->prep_level > level) {
        lv__forget(c); /* undone with the rest */
        c->prepared = false;
    } else if (rolled_back && c->prepared && c->edit_count > 0) {
        lv__forget(c);
        c->prepared = false;
    }
    if (rolled_back && c->secondary && c->index_level > level) {
        table__use_primary(c);
        c->deferred = true;
    }
    if (!rolled_back && c->index_level > level)
        c->index_level = level;
    if (!rolled_back && c->prep_level > level)
        c->prep_level = level;
    c->handed = false;
    c->record_ready = false;
}

/* ---- the current index ---- */

const struct table_index *cursor_current_index(struct table_cursor *c)
{
    for (uint32_t i = 0; i < c->desc->index_count; i++)
        if (c->desc->indexes[i].def.objid == c->index_objid)
            return &c->desc->indexes[i];
    return NULL;
}

void table__use_primary(struct table_cursor *c)
{
    if (c->secondary) {
        btree_cursor_term(&c->index);
        btree_close(c->index_tree);
        c->index_tree = NULL;
        c->secondary = false;
    }
    use_primary_def(c);
    c->key_state = KEY_NOT_MADE;
    c->limited = false;
    table__leave(c);
}

static err_t use_secondary(struct table_cursor *c, const struct table_index *index)
{
    struct btree *tree;
    TRY_RETURN(btree_open(c->desc->db, index->tree->root, &tree));
    table__use_primary(c);
    c->index_tree = tree;
    btree_cursor_init(&c->index, tree, c->trx);
    c->def = index->def;
    c->index_objid = index->def.objid;
    c->index_level = c->trx->level;
    c->secondary = true;
    return JET_errSuccess;
}

static err_t find_index(struct table_cursor *c, const char *name, const struct table_index **out)
{
    *out = c->desc->primary;
    if (name == NULL || name[0] == '\0')
        return JET_errSuccess;
    const struct table_index *index = table_find_index(c->desc, name);
    if (index == NULL ||
        (index != c->desc->primary &&
         (atomic_load(&index->building) || !table_index_is_visible(c->desc, index, c->trx)))) {
        err_t err = RAISE(JET_errIndexNotFound);
        err_detail("index %s of table %s", name, c->desc->name);
        return err;
    }
    *out = index;
    return JET_errSuccess;
}

/* The primary cursor on the current record, whichever index is current. */
static err_t keep_record(struct table_cursor *c, const struct table_index *index, uint32_t sequence)
{
    struct slice record;
    TRY_RETURN(table__fetch(c, &record));
    TRY_RETURN(buffer_set(&c->value, record));
    record = buffer_slice(&c->value);
    if (index == NULL || index == c->desc->primary) {
        table__use_primary(c);
        return JET_errSuccess;
    }
    TRY_RETURN(use_secondary(c, index));
    return table__enter_index(c, record, sequence);
}

err_t cursor_set_index(struct table_cursor *c, const char *name, JET_GRBIT grbit, uint32_t sequence)
{
    const struct table_index *index;
    if ((grbit & ~JET_bitNoMove) != 0)
        return RAISE(JET_errInvalidGrbit);
    TRY_RETURN(find_index(c, name, &index));
    TRY_RETURN(table__cancel(c));
    bool same = c->index_objid == (index == NULL ? OBJID_NIL : index->def.objid);
    if ((grbit & JET_bitNoMove) != 0) {
        if (same && sequence <= 1)
            return JET_errSuccess;
        if (c->deferred)
            TRY_RETURN(table__settle(c));
        return keep_record(c, index, sequence == 0 ? 1 : sequence);
    }
    if (index == NULL || index == c->desc->primary)
        table__use_primary(c);
    else if (!same)
        TRY_RETURN(use_secondary(c, index));
    c->limited = false;
    c->key_state = KEY_NOT_MADE;
    table__leave(c);
    c->deferred = true;
    return JET_errSuccess;
}

err_t table__enter_index(struct table_cursor *c, struct slice record, uint32_t sequence)
{
    uint8_t key[KEY_SIZE_MOST];
    uint32_t n = 0;
    bool exact;
    c->index.place = BTREE_NOWHERE;
    c->nowhere = true;
    TRY_RETURN(table__key_of_value(c->desc, &c->def, c->trx, record, sequence, key, &n));
    err_t err =
        btree_seek(&c->index, SLICE(key, n), buffer_slice(&c->primary.key), true, SEEK_EQ, &exact);
    if (err == JET_errRecordNotFound)
        return RAISE(JET_errNoCurrentRecord);
    TRY_RETURN(err);
    table__leave(c);
    c->record_ready = true;
    return JET_errSuccess;
}

/* ---- the current record ---- */

void table__leave(struct table_cursor *c)
{
    c->deferred = false;
    c->nowhere = false;
    c->record_ready = false;
    c->handed = false;
}

err_t table__settle(struct table_cursor *c)
{
    if (!c->deferred)
        return JET_errSuccess;
    struct btree_cursor *main = table__main(c);
    table__leave(c);
    err_t err = btree_first(main);
    if (err == JET_errNoCurrentRecord)
        main->place = BTREE_BEFORE_FIRST;
    return err;
}

err_t table__on_entry(struct table_cursor *c)
{
    TRY_RETURN(table__settle(c));
    enum btree_place place = table__main(c)->place;
    if (place == BTREE_ON)
        return JET_errSuccess;
    return RAISE(place == BTREE_BETWEEN && !c->nowhere ? JET_errRecordDeleted
                                                       : JET_errNoCurrentRecord);
}

/* A cursor on a secondary index whose record was read goes by the record: an update that changed
 * its key leaves no entry here, but the record is still the current one. */
err_t table__fetch(struct table_cursor *c, struct slice *record)
{
    bool exact;
    *record = SLICE_EMPTY;
    if (c->secondary && !c->record_ready) {
        TRY_RETURN(table__on_entry(c));
        err_t err = btree_seek(&c->primary, c->index.data, SLICE_EMPTY, false, SEEK_EQ, &exact);
        if (err == JET_errRecordNotFound)
            return RAISE(JET_errRecordDeleted);
        TRY_RETURN(err);
        c->record_ready = true;
    } else {
        if (!c->secondary)
            TRY_RETURN(table__on_entry(c));
        TRY_RETURN(btree_refresh(&c->primary));
    }
    *record = c->primary.data;
    return JET_errSuccess;
}

err_t table__bookmark(struct table_cursor *c, struct slice *bookmark)
{
    *bookmark = SLICE_EMPTY;
    if (!c->record_ready)
        TRY_RETURN(table__on_entry(c));
    *bookmark = c->secondary && !c->record_ready ? c->index.data : buffer_slice(&c->primary.key);
    return JET_errSuccess;
}
