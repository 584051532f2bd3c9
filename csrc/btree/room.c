/* Room on a leaf without a split: settled deleted nodes go, and what commits have settled is no
 * longer kept for rollbacks. */
#include "btree/btree_private.h"

static err_t whole_key(const struct node *node, struct buffer *key)
{
    TRY_RETURN(buffer_reserve(key, node_key_size(node)));
    key->n = node_key_copy(node, key->p);
    return JET_errSuccess;
}

err_t btree__uncommitted_free(struct btree *tree, struct page page, int first, int last,
                              uint32_t *out)
{
    err_t err = JET_errSuccess;
    struct buffer key = {0};
    uint32_t sum = 0;

    *out = 0;
    if (page_uncommitted_free(page) == 0)
        return JET_errSuccess;
    for (int line = first; line < last; line++) {
        struct node node;
        TRY(page_node(page, line, &node));
        if ((node.flags & NODE_VERSION) == 0)
            continue;
        TRY(whole_key(&node, &key));
        struct version_key where = btree__where(tree, buffer_slice(&key), node.data);
        uint32_t most = version_before_most(tree->db->versions, &where);
        if (most > node.data.n)
            sum += most - node.data.n;
    }
    *out = sum;
out:
    buffer_free(&key);
    return err;
}

err_t btree__can_replace(struct btree *tree, struct page page, int line, uint32_t size, bool *yes)
{
    err_t err = JET_errSuccess;
    struct buffer key = {0};
    struct node node;

    *yes = page_can_replace(page, line, size);
    if (*yes || page_uncommitted_free(page) == 0)
        return JET_errSuccess;
    TRY(page_node(page, line, &node));
    if ((node.flags & NODE_VERSION) == 0)
        goto out;
    TRY(whole_key(&node, &key));
    struct version_key where = btree__where(tree, buffer_slice(&key), node.data);
    uint32_t most = version_before_most(tree->db->versions, &where);
    *yes = page_can_replace_reserved(page, line, size, most > node.data.n ? most - node.data.n : 0);
out:
    buffer_free(&key);
    return err;
}

/* May the node be removed for good? Leaves but the root keep one node. */
static err_t is_removable(struct btree *tree, const struct page_ref *leaf, int line,
                          struct buffer *key, bool *yes)
{
    struct node node;
    *yes = false;
    TRY_RETURN(page_node(leaf->page, line, &node));
    if ((node.flags & NODE_DELETED) == 0)
        return JET_errSuccess;
    if (page_line_count(leaf->page) == 1 && leaf->pgno != tree->root)
        return JET_errSuccess;
    if ((node.flags & NODE_VERSION) != 0) {
        TRY_RETURN(whole_key(&node, key));
        struct version_key where = btree__where(tree, buffer_slice(key), node.data);
        *yes = version_is_settled(tree->db->versions, &where);
    } else {
        *yes = true;
    }
    return JET_errSuccess;
}

err_t btree__make_room(struct btree *tree, struct trx *trx, struct page_ref *leaf, bool *changed)
{
    err_t err = JET_errSuccess;
    struct buffer key = {0};
    uint32_t kept = page_uncommitted_free(leaf->page), needed;

    *changed = false;
    bool look = page_has_deleted(leaf->page);
    for (int line = page_line_count(leaf->page) - 1; look && line >= 0; line--) {
        struct change change = {.type = LOG_Delete, .line = line};
        bool yes;
        TRY(is_removable(tree, leaf, line, &key, &yes));
        if (!yes)
            continue;
        TRY(btree__change(tree, trx, leaf, &change));
        *changed = true;
    }
    TRY(btree__uncommitted_free(tree, leaf->page, 0, page_line_count(leaf->page), &needed));
    if (needed < kept) { /* not logged: the page on disk may keep the larger number */
        page_set_uncommitted_free(leaf->page, needed);
        *changed = true;
    }
out:
    buffer_free(&key);
    return err;
}
