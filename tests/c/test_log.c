/* The log room: what is appended and flushed is read back, and what lies on disk is judged rightly.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "folder.h"
#include "log/log.h"

#define KIB 1024u

/* ---- a fresh folder a case; kept with LOG_TEST_KEEP=dir for other judges ---- */

static void fresh_folder(const char *name)
{
    const char *root = getenv("LOG_TEST_KEEP");
    if (root == NULL) {
        folder_begin("log");
        return;
    }
    snprintf(folder, sizeof folder, "%.800s/pyjet_test_log_%s", root, name);
    CHECK_OK(os_dir_create_path(folder));
    CHECK_OK(os_dir_list(folder, folder_unlink, NULL));
}

static void drop_folder(void)
{
    if (getenv("LOG_TEST_KEEP") == NULL)
        folder_end();
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
    struct log_config config = {.log_dir = folder,
                                .system_dir = folder,
                                .base_name = "edb",
                                .file_size = file_size,
                                .page_size = 4096,
                                .enabled = true,
                                .legacy_names = 3,
                                .instance_name = "test"};
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

/* ---- records: a Trace whose text begins with a number and goes on in noise that follows from it.
 * Noise, since the ECC checksum does not see whether a sector of one repeated byte is there or is
 * zero. ---- */

enum { TRACE_HEAD = 5, TRACE_MIN = 13, BODY_MAX = 65535 };
static _Thread_local uint8_t trace_bytes[TRACE_HEAD + BODY_MAX];

static void fill_trace(uint8_t *to, uint64_t number, uint32_t size)
{
    unsigned long long noise = number * 0x9E3779B97F4A7C15ull + 1;
    for (uint32_t i = 0; i < size; i++)
        to[i] = (uint8_t)(i % 8 == 0 ? ctest_random(&noise) : noise >> (i % 8 * 8));
    to[0] = LOG_Trace;
    store_u16(to + 1, 3);
    store_u16(to + 3, (uint16_t)(size - TRACE_HEAD));
    store_u64(to + TRACE_HEAD, number);
}

static struct log_record trace_record(uint64_t number, uint32_t size)
{
    fill_trace(trace_bytes, number, size);
    return (struct log_record){
        .part_count = 2,
        .head = trace_bytes,
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
    struct log_reader_config c = {
        .dirs = {folder}, .dir_count = 1, .base_name = "edb", .mode = mode};
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
        uint32_t size = TRACE_MIN + (uint32_t)(ctest_random(&seed) % (dice < 80   ? 200
                                                                      : dice < 97 ? 5000
                                                                                  : 30000));
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
    CHECK(survey.any && survey.current && !survey.gap && survey.gen_first == 1 &&
          survey.gen_last == last);

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
        uint32_t segment = 1 + (uint32_t)(ctest_random(&random) % 10),
                 byte = 8 + (uint32_t)(ctest_random(&random) % 4088);
        /* one bit: corrected, nothing is lost */
        flip_bit("edb.log", segment * LOG_SEGMENT + byte, 1u << (ctest_random(&random) & 7));
        CHECK_EQ(count_all(0, &err), 10);
        CHECK_OK(err);
        store_file("edb.log", good, size);
        /* two bits: the last two segments may be a torn write; behind an older one lies the end of
         * a later batch */
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

CASE(fragments_of_every_size)
{
    err_t err;
    uint64_t n = 0;
    fresh_folder("fragments");
    struct log *log = start_new(256 * KIB);
    for (uint32_t size = TRACE_MIN; size < 4200; size++)
        append_trace(log, n++, size, NULL);
    for (uint32_t size = 4200; size < 13000; size += 53)
        append_trace(log, n++, size, NULL);
    for (uint32_t size = 65535; size > 30000; size -= 3001)
        append_trace(log, n++, size, NULL);
    stop(log);
    CHECK_EQ(count_all(0, &err), n);
    CHECK_OK(err);
    drop_folder();
}

CASE(every_room_at_a_segment_end)
{
    /* one record leaves `room` bytes in a segment, the next ones must go where the format says */
    err_t err;
    uint64_t n = 0;
    fresh_folder("rooms");
    struct log *log = start_new(64 * KIB);
    for (uint32_t room = 0; room < 80; room++) {
        append_trace(log, n++, LOG_SEGMENT - LOG_SEGMENT_HEAD - room, NULL);
        lgpos_t end = append_trace(log, n++, 31 + room % 3, NULL);
        if (room % 2 == 0)
            CHECK_OK(log_flush(log, end));
        CHECK_OK(log_flush_all(log));
    }
    stop(log);
    CHECK_EQ(count_all(0, &err), n);
    CHECK_OK(err);
    drop_folder();
}

/* ---- many threads ---- */

enum { THREADS = 4, EACH = 400 };
struct worker {
    struct log *log;
    uint64_t id;
    _Atomic dbtime_t *dbtime;
    _Atomic uint64_t *commit;
    lgpos_t durable[EACH];
};

static void see_commit(void *context, uint64_t number)
{
    uint64_t *last = context; /* under the append lock: no race */
    CHECK(number == *last + 4);
    *last = number;
}
static uint64_t commit_seen;

/* A page record's head and a Commit0, by two calls: Delete (44 bytes) with the dbtime at 8. */
static void commit_one(struct worker *w, uint64_t i)
{
    uint8_t deletes[2][44] = {{LOG_Delete}, {LOG_Delete}}, commit[8] = {LOG_Commit0};
    struct log_record pair[2] = {{1, {SLICE_OF(deletes[0])}, deletes[0], 8, 0},
                                 {1, {SLICE_OF(deletes[1])}, deletes[1], 8, 0}};
    struct log_record last = {1, {SLICE_OF(commit)}, commit, 0, 4};
    struct log_stamp stamp = {.dbtime_counter = w->dbtime};
    for (int k = 0; k < 2; k++) {
        store_u16(deletes[k] + 1, (uint16_t)w->id);
        store_u32(deletes[k] + 4, (uint32_t)i);
    }
    CHECK_OK(log_append(w->log, pair, 2, &stamp));
    CHECK(stamp.dbtime == load_u64(deletes[0] + 8) && stamp.dbtime == load_u64(deletes[1] + 8));
    store_u16(commit + 1, (uint16_t)w->id);
    stamp = (struct log_stamp){
        .commit_counter = w->commit, .on_commit = see_commit, .context = &commit_seen};
    CHECK_OK(log_append(w->log, &last, 1, &stamp));
    CHECK((uint32_t)stamp.commit_number == load_u32(commit + 4));
    CHECK_OK(log_flush(w->log, stamp.end));
    CHECK(log_flushed(w->log) >= stamp.end);
    w->durable[i] = stamp.end;
}

static void work(void *context)
{
    struct worker *w = context;
    for (uint64_t i = 0; i < EACH; i++)
        commit_one(w, i);
}

static atomic_bool prepare_stop;
static void prepare(void *context)
{
    struct log *log = context;
    bool worked;
    while (!atomic_load(&prepare_stop)) {
        CHECK_OK(log_prepare_next(log, &worked));
        log_wait_roll(log, 5);
    }
}

/* Each worker's records in its order, dbtimes rising in the log, pairs together. */
static void check_workers_log(void)
{
    uint64_t seen[THREADS] = {0}, dbtime = DBTIME_START, commits = 0, trx = 0;
    struct log_reader *r = open_reader(LGPOS_MIN);
    struct log_view v;
    bool end;
    for (;;) {
        CHECK_OK(next_record(r, &v, &end));
        if (end)
            break;
        unsigned id = load_u16(v.bytes.p + 1);
        CHECK(id < THREADS);
        if (v.bytes.p[0] == LOG_Commit0) {
            CHECK_EQ(load_u32(v.bytes.p + 4), trx + 4);
            trx += 4;
            commits++;
            CHECK(seen[id] % 3 == 2);
        } else {
            CHECK_EQ(load_u32(v.bytes.p + 4), seen[id] / 3);
            CHECK_EQ(load_u64(v.bytes.p + 8), dbtime + (seen[id] % 3 == 0));
            dbtime = load_u64(v.bytes.p + 8);
        }
        seen[id]++;
    }
    CHECK_EQ(commits, THREADS * EACH);
    log_reader_close(r);
}

CASE(threads_share_flushes)
{
    static struct worker workers[THREADS];
    static _Atomic dbtime_t dbtime;
    static _Atomic uint64_t commit;
    struct os_thread *thread[THREADS], *preparer;
    fresh_folder("threads");
    atomic_store(&dbtime, DBTIME_START);
    struct log *log = start_new(64 * KIB);
    CHECK_OK(os_thread_start("prepare", prepare, log, &preparer));
    struct os_fault slow = {.ops = 1u << OS_OP_SYNC, .path_part = "edb.log", .count = 10, .delay_ms = 20}; /* a memory disk's sync is over at once */
    os_fault_set(&slow);
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.log = log, .id = i, .dbtime = &dbtime, .commit = &commit};
        CHECK_OK(os_thread_start("worker", work, &workers[i], &thread[i]));
    }
    for (int i = 0; i < THREADS; i++)
        os_thread_join(thread[i]);
    CHECK(os_fault_hits() == 10);
    os_fault_set(NULL);
    atomic_store(&prepare_stop, true);
    os_thread_join(preparer);
    CHECK(log_flush_count(log) < THREADS * EACH);
    CHECK_EQ(commit_seen, atomic_load(&commit));
    CHECK_EQ(atomic_load(&dbtime), DBTIME_START + THREADS * EACH);
    printf("%d commits, %llu syncs\n", THREADS * EACH, (unsigned long long)log_flush_count(log));
    stop(log);
    check_workers_log();
    drop_folder();
}

static atomic_bool flusher_stop;
static void flush_full(void *context)
{
    struct log *log = context;
    while (!atomic_load(&flusher_stop)) {
        log_wait_full(log, 60000);
        CHECK_OK(log_flush_full(log));
    }
}

CASE(full_segments_go_out_unasked)
{
    err_t err;
    struct os_thread *flusher;
    fresh_folder("unasked");
    struct log *log = start_new(1024 * KIB);
    for (uint64_t i = 0; i < 60; i++)
        (void)append_trace(log, i, 2500, NULL);
    CHECK_OK(log_flush_full(log));
    CHECK_EQ(log_flush_count(log), 0); /* too little for a write of its own */
    CHECK_OK(os_thread_start("flusher", flush_full, log, &flusher));
    for (uint64_t i = 60; i < 120; i++)
        (void)append_trace(log, i, 2500, NULL);
    for (int ms = 0; log_flushed(log) < LGPOS(1, 65, 0) && ms < 20000; ms++)
        os_sleep_ms(1);
    CHECK(log_flushed(log) >= LGPOS(1, 65, 0));
    CHECK(log_flushed(log) < log_tail(log)); /* nobody waits for the segment that is being filled */
    atomic_store(&flusher_stop, true);
    uint64_t begun = os_now_ns();
    log_ring(log);
    os_thread_join(flusher);
    CHECK(os_now_ns() - begun < 30 * UINT64_C(1000000000)); /* it does not sleep its minute out */
    stop(log);
    CHECK_EQ(count_all(0, &err), 120);
    CHECK_OK(err);
    drop_folder();
}

/* ---- torn tails ---- */

static lgpos_t end_of_log(err_t *err)
{
    struct log_reader *r = open_reader(LGPOS_MIN);
    struct log_view v;
    bool end = false, in_current;
    do
        *err = log_reader_next(r, &v, &end);
    while (*err >= 0 && !end);
    lgpos_t at = log_reader_end(r, &in_current);
    log_reader_close(r);
    return at;
}

/* As recovery does: read to the end, go on there with RecoveryUndo2, then `more` traces. */
static void restart_and_write(uint64_t first, uint64_t more)
{
    err_t err;
    lgpos_t end = end_of_log(&err);
    CHECK_OK(err);
    struct log *log = make_log(64 * KIB);
    CHECK_OK(log_start_append(log, end));
    uint8_t undo[9] = {LOG_RecoveryUndo2};
    struct log_record r = {1, {SLICE_OF(undo)}, undo, 0, 0};
    struct log_stamp stamp = {0};
    CHECK_OK(log_append(log, &r, 1, &stamp));
    CHECK(stamp.first >= end);
    write_traces(log, first, more, 500, true);
}

/* Traces from 0 on, with RecoveryUndo2 allowed between. Strict: no damage may be left. */
static uint64_t count_restarted(enum log_read_mode mode)
{
    struct log_reader *r = open_mode(LGPOS_MIN, mode);
    struct log_view v;
    bool end;
    uint64_t n = 0;
    for (;;) {
        CHECK_OK(next_record(r, &v, &end));
        if (end)
            break;
        if (v.bytes.p[0] != LOG_RecoveryUndo2)
            CHECK(is_trace(&v, n++));
    }
    log_reader_close(r);
    return n;
}

CASE(torn_batches)
{
    enum { DURABLE = 3, BATCH = 6, SECTOR = 512 };
    uint64_t size;
    unsigned long long seed = ctest_seed();
    fresh_folder("torn");
    struct log *log = start_new(64 * KIB);
    lgpos_t end = 0;
    for (uint64_t i = 0; i < DURABLE; i++)
        CHECK_OK(log_flush(log, append_trace(log, i, 700, NULL)));
    uint8_t *before = load_file("edb.log", &size);
    for (uint64_t i = 0; i < 10; i++)
        end = append_trace(log, DURABLE + i, 2200, NULL); /* crosses segments, in one batch */
    CHECK_OK(log_flush(log, end));
    CHECK_EQ(LGPOS_SEC(log_flushed(log)), 1 + DURABLE + BATCH);
    uint8_t *after = load_file("edb.log", &size), *torn = malloc(size);
    stop(log);
    for (unsigned round = 0; round < 64 + 100; round++) {
        memcpy(torn, before, size);
        for (uint32_t k = 0; k < BATCH * LOG_SEGMENT / SECTOR; k++) {
            bool kept = round < 64 ? (round >> (k * SECTOR / LOG_SEGMENT) & 1) != 0
                                   : ctest_random(&seed) % 8 != 0;
            size_t at = (1 + DURABLE) * LOG_SEGMENT + k * SECTOR;
            if (kept)
                memcpy(torn + at, after + at, SECTOR);
        }
        store_file("edb.log", torn, size);
        err_t err;
        uint64_t n = count_all(0, &err);
        CHECK_OK(err);
        CHECK(n >= DURABLE && n <= DURABLE + 10);
        if (round == 63)
            CHECK_EQ(n, DURABLE + 10);
        restart_and_write(n, 4);
        CHECK_EQ(count_restarted(LOG_READ_STRICT), n + 4);
    }
    free(before);
    free(after);
    free(torn);
    drop_folder();
}

/* A batch of two records; the first has, in a sector of its segment, `words` words with the same one bit set, else zeros. */
static void write_sparse_batch(int words)
{
    enum { DURABLE = 3, AT = 1024, SECTOR = 512 };
    struct log *log = start_new(64 * KIB);
    for (uint64_t i = 0; i < DURABLE; i++)
        CHECK_OK(log_flush(log, append_trace(log, i, 700, NULL)));
    struct log_record r = trace_record(DURABLE, 2200);
    memset(trace_bytes + AT - LOG_SEGMENT_HEAD, 0, SECTOR);
    for (int i = 0; i < words; i++)
        trace_bytes[AT - LOG_SEGMENT_HEAD + 4 * i] = 0x10;
    struct log_stamp stamp = {0};
    CHECK_OK(log_append(log, &r, 1, &stamp));
    CHECK_EQ(LGPOS_SEC(stamp.first), 1 + DURABLE);
    CHECK_OK(log_flush(log, append_trace(log, DURABLE + 1, 4000, NULL)));
    stop(log);
}

/* To ESE's checksum a lost sector looks like one flipped bit (3 words), or like nothing (4). */
CASE(torn_segment_that_only_looks_sound)
{
    enum { SEGMENT = 4 * LOG_SEGMENT };
    for (int words = 3; words <= 4; words++) {
        uint64_t size;
        err_t err;
        fresh_folder("looks");
        write_sparse_batch(words);
        CHECK_OK(log_verify_file(path_of("edb.log"), 1));
        uint8_t *bytes = load_file("edb.log", &size);
        uint8_t copy[LOG_SEGMENT];
        memset(bytes + SEGMENT + 1024, 0, 512); /* the power cut */
        memcpy(copy, bytes + SEGMENT, LOG_SEGMENT);
        uint64_t stored = load_u64(copy), computed = checksum_ecc(copy, LOG_SEGMENT, 4, true);
        CHECK((stored == computed) == (words == 4));
        CHECK(words == 4 || checksum_ecc_correct(copy, LOG_SEGMENT, stored, computed));
        store_file("edb.log", bytes, size);
        CHECK_EQ(log_verify_file(path_of("edb.log"), 1), JET_errLogReadVerifyFailure);
        CHECK_EQ(count_all(0, &err), 3);
        CHECK_OK(err);
        restart_and_write(3, 4);
        CHECK_EQ(count_restarted(LOG_READ_STRICT), 7);
        free(bytes);
        drop_folder();
    }
}

CASE(windows_shadow)
{
    /* The last segment partial, its copy behind it: the segment itself damaged is read from the
     * copy. */
    err_t err;
    uint64_t size;
    fresh_folder("shadow");
    write_traces(start_new(64 * KIB), 0, 5, 300, true);
    uint8_t *bytes = load_file("edb.log", &size);
    memcpy(bytes + 6 * LOG_SEGMENT, bytes + 5 * LOG_SEGMENT, LOG_SEGMENT);
    store_file("edb.log", bytes, size);
    CHECK_EQ(count_all(0, &err), 5);
    CHECK_OK(err);
    memset(bytes + 5 * LOG_SEGMENT + 100, 0xEE, 1000);
    store_file("edb.log", bytes, size);
    CHECK_EQ(count_all(0, &err), 5);
    CHECK_OK(err);
    struct log_reader *r = open_mode(LGPOS_MIN, LOG_READ_STRICT);
    CHECK_EQ(count_traces(r, 0, &err), 4);
    CHECK_EQ(err, JET_errLogTornWriteDuringHardRestore);
    log_reader_close(r);
    restart_and_write(5, 3);
    CHECK_EQ(count_restarted(LOG_READ_STRICT), 8);
    free(bytes);
    drop_folder();
}

/* ---- restarts ---- */

CASE(restarts_at_every_fill)
{
    uint64_t n = 0;
    err_t err;
    fresh_folder("restarts");
    stop(start_new(64 * KIB));
    for (uint64_t i = 0; i < 60; i++) { /* ends in every segment, full files among them */
        restart_and_write(n, i % 7);
        n += i % 7;
    }
    CHECK_EQ(count_restarted(LOG_READ_STRICT), n);
    CHECK(LGPOS_GEN(end_of_log(&err)) > 5);
    drop_folder();
}

CASE(crash_between_the_renames)
{
    fresh_folder("renames");
    write_traces(start_new(64 * KIB), 0, 10, 500, true);
    char from[OS_PATH_MAX], to[OS_PATH_MAX];
    folder_join(from, "edb.log");
    folder_join(to, "edb00001.log");
    CHECK_OK(os_rename(from, to));
    struct log_survey survey;
    CHECK_OK(log_survey(folder, "edb", &survey));
    CHECK(survey.any && !survey.current && survey.gen_last == 1 && !survey.gap);
    restart_and_write(10, 5);
    CHECK_EQ(count_restarted(LOG_READ_STRICT), 15);
    CHECK_OK(log_survey(folder, "edb", &survey));
    CHECK(survey.current && survey.gen_last == 2);
    drop_folder();
}

CASE(rolls_on_demand)
{
    uint32_t closed;
    err_t err;
    struct logtime time;
    char path[OS_PATH_MAX];
    fresh_folder("rolls");
    struct log *log = start_new(64 * KIB);
    CHECK_OK(log_roll(log, &closed));
    CHECK_EQ(closed, 0);
    for (uint64_t i = 0; i < 5; i++) {
        append_trace(log, i, 100, NULL);
        CHECK_OK(log_roll(log, &closed));
        CHECK_EQ(closed, i + 1);
        CHECK_OK(log_path(log, closed, path));
        CHECK_OK(log_verify_file(path, closed));
        CHECK_EQ(log_verify_file(path, closed + 1), JET_errLogReadVerifyFailure);
        CHECK_OK(log_roll(log, &closed));
        CHECK_EQ(closed, i + 1);
        CHECK_OK(log_generation_time(log, closed, &time));
        CHECK(time.b[5] > 100);
        CHECK_OK(log_generation_time(log, closed + 1, &time));
    }
    uint32_t lowest, deleted;
    CHECK_OK(log_delete_range(log, 0, 3, &deleted));
    CHECK_EQ(deleted, 2);
    CHECK_OK(log_lowest_generation(log, &lowest));
    CHECK_EQ(lowest, 3);
    stop(log);
    CHECK_EQ(count_all(2, &err), 3);
    CHECK_OK(err);
    drop_folder();
}

/* ---- chains ---- */

static err_t read_error(void)
{
    err_t err;
    struct log_reader *r;
    struct log_reader_config c = {.dirs = {folder}, .dir_count = 1, .base_name = "edb"};
    err = log_reader_open(&c, LGPOS(1, 0, 0), &r);
    if (err < 0)
        return err;
    count_traces(r, 0, &err);
    log_reader_close(r);
    return err;
}

/* A change of a header field with its checksum made right again. */
static void patch_header(const char *name, uint32_t at, uint8_t with)
{
    uint64_t size;
    uint8_t *bytes = load_file(name, &size);
    bytes[at] ^= with;
    store_u32(bytes, checksum_xor(bytes, LOG_SEGMENT));
    store_file(name, bytes, size);
    free(bytes);
}

CASE(broken_chains)
{
    uint64_t size;
    struct log_survey survey;
    fresh_folder("chains");
    write_traces(start_new(64 * KIB), 0, 60, 3000, true);
    CHECK_OK(read_error());
    uint8_t *good = load_file("edb00003.log", &size);
    CHECK_OK(os_unlink(path_of("edb00003.log")));
    CHECK_EQ(read_error(), JET_errMissingLogFile);
    CHECK_OK(log_survey(folder, "edb", &survey));
    CHECK(survey.gap && survey.gen_missing == 3);
    static const struct {
        uint32_t at;
        err_t err;
    } wrong[] = {{26, JET_errInvalidLogSequence},
                 {50, JET_errBadLogSignature},
                 {655, JET_errLogSequenceChecksumMismatch},
                 {36, JET_errBadLogVersion},
                 {12, JET_errLogFileSizeMismatch}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        store_file("edb00003.log", good, size);
        patch_header("edb00003.log", wrong[i].at, 4);
        CHECK_EQ(read_error(), wrong[i].err);
    }
    /* a lost segment of a closed generation is never a torn tail */
    store_file("edb00003.log", good, size);
    flip_bit("edb00003.log", 13 * LOG_SEGMENT + 99, 0x18);
    CHECK_EQ(read_error(), JET_errLogFileCorrupt);
    store_file("edb00003.log", good, size);
    CHECK_OK(read_error());
    free(good);
    drop_folder();
}

CASE(hostile_files)
{
    /* Random damage with checksums made right: any answer but a crash, a hang, or a wild read. */
    uint64_t size;
    unsigned long long seed = ctest_seed();
    fresh_folder("hostile");
    struct log *log = start_new(64 * KIB);
    uint64_t n = 0;
    for (; n < 12; n++)
        append_trace(log, n, 4000, NULL);
    stop(log);
    uint8_t *good = load_file("edb.log", &size), *bad = malloc(size);
    unsigned errors = 0;
    for (int round = 0; round < 600; round++) {
        memcpy(bad, good, size);
        for (int k = 0; k < 4; k++) {
            uint32_t s = (uint32_t)(ctest_random(&seed) % 13);
            uint64_t at = k % 2 == 0 ? ctest_random(&seed) % 16
                                     : ctest_random(&seed) % 4056; /* heads, anywhere */
            bad[s * LOG_SEGMENT + (s == 0 ? 671 + at % 200 : LOG_SEGMENT_HEAD + at)] =
                (uint8_t)ctest_random(&seed);
        }
        store_u32(bad, checksum_xor(bad, LOG_SEGMENT));
        for (uint32_t s = 1; s < 13; s++) {
            store_u32(bad + s * LOG_SEGMENT + 32, 0); /* as another engine writes it, without our sum */
            store_u64(bad + s * LOG_SEGMENT,
                      checksum_ecc(bad + s * LOG_SEGMENT, LOG_SEGMENT, s, true));
        }
        store_file("edb.log", bad, size);
        struct log_reader *r;
        struct log_reader_config c = {.dirs = {folder}, .dir_count = 1, .base_name = "edb"};
        err_t err = log_reader_open(&c, LGPOS_MIN, &r);
        struct log_view v;
        bool end = false;
        while (err >= 0 && !end)
            err = log_reader_next(r, &v, &end);
        errors += err < 0;
        log_reader_close(err < 0 && r == NULL ? NULL : r);
    }
    CHECK(errors > 50);
    free(good);
    free(bad);
    drop_folder();
}

/* ---- failures ---- */

CASE(full_disk_and_reserve)
{
    err_t err = 0;
    uint64_t n = 0;
    fresh_folder("full_disk");
    struct log *log = start_new(64 * KIB);
    os_fault_set(&(struct os_fault){
        .ops = 1u << OS_OP_SIZE, .path_part = "edbtmp", .count = UINT64_MAX, .error = 28});
    struct log_stamp stamp = {0};
    for (int reserves = 0; reserves <= 2; reserves++) {
        for (; n < 1000; n++) { /* 14 data segments a generation */
            struct log_record r = trace_record(n, 4000);
            lgpos_t tail = log_tail(log);
            err = log_append(log, &r, 1, &stamp);
            if (err < 0) {
                CHECK_EQ(tail, log_tail(log)); /* nothing was appended */
                break;
            }
        }
        CHECK_EQ(err, JET_errLogDiskFull);
        CHECK_EQ(log_poisoned(log), 0);
        CHECK_EQ(log_current_generation(log), reserves == 0 ? 1 : 3);
        if (reserves == 0)
            log_use_reserve(log, true);
    }
    CHECK_OK(log_flush_all(log)); /* what was appended is still made durable */
    os_fault_set(NULL);
    log_use_reserve(log, false);
    append_trace(log, n++, 4000, NULL);
    bool worked;
    CHECK_OK(log_prepare_next(log, &worked));
    CHECK(os_exists(path_of("edbres00001.jrs")) && os_exists(path_of("edbres00002.jrs")));
    stop(log);
    struct log_header header;
    CHECK_OK(log_read_header(path_of("edb00002.log"), &header));
    CHECK_EQ(header.flags & 1, 1);
    CHECK_EQ(count_all(0, &err), n);
    CHECK_OK(err);
    drop_folder();
}

/* ---- no file handle is free in the whole process ---- */

enum { TAKEN_MAX = 64 };
struct exhaustion {
    struct rlimit before;
    struct os_dir_lock *lock; /* as the engine holds it: a folder can then be synced without a handle */
    int taken[TAKEN_MAX], count;
};

/* The smallest limit that the handles of now leave room below; then every number below it is taken. */
static void exhaust_handles(struct exhaustion *x)
{
    *x = (struct exhaustion){0};
    CHECK_OK(os_dir_lock(folder, &x->lock));
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &x->before), 0);
    int next = dup(0);
    CHECK(next >= 0 && close(next) == 0);
    struct rlimit low = {.rlim_cur = (rlim_t)next + TAKEN_MAX / 2, .rlim_max = x->before.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int fd; (fd = dup(0)) >= 0;) {
        CHECK(x->count < TAKEN_MAX);
        x->taken[x->count++] = fd;
    }
    CHECK(errno == EMFILE && x->count > 0);
}

