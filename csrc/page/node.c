/* Nodes: taking a line's bytes apart, comparing keys. Memory-safe on any bytes. */
#include "page/page_private.h"

int page_line_count(struct page page)
{
    uint32_t tags = page__tag_count(page), reserved = page__reserved_tags(page);
    return tags > reserved ? (int)(tags - reserved) : 0;
}

struct slice page_external(struct page page)
{
    return page__tag_bytes(page, 0);
}

struct slice page_prefix(struct page page)
{
    enum { SPLIT_BUFFER_SIZE = 16 };
    uint32_t flags = page_flags(page);
    struct slice external = page_external(page);
    if ((flags & PAGE_ROOT) == 0)
        return external;
    if ((flags & PAGE_SPACE_TREE) == 0 || external.n <= SPLIT_BUFFER_SIZE)
        return SLICE_EMPTY;
    return slice_after(external, SPLIT_BUFFER_SIZE);
}

bool page__parse_node(struct page page, struct slice prefix, uint32_t itag, struct node *out)
{
    struct slice bytes = page__tag_bytes(page, itag);
    if (bytes.n < 2)
        return false;
    uint32_t first = load_u16(bytes.p), head = 2, share = 0;
    unsigned flags = page_is_large(page) ? first >> 13 : page__tag(page, itag).flags;
    uint32_t suffix = first & KEY_MASK;
    if (flags & NODE_COMPRESSED) {
        if (bytes.n < 4)
            return false;
        head = 4;
        share = first & KEY_MASK;
        suffix = load_u16(bytes.p + 2) & KEY_MASK;
    }
    if (share > prefix.n || suffix > bytes.n - head)
        return false;
    out->prefix = SLICE(prefix.p, share);
    out->suffix = SLICE(bytes.p + head, suffix);
    out->data = SLICE(bytes.p + head + suffix, bytes.n - head - suffix);
    out->flags = flags;
    return true;
}

err_t page_node(struct page page, int line, struct node *out)
{
    if (line >= 0 && line < page_line_count(page) &&
        page__parse_node(page, page_prefix(page), page__reserved_tags(page) + (uint32_t)line, out))
        return JET_errSuccess;
    *out = (struct node){0};
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("tree %u: line %d of a page makes no node", page_objid(page), line);
    return err;
}

uint32_t node_key_copy(const struct node *node, uint8_t *to)
{
    if (node->prefix.n != 0)
        memcpy(to, node->prefix.p, node->prefix.n);
    if (node->suffix.n != 0)
        memcpy(to + node->prefix.n, node->suffix.p, node->suffix.n);
    return node_key_size(node);
}

/* Compares the first bytes of `*a` and `*b`, as many as both have, and takes them off. */
static int compare_heads(struct slice *a, struct slice *b)
{
    uint32_t n = a->n < b->n ? a->n : b->n;
    int c = n == 0 ? 0 : memcmp(a->p, b->p, n);
    *a = SLICE(a->p + n, a->n - n);
    *b = SLICE(b->p + n, b->n - n);
    return c;
}

/* Two byte strings, each in parts, as if each were one. */
static int compare_parts(struct slice *a, int na, struct slice *b, int nb)
{
    int i = 0, j = 0;
    for (;;) {
        while (i < na && a[i].n == 0)
            i++;
        while (j < nb && b[j].n == 0)
            j++;
        if (i == na || j == nb)
            return (i < na) - (j < nb);
        int c = compare_heads(&a[i], &b[j]);
        if (c != 0)
            return c < 0 ? -1 : 1;
    }
}

int node_compare_key(const struct node *node, struct slice key)
{
    uint32_t n = node->prefix.n;
    if (n > key.n)
        n = key.n;
    int c = n == 0 ? 0 : memcmp(node->prefix.p, key.p, n);
    if (c == 0 && n == node->prefix.n)
        c = slice_compare(node->suffix, slice_after(key, n));
    else if (c == 0)
        c = 1; /* the key ends inside the prefix */
    return (c > 0) - (c < 0);
}

int node_compare_key_data(const struct node *node, struct slice key, struct slice data)
{
    struct slice a[3] = {node->prefix, node->suffix, node->data}, b[2] = {key, data};
    return compare_parts(a, 3, b, 2);
}

/* The key after the bytes that two nodes of one page both take from its prefix. */
static struct slice own_prefix(const struct node *node, uint32_t shared)
{
    return slice_after(node->prefix, shared);
}

int page__compare_nodes(const struct node *x, const struct node *y, bool with_data)
{
    uint32_t shared = x->prefix.n < y->prefix.n ? x->prefix.n : y->prefix.n;
    struct slice a[3] = {own_prefix(x, shared), x->suffix, x->data};
    struct slice b[3] = {own_prefix(y, shared), y->suffix, y->data};
    int parts = with_data ? 3 : 2;
    return compare_parts(a, parts, b, parts);
}

uint32_t page_share(struct page page, struct slice key)
{
    uint32_t common = slice_common_prefix(page_prefix(page), key);
    return common > 2 ? common : 0;
}

uint32_t page_node_cost(struct page page, struct slice key, struct slice data)
{
    return page__cost(page_share(page, key), key, data);
}

