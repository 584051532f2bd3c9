#include <stdio.h>

#include "engine/engine_private.h"

/* Sessions: one call at a time, transactions bound to the thread that began them unless a context is set (api-notes.md 6). */

#define ROLLBACK_TRIES 4u

static err_t take_procid(struct instance *inst, uint16_t *procid)
{
    uint64_t most = params_number(inst->params, JET_paramMaxSessions);
    if (most > SESSIONS_MOST)
        most = SESSIONS_MOST;
    for (uint32_t i = 0; i < most; i++) {
        if (bit_has(inst->procids, i))
            continue;
        bit_set(inst->procids, i);
        *procid = (uint16_t)(PROCID_SESSION_FIRST + 2 * i);
        return JET_errSuccess;
    }
    err_t err = RAISE(JET_errOutOfSessions);
    err_detail("all %u sessions are in use; end one, or raise JET_paramMaxSessions before the instance starts", (unsigned)most);
    return err;
}

static void give_procid(struct instance *inst, uint16_t procid)
{
    bit_clear(inst->procids, (procid - PROCID_SESSION_FIRST) / 2);
}

err_t session_begin(struct instance *inst, struct session **out)
{
    *out = NULL;
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RAISE(JET_errOutOfMemory);
    os_lock_take(&inst->lock);
    err_t err = take_procid(inst, &s->procid);
    if (err >= 0) {
        s->inst = inst;
        list_add_back(&inst->sessions, &s->in_instance);
        inst->session_count++;
    }
    os_lock_release(&inst->lock);
    if (err < 0) {
        free(s);
        return err;
    }
    char label[32];
    snprintf(label, sizeof label, "session %u", (unsigned)(s->procid - PROCID_SESSION_FIRST) / 2 + 1);
    trx_pair_init(&s->pair, inst, s->procid, (uint16_t)(s->procid + 1), false, label);
    s->pair.trx.owner = s;
    s->commit_default = (JET_GRBIT)params_number(inst->params, JET_paramCommitDefault);
    *out = s;
    return JET_errSuccess;
}

/* ---- changes and the gate ---- */

void session_begin_change(struct session *s)
{
    if (!s->changing)
        gate__enter(&s->inst->gate);
    s->changing = true;
}

static void end_change(struct session *s)
{
    if (s->changing)
        gate__leave(&s->inst->gate);
    s->changing = false;
}

void session_give_way(struct session *s)
{
    if (!s->changing || atomic_load_explicit(&s->inst->gate.shut, memory_order_relaxed) == 0)
        return;
    end_change(s);
    session_begin_change(s);
}

bool session_has_changes(struct session *s)
{
    return s->pair.trx.level_logged > 0;
}

/* What a rollback has taken back stays so: one that lacked memory, or could not read a page, goes on where it stopped. */
static err_t roll_back_patiently(struct session *s, uint8_t levels)
{
    struct instance *inst = s->inst;
    err_t err = txn_rollback(&s->pair.trx, &inst->finder, levels);
    for (uint32_t i = 0; i < ROLLBACK_TRIES && err < 0 && err != JET_errLogDiskFull && !instance__write_failed(inst); i++) {
        os_sleep_ms(i);
        err = txn_rollback(&s->pair.trx, &inst->finder, levels);
    }
    return err;
}

/* The one way back: it may use the reserved logs, and when it fails the instance cannot go on. */
static err_t roll_back(struct session *s, uint8_t levels)
{
    struct instance *inst = s->inst;
    if (session_has_changes(s))
        session_begin_change(s);
    log_use_reserve(inst->log, true);
    err_t err = roll_back_patiently(s, levels);
    log_use_reserve(inst->log, false);
    if (err < 0)
        instance_poison(inst, err);
    return err;
}

err_t session_end(struct session *s)
{
    struct instance *inst = s->inst;
    err_t err = JET_errSuccess;
    if (s->pair.trx.level > 0 && atomic_load(&inst->poison) == 0)
        err = roll_back(s, 0);
    session__close_cursors(s, -1);
    session__close_databases(s);
    end_change(s);
    trx_pair_term(&s->pair);
    os_lock_take(&inst->lock);
    list_remove(&s->in_instance);
    inst->session_count--;
    give_procid(inst, s->procid);
    os_lock_release(&inst->lock);
    free(s->cursors);
    free(s);
    return err;
}

/* ---- one call at a time ---- */

static err_t sharing(const char *why)
{
    err_t err = RAISE(JET_errSessionSharingViolation);
    err_detail("%s", why);
    return err;
}

