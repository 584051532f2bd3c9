/* The record builder: a record unpacked, edited in place, packed again. Fixed data are kept as the
 * image that will be written; values of other columns lie in one arena, so that setting a column
 * allocates nothing once the builder has been used. The tagged half is in build_tagged.c. */
#include "record/record_private.h"

/* Below this an arena full of replaced values is not worth a walk. */
#define ARENA_COMPACT_MIN 4096u
#define ARENA_START 256u

static const struct {
    uint8_t b[RECORD_HEAD_SIZE];
} empty_head = {{0, RECORD_LAST_VARIABLE_NONE, 0, 0}};

err_t record_builder_create(const struct record_layout *layout, struct record_builder **out)
{
    *out = NULL;
    struct record_builder *b = calloc(1, sizeof *b);
    if (b == NULL)
        return RAISE(JET_errOutOfMemory);
    b->layout = layout;
    err_t err = JET_errSuccess;
    TRY(buffer_reserve(&b->arena, ARENA_START));
    TRY(record_builder_clear(b));
    *out = b;
    b = NULL;
out:
    record_builder_destroy(b);
    return err;
}

void record_builder_destroy(struct record_builder *b)
{
    if (b == NULL)
        return;
    buffer_free(&b->arena);
    buffer_free(&b->spare);
    buffer_free(&b->fixed);
    free(b->tagged);
    free(b->values);
    free(b);
}

err_t record_builder_clear(struct record_builder *b)
{
    TRY_RETURN(buffer_set(&b->fixed, SLICE(empty_head.b, RECORD_HEAD_SIZE)));
    b->arena.n = 0;
    b->last_fixed = 0;
    memset(b->nulls, 0xff, sizeof b->nulls);
    memset(b->fixed_changed, 0, sizeof b->fixed_changed);
    b->last_variable = RECORD_LAST_VARIABLE_NONE;
    memset(b->variable_changed, 0, sizeof b->variable_changed);
    b->tagged_count = 0;
    b->value_count = 0;
    b->value_free = BUILDER_NO_VALUE;
    return JET_errSuccess;
}

/* ---- the arena ---- */

static void move_live(struct record_builder *b, uint32_t *at, uint32_t n)
{
    uint32_t to = b->spare.n;
    if (n != 0)
        memcpy(b->spare.p + to, b->arena.p + *at, n);
    b->spare.n += n;
    *at = to;
}

static uint64_t live_bytes(const struct record_builder *b)
{
    uint64_t live = 0;
    for (uint32_t id = COLID_VARIABLE_FIRST; id <= b->last_variable; id++)
        live += b->variable[id - COLID_VARIABLE_FIRST].n;
    for (uint32_t i = 0; i < b->tagged_count; i++)
        for (uint32_t v = b->tagged[i].first; v != BUILDER_NO_VALUE; v = b->values[v].next)
            live += b->values[v].n;
    return live;
}

/* When the arena must grow and is mostly replaced values, move the live ones out instead. */
static err_t compact(struct record_builder *b, uint32_t more)
{
    uint64_t live = live_bytes(b);
    if (b->arena.n < ARENA_COMPACT_MIN || live > b->arena.n / 2)
        return JET_errSuccess;
    TRY_RETURN(buffer_reserve(&b->spare, (uint32_t)live + more));
    b->spare.n = 0;
    for (uint32_t id = COLID_VARIABLE_FIRST; id <= b->last_variable; id++)
        move_live(b, &b->variable[id - COLID_VARIABLE_FIRST].at,
                  b->variable[id - COLID_VARIABLE_FIRST].n);
    for (uint32_t i = 0; i < b->tagged_count; i++)
        for (uint32_t v = b->tagged[i].first; v != BUILDER_NO_VALUE; v = b->values[v].next)
            move_live(b, &b->values[v].at, b->values[v].n);
    struct buffer old = b->arena;
    b->arena = b->spare;
    b->spare = old;
    return JET_errSuccess;
}

static bool is_own(const struct record_builder *b, struct slice data)
{
    uintptr_t start = (uintptr_t)b->arena.p, p = (uintptr_t)data.p;
    return b->arena.p != NULL && p >= start && p < start + b->arena.n;
}

