/* A row of MSysObjects as a struct, and its keys. */
#include "catalog/catalog_private.h"

const struct row_column_def catalog__columns[] = {
    {1, JET_coltypLong, true, true, "ObjidTable"},
    {2, JET_coltypShort, true, true, "Type"},
    {3, JET_coltypLong, true, true, "Id"},
    {4, JET_coltypLong, true, true, "ColtypOrPgnoFDP"},
    {5, JET_coltypLong, true, true, "SpaceUsage"},
    {6, JET_coltypLong, true, true, "Flags"},
    {7, JET_coltypLong, true, true, "PagesOrLocale"},
    {8, JET_coltypBit, false, true, "RootFlag"},
    {9, JET_coltypShort, false, true, "RecordOffset"},
    {10, JET_coltypLong, false, true, "LCMapFlags"},
    {11, JET_coltypUnsignedShort, false, true, "KeyMost"},
    {12, JET_coltypLong, false, true, "LVChunkMax"},
    {13, JET_coltypDateTime, false, false, "PgnoFDPLastSetTime"},
    {128, JET_coltypText, true, true, "Name"},
    {129, JET_coltypBinary, false, true, "Stats"},
    {130, JET_coltypText, false, true, "TemplateTable"},
    {131, JET_coltypBinary, false, true, "DefaultValue"},
    {132, JET_coltypBinary, false, true, "KeyFldIDs"},
    {133, JET_coltypBinary, false, true, "VarSegMac"},
    {134, JET_coltypBinary, false, true, "ConditionalColumns"},
    {135, JET_coltypBinary, false, true, "TupleLimits"},
    {136, JET_coltypBinary, false, true, "Version"},
    {137, JET_coltypBinary, false, true, "SortID"},
    {256, JET_coltypLongBinary, false, true, "CallbackData"},
    {257, JET_coltypLongBinary, false, true, "CallbackDependencies"},
    {258, JET_coltypLongBinary, false, true, "SeparateLV"},
    {259, JET_coltypLongBinary, false, true, "SpaceHints"},
    {260, JET_coltypLongBinary, false, true, "SpaceDeferredLVHints"},
    {261, JET_coltypLongBinary, false, true, "LocaleName"},
};
const uint32_t catalog__column_count = sizeof catalog__columns / sizeof catalog__columns[0];

/* Stored RecordOffsets of the catalog are placeholders: sizes are added up from 4. */
void catalog__init_layout(struct catalog *cat)
{
    uint16_t offset = 4;
    struct record_layout *l = &cat->layout;
    *l = (struct record_layout){.fixed = cat->fixed,
                                .variable = cat->variable,
                                .tagged = cat->tagged,
                                .large_page = cat->db->page_size > 8192,
                                .page_size = cat->db->page_size};
    for (uint32_t i = 0; i < catalog__column_count; i++) {
        const struct row_column_def *c = &catalog__columns[i];
        uint32_t size = coltyp_size(c->coltyp);
        struct column_def def = {.id = c->id,
                                 .coltyp = c->coltyp,
                                 .flags = c->not_null ? COLUMN_NOT_NULL : 0,
                                 .cb_max = size != 0                   ? size
                                           : coltyp_is_long(c->coltyp) ? 0
                                                                       : BYTES_255,
                                 .code_page = 1252};
        if (c->id <= COLID_FIXED_LAST) {
            def.record_offset = offset;
            offset = (uint16_t)(offset + size);
            cat->fixed[c->id - COLID_FIXED_FIRST] = def;
            l->fixed_count = c->id;
        } else if (c->id <= COLID_VARIABLE_LAST) {
            cat->variable[c->id - COLID_VARIABLE_FIRST] = def;
            l->variable_count = c->id - COLID_VARIABLE_FIRST + 1u;
        } else {
            cat->tagged[c->id - COLID_TAGGED_FIRST] = def;
            l->tagged_count = c->id - COLID_TAGGED_FIRST + 1u;
        }
    }
}

/* ---- keys ---- */

