/* Changes of a page's nodes. Every function leaves cbFree exact and ibMicFree behind the last data.
 *
 * They never fail: the caller has asked page_can_insert or page_can_replace, on a page that
 * page_validate accepts. What would write outside the page on a damaged one is ENFORCEd, so a lie
 * in a page ends the process, not its heap. */
#include "page/page_private.h"

static void set_free(struct page page, uint32_t n)
{
    store_u16(page.p + AT_FREE, (uint16_t)n);
}

static void set_mic_free(struct page page, uint32_t ib)
{
    store_u16(page.p + AT_MIC_FREE, (uint16_t)ib);
}

static void set_tag_count(struct page page, uint32_t n)
{
    uint32_t state = load_u16(page.p + AT_TAG_STATE);
    store_u16(page.p + AT_TAG_STATE, (uint16_t)((state & ~(uint32_t)TAGS_MAX) | n));
}

static uint8_t *data_at(struct page page, uint32_t ib)
{
    return page.p + page__header_size(page) + ib;
}

/* Bytes between the last data and the tags, when there are `tags` of them. */
static uint32_t contiguous(struct page page, uint32_t tags)
{
    uint32_t used = page__mic_free(page) + TAG_SIZE * tags, area = page__area(page);
    return used < area ? area - used : 0;
}

static bool overlaps(struct page page, struct slice s)
{
    return s.n != 0 && (uintptr_t)s.p < (uintptr_t)page.p + page.size &&
           (uintptr_t)s.p + s.n > (uintptr_t)page.p;
}

/* Moves all data to the front in the order of the tags, `last` behind all others, so that it can
 * grow. */
static void compact(struct page page, uint32_t last)
{
    uint8_t old[PAGE_SIZE_MAX];
    uint32_t tags = page__tag_count(page), at = 0, limit = page__area(page) - TAG_SIZE * tags;
    memcpy(old, data_at(page, 0), limit);
    for (uint32_t i = 0; i <= tags; i++) {
        uint32_t itag = i < tags ? i : last;
        if (itag >= tags || (i < tags && i == last))
            continue;
        struct tag tag = page__tag(page, itag);
        if (tag.cb != 0) { /* the offset of an empty tag means nothing */
            ENFORCE(tag.ib + tag.cb <= limit && at + tag.cb <= limit);
            memcpy(data_at(page, at), old + tag.ib, tag.cb);
        }
        tag.ib = at;
        page__set_tag(page, itag, tag);
        at += tag.cb;
    }
    set_mic_free(page, at);
}

/* Gives tag `itag` n bytes of which the first `keep` stay as they are; returns where they are. */
static uint8_t *resize_tag(struct page page, uint32_t itag, uint32_t keep, uint32_t n)
{
    uint32_t tags = page__tag_count(page);
    struct tag tag = page__tag(page, itag);
    ENFORCE(itag < tags && keep <= tag.cb && keep <= n);
    ENFORCE(n <= tag.cb + page_free(page) && n <= page__tag_mask(page));
    uint32_t old = tag.cb, left = page_free(page) + old - n, end = tag.ib + old;

    if (n > old && end == page__mic_free(page) && n - old <= contiguous(page, tags)) {
        set_mic_free(page, tag.ib + n);
    } else if (n > old) {
        if (n > contiguous(page, tags)) {
            tag.cb = keep;
            page__set_tag(page, itag, tag);
            compact(page, itag);
            tag = page__tag(page, itag);
            ENFORCE(n - keep <= contiguous(page, tags));
        } else {
            ENFORCE(keep == 0 || tag.ib + keep <= page__mic_free(page));
            if (keep != 0)
                memcpy(data_at(page, page__mic_free(page)), data_at(page, tag.ib), keep);
            tag.ib = page__mic_free(page);
        }
        set_mic_free(page, tag.ib + n);
    } else if (end == page__mic_free(page)) {
        set_mic_free(page, tag.ib + n);
    }
    tag.cb = n;
    page__set_tag(page, itag, tag);
    set_free(page, left);
    return data_at(page, tag.ib);
}

/* ---- room ---- */

static bool fits(struct page page, uint32_t cost, uint32_t room)
{
    return cost <= room && page__tag_count(page) < TAGS_MAX;
}

static uint32_t committed_free(struct page page)
{
    uint32_t all = page_free(page), reserved = page_uncommitted_free(page);
    return all > reserved ? all - reserved : 0;
}

bool page_can_insert_share(struct page page, struct slice key, uint32_t share, struct slice data)
{
    return fits(page, page__cost(share, key, data), committed_free(page));
}

bool page_can_insert(struct page page, struct slice key, struct slice data)
{
    return page_can_insert_share(page, key, page_share(page, key), data);
}

bool page_can_insert_reserved(struct page page, struct slice key, struct slice data)
{
    return fits(page, page_node_cost(page, key, data), page_free(page));
}

bool page_can_replace_reserved(struct page page, int line, uint32_t data_size, uint32_t own)
{
    struct node node;
    if (line < 0 || line >= page_line_count(page) ||
        !page__parse_node(page, page_prefix(page), page__reserved_tags(page) + (uint32_t)line,
                          &node))
        return false;
    if (data_size <= node.data.n)
        return true;
    uint32_t all = page_free(page), reserved = page_uncommitted_free(page);
    uint32_t room = committed_free(page) + (own < reserved ? own : reserved);
    return data_size - node.data.n <= (room < all ? room : all);
}

bool page_can_replace(struct page page, int line, uint32_t data_size)
{
    return page_can_replace_reserved(page, line, data_size, 0);
}

/* ---- nodes ---- */

