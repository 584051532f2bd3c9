/* Which leaves are worth a merge: the numbers, without a change. */
#include "btree/btree_merge.h"

uint32_t btree__area(struct page page)
{
    return page.size - (page_is_large(page) ? 80 : 40);
}

bool btree__is_sparse(struct page leaf)
{
    return page_free(leaf) > btree__area(leaf) / 2;
}

bool btree__all_settled(struct btree *tree, struct page page)
{
    uint8_t key[PAGE_SIZE_MAX];
    for (int i = page_line_count(page) - 1; i >= 0; i--) {
        struct node node;
        if (page_node(page, i, &node) < 0 || (node.flags & NODE_DELETED) == 0)
            return false;
        uint32_t n = node_key_copy(&node, key);
        struct version_key where = btree__where(tree, SLICE(key, n), node.data);
        if (!version_is_settled(tree->db->versions, &where))
            return false;
    }
    return true;
}

bool btree__fits(struct page source, struct page dest)
{
    uint8_t key[PAGE_SIZE_MAX];
    uint32_t cost = page_uncommitted_free(source) + page_uncommitted_free(dest) + btree__area(dest) / 16;
    int count = page_line_count(source);
    if (count + page_line_count(dest) > 4000)
        return false;
    for (int i = 0; i < count && cost <= page_free(dest); i++) {
        struct node node;
        if (page_node(source, i, &node) < 0 || (node.flags & NODE_DELETED) != 0)
            return false;
        cost += page_node_cost(dest, SLICE(key, node_key_copy(&node, key)), node.data);
    }
    return cost <= page_free(dest);
}

int btree__cut_of_three(struct page left, struct page middle, struct page right)
{
    uint8_t key[PAGE_SIZE_MAX];
    uint32_t slack = btree__area(middle) / 16, gained = 0, wanted = page_uncommitted_free(left) + page_uncommitted_free(middle) + slack;
    uint32_t used = page_uncommitted_free(right) + page_uncommitted_free(middle) + slack;
    struct node node;
    int line = page_line_count(middle);
    for (int i = 0; i < page_line_count(left); i++) {
        if (page_node(left, i, &node) < 0 || (node.flags & NODE_DELETED) != 0)
            return -1;
        wanted += page_node_cost(middle, SLICE(key, node_key_copy(&node, key)), node.data);
    }
    while (line > 1 && wanted > page_free(middle) + gained) {
        if (page_node(middle, line - 1, &node) < 0 || (node.flags & NODE_DELETED) != 0)
            return -1;
        struct slice whole = SLICE(key, node_key_copy(&node, key));
        used += page_node_cost(right, whole, node.data);
        gained += page_node_cost(middle, whole, node.data);
        if (used > page_free(right))
            return -1;
        line--;
    }
    bool gives = line < page_line_count(middle);
    bool counts = page_line_count(left) + page_line_count(middle) + page_line_count(right) < 4000;
    return gives && counts && wanted <= page_free(middle) + gained ? line : -1;
}
