#include "api/api_private.h"

/* Schema changes. The A and W forms of ESE's structures differ in what their texts point to only, so the one code here copies
 * both into the A form and converts each text as it is taken (struct names). */

struct names {
    bool wide;
    void *kept[72]; /* converted texts, to be freed */
    int count;
};

static void names_free(struct names *n)
{
    while (n->count > 0)
        free(n->kept[--n->count]);
}

static err_t take_name(struct names *n, const void *text, const char **out)
{
    *out = text;
    if (!n->wide || text == NULL)
        return JET_errSuccess;
    if (n->count == (int)(sizeof n->kept / sizeof n->kept[0]))
        return RAISE(JET_errOutOfMemory);
    char *made;
    TRY_RETURN(text_from_wide(text, &made));
    n->kept[n->count++] = made;
    *out = made;
    return JET_errSuccess;
}

static err_t feature(const char *what)
{
    err_t err = RAISE(JET_errFeatureNotAvailable);
    err_detail("%s", what);
    return err;
}

static err_t check_writable(struct api_session *s, const struct dbfile *db)
{
    if (db->read_only) {
        err_t err = RAISE(JET_errDatabaseFileReadOnly);
        err_detail("%s is attached read-only", db->path);
        return err;
    }
    struct trx *trx = session_trx(s->session);
    return trx->level > 0 && trx->read_only ? RAISE(JET_errTransReadOnly) : JET_errSuccess;
}

/* ---- columns and indexes of a structure ---- */

static err_t create_column(struct table_desc *desc, struct trx *trx, JET_COLUMNCREATE_A *c, bool wide)
{
    struct names names = {.wide = wide};
    struct catalog_column_want want = {
        .coltyp = c->coltyp,
        .cb_max = c->cbMax,
        .grbit = c->grbit,
        .code_page = (uint16_t)c->cp,
        .default_value = SLICE(c->pvDefault, c->cbDefault),
        .has_default = c->pvDefault != NULL && c->cbDefault > 0,
    };
    if (c->cbStruct != sizeof *c)
        return api_invalid("JET_COLUMNCREATE.cbStruct is wrong");
    if (c->cp > UINT16_MAX)
        return RAISE(JET_errInvalidCodePage);
    err_t err = take_name(&names, c->szColumnName, &want.name);
    if (err >= 0)
        err = catalog_add_column(desc, trx, &want, &c->columnid);
    names_free(&names);
    return err;
}

/* All index structures begin alike; cbStruct tells which it is. The third has a locale's name where the others have its number. */
#define INDEX_OLD_SIZE 72u
enum index_form { INDEX_FORM_1, INDEX_FORM_2, INDEX_FORM_3 };

static err_t check_index_size(const JET_INDEXCREATE2_A *x, enum index_form form)
{
    bool right = form == INDEX_FORM_1 ? x->cbStruct == sizeof(JET_INDEXCREATE_A) || x->cbStruct == INDEX_OLD_SIZE
                                      : x->cbStruct == sizeof(JET_INDEXCREATE2_A);
    if (!right)
        return api_invalid("JET_INDEXCREATE.cbStruct is wrong");
    if (form != INDEX_FORM_1 && x->pSpacehints != NULL && x->pSpacehints->cbStruct != sizeof(JET_SPACEHINTS))
        return api_invalid("JET_SPACEHINTS.cbStruct is wrong");
    return JET_errSuccess;
}

static err_t take_locale(struct names *names, const JET_INDEXCREATE2_A *x, enum index_form form, struct catalog_index_want *want)
{
    uint32_t lcid = x->lcid;
    if (form == INDEX_FORM_3) {
        const JET_UNICODEINDEX2 *u = (const void *)x->pidxunicode;
        if (u == NULL)
            return JET_errSuccess;
        bool wide = names->wide;
        want->lcmap_flags = u->dwMapFlags;
        names->wide = true; /* a locale's name is UTF-16 in both forms */
        err_t err = take_name(names, u->szLocaleName, &want->locale);
        names->wide = wide;
        return err;
    }
    if ((x->grbit & JET_bitIndexUnicode) != 0) {
        if (x->pidxunicode == NULL)
            return api_invalid("JET_bitIndexUnicode without pidxunicode");
        lcid = x->pidxunicode->lcid;
        want->lcmap_flags = x->pidxunicode->dwMapFlags;
    }
    if (lcid == 0 || lcid == 0x409)
        return JET_errSuccess; /* the default, en-US */
    err_t err = RAISE(JET_errInvalidLanguageId);
    err_detail("locale 0x%x: an index takes en-US (0x409, or 0 for the default)", lcid);
    return err;
}

