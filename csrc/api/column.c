#include "api/api_private.h"

/* Retrieving: one column, several, all of a record (JetEnumerateColumns). */

/* ---- columnid 0: the n-th value of all tagged columns together ---- */

static err_t nth_tagged(struct api_cursor *c, uint32_t n, JET_GRBIT grbit, colid_t *id, uint32_t *sequence)
{
    *id = 0;
    for (;;) {
        uint32_t count;
        TRY_RETURN(cursor_next_tagged(c->cursor, *id, grbit, id));
        if (*id == 0)
            return JET_wrnColumnNull;
        TRY_RETURN(cursor_count_values(c->cursor, *id, grbit, &count));
        if (n <= count) {
            *sequence = n;
            return JET_errSuccess;
        }
        n -= count;
    }
}

struct wanted {
    colid_t id;
    uint32_t sequence, offset;
    JET_GRBIT grbit;
    void *to;
    uint32_t room;
    uint32_t actual; /* out, as are id and sequence */
};

static err_t retrieve(struct api_cursor *c, struct wanted *w)
{
    uint32_t sequence_used = w->sequence;
    w->actual = 0;
    if (w->to == NULL && w->room > 0)
        return api_invalid("room is counted but no buffer given");
    if (w->id == 0) {
        err_t err = nth_tagged(c, w->sequence, w->grbit, &w->id, &w->sequence);
        if (err != JET_errSuccess)
            return err;
    }
    err_t err = cursor_retrieve(c->cursor, w->id, w->sequence, w->offset, w->grbit, w->to, w->room, &w->actual, &sequence_used);
    if (err >= 0 && (w->grbit & JET_bitRetrieveTag) != 0)
        w->sequence = sequence_used;
    return err;
}

/* ---- one ---- */

static err_t retrieve_one(struct api_cursor *c, JET_COLUMNID id, void *to, uint32_t room, uint32_t *actual, JET_GRBIT grbit, JET_RETINFO *info)
{
    struct wanted w = {.id = id, .sequence = 1, .grbit = grbit, .to = to, .room = room};
    if (info != NULL) {
        if (info->cbStruct < sizeof *info)
            return api_invalid("JET_RETINFO.cbStruct is wrong");
        if (info->itagSequence == 0)
            return RAISE(JET_errBadItagSequence);
        w.sequence = info->itagSequence;
        w.offset = info->ibLongValue;
    }
    err_t err = retrieve(c, &w);
    if (err < 0)
        return err;
    if (actual != NULL)
        *actual = w.actual;
    if (info != NULL) {
        info->columnidNextTagged = w.id;
        if ((grbit & JET_bitRetrieveTag) != 0)
            info->itagSequence = w.sequence;
    }
    return err;
}

JET_ERR JetRetrieveColumn(JET_SESID sesid, JET_TABLEID tableid, JET_COLUMNID columnid, void *pvData, uint32_t cbData, uint32_t *pcbActual,
                          JET_GRBIT grbit, JET_RETINFO *pretinfo)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = retrieve_one(c, columnid, pvData, cbData, pcbActual, grbit, pretinfo);
    api_leave_cursor(c);
    return err;
}

/* ---- several ---- */

static err_t retrieve_entry(struct api_cursor *c, JET_RETRIEVECOLUMN *r)
{
    struct wanted w = {
        .id = r->columnid,
        .sequence = r->itagSequence,
        .offset = r->ibLongValue,
        .grbit = r->grbit,
        .to = r->pvData,
        .room = r->cbData,
    };
    if (r->itagSequence == 0) /* asks how many values there are */
        return cursor_count_values(c->cursor, r->columnid, r->grbit, &r->itagSequence);
    err_t err = retrieve(c, &w);
    if (err < 0)
        return err;
    r->cbActual = w.actual;
    r->columnidNextTagged = w.id;
    if ((r->grbit & JET_bitRetrieveTag) != 0)
        r->itagSequence = w.sequence;
    return err;
}

static err_t retrieve_list(struct api_cursor *c, JET_RETRIEVECOLUMN *list, uint32_t count)
{
    err_t warning = JET_errSuccess;
    if (list == NULL && count > 0)
        return api_invalid("the list of columns is missing");
    for (uint32_t i = 0; i < count; i++) {
        list[i].err = retrieve_entry(c, &list[i]);
        TRY_RETURN(list[i].err);
        if (list[i].err == JET_wrnBufferTruncated)
            warning = JET_wrnBufferTruncated;
    }
    return warning;
}

