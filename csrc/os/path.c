#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "os/os_private.h"

static_assert(OS_PATH_MAX >= PATH_MAX, "realpath writes up to PATH_MAX bytes");

/* ---- names ---- */

static err_t raise_path(const char *path, const char *why)
{
    err_t err = RAISE(JET_errInvalidPath);
    err_detail("%.300s: %s", path, why);
    return err;
}

/* Appends the part of a path that does not exist yet, folding `.` and `..` by their letters. */
static bool append_names(char *out, const char *rest)
{
    size_t n = strlen(out);
    while (*rest != '\0') {
        size_t len = strcspn(rest, "/");
        if (len == 2 && rest[0] == '.' && rest[1] == '.') {
            while (n > 1 && out[n - 1] != '/')
                n--;
            n -= n > 1;
        } else if (len != 0 && !(len == 1 && rest[0] == '.')) {
            bool slash = n > 1;
            if (n + slash + len >= OS_PATH_MAX)
                return false;
            if (slash)
                out[n++] = '/';
            memcpy(out + n, rest, len);
            n += len;
        }
        out[n] = '\0';
        rest += len + (rest[len] == '/');
    }
    return true;
}

/* Resolves the longest existing head of `path` into out; *rest is what follows it. */
static int resolve_head(const char *path, char *out, const char **rest)
{
    char head[OS_PATH_MAX];
    size_t n = strlen(path);
    memcpy(head, path, n + 1);
    for (;;) {
        if (realpath(n == 0 ? "/" : head, out) != NULL) {
            *rest = path + n;
            return 0;
        }
        if (errno != ENOENT || n == 0)
            return errno;
        while (n > 0 && head[n - 1] == '/')
            n--;
        while (n > 0 && head[n - 1] != '/')
            n--;
        head[n] = '\0';
    }
}

err_t os_full_path(const char *path, char *out, size_t room)
{
    char absolute[OS_PATH_MAX];
    const char *rest = "";

    ASSERT(room >= OS_PATH_MAX);
    (void)room;
    out[0] = '\0';
    if (path == NULL || path[0] == '\0')
        return raise_path("", "an empty path");
    if (path[0] != '/') {
        char here[OS_PATH_MAX];
        if (getcwd(here, sizeof here) == NULL)
            return OS__RAISE(OS_OP_DIR, errno, path);
        TRY_RETURN(os_join(absolute, sizeof absolute, here, path));
    } else if (strlen(path) >= sizeof absolute) {
        return raise_path(path, "path too long");
    } else {
        strcpy(absolute, path);
    }
    int error = resolve_head(absolute, out, &rest);
    if (error != 0)
        return OS__RAISE(OS_OP_DIR, error, path);
    return append_names(out, rest) ? JET_errSuccess : raise_path(path, "path too long");
}

const char *os_last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

err_t os_parent(const char *path, char *out)
{
    size_t n = (size_t)(os_last_name(path) - path);
    if (n > OS_PATH_MAX)
        return raise_path(path, "path too long");
    memcpy(out, n == 0 ? "." : path, n == 0 ? 1 : n);
    out[n <= 1 ? 1 : n - 1] = '\0';
    return JET_errSuccess;
}

err_t os_join(char *out, size_t room, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
    int len = snprintf(out, room, "%s%s%s", dir, slash, name);
    return len >= 0 && (size_t)len < room ? JET_errSuccess : raise_path(name, "path too long");
}

err_t os__entry_path(const char *path, char *out)
{
    char parent[OS_PATH_MAX];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t end = n;
    while (n > 0 && path[n - 1] != '/')
        n--;
    size_t len = end - n;
    if (len == 0 || (len == 1 && path[n] == '.') ||
        (len == 2 && path[n] == '.' && path[n + 1] == '.'))
        return os_full_path(path, out, OS_PATH_MAX);
    if (n >= sizeof parent || len > NAME_MAX)
        return raise_path(path, "path too long");
    memcpy(parent, n == 0 ? "." : path, n == 0 ? 1 : n);
    parent[n == 0 ? 1 : n] = '\0';
    TRY_RETURN(os_full_path(parent, out, OS_PATH_MAX));
    char name[NAME_MAX + 1];
    memcpy(name, path + n, len);
    name[len] = '\0';
    return append_names(out, name) ? JET_errSuccess : raise_path(path, "path too long");
}

/* ---- entries of folders ---- */

static err_t pass_gate(enum os_op op, const char *path)
{
    int fault = os__gate(op, path);
    return fault == 0 ? JET_errSuccess : OS__RAISE(op, fault < 0 ? EIO : fault, path);
}

