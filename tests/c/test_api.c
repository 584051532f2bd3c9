/* api: the public calls only (esent.h, pyjet.h), end to end. Only the words of errors come from below. */
#include "ctest.h"
#include "remove.h"

#include "base/err.h"
#include "os/os.h"

#include "include/esent.h"
#include "include/pyjet.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

/* ---- a world: folders, an instance, a session, a database ---- */

struct world {
    char dir[512];
    JET_INSTANCE inst;
    JET_SESID ses;
    JET_DBID db;
};

static void in_dir(const struct world *w, const char *name, char *path)
{
    snprintf(path, 1024, "%s/%s", w->dir, name);
}

static void world_dir(struct world *w)
{
    static int number;
    const char *tmp = getenv("TMPDIR");
    memset(w, 0, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "%s/pyjet-api-%d-%d", tmp == NULL ? "/tmp" : tmp, os_process_id(), number++);
    remove_tree(w->dir);
    CHECK_OK(os_dir_create_path(w->dir));
}

static void set_folders(struct world *w)
{
    CHECK_OK(JetSetSystemParameter(&w->inst, 0, JET_paramSystemPath, 0, w->dir));
    CHECK_OK(JetSetSystemParameter(&w->inst, 0, JET_paramLogFilePath, 0, w->dir));
    CHECK_OK(JetSetSystemParameter(&w->inst, 0, JET_paramTempPath, 0, w->dir));
    CHECK_OK(JetSetSystemParameter(&w->inst, 0, JET_paramLogFileSize, 256, NULL));
}

static void world_start(struct world *w)
{
    CHECK_OK(JetCreateInstance(&w->inst, NULL));
    set_folders(w);
    CHECK_OK(JetInit(&w->inst));
    CHECK_OK(JetBeginSession(w->inst, &w->ses, NULL, NULL));
}

static void world_open(struct world *w)
{
    char path[1024];
    world_dir(w);
    world_start(w);
    in_dir(w, "a.edb", path);
    CHECK_OK(JetCreateDatabase(w->ses, path, NULL, &w->db, 0));
}

static void world_close(struct world *w)
{
    CHECK_OK(JetTerm2(w->inst, JET_bitTermComplete));
    remove_tree(w->dir);
}

static void wide(const char *text, JET_WCHAR *to)
{
    do
        *to++ = (JET_WCHAR)(unsigned char)*text;
    while (*text++ != '\0');
}

/* ---- a table with a column of every type ---- */

struct typed {
    const char *name;
    JET_COLTYP coltyp;
    uint32_t size; /* of a fixed type */
    JET_GRBIT grbit;
};
static const struct typed all_types[] = {
    {"bit", JET_coltypBit, 1, 0},
    {"ubyte", JET_coltypUnsignedByte, 1, 0},
    {"short", JET_coltypShort, 2, 0},
    {"long", JET_coltypLong, 4, 0},
    {"currency", JET_coltypCurrency, 8, 0},
    {"single", JET_coltypIEEESingle, 4, 0},
    {"double", JET_coltypIEEEDouble, 8, 0},
    {"datetime", JET_coltypDateTime, 8, 0},
    {"binary", JET_coltypBinary, 0, 0},
    {"text", JET_coltypText, 0, 0},
    {"longbinary", JET_coltypLongBinary, 0, 0},
    {"longtext", JET_coltypLongText, 0, 0},
    {"ulong", JET_coltypUnsignedLong, 4, 0},
    {"longlong", JET_coltypLongLong, 8, 0},
    {"guid", JET_coltypGUID, 16, 0},
    {"ushort", JET_coltypUnsignedShort, 2, 0},
    {"ulonglong", JET_coltypUnsignedLongLong, 8, 0},
    {"tagged", JET_coltypLong, 4, JET_bitColumnTagged},
    {"multi", JET_coltypText, 0, JET_bitColumnTagged | JET_bitColumnMultiValued},
};
#define TYPES ((uint32_t)(sizeof all_types / sizeof all_types[0]))

struct table {
    JET_TABLEID id;
    JET_COLUMNID key;
    JET_COLUMNID col[TYPES];
};

static void make_table(struct world *w, const char *name, struct table *t)
{
    JET_COLUMNCREATE_A columns[TYPES + 1] = {
        {.cbStruct = sizeof columns[0], .szColumnName = "id", .coltyp = JET_coltypLong, .grbit = JET_bitColumnAutoincrement},
    };
    for (uint32_t i = 0; i < TYPES; i++)
        columns[i + 1] = (JET_COLUMNCREATE_A){
            .cbStruct = sizeof columns[0],
            .szColumnName = (char *)(uintptr_t)all_types[i].name,
            .coltyp = all_types[i].coltyp,
            .grbit = all_types[i].grbit,
            .cp = 1252,
        };
    JET_INDEXCREATE_A indexes[] = {
        {.cbStruct = sizeof indexes[0], .szIndexName = "pk", .szKey = "+id\0", .cbKey = 5, .grbit = JET_bitIndexPrimary, .ulDensity = 80},
        {.cbStruct = sizeof indexes[0], .szIndexName = "by_long", .szKey = "+long\0", .cbKey = 7, .ulDensity = 80},
        {.cbStruct = sizeof indexes[0], .szIndexName = "by_text", .szKey = "-text\0+long\0", .cbKey = 13, .ulDensity = 80},
    };
    JET_TABLECREATE_A create = {
        .cbStruct = sizeof create,
        .szTableName = (char *)(uintptr_t)name,
        .ulPages = 1,
        .ulDensity = 80,
        .rgcolumncreate = columns,
        .cColumns = TYPES + 1,
        .rgindexcreate = indexes,
        .cIndexes = 3,
    };
    CHECK_OK(JetCreateTableColumnIndex(w->ses, w->db, &create));
    CHECK_EQ(create.cCreated, 1 + TYPES + 1 + 3);
    t->id = create.tableid;
    t->key = columns[0].columnid;
    for (uint32_t i = 0; i < TYPES; i++)
        t->col[i] = columns[i + 1].columnid;
}

static uint32_t type_called(const char *name)
{
    for (uint32_t i = 0; i < TYPES; i++)
        if (strcmp(all_types[i].name, name) == 0)
            return i;
    CHECK(!"a type of this name");
    return 0;
}

/* The value of row `row` in column `i`: bytes that depend on both. */
static uint32_t value_of(int row, uint32_t i, uint8_t *to)
{
    uint32_t n = all_types[i].size;
    if (n == 0)
        n = (uint32_t)(5 + row % 7) * (all_types[i].coltyp == JET_coltypLongBinary ? 700 : 1);
    for (uint32_t k = 0; k < n; k++)
        to[k] = (uint8_t)('A' + (row * 7 + (int)i * 3 + (int)k) % 26);
    if (all_types[i].coltyp == JET_coltypBit)
        to[0] = row % 2 ? 0xFF : 0;
    if (i == type_called("long")) {
        int32_t number = row * 10;
        memcpy(to, &number, sizeof number);
    }
    return n;
}

static void insert_row(struct world *w, struct table *t, int row)
{
    uint8_t value[8192], bookmark[256];
    uint32_t n;
    CHECK_OK(JetPrepareUpdate(w->ses, t->id, JET_prepInsert));
    for (uint32_t i = 0; i < TYPES; i++) {
        n = value_of(row, i, value);
        CHECK_OK(JetSetColumn(w->ses, t->id, t->col[i], value, n, 0, NULL));
    }
    CHECK_OK(JetUpdate(w->ses, t->id, bookmark, sizeof bookmark, &n));
    CHECK(n > 0 && n <= 255);
}

static void check_row(struct world *w, struct table *t, int row)
{
    uint8_t want[8192], got[8192];
    uint32_t n;
    for (uint32_t i = 0; i < TYPES; i++) {
        uint32_t size = value_of(row, i, want);
        CHECK_EQ(JetRetrieveColumn(w->ses, t->id, t->col[i], got, sizeof got, &n, 0, NULL), JET_errSuccess);
        CHECK_EQ(n, size);
        CHECK(memcmp(got, want, n) == 0);
    }
}

static int32_t long_here(struct world *w, struct table *t)
{
    int32_t v;
    uint32_t n;
    CHECK_EQ(JetRetrieveColumn(w->ses, t->id, t->col[type_called("long")], &v, sizeof v, &n, 0, NULL), JET_errSuccess);
    return v;
}

CASE(every_type_comes_back)
{
    struct world w;
    struct table t;
    world_open(&w);
    make_table(&w, "all", &t);
    CHECK_OK(JetBeginTransaction(w.ses));
    for (int row = 0; row < 40; row++)
        insert_row(&w, &t, row);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    for (int row = 0; row < 40; row++) {
        check_row(&w, &t, row);
        CHECK_EQ(JetMove(w.ses, t.id, JET_MoveNext, 0), row == 39 ? JET_errNoCurrentRecord : JET_errSuccess);
    }
    CHECK_EQ(JetRetrieveColumn(w.ses, t.id, t.key, NULL, 0, NULL, 0, NULL), JET_errNoCurrentRecord);
    world_close(&w);
}

