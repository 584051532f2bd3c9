/* The database header: two copies at the head of the file, packed and unpacked. */
#include "cache/cache_private.h"

#define DB_MAGIC 0x89abcdefu
#define DB_VERSION 0x620u
#define DB_UPDATE 20u
#define DB_UPDATE_LARGE_PAGES 17u /* since then long-value chunks on large pages are as now */
#define FILETYPE_DATABASE 1u
#define FILETYPE_TEMPORARY 5u

/* edb-format.md 2.2 */
enum {
    AT_CHECKSUM = 0,
    AT_MAGIC = 4,
    AT_VERSION = 8,
    AT_DBTIME = 16,
    AT_SIGN_DB = 24,
    AT_STATE = 52,
    AT_LGPOS_CONSISTENT = 56,
    AT_TIME_CONSISTENT = 64,
    AT_TIME_ATTACH = 72,
    AT_LGPOS_ATTACH = 80,
    AT_TIME_DETACH = 88,
    AT_LGPOS_DETACH = 96,
    AT_DBID = 104,
    AT_SIGN_LOG = 108,
    AT_FULL_PREV = 136,
    AT_INC_PREV = 160,
    AT_FULL_CUR = 184,
    AT_DB_FLAGS = 208,
    AT_OBJID_LAST = 212,
    AT_OS_VERSION = 216,
    AT_UPDATE_MAJOR = 232,
    AT_PAGE_SIZE = 236,
    AT_DBTIME_LAST_SCRUB = 280,
    AT_TIME_SCRUB = 288,
    AT_GEN_MIN_REQUIRED = 296,
    AT_GEN_MAX_REQUIRED = 300,
    AT_SNAPSHOT_CUR = 316,
    AT_CREATE_VERSION = 340,
    AT_CREATE_UPDATE = 344,
    AT_TIME_GEN_MAX = 348,
    AT_TYPE_FULL_PREV = 356,
    AT_TYPE_INC_PREV = 360,
    AT_GEN_MAX_COMMITTED = 416,
    AT_COPY_PREV = 420,
    AT_DIFF_PREV = 444,
    AT_TYPE_COPY_PREV = 468,
    AT_TYPE_DIFF_PREV = 472,
    AT_SORT_VERSION = 508,
    AT_SIGN_HEADER_FLUSH = 584,
    AT_GEN_MIN_CONSISTENT = 640,
    AT_UPDATE_MINOR = 644,
    AT_FILETYPE = 667,
    AT_END = 748,
};
static_assert(AT_END == DB_HEADER_USED, "on disk");
static_assert(sizeof(struct logtime) == 8 && sizeof(struct bkinfo) == 24, "on disk");

enum kind { U8, U32, U64, BYTES8, BYTES24, BYTES28 };

/* One table for both ways. */
static const struct field {
    uint16_t at, in;
    enum kind kind;
} fields[] = {
#define F(where, member, k) {where, offsetof(struct db_header, member), k}
    F(AT_DBTIME, dbtime, U64),
    F(AT_SIGN_DB, sign_db, BYTES28),
    F(AT_LGPOS_CONSISTENT, lgpos_consistent, U64),
    F(AT_TIME_CONSISTENT, time_consistent, BYTES8),
    F(AT_TIME_ATTACH, time_attach, BYTES8),
    F(AT_LGPOS_ATTACH, lgpos_attach, U64),
    F(AT_TIME_DETACH, time_detach, BYTES8),
    F(AT_LGPOS_DETACH, lgpos_detach, U64),
    F(AT_SIGN_LOG, sign_log, BYTES28),
    F(AT_FULL_PREV, full_prev, BYTES24),
    F(AT_INC_PREV, inc_prev, BYTES24),
    F(AT_FULL_CUR, full_cur, BYTES24),
    F(AT_DB_FLAGS, db_flags0, U8),
    F(AT_OBJID_LAST, objid_last, U32),
    F(AT_UPDATE_MAJOR, update_major, U32),
    F(AT_DBTIME_LAST_SCRUB, dbtime_last_scrub, U64),
    F(AT_TIME_SCRUB, time_scrub, BYTES8),
    F(AT_GEN_MIN_REQUIRED, gen_min_required, U32),
    F(AT_GEN_MAX_REQUIRED, gen_max_required, U32),
    F(AT_SNAPSHOT_CUR, snapshot_cur, BYTES24),
    F(AT_TIME_GEN_MAX, time_gen_max_created, BYTES8),
    F(AT_TYPE_FULL_PREV, type_full_prev, U32),
    F(AT_TYPE_INC_PREV, type_inc_prev, U32),
    F(AT_GEN_MAX_COMMITTED, gen_max_committed, U32),
    F(AT_COPY_PREV, copy_prev, BYTES24),
    F(AT_DIFF_PREV, diff_prev, BYTES24),
    F(AT_TYPE_COPY_PREV, type_copy_prev, U32),
    F(AT_TYPE_DIFF_PREV, type_diff_prev, U32),
    F(AT_GEN_MIN_CONSISTENT, gen_min_consistent, U32),
    F(AT_UPDATE_MINOR, update_minor, U32),
    F(AT_VERSION, version, U32),
#undef F
};

