#include <errno.h>
#include <sys/stat.h>

#include "os/os_private.h"

static bool parent_is_folder(const char *path)
{
    char parent[OS_PATH_MAX];
    return os_parent(path, parent) >= 0 && os_is_dir(parent);
}

/* ENOENT says "something on the way is missing"; ESE tells a missing file from a missing folder. */
static err_t map_missing(enum os_op op, const char *path)
{
    if (op == OS_OP_DIR || op == OS_OP_DIRSYNC)
        return JET_errInvalidPath;
    if (op == OS_OP_UNLINK || parent_is_folder(path))
        return JET_errFileNotFound;
    return JET_errInvalidPath;
}

static err_t map_other(enum os_op op)
{
    switch (op) {
    case OS_OP_READ:
    case OS_OP_WRITE:
    case OS_OP_SYNC:
    case OS_OP_DIRSYNC:
    case OS_OP_SIZE:
        return JET_errDiskIO;
    default:
        return JET_errNTSystemCallFailed;
    }
}

static err_t map_errno(enum os_op op, int error, const char *path)
{
    switch (error) {
    case ENOENT:
        return map_missing(op, path);
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
        return JET_errInvalidPath;
    case EACCES:
    case EPERM:
    case EROFS:
    case EISDIR:
    case EBUSY:
    case ETXTBSY:
    case ENOTEMPTY:
    case EWOULDBLOCK:
        return JET_errFileAccessDenied;
    case EEXIST:
        return JET_errFileAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return JET_errDiskFull;
    case EMFILE:
    case ENFILE:
        return JET_errOutOfFileHandles;
    case ENOMEM:
        return JET_errOutOfMemory;
    case EUCLEAN:
    case EBADMSG:
        return JET_errFileSystemCorruption;
    case EIO:
    case ENXIO:
    case ENODEV:
    case ESTALE:
    case EREMOTEIO:
    case ETIMEDOUT:
        return JET_errDiskIO;
    default:
        return map_other(op);
    }
}

err_t os__raise(enum os_op op, int error, const char *path, const char *file, int line)
{
    static const char *const words[OS_OP_COUNT] = {
        "open", "read", "write", "sync", "size", "rename", "unlink", "folder", "folder sync"};
    err_t err = err_raise(map_errno(op, error, path), file, line);
    const char *why = strerrordesc_np(error); /* unlike strerror: no locale, no static buffer */
    err_detail("%s %.300s: %s", words[op], path, why != NULL ? why : "unknown errno");
    return err;
}
