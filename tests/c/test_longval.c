/* The longval room: values against byte arrays, chunks on disk, references, conflicts, rollback. */
#include "table_world.h"

static struct world_home lv;

static void begin_world(uint32_t page_size, struct session *s)
{
    world_begin(page_size);
    world_home_init(&lv, world_top);
    session_open(s);
}
static void end_world(struct session *s)
{
    session_close(s);
    world_home_term(&lv);
    world_end();
}

static uint8_t *pattern(uint32_t n, uint32_t seed)
{
    uint8_t *p = malloc(n + 1);
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)((i * 2654435761u + seed * 97) >> 13);
    return p;
}

static struct longval_id id_of(uint32_t lid)
{
    return (struct longval_id){.lid = lid};
}

static void check_value(struct session *s, uint32_t lid, const uint8_t *want, uint32_t n)
{
    uint32_t size, refs, got;
    uint8_t *to = malloc(n + 10);
    CHECK_OK(longval_size(&lv.home, &s->trx, id_of(lid), &size, &refs));
    CHECK_EQ(size, n);
    CHECK_OK(longval_read(&lv.home, &s->trx, id_of(lid), 0, to, n + 10, &got));
    CHECK_EQ(got, n);
    CHECK(memcmp(to, want, n) == 0);
    free(to);
}

static int nodes_of(uint32_t n, uint32_t chunk)
{
    return 1 + (int)((n + chunk - 1) / chunk);
}

CASE(sizes_around_the_chunk)
{
    static const uint32_t pages[] = {4096, 8192, 16384, 32768};
    for (size_t p = 0; p < 4; p++) {
        struct session s;
        begin_world(pages[p], &s);
        uint32_t chunk = longval_chunk_size(pages[p]);
        CHECK_EQ(chunk, pages[p] <= 8192 ? pages[p] - 82 : pages[p] == 16384 ? 4050 : 8150);
        const uint32_t sizes[] = {0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 7, 200000};
        begin(&s);
        int nodes = 0;
        for (uint32_t i = 0; i < 8; i++) {
            uint8_t *v = pattern(sizes[i], i);
            uint32_t lid;
            CHECK_OK(longval_create(&lv.home, &s.trx, SLICE(v, sizes[i]), &lid));
            CHECK_EQ(lid, i + 1);
            check_value(&s, lid, v, sizes[i]);
            nodes += nodes_of(sizes[i], chunk);
            free(v);
        }
        CHECK_EQ(world_count(lv.tree, &s.trx), nodes);
        for (uint32_t i = 0; i < 8; i++)
            CHECK_OK(longval_release(&lv.home, &s.trx, id_of(i + 1)));
        CHECK_EQ(world_count(lv.tree, &s.trx), 0);
        commit(&s);
        end_world(&s);
    }
}

CASE(nodes_as_on_disk)
{
    struct session s;
    begin_world(4096, &s);
    uint8_t *v = pattern(5000, 1);
    uint32_t lid;
    begin(&s);
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE(v, 5000), &lid));
    CHECK_OK(longval_add_ref(&lv.home, &s.trx, id_of(lid)));
    struct btree_cursor c;
    btree_cursor_init(&c, lv.tree, &s.trx);
    CHECK_OK(btree_first(&c));
    static const uint8_t root_key[] = {0, 0, 0, 1}, second[] = {0, 0, 0, 1, 0, 0, 0x0f, 0xae};
    CHECK(slice_equal(buffer_slice(&c.key), SLICE_OF(root_key)));
    CHECK_EQ(c.data.n, 8);
    CHECK_EQ(load_u32(c.data.p), 2);
    CHECK_EQ(load_u32(c.data.p + 4), 5000);
    CHECK_OK(btree_next(&c));
    CHECK(c.key.n == 8 && c.data.n == 4014);
    CHECK_OK(btree_next(&c));
    CHECK(slice_equal(buffer_slice(&c.key), SLICE_OF(second)) && c.data.n == 986);
    btree_cursor_term(&c);
    commit(&s);
    free(v);
    end_world(&s);
}