CASE(survives_a_restart)
{
    struct world w;
    struct table t;
    char path[1024];
    world_open(&w);
    make_table(&w, "all", &t);
    CHECK_OK(JetBeginTransaction(w.ses));
    for (int row = 0; row < 10; row++)
        insert_row(&w, &t, row);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    CHECK_OK(JetTerm2(w.inst, JET_bitTermComplete));
    world_start(&w);
    in_dir(&w, "a.edb", path);
    CHECK_EQ(JetOpenDatabase(w.ses, path, NULL, &w.db, 0), JET_errDatabaseNotFound);
    CHECK_OK(JetAttachDatabase(w.ses, path, 0));
    CHECK_EQ(JetAttachDatabase(w.ses, path, 0), JET_wrnDatabaseAttached);
    CHECK_OK(JetOpenDatabase(w.ses, path, NULL, &w.db, 0));
    CHECK_OK(JetOpenTable(w.ses, w.db, "all", NULL, 0, 0, &t.id));
    for (int row = 0; row < 10; row++) {
        CHECK_OK(JetMove(w.ses, t.id, row == 0 ? JET_MoveFirst : JET_MoveNext, 0));
        check_row(&w, &t, row);
    }
    CHECK_OK(JetCloseTable(w.ses, t.id));
    CHECK_OK(JetCloseDatabase(w.ses, w.db, 0));
    CHECK_OK(JetDetachDatabase(w.ses, path));
    world_close(&w);
}

/* ---- seek, range, indexes ---- */

static void key_long(struct world *w, struct table *t, int32_t v)
{
    CHECK_OK(JetMakeKey(w->ses, t->id, &v, sizeof v, JET_bitNewKey));
}

CASE(seek_and_range)
{
    struct world w;
    struct table t;
    char name[65];
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    CHECK_OK(JetBeginTransaction(w.ses));
    for (int row = 0; row < 50; row++)
        insert_row(&w, &t, row);
    CHECK_OK(JetSetCurrentIndex(w.ses, t.id, "by_long"));
    CHECK_OK(JetGetCurrentIndex(w.ses, t.id, name, sizeof name));
    CHECK(strcmp(name, "by_long") == 0);
    CHECK_EQ(JetGetCurrentIndex(w.ses, t.id, name, 4), JET_wrnBufferTruncated);
    CHECK_EQ(JetSeek(w.ses, t.id, JET_bitSeekEQ), JET_errKeyNotMade);
    key_long(&w, &t, 70);
    CHECK_EQ(JetSeek(w.ses, t.id, 0), JET_errInvalidParameter);
    CHECK_EQ(JetSeek(w.ses, t.id, JET_bitSeekEQ), JET_errSuccess);
    check_row(&w, &t, 7);
    key_long(&w, &t, 75);
    CHECK_EQ(JetSeek(w.ses, t.id, JET_bitSeekEQ), JET_errRecordNotFound);
    key_long(&w, &t, 75);
    CHECK_EQ(JetSeek(w.ses, t.id, JET_bitSeekGE), JET_wrnSeekNotEqual);
    check_row(&w, &t, 8);
    key_long(&w, &t, 120);
    CHECK_OK(JetSetIndexRange(w.ses, t.id, JET_bitRangeInclusive | JET_bitRangeUpperLimit));
    CHECK_OK(JetIndexRecordCount(w.ses, t.id, &n, 0));
    CHECK_EQ(n, 5);
    CHECK_OK(JetIndexRecordCount(w.ses, t.id, &n, 3));
    CHECK_EQ(n, 3);
    for (int row = 9; row <= 12; row++) {
        CHECK_OK(JetMove(w.ses, t.id, JET_MoveNext, 0));
        CHECK_EQ(long_here(&w, &t), row * 10);
    }
    CHECK_EQ(JetMove(w.ses, t.id, JET_MoveNext, 0), JET_errNoCurrentRecord);
    CHECK_EQ(JetSetCurrentIndex2(w.ses, t.id, NULL, 0x100), JET_errInvalidGrbit);
    CHECK_EQ(JetSetCurrentIndex(w.ses, t.id, "nothing"), JET_errIndexNotFound);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    world_close(&w);
}

CASE(bookmarks_and_keys)
{
    struct world w;
    struct table t;
    uint8_t mark[256], key[256], small[2];
    uint32_t n, key_n, mark_n;
    world_open(&w);
    make_table(&w, "all", &t);
    for (int row = 0; row < 5; row++) {
        CHECK_OK(JetBeginTransaction(w.ses));
        insert_row(&w, &t, row);
        CHECK_OK(JetCommitTransaction(w.ses, JET_bitCommitLazyFlush));
    }
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    CHECK_OK(JetMove(w.ses, t.id, 2, 0));
    CHECK_EQ(JetGetBookmark(w.ses, t.id, small, sizeof small, &n), JET_errBufferTooSmall);
    CHECK_EQ(n, 5);
    CHECK_OK(JetGetBookmark(w.ses, t.id, mark, sizeof mark, &n));
    CHECK_EQ(n, 5);
    CHECK(memcmp(small, mark, 2) == 0);
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveLast, 0));
    CHECK_OK(JetGotoBookmark(w.ses, t.id, mark, n));
    check_row(&w, &t, 2);
    CHECK_EQ(JetGotoBookmark(w.ses, t.id, NULL, 0), JET_errInvalidBookmark);
    CHECK_EQ(JetRetrieveKey(w.ses, t.id, small, sizeof small, &n, 0), JET_wrnBufferTruncated);
    CHECK_EQ(n, 5);
    CHECK_OK(JetSetCurrentIndex2(w.ses, t.id, "by_long", JET_bitNoMove));
    CHECK_OK(JetGetSecondaryIndexBookmark(w.ses, t.id, key, sizeof key, &key_n, mark, sizeof mark, &mark_n, 0));
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    CHECK_OK(JetGotoSecondaryIndexBookmark(w.ses, t.id, key, key_n, mark, mark_n, 0));
    check_row(&w, &t, 2);
    world_close(&w);
}

/* ---- update, rollback ---- */

CASE(update_delete_rollback)
{
    struct world w;
    struct table t;
    JET_TABLEID second;
    int32_t v = 777;
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    CHECK_OK(JetBeginTransaction(w.ses));
    for (int row = 0; row < 3; row++)
        insert_row(&w, &t, row);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    CHECK_EQ(JetSetColumn(w.ses, t.id, t.col[3], &v, sizeof v, 0, NULL), JET_errUpdateNotPrepared);
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    CHECK_OK(JetPrepareUpdate(w.ses, t.id, JET_prepReplace)); /* level 0: a transaction of its own */
    CHECK_OK(JetSetColumn(w.ses, t.id, t.col[3], &v, sizeof v, 0, NULL));
    CHECK_OK(JetUpdate(w.ses, t.id, NULL, 0, NULL));
    CHECK_EQ(long_here(&w, &t), 777);
    CHECK_OK(JetBeginTransaction(w.ses));
    CHECK_OK(JetOpenTable(w.ses, w.db, "all", NULL, 0, 0, &second));
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveNext, 0));
    CHECK_OK(JetDelete(w.ses, t.id));
    CHECK_EQ(JetRetrieveColumn(w.ses, t.id, t.col[3], &v, sizeof v, &n, 0, NULL), JET_errRecordDeleted);
    CHECK_OK(JetRollback(w.ses, 0));
    CHECK_EQ(JetMove(w.ses, second, JET_MoveFirst, 0), JET_errInvalidTableId); /* opened in what was undone */
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    CHECK_OK(JetIndexRecordCount(w.ses, t.id, &n, 0));
    CHECK_EQ(n, 3);
    CHECK_OK(JetDelete(w.ses, t.id));
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    CHECK_EQ(long_here(&w, &t), 10);
    CHECK_EQ(JetRollback(w.ses, 0), JET_errNotInTransaction);
    CHECK_EQ(JetRollback(w.ses, 4), JET_errInvalidGrbit);
    CHECK_EQ(JetCommitTransaction(w.ses, 0), JET_errNotInTransaction);
    world_close(&w);
}

CASE(small_bookmark_buffer_undoes_the_insert)
{
    struct world w;
    struct table t;
    uint8_t mark[2];
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    for (int level = 0; level < 2; level++) {
        if (level > 0)
            CHECK_OK(JetBeginTransaction(w.ses));
        CHECK_OK(JetPrepareUpdate(w.ses, t.id, JET_prepInsert));
        CHECK_EQ(JetUpdate(w.ses, t.id, mark, sizeof mark, &n), JET_errBufferTooSmall);
        CHECK_EQ(n, 5);
        CHECK_EQ(JetMove(w.ses, t.id, JET_MoveFirst, 0), JET_errNoCurrentRecord);
        if (level > 0)
            CHECK_OK(JetCommitTransaction(w.ses, 0));
    }
    world_close(&w);
}

