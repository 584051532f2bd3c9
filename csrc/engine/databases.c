#include <stdio.h>

#include "engine/engine_private.h"

/* Attaching, creating, opening and detaching databases. One attach, detach or create at a time (attach_lock). */

#define PAGES_AT_CREATE 254u
#define UPDATE_MAJOR_OURS 20u
#define DETACH_PATIENCE_MS 5000u

struct dbfile *databases__find(void *context, dbid_t dbid)
{
    struct instance *inst = context;
    if (dbid < 1 || dbid > DBID_MAX)
        return NULL;
    return atomic_load(&inst->by_dbid[dbid - 1]);
}

int instance_databases(struct instance *inst, struct dbfile **list)
{
    int n = 0;
    os_lock_take(&inst->lock);
    for (int i = 0; i < DBID_MAX; i++)
        if (inst->dbs[i].db != NULL && !inst->dbs[i].busy)
            list[n++] = inst->dbs[i].db;
    os_lock_release(&inst->lock);
    return n;
}

static struct attached *slot_of_path(struct instance *inst, const char *full)
{
    for (int i = 0; i < DBID_MAX; i++)
        if (inst->dbs[i].db != NULL && strcmp(inst->dbs[i].db->path, full) == 0)
            return &inst->dbs[i];
    return NULL;
}

static struct attached *find_path(struct instance *inst, const char *full)
{
    os_lock_take(&inst->lock);
    struct attached *a = slot_of_path(inst, full);
    os_lock_release(&inst->lock);
    return a;
}

/* Also without attach_lock: not one that is just coming or going. */
static bool is_attached(struct instance *inst, const char *full)
{
    os_lock_take(&inst->lock);
    struct attached *a = slot_of_path(inst, full);
    bool yes = a != NULL && !a->busy;
    os_lock_release(&inst->lock);
    return yes;
}

/* What a create or attach met is about that file; only a log that failed stops the instance. */
static err_t judge_new(struct instance *inst, err_t err)
{
    if (err < 0 && log_poisoned(inst->log) < 0)
        instance_poison(inst, err);
    return err;
}

/* Also a slot whose versions of an earlier database are not swept yet is not free: bookmarks name the dbid. */
static err_t free_slot(struct instance *inst, dbid_t *dbid)
{
    for (int i = 0; i < DBID_MAX; i++)
        if (inst->dbs[i].db == NULL && versions_count(inst->versions, (dbid_t)(i + 1)) == 0) {
            *dbid = (dbid_t)(i + 1);
            return JET_errSuccess;
        }
    err_t err = RAISE(JET_errTooManyAttachedDatabases);
    err_detail("an instance has room for %d databases; detach one first", DBID_MAX);
    return err;
}

static void fill_entry(struct log_attached *entry, struct dbfile *db)
{
    os_lock_take(&db->header_lock);
    *entry = (struct log_attached){
        .dbid = db->dbid,
        .dbtime = &db->dbtime,
        .objid_last = &db->objid_last,
        .lgpos_attach = db->header.lgpos_attach,
        .lgpos_consistent = db->header.lgpos_consistent,
        .sign_db = db->header.sign_db,
        .path = db->path,
    };
    os_lock_release(&db->header_lock);
}

static int collect_entries(struct instance *inst, const struct dbfile *but, struct log_attached *list)
{
    int n = 0;
    for (int i = 0; i < DBID_MAX; i++)
        if (inst->dbs[i].db != NULL && inst->dbs[i].db != but && inst->dbs[i].db->logged)
            fill_entry(&list[n++], inst->dbs[i].db);
    return n;
}

void databases__publish_list(struct instance *inst)
{
    struct log_attached list[DBID_MAX];
    os_lock_take(&inst->lock);
    int n = collect_entries(inst, NULL, list);
    os_lock_release(&inst->lock);
    log_set_attached(inst->log, list, n);
}

