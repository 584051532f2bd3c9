/* An instance's life, its sessions and databases, failures, restarts. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "engine_world.h"

static const char *data_dir(void)
{
    return at("data");
}

/* CTEST_LONG=1: every n of a walk over faults, more rounds of chance. */
static bool is_long(void)
{
    return getenv("CTEST_LONG") != NULL;
}

static uint64_t step(uint64_t n)
{
    return is_long() ? 1 : n < 4 ? 1 : 2 + n / 3;
}

static void expect_restart_as(uint64_t wanted, unsigned how)
{
    struct live l;
    start(&l, data_dir(), how);
    CHECK(digest(&l) == wanted);
    finish(&l);
    uint64_t rows;
    CHECK(digest_file(at("data/a.edb"), &rows) == wanted);
    judge_database(at("data/a.edb"));
    judge_logs(at("data"));
}

static void expect_restart(uint64_t wanted)
{
    expect_restart_as(wanted, 0);
}

/* ---- order of calls ---- */

CASE(order)
{
    world_begin();
    struct instance *inst = new_instance(data_dir(), 0);
    struct session *s;
    (void)s;
    CHECK_EQ(instance_term(inst, 0), JET_errNotInitialized);
    CHECK_EQ(instance_enter(inst, false), JET_errNotInitialized);
    CHECK_EQ(instance_enter(inst, true), JET_errNotInitialized);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(instance_init(inst, NULL, NULL));
        CHECK_EQ(instance_init(inst, NULL, NULL), JET_errAlreadyInitialized);
        struct restore_result result;
        CHECK_EQ(instance_restore(inst, &(struct instance_restore){.set = at("data"), .destination = NULL}, &result), JET_errAlreadyInitialized); /* BK-293 */
        CHECK(instance_is_running(inst));
        CHECK_OK(instance_enter(inst, false));
        instance_leave(inst);
        CHECK_OK(instance_term(inst, i == 0 ? 0 : JET_bitTermAbrupt));
        CHECK_EQ(instance_term(inst, 0), JET_errNotInitialized);
    }
    instance_destroy(inst);
    inst = new_instance(at("missing"), 0);
    CHECK_OK(params_set(instance_params(inst), JET_paramCreatePathIfNotExist, 0, NULL, PARAMS_BEFORE_INIT));
    for (int i = 0; i < 3; i++)
        CHECK(instance_init(inst, NULL, NULL) < 0); /* leaves nothing behind that stops the next one */
    CHECK_OK(params_set(instance_params(inst), JET_paramCreatePathIfNotExist, 1, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(instance_init(inst, NULL, NULL));
    CHECK_OK(instance_term(inst, 0));
    instance_destroy(inst);
}

CASE(sessions)
{
    struct live l;
    world_begin();
    start(&l, data_dir(), 0);
    CHECK_EQ(session_commit(l.s, 0), JET_errNotInTransaction);
    CHECK_EQ(session_rollback(l.s, 0), JET_errNotInTransaction);
    for (int i = 0; i < 7; i++)
        CHECK_OK(session_begin_transaction(l.s, 0));
    CHECK_EQ(session_begin_transaction(l.s, 0), JET_errTransTooDeep);
    CHECK_OK(insert_row(&l, 1, 10));
    CHECK_OK(session_rollback(l.s, JET_bitRollbackAll));
    CHECK_EQ(session_level(l.s), 0);
    CHECK_EQ(seek_row(&l, 1), JET_errRecordNotFound);
    CHECK_EQ(session_close_cursor(l.s, (struct table_cursor *)&l), JET_errInvalidTableId);
    CHECK_EQ(session_close_database(l.s, 6), JET_errInvalidDatabaseId);
    CHECK_EQ(session_close_database(l.s, 0), JET_errInvalidDatabaseId);
    CHECK_EQ(session_close_database(l.s, 99), JET_errInvalidDatabaseId);
    struct session *s[300];
    int n = 0;
    err_t err;
    while (n < 300 && (err = session_begin(l.inst, &s[n])) >= 0)
        n++;
    CHECK(n < 300);
    CHECK_EQ(err, JET_errOutOfSessions);
    for (int i = 0; i < n; i++)
        CHECK_OK(session_end(s[i]));
    finish(&l);
}

static _Atomic int stage;

struct two {
    struct live *l;
    err_t enter, begin;
};

static void *second_thread(void *context)
{
    struct two *t = context;
    t->enter = session_enter(t->l->s);
    if (t->enter >= 0)
        t->begin = session_commit(t->l->s, 0);
    return NULL;
}

/* One session, two threads: at once, and a transaction that wanders. */
CASE(session_in_two_threads)
{
    struct live l;
    pthread_t thread;
    world_begin();
    start(&l, data_dir(), 0);
    struct two t = {.l = &l};
    CHECK_EQ(pthread_create(&thread, NULL, second_thread, &t), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(t.enter, JET_errSessionSharingViolation);
    CHECK_OK(session_begin_transaction(l.s, 0));
    session_leave(l.s);
    CHECK_EQ(pthread_create(&thread, NULL, second_thread, &t), 0);
    pthread_join(thread, NULL);
    CHECK_OK(t.enter);
    CHECK_EQ(t.begin, JET_errSessionSharingViolation);
    session_leave(l.s);
    CHECK_OK(session_enter(l.s));
    CHECK_OK(session_commit(l.s, 0));
    finish(&l);
}

/* ---- a freeze that meets a change which does not end ---- */

static void *change_that_lasts(void *context)
{
    struct session *s;
    CHECK_OK(session_begin(context, &s));
    CHECK_OK(session_enter(s));
    session_begin_change(s);
    atomic_store(&stage, 1);
    while (atomic_load(&stage) == 1)
        os_sleep_ms(1);
    session_leave(s);
    CHECK_OK(session_end(s));
    return NULL;
}

struct late {
    struct instance *inst;
    uint64_t waited_ms;
};

/* Comes while the gate is shut, and goes on when it is opened. */
static void *change_that_waits(void *context)
{
    struct late *l = context;
    struct session *s;
    CHECK_OK(session_begin(l->inst, &s));
    CHECK_OK(session_enter(s));
    os_sleep_ms(300);
    uint64_t began = os_now_ns();
    session_begin_change(s);
    l->waited_ms = (os_now_ns() - began) / 1000000u;
    session_leave(s);
    CHECK_OK(session_end(s));
    return NULL;
}

static void freeze_refused(uint64_t id, struct instance *inst)
{
    struct frozen_instance *list;
    struct late late = {.inst = inst};
    pthread_t waits;
    int count;
    CHECK_EQ(pthread_create(&waits, NULL, change_that_waits, &late), 0);
    uint64_t began = os_now_ns();
    events_begin();
    CHECK_EQ(ossnap_freeze(id, &list, &count), JET_errOSSnapshotTimeOut);
    uint64_t ms = (os_now_ns() - began) / 1000000u;
    CHECK(strstr(err_last()->detail, "still at work") != NULL && list == NULL);
    CHECK(event_find(2002) != NULL && event_find(2004) == NULL);
    event_set_sink(NULL, NULL);
    pthread_join(waits, NULL);
    CHECK(ms >= 2000 && ms < 20000); /* JET_paramOSSnapshotTimeout, and two seconds at least */
    CHECK(late.waited_ms > 500);     /* it had come to the shut gate, and was let in */
}

CASE(freeze_waits_no_longer)
{
    struct live l;
    struct frozen_instance *list;
    uint64_t id;
    int count;
    pthread_t lasts;
    world_begin();
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 50);
    CHECK_OK(params_set(params_global(), JET_paramOSSnapshotTimeout, 100, NULL, PARAMS_BEFORE_INIT));
    atomic_store(&stage, 0);
    CHECK_EQ(pthread_create(&lasts, NULL, change_that_lasts, l.inst), 0);
    while (atomic_load(&stage) == 0)
        os_sleep_ms(1);
    CHECK_OK(ossnap_prepare(0, &id));
    session_leave(l.s);
    freeze_refused(id, l.inst);
    CHECK_OK(session_enter(l.s));
    insert_rows(&l, 50, 60); /* all goes on, while the change is still at work */
    session_leave(l.s);
    atomic_store(&stage, 2);
    pthread_join(lasts, NULL);
    CHECK_OK(params_set(params_global(), JET_paramOSSnapshotTimeout, 70000, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(ossnap_freeze(id, &list, &count)); /* the session is as it was prepared: it can be tried again */
    CHECK_EQ(count, 1);
    free(list);
    CHECK_OK(ossnap_thaw(id));
    CHECK_OK(session_enter(l.s));
    insert_rows(&l, 60, 70);
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_restart(wanted);
}

/* ---- several instances, several processes ---- */

static void take_folder(void *context)
{
    struct instance *inst = new_instance(context, 0);
    err_t err = instance_init(inst, NULL, NULL);
    _exit(err == JET_errLogFilePathInUse ? 10 : err == JET_errSystemPathInUse ? 11 : err < 0 ? 12 : 13);
}

CASE(two_instances)
{
    struct live a, b;
    world_begin();
    start(&a, at("data"), 0);
    start(&b, at("data2"), 0);
    insert_rows(&a, 0, 100);
    insert_rows(&b, 0, 50);
    CHECK(digest(&a) != digest(&b));
    struct instance *c = new_instance(at("data"), 0);
    CHECK_EQ(instance_init(c, NULL, NULL), JET_errLogFilePathInUse);
    CHECK_OK(params_set(instance_params(c), JET_paramLogFilePath, 0, at("data3/"), PARAMS_BEFORE_INIT));
    CHECK_EQ(instance_init(c, NULL, NULL), JET_errSystemPathInUse);
    CHECK_OK(params_set(instance_params(c), JET_paramSystemPath, 0, at("data3/"), PARAMS_BEFORE_INIT));
    CHECK_OK(instance_init(c, NULL, NULL));
    struct live l = {.inst = c};
    enter_session(&l);
    CHECK_EQ(session_attach_database(l.s, a.db, 0), JET_errFileAccessDenied); /* another instance has it */
    CHECK_EQ(session_create_database(l.s, a.db, JET_bitDbOverwriteExisting, &l.d), JET_errFileAccessDenied);
    CHECK_EQ(in_child(take_folder, (void *)(uintptr_t)at("data")), 10);
    leave_session(&l);
    CHECK_OK(instance_term(c, 0));
    instance_destroy(c);
    uint64_t of_a = digest(&a);
    finish(&b);
    insert_rows(&a, 1000, 1010);
    of_a = digest(&a);
    finish(&a);
    CHECK_EQ(in_child(take_folder, (void *)(uintptr_t)at("data2")), 13); /* free again; it dies with it open */
    expect_restart(of_a);
}

struct forked {
    struct live *l;
};

static void use_after_fork(void *context)
{
    struct live *l = ((struct forked *)context)->l;
    struct backup_options o = {.path = NULL};
    struct backup_result result;
    if (session_enter(l->s) != JET_errInstanceUnavailable || instance_term(l->inst, 0) != JET_errInstanceUnavailable ||
        instance_enter(l->inst, true) != JET_errInstanceUnavailable ||
        instance_backup(l->inst, &o, &result) != JET_errInstanceUnavailable ||
        instance_stop_backup(l->inst, JET_errBackupAbortByServer) != JET_errInstanceUnavailable)
        _exit(1);
    _exit(0);
}

CASE(fork_then_use)
{
    struct live l;
    world_begin();
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 50);
    CHECK_EQ(in_child(use_after_fork, &(struct forked){&l}), 0);
    /* a child that lives on holds nothing that the parent gives up */
    int hold[2];
    CHECK_EQ(pipe(hold), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char c;
        close(hold[1]);
        (void)!read(hold[0], &c, 1);
        _exit(0);
    }
    close(hold[0]);
    insert_rows(&l, 100, 150);
    uint64_t wanted = digest(&l);
    CHECK_OK(session_close_cursor(l.s, l.c));
    CHECK_OK(session_close_database(l.s, l.d));
    CHECK_OK(session_detach_database(l.s, l.db, 0));
    CHECK_OK(session_attach_database(l.s, l.db, 0));
    CHECK_OK(session_open_database(l.s, l.db, 0, &l.d));
    open_t(&l);
    finish(&l);
    expect_restart(wanted);
    close(hold[1]);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
}

/* ---- terminate ---- */

CASE(term_with_things_open)
{
    struct live l, other;
    struct table_cursor *c;
    world_begin();
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 100);
    uint64_t wanted = digest(&l);
    CHECK_OK(session_begin_transaction(l.s, 0));
    CHECK_OK(insert_row(&l, 500, 4000));
    session_leave(l.s);
    CHECK_EQ(instance_term(l.inst, 0), JET_errTooManyActiveUsers);
    CHECK_EQ(instance_term(l.inst, JET_bitTermAbrupt), JET_errTooManyActiveUsers);
    CHECK(instance_is_running(l.inst));
    CHECK_OK(session_enter(l.s)); /* as if nothing had been asked */
    CHECK_OK(insert_row(&l, 501, 10));
    CHECK_OK(session_rollback(l.s, 0));
    CHECK_OK(session_open_table(l.s, l.d, "t", 0, &c));
    other = l;
    CHECK_OK(session_begin(l.inst, &other.s));
    CHECK_OK(cursor_prepare(c, JET_prepInsert));
    session_leave(l.s);
    CHECK_OK(instance_term(l.inst, 0)); /* sessions, cursors, a prepared update: ended */
    instance_destroy(l.inst);
    expect_restart(wanted);
    start(&l, data_dir(), 0);
    insert_rows(&l, 600, 700);
    wanted = digest(&l);
    CHECK_OK(session_begin_transaction(l.s, 0));
    CHECK_OK(insert_row(&l, 1500, 4000));
    session_leave(l.s);
    CHECK_EQ(instance_term(l.inst, JET_bitTermDirty), JET_errDirtyShutdown);
    CHECK(!instance_is_running(l.inst));
    struct db_header h;
    read_header(at("data/a.edb"), &h);
    CHECK_EQ(h.state, DB_DIRTY);
    instance_destroy(l.inst);
    expect_restart(wanted);
}

static void *long_backup(void *context)
{
    struct live *l = context;
    struct backup_options o = {.path = at("bk")};
    struct backup_result result;
    return (void *)(intptr_t)instance_backup(l->inst, &o, &result);
}

static void hold_backup(void *context, uint32_t percent)
{
    (void)context;
    if (percent != 25)
        return;
    atomic_store(&stage, 1);
    os_sleep_ms(300);
}

/* BK-068, 069: term ends a running backup; its files are gone. */
CASE(term_stops_backup)
{
    struct live l;
    pthread_t thread;
    world_begin();
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 1500);
    uint64_t wanted = digest(&l);
    make_dir(at("bk"));
    atomic_store(&stage, 0);
    instance_set_backup_pause(l.inst, hold_backup, NULL);
    CHECK_EQ(pthread_create(&thread, NULL, long_backup, &l), 0);
    while (atomic_load(&stage) == 0)
        os_sleep_ms(1);
    CHECK_OK(session_close_cursor(l.s, l.c));
    leave_session(&l);
    CHECK_EQ(instance_term(l.inst, 0), JET_errBackupInProgress);
    CHECK_OK(instance_term(l.inst, JET_bitTermAbrupt));
    void *result;
    pthread_join(thread, &result);
    CHECK_EQ((intptr_t)result, JET_errTermInProgress);
    struct folder *f = folder_of(at("bk"));
    CHECK_EQ(f->n, 0);
    free(f);
    instance_destroy(l.inst);
    expect_restart(wanted);
}