CASE(several_columns_and_values)
{
    struct world w;
    struct table t;
    int32_t v = 5, got = 0;
    char text[16];
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    JET_COLUMNID multi = t.col[type_called("multi")];
    CHECK_OK(JetBeginTransaction(w.ses));
    CHECK_OK(JetPrepareUpdate(w.ses, t.id, JET_prepInsert));
    JET_SETCOLUMN set[] = {
        {.columnid = t.col[3], .pvData = &v, .cbData = sizeof v, .itagSequence = 1},
        {.columnid = multi, .pvData = "one", .cbData = 3, .itagSequence = 1},
        {.columnid = multi, .pvData = "three", .cbData = 5, .itagSequence = 2},
        {.columnid = t.col[9], .pvData = "", .cbData = 0, .grbit = JET_bitSetZeroLength, .itagSequence = 1},
    };
    CHECK_OK(JetSetColumns(w.ses, t.id, set, 4));
    CHECK_OK(JetUpdate(w.ses, t.id, NULL, 0, NULL));
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    JET_RETRIEVECOLUMN get[] = {
        {.columnid = t.col[3], .pvData = &got, .cbData = sizeof got, .itagSequence = 1},
        {.columnid = multi, .pvData = text, .cbData = 3, .itagSequence = 2},
        {.columnid = multi, .itagSequence = 0},
        {.columnid = t.col[9], .pvData = text + 8, .cbData = 8, .itagSequence = 1},
        {.columnid = t.col[8], .itagSequence = 1},
    };
    CHECK_EQ(JetRetrieveColumns(w.ses, t.id, get, 5), JET_wrnBufferTruncated);
    CHECK_EQ(got, 5);
    CHECK_EQ(get[1].err, JET_wrnBufferTruncated);
    CHECK_EQ(get[1].cbActual, 5);
    CHECK(memcmp(text, "thr", 3) == 0);
    CHECK_EQ(get[2].itagSequence, 2);
    CHECK(get[3].err == JET_errSuccess && get[3].cbActual == 0);
    CHECK_EQ(get[4].err, JET_wrnColumnNull);
    JET_RETINFO info = {.cbStruct = sizeof info, .itagSequence = 2};
    CHECK_OK(JetRetrieveColumn(w.ses, t.id, 0, text, sizeof text, &n, 0, &info)); /* the second tagged value of all */
    CHECK_EQ(info.columnidNextTagged, multi);
    CHECK(n == 5 && memcmp(text, "three", 5) == 0);
    info.cbStruct = 3;
    CHECK_EQ(JetRetrieveColumn(w.ses, t.id, multi, text, sizeof text, &n, 0, &info), JET_errInvalidParameter);
    world_close(&w);
}

static void *counted_realloc(void *context, void *p, uint32_t n)
{
    int *alive = context;
    if (n == 0) {
        *alive -= p != NULL;
        free(p);
        return NULL;
    }
    *alive += p == NULL;
    return realloc(p, n);
}

CASE(enumerate_columns)
{
    struct world w;
    struct table t;
    uint32_t count;
    JET_ENUMCOLUMN *list;
    int alive = 0;
    uint8_t want[8192];
    world_open(&w);
    make_table(&w, "all", &t);
    CHECK_OK(JetBeginTransaction(w.ses));
    insert_row(&w, &t, 3);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    CHECK_OK(JetMove(w.ses, t.id, JET_MoveFirst, 0));
    CHECK_OK(JetEnumerateColumns(w.ses, t.id, 0, NULL, &count, &list, counted_realloc, &alive, UINT32_MAX, JET_bitEnumerateCompressOutput));
    CHECK_EQ(count, TYPES + 1);
    CHECK_EQ(alive, (int)count + 1);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(list[i].err, JET_wrnColumnSingleValue);
        for (uint32_t k = 0; k < TYPES; k++)
            if (t.col[k] == list[i].columnid) {
                CHECK_EQ(list[i].cbData, value_of(3, k, want));
                CHECK(memcmp(list[i].pvData, want, list[i].cbData) == 0);
            }
        counted_realloc(&alive, list[i].pvData, 0);
    }
    counted_realloc(&alive, list, 0);
    JET_ENUMCOLUMNID asked[] = {{.columnid = t.col[10]}, {.columnid = 0}};
    CHECK_OK(JetEnumerateColumns(w.ses, t.id, 2, asked, &count, &list, counted_realloc, &alive, 10, 0));
    CHECK_EQ(count, 2);
    CHECK_EQ(list[0].rgEnumColumnValue[0].err, JET_wrnColumnTruncated);
    CHECK_EQ(list[0].rgEnumColumnValue[0].cbData, 10);
    CHECK_EQ(list[1].err, JET_wrnColumnSkipped);
    counted_realloc(&alive, list[0].rgEnumColumnValue[0].pvData, 0);
    counted_realloc(&alive, list[0].rgEnumColumnValue, 0);
    counted_realloc(&alive, list, 0);
    asked[0].columnid = 60000;
    CHECK_EQ(JetEnumerateColumns(w.ses, t.id, 1, asked, &count, &list, counted_realloc, &alive, 10, 0), JET_errColumnNotFound);
    CHECK_EQ(alive, 0);
    world_close(&w);
}

CASE(escrow_and_locks)
{
    struct world w;
    JET_TABLEID table;
    JET_COLUMNID column;
    int32_t zero = 0, add = 4, old = -1;
    world_open(&w);
    CHECK_OK(JetCreateTable(w.ses, w.db, "counts", 1, 80, &table));
    JET_COLUMNDEF def = {.cbStruct = sizeof def, .coltyp = JET_coltypLong, .grbit = JET_bitColumnEscrowUpdate | JET_bitColumnFixed};
    CHECK_OK(JetAddColumn(w.ses, table, "n", &def, &zero, sizeof zero, &column));
    CHECK_OK(JetPrepareUpdate(w.ses, table, JET_prepInsert));
    CHECK_OK(JetUpdate(w.ses, table, NULL, 0, NULL));
    CHECK_OK(JetMove(w.ses, table, JET_MoveFirst, 0));
    CHECK_EQ(JetEscrowUpdate(w.ses, table, column, &add, sizeof add, &old, sizeof old, NULL, 0), JET_errNotInTransaction);
    CHECK_EQ(JetGetLock(w.ses, table, JET_bitWriteLock), JET_errNotInTransaction);
    CHECK_OK(JetBeginTransaction(w.ses));
    CHECK_EQ(JetGetLock(w.ses, table, 0), JET_errInvalidGrbit);
    CHECK_EQ(JetEscrowUpdate(w.ses, table, column, &add, 3, &old, sizeof old, NULL, 0), JET_errInvalidBufferSize);
    CHECK_OK(JetEscrowUpdate(w.ses, table, column, &add, sizeof add, &old, sizeof old, NULL, 0));
    CHECK_EQ(old, 0);
    CHECK_OK(JetEscrowUpdate(w.ses, table, column, &add, sizeof add, &old, sizeof old, NULL, 0));
    CHECK_EQ(old, 4);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    world_close(&w);
}

/* ---- schema ---- */

static err_t count_table(void *context, const PYJET_TABLE *table)
{
    *(int *)context += strcmp(table->name, "all") == 0 || strcmp(table->name, "other") == 0;
    return JET_errSuccess;
}

static err_t count_column(void *context, const PYJET_COLUMN *column)
{
    ++*(int *)context;
    for (uint32_t i = 0; i < TYPES; i++)
        if (strcmp(column->name, all_types[i].name) == 0)
            CHECK_EQ(column->coltyp, all_types[i].coltyp);
    return JET_errSuccess;
}

static err_t count_index(void *context, const PYJET_INDEX *index)
{
    ++*(int *)context;
    if (strcmp(index->name, "pk") == 0)
        CHECK((index->grbit & JET_bitIndexPrimary) != 0 && index->cSegments == 1);
    if (strcmp(index->name, "by_text") == 0)
        CHECK(index->cSegments == 2 && index->descending[0] == 1 && index->descending[1] == 0);
    return JET_errSuccess;
}

CASE(schema_changes)
{
    struct world w;
    struct table t;
    JET_TABLEID other;
    JET_COLUMNID added;
    int n = 0;
    world_open(&w);
    make_table(&w, "all", &t);
    CHECK_EQ(JetCreateTable(w.ses, w.db, "ALL", 1, 80, &other), JET_errTableDuplicate);
    CHECK_EQ(JetCreateTable(w.ses, w.db, "bad!", 1, 80, &other), JET_errInvalidName);
    CHECK_EQ(JetCreateTable(w.ses, w.db, NULL, 1, 80, &other), JET_errInvalidName);
    CHECK_EQ(JetCreateTable(w.ses, w.db, "x", 1, 10, &other), JET_errDensityInvalid);
    CHECK_EQ(JetCreateTable(w.ses, 3, "x", 1, 80, &other), JET_errInvalidDatabaseId);
    CHECK_OK(JetCreateTable(w.ses, w.db, "other", 1, 80, &other));
    CHECK_OK(PyjetVisitTables(w.ses, w.db, count_table, &n));
    CHECK_EQ(n, 2);
    n = 0;
    CHECK_OK(PyjetVisitColumns(w.ses, t.id, count_column, &n));
    CHECK_EQ(n, TYPES + 1);
    n = 0;
    CHECK_OK(PyjetVisitIndexes(w.ses, t.id, count_index, &n));
    CHECK_EQ(n, 3);
    JET_COLUMNDEF def = {.cbStruct = sizeof def, .coltyp = JET_coltypText, .cp = 1252, .cbMax = 20};
    CHECK_OK(JetAddColumn(w.ses, other, "a", &def, "dflt", 4, &added));
    CHECK_EQ(JetAddColumn(w.ses, other, "a", &def, NULL, 0, &added), JET_errColumnDuplicate);
    def.cbStruct = 1;
    CHECK_EQ(JetAddColumn(w.ses, other, "b", &def, NULL, 0, &added), JET_errInvalidParameter);
    CHECK_OK(JetCreateIndex(w.ses, other, "ia", 0, "+a\0", 4, 80));
    CHECK_EQ(JetCreateIndex(w.ses, other, "ib", 0, "+nothing\0", 10, 80), JET_errColumnNotFound);
    CHECK_OK(JetDeleteIndex(w.ses, other, "ia"));
    CHECK_EQ(JetDeleteIndex(w.ses, other, "ia"), JET_errIndexNotFound);
    CHECK_OK(JetRenameColumn(w.ses, other, "a", "renamed", 0));
    CHECK_OK(JetDeleteColumn(w.ses, other, "renamed"));
    CHECK_OK(JetCloseTable(w.ses, other));
    CHECK_OK(JetRenameTable(w.ses, w.db, "other", "third"));
    CHECK_OK(JetDeleteTable(w.ses, w.db, "third"));
    CHECK_EQ(JetOpenTable(w.ses, w.db, "third", NULL, 0, 0, &other), JET_errObjectNotFound);
    world_close(&w);
}

