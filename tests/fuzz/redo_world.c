#include "redo_world.h"

#include <unistd.h>

#include "made.h"
#include "log/log_format.h"

static struct redo_world world;

/* ---- an instance at work ---- */

struct work {
    JET_INSTANCE inst;
    JET_SESID ses;
    JET_DBID db;
    JET_TABLEID table;
    JET_COLUMNID id, text, lv, n;
};

static void begin(struct work *w, const char *dir, const char *name)
{
    OK(JetSetSystemParameter(NULL, 0, JET_paramDatabasePageSize, REDO_PAGE, NULL));
    OK(JetCreateInstance(&w->inst, name));
    OK(JetSetSystemParameter(&w->inst, 0, JET_paramSystemPath, 0, dir));
    OK(JetSetSystemParameter(&w->inst, 0, JET_paramLogFilePath, 0, dir));
    OK(JetSetSystemParameter(&w->inst, 0, JET_paramTempPath, 0, dir));
    OK(JetSetSystemParameter(&w->inst, 0, JET_paramLogFileSize, 1024, NULL));
    OK(JetSetSystemParameter(&w->inst, 0, JET_paramCreatePathIfNotExist, 1, NULL));
    OK(JetSetSystemParameter(&w->inst, 0, JET_paramDbExtensionSize, 8, NULL));
    OK(JetInit(&w->inst));
    OK(JetBeginSession(w->inst, &w->ses, NULL, NULL));
}

static void create_table(struct work *w, const char *name, JET_TABLEID *table)
{
    JET_COLUMNDEF id = {.cbStruct = sizeof id, .coltyp = JET_coltypLong, .grbit = JET_bitColumnNotNULL};
    JET_COLUMNDEF text = {.cbStruct = sizeof text, .coltyp = JET_coltypText, .cp = 1252};
    JET_COLUMNDEF lv = {.cbStruct = sizeof lv, .coltyp = JET_coltypLongBinary};
    JET_COLUMNDEF n = {.cbStruct = sizeof n, .coltyp = JET_coltypLong, .grbit = JET_bitColumnEscrowUpdate | JET_bitColumnFixed};
    OK(JetCreateTable(w->ses, w->db, name, 1, 80, table));
    OK(JetAddColumn(w->ses, *table, "id", &id, NULL, 0, &w->id));
    OK(JetAddColumn(w->ses, *table, "text", &text, NULL, 0, &w->text));
    OK(JetAddColumn(w->ses, *table, "lv", &lv, NULL, 0, &w->lv));
    OK(JetAddColumn(w->ses, *table, "n", &n, "\0\0\0", 4, &w->n));
    OK(JetCreateIndex(w->ses, *table, "pk", JET_bitIndexPrimary, "+id\0", 5, 80));
    OK(JetCreateIndex(w->ses, *table, "by_text", 0, "+text\0", 7, 80));
}

static void put(struct work *w, JET_TABLEID table, int row, uint32_t text, uint32_t lv, bool insert)
{
    static uint8_t bytes[8192];
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)('a' + (i * 7 + (uint32_t)row * 13) % 26);
    OK(JetPrepareUpdate(w->ses, table, insert ? JET_prepInsert : JET_prepReplace));
    if (insert)
        OK(JetSetColumn(w->ses, table, w->id, &row, 4, 0, NULL));
    OK(JetSetColumn(w->ses, table, w->text, bytes, text, 0, NULL));
    if (lv != 0)
        OK(JetSetColumn(w->ses, table, w->lv, bytes, lv, 0, NULL));
    OK(JetUpdate(w->ses, table, NULL, 0, NULL));
}

static void insert_rows(struct work *w, JET_TABLEID table, int first, int end, int step)
{
    OK(JetBeginTransaction(w->ses));
    for (int row = first; row < end; row += step)
        put(w, table, row, 60 + (uint32_t)row * 7 % 150, row % 16 == 0 ? 5000 : 0, true);
    OK(JetCommitTransaction(w->ses, JET_bitCommitLazyFlush));
}

