#include "space/space_private.h"

/* After a recovery: pages that a tree owns and nobody uses become available again (decision 8). A crash can leave them between
 * taking a page and logging the split that uses it, or between unlinking a page and giving it back. */

struct page_set { /* one bit a page of the file */
    uint8_t *bits;
    pgno_t last;
};

static err_t set_add(struct page_set *set, pgno_t first, uint32_t count)
{
    if (first == 0 || count > set->last || first > set->last - count + 1) {
        err_t err = RAISE(JET_errDatabaseCorrupted);
        err_detail("pages %u..%u lie behind the end of the database", first, first + count - 1);
        return err;
    }
    for (pgno_t p = first; p < first + count; p++)
        bit_set(set->bits, p);
    return JET_errSuccess;
}

static bool set_has(const struct page_set *set, pgno_t pgno)
{
    return pgno <= set->last && bit_has(set->bits, pgno);
}

static err_t add_used_page(void *context, pgno_t pgno, struct page page, int depth)
{
    (void)page;
    (void)depth;
    return set_add(context, pgno, 1);
}

static err_t add_extent(void *context, struct extent_place e)
{
    return set_add(context, extent_first(e), e.count);
}

static err_t add_child_extent(void *context, struct space_extent e, bool available)
{
    return available ? JET_errSuccess : set_add(context, e.first, e.count);
}

static err_t add_child(struct page_set *set, struct btree *tree, pgno_t root)
{
    struct btree *child;
    TRY_RETURN(btree_open(tree->db, root, &child));
    err_t err = space_visit(child, add_child_extent, set);
    btree_close(child);
    return err;
}

static err_t add_own_pages(struct page_set *set, struct space_hold *hold)
{
    if (!space__is_multiple(hold)) {
        for (uint32_t j = 0; j + 1 < hold->header.cpg_primary; j++)
            if (j >= 32 || (hold->header.avail_or_oe >> j & 1) != 0)
                TRY_RETURN(set_add(set, hold->tree->root + 1 + j, 1));
        return JET_errSuccess;
    }
    TRY_RETURN(btree_visit(&hold->oe, false, add_used_page, set));
    TRY_RETURN(btree_visit(&hold->ae, false, add_used_page, set));
    TRY_RETURN(extent__visit(&hold->ae, hold->trx, add_extent, set));
    return space__visit_split_buffers(hold, add_extent, set);
}

struct unused {
    const struct page_set *used;
    struct extent_place *runs;
    uint32_t n, room;
    uint32_t pages;
};

static err_t note_run(struct unused *u, pgno_t last, uint32_t count)
{
    if (u->n == u->room) {
        uint32_t room = u->room == 0 ? 16 : u->room * 2;
        struct extent_place *grown = realloc(u->runs, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        u->runs = grown;
        u->room = room;
    }
    u->runs[u->n++] = (struct extent_place){last, count};
    u->pages += count;
    return JET_errSuccess;
}

static err_t find_unused(void *context, struct extent_place e)
{
    struct unused *u = context;
    uint32_t run = 0;
    pgno_t p = extent_first(e);
    for (; p <= e.last && p <= u->used->last; p++) {
        if (!set_has(u->used, p)) {
            run++;
            continue;
        }
        if (run > 0)
            TRY_RETURN(note_run(u, p - 1, run));
        run = 0;
    }
    if (p <= e.last) /* behind the file's end nothing is in use, however far an entry says that it reaches */
        run += e.last - p + 1;
    return run > 0 ? note_run(u, e.last, run) : JET_errSuccess;
}

static err_t find_leaks(struct space_hold *hold, struct page_set *set, struct unused *u)
{
    struct btree *tree = hold->tree;
    TRY_RETURN(btree_visit(tree, false, add_used_page, set));
    TRY_RETURN(add_own_pages(set, hold));
    if (space__is_multiple(hold))
        return extent__visit(&hold->oe, hold->trx, find_unused, u);
    return find_unused(u, (struct extent_place){tree->root + hold->header.cpg_primary - 1, hold->header.cpg_primary});
}

static err_t reconcile_with(struct btree *tree, const pgno_t *children, int child_count, struct trx *inner, uint32_t *pages_found)
{
    struct page_set set = {.last = atomic_load(&tree->db->page_count)};
    set.bits = calloc(1, (size_t)set.last / 8 + 1);
    if (set.bits == NULL)
        return RAISE(JET_errOutOfMemory);
    struct unused u = {.used = &set};
    struct space_hold hold = {0};
    err_t err = JET_errSuccess;
    for (int i = 0; i < child_count; i++) /* before our own lock: a child's stands above it */
        TRY(add_child(&set, tree, children[i]));
    TRY(space__hold(tree, inner, &hold));
    TRY(find_leaks(&hold, &set, &u));
    for (uint32_t i = 0; i < u.n; i++)
        TRY(space__give_run(&hold, u.runs[i]));
    *pages_found += u.pages;
out:
    if (hold.tree != NULL)
        space__let_go(&hold);
    free(u.runs);
    free(set.bits);
    return err;
}

err_t space_reconcile(struct btree *tree, const pgno_t *children, int child_count, struct trx *trx, uint32_t *pages_found)
{
    struct trx *inner = trx->inner != NULL ? trx->inner : trx;
    bool begun = inner->level == 0;
    if (begun)
        TRY_RETURN(trx_begin(inner));
    err_t err = reconcile_with(tree, children, child_count, inner, pages_found);
    lgpos_t end;
    err_t ended = begun ? trx_commit(inner, &end) : JET_errSuccess;
    return err < 0 ? err : ended;
}
