/* Reading columns of a record where it lies: constant time for fixed and variable columns. */
#include "record/record_private.h"

const uint8_t record__type_sizes[RECORD_TYPE_COUNT] = {
    [JET_coltypBit] = 1,
    [JET_coltypUnsignedByte] = 1,
    [JET_coltypShort] = 2,
    [JET_coltypLong] = 4,
    [JET_coltypCurrency] = 8,
    [JET_coltypIEEESingle] = 4,
    [JET_coltypIEEEDouble] = 8,
    [JET_coltypDateTime] = 8,
    [JET_coltypUnsignedLong] = 4,
    [JET_coltypLongLong] = 8,
    [JET_coltypGUID] = 16,
    [JET_coltypUnsignedShort] = 2,
    [JET_coltypUnsignedLongLong] = 8,
};

uint32_t coltyp_size(uint32_t coltyp)
{
    return record__type_size(coltyp);
}

bool coltyp_is_text(uint32_t coltyp)
{
    return coltyp == JET_coltypText || coltyp == JET_coltypLongText;
}

bool coltyp_is_long(uint32_t coltyp)
{
    return coltyp == JET_coltypLongBinary || coltyp == JET_coltypLongText;
}

const struct column_def *record_column(const struct record_layout *layout, colid_t id)
{
    return record__column(layout, id);
}

err_t record__split(struct slice record, struct record__parts *parts)
{
    if (record.n < RECORD_HEAD_SIZE)
        return RAISE(JET_errDatabaseCorrupted);
    uint32_t last_variable = record.p[1];
    parts->last_fixed = record.p[0];
    parts->offsets = load_u16(record.p + 2);
    uint32_t bitmap_size = (parts->last_fixed + 7) / 8;
    if (parts->last_fixed > COLID_FIXED_LAST || last_variable < RECORD_LAST_VARIABLE_NONE ||
        parts->offsets < RECORD_HEAD_SIZE + bitmap_size)
        return RAISE(JET_errDatabaseCorrupted);
    parts->bitmap = parts->offsets - bitmap_size;
    parts->variable_count = last_variable - RECORD_LAST_VARIABLE_NONE;
    parts->variable = parts->offsets + 2 * parts->variable_count;
    if (parts->variable > record.n)
        return RAISE(JET_errDatabaseCorrupted);
    parts->tagged = parts->variable;
    if (parts->variable_count != 0)
        parts->tagged += load_u16(record.p + parts->variable - 2) & RECORD_OFFSET_MASK;
    if (parts->tagged > record.n)
        return RAISE(JET_errDatabaseCorrupted);
    return JET_errSuccess;
}

err_t record__variable(struct slice record, const struct record__parts *parts, uint32_t index,
                       struct slice *data, bool *null)
{
    ASSERT(index < parts->variable_count);
    const uint8_t *p = record.p + parts->offsets + 2 * index;
    uint32_t word = load_u16(p);
    uint32_t end = word & RECORD_OFFSET_MASK;
    uint32_t start = index == 0 ? 0 : load_u16(p - 2) & RECORD_OFFSET_MASK;
    if (start > end || end > parts->tagged - parts->variable)
        return RAISE(JET_errDatabaseCorrupted);
    *null = (word & RECORD_VARIABLE_NULL) != 0;
    *data = *null ? SLICE_EMPTY : SLICE(record.p + parts->variable + start, end - start);
    return JET_errSuccess;
}

/* The value of a column that the record does not hold. */
static err_t get_default(const struct column_def *column, uint32_t sequence,
                         struct record_value *out)
{
    *out = (struct record_value){.null = true};
    if (sequence != 1 || !record__has_default(column))
        return JET_errSuccess;
    uint32_t size = record__type_size(column->coltyp);
    if (size != 0 && column->default_value.n != size)
        return RAISE(JET_errDatabaseCorrupted);
    *out = (struct record_value){.data = column->default_value, .is_default = true};
    return JET_errSuccess;
}

static err_t get_fixed(struct slice record, const struct column_def *column,
                       struct record_value *out)
{
    struct record__parts parts;
    uint32_t bit = column->id - 1;
    TRY_RETURN(record__split(record, &parts));
    if (column->id > parts.last_fixed)
        return get_default(column, 1, out);
    *out = (struct record_value){.null = true};
    if (bit_has(record.p + parts.bitmap, bit))
        return JET_errSuccess;
    uint32_t size = record__fixed_size(column);
    if (size > parts.bitmap || column->record_offset > parts.bitmap - size)
        return RAISE(JET_errDatabaseCorrupted);
    out->null = false;
    out->data = SLICE(record.p + column->record_offset, size);
    return JET_errSuccess;
}

