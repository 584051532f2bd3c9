/* Calls on a cursor: moving, seeking, single columns, updates. The fast loops over rows are in
 * fetch.c and change.c. */
#include "python/fetch.h"

static PYFN(JetOpenTable)
{
    struct session *s;
    uint32_t dbid, grbit = 0;
    const char *name;
    ARGS("JetOpenTable session:S dbid:u name:s grbit:u=", &s, &dbid, &name, &grbit);
    JET_TABLEID id = JET_tableidNil;
    JET_ERR err;
    SESSION_CALL(err, s, JetOpenTable(s->id, dbid, name, NULL, 0, grbit, &id));
    PyObject *cursor = err < 0 ? raise_jet(args.st, err) : py_cursor_of_engine(args.st, s, id);
    args_drop(&args);
    return cursor;
}

static PYFN(JetDupCursor)
{
    struct cursor *c;
    ARGS("JetDupCursor cursor:C", &c);
    JET_TABLEID id = JET_tableidNil;
    JET_ERR err;
    CURSOR_CALL(err, c, JetDupCursor(c->session->id, c->id, &id, 0));
    PyObject *cursor = err < 0 ? raise_jet(args.st, err) : py_cursor_of_engine(args.st, c->session, id);
    args_drop(&args);
    return cursor;
}

static PYFN(JetCloseTable)
{
    struct cursor *c;
    ARGS("JetCloseTable cursor:C", &c);
    JET_ERR err;
    CURSOR_CALL(err, c, JetCloseTable(c->session->id, c->id));
    if (err >= 0)
        py_cursor_ended(c);
    FINISH(err);
}

