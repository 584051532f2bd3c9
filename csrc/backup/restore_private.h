/* restore, inside the room: one restore from plan to end. */
#ifndef BACKUP_RESTORE_PRIVATE_H
#define BACKUP_RESTORE_PRIVATE_H

#include "backup/backup_private.h"

struct plan { /* one database */
    const char *from;        /* in the set; in place: where it lies already */
    const char *original;    /* the name that the logs give it; "" = they do not */
    char to[OS_PATH_MAX];
    struct db_header header;
    struct trailer trailer;
    bool moved;              /* in place: the trailer is in the header since an earlier try */
    uint64_t size;           /* of the file in the set */
};

struct job {
    const struct restore_options *o;
    struct restore_result *result;
    struct plan *plans;
    int count;
    uint32_t gen_high;       /* last generation of the set that is read: its own, or the stop's */
    uint64_t done, total;    /* bytes: databases, then logs */
    uint64_t log_bytes;
};

/* ---- restore_plan.c: everything about the set is checked before anything is touched ---- */
MUST_CHECK err_t plan__all(struct job *job, const struct recovery_config *recovery);
err_t plan__fail_file(err_t code, int event, const char *path, const char *text);
bool plan__same_place(const char *a, const char *b);

/* ---- restore_map.c: where each database goes ---- */
MUST_CHECK err_t map__target(const struct job *job, int i, char to[OS_PATH_MAX]);
/* Every entry of a map stands for a database of the set, no two go to one place. */
MUST_CHECK err_t map__check(const struct job *job);

/* ---- restore_live.c: logs that could follow the set ---- */
MUST_CHECK err_t live__check(const struct job *job);
MUST_CHECK err_t live__bring(const struct job *job);

/* ---- restore_copy.c ---- */
MUST_CHECK err_t restore__tell(const struct job *job, JET_SNT snt);
/* A database without its trailer, each page verified, header last; or the trailer off where it lies. */
MUST_CHECK err_t restore__put_database(struct job *job, struct plan *plan);
MUST_CHECK err_t restore__copy_file(const char *from, const char *to);

#endif