/* Random writes, resizes and reads against an array. */
CASE(model)
{
    unsigned long long dice = ctest_seed();
    struct session s;
    begin_world(4096, &s);
    uint32_t lid, n = 0, most = 40000;
    uint8_t *model = calloc(1, most), *was = malloc(most);
    begin(&s);
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE_EMPTY, &lid));
    commit(&s);
    for (int round = 0; round < 400; round++) {
        uint32_t n_was = n;
        memcpy(was, model, most);
        begin(&s);
        uint32_t what = (uint32_t)(ctest_random(&dice) >> 20) % 4;
        uint32_t at = n == 0 ? 0 : (uint32_t)(ctest_random(&dice) >> 20) % (n + 1);
        uint32_t len = (uint32_t)(ctest_random(&dice) >> 20) % (round % 3 == 0 ? 9000 : 300);
        len = at + len > most ? most - at : len;
        if (what < 2) {
            uint8_t *v = pattern(len, (uint32_t)round);
            CHECK_OK(longval_write(&lv.home, &s.trx, id_of(lid), at, SLICE(v, len)));
            memcpy(model + at, v, len);
            n = at + len > n ? at + len : n;
            free(v);
        } else if (what == 2) {
            uint32_t size = round % 2 == 0 ? at : n + len > most ? most : n + len;
            CHECK_OK(longval_resize(&lv.home, &s.trx, id_of(lid), size));
            if (size > n)
                memset(model + n, 0, size - n);
            n = size;
        }
        if (what == 3 || round % 10 == 0) {
            uint8_t part[700];
            uint32_t got, want = n - (at < n ? at : n);
            CHECK_OK(longval_read(&lv.home, &s.trx, id_of(lid), at, part, sizeof part, &got));
            CHECK_EQ(got, want < sizeof part ? want : sizeof part);
            CHECK(got == 0 || memcmp(part, model + at, got) == 0);
        }
        check_value(&s, lid, model, n);
        CHECK_EQ(world_count(lv.tree, &s.trx), nodes_of(n, 4014));
        if (round % 5 == 4) {
            rollback(&s);
            n = n_was;
            memcpy(model, was, most);
            check_value(&s, lid, model, n);
        } else {
            commit(&s);
        }
        if (round % 50 == 0)
            world_sweep();
    }
    begin(&s);
    CHECK_OK(longval_release(&lv.home, &s.trx, id_of(lid)));
    commit(&s);
    world_sweep();
    CHECK_EQ(world_count(lv.tree, NULL), 0);
    free(model);
    free(was);
    end_world(&s);
}

CASE(references)
{
    struct session s, t;
    begin_world(4096, &s);
    session_open(&t);
    uint8_t *v = pattern(9000, 3);
    uint32_t lid, other, size, refs;
    begin(&s);
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE(v, 9000), &lid));
    commit(&s);
    /* two adders at once */
    begin(&s);
    begin(&t);
    CHECK_OK(longval_add_ref(&lv.home, &s.trx, id_of(lid)));
    CHECK_OK(longval_add_ref(&lv.home, &t.trx, id_of(lid)));
    /* a write or a release beside an unseen reference must not succeed */
    CHECK_EQ(longval_release(&lv.home, &t.trx, id_of(lid)), JET_errWriteConflict);
    commit(&s);
    rollback(&t);
    begin(&s);
    CHECK_OK(longval_size(&lv.home, &s.trx, id_of(lid), &size, &refs));
    CHECK_EQ(refs, 2);
    CHECK_EQ(longval_write(&lv.home, &s.trx, id_of(lid), 0, SLICE(v, 1)), JET_errInvalidOperation);
    CHECK_OK(longval_unshare(&lv.home, &s.trx, id_of(lid), &other));
    CHECK(other != lid);
    CHECK_OK(longval_write(&lv.home, &s.trx, id_of(other), 100, SLICE("private", 7)));
    check_value(&s, lid, v, 9000);
    memcpy(v + 100, "private", 7);
    check_value(&s, other, v, 9000);
    CHECK_OK(longval_unshare(&lv.home, &s.trx, id_of(lid), &other)); /* one reference by now */
    CHECK_EQ(other, lid);
    CHECK_OK(longval_copy(&lv.home, &s.trx, id_of(lid), 4014, &other));
    CHECK_OK(longval_size(&lv.home, &s.trx, id_of(other), &size, &refs));
    CHECK(size == 4014 && refs == 1);
    commit(&s);
    /* an adder whose snapshot has the value cannot revive what is deleted meanwhile */
    begin(&t);
    begin(&s);
    CHECK_OK(longval_size(&lv.home, &t.trx, id_of(lid), &size, &refs));
    CHECK_OK(longval_release(&lv.home, &s.trx, id_of(lid)));
    CHECK_EQ(longval_size(&lv.home, &s.trx, id_of(lid), &size, &refs), JET_errLVCorrupted);
    CHECK_EQ(longval_add_ref(&lv.home, &t.trx, id_of(lid)), JET_errWriteConflict);
    commit(&s);
    CHECK_EQ(longval_add_ref(&lv.home, &t.trx, id_of(lid)), JET_errWriteConflict);
    CHECK_OK(longval_size(&lv.home, &t.trx, id_of(lid), &size, &refs)); /* its snapshot still has it */
    CHECK_EQ(size, 9000);
    commit(&t);
    CHECK_EQ(longval_size(&lv.home, &t.trx, id_of(lid), &size, &refs), JET_errRecordDeleted);
    world_db->read_only = true; /* nobody deletes there: it is damage */
    CHECK_EQ(longval_size(&lv.home, &t.trx, id_of(lid), &size, &refs), JET_errLVCorrupted);
    world_db->read_only = false;
    free(v);
    session_close(&t);
    end_world(&s);
}

