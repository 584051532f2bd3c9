/* Pages on their way to the disk: write-back and its failures, before-images, the double-write file. */
#include "cache_world.h"

/* ---- write-back ---- */

CASE(goals)
{
    struct world w = make_world(4096, 600, 500, 0);
    struct dbfile_config dc = config_of(&w, false);
    struct dbfile *first = w.db, *second;
    uint32_t n;
    CHECK_OK(dbfile_create(&dc, in("b.edb"), 500, false, &second));
    for (pgno_t p = 1; p <= 100; p++) {
        struct page_ref ref;
        format(&w, p, p);
        CHECK_OK(cache_latch(w.db, p, LATCH_WRITE, CACHE_WAIT, &ref));
        cache_release(&ref);
    }
    CHECK_OK(dbfile_flush(w.db));
    for (pgno_t p = 1; p <= 100; p++) {
        struct page_ref ref;
        CHECK_OK(cache_latch(w.db, p, LATCH_WRITE, CACHE_WAIT, &ref));
        set_count(&w, &ref, p, LGPOS(5, p, 0));
        cache_release(&ref);
    }
    w.db = second;
    format_all(&w, 50);
    w.db = first;
    CHECK_OK(cache_write_back(w.cache,
                              &(struct write_goal){.older_than = LGPOS_MAX, .pages_max = 7}, &n));
    CHECK_EQ(n, 7);
    CHECK_EQ(stats(&w).dirty, 143);
    CHECK_OK(cache_write_back(
        w.cache, &(struct write_goal){.only = second, .older_than = LGPOS_MAX, .pages_max = 999},
        &n));
    CHECK(n <= 50 && n >= 43);
    CHECK_OK(cache_write_back(
        w.cache, &(struct write_goal){.older_than = LGPOS(5, 61, 0), .pages_max = 999}, &n));
    CHECK(n <= 60 && n >= 53);
    CHECK_EQ(stats(&w).dirty, 40);
    uint32_t total = 0;
    for (int i = 0; i < 60 && total < 40; i++) {
        CHECK_OK(cache_write_back(
            w.cache,
            &(struct write_goal){.older_than = LGPOS_MAX, .pages_max = 999, .random_steal = true},
            &n));
        total += n;
    }
    CHECK_EQ(total, 40);
    CHECK_EQ(stats(&w).dirty, 0);
    dbfile_close(second);
    end_world(&w);
}

CASE(latched_page_is_skipped)
{
    struct world w = make_world(4096, 64, 10, 0);
    struct page_ref ref;
    uint32_t n;
    format_all(&w, 10);
    CHECK_OK(cache_latch(w.db, 4, LATCH_WRITE, CACHE_WAIT, &ref));
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 9);
    CHECK_EQ(stats(&w).dirty, 1);
    cache_release(&ref);
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 1);
    end_world(&w);
}

static void write_in_thread(void *context)
{
    uint32_t n;
    CHECK_OK(write_all(context, &n));
    CHECK_EQ(n, 1);
}

/* A page on its way to disk counts as dirty until it is synced, also when it is changed meanwhile.
 */
CASE(oldest_dirty_in_flight)
{
    struct world w = make_world(4096, 64, 10, 0);
    format_all(&w, 10);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS_MAX);
    dirty_with_bound(&w, 2, 20, LGPOS(9, 5, 0));
    dirty_with_bound(&w, 2, 21, LGPOS(9, 7, 0)); /* a later bound changes nothing */
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS(9, 5, 0));
    CHECK_EQ(cache_oldest_dirty(w.cache, (struct log *)&w), LGPOS_MAX); /* of another log */

    os_fault_set(&(struct os_fault){
        .ops = 1u << OS_OP_SYNC, .path_part = "a.edb", .count = 1, .delay_ms = 400});
    struct os_thread *t;
    CHECK_OK(os_thread_start("writer", write_in_thread, &w, &t));
    while (os_fault_hits() == 0)
        os_sleep_ms(1);
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS(9, 5, 0)); /* written, not synced */
    dirty_with_bound(&w, 2, 22, LGPOS(9, 8, 0));
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS(9, 5, 0));
    os_thread_join(t);
    os_fault_set(NULL);
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL),
             LGPOS(9, 8, 0)); /* only the change after the copy is left */
    CHECK_EQ(stats(&w).dirty, 1);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS_MAX);
    reopen(&w);
    CHECK_EQ(read_count(&w, 2), 22);
    end_world(&w);
}