/* ---- databases ---- */

CASE(six_databases)
{
    struct live l[7];
    world_begin();
    start(&l[0], data_dir(), 0);
    for (int i = 1; i < 6; i++) {
        l[i] = l[0];
        open_db(&l[i], at("data/d%d.edb", i));
        insert_rows(&l[i], i * 10, i * 10 + 20);
    }
    JET_DBID d;
    CHECK_EQ(session_create_database(l[0].s, at("data/d6.edb"), 0, &d), JET_errTooManyAttachedDatabases);
    CHECK(!exists(at("data/d6.edb")));
    CHECK_EQ(session_create_database(l[0].s, at("data/d3.edb"), 0, &d), JET_errDatabaseDuplicate);
    CHECK_EQ(session_attach_database(l[0].s, at("data/d3.edb"), 0), JET_wrnDatabaseAttached);
    CHECK_EQ(session_detach_database(l[0].s, at("data/d3.edb"), 0), JET_errDatabaseInUse);
    CHECK_EQ(session_detach_database(l[0].s, at("data/none.edb"), 0), JET_errDatabaseNotFound);
    CHECK_EQ(session_open_database(l[0].s, at("data/none.edb"), 0, &d), JET_errDatabaseNotFound);
    CHECK_OK(session_begin_transaction(l[0].s, 0));
    CHECK_EQ(session_attach_database(l[0].s, at("data/none.edb"), 0), JET_errInTransaction);
    CHECK_OK(session_rollback(l[0].s, 0));
    uint64_t of_3 = digest(&l[3]), rows;
    CHECK_OK(session_close_cursor(l[3].s, l[3].c));
    CHECK_OK(session_close_database(l[3].s, l[3].d));
    CHECK_OK(session_detach_database(l[0].s, at("data/d3.edb"), 0));
    CHECK(digest_file(at("data/d3.edb"), &rows) == of_3);
    l[6] = l[0];
    open_db(&l[6], at("data/d6.edb"));
    for (int i = 1; i < 7; i++)
        if (i != 3)
            CHECK_OK(session_close_cursor(l[i].s, l[i].c));
    finish(&l[0]);
    CHECK(digest_file(at("data/d6.edb"), &rows) != 0);
}