#define CONDITIONS_MAX 64u
struct condition { /* as in struct catalog_index_want */
    const char *column;
    JET_GRBIT grbit;
};

static err_t take_conditions(struct names *names, const JET_INDEXCREATE2_A *x, struct condition *list)
{
    if (x->cConditionalColumn > CONDITIONS_MAX || (x->cConditionalColumn > 0 && x->rgconditionalcolumn == NULL))
        return api_invalid("conditional columns: more than 64, or none given");
    for (uint32_t i = 0; i < x->cConditionalColumn; i++) {
        const JET_CONDITIONALCOLUMN_A *c = &x->rgconditionalcolumn[i];
        if (c->cbStruct != sizeof *c)
            return api_invalid("JET_CONDITIONALCOLUMN.cbStruct is wrong");
        if (c->grbit != JET_bitIndexColumnMustBeNull && c->grbit != JET_bitIndexColumnMustBeNonNull)
            return RAISE(JET_errInvalidGrbit);
        list[i].grbit = c->grbit;
        TRY_RETURN(take_name(names, c->szColumnName, &list[i].column));
    }
    return JET_errSuccess;
}

static err_t take_key(struct names *names, const void *key, uint32_t size, struct catalog_index_want *want)
{
    if (key == NULL || size == 0)
        return api_invalid("an index needs a key");
    want->key = key;
    want->key_size = size;
    if (!names->wide)
        return JET_errSuccess;
    char *made;
    TRY_RETURN(text_from_wide_n(key, size / sizeof(JET_WCHAR), &made, &want->key_size));
    names->kept[names->count++] = made; /* the first of all: there is room */
    want->key = made;
    return JET_errSuccess;
}

static err_t fill_index(struct names *names, const JET_INDEXCREATE2_A *x, enum index_form form, struct condition *conditions,
                        struct catalog_index_want *want)
{
    if ((x->grbit & (JET_bitIndexTuples | JET_bitIndexTupleLimits)) != 0)
        return feature("tuple indexes are not available");
    TRY_RETURN(check_index_size(x, form));
    *want = (struct catalog_index_want){
        .grbit = x->grbit & ~(JET_GRBIT)JET_bitIndexUnicode,
        .density = x->ulDensity,
        .var_seg_mac = x->cbVarSegMac,
        .key_most = x->cbStruct > INDEX_OLD_SIZE ? x->cbKeyMost : 0,
        .conditions = (const void *)conditions,
        .condition_count = x->cConditionalColumn,
    };
    if (form != INDEX_FORM_1 && x->pSpacehints != NULL && x->pSpacehints->ulInitialDensity != 0)
        want->density = x->pSpacehints->ulInitialDensity;
    TRY_RETURN(take_key(names, x->szKey, x->cbKey, want));
    TRY_RETURN(take_name(names, x->szIndexName, &want->name));
    TRY_RETURN(take_locale(names, x, form, want));
    return take_conditions(names, x, conditions);
}

static err_t create_index(struct table_desc *desc, struct trx *trx, const JET_INDEXCREATE2_A *x, bool wide, enum index_form form)
{
    struct names names = {.wide = wide};
    struct condition conditions[CONDITIONS_MAX];
    struct catalog_index_want want;
    err_t err = fill_index(&names, x, form, conditions, &want);
    if (err >= 0)
        err = catalog_create_index(desc, trx, &want);
    names_free(&names);
    return err;
}

#define SAME_PLACE(field) static_assert(offsetof(JET_INDEXCREATE_A, field) == offsetof(JET_INDEXCREATE2_A, field), "forms begin alike")
SAME_PLACE(rgconditionalcolumn);
SAME_PLACE(cConditionalColumn);
SAME_PLACE(err);
SAME_PLACE(cbKeyMost);

/* One structure after another; the result goes into each one's err. */
static err_t create_index_array(struct table_desc *desc, struct trx *trx, char *list, uint32_t count, bool wide, enum index_form form,
                                uint32_t *created)
{
    for (uint32_t i = 0; i < count; i++) {
        JET_INDEXCREATE2_A x = {.cbStruct = load_u32(list)};
        TRY_RETURN(check_index_size(&x, form));
        memcpy(&x, list, x.cbStruct);
        err_t err = create_index(desc, trx, &x, wide, form);
        memcpy(list + offsetof(JET_INDEXCREATE2_A, err), &err, sizeof err);
        TRY_RETURN(err);
        list += x.cbStruct;
        ++*created;
    }
    return JET_errSuccess;
}

