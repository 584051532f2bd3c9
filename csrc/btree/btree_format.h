/* What btree writes into the log: every record as a struct, its bytes, and back (log-format.md 6.2, 6.7, 6.8).
 *
 * Decoders are bounds-checked: bytes that do not make the record give JET_errLogFileCorrupt. Slices point into the
 * record. Encoders fill a log_record whose parts point into *out and into the slices of the struct: both must stay
 * where they are until log_append is over. dbtime is put in by log_append; the encoder writes the struct's. */
#ifndef BTREE_BTREE_FORMAT_H
#define BTREE_BTREE_FORMAT_H

#include "log/log.h"
#include "version/version.h"

#define BTREE_DEPTH_MAX 16 /* of a tree; deeper ones are refused as corrupt */

/* PAGE head, 32 bytes */
struct record_head {
    uint8_t type;
    uint16_t procid;
    dbid_t dbid;
    pgno_t pgno;
    dbtime_t dbtime;
    dbtime_t before; /* DBTIME_NIL: inside a macro, or a new page */
    uint32_t begin;
    uint8_t level;
    uint16_t line;
    uint8_t flags; /* LOG_FLAG_* */
};

/* Records with a NODE head (44 bytes): 29-39, 48, 64, 93. Members that a type does not have are zero. */
struct node_record {
    struct record_head head;
    uint32_t rceid;
    pgno_t root;
    objid_t objid;
    struct slice prefix; /* Insert: the bytes shared with the page prefix; others: empty */
    struct slice suffix; /* Insert: rest of the key; FlagInsert..., UndoInfo, Delta, Undo: the whole (bookmark) key */
    struct slice data;   /* Insert, FlagInsert..., Replace, SetExternalHeader: data; ReplaceD: the differences;
                            UndoInfo: before-image; EmptyTree: the page list; Scrub: the operations */
    struct slice bookmark_data; /* UndoInfo, Delta, Delta64, Undo */
    uint16_t old_size, new_size; /* Replace, ReplaceD */
    bool wide;                   /* ReplaceD: three-byte difference headers (pages above 8 KiB) */
    uint32_t rceid_replace;      /* FlagInsertAndReplaceData */
    uint16_t oper;               /* UndoInfo, Undo: enum version_oper */
    uint8_t level_undone;        /* Undo */
    int16_t max_size, delta_size; /* UndoInfo */
    int64_t delta;               /* Delta, Delta64 */
    uint16_t offset;             /* Delta, Delta64 */
    uint32_t scrub_flags, scrub_count; /* Scrub */
};
enum { SCRUB_UNUSED_PAGE = 1 };                                          /* scrub_flags */
enum scrub_oper { SCRUB_NOTHING = 0, SCRUB_RECORD = 1, SCRUB_CHUNK = 2 }; /* a byte a line */

enum split_type { SPLIT_VERTICAL = 0, SPLIT_RIGHT = 1, SPLIT_APPEND = 2 };
enum split_oper_kind { SPLIT_OPER_NONE = 0, SPLIT_OPER_INSERT = 1, SPLIT_OPER_REPLACE = 2, SPLIT_OPER_FLAG_INSERT_REPLACE = 3 };
enum image_flag { IMAGE_DEHYDRATED = 1, IMAGE_COMPRESSED = 2 };

/* One level of a split: Split2. pgno_new = 0: this page only gets the child's pointers. */
struct split_record {
    struct record_head head; /* head.pgno = the page split, head.before = its dbtime before; head.line unused (0) */
    pgno_t pgno_new, pgno_right, pgno_parent;
    dbtime_t right_before, parent_before; /* DBTIME_NIL when there is none */
    pgno_t root;
    objid_t objid;
    uint8_t type, oper;   /* enum split_type, enum split_oper */
    uint16_t line_oper;   /* where the operation goes, counted with it in place */
    uint16_t line_split;  /* lines from here on (operation included) go to the new page */
    uint16_t lines;       /* number of lines after the operation */
    uint32_t new_flags, split_flags; /* page flags of the new page, and of a vertically split page after */
    int16_t free_source, free_new;   /* cbUncommittedFree of both after, leaves only */
    int32_t prefix_line_split; /* line whose key becomes the source's prefix; -1 = none */
    int32_t prefix_line_new;   /* counted from line_split: line whose key becomes the new page's prefix; -1 = none */
    struct slice prefix_old, prefix_new; /* tag 0 of the source before and after: SPLIT_RIGHT only */
    struct slice separator; /* key in the parent between source and new page */
    uint32_t image_flags;
    struct slice image; /* the source page before, whole (image_flags 0); empty when no node moves */
};
/* A whole split, top level first as in the log; the last entry is the leaf (or the page where the split began). */
struct split_plan {
    int count;
    struct split_record level[BTREE_DEPTH_MAX];
};

enum merge_type { MERGE_NONE = 0, MERGE_EMPTY_PAGE = 1, MERGE_FULL_RIGHT = 2, MERGE_PARTIAL_RIGHT = 3, MERGE_FULL_LEFT = 5, MERGE_PARTIAL_LEFT = 6 };
enum merge_flag { MERGE_KEY_CHANGE = 1, MERGE_DELETE_NODE = 2, MERGE_EMPTY = 4 };