static err_t check_room_in_header(struct instance *inst, struct dbfile *db)
{
    struct log_attached list[DBID_MAX + 1];
    os_lock_take(&inst->lock);
    int n = collect_entries(inst, db, list);
    os_lock_release(&inst->lock);
    fill_entry(&list[n], db);
    return log_check_attached(list, n + 1);
}

static void put_in_slot(struct instance *inst, struct dbfile *db)
{
    os_lock_take(&inst->lock);
    struct attached *a = &inst->dbs[db->dbid - 1];
    db->extend_pages = (uint32_t)params_number(inst->params, JET_paramDbExtensionSize);
    *a = (struct attached){.db = db, .busy = true};
    atomic_store(&inst->by_dbid[db->dbid - 1], db);
    os_lock_release(&inst->lock);
}

static void ready_slot(struct instance *inst, dbid_t dbid)
{
    os_lock_take(&inst->lock);
    inst->dbs[dbid - 1].busy = false;
    os_lock_release(&inst->lock);
}

static void clear_slot(struct instance *inst, dbid_t dbid)
{
    os_lock_take(&inst->lock);
    inst->dbs[dbid - 1] = (struct attached){0};
    atomic_store(&inst->by_dbid[dbid - 1], NULL);
    os_lock_release(&inst->lock);
}

/* ---- the two header changes of a life ---- */

struct dirty_edit {
    struct dbfile *db;
    lgpos_t at;
    struct logtime generation_time;
    struct signature sign_log;
    enum db_state state;
};

static void edit_dirty(struct db_header *h, void *context)
{
    const struct dirty_edit *e = context;
    static const struct logtime never;
    static const struct bkinfo none;
    uint32_t gen = LGPOS_GEN(e->at);
    h->state = e->state;
    h->dbid = e->db->dbid;
    h->lgpos_attach = e->at;
    if (!signature_equal(&h->sign_log, &e->sign_log)) /* backups of another log sequence are no base of increments */
        h->full_prev = h->inc_prev = h->copy_prev = h->diff_prev = none;
    h->sign_log = e->sign_log;
    os_logtime_now(&h->time_attach);
    h->lgpos_detach = LGPOS_MIN;
    h->time_detach = never;
    h->gen_min_required = h->gen_max_required = h->gen_min_consistent = h->gen_max_committed = gen;
    h->time_gen_max_created = e->generation_time;
}

static err_t make_dirty(struct instance *inst, struct dbfile *db, lgpos_t at, enum db_state state)
{
    struct dirty_edit e = {.db = db, .at = at, .sign_log = *log_signature(inst->log), .state = state};
    if (log_is_enabled(inst->log))
        TRY_RETURN(log_generation_time(inst->log, LGPOS_GEN(at), &e.generation_time));
    else
        memset(&e.sign_log, 0, sizeof e.sign_log);
    TRY_RETURN(dbfile_update_header(db, edit_dirty, &e));
    atomic_store(&db->gen_covered, LGPOS_GEN(at));
    return JET_errSuccess;
}

static void edit_clean(struct db_header *h, void *context)
{
    const lgpos_t *at = context;
    static const struct logtime never;
    static const struct bkinfo none;
    h->state = DB_CLEAN;
    h->lgpos_consistent = h->lgpos_detach = *at;
    os_logtime_now(&h->time_consistent);
    h->time_detach = h->time_consistent;
    h->gen_min_required = h->gen_max_required = h->gen_min_consistent = h->gen_max_committed = 0;
    h->time_gen_max_created = never;
    h->full_cur = h->snapshot_cur = none;
}

err_t databases__make_clean(struct dbfile *db, lgpos_t at)
{
    return dbfile_update_header(db, edit_clean, &at);
}

/* ---- attach ---- */