static bool go_to(struct work *w, int row)
{
    OK(JetMakeKey(w->ses, w->table, &row, 4, JET_bitNewKey));
    return JetSeek(w->ses, w->table, JET_bitSeekEQ) >= 0;
}

/* ---- the scenes ---- */

static void grow(struct work *w)
{
    insert_rows(w, w->table, 1, 81, 4);
    OK(JetBeginTransaction(w->ses));
    for (int row = 400; row < 412; row++)
        put(w, w->table, row, 120, row == 405 ? 3000 : 0, true); /* unfinished */
}

static void change(struct work *w)
{
    int by = 5;
    OK(JetBeginTransaction(w->ses));
    for (int row = 0; row < 40; row += 4)
        if (go_to(w, row))
            put(w, w->table, row, 20 + (uint32_t)row * 4, row == 8 ? 6000 : 0, false);
    OK(JetCommitTransaction(w->ses, 0));
    for (int turn = 0; turn < 3; turn++) { /* rolled back, in part, not at all */
        OK(JetBeginTransaction(w->ses));
        if (go_to(w, 44 + 4 * turn))
            put(w, w->table, 44 + 4 * turn, 200, 0, false);
        OK(JetBeginTransaction(w->ses));
        if (go_to(w, 60 + 4 * turn))
            OK(JetDelete(w->ses, w->table));
        put(w, w->table, 900 + turn, 30, 0, true);
        OK(turn == 2 ? JetCommitTransaction(w->ses, 0) : JetRollback(w->ses, turn == 0 ? JET_bitRollbackAll : 0));
        if (turn != 0)
            OK(JetCommitTransaction(w->ses, 0));
    }
    OK(JetBeginTransaction(w->ses));
    if (go_to(w, 4))
        OK(JetEscrowUpdate(w->ses, w->table, w->n, &by, 4, NULL, 0, NULL, 0));
    OK(JetCommitTransaction(w->ses, 0));
    OK(JetBeginTransaction(w->ses)); /* unfinished; its before-images get into the log when the pages are written */
    for (int row = 80; row < 120; row += 8) {
        if (go_to(w, row))
            put(w, w->table, row, 10, 0, false);
        if (go_to(w, row + 4))
            OK(JetDelete(w->ses, w->table));
    }
    if (go_to(w, 4))
        OK(JetEscrowUpdate(w->ses, w->table, w->n, &by, 4, NULL, 0, NULL, 0));
    put(w, w->table, 901, 30, 0, true);
    OK(JetSetSystemParameter(&w->inst, 0, PYJET_paramRandomSteal, 1, NULL));
    usleep(100000);
}

static void schema(struct work *w)
{
    JET_TABLEID table;
    JET_DBID other, db = w->db;
    JET_COLUMNID id;
    JET_COLUMNDEF late = {.cbStruct = sizeof late, .coltyp = JET_coltypShort};
    create_table(w, "second", &table);
    insert_rows(w, table, 0, 4, 1);
    OK(JetAddColumn(w->ses, w->table, "late", &late, "\7", 2, &id));
    OK(JetDeleteIndex(w->ses, table, "by_text"));
    OK(JetCloseTable(w->ses, table));
    OK(JetDeleteTable(w->ses, w->db, "second"));
    char path[1024];
    snprintf(path, sizeof path, "%s", fuzz_path("scene/b.edb"));
    OK(JetCreateDatabase(w->ses, path, NULL, &other, 0));
    w->db = other;
    OK(JetCreateTable(w->ses, other, "t", 1, 80, &table));
    OK(JetCloseTable(w->ses, table));
    OK(JetCloseDatabase(w->ses, other, 0));
    OK(JetDetachDatabase(w->ses, path));
    w->db = db;
}

static void shrink(struct work *w)
{
    OK(JetBeginTransaction(w->ses));
    for (int row = 0; row < 240; row += 4)
        if (row % 60 != 0 && go_to(w, row))
            OK(JetDelete(w->ses, w->table));
    OK(JetCommitTransaction(w->ses, 0));
    PYJET_STATS stats = {0};
    for (int turn = 0; turn < 300 && stats.merges + stats.empty_pages < 2; turn++) {
        usleep(10000); /* the clean-up is a thread of the instance's */
        OK(PyjetStats(w->inst, &stats));
    }
}

