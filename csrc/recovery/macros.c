/* Changes of several pages: their records are kept from MacroBegin to MacroCommit and then redone as one. Other records of the
 * same session may lie between, so a macro is known by its session and its dbtime. */
#include "recovery/recovery_private.h"

static struct redo_macro **find(struct redo_session *s, dbtime_t dbtime)
{
    struct redo_macro **at = &s->macros;
    while (*at != NULL && (*at)->dbtime != dbtime)
        at = &(*at)->next;
    return at;
}

static void drop(struct redo_macro **at)
{
    struct redo_macro *m = *at;
    if (m == NULL)
        return;
    *at = m->next;
    buffer_free(&m->bytes);
    free(m->size);
    free(m);
}

void recovery__macros_drop(struct redo_session *s)
{
    while (s->macros != NULL)
        drop(&s->macros);
}

static err_t keep(struct redo_macro *m, struct slice record)
{
    if (m->count == m->room) {
        int room = m->room == 0 ? 8 : m->room * 2;
        uint32_t *grown = realloc(m->size, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        m->size = grown;
        m->room = room;
    }
    if (record.n > UINT32_MAX / 2 - m->bytes.n)
        return RAISE(JET_errLogFileCorrupt);
    TRY_RETURN(buffer_append(&m->bytes, record));
    m->size[m->count++] = record.n;
    return JET_errSuccess;
}

err_t recovery__macro_take(struct redo_session *s, dbid_t dbid, dbtime_t dbtime, struct slice record, bool *taken)
{
    struct redo_macro *m = s->macros == NULL ? NULL : *find(s, dbtime);
    *taken = m != NULL;
    if (m == NULL)
        return JET_errSuccess;
    if (m->dbid != 0 && m->dbid != dbid)
        return RAISE(JET_errLogFileCorrupt);
    m->dbid = dbid;
    return keep(m, record);
}

/* The session of a macro record; NULL when it has not been seen. */
static err_t open_record(struct recovery *r, struct slice record, struct redo_session **s, dbtime_t *dbtime)
{
    if (record.n < 11)
        return recovery__bad_record(r, record);
    TRY_RETURN(recovery__session(r, load_u16(record.p + 1), s));
    if (!(*s)->seen)
        *s = NULL;
    *dbtime = load_u64(record.p + 3);
    return JET_errSuccess;
}

err_t recovery__macro_begin(struct recovery *r, struct slice record)
{
    struct redo_session *s;
    dbtime_t dbtime = DBTIME_NIL;
    TRY_RETURN(open_record(r, record, &s, &dbtime));
    if (s == NULL)
        return JET_errSuccess;
    if (*find(s, dbtime) != NULL)
        return recovery__bad_record(r, record);
    struct redo_macro *m = calloc(1, sizeof *m);
    if (m == NULL)
        return RAISE(JET_errOutOfMemory);
    m->dbtime = dbtime;
    m->next = s->macros;
    s->macros = m;
    return JET_errSuccess;
}

static err_t redo_one(struct recovery *r, struct redo_session *s, const struct redo_macro *m)
{
    struct redo_database *d = recovery__database(r, m->dbid);
    struct redo redo;
    if (d == NULL || m->count == 0)
        return JET_errSuccess;
    struct slice *records = calloc((size_t)m->count, sizeof *records);
    if (records == NULL)
        return RAISE(JET_errOutOfMemory);
    const uint8_t *at = m->bytes.p;
    for (int i = 0; i < m->count; at += m->size[i++])
        records[i] = SLICE(at, m->size[i]);
    recovery__fill_redo(r, s, d, &redo);
    err_t err = btree_redo_macro(&redo, records, m->count);
    free(records);
    return err;
}

err_t recovery__macro_commit(struct recovery *r, struct slice record)
{
    struct redo_session *s;
    dbtime_t dbtime = DBTIME_NIL;
    TRY_RETURN(open_record(r, record, &s, &dbtime));
    if (s == NULL)
        return JET_errSuccess;
    struct redo_macro **at = find(s, dbtime);
    if (*at == NULL)
        return recovery__bad_record(r, record);
    err_t err = redo_one(r, s, *at);
    drop(at);
    return err;
}

err_t recovery__macro_abort(struct recovery *r, struct slice record)
{
    struct redo_session *s;
    dbtime_t dbtime = DBTIME_NIL;
    TRY_RETURN(open_record(r, record, &s, &dbtime));
    if (s != NULL)
        drop(find(s, dbtime));
    return JET_errSuccess;
}
