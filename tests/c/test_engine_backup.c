/* Backup and restore over running instances: rows of backup-behaviours.csv (BK-nnn), section 18's guarantees, faults. */
#include <pthread.h>

#include "engine_world.h"

#define FULL 0u
#define INC JET_bitBackupIncremental
#define ATOMIC JET_bitBackupAtomic

static const char *data_dir(void)
{
    return at("data");
}

/* A live instance with rows enough for several logs. */
static void begin_world(struct live *l, unsigned how)
{
    world_begin();
    start(l, data_dir(), how);
    insert_rows(l, 0, 200);
}

static void expect_set(const char *set, const char *dest, uint64_t wanted)
{
    uint64_t rows;
    struct folder *before = folder_of(set);
    CHECK_OK(restore_to(set, dest));
    judge_database(at("%s/a.edb", dest));
    CHECK(digest_file(at("%s/a.edb", dest), &rows) == wanted);
    struct folder *after = folder_of(set);
    CHECK(folder_equal(before, after)); /* BK-309: the set is only read */
    free(before);
    free(after);
    remove_tree(at("%s", dest));
}

static bool log_exists(uint32_t generation)
{
    return exists(at("data/edb%05X.log", generation));
}

/* ---- the device is the backup's while it copies ---- */

static err_t look_for_next_log(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    int *missing = context;
    (void)snp, (void)snt, (void)done, (void)total;
    if (exists(at("data/edbtmp.log")))
        return JET_errSuccess;
    os_sleep_ms(300); /* the run has rolled: time enough to make a megabyte of zeros */
    *missing += !exists(at("data/edbtmp.log"));
    return JET_errSuccess;
}

CASE(next_log_waits_for_the_backup)
{
    struct live l;
    struct backup_result result;
    int missing = 0;
    begin_world(&l, START_LARGE_LOGS);
    make_dir(at("bk"));
    for (int ms = 0; !exists(at("data/edbtmp.log")) && ms < 20000; ms++)
        os_sleep_ms(1);
    char root[PATH_ROOM];
    snprintf(root, sizeof root, "%s", at("bk"));
    struct backup_options o = {.path = root, .progress = {&missing, look_for_next_log}};
    uint64_t wanted = digest(&l);
    CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errSuccess);
    CHECK(missing > 0);
    for (int ms = 0; !exists(at("data/edbtmp.log")) && ms < 20000; ms++)
        os_sleep_ms(1);
    CHECK(exists(at("data/edbtmp.log")));
    CHECK(digest(&l) == wanted);
    finish(&l);
}

/* ---- what a full backup is ---- */

/* BK-001, 002, 018, 025, 042, 071, 072, 085, 108, 109, 304, 309, 318: one call makes a set that is whole by itself. */
CASE(full_and_back)
{
    struct live l;
    struct backup_result result;
    begin_world(&l, 0);
    make_dir(at("bk"));
    char root[PATH_ROOM];
    snprintf(root, sizeof root, "%s", at("bk"));
    struct backup_options o = {.path = root};
    uint64_t wanted = digest(&l);
    events_begin();
    CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errSuccess);
    static const int order[] = {210, 220, 221, 223, 224, 213};
    int found = 0;
    for (int i = 0; i < event_count; i++)
        if (found < 6 && (events[i].id == order[found] || (order[found] == 224 && events[i].id == 225)))
            found++;
    CHECK_EQ(found, 6);
    CHECK(strstr(event_find(220)->param[0], "a.edb") != NULL);
    CHECK(event_find(214) == NULL && event_find(215) == NULL);
    event_set_sink(NULL, NULL);
    struct folder *f = folder_of(root);
    CHECK_EQ(f->n, 2 + (int)(result.gen_high - result.gen_low + 1)); /* database, marker, logs, nothing else */
    CHECK(folder_find(f, "a.edb") != NULL && folder_find(f, "a.pat")->size == 0 && folder_find(f, "edb.log") == NULL);
    for (uint32_t g = result.gen_low; g <= result.gen_high; g++) {
        char name[32];
        snprintf(name, sizeof name, "edb%05X.log", g);
        CHECK(folder_find(f, name) != NULL);
    }
    free(f);
    CHECK(log_exists(result.gen_high)); /* finished, and the current one is later */
    insert_rows(&l, 1000, 1010); /* after: not in the set */
    finish(&l);
    expect_set(root, "r1", wanted);
    expect_set(root, "r2", wanted);
    CHECK_OK(restore_to(root, "r3"));
    struct db_header h;
    read_header(at("r3/a.edb"), &h);
    CHECK_EQ(h.state, DB_CLEAN);
    CHECK(h.full_cur.gen_low == 0 && h.full_prev.gen_low == 0 && h.inc_prev.gen_low == 0 && h.copy_prev.gen_low == 0);
    CHECK_EQ(file_bytes(at("r3/a.edb")) % 4096, 0);
}

/* BK-294: the restored instance starts at once, and a first increment on it is refused (MissingFullBackup). */
CASE(restored_and_started)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    uint64_t wanted = digest(&l);
    finish(&l);
    for (int round = 0; round < 3; round++) {
        struct instance *inst = new_instance(at("r"), 0);
        struct restore_result result;
        CHECK_OK(instance_restore(inst, &(struct instance_restore){.set = at("bk"), .destination = at("r")}, &result));
        memset(&l, 0, sizeof l);
        l.inst = inst;
        CHECK_OK(instance_init(inst, NULL, NULL));
        enter_session(&l);
        open_db(&l, at("r/a.edb"));
        CHECK(digest(&l) == wanted);
        CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errMissingFullBackup);
        insert_rows(&l, 5000 + round, 5001 + round);
        wanted = digest(&l); /* the live logs of this folder follow the set: the next restore rolls forward */
        finish(&l);
    }
}

/* BK-291, 308: back to where they lay, over what is there; roll forward with the logs that stand there (BK-303). */
CASE(to_original_places)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    insert_rows(&l, 1000, 1100);
    CHECK_OK(delete_row(&l, 5));
    uint64_t wanted = digest(&l), rows;
    finish(&l);
    write_file(at("data/a.edb"), "lost", 4);
    CHECK_OK(restore_into(at("bk"), NULL, at("data"), NULL));
    CHECK(digest_file(at("data/a.edb"), &rows) == wanted);
    start(&l, data_dir(), 0);
    CHECK(digest(&l) == wanted);
    finish(&l);
}

static void crash_after_rows(void *context)
{
    struct live l;
    (void)context;
    start(&l, data_dir(), 0);
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    insert_rows(&l, 1000, 1100);
    CHECK_OK(session_begin_transaction(l.s, 0));
    CHECK_OK(insert_row(&l, 7777, 100)); /* never committed */
    CHECK_OK(session_rollback(l.s, 0));
    uint64_t wanted = digest(&l);
    write_file(at("wanted"), &wanted, sizeof wanted);
    CHECK_OK(session_begin_transaction(l.s, 0));
    CHECK_OK(insert_row(&l, 7778, 100));
    _exit(7);
}

