#include <limits.h>

#include "engine/engine_private.h"

/* The gate between an instance's changes and its files. Statements, commits, rollbacks and the rounds of the background threads
 * pass it, each before it takes any latch or lock; a snapshot shuts it and waits for those inside. Readers do not come here. */

void gate__enter(struct gate *g)
{
    for (;;) {
        atomic_fetch_add(&g->inside, 1);
        if (atomic_load(&g->shut) == 0)
            return;
        gate__leave(g);
        os_park(&g->shut, 1);
    }
}

void gate__leave(struct gate *g)
{
    if (atomic_fetch_sub(&g->inside, 1) == 1 && atomic_load(&g->shut) != 0)
        os_unpark(&g->inside, INT_MAX);
}

bool gate__shut(struct gate *g, uint64_t deadline)
{
    atomic_store(&g->shut, 1);
    for (uint32_t n; (n = atomic_load(&g->inside)) != 0;) {
        uint64_t now = os_now_ns();
        if (now >= deadline) {
            gate__open(g);
            return false;
        }
        uint64_t ms = (deadline - now) / 1000000u + 1;
        os_park_ms(&g->inside, n, ms < INT_MAX ? (uint32_t)ms : INT_MAX);
    }
    return true;
}

void gate__open(struct gate *g)
{
    atomic_store(&g->shut, 0);
    os_unpark(&g->shut, INT_MAX);
}
