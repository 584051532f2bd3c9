/* record: a record and a key as bytes: fixed, variable, tagged columns; normalized keys; no I/O.
 * Formats: edb-format.md 10-13. Readers are memory-safe on any bytes (JET_errDatabaseCorrupted). */
#ifndef RECORD_RECORD_H
#define RECORD_RECORD_H

#include "base/base.h"

typedef uint32_t colid_t; /* 1-127 fixed, 128-255 variable, 256-65248 tagged */
#define COLID_FIXED_FIRST 1u
#define COLID_FIXED_LAST 127u
#define COLID_VARIABLE_FIRST 128u
#define COLID_VARIABLE_LAST 255u
#define COLID_TAGGED_FIRST 256u
#define COLID_TAGGED_LAST 65248u

enum column_flag { /* as in the catalog (edb-format.md 9.4) */
    COLUMN_NOT_NULL = 0x1,
    COLUMN_VERSION = 0x2,
    COLUMN_AUTOINCREMENT = 0x4,
    COLUMN_MULTI_VALUED = 0x8,
    COLUMN_HAS_DEFAULT = 0x10,
    COLUMN_ESCROW = 0x20,
    COLUMN_FINALIZE = 0x40,
    COLUMN_USER_DEFAULT = 0x80,
    COLUMN_TEMPLATE = 0x100,
    COLUMN_DELETE_ON_ZERO = 0x200,
    COLUMN_COMPRESSED = 0x1000,
    COLUMN_DELETED = 0x40000000, /* ours, in memory: row kept, type 0 */
};

struct column_def {
    colid_t id;
    uint32_t coltyp;
    uint32_t flags;
    uint32_t cb_max;
    uint16_t code_page;     /* 1252, 1200, 0 */
    uint16_t record_offset; /* fixed columns */
    struct slice default_value;
};

/* What record needs to know of a table. Columns of each class are dense arrays by id (NULL id 0 = not there). */
struct record_layout {
    const struct column_def *fixed;    /* [0] is id 1 */
    const struct column_def *variable; /* [0] is id 128 */
    const struct column_def *tagged;   /* [0] is id 256 */
    uint32_t fixed_count, variable_count, tagged_count; /* = last id of the class - first + 1 */
    bool large_page;
    uint32_t page_size;
};
const struct column_def *record_column(const struct record_layout *layout, colid_t id); /* NULL when unknown or deleted */
uint32_t coltyp_size(uint32_t coltyp); /* fixed types; 0 for binary and text kinds */
bool coltyp_is_text(uint32_t coltyp);
bool coltyp_is_long(uint32_t coltyp);

/* One value as it lies in a record. */
struct record_value {
    struct slice data; /* bytes; for a separated value: the LID as stored, 4 or 8 bytes LE */
    bool null;
    bool separated;  /* data is a LID */
    bool compressed; /* data must go through record_decompress */
    bool is_default; /* came from the column's default */
};
/* sequence: 1 = first value. null = true when there is none. Never JET_wrn. */
MUST_CHECK err_t record_get(const struct record_layout *layout, struct slice record, colid_t id, uint32_t sequence,
                            struct record_value *out);
MUST_CHECK err_t record_count_values(const struct record_layout *layout, struct slice record, colid_t id, uint32_t *count);
/* Does it hold values of tagged columns that the layout has not (any more)? */
MUST_CHECK err_t record_has_unknown(const struct record_layout *layout, struct slice record, bool *found);
/* The next tagged column id that has values in this record, after `after` (0 = first); 0 at the end. */
MUST_CHECK err_t record_next_tagged(const struct record_layout *layout, struct slice record, colid_t after, colid_t *id);
MUST_CHECK err_t record_validate(const struct record_layout *layout, struct slice record);

/* A record being built or changed: unpacked, edited, packed again. */
struct record_builder; /* heap object, reusable */
MUST_CHECK err_t record_builder_create(const struct record_layout *layout, struct record_builder **out);
void record_builder_destroy(struct record_builder *b);
MUST_CHECK err_t record_builder_clear(struct record_builder *b);                       /* an empty record */
MUST_CHECK err_t record_builder_load(struct record_builder *b, struct slice record);   /* edit a copy */
/* null: value removed (NULL). sequence 0 appends, n replaces value n, beyond the last appends.
 * Checks sizes: fixed types exact (JET_errInvalidBufferSize), Text/Binary <= cb_max (JET_errColumnTooBig). */
MUST_CHECK err_t record_builder_set(struct record_builder *b, colid_t id, uint32_t sequence, struct slice data, bool null);
MUST_CHECK err_t record_builder_set_separated(struct record_builder *b, colid_t id, uint32_t sequence, uint32_t lid);
MUST_CHECK err_t record_builder_get(struct record_builder *b, colid_t id, uint32_t sequence, struct record_value *out);
MUST_CHECK err_t record_builder_count(struct record_builder *b, colid_t id, uint32_t *count);
MUST_CHECK err_t record_builder_next_tagged(struct record_builder *b, colid_t after, colid_t *id);
bool record_builder_changed(const struct record_builder *b, colid_t id); /* since clear/load */
/* Size that pack would give, and the largest inline long value (candidate for separation); id 0 when none. */
uint32_t record_builder_size(struct record_builder *b);
MUST_CHECK err_t record_builder_largest_long(struct record_builder *b, colid_t *id, uint32_t *sequence, struct slice *data);
MUST_CHECK err_t record_builder_pack(struct record_builder *b, struct buffer *out);
uint32_t record_size_most(uint32_t page_size, uint32_t key_most); /* edb-format.md 10.7 */

