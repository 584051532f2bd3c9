#include "api/api_private.h"

/* JetInit to JetInit4: what a restore map and a stop position say. All are told in the words of the newest form, JET_RSTINFO2_A. */

struct init_want {
    struct recovery_map map[INIT_MAP_MOST];
    struct init_options options;
    struct api_progress progress;
};

/* ---- checks ---- */

static err_t check_count(int32_t count, bool has_map)
{
    if (count < 0 || count > INIT_MAP_MOST || has_map != (count != 0))
        return api_invalid("JET_RSTINFO: the map and its count do not belong together");
    return JET_errSuccess;
}

static err_t check_stop(const JET_LGPOS *stop, const JET_LOGTIME *time)
{
    static const JET_LOGTIME never;
    if (memcmp(time, &never, sizeof never) != 0)
        return api_invalid("JET_RSTINFO.logtimeStop is reserved; stop at a position, or restore with a time (PyjetRestoreTo)");
    if (stop->lGeneration < 0 || (stop->lGeneration == 0 && (stop->isec != 0 || stop->ib != 0)))
        return api_invalid("JET_RSTINFO.lgposStop: there is no such generation");
    return JET_errSuccess;
}

static err_t check_entry(const JET_RSTMAP2_A *e)
{
    const JET_GRBIT known = JET_bitRestoreMapIgnoreWhenMissing | JET_bitRestoreMapFailWhenMissing | JET_bitRestoreMapOverwriteOnCreate;
    const JET_GRBIT either = JET_bitRestoreMapIgnoreWhenMissing | JET_bitRestoreMapFailWhenMissing;
    err_t err;
    if (e->cbStruct != sizeof *e)
        return api_invalid("JET_RSTMAP2.cbStruct is wrong");
    if (e->csetdbparam != 0 || e->rgsetdbparam != NULL) {
        err = RAISE(JET_errInvalidDbparamId);
        err_detail("JET_RSTMAP2: no database parameter is supported: rgsetdbparam is NULL, csetdbparam 0");
        return err;
    }
    if ((e->grbit & ~known) != 0 || (e->grbit & either) == either) {
        err = RAISE(JET_errInvalidGrbit);
        err_detail("JET_RSTMAP2.grbit takes JET_bitRestoreMapIgnoreWhenMissing or ...FailWhenMissing, and ...OverwriteOnCreate");
        return err;
    }
    if (e->szNewDatabaseName == NULL || e->szNewDatabaseName[0] == '\0') {
        err = RAISE(JET_errDatabaseInvalidName);
        err_detail("JET_RSTINFO: the map gives %.200s no new name", e->szDatabaseName == NULL ? "a database" : e->szDatabaseName);
        return err;
    }
    return JET_errSuccess;
}

/* ---- one way in ---- */

static err_t init_with(JET_INSTANCE *pinstance, const JET_RSTINFO2_A *info, JET_PFNSTATUS status, JET_GRBIT grbit)
{
    struct init_want w = {.options = {.grbit = grbit}, .progress = {.status = status}};
    w.options.map = w.map;
    TRY_RETURN(api_check_init_grbit(grbit));
    if (info != NULL) {
        TRY_RETURN(check_count(info->crstmap, info->rgrstmap != NULL));
        for (int32_t i = 0; i < info->crstmap; i++) {
            const JET_RSTMAP2_A *e = &info->rgrstmap[i];
            TRY_RETURN(check_entry(e));
            w.map[i] = (struct recovery_map){e->szDatabaseName, e->szNewDatabaseName, e->grbit};
        }
        TRY_RETURN(check_stop(&info->lgposStop, &info->logtimeStop));
        w.options.map_count = info->crstmap;
        memcpy(&w.options.stop, &info->lgposStop, sizeof w.options.stop);
        w.progress.init = info->pfnCallback;
        w.progress.context = info->pvCallbackContext;
    }
    return api_init(pinstance, &w.options, &w.progress, NULL);
}

/* ---- JetInit3: names only, and each has an old one ---- */

