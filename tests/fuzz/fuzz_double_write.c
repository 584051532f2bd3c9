/* The double-write file, as recovery reads it before redo: its header under a right checksum, entries, names of databases, copies of pages.
 * The database it writes to is one of our own; what it names else does not exist, or carries another signature.
 * Input: how, page count, then per entry {which database, which page, change of the copy}, then raw changes of the header. */
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache.h"
#include "db_world.h"

enum { BLOCK = 4096, FIXED = 32, MAGIC = 0x52574a50, PAGES_MOST = 12, HEADER_MOST = 2 * BLOCK };
enum { AT_MAGIC = 4, AT_FORMAT = 8, AT_PAGE_SIZE = 12, AT_HEADER = 16, AT_PAGES = 20, AT_DATABASES = 24 };

static uint8_t *database;
static size_t database_size;
static struct db_header header;
static char database_path[1100], path[1100];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[1024];
    (void)argc, (void)argv;
    snprintf(dir, sizeof dir, "%s", fuzz_path("own"));
    db_world_create(dir, WORLD_PAGE, 4);
    snprintf(database_path, sizeof database_path, "%s/a.edb", dir);
    snprintf(path, sizeof path, "%s/edb.dwr", dir);
    database = fuzz_read(database_path, &database_size);
    FUZZ_ENFORCE(db_header_read_path(database_path, &header) >= 0);
    return 0;
}

static uint32_t put_name(uint8_t *to, const char *name)
{
    memcpy(to, header.sign_db.b, sizeof header.sign_db.b);
    store_u32(to + sizeof header.sign_db.b, (uint32_t)strlen(name));
    memcpy(to + sizeof header.sign_db.b + 4, name, strlen(name));
    return (uint32_t)(sizeof header.sign_db.b + 4 + strlen(name));
}

/* A page of the database as it is or changed, under its own number or another. */
static void put_copy(uint8_t *to, uint32_t pgno, struct input *in)
{
    static uint8_t bytes[WORLD_PAGE] __attribute__((aligned(4096)));
    uint32_t pages = (uint32_t)(database_size / WORLD_PAGE) - 2, how = input_u8(in);
    memcpy(bytes, database + (size_t)(pgno % pages + 1) * WORLD_PAGE, WORLD_PAGE);
    struct page page = {bytes, WORLD_PAGE};
    if (how & 1 && !page_is_all_zero(page))
        page_set_dbtime(page, page_dbtime(page) + (how >> 4) - 7);
    if (how & 2)
        db_world_change_page(page, pgno, in);
    if ((how & 4) == 0)
        page_seal(page, pgno);
    memcpy(to, bytes, WORLD_PAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t file[HEADER_MOST + PAGES_MOST * WORLD_PAGE];
    struct input in = {data, n};
    uint32_t how = input_u8(&in), pages = input_u8(&in) % PAGES_MOST, size = how & 1 ? HEADER_MOST : BLOCK;
    memset(file, 0, sizeof file);
    store_u32(file + AT_MAGIC, MAGIC);
    store_u32(file + AT_FORMAT, 1);
    store_u32(file + AT_PAGE_SIZE, WORLD_PAGE);
    store_u32(file + AT_HEADER, size);
    store_u32(file + AT_PAGES, pages);
    store_u32(file + AT_DATABASES, 2);
    for (uint32_t i = 0; i < pages; i++) {
        uint32_t pgno = how & 2 ? input_u16(&in) << 8 : input_u8(&in);
        store_u32(file + FIXED + 8 * i, input_u8(&in) % 3);
        store_u32(file + FIXED + 8 * i + 4, pgno);
        put_copy(file + size + i * WORLD_PAGE, pgno, &in);
    }
    uint32_t at = FIXED + 8 * pages;
    at += put_name(file + at, "a.edb");
    put_name(file + at, "none.edb");
    while (in.n > 3) {
        uint32_t to = input_u16(&in) % (how & 8 ? size : 512);
        struct slice with = input_bytes(&in, input_u8(&in));
        memcpy(file + to, with.p, with.n < size - to ? with.n : size - to);
    }
    if ((how & 0x10) == 0)
        store_u32(file + AT_MAGIC, MAGIC);
    for (uint32_t i = FIXED; i < size; i++)
        if (file[i] == '/') /* no way out of this folder */
            file[i] = '_';
    uint32_t claimed = load_u32(file + AT_HEADER);
    if ((how & 0x20) == 0)
        store_u32(file, checksum_xor(file, claimed >= BLOCK && claimed <= HEADER_MOST ? claimed & ~3u : size));
    fuzz_write(database_path, database, database_size);
    fuzz_write(path, file, how & 0x40 ? size + pages * WORLD_PAGE / 2 : size + pages * WORLD_PAGE);

    uint64_t restored = 0;
    struct stat st;
    err_t err = double_write_restore(path, &restored);
    fuzz_error(err);
    FUZZ_ENFORCE(restored <= pages + 200u && stat(database_path, &st) == 0 && st.st_blocks <= (64 << 20) / 512);
    if (err >= 0 && restored > 0) {
        struct db_header h;
        FUZZ_ENFORCE(db_header_read_path(database_path, &h) >= 0); /* headers are no pages */
    }
    return 0;
}