#define CURSOR_GRBIT(name)                                                                         \
    static PYFN(name)                                                                              \
    {                                                                                              \
        struct cursor *c;                                                                          \
        uint32_t grbit = 0;                                                                        \
        ARGS(#name " cursor:C grbit:u=", &c, &grbit);                                              \
        JET_ERR err;                                                                               \
        CURSOR_CALL(err, c, name(c->session->id, c->id, grbit));                                   \
        FINISH(err);                                                                               \
    }
CURSOR_GRBIT(JetSeek)
CURSOR_GRBIT(JetSetIndexRange)
CURSOR_GRBIT(JetGetLock)
CURSOR_GRBIT(JetPrepareUpdate)

#define CURSOR_PLAIN(name)                                                                         \
    static PYFN(name)                                                                              \
    {                                                                                              \
        struct cursor *c;                                                                          \
        ARGS(#name " cursor:C", &c);                                                               \
        JET_ERR err;                                                                               \
        CURSOR_CALL(err, c, name(c->session->id, c->id));                                          \
        FINISH(err);                                                                               \
    }
CURSOR_PLAIN(JetDelete)

static PYFN(JetMove)
{
    struct cursor *c;
    int32_t rows;
    uint32_t grbit = 0;
    ARGS("JetMove cursor:C rows:i grbit:u=", &c, &rows, &grbit);
    JET_ERR err;
    CURSOR_CALL(err, c, JetMove(c->session->id, c->id, rows, grbit));
    FINISH(err);
}

static PYFN(JetMakeKey)
{
    struct cursor *c;
    struct bytes_view data;
    uint32_t grbit = 0;
    ARGS("JetMakeKey cursor:C data:b grbit:u=", &c, &data, &grbit);
    if (!data.none && data.cb == 0)
        grbit |= JET_bitKeyDataZeroLength;
    JET_ERR err;
    CURSOR_CALL(err, c,
                JetMakeKey(c->session->id, c->id, data.none ? NULL : data.pv, data.cb, grbit));
    FINISH(err);
}

static PYFN(JetIndexRecordCount)
{
    struct cursor *c;
    uint32_t most = 0, n = 0;
    ARGS("JetIndexRecordCount cursor:C most:u=", &c, &most);
    JET_ERR err;
    CURSOR_CALL(err, c, JetIndexRecordCount(c->session->id, c->id, &n, most));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromUnsignedLong(n);
    args_drop(&args);
    return answer;
}

static PYFN(JetSetCurrentIndex2)
{
    struct cursor *c;
    const char *name;
    uint32_t grbit = JET_bitMoveFirst;
    ARGS("JetSetCurrentIndex2 cursor:C name:s grbit:u=", &c, &name, &grbit);
    JET_ERR err;
    CURSOR_CALL(err, c, JetSetCurrentIndex2(c->session->id, c->id, name, grbit));
    FINISH(err);
}

static PYFN(JetGetCurrentIndex)
{
    struct cursor *c;
    ARGS("JetGetCurrentIndex cursor:C", &c);
    char name[4 * JET_cbNameMost + 1] = "";
    JET_ERR err;
    CURSOR_CALL(err, c, JetGetCurrentIndex(c->session->id, c->id, name, sizeof(name)));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyUnicode_FromString(name);
    args_drop(&args);
    return answer;
}

typedef JET_ERR (*bytes_getter)(JET_SESID ses, JET_TABLEID table, void *pv, uint32_t cb,
                                uint32_t *actual, JET_GRBIT grbit);

static JET_ERR get_bookmark(JET_SESID ses, JET_TABLEID table, void *pv, uint32_t cb,
                            uint32_t *actual, JET_GRBIT grbit)
{
    (void)grbit;
    return JetGetBookmark(ses, table, pv, cb, actual);
}

static JET_ERR update_bookmark(JET_SESID ses, JET_TABLEID table, void *pv, uint32_t cb,
                               uint32_t *actual, JET_GRBIT grbit)
{
    (void)grbit;
    return JetUpdate(ses, table, pv, cb, actual);
}

static PyObject *short_bytes(struct args *a, struct cursor *c, JET_GRBIT grbit, bytes_getter get)
{
    unsigned char room[2 * JET_cbBookmarkMostMost];
    uint32_t actual = 0;
    JET_ERR err;
    if (!py_cursor_enter(a->st, c))
        return args_drop(a), NULL;
    AWAY(err, get(c->session->id, c->id, room, sizeof(room), &actual, grbit));
    py_session_leave(c->session);
    PyObject *answer =
        err < 0 ? raise_jet(a->st, err)
                : PyBytes_FromStringAndSize((const char *)room,
                                            actual < sizeof(room) ? actual : sizeof(room));
    args_drop(a);
    return answer;
}

static PYFN(JetGetBookmark)
{
    struct cursor *c;
    ARGS("JetGetBookmark cursor:C", &c);
    return short_bytes(&args, c, 0, get_bookmark);
}

static PYFN(JetUpdate)
{
    struct cursor *c;
    ARGS("JetUpdate cursor:C", &c);
    return short_bytes(&args, c, 0, update_bookmark);
}

static PYFN(JetRetrieveKey)
{
    struct cursor *c;
    uint32_t grbit = 0;
    ARGS("JetRetrieveKey cursor:C grbit:u=", &c, &grbit);
    return short_bytes(&args, c, grbit, JetRetrieveKey);
}

static PYFN(JetGotoBookmark)
{
    struct cursor *c;
    struct bytes_view b;
    ARGS("JetGotoBookmark cursor:C bookmark:b", &c, &b);
    JET_ERR err;
    CURSOR_CALL(err, c, JetGotoBookmark(c->session->id, c->id, (void *)b.pv, b.cb));
    FINISH(err);
}

static PYFN(JetSetColumn)
{
    struct cursor *c;
    struct bytes_view data;
    uint32_t id, grbit = 0;
    JET_SETINFO info = {.cbStruct = sizeof(info), .itagSequence = 1};
    ARGS("JetSetColumn cursor:C columnid:u data:b grbit:u= itag:u= offset:u=", &c, &id, &data,
         &grbit, &info.itagSequence, &info.ibLongValue);
    if (!data.none && data.cb == 0 &&
        !(grbit & (JET_bitSetSizeLV | JET_bitSetAppendLV | JET_bitSetOverwriteLV)))
        grbit |= JET_bitSetZeroLength;
    JET_ERR err;
    CURSOR_CALL(
        err, c,
        JetSetColumn(c->session->id, c->id, id, data.none ? NULL : data.pv, data.cb, grbit, &info));
    FINISH(err);
}

static PYFN(JetRetrieveColumn)
{
    struct cursor *c;
    uint32_t id, grbit = 0, size = 0, actual = 0;
    JET_RETINFO info = {.cbStruct = sizeof(info), .itagSequence = 1};
    ARGS("JetRetrieveColumn cursor:C columnid:u grbit:u= itag:u= offset:u= size:u=", &c, &id,
         &grbit, &info.itagSequence, &info.ibLongValue, &size);
    unsigned char first[512];
    JET_ERR err;
    PyObject *answer = NULL;
    uint32_t room = size == 0 || size > sizeof(first) ? (uint32_t)sizeof(first) : size;
    CURSOR_CALL(err, c,
                JetRetrieveColumn(c->session->id, c->id, id, first, room, &actual, grbit, &info));
    uint32_t want = size == 0 || actual < size ? actual : size;
    if (err < 0)
        raise_jet(args.st, err);
    else if (err == JET_wrnColumnNull)
        answer = Py_NewRef(Py_None);
    else if (want <= room)
        answer = PyBytes_FromStringAndSize((const char *)first, want);
    else if ((answer = PyBytes_FromStringAndSize(NULL, want)) != NULL) {
        if (!py_cursor_enter(args.st, c)) {
            Py_CLEAR(answer);
        } else {
            AWAY(err, JetRetrieveColumn(c->session->id, c->id, id, PyBytes_AS_STRING(answer), want,
                                        &actual, grbit, &info));
            py_session_leave(c->session);
            if (err < 0) {
                Py_CLEAR(answer);
                raise_jet(args.st, err);
            } else if (actual < want)
                _PyBytes_Resize(&answer, actual);
        }
    }
    args_drop(&args);
    return answer;
}

static PYFN(JetEscrowUpdate)
{
    struct cursor *c;
    uint32_t id, grbit = 0, actual = 0;
    int32_t delta, before = 0;
    ARGS("JetEscrowUpdate cursor:C columnid:u delta:i grbit:u=", &c, &id, &delta, &grbit);
    JET_ERR err;
    CURSOR_CALL(err, c,
                JetEscrowUpdate(c->session->id, c->id, id, &delta, sizeof(delta), &before,
                                sizeof(before), &actual, grbit));
    PyObject *answer = err < 0 ? raise_jet(args.st, err) : PyLong_FromLong(before);
    args_drop(&args);
    return answer;
}

static PYFN(JetGetRecordPosition)
{
    struct cursor *c;
    ARGS("JetGetRecordPosition cursor:C", &c);
    JET_RECPOS pos = {.cbStruct = sizeof(pos)};
    JET_ERR err;
    CURSOR_CALL(err, c, JetGetRecordPosition(c->session->id, c->id, &pos, sizeof(pos)));
    PyObject *answer =
        err < 0 ? raise_jet(args.st, err)
                : Py_BuildValue("(II)", (unsigned)pos.centriesLT, (unsigned)pos.centriesTotal);
    args_drop(&args);
    return answer;
}

PyMethodDef cursor_calls[] = {
    METHOD(JetOpenTable, "JetOpenTable(session, dbid, name, grbit=0) -> Cursor."),
    METHOD(JetDupCursor, "JetDupCursor(cursor) -> Cursor on the same table."),
    METHOD(JetCloseTable, "JetCloseTable(cursor)."),
    METHOD(JetSeek, "JetSeek(cursor, grbit): by the made key. JET_wrnSeekNotEqual or "
                    "JET_wrnUniqueKey as documented; RecordNotFoundError."),
    METHOD(JetSetIndexRange, "JetSetIndexRange(cursor, grbit=0): limit moves by the made key."),
    METHOD(JetGetLock,
           "JetGetLock(cursor, grbit): JET_bitReadLock or JET_bitWriteLock on the current record."),
    METHOD(JetPrepareUpdate,
           "JetPrepareUpdate(cursor, prep): JET_prepInsert, JET_prepReplace, JET_prepCancel ..."),
    METHOD(JetDelete, "JetDelete(cursor): the current record."),
    METHOD(JetMove, "JetMove(cursor, rows, grbit=0): JET_MoveFirst, JET_MoveLast, or so many rows. "
                    "NoCurrentRecordError."),
    METHOD(JetMakeKey,
           "JetMakeKey(cursor, data, grbit): one column of the search key; JET_bitNewKey begins."),
    METHOD(JetIndexRecordCount,
           "JetIndexRecordCount(cursor, most=0) -> entries from the current one on."),
    METHOD(JetSetCurrentIndex2,
           "JetSetCurrentIndex2(cursor, name, grbit=JET_bitMoveFirst); None: the primary one."),
    METHOD(JetGetCurrentIndex, "JetGetCurrentIndex(cursor) -> str."),
    METHOD(JetGetBookmark, "JetGetBookmark(cursor) -> bytes."),
    METHOD(JetGotoBookmark, "JetGotoBookmark(cursor, bookmark). RecordDeletedError."),
    METHOD(JetUpdate,
           "JetUpdate(cursor) -> bytes: the bookmark. KeyDuplicateError, WriteConflictError."),
    METHOD(JetRetrieveKey, "JetRetrieveKey(cursor, grbit=0) -> bytes."),
    METHOD(JetSetColumn,
           "JetSetColumn(cursor, columnid, data or None, grbit=0, itag=1, offset=0)."),
    METHOD(JetRetrieveColumn, "JetRetrieveColumn(cursor, columnid, grbit=0, itag=1, offset=0, "
                              "size=0) -> bytes, None for NULL; size 0: all."),
    METHOD(JetEscrowUpdate,
           "JetEscrowUpdate(cursor, columnid, delta, grbit=0) -> the value before."),
    METHOD(JetGetRecordPosition,
           "JetGetRecordPosition(cursor) -> (entries before, entries in all)."),
    METHOD(rows, "rows(cursor, plan, table, release, backwards=0) -> iterator of Row from the "
                 "current one on."),
    METHOD(span, "span(cursor, keys, low, high, inclusive, prefix, backwards) -> bool: limits the "
                 "cursor to a range; is there a row?"),
    METHOD(get_row, "get_row(cursor, keys, key, plan, table) -> Row. RecordNotFoundError."),
    METHOD(current_row, "current_row(cursor, plan, table) -> Row. NoCurrentRecordError."),
    METHOD(load_row, "load_row(cursor, row) -> row, read anew by its bookmark."),
    METHOD(insert_row, "insert_row(cursor, plan, values, table) -> Row, loaded at the first look."),
    METHOD(insert_many, "insert_many(cursor, plan, rows, columns=None) -> how many."),
    METHOD(update_row, "update_row(cursor, plan, bookmark, values) -> the bookmark afterwards."),
    METHOD(delete_row, "delete_row(cursor, bookmark)."),
    {NULL, NULL, 0, NULL},
};
