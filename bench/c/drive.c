/* bench_ENGINE WORKLOAD DIR [--to DIR] [--n N] [--ops N] [--threads N] [--batch N] [--class mem|os|disk] [--seed N] [--cache MIB]
 * [--cold 0|1] [--copy FILE] [--updates N]
 * Does one workload in this process and prints one line of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "drive.h"

static const char *const class_names[] = {"mem", "os", "disk"};

void die(const char *what, long code, const char *text)
{
    fprintf(stderr, "%s: %s: %ld: %s\n", bench_engine.name, what, code, text);
    fflush(NULL);
    _exit(2);
}

struct bench_db *drive_open(const struct drive *d, bool create, bool keep_logs, bool no_checkpoint)
{
    struct bench_config config = {d->dir, d->cache_bytes, d->durability, create, keep_logs, no_checkpoint};
    return bench_engine.open(&config);
}

void drive_counters(struct bench_db *db, struct bench_counters *out)
{
    if (bench_engine.counters != NULL)
        bench_engine.counters(db, out);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t v = strtoull(text, &end, 10);
    if (*end != '\0')
        die("arguments", 0, text);
    return v;
}

static enum bench_class class_of(const char *text)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(text, class_names[i]) == 0)
            return (enum bench_class)i;
    die("arguments", 0, text);
}

static void parse(int argc, char **argv, struct drive *d)
{
    if (argc < 3 || argc % 2 == 0)
        die("arguments", argc, "WORKLOAD DIR [--name value]...");
    *d = (struct drive){.workload = argv[1], .dir = argv[2], .n = 100000, .threads = 1, .batch = 100, .seed = 1, .cache_bytes = 1024};
    for (int i = 3; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--to") == 0)
            d->to = value;
        else if (strcmp(name, "--copy") == 0)
            d->copy = value;
        else if (strcmp(name, "--cold") == 0)
            d->cold = number(value) != 0;
        else if (strcmp(name, "--n") == 0)
            d->n = number(value);
        else if (strcmp(name, "--ops") == 0)
            d->ops = number(value);
        else if (strcmp(name, "--updates") == 0)
            d->updates = number(value);
        else if (strcmp(name, "--threads") == 0)
            d->threads = (unsigned)number(value);
        else if (strcmp(name, "--batch") == 0)
            d->batch = (unsigned)number(value);
        else if (strcmp(name, "--class") == 0)
            d->durability = class_of(value);
        else if (strcmp(name, "--seed") == 0)
            d->seed = number(value);
        else if (strcmp(name, "--cache") == 0)
            d->cache_bytes = number(value);
        else
            die("arguments", 0, name);
    }
    d->cache_bytes <<= 20;
    if (d->ops == 0)
        d->ops = d->n;
}

static void print_line(const struct drive *d, struct line *l)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("{\"engine\":\"%s\",\"version\":\"%s\",\"workload\":\"%s\",\"n\":%llu,\"threads\":%u,\"batch\":%u,\"durability\":\"%s\",\"ops\":%llu",
           bench_engine.name, bench_engine.version(), d->workload, (unsigned long long)d->n, d->threads, d->batch,
           class_names[d->durability], (unsigned long long)l->ops);
    printf(",\"wall_s\":%.6f,\"cpu_s\":%.6f,\"foreign_cpu\":%.2f", (double)l->meter.wall / 1e9, (double)l->meter.cpu / 1e9,
           l->meter.wall == 0 ? 0.0 : (double)l->meter.others / (double)l->meter.wall);
    if (l->latencies.count > 0)
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f", latencies_at(&l->latencies, 0.5) / 1e3,
               latencies_at(&l->latencies, 0.99) / 1e3, latencies_at(&l->latencies, 1) / 1e3);
    if (bench_engine.counters != NULL)
        printf(",\"syncs\":%llu,\"log_bytes\":%llu,\"page_writes\":%llu",
               (unsigned long long)(l->after.syncs - l->before.syncs),
               (unsigned long long)(l->after.log_bytes - l->before.log_bytes),
               (unsigned long long)(l->after.page_writes - l->before.page_writes));
    if (l->rate_before > 0)
        printf(",\"writer_before\":%.0f,\"writer_during\":%.0f,\"writer_p99_before_us\":%.1f,\"writer_p99_during_us\":%.1f,"
               "\"writer_stall_us\":%.1f,\"writer_ops_during\":%llu",
               l->rate_before, l->rate_during, l->p99_before_us, l->p99_during_us, l->stall_us, (unsigned long long)l->during);
    if (l->memory_added > 0)
        printf(",\"memory_added\":%llu", (unsigned long long)l->memory_added);
    printf(",\"bytes\":%llu,\"bytes_to_device\":%llu,\"rss_peak\":%ld,\"retries\":%llu,\"misses\":%llu,\"note\":\"%s\"}\n",
           (unsigned long long)l->bytes, (unsigned long long)l->meter.device, u.ru_maxrss * 1024L,
           (unsigned long long)l->retries, (unsigned long long)l->misses, l->note);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct drive d;
    struct line line = {0};
    if (argc == 2 && strcmp(argv[1], "--info") == 0) {
        printf("%s %s", bench_engine.name, bench_engine.version());
        for (int i = 0; i < 3; i++)
            if (bench_engine.offers((enum bench_class)i))
                printf(" %s", class_names[i]);
        printf("\n");
        return 0;
    }
    parse(argc, argv, &d);
    workload_fn fn = workload_find(d.workload);
    if (fn == NULL)
        fn = workload_find_backup(d.workload);
    if (fn == NULL)
        die("arguments", 0, d.workload);
    if (!bench_engine.offers(d.durability))
        die("arguments", 0, "this engine does not offer that durability class");
    fn(&d, &line);
    meter_stop(&line.meter);
    print_line(&d, &line);
    return line.misses == 0 ? 0 : 3;
}
