#include "api/api_private.h"

/* Facts about tables, columns and indexes. Levels that answer with a list table are not available: JET_errFeatureNotAvailable. */

err_t info_not_available(uint32_t level)
{
    err_t err = RAISE(JET_errFeatureNotAvailable);
    err_detail("information level %u is not available", level);
    return err;
}

err_t info_unknown_level(uint32_t level)
{
    err_t err = RAISE(JET_errInvalidParameter);
    err_detail("there is no information level %u", level);
    return err;
}

err_t info_give_exact(const void *value, uint32_t n, void *to, uint32_t room)
{
    if (to == NULL)
        return api_invalid("a buffer for the answer is needed");
    if (room != n)
        return RAISE(JET_errInvalidBufferSize);
    memcpy(to, value, n);
    return JET_errSuccess;
}

err_t info_give_at_least(const void *value, uint32_t n, void *to, uint32_t room)
{
    if (to == NULL)
        return api_invalid("a buffer for the answer is needed");
    if (room < n) {
        err_t err = RAISE(JET_errBufferTooSmall);
        err_detail("the answer has %u bytes, the buffer %u", n, room);
        return err;
    }
    memcpy(to, value, n);
    return JET_errSuccess;
}

err_t info_give_u32(uint32_t value, void *to, uint32_t room)
{
    return info_give_exact(&value, sizeof value, to, room);
}

/* ---- tables ---- */

static JET_OBJECTINFO object_info(const struct table_desc *desc, bool updatable)
{
    return (JET_OBJECTINFO){
        .cbStruct = sizeof(JET_OBJECTINFO),
        .objtyp = JET_objtypTable,
        .grbit = JET_bitTableInfoBookmark | JET_bitTableInfoRollback | (updatable ? JET_bitTableInfoUpdatable : 0),
        .flags = desc->flags,
    };
}

static err_t lv_space(struct table_desc *desc, struct space_sum *sum)
{
    *sum = (struct space_sum){0, 0};
    return desc->longval_tree == NULL ? JET_errSuccess : space_sum(desc->longval_tree, sum);
}

static err_t table_space(struct table_desc *desc, void *to, uint32_t room, uint32_t level)
{
    struct space_sum sum;
    if (level == JET_TblInfoSpaceOwnedLV || level == JET_TblInfoSpaceAvailableLV)
        TRY_RETURN(lv_space(desc, &sum));
    else
        TRY_RETURN(space_sum(desc->tree, &sum));
    if (level == JET_TblInfoSpaceUsage) {
        uint32_t both[2] = {sum.owned, sum.available};
        return info_give_at_least(both, sizeof both, to, room);
    }
    uint32_t one = level == JET_TblInfoSpaceOwned || level == JET_TblInfoSpaceOwnedLV ? sum.owned : sum.available;
    return info_give_at_least(&one, sizeof one, to, room);
}

static err_t table_info(struct api_cursor *c, void *to, uint32_t room, uint32_t level, bool wide)
{
    struct table_desc *desc = cursor_table(c->cursor);
    char name[3 * NAME_ROOM];
    bool updatable = c->session->session != NULL && (c->grbit & JET_bitTableReadOnly) == 0 && !desc->db->read_only;
    JET_OBJECTINFO object = object_info(desc, updatable);
    uint32_t pair[2] = {desc->initial_pages, desc->density};
    switch (level) {
    case JET_TblInfo:
        return info_give_at_least(&object, sizeof object, to, room);
    case JET_TblInfoName:
        catalog_name_to_utf8(desc->name, name);
        return text_give(name, wide, to, room);
    case JET_TblInfoDbid:
        return info_give_at_least(&c->dbid, sizeof c->dbid, to, room);
    case JET_TblInfoSpaceAlloc:
        return info_give_at_least(pair, sizeof pair, to, room);
    case JET_TblInfoTemplateTableName:
        return text_give("", wide, to, room);
    case JET_TblInfoSpaceUsage:
    case JET_TblInfoSpaceOwned:
    case JET_TblInfoSpaceAvailable:
    case JET_TblInfoSpaceOwnedLV:
    case JET_TblInfoSpaceAvailableLV:
        return table_space(desc, to, room, level);
    case JET_TblInfoMostMany:
    case JET_TblInfoRvt:
    case JET_TblInfoOLC:
    case JET_TblInfoResetOLC:
    case JET_TblInfoDumpTable:
        return info_not_available(level);
    default:
        return info_unknown_level(level);
    }
}

