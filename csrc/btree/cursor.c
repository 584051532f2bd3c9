/* Cursors: state, seek, refresh. A cursor holds no latch between calls. */
#include "btree/cursor.h"

void btree_cursor_init(struct btree_cursor *cursor, struct btree *tree, struct trx *trx)
{
    *cursor = (struct btree_cursor){.tree = tree, .trx = trx, .place = BTREE_NOWHERE};
}

void btree_cursor_term(struct btree_cursor *cursor)
{
    buffer_free(&cursor->key);
    buffer_free(&cursor->own);
    buffer_free(&cursor->mark);
    buffer_free(&cursor->batch);
    free(cursor->leaf);
    *cursor = (struct btree_cursor){0};
}

void btree_cursor_copy(struct btree_cursor *to, const struct btree_cursor *from, err_t *out)
{
    err_t err = JET_errSuccess;
    to->place = BTREE_NOWHERE;
    cursor__forget_hint(to);
    TRY(buffer_set(&to->key, buffer_slice(&from->key)));
    TRY(buffer_set(&to->mark, buffer_slice(&from->mark)));
    TRY(buffer_set(&to->own, from->place == BTREE_ON ? from->data : SLICE_EMPTY));
    to->data = buffer_slice(&to->own);
    to->place = from->place;
    to->frame = from->frame;
    to->pgno = from->pgno;
    to->version = from->version;
    to->line = from->line;
    to->plain = from->plain;
out:
    *out = err;
}

void cursor__forget_hint(struct btree_cursor *cursor)
{
    cursor->frame = NULL;
    cursor->leaf_valid = false;
    cursor->plain = false;
    cursor->moves = 0;
}

void cursor__stand(struct btree_cursor *cursor, const struct spot *spot)
{
    cursor->place = BTREE_ON;
    cursor->frame = spot->leaf.frame;
    cursor->pgno = spot->leaf.pgno;
    cursor->version = spot->leaf.version;
    cursor->line = spot->line;
    cursor->leaf_valid = false;
}

err_t cursor__bookmark(const struct btree_cursor *cursor, struct bookmark *out)
{
    return bookmark_init(out, cursor->tree, buffer_slice(&cursor->key),
                         buffer_slice(&cursor->mark));
}

/* ---- one node ---- */

err_t cursor__load(struct btree_cursor *cursor, struct page page, int line, bool in_leaf,
                   bool *exists)
{
    const struct btree *tree = cursor->tree;
    struct node node;
    struct slice seen;

    *exists = false;
    TRY_RETURN(page_node(page, line, &node));
    TRY_RETURN(buffer_reserve(&cursor->key, node_key_size(&node)));
    cursor->key.n = node_key_copy(&node, cursor->key.p);
    if (!tree->unique)
        TRY_RETURN(buffer_set(&cursor->mark, node.data));
    seen = node.data;
    struct version_key where = btree__where(tree, buffer_slice(&cursor->key), node.data);
    cursor->plain = (node.flags & NODE_VERSION) == 0 || version_none(tree->db->versions, &where);
    if (cursor->plain) {
        *exists = (node.flags & NODE_DELETED) == 0;
    } else {
        TRY_RETURN(version_see(tree->db->versions, cursor->trx, &where,
                               (node.flags & NODE_DELETED) != 0, node.data, &cursor->own, exists,
                               &seen));
    }
    if (!*exists)
        return JET_errSuccess;
    if (!in_leaf && seen.p != cursor->own.p) {
        TRY_RETURN(buffer_set(&cursor->own, seen));
        seen = buffer_slice(&cursor->own);
    }
    cursor->data = seen;
    return JET_errSuccess;
}

/* ---- places in the tree ---- */

