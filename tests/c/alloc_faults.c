/* Linked in front of the C library's functions (--wrap, `make walk`), for the fault walk: the n-th allocation of the engine fails,
 * the n-th transfer is cut short or interrupted, and what is allocated and not freed is counted. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum { FAIL_NOTHING, FAIL_MEMORY, FAIL_EINTR, FAIL_SHORT };

static _Atomic int what;
static _Atomic uint64_t seen, hits;
static uint64_t after, count;
static _Atomic int64_t live;

PUBLIC void walk_set(int kind, uint64_t skip, uint64_t n);
PUBLIC uint64_t walk_hits(void);
PUBLIC int64_t walk_live(void);

void walk_set(int kind, uint64_t skip, uint64_t n)
{
    what = FAIL_NOTHING;
    seen = hits = 0;
    after = skip;
    count = n;
    what = kind;
}

uint64_t walk_hits(void) { return hits; }

int64_t walk_live(void) { return live; }

static bool hit(int kind)
{
    if (what != kind)
        return false;
    uint64_t n = seen++;
    if (n < after || n - after >= count)
        return false;
    hits++;
    return true;
}

static bool no_memory(void)
{
    if (!hit(FAIL_MEMORY))
        return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *p)
{
    if (p != NULL)
        live++;
    return p;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_posix_memalign(void **p, size_t align, size_t n);
void __real_free(void *p);
void *__real_os_map(size_t n, bool huge);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
void __wrap_free(void *p);
void *__wrap_os_map(size_t n, bool huge);

void *__wrap_malloc(size_t n) { return no_memory() ? NULL : counted(__real_malloc(n)); }

void *__wrap_calloc(size_t n, size_t size) { return no_memory() ? NULL : counted(__real_calloc(n, size)); }

void *__wrap_realloc(void *p, size_t n)
{
    if (no_memory())
        return NULL;
    return p == NULL ? counted(__real_realloc(p, n)) : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s) { return no_memory() ? NULL : counted(__real_strdup(s)); }

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    if (no_memory())
        return ENOMEM;
    int error = __real_posix_memalign(p, align, n);
    if (error == 0)
        live++;
    return error;
}

void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n) { return no_memory() ? NULL : counted(__real_aligned_alloc(align, n)); }

int __wrap_asprintf(char **to, const char *format, ...);
int __wrap_asprintf(char **to, const char *format, ...)
{
    va_list args;
    if (no_memory())
        return -1;
    va_start(args, format);
    int n = vasprintf(to, format, args);
    va_end(args);
    if (n >= 0)
        live++;
    return n;
}

void __wrap_free(void *p)
{
    if (p != NULL)
        live--;
    __real_free(p);
}

void *__wrap_os_map(size_t n, bool huge) { return no_memory() ? NULL : __real_os_map(n, huge); }

/* ---- transfers ---- */

ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
ssize_t __real_pwritev(int fd, const struct iovec *v, int parts, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int parts, off_t at);

static bool interrupted(void)
{
    if (!hit(FAIL_EINTR))
        return false;
    errno = EINTR;
    return true;
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    if (interrupted())
        return -1;
    return __real_pread(fd, to, n > 4096 && hit(FAIL_SHORT) ? n / 2 / 4096 * 4096 : n, at);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *v, int parts, off_t at)
{
    if (interrupted())
        return -1;
    if (parts > 0 && v[0].iov_len > 4096 && hit(FAIL_SHORT)) {
        struct iovec first = {v[0].iov_base, v[0].iov_len / 2 / 4096 * 4096};
        return __real_pwritev(fd, &first, 1, at);
    }
    return __real_pwritev(fd, v, parts, at);
}
