#include "api/api_private.h"

/* Cursors: open, close, move, seek, ranges, bookmarks, positions. */

/* ---- what is given out ---- */

/* As much as fits; *actual is the whole size. */
static bool give(struct slice bytes, void *to, uint32_t room, uint32_t *actual)
{
    uint32_t n = to == NULL ? 0 : bytes.n < room ? bytes.n : room;
    if (actual != NULL)
        *actual = bytes.n;
    if (n > 0)
        memcpy(to, bytes.p, n);
    return n == bytes.n;
}

static err_t give_or_too_small(struct slice bytes, void *to, uint32_t room, uint32_t *actual)
{
    if (give(bytes, to, room, actual))
        return JET_errSuccess;
    err_t err = RAISE(JET_errBufferTooSmall);
    err_detail("%u bytes are needed, the buffer has %u", bytes.n, to == NULL ? 0 : room);
    return err;
}

static err_t take(const void *from, uint32_t n, struct slice *out)
{
    *out = SLICE(from, n);
    return from == NULL && n > 0 ? api_invalid("bytes are counted but not given") : JET_errSuccess;
}

/* ---- open and close ---- */

static err_t open_in(struct api_session *s, JET_DBID dbid, const char *name, JET_GRBIT grbit, struct table_cursor **out)
{
    struct dbfile *db;
    if (s->session != NULL)
        return session_open_table(s->session, dbid, name, grbit, out);
    TRY_RETURN(api_database(s, dbid, &db));
    return reader_open_table(s->reader, name, out);
}

JET_ERR JetOpenTableA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, const void *pvParameters, uint32_t cbParameters, JET_GRBIT grbit,
                      JET_TABLEID *ptableid)
{
    (void)pvParameters;
    (void)cbParameters;
    struct api_session *s;
    struct table_cursor *cursor;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = ptableid == NULL ? api_invalid("a place for the table handle is needed") : JET_errSuccess;
    if (err >= 0) {
        *ptableid = JET_tableidNil;
        err = szTableName == NULL ? RAISE(JET_errInvalidName) : open_in(s, dbid, szTableName, grbit, &cursor);
        if (err >= 0) {
            err_t added = api_add_cursor(s, cursor, dbid, grbit, ptableid);
            err = added < 0 ? added : err;
        }
    }
    api_leave(s);
    return err;
}
PLAIN_IS_A(JetOpenTable);

JET_ERR JetOpenTableW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, const void *pvParameters, uint32_t cbParameters, JET_GRBIT grbit,
                      JET_TABLEID *ptableid)
    WITH_TEXT(name, szTableName, JetOpenTableA(sesid, dbid, name, pvParameters, cbParameters, grbit, ptableid))

static err_t dup_cursor(struct api_cursor *from, struct table_cursor **out)
{
    char name[3 * NAME_ROOM];
    if (from->session->session != NULL)
        return session_dup_cursor(from->session->session, from->cursor, out);
    catalog_name_to_utf8(cursor_table(from->cursor)->name, name);
    return reader_open_table(from->session->reader, name, out);
}

JET_ERR JetDupCursor(JET_SESID sesid, JET_TABLEID tableid, JET_TABLEID *ptableid, JET_GRBIT grbit)
{
    struct api_cursor *c;
    struct table_cursor *cursor;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = ptableid == NULL ? api_invalid("a place for the table handle is needed") : JET_errSuccess;
    if (err >= 0) {
        *ptableid = JET_tableidNil;
        err = grbit != 0 ? RAISE(JET_errInvalidGrbit) : dup_cursor(c, &cursor);
        if (err >= 0)
            err = api_add_cursor(c->session, cursor, c->dbid, c->grbit & JET_bitTableReadOnly, ptableid);
    }
    api_leave_cursor(c);
    return err;
}

JET_ERR JetCloseTable(JET_SESID sesid, JET_TABLEID tableid)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor_ending(sesid, tableid, &c));
    struct api_session *s = c->session;
    struct table_cursor *cursor = c->cursor;
    api_drop_cursor(c);
    api_close_table_cursor(s, cursor);
    api_leave(s);
    return JET_errSuccess;
}

/* ---- move and seek ---- */

