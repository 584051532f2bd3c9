#include <stdio.h>

#include "backup/restore_private.h"

/* Where each database of a set goes: the rename map, the destination folder, or where it lay. */

/* An entry names a database by its file name in the set or by where it lay. */
static bool names(const struct recovery_map *entry, const struct restore_set *set, int i)
{
    return strcmp(entry->from, os_last_name(set->databases[i])) == 0 ||
           (set->originals[i][0] != '\0' && strcmp(entry->from, set->originals[i]) == 0);
}

static err_t beside_original(const struct restore_set *set, int i, const char *name, char to[OS_PATH_MAX])
{
    char dir[OS_PATH_MAX];
    if (set->originals[i][0] != '/')
        return plan__fail_file(JET_errDatabasePatchFileMismatch, 430, set->databases[i], "the set's logs do not name this database");
    TRY_RETURN(os_parent(set->originals[i], dir));
    return os_join(to, OS_PATH_MAX, dir, name);
}

err_t map__target(const struct job *job, int i, char to[OS_PATH_MAX])
{
    const struct restore_options *o = job->o;
    const struct restore_set *set = o->set;
    const char *name = os_last_name(set->databases[i]);
    if (o->in_place)
        return os_full_path(set->databases[i], to, OS_PATH_MAX);
    for (int k = 0; k < o->rename_count; k++)
        if (names(&o->rename[k], set, i))
            name = o->rename[k].to;
    if (name[0] == '/')
        return os_full_path(name, to, OS_PATH_MAX);
    if (o->destination != NULL)
        return os_join(to, OS_PATH_MAX, o->destination, name);
    if (name != os_last_name(set->databases[i]))
        return beside_original(set, i, name, to);
    if (set->originals[i][0] == '\0')
        return plan__fail_file(JET_errDatabasePatchFileMismatch, 430, set->databases[i], "the set's logs do not name this database");
    memcpy(to, set->originals[i], OS_PATH_MAX);
    return JET_errSuccess;
}

/* A relative name with `..` in it. */
static bool climbs(const char *name)
{
    for (const char *at = name; *name != '/' && at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return true;
    }
    return false;
}

/* By its file name and by where it lay, a database may be meant twice. */
static err_t check_single(const struct job *job, const struct recovery_map *entry, int i)
{
    for (const struct recovery_map *other = job->o->rename; other < entry; other++) {
        if (!names(other, job->o->set, i))
            continue;
        err_t err = RAISE(JET_errDatabaseDuplicate);
        err_detail("%s is to become %s and %s: name it once", job->o->set->databases[i], other->to, entry->to);
        return err;
    }
    return JET_errSuccess;
}

static err_t check_entry(const struct job *job, const struct recovery_map *entry)
{
    const struct restore_set *set = job->o->set;
    if (entry->from == NULL || entry->from[0] == '\0' || entry->to == NULL || entry->to[0] == '\0') {
        err_t err = RAISE(JET_errDatabaseInvalidName);
        err_detail("an entry of the restore map has an empty name");
        return err;
    }
    if (climbs(entry->to)) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%s leads out of the destination; a new name is a full path, or one below it", entry->to);
        return err;
    }
    for (int i = 0; i < set->database_count; i++)
        if (names(entry, set, i))
            return check_single(job, entry, i);
    err_t err = RAISE(JET_errDatabaseNotFound);
    err_detail("%s holds no database %s that could be renamed", set->dir, entry->from);
    return err;
}

err_t map__check(const struct job *job)
{
    char a[OS_PATH_MAX], b[OS_PATH_MAX];
    for (int k = 0; k < job->o->rename_count; k++)
        TRY_RETURN(check_entry(job, &job->o->rename[k]));
    for (int i = 0; i < job->count; i++) {
        TRY_RETURN(map__target(job, i, a));
        TRY_RETURN(backup_check_name(job->o->set->base_name, a));
        for (int k = 0; k < i; k++) {
            TRY_RETURN(map__target(job, k, b));
            if (strcmp(a, b) != 0)
                continue;
            err_t err = RAISE(JET_errDatabaseDuplicate);
            err_detail("two databases of the set would go to %s", a);
            return err;
        }
    }
    return JET_errSuccess;
}
