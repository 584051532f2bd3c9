#ifndef SPACE_SPACE_PRIVATE_H
#define SPACE_SPACE_PRIVATE_H

#include "space/space.h"
#include "space/space_format.h"

#define EXTENT_SMALL 16u          /* a tree that owns fewer pages grows by EXTENT_GROW_SMALL */
#define EXTENT_GROW_SMALL 4u
#define EXTENT_GROW_MOST 1024u
#define FILE_GROW_LEAST 256u      /* pages; JET_paramDbExtensionSize's default */
#define FILE_GROW_MOST (4096u)
#define SPLIT_BUFFER_WANTED 8u    /* pages set aside for a space tree that may split */
#define SPLIT_BUFFER_LOW 4u
#define SPLIT_BUFFER_SIZE 16u

/* A tree's space while its space_lock is held: the header as it is on the root, and the two trees when there are. */
struct space_hold {
    struct btree *tree;
    struct trx *trx; /* inner, level 1 */
    struct space_header header;
    struct btree oe, ae; /* multiple extents only */
    bool open_trees;
};
MUST_CHECK err_t space__hold(struct btree *tree, struct trx *trx, struct space_hold *hold); /* takes the lock */
void space__let_go(struct space_hold *hold);
static inline bool space__is_multiple(const struct space_hold *hold)
{
    return (hold->header.flags & SPACE_MULTIPLE) != 0;
}
/* Opens the OE and AE trees named by hold->header. */
void space__open_trees(struct space_hold *hold);
MUST_CHECK err_t space__read_header(struct btree *tree, struct space_header *out);
MUST_CHECK err_t space__write_header(struct space_hold *hold); /* logged */

/* One extent tree (extent.c). Keys: last page, BE; data: count. */
struct extent_place {
    pgno_t last;
    uint32_t count;
};
static inline pgno_t extent_first(struct extent_place e)
{
    return e.last - e.count + 1;
}
MUST_CHECK err_t extent__insert(struct btree *tree, struct trx *trx, struct extent_place e);
MUST_CHECK err_t extent__resize(struct btree *tree, struct trx *trx, struct extent_place e); /* same key, new count; 0 removes it */
MUST_CHECK err_t extent__remove(struct btree *tree, struct trx *trx, pgno_t last);
/* The lowest extent with count >= wanted; else the largest with count >= least. count 0: none. */
MUST_CHECK err_t extent__find(struct btree *tree, struct trx *trx, uint32_t wanted, uint32_t least, struct extent_place *out);
/* The extent that ends at or after pgno (the one that holds it, if any does). count 0: none. */
MUST_CHECK err_t extent__at(struct btree *tree, struct trx *trx, pgno_t pgno, struct extent_place *out);
typedef err_t (*extent_fn)(void *context, struct extent_place e);
MUST_CHECK err_t extent__visit(struct btree *tree, struct trx *trx, extent_fn fn, void *context);

/* Taking and giving with the hold (pages.c). */
MUST_CHECK err_t space__take_run(struct space_hold *hold, uint32_t wanted, uint32_t least, struct extent_place *out);
MUST_CHECK err_t space__give_run(struct space_hold *hold, struct extent_place run);
MUST_CHECK err_t space__give_to(struct btree *tree, struct trx *trx, struct extent_place run); /* with a hold of its own */
MUST_CHECK err_t space__add_available(struct space_hold *hold, struct extent_place run); /* joined with its neighbours */

/* Growth (grow.c): gets the tree a further extent of at least `least` pages into OE and AE. */
MUST_CHECK err_t space__grow(struct space_hold *hold, uint32_t wanted, uint32_t least);
MUST_CHECK err_t space__log_extend(struct dbfile *db, struct trx *trx, pgno_t last);
MUST_CHECK err_t space__convert(struct space_hold *hold);
err_t space__no_parent(const struct btree *tree); /* the error */

/* Split buffers (split_buffer.c): the source of space trees. */
extern const struct page_source space__split_buffer_source;
MUST_CHECK err_t space__fill_split_buffers(struct space_hold *hold);
MUST_CHECK err_t space__feed_split_buffers(struct space_hold *hold, struct extent_place *run);
MUST_CHECK err_t space__visit_split_buffers(struct space_hold *hold, extent_fn fn, void *context); /* of a tree with space trees */

/* Page images of new trees, for do and redo (create.c). */
void space__format_root(struct page page, pgno_t root, objid_t objid, uint32_t page_flags, const struct space_header *h, dbtime_t dbtime);
void space__format_space_root(struct page page, pgno_t pgno, objid_t objid, uint32_t page_flags, dbtime_t dbtime);
void space__put_extent(struct page page, int line, struct extent_place e);
/* What ConvertFDP2 makes: the extents that become available (ascending), at most CONVERT_RUNS_MAX. */
#define CONVERT_RUNS_MAX 20
int space__convert_runs(const struct convert_record *r, struct extent_place runs[CONVERT_RUNS_MAX]);
void space__build_created(const struct create_record *r, struct page root, struct page oe, struct page ae, dbtime_t dbtime);
void space__build_converted(const struct convert_record *r, struct page root, struct page oe, struct page ae, dbtime_t dbtime);

#endif