static err_t create_column_array(struct table_desc *desc, struct trx *trx, char *list, uint32_t count, bool wide, uint32_t *created)
{
    for (uint32_t i = 0; i < count; i++, list += sizeof(JET_COLUMNCREATE_A)) {
        JET_COLUMNCREATE_A c;
        memcpy(&c, list, sizeof c);
        c.err = create_column(desc, trx, &c, wide);
        memcpy(list, &c, sizeof c);
        TRY_RETURN(c.err);
        ++*created;
    }
    return JET_errSuccess;
}

/* ---- tables ---- */

struct table_want {
    const void *name, *template_name, *callback;
    bool wide;
    uint32_t pages, density;
    JET_GRBIT grbit;
    char *columns; /* JET_COLUMNCREATE_A or _W */
    uint32_t column_count;
    char *indexes; /* JET_INDEXCREATE... of its form, each as long as its cbStruct says */
    enum index_form form;
    uint32_t index_count;
    /* the running call's own */
    const char *utf8;
    struct dbfile *db;
    struct table_desc *desc;
    uint32_t created;
};

static err_t create_parts(struct table_want *w, struct trx *trx)
{
    TRY_RETURN(create_column_array(w->desc, trx, w->columns, w->column_count, w->wide, &w->created));
    return create_index_array(w->desc, trx, w->indexes, w->index_count, w->wide, w->form, &w->created);
}

static err_t create_whole(void *context, struct trx *trx)
{
    struct table_want *w = context;
    TRY_RETURN(catalog_create_table(w->db, trx, w->utf8, w->pages, w->density, &w->desc));
    w->created = 1;
    err_t err = create_parts(w, trx);
    if (err < 0) {
        struct err_origin origin = *err_last();
        catalog_release(w->desc);
        w->desc = NULL;
        err_restore(&origin);
    }
    return err;
}

static err_t check_table_want(const struct table_want *w)
{
    if (w->name == NULL)
        return RAISE(JET_errInvalidName);
    if (w->template_name != NULL || w->grbit != 0)
        return feature("template tables and fixed schemas are not available");
    if (w->callback != NULL)
        return feature("callbacks of tables are not available");
    if ((w->column_count > 0 && w->columns == NULL) || (w->index_count > 0 && w->indexes == NULL))
        return api_invalid("columns or indexes are counted but not given");
    if (w->density != 0 && (w->density < 20 || w->density > 100))
        return RAISE(JET_errDensityInvalid);
    return JET_errSuccess;
}

static err_t create_entered(struct api_session *s, JET_DBID dbid, struct table_want *w, JET_TABLEID *tableid)
{
    struct table_cursor *cursor;
    const JET_GRBIT grbit = JET_bitTableDenyRead; /* as ESE: the new table is the creator's own until it is closed */
    TRY_RETURN(api_database(s, dbid, &w->db));
    TRY_RETURN(check_table_want(w));
    TRY_RETURN(check_writable(s, w->db));
    err_t done = api_as_whole(s, create_whole, w);
    if (done < 0) {
        struct err_origin origin = *err_last();
        if (w->desc != NULL)
            catalog_release(w->desc); /* created, but not committed */
        err_restore(&origin);
        return done;
    }
    err_t err = session_adopt_table(s->session, dbid, w->desc, grbit, &cursor);
    if (err < 0) {
        catalog_release(w->desc);
        return err;
    }
    TRY_RETURN(api_add_cursor(s, cursor, dbid, grbit, tableid));
    return done;
}

static err_t create_table(JET_SESID sesid, JET_DBID dbid, struct table_want *w, JET_TABLEID *tableid)
{
    struct api_session *s;
    struct names names = {.wide = w->wide};
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = take_name(&names, w->name, &w->utf8);
    if (err >= 0)
        err = create_entered(s, dbid, w, tableid);
    names_free(&names);
    api_leave(s);
    return err;
}

