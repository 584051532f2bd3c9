#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/os_private.h"

#define RENAME_ROOM 32u

enum { DIRECT_ALIGN = 4096, WRITE_BATCH = 64, ZERO_CHUNK = 1 << 20 };

static struct list open_files = {&open_files, &open_files};

/* ---- open and close ---- */

/* A first try with O_EXCL tells whether this call made the file, which the recorder must know. */
static int open_or_create(const char *path, int flags, unsigned how, bool *created)
{
    *created = false;
    if ((how & OS_CREATE) == 0)
        return open(path, flags, 0);
    int fd = open(path, flags | O_CREAT | O_EXCL, 0666);
    *created = fd >= 0;
    if (fd >= 0 || errno != EEXIST || (how & OS_EXCL) != 0)
        return fd;
    return open(path, flags | O_CREAT, 0666);
}

/* O_NONBLOCK keeps a FIFO from hanging the open; on regular files it means nothing. */
static int open_fd(const char *path, unsigned how, bool *created, bool *direct)
{
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | ((how & OS_WRITE) != 0 ? O_RDWR : O_RDONLY);
    *direct = (how & OS_DIRECT) != 0;
    if (!*direct)
        return open_or_create(path, flags, how, created);
    bool existed = os_exists(path);
    int fd = open_or_create(path, flags | O_DIRECT, how, created);
    if (fd >= 0 || errno != EINVAL)
        return fd;
    /* Some file systems make the file and then refuse the flag: it is there now, so OS_EXCL would
     * trip. */
    *direct = false;
    fd = open_or_create(path, flags, how & ~(unsigned)OS_EXCL, created);
    *created = fd >= 0 && !existed;
    return fd;
}

/* Only regular files and block devices are files to us. */
static err_t check_kind(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return OS__RAISE(OS_OP_OPEN, errno, path);
    if (S_ISDIR(st.st_mode))
        return OS__RAISE(OS_OP_OPEN, EISDIR, path);
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return JET_errSuccess;
    err_t err = RAISE(JET_errFileInvalidType);
    err_detail("open %s: neither a regular file nor a block device", path);
    return err;
}

static err_t open_checked(const char *path, unsigned how, struct os_file *f)
{
    bool created, direct;
    bool recording = os__record_enter();
    f->fd = open_fd(path, how, &created, &direct);
    err_t err = f->fd < 0 ? OS__RAISE(OS_OP_OPEN, errno, path) : check_kind(f->fd, path);
    if (err >= 0 && (how & OS_TRUNCATE) != 0 && !created && ftruncate(f->fd, 0) != 0)
        err = OS__RAISE(OS_OP_OPEN, errno, path);
    if (recording) {
        if (f->fd >= 0 && created)
            os__record(TRACE_CREATE, f->path, 0, 0, 0);
        else if (err >= 0 && (how & OS_TRUNCATE) != 0)
            os__record(TRACE_SIZE, f->path, 0, 0, 0);
        os__tables_unlock();
    }
    atomic_init(&f->direct, direct);
    return err;
}

err_t os_file_open(const char *path, unsigned how, struct os_file **out)
{
    err_t err = JET_errSuccess;
    char full[OS_PATH_MAX];
    struct os_file *f = NULL;

    *out = NULL;
    ASSERT((how & (OS_CREATE | OS_TRUNCATE)) == 0 || (how & OS_WRITE) != 0);
    int fault = os__gate(OS_OP_OPEN, path);
    if (fault != 0)
        return OS__RAISE(OS_OP_OPEN, fault < 0 ? EIO : fault, path);
    TRY_RETURN(os_full_path(path, full, sizeof full));
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return RAISE(JET_errOutOfMemory);
    f->fd = -1;
    list_init(&f->link);
    f->path_room = strlen(full) + 1 + RENAME_ROOM;
    f->path = malloc(f->path_room);
    f->where = strdup(full);
    if (f->path == NULL || f->where == NULL)
        FAIL(JET_errOutOfMemory);
    strcpy(f->path, full);
    TRY(open_checked(path, how, f));
    os__tables_lock();
    list_add_back(&open_files, &f->link);
    os__tables_unlock();
    *out = f;
    f = NULL;
out:
    os_file_close(f);
    return err;
}

