#include "space/space_private.h"

/* Taking runs of pages from a tree's available space and giving them back. */

/* ---- single extent: a bit map in the root's header; bit j is page root + 1 + j ---- */

static uint32_t single_bits(const struct space_hold *hold)
{
    uint32_t n = hold->header.cpg_primary - 1;
    return n < 32 ? n : 32;
}

static struct extent_place single_find(const struct space_hold *hold, uint32_t wanted, uint32_t least)
{
    struct extent_place best = {0};
    uint32_t bits = hold->header.avail_or_oe, n = single_bits(hold);
    for (uint32_t j = 0; j < n;) {
        uint32_t run = 0;
        while (j + run < n && (bits >> (j + run) & 1) != 0)
            run++;
        struct extent_place e = {hold->tree->root + j + run, run};
        if (run >= wanted)
            return e;
        if (run >= least && run > best.count)
            best = e;
        j += run + 1;
    }
    return best;
}

static uint32_t single_mask(const struct space_hold *hold, struct extent_place run)
{
    uint32_t first = extent_first(run) - hold->tree->root - 1, mask = 0;
    for (uint32_t j = first; j < first + run.count; j++)
        mask |= 1u << j;
    return mask;
}

static bool single_covers(const struct space_hold *hold, struct extent_place run)
{
    pgno_t root = hold->tree->root;
    return extent_first(run) > root && run.last <= root + single_bits(hold);
}

static err_t single_take(struct space_hold *hold, struct extent_place run)
{
    hold->header.avail_or_oe &= ~single_mask(hold, run);
    return space__write_header(hold);
}

/* ---- both kinds ---- */

/* Takes `count` pages from the low end of an available extent. */
static err_t take_low(struct space_hold *hold, struct extent_place from, uint32_t count, struct extent_place *out)
{
    *out = (struct extent_place){extent_first(from) + count - 1, count};
    if (!space__is_multiple(hold))
        return single_take(hold, *out);
    from.count -= count;
    return extent__resize(&hold->ae, hold->trx, from);
}

static err_t find_run(struct space_hold *hold, uint32_t wanted, uint32_t least, struct extent_place *out)
{
    if (space__is_multiple(hold))
        return extent__find(&hold->ae, hold->trx, wanted, least, out);
    *out = single_find(hold, wanted, least);
    return JET_errSuccess;
}

static err_t take_run(struct space_hold *hold, uint32_t wanted, uint32_t least, struct extent_place *out)
{
    struct extent_place found;
    TRY_RETURN(space__fill_split_buffers(hold));
    TRY_RETURN(find_run(hold, wanted, least, &found));
    if (found.count == 0) {
        TRY_RETURN(space__grow(hold, wanted, least));
        TRY_RETURN(find_run(hold, wanted, least, &found));
        if (found.count == 0) {
            err_t err = RAISE(JET_errDatabaseCorrupted);
            err_detail("%s: tree %u has no page although it has just grown", hold->tree->db->path, hold->tree->root);
            return err;
        }
    }
    return take_low(hold, found, found.count < wanted ? found.count : wanted, out);
}

/* What is in hand when one step of several fails belongs to nobody. */
static err_t note_if_lost(struct space_hold *hold, err_t err)
{
    if (err < 0)
        space_note_lost(hold->tree->db);
    return err;
}

err_t space__take_run(struct space_hold *hold, uint32_t wanted, uint32_t least, struct extent_place *out)
{
    return note_if_lost(hold, take_run(hold, wanted, least, out));
}

/* Joins the run with the available extents that touch it. What is taken out first can leak in a crash, never be owned twice. */
err_t space__add_available(struct space_hold *hold, struct extent_place run)
{
    struct extent_place left = {0}, right = {0};
    if (extent_first(run) > 1)
        TRY_RETURN(extent__at(&hold->ae, hold->trx, extent_first(run) - 1, &left));
    TRY_RETURN(extent__at(&hold->ae, hold->trx, run.last + 1, &right));
    bool joins_left = left.count > 0 && left.last == extent_first(run) - 1;
    bool joins_right = right.count > 0 && extent_first(right) == run.last + 1;
    if (joins_left) {
        TRY_RETURN(extent__remove(&hold->ae, hold->trx, left.last));
        run.count += left.count;
    }
    if (!joins_right)
        return extent__insert(&hold->ae, hold->trx, run);
    right.count += run.count;
    return extent__resize(&hold->ae, hold->trx, right);
}

static err_t give_run(struct space_hold *hold, struct extent_place run)
{
    if (!space__is_multiple(hold) && single_covers(hold, run)) {
        hold->header.avail_or_oe |= single_mask(hold, run);
        return space__write_header(hold);
    }
    if (!space__is_multiple(hold))
        TRY_RETURN(space__convert(hold)); /* pages behind the bit map's 32 */
    TRY_RETURN(space__fill_split_buffers(hold));
    return space__add_available(hold, run);
}

err_t space__give_run(struct space_hold *hold, struct extent_place run)
{
    return note_if_lost(hold, give_run(hold, run));
}

static err_t source_take(struct btree *tree, struct trx *trx, pgno_t near, pgno_t *out)
{
    (void)near; /* first fit: the lowest page keeps files short */
    struct space_hold hold;
    struct extent_place run = {0};
    *out = PGNO_NIL;
    TRY_RETURN(space__hold(tree, trx, &hold));
    err_t err = space__take_run(&hold, 1, 1, &run);
    space__let_go(&hold);
    if (err >= 0)
        *out = run.last;
    return err;
}

err_t space__give_to(struct btree *tree, struct trx *trx, struct extent_place run)
{
    struct space_hold hold;
    err_t err = space__hold(tree, trx, &hold);
    if (err < 0) {
        space_note_lost(tree->db);
        return err;
    }
    err = space__give_run(&hold, run);
    space__let_go(&hold);
    return err;
}

static err_t source_give(struct btree *tree, struct trx *trx, pgno_t pgno)
{
    return space__give_to(tree, trx, (struct extent_place){pgno, 1});
}

static const struct page_source tree_source = {source_take, source_give, NULL};

err_t space_init(struct dbfile *db)
{
    return btree_registry_create(db, &tree_source);
}

void space_note_lost(struct dbfile *db)
{
    atomic_store(&db->space_lost, true);
}

bool space_has_lost(struct dbfile *db)
{
    return atomic_load(&db->space_lost);
}

void space_lost_found(struct dbfile *db)
{
    atomic_store(&db->space_lost, false);
}

void space_term(struct dbfile *db)
{
    btree_registry_destroy(db);
}

objid_t space_new_objid(struct dbfile *db)
{
    return atomic_fetch_add(&db->objid_last, 1) + 1;
}
