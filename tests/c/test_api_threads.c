/* api under threads: sessions that write and read, streaming backups, checkpoints, log rolls, attach and detach, callbacks of
 * progress and events, all at once, for a while; then sums that must agree. Run under ThreadSanitizer by the mark threads.
 * PYJET_STRESS_SECONDS: how long (2). */
#include "ctest.h"
#include "remove.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/err.h"
#include "os/os.h"

#include "include/esent.h"
#include "include/pyjet.h"

#define SESSIONS 8
#define ACCOUNTS 40
#define EACH 1000

static char dir[512];
static JET_INSTANCE inst;
static _Atomic bool stop;
static _Atomic uint64_t transfers, conflicts, backups, attaches, events, progress_calls, scans, schemas;

static void in_dir(const char *name, char *path)
{
    snprintf(path, 1024, "%s/%s", dir, name);
}

static void begin_instance(void)
{
    CHECK_OK(JetCreateInstance(&inst, "threads"));
    CHECK_OK(JetSetSystemParameter(&inst, 0, JET_paramSystemPath, 0, dir));
    CHECK_OK(JetSetSystemParameter(&inst, 0, JET_paramLogFilePath, 0, dir));
    CHECK_OK(JetSetSystemParameter(&inst, 0, JET_paramTempPath, 0, dir));
    CHECK_OK(JetSetSystemParameter(&inst, 0, JET_paramLogFileSize, 64, NULL));
    CHECK_OK(JetSetSystemParameter(&inst, 0, JET_paramCreatePathIfNotExist, 1, NULL));
    CHECK_OK(JetSetSystemParameter(&inst, 0, JET_paramCheckpointDepthMax, 128 << 10, NULL));
    CHECK_OK(JetInit(&inst));
}

/* ---- the bank ---- */

struct account {
    JET_SESID ses;
    JET_DBID db;
    JET_TABLEID table;
    JET_COLUMNID id, amount, note;
};

static void open_bank(struct account *a)
{
    char path[1024];
    JET_COLUMNDEF def;
    in_dir("a.edb", path);
    CHECK_OK(JetBeginSession(inst, &a->ses, NULL, NULL));
    CHECK_OK(JetOpenDatabase(a->ses, path, NULL, &a->db, 0));
    CHECK_OK(JetOpenTable(a->ses, a->db, "bank", NULL, 0, 0, &a->table));
    const char *names[3] = {"id", "amount", "note"};
    JET_COLUMNID *to[3] = {&a->id, &a->amount, &a->note};
    for (int i = 0; i < 3; i++) {
        CHECK_OK(JetGetTableColumnInfo(a->ses, a->table, names[i], &def, sizeof def, JET_ColInfo));
        *to[i] = def.columnid;
    }
}

static void make_bank(void)
{
    char path[1024];
    struct account a;
    in_dir("a.edb", path);
    CHECK_OK(JetBeginSession(inst, &a.ses, NULL, NULL));
    CHECK_OK(JetCreateDatabase(a.ses, path, NULL, &a.db, 0));
    CHECK_OK(JetCreateTable(a.ses, a.db, "bank", 1, 80, &a.table));
    JET_COLUMNDEF number = {.cbStruct = sizeof number, .coltyp = JET_coltypLong}, text = {.cbStruct = sizeof text, .coltyp = JET_coltypLongBinary};
    CHECK_OK(JetAddColumn(a.ses, a.table, "id", &number, NULL, 0, &a.id));
    CHECK_OK(JetAddColumn(a.ses, a.table, "amount", &number, NULL, 0, &a.amount));
    CHECK_OK(JetAddColumn(a.ses, a.table, "note", &text, NULL, 0, &a.note));
    CHECK_OK(JetCreateIndex(a.ses, a.table, "pk", JET_bitIndexPrimary, "+id\0", 5, 80));
    CHECK_OK(JetCreateIndex(a.ses, a.table, "by_amount", 0, "+amount\0", 9, 80));
    for (int32_t id = 0; id < ACCOUNTS; id++) {
        int32_t amount = EACH;
        CHECK_OK(JetPrepareUpdate(a.ses, a.table, JET_prepInsert));
        CHECK_OK(JetSetColumn(a.ses, a.table, a.id, &id, sizeof id, 0, NULL));
        CHECK_OK(JetSetColumn(a.ses, a.table, a.amount, &amount, sizeof amount, 0, NULL));
        CHECK_OK(JetUpdate(a.ses, a.table, NULL, 0, NULL));
    }
    in_dir("b.edb", path);
    CHECK_OK(JetCreateDatabase(a.ses, path, NULL, &a.db, 0));
    CHECK_OK(JetEndSession(a.ses, 0)); /* closes them; they stay attached */
}