void os_file_close(struct os_file *f)
{
    if (f == NULL)
        return;
    os__tables_lock();
    list_remove(&f->link);
    os__tables_unlock();
    if (f->fd >= 0 && f->locked)
        os_file_unlock(f); /* a child just forked may still share the descriptor */
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f->where);
    free(f);
}

const char *os_file_path(const struct os_file *f) { return f->path; }

static err_t make_path_room(struct os_file *f, size_t room)
{
    char *name = realloc(f->path, room);
    if (name == NULL)
        return RAISE(JET_errOutOfMemory);
    f->path = name;
    f->path_room = room;
    return JET_errSuccess;
}

/* Another name in the same folder needs no memory: a log's roll must not stop for lack of it. */
err_t os_file_rename(struct os_file *f, const char *to)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(os_full_path(to, full, sizeof full));
    if (strlen(full) >= f->path_room)
        TRY_RETURN(make_path_room(f, strlen(full) + 1));
    TRY_RETURN(os_rename(f->path, full));
    strcpy(f->path, full);
    return JET_errSuccess;
}

/* ---- what renames and unlinks do to open handles ---- */

static bool is_at_or_below(const char *path, const char *top)
{
    size_t n = strlen(top);
    return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

void os__files_gone(const char *path)
{
    LIST_FOR_EACH(link, &open_files)
    {
        struct os_file *f = LIST_ENTRY(link, struct os_file, link);
        if (strcmp(f->where, path) == 0)
            f->gone = true;
    }
}

void os__files_moved(const char *from, const char *to)
{
    LIST_FOR_EACH(link, &open_files)
    {
        struct os_file *f = LIST_ENTRY(link, struct os_file, link);
        if (f->gone || !is_at_or_below(f->where, from))
            continue;
        char *moved = NULL;
        /* A wrong `where` spoils only a trace; out of memory here leaves the handle usable but
         * unrecorded. */
        if (asprintf(&moved, "%s%s", to, f->where + strlen(from)) < 0) {
            f->gone = true;
            continue;
        }
        free(f->where);
        f->where = moved;
    }
}

/* fcntl and flock locks hang on the open file description, which a forked child shares: an
 * inherited copy would keep the parent's lock alive after the parent's death. */
void os__files_after_fork(void)
{
    LIST_FOR_EACH(link, &open_files)
    {
        struct os_file *f = LIST_ENTRY(link, struct os_file, link);
        if (f->locked && f->fd >= 0) {
            close(f->fd);
            f->fd = -1;
        }
    }
}

/* ---- reading and writing ---- */

static void assert_aligned(const struct os_file *f, uint64_t offset, const void *p, size_t n)
{
    (void)f, (void)offset, (void)p, (void)n;
    ASSERT(!f->direct || ((offset | (uintptr_t)p | n) % DIRECT_ALIGN) == 0);
}

/* A device may want more than 4096: then the handle goes on through the page cache. */
static bool leave_direct(struct os_file *f)
{
    if (!f->direct)
        return false;
    int flags = fcntl(f->fd, F_GETFL);
    if (flags < 0 || fcntl(f->fd, F_SETFL, flags & ~O_DIRECT) != 0)
        return false;
    f->direct = false;
    return true;
}

err_t os_file_read_some(struct os_file *f, uint64_t offset, void *to, size_t n, size_t *got)
{
    *got = 0;
    assert_aligned(f, offset, to, n);
    int fault = os__gate(OS_OP_READ, f->path);
    if (fault != 0)
        return OS__RAISE(OS_OP_READ, fault < 0 ? EIO : fault, f->path);
    while (*got < n) {
        ssize_t r = pread(f->fd, (char *)to + *got, n - *got, (off_t)(offset + *got));
        if (r == 0)
            break;
        if (r > 0) {
            *got += (size_t)r;
            if (f->direct && r % DIRECT_ALIGN != 0)
                break; /* only the end of the file is that odd */
            continue;
        }
        if (errno == EINTR || (errno == EINVAL && leave_direct(f)))
            continue;
        return OS__RAISE(OS_OP_READ, errno, f->path);
    }
    return JET_errSuccess;
}

err_t os_file_read(struct os_file *f, uint64_t offset, void *to, size_t n)
{
    size_t got;
    TRY_RETURN(os_file_read_some(f, offset, to, n, &got));
    if (got == n)
        return JET_errSuccess;
    err_t err = RAISE(JET_errFileIOBeyondEOF);
    err_detail("read %s: %zu bytes at %llu, the file ends after %zu of them", f->path, n,
               (unsigned long long)offset, got);
    return err;
}

/* Fills a batch with bytes from `skip` of v[0] on, at most `limit`. */
static int fill_batch(struct iovec *batch, const struct os_iovec *v, int count, size_t skip,
                      size_t limit)
{
    int n = 0;
    for (int i = 0; i < count && n < WRITE_BATCH && limit > 0; i++, skip = 0) {
        size_t bytes = v[i].n - skip < limit ? v[i].n - skip : limit;
        if (bytes == 0)
            continue;
        batch[n].iov_base = (char *)v[i].p + skip;
        batch[n++].iov_len = bytes;
        limit -= bytes;
    }
    return n;
}

/* Writes the first `limit` bytes of v. Returns an errno; *done is what the kernel took in any case.
 */
static int write_vector(struct os_file *f, uint64_t offset, const struct os_iovec *v, int count,
                        size_t limit, size_t *done)
{
    size_t skip = 0;
    for (*done = 0; *done < limit;) {
        struct iovec batch[WRITE_BATCH];
        int n = fill_batch(batch, v, count, skip, limit - *done);
        ssize_t r = pwritev(f->fd, batch, n, (off_t)(offset + *done));
        if (r < 0) {
            if (errno == EINTR || (errno == EINVAL && leave_direct(f)))
                continue;
            return errno;
        }
        if (r == 0)
            return EIO;
        *done += (size_t)r;
        for (skip += (size_t)r; count > 0 && skip >= v->n; v++, count--)
            skip -= v->n;
    }
    return 0;
}

enum payload { PAYLOAD_BYTES, PAYLOAD_ZEROS };

static err_t write_call(struct os_file *f, uint64_t offset, const struct os_iovec *v, int count,
                        enum payload payload)
{
    size_t total = 0, done = 0;
    for (int i = 0; i < count; i++) {
        assert_aligned(f, offset, v[i].p, v[i].n);
        total += v[i].n;
    }
    int fault = os__gate(OS_OP_WRITE, f->path);
    if (fault > 0)
        return OS__RAISE(OS_OP_WRITE, fault, f->path);
    size_t limit = fault == 0 ? total : total / 2 - (f->direct ? total / 2 % DIRECT_ALIGN : 0);
    bool recording = os__record_enter();
    int error = write_vector(f, offset, v, count, limit, &done);
    if (fault < 0 && error == 0)
        error = EIO;
    if (recording) {
        if (!f->gone && payload == PAYLOAD_BYTES)
            os__record_write(f->where, offset, v, count, done, error);
        else if (!f->gone)
            os__record(TRACE_ZERO, f->where, offset, done, error);
        os__tables_unlock();
    }
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_WRITE, error, f->path);
}

