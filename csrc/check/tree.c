/* The walk over one tree: every page, every rule of edb-format.md 6 that needs more than one page.
 */
#include <stdio.h>

#include "check/check_private.h"

#define PAGE_PRE_INIT 0x20000u
#define PAGE_FDP_DELETE 0x40000u

/* What one level of the walk owns. */
struct level {
    uint8_t page[PAGE_SIZE_MAX];
    uint8_t bound[2]
                 [CHECK_KEY_ROOM]; /* separators before and behind the child that is being walked */
};

struct walk {
    struct check *c;
    const struct check_walk_want *want;
    struct check_tree *tree;
    uint32_t kind;
    bool unique;
    struct level *level[CHECK_DEPTH_MAX];
    uint8_t key[CHECK_KEY_ROOM];
    int leaf_depth;    /* -1: no leaf yet */
    pgno_t last_leaf;  /* 0: none yet */
    pgno_t last_next;  /* its right neighbour, as it says */
    bool chain_broken; /* a leaf was missing: the next one's left neighbour is not known */
    uint64_t pages;    /* a quiet walk's bound */
};

/* The interval [low, high) of a page's keys; p NULL: open. */
struct range {
    struct slice low, high;
};

err_t check__tree_new(struct check *c, const struct check_tree *like, struct check_tree **out)
{
    *out = NULL;
    if (c->tree_count == c->tree_room) {
        uint32_t room = c->tree_room == 0 ? 64 : 2 * c->tree_room;
        struct check_tree **grown = realloc(c->trees, room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        c->trees = grown;
        c->tree_room = room;
    }
    struct check_tree *tree = malloc(sizeof *tree);
    if (tree == NULL)
        return RAISE(JET_errOutOfMemory);
    *tree = *like;
    c->trees[c->tree_count++] = tree;
    tree->number = c->tree_count;
    *out = tree;
    return JET_errSuccess;
}

static err_t step(struct check *c)
{
    if (c->options->progress == NULL || ++c->steps % 256 != 0)
        return JET_errSuccess;
    uint32_t done = c->steps < c->page_count ? (uint32_t)c->steps : c->page_count;
    err_t err = c->options->progress(c->options->progress_context, done, c->page_count);
    if (err < 0)
        c->stop = err;
    return c->stop;
}

static err_t tell_unread(struct check *c, struct check_tree *tree, pgno_t pgno, err_t err)
{
    if (err == JET_errReadVerifyFailure && c->bad[pgno])
        return JET_errSuccess; /* told when the file was read through */
    if (err == JET_errPageNotInitialized)
        return check__tell(c, tree, CHECK_PAGE, pgno, "page %u is in use but was never written",
                           pgno);
    return check__survive(c, tree, err == JET_errReadVerifyFailure ? CHECK_CHECKSUM : CHECK_PAGE,
                          pgno, "page cannot be read", err);
}

err_t check__read(struct check *c, struct check_tree *tree, pgno_t pgno, bool quiet, uint8_t *to,
                  bool *ok)
{
    *ok = false;
    if (pgno == PGNO_NIL || pgno > c->page_count) {
        tree->damaged = true;
        return quiet ? JET_errSuccess
                     : check__tell(c, tree, CHECK_TREE, PGNO_NIL, "names page %u of %u", pgno,
                                   c->page_count);
    }
    struct page_ref ref = PAGE_REF_NONE;
    err_t err = cache_latch(c->db, pgno, LATCH_READ, CACHE_COLD, &ref);
    if (err < 0) {
        tree->damaged = true;
        if (err == JET_errOutOfMemory)
            return c->stop = err;
        return quiet ? JET_errSuccess : tell_unread(c, tree, pgno, err);
    }
    memcpy(to, ref.page.p, ref.page.size);
    cache_release(&ref);
    *ok = true;
    if (quiet)
        return JET_errSuccess;
    err = page_validate((struct page){to, c->db->page_size});
    if (err < 0)
        tree->damaged = true;
    char what[32] = "";
    snprintf(what, sizeof what, "page %u", pgno);
    return check__survive(c, tree, CHECK_PAGE, pgno, what, err);
}

/* ---- what one page must be here ---- */

static err_t check_flags(struct walk *w, struct page page, pgno_t pgno, int depth)
{
    struct check *c = w->c;
    uint32_t flags = page_flags(page);
    if (page_objid(page) != w->tree->objid)
        TRY_RETURN(check__tell(c, w->tree, CHECK_TREE, pgno, "page %u belongs to object %u, not %u",
                               pgno, page_objid(page), w->tree->objid));
    if (((flags & PAGE_ROOT) != 0) != (depth == 0))
        TRY_RETURN(check__tell(c, w->tree, CHECK_TREE, pgno,
                               "page %u: the root flag is wrong (flags 0x%x)", pgno, flags));
    if ((flags & (PAGE_SPACE_TREE | PAGE_INDEX | PAGE_LONG_VALUE)) != w->kind)
        TRY_RETURN(check__tell(c, w->tree, CHECK_TREE, pgno,
                               "page %u: flags 0x%x are of another kind of tree", pgno, flags));
    if ((flags & (PAGE_EMPTY | PAGE_PRE_INIT | PAGE_FDP_DELETE)) != 0)
        TRY_RETURN(check__tell(c, w->tree, CHECK_TREE, pgno,
                               "page %u: flags 0x%x are of a page out of use", pgno, flags));
    if ((w->kind & PAGE_SPACE_TREE) == 0 && ((flags & PAGE_NON_UNIQUE) != 0) == w->tree->unique)
        TRY_RETURN(check__tell(c, w->tree, CHECK_TREE, pgno,
                               "page %u: the flag of repeated keys is wrong (flags 0x%x)", pgno,
                               flags));
    if (c->clean && page_dbtime(page) > c->db->header.dbtime)
        TRY_RETURN(check__tell(c, w->tree, CHECK_PAGE, pgno,
                               "page %u is newer than the database header", pgno));
    return JET_errSuccess;
}

/* The page's lines against the separators that lead to it; lines are in order among themselves
 * (page_validate). */
static err_t check_bounds(struct walk *w, struct page page, pgno_t pgno, const struct range *range)
{
    int count = page_line_count(page);
    bool leaf = (page_flags(page) & PAGE_LEAF) != 0, joined = leaf && !w->unique;
    struct node first, last;
    if (count == 0 || page_node(page, 0, &first) < 0 || page_node(page, count - 1, &last) < 0)
        return JET_errSuccess; /* damage inside the page was told */
    struct slice low = range->low, high = range->high;
    int below =
        joined ? node_compare_key_data(&first, low, SLICE_EMPTY) : node_compare_key(&first, low);
    bool endless = !leaf && node_key_size(&first) == 0; /* a lone child without a separator */
    if (low.p != NULL && !endless && below < 0)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                               "page %u begins below its separator", pgno));
    if (!leaf) {
        if (node_key_size(&last) != 0 && (high.p == NULL || node_compare_key(&last, high) != 0))
            TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                                   "page %u: the last separator is neither empty nor its parent's",
                                   pgno));
        if (count == 1 || page_node(page, count - 2, &last) < 0)
            return JET_errSuccess;
    }
    int above =
        joined ? node_compare_key_data(&last, high, SLICE_EMPTY) : node_compare_key(&last, high);
    if (high.p != NULL && above >= 0)
        return check__tell(w->c, w->tree, CHECK_TREE, pgno, "page %u goes beyond its separator",
                           pgno);
    return JET_errSuccess;
}