static void check_failed_write(unsigned ops, const char *part, unsigned with)
{
    struct world w = make_world(4096, 64, 10, with);
    uint32_t n;
    format_all(&w, 10);
    CHECK_OK(dbfile_flush(w.db));
    dirty_with_bound(&w, 2, 20, LGPOS(9, 5, 0));
    dirty_with_bound(&w, 3, 30, LGPOS(9, 6, 0));
    os_fault_set(&(struct os_fault){.ops = ops, .path_part = part, .count = 1, .error = 5});
    CHECK_EQ(write_all(&w, &n), JET_errDiskIO);
    CHECK_EQ(os_fault_hits(), 1);
    CHECK_EQ(stats(&w).dirty, 2);
    CHECK_EQ(stats(&w).write_errors, 1);
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS(9, 5, 0));
    dirty_with_bound(&w, 2, 21, LGPOS(9, 9, 0));
    CHECK_EQ(cache_oldest_dirty(w.cache, NULL),
             LGPOS(9, 5, 0)); /* the old bound outlives a failed write */
    if (with & WITH_DW) {     /* copies of pages that may be torn are never overwritten */
        CHECK_EQ(write_all(&w, &n), JET_errDiskIO);
        CHECK_EQ(stats(&w).dirty, 2);
    } else {
        CHECK_OK(write_all(&w, &n));
        CHECK_EQ(n, 2);
        CHECK_EQ(stats(&w).dirty, 0);
        CHECK_EQ(cache_oldest_dirty(w.cache, NULL), LGPOS_MAX);
        reopen(&w);
        CHECK_EQ(read_count(&w, 2), 21);
    }
    end_world(&w);
}

CASE(failed_write)
{
    check_failed_write(1u << OS_OP_WRITE, "a.edb", 0);
}
CASE(failed_sync)
{
    check_failed_write(1u << OS_OP_SYNC, "a.edb", 0);
}
CASE(failed_write_behind_double_write)
{
    check_failed_write(1u << OS_OP_WRITE, "a.edb", WITH_DW);
}
CASE(failed_double_write)
{
    check_failed_write(1u << OS_OP_SYNC, "edb.dwr", WITH_DW);
}

static err_t short_of_frames(struct world *w)
{
    for (pgno_t p = 1; p <= 200; p++) {
        struct page_ref ref;
        TRY_RETURN(cache_latch(w->db, p, LATCH_WRITE, CACHE_NO_READ, &ref));
        cache_mark_dirty(&ref, LGPOS_MIN);
        page_format(ref.page, p, 7, PAGE_LEAF, DBTIME_START + 1);
        cache_release(&ref);
    }
    return JET_errSuccess;
}

/* A thread that needs a frame and cannot write dirty pages gets the disk's error, and nothing is
 * lost. */
CASE(eviction_meets_disk_error)
{
    struct world w = make_world(4096, 64, 200, 0);
    os_fault_set(&(struct os_fault){
        .ops = 1u << OS_OP_WRITE, .path_part = "a.edb", .count = UINT64_MAX, .error = 28});
    CHECK_EQ(short_of_frames(&w), JET_errDiskFull);
    CHECK_EQ(stats(&w).dirty, 64);
    os_fault_set(NULL);
    CHECK_OK(short_of_frames(&w));
    end_world(&w);
}

CASE(bell)
{
    struct world w = make_world(4096, 64, 64, 0);
    uint64_t start = os_now_ns();
    cache_wait_work(w.cache, 30);
    CHECK(os_now_ns() - start >= 25000000);
    cache_ring(w.cache);
    start = os_now_ns();
    cache_wait_work(w.cache, 5000);
    format_all(&w, 40); /* more than half are dirty */
    cache_wait_work(w.cache, 5000);
    CHECK(os_now_ns() - start < 4000000000u);
    end_world(&w);
}

/* ---- UndoInfo ---- */

