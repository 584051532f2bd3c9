#include <stdio.h>

#include "api/api_private.h"

/* Restore of files that a client copied itself (backup-semantics.md 10.4): the databases lie where the map says, the logs of the
 * set in a folder. Runs in an instance of its own; others go on. */

#define MAP_MOST (2 * (DBID_MAX + 1))

struct external {
    const char *checkpoint_dir, *log_dir, *set_dir;
    const char *base_name; /* NULL: that of the logs */
    uint32_t gen_low, gen_high;
    const JET_RSTMAP_A *map;
    int32_t map_count;
    const char *target_name, *target_log_dir, *target_checkpoint_dir;
    JET_PFNSTATUS status;
    /* found */
    bool target_running;
    char live_dir[OS_PATH_MAX]; /* of a running target whose logs follow the set; "" = none */
    uint32_t live_last;
};

/* ---- arguments ---- */

static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static err_t check_map(const struct external *x)
{
    if (x->map_count < 0 || x->map_count > MAP_MOST || (x->map == NULL) != (x->map_count == 0))
        return api_invalid("the restore map and its count do not belong together");
    for (int32_t i = 0; i < x->map_count; i++) {
        if (is_empty(x->map[i].szDatabaseName))
            return api_invalid("an entry of the restore map names no database");
        if (!is_empty(x->map[i].szNewDatabaseName))
            continue;
        err_t err = RAISE(JET_errDatabaseInvalidName);
        err_detail("the restore map gives %.200s no new place", x->map[i].szDatabaseName);
        return err;
    }
    return JET_errSuccess;
}

static err_t check_arguments(const struct external *x)
{
    bool log = !is_empty(x->target_log_dir), checkpoint = !is_empty(x->target_checkpoint_dir);
    TRY_RETURN(check_map(x));
    if (is_empty(x->set_dir) || is_empty(x->log_dir) || is_empty(x->checkpoint_dir))
        return api_invalid("folders for the backup logs, the logs and the checkpoint are needed");
    if (log != checkpoint || (!is_empty(x->target_name) && log))
        return api_invalid("a target is named either by its instance, or by both of its folders");
    if (x->gen_low > x->gen_high || (x->gen_low == 0) != (x->gen_high == 0))
        return api_invalid("the generations of the backup logs are no range");
    return JET_errSuccess;
}

/* ---- the target: a running instance whose later logs follow the set ---- */

static err_t folder_of(struct instance *inst, char out[OS_PATH_MAX])
{
    const char *text = params_text(instance_params(inst), JET_paramLogFilePath);
    TRY_RETURN(os_full_path(is_empty(text) ? "." : text, out, OS_PATH_MAX));
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/')
        out[--n] = '\0';
    return JET_errSuccess;
}

static bool is_target(const struct external *x, struct instance *inst)
{
    char own[OS_PATH_MAX], given[OS_PATH_MAX];
    if (!instance_is_running(inst))
        return false;
    if (!is_empty(x->target_name))
        return strcmp(instance_name(inst), x->target_name) == 0;
    if (folder_of(inst, own) < 0 || os_full_path(x->target_log_dir, given, sizeof given) < 0)
        return false;
    size_t n = strlen(given);
    while (n > 1 && given[n - 1] == '/')
        given[--n] = '\0';
    return strcmp(own, given) == 0;
}

static err_t bad_target(const struct external *x, const char *why)
{
    err_t err = RAISE(JET_errBadRestoreTargetInstance);
    err_detail("%.200s %s", x->target_name, why);
    return err;
}

static err_t use_target(struct external *x, struct instance *inst, const char *base_name)
{
    struct params *params = instance_params(inst);
    if (strncmp(params_text(params, JET_paramBaseName), base_name, 3) != 0)
        return is_empty(x->target_name) ? JET_errSuccess : bad_target(x, "has logs of another base name");
    if (params_number(params, JET_paramCircularLog) != 0)
        return JET_errSuccess; /* nothing of it follows the set; ends with success */
    TRY_RETURN(folder_of(inst, x->live_dir));
    TRY_RETURN(instance_roll_log(inst, &x->live_last));
    x->target_running = true;
    return JET_errSuccess;
}

