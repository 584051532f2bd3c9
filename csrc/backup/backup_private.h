/* backup, inside the room. */
#ifndef BACKUP_BACKUP_PRIVATE_H
#define BACKUP_BACKUP_PRIVATE_H

#include "backup/backup.h"

#define CHUNK_BYTES (1u << 20)
#define RECORD_SIZE 35u

enum backup_phase { PHASE_BEGIN = 1, PHASE_PREPARE_LOGS = 2, PHASE_TRUNCATE = 3, PHASE_UPDATE = 4, PHASE_ABORT = 5, PHASE_STOP = 6 };
enum backup_scope { SCOPE_FULL = 1, SCOPE_INCREMENTAL = 2 };

struct backup {
    struct backup_host host;
    struct os_lock lock; /* RANK_BACKUP: running */
    struct os_cond ended;
    bool running;
    _Atomic err_t stop; /* the running one ends with it */
};

struct created { /* files that this run made, for their removal */
    char *path;
    struct created *next;
};

struct run { /* one backup */
    struct backup *b;
    const struct backup_options *o;
    struct backup_result *result;
    bool full, atomic;
    char root[OS_PATH_MAX];   /* what the caller named */
    char target[OS_PATH_MAX]; /* where files go: root, root/temp, root/old */
    bool made_temp, promoted;
    struct created *created;
    struct dbfile *dbs[DBID_MAX];
    int db_count;
    struct bkinfo mark;                /* of the begin: mark and time */
    lgpos_t roll_at;                   /* incremental: position of the roll */
    uint32_t copy_mic, copy_mac;       /* logs of the set: [mic, mac) */
    uint32_t delete_mic, delete_mac;
    bool told_begin;
    uint32_t done, total;              /* progress: KiB */
    uint32_t pages_done, pages_total, paused; /* for the pause hook */
};

/* ---- run ---- */
err_t run__stopped(const struct run *run); /* 0, or why the run must end */
MUST_CHECK err_t run__progress(struct run *run, uint64_t bytes);
MUST_CHECK err_t run__note_created(struct run *run, const char *path);
void run__event_file(const struct run *run, int id, enum event_severity severity, const char *text, err_t err, const char *path);

/* ---- directory.c ---- */
MUST_CHECK err_t directory__check(struct run *run);    /* before anything happens */
MUST_CHECK err_t directory__prepare(struct run *run);
MUST_CHECK err_t directory__promote(struct run *run);  /* atomic full: temp becomes new */
void directory__clean_up(struct run *run, bool failed);

/* ---- pages.c ---- */
MUST_CHECK err_t pages__copy_database(struct run *run, struct dbfile *db);
uint32_t pages__kib(const struct dbfile *db);

/* ---- logs.c ---- */
MUST_CHECK err_t logs__range(struct run *run);
MUST_CHECK err_t logs__copy(struct run *run);
MUST_CHECK err_t logs__truncate(struct run *run);
MUST_CHECK err_t logs__truncate_only(struct run *run);

/* ---- stamp.c ---- */
MUST_CHECK err_t stamp__record(struct run *run, enum backup_phase phase, dbid_t dbid, const struct bkinfo *details, lgpos_t *at);
void stamp__headers(struct run *run); /* a failure is a warning: event 219 */

/* ---- trailer.c: the last page of a copied database ---- */
struct trailer {
    struct bkinfo info;
    struct signature sign_db, sign_log;
};
void trailer__store(const struct trailer *t, uint8_t *page, uint32_t page_size);
/* JET_errBadPatchPage when the page is no intact trailer. */
MUST_CHECK err_t trailer__load(const uint8_t *page, uint32_t page_size, struct trailer *out);

/* ---- copy.c: a file image written while the next chunk is read ---- */
struct copier;
MUST_CHECK err_t copier__create(const char *path, bool exclusive, struct copier **out);
/* A buffer of CHUNK_BYTES to fill; then hand it over with where it goes. */
MUST_CHECK err_t copier__buffer(struct copier *c, uint8_t **out);
MUST_CHECK err_t copier__write(struct copier *c, uint64_t offset, uint32_t n);
/* Waits, syncs and closes; frees c in any case. */
MUST_CHECK err_t copier__finish(struct copier *c);
void copier__abandon(struct copier *c);

#endif
