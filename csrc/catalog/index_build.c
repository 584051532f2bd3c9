/* New indexes: what is asked for, its row, its tree, its entries. */
#include "catalog/catalog_private.h"

#define NULL_KINDS                                                                                 \
    (JET_bitIndexIgnoreNull | JET_bitIndexIgnoreAnyNull | JET_bitIndexIgnoreFirstNull)
#define KIND_BITS                                                                                  \
    (JET_bitIndexUnique | JET_bitIndexPrimary | JET_bitIndexDisallowNull | NULL_KINDS |            \
     JET_bitIndexLazyFlush | JET_bitIndexEmpty | JET_bitIndexUnversioned |                         \
     JET_bitIndexSortNullsHigh | JET_bitIndexUnicode | JET_bitIndexCrossProduct |                  \
     JET_bitIndexKeyMost | JET_bitIndexDisallowTruncation | JET_bitIndexNestedTable |              \
     JET_bitIndexDotNetGuid | JET_bitIndexImmutableStructure)

static err_t invalid(const struct catalog_table *t, const char *why)
{
    err_t err = RAISE(JET_errIndexInvalidDef);
    err_detail("table %s: %s", t->desc.name, why);
    return err;
}

/* ---- flags (edb-format.md 9.5) ---- */

static err_t check_grbit(const struct catalog_index_want *want)
{
    JET_GRBIT g = want->grbit;
    bool primary = (g & JET_bitIndexPrimary) != 0;
    if ((g & (JET_bitIndexTuples | JET_bitIndexTupleLimits)) != 0) {
        err_t err = RAISE(JET_errFeatureNotAvailable);
        err_detail("tuple indexes are not built yet");
        return err;
    }
    if ((g & ~KIND_BITS) != 0 || (primary && (g & NULL_KINDS) != 0) ||
        ((g & JET_bitIndexDisallowNull) != 0 &&
         (g & (NULL_KINDS | JET_bitIndexSortNullsHigh)) != 0) ||
        ((g & JET_bitIndexEmpty) != 0 && (g & JET_bitIndexIgnoreAnyNull) == 0) ||
        ((g & JET_bitIndexCrossProduct) != 0 && (g & JET_bitIndexNestedTable) != 0))
        return RAISE(JET_errInvalidGrbit);
    return want->density != 0 && (want->density < 20 || want->density > 100)
               ? RAISE(JET_errDensityInvalid)
               : JET_errSuccess;
}

static uint32_t flags_of(const struct catalog_index_want *want)
{
    JET_GRBIT g = want->grbit;
    uint32_t flags = INDEX_LONG_SEGMENTS;
    if ((g & (JET_bitIndexDisallowNull | JET_bitIndexIgnoreAnyNull)) == 0) {
        flags |= INDEX_ANY_NULL;
        flags |= (g & JET_bitIndexIgnoreFirstNull) == 0 ? INDEX_FIRST_NULL : 0;
        flags |= (g & JET_bitIndexIgnoreNull) == 0 ? INDEX_ALL_NULL : 0;
    }
    flags |= (g & JET_bitIndexDisallowNull) != 0 ? INDEX_NO_NULL : 0;
    flags |= (g & JET_bitIndexPrimary) != 0 ? INDEX_PRIMARY | INDEX_UNIQUE : 0;
    flags |= (g & JET_bitIndexUnique) != 0 ? INDEX_UNIQUE : 0;
    flags |= (g & JET_bitIndexSortNullsHigh) != 0 ? INDEX_SORT_NULLS_HIGH : 0;
    flags |= (g & JET_bitIndexCrossProduct) != 0 ? INDEX_CROSS_PRODUCT : 0;
    flags |= (g & JET_bitIndexNestedTable) != 0 ? INDEX_NESTED_TABLE : 0;
    flags |= (g & JET_bitIndexDisallowTruncation) != 0 ? INDEX_NO_TRUNCATION : 0;
    flags |= (g & JET_bitIndexDotNetGuid) != 0 ? INDEX_DOTNET_GUID : 0;
    flags |= want->locale != NULL ? INDEX_LOCALE_SET : 0;
    return flags;
}

