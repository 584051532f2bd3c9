/* os: the only room that calls the kernel: files, threads, ranked locks, clock, and injected faults. */
#ifndef OS_OS_H
#define OS_OS_H

#include <stdatomic.h>

#include "base/base.h"

/* ---- files. Every call here passes the fault plan and, when on, the recorder (fault.h section below). ---- */

struct os_file;

enum os_open {
    OS_READ = 0,
    OS_WRITE = 1,   /* read and write */
    OS_CREATE = 2,  /* create if missing */
    OS_EXCL = 4,    /* with OS_CREATE: JET_errFileAlreadyExists if it is there */
    OS_DIRECT = 8,  /* O_DIRECT where the file system allows; then offset, size and memory must be 4096-aligned */
    OS_TRUNCATE = 16,
};

/* Errors: JET_errFileNotFound, JET_errFileAccessDenied (also a read-only place), JET_errInvalidPath (a folder on
 * the way is missing or no folder), JET_errDiskFull, JET_errDiskIO, JET_errOutOfFileHandles, JET_errFileIO... */
MUST_CHECK err_t os_file_open(const char *path, unsigned os_open_flags, struct os_file **out);
void os_file_close(struct os_file *f); /* NULL is fine */
const char *os_file_path(const struct os_file *f);
/* All n bytes or an error; JET_errFileIOBeyondEOF when the file ends before. EINTR and short reads are handled. */
MUST_CHECK err_t os_file_read(struct os_file *f, uint64_t offset, void *to, size_t n);
/* As many as there are; *got < n only at the end of the file. */
MUST_CHECK err_t os_file_read_some(struct os_file *f, uint64_t offset, void *to, size_t n, size_t *got);
MUST_CHECK err_t os_file_write(struct os_file *f, uint64_t offset, const void *from, size_t n);
struct os_iovec {
    const void *p;
    size_t n;
};
MUST_CHECK err_t os_file_writev(struct os_file *f, uint64_t offset, const struct os_iovec *v, int count);
/* fdatasync. A failed sync is never retried: the caller poisons its instance. */
MUST_CHECK err_t os_file_sync(struct os_file *f);
MUST_CHECK err_t os_file_size(struct os_file *f, uint64_t *size);
MUST_CHECK err_t os_file_allocated(struct os_file *f, uint64_t *bytes); /* on disk: less than the size when sparse */
/* The first byte from `from` on that is no hole, the file's size when there is none. */
MUST_CHECK err_t os_file_next_data(struct os_file *f, uint64_t from, uint64_t *at);
MUST_CHECK err_t os_file_set_size(struct os_file *f, uint64_t size);
/* Zero-writes [from, to): real blocks, not holes. Does not sync. */
MUST_CHECK err_t os_file_zero(struct os_file *f, uint64_t from, uint64_t to);
/* OFD lock on the whole file, never waits: JET_errFileAccessDenied when another process (or handle) has it. */
MUST_CHECK err_t os_file_lock(struct os_file *f, bool exclusive);
void os_file_unlock(struct os_file *f);
void os_file_will_read(struct os_file *f, uint64_t offset, size_t n); /* read ahead: a hint, does not wait */
void os_file_drop_cache(struct os_file *f); /* POSIX_FADV_DONTNEED, for benchmarks */

MUST_CHECK err_t os_rename(const char *from, const char *to); /* replaces `to` */
/* Renames an open file, whose handle goes by the new name from then on. Nobody else may use the handle meanwhile. */
MUST_CHECK err_t os_file_rename(struct os_file *f, const char *to);
MUST_CHECK err_t os_unlink(const char *path);                 /* JET_errFileNotFound when missing */
/* An entry of a folder, which must be a real one: nothing goes when that is a symbolic link, whenever it became one. */
MUST_CHECK err_t os_unlink_in(const char *dir, const char *name);
MUST_CHECK err_t os_dir_create(const char *path);             /* success when it is there */
MUST_CHECK err_t os_dir_create_path(const char *path);        /* and its parents */
MUST_CHECK err_t os_dir_remove(const char *path);
MUST_CHECK err_t os_dir_sync(const char *path);
MUST_CHECK err_t os_parent_sync(const char *path); /* of the folder that holds the entry */
bool os_is_dir(const char *path);
bool os_exists(const char *path);
enum os_kind { OS_KIND_NONE, OS_KIND_FILE, OS_KIND_FOLDER, OS_KIND_LINK, OS_KIND_OTHER };
/* Of the name itself: a symbolic link is a link, wherever it leads. size may be NULL. */
enum os_kind os_kind_of(const char *path, uint64_t *size);
/* Absolute path without `.` and `..`, symbolic links of the existing part resolved. room >= OS_PATH_MAX. */
#define OS_PATH_MAX 4096
MUST_CHECK err_t os_full_path(const char *path, char *out, size_t room);
/* What follows the last '/' of a path; the folder before it, "." when none is named. room: OS_PATH_MAX. */
const char *os_last_name(const char *path);
MUST_CHECK err_t os_parent(const char *path, char *out);
/* out = dir + "/" + name; JET_errInvalidPath when it does not fit. */
MUST_CHECK err_t os_join(char *out, size_t room, const char *dir, const char *name);
/* Calls visit for each entry but . and .. ; stops at the first error. */
typedef err_t (*os_dir_visit_fn)(void *context, const char *name, bool is_dir);
MUST_CHECK err_t os_dir_list(const char *path, os_dir_visit_fn visit, void *context);
struct os_dir_lock; /* flock on a folder: one instance a folder */
MUST_CHECK err_t os_dir_lock(const char *path, struct os_dir_lock **out); /* JET_errFileAccessDenied when taken */
void os_dir_unlock(struct os_dir_lock *lock);
MUST_CHECK err_t os_disk_free(const char *path, uint64_t *bytes);

