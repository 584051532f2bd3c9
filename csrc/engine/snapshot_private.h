/* engine, snapshots: a session of JetOSSnapshotPrepare, and how a call gets hold of it. */
#ifndef ENGINE_SNAPSHOT_PRIVATE_H
#define ENGINE_SNAPSHOT_PRIVATE_H

#include "engine/engine_private.h"

enum ossnap_state {
    OSSNAP_PREPARED = 1,
    OSSNAP_FROZEN = 2,
    OSSNAP_TIMED_OUT = 4, /* thawed by the clock, or by the end of one of its instances: the copy is worth nothing */
    OSSNAP_THAWED = 8,
};

struct part { /* an instance that takes part */
    struct instance *inst;
    struct snapshot *snap; /* its databases, pinned; it is the instance's one backup */
    bool named;            /* by JetOSSnapshotPrepareInstance */
    bool shut;             /* its gate */
    bool truncated;
};

struct ossnap { /* guarded by the room's lock, but for the parts: of who has `taken` it */
    struct list link;
    uint64_t id;
    JET_GRBIT grbit;
    enum ossnap_state state;
    bool taken;
    uint64_t by; /* thread */
    struct part *part;
    int count, room;
    struct os_thread *timer;
    uint64_t deadline; /* ns */
    uint32_t timeout_ms;
};

/* Has the session for itself, without a lock, until ossnap__give or ossnap__drop. JET_errOSSnapshotInvalidSnapId; when its state is not
 * one of `states`: JET_errOSSnapshotInvalidSequence, or ...TimeOut. */
MUST_CHECK err_t ossnap__take(uint64_t id, unsigned states, struct ossnap **out);
void ossnap__give(struct ossnap *s, enum ossnap_state state);
void ossnap__drop(struct ossnap *s); /* its id dies */
MUST_CHECK err_t ossnap__add_part(struct ossnap *s, struct instance *inst, bool named);
void ossnap__remove_part(struct ossnap *s, int i, bool stamp);
void ossnap__thaw_parts(struct ossnap *s);
/* The clock of a frozen session; stopping waits for its thread. */
MUST_CHECK err_t ossnap__start_timer(struct ossnap *s);
void ossnap__stop_timer(struct ossnap *s);
/* event with the session's id as its first parameter */
void ossnap__event(const struct ossnap *s, int id, enum event_severity severity, const char *text, const char *more);

#endif
