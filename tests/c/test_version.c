/* The version room: who sees what, who conflicts, what the log is told, what the sweep takes. */
#include <unistd.h>

#include "folder.h"
#include "version/version.h"

/* ---- a world: a log (off, or a real one in its own folder), a store, sessions ---- */

static struct log *the_log;
static struct versions *store;

static void world_begin(bool logging, uint64_t bytes_max)
{
    folder_begin("version");
    struct log_config config = {.log_dir = folder,
                                .system_dir = folder,
                                .base_name = "edb",
                                .file_size = 1u << 20,
                                .page_size = 4096,
                                .enabled = logging,
                                .legacy_names = 3,
                                .instance_name = "test"};
    CHECK_OK(log_create(&config, &the_log));
    CHECK_OK(log_start_new(the_log, 1));
    CHECK_OK(versions_create(bytes_max, &store));
}

static void world_end(void)
{
    CHECK_EQ(versions_bytes(store), 0);
    versions_destroy(store);
    CHECK_OK(log_stop(the_log));
    log_destroy(the_log);
    folder_end();
}

static void log_change(struct trx *trx)
{
    uint8_t bytes[6] = {LOG_Trace, 0, 0, 1, 0, 'x'};
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, 6)}, .head = bytes};
    CHECK_OK(trx_log(trx, &record, 1, NULL));
}

static void log_undo(struct trx *trx, const struct version_undo *u)
{
    uint8_t head[51] = {0};
    trx_stamp_page_head(trx, head, LOG_Undo, u->where.dbid, 7, 1, 0,
                        LOG_FLAG_VERSIONED | LOG_FLAG_UNIQUE);
    log_node_head(head, u->rceid, u->where.root, u->where.objid);
    store_u16(head + 44, (uint16_t)u->where.key.n);
    store_u16(head + 48, (uint16_t)u->oper);
    head[50] = u->level;
    struct log_record record = {
        .part_count = 2, .part = {SLICE(head, sizeof head), u->where.key}, .head = head};
    CHECK_OK(trx_log(trx, &record, 1, NULL));
}

static void commit(struct trx *trx)
{
    lgpos_t end;
    CHECK_OK(trx_commit(trx, &end));
}

static struct version_key node_key(const uint8_t *id)
{
    return (struct version_key){.dbid = 1, .objid = 30, .root = 40, .key = SLICE(id, 1)};
}

/* Publishes a version as btree does: reserve, log, publish. Returns the error of reserve. */
static err_t make_change(struct trx *trx, enum version_oper oper, const struct version_key *where,
                         struct slice before, int64_t delta)
{
    struct version *v;
    TRY_RETURN(version_reserve(trx, oper, where, before, delta, 0, &v));
    if (oper != VERSION_LOCK)
        log_change(trx);
    version_publish(trx, v);
    return JET_errSuccess;
}

static uint32_t sweep_all(void)
{
    struct run *run;
    struct version_undo u;
    uint32_t count = 0;
    while ((run = versions_take_settled(store)) != NULL) {
        for (; run_next(run, &u); count++)
            version_remove(store, u.version);
        struct trx_action *next;
        for (struct trx_action *a = run_actions(run); a != NULL; a = next) {
            next = a->next;
            a->fn(a, TRX_SWEPT, NULL);
        }
        run_free(store, run);
    }
    return count;
}

/* ---- each operation against each fate ---- */

enum fate { OPEN, COMMITTED_BEFORE, COMMITTED_AFTER, FATES };
static const enum version_oper opers[] = {VERSION_INSERT, VERSION_REPLACE, VERSION_DELETE,
                                          VERSION_DELTA,  VERSION_DELTA64, VERSION_LOCK};

static void check_one(enum version_oper oper, enum fate fate)
{
    struct trx writer, reader;
    uint8_t id = 1, old[8], new[8];
    struct version_key where = node_key(&id);
    struct buffer scratch = {0};
    bool exists;
    struct slice seen;
    int64_t delta = oper == VERSION_DELTA ? 5 : oper == VERSION_DELTA64 ? INT64_C(5) << 33 : 0;
    store_u64(old, 1000);
    store_u64(new, oper == VERSION_REPLACE ? 77 : 1000 + (uint64_t)delta);
    world_begin(false, 1 << 20);
    trx_init(&writer, store, the_log, 1, false, NULL);
    trx_init(&reader, store, the_log, 2, false, NULL);

    CHECK_OK(trx_begin(&writer));
    if (fate != COMMITTED_BEFORE)
        CHECK_OK(trx_begin(&reader));
    CHECK_OK(make_change(&writer, oper, &where,
                         oper == VERSION_REPLACE ? SLICE_OF(old) : SLICE_EMPTY, delta));
    if (fate != OPEN)
        commit(&writer);
    if (fate == COMMITTED_BEFORE)
        CHECK_OK(trx_begin(&reader));

    bool sees = fate == COMMITTED_BEFORE;
    bool deleted = oper == VERSION_DELETE;
    CHECK_OK(version_see(store, &reader, &where, deleted, SLICE_OF(new), &scratch, &exists, &seen));
    CHECK_EQ(exists, oper == VERSION_INSERT ? sees : oper == VERSION_DELETE ? !sees : true);
    if (exists)
        CHECK(slice_equal(seen, sees || oper == VERSION_DELETE ? SLICE_OF(new) : SLICE_OF(old)));
    /* without a transaction: what is committed; its maker: all */
    CHECK_OK(version_see(store, NULL, &where, deleted, SLICE_OF(new), &scratch, &exists, &seen));
    if (oper == VERSION_INSERT)
        CHECK_EQ(exists, fate != OPEN);
    if (oper == VERSION_DELETE)
        CHECK_EQ(exists, fate == OPEN);
    CHECK_OK(version_see(store, &writer, &where, deleted, SLICE_OF(new), &scratch, &exists, &seen));
    CHECK_EQ(exists, !deleted);
    if (exists)
        CHECK_EQ(seen.p == (const uint8_t *)new, 1);

    bool conflict = fate == OPEN || (fate == COMMITTED_AFTER && oper != VERSION_LOCK);
    CHECK_EQ(version_check_write(&reader, &where), conflict ? JET_errWriteConflict : 0);
    bool is_delta = oper == VERSION_DELTA || oper == VERSION_DELTA64;
    CHECK_EQ(version_check_delta(&reader, &where),
             conflict && !is_delta ? JET_errWriteConflict : 0);
    CHECK_EQ(version_check_write(&writer, &where), 0);
    CHECK_EQ(version_exists(store, &where), !(oper == VERSION_LOCK && fate != OPEN));
    CHECK_EQ(version_none(store, &where), !version_exists(store, &where)); /* it is all alone */
    CHECK_EQ(version_is_settled(store, &where),
             fate == COMMITTED_BEFORE || (oper == VERSION_LOCK && fate != OPEN));

    if (fate == OPEN)
        commit(&writer);
    commit(&reader);
    sweep_all();
    buffer_free(&scratch);
    trx_term(&writer);
    trx_term(&reader);
    world_end();
}

