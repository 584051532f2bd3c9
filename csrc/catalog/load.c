/* Opening the catalog of a file, and descriptions from its committed rows. */
#include "catalog/catalog_private.h"

static err_t bad_row(const struct catalog_table *t, const struct catalog_row *row, const char *what)
{
    err_t err = RAISE(JET_errCatalogCorrupted);
    err_detail("%s: %s of table %s %s", t->cat->db->path, row->name, t->desc.name, what);
    return err;
}

/* ---- columns ---- */

/* Fixed text and binary defaults fill the column: the record layer returns them as they are. */
static err_t set_default(struct catalog_table *t, const struct catalog_row *row,
                         struct column_def *def)
{
    bool fixed = def->id <= COLID_FIXED_LAST;
    uint32_t size = coltyp_size(def->coltyp), n = row->default_n;
    if ((def->flags & COLUMN_HAS_DEFAULT) == 0 || n == 0)
        return JET_errSuccess;
    if ((size != 0 && n != size) || (fixed && n > def->cb_max))
        return bad_row(t, row, "has a default of the wrong size");
    uint32_t room = fixed && size == 0 ? def->cb_max : n;
    uint8_t *bytes = catalog__alloc(t, room);
    if (bytes == NULL)
        return RAISE(JET_errOutOfMemory);
    memset(bytes, def->coltyp == JET_coltypText ? ' ' : 0, room);
    memcpy(bytes, row->default_value, n);
    def->default_value = SLICE(bytes, room);
    return JET_errSuccess;
}

static err_t place_fixed(const struct catalog_table *t, const struct catalog_row *row,
                         struct column_def *def)
{
    bool of_catalog = row->table == OBJECTS_OBJID || row->table == SHADOW_OBJID;
    def->record_offset = row->record_offset;
    if (of_catalog) { /* placeholders */
        const struct column_def *ours = &t->cat->fixed[def->id - COLID_FIXED_FIRST];
        if (ours->id != def->id || ours->coltyp != def->coltyp)
            return bad_row(t, row, "is not what it is in every catalog");
        def->record_offset = ours->record_offset;
    } else if (!row->has_offset) {
        return bad_row(t, row, "has no offset");
    }
    uint32_t size = coltyp_size(def->coltyp) != 0 ? coltyp_size(def->coltyp) : def->cb_max;
    if (def->record_offset < 4 || def->record_offset + size > t->desc.layout.page_size)
        return bad_row(t, row, "lies outside of a record");
    return JET_errSuccess;
}

err_t catalog__column_from_row(struct catalog_table *t, const struct catalog_row *row,
                               struct table_column *out)
{
    struct column_def *def = &out->def;
    memset(out, 0, sizeof *out);
    if (row->id < COLID_FIXED_FIRST || row->id > COLID_TAGGED_LAST)
        return bad_row(t, row, "has an impossible column id");
    catalog__set_name(out->name, row->name);
    def->id = row->id;
    def->coltyp = row->root_or_coltyp;
    def->flags = row->flags & 0xFFFF;
    def->code_page = (uint16_t)row->pages_or_locale;
    def->cb_max = row->space_usage;
    if (def->coltyp == JET_coltypNil)
        def->flags |= COLUMN_DELETED;
    else if (def->coltyp >= JET_coltypMax)
        return bad_row(t, row, "has an unknown type");
    if (coltyp_size(def->coltyp) != 0)
        def->cb_max = coltyp_size(def->coltyp);
    else if (!coltyp_is_long(def->coltyp) && (def->cb_max == 0 || def->cb_max > BYTES_255))
        def->cb_max = BYTES_255;
    if (coltyp_is_long(def->coltyp) && def->id < COLID_TAGGED_FIRST)
        return bad_row(t, row, "is a long column that is not tagged");
    if (def->id <= COLID_FIXED_LAST)
        TRY_RETURN(place_fixed(t, row, def));
    return set_default(t, row, def);
}

/* ---- indexes ---- */