static JET_ERR change(struct account *a, int32_t id, int32_t by, uint32_t note)
{
    static const uint8_t bytes[9000];
    int32_t amount;
    uint32_t n;
    CHECK_OK(JetMakeKey(a->ses, a->table, &id, sizeof id, JET_bitNewKey));
    CHECK_OK(JetSeek(a->ses, a->table, JET_bitSeekEQ));
    CHECK_OK(JetRetrieveColumn(a->ses, a->table, a->amount, &amount, sizeof amount, &n, 0, NULL));
    amount += by;
    JET_ERR err = JetPrepareUpdate(a->ses, a->table, JET_prepReplace);
    if (err < 0)
        return err;
    CHECK_OK(JetSetColumn(a->ses, a->table, a->amount, &amount, sizeof amount, 0, NULL));
    CHECK_OK(JetSetColumn(a->ses, a->table, a->note, bytes, note, 0, NULL));
    return JetUpdate(a->ses, a->table, NULL, 0, NULL);
}

static int64_t total(struct account *a, bool by_amount)
{
    int64_t sum = 0;
    int32_t amount, count = 0;
    uint32_t n;
    CHECK_OK(JetBeginTransaction(a->ses));
    CHECK_OK(JetSetCurrentIndex(a->ses, a->table, by_amount ? "by_amount" : NULL));
    for (JET_ERR err = JetMove(a->ses, a->table, JET_MoveFirst, 0); err >= 0; err = JetMove(a->ses, a->table, JET_MoveNext, 0)) {
        CHECK_OK(JetRetrieveColumn(a->ses, a->table, a->amount, &amount, sizeof amount, &n, 0, NULL));
        sum += amount;
        count++;
    }
    CHECK_EQ(count, ACCOUNTS);
    CHECK_OK(JetSetCurrentIndex(a->ses, a->table, NULL));
    CHECK_OK(JetCommitTransaction(a->ses, 0));
    return sum;
}

static void *teller(void *context)
{
    struct account a;
    uint32_t seed = 1 + (uint32_t)(uintptr_t)context;
    open_bank(&a);
    for (uint32_t turn = 0; !atomic_load(&stop); turn++) {
        seed = seed * 1664525u + 1013904223u;
        int32_t from = (int32_t)(seed >> 8) % ACCOUNTS, to = (int32_t)(seed >> 16) % ACCOUNTS, by = (int32_t)(seed >> 28);
        uint32_t note = seed % 7 == 0 ? 9000 : seed % 50;
        CHECK_OK(JetBeginTransaction(a.ses));
        JET_ERR err = change(&a, from, -by, note);
        if (err >= 0)
            err = change(&a, to, by, note / 2);
        if (err < 0) {
            CHECK_EQ(err, JET_errWriteConflict);
            atomic_fetch_add(&conflicts, 1);
        }
        if (err < 0 || seed % 11 == 0)
            CHECK_OK(JetRollback(a.ses, 0));
        else
            CHECK_OK(JetCommitTransaction(a.ses, seed % 3 == 0 ? 0 : JET_bitCommitLazyFlush));
        atomic_fetch_add(&transfers, 1);
        if (turn % 40 == 39) {
            CHECK_EQ(total(&a, turn % 80 == 79), (int64_t)ACCOUNTS * EACH);
            atomic_fetch_add(&scans, 1);
        }
    }
    CHECK_OK(JetEndSession(a.ses, 0));
    return NULL;
}

/* ---- what else goes on ---- */

static JET_ERR progress(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t all)
{
    JET_SESID ses;
    (void)context, (void)snp, (void)snt, (void)done, (void)all;
    CHECK_OK(JetBeginSession(inst, &ses, NULL, NULL)); /* no lock is held around a callback */
    CHECK_OK(JetEndSession(ses, 0));
    atomic_fetch_add(&progress_calls, 1);
    return 0;
}

static void *keeper(void *context)
{
    static PYJET_BACKUP result;
    char path[1024];
    (void)context;
    in_dir("set", path);
    for (int turn = 0; !atomic_load(&stop); turn++) {
        bool full = turn % 3 == 0;
        if (full)
            remove_tree(path);
        JET_ERR err = PyjetBackup(inst, path, full ? 0 : JET_bitBackupIncremental, progress, NULL, &result);
        if (!full && (err == JET_errMissingFileToBackup || err == JET_errMissingFullBackup)) {
            turn = 2; /* b.edb was detached during the last full one: its logs are gone since */
            continue;
        }
        CHECK_OK(err);
        atomic_fetch_add(&backups, 1);
        os_sleep_ms(20); /* a database comes and goes */
    }
    return NULL;
}