/* Writes head, suffix and data of a node that shares `share` bytes. `at` holds room for them. */
static void write_node(struct page page, uint8_t *at, uint32_t share, struct slice suffix,
                       struct slice data, unsigned flags)
{
    uint32_t top = page_is_large(page) ? flags << 13 : 0, head = 2;
    if (flags & NODE_COMPRESSED) {
        store_u16(at, (uint16_t)(share | top));
        store_u16(at + 2, (uint16_t)suffix.n);
        head = 4;
    } else {
        store_u16(at, (uint16_t)(suffix.n | top));
    }
    if (suffix.n != 0)
        memcpy(at + head, suffix.p, suffix.n);
    if (data.n != 0)
        memcpy(at + head + suffix.n, data.p, data.n);
}

void page_insert(struct page page, int line, struct slice key, struct slice data,
                 unsigned node_flags)
{
    page_insert_share(page, line, key, page_share(page, key), data, node_flags);
}

void page_insert_share(struct page page, int line, struct slice key, uint32_t share, struct slice data,
                       unsigned node_flags)
{
    ASSERT(line >= 0 && line <= page_line_count(page) && share == page_share(page, key));
    ASSERT(!overlaps(page, key) && !overlaps(page, data));
    uint32_t tags = page__tag_count(page);
    uint32_t cost = page__cost(share, key, data), left = page_free(page) - cost;
    uint32_t itag = page__reserved_tags(page) + (uint32_t)line;
    ENFORCE(fits(page, cost, page_free(page)) && itag <= tags);
    ENFORCE(key.n - share <= KEY_MASK);

    if (contiguous(page, tags) < cost)
        compact(page, UINT32_MAX);
    ENFORCE(contiguous(page, tags) >= cost);
    memmove(page__tag_at(page, tags), page__tag_at(page, tags - 1), TAG_SIZE * (tags - itag));
    set_tag_count(page, tags + 1);

    unsigned flags =
        (node_flags & (NODE_VERSION | NODE_DELETED)) | (share != 0 ? NODE_COMPRESSED : 0u);
    struct tag tag = {page__mic_free(page), cost - TAG_SIZE, flags};
    page__set_tag(page, itag, tag);
    write_node(page, data_at(page, tag.ib), share, slice_after(key, share), data,
               flags);
    set_mic_free(page, tag.ib + tag.cb);
    set_free(page, left);
}

void page_replace(struct page page, int line, struct slice data)
{
    ASSERT(!overlaps(page, data));
    struct node node;
    uint32_t itag = page__reserved_tags(page) + (uint32_t)line;
    ENFORCE(line >= 0 && page__parse_node(page, page_prefix(page), itag, &node));
    uint32_t head = page__tag(page, itag).cb - node.data.n;
    uint8_t *at = resize_tag(page, itag, head, head + data.n);
    if (data.n != 0)
        memcpy(at + head, data.p, data.n);
}

void page_delete(struct page page, int line)
{
    uint32_t tags = page__tag_count(page), itag = page__reserved_tags(page) + (uint32_t)line;
    ENFORCE(line >= 0 && itag < tags);
    struct tag tag = page__tag(page, itag);
    if (tag.ib + tag.cb == page__mic_free(page))
        set_mic_free(page, tag.ib);
    memmove(page__tag_at(page, tags - 2), page__tag_at(page, tags - 1),
            TAG_SIZE * (tags - 1 - itag));
    set_tag_count(page, tags - 1);
    set_free(page, page_free(page) + tag.cb + TAG_SIZE);
}

void page_set_node_flags(struct page page, int line, unsigned node_flags)
{
    uint32_t itag = page__reserved_tags(page) + (uint32_t)line,
             own = node_flags & (NODE_VERSION | NODE_DELETED);
    ENFORCE(line >= 0 && line < page_line_count(page));
    struct tag tag = page__tag(page, itag);
    if (!page_is_large(page)) {
        tag.flags = (tag.flags & NODE_COMPRESSED) | own;
        page__set_tag(page, itag, tag);
        return;
    }
    ENFORCE(page__tag_bytes(page, itag).n >= 2);
    uint8_t *at = data_at(page, tag.ib);
    uint32_t first = load_u16(at);
    store_u16(at, (uint16_t)((first & (KEY_MASK | NODE_COMPRESSED << 13)) | own << 13));
}

/* ---- the external header ---- */

void page_set_external(struct page page, struct slice data)
{
    ASSERT(!overlaps(page, data));
    uint8_t *at = resize_tag(page, 0, 0, data.n);
    if (data.n != 0)
        memcpy(at, data.p, data.n);
}

void page_clear_nodes(struct page page)
{
    set_tag_count(page, page__reserved_tags(page));
    compact(page, UINT32_MAX);
    set_free(page, contiguous(page, page__tag_count(page)));
}

void page_change_prefix(struct page page, struct slice prefix)
{
    uint8_t copy[PAGE_SIZE_MAX];
    struct page old = {copy, page.size};
    ASSERT((page_flags(page) & PAGE_ROOT) == 0);
    memcpy(copy, page.p, page.size);
    if (overlaps(page, prefix))
        prefix.p = copy + (prefix.p - page.p);

    page_clear_nodes(page);
    page_set_external(page, prefix);
    int count = page_line_count(old);
    for (int line = 0; line < count; line++) {
        uint8_t key[PAGE_SIZE_MAX];
        struct node node;
        ENFORCE(page__parse_node(old, page_prefix(old), page__reserved_tags(old) + (uint32_t)line,
                                 &node));
        uint32_t n = node_key_copy(&node, key);
        page_insert(page, line, SLICE(key, n), node.data, node.flags);
    }
}