/* BK-303, section 18.3: set + the logs of a killed instance = every commit; the folder rolled forward from is not changed. */
CASE(roll_forward_from_killed)
{
    world_begin();
    struct live l;
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 100);
    finish(&l);
    make_dir(at("bk"));
    CHECK_EQ(in_child(crash_after_rows, NULL), 7);
    size_t n;
    uint64_t rows;
    uint8_t *wanted = read_file(at("wanted"), &n);
    struct folder *before = folder_of(at("data"));
    CHECK_OK(restore_into(at("bk"), "r", NULL, at("data")));
    CHECK(digest_file(at("r/a.edb"), &rows) == *(uint64_t *)(void *)wanted);
    struct folder *after = folder_of(at("data"));
    CHECK(folder_equal(before, after));
    /* twice from the same folders */
    remove_tree(at("r"));
    CHECK_OK(restore_into(at("bk"), "r", NULL, at("data")));
    CHECK(digest_file(at("r/a.edb"), &rows) == *(uint64_t *)(void *)wanted);
    /* in the live folder itself: its own logs are not harmed by naming it as the folder to roll forward from */
    CHECK_OK(restore_into(at("bk"), NULL, at("data"), at("data")));
    CHECK(digest_file(at("data/a.edb"), &rows) == *(uint64_t *)(void *)wanted);
    free(wanted);
    free(before);
    free(after);
}

/* A roll forward folder beside an own log folder that holds other logs: nothing there is overwritten. */
CASE(roll_forward_over_logs)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    insert_rows(&l, 1000, 1050);
    finish(&l);
    copy_tree(at("data"), at("other"));
    start(&l, data_dir(), 0);
    insert_rows(&l, 2000, 2200);
    finish(&l);
    struct folder *before = folder_of(at("data"));
    CHECK(restore_into(at("bk"), "r", at("data"), at("other")) < 0);
    struct folder *after = folder_of(at("data"));
    CHECK(folder_equal(before, after));
    free(before);
    free(after);
}

/* The set itself is no place to restore to, nor for logs. */
CASE(not_into_the_set)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    uint64_t wanted = digest(&l);
    finish(&l);
    struct folder *before = folder_of(at("bk"));
    CHECK_EQ(restore_into(at("bk"), "bk", at("logs"), NULL), JET_errInvalidPath);
    CHECK_EQ(restore_into(at("bk"), "r", at("bk"), NULL), JET_errInvalidPath);
    struct folder *after = folder_of(at("bk"));
    CHECK(folder_equal(before, after));
    free(before);
    free(after);
    expect_set(at("bk"), "r2", wanted);
}

/* A database that somebody has open is not overwritten. */
CASE(not_over_an_open_one)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    insert_rows(&l, 1000, 1100);
    uint64_t wanted = digest(&l);
    CHECK_OK(session_commit(l.s, JET_bitWaitAllLevel0Commit));
    CHECK_EQ(restore_into(at("bk"), NULL, at("elsewhere"), NULL), JET_errFileAccessDenied);
    CHECK(digest(&l) == wanted);
    finish(&l);
    uint64_t rows;
    CHECK(digest_file(at("data/a.edb"), &rows) == wanted);
    start(&l, data_dir(), 0);
    CHECK(digest(&l) == wanted);
    finish(&l);
}

/* ---- increments ---- */

/* BK-026, 030, 031, 073, 075, 077, 320: logs only are added; the state is that of the last increment. */
CASE(increments)
{
    struct live l;
    struct db_header full, inc;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errMissingFullBackup); /* BK-092 */
    struct folder *none = folder_of(at("bk"));
    CHECK_EQ(none->n, 0);
    free(none);
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    read_header(at("data/a.edb"), &full);
    CHECK(full.full_prev.gen_low != 0 && full.full_prev.gen_high >= full.full_prev.gen_low && full.full_prev.mark != 0); /* BK-076 */
    CHECK(full.inc_prev.gen_low == 0);
    uint64_t wanted = 0;
    for (int i = 0; i < 4; i++) {
        struct folder *before = folder_of(at("bk"));
        insert_rows(&l, 1000 + i * 100, 1100 + i * 100);
        for (int k = 0; k < 20; k++)
            CHECK_OK(replace_row(&l, k, i + 1, 200));
        CHECK_OK(delete_row(&l, 100 + i));
        wait_checkpoint(&l, full.full_prev.gen_low + 1);
        CHECK_OK(backup_to(&l, at("bk"), INC));
        wanted = digest(&l);
        struct folder *after = folder_of(at("bk"));
        CHECK(after->n > before->n);
        for (int k = 0; k < before->n; k++) { /* what was there is the same byte for byte */
            const struct entry *e = folder_find(after, before->e[k].name);
            CHECK(e != NULL && e->hash == before->e[k].hash);
        }
        for (int k = 0; k < after->n; k++)
            CHECK(folder_find(before, after->e[k].name) != NULL || strstr(after->e[k].name, ".log") != NULL);
        free(before);
        free(after);
        read_header(at("data/a.edb"), &inc);
        CHECK(memcmp(&inc.full_prev, &full.full_prev, sizeof inc.full_prev) == 0);
        CHECK(inc.inc_prev.gen_high > full.full_prev.gen_high && inc.inc_prev.mark > full.full_prev.mark);
        CHECK(!log_exists(inc.full_prev.gen_low)); /* truncated below the checkpoint */
    }
    /* an increment to another folder than its full, brought together by hand */
    make_dir(at("apart"));
    insert_rows(&l, 5000, 5050);
    CHECK_OK(backup_to(&l, at("apart"), INC));
    expect_set(at("bk"), "r", wanted);
    CHECK_EQ(restore_to(at("apart"), "r"), JET_errPatchFileMissing);
    wanted = digest(&l);
    finish(&l);
    char command[3 * PATH_ROOM];
    snprintf(command, sizeof command, "cp '%s'/* '%s'", at("apart"), at("bk"));
    CHECK_EQ(system(command), 0);
    expect_set(at("bk"), "r", wanted);
}

/* BK-051, 052, 094: circular logging: full yes, increment no; on again after a full without it. */
CASE(circular)
{
    struct live l;
    begin_world(&l, START_CIRCULAR);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    uint64_t wanted = digest(&l);
    CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errInvalidBackup);
    insert_rows(&l, 1000, 1300);
    finish(&l);
    expect_set(at("bk"), "r", wanted);
    start(&l, data_dir(), 0);
    make_dir(at("bk2"));
    CHECK_OK(backup_to(&l, at("bk2"), FULL));
    insert_rows(&l, 2000, 2100);
    CHECK_OK(backup_to(&l, at("bk2"), INC));
    wanted = digest(&l);
    finish(&l);
    expect_set(at("bk2"), "r", wanted);
}

/* A database that brings marks from another log sequence has had no full backup in this one. */
CASE(foreign_marks)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    finish(&l);
    make_dir(at("data2"));
    copy_tree(at("data/a.edb"), at("data2/a.edb"));
    start(&l, at("data2"), 0);
    CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errMissingFullBackup);
    struct db_header h;
    read_header(at("data2/a.edb"), &h);
    CHECK_EQ(h.full_prev.gen_low, 0);
    finish(&l);
    start(&l, data_dir(), 0); /* detached and attached again in its own sequence: the chain goes on */
    insert_rows(&l, 300, 320);
    CHECK_OK(backup_to(&l, at("bk"), INC));
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_set(at("bk"), "r", wanted);
}

