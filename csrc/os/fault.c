#include <errno.h>
#include <pthread.h>

#include "os/os_private.h"

static _Atomic uint64_t totals[OS_OP_COUNT];

/* `on` lets the usual case, no plan, pass without the mutex. */
static struct {
    pthread_mutex_t lock;
    _Atomic bool on;
    struct os_fault plan;
    char path_part[OS_PATH_MAX];
    uint64_t seen; /* matching calls since os_fault_set */
    uint64_t hits; /* of these, the ones failed or delayed */
} fault = {.lock = PTHREAD_MUTEX_INITIALIZER};

void os__fault_lock(void) { pthread_mutex_lock(&fault.lock); }

void os__fault_unlock(void) { pthread_mutex_unlock(&fault.lock); }

void os_fault_set(const struct os_fault *plan)
{
    os__fault_lock();
    if (plan != NULL) {
        fault.plan = *plan;
        fault.plan.path_part = NULL;
        if (plan->path_part != NULL) {
            ENFORCE(strlen(plan->path_part) < sizeof fault.path_part);
            strcpy(fault.path_part, plan->path_part);
            fault.plan.path_part = fault.path_part;
        }
        fault.seen = fault.hits = 0;
    }
    fault.on = plan != NULL;
    os__fault_unlock();
}

uint64_t os_fault_hits(void)
{
    os__fault_lock();
    uint64_t hits = fault.hits;
    os__fault_unlock();
    return hits;
}

uint64_t os_op_total(enum os_op op)
{
    return atomic_load_explicit(&totals[op], memory_order_relaxed);
}

/* Counts under the mutex, so that of n threads exactly plan.count calls are hit. */
static bool is_hit(enum os_op op, const char *path)
{
    const struct os_fault *plan = &fault.plan;
    if (!fault.on || (plan->ops & 1u << op) == 0)
        return false;
    if (plan->path_part != NULL && strstr(path, plan->path_part) == NULL)
        return false;
    uint64_t n = fault.seen++;
    return n >= plan->after && n - plan->after < plan->count;
}

int os__gate(enum os_op op, const char *path)
{
    os__record_from_environment();
    atomic_fetch_add_explicit(&totals[op], 1, memory_order_relaxed);
    if (!atomic_load_explicit(&fault.on, memory_order_relaxed))
        return 0;
    int error = 0;
    uint32_t delay_ms = 0;
    os__fault_lock();
    if (is_hit(op, path)) {
        fault.hits++;
        error = fault.plan.error;
        delay_ms = fault.plan.delay_ms;
    }
    os__fault_unlock();
    if (delay_ms != 0)
        os_sleep_ms(delay_ms);
    return error;
}
