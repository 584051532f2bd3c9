/* Columns come, go, and change their names and defaults. */
#include <stdio.h>

#include "catalog/catalog_private.h"

#define GRBITS_KNOWN                                                                               \
    (JET_bitColumnFixed | JET_bitColumnTagged | JET_bitColumnNotNULL | JET_bitColumnVersion |      \
     JET_bitColumnAutoincrement | JET_bitColumnUpdatable | JET_bitColumnMultiValued |              \
     JET_bitColumnEscrowUpdate | JET_bitColumnUnversioned | JET_bitColumnCompressed)
#define GRBITS_CALLBACK                                                                            \
    (JET_bitColumnFinalize | JET_bitColumnUserDefinedDefault | JET_bitColumnDeleteOnZero)

static struct table_column *find_column(struct table_desc *desc, const char *name)
{
    for (uint32_t i = 0; i < desc->column_count; i++)
        if ((desc->columns[i].def.flags & COLUMN_DELETED) == 0 &&
            catalog__same_name(desc->columns[i].name, name))
            return &desc->columns[i];
    return NULL;
}

static uint32_t room_of(const struct column_def *def)
{
    uint32_t size = coltyp_size(def->coltyp);
    return size != 0 ? size : def->cb_max;
}

uint32_t catalog__fixed_end(const struct catalog_table *t)
{
    uint32_t end = 4;
    for (uint32_t i = 0; i < t->desc.column_count; i++) {
        const struct column_def *def = &t->desc.columns[i].def;
        if (def->id <= COLID_FIXED_LAST && def->record_offset + room_of(def) > end)
            end = def->record_offset + room_of(def);
    }
    return end;
}

err_t catalog__next_column_id(const struct catalog_table *t, colid_t first, colid_t last,
                              colid_t *id)
{
    *id = first;
    for (uint32_t i = 0; i < t->desc.column_count; i++)
        if (t->desc.columns[i].def.id >= first && t->desc.columns[i].def.id <= last)
            *id = t->desc.columns[i].def.id + 1;
    return *id > last ? RAISE(JET_errTooManyColumns) : JET_errSuccess;
}

static err_t check_empty(struct catalog_table *t, struct trx *trx)
{
    struct btree_cursor c;
    TRY_RETURN(catalog__check_quiet(t, trx));
    btree_cursor_init(&c, t->desc.tree, trx);
    err_t err = btree_first(&c);
    btree_cursor_term(&c);
    return err == JET_errNoCurrentRecord ? JET_errSuccess
           : err < 0                     ? err
                                         : RAISE(JET_errTableNotEmpty);
}

/* ---- what may be asked for (api-notes.md 9) ---- */

