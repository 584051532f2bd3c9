#include "space/space_private.h"

/* A tree that has no page left gets a further extent: from its parent, the system root from the file's growth. */

static uint32_t between(uint32_t low, uint32_t n, uint32_t high)
{
    return n < low ? low : n > high ? high : n;
}

/* How much to ask for: small trees by four pages, larger ones by a quarter more than last time. */
static uint32_t growth_wanted(const struct space_header *h)
{
    if (h->flags & SPACE_V2)
        return between(EXTENT_GROW_SMALL, h->cpg_primary + h->cpg_primary / 4 + 1, EXTENT_GROW_MOST);
    return h->cpg_primary < EXTENT_SMALL ? EXTENT_GROW_SMALL : between(EXTENT_GROW_SMALL, h->cpg_primary / 4, EXTENT_GROW_MOST);
}

static err_t last_owned(struct space_hold *hold, pgno_t *last)
{
    struct btree_cursor cursor;
    btree_cursor_init(&cursor, &hold->oe, hold->trx);
    err_t err = btree_last(&cursor);
    if (err >= 0) {
        if (cursor.key.n == 4)
            *last = load_be32(cursor.key.p);
        else
            err = RAISE(JET_errSPOwnExtCorrupted);
    }
    btree_cursor_term(&cursor);
    return err;
}

err_t space__log_extend(struct dbfile *db, struct trx *trx, pgno_t last)
{
    uint8_t bytes[EXTEND_SIZE];
    struct extend_record r = {db->dbid, last};
    extend_encode(&r, bytes);
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, sizeof bytes)}, .head = bytes};
    struct log_stamp stamp = {.dbtime_counter = &db->dbtime};
    return trx_log(trx, &record, 1, &stamp);
}

/* The file is longer before the log says so: a crash between leaves unowned pages at its end, which is allowed. */
static err_t grow_file(struct space_hold *hold, uint32_t least, struct extent_place *out)
{
    struct dbfile *db = hold->tree->db;
    pgno_t last = 0;
    TRY_RETURN(last_owned(hold, &last));
    uint32_t step = db->extend_pages != 0 ? db->extend_pages : FILE_GROW_LEAST;
    uint32_t n = between(step, last / 8, FILE_GROW_MOST);
    if (n < least)
        n = least;
    if (last > INT32_MAX - n)
        return RAISE(JET_errOutOfDatabaseSpace);
    TRY_RETURN(dbfile_grow(db, last + n));
    TRY_RETURN(space__log_extend(db, hold->trx, last + n));
    *out = (struct extent_place){last + n, n};
    return JET_errSuccess;
}

/* Only the system root has no parent, and it grows the file: anything else without one comes from a damaged space header. */
err_t space__no_parent(const struct btree *tree)
{
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("%s: page %u: the space header of this root names no tree that its space came from", tree->db->path, tree->root);
    return err;
}

static err_t take_from_parent(struct space_hold *hold, uint32_t wanted, uint32_t least, struct extent_place *out)
{
    struct space_hold parent;
    if (hold->tree->parent == NULL)
        return space__no_parent(hold->tree);
    TRY_RETURN(space__hold(hold->tree->parent, hold->trx, &parent));
    err_t err = space__take_run(&parent, wanted, least, out);
    space__let_go(&parent);
    return err;
}

err_t space__grow(struct space_hold *hold, uint32_t wanted, uint32_t least)
{
    if (!space__is_multiple(hold)) {
        TRY_RETURN(space__convert(hold));
        struct extent_place found;
        TRY_RETURN(extent__find(&hold->ae, hold->trx, wanted, least, &found));
        if (found.count >= least)
            return JET_errSuccess;
    }
    /* room for both split buffers beside what is asked for */
    least += 2 * SPLIT_BUFFER_WANTED;
    uint32_t ask = growth_wanted(&hold->header);
    bool small = hold->tree->parent != NULL && ask < 2 * SPLIT_BUFFER_WANTED;
    if (small)
        least -= 2 * SPLIT_BUFFER_WANTED; /* few extents: its space trees are far from splitting */
    if (ask < wanted)
        ask = wanted;
    if (ask < least)
        ask = least;
    struct extent_place run;
    if (hold->tree->parent == NULL)
        TRY_RETURN(grow_file(hold, ask, &run));
    else
        TRY_RETURN(take_from_parent(hold, ask, least, &run));
    struct extent_place owned = run;
    TRY_RETURN(space__feed_split_buffers(hold, &run));
    TRY_RETURN(extent__insert(&hold->oe, hold->trx, owned));
    TRY_RETURN(space__add_available(hold, run));
    hold->header.cpg_primary = owned.count;
    hold->header.flags |= SPACE_V2;
    return space__write_header(hold);
}

/* ---- a single-extent tree gets its own space trees ---- */

static void release_three(struct page_ref refs[3])
{
    for (int i = 2; i >= 0; i--)
        cache_release(&refs[i]);
}

static err_t log_and_build(struct space_hold *hold, struct convert_record *r, struct page_ref refs[3])
{
    struct dbfile *db = hold->tree->db;
    lgpos_t bound = trx_begin_bound(hold->trx);
    for (int i = 0; i < 3; i++)
        cache_mark_dirty(&refs[i], bound);
    r->before = page_dbtime(refs[0].page);
    uint8_t bytes[CONVERT_SIZE];
    convert_encode(hold->trx, r, bytes);
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, sizeof bytes)}, .head = bytes, .dbtime_at = 8};
    struct log_stamp stamp = {.dbtime_counter = &db->dbtime};
    TRY_RETURN(trx_log(hold->trx, &record, 1, &stamp));
    space__build_converted(r, refs[0].page, refs[1].page, refs[2].page, stamp.dbtime);
    for (int i = 0; i < 3; i++)
        cache_set_lgpos(&refs[i], stamp.end);
    return JET_errSuccess;
}

err_t space__convert(struct space_hold *hold)
{
    struct btree *tree = hold->tree;
    struct extent_place second;
    TRY_RETURN(take_from_parent(hold, EXTENT_GROW_SMALL + 2, 3, &second));
    struct convert_record r = {
        .dbid = tree->db->dbid,
        .root = tree->root,
        .pgno_oe = extent_first(second),
        .pgno_ae = extent_first(second) + 1,
        .parent = hold->header.parent,
        .second_first = extent_first(second),
        .objid = tree->objid,
        .cpg_primary = hold->header.cpg_primary,
        .cpg_second = second.count,
        .avail_bits = hold->header.avail_or_oe,
        .page_flags = tree->page_flags,
        .unique = tree->unique,
    };
    struct page_ref refs[3] = {PAGE_REF_NONE, PAGE_REF_NONE, PAGE_REF_NONE};
    err_t err = JET_errSuccess;
    TRY(cache_latch(tree->db, r.root, LATCH_WRITE, CACHE_WAIT, &refs[0]));
    TRY(cache_latch(tree->db, r.pgno_oe, LATCH_WRITE, CACHE_NO_READ, &refs[1]));
    TRY(cache_latch(tree->db, r.pgno_ae, LATCH_WRITE, CACHE_NO_READ, &refs[2]));
    TRY(log_and_build(hold, &r, refs));
    release_three(refs);
    TRY(space__read_header(tree, &hold->header));
    space__open_trees(hold);
out:
    release_three(refs);
    return err;
}
