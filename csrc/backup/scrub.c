#include <stdio.h>

#include "backup/backup_private.h"
#include "catalog/catalog.h"

/* JET_paramZeroDatabaseDuringBackup: before a database is copied whole, what was deleted is wiped off its pages, logged, and written:
 * the set's pages are wiped ones, and redo of the set's log does not bring anything back (BK-137). */

#define PAGES_A_TRANSACTION 32u /* short: a checkpoint may not pass the Begin0 of an open one */

struct scrub {
    struct series *series;
    struct dbfile *db;
    struct catalog_trees trees;
    uint8_t *unused; /* one bit a page */
    pgno_t last;
    struct btree_scrub sum;
};

/* ---- which trees there are, and which pages none of them uses ---- */

static pgno_t root_of(void *context, objid_t objid)
{
    const struct scrub *w = context;
    if (objid == SYSTEM_OBJID)
        return SYSTEM_ROOT;
    const struct catalog_tree *found = catalog_find_tree(&w->trees, objid);
    return found == NULL ? PGNO_NIL : found->root;
}

static err_t note_unused(void *context, struct space_extent e, bool available)
{
    struct scrub *w = context;
    (void)available;
    for (uint32_t i = 0; i < e.count; i++) {
        pgno_t p = e.first + i;
        if (p >= 1 && p <= w->last)
            bit_set(w->unused, p);
    }
    return JET_errSuccess;
}

static err_t find_unused(struct scrub *w, pgno_t root, objid_t objid)
{
    struct btree *tree;
    TRY_RETURN(btree_open_living(w->db, root, objid, &tree));
    if (tree == NULL)
        return JET_errSuccess;
    err_t err = space_visit_unused(tree, note_unused, w);
    btree_close(tree);
    return err;
}

static err_t survey(struct scrub *w)
{
    w->sum.began = atomic_load(&w->db->dbtime);
    w->last = atomic_load(&w->db->page_count);
    w->unused = calloc(1, (size_t)w->last / 8 + 1);
    if (w->unused == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY_RETURN(catalog_list_trees(w->db, &w->trees));
    TRY_RETURN(find_unused(w, SYSTEM_ROOT, SYSTEM_OBJID));
    for (uint32_t i = 0; i < w->trees.n; i++)
        TRY_RETURN(find_unused(w, w->trees.list[i].root, w->trees.list[i].objid));
    return JET_errSuccess;
}

/* ---- the pages ---- */

static err_t poll(const struct series *s)
{
    err_t stop = series__stopped(s);
    if (stop < 0)
        return RAISE(stop);
    return s->poll == NULL ? JET_errSuccess : s->poll(s->poll_context);
}

static err_t some_pages(struct scrub *w, pgno_t first)
{
    lgpos_t end;
    err_t err = JET_errSuccess;
    if (w->sum.trx->level == 0) /* not left open by a commit that a full disk refused */
        TRY_RETURN(trx_begin(w->sum.trx));
    for (pgno_t p = first; p <= w->last && p - first < PAGES_A_TRANSACTION && err >= 0; p++)
        err = btree_scrub_page(w->db, p, bit_has(w->unused, p), &w->sum);
    err_t ended = trx_commit(w->sum.trx, &end); /* after an error too: there is nothing to undo */
    return err < 0 ? err : ended;
}

static err_t all_pages(struct scrub *w)
{
    for (pgno_t p = 1; p <= w->last; p += PAGES_A_TRANSACTION) {
        TRY_RETURN(poll(w->series));
        TRY_RETURN(some_pages(w, p));
    }
    return dbfile_flush(w->db);
}

static void note_in_header(struct db_header *h, void *context)
{
    const struct scrub *w = context;
    h->dbtime_last_scrub = w->sum.began;
    os_logtime_now(&h->time_scrub);
}

static void tell_end(const struct scrub *w)
{
    char pages[16], unused[16], nodes[16];
    snprintf(pages, sizeof pages, "%u", w->sum.pages);
    snprintf(unused, sizeof unused, "%u", w->sum.unused);
    snprintf(nodes, sizeof nodes, "%u", w->sum.nodes);
    event_report(707, EVENT_INFO, w->series->b->host.instance_name, "deleted data are wiped", w->db->path, pages, unused, nodes, NULL);
}

err_t scrub__database(struct series *s, struct dbfile *db)
{
    err_t err = JET_errSuccess;
    struct scrub w = {.series = s, .db = db};
    if (!s->zero_deleted)
        return JET_errSuccess;
    w.sum = (struct btree_scrub){.trx = s->b->host.scrub_trx, .root_of = root_of, .context = &w};
    event_report(706, EVENT_INFO, s->b->host.instance_name, "deleted data are going to be wiped", db->path, NULL);
    TRY(survey(&w));
    TRY(all_pages(&w));
    TRY(log_flush_all(s->b->host.log));
    TRY(dbfile_update_header(db, note_in_header, &w));
    tell_end(&w);
out:
    free(w.trees.list);
    free(w.unused);
    return err;
}

/* Old versions give their nodes up; the logs that hold what was deleted before are finished. */
err_t scrub__finish_logs(struct series *s)
{
    const struct backup_host *h = &s->b->host;
    uint32_t closed;
    if (!s->zero_deleted)
        return JET_errSuccess;
    TRY_RETURN(h->sweep(h->context));
    return log_roll(h->log, &closed);
}

/* ... and recovery of the set does not need them, unless a transaction is open since then. The generation has a record by now. */
err_t scrub__leave_logs(struct series *s)
{
    const struct backup_host *h = &s->b->host;
    if (!s->zero_deleted)
        return JET_errSuccess;
    TRY_RETURN(log_flush_all(h->log));
    return checkpointer_run(h->checkpointer, true);
}
