/* A description in memory: its arrays, how a column or an index gets in and out. Arrays that were
 * replaced live as long as the description, since readers may still hold them. */
#include "catalog/catalog_private.h"

#define COLUMNS_FIRST_ROOM 16u
#define TAGGED_FIRST_ROOM 16u

void *catalog__alloc(struct catalog_table *t, size_t size)
{
    struct memory_block *block = calloc(1, sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = t->memory;
    t->memory = block;
    return block->bytes;
}

static uint32_t key_most_of_page(uint32_t page_size)
{
    return page_size <= 2048 ? 500 : page_size <= 4096 ? 1000 : 2000;
}

static err_t start_layout(struct catalog_table *t)
{
    struct table_desc *desc = &t->desc;
    desc->layout.large_page = t->cat->db->page_size > 8192;
    desc->layout.page_size = t->cat->db->page_size;
    desc->layout.fixed = catalog__alloc(t, COLID_FIXED_LAST * sizeof(struct column_def));
    desc->layout.variable = catalog__alloc(t, (COLID_VARIABLE_LAST - COLID_VARIABLE_FIRST + 1) *
                                                  sizeof(struct column_def));
    return desc->layout.fixed == NULL || desc->layout.variable == NULL ? RAISE(JET_errOutOfMemory)
                                                                       : JET_errSuccess;
}

err_t catalog__table_new(struct catalog *cat, const struct catalog_row *row,
                         struct catalog_table **out)
{
    err_t err = JET_errSuccess;
    struct catalog_table *t = calloc(1, sizeof *t);
    *out = NULL;
    if (t == NULL)
        return RAISE(JET_errOutOfMemory);
    struct table_desc *desc = &t->desc;
    t->cat = cat;
    desc->db = cat->db;
    desc->databases = cat->dbs;
    desc->owner = t;
    desc->objid = row->id;
    desc->flags = row->flags;
    desc->density = row->space_usage;
    desc->initial_pages = row->pages_or_locale;
    desc->sequential = true;
    desc->key_most_page = key_most_of_page(cat->db->page_size);
    desc->longval.context = t;
    desc->longval.tree = catalog__longval_tree;
    desc->longval.chunk_size =
        row->lv_chunk_max != 0 ? row->lv_chunk_max : longval_chunk_size(cat->db->page_size);
    catalog__set_name(desc->name, row->name);
    list_init(&desc->in_catalog);
    os_rwlock_init(&desc->lock, RANK_TABLE_DESC);
    TRY(start_layout(t));
    TRY(btree_open(cat->db, row->root_or_coltyp, &desc->tree));
    if (desc->tree->objid != row->id) {
        err = RAISE(JET_errCatalogCorrupted);
        err_detail("table %s of %s: page %u belongs to object %u", row->name, cat->db->path,
                   row->root_or_coltyp, desc->tree->objid);
        goto out;
    }
    *out = t;
    t = NULL;
out:
    catalog__table_destroy(t);
    return err;
}

void catalog__table_destroy(struct catalog_table *t)
{
    if (t == NULL)
        return;
    struct table_desc *desc = &t->desc;
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (desc->indexes[i].tree != desc->tree)
            btree_close(desc->indexes[i].tree);
    btree_close(desc->longval_tree);
    btree_close(desc->tree);
    os_rwlock_term(&desc->lock);
    for (struct memory_block *b = t->memory, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(t->uses);
    free(t);
}

/* ---- columns ---- */

/* What readers without the lock see: first the longer array, then the count. */
static err_t grow_tagged(struct catalog_table *t, uint32_t wanted)
{
    uint32_t room = t->tagged_room < TAGGED_FIRST_ROOM ? TAGGED_FIRST_ROOM : t->tagged_room * 2;
    while (room < wanted)
        room *= 2;
    struct column_def *grown = catalog__alloc(t, (size_t)room * sizeof *grown);
    if (grown == NULL)
        return RAISE(JET_errOutOfMemory);
    if (t->desc.layout.tagged_count != 0)
        memcpy(grown, t->desc.layout.tagged, t->desc.layout.tagged_count * sizeof *grown);
    __atomic_store_n(&t->desc.layout.tagged, grown, __ATOMIC_RELEASE);
    t->tagged_room = room;
    return JET_errSuccess;
}

static err_t grow_columns(struct catalog_table *t)
{
    uint32_t room = t->columns_room == 0 ? COLUMNS_FIRST_ROOM : t->columns_room * 2;
    struct table_column *grown = catalog__alloc(t, (size_t)room * sizeof *grown);
    if (grown == NULL)
        return RAISE(JET_errOutOfMemory);
    if (t->desc.column_count != 0)
        memcpy(grown, t->desc.columns, t->desc.column_count * sizeof *grown);
    __atomic_store_n(&t->desc.columns, grown, __ATOMIC_RELEASE);
    t->columns_room = room;
    return JET_errSuccess;
}

err_t catalog__reserve_column(struct catalog_table *t, colid_t id)
{
    if (id >= COLID_TAGGED_FIRST && id - COLID_TAGGED_FIRST >= t->tagged_room)
        TRY_RETURN(grow_tagged(t, id - COLID_TAGGED_FIRST + 1));
    return t->desc.column_count == t->columns_room ? grow_columns(t) : JET_errSuccess;
}

/* The layout's slot of an id; the layout is const for everybody else. */
static struct column_def *slot_of(struct catalog_table *t, colid_t id, uint32_t **count,
                                  uint32_t *index)
{
    struct record_layout *l = &t->desc.layout;
    if (id <= COLID_FIXED_LAST) {
        *count = &l->fixed_count;
        *index = id - COLID_FIXED_FIRST;
        return (struct column_def *)(uintptr_t)&l->fixed[*index];
    }
    if (id <= COLID_VARIABLE_LAST) {
        *count = &l->variable_count;
        *index = id - COLID_VARIABLE_FIRST;
        return (struct column_def *)(uintptr_t)&l->variable[*index];
    }
    *count = &l->tagged_count;
    *index = id - COLID_TAGGED_FIRST;
    return (struct column_def *)(uintptr_t)&l->tagged[*index];
}

static void note_special(struct table_desc *desc)
{
    desc->autoinc_column = desc->version_column = 0;
    for (uint32_t i = 0; i < desc->column_count; i++) {
        const struct column_def *c = &desc->columns[i].def;
        if ((c->flags & COLUMN_DELETED) != 0)
            continue;
        if ((c->flags & COLUMN_AUTOINCREMENT) != 0)
            desc->autoinc_column = c->id;
        if ((c->flags & COLUMN_VERSION) != 0)
            desc->version_column = c->id;
    }
}

static uint32_t place_of(const struct table_desc *desc, colid_t id)
{
    uint32_t at = desc->column_count;
    while (at > 0 && desc->columns[at - 1].def.id >= id)
        at--;
    return at;
}

void catalog__put_column(struct catalog_table *t, const struct table_column *column)
{
    struct table_desc *desc = &t->desc;
    uint32_t at = place_of(desc, column->def.id), *count, index;
    if (at == desc->column_count || desc->columns[at].def.id != column->def.id) {
        ASSERT(desc->column_count < t->columns_room);
        memmove(desc->columns + at + 1, desc->columns + at,
                (desc->column_count - at) * sizeof *desc->columns);
        desc->column_count++;
    }
    desc->columns[at] = *column;
    *slot_of(t, column->def.id, &count, &index) = column->def;
    if (index >= *count)
        __atomic_store_n(count, index + 1, __ATOMIC_RELEASE);
    note_special(desc);
    desc->generation++;
}

void catalog__take_column(struct catalog_table *t, colid_t id)
{
    struct table_desc *desc = &t->desc;
    uint32_t at = place_of(desc, id), *count, index;
    if (at == desc->column_count || desc->columns[at].def.id != id)
        return;
    memmove(desc->columns + at, desc->columns + at + 1,
            (desc->column_count - at - 1) * sizeof *desc->columns);
    desc->column_count--;
    slot_of(t, id, &count, &index)->id = 0;
    if (*count == index + 1)
        *count = index;
    note_special(desc);
    desc->generation++;
}

/* ---- indexes ---- */

void catalog__publish_indexes(struct catalog_table *t, struct table_index *indexes, uint32_t count)
{
    struct table_desc *desc = &t->desc;
    bool fewer = count < desc->index_count;
    if (fewer)
        desc->index_count = count;
    desc->indexes = indexes;
    desc->index_count = count;
    desc->primary = count > 0 && (indexes[0].def.flags & INDEX_PRIMARY) != 0 ? &indexes[0] : NULL;
    desc->sequential = desc->primary == NULL;
    desc->generation++;
}
