#include <stdio.h>

#include "api/api_private.h"

/* Snapshots of the operating system (backup-semantics.md 12.1). Grbits are checked before pointers, these before what the engine says. */

static err_t check_grbit(JET_GRBIT grbit, JET_GRBIT known, const char *words)
{
    if ((grbit & ~known) == 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errInvalidGrbit);
    err_detail("%s", words);
    return err;
}

static err_t no_grbit(JET_GRBIT grbit)
{
    return check_grbit(grbit, 0, "this call takes no grbit");
}

JET_ERR JetOSSnapshotPrepare(JET_OSSNAPID *psnapId, const JET_GRBIT grbit)
{
    const JET_GRBIT known = JET_bitIncrementalSnapshot | JET_bitCopySnapshot | JET_bitContinueAfterThaw | JET_bitExplicitPrepare;
    uint64_t id;
    TRY_RETURN(check_grbit(grbit, known,
                           "a snapshot takes JET_bitIncrementalSnapshot, JET_bitCopySnapshot, JET_bitContinueAfterThaw and "
                           "JET_bitExplicitPrepare"));
    if (psnapId == NULL)
        return api_invalid("a place for the snapshot's id is needed");
    TRY_RETURN(ossnap_prepare(grbit, &id));
    *psnapId = id;
    return JET_errSuccess;
}

JET_ERR JetOSSnapshotPrepareInstance(JET_OSSNAPID snapId, JET_INSTANCE instance, const JET_GRBIT grbit)
{
    struct api_instance *i;
    TRY_RETURN(no_grbit(grbit));
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = ossnap_add(snapId, i->inst);
    api_unpin_instance(i);
    return err;
}

/* ---- the list of a freeze: one block, freed by JetFreeBuffer. It is measured, then filled, by the same steps. ---- */

struct block {
    uint8_t *at; /* NULL: only counted */
    size_t used;
};

static void *take(struct block *b, size_t n)
{
    void *p = b->at == NULL ? NULL : b->at + b->used;
    b->used += (n + 7) & ~(size_t)7;
    return p;
}

static void *take_text(struct block *b, const char *text, bool wide)
{
    uint32_t n = wide ? text_to_wide(text, NULL, 0) : (uint32_t)strlen(text) + 1;
    void *p = take(b, n);
    if (p == NULL)
        return NULL;
    if (wide)
        text_to_wide(text, p, n);
    else
        memcpy(p, text, n);
    return p;
}

/* The A and W forms have the same layout (checked in layout.c): pointers to texts of either kind. */
static void put_instance(struct block *b, JET_INSTANCE_INFO_A *to, const struct frozen_instance *from, bool wide)
{
    size_t n = (size_t)from->database_count;
    JET_INSTANCE_INFO_A info = {.hInstanceId = from->handle, .cDatabases = n};
    info.szInstanceName = take_text(b, from->name, wide);
    info.szDatabaseFileName = take(b, n * sizeof(char *));
    info.szDatabaseDisplayName = take(b, n * sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        void *path = take_text(b, from->database[i], wide), *name = take_text(b, os_last_name(from->database[i]), wide);
        if (b->at == NULL)
            continue;
        info.szDatabaseFileName[i] = path;
        info.szDatabaseDisplayName[i] = name;
    }
    if (to != NULL)
        *to = info;
}

static void put_all(struct block *b, const struct frozen_instance *list, int count, bool wide)
{
    JET_INSTANCE_INFO_A *to = take(b, (size_t)count * sizeof *to);
    for (int i = 0; i < count; i++)
        put_instance(b, to == NULL ? NULL : &to[i], &list[i], wide);
}

static err_t give_list(const struct frozen_instance *list, int count, bool wide, uint32_t *n, void **out)
{
    struct block b = {0};
    put_all(&b, list, count, wide);
    b = (struct block){.at = calloc(1, b.used + 8)};
    if (b.at == NULL)
        return RAISE(JET_errOutOfMemory);
    put_all(&b, list, count, wide);
    *n = (uint32_t)count;
    *out = b.at;
    return JET_errSuccess;
}

static err_t no_place(void)
{
    return api_invalid("places for the count and the list of instances are needed");
}

