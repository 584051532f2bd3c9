/* One driver, one adapter an engine: what a workload may ask of an engine. A failure ends the process: a line that did not
 * do its work has no number. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define KEY_BYTES 16
#define VALUE_BYTES 100

/* What survives once commit has returned. Lines are compared only inside a class. */
enum bench_class {
    CLASS_MEM,  /* nothing need survive the process */
    CLASS_OS,   /* handed to the kernel: survives kill -9 */
    CLASS_DISK, /* survives power loss */
};

struct bench_config {
    const char *dir;
    uint64_t cache_bytes;
    enum bench_class durability;
    bool create;
    bool keep_logs; /* no circular logging: incremental backups and recovery need the log */
    bool no_checkpoint;
};

struct bench_counters { /* zero: not known */
    uint64_t syncs, log_bytes, page_writes, undo_info;
    uint64_t redo_records;
};

struct bench_db;
struct bench_session;

struct bench_engine {
    const char *name;
    const char *(*version)(void);
    bool (*offers)(enum bench_class c);
    struct bench_db *(*open)(const struct bench_config *config);
    void (*close)(struct bench_db *db);
    struct bench_session *(*session)(struct bench_db *db);
    void (*session_end)(struct bench_session *s);
    void (*begin)(struct bench_session *s, bool write);
    void (*commit)(struct bench_session *s);
    void (*abort)(struct bench_session *s);
    void (*flush)(struct bench_session *s); /* all commits so far reach the kernel, at least */
    /* false: a conflict with another session; abort and try again. */
    bool (*insert)(struct bench_session *s, const uint8_t *key, const uint8_t *value);
    bool (*update)(struct bench_session *s, const uint8_t *key, const uint8_t *value);
    bool (*get)(struct bench_session *s, const uint8_t *key, uint8_t *value);
    /* All rows in key order; returns how many, adds the first 8 bytes of each value to *sum. */
    uint64_t (*scan)(struct bench_session *s, uint64_t *sum);
    uint64_t (*scan_rows)(struct bench_session *s, uint64_t *sum); /* row by row, NULL: scan is that already */
    uint64_t (*backup)(struct bench_db *db, const char *to, bool incremental); /* returns bytes that it wrote */
    /* The bytes that it wrote; NULL: a set is the database, and is copied. */
    uint64_t (*restore)(const char *from, const char *to, uint64_t cache_bytes);
    uint64_t (*replay)(const char *from, const char *to);                      /* the rest of a restore whose files were copied; NULL */
    const char *(*database_file)(void);                                         /* its name below the directory */
    void (*counters)(struct bench_db *db, struct bench_counters *out);          /* may be NULL */
};

extern const struct bench_engine bench_engine;

/* Folders of files; a failure ends the process. */
struct timespec folder_now(void);
uint64_t folder_bytes_since(const char *folder, struct timespec since); /* of files that were written since folder_now */
void folder_sync(const char *folder);
uint64_t folder_copy(const char *from, const char *to); /* the files of one folder, synced */

_Noreturn void die(const char *what, long code, const char *text);

static inline uint64_t load_be64(const uint8_t *p)
{
    uint64_t x;
    __builtin_memcpy(&x, p, sizeof x);
    return __builtin_bswap64(x);
}

#endif
