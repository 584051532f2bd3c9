/* Log records: their sizes, the segments of a log file under right checksums, framing and fragments, every decoder of a dump.
 * Input: how, then the bytes of segments; in one form the records' bytes stand as they are, else each gets a head that fits. */
#include "check/check.h"
#include "fuzz.h"
#include "log/log_format.h"
#include "log/log.h"

#define SEGMENTS 16u
#define GENERATION 1u

static void put_header(uint8_t *h, const char *dir)
{
    (void)dir;
    memset(h, 0, LOG_SEGMENT);
    store_u32(h + HDR_GENERATION, GENERATION);
    store_u16(h + HDR_SEGMENT, LOG_SEGMENT);
    store_u16(h + HDR_HEADER_SEGMENTS, 1);
    store_u16(h + HDR_FILE_SEGMENTS, SEGMENTS);
    store_u16(h + HDR_PAGE_SIZE, 4096);
    store_u32(h + HDR_MAJOR, LOG_MAJOR);
    store_u32(h + HDR_MINOR, LOG_MINOR);
    store_u32(h + HDR_UPDATE_MAJOR, LOG_UPDATE_MAJOR);
    store_u32(h + HDR_UPDATE_MINOR, LOG_UPDATE_MINOR);
    store_u32(h + HDR_FILE_TYPE, LOG_FILE_TYPE);
    store_u32(h + HDR_CHECKSUM, checksum_xor(h, LOG_SEGMENT));
}

static void seal(uint8_t *segment, uint32_t isec)
{
    store_u64(segment + SEG_LGPOS, LGPOS(GENERATION, isec, 0));
    store_u32(segment + SEG_FLAGS, SEG_FLAG_NEW_CHECKSUM);
    store_u64(segment + SEG_CHECKSUM, checksum_ecc(segment, LOG_SEGMENT, isec, true));
}

/* Lays one record at *at: whole in its segment, or cut into fragments. */
static bool lay(uint8_t *image, uint32_t *isec, uint32_t *ib, struct slice record)
{
    struct slice rest = record;
    bool first = true;
    while (rest.n != 0) {
        uint32_t room = LOG_SEGMENT - *ib;
        uint8_t *to = image + *isec * LOG_SEGMENT + *ib;
        if (*isec >= SEGMENTS - 1)
            return false;
        if (first && rest.n <= room) {
            memcpy(to, rest.p, rest.n);
            *ib += rest.n;
            return true;
        }
        uint32_t head = first ? FRAGMENT_BEGIN_HEAD : FRAGMENT_HEAD;
        if (room < FRAGMENT_ROOM_MIN) {
            ++*isec;
            *ib = LOG_SEGMENT_HEAD;
            continue;
        }
        uint32_t n = rest.n < room - head ? rest.n : room - head;
        to[0] = first ? LOG_FragmentBegin : LOG_Fragment;
        if (first) {
            store_u32(to + 1, record.n);
            store_u16(to + 5, (uint16_t)n);
        } else {
            store_u16(to + 1, (uint16_t)n);
        }
        memcpy(to + head, rest.p, n);
        rest = SLICE(rest.p + n, rest.n - n);
        first = false;
        *ib += head + n;
        if (*ib == LOG_SEGMENT) {
            ++*isec;
            *ib = LOG_SEGMENT_HEAD;
        }
    }
    return true;
}

/* {type, n, bytes}: a record whose size by the table of sizes is no more than what is there. */
static void lay_records(uint8_t *image, struct input *in)
{
    static uint8_t record[40000];
    uint32_t isec = 1, ib = LOG_SEGMENT_HEAD, size;
    while (in->n > 1) {
        memset(record, 0, sizeof record);
        record[0] = (uint8_t)(input_u8(in) % 140);
        struct slice body = input_bytes(in, input_u8(in));
        memcpy(record + 1, body.p, body.n);
        err_t err = log_record_size(SLICE(record, sizeof record), &size);
        if (err < 0 || size == 0 || size > sizeof record)
            continue;
        if (!lay(image, &isec, &ib, SLICE(record, size)))
            return;
    }
}

static void dump_all(const char *dir, enum log_read_mode mode)
{
    struct log_reader_config config = {.dirs = {dir}, .dir_count = 1, .base_name = "edb", .mode = mode};
    struct log_reader *reader = NULL;
    struct log_view view;
    bool end = false, in_current;
    err_t err = log_reader_open(&config, LGPOS_MIN, &reader);
    fuzz_error(err);
    for (uint32_t n = 0; err >= 0; n++) {
        struct buffer out = {0};
        err = log_reader_next(reader, &view, &end);
        fuzz_error(err);
        if (err < 0 || end)
            break;
        FUZZ_ENFORCE(n < SEGMENTS * LOG_SEGMENT && view.at < view.end);
        fuzz_error(dump_log_record(&view, &out));
        buffer_free(&out);
    }
    if (end)
        (void)log_reader_end(reader, &in_current);
    log_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t image[SEGMENTS * LOG_SEGMENT];
    struct input in = {data, n};
    uint32_t how = input_u8(&in), size;
    fuzz_error(log_record_size(SLICE(in.p, in.n), &size));
    memset(image, 0, sizeof image);
    put_header(image, NULL);
    if ((how & 1) == 0) {
        lay_records(image, &in);
    } else {
        for (uint32_t isec = 1; isec < SEGMENTS - 1 && in.n > 0; isec++) {
            uint32_t most = how & 2 ? LOG_SEGMENT - LOG_SEGMENT_HEAD : input_u8(&in) + 1;
            struct slice bytes = input_bytes(&in, most);
            memcpy(image + isec * LOG_SEGMENT + (how & 4 ? 0 : LOG_SEGMENT_HEAD), bytes.p, bytes.n);
        }
    }
    uint32_t last = 0;
    for (uint32_t isec = 1; isec < SEGMENTS - 1; isec++)
        for (uint32_t k = 0; k < LOG_SEGMENT; k++)
            if (image[isec * LOG_SEGMENT + k] != 0)
                last = isec;
    for (uint32_t isec = 1; isec <= last; isec++)
        if ((how & 0x40) == 0 || isec != 1 + (how >> 3 & 7))
            seal(image + isec * LOG_SEGMENT, isec);
    fuzz_error(log_verify_image(image, sizeof image, GENERATION));
    fuzz_write(fuzz_path("edb.log"), image, sizeof image);
    char dir[1024];
    snprintf(dir, sizeof dir, "%s", fuzz_path("%s", ""));
    dir[strlen(dir) - 1] = '\0';
    dump_all(dir, how & 0x80 ? LOG_READ_STRICT : LOG_READ_SOFT);
    return 0;
}