#define CREATE_FROM(p, is_wide, index_form, callback_name)                                                                     \
    {                                                                                                                          \
        if ((p) == NULL || (p)->cbStruct != sizeof *(p))                                                                       \
            return api_invalid("JET_TABLECREATE.cbStruct is wrong");                                                           \
        struct table_want w = {                                                                                                \
            .name = (p)->szTableName,                                                                                          \
            .template_name = (p)->szTemplateTableName,                                                                         \
            .callback = (callback_name),                                                                                       \
            .wide = (is_wide),                                                                                                 \
            .pages = (p)->ulPages,                                                                                             \
            .density = (p)->ulDensity,                                                                                         \
            .grbit = (p)->grbit,                                                                                               \
            .columns = (void *)(p)->rgcolumncreate,                                                                            \
            .column_count = (p)->cColumns,                                                                                     \
            .indexes = (void *)(p)->rgindexcreate,                                                                             \
            .form = (index_form),                                                                                              \
            .index_count = (p)->cIndexes,                                                                                      \
        };                                                                                                                     \
        (p)->tableid = JET_tableidNil;                                                                                         \
        err_t err_ = create_table(sesid, dbid, &w, &(p)->tableid);                                                             \
        (p)->cCreated = w.created;                                                                                             \
        return err_;                                                                                                           \
    }

JET_ERR JetCreateTableColumnIndexA(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE_A *ptablecreate)
    CREATE_FROM(ptablecreate, false, INDEX_FORM_1, NULL)
PLAIN_IS_A(JetCreateTableColumnIndex);

JET_ERR JetCreateTableColumnIndexW(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE_W *ptablecreate)
    CREATE_FROM(ptablecreate, true, INDEX_FORM_1, NULL)

JET_ERR JetCreateTableColumnIndex2A(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE2_A *ptablecreate)
    CREATE_FROM(ptablecreate, false, INDEX_FORM_1, ptablecreate->szCallback)
PLAIN_IS_A(JetCreateTableColumnIndex2);

JET_ERR JetCreateTableColumnIndex2W(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE2_W *ptablecreate)
    CREATE_FROM(ptablecreate, true, INDEX_FORM_1, ptablecreate->szCallback)

JET_ERR JetCreateTableColumnIndex3A(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE3_A *ptablecreate)
    CREATE_FROM(ptablecreate, false, INDEX_FORM_2, ptablecreate->szCallback)
PLAIN_IS_A(JetCreateTableColumnIndex3);

JET_ERR JetCreateTableColumnIndex3W(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE3_W *ptablecreate)
    CREATE_FROM(ptablecreate, true, INDEX_FORM_2, ptablecreate->szCallback)

JET_ERR JetCreateTableColumnIndex4A(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE4_A *ptablecreate)
    CREATE_FROM(ptablecreate, false, INDEX_FORM_3, ptablecreate->szCallback)
PLAIN_IS_A(JetCreateTableColumnIndex4);

JET_ERR JetCreateTableColumnIndex4W(JET_SESID sesid, JET_DBID dbid, JET_TABLECREATE4_W *ptablecreate)
    CREATE_FROM(ptablecreate, true, INDEX_FORM_3, ptablecreate->szCallback)

static err_t create_plain(JET_SESID sesid, JET_DBID dbid, const void *name, bool wide, uint32_t pages, uint32_t density, JET_TABLEID *tableid)
{
    struct table_want w = {.name = name, .wide = wide, .pages = pages, .density = density};
    if (tableid == NULL)
        return api_invalid("a place for the table handle is needed");
    *tableid = JET_tableidNil;
    return create_table(sesid, dbid, &w, tableid);
}

JET_ERR JetCreateTableA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, uint32_t lPages, uint32_t lDensity, JET_TABLEID *ptableid)
{
    return create_plain(sesid, dbid, szTableName, false, lPages, lDensity, ptableid);
}
PLAIN_IS_A(JetCreateTable);

JET_ERR JetCreateTableW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, uint32_t lPages, uint32_t lDensity, JET_TABLEID *ptableid)
{
    return create_plain(sesid, dbid, szTableName, true, lPages, lDensity, ptableid);
}

/* ---- changes of a database's tables by name ---- */

struct by_name {
    struct dbfile *db;
    const char *table, *other;
    struct slice value;
    err_t (*fn)(struct by_name *b, struct trx *trx);
};

static err_t run_by_name(void *context, struct trx *trx)
{
    struct by_name *b = context;
    return b->fn(b, trx);
}

