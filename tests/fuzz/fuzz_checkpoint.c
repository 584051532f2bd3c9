/* The checkpoint file: two copies. Input: one copy, or both; last byte: how they are sealed. */
#include "check/check.h"
#include "fuzz.h"
#include "log/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t image[2 * LOG_SEGMENT];
    if (n < 2 || n - 1 > sizeof image)
        return 0;
    uint32_t how = data[n - 1];
    memset(image, 0, sizeof image);
    memcpy(image, data, n - 1);
    for (uint32_t copy = 0; copy < 2; copy++)
        if ((how & 1u << copy) == 0)
            store_u32(image + copy * LOG_SEGMENT, checksum_xor(image + copy * LOG_SEGMENT, LOG_SEGMENT));
    const char *path = fuzz_path("edb.jcp");
    fuzz_write(path, image, how & 4 ? n - 1 : sizeof image);

    static struct checkpoint c;
    struct buffer out = {0};
    err_t err = log_checkpoint_read(path, &c);
    fuzz_error(err);
    if (err >= 0) {
        FUZZ_ENFORCE(c.attached_count >= 0 && c.attached_count <= DBID_MAX);
        FUZZ_ENFORCE(dump_checkpoint(&c, &out) >= 0);
    }
    buffer_free(&out);
    return 0;
}
