/* After a crash: which trees there are is what the committed rows say; every page that no tree uses
 * is free again. */
#include "catalog/catalog_private.h"

struct tree_list {
    struct {
        objid_t table;
        pgno_t root;
        bool is_table;
    } *list;
    uint32_t n, room;
};

static bool is_tree(const struct catalog_row *row)
{
    return row->type == ROW_TABLE || row->type == ROW_LONG_VALUES ||
           (row->type == ROW_INDEX && row->id != row->table);
}

struct tree_visit {
    catalog_tree_fn visit;
    void *context;
};

static err_t visit_tree(void *context, const struct catalog_row *row)
{
    struct tree_visit *v = context;
    return is_tree(row) ? v->visit(v->context, row->id, row->root_or_coltyp) : JET_errSuccess;
}

err_t catalog_visit_trees(struct dbfile *db, catalog_tree_fn visit, void *context)
{
    struct tree_visit v = {visit, context};
    return catalog__visit_rows(catalog_of(db), NULL, 0, visit_tree, &v);
}

/* ---- the trees by number ---- */

static err_t add_tree(void *context, objid_t objid, pgno_t root)
{
    struct catalog_trees *trees = context;
    if (trees->n == trees->room) {
        uint32_t room = trees->room == 0 ? 64 : trees->room * 2;
        struct catalog_tree *grown = realloc(trees->list, room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        trees->list = grown;
        trees->room = room;
    }
    trees->list[trees->n++] = (struct catalog_tree){objid, root};
    return JET_errSuccess;
}

static int by_objid(const void *a, const void *b)
{
    objid_t x = ((const struct catalog_tree *)a)->objid, y = ((const struct catalog_tree *)b)->objid;
    return (x > y) - (x < y);
}

err_t catalog_list_trees(struct dbfile *db, struct catalog_trees *out)
{
    *out = (struct catalog_trees){0};
    TRY_RETURN(catalog_visit_trees(db, add_tree, out));
    if (out->n > 1)
        qsort(out->list, out->n, sizeof *out->list, by_objid);
    return JET_errSuccess;
}

const struct catalog_tree *catalog_find_tree(const struct catalog_trees *trees, objid_t objid)
{
    struct catalog_tree key = {objid, PGNO_NIL};
    return trees->n == 0 ? NULL : bsearch(&key, trees->list, trees->n, sizeof key, by_objid);
}

/* ---- what belongs to nobody ---- */

static err_t note_tree(void *context, const struct catalog_row *row)
{
    struct tree_list *trees = context;
    bool is_table = row->type == ROW_TABLE;
    if (!is_tree(row))
        return JET_errSuccess;
    if (trees->n == trees->room) {
        uint32_t room = trees->room == 0 ? 64 : trees->room * 2;
        void *grown = realloc(trees->list, room * sizeof *trees->list);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        trees->list = grown;
        trees->room = room;
    }
    trees->list[trees->n].table = row->table;
    trees->list[trees->n].root = row->root_or_coltyp;
    trees->list[trees->n++].is_table = is_table;
    return JET_errSuccess;
}

static err_t reconcile(struct catalog *cat, struct trx *trx, pgno_t root, const pgno_t *children,
                       int count, uint32_t *pages)
{
    struct btree *tree;
    TRY_RETURN(btree_open(cat->db, root, &tree));
    err_t err = space_reconcile(tree, children, count, trx, pages);
    btree_close(tree);
    return err;
}

/* Rows of a table are neighbours: its own first, then those of its indexes and of its long values.
 */
static err_t reconcile_all(struct catalog *cat, struct trx *trx, const struct tree_list *trees,
                           pgno_t *children, uint32_t *pages)
{
    int tables = 0;
    for (uint32_t i = 0; i < trees->n; i++)
        if (trees->list[i].is_table)
            children[tables++] = trees->list[i].root;
    TRY_RETURN(reconcile(cat, trx, SYSTEM_ROOT, children, tables, pages));
    for (uint32_t i = 0; i < trees->n; i++) {
        int count = 0;
        for (uint32_t k = i + 1; trees->list[i].is_table && k < trees->n &&
                                 trees->list[k].table == trees->list[i].table;
             k++)
            children[count++] = trees->list[k].root;
        TRY_RETURN(reconcile(cat, trx, trees->list[i].root, children, count, pages));
    }
    return JET_errSuccess;
}

err_t catalog_reconcile(struct dbfile *db, struct trx *trx, uint32_t *pages_found)
{
    err_t err = JET_errSuccess;
    struct catalog *cat = catalog_of(db);
    struct tree_list trees = {0};
    pgno_t *children = NULL;
    *pages_found = 0;
    TRY(catalog__visit_rows(cat, NULL, 0, note_tree, &trees));
    children = malloc((trees.n + 1) * sizeof *children);
    if (children == NULL)
        FAIL(JET_errOutOfMemory);
    TRY(reconcile_all(cat, trx, &trees, children, pages_found));
out:
    free(children);
    free(trees.list);
    return err;
}

err_t catalog_reclaim(struct dbfile *db, struct trx *trx)
{
    uint32_t found;
    if (!space_has_lost(db))
        return JET_errSuccess;
    TRY_RETURN(catalog_reconcile(db, trx, &found));
    space_lost_found(db);
    return JET_errSuccess;
}