static err_t change_by_name(JET_SESID sesid, JET_DBID dbid, struct by_name *b)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = api_database(s, dbid, &b->db);
    if (err >= 0)
        err = b->table == NULL || b->other == NULL ? RAISE(JET_errInvalidName) : check_writable(s, b->db);
    if (err >= 0)
        err = api_as_whole(s, run_by_name, b);
    api_leave(s);
    return err;
}

static err_t drop_table(struct by_name *b, struct trx *trx)
{
    return catalog_drop_table(b->db, trx, b->table);
}

JET_ERR JetDeleteTableA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName)
{
    struct by_name b = {.table = szTableName, .other = "", .fn = drop_table};
    return change_by_name(sesid, dbid, &b);
}
PLAIN_IS_A(JetDeleteTable);

JET_ERR JetDeleteTableW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName)
    WITH_TEXT(name, szTableName, JetDeleteTableA(sesid, dbid, name))

static err_t rename_table(struct by_name *b, struct trx *trx)
{
    return catalog_rename_table(b->db, trx, b->table, b->other);
}

JET_ERR JetRenameTableA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szName, JET_PCSTR szNameNew)
{
    struct by_name b = {.table = szName, .other = szNameNew, .fn = rename_table};
    return change_by_name(sesid, dbid, &b);
}
PLAIN_IS_A(JetRenameTable);

JET_ERR JetRenameTableW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szName, JET_PCWSTR szNameNew)
    WITH_TEXTS(from, szName, to, szNameNew, JetRenameTableA(sesid, dbid, from, to))

static err_t set_default(struct by_name *b, struct trx *trx)
{
    struct table_desc *desc;
    TRY_RETURN(catalog_table(b->db, trx, b->table, &desc));
    err_t err = catalog_set_default(desc, trx, b->other, b->value, b->value.n == 0);
    catalog_release(desc);
    return err;
}

JET_ERR JetSetColumnDefaultValueA(JET_SESID sesid, JET_DBID dbid, JET_PCSTR szTableName, JET_PCSTR szColumnName, const void *pvData,
                                  const uint32_t cbData, const JET_GRBIT grbit)
{
    struct by_name b = {.table = szTableName, .other = szColumnName, .value = SLICE(pvData, cbData), .fn = set_default};
    if (pvData == NULL && cbData > 0)
        return api_invalid("the default value is missing");
    if (grbit != 0)
        return RAISE(JET_errInvalidGrbit);
    return change_by_name(sesid, dbid, &b);
}
PLAIN_IS_A(JetSetColumnDefaultValue);

JET_ERR JetSetColumnDefaultValueW(JET_SESID sesid, JET_DBID dbid, JET_PCWSTR szTableName, JET_PCWSTR szColumnName, const void *pvData,
                                  const uint32_t cbData, const JET_GRBIT grbit)
    WITH_TEXTS(table, szTableName, column, szColumnName, JetSetColumnDefaultValueA(sesid, dbid, table, column, pvData, cbData, grbit))

/* ---- changes of a cursor's table ---- */

struct on_cursor {
    struct table_desc *desc;
    const char *name, *other;
    JET_GRBIT grbit;
    struct catalog_column_want column;
    colid_t id;
    char *indexes; /* JET_INDEXCREATE... of its form, each as long as its cbStruct says */
    uint32_t index_count;
    enum index_form form;
    bool wide;
    err_t (*fn)(struct on_cursor *o, struct trx *trx);
};

static err_t run_on_cursor(void *context, struct trx *trx)
{
    struct on_cursor *o = context;
    return o->fn(o, trx);
}

static err_t change_on_cursor(JET_SESID sesid, JET_TABLEID tableid, struct on_cursor *o)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_ddl(sesid, tableid, &c));
    o->desc = cursor_table(c->cursor);
    err_t err = o->name == NULL || o->other == NULL ? RAISE(JET_errInvalidName) : api_as_whole(c->session, run_on_cursor, o);
    api_leave_cursor(c);
    return err;
}

static err_t add_column(struct on_cursor *o, struct trx *trx)
{
    return catalog_add_column(o->desc, trx, &o->column, &o->id);
}

