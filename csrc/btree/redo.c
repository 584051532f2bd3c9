/* Redo of records that stand alone: which pages need them, the change, the versions. */
#include "btree/btree_redo.h"

#define PAGE_PRE_INIT 0x20000u
#define PGNO_MOST 0x7fffffffu

/* ---- pages ---- */

static bool is_no_page(struct page page)
{
    dbtime_t dbtime = page_dbtime(page);
    return page_is_all_zero(page) || dbtime >= UINT64_MAX - 3; /* shrunk, reverted, never valid */
}

err_t btree_redo_needed(struct redo *redo, struct page page, dbtime_t dbtime, dbtime_t before, bool *needed)
{
    dbtime_t now = page_dbtime(page);
    *needed = false;
    if (is_no_page(page)) {
        *needed = before == DBTIME_NIL;
        if (*needed || redo->in_range)
            return JET_errSuccess;
        err_t err = RAISE(JET_errDatabaseCorrupted);
        err_detail("a page that the log changes at dbtime %llu is empty", (unsigned long long)dbtime);
        return err;
    }
    *needed = now < dbtime;
    err_t err = JET_errSuccess;
    if (*needed && before != DBTIME_NIL && now != before)
        err = RAISE(now < before ? JET_errDbTimeTooOld : JET_errDbTimeTooNew);
    else if (!*needed && !redo->in_range)
        err = RAISE(JET_errDbTimeBeyondMaxRequired);
    if (err < 0)
        err_detail("tree %u: page at dbtime %llu, log takes it from %lld to %llu", page_objid(page), (unsigned long long)now,
                   (long long)before, (unsigned long long)dbtime);
    return err;
}

err_t btree__redo_open(struct redo *redo, pgno_t pgno, dbtime_t dbtime, dbtime_t before, enum redo_how how, struct redo_page *out)
{
    struct dbfile *db = redo->db;
    *out = (struct redo_page){.ref = PAGE_REF_NONE};
    if (pgno == PGNO_NIL)
        return JET_errSuccess;
    if (pgno > PGNO_MOST)
        return RAISE(JET_errLogFileCorrupt);
    if (how == REDO_CREATE)
        TRY_RETURN(dbfile_cover(db, pgno));
    bool read = how == REDO_CHANGE || redo->in_range;
    TRY_RETURN(cache_latch(db, pgno, LATCH_WRITE, read ? CACHE_REDO : CACHE_NO_READ, &out->ref));
    err_t err = JET_errSuccess;
    if (how == REDO_CHANGE)
        err = btree_redo_needed(redo, out->ref.page, dbtime, before, &out->needed);
    else
        out->needed = !read || is_no_page(out->ref.page) || page_dbtime(out->ref.page) < dbtime;
    if (err < 0)
        btree__redo_close(out);
    return err;
}

void btree__redo_dirty(struct redo *redo, struct redo_page *page)
{
    if (page->needed)
        cache_mark_dirty(&page->ref, trx_begin_bound(redo->trx));
}

void btree__redo_done(struct redo *redo, struct redo_page *page, dbtime_t dbtime)
{
    if (!page->needed)
        return;
    /* redo does not know what was still reserved when; it is derived anew when it matters (log-format.md 12.5) */
    btree__keep_free(page->ref.page, page_uncommitted_free(page->ref.page));
    page_set_dbtime(page->ref.page, dbtime);
    cache_set_lgpos(&page->ref, redo->end);
}

void btree__redo_close(struct redo_page *page)
{
    cache_release(&page->ref);
    page->needed = false;
}

static void count(struct redo *redo, bool applied)
{
    uint64_t *at = applied ? redo->applied : redo->skipped;
    if (at != NULL)
        ++*at;
}

err_t btree__redo_check_objid(struct page page, objid_t objid)
{
    return page_objid(page) == objid ? JET_errSuccess : btree__mismatch(page, "page of another tree");
}

/* ---- versions ---- */

