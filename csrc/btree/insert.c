/* Insert: a new node, or life again for a flag-deleted one. */
#include "btree/btree_private.h"

/* What a leaf needs beside its largest node: tag 0 of a root (16 bytes). A chunk of a long value
 * fills the rest of a small page: 10 + 4014 bytes of 4096. */
#define NODE_SPARE 24u

/* A page of branch nodes must hold two of them, so that three can always be split. */
bool btree__is_too_big(const struct btree *tree, struct slice key, struct slice data)
{
    uint32_t most = page_node_most(tree->db->page_size) - NODE_SPARE;
    uint32_t separator = tree->unique ? key.n : key.n + data.n;
    return 2 + key.n + data.n > most || separator + 10 > most / 2;
}

/* ---- the leaf ---- */

/* Is this the tree's last leaf, and does the bookmark lie behind its last node? Then it belongs
 * there, whatever the branch pages say. */
static bool is_end(const struct btree *tree, const struct page_ref *leaf, const struct bookmark *at)
{
    uint32_t flags = page_flags(leaf->page);
    int count = page_line_count(leaf->page);
    struct node node;
    if (page_objid(leaf->page) != tree->objid || (flags & PAGE_LEAF) == 0 ||
        (flags & (PAGE_EMPTY | PAGE_SPACE_TREE)) != 0 || page_next(leaf->page) != PGNO_NIL ||
        count == 0 || page_node(leaf->page, count - 1, &node) < 0)
        return false;
    int c = tree->unique ? node_compare_key(&node, at->key)
                         : node_compare_key_data(&node, at->key, at->data);
    return c < 0;
}

/* The frame's version tells that nobody has changed the page since. */
static bool latch_end(const struct btree_cursor *cursor, const struct bookmark *at,
                      struct page_ref *leaf)
{
    const struct btree_end *end = &cursor->end;
    if (end->frame == NULL || slice_compare(SLICE(end->key, end->key_n), at->key) >= 0 ||
        !cache_latch_hint_write(end->frame, cursor->tree->db, end->pgno, leaf))
        return false;
    if (leaf->version == end->version)
        return true;
    cache_release(leaf);
    return false;
}

static err_t latch_leaf(const struct btree_cursor *cursor, const struct bookmark *at, unsigned how,
                        struct page_ref *leaf, bool *behind_all)
{
    struct btree *tree = cursor->tree;
    pgno_t hint = tree->last_leaf;
    *behind_all = (how & BTREE_APPEND) != 0 && latch_end(cursor, at, leaf);
    if (*behind_all)
        return JET_errSuccess;
    if ((how & BTREE_APPEND) != 0 && hint != PGNO_NIL && !tree->is_private) {
        err_t err = cache_latch(tree->db, hint, LATCH_WRITE, CACHE_TRY, leaf);
        if (err == JET_errSuccess) {
            *behind_all = is_end(tree, leaf, at);
            if (*behind_all)
                return JET_errSuccess;
            cache_release(leaf);
        }
        *leaf = PAGE_REF_NONE; /* a hint that serves nothing, not an error */
    }
    return btree__descend(tree, DESCEND_KEY, at->joined, LATCH_WRITE, leaf);
}

static void keep_hint(struct btree_cursor *cursor, const struct page_ref *leaf,
                      const struct change *change)
{
    struct btree *tree = cursor->tree;
    struct btree_end *end = &cursor->end;
    if (page_next(leaf->page) != PGNO_NIL)
        return;
    if (tree->last_leaf != leaf->pgno)
        tree->last_leaf = leaf->pgno;
    end->frame = NULL;
    if (!tree->unique || tree->is_private || change->key.n > sizeof end->key ||
        change->type != LOG_Insert || change->line + 1 != page_line_count(leaf->page))
        return;
    end->frame = leaf->frame;
    end->pgno = leaf->pgno;
    end->version = leaf->version;
    end->key_n = change->key.n;
    if (change->key.n != 0)
        memcpy(end->key, change->key.p, change->key.n);
}

/* ---- what is to be done there ---- */