/* A writer's versions, and those that a reader holds, keep a database attached. */
CASE(detach_with_versions)
{
    struct live l, b, reader;
    world_begin();
    start(&l, data_dir(), 0);
    b = l;
    enter_session(&b);
    open_db(&b, at("data/b.edb"));
    insert_rows(&b, 0, 10);
    reader = l;
    CHECK_OK(session_begin(l.inst, &reader.s));
    CHECK_OK(session_enter(reader.s));
    CHECK_OK(session_begin_transaction(reader.s, 0));
    CHECK_OK(replace_row(&b, 3, 1, 100)); /* the reader's snapshot needs the old one */
    uint64_t wanted = digest(&b), rows;
    CHECK_OK(session_close_cursor(b.s, b.c));
    CHECK_OK(session_close_database(b.s, b.d));
    CHECK_EQ(session_detach_database(b.s, at("data/b.edb"), 0), JET_errDatabaseInUse);
    CHECK_OK(session_open_database(b.s, at("data/b.edb"), 0, &b.d)); /* still there, and in order */
    open_t(&b);
    CHECK(digest(&b) == wanted);
    CHECK_OK(session_close_cursor(b.s, b.c));
    CHECK_OK(session_close_database(b.s, b.d));
    CHECK_OK(session_rollback(reader.s, 0));
    CHECK_OK(session_detach_database(b.s, at("data/b.edb"), 0));
    leave_session(&reader);
    leave_session(&b);
    finish(&l);
    CHECK(digest_file(at("data/b.edb"), &rows) == wanted);
}