static void *attacher(void *context)
{
    char path[1024];
    JET_SESID ses;
    JET_DBID db;
    (void)context;
    in_dir("b.edb", path);
    CHECK_OK(JetBeginSession(inst, &ses, NULL, NULL));
    CHECK_OK(JetOpenDatabase(ses, path, NULL, &db, 0));
    while (!atomic_load(&stop)) {
        JET_TABLEID table;
        char name[32];
        snprintf(name, sizeof name, "t%u", (unsigned)atomic_load(&schemas) % 5);
        JET_ERR err = JetCreateTable(ses, db, name, 1, 80, &table);
        if (err >= 0)
            CHECK_OK(JetCloseTable(ses, table));
        else
            CHECK_OK(JetDeleteTable(ses, db, name));
        atomic_fetch_add(&schemas, 1);
        CHECK_OK(JetCloseDatabase(ses, db, 0));
        while ((err = JetDetachDatabase(ses, path)) == JET_errBackupInProgress || err == JET_errDatabaseInUse)
            os_sleep_ms(1);
        CHECK_OK(err);
        while ((err = JetAttachDatabase(ses, path, 0)) == JET_errBackupInProgress)
            os_sleep_ms(1);
        CHECK_OK(err);
        CHECK_OK(JetOpenDatabase(ses, path, NULL, &db, 0));
        atomic_fetch_add(&attaches, 1);
    }
    CHECK_OK(JetEndSession(ses, 0));
    return NULL;
}

static void *observer(void *context)
{
    static PYJET_STATS stats;
    (void)context;
    while (!atomic_load(&stop)) {
        char *text;
        CHECK_OK(PyjetStats(inst, &stats));
        CHECK_OK(PyjetDumpInstance(inst, &text));
        CHECK_OK(JetFreeBuffer(text));
        os_sleep_ms(3);
    }
    return NULL;
}

static void sink(void *context, const PYJET_EVENT *event)
{
    (void)context;
    CHECK(event->id != 0);
    atomic_fetch_add(&events, 1);
}

static void *listener(void *context)
{
    (void)context;
    while (!atomic_load(&stop)) {
        PyjetSetEventSink(sink, NULL);
        os_sleep_ms(5);
        PyjetSetEventSink(NULL, NULL);
    }
    return NULL;
}

CASE(everything_at_once)
{
    const char *seconds = getenv("PYJET_STRESS_SECONDS"), *tmp = getenv("TMPDIR");
    pthread_t threads[SESSIONS + 4];
    void *(*const others[4])(void *) = {keeper, attacher, observer, listener};
    snprintf(dir, sizeof dir, "%.400s/pyjet-threads-%d", tmp == NULL ? "/tmp" : tmp, os_process_id());
    remove_tree(dir);
    CHECK_OK(os_dir_create_path(dir));
    begin_instance();
    make_bank();
    for (int i = 0; i < SESSIONS + 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, i < SESSIONS ? teller : others[i - SESSIONS], (void *)(uintptr_t)i), 0);
    os_sleep_ms(seconds == NULL ? 2000 : (uint32_t)atoi(seconds) * 1000);
    atomic_store(&stop, true);
    for (int i = 0; i < SESSIONS + 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);

    struct account a;
    open_bank(&a);
    CHECK_EQ(total(&a, false), (int64_t)ACCOUNTS * EACH);
    CHECK_EQ(total(&a, true), (int64_t)ACCOUNTS * EACH);
    CHECK_OK(JetEndSession(a.ses, 0));
    CHECK_OK(JetTerm2(inst, JET_bitTermComplete));
    remove_tree(dir);
    printf("transfers %llu conflicts %llu scans %llu backups %llu attaches %llu schemas %llu progress %llu events %llu\n",
           (unsigned long long)transfers, (unsigned long long)conflicts, (unsigned long long)scans, (unsigned long long)backups,
           (unsigned long long)attaches, (unsigned long long)schemas, (unsigned long long)progress_calls, (unsigned long long)events);
    CHECK(transfers > SESSIONS && backups > 0 && attaches > 0 && progress_calls > 0);
}

CTEST_MAIN
