#include "base/event.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* Two slots in turn. A reporter enters a slot (users + 1), looks whether it is still the current
 * one, calls its sink with no lock held, and leaves. A setter fills the other slot, makes it
 * current, and waits until nobody is left in the old one. */
struct sink_slot {
    atomic_uint users;
    event_sink_fn sink;
    void *context;
};

static struct sink_slot slots[2];
static atomic_uint current;
static atomic_flag setting = ATOMIC_FLAG_INIT;
static _Atomic(event_wait_fn) wait_fn;

/* This thread's own calls in each slot: a sink that sets the sink does not wait for itself. */
static _Thread_local unsigned own_users[2];

static unsigned enter_current(void)
{
    for (;;) {
        unsigned i = atomic_load(&current);
        atomic_fetch_add(&slots[i].users, 1);
        if (atomic_load(&current) == i) {
            own_users[i]++;
            return i;
        }
        atomic_fetch_sub(&slots[i].users, 1);
    }
}

static void leave(unsigned i)
{
    own_users[i]--;
    atomic_fetch_sub(&slots[i].users, 1);
}

static void pause_a_while(void)
{
    event_wait_fn wait = atomic_load(&wait_fn);
    if (wait != NULL)
        wait();
}

static void wait_until_left(unsigned i)
{
    while (atomic_load(&slots[i].users) > own_users[i])
        pause_a_while();
}

void event_set_sink(event_sink_fn sink, void *context)
{
    while (atomic_flag_test_and_set(&setting))
        pause_a_while();
    unsigned old = atomic_load(&current), next = 1 - old;
    wait_until_left(next); /* only a reporter that is about to notice that it came too late */
    slots[next].sink = sink;
    slots[next].context = context;
    atomic_store(&current, next);
    wait_until_left(old);
    atomic_flag_clear(&setting);
}

/* ---- gates: a short list, looked through under a flag that nobody holds for long ---- */

static struct event_gate *gates;
static atomic_flag gates_busy = ATOMIC_FLAG_INIT;

static void take_gates(void)
{
    while (atomic_flag_test_and_set(&gates_busy))
        pause_a_while();
}

void event_gate_add(struct event_gate *gate)
{
    take_gates();
    gate->next = gates;
    gates = gate;
    atomic_flag_clear(&gates_busy);
}

void event_gate_remove(struct event_gate *gate)
{
    take_gates();
    for (struct event_gate **at = &gates; *at != NULL; at = &(*at)->next)
        if (*at == gate) {
            *at = gate->next;
            break;
        }
    atomic_flag_clear(&gates_busy);
}

/* Of two instances with one name either's gate lets an entry by. */
static bool passes(const struct event *event)
{
    bool named = false, open = false;
    take_gates();
    for (const struct event_gate *g = gates; g != NULL; g = g->next) {
        if (strcmp(g->instance, event->instance) != 0)
            continue;
        named = true;
        open = open || (!g->shut && !(g->errors_and_warnings_only && event->severity == EVENT_INFO));
    }
    atomic_flag_clear(&gates_busy);
    return open || !named;
}

void event_on_wait(event_wait_fn wait) { atomic_store(&wait_fn, wait); }

void event_after_fork(void)
{
    for (unsigned i = 0; i < 2; i++)
        atomic_store(&slots[i].users, own_users[i]);
    atomic_flag_clear(&setting);
    atomic_flag_clear(&gates_busy);
}

void event_report(int id, enum event_severity severity, const char *instance, const char *text, ...)
{
    const char *params[EVENT_PARAMS_MAX];
    int count = 0;
    va_list args;

    va_start(args, text);
    for (const char *p = va_arg(args, const char *); p != NULL; p = va_arg(args, const char *))
        if (count < EVENT_PARAMS_MAX)
            params[count++] = p;
    va_end(args);
    struct event event = {id, severity, instance != NULL ? instance : "", count, params, text};
    if (!passes(&event))
        return;
    unsigned i = enter_current();
    event_sink_fn sink = slots[i].sink;
    if (sink != NULL)
        sink(slots[i].context, &event);
    leave(i);
}
