/* Binary search over the lines of a page: the hottest code of the engine.
 *
 * The page's prefix is compared with the key once. A node that shares no more than the key does is
 * then decided by its suffix, one that shares more by the byte where key and prefix part. Suffixes
 * are compared eight bytes at a time as a big-endian number first; only equal numbers need a look
 * at the rest.
 *
 * The branch on each comparison is on purpose: without it a search of hot pages is no faster, one
 * of cold pages takes twice as long, for the processor no longer fetches the next line on a guess.
 *
 * A line that makes no node counts as smaller than any key: the answer is then arbitrary, never a
 * wild access. */
#include "page/page_private.h"

struct probe {
    const uint8_t *area;
    const uint8_t *tags; /* tag of line 0 */
    uint32_t limit; /* data ends before the tags; they leave 8 readable bytes behind any suffix */
    struct slice prefix;
    struct slice key, data;
    uint32_t common; /* bytes that key and page prefix share */
    bool infinity;   /* on branch pages an empty key is above all others */
    int beyond;      /* how a node that shares more of the prefix compares with the key */
    uint32_t head_at;
    uint64_t head; /* key from head_at on, 8 bytes, zeros behind its end */
};

/* BRANCH looks for the first separator above the key, the others for the first line not below it.
 */
enum mode { KEY_ONLY, KEY_AND_DATA, BRANCH };

/* What is searched for, from `at` on: key bytes, then (KEY_AND_DATA) data bytes. */
static inline struct slice key_from(const struct probe *p, uint32_t at)
{
    return at < p->key.n ? slice_after(p->key, at) : SLICE_EMPTY;
}
static inline struct slice data_from(const struct probe *p, uint32_t at)
{
    return at <= p->key.n ? p->data
                          : SLICE(p->data.p + (at - p->key.n), p->data.n - (at - p->key.n));
}

static uint64_t load_head(const struct probe *p, uint32_t at)
{
    uint8_t bytes[8] = {0};
    struct slice key = key_from(p, at);
    if (key.n >= 8)
        return load_be64(key.p);
    if (key.n != 0)
        memcpy(bytes, key.p, key.n);
    struct slice data = data_from(p, at);
    if (data.n != 0)
        memcpy(bytes + key.n, data.p, data.n < 8 - key.n ? data.n : 8 - key.n);
    return load_be64(bytes);
}

static int compare_rest(const uint8_t *node, uint32_t n, struct slice key, struct slice data)
{
    uint32_t most = n < key.n ? n : key.n;
    int c = most == 0 ? 0 : memcmp(node, key.p, most);
    if (c != 0)
        return c;
    if (n <= key.n)
        return n < key.n ? -1 : data.n != 0 ? -1 : 0;
    return slice_compare(SLICE(node + most, n - most), data);
}

/* <0, 0, >0: the node of the line before, at, after what is searched for. */
static inline __attribute__((always_inline)) int probe_line(struct probe *p, uint32_t line,
                                                            bool large, enum mode mode)
{
    const uint32_t mask = large ? 0x7fff : 0x1fff;
    uint32_t word = load_u32(p->tags - TAG_SIZE * line), cb = word & mask, ib = (word >> 16) & mask;
    if (cb < 2 || ib + cb > p->limit)
        return -1;
    const uint8_t *at = p->area + ib;
    uint32_t first = load_u16(at), share = 0;
    unsigned flags = large ? first >> 13 : word >> 29;
    uint32_t suffix = first & KEY_MASK;
    at += 2;
    cb -= 2;
    if (flags & NODE_COMPRESSED) {
        if (cb < 2)
            return -1;
        share = suffix;
        suffix = load_u16(at) & KEY_MASK;
        at += 2;
        cb -= 2;
    }
    if (suffix > cb || share > p->prefix.n)
        return -1;
    if ((share | suffix) == 0 && p->infinity)
        return 1;
    if (share > p->common)
        return p->beyond;
    uint32_t n = mode == KEY_AND_DATA ? cb : suffix;
    if (share != p->head_at) {
        p->head_at = share;
        p->head = load_head(p, share);
    }
    uint64_t head = load_be64(at);
    if (n < 8)
        head = n == 0 ? 0 : head & ~(uint64_t)0 << (64 - 8 * n);
    if (head != p->head)
        return head < p->head ? -1 : 1;
    return compare_rest(at, n, key_from(p, share), data_from(p, share));
}

static void probe_init(struct probe *p, struct page page, struct slice key, struct slice data)
{
    uint32_t tags = page__tag_count(page);
    p->area = page.p + page__header_size(page);
    p->tags = page__tag_at(page, page__reserved_tags(page));
    p->limit = page__area(page) - TAG_SIZE * tags;
    p->prefix = page_prefix(page);
    p->key = key;
    p->data = data;
    p->common = slice_common_prefix(p->prefix, key);
    if (p->common == key.n)
        p->common += slice_common_prefix(slice_after(p->prefix, key.n), data);
    p->infinity = (page_flags(page) & PAGE_LEAF) == 0;
    p->beyond = 1;
    if (p->common < p->prefix.n && p->common < key.n + data.n) {
        uint32_t at = p->common;
        uint8_t wanted = at < key.n ? key.p[at] : data.p[at - key.n];
        p->beyond = p->prefix.p[at] < wanted ? -1 : 1;
    }
    p->head_at = 0;
    p->head = load_head(p, 0);
}

static inline __attribute__((always_inline)) int search(struct probe *p, uint32_t count, bool large,
                                                        enum mode mode, bool *equal)
{
    uint32_t low = 0, high = count;
    *equal = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int c = probe_line(p, middle, large, mode);
        if (c < 0 || (mode == BRANCH && c == 0)) {
            low = middle + 1;
        } else {
            high = middle;
            *equal = c == 0;
        }
    }
    return (int)low;
}

/* One copy of the loop for each kind of page and of search, so that the inner tests are decided at
 * compile time. */
#define SEARCH(mode, key, data, equal)                                                             \
    do {                                                                                           \
        struct probe probe;                                                                        \
        uint32_t count = (uint32_t)page_line_count(page);                                          \
        probe_init(&probe, page, key, data);                                                       \
        return page_is_large(page) ? search(&probe, count, true, mode, equal)                      \
                                   : search(&probe, count, false, mode, equal);                    \
    } while (0)

int page_search(struct page page, struct slice key, bool *equal)
{
    SEARCH(KEY_ONLY, key, SLICE_EMPTY, equal);
}

int page_search_key_data(struct page page, struct slice key, struct slice data, bool *equal)
{
    SEARCH(KEY_AND_DATA, key, data, equal);
}

int page_search_branch(struct page page, struct slice bookmark)
{
    bool equal;
    SEARCH(BRANCH, bookmark, SLICE_EMPTY, &equal);
}
