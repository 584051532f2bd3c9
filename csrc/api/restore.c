#include "api/api_private.h"

/* Restore from a set that JetBackupInstance made (backup-semantics.md 10). */

static err_t restore_pinned(struct api_instance *i, struct instance_restore *r, struct api_progress *progress, struct restore_result *result)
{
    r->progress = api_progress_socket(progress);
    if (r->survey == NULL && (r->set == NULL || r->set[0] == '\0'))
        return api_invalid("the folder of a backup set is needed");
    if (r->destination != NULL && r->destination[0] == '\0')
        r->destination = NULL;
    return api_progress_end(progress, instance_restore(i->inst, r, result));
}

err_t api_restore(JET_INSTANCE instance, struct instance_restore *r, struct api_progress *progress, struct restore_result *result)
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    struct restore_result *own = result != NULL ? result : calloc(1, sizeof *own);
    err_t err = own == NULL ? RAISE(JET_errOutOfMemory) : restore_pinned(i, r, progress, own);
    if (result == NULL)
        free(own);
    api_unpin_instance(i);
    return err;
}

/* ESE's calls roll forward with the logs that lie in the instance's log folder. */
static err_t run_restore(JET_INSTANCE instance, const char *set, const char *destination, JET_PFNSTATUS pfn)
{
    struct api_progress progress = {.status = pfn};
    struct instance_restore r = {.set = set, .destination = destination};
    return api_restore(instance, &r, &progress, NULL);
}

JET_ERR JetRestoreInstanceA(JET_INSTANCE instance, JET_PCSTR sz, JET_PCSTR szDest, JET_PFNSTATUS pfn)
{
    return run_restore(instance, sz, szDest, pfn);
}
PLAIN_IS_A(JetRestoreInstance);

JET_ERR JetRestoreInstanceW(JET_INSTANCE instance, JET_PCWSTR sz, JET_PCWSTR szDest, JET_PFNSTATUS pfn)
    WITH_TEXTS(set, sz, destination, szDest, JetRestoreInstanceA(instance, set, destination, pfn))

/* Single-instance mode: an instance is made for the call when there is none, and goes with it. */
JET_ERR JetRestore2A(JET_PCSTR sz, JET_PCSTR szDest, JET_PFNSTATUS pfn)
{
    struct api_instance *i, *pinned;
    if (api_mode() == MODE_MULTI)
        return RAISE(JET_errRunningInMultiInstanceMode);
    if (api_mode() == MODE_SINGLE)
        return run_restore(0, sz, szDest, pfn);
    TRY_RETURN(api_set_mode(MODE_SINGLE));
    TRY_RETURN(api_add_instance(NULL, NULL, &i));
    TRY_RETURN(api_pin_instance(i->handle, true, &pinned));
    err_t err = run_restore(i->handle, sz, szDest, pfn);
    struct err_origin origin = *err_last();
    TRY_RETURN(api_remove_instance(i));
    if (err < 0) {
        err_restore(&origin);
    }
    return err;
}
PLAIN_IS_A(JetRestore2);

JET_ERR JetRestore2W(JET_PCWSTR sz, JET_PCWSTR szDest, JET_PFNSTATUS pfn)
    WITH_TEXTS(set, sz, destination, szDest, JetRestore2A(set, destination, pfn))

JET_ERR JetRestoreA(JET_PCSTR szSource, JET_PFNSTATUS pfn)
{
    return JetRestore2A(szSource, NULL, pfn);
}
PLAIN_IS_A(JetRestore);

JET_ERR JetRestoreW(JET_PCWSTR szSource, JET_PFNSTATUS pfn)
{
    return JetRestore2W(szSource, NULL, pfn);
}

static void restore_out(const struct restore_result *r, PYJET_RESTORE *to)
{
    *to = (PYJET_RESTORE){.files = r->files, .databases = (uint32_t)r->database_count, .bytes = r->bytes, .ns = r->ns};
    api_recovery_out(&r->recovery, &to->recovery);
    static_assert(sizeof to->database == sizeof r->databases, "as many paths of the same length");
    memcpy(to->database, r->databases, sizeof to->database);
}

static bool is_leap(uint32_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* A JET_LOGTIME: seconds, minutes, hours, day, month, years from 1900, milliseconds in two parts. All zero: none. */
static bool is_time(const uint8_t t[8])
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint32_t month = t[4], ms = t[6] >> 1 | (t[7] >> 1 & 7u) << 7;
    if (month < 1 || month > 12)
        return false;
    uint32_t most = days[month - 1] + (month == 2 && is_leap(1900u + t[5]));
    return t[3] >= 1 && t[3] <= most && t[2] < 24 && t[1] < 60 && t[0] < 60 && ms < 1000;
}

JET_ERR PyjetRestoreTo(JET_INSTANCE instance, const PYJET_RESTORE_OPTIONS *options, PYJET_PROGRESS progress, void *context, PYJET_RESTORE *result)
{
    struct api_progress p = {.progress = progress, .context = context};
    struct logtime time;
    struct recovery_map map[DBID_MAX];
    static const struct logtime never;
    if (options == NULL || options->renames > DBID_MAX || (options->renames > 0 && options->rename == NULL))
        return api_invalid("the options of a restore, with at most as many renames as a set has databases, are needed");
    for (uint32_t i = 0; i < options->renames; i++)
        map[i] = (struct recovery_map){options->rename[i].szDatabaseName, options->rename[i].szNewDatabaseName, 0};
    memcpy(&time, &options->stop_time, sizeof time);
    if (memcmp(&time, &never, sizeof time) != 0 && !is_time(time.b))
        return api_invalid("the time to stop at is no date and time");
    struct instance_restore r = {
        .set = options->set,
        .destination = options->destination,
        .roll_forward_dir = options->roll_forward_dir,
        .rename = map,
        .rename_count = (int)options->renames,
        .stop = options->stop,
        .stop_time = memcmp(&time, &never, sizeof time) != 0 ? &time : NULL,
    };
    struct restore_result *found = calloc(1, sizeof *found);
    err_t err = found == NULL ? RAISE(JET_errOutOfMemory) : api_restore(instance, &r, &p, found);
    if (found != NULL && result != NULL)
        restore_out(found, result);
    free(found);
    return err;
}

JET_ERR PyjetRestore(JET_INSTANCE instance, const char *set, const char *destination, const char *roll_forward_dir, PYJET_PROGRESS progress,
                     void *context, PYJET_RESTORE *result)
{
    PYJET_RESTORE_OPTIONS options = {.set = set, .destination = destination, .roll_forward_dir = roll_forward_dir};
    return PyjetRestoreTo(instance, &options, progress, context, result);
}

JET_ERR PyjetSurveySet(const char *path, PYJET_SET *set)
{
    if (path == NULL || set == NULL)
        return api_invalid("a folder and a place for the answer are needed");
    struct restore_set *found = calloc(1, sizeof *found);
    if (found == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = restore_survey(path, found);
    if (err >= 0) {
        *set = (PYJET_SET){
            .gen_low = found->gen_low,
            .gen_high = found->gen_high,
            .page_size = found->page_size,
            .log_file_size = found->log_file_size,
            .databases = (uint32_t)found->database_count,
        };
        static_assert(sizeof set->database == sizeof found->databases && sizeof set->dir == sizeof found->dir, "same paths");
        memcpy(set->dir, found->dir, sizeof set->dir);
        memcpy(set->base_name, found->base_name, sizeof set->base_name);
        memcpy(set->database, found->databases, sizeof set->database);
        memcpy(set->original, found->originals, sizeof set->original);
    }
    free(found);
    return err;
}