static err_t init3(JET_INSTANCE *pinstance, const JET_RSTINFO_A *info, JET_GRBIT grbit)
{
    JET_RSTMAP2_A map[INIT_MAP_MOST] = {{0}};
    if (info == NULL)
        return init_with(pinstance, NULL, NULL, grbit);
    TRY_RETURN(api_check_init_grbit(grbit));
    if (info->cbStruct != sizeof *info)
        return api_invalid("JET_RSTINFO.cbStruct is wrong");
    TRY_RETURN(check_count(info->crstmap, info->rgrstmap != NULL));
    for (int32_t i = 0; i < info->crstmap; i++) {
        if (info->rgrstmap[i].szDatabaseName == NULL)
            return api_invalid("JET_RSTINFO: an entry without a database name");
        map[i] = (JET_RSTMAP2_A){.cbStruct = sizeof map[i],
                                 .szDatabaseName = info->rgrstmap[i].szDatabaseName,
                                 .szNewDatabaseName = info->rgrstmap[i].szNewDatabaseName};
    }
    JET_RSTINFO2_A newest = {.cbStruct = sizeof newest,
                             .rgrstmap = info->crstmap == 0 ? NULL : map,
                             .crstmap = info->crstmap,
                             .lgposStop = info->lgposStop,
                             .logtimeStop = info->logtimeStop};
    return init_with(pinstance, &newest, info->pfnStatus, grbit);
}

JET_ERR JetInit3A(JET_INSTANCE *pinstance, JET_RSTINFO_A *prstInfo, JET_GRBIT grbit)
{
    return init3(pinstance, prstInfo, grbit);
}
PLAIN_IS_A(JetInit3);

/* Of a count that will be refused nothing is read. */
static int32_t to_take(int32_t count, const void *map)
{
    return map == NULL || count < 0 || count > INIT_MAP_MOST ? 0 : count;
}

JET_ERR JetInit3W(JET_INSTANCE *pinstance, JET_RSTINFO_W *prstInfo, JET_GRBIT grbit)
{
    JET_RSTMAP_A map[INIT_MAP_MOST] = {{0}};
    JET_RSTINFO_A info;
    err_t err = JET_errSuccess;
    if (prstInfo == NULL)
        return init3(pinstance, NULL, grbit);
    memcpy(&info, prstInfo, sizeof info);
    int32_t n = to_take(prstInfo->crstmap, prstInfo->rgrstmap);
    for (int32_t i = 0; i < n; i++) {
        TRY(text_from_wide(prstInfo->rgrstmap[i].szDatabaseName, &map[i].szDatabaseName));
        TRY(text_from_wide(prstInfo->rgrstmap[i].szNewDatabaseName, &map[i].szNewDatabaseName));
    }
    if (n > 0)
        info.rgrstmap = map;
    err = init3(pinstance, &info, grbit);
out:
    for (int i = 0; i < INIT_MAP_MOST; i++) {
        free(map[i].szDatabaseName);
        free(map[i].szNewDatabaseName);
    }
    return err;
}

/* ---- JetInit4 ---- */

JET_ERR JetInit4A(JET_INSTANCE *pinstance, JET_RSTINFO2_A *prstInfo, JET_GRBIT grbit)
{
    TRY_RETURN(api_check_init_grbit(grbit));
    if (prstInfo != NULL && prstInfo->cbStruct != sizeof *prstInfo)
        return api_invalid("JET_RSTINFO2.cbStruct is wrong");
    return init_with(pinstance, prstInfo, NULL, grbit);
}
PLAIN_IS_A(JetInit4);

JET_ERR JetInit4W(JET_INSTANCE *pinstance, JET_RSTINFO2_W *prstInfo, JET_GRBIT grbit)
{
    JET_RSTMAP2_A map[INIT_MAP_MOST] = {{0}};
    JET_RSTINFO2_A info;
    err_t err = JET_errSuccess;
    if (prstInfo == NULL)
        return JetInit4A(pinstance, NULL, grbit);
    memcpy(&info, prstInfo, sizeof info);
    int32_t n = to_take(prstInfo->crstmap, prstInfo->rgrstmap);
    for (int32_t i = 0; i < n; i++) {
        memcpy(&map[i], &prstInfo->rgrstmap[i], sizeof map[i]);
        map[i].szDatabaseName = map[i].szNewDatabaseName = NULL;
        TRY(text_from_wide(prstInfo->rgrstmap[i].szDatabaseName, &map[i].szDatabaseName));
        TRY(text_from_wide(prstInfo->rgrstmap[i].szNewDatabaseName, &map[i].szNewDatabaseName));
    }
    if (n > 0)
        info.rgrstmap = map;
    err = JetInit4A(pinstance, &info, grbit);
out:
    for (int i = 0; i < INIT_MAP_MOST; i++) {
        free(map[i].szDatabaseName);
        free(map[i].szNewDatabaseName);
    }
    return err;
}

JET_ERR JetInit2(JET_INSTANCE *pinstance, JET_GRBIT grbit)
{
    return init_with(pinstance, NULL, NULL, grbit);
}

JET_ERR JetInit(JET_INSTANCE *pinstance)
{
    return init_with(pinstance, NULL, NULL, 0);
}
