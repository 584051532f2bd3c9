/* Every page of a tree, parents before children. */
#include "btree/btree_private.h"

struct visit {
    struct btree *tree;
    btree_visit_fn fn;
    void *context;
    bool read_leaves;
    uint64_t pages; /* more than the file has: a loop in a damaged tree */
};

/* Copies the page: what the visitor does may take long, or latch. */
static err_t read_page(struct visit *v, pgno_t pgno, uint8_t *copy)
{
    struct page_ref ref = PAGE_REF_NONE;
    TRY_RETURN(btree__latch(v->tree, pgno, LATCH_READ, CACHE_COLD, &ref));
    memcpy(copy, ref.page.p, ref.page.size);
    cache_release(&ref);
    return JET_errSuccess;
}

static err_t too_deep(const struct visit *v, pgno_t pgno)
{
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("%s: tree %u: page %u lies too deep or in a circle", v->tree->db->path, v->tree->root, pgno);
    return err;
}

static err_t visit_page(struct visit *v, pgno_t pgno, int depth, bool is_leaf)
{
    err_t err = JET_errSuccess;
    uint32_t size = v->tree->db->page_size;
    uint8_t *copy = NULL;
    if (depth >= BTREE_DEPTH_MAX || ++v->pages > atomic_load(&v->tree->db->page_count))
        return too_deep(v, pgno);
    if (is_leaf && !v->read_leaves)
        return v->fn(v->context, pgno, (struct page){NULL, size}, depth);
    copy = malloc(size);
    if (copy == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(read_page(v, pgno, copy));
    struct page page = {copy, size};
    TRY(v->fn(v->context, pgno, page, depth));
    if (page_flags(page) & PAGE_LEAF)
        goto out;
    bool above_leaves = (page_flags(page) & PAGE_PARENT_OF_LEAF) != 0;
    for (int line = 0; line < page_line_count(page); line++) {
        pgno_t child;
        TRY(page_child(page, line, &child));
        TRY(visit_page(v, child, depth + 1, above_leaves));
    }
out:
    free(copy);
    return err;
}

err_t btree_visit(struct btree *tree, bool read_leaves, btree_visit_fn visit, void *context)
{
    struct visit v = {.tree = tree, .fn = visit, .context = context, .read_leaves = read_leaves};
    return visit_page(&v, tree->root, 0, false);
}

err_t btree_visit_still(struct btree *tree, btree_visit_fn visit, void *context)
{
    btree__lock_structure(tree);
    err_t err = btree_visit(tree, false, visit, context);
    btree__unlock_structure(tree);
    return err;
}
