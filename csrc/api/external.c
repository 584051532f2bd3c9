#include "api/api_private.h"

/* External backup: each call is one step of backup/external.c (backup-semantics.md 4, 7). */

struct step {
    struct api_instance *instance;
    struct backup *backup;
};

static err_t step_in(JET_INSTANCE instance, struct step *s)
{
    TRY_RETURN(api_pin_instance(instance, true, &s->instance));
    err_t err = instance_enter_backup(s->instance->inst, &s->backup);
    if (err < 0)
        api_unpin_instance(s->instance);
    return err;
}

static err_t step_out(struct step *s, err_t err)
{
    instance_leave_backup(s->instance->inst, err);
    api_unpin_instance(s->instance);
    return err;
}

/* ---- lists of paths: as much as fits, closed by two NULs; the caller compares the real size (ruling C17) ---- */

static void give_narrow(const struct backup_list *list, char *to, uint32_t room)
{
    uint32_t n = list->size < room ? list->size : room;
    memcpy(to, list->text, n);
    for (uint32_t i = 1; i <= 2 && i <= n; i++)
        to[n - i] = '\0';
}

static uint32_t wide_size(const struct backup_list *list)
{
    uint32_t size = 0;
    for (const char *p = list->text; *p != '\0'; p += strlen(p) + 1)
        size += text_to_wide(p, NULL, 0);
    return size == 0 ? 2 * (uint32_t)sizeof(JET_WCHAR) : size + (uint32_t)sizeof(JET_WCHAR);
}

static void give_wide(const struct backup_list *list, JET_WCHAR *to, uint32_t room)
{
    uint32_t at = 0, units = room / sizeof(JET_WCHAR);
    for (const char *p = list->text; *p != '\0' && at < units; p += strlen(p) + 1)
        at += text_to_wide(p, to + at, (units - at) * (uint32_t)sizeof(JET_WCHAR)) / (uint32_t)sizeof(JET_WCHAR);
    if (at == 0 && units > 0)
        to[at++] = 0;
    at = at < units ? at + 1 : units;
    for (uint32_t i = 1; i <= (list->text[0] == '\0' || at == units ? 2u : 1u) && i <= at; i++)
        to[at - i] = 0;
}

struct place { /* of a list */
    void *to;
    uint32_t room;
    uint32_t *actual;
    bool wide;
};

/* The list is freed. */
static err_t give_list(struct backup_list *list, err_t err, const struct place *place)
{
    if (err >= 0 && place->to != NULL && place->wide)
        give_wide(list, place->to, place->room);
    else if (err >= 0 && place->to != NULL)
        give_narrow(list, place->to, place->room);
    if (err >= 0 && place->actual != NULL)
        *place->actual = place->wide ? wide_size(list) : list->size;
    free(list->text);
    return err;
}

/* ---- begin ---- */

JET_ERR JetBeginExternalBackupInstance(JET_INSTANCE instance, JET_GRBIT grbit)
{
    struct step s;
    TRY_RETURN(step_in(instance, &s));
    struct backup_options options;
    instance_backup_options(s.instance->inst, &options);
    return step_out(&s, backup_begin(s.backup, grbit, &options));
}

JET_ERR JetBeginExternalBackup(JET_GRBIT grbit)
{
    TRY_RETURN(api_require_single());
    return JetBeginExternalBackupInstance(0, grbit);
}

/* ---- databases ---- */

static err_t attach_info(JET_INSTANCE instance, const struct place *place)
{
    struct step s;
    struct backup_list list;
    TRY_RETURN(step_in(instance, &s));
    return step_out(&s, give_list(&list, backup_list_databases(s.backup, &list), place));
}

JET_ERR JetGetAttachInfoInstanceA(JET_INSTANCE instance, JET_PSTR szzDatabases, uint32_t cbMax, uint32_t *pcbActual)
{
    return attach_info(instance, &(struct place){szzDatabases, cbMax, pcbActual, false});
}
PLAIN_IS_A(JetGetAttachInfoInstance);

JET_ERR JetGetAttachInfoInstanceW(JET_INSTANCE instance, JET_PWSTR szzDatabases, uint32_t cbMax, uint32_t *pcbActual)
{
    return attach_info(instance, &(struct place){szzDatabases, cbMax, pcbActual, true});
}

JET_ERR JetGetAttachInfoA(JET_PSTR szzDatabases, uint32_t cbMax, uint32_t *pcbActual)
{
    TRY_RETURN(api_require_single());
    return JetGetAttachInfoInstanceA(0, szzDatabases, cbMax, pcbActual);
}
PLAIN_IS_A(JetGetAttachInfo);