static err_t look_at(struct external *x, JET_INSTANCE handle, const char *base_name, bool *found)
{
    struct api_instance *i;
    *found = false;
    if (api_pin_instance(handle, false, &i) < 0) { /* it went meanwhile */
        err_clear();
        return JET_errSuccess;
    }
    *found = is_target(x, i->inst);
    err_t err = *found ? use_target(x, i->inst, base_name) : JET_errSuccess;
    api_unpin_instance(i);
    return err;
}

static err_t find_target(struct external *x, const char *base_name)
{
    bool found = false;
    err_t err = JET_errSuccess;
    if (is_empty(x->target_name) && is_empty(x->target_log_dir))
        return JET_errSuccess;
    uint32_t n = api_instances(NULL, 0);
    JET_INSTANCE *list = calloc(n + 1, sizeof *list);
    if (list == NULL)
        return RAISE(JET_errOutOfMemory);
    uint32_t there = api_instances(list, n);
    for (uint32_t k = 0; k < (there < n ? there : n) && !found && err >= 0; k++)
        err = look_at(x, list[k], base_name, &found);
    free(list);
    TRY_RETURN(err);
    if (!found && !is_empty(x->target_name))
        return bad_target(x, "is no running instance");
    if (!found) { /* it is down: the restore happens in its folders, and goes on with what lies there */
        x->log_dir = x->target_log_dir;
        x->checkpoint_dir = x->target_checkpoint_dir;
    }
    return JET_errSuccess;
}

/* ---- the set: logs from the folder, databases from the map ---- */

static err_t by_map(const struct external *x, struct restore_set *set)
{
    if (x->map_count > DBID_MAX) {
        err_t err = RAISE(JET_errTooManyAttachedDatabases);
        err_detail("the map names %d databases, an instance has %d at most", (int)x->map_count, DBID_MAX);
        return err;
    }
    for (int32_t i = 0; i < x->map_count; i++) {
        TRY_RETURN(os_full_path(x->map[i].szNewDatabaseName, set->databases[i], OS_PATH_MAX));
        TRY_RETURN(os_full_path(x->map[i].szDatabaseName, set->originals[i], OS_PATH_MAX));
    }
    set->database_count = x->map_count;
    return JET_errSuccess;
}

/* Without a map: those that were attached when the set's first log began, where they lay. */
static err_t by_logs(struct restore_set *set)
{
    char path[OS_PATH_MAX];
    struct log_header *h = malloc(sizeof *h);
    err_t err = h == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    TRY(err);
    TRY(log_find(set->dir, set->base_name, set->gen_low, path));
    TRY(log_read_header(path, h));
    for (int i = 0; i < h->attached_count; i++) {
        snprintf(set->databases[i], OS_PATH_MAX, "%s", h->attached[i].path);
        snprintf(set->originals[i], OS_PATH_MAX, "%s", h->attached[i].path);
    }
    set->database_count = h->attached_count;
out:
    free(h);
    return err;
}

static err_t check_there(const struct restore_set *set)
{
    for (int i = 0; i < set->database_count; i++)
        if (!os_exists(set->databases[i])) {
            err_t err = RAISE(JET_errFileNotFound);
            err_detail("%s is not there; an external restore wants the databases at their places already", set->databases[i]);
            return err;
        }
    return JET_errSuccess;
}

static err_t find_set(const struct external *x, struct restore_set *set)
{
    TRY_RETURN(restore_survey_logs(x->set_dir, x->gen_low, x->gen_high, set));
    TRY_RETURN(x->map_count > 0 ? by_map(x, set) : by_logs(set));
    return check_there(set);
}

/* ---- the run ---- */

static err_t configure(struct instance *inst, const struct external *x, const char *base_name)
{
    struct params *p = instance_params(inst);
    TRY_RETURN(os_dir_create_path(x->log_dir));
    TRY_RETURN(os_dir_create_path(x->checkpoint_dir));
    TRY_RETURN(params_set(p, JET_paramSystemPath, 0, x->checkpoint_dir, PARAMS_BEFORE_INIT));
    TRY_RETURN(params_set(p, JET_paramLogFilePath, 0, x->log_dir, PARAMS_BEFORE_INIT));
    TRY_RETURN(params_set(p, JET_paramTempPath, 0, x->checkpoint_dir, PARAMS_BEFORE_INIT));
    return params_set(p, JET_paramBaseName, 0, base_name, PARAMS_BEFORE_INIT);
}

