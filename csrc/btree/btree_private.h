/* btree, inside the room: descent, one leaf change from check to apply, building split pages, counters. */
#ifndef BTREE_PRIVATE_H
#define BTREE_PRIVATE_H

#include "btree/btree.h"
#include "btree/btree_format.h"

/* ---- bookmarks (search.c) ---- */

/* What a descent looks for. Branch pages are compared with `joined`: the key of unique trees, key and data as one string
 * in non-unique ones. */
struct bookmark {
    struct slice key, data; /* data is empty in unique trees */
    struct slice joined;    /* points to key, or into `memory` */
    struct buffer memory;
};
MUST_CHECK err_t bookmark_init(struct bookmark *b, const struct btree *tree, struct slice key, struct slice data);
void bookmark_term(struct bookmark *b);
/* The name of a node in the version store: data only in non-unique trees. */
struct version_key btree__where(const struct btree *tree, struct slice key, struct slice data);

bool btree__is_retired(struct dbfile *db, objid_t objid); /* registry.c */

/* ---- descent (search.c) ---- */

enum descend_to { DESCEND_KEY, DESCEND_UPPER /* behind all that starts with the key */, DESCEND_FIRST, DESCEND_LAST };
/* Latch-coupled from the root to the leaf; joined is used by KEY and UPPER. The leaf is latched in `mode`. */
MUST_CHECK err_t btree__descend(struct btree *tree, enum descend_to to, struct slice joined, enum latch_mode mode,
                                struct page_ref *leaf);
/* Is this page one of the tree's? JET_errDatabaseCorrupted when not. */
MUST_CHECK err_t btree__check_page(const struct btree *tree, const struct page_ref *ref);
/* Line of the bookmark in a leaf of its tree (key, or key and data); *equal tells whether it is there. */
int btree__find_line(const struct btree *tree, struct page page, const struct bookmark *b, bool *equal);
/* Latches `pgno` and checks that it is the tree's. */
MUST_CHECK err_t btree__latch(struct btree *tree, pgno_t pgno, enum latch_mode mode, unsigned how, struct page_ref *out);
/* A page by its number alone. out->frame NULL: it was never written, or (*damaged) is for its next reader to tell. */
MUST_CHECK err_t btree__latch_readable(struct dbfile *db, pgno_t pgno, enum latch_mode mode, struct page_ref *out, bool *damaged);

/* The way from the root to the leaf that holds a bookmark. Branch pages do not change while the split lock is held, so
 * pages are named, not latched. level[0] is the root, level[depth - 1] the leaf (line not set). */
struct tree_path {
    int depth;
    struct {
        pgno_t pgno;
        int line; /* of the child that was followed */
    } level[BTREE_DEPTH_MAX];
};
MUST_CHECK err_t btree__path(struct btree *tree, struct slice joined, struct tree_path *path);

/* The split lock; trees under their owner's space lock (btree_init_private) have none. */
void btree__lock_structure(struct btree *tree);
void btree__unlock_structure(struct btree *tree);
/* An inner transaction for space and structure work: trx->inner at level 1, or trx itself when it is one. */
struct inner_scope {
    struct trx *trx;
    bool begun;
};
MUST_CHECK err_t btree__inner_begin(struct trx *trx, struct inner_scope *scope);
MUST_CHECK err_t btree__inner_end(struct inner_scope *scope);

/* ---- one leaf change (change.c): logged, applied, published ---- */

/* A change of one node that was checked: the latch is held, the room is there, versions are reserved. */
struct change {
    unsigned type; /* LOG_Insert, FlagInsert, FlagInsertAndReplaceData, FlagDelete, Replace (ReplaceD when shorter),
                      Delete, Delta, SetExternalHeader */
    int line;
    struct slice key;  /* whole */
    struct slice data; /* new data; bookmark's data for Delta; tag 0 for SetExternalHeader */
    uint16_t offset;   /* Delta */
    int32_t delta;
    struct version *version; /* NULL: unversioned */
    struct version *second;  /* the replace of FlagInsertAndReplaceData */
    dbtime_t seen;           /* the leaf's dbtime when the change was checked; for btree__split */
    bool behind_all;         /* it is at the end of the tree: the leaf has no right neighbour */
    uint32_t shared;         /* inserts: 1 + page_share of the key on the latched leaf; 0: not known yet */
};
/* Marks dirty, logs, applies, publishes the versions. On failure nothing changed and the versions are cancelled. */
MUST_CHECK err_t btree__change(struct btree *tree, struct trx *trx, struct page_ref *leaf, struct change *change);
/* Splits the leaf of a change that does not fit and makes the change in the same macro (split.c). LOG_Undo: room for its
 * data is made, no more. No latch is held. *done = false: the change was not made (the leaf's state had moved on, or it
 * takes one more split) and the caller must look again. The versions are published or cancelled in any case. */
