/* The check room: sound databases give no finding, damaged ones the right ones, hostile ones
 * nothing worse. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "check/check.h"
#include "folder.h"

static char file_path[OS_PATH_MAX];

static void files_begin(void)
{
    folder_begin("check");
    folder_join(file_path, "c.edb");
}

/* ---- a database alone, as engine/reader.c opens it ---- */

struct alone {
    struct cache *cache;
    struct log *log;
    struct versions *versions;
    struct dbfile *db;
    struct trx trx, inner;
    struct txn_databases dbs;
    bool has_space, has_catalog;
};
static struct dbfile *find_alone(void *context, dbid_t dbid)
{
    struct alone *a = context;
    return dbid == 1 ? a->db : NULL;
}
static err_t alone_open(struct alone *a, const char *path, uint32_t page_size, bool read_only,
                        pgno_t create)
{
    struct cache_config cc = {.page_size = page_size, .bytes_max = 16u << 20, .bytes_min = 1 << 20};
    struct log_config lc = {.log_dir = "/",
                            .system_dir = "/",
                            .base_name = "edb",
                            .file_size = 65536,
                            .page_size = page_size};
    *a = (struct alone){.dbs = {a, find_alone}};
    TRY_RETURN(cache_create(&cc, &a->cache));
    TRY_RETURN(log_create(&lc, &a->log));
    TRY_RETURN(versions_create(64u << 20, &a->versions));
    trx_init(&a->inner, a->versions, a->log, PROCID_USER_MAX - 3, true, NULL);
    trx_init(&a->trx, a->versions, a->log, PROCID_USER_MAX - 4, false, &a->inner);
    struct dbfile_config dc = {.cache = a->cache,
                               .log = a->log,
                               .versions = a->versions,
                               .dbid = 1,
                               .read_only = read_only};
    TRY_RETURN(create != 0 ? dbfile_create(&dc, path, create, true, &a->db)
                           : dbfile_open(&dc, path, &a->db));
    TRY_RETURN(space_init(a->db));
    a->has_space = true;
    if (create != 0)
        TRY_RETURN(catalog_bootstrap(a->db, &a->trx, &a->dbs, create));
    TRY_RETURN(catalog_open(a->db, &a->dbs, folder, &a->trx));
    a->has_catalog = true;
    return JET_errSuccess;
}
static void alone_close(struct alone *a)
{
    if (a->has_catalog)
        catalog_close(a->db);
    if (a->has_space)
        space_term(a->db);
    if (a->db != NULL)
        dbfile_close(a->db);
    if (a->versions != NULL) {
        trx_term(&a->trx);
        trx_term(&a->inner);
        versions_destroy(a->versions);
    }
    if (a->log != NULL)
        log_destroy(a->log);
    if (a->cache != NULL)
        cache_destroy(a->cache);
}

/* ---- findings ---- */

static const char *const kind_names[] = {"HEADER",  "CHECKSUM", "PAGE",      "TREE",  "SPACE",
                                         "CATALOG", "RECORD",   "LONGVALUE", "INDEX", "NOTE"};
struct heard {
    unsigned kinds[CHECK_NOTE + 1];
    unsigned count;
    bool loud;
    unsigned stop_after; /* 0: never */
};
static err_t hear(void *context, const struct check_finding *f)
{
    struct heard *h = context;
    CHECK(f->kind <= CHECK_NOTE && f->text != NULL && f->text[0] != '\0');
    h->kinds[f->kind]++;
    h->count++;
    if (h->loud)
        printf("finding\t%s\t%u\t%s\n", kind_names[f->kind], f->pgno, f->text);
    return h->stop_after != 0 && h->count >= h->stop_after ? RAISE(JET_errOutOfSessions)
                                                           : JET_errSuccess;
}

/* ---- a file named by the environment: driven by tests/format/test_samples_check.py ---- */

static err_t check_file(const char *path, struct heard *h, struct check_sum *sum)
{
    struct db_header header;
    struct alone a = {0};
    struct check_options o = {.records = true, .indexes = true, .sink = hear, .sink_context = h};
    err_t err = db_header_read_path(path, &header);
    if (err >= 0)
        err = alone_open(&a, path, header.page_size, true, 0);
    if (err >= 0)
        err = check_database(a.db, &o, sum);
    alone_close(&a);
    return err;
}

