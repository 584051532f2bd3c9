/* btree: keys to bytes in pages: search, insert, replace, delete, split, merge; logs what it does and can redo it.
 *
 * Invariants
 *  1. Descent is latch-coupled: read latches down, the leaf in the wanted mode; a leaf that lacks room is let go and the
 *     split redoes the descent under the tree's split lock, with write latches top down (decision 17).
 *  2. The split lock of a tree is taken by splits and merges only; readers and plain updates never take it.
 *  3. A structure change is one macro: all pages write-latched, pages taken from the source before, one dbtime.
 *     UndoInfo of a page's nodes is logged before its nodes move (cache_log_undo_info).
 *  4. The root never moves. Leaves are linked both ways. Latching left or up only by try, else release and redo.
 *  5. do = latch, check, mark dirty, log, apply; redo = latch, compare dbtime, apply: one apply function for both.
 *  6. A flag-deleted node is removed only when version_is_settled. Every versioned change sets NODE_VERSION.
 *  7. page_uncommitted_free of a leaf >= what rollbacks of its versions may take back; it is re-derived at split, merge,
 *     clean-up and after recovery (log-format.md 12.5). */
#ifndef BTREE_BTREE_H
#define BTREE_BTREE_H

#include "cache/cache.h"

struct btree;

/* Socket: where pages come from and go to; filled by space. `trx` is an inner (unversioned) transaction at level 1.
 * Called without latches of the tree's ordinary pages held, under the tree's split lock. */
struct page_source {
    MUST_CHECK err_t (*take)(struct btree *tree, struct trx *inner, pgno_t near, pgno_t *out);
    MUST_CHECK err_t (*give)(struct btree *tree, struct trx *inner, pgno_t pgno); /* keeps in mind what it cannot take back */
    void (*forget)(struct btree *tree); /* the last user of the tree is gone: free tree->space; may be NULL */
};

/* One open tree, shared by all cursors on it (registry: btree_open). */
struct btree {
    struct dbfile *db;
    pgno_t root;
    objid_t objid;
    uint32_t page_flags;      /* kind flags of all its pages: PAGE_INDEX, PAGE_LONG_VALUE, PAGE_SPACE_TREE, PAGE_NON_UNIQUE */
    bool unique;
    struct btree *parent;     /* whose space this tree's space came from; NULL for the system root */
    const struct page_source *source;
    struct os_lock split_lock; /* RANK_SPLIT */
    struct os_lock space_lock; /* RANK_SPACE: its space trees */
    uint32_t refs;
    void *space;              /* space's own */
    _Atomic pgno_t last_leaf; /* hint for appends; checked before it is believed */
    struct list in_registry;
    bool is_private;          /* btree_init_private: guarded by its owner's space_lock, takes no split lock */
};

/* Set by space_init before any tree is opened. */
MUST_CHECK err_t btree_registry_create(struct dbfile *db, const struct page_source *source);
void btree_registry_destroy(struct dbfile *db);
/* The open tree of this root, read from the root page if it is not open yet (flags, objid, parent from the space header).
 * JET_errDatabaseCorrupted when the page is no root. */
MUST_CHECK err_t btree_open(struct dbfile *db, pgno_t root, struct btree **out);
void btree_close(struct btree *tree);
/* The same for a root that was read from the catalog a while ago: *out = NULL when the tree was dropped meanwhile. */
MUST_CHECK err_t btree_open_living(struct dbfile *db, pgno_t root, objid_t objid, struct btree **out);
/* The tree's space is about to be freed: btree_clean leaves it alone from now on. Waits until the caller's is the only
 * reference (the sweep may be at work in it); JET_errTableInUse when somebody keeps it. */
MUST_CHECK err_t btree_retire(struct btree *tree);
/* A private tree outside the registry, for space trees: initialised in place, source = split buffer socket. */
void btree_init_private(struct btree *tree, struct dbfile *db, pgno_t root, objid_t objid, uint32_t page_flags, bool unique,
                        const struct page_source *source);
void btree_term_private(struct btree *tree);

/* ---- cursor: a bookmark, a hint, and the bytes of the node it stands on ---- */
enum btree_place {
    BTREE_NOWHERE,
    BTREE_ON,           /* key and data are the node's, as trx sees it */
    BTREE_BETWEEN,      /* the node was deleted or not found; next and previous go to the neighbours of key */
    BTREE_BEFORE_FIRST,
    BTREE_AFTER_LAST,
};
/* Where the cursor's last insert went, when that is the end of the tree: while the page is as that left it, `key` is the tree's
 * greatest. Unique trees and keys of some length only. */
