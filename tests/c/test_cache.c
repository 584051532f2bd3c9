/* Finding, latching and reading pages; headers; the window of a backup; many threads. Writing: test_cache_write.c. */
#include "cache_world.h"

/* ---- finding and evicting ---- */

static void check_small_cache(uint32_t page_size)
{
    struct world w = make_world(page_size, 64, 640, WITH_DW);
    format_all(&w, 640);
    CHECK(stats(&w).evictions >= 640 - 64);
    CHECK(stats(&w).stolen > 0);
    for (pgno_t p = 640; p >= 1; p--)
        CHECK_EQ(read_count(&w, p), p);
    CHECK(stats(&w).reads >= 640 - 64);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_EQ(stats(&w).dirty, 0);
    struct cache_stats before = stats(&w);
    CHECK_EQ(read_count(&w, 1), 1);
    CHECK_EQ(read_count(&w, 1), 1);
    CHECK(stats(&w).hits >= before.hits + 1);
    CHECK_EQ(before.frames, 64);
    CHECK_EQ(before.used, 64);
    reopen(&w);
    for (pgno_t p = 1; p <= 640; p++)
        CHECK_EQ(read_count(&w, p), p);
    end_world(&w);
}

CASE(small_cache_4k)
{
    check_small_cache(4096);
}
CASE(small_cache_2k)
{
    check_small_cache(2048);
}
CASE(small_cache_32k)
{
    check_small_cache(32768);
}

/* Pages that were touched again stay while a scan goes by; pages of a cold scan go before all
 * others. */
CASE(scan_does_not_push_out)
{
    struct world w = make_world(4096, 64, 400, 0);
    format_all(&w, 400);
    CHECK_OK(dbfile_flush(w.db));
    for (int round = 0; round < 4; round++)
        for (pgno_t p = 1; p <= 30; p++)
            (void)read_count(&w, p);
    for (pgno_t p = 100; p <= 400; p++) {
        struct page_ref ref;
        CHECK_OK(cache_latch(w.db, p, LATCH_READ, CACHE_COLD, &ref));
        cache_release(&ref);
    }
    uint64_t reads = stats(&w).reads;
    for (pgno_t p = 1; p <= 30; p++)
        CHECK_EQ(read_count(&w, p), p);
    CHECK_EQ(stats(&w).reads, reads);
    end_world(&w);
}

CASE(all_frames_latched)
{
    struct world w = make_world(4096, 32, 100, 0);
    struct page_ref refs[32];
    format_all(&w, 40);
    CHECK_OK(dbfile_flush(w.db));
    for (pgno_t p = 1; p <= 32; p++)
        CHECK_OK(cache_latch(w.db, p, LATCH_READ, CACHE_WAIT, &refs[p - 1]));
    CHECK_EQ(latch_error(&w, 40, CACHE_WAIT), JET_errOutOfMemory);
    CHECK_EQ(latch_error(&w, 40, CACHE_TRY), CACHE_WOULD_BLOCK);
    struct page_ref fresh;
    CHECK_EQ(cache_latch(w.db, 40, LATCH_WRITE, CACHE_NO_READ | CACHE_TRY, &fresh),
             CACHE_WOULD_BLOCK);
    for (int i = 0; i < 32; i++)
        cache_release(&refs[i]);
    CHECK_EQ(read_count(&w, 40), 40);
    end_world(&w);
}

/* ---- latches ---- */

CASE(latch_modes)
{
    struct world w = make_world(4096, 64, 8, 0);
    struct page_ref a, b;
    format_all(&w, 8);
    CHECK_OK(cache_latch(w.db, 1, LATCH_READ, CACHE_WAIT, &a));
    CHECK_OK(cache_latch(w.db, 1, LATCH_READ, CACHE_TRY, &b));
    CHECK(!cache_try_upgrade(&a));
    CHECK_EQ(a.mode, LATCH_READ);
    cache_release(&b);
    CHECK(b.frame == NULL);
    cache_release(&b); /* NONE: a no-op */
    CHECK_EQ(cache_latch(w.db, 1, LATCH_WRITE, CACHE_TRY, &b), CACHE_WOULD_BLOCK);
    CHECK(cache_try_upgrade(&a));
    CHECK_EQ(a.mode, LATCH_WRITE);
    CHECK_EQ(latch_error(&w, 1, CACHE_TRY), JET_errDatabaseCorrupted); /* it is ours */
    cache_downgrade(&a);
    CHECK_OK(cache_latch(w.db, 1, LATCH_READ, CACHE_TRY, &b));
    cache_release(&b);
    cache_release(&a);
    CHECK_OK(cache_latch(w.db, 1, LATCH_WRITE, CACHE_TRY, &a));
    cache_release(&a);
    reopen(&w);
    CHECK_EQ(latch_error(&w, 1, CACHE_TRY), CACHE_WOULD_BLOCK); /* would have to read */
    end_world(&w);
}