err_t builder__store(struct record_builder *b, struct slice data, uint32_t had, uint32_t *at)
{
    if (data.n == 0) {
        *at = 0;
        return JET_errSuccess;
    }
    if (data.n <= had) {
        memmove(b->arena.p + *at, data.p, data.n);
        return JET_errSuccess;
    }
    /* data may be what record_builder_get returned: find it again after the arena has moved */
    bool own = is_own(b, data);
    uint32_t own_at = own ? (uint32_t)(data.p - b->arena.p) : 0;
    if (data.n > UINT32_MAX / 2 - b->arena.n)
        return RAISE(JET_errOutOfMemory);
    if (!own && b->arena.n + data.n > b->arena.room)
        TRY_RETURN(compact(b, data.n));
    TRY_RETURN(buffer_reserve(&b->arena, b->arena.n + data.n));
    memcpy(b->arena.p + b->arena.n, own ? b->arena.p + own_at : data.p, data.n);
    *at = b->arena.n;
    b->arena.n += data.n;
    return JET_errSuccess;
}

/* ---- fixed columns ---- */

void record__fill_fixed(const struct column_def *column, struct slice data, uint8_t *to,
                        uint32_t room)
{
    uint32_t n = data.n < room ? data.n : room;
    if (n != 0)
        memmove(to, data.p, n);
    if (!coltyp_is_text(column->coltyp))
        memset(to + n, 0, room - n);
    else if (column->code_page != CODE_PAGE_UNICODE)
        memset(to + n, ' ', room - n);
    else
        for (uint32_t i = n; i < room; i++)
            to[i] = (i - n) % 2 == 0 ? ' ' : 0;
}

static void set_null_bit(struct record_builder *b, colid_t id, bool null)
{
    if (null)
        bit_set(b->nulls, id - 1);
    else
        bit_clear(b->nulls, id - 1);
}

static err_t fixed_place(const struct column_def *column, uint32_t *size)
{
    *size = record__fixed_size(column);
    if (*size > RECORD_TEXT_MOST || column->record_offset < RECORD_HEAD_SIZE)
        return RAISE(JET_errCatalogCorrupted);
    return JET_errSuccess;
}

/* Lays out all columns up to id; those that come into being keep showing their defaults. */
static err_t extend_fixed(struct record_builder *b, colid_t id)
{
    uint32_t end = b->fixed.n, size = 0;
    for (colid_t i = b->last_fixed + 1; i <= id; i++) {
        const struct column_def *column = record__column(b->layout, i);
        if (column == NULL)
            continue;
        TRY_RETURN(fixed_place(column, &size));
        if (column->record_offset + size > end)
            end = column->record_offset + size;
    }
    TRY_RETURN(buffer_reserve(&b->fixed, end));
    memset(b->fixed.p + b->fixed.n, RECORD_NULL_FILL, end - b->fixed.n);
    b->fixed.n = end;
    for (colid_t i = b->last_fixed + 1; i <= id; i++) {
        const struct column_def *column = record__column(b->layout, i);
        set_null_bit(b, i, true);
        if (column == NULL || !record__has_default(column))
            continue;
        record__fill_fixed(column, column->default_value, b->fixed.p + column->record_offset,
                           record__fixed_size(column));
        set_null_bit(b, i, false);
    }
    b->last_fixed = id;
    return JET_errSuccess;
}

static err_t set_fixed(struct record_builder *b, const struct column_def *column, struct slice data,
                       bool null)
{
    uint32_t size = 0;
    uint8_t bit_value = 0xff;
    TRY_RETURN(fixed_place(column, &size));
    if (!null && column->coltyp == JET_coltypBit && data.p[0] != 0)
        data = SLICE(&bit_value, 1);
    if (column->id > b->last_fixed) {
        if (null && !record__has_default(column))
            return JET_errSuccess;      /* absent is NULL already */
        uint8_t copy[RECORD_TEXT_MOST]; /* data may lie in the image that is about to move */
        if (data.n != 0)
            memcpy(copy, data.p, data.n);
        TRY_RETURN(extend_fixed(b, column->id));
        data.p = copy;
        if (!null)
            record__fill_fixed(column, data, b->fixed.p + column->record_offset, size);
    } else if (!null) {
        if (column->record_offset + size > b->fixed.n)
            return RAISE(JET_errDatabaseCorrupted);
        record__fill_fixed(column, data, b->fixed.p + column->record_offset, size);
    }
    if (null && column->record_offset + size <= b->fixed.n)
        memset(b->fixed.p + column->record_offset, RECORD_NULL_FILL, size);
    set_null_bit(b, column->id, null);
    return JET_errSuccess;
}

