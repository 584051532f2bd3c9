/* Records of a table: their bytes, their key, the values that they hold elsewhere. */
#include <stdio.h>

#include "check/check_private.h"

static err_t tell_record(struct table_check *t, pgno_t pgno, struct slice key, err_t why)
{
    char what[CHECK_HEX_ROOM + 32];
    snprintf(what, sizeof what, "page %u, record %s", pgno, check__hex(key, t->hex));
    return check__survive(t->c, t->tree, CHECK_RECORD, pgno, what, why);
}

static err_t check_value(struct table_check *t, const struct record_value *v)
{
    if (v->null || v->is_default)
        return JET_errSuccess;
    if (v->separated) {
        struct longval_id id;
        TRY_RETURN(longval_id_from_record(v->data, &id));
        return lid_map__add(t->lids, id.lid);
    }
    if (!v->compressed)
        return JET_errSuccess;
    err_t err = record_decompress(v->data, &t->plain);
    return err == JET_errFeatureNotAvailable ? JET_errSuccess
                                             : err; /* a newer engine's compression */
}

static err_t check_tagged(struct table_check *t, struct slice record)
{
    const struct record_layout *layout = &t->desc->layout;
    colid_t id = 0;
    if (!t->deleted_columns)
        TRY_RETURN(record_has_unknown(layout, record, &t->deleted_columns));
    for (;;) {
        colid_t before = id;
        TRY_RETURN(record_next_tagged(layout, record, before, &id));
        if (id == 0)
            return JET_errSuccess;
        if (id <= before)
            return RAISE(JET_errDatabaseCorrupted);
        uint32_t count;
        TRY_RETURN(record_count_values(layout, record, id, &count));
        for (uint32_t i = 1; i <= count; i++) {
            struct record_value v;
            TRY_RETURN(record_get(layout, record, id, i, &v));
            TRY_RETURN(check_value(t, &v));
        }
    }
}

/* ---- the primary key ---- */

struct key_match {
    struct slice key;
    uint32_t count;
    bool equal;
};

static err_t match_key(void *context, struct slice key)
{
    struct key_match *m = context;
    m->equal |= slice_equal(key, m->key);
    m->count++;
    return JET_errSuccess;
}

static err_t check_key(struct table_check *t, pgno_t pgno, struct slice key, struct slice record)
{
    const struct table_index *primary = t->desc->primary;
    if (primary == NULL)
        return key.n == 4 ? JET_errSuccess
                          : check__tell(t->c, t->tree, CHECK_RECORD, pgno,
                                        "page %u: a record number of %u bytes: %s", pgno, key.n,
                                        check__hex(key, t->hex));
    if (primary->foreign_sort)
        return JET_errSuccess;
    struct key_match m = {.key = key};
    err_t err = table_entries(t->desc, primary, &t->c->trx, record, match_key, &m);
    if (err < 0)
        return tell_record(t, pgno, key, err);
    return m.equal ? JET_errSuccess
                   : check__tell(t->c, t->tree, CHECK_RECORD, pgno,
                                 "page %u, record %s: its columns give another key", pgno,
                                 check__hex(key, t->hex));
}

static err_t see_record(void *context, pgno_t pgno, struct slice key, struct slice record)
{
    struct table_check *t = context;
    struct check *c = t->c;
    c->sum->records++;
    if (t->also != NULL)
        TRY_RETURN(t->also(t->also_context, pgno, key, record));
    if (t->desc == NULL || !c->options->records)
        return JET_errSuccess;
    err_t err = record_validate(&t->desc->layout, record);
    if (err >= 0)
        err = check_tagged(t, record);
    if (err < 0) {
        for (uint32_t i = 0; i < t->index_count; i++)
            t->indexes[i].failed = true;
        return tell_record(t, pgno, key, err);
    }
    TRY_RETURN(check_key(t, pgno, key, record));
    for (uint32_t i = 0; i < t->index_count; i++)
        TRY_RETURN(check__index_expect(t, &t->indexes[i], key, record));
    return JET_errSuccess;
}

static bool has_deleted_columns(const struct table_desc *desc)
{
    for (uint32_t i = 0; i < desc->column_count; i++)
        if ((desc->columns[i].def.flags & COLUMN_DELETED) != 0)
            return true;
    return false;
}

err_t check__table(struct table_check *t)
{
    err_t err = JET_errSuccess;
    struct check *c = t->c;
    struct check_walk_want want = {
        .tree = t->tree, .root = t->tree->root, .hold = HOLD_TREE, .fn = see_record, .context = t};
    TRY(lid_map__create(&t->lids));
    t->seed = (uint64_t)os_random_u32() << 32 | os_random_u32();
    t->deleted_columns = t->desc != NULL && has_deleted_columns(t->desc);
    c->sum->tables++;
    TRY(check__walk(c, &want));
    TRY(check__space(c, t->tree));
    TRY(check__long_values(t));
    for (uint32_t i = 0; i < t->index_count; i++)
        TRY(check__index(t, &t->indexes[i]));
out:
    lid_map__destroy(t->lids);
    buffer_free(&t->plain);
    if (err == JET_errOutOfMemory && c->stop >= 0)
        c->stop = err;
    return err;
}