/* A call that is one call of the room below. */
#define ON_CURSOR(call)                                                                                                        \
    {                                                                                                                          \
        struct api_cursor *c;                                                                                                  \
        TRY_RETURN(api_enter_cursor(sesid, tableid, &c));                                                                      \
        err_t err_ = (call);                                                                                                   \
        api_leave_cursor(c);                                                                                                   \
        return err_;                                                                                                           \
    }

JET_ERR JetMove(JET_SESID sesid, JET_TABLEID tableid, int32_t cRow, JET_GRBIT grbit)
    ON_CURSOR(cursor_move(c->cursor, cRow, grbit))

static err_t make_key(struct api_cursor *c, const void *pv, uint32_t cb, JET_GRBIT grbit)
{
    struct slice data;
    TRY_RETURN(take(pv, cb, &data));
    return cursor_make_key(c->cursor, data, cb == 0 && (grbit & (JET_bitKeyDataZeroLength | JET_bitNormalizedKey)) == 0, grbit);
}

JET_ERR JetMakeKey(JET_SESID sesid, JET_TABLEID tableid, const void *pvData, uint32_t cbData, JET_GRBIT grbit)
    ON_CURSOR(make_key(c, pvData, cbData, grbit))

static err_t seek(struct api_cursor *c, JET_GRBIT grbit)
{
    if ((grbit & (JET_bitSeekEQ | JET_bitSeekLT | JET_bitSeekLE | JET_bitSeekGE | JET_bitSeekGT)) == 0)
        return api_invalid("JetSeek needs one of JET_bitSeekEQ, LT, LE, GE, GT");
    return cursor_seek(c->cursor, grbit);
}

JET_ERR JetSeek(JET_SESID sesid, JET_TABLEID tableid, JET_GRBIT grbit)
    ON_CURSOR(seek(c, grbit))

JET_ERR JetSetIndexRange(JET_SESID sesid, JET_TABLEID tableid, JET_GRBIT grbit)
    ON_CURSOR(cursor_set_range(c->cursor, grbit))

/* ---- current index ---- */

#define INDEX_ID_MAGIC 0x58444E49u

static err_t name_of_id(struct api_cursor *c, const JET_INDEXID *id, char *name)
{
    struct table_desc *desc = cursor_table(c->cursor);
    err_t err = RAISE(JET_errInvalidIndexId);
    if (id->cbStruct != sizeof *id || load_u32(id->rgbIndexId) != INDEX_ID_MAGIC || load_u32(id->rgbIndexId + 8) != desc->objid)
        return err;
    os_rwlock_read(&desc->lock);
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (desc->indexes[i].def.objid == load_u32(id->rgbIndexId + 4)) {
            catalog_name_to_utf8(desc->indexes[i].name, name);
            err = JET_errSuccess;
        }
    os_rwlock_release(&desc->lock);
    return err;
}

void api_index_id(const struct table_desc *desc, const struct table_index *index, JET_INDEXID *out)
{
    *out = (JET_INDEXID){.cbStruct = sizeof *out};
    store_u32(out->rgbIndexId, INDEX_ID_MAGIC);
    store_u32(out->rgbIndexId + 4, index->def.objid);
    store_u32(out->rgbIndexId + 8, desc->objid);
}

static err_t set_index(struct api_cursor *c, const char *name, const JET_INDEXID *id, JET_GRBIT grbit, uint32_t sequence)
{
    char by_id[3 * NAME_ROOM];
    if ((grbit & ~(JET_GRBIT)JET_bitNoMove) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (id != NULL) {
        TRY_RETURN(name_of_id(c, id, by_id));
        name = by_id;
    }
    return cursor_set_index(c->cursor, name == NULL || name[0] == '\0' ? NULL : name, grbit, sequence);
}

JET_ERR JetSetCurrentIndex4A(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName, JET_INDEXID *pindexid, JET_GRBIT grbit, uint32_t itagSequence)
    ON_CURSOR(set_index(c, szIndexName, pindexid, grbit, itagSequence))
PLAIN_IS_A(JetSetCurrentIndex4);

JET_ERR JetSetCurrentIndex4W(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName, JET_INDEXID *pindexid, JET_GRBIT grbit, uint32_t itagSequence)
    WITH_TEXT(name, szIndexName, JetSetCurrentIndex4A(sesid, tableid, name, pindexid, grbit, itagSequence))

JET_ERR JetSetCurrentIndex3A(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName, JET_GRBIT grbit, uint32_t itagSequence)
{
    return JetSetCurrentIndex4A(sesid, tableid, szIndexName, NULL, grbit, itagSequence);
}
PLAIN_IS_A(JetSetCurrentIndex3);

JET_ERR JetSetCurrentIndex3W(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName, JET_GRBIT grbit, uint32_t itagSequence)
{
    return JetSetCurrentIndex4W(sesid, tableid, szIndexName, NULL, grbit, itagSequence);
}

JET_ERR JetSetCurrentIndex2A(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName, JET_GRBIT grbit)
{
    return JetSetCurrentIndex4A(sesid, tableid, szIndexName, NULL, grbit, 1);
}
PLAIN_IS_A(JetSetCurrentIndex2);

JET_ERR JetSetCurrentIndex2W(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName, JET_GRBIT grbit)
{
    return JetSetCurrentIndex4W(sesid, tableid, szIndexName, NULL, grbit, 1);
}

JET_ERR JetSetCurrentIndexA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName)
{
    return JetSetCurrentIndex4A(sesid, tableid, szIndexName, NULL, JET_bitMoveFirst, 1);
}
PLAIN_IS_A(JetSetCurrentIndex);

