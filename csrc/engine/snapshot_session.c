#include <stdio.h>

#include "engine/snapshot_private.h"

/* The sessions of JetOSSnapshotPrepare in this process: their ids, who has one at work, their clocks. No lock is held while a call
 * works on a session: it is taken by a flag. */

static _Atomic int home_of; /* process whose lock and list these are; -1: being made */
static struct os_lock guard;
static struct os_cond changed;
static struct list sessions;
static uint64_t last_id;

/* In a forked child the sessions, and whoever held the lock, are the parent's. */
static void lock(void)
{
    int self = os_process_id(), seen = atomic_load(&home_of);
    while (seen != self) {
        if (seen == -1) {
            os_yield();
            seen = atomic_load(&home_of);
        } else if (atomic_compare_exchange_strong(&home_of, &seen, -1)) {
            os_lock_init(&guard, RANK_INSTANCE + 2);
            os_cond_init(&changed);
            list_init(&sessions);
            atomic_store(&home_of, self);
            seen = self;
        }
    }
    os_lock_take(&guard);
}

static void unlock(void)
{
    os_lock_release(&guard);
}

void ossnap__event(const struct ossnap *s, int id, enum event_severity severity, const char *text, const char *more)
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)s->id);
    event_report(id, severity, s->count > 0 ? s->part[0].inst->display : "", text, number, more, NULL);
}

/* ---- taking one ---- */

static struct ossnap *find_locked(uint64_t id)
{
    LIST_FOR_EACH (link, &sessions)
        if (LIST_ENTRY(link, struct ossnap, link)->id == id)
            return LIST_ENTRY(link, struct ossnap, link);
    return NULL;
}

static err_t unknown(uint64_t id)
{
    err_t err = RAISE(JET_errOSSnapshotInvalidSnapId);
    err_detail("no snapshot has the id %llu: prepare one; an id dies with its end, its abort, and the thaw unless "
               "JET_bitContinueAfterThaw was given",
               (unsigned long long)id);
    return err;
}

static err_t wrong_state(enum ossnap_state state)
{
    static const char *const next[] = {
        [OSSNAP_PREPARED] = "it is prepared: freeze it, end it or abort it",
        [OSSNAP_FROZEN] = "it is frozen: thaw it or abort it",
        [OSSNAP_TIMED_OUT] = "its freeze ended before it was thawed: throw the copy away, abort it and prepare another",
        [OSSNAP_THAWED] = "it is thawed: truncate logs, end it or abort it",
    };
    err_t err = state == OSSNAP_TIMED_OUT ? RAISE(JET_errOSSnapshotTimeOut) : RAISE(JET_errOSSnapshotInvalidSequence);
    err_detail("%s", next[state]);
    return err;
}

static err_t taken_here(void)
{
    err_t err = RAISE(JET_errOSSnapshotInvalidSequence);
    err_detail("this thread is inside another call on the same snapshot (an event sink?)");
    return err;
}

err_t ossnap__take(uint64_t id, unsigned states, struct ossnap **out)
{
    struct ossnap *s;
    err_t err = JET_errSuccess;
    *out = NULL;
    lock();
    while ((s = find_locked(id)) != NULL && s->taken && s->by != os_thread_id())
        os_cond_wait(&changed, &guard);
    if (s == NULL)
        err = unknown(id);
    else if (s->taken)
        err = taken_here();
    else if ((s->state & states) == 0)
        err = wrong_state(s->state);
    if (err >= 0) {
        s->taken = true;
        s->by = os_thread_id();
        *out = s;
    }
    unlock();
    return err;
}

void ossnap__give(struct ossnap *s, enum ossnap_state state)
{
    lock();
    s->state = state;
    s->taken = false;
    os_cond_broadcast(&changed);
    unlock();
}

void ossnap__drop(struct ossnap *s)
{
    lock();
    list_remove(&s->link);
    os_cond_broadcast(&changed);
    unlock();
    ASSERT(s->count == 0 && s->timer == NULL);
    free(s->part);
    free(s);
}

err_t ossnap_prepare(JET_GRBIT grbit, uint64_t *id)
{
    if (instance_next(NULL) == NULL) {
        err_t err = RAISE(JET_errNotInitialized);
        err_detail("there is no instance to take a snapshot of");
        return err;
    }
    struct ossnap *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RAISE(JET_errOutOfMemory);
    s->grbit = grbit;
    s->state = OSSNAP_PREPARED;
    lock();
    *id = s->id = ++last_id;
    list_add_back(&sessions, &s->link);
    unlock();
    return JET_errSuccess;
}

/* ---- parts ---- */

