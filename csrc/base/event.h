/* Event entries (ESE's event log): ids, severities and parameters go to one process-wide sink
 * (socket trace_sink: base <- api). No lock is held across the sink. */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <stdbool.h>

enum event_severity { EVENT_INFO = 0, EVENT_WARNING = 1, EVENT_ERROR = 2 };

struct event {
    int id; /* ESE's number, facts: backup-semantics.md section 14 */
    enum event_severity severity;
    const char *instance; /* display name, "" when none */
    int param_count;
    const char *const *params; /* UTF-8, in ESE's order */
    const char *text;          /* one line for people, composed by us */
};

typedef void (*event_sink_fn)(void *context, const struct event *event);

#define EVENT_PARAMS_MAX 8

/* What of an instance's entries reaches the sink (JET_paramNoInformationEvent, JET_paramEventLoggingLevel). From add to remove
 * the owner keeps the struct and the name. Entries of a name without a gate all pass. */
struct event_gate {
    const char *instance;
    bool shut, errors_and_warnings_only;
    struct event_gate *next; /* event.c's */
};
void event_gate_add(struct event_gate *gate);
void event_gate_remove(struct event_gate *gate); /* one that was never added is fine */

/* Replaces the sink; NULL drops events. Returns when no call of the old sink is running in another thread: the
 * caller holds nothing that a sink may wait for (from Python: the GIL is released). */
void event_set_sink(event_sink_fn sink, void *context);
/* base cannot sleep, os/ can: what event_set_sink does between two looks. Set by os/ when it is linked. */
typedef void (*event_wait_fn)(void);
void event_on_wait(event_wait_fn wait);
/* In a forked child, where the other threads' calls will never end. Called by os/. */
void event_after_fork(void);
/* Parameters end with NULL, those past EVENT_PARAMS_MAX are dropped:
 * event_report(220, EVENT_INFO, name, "copy begins", path, size, NULL). */
void event_report(int id, enum event_severity severity, const char *instance, const char *text, ...)
    __attribute__((sentinel));

#endif
