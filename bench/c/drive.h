/* What the driver's files share: arguments, clocks, keys, the measured line. */
#ifndef DRIVE_H
#define DRIVE_H

#include <pthread.h>

#include "bench.h"

struct drive {
    const char *workload, *dir, *to;
    const char *copy; /* NULL, or the file that is copied in a backup's stead */
    bool cold;        /* the database leaves the kernel's memory before it is backed up */
    uint64_t n, ops, updates, seed, cache_bytes;
    unsigned threads, batch;
    enum bench_class durability;
};

/* Wall, CPU of this process and of all others, from start to stop. */
struct meter {
    uint64_t wall, cpu, others, device;
    bool running;
};
void meter_start(struct meter *m);
void meter_stop(struct meter *m);

struct latencies {
    uint32_t *ns;
    uint64_t count, room;
};
void latencies_init(struct latencies *l, uint64_t room);
void latencies_add(struct latencies *l, uint64_t ns);
void latencies_merge(struct latencies *to, const struct latencies *from);
uint32_t latencies_at(struct latencies *l, double part); /* sorts */

uint64_t now_ns(void);
/* The most memory that this process had since memory_mark, beyond what it had then. Its cache counts from the mark too. */
uint64_t memory_mark(void);
uint64_t memory_since(uint64_t mark);
void drop_from_memory(const char *path); /* of the kernel; synced first */
uint64_t random_next(uint64_t *state);

/* Slot i of a database of n rows: even slots are loaded, odd ones inserted. Keys ascend with the slot. */
void make_key(uint8_t key[KEY_BYTES], uint64_t slot);
void make_value(uint8_t value[VALUE_BYTES], uint64_t slot, uint64_t version);
bool value_is_of(const uint8_t value[VALUE_BYTES], uint64_t slot); /* any version of it */

struct zipf {
    uint64_t n;
    double theta, alpha, zetan, eta;
};
void zipf_init(struct zipf *z, uint64_t n, double theta);
uint64_t zipf_next(const struct zipf *z, uint64_t *state);

/* What a workload reports; fields that it does not set are not printed. */
struct line {
    uint64_t ops, misses, retries, bytes;
    struct meter meter;
    struct latencies latencies;
    struct bench_counters before, after;
    double rate_before, rate_during, p99_before_us, p99_during_us, stall_us;
    uint64_t during, memory_added;
    char note[128];
};

typedef void (*workload_fn)(const struct drive *d, struct line *line);
workload_fn workload_find(const char *name);
workload_fn workload_find_backup(const char *name);

struct bench_db *drive_open(const struct drive *d, bool create, bool keep_logs, bool no_checkpoint);
void drive_counters(struct bench_db *db, struct bench_counters *out);

#endif
