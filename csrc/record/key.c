/* Keys: normalized segments whose memcmp order is the order of the values (edb-format.md 13). */
#include "record/record_private.h"

enum { SEGMENT_NULL = 0x00, SEGMENT_EMPTY = 0x40, SEGMENT_VALUE = 0x7f, SEGMENT_NULL_HIGH = 0xc0 };

#define BINARY_GROUP 8u
#define BINARY_MORE 9u /* length byte of a group that another one follows */
#define KEY_MOST_OLD 255u
#define SOURCE_MOST_OLD_UNICODE 256u

static key_unicode_fn unicode_normalizer = key_unicode_default;

void key_set_unicode_normalizer(key_unicode_fn fn)
{
    unicode_normalizer = fn;
}

static uint32_t key_most(const struct index_def *index)
{
    if (index->key_most == 0)
        return KEY_MOST_OLD;
    return index->key_most < KEY_SIZE_MOST ? index->key_most : KEY_SIZE_MOST;
}

/* Bytes of a segment going to key[n..room); `cut` tells that some did not fit. */
struct segment {
    uint8_t *p;
    uint32_t n, room;
    bool cut;
};

static void put(struct segment *s, const void *bytes, uint32_t n)
{
    uint32_t fits = s->room - s->n < n ? s->room - s->n : n;
    if (fits != 0)
        memcpy(s->p + s->n, bytes, fits);
    s->n += fits;
    s->cut |= fits < n;
}

static void put_byte(struct segment *s, uint8_t byte)
{
    if (s->n < s->room)
        s->p[s->n++] = byte;
    else
        s->cut = true;
}

/* ---- fixed-size types ---- */

