/* Changes of already latched pages: one function for do and redo.
 *
 * check_* say beforehand whether the change fits this page; on redo a refusal means that log and database do not belong
 * together (JET_errLogOperationInconsistentWithDatabase). apply_* and put_* never fail and set the page's dbtime.
 * Splits and merges are built in memory first (build_*, may fail), then put on the pages, each page by itself: at redo
 * some of them may be newer already. */
#ifndef BTREE_BTREE_APPLY_H
#define BTREE_BTREE_APPLY_H

#include "btree/btree_format.h"

/* Version operation and its before-image: what an Undo does to a node. */
struct undo_change {
    unsigned oper; /* enum version_oper */
    struct slice before;
    int64_t delta; /* as it was added */
    uint16_t offset;
};

/* ---- one page, one node: Insert, FlagInsert, FlagInsertAndReplaceData, FlagDelete, Replace, ReplaceD, Delete, Delta,
 * Delta64, SetExternalHeader. In an Insert prefix and suffix must lie end to end in memory. `after` = the whole new data of
 * Replace and ReplaceD (see btree__record_after), else unused. ---- */
MUST_CHECK err_t btree__check_node(struct page page, const struct node_record *r);
void btree__apply_node(struct page page, const struct node_record *r, struct slice after, dbtime_t dbtime);
struct slice btree__record_key(const struct node_record *r); /* the whole key that the record carries */
/* New data of a Replace (the record's own) or ReplaceD (made in scratch, PAGE_SIZE_MAX bytes, from the old data). */
MUST_CHECK err_t btree__record_after(const struct node_record *r, struct slice before, uint8_t *scratch, struct slice *after);

MUST_CHECK err_t btree__check_undo(struct page page, int line, const struct undo_change *u);
void btree__apply_undo(struct page page, int line, const struct undo_change *u, dbtime_t dbtime);

/* ---- whole pages ---- */
/* A freed page (log-format.md 7.6). */
void btree__apply_freed(struct page page, dbtime_t dbtime);
/* EmptyTree: the root becomes an empty leaf. */
void btree__apply_emptied_root(struct page root, dbtime_t dbtime);

/* ---- split ---- */
/* What a level must know of the split of the level below it. */
struct split_child {
    struct slice separator;
    pgno_t pgno, pgno_new;
};
/* The after-images of a split's (or a merge's) two pages, made before anything is logged. About 64 KiB: on the heap. */
struct page_build {
    uint8_t source[PAGE_SIZE_MAX];
    uint8_t other[PAGE_SIZE_MAX]; /* split: the new page; merge: the page that takes the nodes */
    uint8_t key[PAGE_SIZE_MAX];
    uint8_t data[PAGE_SIZE_MAX]; /* ReplaceD's result */
};
/* before: the source page as it was. leaf: the operation's node record when r->oper is not NONE at the last level; child: the
 * level below, at upper levels. The page itself is not touched; `out` must not overlap it. */
MUST_CHECK err_t btree__build_split(struct page before, const struct split_record *r, const struct split_child *child,
                                    const struct node_record *leaf, struct page_build *out);
/* Puts the after-images in place and links the pages. A page with .p NULL is left out. */
void btree__put_split(const struct split_record *r, const struct page_build *build, struct page source, struct page fresh, struct page right,
                      dbtime_t dbtime);
/* pgno_new = 0: the page only gets the separator and the new pointer. *line = where. */
MUST_CHECK err_t btree__check_parent(struct page page, const struct split_record *r, const struct split_child *child, int *line);
void btree__apply_parent(struct page page, int line, const struct split_child *child, dbtime_t dbtime);
/* Does this level carry an image of the source (log-format.md 7.4)? */
bool btree__split_needs_image(const struct split_record *r);

/* ---- merge ---- */
static inline bool merge_is_left(unsigned type)
{
    return type == MERGE_FULL_LEFT || type == MERGE_PARTIAL_LEFT;
}
static inline bool merge_moves(unsigned type)
{
    return type != MERGE_EMPTY_PAGE;
}
static inline bool merge_is_partial(unsigned type)
{
    return type == MERGE_PARTIAL_RIGHT || type == MERGE_PARTIAL_LEFT;
}
/* source and dest: as they are before; builds the after-image of dest only. Types that move nodes only. */
MUST_CHECK err_t btree__build_merge_dest(struct page source, struct page dest, const struct merge_record *r, struct page_build *out);
/* Each page of the leaf level by itself; .p NULL = left out. `build` may be NULL when dest is left out. */
MUST_CHECK err_t btree__check_merge_source(struct page source, const struct merge_record *r);
void btree__put_merge(const struct merge_record *r, const struct page_build *build, struct page source, struct page left, struct page right,
                      dbtime_t dbtime);
/* An upper level. leaf: the leaf's record (separator, type, pgno_left). build: scratch. */
MUST_CHECK err_t btree__check_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf);
void btree__apply_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf, dbtime_t dbtime);

/* For redo's checks: "page and record differ". */
err_t btree__mismatch(struct page page, const char *why);

#endif