static void free_handles(struct exhaustion *x)
{
    for (int i = 0; i < x->count; i++)
        close(x->taken[i]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &x->before), 0);
    os_dir_unlock(x->lock);
}

/* 14 data segments a generation, of which a record of 4000 bytes takes one. */
static uint64_t append_through_rolls(struct log *log, uint64_t n, uint32_t rolls)
{
    for (uint32_t end = log_current_generation(log) + rolls; log_current_generation(log) < end; n++)
        append_trace(log, n, 4000, NULL);
    return n;
}

/* From a log's start on, and again after it went on with what lay there: it has the handle that the next file needs. */
CASE(rolls_without_a_free_handle)
{
    err_t err;
    struct exhaustion x;
    fresh_folder("no_handles");
    struct log *log = start_new(64 * KIB);
    exhaust_handles(&x);
    uint64_t n = append_through_rolls(log, 0, 5);
    free_handles(&x);
    lgpos_t end = log_tail(log);
    stop(log);

    log = make_log(64 * KIB);
    CHECK_OK(log_start_append(log, end));
    exhaust_handles(&x);
    n = append_through_rolls(log, n, 5);
    free_handles(&x);
    stop(log);
    CHECK_EQ(count_all(0, &err), n);
    CHECK_OK(err);
    drop_folder();
}

