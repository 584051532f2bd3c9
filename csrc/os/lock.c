#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

static_assert(sizeof(pthread_mutex_t) <= sizeof((struct os_lock){0}.opaque),
              "os_lock holds a mutex");
static_assert(sizeof(pthread_cond_t) <= sizeof((struct os_cond){0}.opaque),
              "os_cond holds a condition");
static_assert(sizeof(pthread_rwlock_t) <= sizeof((struct os_rwlock){0}.opaque),
              "os_rwlock holds one");
static_assert(_Alignof(pthread_mutex_t) <= 8 && _Alignof(pthread_cond_t) <= 8 &&
                  _Alignof(pthread_rwlock_t) <= 8,
              "opaque bytes are 8-aligned");
static_assert(sizeof(_Atomic uint32_t) == 4, "a futex is 32 bits");

/* ---- ranks held by this thread ---- */

#ifdef PYJET_DEBUG

enum { HELD_MAX = 32 };
static _Thread_local struct {
    const void *lock;
    int rank;
} held[HELD_MAX];
static _Thread_local int held_count;

/* A thread that only takes locks of falling rank cannot be in a circle of waiters. A try never
 * waits, so it may also take a second lock of the rank it holds. */
static void rank_check(int rank, bool try)
{
    ENFORCE(rank > 0); /* else the lock was not initialised */
    for (int i = 0; i < held_count; i++) {
        if (rank < held[i].rank || (try && rank == held[i].rank))
            continue;
        char what[96];
        snprintf(what, sizeof what, "lock of rank %d taken while rank %d is held", rank,
                 held[i].rank);
        assert_failed(what, __FILE__, __LINE__);
    }
}

static void rank_push(const void *lock, int rank)
{
    ENFORCE(held_count < HELD_MAX);
    held[held_count].lock = lock;
    held[held_count++].rank = rank;
}

static void rank_pop(const void *lock)
{
    int i = held_count - 1;
    while (i >= 0 && held[i].lock != lock)
        i--;
    ENFORCE(i >= 0); /* else released by a thread that does not hold it */
    held_count--;
    memmove(&held[i], &held[i + 1], sizeof held[0] * (size_t)(held_count - i));
}

#else
#define rank_check(rank, try) ((void)(rank))
#define rank_push(lock, rank) ((void)(lock))
#define rank_pop(lock) ((void)(lock))
#endif

/* ---- mutex ---- */

static pthread_mutex_t *mutex_of(struct os_lock *lock)
{
    return (pthread_mutex_t *)(void *)lock->opaque;
}

void os_lock_init(struct os_lock *lock, enum os_rank rank)
{
    ENFORCE(pthread_mutex_init(mutex_of(lock), NULL) == 0);
    lock->rank = (int)rank;
}

void os_lock_term(struct os_lock *lock)
{
    ENFORCE(pthread_mutex_destroy(mutex_of(lock)) == 0); /* EBUSY: someone still holds it */
    lock->rank = 0;
}

void os_lock_take(struct os_lock *lock)
{
    rank_check(lock->rank, false);
    ENFORCE(pthread_mutex_lock(mutex_of(lock)) == 0);
    rank_push(lock, lock->rank);
}

bool os_lock_try(struct os_lock *lock)
{
    rank_check(lock->rank, true);
    if (pthread_mutex_trylock(mutex_of(lock)) != 0)
        return false;
    rank_push(lock, lock->rank);
    return true;
}

void os_lock_release(struct os_lock *lock)
{
    rank_pop(lock);
    ENFORCE(pthread_mutex_unlock(mutex_of(lock)) == 0);
}

/* ---- condition ---- */

static pthread_cond_t *cond_of(struct os_cond *cond)
{
    return (pthread_cond_t *)(void *)cond->opaque;
}

/* The monotonic clock: a step of the wall clock must not stretch a wait. */
void os_cond_init(struct os_cond *cond)
{
    pthread_condattr_t attr;
    ENFORCE(pthread_condattr_init(&attr) == 0);
    ENFORCE(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ENFORCE(pthread_cond_init(cond_of(cond), &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void os_cond_term(struct os_cond *cond) { ENFORCE(pthread_cond_destroy(cond_of(cond)) == 0); }

void os_cond_wait(struct os_cond *cond, struct os_lock *lock)
{
    rank_pop(lock);
    rank_check(lock->rank, false); /* the wait ends by taking the lock */
    ENFORCE(pthread_cond_wait(cond_of(cond), mutex_of(lock)) == 0);
    rank_push(lock, lock->rank);
}

bool os_cond_wait_ms(struct os_cond *cond, struct os_lock *lock, uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    rank_pop(lock);
    rank_check(lock->rank, false);
    int r = pthread_cond_timedwait(cond_of(cond), mutex_of(lock), &until);
    ENFORCE(r == 0 || r == ETIMEDOUT);
    rank_push(lock, lock->rank);
    return r == 0;
}

void os_cond_signal(struct os_cond *cond) { ENFORCE(pthread_cond_signal(cond_of(cond)) == 0); }

void os_cond_broadcast(struct os_cond *cond)
{
    ENFORCE(pthread_cond_broadcast(cond_of(cond)) == 0);
}

/* ---- shared / exclusive ---- */

static pthread_rwlock_t *rwlock_of(struct os_rwlock *lock)
{
    return (pthread_rwlock_t *)(void *)lock->opaque;
}

/* Glibc's default lets a stream of readers starve a writer; this kind makes new readers queue
 * behind it. The price, no recursive read, is what the ranks forbid anyway. */
void os_rwlock_init(struct os_rwlock *lock, enum os_rank rank)
{
    pthread_rwlockattr_t attr;
    ENFORCE(pthread_rwlockattr_init(&attr) == 0);
    ENFORCE(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) ==
            0);
    ENFORCE(pthread_rwlock_init(rwlock_of(lock), &attr) == 0);
    pthread_rwlockattr_destroy(&attr);
    lock->rank = (int)rank;
}

void os_rwlock_term(struct os_rwlock *lock)
{
    ENFORCE(pthread_rwlock_destroy(rwlock_of(lock)) == 0);
    lock->rank = 0;
}

void os_rwlock_read(struct os_rwlock *lock)
{
    rank_check(lock->rank, false);
    ENFORCE(pthread_rwlock_rdlock(rwlock_of(lock)) == 0);
    rank_push(lock, lock->rank);
}

void os_rwlock_write(struct os_rwlock *lock)
{
    rank_check(lock->rank, false);
    ENFORCE(pthread_rwlock_wrlock(rwlock_of(lock)) == 0);
    rank_push(lock, lock->rank);
}

bool os_rwlock_try_write(struct os_rwlock *lock)
{
    rank_check(lock->rank, true);
    if (pthread_rwlock_trywrlock(rwlock_of(lock)) != 0)
        return false;
    rank_push(lock, lock->rank);
    return true;
}

void os_rwlock_release(struct os_rwlock *lock)
{
    rank_pop(lock);
    ENFORCE(pthread_rwlock_unlock(rwlock_of(lock)) == 0);
}

/* ---- futex ---- */

void os_park(_Atomic uint32_t *word, uint32_t seen)
{
    /* EAGAIN (the word has changed) and EINTR both mean: look again. */
    (void)syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

void os_park_ms(_Atomic uint32_t *word, uint32_t seen, uint32_t ms)
{
    struct timespec most = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, seen, &most, NULL, 0);
}

void os_unpark(_Atomic uint32_t *word, int count)
{
    (void)syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void os_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    __asm__ volatile("" ::: "memory");
#endif
}