/* A log of the chain gone: event 459, MissingFileToBackup, nothing truncated. */
CASE(hole_in_the_chain)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    struct db_header h;
    insert_rows(&l, 1000, 1300);
    read_header(at("data/a.edb"), &h);
    wait_checkpoint(&l, h.full_prev.gen_high + 2);
    for (uint32_t g = 1; g <= h.full_prev.gen_high + 1; g++)
        (void)unlink(at("data/edb%05X.log", g));
    struct folder *before = folder_of(at("bk"));
    events_begin();
    CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errMissingFileToBackup);
    CHECK(event_find(459) != NULL && event_find(214) != NULL);
    event_set_sink(NULL, NULL);
    struct folder *after = folder_of(at("bk"));
    CHECK(folder_equal(before, after));
    CHECK(log_exists(h.full_prev.gen_high + 2));
    free(before);
    free(after);
    make_dir(at("bk2"));
    CHECK_OK(backup_to(&l, at("bk2"), FULL));
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_set(at("bk2"), "r", wanted);
}

/* Increments refuse a folder with another sequence's logs (17-C9). */
CASE(foreign_log_in_target)
{
    struct live l, m;
    begin_world(&l, 0);
    start(&m, at("data2"), 0);
    insert_rows(&m, 0, 400);
    make_dir(at("bk"));
    make_dir(at("bk2"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    CHECK_OK(backup_to(&m, at("bk2"), FULL)); /* BK-004: only its own databases */
    insert_rows(&l, 500, 900);
    insert_rows(&m, 500, 900);
    struct db_header h;
    read_header(at("data/a.edb"), &h);
    uint64_t wanted = digest(&m);
    finish(&m);
    copy_tree(at("data2/edb.log"), at("bk/edb%05X.log", h.full_prev.gen_high + 1)); /* under the name that the increment needs */
    struct folder *before = folder_of(at("bk"));
    CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errFileAlreadyExists);
    struct folder *after = folder_of(at("bk"));
    CHECK(folder_equal(before, after));
    free(before);
    free(after);
    (void)wanted;
    finish(&l);
}

/* ---- directories ---- */

/* BK-032, 033, 053..056, 095, 096, 097: refusals come before any side effect. */
CASE(refusals)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    struct instance_stats before, after;
    instance_stats(l.inst, &before);
    events_begin();
    CHECK_EQ(backup_to(&l, at("bk"), 0x10), JET_errInvalidGrbit);
    CHECK_EQ(backup_to(&l, at("bk"), 0x100), JET_errInvalidGrbit);
    CHECK_OK(params_set(instance_params(l.inst), JET_paramCreatePathIfNotExist, 0, NULL, PARAMS_AFTER_INIT));
    static const JET_GRBIT kinds[] = {FULL, INC, ATOMIC, INC | ATOMIC};
    for (int i = 0; i < 4; i++)
        CHECK_EQ(backup_to(&l, at("none/there"), kinds[i]), JET_errInvalidPath);
    CHECK(event_find(210) == NULL && event_find(211) == NULL);
    event_set_sink(NULL, NULL);
    CHECK(!exists(at("none")));
    instance_stats(l.inst, &after);
    CHECK_EQ(LGPOS_GEN(before.log_tail), LGPOS_GEN(after.log_tail));
    CHECK_OK(params_set(instance_params(l.inst), JET_paramCreatePathIfNotExist, 1, NULL, PARAMS_AFTER_INIT));
    CHECK_OK(backup_to(&l, at("none/there"), FULL)); /* BK-056 */
    CHECK_EQ(backup_to(&l, at("none/there"), FULL), JET_errBackupDirectoryNotEmpty);
    write_file(at("bk/readme"), "x", 1);
    CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errBackupDirectoryNotEmpty); /* BK-095 */
    CHECK_EQ(backup_to(&l, at("bk"), ATOMIC), JET_errBackupDirectoryNotEmpty); /* 17-C19 */
    CHECK(exists(at("bk/readme")) && !exists(at("bk/temp")));
    make_dir(at("bk2"));
    CHECK_EQ(backup_to(&l, at("bk2"), INC | ATOMIC), JET_errInvalidPath); /* no set below it */
    CHECK_OK(backup_to(&l, at("bk2"), ATOMIC));
    CHECK_EQ(backup_to(&l, at("bk2"), INC), JET_errBackupDirectoryNotEmpty);
    CHECK_EQ(backup_to(&l, at("bk2"), FULL), JET_errBackupDirectoryNotEmpty);
    char deep[PATH_ROOM];
    memset(deep, 'x', sizeof deep);
    memcpy(deep, "/tmp/", 5);
    for (int i = 50; i < 400; i += 50)
        deep[i] = '/';
    deep[400] = '\0';
    CHECK_EQ(backup_to(&l, deep, FULL), JET_errInvalidPath);
    write_file(at("file"), "x", 1);
    CHECK_EQ(backup_to(&l, at("file"), FULL), JET_errInvalidPath);
    finish(&l);
}

/* BK-016: a path in UTF-8. BK-081, 296, 297: nothing to restore. */
CASE(paths)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("Sicherung-äöü-日本"));
    CHECK_OK(backup_to(&l, at("Sicherung-äöü-日本"), FULL));
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_set(at("Sicherung-äöü-日本"), "r", wanted);
    make_dir(at("empty"));
    CHECK_EQ(restore_to(at("empty"), "r2"), JET_errFileNotFound);
    CHECK_EQ(restore_to(at("nowhere"), "r2"), JET_errFileNotFound);
    CHECK_EQ(restore_to("", "r2"), JET_errInvalidParameter);
    CHECK_EQ(restore_into(NULL, "r2", NULL, NULL), JET_errInvalidParameter);
    struct instance *inst = new_instance(at("r3logs"), 0); /* BK-295 */
    struct restore_result result;
    CHECK_OK(params_set(instance_params(inst), JET_paramCreatePathIfNotExist, 0, NULL, PARAMS_BEFORE_INIT));
    make_dir(at("r3logs"));
    CHECK_EQ(instance_restore(inst, &(struct instance_restore){.set = at("Sicherung-äöü-日本"), .destination = at("r3")}, &result), JET_errInvalidPath);
    CHECK(!exists(at("r3")));
    instance_destroy(inst);
}

/* BK-027, 028, 029, 319: atomic sets. */
CASE(atomic_sets)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), ATOMIC));
    uint64_t first = digest(&l);
    CHECK(exists(at("bk/new/a.edb")) && !exists(at("bk/old")) && !exists(at("bk/temp")));
    expect_set(at("bk"), "r", first);
    insert_rows(&l, 1000, 1050);
    make_dir(at("bk/temp")); /* of a run that crashed */
    write_file(at("bk/temp/a.edb"), "x", 1);
    write_file(at("bk/temp/junk"), "x", 1); /* which no run makes */
    CHECK_EQ(backup_to(&l, at("bk"), ATOMIC), JET_errBackupDirectoryNotEmpty);
    CHECK(exists(at("bk/temp/a.edb")) && exists(at("bk/temp/junk")) && exists(at("bk/new/a.edb")));
    CHECK(rename(at("bk/temp/junk"), at("bk/temp/edb00001.log.tmp")) == 0);
    CHECK_OK(backup_to(&l, at("bk"), ATOMIC));
    uint64_t second = digest(&l);
    CHECK(!exists(at("bk/old")) && !exists(at("bk/temp")));
    expect_set(at("bk"), "r", second);
    insert_rows(&l, 2000, 2050);
    CHECK_OK(backup_to(&l, at("bk"), INC | ATOMIC)); /* BK-026: into old/, in place */
    uint64_t third = digest(&l);
    CHECK(exists(at("bk/old/a.edb")) && !exists(at("bk/new")));
    expect_set(at("bk"), "r", third);
    insert_rows(&l, 3000, 3050);
    CHECK_OK(backup_to(&l, at("bk"), INC | ATOMIC));
    third = digest(&l);
    expect_set(at("bk"), "r", third);
    insert_rows(&l, 4000, 4050);
    CHECK_OK(backup_to(&l, at("bk"), ATOMIC));
    CHECK(exists(at("bk/new/a.edb")) && !exists(at("bk/old")));
    expect_set(at("bk"), "r", digest(&l));
    finish(&l);
}