MUST_CHECK err_t btree__split(struct btree *tree, struct trx *trx, const struct bookmark *at, struct change *change, bool *done);
/* The record of a change and its bytes; `diff` is scratch for ReplaceD, PAGE_SIZE_MAX bytes. before: DBTIME_NIL in a macro. */
void btree__encode_change(const struct btree *tree, const struct trx *trx, const struct page_ref *leaf, const struct change *change,
                          dbtime_t before, uint8_t *diff, struct encoded *out);
/* No page could hold this node (or a separator made of it). */
bool btree__is_too_big(const struct btree *tree, struct slice key, struct slice data);
/* Does it publish a version of which a page on disk needs the UndoInfo? */
bool btree__needs_undo_info(const struct change *change);
void btree__cancel_change(struct change *change);
void btree__publish_change(struct trx *trx, struct change *change);

/* Removes the page's flag-deleted nodes that are settled (Delete records) and sets page_uncommitted_free to what versions
 * on the page may really take back (room.c). The leaf is write-latched. *changed: room may have grown, lines moved. */
MUST_CHECK err_t btree__make_room(struct btree *tree, struct trx *trx, struct page_ref *leaf, bool *changed);
/* May this node's data become so large? What is kept for its own rollbacks counts as room (room.c). */
MUST_CHECK err_t btree__can_replace(struct btree *tree, struct page page, int line, uint32_t size, bool *yes);
/* What rollbacks of uncommitted replaces on these lines may need beyond the present sizes. */
MUST_CHECK err_t btree__uncommitted_free(struct btree *tree, struct page page, int first, int last, uint32_t *out);

/* ---- apply (apply.c): the one place where pages change, for do and redo. Page dbtime is the caller's. Cannot fail: do has
 *      checked room and lines before it logged, redo before it applies. `versioned` sets NODE_VERSION. ---- */
void btree__apply_insert(struct page page, int line, struct slice key, uint32_t share, struct slice data, bool versioned);
void btree__apply_flag_insert(struct page page, int line, bool versioned);
/* Also raises page_uncommitted_free by what a versioned replace frees. */
void btree__apply_replace(struct page page, int line, struct slice data, bool versioned);
void btree__apply_flag_insert_replace(struct page page, int line, struct slice data, bool versioned);
void btree__apply_flag_delete(struct page page, int line, bool versioned);
void btree__apply_delete(struct page page, int line);
void btree__apply_delta(struct page page, int line, uint16_t offset, uint32_t size /* 4, 8 */, int64_t delta, bool versioned);
void btree__apply_external(struct page page, struct slice data);
/* Inverse of a version; a replace lowers page_uncommitted_free by what it takes. NODE_VERSION stays. */
void btree__apply_undo(struct page page, int line, const struct version_undo *u);
/* Freed page (log-format.md 7.6). */
void btree__apply_free(struct page page);

/* ---- split pages (apply.c) ---- */

/* The operation of a split: of the leaf record that follows, or on a branch page key = separator of the level below, data =
 * the split child's pgno as 4 bytes. */
struct split_operation {
    struct slice key, data; /* key whole */
    bool versioned;
    pgno_t child_new; /* branch pages: the node behind the inserted one gets this child; 0 on leaves */
};
/* Builds both pages that split record s makes of `before` into `source` and `fresh`: other memory, page size bytes each; .p
 * NULL: not wanted. Leaf links are set (source.next, new.prev, new.next); right.prev and every dbtime are the caller's; so is
 * the checksum. An error when lines or sizes do not fit (do calls it before it logs). Redo of an append may not know the
 * source any more: before.p = NULL, source.p = NULL; only what the operation itself puts on the new page is wanted then. */
MUST_CHECK err_t btree__build_split(const struct split_record *s, const struct split_operation *oper, struct page before,
                                    struct page source, struct page fresh);
/* Split2 with pgnoNew = 0: before the node that points to `child` comes (key -> child), that node then points to child_new.
 * line = that node's; room was checked. */
void btree__apply_branch_insert(struct page page, int line, struct slice key, pgno_t child, pgno_t child_new);

/* ---- counters ---- */
struct btree_counters {
    _Atomic uint64_t splits, merges, empty_pages, retries, undo_after_steal, macro_redone_half;
};
extern struct btree_counters btree__counters;

#endif