CASE(matrix)
{
    for (unsigned i = 0; i < sizeof opers / sizeof opers[0]; i++)
        for (int fate = 0; fate < FATES; fate++)
            check_one(opers[i], (enum fate)fate);
}

/* ---- random histories against a model that replays what a viewer may see ---- */

#define NODES 3
#define SESSIONS 4
#define OPS_MAX 4000

struct model_op {
    int node, owner; /* owner: which transaction ever */
    enum version_oper oper;
    uint64_t value;
    int level;
    bool undone;
};
struct model_trx {
    int owner;
    uint64_t snapshot;
};
static struct model_op ops[OPS_MAX];
static int op_count;
static uint64_t commit_of[OPS_MAX]; /* by owner; 0 = open */
static int owners;
static struct trx sessions[SESSIONS];
static struct model_trx mine[SESSIONS];
struct node_state {
    bool exists;
    uint64_t value;
};
static struct node_state pages[NODES];

static bool model_sees(const struct model_op *op, const struct model_trx *viewer)
{
    if (viewer != NULL && op->owner == viewer->owner)
        return true;
    uint64_t at = commit_of[op->owner];
    return at != 0 && (viewer == NULL || at <= viewer->snapshot);
}

static struct node_state model_view(int node, const struct model_trx *viewer)
{
    struct node_state s = {0};
    for (int i = 0; i < op_count; i++) {
        const struct model_op *op = &ops[i];
        if (op->node != node || op->undone || !model_sees(op, viewer))
            continue;
        if (op->oper == VERSION_INSERT)
            s = (struct node_state){true, op->value};
        else if (op->oper == VERSION_REPLACE)
            s.value = op->value;
        else if (op->oper == VERSION_DELETE)
            s.exists = false;
        else if (op->oper == VERSION_DELTA64)
            s.value += op->value;
    }
    return s;
}

static bool model_conflict(int node, const struct model_trx *t, bool delta)
{
    for (int i = 0; i < op_count; i++) {
        const struct model_op *op = &ops[i];
        if (op->node != node || op->undone || model_sees(op, t))
            continue;
        if (delta && op->oper == VERSION_DELTA64)
            continue;
        if (op->oper == VERSION_LOCK && commit_of[op->owner] != 0)
            continue;
        return true;
    }
    return false;
}

static void compare_all(void)
{
    struct buffer scratch = {0};
    for (int node = 0; node < NODES; node++) {
        uint8_t id = (uint8_t)node;
        struct version_key where = node_key(&id);
        for (int s = -1; s < SESSIONS; s++) {
            if (s >= 0 && sessions[s].level == 0)
                continue;
            bool exists;
            struct slice seen;
            struct node_state want = model_view(node, s < 0 ? NULL : &mine[s]);
            CHECK_OK(version_see(store, s < 0 ? NULL : &sessions[s], &where, !pages[node].exists,
                                 SLICE_OF(pages[node].value), &scratch, &exists, &seen));
            CHECK_EQ(exists, want.exists);
            if (exists)
                CHECK_EQ(load_u64(seen.p), want.value);
        }
    }
    buffer_free(&scratch);
}

static void model_add(int s, int node, enum version_oper oper, uint64_t value)
{
    CHECK(op_count < OPS_MAX);
    ops[op_count++] = (struct model_op){node, mine[s].owner, oper, value, sessions[s].level, false};
}

/* An insert over a deleted node with other data makes two versions, in either order. */
static void insert_node(int s, int node, uint64_t value, bool replace_first)
{
    uint8_t id = (uint8_t)node;
    struct version_key where = node_key(&id);
    struct slice old = SLICE_OF(pages[node].value);
    if (replace_first)
        CHECK_OK(make_change(&sessions[s], VERSION_REPLACE, &where, old, 0));
    CHECK_OK(make_change(&sessions[s], VERSION_INSERT, &where, SLICE_EMPTY, 0));
    if (!replace_first)
        CHECK_OK(make_change(&sessions[s], VERSION_REPLACE, &where, old, 0));
    if (replace_first)
        model_add(s, node, VERSION_REPLACE, value);
    model_add(s, node, VERSION_INSERT, replace_first ? value : pages[node].value);
    if (!replace_first)
        model_add(s, node, VERSION_REPLACE, value);
    pages[node] = (struct node_state){true, value};
}

