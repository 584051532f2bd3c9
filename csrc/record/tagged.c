/* Reading the tagged area: entries, and the values inside one entry (edb-format.md 10.4). */
#include "record/record_private.h"

static struct slice part(struct slice s, uint32_t from, uint32_t to)
{
    return SLICE(s.p + from, to - from);
}

err_t record__tagged_open(const struct record_layout *layout, struct slice record,
                          struct record__tagged_area *area)
{
    struct record__parts parts;
    TRY_RETURN(record__split(record, &parts));
    area->bytes = part(record, parts.tagged, record.n);
    area->count = 0;
    area->large = layout->large_page;
    if (area->bytes.n == 0)
        return JET_errSuccess;
    if (area->bytes.n < TAGGED_ENTRY_SIZE)
        return RAISE(JET_errDatabaseCorrupted);
    uint32_t first =
        load_u16(area->bytes.p + 2) & (area->large ? RECORD_OFFSET_MASK : TAGGED_MASK_SMALL);
    if (first == 0 || first % TAGGED_ENTRY_SIZE != 0 || first > area->bytes.n)
        return RAISE(JET_errDatabaseCorrupted);
    area->count = first / TAGGED_ENTRY_SIZE;
    return JET_errSuccess;
}

static uint32_t entry_order(const struct record__tagged_area *area, uint32_t index)
{
    const uint8_t *p = area->bytes.p + TAGGED_ENTRY_SIZE * index;
    return record__tagged_order(load_u16(p), (load_u16(p + 2) & TAGGED_DERIVED) != 0);
}

err_t record__tagged_entry(const struct record__tagged_area *area, uint32_t index,
                           struct record__tagged_entry *entry)
{
    ASSERT(index < area->count);
    const uint8_t *p = area->bytes.p + TAGGED_ENTRY_SIZE * index;
    uint32_t mask = area->large ? RECORD_OFFSET_MASK : TAGGED_MASK_SMALL;
    uint32_t ib = load_u16(p + 2);
    uint32_t from = ib & mask;
    uint32_t to = index + 1 < area->count ? load_u16(p + 6) & mask : area->bytes.n;
    if (from < TAGGED_ENTRY_SIZE * area->count || from > to || to > area->bytes.n)
        return RAISE(JET_errDatabaseCorrupted);

    entry->order = entry_order(area, index);
    entry->header = 0;
    entry->null = !area->large && (ib & TAGGED_NULL_SMALL) != 0;
    if (!entry->null && (area->large || (ib & TAGGED_HAS_HEADER_SMALL) != 0)) {
        if (from == to)
            return RAISE(JET_errDatabaseCorrupted);
        entry->header = area->bytes.p[from++];
        entry->null = (entry->header & TAGGED_NULL) != 0;
    }
    entry->body = part(area->bytes, from, to);
    return JET_errSuccess;
}

