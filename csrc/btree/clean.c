/* What versions leave behind: deleted nodes that nobody can see any more, and pages that got empty. */
#include "btree/btree_merge.h"

/* ---- one page ---- */

static struct version_key where_of(const struct btree *tree, const struct node *node, uint8_t key[PAGE_SIZE_MAX])
{
    return btree__where(tree, SLICE(key, node_key_copy(node, key)), node->data);
}

err_t btree__purge(struct btree *tree, struct trx *trx, struct page_ref *leaf, int *removed)
{
    uint8_t key[PAGE_SIZE_MAX];
    bool root = (page_flags(leaf->page) & PAGE_ROOT) != 0;
    *removed = 0;
    for (int line = page_line_count(leaf->page) - 1; line >= 0; line--) {
        struct node node;
        TRY_RETURN(page_node(leaf->page, line, &node));
        if ((node.flags & (NODE_DELETED | NODE_VERSION)) == 0)
            continue;
        struct version_key where = where_of(tree, &node, key);
        bool deleted = (node.flags & NODE_DELETED) != 0;
        if (deleted && version_is_settled(tree->db->versions, &where)) {
            struct change change = {.type = LOG_Delete, .line = line};
            if (!root && page_line_count(leaf->page) == 1)
                continue;
            TRY_RETURN(btree__change(tree, trx, leaf, &change));
            ++*removed;
        } else if (node.flags & NODE_VERSION && !version_exists(tree->db->versions, &where)) {
            page_set_node_flags(leaf->page, line, node.flags & ~(unsigned)NODE_VERSION);
        }
    }
    return JET_errSuccess;
}

/* What rollbacks may take back is known exactly now that the page is here, latched. */
static err_t derive_free(struct btree *tree, struct page_ref *leaf)
{
    uint32_t kept;
    if (page_uncommitted_free(leaf->page) == 0)
        return JET_errSuccess;
    TRY_RETURN(btree__uncommitted_free(tree, leaf->page, 0, page_line_count(leaf->page), &kept));
    btree__keep_free(leaf->page, kept);
    return JET_errSuccess;
}

/* ---- one node ---- */

static bool only_deleted(struct page leaf)
{
    for (int i = page_line_count(leaf) - 1; i >= 0; i--) {
        struct node node;
        if (page_node(leaf, i, &node) < 0 || (node.flags & NODE_DELETED) == 0)
            return false;
    }
    return true;
}

static err_t clean_leaf(struct btree *tree, struct trx *trx, const struct bookmark *b, bool *merge)
{
    err_t err = JET_errSuccess;
    struct page_ref leaf = PAGE_REF_NONE;
    struct node node;
    bool equal;
    int removed;
    *merge = false;
    TRY(btree__descend(tree, DESCEND_KEY, b->joined, LATCH_WRITE, &leaf));
    int line = btree__find_line(tree, leaf.page, b, &equal);
    if (!equal)
        goto out; /* an earlier visit of this page took it along */
    TRY(page_node(leaf.page, line, &node));
    if ((node.flags & NODE_DELETED) == 0) { /* the common case: a living node whose last version went */
        struct version_key where = btree__where(tree, b->key, b->data);
        if ((node.flags & NODE_VERSION) != 0 && !version_exists(tree->db->versions, &where))
            page_set_node_flags(leaf.page, line, node.flags & ~(unsigned)NODE_VERSION);
        TRY(derive_free(tree, &leaf));
        goto out;
    }
    TRY(btree__purge(tree, trx, &leaf, &removed));
    TRY(derive_free(tree, &leaf));
    *merge = (page_flags(leaf.page) & PAGE_ROOT) == 0 && (only_deleted(leaf.page) || (removed > 0 && btree__is_sparse(leaf.page)));
out:
    cache_release(&leaf);
    return err;
}