struct btree_end {
    struct frame *frame; /* NULL: not known */
    pgno_t pgno;
    uint32_t version, key_n;
    uint8_t key[64];
};
struct btree_cursor {
    struct btree *tree;
    struct trx *trx;      /* NULL or level 0: sees all commits */
    enum btree_place place;
    struct buffer key;    /* whole key */
    struct slice data;    /* as seen; points into the cursor's own memory, valid until the cursor's next call */
    struct buffer own;    /* data's memory when it is not in the leaf copy */
    struct buffer mark;   /* the bookmark's data, non-unique trees only */
    struct buffer batch;  /* keys and versioned data of the last batch */
    /* hint and leaf copy: btree's own */
    struct frame *frame;
    pgno_t pgno;
    uint32_t version;
    int line;
    uint8_t *leaf;        /* private copy of the leaf page, NULL until the second move in one direction */
    bool leaf_valid;      /* leaf is the page of {frame, pgno, version} */
    bool plain;           /* the node had no versions: while the page stays, so does the data */
    int8_t direction;     /* of the last moves, and how many there were in it */
    uint8_t moves;
    struct btree_end end;
};
void btree_cursor_init(struct btree_cursor *cursor, struct btree *tree, struct trx *trx);
void btree_cursor_term(struct btree_cursor *cursor);

enum seek_mode { SEEK_EQ, SEEK_GE, SEEK_GT, SEEK_LE, SEEK_LT };
/* key alone, or key and data (non-unique trees: a bookmark, compared as key then data). A key that is a proper prefix compares less.
 * EQ miss: JET_errRecordNotFound and the cursor is BETWEEN. GE/LE: *exact tells whether the key is equal. Nothing there:
 * JET_errRecordNotFound. with_data = false compares the key alone. */
MUST_CHECK err_t btree_seek(struct btree_cursor *cursor, struct slice key, struct slice data, bool with_data, enum seek_mode mode, bool *exact);
MUST_CHECK err_t btree_first(struct btree_cursor *cursor); /* JET_errNoCurrentRecord when empty (place AFTER_LAST) */
MUST_CHECK err_t btree_last(struct btree_cursor *cursor);
MUST_CHECK err_t btree_next(struct btree_cursor *cursor);  /* JET_errNoCurrentRecord at the end (place AFTER_LAST) */
MUST_CHECK err_t btree_prev(struct btree_cursor *cursor);
/* Reads data again as trx sees it now: JET_errRecordDeleted when it is gone. Cheap when nothing changed. */
MUST_CHECK err_t btree_refresh(struct btree_cursor *cursor);
void btree_cursor_copy(struct btree_cursor *to, const struct btree_cursor *from, err_t *err); /* bookmark and hint */

/* Batch: up to `max` visible nodes from the cursor's place on (the current one first), in order; slices live until the
 * cursor's next call. The cursor then stands on the last one. *count = 0 at the end. */
struct btree_row {
    struct slice key, data;
};
MUST_CHECK err_t btree_next_batch(struct btree_cursor *cursor, struct btree_row *rows, int max, int *count);
/* Estimated number of entries from the cursor to the end of `until` for sizing; exact counting is a scan. */

/* ---- changes. The cursor names tree and trx and lends its hint; trx level >= 1. ---- */
enum btree_how {
    BTREE_PLAIN = 0,
    BTREE_UNVERSIONED = 1, /* no version: inner transactions, system work, bulk build of a tree nobody else sees */
    BTREE_APPEND = 2,      /* the caller believes that it goes to the right end */
};
/* JET_errKeyDuplicate, JET_errWriteConflict, JET_errRecordTooBig (node larger than a page takes), JET_errVersionStoreOutOfMemory.
 * Non-unique trees: key and data are the bookmark; an equal one is JET_errKeyDuplicate too. */
MUST_CHECK err_t btree_insert(struct btree_cursor *cursor, struct slice key, struct slice data, unsigned btree_how);
/* The node of this bookmark; JET_errRecordDeleted, JET_errWriteConflict. Unique trees only. Logs Replace or ReplaceD, the shorter. */
MUST_CHECK err_t btree_replace(struct btree_cursor *cursor, struct slice key, struct slice data, unsigned btree_how);
/* data: the bookmark's second half, non-unique trees only. Versioned: flag delete; unversioned: the node is removed. */
MUST_CHECK err_t btree_delete(struct btree_cursor *cursor, struct slice key, struct slice data, unsigned btree_how);
/* Adds to a 32-bit (or 64-bit) number in the node's data: no write conflict among adders. *before may be NULL. */
MUST_CHECK err_t btree_delta(struct btree_cursor *cursor, struct slice key, uint16_t offset, int32_t delta, int32_t *before);
/* A write lock without a change (JetGetLock, prepared replace). */
MUST_CHECK err_t btree_lock(struct btree_cursor *cursor, struct slice key, struct slice data);

