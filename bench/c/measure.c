#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "drive.h"

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000u;
}

/* Busy time of the whole machine: user, nice, system, irq, softirq of /proc/stat. */
static uint64_t machine_ns(void)
{
    unsigned long long user = 0, nice = 0, system = 0, idle, wait, irq = 0, soft = 0;
    FILE *f = fopen("/proc/stat", "r");
    if (f == NULL)
        return 0;
    int got = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft);
    fclose(f);
    return got == 7 ? (user + nice + system + irq + soft) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK)) : 0;
}

static uint64_t device_bytes(void)
{
    char name[64];
    unsigned long long value;
    FILE *f = fopen("/proc/self/io", "r");
    uint64_t found = 0;
    if (f == NULL)
        return 0;
    while (fscanf(f, "%63s %llu", name, &value) == 2)
        if (strcmp(name, "write_bytes:") == 0)
            found = value;
    fclose(f);
    return found;
}

void meter_start(struct meter *m)
{
    *m = (struct meter){now_ns(), cpu_ns(), machine_ns(), device_bytes(), true};
}

void meter_stop(struct meter *m)
{
    if (!m->running)
        return;
    m->wall = now_ns() - m->wall;
    m->cpu = cpu_ns() - m->cpu;
    m->others = machine_ns() - m->others;
    m->others = m->others > m->cpu ? m->others - m->cpu : 0;
    m->device = device_bytes() - m->device;
    m->running = false;
}

static uint64_t status_bytes(const char *field)
{
    char text[4096];
    FILE *f = fopen("/proc/self/status", "r");
    size_t n = f == NULL ? 0 : fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    if (f != NULL)
        fclose(f);
    const char *at = strstr(text, field);
    if (at == NULL)
        die("/proc/self/status", 0, field);
    return strtoull(at + strlen(field), NULL, 10) * 1024;
}

uint64_t memory_mark(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f == NULL || fputs("5", f) < 0 || fclose(f) != 0) /* the high mark comes down to what there is */
        die("/proc/self/clear_refs", 0, "cannot be written");
    return status_bytes("VmRSS:");
}

uint64_t memory_since(uint64_t mark)
{
    uint64_t most = status_bytes("VmHWM:");
    return most > mark ? most - mark : 0;
}

void drop_from_memory(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die("posix_fadvise", 0, path);
    close(fd);
}

void latencies_init(struct latencies *l, uint64_t room)
{
    *l = (struct latencies){.ns = calloc(room + 1, sizeof *l->ns), .room = room};
    if (l->ns == NULL)
        die("memory", 0, "latencies");
}

void latencies_add(struct latencies *l, uint64_t ns)
{
    if (l->count < l->room)
        l->ns[l->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

void latencies_merge(struct latencies *to, const struct latencies *from)
{
    for (uint64_t i = 0; i < from->count; i++)
        latencies_add(to, from->ns[i]);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

uint32_t latencies_at(struct latencies *l, double part)
{
    if (l->count == 0)
        return 0;
    qsort(l->ns, l->count, sizeof *l->ns, by_size);
    return l->ns[(uint64_t)((double)(l->count - 1) * part)];
}

/* ---- keys and values ---- */

uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void make_key(uint8_t key[KEY_BYTES], uint64_t slot)
{
    uint64_t state = slot, big = __builtin_bswap64(slot), noise = random_next(&state);
    memcpy(key, &big, 8);
    memcpy(key + 8, &noise, 8);
}

void make_value(uint8_t value[VALUE_BYTES], uint64_t slot, uint64_t version)
{
    uint64_t state = slot * 31 + version, word = __builtin_bswap64(slot);
    memcpy(value, &word, 8);
    for (unsigned i = 8; i < VALUE_BYTES; i += 8) {
        word = random_next(&state);
        memcpy(value + i, &word, VALUE_BYTES - i < 8 ? VALUE_BYTES - i : 8);
    }
}

bool value_is_of(const uint8_t value[VALUE_BYTES], uint64_t slot)
{
    return load_be64(value) == slot;
}

/* ---- zipf, by Gray's method, spread over the rows ---- */

void zipf_init(struct zipf *z, uint64_t n, double theta)
{
    double zeta2 = 1 + pow(0.5, theta);
    *z = (struct zipf){.n = n, .theta = theta, .alpha = 1 / (1 - theta)};
    for (uint64_t i = 1; i <= n; i++)
        z->zetan += pow(1.0 / (double)i, theta);
    z->eta = (1 - pow(2.0 / (double)n, 1 - theta)) / (1 - zeta2 / z->zetan);
}

uint64_t zipf_next(const struct zipf *z, uint64_t *state)
{
    double u = (double)(random_next(state) >> 11) / 9007199254740992.0, uz = u * z->zetan;
    uint64_t rank = uz < 1                          ? 0
                    : uz < 1 + pow(0.5, z->theta) ? 1
                                                    : (uint64_t)((double)z->n * pow(z->eta * u - z->eta + 1, z->alpha));
    uint64_t spread = rank;
    return random_next(&spread) % z->n;
}