static err_t restore_in(struct api_instance *i, const struct external *x, const struct restore_set *set)
{
    struct api_progress progress = {.status = x->status};
    struct instance_restore r = {
        .survey = set,
        .roll_forward_dir = is_empty(x->live_dir) ? NULL : x->live_dir,
        .roll_forward_last = x->live_last,
    };
    TRY_RETURN(configure(i->inst, x, x->base_name != NULL ? x->base_name : set->base_name));
    return api_restore(i->handle, &r, &progress, NULL);
}

static err_t run_privately(const struct external *x, const struct restore_set *set)
{
    static _Atomic uint32_t counter;
    struct api_instance *i, *pinned;
    char name[64];
    snprintf(name, sizeof name, "Restore%04u", atomic_fetch_add(&counter, 1) % 10000);
    TRY_RETURN(api_add_instance(name, NULL, &i));
    TRY_RETURN(api_pin_instance(i->handle, false, &pinned));
    err_t err = restore_in(i, x, set);
    struct err_origin origin = *err_last();
    TRY_RETURN(api_remove_instance(pinned));
    if (err >= 0)
        return x->target_running ? JET_wrnTargetInstanceRunning : JET_errSuccess;
    err_restore(&origin);
    return err;
}

static err_t external_restore(struct external *x)
{
    TRY_RETURN(check_arguments(x));
    if (api_mode() == MODE_SINGLE)
        return RAISE(JET_errRunningInOneInstanceMode);
    struct restore_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = find_set(x, set);
    if (err >= 0)
        err = find_target(x, set->base_name);
    if (err >= 0)
        err = api_set_mode(MODE_MULTI);
    if (err >= 0)
        err = run_privately(x, set);
    free(set);
    return err;
}

/* ---- the calls ---- */

JET_ERR JetExternalRestoreA(JET_PSTR szCheckpointFilePath, JET_PSTR szLogPath, JET_RSTMAP_A *rgrstmap, int32_t crstfilemap, JET_PSTR szBackupLogPath,
                            int32_t genLow, int32_t genHigh, JET_PFNSTATUS pfn)
{
    if (genLow < 0 || genHigh < 0)
        return api_invalid("generations are not negative");
    struct external x = {
        .checkpoint_dir = szCheckpointFilePath,
        .log_dir = szLogPath,
        .set_dir = szBackupLogPath,
        .gen_low = (uint32_t)genLow,
        .gen_high = (uint32_t)genHigh,
        .map = rgrstmap,
        .map_count = crstfilemap,
        .status = pfn,
    };
    return external_restore(&x);
}
PLAIN_IS_A(JetExternalRestore);

JET_ERR JetExternalRestore2A(JET_PSTR szCheckpointFilePath, JET_PSTR szLogPath, JET_RSTMAP_A *rgrstmap, int32_t crstfilemap, JET_PSTR szBackupLogPath,
                             JET_LOGINFO_A *pLogInfo, JET_PSTR szTargetInstanceName, JET_PSTR szTargetInstanceLogPath,
                             JET_PSTR szTargetInstanceCheckpointPath, JET_PFNSTATUS pfn)
{
    char base_name[4] = {0};
    if (pLogInfo == NULL || pLogInfo->cbSize != sizeof *pLogInfo)
        return api_invalid("JET_LOGINFO with its cbSize is needed");
    memcpy(base_name, pLogInfo->szBaseName, 3);
    struct external x = {
        .checkpoint_dir = szCheckpointFilePath,
        .log_dir = szLogPath,
        .set_dir = szBackupLogPath,
        .base_name = base_name[0] == '\0' ? NULL : base_name,
        .gen_low = pLogInfo->ulGenLow,
        .gen_high = pLogInfo->ulGenHigh,
        .map = rgrstmap,
        .map_count = crstfilemap,
        .target_name = szTargetInstanceName,
        .target_log_dir = szTargetInstanceLogPath,
        .target_checkpoint_dir = szTargetInstanceCheckpointPath,
        .status = pfn,
    };
    return external_restore(&x);
}
PLAIN_IS_A(JetExternalRestore2);

/* ---- the same in UTF-16 ---- */

