/* merge and clean, inside the room. */
#ifndef BTREE_BTREE_MERGE_H
#define BTREE_BTREE_MERGE_H

#include "btree/btree_apply.h"

/* Is this leaf so empty that a merge is worth a look? */
bool btree__is_sparse(struct page leaf);
/* Merges the leaf of this bookmark with a neighbour, or frees it when all its nodes are deleted and settled; pages go back
 * to the tree's source. No latch is held. A tree that cannot be merged there stays as it is: success. */
MUST_CHECK err_t btree__merge(struct btree *tree, struct trx *trx, struct slice joined);
/* Removes the settled deleted nodes of a write-latched leaf and clears NODE_VERSION where no version is left. A leaf
 * other than the root keeps one node, for the merge that frees it. */
MUST_CHECK err_t btree__purge(struct btree *tree, struct trx *trx, struct page_ref *leaf, int *removed);

#endif