/* ---- variable columns ---- */

static err_t extend_variable(struct record_builder *b, const struct column_def *to)
{
    const colid_t last = to->id;
    ENFORCE(colid_is_variable(last)); /* the table of columns says so; compilers with a sanitizer cannot see it */
    for (colid_t i = b->last_variable + 1; i <= last; i++) {
        const struct column_def *column = i == last ? to : record__column(b->layout, i);
        struct builder__variable *v = &b->variable[i - COLID_VARIABLE_FIRST];
        *v = (struct builder__variable){.null = true};
        if (column != NULL && record__has_default(column)) {
            struct slice value = column->default_value;
            if (value.n > RECORD_TEXT_MOST)
                return RAISE(JET_errCatalogCorrupted);
            TRY_RETURN(builder__store(b, value, 0, &v->at));
            v->n = value.n;
            v->null = false;
        }
        b->last_variable = i;
    }
    return JET_errSuccess;
}

static err_t set_variable(struct record_builder *b, const struct column_def *column,
                          struct slice data, bool null)
{
    struct builder__variable *v = &b->variable[column->id - COLID_VARIABLE_FIRST];
    uint8_t copy[RECORD_TEXT_MOST];
    if (column->id > b->last_variable) {
        if (null && !record__has_default(column))
            return JET_errSuccess;
        if (data.n != 0 && is_own(b, data)) { /* the arena may move below it */
            memcpy(copy, data.p, data.n);
            data.p = copy;
        }
        TRY_RETURN(extend_variable(b, column));
    }
    if (!null)
        TRY_RETURN(builder__store(b, data, v->n, &v->at));
    v->n = null ? 0 : data.n;
    v->null = null;
    return JET_errSuccess;
}

/* ---- the public face ---- */

static err_t check_value(const struct column_def *column, struct slice data)
{
    uint32_t size = record__type_size(column->coltyp);
    if (size != 0)
        return data.n == size ? JET_errSuccess : RAISE(JET_errInvalidBufferSize);
    uint32_t most = column->cb_max;
    if (coltyp_is_long(column->coltyp))
        most =
            most == 0 || most > (uint32_t)JET_cbLVColumnMost ? (uint32_t)JET_cbLVColumnMost : most;
    else if (column->coltyp == JET_coltypText || column->coltyp == JET_coltypBinary)
        most = most == 0 || most > RECORD_TEXT_MOST ? RECORD_TEXT_MOST : most;
    else
        return RAISE(JET_errInvalidColumnType);
    return data.n <= most ? JET_errSuccess : RAISE(JET_errColumnTooBig);
}

static void mark_changed(uint64_t bits[2], uint32_t index)
{
    bits[index / 64] |= 1ull << index % 64;
}

err_t record_builder_set(struct record_builder *b, colid_t id, uint32_t sequence, struct slice data,
                         bool null)
{
    const struct column_def *column = record__column(b->layout, id);
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    if (null)
        data = SLICE_EMPTY;
    else
        TRY_RETURN(check_value(column, data));
    if (colid_is_tagged(id)) {
        static const uint8_t bit_true = 0xff;
        if (!null && column->coltyp == JET_coltypBit && data.p[0] != 0)
            data = SLICE(&bit_true, 1);
        return builder__tagged_set(b, column, sequence, data, null, false);
    }
    if (sequence > 1)
        return RAISE(JET_errBadItagSequence);
    if (colid_is_fixed(id)) {
        TRY_RETURN(set_fixed(b, column, data, null));
        mark_changed(b->fixed_changed, id - COLID_FIXED_FIRST);
    } else {
        TRY_RETURN(set_variable(b, column, data, null));
        mark_changed(b->variable_changed, id - COLID_VARIABLE_FIRST);
    }
    return JET_errSuccess;
}