/* Each line of the file that the environment names goes to fn; without one there is nothing to do
 * here. */
static void for_each_line(const char *variable, void (*fn)(char *line))
{
    const char *list = getenv(variable);
    char line[OS_PATH_MAX + 16];
    if (list == NULL) {
        printf("%s is not set: driven by tests/format\n", variable);
        return;
    }
    FILE *f = fopen(list, "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        fn(line);
    }
    fclose(f);
}

static void check_line(char *path)
{
    struct heard h = {.loud = true};
    struct check_sum sum = {0};
    printf("file\t%s\n", path);
    err_t err = check_file(path, &h, &sum);
    if (err < 0)
        printf("error\t%s\t%s\n", err_name(err), err_last()->detail);
    printf("sum\tpages=%llu used=%llu available=%llu leaked=%llu trees=%llu tables=%llu "
           "records=%llu entries=%llu long=%llu "
           "findings=%llu notes=%llu\n",
           (unsigned long long)sum.pages, (unsigned long long)sum.pages_used,
           (unsigned long long)sum.pages_available, (unsigned long long)sum.pages_leaked,
           (unsigned long long)sum.trees, (unsigned long long)sum.tables,
           (unsigned long long)sum.records, (unsigned long long)sum.index_entries,
           (unsigned long long)sum.long_values, (unsigned long long)sum.findings,
           (unsigned long long)sum.notes);
}

CASE(files)
{
    files_begin();
    for_each_line("PYJET_CHECK_FILES", check_line);
    folder_end();
}

static void checksums_line(char *path)
{
    struct heard h = {.loud = true};
    struct check_options o = {.sink = hear, .sink_context = &h};
    struct check_sum sum;
    printf("file\t%s\n", path);
    err_t err = check_checksums(path, &o, &sum);
    if (err < 0)
        printf("error\t%s\t%s\n", err_name(err), err_last()->detail);
    printf("sum\tpages=%llu findings=%llu notes=%llu\n", (unsigned long long)sum.pages,
           (unsigned long long)sum.findings, (unsigned long long)sum.notes);
}

CASE(checksums_of_files)
{
    for_each_line("PYJET_CHECKSUM_FILES", checksums_line);
}

/* "pgno page_size path": the page's checksum is made right again. */
static void reseal_line(char *line)
{
    char *rest;
    struct os_file *file;
    pgno_t pgno = (pgno_t)strtoul(line, &rest, 10);
    uint32_t size = (uint32_t)strtoul(rest, &rest, 10);
    uint8_t *bytes = os_alloc_aligned(size);
    CHECK_OK(os_file_open(rest + 1, OS_WRITE, &file));
    CHECK_OK(os_file_read(file, (uint64_t)(pgno + 1) * size, bytes, size));
    page_seal((struct page){bytes, size}, pgno);
    CHECK_OK(os_file_write(file, (uint64_t)(pgno + 1) * size, bytes, size));
    os_file_close(file);
    os_free_aligned(bytes);
}

CASE(reseal)
{
    for_each_line("PYJET_RESEAL", reseal_line);
}

static void dump_line(char *path)
{
    struct db_header header;
    struct buffer out = {0};
    struct os_file *file;
    CHECK_OK(db_header_read_path(path, &header));
    CHECK_OK(dump_db_header(&header, &out));
    printf("header\t%.*s\n", (int)out.n, (char *)out.p);
    uint8_t *bytes = os_alloc_aligned(header.page_size);
    uint64_t size;
    CHECK_OK(os_file_open(path, OS_READ, &file));
    CHECK_OK(os_file_size(file, &size));
    for (pgno_t p = 1; (p + 2ull) * header.page_size <= size; p++) {
        CHECK_OK(os_file_read(file, (p + 1ull) * header.page_size, bytes, header.page_size));
        out.n = 0;
        CHECK_OK(dump_page((struct page){bytes, header.page_size}, p, &out));
        printf("page\t%.*s\n", (int)out.n, (char *)out.p);
    }
    os_file_close(file);
    os_free_aligned(bytes);
    buffer_free(&out);
}

CASE(dump_files)
{
    for_each_line("PYJET_DUMP_FILES", dump_line);
}