static err_t get_table_info(JET_SESID sesid, JET_TABLEID tableid, void *to, uint32_t room, uint32_t level, bool wide)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = table_info(c, to, room, level, wide);
    api_leave_cursor(c);
    return err;
}

JET_ERR JetGetTableInfoA(JET_SESID sesid, JET_TABLEID tableid, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    return get_table_info(sesid, tableid, pvResult, cbMax, InfoLevel, false);
}
PLAIN_IS_A(JetGetTableInfo);

JET_ERR JetGetTableInfoW(JET_SESID sesid, JET_TABLEID tableid, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    return get_table_info(sesid, tableid, pvResult, cbMax, InfoLevel, true);
}

/* ---- by name: the table's description is borrowed for the call ---- */

static err_t with_table(JET_SESID sesid, JET_DBID dbid, const char *name, err_t (*fn)(void *context, struct table_desc *desc), void *context)
{
    struct api_session *s;
    struct dbfile *db;
    struct table_desc *desc;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = api_database(s, dbid, &db);
    if (err >= 0)
        err = name == NULL ? RAISE(JET_errInvalidName) : catalog_table(db, api_trx(s), name, &desc);
    if (err >= 0) {
        err = fn(context, desc);
        catalog_release(desc);
    }
    api_leave(s);
    return err;
}

struct answer {
    void *to;
    uint32_t room, level;
    bool wide;
    const char *name; /* of the column or index; at ...ByColid a JET_COLUMNID */
};

static err_t object_answer(void *context, struct table_desc *desc)
{
    struct answer *a = context;
    JET_OBJECTINFO object = object_info(desc, !desc->db->read_only);
    return info_give_at_least(&object, sizeof object, a->to, a->room);
}

JET_ERR JetGetObjectInfoA(JET_SESID sesid, JET_DBID dbid, JET_OBJTYP objtyp, JET_PCSTR szContainerName, JET_PCSTR szObjectName, void *pvResult,
                          uint32_t cbMax, uint32_t InfoLevel)
{
    (void)szContainerName; /* all tables are in one container */
    struct answer a = {.to = pvResult, .room = cbMax};
    if (objtyp != JET_objtypTable && objtyp != JET_objtypNil)
        return RAISE(JET_errInvalidObject);
    if (InfoLevel >= JET_ObjInfoMax)
        return info_unknown_level(InfoLevel);
    if (InfoLevel != JET_ObjInfo && InfoLevel != JET_ObjInfoNoStats)
        return info_not_available(InfoLevel);
    return with_table(sesid, dbid, szObjectName, object_answer, &a);
}
PLAIN_IS_A(JetGetObjectInfo);

JET_ERR JetGetObjectInfoW(JET_SESID sesid, JET_DBID dbid, JET_OBJTYP objtyp, JET_PCWSTR szContainerName, JET_PCWSTR szObjectName, void *pvResult,
                          uint32_t cbMax, uint32_t InfoLevel)
{
    (void)szContainerName;
    WITH_TEXT(name, szObjectName, JetGetObjectInfoA(sesid, dbid, objtyp, NULL, name, pvResult, cbMax, InfoLevel))
}

/* ---- columns ---- */

static err_t give_column(const struct table_column *column, const char *table, const struct answer *a)
{
    JET_COLUMNDEF def = {
        .cbStruct = sizeof def,
        .columnid = column->def.id,
        .coltyp = column->def.coltyp,
        .wCountry = 1,
        .langid = 0x409,
        .cp = column->def.code_page,
        .cbMax = column->def.cb_max,
        .grbit = api_column_grbit(column),
    };
    if (a->level == JET_ColInfo || a->level == JET_ColInfoByColid)
        return info_give_at_least(&def, sizeof def, a->to, a->room);
    union {
        JET_COLUMNBASE_A narrow;
        JET_COLUMNBASE_W wide;
    } base;
    memset(&base, 0, sizeof base);
    static_assert(offsetof(JET_COLUMNBASE_W, szBaseTableName) == sizeof def, "both begin as JET_COLUMNDEF");
    char name[3 * NAME_ROOM], of_table[3 * NAME_ROOM];
    catalog_name_to_utf8(column->name, name);
    catalog_name_to_utf8(table, of_table);
    uint32_t size = a->wide ? sizeof base.wide : sizeof base.narrow;
    memcpy(&base, &def, sizeof def);
    memcpy(&base, &size, sizeof size);
    if (a->wide) {
        text_to_wide(of_table, base.wide.szBaseTableName, sizeof base.wide.szBaseTableName);
        text_to_wide(name, base.wide.szBaseColumnName, sizeof base.wide.szBaseColumnName);
    } else {
        memcpy(base.narrow.szBaseTableName, of_table, strlen(of_table) + 1);
        memcpy(base.narrow.szBaseColumnName, name, strlen(name) + 1);
    }
    return info_give_at_least(&base, size, a->to, a->room);
}

