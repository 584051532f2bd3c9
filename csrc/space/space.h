/* space: which tree owns which extent, which pages are free; gives pages to trees.
 *
 * Invariants
 *  1. Every page of 1..N belongs to exactly one of: a tree's B+tree, its OE or AE tree, its available extents, its split
 *     buffers, or a child tree (edb-format.md 7.5).
 *  2. AE root = OE root + 1. Space trees are split from the split buffers in their roots: recursion depth one.
 *  3. All changes are unversioned inner transactions with page flag SPACE; a rollback of the user's transaction does
 *     not take them back; space of undone or dropped trees returns by actions and by reconciliation after recovery.
 *  4. Lock: the tree's space_lock, then its parent's (child before parent), never with a latch of an ordinary page held. */
#ifndef SPACE_SPACE_H
#define SPACE_SPACE_H

#include "btree/btree.h"

/* Hooks the registry of a just opened database up with space (btree_registry_create). */
MUST_CHECK err_t space_init(struct dbfile *db);
void space_term(struct dbfile *db);

/* New database: pages 1-3 (root, OE, AE owning 1..pages). trx: inner-capable, level 0. */
MUST_CHECK err_t space_create_root(struct dbfile *db, struct trx *trx, pgno_t pages);
/* A new tree with its root: `cpg` pages from the parent. cpg >= 3 with `multiple`: own space trees. fixed_root != 0: that page must
 * be the root (catalog of a new database). flags: PAGE_INDEX ..., unique. */
struct space_tree_want {
    struct btree *parent;
    uint32_t page_flags;
    bool unique;
    objid_t objid;
    uint32_t cpg;
    bool multiple;
    pgno_t fixed_root;
};
MUST_CHECK err_t space_create_tree(const struct space_tree_want *want, struct trx *trx, pgno_t *root);
/* Gives all space of a tree (and of its children when it is a table's) back to its parent. Nobody may use the tree. */
MUST_CHECK err_t space_free_tree(struct btree *tree, struct trx *trx);
objid_t space_new_objid(struct dbfile *db);

/* Numbers for information and check. */
struct space_extent {
    pgno_t first;
    uint32_t count;
};
struct space_sum {
    uint32_t owned, available;
};
MUST_CHECK err_t space_sum(struct btree *tree, struct space_sum *out);
typedef err_t (*space_extent_fn)(void *context, struct space_extent extent, bool available);
MUST_CHECK err_t space_visit(struct btree *tree, space_extent_fn visit, void *context);
/* The pages of the tree that nobody uses: available ones, and those set aside for its space trees. */
MUST_CHECK err_t space_visit_unused(struct btree *tree, space_extent_fn visit, void *context);
/* The pages of its space trees. */
MUST_CHECK err_t space_visit_pages(struct btree *tree, btree_visit_fn visit, void *context);

/* After a recovery that undid something: every page that the tree owns and nobody uses becomes available again.
 * children: roots of the trees whose space came from this one (table -> indexes, LV; system root -> tables). */
MUST_CHECK err_t space_reconcile(struct btree *tree, const pgno_t *children, int child_count, struct trx *trx, uint32_t *pages_found);

/* An error left pages of the database to nobody. They come back when it is detached or the instance ends (catalog_reconcile, where
 * space_has_lost), or by the recovery when it does not end cleanly. */
void space_note_lost(struct dbfile *db);
bool space_has_lost(struct dbfile *db);
void space_lost_found(struct dbfile *db); /* all are where they belong again */

/* Redo of CreateSingleExtentFDP, CreateMultipleExtentFDP, ConvertFDP2, ExtendDB. */
MUST_CHECK err_t space_redo(struct redo *redo, struct slice record);

#endif