JET_ERR JetRetrieveColumns(JET_SESID sesid, JET_TABLEID tableid, JET_RETRIEVECOLUMN *pretrievecolumn, uint32_t cretrievecolumn)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_cursor(sesid, tableid, &c));
    err_t err = retrieve_list(c, pretrievecolumn, cretrievecolumn);
    api_leave_cursor(c);
    return err;
}

/* ---- all: JetEnumerateColumns. Memory comes from the caller's realloc function and is his, after an error too, but for
 * what this call hands back itself. ---- */

struct enumeration {
    struct api_cursor *c;
    JET_PFNREALLOC realloc_fn;
    void *realloc_context;
    uint32_t data_most;
    JET_GRBIT grbit, retrieve_grbit;
    JET_ENUMCOLUMN *list;
    uint32_t count, room;
};

static err_t allocate(struct enumeration *e, uint32_t size, void **out)
{
    *out = e->realloc_fn(e->realloc_context, NULL, size == 0 ? 1 : size);
    return *out == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
}

static void give_back(struct enumeration *e, void *p)
{
    if (p != NULL)
        e->realloc_fn(e->realloc_context, p, 0);
}

static void free_list(struct enumeration *e)
{
    for (uint32_t i = 0; i < e->count; i++) {
        JET_ENUMCOLUMN *col = &e->list[i];
        if (col->err == JET_wrnColumnSingleValue) {
            give_back(e, col->pvData);
            continue;
        }
        for (uint32_t v = 0; v < col->cEnumColumnValue; v++)
            give_back(e, col->rgEnumColumnValue[v].pvData);
        give_back(e, col->rgEnumColumnValue);
    }
    give_back(e, e->list);
}

/* One value whole, or its first data_most bytes. */
static err_t read_value(struct enumeration *e, colid_t id, uint32_t sequence, JET_ENUMCOLUMNVALUE *out)
{
    *out = (JET_ENUMCOLUMNVALUE){.itagSequence = sequence};
    if ((e->grbit & JET_bitEnumeratePresenceOnly) != 0) {
        out->err = JET_wrnColumnPresent;
        return JET_errSuccess;
    }
    uint32_t size, used;
    err_t err = cursor_retrieve(e->c->cursor, id, sequence, 0, e->retrieve_grbit, NULL, 0, &size, &used);
    TRY_RETURN(err);
    if (err == JET_wrnColumnNull) {
        out->err = err;
        return JET_errSuccess;
    }
    uint32_t n = size < e->data_most ? size : e->data_most;
    TRY_RETURN(allocate(e, n, &out->pvData));
    err = cursor_retrieve(e->c->cursor, id, sequence, 0, e->retrieve_grbit, out->pvData, n, &size, &used);
    if (err < 0) {
        give_back(e, out->pvData);
        out->pvData = NULL;
        return err;
    }
    out->cbData = n;
    out->err = n < size ? JET_wrnColumnTruncated : JET_errSuccess;
    return JET_errSuccess;
}

static err_t read_values(struct enumeration *e, JET_ENUMCOLUMN *col, const uint32_t *sequences, uint32_t count)
{
    void *values;
    if (count == 0) {
        col->err = JET_wrnColumnNull;
        return JET_errSuccess;
    }
    TRY_RETURN(allocate(e, count * (uint32_t)sizeof *col->rgEnumColumnValue, &values));
    col->rgEnumColumnValue = values;
    for (uint32_t i = 0; i < count; i++) {
        TRY_RETURN(read_value(e, col->columnid, sequences == NULL ? i + 1 : sequences[i], &col->rgEnumColumnValue[i]));
        col->cEnumColumnValue = i + 1;
    }
    if ((e->grbit & JET_bitEnumerateCompressOutput) != 0 && count == 1 && col->rgEnumColumnValue[0].err == JET_errSuccess) {
        JET_ENUMCOLUMNVALUE only = col->rgEnumColumnValue[0];
        give_back(e, col->rgEnumColumnValue);
        col->err = JET_wrnColumnSingleValue;
        col->cbData = only.cbData;
        col->pvData = only.pvData;
    }
    return JET_errSuccess;
}

static err_t next_entry(struct enumeration *e, colid_t id, JET_ENUMCOLUMN **out)
{
    if (e->count == e->room) {
        uint32_t room = e->room == 0 ? 16 : e->room * 2;
        void *grown = e->realloc_fn(e->realloc_context, e->list, room * (uint32_t)sizeof *e->list);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        e->list = grown;
        e->room = room;
    }
    *out = &e->list[e->count++];
    memset(*out, 0, sizeof **out);
    (*out)->columnid = id;
    return JET_errSuccess;
}