/* ---- key columns ---- */

static const struct column_def *find(const struct table_desc *desc, const char *name)
{
    for (uint32_t i = 0; i < desc->column_count; i++)
        if ((desc->columns[i].def.flags & COLUMN_DELETED) == 0 &&
            catalog__same_name(desc->columns[i].name, name))
            return &desc->columns[i].def;
    return NULL;
}

static err_t find_key_column(const struct catalog_table *t, const char *utf8,
                             const struct column_def **out)
{
    char name[NAME_ROOM];
    TRY_RETURN(catalog__parse_name(utf8, name));
    *out = find(&t->desc, name);
    if (*out == NULL) {
        err_t err = RAISE(JET_errColumnNotFound);
        err_detail("column %s of table %s", utf8, t->desc.name);
        return err;
    }
    return JET_errSuccess;
}

static void put_segment(uint8_t *ids, uint32_t *n, colid_t column, uint8_t flags)
{
    ids[*n] = flags;
    ids[*n + 1] = 0;
    store_u16(ids + *n + 2, (uint16_t)column);
    *n += 4;
}

static err_t add_key_column(struct catalog_table *t, const char *part, struct catalog_row *row)
{
    const struct column_def *column;
    bool descending = part[0] == '-';
    TRY_RETURN(find_key_column(t, part + (part[0] == '-' || part[0] == '+'), &column));
    if ((column->flags & COLUMN_ESCROW) != 0)
        return RAISE(JET_errCannotIndex);
    if ((column->flags & COLUMN_MULTI_VALUED) != 0 && (row->flags & INDEX_PRIMARY) != 0)
        return invalid(t, "a primary index has a multi-valued column");
    for (uint32_t i = 0; i < row->key_ids_n; i += 4)
        if (load_u16(row->key_ids + i + 2) == column->id)
            return invalid(t, "a column is twice in the key");
    if (row->key_ids_n / 4 == INDEX_SEGMENTS_MAX)
        return invalid(t, "the key has more than 16 columns");
    if ((column->flags & COLUMN_MULTI_VALUED) != 0)
        row->flags |= INDEX_MULTI_VALUED;
    if (coltyp_is_text(column->coltyp) && column->code_page == 1200)
        row->flags |= INDEX_LOCALIZED;
    put_segment(row->key_ids, &row->key_ids_n, column->id, descending ? 0x40 : 0);
    return JET_errSuccess;
}

/* "+a\0-b\0\0": size counts both terminators. */
static err_t parse_key(struct catalog_table *t, const struct catalog_index_want *want,
                       struct catalog_row *row)
{
    const char *key = want->key;
    uint32_t size = want->key_size, at = 0;
    if (key == NULL || size < 3)
        return invalid(t, "the key names no column");
    while (at < size && key[at] != '\0') {
        const char *end = memchr(key + at, 0, size - at);
        if (end == NULL)
            return invalid(t, "the key has no end");
        TRY_RETURN(add_key_column(t, key + at, row));
        at = (uint32_t)(end - key) + 1;
    }
    if (at >= size)
        return invalid(t, "the key has no end");
    return row->key_ids_n == 0 ? invalid(t, "the key names no column") : JET_errSuccess;
}

static err_t parse_conditions(struct catalog_table *t, const struct catalog_index_want *want,
                              struct catalog_row *row)
{
    if (want->condition_count > INDEX_SEGMENTS_MAX ||
        (want->condition_count > 0 && (row->flags & INDEX_PRIMARY) != 0))
        return invalid(t, "these conditions are not possible");
    for (uint32_t i = 0; i < want->condition_count; i++) {
        const struct column_def *column;
        JET_GRBIT g = want->conditions[i].grbit;
        if (g != JET_bitIndexColumnMustBeNull && g != JET_bitIndexColumnMustBeNonNull)
            return RAISE(JET_errInvalidGrbit);
        TRY_RETURN(find_key_column(t, want->conditions[i].column, &column));
        put_segment(row->conditions, &row->conditions_n, column->id,
                    g == JET_bitIndexColumnMustBeNull ? 0x20 : 0);
    }
    return JET_errSuccess;
}