/* A detach that meets a full disk or a failing one: attached as before, or the instance is stopped; nothing is lost. */
static void detach_under_fault(unsigned ops, int error, uint64_t count)
{
    for (uint64_t n = 0;; n += step(n)) {
        struct live l, b;
        world_begin();
        start(&l, data_dir(), START_NO_WRITER);
        b = l;
        open_db(&b, at("data/b.edb"));
        insert_rows(&b, 0, 60);
        uint64_t wanted = digest(&b), rows;
        CHECK_OK(session_close_cursor(b.s, b.c));
        CHECK_OK(session_close_database(b.s, b.d));
        os_fault_set(&(struct os_fault){.ops = ops, .path_part = "/data/", .after = n, .count = count, .error = error});
        err_t err = session_detach_database(b.s, at("data/b.edb"), 0);
        bool hit = os_fault_hits() > 0;
        os_fault_set(NULL);
        bool running = instance_enter(l.inst, false) >= 0;
        if (running) {
            instance_leave(l.inst);
            if (err < 0) {
                CHECK_OK(session_open_database(b.s, at("data/b.edb"), 0, &b.d));
                open_t(&b);
                CHECK(digest(&b) == wanted);
                insert_rows(&b, 500, 510);
                wanted = digest(&b);
                CHECK_OK(session_close_cursor(b.s, b.c));
            }
            insert_rows(&l, 0, 100);
            finish(&l);
        } else {
            session_leave(l.s);
            CHECK_EQ(instance_term(l.inst, 0), JET_errInstanceUnavailable); /* gone all the same */
            instance_destroy(l.inst);
        }
        start(&l, data_dir(), 0);
        b = l;
        open_db(&b, at("data/b.edb"));
        CHECK(digest(&b) == wanted);
        CHECK_OK(session_close_cursor(b.s, b.c));
        finish(&l);
        CHECK(digest_file(at("data/b.edb"), &rows) == wanted);
        if (!hit) {
            CHECK(n > 3);
            return;
        }
        CHECK(n < 400);
    }
}
CASE(detach_full_disk)
{
    detach_under_fault(1u << OS_OP_WRITE | 1u << OS_OP_SIZE, ENOSPC, 1);
}
CASE(detach_failing_disk)
{
    detach_under_fault(1u << OS_OP_WRITE | 1u << OS_OP_SYNC, EIO, 1);
}