JET_ERR JetGetAttachInfoW(JET_PWSTR wszzDatabases, uint32_t cbMax, uint32_t *pcbActual)
{
    TRY_RETURN(api_require_single());
    return JetGetAttachInfoInstanceW(0, wszzDatabases, cbMax, pcbActual);
}

/* ---- files ---- */

JET_ERR JetOpenFileInstanceA(JET_INSTANCE instance, JET_PCSTR szFileName, JET_HANDLE *phfFile, uint32_t *pulFileSizeLow,
                             uint32_t *pulFileSizeHigh)
{
    struct step s;
    uint64_t size = 0;
    TRY_RETURN(step_in(instance, &s));
    bool places = phfFile != NULL && pulFileSizeLow != NULL && pulFileSizeHigh != NULL;
    err_t err = backup_open_file(s.backup, szFileName, places ? phfFile : NULL, &size);
    if (err >= 0) {
        *pulFileSizeLow = (uint32_t)size;
        *pulFileSizeHigh = (uint32_t)(size >> 32);
    }
    return step_out(&s, err);
}
PLAIN_IS_A(JetOpenFileInstance);

JET_ERR JetOpenFileInstanceW(JET_INSTANCE instance, JET_PCWSTR szFileName, JET_HANDLE *phfFile, uint32_t *pulFileSizeLow,
                             uint32_t *pulFileSizeHigh)
    WITH_TEXT(path, szFileName, JetOpenFileInstanceA(instance, path, phfFile, pulFileSizeLow, pulFileSizeHigh))

JET_ERR JetOpenFileA(JET_PCSTR szFileName, JET_HANDLE *phfFile, uint32_t *pulFileSizeLow, uint32_t *pulFileSizeHigh)
{
    TRY_RETURN(api_require_single());
    return JetOpenFileInstanceA(0, szFileName, phfFile, pulFileSizeLow, pulFileSizeHigh);
}
PLAIN_IS_A(JetOpenFile);

JET_ERR JetOpenFileW(JET_PCWSTR szFileName, JET_HANDLE *phfFile, uint32_t *pulFileSizeLow, uint32_t *pulFileSizeHigh)
    WITH_TEXT(path, szFileName, JetOpenFileA(path, phfFile, pulFileSizeLow, pulFileSizeHigh))

JET_ERR JetReadFileInstance(JET_INSTANCE instance, JET_HANDLE hfFile, void *pv, uint32_t cb, uint32_t *pcbActual)
{
    struct step s;
    uint32_t actual;
    TRY_RETURN(step_in(instance, &s));
    err_t err = backup_read_file(s.backup, hfFile, pv, cb, &actual);
    if (err >= 0 && pcbActual != NULL)
        *pcbActual = actual;
    return step_out(&s, err);
}

JET_ERR JetReadFile(JET_HANDLE hfFile, void *pv, uint32_t cb, uint32_t *pcbActual)
{
    TRY_RETURN(api_require_single());
    return JetReadFileInstance(0, hfFile, pv, cb, pcbActual);
}

JET_ERR JetCloseFileInstance(JET_INSTANCE instance, JET_HANDLE hfFile)
{
    struct step s;
    TRY_RETURN(step_in(instance, &s));
    return step_out(&s, backup_close_file(s.backup, hfFile));
}

JET_ERR JetCloseFile(JET_HANDLE hfFile)
{
    TRY_RETURN(api_require_single());
    return JetCloseFileInstance(0, hfFile);
}

/* ---- logs ---- */

static err_t log_info(JET_INSTANCE instance, const struct place *place, struct backup_generations *range, bool bad_size)
{
    struct step s;
    struct backup_list list;
    TRY_RETURN(step_in(instance, &s));
    if (bad_size)
        return step_out(&s, api_invalid("JET_LOGINFO.cbSize is the size of the structure"));
    return step_out(&s, give_list(&list, backup_list_logs(s.backup, &list, range), place));
}

JET_ERR JetGetLogInfoInstance2A(JET_INSTANCE instance, JET_PSTR szzLogs, uint32_t cbMax, uint32_t *pcbActual, JET_LOGINFO_A *pLogInfo)
{
    struct backup_generations range;
    char base[4];
    bool bad = pLogInfo != NULL && pLogInfo->cbSize != sizeof *pLogInfo;
    TRY_RETURN(log_info(instance, &(struct place){szzLogs, cbMax, pcbActual, false}, &range, bad));
    if (pLogInfo == NULL)
        return JET_errSuccess;
    pLogInfo->ulGenLow = range.low;
    pLogInfo->ulGenHigh = range.high;
    TRY_RETURN(JetGetSystemParameterA(instance, JET_sesidNil, JET_paramBaseName, NULL, base, sizeof base));
    memcpy(pLogInfo->szBaseName, base, sizeof base);
    return JET_errSuccess;
}
PLAIN_IS_A(JetGetLogInfoInstance2);

