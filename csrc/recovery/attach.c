/* Databases during redo: which file a record means, and whether it is of this moment of the log (log-format.md 8.3). */
#include <stdio.h>

#include "recovery/recovery_private.h"

/* What the log says about a database: a CreateDB or AttachDB record, or an entry of an attach list. */
struct logged {
    enum { BY_CREATE, BY_ATTACH, BY_LIST } by;
    dbid_t dbid;
    const char *path;
    const struct signature *sign_db;
    const struct signature *sign_log; /* BY_ATTACH: of the header before */
    lgpos_t attach, consistent;
    dbtime_t dbtime;
    objid_t objid_last;
};
enum decision { ATTACH_NOW, MAKE_FILE, DEFER };

/* ---- where the file lies ---- */

static const char *base_name(const char *path)
{
    const char *name = path;
    for (const char *p = path; *p != 0; p++) /* foreign logs hold Windows paths */
        if (*p == '/' || *p == '\\')
            name = p + 1;
    return name;
}

static bool lies_at(const char *path, const struct signature *sign_db)
{
    struct db_header *h = malloc(sizeof *h);
    bool yes = h != NULL && db_header_read_path(path, h) >= 0 && signature_equal(&h->sign_db, sign_db);
    free(h);
    return yes;
}

static const struct recovery_map *mapped_to(const struct recovery *r, const struct logged *l)
{
    const struct recovery_map *map = r->config->map;
    int n = r->config->map_count;
    for (int i = 0; i < n; i++)
        if (map[i].from != NULL && strcmp(map[i].from, l->path) == 0)
            return &map[i];
    for (int i = 0; i < n; i++)
        if (lies_at(map[i].to, l->sign_db))
            return &map[i];
    for (int i = 0; i < n; i++)
        if (map[i].from != NULL && strcmp(base_name(map[i].from), base_name(l->path)) == 0)
            return &map[i];
    return NULL;
}

/* Into d->path. *unmapped: a restore that names its databases leaves out this one. */
static err_t place(const struct recovery *r, const struct logged *l, struct redo_database *d, bool *unmapped)
{
    char *path = d->path;
    const size_t room = sizeof d->path;
    const struct recovery_map *entry = mapped_to(r, l);
    const char *to = entry == NULL ? NULL : entry->to;
    d->map_grbit = entry == NULL ? 0 : entry->grbit;
    *unmapped = false;
    if (to == NULL && r->config->restore_dir != NULL)
        return os_join(path, room, r->config->restore_dir, base_name(l->path));
    if (to == NULL) {
        *unmapped = r->config->map_only || (recovery__is_restore(r) && r->config->map_count > 0 && l->by != BY_CREATE);
        to = l->path;
    }
    if ((size_t)snprintf(path, room, "%s", to) >= room)
        return RAISE(JET_errInvalidPath);
    if (strcmp(path, l->path) != 0)
        event_report(216, EVENT_INFO, r->config->instance_name, "a database lies at another place than the log says", l->path,
                     path, NULL);
    return JET_errSuccess;
}

/* ---- decision ---- */

static err_t wrong_state(const struct db_header *h, const char *path)
{
    err_t err;
    switch (h->state) {
    case DB_JUST_CREATED:
    case DB_DIRTY:
    case DB_CLEAN:
    case DB_DIRTY_PATCHED:
        return JET_errSuccess;
    case DB_CONVERTING:
        err = RAISE(JET_errDatabaseIncompleteUpgrade);
        break;
    default: /* a reseed or a revert that did not end has no public error of its own */
        err = RAISE(JET_errDatabaseCorrupted);
        break;
    }
    err_detail("%s: state %d", path, (int)h->state);
    return err;
}

static enum decision defer(struct redo_database *d, enum defer_why why, lgpos_t until)
{
    d->why = why;
    d->header_position = until;
    return DEFER;
}

