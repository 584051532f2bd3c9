#include <stdio.h>

#include "engine/snapshot_private.h"

/* The steps of a snapshot: prepare, freeze, thaw, truncate, end (backup-semantics.md 12.1). */

#define COPY JET_bitCopySnapshot
#define INCREMENTAL JET_bitIncrementalSnapshot

/* Every part's instance is entered for the length of a step: it cannot end meanwhile. */
static err_t enter_parts(struct ossnap *s)
{
    for (int i = 0; i < s->count; i++) {
        err_t err = instance_enter(s->part[i].inst, true);
        if (err >= 0)
            continue;
        while (i-- > 0)
            instance_leave(s->part[i].inst);
        return err;
    }
    return JET_errSuccess;
}

static void leave_parts(struct ossnap *s)
{
    for (int i = 0; i < s->count; i++)
        instance_leave(s->part[i].inst);
}

/* ---- prepare ---- */

err_t ossnap_add(uint64_t id, struct instance *inst)
{
    struct ossnap *s;
    TRY_RETURN(ossnap__take(id, OSSNAP_PREPARED, &s));
    err_t err = instance_enter(inst, true);
    if (err >= 0) {
        err = ossnap__add_part(s, inst, true);
        instance_leave(inst);
    }
    ossnap__give(s, OSSNAP_PREPARED);
    return err;
}

/* ---- freeze ---- */

static bool has_part(const struct ossnap *s, const struct instance *inst)
{
    for (int i = 0; i < s->count; i++)
        if (s->part[i].inst == inst)
            return true;
    return false;
}

/* All that run; each comes entered. */
static err_t add_running(struct ossnap *s, struct instance **list, int count)
{
    for (int i = 0; i < count; i++)
        if (!has_part(s, list[i]))
            TRY_RETURN(ossnap__add_part(s, list[i], false));
    return JET_errSuccess;
}

static err_t gather(struct ossnap *s)
{
    int room = (int)params_number(params_global(), JET_paramMaxInstances) + 1, count;
    if ((s->grbit & JET_bitExplicitPrepare) != 0)
        return JET_errSuccess;
    struct instance **list = calloc((size_t)room, sizeof(struct instance *));
    if (list == NULL)
        return RAISE(JET_errOutOfMemory);
    instances__enter_running(list, room, &count);
    count = count < room ? count : room;
    err_t err = add_running(s, list, count);
    for (int i = 0; i < count; i++)
        instance_leave(list[i]);
    free(list);
    return err;
}

static void ungather(struct ossnap *s)
{
    for (int i = s->count; i-- > 0;)
        if (!s->part[i].named)
            ossnap__remove_part(s, i, false);
}

/* Nobody starts a change while the gates are shut: so long, and no longer, the others wait for the one that does not end. */
static err_t shut_gates(struct ossnap *s)
{
    enum { LEAST_MS = 2000 }; /* rounds of the background threads end in that */
    uint64_t ms = params_number(params_global(), JET_paramOSSnapshotTimeout);
    ms = ms < LEAST_MS ? LEAST_MS : ms;
    uint64_t deadline = os_now_ns() + ms * 1000000u;
    for (int i = 0; i < s->count; i++) {
        s->part[i].shut = gate__shut(&s->part[i].inst->gate, deadline);
        if (s->part[i].shut)
            continue;
        err_t err = RAISE(JET_errOSSnapshotTimeOut);
        err_detail("%s: a change was still at work after %llu ms (an index being built, a long update); nothing is frozen, all goes on. "
                   "Freeze again when it has ended",
                   s->part[i].inst->display, (unsigned long long)ms);
        return err;
    }
    return JET_errSuccess;
}

/* What can be written while others still write is written first, so that they wait for little. Then all gates are shut, before
 * the first file is made still: one moment for all instances. */
static err_t freeze_entered(struct ossnap *s)
{
    for (int i = 0; i < s->count; i++)
        TRY_RETURN(snapshot_write_down(s->part[i].snap));
    TRY_RETURN(shut_gates(s));
    for (int i = 0; i < s->count; i++) {
        err_t err = snapshot_freeze(s->part[i].snap);
        if (err < 0)
            return instance__judge(s->part[i].inst, err);
    }
    return JET_errSuccess;
}

static err_t list_part(const struct part *p, struct frozen_instance *to)
{
    struct dbfile *dbs[DBID_MAX];
    to->handle = atomic_load(&p->inst->handle);
    snprintf(to->name, sizeof to->name, "%s", p->inst->name);
    to->database_count = instance_databases(p->inst, dbs);
    for (int i = 0; i < to->database_count; i++)
        snprintf(to->database[i], sizeof to->database[i], "%s", dbs[i]->path);
    return JET_errSuccess;
}

static err_t list_parts(const struct ossnap *s, struct frozen_instance **list, int *count)
{
    *count = 0;
    *list = calloc((size_t)s->count + 1, sizeof **list);
    if (*list == NULL)
        return RAISE(JET_errOutOfMemory);
    for (; *count < s->count; ++*count)
        TRY_RETURN(list_part(&s->part[*count], &(*list)[*count]));
    return JET_errSuccess;
}

static void report_kind(const struct ossnap *s)
{
    static const struct {
        int id;
        const char *text;
    } kinds[] = {
        [0] = {2005, "a full snapshot begins"},
        [INCREMENTAL] = {2008, "an incremental snapshot begins"},
        [COPY] = {2009, "a copy snapshot begins"},
        [INCREMENTAL | COPY] = {2010, "a differential snapshot begins"},
    };
    JET_GRBIT kind = s->grbit & (INCREMENTAL | COPY);
    ossnap__event(s, kinds[kind].id, EVENT_INFO, kinds[kind].text, NULL);
}