/* A folder with logs of base name "SRU" and their checkpoint. */
static void dump_logs_line(char *dir)
{
    struct log_reader_config config = {
        .dirs = {dir}, .dir_count = 1, .base_name = "SRU", .mode = LOG_READ_SOFT};
    struct log_reader *reader;
    struct log_view view;
    struct buffer out = {0};
    struct checkpoint *c = malloc(sizeof *c);
    char path[OS_PATH_MAX];
    bool end = false;
    uint32_t generation = 0;
    CHECK_OK(os_join(path, sizeof path, dir, "SRU.chk"));
    CHECK_OK(log_checkpoint_read(path, c));
    CHECK_OK(dump_checkpoint(c, &out));
    printf("checkpoint\t%.*s\n", (int)out.n, (char *)out.p);
    CHECK_OK(log_reader_open(&config, LGPOS_MIN, &reader));
    for (;;) {
        CHECK_OK(log_reader_next(reader, &view, &end));
        if (end)
            break;
        if (LGPOS_GEN(view.at) != generation) {
            generation = LGPOS_GEN(view.at);
            out.n = 0;
            CHECK_OK(dump_log_header(log_reader_header(reader), &out));
            printf("log\t%.*s\n", (int)out.n, (char *)out.p);
        }
        out.n = 0;
        CHECK_OK(dump_log_record(&view, &out));
        printf("record\t%.*s\n", (int)out.n, (char *)out.p);
    }
    log_reader_close(reader);
    buffer_free(&out);
    free(c);
}

CASE(dump_logs)
{
    for_each_line("PYJET_DUMP_LOGS", dump_logs_line);
}

/* ---- a database of our own ---- */

enum { ROWS = 1500 };

static void add_column(struct table_desc *desc, struct alone *a, const char *name, JET_COLTYP type,
                       JET_GRBIT grbit, colid_t *id)
{
    struct catalog_column_want want = {.name = name, .coltyp = type, .grbit = grbit};
    CHECK_OK(catalog_add_column(desc, &a->trx, &want, id));
}

static void add_index(struct table_desc *desc, struct alone *a, const char *name, const char *key,
                      uint32_t size, JET_GRBIT grbit)
{
    struct catalog_index_want want = {.name = name, .key = key, .key_size = size, .grbit = grbit};
    CHECK_OK(catalog_create_index(desc, &a->trx, &want));
}

static void fill_row(struct table_cursor *c, const colid_t ids[4], int32_t row)
{
    char name[32], *note;
    uint32_t size = row % 7 == 0 ? 9000 : (uint32_t)row % 50;
    CHECK_OK(cursor_prepare(c, JET_prepInsert));
    CHECK_OK(cursor_set(c, ids[0], 1, 0, SLICE(&row, 4), false, 0));
    snprintf(name, sizeof name, "name %d", row % 100);
    CHECK_OK(cursor_set(c, ids[1], 1, 0, SLICE(name, strlen(name)), false, 0));
    note = malloc(size + 1);
    memset(note, 'a' + row % 26, size + 1);
    CHECK_OK(cursor_set(c, ids[2], 1, 0, SLICE(note, size), false, 0));
    free(note);
    for (int32_t i = 0; i < row % 4; i++) {
        int32_t value = row * 10 + i;
        CHECK_OK(cursor_set(c, ids[3], 0, 0, SLICE(&value, 4), false, 0));
    }
    CHECK_OK(cursor_update(c, NULL));
}

static _Atomic dbtime_t last_dbtime;
static _Atomic objid_t last_objid;
static void set_clean(struct db_header *h, void *context)
{
    (void)context;
    h->state = DB_CLEAN;
    h->dbtime = atomic_load(&last_dbtime);
    h->objid_last = atomic_load(&last_objid);
}

