/* The builder's tagged half: entries sorted as on disk, each with a list of values in the arena. */
#include "record/record_private.h"

#define LID_SIZE 4u

/* Index of the first entry that does not sort before `order`. Columns mostly come in order. */
static uint32_t find_place(const struct record_builder *b, uint32_t order)
{
    uint32_t low = 0, high = b->tagged_count;
    if (high != 0 && b->tagged[high - 1].order < order)
        return high;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (b->tagged[middle].order < order)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct builder__tagged *find_order(const struct record_builder *b, uint32_t order)
{
    uint32_t i = find_place(b, order);
    return i < b->tagged_count && b->tagged[i].order == order ? &b->tagged[i] : NULL;
}

/* As record__tagged_find: the derived entry of a template column first. */
static struct builder__tagged *find_column(const struct record_builder *b,
                                           const struct column_def *column)
{
    struct builder__tagged *entry = NULL;
    if ((column->flags & COLUMN_TEMPLATE) != 0)
        entry = find_order(b, record__tagged_order(column->id, true));
    return entry != NULL ? entry : find_order(b, record__tagged_order(column->id, false));
}

static bool is_stored(const struct builder__tagged *entry)
{
    return entry->count != 0 || entry->null;
}

static err_t reserve_entry(struct record_builder *b)
{
    if (b->tagged_count < b->tagged_room)
        return JET_errSuccess;
    uint32_t room = b->tagged_room == 0 ? 16 : 2 * b->tagged_room;
    struct builder__tagged *p = realloc(b->tagged, room * sizeof *p);
    if (p == NULL)
        return RAISE(JET_errOutOfMemory);
    b->tagged = p;
    b->tagged_room = room;
    return JET_errSuccess;
}

static err_t reserve_value(struct record_builder *b)
{
    if (b->value_free != BUILDER_NO_VALUE || b->value_count < b->value_room)
        return JET_errSuccess;
    if (b->value_room > UINT32_MAX / 4)
        return RAISE(JET_errOutOfMemory);
    uint32_t room = b->value_room == 0 ? 32 : 2 * b->value_room;
    struct builder__value *p = realloc(b->values, room * sizeof *p);
    if (p == NULL)
        return RAISE(JET_errOutOfMemory);
    b->values = p;
    b->value_room = room;
    return JET_errSuccess;
}

/* reserve_entry came before */
static struct builder__tagged *insert_entry(struct record_builder *b, uint32_t order, bool is_long)
{
    uint32_t i = find_place(b, order);
    memmove(b->tagged + i + 1, b->tagged + i, (b->tagged_count - i) * sizeof *b->tagged);
    b->tagged_count++;
    b->tagged[i] = (struct builder__tagged){
        .order = order, .first = BUILDER_NO_VALUE, .last = BUILDER_NO_VALUE, .is_long = is_long};
    return &b->tagged[i];
}

/* reserve_value came before */
static struct builder__value *append_value(struct record_builder *b, struct builder__tagged *entry)
{
    uint32_t v = b->value_free;
    if (v != BUILDER_NO_VALUE)
        b->value_free = b->values[v].next;
    else
        v = b->value_count++;
    b->values[v] = (struct builder__value){.next = BUILDER_NO_VALUE};
    if (entry->last == BUILDER_NO_VALUE)
        entry->first = v;
    else
        b->values[entry->last].next = v;
    entry->last = v;
    entry->count++;
    return &b->values[v];
}

/* Index of the sequence-th value and of the one before it. */
static uint32_t nth_value(const struct record_builder *b, const struct builder__tagged *entry,
                          uint32_t sequence, uint32_t *before)
{
    uint32_t v = entry->first;
    *before = BUILDER_NO_VALUE;
    for (; v != BUILDER_NO_VALUE && sequence > 1; sequence--) {
        *before = v;
        v = b->values[v].next;
    }
    return v;
}

static void remove_value(struct record_builder *b, struct builder__tagged *entry, uint32_t sequence)
{
    uint32_t before;
    uint32_t v = nth_value(b, entry, sequence, &before);
    if (before == BUILDER_NO_VALUE)
        entry->first = b->values[v].next;
    else
        b->values[before].next = b->values[v].next;
    if (entry->last == v)
        entry->last = before;
    entry->count--;
    b->values[v].next = b->value_free;
    b->value_free = v;
}

static err_t set_null(struct record_builder *b, const struct column_def *column,
                      struct builder__tagged *entry, uint32_t sequence)
{
    if (entry == NULL) {
        TRY_RETURN(reserve_entry(b));
        entry = insert_entry(
            b, record__tagged_order(column->id, (column->flags & COLUMN_TEMPLATE) != 0),
            coltyp_is_long(column->coltyp));
    }
    entry->changed = true;
    if (entry->count != 0) {
        if (sequence == 0 || sequence > entry->count)
            return JET_errSuccess; /* there is no such value to remove */
        remove_value(b, entry, sequence);
    } else if (sequence > 1) {
        return JET_errSuccess;
    }
    if (entry->count == 0)
        entry->null = record__has_default(column);
    return JET_errSuccess;
}

err_t builder__tagged_set(struct record_builder *b, const struct column_def *column,
                          uint32_t sequence, struct slice data, bool null, bool separated)
{
    struct builder__tagged *entry = find_column(b, column);
    if (null)
        return set_null(b, column, entry, sequence);
    if (entry != NULL && sequence >= 1 && sequence <= entry->count) {
        uint32_t before;
        uint32_t v = nth_value(b, entry, sequence, &before);
        uint32_t at = b->values[v].at;
        TRY_RETURN(builder__store(b, data, b->values[v].n, &at));
        b->values[v].at = at;
        b->values[v].n = data.n;
        b->values[v].separated = separated;
        b->values[v].compressed = false;
        entry->changed = true;
        return JET_errSuccess;
    }
    uint32_t at = 0;
    TRY_RETURN(reserve_entry(b));
    TRY_RETURN(reserve_value(b));
    TRY_RETURN(builder__store(b, data, 0, &at));
    entry = find_column(b, column); /* the array may have moved */
    if (entry == NULL)
        entry = insert_entry(
            b, record__tagged_order(column->id, (column->flags & COLUMN_TEMPLATE) != 0),
            coltyp_is_long(column->coltyp));
    struct builder__value *value = append_value(b, entry);
    value->at = at;
    value->n = data.n;
    value->separated = separated;
    entry->null = false;
    entry->changed = true;
    return JET_errSuccess;
}

err_t builder__tagged_get(struct record_builder *b, const struct column_def *column,
                          uint32_t sequence, struct record_value *out)
{
    const struct builder__tagged *entry = find_column(b, column);
    *out = (struct record_value){.null = true};
    if (entry == NULL || !is_stored(entry)) {
        if (sequence == 1 && record__has_default(column))
            *out = (struct record_value){.data = column->default_value, .is_default = true};
        return JET_errSuccess;
    }
    if (sequence > entry->count)
        return JET_errSuccess;
    uint32_t before;
    const struct builder__value *value = &b->values[nth_value(b, entry, sequence, &before)];
    *out = (struct record_value){.data = SLICE(b->arena.p + value->at, value->n),
                                 .separated = value->separated,
                                 .compressed = value->compressed};
    return JET_errSuccess;
}

uint32_t builder__tagged_values(struct record_builder *b, const struct column_def *column)
{
    const struct builder__tagged *entry = find_column(b, column);
    return entry == NULL ? 0 : entry->count;
}

bool builder__tagged_changed(const struct record_builder *b, colid_t id)
{
    const struct column_def *column = record__column(b->layout, id);
    const struct builder__tagged *entry = column == NULL ? NULL : find_column(b, column);
    return entry != NULL && entry->changed;
}

err_t record_builder_next_tagged(struct record_builder *b, colid_t after, colid_t *id)
{
    colid_t best = 0;
    *id = 0;
    if (b->tagged_count == 0 || after >= COLID_TAGGED_LAST)
        return JET_errSuccess;
    for (int derived = 1; derived >= 0; derived--) {
        uint32_t i = find_place(b, record__tagged_order(after + 1, derived != 0));
        for (; i < b->tagged_count; i++) {
            const struct builder__tagged *entry = &b->tagged[i];
            if (record__order_derived(entry->order) != (derived != 0))
                break;
            const struct column_def *column =
                record__column(b->layout, record__order_id(entry->order));
            if (entry->count != 0 && column != NULL && find_column(b, column) == entry) {
                if (best == 0 || column->id < best)
                    best = column->id;
                break;
            }
        }
    }
    *id = best;
    return JET_errSuccess;
}

/* ---- from and to bytes ---- */

err_t builder__tagged_load(struct record_builder *b, struct slice record)
{
    struct record__tagged_area area;
    TRY_RETURN(record__tagged_open(b->layout, record, &area));
    for (uint32_t i = 0; i < area.count; i++) {
        struct record__tagged_entry stored;
        uint32_t count = 0;
        TRY_RETURN(record__tagged_entry(&area, i, &stored));
        if (i != 0 && stored.order <= b->tagged[i - 1].order)
            return RAISE(JET_errDatabaseCorrupted);
        TRY_RETURN(record__tagged_count(&stored, &count));
        TRY_RETURN(reserve_entry(b));
        const struct column_def *column = record__column(b->layout, record__order_id(stored.order));
        bool is_long = (stored.header & TAGGED_LONG) != 0 ||
                       (column != NULL && coltyp_is_long(column->coltyp));
        struct builder__tagged *entry = insert_entry(b, stored.order, is_long);
        entry->null = stored.null;
        for (uint32_t n = 1; n <= count; n++) {
            struct record_value value;
            TRY_RETURN(record__tagged_instance(&stored, n, &value));
            TRY_RETURN(reserve_value(b));
            struct builder__value *v = append_value(b, entry);
            v->at = (uint32_t)(value.data.p - record.p);
            v->n = value.data.n;
            v->separated = value.separated;
            v->compressed = value.compressed;
        }
    }
    return JET_errSuccess;
}

/* The short form of two values: a length byte, no offsets. Long types never use it. */
static bool two_values(const struct record_builder *b, const struct builder__tagged *entry)
{
    return entry->count == 2 && !entry->is_long && b->values[entry->first].n <= 255 &&
           !b->values[entry->first].separated && !b->values[entry->last].separated;
}

static uint8_t entry_header(const struct record_builder *b, const struct builder__tagged *entry)
{
    if (entry->null)
        return TAGGED_NULL;
    uint8_t header = entry->is_long ? TAGGED_LONG : 0;
    if (b->values[entry->first].compressed)
        header |= TAGGED_COMPRESSED;
    if (entry->count > 1)
        header |= two_values(b, entry) ? TAGGED_MULTI | TAGGED_TWO : TAGGED_MULTI;
    else if (b->values[entry->first].separated)
        header |= TAGGED_SEPARATED;
    return header;
}

/* Large pages always have the header byte; small ones only when it says something. */
static bool has_header(const struct record_builder *b, const struct builder__tagged *entry,
                       uint8_t header)
{
    return b->layout->large_page || (header != 0 && !entry->null);
}

uint64_t builder__tagged_size(const struct record_builder *b)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < b->tagged_count; i++) {
        const struct builder__tagged *entry = &b->tagged[i];
        if (!is_stored(entry))
            continue;
        size += TAGGED_ENTRY_SIZE + has_header(b, entry, entry_header(b, entry));
        if (entry->count > 1)
            size += two_values(b, entry) ? 1 : 2 * (uint64_t)entry->count;
        for (uint32_t v = entry->first; v != BUILDER_NO_VALUE; v = b->values[v].next)
            size += b->values[v].n;
    }
    return size;
}

