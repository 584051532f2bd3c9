/* Scrubbing: what was deleted is wiped off a page, and the log says so, so that a copy that redoes the log is wiped too
 * (log-format.md 64). Keys stay where branch pages, prefixes and the last node of a leaf need them. */
#include "btree/btree_private.h"
#include "btree/btree_apply.h"

#define PAGE_LINES_MAX 4096u

/* What is to be done on one page, as its bytes are now. */
struct look {
    bool unused;          /* of no tree: all of it goes */
    bool wipe;            /* something is left to wipe */
    pgno_t root;          /* of the tree that it belongs to */
    int settled;          /* a deleted node that nobody can see any more; -1 = none */
    uint32_t lines;
    uint8_t oper[PAGE_LINES_MAX];
};

static bool is_filled(struct slice data)
{
    for (uint32_t i = 1; i < data.n; i++)
        if (data.p[i] != data.p[0])
            return false;
    return true;
}

static struct version_key where_of(struct dbfile *db, struct page page, pgno_t root, const struct node *node, uint8_t *key)
{
    uint32_t n = node_key_copy(node, key);
    bool with_data = (page_flags(page) & PAGE_NON_UNIQUE) != 0;
    return (struct version_key){db->dbid, page_objid(page), root, SLICE(key, n), with_data ? node->data : SLICE_EMPTY};
}

/* Data of a non-unique tree are a part of the node's name: they cannot be overwritten. */
static err_t look_at_lines(struct dbfile *db, struct page page, struct look *l)
{
    uint8_t key[PAGE_SIZE_MAX];
    uint32_t flags = page_flags(page);
    if ((flags & PAGE_LEAF) == 0)
        return JET_errSuccess;
    l->lines = (uint32_t)page_line_count(page);
    for (uint32_t line = 0; line < l->lines; line++) {
        struct node node;
        l->oper[line] = SCRUB_NOTHING;
        TRY_RETURN(page_node(page, (int)line, &node));
        if ((node.flags & NODE_DELETED) == 0)
            continue;
        struct version_key where = where_of(db, page, l->root, &node, key);
        if (!version_is_settled(db->versions, &where))
            continue;
        l->settled = (int)line;
        if ((flags & PAGE_NON_UNIQUE) != 0 || is_filled(node.data))
            continue;
        l->oper[line] = (flags & PAGE_LONG_VALUE) != 0 ? SCRUB_CHUNK : SCRUB_RECORD;
        l->wipe = true;
    }
    return JET_errSuccess;
}

static err_t look_at(struct dbfile *db, struct page page, bool unused, const struct btree_scrub *scrub, struct look *l)
{
    uint32_t flags = page_flags(page);
    *l = (struct look){.settled = -1};
    if ((flags & PAGE_SCRUBBED) != 0)
        return JET_errSuccess;
    l->unused = (flags & PAGE_EMPTY) != 0 || (unused && page_dbtime(page) <= scrub->began);
    if (l->unused) {
        l->wipe = page_line_count(page) > 0 || ((flags & PAGE_ROOT) == 0 && page_external(page).n > 0) || !page_unused_is_zero(page);
        return JET_errSuccess;
    }
    l->root = (flags & PAGE_SPACE_TREE) != 0 ? PGNO_NIL : scrub->root_of(scrub->context, page_objid(page));
    if (l->root == PGNO_NIL)
        return JET_errSuccess;
    l->wipe = !page_unused_is_zero(page);
    return look_at_lines(db, page, l);
}

/* ---- the change ---- */

static err_t wipe(struct dbfile *db, struct page_ref *ref, const struct look *l, struct btree_scrub *scrub)
{
    struct encoded encoded;
    struct log_stamp stamp = {.dbtime_counter = &db->dbtime};
    struct trx *trx = scrub->trx;
    struct node_record r = {
        .head = btree_record_head(trx, LOG_Scrub, db->dbid, ref->pgno, page_dbtime(ref->page), 0, 0),
        .root = l->root,
        .objid = page_objid(ref->page),
        .scrub_flags = l->unused ? SCRUB_UNUSED_PAGE : 0,
        .scrub_count = l->lines,
        .data = SLICE(l->oper, l->lines),
    };
    btree_encode_node(&r, &encoded);
    cache_mark_dirty(ref, trx_begin_bound(trx));
    TRY_RETURN(trx_log(trx, &encoded.record, 1, &stamp));
    btree__apply_scrub(ref->page, &r);
    page_set_dbtime(ref->page, stamp.dbtime);
    page_set_flags(ref->page, page_flags(ref->page) | PAGE_SCRUBBED);
    cache_set_lgpos(ref, stamp.end);
    for (uint32_t i = 0; i < l->lines; i++)
        scrub->nodes += l->oper[i] != SCRUB_NOTHING;
    scrub->pages += !l->unused;
    scrub->unused += l->unused;
    return JET_errSuccess;
}

/* A page never written holds nothing; one that cannot be read soundly is the copy's to judge, with its tries and events. */
static err_t latch(struct dbfile *db, pgno_t pgno, enum latch_mode mode, struct btree_scrub *scrub, struct page_ref *ref)
{
    bool damaged;
    err_t err = btree__latch_readable(db, pgno, mode, ref, &damaged);
    scrub->unread += damaged;
    return err;
}

/* The node's page may go with it, and nodes of the neighbours come. */
static err_t clean_one(struct dbfile *db, struct page_ref *ref, const struct look *l, struct btree_scrub *scrub)
{
    uint8_t key[PAGE_SIZE_MAX];
    struct node node;
    struct buffer data = {0};
    pgno_t pgno = ref->pgno;
    uint32_t before = (uint32_t)page_line_count(ref->page);
    TRY_RETURN(page_node(ref->page, l->settled, &node));
    struct version_key where = where_of(db, ref->page, l->root, &node, key);
    err_t err = JET_errSuccess;
    TRY(buffer_set(&data, where.data));
    where.data = buffer_slice(&data);
    cache_release(ref);
    TRY(btree_clean(db, scrub->trx, &where));
    TRY(latch(db, pgno, LATCH_READ, scrub, ref));
    if (ref->frame != NULL && (uint32_t)page_line_count(ref->page) < before)
        scrub->nodes += before - (uint32_t)page_line_count(ref->page);
out:
    buffer_free(&data);
    return err;
}

err_t btree_scrub_page(struct dbfile *db, pgno_t pgno, bool unused, struct btree_scrub *scrub)
{
    err_t err = JET_errSuccess;
    struct page_ref ref = PAGE_REF_NONE;
    struct look l;
    TRY(latch(db, pgno, LATCH_READ, scrub, &ref));
    if (ref.frame == NULL)
        goto out;
    TRY(look_at(db, ref.page, unused, scrub, &l));
    if (l.settled >= 0) {
        TRY(clean_one(db, &ref, &l, scrub));
        l.wipe = true;
    }
    cache_release(&ref);
    if (!l.wipe)
        goto out;
    TRY(latch(db, pgno, LATCH_WRITE, scrub, &ref));
    if (ref.frame == NULL)
        goto out;
    TRY(look_at(db, ref.page, unused, scrub, &l));
    if (l.wipe)
        TRY(wipe(db, &ref, &l, scrub));
out:
    cache_release(&ref);
    return err;
}