/* BK-005, 019, 020: no path: logs below the checkpoint go, nothing else happens. */
CASE(truncate_only)
{
    struct live l;
    struct backup_result result;
    begin_world(&l, 0);
    insert_rows(&l, 1000, 1600);
    struct backup_options o = {.path = NULL};
    struct instance_stats stats;
    for (int i = 0; i < 100; i++) { /* the checkpoint follows in the background */
        instance_stats(l.inst, &stats);
        if (LGPOS_GEN(stats.checkpoint) > 3)
            break;
        os_sleep_ms(20);
    }
    CHECK(LGPOS_GEN(stats.checkpoint) > 3);
    CHECK(log_exists(1));
    events_begin();
    CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errSuccess);
    CHECK(event_find(224) != NULL && event_find(213) != NULL && event_find(210) == NULL);
    event_set_sink(NULL, NULL);
    CHECK(!log_exists(1) && !log_exists(LGPOS_GEN(stats.checkpoint) - 1));
    instance_stats(l.inst, &stats);
    CHECK(LGPOS_GEN(stats.checkpoint) == LGPOS_GEN(stats.log_tail) || log_exists(LGPOS_GEN(stats.checkpoint)));
    o.path = "";
    CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errSuccess);
    CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errSuccess); /* BK-020 */
    struct db_header h;
    read_header(at("data/a.edb"), &h);
    CHECK_EQ(h.full_prev.gen_low, 0);
    o.grbit = INC;
    CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errMissingFullBackup);
    uint64_t wanted = digest(&l);
    finish(&l);
    start(&l, data_dir(), 0);
    CHECK(digest(&l) == wanted);
    finish(&l);
}

/* BK-059, 064; BK-066 is of the api's two threads. */
CASE(not_possible)
{
    struct live l;
    world_begin();
    struct instance *inst = new_instance(at("data"), 0);
    struct backup_options o = {.path = "/tmp"};
    struct backup_result result;
    CHECK_EQ(instance_backup(inst, &o, &result), JET_errNotInitialized);
    instance_destroy(inst);
    start(&l, at("nolog"), START_NO_LOG);
    insert_rows(&l, 0, 10);
    make_dir(at("bk"));
    CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errLoggingDisabled);
    CHECK_EQ(backup_to(&l, NULL, FULL), JET_errLoggingDisabled);
    finish(&l);
}

/* ---- databases coming and going between backups ---- */

CASE(several_databases)
{
    struct live l, b;
    begin_world(&l, 0);
    b = l;
    open_db(&b, at("data/b.edb"));
    insert_rows(&b, 0, 50);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    CHECK(exists(at("bk/a.edb")) && exists(at("bk/b.edb")));
    struct live c = l;
    open_db(&c, at("data/c.edb"));
    insert_rows(&c, 0, 50);
    CHECK_EQ(backup_to(&l, at("bk"), INC), JET_errMissingFullBackup);
    uint64_t of_c = digest(&c), rows;
    CHECK_OK(session_close_cursor(c.s, c.c));
    CHECK_OK(session_close_database(c.s, c.d));
    CHECK_OK(session_detach_database(c.s, at("data/c.edb"), 0));
    insert_rows(&l, 1000, 1020);
    CHECK_OK(backup_to(&l, at("bk"), INC)); /* its records are in the logs, its file is in no set */
    uint64_t of_a = digest(&l), of_b = digest(&b);
    struct folder *before = folder_of(at("data"));
    CHECK_OK(restore_to(at("bk"), "r"));
    CHECK(digest_file(at("r/a.edb"), &rows) == of_a);
    CHECK(digest_file(at("r/b.edb"), &rows) == of_b);
    struct folder *after = folder_of(at("data"));
    CHECK_EQ(folder_find(before, "c.edb")->hash, folder_find(after, "c.edb")->hash); /* BK-292: originals untouched */
    free(before);
    free(after);
    CHECK(digest_file(at("data/c.edb"), &rows) == of_c);
    /* one file of a set of two gone: not a restore of the other alone */
    CHECK_OK(rename(at("bk/b.edb"), at("b.away")));
    CHECK_EQ(restore_to(at("bk"), "r2"), JET_errFileNotFound);
    CHECK(!exists(at("r2/a.edb")));
    CHECK_OK(rename(at("b.away"), at("bk/b.edb")));
    CHECK_OK(unlink(at("bk/b.pat"))); /* 17-C11: markers are not needed */
    CHECK_OK(unlink(at("bk/a.pat")));
    CHECK_OK(restore_to(at("bk"), "r2"));
    CHECK(digest_file(at("r2/b.edb"), &rows) == of_b);
    CHECK_OK(session_close_cursor(b.s, b.c));
    finish(&l);
}

/* Same file name in two folders: refused, and the first copy is gone again. */
CASE(same_name_twice)
{
    struct live l, b;
    begin_world(&l, 0);
    make_dir(at("sub"));
    b = l;
    open_db(&b, at("sub/a.edb"));
    make_dir(at("bk"));
    CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errFileAlreadyExists);
    struct folder *f = folder_of(at("bk"));
    CHECK_EQ(f->n, 0);
    free(f);
    CHECK_OK(session_close_cursor(b.s, b.c));
    finish(&l);
}

/* ---- progress, stop, a second one ---- */

struct watch {
    int begins, ends, fails, calls;
    uint32_t done, total;
    int stop_after;
    struct instance *inst;
    err_t second, create;
    struct live *l;
};

static err_t watch_progress(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total)
{
    struct watch *w = context;
    (void)snp;
    CHECK(done <= total && total > 0 && done >= w->done);
    if (snt == JET_sntBegin) {
        CHECK_EQ(w->calls, 0);
        CHECK_EQ(done, 0);
    }
    w->calls++;
    w->begins += snt == JET_sntBegin;
    w->ends += snt == JET_sntComplete;
    w->fails += snt == JET_sntFail;
    w->done = done;
    w->total = total;
    if (w->stop_after != 0 && w->calls == w->stop_after)
        CHECK_OK(instance_stop_backup(w->inst, JET_errBackupAbortByServer));
    return JET_errSuccess;
}