CASE(a_table_that_fails_in_the_middle_is_not_there)
{
    struct world w;
    JET_TABLEID table;
    world_open(&w);
    JET_COLUMNCREATE_A columns[] = {
        {.cbStruct = sizeof columns[0], .szColumnName = "a", .coltyp = JET_coltypLong},
        {.cbStruct = sizeof columns[0], .szColumnName = "a", .coltyp = JET_coltypLong},
    };
    JET_TABLECREATE_A create = {.cbStruct = sizeof create, .szTableName = "half", .rgcolumncreate = columns, .cColumns = 2};
    for (int level = 0; level < 2; level++) {
        if (level > 0)
            CHECK_OK(JetBeginTransaction(w.ses));
        CHECK_EQ(JetCreateTableColumnIndex(w.ses, w.db, &create), JET_errColumnDuplicate);
        CHECK_EQ(columns[0].err, JET_errSuccess);
        CHECK_EQ(columns[1].err, JET_errColumnDuplicate);
        CHECK_EQ(create.cCreated, 2);
        CHECK_EQ(create.tableid, JET_tableidNil);
        CHECK_EQ(JetOpenTable(w.ses, w.db, "half", NULL, 0, 0, &table), JET_errObjectNotFound);
        if (level > 0)
            CHECK_OK(JetCommitTransaction(w.ses, 0));
    }
    create.cbStruct--;
    CHECK_EQ(JetCreateTableColumnIndex(w.ses, w.db, &create), JET_errInvalidParameter);
    world_close(&w);
}

CASE(information)
{
    struct world w;
    struct table t;
    JET_COLUMNDEF def;
    JET_OBJECTINFO object;
    JET_DBINFOMISC misc;
    JET_INDEXID id;
    char path[1024], text[1024];
    uint32_t v, pair[2];
    uint64_t size;
    world_open(&w);
    make_table(&w, "all", &t);
    in_dir(&w, "a.edb", path);
    CHECK_OK(JetGetTableColumnInfo(w.ses, t.id, "TEXT", &def, sizeof def, JET_ColInfo));
    CHECK_EQ(def.columnid, t.col[9]);
    CHECK_EQ(def.coltyp, JET_coltypText);
    CHECK_OK(JetGetColumnInfo(w.ses, w.db, "all", (const char *)&t.col[17], &def, sizeof def, JET_ColInfoByColid));
    CHECK_EQ(def.columnid, t.col[17]);
    CHECK((def.grbit & JET_bitColumnTagged) != 0);
    CHECK_EQ(JetGetTableColumnInfo(w.ses, t.id, "none", &def, sizeof def, JET_ColInfo), JET_errColumnNotFound);
    CHECK_EQ(JetGetTableColumnInfo(w.ses, t.id, "text", &def, 3, JET_ColInfo), JET_errBufferTooSmall);
    CHECK_EQ(JetGetTableColumnInfo(w.ses, t.id, "text", &def, sizeof def, JET_ColInfoList), JET_errFeatureNotAvailable);
    CHECK_EQ(JetGetTableColumnInfo(w.ses, t.id, "text", &def, sizeof def, 77), JET_errInvalidParameter);
    CHECK_OK(JetGetTableIndexInfo(w.ses, t.id, NULL, &v, sizeof v, JET_IdxInfoCount));
    CHECK_EQ(v, 3);
    CHECK_OK(JetGetTableIndexInfo(w.ses, t.id, "by_long", &id, sizeof id, JET_IdxInfoIndexId));
    CHECK_EQ(JetSetCurrentIndex4(w.ses, t.id, NULL, &id, 0, 1), JET_errSuccess);
    CHECK_OK(JetGetCurrentIndex(w.ses, t.id, text, sizeof text));
    CHECK(strcmp(text, "by_long") == 0);
    id.rgbIndexId[0] ^= 1;
    CHECK_EQ(JetSetCurrentIndex4(w.ses, t.id, NULL, &id, 0, 1), JET_errInvalidIndexId);
    CHECK_EQ(JetGetIndexInfo(w.ses, w.db, "all", "zzz", &v, sizeof v, JET_IdxInfoLCID), JET_errIndexNotFound);
    CHECK_OK(JetGetTableInfo(w.ses, t.id, text, sizeof text, JET_TblInfoName));
    CHECK(strcmp(text, "all") == 0);
    CHECK_EQ(JetGetTableInfo(w.ses, t.id, text, 3, JET_TblInfoName), JET_errBufferTooSmall);
    CHECK_OK(JetGetTableInfo(w.ses, t.id, pair, sizeof pair, JET_TblInfoSpaceUsage));
    CHECK(pair[0] >= 1);
    CHECK_OK(JetGetObjectInfo(w.ses, w.db, JET_objtypTable, NULL, "all", &object, sizeof object, JET_ObjInfoNoStats));
    CHECK_EQ(object.objtyp, JET_objtypTable);
    CHECK_EQ(JetGetObjectInfo(w.ses, w.db, JET_objtypTable, NULL, "no", &object, sizeof object, JET_ObjInfo), JET_errObjectNotFound);
    CHECK_OK(JetGetDatabaseInfo(w.ses, w.db, text, sizeof text, JET_DbInfoFilename));
    CHECK(strstr(text, "a.edb") != NULL);
    CHECK_OK(JetGetDatabaseInfo(w.ses, w.db, &misc, sizeof misc, JET_DbInfoMisc));
    CHECK_EQ(misc.ulVersion, 0x620);
    CHECK_EQ(misc.dbstate, JET_dbstateDirtyShutdown);
    CHECK_EQ(JetGetDatabaseInfo(w.ses, w.db, &misc, sizeof misc - 1, JET_DbInfoMisc), JET_errInvalidBufferSize);
    CHECK_OK(JetGetDatabaseInfo(w.ses, w.db, &v, sizeof v, JET_DbInfoSpaceOwned));
    CHECK(v >= 254);
    CHECK_OK(JetGetDatabaseFileInfo(path, &size, sizeof size, JET_DbInfoFilesize));
    CHECK(size >= 256 * 4096);
    CHECK_OK(JetGetDatabaseFileInfo(path, &v, sizeof v, JET_DbInfoPageSize));
    CHECK_EQ(v, 4096);
    CHECK_OK(JetGetDatabaseFileInfo(path, &v, sizeof v, JET_DbInfoDBInUse));
    CHECK_EQ(v, 1);
    in_dir(&w, "edb.log", path);
    CHECK_OK(JetGetDatabaseFileInfo(path, &v, sizeof v, JET_DbInfoFileType));
    CHECK_EQ(v, JET_filetypeLog);
    CHECK_EQ(JetGetDatabaseFileInfo(path, &v, sizeof v, JET_DbInfoPageSize), JET_errFileInvalidType);
    in_dir(&w, "none", path);
    CHECK_EQ(JetGetDatabaseFileInfo(path, &v, sizeof v, JET_DbInfoPageSize), JET_errFileNotFound);
    world_close(&w);
}

/* ---- handles ---- */