/* The bookmark is taken: by a living node, an invisible one of somebody else, or a deleted one that
 * can live again. */
static err_t meet_node(struct btree *tree, struct trx *trx, const struct page_ref *leaf,
                       bool versioned, struct change *change)
{
    struct node node;
    TRY_RETURN(page_node(leaf->page, change->line, &node));
    if (versioned && (node.flags & NODE_VERSION) != 0) {
        struct version_key where = btree__where(tree, change->key, change->data);
        TRY_RETURN(version_check_write(trx, &where));
    }
    if ((node.flags & NODE_DELETED) == 0)
        return RAISE(JET_errKeyDuplicate);
    change->type =
        slice_equal(node.data, change->data) ? LOG_FlagInsert : LOG_FlagInsertAndReplaceData;
    return JET_errSuccess;
}

static err_t choose(struct btree *tree, struct trx *trx, const struct page_ref *leaf,
                    const struct bookmark *at, bool versioned, bool behind_all,
                    struct change *change)
{
    bool equal = false;
    change->type = LOG_Insert;
    change->line = behind_all ? page_line_count(leaf->page)
                              : btree__find_line(tree, leaf->page, at, &equal);
    change->seen = page_dbtime(leaf->page);
    return equal ? meet_node(tree, trx, leaf, versioned, change) : JET_errSuccess;
}

static err_t has_room(struct btree *tree, struct page page, struct change *change, bool *yes)
{
    *yes = true;
    if (change->type == LOG_Insert) {
        uint32_t share = page_share(page, change->key);
        change->shared = share + 1;
        *yes = page_can_insert_share(page, change->key, share, change->data);
    } else if (change->type == LOG_FlagInsertAndReplaceData) {
        return btree__can_replace(tree, page, change->line, change->data.n, yes);
    }
    return JET_errSuccess;
}

static err_t reserve(struct btree *tree, struct trx *trx, const struct page_ref *leaf,
                     struct change *change)
{
    struct version_key where = btree__where(tree, change->key, change->data);
    struct node node;

    TRY_RETURN(version_reserve(trx, VERSION_INSERT, &where, SLICE_EMPTY, 0, 0, &change->version));
    if (change->type != LOG_FlagInsertAndReplaceData)
        return JET_errSuccess;
    err_t err = page_node(leaf->page, change->line, &node);
    if (err >= 0)
        err = version_reserve(trx, VERSION_REPLACE, &where, node.data, 0, 0, &change->second);
    if (err < 0)
        btree__cancel_change(change);
    return err;
}

err_t btree_insert(struct btree_cursor *cursor, struct slice key, struct slice data, unsigned how)
{
    err_t err = JET_errSuccess;
    struct btree *tree = cursor->tree;
    struct trx *trx = cursor->trx;
    struct page_ref leaf = PAGE_REF_NONE;
    struct bookmark at = {0};
    bool versioned = (how & BTREE_UNVERSIONED) == 0, done = false;

    ASSERT(trx != NULL && trx->level >= 1);
    if (btree__is_too_big(tree, key, data))
        return RAISE(JET_errRecordTooBig);
    TRY(bookmark_init(&at, tree, key, data));
    while (!done) {
        struct change change = {.key = key, .data = data};
        bool changed, fits, behind_all;
        TRY(latch_leaf(cursor, &at, how, &leaf, &behind_all));
        change.behind_all = behind_all;
        TRY(choose(tree, trx, &leaf, &at, versioned, behind_all, &change));
        TRY(has_room(tree, leaf.page, &change, &fits));
        if (!fits) {
            TRY(btree__make_room(tree, trx, &leaf, &changed));
            if (changed) {
                TRY(choose(tree, trx, &leaf, &at, versioned, behind_all, &change));
                TRY(has_room(tree, leaf.page, &change, &fits));
            }
        }
        if (versioned)
            TRY(reserve(tree, trx, &leaf, &change));
        if (fits) {
            TRY(btree__change(tree, trx, &leaf, &change));
            keep_hint(cursor, &leaf, &change);
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