/* BK-007, 008, 035..038, 276, 079, 080, 082, 088. */
CASE(progress_and_stop)
{
    struct live l;
    begin_world(&l, 0);
    insert_rows(&l, 1000, 2500);
    make_dir(at("bk"));
    struct watch w = {.inst = l.inst};
    struct backup_result result;
    struct backup_options o = {.path = at("bk"), .progress = {&w, watch_progress}};
    char root[PATH_ROOM];
    snprintf(root, sizeof root, "%s", at("bk"));
    o.path = root;
    int calls = 0;
    for (int n = 2;; n++) {
        w = (struct watch){.inst = l.inst, .stop_after = n};
        events_begin();
        err_t err = instance_backup(l.inst, &o, &result);
        CHECK_EQ(w.begins, 1);
        if (err >= 0) {
            CHECK(w.calls <= n + 1 && w.ends == 1 && w.fails == 0 && w.done == w.total);
            break;
        }
        CHECK_EQ(err, JET_errBackupAbortByServer);
        CHECK(w.fails == 1 && w.ends == 0);
        CHECK(event_find(215) != NULL && event_find(214) == NULL && event_find(213) == NULL);
        struct folder *f = folder_of(root);
        CHECK_EQ(f->n, 0);
        free(f);
        CHECK(log_exists(1));
        calls = n;
    }
    event_set_sink(NULL, NULL);
    CHECK(calls > 3);
    CHECK(instance_is_running(l.inst));
    uint64_t wanted = digest(&l);
    o.grbit = INC;
    struct folder *before = folder_of(root);
    for (int n = 1; n < 4; n++) {
        insert_rows(&l, 3000 + n * 100, 3100 + n * 100);
        w = (struct watch){.inst = l.inst, .stop_after = n};
        CHECK_EQ(instance_backup(l.inst, &o, &result), JET_errBackupAbortByServer);
        struct folder *after = folder_of(root);
        CHECK(folder_equal(before, after));
        free(after);
    }
    free(before);
    expect_set(root, "r", wanted);
    CHECK_OK(instance_backup(l.inst, &(struct backup_options){.path = root, .grbit = INC}, &result));
    wanted = digest(&l);
    finish(&l);
    expect_set(root, "r", wanted);
}

static void try_others(void *context, uint32_t percent)
{
    struct watch *w = context;
    struct backup_options o = {.path = w->l->db};
    struct backup_result result;
    CHECK(percent == 25 || percent == 50 || percent == 75);
    w->calls++;
    JET_DBID d;
    o.path = world_root;
    o.grbit = ATOMIC;
    CHECK_EQ(instance_backup(w->inst, &o, &result), JET_errBackupInProgress); /* BK-043 */
    o.path = NULL;
    o.grbit = 0;
    CHECK_EQ(instance_backup(w->inst, &o, &result), JET_errBackupInProgress);
    CHECK_EQ(session_create_database(w->l->s, at("data/x.edb"), 0, &d), JET_errBackupInProgress);
    CHECK(!exists(at("data/x.edb")));
    CHECK_EQ(session_attach_database(w->l->s, at("data/x.edb"), 0), JET_errBackupInProgress);
    CHECK_EQ(session_detach_database(w->l->s, w->l->db, 0), JET_errBackupInProgress);
    CHECK_EQ(session_attach_database(w->l->s, w->l->db, 0), JET_wrnDatabaseAttached);
    CHECK_EQ(instance_term(w->inst, JET_bitTermComplete), JET_errBackupInProgress);
    insert_rows(w->l, 10000 + (int)percent, 10001 + (int)percent); /* BK-017: writing goes on */
}

CASE(one_at_a_time)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    struct watch w = {.inst = l.inst, .l = &l};
    instance_set_backup_pause(l.inst, try_others, &w);
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    CHECK_EQ(w.calls, 3);
    uint64_t wanted = digest(&l);
    instance_set_backup_pause(l.inst, NULL, NULL);
    finish(&l);
    expect_set(at("bk"), "r", wanted);
}

/* ---- damage ---- */

static void copy_with_header(const char *from, const char *to)
{
    size_t n;
    uint8_t *bytes = read_file(from, &n);
    write_file(to, bytes, n);
    free(bytes);
}

/* BK-065, 102, 103, 082: every page is read; one damaged page, used or not, fails the run, nothing is left or truncated. */
CASE(damaged_pages)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    finish(&l);
    start(&l, data_dir(), 0); /* all pages are on disk, none is dirty */
    uint64_t pages = file_bytes(at("data/a.edb")) / 4096 - 2;
    copy_with_header(at("data/a.edb"), at("a.copy"));
    int tried = 0;
    for (uint64_t pgno = 1; pgno <= pages; pgno += 13) {
        uint64_t offset = (pgno + 1) * 4096;
        size_t n;
        uint8_t *bytes = read_file(at("data/a.edb"), &n);
        bool zero = true;
        for (int i = 0; i < 4096; i++)
            zero &= bytes[offset + (uint64_t)i] == 0;
        free(bytes);
        damage(at("data/a.edb"), offset + 700, 5);
        events_begin();
        CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errReadVerifyFailure);
        CHECK(event_find(474) != NULL && event_find(217) != NULL && strstr(event_find(217)->param[1], "a.edb") != NULL);
        CHECK(event_find(214) != NULL && event_find(224) == NULL);
        event_set_sink(NULL, NULL);
        struct folder *f = folder_of(at("bk"));
        CHECK_EQ(f->n, 0);
        free(f);
        damage(at("data/a.edb"), offset + 700, 5);
        tried++;
        (void)zero;
    }
    CHECK(tried > 5);
    /* 17-C30: one bit is repaired in the copy */
    flip_bit(at("data/a.edb"), (5ull * 4096 + 900) * 8);
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    flip_bit(at("data/a.edb"), (5ull * 4096 + 900) * 8);
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_set(at("bk"), "r", wanted);
}

/* BK-060, 061, 082: a damaged log that the set needs. */
CASE(damaged_logs)
{
    struct live l;
    begin_world(&l, START_NO_WRITER); /* the checkpoint stands still: every log is needed */
    insert_rows(&l, 1000, 1200);
    make_dir(at("bk"));
    static const uint32_t places[] = {20, 4096 + 100, 3 * 4096 + 2000, 9 * 4096 + 8};
    for (int i = 0; i < 4; i++) {
        damage(at("data/edb00002.log"), places[i], 1);
        events_begin();
        CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errLogReadVerifyFailure);
        CHECK(event_find(218) != NULL && event_find(224) == NULL);
        event_set_sink(NULL, NULL);
        damage(at("data/edb00002.log"), places[i], 1);
        struct folder *f = folder_of(at("bk"));
        CHECK_EQ(f->n, 0);
        free(f);
    }
    /* shortened by whole segments */
    copy_tree(at("data/edb00002.log"), at("keep.log"));
    CHECK_EQ(truncate(at("data/edb00002.log"), 6 * 4096), 0);
    CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errLogReadVerifyFailure);
    CHECK_EQ(rename(at("keep.log"), at("data/edb00002.log")), 0);
    /* gone */
    CHECK_EQ(rename(at("data/edb00002.log"), at("keep.log")), 0);
    CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errMissingFileToBackup);
    /* another generation under its name */
    copy_tree(at("data/edb00003.log"), at("data/edb00002.log"));
    CHECK_EQ(backup_to(&l, at("bk"), FULL), JET_errLogReadVerifyFailure);
    CHECK_EQ(rename(at("keep.log"), at("data/edb00002.log")), 0);
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_set(at("bk"), "r", wanted);
}