static size_t field_size(enum kind kind)
{
    static const uint8_t size[] = {[U8] = 1,     [U32] = 4,      [U64] = 8,
                                   [BYTES8] = 8, [BYTES24] = 24, [BYTES28] = 28};
    return size[kind];
}

/* Memory order is disk order (little-endian): a field is a run of bytes both here and there. */
static void unpack(const uint8_t *page, uint32_t page_size, struct db_header *h)
{
    memset(h, 0, sizeof *h);
    memcpy(h->raw, page, DB_HEADER_USED);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        memcpy((char *)h + fields[i].in, page + fields[i].at, field_size(fields[i].kind));
    h->state = load_u32(page + AT_STATE);
    h->dbid = (dbid_t)load_u32(page + AT_DBID);
    h->page_size = page_size;
}

/* The whole block: header, zeros, checksum. */
static void pack(struct db_header *h, uint8_t *block)
{
    uint32_t page_size = load_u32(h->raw + AT_PAGE_SIZE);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        memcpy(h->raw + fields[i].at, (const char *)h + fields[i].in, field_size(fields[i].kind));
    store_u32(h->raw + AT_STATE, h->state);
    store_u32(h->raw + AT_DBID, h->dbid);
    if (page_size != 0 || h->page_size != 4096) /* 0 means 4096 and stays as it was */
        store_u32(h->raw + AT_PAGE_SIZE, h->page_size);
    memset(block, 0, h->page_size);
    memcpy(block, h->raw, DB_HEADER_USED);
    store_u32(block + AT_CHECKSUM, checksum_xor(block, h->page_size));
    memcpy(h->raw, block, 4);
}

/* Is `block` a header of a file with pages of `size` bytes? */
static bool copy_good(const uint8_t *block, size_t got, uint32_t size)
{
    if (got < size || load_u32(block + AT_MAGIC) != DB_MAGIC)
        return false;
    uint32_t stored = load_u32(block + AT_PAGE_SIZE), type = load_u32(block + AT_FILETYPE);
    return (stored == 0 ? 4096 : stored) == size &&
           (type == 0 || type == FILETYPE_DATABASE || type == FILETYPE_TEMPORARY) &&
           checksum_xor(block, size) == load_u32(block + AT_CHECKSUM);
}

