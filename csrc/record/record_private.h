/* Shared inside record/: a record taken apart, its tagged entries, and the builder's two halves. */
#ifndef RECORD_RECORD_PRIVATE_H
#define RECORD_RECORD_PRIVATE_H

#include "record/record.h"

/* Parts of every record (edb-format.md 10.1). */
#define RECORD_HEAD_SIZE 4u
#define RECORD_LAST_VARIABLE_NONE 127u
#define RECORD_NULL_FILL 0x2a
#define RECORD_OFFSET_MASK 0x7fffu
#define RECORD_VARIABLE_NULL 0x8000u
#define RECORD_TEXT_MOST 255u /* Text and Binary; also the cap of their cb_max */
#define CODE_PAGE_UNICODE 1200

/* Tagged entries (10.4). */
#define TAGGED_ENTRY_SIZE 4u
#define TAGGED_MASK_SMALL 0x1fffu
#define TAGGED_DERIVED 0x8000u
#define TAGGED_HAS_HEADER_SMALL 0x4000u
#define TAGGED_NULL_SMALL 0x2000u
#define INSTANCE_SEPARATED 0x8000u
enum tagged_header {
    TAGGED_LONG = 0x01,
    TAGGED_COMPRESSED = 0x02,
    TAGGED_SEPARATED = 0x04,
    TAGGED_MULTI = 0x08,
    TAGGED_TWO = 0x10,
    TAGGED_NULL = 0x20,
    TAGGED_ENCRYPTED = 0x40,
};

static inline bool colid_is_fixed(colid_t id)
{
    return id >= COLID_FIXED_FIRST && id <= COLID_FIXED_LAST;
}
static inline bool colid_is_variable(colid_t id)
{
    return id >= COLID_VARIABLE_FIRST && id <= COLID_VARIABLE_LAST;
}
static inline bool colid_is_tagged(colid_t id)
{
    return id >= COLID_TAGGED_FIRST && id <= COLID_TAGGED_LAST;
}

/* record_column and coltyp_size, inlined in this room: every access goes through them. */
static inline const struct column_def *record__column(const struct record_layout *layout,
                                                      colid_t id)
{
    const struct column_def *column = NULL;
    if (colid_is_fixed(id) && id - COLID_FIXED_FIRST < layout->fixed_count)
        column = &layout->fixed[id - COLID_FIXED_FIRST];
    else if (colid_is_variable(id) && id - COLID_VARIABLE_FIRST < layout->variable_count)
        column = &layout->variable[id - COLID_VARIABLE_FIRST];
    else if (colid_is_tagged(id) && id - COLID_TAGGED_FIRST < layout->tagged_count)
        column = &layout->tagged[id - COLID_TAGGED_FIRST];
    if (column == NULL || column->id != id || (column->flags & COLUMN_DELETED) != 0)
        return NULL;
    return column;
}

#define RECORD_TYPE_COUNT (JET_coltypUnsignedLongLong + 1)
extern const uint8_t record__type_sizes[RECORD_TYPE_COUNT];
static inline uint32_t record__type_size(uint32_t coltyp)
{
    return coltyp < RECORD_TYPE_COUNT ? record__type_sizes[coltyp] : 0;
}

/* Room of a fixed column in the record; a column of a size type has that size. */
static inline uint32_t record__fixed_size(const struct column_def *column)
{
    uint32_t size = record__type_size(column->coltyp);
    return size != 0 ? size : column->cb_max;
}

/* A default kept by the record layer; those computed by a callback are not known here. */
static inline bool record__has_default(const struct column_def *column)
{
    return (column->flags & (COLUMN_HAS_DEFAULT | COLUMN_USER_DEFAULT)) == COLUMN_HAS_DEFAULT &&
           column->default_value.n != 0;
}

/* The head and the areas of a record; every offset lies inside the record. */
struct record__parts {
    uint32_t last_fixed;     /* 0 = none */
    uint32_t bitmap;         /* end of fixed data, start of the NULL bitmap */
    uint32_t offsets;        /* start of the variable offset array */
    uint32_t variable_count; /* entries of that array */
    uint32_t variable;       /* start of variable data */
    uint32_t tagged;         /* start of the tagged area */
};
err_t record__split(struct slice record, struct record__parts *parts);
/* The index-th variable column (0 is id 128). */
err_t record__variable(struct slice record, const struct record__parts *parts, uint32_t index,
                       struct slice *data, bool *null);