enum { CHECKPOINT, LOGS, BACKUP, TARGET, TARGET_LOGS, TARGET_CHECKPOINT, TEXTS };

struct narrow { /* UTF-8 forms of a call's texts */
    char *text[TEXTS];
    JET_RSTMAP_A map[MAP_MOST];
    int32_t count;
};

static void drop(struct narrow *n)
{
    for (int i = 0; i < TEXTS; i++)
        free(n->text[i]);
    for (int32_t i = 0; i < n->count; i++) {
        free(n->map[i].szDatabaseName);
        free(n->map[i].szNewDatabaseName);
    }
}

static err_t take(const JET_WCHAR *const wide[TEXTS], const JET_RSTMAP_W *map, int32_t count, struct narrow *n)
{
    for (int i = 0; i < TEXTS; i++)
        TRY_RETURN(text_from_wide(wide[i], &n->text[i]));
    for (; map != NULL && n->count < count && n->count < MAP_MOST; n->count++) {
        TRY_RETURN(text_from_wide(map[n->count].szDatabaseName, &n->map[n->count].szDatabaseName));
        err_t err = text_from_wide(map[n->count].szNewDatabaseName, &n->map[n->count].szNewDatabaseName);
        if (err < 0) {
            free(n->map[n->count].szDatabaseName);
            return err;
        }
    }
    return JET_errSuccess;
}

JET_ERR JetExternalRestoreW(JET_PWSTR szCheckpointFilePath, JET_PWSTR szLogPath, JET_RSTMAP_W *rgrstmap, int32_t crstfilemap, JET_PWSTR szBackupLogPath,
                            int32_t genLow, int32_t genHigh, JET_PFNSTATUS pfn)
{
    struct narrow n = {.count = 0};
    const JET_WCHAR *const wide[TEXTS] = {[CHECKPOINT] = szCheckpointFilePath, [LOGS] = szLogPath, [BACKUP] = szBackupLogPath};
    err_t err = take(wide, rgrstmap, crstfilemap, &n);
    if (err >= 0)
        err = JetExternalRestoreA(n.text[CHECKPOINT], n.text[LOGS], rgrstmap == NULL ? NULL : n.map, crstfilemap, n.text[BACKUP], genLow, genHigh, pfn);
    drop(&n);
    return err;
}

JET_ERR JetExternalRestore2W(JET_PWSTR szCheckpointFilePath, JET_PWSTR szLogPath, JET_RSTMAP_W *rgrstmap, int32_t crstfilemap, JET_PWSTR szBackupLogPath,
                             JET_LOGINFO_W *pLogInfo, JET_PWSTR szTargetInstanceName, JET_PWSTR szTargetInstanceLogPath,
                             JET_PWSTR szTargetInstanceCheckpointPath, JET_PFNSTATUS pfn)
{
    struct narrow n = {.count = 0};
    if (pLogInfo == NULL || pLogInfo->cbSize != sizeof *pLogInfo)
        return api_invalid("JET_LOGINFO with its cbSize is needed");
    JET_LOGINFO_A info = {.cbSize = sizeof info, .ulGenLow = pLogInfo->ulGenLow, .ulGenHigh = pLogInfo->ulGenHigh};
    for (int i = 0; i < 3; i++)
        info.szBaseName[i] = (char)(pLogInfo->szBaseName[i] < 0x80 ? pLogInfo->szBaseName[i] : '?');
    const JET_WCHAR *const wide[TEXTS] = {
        [CHECKPOINT] = szCheckpointFilePath,
        [LOGS] = szLogPath,
        [BACKUP] = szBackupLogPath,
        [TARGET] = szTargetInstanceName,
        [TARGET_LOGS] = szTargetInstanceLogPath,
        [TARGET_CHECKPOINT] = szTargetInstanceCheckpointPath,
    };
    err_t err = take(wide, rgrstmap, crstfilemap, &n);
    if (err >= 0)
        err = JetExternalRestore2A(n.text[CHECKPOINT], n.text[LOGS], rgrstmap == NULL ? NULL : n.map, crstfilemap, n.text[BACKUP], &info,
                                   n.text[TARGET], n.text[TARGET_LOGS], n.text[TARGET_CHECKPOINT], pfn);
    drop(&n);
    return err;
}