static err_t check_header(const struct dbfile *db)
{
    const struct db_header *h = &db->header;
    if (h->full_cur.gen_low != 0) {
        err_t err = RAISE(JET_errSoftRecoveryOnBackupDatabase);
        err_detail("%s is a copy out of a backup set: restore the set, attach what comes of it", db->path);
        return err;
    }
    if (h->state != DB_CLEAN) {
        err_t err = RAISE(JET_errDatabaseDirtyShutdown);
        err_detail("%s was not shut down cleanly: recover it with its logs (generations %u..%u) first", db->path,
                   h->gen_min_required, h->gen_max_required);
        return err;
    }
    if (!db->read_only && (h->update_major > UPDATE_MAJOR_OURS || h->version != 0x620)) {
        err_t err = RAISE(JET_errInvalidDatabaseVersion);
        err_detail("%s has format 0x%x.%u: files newer than update %u open read-only (JET_bitDbReadOnly)", db->path, h->version,
                   h->update_major, UPDATE_MAJOR_OURS);
        return err;
    }
    return JET_errSuccess;
}

static err_t forget_flush_map(const struct dbfile *db)
{
    char path[OS_PATH_MAX];
    size_t n = strlen(db->path);
    const char *dot = strrchr(db->path, '.');
    if (dot != NULL && strchr(dot, '/') == NULL)
        n = (size_t)(dot - db->path);
    if (n + 5 >= sizeof path)
        return JET_errSuccess;
    memcpy(path, db->path, n);
    memcpy(path + n, ".jfm", 5);
    err_t err = os_unlink(path);
    return err == JET_errFileNotFound ? JET_errSuccess : err;
}

/* A log roll between the record and the list would leave a header without this database behind a record that names it:
 * say it again in the new generation. */
static err_t log_and_list(struct instance *inst, struct dbfile *db, err_t (*append)(struct instance *, struct dbfile *, lgpos_t *),
                          void (*apply)(struct dbfile *, lgpos_t), lgpos_t *at)
{
    do {
        TRY_RETURN(append(inst, db, at));
        apply(db, *at);
        databases__publish_list(inst);
    } while (log_is_enabled(inst->log) && log_current_generation(inst->log) != LGPOS_GEN(*at));
    return log_flush_all(inst->log);
}

static err_t append_attach(struct instance *inst, struct dbfile *db, lgpos_t *at)
{
    return recovery_log_attach_db(inst->log, PROCID_SYSTEM, db->dbid, db->path, &db->header, at);
}

static void apply_attach(struct dbfile *db, lgpos_t at)
{
    db->header.lgpos_attach = at; /* reaches the disk in make_dirty */
    db->logged = true;
}

static err_t attach_writable(struct instance *inst, struct dbfile *db, bool *began)
{
    lgpos_t at = LGPOS_MIN;
    TRY_RETURN(check_room_in_header(inst, db));
    TRY_RETURN(forget_flush_map(db));
    *began = true;
    TRY_RETURN(log_and_list(inst, db, append_attach, apply_attach, &at));
    TRY_RETURN(make_dirty(inst, db, at, DB_DIRTY));
    return checkpointer_attach(inst->checkpointer, db);
}

static err_t append_detach(struct instance *inst, struct dbfile *db, lgpos_t *at)
{
    return recovery_log_detach_db(inst->log, PROCID_SYSTEM, db->dbid, db->path, at);
}

static void apply_detach(struct dbfile *db, lgpos_t at)
{
    (void)at;
    db->logged = false; /* not in the list any more */
}

/* Until the record is in the log the database stays attached, whatever fails: its logs would go unprotected otherwise. */
static err_t shut_file(struct instance *inst, struct dbfile *db, bool *stays)
{
    lgpos_t at = LGPOS_MIN;
    *stays = true;
    TRY_RETURN(dbfile_flush(db));
    if (log_is_enabled(inst->log)) {
        log_use_reserve(inst->log, true);
        err_t err = log_and_list(inst, db, append_detach, apply_detach, &at);
        log_use_reserve(inst->log, false);
        *stays = db->logged;
        TRY_RETURN(err);
    }
    *stays = false;
    return databases__make_clean(db, at);
}