/* ---- compression of long columns (edb-format.md 12): decode 7-bit ASCII, 7-bit Unicode, Xpress ---- */
MUST_CHECK err_t record_decompress(struct slice stored, struct buffer *out);
MUST_CHECK err_t record_decompressed_size(struct slice stored, uint32_t *size);
/* Plain LZ77 "Xpress" alone, for page images in the log; out_size is the exact size. */
MUST_CHECK err_t xpress_decompress(struct slice in, uint8_t *out, uint32_t out_size);

/* ---- keys (edb-format.md 13) ---- */

#define INDEX_SEGMENTS_MAX 16
#define KEY_SIZE_MOST 2000
enum index_flag { /* IDB flags, as in the catalog; the high half are the extended ones */
    INDEX_UNIQUE = 0x1,
    INDEX_ALL_NULL = 0x2,
    INDEX_FIRST_NULL = 0x4,
    INDEX_ANY_NULL = 0x8,
    INDEX_NO_NULL = 0x10,
    INDEX_PRIMARY = 0x20,
    INDEX_LOCALE_SET = 0x40,
    INDEX_MULTI_VALUED = 0x80,
    INDEX_LOCALIZED = 0x400,
    INDEX_SORT_NULLS_HIGH = 0x800,
    INDEX_CROSS_PRODUCT = 0x2000,
    INDEX_NO_TRUNCATION = 0x4000,
    INDEX_NESTED_TABLE = 0x8000,
    INDEX_LONG_SEGMENTS = 0x10000,
    INDEX_DOTNET_GUID = 0x20000,
};
struct index_segment {
    colid_t column;
    bool descending;
    bool must_be_null; /* conditions only */
};
struct index_def {
    objid_t objid;
    uint32_t flags;
    uint16_t key_most;     /* 255 default */
    uint16_t var_seg_mac;  /* = key_most when not set */
    uint8_t segment_count;
    uint8_t condition_count;
    struct index_segment segments[INDEX_SEGMENTS_MAX];
    struct index_segment conditions[INDEX_SEGMENTS_MAX];
};

/* Fetches the sequence-th value of a column for key making (inline or long); the caller's memory. */
struct key_source {
    void *context;
    err_t (*value)(void *context, colid_t id, uint32_t sequence, struct slice *data, bool *null);
    err_t (*count)(void *context, colid_t id, uint32_t *count);
};
enum key_result { KEY_MADE, KEY_NO_ENTRY /* by NULL rules or conditions */, KEY_END /* no such entry number */ };
/* The entry-th key (0, 1, ...) of the record in this index: one for single-valued, one a value for multi-valued
 * columns. Duplicate keys of one record are NOT removed here. key: room KEY_SIZE_MOST. JET_errNullKeyDisallowed,
 * JET_errKeyTruncated as the flags say. */
MUST_CHECK err_t key_make(const struct record_layout *layout, const struct index_def *index, const struct key_source *source,
                          uint32_t entry, uint8_t *key, uint32_t *key_size, enum key_result *result);
/* One normalized segment appended to key[*size]; room = what is left up to the key limit. *truncated told.
 * For JetMakeKey: partial (prefix) text omits the terminator, partial variable binary the padding and last length. */
MUST_CHECK err_t key_segment(const struct column_def *column, const struct index_def *index, bool descending, struct slice data, bool null,
                             bool partial, uint8_t *key, uint32_t *size, uint32_t limit, bool *truncated);
/* The first byte of the segments of all values that are not NULL: of the first of them, or (end) of the last. */
uint8_t key_segment_bound(bool descending, bool end);
/* Turns a normalized segment back into a value where that is exact (numbers, GUID, untruncated binary;
 * a segment cut by the key limit gives JET_errKeyTruncated). Not for GUIDs of an INDEX_DOTNET_GUID index, nor
 * for binary columns of an index whose var_seg_mac is less than key_most. */
bool key_segment_decodable(const struct column_def *column);
MUST_CHECK err_t key_segment_decode(const struct column_def *column, bool descending, struct slice *key_rest, struct buffer *out, bool *null);

/* ---- order of Unicode (code page 1200) key columns ---- */

enum collate_flag { COLLATE_PARTIAL = 0x1 /* a prefix is wanted: leave out what ends a value */ };
typedef err_t (*key_unicode_fn)(struct slice utf16, uint32_t flags, uint8_t *out, uint32_t room, uint32_t *size,
                                bool *truncated);
/* Replaces OUR order (collate.c: simple upper case of the BMP, then code points) process-wide, before any index is
 * used; NULL: such keys raise JET_errUnicodeNormalizationNotSupported. key_unicode_default is our order. */
void key_set_unicode_normalizer(key_unicode_fn fn);
MUST_CHECK err_t key_unicode_default(struct slice utf16, uint32_t flags, uint8_t *out, uint32_t room, uint32_t *size,
                                     bool *truncated);

#endif