err_t ossnap__add_part(struct ossnap *s, struct instance *inst, bool named)
{
    struct part part = {.inst = inst, .named = named};
    const JET_GRBIT kind = s->grbit & (JET_bitIncrementalSnapshot | JET_bitCopySnapshot);
    if (s->count == s->room) {
        struct part *grown = realloc(s->part, (size_t)(s->room + 8) * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        s->part = grown;
        s->room += 8;
    }
    TRY_RETURN(snapshot_begin(inst->backup, kind, &part.snap));
    s->part[s->count++] = part;
    return JET_errSuccess;
}

void ossnap__remove_part(struct ossnap *s, int i, bool stamp)
{
    struct part gone = s->part[i];
    s->part[i] = s->part[--s->count];
    snapshot_end(gone.snap, stamp);
}

void ossnap__thaw_parts(struct ossnap *s)
{
    for (int i = 0; i < s->count; i++) {
        if (!s->part[i].shut)
            continue;
        snapshot_thaw(s->part[i].snap);
        gate__open(&s->part[i].inst->gate);
        s->part[i].shut = false;
    }
}

/* ---- the clock ---- */

static void time_out(struct ossnap *s)
{
    char ms[16];
    ossnap__thaw_parts(s);
    snprintf(ms, sizeof ms, "%u", s->timeout_ms);
    ossnap__event(s, 2004, EVENT_ERROR, "the freeze of a snapshot lasted too long and was ended", ms);
    ossnap__give(s, OSSNAP_TIMED_OUT);
}

static void watch(void *context)
{
    struct ossnap *s = context;
    lock();
    while (s->state == OSSNAP_FROZEN) {
        uint64_t now = os_now_ns();
        if (now < s->deadline) {
            os_cond_wait_ms(&changed, &guard, (uint32_t)((s->deadline - now) / 1000000u) + 1);
        } else if (s->taken) {
            os_cond_wait(&changed, &guard);
        } else {
            s->taken = true;
            s->by = os_thread_id();
            unlock();
            time_out(s);
            return;
        }
    }
    unlock();
}

err_t ossnap__start_timer(struct ossnap *s)
{
    return os_thread_start("pyjet-thaw", watch, s, &s->timer);
}

/* The caller has it taken; the state is no longer frozen when the thread looks again. */
void ossnap__stop_timer(struct ossnap *s)
{
    if (s->timer == NULL)
        return;
    lock();
    if (s->state == OSSNAP_FROZEN)
        s->state = OSSNAP_THAWED;
    os_cond_broadcast(&changed);
    unlock();
    os_thread_join(s->timer);
    s->timer = NULL;
}

/* ---- the end of an instance ---- */

static int part_of(const struct ossnap *s, const struct instance *inst)
{
    for (int i = 0; i < s->count; i++)
        if (s->part[i].inst == inst)
            return i;
    return -1;
}

/* A session that has the instance, taken. Parts change only while it is taken, so one that is not may be looked into. */
static struct ossnap *take_one_with(const struct instance *inst)
{
    struct ossnap *found = NULL;
    bool waits = true;
    lock();
    while (found == NULL && waits) {
        waits = false;
        LIST_FOR_EACH (link, &sessions) {
            struct ossnap *s = LIST_ENTRY(link, struct ossnap, link);
            waits |= s->taken;
            if (!s->taken && part_of(s, inst) >= 0)
                found = s;
        }
        if (found == NULL && waits)
            os_cond_wait(&changed, &guard);
    }
    if (found != NULL) {
        found->taken = true;
        found->by = os_thread_id();
    }
    unlock();
    return found;
}

static void leave(struct ossnap *s, struct instance *inst)
{
    enum ossnap_state state = s->state;
    if (state == OSSNAP_FROZEN) {
        ossnap__stop_timer(s);
        ossnap__thaw_parts(s);
        state = OSSNAP_TIMED_OUT;
    }
    ossnap__event(s, 2007, EVENT_ERROR, "a snapshot is aborted: its instance ends", NULL);
    ossnap__remove_part(s, part_of(s, inst), false);
    event_report(226, EVENT_ERROR, inst->display, "the backup was aborted by the server", NULL);
    ossnap__give(s, state);
}

err_t instance_leave_snapshots(struct instance *inst, JET_GRBIT term_grbit)
{
    for (struct ossnap *s; (s = take_one_with(inst)) != NULL;) {
        if (!instance__stops_backup(term_grbit)) {
            ossnap__give(s, s->state);
            err_t err = RAISE(JET_errBackupInProgress);
            err_detail("a snapshot of the instance is under way; end it, or terminate with JET_bitTermStopBackup");
            return err;
        }
        leave(s, inst);
    }
    return JET_errSuccess;
}
