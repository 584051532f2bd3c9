#include <stdio.h>

#include "backup/backup_private.h"

/* One database: header, every page of the file, verified, trailer. */

#define RETRY_STEP_MS 100u

uint32_t pages__kib(const struct dbfile *db)
{
    return (uint32_t)((uint64_t)atomic_load(&db->page_count) * (db->page_size / 1024));
}

static err_t bad_page(struct run *run, struct dbfile *db, pgno_t pgno)
{
    char number[16];
    snprintf(number, sizeof number, "%u", pgno);
    event_report(474, EVENT_ERROR, run->b->host.instance_name, "a page failed its checksum", db->path, number, NULL);
    err_t err = RAISE(JET_errReadVerifyFailure);
    err_detail("%s: page %u failed its checksum; the backup is refused: restore that page from an older set", db->path, pgno);
    return err;
}

/* 0: all pages are sound or never written. */
static pgno_t first_bad(struct dbfile *db, pgno_t first, uint32_t count, uint8_t *bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        bool corrected;
        struct page page = {bytes + (size_t)i * db->page_size, db->page_size};
        err_t err = page_verify(page, first + i, &corrected);
        if (err < 0 && err != JET_errPageNotInitialized)
            return first + i;
    }
    return PGNO_NIL;
}

static err_t pause_for(struct run *run, uint32_t ms)
{
    for (; ms > 0; ms -= ms < 50 ? ms : 50) {
        err_t stop = run__stopped(run);
        if (stop < 0)
            return RAISE(stop);
        TRY_RETURN(run__progress(run, 0));
        os_sleep_ms(ms < 50 ? ms : 50);
    }
    return JET_errSuccess;
}

static err_t read_chunk(struct run *run, struct dbfile *db, pgno_t first, uint32_t count, uint8_t *bytes)
{
    for (uint32_t attempt = 0;; attempt++) {
        TRY_RETURN(dbfile_read_raw(db, first, count, bytes));
        pgno_t bad = first_bad(db, first, count, bytes);
        if (bad == PGNO_NIL) {
            if (attempt > 0)
                run__event_file(run, 493, EVENT_WARNING, "pages could be read after some retries", 0, db->path);
            return JET_errSuccess;
        }
        if (attempt >= run->o->read_retries)
            return bad_page(run, db, bad);
        TRY_RETURN(pause_for(run, (attempt + 1) * RETRY_STEP_MS));
    }
}

static void pause_hook(struct run *run, uint32_t count)
{
    run->pages_done += count;
    while (run->o->pause != NULL && run->paused < 3 &&
           (uint64_t)run->pages_done * 4 >= (uint64_t)run->pages_total * (run->paused + 1)) {
        run->paused++;
        run->o->pause(run->o->pause_context, run->paused * 25);
    }
}

static err_t copy_pages(struct run *run, struct dbfile *db, struct copier *c, pgno_t last)
{
    uint32_t chunk = CHUNK_BYTES / db->page_size;
    for (pgno_t first = 1; first <= last; first += chunk) {
        uint32_t count = last - first + 1 < chunk ? last - first + 1 : chunk;
        uint8_t *bytes;
        err_t stop = run__stopped(run);
        if (stop < 0)
            return RAISE(stop);
        TRY_RETURN(copier__buffer(c, &bytes));
        TRY_RETURN(read_chunk(run, db, first, count, bytes));
        uint32_t n = count * db->page_size;
        TRY_RETURN(copier__write(c, ((uint64_t)first + 1) * db->page_size, n));
        pause_hook(run, count);
        TRY_RETURN(run__progress(run, n));
    }
    return JET_errSuccess;
}

static err_t write_trailer(struct run *run, const struct db_header *h, struct copier *c, pgno_t last)
{
    struct trailer t = {.info = run->mark, .sign_db = h->sign_db, .sign_log = h->sign_log};
    t.info.gen_low = run->copy_mic;
    t.info.gen_high = log_current_generation(run->b->host.log);
    uint8_t *bytes;
    TRY_RETURN(copier__buffer(c, &bytes));
    trailer__store(&t, bytes, h->page_size);
    return copier__write(c, ((uint64_t)last + 2) * h->page_size, h->page_size);
}

/* The header as it is now, before the size is taken: its range covers every page of that size. */
static void snapshot_header(struct run *run, struct dbfile *db, struct db_header *h)
{
    os_lock_take(&db->header_lock);
    *h = db->header;
    os_lock_release(&db->header_lock);
    h->dbtime = atomic_load(&db->dbtime);
    h->objid_last = atomic_load(&db->objid_last);
    h->full_cur = run->mark;
    h->full_cur.gen_low = run->copy_mic;
    h->full_cur.gen_high = 0;
    if (h->gen_min_required < run->copy_mic) /* the checkpoint has passed it: these pages are on disk */
        h->gen_min_required = run->copy_mic;
    if (h->gen_min_consistent < run->copy_mic)
        h->gen_min_consistent = run->copy_mic;
}

static err_t write_header(const char *path, struct db_header *h)
{
    struct os_file *file;
    TRY_RETURN(os_file_open(path, OS_WRITE, &file));
    err_t err = db_header_write(file, h);
    os_file_close(file);
    return err;
}

static err_t copy_file(struct run *run, struct dbfile *db, const char *to)
{
    struct db_header h;
    struct copier *c = NULL;
    err_t err = JET_errSuccess;
    snapshot_header(run, db, &h);
    pgno_t last = atomic_load(&db->page_count);
    TRY(copier__create(to, true, &c));
    TRY(run__note_created(run, to));
    TRY(copy_pages(run, db, c, last));
    TRY(write_trailer(run, &h, c, last));
    err = copier__finish(c);
    c = NULL;
    if (err >= 0)
        err = write_header(to, &h);
    run->result->bytes += ((uint64_t)last + 3) * db->page_size;
out:
    dbfile_window_close(db);
    copier__abandon(c);
    return err;
}

err_t pages__copy_database(struct run *run, struct dbfile *db)
{
    const char *name = strrchr(db->path, '/');
    char to[OS_PATH_MAX], size[32];
    TRY_RETURN(os_join(to, sizeof to, run->target, name == NULL ? db->path : name + 1));
    uint32_t kib = pages__kib(db);
    snprintf(size, sizeof size, kib >= 1024 ? "%u Mb" : "%u Kb", kib >= 1024 ? kib / 1024 : kib);
    event_report(220, EVENT_INFO, run->b->host.instance_name, "copy of a database begins", db->path, size, NULL);
    err_t err = copy_file(run, db, to);
    if (err < 0) {
        run__event_file(run, 217, EVENT_ERROR, "copy of a database failed", err, db->path);
        return err;
    }
    run->result->databases++;
    run->result->files++;
    event_report(221, EVENT_INFO, run->b->host.instance_name, "copy of a database ended", db->path, NULL);
    return JET_errSuccess;
}
