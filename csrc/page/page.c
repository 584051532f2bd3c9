/* The page header, fresh pages, and the space header of tree roots. */
#include "page/page_private.h"

uint32_t page_node_most(uint32_t page_size)
{
    return page_size - (page_size > 8192 ? HEADER_LARGE : HEADER_SMALL) - 2 * TAG_SIZE;
}

dbtime_t page_dbtime(struct page page)
{
    return load_u64(page.p + AT_DBTIME);
}

void page_set_dbtime(struct page page, dbtime_t dbtime)
{
    store_u64(page.p + AT_DBTIME, dbtime);
    page_set_flags(page, page_flags(page) & ~(uint32_t)PAGE_SCRUBBED);
}

pgno_t page_prev(struct page page)
{
    return load_u32(page.p + AT_PREV);
}

pgno_t page_next(struct page page)
{
    return load_u32(page.p + AT_NEXT);
}

void page_set_prev(struct page page, pgno_t pgno)
{
    store_u32(page.p + AT_PREV, pgno);
}

void page_set_next(struct page page, pgno_t pgno)
{
    store_u32(page.p + AT_NEXT, pgno);
}

objid_t page_objid(struct page page)
{
    return load_u32(page.p + AT_OBJID);
}

uint32_t page_flags(struct page page)
{
    return load_u32(page.p + AT_FLAGS);
}

void page_set_flags(struct page page, uint32_t flags)
{
    store_u32(page.p + AT_FLAGS, flags);
}

uint32_t page_free(struct page page)
{
    return load_u16(page.p + AT_FREE);
}

uint32_t page_uncommitted_free(struct page page)
{
    return load_u16(page.p + AT_UNCOMMITTED);
}

void page_set_uncommitted_free(struct page page, uint32_t n)
{
    ASSERT(n <= page_free(page));
    store_u16(page.p + AT_UNCOMMITTED, (uint16_t)n);
}

bool page_is_all_zero(struct page page)
{
    return load_u64(page.p) == 0 && memcmp(page.p, page.p + 8, page.size - 8) == 0;
}

void page_format(struct page page, pgno_t pgno, objid_t objid, uint32_t flags, dbtime_t dbtime)
{
    ASSERT(page_size_valid(page.size));
    memset(page.p, 0, page.size);
    page_set_dbtime(page, dbtime);
    store_u32(page.p + AT_OBJID, objid);
    store_u16(page.p + AT_FREE, (uint16_t)(page__area(page) - TAG_SIZE));
    store_u16(page.p + AT_TAG_STATE, 1);
    page_set_flags(page, flags | PAGE_NEW_RECORD_FORMAT);
    if (page_is_large(page))
        store_u32(page.p + AT_PGNO, pgno);
}

/* ---- space header ---- */

enum { SPACE_HEADER_SIZE = 16, ROOT_HAS_SPACE = 1, ROOT_HAS_AUTOINC = 2 };

/* Exactly 16 bytes is the bare header; any other size begins with a byte that says what follows
 * (7.1). */
static bool find_space_header(struct slice external, const uint8_t **at)
{
    *at = external.p;
    if (external.n == SPACE_HEADER_SIZE)
        return true;
    if (external.n < 1 + SPACE_HEADER_SIZE || (external.p[0] & ROOT_HAS_SPACE) == 0)
        return false;
    *at = external.p + 1;
    return true;
}

err_t page_space_header(struct page root, struct space_header *out)
{
    *out = (struct space_header){0};
    const uint8_t *at;
    uint32_t kind = page_flags(root) & (PAGE_ROOT | PAGE_SPACE_TREE);
    if (kind != PAGE_ROOT || !find_space_header(page_external(root), &at)) {
        err_t err = RAISE(JET_errDatabaseCorrupted);
        err_detail("tree %u: its root holds no space header", page_objid(root));
        return err;
    }
    out->cpg_primary = load_u32(at);
    out->parent = load_u32(at + 4);
    out->flags = load_u32(at + 8);
    out->avail_or_oe = load_u32(at + 12);
    return JET_errSuccess;
}

void space_header_store(const struct space_header *h, uint8_t to[16])
{
    store_u32(to, h->cpg_primary);
    store_u32(to + 4, h->parent);
    store_u32(to + 8, h->flags);
    store_u32(to + 12, h->avail_or_oe);
}
