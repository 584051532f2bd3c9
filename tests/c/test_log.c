/* The log room: what is appended and flushed is read back, and what lies on disk is judged rightly. */
#include <stdatomic.h>
#include <unistd.h>

#include "ctest.h"
#include "log/log.h"

#define KIB 1024u
static char folder[OS_PATH_MAX];

/* ---- a fresh folder a case; kept with LOG_TEST_KEEP=dir for other judges ---- */

static err_t unlink_entry(void *context, const char *name, bool is_dir)
{
    char path[OS_PATH_MAX];
    (void)context;
    if (is_dir)
        return JET_errSuccess;
    TRY_RETURN(os_join(path, sizeof path, folder, name));
    return os_unlink(path);
}

static void fresh_folder(const char *name)
{
    const char *root = getenv("LOG_TEST_KEEP");
    CHECK(snprintf(folder, sizeof folder, "%s/pyjet_test_log_%s", root != NULL ? root : "/tmp", name) > 0);
    if (root == NULL)
        snprintf(folder + strlen(folder), 32, "_%d", os_process_id());
    CHECK_OK(os_dir_create_path(folder));
    CHECK_OK(os_dir_list(folder, unlink_entry, NULL));
}

static void drop_folder(void)
{
    if (getenv("LOG_TEST_KEEP") != NULL)
        return;
    CHECK_OK(os_dir_list(folder, unlink_entry, NULL));
    CHECK_OK(os_dir_remove(folder));
}

static const char *path_of(const char *name)
{
    static char path[OS_PATH_MAX];
    CHECK_OK(os_join(path, sizeof path, folder, name));
    return path;
}

static struct log *make_log(uint32_t file_size)
{
    struct log *log;
    struct log_config config = {.log_dir = folder, .system_dir = folder, .base_name = "edb", .file_size = file_size,
                                .page_size = 4096, .enabled = true, .legacy_names = 3, .instance_name = "test"};
    CHECK_OK(log_create(&config, &log));
    return log;
}

static struct log *start_new(uint32_t file_size)
{
    struct log *log = make_log(file_size);
    CHECK_OK(log_start_new(log, 1));
    return log;
}

static void stop(struct log *log)
{
    CHECK_OK(log_stop(log));
    log_destroy(log);
}

/* ---- records: a Trace whose text begins with a number and goes on in a pattern of it ---- */

enum { TRACE_HEAD = 5, TRACE_MIN = 13, BODY_MAX = 65535 };
static _Thread_local uint8_t trace_bytes[TRACE_HEAD + BODY_MAX];

static void fill_trace(uint8_t *to, uint64_t number, uint32_t size)
{
    memset(to, (int)(number * 7 + 1), size);
    to[0] = LOG_Trace;
    store_u16(to + 1, 3);
    store_u16(to + 3, (uint16_t)(size - TRACE_HEAD));
    store_u64(to + TRACE_HEAD, number);
}

static struct log_record trace_record(uint64_t number, uint32_t size)
{
    fill_trace(trace_bytes, number, size);
    return (struct log_record){.part_count = 2, .head = trace_bytes,
                               .part = {SLICE(trace_bytes, TRACE_MIN), SLICE(trace_bytes + TRACE_MIN, size - TRACE_MIN)}};
}

static lgpos_t append_trace(struct log *log, uint64_t number, uint32_t size, lgpos_t *at)
{
    struct log_record r = trace_record(number, size);
    struct log_stamp stamp = {0};
    CHECK_OK(log_append(log, &r, 1, &stamp));
    CHECK(stamp.first == stamp.last && stamp.end > stamp.first);
    if (at != NULL)
        *at = stamp.first;
    return stamp.end;
}

/* ---- reading back ---- */

static struct log_reader *open_mode(lgpos_t start, enum log_read_mode mode)
{
    struct log_reader *r;
    struct log_reader_config c = {.dirs = {folder}, .dir_count = 1, .base_name = "edb", .mode = mode};
    CHECK_OK(log_reader_open(&c, start, &r));
    return r;
}

static struct log_reader *open_reader(lgpos_t start)
{
    return open_mode(start, LOG_READ_SOFT);
}

/* The next record that is no filler. */
static err_t next_record(struct log_reader *r, struct log_view *v, bool *end)
{
    do
        TRY_RETURN(log_reader_next(r, v, end));
    while (!*end && v->bytes.p[0] == LOG_NOP2);
    return JET_errSuccess;
}

static bool is_trace(const struct log_view *v, uint64_t number)
{
    static uint8_t want[TRACE_HEAD + BODY_MAX];
    if (v->bytes.n < TRACE_MIN || v->bytes.n > sizeof want)
        return false;
    fill_trace(want, number, v->bytes.n);
    return slice_equal(v->bytes, SLICE(want, v->bytes.n));
}

static uint64_t trace_number(const struct log_view *v)
{
    return v->bytes.n >= TRACE_MIN ? load_u64(v->bytes.p + TRACE_HEAD) : UINT64_MAX;
}

/* Reads to the end: traces first, first + 1, ... Returns how many; *result is how reading ended. */
static uint64_t count_traces(struct log_reader *r, uint64_t first, err_t *result)
{
    struct log_view v;
    bool end = false;
    uint64_t n = 0;
    for (;; n++) {
        *result = next_record(r, &v, &end);
        if (*result < 0 || end)
            return n;
        CHECK(is_trace(&v, first + n));
    }
}

static uint64_t count_all(uint64_t first, err_t *result)
{
    struct log_reader *r = open_reader(LGPOS_MIN);
    uint64_t n = count_traces(r, first, result);
    log_reader_close(r);
    return n;
}