static err_t freeze_taken(struct ossnap *s, struct frozen_instance **list, int *count)
{
    TRY_RETURN(gather(s));
    report_kind(s);
    ossnap__event(s, 2001, EVENT_INFO, "the freeze of a snapshot begins", NULL);
    TRY_RETURN(enter_parts(s));
    err_t err = freeze_entered(s);
    if (err >= 0)
        err = list_parts(s, list, count);
    s->timeout_ms = (uint32_t)params_number(params_global(), JET_paramOSSnapshotTimeout);
    s->deadline = os_now_ns() + (uint64_t)s->timeout_ms * 1000000u;
    leave_parts(s);
    return err;
}

static void freeze_failed(struct ossnap *s, err_t err)
{
    struct err_origin origin = *err_last();
    char number[16];
    snprintf(number, sizeof number, "%d", (int)err);
    ossnap__thaw_parts(s);
    ossnap__event(s, 2002, EVENT_ERROR, "the freeze of a snapshot failed", number);
    ungather(s);
    ossnap__give(s, OSSNAP_PREPARED);
    err_restore(&origin);
}

err_t ossnap_freeze(uint64_t id, struct frozen_instance **list, int *count)
{
    struct ossnap *s;
    *list = NULL;
    TRY_RETURN(ossnap__take(id, OSSNAP_PREPARED, &s));
    err_t err = freeze_taken(s, list, count);
    if (err >= 0) {
        s->state = OSSNAP_FROZEN; /* the clock sees it when it is given back */
        err = ossnap__start_timer(s);
    }
    if (err < 0) {
        free(*list);
        *list = NULL;
        freeze_failed(s, err);
        return err;
    }
    ossnap__give(s, OSSNAP_FROZEN);
    return JET_errSuccess;
}

err_t ossnap_info(uint64_t id, struct frozen_instance **list, int *count)
{
    struct ossnap *s;
    *list = NULL;
    TRY_RETURN(ossnap__take(id, OSSNAP_FROZEN, &s));
    err_t err = list_parts(s, list, count);
    ossnap__give(s, OSSNAP_FROZEN);
    return err;
}

/* ---- after the copy ---- */

static void end_taken(struct ossnap *s, bool stamp)
{
    bool entered = stamp && enter_parts(s) >= 0;
    ossnap__event(s, stamp ? 2006 : 2007, stamp ? EVENT_INFO : EVENT_ERROR,
                  stamp ? "a snapshot is complete" : "a snapshot is aborted", NULL);
    while (s->count > 0) {
        struct instance *inst = s->part[s->count - 1].inst;
        ossnap__remove_part(s, s->count - 1, entered);
        if (entered)
            instance_leave(inst);
    }
    ossnap__drop(s);
}

err_t ossnap_thaw(uint64_t id)
{
    struct ossnap *s;
    TRY_RETURN(ossnap__take(id, OSSNAP_FROZEN, &s));
    ossnap__stop_timer(s);
    ossnap__thaw_parts(s);
    ossnap__event(s, 2003, EVENT_INFO, "the freeze of a snapshot has ended", NULL);
    if ((s->grbit & JET_bitContinueAfterThaw) != 0)
        ossnap__give(s, OSSNAP_THAWED);
    else
        end_taken(s, true);
    return JET_errSuccess;
}

static err_t truncate_part(struct part *p, bool all_databases)
{
    TRY_RETURN(instance_enter(p->inst, true));
    err_t err = instance__judge(p->inst, snapshot_truncate(p->snap, all_databases));
    instance_leave(p->inst);
    p->truncated = p->truncated || err >= 0;
    return err;
}

static err_t truncate_one(struct ossnap *s, const struct instance *only, bool all_databases)
{
    for (int i = 0; i < s->count; i++) {
        if (s->part[i].inst != only)
            continue;
        if (!s->part[i].truncated)
            return truncate_part(&s->part[i], all_databases);
        err_t err = RAISE(JET_errOSSnapshotInvalidSequence);
        err_detail("the logs of this instance have been truncated for this snapshot already");
        return err;
    }
    err_t err = RAISE(JET_errInvalidParameter);
    err_detail("the instance takes no part in this snapshot");
    return err;
}

static err_t truncate_rest(struct ossnap *s, bool all_databases)
{
    for (int i = 0; i < s->count; i++)
        if (!s->part[i].truncated)
            TRY_RETURN(truncate_part(&s->part[i], all_databases));
    return JET_errSuccess;
}

err_t ossnap_truncate(uint64_t id, struct instance *only, bool all_databases)
{
    struct ossnap *s;
    err_t err;
    TRY_RETURN(ossnap__take(id, OSSNAP_THAWED, &s));
    if ((s->grbit & COPY) != 0) {
        err = RAISE(JET_errOSSnapshotInvalidSequence);
        err_detail("a copy or differential snapshot leaves the logs as they are; end it");
    } else {
        err = only != NULL ? truncate_one(s, only, all_databases) : truncate_rest(s, all_databases);
    }
    ossnap__give(s, OSSNAP_THAWED);
    return err;
}

err_t ossnap_end(uint64_t id, bool abort)
{
    struct ossnap *s;
    const unsigned any = OSSNAP_PREPARED | OSSNAP_FROZEN | OSSNAP_TIMED_OUT | OSSNAP_THAWED;
    TRY_RETURN(ossnap__take(id, abort ? any : OSSNAP_PREPARED | OSSNAP_THAWED, &s));
    bool stamp = !abort && s->state == OSSNAP_THAWED;
    ossnap__stop_timer(s);
    ossnap__thaw_parts(s);
    end_taken(s, stamp);
    return JET_errSuccess;
}