/* The tree may have been dropped, and its root page may be part of another by now. */
static err_t tree_is_gone(struct dbfile *db, pgno_t root_page, objid_t objid, bool *gone)
{
    struct page_ref root = PAGE_REF_NONE;
    err_t err = cache_latch(db, root_page, LATCH_READ, CACHE_WAIT, &root);
    *gone = err == JET_errPageNotInitialized || err == JET_errFileIOBeyondEOF;
    if (err < 0)
        return *gone ? JET_errSuccess : err;
    uint32_t flags = page_flags(root.page);
    *gone = page_objid(root.page) != objid || (flags & PAGE_ROOT) == 0 || (flags & (PAGE_EMPTY | PAGE_SPACE_TREE)) != 0;
    cache_release(&root);
    return JET_errSuccess;
}

err_t btree_open_living(struct dbfile *db, pgno_t root, objid_t objid, struct btree **out)
{
    bool gone;
    *out = NULL;
    TRY_RETURN(tree_is_gone(db, root, objid, &gone));
    if (gone || btree__is_retired(db, objid))
        return JET_errSuccess;
    TRY_RETURN(btree_open(db, root, out));
    if (!btree__is_retired(db, objid)) /* after the open: btree_retire waits for who holds the tree */
        return JET_errSuccess;
    btree_close(*out);
    *out = NULL;
    return JET_errSuccess;
}

err_t btree_clean(struct dbfile *db, struct trx *trx, const struct version_key *where)
{
    err_t err = JET_errSuccess;
    struct btree *tree = NULL;
    struct bookmark b = {0};
    bool merge;
    TRY_RETURN(btree_open_living(db, where->root, where->objid, &tree));
    if (tree == NULL)
        return JET_errSuccess;
    TRY(bookmark_init(&b, tree, where->key, where->data));
    TRY(clean_leaf(tree, trx, &b, &merge));
    if (merge)
        TRY(btree__merge(tree, trx, b.joined));
out:
    bookmark_term(&b);
    btree_close(tree);
    return err;
}

/* ---- a page that redo left ---- */

/* A settled deleted node of the leaf; the key's bytes and a bookmark's data are copied out. */
static err_t find_settled(struct btree *tree, struct page page, struct buffer *bytes, struct version_key *where, bool *found)
{
    uint8_t key[PAGE_SIZE_MAX];
    *found = false;
    for (int line = page_line_count(page) - 1; line >= 0 && !*found; line--) {
        struct node node;
        TRY_RETURN(page_node(page, line, &node));
        if ((node.flags & NODE_DELETED) == 0)
            continue;
        *where = where_of(tree, &node, key);
        *found = version_is_settled(tree->db->versions, where);
    }
    if (!*found)
        return JET_errSuccess;
    TRY_RETURN(buffer_set(bytes, where->key));
    TRY_RETURN(buffer_append(bytes, where->data));
    where->data = SLICE(bytes->p + where->key.n, where->data.n);
    where->key = SLICE(bytes->p, where->key.n);
    return JET_errSuccess;
}

static err_t latch_leaf(struct dbfile *db, const struct version_page *where, struct page_ref *leaf)
{
    bool damaged;
    TRY_RETURN(btree__latch_readable(db, where->pgno, LATCH_READ, leaf, &damaged));
    if (leaf->frame == NULL)
        return JET_errSuccess;
    uint32_t flags = page_flags(leaf->page);
    if (page_objid(leaf->page) != where->objid || (flags & PAGE_LEAF) == 0 || (flags & (PAGE_EMPTY | PAGE_SPACE_TREE)) != 0)
        cache_release(leaf);
    return JET_errSuccess;
}

err_t btree_clean_page(struct dbfile *db, struct trx *trx, const struct version_page *page)
{
    err_t err = JET_errSuccess;
    struct btree *tree = NULL;
    struct page_ref leaf = PAGE_REF_NONE;
    struct buffer bytes = {0};
    struct version_key where;
    bool found = false;
    TRY_RETURN(btree_open_living(db, page->root, page->objid, &tree));
    if (tree == NULL)
        return JET_errSuccess;
    TRY(latch_leaf(db, page, &leaf));
    if (leaf.frame != NULL)
        TRY(find_settled(tree, leaf.page, &bytes, &where, &found));
    cache_release(&leaf);
    if (found)
        TRY(btree_clean(db, trx, &where));
out:
    cache_release(&leaf);
    buffer_free(&bytes);
    btree_close(tree);
    return err;
}
