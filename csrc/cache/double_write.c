/* The double-write file: a batch of sealed pages, complete on disk before any of them is written in
 * place, so that a page torn by a power cut can be put back. One batch at a time; the file's layout
 * stands in README.rst. */
#include <stdio.h>

#include "cache/cache_private.h"

#define DW_MAGIC 0x52574a50u /* "PJWR" */
#define DW_FORMAT 2u
#define DW_FIXED 32u
#define DW_ENTRY 16u
#define DW_HEADER_MAX (1u << 20)
#define DW_DATABASES_MAX BATCH_PAGES_MAX
#define DW_BLOCK 4096u
enum {
    AT_CHECKSUM = 0,
    AT_MAGIC = 4,
    AT_FORMAT = 8,
    AT_PAGE_SIZE = 12,
    AT_HEADER = 16,
    AT_PAGES = 20,
    AT_DATABASES = 24
};

struct double_write {
    struct os_file *file;
    char *path;
    size_t dir_size; /* of path, with the last '/' */
    uint32_t page_size;
    struct os_lock lock; /* RANK_CACHE_DIRTY: busy, failed */
    struct os_cond free;
    bool busy;
    err_t failed;         /* what a batch met: its pages may be torn, so the copies stay */
    struct buffer header; /* the busy batch's */
};

/* Of the folder of a path, with its '/'; 0 when there is none. */
static size_t dir_size(const char *path)
{
    return (size_t)(os_last_name(path) - path);
}

err_t double_write_open(const char *path, uint32_t page_size, struct double_write **out)
{
    err_t err = JET_errSuccess;
    *out = NULL;
    ENFORCE(page_size_valid(page_size));
    struct double_write *dw = calloc(1, sizeof *dw);
    if (dw == NULL)
        return RAISE(JET_errOutOfMemory);
    os_lock_init(&dw->lock, RANK_CACHE_DIRTY);
    os_cond_init(&dw->free);
    dw->page_size = page_size;
    dw->dir_size = dir_size(path);
    dw->path = strdup(path);
    if (dw->path == NULL)
        FAIL(JET_errOutOfMemory);
    /* Old contents have served (double_write_restore ran). Real blocks now: later a batch only
     * overwrites. */
    TRY(os_file_open(path, OS_WRITE | OS_CREATE, &dw->file));
    TRY(os_file_set_size(dw->file, 0));
    TRY(os_file_zero(dw->file, 0, BATCH_BYTES + 16 * DW_BLOCK));
    TRY(os_file_sync(dw->file));
    TRY(os_parent_sync(path));
    *out = dw;
    return JET_errSuccess;
out:
    double_write_close(dw, false);
    return err;
}

void double_write_close(struct double_write *dw, bool remove_file)
{
    if (dw == NULL)
        return;
    ENFORCE(!dw->busy);
    os_file_close(dw->file);
    /* A file left behind does no harm: its copies are those that are in place. */
    if (remove_file && dw->failed == 0 && (os_unlink(dw->path) < 0 || os_parent_sync(dw->path) < 0))
        err_clear();
    os_cond_term(&dw->free);
    os_lock_term(&dw->lock);
    buffer_free(&dw->header);
    free(dw->path);
    free(dw);
}

/* ---- a batch ---- */

static err_t add_u32(struct buffer *b, uint32_t v)
{
    return buffer_append(b, SLICE_OF(v));
}

/* A database below our own folder is named relative to it, so that the whole folder may be moved.
 */
static err_t add_database(struct double_write *dw, struct dbfile *db)
{
    const char *path = db->path;
    if (dw->dir_size > 0 && strncmp(path, dw->path, dw->dir_size) == 0)
        path += dw->dir_size;
    os_lock_take(&db->header_lock);
    struct signature sign = db->header.sign_db;
    os_lock_release(&db->header_lock);
    TRY_RETURN(buffer_append(&dw->header, SLICE_OF(sign)));
    TRY_RETURN(add_u32(&dw->header, (uint32_t)strlen(path)));
    return buffer_append(&dw->header, SLICE(path, strlen(path)));
}

/* Not a checksum of pages, in front of which a sector that was lost may look like one flipped bit, or like nothing at all: the
 * copies are there to judge torn pages by. */
static uint64_t sum_of(const void *p, uint32_t n) { return hash_bytes(SLICE(p, n), DW_MAGIC); }

static uint32_t header_sum(const uint8_t *header, uint32_t n)
{
    return (uint32_t)sum_of(header + AT_MAGIC, n - AT_MAGIC);
}

