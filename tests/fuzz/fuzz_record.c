/* One record: read column by column, then unpacked, edited and packed again. Input: choice of columns, edits, the record. */
#include "fuzz.h"
#include "record/record.h"

enum { FIXED = 20, VARIABLE = 12, TAGGED = 24 };
static struct column_def fixed[FIXED], variable[VARIABLE], tagged[TAGGED];
static const uint8_t defaults[16] = "default value..";

static const uint32_t types[] = {
    JET_coltypBit, JET_coltypUnsignedByte, JET_coltypShort, JET_coltypLong, JET_coltypCurrency, JET_coltypIEEESingle,
    JET_coltypIEEEDouble, JET_coltypDateTime, JET_coltypText, JET_coltypBinary, JET_coltypLongBinary, JET_coltypLongText,
    JET_coltypUnsignedLong, JET_coltypLongLong, JET_coltypGUID, JET_coltypUnsignedShort, JET_coltypUnsignedLongLong, 0 /* deleted */,
};
#define TYPES (sizeof types / sizeof types[0])

/* The catalog is hostile too, within what catalog/ lets through. */
static void define(struct column_def *c, colid_t id, uint32_t choice)
{
    *c = (struct column_def){.id = id, .coltyp = types[choice % TYPES], .cb_max = 255, .code_page = choice & 0x40 ? 1200 : 1252};
    if (c->coltyp == 0)
        c->flags = COLUMN_DELETED;
    if (id < COLID_TAGGED_FIRST && coltyp_is_long(c->coltyp))
        c->coltyp = JET_coltypBinary;
    if (id < COLID_VARIABLE_FIRST && coltyp_size(c->coltyp) == 0)
        c->cb_max = choice % 64 + 1;
    if ((choice & 0x80) != 0) {
        uint32_t size = coltyp_size(c->coltyp);
        c->default_value = SLICE(defaults, size != 0 ? size : choice % 16 + 1);
        if (id < COLID_VARIABLE_FIRST && c->default_value.n > c->cb_max)
            c->default_value.n = c->cb_max;
        c->flags |= COLUMN_HAS_DEFAULT;
    }
    if (id >= COLID_TAGGED_FIRST)
        c->flags |= choice & 0x20 ? COLUMN_MULTI_VALUED : 0;
}

static void define_all(struct record_layout *layout, struct input *in)
{
    uint32_t seed = input_u8(in), at = 4, how = input_u8(in);
    for (uint32_t i = 0; i < FIXED; i++) {
        define(&fixed[i], COLID_FIXED_FIRST + i, seed + i * (i * 7 + 1));
        fixed[i].record_offset = (uint16_t)at;
        uint32_t size = coltyp_size(fixed[i].coltyp);
        at += size != 0 ? size : fixed[i].cb_max;
    }
    for (uint32_t i = 0; i < VARIABLE; i++)
        define(&variable[i], COLID_VARIABLE_FIRST + i, (i % 2 ? 8u : 9u) + (seed & 0xc0));
    for (uint32_t i = 0; i < TAGGED; i++)
        define(&tagged[i], COLID_TAGGED_FIRST + i, seed * 3 + i * 5);
    *layout = (struct record_layout){
        .fixed = fixed, .variable = variable, .tagged = tagged,
        .fixed_count = how % (FIXED + 1), .variable_count = how / 3 % (VARIABLE + 1), .tagged_count = how & 1 ? TAGGED : how % TAGGED,
        .large_page = (how & 0x80) != 0, .page_size = how & 0x80 ? 32768 : 4096,
    };
}

static colid_t pick(struct input *in)
{
    uint32_t x = input_u8(in);
    return x < 32 ? x : x < 64 ? COLID_VARIABLE_FIRST + x % 16 : COLID_TAGGED_FIRST + x % 32;
}

static volatile uint64_t sum; /* every byte that is handed out is read */

static void read_value(const struct record_value *v)
{
    for (uint32_t i = 0; !v->null && i < v->data.n; i++)
        sum += v->data.p[i];
    if (!v->null && v->compressed) {
        struct buffer out = {0};
        fuzz_error(record_decompress(v->data, &out));
        buffer_free(&out);
    }
}

static void read_all(const struct record_layout *layout, struct slice record)
{
    struct record_value v;
    uint32_t count;
    bool sound = record_validate(layout, record) >= 0;
    for (colid_t id = 0; id < COLID_TAGGED_FIRST + TAGGED + 2; id++) {
        err_t err = record_count_values(layout, record, id, &count);
        for (uint32_t sequence = 1; sequence < 6; sequence++) {
            err_t got = record_get(layout, record, id, sequence, &v);
            if (got >= 0)
                read_value(&v);
            if (got >= 0 && err >= 0 && sound)
                FUZZ_ENFORCE(sequence <= count || v.null);
        }
    }
    colid_t id = 0, next = 0;
    for (int steps = 0; record_next_tagged(layout, record, id, &next) >= 0 && next != 0; id = next, steps++)
        FUZZ_ENFORCE(next > id && steps < 65536);
}

static void edit(struct record_builder *b, const struct record_layout *layout, bool sound, struct input *in)
{
    struct buffer packed = {0};
    for (int turn = 0; turn < 12 && in->n > 0; turn++) {
        uint32_t what = input_u8(in);
        colid_t id = pick(in);
        struct slice data = input_bytes(in, what & 0x80 ? input_u8(in) : coltyp_size(types[what % TYPES]));
        if (what % 8 == 0)
            fuzz_error(record_builder_set_separated(b, id, what >> 4, 77));
        else
            fuzz_error(record_builder_set(b, id, what >> 5, data, what % 8 == 1));
        struct record_value v;
        if (record_builder_get(b, id, 1, &v) >= 0)
            read_value(&v);
    }
    uint32_t size = record_builder_size(b);
    err_t err = record_builder_pack(b, &packed);
    fuzz_error(err);
    if (err >= 0) {
        FUZZ_ENFORCE(packed.n == size);
        /* damage that came in goes out as it was, or with the column that it was in */
        FUZZ_ENFORCE(record_validate(layout, buffer_slice(&packed)) >= 0 || !sound);
    }
    buffer_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    struct record_layout layout;
    struct record_builder *b = NULL;
    define_all(&layout, &in);
    struct slice edits = input_bytes(&in, input_u8(&in));
    uint8_t *exact = malloc(in.n + 1); /* the record ends where its memory does */
    FUZZ_ENFORCE(exact != NULL);
    struct slice record = SLICE(exact + 1, in.n);
    memcpy(exact + 1, in.p, in.n);
    read_all(&layout, record);
    FUZZ_ENFORCE(record_builder_create(&layout, &b) >= 0);
    bool sound = record_validate(&layout, record) >= 0;
    if (sound || (edits.n & 1) != 0) {
        err_t err = record_builder_load(b, record);
        fuzz_error(err);
        struct input more = {edits.p, edits.n};
        if (err >= 0)
            edit(b, &layout, sound, &more);
    }
    record_builder_destroy(b);
    free(exact);
    return 0;
}