CASE(versions_and_hints)
{
    struct world w = make_world(4096, 64, 200, 0);
    struct page_ref a, b;
    format_all(&w, 200);
    CHECK_OK(cache_latch(w.db, 3, LATCH_READ, CACHE_WAIT, &a));
    struct frame *f = a.frame;
    uint32_t seen = a.version;
    cache_release(&a);
    CHECK(cache_still_valid(f, w.db, 3, seen));
    CHECK(!cache_still_valid(f, w.db, 4, seen) && !cache_still_valid(NULL, w.db, 3, seen));
    CHECK(cache_latch_hint(f, w.db, 3, seen, &a));
    CHECK_EQ(count_of(a.page), 3);
    cache_release(&a);
    CHECK_OK(cache_latch(w.db, 3, LATCH_WRITE, CACHE_WAIT, &a));
    CHECK(!cache_latch_hint(f, w.db, 3, seen, &b)); /* never waits */
    cache_release(&a);
    CHECK(cache_still_valid(f, w.db, 3, seen)); /* a write latch alone changes nothing */
    CHECK_OK(cache_latch(w.db, 3, LATCH_WRITE, CACHE_WAIT, &a));
    set_count(&w, &a, 30, LGPOS_MIN);
    CHECK(a.version != seen);
    seen = a.version;
    cache_release(&a);
    CHECK(cache_still_valid(f, w.db, 3,
                            seen)); /* the version that the writer saw is the one that stays */
    CHECK_OK(cache_latch(w.db, 3, LATCH_WRITE, CACHE_WAIT, &a));
    cache_mark_dirty(&a, LGPOS_MIN); /* an unlogged change: no position */
    cache_downgrade(&a);
    CHECK(a.version != seen);
    cache_release(&a);
    CHECK(!cache_latch_hint(f, w.db, 3, seen, &a));
    CHECK(!cache_latch_hint_write(f, w.db, 4, &a) && !cache_latch_hint_write(NULL, w.db, 3, &a));
    CHECK(cache_latch_hint_write(f, w.db, 3, &a)); /* whatever its version */
    set_count(&w, &a, 30, LGPOS_MIN);
    cache_release(&a);
    CHECK_OK(cache_latch(w.db, 3, LATCH_READ, CACHE_WAIT, &a));
    CHECK(!cache_latch_hint_write(f, w.db, 3, &b)); /* never waits */
    CHECK_EQ(count_of(a.page), 30);
    seen = a.version;
    cache_release(&a);
    CHECK_OK(dbfile_flush(w.db)); /* only clean pages leave */
    for (int round = 0; round < 4; round++)
        for (pgno_t p = 10; p <= 200; p++)
            (void)read_count(&w, p);
    CHECK(!cache_latch_hint(f, w.db, 3, seen, &a)); /* evicted */
    CHECK(!cache_latch_hint_write(f, w.db, 3, &a));
    CHECK_EQ(read_count(&w, 3), 30);
    CHECK(!cache_still_valid(f, w.db, 3, seen)); /* even when it came back to the same frame */
    end_world(&w);
}

/* ---- what reading meets ---- */

static int event_ids[8], event_count;
static enum event_severity event_severities[8];
static void sink(void *context, const struct event *event)
{
    (void)context;
    if (event_count < 8) {
        event_ids[event_count] = event->id;
        event_severities[event_count++] = event->severity;
    }
}

CASE(missing_pages)
{
    struct world w = make_world(4096, 64, 10, 0);
    struct page_ref ref;
    CHECK_EQ(latch_error(&w, 5, CACHE_WAIT), JET_errPageNotInitialized);
    CHECK_EQ(latch_error(&w, 11, CACHE_WAIT), JET_errFileIOBeyondEOF);
    CHECK_EQ(latch_error(&w, 0, CACHE_WAIT), JET_errDatabaseCorrupted);
    CHECK_EQ(latch_error(&w, UINT32_MAX, CACHE_WAIT), JET_errFileIOBeyondEOF);
    CHECK_OK(cache_latch(w.db, 5, LATCH_READ, CACHE_REDO, &ref));
    CHECK(page_is_all_zero(ref.page));
    cache_release(&ref);
    CHECK_EQ(latch_error(&w, 5, CACHE_WAIT),
             JET_errPageNotInitialized); /* the zero page in memory is no page */
    /* Redo changes a page beyond the end: the file grows when it is written. */
    CHECK_OK(cache_latch(w.db, 40, LATCH_WRITE, CACHE_REDO, &ref));
    cache_mark_dirty(&ref, LGPOS_MIN);
    page_format(ref.page, 40, 7, PAGE_LEAF, DBTIME_START + 1);
    set_count(&w, &ref, 40, LGPOS_MIN);
    cache_release(&ref);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_EQ(w.db->page_count, 40);
    reopen(&w);
    CHECK_EQ(w.db->page_count, 40);
    CHECK_EQ(read_count(&w, 40), 40);
    CHECK_EQ(latch_error(&w, 39, CACHE_WAIT), JET_errPageNotInitialized);
    end_world(&w);
}