static err_t enter(enum os_op op, const char *path, char *full)
{
    TRY_RETURN(pass_gate(op, path));
    return os__entry_path(path, full);
}

err_t os_rename(const char *from, const char *to)
{
    char full_from[OS_PATH_MAX], full_to[OS_PATH_MAX];
    TRY_RETURN(enter(OS_OP_RENAME, from, full_from));
    TRY_RETURN(os__entry_path(to, full_to));
    /* The lock also when not recording: a handle's `where` must move together with the file. */
    os__tables_lock();
    int error = rename(full_from, full_to) == 0 ? 0 : errno;
    if (error == 0 && strcmp(full_from, full_to) != 0) {
        os__files_gone(full_to);
        os__files_moved(full_from, full_to);
        os__record_rename(full_from, full_to);
    }
    os__tables_unlock();
    if (error == 0)
        return JET_errSuccess;
    err_t err = OS__RAISE(OS_OP_RENAME, error, error == ENOENT && os_exists(from) ? to : from);
    const char *why = strerrordesc_np(error);
    err_detail("rename %.300s to %.300s: %s", from, to, why != NULL ? why : "unknown errno");
    return err;
}

static err_t unlink_recorded(int dir, const char *name, const char *full, const char *path)
{
    os__tables_lock();
    int error = unlinkat(dir, name, 0) == 0 ? 0 : errno;
    if (error == 0) {
        os__files_gone(full);
        os__record(TRACE_UNLINK, full, 0, 0, 0);
    }
    os__tables_unlock();
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_UNLINK, error, path);
}

err_t os_unlink(const char *path)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(enter(OS_OP_UNLINK, path, full));
    return unlink_recorded(AT_FDCWD, full, full, path);
}

err_t os_unlink_in(const char *dir, const char *name)
{
    char path[OS_PATH_MAX], full[OS_PATH_MAX];
    ASSERT(strchr(name, '/') == NULL);
    TRY_RETURN(os_join(path, sizeof path, dir, name));
    TRY_RETURN(enter(OS_OP_UNLINK, path, full));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && os_kind_of(dir, NULL) == OS_KIND_FOLDER)
        return unlink_recorded(AT_FDCWD, full, full, path); /* what failed for lack of them is cleaned up all the same */
    if (fd < 0)
        return OS__RAISE(OS_OP_UNLINK, errno, path);
    err_t err = unlink_recorded(fd, name, full, path);
    close(fd);
    return err;
}

err_t os_dir_create(const char *path)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(enter(OS_OP_DIR, path, full));
    os__tables_lock();
    int error = mkdir(full, 0777) == 0 ? 0 : errno;
    if (error == 0)
        os__record(TRACE_MKDIR, full, 0, 0, 0);
    os__tables_unlock();
    if (error == EEXIST)
        error = os_is_dir(full) ? 0 : ENOTDIR;
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_DIR, error, path);
}

err_t os_dir_create_path(const char *path)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(os_full_path(path, full, sizeof full));
    for (char *at = full + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char end = *at;
        *at = '\0';
        if (!os_is_dir(full)) { /* there after a power cut when the folder above it was synced */
            TRY_RETURN(os_dir_create(full));
            TRY_RETURN(os_parent_sync(full));
        }
        *at = end;
        if (end == '\0')
            return JET_errSuccess;
    }
}

err_t os_dir_remove(const char *path)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(enter(OS_OP_DIR, path, full));
    os__tables_lock();
    int error = rmdir(full) == 0 ? 0 : errno;
    if (error == 0)
        os__record(TRACE_RMDIR, full, 0, 0, 0);
    os__tables_unlock();
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_DIR, error, path);
}

static uint64_t record_dir_sync(enum os__trace_op op, const char *full, uint64_t token, int error)
{
    if (!os__record_enter())
        return 0;
    uint64_t seq = os__record(op, full, token, 0, error);
    os__tables_unlock();
    return seq;
}

struct os_dir_lock {
    struct list link; /* guarded by the tables lock */
    int fd;
};
static struct list dir_locks = {&dir_locks, &dir_locks};

/* Without a free descriptor: by the one that holds the folder's lock. Held is the tables lock, so
 * that it stays open meanwhile. */
static int sync_by_lock(const char *path)
{
    struct stat wanted, st;
    int error = EMFILE;
    if (stat(path, &wanted) != 0)
        return errno;
    os__tables_lock();
    LIST_FOR_EACH(link, &dir_locks)
    {
        struct os_dir_lock *lock = LIST_ENTRY(link, struct os_dir_lock, link);
        if (lock->fd < 0 || fstat(lock->fd, &st) != 0 || st.st_dev != wanted.st_dev ||
            st.st_ino != wanted.st_ino)
            continue;
        error = fsync(lock->fd) == 0 ? 0 : errno;
        break;
    }
    os__tables_unlock();
    return error;
}