static err_t freeze(JET_OSSNAPID id, uint32_t *n, void **out, JET_GRBIT grbit, bool wide)
{
    struct frozen_instance *list;
    int count;
    TRY_RETURN(no_grbit(grbit));
    if (n == NULL || out == NULL)
        return no_place();
    *n = 0;
    *out = NULL;
    TRY_RETURN(ossnap_freeze(id, &list, &count));
    err_t err = give_list(list, count, wide, n, out);
    free(list);
    if (err >= 0)
        return err;
    err_t ended = ossnap_end(id, true); /* nobody would know what to copy */
    (void)ended;
    return RAISE(JET_errOutOfMemory);
}

static err_t freeze_info(JET_OSSNAPID id, uint32_t *n, void **out, JET_GRBIT grbit, bool wide)
{
    struct frozen_instance *list;
    int count;
    TRY_RETURN(no_grbit(grbit));
    if (n == NULL || out == NULL)
        return no_place();
    *n = 0;
    *out = NULL;
    TRY_RETURN(ossnap_info(id, &list, &count));
    err_t err = give_list(list, count, wide, n, out);
    free(list);
    return err;
}

JET_ERR JetOSSnapshotFreezeA(const JET_OSSNAPID snapId, uint32_t *pcInstanceInfo, JET_INSTANCE_INFO_A **paInstanceInfo, const JET_GRBIT grbit)
{
    return freeze(snapId, pcInstanceInfo, (void **)paInstanceInfo, grbit, false);
}
PLAIN_IS_A(JetOSSnapshotFreeze);

JET_ERR JetOSSnapshotFreezeW(const JET_OSSNAPID snapId, uint32_t *pcInstanceInfo, JET_INSTANCE_INFO_W **paInstanceInfo, const JET_GRBIT grbit)
{
    return freeze(snapId, pcInstanceInfo, (void **)paInstanceInfo, grbit, true);
}

JET_ERR JetOSSnapshotGetFreezeInfoA(const JET_OSSNAPID snapId, uint32_t *pcInstanceInfo, JET_INSTANCE_INFO_A **paInstanceInfo,
                                    const JET_GRBIT grbit)
{
    return freeze_info(snapId, pcInstanceInfo, (void **)paInstanceInfo, grbit, false);
}
PLAIN_IS_A(JetOSSnapshotGetFreezeInfo);

JET_ERR JetOSSnapshotGetFreezeInfoW(const JET_OSSNAPID snapId, uint32_t *pcInstanceInfo, JET_INSTANCE_INFO_W **paInstanceInfo,
                                    const JET_GRBIT grbit)
{
    return freeze_info(snapId, pcInstanceInfo, (void **)paInstanceInfo, grbit, true);
}

/* ---- afterwards ---- */

JET_ERR JetOSSnapshotThaw(const JET_OSSNAPID snapId, const JET_GRBIT grbit)
{
    TRY_RETURN(no_grbit(grbit));
    return ossnap_thaw(snapId);
}

static err_t check_truncate_grbit(JET_GRBIT grbit)
{
    return check_grbit(grbit, JET_bitAllDatabasesSnapshot, "truncation takes JET_bitAllDatabasesSnapshot");
}

JET_ERR JetOSSnapshotTruncateLog(const JET_OSSNAPID snapId, const JET_GRBIT grbit)
{
    TRY_RETURN(check_truncate_grbit(grbit));
    return ossnap_truncate(snapId, NULL, (grbit & JET_bitAllDatabasesSnapshot) != 0);
}

JET_ERR JetOSSnapshotTruncateLogInstance(const JET_OSSNAPID snapId, JET_INSTANCE instance, const JET_GRBIT grbit)
{
    struct api_instance *i;
    TRY_RETURN(check_truncate_grbit(grbit));
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = ossnap_truncate(snapId, i->inst, (grbit & JET_bitAllDatabasesSnapshot) != 0);
    api_unpin_instance(i);
    return err;
}

JET_ERR JetOSSnapshotAbort(const JET_OSSNAPID snapId, const JET_GRBIT grbit)
{
    TRY_RETURN(no_grbit(grbit));
    return ossnap_end(snapId, true);
}

JET_ERR JetOSSnapshotEnd(const JET_OSSNAPID snapId, const JET_GRBIT grbit)
{
    TRY_RETURN(check_grbit(grbit, JET_bitAbortSnapshot, "an end takes JET_bitAbortSnapshot"));
    return ossnap_end(snapId, (grbit & JET_bitAbortSnapshot) != 0);
}

JET_ERR PyjetLeaveSnapshots(JET_INSTANCE instance, JET_GRBIT grbit)
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, false, &i));
    err_t err = instance_leave_snapshots(i->inst, grbit);
    api_unpin_instance(i);
    return err;
}