static void change_node(int s, int node, unsigned long long *rng)
{
    uint8_t id = (uint8_t)node;
    struct version_key where = node_key(&id);
    unsigned pick = (unsigned)(ctest_random(rng) % 5);
    uint64_t value = ctest_random(rng) % 100000;
    bool delta = pick == 1 || pick == 2;
    err_t want = model_conflict(node, &mine[s], delta) ? JET_errWriteConflict : 0;
    CHECK_EQ(delta ? version_check_delta(&sessions[s], &where)
                   : version_check_write(&sessions[s], &where),
             want);
    if (want < 0)
        return;
    bool exists = model_view(node, &mine[s]).exists;
    if (!exists && pages[node].exists)
        return;
    if (!exists) {
        if (!delta)
            insert_node(s, node, value, ctest_random(rng) & 1);
    } else if (delta) {
        CHECK_OK(make_change(&sessions[s], VERSION_DELTA64, &where, SLICE_EMPTY, (int64_t)value));
        model_add(s, node, VERSION_DELTA64, value);
        pages[node].value += value;
    } else if (pick == 3) {
        CHECK_OK(make_change(&sessions[s], VERSION_DELETE, &where, SLICE_EMPTY, 0));
        model_add(s, node, VERSION_DELETE, 0);
        pages[node].exists = false;
    } else if (pick == 4) {
        CHECK_OK(make_change(&sessions[s], VERSION_LOCK, &where, SLICE_EMPTY, 0));
        model_add(s, node, VERSION_LOCK, 0);
    } else {
        CHECK_OK(
            make_change(&sessions[s], VERSION_REPLACE, &where, SLICE_OF(pages[node].value), 0));
        model_add(s, node, VERSION_REPLACE, value);
        pages[node].value = value;
    }
}

static void undo_page(const struct version_undo *u, struct node_state *page)
{
    if (u->oper == VERSION_INSERT)
        page->exists = false;
    else if (u->oper == VERSION_DELETE)
        page->exists = true;
    else if (u->oper == VERSION_REPLACE)
        page->value = load_u64(u->before.p);
    else if (u->oper == VERSION_DELTA64)
        page->value -= (uint64_t)u->delta;
}

static void roll_back(int s, uint8_t levels)
{
    struct version_undo u;
    uint8_t to = (uint8_t)(sessions[s].level - levels);
    int at = op_count - 1;
    while (version_newest(&sessions[s], to, &u)) {
        while (at >= 0 && (ops[at].owner != mine[s].owner || ops[at].undone))
            at--;
        CHECK(at >= 0 && ops[at].oper == u.oper && ops[at].node == u.where.key.p[0]);
        CHECK_EQ(ops[at].level, u.level);
        if (u.oper != VERSION_LOCK) {
            log_undo(&sessions[s], &u);
            undo_page(&u, &pages[ops[at].node]);
        }
        ops[at].undone = true;
        if (u.oper != VERSION_LOCK)
            compare_all(); /* page as before, version still there */
        version_remove(store, u.version);
        compare_all();
    }
    for (int i = 0; i < op_count; i++)
        CHECK(ops[i].owner != mine[s].owner || ops[i].undone || ops[i].level <= to);
    CHECK_OK(trx_rollback_done(&sessions[s], levels));
}

static void end_level(int s)
{
    uint8_t to = (uint8_t)(sessions[s].level - 1);
    for (int i = 0; to > 0 && i < op_count; i++)
        if (ops[i].owner == mine[s].owner && ops[i].level > to)
            ops[i].level = to;
    commit(&sessions[s]);
    if (to == 0)
        commit_of[mine[s].owner] = atomic_load(versions_commit_counter(store));
}

static void model_step(unsigned long long *rng)
{
    int s = (int)(ctest_random(rng) % SESSIONS);
    struct trx *trx = &sessions[s];
    unsigned what = (unsigned)(ctest_random(rng) % 16);
    if (trx->level == 0) {
        CHECK_OK(trx_begin(trx));
        mine[s] = (struct model_trx){++owners, atomic_load(&trx->snapshot)};
    } else if (what < 9) {
        change_node(s, (int)(ctest_random(rng) % NODES), rng);
    } else if (what < 11 && trx->level < TRX_LEVEL_MAX) {
        CHECK_OK(trx_begin(trx));
    } else if (what < 14) {
        end_level(s);
    } else if (what < 15) {
        roll_back(s, (uint8_t)(1 + ctest_random(rng) % trx->level));
    } else {
        sweep_all();
    }
    compare_all();
}

static void run_history(unsigned long long *rng)
{
    world_begin(false, 8 << 20);
    op_count = owners = 0;
    memset(commit_of, 0, sizeof commit_of);
    memset(pages, 0, sizeof pages);
    for (int s = 0; s < SESSIONS; s++)
        trx_init(&sessions[s], store, the_log, (uint16_t)(s + 1), false, NULL);
    for (int i = 0; i < 400; i++)
        model_step(rng);
    for (int s = 0; s < SESSIONS; s++) {
        if (sessions[s].level > 0)
            roll_back(s, sessions[s].level);
        trx_term(&sessions[s]);
    }
    sweep_all();
    for (int node = 0; node < NODES; node++) {
        uint8_t id = (uint8_t)node;
        struct version_key where = node_key(&id);
        CHECK(!version_exists(store, &where) && version_none(store, &where));
    }
    world_end();
}

CASE(model)
{
    unsigned long long rng = ctest_seed();
    for (int i = 0; i < 200; i++)
        run_history(&rng);
}

/* ---- bound, label, counters ---- */