/* ---- ranked locks. Take in falling rank; debug builds keep the thread's ranks and ENFORCE it. ---- */

enum os_rank {
    RANK_TRACE = 5,
    RANK_OS = 10,
    RANK_LOG_BUFFER = 18,
    RANK_LOG_FLUSH = 20,
    RANK_CACHE_DIRTY = 26,
    RANK_CACHE_REPLACE = 28,
    RANK_CACHE_BUCKET = 30,
    RANK_TRX_LIST = 35,
    RANK_TRX = 36, /* one transaction's undo-logging against its own commit */
    RANK_VERSION = 40,
    RANK_DBFILE = 45, /* header of a database: fields and their way to disk */
    RANK_PAGE = 50,   /* page latches are not os_locks; the number says where they stand */
    RANK_SPACE = 51,  /* one tree's space trees: system root 51, tables 52, their indexes and long values 53 (child first) */
    RANK_SPLIT = 54,  /* one tree's structure changes */
    RANK_TABLE_DESC = 55,
    RANK_SCHEMA = 60,
    RANK_CHECKPOINT = 68,
    RANK_BACKUP = 70,
    RANK_SESSION = 80,
    RANK_INSTANCE = 90,
};

struct os_lock { /* a mutex */
    _Alignas(8) unsigned char opaque[48];
    int rank;
};
void os_lock_init(struct os_lock *lock, enum os_rank rank);
void os_lock_term(struct os_lock *lock);
void os_lock_take(struct os_lock *lock);
bool os_lock_try(struct os_lock *lock);
void os_lock_release(struct os_lock *lock);

struct os_cond {
    _Alignas(8) unsigned char opaque[56];
};
void os_cond_init(struct os_cond *cond);
void os_cond_term(struct os_cond *cond);
void os_cond_wait(struct os_cond *cond, struct os_lock *lock);
/* false when the time is over. */
bool os_cond_wait_ms(struct os_cond *cond, struct os_lock *lock, uint32_t ms);
void os_cond_signal(struct os_cond *cond);
void os_cond_broadcast(struct os_cond *cond);

struct os_rwlock { /* shared / exclusive, writers are not starved */
    _Alignas(8) unsigned char opaque[64];
    int rank;
};
void os_rwlock_init(struct os_rwlock *lock, enum os_rank rank);
void os_rwlock_term(struct os_rwlock *lock);
void os_rwlock_read(struct os_rwlock *lock);
void os_rwlock_write(struct os_rwlock *lock);
bool os_rwlock_try_write(struct os_rwlock *lock);
void os_rwlock_release(struct os_rwlock *lock); /* either mode */

/* Wait while *word == seen (a futex); may wake early. Wake up to `count` waiters. */
void os_park(_Atomic uint32_t *word, uint32_t seen);
void os_park_ms(_Atomic uint32_t *word, uint32_t seen, uint32_t ms); /* the same, so long at most */
void os_unpark(_Atomic uint32_t *word, int count);
void os_cpu_relax(void);

/* ---- threads ---- */

struct os_thread;
typedef void (*os_thread_fn)(void *context);
MUST_CHECK err_t os_thread_start(const char *name, os_thread_fn fn, void *context, struct os_thread **out);
void os_thread_join(struct os_thread *thread); /* frees it */
uint64_t os_thread_id(void);
void os_sleep_ms(uint32_t ms);
void os_yield(void);
int os_process_id(void);
int os_cpu_count(void);
uint64_t os_memory_total(void);

/* ---- clock, chance, memory ---- */

uint64_t os_now_ns(void);                 /* monotonic */
void os_logtime_now(struct logtime *out); /* wall clock in ESE's form: month 1-12, UTC bit, milliseconds */
uint32_t os_random_u32(void);
void os_signature_new(struct signature *out); /* random + now, computer name zero */
/* Zeroed, aligned memory; `huge` asks for huge pages. Reserved, not touched: pages come when used. */
void *os_map(size_t n, bool huge);
void os_unmap(void *p, size_t n);
void *os_alloc_aligned(size_t n); /* 4096-aligned, from 2 MiB on in huge pages; free with os_free_aligned */
void os_free_aligned(void *p);

/* ---- faults and the write recorder: for tests, always compiled in, free when off ---- */

enum os_op { OS_OP_OPEN, OS_OP_READ, OS_OP_WRITE, OS_OP_SYNC, OS_OP_SIZE, OS_OP_RENAME, OS_OP_UNLINK, OS_OP_DIR, OS_OP_DIRSYNC, OS_OP_COUNT };
struct os_fault {
    unsigned ops;          /* bit set of 1u << os_op */
    const char *path_part; /* only paths that contain it; NULL = all */
    uint64_t after;        /* let this many matching calls pass */
    uint64_t count;        /* then fail (or delay) this many; UINT64_MAX = for ever */
    int error;             /* errno; 0 = no failure (a delay only); -1 = short write, then EIO */
    uint32_t delay_ms;
};
void os_fault_set(const struct os_fault *fault); /* NULL = off. One plan a process. */
uint64_t os_fault_hits(void);
/* Calls made since start, by kind: "fdatasyncs per commit" of the benchmarks. */
uint64_t os_op_total(enum os_op op);
/* Records every write, sync, size change, rename, unlink, folder change and folder sync of paths below `dir`
 * into the file `trace` (format: os/README.rst), in the order in which the kernel was asked. Also switched on by
 * PYJET_RECORD=dir:trace in the environment. */
MUST_CHECK err_t os_record_start(const char *dir, const char *trace);
void os_record_stop(void);
/* A mark in the trace: "transaction 17 acknowledged". */
void os_record_mark(const char *text);

#endif