/* Create and attach under faults: a clear refusal, the instance goes on or stops, and a restart is in order. */
static void come_under_fault(bool create, unsigned ops, int error)
{
    for (uint64_t n = 0;; n += step(n)) {
        struct live l, b;
        world_begin();
        start(&l, data_dir(), START_NO_WRITER);
        insert_rows(&l, 0, 20);
        uint64_t wanted = digest(&l), of_b = 0, rows;
        b = l;
        if (!create) {
            open_db(&b, at("data/b.edb"));
            insert_rows(&b, 0, 20);
            of_b = digest(&b);
            CHECK_OK(session_close_cursor(b.s, b.c));
            CHECK_OK(session_close_database(b.s, b.d));
            CHECK_OK(session_detach_database(b.s, at("data/b.edb"), 0));
        }
        os_fault_set(&(struct os_fault){.ops = ops, .path_part = "/data/", .after = n, .count = 1, .error = error});
        err_t err = create ? session_create_database(b.s, at("data/b.edb"), 0, &b.d) : session_attach_database(b.s, at("data/b.edb"), 0);
        bool hit = os_fault_hits() > 0;
        os_fault_set(NULL);
        bool running = instance_enter(l.inst, false) >= 0;
        if (running)
            instance_leave(l.inst);
        if (err < 0 && running && create) { /* once more, now it goes */
            if (exists(at("data/b.edb"))) {
                fprintf(stderr, "n %llu: %s left a file\n", (unsigned long long)n, err_name(err));
                exit(1);
            }
            CHECK_OK(session_create_database(b.s, at("data/b.edb"), 0, &b.d));
            CHECK_OK(session_close_database(b.s, b.d));
        }
        if (n % 2 == 0 && running) {
            insert_rows(&l, 100, 120);
            wanted = digest(&l);
            finish(&l);
        } else { /* as after a crash */
            session_leave(l.s);
            err_t ended = instance_term(l.inst, JET_bitTermDirty);
            CHECK(ended == JET_errDirtyShutdown || ended == JET_errSuccess);
            instance_destroy(l.inst);
        }
        start(&l, data_dir(), 0);
        CHECK(digest(&l) == wanted);
        if (!create) {
            b = l;
            open_db(&b, at("data/b.edb"));
            CHECK(digest(&b) == of_b);
            CHECK_OK(session_close_cursor(b.s, b.c));
        } else if (exists(at("data/b.edb"))) {
            CHECK_OK(session_attach_database(l.s, at("data/b.edb"), 0));
        } else {
            CHECK_OK(session_create_database(l.s, at("data/b.edb"), 0, &b.d));
        }
        finish(&l);
        CHECK(digest_file(at("data/a.edb"), &rows) == wanted);
        if (!hit) {
            CHECK_OK(err);
            CHECK(n > 3);
            return;
        }
        CHECK(n < 2000);
    }
}
CASE(create_full_disk)
{
    come_under_fault(true, 1u << OS_OP_WRITE | 1u << OS_OP_SIZE | 1u << OS_OP_OPEN, ENOSPC);
}
CASE(create_failing_disk)
{
    come_under_fault(true, 1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_DIRSYNC, EIO);
}
CASE(attach_failing_disk)
{
    come_under_fault(false, 1u << OS_OP_WRITE | 1u << OS_OP_SYNC | 1u << OS_OP_READ, EIO);
}

CASE(strange_files)
{
    struct live l;
    JET_DBID d;
    world_begin();
    start(&l, data_dir(), 0);
    insert_rows(&l, 0, 100);
    CHECK_EQ(session_attach_database(l.s, at("data/none.edb"), 0), JET_errFileNotFound);
    CHECK_EQ(session_attach_database(l.s, at("nowhere/none.edb"), 0), JET_errInvalidPath);
    CHECK_EQ(session_create_database(l.s, at("nowhere/none.edb"), 0, &d), JET_errInvalidPath);
    CHECK_EQ(session_attach_database(l.s, "", 0), JET_errInvalidPath);
    CHECK(session_attach_database(l.s, at("data"), 0) < 0); /* a folder */
    uint8_t noise[16384];
    unsigned long long seed = ctest_seed();
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)ctest_random(&seed);
    write_file(at("data/noise.edb"), noise, sizeof noise);
    CHECK(session_attach_database(l.s, at("data/noise.edb"), 0) < 0);
    write_file(at("data/noise.edb"), noise, 100);
    CHECK(session_attach_database(l.s, at("data/noise.edb"), 0) < 0);
    write_file(at("data/noise.edb"), noise, 0);
    CHECK(session_attach_database(l.s, at("data/noise.edb"), 0) < 0);
    CHECK(session_create_database(l.s, at("data/noise.edb"), 0, &d) < 0); /* exists */
    CHECK_OK(session_commit(l.s, JET_bitWaitAllLevel0Commit));
    copy_tree(at("data/a.edb"), at("data/dirty.edb"));
    CHECK_EQ(session_attach_database(l.s, at("data/dirty.edb"), 0), JET_errDatabaseDirtyShutdown);
    CHECK_EQ(session_attach_database(l.s, at("data/dirty.edb"), JET_bitDbReadOnly), JET_errDatabaseDirtyShutdown);
    CHECK(instance_is_running(l.inst));
    insert_rows(&l, 1000, 1010);
    uint64_t wanted = digest(&l);
    finish(&l);
    expect_restart(wanted);
}

CASE(read_only)
{
    struct live l, b;
    world_begin();
    start(&l, at("data2"), 0);
    insert_rows(&l, 0, 50);
    uint64_t wanted = digest(&l);
    finish(&l);
    struct folder *before = folder_of(at("data2"));
    start(&l, data_dir(), 0);
    b = l;
    CHECK_OK(session_attach_database(b.s, at("data2/a.edb"), JET_bitDbReadOnly));
    CHECK_EQ(session_open_database(b.s, at("data2/a.edb"), 0, &b.d), JET_wrnFileOpenReadOnly);
    open_t(&b);
    CHECK(digest(&b) == wanted);
    CHECK(insert_row(&b, 99, 10) < 0);
    CHECK(delete_row(&b, 9) < 0);
    CHECK(digest(&b) == wanted);
    make_dir(at("bk"));
    insert_rows(&l, 0, 20);
    CHECK_OK(backup_to(&l, at("bk"), 0)); /* it is in no set: nothing of it is in the log */
    CHECK_OK(session_close_cursor(b.s, b.c));
    CHECK_OK(session_close_database(b.s, b.d));
    CHECK_OK(session_detach_database(b.s, at("data2/a.edb"), 0));
    CHECK_OK(session_attach_database(b.s, at("data2/a.edb"), JET_bitDbReadOnly));
    finish(&l);
    struct folder *after = folder_of(at("data2"));
    CHECK(folder_equal(before, after));
    free(before);
    free(after);
}

static void die_without_log(void *context)
{
    struct live l;
    (void)context;
    start(&l, data_dir(), START_NO_LOG);
    insert_rows(&l, 1000, 1100);
    _exit(5);
}

