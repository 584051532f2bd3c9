#include "space/space_private.h"

/* Reading and writing the space header of a root, and holding a tree's space. */

err_t space__read_header(struct btree *tree, struct space_header *out)
{
    struct page_ref root = PAGE_REF_NONE;
    TRY_RETURN(cache_latch(tree->db, tree->root, LATCH_READ, CACHE_WAIT, &root));
    err_t err = page_space_header(root.page, out);
    cache_release(&root);
    return err;
}

err_t space__write_header(struct space_hold *hold)
{
    uint8_t bytes[16];
    space_header_store(&hold->header, bytes);
    struct page_ref root = PAGE_REF_NONE;
    TRY_RETURN(cache_latch(hold->tree->db, hold->tree->root, LATCH_WRITE, CACHE_WAIT, &root));
    err_t err = btree_set_external(hold->tree, hold->trx, &root, SLICE(bytes, sizeof bytes));
    cache_release(&root);
    return err;
}

void space__open_trees(struct space_hold *hold)
{
    struct btree *tree = hold->tree;
    uint32_t flags = tree->page_flags | PAGE_SPACE_TREE;
    pgno_t oe = hold->header.avail_or_oe;
    btree_init_private(&hold->oe, tree->db, oe, tree->objid, flags, true, &space__split_buffer_source);
    btree_init_private(&hold->ae, tree->db, oe + 1, tree->objid, flags, true, &space__split_buffer_source);
    hold->open_trees = true;
}

static err_t read_hold(struct space_hold *hold)
{
    TRY_RETURN(space__read_header(hold->tree, &hold->header));
    if (space__is_multiple(hold)) {
        if (hold->header.avail_or_oe == PGNO_NIL) {
            err_t err = RAISE(JET_errDatabaseCorrupted);
            err_detail("%s: page %u: the space header names no extent tree", hold->tree->db->path, hold->tree->root);
            return err;
        }
        space__open_trees(hold);
    }
    return JET_errSuccess;
}

err_t space__hold(struct btree *tree, struct trx *trx, struct space_hold *hold)
{
    memset(hold, 0, sizeof *hold);
    hold->tree = tree;
    hold->trx = trx;
    os_lock_take(&tree->space_lock);
    err_t err = read_hold(hold);
    if (err < 0) {
        os_lock_release(&tree->space_lock);
        hold->tree = NULL;
    }
    return err;
}

void space__let_go(struct space_hold *hold)
{
    if (hold->open_trees) {
        btree_term_private(&hold->ae);
        btree_term_private(&hold->oe);
        hold->open_trees = false;
    }
    os_lock_release(&hold->tree->space_lock);
}