CASE(abandoned_format)
{
    struct world w = make_world(4096, 64, 10, 0);
    struct page_ref ref;
    format(&w, 4, 44);
    CHECK_OK(dbfile_flush(w.db));
    reopen(&w);
    CHECK_OK(cache_latch(w.db, 4, LATCH_WRITE, CACHE_NO_READ, &ref));
    CHECK(page_is_all_zero(ref.page));
    cache_release(&ref); /* the split found no room: nothing was changed */
    CHECK_EQ(read_count(&w, 4), 44);
    CHECK_OK(cache_latch(w.db, 4, LATCH_WRITE, CACHE_NO_READ, &ref));
    CHECK_EQ(count_of(ref.page), 44); /* in memory already: not read, not wiped */
    cache_release(&ref);
    for (int downgrade = 0; downgrade < 2; downgrade++) {
        reopen(&w);
        CHECK_OK(cache_latch(w.db, 4, LATCH_WRITE, CACHE_NO_READ, &ref));
        cache_mark_dirty(&ref, LGPOS(3, 3, 3)); /* ... and then the log was full */
        CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS(3, 3, 3));
        if (downgrade)
            cache_downgrade(&ref);
        cache_release(&ref);
        CHECK_EQ(stats(&w).dirty, 0);
        CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS_MAX);
        CHECK_OK(dbfile_flush(w.db));
        if (!downgrade)
            CHECK_EQ(read_count(&w, 4), 44);
    }
    end_world(&w);
}

CASE(damaged_pages)
{
    struct world w = make_world(4096, 64, 10, 0);
    format_all(&w, 10);
    CHECK_OK(dbfile_flush(w.db));
    event_set_sink(sink, NULL);
    event_count = 0;
    overwrite(in("a.edb"), place(3, 4096) + 1024, 0x5a, 2000);
    flip(in("a.edb"), place(4, 4096) + 1000, 0x10);
    reopen(&w);
    CHECK_EQ(latch_error(&w, 3, CACHE_WAIT), JET_errReadVerifyFailure);
    CHECK(strstr(err_last()->detail, "a.edb") != NULL &&
          strstr(err_last()->detail, "page 3") != NULL);
    CHECK_EQ(latch_error(&w, 3, CACHE_REDO), JET_errReadVerifyFailure);
    CHECK_EQ(event_count, 2);
    CHECK_EQ(event_ids[0], 474);
    CHECK_EQ(event_severities[0], EVENT_ERROR);
    CHECK_EQ(stats(&w).used, 0);
    CHECK_EQ(read_count(&w, 4), 4); /* one bit: corrected, reported, written back */
    CHECK_EQ(event_severities[2], EVENT_WARNING);
    CHECK_EQ(stats(&w).dirty, 1);
    CHECK_OK(dbfile_flush(w.db));
    event_count = 0;
    reopen(&w);
    CHECK_EQ(read_count(&w, 4), 4);
    CHECK_EQ(event_count, 0);
    event_set_sink(NULL, NULL);
    end_world(&w);
}

/* The checksum is right, the tags are not: readers get it (they bear any bytes), writers do not. */
CASE(unsound_page)
{
    struct world w = make_world(4096, 64, 10, 0);
    struct os_file *f;
    struct page_ref ref;
    uint8_t bytes[4096];
    struct page page = {bytes, sizeof bytes};
    format_all(&w, 10);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_OK(os_file_open(in("a.edb"), OS_WRITE, &f));
    CHECK_OK(os_file_read(f, place(3, 4096), bytes, sizeof bytes));
    store_u32(bytes + 4092, 0xffffffff); /* tag 0 */
    page_seal(page, 3);
    CHECK_OK(os_file_write(f, place(3, 4096), bytes, sizeof bytes));
    os_file_close(f);
    reopen(&w);
    CHECK_EQ(read_count(&w, 3), 3);
    CHECK_EQ(cache_latch(w.db, 3, LATCH_WRITE, CACHE_WAIT, &ref), JET_errDatabaseCorrupted);
    CHECK(strstr(err_last()->detail, "page 3") != NULL);
    CHECK_OK(cache_latch(w.db, 3, LATCH_READ, CACHE_WAIT, &ref));
    CHECK(!cache_try_upgrade(&ref));
    CHECK_EQ(ref.mode, LATCH_READ);
    cache_release(&ref);
    CHECK_OK(cache_latch(w.db, 3, LATCH_WRITE, CACHE_NO_READ, &ref)); /* to be formatted anew */
    cache_release(&ref);
    end_world(&w);
}

