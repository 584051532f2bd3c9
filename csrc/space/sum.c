#include "space/space_private.h"

/* Numbers for information and check: what a tree owns, and what of it is free. */

struct visit {
    space_extent_fn fn;
    void *context;
    bool available;
};

static err_t pass_on(void *context, struct extent_place e)
{
    struct visit *v = context;
    return v->fn(v->context, (struct space_extent){extent_first(e), e.count}, v->available);
}

static err_t visit_single(struct space_hold *hold, struct visit *v)
{
    pgno_t root = hold->tree->root;
    uint32_t cpg = hold->header.cpg_primary;
    TRY_RETURN(pass_on(v, (struct extent_place){root + cpg - 1, cpg}));
    v->available = true;
    for (uint32_t j = 0; j + 1 < cpg; j++)
        if (j >= 32 || (hold->header.avail_or_oe >> j & 1) != 0)
            TRY_RETURN(pass_on(v, (struct extent_place){root + 1 + j, 1}));
    return JET_errSuccess;
}

err_t space_visit(struct btree *tree, space_extent_fn fn, void *context)
{
    struct space_hold hold;
    struct visit v = {.fn = fn, .context = context};
    TRY_RETURN(space__hold(tree, NULL, &hold));
    err_t err = JET_errSuccess;
    if (!space__is_multiple(&hold)) {
        err = visit_single(&hold, &v);
        goto out;
    }
    TRY(extent__visit(&hold.oe, NULL, pass_on, &v));
    v.available = true;
    TRY(extent__visit(&hold.ae, NULL, pass_on, &v));
out:
    space__let_go(&hold);
    return err;
}

err_t space_visit_pages(struct btree *tree, btree_visit_fn fn, void *context)
{
    struct space_hold hold;
    TRY_RETURN(space__hold(tree, NULL, &hold));
    err_t err = JET_errSuccess;
    if (space__is_multiple(&hold)) {
        TRY(btree_visit(&hold.oe, false, fn, context));
        TRY(btree_visit(&hold.ae, false, fn, context));
    }
out:
    space__let_go(&hold);
    return err;
}

static err_t pass_available(void *context, struct space_extent e, bool available)
{
    struct visit *v = context;
    return available ? v->fn(v->context, e, true) : JET_errSuccess;
}

err_t space_visit_unused(struct btree *tree, space_extent_fn fn, void *context)
{
    struct space_hold hold;
    struct visit v = {.fn = fn, .context = context, .available = true};
    TRY_RETURN(space_visit(tree, pass_available, &v));
    TRY_RETURN(space__hold(tree, NULL, &hold));
    err_t err = JET_errSuccess;
    if (space__is_multiple(&hold))
        err = space__visit_split_buffers(&hold, pass_on, &v);
    space__let_go(&hold);
    return err;
}

static err_t add_up(void *context, struct space_extent e, bool available)
{
    struct space_sum *sum = context;
    if (available)
        sum->available += e.count;
    else
        sum->owned += e.count;
    return JET_errSuccess;
}

err_t space_sum(struct btree *tree, struct space_sum *out)
{
    *out = (struct space_sum){0};
    return space_visit(tree, add_up, out);
}
