/* Descriptions by name, shared: the cache, references, who has a table open and whom it keeps away.
 */
#include "catalog/catalog_private.h"

#define CACHED_MOST 256u /* descriptions nobody refers to are kept up to this number of tables */

static struct catalog_table *find_locked(struct catalog *cat, objid_t objid)
{
    LIST_FOR_EACH(link, &cat->tables)
    {
        struct catalog_table *t = LIST_ENTRY(link, struct catalog_table, desc.in_catalog);
        if (t->desc.objid == objid)
            return t;
    }
    return NULL;
}

static void link_locked(struct catalog_table *t)
{
    list_add_front(&t->cat->tables, &t->desc.in_catalog);
    t->linked = true;
    t->cat->table_count++;
}

static void unlink_locked(struct catalog_table *t)
{
    if (!t->linked)
        return;
    list_remove(&t->desc.in_catalog);
    t->linked = false;
    t->cat->table_count--;
}

void catalog__link(struct catalog_table *t)
{
    os_lock_take(&t->cat->lock);
    link_locked(t);
    os_lock_release(&t->cat->lock);
}

void catalog__unlink(struct catalog_table *t)
{
    os_lock_take(&t->cat->lock);
    unlink_locked(t);
    os_lock_release(&t->cat->lock);
}

void catalog__add_ref(struct catalog_table *t)
{
    os_lock_take(&t->cat->lock);
    t->desc.refs++;
    os_lock_release(&t->cat->lock);
}

/* A dropped table is found by name until its rows are gone for the reader's snapshot, but its tree
 * may go at any time. */
static err_t take_ref_locked(struct catalog_table *t, const struct trx *trx)
{
    const void *owner = atomic_load(&t->desc.ddl_owner);
    if (t->dropped)
        return owner == trx || owner == t ? RAISE(JET_errObjectNotFound)
                                          : RAISE(JET_errTableLocked);
    t->desc.refs++;
    return JET_errSuccess;
}

/* Committed rows are read without a lock; when something was committed meanwhile they are read
 * again. */
err_t catalog__get(struct catalog *cat, struct trx *trx, objid_t objid, struct catalog_table **out)
{
    *out = NULL;
    for (;;) {
        struct catalog_table *t, *loaded;
        os_lock_take(&cat->lock);
        uint64_t serial = cat->serial;
        t = find_locked(cat, objid);
        err_t err = t != NULL ? take_ref_locked(t, trx) : JET_errSuccess;
        os_lock_release(&cat->lock);
        if (t != NULL) {
            *out = err >= 0 ? t : NULL;
            return err;
        }
        TRY_RETURN(catalog__load(cat, objid, &loaded));
        os_lock_take(&cat->lock);
        bool lost = cat->serial != serial || find_locked(cat, objid) != NULL;
        if (!lost) {
            link_locked(loaded);
            loaded->desc.refs = 1;
        }
        os_lock_release(&cat->lock);
        if (!lost) {
            *out = loaded;
            return JET_errSuccess;
        }
        catalog__table_destroy(loaded);
    }
}

err_t catalog_table(struct dbfile *db, struct trx *trx, const char *name, struct table_desc **out)
{
    struct catalog_row row;
    struct catalog_table *t;
    char name1252[NAME_ROOM];
    *out = NULL;
    TRY_RETURN(catalog__parse_name(name, name1252));
    err_t err = catalog__find_table_row(catalog_of(db), trx, name1252, &row);
    if (err >= 0)
        err = catalog__get(catalog_of(db), trx, row.id, &t);
    if (err == JET_errRecordNotFound || err == JET_errObjectNotFound) {
        err = RAISE(JET_errObjectNotFound);
        err_detail("there is no table \"%.80s\" in %s", name, db->path);
    }
    if (err >= 0)
        *out = &t->desc;
    return err;
}

void catalog_release(struct table_desc *desc)
{
    struct catalog_table *t = catalog_table_of(desc);
    struct catalog *cat = t->cat;
    os_lock_take(&cat->lock);
    ASSERT(desc->refs > 0);
    bool last = --desc->refs == 0 && (!t->linked || cat->table_count > CACHED_MOST);
    if (last)
        unlink_locked(t);
    os_lock_release(&cat->lock);
    if (last)
        catalog__table_destroy(t);
}

/* ---- who has it open ---- */

static struct catalog_use *use_of_locked(struct catalog_table *t, const struct trx *trx)
{
    for (uint32_t i = 0; i < t->use_count; i++)
        if (t->uses[i].trx == trx)
            return &t->uses[i];
    return NULL;
}