CASE(undo_info)
{
    struct world w = make_world(4096, 64, 10, WITH_LOG);
    struct trx trx;
    struct page_ref one, two;
    uint32_t n;
    lgpos_t end;
    format_nodes(&w);
    trx_init(&trx, w.versions, w.log, 1, false, NULL);
    CHECK_OK(trx_begin(&trx));
    CHECK_OK(cache_latch(w.db, 1, LATCH_WRITE, CACHE_WAIT, &one));
    CHECK_OK(cache_latch(w.db, 2, LATCH_WRITE, CACHE_WAIT, &two));
    CHECK(!cache_has_undo(&one));
    change_node(&w, &trx, &one, VERSION_REPLACE, key_of("k1", ""));
    change_node(&w, &trx, &one, VERSION_DELETE, key_of("k2", ""));
    change_node(&w, &trx, &two, VERSION_DELETE, key_of("k2", "d2"));
    cache_release(&one);
    cache_release(&two);
    lgpos_t tail = log_tail(w.log);
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 2);
    CHECK_EQ(version_undo_info_count(w.versions), 3);
    CHECK(log_flushed(w.log) >
          tail); /* UndoInfo is on disk before the pages, not only the changes */
    CHECK_OK(cache_latch(w.db, 1, LATCH_WRITE, CACHE_WAIT, &one));
    CHECK(!cache_has_undo(&one));
    change_node(&w, &trx, &one, VERSION_INSERT, key_of("k9", "")); /* an insert needs none */
    CHECK(!cache_has_undo(&one));
    change_node(&w, &trx, &one, VERSION_REPLACE, key_of("k1", ""));
    CHECK(cache_has_undo(&one));
    CHECK_OK(cache_log_undo_info(&one)); /* a split is about to move the nodes */
    CHECK(!cache_has_undo(&one));
    cache_release(&one);
    CHECK_EQ(version_undo_info_count(w.versions), 4);
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 1);
    CHECK_EQ(version_undo_info_count(w.versions), 4);

    CHECK_OK(cache_latch(w.db, 1, LATCH_WRITE, CACHE_WAIT, &one));
    change_node(&w, &trx, &one, VERSION_REPLACE, key_of("k1", ""));
    cache_release(&one);
    CHECK_OK(trx_commit(&trx, &end));
    CHECK_OK(write_all(&w, &n)); /* committed meanwhile: nothing to tell */
    CHECK_EQ(n, 1);
    CHECK_EQ(version_undo_info_count(w.versions), 4);
    trx_term(&trx);
    end_world(&w);
}

/* In redo nothing can be logged: the page waits for the end of its transaction, in memory. */
CASE(undo_info_in_redo)
{
    struct world w = make_world(4096, 64, 200, WITH_LOG);
    struct trx trx;
    struct page_ref one;
    struct version_key where = key_of("k1", "");
    uint32_t n;
    format_nodes(&w);
    trx_init(&trx, w.versions, w.log, 1, false, NULL);
    trx_redo_begin0(&trx, 500, 1, LGPOS(1, 9, 0));
    CHECK_OK(cache_latch(w.db, 1, LATCH_WRITE, CACHE_WAIT, &one));
    cache_mark_dirty(&one, LGPOS(1, 9, 0));
    CHECK_OK(version_redo_add(&trx, VERSION_REPLACE, 44, 1, &where, SLICE("before", 6), 0, 0));
    cache_note_undo(&one);
    cache_set_lgpos(&one, LGPOS_MIN);
    cache_release(&one);
    CHECK_OK(write_all(&w, &n));
    CHECK_EQ(n, 0);
    CHECK_EQ(dbfile_flush(w.db), JET_errCannotLogDuringRecoveryRedo);
    CHECK_EQ(cache_oldest_dirty(w.cache, w.log), LGPOS(1, 9, 0));
    for (pgno_t p = 3; p <= 200; p++) /* others come and go meanwhile */
        format(&w, p, p);
    CHECK_EQ(stats(&w).writes > 100, 1);
    trx_redo_end(&trx);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_EQ(stats(&w).dirty, 0);
    versions_redo_done(w.versions, 44, 500);
    trx_term(&trx);
    end_world(&w);
}

/* ---- double-write file ---- */

/* Tears the pages [first, first + n) of the closed database in place, the way a power cut does: old
 * tail, new head. */
static void tear(pgno_t first, uint32_t n, uint32_t page_size)
{
    for (uint32_t i = 0; i < n; i++)
        overwrite(in("a.edb"), place(first + i, page_size) + page_size / 2, 0xc3, page_size / 2);
}

static void check_restore(uint32_t page_size)
{
    struct world w = make_world(page_size, 64, 20, WITH_DW);
    uint64_t restored = 99;
    format_all(&w, 20);
    CHECK_OK(dbfile_flush(w.db)); /* one batch: all 20 are in the file */
    dbfile_close(w.db);
    double_write_close(w.dw, false); /* as after a crash: the file is still there */
    w.dw = NULL;
    tear(3, 4, page_size);
    overwrite(in("a.edb"), place(9, page_size), 0, page_size); /* never reached the disk */
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 5);
    struct dbfile_config dc = config_of(&w, false);
    CHECK_OK(dbfile_open(&dc, in("a.edb"), &w.db));
    for (pgno_t p = 1; p <= 20; p++)
        CHECK_EQ(read_count(&w, p), p);
    CHECK_OK(double_write_restore(in("nothing.dwr"), &restored));
    CHECK_EQ(restored, 0);
    end_world(&w);
}

