/* The catalog: its rows lead to every tree; its shadow, MSysObjids and the header must agree with
 * them. */
#include <stdio.h>

#include "check/check_private.h"

#define INDEX_DEFERRED 0x40000u /* filled later: entries may be missing */
#define FLAG_NO_SHADOW 1u
enum {
    COL_TABLE = 1,
    COL_TYPE = 2,
    COL_ID = 3,
    COL_ROOT = 4,
    COL_FLAGS = 6,
    COL_NAME = 128,
    COL_TUPLES = 135
};
enum { COL_OBJID = 256, COL_OBJID_TABLE = 257, COL_OBJID_TYPE = 258 };

struct copy { /* a row of MSysObjects, to be met again in the shadow */
    uint8_t key[16];
    uint32_t key_n;
    uint64_t hash;
};
struct object {
    objid_t objid, table;
    uint32_t type;
};
struct catalog_check {
    struct check *c;
    struct table_desc *desc; /* MSysObjects */
    struct copy *copies;
    uint32_t copy_count, copy_room, at;
    struct object *objects; /* of MSysObjids */
    uint32_t object_count, object_room;
    struct table_desc *objids;
    struct check_tree *tree; /* the one that is read now */
    uint64_t seed;
    bool has_objids;
};

static bool more_room(void **array, uint32_t count, uint32_t *room, size_t size)
{
    if (count < *room)
        return true;
    uint32_t wanted = *room == 0 ? 256 : 2 * *room;
    void *grown = realloc(*array, wanted * size);
    if (grown == NULL)
        return false;
    *array = grown;
    *room = wanted;
    return true;
}

static err_t get_number(struct table_desc *desc, struct slice record, colid_t id, uint32_t *out)
{
    struct record_value v;
    *out = 0;
    TRY_RETURN(record_get(&desc->layout, record, id, 1, &v));
    if (v.null)
        return RAISE(JET_errCatalogCorrupted);
    for (uint32_t i = 0; i < v.data.n && i < 4; i++)
        *out |= (uint32_t)v.data.p[i] << 8 * i;
    return JET_errSuccess;
}

static err_t decode_row(struct table_desc *desc, struct slice record, struct check_row *row)
{
    struct record_value v;
    *row = (struct check_row){0};
    TRY_RETURN(get_number(desc, record, COL_TABLE, &row->table));
    TRY_RETURN(get_number(desc, record, COL_TYPE, &row->type));
    TRY_RETURN(get_number(desc, record, COL_ID, &row->id));
    TRY_RETURN(get_number(desc, record, COL_ROOT, &row->root));
    TRY_RETURN(get_number(desc, record, COL_FLAGS, &row->flags));
    TRY_RETURN(record_get(&desc->layout, record, COL_NAME, 1, &v));
    if (v.null || v.data.n == 0 || v.data.n >= NAME_ROOM)
        return RAISE(JET_errCatalogCorrupted);
    memcpy(row->name, v.data.p, v.data.n);
    if (record_column(&desc->layout, COL_TUPLES) == NULL)
        return JET_errSuccess;
    TRY_RETURN(record_get(&desc->layout, record, COL_TUPLES, 1, &v));
    row->tuples = !v.null;
    return JET_errSuccess;
}

/* ---- MSysObjects and its shadow ---- */

static err_t see_row(void *context, pgno_t pgno, struct slice key, struct slice record)
{
    struct catalog_check *cc = context;
    struct check *c = cc->c;
    struct check_row row;
    if (!more_room((void **)&cc->copies, cc->copy_count, &cc->copy_room, sizeof *cc->copies) ||
        !more_room((void **)&c->rows, c->row_count, &c->row_room, sizeof *c->rows))
        return c->stop = RAISE(JET_errOutOfMemory);
    struct copy *copy = &cc->copies[cc->copy_count++];
    copy->key_n = key.n < sizeof copy->key ? key.n : sizeof copy->key;
    memcpy(copy->key, key.p, copy->key_n);
    copy->hash = hash_bytes(record, cc->seed);
    err_t err = decode_row(cc->desc, record, &row);
    if (err < 0)
        return check__survive(c, cc->tree, CHECK_CATALOG, pgno,
                              "a row of the catalog makes no sense", err);
    if (row.type == ROW_TABLE || row.type == ROW_INDEX || row.type == ROW_LONG_VALUES)
        c->rows[c->row_count++] = row;
    return JET_errSuccess;
}

