#include "sort/sort.h"

#include <stdio.h>

#include "sort/sort_private.h"

/* Items lie in one arena: u32 key size, u32 data size, key, data. The order is kept in an array of offsets. */

static struct slice item_key(const uint8_t *at)
{
    return SLICE(at + ITEM_HEAD, load_u32(at));
}

static struct slice item_data(const uint8_t *at)
{
    return SLICE(at + ITEM_HEAD + load_u32(at), load_u32(at + 4));
}

int sort__compare(const struct sort *sort, const uint8_t *a, const uint8_t *b)
{
    int c = slice_compare(item_key(a), item_key(b));
    if (c == 0 && sort->config.with_data)
        c = slice_compare(item_data(a), item_data(b));
    return c;
}

uint32_t sort__item_size(const uint8_t *at)
{
    return ITEM_HEAD + load_u32(at) + load_u32(at + 4);
}

err_t sort_create(const struct sort_config *config, struct sort **out)
{
    *out = NULL;
    struct sort *sort = calloc(1, sizeof *sort);
    if (sort == NULL)
        return RAISE(JET_errOutOfMemory);
    sort->config = *config;
    sort->config.temp_dir = NULL;
    if (config->temp_dir != NULL && (sort->temp_dir = strdup(config->temp_dir)) == NULL) {
        free(sort);
        return RAISE(JET_errOutOfMemory);
    }
    *out = sort;
    return JET_errSuccess;
}

void sort_destroy(struct sort *sort)
{
    if (sort == NULL)
        return;
    sort__runs_free(sort);
    buffer_free(&sort->arena);
    free(sort->order);
    free(sort->temp_dir);
    free(sort);
}

static err_t reserve_order(struct sort *sort)
{
    if (sort->count < sort->order_room)
        return JET_errSuccess;
    uint32_t room = sort->order_room == 0 ? 1024 : sort->order_room * 2;
    uint32_t *order = realloc(sort->order, (size_t)room * sizeof *order);
    if (order == NULL)
        return RAISE(JET_errOutOfMemory);
    sort->order = order;
    sort->order_room = room;
    return JET_errSuccess;
}

err_t sort_add(struct sort *sort, struct slice key, struct slice data)
{
    ASSERT(!sort->finished);
    uint64_t size = (uint64_t)ITEM_HEAD + key.n + data.n;
    uint64_t used = (uint64_t)sort->arena.n + (uint64_t)sort->count * sizeof *sort->order;
    bool full = used + size > sort->config.memory_max || sort->arena.n + size > UINT32_MAX / 2;
    if (full && sort->count > 0)
        TRY_RETURN(sort__spill(sort));
    TRY_RETURN(reserve_order(sort));
    TRY_RETURN(buffer_reserve(&sort->arena, sort->arena.n + (uint32_t)size));
    uint8_t *at = sort->arena.p + sort->arena.n;
    store_u32(at, key.n);
    store_u32(at + 4, data.n);
    if (key.n != 0)
        memcpy(at + ITEM_HEAD, key.p, key.n);
    if (data.n != 0)
        memcpy(at + ITEM_HEAD + key.n, data.p, data.n);
    sort->order[sort->count++] = sort->arena.n;
    sort->arena.n += (uint32_t)size;
    sort->total++;
    return JET_errSuccess;
}

/* Merge sort over the offsets: stable, and no worst case on sorted input (the usual one for index builds). */
static err_t sort_order(struct sort *sort)
{
    uint32_t n = sort->count;
    if (n < 2)
        return JET_errSuccess;
    uint32_t *from = sort->order;
    uint32_t *other = malloc((size_t)n * sizeof *other);
    if (other == NULL)
        return RAISE(JET_errOutOfMemory);
    uint32_t *to = other;
    const uint8_t *base = sort->arena.p;
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t low = 0; low < n; low += 2 * width) {
            uint64_t mid = low + width < n ? low + width : n, high = low + 2 * width < n ? low + 2 * width : n;
            uint64_t i = low, j = mid, k = low;
            if (mid < high && sort__compare(sort, base + from[mid - 1], base + from[mid]) <= 0) {
                memcpy(to + low, from + low, (size_t)(high - low) * sizeof *to);
                continue;
            }
            while (i < mid && j < high)
                to[k++] = sort__compare(sort, base + from[i], base + from[j]) <= 0 ? from[i++] : from[j++];
            while (i < mid)
                to[k++] = from[i++];
            while (j < high)
                to[k++] = from[j++];
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != sort->order)
        memcpy(sort->order, from, (size_t)n * sizeof *from);
    free(other);
    return JET_errSuccess;
}

/* Sorts what is in memory and drops repeated keys when asked. */
err_t sort__settle(struct sort *sort)
{
    TRY_RETURN(sort_order(sort));
    if (!sort->config.unique || sort->count < 2)
        return JET_errSuccess;
    uint32_t kept = 1;
    for (uint32_t i = 1; i < sort->count; i++)
        if (sort__compare(sort, sort->arena.p + sort->order[kept - 1], sort->arena.p + sort->order[i]) != 0)
            sort->order[kept++] = sort->order[i];
    sort->total -= sort->count - kept;
    sort->count = kept;
    return JET_errSuccess;
}

err_t sort_finish(struct sort *sort)
{
    ASSERT(!sort->finished);
    if (sort->run_count > 0 && sort->count > 0)
        TRY_RETURN(sort__spill(sort));
    else
        TRY_RETURN(sort__settle(sort));
    if (sort->run_count > 0)
        TRY_RETURN(sort__merge(sort));
    sort->finished = true;
    sort->next = 0;
    return JET_errSuccess;
}

err_t sort_rewind(struct sort *sort)
{
    ASSERT(sort->finished);
    sort->next = 0;
    return JET_errSuccess;
}

err_t sort_item(struct sort *sort, uint64_t i, struct slice *key, struct slice *data)
{
    ASSERT(sort->finished && i < sort->total);
    const uint8_t *at;
    if (sort->run_count == 0)
        at = sort->arena.p + sort->order[i];
    else
        TRY_RETURN(sort__merged_item(sort, i, &at));
    *key = item_key(at);
    *data = item_data(at);
    return JET_errSuccess;
}

err_t sort_next(struct sort *sort, struct slice *key, struct slice *data, bool *end)
{
    *key = *data = SLICE_EMPTY;
    *end = sort->next >= sort->total;
    if (*end)
        return JET_errSuccess;
    TRY_RETURN(sort_item(sort, sort->next, key, data));
    sort->next++;
    return JET_errSuccess;
}

uint64_t sort_count(const struct sort *sort)
{
    return sort->total;
}

uint64_t sort_spilled_runs(const struct sort *sort)
{
    return sort->spilled;
}