JET_ERR JetSetCurrentIndexW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName)
{
    return JetSetCurrentIndex4W(sesid, tableid, szIndexName, NULL, JET_bitMoveFirst, 1);
}

static err_t give_index_name(struct api_cursor *c, bool wide, void *to, uint32_t room)
{
    char name[3 * NAME_ROOM] = "";
    JET_WCHAR units[NAME_ROOM];
    const struct table_index *index = cursor_current_index(c->cursor);
    if (to == NULL || room == 0)
        return api_invalid("a buffer for the name is needed");
    if (index != NULL)
        catalog_name_to_utf8(index->name, name);
    uint32_t n = wide ? text_to_wide(name, units, sizeof units) : (uint32_t)strlen(name) + 1;
    return give(SLICE(wide ? (void *)units : (void *)name, n), to, room, NULL) ? JET_errSuccess : JET_wrnBufferTruncated;
}

JET_ERR JetGetCurrentIndexA(JET_SESID sesid, JET_TABLEID tableid, JET_PSTR szIndexName, uint32_t cbIndexName)
    ON_CURSOR(give_index_name(c, false, szIndexName, cbIndexName))
PLAIN_IS_A(JetGetCurrentIndex);

JET_ERR JetGetCurrentIndexW(JET_SESID sesid, JET_TABLEID tableid, JET_PWSTR szIndexName, uint32_t cbIndexName)
    ON_CURSOR(give_index_name(c, true, szIndexName, cbIndexName))

/* ---- bookmarks ---- */

static err_t get_bookmark(struct api_cursor *c, void *to, uint32_t room, uint32_t *actual)
{
    struct slice bookmark;
    TRY_RETURN(cursor_bookmark(c->cursor, &bookmark));
    return give_or_too_small(bookmark, to, room, actual);
}

JET_ERR JetGetBookmark(JET_SESID sesid, JET_TABLEID tableid, void *pvBookmark, uint32_t cbMax, uint32_t *pcbActual)
    ON_CURSOR(get_bookmark(c, pvBookmark, cbMax, pcbActual))

static err_t goto_bookmark(struct api_cursor *c, const void *from, uint32_t n)
{
    if (from == NULL || n == 0)
        return RAISE(JET_errInvalidBookmark);
    return cursor_goto_bookmark(c->cursor, SLICE(from, n));
}

JET_ERR JetGotoBookmark(JET_SESID sesid, JET_TABLEID tableid, void *pvBookmark, uint32_t cbBookmark)
    ON_CURSOR(goto_bookmark(c, pvBookmark, cbBookmark))

struct two_buffers {
    void *key, *primary;
    uint32_t key_room, primary_room;
    uint32_t *key_actual, *primary_actual;
};

static err_t get_secondary(struct api_cursor *c, const struct two_buffers *b)
{
    struct slice key, primary;
    TRY_RETURN(cursor_secondary_bookmark(c->cursor, &key, &primary));
    err_t first = give_or_too_small(key, b->key, b->key_room, b->key_actual);
    err_t second = give_or_too_small(primary, b->primary, b->primary_room, b->primary_actual);
    return first < 0 ? first : second;
}