static uint8_t *put_long(uint8_t *to, uint32_t value)
{
    *to = 0x7F;
    store_be32(to + 1, value ^ 0x80000000u);
    return to + 5;
}

static uint8_t *put_short(uint8_t *to, uint32_t value)
{
    to[0] = 0x7F;
    to[1] = (uint8_t)((value >> 8) ^ 0x80);
    to[2] = (uint8_t)value;
    return to + 3;
}

static uint8_t *put_name(uint8_t *to, const char *name)
{
    if (name[0] == '\0') {
        *to = 0x40;
        return to + 1;
    }
    *to++ = 0x7F;
    for (uint32_t i = 0; i < NAME_ROOM - 1 && name[i] != '\0'; i++)
        *to++ = (uint8_t)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 0x20 : name[i]);
    *to = 0;
    return to + 1;
}

void catalog__row_key(objid_t table, uint32_t type, uint32_t id, uint8_t key[ROW_KEY_SIZE])
{
    put_long(put_short(put_long(key, table), type), id);
}

uint32_t catalog__name_key(objid_t table, uint32_t type, const char *name,
                           uint8_t key[NAME_KEY_ROOM])
{
    return (uint32_t)(put_name(put_short(put_long(key, table), type), name) - key);
}

uint32_t catalog__root_key(const char *name, uint8_t key[NAME_KEY_ROOM])
{
    key[0] = 0x7F;
    key[1] = 0xFF;
    return (uint32_t)(put_name(key + 2, name) - key);
}

/* ---- from a record ---- */

static err_t corrupted(const struct catalog *cat, const char *what, colid_t column)
{
    err_t err = RAISE(JET_errCatalogCorrupted);
    err_detail("a row of the catalog of %s %s (column %u)", cat->db->path, what, column);
    return err;
}

struct decoder {
    const struct catalog *cat;
    struct slice record;
};

/* NULL and columns that the row ends before: *there = false. */
static err_t get(const struct decoder *d, colid_t id, struct slice *data, bool *there)
{
    struct record_value v;
    *data = SLICE_EMPTY;
    *there = false;
    if (record_column(&d->cat->layout, id) == NULL) /* an older file has fewer columns */
        return JET_errSuccess;
    TRY_RETURN(record_get(&d->cat->layout, d->record, id, 1, &v));
    *there = !v.null && !v.separated;
    *data = *there ? v.data : SLICE_EMPTY;
    if (v.compressed && *there)
        return corrupted(d->cat, "is compressed", id);
    return JET_errSuccess;
}

static err_t get_number(const struct decoder *d, colid_t id, bool needed, uint32_t *out,
                        bool *there)
{
    struct slice s;
    *out = 0;
    TRY_RETURN(get(d, id, &s, there));
    if (!*there)
        return needed ? corrupted(d->cat, "lacks a value", id) : JET_errSuccess;
    *out = s.n == 4 ? load_u32(s.p) : s.n == 2 ? load_u16(s.p) : s.n == 1 ? s.p[0] : 0;
    return JET_errSuccess;
}

static err_t get_bytes(const struct decoder *d, colid_t id, void *to, uint32_t room, uint32_t *n)
{
    struct slice s;
    bool there;
    *n = 0;
    TRY_RETURN(get(d, id, &s, &there));
    if (s.n > room)
        return corrupted(d->cat, "has a value that is too long", id);
    if (s.n != 0)
        memcpy(to, s.p, s.n);
    *n = s.n;
    return JET_errSuccess;
}

static err_t get_text(const struct decoder *d, colid_t id, char *to, uint32_t room)
{
    uint32_t n;
    TRY_RETURN(get_bytes(d, id, to, room - 1, &n));
    to[n] = '\0';
    if (strlen(to) != n)
        return corrupted(d->cat, "has a name with a NUL", id);
    return JET_errSuccess;
}