CASE(restore_4k)
{
    check_restore(4096);
}
CASE(restore_16k)
{
    check_restore(16384);
}

/* A crash in the middle of any write of a batch, header included, with the write torn where it was.
 */
CASE(crash_in_batch)
{
    int crashes = 0, restores = 0;
    for (uint64_t after = 0;; after++) {
        struct world w = make_world(4096, 64, 40, WITH_DW);
        uint64_t restored;
        uint32_t n;
        format_all(&w, 40);
        CHECK_OK(dbfile_flush(w.db));
        /* Runs of 7, 5 and 1 pages, so that half a write ends inside a page. */
        for (pgno_t p = 3; p <= 21; p++)
            if (p != 10 && (p <= 15 || p == 21))
                dirty_with_bound(&w, p, 1000 + p, LGPOS_MIN);
        os_fault_set(&(struct os_fault){
            .ops = 1u << OS_OP_WRITE, .after = after, .count = UINT64_MAX, .error = -1});
        err_t err = write_all(&w, &n);
        uint64_t hits = os_fault_hits();
        os_fault_set(NULL);
        CHECK(hits > 0 ? err == JET_errDiskIO : err == 0);
        dbfile_close(w.db);
        double_write_close(w.dw, false);
        w.dw = NULL;
        CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
        struct dbfile_config dc = config_of(&w, false);
        CHECK_OK(dbfile_open(&dc, in("a.edb"), &w.db));
        for (pgno_t p = 1; p <= 40; p++) {
            uint64_t count = read_count(&w, p); /* every page is whole, and old or new */
            CHECK(count == p || (count == 1000 + p && p >= 3 && p <= 21));
        }
        crashes += hits > 0;
        restores += restored > 0;
        end_world(&w);
        if (hits == 0)
            break;
    }
    CHECK_EQ(crashes, 4); /* the double-write file, and three runs */
    CHECK(restores >= 2);
}

static struct world torn_world(void)
{
    struct world w = make_world(4096, 64, 20, WITH_DW);
    format_all(&w, 20);
    CHECK_OK(dbfile_flush(w.db));
    dbfile_close(w.db);
    w.db = NULL;
    double_write_close(w.dw, false);
    w.dw = NULL;
    return w;
}

CASE(restore_refuses)
{
    struct world w = torn_world();
    struct db_header h;
    struct os_file *f;
    uint64_t restored;
    tear(3, 2, 4096);
    overwrite(in("edb.dwr"), 4096 + 4096 * 2 + 99, 0x77,
              300); /* the copy of page 3 is torn itself */
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 1);
    tear(3, 2, 4096);
    flip(in("edb.dwr"), 40, 1); /* header torn: the batch never began in place */
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 0);
    flip(in("edb.dwr"), 40, 1);
    /* Another database under the same name is left alone. */
    CHECK_OK(os_file_open(in("a.edb"), OS_WRITE, &f));
    CHECK_OK(db_header_read(f, &h, NULL));
    h.sign_db.b[0] ^= 1;
    CHECK_OK(db_header_write(f, &h));
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 0);
    h.sign_db.b[0] ^= 1;
    CHECK_OK(db_header_write(f, &h));
    os_file_close(f);
    /* The folder was moved as a whole. */
    char old[OS_PATH_MAX], moved[OS_PATH_MAX];
    snprintf(old, sizeof old, "%s", scratch);
    snprintf(moved, sizeof moved, "%.4000s-moved", scratch);
    CHECK_OK(os_rename(old, moved));
    snprintf(scratch, sizeof scratch, "%s", moved);
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 1);
    CHECK_OK(os_unlink(in("a.edb")));
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 0);
    cache_destroy(w.cache);
}

/* A sector that repeats itself may be lost without a trace in the checksum; the copy knows better. */
CASE(restore_beyond_the_checksum)
{
    struct world w = torn_world();
    struct os_file *f;
    uint64_t restored;
    uint8_t before[4096], bytes[4096], sector[512];
    bool corrected;
    memset(sector, 'x', sizeof sector);
    CHECK_OK(os_file_open(in("a.edb"), OS_WRITE, &f));
    CHECK_OK(os_file_read(f, place(3, 4096), before, sizeof before));
    CHECK_OK(os_file_write(f, place(3, 4096) + 1024, sector, sizeof sector));
    CHECK_OK(os_file_read(f, place(3, 4096), bytes, sizeof bytes));
    CHECK(memcmp(before, bytes, sizeof bytes) != 0);
    CHECK_OK(page_verify((struct page){bytes, 4096}, 3, &corrected));
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 1);
    CHECK_OK(os_file_read(f, place(3, 4096), bytes, sizeof bytes));
    CHECK(memcmp(before, bytes, sizeof bytes) == 0);
    CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
    CHECK_EQ(restored, 0);
    os_file_close(f);
    cache_destroy(w.cache);
}