static err_t mismatch(err_t code, const struct redo_database *d, const struct db_header *h, lgpos_t logged)
{
    err_t err = RAISE(code);
    err_detail("%s: attached at %016llX, consistent at %016llX; the log speaks of %016llX", d->path,
               (unsigned long long)h->lgpos_attach, (unsigned long long)h->lgpos_consistent, (unsigned long long)logged);
    return err;
}

/* A header of this log stream against its attach position. */
static err_t decide_same_log(struct recovery *r, const struct logged *l, const struct db_header *h, struct redo_database *d,
                             enum decision *decision)
{
    lgpos_t now = l->by == BY_LIST ? r->start : l->attach;
    if (h->state == DB_CLEAN && h->lgpos_consistent >= now)
        *decision = defer(d, DEFER_CONSISTENT, h->lgpos_consistent);
    else if (h->lgpos_attach == l->attach)
        *decision = ATTACH_NOW;
    else if (h->lgpos_attach > l->attach)
        *decision = defer(d, DEFER_ATTACH_LATER, h->lgpos_attach);
    else if (l->by == BY_LIST)
        return mismatch(JET_errAttachedDatabaseMismatch, d, h, l->attach);
    else if (l->by == BY_ATTACH && h->lgpos_consistent != l->consistent && h->lgpos_consistent != LGPOS_MIN)
        return mismatch(JET_errConsistentTimeMismatch, d, h, l->consistent);
    else
        *decision = ATTACH_NOW;
    return JET_errSuccess;
}

static err_t decide(struct recovery *r, const struct logged *l, const struct db_header *h, struct redo_database *d,
                    enum decision *decision)
{
    TRY_RETURN(wrong_state(h, d->path));
    bool overwrite = l->by == BY_CREATE && (d->map_grbit & JET_bitRestoreMapOverwriteOnCreate) != 0;
    if (!signature_equal(&h->sign_db, l->sign_db)) {
        *decision = overwrite ? MAKE_FILE : defer(d, DEFER_FOREIGN, 0); /* also one that a later record, or none yet, creates at this place */
    } else if (h->state == DB_JUST_CREATED) {
        *decision = l->by == BY_CREATE ? MAKE_FILE : defer(d, DEFER_MISSING, 0);
    } else if (signature_equal(&h->sign_log, &r->sign_log)) {
        return decide_same_log(r, l, h, d, decision);
    } else if (l->by == BY_ATTACH && signature_equal(&h->sign_log, l->sign_log) && h->lgpos_consistent == l->consistent) {
        *decision = ATTACH_NOW; /* comes from another stream; the crash fell before its header was written */
    } else {
        *decision = defer(d, DEFER_FOREIGN, 0);
    }
    return JET_errSuccess;
}

/* A file whose header never came to be. */
static bool is_blank(const char *path)
{
    uint8_t head[64] = {0}, zero[64] = {0};
    struct os_file *f = NULL;
    size_t got = 0;
    bool blank = os_file_open(path, OS_READ, &f) >= 0 && os_file_read_some(f, 0, head, sizeof head, &got) >= 0 &&
                 memcmp(head, zero, got) == 0;
    os_file_close(f);
    return blank;
}