/* Locale names are ASCII. Another one is kept as "?": such an index is not ours to sort by. */
static err_t get_locale(const struct decoder *d, char to[LOCALE_ROOM])
{
    struct slice s;
    bool there;
    to[0] = '\0';
    TRY_RETURN(get(d, COL_LOCALE_NAME, &s, &there));
    if (s.n % 2 != 0 || s.n / 2 >= LOCALE_ROOM)
        return corrupted(d->cat, "has a bad locale name", COL_LOCALE_NAME);
    for (uint32_t i = 0; i < s.n / 2; i++) {
        uint16_t c = load_u16(s.p + 2 * i);
        to[i] = c >= 0x20 && c < 0x7F ? (char)c : '?';
    }
    to[s.n / 2] = '\0';
    return JET_errSuccess;
}

static err_t get_index_parts(const struct decoder *d, struct catalog_row *row)
{
    uint8_t bytes[BYTES_255];
    uint32_t n;
    TRY_RETURN(get_bytes(d, COL_KEY_IDS, row->key_ids, BYTES_255, &row->key_ids_n));
    TRY_RETURN(get_bytes(d, COL_CONDITIONS, row->conditions, BYTES_255, &row->conditions_n));
    TRY_RETURN(get_bytes(d, COL_VAR_SEG_MAC, bytes, BYTES_255, &n));
    row->var_seg_mac = n >= 2 ? load_u16(bytes) : 0;
    TRY_RETURN(get_bytes(d, COL_TUPLE_LIMITS, bytes, BYTES_255, &n));
    row->has_tuples = n != 0;
    TRY_RETURN(get_bytes(d, COL_VERSION, bytes, BYTES_255, &n));
    row->has_version = n == 8;
    row->version = n == 8 ? load_u64(bytes) : 0;
    return get_locale(d, row->locale);
}

err_t catalog__decode_row(const struct catalog *cat, struct slice record, struct catalog_row *row)
{
    const struct decoder d = {cat, record};
    uint32_t offset, root_flag;
    bool there;
    memset(row, 0, sizeof *row);
    TRY_RETURN(get_number(&d, COL_TABLE, true, &row->table, &there));
    TRY_RETURN(get_number(&d, COL_TYPE, true, &row->type, &there));
    TRY_RETURN(get_number(&d, COL_ID, true, &row->id, &there));
    TRY_RETURN(get_number(&d, COL_ROOT_OR_COLTYP, true, &row->root_or_coltyp, &there));
    TRY_RETURN(get_number(&d, COL_SPACE_USAGE, true, &row->space_usage, &there));
    TRY_RETURN(get_number(&d, COL_FLAGS, true, &row->flags, &there));
    TRY_RETURN(get_number(&d, COL_PAGES_OR_LOCALE, true, &row->pages_or_locale, &there));
    TRY_RETURN(get_number(&d, COL_ROOT_FLAG, false, &root_flag, &row->is_root));
    TRY_RETURN(get_number(&d, COL_RECORD_OFFSET, false, &offset, &row->has_offset));
    TRY_RETURN(get_number(&d, COL_LCMAP_FLAGS, false, &row->lcmap_flags, &row->has_lcmap));
    TRY_RETURN(get_number(&d, COL_KEY_MOST, false, &row->key_most, &there));
    TRY_RETURN(get_number(&d, COL_LV_CHUNK_MAX, false, &row->lv_chunk_max, &there));
    TRY_RETURN(get_text(&d, COL_NAME, row->name, NAME_ROOM));
    TRY_RETURN(get_text(&d, COL_TEMPLATE, row->template_name, sizeof row->template_name));
    TRY_RETURN(get_bytes(&d, COL_DEFAULT, row->default_value, BYTES_255, &row->default_n));
    row->record_offset = (uint16_t)offset;
    return row->type == ROW_INDEX ? get_index_parts(&d, row) : JET_errSuccess;
}

/* ---- to a record ---- */

struct encoder {
    const struct catalog *cat;
    struct record_builder *builder;
};

/* Columns that an older file lacks are left out. */
static err_t set(const struct encoder *e, colid_t id, struct slice data)
{
    if (record_column(&e->cat->layout, id) == NULL)
        return JET_errSuccess;
    return record_builder_set(e->builder, id, 1, data, false);
}

