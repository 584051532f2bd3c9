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

err_t info_of_table(JET_SESID sesid, JET_DBID dbid, const char *name, err_t (*fn)(void *context, struct table_desc *desc), void *context)
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

err_t info_of_cursor(JET_SESID sesid, JET_TABLEID tableid, err_t (*fn)(void *context, struct table_desc *desc), struct info_answer *a)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = fn(a, cursor_table(c->cursor));
    api_leave_cursor(c);
    return err;
}

static err_t object_answer(void *context, struct table_desc *desc)
{
    struct info_answer *a = context;
    JET_OBJECTINFO object = object_info(desc, !desc->db->read_only);
    return info_give_at_least(&object, sizeof object, a->to, a->room);
}

JET_ERR JetGetObjectInfoA(JET_SESID sesid, JET_DBID dbid, JET_OBJTYP objtyp, JET_PCSTR szContainerName, JET_PCSTR szObjectName, void *pvResult,
                          uint32_t cbMax, uint32_t InfoLevel)
{
    (void)szContainerName; /* all tables are in one container */
    struct info_answer a = {.to = pvResult, .room = cbMax};
    if (objtyp != JET_objtypTable && objtyp != JET_objtypNil)
        return RAISE(JET_errInvalidObject);
    if (InfoLevel >= JET_ObjInfoMax)
        return info_unknown_level(InfoLevel);
    if (InfoLevel != JET_ObjInfo && InfoLevel != JET_ObjInfoNoStats)
        return info_not_available(InfoLevel);
    return info_of_table(sesid, dbid, szObjectName, object_answer, &a);
}
PLAIN_IS_A(JetGetObjectInfo);

JET_ERR JetGetObjectInfoW(JET_SESID sesid, JET_DBID dbid, JET_OBJTYP objtyp, JET_PCWSTR szContainerName, JET_PCWSTR szObjectName, void *pvResult,
                          uint32_t cbMax, uint32_t InfoLevel)
{
    (void)szContainerName;
    WITH_TEXT(name, szObjectName, JetGetObjectInfoA(sesid, dbid, objtyp, NULL, name, pvResult, cbMax, InfoLevel))
}
