/* The checkpoint of a running instance: where redo would begin (log-format.md 5, decision 6).
 *
 * Order of a round. The log's tail is read first, then the begins of open transactions, then the dirty frames: a transaction
 * that is missing among the begins either ended before, and all its pages were dirty or on disk before the frames were looked
 * at, or begins behind the tail. Then the log is flushed up to a tail read after all that, for the Commit0 of one that ended
 * just now. Then the headers, then the file: a checkpoint behind the headers is safe, one ahead never. */
#include "recovery/recovery.h"

#define BATCH_PAGES 512u
#define FORCE_ROUNDS 200 /* of a millisecond: for pages that somebody latches */
#define STEPS_OF_DEPTH 16u /* the file is written when the checkpoint moved by this part of the depth, or into a new generation */

struct checkpointer {
    struct checkpointer_config config;
    struct os_lock lock; /* RANK_CHECKPOINT: one round at a time; the list, the marks, holds */
    struct dbfile *db[DBID_MAX];
    int db_count;
    int holds;
    uint32_t pin;
    bool marks_new;
    struct checkpoint marks; /* the backup fields */
    _Atomic uint64_t depth_max;
    _Atomic lgpos_t position;
};

/* What earlier runs of this log stream noted about backups. */
static err_t load_marks(struct checkpointer *c)
{
    char path[OS_PATH_MAX];
    struct checkpoint *old = malloc(sizeof *old);
    if (old == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = log_checkpoint_path(c->config.log, path);
    if (err >= 0)
        err = log_checkpoint_read(path, old);
    if (err >= 0 && signature_equal(&old->signature, log_signature(c->config.log))) {
        c->marks.full_backup = old->full_backup;
        c->marks.full_time = old->full_time;
        c->marks.inc_backup = old->inc_backup;
        c->marks.inc_time = old->inc_time;
    }
    free(old);
    return err == JET_errCheckpointFileNotFound || err == JET_errCheckpointCorrupt ? JET_errSuccess : err;
}

err_t checkpointer_create(const struct checkpointer_config *config, struct checkpointer **out)
{
    struct checkpointer *c = calloc(1, sizeof *c);
    *out = c;
    if (c == NULL)
        return RAISE(JET_errOutOfMemory);
    c->config = *config;
    os_lock_init(&c->lock, RANK_CHECKPOINT);
    atomic_init(&c->depth_max, config->depth_max);
    atomic_init(&c->position, LGPOS_MIN);
    err_t err = log_is_enabled(config->log) ? load_marks(c) : JET_errSuccess;
    if (err < 0) {
        checkpointer_destroy(c);
        *out = NULL;
    }
    return err;
}

void checkpointer_destroy(struct checkpointer *c)
{
    if (c == NULL)
        return;
    os_lock_term(&c->lock);
    free(c);
}

void checkpointer_set_depth(struct checkpointer *c, uint64_t depth_max)
{
    atomic_store(&c->depth_max, depth_max);
}

lgpos_t checkpointer_position(struct checkpointer *c)
{
    return atomic_load(&c->position);
}

err_t checkpointer_attach(struct checkpointer *c, struct dbfile *db)
{
    err_t err = JET_errSuccess;
    os_lock_take(&c->lock);
    if (c->db_count == DBID_MAX)
        err = RAISE(JET_errTooManyAttachedDatabases);
    else
        c->db[c->db_count++] = db;
    os_lock_release(&c->lock);
    return err;
}

void checkpointer_detach(struct checkpointer *c, struct dbfile *db)
{
    os_lock_take(&c->lock);
    int kept = 0;
    for (int i = 0; i < c->db_count; i++)
        if (c->db[i] != db)
            c->db[kept++] = c->db[i];
    c->db_count = kept;
    os_lock_release(&c->lock);
}

void checkpointer_hold(struct checkpointer *c)
{
    os_lock_take(&c->lock);
    c->holds++;
    os_lock_release(&c->lock);
}

void checkpointer_release(struct checkpointer *c)
{
    os_lock_take(&c->lock);
    ENFORCE(c->holds > 0);
    c->holds--;
    os_lock_release(&c->lock);
}

void checkpointer_pin(struct checkpointer *c, uint32_t generation)
{
    os_lock_take(&c->lock);
    c->pin = generation;
    os_lock_release(&c->lock);
}

void checkpointer_set_backup_marks(struct checkpointer *c, lgpos_t full, struct logtime full_time, lgpos_t inc, struct logtime inc_time)
{
    os_lock_take(&c->lock);
    if (full != LGPOS_MIN) {
        c->marks.full_backup = full;
        c->marks.full_time = full_time;
    }
    if (inc != LGPOS_MIN) {
        c->marks.inc_backup = inc;
        c->marks.inc_time = inc_time;
    }
    c->marks_new = true;
    os_lock_release(&c->lock);
}

/* ---- positions as bytes of log ---- */

static uint64_t to_bytes(struct checkpointer *c, lgpos_t at)
{
    return (uint64_t)LGPOS_GEN(at) * log_file_size(c->config.log) + (uint64_t)LGPOS_SEC(at) * LOG_SEGMENT + LGPOS_BYTE(at);
}

/* A position about `bytes` before `at`; LGPOS_MIN when that is before the first. */
static lgpos_t back_by(struct checkpointer *c, lgpos_t at, uint64_t bytes)
{
    uint64_t all = to_bytes(c, at), size = log_file_size(c->config.log);
    if (all <= bytes)
        return LGPOS_MIN;
    all -= bytes;
    return LGPOS(all / size, all % size / LOG_SEGMENT, 0);
}

/* ---- pages ---- */

static err_t write_older(struct checkpointer *c, lgpos_t older_than)
{
    struct write_goal goal = {.log = c->config.log, .older_than = older_than, .pages_max = BATCH_PAGES};
    for (;;) {
        uint32_t written = 0;
        TRY_RETURN(cache_write_back(c->config.cache, &goal, &written));
        if (written == 0)
            return JET_errSuccess;
    }
}

static err_t write_pages(struct checkpointer *c, lgpos_t tail, bool force)
{
    if (!log_is_enabled(c->config.log))
        return write_older(c, LGPOS_MAX);
    if (!force) {
        lgpos_t older_than = back_by(c, tail, atomic_load(&c->depth_max));
        return older_than == LGPOS_MIN ? JET_errSuccess : write_older(c, older_than);
    }
    for (int round = 0;; round++) {
        TRY_RETURN(write_older(c, tail));
        if (round == FORCE_ROUNDS || cache_oldest_dirty(c->config.cache, c->config.log) >= tail)
            return JET_errSuccess;
        os_sleep_ms(1);
    }
}

/* ---- headers and the file ---- */

struct required {
    uint32_t generation;
    struct logtime created;
};

static void edit_required(struct db_header *h, void *context)
{
    const struct required *q = context;
    h->gen_min_required = h->gen_min_consistent = q->generation;
    if (h->gen_max_required < q->generation)
        h->gen_max_required = q->generation;
    if (h->gen_max_committed < q->generation) {
        h->gen_max_committed = q->generation;
        h->time_gen_max_created = q->created;
    }
}

static err_t move_headers(struct checkpointer *c, lgpos_t at)
{
    struct required q = {.generation = LGPOS_GEN(at)};
    bool known = false;
    for (int i = 0; i < c->db_count; i++) {
        struct dbfile *db = c->db[i];
        if (db->read_only || !db->logged)
            continue;
        os_lock_take(&db->header_lock);
        bool behind = db->header.state == DB_DIRTY && db->header.gen_min_required < q.generation;
        os_lock_release(&db->header_lock);
        if (!behind)
            continue;
        if (!known)
            TRY_RETURN(log_generation_time(c->config.log, q.generation, &q.created));
        known = true;
        TRY_RETURN(dbfile_sync(db));
        TRY_RETURN(dbfile_update_header(db, edit_required, &q));
    }
    return JET_errSuccess;
}

/* Those attached before `at`; for the others redo meets the record of their attach. */
static void list_attached(struct checkpointer *c, lgpos_t at, struct checkpoint *to)
{
    to->attached_valid = true;
    for (int i = 0; i < c->db_count; i++) {
        struct dbfile *db = c->db[i];
        struct log_attach_info *info = &to->attached[to->attached_count];
        if (db->read_only || !db->logged)
            continue;
        os_lock_take(&db->header_lock);
        bool before = db->header.lgpos_attach < at;
        *info = (struct log_attach_info){
            .dbid = db->dbid,
            .dbtime = atomic_load(&db->dbtime),
            .objid_last = atomic_load(&db->objid_last),
            .lgpos_attach = db->header.lgpos_attach,
            .lgpos_consistent = db->header.lgpos_consistent,
            .sign_db = db->header.sign_db,
        };
        os_lock_release(&db->header_lock);
        strncpy(info->path, db->path, sizeof info->path - 1);
        to->attached_count += before;
    }
}

static err_t write_file_locked(struct checkpointer *c, lgpos_t at, bool attached_valid)
{
    struct checkpoint *file = malloc(sizeof *file);
    if (file == NULL)
        return RAISE(JET_errOutOfMemory);
    *file = c->marks;
    file->checkpoint = file->db_consistency = at;
    file->signature = *log_signature(c->config.log);
    file->attached_valid = false;
    file->attached_count = 0;
    if (attached_valid)
        list_attached(c, at, file);
    err_t err = log_checkpoint_write(c->config.log, file);
    free(file);
    if (err < 0)
        return err;
    c->marks_new = false;
    atomic_store(&c->position, at);
    log_set_checkpoint_hint(c->config.log, at);
    return JET_errSuccess;
}

static err_t delete_old(struct checkpointer *c, lgpos_t at)
{
    uint32_t end = LGPOS_GEN(at), deleted = 0;
    if (!log_is_circular(c->config.log))
        return JET_errSuccess;
    if (c->pin != 0 && c->pin < end)
        end = c->pin;
    return log_delete_range(c->config.log, 0, end, &deleted);
}

/* ---- a round ---- */

static bool is_held_locked(const struct checkpointer *c)
{
    bool held = c->holds > 0;
    for (int i = 0; i < c->db_count && !held; i++) {
        os_lock_take(&c->db[i]->header_lock);
        held = c->db[i]->header.state == DB_JUST_CREATED;
        os_lock_release(&c->db[i]->header_lock);
    }
    return held;
}

static bool is_worth_it(struct checkpointer *c, lgpos_t to, bool force)
{
    lgpos_t from = atomic_load(&c->position);
    if (to < from)
        return false;
    if (force || c->marks_new || LGPOS_GEN(to) > LGPOS_GEN(from))
        return to > from || c->marks_new;
    return to_bytes(c, to) - to_bytes(c, from) >= atomic_load(&c->depth_max) / STEPS_OF_DEPTH && to > from;
}

/* A generation without a record is none yet. Recovery would do with it, as long as the file is there; but then all before it might go
 * (circular logging), and who lost this one file, in which nothing is, would have lost everything. */
static bool is_in_empty_generation(lgpos_t to, lgpos_t tail)
{
    return LGPOS_GEN(to) == LGPOS_GEN(tail) && tail <= LGPOS(LGPOS_GEN(tail), 1, 0);
}

static err_t round_locked(struct checkpointer *c, bool force)
{
    struct log *log = c->config.log;
    TRY_RETURN(write_pages(c, log_tail(log), force));
    if (!log_is_enabled(log) || is_held_locked(c))
        return JET_errSuccess;
    lgpos_t to = log_tail(log);
    lgpos_t begin = versions_oldest_begin(c->config.versions);
    lgpos_t dirty = cache_oldest_dirty(c->config.cache, log);
    lgpos_t tail = log_tail(log);
    to = begin < to ? begin : to;
    to = dirty < to ? dirty : to;
    if (!is_worth_it(c, to, force) || is_in_empty_generation(to, tail))
        return JET_errSuccess;
    TRY_RETURN(log_flush(log, tail));
    TRY_RETURN(move_headers(c, to));
    TRY_RETURN(write_file_locked(c, to, true));
    return delete_old(c, to);
}

err_t checkpointer_run(struct checkpointer *c, bool force)
{
    os_lock_take(&c->lock);
    err_t err = round_locked(c, force);
    os_lock_release(&c->lock);
    return err;
}

err_t checkpointer_write_file(struct checkpointer *c, lgpos_t at, bool attached_valid)
{
    os_lock_take(&c->lock);
    err_t err = at < atomic_load(&c->position) ? RAISE(JET_errInvalidParameter) : write_file_locked(c, at, attached_valid);
    os_lock_release(&c->lock);
    return err;
}
