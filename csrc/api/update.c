#include "api/api_private.h"

/* Changing records: prepare, set, update, delete, lock, escrow. At level 0 a change is a transaction of its own. */

/* A call that changes something and is one call of the room below. */
#define ON_UPDATE(call)                                                                                                        \
    {                                                                                                                          \
        struct api_cursor *c;                                                                                                  \
        TRY_RETURN(api_enter_update(sesid, tableid, &c));                                                                      \
        err_t err_ = (call);                                                                                                   \
        api_leave_cursor(c);                                                                                                   \
        return err_;                                                                                                           \
    }

static err_t needs_transaction(struct api_cursor *c)
{
    if (session_level(c->session->session) > 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errNotInTransaction);
    err_detail("begin a transaction first");
    return err;
}

JET_ERR JetPrepareUpdate(JET_SESID sesid, JET_TABLEID tableid, uint32_t prep)
    ON_UPDATE(cursor_prepare(c->cursor, prep))

/* ---- set ---- */

static err_t set_column(struct api_cursor *c, JET_COLUMNID id, const void *pv, uint32_t cb, JET_GRBIT grbit, uint32_t offset, uint32_t sequence)
{
    const JET_GRBIT partial = JET_bitSetAppendLV | JET_bitSetOverwriteLV | JET_bitSetSizeLV;
    if (pv == NULL && cb > 0 && (grbit & JET_bitSetSizeLV) == 0)
        return api_invalid("bytes are counted but not given");
    bool null = cb == 0 && (grbit & (partial | JET_bitSetZeroLength)) == 0;
    return cursor_set(c->cursor, id, sequence, offset, SLICE(pv, cb), null, grbit);
}

static err_t set_with_info(struct api_cursor *c, JET_COLUMNID id, const void *pv, uint32_t cb, JET_GRBIT grbit, const JET_SETINFO *info)
{
    if (info == NULL)
        return set_column(c, id, pv, cb, grbit, 0, 1);
    if (info->cbStruct < sizeof *info)
        return api_invalid("JET_SETINFO.cbStruct is wrong");
    return set_column(c, id, pv, cb, grbit, info->ibLongValue, info->itagSequence);
}

JET_ERR JetSetColumn(JET_SESID sesid, JET_TABLEID tableid, JET_COLUMNID columnid, const void *pvData, uint32_t cbData, JET_GRBIT grbit,
                     JET_SETINFO *psetinfo)
    ON_UPDATE(set_with_info(c, columnid, pvData, cbData, grbit, psetinfo))

static err_t set_columns(struct api_cursor *c, JET_SETCOLUMN *list, uint32_t count)
{
    err_t warning = JET_errSuccess;
    if (list == NULL && count > 0)
        return api_invalid("the list of columns is missing");
    for (uint32_t i = 0; i < count; i++) {
        JET_SETCOLUMN *s = &list[i];
        s->err = set_column(c, s->columnid, s->pvData, s->cbData, s->grbit, s->ibLongValue, s->itagSequence);
        TRY_RETURN(s->err);
        warning = s->err > 0 ? s->err : warning;
    }
    return warning;
}

JET_ERR JetSetColumns(JET_SESID sesid, JET_TABLEID tableid, JET_SETCOLUMN *psetcolumn, uint32_t csetcolumn)
    ON_UPDATE(set_columns(c, psetcolumn, csetcolumn))

/* ---- update and delete ---- */

struct updating {
    struct api_cursor *c;
    void *to;
    uint32_t room;
    uint32_t *actual;
    bool must_fit;
};

static uint32_t bookmark_most(struct table_desc *desc)
{
    return desc->sequential || desc->primary == NULL ? 4 : desc->primary->def.key_most;
}