CASE(read_only_leaves_file)
{
    struct world w = make_world(4096, 64, 10, 0);
    format_all(&w, 10);
    CHECK_OK(dbfile_flush(w.db));
    dbfile_close(w.db);
    flip(in("a.edb"), place(4, 4096) + 1000, 0x10);
    flip(in("a.edb"), 4096 + 700, 0x10); /* the shadow header */
    struct dbfile_config ro = config_of(&w, true), rw = config_of(&w, false);
    struct dbfile *second;
    CHECK_OK(dbfile_open(&ro, in("a.edb"), &w.db));
    CHECK_OK(dbfile_open(&ro, in("a.edb"), &second)); /* readers share */
    dbfile_close(second);
    CHECK_EQ(dbfile_open(&rw, in("a.edb"), &second), JET_errFileAccessDenied);
    CHECK_EQ(read_count(&w, 4), 4);
    CHECK_EQ(stats(&w).dirty, 0);
    dbfile_close(w.db);
    bool shadow;
    struct os_file *f;
    struct db_header h;
    CHECK_OK(os_file_open(in("a.edb"), OS_READ, &f));
    uint8_t byte;
    CHECK_OK(os_file_read(f, 4096 + 700, &byte, 1));
    CHECK_EQ(byte, 0x10); /* not repaired */
    CHECK_OK(db_header_read(f, &h, &shadow));
    CHECK(!shadow);
    os_file_close(f);
    CHECK_OK(dbfile_open(&rw, in("a.edb"), &w.db));
    CHECK_EQ(dbfile_open(&ro, in("a.edb"), &second), JET_errFileAccessDenied);
    end_world(&w);
}

/* ---- header ---- */

static void set_state(struct db_header *h, void *context)
{
    h->state = *(enum db_state *)context;
}

CASE(header_copies)
{
    struct world w = make_world(8192, 64, 4, 0);
    struct db_header h;
    enum db_state dirty = DB_DIRTY, clean = DB_CLEAN;
    CHECK_OK(db_header_read_path(in("a.edb"), &h));
    CHECK_EQ(h.state, DB_JUST_CREATED);
    CHECK_EQ(h.page_size, 8192);
    CHECK_EQ(h.version, 0x620);
    CHECK_EQ(h.update_major, 20);
    CHECK_EQ(h.dbid, 1);
    atomic_store(&w.db->dbtime, 777);
    atomic_store(&w.db->objid_last, 31);
    CHECK_OK(dbfile_update_header(w.db, set_state, &dirty));
    CHECK_OK(db_header_read_path(in("a.edb"), &h));
    CHECK_EQ(h.state, DB_DIRTY);
    CHECK_EQ(h.dbtime, 777);
    CHECK_EQ(h.objid_last, 31);
    struct signature sign = h.sign_db;

    /* The second copy never gets written: the first wins, and opening mends the second. */
    os_fault_set(&(struct os_fault){.ops = 1u << OS_OP_WRITE,
                                    .path_part = "a.edb",
                                    .after = 1,
                                    .count = UINT64_MAX,
                                    .error = 5});
    CHECK_EQ(dbfile_update_header(w.db, set_state, &clean), JET_errDiskIO);
    os_fault_set(NULL);
    CHECK_EQ(w.db->header.state, DB_DIRTY);
    reopen(&w);
    CHECK_EQ(w.db->header.state, DB_CLEAN);
    overwrite(in("a.edb"), 100, 0xee, 4000); /* torn primary */
    reopen(&w);
    CHECK_EQ(w.db->header.state, DB_CLEAN);
    CHECK(memcmp(&w.db->header.sign_db, &sign, sizeof sign) == 0);
    overwrite(in("a.edb"), 8192, 0xee, 4000); /* the primary is whole again, so the shadow may go */
    reopen(&w);
    CHECK_EQ(w.db->header.state, DB_CLEAN);
    dbfile_close(w.db);
    overwrite(in("a.edb"), 100, 0xee, 40);
    overwrite(in("a.edb"), 8192 + 100, 0xee, 40);
    struct dbfile_config rw = config_of(&w, false);
    CHECK_EQ(dbfile_open(&rw, in("a.edb"), &w.db), JET_errReadVerifyFailure);
    CHECK(w.db == NULL);
    end_world(&w);
}

