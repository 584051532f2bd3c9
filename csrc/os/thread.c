#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/os_private.h"

struct os_thread {
    pthread_t id;
    os_thread_fn fn;
    void *context;
    char name[16]; /* the kernel's limit */
};

static void *thread_main(void *arg)
{
    struct os_thread *t = arg;
    pthread_setname_np(pthread_self(), t->name);
    t->fn(t->context);
    return NULL;
}

/* Signals are the host program's: our threads block them all, so that its handlers run in its own
 * threads. */
err_t os_thread_start(const char *name, os_thread_fn fn, void *context, struct os_thread **out)
{
    *out = NULL;
    struct os_thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        return RAISE(JET_errOutOfMemory);
    t->fn = fn;
    t->context = context;
    snprintf(t->name, sizeof t->name, "%s", name);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        *out = t;
        return JET_errSuccess;
    }
    free(t);
    err_t err = RAISE(error == ENOMEM ? JET_errOutOfMemory : JET_errOutOfThreads);
    err_detail("thread %s: errno %d", name, error);
    return err;
}

void os_thread_join(struct os_thread *thread)
{
    if (thread == NULL)
        return;
    ENFORCE(pthread_join(thread->id, NULL) == 0);
    free(thread);
}

static _Thread_local uint64_t thread_id;

uint64_t os_thread_id(void)
{
    if (thread_id == 0)
        thread_id = (uint64_t)syscall(SYS_gettid);
    return thread_id;
}

void os_sleep_ms(uint32_t ms)
{
    struct timespec rest = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

void os_yield(void) { sched_yield(); }

/* Every call on an instance asks: a fork's child sets it anew, nobody else needs the system call. */
static _Atomic int process_id;

static void note_process_id(void)
{
    atomic_store_explicit(&process_id, (int)getpid(), memory_order_relaxed);
}

static void watch_forks(void)
{
    ENFORCE(pthread_atfork(NULL, NULL, note_process_id) == 0);
    note_process_id();
}

int os_process_id(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int id = atomic_load_explicit(&process_id, memory_order_relaxed);
    if (id != 0)
        return id;
    ENFORCE(pthread_once(&once, watch_forks) == 0);
    return atomic_load_explicit(&process_id, memory_order_relaxed);
}

/* What this process may use, not what the machine has. */
int os_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* ---- fork: the child's handles are dead; see README.rst ---- */

/* Both of the room's mutexes are held across the fork, so that the child finds them free and their
 * data whole. */
static void before_fork(void)
{
    os__tables_lock();
    os__fault_lock();
}

static void after_fork(void)
{
    os__fault_unlock();
    os__tables_unlock();
}

static void after_fork_in_child(void)
{
    thread_id = 0;
    event_after_fork();
    os__record_after_fork();
    os__files_after_fork();
    os__dir_locks_after_fork();
    after_fork();
}

static void wait_for_sink(void) { os_sleep_ms(1); }

__attribute__((constructor)) static void join_the_process(void)
{
    event_on_wait(wait_for_sink);
    (void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}
