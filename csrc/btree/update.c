/* Changes of a node that is there: replace, delete, delta, lock. */
#include "btree/btree_private.h"

/* Mostly the cursor stands on the node, or on one nearby: its frame may still hold the leaf. A live
 * leaf of the tree that has the node is the right one; one that has not says nothing. */
static bool latch_by_hint(const struct btree_cursor *cursor, const struct bookmark *at,
                          struct page_ref *leaf, int *line)
{
    struct btree *tree = cursor->tree;
    bool equal = false;
    if (cursor->frame == NULL || tree->is_private || /* space trees share an object */
        !cache_latch_hint_write(cursor->frame, tree->db, cursor->pgno, leaf))
        return false;
    uint32_t flags = page_flags(leaf->page);
    if (page_objid(leaf->page) == tree->objid &&
        (flags & (PAGE_LEAF | PAGE_EMPTY | PAGE_SPACE_TREE)) == PAGE_LEAF)
        *line = btree__find_line(tree, leaf->page, at, &equal);
    if (!equal)
        cache_release(leaf);
    return equal;
}

static err_t latch_leaf(const struct btree_cursor *cursor, const struct bookmark *at,
                        struct page_ref *leaf, int *line)
{
    bool equal;
    if (latch_by_hint(cursor, at, leaf, line))
        return JET_errSuccess;
    TRY_RETURN(btree__descend(cursor->tree, DESCEND_KEY, at->joined, LATCH_WRITE, leaf));
    *line = btree__find_line(cursor->tree, leaf->page, at, &equal);
    return equal ? JET_errSuccess : RAISE(JET_errRecordDeleted);
}

/* Latches the leaf of the bookmark for writing and finds its line. JET_errRecordDeleted when it is
 * not there or deleted, JET_errWriteConflict when somebody else was quicker. */
static err_t latch_node(const struct btree_cursor *cursor, const struct bookmark *at,
                        bool versioned, bool delta, struct page_ref *leaf, int *line,
                        struct node *node)
{
    const struct btree *tree = cursor->tree;
    struct trx *trx = cursor->trx;
    TRY_RETURN(latch_leaf(cursor, at, leaf, line));
    TRY_RETURN(page_node(leaf->page, *line, node));
    if (versioned && (node->flags & NODE_VERSION) != 0) {
        struct version_key where = btree__where(tree, at->key, at->data);
        TRY_RETURN(delta ? version_check_delta(trx, &where) : version_check_write(trx, &where));
    }
    if ((node->flags & NODE_DELETED) != 0)
        return RAISE(JET_errRecordDeleted);
    return JET_errSuccess;
}

/* ---- replace ---- */

/* Room for the new data, or what can be made of it without a split. The line may move. */
static err_t find_room(struct btree *tree, struct trx *trx, struct page_ref *leaf,
                       const struct bookmark *at, uint32_t size, int *line, bool *fits)
{
    bool changed, equal;
    TRY_RETURN(btree__can_replace(tree, leaf->page, *line, size, fits));
    if (*fits)
        return JET_errSuccess;
    TRY_RETURN(btree__make_room(tree, trx, leaf, &changed));
    *line = btree__find_line(tree, leaf->page, at, &equal);
    return btree__can_replace(tree, leaf->page, *line, size, fits);
}

err_t btree_replace(struct btree_cursor *cursor, struct slice key, struct slice data, unsigned how)
{
    err_t err = JET_errSuccess;
    struct btree *tree = cursor->tree;
    struct trx *trx = cursor->trx;
    struct page_ref leaf = PAGE_REF_NONE;
    struct bookmark at = {0};
    bool versioned = (how & BTREE_UNVERSIONED) == 0, done = false;

    ASSERT(trx != NULL && trx->level >= 1 && tree->unique);
    if (btree__is_too_big(tree, key, data))
        return RAISE(JET_errRecordTooBig);
    TRY(bookmark_init(&at, tree, key, SLICE_EMPTY));
    while (!done) {
        struct change change = {.type = LOG_Replace, .key = key, .data = data};
        struct version_key where = btree__where(tree, key, SLICE_EMPTY);
        struct node node;
        bool fits;
        TRY(latch_node(cursor, &at, versioned, false, &leaf, &change.line, &node));
        TRY(find_room(tree, trx, &leaf, &at, data.n, &change.line, &fits));
        TRY(page_node(leaf.page, change.line, &node));
        change.seen = page_dbtime(leaf.page);
        if (versioned)
            TRY(version_reserve(trx, VERSION_REPLACE, &where, node.data, 0, 0, &change.version));
        if (fits) {
            TRY(btree__change(tree, trx, &leaf, &change));
            done = true;
        } else {
            cache_release(&leaf);
            TRY(btree__split(tree, trx, &at, &change, &done));
        }
    }
out:
    cache_release(&leaf);
    bookmark_term(&at);
    return err;
}