static void make_database(uint32_t page_size)
{
    struct alone a;
    struct table_desc *desc;
    struct table_cursor *c;
    colid_t ids[4];
    files_begin();
    CHECK_OK(alone_open(&a, file_path, page_size, false, 256));
    CHECK_OK(txn_begin(&a.trx, false));
    CHECK_OK(catalog_create_table(a.db, &a.trx, "things", 1, 80, &desc));
    add_column(desc, &a, "id", JET_coltypLong, JET_bitColumnNotNULL, &ids[0]);
    add_column(desc, &a, "name", JET_coltypText, 0, &ids[1]);
    add_column(desc, &a, "note", JET_coltypLongBinary, 0, &ids[2]);
    add_column(desc, &a, "tags", JET_coltypLong, JET_bitColumnMultiValued | JET_bitColumnTagged,
               &ids[3]);
    add_index(desc, &a, "pk", "+id\0", 5, JET_bitIndexPrimary | JET_bitIndexUnique);
    add_index(desc, &a, "by_name", "+name\0", 7, 0);
    add_index(desc, &a, "by_tags", "-tags\0", 7, JET_bitIndexIgnoreNull);
    CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    CHECK_OK(cursor_open(desc, &a.trx, 0, &c));
    for (int32_t row = 0; row < ROWS; row++) {
        CHECK_OK(txn_begin(&a.trx, false));
        fill_row(c, ids, row);
        CHECK_OK(txn_commit(&a.trx, TXN_LAZY));
    }
    cursor_close(c);
    catalog_release(desc);
    bool worked = true;
    struct trx sweeper;
    trx_init(&sweeper, a.versions, a.log, PROCID_SWEEP, true, &a.inner);
    while (worked)
        CHECK_OK(txn_sweep(&sweeper, &a.dbs, 1000, &worked));
    trx_term(&sweeper);
    CHECK_OK(dbfile_flush(a.db));
    atomic_store(&last_dbtime, atomic_load(&a.db->dbtime));
    atomic_store(&last_objid, atomic_load(&a.db->objid_last));
    CHECK_OK(dbfile_update_header(a.db, set_clean, NULL));
    alone_close(&a);
}

static err_t look(struct heard *h, struct check_sum *sum)
{
    *h = (struct heard){.stop_after = h->stop_after, .loud = h->loud};
    return check_file(file_path, h, sum);
}

static void sound_at(uint32_t page_size)
{
    struct heard h = {.loud = true};
    struct check_sum sum;
    make_database(page_size);
    CHECK_OK(look(&h, &sum));
    CHECK_EQ(h.count, 0);
    CHECK_EQ(sum.findings, 0);
    CHECK_EQ(sum.pages_leaked, 0);
    CHECK_EQ(sum.tables, 5); /* with the four of the system */
    CHECK(sum.records > ROWS && sum.pages_used + sum.pages_available == sum.pages);
    /* by_name: one a row; by_tags: row % 4 values a row; the catalog's own entries beside */
    CHECK(sum.index_entries > ROWS + ROWS / 4 * 6);
    CHECK_EQ(sum.long_values, (ROWS + 6) / 7);
    struct check_options o = {.sink = hear, .sink_context = &h};
    CHECK_OK(check_checksums(file_path, &o, &sum));
    CHECK_EQ(h.count, 0);
    folder_end();
}

CASE(sound_4k)
{
    sound_at(4096);
}
CASE(sound_8k)
{
    sound_at(8192);
}
CASE(sound_16k)
{
    sound_at(16384);
}
CASE(sound_32k)
{
    sound_at(32768);
}

/* Each depth of looking finds nothing in a sound file. */
CASE(sound_at_every_depth)
{
    struct check_sum sum;
    make_database(4096);
    for (int depth = 0; depth < 4; depth++) {
        struct alone a = {0};
        struct heard h = {.loud = true};
        struct check_options o = {
            .records = depth & 1, .indexes = depth & 2, .sink = hear, .sink_context = &h};
        CHECK_OK(alone_open(&a, file_path, 4096, true, 0));
        CHECK_OK(check_database(a.db, &o, &sum));
        CHECK_EQ(h.count, 0);
        CHECK_EQ(sum.index_entries > 0, depth >= 2);
        alone_close(&a);
    }
    folder_end();
}

/* ---- damage: pages changed under a right checksum ---- */

#define PAGE_SIZE 4096u
static uint8_t page_bytes[PAGE_SIZE] __attribute__((aligned(4096)));
static const struct page edited = {page_bytes, PAGE_SIZE};