CASE(header_of_strange_files)
{
    struct world w = make_world(4096, 64, 4, 0);
    struct dbfile_config rw = config_of(&w, false);
    struct dbfile *db;
    struct db_header h;
    CHECK_EQ(dbfile_open(&rw, in("none.edb"), &db), JET_errFileNotFound);
    CHECK_EQ(dbfile_create(&rw, in("a.edb"), 4, false, &db), JET_errDatabaseDuplicate);
    CHECK(os_exists(in("a.edb")));
    CHECK_EQ(dbfile_create(&rw, in("a.edb"), 4, true, &db),
             JET_errFileAccessDenied); /* locked by ourselves */
    CHECK_OK(dbfile_create(&rw, in("b.edb"), 9, false, &db));
    dbfile_close(db);
    CHECK_OK(dbfile_create(&rw, in("b.edb"), 2, true, &db));
    CHECK_EQ(db->page_count, 2);
    dbfile_close(db);
    struct os_file *f;
    CHECK_OK(os_file_open(in("c.edb"), OS_WRITE | OS_CREATE, &f));
    CHECK_EQ(db_header_read(f, &h, NULL), JET_errReadVerifyFailure); /* empty */
    db_header_init(&h, 16384);
    CHECK_OK(db_header_write(f, &h));
    CHECK_OK(db_header_read(f, &h, NULL));
    CHECK_EQ(h.page_size, 16384);
    CHECK_EQ(dbfile_open(&rw, in("c.edb"), &db), JET_errPageSizeMismatch);
    h.version = 0x623;
    CHECK_OK(db_header_write(f, &h));
    CHECK_EQ(db_header_read(f, &h, NULL), JET_errInvalidDatabaseVersion);
    /* Any byte may be anything. */
    unsigned long long seed = ctest_seed();
    uint8_t noise[16384];
    for (int round = 0; round < 200; round++) {
        db_header_init(&h, 2048);
        CHECK_OK(db_header_write(f, &h));
        for (size_t i = 0; i < 64; i++)
            noise[i] = (uint8_t)ctest_random(&seed);
        CHECK_OK(os_file_write(f, ctest_random(&seed) % 4096, noise, 1 + ctest_random(&seed) % 64));
        err_t err = db_header_read(f, &h, NULL);
        CHECK(err == 0 || err == JET_errReadVerifyFailure || err == JET_errInvalidDatabaseVersion);
    }
    os_file_close(f);
    end_world(&w);
}

CASE(growth)
{
    struct world w = make_world(4096, 64, 4, 0);
    struct stat st;
    CHECK_OK(dbfile_grow(w.db, 1000));
    CHECK_EQ(w.db->page_count, 1000);
    CHECK_OK(dbfile_grow(w.db, 10)); /* never shrinks */
    CHECK_EQ(w.db->page_count, 1000);
    CHECK(stat(in("a.edb"), &st) == 0);
    CHECK_EQ(st.st_size, 1002 * 4096);
    os_fault_set(&(struct os_fault){.ops = 1u << OS_OP_WRITE,
                                    .path_part = "a.edb",
                                    .after = 1,
                                    .count = UINT64_MAX,
                                    .error = 28});
    CHECK_EQ(dbfile_grow(w.db, 9000), JET_errDiskFull);
    os_fault_set(NULL);
    CHECK_EQ(w.db->page_count, 1000);
    CHECK(stat(in("a.edb"), &st) == 0);
    CHECK_EQ(st.st_size, 1002 * 4096);
    end_world(&w);
}

CASE(leap_is_a_hole)
{
    /* a log may name any page: no room is taken for what lies between, and no time */
    struct world w = make_world(4096, 64, 4, 0);
    struct stat st;
    CHECK_OK(dbfile_cover(w.db, 100));
    CHECK(stat(in("a.edb"), &st) == 0);
    CHECK_EQ(st.st_size, 102 * 4096);
    CHECK(st.st_blocks >= 102 * 8 - 8);
    CHECK_OK(dbfile_cover(w.db, 1u << 28));
    CHECK_EQ(w.db->page_count, 1u << 28);
    CHECK(stat(in("a.edb"), &st) == 0);
    CHECK_EQ(st.st_size, ((off_t)(1u << 28) + 2) * 4096);
    CHECK(st.st_blocks < 1000 * 8);
    CHECK_OK(dbfile_cover(w.db, 10));
    CHECK_EQ(w.db->page_count, 1u << 28);
    end_world(&w);
}