err_t os_file_writev(struct os_file *f, uint64_t offset, const struct os_iovec *v, int count)
{
    return write_call(f, offset, v, count, PAYLOAD_BYTES);
}

err_t os_file_write(struct os_file *f, uint64_t offset, const void *from, size_t n)
{
    struct os_iovec v = {from, n};
    return write_call(f, offset, &v, 1, PAYLOAD_BYTES);
}

err_t os_file_zero(struct os_file *f, uint64_t from, uint64_t to)
{
    /* Never written: all of it is the kernel's one zero page. */
    static _Alignas(DIRECT_ALIGN) char zeros[ZERO_CHUNK];
    while (from < to) {
        struct os_iovec v = {zeros, to - from < ZERO_CHUNK ? (size_t)(to - from) : ZERO_CHUNK};
        TRY_RETURN(write_call(f, from, &v, 1, PAYLOAD_ZEROS));
        from += v.n;
    }
    return JET_errSuccess;
}

/* ---- sync, size, locks ---- */

/* The lock is not held across the sync: what is recorded between begin and end is not covered by
 * it. */
static uint64_t record_sync_begin(struct os_file *f)
{
    uint64_t token = 0;
    if (os__record_enter()) {
        if (!f->gone)
            token = os__record(TRACE_SYNC_BEGIN, f->where, 0, 0, 0);
        os__tables_unlock();
    }
    return token;
}

