#include <stdio.h>

#include "backup/backup_private.h"

/* One database as a run of bytes: its header twice, every page of the file, verified, and the trailer. */

#define RETRY_STEP_MS 100u
#define HEADER_COPIES 2u
#define AHEAD_CHUNKS 4u

uint32_t stream__kib(const struct dbfile *db)
{
    return (uint32_t)((uint64_t)atomic_load(&db->page_count) * (db->page_size / 1024));
}

uint64_t stream__size(const struct dbfile *db)
{
    return ((uint64_t)atomic_load(&db->page_count) + HEADER_COPIES + 1) * db->page_size;
}

/* ---- opening ---- */

/* The header as it is now, before the size is taken: its range covers every page of that size. */
static void snapshot_header(const struct series *s, struct dbfile *db, struct db_header *h)
{
    dbfile_copy_header(db, h);
    h->dbtime = atomic_load(&db->dbtime);
    h->objid_last = atomic_load(&db->objid_last);
    h->full_cur = s->mark;
    h->full_cur.gen_low = s->copy_mic;
    h->full_cur.gen_high = 0;
    if (h->gen_min_required < s->copy_mic) /* the checkpoint has passed it: these pages are on disk */
        h->gen_min_required = s->copy_mic;
    if (h->gen_min_consistent < s->copy_mic)
        h->gen_min_consistent = s->copy_mic;
}

void stream__open(struct stream *st, struct series *s, struct member *m)
{
    char size[32];
    *st = (struct stream){.series = s, .member = m, .page_size = m->db->page_size};
    snapshot_header(s, m->db, &st->header);
    st->last = atomic_load(&m->db->page_count);
    st->size = ((uint64_t)st->last + HEADER_COPIES + 1) * st->page_size;
    uint32_t kib = stream__kib(m->db);
    snprintf(size, sizeof size, kib >= 1024 ? "%u Mb" : "%u Kb", kib >= 1024 ? kib / 1024 : kib);
    series__event(s, 220, EVENT_INFO, "copy of a database begins", m->db->path, size);
}

/* ---- pages ---- */

static err_t bad_page(const struct series *s, struct dbfile *db, pgno_t pgno)
{
    char number[16];
    snprintf(number, sizeof number, "%u", pgno);
    event_report(474, EVENT_ERROR, s->b->host.instance_name, "a page failed its checksum", db->path, number, NULL);
    err_t err = RAISE(JET_errReadVerifyFailure);
    err_detail("%s: page %u failed its checksum; the backup is refused: restore that page from an older set", db->path, pgno);
    return err;
}

void stream__close(struct stream *st)
{
    free(st->zeros);
    st->zeros = NULL;
}

/* 0: all pages are sound or all zero. */
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

static err_t pause_for(const struct series *s, uint32_t ms)
{
    for (; ms > 0; ms -= ms < 50 ? ms : 50) {
        err_t stop = series__stopped(s);
        if (stop < 0)
            return RAISE(stop);
        if (s->poll != NULL)
            TRY_RETURN(s->poll(s->poll_context));
        os_sleep_ms(ms < 50 ? ms : 50);
    }
    return JET_errSuccess;
}

/* A cold disk works on the next chunks while this one is verified; asked for a chunk at a time, more the kernel cuts off. */
static void look_ahead(struct stream *st, pgno_t first)
{
    uint32_t chunk = CHUNK_BYTES / st->page_size;
    if (st->ahead < first)
        st->ahead = first;
    while (st->ahead <= st->last && st->ahead - first < AHEAD_CHUNKS * chunk) {
        uint32_t left = st->last - st->ahead + 1, count = left < chunk ? left : chunk;
        dbfile_will_read_raw(st->member->db, st->ahead, count);
        st->ahead += count;
    }
}

static err_t note_zeros(struct stream *st, pgno_t first, uint32_t count, const uint8_t *bytes)
{
    for (uint32_t i = 0; i < count; i++)
        if (page_is_all_zero((struct page){(uint8_t *)(uintptr_t)bytes + (size_t)i * st->page_size, st->page_size}))
            TRY_RETURN(zeros__note(&st->zeros, st->last, first + i));
    return JET_errSuccess;
}

static err_t read_pages(struct stream *st, pgno_t first, uint32_t count, uint8_t *bytes)
{
    const struct series *s = st->series;
    struct dbfile *db = st->member->db;
    for (uint32_t attempt = 0;; attempt++) {
        TRY_RETURN(dbfile_read_raw(db, first, count, bytes));
        pgno_t bad = first_bad(db, first, count, bytes);
        if (bad == PGNO_NIL) {
            if (attempt > 0)
                series__event_file(s, 493, EVENT_WARNING, "pages could be read after some retries", 0, db->path);
            return note_zeros(st, first, count, bytes);
        }
        if (attempt >= s->read_retries)
            return bad_page(s, db, bad);
        TRY_RETURN(pause_for(s, (attempt + 1) * RETRY_STEP_MS));
    }
}

/* ---- the run ---- */

static void store_trailer(const struct stream *st, uint8_t *page)
{
    const struct series *s = st->series;
    struct trailer t = {.info = s->mark, .sign_db = st->header.sign_db, .sign_log = st->header.sign_log};
    t.info.gen_low = s->copy_mic;
    t.info.gen_high = log_current_generation(s->b->host.log);
    trailer__store(&t, page, st->page_size);
}

/* One piece: a header, the trailer, or pages up to a chunk. */
static err_t read_piece(struct stream *st, uint8_t *to, uint32_t blocks, uint32_t *done)
{
    uint64_t block = st->at / st->page_size; /* page n is block n + 1 */
    *done = 1;
    if (block < HEADER_COPIES) {
        db_header_image(&st->header, to);
        return JET_errSuccess;
    }
    pgno_t first = (pgno_t)(block - 1);
    if (first > st->last) {
        TRY_RETURN(zeros__check(st->zeros, st->series, st->member->db));
        store_trailer(st, to);
        return JET_errSuccess;
    }
    uint32_t most = CHUNK_BYTES / st->page_size, left = st->last - first + 1;
    *done = blocks < most ? blocks : most;
    *done = left < *done ? left : *done;
    look_ahead(st, first);
    return read_pages(st, first, *done, to);
}

err_t stream__read(struct stream *st, uint8_t *to, uint32_t n, uint32_t *actual)
{
    err_t err = JET_errSuccess;
    ASSERT(n % st->page_size == 0);
    *actual = 0;
    while (err >= 0 && *actual < n && st->at < st->size) {
        uint32_t done = 0;
        err = series__stopped(st->series);
        if (err < 0)
            err = RAISE(err);
        else
            err = read_piece(st, to + *actual, (n - *actual) / st->page_size, &done);
        if (err < 0)
            break;
        st->at += (uint64_t)done * st->page_size;
        *actual += done * st->page_size;
    }
    dbfile_window_close(st->member->db); /* a caller may take his time until the next read */
    return err;
}
