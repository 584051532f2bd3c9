/* Redo: every record in order, dispatched by its type to the room that wrote it. */
#include "recovery/recovery_private.h"

#define DBTIME_REAL_MAX (UINT64_MAX - 4) /* above: nil, invalid, shrunk, reverted */

err_t recovery__bad_record(struct recovery *r, struct slice record)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("%s: record %s at %08X,%04X,%04X cannot be redone", log_reader_path(r->reader),
               record.n == 0 ? "(empty)" : log_type_name(record.p[0]), LGPOS_GEN(r->view.at), LGPOS_SEC(r->view.at),
               LGPOS_BYTE(r->view.at));
    return err;
}

/* ---- sessions ---- */

err_t recovery__session(struct recovery *r, uint16_t procid, struct redo_session **out)
{
    *out = r->session[procid];
    if (*out != NULL)
        return JET_errSuccess;
    struct redo_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RAISE(JET_errOutOfMemory);
    trx_init(&s->trx, r->config->versions, r->config->log, procid, false, &r->inner);
    r->session[procid] = *out = s;
    return JET_errSuccess;
}

/* Init, Term, quit: what was open was undone in the log already, or never logged. */
void recovery__end_sessions(struct recovery *r)
{
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        struct redo_session *s = r->session[i];
        if (s == NULL)
            continue;
        recovery__macros_drop(s);
        trx_term(&s->trx);
        free(s);
        r->session[i] = NULL;
    }
}

void recovery__fill_redo(struct recovery *r, struct redo_session *s, struct redo_database *d, struct redo *out)
{
    *out = (struct redo){
        .db = d->db,
        .trx = s == NULL ? NULL : &s->trx,
        .at = r->view.at,
        .end = r->view.end,
        .in_range = r->generation <= d->range_max,
        .applied = &r->result->applied,
        .skipped = &r->result->skipped,
    };
}

/* ---- counters: of every record, also of those that are skipped ---- */

static void note_dbtime(struct redo_database *d, dbtime_t dbtime, objid_t objid)
{
    if (dbtime <= DBTIME_REAL_MAX && dbtime > atomic_load(&d->db->dbtime))
        atomic_store(&d->db->dbtime, dbtime);
    if (objid <= INT32_MAX && objid > atomic_load(&d->db->objid_last))
        atomic_store(&d->db->objid_last, objid);
}

/* Both counters wrap around: the later of two is the one that lies ahead by less than half the circle. */
static void note_rceid(struct recovery *r, uint32_t rceid)
{
    if (rceid != 0 && (r->rceid_last == 0 || (int32_t)(rceid - r->rceid_last) > 0))
        r->rceid_last = rceid;
}

static void note_trx(struct recovery *r, uint32_t number)
{
    if (!r->counters_known || (int32_t)(number - r->begin_last) > 0)
        r->begin_last = number;
    r->counters_known = true;
}

static objid_t objid_of(struct slice record)
{
    switch (record.p[0]) {
    case LOG_Split2:
        return record.n >= 68 ? load_u32(record.p + 64) : 0;
    case LOG_Merge2:
    case LOG_PageMove:
        return record.n >= 80 ? load_u32(record.p + (record.p[0] == LOG_Merge2 ? 72 : 76)) : 0;
    case LOG_CreateMultipleExtentFDP:
    case LOG_CreateSingleExtentFDP:
    case LOG_ConvertFDP2:
        return record.n >= 36 ? load_u32(record.p + 32) : 0;
    default:
        return record.n >= LOG_NODE_HEAD ? load_u32(record.p + 40) : 0;
    }
}

static bool has_rceid(unsigned type)
{
    return type != LOG_Split2 && type != LOG_Merge2 && type != LOG_PageMove;
}

/* ---- records that change pages ---- */

/* Whether the record is to be redone; if so, in which session and database. */
static err_t admit(struct recovery *r, struct slice record, uint16_t procid, dbid_t dbid, dbtime_t dbtime, objid_t objid,
                   struct redo_session **s, struct redo_database **d, bool *yes)
{
    *yes = false;
    *s = NULL;
    *d = recovery__database(r, dbid);
    if (*d == NULL) {
        r->result->skipped++;
        return JET_errSuccess;
    }
    note_dbtime(*d, dbtime, objid);
    TRY_RETURN(recovery__session(r, procid, s));
    if (!(*s)->seen) {
        r->result->records_filtered++;
        return JET_errSuccess;
    }
    bool taken;
    TRY_RETURN(recovery__macro_take(*s, dbid, dbtime, record, &taken));
    *yes = !taken;
    return JET_errSuccess;
}