CASE(page_twice_in_one_change)
{
    /* a damaged link leads back to the page that is being changed: waiting for it would be for ever */
    struct world w = make_world(4096, 64, 4, 0);
    struct page_ref held, again;
    format_all(&w, 4);
    CHECK_OK(cache_latch(w.db, 2, LATCH_WRITE, CACHE_WAIT, &held));
    CHECK_EQ(cache_latch(w.db, 2, LATCH_WRITE, CACHE_WAIT, &again), JET_errDatabaseCorrupted);
    CHECK_EQ(cache_latch(w.db, 2, LATCH_READ, CACHE_WAIT, &again), JET_errDatabaseCorrupted);
    CHECK_EQ(cache_latch(w.db, 2, LATCH_WRITE, CACHE_TRY, &again), JET_errDatabaseCorrupted);
    CHECK(again.frame == NULL);
    cache_downgrade(&held);
    CHECK_OK(cache_latch(w.db, 2, LATCH_READ, CACHE_WAIT, &again));
    cache_release(&again);
    CHECK(cache_try_upgrade(&held));
    CHECK_EQ(cache_latch(w.db, 2, LATCH_READ, CACHE_WAIT, &again), JET_errDatabaseCorrupted);
    cache_release(&held);
    CHECK_OK(cache_latch(w.db, 2, LATCH_WRITE, CACHE_WAIT, &again));
    cache_release(&again);
    end_world(&w);
}

/* ---- backup window ---- */

CASE(window)
{
    struct world w = make_world(4096, 64, 30, 0);
    uint32_t n;
    uint8_t *raw = malloc(10 * 4096);
    format_all(&w, 30);
    CHECK_OK(dbfile_flush(w.db));
    for (pgno_t p = 1; p <= 30; p++)
        dirty_with_bound(&w, p, p + 100, LGPOS(9, p, 0));
    CHECK_OK(dbfile_read_raw(w.db, 11, 10, raw));
    for (uint32_t i = 0; i < 10; i++) {
        bool corrected;
        struct page page = {raw + i * 4096, 4096};
        CHECK_OK(page_verify(page, 11 + i, &corrected));
        CHECK_EQ(count_of(page), 11 + i); /* as on disk, not as in memory */
    }
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 20);
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS(9, 11, 0));
    CHECK_OK(dbfile_read_raw(w.db, 16, 10, raw)); /* the window moves */
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 5);
    dbfile_window_close(w.db);
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 5);
    CHECK_EQ(dbfile_read_raw(w.db, 25, 10, raw), JET_errFileIOBeyondEOF);
    dbfile_window_close(w.db);
    CHECK_OK(dbfile_read_raw(w.db, 21, 10, raw));
    dirty_with_bound(&w, 26, 1, LGPOS_MIN);
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 0);
    CHECK_OK(dbfile_flush(
        w.db)); /* nobody reads: the open window does not keep the database from closing */
    CHECK_EQ(stats(&w).dirty, 0);
    free(raw);
    end_world(&w);
}

/* A stalled backup does not starve a small cache: whoever needs a frame may write inside the
 * window. */
CASE(window_over_everything)
{
    struct world w = make_world(4096, 64, 400, 0);
    uint8_t *raw = malloc(400 * 4096);
    CHECK_OK(dbfile_read_raw(w.db, 1, 400, raw));
    format_all(&w, 400);
    for (pgno_t p = 1; p <= 400; p++)
        CHECK_EQ(read_count(&w, p), p);
    free(raw);
    end_world(&w);
}

/* Databases of two instances, one with a log and a double-write file, share the cache: their
 * batches do not mix. */
CASE(two_instances)
{
    struct world w = make_world(4096, 600, 100, WITH_LOG | WITH_DW), other = w;
    struct dbfile_config dc = {.cache = w.cache, .dbid = 1};
    uint32_t n;
    other.log = NULL;
    other.dw = NULL;
    CHECK_OK(dbfile_create(&dc, in("b.edb"), 100, false, &other.db));
    format_all(&w, 100);
    format_all(&other, 100);
    CHECK(cache_oldest_dirty(w.cache, w.log) < LGPOS_MAX);
    struct write_goal goal = {.log = w.log, .older_than = LGPOS_MAX, .pages_max = UINT32_MAX};
    CHECK_OK(cache_write_back(w.cache, &goal, &n));
    CHECK_EQ(n, 100);
    CHECK_EQ(cache_oldest_dirty(w.cache, w.log), LGPOS_MAX);
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS_MIN);
    format_all(&w, 100);
    uint64_t double_writes = stats(&w).double_writes;
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 200);
    CHECK_EQ(stats(&w).double_writes - double_writes, 100);
    dbfile_close(other.db);
    CHECK_OK(dbfile_open(&dc, in("b.edb"), &other.db));
    for (pgno_t p = 1; p <= 100; p++)
        CHECK_EQ(read_count(&other, p), p);
    dbfile_close(other.db);
    end_world(&w);
}