static err_t tell_copy(struct catalog_check *cc, pgno_t pgno, struct slice key, const char *what)
{
    char hex[CHECK_HEX_ROOM];
    return check__tell(cc->c, cc->tree, CHECK_CATALOG, pgno, "row %s %s", check__hex(key, hex),
                       what);
}

/* Both come in key order: a merge. */
static err_t see_shadow(void *context, pgno_t pgno, struct slice key, struct slice record)
{
    struct catalog_check *cc = context;
    for (; cc->at < cc->copy_count; cc->at++) {
        struct copy *copy = &cc->copies[cc->at];
        int order = slice_compare(SLICE(copy->key, copy->key_n), key);
        if (order < 0) {
            TRY_RETURN(tell_copy(cc, PGNO_NIL, SLICE(copy->key, copy->key_n),
                                 "of the catalog is missing in its shadow"));
            continue;
        }
        if (order > 0)
            break;
        cc->at++;
        return copy->hash == hash_bytes(record, cc->seed)
                   ? JET_errSuccess
                   : tell_copy(cc, pgno, key, "of the catalog differs from its shadow");
    }
    return tell_copy(cc, pgno, key, "of the shadow is missing in the catalog");
}

static err_t end_shadow(struct catalog_check *cc)
{
    for (; cc->at < cc->copy_count; cc->at++)
        TRY_RETURN(tell_copy(cc, PGNO_NIL, SLICE(cc->copies[cc->at].key, cc->copies[cc->at].key_n),
                             "of the catalog is missing in its shadow"));
    return JET_errSuccess;
}

/* ---- MSysObjids ---- */

static err_t see_object(void *context, pgno_t pgno, struct slice key, struct slice record)
{
    struct catalog_check *cc = context;
    struct object o;
    (void)key;
    if (cc->objids == NULL)
        return JET_errSuccess;
    if (!more_room((void **)&cc->objects, cc->object_count, &cc->object_room, sizeof *cc->objects))
        return cc->c->stop = RAISE(JET_errOutOfMemory);
    err_t err = get_number(cc->objids, record, COL_OBJID, &o.objid);
    if (err >= 0)
        err = get_number(cc->objids, record, COL_OBJID_TABLE, &o.table);
    if (err >= 0)
        err = get_number(cc->objids, record, COL_OBJID_TYPE, &o.type);
    if (err < 0)
        return check__survive(cc->c, cc->tree, CHECK_CATALOG, pgno,
                              "a row of MSysObjids makes no sense", err);
    cc->objects[cc->object_count++] = o;
    return JET_errSuccess;
}

static int compare_objects(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    if (x->objid != y->objid)
        return x->objid < y->objid ? -1 : 1;
    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    return (x->type > y->type) - (x->type < y->type);
}

static bool names_tree(const struct check_row *row)
{
    return row->type != ROW_INDEX || (row->flags & INDEX_PRIMARY) == 0;
}

static err_t compare_objids(struct catalog_check *cc)
{
    err_t err = JET_errSuccess;
    struct check *c = cc->c;
    uint32_t count = 0;
    struct object *wanted = calloc(c->row_count + 1, sizeof *wanted);
    if (wanted == NULL)
        return c->stop = RAISE(JET_errOutOfMemory);
    for (uint32_t i = 0; i < c->row_count; i++)
        if (names_tree(&c->rows[i]))
            wanted[count++] = (struct object){c->rows[i].id, c->rows[i].table, c->rows[i].type};
    qsort(wanted, count, sizeof *wanted, compare_objects);
    if (cc->object_count != 0)
        qsort(cc->objects, cc->object_count, sizeof *cc->objects, compare_objects);
    for (uint32_t i = 0, j = 0; i < count || j < cc->object_count;) {
        int order = i == count              ? 1
                    : j == cc->object_count ? -1
                                            : compare_objects(&wanted[i], &cc->objects[j]);
        const struct object *o = order <= 0 ? &wanted[i] : &cc->objects[j];
        if (order != 0)
            TRY(check__tell(c, NULL, CHECK_CATALOG, PGNO_NIL, "object %u (table %u, type %u) is %s",
                            o->objid, o->table, o->type,
                            order < 0 ? "missing in MSysObjids" : "in MSysObjids only"));
        i += order <= 0;
        j += order >= 0;
    }
out:
    free(wanted);
    return err;
}