err_t db_header__read(struct os_file *file, struct db_header *out, struct db_header_copies *copies)
{
    err_t err = JET_errSuccess;
    static const uint32_t sizes[] = {4096, 8192, 2048, 16384, 32768};
    uint8_t *bytes = os_alloc_aligned(2 * PAGE_SIZE_MAX);
    size_t got = 0;
    uint32_t size = 0;
    *copies = (struct db_header_copies){0};
    if (bytes == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(os_file_read_some(file, 0, bytes, 2 * PAGE_SIZE_MAX, &got));
    for (size_t i = 0; i < 5 && !copies->primary_good; i++)
        if (copy_good(bytes, got, sizes[i])) {
            size = sizes[i];
            copies->primary_good = true;
        }
    for (size_t i = 0; i < 5 && !copies->shadow_good; i++) {
        uint32_t s = copies->primary_good ? size : sizes[i];
        if (got > s && copy_good(bytes + s, got - s, s)) {
            size = s;
            copies->shadow_good = true;
        }
    }
    if (!copies->primary_good && !copies->shadow_good) {
        err = RAISE(JET_errReadVerifyFailure);
        err_detail("%s: both copies of the database header are damaged, or it is no database",
                   os_file_path(file));
        goto out;
    }
    copies->differ =
        !copies->primary_good || !copies->shadow_good || memcmp(bytes, bytes + size, size) != 0;
    unpack(copies->primary_good ? bytes : bytes + size, size, out);
    if (out->version != DB_VERSION || (size > 8192 && out->update_major < DB_UPDATE_LARGE_PAGES)) {
        err = RAISE(JET_errInvalidDatabaseVersion);
        err_detail("%s: format 0x%x update %u", os_file_path(file), out->version,
                   out->update_major);
    }
out:
    os_free_aligned(bytes);
    return err;
}

err_t db_header_read(struct os_file *file, struct db_header *out, bool *shadow_used)
{
    struct db_header_copies copies;
    err_t err = db_header__read(file, out, &copies);
    if (shadow_used != NULL)
        *shadow_used = copies.shadow_good && !copies.primary_good;
    return err;
}

err_t db_header_read_path(const char *path, struct db_header *out)
{
    struct os_file *file = NULL;
    TRY_RETURN(os_file_open(path, OS_READ, &file));
    err_t err = db_header_read(file, out, NULL);
    os_file_close(file);
    return err;
}

void db_header_init(struct db_header *h, uint32_t page_size)
{
    memset(h, 0, sizeof *h);
    h->state = DB_JUST_CREATED;
    h->dbtime = DBTIME_START;
    h->page_size = page_size;
    h->version = DB_VERSION;
    h->update_major = DB_UPDATE;
    h->dbid = 1;
    os_signature_new(&h->sign_db);
    store_u32(h->raw + AT_MAGIC, DB_MAGIC);
    store_u32(h->raw + AT_PAGE_SIZE, page_size);
    store_u32(h->raw + AT_CREATE_VERSION, DB_VERSION);
    store_u32(h->raw + AT_CREATE_UPDATE, DB_UPDATE);
    store_u32(h->raw + AT_OS_VERSION, 6); /* 6.3.9600: the Windows whose files are of update 20 */
    store_u32(h->raw + AT_OS_VERSION + 4, 3);
    store_u32(h->raw + AT_OS_VERSION + 8, 9600);
    store_u64(h->raw + AT_SORT_VERSION, UINT64_MAX);
    store_u32(h->raw + AT_FILETYPE, FILETYPE_DATABASE);
}

static err_t write_copies(struct os_file *file, struct db_header *h, bool primary, bool shadow)
{
    err_t err = JET_errSuccess;
    ENFORCE(page_size_valid(h->page_size));
    uint8_t *block = os_alloc_aligned(h->page_size);
    if (block == NULL)
        return RAISE(JET_errOutOfMemory);
    pack(h, block);
    if (primary) {
        TRY(os_file_write(file, 0, block, h->page_size));
        if (!PYJET_BREAK_HEADER)
            TRY(os_file_sync(file));
    }
    if (shadow) {
        TRY(os_file_write(file, h->page_size, block, h->page_size));
        TRY(os_file_sync(file));
    }
out:
    os_free_aligned(block);
    return err;
}

void db_header_image(struct db_header *h, uint8_t *page) { pack(h, page); }

err_t db_header_write(struct os_file *file, struct db_header *h)
{
    os_signature_new((struct signature *)(void *)(h->raw + AT_SIGN_HEADER_FLUSH));
    return write_copies(file, h, true, true);
}

err_t db_header__repair(struct os_file *file, const struct db_header *h,
                        const struct db_header_copies *copies)
{
    struct db_header copy = *h;
    return write_copies(file, &copy, !copies->primary_good, copies->primary_good);
}