/* A value of a fixed-size type outside the fixed area must still have that size. */
static err_t check_size(const struct column_def *column, const struct record_value *value)
{
    uint32_t size = record__type_size(column->coltyp);
    if (size != 0 && !value->null &&
        (value->data.n != size || value->separated || value->compressed))
        return RAISE(JET_errDatabaseCorrupted);
    return JET_errSuccess;
}

static err_t get_variable(struct slice record, const struct column_def *column,
                          struct record_value *out)
{
    struct record__parts parts;
    uint32_t index = column->id - COLID_VARIABLE_FIRST;
    TRY_RETURN(record__split(record, &parts));
    if (index >= parts.variable_count)
        return get_default(column, 1, out);
    *out = (struct record_value){0};
    TRY_RETURN(record__variable(record, &parts, index, &out->data, &out->null));
    return check_size(column, out);
}

err_t record_get(const struct record_layout *layout, struct slice record, colid_t id,
                 uint32_t sequence, struct record_value *out)
{
    *out = (struct record_value){.null = true};
    const struct column_def *column = record__column(layout, id);
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    if (sequence == 0)
        return RAISE(JET_errBadItagSequence);
    if (!colid_is_tagged(id)) {
        if (sequence > 1)
            return JET_errSuccess;
        return colid_is_fixed(id) ? get_fixed(record, column, out)
                                  : get_variable(record, column, out);
    }
    struct record__tagged_area area;
    struct record__tagged_entry entry;
    bool found = false;
    TRY_RETURN(record__tagged_open(layout, record, &area));
    TRY_RETURN(record__tagged_find(&area, column, &entry, &found));
    if (!found)
        return get_default(column, sequence, out);
    TRY_RETURN(record__tagged_instance(&entry, sequence, out));
    return check_size(column, out);
}

err_t record_count_values(const struct record_layout *layout, struct slice record, colid_t id,
                          uint32_t *count)
{
    *count = 0;
    const struct column_def *column = record__column(layout, id);
    if (column != NULL && colid_is_tagged(id)) {
        struct record__tagged_area area;
        struct record__tagged_entry entry;
        bool found = false;
        TRY_RETURN(record__tagged_open(layout, record, &area));
        TRY_RETURN(record__tagged_find(&area, column, &entry, &found));
        if (found)
            return record__tagged_count(&entry, count);
    }
    struct record_value value;
    TRY_RETURN(record_get(layout, record, id, 1, &value));
    *count = value.null ? 0 : 1;
    return JET_errSuccess;
}

static err_t validate_tagged(const struct record_layout *layout, struct slice record)
{
    struct record__tagged_area area;
    struct record__tagged_entry entry;
    TRY_RETURN(record__tagged_open(layout, record, &area));
    for (uint32_t i = 0, before = 0; i < area.count; i++) {
        uint32_t count = 0;
        TRY_RETURN(record__tagged_entry(&area, i, &entry));
        if ((i != 0 && entry.order <= before) || !colid_is_tagged(record__order_id(entry.order)))
            return RAISE(JET_errDatabaseCorrupted);
        before = entry.order;
        TRY_RETURN(record__tagged_count(&entry, &count));
        if ((entry.header & TAGGED_ENCRYPTED) != 0)
            continue;
        const struct column_def *column = record__column(layout, record__order_id(entry.order));
        bool same = column != NULL &&
                    ((column->flags & COLUMN_TEMPLATE) != 0) == record__order_derived(entry.order);
        for (uint32_t n = 1; n <= count; n++) {
            struct record_value value;
            TRY_RETURN(record__tagged_instance(&entry, n, &value));
            if (same)
                TRY_RETURN(check_size(column, &value));
        }
    }
    return JET_errSuccess;
}

err_t record_validate(const struct record_layout *layout, struct slice record)
{
    struct record__parts parts;
    TRY_RETURN(record__split(record, &parts));
    for (colid_t id = COLID_FIXED_FIRST; id <= parts.last_fixed; id++) {
        const struct column_def *column = record__column(layout, id);
        struct record_value value;
        if (column != NULL)
            TRY_RETURN(get_fixed(record, column, &value));
    }
    for (uint32_t i = 0; i < parts.variable_count; i++) {
        struct record_value value = {0};
        TRY_RETURN(record__variable(record, &parts, i, &value.data, &value.null));
    }
    return validate_tagged(layout, record);
}
