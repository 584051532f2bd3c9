#include "api/api_private.h"

/* Facts about indexes: of an open table, or by the table's name. */

static err_t give_u16(uint16_t value, void *to, uint32_t room)
{
    return info_give_at_least(&value, sizeof value, to, room);
}

static err_t give_index(const struct table_desc *desc, const struct table_index *index, const struct info_answer *a)
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

static err_t index_answer_locked(struct table_desc *desc, const struct info_answer *a)
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

static err_t table_index_info(JET_SESID sesid, JET_TABLEID tableid, const char *name, struct info_answer *a)
{
    a->name = name;
    TRY_RETURN(check_index_level(a->level));
    return info_of_cursor(sesid, tableid, index_answer, a);
}

JET_ERR JetGetTableIndexInfoA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName, void *pvResult, uint32_t cbResult, uint32_t InfoLevel)
{
    struct info_answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel};
    return table_index_info(sesid, tableid, szIndexName, &a);
}
PLAIN_IS_A(JetGetTableIndexInfo);

JET_ERR JetGetTableIndexInfoW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName, void *pvResult, uint32_t cbResult, uint32_t InfoLevel)
{
    struct info_answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel, .wide = true};
    WITH_TEXT(name, szIndexName, table_index_info(sesid, tableid, name, &a))
}

static err_t index_info(JET_SESID sesid, JET_DBID dbid, const char *table, const char *name, struct info_answer *a)
{
    a->name = name;
    TRY_RETURN(check_index_level(a->level));
    return info_of_table(sesid, dbid, table, index_answer, a);
}

JET_ERR JetGetIndexInfoA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, JET_PCSTR szIndexName, void *pvResult, uint32_t cbResult,
                         uint32_t InfoLevel)
{
    struct info_answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel};
    return index_info(sesid, dbid, szTableName, szIndexName, &a);
}
PLAIN_IS_A(JetGetIndexInfo);

JET_ERR JetGetIndexInfoW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, JET_PCWSTR szIndexName, void *pvResult, uint32_t cbResult,
                         uint32_t InfoLevel)
{
    struct info_answer a = {.to = pvResult, .room = cbResult, .level = InfoLevel, .wide = true};
    WITH_TEXTS(table, szTableName, name, szIndexName, index_info(sesid, dbid, table, name, &a))
}
