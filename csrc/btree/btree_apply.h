/* What redo asks of a page before it changes it, and the pages of merges. The changes themselves: btree_private.h.
 *
 * check_* say whether a record fits a page; a refusal means that log and database do not belong together
 * (JET_errLogOperationInconsistentWithDatabase). Nothing here sets a page's dbtime. */
#ifndef BTREE_BTREE_APPLY_H
#define BTREE_BTREE_APPLY_H

#include "btree/btree_format.h"
#include "btree/btree_private.h"

/* ---- one page, one node: Insert, FlagInsert, FlagInsertAndReplaceData, FlagDelete, Replace, ReplaceD, Delete, Delta,
 * Delta64, SetExternalHeader. In an Insert prefix and suffix lie end to end in memory. ---- */
struct slice btree__record_key(const struct node_record *r); /* the whole key that the record carries */
/* New data of a Replace (the record's own) or ReplaceD (made in scratch, PAGE_SIZE_MAX bytes, from the old data). */
MUST_CHECK err_t btree__record_after(const struct node_record *r, struct slice before, uint8_t *scratch, struct slice *after);
MUST_CHECK err_t btree__check_record(struct page page, const struct node_record *r);
/* after: of Replace and ReplaceD, else unused. */
void btree__apply_record(struct page page, const struct node_record *r, struct slice after);
MUST_CHECK err_t btree__check_undo(struct page page, int line, const struct version_undo *u);
/* EmptyTree: the root becomes an empty leaf. */
void btree__apply_emptied_root(struct page root);
/* Scrub: a page that no tree uses becomes an empty one, of others the named lines' data are overwritten; then what lies between
 * the lines is zeroed. The flag PAGE_SCRUBBED is set by the caller, after the dbtime. */
void btree__apply_scrub(struct page page, const struct node_record *r);
/* page_uncommitted_free := n, but never more than what is free. */
void btree__keep_free(struct page page, uint32_t n);

/* ---- split with pgno_new = 0: *line = where the pointer goes ---- */
MUST_CHECK err_t btree__check_branch_insert(struct page page, struct slice key, pgno_t child, int *line);
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
MUST_CHECK err_t btree__check_merge_source(struct page source, const struct merge_record *r);
/* Builds the page that takes the nodes into `out` (other memory) from both as they were. Types that move nodes only. */
MUST_CHECK err_t btree__build_merge_dest(struct page source, struct page dest, const struct merge_record *r, struct page out);
void btree__apply_merge_source(struct page source, const struct merge_record *r);
/* The neighbours' links; nothing when the merge is partial. .p NULL = left out. */
void btree__apply_merge_links(const struct merge_record *r, struct page left, struct page right);
/* An upper level. leaf: the leaf's record (separator, type, pgno_left). */
MUST_CHECK err_t btree__check_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf);
void btree__apply_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf);

/* "Page and record differ." */
err_t btree__mismatch(struct page page, const char *why);

#endif
