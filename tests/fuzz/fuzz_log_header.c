/* The header segment of a log file. Input: the segment's bytes, last byte: how it is sealed. */
#include "check/check.h"
#include "fuzz.h"
#include "log/log_format.h"
#include "log/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t image[8 * LOG_SEGMENT];
    if (n < 2)
        return 0;
    uint32_t how = data[n - 1];
    memset(image, 0, sizeof image);
    memcpy(image, data, n - 1 < LOG_SEGMENT ? n - 1 : LOG_SEGMENT);
    if ((how & 1) == 0) {
        store_u32(image + HDR_MAJOR, LOG_MAJOR);
        store_u32(image + HDR_MINOR, LOG_MINOR);
        store_u16(image + HDR_SEGMENT, LOG_SEGMENT);
        store_u16(image + HDR_HEADER_SEGMENTS, 1);
        store_u16(image + HDR_FILE_SEGMENTS, 8);
    }
    if ((how & 2) == 0)
        store_u32(image + HDR_CHECKSUM, checksum_xor(image, LOG_SEGMENT));
    const char *path = fuzz_path("edb00001.log");
    fuzz_write(path, image, how & 4 ? n - 1 : sizeof image);

    static struct log_header h;
    struct buffer out = {0};
    err_t err = log_read_header(path, &h);
    fuzz_error(err);
    if (err >= 0) {
        FUZZ_ENFORCE(h.attached_count >= 0 && h.attached_count <= DBID_MAX);
        for (int i = 0; i < h.attached_count; i++)
            FUZZ_ENFORCE(memchr(h.attached[i].path, 0, sizeof h.attached[i].path) != NULL);
        FUZZ_ENFORCE(dump_log_header(&h, &out) >= 0);
    }
    buffer_free(&out);
    fuzz_error(log_verify_file(path, 1));
    return 0;
}
