/* merge and clean, inside the room. */
#ifndef BTREE_BTREE_MERGE_H
#define BTREE_BTREE_MERGE_H

#include "btree/btree_apply.h"

/* Is this leaf so empty that a merge is worth a look? */
bool btree__is_sparse(struct page leaf);
uint32_t btree__area(struct page page); /* bytes for tags, nodes and the external header */
/* Nobody can see any node of the page. */
bool btree__all_settled(struct btree *tree, struct page page);
/* The nodes of source, none deleted, fit into dest, and leave it some room to grow: else the next insert splits it again. */
bool btree__fits(struct page source, struct page dest);
/* First line of `middle` from which on all fits into `right`, such that `left` fits into what `middle` has then; -1 = none. */
int btree__cut_of_three(struct page left, struct page middle, struct page right);
/* Merges the leaf of this bookmark with a neighbour, or frees it when all its nodes are deleted and settled; pages go back
 * to the tree's source. No latch is held. A tree that cannot be merged there stays as it is: success. */
MUST_CHECK err_t btree__merge(struct btree *tree, struct trx *trx, struct slice joined);
/* Removes the settled deleted nodes of a write-latched leaf and clears NODE_VERSION where no version is left. A leaf
 * other than the root keeps one node, for the merge that frees it. */
MUST_CHECK err_t btree__purge(struct btree *tree, struct trx *trx, struct page_ref *leaf, int *removed);

#endif
