#include "api/api_private.h"

/* Schema as JET grbits, and the visits that need no list table. What is described is copied under the description's lock
 * first: no lock is held while the caller's function runs. */

JET_GRBIT api_column_grbit(const struct table_column *column)
{
    static const struct {
        uint32_t flag;
        JET_GRBIT grbit;
    } pairs[] = {
        {COLUMN_NOT_NULL, JET_bitColumnNotNULL},
        {COLUMN_VERSION, JET_bitColumnVersion},
        {COLUMN_AUTOINCREMENT, JET_bitColumnAutoincrement},
        {COLUMN_MULTI_VALUED, JET_bitColumnMultiValued},
        {COLUMN_ESCROW, JET_bitColumnEscrowUpdate},
        {COLUMN_FINALIZE, JET_bitColumnFinalize},
        {COLUMN_USER_DEFAULT, JET_bitColumnUserDefinedDefault},
        {COLUMN_DELETE_ON_ZERO, JET_bitColumnDeleteOnZero},
        {COLUMN_COMPRESSED, JET_bitColumnCompressed},
    };
    JET_GRBIT grbit = column->def.id <= COLID_FIXED_LAST ? JET_bitColumnFixed : column->def.id >= COLID_TAGGED_FIRST ? JET_bitColumnTagged : 0;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if ((column->def.flags & pairs[i].flag) != 0)
            grbit |= pairs[i].grbit;
    return grbit;
}

/* The NULL rules are stored as what gets an entry, and asked for as what does not. */
static JET_GRBIT null_grbit(uint32_t flags)
{
    if ((flags & INDEX_NO_NULL) != 0)
        return JET_bitIndexDisallowNull;
    if ((flags & INDEX_PRIMARY) != 0)
        return 0;
    JET_GRBIT grbit = 0;
    if ((flags & INDEX_ALL_NULL) == 0)
        grbit |= JET_bitIndexIgnoreNull;
    if ((flags & INDEX_FIRST_NULL) == 0)
        grbit |= JET_bitIndexIgnoreFirstNull;
    if ((flags & INDEX_ANY_NULL) == 0)
        grbit |= JET_bitIndexIgnoreAnyNull;
    return grbit;
}

JET_GRBIT api_index_grbit(const struct table_index *index)
{
    static const struct {
        uint32_t flag;
        JET_GRBIT grbit;
    } pairs[] = {
        {INDEX_UNIQUE, JET_bitIndexUnique},
        {INDEX_PRIMARY, JET_bitIndexPrimary},
        {INDEX_SORT_NULLS_HIGH, JET_bitIndexSortNullsHigh},
        {INDEX_CROSS_PRODUCT, JET_bitIndexCrossProduct},
        {INDEX_NO_TRUNCATION, JET_bitIndexDisallowTruncation},
        {INDEX_NESTED_TABLE, JET_bitIndexNestedTable},
        {INDEX_DOTNET_GUID, JET_bitIndexDotNetGuid},
    };
    JET_GRBIT grbit = null_grbit(index->def.flags) | (index->def.key_most != JET_cbKeyMostMin ? JET_bitIndexKeyMost : 0);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if ((index->def.flags & pairs[i].flag) != 0)
            grbit |= pairs[i].grbit;
    return grbit;
}

static err_t copy_name(struct arena *arena, const char *name1252, const char **out)
{
    char name[3 * NAME_ROOM];
    void *memory;
    catalog_name_to_utf8(name1252, name);
    TRY_RETURN(arena_take(arena, (uint32_t)strlen(name) + 1, &memory));
    memcpy(memory, name, strlen(name) + 1);
    *out = memory;
    return JET_errSuccess;
}

/* ---- tables ---- */

struct table_list {
    struct arena arena;
    struct table_item {
        struct table_item *next;
        PYJET_TABLE table;
    } *first, **last;
};

static err_t note_table(void *context, const struct catalog_table_info *info)
{
    struct table_list *list = context;
    void *memory, *name;
    uint32_t n = (uint32_t)strlen(info->name) + 1;
    TRY_RETURN(arena_take(&list->arena, sizeof(struct table_item), &memory));
    TRY_RETURN(arena_take(&list->arena, n, &name));
    memcpy(name, info->name, n);
    struct table_item *item = memory;
    *item = (struct table_item){
        .table = {.name = name, .objid = info->objid, .root = info->root, .flags = info->flags, .pages = info->pages, .density = info->density}};
    *list->last = item;
    list->last = &item->next;
    return JET_errSuccess;
}

JET_ERR PyjetVisitTables(JET_SESID sesid, JET_DBID dbid, JET_ERR (*visit)(void *context, const PYJET_TABLE *table), void *context)
{
    struct api_session *s;
    struct dbfile *db;
    struct table_list list = {.first = NULL};
    list.last = &list.first;
    if (visit == NULL)
        return api_invalid("a function to call is needed");
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = api_database(s, dbid, &db);
    if (err >= 0)
        err = catalog_visit_tables(db, api_trx(s), note_table, &list);
    for (struct table_item *item = list.first; item != NULL && err >= 0; item = item->next)
        err = visit(context, &item->table);
    arena_free(&list.arena);
    api_leave(s);
    return err;
}