static err_t do_update(void *context, struct trx *trx)
{
    (void)trx;
    struct updating *u = context;
    struct slice bookmark;
    TRY_RETURN(cursor_update(u->c->cursor, &bookmark));
    if (u->actual != NULL)
        *u->actual = bookmark.n;
    if (u->to == NULL)
        return JET_errSuccess;
    memcpy(u->to, bookmark.p, bookmark.n < u->room ? bookmark.n : u->room);
    if (bookmark.n <= u->room || !u->must_fit)
        return JET_errSuccess;
    err_t err = RAISE(JET_errBufferTooSmall);
    err_detail("the bookmark has %u bytes, the buffer %u: the record was not inserted", bookmark.n, u->room);
    return err;
}

/* An insert whose bookmark may not fit is done as a whole that can be taken back. */
static err_t update(struct api_cursor *c, void *to, uint32_t room, uint32_t *actual)
{
    struct updating u = {.c = c, .to = to, .room = room, .actual = actual};
    u.must_fit = to != NULL && room < bookmark_most(cursor_table(c->cursor)) && cursor_prepared(c->cursor) == PREP_INSERT;
    if (u.must_fit)
        return api_as_whole(c->session, do_update, &u);
    return session_atomically(c->session->session, do_update, &u);
}

JET_ERR JetUpdate(JET_SESID sesid, JET_TABLEID tableid, void *pvBookmark, uint32_t cbBookmark, uint32_t *pcbActual)
    ON_UPDATE(update(c, pvBookmark, cbBookmark, pcbActual))

JET_ERR JetUpdate2(JET_SESID sesid, JET_TABLEID tableid, void *pvBookmark, uint32_t cbBookmark, uint32_t *pcbActual, const JET_GRBIT grbit)
{
    if (grbit != 0) {
        err_t err = RAISE(JET_errInvalidGrbit);
        err_detail("JetUpdate2 takes no grbit in this version");
        return err;
    }
    return JetUpdate(sesid, tableid, pvBookmark, cbBookmark, pcbActual);
}

static err_t do_delete(void *context, struct trx *trx)
{
    (void)trx;
    return cursor_delete(context);
}

JET_ERR JetDelete(JET_SESID sesid, JET_TABLEID tableid)
    ON_UPDATE(session_atomically(c->session->session, do_delete, c->cursor))

static err_t get_lock(struct api_cursor *c, JET_GRBIT grbit)
{
    if (grbit != JET_bitReadLock && grbit != JET_bitWriteLock)
        return RAISE(JET_errInvalidGrbit);
    TRY_RETURN(needs_transaction(c));
    return cursor_lock(c->cursor, grbit);
}

JET_ERR JetGetLock(JET_SESID sesid, JET_TABLEID tableid, JET_GRBIT grbit)
    ON_UPDATE(get_lock(c, grbit))

struct escrow {
    const void *delta;
    uint32_t delta_size;
    void *old;
    uint32_t old_room;
    uint32_t *old_actual;
    JET_GRBIT grbit;
};

static err_t escrow_update(struct api_cursor *c, JET_COLUMNID id, const struct escrow *e)
{
    int32_t delta, before;
    TRY_RETURN(needs_transaction(c));
    if (e->grbit != 0) {
        err_t err = RAISE(JET_errFeatureNotAvailable);
        err_detail("JET_bitEscrowNoRollback is not available");
        return err;
    }
    if (e->delta == NULL)
        return api_invalid("a number to add is needed");
    if (e->delta_size != sizeof delta || (e->old != NULL && e->old_room < sizeof before))
        return RAISE(JET_errInvalidBufferSize);
    memcpy(&delta, e->delta, sizeof delta);
    TRY_RETURN(cursor_escrow(c->cursor, id, delta, &before));
    if (e->old != NULL)
        memcpy(e->old, &before, sizeof before);
    if (e->old_actual != NULL)
        *e->old_actual = sizeof before;
    return JET_errSuccess;
}

JET_ERR JetEscrowUpdate(JET_SESID sesid, JET_TABLEID tableid, JET_COLUMNID columnid, void *pv, uint32_t cbMax, void *pvOld, uint32_t cbOldMax,
                        uint32_t *pcbOldActual, JET_GRBIT grbit)
{
    const struct escrow e = {pv, cbMax, pvOld, cbOldMax, pcbOldActual, grbit};
    ON_UPDATE(escrow_update(c, columnid, &e))
}
