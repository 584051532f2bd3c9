#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* A plain DB: a WriteBatch is a transaction (atomic, without conflicts, uniqueness or reads of the open batch), a read is of the row as
 * last committed. mem: no log, kill -9 loses what memtables hold; os: log written; disk: log synced. Bloom filter, no compression. */

#define TABLE_BYTES (64u << 20)
#define WHOLE_LOG_BYTES (2ul << 30) /* no memtable is written out before so much log */

struct bench_db {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    bool logs;
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
    return ROCKSDB_VERSION;
}

static bool offers(enum bench_class c)
{
    (void)c;
    return true;
}

static rocksdb_options_t *make_options(uint64_t cache_bytes)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(cache_bytes));
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_target_file_size_base(options, TABLE_BYTES);
    return options;
}

static struct bench_db *db_open(const struct bench_config *config)
{
    struct bench_db *db = calloc(1, sizeof *db);
    char *error = NULL;
    db->logs = config->durability != CLASS_MEM;
    db->options = make_options(config->cache_bytes);
    rocksdb_options_set_create_if_missing(db->options, config->create);
    if (config->no_checkpoint)
        rocksdb_options_set_write_buffer_size(db->options, WHOLE_LOG_BYTES);
    db->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(db->write, config->durability == CLASS_DISK);
    rocksdb_writeoptions_disable_WAL(db->write, !db->logs);
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
    if (write)
        rocksdb_writebatch_clear(s->batch);
}

static void commit(struct bench_session *s)
{
    char *error = NULL;
    if (rocksdb_writebatch_count(s->batch) > 0)
        rocksdb_write(s->db->db, s->db->write, s->batch, &error);
    must(error, "rocksdb_write");
    rocksdb_writebatch_clear(s->batch);
}

static void abort_transaction(struct bench_session *s)
{
    rocksdb_writebatch_clear(s->batch);
}

static void flush(struct bench_session *s)
{
    if (!s->db->logs)
        die("flush", 0, "there is no log in this durability class");
}

static bool insert(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    rocksdb_writebatch_put(s->batch, (const char *)key, KEY_BYTES, (const char *)value, VALUE_BYTES);
    return true;
}

static bool get(struct bench_session *s, const uint8_t *key, uint8_t *value)
{
    char *error = NULL;
    size_t n = 0;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(s->db->db, s->db->read, (const char *)key, KEY_BYTES, &error);
    must(error, "rocksdb_get_pinned");
    if (found == NULL)
        return false;
    const char *data = rocksdb_pinnableslice_value(found, &n);
    if (n == VALUE_BYTES)
        memcpy(value, data, VALUE_BYTES);
    rocksdb_pinnableslice_destroy(found);
    return n == VALUE_BYTES;
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

static rocksdb_backup_engine_t *open_backups(rocksdb_options_t *options, const char *folder)
{
    char *error = NULL;
    rocksdb_backup_engine_t *engine = rocksdb_backup_engine_open(options, folder, &error);
    must(error, "rocksdb_backup_engine_open");
    return engine;
}

/* BackupEngine syncs what it copies. Tables that the folder has already are not copied again: that is its increment. Without a log the
 * memtables are written out first. */
static uint64_t backup(struct bench_db *db, const char *to, bool incremental)
{
    char *error = NULL;
    (void)incremental;
    struct timespec start = folder_now();
    rocksdb_backup_engine_t *engine = open_backups(db->options, to);
    rocksdb_backup_engine_create_new_backup_flush(engine, db->db, !db->logs, &error);
    must(error, "rocksdb_backup_engine_create_new_backup_flush");
    rocksdb_backup_engine_close(engine);
    return folder_bytes_since(to, start);
}

static uint64_t restore(const char *from, const char *to, uint64_t cache_bytes)
{
    char *error = NULL;
    struct timespec start = folder_now();
    rocksdb_restore_options_t *options = rocksdb_restore_options_create();
    rocksdb_backup_engine_t *engine = open_backups(make_options(cache_bytes), from);
    rocksdb_backup_engine_restore_db_from_latest_backup(engine, to, to, options, &error);
    must(error, "rocksdb_backup_engine_restore_db_from_latest_backup");
    rocksdb_backup_engine_close(engine);
    rocksdb_restore_options_destroy(options);
    folder_sync(to);
    return folder_bytes_since(to, start);
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
    .update = insert,
    .get = get,
    .scan = scan,
    .backup = backup,
    .restore = restore,
    .database_file = database_file,
};