static struct version_key where_of(const struct redo *redo, const struct node_record *r, struct slice key, struct slice data)
{
    bool unique = (r->head.flags & LOG_FLAG_UNIQUE) != 0;
    return (struct version_key){redo->db->dbid, r->objid, r->root, key, unique ? SLICE_EMPTY : data};
}

static uint8_t version_level(const struct redo *redo, const struct node_record *r)
{
    return redo->trx->level < r->head.level ? redo->trx->level : r->head.level;
}

static err_t add_version(struct redo *redo, const struct node_record *r, enum version_oper oper, uint32_t rceid,
                         const struct version_key *where, struct slice before)
{
    if (rceid == 0)
        return JET_errSuccess;
    bool delta = oper == VERSION_DELTA || oper == VERSION_DELTA64;
    return version_redo_add(redo->trx, oper, rceid, version_level(redo, r), where, before, delta ? r->delta : 0, delta ? r->offset : 0);
}

static err_t add_page_version(struct redo *redo, const struct node_record *r, const struct node *before)
{
    uint8_t key[PAGE_SIZE_MAX];
    uint32_t n = node_key_copy(before, key);
    struct version_key where = where_of(redo, r, SLICE(key, n), before->data);
    if (r->head.type == LOG_FlagDelete)
        return add_version(redo, r, VERSION_DELETE, r->rceid, &where, SLICE_EMPTY);
    return add_version(redo, r, VERSION_REPLACE, r->rceid, &where, before->data);
}

err_t btree__redo_versions(struct redo *redo, const struct node_record *r, const struct node *before)
{
    struct version_key where = where_of(redo, r, btree__record_key(r), r->data);
    if ((r->head.flags & LOG_FLAG_VERSIONED) == 0 || redo->trx->level == 0)
        return JET_errSuccess;
    switch (r->head.type) {
    case LOG_Insert:
    case LOG_FlagInsert:
        return add_version(redo, r, VERSION_INSERT, r->rceid, &where, SLICE_EMPTY);
    case LOG_FlagInsertAndReplaceData:
        TRY_RETURN(add_version(redo, r, VERSION_INSERT, r->rceid, &where, SLICE_EMPTY));
        return before == NULL ? JET_errSuccess : add_version(redo, r, VERSION_REPLACE, r->rceid_replace, &where, before->data);
    case LOG_Delta:
    case LOG_Delta64:
        where = where_of(redo, r, r->suffix, r->bookmark_data);
        return add_version(redo, r, r->head.type == LOG_Delta ? VERSION_DELTA : VERSION_DELTA64, r->rceid, &where, SLICE_EMPTY);
    case LOG_Replace:
    case LOG_ReplaceD:
    case LOG_FlagDelete:
        return before == NULL ? JET_errSuccess : add_page_version(redo, r, before);
    default:
        return JET_errSuccess;
    }
}

/* ---- deleted nodes ---- */

/* Whether a delete was cleaned up behind itself is only known at the end of the log, and the page then tells it. */
void btree__redo_note(struct redo *redo, objid_t objid, pgno_t root, pgno_t pgno)
{
    struct version_page page = {redo->db->dbid, objid, root, pgno};
    versions_note_page(redo->trx->store, &page);
}

void btree__redo_note_moved(struct redo *redo, objid_t objid, pgno_t root, const struct redo_page *page)
{
    struct page p = page->ref.page;
    struct node node;
    if (page->ref.frame == NULL || is_no_page(p) || (page_flags(p) & PAGE_LEAF) == 0)
        return;
    for (int line = page_line_count(p) - 1; line >= 0; line--)
        if (page_node(p, line, &node) >= 0 && (node.flags & NODE_DELETED) != 0) {
            btree__redo_note(redo, objid, root, page->ref.pgno);
            return;
        }
}

/* ---- one node ---- */

static bool needs_undo_info(const struct node_record *r)
{
    return (r->head.flags & LOG_FLAG_VERSIONED) != 0 && (r->head.type == LOG_Replace || r->head.type == LOG_ReplaceD ||
                                                         r->head.type == LOG_FlagDelete || r->head.type == LOG_FlagInsertAndReplaceData);
}

