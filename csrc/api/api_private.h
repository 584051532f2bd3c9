/* api, inside the room: handles, the way into a call and out of it, text. */
#ifndef API_PRIVATE_H
#define API_PRIVATE_H

#include "engine/engine.h"

#include "include/esent.h"

#include "include/pyjet.h" /* after engine.h: it names the same parameters with macros */

/* ---- handle.c: opaque numbers instead of pointers. kind 8 | generation 24 | slot 32. Slots are never unmapped, so a stale
 * or invented handle is read, found out and refused; it is never followed. ---- */
enum handle_kind { HANDLE_INSTANCE = 1, HANDLE_SESSION = 2, HANDLE_CURSOR = 3 };
enum handle_answer { HANDLE_OK, HANDLE_BAD, HANDLE_BUSY, HANDLE_CLOSING };
MUST_CHECK err_t handle_create(enum handle_kind kind, void *object, void *owner, uint64_t *out);
/* For itself alone: a session's call. Ends with handle_give, or handle_retire (which ends the handle's life). */
enum handle_answer handle_take(uint64_t handle, enum handle_kind kind, void **object);
void handle_give(uint64_t handle);
void handle_retire(uint64_t handle);
/* An idle session's handle is closed to all calls (they get HANDLE_CLOSING), until handle_give or handle_retire. */
enum handle_answer handle_begin_close(uint64_t handle);
/* Side by side with others: an instance's calls. */
enum handle_answer handle_pin(uint64_t handle, enum handle_kind kind, void **object);
void handle_unpin(uint64_t handle);
/* The caller holds one pin: waits for the others to go and retires. HANDLE_CLOSING: another thread does that already. */
enum handle_answer handle_drain(uint64_t handle);
/* A handle of which only `owner` (whom the caller has for itself) can end the life: no counting. */
enum handle_answer handle_peek(uint64_t handle, enum handle_kind kind, const void *owner, void **object);

/* ---- objects behind handles ---- */
struct api_instance {
    struct instance *inst;
    JET_INSTANCE handle;
    struct api_instance *next_in_process;
    int process_id;
    struct os_lock lock; /* sessions, terminating */
    struct list sessions;
    bool terminating;
};
struct api_session {
    struct list in_instance;
    struct api_instance *instance; /* NULL: of a file opened read-only */
    struct session *session;
    struct reader *reader;
    uint8_t reader_level; /* begin and commit on a reader only count */
    JET_SESID handle;
    struct list cursors;
    bool has_context;
    uint64_t context_thread;
};
struct arena { /* memory of one batch: stays where it is while it grows */
    struct arena_chunk *chunks;
};
/* arena.c */
MUST_CHECK err_t arena_take(struct arena *a, uint32_t n, void **out); /* 8-aligned */
void arena_reset(struct arena *a); /* keeps one chunk */
void arena_free(struct arena *a);

struct api_cursor {
    struct list in_session;
    struct api_session *session;
    struct table_cursor *cursor;
    JET_TABLEID handle;
    JET_DBID dbid;
    JET_GRBIT grbit;
    struct arena arena;
    struct buffer scratch;
};

/* ---- instance.c ---- */
/* The instance of a handle, pinned. backup: nil, stale and unset mode are JET_errInvalidParameter (decision 25). */
MUST_CHECK err_t api_pin_instance(JET_INSTANCE handle, bool backup, struct api_instance **out);
void api_unpin_instance(struct api_instance *i);
/* Handles of the process's instances: how many there are; up to `room` are given. */
uint32_t api_instances(JET_INSTANCE *list, uint32_t room);
enum api_mode { MODE_NONE, MODE_SINGLE, MODE_MULTI };
enum api_mode api_mode(void);
/* Calls without an instance argument (the backup family of single-instance mode). */
MUST_CHECK err_t api_require_single(void);
/* MODE_NONE becomes `wanted`; another mode is refused with ESE's error. */
MUST_CHECK err_t api_set_mode(enum api_mode wanted);
/* An instance of the process's mode: made by JetInit or JetRestore when there was none. */
MUST_CHECK err_t api_add_instance(const char *name, const char *display, struct api_instance **out);
MUST_CHECK err_t api_remove_instance(struct api_instance *i); /* the caller holds a pin; it is not running */

/* ---- session.c: the way into a session's call ---- */
MUST_CHECK err_t api_enter(JET_SESID sesid, struct api_session **out);
/* ..._ending: calls that end something; they are allowed when the instance's service is stopped. */
MUST_CHECK err_t api_enter_ending(JET_SESID sesid, struct api_session **out);
MUST_CHECK err_t api_enter_writer_ending(JET_SESID sesid, struct api_session **out);
MUST_CHECK err_t api_enter_cursor_ending(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out);
MUST_CHECK err_t api_enter_writer(JET_SESID sesid, struct api_session **out); /* a reader's session is refused */
MUST_CHECK err_t api_enter_cursor(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out);
MUST_CHECK err_t api_enter_ddl(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out);    /* and the table may be changed */
MUST_CHECK err_t api_enter_update(JET_SESID sesid, JET_TABLEID tableid, struct api_cursor **out); /* its rows: not those of a system table */
void api_leave(struct api_session *s);
static inline void api_leave_cursor(struct api_cursor *c)
{
    api_leave(c->session);
}
struct trx *api_trx(struct api_session *s);
MUST_CHECK err_t api_database(struct api_session *s, JET_DBID dbid, struct dbfile **out);
/* Gives a cursor a handle; on error the cursor is closed. */
MUST_CHECK err_t api_add_cursor(struct api_session *s, struct table_cursor *cursor, JET_DBID dbid, JET_GRBIT grbit, JET_TABLEID *out);
void api_drop_cursor(struct api_cursor *c); /* the handle alone; the table_cursor is closed by the caller, or was */
void api_close_table_cursor(struct api_session *s, struct table_cursor *cursor);
void api_drop_dead_cursors(struct api_session *s); /* those that the engine closed: rollback, JetCloseDatabase */
void api_forget_session(struct api_session *s);    /* handles and memory; the engine's session is gone */
/* Runs fn so that it happens as a whole or not at all, also inside the user's transaction. */
MUST_CHECK err_t api_as_whole(struct api_session *s, err_t (*fn)(void *context, struct trx *trx), void *context);