static err_t set_number(const struct encoder *e, colid_t id, uint32_t value)
{
    const struct column_def *c = record_column(&e->cat->layout, id);
    uint8_t bytes[4];
    store_u32(bytes, value);
    return c == NULL ? JET_errSuccess : set(e, id, SLICE(bytes, coltyp_size(c->coltyp)));
}

static err_t set_some(const struct encoder *e, colid_t id, const void *p, size_t n)
{
    return n == 0 ? JET_errSuccess : set(e, id, SLICE(p, n));
}

static err_t set_locale(const struct encoder *e, const char *locale)
{
    uint8_t utf16[2 * LOCALE_ROOM];
    size_t n = strlen(locale);
    for (size_t i = 0; i < n; i++)
        store_u16(utf16 + 2 * i, (uint16_t)(unsigned char)locale[i]);
    return set_some(e, COL_LOCALE_NAME, utf16, 2 * n);
}

static err_t set_index_parts(const struct encoder *e, const struct catalog_row *row)
{
    static const uint8_t sort_id[16] = {0x01, 0,    0,    0,    0xee, 0x57, 0x5c, 0x1e,
                                        0x00, 0xb4, 0xd0, 0x00, 0x0b, 0xb1, 0xe1, 0x1e};
    uint8_t bytes[8];
    TRY_RETURN(set_number(e, COL_LCMAP_FLAGS, row->lcmap_flags));
    if (row->key_most != 0)
        TRY_RETURN(set_number(e, COL_KEY_MOST, row->key_most));
    TRY_RETURN(set_some(e, COL_KEY_IDS, row->key_ids, row->key_ids_n));
    TRY_RETURN(set_some(e, COL_CONDITIONS, row->conditions, row->conditions_n));
    store_u16(bytes, (uint16_t)row->var_seg_mac);
    TRY_RETURN(set_some(e, COL_VAR_SEG_MAC, bytes, row->var_seg_mac != 0 ? 2 : 0));
    if (row->has_version) {
        store_u64(bytes, row->version);
        TRY_RETURN(set_some(e, COL_VERSION, bytes, 8));
        TRY_RETURN(set_some(e, COL_SORT_ID, sort_id, sizeof sort_id));
    }
    return set_locale(e, row->locale);
}

static err_t encode(const struct encoder *e, const struct catalog_row *row)
{
    static const uint8_t yes = 0xFF;
    TRY_RETURN(set_number(e, COL_TABLE, row->table));
    TRY_RETURN(set_number(e, COL_TYPE, row->type));
    TRY_RETURN(set_number(e, COL_ID, row->id));
    TRY_RETURN(set_number(e, COL_ROOT_OR_COLTYP, row->root_or_coltyp));
    TRY_RETURN(set_number(e, COL_SPACE_USAGE, row->space_usage));
    TRY_RETURN(set_number(e, COL_FLAGS, row->flags));
    TRY_RETURN(set_number(e, COL_PAGES_OR_LOCALE, row->pages_or_locale));
    TRY_RETURN(set_some(e, COL_ROOT_FLAG, &yes, row->is_root ? 1 : 0));
    if (row->has_offset)
        TRY_RETURN(set_number(e, COL_RECORD_OFFSET, row->record_offset));
    TRY_RETURN(set_some(e, COL_NAME, row->name, strlen(row->name)));
    TRY_RETURN(set_some(e, COL_DEFAULT, row->default_value, row->default_n));
    return row->type == ROW_INDEX ? set_index_parts(e, row) : JET_errSuccess;
}

err_t catalog__encode_row(const struct catalog *cat, const struct catalog_row *row,
                          struct buffer *record)
{
    err_t err = JET_errSuccess;
    struct encoder e = {.cat = cat};
    TRY(record_builder_create(&cat->layout, &e.builder));
    TRY(encode(&e, row));
    TRY(record_builder_pack(e.builder, record));
out:
    record_builder_destroy(e.builder);
    return err;
}