/* ---- records ---- */

static void forget(struct redo_scene *s)
{
    while (s->count > 0)
        free(s->record[--s->count].bytes);
}

static void collect(struct redo_scene *s, const char *dir)
{
    struct log_reader_config config = {.dirs = {dir}, .dir_count = 1, .base_name = "edb", .mode = LOG_READ_SOFT};
    struct log_reader *reader;
    struct log_view view;
    bool end = false;
    s->record = calloc(REDO_RECORDS_MOST, sizeof *s->record);
    FUZZ_ENFORCE(s->record != NULL && log_reader_open(&config, LGPOS_MIN, &reader) >= 0);
    for (;;) {
        FUZZ_ENFORCE(log_reader_next(reader, &view, &end) >= 0);
        if (end)
            break;
        if (view.bytes.p[0] == LOG_AttachDB)
            forget(s);
        if (view.bytes.p[0] == LOG_NOP2 || s->count == REDO_RECORDS_MOST)
            continue;
        struct redo_record *r = &s->record[s->count++];
        *r = (struct redo_record){malloc(view.bytes.n), view.bytes.n};
        FUZZ_ENFORCE(r->bytes != NULL);
        memcpy(r->bytes, view.bytes.p, r->n);
        world.generation = LGPOS_GEN(view.at) + 1;
    }
    log_reader_close(reader);
    FUZZ_ENFORCE(s->count > 20 && s->record[0].bytes[0] == LOG_AttachDB);
}

static void shell(const char *command)
{
    FUZZ_ENFORCE(system(command) == 0);
}

/* Makes all that was logged before durable. */
static void commit_in_another_session(const struct work *w)
{
    struct work other = *w;
    OK(JetBeginSession(w->inst, &other.ses, NULL, NULL));
    OK(JetOpenDatabase(other.ses, world.path, NULL, &other.db, 0));
    OK(JetOpenTable(other.ses, other.db, "rows", NULL, 0, 0, &other.table));
    OK(JetBeginTransaction(other.ses));
    put(&other, other.table, 5000, 5, 0, true);
    OK(JetCommitTransaction(other.ses, 0));
}

static void play(struct redo_scene *s, void (*scene)(struct work *w))
{
    struct work w = {0};
    JET_COLUMNDEF base;
    char command[3000];
    snprintf(command, sizeof command, "rm -rf '%s' '%s'; cp -r '%s' '%s'", fuzz_path("scene"), fuzz_path("seen"), fuzz_path("base"), fuzz_path("scene"));
    shell(command);
    s->image = fuzz_read(fuzz_path("scene/a.edb"), &s->image_size);
    begin(&w, fuzz_path("scene"), "scene");
    OK(JetAttachDatabase(w.ses, world.path, 0));
    OK(JetOpenDatabase(w.ses, world.path, NULL, &w.db, 0));
    OK(JetOpenTable(w.ses, w.db, "rows", NULL, 0, 0, &w.table));
    struct {
        const char *name;
        JET_COLUMNID *id;
    } columns[] = {{"id", &w.id}, {"text", &w.text}, {"lv", &w.lv}, {"n", &w.n}};
    for (int i = 0; i < 4; i++) {
        base.cbStruct = sizeof base;
        OK(JetGetTableColumnInfo(w.ses, w.table, columns[i].name, &base, sizeof base, JET_ColInfo));
        *columns[i].id = base.columnid;
    }
    scene(&w);
    commit_in_another_session(&w);
    snprintf(command, sizeof command, "cp -r '%s' '%s'", fuzz_path("scene"), fuzz_path("seen"));
    shell(command);
    collect(s, fuzz_path("seen"));
    (void)JetRollback(w.ses, JET_bitRollbackAll); /* what is open is in the copy */
    OK(JetTerm2(w.inst, JET_bitTermAbrupt));
}

