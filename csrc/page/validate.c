/* The structure check of one page: everything that can be known without another page. */
#include "page/page_private.h"

static err_t damaged(struct page page, const char *what, int line)
{
    err_t err = RAISE(JET_errDatabaseCorrupted);
    if (line >= 0)
        err_detail("a page of tree %u: %s at line %d", page_objid(page), what, line);
    else
        err_detail("a page of tree %u: %s", page_objid(page), what);
    return err;
}

/* Marks `n` > 0 bytes from `from` on in a map of one bit a byte; false when one of them is marked
 * already. */
static bool take(uint64_t *map, uint32_t from, uint32_t n)
{
    for (uint32_t end = from + n; from < end;) {
        uint32_t word = from / 64, stop = (word + 1) * 64 < end ? (word + 1) * 64 : end;
        uint64_t bits = ~(uint64_t)0 >> (64 - (stop - from)) << from % 64;
        if ((map[word] & bits) != 0)
            return false;
        map[word] |= bits;
        from = stop;
    }
    return true;
}

/* Tags lie inside the data area, apart from each other, and account for every byte that is not
 * free. */
static err_t check_tags(struct page page)
{
    uint64_t taken[PAGE_SIZE_MAX / 64];
    uint32_t state = load_u16(page.p + AT_TAG_STATE), tags = state & TAGS_MAX,
             area = page__area(page);
    uint32_t used = TAG_SIZE * tags, mic_free = page__mic_free(page);
    if (tags < page__reserved_tags(page) || used > area || (state & 0x8000) != 0)
        return damaged(page, "impossible number of tags", -1);
    if (mic_free > area - used)
        return damaged(page, "data and tags overlap", -1);
    memset(taken, 0, (mic_free + 63) / 64 * 8);
    for (uint32_t i = 0; i < tags; i++) {
        struct tag tag = page__tag(page, i);
        if (tag.cb == 0)
            continue; /* its offset means nothing: Windows leaves old ones in pages that it emptied
                       */
        if (tag.ib + tag.cb > mic_free)
            return damaged(page, "a tag points outside the data", (int)i - 1);
        if (!take(taken, tag.ib, tag.cb))
            return damaged(page, "two lines overlap", (int)i - 1);
        used += tag.cb;
    }
    if (page_free(page) != area - used)
        return damaged(page, "wrong count of free bytes", -1);
    if (page_uncommitted_free(page) > page_free(page))
        return damaged(page, "more reserved than free bytes", -1);
    return JET_errSuccess;
}

static err_t check_external(struct page page)
{
    uint32_t n = page_external(page).n, flags = page_flags(page);
    if ((flags & PAGE_LEAF) != 0 && (flags & PAGE_PARENT_OF_LEAF) != 0)
        return damaged(page, "leaf and branch at once", -1);
    if ((flags & PAGE_ROOT) == 0)
        return JET_errSuccess; /* any prefix will do */
    if ((flags & PAGE_SPACE_TREE) != 0)
        return n == 0 || n >= 16 ? JET_errSuccess : damaged(page, "size of the split buffer", -1);
    struct space_header h;
    if (n != 16 && n != 17 && n != 25)
        return damaged(page, "size of the space header", -1);
    TRY_RETURN(page_space_header(page, &h));
    if ((h.flags & ~(uint32_t)(SPACE_MULTIPLE | SPACE_NON_UNIQUE | SPACE_V2)) != 0)
        return damaged(page, "flags of the space header", -1);
    return JET_errSuccess;
}

static err_t check_nodes(struct page page)
{
    uint32_t flags = page_flags(page), first = page__reserved_tags(page);
    bool leaf = (flags & PAGE_LEAF) != 0, with_data = leaf && (flags & PAGE_NON_UNIQUE) != 0;
    struct slice prefix = page_prefix(page);
    struct node node, previous;
    int count = page_line_count(page);
    for (int line = 0; line < count; line++, previous = node) {
        if (!page__parse_node(page, prefix, first + (uint32_t)line, &node))
            return damaged(page, "no node", line);
        if (!leaf && (node.data.n != 4 || load_u32(node.data.p) == PGNO_NIL))
            return damaged(page, "no child page", line);
        bool infinity = !leaf && node_key_size(&node) == 0;
        if (infinity && line != count - 1)
            return damaged(page, "an empty separator before the last", line);
        if (line > 0 && !infinity && page__compare_nodes(&previous, &node, with_data) >= 0)
            return damaged(page, "keys out of order", line);
    }
    return JET_errSuccess;
}

err_t page_validate(struct page page)
{
    if (!page_size_valid(page.size))
        return damaged(page, "impossible page size", -1);
    TRY_RETURN(check_tags(page));
    TRY_RETURN(check_external(page));
    return check_nodes(page);
}
