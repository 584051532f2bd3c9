/* Long values: compressed bytes alone, references, and a database whose pages of long values are changed.
 * Input: first byte 0-63 compressed, 64-79 references; others: changes as in fuzz_catalog. */
#include "db_world.h"
#include "fuzz.h"
#include "longval/longval.h"
#include "record/record.h"

static bool wanted(uint32_t flags, objid_t objid)
{
    return (flags & PAGE_LONG_VALUE) != 0 || (objid > 10 && (flags & PAGE_INDEX) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    db_world_make();
    return 0;
}

static void decompress(struct slice in, uint32_t how)
{
    struct buffer out = {0};
    uint32_t size = 0;
    err_t sized = record_decompressed_size(in, &size), err = record_decompress(in, &out);
    fuzz_error(sized);
    fuzz_error(err);
    if (err >= 0) {
        FUZZ_ENFORCE(sized >= 0 && size == out.n);
        FUZZ_ENFORCE(out.n <= in.n * 400u + 65536u); /* no bomb */
    }
    buffer_free(&out);
    uint32_t room = how * 37u;
    uint8_t *exact = malloc(room + 1);
    FUZZ_ENFORCE(exact != NULL);
    fuzz_error(xpress_decompress(in, exact, room));
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    uint32_t how = input_u8(&in);
    if (how < 64) {
        decompress(SLICE(in.p, in.n), how);
    } else if (how < 80) {
        struct longval_id id;
        fuzz_error(longval_id_from_record(SLICE(in.p, in.n), &id));
    } else {
        db_world_change(wanted, &in);
        db_world_read(&(struct db_reading){.rows = 1000, .system_rows = 1, .index_rows = 1, .check = n % 8 == 7});
        db_world_restore();
    }
    return 0;
}
