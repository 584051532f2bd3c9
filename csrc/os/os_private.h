/* Shared inside os/: the handle, the fault plan's gate, the recorder's gate. */
#ifndef OS_OS_PRIVATE_H
#define OS_OS_PRIVATE_H

#include "os/os.h"

struct os_file {
    struct list link; /* among the open files; guarded by os__tables_lock */
    int fd;           /* -1 in a forked child when the handle held a lock */
    _Atomic bool direct;
    bool locked;
    bool gone;   /* unlinked or replaced while open; guarded by os__tables_lock */
    char *path;  /* full path as opened, or as os_file_rename left it; room: RENAME_ROOM more than it was opened with */
    size_t path_room;
    char *where; /* full path now: renames move it; guarded by os__tables_lock */
};

/* One mutex for the open files, the folder locks and the recorder. It is a leaf: nothing outside
 * the room is called under it. While the recorder is on it is held across each recorded call except
 * syncs. */
void os__tables_lock(void);
void os__tables_unlock(void);

/* Counts the call and asks the fault plan: 0 = go on, > 0 = fail with this errno, -1 = write half,
 * then EIO. Sleeps the plan's delay, so it is called with no lock held. */
int os__gate(enum os_op op, const char *path);
/* The plan's mutex, for fork only. */
void os__fault_lock(void);
void os__fault_unlock(void);

/* Maps an errno to a JET_err, raised with a detail that names the path. errno is lost. */
#define OS__RAISE(op, error, path) os__raise((op), (error), (path), __FILE__, __LINE__)
err_t os__raise(enum os_op op, int error, const char *path, const char *file, int line);

/* Full path of a folder entry: the folder is resolved, the last name is not (it may be a link). */
err_t os__entry_path(const char *path, char *out);
/* What the open handles know after a rename or an unlink. Caller holds the tables lock. */
void os__files_moved(const char *from, const char *to);
void os__files_gone(const char *path);
/* In a forked child: locks belong to the parent. */
void os__files_after_fork(void);
void os__dir_locks_after_fork(void);

/* ---- recorder. The calls below need the tables lock; they do nothing when the recorder is off.
 * ---- */

enum os__trace_op {
    TRACE_START = 1,
    TRACE_CREATE = 2,
    TRACE_WRITE = 3,
    TRACE_ZERO = 4,
    TRACE_SIZE = 5,
    TRACE_SYNC_BEGIN = 6,
    TRACE_SYNC_END = 7,
    TRACE_RENAME = 8,
    TRACE_UNLINK = 9,
    TRACE_MKDIR = 10,
    TRACE_RMDIR = 11,
    TRACE_DIRSYNC_BEGIN = 12,
    TRACE_DIRSYNC_END = 13,
    TRACE_MARK = 14,
    TRACE_STOP = 15,
};

/* True when the recorder is on; then the tables lock is held and the caller releases it. */
bool os__record_enter(void);
/* Starts the recorder if PYJET_RECORD asks for it; once a process. */
void os__record_from_environment(void);
void os__record_after_fork(void);
/* Returns the record's number, 0 when nothing was recorded (off, or `path` is not below the
 * folder). */
uint64_t os__record(enum os__trace_op op, const char *path, uint64_t offset, uint64_t length,
                    int result);
/* The first n bytes of v, written at offset of a file. */
void os__record_write(const char *path, uint64_t offset, const struct os_iovec *v, int count,
                      size_t n, int result);
void os__record_rename(const char *from, const char *to);

#endif