/* The counter starts from what is committed; what is not yet is passed over. */
CASE(new_ids_after_reopening)
{
    struct session s, t;
    begin_world(4096, &s);
    session_open(&t);
    uint32_t lid;
    begin(&s);
    for (uint32_t i = 1; i <= 5; i++) {
        CHECK_OK(longval_create(&lv.home, &s.trx, SLICE("x", 1), &lid));
        CHECK_EQ(lid, i);
    }
    lv.home.lid_last = 0;
    begin(&t);
    CHECK_OK(longval_create(&lv.home, &t.trx, SLICE("y", 1), &lid));
    CHECK_EQ(lid, 6);
    commit(&t);
    commit(&s);
    lv.home.lid_last = 0;
    begin(&s);
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE("z", 1), &lid));
    CHECK_EQ(lid, 7);
    lv.home.lid_last = 0x7FFFFEFEu;
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE("z", 1), &lid));
    CHECK_EQ(longval_create(&lv.home, &s.trx, SLICE("z", 1), &lid), JET_errOutOfLongValueIDs);
    commit(&s);
    session_close(&t);
    end_world(&s);
}

/* Chunks that another engine compressed, values under LID64s, and damaged ones. */
static void put_node(struct session *s, const char *key, uint32_t key_n, const void *data, uint32_t n)
{
    struct btree_cursor c;
    btree_cursor_init(&c, lv.tree, &s->trx);
    err_t err = btree_insert(&c, SLICE(key, key_n), SLICE(data, n), BTREE_PLAIN);
    if (err == JET_errKeyDuplicate)
        err = btree_replace(&c, SLICE(key, key_n), SLICE(data, n), BTREE_PLAIN);
    CHECK_OK(err);
    btree_cursor_term(&c);
}