/* began: log and header may say that it is attached. They are told otherwise, or the instance stops and recovery does it. */
static void undo_attach(struct instance *inst, struct dbfile *db, bool began)
{
    struct err_origin origin = *err_last();
    bool stays;
    err_t shut = began ? shut_file(inst, db, &stays) : JET_errSuccess;
    if (shut < 0)
        instance_poison(inst, shut);
    catalog_close(db);
    space_term(db);
    checkpointer_detach(inst->checkpointer, db);
    dbid_t dbid = db->dbid;
    clear_slot(inst, dbid);
    databases__publish_list(inst);
    dbfile_close(db);
    err_restore(&origin);
}

static err_t new_config(struct instance *inst, bool read_only, struct dbfile_config *out)
{
    *out = (struct dbfile_config){.cache = inst->cache,
                                  .log = inst->log,
                                  .versions = inst->versions,
                                  .double_write = inst->double_write,
                                  .read_only = read_only,
                                  .write_failed = &inst->write_failed};
    return free_slot(inst, &out->dbid);
}

static err_t open_file(struct instance *inst, const char *full, bool read_only, struct dbfile **out)
{
    struct dbfile_config config;
    TRY_RETURN(new_config(inst, read_only, &config));
    return dbfile_open(&config, full, out);
}

static err_t attach_locked(struct instance *inst, const char *full, bool read_only)
{
    struct dbfile *db;
    bool began = false;
    TRY_RETURN(open_file(inst, full, read_only, &db));
    err_t err = check_header(db);
    if (err < 0) {
        struct err_origin origin = *err_last();
        dbfile_close(db);
        err_restore(&origin);
        return err;
    }
    put_in_slot(inst, db);
    TRY(space_init(db));
    if (!read_only)
        TRY(attach_writable(inst, db, &began));
    TRY(catalog_open(db, &inst->finder, inst->temp_dir, &inst->system.trx));
    ready_slot(inst, db->dbid);
    event_report(326, EVENT_INFO, inst->display, "a database was attached", full, NULL);
    return JET_errSuccess;
out:
    undo_attach(inst, db, began);
    return err;
}

static err_t refuse_in_backup(struct instance *inst)
{
    if (!backup_is_running(inst->backup))
        return JET_errSuccess;
    err_t err = backup_is_surrogate(inst->backup) ? RAISE(JET_errSurrogateBackupInProgress) : RAISE(JET_errBackupInProgress);
    err_detail("databases cannot come or go while a backup runs; wait for its end");
    return err;
}

static err_t full_path(const char *path, char full[OS_PATH_MAX])
{
    if (path == NULL || path[0] == '\0')
        return RAISE(JET_errInvalidPath);
    TRY_RETURN(os_full_path(path, full, OS_PATH_MAX));
    if (strlen(full) > 259) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%s: a path of a database has at most 259 characters", full);
        return err;
    }
    return JET_errSuccess;
}

static err_t check_name(const struct instance *inst, const char *full)
{
    return backup_check_name(inst->base_name, full);
}

static err_t outside_transaction(struct session *s)
{
    if (s->pair.trx.level == 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errInTransaction);
    err_detail("create, attach and detach databases outside a transaction");
    return err;
}

/* Until header, list and record agree, the checkpoint stays where it is. */
static void lock_attach(struct instance *inst)
{
    os_lock_take(&inst->attach_lock);
    checkpointer_hold(inst->checkpointer);
}

static void unlock_attach(struct instance *inst)
{
    checkpointer_release(inst->checkpointer);
    os_lock_release(&inst->attach_lock);
}

