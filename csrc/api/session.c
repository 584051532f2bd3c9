#include "api/api_private.h"

/* Sessions: the way into a call and out of it, JetBeginSession and its family. */

/* ---- into a call: order of checks as api-notes.md 3 ---- */

static err_t refuse_session(enum handle_answer answer)
{
    err_t err;
    switch (answer) {
    case HANDLE_BUSY:
        err = RAISE(JET_errSessionSharingViolation);
        err_detail("another call is inside this session; give each thread its own");
        return err;
    case HANDLE_CLOSING:
        return RAISE(JET_errTermInProgress);
    default:
        err = RAISE(JET_errInvalidSesid);
        err_detail("no session has this handle; it may have been ended");
        return err;
    }
}

static err_t enter(JET_SESID sesid, bool ending, struct api_session **out)
{
    void *object;
    *out = NULL;
    enum handle_answer answer = handle_take(sesid, HANDLE_SESSION, &object);
    if (answer != HANDLE_OK)
        return refuse_session(answer);
    struct api_session *s = object;
    if (s->session != NULL) {
        err_t err = ending ? session_enter_ending(s->session) : session_enter(s->session);
        if (err < 0) {
            handle_give(sesid);
            return err;
        }
    }
    *out = s;
    return JET_errSuccess;
}

err_t api_enter(JET_SESID sesid, struct api_session **out)
{
    return enter(sesid, false, out);
}

err_t api_enter_ending(JET_SESID sesid, struct api_session **out)
{
    return enter(sesid, true, out);
}

void api_leave(struct api_session *s)
{
    if (s->session != NULL)
        session_leave(s->session);
    handle_give(s->handle);
}

static err_t read_only_session(void)
{
    err_t err = RAISE(JET_errPermissionDenied);
    err_detail("this session reads a file without an instance; nothing can be changed through it");
    return err;
}

static err_t refuse_reader(struct api_session **out)
{
    if ((*out)->session != NULL)
        return JET_errSuccess;
    api_leave(*out);
    *out = NULL;
    return read_only_session();
}

err_t api_enter_writer(JET_SESID sesid, struct api_session **out)
{
    TRY_RETURN(enter(sesid, false, out));
    return refuse_reader(out);
}

err_t api_enter_writer_ending(JET_SESID sesid, struct api_session **out)
{
    TRY_RETURN(enter(sesid, true, out));
    return refuse_reader(out);
}

static err_t find_cursor(struct api_session *s, JET_TABLEID tableid, struct api_cursor **out)
{
    void *object;
    err_t err;
    switch (handle_peek(tableid, HANDLE_CURSOR, s, &object)) {
    case HANDLE_OK:
        *out = object;
        return JET_errSuccess;
    case HANDLE_BUSY:
        return RAISE(JET_errSesidTableIdMismatch);
    default:
        err = RAISE(JET_errInvalidTableId);
        err_detail("no cursor has this handle; it may have been closed, or opened in what was rolled back");
        return err;
    }
}

static err_t enter_cursor(JET_SESID sesid, JET_TABLEID tableid, bool ending, struct api_cursor **out)
{
    struct api_session *s;
    *out = NULL;
    TRY_RETURN(enter(sesid, ending, &s));
    err_t err = find_cursor(s, tableid, out);
    if (err < 0)
        api_leave(s);
    else if (s->session != NULL && cursor_prepared((*out)->cursor) != PREP_NONE && session_has_changes(s->session))
        session_begin_change(s->session); /* most calls give the prepared update up, with the long values it made */
    return err;
}

err_t api_enter_cursor(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out)
{
    return enter_cursor(sesid, tableid, false, out);
}

err_t api_enter_cursor_ending(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out)
{
    return enter_cursor(sesid, tableid, true, out);
}

static err_t enter_writable(JET_SESID sesid, JET_TABLEID tableid, bool rows, struct api_cursor **out)
{
    TRY_RETURN(api_enter_cursor(sesid, tableid, out));
    struct api_cursor *c = *out;
    err_t err = JET_errSuccess;
    if (c->session->session == NULL || (c->grbit & JET_bitTableReadOnly) != 0 || cursor_table(c->cursor)->db->read_only) {
        err = RAISE(JET_errPermissionDenied);
        err_detail("the table was opened for reading only");
    } else if (rows && (cursor_table(c->cursor)->flags & JET_bitObjectSystem) != 0) {
        err = RAISE(JET_errPermissionDenied);
        err_detail("%s belongs to the engine: create, alter and drop tables instead of changing its rows", cursor_table(c->cursor)->name);
    } else if (session_trx(c->session->session)->read_only && session_level(c->session->session) > 0) {
        err = RAISE(JET_errTransReadOnly);
    }
    if (err < 0) {
        api_leave_cursor(c);
        *out = NULL;
    } else {
        session_begin_change(c->session->session);
    }
    return err;
}

err_t api_enter_update(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out)
{
    return enter_writable(sesid, tableid, true, out);
}

err_t api_enter_ddl(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out)
{
    return enter_writable(sesid, tableid, false, out);
}

