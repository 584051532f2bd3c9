/* btree, inside the room: what seek and scan share about a cursor. */
#ifndef BTREE_CURSOR_H
#define BTREE_CURSOR_H

#include "btree/btree_private.h"

/* A place on a latched leaf. */
struct spot {
    struct page_ref leaf;
    int line;   /* may be -1 or the line count: beyond this leaf's ends */
    bool upper; /* nothing was read yet, and the bookmark means all that has its key (seek LE, keys
                   alone) */
};

/* The cursor's own bookmark. */
MUST_CHECK err_t cursor__bookmark(const struct btree_cursor *cursor, struct bookmark *out);
/* First line at or behind (upper: behind) the bookmark, in the leaf where it belongs. with_data =
 * false compares keys alone; *equal: the line has the key (and data). Non-unique, keys alone: a
 * leaf without such a line is left for the next. */
MUST_CHECK err_t cursor__locate(struct btree_cursor *cursor, const struct bookmark *at,
                                bool with_data, bool upper, struct spot *spot, bool *equal);
/* Latches the leaf of the cursor's node: by hint, else by descent. *equal: spot->line is the node;
 * else the first behind it. */
MUST_CHECK err_t cursor__latch_own(struct btree_cursor *cursor, struct spot *spot, bool *equal);
/* Reads the node of a line as trx sees it: key, mark, data, plain. `page` is latched, or the
 * cursor's leaf copy while the node has no versions. in_leaf: the page is the leaf copy, data may
 * point into it. */
MUST_CHECK err_t cursor__load(struct btree_cursor *cursor, struct page page, int line, bool in_leaf,
                              bool *exists);
/* The cursor stands on spot's line, which was loaded; the leaf copy is not of this page. */
void cursor__stand(struct btree_cursor *cursor, const struct spot *spot);
void cursor__forget_hint(struct btree_cursor *cursor);
/* Has the hint's page stayed as it was? */
static inline bool cursor__is_current(const struct btree_cursor *cursor)
{
    return cursor->frame != NULL &&
           cache_still_valid(cursor->frame, cursor->tree->db, cursor->pgno, cursor->version);
}
static inline struct page cursor__leaf(const struct btree_cursor *cursor)
{
    return (struct page){cursor->leaf, cursor->tree->db->page_size};
}

/* From spot's line on in direction `step`, leaf after leaf, to the first node that trx sees; the
 * cursor then stands on it. *found = false: the end, and the cursor is before the first or after
 * the last. The latch is let go. (scan.c) */
MUST_CHECK err_t cursor__walk(struct btree_cursor *cursor, struct spot *spot, int step,
                              bool *found);
/* Copies a latched leaf into the cursor's own memory. */
MUST_CHECK err_t cursor__copy_leaf(struct btree_cursor *cursor, const struct page_ref *leaf);
/* Lets go of spot's leaf and latches the next or previous one; *found = false at the end of the
 * tree. step < 0 may come back with another place that the bookmark led to. */
MUST_CHECK err_t cursor__sibling(struct btree_cursor *cursor, struct spot *spot, int step,
                                 bool *found);

#endif
