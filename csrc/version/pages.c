/* Leaves that the sweep is to look through: redo met a delete there, and its version ends with redo. Noted once or twice is the
 * same; a page is looked at again in no time. */
#include "version/version_private.h"

#define PAGES_FIRST 256u
#define PAGES_MOST (1u << 18) /* 4 MiB; deletes beyond wait for the next insert or merge there */

static uint32_t place_of(const struct version_page *page)
{
    return (page->pgno * 2654435761u ^ page->dbid) % VERSIONS_PAGES_RECENT;
}

static bool is_same(const struct version_page *a, const struct version_page *b)
{
    return a->pgno == b->pgno && a->dbid == b->dbid && a->objid == b->objid && a->root == b->root;
}

static bool has_room_locked(struct versions *store)
{
    if (store->page_count < store->page_room)
        return true;
    uint32_t room = store->page_room == 0 ? PAGES_FIRST : store->page_room * 2;
    struct version_page *grown = room > PAGES_MOST ? NULL : realloc(store->pages, room * sizeof *grown);
    if (grown == NULL)
        return false;
    store->pages = grown;
    store->page_room = room;
    return true;
}

void versions_note_page(struct versions *store, const struct version_page *page)
{
    os_lock_take(&store->clean_lock);
    struct version_page *recent = &store->pages_recent[place_of(page)];
    if (!is_same(recent, page) && has_room_locked(store)) {
        store->pages[store->page_count++] = *page;
        *recent = *page;
    }
    os_lock_release(&store->clean_lock);
}

bool versions_take_page(struct versions *store, struct version_page *out)
{
    os_lock_take(&store->clean_lock);
    bool any = store->page_count > 0;
    if (any) {
        *out = store->pages[--store->page_count];
        struct version_page *recent = &store->pages_recent[place_of(out)];
        if (is_same(recent, out))
            *recent = (struct version_page){0};
    }
    os_lock_release(&store->clean_lock);
    return any;
}