CASE(handle_abuse)
{
    struct world w, other;
    struct table t;
    JET_SESID ses2;
    JET_TABLEID table2, closed;
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    const uint64_t garbage[] = {0, 1, ~0ull, ~1ull, 0x7fffffffffffull, w.inst, t.id, w.ses + 1, w.ses ^ (1ull << 32), 2ull << 56 | 0xFFFFFFFFu};
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        CHECK_EQ(JetBeginTransaction(garbage[i]), JET_errInvalidSesid);
        CHECK_EQ(JetMove(garbage[i], t.id, 0, 0), JET_errInvalidSesid);
    }
    const uint64_t no_tables[] = {0, 5, ~0ull, w.inst, w.ses, t.id + 1, t.id ^ (1ull << 33)};
    for (size_t i = 0; i < sizeof no_tables / sizeof no_tables[0]; i++)
        CHECK_EQ(JetMove(w.ses, no_tables[i], 0, 0), JET_errInvalidTableId);
    CHECK_EQ(JetBeginSession(w.ses, &ses2, NULL, NULL), JET_errInvalidInstance);
    CHECK_EQ(JetBackupInstance(0x1234, NULL, 0, NULL), JET_errInvalidParameter);
    CHECK_EQ(JetTerm(0x1234), JET_errInvalidInstance);
    CHECK_OK(JetBeginSession(w.inst, &ses2, NULL, NULL));
    CHECK_EQ(JetMove(ses2, t.id, 0, 0), JET_errSesidTableIdMismatch);
    CHECK_EQ(JetOpenTable(ses2, w.db, "all", NULL, 0, 0, &table2), JET_errInvalidDatabaseId);
    CHECK_OK(JetEndSession(ses2, 0));
    CHECK_EQ(JetEndSession(ses2, 0), JET_errInvalidSesid);
    CHECK_OK(JetDupCursor(w.ses, t.id, &closed, 0));
    CHECK_OK(JetCloseTable(w.ses, closed));
    CHECK_EQ(JetCloseTable(w.ses, closed), JET_errInvalidTableId);
    CHECK_OK(JetDupCursor(w.ses, t.id, &table2, 0));
    CHECK(table2 != closed); /* the same slot, another generation */
    CHECK_EQ(JetIndexRecordCount(w.ses, closed, &n, 0), JET_errInvalidTableId);
    CHECK_OK(JetCloseDatabase(w.ses, w.db, 0)); /* closes the cursors on it */
    CHECK_EQ(JetMove(w.ses, t.id, 0, 0), JET_errInvalidTableId);
    CHECK_EQ(JetMove(w.ses, table2, 0, 0), JET_errInvalidTableId);
    other = w;
    world_close(&w);
    CHECK_EQ(JetBeginTransaction(other.ses), JET_errInvalidSesid);
    CHECK_EQ(JetTerm(other.inst), JET_errInvalidInstance);
}

CASE(many_cursors)
{
    struct world w;
    struct table t;
    JET_TABLEID many[300];
    world_open(&w);
    make_table(&w, "all", &t);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 300; i++)
            CHECK_OK(JetDupCursor(w.ses, t.id, &many[i], 0));
        for (int i = 0; i < 300; i++)
            CHECK_EQ(JetMove(w.ses, many[i], JET_MoveFirst, 0), JET_errNoCurrentRecord);
        for (int i = 0; i < 300; i++)
            CHECK_OK(JetCloseTable(w.ses, many[i]));
    }
    world_close(&w);
}

/* ---- a session is for one call at a time; transactions stay with their thread ---- */

struct shared {
    struct world *w;
    struct table *t;
    _Atomic int stop;
    _Atomic int shared_errors, others;
};

static void hammer(void *context)
{
    struct shared *s = context;
    while (!atomic_load(&s->stop)) {
        err_t err = JetMove(s->w->ses, s->t->id, JET_MoveFirst, 0);
        if (err == JET_errSessionSharingViolation)
            atomic_fetch_add(&s->shared_errors, 1);
        else if (err != JET_errNoCurrentRecord)
            atomic_fetch_add(&s->others, 1);
    }
}

static void commit_elsewhere(void *context)
{
    struct shared *s = context;
    CHECK_EQ(JetCommitTransaction(s->w->ses, 0), JET_errSessionSharingViolation);
    CHECK_EQ(JetRollback(s->w->ses, 0), JET_errSessionSharingViolation);
    CHECK_EQ(JetResetSessionContext(s->w->ses), JET_errSessionContextNotSetByThisThread);
}

CASE(two_threads_in_one_session)
{
    struct world w;
    struct table t;
    struct os_thread *threads[3];
    struct shared s = {.w = &w, .t = &t};
    world_open(&w);
    make_table(&w, "all", &t);
    for (int i = 0; i < 3; i++)
        CHECK_OK(os_thread_start("hammer", hammer, &s, &threads[i]));
    for (int i = 0; i < 200 && atomic_load(&s.shared_errors) == 0; i++)
        os_sleep_ms(10);
    atomic_store(&s.stop, 1);
    for (int i = 0; i < 3; i++)
        os_thread_join(threads[i]);
    CHECK(atomic_load(&s.shared_errors) > 0);
    CHECK_EQ(atomic_load(&s.others), 0);
    CHECK_OK(JetBeginTransaction(w.ses));
    CHECK_OK(os_thread_start("commit", commit_elsewhere, &s, &threads[0]));
    os_thread_join(threads[0]);
    CHECK_OK(JetCommitTransaction(w.ses, 0));
    CHECK_OK(JetSetSessionContext(w.ses, 17));
    CHECK_EQ(JetSetSessionContext(w.ses, 17), JET_errSessionContextAlreadySet);
    CHECK_EQ(JetEndSession(w.ses, 0), JET_errSessionInUse);
    CHECK_OK(JetResetSessionContext(w.ses));
    CHECK_OK(JetEndSession(w.ses, 0));
    world_close(&w);
}

struct terming {
    struct world *w;
    struct table *t;
    _Atomic int strange;
    _Atomic int ready;
};

static void work_until_term(void *context)
{
    struct terming *s = context;
    JET_SESID ses;
    CHECK_OK(JetBeginSession(s->w->inst, &ses, NULL, NULL));
    atomic_fetch_add(&s->ready, 1);
    for (bool open = false;;) {
        err_t err = open ? JetCommitTransaction(ses, 0) : JetBeginTransaction(ses);
        if (err >= 0) {
            open = !open;
            continue;
        }
        if (err != JET_errTermInProgress) { /* after it, the end: the session went with the instance */
            if (err != JET_errInvalidSesid)
                atomic_fetch_add(&s->strange, 1);
            return;
        }
        os_yield();
    }
}

CASE(term_while_sessions_work)
{
    struct world w;
    struct terming s = {.w = &w};
    struct os_thread *threads[3];
    world_open(&w);
    for (int i = 0; i < 3; i++)
        CHECK_OK(os_thread_start("work", work_until_term, &s, &threads[i]));
    while (atomic_load(&s.ready) < 3)
        os_sleep_ms(1);
    err_t err;
    do
        err = JetTerm2(w.inst, JET_bitTermComplete); /* refused while a thread is between begin and commit */
    while (err == JET_errTooManyActiveUsers);
    CHECK_OK(err);
    for (int i = 0; i < 3; i++)
        os_thread_join(threads[i]);
    CHECK_EQ(atomic_load(&s.strange), 0);
    remove_tree(w.dir);
}

/* ---- instances and parameters ---- */

CASE(modes)
{
    JET_INSTANCE a = 0, b = 0;
    JET_SESID ses;
    struct world w;
    uint32_t done;
    CHECK_EQ(JetBackup("/nowhere", 0, NULL), JET_errInvalidParameter);
    CHECK_EQ(JetBeginSession(0, &ses, NULL, NULL), JET_errNotInitialized);
    CHECK_OK(JetCreateInstance(&a, "one"));
    CHECK_EQ(JetCreateInstance(&b, "one"), JET_errInstanceNameInUse);
    CHECK_EQ(b, JET_instanceNil);
    CHECK_EQ(JetInit(NULL), JET_errRunningInMultiInstanceMode);
    CHECK_EQ(JetBackup("/nowhere", 0, NULL), JET_errRunningInMultiInstanceMode);
    CHECK_EQ(JetRestore("/nowhere", NULL), JET_errRunningInMultiInstanceMode);
    CHECK_EQ(JetBeginSession(a, &ses, NULL, NULL), JET_errNotInitialized);
    CHECK_EQ(JetBackupInstance(a, "/nowhere", 0, NULL), JET_errNotInitialized);
    CHECK_OK(JetTerm(a));
    world_dir(&w); /* single mode */
    set_folders(&w);
    CHECK_OK(JetInit(NULL));
    CHECK_EQ(JetInit(NULL), JET_errAlreadyInitialized);
    CHECK_EQ(JetCreateInstance(&a, "two"), JET_errRunningInOneInstanceMode);
    CHECK_EQ(JetEnableMultiInstance(NULL, 0, &done), JET_errRunningInOneInstanceMode);
    CHECK_OK(JetBeginSession(0x77, &ses, NULL, NULL)); /* the handle is ignored */
    CHECK_OK(JetTerm(0));
    CHECK_EQ(JetTerm(0), JET_errNotInitialized);
    JET_SETSYSPARAM_A set[] = {{.paramid = JET_paramMaxSessions, .lParam = 33}, {.paramid = JET_paramMaxCursors, .lParam = 2000}};
    CHECK_OK(JetEnableMultiInstance(set, 2, &done));
    CHECK_EQ(done, 2);
    CHECK_EQ(JetEnableMultiInstance(set, 2, &done), JET_errSystemParamsAlreadySet);
    set[1].lParam = 1;
    CHECK_EQ(JetEnableMultiInstance(set, 2, &done), JET_errSystemParameterConflict);
    CHECK_EQ(set[1].err, JET_errSystemParameterConflict);
    remove_tree(w.dir);
}