/* Header byte and values of one entry; returns the end. */
static uint8_t *write_entry(const struct record_builder *b, const struct builder__tagged *entry,
                            uint8_t header, uint8_t *to)
{
    if (has_header(b, entry, header))
        *to++ = header;
    uint8_t *offsets = NULL, *start = to;
    if ((header & TAGGED_TWO) != 0) {
        *to++ = (uint8_t)b->values[entry->first].n;
    } else if ((header & TAGGED_MULTI) != 0) {
        offsets = to;
        to += 2 * entry->count;
    }
    for (uint32_t v = entry->first; v != BUILDER_NO_VALUE; v = b->values[v].next) {
        const struct builder__value *value = &b->values[v];
        if (offsets != NULL) {
            store_u16(offsets, (uint16_t)((uint32_t)(to - start) |
                                          (value->separated ? INSTANCE_SEPARATED : 0)));
            offsets += 2;
        }
        if (value->n != 0)
            memcpy(to, b->arena.p + value->at, value->n);
        to += value->n;
    }
    return to;
}

void builder__tagged_write(const struct record_builder *b, uint8_t *to)
{
    uint32_t stored = 0;
    for (uint32_t i = 0; i < b->tagged_count; i++)
        stored += is_stored(&b->tagged[i]);
    uint8_t *slot = to, *data = to + TAGGED_ENTRY_SIZE * stored;
    for (uint32_t i = 0; i < b->tagged_count; i++) {
        const struct builder__tagged *entry = &b->tagged[i];
        if (!is_stored(entry))
            continue;
        uint8_t header = entry_header(b, entry);
        uint32_t ib =
            (uint32_t)(data - to) | (record__order_derived(entry->order) ? TAGGED_DERIVED : 0);
        if (!b->layout->large_page && entry->null)
            ib |= TAGGED_NULL_SMALL;
        else if (!b->layout->large_page && header != 0)
            ib |= TAGGED_HAS_HEADER_SMALL;
        store_u16(slot, (uint16_t)record__order_id(entry->order));
        store_u16(slot + 2, (uint16_t)ib);
        slot += TAGGED_ENTRY_SIZE;
        data = write_entry(b, entry, header, data);
    }
}

err_t record_builder_largest_long(struct record_builder *b, colid_t *id, uint32_t *sequence,
                                  struct slice *data)
{
    uint32_t most = LID_SIZE; /* separating less gains nothing */
    *id = 0;
    *sequence = 0;
    *data = SLICE_EMPTY;
    for (uint32_t i = 0; i < b->tagged_count; i++) {
        const struct builder__tagged *entry = &b->tagged[i];
        const struct column_def *column = record__column(b->layout, record__order_id(entry->order));
        if (!entry->is_long || column == NULL || find_column(b, column) != entry)
            continue;
        uint32_t n = 1;
        for (uint32_t v = entry->first; v != BUILDER_NO_VALUE; v = b->values[v].next, n++) {
            if (b->values[v].separated || b->values[v].n <= most)
                continue;
            most = b->values[v].n;
            *id = column->id;
            *sequence = n;
            *data = SLICE(b->arena.p + b->values[v].at, b->values[v].n);
        }
    }
    return JET_errSuccess;
}