/* Sections 18.4, 18.5; BK-298..302: any file of the set missing, any log of its range, any bit: refused, or no effect. */
CASE(damaged_sets)
{
    struct live l;
    struct backup_result result;
    begin_world(&l, START_NO_WRITER);
    make_dir(at("bk"));
    insert_rows(&l, 1000, 1100);
    char root[PATH_ROOM];
    snprintf(root, sizeof root, "%s", at("bk"));
    struct backup_options o = {.path = root};
    CHECK_OK(instance_backup(l.inst, &o, &result));
    uint64_t wanted = digest(&l), rows;
    finish(&l);
    CHECK(result.gen_high - result.gen_low >= 2);
    for (uint32_t g = result.gen_low; g <= result.gen_high; g++) {
        CHECK_EQ(rename(at("bk/edb%05X.log", g), at("away.log")), 0);
        events_begin();
        err_t err = restore_to(root, "r");
        err_t expected = g == result.gen_low    ? JET_errStartingRestoreLogTooHigh
                         : g == result.gen_high ? JET_errEndingRestoreLogTooLow
                                                : JET_errMissingRestoreLogFiles;
        int event = g == result.gen_low ? 431 : g == result.gen_high ? 432 : 435;
        CHECK_EQ(err, expected);
        CHECK(event_find(event) != NULL);
        CHECK(event_find(204) == NULL);
        event_set_sink(NULL, NULL);
        CHECK(!exists(at("r/a.edb"))); /* no database replaced */
        CHECK_EQ(rename(at("away.log"), at("bk/edb%05X.log", g)), 0);
    }
    CHECK_EQ(rename(at("bk/a.edb"), at("away")), 0);
    CHECK(restore_to(root, "r") < 0);
    CHECK_EQ(rename(at("away"), at("bk/a.edb")), 0);
    struct folder *f = folder_of(root);
    unsigned long long seed = ctest_seed();
    int refused = 0, harmless = 0;
    for (int i = 0; i < f->n; i++) {
        bool is_log = strstr(f->e[i].name, ".log") != NULL;
        int tries = f->e[i].size == 0 ? 0 : is_log ? 7 : 20;
        for (int k = 0; k < tries; k++) {
            char path[2 * PATH_ROOM];
            snprintf(path, sizeof path, "%s/%s", root, f->e[i].name);
            uint64_t bit = ctest_random(&seed) % (f->e[i].size * 8);
            if (k < 4)
                bit = (f->e[i].size - (uint64_t)(k + 1) * 4096) * 8 + bit % (4096 * 8); /* the ends */
            flip_bit(path, bit);
            remove_tree(at("r"));
            err_t err = restore_to(root, "r");
            if (err < 0) {
                refused++;
            } else {
                harmless++;
                if (digest_file(at("r/a.edb"), &rows) != wanted) {
                    fprintf(stderr, "%s bit %llu: restored to something else\n", f->e[i].name, (unsigned long long)bit);
                    exit(1);
                }
            }
            flip_bit(path, bit);
        }
    }
    CHECK(refused > 5 && harmless > 5);
    printf("bits: %d refused, %d harmless\n", refused, harmless);
    free(f);
    expect_set(root, "r9", wanted);
}

/* BK-299, 300, 305, 306, 307: logs that do not belong. */
CASE(foreign_logs)
{
    struct live l, m;
    begin_world(&l, START_NO_WRITER);
    insert_rows(&l, 1000, 1100);
    start(&m, at("data2"), START_NO_WRITER);
    insert_rows(&m, 0, 400);
    make_dir(at("bk"));
    make_dir(at("bk2"));
    struct backup_result result;
    struct backup_options o = {.path = at("bk")};
    CHECK_OK(instance_backup(l.inst, &o, &result));
    CHECK_OK(backup_to(&m, at("bk2"), FULL));
    insert_rows(&l, 2000, 2300);
    uint64_t wanted = digest(&l), rows;
    finish(&m);
    finish(&l);
    uint32_t middle = result.gen_low + 1;
    CHECK_EQ(rename(at("bk/edb%05X.log", middle), at("keep.log")), 0);
    copy_tree(at("bk2/edb%05X.log", middle), at("bk/edb%05X.log", middle));
    events_begin();
    CHECK_EQ(restore_to(at("bk"), "r"), JET_errGivenLogFileHasBadSignature);
    CHECK(event_find(433) != NULL);
    CHECK_EQ(rename(at("keep.log"), at("bk/edb%05X.log", middle)), 0);
    /* a live folder of another sequence */
    CHECK_EQ(restore_into(at("bk"), "r", at("data2"), NULL), JET_errExistingLogFileHasBadSignature);
    CHECK(event_find(457) != NULL);
    CHECK(!exists(at("r/a.edb")));
    /* live logs: one missing among them, then the first ones missing */
    copy_tree(at("data"), at("live"));
    uint32_t next = result.gen_high + 1;
    CHECK(exists(at("live/edb%05X.log", next + 1)));
    CHECK_EQ(unlink(at("live/edb%05X.log", next + 1)), 0);
    CHECK_EQ(restore_into(at("bk"), "r", at("live"), NULL), JET_errMissingCurrentLogFiles);
    CHECK(event_find(450) != NULL && strstr(event_find(450)->param[0], ".log") != NULL);
    for (uint32_t g = 1; g <= next; g++)
        (void)unlink(at("live/edb%05X.log", g));
    events_begin();
    CHECK_EQ(restore_into(at("bk"), "r", at("live"), NULL), JET_errExistingLogFileIsNotContiguous);
    CHECK(event_find(458) != NULL && event_find(458)->param[1][0] != '\0');
    event_set_sink(NULL, NULL);
    CHECK(!exists(at("r/a.edb")));
    /* no current log: the roll forward ends with the highest archive */
    remove_tree(at("live"));
    copy_tree(at("data"), at("live"));
    CHECK_OK(restore_into(at("bk"), "r", NULL, at("live")));
    CHECK(digest_file(at("r/a.edb"), &rows) == wanted);
    remove_tree(at("r"));
    CHECK_EQ(unlink(at("live/edb.log")), 0);
    CHECK_OK(restore_into(at("bk"), "r", NULL, at("live")));
    (void)digest_file(at("r/a.edb"), &rows);
    CHECK(rows >= 300);
}

