#include "space/space_private.h"

/* New trees and the end of trees. Page images are built by the same functions for do and redo. */

static uint32_t root_flags(uint32_t page_flags)
{
    return page_flags | PAGE_ROOT | PAGE_LEAF;
}

void space__format_root(struct page page, pgno_t root, objid_t objid, uint32_t page_flags, const struct space_header *h, dbtime_t dbtime)
{
    uint8_t bytes[16];
    space_header_store(h, bytes);
    page_format(page, root, objid, root_flags(page_flags), dbtime);
    page_set_external(page, SLICE(bytes, sizeof bytes));
}

void space__format_space_root(struct page page, pgno_t pgno, objid_t objid, uint32_t page_flags, dbtime_t dbtime)
{
    static const uint8_t no_buffer[SPLIT_BUFFER_SIZE];
    page_format(page, pgno, objid, root_flags(page_flags) | PAGE_SPACE_TREE, dbtime);
    page_set_external(page, SLICE(no_buffer, sizeof no_buffer));
}

void space__put_extent(struct page page, int line, struct extent_place e)
{
    uint8_t key[4], data[4];
    store_be32(key, e.last);
    store_u32(data, e.count);
    page_insert(page, line, SLICE(key, 4), SLICE(data, 4), 0);
}

static void put_sorted(struct page page, const struct extent_place *runs, int count)
{
    for (int i = 0; i < count; i++) {
        int line = 0;
        for (int j = 0; j < i; j++)
            line += runs[j].last < runs[i].last;
        space__put_extent(page, line, runs[i]);
    }
}

int space__convert_runs(const struct convert_record *r, struct extent_place runs[CONVERT_RUNS_MAX])
{
    int n = 0;
    struct extent_place run = {0};
    uint32_t rest = r->cpg_primary - 1;
    for (uint32_t j = 0; j < rest && j < 32; j++) {
        if ((r->avail_bits >> j & 1) == 0) {
            if (run.count > 0)
                runs[n++] = run;
            run = (struct extent_place){0};
            continue;
        }
        run = (struct extent_place){r->root + 1 + j, run.count + 1};
    }
    if (rest > 32) {
        bool joins = run.count > 0 && run.last == r->root + 32;
        if (run.count > 0 && !joins)
            runs[n++] = run;
        run = (struct extent_place){r->root + rest, rest - 32 + (joins ? run.count : 0)};
    }
    if (run.count > 0)
        runs[n++] = run;
    if (r->cpg_second > 2)
        runs[n++] = (struct extent_place){r->second_first + r->cpg_second - 1, r->cpg_second - 2};
    return n;
}

void space__build_converted(const struct convert_record *r, struct page root, struct page oe, struct page ae, dbtime_t dbtime)
{
    struct extent_place owned[2] = {{r->second_first + r->cpg_second - 1, r->cpg_second},
                                    {r->root + r->cpg_primary - 1, r->cpg_primary}};
    struct extent_place runs[CONVERT_RUNS_MAX];
    int n = space__convert_runs(r, runs);
    if (oe.p != NULL) {
        space__format_space_root(oe, r->pgno_oe, r->objid, r->page_flags, dbtime);
        put_sorted(oe, owned, 2);
    }
    if (ae.p != NULL) {
        space__format_space_root(ae, r->pgno_ae, r->objid, r->page_flags, dbtime);
        put_sorted(ae, runs, n);
    }
    if (root.p != NULL) {
        struct space_header h = {r->cpg_primary, r->parent, SPACE_MULTIPLE | (r->unique ? 0 : SPACE_NON_UNIQUE), r->pgno_oe};
        uint8_t bytes[16];
        space_header_store(&h, bytes);
        page_set_external(root, SLICE(bytes, sizeof bytes));
        page_set_dbtime(root, dbtime);
    }
}

