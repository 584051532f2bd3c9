#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "ctest.h"

/* ---- errors ---- */

static const struct {
    err_t err;
    const char *name;
} all_errors[] = {
#define JET_ERROR(name, value, category, text) {value, #name},
#define JET_ERROR_ALIAS(name, value)
#include "include/jet_errors.def"
#undef JET_ERROR
#undef JET_ERROR_ALIAS
};
enum { ERRORS = sizeof all_errors / sizeof all_errors[0] };

static err_t try_chain(err_t inner, bool *reached_end)
{
    err_t err = JET_errSuccess;
    *reached_end = false;
    TRY(inner);
    *reached_end = true;
out:
    return err;
}

CASE(err_try_lets_warnings_pass)
{
    bool end;
    CHECK_EQ(try_chain(JET_wrnBufferTruncated, &end), JET_errSuccess);
    CHECK(end);
    CHECK_EQ(try_chain(JET_errDiskFull, &end), JET_errDiskFull);
    CHECK(!end);
}

CASE(err_origin)
{
    CHECK_EQ(RAISE(JET_errDiskIO), JET_errDiskIO);
    int line = __LINE__ - 1;
    err_detail("%s page %d", "shop.edb", 17);
    const struct err_origin *o = err_last();
    CHECK_EQ(o->err, JET_errDiskIO);
    CHECK_EQ(o->line, line);
    CHECK(strstr(o->file, "test_base.c") != NULL);
    CHECK(strcmp(o->detail, "shop.edb page 17") == 0);
    err_detail("%02000d", 1); /* longer than the room: cut, not overrun */
    CHECK_EQ(strlen(o->detail), sizeof o->detail - 1);
    CHECK_EQ(RAISE(JET_errDiskFull), JET_errDiskFull);
    CHECK_EQ(o->detail[0], '\0');
    err_clear();
    CHECK_EQ(err_last()->err, 0);
}

CASE(err_strings_of_all)
{
    for (int i = 0; i < ERRORS; i++) {
        CHECK(strcmp(err_name(all_errors[i].err), all_errors[i].name) == 0);
        CHECK(strlen(err_text(all_errors[i].err)) > 5);
        CHECK(strlen(err_category(all_errors[i].err)) > 1);
        for (int j = 0; j < i; j++)
            CHECK(all_errors[i].err != all_errors[j].err);
    }
    CHECK(strcmp(err_name(-31337), "JET_err?") == 0);
    CHECK(strcmp(err_category(-31337), "Unknown") == 0);
}

static const char *const category_hints[] = {
#define ERR_HINT(name, hint)
#define CATEGORY_HINT(category, hint) hint,
#include "base/hints.def"
#undef ERR_HINT
#undef CATEGORY_HINT
};

static bool is_category_hint(const char *hint)
{
    for (size_t i = 0; i < sizeof category_hints / sizeof category_hints[0]; i++)
        if (strcmp(category_hints[i], hint) == 0)
            return true;
    return false;
}

CASE(err_hint_of_all)
{
    int own = 0;
    for (int i = 0; i < ERRORS; i++) {
        const char *hint = err_hint(all_errors[i].err);
        if (strlen(hint) < 20 || hint[strlen(hint) - 1] != '.')
            fprintf(stderr, "%s: bad hint \"%s\"\n", all_errors[i].name, hint);
        CHECK(strlen(hint) >= 20 && hint[strlen(hint) - 1] == '.');
        own += !is_category_hint(hint);
    }
    CHECK(own >= 200);
    CHECK(strlen(err_hint(-31337)) >= 20);
}

static const err_t hinted[] = {
#define ERR_HINT(name, hint) name,
#define CATEGORY_HINT(category, hint)
#include "base/hints.def"
#undef ERR_HINT
#undef CATEGORY_HINT
};

