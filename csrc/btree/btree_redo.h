/* redo, inside the room: pages under the dbtime rule, versions rebuilt (log-format.md 8.4, 8.6). */
#ifndef BTREE_BTREE_REDO_H
#define BTREE_BTREE_REDO_H

#include "btree/btree_apply.h"

/* A page that a record may have to change. */
struct redo_page {
    struct page_ref ref; /* write-latched; NONE when there is no such page in the record */
    bool needed;
};
enum redo_how {
    REDO_CHANGE,
    REDO_CREATE, /* the page comes to be: nothing is compared, a missing one is made */
};
/* pgno 0: NONE, not needed. before = DBTIME_NIL: not compared. */
MUST_CHECK err_t btree__redo_open(struct redo *redo, pgno_t pgno, dbtime_t dbtime, dbtime_t before, enum redo_how how, struct redo_page *out);
/* Before a page is changed, and after: dirty, dbtime, log position. */
void btree__redo_dirty(struct redo *redo, struct redo_page *page);
void btree__redo_done(struct redo *redo, struct redo_page *page, dbtime_t dbtime);
void btree__redo_close(struct redo_page *page);
/* The page if it is to be changed, else .p NULL. */
static inline struct page redo_target(const struct redo_page *page)
{
    return page->needed ? page->ref.page : (struct page){0};
}
MUST_CHECK err_t btree__redo_check_objid(struct page page, objid_t objid);

/* Versions of a record. before: the node as it was, NULL when the record is not redone. */
MUST_CHECK err_t btree__redo_versions(struct redo *redo, const struct node_record *r, const struct node *before);
/* The sweep at recovery's end is to look through this leaf for deleted nodes. */
void btree__redo_note(struct redo *redo, objid_t objid, pgno_t root, pgno_t pgno);
/* The same when there are any: nodes of other pages came here. */
void btree__redo_note_moved(struct redo *redo, objid_t objid, pgno_t root, const struct redo_page *page);
MUST_CHECK err_t btree__redo_node(struct redo *redo, const struct node_record *r);
MUST_CHECK err_t btree__redo_page_move(struct redo *redo, const struct page_move_record *r);

#endif
