#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* For bench/backup.py alone: RocksDB's BackupEngine beside the others. Sorted runs without compression, a batch a transaction, reads
 * from the database, not from the open batch. */

#define TABLE_BYTES (64u << 20)

struct bench_db {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
};
struct bench_session {
    struct bench_db *db;
    rocksdb_writebatch_t *batch;
};

static void must(char *error, const char *what)
{
    if (error != NULL)
        die(what, 1, error);
}

static const char *version(void)
{
    return "rocksdb";
}

static bool offers(enum bench_class c)
{
    (void)c;
    return true;
}

static struct bench_db *db_open(const struct bench_config *config)
{
    struct bench_db *db = calloc(1, sizeof *db);
    char *error = NULL;
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(config->cache_bytes));
    db->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(db->options, config->create);
    rocksdb_options_set_compression(db->options, rocksdb_no_compression);
    rocksdb_options_set_target_file_size_base(db->options, TABLE_BYTES);
    rocksdb_options_set_block_based_table_factory(db->options, table);
    db->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(db->write, config->durability == CLASS_DISK);
    rocksdb_writeoptions_disable_WAL(db->write, config->durability == CLASS_MEM);
    db->read = rocksdb_readoptions_create();
    db->db = rocksdb_open(db->options, config->dir, &error);
    must(error, "rocksdb_open");
    return db;
}

/* What is left is what a backup has to copy: tables, no log. */
static void db_close(struct bench_db *db)
{
    char *error = NULL;
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_flush(db->db, flush, &error);
    must(error, "rocksdb_flush");
    rocksdb_close(db->db);
    free(db);
}

static struct bench_session *session(struct bench_db *db)
{
    struct bench_session *s = calloc(1, sizeof *s);
    s->db = db;
    s->batch = rocksdb_writebatch_create();
    return s;
}

static void session_end(struct bench_session *s)
{
    rocksdb_writebatch_destroy(s->batch);
    free(s);
}

static void begin(struct bench_session *s, bool write)
{
    (void)write;
    rocksdb_writebatch_clear(s->batch);
}

static void commit(struct bench_session *s)
{
    char *error = NULL;
    if (rocksdb_writebatch_count(s->batch) > 0)
        rocksdb_write(s->db->db, s->db->write, s->batch, &error);
    must(error, "rocksdb_write");
}

static void abort_transaction(struct bench_session *s)
{
    rocksdb_writebatch_clear(s->batch);
}

static void flush(struct bench_session *s)
{
    (void)s;
}

static void insert(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    rocksdb_writebatch_put(s->batch, (const char *)key, KEY_BYTES, (const char *)value, VALUE_BYTES);
}

static bool update(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    insert(s, key, value);
    return true;
}

static bool get(struct bench_session *s, const uint8_t *key, uint8_t *value)
{
    char *error = NULL;
    size_t n = 0;
    char *found = rocksdb_get(s->db->db, s->db->read, (const char *)key, KEY_BYTES, &n, &error);
    must(error, "rocksdb_get");
    bool whole = found != NULL && n == VALUE_BYTES;
    if (whole)
        memcpy(value, found, VALUE_BYTES);
    free(found);
    return whole;
}

static uint64_t scan(struct bench_session *s, uint64_t *sum)
{
    char *error = NULL;
    uint64_t rows = 0;
    size_t n;
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db->db, s->db->read);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it), rows++)
        *sum += load_be64((const uint8_t *)rocksdb_iter_value(it, &n));
    rocksdb_iter_get_error(it, &error);
    must(error, "rocksdb_iter_next");
    rocksdb_iter_destroy(it);
    return rows;
}

/* BackupEngine syncs what it copies; so do the others. */
static uint64_t backup(struct bench_db *db, const char *to, bool incremental)
{
    char *error = NULL;
    (void)incremental; /* tables that the folder has already are not copied again */
    rocksdb_backup_engine_t *engine = rocksdb_backup_engine_open(db->options, to, &error);
    must(error, "rocksdb_backup_engine_open");
    rocksdb_backup_engine_create_new_backup(engine, db->db, &error);
    must(error, "rocksdb_backup_engine_create_new_backup");
    const rocksdb_backup_engine_info_t *info = rocksdb_backup_engine_get_backup_info(engine);
    uint64_t bytes = rocksdb_backup_engine_info_size(info, rocksdb_backup_engine_info_count(info) - 1);
    rocksdb_backup_engine_info_destroy(info);
    rocksdb_backup_engine_close(engine);
    return bytes;
}

static const char *database_file(void)
{
    return "CURRENT";
}

const struct bench_engine bench_engine = {
    .name = "rocksdb",
    .version = version,
    .offers = offers,
    .open = db_open,
    .close = db_close,
    .session = session,
    .session_end = session_end,
    .begin = begin,
    .commit = commit,
    .abort = abort_transaction,
    .flush = flush,
    .insert = insert,
    .update = update,
    .get = get,
    .scan = scan,
    .backup = backup,
    .database_file = database_file,
};
