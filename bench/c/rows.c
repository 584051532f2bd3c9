/* Workloads over rows: load, insert, read, scan, mixed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"

#define SPREAD 2654435761u /* a prime: i * SPREAD mod n meets every i once */

/* Of the only session: nobody is there to conflict with. */
static void insert_slot(struct bench_session *s, uint64_t slot)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    make_key(key, slot);
    make_value(value, slot, 0);
    if (!bench_engine.insert(s, key, value))
        die("insert", 0, "a conflict with nobody");
}

static void load_sorted(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, true, false, false);
    struct bench_session *s = bench_engine.session(db);
    drive_counters(db, &line->before);
    meter_start(&line->meter);
    for (uint64_t i = 0; i < d->n; i++) {
        if (i % d->batch == 0)
            bench_engine.begin(s, true);
        insert_slot(s, 2 * i);
        if (i % d->batch == d->batch - 1 || i == d->n - 1)
            bench_engine.commit(s);
    }
    meter_stop(&line->meter);
    drive_counters(db, &line->after);
    line->ops = d->n;
    bench_engine.session_end(s);
    bench_engine.close(db);
}

static void warm(struct bench_session *s, uint64_t least, struct line *line)
{
    uint64_t sum = 0, rows;
    bench_engine.begin(s, false);
    rows = bench_engine.scan(s, &sum);
    bench_engine.commit(s);
    if (rows < least)
        line->misses += least - rows;
}

static void insert_random(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, false, false, false);
    struct bench_session *s = bench_engine.session(db);
    warm(s, d->n, line);
    drive_counters(db, &line->before);
    meter_start(&line->meter);
    for (uint64_t i = 0; i < d->ops; i++) {
        uint64_t slot = 2 * ((i * SPREAD + d->seed) % d->n) + 1;
        if (i % d->batch == 0)
            bench_engine.begin(s, true);
        insert_slot(s, slot);
        if (i % d->batch == d->batch - 1 || i == d->ops - 1)
            bench_engine.commit(s);
    }
    meter_stop(&line->meter);
    drive_counters(db, &line->after);
    line->ops = d->ops;
    warm(s, d->n + d->ops, line);
    bench_engine.session_end(s);
    bench_engine.close(db);
}

/* ---- several threads ---- */

struct worker {
    const struct drive *d;
    struct bench_session *s;
    const struct zipf *zipf;
    unsigned number;
    uint64_t misses, retries;
    struct latencies latencies;
    pthread_t thread;
};

static void run_workers(const struct drive *d, struct bench_db *db, struct line *line, void *(*fn)(void *), const struct zipf *z)
{
    struct worker *w = calloc(d->threads, sizeof *w);
    for (unsigned i = 0; i < d->threads; i++) {
        w[i] = (struct worker){.d = d, .s = bench_engine.session(db), .zipf = z, .number = i};
        latencies_init(&w[i].latencies, d->ops / d->threads + 1);
    }
    latencies_init(&line->latencies, d->ops + d->threads);
    drive_counters(db, &line->before);
    meter_start(&line->meter);
    for (unsigned i = 1; i < d->threads; i++)
        if (pthread_create(&w[i].thread, NULL, fn, &w[i]) != 0)
            die("pthread_create", 0, "");
    fn(&w[0]);
    for (unsigned i = 1; i < d->threads; i++)
        pthread_join(w[i].thread, NULL);
    meter_stop(&line->meter);
    drive_counters(db, &line->after);
    for (unsigned i = 0; i < d->threads; i++) {
        line->misses += w[i].misses;
        line->retries += w[i].retries;
        latencies_merge(&line->latencies, &w[i].latencies);
        bench_engine.session_end(w[i].s);
        free(w[i].latencies.ns);
    }
    line->ops = d->ops / d->threads * d->threads;
    free(w);
}

static void *insert_one_by_one(void *context)
{
    struct worker *w = context;
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    for (uint64_t i = 0; i < w->d->ops / w->d->threads; i++) {
        uint64_t slot = 2 * (((i * w->d->threads + w->number) * SPREAD + w->d->seed) % w->d->n) + 1, t = now_ns();
        make_key(key, slot);
        make_value(value, slot, 0);
        for (bench_engine.begin(w->s, true); !bench_engine.insert(w->s, key, value); w->retries++) {
            bench_engine.abort(w->s);
            bench_engine.begin(w->s, true);
        }
        bench_engine.commit(w->s);
        latencies_add(&w->latencies, now_ns() - t);
    }
    return NULL;
}

static void insert_durable(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, false, false, false);
    struct bench_session *s = bench_engine.session(db);
    warm(s, d->n, line);
    run_workers(d, db, line, insert_one_by_one, NULL);
    warm(s, d->n + line->ops, line);
    bench_engine.session_end(s);
    bench_engine.close(db);
}