struct thief {
    _Atomic bool stop;
    _Atomic int caught;
};

/* As the checkpoint and the deletion of old logs do: a handle for a moment, whenever there is one. */
static void steal_handles(void *context)
{
    struct thief *t = context;
    char path[OS_PATH_MAX];
    CHECK_OK(os_join(path, sizeof path, folder, "edbres00001.jrs"));
    while (!atomic_load(&t->stop)) {
        struct os_file *f;
        err_t err = os_file_open(path, OS_READ, &f);
        CHECK(err >= 0 || err == JET_errOutOfFileHandles);
        if (err >= 0) {
            atomic_fetch_add(&t->caught, 1);
            os_sleep_ms(1);
            os_file_close(f);
            os_sleep_ms(3);
        }
    }
}

CASE(rolls_beside_a_thief_of_handles)
{
    err_t err;
    struct exhaustion x;
    struct thief t = {0};
    struct os_thread *thread;
    fresh_folder("thief");
    struct log *log = start_new(64 * KIB);
    exhaust_handles(&x);
    CHECK_OK(os_thread_start("thief", steal_handles, &t, &thread));
    uint64_t n = append_through_rolls(log, 0, 200);
    atomic_store(&t.stop, true);
    os_thread_join(thread);
    free_handles(&x);
    stop(log);
    CHECK_EQ(count_all(0, &err), n);
    CHECK_OK(err);
    printf("%d of 200 files met the thief\n", atomic_load(&t.caught));
    drop_folder();
}