/* One level of a merge: Merge2. head.line = the line of the child's pointer in upper records. */
struct merge_record {
    struct record_head head;
    pgno_t pgno_right, pgno_left, pgno_parent;
    dbtime_t right_before, left_before, parent_before;
    pgno_t root;
    objid_t objid;
    uint16_t size_total, size_max_total, free_dest;
    uint16_t line_merge;
    uint8_t flags, type; /* enum merge_flag, enum merge_type */
    struct slice separator;
    uint32_t image_flags;
    struct slice image;
};
struct merge_plan {
    int count;
    struct merge_record level[BTREE_DEPTH_MAX];
};

/* MacroBegin, MacroCommit, MacroAbort */
struct macro_record {
    uint8_t type;
    uint16_t procid;
    dbtime_t dbtime;
};

struct page_move_record {
    struct record_head head; /* pgno = source */
    pgno_t pgno_dest, pgno_left, pgno_right, pgno_parent;
    dbtime_t left_before, right_before, parent_before;
    pgno_t root;
    objid_t objid;
    int32_t line_parent;
    uint32_t flags; /* 1 root, 2 owned tree, 4 available tree of a root move */
    struct slice image_head, image_tail;
};

struct new_page_record {
    uint16_t procid;
    dbid_t dbid;
    pgno_t pgno;
    objid_t objid;
    dbtime_t dbtime;
};

struct root_move_record {
    dbtime_t dbtime;
    dbid_t dbid;
    objid_t objid;
    uint16_t procid;
};

/* MacroInfo, MacroInfo2: hints; redo ignores them. */
struct macro_info_record {
    uint8_t type;
    dbid_t dbid; /* 1 in MacroInfo */
    struct slice pgnos;
};

/* An entry of EmptyTree's page list, 16 bytes. */
#define EMPTY_PAGE_SIZE 16u
struct empty_page {
    dbtime_t before;
    pgno_t pgno;
    uint32_t flags;
};
struct empty_page empty_page_load(const uint8_t *p);
void empty_page_store(const struct empty_page *e, uint8_t p[EMPTY_PAGE_SIZE]);

/* ---- decode ---- */
MUST_CHECK err_t btree_decode_head(struct slice record, struct record_head *out); /* types with a PAGE head */
MUST_CHECK err_t btree_decode_node(struct slice record, struct node_record *out);
MUST_CHECK err_t btree_decode_split(struct slice record, struct split_record *out);
MUST_CHECK err_t btree_decode_merge(struct slice record, struct merge_record *out);
MUST_CHECK err_t btree_decode_macro(struct slice record, struct macro_record *out);
MUST_CHECK err_t btree_decode_page_move(struct slice record, struct page_move_record *out);
MUST_CHECK err_t btree_decode_new_page(struct slice record, struct new_page_record *out);
MUST_CHECK err_t btree_decode_root_move(struct slice record, struct root_move_record *out);
MUST_CHECK err_t btree_decode_macro_info(struct slice record, struct macro_info_record *out);

/* ---- encode ---- */
#define BTREE_RECORD_HEAD_MAX 110u
struct encoded {
    struct log_record record; /* give a copy of it to log_append; its head and parts point into this struct */
    uint8_t head[BTREE_RECORD_HEAD_MAX + 2];
};
/* The head of a record of trx: procid, begin number, level; dbtime is the log's to give. */
struct record_head btree_record_head(const struct trx *trx, enum log_type type, dbid_t dbid, pgno_t pgno, dbtime_t before, int line, unsigned flags);
void btree_encode_node(const struct node_record *r, struct encoded *out);
void btree_encode_split(const struct split_record *r, struct encoded *out);
void btree_encode_merge(const struct merge_record *r, struct encoded *out);
void btree_encode_macro(const struct macro_record *r, struct encoded *out);
void btree_encode_page_move(const struct page_move_record *r, struct encoded *out);
void btree_encode_new_page(const struct new_page_record *r, struct encoded *out);
void btree_encode_root_move(const struct root_move_record *r, struct encoded *out);
void btree_encode_macro_info(const struct macro_info_record *r, struct encoded *out);
uint32_t btree_encoded_size(const struct encoded *e);
/* Copies the parts of an encoded record end to end; room >= btree_encoded_size. */
void btree_encoded_flatten(const struct encoded *e, uint8_t *to);

/* ---- page images of splits and merges ---- */
/* The page that an image holds, `page_size` bytes into `to` (room PAGE_SIZE_MAX), dbtime set back to `before`.
 * Raw, dehydrated, and Xpress-compressed images; other schemes give JET_errLogFileCorrupt with a detail. */
MUST_CHECK err_t btree_image_unpack(struct slice image, uint32_t image_flags, uint32_t page_size, dbtime_t before, uint8_t *to);

/* ---- differences of ReplaceD (log-format.md 7.5) ---- */
/* Differences from before to after into `to` (room bytes); 0 when they would not be smaller than `room`. Wide headers are
 * for pages above 8 KiB. Never fails. */
uint32_t btree_diff_make(struct slice before, struct slice after, bool wide, uint8_t *to, uint32_t room);
/* The data after, into `to` (room bytes); exactly after_size bytes or JET_errLogFileCorrupt. */
MUST_CHECK err_t btree_diff_apply(struct slice before, struct slice diff, bool wide, uint8_t *to, uint32_t room, uint32_t after_size);

#endif
