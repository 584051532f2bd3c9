/* Hand-made tables for tests: columns and indexes by a short list, trees in a world of table_world.h. */
#ifndef TABLE_FIXTURE_H
#define TABLE_FIXTURE_H

#include "table/table.h"
#pragma GCC diagnostic ignored "-Wunused-function" /* a test file takes what it needs */
#include "table_world.h"

#define FIXTURE_COLUMNS 24
#define FIXTURE_INDEXES 12

struct fixture {
    struct table_desc desc;
    struct table_column columns[FIXTURE_COLUMNS];
    struct table_index indexes[FIXTURE_INDEXES];
    struct column_def fixed[127], variable[128], tagged[64];
    struct btree *lv;
    uint16_t fixed_end;
};

struct want_column {
    const char *name;
    colid_t id;
    uint32_t coltyp, flags, cb_max;
    uint16_t code_page;
    const char *dflt;
    uint32_t dflt_n;
};
/* key: "+a-b", columns by one-letter names */
struct want_index {
    const char *name, *key;
    uint32_t flags;
    uint16_t key_most;
};

static err_t fixture_lv(void *context, struct trx *trx, bool create, struct btree **tree)
{
    struct fixture *f = context;
    (void)trx;
    if (f->lv == NULL && create)
        f->lv = world_tree(f->desc.tree, PAGE_LONG_VALUE, true);
    *tree = f->lv;
    return JET_errSuccess;
}

static void fixture_column(struct fixture *f, const struct want_column *w)
{
    struct table_column *column = &f->columns[f->desc.column_count++];
    column->def = (struct column_def){.id = w->id,
                                      .coltyp = w->coltyp,
                                      .flags = w->flags,
                                      .cb_max = w->cb_max,
                                      .code_page = w->code_page,
                                      .default_value = SLICE(w->dflt, w->dflt_n)};
    if (w->dflt_n != 0)
        column->def.flags |= COLUMN_HAS_DEFAULT;
    snprintf(column->name, sizeof column->name, "%s", w->name);
    if (w->id < 128) {
        column->def.record_offset = f->fixed_end;
        uint32_t size = coltyp_size(w->coltyp);
        f->fixed_end = (uint16_t)(f->fixed_end + (size != 0 ? size : w->cb_max));
        f->fixed[w->id - 1] = column->def;
        f->desc.layout.fixed_count = w->id;
    } else if (w->id < 256) {
        f->variable[w->id - 128] = column->def;
        f->desc.layout.variable_count = w->id - 127;
    } else {
        f->tagged[w->id - 256] = column->def;
        f->desc.layout.tagged_count = w->id - 255;
    }
    if (w->flags & COLUMN_AUTOINCREMENT)
        f->desc.autoinc_column = w->id;
    if (w->flags & COLUMN_VERSION)
        f->desc.version_column = w->id;
}

static void fixture_index(struct fixture *f, const struct want_index *w)
{
    struct table_index *index = &f->indexes[f->desc.index_count++];
    bool primary = (w->flags & INDEX_PRIMARY) != 0, unique = (w->flags & INDEX_UNIQUE) != 0;
    snprintf(index->name, sizeof index->name, "%s", w->name);
    index->def = (struct index_def){.flags = w->flags, .key_most = w->key_most == 0 ? 255 : w->key_most};
    index->def.var_seg_mac = index->def.key_most;
    for (const char *p = w->key; *p != '\0'; p += 2) {
        char name[2] = {p[1], 0};
        index->def.segments[index->def.segment_count++] =
            (struct index_segment){table_find_column(&f->desc, name)->def.id, p[0] == '-', false};
    }
    index->tree = primary ? f->desc.tree
                          : world_tree(f->desc.tree, PAGE_INDEX | (unique ? 0 : PAGE_NON_UNIQUE), unique);
    index->def.objid = index->tree->objid;
    if (primary)
        f->desc.primary = index;
}

static void fixture_make(struct fixture *f, const struct want_column *columns, int column_count,
                         const struct want_index *indexes, int index_count)
{
    *f = (struct fixture){.fixed_end = 4};
    struct table_desc *d = &f->desc;
    d->db = world_db;
    d->databases = &world_dbs;
    snprintf(d->name, sizeof d->name, "test");
    d->tree = world_tree(world_top, 0, true);
    d->objid = d->tree->objid;
    d->columns = f->columns;
    d->indexes = f->indexes;
    d->layout = (struct record_layout){.fixed = f->fixed,
                                       .variable = f->variable,
                                       .tagged = f->tagged,
                                       .large_page = world_page_size > 8192,
                                       .page_size = world_page_size};
    d->longval = (struct longval_home){.context = f, .tree = fixture_lv};
    d->longval.chunk_size = longval_chunk_size(world_page_size);
    os_rwlock_init(&d->lock, RANK_TABLE_DESC);
    for (int i = 0; i < column_count; i++)
        fixture_column(f, &columns[i]);
    for (int i = 0; i < index_count; i++)
        fixture_index(f, &indexes[i]);
    d->sequential = d->primary == NULL;
}

static void fixture_end(struct fixture *f)
{
    if (f->lv != NULL)
        btree_close(f->lv);
    for (uint32_t i = 0; i < f->desc.index_count; i++)
        if (&f->indexes[i] != f->desc.primary)
            btree_close(f->indexes[i].tree);
    btree_close(f->desc.tree);
    os_rwlock_term(&f->desc.lock);
}

/* ---- short words for tests ---- */

static err_t set_bytes(struct table_cursor *c, colid_t id, const void *p, uint32_t n)
{
    return cursor_set(c, id, 1, 0, SLICE(p, n), false, 0);
}
static err_t set_long(struct table_cursor *c, colid_t id, int32_t value)
{
    return set_bytes(c, id, &value, 4);
}
static err_t set_text(struct table_cursor *c, colid_t id, const char *text)
{
    return set_bytes(c, id, text, (uint32_t)strlen(text));
}
static int32_t get_long(struct table_cursor *c, colid_t id)
{
    int32_t value = -999;
    uint32_t actual;
    err_t err = cursor_retrieve(c, id, 1, 0, 0, &value, 4, &actual, NULL);
    CHECK_OK(err);
    return err == JET_wrnColumnNull ? -1000000 : value;
}
static void __attribute__((unused)) check_text(struct table_cursor *c, colid_t id, uint32_t sequence, const char *want)
{
    char to[300];
    uint32_t actual;
    err_t err = cursor_retrieve(c, id, sequence, 0, 0, to, sizeof to, &actual, NULL);
    CHECK_OK(err);
    if (want == NULL) {
        CHECK_EQ(err, JET_wrnColumnNull);
        return;
    }
    CHECK_EQ(err, JET_errSuccess);
    CHECK_EQ(actual, strlen(want));
    CHECK(memcmp(to, want, actual) == 0);
}
static err_t make_long(struct table_cursor *c, int32_t value, JET_GRBIT grbit)
{
    return cursor_make_key(c, SLICE_OF(value), false, grbit);
}
static err_t make_text(struct table_cursor *c, const char *text, JET_GRBIT grbit)
{
    return cursor_make_key(c, SLICE(text, strlen(text)), false, grbit);
}

#endif
