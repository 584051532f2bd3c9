/* Workloads of backup, restore and recovery. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drive.h"

static void update_some(struct bench_session *s, const struct drive *d, uint64_t ops, uint64_t seed)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    uint64_t state = seed;
    for (uint64_t i = 0; i < ops; i++) {
        uint64_t slot = 2 * (random_next(&state) % d->n);
        if (i % d->batch == 0)
            bench_engine.begin(s, true);
        make_key(key, slot);
        make_value(value, slot, i);
        if (!bench_engine.update(s, key, value))
            die("update", 0, "a conflict with nobody");
        if (i % d->batch == d->batch - 1 || i == ops - 1)
            bench_engine.commit(s);
    }
}

static uint64_t count_rows(struct bench_session *s)
{
    uint64_t sum = 0;
    bench_engine.begin(s, false);
    uint64_t rows = bench_engine.scan(s, &sum);
    bench_engine.commit(s);
    return rows;
}

/* The database as a program would find it that just attached it: no row was read before. */
static void backup_only(const struct drive *d, struct line *line)
{
    char path[4096];
    struct bench_db *db = drive_open(d, false, true, false);
    snprintf(path, sizeof path, "%s/%s", d->dir, bench_engine.database_file());
    if (d->cold)
        drop_from_memory(path);
    uint64_t mark = memory_mark();
    drive_counters(db, &line->before);
    meter_start(&line->meter);
    line->bytes = bench_engine.backup(db, d->to, false);
    meter_stop(&line->meter);
    drive_counters(db, &line->after);
    line->memory_added = memory_since(mark);
    line->ops = 1;
    bench_engine.close(db);
}

static void backup_full_quiet(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, false, true, false);
    struct bench_session *s = bench_engine.session(db);
    line->misses += count_rows(s) != d->n;
    drive_counters(db, &line->before);
    meter_start(&line->meter);
    line->bytes = bench_engine.backup(db, d->to, false);
    meter_stop(&line->meter);
    drive_counters(db, &line->after);
    line->ops = 1;
    bench_engine.session_end(s);
    bench_engine.close(db);
}

/* ---- a writer beside ---- */

enum phase { BEFORE, DURING, AFTER };

struct writer {
    const struct drive *d;
    struct bench_session *s;
    _Atomic int phase;
    _Atomic bool stop;
    uint64_t rows[3];
    struct latencies latencies[3];
    pthread_t thread;
};

static void *write_on(void *context)
{
    struct writer *w = context;
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    uint64_t state = w->d->seed;
    while (!atomic_load(&w->stop)) {
        uint64_t t = now_ns();
        int phase = atomic_load(&w->phase);
        bench_engine.begin(w->s, true);
        for (unsigned i = 0; i < w->d->batch; i++) {
            uint64_t slot = 2 * (random_next(&state) % w->d->n);
            make_key(key, slot);
            make_value(value, slot, t);
            if (!bench_engine.update(w->s, key, value))
                die("update", 0, "a conflict with nobody");
        }
        bench_engine.commit(w->s);
        w->rows[phase] += w->d->batch;
        latencies_add(&w->latencies[phase], now_ns() - t);
    }
    return NULL;
}

/* cp and sync of a file, in processes of their own: what a writer suffers by any copy of so many bytes. */
static uint64_t copy_by_cp(const struct drive *d)
{
    struct stat st;
    char command[9000];
    snprintf(command, sizeof command, "cp '%s' '%s/copy' && sync '%s/copy' '%s'", d->copy, d->to, d->to, d->to);
    if (stat(d->copy, &st) != 0 || system(command) != 0)
        die("cp", 0, d->copy);
    return (uint64_t)st.st_size;
}

static void beside_writer(const struct drive *d, struct line *line)
{
    const unsigned settle_us = 400000, before_us = 1000000;
    struct bench_db *db = drive_open(d, false, true, false);
    struct writer *w = calloc(1, sizeof *w);
    *w = (struct writer){.d = d, .s = bench_engine.session(db), .phase = AFTER};
    line->misses += count_rows(w->s) != d->n;
    for (int i = 0; i < 3; i++)
        latencies_init(&w->latencies[i], 4000000);
    if (pthread_create(&w->thread, NULL, write_on, w) != 0)
        die("pthread_create", 0, "");
    usleep(settle_us);
    uint64_t t = now_ns();
    atomic_store(&w->phase, BEFORE);
    usleep(before_us);
    double before_s = (double)(now_ns() - t) / 1e9;
    meter_start(&line->meter);
    atomic_store(&w->phase, DURING);
    line->bytes = d->copy != NULL ? copy_by_cp(d) : bench_engine.backup(db, d->to, false);
    atomic_store(&w->phase, AFTER);
    meter_stop(&line->meter);
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    line->ops = 1;
    line->rate_before = (double)w->rows[BEFORE] / before_s;
    line->rate_during = (double)w->rows[DURING] / ((double)line->meter.wall / 1e9);
    line->during = w->rows[DURING];
    line->p99_before_us = latencies_at(&w->latencies[BEFORE], 0.99) / 1e3;
    line->p99_during_us = latencies_at(&w->latencies[DURING], 0.99) / 1e3;
    line->stall_us = latencies_at(&w->latencies[DURING], 1) / 1e3;
    line->misses += count_rows(w->s) != d->n;
    bench_engine.session_end(w->s);
    bench_engine.close(db);
}