JET_ERR JetGetLogInfoInstance2W(JET_INSTANCE instance, JET_PWSTR wszzLogs, uint32_t cbMax, uint32_t *pcbActual, JET_LOGINFO_W *pLogInfo)
{
    struct backup_generations range;
    char base[4];
    bool bad = pLogInfo != NULL && pLogInfo->cbSize != sizeof *pLogInfo;
    TRY_RETURN(log_info(instance, &(struct place){wszzLogs, cbMax, pcbActual, true}, &range, bad));
    if (pLogInfo == NULL)
        return JET_errSuccess;
    pLogInfo->ulGenLow = range.low;
    pLogInfo->ulGenHigh = range.high;
    TRY_RETURN(JetGetSystemParameterA(instance, JET_sesidNil, JET_paramBaseName, NULL, base, sizeof base));
    for (int i = 0; i < 4; i++)
        pLogInfo->szBaseName[i] = (JET_WCHAR)base[i];
    return JET_errSuccess;
}

JET_ERR JetGetLogInfoInstanceA(JET_INSTANCE instance, JET_PSTR szzLogs, uint32_t cbMax, uint32_t *pcbActual)
{
    return JetGetLogInfoInstance2A(instance, szzLogs, cbMax, pcbActual, NULL);
}
PLAIN_IS_A(JetGetLogInfoInstance);

JET_ERR JetGetLogInfoInstanceW(JET_INSTANCE instance, JET_PWSTR wszzLogs, uint32_t cbMax, uint32_t *pcbActual)
{
    return JetGetLogInfoInstance2W(instance, wszzLogs, cbMax, pcbActual, NULL);
}

JET_ERR JetGetLogInfoA(JET_PSTR szzLogs, uint32_t cbMax, uint32_t *pcbActual)
{
    TRY_RETURN(api_require_single());
    return JetGetLogInfoInstanceA(0, szzLogs, cbMax, pcbActual);
}
PLAIN_IS_A(JetGetLogInfo);

JET_ERR JetGetLogInfoW(JET_PWSTR szzLogs, uint32_t cbMax, uint32_t *pcbActual)
{
    TRY_RETURN(api_require_single());
    return JetGetLogInfoInstanceW(0, szzLogs, cbMax, pcbActual);
}

static err_t truncate_info(JET_INSTANCE instance, const struct place *place)
{
    struct step s;
    struct backup_list list;
    TRY_RETURN(step_in(instance, &s));
    return step_out(&s, give_list(&list, backup_list_truncated(s.backup, &list), place));
}

JET_ERR JetGetTruncateLogInfoInstanceA(JET_INSTANCE instance, JET_PSTR szzLogs, uint32_t cbMax, uint32_t *pcbActual)
{
    return truncate_info(instance, &(struct place){szzLogs, cbMax, pcbActual, false});
}
PLAIN_IS_A(JetGetTruncateLogInfoInstance);

JET_ERR JetGetTruncateLogInfoInstanceW(JET_INSTANCE instance, JET_PWSTR wszzLogs, uint32_t cbMax, uint32_t *pcbActual)
{
    return truncate_info(instance, &(struct place){wszzLogs, cbMax, pcbActual, true});
}

JET_ERR JetTruncateLogInstance(JET_INSTANCE instance)
{
    struct step s;
    TRY_RETURN(step_in(instance, &s));
    return step_out(&s, backup_truncate(s.backup));
}

JET_ERR JetTruncateLog(void)
{
    TRY_RETURN(api_require_single());
    return JetTruncateLogInstance(0);
}

/* ---- end ---- */

JET_ERR PyjetEndExternalBackup(JET_INSTANCE instance, JET_GRBIT grbit, JET_ERR *outcome)
{
    struct step s;
    err_t ended_as;
    TRY_RETURN(step_in(instance, &s));
    err_t err = backup_end(s.backup, grbit, &ended_as);
    if (outcome != NULL)
        *outcome = ended_as;
    return step_out(&s, err);
}

JET_ERR JetEndExternalBackupInstance2(JET_INSTANCE instance, JET_GRBIT grbit)
{
    return PyjetEndExternalBackup(instance, grbit, NULL);
}

JET_ERR JetEndExternalBackupInstance(JET_INSTANCE instance)
{
    return JetEndExternalBackupInstance2(instance, JET_bitBackupEndNormal);
}

JET_ERR JetEndExternalBackup(void)
{
    TRY_RETURN(api_require_single());
    return JetEndExternalBackupInstance(0);
}