err_t session_attach_database(struct session *s, const char *path, JET_GRBIT grbit)
{
    struct instance *inst = s->inst;
    char full[OS_PATH_MAX];
    TRY_RETURN(outside_transaction(s));
    TRY_RETURN(full_path(path, full));
    if (is_attached(inst, full)) /* a backup that runs does not matter then */
        return JET_wrnDatabaseAttached;
    if ((grbit & JET_bitDbReadOnly) == 0)
        TRY_RETURN(check_name(inst, full));
    lock_attach(inst);
    err_t err = refuse_in_backup(inst);
    if (err >= 0)
        err = is_attached(inst, full) ? JET_wrnDatabaseAttached : attach_locked(inst, full, (grbit & JET_bitDbReadOnly) != 0);
    unlock_attach(inst);
    return judge_new(inst, err);
}

/* ---- create ---- */

static err_t append_create(struct instance *inst, struct dbfile *db, lgpos_t *at)
{
    return recovery_log_create_db(inst->log, PROCID_SYSTEM, db->dbid, db->path, &db->header.sign_db, 0, at);
}

/* What a kill in the middle of a create leaves: no database yet, and in nobody's log. Recovery is over: it will not be finished. */
static bool is_unfinished(const char *full)
{
    static const uint8_t zero[4096];
    uint8_t head[sizeof zero];
    struct os_file *file;
    struct db_header h;
    if (db_header_read_path(full, &h) >= 0)
        return h.state == DB_JUST_CREATED;
    bool blank = os_file_open(full, OS_READ, &file) >= 0;
    if (blank) {
        blank = os_file_read(file, 0, head, sizeof head) >= 0 && memcmp(head, zero, sizeof head) == 0;
        os_file_close(file);
    }
    return blank;
}

static err_t create_file(struct instance *inst, const char *full, bool overwrite, struct dbfile **out)
{
    struct dbfile_config config;
    TRY_RETURN(new_config(inst, false, &config));
    err_t err = dbfile_create(&config, full, PAGES_AT_CREATE, overwrite, out);
    if (err != JET_errDatabaseDuplicate || !is_unfinished(full))
        return err;
    return dbfile_create(&config, full, PAGES_AT_CREATE, true, out);
}

/* The state alone: pages of later generations are on disk by now, and the range in the header says so. */
static void edit_created(struct db_header *h, void *context)
{
    (void)context;
    h->state = DB_DIRTY;
}

static err_t fill_new(struct instance *inst, struct dbfile *db)
{
    lgpos_t at = LGPOS_MIN;
    struct trx *trx = &inst->system.trx;
    TRY_RETURN(check_room_in_header(inst, db));
    TRY_RETURN(space_init(db));
    TRY_RETURN(log_and_list(inst, db, append_create, apply_attach, &at));
    TRY_RETURN(make_dirty(inst, db, at, DB_JUST_CREATED));
    TRY_RETURN(checkpointer_attach(inst->checkpointer, db));
    TRY_RETURN(catalog_bootstrap(db, trx, &inst->finder, PAGES_AT_CREATE));
    TRY_RETURN(recovery_log_create_db_finish(inst->log, PROCID_SYSTEM, db->dbid));
    TRY_RETURN(log_flush_all(inst->log));
    TRY_RETURN(dbfile_update_header(db, edit_created, NULL));
    return catalog_open(db, &inst->finder, inst->temp_dir, trx);
}

static err_t create_locked(struct instance *inst, const char *full, JET_GRBIT grbit, dbid_t *dbid)
{
    struct dbfile *db;
    if (find_path(inst, full) != NULL) {
        err_t err = RAISE(JET_errDatabaseDuplicate);
        err_detail("%s is attached already", full);
        return err;
    }
    TRY_RETURN(create_file(inst, full, (grbit & JET_bitDbOverwriteExisting) != 0, &db));
    put_in_slot(inst, db);
    err_t err = fill_new(inst, db);
    if (err < 0) {
        undo_attach(inst, db, false);
        struct err_origin origin = *err_last();
        if (os_unlink(full) < 0) /* what is left is a file in state just-created, which recovery makes anew */
            err_clear();
        err_restore(&origin);
        return err;
    }
    *dbid = db->dbid;
    ready_slot(inst, db->dbid);
    event_report(325, EVENT_INFO, inst->display, "a database was created", full, NULL);
    return JET_errSuccess;
}