static err_t build_header(struct double_write *dw, const struct double_write_page *list,
                          uint32_t count, const uint8_t *pages)
{
    static const uint8_t zero[DW_BLOCK];
    struct buffer *h = &dw->header;
    uint32_t databases = 0;
    h->n = 0;
    TRY_RETURN(buffer_append(h, SLICE(zero, DW_FIXED)));
    for (uint32_t i = 0; i < count; i++) {
        databases += i == 0 || list[i].db != list[i - 1].db;
        TRY_RETURN(add_u32(h, databases - 1));
        TRY_RETURN(add_u32(h, list[i].pgno));
        uint64_t sum = sum_of(pages + (size_t)i * dw->page_size, dw->page_size);
        TRY_RETURN(buffer_append(h, SLICE_OF(sum)));
    }
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || list[i].db != list[i - 1].db)
            TRY_RETURN(add_database(dw, list[i].db));
    if (h->n % DW_BLOCK != 0)
        TRY_RETURN(buffer_append(h, SLICE(zero, DW_BLOCK - h->n % DW_BLOCK)));
    store_u32(h->p + AT_MAGIC, DW_MAGIC);
    store_u32(h->p + AT_FORMAT, DW_FORMAT);
    store_u32(h->p + AT_PAGE_SIZE, dw->page_size);
    store_u32(h->p + AT_HEADER, h->n);
    store_u32(h->p + AT_PAGES, count);
    store_u32(h->p + AT_DATABASES, databases);
    store_u32(h->p + AT_CHECKSUM, header_sum(h->p, h->n));
    return JET_errSuccess;
}

static err_t take(struct double_write *dw)
{
    os_lock_take(&dw->lock);
    while (dw->busy)
        os_cond_wait(&dw->free, &dw->lock);
    err_t failed = dw->failed;
    dw->busy = failed == 0;
    os_lock_release(&dw->lock);
    return failed == 0 ? JET_errSuccess : RAISE(failed);
}

err_t double_write__begin(struct double_write *dw, const struct double_write_page *list,
                          uint32_t count, const void *pages)
{
    err_t err = JET_errSuccess;
    TRY_RETURN(take(dw));
    TRY(build_header(dw, list, count, pages));
    struct os_iovec v[2] = {{dw->header.p, dw->header.n}, {pages, (size_t)count * dw->page_size}};
    TRY(os_file_writev(dw->file, 0, v, 2));
    TRY(os_file_sync(dw->file));
    return JET_errSuccess;
out:
    /* No page was touched in place: a full disk may have room later, and so may memory. */
    double_write__end(dw, err == JET_errDiskFull || err == JET_errOutOfMemory ? JET_errSuccess : err);
    return err;
}

void double_write__end(struct double_write *dw, err_t err)
{
    os_lock_take(&dw->lock);
    dw->busy = false;
    if (err < 0)
        dw->failed = err;
    os_cond_broadcast(&dw->free);
    os_lock_release(&dw->lock);
}

/* ---- putting torn pages back ---- */

struct dw_database {
    struct signature sign;
    char path[OS_PATH_MAX];
};
struct dw_image {
    struct os_file *file;
    uint8_t *header;
    uint32_t header_size, page_size, pages, databases;
};