static int sync_folder(const char *path, int fd)
{
    if (fd < 0)
        return sync_by_lock(path);
    return fsync(fd) == 0 ? 0 : errno;
}

err_t os_dir_sync(const char *path)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(pass_gate(OS_OP_DIRSYNC, path));
    TRY_RETURN(os_full_path(path, full, sizeof full));
    int fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno != EMFILE && errno != ENFILE)
        return OS__RAISE(OS_OP_DIRSYNC, errno, path);
    uint64_t token = record_dir_sync(TRACE_DIRSYNC_BEGIN, full, 0, 0);
    int error = sync_folder(full, fd);
    if (token != 0)
        (void)record_dir_sync(TRACE_DIRSYNC_END, full, token, error);
    if (fd >= 0)
        close(fd);
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_DIRSYNC, error, path);
}

err_t os_parent_sync(const char *path)
{
    char parent[OS_PATH_MAX];
    TRY_RETURN(os_parent(path, parent));
    return os_dir_sync(parent);
}

bool os_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool os_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

enum os_kind os_kind_of(const char *path, uint64_t *size)
{
    struct stat st;
    bool there = lstat(path, &st) == 0;
    if (size != NULL)
        *size = there && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    if (!there)
        return OS_KIND_NONE;
    return S_ISREG(st.st_mode)   ? OS_KIND_FILE
           : S_ISDIR(st.st_mode) ? OS_KIND_FOLDER
           : S_ISLNK(st.st_mode) ? OS_KIND_LINK
                                 : OS_KIND_OTHER;
}

static bool entry_is_dir(int dir, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
        return entry->d_type == DT_DIR;
    return fstatat(dir, entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

err_t os_dir_list(const char *path, os_dir_visit_fn visit, void *context)
{
    err_t err = JET_errSuccess;
    TRY_RETURN(pass_gate(OS_OP_DIR, path));
    DIR *dir = opendir(path);
    if (dir == NULL)
        return OS__RAISE(OS_OP_DIR, errno, path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            err = errno == 0 ? JET_errSuccess : OS__RAISE(OS_OP_DIR, errno, path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            TRY(visit(context, entry->d_name, entry_is_dir(dirfd(dir), entry)));
    }
out:
    closedir(dir);
    return err;
}

/* ---- one instance a folder ---- */

err_t os_dir_lock(const char *path, struct os_dir_lock **out)
{
    *out = NULL;
    TRY_RETURN(pass_gate(OS_OP_OPEN, path));
    struct os_dir_lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL)
        return RAISE(JET_errOutOfMemory);
    lock->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock->fd < 0) {
        int error = errno;
        free(lock);
        return OS__RAISE(OS_OP_DIR, error, path);
    }
    if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        close(lock->fd);
        free(lock);
        err_t err = OS__RAISE(OS_OP_DIR, error, path);
        if (error == EWOULDBLOCK)
            err_detail("lock %s: another instance uses this folder", path);
        return err;
    }
    os__tables_lock();
    list_add_back(&dir_locks, &lock->link);
    os__tables_unlock();
    *out = lock;
    return JET_errSuccess;
}

void os_dir_unlock(struct os_dir_lock *lock)
{
    if (lock == NULL)
        return;
    os__tables_lock();
    list_remove(&lock->link);
    os__tables_unlock();
    if (lock->fd >= 0) {
        (void)flock(lock->fd, LOCK_UN); /* a child just forked may still share the descriptor */
        close(lock->fd);
    }
    free(lock);
}

void os__dir_locks_after_fork(void)
{
    LIST_FOR_EACH(link, &dir_locks)
    {
        struct os_dir_lock *lock = LIST_ENTRY(link, struct os_dir_lock, link);
        if (lock->fd >= 0)
            close(lock->fd);
        lock->fd = -1;
    }
}

err_t os_disk_free(const char *path, uint64_t *bytes)
{
    struct statvfs st;
    *bytes = 0;
    int fault = os__gate(OS_OP_DIR, path);
    if (fault != 0)
        return OS__RAISE(OS_OP_DIR, fault < 0 ? EIO : fault, path);
    if (statvfs(path, &st) != 0)
        return OS__RAISE(OS_OP_DIR, errno, path);
    *bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return JET_errSuccess;
}