/* ---- columns ---- */

static err_t copy_column(struct arena *arena, const struct table_column *from, PYJET_COLUMN *to)
{
    void *memory;
    *to = (PYJET_COLUMN){
        .columnid = from->def.id,
        .coltyp = from->def.coltyp,
        .cbMax = from->def.cb_max,
        .cp = from->def.code_page,
        .grbit = api_column_grbit(from),
    };
    TRY_RETURN(copy_name(arena, from->name, &to->name));
    if ((from->def.flags & COLUMN_HAS_DEFAULT) == 0 || from->def.default_value.p == NULL)
        return JET_errSuccess;
    TRY_RETURN(arena_take(arena, from->def.default_value.n, &memory));
    memcpy(memory, from->def.default_value.p, from->def.default_value.n);
    to->pvDefault = memory;
    to->cbDefault = from->def.default_value.n;
    return JET_errSuccess;
}

static err_t copy_columns(struct table_desc *desc, struct arena *arena, PYJET_COLUMN **out, uint32_t *count)
{
    void *memory;
    *count = 0;
    TRY_RETURN(arena_take(arena, desc->column_count * (uint32_t)sizeof **out, &memory));
    *out = memory;
    for (uint32_t i = 0; i < desc->column_count; i++)
        if (api_column_is_there(&desc->columns[i])) {
            TRY_RETURN(copy_column(arena, &desc->columns[i], &(*out)[*count]));
            ++*count;
        }
    return JET_errSuccess;
}

JET_ERR PyjetVisitColumns(JET_SESID sesid, JET_TABLEID tableid, JET_ERR (*visit)(void *context, const PYJET_COLUMN *column), void *context)
{
    struct api_cursor *c;
    struct arena arena = {NULL};
    PYJET_COLUMN *list = NULL;
    uint32_t count = 0;
    if (visit == NULL)
        return api_invalid("a function to call is needed");
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    struct table_desc *desc = cursor_table(c->cursor);
    os_rwlock_read(&desc->lock);
    err_t err = copy_columns(desc, &arena, &list, &count);
    os_rwlock_release(&desc->lock);
    for (uint32_t i = 0; i < count && err >= 0; i++)
        err = visit(context, &list[i]);
    arena_free(&arena);
    api_leave_cursor(c);
    return err;
}

/* ---- indexes ---- */

static err_t copy_index(struct arena *arena, const struct table_index *from, PYJET_INDEX *to)
{
    void *locale;
    *to = (PYJET_INDEX){
        .grbit = api_index_grbit(from),
        .cbKeyMost = from->def.key_most,
        .density = from->density,
        .flags = from->def.flags,
        .objid = from->def.objid,
        .root = from->tree == NULL ? 0 : from->tree->root,
        .cSegments = from->def.segment_count,
    };
    for (uint32_t i = 0; i < from->def.segment_count; i++) {
        to->segment[i] = from->def.segments[i].column;
        to->descending[i] = from->def.segments[i].descending;
    }
    TRY_RETURN(arena_take(arena, sizeof from->locale, &locale));
    memcpy(locale, from->locale, sizeof from->locale);
    to->locale = locale;
    return copy_name(arena, from->name, &to->name);
}

static err_t copy_indexes(struct table_desc *desc, const struct trx *trx, struct arena *arena, PYJET_INDEX **out, uint32_t *count)
{
    void *memory;
    *count = 0;
    TRY_RETURN(arena_take(arena, desc->index_count * (uint32_t)sizeof **out, &memory));
    *out = memory;
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (table_index_is_visible(desc, &desc->indexes[i], trx)) {
            TRY_RETURN(copy_index(arena, &desc->indexes[i], &(*out)[*count]));
            ++*count;
        }
    return JET_errSuccess;
}

JET_ERR PyjetVisitIndexes(JET_SESID sesid, JET_TABLEID tableid, JET_ERR (*visit)(void *context, const PYJET_INDEX *index), void *context)
{
    struct api_cursor *c;
    struct arena arena = {NULL};
    PYJET_INDEX *list = NULL;
    uint32_t count = 0;
    if (visit == NULL)
        return api_invalid("a function to call is needed");
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    struct table_desc *desc = cursor_table(c->cursor);
    os_rwlock_read(&desc->lock);
    err_t err = copy_indexes(desc, api_trx(c->session), &arena, &list, &count);
    os_rwlock_release(&desc->lock);
    for (uint32_t i = 0; i < count && err >= 0; i++)
        err = visit(context, &list[i]);
    arena_free(&arena);
    api_leave_cursor(c);
    return err;
}