struct trx *api_trx(struct api_session *s)
{
    return s->session != NULL ? session_trx(s->session) : reader_trx(s->reader);
}

err_t api_database(struct api_session *s, JET_DBID dbid, struct dbfile **out)
{
    if (s->session != NULL)
        return session_database(s->session, dbid, out);
    *out = reader_db(s->reader);
    return dbid == 1 ? JET_errSuccess : RAISE(JET_errInvalidDatabaseId);
}

/* ---- cursors of a session ---- */

void api_close_table_cursor(struct api_session *s, struct table_cursor *cursor)
{
    if (s->session == NULL) {
        reader_close_table(s->reader, cursor);
        return;
    }
    err_t err = session_close_cursor(s->session, cursor);
    (void)err; /* it can only say that the cursor is not there */
}

err_t api_add_cursor(struct api_session *s, struct table_cursor *cursor, JET_DBID dbid, JET_GRBIT grbit, JET_TABLEID *out)
{
    struct api_cursor *c = calloc(1, sizeof *c);
    err_t err = c == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    if (err >= 0) {
        *c = (struct api_cursor){.session = s, .cursor = cursor, .dbid = dbid, .grbit = grbit};
        err = handle_create(HANDLE_CURSOR, c, s, &c->handle);
    }
    if (err < 0) {
        free(c);
        api_close_table_cursor(s, cursor);
        return err;
    }
    list_add_back(&s->cursors, &c->in_session);
    *out = c->handle;
    return JET_errSuccess;
}

void api_drop_cursor(struct api_cursor *c)
{
    handle_retire(c->handle);
    list_remove(&c->in_session);
    arena_free(&c->arena);
    buffer_free(&c->scratch);
    free(c);
}

void api_drop_dead_cursors(struct api_session *s)
{
    if (s->session == NULL)
        return;
    LIST_FOR_EACH_SAFE (link, after, &s->cursors) {
        struct api_cursor *c = LIST_ENTRY(link, struct api_cursor, in_session);
        if (session_cursor_dbid(s->session, c->cursor) == JET_dbidNil)
            api_drop_cursor(c);
    }
}

void api_forget_session(struct api_session *s)
{
    LIST_FOR_EACH_SAFE (link, after, &s->cursors)
        api_drop_cursor(LIST_ENTRY(link, struct api_cursor, in_session));
    handle_retire(s->handle);
    free(s);
}

/* ---- statements of several steps ---- */

err_t api_as_whole(struct api_session *s, err_t (*fn)(void *context, struct trx *trx), void *context)
{
    if (session_level(s->session) == 0)
        return session_atomically(s->session, fn, context);
    struct trx *trx = session_trx(s->session);
    session_begin_change(s->session);
    TRY_RETURN(session_begin_transaction(s->session, 0));
    err_t err = fn(context, trx);
    if (err >= 0) {
        err_t committed = session_commit(s->session, 0);
        if (committed >= 0)
            return err;
        err = committed;
    }
    struct err_origin origin = *err_last();
    err_t undone = session_rollback(s->session, 0);
    if (undone < 0)
        return undone;
    err_restore(&origin);
    return err;
}

/* ---- begin and end ---- */

static err_t add_to_instance(struct api_instance *i, struct api_session *s)
{
    err_t err = JET_errSuccess;
    os_lock_take(&i->lock);
    if (i->terminating)
        err = RAISE(JET_errTermInProgress);
    else
        list_add_back(&i->sessions, &s->in_instance);
    os_lock_release(&i->lock);
    return err;
}

static err_t begin_in(struct api_instance *i, JET_SESID *out)
{
    struct api_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RAISE(JET_errOutOfMemory);
    s->instance = i;
    list_init(&s->cursors);
    err_t err = session_begin(i->inst, &s->session);
    if (err < 0) {
        free(s);
        return err;
    }
    err = handle_create(HANDLE_SESSION, s, NULL, &s->handle);
    if (err >= 0) {
        err = add_to_instance(i, s);
        if (err >= 0) {
            *out = s->handle;
            return JET_errSuccess;
        }
        handle_retire(s->handle);
    }
    struct err_origin origin = *err_last();
    err_t ended = session_end(s->session);
    free(s);
    if (ended >= 0)
        err_restore(&origin);
    return ended < 0 ? ended : err;
}

JET_ERR JetBeginSessionA(JET_INSTANCE instance, JET_SESID *psesid, JET_PCSTR szUserName, JET_PCSTR szPassword)
{
    (void)szUserName;
    (void)szPassword;
    struct api_instance *i;
    if (psesid == NULL)
        return api_invalid("a place for the session handle is needed");
    *psesid = JET_sesidNil;
    TRY_RETURN(api_pin_instance(instance, false, &i));
    err_t err = instance_enter(i->inst, false);
    if (err >= 0) {
        err = begin_in(i, psesid);
        instance_leave(i->inst);
    }
    api_unpin_instance(i);
    return err;
}
PLAIN_IS_A(JetBeginSession);