/* ---- tables ---- */

static err_t new_tree(struct check *c, const struct check_row *row, const char *table,
                      pgno_t parent, struct check_tree **out)
{
    struct check_tree like = {
        .root = row->root, .objid = row->id, .parent = parent, .unique = true};
    char name[CHECK_NAME_ROOM];
    catalog_name_to_utf8(row->name, name);
    snprintf(like.table, sizeof like.table, "%s", table != NULL ? table : name);
    if (row->type == ROW_INDEX) {
        like.kind = PAGE_INDEX;
        like.unique = (row->flags & INDEX_UNIQUE) != 0;
        snprintf(like.part, sizeof like.part, "index %s", name);
    } else if (row->type == ROW_LONG_VALUES) {
        like.kind = PAGE_LONG_VALUE;
        snprintf(like.part, sizeof like.part, "long values");
    }
    TRY_RETURN(check__tree_new(c, &like, out));
    if (row->id > c->db->header.objid_last)
        return check__tell(c, *out, CHECK_CATALOG, PGNO_NIL, "object %u is beyond the last one, %u",
                           row->id, c->db->header.objid_last);
    return JET_errSuccess;
}

static const struct table_index *index_of(const struct table_desc *desc, objid_t objid)
{
    for (uint32_t i = 0; desc != NULL && i < desc->index_count; i++)
        if (desc->indexes[i].def.objid == objid)
            return &desc->indexes[i];
    return NULL;
}

static err_t add_index(struct table_check *t, const struct check_row *row)
{
    struct index_check *x = &t->indexes[t->index_count++];
    *x = (struct index_check){.index = index_of(t->desc, row->id)};
    if (x->index != NULL) {
        x->keys_known = !x->index->foreign_sort;
        bool many = row->tuples || (row->flags & INDEX_MULTI_VALUED) != 0;
        x->complete = (row->flags & INDEX_DEFERRED) == 0 && (x->keys_known || !many);
    }
    return new_tree(t->c, row, t->tree->table, t->tree->root, &x->tree);
}

/* The rows of one table follow each other; from `at`, which is the table's own. */
static err_t add_parts(struct table_check *t, uint32_t at, const struct check_row *rows,
                       uint32_t row_count)
{
    uint32_t end = at + 1;
    while (end < row_count && rows[end].table == rows[at].table)
        end++;
    t->indexes = calloc(end - at, sizeof *t->indexes);
    if (t->indexes == NULL)
        return t->c->stop = RAISE(JET_errOutOfMemory);
    for (uint32_t i = at + 1; i < end; i++) {
        if (rows[i].type == ROW_INDEX && (rows[i].flags & INDEX_PRIMARY) == 0)
            TRY_RETURN(add_index(t, &rows[i]));
        else if (rows[i].type == ROW_LONG_VALUES && t->longval == NULL)
            TRY_RETURN(new_tree(t->c, &rows[i], t->tree->table, t->tree->root, &t->longval));
    }
    return JET_errSuccess;
}

static err_t open_table(struct catalog_check *cc, struct table_check *t,
                        const struct check_row *row, bool *held)
{
    struct check *c = cc->c;
    *held = false;
    if (row->id == OBJECTS_OBJID || row->id == SHADOW_OBJID) {
        t->desc = catalog_system_table(c->db, row->id == SHADOW_OBJID);
        return JET_errSuccess;
    }
    err_t err = catalog_table(c->db, &c->trx, t->tree->table, &t->desc);
    *held = err >= 0;
    if (err < 0)
        t->desc = NULL;
    return check__survive(c, t->tree, CHECK_CATALOG, PGNO_NIL, "the table cannot be opened", err);
}