const struct redo_world *redo_world_make(void)
{
    static void (*const scenes[REDO_SCENES])(struct work *w) = {grow, change, schema, shrink};
    struct work w = {0};
    char path[1024];
    size_t n;
    snprintf(world.path, sizeof world.path, "%s", fuzz_path("scene/a.edb"));
    begin(&w, fuzz_path("base"), "base");
    snprintf(path, sizeof path, "%s", fuzz_path("base/a.edb"));
    OK(JetCreateDatabase(w.ses, path, NULL, &w.db, 0));
    create_table(&w, "rows", &w.table);
    insert_rows(&w, w.table, 0, 240, 4);
    OK(JetTerm2(w.inst, JET_bitTermComplete));
    uint8_t *log = fuzz_read(fuzz_path("base/edb.log"), &n);
    memcpy(world.header, log, sizeof world.header);
    free(log);
    for (int i = 0; i < REDO_SCENES; i++)
        play(&world.scene[i], scenes[i]);
    return &world;
}

/* ---- laying ---- */

static void seal(uint8_t *segment, uint32_t generation, uint32_t isec)
{
    store_u64(segment + SEG_LGPOS, LGPOS(generation, isec, 0));
    store_u32(segment + SEG_FLAGS, SEG_FLAG_NEW_CHECKSUM);
    store_u32(segment + SEG_SUM_MARK, 0);
    store_u64(segment + SEG_CHECKSUM, checksum_ecc(segment, LOG_SEGMENT, isec, true));
}

/* Where the next byte goes. */
struct pen {
    uint8_t *image;
    uint32_t segments, generation, isec, ib;
};

static void next_segment(struct pen *pen)
{
    seal(pen->image + pen->isec * LOG_SEGMENT, pen->generation, pen->isec);
    pen->isec++;
    pen->ib = LOG_SEGMENT_HEAD;
}

static bool lay_one(struct pen *pen, const struct redo_record *r)
{
    struct slice rest = SLICE(r->bytes, r->n);
    for (bool first = true; rest.n != 0; first = false) {
        uint32_t room = LOG_SEGMENT - pen->ib, head = first ? FRAGMENT_BEGIN_HEAD : FRAGMENT_HEAD;
        if (first && rest.n > room && room < FRAGMENT_ROOM_MIN) {
            next_segment(pen); /* zeros are NOPs */
            room = LOG_SEGMENT - pen->ib;
        }
        if (pen->isec >= pen->segments - 1)
            return false;
        uint8_t *to = pen->image + pen->isec * LOG_SEGMENT + pen->ib;
        if (first && rest.n <= room)
            head = 0;
        uint32_t n = rest.n < room - head ? rest.n : room - head;
        if (head == FRAGMENT_BEGIN_HEAD) {
            to[0] = LOG_FragmentBegin;
            store_u32(to + 1, r->n);
            store_u16(to + 5, (uint16_t)n);
        } else if (head == FRAGMENT_HEAD) {
            to[0] = LOG_Fragment;
            store_u16(to + 1, (uint16_t)n);
        }
        memcpy(to + head, rest.p, n);
        rest = SLICE(rest.p + n, rest.n - n);
        pen->ib += head + n;
        if (pen->ib == LOG_SEGMENT)
            next_segment(pen);
    }
    return true;
}

bool redo_lay(uint8_t *image, uint32_t segments, uint32_t generation, const struct redo_record *record, int count)
{
    struct pen pen = {image, segments, generation, 1, LOG_SEGMENT_HEAD};
    memset(image, 0, (size_t)segments * LOG_SEGMENT);
    memcpy(image, world.header, LOG_SEGMENT);
    store_u32(image + HDR_GENERATION, generation);
    store_u16(image + HDR_FILE_SEGMENTS, (uint16_t)segments);
    store_u32(image + HDR_UPDATE_MINOR, LOG_CHAIN_CHECKSUM_SINCE - 1);
    memset(image + HDR_ATTACH, 0, LOG_ATTACH_ROOM);
    for (int i = 0; i < count; i++)
        if (!lay_one(&pen, &record[i]))
            return false;
    if (pen.ib != LOG_SEGMENT_HEAD)
        next_segment(&pen);
    return true;
}