static err_t parse_segments(const struct catalog_table *t, const struct catalog_row *row,
                            const uint8_t *p, uint32_t n,
                            struct index_segment out[INDEX_SEGMENTS_MAX], uint8_t *count)
{
    bool wide = (row->flags & INDEX_LONG_SEGMENTS) != 0;
    uint32_t size = wide ? 4 : 2;
    if (n % size != 0 || n / size > INDEX_SEGMENTS_MAX)
        return bad_row(t, row, "has a bad list of key columns");
    for (uint32_t i = 0; i < n / size; i++) {
        const uint8_t *s = p + i * size;
        int16_t id = (int16_t)load_u16(s);
        out[i] =
            wide ? (struct index_segment){load_u16(s + 2), (s[0] & 0x40) != 0, (s[0] & 0x20) != 0}
                 : (struct index_segment){(colid_t)(id < 0 ? -id : id), id < 0, false};
        if (record_column(&t->desc.layout, out[i].column) == NULL)
            return bad_row(t, row, "has a key column that does not exist");
    }
    *count = (uint8_t)(n / size);
    return JET_errSuccess;
}

static err_t open_index_tree(struct catalog_table *t, const struct catalog_row *row,
                             struct table_index *out)
{
    if ((out->def.flags & INDEX_PRIMARY) != 0) {
        if (row->root_or_coltyp != t->desc.tree->root)
            return bad_row(t, row, "is a primary index apart from its table");
        out->tree = t->desc.tree;
        return JET_errSuccess;
    }
    TRY_RETURN(btree_open(t->cat->db, row->root_or_coltyp, &out->tree));
    if (out->tree->objid == row->id && out->tree != t->desc.tree)
        return JET_errSuccess;
    btree_close(out->tree);
    out->tree = NULL;
    return bad_row(t, row, "has its root page in another object");
}

err_t catalog__index_from_row(struct catalog_table *t, const struct catalog_row *row,
                              struct table_index *out)
{
    struct index_def *def = &out->def;
    memset(out, 0, sizeof *out);
    catalog__set_name(out->name, row->name);
    def->objid = row->id;
    def->flags = row->flags;
    def->key_most = (uint16_t)(row->key_most != 0 ? row->key_most : KEY_MOST_DEFAULT);
    def->var_seg_mac = (uint16_t)(row->var_seg_mac != 0 ? row->var_seg_mac : def->key_most);
    if (def->key_most > KEY_SIZE_MOST || def->var_seg_mac > def->key_most)
        return bad_row(t, row, "has an impossible key size");
    TRY_RETURN(
        parse_segments(t, row, row->key_ids, row->key_ids_n, def->segments, &def->segment_count));
    if (def->segment_count == 0)
        return bad_row(t, row, "has no key column");
    TRY_RETURN(parse_segments(t, row, row->conditions, row->conditions_n, def->conditions,
                              &def->condition_count));
    out->density = row->space_usage;
    out->lcmap_flags = row->has_lcmap ? row->lcmap_flags : LCMAP_DEFAULT;
    memcpy(out->locale, row->locale, sizeof out->locale);
    bool foreign_text = (def->flags & INDEX_LOCALIZED) != 0 &&
                        (!row->has_version || row->version != SORT_VERSION_OURS);
    out->foreign_sort = foreign_text || row->has_tuples;
    return open_index_tree(t, row, out);
}

/* ---- a table ---- */

struct loader {
    struct catalog_table *table;
    struct table_index *indexes;
    uint32_t index_count, index_room;
    bool of_template; /* rows of the template that a derived table begins with */
};

static err_t load_column(struct loader *l, const struct catalog_row *row)
{
    struct table_column column;
    TRY_RETURN(catalog__column_from_row(l->table, row, &column));
    TRY_RETURN(catalog__reserve_column(l->table, column.def.id));
    catalog__put_column(l->table, &column);
    return JET_errSuccess;
}

/* The primary index comes first. Until they are published, trees of secondary ones are the
 * loader's. */
