#include "engine/engine_private.h"

/* A database file alone, without an instance: read-only, in a cache of its own (its page size may differ from the process's). */

#define READER_CACHE_BYTES (64ull << 20)

struct reader {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct dbfile *db;
    struct trx trx, inner;
    bool has_trx, has_space, has_catalog;
    struct txn_databases finder;
};

static struct dbfile *find_none(void *context, dbid_t dbid)
{
    struct reader *r = context;
    return dbid == 1 ? r->db : NULL;
}

/* A small file gets a small cache: what is opened unseen should cost no more than it is long. */
static err_t cache_bytes(const char *path, uint64_t *bytes)
{
    struct os_file *f;
    TRY_RETURN(os_file_open(path, OS_READ, &f));
    err_t err = os_file_size(f, bytes);
    os_file_close(f);
    if (*bytes > READER_CACHE_BYTES)
        *bytes = READER_CACHE_BYTES;
    return err;
}

static err_t open_rooms(struct reader *r, const char *path, uint32_t page_size)
{
    uint64_t bytes = 0;
    TRY_RETURN(cache_bytes(path, &bytes));
    struct cache_config cache = {.page_size = page_size, .bytes_max = bytes, .bytes_min = page_size};
    struct log_config log = {.log_dir = "/", .system_dir = "/", .base_name = "edb", .file_size = 65536, .page_size = page_size, .enabled = false};
    TRY_RETURN(cache_create(&cache, &r->cache));
    TRY_RETURN(log_create(&log, &r->log));
    TRY_RETURN(versions_create(1 << 20, &r->versions));
    trx_init(&r->inner, r->versions, r->log, PROCID_SYSTEM + 1, true, NULL);
    trx_init(&r->trx, r->versions, r->log, PROCID_SYSTEM, false, &r->inner);
    r->has_trx = true;
    r->finder = (struct txn_databases){.context = r, .find = find_none};
    return JET_errSuccess;
}

static err_t open_database(struct reader *r, const char *path, bool allow_dirty)
{
    struct dbfile_config config = {.cache = r->cache, .log = r->log, .versions = r->versions, .dbid = 1, .read_only = true};
    TRY_RETURN(dbfile_open(&config, path, &r->db));
    if (r->db->header.state != DB_CLEAN && !allow_dirty) {
        err_t err = RAISE(JET_errDatabaseDirtyShutdown);
        err_detail("%s was not shut down cleanly: recover it with its logs, or read it as it lies", path);
        return err;
    }
    TRY_RETURN(space_init(r->db));
    r->has_space = true;
    TRY_RETURN(catalog_open(r->db, &r->finder, "/tmp", &r->trx));
    r->has_catalog = true;
    return JET_errSuccess;
}

err_t reader_open(const char *path, bool allow_dirty, struct reader **out)
{
    err_t err = JET_errSuccess;
    struct db_header header;
    *out = NULL;
    TRY_RETURN(db_header_read_path(path, &header));
    if (header.version != 0x620) {
        err = RAISE(JET_errInvalidDatabaseVersion);
        err_detail("%s has format 0x%x; this engine reads 0x620", path, header.version);
        return err;
    }
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(open_rooms(r, path, header.page_size));
    TRY(open_database(r, path, allow_dirty));
    *out = r;
    return JET_errSuccess;
out: {
    struct err_origin origin = *err_last();
    reader_close(r);
    err_restore(&origin);
    return err;
}
}

void reader_close(struct reader *r)
{
    if (r == NULL)
        return;
    if (r->has_catalog)
        catalog_close(r->db);
    if (r->has_space)
        space_term(r->db);
    if (r->db != NULL)
        dbfile_close(r->db);
    if (r->has_trx) {
        trx_term(&r->trx);
        trx_term(&r->inner);
    }
    versions_destroy(r->versions);
    log_destroy(r->log);
    if (r->cache != NULL)
        cache_destroy(r->cache);
    free(r);
}

struct dbfile *reader_db(struct reader *r)
{
    return r->db;
}

struct trx *reader_trx(struct reader *r)
{
    return &r->trx;
}

err_t reader_open_table(struct reader *r, const char *name, struct table_cursor **out)
{
    struct table_desc *desc;
    *out = NULL;
    TRY_RETURN(catalog_table(r->db, &r->trx, name, &desc));
    err_t err = cursor_open(desc, &r->trx, JET_bitTableReadOnly, out);
    if (err < 0)
        catalog_release(desc);
    return err;
}

void reader_close_table(struct reader *r, struct table_cursor *c)
{
    (void)r;
    struct table_desc *desc = cursor_table(c);
    cursor_close(c);
    catalog_release(desc);
}