static err_t check_chain(struct walk *w, struct page page, pgno_t pgno)
{
    bool known = !w->chain_broken;
    if (known && page_prev(page) != w->last_leaf)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                               "page %u: its left neighbour is %u, it says %u", pgno, w->last_leaf,
                               page_prev(page)));
    if (known && w->last_leaf != PGNO_NIL && w->last_next != pgno)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, w->last_leaf,
                               "page %u: its right neighbour is %u, it says %u", w->last_leaf, pgno,
                               w->last_next));
    w->last_leaf = pgno;
    w->last_next = page_next(page);
    w->chain_broken = false;
    return JET_errSuccess;
}

static err_t check_leaf(struct walk *w, struct page page, pgno_t pgno, int depth)
{
    TRY_RETURN(check_chain(w, page, pgno));
    if (w->leaf_depth < 0)
        w->leaf_depth = depth;
    if (depth != w->leaf_depth)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                               "page %u is a leaf at depth %d, others are at %d", pgno, depth,
                               w->leaf_depth));
    if (depth > 0 && page_line_count(page) == 0)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno, "page %u is an empty leaf", pgno));
    return JET_errSuccess;
}

static err_t check_branch(struct walk *w, struct page page, pgno_t pgno)
{
    if (page_prev(page) != PGNO_NIL || page_next(page) != PGNO_NIL)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                               "page %u is no leaf and has neighbours", pgno));
    if (page_line_count(page) == 0)
        TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                               "page %u is a branch without children", pgno));
    return JET_errSuccess;
}

/* ---- the way ---- */

static err_t visit_nodes(struct walk *w, struct page page, pgno_t pgno)
{
    int count = w->want->fn == NULL ? 0 : page_line_count(page);
    for (int line = 0; line < count; line++) {
        struct node node;
        if (page_node(page, line, &node) < 0 || (node.flags & NODE_DELETED) != 0)
            continue;
        uint32_t n = node_key_copy(&node, w->key);
        TRY_RETURN(w->want->fn(w->want->context, pgno, SLICE(w->key, n), node.data));
    }
    return JET_errSuccess;
}

