/* Moves and batches.
 *
 * From the second move in one direction on, the cursor copies the leaf once and serves what follows
 * from the copy while the page stays as it was: no latch, no search. A node with versions is read
 * under the latch again: whether a version is there and what the page holds must be of one moment.
 * The flag outlives the versions: that none is there is asked without a latch, before the page is
 * seen to be unchanged.
 */
#include "btree/cursor.h"

/* ---- leaves ---- */

err_t cursor__copy_leaf(struct btree_cursor *cursor, const struct page_ref *leaf)
{
    if (cursor->leaf == NULL) {
        cursor->leaf = malloc(leaf->page.size);
        if (cursor->leaf == NULL)
            return RAISE(JET_errOutOfMemory);
    }
    memcpy(cursor->leaf, leaf->page.p, leaf->page.size);
    return JET_errSuccess;
}

static err_t check_leaf(const struct btree *tree, const struct page_ref *leaf)
{
    if ((page_flags(leaf->page) & PAGE_LEAF) != 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("page %u of %s is linked as a leaf of tree %u and is none", leaf->pgno,
               tree->db->path, tree->objid);
    return err;
}

static err_t bad_links(const struct btree *tree, pgno_t left, pgno_t right)
{
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("leaves %u and %u of tree %u in %s are not linked both ways in order", left, right,
               tree->objid, tree->db->path);
    return err;
}

/* Linked both ways, and ascending from one to the other: so that damaged links never lead round in
 * a circle. */
static err_t check_neighbours(const struct btree *tree, const struct page_ref *left,
                              const struct page_ref *right)
{
    uint8_t key[PAGE_SIZE_MAX];
    struct node last, first;
    TRY_RETURN(check_leaf(tree, left));
    TRY_RETURN(check_leaf(tree, right));
    if (page_next(left->page) != right->pgno || page_prev(right->page) != left->pgno)
        return bad_links(tree, left->pgno, right->pgno);
    TRY_RETURN(page_node(left->page, page_line_count(left->page) - 1, &last));
    TRY_RETURN(page_node(right->page, 0, &first));
    struct slice low = SLICE(key, node_key_copy(&last, key));
    int c = tree->unique ? node_compare_key(&first, low)
                         : node_compare_key_data(&first, low, last.data);
    return c > 0 ? JET_errSuccess : bad_links(tree, left->pgno, right->pgno);
}

static err_t next_leaf(struct btree_cursor *cursor, struct spot *spot, bool *found)
{
    struct page_ref right = PAGE_REF_NONE;
    pgno_t pgno = page_next(spot->leaf.page);
    *found = pgno != PGNO_NIL;
    if (!*found)
        return JET_errSuccess;
    TRY_RETURN(btree__latch(cursor->tree, pgno, LATCH_READ, CACHE_WAIT, &right));
    err_t err = check_neighbours(cursor->tree, &spot->leaf, &right);
    if (err < 0) {
        cache_release(&right);
        return err;
    }
    cache_release(&spot->leaf);
    spot->leaf = right;
    spot->line = 0;
    pgno_t after = page_next(right.page);
    if (cursor->moves > 1 && after != PGNO_NIL)
        cache_prefetch(cursor->tree->db, after);
    return JET_errSuccess;
}

/* Against the latch order: by try, or let go and latch both from the left; if this leaf did not
 * stay as it was, the bookmark leads on. */
static err_t prev_leaf(struct btree_cursor *cursor, struct spot *spot, bool *found)
{
    err_t err = JET_errSuccess;
    struct page_ref left = PAGE_REF_NONE, here = spot->leaf;
    struct bookmark at = {0};
    pgno_t pgno = page_prev(spot->leaf.page);
    bool equal;

    *found = pgno != PGNO_NIL;
    if (!*found)
        return JET_errSuccess;
    err = cache_latch(cursor->tree->db, pgno, LATCH_READ, CACHE_TRY, &left);
    if (err == CACHE_WOULD_BLOCK) {
        left = PAGE_REF_NONE;
        cache_release(&spot->leaf);
        TRY(cache_latch(cursor->tree->db, pgno, LATCH_READ, CACHE_WAIT, &left));
        if (!cache_latch_hint(here.frame, cursor->tree->db, here.pgno, here.version, &spot->leaf)) {
            cache_release(&left);
            btree__counters.retries++;
            TRY(cursor__bookmark(cursor, &at));
            TRY(cursor__locate(cursor, &at, !spot->upper, spot->upper, spot, &equal));
            spot->line--;
            goto out;
        }
    }
    if (err < 0)
        goto out;
    TRY(btree__check_page(cursor->tree, &left));
    TRY(check_neighbours(cursor->tree, &left, &spot->leaf));
    cache_release(&spot->leaf);
    spot->leaf = left;
    spot->line = page_line_count(left.page) - 1;
    left = PAGE_REF_NONE;
out:
    cache_release(&left);
    bookmark_term(&at);
    return err < 0 ? err : JET_errSuccess;
}

err_t cursor__sibling(struct btree_cursor *cursor, struct spot *spot, int step, bool *found)
{
    return step > 0 ? next_leaf(cursor, spot, found) : prev_leaf(cursor, spot, found);
}

/* ---- walk ---- */

/* Within one leaf; *found = false: the line is beyond its end. */
static err_t walk_leaf(struct btree_cursor *cursor, struct spot *spot, int step, bool copy,
                       bool *found)
{
    int count = page_line_count(spot->leaf.page);
    struct page page = spot->leaf.page;
    *found = false;
    if (spot->line < 0 || spot->line >= count)
        return JET_errSuccess;
    if (copy) {
        TRY_RETURN(cursor__copy_leaf(cursor, &spot->leaf));
        page = cursor__leaf(cursor);
    }
    for (; !*found && spot->line >= 0 && spot->line < count; spot->line += step) {
        spot->upper = false;
        TRY_RETURN(cursor__load(cursor, page, spot->line, copy, found));
        if (*found)
            break;
    }
    if (*found) {
        cursor__stand(cursor, spot);
        cursor->leaf_valid = copy;
    }
    return JET_errSuccess;
}

err_t cursor__walk(struct btree_cursor *cursor, struct spot *spot, int step, bool *found)
{
    err_t err = JET_errSuccess;
    bool more = true, copy = cursor->moves > 1;

    *found = false;
    cursor->leaf_valid = false;
    while (more) {
        TRY(walk_leaf(cursor, spot, step, copy, found));
        if (*found)
            break;
        TRY(cursor__sibling(cursor, spot, step, &more));
    }
    if (!*found) {
        cursor->place = step > 0 ? BTREE_AFTER_LAST : BTREE_BEFORE_FIRST;
        cursor__forget_hint(cursor);
    }
out:
    cache_release(&spot->leaf);
    if (err < 0) {
        cursor->place = BTREE_NOWHERE;
        cursor__forget_hint(cursor);
    }
    return err;
}

/* ---- moves ---- */

static void count_move(struct btree_cursor *cursor, int step)
{
    if (cursor->direction != step) {
        cursor->direction = (int8_t)step;
        cursor->moves = 0;
    }
    if (cursor->moves < UINT8_MAX)
        cursor->moves++;
}

/* A living node without versions, in the leaf copy: what cursor__load would do, the hot path of
 * scans. */
static err_t take_plain(struct btree_cursor *cursor, const struct node *node)
{
    TRY_RETURN(buffer_reserve(&cursor->key, node_key_size(node)));
    cursor->key.n = node_key_copy(node, cursor->key.p);
    if (!cursor->tree->unique)
        TRY_RETURN(buffer_set(&cursor->mark, node->data));
    cursor->plain = true;
    cursor->data = node->data;
    return JET_errSuccess;
}

/* Has a node of the leaf copy no versions, as of a moment when the copy was the page? Its key is
 * put where the last batch lay, for the bookmark is still wanted when the answer is no. */
static err_t is_settled(struct btree_cursor *cursor, const struct node *node, bool *yes)
{
    *yes = (node->flags & NODE_VERSION) == 0;
    if (*yes)
        return JET_errSuccess;
    TRY_RETURN(buffer_reserve(&cursor->batch, node_key_size(node)));
    struct slice key = SLICE(cursor->batch.p, node_key_copy(node, cursor->batch.p));
    struct version_key where = btree__where(cursor->tree, key, node->data);
    *yes = version_none(cursor->tree->db->versions, &where) && cursor__is_current(cursor);
    return JET_errSuccess;
}

/* On along the leaf copy. *done = false: the copy is stale, ends here, or the next node has
 * versions. */
static err_t move_in_copy(struct btree_cursor *cursor, int step, bool *done)
{
    *done = false;
    if (!cursor->leaf_valid || !cursor__is_current(cursor))
        return JET_errSuccess;
    struct page page = cursor__leaf(cursor);
    int count = page_line_count(page);
    for (int line = cursor->line + step; line >= 0 && line < count; line += step) {
        struct node node;
        TRY_RETURN(page_node(page, line, &node));
        bool settled;
        TRY_RETURN(is_settled(cursor, &node, &settled));
        if (!settled)
            return JET_errSuccess;
        if ((node.flags & NODE_DELETED) != 0)
            continue;
        TRY_RETURN(take_plain(cursor, &node));
        cursor->line = line;
        *done = true;
        return JET_errSuccess;
    }
    return JET_errSuccess;
}

static err_t step_from(struct btree_cursor *cursor, int step, bool *found)
{
    struct spot spot = {0};
    bool equal;
    err_t err = cursor__latch_own(cursor, &spot, &equal);
    if (err < 0) {
        cache_release(&spot.leaf);
        return err;
    }
    if (step < 0 || equal)
        spot.line += step;
    return cursor__walk(cursor, &spot, step, found);
}

static err_t go_to_end(struct btree_cursor *cursor, enum descend_to to, int step, bool *found)
{
    struct spot spot = {0};
    cursor__forget_hint(cursor);
    cursor->key.n = cursor->mark.n = 0;
    TRY_RETURN(btree__descend(cursor->tree, to, SLICE_EMPTY, LATCH_READ, &spot.leaf));
    spot.line = step > 0 ? 0 : page_line_count(spot.leaf.page) - 1;
    return cursor__walk(cursor, &spot, step, found);
}

static err_t move(struct btree_cursor *cursor, int step)
{
    bool done = false, found = false;
    enum btree_place near = step > 0 ? BTREE_BEFORE_FIRST : BTREE_AFTER_LAST;

    if (cursor->place == near) {
        TRY_RETURN(go_to_end(cursor, step > 0 ? DESCEND_FIRST : DESCEND_LAST, step, &found));
    } else if (cursor->place == BTREE_ON || cursor->place == BTREE_BETWEEN) {
        count_move(cursor, step);
        if (cursor->place == BTREE_ON)
            TRY_RETURN(move_in_copy(cursor, step, &done));
        if (done)
            return JET_errSuccess;
        TRY_RETURN(step_from(cursor, step, &found));
    }
    return found ? JET_errSuccess : RAISE(JET_errNoCurrentRecord);
}

err_t btree_next(struct btree_cursor *cursor)
{
    return move(cursor, 1);
}

err_t btree_prev(struct btree_cursor *cursor)
{
    return move(cursor, -1);
}

err_t btree_first(struct btree_cursor *cursor)
{
    bool found;
    TRY_RETURN(go_to_end(cursor, DESCEND_FIRST, 1, &found));
    return found ? JET_errSuccess : RAISE(JET_errNoCurrentRecord);
}

err_t btree_last(struct btree_cursor *cursor)
{
    bool found;
    TRY_RETURN(go_to_end(cursor, DESCEND_LAST, -1, &found));
    return found ? JET_errSuccess : RAISE(JET_errNoCurrentRecord);
}

/* ---- batch ---- */

/* Keys and data are remembered by offset into cursor->batch while it grows; data of the leaf copy
 * by address. */
static err_t add_row(struct btree_cursor *cursor, struct btree_row *row)
{
    bool in_leaf = cursor->data.p >= cursor->leaf &&
                   cursor->data.p < cursor->leaf + cursor->tree->db->page_size;
    uint32_t at = cursor->batch.n;
    TRY_RETURN(buffer_append(&cursor->batch, buffer_slice(&cursor->key)));
    row->key = (struct slice){(const uint8_t *)(uintptr_t)at, cursor->key.n};
    row->data = cursor->data;
    if (in_leaf)
        return JET_errSuccess;
    row->data.p = NULL; /* behind the key in the batch's memory */
    return buffer_append(&cursor->batch, cursor->data);
}

static void settle_rows(struct btree_cursor *cursor, struct btree_row *rows, int count)
{
    for (int i = 0; i < count; i++) {
        rows[i].key.p = cursor->batch.p + (uintptr_t)rows[i].key.p;
        if (rows[i].data.p == NULL)
            rows[i].data.p = rows[i].key.p + rows[i].key.n;
    }
}

/* The rows of the leaf on which the cursor stands, from its line on; under the leaf's latch. */
static err_t fill_rows(struct btree_cursor *cursor, struct spot *spot, struct btree_row *rows,
                       int max, int *count)
{
    int last = -1, lines = page_line_count(spot->leaf.page);
    bool exists;
    TRY_RETURN(cursor__copy_leaf(cursor, &spot->leaf));
    struct page page = cursor__leaf(cursor);
    cursor->batch.n = 0;
    for (int line = spot->line; line < lines && *count < max; line++) {
        TRY_RETURN(cursor__load(cursor, page, line, true, &exists));
        if (!exists)
            continue;
        TRY_RETURN(add_row(cursor, &rows[*count]));
        (*count)++;
        last = line;
    }
    settle_rows(cursor, rows, *count);
    if (last < 0)
        return JET_errSuccess;
    spot->line = last;
    cursor__stand(cursor, spot);
    cursor->leaf_valid = true;
    TRY_RETURN(buffer_set(&cursor->key, rows[*count - 1].key));
    cursor->data = rows[*count - 1].data;
    if (!cursor->tree->unique)
        TRY_RETURN(buffer_set(&cursor->mark, cursor->data));
    return JET_errSuccess;
}

err_t btree_next_batch(struct btree_cursor *cursor, struct btree_row *rows, int max, int *count)
{
    err_t err = JET_errSuccess;
    struct spot spot = {0};
    bool equal;

    *count = 0;
    while (*count == 0 && max > 0) {
        if (cursor->place != BTREE_ON) {
            err_t moved = btree_next(cursor);
            if (moved == JET_errNoCurrentRecord)
                goto out;
            TRY(moved);
        }
        cursor->moves = 2; /* the scan goes on: copies and read-ahead pay */
        cursor->direction = 1;
        TRY(cursor__latch_own(cursor, &spot, &equal));
        TRY(fill_rows(cursor, &spot, rows, max, count));
        cache_release(&spot.leaf);
        if (*count == 0)
            cursor->place = BTREE_BETWEEN; /* the rest of this leaf is invisible */
    }
out:
    cache_release(&spot.leaf);
    return err;
}