static err_t redo_on_page(struct redo *redo, const struct node_record *r, struct redo_page *page)
{
    uint8_t scratch[PAGE_SIZE_MAX];
    struct page p = page->ref.page;
    struct node before = {0};
    struct slice after = SLICE_EMPTY;
    TRY_RETURN(btree__check_record(p, r));
    if (r->head.type != LOG_Insert && r->head.type != LOG_SetExternalHeader)
        TRY_RETURN(page_node(p, r->head.line, &before));
    if (r->head.type == LOG_Replace || r->head.type == LOG_ReplaceD)
        TRY_RETURN(btree__record_after(r, before.data, scratch, &after));
    TRY_RETURN(btree__redo_versions(redo, r, &before));
    btree__redo_dirty(redo, page);
    btree__apply_record(p, r, after);
    if (needs_undo_info(r))
        cache_note_undo(&page->ref);
    btree__redo_done(redo, page, r->head.dbtime);
    return JET_errSuccess;
}

err_t btree__redo_node(struct redo *redo, const struct node_record *r)
{
    err_t err = JET_errSuccess;
    struct redo_page page;
    TRY_RETURN(btree__redo_open(redo, r->head.pgno, r->head.dbtime, r->head.before, REDO_CHANGE, &page));
    count(redo, page.needed);
    if (page.needed)
        TRY(redo_on_page(redo, r, &page));
    else
        TRY(btree__redo_versions(redo, r, NULL));
    if (r->head.type == LOG_FlagDelete)
        btree__redo_note(redo, r->objid, r->root, r->head.pgno);
out:
    btree__redo_close(&page);
    return err;
}

/* ---- undo ---- */

static err_t redo_undo_info(struct redo *redo, const struct node_record *r)
{
    struct version_undo known;
    if (redo->trx->level == 0 || r->rceid == 0)
        return JET_errSuccess;
    if (!version_redo_find(redo->trx, r->rceid, &known)) {
        if (r->oper != VERSION_REPLACE && r->oper != VERSION_DELETE)
            return RAISE(JET_errLogFileCorrupt);
        struct version_key where = where_of(redo, r, r->suffix, r->bookmark_data);
        TRY_RETURN(add_version(redo, r, r->oper, r->rceid, &where, r->data));
    }
    version_redo_undo_logged(redo->trx, r->rceid);
    return JET_errSuccess;
}

static err_t undo_on_page(struct redo *redo, const struct node_record *r, const struct version_undo *u, struct redo_page *page)
{
    struct page p = page->ref.page;
    TRY_RETURN(btree__redo_check_objid(p, r->objid));
    TRY_RETURN(btree__check_undo(p, r->head.line, u));
    btree__redo_dirty(redo, page);
    btree__apply_undo(p, r->head.line, u);
    btree__redo_done(redo, page, r->head.dbtime);
    return JET_errSuccess;
}

static err_t redo_undo(struct redo *redo, const struct node_record *r)
{
    err_t err = JET_errSuccess;
    struct redo_page page;
    struct version_undo u = {0};
    bool known = version_redo_find(redo->trx, r->rceid, &u);
    TRY_RETURN(btree__redo_open(redo, r->head.pgno, r->head.dbtime, r->head.before, REDO_CHANGE, &page));
    count(redo, page.needed);
    if (known && (unsigned)u.oper != r->oper)
        FAIL(JET_errLogFileCorrupt);
    if (!known) {
        u = (struct version_undo){.oper = r->oper};
        if (page.needed && r->oper != VERSION_INSERT && r->oper != VERSION_DELETE)
            TRY(btree__mismatch(page.ref.page, "undo of a change that is not known"));
    }
    if (page.needed)
        TRY(undo_on_page(redo, r, &u, &page));
    if (known)
        version_remove(redo->trx->store, u.version);
    else if (r->oper == VERSION_INSERT)
        btree__redo_note(redo, r->objid, r->root, r->head.pgno);
out:
    btree__redo_close(&page);
    return err;
}

/* ---- whole pages ---- */

