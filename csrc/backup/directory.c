#include <stdio.h>

#include "backup/backup_private.h"

/* The backup directory: temp (being made), new (last good atomic set), old (the one before). Each step is a rename or an unlink,
 * the folder synced after it: at every moment one complete set is there when one was there before. */

#define PATH_MOST 255u

static err_t below(const struct run *run, const char *name, char path[OS_PATH_MAX])
{
    return os_join(path, OS_PATH_MAX, run->root, name);
}

static bool has(const struct run *run, const char *name)
{
    char path[OS_PATH_MAX];
    bool there = below(run, name, path) >= 0 && os_exists(path);
    return there;
}

struct entries {
    bool files_only; /* the first file is enough */
    int count;       /* temp does not count: it goes */
};

static err_t count_entry(void *context, const char *name, bool is_dir)
{
    struct entries *e = context;
    e->count += !is_dir || (!e->files_only && strcmp(name, "temp") != 0);
    return JET_errSuccess;
}

static err_t rename_folder(const struct run *run, const char *from, const char *to)
{
    char a[OS_PATH_MAX], b[OS_PATH_MAX];
    TRY_RETURN(below(run, from, a));
    TRY_RETURN(below(run, to, b));
    TRY_RETURN(os_rename(a, b));
    return os_dir_sync(run->root);
}

static err_t not_empty(const struct run *run, const char *why)
{
    err_t err = RAISE(JET_errBackupDirectoryNotEmpty);
    err_detail("%s %s; a set wants a directory of its own", run->root, why);
    return err;
}

/* What is there of the way to it is folders. */
static bool can_be_made(const char *root)
{
    char path[OS_PATH_MAX];
    snprintf(path, sizeof path, "%s", root);
    while (!os_exists(path)) {
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash == path)
            return true;
        *slash = '\0';
        if (os_exists(path))
            return os_is_dir(path);
    }
    return false;
}

err_t directory__check(struct run *run)
{
    TRY_RETURN(os_full_path(run->o->path, run->root, sizeof run->root));
    if (strlen(run->root) > PATH_MOST) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%s: a backup path has at most %u characters", run->root, PATH_MOST);
        return err;
    }
    if (os_is_dir(run->root) || (run->o->create_path && can_be_made(run->root)))
        return JET_errSuccess;
    err_t err = RAISE(JET_errInvalidPath);
    err_detail("%s is no folder; create it, or set JET_paramCreatePathIfNotExist", run->root);
    return err;
}

/* ---- what is live is never a set's, whatever it is called: its folder, and what lies below it as temp, new or old ---- */

static bool is_of_run(const struct run *run, const char *dir)
{
    static const char *const names[] = {"", "/temp", "/new", "/old"};
    size_t n = strlen(run->root);
    if (strncmp(dir, run->root, n) != 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(dir + n, names[i]) == 0)
            return true;
    return false;
}

static err_t refuse_live(const struct run *run, const char *path, bool is_file)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(os_full_path(path, full, sizeof full));
    char *end = full + strlen(full);
    if (is_file)
        end = strrchr(full, '/');
    else if (end > full && end[-1] == '/')
        end--;
    if (end == NULL)
        return JET_errSuccess;
    *end = '\0';
    return is_of_run(run, full) ? not_empty(run, "holds live files of this instance") : JET_errSuccess;
}

static err_t check_not_live(const struct run *run)
{
    const struct series *s = &run->series;
    TRY_RETURN(refuse_live(run, s->b->host.log_dir, false));
    TRY_RETURN(refuse_live(run, s->b->host.system_dir, false));
    for (int i = 0; i < s->attached_count; i++)
        TRY_RETURN(refuse_live(run, s->attached[i]->path, true));
    return JET_errSuccess;
}

/* ---- looking: all that is refused is refused before anything is made or deleted ---- */

static err_t look_plain(const struct run *run)
{
    struct entries e = {0};
    TRY_RETURN(os_dir_list(run->root, count_entry, &e));
    if (run->full && e.count > 0)
        return not_empty(run, "is not empty");
    if (!run->full && (has(run, "new") || has(run, "old")))
        return not_empty(run, "holds an atomic set: make the increment atomic too");
    return sweep__check(run, "temp");
}

