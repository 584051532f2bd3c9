/* One version is taken back: its node is found by bookmark, wherever splits and merges have carried
 * it. */
#include "btree/btree_apply.h"

static err_t no_node(const struct btree *tree, const struct version_undo *u, pgno_t pgno)
{
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("tree %u of %s has lost a node whose change (version %u) is to be undone; page %u",
               tree->objid, tree->db->path, u->rceid, pgno);
    return err;
}

/* Room is there by invariant 7, unless the page comes from a file of another engine's making. */
static bool has_room(struct page page, int line, const struct version_undo *u)
{
    return u->oper != VERSION_REPLACE ||
           page_can_replace_reserved(page, line, u->before.n, UINT32_MAX);
}

static err_t undo_here(struct btree *tree, struct trx *trx, struct page_ref *leaf, int line,
                       const struct version_undo *u)
{
    struct encoded encoded;
    struct log_stamp stamp = {.dbtime_counter = &tree->db->dbtime};
    unsigned flags = LOG_FLAG_VERSIONED | (tree->unique ? LOG_FLAG_UNIQUE : 0u);
    struct node_record r = {
        .head = btree_record_head(trx, LOG_Undo, tree->db->dbid, leaf->pgno,
                                  page_dbtime(leaf->page), line, flags),
        .rceid = u->rceid,
        .root = tree->root,
        .objid = tree->objid,
        .suffix = u->where.key,
        .bookmark_data = u->where.data,
        .oper = (uint16_t)u->oper,
        .level_undone = u->level,
    };
    TRY_RETURN(btree__check_undo(leaf->page, line, u));
    btree_encode_node(&r, &encoded);
    cache_mark_dirty(leaf, trx_begin_bound(trx));
    TRY_RETURN(trx_log(trx, &encoded.record, 1, &stamp));
    if ((u->oper == VERSION_REPLACE || u->oper == VERSION_DELETE) && !cache_has_undo(leaf))
        btree__counters
            .undo_after_steal++; /* the page went to disk with the change on it, and came back */
    btree__apply_undo(leaf->page, line, u);
    page_set_dbtime(leaf->page, stamp.dbtime);
    cache_set_lgpos(leaf, stamp.end);
    return JET_errSuccess;
}

err_t btree_undo(struct dbfile *db, struct trx *trx, const struct version_undo *u)
{
    err_t err = JET_errSuccess;
    struct btree *tree = NULL;
    struct page_ref leaf = PAGE_REF_NONE;
    struct bookmark at = {0};
    bool done = false, equal, changed;

    if (u->oper == VERSION_LOCK)
        return JET_errSuccess;
    TRY(btree_open(db, u->where.root, &tree));
    TRY(bookmark_init(&at, tree, u->where.key, u->where.data));
    while (!done) {
        TRY(btree__descend(tree, DESCEND_KEY, at.joined, LATCH_WRITE, &leaf));
        int line = btree__find_line(tree, leaf.page, &at, &equal);
        if (equal && !has_room(leaf.page, line, u)) {
            TRY(btree__make_room(tree, trx, &leaf, &changed));
            line = btree__find_line(tree, leaf.page, &at, &equal);
        }
        if (!equal) {
            err = no_node(tree, u, leaf.pgno);
            goto out;
        }
        if (has_room(leaf.page, line, u)) {
            TRY(undo_here(tree, trx, &leaf, line, u));
            done = true;
        } else {
            struct change change = {
                .type = LOG_Undo, .line = line, .key = u->where.key, .data = u->before};
            bool split;
            change.seen = page_dbtime(leaf.page);
            cache_release(&leaf);
            TRY(btree__split(tree, trx, &at, &change, &split));
        }
    }
out:
    cache_release(&leaf);
    bookmark_term(&at);
    if (tree != NULL)
        btree_close(tree);
    return err;
}