static err_t upper_line(struct page page, struct slice key, int *out)
{
    int low = 0, high = page_line_count(page);
    while (low < high) {
        int middle = low + (high - low) / 2;
        struct node node;
        TRY_RETURN(page_node(page, middle, &node));
        if (node_compare_key(&node, key) > 0)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return JET_errSuccess;
}

/* Keys alone in a non-unique tree: equal ones may fill many leaves. A key that is nobody's whole
 * key (a prefix) has none equal, and what starts with it lies behind it. */
static err_t locate_key(struct btree_cursor *cursor, const struct bookmark *at, bool upper,
                        struct spot *spot, bool *equal)
{
    bool found = true;
    TRY_RETURN(btree__descend(cursor->tree, DESCEND_KEY, at->key, LATCH_READ, &spot->leaf));
    spot->line = page_search(spot->leaf.page, at->key, equal);
    while (found && spot->line == page_line_count(spot->leaf.page)) {
        TRY_RETURN(cursor__sibling(cursor, spot, 1, &found));
        if (found)
            spot->line = page_search(spot->leaf.page, at->key, equal);
    }
    if (!upper || !*equal)
        return JET_errSuccess;
    cache_release(&spot->leaf);
    TRY_RETURN(btree__descend(cursor->tree, DESCEND_UPPER, at->key, LATCH_READ, &spot->leaf));
    return upper_line(spot->leaf.page, at->key, &spot->line);
}

err_t cursor__locate(struct btree_cursor *cursor, const struct bookmark *at, bool with_data,
                     bool upper, struct spot *spot, bool *equal)
{
    *equal = false;
    if (!cursor->tree->unique && !with_data)
        return locate_key(cursor, at, upper, spot, equal);
    TRY_RETURN(btree__descend(cursor->tree, DESCEND_KEY, at->joined, LATCH_READ, &spot->leaf));
    spot->line = btree__find_line(cursor->tree, spot->leaf.page, at, equal);
    if (upper && *equal)
        spot->line++;
    return JET_errSuccess;
}

err_t cursor__latch_own(struct btree_cursor *cursor, struct spot *spot, bool *equal)
{
    err_t err = JET_errSuccess;
    struct bookmark at = {0};

    if (cursor->place == BTREE_ON && cursor->frame != NULL &&
        cache_latch_hint(cursor->frame, cursor->tree->db, cursor->pgno, cursor->version,
                         &spot->leaf)) {
        spot->line = cursor->line;
        *equal = true;
        return JET_errSuccess;
    }
    btree__counters.retries++;
    cursor__forget_hint(cursor);
    TRY(cursor__bookmark(cursor, &at));
    TRY(cursor__locate(cursor, &at, true, false, spot, equal));
out:
    bookmark_term(&at);
    return err;
}

/* ---- seek ---- */

/* EQ, keys alone, non-unique: the first visible one among the equal. */
static err_t seek_among_equal(struct btree_cursor *cursor, struct spot *spot, struct slice key,
                              bool *found)
{
    bool more = true, exists = false;
    *found = false;
    while (more) {
        if (spot->line >= page_line_count(spot->leaf.page)) {
            TRY_RETURN(cursor__sibling(cursor, spot, 1, &more));
            continue;
        }
        struct node node;
        TRY_RETURN(page_node(spot->leaf.page, spot->line, &node));
        if (node_compare_key(&node, key) != 0)
            return JET_errSuccess;
        TRY_RETURN(cursor__load(cursor, spot->leaf.page, spot->line, false, &exists));
        if (exists) {
            cursor__stand(cursor, spot);
            *found = true;
            return JET_errSuccess;
        }
        spot->line++;
    }
    return JET_errSuccess;
}

static err_t seek_equal(struct btree_cursor *cursor, struct spot *spot, const struct bookmark *at,
                        bool with_data, bool equal, bool *found)
{
    *found = false;
    if (!equal)
        return JET_errSuccess;
    if (!cursor->tree->unique && !with_data)
        return seek_among_equal(cursor, spot, at->key, found);
    TRY_RETURN(cursor__load(cursor, spot->leaf.page, spot->line, false, found));
    if (*found)
        cursor__stand(cursor, spot);
    return JET_errSuccess;
}

/* Nothing there: the cursor is where the bookmark would be. */
static err_t miss(struct btree_cursor *cursor, struct slice key, struct slice data)
{
    TRY_RETURN(buffer_set(&cursor->key, key));
    TRY_RETURN(buffer_set(&cursor->mark, data));
    cursor->place = BTREE_BETWEEN;
    cursor__forget_hint(cursor);
    return RAISE(JET_errRecordNotFound);
}

err_t btree_seek(struct btree_cursor *cursor, struct slice key, struct slice data, bool with_data,
                 enum seek_mode mode, bool *exact)
{
    err_t err = JET_errSuccess;
    struct spot spot = {0};
    struct bookmark at = {0};
    uint8_t small[256], *copy = small;
    bool equal, found = false, upper = mode == SEEK_GT || mode == SEEK_LE;

    cursor__forget_hint(cursor);
    cursor->place = BTREE_NOWHERE;
    if (exact != NULL)
        *exact = false;
    if (!with_data || cursor->tree->unique)
        data = SLICE_EMPTY;
    /* the caller's slices may be the cursor's own bookmark */
    if (key.n + data.n > sizeof small && (copy = malloc(key.n + data.n)) == NULL)
        return RAISE(JET_errOutOfMemory);
    if (key.n != 0)
        memcpy(copy, key.p, key.n);
    if (data.n != 0)
        memcpy(copy + key.n, data.p, data.n);
    key = SLICE(copy, key.n);
    data = SLICE(copy + key.n, data.n);
    TRY(bookmark_init(&at, cursor->tree, key, data));
    TRY(cursor__locate(cursor, &at, with_data, upper, &spot, &equal));
    if (mode == SEEK_EQ) {
        TRY(seek_equal(cursor, &spot, &at, with_data, equal, &found));
    } else {
        int step = mode == SEEK_GE || mode == SEEK_GT ? 1 : -1;
        if (step < 0)
            spot.line--;
        spot.upper = mode == SEEK_LE && !with_data && !cursor->tree->unique;
        /* where a walk to the left starts again when it must let go */
        TRY(buffer_set(&cursor->key, key));
        TRY(buffer_set(&cursor->mark, data));
        TRY(cursor__walk(cursor, &spot, step, &found));
    }
    cache_release(&spot.leaf);
    if (!found)
        err = miss(cursor, key, data);
    else if (exact != NULL)
        *exact =
            slice_equal(buffer_slice(&cursor->key), key) &&
            (cursor->tree->unique || !with_data || slice_equal(buffer_slice(&cursor->mark), data));
out:
    cache_release(&spot.leaf);
    bookmark_term(&at);
    if (copy != small)
        free(copy);
    return err;
}

/* ---- refresh ---- */

err_t btree_refresh(struct btree_cursor *cursor)
{
    err_t err = JET_errSuccess;
    struct spot spot = {0};
    bool equal = false, exists = false;

    if (cursor->place != BTREE_ON)
        return RAISE(cursor->place == BTREE_BETWEEN ? JET_errRecordDeleted
                                                    : JET_errNoCurrentRecord);
    if (cursor->plain && cursor__is_current(cursor))
        return JET_errSuccess;
    TRY(cursor__latch_own(cursor, &spot, &equal));
    if (equal)
        TRY(cursor__load(cursor, spot.leaf.page, spot.line, false, &exists));
    if (!exists) {
        cursor->place = BTREE_BETWEEN;
        cursor__forget_hint(cursor);
        FAIL(JET_errRecordDeleted);
    }
    bool same = cursor->leaf_valid && cursor->frame == spot.leaf.frame &&
                cursor->version == spot.leaf.version;
    cursor__stand(cursor, &spot);
    cursor->leaf_valid = same;
out:
    cache_release(&spot.leaf);
    return err;
}
