/* The file as bytes: both headers, every page's checksum; needs nothing of the file to be in order.
 */
#include <stdio.h>

#include "check/check_private.h"

#define CHUNK_BYTES (256u * 1024u)
#define DB_MAGIC 0x89abcdefu
#define HEADER_PAGES 2u /* the header and its copy stand before page 1 */
enum { AT_MAGIC = 4, AT_PAGE_SIZE = 236 };

struct raw {
    struct check *c; /* its bad map and sum; db NULL when there is no database */
    const char *path;
    struct os_file *file;
    uint64_t size;
    uint32_t page_size;
    pgno_t page_count, owned; /* what lies beyond the last owned page means nothing */
    uint8_t *bytes;           /* CHUNK_BYTES, aligned */
};

static uint64_t offset_of(const struct raw *r, pgno_t pgno)
{
    return (uint64_t)(pgno + HEADER_PAGES - 1) * r->page_size;
}

/* ---- headers ---- */

static bool header_good(const uint8_t *block, uint32_t size)
{
    return load_u32(block + AT_MAGIC) == DB_MAGIC && checksum_xor(block, size) == load_u32(block);
}

/* The page size by which one of the two copies verifies; 0 when none does. */
static uint32_t size_by_header(const uint8_t *bytes, size_t got)
{
    for (uint32_t size = 2048; size <= PAGE_SIZE_MAX; size *= 2) {
        uint32_t stored;
        for (uint32_t at = 0; at <= size; at += size) {
            if (at + size > got || !header_good(bytes + at, size))
                continue;
            stored = load_u32(bytes + at + AT_PAGE_SIZE);
            if ((stored == 0 ? 4096 : stored) == size)
                return size;
        }
    }
    return 0;
}

/* Without a header: the size by which page 1 verifies. */
static uint32_t size_by_page(uint8_t *bytes, size_t got)
{
    for (uint32_t size = 2048; size <= PAGE_SIZE_MAX; size *= 2) {
        bool corrected;
        if ((HEADER_PAGES + 1) * size <= got &&
            page_verify((struct page){bytes + HEADER_PAGES * size, size}, 1, &corrected) >= 0)
            return size;
    }
    return 0;
}

static err_t check_headers(struct raw *r, const uint8_t *bytes, size_t got)
{
    static const char *const names[] = {"the header", "the header's copy"};
    bool both = true;
    for (uint32_t i = 0; i < HEADER_PAGES; i++) {
        size_t at = (size_t)i * r->page_size;
        if (at + r->page_size <= got && header_good(bytes + at, r->page_size))
            continue;
        both = false;
        TRY_RETURN(check__tell(r->c, NULL, CHECK_HEADER, PGNO_NIL, "%s is damaged", names[i]));
    }
    if (both && memcmp(bytes, bytes + r->page_size, r->page_size) != 0)
        TRY_RETURN(
            check__tell(r->c, NULL, CHECK_HEADER, PGNO_NIL, "the header and its copy differ"));
    if (r->size % r->page_size != 0)
        TRY_RETURN(check__tell(r->c, NULL, CHECK_HEADER, PGNO_NIL,
                               "the file's size is no multiple of its pages'"));
    return JET_errSuccess;
}

/* ---- pages ---- */

/* The key of the last entry of the system root's owned extents: the last page that means something.
 */
static pgno_t last_owned(struct raw *r)
{
    pgno_t at = SYSTEM_ROOT;
    for (int depth = 0; depth < CHECK_DEPTH_MAX; depth++) {
        struct page page = {r->bytes, r->page_size};
        struct space_header h;
        struct node node;
        bool corrected;
        if (at == PGNO_NIL || at > r->page_count ||
            os_file_read(r->file, offset_of(r, at), r->bytes, r->page_size) < 0 ||
            page_verify(page, at, &corrected) < 0)
            break;
        if (at == SYSTEM_ROOT) {
            if (page_space_header(page, &h) < 0)
                break;
            if ((h.flags & SPACE_MULTIPLE) == 0)
                return h.cpg_primary < r->page_count ? h.cpg_primary : r->page_count;
            at = h.avail_or_oe;
            continue;
        }
        if (page_node(page, page_line_count(page) - 1, &node) < 0)
            break;
        if ((page_flags(page) & PAGE_LEAF) != 0) {
            uint8_t key[CHECK_KEY_ROOM];
            if (node_key_copy(&node, key) != 4 || load_be32(key) > r->page_count)
                break;
            return load_be32(key);
        }
        if (page_child(page, page_line_count(page) - 1, &at) < 0)
            break;
    }
    return r->page_count;
}

