/* A database file: open and lock, its header's way to disk, growth, sync. */
#include "cache/cache_private.h"

#define GROW_STEP (1u << 20)
#define COVER_ZEROED_MOST 4096u /* pages: no growth of ours is larger */
#define HEADER_COPIES 2u
enum { AT_EXTEND_COUNT = 540, AT_EXTEND_TIME = 544 }; /* edb-format.md 2.2 */

static err_t make(const struct dbfile_config *config, const char *path, struct dbfile **out)
{
    struct dbfile *db = calloc(1, sizeof *db);
    *out = db;
    if (db == NULL)
        return RAISE(JET_errOutOfMemory);
    os_lock_init(&db->header_lock, RANK_DBFILE);
    db->cache = config->cache;
    db->log = config->log;
    db->versions = config->versions;
    db->double_write = config->double_write;
    db->dbid = config->dbid;
    db->read_only = config->read_only;
    db->write_failed = config->write_failed;
    db->logged = config->log != NULL && log_is_enabled(config->log) && !config->read_only;
    db->page_size = config->cache->page_size;
    db->path = strdup(path);
    db->frames = calloc(1, sizeof(struct dbfile_own));
    atomic_fetch_add(&db->cache->databases, 1);
    return db->path != NULL && db->frames != NULL ? JET_errSuccess : RAISE(JET_errOutOfMemory);
}

static void publish_header(struct dbfile *db)
{
    atomic_store(&db->dbtime, db->header.dbtime);
    atomic_store(&db->objid_last, db->header.objid_last);
    atomic_store(&db->gen_covered, db->header.gen_max_required);
}

static err_t count_pages(struct dbfile *db)
{
    uint64_t size = 0;
    TRY_RETURN(os_file_size(db->file, &size));
    uint64_t pages = size / db->page_size;
    pages = pages < HEADER_COPIES ? 0 : pages - HEADER_COPIES;
    atomic_store(&db->page_count, pages > INT32_MAX ? INT32_MAX : (pgno_t)pages);
    return JET_errSuccess;
}

err_t dbfile_open(const struct dbfile_config *config, const char *path, struct dbfile **out)
{
    err_t err = JET_errSuccess;
    struct dbfile *db;
    struct db_header_copies copies;
    *out = NULL;
    TRY(make(config, path, &db));
    TRY(os_file_open(path, config->read_only ? OS_READ : OS_WRITE, &db->file));
    TRY(os_file_lock(db->file, !config->read_only));
    TRY(db_header__read(db->file, &db->header, &copies));
    if (db->header.page_size != db->page_size) {
        err = RAISE(JET_errPageSizeMismatch);
        err_detail("%s: pages of %u bytes, not %u", path, db->header.page_size, db->page_size);
        goto out;
    }
    /* A crash fell between the two copies. The next write may tear the newer one: the older must
     * not be what is left. */
    if (copies.differ && !config->read_only)
        TRY(db_header__repair(db->file, &db->header, &copies));
    TRY(count_pages(db));
    publish_header(db);
    *out = db;
    return JET_errSuccess;
out:
    dbfile_close(db);
    return err;
}

err_t dbfile__wrote(struct dbfile *db, err_t err)
{
    err_t none = JET_errSuccess;
    bool passes = err >= 0 || err == JET_errDiskFull || err == JET_errOutOfMemory;
    if (!passes && db->write_failed != NULL)
        (void)atomic_compare_exchange_strong(db->write_failed, &none, err);
    return err;
}

/* A file that is there is locked before it is emptied: another process may be using it. */
static err_t create_file(struct dbfile *db, bool overwrite, bool *ours)
{
    err_t err = os_file_open(db->path, OS_WRITE | OS_CREATE | (overwrite ? 0 : OS_EXCL), &db->file);
    if (err == JET_errFileAlreadyExists) {
        err = RAISE(JET_errDatabaseDuplicate);
        err_detail("%s", db->path);
    }
    TRY_RETURN(err);
    *ours = !overwrite; /* one that was there is not ours before it is locked */
    TRY_RETURN(os_file_lock(db->file, true));
    *ours = true;
    return overwrite ? os_file_set_size(db->file, 0) : JET_errSuccess;
}

err_t dbfile_create(const struct dbfile_config *config, const char *path, pgno_t pages,
                    bool overwrite, struct dbfile **out)
{
    err_t err = JET_errSuccess;
    struct dbfile *db;
    bool ours = false;
    *out = NULL;
    ASSERT(!config->read_only);
    TRY(make(config, path, &db));
    TRY(create_file(db, overwrite, &ours));
    db_header_init(&db->header, db->page_size);
    db->header.dbid = config->dbid;
    TRY(os_file_zero(db->file, 0, ((uint64_t)pages + HEADER_COPIES) * db->page_size));
    TRY(db_header_write(db->file, &db->header));
    TRY(os_parent_sync(path));
    TRY(count_pages(db));
    publish_header(db);
    *out = db;
    return JET_errSuccess;
out:
    dbfile_close(db);
    if (ours) {
        struct err_origin why = *err_last();
        if (os_unlink(path) < 0)
            err_clear();
        err_restore(&why);
    }
    return err;
}

void dbfile_close(struct dbfile *db)
{
    if (db == NULL)
        return;
    ENFORCE(atomic_load(&db->pins) == 0);
    if (db->file != NULL)
        cache__drop_database(db->cache, db);
    atomic_fetch_sub(&db->cache->databases, 1);
    os_file_close(db->file); /* the lock goes with it */
    os_lock_term(&db->header_lock);
    free(db->frames);
    free(db->path);
    free(db);
}