/* A page with `n` words in one sector, each of the same one bit: without that sector it looks like a page with one flipped bit (n odd),
 * or like a sound one (n even). Written, then the page in place is what it was, and its copy lacks the sector. */
static void lose_sector_of_copy(int n, uint8_t before[4096])
{
    struct world w = make_world(4096, 64, 20, WITH_DW);
    struct os_file *f;
    struct page_ref ref;
    format_all(&w, 20);
    CHECK_OK(dbfile_flush(w.db));
    CHECK_OK(os_file_open(in("a.edb"), OS_READ, &f));
    CHECK_OK(os_file_read(f, place(3, 4096), before, 4096));
    os_file_close(f);
    CHECK_OK(cache_latch(w.db, 3, LATCH_WRITE, CACHE_WAIT, &ref));
    set_count(&w, &ref, 1003, LGPOS_MIN);
    for (int i = 0; i < n; i++)
        ref.page.p[1024 + 4 * i] = 0x10;
    cache_release(&ref);
    CHECK_OK(dbfile_flush(w.db));
    dbfile_close(w.db);
    double_write_close(w.dw, false);
    CHECK_OK(os_file_open(in("a.edb"), OS_WRITE, &f));
    CHECK_OK(os_file_write(f, place(3, 4096), before, 4096));
    os_file_close(f);
    cache_destroy(w.cache);
}

CASE(restore_refuses_copies_that_only_look_sound)
{
    for (int n = 3; n <= 4; n++) {
        uint8_t before[4096], bytes[4096];
        bool corrected;
        uint64_t restored;
        struct os_file *f;
        lose_sector_of_copy(n, before);
        overwrite(in("edb.dwr"), 4096 + 1024, 0, 512);
        CHECK_OK(os_file_open(in("edb.dwr"), OS_READ, &f));
        CHECK_OK(os_file_read(f, 4096, bytes, sizeof bytes));
        os_file_close(f);
        CHECK_OK(page_verify((struct page){bytes, 4096}, 3, &corrected));
        CHECK(corrected == (n == 3));
        CHECK_OK(double_write_restore(in("edb.dwr"), &restored));
        CHECK_EQ(restored, 0);
        CHECK_OK(os_file_open(in("a.edb"), OS_READ, &f));
        CHECK_OK(os_file_read(f, place(3, 4096), bytes, sizeof bytes));
        os_file_close(f);
        CHECK(memcmp(before, bytes, sizeof bytes) == 0);
    }
}

/* Headers with a good checksum and wild numbers: no crash, no page that its copy does not vouch
 * for. */
CASE(restore_hostile)
{
    struct world w = torn_world();
    unsigned long long seed = ctest_seed();
    struct os_file *f;
    uint64_t restored;
    uint8_t good[4096], bad[4096];
    CHECK_OK(os_file_open(in("edb.dwr"), OS_WRITE, &f));
    CHECK_OK(os_file_read(f, 0, good, sizeof good));
    CHECK_EQ(load_u32(good + 16), 4096);
    for (int round = 0; round < 300; round++) {
        memcpy(bad, good, sizeof bad);
        for (int i = 0; i < 3; i++)
            store_u32(bad + 4 * (ctest_random(&seed) % 64),
                      (uint32_t)(ctest_random(&seed) >> (ctest_random(&seed) % 33)));
        store_u32(bad, (uint32_t)hash_bytes(SLICE(bad + 4, sizeof bad - 4), load_u32(good + 4)));
        CHECK_OK(os_file_write(f, 0, bad, sizeof bad));
        err_t err = double_write_restore(in("edb.dwr"), &restored);
        CHECK(err <= 0);
        if (err == 0)
            CHECK_EQ(restored, 0); /* all pages in place are good */
    }
    os_file_close(f);
    struct dbfile_config dc = config_of(&w, false);
    CHECK_OK(dbfile_open(&dc, in("a.edb"), &w.db));
    for (pgno_t p = 1; p <= 20; p++)
        CHECK_EQ(read_count(&w, p), p);
    end_world(&w);
}

CTEST_MAIN
