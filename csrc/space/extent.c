#include "space/space_private.h"

/* An extent tree seen as a sorted list of runs of pages. All changes are unversioned. */

static void store_key(pgno_t last, uint8_t key[4])
{
    store_be32(key, last);
}

/* General pool only: the entries of other pools (5-byte keys, update >= 0xE) are not ours to hand out. */
static bool load_entry(struct slice key, struct slice data, struct extent_place *out)
{
    if (key.n != 4 || data.n != 4)
        return false;
    *out = (struct extent_place){load_be32(key.p), load_u32(data.p)};
    return out->count <= out->last;
}

err_t extent__insert(struct btree *tree, struct trx *trx, struct extent_place e)
{
    ASSERT(e.count > 0 && e.count <= e.last);
    uint8_t key[4], data[4];
    store_key(e.last, key);
    store_u32(data, e.count);
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, tree, trx);
    err_t err = btree_insert(&cursor, SLICE(key, 4), SLICE(data, 4), BTREE_UNVERSIONED);
    btree_cursor_term(&cursor);
    return err;
}

err_t extent__remove(struct btree *tree, struct trx *trx, pgno_t last)
{
    uint8_t key[4];
    store_key(last, key);
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, tree, trx);
    err_t err = btree_delete(&cursor, SLICE(key, 4), SLICE_EMPTY, BTREE_UNVERSIONED);
    btree_cursor_term(&cursor);
    return err;
}

err_t extent__resize(struct btree *tree, struct trx *trx, struct extent_place e)
{
    if (e.count == 0)
        return extent__remove(tree, trx, e.last);
    uint8_t key[4], data[4];
    store_key(e.last, key);
    store_u32(data, e.count);
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, tree, trx);
    err_t err = btree_replace(&cursor, SLICE(key, 4), SLICE(data, 4), BTREE_UNVERSIONED);
    btree_cursor_term(&cursor);
    return err;
}

err_t extent__visit(struct btree *tree, struct trx *trx, extent_fn fn, void *context)
{
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, tree, trx);
    err_t err = btree_first(&cursor);
    while (err >= 0) {
        struct extent_place e;
        if (!load_entry(buffer_slice(&cursor.key), cursor.data, &e)) {
            if (cursor.key.n != 5) {
                err = RAISE(JET_errDatabaseCorrupted);
                err_detail("%s: page %u: an extent entry makes no sense", tree->db->path, tree->root);
                break;
            }
        } else if (e.count > 0) {
            err = fn(context, e);
            if (err < 0)
                break;
        }
        err = btree_next(&cursor);
    }
    btree_cursor_term(&cursor);
    return err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}

#define EXTENT_FOUND 999002 /* ends a visit early; > 0 would go on */

struct search {
    uint32_t wanted, least;
    struct extent_place best;
    bool done;
};

static err_t try_extent(void *context, struct extent_place e)
{
    struct search *s = context;
    if (e.count >= s->wanted) {
        s->best = e;
        s->done = true;
        return -EXTENT_FOUND;
    }
    if (e.count >= s->least && e.count > s->best.count)
        s->best = e;
    return JET_errSuccess;
}

err_t extent__find(struct btree *tree, struct trx *trx, uint32_t wanted, uint32_t least, struct extent_place *out)
{
    struct search s = {.wanted = wanted, .least = least};
    err_t err = extent__visit(tree, trx, try_extent, &s);
    *out = s.best;
    return err == -EXTENT_FOUND ? JET_errSuccess : err;
}

err_t extent__at(struct btree *tree, struct trx *trx, pgno_t pgno, struct extent_place *out)
{
    uint8_t key[4];
    store_key(pgno, key);
    *out = (struct extent_place){0};
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, tree, trx);
    bool exact;
    err_t err = btree_seek(&cursor, SLICE(key, 4), SLICE_EMPTY, false, SEEK_GE, &exact);
    if (err >= 0 && !load_entry(buffer_slice(&cursor.key), cursor.data, out))
        *out = (struct extent_place){0};
    btree_cursor_term(&cursor);
    return err == JET_errRecordNotFound || err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}
