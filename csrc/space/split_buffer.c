#include "space/space_private.h"

/* The pages that space trees split into lie in tag 0 of their roots: two entries {last page, count}. Filled before work that
 * may split, so that a split of a space tree never asks the space tree itself. */

static err_t read_buffer(struct btree *tree, struct extent_place out[2], uint32_t *free_bytes, bool *leaf)
{
    struct page_ref root = PAGE_REF_NONE;
    out[0] = out[1] = (struct extent_place){0};
    TRY_RETURN(cache_latch(tree->db, tree->root, LATCH_READ, CACHE_WAIT, &root));
    struct slice tag = page_external(root.page);
    if (tag.n >= SPLIT_BUFFER_SIZE)
        for (int i = 0; i < 2; i++) {
            struct extent_place e = {load_u32(tag.p + 8 * i), load_u32(tag.p + 8 * i + 4)};
            if (e.count != UINT32_MAX && e.count <= e.last) /* -1 is the engine's in-memory "reset" */
                out[i] = e;
        }
    if (free_bytes != NULL)
        *free_bytes = page_free(root.page);
    if (leaf != NULL)
        *leaf = (page_flags(root.page) & PAGE_LEAF) != 0;
    cache_release(&root);
    return JET_errSuccess;
}

static err_t write_buffer(struct btree *tree, struct trx *trx, const struct extent_place entries[2])
{
    uint8_t bytes[SPLIT_BUFFER_SIZE];
    for (int i = 0; i < 2; i++) {
        store_u32(bytes + 8 * i, entries[i].count == 0 ? 0 : entries[i].last);
        store_u32(bytes + 8 * i + 4, entries[i].count);
    }
    struct page_ref root = PAGE_REF_NONE;
    TRY_RETURN(cache_latch(tree->db, tree->root, LATCH_WRITE, CACHE_WAIT, &root));
    err_t err = btree_set_external(tree, trx, &root, SLICE(bytes, sizeof bytes));
    cache_release(&root);
    return err;
}

err_t space__visit_split_buffers(struct space_hold *hold, extent_fn fn, void *context)
{
    struct btree *trees[2] = {&hold->oe, &hold->ae};
    for (int t = 0; t < 2; t++) {
        struct extent_place entries[2];
        TRY_RETURN(read_buffer(trees[t], entries, NULL, NULL));
        for (int i = 0; i < 2; i++)
            if (entries[i].count > 0)
                TRY_RETURN(fn(context, entries[i]));
    }
    return JET_errSuccess;
}

static err_t buffer_take(struct btree *tree, struct trx *trx, pgno_t near, pgno_t *out)
{
    (void)near;
    struct extent_place entries[2];
    *out = PGNO_NIL;
    TRY_RETURN(read_buffer(tree, entries, NULL, NULL));
    int i = entries[0].count > 0 ? 0 : 1;
    if (entries[i].count == 0) {
        err_t err = RAISE(JET_errSPAvailExtCorrupted);
        err_detail("%s: the split buffer of space tree %u is empty", tree->db->path, tree->root);
        return err;
    }
    *out = extent_first(entries[i]);
    entries[i].count--;
    return write_buffer(tree, trx, entries);
}

/* A page that a space tree's merge freed: back into the buffer when an entry can take it. Otherwise it is lost until the next
 * reconciliation: merges of space trees free pages rarely, and one at a time. */
static err_t put_in_buffer(struct btree *tree, struct trx *trx, pgno_t pgno, bool *taken)
{
    struct extent_place entries[2];
    *taken = false;
    TRY_RETURN(read_buffer(tree, entries, NULL, NULL));
    for (int i = 0; i < 2; i++) {
        if (entries[i].count == 0)
            entries[i] = (struct extent_place){pgno, 1};
        else if (pgno == entries[i].last + 1)
            entries[i] = (struct extent_place){pgno, entries[i].count + 1};
        else if (pgno + 1 == extent_first(entries[i]))
            entries[i].count++;
        else
            continue;
        TRY_RETURN(write_buffer(tree, trx, entries));
        *taken = true;
        break;
    }
    return JET_errSuccess;
}

static err_t buffer_give(struct btree *tree, struct trx *trx, pgno_t pgno)
{
    bool taken;
    err_t err = put_in_buffer(tree, trx, pgno, &taken);
    if (!taken)
        space_note_lost(tree->db);
    return err;
}

const struct page_source space__split_buffer_source = {buffer_take, buffer_give, NULL};

/* A tree whose root is a leaf with room for some entries more cannot split in one operation. */
#define ROOM_FOR_ENTRIES 96u

static err_t fill_one(struct space_hold *hold, struct btree *tree)
{
    struct extent_place entries[2];
    uint32_t free_bytes;
    bool leaf;
    TRY_RETURN(read_buffer(tree, entries, &free_bytes, &leaf));
    if (leaf && free_bytes >= ROOM_FOR_ENTRIES)
        return JET_errSuccess;
    if (entries[0].count + entries[1].count >= SPLIT_BUFFER_LOW)
        return JET_errSuccess;
    int slot = entries[0].count == 0 ? 0 : 1;
    while (entries[slot].count > 0) { /* both are in use, low: the pages of the lesser go back after the larger are there */
        slot = entries[0].count <= entries[1].count ? 0 : 1;
        struct extent_place given_up = entries[slot];
        entries[slot].count = 0;
        TRY_RETURN(write_buffer(tree, hold->trx, entries));
        TRY_RETURN(space__add_available(hold, given_up));
    }
    struct extent_place found;
    TRY_RETURN(extent__find(&hold->ae, hold->trx, SPLIT_BUFFER_WANTED, 1, &found));
    if (found.count < SPLIT_BUFFER_LOW)
        return JET_errSuccess; /* the caller grows the tree: space__grow fills from the new extent */
    uint32_t n = found.count < SPLIT_BUFFER_WANTED ? found.count : SPLIT_BUFFER_WANTED;
    struct extent_place taken = {extent_first(found) + n - 1, n};
    found.count -= n;
    TRY_RETURN(extent__resize(&hold->ae, hold->trx, found));
    entries[slot] = taken;
    return write_buffer(tree, hold->trx, entries);
}

/* Growth: the buffers are served from the high end of the new run before its rest goes into the trees. */
err_t space__feed_split_buffers(struct space_hold *hold, struct extent_place *run)
{
    struct btree *trees[2] = {&hold->ae, &hold->oe};
    for (int i = 0; i < 2; i++) {
        struct extent_place entries[2];
        uint32_t free_bytes;
        bool leaf;
        TRY_RETURN(read_buffer(trees[i], entries, &free_bytes, &leaf));
        if ((leaf && free_bytes >= ROOM_FOR_ENTRIES) || entries[0].count + entries[1].count >= SPLIT_BUFFER_LOW)
            continue;
        int slot = entries[0].count == 0 ? 0 : 1;
        if (entries[slot].count > 0 || run->count <= SPLIT_BUFFER_WANTED)
            continue;
        entries[slot] = (struct extent_place){run->last, SPLIT_BUFFER_WANTED};
        run->last -= SPLIT_BUFFER_WANTED;
        run->count -= SPLIT_BUFFER_WANTED;
        TRY_RETURN(write_buffer(trees[i], hold->trx, entries));
    }
    return JET_errSuccess;
}

err_t space__fill_split_buffers(struct space_hold *hold)
{
    if (!space__is_multiple(hold))
        return JET_errSuccess;
    TRY_RETURN(fill_one(hold, &hold->ae));
    return fill_one(hold, &hold->oe);
}