static err_t look(struct recovery *r, const struct logged *l, struct redo_database *d, enum decision *decision)
{
    struct db_header *h = malloc(sizeof *h);
    if (h == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = db_header_read_path(d->path, h);
    bool missing = err == JET_errFileNotFound || err == JET_errInvalidPath;
    if (missing || (err == JET_errReadVerifyFailure && is_blank(d->path))) {
        *decision = l->by == BY_CREATE ? MAKE_FILE : defer(d, DEFER_MISSING, 0);
        err = JET_errSuccess;
    } else if (err == JET_errFileAccessDenied) {
        err = RAISE(JET_errAccessDenied);
        err_detail("%s", d->path);
    } else if (err >= 0) {
        err = decide(r, l, h, d, decision);
    }
    free(h);
    return err;
}

/* ---- attaching ---- */

static struct dbfile_config config_of(struct recovery *r, dbid_t dbid)
{
    return (struct dbfile_config){
        .cache = r->config->cache,
        .log = r->config->log,
        .versions = r->config->versions,
        .double_write = r->config->double_write == NULL ? NULL : *r->config->double_write,
        .dbid = dbid,
    };
}

struct attach_edit {
    const struct recovery *r;
    const struct logged *logged;
};

/* What do does at create and attach (log-format.md 8.7). A created one stays just-created until CreateDBFinish. */
static void edit_attached(struct db_header *h, void *context)
{
    static const struct bkinfo none;
    const struct attach_edit *e = context;
    h->lgpos_attach = e->logged->attach;
    if (!signature_equal(&h->sign_log, &e->r->sign_log)) /* backups of another log sequence are no base of increments */
        h->full_prev = h->inc_prev = h->copy_prev = h->diff_prev = none;
    h->sign_log = e->r->sign_log;
    h->dbid = e->logged->dbid;
    h->gen_min_required = h->gen_min_consistent = h->gen_max_required = h->gen_max_committed = e->r->generation;
    h->time_gen_max_created = e->r->generation_time;
    os_logtime_now(&h->time_attach);
    if (e->logged->by == BY_CREATE)
        h->sign_db = *e->logged->sign_db;
    else
        h->state = DB_DIRTY;
}

static void note_range(struct recovery *r, struct redo_database *d)
{
    const struct db_header *h = &d->db->header;
    d->range_max = h->gen_max_required;
    d->committed_max = h->gen_max_committed;
    d->committed_time = h->time_gen_max_created;
    if (recovery__is_restore(r) && h->full_cur.gen_low != 0 && d->range_max < r->config->set_gen_high)
        d->range_max = r->config->set_gen_high;
}

/* A copy out of a backup, whose trailer only a restore can use. */
static err_t refuse_backup_copy(struct recovery *r, struct redo_database *d)
{
    const struct db_header *h = &d->db->header;
    if (h->full_cur.gen_low == 0 || h->full_cur.gen_high != 0 || recovery__is_restore(r))
        return JET_errSuccess;
    event_report(619, EVENT_ERROR, r->config->instance_name, "soft recovery was tried on a copy from a backup", d->path, NULL);
    err_t err = RAISE(JET_errSoftRecoveryOnBackupDatabase);
    err_detail("%s", d->path);
    return err;
}

static err_t check_required(struct recovery *r, struct redo_database *d)
{
    const struct db_header *h = &d->db->header;
    if (h->gen_min_required == 0 || h->gen_min_required >= r->generation)
        return JET_errSuccess;
    char range[40];
    snprintf(range, sizeof range, "%X-%X", h->gen_min_required, h->gen_max_required);
    event_report(452, EVENT_ERROR, r->config->instance_name, "a log file that a database requires is missing", d->path, range,
                 NULL);
    err_t err = RAISE(JET_errRequiredLogFilesMissing);
    err_detail("%s requires generations %s, redo is at %X", d->path, range, r->generation);
    return err;
}

static err_t attach_now(struct recovery *r, const struct logged *l, struct redo_database *d)
{
    struct dbfile_config config = config_of(r, l->dbid);
    TRY_RETURN(dbfile_open(&config, d->path, &d->db));
    d->state = REDO_OPEN;
    note_range(r, d);
    TRY_RETURN(refuse_backup_copy(r, d));
    const struct db_header *h = &d->db->header;
    bool written = signature_equal(&h->sign_log, &r->sign_log) && h->lgpos_attach == l->attach && h->state != DB_CLEAN;
    if (!written && l->by != BY_LIST) {
        struct attach_edit edit = {r, l};
        d->range_max = d->committed_max = 0;
        TRY_RETURN(dbfile_update_header(d->db, edit_attached, &edit));
    }
    TRY_RETURN(check_required(r, d));
    if (l->dbtime > atomic_load(&d->db->dbtime))
        atomic_store(&d->db->dbtime, l->dbtime);
    if (l->objid_last > atomic_load(&d->db->objid_last))
        atomic_store(&d->db->objid_last, l->objid_last);
    return recovery__cover(r, d);
}

static err_t make_file(struct recovery *r, const struct logged *l, struct redo_database *d)
{
    struct dbfile_config config = config_of(r, l->dbid);
    struct attach_edit edit = {r, l};
    TRY_RETURN(dbfile_create(&config, d->path, 0, true, &d->db));
    d->state = REDO_OPEN;
    return dbfile_update_header(d->db, edit_attached, &edit);
}

static void edit_attach_position(struct db_header *h, void *context)
{
    h->lgpos_attach = *(lgpos_t *)context;
}

/* The list named it already; or the record was logged once more, since a new generation began just after the first. */
static err_t attach_again(struct recovery *r, const struct logged *l, struct redo_database *d)
{
    lgpos_t at = l->attach;
    (void)r;
    if (at <= d->lgpos_attach)
        return JET_errSuccess;
    d->lgpos_attach = at;
    return dbfile_update_header(d->db, edit_attach_position, &at);
}

/* Its dbid goes to another: the create or attach did not succeed, and nothing was logged about that. */
static err_t leave(struct recovery *r, struct redo_database *d)
{
    char path[sizeof d->path];
    struct db_header h;
    dbfile_copy_header(d->db, &h);
    if (h.state != DB_JUST_CREATED)
        return recovery__detach(r, d, r->view.at);
    memcpy(path, d->path, sizeof path);
    recovery__close(d);
    return os_unlink(path);
}

static err_t attach(struct recovery *r, const struct logged *l)
{
    enum decision decision = DEFER;
    bool unmapped;
    if (l->dbid == 0 || l->dbid > DBID_MAX)
        return RAISE(JET_errLogFileCorrupt);
    struct redo_database *d = &r->database[l->dbid];
    if (d->state == REDO_OPEN && signature_equal(&d->sign_db, l->sign_db))
        return attach_again(r, l, d);
    if (d->state == REDO_OPEN)
        TRY_RETURN(leave(r, d));
    *d = (struct redo_database){.sign_db = *l->sign_db, .lgpos_attach = l->attach};
    TRY_RETURN(place(r, l, d, &unmapped));
    if (unmapped)
        defer(d, DEFER_UNMAPPED, 0);
    else
        TRY_RETURN(look(r, l, d, &decision));
    if (decision == DEFER)
        d->state = REDO_DEFERRED;
    else if (decision == MAKE_FILE)
        return make_file(r, l, d);
    else
        return attach_now(r, l, d);
    return JET_errSuccess;
}

err_t recovery__attach_list(struct recovery *r)
{
    for (int i = 0; i < r->list_count; i++) {
        const struct log_attach_info *info = &r->list[i];
        struct logged l = {
            .by = BY_LIST,
            .dbid = info->dbid,
            .path = info->path,
            .sign_db = &info->sign_db,
            .attach = info->lgpos_attach,
            .consistent = info->lgpos_consistent,
            .dbtime = info->dbtime,
            .objid_last = info->objid_last,
        };
        TRY_RETURN(attach(r, &l));
    }
    return JET_errSuccess;
}

/* ---- the records ---- */

static err_t redo_create(struct recovery *r, struct slice record)
{
    struct create_db_record c;
    TRY_RETURN(create_db_decode(record, &c));
    struct logged l = {.by = BY_CREATE, .dbid = c.dbid, .path = c.path, .sign_db = &c.sign_db, .attach = r->view.at};
    return attach(r, &l);
}

static void edit_finished(struct db_header *h, void *context)
{
    (void)context;
    h->state = DB_DIRTY;
}

static err_t redo_create_finish(struct recovery *r, struct slice record)
{
    if (record.n < 4)
        return recovery__bad_record(r, record);
    struct redo_database *d = recovery__database(r, record.p[3]);
    struct db_header h;
    if (d == NULL)
        return JET_errSuccess;
    dbfile_copy_header(d->db, &h);
    if (h.state != DB_JUST_CREATED)
        return JET_errSuccess;
    return dbfile_update_header(d->db, edit_finished, NULL);
}

static err_t redo_attach(struct recovery *r, struct slice record)
{
    struct attach_db_record a;
    TRY_RETURN(attach_db_decode(record, &a));
    struct logged l = {
        .by = BY_ATTACH,
        .dbid = a.dbid,
        .path = a.path,
        .sign_db = &a.sign_db,
        .sign_log = &a.sign_log,
        .attach = r->view.at,
        .consistent = a.lgpos_consistent,
    };
    return attach(r, &l);
}

/* Logged once more: what attaches the file later has seen the second position in its header. */
static err_t detach_again(struct recovery *r, struct redo_database *d)
{
    struct os_file *file = NULL;
    struct db_header *h = malloc(sizeof *h);
    err_t err = JET_errSuccess;
    if (h == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(os_file_open(d->path, OS_WRITE, &file));
    TRY(db_header_read(file, h, NULL));
    if (h->state == DB_CLEAN && h->lgpos_consistent == d->detached_at) {
        h->lgpos_consistent = h->lgpos_detach = d->detached_at = r->view.at;
        TRY(db_header_write(file, h));
    }
out:
    os_file_close(file);
    free(h);
    return err;
}

static err_t redo_detach(struct recovery *r, struct slice record)
{
    struct detach_db_record a;
    TRY_RETURN(detach_db_decode(record, &a));
    if (a.dbid == 0 || a.dbid > DBID_MAX)
        return recovery__bad_record(r, record);
    struct redo_database *d = &r->database[a.dbid];
    if (d->state == REDO_ABSENT && d->detached_at != LGPOS_MIN)
        return detach_again(r, d);
    if (d->state == REDO_DEFERRED)
        d->state = REDO_ABSENT;
    if (d->state == REDO_ABSENT || r->view.at <= d->lgpos_attach)
        return JET_errSuccess;
    char path[sizeof d->path];
    memcpy(path, d->path, sizeof path);
    TRY_RETURN(recovery__detach(r, d, r->view.at));
    memcpy(d->path, path, sizeof path);
    d->detached_at = r->view.at;
    return JET_errSuccess;
}

struct version_edit {
    uint32_t major, update_major, update_minor;
};

static void edit_version(struct db_header *h, void *context)
{
    const struct version_edit *v = context;
    h->version = v->major;
    h->update_major = v->update_major;
    h->update_minor = v->update_minor;
}

static err_t redo_version(struct recovery *r, struct slice record)
{
    if (record.n < 14)
        return recovery__bad_record(r, record);
    struct redo_database *d = recovery__database(r, record.p[1]);
    struct version_edit v = {load_u32(record.p + 2), load_u32(record.p + 6), load_u32(record.p + 10)};
    if (d == NULL)
        return JET_errSuccess;
    struct db_header h;
    dbfile_copy_header(d->db, &h);
    if (v.major != h.version)
        return recovery__bad_record(r, record);
    bool newer = v.update_major > h.update_major || (v.update_major == h.update_major && v.update_minor > h.update_minor);
    return newer ? dbfile_update_header(d->db, edit_version, &v) : JET_errSuccess;
}

err_t recovery__redo_database(struct recovery *r, struct slice record)
{
    switch (record.p[0]) {
    case LOG_CreateDB:
        return redo_create(r, record);
    case LOG_CreateDBFinish:
        return redo_create_finish(r, record);
    case LOG_AttachDB:
        return redo_attach(r, record);
    case LOG_DetachDB:
        return redo_detach(r, record);
    default:
        return redo_version(r, record);
    }
}