/* ---- files as bytes ---- */

static uint8_t *load_file(const char *name, uint64_t *size)
{
    struct os_file *f;
    CHECK_OK(os_file_open(path_of(name), OS_READ, &f));
    CHECK_OK(os_file_size(f, size));
    uint8_t *bytes = malloc(*size);
    CHECK(bytes != NULL);
    CHECK_OK(os_file_read(f, 0, bytes, *size));
    os_file_close(f);
    return bytes;
}

static void store_file(const char *name, const uint8_t *bytes, uint64_t size)
{
    struct os_file *f;
    CHECK_OK(os_file_open(path_of(name), OS_WRITE | OS_CREATE | OS_TRUNCATE, &f));
    CHECK_OK(os_file_write(f, 0, bytes, size));
    os_file_close(f);
}

static void flip_bit(const char *name, uint64_t offset, unsigned bits)
{
    uint64_t size;
    uint8_t *bytes = load_file(name, &size);
    bytes[offset] ^= (uint8_t)bits;
    store_file(name, bytes, size);
    free(bytes);
}

/* ---- cases ---- */

CASE(round_trip)
{
    enum { COUNT = 3000 };
    static lgpos_t at[COUNT];
    unsigned long long seed = ctest_seed();
    fresh_folder("round_trip");
    struct log *log = start_new(64 * KIB);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t dice = ctest_random(&seed) % 100;
        uint32_t size = TRACE_MIN + (uint32_t)(ctest_random(&seed) % (dice < 80 ? 200 : dice < 97 ? 5000 : 30000));
        lgpos_t end = append_trace(log, i, size, &at[i]);
        if (dice % 3 == 0) {
            CHECK_OK(log_flush(log, end));
            CHECK(log_flushed(log) >= end);
        }
        bool worked;
        if (dice % 7 == 0)
            CHECK_OK(log_prepare_next(log, &worked));
    }
    CHECK(log_current_generation(log) > 10);
    uint32_t last = log_current_generation(log);
    stop(log);

    struct log_survey survey;
    CHECK_OK(log_survey(folder, "EDB", &survey));
    CHECK(survey.any && survey.current && !survey.gap && survey.gen_first == 1 && survey.gen_last == last);

    struct log_reader *r = open_reader(LGPOS_MIN);
    struct log_view v;
    bool end;
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_OK(next_record(r, &v, &end));
        CHECK(!end && is_trace(&v, i));
        CHECK_EQ(v.at, at[i]);
    }
    CHECK_OK(next_record(r, &v, &end));
    CHECK(end);
    bool in_current;
    CHECK(log_reader_end(r, &in_current) > at[COUNT - 1] && in_current);
    log_reader_close(r);

    /* reading from any position begins at that record */
    for (uint64_t i = 7; i < COUNT; i += 311) {
        r = open_reader(at[i]);
        CHECK_OK(next_record(r, &v, &end));
        CHECK(!end && is_trace(&v, i) && v.at == at[i]);
        log_reader_close(r);
    }
    drop_folder();
}

/* n traces of `size` bytes, each flushed alone when `each`; stops the log. */
static void write_traces(struct log *log, uint64_t first, uint64_t n, uint32_t size, bool each)
{
    for (uint64_t i = 0; i < n; i++) {
        lgpos_t end = append_trace(log, first + i, size, NULL);
        if (each)
            CHECK_OK(log_flush(log, end));
    }
    stop(log);
}

CASE(flipped_bits)
{
    err_t err;
    uint64_t size, seed = ctest_seed();
    unsigned long long random = seed;
    fresh_folder("flipped_bits");
    write_traces(start_new(64 * KIB), 0, 10, 100, true); /* segments 1..10, one record each */
    uint8_t *good = load_file("edb.log", &size);
    for (int round = 0; round < 40; round++) {
        uint32_t segment = 1 + (uint32_t)(ctest_random(&random) % 10), byte = 8 + (uint32_t)(ctest_random(&random) % 4088);
        /* one bit: corrected, nothing is lost */
        flip_bit("edb.log", segment * LOG_SEGMENT + byte, 1u << (ctest_random(&random) & 7));
        CHECK_EQ(count_all(0, &err), 10);
        CHECK_OK(err);
        store_file("edb.log", good, size);
        /* two bits: the last two segments may be a torn write; behind an older one lies the end of a later batch */
        flip_bit("edb.log", segment * LOG_SEGMENT + byte, 3u << (ctest_random(&random) % 7));
        CHECK_EQ(count_all(0, &err), segment - 1);
        CHECK_EQ(err, segment >= 9 ? JET_errSuccess : JET_errLogFileCorrupt);
        store_file("edb.log", good, size);
    }
    flip_bit("edb.log", 700, 1); /* the header has no second copy */
    struct log_reader *r;
    struct log_reader_config c = {.dirs = {folder}, .dir_count = 1, .base_name = "edb"};
    CHECK_EQ(log_reader_open(&c, LGPOS_MIN, &r), JET_errLogFileCorrupt);
    CHECK(r == NULL);
    free(good);
    drop_folder();
}

CASE(position_of_any_record)
{
    struct log_view v;
    bool end;
    fresh_folder("position");
    write_traces(start_new(64 * KIB), 0, 30, 3000, true);
    struct log_reader *r = open_reader(LGPOS(2, 0, 0));
    CHECK_OK(next_record(r, &v, &end));
    CHECK(!end && LGPOS_GEN(v.at) == 2 && trace_number(&v) > 0 && is_trace(&v, trace_number(&v)));
    log_reader_close(r);
    drop_folder();
}

CTEST_MAIN