static const uint8_t guid_order[16] = {10, 11, 12, 13, 14, 15, 8, 9, 6, 7, 4, 5, 0, 1, 2, 3};
static const uint8_t guid_order_dotnet[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

static bool is_signed(uint32_t coltyp)
{
    return coltyp == JET_coltypShort || coltyp == JET_coltypLong || coltyp == JET_coltypCurrency ||
           coltyp == JET_coltypLongLong;
}

static bool is_float(uint32_t coltyp)
{
    return coltyp == JET_coltypIEEESingle || coltyp == JET_coltypIEEEDouble ||
           coltyp == JET_coltypDateTime;
}

/* size bytes from one byte order to the other; in and out do not overlap */
static void reverse_bytes(uint8_t *out, const uint8_t *in, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        out[i] = in[size - 1 - i];
}

static void normalize_number(uint32_t coltyp, const uint8_t *value, uint32_t size, uint8_t *out)
{
    reverse_bytes(out, value, size);
    if (is_float(coltyp) && (out[0] & 0x80) != 0)
        for (uint32_t i = 0; i < size; i++)
            out[i] = (uint8_t)~out[i];
    else if (is_float(coltyp) || is_signed(coltyp))
        out[0] ^= 0x80;
}

static err_t put_fixed_type(struct segment *s, const struct column_def *column,
                            const struct index_def *index, struct slice data, uint32_t size)
{
    uint8_t bytes[16];
    if (data.n != size)
        return RAISE(JET_errInvalidBufferSize);
    if (column->coltyp == JET_coltypBit) {
        bytes[0] = data.p[0] != 0 ? 0xff : 0;
    } else if (column->coltyp == JET_coltypGUID) {
        const uint8_t *order =
            (index->flags & INDEX_DOTNET_GUID) != 0 ? guid_order_dotnet : guid_order;
        for (uint32_t i = 0; i < size; i++)
            bytes[i] = data.p[order[i]];
    } else {
        normalize_number(column->coltyp, data.p, size, bytes);
    }
    put(s, bytes, size);
    return JET_errSuccess;
}

/* ---- text and binary ---- */

/* Text cut by the limit keeps an old quirk: its last byte is lowered by 0x20, letter or not. A
 * prefix that fills the room gets it too: every key that it is to match has it. */
static void put_text(struct segment *s, struct slice data, bool partial)
{
    const uint8_t *nul = data.n == 0 ? NULL : memchr(data.p, 0, data.n);
    uint32_t n = nul == NULL ? data.n : (uint32_t)(nul - data.p);
    uint32_t room = s->room - s->n;
    bool fits = n < room;
    uint32_t whole = fits ? n : room;
    uint8_t *to = s->p + s->n;
    for (uint32_t i = 0; i < whole; i++)
        to[i] = data.p[i] >= 'a' && data.p[i] <= 'z' ? (uint8_t)(data.p[i] - 0x20) : data.p[i];
    s->n += whole;
    if (fits && !partial)
        put_byte(s, 0);
    if (!fits) {
        s->cut = true;
        if (whole != 0)
            to[whole - 1] = (uint8_t)(data.p[whole - 1] - 0x20);
    }
}

/* There is room for all of them, and data is not empty. */
static void put_whole_groups(struct segment *s, struct slice data, uint32_t groups)
{
    uint8_t *to = s->p + s->n;
    uint32_t last = data.n - (groups - 1) * BINARY_GROUP;
    for (uint32_t i = 0; i + 1 < groups; i++, to += BINARY_GROUP + 1) {
        memcpy(to, data.p + i * BINARY_GROUP, BINARY_GROUP);
        to[BINARY_GROUP] = BINARY_MORE;
    }
    memset(to, 0, BINARY_GROUP);
    memcpy(to, data.p + data.n - last, last);
    to[BINARY_GROUP] = (uint8_t)last;
    s->n += groups * (BINARY_GROUP + 1);
}

static void put_groups(struct segment *s, struct slice data, bool partial)
{
    static const uint8_t zeros[BINARY_GROUP];
    uint32_t groups = (data.n + BINARY_GROUP - 1) / BINARY_GROUP;
    bool whole = (uint64_t)groups * (BINARY_GROUP + 1) <= s->room - s->n;
    if (whole && !partial) {
        put_whole_groups(s, data, groups);
        return;
    }
    for (uint32_t at = 0; at < data.n && !s->cut; at += BINARY_GROUP) {
        uint32_t n = data.n - at < BINARY_GROUP ? data.n - at : BINARY_GROUP;
        bool last = at + n == data.n;
        /* once truncation is decided, a full last group looks like one that goes on */
        uint8_t length = (uint8_t)(!last || (n == BINARY_GROUP && !whole) ? BINARY_MORE : n);
        if (n == BINARY_GROUP && s->room - s->n > BINARY_GROUP && !(last && partial)) {
            memcpy(s->p + s->n, data.p + at, BINARY_GROUP);
            s->p[s->n + BINARY_GROUP] = length;
            s->n += BINARY_GROUP + 1;
            continue;
        }
        put(s, data.p + at, n);
        if (last && partial)
            break;
        put(s, zeros, BINARY_GROUP - n);
        put_byte(s, length);
    }
}

static err_t put_unicode(struct segment *s, struct slice data, bool partial)
{
    uint32_t size = 0;
    bool truncated = false;
    if (unicode_normalizer == NULL)
        return RAISE(JET_errUnicodeNormalizationNotSupported);
    TRY_RETURN(unicode_normalizer(data, partial ? COLLATE_PARTIAL : 0, s->p + s->n, s->room - s->n,
                                  &size, &truncated));
    if (size > s->room - s->n)
        return RAISE(JET_errInternalError);
    s->n += size;
    s->cut |= truncated;
    return JET_errSuccess;
}

static err_t put_bytes_type(struct segment *s, const struct column_def *column,
                            const struct index_def *index, struct slice data, bool partial)
{
    bool unicode = coltyp_is_text(column->coltyp) && column->code_page == CODE_PAGE_UNICODE;
    if (key_most(index) == KEY_MOST_OLD) { /* the old limit looks at no more of the value */
        uint32_t most = unicode ? SOURCE_MOST_OLD_UNICODE : KEY_MOST_OLD;
        data.n = data.n < most ? data.n : most;
    }
    if (unicode)
        return put_unicode(s, data, partial);
    if (coltyp_is_text(column->coltyp))
        put_text(s, data, partial);
    else if (colid_is_fixed(column->id))
        put(s, data.p, data.n);
    else
        put_groups(s, data, partial);
    return JET_errSuccess;
}

/* A search value for a fixed text or binary column may be short; in the record it is padded. */
static struct slice pad_fixed(const struct column_def *column, struct slice data, uint8_t *room)
{
    uint32_t size = column->cb_max < RECORD_TEXT_MOST ? column->cb_max : RECORD_TEXT_MOST;
    if (!colid_is_fixed(column->id) || data.n >= size)
        return data;
    record__fill_fixed(column, data, room, size);
    return SLICE(room, size);
}

static err_t put_value(struct segment *s, const struct column_def *column,
                       const struct index_def *index, struct slice data, bool partial)
{
    uint32_t size = record__type_size(column->coltyp);
    uint8_t padded[RECORD_TEXT_MOST];
    if (size == 0) {
        if (!partial)
            data = pad_fixed(column, data, padded);
        if (data.n == 0) {
            put_byte(s, SEGMENT_EMPTY);
            return JET_errSuccess;
        }
    }
    put_byte(s, SEGMENT_VALUE);
    if (size != 0)
        return put_fixed_type(s, column, index, data, size);
    return put_bytes_type(s, column, index, data, partial);
}

err_t key_segment(const struct column_def *column, const struct index_def *index, bool descending,
                  struct slice data, bool null, bool partial, uint8_t *key, uint32_t *size,
                  uint32_t limit, bool *truncated)
{
    uint32_t start = *size;
    uint32_t room = limit > start ? limit - start : 0;
    *truncated = false;
    if (room == 0) {
        *truncated = true;
        return JET_errSuccess;
    }
    /* VarSegMac bounds text and binary; what it cuts is not called truncated. */
    bool bounded = record__type_size(column->coltyp) == 0 && index->var_seg_mac != 0 &&
                   index->var_seg_mac < key_most(index) && index->var_seg_mac <= room;
    struct segment s = {key + start, 0, bounded ? index->var_seg_mac : room, false};
    if (null)
        put_byte(&s,
                 (index->flags & INDEX_SORT_NULLS_HIGH) != 0 ? SEGMENT_NULL_HIGH : SEGMENT_NULL);
    else
        TRY_RETURN(put_value(&s, column, index, data, partial));
    if (descending)
        for (uint32_t i = 0; i < s.n; i++)
            s.p[i] = (uint8_t)~s.p[i];
    *size = start + s.n;
    *truncated = s.cut && !bounded;
    return JET_errSuccess;
}

/* ---- whole keys ---- */

static err_t check_conditions(const struct index_def *index, const struct key_source *source,
                              bool *met)
{
    *met = true;
    for (uint32_t i = 0; i < index->condition_count && *met; i++) {
        struct slice data;
        bool null = true;
        TRY_RETURN(source->value(source->context, index->conditions[i].column, 1, &data, &null));
        *met = null == index->conditions[i].must_be_null;
    }
    return JET_errSuccess;
}

static bool is_multi_valued(const struct column_def *column)
{
    return colid_is_tagged(column->id) && (column->flags & COLUMN_MULTI_VALUED) != 0;
}

static bool has_multi_valued(const struct index_def *index, const struct column_def *const *columns)
{
    for (uint32_t i = 0; i < index->segment_count; i++)
        if (is_multi_valued(columns[i]))
            return true;
    return false;
}

/* Which instance of each segment the entry-th key takes; false when there is no such entry. */
static err_t choose_instances(const struct index_def *index,
                              const struct column_def *const *columns,
                              const struct key_source *source, uint32_t entry, uint32_t *sequence,
                              bool *exists)
{
    if (!has_multi_valued(index, columns)) {
        for (uint32_t i = 0; i < index->segment_count; i++)
            sequence[i] = 1;
        *exists = entry == 0;
        return JET_errSuccess;
    }
    bool cross = (index->flags & INDEX_CROSS_PRODUCT) != 0;
    bool nested = (index->flags & INDEX_NESTED_TABLE) != 0 && !cross;
    bool expanded = false;
    uint32_t rest = entry, most = 1;
    /* from the last segment: in a cross product it runs fastest */
    uint32_t counts[INDEX_SEGMENTS_MAX];
    for (uint32_t i = 0; i < index->segment_count; i++) {
        bool multi = is_multi_valued(columns[i]);
        counts[i] = 0; /* 0: always the first value */
        if (multi && (cross || nested || !expanded)) {
            TRY_RETURN(source->count(source->context, columns[i]->id, &counts[i]));
            counts[i] = counts[i] == 0 ? 1 : counts[i];
            most = counts[i] > most ? counts[i] : most;
            expanded = true;
        }
    }
    for (uint32_t i = index->segment_count; i-- > 0;) {
        sequence[i] = 1;
        if (counts[i] == 0)
            continue;
        sequence[i] = nested ? entry + 1 : rest % counts[i] + 1;
        rest /= counts[i];
    }
    *exists = nested ? entry < most : rest == 0;
    return JET_errSuccess;
}

static bool nulls_admit(const struct index_def *index, uint32_t nulls, bool first)
{
    if (nulls == 0 || (index->flags & INDEX_PRIMARY) != 0)
        return true;
    if (nulls == index->segment_count)
        return (index->flags & INDEX_ALL_NULL) != 0;
    return (index->flags & (first ? INDEX_FIRST_NULL : INDEX_ANY_NULL)) != 0;
}

static err_t find_columns(const struct record_layout *layout, const struct index_def *index,
                          const struct column_def **columns)
{
    if (index->segment_count == 0 || index->segment_count > INDEX_SEGMENTS_MAX ||
        index->condition_count > INDEX_SEGMENTS_MAX)
        return RAISE(JET_errCatalogCorrupted);
    for (uint32_t i = 0; i < index->segment_count; i++) {
        columns[i] = record__column(layout, index->segments[i].column);
        if (columns[i] == NULL)
            return RAISE(JET_errColumnNotFound);
    }
    return JET_errSuccess;
}

err_t key_make(const struct record_layout *layout, const struct index_def *index,
               const struct key_source *source, uint32_t entry, uint8_t *key, uint32_t *key_size,
               enum key_result *result)
{
    const struct column_def *columns[INDEX_SEGMENTS_MAX];
    uint32_t sequence[INDEX_SEGMENTS_MAX], nulls = 0, limit = key_most(index);
    bool go = false, truncated = false, first_null = false;
    *key_size = 0;
    *result = KEY_END;
    TRY_RETURN(find_columns(layout, index, columns));
    TRY_RETURN(choose_instances(index, columns, source, entry, sequence, &go));
    if (!go)
        return JET_errSuccess;
    *result = KEY_NO_ENTRY;
    TRY_RETURN(check_conditions(index, source, &go));
    if (!go)
        return JET_errSuccess;
    for (uint32_t i = 0; i < index->segment_count; i++) {
        struct slice data = SLICE_EMPTY;
        bool null = true, cut = false;
        TRY_RETURN(source->value(source->context, columns[i]->id, sequence[i], &data, &null));
        if (null && (index->flags & INDEX_NO_NULL) != 0)
            return RAISE(JET_errNullKeyDisallowed);
        nulls += null;
        first_null |= null && i == 0;
        TRY_RETURN(key_segment(columns[i], index, index->segments[i].descending, data, null, false,
                               key, key_size, limit, &cut));
        truncated |= cut;
    }
    if (!nulls_admit(index, nulls, first_null))
        return JET_errSuccess;
    if (truncated && (index->flags & INDEX_NO_TRUNCATION) != 0)
        return RAISE(JET_errKeyTruncated);
    *result = KEY_MADE;
    return JET_errSuccess;
}

uint8_t key_segment_bound(bool descending, bool end)
{
    uint8_t byte = end != descending ? SEGMENT_VALUE : SEGMENT_EMPTY;
    return descending ? (uint8_t)~byte : byte;
}

/* ---- back from a key ---- */

bool key_segment_decodable(const struct column_def *column)
{
    return record__type_size(column->coltyp) != 0 || column->coltyp == JET_coltypBinary ||
           column->coltyp == JET_coltypLongBinary;
}

/* Takes n bytes off the key, turned upright. */
static err_t take(struct slice *rest, bool descending, uint8_t *out, uint32_t n)
{
    if (rest->n < n)
        return RAISE(JET_errKeyTruncated);
    for (uint32_t i = 0; i < n; i++)
        out[i] = (uint8_t)(descending ? ~rest->p[i] : rest->p[i]);
    rest->p += n;
    rest->n -= n;
    return JET_errSuccess;
}

static err_t decode_fixed_type(const struct column_def *column, bool descending, struct slice *rest,
                               uint32_t size, struct buffer *out)
{
    uint8_t bytes[16], value[16];
    TRY_RETURN(take(rest, descending, bytes, size));
    if (column->coltyp == JET_coltypGUID) {
        for (uint32_t i = 0; i < size; i++)
            value[guid_order[i]] = bytes[i];
        return buffer_set(out, SLICE(value, size));
    }
    if (is_float(column->coltyp) && (bytes[0] & 0x80) == 0)
        for (uint32_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)~bytes[i];
    else if (is_float(column->coltyp) || is_signed(column->coltyp))
        bytes[0] ^= 0x80;
    reverse_bytes(value, bytes, size);
    return buffer_set(out, SLICE(value, size));
}

static err_t decode_groups(bool descending, struct slice *rest, struct buffer *out)
{
    uint8_t group[BINARY_GROUP + 1];
    uint8_t mark = BINARY_MORE;
    while (mark == BINARY_MORE) {
        TRY_RETURN(take(rest, descending, group, sizeof group));
        mark = group[BINARY_GROUP];
        if (mark == 0 || mark > BINARY_MORE)
            return RAISE(JET_errDatabaseCorrupted);
        TRY_RETURN(buffer_append(out, SLICE(group, mark == BINARY_MORE ? BINARY_GROUP : mark)));
    }
    return JET_errSuccess;
}

err_t key_segment_decode(const struct column_def *column, bool descending, struct slice *key_rest,
                         struct buffer *out, bool *null)
{
    uint8_t prefix, bytes[RECORD_TEXT_MOST];
    uint32_t size = record__type_size(column->coltyp);
    out->n = 0;
    *null = false;
    if (!key_segment_decodable(column))
        return RAISE(JET_errInvalidColumnType);
    TRY_RETURN(take(key_rest, descending, &prefix, 1));
    if (prefix == SEGMENT_NULL || prefix == SEGMENT_NULL_HIGH) {
        *null = true;
        return JET_errSuccess;
    }
    if (prefix == SEGMENT_EMPTY && size == 0)
        return JET_errSuccess;
    if (prefix != SEGMENT_VALUE)
        return RAISE(JET_errDatabaseCorrupted);
    if (size != 0)
        return decode_fixed_type(column, descending, key_rest, size, out);
    if (!colid_is_fixed(column->id))
        return decode_groups(descending, key_rest, out);
    if (column->cb_max > sizeof bytes)
        return RAISE(JET_errCatalogCorrupted);
    TRY_RETURN(take(key_rest, descending, bytes, column->cb_max));
    return buffer_set(out, SLICE(bytes, column->cb_max));
}