static err_t find_column(struct table_desc *desc, const struct answer *a, const struct table_column **out)
{
    char name[NAME_ROOM];
    JET_COLUMNID id;
    *out = NULL;
    if (a->name == NULL)
        return api_invalid("a column's name, or its id, is needed");
    if (a->level == JET_ColInfoByColid || a->level == JET_ColInfoBaseByColid) {
        memcpy(&id, a->name, sizeof id);
        *out = table_column_by_id(desc, id);
    } else {
        TRY_RETURN(catalog_name_from_utf8(a->name, name));
        *out = table_find_column(desc, name);
    }
    return *out == NULL || !api_column_is_there(*out) ? RAISE(JET_errColumnNotFound) : JET_errSuccess;
}

static err_t column_answer(void *context, struct table_desc *desc)
{
    struct answer *a = context;
    const struct table_column *column;
    os_rwlock_read(&desc->lock);
    err_t err = find_column(desc, a, &column);
    if (err >= 0)
        err = give_column(column, desc->name, a);
    os_rwlock_release(&desc->lock);
    return err;
}

static err_t check_column_level(uint32_t level)
{
    switch (level & ~(JET_ColInfoGrbitNonDerivedColumnsOnly | JET_ColInfoGrbitMinimalInfo | JET_ColInfoGrbitSortByColumnid)) {
    case JET_ColInfo:
    case JET_ColInfoByColid:
    case JET_ColInfoBase:
    case JET_ColInfoBaseByColid:
        return JET_errSuccess;
    case JET_ColInfoList:
    case JET_ColInfoSysTabCursor:
    case JET_ColInfoListCompact:
    case JET_ColInfoListSortColumnid:
        return info_not_available(level);
    default:
        return info_unknown_level(level);
    }
}

static err_t on_cursor_table(JET_SESID sesid, JET_TABLEID tableid, err_t (*fn)(void *context, struct table_desc *desc), struct answer *a)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = fn(a, cursor_table(c->cursor));
    api_leave_cursor(c);
    return err;
}

/* The name of a W call, unless it is an id. */
static err_t wide_column_name(const JET_WCHAR *name, uint32_t level, char **text, const char **out)
{
    *text = NULL;
    *out = (const char *)name;
    if (level == JET_ColInfoByColid || level == JET_ColInfoBaseByColid)
        return JET_errSuccess;
    TRY_RETURN(text_from_wide(name, text));
    *out = *text;
    return JET_errSuccess;
}

JET_ERR JetGetTableColumnInfoA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szColumnName, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .name = szColumnName};
    TRY_RETURN(check_column_level(InfoLevel));
    return on_cursor_table(sesid, tableid, column_answer, &a);
}
PLAIN_IS_A(JetGetTableColumnInfo);

JET_ERR JetGetTableColumnInfoW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szColumnName, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    char *text;
    struct answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .wide = true};
    TRY_RETURN(check_column_level(InfoLevel));
    TRY_RETURN(wide_column_name(szColumnName, InfoLevel, &text, &a.name));
    err_t err = on_cursor_table(sesid, tableid, column_answer, &a);
    free(text);
    return err;
}

JET_ERR JetGetColumnInfoA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, JET_PCSTR pColumnNameOrId, void *pvResult, uint32_t cbMax,
                          uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .name = pColumnNameOrId};
    TRY_RETURN(check_column_level(InfoLevel));
    return with_table(sesid, dbid, szTableName, column_answer, &a);
}
PLAIN_IS_A(JetGetColumnInfo);

static err_t column_info_wide(JET_SESID sesid, JET_DBID dbid, const char *table, const JET_WCHAR *name, struct answer *a)
{
    char *text;
    TRY_RETURN(wide_column_name(name, a->level, &text, &a->name));
    err_t err = with_table(sesid, dbid, table, column_answer, a);
    free(text);
    return err;
}

JET_ERR JetGetColumnInfoW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, JET_PCWSTR pwColumnNameOrId, void *pvResult, uint32_t cbMax,
                          uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .wide = true};
    TRY_RETURN(check_column_level(InfoLevel));
    WITH_TEXT(table, szTableName, column_info_wide(sesid, dbid, table, pwColumnNameOrId, &a))
}

/* ---- indexes ---- */