CASE(foreign_values)
{
    struct session s;
    begin_world(4096, &s);
    /* "aaaaaaaa" in seven bits: 8 characters are 7 bytes, 8 bits used of the last */
    static const uint8_t packed[] = {0x0f, 0xe1, 0x70, 0x38, 0x1c, 0x0e, 0x87, 0xc3};
    uint8_t root[9] = {1, 0, 0, 0, 8, 0, 0, 0, 0}, to[20];
    uint32_t got, lid, size, refs;
    CHECK_OK(world_longval_tree(&lv, &s.trx, true, &lv.tree));
    begin(&s);
    put_node(&s, "\x80\0\0\0\x80\0\0\1", 8, root, 8);
    put_node(&s, "\x80\0\0\0\x80\0\0\1\0\0\0\0", 12, packed, sizeof packed);
    struct longval_id big = {.lid = 0x8000000080000001u, .lid64 = true};
    CHECK_OK(longval_read(&lv.home, &s.trx, big, 0, to, sizeof to, &got));
    CHECK(got == 8 && memcmp(to, packed, 8) == 0);
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE("small", 5), &lid)); /* behind no LID64 */
    CHECK_EQ(lid, 1);
    uint8_t key[8] = {0, 0, 0, 1, 0, 0, 0, 0};
    /* 16 'a's: 14 bytes, all 8 bits of the last one used */
    uint8_t packed16[15] = {0x0f};
    for (int bit = 0; bit < 16 * 7; bit++)
        if (('a' >> bit % 7 & 1) != 0)
            packed16[1 + bit / 8] |= (uint8_t)(1 << bit % 8);
    root[4] = 16;
    put_node(&s, "\0\0\0\1", 4, root, 9); /* the flag byte of newer engines */
    put_node(&s, (char *)key, 8, packed16, 15);
    CHECK_OK(longval_read(&lv.home, &s.trx, id_of(1), 0, to, sizeof to, &got));
    CHECK(got == 16 && memcmp(to, "aaaaaaaaaaaaaaaa", 16) == 0);
    /* written over, it is stored plain */
    CHECK_OK(longval_write(&lv.home, &s.trx, id_of(1), 3, SLICE("XY", 2)));
    CHECK_OK(longval_read(&lv.home, &s.trx, id_of(1), 0, to, sizeof to, &got));
    CHECK(got == 16 && memcmp(to, "aaaXYaaaaaaaaaaa", 16) == 0);
    root[8] = 1;
    put_node(&s, "\0\0\0\1", 4, root, 9);
    CHECK_EQ(longval_size(&lv.home, &s.trx, id_of(1), &size, &refs), JET_errColumnNoEncryptionKey);
    static const uint32_t bad_sizes[] = {17, 5000, 0x80000000u};
    for (int i = 0; i < 3; i++) {
        store_u32(root + 4, bad_sizes[i]);
        put_node(&s, "\0\0\0\1", 4, root, 8);
        CHECK(longval_read(&lv.home, &s.trx, id_of(1), 0, to, sizeof to, &got) < 0);
    }
    put_node(&s, "\0\0\0\1", 4, root, 7);
    CHECK_EQ(longval_read(&lv.home, &s.trx, id_of(1), 0, to, sizeof to, &got), JET_errLVCorrupted);
    CHECK_EQ(longval_read(&lv.home, &s.trx, id_of(99), 0, to, sizeof to, &got), JET_errLVCorrupted);
    struct longval_id id;
    CHECK_EQ(longval_id_from_record(SLICE("abcde", 5), &id), JET_errDatabaseCorrupted);
    CHECK_OK(longval_id_from_record(SLICE("\1\2\3\4", 4), &id));
    CHECK(id.lid == 0x04030201 && !id.lid64);
    commit(&s);
    end_world(&s);
}

/* Time and space of a big value grow with its size. */
CASE(big_value)
{
    struct session s;
    begin_world(4096, &s);
    uint32_t n = 20u << 20, lid, got;
    uint8_t *v = pattern(n, 7), part[5000];
    begin(&s);
    CHECK_OK(longval_create(&lv.home, &s.trx, SLICE(v, n), &lid));
    commit(&s);
    begin(&s);
    check_value(&s, lid, v, n);
    CHECK_OK(longval_write(&lv.home, &s.trx, id_of(lid), n / 2, SLICE("middle", 6)));
    memcpy(v + n / 2, "middle", 6);
    CHECK_OK(longval_read(&lv.home, &s.trx, id_of(lid), n / 2 - 100, part, sizeof part, &got));
    CHECK(got == sizeof part && memcmp(part, v + n / 2 - 100, got) == 0);
    commit(&s);
    world_sweep();
    struct space_sum sum;
    CHECK_OK(space_sum(lv.tree, &sum));
    CHECK(sum.owned - sum.available < n / 4014 * 103 / 100 + 20);
    free(v);
    end_world(&s);
}

CTEST_MAIN