static err_t check_page(struct raw *r, struct page page, pgno_t pgno)
{
    bool corrected = false;
    err_t err = page_verify(page, pgno, &corrected);
    if (err == JET_errPageNotInitialized || (err >= 0 && !corrected))
        return JET_errSuccess;
    if (pgno > r->owned)
        return check__tell(r->c, NULL, CHECK_NOTE, pgno,
                           "page %u is owned by nobody and its checksum is wrong", pgno);
    if (err < 0 && r->c->bad != NULL)
        r->c->bad[pgno] = 1;
    return check__tell(r->c, NULL, CHECK_CHECKSUM, pgno,
                       corrected ? "page %u has one flipped bit, which can be corrected"
                                 : "page %u: its checksum is wrong",
                       pgno);
}

/* The first page from `first` on that is not wholly in a hole: what was never written needs no reading, and a file may be
 * terabytes of it. */
static err_t skip_holes(struct raw *r, pgno_t first, pgno_t *next)
{
    uint64_t at;
    TRY_RETURN(os_file_next_data(r->file, offset_of(r, first), &at));
    uint64_t pgno = at / r->page_size;
    pgno = pgno < HEADER_PAGES ? 1 : pgno - HEADER_PAGES + 1;
    *next = pgno < first ? first : pgno > r->page_count ? r->page_count + 1 : (pgno_t)pgno;
    return JET_errSuccess;
}

static err_t check_pages(struct raw *r)
{
    const struct check_options *o = r->c->options;
    uint32_t chunk = CHUNK_BYTES / r->page_size;
    for (pgno_t first = 1; first <= r->page_count; first += chunk) {
        TRY_RETURN(skip_holes(r, first, &first));
        if (first > r->page_count)
            break;
        uint32_t count = r->page_count - first + 1 < chunk ? r->page_count - first + 1 : chunk;
        err_t err =
            os_file_read(r->file, offset_of(r, first), r->bytes, (size_t)count * r->page_size);
        if (err < 0) { /* a bad sector: page by page the others still come */
            TRY_RETURN(
                check__survive(r->c, NULL, CHECK_CHECKSUM, first, "the file cannot be read", err));
            continue;
        }
        for (uint32_t i = 0; i < count; i++)
            TRY_RETURN(check_page(
                r, (struct page){r->bytes + (size_t)i * r->page_size, r->page_size}, first + i));
        if (o->progress != NULL) { /* of a whole check this is the first pass: its trees count */
            err = o->progress(o->progress_context, r->c->db == NULL ? first + count - 1 : 0,
                              r->page_count);
            if (err < 0)
                return r->c->stop = err;
        }
    }
    return JET_errSuccess;
}

static err_t open_raw(struct raw *r)
{
    r->bytes = os_alloc_aligned(CHUNK_BYTES);
    if (r->bytes == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY_RETURN(os_file_open(r->path, OS_READ, &r->file));
    return os_file_size(r->file, &r->size);
}

static err_t run_raw(struct raw *r)
{
    err_t err = JET_errSuccess;
    size_t got = 0;
    TRY(open_raw(r));
    TRY(os_file_read_some(r->file, 0, r->bytes, CHUNK_BYTES, &got));
    if (r->page_size == 0)
        r->page_size = size_by_header(r->bytes, got);
    if (r->page_size == 0)
        r->page_size = size_by_page(r->bytes, got);
    if (r->page_size == 0) {
        err = RAISE(JET_errReadVerifyFailure);
        err_detail("%s: no page size fits: both headers and the first page are damaged, or it is "
                   "no database",
                   r->path);
        goto out;
    }
    TRY(check_headers(r, r->bytes, got));
    uint64_t pages = r->size / r->page_size;
    pages = pages > HEADER_PAGES ? pages - HEADER_PAGES : 0;
    r->page_count =
        r->c->db != NULL ? r->c->page_count : (pgno_t)(pages < UINT32_MAX ? pages : UINT32_MAX - 1);
    r->owned = last_owned(r);
    TRY(check_pages(r));
    r->c->sum->pages = r->page_count;
out:
    os_file_close(r->file);
    os_free_aligned(r->bytes);
    return err;
}

err_t check__raw(struct check *c)
{
    struct raw r = {.c = c, .path = c->db->path, .page_size = c->db->page_size};
    return run_raw(&r);
}

err_t check_checksums(const char *path, const struct check_options *options, struct check_sum *sum)
{
    struct check c = {.options = options, .sum = sum};
    struct raw r = {.c = &c, .path = path};
    *sum = (struct check_sum){0};
    return run_raw(&r);
}
