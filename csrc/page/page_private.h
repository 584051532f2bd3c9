/* Offsets of the page header and access to tags; shared by the files of this room only. */
#ifndef PAGE_PAGE_PRIVATE_H
#define PAGE_PAGE_PRIVATE_H

#include "page/page.h"

enum header_offset {
    AT_CHECKSUM = 0,
    AT_DBTIME = 8,
    AT_PREV = 16,
    AT_NEXT = 20,
    AT_OBJID = 24,
    AT_FREE = 28,
    AT_UNCOMMITTED = 30,
    AT_MIC_FREE = 32,
    AT_TAG_STATE = 34,
    AT_FLAGS = 36,
    AT_BLOCK_CHECKSUMS = 40, /* large pages only, as is the page number */
    AT_PGNO = 64,
    HEADER_SMALL = 40,
    HEADER_LARGE = 80,
};

enum {
    TAG_SIZE = 4,
    TAGS_MAX = 0xfff,  /* itagMicFree has 12 bits */
    KEY_MASK = 0x1fff, /* of both key counters; large pages keep the node flags above it */
};

static inline uint32_t page__header_size(struct page page)
{
    return page_is_large(page) ? HEADER_LARGE : HEADER_SMALL;
}

/* All bytes behind the header: data from below, tags from above. */
static inline uint32_t page__area(struct page page)
{
    return page.size - page__header_size(page);
}

static inline uint32_t page__tag_mask(struct page page)
{
    return page_is_large(page) ? 0x7fff : 0x1fff;
}

/* Tags in use, tag 0 included; clamped so that the array lies inside the page. */
static inline uint32_t page__tag_count(struct page page)
{
    uint32_t n = load_u16(page.p + AT_TAG_STATE) & TAGS_MAX, most = page__area(page) / TAG_SIZE;
    return n < most ? n : most;
}

/* Tags before the first line: 1, or what newer engines note in bits 12-14. */
static inline uint32_t page__reserved_tags(struct page page)
{
    uint32_t n = (load_u16(page.p + AT_TAG_STATE) >> 12) & 7;
    return n == 0 ? 1 : n;
}

static inline uint32_t page__mic_free(struct page page)
{
    return load_u16(page.p + AT_MIC_FREE);
}

static inline uint8_t *page__tag_at(struct page page, uint32_t itag)
{
    return page.p + page.size - TAG_SIZE * (itag + 1);
}

struct tag {
    uint32_t ib, cb;
    unsigned flags; /* node flags, small pages only */
};

static inline struct tag page__tag(struct page page, uint32_t itag)
{
    uint32_t word = load_u32(page__tag_at(page, itag)), mask = page__tag_mask(page);
    return (struct tag){(word >> 16) & mask, word & mask, page_is_large(page) ? 0 : word >> 29};
}

static inline void page__set_tag(struct page page, uint32_t itag, struct tag tag)
{
    uint32_t top = page_is_large(page) ? 0 : (uint32_t)tag.flags << 29;
    store_u32(page__tag_at(page, itag), top | tag.ib << 16 | tag.cb);
}

/* The bytes of a tag; empty when there is no such tag or it points outside the data area. */
static inline struct slice page__tag_bytes(struct page page, uint32_t itag)
{
    uint32_t count = page__tag_count(page);
    if (itag >= count)
        return SLICE_EMPTY;
    struct tag tag = page__tag(page, itag);
    if (tag.ib + tag.cb > page__area(page) - TAG_SIZE * count)
        return SLICE_EMPTY;
    return SLICE(page.p + page__header_size(page) + tag.ib, tag.cb);
}

/* What a node costs that shares `share` bytes of its key with the page's prefix. */
static inline uint32_t page__cost(uint32_t share, struct slice key, struct slice data)
{
    return TAG_SIZE + (share != 0 ? 4 : 2) + (key.n - share) + data.n;
}

/* Takes a node's bytes apart; false when they make no node. */
bool page__parse_node(struct page page, struct slice prefix, uint32_t itag, struct node *out);
/* Compares two nodes of the same page by key, or by key and data as one string. */
int page__compare_nodes(const struct node *x, const struct node *y, bool with_data);

#endif