/* ---- delete ---- */

err_t btree_delete(struct btree_cursor *cursor, struct slice key, struct slice data, unsigned how)
{
    err_t err = JET_errSuccess;
    struct btree *tree = cursor->tree;
    struct trx *trx = cursor->trx;
    struct page_ref leaf = PAGE_REF_NONE;
    struct bookmark at = {0};
    struct change change = {.type = LOG_FlagDelete, .key = key};
    struct version_key where = btree__where(tree, key, data);
    struct node node;
    bool versioned = (how & BTREE_UNVERSIONED) == 0;

    ASSERT(trx != NULL && trx->level >= 1);
    TRY(bookmark_init(&at, tree, key, data));
    TRY(latch_node(cursor, &at, versioned, false, &leaf, &change.line, &node));
    if (versioned)
        TRY(version_reserve(trx, VERSION_DELETE, &where, SLICE_EMPTY, 0, 0, &change.version));
    else if (page_line_count(leaf.page) > 1 || leaf.pgno == tree->root)
        change.type = LOG_Delete; /* else a flag-deleted node is left: leaves are never empty */
    TRY(btree__change(tree, trx, &leaf, &change));
out:
    cache_release(&leaf);
    bookmark_term(&at);
    return err;
}

/* ---- delta and lock ---- */

/* The number as trx sees it: its own additions, not those of others that are under way. */
static err_t read_number(struct btree *tree, struct trx *trx, const struct version_key *where,
                         const struct node *node, uint16_t offset, int32_t *out)
{
    err_t err = JET_errSuccess;
    struct buffer scratch = {0};
    struct slice seen = node->data;
    bool exists = true;

    if ((node->flags & NODE_VERSION) != 0)
        TRY(version_see(tree->db->versions, trx, where, false, node->data, &scratch, &exists,
                        &seen));
    if (!exists || (uint32_t)offset + 4 > seen.n)
        FAIL(JET_errRecordDeleted);
    *out = (int32_t)load_u32(seen.p + offset);
out:
    buffer_free(&scratch);
    return err;
}

err_t btree_delta(struct btree_cursor *cursor, struct slice key, uint16_t offset, int32_t delta,
                  int32_t *before)
{
    err_t err = JET_errSuccess;
    struct btree *tree = cursor->tree;
    struct trx *trx = cursor->trx;
    struct page_ref leaf = PAGE_REF_NONE;
    struct bookmark at = {0};
    struct change change = {.type = LOG_Delta, .key = key, .offset = offset, .delta = delta};
    struct version_key where = btree__where(tree, key, SLICE_EMPTY);
    struct node node;

    ASSERT(trx != NULL && trx->level >= 1 && tree->unique);
    TRY(bookmark_init(&at, tree, key, SLICE_EMPTY));
    TRY(latch_node(cursor, &at, true, true, &leaf, &change.line, &node));
    if ((uint32_t)offset + 4 > node.data.n)
        FAIL(JET_errInvalidParameter);
    if (before != NULL)
        TRY(read_number(tree, trx, &where, &node, offset, before));
    TRY(version_reserve(trx, VERSION_DELTA, &where, SLICE_EMPTY, delta, offset, &change.version));
    TRY(btree__change(tree, trx, &leaf, &change));
out:
    cache_release(&leaf);
    bookmark_term(&at);
    return err;
}

err_t btree_lock(struct btree_cursor *cursor, struct slice key, struct slice data)
{
    err_t err = JET_errSuccess;
    struct btree *tree = cursor->tree;
    struct trx *trx = cursor->trx;
    struct page_ref leaf = PAGE_REF_NONE;
    struct bookmark at = {0};
    struct version_key where = btree__where(tree, key, data);
    struct version *version = NULL;
    struct node node;
    int line;

    ASSERT(trx != NULL && trx->level >= 1);
    TRY(bookmark_init(&at, tree, key, data));
    TRY(latch_node(cursor, &at, true, false, &leaf, &line, &node));
    TRY(version_reserve(trx, VERSION_LOCK, &where, SLICE_EMPTY, 0, 0, &version));
    if ((node.flags & NODE_VERSION) == 0) {
        /* Not logged, but the flag must outlive an eviction of the page: it says where to look for
         * the lock. */
        cache_mark_dirty(&leaf, trx_begin_bound(trx));
        page_set_node_flags(leaf.page, line, node.flags | NODE_VERSION);
        cache_set_lgpos(&leaf, LGPOS_MIN);
    }
    version_publish(trx, version);
out:
    cache_release(&leaf);
    bookmark_term(&at);
    return err;
}
