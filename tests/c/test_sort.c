#include "sort/sort.h"

#include "ctest.h"

static void check_sorted(uint32_t items, uint64_t memory_max, bool unique, uint32_t key_space, bool *spilled)
{
    unsigned long long state = ctest_seed() + items;
    struct sort_config config = {.memory_max = memory_max, .temp_dir = ".", .unique = unique, .with_data = !unique};
    struct sort *sort;
    CHECK_OK(sort_create(&config, &sort));
    uint64_t sum = 0;
    uint32_t *seen = calloc(key_space, sizeof *seen);
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < items; i++) {
        uint8_t key[4], data[300];
        uint32_t k = (uint32_t)(ctest_random(&state) % key_space);
        uint32_t n = (uint32_t)(ctest_random(&state) % (sizeof data - 4)) + 4;
        store_be32(key, k);
        memset(data, (int)k, n);
        store_be32(data, i);
        sum += k;
        distinct += seen[k]++ == 0;
        CHECK_OK(sort_add(sort, SLICE(key, 4), SLICE(data, n)));
    }
    CHECK_OK(sort_finish(sort));
    *spilled = sort_spilled_runs(sort) > 0;
    CHECK_EQ(sort_count(sort), unique ? distinct : items);
    for (int round = 0; round < 2; round++) {
        uint64_t got = 0, got_sum = 0;
        uint32_t last_key = 0, last_data = 0;
        bool end = false;
        while (true) {
            struct slice key, data;
            CHECK_OK(sort_next(sort, &key, &data, &end));
            if (end)
                break;
            CHECK(key.n == 4 && data.n >= 4);
            uint32_t k = load_be32(key.p), d = load_be32(data.p);
            CHECK(got == 0 || (unique ? k > last_key : k > last_key || (k == last_key && d > last_data)));
            CHECK(data.n == 4 || data.p[data.n - 1] == (uint8_t)k);
            last_key = k;
            last_data = d;
            got++;
            got_sum += k;
        }
        CHECK_EQ(got, sort_count(sort));
        CHECK(unique || got_sum == sum);
        CHECK_OK(sort_rewind(sort));
    }
    for (uint64_t i = sort_count(sort); i-- > 0;) { /* backwards: random access */
        struct slice key, data, key2, data2;
        CHECK_OK(sort_item(sort, i, &key, &data));
        uint32_t k = load_be32(key.p);
        if (i > 0) {
            CHECK_OK(sort_item(sort, i - 1, &key2, &data2));
            CHECK(load_be32(key2.p) <= k);
        }
        if (items > 5000 && i % 37 != 0)
            i -= i > 36 ? 36 : 0;
    }
    free(seen);
    sort_destroy(sort);
}

CASE(memory)
{
    bool spilled;
    check_sorted(0, 1 << 20, false, 1, &spilled);
    check_sorted(1, 1 << 20, false, 1, &spilled);
    check_sorted(3000, 4 << 20, false, 500, &spilled);
    CHECK(!spilled);
    check_sorted(3000, 4 << 20, true, 500, &spilled);
}

CASE(spill)
{
    bool spilled;
    check_sorted(20000, 200000, false, 5000, &spilled);
    CHECK(spilled);
    check_sorted(20000, 200000, true, 5000, &spilled);
    CHECK(spilled);
    check_sorted(20000, 20000, false, 1u << 20, &spilled); /* more runs than RUNS_MAX */
}

CASE(full_disk)
{
    struct sort_config config = {.memory_max = 4096, .temp_dir = "."};
    struct sort *sort;
    CHECK_OK(sort_create(&config, &sort));
    struct os_fault fault = {.ops = 1u << OS_OP_WRITE, .count = UINT64_MAX, .error = 28 /* ENOSPC */};
    os_fault_set(&fault);
    err_t err = JET_errSuccess;
    uint8_t bytes[100] = {0};
    for (int i = 0; i < 1000 && err >= 0; i++)
        err = sort_add(sort, SLICE_OF(bytes), SLICE_EMPTY);
    os_fault_set(NULL);
    CHECK_EQ(err, JET_errDiskFull);
    sort_destroy(sort);
}

CTEST_MAIN
