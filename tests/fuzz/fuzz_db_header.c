/* The head of a database file: two copies of its header. Input: the file's first bytes; the last byte says what is sealed. */
#include "cache/cache.h"
#include "check/check.h"
#include "fuzz.h"

#define MOST (2 * PAGE_SIZE_MAX)

static void seal(uint8_t *block, uint32_t size)
{
    store_u32(block, checksum_xor(block, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t bytes[MOST];
    if (n < 2 || n > MOST)
        return 0;
    uint32_t how = data[n - 1];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, data, n - 1);
    uint32_t size = 2048u << how % 5;
    if ((how & 0x80) == 0) { /* magic and page size as a reader looks for them first */
        store_u32(bytes + 4, 0x89abcdefu);
        store_u32(bytes + 236, size == 4096 ? 0 : size);
    }
    if ((how & 0x40) == 0)
        seal(bytes, size);
    if ((how & 0x20) == 0) {
        memcpy(bytes + size, bytes, size);
        bytes[size + 700] ^= (uint8_t)how;
        seal(bytes + size, size);
    }
    const char *path = fuzz_path("header");
    fuzz_write(path, bytes, (how & 0x10) == 0 ? 2 * size : n - 1);

    struct db_header h;
    struct buffer out = {0};
    err_t err = db_header_read_path(path, &h);
    fuzz_error(err);
    if (err >= 0) {
        FUZZ_ENFORCE(page_size_valid(h.page_size));
        FUZZ_ENFORCE(dump_db_header(&h, &out) >= 0);
        uint8_t *page = malloc(h.page_size);
        FUZZ_ENFORCE(page != NULL);
        db_header_image(&h, page); /* what was read can be written, and is sound */
        FUZZ_ENFORCE(load_u32(page) == checksum_xor(page, h.page_size));
        free(page);
    }
    buffer_free(&out);
    return 0;
}