static err_t load_index(struct loader *l, const struct catalog_row *row)
{
    if (l->index_count == l->index_room) {
        uint32_t room = l->index_room == 0 ? 4 : l->index_room * 2;
        struct table_index *grown = catalog__alloc(l->table, room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        if (l->index_count != 0)
            memcpy(grown, l->indexes, l->index_count * sizeof *grown);
        l->indexes = grown;
        l->index_room = room;
    }
    struct table_index *at = &l->indexes[l->index_count];
    TRY_RETURN(catalog__index_from_row(l->table, row, at));
    l->index_count++;
    if ((at->def.flags & INDEX_PRIMARY) != 0 && at != l->indexes) {
        if ((l->indexes[0].def.flags & INDEX_PRIMARY) != 0)
            return bad_row(l->table, row, "is a second primary index");
        struct table_index primary = *at;
        memmove(l->indexes + 1, l->indexes, (l->index_count - 1) * sizeof primary);
        l->indexes[0] = primary;
    }
    return JET_errSuccess;
}

static err_t load_longval(struct loader *l, const struct catalog_row *row)
{
    struct table_desc *desc = &l->table->desc;
    if (desc->longval_tree != NULL)
        return bad_row(l->table, row, "is a second tree of long values");
    TRY_RETURN(btree_open(l->table->cat->db, row->root_or_coltyp, &desc->longval_tree));
    if (desc->longval_tree->objid != row->id)
        return bad_row(l->table, row, "has its root page in another object");
    return JET_errSuccess;
}

static err_t load_row(void *context, const struct catalog_row *row)
{
    struct loader *l = context;
    if (row->type == ROW_COLUMN)
        return load_column(l, row);
    if (l->of_template)
        return JET_errSuccess;
    return row->type == ROW_INDEX         ? load_index(l, row)
           : row->type == ROW_LONG_VALUES ? load_longval(l, row)
                                          : JET_errSuccess;
}

static err_t load_parts(struct loader *l, struct catalog *cat, const struct catalog_row *row)
{
    if ((row->flags & TABLE_DERIVED) != 0 && row->template_name[0] != '\0') {
        struct catalog_row of;
        TRY_RETURN(catalog__find_table_row(cat, NULL, row->template_name, &of));
        l->of_template = true;
        TRY_RETURN(catalog__visit_rows(cat, NULL, of.id, load_row, l));
        l->of_template = false;
    }
    return catalog__visit_rows(cat, NULL, row->id, load_row, l);
}

static void close_index_trees(struct loader *l)
{
    for (uint32_t i = 0; i < l->index_count; i++)
        if (l->indexes[i].tree != l->table->desc.tree)
            btree_close(l->indexes[i].tree);
}

err_t catalog__load(struct catalog *cat, objid_t objid, struct catalog_table **out)
{
    err_t err = JET_errSuccess;
    struct catalog_row row;
    struct loader l = {0};
    *out = NULL;
    TRY_RETURN(catalog__read_row(cat, NULL, objid, ROW_TABLE, objid, &row));
    TRY_RETURN(catalog__table_new(cat, &row, &l.table));
    err = load_parts(&l, cat, &row);
    if (err < 0) {
        close_index_trees(&l);
        catalog__table_destroy(l.table);
        return err == JET_errRecordNotFound ? RAISE(JET_errCatalogCorrupted) : err;
    }
    catalog__publish_indexes(l.table, l.indexes, l.index_count);
    *out = l.table;
    return JET_errSuccess;
}

/* ---- the catalog itself ---- */

static err_t note_column(void *context, const struct catalog_row *row)
{
    bool *there = context;
    if (row->type == ROW_COLUMN && row->id < COLID_TAGGED_FIRST + 8)
        there[row->id] = true;
    return JET_errSuccess;
}

/* Writing keeps to the columns that the file's own rows name. */
static err_t fit_layout(struct catalog *cat)
{
    bool there[COLID_TAGGED_FIRST + 8] = {false};
    TRY_RETURN(catalog__visit_rows(cat, NULL, OBJECTS_OBJID, note_column, there));
    for (uint32_t i = 0; i < catalog__column_count; i++) {
        colid_t id = catalog__columns[i].id;
        if (there[id])
            continue;
        if (id <= COLID_FIXED_LAST)
            cat->fixed[id - COLID_FIXED_FIRST].id = 0;
        else if (id <= COLID_VARIABLE_LAST)
            cat->variable[id - COLID_VARIABLE_FIRST].id = 0;
        else
            cat->tagged[id - COLID_TAGGED_FIRST].id = 0;
    }
    return JET_errSuccess;
}

static err_t open_system_tree(struct dbfile *db, pgno_t root, objid_t objid, struct btree **out)
{
    TRY_RETURN(btree_open(db, root, out));
    if ((*out)->objid == objid)
        return JET_errSuccess;
    err_t err = RAISE(JET_errCatalogCorrupted);
    err_detail("%s: page %u belongs to object %u, not to %u", db->path, root, (*out)->objid, objid);
    return err;
}

err_t catalog__open_trees(struct catalog *cat)
{
    TRY_RETURN(open_system_tree(cat->db, SYSTEM_ROOT, SYSTEM_OBJID, &cat->system));
    TRY_RETURN(open_system_tree(cat->db, OBJECTS_ROOT, OBJECTS_OBJID, &cat->objects));
    TRY_RETURN(open_system_tree(cat->db, NAMES_ROOT, NAMES_OBJID, &cat->names));
    TRY_RETURN(open_system_tree(cat->db, ROOTS_ROOT, ROOTS_OBJID, &cat->roots));
    os_lock_take(&cat->db->header_lock); /* the page writer may be changing other parts of it */
    cat->has_shadow = (cat->db->header.db_flags0 & 1) == 0;
    os_lock_release(&cat->db->header_lock);
    return open_system_tree(cat->db, SHADOW_ROOT, SHADOW_OBJID, &cat->shadow);
}

err_t catalog__create(struct dbfile *db, struct txn_databases *dbs, const char *temp_dir,
                      struct catalog **out)
{
    struct catalog *cat = calloc(1, sizeof *cat);
    *out = NULL;
    if (cat == NULL)
        return RAISE(JET_errOutOfMemory);
    cat->temp_dir = strdup(temp_dir != NULL ? temp_dir : "");
    if (cat->temp_dir == NULL) {
        free(cat);
        return RAISE(JET_errOutOfMemory);
    }
    cat->db = db;
    cat->dbs = dbs;
    os_lock_init(&cat->lock, RANK_SCHEMA);
    os_cond_init(&cat->nobody_inside);
    list_init(&cat->tables);
    catalog__init_layout(cat);
    *out = cat;
    return JET_errSuccess;
}

void catalog__free(struct catalog *cat)
{
    os_cond_term(&cat->nobody_inside);
    os_lock_term(&cat->lock);
    free(cat->temp_dir);
    free(cat);
}

/* Descriptions first: their trees hold on to the system root's. */
void catalog_close(struct dbfile *db)
{
    struct catalog *cat = catalog_of(db);
    if (cat == NULL)
        return;
    db->catalog = NULL;
    os_lock_take(&cat->lock);
    cat->closed = true;
    cat->pending++; /* ours: an action that comes now must not free what we still hold */
    while (cat->inside > 0)
        os_cond_wait(&cat->nobody_inside, &cat->lock);
    os_lock_release(&cat->lock);
    LIST_FOR_EACH_SAFE(link, after, &cat->tables)
    {
        struct catalog_table *t = LIST_ENTRY(link, struct catalog_table, desc.in_catalog);
        list_remove(link);
        catalog__table_destroy(t);
    }
    btree_close(cat->shadow);
    btree_close(cat->roots);
    btree_close(cat->names);
    btree_close(cat->objects);
    btree_close(cat->system);
    os_lock_take(&cat->lock);
    bool last = --cat->pending == 0;
    os_lock_release(&cat->lock);
    if (last)
        catalog__free(cat);
}

/* JET_errSuccess and NULL when there is no such table. */
static err_t hold_system_table(struct catalog *cat, const char *name, struct table_desc **out)
{
    struct catalog_row row;
    struct catalog_table *t;
    *out = NULL;
    err_t err = catalog__find_table_row(cat, NULL, name, &row);
    if (err == JET_errRecordNotFound)
        return JET_errSuccess;
    TRY_RETURN(err);
    TRY_RETURN(catalog__get(cat, NULL, row.id, &t));
    *out = &t->desc;
    return JET_errSuccess;
}

err_t catalog__open_system_tables(struct catalog *cat)
{
    TRY_RETURN(hold_system_table(cat, "MSysObjects", &cat->self[0]));
    TRY_RETURN(hold_system_table(cat, "MSysObjectsShadow", &cat->self[1]));
    if (cat->self[0] == NULL || cat->self[1] == NULL)
        return RAISE(JET_errCatalogCorrupted);
    return hold_system_table(cat, "MSysObjids", &cat->objids);
}

err_t catalog_open(struct dbfile *db, struct txn_databases *dbs, const char *temp_dir,
                   struct trx *trx)
{
    err_t err = JET_errSuccess;
    struct catalog *cat;
    TRY_RETURN(catalog__create(db, dbs, temp_dir, &cat));
    db->catalog = cat;
    TRY(catalog__open_trees(cat));
    TRY(fit_layout(cat));
    TRY(catalog__open_system_tables(cat));
    if (!db->read_only)
        TRY(catalog__add_system_tables(cat, trx, false));
out:
    if (err < 0)
        catalog_close(db);
    return err;
}

struct table_desc *catalog_system_table(struct dbfile *db, bool shadow)
{
    return catalog_of(db)->self[shadow ? 1 : 0];
}