CASE(err_hints_are_unique)
{
    for (size_t i = 0; i < sizeof hinted / sizeof hinted[0]; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(hinted[i] != hinted[j]);
}

CASE(err_trap)
{
    pid_t child = fork();
    if (child == 0) {
        err_trap_on(JET_errDiskIO);
        (void)RAISE(JET_errDiskFull);
        (void)RAISE(JET_errDiskIO);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
}

/* ---- bytes, list, hash ---- */

CASE(buffer_grows)
{
    struct buffer b = {0};
    for (uint32_t i = 0; i < 1000; i++)
        CHECK_OK(buffer_append(&b, SLICE_OF(i)));
    CHECK_EQ(b.n, 4000);
    for (uint32_t i = 0; i < 1000; i++)
        CHECK_EQ(load_u32(b.p + 4 * i), i);
    CHECK_OK(buffer_append(&b, SLICE_EMPTY));
    CHECK_EQ(b.n, 4000);
    CHECK_OK(buffer_set(&b, SLICE(b.p + 4, 8)));
    CHECK_EQ(load_u32(b.p), 1);
    CHECK_EQ(b.n, 8);
    buffer_free(&b);
    CHECK(b.p == NULL);
}

CASE(slices_compare)
{
    struct slice abc = SLICE("abc", 3), abd = SLICE("abd", 3), ab = SLICE("ab", 2);
    CHECK(slice_compare(abc, abd) < 0 && slice_compare(abd, abc) > 0);
    CHECK(slice_compare(ab, abc) < 0 && slice_compare(SLICE_EMPTY, ab) < 0);
    CHECK(slice_equal(abc, SLICE("abc", 3)) && !slice_equal(abc, abd) &&
          slice_equal(SLICE_EMPTY, SLICE_EMPTY));
    CHECK_EQ(slice_common_prefix(abc, abd), 2);
    CHECK(slice_compare(SLICE("\xff", 1), SLICE("\x01", 1)) > 0);
}

/* Every length and place of the first difference, beside what a loop over bytes says; alone on the heap for a sanitizer. */
CASE(common_prefix_of_any_length)
{
    for (uint32_t n = 0; n <= 40; n++)
        for (uint32_t at = 0; at <= n; at++) {
            uint8_t *a = malloc(n + 1), *b = malloc(n + 4);
            CHECK(a != NULL && b != NULL);
            for (uint32_t i = 0; i < n; i++)
                a[i] = b[i] = (uint8_t)(31 * i);
            if (at < n)
                b[at] ^= 0x80;
            if (at + 2 < n) /* what follows does not count, whichever way it compares */
                b[at + 2] ^= 1;
            CHECK_EQ(slice_common_prefix(SLICE(a, n), SLICE(b, n)), at);
            CHECK_EQ(slice_common_prefix(SLICE(b, n + 3), SLICE(a, n)), at);
            free(a);
            free(b);
        }
}

CASE(bytes_of_integers)
{
    uint8_t b[9] = {0};
    store_be32(b + 1, 0x01020304u);
    CHECK(b[1] == 1 && b[4] == 4);
    CHECK_EQ(load_be32(b + 1), 0x01020304);
    store_u64(b + 1, 0x0102030405060708u);
    CHECK(b[1] == 8 && b[8] == 1);
    store_be64(b + 1, 0x0102030405060708u);
    CHECK(b[1] == 1 && b[8] == 8);
    CHECK(load_be64(b + 1) == 0x0102030405060708u);
}

CASE(list_order)
{
    struct item {
        int n;
        struct list link;
    } items[3] = {{.n = 0}, {.n = 1}, {.n = 2}};
    struct list head;
    list_init(&head);
    CHECK(list_is_empty(&head));
    list_add_back(&head, &items[1].link);
    list_add_back(&head, &items[2].link);
    list_add_front(&head, &items[0].link);
    int n = 0;
    LIST_FOR_EACH(link, &head)
    CHECK_EQ(LIST_ENTRY(link, struct item, link)->n, n++);
    CHECK_EQ(n, 3);
    LIST_FOR_EACH_SAFE(link, after, &head)
    list_remove(link);
    CHECK(list_is_empty(&head));
}

CASE(hash_spreads)
{
    uint32_t used[256] = {0};
    for (uint32_t i = 0; i < 25600; i++)
        used[hash_bytes(SLICE_OF(i), 7) % 256]++;
    for (int i = 0; i < 256; i++)
        CHECK(used[i] > 50 && used[i] < 150); /* mean 100, five sigma */
    CHECK(hash_bytes(SLICE("ab\0", 3), 0) != hash_bytes(SLICE("ab", 2), 0));
}

/* A segment's worth: each bit counts, a lost sector of one repeated byte too, and so does where a word stands. */
CASE(hash_of_a_segment)
{
    static uint8_t bytes[4096 - 36];
    memset(bytes, 0x74, sizeof bytes);
    struct slice all = SLICE(bytes, sizeof bytes);
    uint64_t whole = hash_bytes(all, 1);
    for (uint32_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(hash_bytes(all, 1) != whole);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint32_t at = 0; at < sizeof bytes; at += 512) {
        uint32_t n = (uint32_t)sizeof bytes - at < 512 ? (uint32_t)sizeof bytes - at : 512;
        memset(bytes + at, 0, n);
        CHECK(hash_bytes(all, 1) != whole);
        memset(bytes + at, 0x74, n);
    }
    bytes[0] = bytes[8] = 1;
    uint64_t first = hash_bytes(all, 1);
    bytes[8] = 0x74;
    bytes[32] = 1; /* the same lane */
    uint64_t second = hash_bytes(all, 1);
    CHECK(first != second);
    CHECK(hash_bytes(all, 2) != second);
}

/* ---- events ---- */

struct seen {
    int calls, id, params;
    enum event_severity severity;
    char instance[16], text[32], first[16], last[16];
};

static void see(void *context, const struct event *e)
{
    struct seen *s = context;
    s->calls++;
    s->id = e->id;
    s->severity = e->severity;
    s->params = e->param_count;
    snprintf(s->instance, sizeof s->instance, "%s", e->instance);
    snprintf(s->text, sizeof s->text, "%s", e->text);
    if (e->param_count > 0) {
        snprintf(s->first, sizeof s->first, "%s", e->params[0]);
        snprintf(s->last, sizeof s->last, "%s", e->params[e->param_count - 1]);
    }
}

CASE(event_reaches_sink)
{
    struct seen s = {0};
    event_report(1, EVENT_INFO, "x", "dropped", NULL);
    event_set_sink(see, &s);
    event_report(220, EVENT_WARNING, "inst", "copy begins", "a", "b", "c", NULL);
    CHECK_EQ(s.calls, 1);
    CHECK_EQ(s.id, 220);
    CHECK_EQ(s.severity, EVENT_WARNING);
    CHECK_EQ(s.params, 3);
    CHECK(strcmp(s.instance, "inst") == 0 && strcmp(s.text, "copy begins") == 0);
    CHECK(strcmp(s.first, "a") == 0 && strcmp(s.last, "c") == 0);
    event_report(221, EVENT_INFO, NULL, "none", NULL);
    CHECK(s.params == 0 && s.instance[0] == '\0');
    event_report(222, EVENT_INFO, "", "many", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10",
                 NULL);
    CHECK_EQ(s.params, EVENT_PARAMS_MAX);
    event_set_sink(NULL, NULL);
    event_report(223, EVENT_INFO, "", "dropped", NULL);
    CHECK_EQ(s.calls, 3);
}

static void replace_myself(void *context, const struct event *e)
{
    (void)e;
    event_set_sink(see, context);
    event_report(2, EVENT_INFO, "", "from the sink", NULL);
}

CASE(event_sink_may_replace_itself)
{
    struct seen s = {0};
    event_set_sink(replace_myself, &s);
    event_report(1, EVENT_INFO, "", "first", NULL);
    CHECK_EQ(s.calls, 1);
    CHECK_EQ(s.id, 2);
    event_set_sink(NULL, NULL);
}

/* Two sinks, each valid only while it is set: a call after event_set_sink returned would see alive
 * == 0. */
struct target {
    _Atomic int alive;
    _Atomic int calls;
};
static _Atomic int late_calls, stop_reporting;

static void hit_target(void *context, const struct event *e)
{
    struct target *t = context;
    (void)e;
    if (!t->alive)
        late_calls++;
    t->calls++;
    usleep(50);
    if (!t->alive)
        late_calls++;
}

static void *report_on(void *arg)
{
    (void)arg;
    while (!stop_reporting)
        event_report(3, EVENT_INFO, "", "tick", "p", NULL);
    return NULL;
}

static void wait_a_little(void) { usleep(20); }

CASE(event_set_sink_waits_for_the_old_one)
{
    struct target targets[2] = {0};
    pthread_t threads[3];
    event_on_wait(wait_a_little);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, report_on, NULL) == 0);
    for (int i = 0; i < 500; i++) {
        struct target *t = &targets[i % 2];
        t->alive = 1;
        event_set_sink(hit_target, t);
        targets[1 - i % 2].alive = 0;
        usleep(100);
    }
    event_set_sink(NULL, NULL);
    targets[0].alive = targets[1].alive = 0;
    stop_reporting = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    event_on_wait(NULL);
    CHECK_EQ(late_calls, 0);
    CHECK(targets[0].calls > 0 && targets[1].calls > 0);
}

/* ---- assertions ---- */

static int status_of_child(void (*fn)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        CHECK(freopen("/dev/null", "w", stderr) != NULL);
        fn();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void enforce_false(void) { ENFORCE(1 == 2); }

static void assert_false(void) { ASSERT(1 == 2); }

CASE(enforce_aborts)
{
    int status = status_of_child(enforce_false);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = status_of_child(assert_false);
#ifdef PYJET_DEBUG
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#else
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
}

CTEST_MAIN
