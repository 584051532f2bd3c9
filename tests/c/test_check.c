/* The check room: sound databases give no finding, damaged ones the right ones, hostile ones nothing worse. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "check/check.h"
#include "ctest.h"

static char folder[OS_PATH_MAX], file_path[OS_PATH_MAX];

static err_t unlink_entry(void *context, const char *name, bool is_dir)
{
    char path[OS_PATH_MAX];
    (void)context;
    if (is_dir)
        return JET_errSuccess;
    TRY_RETURN(os_join(path, sizeof path, folder, name));
    return os_unlink(path);
}
static void folder_begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/pyjet_test_check_%d", os_process_id());
    CHECK_OK(os_dir_create_path(folder));
    CHECK_OK(os_dir_list(folder, unlink_entry, NULL));
    CHECK_OK(os_join(file_path, sizeof file_path, folder, "c.edb"));
}
static void folder_end(void)
{
    CHECK_OK(os_dir_list(folder, unlink_entry, NULL));
    CHECK_OK(os_dir_remove(folder));
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
static err_t alone_open(struct alone *a, const char *path, uint32_t page_size, bool read_only, pgno_t create)
{
    struct cache_config cc = {.page_size = page_size, .bytes_max = 16u << 20, .bytes_min = 1 << 20};
    struct log_config lc = {.log_dir = "/", .system_dir = "/", .base_name = "edb", .file_size = 65536, .page_size = page_size};
    *a = (struct alone){.dbs = {a, find_alone}};
    TRY_RETURN(cache_create(&cc, &a->cache));
    TRY_RETURN(log_create(&lc, &a->log));
    TRY_RETURN(versions_create(64u << 20, &a->versions));
    trx_init(&a->inner, a->versions, a->log, PROCID_USER_MAX - 3, true, NULL);
    trx_init(&a->trx, a->versions, a->log, PROCID_USER_MAX - 4, false, &a->inner);
    struct dbfile_config dc = {.cache = a->cache, .log = a->log, .versions = a->versions, .dbid = 1, .read_only = read_only};
    TRY_RETURN(create != 0 ? dbfile_create(&dc, path, create, true, &a->db) : dbfile_open(&dc, path, &a->db));
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

static const char *const kind_names[] = {"HEADER", "CHECKSUM", "PAGE", "TREE", "SPACE", "CATALOG", "RECORD", "LONGVALUE", "INDEX", "NOTE"};
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
    return h->stop_after != 0 && h->count >= h->stop_after ? RAISE(JET_errOutOfSessions) : JET_errSuccess;
}
static unsigned findings(const struct heard *h)
{
    return h->count - h->kinds[CHECK_NOTE];
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

CASE(file)
{
    const char *list = getenv("PYJET_CHECK_FILES");
    char line[OS_PATH_MAX];
    folder_begin();
    FILE *f = fopen(list != NULL ? list : "/dev/null", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        struct heard h = {.loud = true};
        struct check_sum sum = {0};
        printf("file\t%s\n", line);
        err_t err = check_file(line, &h, &sum);
        if (err < 0)
            printf("error\t%s\t%s\n", err_name(err), err_last()->detail);
        printf("sum\tpages=%llu used=%llu available=%llu leaked=%llu trees=%llu tables=%llu records=%llu entries=%llu long=%llu findings=%llu notes=%llu\n",
               (unsigned long long)sum.pages, (unsigned long long)sum.pages_used, (unsigned long long)sum.pages_available,
               (unsigned long long)sum.pages_leaked, (unsigned long long)sum.trees, (unsigned long long)sum.tables,
               (unsigned long long)sum.records, (unsigned long long)sum.index_entries, (unsigned long long)sum.long_values,
               (unsigned long long)sum.findings, (unsigned long long)sum.notes);
    }
    fclose(f);
    folder_end();
    CHECK(findings(&(struct heard){0}) == 0);
}

CTEST_MAIN
