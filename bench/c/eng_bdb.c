#include <db.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* Berkeley DB with locks, log and transactions, in one process. mem: a commit stays in the log's buffer; os: written; disk: synced.
 * A read is of the row as last committed and holds no lock afterwards: transactions are the writers'. */

#define LOG_FILE_BYTES (16u << 20) /* as pyjet's; files are copied whole */
#define LOG_BUFFER_BYTES (4u << 20) /* the most for such files */
#define BULK_BYTES (256u << 10)

struct bench_db {
    DB_ENV *env;
    DB *db;
    uint32_t commit;
    uint32_t checkpoint_kb;
    pthread_t checkpointer;
    _Atomic bool closing;
};
struct bench_session {
    struct bench_db *db;
    DB_TXN *txn; /* NULL: reads */
    uint8_t *bulk;
};

static void must(int rc, const char *what)
{
    if (rc != 0)
        die(what, rc, db_strerror(rc));
}

static const char *version(void)
{
    static char text[32];
    int major, minor, patch;
    db_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static bool offers(enum bench_class c)
{
    (void)c;
    return true;
}

static DB_ENV *open_environment(const char *dir, uint64_t cache_bytes, uint32_t more)
{
    DB_ENV *env;
    must(db_env_create(&env, 0), "db_env_create");
    env->set_errfile(env, stderr);
    must(env->set_cachesize(env, (uint32_t)(cache_bytes >> 30), (uint32_t)(cache_bytes & 0x3fffffff), 1), "set_cachesize");
    must(env->set_lg_max(env, LOG_FILE_BYTES), "set_lg_max");
    must(env->set_lg_bsize(env, LOG_BUFFER_BYTES), "set_lg_bsize");
    must(env->set_lk_max_locks(env, 100000), "set_lk_max_locks");
    must(env->set_lk_max_objects(env, 100000), "set_lk_max_objects");
    must(env->set_lk_detect(env, DB_LOCK_DEFAULT), "set_lk_detect");
    uint32_t flags = DB_CREATE | DB_PRIVATE | DB_THREAD | DB_INIT_MPOOL | DB_INIT_LOCK | DB_INIT_LOG | DB_INIT_TXN;
    must(env->open(env, dir, flags | more, 0666), "DB_ENV->open");
    return env;
}

/* As often as pyjet: when the log since the last one is a quarter of the cache. */
static void *checkpoint_on(void *context)
{
    struct bench_db *db = context;
    for (unsigned tick = 1; !atomic_load(&db->closing); tick++) {
        usleep(20000);
        if (tick % 50 == 0)
            must(db->env->txn_checkpoint(db->env, db->checkpoint_kb, 0, 0), "txn_checkpoint");
    }
    return NULL;
}

static struct bench_db *db_open(const struct bench_config *config)
{
    struct bench_db *db = calloc(1, sizeof *db);
    db->commit = config->durability == CLASS_MEM ? DB_TXN_NOSYNC : config->durability == CLASS_OS ? DB_TXN_WRITE_NOSYNC : DB_TXN_SYNC;
    db->env = open_environment(config->dir, config->cache_bytes, DB_RECOVER);
    must(db->env->log_set_config(db->env, DB_LOG_AUTO_REMOVE, !config->keep_logs), "log_set_config");
    must(db_create(&db->db, db->env, 0), "db_create");
    must(db->db->set_pagesize(db->db, 4096), "set_pagesize");
    uint32_t create = config->create ? DB_CREATE | DB_EXCL : 0;
    must(db->db->open(db->db, NULL, "kv.db", NULL, DB_BTREE, DB_THREAD | DB_AUTO_COMMIT | create, 0666), "DB->open");
    db->checkpoint_kb = (uint32_t)(config->cache_bytes / 4 / 1024);
    atomic_store(&db->closing, config->no_checkpoint);
    if (pthread_create(&db->checkpointer, NULL, checkpoint_on, db) != 0)
        die("pthread_create", 0, "");
    return db;
}

static void db_close(struct bench_db *db)
{
    atomic_store(&db->closing, true);
    pthread_join(db->checkpointer, NULL);
    must(db->env->txn_checkpoint(db->env, 0, 0, DB_FORCE), "txn_checkpoint");
    must(db->db->close(db->db, 0), "DB->close");
    must(db->env->close(db->env, 0), "DB_ENV->close");
    free(db);
}

static struct bench_session *session(struct bench_db *db)
{
    struct bench_session *s = calloc(1, sizeof *s);
    s->db = db;
    s->bulk = malloc(BULK_BYTES);
    return s;
}

static void session_end(struct bench_session *s)
{
    free(s->bulk);
    free(s);
}

static void begin(struct bench_session *s, bool write)
{
    s->txn = NULL;
    if (write)
        must(s->db->env->txn_begin(s->db->env, NULL, &s->txn, s->db->commit), "txn_begin");
}

static void commit(struct bench_session *s)
{
    if (s->txn != NULL)
        must(s->txn->commit(s->txn, 0), "commit");
}

static void abort_transaction(struct bench_session *s)
{
    if (s->txn != NULL)
        must(s->txn->abort(s->txn), "abort");
}

static void flush(struct bench_session *s)
{
    must(s->db->env->log_flush(s->db->env, NULL), "log_flush");
}

static DBT bytes_in(const uint8_t *data, uint32_t size)
{
    return (DBT){.data = (void *)(uintptr_t)data, .size = size};
}

static DBT room_for(void *data, uint32_t size)
{
    return (DBT){.data = data, .ulen = size, .flags = DB_DBT_USERMEM};
}

static bool put(struct bench_session *s, const uint8_t *key, const uint8_t *value, uint32_t flags)
{
    DBT k = bytes_in(key, KEY_BYTES), v = bytes_in(value, VALUE_BYTES);
    int rc = s->db->db->put(s->db->db, s->txn, &k, &v, flags);
    if (rc == DB_LOCK_DEADLOCK)
        return false;
    must(rc, "DB->put");
    return true;
}

static bool insert(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    return put(s, key, value, DB_NOOVERWRITE);
}

static bool update(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    return put(s, key, value, 0);
}

/* A reader that the deadlock detector chose holds nothing: it asks again. */
static bool get(struct bench_session *s, const uint8_t *key, uint8_t *value)
{
    DBT k = bytes_in(key, KEY_BYTES), v = room_for(value, VALUE_BYTES);
    int rc;
    do
        rc = s->db->db->get(s->db->db, NULL, &k, &v, 0);
    while (rc == DB_LOCK_DEADLOCK);
    if (rc == DB_NOTFOUND)
        return false;
    must(rc, "DB->get");
    return v.size == VALUE_BYTES;
}

static DBC *open_cursor(struct bench_session *s)
{
    DBC *cursor;
    must(s->db->db->cursor(s->db->db, NULL, &cursor, 0), "DB->cursor");
    return cursor;
}

static void end_scan(DBC *cursor, int rc)
{
    if (rc != DB_NOTFOUND)
        must(rc, "DBC->get");
    must(cursor->close(cursor), "DBC->close");
}

static uint64_t take_bulk(DBT *bulk, uint64_t *sum)
{
    uint64_t rows = 0;
    uint32_t key_bytes, value_bytes;
    uint8_t *key, *value;
    void *at;
    DB_MULTIPLE_INIT(at, bulk);
    for (;; rows++) {
        DB_MULTIPLE_KEY_NEXT(at, bulk, key, key_bytes, value, value_bytes);
        if (at == NULL)
            return rows;
        if (key == NULL || key_bytes != KEY_BYTES || value_bytes != VALUE_BYTES)
            die("scan", value_bytes, "a row of another size");
        *sum += load_be64(value);
    }
}

static uint64_t scan(struct bench_session *s, uint64_t *sum)
{
    uint8_t none[KEY_BYTES]; /* keys come with the bulk */
    DBT key = room_for(none, sizeof none), bulk = room_for(s->bulk, BULK_BYTES);
    DBC *cursor = open_cursor(s);
    uint64_t rows = 0;
    int rc;
    while ((rc = cursor->get(cursor, &key, &bulk, DB_NEXT | DB_MULTIPLE_KEY)) == 0)
        rows += take_bulk(&bulk, sum);
    end_scan(cursor, rc);
    return rows;
}

static uint64_t scan_rows(struct bench_session *s, uint64_t *sum)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    DBT k = room_for(key, sizeof key), v = room_for(value, sizeof value);
    DBC *cursor = open_cursor(s);
    uint64_t rows = 0;
    int rc;
    for (; (rc = cursor->get(cursor, &k, &v, DB_NEXT)) == 0; rows++)
        *sum += load_be64(value);
    end_scan(cursor, rc);
    return rows;
}