CASE(logging_off)
{
    struct live l;
    world_begin();
    start(&l, data_dir(), START_NO_LOG);
    insert_rows(&l, 0, 300);
    CHECK_OK(session_begin_transaction(l.s, 0));
    CHECK_OK(insert_row(&l, 1000, 3000));
    CHECK_OK(session_rollback(l.s, 0));
    CHECK_OK(delete_row(&l, 17));
    uint64_t wanted = digest(&l), rows;
    finish(&l);
    CHECK(digest_file(at("data/a.edb"), &rows) == wanted);
    CHECK(!exists(at("data/edb.log")));
    start(&l, data_dir(), START_NO_LOG);
    CHECK(digest(&l) == wanted);
    CHECK_OK(session_close_cursor(l.s, l.c));
    CHECK_OK(session_close_database(l.s, l.d));
    CHECK_OK(session_detach_database(l.s, l.db, 0));
    CHECK_OK(session_attach_database(l.s, l.db, 0));
    CHECK_OK(session_open_database(l.s, l.db, 0, &l.d));
    open_t(&l);
    finish(&l);
    CHECK_EQ(in_child(die_without_log, NULL), 5);
    struct instance *inst = new_instance(data_dir(), START_NO_LOG); /* decision 21: dirty for good */
    CHECK_OK(instance_init(inst, NULL, NULL));
    l.inst = inst;
    enter_session(&l);
    CHECK_EQ(session_attach_database(l.s, at("data/a.edb"), 0), JET_errDatabaseDirtyShutdown);
    leave_session(&l);
    CHECK_OK(instance_term(inst, 0));
    instance_destroy(inst);
}

CASE(circular)
{
    struct live l;
    world_begin();
    start(&l, data_dir(), START_CIRCULAR);
    for (int round = 0; round < 12; round++)
        insert_rows(&l, round * 100, round * 100 + 100);
    struct instance_stats stats;
    instance_stats(l.inst, &stats);
    CHECK(LGPOS_GEN(stats.log_tail) > 8);
    wait_checkpoint(&l, LGPOS_GEN(stats.log_tail) - 6);
    uint64_t wanted = digest(&l);
    CHECK(!exists(at("data/edb00001.log")));
    finish(&l);
    expect_restart(wanted);
}

/* ---- failures of the disk while rows go in ---- */

struct ledger {
    unsigned char acked[4000], tried[4000];
    int n;
};

/* One row a transaction; stops at `end` or when the instance does. */
static void insert_acked(struct live *l, struct ledger *ledger, int end)
{
    for (; ledger->n < end; ledger->n++) {
        if (session_enter(l->s) < 0)
            return;
        ledger->tried[ledger->n] = 1;
        err_t err = insert_row(l, ledger->n, ledger->n % 5 == 0 ? 3500 : 300);
        ledger->acked[ledger->n] = err >= 0;
        session_leave(l->s);
    }
}

static void check_ledger(const struct ledger *ledger, bool exact)
{
    struct live l;
    uint64_t rows, wanted = 0;
    start(&l, data_dir(), 0);
    for (int i = 0; i < ledger->n; i++) {
        err_t err = seek_row(&l, i);
        if (ledger->acked[i] && err < 0) {
            fprintf(stderr, "row %d of %d was acknowledged and is lost\n", i, ledger->n);
            exit(1);
        }
        if (exact && !ledger->acked[i])
            CHECK_EQ(err, JET_errRecordNotFound);
        wanted += err >= 0;
    }
    finish(&l);
    (void)digest_file(at("data/a.edb"), &rows);
    CHECK_EQ(rows, wanted);
}

/* The first call of the background threads comes when they get a processor; what it meets stops the instance. */
static void wait_for_stop(struct live *l)
{
    for (int ms = 0; ms < 20000 && session_enter(l->s) >= 0; ms++) {
        session_leave(l->s);
        os_sleep_ms(1);
    }
}

static void fail_while_inserting(const char *part, unsigned ops, int error, uint64_t count, bool stops)
{
    int stopped = 0, runs = 0;
    for (uint64_t n = 0; n < 200; n = is_long() ? n + 1 + n / 8 : n * 5 + 1, runs++) {
        struct live l;
        static struct ledger ledger;
        memset(&ledger, 0, sizeof ledger);
        world_begin();
        start(&l, data_dir(), START_STEAL);
        session_leave(l.s);
        insert_acked(&l, &ledger, 20);
        os_fault_set(&(struct os_fault){.ops = ops, .path_part = part, .after = n, .count = count, .error = error});
        insert_acked(&l, &ledger, 90);
        if (stops && n == 0)
            wait_for_stop(&l);
        os_fault_set(NULL);
        bool running = session_enter(l.s) >= 0;
        stopped += !running;
        if (running) {
            session_leave(l.s);
            insert_acked(&l, &ledger, 110); /* space is back */
            CHECK(ledger.n == 110 && ledger.acked[109]);
            if (session_enter(l.s) >= 0)
                finish(&l);
            else
                running = false;
        }
        if (!running) {
            CHECK_EQ(instance_term(l.inst, 0), JET_errInstanceUnavailable);
            instance_destroy(l.inst);
        }
        check_ledger(&ledger, !stops);
    }
    printf("%d of %d stopped\n", stopped, runs);
    CHECK(stops ? stopped > 0 : stopped == 0);
}