void space__build_created(const struct create_record *r, struct page root, struct page oe, struct page ae, dbtime_t dbtime)
{
    bool multiple = r->pgno_oe != 0;
    pgno_t last = r->root + r->cpg_primary - 1;
    if (root.p != NULL) {
        struct space_header h = {.cpg_primary = r->cpg_primary, .parent = r->parent};
        h.flags = (multiple ? SPACE_MULTIPLE : 0u) | (r->unique ? 0u : SPACE_NON_UNIQUE);
        uint32_t bits = r->cpg_primary > 32 ? UINT32_MAX : (1u << (r->cpg_primary - 1)) - 1;
        h.avail_or_oe = multiple ? r->pgno_oe : bits;
        space__format_root(root, r->root, r->objid, r->page_flags, &h, dbtime);
    }
    if (oe.p != NULL) {
        space__format_space_root(oe, r->pgno_oe, r->objid, r->page_flags, dbtime);
        space__put_extent(oe, 0, (struct extent_place){last, r->cpg_primary});
    }
    if (ae.p != NULL) {
        space__format_space_root(ae, r->pgno_ae, r->objid, r->page_flags, dbtime);
        if (r->cpg_primary > 3)
            space__put_extent(ae, 0, (struct extent_place){last, r->cpg_primary - 3});
    }
}

static void release_all(struct page_ref *refs, int n)
{
    for (int i = n - 1; i >= 0; i--)
        cache_release(&refs[i]);
}

static err_t log_and_build(struct dbfile *db, struct trx *trx, struct create_record *r, struct page_ref *refs, int n)
{
    lgpos_t bound = trx_begin_bound(trx);
    for (int i = 0; i < n; i++)
        cache_mark_dirty(&refs[i], bound);
    uint8_t bytes[CREATE_MULTIPLE_SIZE];
    if (n == 1)
        create_single_encode(trx, r, bytes);
    else
        create_multiple_encode(trx, r, bytes);
    uint32_t size = n == 1 ? CREATE_SINGLE_SIZE : CREATE_MULTIPLE_SIZE;
    struct log_record record = {.part_count = 1, .part = {SLICE(bytes, size)}, .head = bytes, .dbtime_at = 8};
    struct log_stamp stamp = {.dbtime_counter = &db->dbtime};
    TRY_RETURN(trx_log(trx, &record, 1, &stamp));
    struct page none = {0};
    space__build_created(r, refs[0].page, n == 3 ? refs[1].page : none, n == 3 ? refs[2].page : none, stamp.dbtime);
    for (int i = 0; i < n; i++)
        cache_set_lgpos(&refs[i], stamp.end);
    return JET_errSuccess;
}

static err_t make_tree(struct dbfile *db, struct trx *trx, struct create_record *r)
{
    struct page_ref refs[3] = {PAGE_REF_NONE, PAGE_REF_NONE, PAGE_REF_NONE};
    int n = r->pgno_oe != 0 ? 3 : 1;
    err_t err = JET_errSuccess;
    TRY(cache_latch(db, r->root, LATCH_WRITE, CACHE_NO_READ, &refs[0]));
    if (n == 3) {
        TRY(cache_latch(db, r->pgno_oe, LATCH_WRITE, CACHE_NO_READ, &refs[1]));
        TRY(cache_latch(db, r->pgno_ae, LATCH_WRITE, CACHE_NO_READ, &refs[2]));
    }
    TRY(log_and_build(db, trx, r, refs, n));
out:
    release_all(refs, 3);
    return err;
}

err_t space_create_root(struct dbfile *db, struct trx *trx, pgno_t pages)
{
    struct create_record r = {.dbid = db->dbid,
                              .root = 1,
                              .pgno_oe = 2,
                              .pgno_ae = 3,
                              .objid = 1,
                              .cpg_primary = pages,
                              .unique = true};
    TRY_RETURN(trx_begin(trx));
    err_t err = space__log_extend(db, trx, pages);
    if (err >= 0)
        err = make_tree(db, trx, &r);
    lgpos_t end;
    err_t ended = trx_commit(trx, &end);
    return err < 0 ? err : ended;
}

/* No tree came to be there: its pages go back. The first error is the one to tell. */
static err_t give_up_run(const struct space_tree_want *want, struct trx *inner, struct extent_place run, err_t err)
{
    struct err_origin why = *err_last();
    (void)!space__give_to(want->parent, inner, run); /* it notes what it could not give */
    err_restore(&why);
    return err;
}