static void read_page(pgno_t pgno)
{
    struct os_file *f;
    CHECK_OK(os_file_open(file_path, OS_READ, &f));
    CHECK_OK(os_file_read(f, (uint64_t)(pgno_t)(pgno + 1) * PAGE_SIZE, page_bytes, PAGE_SIZE));
    os_file_close(f);
}
static void write_page(pgno_t pgno, bool seal)
{
    struct os_file *f;
    if (seal)
        page_seal(edited, pgno);
    CHECK_OK(os_file_open(file_path, OS_WRITE, &f));
    CHECK_OK(os_file_write(f, (uint64_t)(pgno_t)(pgno + 1) * PAGE_SIZE, page_bytes, PAGE_SIZE));
    os_file_close(f);
}
/* The nth page with these flags (of those in mask), read into page_bytes; objid 0: any. */
static pgno_t find_page(uint32_t mask, uint32_t flags, objid_t objid, int nth)
{
    for (pgno_t p = 1; p <= 256; p++) {
        read_page(p);
        if (!page_is_all_zero(edited) && (page_flags(edited) & mask) == flags &&
            (objid == 0 || page_objid(edited) == objid) && nth-- == 0)
            return p;
    }
    CHECK(!"such a page is there");
    return 0;
}
#define KINDS (PAGE_ROOT | PAGE_LEAF | PAGE_SPACE_TREE | PAGE_INDEX | PAGE_LONG_VALUE)
static objid_t things(void) /* the user's table: the first object behind the system's */
{
    return 8;
}

static uint8_t *whole_file;
static uint64_t whole_size;
static void keep_file(void)
{
    struct os_file *f;
    CHECK_OK(os_file_open(file_path, OS_READ, &f));
    CHECK_OK(os_file_size(f, &whole_size));
    whole_file = malloc(whole_size);
    CHECK_OK(os_file_read(f, 0, whole_file, whole_size));
    os_file_close(f);
}
static void put_back(void)
{
    struct os_file *f;
    CHECK_OK(os_file_open(file_path, OS_WRITE, &f));
    CHECK_OK(os_file_write(f, 0, whole_file, whole_size));
    os_file_close(f);
}

/* The damage just written gives a finding of this kind; then it is mended. */
static void expect(enum check_kind kind)
{
    struct heard h = {0};
    struct check_sum sum;
    CHECK_OK(look(&h, &sum));
    if (h.kinds[kind] == 0) {
        h.loud = true;
        CHECK_OK(look(&h, &sum));
    }
    CHECK(h.kinds[kind] > 0);
    CHECK(sum.findings + sum.notes >= h.count); /* some are only counted */
    put_back();
}

static void replace_data(int line, uint32_t at, uint8_t value)
{
    struct node node;
    uint8_t data[PAGE_SIZE];
    CHECK_OK(page_node(edited, line, &node));
    CHECK(at < node.data.n);
    memcpy(data, node.data.p, node.data.n);
    data[at] ^= value;
    page_replace(edited, line, SLICE(data, node.data.n));
}

CASE(damage)
{
    make_database(PAGE_SIZE);
    keep_file();
    pgno_t p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_bytes[2000] ^= 1;
    page_bytes[2001] ^= 1;
    write_page(p, false);
    expect(CHECK_CHECKSUM);

    p = find_page(KINDS, PAGE_LEAF, things(), 1); /* one bit: corrected by readers, told here */
    page_bytes[2000] ^= 1;
    write_page(p, false);
    expect(CHECK_CHECKSUM);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_bytes[28] ^= 7; /* free bytes */
    write_page(p, true);
    expect(CHECK_PAGE);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    memset(page_bytes, 0, PAGE_SIZE);
    write_page(p, false);
    expect(CHECK_PAGE);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_set_dbtime(edited, UINT64_MAX / 2);
    write_page(p, true);
    expect(CHECK_PAGE);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_set_next(edited, p);
    write_page(p, true);
    expect(CHECK_TREE);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_set_flags(edited, page_flags(edited) | PAGE_INDEX);
    write_page(p, true);
    expect(CHECK_TREE);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_delete(edited, 0);
    write_page(p, true);
    expect(CHECK_INDEX); /* entries without a record */

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_clear_nodes(edited);
    write_page(p, true);
    expect(CHECK_TREE);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    replace_data(0, 1, 0xFF); /* last variable column */
    write_page(p, true);
    expect(CHECK_RECORD);

    p = find_page(KINDS, PAGE_LEAF, things(), 1);
    replace_data(0, 4, 0x40); /* the id, which is the key */
    write_page(p, true);
    expect(CHECK_RECORD);
    free(whole_file);
    folder_end();
}