CASE(log_write_fails)
{
    fail_while_inserting("edb.log", 1u << OS_OP_WRITE, EIO, 1, true);
}
CASE(log_sync_fails)
{
    fail_while_inserting("edb.log", 1u << OS_OP_SYNC, EIO, 1, true);
}
CASE(log_write_torn)
{
    fail_while_inserting("edb.log", 1u << OS_OP_WRITE, -1, 1, true);
}
CASE(page_write_fails)
{
    fail_while_inserting("a.edb", 1u << OS_OP_WRITE | 1u << OS_OP_SYNC, EIO, 1, true);
}
CASE(double_write_fails)
{
    fail_while_inserting(".dwr", 1u << OS_OP_WRITE | 1u << OS_OP_SYNC, EIO, 1, true);
}
CASE(checkpoint_fails)
{
    fail_while_inserting("edb.chk", 1u << OS_OP_WRITE | 1u << OS_OP_SYNC, EIO, 1, true);
}
CASE(roll_fails)
{
    fail_while_inserting("/data", 1u << OS_OP_RENAME | 1u << OS_OP_DIRSYNC, EIO, 1, true);
}
/* Full segments go out while nobody waits for them: that write fails, and the instance says so to whoever comes next. */
CASE(log_write_in_the_background_fails)
{
    struct live l;
    err_t err = JET_errSuccess;
    world_begin();
    start(&l, data_dir(), START_NO_WRITER | START_LARGE_LOGS);
    insert_rows(&l, 0, 30);
    uint64_t wanted = digest(&l);
    CHECK_OK(session_begin_transaction(l.s, 0));
    os_fault_set(&(struct os_fault){.ops = 1u << OS_OP_WRITE, .path_part = "edb.log", .count = 1, .error = EIO});
    for (int i = 1000; i < 1120 && err >= 0; i++) /* not half of the ring: nobody waits for room */
        err = insert_row(&l, i, 3500);
    CHECK(err >= 0 || err == JET_errLogWriteFail);
    for (int ms = 0; os_fault_hits() == 0 && ms < 20000; ms++)
        os_sleep_ms(1);
    CHECK_EQ(os_fault_hits(), 1);
    for (int ms = 0; (err = instance_enter(l.inst, false)) >= 0 && ms < 20000; ms++) {
        instance_leave(l.inst);
        os_sleep_ms(1);
    }
    CHECK_EQ(err, JET_errInstanceUnavailable);
    os_fault_set(NULL);
    session_leave(l.s);
    CHECK_EQ(session_enter(l.s), JET_errInstanceUnavailable);
    CHECK(strstr(err_last()->detail, "initialise again") != NULL);
    CHECK_EQ(instance_term(l.inst, 0), JET_errInstanceUnavailable);
    instance_destroy(l.inst);
    expect_restart_as(wanted, START_LARGE_LOGS);
}

/* A full disk, for a while: refusals, then on as before; nothing is stopped and nothing half there. */
CASE(full_disk_logs)
{
    fail_while_inserting("edbtmp", 1u << OS_OP_SIZE, ENOSPC, 30, false);
}
/* The file is opened when it is made, and never again: no roll can meet a disk or a table of handles that is full. */
CASE(full_disk_opening_logs)
{
    fail_while_inserting("edbtmp", 1u << OS_OP_OPEN, ENOSPC, 30, false);
    fail_while_inserting("/data", 1u << OS_OP_OPEN, ENOSPC, 30, false);
}
CASE(no_handles)
{
    fail_while_inserting("/data", 1u << OS_OP_OPEN, EMFILE, 30, false);
    fail_while_inserting("/data", 1u << OS_OP_OPEN, ENOMEM, 30, false);
}
CASE(full_disk_growth)
{
    fail_while_inserting("a.edb", 1u << OS_OP_SIZE, ENOSPC, 5, false);
}
CASE(full_disk_double_write)
{
    fail_while_inserting(".dwr", 1u << OS_OP_WRITE, ENOSPC, 5, false);
}

/* A commit's rollback on a full disk takes the reserved logs; so does a session that ends. */
CASE(full_disk_rollback)
{
    for (int how = 0; how < 3; how++) {
        struct live l;
        world_begin();
        start(&l, data_dir(), 0);
        insert_rows(&l, 0, 30);
        uint64_t wanted = digest(&l);
        CHECK_OK(session_begin_transaction(l.s, 0));
        os_fault_set(&(struct os_fault){
            .ops = 1u << OS_OP_SIZE, .path_part = "edbtmp", .count = UINT64_MAX, .error = ENOSPC});
        err_t err = JET_errSuccess;
        for (int i = 1000; i < 3000 && err >= 0; i++)
            err = insert_row(&l, i, 3000);
        CHECK_EQ(err, JET_errLogDiskFull);
        if (how == 0) {
            CHECK_OK(session_rollback(l.s, 0));
        } else if (how == 1) {
            CHECK_OK(session_close_cursor(l.s, l.c));
            leave_session(&l); /* rolls back */
            enter_session(&l);
            CHECK_OK(session_open_database(l.s, l.db, 0, &l.d));
            open_t(&l);
        } else {
            CHECK_OK(session_rollback(l.s, 0));
            int refused = 0;
            for (int i = 5000; i < 5400; i++) { /* each one its own transaction */
                err = insert_row(&l, i, 9000);
                if (err < 0)
                    CHECK_EQ(err, JET_errLogDiskFull);
                refused += err < 0;
            }
            CHECK(refused > 350);
            wanted = digest(&l);
        }
        CHECK(digest(&l) == wanted);
        CHECK(instance_is_running(l.inst));
        CHECK_OK(instance_enter(l.inst, false));
        instance_leave(l.inst);
        if (how != 2) /* an orderly end takes them too */
            os_fault_set(NULL);
        if (how == 0)
            insert_rows(&l, 1000, 1100), wanted = digest(&l);
        CHECK_OK(session_close_cursor(l.s, l.c));
        leave_session(&l);
        err_t ended = instance_term(l.inst, 0);
        os_fault_set(NULL);
        CHECK(ended == JET_errSuccess || (how == 2 && ended == JET_errLogDiskFull));
        instance_destroy(l.inst);
        expect_restart(wanted);
    }
}

/* ---- databases that come and go in threads, while small logs roll; killed at some moment ---- */

struct comer {
    struct instance *inst;
    int number;
    _Atomic int *stop;
};