static err_t create_with(const struct space_tree_want *want, struct trx *inner, pgno_t *root)
{
    struct dbfile *db = want->parent->db;
    struct space_hold parent;
    struct extent_place run = {0};
    uint32_t cpg = want->cpg == 0 ? 1 : want->cpg;
    TRY_RETURN(space__hold(want->parent, inner, &parent));
    err_t err = space__take_run(&parent, cpg, cpg, &run);
    space__let_go(&parent);
    if (err < 0)
        return err;
    pgno_t first = extent_first(run);
    bool multiple = want->multiple && cpg >= 3;
    if (want->fixed_root != PGNO_NIL && first != want->fixed_root) {
        err = RAISE(JET_errDatabaseCorrupted);
        err_detail("%s: page %u was to be a root and is not free", db->path, want->fixed_root);
        return give_up_run(want, inner, run, err);
    }
    struct create_record r = {.dbid = db->dbid,
                              .root = first,
                              .pgno_oe = multiple ? first + 1 : 0,
                              .pgno_ae = multiple ? first + 2 : 0,
                              .parent = want->parent->root,
                              .objid = want->objid,
                              .cpg_primary = cpg,
                              .page_flags = want->page_flags,
                              .unique = want->unique};
    err = make_tree(db, inner, &r);
    if (err < 0)
        return give_up_run(want, inner, run, err);
    *root = first;
    return JET_errSuccess;
}

/* The session's inner transaction, or the transaction itself when it is one; begun when it is not. */
static err_t begin_inner(struct trx *trx, struct trx **inner, bool *begun)
{
    *inner = trx->inner != NULL ? trx->inner : trx;
    *begun = (*inner)->level == 0;
    return *begun ? trx_begin(*inner) : JET_errSuccess;
}

static err_t end_inner(struct trx *inner, bool begun, err_t outcome)
{
    lgpos_t end;
    err_t err = begun ? trx_commit(inner, &end) : JET_errSuccess;
    return outcome < 0 ? outcome : err;
}

err_t space_create_tree(const struct space_tree_want *want, struct trx *trx, pgno_t *root)
{
    *root = PGNO_NIL;
    struct trx *inner;
    bool begun;
    TRY_RETURN(begin_inner(trx, &inner, &begun));
    return end_inner(inner, begun, create_with(want, inner, root));
}

/* ---- freeing ---- */

struct extent_list {
    struct extent_place *e;
    uint32_t n, room;
};

static err_t collect(void *context, struct extent_place e)
{
    struct extent_list *list = context;
    if (list->n == list->room) {
        uint32_t room = list->room == 0 ? 16 : list->room * 2;
        struct extent_place *grown = realloc(list->e, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        list->e = grown;
        list->room = room;
    }
    list->e[list->n++] = e;
    return JET_errSuccess;
}

static err_t owned_extents(struct btree *tree, struct trx *inner, struct extent_list *list)
{
    struct space_hold hold;
    TRY_RETURN(space__hold(tree, inner, &hold));
    err_t err;
    if (space__is_multiple(&hold))
        err = extent__visit(&hold.oe, inner, collect, list);
    else
        err = collect(list, (struct extent_place){tree->root + hold.header.cpg_primary - 1, hold.header.cpg_primary});
    space__let_go(&hold);
    return err;
}

static err_t free_with(struct btree *tree, struct trx *inner)
{
    struct extent_list list = {0};
    err_t err = owned_extents(tree, inner, &list);
    if (err < 0)
        space_note_lost(tree->db);
    for (uint32_t i = 0; i < list.n; i++) { /* one that cannot be given does not keep the others */
        err_t given = space__give_to(tree->parent, inner, list.e[i]);
        err = err < 0 ? err : given;
    }
    free(list.e);
    return err;
}

err_t space_free_tree(struct btree *tree, struct trx *trx)
{
    struct trx *inner = NULL;
    bool begun = false;
    err_t err = tree->parent == NULL ? space__no_parent(tree) : begin_inner(trx, &inner, &begun);
    if (err < 0) {
        space_note_lost(tree->db);
        return err;
    }
    return end_inner(inner, begun, free_with(tree, inner));
}
