#include "api/api_private.h"

/* Facts about columns: of an open table, or by the table's name. */

static err_t give_column(const struct table_column *column, const char *table, const struct info_answer *a)
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

static err_t find_column(struct table_desc *desc, const struct info_answer *a, const struct table_column **out)
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
    struct info_answer *a = context;
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
    struct info_answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .name = szColumnName};
    TRY_RETURN(check_column_level(InfoLevel));
    return info_of_cursor(sesid, tableid, column_answer, &a);
}
PLAIN_IS_A(JetGetTableColumnInfo);

JET_ERR JetGetTableColumnInfoW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szColumnName, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    char *text;
    struct info_answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .wide = true};
    TRY_RETURN(check_column_level(InfoLevel));
    TRY_RETURN(wide_column_name(szColumnName, InfoLevel, &text, &a.name));
    err_t err = info_of_cursor(sesid, tableid, column_answer, &a);
    free(text);
    return err;
}

JET_ERR JetGetColumnInfoA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, JET_PCSTR pColumnNameOrId, void *pvResult, uint32_t cbMax,
                          uint32_t InfoLevel)
{
    struct info_answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .name = pColumnNameOrId};
    TRY_RETURN(check_column_level(InfoLevel));
    return info_of_table(sesid, dbid, szTableName, column_answer, &a);
}
PLAIN_IS_A(JetGetColumnInfo);

static err_t column_info_wide(JET_SESID sesid, JET_DBID dbid, const char *table, const JET_WCHAR *name, struct info_answer *a)
{
    char *text;
    TRY_RETURN(wide_column_name(name, a->level, &text, &a->name));
    err_t err = info_of_table(sesid, dbid, table, column_answer, a);
    free(text);
    return err;
}

JET_ERR JetGetColumnInfoW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, JET_PCWSTR pwColumnNameOrId, void *pvResult, uint32_t cbMax,
                          uint32_t InfoLevel)
{
    struct info_answer a = {.to = pvResult, .room = cbMax, .level = InfoLevel, .wide = true};
    TRY_RETURN(check_column_level(InfoLevel));
    WITH_TEXT(table, szTableName, column_info_wide(sesid, dbid, table, pwColumnNameOrId, &a))
}
