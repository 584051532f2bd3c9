/* Keys: any bytes as a normalized segment turned back into a value; any value into a key and back.
 * Input: column and index, then the bytes. */
#include "fuzz.h"
#include "record/record.h"

static const uint32_t types[] = {
    JET_coltypBit, JET_coltypUnsignedByte, JET_coltypShort, JET_coltypLong, JET_coltypCurrency, JET_coltypIEEESingle,
    JET_coltypIEEEDouble, JET_coltypDateTime, JET_coltypText, JET_coltypBinary, JET_coltypLongBinary, JET_coltypLongText,
    JET_coltypUnsignedLong, JET_coltypLongLong, JET_coltypGUID, JET_coltypUnsignedShort, JET_coltypUnsignedLongLong, 0, 200,
};

static struct slice values[4];

static err_t value_of(void *context, colid_t id, uint32_t sequence, struct slice *data, bool *null)
{
    const struct column_def *column = context;
    (void)id;
    *null = sequence == 0 || sequence > 4 || values[sequence - 1].n == 0;
    *data = *null ? SLICE_EMPTY : values[sequence - 1];
    uint32_t size = coltyp_size(column->coltyp);
    if (size != 0 && data->n != size) { /* a key source gives fixed types in their size */
        *null = true;
        *data = SLICE_EMPTY;
    }
    return JET_errSuccess;
}

static err_t count_of(void *context, colid_t id, uint32_t *count)
{
    (void)context, (void)id;
    for (*count = 0; *count < 4 && values[*count].n != 0;)
        ++*count;
    return JET_errSuccess;
}

static void make(struct column_def *column, struct index_def *index, struct input *in)
{
    struct record_layout layout = {.fixed = column, .fixed_count = 1, .page_size = 4096};
    if (column->id == COLID_VARIABLE_FIRST)
        layout = (struct record_layout){.variable = column, .variable_count = 1, .page_size = 4096};
    if (column->id >= COLID_TAGGED_FIRST)
        layout = (struct record_layout){.tagged = column, .tagged_count = 1, .page_size = 4096};
    struct key_source source = {.context = column, .value = value_of, .count = count_of};
    uint8_t *key = malloc(KEY_SIZE_MOST);
    FUZZ_ENFORCE(key != NULL);
    for (int i = 0; i < 4; i++)
        values[i] = input_bytes(in, input_u8(in));
    enum key_result result = KEY_MADE;
    for (uint32_t entry = 0; entry < 20 && result != KEY_END; entry++) {
        uint32_t size = 0;
        err_t err = key_make(&layout, index, &source, entry, key, &size, &result);
        fuzz_error(err);
        if (err < 0)
            break;
        FUZZ_ENFORCE(size <= index->key_most && size <= KEY_SIZE_MOST);
    }
    free(key);
}

static void there_and_back(const struct column_def *column, const struct index_def *index, bool descending, struct slice data)
{
    uint8_t *key = malloc(index->key_most);
    uint32_t size = 0, expected = coltyp_size(column->coltyp);
    bool truncated = false, null = false;
    struct buffer out = {0};
    FUZZ_ENFORCE(key != NULL);
    if (expected == 0 || expected == data.n) {
        err_t err = key_segment(column, index, descending, data, data.n == 0, false, key, &size, index->key_most, &truncated);
        fuzz_error(err);
        FUZZ_ENFORCE(err < 0 || size <= index->key_most);
        struct slice rest = SLICE(key, size);
        bool exact = key_segment_decodable(column) && (index->flags & INDEX_DOTNET_GUID) == 0 && index->var_seg_mac == index->key_most;
        if (err >= 0 && !truncated && exact && data.n != 0) {
            FUZZ_ENFORCE(key_segment_decode(column, descending, &rest, &out, &null) >= 0);
            FUZZ_ENFORCE(rest.n == 0 && !null);
            FUZZ_ENFORCE(column->coltyp == JET_coltypBit || slice_equal(buffer_slice(&out), data));
        }
    }
    buffer_free(&out);
    free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    uint32_t how = input_u8(&in), flags = input_u16(&in), most = input_u8(&in);
    struct column_def column = {
        .id = how & 0x80 ? COLID_TAGGED_FIRST : COLID_FIXED_FIRST,
        .coltyp = types[how % (sizeof types / sizeof types[0])],
        .flags = how & 0x80 ? COLUMN_MULTI_VALUED : 0,
        .cb_max = 255,
        .code_page = how & 0x40 ? 1200 : 1252,
        .record_offset = 4,
    };
    if (coltyp_size(column.coltyp) == 0 && column.id == COLID_FIXED_FIRST) /* long ones are tagged; the others vary here */
        column.id = coltyp_is_long(column.coltyp) ? COLID_TAGGED_FIRST : COLID_VARIABLE_FIRST;
    struct index_def index = {
        .flags = flags | (most & 1 ? INDEX_DOTNET_GUID : 0),
        .key_most = (uint16_t)(most < 2 ? 255 : most < 128 ? most : most * 7),
        .segment_count = 1,
        .segments = {{.column = column.id, .descending = (how & 0x20) != 0}},
    };
    index.var_seg_mac = (uint16_t)(most % 3 == 0 ? index.key_most / 2 + 1 : index.key_most);
    struct slice rest = SLICE(in.p, in.n);
    struct buffer out = {0};
    while (rest.n != 0) {
        uint32_t before = rest.n;
        bool null;
        err_t err = key_segment_decode(&column, index.segments[0].descending, &rest, &out, &null);
        fuzz_error(err);
        if (err < 0)
            break;
        FUZZ_ENFORCE(rest.n < before);
    }
    buffer_free(&out);
    there_and_back(&column, &index, index.segments[0].descending, SLICE(in.p, in.n));
    make(&column, &index, &in);
    return 0;
}
