#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

/* ---- clock ---- */

uint64_t os_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Bytes: second, minute, hour, day, month 1-12, year - 1900; then bit 0 = UTC and milliseconds
 * split 7 + 3. */
void os_logtime_now(struct logtime *out)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    out->b[0] = (uint8_t)(tm.tm_sec > 59 ? 59 : tm.tm_sec);
    out->b[1] = (uint8_t)tm.tm_min;
    out->b[2] = (uint8_t)tm.tm_hour;
    out->b[3] = (uint8_t)tm.tm_mday;
    out->b[4] = (uint8_t)(tm.tm_mon + 1);
    out->b[5] = (uint8_t)tm.tm_year;
    out->b[6] = (uint8_t)(1u | (ms & 0x7f) << 1);
    out->b[7] = (uint8_t)((ms >> 7) << 1);
}

/* ---- chance ---- */

uint32_t os_random_u32(void)
{
    uint32_t x = 0;
    ssize_t n;
    do
        n = getrandom(&x, sizeof x, 0);
    while (n < 0 && errno == EINTR);
    if (n != sizeof x) /* a kernel or sandbox without the call: still differs between calls and
                          processes */
        x = (uint32_t)hash_u64(os_now_ns() ^ ((uint64_t)getpid() << 40));
    return x;
}

void os_signature_new(struct signature *out)
{
    struct logtime now;
    memset(out, 0, sizeof *out);
    os_logtime_now(&now);
    store_u32(out->b, os_random_u32());
    memcpy(out->b + 4, now.b, sizeof now.b);
}

/* ---- memory ---- */

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

void *os_map(size_t n, bool huge)
{
    size_t want = round_up(n, PAGE), slack = huge ? HUGE_PAGE : 0;
    if (n == 0 || want < n || want + slack < want)
        return NULL;
    char *p = mmap(NULL, want + slack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (!huge)
        return p;
    /* Huge pages start at multiples of their size: keep the aligned middle, give back both ends. */
    char *start = (char *)round_up((size_t)p, HUGE_PAGE);
    if (start > p)
        munmap(p, (size_t)(start - p));
    size_t tail = slack - (size_t)(start - p);
    if (tail > 0)
        munmap(start + want, tail);
    (void)madvise(start, want, MADV_HUGEPAGE); /* a wish: without them it is only slower */
    return start;
}

void os_unmap(void *p, size_t n)
{
    if (p != NULL)
        ENFORCE(munmap(p, round_up(n, PAGE)) == 0);
}

void *os_alloc_aligned(size_t n)
{
    void *p = NULL;
    size_t unit = n < HUGE_PAGE ? PAGE : HUGE_PAGE;
    if (n > SIZE_MAX - HUGE_PAGE || posix_memalign(&p, unit, n == 0 ? PAGE : round_up(n, PAGE)) != 0)
        return NULL;
    if (unit == HUGE_PAGE)
        (void)madvise(p, round_up(n, PAGE), MADV_HUGEPAGE); /* a wish, as above */
    return p;
}

void os_free_aligned(void *p) { free(p); }

static uint64_t read_limit(const char *path)
{
    unsigned long long limit = 0;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return UINT64_MAX;
    if (fscanf(f, "%llu", &limit) != 1)
        limit = UINT64_MAX; /* "max" */
    fclose(f);
    return limit;
}

/* The machine's memory, or the control group's limit where that is smaller (containers). */
uint64_t os_memory_total(void)
{
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t v2 = read_limit("/sys/fs/cgroup/memory.max");
    uint64_t v1 = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    total = v2 < total ? v2 : total;
    return v1 < total ? v1 : total;
}