static err_t add_use_locked(struct catalog_table *t, const struct trx *trx,
                            struct catalog_use **out)
{
    *out = use_of_locked(t, trx);
    if (*out != NULL)
        return JET_errSuccess;
    if (t->use_count == t->use_room) {
        uint32_t room = t->use_room == 0 ? 4 : t->use_room * 2;
        struct catalog_use *grown = realloc(t->uses, room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        t->uses = grown;
        t->use_room = room;
    }
    *out = &t->uses[t->use_count++];
    **out = (struct catalog_use){.trx = trx};
    return JET_errSuccess;
}

/* TableLocked: another keeps us away. TableInUse: we want to keep others away who are in. */
static err_t check_deny_locked(const struct catalog_table *t, const struct trx *trx,
                               JET_GRBIT grbit)
{
    bool writes = (grbit & JET_bitTableReadOnly) == 0;
    for (uint32_t i = 0; i < t->use_count; i++) {
        const struct catalog_use *u = &t->uses[i];
        if (u->trx == trx)
            continue;
        if (u->deny_read > 0 || (u->deny_write > 0 && writes))
            return RAISE(JET_errTableLocked);
        if ((grbit & JET_bitTableDenyRead) != 0 ||
            ((grbit & JET_bitTableDenyWrite) != 0 && u->writers > 0))
            return RAISE(JET_errTableInUse);
    }
    return JET_errSuccess;
}

static void note_exclusive_locked(struct catalog_table *t)
{
    bool exclusive = t->creator != NULL || t->dropped;
    for (uint32_t i = 0; i < t->use_count; i++)
        exclusive |= t->uses[i].deny_read > 0 || t->uses[i].deny_write > 0;
    t->desc.exclusive = exclusive;
}

err_t catalog_table_use(struct table_desc *desc, struct trx *trx, JET_GRBIT grbit)
{
    struct catalog_table *t = catalog_table_of(desc);
    struct catalog_use *use = NULL;
    os_lock_take(&t->cat->lock);
    err_t err = t->dropped ? RAISE(JET_errTableLocked) : check_deny_locked(t, trx, grbit);
    if (err >= 0)
        err = add_use_locked(t, trx, &use);
    if (err >= 0) {
        use->count++;
        use->deny_read += (grbit & JET_bitTableDenyRead) != 0;
        use->deny_write += (grbit & JET_bitTableDenyWrite) != 0;
        use->writers += (grbit & JET_bitTableReadOnly) == 0;
        note_exclusive_locked(t);
    }
    os_lock_release(&t->cat->lock);
    return err;
}

void catalog_table_unuse(struct table_desc *desc, struct trx *trx, JET_GRBIT grbit)
{
    struct catalog_table *t = catalog_table_of(desc);
    os_lock_take(&t->cat->lock);
    struct catalog_use *use = use_of_locked(t, trx);
    ASSERT(use != NULL);
    use->count--;
    use->deny_read -= (grbit & JET_bitTableDenyRead) != 0;
    use->deny_write -= (grbit & JET_bitTableDenyWrite) != 0;
    use->writers -= (grbit & JET_bitTableReadOnly) == 0;
    if (use->count == 0)
        *use = t->uses[--t->use_count];
    note_exclusive_locked(t);
    os_lock_release(&t->cat->lock);
}

bool catalog__used_by_others(struct catalog_table *t, const struct trx *trx)
{
    bool used = false;
    os_lock_take(&t->cat->lock);
    for (uint32_t i = 0; i < t->use_count && !used; i++)
        used = t->uses[i].trx != trx;
    os_lock_release(&t->cat->lock);
    return used;
}

bool catalog__denies_read(struct catalog_table *t, const struct trx *trx)
{
    os_lock_take(&t->cat->lock);
    const struct catalog_use *use = use_of_locked(t, trx);
    bool denies = t->creator == trx || (use != NULL && use->deny_read > 0);
    os_lock_release(&t->cat->lock);
    return denies;
}

/* ---- names ---- */

struct lister {
    catalog_visit_fn visit;
    void *context;
};

static err_t list_row(const struct lister *l, const struct catalog_row *row)
{
    char name[3 * NAME_ROOM];
    catalog_name_to_utf8(row->name, name);
    struct catalog_table_info info = {.name = name,
                                      .objid = row->id,
                                      .root = row->root_or_coltyp,
                                      .flags = row->flags,
                                      .pages = row->pages_or_locale,
                                      .density = row->space_usage};
    return l->visit(l->context, &info);
}

static err_t list_here(struct catalog *cat, struct trx *trx, const struct lister *l,
                       struct slice bookmark)
{
    struct catalog_row row;
    if (bookmark.n != ROW_KEY_SIZE || bookmark.p[0] != 0x7F || bookmark.p[8] != 0x7F)
        return RAISE(JET_errCatalogCorrupted);
    objid_t objid = load_be32(bookmark.p + 9) ^ 0x80000000u;
    err_t err = catalog__read_row(cat, trx, objid, ROW_TABLE, objid, &row);
    if (err == JET_errRecordNotFound) /* renamed or dropped between two looks without a snapshot */
        return JET_errSuccess;
    return err < 0 ? err : list_row(l, &row);
}

err_t catalog_visit_tables(struct dbfile *db, struct trx *trx, catalog_visit_fn visit,
                           void *context)
{
    err_t err = JET_errSuccess;
    struct btree_cursor c;
    const struct lister l = {visit, context};
    btree_cursor_init(&c, catalog_of(db)->roots, trx);
    for (err = btree_first(&c); err >= 0; err = btree_next(&c))
        TRY(list_here(catalog_of(db), trx, &l, c.data));
    if (err == JET_errNoCurrentRecord)
        err = JET_errSuccess;
out:
    btree_cursor_term(&c);
    return err;
}