/* A run is counted in steps: never less than it holds, little more, and nothing when its versions are gone. */
CASE(bytes_are_counted_in_steps)
{
    struct trx trx;
    uint8_t id[4], before[100] = {0};
    struct version_key where = {.dbid = 1, .objid = 2, .root = 3, .key = SLICE(id, 4)};
    uint64_t before_last = 0, each = 0;
    world_begin(false, 16 << 20);
    trx_init(&trx, store, the_log, 1, false, NULL);
    CHECK_EQ(versions_count(store, 1), 0);
    CHECK_OK(trx_begin(&trx));
    for (uint32_t i = 0; i < 3000; i++) {
        store_u32(id, i);
        CHECK_OK(make_change(&trx, VERSION_REPLACE, &where, SLICE(before, 100), 0));
        each = i == 0 ? versions_bytes(store) : each;
        uint64_t bytes = versions_bytes(store), made = each * (i + 1);
        CHECK(bytes >= made && bytes <= made + made / 4 && bytes >= before_last);
        before_last = bytes;
    }
    CHECK(versions_count(store, 1) > 0);
    commit(&trx);
    CHECK_EQ(sweep_all(), 3000);
    CHECK_EQ(versions_bytes(store), 0);
    CHECK_EQ(versions_count(store, 1), 0);
    trx_term(&trx);
    world_end();
}

CASE(bound_names_the_oldest)
{
    struct trx idle, busy;
    uint8_t id[2] = {0}, before[100] = {0};
    struct version_key where = {.dbid = 1, .objid = 2, .root = 3, .key = SLICE(id, 2)};
    err_t err = 0;
    world_begin(false, 20000);
    trx_init(&idle, store, the_log, 1, false, NULL);
    trx_init(&busy, store, the_log, 2, false, NULL);
    trx_set_label(&idle, "the idle one");
    CHECK_OK(trx_begin(&idle));
    CHECK_OK(trx_begin(&busy));
    log_change(&busy);
    commit(&busy); /* idle is now the older */
    CHECK_OK(trx_begin(&busy));
    int made = 0;
    for (; made < 1000 && err >= 0; made++) {
        store_u16(id, (uint16_t)made);
        err = make_change(&busy, VERSION_REPLACE, &where, SLICE(before, 100), 0);
    }
    CHECK_EQ(err, JET_errVersionStoreOutOfMemory);
    CHECK(strstr(err_last()->detail, "the idle one") != NULL);
    CHECK(made > 20 && versions_bytes(store) <= 20000);
    versions_set_max(store, 40000);
    CHECK_OK(make_change(&busy, VERSION_REPLACE, &where, SLICE(before, 100), 0));

    uint64_t started = os_now_ns(); /* the bell was rung: no wait */
    versions_wait_work(store, 5000);
    CHECK(os_now_ns() - started < 4000000000u);
    started = os_now_ns();
    versions_wait_work(store, 30);
    CHECK(os_now_ns() - started >= 25000000u);

    commit(&busy);
    CHECK_EQ(versions_oldest_snapshot(store), atomic_load(&idle.snapshot));
    CHECK_EQ(sweep_all(), 0);
    commit(&idle);
    CHECK_EQ(sweep_all(), (uint32_t)made);
    trx_term(&idle);
    trx_term(&busy);
    world_end();
}

CASE(read_only_and_depth)
{
    struct trx trx;
    struct version *v;
    uint8_t id = 1;
    struct version_key where = node_key(&id);
    lgpos_t end;
    world_begin(false, 1 << 20);
    trx_init(&trx, store, the_log, 1, false, NULL);
    CHECK_EQ(trx_commit(&trx, &end), JET_errNotInTransaction);
    for (int i = 0; i < TRX_LEVEL_MAX; i++)
        CHECK_OK(trx_begin(&trx));
    CHECK_EQ(trx_begin(&trx), JET_errTransTooDeep);
    trx.read_only = true;
    CHECK_EQ(version_reserve(&trx, VERSION_DELETE, &where, SLICE_EMPTY, 0, 0, &v),
             JET_errTransReadOnly);
    trx.read_only = false;
    CHECK_OK(version_reserve(&trx, VERSION_DELETE, &where, SLICE_EMPTY, 0, 0, &v));
    CHECK(version_rceid(v) != 0 && version_rceid(v) % 4 == 0);
    version_cancel(v);
    version_cancel(NULL);
    trx.must_rollback = true;
    CHECK_EQ(trx_commit(&trx, &end), JET_errRollbackRequired);
    CHECK_OK(trx_rollback_done(&trx, 7));
    CHECK(trx.level == 0 && !trx.must_rollback);
    trx_term(&trx);
    world_end();
}

CASE(rceid_wraps)
{
    struct trx trx;
    uint8_t id = 1;
    struct version_key where = node_key(&id);
    struct version_undo u;
    uint32_t want[] = {0xfffffffc, 4, 8};
    world_begin(false, 1 << 20);
    versions_redo_done(store, 0xfffffff8, 1002);
    CHECK_EQ(atomic_load(versions_commit_counter(store)), 1004);
    trx_init(&trx, store, the_log, 1, false, NULL);
    CHECK_OK(trx_begin(&trx));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(make_change(&trx, VERSION_DELETE, &where, SLICE_EMPTY, 0));
        CHECK(version_newest(&trx, 0, &u));
        CHECK_EQ(u.rceid, want[i]);
        if (i == 0)
            CHECK_OK(trx_begin(&trx));
        CHECK_EQ(u.level, i == 0 ? 1 : 2);
    }
    commit(&trx);
    commit(&trx);
    CHECK_EQ(sweep_all(), 3);
    trx_term(&trx);
    world_end();
}

/* ---- actions and the order of the sweep ---- */

struct test_action {
    struct trx_action action;
    char name;
};
static char story[200];

static void tell(struct trx_action *action, enum trx_event event, struct trx *trx)
{
    struct test_action *t = (struct test_action *)(void *)action;
    CHECK((trx == NULL) ==
          (event == TRX_SWEPT || event == TRX_FORGOTTEN)); /* sweep_all has no sweeper */
    snprintf(story + strlen(story), 8, "%c%c ", t->name, "CSRF"[event]);
    if (event != TRX_COMMITTED)
        free(t);
}

static void add_action(struct trx *trx, char name)
{
    struct test_action *t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    *t = (struct test_action){{.fn = tell}, name};
    trx_add_action(trx, &t->action);
}

