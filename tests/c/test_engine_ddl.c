/* Tables, columns, indexes and long values that come and go while the process is killed: after recovery the catalog, the trees and
 * the space agree, and nothing leaks. */
#include <pthread.h>

#include "engine_world.h"

#define TABLES 6

static _Atomic int in_flight; /* statements begun: the killer waits for some */

struct ddl {
    struct live l;
    struct dbfile *db;
    unsigned long long random;
    bool there[TABLES];
};

static uint32_t pick(struct ddl *d, uint32_t n)
{
    return (uint32_t)(ctest_random(&d->random) % n);
}

static const char *table_name(int i)
{
    static const char *const names[TABLES] = {"t0", "t1", "t2", "t3", "t4", "t5"};
    return names[i];
}

static void fill(struct ddl *d, struct live *t, int rows)
{
    for (int i = 0; i < rows; i++) {
        int id = (int)pick(d, 1000000);
        err_t err = insert_row(t, id, pick(d, 4) == 0 ? 3000 + pick(d, 5000) : pick(d, 300));
        if (err != JET_errKeyDuplicate)
            CHECK_OK(err);
    }
}

static void create(struct ddl *d, int i)
{
    struct live t = d->l;
    struct table_desc *desc = create_table(&t, table_name(i));
    CHECK_OK(session_adopt_table(t.s, t.d, desc, 0, &t.c));
    find_columns(&t);
    fill(d, &t, (int)pick(d, 60));
    CHECK_OK(session_close_cursor(t.s, t.c));
}

static void add_index(struct ddl *d, struct live *t)
{
    struct table_desc *desc = cursor_table(t->c);
    char name[16];
    (void)d;
    snprintf(name, sizeof name, "x%u", (unsigned)desc->index_count);
    struct catalog_index_want want = {.name = name, .key = "+k\0-id\0", .key_size = 8};
    err_t err = catalog_create_index(desc, session_trx(t->s), &want);
    if (err != JET_errIndexDuplicate)
        CHECK_OK(err);
}

static void change(struct ddl *d, int i)
{
    struct live t = d->l;
    CHECK_OK(session_open_table(t.s, t.d, table_name(i), JET_bitTableDenyRead, &t.c));
    find_columns(&t);
    struct table_desc *desc = cursor_table(t.c);
    colid_t id;
    char name[24];
    switch (pick(d, 6)) {
    case 0:
        add_index(d, &t);
        break;
    case 1:
        if (table_find_index(desc, "by_k") != NULL)
            CHECK_OK(catalog_drop_index(desc, session_trx(t.s), "by_k"));
        break;
    case 2: {
        snprintf(name, sizeof name, "extra%u", (unsigned)desc->column_count);
        struct catalog_column_want want = {.name = name, .coltyp = JET_coltypLongText, .code_page = 1200};
        CHECK_OK(catalog_add_column(desc, session_trx(t.s), &want, &id));
        break;
    }
    case 3:
        for (int k = 0; k < 40 && cursor_move(t.c, k == 0 ? JET_MoveFirst : JET_MoveNext, 0) >= 0; k++)
            CHECK_OK(session_atomically(t.s, run_delete, t.c));
        break;
    default:
        fill(d, &t, 30 + (int)pick(d, 100));
        break;
    }
    CHECK_OK(session_close_cursor(t.s, t.c));
}

static void one_transaction(struct ddl *d)
{
    bool there[TABLES];
    memcpy(there, d->there, sizeof there);
    CHECK_OK(session_begin_transaction(d->l.s, 0));
    for (uint32_t k = 1 + pick(d, 3); k > 0; k--) {
        int i = (int)pick(d, TABLES);
        atomic_fetch_add(&in_flight, 1);
        if (!there[i]) {
            create(d, i);
            there[i] = true;
        } else if (pick(d, 4) == 0) {
            CHECK_OK(catalog_drop_table(d->db, session_trx(d->l.s), table_name(i)));
            there[i] = false;
            break; /* its name is free again when this is committed */
        } else {
            change(d, i);
        }
    }
    if (pick(d, 3) == 0) {
        CHECK_OK(session_rollback(d->l.s, 0));
        return;
    }
    CHECK_OK(session_commit(d->l.s, pick(d, 2) == 0 ? JET_bitCommitLazyFlush : 0));
    memcpy(d->there, there, sizeof there);
}

struct kill {
    unsigned long long seed;
    int after; /* statements */
    int ms;
    bool clean, backup, zero;
};

static void *killer(void *context)
{
    const struct kill *k = context;
    while (atomic_load(&in_flight) < k->after)
        os_sleep_ms(1);
    os_sleep_ms((uint32_t)k->ms);
    _exit(9);
}

static err_t note_table(void *context, const struct catalog_table_info *info)
{
    struct ddl *d = context;
    for (int i = 0; i < TABLES; i++)
        if (strcmp(info->name, table_name(i)) == 0)
            d->there[i] = true;
    return JET_errSuccess;
}