static err_t redo_freed(struct redo *redo, pgno_t pgno, dbtime_t dbtime, dbtime_t before, objid_t objid)
{
    err_t err = JET_errSuccess;
    struct redo_page page;
    TRY_RETURN(btree__redo_open(redo, pgno, dbtime, before, REDO_CHANGE, &page));
    if (page.needed) {
        TRY(btree__redo_check_objid(page.ref.page, objid));
        btree__redo_dirty(redo, &page);
        btree__apply_free(page.ref.page);
        btree__redo_done(redo, &page, dbtime);
    }
out:
    btree__redo_close(&page);
    return err;
}

static err_t redo_empty_tree(struct redo *redo, const struct node_record *r)
{
    err_t err = JET_errSuccess;
    struct redo_page root;
    for (uint32_t at = 0; at < r->data.n; at += EMPTY_PAGE_SIZE) {
        struct empty_page e = empty_page_load(r->data.p + at);
        TRY_RETURN(redo_freed(redo, e.pgno, r->head.dbtime, e.before, r->objid));
    }
    TRY_RETURN(btree__redo_open(redo, r->head.pgno, r->head.dbtime, r->head.before, REDO_CHANGE, &root));
    count(redo, root.needed);
    if (root.needed) {
        TRY(btree__redo_check_objid(root.ref.page, r->objid));
        btree__redo_dirty(redo, &root);
        btree__apply_emptied_root(root.ref.page);
        btree__redo_done(redo, &root, r->head.dbtime);
    }
out:
    btree__redo_close(&root);
    return err;
}

static err_t redo_scrub(struct redo *redo, const struct node_record *r)
{
    err_t err = JET_errSuccess;
    struct redo_page page;
    TRY_RETURN(btree__redo_open(redo, r->head.pgno, r->head.dbtime, r->head.before, REDO_CHANGE, &page));
    count(redo, page.needed);
    if (page.needed) {
        struct page p = page.ref.page;
        if ((r->scrub_flags & SCRUB_UNUSED_PAGE) == 0) /* an unused page may still carry the number of the tree that it left */
            TRY(btree__redo_check_objid(p, r->objid));
        btree__redo_dirty(redo, &page);
        btree__apply_scrub(p, r);
        btree__redo_done(redo, &page, r->head.dbtime);
        page_set_flags(p, page_flags(p) | PAGE_SCRUBBED);
    }
out:
    btree__redo_close(&page);
    return err;
}

static err_t redo_new_page(struct redo *redo, const struct new_page_record *r)
{
    struct redo_page page;
    TRY_RETURN(btree__redo_open(redo, r->pgno, r->dbtime, DBTIME_NIL, REDO_CREATE, &page));
    count(redo, page.needed);
    if (page.needed) {
        btree__redo_dirty(redo, &page);
        page_format(page.ref.page, r->pgno, r->objid, PAGE_PRE_INIT, r->dbtime);
        btree__redo_done(redo, &page, r->dbtime);
    }
    btree__redo_close(&page);
    return JET_errSuccess;
}

err_t btree_redo(struct redo *redo, struct slice record)
{
    struct node_record node;
    struct new_page_record fresh;
    struct page_move_record move;
    if (record.n == 0)
        return RAISE(JET_errLogFileCorrupt);
    if (record.p[0] == LOG_NewPage) {
        TRY_RETURN(btree_decode_new_page(record, &fresh));
        return redo_new_page(redo, &fresh);
    }
    if (record.p[0] == LOG_PageMove) {
        TRY_RETURN(btree_decode_page_move(record, &move));
        return btree__redo_page_move(redo, &move);
    }
    TRY_RETURN(btree_decode_node(record, &node));
    switch (node.head.type) {
    case LOG_UndoInfo:
        return redo_undo_info(redo, &node);
    case LOG_Undo:
        return redo_undo(redo, &node);
    case LOG_EmptyTree:
        return redo_empty_tree(redo, &node);
    case LOG_Scrub:
        return redo_scrub(redo, &node);
    default:
        return btree__redo_node(redo, &node);
    }
}