CASE(actions_and_sweep_order)
{
    struct trx a, b, reader;
    world_begin(false, 1 << 20);
    story[0] = '\0';
    trx_init(&a, store, the_log, 1, false, NULL);
    trx_init(&b, store, the_log, 2, false, NULL);
    trx_init(&reader, store, the_log, 3, false, NULL);
    CHECK_OK(trx_begin(&a));
    CHECK_OK(trx_begin(&b));
    add_action(&a, 'a');
    add_action(&b, 'b');
    commit(&b);
    CHECK_EQ(sweep_all(), 0); /* a is older than b's commit */
    CHECK(strcmp(story, "bC ") == 0);
    CHECK_OK(trx_begin(&reader));
    commit(&a);
    sweep_all(); /* the reader sees b, not a */
    CHECK(strcmp(story, "bC aC bS ") == 0);
    commit(&reader);
    sweep_all();
    CHECK(strcmp(story, "bC aC bS aS ") == 0);
    CHECK_OK(trx_begin(&a));
    add_action(&a, 'x');
    trx_term(&a); /* given up */
    CHECK_OK(trx_begin(&b));
    add_action(&b, 'y');
    commit(&b);
    trx_term(&b);
    trx_term(&reader);
    world_end();
    CHECK(strcmp(story, "bC aC bS aS xF yC yF ") == 0);
}

/* A settled run put back is taken again before younger ones; an undone insert comes back as a
 * delete. */
CASE(put_back_and_clean)
{
    struct trx trx;
    uint8_t ids[3] = {1, 2, 3};
    struct version_undo u;
    world_begin(false, 1 << 20);
    trx_init(&trx, store, the_log, 1, false, NULL);
    for (int i = 0; i < 2; i++) {
        struct version_key where = node_key(&ids[i]);
        CHECK_OK(trx_begin(&trx));
        CHECK_OK(make_change(&trx, VERSION_REPLACE, &where, SLICE_EMPTY, 0));
        commit(&trx);
    }
    struct version_key third = node_key(&ids[2]);
    CHECK_OK(trx_begin(&trx));
    CHECK_OK(make_change(&trx, VERSION_INSERT, &third, SLICE_EMPTY, 0));
    CHECK(version_newest(&trx, 0, &u));
    log_undo(&trx, &u);
    version_remove(store, u.version);
    CHECK_OK(trx_rollback_done(&trx, 1));
    CHECK(!version_exists(store, &third));
    versions_add_clean(store, &third);

    for (int i = 0; i < 2; i++) {
        struct run *run = versions_take_settled(store);
        versions_put_back(store, run);
        CHECK(versions_take_settled(store) == run);
        CHECK(run_next(run, &u) && u.where.key.p[0] == ids[i]);
        version_remove(store, u.version);
        CHECK(!run_next(run, &u));
        run_free(store, run);
    }
    struct run *run = versions_take_settled(store);
    for (int i = 0; i < 2; i++) {
        CHECK(run_next(run, &u) && u.oper == VERSION_DELETE && slice_equal(u.where.key, third.key));
        version_remove(store, u.version);
    }
    CHECK(!run_next(run, &u));
    run_free(store, run);
    CHECK(versions_take_settled(store) == NULL);
    trx_term(&trx);
    world_end();
}

/* ---- what the log is told ---- */

static struct log_reader *open_reader(void)
{
    struct log_reader *reader;
    struct log_reader_config config = {.dirs = {folder}, .dir_count = 1, .base_name = "edb"};
    CHECK_OK(log_flush_all(the_log));
    CHECK_OK(log_reader_open(&config, LGPOS(1, 1, 0), &reader));
    return reader;
}

/* Next record of ours: no filling. */
static bool next_record(struct log_reader *reader, struct log_view *view)
{
    bool end;
    do {
        CHECK_OK(log_reader_next(reader, view, &end));
    } while (!end && (view->bytes.p[0] == LOG_NOP || view->bytes.p[0] == LOG_NOP2));
    return !end;
}

static void expect(struct log_reader *reader, const char *hex)
{
    struct log_view view;
    char got[3 * 80] = "";
    CHECK(next_record(reader, &view));
    for (uint32_t i = 0; i < view.bytes.n && i < 79; i++)
        snprintf(got + 3 * i, 4, "%02x ", view.bytes.p[i]);
    if (strcmp(got, hex) != 0)
        printf("got %s\nnot %s\n", got, hex);
    CHECK(strcmp(got, hex) == 0);
}