err_t record_builder_set_separated(struct record_builder *b, colid_t id, uint32_t sequence,
                                   uint32_t lid)
{
    const struct column_def *column = record__column(b->layout, id);
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    if (!colid_is_tagged(id) || !coltyp_is_long(column->coltyp))
        return RAISE(JET_errInvalidColumnType);
    return builder__tagged_set(b, column, sequence, SLICE_OF(lid), false, true);
}

static void get_default(const struct column_def *column, uint32_t sequence,
                        struct record_value *out)
{
    if (sequence == 1 && record__has_default(column))
        *out = (struct record_value){.data = column->default_value, .is_default = true};
}

static err_t get_fixed(const struct record_builder *b, const struct column_def *column,
                       struct record_value *out)
{
    uint32_t bit = column->id - 1, size = 0;
    if (column->id > b->last_fixed) {
        get_default(column, 1, out);
        return JET_errSuccess;
    }
    if (bit_has(b->nulls, bit))
        return JET_errSuccess;
    TRY_RETURN(fixed_place(column, &size));
    if (column->record_offset + size > b->fixed.n)
        return RAISE(JET_errDatabaseCorrupted);
    *out = (struct record_value){.data = SLICE(b->fixed.p + column->record_offset, size)};
    return JET_errSuccess;
}

err_t record_builder_get(struct record_builder *b, colid_t id, uint32_t sequence,
                         struct record_value *out)
{
    const struct column_def *column = record__column(b->layout, id);
    *out = (struct record_value){.null = true};
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    if (sequence == 0)
        return RAISE(JET_errBadItagSequence);
    uint32_t size = record__type_size(column->coltyp);
    if (colid_is_tagged(id)) {
        TRY_RETURN(builder__tagged_get(b, column, sequence, out));
    } else if (sequence > 1) {
        return JET_errSuccess;
    } else if (colid_is_fixed(id)) {
        TRY_RETURN(get_fixed(b, column, out));
    } else if (id > b->last_variable) {
        get_default(column, 1, out);
    } else {
        const struct builder__variable *v = &b->variable[id - COLID_VARIABLE_FIRST];
        if (!v->null)
            *out = (struct record_value){.data = SLICE(b->arena.p + v->at, v->n)};
    }
    if (size != 0 && !out->null && out->data.n != size)
        return RAISE(JET_errDatabaseCorrupted);
    return JET_errSuccess;
}

err_t record_builder_count(struct record_builder *b, colid_t id, uint32_t *count)
{
    struct record_value value;
    *count = 0;
    const struct column_def *column = record__column(b->layout, id);
    if (column != NULL && colid_is_tagged(id))
        *count = builder__tagged_values(b, column);
    if (*count != 0)
        return JET_errSuccess;
    TRY_RETURN(record_builder_get(b, id, 1, &value));
    *count = value.null ? 0 : 1;
    return JET_errSuccess;
}

bool record_builder_changed(const struct record_builder *b, colid_t id)
{
    uint32_t index;
    if (colid_is_fixed(id)) {
        index = id - COLID_FIXED_FIRST;
        return (b->fixed_changed[index / 64] >> index % 64 & 1) != 0;
    }
    if (colid_is_variable(id)) {
        index = id - COLID_VARIABLE_FIRST;
        return (b->variable_changed[index / 64] >> index % 64 & 1) != 0;
    }
    return builder__tagged_changed(b, id);
}

/* ---- from and to bytes ---- */

static err_t load_fixed(struct record_builder *b, struct slice record,
                        const struct record__parts *parts)
{
    for (colid_t id = COLID_FIXED_FIRST; id <= parts->last_fixed; id++) {
        const struct column_def *column = record__column(b->layout, id);
        uint32_t size = 0;
        if (column == NULL)
            continue;
        TRY_RETURN(fixed_place(column, &size));
        if (column->record_offset + size > parts->bitmap)
            return RAISE(JET_errDatabaseCorrupted);
    }
    TRY_RETURN(buffer_set(&b->fixed, SLICE(record.p, parts->bitmap)));
    b->last_fixed = parts->last_fixed;
    memcpy(b->nulls, record.p + parts->bitmap, (parts->last_fixed + 7) / 8);
    if (parts->last_fixed % 8 != 0)
        b->nulls[parts->last_fixed / 8] |= (uint8_t)(0xffu << parts->last_fixed % 8);
    return JET_errSuccess;
}