CASE(parameters)
{
    struct world w;
    JET_API_PTR v;
    char text[300];
    JET_WCHAR units[300], want[300];
    world_open(&w);
    CHECK_OK(JetGetSystemParameter(w.inst, 0, JET_paramLogFileSize, &v, NULL, 0));
    CHECK_EQ(v, 256);
    CHECK_OK(JetSetSystemParameter(&w.inst, 0, JET_paramLogFileSize, 256, NULL)); /* the present value */
    CHECK_EQ(JetSetSystemParameter(&w.inst, 0, JET_paramLogFileSize, 512, NULL), JET_errAlreadyInitialized);
    CHECK_EQ(JetSetSystemParameter(&w.inst, 0, 221, 1, NULL), JET_errInvalidParameter);
    CHECK_EQ(JetSetSystemParameter(&w.inst, 0, JET_paramKeyMost, 1, NULL), JET_errInvalidParameter);
    CHECK_EQ(JetSetSystemParameter(NULL, 0, JET_paramDatabasePageSize, 8192, NULL), JET_errAlreadyInitialized);
    CHECK_OK(JetGetSystemParameter(w.inst, 0, JET_paramKeyMost, &v, NULL, 0));
    CHECK_EQ(v, 1000);
    CHECK_OK(JetGetSystemParameter(w.inst, 0, JET_paramBaseName, &v, text, sizeof text));
    CHECK(strcmp(text, "edb") == 0);
    CHECK_EQ(JetGetSystemParameter(w.inst, 0, JET_paramBaseName, &v, text, 3), JET_errBufferTooSmall);
    CHECK_OK(JetGetSystemParameterW(w.inst, 0, JET_paramBaseName, &v, units, sizeof units));
    wide("edb", want);
    CHECK(memcmp(units, want, 8) == 0);
    v = (JET_API_PTR)JET_errDiskFull;
    CHECK_OK(JetGetSystemParameter(w.inst, 0, JET_paramErrorToString, &v, text, sizeof text));
    CHECK(strstr(text, "JET_errDiskFull, ") == text);
    CHECK_OK(JetSetSystemParameter(&w.inst, w.ses, JET_paramCommitDefault, JET_bitCommitLazyFlush, NULL));
    CHECK_OK(JetSetSystemParameter(&w.inst, 0, PYJET_paramBackupReadRetries, 0, NULL));
    CHECK_EQ(JetSetSystemParameter(&w.inst, 0, JET_paramRuntimeCallback, 1, NULL), JET_errFeatureNotAvailable);
    world_close(&w);
}

CASE(error_words)
{
    JET_ERRINFOBASIC_W info;
    JET_ERR code = JET_errDiskFull;
    CHECK_OK(JetGetErrorInfoW(&code, &info, sizeof info, JET_ErrorInfoSpecificErr, 0));
    CHECK_EQ(info.errValue, JET_errDiskFull);
    CHECK_EQ(info.errcatMostSpecific, JET_errcatDisk);
    CHECK_EQ(info.rgCategoricalHierarchy[0], JET_errcatError);
    CHECK_EQ(JetGetErrorInfoW(&code, &info, sizeof info - 1, JET_ErrorInfoSpecificErr, 0), JET_errInvalidBufferSize);
    CHECK_EQ(JetGetErrorInfoW(&code, &info, sizeof info, 0, 0), JET_errInvalidParameter);
    CHECK(strcmp(PyjetErrorName(JET_errDiskFull), "JET_errDiskFull") == 0);
    CHECK_EQ(JetBeginTransaction(99), JET_errInvalidSesid);
    CHECK(PyjetErrorDetail(JET_errInvalidSesid)[0] != '\0');
    CHECK(PyjetErrorDetail(JET_errDiskFull)[0] == '\0');
    CHECK(PyjetErrorHint(JET_errDiskFull)[0] != '\0');
}

/* ---- A and W ---- */

CASE(wide_calls_are_the_same)
{
    struct world w;
    char path[1024], name[65];
    JET_WCHAR wpath[1024], wname[65], wkey[8] = {'+', 'k', 0, 0}, wcol[8], back[65];
    JET_COLUMNID narrow_id;
    JET_DBID db;
    world_dir(&w);
    world_start(&w);
    in_dir(&w, "w.edb", path);
    wide(path, wpath);
    CHECK_OK(JetCreateDatabaseW(w.ses, wpath, NULL, &w.db, 0));
    CHECK_OK(JetOpenDatabaseA(w.ses, path, NULL, &db, 0));
    CHECK_EQ(db, w.db);
    wide("t", wname);
    wname[1] = 0xE9; /* e acute: code page 1252 */
    wname[2] = 0;
    wide("k", wcol);
    JET_COLUMNCREATE_W column = {.cbStruct = sizeof column, .szColumnName = wcol, .coltyp = JET_coltypLong};
    JET_INDEXCREATE_W index = {
        .cbStruct = sizeof index, .szIndexName = wcol, .szKey = wkey, .cbKey = 8, .grbit = JET_bitIndexPrimary, .ulDensity = 80};
    JET_TABLECREATE_W create = {.cbStruct = sizeof create,
                                .szTableName = wname,
                                .rgcolumncreate = &column,
                                .cColumns = 1,
                                .rgindexcreate = &index,
                                .cIndexes = 1};
    CHECK_OK(JetCreateTableColumnIndexW(w.ses, w.db, &create));
    CHECK_OK(JetGetTableInfoA(w.ses, create.tableid, name, sizeof name, JET_TblInfoName));
    CHECK(strcmp(name, "t\xC3\xA9") == 0);
    CHECK_OK(JetGetTableInfoW(w.ses, create.tableid, back, sizeof back, JET_TblInfoName));
    CHECK(memcmp(back, wname, 6) == 0);
    JET_COLUMNBASE_W base;
    CHECK_OK(JetGetTableColumnInfoW(w.ses, create.tableid, wcol, &base, sizeof base, JET_ColInfoBase));
    CHECK_EQ(base.columnid, column.columnid);
    CHECK_EQ(base.cbStruct, 1052);
    CHECK(base.szBaseTableName[1] == 0xE9 && base.szBaseColumnName[0] == 'k');
    JET_COLUMNDEF def;
    CHECK_OK(JetGetTableColumnInfo(w.ses, create.tableid, "K", &def, sizeof def, JET_ColInfo));
    narrow_id = def.columnid;
    CHECK_EQ(narrow_id, column.columnid);
    CHECK_OK(JetCloseTable(w.ses, create.tableid));
    JET_TABLEID table;
    CHECK_OK(JetOpenTableA(w.ses, w.db, "t\xC3\xA9", NULL, 0, 0, &table));
    CHECK_OK(JetGetCurrentIndexW(w.ses, table, back, sizeof back));
    CHECK(back[0] == 'k' && back[1] == 0);
    CHECK_OK(JetCloseTable(w.ses, table));
    wname[1] = 0x4E00; /* not in 1252 */
    CHECK_EQ(JetOpenTableW(w.ses, w.db, wname, NULL, 0, 0, &table), JET_errInvalidName);
    wname[1] = 0xD800; /* half a character */
    CHECK_EQ(JetOpenTableW(w.ses, w.db, wname, NULL, 0, 0, &table), JET_errUnicodeTranslationFail);
    world_close(&w);
}

/* ---- rows in batches ---- */

CASE(rows_in_batches)
{
    struct world w;
    struct table t;
    uint8_t value[TYPES][8192], want[8192], mark[256];
    PYJET_CELL cells[TYPES], got[TYPES * 64], marks[64];
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    for (int row = 0; row < 100; row++) {
        for (uint32_t i = 0; i < TYPES; i++)
            cells[i] = (PYJET_CELL){.pv = value[i], .cb = value_of(row, i, value[i])};
        CHECK_OK(PyjetInsertRow(w.ses, t.id, t.col, cells, TYPES, mark, sizeof mark, &n));
        CHECK_EQ(n, 5);
    }
    for (int backwards = 0; backwards < 2; backwards++) {
        int row = 0;
        CHECK_OK(JetMove(w.ses, t.id, backwards ? JET_MoveLast : JET_MoveFirst, 0));
        for (;;) {
            n = 64;
            CHECK_OK(PyjetFetchRows(w.ses, t.id, t.col, TYPES, backwards, got, marks, &n));
            if (n == 0)
                break;
            for (uint32_t r = 0; r < n; r++, row++) {
                CHECK_EQ(marks[r].cb, 5);
                for (uint32_t i = 0; i < TYPES; i++) {
                    const PYJET_CELL *cell = &got[r * TYPES + i];
                    CHECK_EQ(cell->cb, value_of(backwards ? 99 - row : row, i, want));
                    CHECK(memcmp(cell->pv, want, cell->cb) == 0);
                }
            }
        }
        CHECK_EQ(row, 100);
    }
    PYJET_CELL many[3] = {{.pv = "a", .cb = 1}, {.pv = "", .cb = 0}, {.pv = "ccc", .cb = 3}};
    PYJET_CELL two[2] = {{.pv = many, .cb = sizeof many, .values = 3}, {.null = 1}};
    JET_COLUMNID ids[2] = {t.col[type_called("multi")], t.col[0]};
    CHECK_OK(PyjetInsertRow(w.ses, t.id, ids, two, 2, NULL, 0, NULL));
    int32_t id = 101;
    PYJET_CELL key = {.pv = &id, .cb = sizeof id};
    CHECK_OK(PyjetGetRow(w.ses, t.id, &key, 1, ids, 2, got, marks));
    CHECK_EQ(got[0].values, 3);
    const PYJET_CELL *values = got[0].pv;
    CHECK(values[0].cb == 1 && values[1].cb == 0 && values[1].pv != NULL && !values[1].null && values[2].cb == 3);
    CHECK(memcmp(values[2].pv, "ccc", 3) == 0);
    CHECK_EQ(got[1].null, 1);
    CHECK_OK(PyjetGetRow(w.ses, t.id, NULL, 0, ids, 2, got, NULL));
    CHECK_EQ(got[0].values, 3);
    id = 5000;
    CHECK_EQ(PyjetGetRow(w.ses, t.id, &key, 1, ids, 2, got, marks), JET_errRecordNotFound);
    ids[0] = 4000;
    CHECK_EQ(PyjetGetRow(w.ses, t.id, NULL, 0, ids, 2, got, NULL), JET_errColumnNotFound);
    CHECK_EQ(PyjetInsertRow(w.ses, t.id, ids, two, 2, NULL, 0, NULL), JET_errColumnNotFound);
    CHECK_OK(JetPrepareUpdate(w.ses, t.id, JET_prepInsert)); /* nothing is left prepared */
    CHECK_OK(JetPrepareUpdate(w.ses, t.id, JET_prepCancel));
    world_close(&w);
}