/* ---- for txn: undo and clean-up ---- */
/* Undoes one version of trx: finds its node, logs Undo, applies the inverse; the caller removes the version. */
MUST_CHECK err_t btree_undo(struct dbfile *db, struct trx *trx, const struct version_undo *u);
/* Settled delete (or undone insert): removes the node if it is still flag-deleted, then merges or frees a page that got empty
 * or nearly so (decision 17: merge types 1, 2, 3), giving pages back. trx: the sweeper's, level 1 unversioned.
 * Clears NODE_VERSION where nothing is left. Not finding it is success. */
MUST_CHECK err_t btree_clean(struct dbfile *db, struct trx *trx, const struct version_key *where);
/* The same for whatever settled deleted nodes this leaf holds. A page of another tree by now, or that cannot be read, is success. */
MUST_CHECK err_t btree_clean_page(struct dbfile *db, struct trx *trx, const struct version_page *where);

/* ---- scrubbing: what was deleted cannot be read any more ---- */
struct btree_scrub {
    struct trx *trx;  /* level 1 unversioned, with an inner one */
    dbtime_t began;   /* a page that changed later is not taken for unused */
    pgno_t (*root_of)(void *context, objid_t objid); /* PGNO_NIL: not known, the page is left alone */
    void *context;
    uint32_t pages, unused, nodes; /* sums: pages in use and pages of no tree that were wiped; nodes taken away */
    uint32_t unread;               /* pages that cannot be read soundly: left alone, the copy tells */
};
/* One page: settled deleted nodes go (btree_clean), those that must stay lose their data, free bytes become zero. `unused`: the
 * space trees said so after `began`. Pages of space trees hold numbers only and are left alone. */
MUST_CHECK err_t btree_scrub_page(struct dbfile *db, pgno_t pgno, bool unused, struct btree_scrub *scrub);

/* ---- raw page work for space (roots, headers); inner transactions ---- */
/* Sets tag 0 of a root: logs SetExternalHeader. The root is write-latched by the caller. */
MUST_CHECK err_t btree_set_external(struct btree *tree, struct trx *trx, struct page_ref *root, struct slice data);
/* Visits every page of a tree: branch pages are read, leaves only named (or read when read_leaves). */
typedef err_t (*btree_visit_fn)(void *context, pgno_t pgno, struct page page /* .p NULL for unread leaves */, int depth);
MUST_CHECK err_t btree_visit(struct btree *tree, bool read_leaves, btree_visit_fn visit, void *context);
/* Every page that the tree points to, while others use it: splits and merges wait until it is over. */
MUST_CHECK err_t btree_visit_still(struct btree *tree, btree_visit_fn visit, void *context);

/* ---- redo ---- */
/* What recovery knows when it redoes a record. */
struct redo {
    struct dbfile *db;
    struct trx *trx;          /* of the record's procid; has seen its Begin0 */
    lgpos_t at, end;
    bool in_range;            /* pages may be newer than the record (log-format.md 8.4) */
    uint64_t *applied, *skipped;
};
/* One single-page record (29-35, 37, 93, 38, 39, 36, 48, 64, 95): dbtime rule, apply, rebuild its version. */
MUST_CHECK err_t btree_redo(struct redo *redo, struct slice record);
/* A whole macro between MacroBegin and MacroCommit: Split2, Merge2, PageMove, node records, in order. */
MUST_CHECK err_t btree_redo_macro(struct redo *redo, const struct slice *records, int count);
/* dbtime rule of 8.4 for one page: *needed, or JET_errDbTimeTooOld / JET_errDbTimeTooNew / ... */
MUST_CHECK err_t btree_redo_needed(struct redo *redo, struct page page, dbtime_t dbtime, dbtime_t before, bool *needed);

struct btree_stats {
    uint64_t splits, merges, empty_pages, retries, undo_after_steal, macro_redone_half;
};
void btree_stats(struct btree_stats *out); /* process-wide counters */

#endif