static err_t load_all(struct record_builder *b, struct slice record)
{
    struct record__parts parts;
    TRY_RETURN(record__split(record, &parts));
    TRY_RETURN(buffer_set(&b->arena, record));
    TRY_RETURN(load_fixed(b, record, &parts));
    for (uint32_t i = 0; i < parts.variable_count; i++) {
        struct builder__variable *v = &b->variable[i];
        struct slice data;
        TRY_RETURN(record__variable(record, &parts, i, &data, &v->null));
        v->at = v->null ? 0 : (uint32_t)(data.p - record.p);
        v->n = data.n;
    }
    b->last_variable = RECORD_LAST_VARIABLE_NONE + parts.variable_count;
    return builder__tagged_load(b, record);
}

err_t record_builder_load(struct record_builder *b, struct slice record)
{
    TRY_RETURN(record_builder_clear(b));
    err_t err = load_all(b, record);
    if (err < 0) {
        err_t cleared = record_builder_clear(b);
        (void)cleared; /* `fixed` has room for a head since create: cannot fail */
    }
    return err;
}

static uint32_t variable_bytes(const struct record_builder *b)
{
    uint32_t n = 0;
    for (uint32_t id = COLID_VARIABLE_FIRST; id <= b->last_variable; id++)
        n += b->variable[id - COLID_VARIABLE_FIRST].n;
    return n;
}

uint32_t record_builder_size(struct record_builder *b)
{
    uint64_t size = b->fixed.n + (b->last_fixed + 7) / 8 +
                    2 * (b->last_variable - RECORD_LAST_VARIABLE_NONE) + variable_bytes(b) +
                    builder__tagged_size(b);
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}

/* A page's size bounds every offset of a record: 13 bits on small pages, 15 on large ones. */
static bool fits(const struct record_builder *b, uint32_t size)
{
    uint32_t most = b->layout->large_page ? 0x8000u : 0x2000u;
    return size <= most && (b->layout->page_size == 0 || size <= b->layout->page_size);
}

err_t record_builder_pack(struct record_builder *b, struct buffer *out)
{
    uint32_t size = record_builder_size(b);
    if (!fits(b, size))
        return RAISE(JET_errRecordTooBig);
    TRY_RETURN(buffer_reserve(out, size));
    uint32_t bitmap_size = (b->last_fixed + 7) / 8;
    uint8_t *p = out->p;
    memcpy(p, b->fixed.p, b->fixed.n);
    memcpy(p + b->fixed.n, b->nulls, bitmap_size);
    p[0] = (uint8_t)b->last_fixed;
    p[1] = (uint8_t)b->last_variable;
    store_u16(p + 2, (uint16_t)(b->fixed.n + bitmap_size));

    uint8_t *entry = p + b->fixed.n + bitmap_size;
    uint8_t *data = entry + 2 * (b->last_variable - RECORD_LAST_VARIABLE_NONE);
    uint32_t end = 0;
    for (uint32_t id = COLID_VARIABLE_FIRST; id <= b->last_variable; id++, entry += 2) {
        const struct builder__variable *v = &b->variable[id - COLID_VARIABLE_FIRST];
        if (v->n != 0)
            memcpy(data + end, b->arena.p + v->at, v->n);
        end += v->n;
        store_u16(entry, (uint16_t)(end | (v->null ? RECORD_VARIABLE_NULL : 0)));
    }
    builder__tagged_write(b, data + end);
    out->n = size;
    return JET_errSuccess;
}

uint32_t record_size_most(uint32_t page_size, uint32_t key_most)
{
    bool large = page_size > 8192;
    uint32_t node = page_size - (large ? 80 : 40) - 8; /* page header; tag 0 and the node's tag */
    if (large)
        return node - 2 - 2 - key_most;
    return node - 2 - (2 + key_most > 255 ? 2 + key_most : 255);
}