static void count_open(struct session *s, dbid_t dbid)
{
    os_lock_take(&s->inst->lock);
    s->inst->dbs[dbid - 1].opens++;
    os_lock_release(&s->inst->lock);
    s->opens[dbid]++;
}

err_t session_create_database(struct session *s, const char *path, JET_GRBIT grbit, JET_DBID *dbid)
{
    struct instance *inst = s->inst;
    char full[OS_PATH_MAX];
    dbid_t made = 0;
    *dbid = JET_dbidNil;
    TRY_RETURN(outside_transaction(s));
    TRY_RETURN(full_path(path, full));
    TRY_RETURN(check_name(inst, full));
    lock_attach(inst);
    err_t err = refuse_in_backup(inst);
    if (err >= 0)
        err = create_locked(inst, full, grbit, &made);
    unlock_attach(inst);
    if (err >= 0) {
        count_open(s, made);
        *dbid = made;
    }
    return judge_new(inst, err);
}

/* ---- open and close ---- */

err_t session_open_database(struct session *s, const char *path, JET_GRBIT grbit, JET_DBID *dbid)
{
    struct instance *inst = s->inst;
    char full[OS_PATH_MAX];
    *dbid = JET_dbidNil;
    TRY_RETURN(full_path(path, full));
    os_lock_take(&inst->lock);
    struct attached *a = slot_of_path(inst, full);
    bool usable = a != NULL && !a->busy;
    dbid_t found = usable ? a->db->dbid : 0;
    bool read_only = usable && a->db->read_only;
    if (usable)
        a->opens++;
    os_lock_release(&inst->lock);
    if (!usable) {
        err_t err = RAISE(JET_errDatabaseNotFound);
        err_detail("%s is not attached; attach it first", full);
        return err;
    }
    s->opens[found]++;
    *dbid = found;
    return read_only && (grbit & JET_bitDbReadOnly) == 0 ? JET_wrnFileOpenReadOnly : JET_errSuccess;
}

static void uncount(struct session *s, dbid_t dbid, uint32_t n)
{
    os_lock_take(&s->inst->lock);
    s->inst->dbs[dbid - 1].opens -= n;
    os_lock_release(&s->inst->lock);
    s->opens[dbid] -= n;
}

err_t session_database(struct session *s, JET_DBID dbid, struct dbfile **out)
{
    *out = NULL;
    if (dbid < 1 || dbid > DBID_MAX || s->opens[dbid] == 0)
        return RAISE(JET_errInvalidDatabaseId);
    *out = databases__find(s->inst, (dbid_t)dbid);
    return JET_errSuccess;
}

err_t session_close_database(struct session *s, JET_DBID dbid)
{
    struct dbfile *db;
    TRY_RETURN(session_database(s, dbid, &db));
    if (s->opens[dbid] == 1)
        for (uint32_t i = s->cursor_count; i-- > 0;)
            if (s->cursors[i].dbid == dbid)
                TRY_RETURN(session_close_cursor(s, s->cursors[i].cursor));
    uncount(s, (dbid_t)dbid, 1);
    return JET_errSuccess;
}

void session__close_databases(struct session *s)
{
    for (dbid_t dbid = 1; dbid <= DBID_MAX; dbid++)
        if (s->opens[dbid] > 0)
            uncount(s, dbid, s->opens[dbid]);
}

/* ---- detach ---- */

/* Versions of the database must be gone: they would name pages of whatever gets its dbid next. */
static err_t wait_for_versions(struct instance *inst, dbid_t dbid)
{
    for (uint32_t waited = 0; versions_count(inst->versions, dbid) > 0; waited += 10) {
        if (waited >= DETACH_PATIENCE_MS) {
            err_t err = RAISE(JET_errDatabaseInUse);
            err_detail("a transaction still holds changes of this database, or keeps them from being cleaned up");
            return err;
        }
        TRY_RETURN(instance__check_available(inst)); /* a sweep that has stopped with it */
        versions_ring(inst->versions);
        os_sleep_ms(10);
    }
    return threads__sweep_all(inst); /* also what a sweep in flight still does for it: the space of dropped trees */
}

