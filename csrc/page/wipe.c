/* What lies between the lines of a page: left over from nodes that went, moved or shrank. */
#include "page/page_private.h"

/* One bit for each byte of the data area: set when a tag holds it. A tag that lies outside counts for nothing. */
struct used_map {
    uint64_t bits[PAGE_SIZE_MAX / 64];
    uint32_t size; /* bytes before the tags */
};

static void map_used(struct page page, struct used_map *map)
{
    uint32_t tags = page__tag_count(page);
    map->size = page__area(page) - TAG_SIZE * tags;
    memset(map->bits, 0, (map->size + 63) / 64 * 8);
    for (uint32_t i = 0; i < tags; i++) {
        struct tag tag = page__tag(page, i);
        if (tag.ib + tag.cb > map->size)
            continue;
        for (uint32_t at = tag.ib, end = tag.ib + tag.cb; at < end;) {
            uint32_t word = at / 64, stop = (word + 1) * 64 < end ? (word + 1) * 64 : end;
            map->bits[word] |= ~(uint64_t)0 >> (64 - (stop - at)) << at % 64;
            at = stop;
        }
    }
}

static bool is_used(const struct used_map *map, uint32_t at)
{
    return (map->bits[at / 64] >> at % 64 & 1) != 0;
}

bool page_unused_is_zero(struct page page)
{
    struct used_map map;
    const uint8_t *data = page.p + page__header_size(page);
    map_used(page, &map);
    for (uint32_t at = 0; at < map.size; at++) {
        if (at % 64 == 0 && map.bits[at / 64] == ~(uint64_t)0)
            at += 63;
        else if (data[at] != 0 && !is_used(&map, at))
            return false;
    }
    return true;
}

void page_wipe_unused(struct page page)
{
    struct used_map map;
    uint8_t *data = page.p + page__header_size(page);
    map_used(page, &map);
    for (uint32_t at = 0; at < map.size; at++)
        if (!is_used(&map, at))
            data[at] = 0;
}