/* Listed columns: each one gets an entry. */
static err_t enumerate_listed(struct enumeration *e, const JET_ENUMCOLUMNID *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        JET_ENUMCOLUMN *col;
        TRY_RETURN(next_entry(e, list[i].columnid, &col));
        if (list[i].columnid == 0) {
            col->err = JET_wrnColumnSkipped;
            continue;
        }
        if (list[i].ctagSequence > 0 && list[i].rgtagSequence == NULL)
            return api_invalid("JET_ENUMCOLUMNID: sequences are counted but not given");
        uint32_t values = list[i].ctagSequence;
        if (values == 0)
            TRY_RETURN(cursor_count_values(e->c->cursor, list[i].columnid, e->retrieve_grbit, &values));
        TRY_RETURN(read_values(e, col, list[i].ctagSequence == 0 ? NULL : list[i].rgtagSequence, values));
    }
    return JET_errSuccess;
}

static bool is_there(struct table_desc *desc, uint32_t at, colid_t *id)
{
    os_rwlock_read(&desc->lock);
    bool some = at < desc->column_count;
    *id = some && api_column_is_there(&desc->columns[at]) ? desc->columns[at].def.id : 0;
    os_rwlock_release(&desc->lock);
    return some;
}

/* All columns that have a value. */
static err_t enumerate_all(struct enumeration *e)
{
    struct table_desc *desc = cursor_table(e->c->cursor);
    colid_t id;
    for (uint32_t i = 0; is_there(desc, i, &id); i++) {
        JET_ENUMCOLUMN *col;
        uint32_t values;
        if (id == 0 || ((e->grbit & JET_bitEnumerateTaggedOnly) != 0 && id < COLID_TAGGED_FIRST))
            continue;
        TRY_RETURN(cursor_count_values(e->c->cursor, id, e->retrieve_grbit, &values));
        if (values == 0)
            continue;
        TRY_RETURN(next_entry(e, id, &col));
        TRY_RETURN(read_values(e, col, NULL, values));
    }
    return JET_errSuccess;
}

static err_t enumerate(struct enumeration *e, const JET_ENUMCOLUMNID *list, uint32_t count)
{
    const JET_GRBIT known = JET_bitEnumerateCopy | JET_bitEnumerateIgnoreDefault | JET_bitEnumeratePresenceOnly | JET_bitEnumerateTaggedOnly |
                            JET_bitEnumerateCompressOutput | JET_bitEnumerateIgnoreUserDefinedDefault;
    if ((e->grbit & JET_bitEnumerateInRecordOnly) != 0) {
        err_t err = RAISE(JET_errFeatureNotAvailable);
        err_detail("JET_bitEnumerateInRecordOnly is not available");
        return err;
    }
    if ((e->grbit & ~known) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (list == NULL && count > 0)
        return api_invalid("columns are counted but not given");
    return count > 0 ? enumerate_listed(e, list, count) : enumerate_all(e);
}

JET_ERR JetEnumerateColumns(JET_SESID sesid, JET_TABLEID tableid, uint32_t cEnumColumnId, JET_ENUMCOLUMNID *rgEnumColumnId,
                            uint32_t *pcEnumColumn, JET_ENUMCOLUMN **prgEnumColumn, JET_PFNREALLOC pfnRealloc, void *pvReallocContext,
                            uint32_t cbDataMost, JET_GRBIT grbit)
{
    struct enumeration e = {.realloc_fn = pfnRealloc, .realloc_context = pvReallocContext, .data_most = cbDataMost, .grbit = grbit};
    TRY_RETURN(api_enter_cursor(sesid, tableid, &e.c));
    err_t err;
    if (pcEnumColumn == NULL || prgEnumColumn == NULL || pfnRealloc == NULL) {
        err = api_invalid("JetEnumerateColumns needs places for its answer and a realloc function");
    } else {
        *pcEnumColumn = 0;
        *prgEnumColumn = NULL;
        e.retrieve_grbit = ((grbit & JET_bitEnumerateCopy) != 0 ? JET_bitRetrieveCopy : 0) |
                           ((grbit & JET_bitEnumerateIgnoreDefault) != 0 ? JET_bitRetrieveIgnoreDefault : 0);
        err = enumerate(&e, rgEnumColumnId, cEnumColumnId);
        if (err < 0) {
            free_list(&e);
        } else {
            *pcEnumColumn = e.count;
            *prgEnumColumn = e.list;
        }
    }
    api_leave_cursor(e.c);
    return err;
}