CASE(damage_elsewhere)
{
    make_database(PAGE_SIZE);
    keep_file();
    struct node node;
    pgno_t p = find_page(KINDS, PAGE_LEAF | PAGE_INDEX, 0, 0);
    page_delete(edited, page_line_count(edited) / 2);
    write_page(p, true);
    expect(CHECK_INDEX);

    p = find_page(KINDS, PAGE_LEAF | PAGE_INDEX, things() + 1, 0);
    replace_data(page_line_count(edited) / 2, 3, 0x01); /* bookmark */
    write_page(p, true);
    expect(CHECK_INDEX);

    p = find_page(KINDS | PAGE_PARENT_OF_LEAF, PAGE_ROOT | PAGE_PARENT_OF_LEAF | PAGE_INDEX,
                  things() + 1, 0);
    replace_data(1, 3, 0x7F); /* a child beyond the file */
    write_page(p, true);
    expect(CHECK_TREE);

    p = find_page(KINDS | PAGE_PARENT_OF_LEAF, PAGE_ROOT | PAGE_PARENT_OF_LEAF | PAGE_INDEX,
                  things() + 1, 0);
    uint8_t child[4];
    store_u32(child, p); /* itself: a circle */
    page_replace(edited, 1, SLICE(child, 4));
    write_page(p, true);
    expect(CHECK_SPACE);

    p = find_page(KINDS, PAGE_LEAF | PAGE_LONG_VALUE, 0, 0);
    CHECK(page_line_count(edited) > 1);
    int line = 0;
    for (; line < page_line_count(edited); line++) {
        CHECK_OK(page_node(edited, line, &node));
        if (node_key_size(&node) == 4)
            break;
    }
    replace_data(line, 0, 0x02); /* references */
    write_page(p, true);
    expect(CHECK_LONGVALUE);

    p = find_page(KINDS, PAGE_LEAF | PAGE_LONG_VALUE, 0, 0);
    replace_data(line, 4, 0x02); /* size */
    write_page(p, true);
    expect(CHECK_LONGVALUE);

    p = find_page(KINDS, PAGE_LEAF | PAGE_LONG_VALUE, 0, 0);
    page_delete(edited, line);
    write_page(p, true);
    expect(CHECK_LONGVALUE);

    read_page(3); /* what the system root has to give */
    int last = page_line_count(edited) - 1;
    CHECK(last >= 0);
    CHECK_OK(page_node(edited, last, &node));
    uint8_t count[4];
    store_u32(count, load_u32(node.data.p) + 20);
    page_replace(edited, last, SLICE(count, 4));
    write_page(3, true);
    expect(CHECK_SPACE);

    read_page(3);
    page_delete(edited, page_line_count(edited) - 1);
    write_page(3, true);
    expect(CHECK_NOTE); /* leaked */

    p = find_page(KINDS, PAGE_LEAF, 3, 0); /* the shadow catalog */
    replace_data(0, 8, 0x01);
    write_page(p, true);
    expect(CHECK_CATALOG);

    read_page(29); /* MSysObjids */
    page_delete(edited, page_line_count(edited) - 1);
    write_page(29, true);
    expect(CHECK_CATALOG);

    struct os_file *f;
    uint8_t junk[8] = {1};
    CHECK_OK(os_file_open(file_path, OS_WRITE, &f));
    CHECK_OK(os_file_write(f, PAGE_SIZE + 600, junk, sizeof junk)); /* the header's copy */
    os_file_close(f);
    expect(CHECK_HEADER);
    free(whole_file);
    folder_end();
}

CASE(the_sink_stops_the_run)
{
    struct heard h = {.stop_after = 2};
    struct check_sum sum;
    make_database(PAGE_SIZE);
    for (int i = 0; i < 6; i++) {
        pgno_t p = find_page(KINDS, PAGE_LEAF, things(), i);
        page_bytes[1000] ^= 0xFF;
        write_page(p, false);
    }
    CHECK_EQ(look(&h, &sum), JET_errOutOfSessions);
    CHECK_EQ(h.count, 2);
    folder_end();
}

