#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "include/pyjet.h"

struct bench_db {
    JET_INSTANCE instance;
    JET_SESID session;
    JET_DBID dbid;
    char path[4096];
    JET_GRBIT commit;
    PYJET_RECOVERY recovery;
};
struct bench_session {
    struct bench_db *db;
    JET_SESID sesid;
    JET_DBID dbid;
    JET_TABLEID table;
    JET_COLUMNID key, value;
};

static JET_ERR must(JET_ERR err, const char *what)
{
    if (err < 0) {
        char text[512];
        snprintf(text, sizeof text, "%s %s", PyjetErrorName(err), PyjetErrorDetail(err));
        die(what, err, text);
    }
    return err;
}

static const char *version(void)
{
    return "pyjet";
}

static bool offers(enum bench_class c)
{
    return c != CLASS_OS; /* a lazy commit is in the process's memory until the log is written */
}

static void set(JET_INSTANCE *instance, uint32_t id, JET_API_PTR number, const char *text)
{
    must(JetSetSystemParameterA(instance, 0, id, number, text), "JetSetSystemParameter");
}

static void configure(JET_INSTANCE *instance, const char *dir, bool circular)
{
    set(instance, JET_paramSystemPath, 0, dir);
    set(instance, JET_paramLogFilePath, 0, dir);
    set(instance, JET_paramTempPath, 0, dir);
    set(instance, JET_paramCircularLog, circular, NULL);
    set(instance, JET_paramLogFileSize, 16384, NULL);
    set(instance, JET_paramLogBuffers, 2048, NULL);
    set(instance, JET_paramMaxVerPages, 8192, NULL);
    set(instance, JET_paramMaxSessions, 64, NULL);
}

static void make_table(struct bench_db *db)
{
    JET_TABLEID table;
    JET_COLUMNID id;
    JET_COLUMNDEF def = {.cbStruct = sizeof def, .coltyp = JET_coltypBinary, .cbMax = 255};
    must(JetBeginTransaction(db->session), "JetBeginTransaction");
    must(JetCreateTableA(db->session, db->dbid, "kv", 1, 100, &table), "JetCreateTable");
    must(JetAddColumnA(db->session, table, "k", &def, NULL, 0, &id), "JetAddColumn");
    must(JetAddColumnA(db->session, table, "v", &def, NULL, 0, &id), "JetAddColumn");
    must(JetCreateIndexA(db->session, table, "pk", JET_bitIndexPrimary, "+k\0", 4, 100), "JetCreateIndex");
    must(JetCloseTable(db->session, table), "JetCloseTable");
    must(JetCommitTransaction(db->session, 0), "JetCommitTransaction");
}

static struct bench_db *db_open(const struct bench_config *config)
{
    struct bench_db *db = calloc(1, sizeof *db);
    set(NULL, JET_paramCacheSizeMax, (JET_API_PTR)(config->cache_bytes / 4096), NULL);
    must(JetCreateInstanceA(&db->instance, "bench"), "JetCreateInstance");
    configure(&db->instance, config->dir, !config->keep_logs);
    JET_API_PTR depth = (config->no_checkpoint ? 2000000000u : config->cache_bytes / 4);
    set(&db->instance, JET_paramCheckpointDepthMax, depth, NULL);
    must(PyjetInit(&db->instance, 0, NULL, NULL, &db->recovery), "PyjetInit");
    must(JetBeginSessionA(db->instance, &db->session, NULL, NULL), "JetBeginSession");
    snprintf(db->path, sizeof db->path, "%s/kv.edb", config->dir);
    db->commit = config->durability == CLASS_DISK ? 0 : JET_bitCommitLazyFlush;
    if (config->create) {
        must(JetCreateDatabaseA(db->session, db->path, NULL, &db->dbid, 0), "JetCreateDatabase");
        make_table(db);
    } else {
        must(JetAttachDatabaseA(db->session, db->path, 0), "JetAttachDatabase");
        must(JetOpenDatabaseA(db->session, db->path, NULL, &db->dbid, 0), "JetOpenDatabase");
    }
    return db;
}