static err_t enter_alone(struct session *s)
{
    uint64_t nobody = 0;
    if (!atomic_compare_exchange_strong(&s->busy, &nobody, os_thread_id())) {
        instance_leave(s->inst);
        return sharing("another thread is inside this session; give each thread its own");
    }
    return JET_errSuccess;
}

err_t session_enter(struct session *s)
{
    TRY_RETURN(instance_enter(s->inst, false));
    return enter_alone(s);
}

err_t session_enter_ending(struct session *s)
{
    TRY_RETURN(instance__enter_ending(s->inst));
    return enter_alone(s);
}

void session_leave(struct session *s)
{
    end_change(s);
    atomic_store_explicit(&s->busy, 0, memory_order_release);
    instance_leave(s->inst);
}

struct instance *session_instance(struct session *s)
{
    return s->inst;
}

struct trx *session_trx(struct session *s)
{
    return &s->pair.trx;
}

uint8_t session_level(struct session *s)
{
    return s->pair.trx.level;
}

void session_set_commit_default(struct session *s, JET_GRBIT grbit)
{
    s->commit_default = grbit;
}

void session_set_context(struct session *s, uint64_t context, bool set)
{
    s->has_context = set;
    s->context = set ? context : 0;
    s->context_thread = set ? os_thread_id() : 0;
}

/* ---- transactions ---- */

static err_t check_thread(struct session *s)
{
    if (s->pair.trx.level == 0 || s->has_context || s->trx_thread == os_thread_id())
        return JET_errSuccess;
    return sharing("the transaction was begun by another thread");
}

err_t session_begin_transaction(struct session *s, JET_GRBIT grbit)
{
    TRY_RETURN(check_thread(s));
    bool outermost = s->pair.trx.level == 0;
    TRY_RETURN(txn_begin(&s->pair.trx, (grbit & JET_bitTransactionReadOnly) != 0));
    if (outermost)
        s->trx_thread = os_thread_id();
    return JET_errSuccess;
}

/* Clean-up keeps pace with commits: above SWEEP_LAG bytes of old versions it is woken, far above it the committer waits for it a
 * moment. Once half of what the store may hold is taken, he waits as long as versions go, and for the first to go: the next
 * transaction would meet JET_errVersionStoreOutOfMemory. He waits for nobody's snapshot, and not while a freeze waits for him. */
#define SWEEP_LAG (1u << 20)
#define SWEEP_WAITS 20
#define SWEEP_WAITS_FULL 500

static bool sweep_can_help(const struct instance *inst)
{
    uint64_t newest = atomic_load(versions_commit_counter(inst->versions));
    return versions_oldest_snapshot(inst->versions) + 4 * 256 >= newest && atomic_load(&inst->gate.shut) == 0;
}

/* What a session has just made lies in its core's caches: to be dropped by the sweeper's thread costs both of them more. Some
 * transactions at a time, and where little could be dropped the last time, not before there is more. */
#define SWEEP_LIGHT_BYTES (64u << 10)
#define SWEEP_LIGHT_MOST 8192u

static void sweep_lightly(struct instance *inst)
{
    uint64_t bytes = versions_bytes(inst->versions), left = atomic_load_explicit(&inst->unswept, memory_order_relaxed);
    if (bytes < left)
        atomic_store_explicit(&inst->unswept, left = bytes, memory_order_relaxed);
    if (bytes < left + SWEEP_LIGHT_BYTES || !os_lock_try(&inst->sweep_lock))
        return;
    txn_sweep_light(inst->versions, SWEEP_LIGHT_MOST);
    os_lock_release(&inst->sweep_lock);
    atomic_store_explicit(&inst->unswept, versions_bytes(inst->versions), memory_order_relaxed);
}

static void keep_pace(struct instance *inst)
{
    struct versions *store = inst->versions;
    sweep_lightly(inst);
    uint64_t limit = inst->version_bytes / 4 < SWEEP_LAG ? inst->version_bytes / 4 : SWEEP_LAG;
    if (versions_bytes(store) <= limit)
        return;
    versions_ring(store);
    uint64_t bytes = versions_bytes(store), half = inst->version_bytes / 2;
    for (int waits = 0; bytes > 2 * limit && waits < (bytes > half ? SWEEP_WAITS_FULL : SWEEP_WAITS) && sweep_can_help(inst); waits++) {
        os_sleep_ms(1);
        versions_ring(store);
        uint64_t left = versions_bytes(store);
        if (left < bytes && left > half)
            waits = 0;
        bytes = left;
    }
}

static bool stands_alone(JET_GRBIT grbit, JET_GRBIT bit)
{
    return (grbit & bit) == 0 || grbit == bit;
}

