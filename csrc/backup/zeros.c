#include <stdio.h>

#include "catalog/catalog.h"
#include "backup/backup_private.h"

/* Pages that lie on the disk as zeros: never written, or lost by the disk? After a database was copied, those that no free space
 * explains are looked for in its trees. A page that a tree points to was formatted before the pointer was there: it is in memory, not
 * yet written, and its log goes with the set; or the disk had it once and has lost it. Then the set would be worthless, and says so. */

struct zeros {
    uint8_t *bits; /* a bit a page */
    pgno_t last;
    uint32_t count;
};

err_t zeros__note(struct zeros **zeros, pgno_t last, pgno_t pgno)
{
    struct zeros *z = *zeros;
    if (z == NULL) {
        z = calloc(1, sizeof *z + last / 8 + 1);
        if (z == NULL)
            return RAISE(JET_errOutOfMemory);
        z->bits = (uint8_t *)(z + 1);
        z->last = last;
        *zeros = z;
    }
    z->count += !bit_has(z->bits, pgno);
    bit_set(z->bits, pgno);
    return JET_errSuccess;
}

static bool has(const struct zeros *z, pgno_t pgno)
{
    return pgno <= z->last && bit_has(z->bits, pgno);
}

static void forget(struct zeros *z, pgno_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count && first + i <= z->last; i++)
        if (has(z, first + i)) {
            bit_clear(z->bits, first + i);
            z->count--;
        }
}

/* ---- what free space explains ---- */

struct job {
    struct zeros *zeros;
    struct dbfile *db;
    const struct series *series;
    pgno_t end; /* behind the last page that anybody owns */
};

static err_t forget_unused(void *context, struct space_extent e, bool available)
{
    struct job *j = context;
    (void)available;
    forget(j->zeros, e.first, e.count);
    return JET_errSuccess;
}

static err_t note_end(void *context, struct space_extent e, bool available)
{
    struct job *j = context;
    (void)available;
    if (e.first + e.count > j->end)
        j->end = e.first + e.count;
    return JET_errSuccess;
}

/* ---- pages that are lost ---- */

static err_t lost(const struct job *j, pgno_t pgno)
{
    char number[16];
    snprintf(number, sizeof number, "%u", pgno);
    event_report(474, EVENT_ERROR, j->series->b->host.instance_name, "a page in use is all zero on the disk", j->db->path, number, NULL);
    err_t err = RAISE(JET_errPageNotInitialized);
    err_detail("%s: page %u is in use and all zero on the disk; the backup is refused: restore that page from an older set", j->db->path, pgno);
    return err;
}

/* In memory, sound and not to be written: then the disk must have it. */
static err_t check_disk(const struct job *j, const struct page_ref *ref)
{
    err_t err = JET_errSuccess;
    if (cache_will_write(ref))
        return JET_errSuccess;
    uint8_t *bytes = os_alloc_aligned(j->db->page_size);
    if (bytes == NULL)
        return RAISE(JET_errOutOfMemory);
    err = dbfile_read_raw(j->db, ref->pgno, 1, bytes);
    dbfile_window_close(j->db);
    if (err >= 0 && page_is_all_zero((struct page){bytes, j->db->page_size}))
        err = lost(j, ref->pgno);
    os_free_aligned(bytes);
    return err;
}

static err_t see_page(void *context, pgno_t pgno, struct page page, int depth)
{
    struct job *j = context;
    struct page_ref ref = PAGE_REF_NONE;
    (void)page;
    (void)depth;
    if (!has(j->zeros, pgno))
        return JET_errSuccess;
    err_t err = cache_latch(j->db, pgno, LATCH_READ, CACHE_COLD, &ref);
    if (err == JET_errPageNotInitialized)
        return lost(j, pgno);
    TRY_RETURN(err);
    err = check_disk(j, &ref);
    cache_release(&ref);
    return err;
}

/* ---- all trees ---- */

static err_t on_root(struct job *j, pgno_t root, err_t (*fn)(struct job *j, struct btree *tree))
{
    struct btree *tree;
    err_t err = btree_open(j->db, root, &tree);
    if (err == JET_errPageNotInitialized)
        return lost(j, root);
    TRY_RETURN(err);
    err = fn(j, tree);
    btree_close(tree);
    return err;
}

static err_t look_at_space(struct job *j, struct btree *tree)
{
    if (tree->parent == NULL)
        TRY_RETURN(space_visit(tree, note_end, j));
    return space_visit_unused(tree, forget_unused, j);
}

static err_t look_at_pages(struct job *j, struct btree *tree)
{
    TRY_RETURN(btree_visit_still(tree, see_page, j));
    return space_visit_pages(tree, see_page, j);
}

static err_t space_of(void *context, objid_t objid, pgno_t root)
{
    (void)objid;
    return on_root(context, root, look_at_space);
}

static err_t pages_of(void *context, objid_t objid, pgno_t root)
{
    (void)objid;
    return on_root(context, root, look_at_pages);
}

/* In a snapshot: the space of what is dropped meanwhile is given to nobody else. */
static err_t look(struct job *j)
{
    TRY_RETURN(on_root(j, SYSTEM_ROOT, look_at_space));
    TRY_RETURN(catalog_visit_trees(j->db, space_of, j));
    if (j->end <= j->zeros->last) /* a growth that nobody owns yet */
        forget(j->zeros, j->end, j->zeros->last - j->end + 1);
    if (j->zeros->count == 0)
        return JET_errSuccess;
    TRY_RETURN(on_root(j, SYSTEM_ROOT, look_at_pages));
    return catalog_visit_trees(j->db, pages_of, j);
}

err_t zeros__check(struct zeros *zeros, const struct series *s, struct dbfile *db)
{
    struct job j = {.zeros = zeros, .db = db, .series = s};
    struct trx *trx = s->b->host.trx;
    lgpos_t end;
    if (zeros == NULL || zeros->count == 0)
        return JET_errSuccess;
    TRY_RETURN(trx_begin(trx));
    err_t err = look(&j);
    err_t ended = trx_commit(trx, &end);
    return err < 0 ? err : ended;
}
