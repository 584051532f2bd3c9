/* A small test frame for the C rooms. A file defines cases with CASE(name) { ... } and ends with CTEST_MAIN.
 *   test_page                runs all cases     test_page --list      names, one a line
 *   test_page name ...       runs the named     (one process a case when driven by tests/test_rooms.py) */
#ifndef CTEST_H
#define CTEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ctest_case {
    const char *name;
    void (*run)(void);
    struct ctest_case *next;
};
static struct ctest_case *ctest_cases;

#define CASE(id)                                                                                   \
    static void case_##id(void);                                                                   \
    static struct ctest_case ctest_##id = {#id, case_##id, NULL};                                  \
    __attribute__((constructor)) static void register_##id(void)                                   \
    {                                                                                              \
        struct ctest_case **at = &ctest_cases;                                                     \
        while (*at != NULL)                                                                        \
            at = &(*at)->next;                                                                     \
        *at = &ctest_##id;                                                                         \
    }                                                                                              \
    static void case_##id(void)

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #x);                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        long long a_ = (long long)(a), b_ = (long long)(b);                                        \
        if (a_ != b_) {                                                                            \
            fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #a, a_, #b, b_); \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define CHECK_OK(x)                                                                                \
    do {                                                                                           \
        int e_ = (int)(x);                                                                         \
        if (e_ < 0) {                                                                              \
            fprintf(stderr, "%s:%d: %s gave %d (%s, %s:%d %s)\n", __FILE__, __LINE__, #x, e_,      \
                    err_name(e_), err_last()->file ? err_last()->file : "?", err_last()->line,     \
                    err_last()->detail);                                                           \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Seed of random cases: printed, and set by CTEST_SEED. */
static inline unsigned long ctest_seed(void)
{
    const char *s = getenv("CTEST_SEED");
    unsigned long seed = s != NULL ? strtoul(s, NULL, 0) : 20261121ul;
    printf("seed %lu\n", seed);
    return seed;
}
/* xorshift, so that a seed means the same everywhere */
static inline unsigned long long ctest_random(unsigned long long *state)
{
    unsigned long long x = *state ? *state : 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

#define CTEST_MAIN                                                                                 \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        int ran = 0;                                                                               \
        for (struct ctest_case *c = ctest_cases; c != NULL; c = c->next) {                         \
            int wanted = argc < 2;                                                                 \
            if (argc == 2 && strcmp(argv[1], "--list") == 0) {                                     \
                puts(c->name);                                                                     \
                ran++;                                                                             \
                continue;                                                                          \
            }                                                                                      \
            for (int i = 1; i < argc; i++)                                                         \
                wanted |= strcmp(argv[i], c->name) == 0;                                           \
            if (!wanted)                                                                           \
                continue;                                                                          \
            c->run();                                                                              \
            printf("ok %s\n", c->name);                                                            \
            fflush(stdout);                                                                        \
            ran++;                                                                                 \
        }                                                                                          \
        return ran > 0 ? 0 : 2;                                                                    \
    }

#endif