static err_t commit_special(struct session *s, JET_GRBIT grbit)
{
    struct instance *inst = s->inst;
    uint32_t closed;
    if (s->pair.trx.level > 0) {
        err_t err = RAISE(JET_errInvalidGrbit);
        err_detail("JET_bitWait...Level0Commit and JET_bitForceNewLog are for a session outside any transaction");
        return err;
    }
    if (grbit == JET_bitForceNewLog)
        session_begin_change(s);
    if (grbit == JET_bitForceNewLog)
        return instance__judge(inst, log_roll(inst->log, &closed));
    if (grbit == JET_bitWaitLastLevel0Commit)
        return instance__judge(inst, txn_wait_last_commit(&s->pair.trx));
    return instance__judge(inst, log_flush_all(inst->log));
}

static void tell_cursors(struct session *s, bool rolled_back)
{
    for (uint32_t i = 0; i < s->cursor_count; i++) {
        struct open_cursor *o = &s->cursors[i];
        if (o->level > s->pair.trx.level)
            o->level = s->pair.trx.level;
        cursor_trx_ended(o->cursor, rolled_back, s->pair.trx.level);
    }
}

err_t session_commit(struct session *s, JET_GRBIT grbit)
{
    const JET_GRBIT alone = JET_bitWaitLastLevel0Commit | JET_bitWaitAllLevel0Commit | JET_bitForceNewLog;
    const JET_GRBIT known = alone | JET_bitCommitLazyFlush;
    if ((grbit & ~known) != 0 || !stands_alone(grbit, JET_bitWaitLastLevel0Commit) ||
        !stands_alone(grbit, JET_bitWaitAllLevel0Commit) || !stands_alone(grbit, JET_bitForceNewLog))
        return RAISE(JET_errInvalidGrbit);
    if ((grbit & alone) != 0)
        return commit_special(s, grbit);
    if (s->pair.trx.level == 0)
        return RAISE(JET_errNotInTransaction);
    TRY_RETURN(check_thread(s));
    if (grbit == 0)
        grbit = s->commit_default;
    bool lazy = (grbit & JET_bitCommitLazyFlush) != 0, outermost = s->pair.trx.level == 1;
    if (session_has_changes(s))
        session_begin_change(s);
    TRY_RETURN(instance__judge(s->inst, txn_commit(&s->pair.trx, lazy ? TXN_LAZY : TXN_DURABLE)));
    if (outermost && !lazy)
        atomic_fetch_add(&s->inst->commits_durable, 1);
    if (outermost)
        keep_pace(s->inst);
    tell_cursors(s, false);
    return JET_errSuccess;
}