/* Handles that are gone for good are told, nothing is half there, and a handle that comes back is enough. */
CASE(a_roll_that_gets_no_handle)
{
    err_t err = 0;
    uint64_t n = 0;
    fresh_folder("lost_handle");
    struct log *log = start_new(64 * KIB);
    os_fault_set(&(struct os_fault){
        .ops = 1u << OS_OP_OPEN, .path_part = "edbtmp", .count = UINT64_MAX, .error = EMFILE});
    struct log_stamp stamp = {0};
    for (; err >= 0 && n < 100; n += err >= 0) {
        struct log_record r = trace_record(n, 4000);
        err = log_append(log, &r, 1, &stamp);
    }
    CHECK_EQ(err, JET_errOutOfFileHandles);
    CHECK_EQ(log_poisoned(log), 0);
    CHECK_EQ(log_current_generation(log), 1);
    os_fault_set(NULL);
    n = append_through_rolls(log, n, 3);
    stop(log);
    CHECK_EQ(count_all(0, &err), n);
    CHECK_OK(err);
    drop_folder();
}

static void poison_by(unsigned op, const char *name)
{
    err_t err;
    fresh_folder(name);
    struct log *log = start_new(64 * KIB);
    for (uint64_t i = 0; i < 5; i++)
        CHECK_OK(log_flush(log, append_trace(log, i, 100, NULL)));
    lgpos_t durable = log_flushed(log), end = append_trace(log, 5, 100, NULL);
    os_fault_set(
        &(struct os_fault){.ops = 1u << op, .path_part = "edb.log", .count = 1, .error = 5});
    CHECK_EQ(log_flush(log, end), JET_errLogWriteFail);
    os_fault_set(NULL);
    CHECK_EQ(log_poisoned(log), JET_errLogWriteFail);
    CHECK_EQ(log_flushed(log), durable);
    CHECK_EQ(log_flush(log, end), JET_errLogWriteFail);
    CHECK_OK(log_flush(log, durable)); /* what is durable stays so */
    struct log_record r = trace_record(6, 100);
    struct log_stamp stamp = {0};
    CHECK_EQ(log_append(log, &r, 1, &stamp), JET_errLogWriteFail);
    uint32_t closed;
    CHECK_EQ(log_roll(log, &closed), JET_errLogWriteFail);
    CHECK_EQ(log_stop(log), JET_errLogWriteFail);
    log_destroy(log);
    CHECK(count_all(0, &err) >= 5);
    CHECK_OK(err);
    drop_folder();
}