CASE(records)
{
    struct trx trx, inner;
    uint8_t id = 0xaa, id_other = 0xbb;
    struct version_key where = node_key(&id), other = node_key(&id_other);
    struct version_undo u;
    lgpos_t end, undo_end = 0;
    world_begin(true, 1 << 20);
    trx_init(&inner, store, the_log, 0x102, true, NULL);
    trx_init(&trx, store, the_log, 0x101, false, &inner);

    CHECK_OK(trx_begin(&trx)); /* nothing logged: no trace of it */
    CHECK_EQ(versions_oldest_begin(store), LGPOS_MAX);
    commit(&trx);
    CHECK_OK(trx_begin(&trx));
    CHECK_OK(make_change(&trx, VERSION_LOCK, &where, SLICE_EMPTY, 0));
    commit(&trx);
    CHECK_EQ(versions_bytes(store), 0);

    CHECK_OK(trx_begin(&trx));
    CHECK_OK(trx_begin(&trx));
    lgpos_t bound = trx_begin_bound(&trx);
    CHECK_OK(make_change(&trx, VERSION_REPLACE, &where, SLICE("old", 3), 0));
    CHECK_EQ(trx_begin_bound(&trx), bound);
    CHECK_EQ(versions_oldest_begin(store), bound);
    CHECK_OK(version_log_undo_info(store, &where, 0x99, 3, &undo_end));
    CHECK_EQ(undo_end, log_tail(the_log));
    CHECK_OK(version_log_undo_info(store, &where, 0x99, 3, &undo_end)); /* once is enough */
    CHECK_EQ(version_undo_info_count(store), 1);
    CHECK_EQ(version_before_most(store, &where), 3);
    commit(&trx);
    CHECK_OK(make_change(&trx, VERSION_DELETE, &other, SLICE_EMPTY, 0));
    CHECK_OK(trx_begin(&trx));
    CHECK_OK(make_change(&trx, VERSION_DELETE, &where, SLICE_EMPTY, 0));
    CHECK_OK(version_log_undo_info(store, &other, 0x99, 4, &undo_end)); /* of level 1 */
    CHECK(version_newest(&trx, 1, &u));
    log_undo(&trx, &u);
    CHECK_OK(version_log_undo_info(store, &where, 0x99, 3, &undo_end)); /* undone: none */
    version_remove(store, u.version);
    CHECK_OK(trx_rollback_done(&trx, 1));
    CHECK_OK(make_change(&trx, VERSION_REPLACE, &where, SLICE("o2", 2), 0));
    CHECK_OK(trx_begin(&inner));
    log_change(&inner);
    CHECK_OK(trx_commit(&inner, &end));
    CHECK_OK(trx_commit(&trx, &end));
    CHECK_EQ(end, trx.last_lgpos_end);
    CHECK_EQ(versions_oldest_begin(store), LGPOS_MAX);
    CHECK_OK(version_log_undo_info(store, &where, 0x99, 3, &undo_end)); /* committed: none */
    CHECK_EQ(version_undo_info_count(store), 2);
    CHECK_EQ(version_before_most(store, &where), 0);

#define TRACE "16 00 00 01 00 78 "
    struct log_reader *reader = open_reader();
    expect(reader, "08 01 01 20 06 00 00 00 ");
    expect(reader, TRACE);
    expect(reader,
           "24 01 01 01 99 00 00 00 ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff 06 00 00 00 "
           "02 03 00 05 08 00 00 00 28 00 00 00 1e 00 00 00 01 00 00 00 02 00 03 00 00 00 03 00 "
           "aa 6f 6c 64 ");
    expect(reader, "06 01 01 01 ");
    expect(reader, TRACE);
    expect(reader, "05 01 01 11 ");
    expect(reader, TRACE);
    expect(reader,
           "24 01 01 01 99 00 00 00 ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff 06 00 00 00 "
           "01 04 00 05 0c 00 00 00 28 00 00 00 1e 00 00 00 01 00 00 00 03 00 00 00 00 00 00 00 "
           "bb ");
    expect(reader,
           "27 01 01 01 07 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 06 00 00 00 "
           "02 00 00 05 10 00 00 00 28 00 00 00 1e 00 00 00 01 00 00 00 03 00 02 aa ");
    expect(reader, "07 01 01 01 ");
    expect(reader, TRACE);
    expect(reader, "08 02 01 10 06 00 00 00 ");
    expect(reader, TRACE);
    expect(reader, "09 02 01 00 08 00 00 00 ");
    expect(reader, "09 01 01 00 0c 00 00 00 ");
    log_reader_close(reader);
    sweep_all();
    trx_term(&trx);
    trx_term(&inner);
    world_end();
}

/* ---- redo ---- */

static void redo_add(struct trx *trx, enum version_oper oper, uint32_t rceid, uint8_t level,
                     uint8_t id)
{
    struct version_key where = node_key(&id);
    CHECK_OK(version_redo_add(trx, oper, rceid, level, &where, SLICE("xy", 2), 0, 0));
}

static void expect_newest(struct trx *trx, uint8_t level, uint32_t rceid)
{
    struct version_undo u;
    CHECK(version_newest(trx, level, &u));
    CHECK_EQ(u.rceid, rceid);
}

CASE(redo)
{
    struct trx trx;
    struct version_undo u;
    lgpos_t end = 0;
    uint8_t id = 9;
    struct version_key where = node_key(&id);
    world_begin(false, 1 << 20);
    trx_init(&trx, store, the_log, 5, false, NULL);
    redo_add(&trx, VERSION_INSERT, 4, 1, 1); /* its Begin0 was not seen */
    CHECK_EQ(versions_bytes(store), 0);
    trx_redo_begin0(&trx, 10, 1, LGPOS(3, 2, 1));
    CHECK_EQ(versions_oldest_begin(store), LGPOS(3, 2, 1));
    redo_add(&trx, VERSION_REPLACE, 0xfffffff0, 1, 9);
    trx_redo_level(&trx, 2);
    redo_add(&trx, VERSION_INSERT, 8, 2, 2);
    redo_add(&trx, VERSION_REPLACE, 0xfffffff8, 1, 9); /* late, of level 1 */
    redo_add(&trx, VERSION_REPLACE, 4, 2, 9);          /* late, of level 2 */
    redo_add(&trx, VERSION_REPLACE, 4, 2, 9);          /* known already */
    expect_newest(&trx, 0, 8);
    CHECK(version_redo_find(&trx, 4, &u) && u.rceid == 4 && u.where.key.p[0] == 9);
    CHECK(!version_redo_find(&trx, 12, &u));
    CHECK_EQ(version_log_undo_info(store, &where, 7, 0, &end), JET_errCannotLogDuringRecoveryRedo);
    version_redo_undo_logged(&trx, 0xfffffff0);
    version_redo_undo_logged(&trx, 0xfffffff8);
    version_redo_undo_logged(&trx, 4);
    version_redo_undo_logged(&trx, 0x1000);
    CHECK_OK(version_log_undo_info(store, &where, 7, 0, &end));
    trx_redo_rollback(&trx, 1); /* drops 4 and 8 */
    expect_newest(&trx, 0, 0xfffffff8);
    trx_redo_level(&trx, 3);
    redo_add(&trx, VERSION_DELETE, 16, 3, 3);
    trx_redo_level(&trx, 1);
    CHECK(!version_newest(&trx, 1, &u));
    expect_newest(&trx, 0, 16);
    versions_redo_done(store, 16, 10);

    /* what is left is undone as ever */
    for (int i = 0; i < 3; i++) {
        static const uint32_t want[] = {16, 0xfffffff8, 0xfffffff0};
        CHECK(version_newest(&trx, 0, &u));
        CHECK_EQ(u.rceid, want[i]);
        CHECK_EQ(u.level, 1);
        log_undo(&trx, &u);
        version_remove(store, u.version);
    }
    CHECK_OK(trx_rollback_done(&trx, 1));
    CHECK_EQ(versions_oldest_begin(store), LGPOS_MAX);

    trx_redo_begin0(&trx, 14, 2, LGPOS(3, 3, 1));
    for (uint32_t i = 1; i <= 1000; i++)
        redo_add(&trx, VERSION_REPLACE, 4 * (i * 7919 % 1009), 2, (uint8_t)i);
    for (uint32_t last = UINT32_MAX, i = 0; i < 500; i++) {
        CHECK(version_newest(&trx, 0, &u) && u.rceid < last);
        last = u.rceid;
        version_remove(store, u.version);
    }
    trx_redo_end(&trx);
    CHECK_EQ(versions_bytes(store), 0);
    trx_term(&trx);
    world_end();
}