/* Index of the first entry that does not sort before `order`. */
static uint32_t lower_bound(const struct record__tagged_area *area, uint32_t order)
{
    uint32_t low = 0, high = area->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (entry_order(area, middle) < order)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool find_order(const struct record__tagged_area *area, uint32_t order, uint32_t *index)
{
    *index = lower_bound(area, order);
    return *index < area->count && entry_order(area, *index) == order;
}

err_t record__tagged_find(const struct record__tagged_area *area, const struct column_def *column,
                          struct record__tagged_entry *entry, bool *found)
{
    uint32_t index = 0;
    *found = false;
    if (area->count == 0)
        return JET_errSuccess;
    /* In the template's own table its columns carry no derived bit, in derived tables they do. */
    if ((column->flags & COLUMN_TEMPLATE) != 0)
        *found = find_order(area, record__tagged_order(column->id, true), &index);
    if (!*found)
        *found = find_order(area, record__tagged_order(column->id, false), &index);
    return *found ? record__tagged_entry(area, index, entry) : JET_errSuccess;
}

/* Number of instances by header and body; checks what it needs of the offset array. */
err_t record__tagged_count(const struct record__tagged_entry *entry, uint32_t *count)
{
    *count = 0;
    if (entry->null)
        return JET_errSuccess;
    if ((entry->header & TAGGED_MULTI) == 0) {
        if ((entry->header & TAGGED_TWO) != 0)
            return RAISE(JET_errDatabaseCorrupted);
        *count = 1;
        return JET_errSuccess;
    }
    if ((entry->header & TAGGED_TWO) != 0) {
        if (entry->body.n == 0 || 1u + entry->body.p[0] > entry->body.n)
            return RAISE(JET_errDatabaseCorrupted);
        *count = 2;
        return JET_errSuccess;
    }
    if (entry->body.n < 2)
        return RAISE(JET_errDatabaseCorrupted);
    uint32_t first = load_u16(entry->body.p) & RECORD_OFFSET_MASK;
    if (first == 0 || first % 2 != 0 || first > entry->body.n)
        return RAISE(JET_errDatabaseCorrupted);
    *count = first / 2;
    return JET_errSuccess;
}

static err_t multi_instance(const struct record__tagged_entry *entry, uint32_t count,
                            uint32_t sequence, struct record_value *out)
{
    const uint8_t *p = entry->body.p + 2 * (sequence - 1);
    uint32_t word = load_u16(p);
    uint32_t from = word & RECORD_OFFSET_MASK;
    uint32_t to = sequence < count ? load_u16(p + 2) & RECORD_OFFSET_MASK : entry->body.n;
    if (from < 2 * count || from > to || to > entry->body.n)
        return RAISE(JET_errDatabaseCorrupted);
    out->data = part(entry->body, from, to);
    out->separated = (word & INSTANCE_SEPARATED) != 0;
    /* only the first instance is ever compressed */
    out->compressed = sequence == 1 && (entry->header & TAGGED_COMPRESSED) != 0;
    return JET_errSuccess;
}

err_t record__tagged_instance(const struct record__tagged_entry *entry, uint32_t sequence,
                              struct record_value *out)
{
    uint32_t count = 0;
    *out = (struct record_value){.null = true};
    TRY_RETURN(record__tagged_count(entry, &count));
    if (sequence == 0 || sequence > count)
        return JET_errSuccess;
    if ((entry->header & TAGGED_ENCRYPTED) != 0)
        return RAISE(JET_errColumnNoEncryptionKey);
    out->null = false;
    if ((entry->header & TAGGED_MULTI) == 0) {
        out->data = entry->body;
        out->separated = (entry->header & TAGGED_SEPARATED) != 0;
        out->compressed = (entry->header & TAGGED_COMPRESSED) != 0;
    } else if ((entry->header & TAGGED_TWO) != 0) {
        uint32_t cut = 1u + entry->body.p[0];
        out->data =
            sequence == 1 ? part(entry->body, 1, cut) : part(entry->body, cut, entry->body.n);
        out->compressed = sequence == 1 && (entry->header & TAGGED_COMPRESSED) != 0;
    } else {
        TRY_RETURN(multi_instance(entry, count, sequence, out));
    }
    if (out->separated) {
        out->compressed = false; /* the chunks are, each by itself */
        if (out->data.n != 4 && out->data.n != 8)
            return RAISE(JET_errDatabaseCorrupted);
    }
    return JET_errSuccess;
}

err_t record_has_unknown(const struct record_layout *layout, struct slice record, bool *found)
{
    struct record__tagged_area area;
    *found = false;
    TRY_RETURN(record__tagged_open(layout, record, &area));
    for (uint32_t i = 0; i < area.count && !*found; i++)
        *found = record__column(layout, record__order_id(entry_order(&area, i))) == NULL;
    return JET_errSuccess;
}

err_t record_next_tagged(const struct record_layout *layout, struct slice record, colid_t after,
                         colid_t *id)
{
    struct record__tagged_area area;
    *id = 0;
    TRY_RETURN(record__tagged_open(layout, record, &area));
    if (area.count == 0 || after >= COLID_TAGGED_LAST)
        return JET_errSuccess;
    /* Two sorted runs, derived and own, merged by id. */
    uint32_t own = lower_bound(&area, record__tagged_order(0, false));
    uint32_t i = lower_bound(&area, record__tagged_order(after + 1, true));
    uint32_t j = lower_bound(&area, record__tagged_order(after + 1, false));
    while (i < own || j < area.count) {
        bool derived = i < own && (j >= area.count || record__order_id(entry_order(&area, i)) <=
                                                          record__order_id(entry_order(&area, j)));
        uint32_t index = derived ? i++ : j++;
        struct record__tagged_entry entry;
        bool found = false;
        const struct column_def *column =
            record__column(layout, record__order_id(entry_order(&area, index)));
        if (column == NULL || !colid_is_tagged(column->id))
            continue; /* a deleted column left behind */
        if (column->id <= after) /* not sorted: whoever walks on from here would never end */
            return RAISE(JET_errDatabaseCorrupted);
        TRY_RETURN(record__tagged_find(&area, column, &entry, &found));
        if (found && !entry.null) {
            *id = column->id;
            return JET_errSuccess;
        }
    }
    return JET_errSuccess;
}