typedef err_t (*redo_fn)(struct redo *redo, struct slice record);

static err_t redo_page_record(struct recovery *r, struct slice record, redo_fn fn)
{
    struct redo_session *s;
    struct redo_database *d;
    struct redo redo;
    bool yes;
    if (record.n < LOG_PAGE_HEAD)
        return recovery__bad_record(r, record);
    TRY_RETURN(admit(r, record, load_u16(record.p + 1), record.p[3], load_u64(record.p + 8), objid_of(record), &s, &d, &yes));
    if (!yes)
        return JET_errSuccess;
    recovery__fill_redo(r, s, d, &redo);
    return fn(&redo, record);
}

static err_t redo_btree(struct recovery *r, struct slice record)
{
    if (record.n >= LOG_NODE_HEAD && has_rceid(record.p[0]))
        note_rceid(r, load_u32(record.p + 32));
    if (record.p[0] == LOG_FlagInsertAndReplaceData && record.n >= 52)
        note_rceid(r, load_u32(record.p + 48));
    return redo_page_record(r, record, btree_redo);
}

static err_t redo_space(struct recovery *r, struct slice record)
{
    return redo_page_record(r, record, space_redo);
}

static err_t redo_new_page(struct recovery *r, struct slice record)
{
    struct redo_session *s;
    struct redo_database *d;
    struct redo redo;
    bool yes;
    if (record.n < 20)
        return recovery__bad_record(r, record);
    TRY_RETURN(admit(r, record, load_u16(record.p + 1), record.p[3], load_u64(record.p + 12), load_u32(record.p + 8), &s, &d,
                     &yes));
    if (!yes)
        return JET_errSuccess;
    recovery__fill_redo(r, s, d, &redo);
    return btree_redo(&redo, record);
}

/* The first record of a macro, of no effect alone. */
static err_t redo_root_move(struct recovery *r, struct slice record)
{
    struct redo_session *s;
    struct redo_database *d;
    bool yes;
    if (record.n < 16)
        return recovery__bad_record(r, record);
    TRY_RETURN(admit(r, record, load_u16(record.p + 14), record.p[9], load_u64(record.p + 1), load_u32(record.p + 10), &s, &d,
                     &yes));
    return yes ? recovery__bad_record(r, record) : JET_errSuccess;
}

/* Databases of update 110 and later note their last change of size: an older record has been outlived. */
static err_t redo_extend(struct recovery *r, struct slice record)
{
    enum { AT_LAST_RESIZE = 656 };
    struct redo redo;
    if (record.n < 10)
        return recovery__bad_record(r, record);
    struct redo_database *d = recovery__database(r, record.p[5]);
    struct db_header h;
    if (d == NULL)
        return JET_errSuccess;
    dbfile_copy_header(d->db, &h);
    if (load_u64(h.raw + AT_LAST_RESIZE) > r->view.at)
        return JET_errSuccess;
    recovery__fill_redo(r, NULL, d, &redo);
    return space_redo(&redo, record);
}

static err_t redo_patch_request(struct recovery *r, struct slice record)
{
    struct redo_database *d = record.n < 14 ? NULL : recovery__database(r, record.p[1]);
    if (d != NULL)
        note_dbtime(d, load_u64(record.p + 6), 0);
    return JET_errSuccess;
}

/* ---- transactions, macros, the rest ---- */

static err_t redo_transaction(struct recovery *r, struct slice record)
{
    struct redo_session *s;
    if (record.n < 3)
        return recovery__bad_record(r, record);
    unsigned type = record.p[0];
    TRY_RETURN(recovery__session(r, load_u16(record.p + 1), &s));
    bool begins = type == LOG_Begin0 || type == LOG_BeginDT || type == LOG_Refresh;
    if (!begins && !s->seen)
        return JET_errSuccess;
    if ((begins && type != LOG_Refresh && record.n >= 8) || (type == LOG_Commit0 && record.n >= 8))
        note_trx(r, load_u32(record.p + 4));
    TRY_RETURN(txn_redo(&s->trx, r->view.at, record));
    s->seen |= begins;
    return JET_errSuccess;
}