JET_ERR JetAddColumnA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szColumnName, const JET_COLUMNDEF *pcolumndef, const void *pvDefault,
                      uint32_t cbDefault, JET_COLUMNID *pcolumnid)
{
    if (pcolumndef == NULL || pcolumndef->cbStruct < sizeof *pcolumndef)
        return api_invalid("JET_COLUMNDEF is missing, or its cbStruct is wrong");
    struct on_cursor o = {
        .name = szColumnName,
        .other = "",
        .column = {.name = szColumnName,
                   .coltyp = pcolumndef->coltyp,
                   .cb_max = pcolumndef->cbMax,
                   .grbit = pcolumndef->grbit,
                   .code_page = pcolumndef->cp,
                   .default_value = SLICE(pvDefault, cbDefault),
                   .has_default = pvDefault != NULL && cbDefault > 0},
        .fn = add_column,
    };
    err_t err = change_on_cursor(sesid, tableid, &o);
    if (err >= 0 && pcolumnid != NULL)
        *pcolumnid = o.id;
    return err;
}
PLAIN_IS_A(JetAddColumn);

JET_ERR JetAddColumnW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szColumnName, const JET_COLUMNDEF *pcolumndef, const void *pvDefault,
                      uint32_t cbDefault, JET_COLUMNID *pcolumnid)
    WITH_TEXT(name, szColumnName, JetAddColumnA(sesid, tableid, name, pcolumndef, pvDefault, cbDefault, pcolumnid))

static err_t drop_column(struct on_cursor *o, struct trx *trx)
{
    return catalog_drop_column(o->desc, trx, o->name, o->grbit);
}

JET_ERR JetDeleteColumn2A(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szColumnName, const JET_GRBIT grbit)
{
    struct on_cursor o = {.name = szColumnName, .other = "", .grbit = grbit, .fn = drop_column};
    return change_on_cursor(sesid, tableid, &o);
}
PLAIN_IS_A(JetDeleteColumn2);

JET_ERR JetDeleteColumn2W(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szColumnName, const JET_GRBIT grbit)
    WITH_TEXT(name, szColumnName, JetDeleteColumn2A(sesid, tableid, name, grbit))

JET_ERR JetDeleteColumnA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szColumnName)
{
    return JetDeleteColumn2A(sesid, tableid, szColumnName, 0);
}
PLAIN_IS_A(JetDeleteColumn);

JET_ERR JetDeleteColumnW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szColumnName)
{
    return JetDeleteColumn2W(sesid, tableid, szColumnName, 0);
}

static err_t rename_column(struct on_cursor *o, struct trx *trx)
{
    return catalog_rename_column(o->desc, trx, o->name, o->other);
}

static err_t refuse_in_transaction(JET_SESID sesid)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = session_level(s->session) > 0 ? RAISE(JET_errInTransaction) : JET_errSuccess;
    api_leave(s);
    return err;
}

JET_ERR JetRenameColumnA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szName, JET_PCSTR szNameNew, JET_GRBIT grbit)
{
    struct on_cursor o = {.name = szName, .other = szNameNew, .grbit = grbit, .fn = rename_column};
    if (grbit != 0)
        return feature("JetRenameColumn takes no grbit in this version");
    TRY_RETURN(refuse_in_transaction(sesid));
    return change_on_cursor(sesid, tableid, &o);
}
PLAIN_IS_A(JetRenameColumn);

JET_ERR JetRenameColumnW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szName, JET_PCWSTR szNameNew, JET_GRBIT grbit)
    WITH_TEXTS(from, szName, to, szNameNew, JetRenameColumnA(sesid, tableid, from, to, grbit))

/* ---- indexes ---- */

static err_t create_indexes(struct on_cursor *o, struct trx *trx)
{
    uint32_t created = 0;
    return create_index_array(o->desc, trx, o->indexes, o->index_count, o->wide, o->form, &created);
}

/* Several at once: outside a transaction, on a table that is one's own (api-notes.md 7). */
static err_t check_several(JET_SESID sesid, JET_TABLEID tableid)
{
    struct api_cursor *c;
    TRY_RETURN(api_enter_ddl(sesid, tableid, &c));
    err_t err = JET_errSuccess;
    if (session_level(c->session->session) > 0)
        err = RAISE(JET_errInTransaction);
    else if ((c->grbit & JET_bitTableDenyRead) == 0)
        err = RAISE(JET_errExclusiveTableLockRequired);
    api_leave_cursor(c);
    return err;
}