static void watch(struct catalog_check *cc, struct table_check *t, const struct check_row *row)
{
    cc->tree = t->tree;
    t->also_context = cc;
    if (row->id == SHADOW_OBJID && (cc->c->db->header.db_flags0 & FLAG_NO_SHADOW) == 0)
        t->also = see_shadow;
    else if (strcmp(row->name, "MSysObjids") == 0) {
        t->also = see_object;
        cc->objids = t->desc;
        cc->has_objids = t->desc != NULL;
    }
}

static err_t check_one(struct catalog_check *cc, uint32_t at)
{
    err_t err = JET_errSuccess;
    struct check *c = cc->c;
    struct check_row row = c->rows[at];
    struct table_check t = {.c = c};
    bool held = false;
    TRY(new_tree(c, &row, NULL, SYSTEM_ROOT, &t.tree));
    TRY(open_table(cc, &t, &row, &held));
    TRY(add_parts(&t, at, c->rows, c->row_count));
    watch(cc, &t, &row);
    TRY(check__table(&t));
    if (t.also == see_shadow)
        TRY(end_shadow(cc));
    if (t.also == see_object && t.tree->damaged)
        cc->has_objids = false; /* told; what is missing lies in what could not be read */
out:
    if (held)
        catalog_release(t.desc);
    free(t.indexes);
    return err;
}

/* The rows first, quietly: they say what trees MSysObjects itself has. */
static err_t read_rows(struct catalog_check *cc)
{
    struct check_tree like = {.root = OBJECTS_ROOT,
                              .objid = OBJECTS_OBJID,
                              .parent = SYSTEM_ROOT,
                              .unique = true,
                              .table = "MSysObjects"};
    struct check_walk_want want = {
        .tree = &like, .root = OBJECTS_ROOT, .quiet = true, .fn = see_row, .context = cc};
    cc->tree = &like;
    return check__walk(cc->c, &want);
}

/* The two tables at fixed pages, which every engine looks for. */
static err_t check_fixed(struct check *c)
{
    static const struct {
        objid_t objid;
        pgno_t root;
        const char *name;
    } fixed[] = {{OBJECTS_OBJID, OBJECTS_ROOT, "MSysObjects"},
                 {SHADOW_OBJID, SHADOW_ROOT, "MSysObjectsShadow"}};
    for (uint32_t f = 0; f < 2; f++) {
        bool found = false;
        for (uint32_t i = 0; i < c->row_count; i++)
            found |= c->rows[i].type == ROW_TABLE && c->rows[i].id == fixed[f].objid &&
                     c->rows[i].root == fixed[f].root;
        if (!found)
            TRY_RETURN(check__tell(c, NULL, CHECK_CATALOG, PGNO_NIL,
                                   "no row says that %s has its root at page %u", fixed[f].name,
                                   fixed[f].root));
    }
    return JET_errSuccess;
}

err_t check__catalog(struct check *c)
{
    err_t err = JET_errSuccess;
    struct catalog_check cc = {.c = c, .desc = catalog_system_table(c->db, false)};
    cc.seed = (uint64_t)os_random_u32() << 32 | os_random_u32();
    TRY(read_rows(&cc));
    for (uint32_t i = 0; i < c->row_count; i++) {
        if (c->rows[i].type == ROW_TABLE)
            TRY(check_one(&cc, i));
        else if (i == 0 || c->rows[i].table != c->rows[i - 1].table)
            TRY(check__tell(c, NULL, CHECK_CATALOG, PGNO_NIL,
                            "rows of table %u without the table's own", c->rows[i].table));
    }
    TRY(check_fixed(c));
    if (cc.has_objids)
        TRY(compare_objids(&cc));
out:
    free(cc.copies);
    free(cc.objects);
    return err;
}