err_t dbfile_flush(struct dbfile *db)
{
    struct write_goal goal = {.only = db, .older_than = LGPOS_MAX, .pages_max = UINT32_MAX};
    for (;;) {
        uint32_t written = 0;
        TRY_RETURN(cache__write_back(db->cache, &goal, WRITE_ALL, &written));
        if (!cache__database_dirty(db->cache, db))
            return dbfile_sync(db);
        if (written == 0) /* another thread writes, reads raw or latches the rest */
            os_sleep_ms(1);
    }
}

err_t dbfile_freeze(struct dbfile *db)
{
    do { /* again when a read corrected a flipped bit in between: that page is dirty */
        atomic_store(&db->frozen, 0);
        TRY_RETURN(dbfile_flush(db));
        atomic_store(&db->frozen, 1);
    } while (cache__database_dirty(db->cache, db));
    return JET_errSuccess;
}

void dbfile_thaw(struct dbfile *db)
{
    atomic_store(&db->frozen, 0);
}

err_t dbfile_sync(struct dbfile *db)
{
    return dbfile__wrote(db, os_file_sync(db->file));
}

static err_t zero_to(struct dbfile *db, uint64_t old, uint64_t end)
{
    for (uint64_t at = old; at < end; at += GROW_STEP)
        TRY_RETURN(os_file_zero(db->file, at, end - at < GROW_STEP ? end : at + GROW_STEP));
    return JET_errSuccess;
}

/* The new size is made durable by the sync of the first page written there; after a crash before it
 * redo grows again. */
static err_t grow(struct dbfile *db, pgno_t pages, bool sparse)
{
    err_t err = JET_errSuccess;
    ASSERT(!db->read_only);
    os_lock_take(&db->header_lock);
    uint64_t old = ((uint64_t)atomic_load(&db->page_count) + HEADER_COPIES) * db->page_size;
    uint64_t end = ((uint64_t)pages + HEADER_COPIES) * db->page_size;
    if (end > old)
        err = sparse ? os_file_set_size(db->file, end) : zero_to(db, old, end);
    if (err < 0) { /* give a full disk back what was taken */
        struct err_origin why = *err_last();
        if (os_file_set_size(db->file, old) < 0)
            err_clear();
        err = err_raise(err, why.file, why.line);
        err_detail("%s: growing to %u pages: %.150s", db->path, pages, why.detail);
        (void)dbfile__wrote(db, err);
    } else if (end > old) {
        struct logtime now;
        os_logtime_now(&now);
        uint8_t *raw = db->header.raw; /* goes to disk with the next header write */
        store_u32(raw + AT_EXTEND_COUNT, load_u32(raw + AT_EXTEND_COUNT) + 1);
        memcpy(raw + AT_EXTEND_TIME, &now, sizeof now);
        atomic_store(&db->page_count, pages);
    }
    os_lock_release(&db->header_lock);
    return err;
}

err_t dbfile_grow(struct dbfile *db, pgno_t pages)
{
    return grow(db, pages, false);
}

err_t dbfile_cover(struct dbfile *db, pgno_t pages)
{
    pgno_t now = atomic_load(&db->page_count);
    return pages <= now ? JET_errSuccess : grow(db, pages, pages - now > COVER_ZEROED_MOST);
}

void dbfile_copy_header(struct dbfile *db, struct db_header *out)
{
    os_lock_take(&db->header_lock);
    *out = db->header;
    os_lock_release(&db->header_lock);
}

err_t dbfile_update_header(struct dbfile *db, void (*fn)(struct db_header *h, void *context),
                           void *context)
{
    ASSERT(!db->read_only);
    struct db_header *h = malloc(sizeof *h);
    if (h == NULL)
        return RAISE(JET_errOutOfMemory);
    os_lock_take(&db->header_lock);
    *h = db->header;
    dbtime_t dbtime = atomic_load(&db->dbtime);
    objid_t objid = atomic_load(&db->objid_last);
    h->dbtime = dbtime > h->dbtime ? dbtime : h->dbtime;
    h->objid_last = objid > h->objid_last ? objid : h->objid_last;
    fn(h, context);
    err_t err = dbfile__wrote(db, db_header_write(db->file, h));
    if (err >= 0) {
        db->header = *h;
        atomic_store(&db->gen_covered, h->gen_max_required);
    }
    os_lock_release(&db->header_lock);
    free(h);
    return err;
}

struct cover {
    uint32_t generation;
    struct logtime created;
};

static void cover(struct db_header *h, void *context)
{
    const struct cover *c = context;
    if (h->gen_max_required < c->generation)
        h->gen_max_required = c->generation;
    if (h->gen_max_committed < c->generation) {
        h->gen_max_committed = c->generation;
        h->time_gen_max_created = c->created;
    }
}

err_t dbfile_cover_generation(struct dbfile *db, uint32_t generation)
{
    if (atomic_load(&db->gen_covered) >= generation || db->log == NULL || !log_is_enabled(db->log))
        return JET_errSuccess;
    struct cover c = {.generation = generation};
    os_lock_take(&db->header_lock);
    bool committed = db->header.gen_max_committed >= generation; /* its time is there already */
    os_lock_release(&db->header_lock);
    if (!committed)
        TRY_RETURN(log_generation_time(db->log, generation, &c.created));
    return dbfile_update_header(db, cover, &c);
}