static err_t redo_macro_begin(struct recovery *r, struct slice record)
{
    return recovery__macro_begin(r, record);
}
static err_t redo_macro_commit(struct recovery *r, struct slice record)
{
    return recovery__macro_commit(r, record);
}
static err_t redo_macro_abort(struct recovery *r, struct slice record)
{
    return recovery__macro_abort(r, record);
}
static err_t redo_instance(struct recovery *r, struct slice record)
{
    return recovery__redo_instance(r, record);
}
static err_t redo_database(struct recovery *r, struct slice record)
{
    return recovery__redo_database(r, record);
}
static err_t redo_backup(struct recovery *r, struct slice record)
{
    return recovery__redo_backup(r, record);
}
static err_t redo_ignore(struct recovery *r, struct slice record)
{
    (void)r;
    (void)record;
    return JET_errSuccess;
}
static err_t redo_too_old(struct recovery *r, struct slice record)
{
    err_t err = RAISE(JET_errBadLogVersion);
    err_detail("%s: %s records are of engines before Windows 7", log_reader_path(r->reader), log_type_name(record.p[0]));
    return err;
}

static err_t (*const handlers[256])(struct recovery *r, struct slice record) = {
#define REDO(type, handler) [LOG_##type] = redo_##handler,
#include "recovery/redo_table.def"
#undef REDO
};

/* ---- the loop ---- */

static err_t dispatch(struct recovery *r)
{
    struct slice record = r->view.bytes;
    if (record.n == 0 || handlers[record.p[0]] == NULL)
        return recovery__bad_record(r, record);
    unsigned type = record.p[0];
    r->result->records++;
    r->result->bytes += record.n;
    if (type != LOG_NOP2 && type != LOG_NOP)
        r->last = LAST_OTHER; /* the handlers of marks and quits say otherwise */
    return handlers[type](r, record);
}

static void report_replayed(struct recovery *r)
{
    event_report(301, EVENT_INFO, r->config->instance_name, "a log file was replayed", r->path, NULL);
}

/* A fault behind all required generations costs only what was committed there; in a restore it has its own name. */
static err_t name_fault(struct recovery *r, err_t err)
{
    struct err_origin why = *err_last();
    uint32_t required = 0;
    if (err != JET_errLogFileCorrupt)
        return err;
    for (int i = 1; i <= DBID_MAX; i++)
        if (r->database[i].state == REDO_OPEN && r->database[i].range_max > required)
            required = r->database[i].range_max;
    if (recovery__is_restore(r))
        err = RAISE(JET_errLogCorruptDuringHardRecovery);
    else if (r->generation > required)
        err = RAISE(JET_errCommittedLogFileCorrupt);
    else
        return err;
    err_detail("%s", why.detail);
    return err;
}

static err_t go_on_in(struct recovery *r, uint32_t generation)
{
    report_replayed(r);
    r->generation = generation;
    return recovery__enter_generation(r);
}

err_t recovery__replay(struct recovery *r)
{
    bool end = false;
    for (;;) {
        err_t err = log_reader_next(r->reader, &r->view, &end);
        if (err == JET_errMissingLogFile)
            return recovery__missing(r, err, r->generation + 1, r->result->gen_last);
        if (err < 0)
            return name_fault(r, err);
        r->cut = !end && recovery__beyond_stop(r, r->view.at);
        if (end || r->cut)
            break;
        if (LGPOS_GEN(r->view.end) != r->generation)
            TRY_RETURN(go_on_in(r, LGPOS_GEN(r->view.end)));
        TRY_RETURN(dispatch(r));
        r->redo_end = r->view.end;
        TRY_RETURN(recovery__progress(r, JET_sntProgress));
    }
    /* A file that was begun and has no record yet may be required by headers written since: not by ours any more (checkpoint.c), but by
     * those of earlier versions and of ESE, which moves them when it begins a file. */
    uint32_t last = log_reader_header(r->reader)->generation;
    if (end && last > r->generation)
        TRY_RETURN(go_on_in(r, last));
    report_replayed(r);
    return JET_errSuccess;
}