/* ---- threads: the sum over all nodes is the same in every snapshot ---- */

#define ACCOUNTS 8
#define WRITERS 3
#define START_VALUE 1000
#define RUN_MS 600

static struct os_rwlock latches[ACCOUNTS];
static uint64_t balances[ACCOUNTS];
static _Atomic bool stopping;
static _Atomic uint64_t committed, conflicted, sums, swept, infos;

static bool pay(struct trx *trx, uint8_t id, int64_t amount, bool delta)
{
    struct version_key where = node_key(&id);
    struct buffer scratch = {0};
    struct slice seen;
    bool exists, done = false;
    os_rwlock_write(&latches[id]);
    if ((delta ? version_check_delta(trx, &where) : version_check_write(trx, &where)) >= 0) {
        CHECK_OK(version_see(store, trx, &where, false, SLICE_OF(balances[id]), &scratch, &exists,
                             &seen));
        CHECK(exists && (delta || load_u64(seen.p) == balances[id]));
        CHECK_OK(make_change(trx, delta ? VERSION_DELTA64 : VERSION_REPLACE, &where,
                             delta ? SLICE_EMPTY : SLICE_OF(balances[id]), amount));
        balances[id] += (uint64_t)amount;
        done = true;
    }
    os_rwlock_release(&latches[id]);
    buffer_free(&scratch);
    return done;
}

static void undo_all(struct trx *trx)
{
    struct version_undo u;
    while (version_newest(trx, 0, &u)) {
        uint8_t id = u.where.key.p[0];
        os_rwlock_write(&latches[id]);
        log_undo(trx, &u);
        balances[id] =
            u.oper == VERSION_REPLACE ? load_u64(u.before.p) : balances[id] - (uint64_t)u.delta;
        os_rwlock_release(&latches[id]);
        version_remove(store, u.version);
    }
    CHECK_OK(trx_rollback_done(trx, trx->level));
}

static void writer_thread(void *context)
{
    struct trx trx;
    unsigned long long rng = 77 + (uintptr_t)context * 1000;
    trx_init(&trx, store, the_log, (uint16_t)(10 + (uintptr_t)context), false, NULL);
    while (!atomic_load(&stopping)) {
        CHECK_OK(trx_begin(&trx));
        uint8_t from = (uint8_t)(ctest_random(&rng) % ACCOUNTS),
                to = (uint8_t)(ctest_random(&rng) % ACCOUNTS);
        int64_t amount = (int64_t)(ctest_random(&rng) % 50);
        bool delta = ctest_random(&rng) & 1;
        bool done = pay(&trx, from, -amount, delta);
        CHECK_OK(trx_begin(&trx));
        done = done && pay(&trx, to, amount, delta);
        if (!done || ctest_random(&rng) % 8 == 0) {
            undo_all(&trx);
            atomic_fetch_add(&conflicted, 1);
            continue;
        }
        commit(&trx);
        commit(&trx);
        atomic_fetch_add(&committed, 1);
    }
    trx_term(&trx);
}

static void reader_thread(void *context)
{
    struct trx trx;
    struct buffer scratch = {0};
    (void)context;
    trx_init(&trx, store, the_log, 20, false, NULL);
    while (!atomic_load(&stopping)) {
        uint64_t sum = 0;
        CHECK_OK(trx_begin(&trx));
        for (uint8_t id = 0; id < ACCOUNTS; id++) {
            struct version_key where = node_key(&id);
            struct slice seen;
            bool exists;
            os_rwlock_read(&latches[id]);
            CHECK_OK(version_see(store, &trx, &where, false, SLICE_OF(balances[id]), &scratch,
                                 &exists, &seen));
            sum += load_u64(seen.p);
            os_rwlock_release(&latches[id]);
        }
        commit(&trx);
        CHECK_EQ(sum, ACCOUNTS * START_VALUE);
        atomic_fetch_add(&sums, 1);
    }
    buffer_free(&scratch);
    trx_term(&trx);
}

static void sweep_thread(void *context)
{
    (void)context;
    while (!atomic_load(&stopping)) {
        atomic_fetch_add(&swept, sweep_all());
        versions_wait_work(store, 1);
    }
}

