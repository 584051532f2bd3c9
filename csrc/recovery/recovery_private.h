/* recovery, inside: what one run knows while it redoes. */
#ifndef RECOVERY_RECOVERY_PRIVATE_H
#define RECOVERY_RECOVERY_PRIVATE_H

#include "recovery/recovery.h"
#include "recovery/recovery_format.h"

#define PROCID_RECOVERY 0xFFF0u       /* recovery's own work after undo: clean-up of the catalog */
#define PROCID_RECOVERY_INNER 0xFFF1u /* and the space and structure work beneath it */

/* ---- a database that the log speaks of ---- */
enum redo_state { REDO_ABSENT, REDO_OPEN, REDO_DEFERRED };
enum defer_why {
    DEFER_MISSING,      /* no file, or one that was not finished */
    DEFER_CONSISTENT,   /* the file was closed later than this point: nothing of it is needed up to there */
    DEFER_ATTACH_LATER, /* a later attach record will match */
    DEFER_FOREIGN,      /* another database lies there, or the file went to another log stream */
    DEFER_UNMAPPED,     /* a restore that names its databases, and not this one */
};
struct redo_database {
    enum redo_state state;
    enum defer_why why;
    struct dbfile *db;
    char path[1040];         /* where it lies now */
    struct signature sign_db;
    JET_GRBIT map_grbit;     /* of the map's entry */
    lgpos_t lgpos_attach;    /* records up to here belong to an earlier life */
    lgpos_t header_position; /* deferred: the lgposConsistent or lgposAttach that the log must reach */
    lgpos_t detached_at;     /* absent: where its DetachDB was */
    uint32_t range_max;      /* genMaxRequired when it was attached: pages may be newer than the log up to it */
    uint32_t committed_max;  /* genMaxCommitted then, and the time of that generation */
    struct logtime committed_time;
    bool space_open;
};

/* ---- a session of the log ---- */
struct redo_macro { /* between MacroBegin and MacroCommit */
    struct redo_macro *next;
    dbtime_t dbtime;
    dbid_t dbid; /* 0: no record yet */
    struct buffer bytes;
    uint32_t *size; /* of each record in bytes */
    int count, room;
};
struct redo_session {
    struct trx trx;
    bool seen; /* a Begin0 since redo began; without, its effects are in the files already */
    struct redo_macro *macros;
};

enum last_record { LAST_OTHER, LAST_MARK, LAST_QUIT };

struct recovery {
    const struct recovery_config *config;
    struct recovery_result *result;

    /* scan */
    struct checkpoint checkpoint;
    bool have_checkpoint;
    struct log_reader *reader;
    lgpos_t start;
    struct log_attach_info list[DBID_MAX];
    int list_count;
    struct signature sign_log;
    bool stopped; /* redo ends at config->stop */

    /* redo */
    struct log_view view;
    lgpos_t redo_end;    /* behind the last record redone */
    bool cut;            /* the log has more records behind it */
    uint32_t generation; /* being redone, its time and file */
    struct logtime generation_time;
    char path[OS_PATH_MAX];
    struct redo_database database[DBID_MAX + 1]; /* by dbid */
    struct redo_session *session[UINT16_MAX + 1];
    enum last_record last;
    lgpos_t mark_at; /* last ShutDownMark, 0 = none */
    lgpos_t quit_at; /* last quit record */
    bool counters_known;
    uint32_t rceid_last, begin_last;
    bool begun; /* progress was told of */
    uint32_t percent;
    struct btree_stats stats_before;
    bool lost_committed;

    /* undo */
    struct trx inner;
    bool undoing;
    struct txn_databases databases;
    struct catalog_trees trees[DBID_MAX + 1]; /* by dbid: those of the catalog after undo */
};

static inline bool recovery__is_restore(const struct recovery *r)
{
    return r->config->set_dir != NULL;
}

/* {g, 0, 0} means the end of g. */
static inline bool recovery__beyond_stop(const struct recovery *r, lgpos_t at)
{
    lgpos_t stop = r->config->stop;
    bool whole = LGPOS_SEC(stop) == 0 && LGPOS_BYTE(stop) == 0;
    return stop != LGPOS_MIN && (whole ? LGPOS_GEN(at) > LGPOS_GEN(stop) : at > stop);
}

/* scan.c. LAST_QUIT in r->last: the log ends in good order right where the checkpoint stands, nothing to redo. */
MUST_CHECK err_t recovery__scan(struct recovery *r, bool *any);
/* Tells a missing generation, and the highest that is there, as event and error. */
MUST_CHECK err_t recovery__missing(struct recovery *r, err_t code, uint32_t generation, uint32_t highest);
MUST_CHECK err_t recovery__start_new(struct recovery *r);

/* attach.c */
MUST_CHECK err_t recovery__attach_list(struct recovery *r);
MUST_CHECK err_t recovery__redo_database(struct recovery *r, struct slice record);

/* databases.c */
/* The database that a record at r->view.at belongs to; NULL when it is not open or the record precedes its attach. */
struct redo_database *recovery__database(struct recovery *r, dbid_t dbid);
/* The reader has come to another generation: its file is synced and all headers cover it before its records are applied. */
MUST_CHECK err_t recovery__enter_generation(struct recovery *r);
/* Pages to disk, header clean as of `at`, file closed. */
MUST_CHECK err_t recovery__detach(struct recovery *r, struct redo_database *d, lgpos_t at);
MUST_CHECK err_t recovery__clean_header(struct recovery *r, struct redo_database *d, lgpos_t at);
MUST_CHECK err_t recovery__cover(struct recovery *r, struct redo_database *d);
void recovery__close(struct redo_database *d);
MUST_CHECK err_t recovery__redo_backup(struct recovery *r, struct slice record);
MUST_CHECK err_t recovery__check_ranges(struct recovery *r);
void recovery__set_attached(struct recovery *r);

/* replay.c */
MUST_CHECK err_t recovery__replay(struct recovery *r);
MUST_CHECK err_t recovery__session(struct recovery *r, uint16_t procid, struct redo_session **out);
void recovery__fill_redo(struct recovery *r, struct redo_session *s, struct redo_database *d, struct redo *out);
void recovery__end_sessions(struct recovery *r);
err_t recovery__bad_record(struct recovery *r, struct slice record);

/* macros.c */
MUST_CHECK err_t recovery__macro_begin(struct recovery *r, struct slice record);
MUST_CHECK err_t recovery__macro_commit(struct recovery *r, struct slice record);
MUST_CHECK err_t recovery__macro_abort(struct recovery *r, struct slice record);
/* *taken: the record belongs to an open macro and is kept for its commit. */
MUST_CHECK err_t recovery__macro_take(struct redo_session *s, dbid_t dbid, dbtime_t dbtime, struct slice record, bool *taken);
void recovery__macros_drop(struct redo_session *s);

/* undo.c: the log is open for appending; *undo_at = where recovery's own records begin. */
MUST_CHECK err_t recovery__undo(struct recovery *r, lgpos_t *undo_at);

/* end.c */
MUST_CHECK err_t recovery__redo_instance(struct recovery *r, struct slice record);
MUST_CHECK err_t recovery__open_log(struct recovery *r);
MUST_CHECK err_t recovery__finish(struct recovery *r, lgpos_t undo_at);
/* A database whose creation the log does not finish: nobody was told that it is there. */
MUST_CHECK err_t recovery__drop_unfinished(struct recovery *r);

/* progress.c */
MUST_CHECK err_t recovery__progress(struct recovery *r, JET_SNT snt);

#endif