bool page_has_deleted(struct page page)
{
    uint32_t reserved = page__reserved_tags(page);
    for (uint32_t itag = page__tag_count(page); itag > reserved; itag--) {
        struct slice bytes = SLICE_EMPTY;
        if (page_is_large(page))
            bytes = page__tag_bytes(page, itag - 1);
        unsigned flags = bytes.n >= 2 ? load_u16(bytes.p) >> 13 : page__tag(page, itag - 1).flags;
        if ((flags & NODE_DELETED) != 0)
            return true;
    }
    return false;
}

err_t page_child(struct page page, int line, pgno_t *child)
{
    struct node node;
    *child = PGNO_NIL;
    TRY_RETURN(page_node(page, line, &node));
    if ((page_flags(page) & PAGE_LEAF) != 0 || node.data.n != 4 ||
        load_u32(node.data.p) == PGNO_NIL) {
        err_t err = RAISE(JET_errDatabaseCorrupted);
        err_detail("tree %u: line %d of a page names no child", page_objid(page), line);
        return err;
    }
    *child = load_u32(node.data.p);
    return JET_errSuccess;
}

/* ---- which prefix serves a range of lines ---- */

static uint32_t common_of_parts(struct slice *a, int na, struct slice *b, int nb)
{
    uint32_t common = 0;
    int i = 0, j = 0;
    for (;;) {
        while (i < na && a[i].n == 0)
            i++;
        while (j < nb && b[j].n == 0)
            j++;
        if (i == na || j == nb)
            return common;
        uint32_t n = slice_common_prefix(a[i], b[j]);
        bool whole = n == (a[i].n < b[j].n ? a[i].n : b[j].n);
        common += n;
        if (!whole)
            return common;
        a[i] = slice_after(a[i], n);
        b[j] = slice_after(b[j], n);
    }
}

static uint32_t common_key(const struct node *x, const struct node *y)
{
    uint32_t shared = x->prefix.n < y->prefix.n ? x->prefix.n : y->prefix.n;
    struct slice a[2] = {own_prefix(x, shared), x->suffix},
                 b[2] = {own_prefix(y, shared), y->suffix};
    return shared + common_of_parts(a, 2, b, 2);
}

/* A shared prefix costs a counter of 2 bytes. */
static int32_t saving(uint32_t common)
{
    return common > 2 ? (int32_t)common - 2 : 0;
}

/* Sum of the savings that earlier lines get from the present one, kept while the present one moves
 * on: a line shares with a later one the smallest common part of the neighbours between them, so
 * equal ones stay together on a stack. */
struct run {
    uint16_t common, lines;
};
struct runs {
    struct run *stack;
    uint32_t depth;
    int32_t sum;
};

static void runs_step(struct runs *r, uint32_t common)
{
    uint32_t lines = 1;
    r->sum += saving(common);
    while (r->depth > 0 && r->stack[r->depth - 1].common >= common) {
        struct run top = r->stack[--r->depth];
        r->sum -= (saving(top.common) - saving(common)) * top.lines;
        lines += top.lines;
    }
    r->stack[r->depth++] = (struct run){(uint16_t)common, (uint16_t)lines};
}

int page_best_prefix(struct page page, int first, int last)
{
    uint16_t common[TAGS_MAX];
    int32_t before[TAGS_MAX];
    struct run stack[TAGS_MAX];
    int count = last - first, best = -1;
    if (first < 0 || last > page_line_count(page) || count < 2 || count > TAGS_MAX)
        return -1;

    struct slice prefix = page_prefix(page);
    uint32_t itag = page__reserved_tags(page) + (uint32_t)first;
    struct runs runs = {stack, 0, 0};
    struct node node, previous = {0};
    for (int i = 0; i < count; i++) {
        if (!page__parse_node(page, prefix, itag + (uint32_t)i, &node))
            return -1;
        if (i > 0) {
            common[i] = (uint16_t)common_key(&previous, &node);
            runs_step(&runs, common[i]);
        }
        before[i] = runs.sum;
        previous = node;
    }
    runs = (struct runs){stack, 0, 0};
    int32_t most = 0;
    for (int i = count - 1; i >= 0; i--) {
        if (i < count - 1)
            runs_step(&runs, common[i + 1]);
        if (!page__parse_node(page, prefix, itag + (uint32_t)i, &node))
            return -1;
        uint32_t size = node_key_size(&node);
        int32_t gain = before[i] + runs.sum + saving(size) - (int32_t)size;
        if (gain > most) {
            most = gain;
            best = first + i;
        }
    }
    return best;
}

uint32_t page_lines_cost(struct page page, int first, int last, struct slice prefix)
{
    struct slice old = page_prefix(page);
    uint32_t cost = 0;
    for (int line = first; line < last; line++) {
        struct node node;
        if (!page__parse_node(page, old, page__reserved_tags(page) + (uint32_t)line, &node))
            continue;
        struct slice a[2] = {node.prefix, node.suffix}, b = prefix;
        cost += TAG_SIZE + 2 + node_key_size(&node) + node.data.n;
        cost -= (uint32_t)saving(common_of_parts(a, 2, &b, 1));
    }
    return cost;
}
