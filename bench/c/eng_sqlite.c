#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

/* mem: rollback journal in memory, no sync; os: WAL, no sync; disk: WAL, a sync a commit. */

struct bench_db {
    char path[4096];
    enum bench_class durability;
    uint64_t cache_bytes;
    sqlite3 *first;
};
struct bench_session {
    sqlite3 *c;
    sqlite3_stmt *begin, *begin_write, *commit, *rollback, *insert, *update, *get, *scan;
};

static void must(sqlite3 *c, int rc, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
        die(what, rc, c == NULL ? "" : sqlite3_errmsg(c));
}

static const char *version(void)
{
    return sqlite3_libversion();
}

static bool offers(enum bench_class c)
{
    (void)c;
    return true;
}

static void run(sqlite3 *c, const char *sql)
{
    must(c, sqlite3_exec(c, sql, NULL, NULL, NULL), sql);
}

static sqlite3 *connect_to(const struct bench_db *db)
{
    sqlite3 *c;
    char sql[256];
    must(NULL, sqlite3_open(db->path, &c), "sqlite3_open");
    sqlite3_busy_timeout(c, 60000);
    snprintf(sql, sizeof sql, "PRAGMA page_size=4096; PRAGMA cache_size=-%llu", (unsigned long long)(db->cache_bytes / 1024));
    run(c, sql);
    if (db->durability == CLASS_MEM)
        run(c, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF");
    else if (db->durability == CLASS_OS)
        run(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF");
    else
        run(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
    return c;
}

static struct bench_db *db_open(const struct bench_config *config)
{
    struct bench_db *db = calloc(1, sizeof *db);
    snprintf(db->path, sizeof db->path, "%s/kv.sqlite", config->dir);
    db->durability = config->durability;
    db->cache_bytes = config->cache_bytes;
    db->first = connect_to(db);
    if (config->create)
        run(db->first, "CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID");
    return db;
}

static void db_close(struct bench_db *db)
{
    must(db->first, sqlite3_close(db->first), "sqlite3_close");
    free(db);
}

static sqlite3_stmt *prepare(sqlite3 *c, const char *sql)
{
    sqlite3_stmt *st;
    must(c, sqlite3_prepare_v3(c, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL), sql);
    return st;
}

static struct bench_session *session(struct bench_db *db)
{
    struct bench_session *s = calloc(1, sizeof *s);
    s->c = connect_to(db);
    s->begin = prepare(s->c, "BEGIN");
    s->begin_write = prepare(s->c, "BEGIN IMMEDIATE");
    s->commit = prepare(s->c, "COMMIT");
    s->rollback = prepare(s->c, "ROLLBACK");
    s->insert = prepare(s->c, "INSERT INTO kv VALUES(?,?)");
    s->update = prepare(s->c, "UPDATE kv SET v=?2 WHERE k=?1");
    s->get = prepare(s->c, "SELECT v FROM kv WHERE k=?");
    s->scan = prepare(s->c, "SELECT k, v FROM kv ORDER BY k");
    return s;
}

static void session_end(struct bench_session *s)
{
    sqlite3_stmt *all[] = {s->begin, s->begin_write, s->commit, s->rollback, s->insert, s->update, s->get, s->scan};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    must(s->c, sqlite3_close(s->c), "sqlite3_close");
    free(s);
}

static void step(struct bench_session *s, sqlite3_stmt *st)
{
    must(s->c, sqlite3_step(st), sqlite3_sql(st));
    sqlite3_reset(st);
}

static void begin(struct bench_session *s, bool write)
{
    step(s, write ? s->begin_write : s->begin);
}

static void commit(struct bench_session *s)
{
    step(s, s->commit);
}

static void abort_transaction(struct bench_session *s)
{
    step(s, s->rollback);
}

static void flush(struct bench_session *s)
{
    (void)s; /* each commit was handed to the kernel */
}

static void put(struct bench_session *s, sqlite3_stmt *st, const uint8_t *key, const uint8_t *value)
{
    sqlite3_bind_blob(st, 1, key, KEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, value, VALUE_BYTES, SQLITE_STATIC);
    step(s, st);
}

static bool insert(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    put(s, s->insert, key, value);
    return true;
}

static bool update(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    put(s, s->update, key, value);
    return true;
}

static bool get(struct bench_session *s, const uint8_t *key, uint8_t *value)
{
    bool found = false;
    sqlite3_bind_blob(s->get, 1, key, KEY_BYTES, SQLITE_STATIC);
    int rc = sqlite3_step(s->get);
    must(s->c, rc, "get");
    if (rc == SQLITE_ROW && sqlite3_column_bytes(s->get, 0) == VALUE_BYTES) {
        memcpy(value, sqlite3_column_blob(s->get, 0), VALUE_BYTES);
        found = true;
    }
    sqlite3_reset(s->get);
    return found;
}

static uint64_t scan(struct bench_session *s, uint64_t *sum)
{
    uint64_t rows = 0;
    int rc;
    while ((rc = sqlite3_step(s->scan)) == SQLITE_ROW) {
        if (sqlite3_column_blob(s->scan, 0) == NULL)
            die("scan", 0, "a row without key");
        *sum += load_be64(sqlite3_column_blob(s->scan, 1));
        rows++;
    }
    must(s->c, rc, "scan");
    sqlite3_reset(s->scan);
    return rows;
}

/* One step for all pages: in steps it starts anew with every write of another connection. */
static uint64_t backup(struct bench_db *db, const char *to, bool incremental)
{
    char path[4096];
    sqlite3 *target;
    struct stat st;
    if (incremental)
        die("backup", 0, "SQLite has no incremental backup");
    snprintf(path, sizeof path, "%s/kv.sqlite", to);
    mkdir(to, 0777);
    must(NULL, sqlite3_open(path, &target), "sqlite3_open");
    run(target, "PRAGMA synchronous=FULL");
    sqlite3_backup *b = sqlite3_backup_init(target, "main", db->first, "main");
    if (b == NULL)
        die("sqlite3_backup_init", sqlite3_errcode(target), sqlite3_errmsg(target));
    must(target, sqlite3_backup_step(b, -1), "sqlite3_backup_step");
    must(target, sqlite3_backup_finish(b), "sqlite3_backup_finish");
    must(target, sqlite3_close(target), "sqlite3_close");
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static const char *database_file(void)
{
    return "kv.sqlite";
}

const struct bench_engine bench_engine = {
    .name = "sqlite",
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