/* A full set, one percent of the rows changed, the increment: its bytes beside those of the log. */
static void backup_incr_1pct(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, false, true, false);
    struct bench_session *s = bench_engine.session(db);
    bench_engine.backup(db, d->to, false);
    drive_counters(db, &line->before);
    update_some(s, d, d->n / 100, d->seed);
    meter_start(&line->meter);
    line->bytes = bench_engine.backup(db, d->to, true);
    meter_stop(&line->meter);
    drive_counters(db, &line->after);
    line->ops = d->n / 100;
    bench_engine.session_end(s);
    bench_engine.close(db);
}

static void restore_full(const struct drive *d, struct line *line)
{
    meter_start(&line->meter);
    line->bytes = bench_engine.restore != NULL ? bench_engine.restore(d->dir, d->to, d->cache_bytes) : folder_copy(d->dir, d->to);
    meter_stop(&line->meter);
    line->ops = 1;
}

static void replay_copied(const struct drive *d, struct line *line)
{
    if (bench_engine.replay == NULL)
        die("replay", 0, "this engine's restore is a copy of a file");
    meter_start(&line->meter);
    line->bytes = bench_engine.replay(d->dir, d->to);
    meter_stop(&line->meter);
    line->ops = 1;
}

/* ---- recovery: one process updates and is killed, the next one opens ---- */

static void recover_prepare(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, false, true, true);
    struct bench_session *s = bench_engine.session(db);
    line->misses += count_rows(s) != d->n;
    update_some(s, d, d->ops, d->seed);
    bench_engine.flush(s);
    raise(SIGKILL);
}

static void recover_open(const struct drive *d, struct line *line)
{
    meter_start(&line->meter);
    struct bench_db *db = drive_open(d, false, false, false);
    meter_stop(&line->meter);
    struct bench_session *s = bench_engine.session(db);
    drive_counters(db, &line->after);
    line->ops = d->ops;
    line->misses += count_rows(s) != d->n;
    bench_engine.session_end(s);
    bench_engine.close(db);
}

/* ---- whether every row is right, in a process of its own ---- */

/* The version that update_some left of each loaded row; 0: as loaded. */
static uint64_t *versions_left(const struct drive *d)
{
    uint64_t *version = calloc(d->n, sizeof *version), state = d->seed;
    if (version == NULL)
        die("memory", 0, "versions");
    for (uint64_t i = 0; i < d->updates; i++)
        version[random_next(&state) % d->n] = i;
    return version;
}

static bool row_is(struct bench_session *s, uint64_t slot, const uint64_t *version)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES], wanted[VALUE_BYTES];
    make_key(key, slot);
    if (!bench_engine.get(s, key, value))
        return false;
    if (version == NULL)
        return value_is_of(value, slot);
    make_value(wanted, slot, version[slot / 2]);
    return memcmp(value, wanted, VALUE_BYTES) == 0;
}

static void verify_rows(const struct drive *d, struct line *line, const uint64_t *version)
{
    struct bench_db *db = drive_open(d, false, false, false);
    struct bench_session *s = bench_engine.session(db);
    line->misses += count_rows(s) != d->n;
    bench_engine.begin(s, false);
    for (uint64_t i = 0; i < d->n; i++)
        line->misses += !row_is(s, 2 * i, version);
    bench_engine.commit(s);
    line->ops = d->n;
    bench_engine.session_end(s);
    bench_engine.close(db);
}

/* Every byte of every row: as loaded, then --updates of the same seed. */
static void verify(const struct drive *d, struct line *line)
{
    uint64_t *version = versions_left(d);
    verify_rows(d, line, version);
    free(version);
}

/* Every row, of whatever version: what a writer changed while it was copied. */
static void verify_any(const struct drive *d, struct line *line)
{
    verify_rows(d, line, NULL);
}

workload_fn workload_find_backup(const char *name)
{
    static const struct {
        const char *name;
        workload_fn fn;
    } all[] = {
        {"backup_only", backup_only},             {"backup_full_quiet", backup_full_quiet}, {"backup_full_writer", beside_writer},
        {"backup_incr_1pct", backup_incr_1pct},   {"restore_full", restore_full},
        {"recover_prepare", recover_prepare},     {"recover_open", recover_open},           {"replay_copied", replay_copied},
        {"verify", verify},                       {"verify_any", verify_any},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].fn;
    return NULL;
}