static void record_sync_end(struct os_file *f, uint64_t token, int error)
{
    if (token != 0 && os__record_enter()) {
        os__record(TRACE_SYNC_END, f->where, token, 0, error);
        os__tables_unlock();
    }
}

err_t os_file_sync(struct os_file *f)
{
    int fault = os__gate(OS_OP_SYNC, f->path);
    if (fault != 0)
        return OS__RAISE(OS_OP_SYNC, fault < 0 ? EIO : fault, f->path);
    uint64_t token = record_sync_begin(f);
    int error = fdatasync(f->fd) == 0 ? 0 : errno;
    record_sync_end(f, token, error);
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_SYNC, error, f->path);
}

err_t os_file_size(struct os_file *f, uint64_t *size)
{
    *size = 0;
    int fault = os__gate(OS_OP_SIZE, f->path);
    if (fault != 0)
        return OS__RAISE(OS_OP_SIZE, fault < 0 ? EIO : fault, f->path);
    off_t end = lseek(f->fd, 0, SEEK_END); /* unlike st_size it is right for a block device too */
    if (end < 0)
        return OS__RAISE(OS_OP_SIZE, errno, f->path);
    *size = (uint64_t)end;
    return JET_errSuccess;
}

err_t os_file_allocated(struct os_file *f, uint64_t *bytes)
{
    struct stat st;
    *bytes = 0;
    int fault = os__gate(OS_OP_SIZE, f->path);
    if (fault != 0)
        return OS__RAISE(OS_OP_SIZE, fault < 0 ? EIO : fault, f->path);
    if (fstat(f->fd, &st) != 0)
        return OS__RAISE(OS_OP_SIZE, errno, f->path);
    *bytes = (uint64_t)st.st_blocks * 512;
    return JET_errSuccess;
}

err_t os_file_next_data(struct os_file *f, uint64_t from, uint64_t *at)
{
    off_t found = lseek(f->fd, (off_t)from, SEEK_DATA);
    *at = from; /* also where the file system knows of no holes */
    if (found >= 0)
        *at = (uint64_t)found;
    else if (errno == ENXIO)
        return os_file_size(f, at);
    return JET_errSuccess;
}

err_t os_file_set_size(struct os_file *f, uint64_t size)
{
    int fault = os__gate(OS_OP_SIZE, f->path);
    if (fault != 0)
        return OS__RAISE(OS_OP_SIZE, fault < 0 ? EIO : fault, f->path);
    bool recording = os__record_enter();
    int r, error;
    do
        r = ftruncate(f->fd, (off_t)size);
    while (r != 0 && errno == EINTR);
    error = r == 0 ? 0 : errno;
    if (recording) {
        if (!f->gone && error == 0)
            os__record(TRACE_SIZE, f->where, size, 0, 0);
        os__tables_unlock();
    }
    return error == 0 ? JET_errSuccess : OS__RAISE(OS_OP_SIZE, error, f->path);
}

err_t os_file_lock(struct os_file *f, bool exclusive)
{
    int fault = os__gate(OS_OP_OPEN, f->path);
    if (fault != 0)
        return OS__RAISE(OS_OP_OPEN, fault < 0 ? EIO : fault, f->path);
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(f->fd, F_OFD_SETLK, &lock) == 0) {
        f->locked = true;
        return JET_errSuccess;
    }
    /* An exclusive lock wants a writable handle; a read-only one says EBADF. */
    int error = errno == EBADF && f->fd >= 0 ? EACCES : errno;
    err_t err = OS__RAISE(OS_OP_OPEN, error, f->path);
    if (error == EAGAIN)
        err_detail("lock %s: another process or handle has it locked", f->path);
    return err;
}

void os_file_unlock(struct os_file *f)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(f->fd, F_OFD_SETLK, &lock); /* cannot fail on a handle that holds it */
    f->locked = false;
}

void os_file_drop_cache(struct os_file *f)
{
    (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice only */
}

void os_file_will_read(struct os_file *f, uint64_t offset, size_t n)
{
    (void)posix_fadvise(f->fd, (off_t)offset, (off_t)n, POSIX_FADV_WILLNEED); /* advice only */
}