static void *back_up(void *context)
{
    struct live *l = context;
    for (;;) {
        CHECK_OK(backup_to(l, at("bk"), JET_bitBackupAtomic));
        os_sleep_ms(1);
    }
    return NULL;
}

static void work(void *context)
{
    const struct kill *k = context;
    struct ddl d = {.random = k->seed};
    pthread_t thread, backups;
    start(&d.l, at("data"), START_STEAL | (k->zero ? START_ZERO : 0));
    CHECK_OK(session_database(d.l.s, d.l.d, &d.db));
    CHECK_OK(catalog_visit_tables(d.db, session_trx(d.l.s), note_table, &d));
    if (!k->clean)
        CHECK_EQ(pthread_create(&thread, NULL, killer, context), 0);
    if (k->backup)
        CHECK_EQ(pthread_create(&backups, NULL, back_up, &d.l), 0);
    for (int i = 0; !k->clean || i < k->after; i++)
        one_transaction(&d);
    finish(&d.l);
}

static void check_file(const char *path)
{
    uint64_t rows;
    (void)digest_file(path, &rows); /* no finding, no leak */
    judge_database(path);
}

static void recover_and_check(void)
{
    struct live l;
    start(&l, at("data"), 0);
    finish(&l);
    check_file(at("data/a.edb"));
    judge_logs(at("data"));
}

static int rounds(int few)
{
    return getenv("CTEST_LONG") != NULL ? few * 12 : few;
}

/* The tree of long values is committed at once, behind the back of the transaction that needed it: the drop in the same
 * transaction has to find its rows all the same. */
CASE(dropped_with_new_long_values)
{
    struct ddl d = {0};
    world_begin();
    start(&d.l, at("data"), 0);
    CHECK_OK(session_database(d.l.s, d.l.d, &d.db));
    for (int rolled_back = 1; rolled_back >= 0; rolled_back--) {
        struct live t = d.l;
        CHECK_OK(session_begin_transaction(d.l.s, 0));
        struct table_desc *desc = create_table(&t, table_name(rolled_back));
        CHECK_OK(session_adopt_table(t.s, t.d, desc, 0, &t.c));
        CHECK_OK(session_close_cursor(t.s, t.c));
        CHECK_OK(session_commit(d.l.s, 0));

        CHECK_OK(session_begin_transaction(d.l.s, 0));
        CHECK_OK(session_open_table(t.s, t.d, table_name(rolled_back), 0, &t.c));
        find_columns(&t);
        CHECK_OK(insert_row(&t, 1, 6000));
        CHECK_OK(session_close_cursor(t.s, t.c));
        CHECK_OK(catalog_drop_table(d.db, session_trx(d.l.s), table_name(rolled_back)));
        CHECK_OK(rolled_back ? session_rollback(d.l.s, 0) : session_commit(d.l.s, 0));
    }
    finish(&d.l);
    check_file(at("data/a.edb"));
}

CASE(clean)
{
    world_begin();
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(in_child(work, &(struct kill){.seed = ctest_seed() + (unsigned)i, .after = 40, .clean = true}), 0);
        recover_and_check();
    }
}

CASE(killed)
{
    unsigned long long seed = ctest_seed();
    world_begin();
    for (int i = 0; i < rounds(12); i++) {
        struct kill k = {.seed = ctest_random(&seed), .after = (int)(ctest_random(&seed) % 40), .ms = (int)(ctest_random(&seed) % 20)};
        CHECK_EQ(in_child(work, &k), 9);
        recover_and_check();
    }
}

/* Killed again during recovery and the first statements after it. */
CASE(killed_early)
{
    unsigned long long seed = ctest_seed();
    world_begin();
    for (int i = 0; i < rounds(8); i++) {
        for (int again = 0; again < 4; again++) {
            struct kill k = {.seed = ctest_random(&seed), .after = again == 0 ? 25 : 1, .ms = (int)(ctest_random(&seed) % 12)};
            CHECK_EQ(in_child(work, &k), 9);
        }
        recover_and_check();
    }
}

/* With atomic backups running on, of which every other life wipes what was deleted: whatever set is complete restores to a sound file. */
CASE(killed_in_backups)
{
    unsigned long long seed = ctest_seed();
    int restored = 0;
    world_begin();
    make_dir(at("bk"));
    for (int i = 0; i < rounds(6); i++) {
        struct kill k = {.seed = ctest_random(&seed), .after = 20 + (int)(ctest_random(&seed) % 40), .ms = (int)(ctest_random(&seed) % 20), .backup = true, .zero = i % 2 == 0};
        CHECK_EQ(in_child(work, &k), 9);
        recover_and_check();
        if (!exists(at("bk/new")) && !exists(at("bk/old")))
            continue;
        CHECK_OK(restore_to(at("bk"), "r"));
        check_file(at("r/a.edb"));
        remove_tree(at("r"));
        restored++;
    }
    CHECK(restored > 2);
}

CTEST_MAIN