CASE(poison_after_failed_sync)
{
    poison_by(OS_OP_SYNC, "poison_sync");
}

CASE(poison_after_failed_write)
{
    poison_by(OS_OP_WRITE, "poison_write");
}

CASE(too_large_for_a_log)
{
    fresh_folder("too_large");
    struct log *log = start_new(64 * KIB);
    struct log_record r = trace_record(0, 65000);
    struct log_stamp stamp = {0};
    CHECK_EQ(log_append(log, &r, 1, &stamp), JET_errLogBufferTooSmall);
    CHECK_EQ(log_tail(log), LGPOS(1, 1, 0));
    append_trace(log, 0, 50000, NULL);
    append_trace(log, 1, 50000, NULL);
    stop(log);
    err_t err;
    CHECK_EQ(count_all(0, &err), 2);
    drop_folder();
}

CASE(logging_off)
{
    struct log *log;
    struct log_config config = {.enabled = false};
    _Atomic dbtime_t dbtime = 100;
    _Atomic uint64_t commit = 8;
    uint64_t seen = 8;
    CHECK_OK(log_create(&config, &log));
    CHECK_OK(log_start_new(log, 1));
    uint8_t delete[44] = {LOG_Delete};
    struct log_record r = {1, {SLICE_OF(delete)}, delete, 8, 0};
    struct log_stamp stamp = {.dbtime_counter = &dbtime,
                              .commit_counter = &commit,
                              .on_commit = see_commit,
                              .context = &seen};
    CHECK_OK(log_append(log, &r, 1, &stamp));
    CHECK(stamp.dbtime == 101 && load_u64(delete + 8) == 101 && seen == 12 &&
          atomic_load(&commit) == 12);
    CHECK(stamp.first == LGPOS_MIN && stamp.end == LGPOS_MIN && log_tail(log) == LGPOS_MIN);
    CHECK_OK(log_flush(log, LGPOS(5, 5, 5)));
    CHECK(!log_is_enabled(log));
    uint32_t closed;
    CHECK_EQ(log_roll(log, &closed), JET_errLoggingDisabled);
    stop(log);
}