static err_t create_index_list(JET_SESID sesid, JET_TABLEID tableid, void *list, uint32_t count, bool wide, enum index_form form)
{
    struct on_cursor o = {.name = "", .other = "", .indexes = list, .index_count = count, .wide = wide, .form = form, .fn = create_indexes};
    if (list == NULL || count == 0)
        return api_invalid("no index is given");
    if (count > 1)
        TRY_RETURN(check_several(sesid, tableid));
    return change_on_cursor(sesid, tableid, &o);
}

JET_ERR JetCreateIndex2A(JET_SESID sesid, JET_TABLEID tableid, JET_INDEXCREATE_A *pindexcreate, uint32_t cIndexCreate)
{
    return create_index_list(sesid, tableid, pindexcreate, cIndexCreate, false, INDEX_FORM_1);
}
PLAIN_IS_A(JetCreateIndex2);

JET_ERR JetCreateIndex2W(JET_SESID sesid, JET_TABLEID tableid, JET_INDEXCREATE_W *pindexcreate, uint32_t cIndexCreate)
{
    return create_index_list(sesid, tableid, pindexcreate, cIndexCreate, true, INDEX_FORM_1);
}

JET_ERR JetCreateIndex3A(JET_SESID sesid, JET_TABLEID tableid, JET_INDEXCREATE2_A *pindexcreate, uint32_t cIndexCreate)
{
    return create_index_list(sesid, tableid, pindexcreate, cIndexCreate, false, INDEX_FORM_2);
}
PLAIN_IS_A(JetCreateIndex3);

JET_ERR JetCreateIndex3W(JET_SESID sesid, JET_TABLEID tableid, JET_INDEXCREATE2_W *pindexcreate, uint32_t cIndexCreate)
{
    return create_index_list(sesid, tableid, pindexcreate, cIndexCreate, true, INDEX_FORM_2);
}

JET_ERR JetCreateIndex4A(JET_SESID sesid, JET_TABLEID tableid, JET_INDEXCREATE3_A *pindexcreate, uint32_t cIndexCreate)
{
    return create_index_list(sesid, tableid, pindexcreate, cIndexCreate, false, INDEX_FORM_3);
}
PLAIN_IS_A(JetCreateIndex4);

JET_ERR JetCreateIndex4W(JET_SESID sesid, JET_TABLEID tableid, JET_INDEXCREATE3_W *pindexcreate, uint32_t cIndexCreate)
{
    return create_index_list(sesid, tableid, pindexcreate, cIndexCreate, true, INDEX_FORM_3);
}

JET_ERR JetCreateIndexA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName, JET_GRBIT grbit, const char *szKey, uint32_t cbKey,
                        uint32_t lDensity)
{
    JET_INDEXCREATE_A x = {
        .cbStruct = sizeof x,
        .szIndexName = (char *)(uintptr_t)szIndexName,
        .szKey = (char *)(uintptr_t)szKey,
        .cbKey = cbKey,
        .grbit = grbit & ~(JET_GRBIT)JET_bitIndexUnicode,
        .ulDensity = lDensity,
    };
    return create_index_list(sesid, tableid, &x, 1, false, INDEX_FORM_1);
}
PLAIN_IS_A(JetCreateIndex);

JET_ERR JetCreateIndexW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName, JET_GRBIT grbit, JET_PCWSTR szKey, uint32_t cbKey,
                        uint32_t lDensity)
{
    JET_INDEXCREATE_W x = {
        .cbStruct = sizeof x,
        .szIndexName = (JET_WCHAR *)(uintptr_t)szIndexName,
        .szKey = (JET_WCHAR *)(uintptr_t)szKey,
        .cbKey = cbKey,
        .grbit = grbit & ~(JET_GRBIT)JET_bitIndexUnicode,
        .ulDensity = lDensity,
    };
    return create_index_list(sesid, tableid, &x, 1, true, INDEX_FORM_1);
}

static err_t drop_index(struct on_cursor *o, struct trx *trx)
{
    return catalog_drop_index(o->desc, trx, o->name);
}

JET_ERR JetDeleteIndexA(JET_SESID sesid, JET_TABLEID tableid, JET_PCSTR szIndexName)
{
    struct on_cursor o = {.name = szIndexName, .other = "", .fn = drop_index};
    return change_on_cursor(sesid, tableid, &o);
}
PLAIN_IS_A(JetDeleteIndex);

JET_ERR JetDeleteIndexW(JET_SESID sesid, JET_TABLEID tableid, JET_PCWSTR szIndexName)
    WITH_TEXT(name, szIndexName, JetDeleteIndexA(sesid, tableid, name))