JET_ERR JetGetSecondaryIndexBookmark(JET_SESID sesid, JET_TABLEID tableid, void *pvSecondaryKey, uint32_t cbSecondaryKeyMax,
                                     uint32_t *pcbSecondaryKeyActual, void *pvPrimaryBookmark, uint32_t cbPrimaryBookmarkMax,
                                     uint32_t *pcbPrimaryBookmarkActual, const JET_GRBIT grbit)
{
    const struct two_buffers b = {pvSecondaryKey,    pvPrimaryBookmark,     cbSecondaryKeyMax, cbPrimaryBookmarkMax,
                                  pcbSecondaryKeyActual, pcbPrimaryBookmarkActual};
    (void)grbit;
    ON_CURSOR(get_secondary(c, &b))
}

static err_t goto_secondary(struct api_cursor *c, const void *key, uint32_t key_n, const void *primary, uint32_t primary_n, JET_GRBIT grbit)
{
    struct slice k, p;
    if (key == NULL || key_n == 0)
        return RAISE(JET_errInvalidBookmark);
    TRY_RETURN(take(key, key_n, &k));
    TRY_RETURN(take(primary, primary_n, &p));
    return cursor_goto_secondary_bookmark(c->cursor, k, p, grbit);
}

JET_ERR JetGotoSecondaryIndexBookmark(JET_SESID sesid, JET_TABLEID tableid, void *pvSecondaryKey, uint32_t cbSecondaryKey, void *pvPrimaryBookmark,
                                      uint32_t cbPrimaryBookmark, const JET_GRBIT grbit)
    ON_CURSOR(goto_secondary(c, pvSecondaryKey, cbSecondaryKey, pvPrimaryBookmark, cbPrimaryBookmark, grbit))

/* ---- positions and counts ---- */

static err_t get_position(struct api_cursor *c, JET_RECPOS *out, uint32_t room)
{
    JET_RECPOS pos = {.cbStruct = sizeof pos, .centriesInRange = 1};
    if (out == NULL)
        return api_invalid("a place for the position is needed");
    if (room < sizeof pos)
        return RAISE(JET_errInvalidBufferSize);
    TRY_RETURN(cursor_position(c->cursor, &pos.centriesLT, &pos.centriesTotal));
    *out = pos;
    return JET_errSuccess;
}

JET_ERR JetGetRecordPosition(JET_SESID sesid, JET_TABLEID tableid, JET_RECPOS *precpos, uint32_t cbRecpos)
    ON_CURSOR(get_position(c, precpos, cbRecpos))

static err_t goto_position(struct api_cursor *c, const JET_RECPOS *pos)
{
    if (pos == NULL || pos->cbStruct < sizeof *pos || pos->centriesLT > pos->centriesTotal)
        return api_invalid("JET_RECPOS: its cbStruct is wrong, or more entries lie before than there are");
    return cursor_goto_position(c->cursor, pos->centriesLT, pos->centriesTotal);
}

JET_ERR JetGotoPosition(JET_SESID sesid, JET_TABLEID tableid, JET_RECPOS *precpos)
    ON_CURSOR(goto_position(c, precpos))

static err_t record_count(struct api_cursor *c, uint32_t *out, uint32_t most)
{
    uint64_t count;
    if (out == NULL)
        return api_invalid("a place for the count is needed");
    TRY_RETURN(cursor_count(c->cursor, most == 0 ? UINT64_MAX : most, &count));
    if (count > UINT32_MAX)
        return RAISE(JET_errTooManyRecords);
    *out = (uint32_t)count;
    return JET_errSuccess;
}

JET_ERR JetIndexRecordCount(JET_SESID sesid, JET_TABLEID tableid, uint32_t *pcrec, uint32_t crecMax)
    ON_CURSOR(record_count(c, pcrec, crecMax))

static err_t retrieve_key(struct api_cursor *c, void *to, uint32_t room, uint32_t *actual, JET_GRBIT grbit)
{
    struct slice key;
    TRY_RETURN(cursor_key(c->cursor, grbit, &key));
    bool whole = give(key, to, room, actual);
    return whole || (grbit & JET_bitRetrieveCopy) != 0 ? JET_errSuccess : JET_wrnBufferTruncated;
}

JET_ERR JetRetrieveKey(JET_SESID sesid, JET_TABLEID tableid, void *pvKey, uint32_t cbMax, uint32_t *pcbActual, JET_GRBIT grbit)
    ON_CURSOR(retrieve_key(c, pvKey, cbMax, pcbActual, grbit))