static err_t count_progress(void *context, uint32_t done, uint32_t total)
{
    int *calls = context;
    CHECK(done <= total && total >= 256);
    return ++*calls == 2 ? RAISE(JET_errOutOfSessions) : JET_errSuccess;
}

CASE(progress_and_its_stop)
{
    int calls = 0;
    struct alone a = {0};
    struct heard h = {0};
    struct check_options o = {.records = true,
                              .indexes = true,
                              .sink = hear,
                              .sink_context = &h,
                              .progress = count_progress,
                              .progress_context = &calls};
    struct check_sum sum;
    make_database(PAGE_SIZE);
    CHECK_OK(alone_open(&a, file_path, PAGE_SIZE, true, 0));
    CHECK_EQ(check_database(a.db, &o, &sum), JET_errOutOfSessions);
    CHECK_EQ(calls, 2);
    alone_close(&a);
    folder_end();
}

CASE(many_findings_are_counted_not_told)
{
    struct heard h = {0};
    struct check_sum sum;
    make_database(PAGE_SIZE);
    pgno_t p = find_page(KINDS, PAGE_LEAF | PAGE_INDEX, things() + 1, 0);
    CHECK(page_line_count(edited) > 60);
    page_clear_nodes(edited);
    write_page(p, true);
    CHECK_OK(look(&h, &sum));
    CHECK_EQ(h.kinds[CHECK_INDEX], 40);
    CHECK(sum.findings > 60);
    folder_end();
}

/* Hostile: bytes at random under right checksums; nothing crashes, hangs, or reads beyond (run with
 * sanitizers). */
CASE(random_damage)
{
    unsigned long long dice = ctest_seed();
    struct check_sum sum;
    make_database(PAGE_SIZE);
    keep_file();
    int found = 0, refused = 0;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 3; i++) {
            pgno_t p = 1 + (pgno_t)(ctest_random(&dice) % 60);
            read_page(p);
            if (page_is_all_zero(edited))
                continue;
            for (int k = 0; k < 1 + round % 16; k++) {
                uint32_t at = 8 + (uint32_t)(ctest_random(&dice) % (PAGE_SIZE - 8));
                if (k % 2 == 0)
                    at = ctest_random(&dice) % 2 ? 8 + at % 48 : PAGE_SIZE - 1 - at % 80;
                page_bytes[at] = (uint8_t)ctest_random(&dice);
            }
            write_page(p, true);
        }
        struct heard h = {0};
        err_t err = look(&h, &sum);
        refused += err < 0;
        found += err >= 0 && h.count > 0;
        CHECK(err >= 0 || err != JET_errOutOfMemory);
        put_back();
    }
    printf("%d with findings, %d refused at opening\n", found, refused);
    CHECK(found > 10 && found + refused > 40);
    free(whole_file);
    folder_end();
}

static void empty_file(uint64_t size)
{
    struct os_file *f;
    CHECK_OK(os_file_open(file_path, OS_WRITE | OS_CREATE, &f));
    CHECK_OK(os_file_set_size(f, size));
    os_file_close(f);
}

CASE(checksums_without_a_database)
{
    struct heard h = {0};
    struct check_options o = {.sink = hear, .sink_context = &h};
    struct check_sum sum;
    files_begin();
    CHECK_EQ(check_checksums(file_path, &o, &sum), JET_errFileNotFound);
    empty_file(0);
    CHECK_EQ(check_checksums(file_path, &o, &sum), JET_errReadVerifyFailure);
    empty_file(100000);
    CHECK_EQ(check_checksums(file_path, &o, &sum), JET_errReadVerifyFailure);
    folder_end();
    make_database(PAGE_SIZE);
    memset(page_bytes, 0, PAGE_SIZE);
    write_page(0, false);          /* the header's copy */
    write_page((pgno_t)-1, false); /* the header: the page size comes from page 1 then */
    pgno_t p = find_page(KINDS, PAGE_LEAF, things(), 1);
    page_bytes[900] ^= 3;
    write_page(p, false);
    h = (struct heard){0};
    CHECK_OK(check_checksums(file_path, &o, &sum));
    CHECK_EQ(h.kinds[CHECK_HEADER], 2);
    CHECK_EQ(h.kinds[CHECK_CHECKSUM], 1);
    CHECK(sum.pages >= 256);
    folder_end();
}

CTEST_MAIN