static err_t set_sizes(struct catalog_table *t, const struct catalog_index_want *want,
                       struct catalog_row *row)
{
    uint32_t most = want->key_most == 0 ? KEY_MOST_DEFAULT : want->key_most;
    if (most < KEY_MOST_DEFAULT || most > t->desc.key_most_page)
        return invalid(t, "the key size is not possible with this page size");
    if (want->var_seg_mac > most)
        return invalid(t, "one column may not take more than the whole key");
    row->key_most = most == KEY_MOST_DEFAULT ? 0 : most;
    row->var_seg_mac = want->var_seg_mac == most ? 0 : want->var_seg_mac;
    return JET_errSuccess;
}

/* Only ASCII names exist. An index of Unicode text says that it is sorted as no Windows sorts. */
static err_t set_locale(const struct catalog_index_want *want, struct catalog_row *row)
{
    const char *locale =
        want->locale != NULL && want->locale[0] != '\0' ? want->locale : LOCALE_DEFAULT;
    if (strlen(locale) >= LOCALE_ROOM)
        return RAISE(JET_errInvalidLanguageId);
    for (const char *p = locale; *p != '\0'; p++)
        if (*p <= 0x20 || *p >= 0x7F)
            return RAISE(JET_errInvalidLanguageId);
    memcpy(row->locale, locale, strlen(locale) + 1);
    row->has_lcmap = true;
    row->lcmap_flags = want->lcmap_flags != 0 ? want->lcmap_flags : LCMAP_DEFAULT;
    row->has_version = (row->flags & INDEX_LOCALIZED) != 0;
    row->version = SORT_VERSION_OURS;
    return JET_errSuccess;
}

/* ---- making it ---- */

static err_t check_place(struct catalog_table *t, struct trx *trx, const struct catalog_row *row)
{
    for (uint32_t i = 0; i < t->desc.index_count; i++)
        if (catalog__same_name(t->desc.indexes[i].name, row->name))
            return RAISE(JET_errIndexDuplicate);
    TRY_RETURN(catalog__check_quiet(t, trx));
    if ((row->flags & INDEX_PRIMARY) == 0)
        return JET_errSuccess;
    if (t->desc.primary != NULL)
        return RAISE(JET_errIndexHasPrimary);
    struct btree_cursor c;
    btree_cursor_init(&c, t->desc.tree, trx);
    err_t err = btree_first(&c);
    btree_cursor_term(&c);
    return err == JET_errNoCurrentRecord ? JET_errSuccess
           : err < 0                     ? err
                                         : RAISE(JET_errTableNotEmpty);
}

static err_t make_tree(struct catalog_table *t, struct trx *trx, struct catalog_row *row,
                       struct change_action *c)
{
    bool unique = (row->flags & INDEX_UNIQUE) != 0;
    c->indexes = t->desc.indexes;
    c->index_count = t->desc.index_count;
    if ((row->flags & INDEX_PRIMARY) != 0) {
        row->id = t->desc.objid;
        row->root_or_coltyp = t->desc.tree->root;
        c->tree = t->desc.tree;
        return JET_errSuccess;
    }
    row->id = space_new_objid(t->cat->db);
    struct space_tree_want want = {.parent = t->desc.tree,
                                   .page_flags =
                                       PAGE_INDEX | (unique ? 0u : (unsigned)PAGE_NON_UNIQUE),
                                   .unique = unique,
                                   .objid = row->id,
                                   .cpg = 1};
    TRY_RETURN(space_create_tree(&want, trx, &row->root_or_coltyp));
    err_t err = btree_open(t->cat->db, row->root_or_coltyp, &c->tree);
    return err < 0 ? catalog__give_up_tree(t->cat->db, trx, row->root_or_coltyp, err) : err;
}

