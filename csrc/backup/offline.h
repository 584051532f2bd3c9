/* backup, inside the room: what snapshots and surrogate backups share: others copy the bytes, here is only the book-keeping. */
#ifndef BACKUP_OFFLINE_H
#define BACKUP_OFFLINE_H

#include "backup/backup_private.h"

enum offline_type { OFFLINE_SNAPSHOT = 1, OFFLINE_SURROGATE = 3 }; /* as Backup2 records name it; headers say 1 for both */

struct offline {
    struct backup *b;
    struct stamp stamp;
    struct dbfile *db[DBID_MAX]; /* attached, logged; pinned */
    int db_count;
};
/* Claims the instance and pins the databases; an increment needs a full one of this kind in each: JET_errMissingFullBackup. */
MUST_CHECK err_t offline__enter(struct offline *o, struct backup *b, enum offline_type type, enum backup_scope scope);
void offline__leave(struct offline *o);
MUST_CHECK err_t offline__record(const struct offline *o, enum backup_phase phase, const struct bkinfo *range);
/* The headers' marks (a failure is a warning, event 219), or Abort; then Stop. */
void offline__settle(struct offline *o, bool stamp);

#endif