JET_ERR JetBeginSessionW(JET_INSTANCE instance, JET_SESID *psesid, JET_PCWSTR szUserName, JET_PCWSTR szPassword)
{
    (void)szUserName;
    (void)szPassword;
    return JetBeginSessionA(instance, psesid, NULL, NULL);
}

JET_ERR JetDupSession(JET_SESID sesid, JET_SESID *psesid)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err;
    if (psesid == NULL) {
        err = api_invalid("a place for the session handle is needed");
    } else {
        *psesid = JET_sesidNil;
        err = begin_in(s->instance, psesid);
    }
    api_leave(s);
    return err;
}

static err_t end_entered(struct api_session *s)
{
    struct api_instance *i = s->instance;
    os_lock_take(&i->lock);
    list_remove(&s->in_instance);
    os_lock_release(&i->lock);
    err_t err = session_end(s->session);
    struct err_origin origin = *err_last();
    s->session = NULL;
    api_forget_session(s);
    instance_leave(i->inst); /* the second half of session_enter: the session that could leave is gone */
    if (err < 0)
        err_restore(&origin);
    return err;
}

JET_ERR JetEndSession(JET_SESID sesid, JET_GRBIT grbit)
{
    (void)grbit;
    struct api_session *s;
    TRY_RETURN(api_enter_writer_ending(sesid, &s));
    if (s->has_context) {
        api_leave(s);
        err_t err = RAISE(JET_errSessionInUse);
        err_detail("the session has a context; reset it first");
        return err;
    }
    return end_entered(s);
}

/* ---- context ---- */

JET_ERR JetSetSessionContext(JET_SESID sesid, JET_API_PTR ulContext)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = JET_errSuccess;
    if (s->has_context) {
        err = RAISE(JET_errSessionContextAlreadySet);
    } else {
        session_set_context(s->session, ulContext, true);
        s->has_context = true;
        s->context_thread = os_thread_id();
    }
    api_leave(s);
    return err;
}

JET_ERR JetResetSessionContext(JET_SESID sesid)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer_ending(sesid, &s));
    err_t err = JET_errSuccess;
    if (!s->has_context || s->context_thread != os_thread_id()) {
        err = RAISE(JET_errSessionContextNotSetByThisThread);
    } else {
        session_set_context(s->session, 0, false);
        s->has_context = false;
    }
    api_leave(s);
    return err;
}

/* ---- odds and ends ---- */

#define VERSION_OURS 0x06200014u /* format 0x620, update 20 */

JET_ERR JetGetVersion(JET_SESID sesid, uint32_t *pwVersion)
{
    struct api_session *s;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = pwVersion == NULL ? api_invalid("a place for the version is needed") : JET_errSuccess;
    if (err >= 0)
        *pwVersion = VERSION_OURS;
    api_leave(s);
    return err;
}

/* The background threads do what JetIdle asks for; it only tells whether old versions are left. */
JET_ERR JetIdle(JET_SESID sesid, JET_GRBIT grbit)
{
    struct api_session *s;
    struct instance_stats stats;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = JET_wrnNoIdleActivity;
    if ((grbit & ~(JET_GRBIT)(JET_bitIdleFlushBuffers | JET_bitIdleCompact | JET_bitIdleStatus)) != 0) {
        err = RAISE(JET_errInvalidGrbit);
    } else if ((grbit & (JET_bitIdleCompact | JET_bitIdleStatus)) != 0) {
        instance_stats(s->instance->inst, &stats);
        if (stats.versions_bytes > 0)
            err = JET_wrnRemainingVersions;
    }
    api_leave(s);
    return err;
}

JET_ERR JetSetSessionParameter(JET_SESID sesid, uint32_t sesparamid, void *pvParam, uint32_t cbParam)
{
    struct api_session *s;
    JET_GRBIT grbit;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = JET_errSuccess;
    if (sesparamid != JET_sesparamCommitDefault)
        err = RAISE(JET_errInvalidSesparamId);
    else if (pvParam == NULL)
        err = api_invalid("a value is needed");
    else if (cbParam != sizeof grbit)
        err = RAISE(JET_errInvalidBufferSize);
    if (err >= 0) {
        memcpy(&grbit, pvParam, sizeof grbit);
        session_set_commit_default(s->session, grbit);
    }
    api_leave(s);
    return err;
}

JET_ERR JetGetSessionParameter(JET_SESID sesid, uint32_t sesparamid, void *pvParam, uint32_t cbParamMax, uint32_t *pcbParamActual)
{
    struct api_session *s;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = JET_errSuccess;
    uint32_t level = s->session != NULL ? session_level(s->session) : s->reader_level;
    if (pcbParamActual != NULL)
        *pcbParamActual = sizeof level;
    if (sesparamid != JET_sesparamTransactionLevel)
        err = RAISE(JET_errInvalidSesparamId);
    else if (pvParam == NULL)
        err = api_invalid("a buffer is needed");
    else if (cbParamMax != sizeof level)
        err = RAISE(JET_errInvalidBufferSize);
    else
        memcpy(pvParam, &level, sizeof level);
    api_leave(s);
    return err;
}