static err_t check_kind(const struct catalog_column_want *want, bool tagged)
{
    JET_GRBIT g = want->grbit;
    bool is_long = coltyp_is_long(want->coltyp);
    if ((g & GRBITS_CALLBACK) != 0)
        return RAISE(JET_errFeatureNotAvailable);
    if ((g & ~GRBITS_KNOWN) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (want->coltyp == JET_coltypNil || want->coltyp >= JET_coltypMax ||
        want->coltyp == JET_coltypSLV)
        return RAISE(JET_errInvalidColumnType);
    if ((g & JET_bitColumnFixed) != 0 && ((g & JET_bitColumnTagged) != 0 || is_long))
        return RAISE(JET_errInvalidGrbit);
    if ((g & JET_bitColumnMultiValued) != 0 && !tagged)
        return RAISE(JET_errMultiValuedColumnMustBeTagged);
    if ((g & JET_bitColumnNotNULL) != 0 && tagged)
        return RAISE(JET_errTaggedNotNULL);
    if ((g & JET_bitColumnCompressed) != 0 && !is_long)
        return RAISE(JET_errInvalidGrbit);
    return JET_errSuccess;
}

static err_t check_special(struct catalog_table *t, struct trx *trx,
                           const struct catalog_column_want *want, bool tagged)
{
    const JET_GRBIT all =
        JET_bitColumnAutoincrement | JET_bitColumnVersion | JET_bitColumnEscrowUpdate;
    JET_GRBIT g = want->grbit & all;
    bool number = want->coltyp == JET_coltypLong || want->coltyp == JET_coltypLongLong ||
                  want->coltyp == JET_coltypCurrency || want->coltyp == JET_coltypUnsignedLongLong;
    if (g == 0)
        return JET_errSuccess;
    if ((g & (g - 1)) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (tagged)
        return RAISE(JET_errCannotBeTagged);
    if (g == JET_bitColumnAutoincrement ? !number : want->coltyp != JET_coltypLong)
        return RAISE(g == JET_bitColumnEscrowUpdate && want->coltyp == JET_coltypLongLong
                         ? JET_errFeatureNotAvailable
                         : JET_errInvalidGrbit);
    if ((g == JET_bitColumnAutoincrement && t->desc.autoinc_column != 0) ||
        (g == JET_bitColumnVersion && t->desc.version_column != 0))
        return RAISE(JET_errColumnRedundant);
    if (g == JET_bitColumnVersion)
        return JET_errSuccess;
    if (!catalog__denies_read(t, trx))
        return RAISE(JET_errExclusiveTableLockRequired);
    if (g == JET_bitColumnAutoincrement)
        return JET_errSuccess;
    return want->has_default && want->default_value.n != 0 ? check_empty(t, trx)
                                                           : RAISE(JET_errInvalidGrbit);
}

static uint32_t flags_of(JET_GRBIT g)
{
    uint32_t flags = 0;
    flags |= (g & JET_bitColumnNotNULL) != 0 ? COLUMN_NOT_NULL : 0;
    flags |= (g & JET_bitColumnVersion) != 0 ? COLUMN_VERSION : 0;
    flags |= (g & JET_bitColumnAutoincrement) != 0 ? COLUMN_AUTOINCREMENT : 0;
    flags |= (g & JET_bitColumnMultiValued) != 0 ? COLUMN_MULTI_VALUED : 0;
    flags |= (g & JET_bitColumnEscrowUpdate) != 0 ? COLUMN_ESCROW : 0;
    flags |= (g & JET_bitColumnCompressed) != 0 ? COLUMN_COMPRESSED : 0;
    return flags;
}

static err_t set_type(const struct catalog_column_want *want, struct column_def *def, bool *cut)
{
    uint32_t size = coltyp_size(want->coltyp);
    *cut = false;
    def->coltyp = want->coltyp;
    def->cb_max = want->cb_max;
    if (size != 0) {
        def->cb_max = size;
    } else if (!coltyp_is_long(want->coltyp)) {
        *cut = want->cb_max > BYTES_255;
        if (want->cb_max == 0 || *cut)
            def->cb_max = BYTES_255;
    } else if (want->cb_max > INT32_MAX) {
        def->cb_max = INT32_MAX;
    }
    if (!coltyp_is_text(want->coltyp))
        return JET_errSuccess;
    def->code_page = want->code_page == 0 ? 1252 : want->code_page;
    return def->code_page != 1252 && def->code_page != 1200 ? RAISE(JET_errInvalidCodePage)
                                                            : JET_errSuccess;
}

static err_t place(struct catalog_table *t, bool tagged, bool fixed, struct column_def *def)
{
    if (tagged)
        return catalog__next_column_id(t, COLID_TAGGED_FIRST, COLID_TAGGED_LAST, &def->id);
    if (!fixed)
        return catalog__next_column_id(t, COLID_VARIABLE_FIRST, COLID_VARIABLE_LAST, &def->id);
    TRY_RETURN(catalog__next_column_id(t, COLID_FIXED_FIRST, COLID_FIXED_LAST, &def->id));
    uint32_t end = catalog__fixed_end(t) + room_of(def) + (def->id + 7) / 8;
    if (end > record_size_most(t->desc.layout.page_size, KEY_MOST_DEFAULT))
        return RAISE(JET_errRecordTooBig);
    def->record_offset = (uint16_t)catalog__fixed_end(t);
    return JET_errSuccess;
}

/* As the catalog keeps it: `value`; as the record layer wants it: padded. */
static err_t set_default_value(struct catalog_table *t, struct column_def *def, struct slice value)
{
    uint32_t size = coltyp_size(def->coltyp);
    bool fixed = def->id <= COLID_FIXED_LAST;
    def->flags &= ~(uint32_t)COLUMN_HAS_DEFAULT;
    def->default_value = SLICE_EMPTY;
    if (value.n == 0)
        return JET_errSuccess;
    if (size != 0 && value.n != size)
        return RAISE(JET_errInvalidBufferSize);
    if (value.n > BYTES_255 || (size == 0 && !coltyp_is_long(def->coltyp) && value.n > def->cb_max))
        return RAISE(JET_errDefaultValueTooBig);
    uint32_t room = fixed ? room_of(def) : value.n;
    uint8_t *bytes = catalog__alloc(t, room);
    if (bytes == NULL)
        return RAISE(JET_errOutOfMemory);
    memset(bytes, def->coltyp == JET_coltypText ? ' ' : 0, room);
    memcpy(bytes, value.p, value.n);
    def->flags |= COLUMN_HAS_DEFAULT;
    def->default_value = SLICE(bytes, room);
    return JET_errSuccess;
}

/* ---- new columns ---- */

static void fill_row(const struct catalog_table *t, const struct table_column *column,
                     struct slice stored_default, struct catalog_row *row)
{
    const struct column_def *def = &column->def;
    *row = (struct catalog_row){.table = t->desc.objid,
                                .type = ROW_COLUMN,
                                .id = def->id,
                                .root_or_coltyp = def->coltyp,
                                .space_usage = def->cb_max,
                                .flags = def->flags,
                                .pages_or_locale = def->code_page,
                                .has_offset = def->id <= COLID_FIXED_LAST,
                                .record_offset = def->record_offset,
                                .default_n = stored_default.n};
    if (stored_default.n != 0)
        memcpy(row->default_value, stored_default.p, stored_default.n);
    catalog__set_name(row->name, column->name);
}

static err_t add(struct catalog_table *t, struct trx *trx, const struct table_column *column,
                 struct slice stored_default)
{
    err_t err = JET_errSuccess;
    struct change_action *c = NULL;
    struct catalog_row row;
    fill_row(t, column, stored_default, &row);
    err = catalog__insert_row(t->cat, trx, &row);
    if (err == JET_errKeyDuplicate)
        return RAISE(JET_errColumnDuplicate);
    TRY_RETURN(err);
    TRY_RETURN(catalog__change_new(t, CHANGE_COLUMN_NEW, &c));
    c->column = *column;
    os_rwlock_write(&t->desc.lock);
    err = catalog__reserve_column(t, column->def.id);
    if (err >= 0)
        catalog__put_column(t, column);
    os_rwlock_release(&t->desc.lock);
    if (err < 0)
        catalog__change_cancel(c);
    else
        catalog__change_add(trx, c);
    return err;
}

err_t catalog__make_column(struct catalog_table *t, struct trx *trx,
                           const struct table_column *column)
{
    return add(t, trx, column, column->def.default_value);
}

static err_t add_wanted(struct catalog_table *t, struct trx *trx,
                        const struct catalog_column_want *want, colid_t *id, bool *cut)
{
    struct table_column column = {0};
    struct column_def *def = &column.def;
    bool tagged = (want->grbit & (JET_bitColumnTagged | JET_bitColumnMultiValued)) != 0 ||
                  coltyp_is_long(want->coltyp);
    /* Multi-valued alone does not say tagged: it is refused below. */
    bool asked_tagged = (want->grbit & JET_bitColumnTagged) != 0 || coltyp_is_long(want->coltyp);
    bool fixed =
        !tagged && ((want->grbit & JET_bitColumnFixed) != 0 || coltyp_size(want->coltyp) != 0);
    TRY_RETURN(catalog__parse_name(want->name, column.name));
    TRY_RETURN(check_kind(want, asked_tagged));
    TRY_RETURN(catalog__own(t, trx));
    if (find_column(&t->desc, column.name) != NULL)
        return RAISE(JET_errColumnDuplicate);
    TRY_RETURN(check_special(t, trx, want, tagged));
    TRY_RETURN(set_type(want, def, cut));
    def->flags = flags_of(want->grbit);
    TRY_RETURN(place(t, tagged, fixed, def));
    TRY_RETURN(set_default_value(t, def, want->has_default ? want->default_value : SLICE_EMPTY));
    TRY_RETURN(add(t, trx, &column, want->has_default ? want->default_value : SLICE_EMPTY));
    *id = def->id;
    return JET_errSuccess;
}

err_t catalog_add_column(struct table_desc *desc, struct trx *trx,
                         const struct catalog_column_want *want, colid_t *id)
{
    struct catalog_table *t = catalog_table_of(desc);
    struct txn_savepoint sp;
    bool cut = false;
    *id = 0;
    TRY_RETURN(catalog__check_writable(t->cat, trx));
    TRY_RETURN(txn_statement_begin(trx, &sp));
    TRY_RETURN(txn_statement_end(trx, t->cat->dbs, &sp, add_wanted(t, trx, want, id, &cut)));
    return cut ? JET_wrnColumnMaxTruncated : JET_errSuccess;
}

/* ---- changes of a column ---- */

struct column_change {
    const char *name, *to;
    struct slice value;
};
typedef err_t (*column_fn)(struct catalog_table *t, struct trx *trx, struct table_column *column,
                           const struct column_change *change);

/* fn changes the row and `column`, a copy, which then takes the former one's place. */
static err_t change_column(struct catalog_table *t, struct trx *trx,
                           const struct column_change *change, column_fn fn)
{
    struct change_action *c;
    TRY_RETURN(catalog__own(t, trx));
    struct table_column *former = find_column(&t->desc, change->name);
    if (former == NULL) {
        err_t err = RAISE(JET_errColumnNotFound);
        err_detail("column %s of table %s", change->name, t->desc.name);
        return err;
    }
    struct table_column column = *former;
    TRY_RETURN(fn(t, trx, &column, change));
    TRY_RETURN(catalog__change_new(t, CHANGE_COLUMN, &c));
    c->column = *former;
    os_rwlock_write(&t->desc.lock);
    catalog__put_column(t, &column);
    os_rwlock_release(&t->desc.lock);
    catalog__change_add(trx, c);
    return JET_errSuccess;
}

static err_t change_in_statement(struct table_desc *desc, struct trx *trx,
                                 const struct column_change *change, column_fn fn)
{
    struct catalog_table *t = catalog_table_of(desc);
    struct column_change named = *change;
    struct txn_savepoint sp;
    char name[NAME_ROOM];
    TRY_RETURN(catalog__check_writable(t->cat, trx));
    TRY_RETURN(catalog__parse_name(change->name, name));
    named.name = name;
    TRY_RETURN(txn_statement_begin(trx, &sp));
    return txn_statement_end(trx, t->cat->dbs, &sp, change_column(t, trx, &named, fn));
}

static bool is_indexed(const struct table_desc *desc, colid_t id)
{
    for (uint32_t i = 0; i < desc->index_count; i++) {
        const struct index_def *def = &desc->indexes[i].def;
        for (int s = 0; s < def->segment_count; s++)
            if (def->segments[s].column == id)
                return true;
        for (int s = 0; s < def->condition_count; s++)
            if (def->conditions[s].column == id)
                return true;
    }
    return false;
}

static bool is_last_of_class(const struct table_desc *desc, colid_t id)
{
    colid_t last = id <= COLID_FIXED_LAST      ? COLID_FIXED_LAST
                   : id <= COLID_VARIABLE_LAST ? COLID_VARIABLE_LAST
                                               : COLID_TAGGED_LAST;
    for (uint32_t i = 0; i < desc->column_count; i++)
        if (desc->columns[i].def.id > id && desc->columns[i].def.id <= last)
            return false;
    return true;
}

/* The row of the last column of its class stays, so that the id is not given again. */
static err_t drop(struct catalog_table *t, struct trx *trx, struct table_column *column,
                  const struct column_change *change)
{
    uint8_t nil[4] = {0};
    char stub[NAME_ROOM];
    (void)change;
    if (is_indexed(&t->desc, column->def.id))
        return RAISE(JET_errColumnInUse);
    snprintf(stub, sizeof stub, "JetStub_%u_%u", t->desc.objid, column->def.id);
    const struct row_edit edits[] = {{.column = COL_ROOT_OR_COLTYP, .data = SLICE(nil, 4)},
                                     {.column = COL_FLAGS, .data = SLICE(nil, 4)},
                                     {.column = COL_NAME, .data = SLICE(stub, strlen(stub))},
                                     {.column = COL_DEFAULT, .null = true}};
    if (is_last_of_class(&t->desc, column->def.id))
        TRY_RETURN(
            catalog__edit_row(t->cat, trx, t->desc.objid, ROW_COLUMN, column->def.id, edits, 4));
    else
        TRY_RETURN(catalog__delete_row(t->cat, trx, t->desc.objid, ROW_COLUMN, column->def.id));
    column->def.flags = COLUMN_DELETED;
    column->def.default_value = SLICE_EMPTY;
    catalog__set_name(column->name, stub);
    return JET_errSuccess;
}

err_t catalog_drop_column(struct table_desc *desc, struct trx *trx, const char *name,
                          JET_GRBIT grbit)
{
    if ((grbit & ~JET_bitDeleteColumnIgnoreTemplateColumns) != 0)
        return RAISE(JET_errInvalidGrbit);
    return change_in_statement(desc, trx, &(struct column_change){.name = name}, drop);
}

static err_t rename_to(struct catalog_table *t, struct trx *trx, struct table_column *column,
                       const struct column_change *change)
{
    struct row_edit edit = {.column = COL_NAME, .data = SLICE(change->to, strlen(change->to))};
    err_t err = catalog__edit_row(t->cat, trx, t->desc.objid, ROW_COLUMN, column->def.id, &edit, 1);
    if (err == JET_errKeyDuplicate)
        return RAISE(JET_errColumnDuplicate);
    catalog__set_name(column->name, change->to);
    return err;
}

err_t catalog_rename_column(struct table_desc *desc, struct trx *trx, const char *from,
                            const char *to)
{
    char name[NAME_ROOM];
    TRY_RETURN(catalog__parse_name(to, name));
    return change_in_statement(desc, trx, &(struct column_change){.name = from, .to = name},
                               rename_to);
}

static err_t redefault(struct catalog_table *t, struct trx *trx, struct table_column *column,
                       const struct column_change *change)
{
    uint8_t flags[4];
    if ((column->def.flags &
         (COLUMN_ESCROW | COLUMN_AUTOINCREMENT | COLUMN_VERSION | COLUMN_USER_DEFAULT)) != 0)
        return RAISE(JET_errInvalidParameter);
    TRY_RETURN(set_default_value(t, &column->def, change->value));
    store_u32(flags, column->def.flags);
    const struct row_edit edits[] = {
        {.column = COL_FLAGS, .data = SLICE(flags, 4)},
        {.column = COL_DEFAULT, .data = change->value, .null = change->value.n == 0}};
    return catalog__edit_row(t->cat, trx, t->desc.objid, ROW_COLUMN, column->def.id, edits, 2);
}

err_t catalog_set_default(struct table_desc *desc, struct trx *trx, const char *column,
                          struct slice value, bool none)
{
    struct column_change change = {.name = column, .value = none ? SLICE_EMPTY : value};
    return change_in_statement(desc, trx, &change, redefault);
}