/* *valid = false: torn, or not ours; then no page of that batch was touched in place. */
static err_t read_image(const char *path, struct dw_image *image, bool *valid)
{
    uint8_t fixed[DW_FIXED];
    size_t got = 0;
    *valid = false;
    TRY_RETURN(os_file_open(path, OS_READ, &image->file));
    TRY_RETURN(os_file_read_some(image->file, 0, fixed, sizeof fixed, &got));
    image->header_size = load_u32(fixed + AT_HEADER);
    image->page_size = load_u32(fixed + AT_PAGE_SIZE);
    image->pages = load_u32(fixed + AT_PAGES);
    image->databases = load_u32(fixed + AT_DATABASES);
    if (got < sizeof fixed || load_u32(fixed + AT_MAGIC) != DW_MAGIC ||
        load_u32(fixed + AT_FORMAT) != DW_FORMAT)
        return JET_errSuccess;
    if (image->header_size < DW_BLOCK || image->header_size > DW_HEADER_MAX ||
        image->header_size % DW_BLOCK != 0 || !page_size_valid(image->page_size) ||
        image->pages > (image->header_size - DW_FIXED) / DW_ENTRY || image->databases > DW_DATABASES_MAX)
        return JET_errSuccess;
    image->header = malloc(image->header_size);
    if (image->header == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY_RETURN(os_file_read_some(image->file, 0, image->header, image->header_size, &got));
    *valid = got == image->header_size &&
             header_sum(image->header, image->header_size) == load_u32(image->header + AT_CHECKSUM);
    return JET_errSuccess;
}

/* *at: where the entry begins, moved behind it. false: the bytes make no entry. */
static bool next_database(const struct dw_image *image, const char *dw_path, uint32_t *at,
                          struct dw_database *out)
{
    uint32_t room = image->header_size - *at, base = 0;
    if (room < sizeof out->sign + 4)
        return false;
    const uint8_t *p = image->header + *at;
    uint32_t n = load_u32(p + sizeof out->sign);
    if (n == 0 || n > room - sizeof out->sign - 4 || n >= sizeof out->path)
        return false;
    memcpy(&out->sign, p, sizeof out->sign);
    p += sizeof out->sign + 4;
    if (p[0] != '/')
        base = (uint32_t)dir_size(dw_path);
    if (base + n >= sizeof out->path || memchr(p, 0, n) != NULL)
        return false;
    memcpy(out->path, dw_path, base);
    memcpy(out->path + base, p, n);
    out->path[base + n] = 0;
    *at += (uint32_t)sizeof out->sign + 4 + n;
    return true;
}

/* Puts the copy in the place of a page that is bad, or of a good one that is not newer. A good checksum proves little of a
 * torn page: ESE's is built of parities, so a lost sector that repeats itself does not change it, and several delete flags
 * set in a lost sector look like the one flipped bit that it corrects. So a copy must be what its entry's sum says: of a batch that was
 * torn itself no page was touched in place. A page that the batch had not reached may be replaced
 * as well: the copy is what was to be written, and the log covers it. (Not in a database that was closed since: it may be
 * another copy of the file.) memory: two pages. */
static err_t restore_page(struct os_file *db, bool open, const struct dw_image *image, uint32_t entry,
                          uint8_t *memory, uint64_t *restored)
{
    struct page page = {memory, image->page_size}, copy = {memory + image->page_size, image->page_size};
    const uint8_t *about = image->header + DW_FIXED + DW_ENTRY * entry;
    pgno_t pgno = load_u32(about + 4);
    uint64_t at = page_offset(pgno, page.size);
    bool corrected = false;
    size_t got = 0;
    if (pgno == PGNO_NIL)
        return JET_errSuccess;
    TRY_RETURN(os_file_read_some(image->file, image->header_size + (uint64_t)entry * page.size,
                                 copy.p, page.size, &got));
    if (got < page.size || (!PYJET_BREAK_SUM && sum_of(copy.p, copy.size) != load_u64(about + 8)) ||
        page_verify(copy, pgno, &corrected) < 0)
        return JET_errSuccess;
    TRY_RETURN(os_file_read_some(db, at, page.p, page.size, &got));
    bool same = got == page.size && memcmp(page.p, copy.p, page.size) == 0;
    bool good = got == page.size && page_verify(page, pgno, &corrected) >= 0;
    if (PYJET_BREAK_TORN || same || (good && page_dbtime(page) > page_dbtime(copy)) ||
        (good && !open && page_dbtime(page) < page_dbtime(copy)))
        return JET_errSuccess;
    TRY_RETURN(os_file_write(db, at, copy.p, page.size));
    ++*restored;
    return JET_errSuccess;
}

static err_t restore_database(const struct dw_image *image, uint32_t index,
                              const struct dw_database *where, uint8_t *memory, uint64_t *restored)
{
    err_t err = JET_errSuccess;
    uint64_t before = *restored;
    struct os_file *file = NULL;
    struct db_header *h = malloc(sizeof *h);
    if (h == NULL)
        return RAISE(JET_errOutOfMemory);
    err = os_file_open(where->path, OS_WRITE, &file);
    if (err == JET_errFileNotFound || err == JET_errInvalidPath) { /* moved or removed since */
        err = JET_errSuccess;
        goto out;
    }
    TRY(err);
    TRY(os_file_lock(file, true));
    /* Without a readable header it cannot be told whether it is the same database; attaching it
     * will say so. */
    if (db_header_read(file, h, NULL) < 0 || h->page_size != image->page_size ||
        !signature_equal(&h->sign_db, &where->sign))
        goto out;
    for (uint32_t i = 0; i < image->pages; i++)
        if (load_u32(image->header + DW_FIXED + DW_ENTRY * i) == index)
            TRY(restore_page(file, h->state != DB_CLEAN, image, i, memory, restored));
    if (*restored > before)
        TRY(os_file_sync(file));
out:
    os_file_close(file);
    free(h);
    return err;
}

err_t double_write_restore(const char *path, uint64_t *restored)
{
    err_t err = JET_errSuccess;
    struct dw_image image = {0};
    struct dw_database *where = malloc(sizeof *where);
    uint8_t *memory = os_alloc_aligned(2 * PAGE_SIZE_MAX);
    bool valid = false;
    *restored = 0;
    if (where == NULL || memory == NULL)
        FAIL(JET_errOutOfMemory);
    err = read_image(path, &image, &valid);
    if (err == JET_errFileNotFound || (err >= 0 && !valid)) {
        err = JET_errSuccess;
        goto out;
    }
    TRY(err);
    uint32_t at = DW_FIXED + DW_ENTRY * image.pages;
    for (uint32_t i = 0; i < image.databases && next_database(&image, path, &at, where); i++)
        TRY(restore_database(&image, i, where, memory, restored));
out:
    os_file_close(image.file);
    free(image.header);
    os_free_aligned(memory);
    free(where);
    return err;
}