static err_t give_u16(uint16_t value, void *to, uint32_t room)
{
    return info_give_at_least(&value, sizeof value, to, room);
}

static err_t give_index(const struct table_desc *desc, const struct table_index *index, const struct answer *a)
{
    JET_INDEXID id;
    uint32_t lcid = 0x409;
    switch (a->level) {
    case JET_IdxInfoSpaceAlloc:
        return info_give_at_least(&index->density, sizeof index->density, a->to, a->room);
    case JET_IdxInfoLCID:
        return info_give_at_least(&lcid, sizeof lcid, a->to, a->room);
    case JET_IdxInfoVarSegMac:
        return give_u16(index->def.var_seg_mac, a->to, a->room);
    case JET_IdxInfoKeyMost:
        return give_u16(index->def.key_most, a->to, a->room);
    case JET_IdxInfoLocaleName:
        return text_give(index->locale, a->wide, a->to, a->room);
    default:
        api_index_id(desc, index, &id);
        return info_give_at_least(&id, sizeof id, a->to, a->room);
    }
}

static err_t find_index(struct table_desc *desc, const char *name, const struct table_index **out)
{
    char name1252[NAME_ROOM];
    *out = desc->primary;
    if (name != NULL && name[0] != '\0') {
        TRY_RETURN(catalog_name_from_utf8(name, name1252));
        *out = table_find_index(desc, name1252);
    }
    return *out == NULL ? RAISE(JET_errIndexNotFound) : JET_errSuccess;
}

static err_t index_answer_locked(struct table_desc *desc, const struct answer *a)
{
    const struct table_index *index;
    if (a->level == JET_IdxInfoCount)
        return info_give_at_least(&desc->index_count, sizeof desc->index_count, a->to, a->room);
    TRY_RETURN(find_index(desc, a->name, &index));
    return give_index(desc, index, a);
}

static err_t index_answer(void *context, struct table_desc *desc)
{
    os_rwlock_read(&desc->lock);
    err_t err = index_answer_locked(desc, context);
    os_rwlock_release(&desc->lock);
    return err;
}

static err_t check_index_level(uint32_t level)
{
    switch (level) {
    case JET_IdxInfoSpaceAlloc:
    case JET_IdxInfoLCID:
    case JET_IdxInfoCount:
    case JET_IdxInfoVarSegMac:
    case JET_IdxInfoIndexId:
    case JET_IdxInfoKeyMost:
    case JET_IdxInfoLocaleName:
        return JET_errSuccess;
    case JET_IdxInfo:
    case JET_IdxInfoList:
    case JET_IdxInfoSysTabCursor:
    case JET_IdxInfoOLC:
    case JET_IdxInfoResetOLC:
    case JET_IdxInfoCreateIndex:
    case JET_IdxInfoCreateIndex2:
    case JET_IdxInfoCreateIndex3:
    case JET_IdxInfoSpaceOwned:
    case JET_IdxInfoSpaceAvailable:
        return info_not_available(level);
    default:
        return info_unknown_level(level);
    }
}

static err_t table_index_info(JET_SESID sesid, JET_TABLEID tableid, const char *name, struct answer *a)
{
    a->name = name;
    TRY_RETURN(check_index_level(a->level));
    return on_cursor_table(sesid, tableid, index_answer, a);
}

JET_ERR JetGetTableIndexInfoA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName, void *pvResult, uint32_t cbResult, uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel};
    return table_index_info(sesid, tableid, szIndexName, &a);
}
PLAIN_IS_A(JetGetTableIndexInfo);

JET_ERR JetGetTableIndexInfoW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName, void *pvResult, uint32_t cbResult, uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel, .wide = true};
    WITH_TEXT(name, szIndexName, table_index_info(sesid, tableid, name, &a))
}

static err_t index_info(JET_SESID sesid, JET_DBID dbid, const char *table, const char *name, struct answer *a)
{
    a->name = name;
    TRY_RETURN(check_index_level(a->level));
    return with_table(sesid, dbid, table, index_answer, a);
}

JET_ERR JetGetIndexInfoA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, JET_PCSTR szIndexName, void *pvResult, uint32_t cbResult,
                         uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel};
    return index_info(sesid, dbid, szTableName, szIndexName, &a);
}
PLAIN_IS_A(JetGetIndexInfo);

JET_ERR JetGetIndexInfoW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, JET_PCWSTR szIndexName, void *pvResult, uint32_t cbResult,
                         uint32_t InfoLevel)
{
    struct answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel, .wide = true};
    WITH_TEXTS(table, szTableName, name, szIndexName, index_info(sesid, dbid, table, name, &a))
}