/* ---- text.c ---- */
MUST_CHECK err_t text_from_wide(const JET_WCHAR *wide, char **out);                   /* NULL stays NULL; free() */
MUST_CHECK err_t text_from_wide_n(const JET_WCHAR *wide, uint32_t units, char **out, uint32_t *size); /* with what NULs there are */
/* Bytes of the UTF-16 form with its NUL; writes at most room bytes, whole units. */
uint32_t text_to_wide(const char *text, JET_WCHAR *to, uint32_t room);
/* A text given out by an A (wide false) or W call: JET_errBufferTooSmall when it does not fit with its NUL. */
MUST_CHECK err_t text_give(const char *text, bool wide, void *to, uint32_t room);

/* X is XA. */
#define PLAIN_IS_A(x) extern __typeof__(x##A) x __attribute__((alias(#x "A")))
/* Body of a W function: `var` is the UTF-8 form of `wide` while `call` runs. */
#define WITH_TEXT(var, wide, call)                                                                                             \
    {                                                                                                                          \
        char *var;                                                                                                             \
        err_t err_ = text_from_wide(wide, &var);                                                                               \
        if (err_ >= 0)                                                                                                         \
            err_ = (call);                                                                                                     \
        free(var);                                                                                                             \
        return err_;                                                                                                           \
    }
#define WITH_TEXTS(var1, wide1, var2, wide2, call)                                                                             \
    {                                                                                                                          \
        char *var1 = NULL, *var2 = NULL;                                                                                       \
        err_t err_ = text_from_wide(wide1, &var1);                                                                             \
        if (err_ >= 0)                                                                                                         \
            err_ = text_from_wide(wide2, &var2);                                                                               \
        if (err_ >= 0)                                                                                                         \
            err_ = (call);                                                                                                     \
        free(var1);                                                                                                            \
        free(var2);                                                                                                            \
        return err_;                                                                                                           \
    }

/* ---- progress: one run's way from the rooms to a callback: Begin, Progress, Complete or Fail, percent never back ---- */
struct api_progress {
    JET_PFNSTATUS status;    /* one of the three, or none */
    JET_PFNINITCALLBACK init;
    PYJET_PROGRESS progress;
    void *context;
    bool begun;
    JET_SNP snp;
    uint32_t done, total; /* as told last; of 100, or KiB */
};
struct progress api_progress_socket(struct api_progress *p);
/* The run is over: Complete or Fail, when there was a Begin. Returns outcome; err_last stays what it was. */
err_t api_progress_end(struct api_progress *p, err_t outcome);

/* ---- column.c, used by rows.c ---- */
MUST_CHECK err_t api_invalid(const char *what); /* JET_errInvalidParameter with a detail */

/* ---- instance.c: init for JetInit3 and PyjetInit ---- */
#define INIT_MAP_MOST 14 /* entries of a map, as JET_RSTINFO has them */
MUST_CHECK err_t api_init(JET_INSTANCE *pinstance, const struct init_options *options, struct api_progress *progress,
                          struct recovery_result *result);
MUST_CHECK err_t api_check_init_grbit(JET_GRBIT grbit);
void api_recovery_out(const struct recovery_result *from, PYJET_RECOVERY *to);

/* ---- restore.c: result may be NULL ---- */
MUST_CHECK err_t api_restore(JET_INSTANCE instance, struct instance_restore *r, struct api_progress *progress, struct restore_result *result);

/* ---- info_database.c ---- */
void api_misc_out(const struct db_header *h, JET_DBINFOMISC7 *m);

/* ---- info.c: answers of a fixed size ---- */
err_t info_not_available(uint32_t level);
err_t info_unknown_level(uint32_t level);
MUST_CHECK err_t info_give_exact(const void *value, uint32_t n, void *to, uint32_t room);    /* JET_errInvalidBufferSize */
MUST_CHECK err_t info_give_at_least(const void *value, uint32_t n, void *to, uint32_t room); /* JET_errBufferTooSmall */
MUST_CHECK err_t info_give_u32(uint32_t value, void *to, uint32_t room);
/* What a call about a table, a column or an index wants, and where to. */
struct info_answer {
    void *to;
    uint32_t room, level;
    bool wide;
    const char *name; /* of the column or index; at ...ByColid a JET_COLUMNID */
};
/* fn with the description of a table: by name, borrowed for the call; or of a cursor. context: its struct info_answer. */
MUST_CHECK err_t info_of_table(JET_SESID sesid, JET_DBID dbid, const char *name, err_t (*fn)(void *context, struct table_desc *desc), void *context);
MUST_CHECK err_t info_of_cursor(JET_SESID sesid, JET_TABLEID tableid, err_t (*fn)(void *context, struct table_desc *desc), struct info_answer *a);

/* ---- cursor.c ---- */
void api_index_id(const struct table_desc *desc, const struct table_index *index, JET_INDEXID *out);

/* ---- schema.c: descriptions as JET grbits ---- */
JET_GRBIT api_column_grbit(const struct table_column *column);
JET_GRBIT api_index_grbit(const struct table_index *index);
static inline bool api_column_is_there(const struct table_column *column)
{
    return (column->def.flags & COLUMN_DELETED) == 0 && column->def.coltyp != JET_coltypNil;
}

#endif
