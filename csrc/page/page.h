/* page: a page as bytes: header, node array, checksum; no I/O, no locks.
 *
 * Readers are memory-safe on ANY bytes: every accessor checks bounds before use and clamps, so that
 * a torn or hostile page gives wrong answers but never a wild access. Writers do not return errors:
 * they run on pages that passed page_validate, and ENFORCE what keeps their writes inside the page.
 */
#ifndef PAGE_PAGE_H
#define PAGE_PAGE_H

#include "base/base.h"

enum page_flag {
    PAGE_ROOT = 0x1,
    PAGE_LEAF = 0x2,
    PAGE_PARENT_OF_LEAF = 0x4,
    PAGE_EMPTY = 0x8,
    PAGE_SPACE_TREE = 0x20,
    PAGE_INDEX = 0x40,
    PAGE_LONG_VALUE = 0x80,
    PAGE_NON_UNIQUE = 0x400,
    PAGE_NEW_RECORD_FORMAT = 0x800,
    PAGE_NEW_CHECKSUM = 0x2000,
    PAGE_SCRUBBED = 0x4000,
    PAGE_FLUSH_TYPE_MASK = 0x18000,
};
enum node_flag { NODE_VERSION = 1, NODE_DELETED = 2, NODE_COMPRESSED = 4 };

#define PAGE_SIZE_MAX 32768u
#define PAGE_NODE_MAX(size) page_node_most(size)

/* A page in memory. Cheap: pass by value. */
struct page {
    uint8_t *p;
    uint32_t size;
};

static inline bool page_size_valid(uint32_t size)
{
    return size == 2048 || size == 4096 || size == 8192 || size == 16384 || size == 32768;
}
static inline bool page_is_large(struct page page)
{
    return page.size > 8192;
}
uint32_t page_node_most(uint32_t page_size); /* largest node, edb-format.md 4.4 */

/* header */
dbtime_t page_dbtime(struct page page);
void page_set_dbtime(struct page page, dbtime_t dbtime); /* of a change: the page is no longer PAGE_SCRUBBED */
pgno_t page_prev(struct page page);
pgno_t page_next(struct page page);
void page_set_prev(struct page page, pgno_t pgno);
void page_set_next(struct page page, pgno_t pgno);
objid_t page_objid(struct page page);
uint32_t page_flags(struct page page);
void page_set_flags(struct page page, uint32_t flags);
uint32_t page_free(struct page page);             /* cbFree: all free bytes */
uint32_t page_uncommitted_free(struct page page); /* part of it that a rollback may take back */
void page_set_uncommitted_free(struct page page, uint32_t n);
bool page_is_all_zero(struct page page);

/* Makes a fresh page: zero, then header; flags gets NEW_RECORD_FORMAT; tag 0 empty (section 7.2 of
 * log-format.md). */
void page_format(struct page page, pgno_t pgno, objid_t objid, uint32_t flags, dbtime_t dbtime);

/* ---- checksum ---- */

/* Whole-page check of what was read as page `pgno`. Corrects a single flipped bit in place when the
 * ECC allows (*corrected = true). Uninitialised (all zero) pages: JET_errPageNotInitialized. Else
 * JET_errReadVerifyFailure. */
MUST_CHECK err_t page_verify(struct page page, pgno_t pgno, bool *corrected);
/* Sets the checksum (and, on large pages, the page number): the last thing before a write. */
void page_seal(struct page page, pgno_t pgno);
/* Structure check of a verified page: tags within bounds, no overlap, cbFree exact, node fields,
 * key order. JET_errDatabaseCorrupted with a detail. */
MUST_CHECK err_t page_validate(struct page page);
/* XOR checksum of header-like blocks (database, log and checkpoint headers, trailer page). */
uint32_t checksum_xor(const void *block, uint32_t n);
/* 64-bit XOR+ECC checksum of one block; header_block: bytes 0-7 count as zero. Log segments use it
 * with 4096, isec. */
uint64_t checksum_ecc(const void *block, uint32_t n, uint32_t pgno, bool header_block);
/* Corrects one flipped bit of a block whose stored and computed checksums are given; false when it
 * cannot. */
bool checksum_ecc_correct(void *block, uint32_t n, uint64_t stored, uint64_t computed);

/* ---- nodes. line 0 is the first node; the external header is apart. ---- */

struct node {
    struct slice prefix; /* shared part of the key, points into the external header; empty when not
                            compressed */
    struct slice suffix; /* rest of the key */
    struct slice data;
    unsigned flags; /* enum node_flag */
};

int page_line_count(struct page page);
struct slice page_external(struct page page); /* tag 0 */
/* Prefix that nodes of this page may share: none on roots (space roots: tag 0 from byte 16 on),
 * else tag 0. */