/* ---- headers and the checkpoint ---- */

static struct log_attached attached_one(const _Atomic dbtime_t *dbtime,
                                        const _Atomic objid_t *objid, const char *path)
{
    return (struct log_attached){.dbid = 1,
                                 .dbtime = dbtime,
                                 .objid_last = objid,
                                 .lgpos_attach = LGPOS(1, 2, 3),
                                 .lgpos_consistent = LGPOS(1, 1, 9),
                                 .sign_db = {{1, 2, 3}},
                                 .path = path};
}

CASE(attach_list)
{
    static const char *const paths[] = {
        "/data/shop.edb", "/d\xc3\xa4ta/\xe2\x82\xac/\xf0\x9f\x8d\x8e.edb", "/not\xffutf8\xc3.edb"};
    _Atomic dbtime_t dbtime = 77;
    _Atomic objid_t objid = 9;
    struct log_attached list[3];
    uint32_t closed;
    fresh_folder("attach");
    struct log *log = start_new(64 * KIB);
    for (int i = 0; i < 3; i++) {
        list[i] = attached_one(&dbtime, &objid, paths[i]);
        list[i].dbid = (dbid_t)(i + 1);
    }
    CHECK_OK(log_check_attached(list, 3));
    log_set_attached(log, list, 3);
    log_set_checkpoint_hint(log, LGPOS(1, 5, 6));
    append_trace(log, 0, 100, NULL);
    atomic_store(&dbtime, 78);
    CHECK_OK(log_roll(log, &closed));
    stop(log);
    struct log_header h;
    CHECK_OK(log_read_header(path_of("edb.log"), &h));
    CHECK(h.generation == 2 && h.attached_count == 3 && h.checkpoint == LGPOS(1, 5, 6) &&
          h.page_size == 4096);
    CHECK(h.major == 8 && h.minor == 4000 && h.update_major == 5 && h.update_minor == 16 &&
          h.checksum_previous != 0);
    for (int i = 0; i < 3; i++) {
        CHECK(strcmp(h.attached[i].path, paths[i]) == 0 && h.attached[i].dbid == i + 1);
        CHECK(h.attached[i].dbtime == 78 && h.attached[i].objid_last == 9);
        CHECK(h.attached[i].lgpos_attach == LGPOS(1, 2, 3) &&
              h.attached[i].lgpos_consistent == LGPOS(1, 1, 9));
        CHECK(memcmp(&h.attached[i].sign_db, &list[i].sign_db, sizeof list[i].sign_db) == 0);
    }
    char longest[1000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    list[0].path = longest;
    CHECK_EQ(log_check_attached(list, 3), JET_errTooManyAttachedDatabases);
    drop_folder();
}

CASE(checkpoint_copies)
{
    fresh_folder("checkpoint");
    struct log *log = make_log(64 * KIB);
    struct checkpoint out, c = {.checkpoint = LGPOS(3, 4, 5),
                                .db_consistency = LGPOS(3, 5, 5),
                                .full_backup = LGPOS(2, 1, 1),
                                .last_full_checkpoint = LGPOS(1, 1, 1),
                                .inc_backup = LGPOS(2, 2, 2),
                                .attached_valid = true,
                                .attached_count = 1,
                                .signature = {{5}},
                                .full_time = {{1}},
                                .inc_time = {{2}}};
    c.attached[0] =
        (struct log_attach_info){.dbid = 2, .dbtime = 1000, .objid_last = 12, .path = "/x/y.edb"};
    char path[OS_PATH_MAX];
    CHECK_OK(log_checkpoint_path(log, path));
    CHECK_EQ(log_checkpoint_read(path, &out), JET_errCheckpointFileNotFound);
    CHECK_OK(log_checkpoint_write(log, &c));
    for (int damage = 0; damage < 3; damage++) {
        CHECK_OK(log_checkpoint_read(path, &out));
        CHECK(memcmp(&out, &c, offsetof(struct checkpoint, attached)) == 0);
        CHECK(out.attached[0].dbid == 2 && out.attached[0].dbtime == 1000 &&
              strcmp(out.attached[0].path, "/x/y.edb") == 0);
        if (damage < 2)
            flip_bit("edb.chk", damage == 0 ? 100 : 4096 + 100, 0x10);
        if (damage == 0) { /* the second copy serves; then write both anew and damage the second */
            CHECK_OK(log_checkpoint_read(path, &out));
            CHECK_OK(log_checkpoint_write(log, &c));
        }
    }
    flip_bit("edb.chk", 20, 0x10);
    CHECK_EQ(log_checkpoint_read(path, &out), JET_errCheckpointCorrupt);
    log_destroy(log);
    drop_folder();
}

CASE(record_sizes)
{
    uint8_t record[600] = {0};
    uint32_t size;
    unsigned known = 0;
    for (unsigned type = 0; type < 256; type++) {
        record[0] = (uint8_t)type;
        err_t err = log_record_size(SLICE(record, sizeof record), &size);
        bool named = strcmp(log_type_name(type), "?") != 0;
        CHECK_EQ(err, named ? JET_errSuccess : JET_errLogFileCorrupt);
        CHECK(!named || size >= 1);
        known += named;
    }
    CHECK_EQ(known, 96);
    CHECK_OK(log_record_size(SLICE(record, 0), &size));
    CHECK_EQ(size, 0);
    record[0] = LOG_Insert;
    store_u16(record + 44, 1000);
    store_u16(record + 46, 20);
    store_u16(record + 48, 3);
    CHECK_OK(log_record_size(SLICE(record, 49), &size));
    CHECK_EQ(size, 0);
    CHECK_OK(log_record_size(SLICE(record, 50), &size));
    CHECK_EQ(size, 1073);
    record[0] = LOG_NOP2;
    store_u32(record + 1, UINT32_MAX);
    CHECK_EQ(log_record_size(SLICE(record, 50), &size), JET_errLogFileCorrupt);
}

CASE(damage_in_a_wide_batch)
{
    /* one flush of 150 segments is three unsynced batches: damage that lies further back than one of them cannot
     * be a torn tail */
    enum { TRACES = 150 };
    err_t err;
    uint64_t size;
    fresh_folder("wide");
    struct log *log = start_new(2048 * KIB);
    for (uint64_t i = 0; i < TRACES; i++)
        append_trace(log, i, LOG_SEGMENT - LOG_SEGMENT_HEAD, NULL); /* a segment each, no NOP2 */
    CHECK_OK(log_flush_all(log));
    CHECK_EQ(log_flush_count(log), 3);
    stop(log);
    uint8_t *good = load_file("edb.log", &size);
    for (uint32_t segment = 1; segment <= TRACES; segment += 13) {
        flip_bit("edb.log", segment * LOG_SEGMENT + 2000, 3);
        CHECK_EQ(count_all(0, &err), segment - 1);
        CHECK_EQ(err, TRACES - segment > 64 ? JET_errLogFileCorrupt : JET_errSuccess);
        store_file("edb.log", good, size);
    }
    free(good);
    drop_folder();
}

static uint64_t count_in(const char *first_dir, uint32_t stop_at, uint32_t strict_last, err_t *err)
{
    struct log_reader *r;
    struct log_reader_config c = {.dirs = {first_dir, folder},
                                  .dir_count = 2,
                                  .base_name = "EDB",
                                  .gen_stop = stop_at,
                                  .gen_strict_last = strict_last};
    *err = log_reader_open(&c, LGPOS_MIN, &r);
    if (*err < 0)
        return 0;
    uint64_t n = count_traces(r, 0, err);
    log_reader_close(r);
    return n;
}

CASE(a_set_and_the_live_logs)
{
    static const char *const moved[] = {"edb00001.log", "edb00002.log"};
    char set[OS_PATH_MAX], from[OS_PATH_MAX], to[OS_PATH_MAX];
    err_t err;
    fresh_folder("set");
    write_traces(start_new(64 * KIB), 0, 60, 3000, true);
    snprintf(set, sizeof set, "%s", path_of("set"));
    CHECK_OK(os_dir_create(set));
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s", path_of(moved[i]));
        CHECK_OK(os_join(to, sizeof to, set, moved[i]));
        CHECK_OK(os_rename(from, to));
    }
    CHECK_EQ(count_in(set, 0, 2, &err), 60);
    CHECK_OK(err);
    uint64_t first_two = count_in(set, 2, 2, &err);
    CHECK(err == 0 && first_two > 20 && first_two < 40);
    CHECK_OK(os_unlink(to)); /* generation 2 */
    CHECK(count_in(set, 0, 2, &err) < first_two);
    CHECK_EQ(err, JET_errMissingLogFile);
    CHECK_OK(os_join(to, sizeof to, set, moved[0]));
    CHECK_OK(os_unlink(to));
    CHECK_OK(os_dir_remove(set));
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