static err_t detach_slot(struct instance *inst, struct attached *a)
{
    struct dbfile *db = a->db;
    bool clean = !db->read_only;
    os_lock_take(&inst->lock);
    bool in_use = a->opens > 0 || a->busy || atomic_load(&db->pins) > 0;
    a->busy = a->busy || !in_use;
    os_lock_release(&inst->lock);
    if (in_use) {
        err_t err = RAISE(JET_errDatabaseInUse);
        err_detail("%s is open in a session; close it there first", db->path);
        return err;
    }
    err_t err = wait_for_versions(inst, db->dbid);
    if (err < 0) {
        ready_slot(inst, db->dbid);
        return err;
    }
    char path[OS_PATH_MAX];
    snprintf(path, sizeof path, "%s", db->path);
    bool stays = false;
    if (clean) {
        err = catalog_reclaim(db, &inst->system.trx);
        stays = err < 0;
    }
    if (clean && !stays)
        err = shut_file(inst, db, &stays);
    if (stays) {
        ready_slot(inst, db->dbid);
        return err;
    }
    catalog_close(db);
    if (err < 0) /* the log says that it is detached, its header does not: only recovery can bring them together */
        instance_poison(inst, err);
    checkpointer_detach(inst->checkpointer, db);
    space_term(db);
    clear_slot(inst, db->dbid);
    if (err < 0)
        databases__publish_list(inst);
    dbfile_close(db);
    if (err >= 0)
        event_report(327, EVENT_INFO, inst->display, "a database was detached", path, NULL);
    return err;
}

static err_t detach_all(struct instance *inst)
{
    for (int i = 0; i < DBID_MAX; i++)
        if (inst->dbs[i].db != NULL)
            TRY_RETURN(detach_slot(inst, &inst->dbs[i]));
    return JET_errSuccess;
}

static err_t detach_path(struct instance *inst, const char *path)
{
    char full[OS_PATH_MAX];
    TRY_RETURN(full_path(path, full));
    struct attached *a = find_path(inst, full);
    if (a == NULL) {
        err_t err = RAISE(JET_errDatabaseNotFound);
        err_detail("%s is not attached", full);
        return err;
    }
    return detach_slot(inst, a);
}

err_t session_detach_database(struct session *s, const char *path, JET_GRBIT grbit)
{
    (void)grbit; /* ForceDetach is for databases that an error took out of service: none stays attached here */
    struct instance *inst = s->inst;
    TRY_RETURN(outside_transaction(s));
    lock_attach(inst);
    err_t err = refuse_in_backup(inst);
    if (err >= 0)
        err = path == NULL || path[0] == '\0' ? detach_all(inst) : detach_path(inst, path);
    unlock_attach(inst);
    return instance__judge(inst, err);
}

/* ---- the end of the instance ---- */

err_t databases__close_all(struct instance *inst, lgpos_t at, bool clean)
{
    err_t err = JET_errSuccess;
    for (int i = 0; i < DBID_MAX; i++) {
        struct dbfile *db = inst->dbs[i].db;
        if (db == NULL)
            continue;
        catalog_close(db);
        bool write = !db->read_only && atomic_load(&inst->poison) == 0;
        if (write && !log_is_enabled(inst->log) && err >= 0)
            err = dbfile_flush(db); /* logging off: an orderly end is the only way to a clean file */
        if (write && err >= 0 && (clean || !log_is_enabled(inst->log)))
            err = databases__make_clean(db, at);
        if (inst->checkpointer != NULL)
            checkpointer_detach(inst->checkpointer, db);
        space_term(db);
        clear_slot(inst, db->dbid);
        databases__publish_list(inst); /* a roll of the log reads what the list points to */
        dbfile_close(db);
    }
    return err;
}