static err_t no_atomic_set(const struct run *run)
{
    err_t err = RAISE(JET_errInvalidPath);
    err_detail("%s holds no atomic set that an increment could be added to", run->root);
    return err;
}

/* What goes now, and what goes when the new set is complete. */
static err_t look_atomic(const struct run *run)
{
    struct entries e = {.files_only = true};
    TRY_RETURN(os_dir_list(run->root, count_entry, &e));
    if (e.count > 0)
        return not_empty(run, "holds a set that was not made atomically");
    if (!run->full && !has(run, "new") && !has(run, "old"))
        return no_atomic_set(run);
    if (run->full || has(run, "new"))
        TRY_RETURN(sweep__check(run, "old"));
    if (run->full)
        TRY_RETURN(sweep__check(run, "new"));
    return sweep__check(run, "temp");
}

err_t directory__look(const struct run *run)
{
    TRY_RETURN(check_not_live(run));
    if (!os_exists(run->root))
        return run->atomic && !run->full ? no_atomic_set(run) : JET_errSuccess;
    TRY_RETURN(sweep__check_folder(run, "temp"));
    TRY_RETURN(sweep__check_folder(run, "new"));
    TRY_RETURN(sweep__check_folder(run, "old"));
    return run->atomic ? look_atomic(run) : look_plain(run);
}

/* An increment's set may still lie in new, and become old. */
err_t directory__target(const struct run *run, char path[OS_PATH_MAX])
{
    if (!run->atomic)
        return snprintf(path, OS_PATH_MAX, "%s", run->root) < OS_PATH_MAX ? JET_errSuccess : RAISE(JET_errInvalidPath);
    return below(run, run->full ? "temp" : has(run, "new") ? "new" : "old", path);
}

/* ---- making ---- */

static err_t retire_new(struct run *run)
{
    if (!has(run, "new"))
        return JET_errSuccess;
    TRY_RETURN(sweep__folder(run, "old"));
    return rename_folder(run, "new", "old");
}

static err_t make_temp(struct run *run)
{
    TRY_RETURN(below(run, "temp", run->target));
    if (os_dir_create(run->target) < 0 || os_kind_of(run->target, NULL) != OS_KIND_FOLDER) {
        err_t err = RAISE(JET_errMakeBackupDirectoryFail);
        err_detail("%s cannot be made", run->target);
        return err;
    }
    run->made_temp = true;
    return os_dir_sync(run->root);
}

err_t directory__prepare(struct run *run)
{
    TRY_RETURN(directory__look(run));
    if (run->o->create_path)
        TRY_RETURN(os_dir_create_path(run->root));
    TRY_RETURN(sweep__folder(run, "temp"));
    if (!run->atomic) {
        memcpy(run->target, run->root, sizeof run->target);
        return JET_errSuccess;
    }
    TRY_RETURN(retire_new(run));
    return run->full ? make_temp(run) : below(run, "old", run->target);
}

err_t directory__promote(struct run *run)
{
    TRY_RETURN(os_dir_sync(run->target));
    if (!run->atomic || !run->full)
        return JET_errSuccess;
    TRY_RETURN(sweep__check_folder(run, "temp")); /* still the one that was made */
    TRY_RETURN(rename_folder(run, "temp", "new"));
    run->promoted = true;
    TRY_RETURN(below(run, "new", run->target));
    return sweep__folder(run, "old");
}

static bool remove_made(struct run *run, const char *path)
{
    bool gone = os_unlink_in(run->target, os_last_name(path)) >= 0 || !os_exists(path); /* noted, and then not made */
    return gone && (run->full || os_dir_sync(run->target) >= 0);
}

void directory__clean_up(struct run *run, bool failed)
{
    struct err_origin origin = *err_last();
    bool remove = failed && !run->promoted;
    while (run->created != NULL) {
        struct created *c = run->created;
        run->created = c->next;
        /* What cannot be removed stays: the run's own error is told. Of an increment's logs the last goes first, for good; when
         * one stays all before it do, since a gap would make the whole set unrestorable. */
        if (remove)
            remove = remove_made(run, c->path) || run->full;
        free(c->path);
        free(c);
    }
    if (failed && run->made_temp && !run->promoted && sweep__folder(run, "temp") < 0)
        err_clear();
    if (failed && run->target[0] != '\0' && !run->promoted && os_dir_sync(run->root) < 0)
        err_clear();
    err_restore(&origin);
}
