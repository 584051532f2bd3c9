/* The page latch: shared or exclusive, one word, futex when it takes long. A waiting writer keeps
 * new readers out. */
#include "cache/cache_private.h"

#include <limits.h>

#define SPIN_MAX 60

/* Sleeps until the word moves. The parked bit must be in the word before anybody sleeps on it. */
static void wait_change(struct frame *f, uint32_t seen, int *spins)
{
    if (++*spins < SPIN_MAX) {
        os_cpu_relax();
        return;
    }
    if (seen & LATCH_PARKED ||
        atomic_compare_exchange_strong(&f->latch, &seen, seen | LATCH_PARKED))
        os_park(&f->latch, seen | LATCH_PARKED);
}

bool latch__try_read(struct frame *f)
{
    uint32_t w = atomic_load_explicit(&f->latch, memory_order_relaxed);
    while (!(w & (LATCH_X | LATCH_WAITING)))
        if (atomic_compare_exchange_weak(&f->latch, &w, w + 1))
            return true;
    return false;
}

void latch__read(struct frame *f)
{
    int spins = 0;
    while (!latch__try_read(f)) {
        uint32_t w = atomic_load(&f->latch);
        if (w & (LATCH_X | LATCH_WAITING))
            wait_change(f, w, &spins);
    }
}

static void set_owner(struct frame *f, uint64_t thread)
{
    atomic_store_explicit(&f->owner, (uint32_t)thread, memory_order_relaxed);
}

/* Another thread's number is never ours, and ours is gone before another gets the latch. */
bool latch__is_mine(const struct frame *f)
{
    return atomic_load_explicit(&f->owner, memory_order_relaxed) == (uint32_t)os_thread_id();
}

bool latch__try_write(struct frame *f)
{
    uint32_t w = atomic_load_explicit(&f->latch, memory_order_relaxed);
    while (!(w & (LATCH_X | LATCH_COUNT)))
        if (atomic_compare_exchange_weak(&f->latch, &w, (w & LATCH_PARKED) | LATCH_X)) {
            set_owner(f, os_thread_id());
            return true;
        }
    return false;
}

/* Whoever gets the latch takes the waiting bit away; other waiting writers put it back when they
 * wake. */
void latch__write(struct frame *f)
{
    int spins = 0;
    while (!latch__try_write(f)) {
        uint32_t w = atomic_load(&f->latch);
        if (!(w & (LATCH_X | LATCH_COUNT)))
            continue;
        if (!(w & LATCH_WAITING) &&
            !atomic_compare_exchange_strong(&f->latch, &w, w | LATCH_WAITING))
            continue;
        wait_change(f, w | LATCH_WAITING, &spins);
    }
}

static void wake_all(struct frame *f, uint32_t before)
{
    if (before & LATCH_PARKED)
        os_unpark(&f->latch, INT_MAX);
}

void latch__read_release(struct frame *f)
{
    uint32_t w = atomic_load_explicit(&f->latch, memory_order_relaxed), to;
    do {
        ASSERT((w & LATCH_COUNT) > 0 && !(w & LATCH_X));
        to = w - 1;
        if ((to & LATCH_COUNT) == 0)
            to &= ~LATCH_PARKED;
    } while (!atomic_compare_exchange_weak(&f->latch, &w, to));
    if ((to & LATCH_COUNT) == 0)
        wake_all(f, w);
}

void latch__write_release(struct frame *f)
{
    set_owner(f, 0);
    uint32_t w = atomic_exchange(&f->latch, 0);
    ASSERT(w & LATCH_X);
    wake_all(f, w);
}

void latch__downgrade(struct frame *f)
{
    set_owner(f, 0);
    uint32_t w = atomic_exchange(&f->latch, 1);
    ASSERT(w & LATCH_X);
    wake_all(f, w);
}

bool latch__upgrade(struct frame *f)
{
    uint32_t w = atomic_load(&f->latch);
    while ((w & LATCH_COUNT) == 1)
        if (atomic_compare_exchange_weak(&f->latch, &w, (w & LATCH_PARKED) | LATCH_X)) {
            set_owner(f, os_thread_id());
            return true;
        }
    return false;
}