err_t session_rollback(struct session *s, JET_GRBIT grbit)
{
    if ((grbit & ~(JET_GRBIT)JET_bitRollbackAll) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (s->pair.trx.level == 0)
        return RAISE(JET_errNotInTransaction);
    TRY_RETURN(check_thread(s));
    uint8_t levels = (grbit & JET_bitRollbackAll) != 0 ? 0 : 1;
    if (session_has_changes(s))
        session_begin_change(s);
    uint8_t remains = levels == 0 ? 0 : (uint8_t)(s->pair.trx.level - 1);
    for (uint32_t i = 0; i < s->cursor_count; i++) /* prepared updates go first: they may own long values */
        cursor_trx_ended(s->cursors[i].cursor, true, remains);
    TRY_RETURN(roll_back(s, levels));
    session__close_cursors(s, s->pair.trx.level);
    tell_cursors(s, true);
    return JET_errSuccess;
}

err_t session_atomically(struct session *s, err_t (*fn)(void *context, struct trx *trx), void *context)
{
    struct trx *trx = &s->pair.trx;
    session_begin_change(s);
    if (trx->level > 0) {
        TRY_RETURN(check_thread(s));
        return instance__judge(s->inst, fn(context, trx));
    }
    TRY_RETURN(txn_begin(trx, false));
    s->trx_thread = os_thread_id();
    err_t err = fn(context, trx);
    if (err >= 0) {
        bool lazy = (s->commit_default & JET_bitCommitLazyFlush) != 0;
        err_t committed = txn_commit(trx, lazy ? TXN_LAZY : TXN_DURABLE);
        if (committed >= 0) {
            if (!lazy)
                atomic_fetch_add(&s->inst->commits_durable, 1);
            keep_pace(s->inst);
            return err;
        }
        err = committed;
        if (trx->level == 0)
            return instance__judge(s->inst, err);
    }
    struct err_origin origin = *err_last();
    err_t undone = roll_back(s, 0);
    (void)undone; /* it has stopped the instance; the first error tells more */
    err_restore(&origin);
    return instance__judge(s->inst, err);
}

/* ---- cursors ---- */

static err_t add_cursor(struct session *s, struct open_cursor o)
{
    if (s->cursor_count == s->cursor_room) {
        uint32_t room = s->cursor_room == 0 ? 8 : s->cursor_room * 2;
        struct open_cursor *grown = realloc(s->cursors, room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        s->cursors = grown;
        s->cursor_room = room;
    }
    s->cursors[s->cursor_count++] = o;
    return JET_errSuccess;
}

static err_t open_described(struct session *s, struct open_cursor *o)
{
    TRY_RETURN(cursor_open(o->desc, &s->pair.trx, o->grbit, &o->cursor));
    err_t err = add_cursor(s, *o);
    if (err < 0)
        cursor_close(o->cursor);
    return err;
}

err_t session_open_table(struct session *s, JET_DBID dbid, const char *name, JET_GRBIT grbit, struct table_cursor **out)
{
    *out = NULL;
    struct dbfile *db;
    struct open_cursor o = {.grbit = grbit, .dbid = dbid, .level = s->pair.trx.level};
    TRY_RETURN(session_database(s, dbid, &db));
    TRY_RETURN(catalog_table(db, &s->pair.trx, name, &o.desc));
    err_t err = catalog_table_use(o.desc, &s->pair.trx, grbit);
    if (err >= 0) {
        err = open_described(s, &o);
        if (err < 0)
            catalog_table_unuse(o.desc, &s->pair.trx, grbit);
    }
    if (err < 0) {
        catalog_release(o.desc);
        return err;
    }
    *out = o.cursor;
    return JET_errSuccess;
}

err_t session_adopt_table(struct session *s, JET_DBID dbid, struct table_desc *desc, JET_GRBIT grbit, struct table_cursor **out)
{
    struct open_cursor o = {.desc = desc, .grbit = grbit, .dbid = dbid, .level = s->pair.trx.level};
    *out = NULL;
    TRY_RETURN(catalog_table_use(desc, &s->pair.trx, grbit));
    err_t err = open_described(s, &o);
    if (err < 0)
        catalog_table_unuse(desc, &s->pair.trx, grbit);
    else
        *out = o.cursor;
    return err;
}

static struct open_cursor *find_cursor(struct session *s, const struct table_cursor *c)
{
    for (uint32_t i = 0; i < s->cursor_count; i++)
        if (s->cursors[i].cursor == c)
            return &s->cursors[i];
    return NULL;
}

JET_DBID session_cursor_dbid(struct session *s, struct table_cursor *c)
{
    struct open_cursor *o = find_cursor(s, c);
    return o == NULL ? JET_dbidNil : o->dbid;
}

err_t session_dup_cursor(struct session *s, struct table_cursor *c, struct table_cursor **out)
{
    *out = NULL;
    struct open_cursor *from = find_cursor(s, c);
    if (from == NULL)
        return RAISE(JET_errInvalidTableId);
    struct open_cursor o = {.grbit = 0, .dbid = from->dbid, .level = s->pair.trx.level};
    struct dbfile *db;
    TRY_RETURN(session_database(s, o.dbid, &db));
    char name[3 * NAME_ROOM];
    catalog_name_to_utf8(from->desc->name, name);
    TRY_RETURN(catalog_table(db, &s->pair.trx, name, &o.desc)); /* a reference of its own */
    err_t err = catalog_table_use(o.desc, &s->pair.trx, o.grbit);
    if (err >= 0) {
        err = cursor_dup(c, &o.cursor);
        if (err >= 0) {
            err = add_cursor(s, o);
            if (err < 0)
                cursor_close(o.cursor);
        }
        if (err < 0)
            catalog_table_unuse(o.desc, &s->pair.trx, o.grbit);
    }
    if (err < 0)
        catalog_release(o.desc);
    else
        *out = o.cursor;
    return err;
}

static void close_one(struct session *s, struct open_cursor *o)
{
    cursor_close(o->cursor);
    catalog_table_unuse(o->desc, &s->pair.trx, o->grbit);
    catalog_release(o->desc);
}

err_t session_close_cursor(struct session *s, struct table_cursor *c)
{
    struct open_cursor *o = find_cursor(s, c);
    if (o == NULL)
        return RAISE(JET_errInvalidTableId);
    if (session_has_changes(s) && cursor_prepared(c) != PREP_NONE) /* its long values go */
        session_begin_change(s);
    close_one(s, o);
    *o = s->cursors[--s->cursor_count];
    return JET_errSuccess;
}

void session__close_cursors(struct session *s, int above_level)
{
    for (uint32_t i = s->cursor_count; i-- > 0;) {
        if (s->cursors[i].level <= above_level)
            continue;
        close_one(s, &s->cursors[i]);
        s->cursors[i] = s->cursors[--s->cursor_count];
    }
}
