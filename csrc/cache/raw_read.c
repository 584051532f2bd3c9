/* Backup's way to pages: as they are on disk, with no write in the middle of one. The window makes
 * write-back stay away; nobody waits but the reader. */
#include "cache/cache_private.h"

static struct frame *writing_frame(struct dbfile *db, pgno_t pgno)
{
    uint32_t bucket;
    struct shard *shard = cache__shard(db->cache, db, pgno, &bucket);
    os_lock_take(&shard->lock);
    struct frame *f = cache__find_locked(db->cache, bucket, db, pgno);
    if (f != NULL && !atomic_load(&f->writing))
        f = NULL;
    os_lock_release(&shard->lock);
    return f;
}

/* A write in flight keeps its frame in the table, so asking the table finds all of them. */
static bool any_writing(struct dbfile *db, pgno_t first, pgno_t end, bool wait)
{
    for (pgno_t pgno = first; pgno < end; pgno++) {
        struct frame *f;
        while ((f = writing_frame(db, pgno)) != NULL) {
            if (!wait)
                return true;
            cache__wait_written(f);
        }
    }
    return false;
}

err_t dbfile_read_raw(struct dbfile *db, pgno_t first, uint32_t count, void *to)
{
    struct dbfile_own *own = db_own(db);
    ENFORCE(first != PGNO_NIL && count <= UINT32_MAX - first);
    pgno_t end = first + count;
    /* Closed while it moves: two stores are not one. */
    atomic_store(&db->window_high, 0);
    atomic_store(&db->window_low, first);
    atomic_store(&db->window_high, end);
    /* A flush writes inside the window too, unless `reading` is set. Each side raises its flag
     * before it looks at the other's; here we step back. */
    for (;;) {
        (void)any_writing(db, first, end, true);
        atomic_store(&own->reading, 1);
        if (!any_writing(db, first, end, false))
            break;
        atomic_store(&own->reading, 0);
    }
    err_t err = os_file_read(db->file, page_offset(first, db->page_size), to,
                             (size_t)count * db->page_size);
    atomic_store(&own->reading, 0);
    return err;
}

void dbfile_will_read_raw(struct dbfile *db, pgno_t first, uint32_t count)
{
    os_file_will_read(db->file, page_offset(first, db->page_size), (size_t)count * db->page_size);
}

void dbfile_window_close(struct dbfile *db)
{
    atomic_store(&db->window_high, 0);
    atomic_store(&db->window_low, 0);
}