struct slice page_prefix(struct page page);
/* JET_errDatabaseCorrupted when the line does not exist or its bytes make no node. */
MUST_CHECK err_t page_node(struct page page, int line, struct node *out);
static inline uint32_t node_key_size(const struct node *node)
{
    return node->prefix.n + node->suffix.n;
}
/* Copies the whole key; returns its size; room >= node_key_size. */
uint32_t node_key_copy(const struct node *node, uint8_t *to);
/* Compare the node's key with `key` (prefix order), and key+data with key+data as one string. */
int node_compare_key(const struct node *node, struct slice key);
int node_compare_key_data(const struct node *node, struct slice key, struct slice data);
/* Room that this node would take: tag, key counters, key and data; uses the page's prefix when it
 * saves. */
uint32_t page_node_cost(struct page page, struct slice key, struct slice data);
/* Bytes of `key` that a node of this page would share: common part with the page prefix if > 2,
 * else 0. */
uint32_t page_share(struct page page, struct slice key);
/* Is any of its nodes flag-deleted? */
bool page_has_deleted(struct page page);

/* First line whose key is >= key; line_count when none. *equal: that line's key equals.
 * On branch pages an empty separator is above every key (and equals none). */
int page_search(struct page page, struct slice key, bool *equal);
/* The same over key+data as one string, for non-unique trees. */
int page_search_key_data(struct page page, struct slice key, struct slice data, bool *equal);
/* Branch pages: the line of the child to follow for `bookmark` (key or key+data joined): first
 * separator > it; an empty key counts as infinity. */
int page_search_branch(struct page page, struct slice bookmark);
MUST_CHECK err_t page_child(struct page page, int line, pgno_t *child);

/* Writers. All keep cbFree and ibMicFree exact and compact when the hole is not at the end. They
 * never fail: callers ask for room first, and a page that came from disk has passed page_validate.
 * Slices handed in must not point into the page itself (a compaction moves its bytes), save the
 * prefix of page_change_prefix.
 *
 * page_can_insert and page_can_replace leave page_uncommitted_free alone, which belongs to
 * rollbacks: the rule for users. The _reserved forms are for who may use that room: rollbacks,
 * redo, splits and merges (all of it), and a replace by the transaction for which `own` bytes of it
 * were kept at this node (UINT32_MAX: all). The inserts are refused as well when the page holds
 * 4094 lines, the most that its header can count. */
bool page_can_insert(struct page page, struct slice key, struct slice data);
bool page_can_insert_share(struct page page, struct slice key, uint32_t share, struct slice data); /* share: page_share(key) */
bool page_can_insert_reserved(struct page page, struct slice key, struct slice data);
bool page_can_replace(struct page page, int line, uint32_t data_size);
bool page_can_replace_reserved(struct page page, int line, uint32_t data_size, uint32_t own);
/* Stores the key with page_share() bytes shared; of the flags VERSION and DELETED are taken. */
void page_insert(struct page page, int line, struct slice key, struct slice data,
                 unsigned node_flags);
void page_insert_share(struct page page, int line, struct slice key, uint32_t share, struct slice data,
                       unsigned node_flags);
void page_replace(struct page page, int line, struct slice data); /* key and flags stay */
void page_delete(struct page page, int line);
void page_set_node_flags(struct page page, int line, unsigned node_flags); /* VERSION, DELETED */
/* Replaces the whole of tag 0; nodes must not share a prefix that this changes. */
void page_set_external(struct page page, struct slice data);
void page_clear_nodes(struct page page); /* all lines; tag 0 stays */
/* Rebuilds the page with another prefix (non-root pages): same nodes, re-shared. They must fit: see
 * page_lines_cost. */
void page_change_prefix(struct page page, struct slice prefix);
/* The line of [first, last) whose key, as prefix, saves most bytes on them, its own copy counted;
 * -1 when none pays. */
int page_best_prefix(struct page page, int first, int last);
/* Bytes that the lines [first, last) take, tags included, on a page with this prefix. */
uint32_t page_lines_cost(struct page page, int first, int last, struct slice prefix);

/* The bytes of the data area that no tag holds, wherever they lie (wipe.c): what went is still to be read there. */
bool page_unused_is_zero(struct page page);
void page_wipe_unused(struct page page);

/* Space header and split buffer of tree roots (edb-format.md 7.2, 7.4). */
struct space_header {
    uint32_t cpg_primary;
    pgno_t parent;
    uint32_t flags; /* 1 multiple extents, 2 non-unique, 4 v2 */
    uint32_t avail_or_oe;
};
enum { SPACE_MULTIPLE = 1, SPACE_NON_UNIQUE = 2, SPACE_V2 = 4 };
/* Reads the 17 and 25 byte forms as well. */
MUST_CHECK err_t page_space_header(struct page root, struct space_header *out);
void space_header_store(const struct space_header *h, uint8_t to[16]);

#endif