struct record__tagged_area {
    struct slice bytes;
    uint32_t count;
    bool large;
};
struct record__tagged_entry {
    uint32_t order; /* entries are sorted by it: derived ones first, then by id */
    uint8_t header;
    bool null;
    struct slice body; /* after the header byte */
};
static inline uint32_t record__tagged_order(colid_t id, bool derived)
{
    return id | (derived ? 0u : 0x10000u);
}
static inline colid_t record__order_id(uint32_t order)
{
    return order & 0xffffu;
}
static inline bool record__order_derived(uint32_t order)
{
    return (order & 0x10000u) == 0;
}

err_t record__tagged_open(const struct record_layout *layout, struct slice record,
                          struct record__tagged_area *area);
err_t record__tagged_entry(const struct record__tagged_area *area, uint32_t index,
                           struct record__tagged_entry *entry);
/* The entry of a column; found = false when the record has none (its default applies). */
err_t record__tagged_find(const struct record__tagged_area *area, const struct column_def *column,
                          struct record__tagged_entry *entry, bool *found);
err_t record__tagged_count(const struct record__tagged_entry *entry, uint32_t *count);
/* sequence from 1; beyond the last: out->null. */
err_t record__tagged_instance(const struct record__tagged_entry *entry, uint32_t sequence,
                              struct record_value *out);

/* A value in the room of a fixed column: text is padded with spaces of its code page, the rest with
 * zeros. */
void record__fill_fixed(const struct column_def *column, struct slice data, uint8_t *to,
                        uint32_t room);

/* ---- the builder ---- */

struct builder__value {
    uint32_t at, n; /* bytes in the arena */
    uint32_t next;  /* in the value list of its column */
    bool separated, compressed;
};
#define BUILDER_NO_VALUE UINT32_MAX

struct builder__tagged {
    uint32_t order;
    uint32_t first, last; /* value list */
    uint32_t count;       /* 0 and not null: nothing is stored, the entry remembers `changed` */
    bool null;            /* explicit NULL */
    bool is_long;
    bool changed;
};

struct builder__variable {
    uint32_t at, n;
    bool null;
};

struct record_builder {
    const struct record_layout *layout;
    struct buffer arena; /* bytes of variable and tagged values, replaced ones included */
    struct buffer spare; /* where the arena moves when most of it is garbage */

    struct buffer fixed; /* the record's first bytes up to the NULL bitmap, head included */
    uint32_t last_fixed;
    uint8_t nulls[16];
    uint64_t fixed_changed[2];

    uint32_t last_variable; /* RECORD_LAST_VARIABLE_NONE or an id */
    struct builder__variable variable[128];
    uint64_t variable_changed[2];

    struct builder__tagged *tagged; /* sorted by order */
    uint32_t tagged_count, tagged_room;
    struct builder__value *values;
    uint32_t value_count, value_room, value_free; /* value_free: list of unused slots */
};

/* Copies data into the arena, over the `had` bytes at *at when it fits there. Nothing changes on
 * error. */
err_t builder__store(struct record_builder *b, struct slice data, uint32_t had, uint32_t *at);

err_t builder__tagged_load(struct record_builder *b, struct slice record);
err_t builder__tagged_set(struct record_builder *b, const struct column_def *column,
                          uint32_t sequence, struct slice data, bool null, bool separated);
err_t builder__tagged_get(struct record_builder *b, const struct column_def *column,
                          uint32_t sequence, struct record_value *out);
uint32_t builder__tagged_values(struct record_builder *b, const struct column_def *column);
bool builder__tagged_changed(const struct record_builder *b, colid_t id);
uint64_t builder__tagged_size(const struct record_builder *b);
/* Writes the area; the caller has made sure that it and every offset fits. */
void builder__tagged_write(const struct record_builder *b, uint8_t *to);

#endif