static err_t insert_rows(struct catalog_table *t, struct trx *trx, const struct catalog_row *row)
{
    err_t err = catalog__insert_row(t->cat, trx, row);
    if (err == JET_errKeyDuplicate)
        return RAISE(JET_errIndexDuplicate);
    TRY_RETURN(err);
    return row->id == t->desc.objid
               ? JET_errSuccess
               : catalog__objid_add(t->cat, trx, row->id, t->desc.objid, ROW_INDEX);
}

/* The primary index is the first of the array. */
static err_t longer_array(struct catalog_table *t, const struct catalog_row *row,
                          struct table_index **out, uint32_t *at)
{
    uint32_t n = t->desc.index_count;
    struct table_index *grown = catalog__alloc(t, (n + 1) * sizeof *grown);
    if (grown == NULL)
        return RAISE(JET_errOutOfMemory);
    *at = (row->flags & INDEX_PRIMARY) != 0 ? 0 : n;
    struct table_index fresh;
    TRY_RETURN(catalog__index_from_row(t, row, &fresh));
    if (fresh.tree != t->desc.tree)
        btree_close(fresh.tree); /* the change keeps the one reference */
    if (n != 0)
        memcpy(grown + (*at == 0 ? 1 : 0), t->desc.indexes, n * sizeof *grown);
    grown[*at] = fresh;
    if ((row->flags & INDEX_PRIMARY) == 0) /* the records themselves are in order for everybody */
        atomic_store(&grown[*at].created_commit, UINT64_MAX);
    *out = grown;
    return JET_errSuccess;
}

static err_t make_index(struct catalog_table *t, struct trx *trx, struct catalog_row *row,
                        bool build)
{
    struct change_action *c;
    struct table_index *grown;
    uint32_t at;
    TRY_RETURN(catalog__change_new(t, CHANGE_INDEX_NEW, &c));
    err_t err = make_tree(t, trx, row, c);
    if (err < 0) {
        catalog__change_cancel(c);
        return err;
    }
    c->index_objid = row->id;
    catalog__change_add(trx, c);
    TRY_RETURN(insert_rows(t, trx, row));
    TRY_RETURN(longer_array(t, row, &grown, &at));
    if (build && (row->flags & INDEX_PRIMARY) == 0)
        TRY_RETURN(table_build_index(&t->desc, &grown[at], trx, t->cat->temp_dir));
    os_rwlock_write(&t->desc.lock);
    catalog__publish_indexes(t, grown, t->desc.index_count + 1);
    os_rwlock_release(&t->desc.lock);
    return JET_errSuccess;
}

err_t catalog__make_index(struct catalog_table *t, struct trx *trx, struct catalog_row *row)
{
    return make_index(t, trx, row, false);
}

static err_t create_wanted(struct catalog_table *t, struct trx *trx,
                           const struct catalog_index_want *want)
{
    struct catalog_row row = {.table = t->desc.objid, .type = ROW_INDEX, .flags = flags_of(want)};
    row.space_usage = want->density != 0 ? want->density : DENSITY_DEFAULT;
    TRY_RETURN(catalog__parse_name(want->name, row.name));
    TRY_RETURN(catalog__own(t, trx));
    TRY_RETURN(check_grbit(want));
    TRY_RETURN(parse_key(t, want, &row));
    TRY_RETURN(parse_conditions(t, want, &row));
    TRY_RETURN(set_sizes(t, want, &row));
    TRY_RETURN(set_locale(want, &row));
    TRY_RETURN(check_place(t, trx, &row));
    return make_index(t, trx, &row, (want->grbit & JET_bitIndexEmpty) == 0);
}

err_t catalog_create_index(struct table_desc *desc, struct trx *trx,
                           const struct catalog_index_want *want)
{
    struct catalog_table *t = catalog_table_of(desc);
    struct txn_savepoint sp;
    TRY_RETURN(catalog__check_writable(t->cat, trx));
    TRY_RETURN(txn_statement_begin(trx, &sp));
    return txn_statement_end(trx, t->cat->dbs, &sp, create_wanted(t, trx, want));
}