static void steal_thread(void *context)
{
    unsigned long long rng = 5;
    (void)context;
    while (!atomic_load(&stopping)) {
        uint8_t id = (uint8_t)(ctest_random(&rng) % ACCOUNTS);
        struct version_key where = node_key(&id);
        lgpos_t end = 0;
        os_rwlock_read(&latches[id]);
        CHECK_OK(version_log_undo_info(store, &where, 50, id, &end));
        os_rwlock_release(&latches[id]);
        os_yield();
    }
    atomic_store(&infos, version_undo_info_count(store));
}

/* Every UndoInfo lies inside its transaction and before the Undo of its version; commits are in
 * order. */
static void judge_log(void)
{
    struct log_reader *reader = open_reader();
    struct log_view view;
    bool open[64] = {0};
    uint32_t undone_last[64] = {0}, commit_last = 0;
    uint64_t undo_infos = 0;
    while (next_record(reader, &view)) {
        const uint8_t *p = view.bytes.p;
        uint16_t procid = load_u16(p + 1);
        CHECK(procid < 64 || p[0] == LOG_Trace);
        if (p[0] == LOG_Begin0) {
            CHECK(!open[procid]);
            open[procid] = true;
            undone_last[procid] = 0;
        } else if (p[0] == LOG_Commit0) {
            CHECK(open[procid] && load_u32(p + 4) == commit_last + 4);
            commit_last = load_u32(p + 4);
            open[procid] = false;
        } else if (p[0] == LOG_Rollback) {
            open[procid] = false;
        } else if (p[0] == LOG_Undo) {
            undone_last[procid] = load_u32(p + 32);
        } else if (p[0] == LOG_UndoInfo) {
            undo_infos++;
            CHECK(open[procid]);
            CHECK(undone_last[procid] == 0 || load_u32(p + 32) < undone_last[procid]);
        }
        if (commit_last == 0)
            commit_last = 4;
    }
    CHECK_EQ(undo_infos, version_undo_info_count(store));
    log_reader_close(reader);
}

CASE(threads)
{
    os_thread_fn fns[] = {writer_thread, writer_thread, writer_thread,
                          reader_thread, sweep_thread,  steal_thread};
    struct os_thread *threads[sizeof fns / sizeof fns[0]];
    world_begin(true, 64 << 20);
    atomic_store(&stopping, false);
    for (int i = 0; i < ACCOUNTS; i++) {
        os_rwlock_init(&latches[i], RANK_PAGE);
        balances[i] = START_VALUE;
    }
    for (uintptr_t i = 0; i < sizeof fns / sizeof fns[0]; i++)
        CHECK_OK(os_thread_start("test", fns[i], (void *)i, &threads[i]));
    for (int ms = 0; ms < RUN_MS; ms += 20) {
        bool worked;
        CHECK_OK(log_prepare_next(the_log, &worked));
        os_sleep_ms(20);
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < sizeof fns / sizeof fns[0]; i++)
        os_thread_join(threads[i]);
    atomic_fetch_add(&swept, sweep_all());
    uint64_t sum = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        sum += balances[i];
        os_rwlock_term(&latches[i]);
    }
    CHECK_EQ(sum, ACCOUNTS * START_VALUE);
    CHECK(committed > 20 && conflicted > 0 && sums > 20 && infos > 0);
    CHECK_EQ(swept, 2 * committed);
    judge_log();
    printf("commits %llu conflicts %llu sums %llu infos %llu\n", (unsigned long long)committed,
           (unsigned long long)conflicted, (unsigned long long)sums, (unsigned long long)infos);
    world_end();
}

/* ---- asking without a lock ---- */

/* One node, its page an atomic: a change moves page_version behind the publication, an undo before
 * the version goes, as in btree. */
static _Atomic uint32_t node_page, page_version;
static _Atomic uint64_t asked_none;

static void asking_thread(void *context)
{
    (void)context;
    uint8_t id = 1;
    struct version_key where = node_key(&id);
    while (!atomic_load(&stopping)) {
        uint32_t before = atomic_load(&page_version), seen = atomic_load(&node_page);
        if (before != atomic_load(&page_version)) /* no copy of one moment */
            continue;
        if (!version_none(store, &where) || atomic_load(&page_version) != before)
            continue;
        CHECK_EQ(seen, 0); /* nobody's uncommitted change */
        atomic_fetch_add(&asked_none, 1);
    }
}

static void change_node_page(struct trx *trx, uint32_t value)
{
    uint8_t id = 1;
    struct version_key where = node_key(&id);
    struct version *v;
    CHECK_OK(version_reserve(trx, VERSION_REPLACE, &where, SLICE_OF("before"), 0, 0, &v));
    version_publish(trx, v);
    atomic_fetch_add(&page_version, 1);
    atomic_store(&node_page, value);
    atomic_fetch_add(&page_version, 1);
}

/* The chain of a node never looks empty while a version is added to it or taken from it. */
CASE(none_beside_changes)
{
    world_begin(false, 1 << 20);
    atomic_store(&stopping, false);
    atomic_store(&asked_none, 0);
    struct os_thread *thread = NULL;
    CHECK_OK(os_thread_start("ask", asking_thread, NULL, &thread));
    struct trx trx;
    struct version_undo u;
    trx_init(&trx, store, the_log, 1, false, NULL);
    for (uint32_t round = 0; round < 20000 || atomic_load(&asked_none) == 0; round++) {
        CHECK_OK(trx_begin(&trx));
        for (uint32_t i = 1; i <= 3; i++)
            change_node_page(&trx, i);
        for (uint32_t i = 3; i > 0; i--) {
            CHECK(version_newest(&trx, 0, &u));
            atomic_fetch_add(&page_version, 1);
            atomic_store(&node_page, i - 1);
            atomic_fetch_add(&page_version, 1);
            version_remove(store, u.version);
        }
        CHECK_OK(trx_rollback_done(&trx, 1));
    }
    atomic_store(&stopping, true);
    os_thread_join(thread);
    trx_term(&trx);
    world_end();
}

CTEST_MAIN