static JET_TABLEID make_pairs(struct world *w, JET_COLUMNID *id, JET_COLUMNID *text)
{
    JET_TABLEID table;
    JET_COLUMNDEF number = {.cbStruct = sizeof number, .coltyp = JET_coltypLong};
    JET_COLUMNDEF words = {.cbStruct = sizeof words, .coltyp = JET_coltypText, .cp = 1252};
    CHECK_OK(JetCreateTable(w->ses, w->db, "pairs", 1, 80, &table));
    CHECK_OK(JetAddColumn(w->ses, table, "id", &number, NULL, 0, id));
    CHECK_OK(JetAddColumn(w->ses, table, "text", &words, NULL, 0, text));
    CHECK_OK(JetCreateIndex(w->ses, table, "pk", JET_bitIndexPrimary, "+id\0", 5, 80));
    CHECK_OK(JetSetCurrentIndex(w->ses, table, "pk"));
    return table;
}

static uint32_t rows_there(struct world *w, JET_TABLEID table)
{
    uint32_t n = 0;
    JET_ERR err = JetMove(w->ses, table, JET_MoveFirst, 0);
    for (; err >= 0; err = JetMove(w->ses, table, JET_MoveNext, 0))
        n++;
    CHECK_EQ(err, JET_errNoCurrentRecord);
    return n;
}

/* Rows of two shapes, one without a column; row 3 has the key of row 0. */
CASE(many_inserts_in_one_call)
{
    struct world w;
    JET_COLUMNID id, text;
    uint32_t went;
    world_open(&w);
    JET_TABLEID t = make_pairs(&w, &id, &text);
    int32_t key[4] = {1, 2, 3, 1};
    JET_COLUMNID ids[6] = {id, text, id, text, id, id};
    PYJET_CELL cells[6] = {{.pv = &key[0], .cb = 4}, {.pv = "a", .cb = 1},       {.pv = &key[1], .cb = 4},
                           {.null = 1},              {.pv = &key[2], .cb = 4}, {.pv = &key[3], .cb = 4}};
    uint32_t starts[5] = {0, 2, 4, 5, 6};

    /* outside a transaction: all or none, and the one refused is told */
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, starts, 4, &went), JET_errKeyDuplicate);
    CHECK_EQ(went, 3);
    CHECK_EQ(rows_there(&w, t), 0);
    CHECK_OK(JetPrepareUpdate(w.ses, t, JET_prepInsert)); /* nothing is left prepared */
    CHECK_OK(JetPrepareUpdate(w.ses, t, JET_prepCancel));

    /* inside one: those before it stay, until the rollback */
    CHECK_OK(JetBeginTransaction(w.ses));
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, starts, 4, &went), JET_errKeyDuplicate);
    CHECK_EQ(went, 3);
    CHECK_EQ(rows_there(&w, t), 3);
    CHECK_OK(JetRollback(w.ses, 0));
    CHECK_EQ(rows_there(&w, t), 0);

    CHECK_OK(PyjetInsertRows(w.ses, t, ids, cells, starts, 0, &went));
    CHECK_EQ(went, 0);
    CHECK_OK(PyjetInsertRows(w.ses, t, NULL, NULL, NULL, 0, NULL));
    CHECK_OK(PyjetInsertRows(w.ses, t, ids, cells, starts, 3, NULL));
    CHECK_EQ(rows_there(&w, t), 3);
    PYJET_CELL got[2], first = {.pv = &key[0], .cb = 4};
    CHECK_OK(PyjetGetRow(w.ses, t, &first, 1, ids, 2, got, NULL));
    CHECK(got[1].cb == 1 && memcmp(got[1].pv, "a", 1) == 0);

    /* what cannot be rows is refused before anything is done */
    uint32_t falling[3] = {0, 2, 1};
    went = 7;
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, falling, 2, &went), JET_errInvalidParameter);
    CHECK_EQ(went, 0);
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, NULL, 1, NULL), JET_errInvalidParameter);
    CHECK_EQ(PyjetInsertRows(w.ses, t, NULL, cells, starts, 1, NULL), JET_errInvalidParameter);
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, NULL, starts, 1, NULL), JET_errInvalidParameter);
    went = 7;
    CHECK_EQ(PyjetInsertRows(w.ses, t + 1, ids, cells, starts, 1, &went), JET_errInvalidTableId);
    CHECK_EQ(went, 0);
    ids[2] = 4000;
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, starts, 3, &went), JET_errKeyDuplicate);
    CHECK_EQ(went, 0);
    key[0] = 9;
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, starts, 3, &went), JET_errColumnNotFound);
    CHECK_EQ(went, 1);
    CHECK_EQ(rows_there(&w, t), 3);
    CHECK_OK(JetBeginTransaction2(w.ses, JET_bitTransactionReadOnly));
    CHECK_EQ(PyjetInsertRows(w.ses, t, ids, cells, starts, 1, NULL), JET_errTransReadOnly);
    CHECK_OK(JetRollback(w.ses, 0));
    world_close(&w);
}

/* Rows whose values take their time: each lies in a page of its own, which is not there before it is touched. */
#define SLOW_ROWS 250u
#define SLOW_MS 20
#define SLOW_PAGE 4096u

struct slow_load {
    struct world *w;
    JET_COLUMNID ids[2 * SLOW_ROWS];
    PYJET_CELL cells[2 * SLOW_ROWS];
    uint32_t starts[SLOW_ROWS + 1];
    int32_t keys[SLOW_ROWS];
    uint8_t *pages;
    _Atomic int stage; /* 1: at the call, 2: behind it */
};

static _Atomic int slow_touched, slow_enough;

static void on_touch(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(SLOW_PAGE - 1);
    if (mprotect((void *)page, SLOW_PAGE, PROT_READ | PROT_WRITE) != 0)
        _exit(9);
    atomic_fetch_add(&slow_touched, 1);
    struct timespec moment = {.tv_nsec = SLOW_MS * 1000000};
    if (atomic_load(&slow_enough) == 0)
        nanosleep(&moment, NULL);
}

static void *load_slowly(void *context) /* no os_thread: those take no signals */
{
    struct slow_load *l = context;
    JET_SESID ses;
    JET_DBID db;
    JET_TABLEID t;
    uint32_t went = 0;
    char path[1024];
    in_dir(l->w, "a.edb", path);
    CHECK_OK(JetBeginSession(l->w->inst, &ses, NULL, NULL));
    CHECK_OK(JetOpenDatabase(ses, path, NULL, &db, 0));
    CHECK_OK(JetOpenTable(ses, db, "pairs", NULL, 0, 0, &t));
    atomic_store(&l->stage, 1);
    CHECK_OK(PyjetInsertRows(ses, t, l->ids, l->cells, l->starts, SLOW_ROWS, &went));
    atomic_store(&l->stage, 2);
    CHECK_EQ(went, SLOW_ROWS);
    CHECK_OK(JetEndSession(ses, 0));
    return NULL;
}