static void db_close(struct bench_db *db)
{
    must(JetEndSession(db->session, 0), "JetEndSession");
    must(JetTerm2(db->instance, JET_bitTermComplete), "JetTerm2");
    free(db);
}

static struct bench_session *session(struct bench_db *db)
{
    struct bench_session *s = calloc(1, sizeof *s);
    JET_COLUMNDEF def = {.cbStruct = sizeof def};
    s->db = db;
    must(JetBeginSessionA(db->instance, &s->sesid, NULL, NULL), "JetBeginSession");
    must(JetOpenDatabaseA(s->sesid, db->path, NULL, &s->dbid, 0), "JetOpenDatabase");
    must(JetOpenTableA(s->sesid, s->dbid, "kv", NULL, 0, 0, &s->table), "JetOpenTable");
    must(JetGetTableColumnInfoA(s->sesid, s->table, "k", &def, sizeof def, JET_ColInfo), "JetGetTableColumnInfo");
    s->key = def.columnid;
    must(JetGetTableColumnInfoA(s->sesid, s->table, "v", &def, sizeof def, JET_ColInfo), "JetGetTableColumnInfo");
    s->value = def.columnid;
    return s;
}

static void session_end(struct bench_session *s)
{
    must(JetEndSession(s->sesid, 0), "JetEndSession");
    free(s);
}

static void begin(struct bench_session *s, bool write)
{
    must(JetBeginTransaction2(s->sesid, write ? 0 : JET_bitTransactionReadOnly), "JetBeginTransaction");
}

static void commit(struct bench_session *s)
{
    must(JetCommitTransaction(s->sesid, s->db->commit), "JetCommitTransaction");
}

static void abort_transaction(struct bench_session *s)
{
    must(JetRollback(s->sesid, 0), "JetRollback");
}

static void flush(struct bench_session *s)
{
    must(JetCommitTransaction(s->sesid, JET_bitWaitAllLevel0Commit), "JetCommitTransaction");
}

static bool conflicts(JET_ERR err, const char *what)
{
    if (err == JET_errWriteConflict)
        return true;
    must(err, what);
    return false;
}

static bool insert(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    const JET_COLUMNID ids[2] = {s->key, s->value};
    const PYJET_CELL cells[2] = {{.pv = key, .cb = KEY_BYTES, .values = 1}, {.pv = value, .cb = VALUE_BYTES, .values = 1}};
    return !conflicts(PyjetInsertRow(s->sesid, s->table, ids, cells, 2, NULL, 0, NULL), "PyjetInsertRow");
}

static JET_ERR seek(struct bench_session *s, const uint8_t *key)
{
    must(JetMakeKey(s->sesid, s->table, key, KEY_BYTES, JET_bitNewKey), "JetMakeKey");
    return JetSeek(s->sesid, s->table, JET_bitSeekEQ);
}

static bool update(struct bench_session *s, const uint8_t *key, const uint8_t *value)
{
    must(seek(s, key), "JetSeek");
    if (conflicts(JetPrepareUpdate(s->sesid, s->table, JET_prepReplace), "JetPrepareUpdate"))
        return false;
    must(JetSetColumn(s->sesid, s->table, s->value, value, VALUE_BYTES, 0, NULL), "JetSetColumn");
    return !conflicts(JetUpdate(s->sesid, s->table, NULL, 0, NULL), "JetUpdate");
}

static bool get(struct bench_session *s, const uint8_t *key, uint8_t *value)
{
    const PYJET_CELL wanted = {.pv = key, .cb = KEY_BYTES, .values = 1};
    PYJET_CELL cell;
    JET_ERR err = PyjetGetRow(s->sesid, s->table, &wanted, 1, &s->value, 1, &cell, NULL);
    if (err == JET_errRecordNotFound)
        return false;
    must(err, "PyjetGetRow");
    if (cell.null || cell.cb != VALUE_BYTES)
        return false;
    memcpy(value, cell.pv, VALUE_BYTES);
    return true;
}