static void *come_and_go(void *context)
{
    struct comer *c = context;
    struct live l = {.inst = c->inst};
    enter_session(&l);
    for (int round = 0; !atomic_load(c->stop); round++) {
        char path[PATH_ROOM];
        snprintf(path, sizeof path, "%s", at("data/c%d.edb", c->number));
        uint64_t rows;
        open_db(&l, path);
        (void)digest_cursor(l.c, &rows);
        CHECK_EQ(rows % 10, 0); /* whole transactions */
        insert_rows(&l, (int)rows, (int)rows + 10);
        CHECK_OK(session_close_cursor(l.s, l.c));
        CHECK_OK(session_close_database(l.s, l.d));
        err_t err = session_detach_database(l.s, path, 0);
        if (err != JET_errBackupInProgress)
            CHECK_OK(err);
        else
            CHECK_OK(session_attach_database(l.s, path, 0)); /* still attached */
        if (round % 3 == 2 && err >= 0) {
            CHECK_EQ(unlink(path), 0);
        }
    }
    leave_session(&l);
    return NULL;
}

struct race {
    int ms;
    bool kill;
};

static void race_in_child(void *context)
{
    const struct race *race = context;
    struct live l;
    pthread_t thread[3];
    struct comer comer[3];
    _Atomic int stop = 0;
    start(&l, data_dir(), START_STEAL);
    for (int i = 0; i < 3; i++) {
        comer[i] = (struct comer){l.inst, i, &stop};
        CHECK_EQ(pthread_create(&thread[i], NULL, come_and_go, &comer[i]), 0);
    }
    uint64_t until = os_now_ns() + (uint64_t)race->ms * 1000000u;
    uint64_t rows;
    (void)digest_cursor(l.c, &rows);
    for (int id = (int)rows; os_now_ns() < until; id += 20)
        insert_rows(&l, id, id + 20);
    if (race->kill)
        _exit(6);
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    finish(&l);
}

static void check_all_files(void)
{
    struct live l, c;
    uint64_t rows;
    start(&l, data_dir(), 0);
    (void)digest(&l);
    for (int i = 0; i < 3; i++) {
        c = l;
        if (!exists(at("data/c%d.edb", i)))
            continue;
        open_db(&c, at("data/c%d.edb", i)); /* also mends a header whose second copy was not written, and a create cut off */
        (void)digest_cursor(c.c, &rows);
        CHECK_EQ(rows % 10, 0);
        CHECK_OK(session_close_cursor(c.s, c.c));
    }
    finish(&l);
    (void)digest_file(at("data/a.edb"), &rows);
    for (int i = 0; i < 3; i++) {
        struct reader *r;
        struct check_sum sum;
        struct check_options options = {.records = true, .indexes = true, .sink = print_finding};
        if (!exists(at("data/c%d.edb", i)))
            continue;
        CHECK_OK(reader_open(at("data/c%d.edb", i), false, &r));
        CHECK_OK(check_database(reader_db(r), &options, &sum));
        CHECK_EQ(sum.findings, 0);
        CHECK_EQ(sum.pages_leaked, 0);
        reader_close(r);
    }
}

CASE(coming_and_going)
{
    world_begin();
    CHECK_EQ(in_child(race_in_child, &(struct race){700, false}), 0);
    check_all_files();
}

CASE(coming_and_going_killed)
{
    unsigned long long seed = ctest_seed();
    world_begin();
    for (int round = 0; round < (is_long() ? 60 : 5); round++) {
        CHECK_EQ(in_child(race_in_child, &(struct race){(int)(ctest_random(&seed) % 350) + 30, true}), 6);
        check_all_files();
    }
}

/* Backups, increments, comers and goers, writers: all at once. */
static void *back_up_on(void *context)
{
    struct comer *c = context;
    struct backup_result result;
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s", at("bk"));
    for (int round = 0; !atomic_load(c->stop); round++) {
        struct backup_options o = {.path = path, .grbit = JET_bitBackupAtomic | (round % 3 == 0 ? 0 : JET_bitBackupIncremental)};
        err_t err = instance_backup(c->inst, &o, &result);
        if (err != JET_errMissingFullBackup && err != JET_errMissingFileToBackup)
            CHECK_OK(err);
        c->number++;
        os_sleep_ms(3);
    }
    return NULL;
}

static void race_with_backups(void *context)
{
    const struct race *race = context;
    struct live l;
    pthread_t thread[3];
    struct comer comer[3];
    _Atomic int stop = 0;
    start(&l, data_dir(), START_STEAL);
    comer[0] = (struct comer){l.inst, 0, &stop};
    comer[1] = (struct comer){l.inst, 0, &stop};
    CHECK_EQ(pthread_create(&thread[0], NULL, back_up_on, &comer[0]), 0);
    (void)come_and_go;
    uint64_t until = os_now_ns() + (uint64_t)race->ms * 1000000u;
    uint64_t rows;
    (void)digest_cursor(l.c, &rows);
    for (int id = (int)rows; os_now_ns() < until; id += 10)
        insert_rows(&l, id, id + 10);
    if (race->kill)
        _exit(6);
    stop = 1;
    pthread_join(thread[0], NULL);
    CHECK(comer[0].number > 1);
    finish(&l);
}

/* Killed in the middle of atomic backups: the live folder recovers, and the set restores, every time. */
CASE(backups_killed)
{
    unsigned long long seed = ctest_seed();
    world_begin();
    make_dir(at("bk"));
    int restored = 0;
    for (int round = 0; round < (is_long() ? 60 : 5); round++) {
        CHECK_EQ(in_child(race_with_backups, &(struct race){(int)(ctest_random(&seed) % 250) + 60, true}), 6);
        uint64_t rows, live_rows;
        if (exists(at("bk/new")) || exists(at("bk/old"))) {
            CHECK_OK(restore_to(at("bk"), "r"));
            (void)digest_file(at("r/a.edb"), &rows);
            remove_tree(at("r"));
            restored++;
        } else {
            rows = 0;
        }
        struct live l;
        start(&l, data_dir(), 0);
        (void)digest_cursor(l.c, &live_rows);
        finish(&l);
        CHECK(live_rows >= rows && live_rows % 10 == 0 && rows % 10 == 0);
    }
    CHECK(restored > 1);
}

CTEST_MAIN
