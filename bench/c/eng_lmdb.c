#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

/* mem: writable map, no sync; os: no sync; disk: as it comes. No log: pages are copied on write. */

struct bench_db {
    MDB_env *env;
    MDB_dbi dbi;
};
struct bench_session {
    struct bench_db *db;
    MDB_txn *txn;
    MDB_cursor *cursor;
};

static void must(int rc, const char *what)
{
    if (rc != MDB_SUCCESS)
        die(what, rc, mdb_strerror(rc));
}

static const char *version(void)
{
    return mdb_version(NULL, NULL, NULL);
}

static bool offers(enum bench_class c)
{
    (void)c;
    return true;
}

static struct bench_db *db_open(const struct bench_config *config)
{
    struct bench_db *db = calloc(1, sizeof *db);
    MDB_txn *txn;
    unsigned flags = config->durability == CLASS_MEM  ? MDB_WRITEMAP | MDB_NOSYNC
                     : config->durability == CLASS_OS ? MDB_NOSYNC
                                                      : 0;
    must(mdb_env_create(&db->env), "mdb_env_create");
    must(mdb_env_set_mapsize(db->env, config->cache_bytes * 4), "mdb_env_set_mapsize");
    must(mdb_env_open(db->env, config->dir, flags | MDB_NOTLS, 0666), "mdb_env_open");
    must(mdb_txn_begin(db->env, NULL, 0, &txn), "mdb_txn_begin");
    must(mdb_dbi_open(txn, NULL, 0, &db->dbi), "mdb_dbi_open");
    must(mdb_txn_commit(txn), "mdb_txn_commit");
    return db;
}

static void db_close(struct bench_db *db)
{
    must(mdb_env_sync(db->env, 1), "mdb_env_sync");
    mdb_env_close(db->env);
    free(db);
}

static struct bench_session *session(struct bench_db *db)
{
    struct bench_session *s = calloc(1, sizeof *s);
    s->db = db;
    return s;
}

static void session_end(struct bench_session *s)
{
    free(s);
}

static void begin(struct bench_session *s, bool write)
{
    must(mdb_txn_begin(s->db->env, NULL, write ? 0 : MDB_RDONLY, &s->txn), "mdb_txn_begin");
    must(mdb_cursor_open(s->txn, s->db->dbi, &s->cursor), "mdb_cursor_open");
}

static void commit(struct bench_session *s)
{
    mdb_cursor_close(s->cursor);
    must(mdb_txn_commit(s->txn), "mdb_txn_commit");
}

static void abort_transaction(struct bench_session *s)
{
    mdb_cursor_close(s->cursor);
    mdb_txn_abort(s->txn);
}

static void flush(struct bench_session *s)
{
    (void)s;
}

static void put(struct bench_session *s, const uint8_t *key, const uint8_t *value, unsigned flags)
{
    MDB_val k = {KEY_BYTES, (void *)(uintptr_t)key}, v = {VALUE_BYTES, (void *)(uintptr_t)value};
    must(mdb_cursor_put(s->cursor, &k, &v, flags), "mdb_cursor_put");
}

static bool insert(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    put(s, key, value, MDB_NOOVERWRITE);
    return true;
}

static bool update(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    put(s, key, value, 0);
    return true;
}

static bool get(struct bench_session *s, const uint8_t *key, uint8_t *value)
{
    MDB_val k = {KEY_BYTES, (void *)(uintptr_t)key}, v;
    int rc = mdb_cursor_get(s->cursor, &k, &v, MDB_SET);
    if (rc == MDB_NOTFOUND)
        return false;
    must(rc, "mdb_cursor_get");
    if (v.mv_size != VALUE_BYTES)
        return false;
    memcpy(value, v.mv_data, VALUE_BYTES);
    return true;
}

static uint64_t scan(struct bench_session *s, uint64_t *sum)
{
    MDB_val k, v;
    uint64_t rows = 0;
    int rc;
    while ((rc = mdb_cursor_get(s->cursor, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
        *sum += load_be64(v.mv_data);
        rows++;
    }
    if (rc != MDB_NOTFOUND)
        must(rc, "mdb_cursor_get");
    return rows;
}

static uint64_t backup(struct bench_db *db, const char *to, bool incremental)
{
    char path[4096];
    struct stat st;
    if (incremental)
        die("backup", 0, "LMDB has no incremental backup");
    mkdir(to, 0777);
    must(mdb_env_copy(db->env, to), "mdb_env_copy");
    folder_sync(to);
    snprintf(path, sizeof path, "%s/data.mdb", to);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static const char *database_file(void)
{
    return "data.mdb";
}

const struct bench_engine bench_engine = {
    .name = "lmdb",
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