static err_t walk_page(struct walk *w, pgno_t pgno, int depth, struct range range,
                       int above_leaves);

static err_t walk_children(struct walk *w, struct page page, int depth, struct range range)
{
    struct level *level = w->level[depth];
    int count = page_line_count(page), above_leaves = (page_flags(page) & PAGE_PARENT_OF_LEAF) != 0;
    struct range child_range = {range.low, range.high};
    unsigned turn = 0;
    for (int line = 0; line < count; line++) {
        struct node node;
        pgno_t child;
        if (page_node(page, line, &node) < 0 || page_child(page, line, &child) < 0) {
            w->tree->damaged = w->chain_broken = true;
            continue; /* page_validate has told */
        }
        uint8_t *bound = level->bound[turn++ % 2]; /* the other one holds child_range.low */
        uint32_t n = node_key_copy(&node, bound);
        child_range.high = line == count - 1 || n == 0 ? range.high : SLICE(bound, n);
        TRY_RETURN(walk_page(w, child, depth + 1, child_range, above_leaves));
        child_range.low = child_range.high;
    }
    return JET_errSuccess;
}

/* *go: the page was read and is the walk's own. */
static err_t enter_page(struct walk *w, pgno_t pgno, int depth, bool *go)
{
    bool quiet = w->want->quiet;
    *go = false;
    TRY_RETURN(step(w->c));
    if (depth >= CHECK_DEPTH_MAX || ++w->pages > w->c->page_count) {
        w->tree->damaged = true;
        return quiet ? JET_errSuccess
                     : check__tell(w->c, w->tree, CHECK_TREE, pgno, "page %u lies too deep", pgno);
    }
    if (w->level[depth] == NULL)
        w->level[depth] = malloc(sizeof *w->level[depth]);
    if (w->level[depth] == NULL)
        return w->c->stop = RAISE(JET_errOutOfMemory);
    if (!quiet && pgno != PGNO_NIL && pgno <= w->c->page_count) {
        bool taken;
        TRY_RETURN(check__hold(w->c, w->tree, w->want->hold, pgno, &taken));
        if (!taken) {
            w->tree->damaged = true;
            return JET_errSuccess;
        }
        w->tree->pages++;
    }
    return check__read(w->c, w->tree, pgno, quiet, w->level[depth]->page, go);
}

static err_t walk_page(struct walk *w, pgno_t pgno, int depth, struct range range, int above_leaves)
{
    bool go;
    TRY_RETURN(enter_page(w, pgno, depth, &go));
    if (!go) {
        w->chain_broken = true;
        return JET_errSuccess;
    }
    struct page page = {w->level[depth]->page, w->c->db->page_size};
    bool leaf = (page_flags(page) & PAGE_LEAF) != 0;
    if (!w->want->quiet) {
        TRY_RETURN(check_flags(w, page, pgno, depth));
        TRY_RETURN(check_bounds(w, page, pgno, &range));
        if (above_leaves >= 0 && leaf != (above_leaves != 0))
            TRY_RETURN(check__tell(w->c, w->tree, CHECK_TREE, pgno,
                                   "page %u: its parent's flag on the kind of children is wrong",
                                   pgno));
        TRY_RETURN(leaf ? check_leaf(w, page, pgno, depth) : check_branch(w, page, pgno));
    }
    return leaf ? visit_nodes(w, page, pgno) : walk_children(w, page, depth, range);
}

err_t check__walk(struct check *c, const struct check_walk_want *want)
{
    bool space = want->hold == HOLD_SPACE;
    struct walk *w = calloc(1, sizeof *w);
    if (w == NULL)
        return c->stop = RAISE(JET_errOutOfMemory);
    w->c = c;
    w->want = want;
    w->tree = want->tree;
    w->kind = want->tree->kind | (space ? PAGE_SPACE_TREE : 0);
    w->unique = space || want->tree->unique;
    w->leaf_depth = -1;
    err_t err = walk_page(w, want->root, 0, (struct range){SLICE_EMPTY, SLICE_EMPTY}, -1);
    if (err >= 0 && !want->quiet && !w->chain_broken && w->last_leaf != PGNO_NIL &&
        w->last_next != PGNO_NIL)
        err = check__tell(c, w->tree, CHECK_TREE, w->last_leaf,
                          "page %u is the last leaf and names %u as its right neighbour",
                          w->last_leaf, w->last_next);
    for (int i = 0; i < CHECK_DEPTH_MAX; i++)
        free(w->level[i]);
    free(w);
    return err;
}