/* Logging off: the same calls, no log, no flush. */
CASE(logging_off)
{
    struct world w = make_world(4096, 64, 300, 0);
    struct log_config lc = {.log_dir = scratch,
                            .system_dir = scratch,
                            .base_name = "edb",
                            .file_size = 64 * 1024,
                            .page_size = 4096,
                            .enabled = false,
                            .instance_name = "test"};
    struct dbfile_config dc;
    struct trx trx;
    struct page_ref one;
    lgpos_t end;
    dbfile_close(w.db);
    CHECK_OK(log_create(&lc, &w.log));
    CHECK_OK(log_start_new(w.log, 1));
    CHECK_OK(versions_create(1 << 20, &w.versions));
    dc = config_of(&w, false);
    CHECK_OK(dbfile_open(&dc, in("a.edb"), &w.db));
    CHECK(!w.db->logged);
    format_all(&w, 300);
    format_nodes(&w);
    trx_init(&trx, w.versions, w.log, 1, false, NULL);
    CHECK_OK(trx_begin(&trx));
    CHECK_OK(cache_latch(w.db, 1, LATCH_WRITE, CACHE_WAIT, &one));
    change_node(&w, &trx, &one, VERSION_REPLACE, key_of("k1", ""));
    cache_release(&one);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_EQ(stats(&w).dirty, 0);
    CHECK_EQ(w.db->gen_covered, 0);
    CHECK_OK(dbfile_cover_generation(w.db, 7));
    CHECK_EQ(w.db->gen_covered, 0);
    CHECK_OK(trx_commit(&trx, &end));
    trx_term(&trx);
    end_world(&w);
}

/* ---- many threads ---- */

struct crowd {
    struct world *w;
    _Atomic bool stop;
    _Atomic uint64_t reads;
};

static void read_one_page(void *context)
{
    struct crowd *c = context;
    while (!atomic_load(&c->stop)) {
        struct page_ref ref;
        CHECK_OK(cache_latch(c->w->db, 1, LATCH_READ, CACHE_WAIT, &ref));
        atomic_fetch_add(&c->reads, 1);
        cache_release(&ref);
    }
}

/* Readers that overlap for ever do not keep a writer out, nor the writer them. */
CASE(writer_among_readers)
{
    struct world w = make_world(4096, 64, 10, 0);
    struct crowd c = {.w = &w};
    struct os_thread *t[3];
    format_all(&w, 10);
    for (int i = 0; i < 3; i++)
        CHECK_OK(os_thread_start("read", read_one_page, &c, &t[i]));
    for (uint64_t i = 1; i <= 300; i++) {
        uint64_t before = atomic_load(&c.reads);
        dirty_with_bound(&w, 1, i, LGPOS_MIN);
        if (i % 30 == 0)
            while (atomic_load(&c.reads) == before)
                os_yield();
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < 3; i++)
        os_thread_join(t[i]);
    CHECK_EQ(read_count(&w, 1), 300);
    end_world(&w);
}

#define MANY_PAGES 640u
#define MANY_THREADS 4
#define MANY_CHANGES 2500u

struct many {
    struct world w;
    _Atomic uint32_t left; /* changing threads */
    _Atomic uint64_t seed;
    uint64_t raw_pages, hints_used, hints_made;
    _Atomic uint64_t expected[MANY_PAGES + 1];
};

/* Two latches at once, in order; some changes, some reads, some tries. */
static void change_pages(void *context)
{
    struct many *m = context;
    unsigned long long seed = atomic_fetch_add(&m->seed, 7919);
    for (uint32_t i = 0; i < MANY_CHANGES; i++) {
        pgno_t a = 1 + (pgno_t)(ctest_random(&seed) % (MANY_PAGES - 1)), b = a + 1;
        struct page_ref first, second;
        CHECK_OK(
            cache_latch(m->w.db, a, i % 3 == 0 ? LATCH_READ : LATCH_WRITE, CACHE_WAIT, &first));
        if (first.mode == LATCH_READ && !cache_try_upgrade(&first)) {
            CHECK(count_of(first.page) > 0);
            cache_release(&first);
            continue;
        }
        lgpos_t bound = now_bound(&m->w);
        set_count(&m->w, &first, count_of(first.page) + 1, bound);
        atomic_fetch_add(&m->expected[a], 1);
        err_t err =
            cache_latch(m->w.db, b, LATCH_WRITE, i % 2 == 0 ? CACHE_TRY : CACHE_WAIT, &second);
        CHECK(err == 0 || err == CACHE_WOULD_BLOCK);
        if (err == 0) {
            set_count(&m->w, &second, count_of(second.page) + 1, bound);
            atomic_fetch_add(&m->expected[b], 1);
        }
        cache_release(&second);
        cache_release(&first);
    }
    atomic_fetch_sub(&m->left, 1);
}

