#include <stdio.h>

#include "backup/backup_private.h"

/* A set's folder (temp, new, old) goes with all that is in it, if every entry is a set's file by its name and by what it is; else
 * nothing goes. Links are never followed. */

struct inventory {
    const struct run *run;
    const char *dir;
    int markers;
    bool akin;                     /* a log of this sequence, or a copy of an attached database: the set is this instance's */
    bool databases, alien;         /* some can be read; a log of another sequence. Either alone is what a crash left, not a set */
    char unexplained[OS_PATH_MAX]; /* a database that half of an old set may hold, but not a whole one: its marker is missing */
};

static err_t refuse_stranger(const char *path, const char *what)
{
    err_t err = RAISE(JET_errBackupDirectoryNotEmpty);
    err_detail("%s is %s: move it away, a backup directory is for sets alone. Nothing was deleted", path, what);
    return err;
}

static bool is_attached_name(const struct run *run, const char *name)
{
    for (int i = 0; i < run->series.db_count; i++)
        if (strcmp(os_last_name(run->series.dbs[i].db->path), name) == 0)
            return true;
    return false;
}

/* One that is damaged is known by its size: whole segments. */
static bool is_set_log(struct inventory *v, const char *path, uint32_t generation, uint64_t size)
{
    struct log_header h;
    if (log_read_header(path, &h) < 0)
        return size % LOG_SEGMENT == 0;
    const struct signature *own = log_signature(v->run->series.b->host.log);
    bool same = signature_equal(&h.signature, own);
    v->akin |= same;
    v->alien |= !same;
    return h.generation == generation;
}

static bool is_attached_database(const struct run *run, const struct signature *sign_db)
{
    struct db_header h;
    for (int i = 0; i < run->series.db_count; i++) {
        dbfile_copy_header(run->series.dbs[i].db, &h);
        if (signature_equal(&h.sign_db, sign_db))
            return true;
    }
    return false;
}

/* By its header, which says that a backup wrote it; one that was cut off, or is damaged, by the name of an attached database. */
static bool is_set_database(struct inventory *v, const char *path, const char *name)
{
    char marker[OS_PATH_MAX];
    struct db_header h;
    bool attached = is_attached_name(v->run, name);
    if (db_header_read_path(path, &h) < 0)
        return attached;
    if (h.full_cur.gen_low == 0)
        return false;
    v->akin |= is_attached_database(v->run, &h.sign_db);
    v->databases = true;
    if (!attached && (set__marker_path(path, marker) < 0 || !os_exists(marker)))
        snprintf(v->unexplained, sizeof v->unexplained, "%s", path);
    return true;
}

static err_t judge_file(struct inventory *v, const char *path, const char *name, uint64_t size)
{
    uint32_t generation;
    const char *base_name = v->run->series.b->host.base_name;
    bool own;
    if (set__is_log_beside(name))
        own = true;
    else if (set__is_log(name, &generation))
        own = log_is_own_name(base_name, name) && is_set_log(v, path, generation, size);
    else if (set__is_marker(name))
        own = size == 0;
    else
        own = is_set_database(v, path, name);
    v->markers += own && set__is_marker(name);
    return own ? JET_errSuccess : refuse_stranger(path, "no file of a backup set of this instance");
}

static err_t judge_entry(void *context, const char *name, bool is_dir)
{
    struct inventory *v = context;
    char path[OS_PATH_MAX];
    uint64_t size;
    (void)is_dir; /* also of what a link leads to */
    TRY_RETURN(os_join(path, sizeof path, v->dir, name));
    switch (os_kind_of(path, &size)) {
    case OS_KIND_NONE:
        return JET_errSuccess;
    case OS_KIND_FILE:
        return judge_file(v, path, name, size);
    case OS_KIND_FOLDER: {
        err_t err = RAISE(JET_errDeleteBackupFileFail);
        err_detail("%s is a folder, and a set has none: move it away. Nothing was deleted", path);
        return err;
    }
    default:
        return refuse_stranger(path, "no regular file");
    }
}

err_t sweep__check_folder(const struct run *run, const char *name)
{
    char path[OS_PATH_MAX];
    TRY_RETURN(os_join(path, sizeof path, run->root, name));
    switch (os_kind_of(path, NULL)) {
    case OS_KIND_NONE:
    case OS_KIND_FOLDER:
        return JET_errSuccess;
    case OS_KIND_LINK:
        return refuse_stranger(path, "a symbolic link, which is never followed");
    default:
        return refuse_stranger(path, "no folder");
    }
}

err_t sweep__check(const struct run *run, const char *name)
{
    char path[OS_PATH_MAX];
    TRY_RETURN(sweep__check_folder(run, name));
    TRY_RETURN(os_join(path, sizeof path, run->root, name));
    if (!os_is_dir(path))
        return JET_errSuccess;
    struct inventory v = {.run = run, .dir = path};
    TRY_RETURN(os_dir_list(path, judge_entry, &v));
    if (v.databases && v.alien && !v.akin)
        return refuse_stranger(path, "the set of another instance, with none of this one's databases and logs");
    bool whole = v.markers > 0 && strcmp(name, "temp") != 0; /* markers come last and go last */
    return whole && v.unexplained[0] != '\0' ? refuse_stranger(v.unexplained, "a database without its marker (.pat)") : JET_errSuccess;
}

struct emptying {
    const char *dir;
    bool markers; /* they go last: they explain the databases */
};

static err_t unlink_entry(void *context, const char *name, bool is_dir)
{
    const struct emptying *e = context;
    (void)is_dir;
    return set__is_marker(name) == e->markers ? os_unlink_in(e->dir, name) : JET_errSuccess;
}

static err_t empty_and_remove(const char *path)
{
    TRY_RETURN(os_dir_list(path, unlink_entry, &(struct emptying){path, false}));
    TRY_RETURN(os_dir_list(path, unlink_entry, &(struct emptying){path, true}));
    return os_dir_remove(path);
}

err_t sweep__folder(const struct run *run, const char *name)
{
    char path[OS_PATH_MAX];
    TRY_RETURN(sweep__check(run, name));
    TRY_RETURN(os_join(path, sizeof path, run->root, name));
    if (!os_is_dir(path))
        return JET_errSuccess;
    if (empty_and_remove(path) < 0) {
        err_t err = RAISE(JET_errDeleteBackupFileFail);
        err_detail("%s cannot be emptied and removed", path);
        return err;
    }
    return os_dir_sync(run->root);
}