static void *get_random(void *context)
{
    struct worker *w = context;
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    uint64_t state = w->d->seed * 1000 + w->number, ops = w->d->ops / w->d->threads;
    for (uint64_t i = 0; i < ops; i++) {
        uint64_t slot = 2 * (random_next(&state) % w->d->n);
        if (i % w->d->batch == 0)
            bench_engine.begin(w->s, false);
        make_key(key, slot);
        if (!bench_engine.get(w->s, key, value) || !value_is_of(value, slot))
            w->misses++;
        if (i % w->d->batch == w->d->batch - 1 || i == ops - 1)
            bench_engine.commit(w->s);
    }
    return NULL;
}

static void get(const struct drive *d, struct line *line)
{
    struct bench_db *db = drive_open(d, false, false, false);
    struct bench_session *s = bench_engine.session(db);
    warm(s, d->n, line);
    run_workers(d, db, line, get_random, NULL);
    bench_engine.session_end(s);
    bench_engine.close(db);
}

static void scan_with(const struct drive *d, struct line *line, uint64_t (*fn)(struct bench_session *, uint64_t *))
{
    struct bench_db *db = drive_open(d, false, false, false);
    struct bench_session *s = bench_engine.session(db);
    uint64_t sum = 0, wanted = d->n * (d->n - 1), passes = d->ops / d->n;
    warm(s, d->n, line);
    meter_start(&line->meter);
    for (uint64_t i = 0; i < (passes == 0 ? 1 : passes); i++) {
        sum = 0;
        bench_engine.begin(s, false);
        uint64_t rows = fn(s, &sum);
        bench_engine.commit(s);
        line->ops += rows;
        line->misses += rows != d->n || sum != wanted;
    }
    meter_stop(&line->meter);
    bench_engine.session_end(s);
    bench_engine.close(db);
}

static void scan_full(const struct drive *d, struct line *line)
{
    scan_with(d, line, bench_engine.scan);
}

static void scan_rows(const struct drive *d, struct line *line)
{
    scan_with(d, line, bench_engine.scan_rows != NULL ? bench_engine.scan_rows : bench_engine.scan);
}

static void *read_and_update(void *context)
{
    struct worker *w = context;
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    uint64_t state = w->d->seed * 1000 + w->number;
    for (uint64_t i = 0; i < w->d->ops / w->d->threads; i++) {
        uint64_t slot = 2 * zipf_next(w->zipf, &state);
        bool write = (random_next(&state) & 1) != 0;
        make_key(key, slot);
        if (write)
            make_value(value, slot, i);
        for (;; w->retries++) {
            bench_engine.begin(w->s, write);
            if (!write) {
                w->misses += !bench_engine.get(w->s, key, value) || !value_is_of(value, slot);
                break;
            }
            if (bench_engine.update(w->s, key, value))
                break;
            bench_engine.abort(w->s);
        }
        bench_engine.commit(w->s);
    }
    return NULL;
}

static void ycsb_a(const struct drive *d, struct line *line)
{
    struct zipf z;
    struct bench_db *db = drive_open(d, false, false, false);
    struct bench_session *s = bench_engine.session(db);
    zipf_init(&z, d->n, 0.99);
    warm(s, d->n, line);
    run_workers(d, db, line, read_and_update, &z);
    warm(s, d->n, line);
    bench_engine.session_end(s);
    bench_engine.close(db);
}

/* ---- the machine itself: what an append and its sync cost ---- */

static void phys_fsync(const struct drive *d, struct line *line)
{
    char path[4096];
    uint8_t block[4096];
    snprintf(path, sizeof path, "%s/anchor", d->dir);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    if (fd < 0)
        die("open", 0, path);
    memset(block, 0x5a, sizeof block);
    latencies_init(&line->latencies, d->ops);
    meter_start(&line->meter);
    for (uint64_t i = 0; i < d->ops; i++) {
        uint64_t t = now_ns();
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block || fsync(fd) != 0)
            die("fsync", 0, path);
        latencies_add(&line->latencies, now_ns() - t);
    }
    meter_stop(&line->meter);
    line->ops = d->ops;
    close(fd);
    unlink(path);
}

workload_fn workload_find(const char *name)
{
    static const struct {
        const char *name;
        workload_fn fn;
    } all[] = {
        {"load_sorted", load_sorted}, {"insert_random", insert_random}, {"insert_durable", insert_durable}, {"get", get},
        {"scan_full", scan_full},     {"scan_rows", scan_rows},         {"ycsb_a", ycsb_a},                 {"phys_fsync", phys_fsync},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].fn;
    return NULL;
}