static uint64_t scan(struct bench_session *s, uint64_t *sum)
{
    enum { ROWS = 256 };
    PYJET_CELL cells[ROWS * 2];
    JET_COLUMNID ids[2] = {s->key, s->value};
    uint64_t rows = 0;
    uint32_t n = ROWS;
    if (JetMove(s->sesid, s->table, JET_MoveFirst, 0) == JET_errNoCurrentRecord)
        return 0;
    for (;; rows += n) {
        n = ROWS;
        must(PyjetFetchRows(s->sesid, s->table, ids, 2, 0, cells, NULL, &n), "PyjetFetchRows");
        for (uint32_t i = 0; i < n; i++)
            *sum += load_be64(cells[2 * i + 1].pv);
        if (n == 0)
            return rows;
    }
}

static uint64_t scan_rows(struct bench_session *s, uint64_t *sum)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    JET_RETRIEVECOLUMN columns[2] = {
        {.columnid = s->key, .pvData = key, .cbData = sizeof key, .itagSequence = 1},
        {.columnid = s->value, .pvData = value, .cbData = sizeof value, .itagSequence = 1},
    };
    uint64_t rows = 0;
    JET_ERR err = JetMove(s->sesid, s->table, JET_MoveFirst, 0);
    for (; err != JET_errNoCurrentRecord; rows++) {
        must(err, "JetMove");
        must(JetRetrieveColumns(s->sesid, s->table, columns, 2), "JetRetrieveColumns");
        *sum += load_be64(value);
        err = JetMove(s->sesid, s->table, JET_MoveNext, 0);
    }
    return rows;
}

static uint64_t backup(struct bench_db *db, const char *to, bool incremental)
{
    static PYJET_BACKUP result;
    must(PyjetBackup(db->instance, to, incremental ? JET_bitBackupIncremental : 0, NULL, NULL, &result), "PyjetBackup");
    return result.bytes;
}

static uint64_t restore(const char *from, const char *to, uint64_t cache_bytes)
{
    (void)cache_bytes;
    static PYJET_RESTORE result;
    JET_INSTANCE instance;
    must(JetCreateInstanceA(&instance, "restore"), "JetCreateInstance");
    configure(&instance, to, true);
    must(PyjetRestore(instance, from, to, NULL, NULL, NULL, &result), "PyjetRestore");
    return result.bytes;
}

/* The set's database lies in `to` already, as cp put it there: its trailer goes, and the set's logs are redone. */
static uint64_t replay(const char *from, const char *to)
{
    static PYJET_SET set;
    char path[4200];
    must(PyjetSurveySet(from, &set), "PyjetSurveySet");
    snprintf(path, sizeof path, "%s/%s", to, "kv.edb");
    JET_RSTMAP_A map = {set.original[0], path};
    must(JetSetSystemParameterA(NULL, 0, JET_paramLogFileSize, set.log_file_size / 1024, NULL), "JetSetSystemParameter");
    must(JetExternalRestoreA((char *)(uintptr_t)to, (char *)(uintptr_t)to, &map, 1, (char *)(uintptr_t)from, 0, 0, NULL), "JetExternalRestore");
    return 0;
}

static const char *database_file(void)
{
    return "kv.edb";
}

static void counters(struct bench_db *db, struct bench_counters *out)
{
    static PYJET_STATS stats;
    must(PyjetStats(db->instance, &stats), "PyjetStats");
    out->syncs = stats.os_syncs;
    out->log_bytes = stats.log_bytes;
    out->page_writes = stats.cache_writes;
    out->undo_info = stats.undo_info;
    out->redo_records = db->recovery.applied + db->recovery.skipped;
}

const struct bench_engine bench_engine = {
    .name = "pyjet",
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
    .replay = replay,
    .database_file = database_file,
    .counters = counters,
};
