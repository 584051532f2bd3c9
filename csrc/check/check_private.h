/* check, inside the room: one run over a database, the trees it has met, who holds which page. */
#ifndef CHECK_CHECK_PRIVATE_H
#define CHECK_CHECK_PRIVATE_H

#include "check/check.h"

#define CHECK_DEPTH_MAX 16    /* of a tree; no real one is half as deep */
#define CHECK_KEY_ROOM 16384u /* prefix and suffix are 13-bit lengths each */
#define CHECK_SAID_MOST                                                                            \
    40u /* findings of one kind about one tree that are told; the rest is counted */
#define CHECK_KINDS (CHECK_NOTE + 1)
#define CHECK_NAME_ROOM (3 * NAME_ROOM)
#define CHECK_PROCID 0x7FFEu /* never at level 1: nothing is logged under it */

enum {
    OBJECTS_ROOT = 4,
    OBJECTS_OBJID = 2,
    SHADOW_ROOT = 24,
    SHADOW_OBJID = 3
};
enum { ROW_TABLE = 1, ROW_INDEX = 3, ROW_LONG_VALUES = 4 };

enum check_hold { HOLD_TREE = 1, HOLD_SPACE, HOLD_AVAILABLE, HOLD_BUFFER };

/* A tree as the catalog describes it. */
struct check_tree {
    pgno_t root, parent;
    objid_t objid;
    uint32_t kind; /* PAGE_INDEX, PAGE_LONG_VALUE, or 0; PAGE_SPACE_TREE while a space tree of it is
                      walked */
    bool unique;
    char table[CHECK_NAME_ROOM];     /* UTF-8; "" */
    char part[CHECK_NAME_ROOM + 16]; /* "", "index x", "long values" */
    uint32_t number;                 /* > 0; names it in holders and owners */
    bool damaged;                    /* a page of it could not be read or makes no sense */
    uint64_t pages;
    uint32_t said[CHECK_KINDS];
};

/* A row of MSysObjects that names a tree. */
struct check_row {
    objid_t table, id;
    uint32_t type, flags;
    pgno_t root;
    bool tuples;
    char name[NAME_ROOM];
};

struct check {
    struct dbfile *db;
    const struct check_options *options;
    struct check_sum *sum;
    struct trx trx; /* at level 0: all that is committed */
    err_t stop;     /* the sink's or a progress callback's wish, or no memory */
    pgno_t page_count;
    bool clean;
    uint32_t *holder;          /* by page: tree number << 3 | enum check_hold */
    uint32_t *owner;           /* by page: number of the deepest tree that owns it */
    uint8_t *bad;              /* by page: its checksum is wrong, and that was told */
    struct check_tree **trees; /* [0] is number 1; they stay where they are */
    uint32_t tree_count, tree_room;
    struct check_row *rows; /* tables, indexes, long values, in key order */
    uint32_t row_count, row_room;
    uint32_t said[CHECK_KINDS]; /* of what belongs to no tree */
    uint64_t steps;             /* pages visited, for progress */
};

/* ---- telling (check.c) ---- */

/* Composes a finding and hands it to the sink. < 0 only when the run ends here. */
MUST_CHECK err_t check__tell(struct check *c, struct check_tree *tree, enum check_kind kind,
                             pgno_t pgno, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* An error met on the way becomes a finding with its detail; what must end the run (no memory, the
 * sink) comes back. */
MUST_CHECK err_t check__survive(struct check *c, struct check_tree *tree, enum check_kind kind,
                                pgno_t pgno, const char *what, err_t err);
/* Lower-case hex of at most some bytes, for texts. */
#define CHECK_HEX_ROOM 68
const char *check__hex(struct slice s, char hex[CHECK_HEX_ROOM]);

/* ---- trees (tree.c) ---- */

/* A node that is not deleted, in key order; the slices live until it returns. */
typedef err_t (*check_node_fn)(void *context, pgno_t pgno, struct slice key, struct slice data);
MUST_CHECK err_t check__tree_new(struct check *c, const struct check_tree *like,
                                 struct check_tree **out);
/* Walks a tree, verifies it, takes its pages as `hold`; fn may be NULL. quiet: neither tells nor
 * takes: a second pass. */
struct check_walk_want {
    struct check_tree *tree;
    pgno_t root; /* the tree's own, or of one of its space trees */
    enum check_hold hold;
    bool quiet;
    check_node_fn fn;
    void *context;
};
MUST_CHECK err_t check__walk(struct check *c, const struct check_walk_want *want);
/* A verified copy of a page into `to`; *ok = false when there is none (told unless quiet). */
MUST_CHECK err_t check__read(struct check *c, struct check_tree *tree, pgno_t pgno, bool quiet,
                             uint8_t *to, bool *ok);

/* ---- space (space.c) ---- */

/* The tree takes a page; false when another holds it already (told). */
MUST_CHECK err_t check__hold(struct check *c, struct check_tree *tree, enum check_hold how,
                             pgno_t pgno, bool *taken);
/* Space header, owned and available extents, split buffers. The parent's space is loaded already.
 */
MUST_CHECK err_t check__space(struct check *c, struct check_tree *tree);
/* After all trees: each page exactly once. */
MUST_CHECK err_t check__account(struct check *c);

/* ---- raw file (checksums.c) ---- */
MUST_CHECK err_t check__raw(struct check *c);

/* ---- catalog (catalog.c) ---- */
MUST_CHECK err_t check__catalog(struct check *c);

/* ---- records of a table, its long values and indexes (records.c, longvalues.c, indexes.c) ---- */

struct lid_map;
struct index_check {
    const struct table_index *index;
    struct check_tree *tree;
    bool keys_known;          /* our keys are the file's: not so for Windows' order of Unicode */
    bool complete;            /* each record has its entries there */
    uint64_t expected, found; /* entries */
    uint64_t expected_sum, found_sum; /* of hashes of key and bookmark (of the bookmark alone when
                                         keys are not known) */
    bool failed;                      /* entries of some record could not be told */
};
struct table_check {
    struct check *c;
    struct check_tree *tree;    /* of the records */
    struct check_tree *longval; /* NULL: none */
    struct table_desc *desc;
    struct lid_map *lids; /* references that records hold */
    bool deleted_columns; /* records may hold references that nobody can read any more */
    struct index_check *indexes;
    uint32_t index_count;
    uint64_t seed;      /* of the hashes */
    check_node_fn also; /* sees each record too; NULL */
    void *also_context;
    struct buffer plain;
    char hex[CHECK_HEX_ROOM];
};
/* The parts of the table that t names, in one pass each. */
MUST_CHECK err_t check__table(struct table_check *t);
MUST_CHECK err_t check__long_values(struct table_check *t);
MUST_CHECK err_t check__index_expect(struct table_check *t, struct index_check *x, struct slice key,
                                     struct slice record);
MUST_CHECK err_t check__index(struct table_check *t, struct index_check *x);

MUST_CHECK err_t lid_map__create(struct lid_map **out);
void lid_map__destroy(struct lid_map *map);
MUST_CHECK err_t lid_map__add(struct lid_map *map, uint64_t lid);
/* References to a value; marks it as existing. */
uint32_t lid_map__take(struct lid_map *map, uint64_t lid);
/* Values that nobody took; stops at the first error. */
MUST_CHECK err_t lid_map__visit_rest(const struct lid_map *map,
                                     err_t (*fn)(void *context, uint64_t lid), void *context);

#endif