static void prepare_slow_load(struct slow_load *l, JET_COLUMNID id, JET_COLUMNID text)
{
    struct sigaction touch = {.sa_sigaction = on_touch, .sa_flags = SA_SIGINFO};
    l->pages = mmap(NULL, SLOW_ROWS * SLOW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(l->pages != MAP_FAILED);
    for (uint32_t i = 0; i < SLOW_ROWS; i++) {
        l->keys[i] = (int32_t)i;
        l->ids[2 * i] = id;
        l->ids[2 * i + 1] = text;
        l->cells[2 * i] = (PYJET_CELL){.pv = &l->keys[i], .cb = sizeof l->keys[i]};
        l->cells[2 * i + 1] = (PYJET_CELL){.pv = l->pages + i * SLOW_PAGE, .cb = 10};
        l->starts[i + 1] = 2 * i + 2;
    }
    CHECK_EQ(sigaction(SIGSEGV, &touch, NULL), 0);
}

/* A freeze waits for the row at work, not for the rest of the call: five seconds of it. */
CASE(a_freeze_beside_many_inserts)
{
    static struct slow_load l;
    struct world w;
    JET_COLUMNID id, text;
    JET_OSSNAPID snapshot;
    JET_INSTANCE_INFO_A *list;
    pthread_t thread;
    uint32_t n;
    world_open(&w);
    JET_TABLEID t = make_pairs(&w, &id, &text);
    CHECK_OK(JetCloseTable(w.ses, t));
    CHECK_OK(JetOpenTable(w.ses, w.db, "pairs", NULL, 0, 0, &t));
    l.w = &w;
    prepare_slow_load(&l, id, text);
    CHECK_OK(JetOSSnapshotPrepare(&snapshot, 0));
    CHECK_EQ(pthread_create(&thread, NULL, load_slowly, &l), 0);
    while (atomic_load(&slow_touched) < 2)
        os_sleep_ms(1);
    CHECK_OK(JetOSSnapshotFreeze(snapshot, &n, &list, 0));
    int touched = atomic_load(&slow_touched);
    os_sleep_ms(2 * SLOW_MS);
    CHECK_EQ(atomic_load(&l.stage), 1);
    CHECK_EQ(atomic_load(&slow_touched), touched); /* and it stands still between two of them */
    CHECK((uint32_t)touched < SLOW_ROWS);
    atomic_store(&slow_enough, 1);
    CHECK_OK(JetOSSnapshotThaw(snapshot, 0));
    JetFreeBuffer((char *)list);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(rows_there(&w, t), SLOW_ROWS);
    munmap(l.pages, SLOW_ROWS * SLOW_PAGE);
    world_close(&w);
}

/* ---- backup and restore ---- */

struct seen {
    int begins, ends, fails;
    uint32_t percent;
    JET_SNP snp;
};

static struct seen status_seen;

static JET_ERR on_status(JET_SESID sesid, JET_SNP snp, JET_SNT snt, void *pv)
{
    const JET_SNPROG *prog = pv;
    struct seen *s = &status_seen;
    CHECK_EQ(sesid, JET_sesidNil);
    s->snp = snp;
    if (snt == JET_sntFail) {
        CHECK(pv == NULL);
        s->fails++;
        return -1; /* ignored */
    }
    CHECK(prog->cbStruct == sizeof *prog && prog->cunitTotal == 100);
    if (snt == JET_sntProgress) {
        CHECK(prog->cunitDone > s->percent && prog->cunitDone < 100);
        s->percent = prog->cunitDone;
    }
    s->begins += snt == JET_sntBegin;
    s->ends += snt == JET_sntComplete;
    CHECK(snt != JET_sntComplete || prog->cunitDone == 100);
    return -1;
}

static JET_ERR refuse_at_once(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    (void)context;
    (void)snp;
    (void)done;
    (void)total;
    return snt == JET_sntProgress ? JET_errBackupAbortByServer : JET_errSuccess;
}

static void fill(struct world *w, struct table *t, int from, int to)
{
    CHECK_OK(JetBeginTransaction(w->ses));
    for (int row = from; row < to; row++)
        insert_row(w, t, row);
    CHECK_OK(JetCommitTransaction(w->ses, 0));
}

CASE(backup_and_restore)
{
    struct world w, r;
    struct table t;
    char set[1024], dest[1024], path[2048];
    PYJET_BACKUP result;
    static PYJET_RESTORE restored;
    uint32_t n;
    world_open(&w);
    make_table(&w, "all", &t);
    fill(&w, &t, 0, 30);
    in_dir(&w, "set", set);
    CHECK_EQ(JetBackupInstance(w.inst, set, 0x100, NULL), JET_errInvalidGrbit);
    CHECK_EQ(JetBackupInstance(w.inst, set, 0, NULL), JET_errInvalidPath);
    CHECK_OK(os_dir_create(set));
    CHECK_EQ(PyjetBackup(w.inst, set, 0, refuse_at_once, NULL, &result), JET_errBackupAbortByServer);
    memset(&status_seen, 0, sizeof status_seen);
    CHECK_OK(JetBackupInstance(w.inst, set, 0, on_status));
    CHECK(status_seen.begins == 1 && status_seen.ends == 1 && status_seen.fails == 0 && status_seen.snp == JET_snpBackup);
    CHECK_EQ(JetBackupInstance(w.inst, set, 0, on_status), JET_errBackupDirectoryNotEmpty);
    fill(&w, &t, 30, 60);
    CHECK_OK(PyjetBackup(w.inst, set, JET_bitBackupIncremental, NULL, NULL, &result));
    CHECK(result.logs > 0 && result.databases == 0);
    fill(&w, &t, 60, 70); /* after the set */
    CHECK_OK(JetTerm2(w.inst, JET_bitTermComplete));
    world_dir(&r);
    in_dir(&r, "restored", dest);
    CHECK_OK(os_dir_create(dest));
    CHECK_OK(JetCreateInstance(&r.inst, "restore"));
    set_folders(&r);
    memset(&status_seen, 0, sizeof status_seen);
    CHECK_EQ(PyjetRestore(r.inst, "/nowhere", dest, NULL, NULL, NULL, &restored), JET_errFileNotFound);
    CHECK_OK(JetRestoreInstance(r.inst, set, dest, on_status));
    CHECK(status_seen.begins == 1 && status_seen.ends == 1 && status_seen.fails == 0 && status_seen.snp == JET_snpRestore);
    CHECK_OK(JetInit(&r.inst));
    CHECK_OK(JetBeginSession(r.inst, &r.ses, NULL, NULL));
    snprintf(path, sizeof path, "%s/a.edb", dest);
    CHECK_OK(JetAttachDatabase(r.ses, path, 0));
    CHECK_OK(JetOpenDatabase(r.ses, path, NULL, &r.db, 0));
    CHECK_OK(JetOpenTable(r.ses, r.db, "all", NULL, 0, 0, &t.id));
    CHECK_OK(JetMove(r.ses, t.id, JET_MoveFirst, 0));
    CHECK_OK(JetIndexRecordCount(r.ses, t.id, &n, 0));
    CHECK_EQ(n, 60);
    for (int row = 0; row < 60; row++) {
        check_row(&r, &t, row);
        CHECK_EQ(JetMove(r.ses, t.id, JET_MoveNext, 0), row == 59 ? JET_errNoCurrentRecord : JET_errSuccess);
    }
    world_close(&r);
    remove_tree(w.dir);
}

/* ---- a file without an instance ---- */

CASE(reading_a_file)
{
    struct world w;
    struct table t;
    struct world f = {.inst = 0};
    struct table ft;
    char path[1024];
    char *json;
    JET_TABLEID dup;
    world_open(&w);
    make_table(&w, "all", &t);
    fill(&w, &t, 0, 20);
    in_dir(&w, "a.edb", path);
    CHECK_OK(JetTerm2(w.inst, JET_bitTermComplete));
    CHECK_OK(PyjetOpenFile(path, 0, &f.ses, &f.db));
    ft = t;
    CHECK_OK(JetOpenTable(f.ses, f.db, "all", NULL, 0, 0, &ft.id));
    CHECK_OK(JetBeginTransaction(f.ses));
    CHECK_OK(JetMove(f.ses, ft.id, JET_MoveFirst, 0));
    for (int row = 0; row < 20; row++) {
        check_row(&f, &ft, row);
        CHECK_EQ(JetMove(f.ses, ft.id, JET_MoveNext, 0), row == 19 ? JET_errNoCurrentRecord : JET_errSuccess);
    }
    CHECK_OK(JetCommitTransaction(f.ses, 0));
    CHECK_EQ(JetCommitTransaction(f.ses, 0), JET_errNotInTransaction);
    CHECK_OK(JetDupCursor(f.ses, ft.id, &dup, 0));
    CHECK_EQ(JetPrepareUpdate(f.ses, ft.id, JET_prepInsert), JET_errPermissionDenied);
    CHECK_EQ(JetDeleteTable(f.ses, f.db, "all"), JET_errPermissionDenied);
    CHECK_EQ(JetOpenTable(f.ses, 2, "all", NULL, 0, 0, &dup), JET_errInvalidDatabaseId);
    CHECK_OK(PyjetCloseFile(f.ses));
    CHECK_EQ(PyjetCloseFile(f.ses), JET_errInvalidSesid);
    CHECK_OK(PyjetDumpHeader(path, &json));
    CHECK(json[0] == '{');
    CHECK_OK(JetFreeBuffer(json));
    PYJET_CHECK sum;
    CHECK_OK(PyjetCheckFile(path, 0, NULL, NULL, &sum));
    CHECK_EQ(sum.findings, 0);
    CHECK(sum.records >= 20);
    in_dir(&w, "none.edb", path);
    CHECK_EQ(PyjetOpenFile(path, 0, &f.ses, &f.db), JET_errFileNotFound);
    remove_tree(w.dir);
}

CTEST_MAIN