/* Another base name or page size than the instance's. */
CASE(other_configuration)
{
    struct live l;
    begin_world(&l, 0);
    make_dir(at("bk"));
    CHECK_OK(backup_to(&l, at("bk"), FULL));
    uint64_t wanted = digest(&l), rows;
    finish(&l);
    struct instance *inst = new_instance(at("r1/logs"), 0);
    struct restore_result result;
    CHECK_OK(params_set(instance_params(inst), JET_paramBaseName, 0, "abc", PARAMS_BEFORE_INIT));
    CHECK_EQ(instance_restore(inst, &(struct instance_restore){.set = at("bk"), .destination = at("r1")}, &result), JET_errFileNotFound);
    CHECK(!exists(at("r1/a.edb")));
    instance_destroy(inst);
    CHECK_OK(params_set(params_global(), JET_paramDatabasePageSize, 8192, NULL, PARAMS_BEFORE_INIT));
    CHECK_EQ(restore_to(at("bk"), "r2"), JET_errPageSizeMismatch);
    CHECK(!exists(at("r2/a.edb")));
    CHECK_OK(params_set(params_global(), JET_paramDatabasePageSize, 4096, NULL, PARAMS_BEFORE_INIT));
    inst = new_instance(at("r3/logs"), 0);
    CHECK_OK(params_set(instance_params(inst), JET_paramLogFileSize, 256, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(instance_restore(inst, &(struct instance_restore){.set = at("bk"), .destination = at("r3")}, &result)); /* it takes the set's log size */
    CHECK_OK(instance_init(inst, NULL, NULL));
    CHECK_OK(instance_term(inst, 0));
    instance_destroy(inst);
    CHECK(digest_file(at("r3/a.edb"), &rows) == wanted);
}

/* ---- faults: at every n-th call, until the run passes untouched ---- */

struct walk {
    unsigned ops;
    const char *part;
    int error;
    JET_GRBIT grbit;
};

/* The database that a restore would take. */
static const struct entry *top_of(const struct folder *f)
{
    const struct entry *top = folder_find(f, "new/a.edb");
    top = top == NULL ? folder_find(f, "old/a.edb") : top;
    static const struct entry none;
    return top == NULL ? &none : top;
}

/* A set is there ("first"); the run under faults may fail, and then: the former set restores, the folder holds nothing new,
 * no log went, and the instance goes on. Restores are checked every few steps: each is a recovery. */
static void walk_faults(const struct walk *w)
{
    struct live l;
    world_begin();
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 40);
    make_dir(at("bk"));
    bool atomic = (w->grbit & ATOMIC) != 0, inc = (w->grbit & INC) != 0;
    CHECK_OK(backup_to(&l, at("bk"), atomic ? ATOMIC : FULL));
    uint64_t first = digest(&l);
    insert_rows(&l, 1000, 1040);
    uint64_t wanted = digest(&l);
    if (!atomic && !inc)
        make_dir(at("bk2"));
    const char *where = !atomic && !inc ? "bk2" : "bk";
    int failures = 0;
    for (uint64_t n = 0;; n += 1 + n / 16) { /* each failed run leaves one log more to copy: later steps may be longer */
        struct folder *set_before = folder_of(at("%s", where));
        struct folder *logs_before = names_of(at("data"));
        struct db_header h_before, h_after;
        read_header(at("data/a.edb"), &h_before);
        struct os_fault fault = {.ops = w->ops, .path_part = w->part, .after = n, .count = 1, .error = w->error};
        os_fault_set(&fault);
        err_t err = backup_to(&l, at("%s", where), w->grbit);
        bool hit = os_fault_hits() > 0;
        os_fault_set(NULL);
        if (!hit) {
            CHECK_OK(err);
            free(set_before);
            free(logs_before);
            break;
        }
        struct folder *set_after = folder_of(at("%s", where));
        if (err >= 0) { /* the fault hit something that may fail: the set is the new one, and good */
            expect_set(at("%s", where), "r", wanted);
            free(set_before);
            free(logs_before);
            free(set_after);
            if (!atomic && !inc) {
                remove_tree(at("bk2"));
                make_dir(at("bk2"));
            }
            first = wanted;
            continue;
        }
        failures++;
        struct folder *logs_after = names_of(at("data"));
        for (int i = 0; i < logs_before->n; i++) /* no log went */
            if (strcmp(logs_before->e[i].name, "edbtmp.log") != 0 && folder_find(logs_after, logs_before->e[i].name) == NULL) {
                fprintf(stderr, "n %llu: %s is gone\n", (unsigned long long)n, logs_before->e[i].name);
                exit(1);
            }
        read_header(at("data/a.edb"), &h_after);
        CHECK_EQ(h_before.full_prev.mark, h_after.full_prev.mark);
        CHECK_EQ(h_before.inc_prev.mark, h_after.inc_prev.mark);
        if (!atomic)
            CHECK(folder_equal(set_before, set_after));
        CHECK(!exists(at("bk/temp")) || (w->ops & (1u << OS_OP_UNLINK | 1u << OS_OP_DIR)) != 0);
        const struct entry *was = top_of(set_before), *is = top_of(set_after);
        if (atomic && (n % 4 == 0 || was->hash != is->hash))
            expect_set(at("bk"), "r", was->hash == is->hash ? first : wanted);
        if (was->hash != is->hash)
            first = wanted; /* it failed after its promotion: that set is the one to keep */
        CHECK(instance_is_running(l.inst));
        free(set_before);
        free(set_after);
        free(logs_before);
        free(logs_after);
        CHECK(n < 3000);
    }
    CHECK(failures > 0);
    printf("%d failures\n", failures);
    expect_set(at("%s", where), "r", wanted);
    CHECK(digest(&l) == wanted);
    insert_rows(&l, 3000, 3010); /* not poisoned by a target that failed */
    finish(&l);
}

/* BK-028, 079, 080, 082, 083; section 18.6 */
CASE(faults_full_write)
{
    walk_faults(&(struct walk){1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_SIZE | 1u << OS_OP_OPEN, "/bk2", ENOSPC, FULL});
}
CASE(faults_full_io)
{
    walk_faults(&(struct walk){1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_RENAME | 1u << OS_OP_DIRSYNC, "/bk2", EIO, FULL});
}
CASE(faults_incremental)
{
    walk_faults(&(struct walk){1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_SIZE | 1u << OS_OP_OPEN | 1u << OS_OP_RENAME |
                                   1u << OS_OP_DIRSYNC,
                               "/bk", EIO, INC});
}
CASE(faults_atomic)
{
    walk_faults(&(struct walk){1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_SIZE | 1u << OS_OP_OPEN | 1u << OS_OP_RENAME |
                                   1u << OS_OP_DIRSYNC,
                               "/bk", EIO, ATOMIC});
}
CASE(faults_atomic_folders)
{
    walk_faults(&(struct walk){1u << OS_OP_UNLINK | 1u << OS_OP_DIR | 1u << OS_OP_RENAME, "/bk", EACCES, ATOMIC});
}
CASE(faults_atomic_incremental)
{
    walk_faults(&(struct walk){1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_RENAME | 1u << OS_OP_OPEN, "/bk", EIO, INC | ATOMIC});
}
CASE(faults_reading_logs)
{
    walk_faults(&(struct walk){1u << OS_OP_READ, "data/edb0", EIO, FULL});
}

/* ---- under writers: the restored rows are those of one commit point ---- */

#define WRITERS 3
#define COMMITS_MAX 200000u
#define LIVING 50 /* rows that each writer keeps */

static pthread_mutex_t commit_order = PTHREAD_MUTEX_INITIALIZER;
static uint8_t owner_of[COMMITS_MAX];
static _Atomic uint32_t commits;
static _Atomic bool writers_stop, writers_rest;

struct writer {
    pthread_t thread;
    struct live l;
    struct instance *inst;
    int number;
};

static size_t size_of_row(int id)
{
    return id % 9 == 0 ? 5000 : id % 4 == 0 ? 900 : 40;
}

/* One transaction: rows in, rows out, and the writer's counter: which commit of all this is, and how far it came. */
static err_t write_once(struct writer *w, int step)
{
    struct live *l = &w->l;
    for (int k = 0; k < 3; k++) {
        int id = w->number * 10000000 + step * 3 + k;
        TRY_RETURN(insert_row(l, id, size_of_row(id)));
        if (step * 3 + k >= LIVING)
            TRY_RETURN(delete_row(l, id - LIVING));
    }
    CHECK_EQ(pthread_mutex_lock(&commit_order), 0);
    uint32_t counter[2] = {atomic_load(&commits) + 1, (uint32_t)step};
    err_t err = seek_row(l, w->number);
    if (err >= 0)
        err = cursor_prepare(l->c, JET_prepReplace);
    if (err >= 0)
        err = cursor_set(l->c, l->pad, 1, 0, SLICE(counter, sizeof counter), false, 0);
    if (err >= 0)
        err = session_atomically(l->s, run_update, l->c);
    if (err >= 0)
        err = session_commit(l->s, JET_bitCommitLazyFlush);
    if (err >= 0) {
        owner_of[counter[0]] = (uint8_t)w->number;
        atomic_store(&commits, counter[0]);
    }
    CHECK_EQ(pthread_mutex_unlock(&commit_order), 0);
    return err;
}

static void *write_on(void *context)
{
    struct writer *w = context;
    w->l.inst = w->inst;
    enter_session(&w->l);
    CHECK_OK(session_open_database(w->l.s, at("data/a.edb"), 0, &w->l.d));
    open_t(&w->l);
    for (int step = 0; !atomic_load(&writers_stop) && atomic_load(&commits) < COMMITS_MAX - 10; step++) {
        while (atomic_load(&writers_rest) && !atomic_load(&writers_stop))
            os_sleep_ms(1);
        CHECK_OK(session_begin_transaction(w->l.s, 0));
        CHECK_OK(write_once(w, step));
    }
    CHECK_OK(session_close_cursor(w->l.s, w->l.c));
    leave_session(&w->l);
    return NULL;
}

struct disturb {
    struct live *l;
    int round;
};

/* Both sides of the copy are hit: tables come, fill, and go; pages split and merge; the checkpoint moves on. */
static void disturb(void *context, uint32_t percent)
{
    struct disturb *d = context;
    struct live other = *d->l;
    struct dbfile *db;
    char name[32];
    (void)percent;
    CHECK_OK(session_begin(other.inst, &other.s));
    CHECK_OK(session_enter(other.s));
    CHECK_OK(session_open_database(other.s, d->l->db, 0, &other.d));
    CHECK_OK(session_database(other.s, other.d, &db));
    snprintf(name, sizeof name, "extra%d", d->round);
    CHECK_OK(session_begin_transaction(other.s, 0));
    struct table_desc *t = create_table(&other, name);
    CHECK_OK(session_adopt_table(other.s, other.d, t, 0, &other.c));
    for (int id = 0; id < 300; id++)
        CHECK_OK(insert_row(&other, id, size_of_row(id)));
    CHECK_OK(session_commit(other.s, 0));
    CHECK_OK(session_close_cursor(other.s, other.c));
    if (d->round > 0) {
        snprintf(name, sizeof name, "extra%d", d->round - 1);
        CHECK_OK(session_begin_transaction(other.s, 0));
        CHECK_OK(catalog_drop_table(db, session_trx(other.s), name));
        CHECK_OK(session_commit(other.s, 0));
    }
    d->round++;
    leave_session(&other);
    os_sleep_ms(40);
}

/* The rows of one restored file: some commit g, all up to it and none behind it. Returns g. */
static uint32_t check_commit_point(const char *path)
{
    uint64_t rows;
    struct reader *r;
    struct live l = {0};
    uint32_t counter[WRITERS + 1][2], last = 0, n;
    (void)digest_file(path, &rows);
    CHECK_OK(reader_open(path, false, &r));
    CHECK_OK(reader_open_table(r, "t", &l.c));
    find_columns(&l);
    for (int w = 1; w <= WRITERS; w++) {
        CHECK_OK(seek_row(&l, w));
        CHECK_OK(cursor_retrieve(l.c, l.pad, 1, 0, 0, counter[w], 8, &n, NULL));
        last = counter[w][0] > last ? counter[w][0] : last;
    }
    uint64_t expected = WRITERS;
    for (int w = 1; w <= WRITERS; w++) {
        uint32_t g = last;
        while (g > 0 && owner_of[g] != w)
            g--;
        CHECK_EQ(counter[w][0], g);
        if (g == 0)
            continue;
        int end = (int)counter[w][1] * 3 + 3, first = end > LIVING ? end - LIVING : 0;
        for (int i = first; i < end; i++) {
            uint8_t pad[9000], wanted[9000];
            int id = w * 10000000 + i;
            CHECK_OK(seek_row(&l, id));
            CHECK_OK(cursor_retrieve(l.c, l.pad, 1, 0, 0, pad, sizeof pad, &n, NULL));
            CHECK_EQ(n, size_of_row(id));
            pad_bytes(wanted, n, id, 0);
            CHECK(memcmp(pad, wanted, n) == 0);
        }
        expected += (uint64_t)(end - first);
    }
    CHECK_EQ(rows, expected);
    reader_close_table(r, l.c);
    reader_close(r);
    return last;
}

static void restore_and_check(uint32_t before, uint32_t after)
{
    CHECK_OK(restore_to(at("bk"), "r"));
    uint32_t g = check_commit_point(at("r/a.edb"));
    if (g < before || g > after) {
        fprintf(stderr, "restored commit %u, the backup ran between %u and %u\n", g, before, after);
        exit(1);
    }
    remove_tree(at("r"));
}

static void under_writers(unsigned how, uint64_t cache_pages)
{
    struct live l;
    static struct writer writer[WRITERS + 1];
    world_begin();
    CHECK_OK(params_set(params_global(), JET_paramCacheSizeMax, cache_pages, NULL, PARAMS_BEFORE_INIT));
    start(&l, data_dir(), how);
    insert_rows(&l, 1, WRITERS + 1);
    CHECK_OK(session_begin_transaction(l.s, 0));
    uint32_t none[2] = {0, 0};
    for (int w = 1; w <= WRITERS; w++) {
        CHECK_OK(seek_row(&l, w));
        CHECK_OK(cursor_prepare(l.c, JET_prepReplace));
        CHECK_OK(cursor_set(l.c, l.pad, 1, 0, SLICE(none, sizeof none), false, 0));
        CHECK_OK(session_atomically(l.s, run_update, l.c));
    }
    CHECK_OK(session_commit(l.s, 0));
    atomic_store(&commits, 0);
    atomic_store(&writers_stop, false);
    for (int w = 1; w <= WRITERS; w++) {
        writer[w] = (struct writer){.inst = l.inst, .number = w};
        CHECK_EQ(pthread_create(&writer[w].thread, NULL, write_on, &writer[w]), 0);
    }
    struct disturb d = {.l = &l};
    instance_set_backup_pause(l.inst, disturb, &d);
    make_dir(at("bk"));
    os_sleep_ms(150);
    uint32_t before[3], after[3];
    for (int i = 0; i < 3; i++) {
        JET_GRBIT grbit = i == 0 || (how & START_CIRCULAR) != 0 ? ATOMIC : ATOMIC | INC;
        before[i] = atomic_load(&commits);
        CHECK_OK(backup_to(&l, at("bk"), grbit));
        after[i] = atomic_load(&commits);
        atomic_store(&writers_rest, true); /* of the restore: what they did then would only be in the next set */
        restore_and_check(before[i], after[i]);
        atomic_store(&writers_rest, false);
        os_sleep_ms(20); /* an increment has logs from between the sets too */
    }
    atomic_store(&writers_stop, true);
    for (int w = 1; w <= WRITERS; w++)
        pthread_join(writer[w].thread, NULL);
    CHECK(d.round >= 3);
    CHECK(after[0] > before[0]); /* they were not held up */
    printf("%u commits, %u in the first backup\n", atomic_load(&commits), after[0] - before[0]);
    finish(&l);
    (void)check_commit_point(at("data/a.edb"));
    CHECK_OK(params_set(params_global(), JET_paramCacheSizeMax, 20000, NULL, PARAMS_BEFORE_INIT));
}

/* BK-017, 037, 071, 073; section 18.1 */
CASE(under_writers)
{
    under_writers(0, 20000);
}
CASE(under_writers_small_cache)
{
    under_writers(START_STEAL, 64);
}
CASE(under_writers_circular)
{
    under_writers(START_CIRCULAR | START_STEAL, 100);
}

CTEST_MAIN