/* Old hints: either refused, or exactly the page and state that was meant. */
static void keep_hinting(void *context)
{
    struct many *m = context;
    struct {
        struct frame *frame;
        pgno_t pgno;
        uint32_t version;
        uint64_t count;
    } hint[16] = {0};
    unsigned long long seed = atomic_fetch_add(&m->seed, 7919);
    while (atomic_load(&m->left) > 0) {
        for (int i = 0; i < 16; i++) {
            struct page_ref ref = PAGE_REF_NONE;
            if (hint[i].frame != NULL &&
                cache_latch_hint(hint[i].frame, m->w.db, hint[i].pgno, hint[i].version, &ref)) {
                CHECK_EQ(count_of(ref.page), hint[i].count);
                CHECK_EQ(load_u32(ref.page.p + AT_SELF), hint[i].pgno);
                m->hints_used++;
            } else {
                pgno_t pgno = 1 + (pgno_t)(ctest_random(&seed) % MANY_PAGES);
                CHECK_OK(cache_latch(m->w.db, pgno, LATCH_READ, CACHE_WAIT, &ref));
                CHECK_EQ(load_u32(ref.page.p + AT_SELF), pgno);
                hint[i].frame = ref.frame;
                hint[i].pgno = pgno;
                hint[i].version = ref.version;
                hint[i].count = count_of(ref.page);
                m->hints_made++;
            }
            cache_release(&ref);
        }
        os_yield();
    }
}

static void keep_writing(void *context)
{
    struct many *m = context;
    while (atomic_load(&m->left) > 0) {
        uint32_t n;
        struct write_goal goal = {
            .log = m->w.log, .older_than = LGPOS_MAX, .pages_max = 40, .random_steal = true};
        CHECK_OK(cache_write_back(m->w.cache, &goal, &n));
        cache_wait_work(m->w.cache, 2);
    }
}

/* What lies on disk is whole pages, each written after its log (write-ahead rule) and covered by
 * the header. */
static void keep_reading(void *context)
{
    struct many *m = context;
    uint8_t *raw = malloc(16 * 4096);
    uint32_t generation = 0;
    do {
        for (pgno_t p = 1; p + 15 <= MANY_PAGES; p += 16) {
            CHECK_OK(dbfile_read_raw(m->w.db, p, 16, raw));
            for (uint32_t i = 0; i < 16; i++) {
                struct page page = {raw + i * 4096, 4096};
                bool corrected;
                CHECK_OK(page_verify(page, p + i, &corrected));
                CHECK(!corrected);
                lgpos_t end = load_u64(page.p + AT_END);
                CHECK(m->w.log == NULL || log_flushed(m->w.log) >= end);
                generation = load_u32(page.p + AT_GENERATION) > generation
                                 ? load_u32(page.p + AT_GENERATION)
                                 : generation;
                m->raw_pages++;
            }
        }
        dbfile_window_close(m->w.db);
        struct db_header h; /* one copy is good at any moment */
        CHECK_OK(db_header_read_path(in("a.edb"), &h));
        CHECK(h.gen_max_required >= generation && h.gen_max_committed >= generation);
    } while (atomic_load(&m->left) > 0);
    CHECK(m->w.log == NULL || generation > 1);
    free(raw);
}

static void check_many(unsigned with)
{
    struct many *m = calloc(1, sizeof *m);
    struct os_thread *threads[MANY_THREADS + 3];
    m->w = make_world(4096, 64, MANY_PAGES, with);
    m->seed = ctest_seed();
    m->left = MANY_THREADS;
    format_all(&m->w, MANY_PAGES);
    for (pgno_t p = 1; p <= MANY_PAGES; p++)
        m->expected[p] = p;
    CHECK_OK(dbfile_flush(m->w.db));
    for (int i = 0; i < MANY_THREADS; i++)
        CHECK_OK(os_thread_start("change", change_pages, m, &threads[i]));
    CHECK_OK(os_thread_start("write", keep_writing, m, &threads[MANY_THREADS]));
    CHECK_OK(os_thread_start("read", keep_reading, m, &threads[MANY_THREADS + 1]));
    CHECK_OK(os_thread_start("hint", keep_hinting, m, &threads[MANY_THREADS + 2]));
    for (int i = 0; i < MANY_THREADS + 3; i++)
        os_thread_join(threads[i]);
    CHECK(m->raw_pages >= MANY_PAGES);
    CHECK(m->hints_used > 0 && m->hints_made > 16);
    CHECK_OK(dbfile_flush(m->w.db));
    CHECK_EQ(cache_oldest_dirty(m->w.cache, m->w.log), LGPOS_MAX);
    CHECK_EQ(stats(&m->w).dirty, 0);
    reopen(&m->w);
    for (pgno_t p = 1; p <= MANY_PAGES; p++)
        CHECK_EQ(read_count(&m->w, p), m->expected[p]);
    end_world(&m->w);
    free(m);
}

CASE(many_threads)
{
    check_many(0);
}
CASE(many_threads_double_write)
{
    check_many(WITH_DW);
}
CASE(many_threads_logged)
{
    check_many(WITH_LOG | WITH_DW);
}

CTEST_MAIN