/* As db_hotbackup -c, then db_hotbackup -u: an increment puts the log of now, whole files, in the place of the set's. */
static uint64_t backup(struct bench_db *db, const char *to, bool incremental)
{
    struct timespec start = folder_now();
    if (incremental)
        must(db->env->log_flush(db->env, NULL), "log_flush");
    else
        must(db->env->txn_checkpoint(db->env, 0, 0, 0), "txn_checkpoint");
    must(db->env->backup(db->env, to, DB_BACKUP_CLEAN | (incremental ? DB_BACKUP_UPDATE : DB_CREATE)), "DB_ENV->backup");
    folder_sync(to);
    return folder_bytes_since(to, start);
}

/* The set's files, then as db_recover -c: all of its log. */
static uint64_t restore(const char *from, const char *to, uint64_t cache_bytes)
{
    uint64_t bytes = folder_copy(from, to);
    DB_ENV *env = open_environment(to, cache_bytes, DB_RECOVER_FATAL);
    must(env->close(env, 0), "DB_ENV->close");
    folder_sync(to);
    return bytes;
}

static const char *database_file(void)
{
    return "kv.db";
}

const struct bench_engine bench_engine = {
    .name = "bdb",
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
    .scan_rows = scan_rows,
    .backup = backup,
    .restore = restore,
    .database_file = database_file,
};
