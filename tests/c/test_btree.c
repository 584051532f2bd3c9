#include "btree_world.h"

/* ---- a model: the rows in order ---- */

#define KEY_MAX 72
#define DATA_MAX 400
#define ROWS_MAX 2000

struct row {
    uint16_t key_n, data_n;
    uint8_t key[KEY_MAX], data[DATA_MAX];
};
struct model {
    int count;
    bool unique;
    struct row *rows;
};

static void model_init(struct model *m, bool unique)
{
    m->count = 0;
    m->unique = unique;
    m->rows = malloc(ROWS_MAX * sizeof *m->rows);
}

static void model_copy(struct model *to, const struct model *from)
{
    to->count = from->count;
    to->unique = from->unique;
    memcpy(to->rows, from->rows, (size_t)from->count * sizeof *from->rows);
}

static struct slice key_of(const struct row *r)
{
    return SLICE(r->key, r->key_n);
}
static struct slice data_of(const struct row *r)
{
    return SLICE(r->data, r->data_n);
}

static int compare_row(const struct model *m, const struct row *r, struct slice key,
                       struct slice data)
{
    int c = slice_compare(key_of(r), key);
    return c != 0 || m->unique ? c : slice_compare(data_of(r), data);
}

/* First row >= the bookmark. */
static int model_find(const struct model *m, struct slice key, struct slice data, bool *equal)
{
    int low = 0, high = m->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (compare_row(m, &m->rows[middle], key, data) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *equal = low < m->count && compare_row(m, &m->rows[low], key, data) == 0;
    return low;
}

static void model_insert(struct model *m, struct slice key, struct slice data)
{
    bool equal;
    int at = model_find(m, key, data, &equal);
    CHECK(!equal && m->count < ROWS_MAX);
    memmove(m->rows + at + 1, m->rows + at, (size_t)(m->count - at) * sizeof *m->rows);
    struct row *r = &m->rows[at];
    r->key_n = (uint16_t)key.n;
    r->data_n = (uint16_t)data.n;
    memcpy(r->key, key.p, key.n);
    memcpy(r->data, data.p, data.n);
    m->count++;
}

static void model_remove(struct model *m, int at)
{
    memmove(m->rows + at, m->rows + at + 1, (size_t)(m->count - at - 1) * sizeof *m->rows);
    m->count--;
}

/* ---- random keys: heavy shared prefixes, varied length, none a prefix of another ---- */

static struct slice random_key(unsigned long long *state, uint8_t *to)
{
    static const char *const groups[] = {"apple/orchard/north/", "apple/orchard/south/", "b",
                                         "warehouse-of-long-names-0001/shelf/", ""};
    const char *group = groups[ctest_random(state) % 5];
    uint32_t n = (uint32_t)strlen(group), more = 2 + (uint32_t)(ctest_random(state) % 20);
    unsigned long long id = ctest_random(state) % 700;
    memcpy(to, group, n);
    unsigned long long mix = id * 2654435761u;
    for (uint32_t i = 0; i < more % 7 + 3; i++)
        to[n++] = (uint8_t)('a' + (mix >> (i * 4)) % 16);
    n += (uint32_t)snprintf((char *)to + n, 12, "%03llu", id);
    to[n++] = 0; /* ends the string: no key is another's prefix */
    return SLICE(to, n);
}

static struct slice random_data(unsigned long long *state, uint8_t *to, uint32_t most)
{
    uint32_t n = 1 + (uint32_t)(ctest_random(state) % most);
    if (ctest_random(state) % 4 != 0)
        n = 1 + n % 40;
    uint8_t fill = (uint8_t)ctest_random(state);
    memset(to, fill, n);
    to[n / 2] = (uint8_t)ctest_random(state);
    return SLICE(to, n);
}

/* ---- comparing tree and model ---- */

static void check_on(struct btree_cursor *c, const struct row *r)
{
    CHECK_EQ(c->place, BTREE_ON);
    CHECK(slice_equal(buffer_slice(&c->key), key_of(r)));
    CHECK(slice_equal(c->data, data_of(r)));
}

static void check_forward(struct btree_cursor *c, const struct model *m)
{
    err_t err = btree_first(c);
    for (int i = 0; i < m->count; i++) {
        CHECK_OK(err);
        check_on(c, &m->rows[i]);
        err = btree_next(c);
    }
    CHECK_EQ(err, JET_errNoCurrentRecord);
    CHECK_EQ(c->place, BTREE_AFTER_LAST);
}

static void check_backward(struct btree_cursor *c, const struct model *m)
{
    err_t err = btree_last(c);
    for (int i = m->count - 1; i >= 0; i--) {
        CHECK_OK(err);
        check_on(c, &m->rows[i]);
        err = btree_prev(c);
    }
    CHECK_EQ(err, JET_errNoCurrentRecord);
    CHECK_EQ(c->place, BTREE_BEFORE_FIRST);
}

static void check_batches(struct btree_cursor *c, const struct model *m, int max)
{
    struct btree_row rows[100];
    int at = 0, count;
    c->place = BTREE_BEFORE_FIRST;
    for (;;) {
        CHECK_OK(btree_next_batch(c, rows, max, &count));
        if (count == 0)
            break;
        CHECK(at + count <= m->count);
        for (int i = 0; i < count; i++, at++) {
            CHECK(slice_equal(rows[i].key, key_of(&m->rows[at])));
            CHECK(slice_equal(rows[i].data, data_of(&m->rows[at])));
        }
        check_on(c, &m->rows[at - 1]);
        err_t err = btree_next(c);
        if (err == JET_errNoCurrentRecord)
            break;
        CHECK_OK(err);
    }
    CHECK_EQ(at, m->count);
}

static void check_seek(struct btree_cursor *c, const struct model *m, struct slice key,
                       struct slice data, bool with_data, enum seek_mode mode)
{
    bool equal, exact;
    int low, high; /* [low, high): rows equal to the bookmark */
    low = high = model_find(m, key, with_data && !m->unique ? data : SLICE_EMPTY, &equal);
    while (high < m->count && slice_equal(key_of(&m->rows[high]), key) &&
           (m->unique || !with_data || slice_equal(data_of(&m->rows[high]), data)))
        high++;
    int want = mode == SEEK_EQ   ? (low < high ? low : -1)
               : mode == SEEK_GE ? low
               : mode == SEEK_GT ? high
               : mode == SEEK_LE ? high - 1
                                 : low - 1;
    err_t err = btree_seek(c, key, data, with_data, mode, &exact);
    if (want < 0 || want >= m->count) {
        CHECK_EQ(err, JET_errRecordNotFound);
        CHECK_EQ(c->place, BTREE_BETWEEN);
        if (mode == SEEK_EQ) { /* the neighbours of a miss */
            err = btree_next(c);
            if (low < m->count)
                check_on(c, &m->rows[low]);
            else
                CHECK_EQ(err, JET_errNoCurrentRecord);
        }
        return;
    }
    CHECK_OK(err);
    check_on(c, &m->rows[want]);
    CHECK_EQ(exact, want >= low && want < high);
    CHECK_OK(btree_refresh(c));
    check_on(c, &m->rows[want]);
    if (want > 0) {
        CHECK_OK(btree_prev(c));
        check_on(c, &m->rows[want - 1]);
    }
}

static void check_all(struct btree_cursor *c, const struct model *m, unsigned long long *state)
{
    check_forward(c, m);
    check_backward(c, m);
    check_batches(c, m, 1 + (int)(ctest_random(state) % 99));
    for (int i = 0; i < 60; i++) {
        uint8_t kb[KEY_MAX], db[DATA_MAX];
        struct slice key = random_key(state, kb), data = random_data(state, db, 40);
        if (ctest_random(state) % 2 != 0 && m->count > 0) {
            const struct row *r = &m->rows[ctest_random(state) % (unsigned)m->count];
            key = key_of(r);
            data = data_of(r);
        }
        bool with_data = ctest_random(state) % 2 != 0;
        if (ctest_random(state) % 8 == 0) {
            key.n = key.n / 2; /* a prefix of keys; no part of a bookmark */
            with_data = false;
        }
        check_seek(c, m, key, data, with_data, (enum seek_mode)(ctest_random(state) % 5));
    }
}

/* ---- one random change, in tree and model ---- */

static void change_once(struct session *s, struct model *m, unsigned long long *state,
                        int insert_share)
{
    uint8_t kb[KEY_MAX], db[DATA_MAX];
    struct slice key = random_key(state, kb),
                 data = random_data(state, db, m->unique ? DATA_MAX : 60);
    bool equal;
    int dice = (int)(ctest_random(state) % 100);
    if (dice < insert_share) {
        model_find(m, key, data, &equal);
        err_t err = btree_insert(&s->cursor, key, data, BTREE_PLAIN);
        if (equal) {
            CHECK_EQ(err, JET_errKeyDuplicate);
            return;
        }
        CHECK_OK(err);
        model_insert(m, key, data);
        return;
    }
    if (m->count > 0 && ctest_random(state) % 8 != 0) {
        const struct row *r = &m->rows[ctest_random(state) % (unsigned)m->count];
        memcpy(kb, r->key, r->key_n);
        key = SLICE(kb, r->key_n);
        if (!m->unique) {
            memcpy(db, r->data, r->data_n);
            data = SLICE(db, r->data_n);
        }
    }
    int at = model_find(m, key, data, &equal);
    if (m->unique && dice % 2 == 0) {
        err_t err = btree_replace(&s->cursor, key, data, BTREE_PLAIN);
        if (!equal) {
            CHECK_EQ(err, JET_errRecordDeleted);
            return;
        }
        CHECK_OK(err);
        m->rows[at].data_n = (uint16_t)data.n;
        memcpy(m->rows[at].data, data.p, data.n);
        return;
    }
    err_t err = btree_delete(&s->cursor, key, m->unique ? SLICE_EMPTY : data, BTREE_PLAIN);
    if (!equal) {
        CHECK_EQ(err, JET_errRecordDeleted);
        return;
    }
    CHECK_OK(err);
    model_remove(m, at);
}

static void random_work(uint32_t page_size, uint32_t frames, bool unique, int rounds)
{
    unsigned long long state = ctest_seed();
    struct world *w = world_make(page_size, frames, unique ? 0 : PAGE_INDEX | PAGE_NON_UNIQUE);
    struct session s, reader, sweeper;
    struct model m, saved, seen;
    struct btree_stats stats;
    uint64_t splits_before;
    bool reading = false;
    model_init(&m, unique);
    model_init(&saved, unique);
    model_init(&seen, unique);
    session_open(&s, w, 10);
    session_open(&reader, w, 20);
    session_open(&sweeper, w, 30);
    btree_stats(&stats);
    splits_before = stats.splits;

    for (int round = 0; round < rounds; round++) {
        int share = m.count < 300    ? 80
                    : m.count > 1200 ? 25
                                     : 30 + (int)(ctest_random(&state) % 40);
        model_copy(&saved, &m);
        CHECK_OK(trx_begin(&s.trx));
        int changes = 1 + (int)(ctest_random(&state) % 30);
        for (int i = 0; i < changes; i++)
            change_once(&s, &m, &state, share);
        if (ctest_random(&state) % 8 == 0)
            check_all(&s.cursor, &m, &state); /* own changes are seen */
        if (reading && ctest_random(&state) % 6 == 0)
            check_all(&reader.cursor, &seen, &state); /* others' are not */
        if (ctest_random(&state) % 3 == 0) {
            session_rollback(&s, 1);
            model_copy(&m, &saved);
        } else {
            session_commit(&s);
        }
        if (reading && ctest_random(&state) % 10 == 0) {
            session_commit(&reader);
            reading = false;
        } else if (!reading && ctest_random(&state) % 4 == 0) {
            CHECK_OK(trx_begin(&reader.trx));
            model_copy(&seen, &m);
            reading = true;
        }
        if (ctest_random(&state) % 5 == 0)
            session_sweep(&sweeper);
        if (round % 20 == 0) {
            check_all(&s.cursor, &m, &state);
            check_tree(w);
        }
    }
    if (reading) {
        check_all(&reader.cursor, &seen, &state);
        session_commit(&reader);
    }
    session_sweep(&sweeper);
    check_all(&s.cursor, &m, &state);
    struct check c = check_tree(w);
    btree_stats(&stats);
    printf("%d rows, depth %d, %d pages, %d nodes, %llu splits, %llu merges\n", m.count,
           c.leaf_depth, c.pages, c.nodes, (unsigned long long)(stats.splits - splits_before),
           (unsigned long long)stats.merges);
    CHECK_EQ(c.nodes, m.count); /* what was deleted is gone */
    CHECK(c.leaf_depth >= 2);
    session_close(&s);
    session_close(&reader);
    session_close(&sweeper);
    free(m.rows);
    free(saved.rows);
    free(seen.rows);
    world_end(w);
}

CASE(random_unique_small_pages)
{
    random_work(2048, 2000, true, 400);
}

CASE(random_non_unique_small_pages)
{
    random_work(2048, 2000, false, 400);
}

CASE(random_unique_64_frames)
{
    random_work(4096, 64, true, 250);
}

CASE(random_large_pages)
{
    random_work(16384, 200, true, 200);
}

CASE(random_largest_pages)
{
    random_work(32768, 100, true, 150);
}

/* ---- single cases ---- */

static struct slice text(const char *s)
{
    return SLICE(s, strlen(s));
}

static struct slice number_key(uint32_t n, uint8_t to[8])
{
    memcpy(to, "key:", 4);
    store_be32(to + 4, n);
    return SLICE(to, 8);
}

CASE(append_fills_the_left_page)
{
    struct world *w = world_make(4096, 500, 0);
    struct session s;
    uint8_t key[8], data[100] = {1};
    session_open(&s, w, 10);
    CHECK_OK(trx_begin(&s.trx));
    for (uint32_t i = 0; i < 20000; i++)
        CHECK_OK(
            btree_insert(&s.cursor, number_key(i, key), SLICE(data, sizeof data), BTREE_APPEND));
    session_commit(&s);
    struct check c = check_tree(w);
    CHECK_EQ(c.nodes, 20000);
    /* 104 bytes a node at the least; a full page holds 36 of them */
    CHECK(c.leaves <= 20000 / 35 + 1);
    printf("%d leaves, depth %d\n", c.leaves, c.leaf_depth);
    /* the hint is no promise: an append that does not go to the end */
    CHECK_OK(trx_begin(&s.trx));
    CHECK_OK(btree_insert(&s.cursor, text("aaa"), text("x"), BTREE_APPEND));
    CHECK_EQ(btree_insert(&s.cursor, number_key(19999, key), text("x"), BTREE_APPEND),
             JET_errKeyDuplicate);
    session_commit(&s);
    CHECK_EQ(check_tree(w).nodes, 20001);
    session_close(&s);
    world_end(w);
}

/* A cursor remembers where its last insert ended the tree. Others move the end meanwhile: behind it, away from it, to another page. */
CASE(ends_that_others_move)
{
    unsigned long long state = ctest_seed();
    struct world *w = world_make(4096, 500, 0);
    struct session s[2];
    uint8_t key[8], data[300] = {1};
    bool there[4000] = {false};
    uint32_t end = 0, count = 0;
    for (int i = 0; i < 2; i++)
        session_open(&s[i], w, (uint16_t)(10 + 10 * i));
    for (int round = 0; round < 1500; round++) {
        struct session *one = &s[ctest_random(&state) % 2];
        uint32_t what = ctest_random(&state) % 8, i = end;
        bool back = what == 5;
        CHECK_OK(trx_begin(&one->trx));
        if (what < 5) {
            i = end += 1 + ctest_random(&state) % 2;
            CHECK_OK(btree_insert(&one->cursor, number_key(i, key), SLICE(data, sizeof data), BTREE_APPEND));
        } else if (what < 7) { /* just below the end, or the end itself; kept, or taken back */
            i = end > 4 ? end - ctest_random(&state) % 4 : end;
            err_t err = btree_insert(&one->cursor, number_key(i, key), SLICE(data, sizeof data), BTREE_APPEND);
            CHECK_EQ(err, there[i] ? JET_errKeyDuplicate : JET_errSuccess);
            back = back || there[i];
        } else {
            for (; end > 0 && !there[end]; end--)
                ;
            i = end;
            if (there[i])
                CHECK_OK(btree_delete(&one->cursor, number_key(i, key), SLICE_EMPTY, BTREE_PLAIN));
        }
        if (back)
            session_rollback(one, 1);
        else
            session_commit(one);
        count += what < 7 && !back;
        count -= what == 7 && there[i];
        there[i] = back ? there[i] : what < 7;
        if (round % 5 == 4)
            session_sweep(one);
    }
    session_sweep(&s[0]);
    CHECK_EQ(check_tree(w).nodes, count);
    for (int i = 0; i < 2; i++)
        session_close(&s[i]);
    world_end(w);
}

/* The right edge goes leaf by leaf, then the left one: what becomes the last branch page has empty last separators. */
CASE(both_edges_go)
{
    struct world *w = world_make(4096, 3000, 0);
    struct session s;
    uint8_t key[8], data[1900] = {1};
    enum { ROWS = 1500, STEP = 50 };
    session_open(&s, w, 10);
    for (int right = 1; right >= 0; right--) {
        CHECK_OK(trx_begin(&s.trx));
        for (uint32_t i = 0; i < ROWS; i++)
            CHECK_OK(btree_insert(&s.cursor, number_key(i, key), SLICE(data, sizeof data), BTREE_APPEND));
        session_commit(&s);
        CHECK_EQ(check_tree(w).leaf_depth, 3);
        for (uint32_t gone = 0; gone < ROWS; gone += STEP) {
            CHECK_OK(trx_begin(&s.trx));
            for (uint32_t i = gone; i < gone + STEP; i++)
                CHECK_OK(btree_delete(&s.cursor, number_key(right ? ROWS - 1 - i : i, key), SLICE_EMPTY, BTREE_PLAIN));
            session_commit(&s);
            session_sweep(&s);
            struct check c = check_tree(w);
            CHECK(c.leaves <= (int)(ROWS - gone - STEP) / 2 + 3); /* one may stay, emptied, at each edge */
        }
        CHECK(check_tree(w).leaves <= 2);
    }
    session_close(&s);
    world_end(w);
}

/* Nodes of up to almost a page: cuts without the operation, cuts at every edge. */
CASE(large_nodes)
{
    unsigned long long state = ctest_seed();
    struct world *w = world_make(4096, 500, 0);
    struct session s;
    uint8_t *data = malloc(4096);
    uint32_t size[120] = {0};
    session_open(&s, w, 10);
    memset(data, 7, 4096);
    for (int round = 0; round < 1500; round++) {
        uint8_t key[80];
        uint32_t i = (uint32_t)(ctest_random(&state) % 120);
        uint32_t n = 1 + (uint32_t)(ctest_random(&state) % 3900);
        int key_n = snprintf((char *)key, sizeof key,
                             "some long and shared beginning of all keys/%u/%u", i % 7, i);
        struct slice k = SLICE(key, key_n);
        if (n + (uint32_t)key_n + 2 > 4040 - 32)
            n = 1000;
        CHECK_OK(trx_begin(&s.trx));
        if (size[i] == 0) {
            CHECK_OK(btree_insert(&s.cursor, k, SLICE(data, n), BTREE_PLAIN));
            size[i] = n;
        } else if (ctest_random(&state) % 3 == 0) {
            CHECK_OK(btree_delete(&s.cursor, k, SLICE_EMPTY, BTREE_PLAIN));
            size[i] = 0;
        } else {
            CHECK_OK(btree_replace(&s.cursor, k, SLICE(data, n), BTREE_PLAIN));
            if (ctest_random(&state) % 2 == 0) {
                session_rollback(&s, 1);
                CHECK_OK(trx_begin(&s.trx));
            } else {
                size[i] = n;
            }
        }
        session_commit(&s);
        if (round % 50 == 0) {
            check_tree(w);
            session_sweep(&s);
        }
    }
    for (uint32_t i = 0; i < 120; i++) {
        uint8_t key[80];
        bool exact;
        int key_n = snprintf((char *)key, sizeof key,
                             "some long and shared beginning of all keys/%u/%u", i % 7, i);
        err_t err = btree_seek(&s.cursor, SLICE(key, key_n), SLICE_EMPTY, false, SEEK_EQ, &exact);
        CHECK_EQ(err, size[i] != 0 ? JET_errSuccess : JET_errRecordNotFound);
        if (size[i] != 0)
            CHECK_EQ(s.cursor.data.n, size[i]);
    }
    check_tree(w);
    CHECK_OK(trx_begin(&s.trx));
    CHECK_EQ(btree_insert(&s.cursor, text("k"), SLICE(data, 4096), BTREE_PLAIN),
             JET_errRecordTooBig);
    CHECK_EQ(btree_insert(&s.cursor, SLICE(data, 2100), text("k"), BTREE_PLAIN),
             JET_errRecordTooBig);
    session_commit(&s);
    free(data);
    session_close(&s);
    world_end(w);
}

/* What shrank and is not committed can always grow back, however full others make the page. */
CASE(rollback_finds_its_room)
{
    struct world *w = world_make(2048, 500, 0);
    struct session s, other;
    uint8_t key[8], big[300], got[300];
    session_open(&s, w, 10);
    session_open(&other, w, 20);
    memset(big, 9, sizeof big);
    CHECK_OK(trx_begin(&other.trx));
    for (uint32_t i = 0; i < 4; i++)
        CHECK_OK(btree_insert(&other.cursor, number_key(i * 1000, key), SLICE(big, sizeof big),
                              BTREE_PLAIN));
    session_commit(&other);
    CHECK_OK(trx_begin(&s.trx));
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_OK(btree_replace(&s.cursor, number_key(i * 1000, key), SLICE(big, 200), BTREE_PLAIN));
        CHECK_OK(btree_replace(&s.cursor, number_key(i * 1000, key), SLICE(big, 260), BTREE_PLAIN));
        CHECK_OK(btree_replace(&s.cursor, number_key(i * 1000, key), SLICE(big, 1), BTREE_PLAIN));
    }
    CHECK_OK(trx_begin(&other.trx));
    for (uint32_t i = 1; i < 400; i++)
        CHECK_OK(btree_insert(&other.cursor, number_key(i, key), SLICE(big, 20), BTREE_PLAIN));
    session_commit(&other);
    session_rollback(&s, 1);
    check_tree(w);
    for (uint32_t i = 0; i < 4; i++) {
        bool exact;
        CHECK_OK(
            btree_seek(&s.cursor, number_key(i * 1000, key), SLICE_EMPTY, false, SEEK_EQ, &exact));
        CHECK_EQ(s.cursor.data.n, sizeof big);
        memcpy(got, s.cursor.data.p, sizeof got);
        CHECK(memcmp(got, big, sizeof big) == 0);
    }
    session_close(&s);
    session_close(&other);
    world_end(w);
}

/* The only node of a page shrinks and grows in one transaction; and one that shares little of a
 * long prefix grows. */
CASE(a_node_alone_grows)
{
    struct world *w = world_make(4096, 500, 0);
    struct session s;
    uint8_t *data = malloc(4096), key[3][256];
    bool exact;
    session_open(&s, w, 10);
    memset(data, 5, 4096);
    for (int i = 0; i < 3; i++)
        memset(key[i], 'a' + i, 256);
    memset(key[1], 'a', 250);
    memset(key[2], 'a', 4);
    CHECK_OK(trx_begin(&s.trx));
    for (int i = 0; i < 3; i++)
        for (uint32_t n = 0; n < 20;
             n++) { /* 60 nodes, three kinds of keys, prefixes of 250 bytes */
            store_be32(key[i] + 252, n);
            CHECK_OK(btree_insert(&s.cursor, SLICE(key[i], 256), SLICE(data, 150), BTREE_PLAIN));
        }
    session_commit(&s);
    for (int round = 0; round < 2; round++) {
        CHECK_OK(trx_begin(&s.trx));
        for (uint32_t n = 0; n < 20; n++)
            for (int i = 0; i < 3; i++) {
                store_be32(key[i] + 252, n);
                struct slice k = SLICE(key[i], 256);
                CHECK_OK(btree_replace(&s.cursor, k, SLICE(data, 3740), BTREE_PLAIN));
                CHECK_OK(btree_replace(&s.cursor, k, SLICE(data, 3), BTREE_PLAIN));
                CHECK_OK(btree_replace(&s.cursor, k, SLICE(data, 3740), BTREE_PLAIN));
                CHECK_OK(btree_replace(&s.cursor, k, SLICE(data, 1000), BTREE_PLAIN));
            }
        check_tree(w);
        if (round == 0)
            session_rollback(&s, 1);
        else
            session_commit(&s);
        CHECK_EQ(check_tree(w).nodes, 60);
        CHECK_OK(btree_seek(&s.cursor, SLICE(key[1], 256), SLICE_EMPTY, false, SEEK_EQ, &exact));
        CHECK_EQ(s.cursor.data.n, round == 0 ? 150 : 1000);
    }
    free(data);
    session_close(&s);
    world_end(w);
}

/* Runs fn on every leaf, write-latched. */
static void each_leaf(struct world *w, void (*fn)(struct page page))
{
    struct page_ref ref;
    pgno_t pgno = ROOT_PAGE;
    bool leaf = false;
    while (!leaf) { /* the first one */
        CHECK_OK(cache_latch(w->db, pgno, LATCH_READ, CACHE_WAIT, &ref));
        leaf = (page_flags(ref.page) & PAGE_LEAF) != 0;
        if (!leaf)
            CHECK_OK(page_child(ref.page, 0, &pgno));
        cache_release(&ref);
    }
    while (pgno != PGNO_NIL) {
        CHECK_OK(cache_latch(w->db, pgno, LATCH_WRITE, CACHE_WAIT, &ref));
        fn(ref.page);
        pgno = page_next(ref.page);
        cache_release(&ref);
    }
}

static int lone_nodes;
static void count_lone(struct page page)
{
    lone_nodes += page_line_count(page) == 1 && page_prefix(page).n > 200 && page_free(page) < 3740;
}

/* One node is left on a page whose prefix it does not share: it grows all the same. */
CASE(a_long_prefix_makes_way)
{
    struct world *w = world_make(4096, 500, 0);
    struct session s;
    struct btree_cursor plain;
    uint8_t *data = malloc(4096), key[256], other[256];
    session_open(&s, w, 10);
    btree_cursor_init(&plain, w->tree, &s.inner);
    memset(data, 5, 4096);
    memset(key, 'a', sizeof key);
    memset(other, 'b', sizeof other);
    CHECK_OK(trx_begin(&s.inner));
    for (uint32_t n = 0; n < 60; n++) {
        store_be32(key + 252, n);
        CHECK_OK(btree_insert(&plain, SLICE(key, 256), SLICE(data, 150), BTREE_UNVERSIONED));
    }
    CHECK_OK(btree_insert(&plain, SLICE(other, 256), SLICE(data, 100), BTREE_UNVERSIONED));
    for (uint32_t n = 0; n < 60; n++) {
        store_be32(key + 252, n);
        CHECK_OK(btree_delete(&plain, SLICE(key, 256), SLICE_EMPTY, BTREE_UNVERSIONED));
    }
    lone_nodes = 0;
    each_leaf(w, count_lone);
    CHECK(lone_nodes > 0);
    CHECK_OK(btree_replace(&plain, SLICE(other, 256), SLICE(data, 3750), BTREE_UNVERSIONED));
    lgpos_t end;
    CHECK_OK(trx_commit(&s.inner, &end));
    check_tree(w);
    CHECK_OK(btree_last(&plain));
    CHECK(slice_equal(buffer_slice(&plain.key), SLICE(other, 256)));
    CHECK_EQ(plain.data.n, 3750);
    free(data);
    btree_cursor_term(&plain);
    session_close(&s);
    world_end(w);
}

static void forget_reserve(struct page page)
{
    page_set_uncommitted_free(page, 0);
}

/* Should the room kept for a rollback be lost all the same (a file that another engine left), it
 * splits the page. */
CASE(rollback_splits_when_it_must)
{
    struct world *w = world_make(2048, 500, 0);
    struct session s, other;
    uint8_t key[8], big[300];
    session_open(&s, w, 10);
    session_open(&other, w, 20);
    memset(big, 9, sizeof big);
    CHECK_OK(trx_begin(&s.trx));
    for (uint32_t i = 0; i < 30; i++)
        CHECK_OK(btree_insert(&s.cursor, number_key(i * 1000, key), SLICE(big, sizeof big),
                              BTREE_PLAIN));
    session_commit(&s);
    CHECK_OK(trx_begin(&s.trx));
    for (uint32_t i = 0; i < 30; i++)
        CHECK_OK(btree_replace(&s.cursor, number_key(i * 1000, key), SLICE(big, 1), BTREE_PLAIN));
    each_leaf(w, forget_reserve);
    CHECK_OK(trx_begin(&other.trx));
    for (uint32_t i = 0; i < 30 * 40; i++)
        if (i % 40 != 0)
            CHECK_OK(
                btree_insert(&other.cursor, number_key(i * 25, key), SLICE(big, 30), BTREE_PLAIN));
    session_commit(&other);
    each_leaf(w, forget_reserve);
    session_rollback(&s, 1);
    check_tree(w);
    for (uint32_t i = 0; i < 30; i++) {
        bool exact;
        CHECK_OK(
            btree_seek(&s.cursor, number_key(i * 1000, key), SLICE_EMPTY, false, SEEK_EQ, &exact));
        CHECK(slice_equal(s.cursor.data, SLICE(big, sizeof big)));
    }
    session_close(&s);
    session_close(&other);
    world_end(w);
}

CASE(cursor_after_deletion)
{
    struct world *w = world_make(4096, 500, PAGE_INDEX | PAGE_NON_UNIQUE);
    struct session s;
    struct btree_cursor twin;
    struct btree_row rows[4];
    bool exact;
    err_t err;
    int count;
    session_open(&s, w, 10);
    btree_cursor_init(&twin, w->tree, &s.trx);
    CHECK_EQ(btree_first(&s.cursor), JET_errNoCurrentRecord);
    CHECK_EQ(btree_last(&s.cursor), JET_errNoCurrentRecord);
    CHECK_EQ(btree_refresh(&s.cursor), JET_errNoCurrentRecord);
    CHECK_OK(trx_begin(&s.trx));
    CHECK_OK(btree_insert(&s.cursor, text("k1\1"), text("a"), BTREE_PLAIN));
    CHECK_OK(btree_insert(&s.cursor, text("k2\1"), text("a"), BTREE_PLAIN));
    CHECK_OK(btree_insert(&s.cursor, text("k2\1"), text("b"), BTREE_PLAIN));
    CHECK_OK(btree_insert(&s.cursor, text("k2\1"), text("c"), BTREE_PLAIN));
    CHECK_OK(btree_insert(&s.cursor, text("k3\1"), text("a"), BTREE_PLAIN));
    CHECK_EQ(btree_insert(&s.cursor, text("k2\1"), text("b"), BTREE_PLAIN), JET_errKeyDuplicate);
    CHECK_OK(btree_seek(&s.cursor, text("k2\1"), text("b"), true, SEEK_EQ, &exact));
    btree_cursor_copy(&twin, &s.cursor, &err);
    CHECK_OK(err);
    CHECK(slice_equal(twin.data, text("b")));
    CHECK_OK(btree_delete(&s.cursor, text("k2\1"), text("b"), BTREE_PLAIN));
    CHECK_EQ(btree_delete(&s.cursor, text("k2\1"), text("b"), BTREE_PLAIN), JET_errRecordDeleted);
    CHECK_EQ(btree_refresh(&s.cursor), JET_errRecordDeleted);
    CHECK_EQ(s.cursor.place, BTREE_BETWEEN);
    CHECK_OK(btree_next(&s.cursor));
    CHECK(slice_equal(s.cursor.data, text("c")));
    CHECK_OK(btree_prev(&twin));
    CHECK(slice_equal(twin.data, text("a")) && slice_equal(buffer_slice(&twin.key), text("k2\1")));
    /* among equal keys: first and last */
    CHECK_OK(btree_seek(&twin, text("k2\1"), SLICE_EMPTY, false, SEEK_LE, &exact));
    CHECK(exact && slice_equal(twin.data, text("c")));
    CHECK_OK(btree_seek(&twin, text("k2\1"), SLICE_EMPTY, false, SEEK_GT, &exact));
    CHECK(!exact && slice_equal(buffer_slice(&twin.key), text("k3\1")));
    CHECK_OK(btree_seek(&twin, text("k2\1"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(twin.data, text("a")));
    /* a batch from a row that is gone begins behind it */
    CHECK_OK(btree_delete(&s.cursor, text("k2\1"), text("a"), BTREE_PLAIN));
    CHECK_OK(btree_seek(&s.cursor, text("k2\1"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(s.cursor.data, text("c"))); /* the first of its key that is left */
    CHECK_OK(btree_next_batch(&twin, rows, 4, &count));
    CHECK_EQ(count, 2);
    CHECK(slice_equal(rows[0].data, text("c")) && slice_equal(rows[1].key, text("k3\1")));
    CHECK_EQ(btree_next(&twin), JET_errNoCurrentRecord);
    CHECK_OK(btree_next_batch(&twin, rows, 4, &count));
    CHECK_EQ(count, 0);
    session_rollback(&s, 1);
    CHECK_EQ(btree_first(&s.cursor), JET_errNoCurrentRecord);
    btree_cursor_term(&twin);
    session_close(&s);
    world_end(w);
}

/* One key, more entries than a leaf holds. */
CASE(many_entries_of_one_key)
{
    struct world *w = world_make(2048, 500, PAGE_INDEX | PAGE_NON_UNIQUE);
    struct session s;
    uint8_t data[8];
    bool exact;
    session_open(&s, w, 10);
    CHECK_OK(trx_begin(&s.trx));
    CHECK_OK(btree_insert(&s.cursor, text("a\1"), text("x"), BTREE_PLAIN));
    CHECK_OK(btree_insert(&s.cursor, text("z\1"), text("x"), BTREE_PLAIN));
    for (uint32_t i = 0; i < 3000; i++)
        CHECK_OK(
            btree_insert(&s.cursor, text("m\1"), number_key(i * 7919 % 65536, data), BTREE_PLAIN));
    session_commit(&s);
    CHECK_EQ(check_tree(w).nodes, 3002);
    CHECK_OK(btree_seek(&s.cursor, text("m\1"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(s.cursor.data, number_key(0, data)));
    CHECK_OK(btree_seek(&s.cursor, text("m\1"), SLICE_EMPTY, false, SEEK_LE, &exact));
    CHECK(exact);
    CHECK_OK(btree_next(&s.cursor));
    CHECK(slice_equal(buffer_slice(&s.cursor.key), text("z\1")));
    CHECK_OK(btree_seek(&s.cursor, text("m\1"), SLICE_EMPTY, false, SEEK_GT, &exact));
    CHECK(!exact && slice_equal(buffer_slice(&s.cursor.key), text("z\1")));
    CHECK_OK(btree_seek(&s.cursor, text("m\1"), SLICE_EMPTY, false, SEEK_LT, &exact));
    CHECK(slice_equal(buffer_slice(&s.cursor.key), text("a\1")));
    CHECK_OK(btree_seek(&s.cursor, text("m"), SLICE_EMPTY, false, SEEK_GT, &exact));
    CHECK(!exact && slice_equal(s.cursor.data, number_key(0, data)));
    session_close(&s);
    world_end(w);
}

/* Links that lead astray end in an error, not in a circle. */
static void bend_links(struct world *w, pgno_t from, pgno_t to)
{
    struct page_ref ref;
    CHECK_OK(cache_latch(w->db, from, LATCH_WRITE, CACHE_WAIT, &ref));
    page_set_next(ref.page, to);
    cache_release(&ref);
    CHECK_OK(cache_latch(w->db, to, LATCH_WRITE, CACHE_WAIT, &ref));
    page_set_prev(ref.page, from);
    cache_release(&ref);
}

static int scan_all(struct btree_cursor *c, err_t *err)
{
    int n = 0;
    for (*err = btree_first(c); *err == JET_errSuccess; *err = btree_next(c))
        n++;
    return n;
}

CASE(damaged_trees)
{
    struct world *w = world_make(2048, 500, 0);
    struct session s;
    struct page_ref ref;
    uint8_t key[8], data[200] = {1};
    pgno_t first, second, third;
    bool exact;
    err_t err;
    session_open(&s, w, 10);
    CHECK_OK(trx_begin(&s.trx));
    for (uint32_t i = 0; i < 2000; i++)
        CHECK_OK(
            btree_insert(&s.cursor, number_key(i, key), SLICE(data, sizeof data), BTREE_PLAIN));
    session_commit(&s);
    CHECK_OK(cache_latch(w->db, ROOT_PAGE, LATCH_READ, CACHE_WAIT, &ref));
    CHECK_OK(page_child(ref.page, 0, &first));
    cache_release(&ref);
    for (;;) {
        CHECK_OK(cache_latch(w->db, first, LATCH_READ, CACHE_WAIT, &ref));
        bool leaf = (page_flags(ref.page) & PAGE_LEAF) != 0;
        second = page_next(ref.page);
        if (!leaf)
            CHECK_OK(page_child(ref.page, 0, &first));
        cache_release(&ref);
        if (leaf)
            break;
    }
    CHECK_OK(cache_latch(w->db, second, LATCH_READ, CACHE_WAIT, &ref));
    third = page_next(ref.page);
    cache_release(&ref);

    bend_links(w, third, first); /* a circle of three */
    scan_all(&s.cursor, &err);
    CHECK_EQ(err, JET_errDatabaseCorrupted);
    /* a leaf of another object; a child that is its own parent */
    CHECK_OK(cache_latch(w->db, second, LATCH_WRITE, CACHE_WAIT, &ref));
    page_format(ref.page, second, OBJID + 1, PAGE_LEAF, 100);
    cache_release(&ref);
    scan_all(&s.cursor, &err);
    CHECK_EQ(err, JET_errDatabaseCorrupted);
    CHECK_OK(cache_latch(w->db, ROOT_PAGE, LATCH_WRITE, CACHE_WAIT, &ref));
    uint8_t self[4] = {ROOT_PAGE};
    for (int i = 0; i < page_line_count(ref.page); i++)
        page_replace(ref.page, i, SLICE(self, 4));
    cache_release(&ref);
    CHECK_EQ(btree_first(&s.cursor), JET_errDatabaseCorrupted);
    CHECK_EQ(btree_seek(&s.cursor, number_key(5, key), SLICE_EMPTY, false, SEEK_EQ, &exact),
             JET_errDatabaseCorrupted);
    CHECK_OK(trx_begin(&s.trx));
    CHECK_EQ(btree_insert(&s.cursor, number_key(5, key), text("x"), BTREE_PLAIN),
             JET_errDatabaseCorrupted);
    session_commit(&s);
    struct btree *none;
    CHECK_EQ(btree_open(w->db, second, &none), JET_errDatabaseCorrupted);
    session_close(&s);
    world_end(w);
}

CASE(conflicts)
{
    struct world *w = world_make(4096, 500, 0);
    struct session a, b;
    bool exact;
    session_open(&a, w, 10);
    session_open(&b, w, 20);
    CHECK_OK(trx_begin(&a.trx));
    CHECK_OK(btree_insert(&a.cursor, text("one"), text("1"), BTREE_PLAIN));
    session_commit(&a);

    CHECK_OK(trx_begin(&a.trx));
    CHECK_OK(trx_begin(&b.trx));
    CHECK_OK(btree_insert(&a.cursor, text("two"), text("2"), BTREE_PLAIN));
    CHECK_EQ(btree_insert(&b.cursor, text("two"), text("2"), BTREE_PLAIN), JET_errWriteConflict);
    CHECK_EQ(btree_insert(&b.cursor, text("one"), text("2"), BTREE_PLAIN), JET_errKeyDuplicate);
    CHECK_OK(btree_replace(&a.cursor, text("one"), text("eins"), BTREE_PLAIN));
    CHECK_EQ(btree_replace(&b.cursor, text("one"), text("uno"), BTREE_PLAIN), JET_errWriteConflict);
    CHECK_EQ(btree_delete(&b.cursor, text("one"), SLICE_EMPTY, BTREE_PLAIN), JET_errWriteConflict);
    CHECK_EQ(btree_lock(&b.cursor, text("one"), SLICE_EMPTY), JET_errWriteConflict);
    CHECK_OK(btree_seek(&b.cursor, text("one"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(b.cursor.data, text("1")));
    CHECK_EQ(btree_seek(&b.cursor, text("two"), SLICE_EMPTY, false, SEEK_EQ, &exact),
             JET_errRecordNotFound);
    session_commit(&a);
    /* committed after b's snapshot: still a conflict, still unseen */
    CHECK_EQ(btree_replace(&b.cursor, text("one"), text("uno"), BTREE_PLAIN), JET_errWriteConflict);
    CHECK_EQ(btree_insert(&b.cursor, text("two"), text("2"), BTREE_PLAIN), JET_errWriteConflict);
    CHECK_OK(btree_seek(&b.cursor, text("one"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(b.cursor.data, text("1")));
    session_commit(&b);
    CHECK_OK(btree_refresh(&b.cursor));
    CHECK(slice_equal(b.cursor.data, text("eins")));

    /* a lock keeps others out and dies with its transaction; so does an own deleted row that lives
     * again */
    CHECK_OK(trx_begin(&a.trx));
    CHECK_OK(trx_begin(&b.trx));
    CHECK_OK(btree_lock(&a.cursor, text("one"), SLICE_EMPTY));
    CHECK_EQ(btree_replace(&b.cursor, text("one"), text("uno"), BTREE_PLAIN), JET_errWriteConflict);
    CHECK_OK(btree_delete(&a.cursor, text("two"), SLICE_EMPTY, BTREE_PLAIN));
    CHECK_EQ(btree_replace(&a.cursor, text("two"), text("x"), BTREE_PLAIN), JET_errRecordDeleted);
    CHECK_OK(btree_insert(&a.cursor, text("two"), text("zwei"), BTREE_PLAIN));
    CHECK_OK(btree_delete(&a.cursor, text("two"), SLICE_EMPTY, BTREE_PLAIN));
    CHECK_OK(btree_insert(&a.cursor, text("two"), text("zwei"), BTREE_PLAIN));
    CHECK_OK(btree_seek(&a.cursor, text("two"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(a.cursor.data, text("zwei")));
    CHECK_OK(btree_seek(&b.cursor, text("two"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(b.cursor.data, text("2")));
    session_rollback(&a, 1);
    CHECK_OK(btree_refresh(&b.cursor));
    CHECK(slice_equal(b.cursor.data, text("2")));
    CHECK_OK(btree_replace(&b.cursor, text("one"), text("uno"), BTREE_PLAIN));
    session_commit(&b);
    session_sweep(&a);
    session_close(&a);
    session_close(&b);
    world_end(w);
}

static uint32_t number_of(struct session *s, const char *key)
{
    bool exact;
    CHECK_OK(btree_seek(&s->cursor, text(key), SLICE_EMPTY, false, SEEK_EQ, &exact));
    return load_u32(s->cursor.data.p + 2);
}

CASE(several_add_at_once)
{
    struct world *w = world_make(4096, 500, 0);
    struct session a, b, c;
    uint8_t data[8] = {0};
    int32_t before = 0;
    session_open(&a, w, 10);
    session_open(&b, w, 20);
    session_open(&c, w, 30);
    store_u32(data + 2, 100);
    CHECK_OK(trx_begin(&a.trx));
    CHECK_OK(btree_insert(&a.cursor, text("n"), SLICE(data, 8), BTREE_PLAIN));
    session_commit(&a);
    CHECK_OK(trx_begin(&a.trx));
    CHECK_OK(trx_begin(&b.trx));
    CHECK_OK(trx_begin(&c.trx));
    CHECK_OK(btree_delta(&a.cursor, text("n"), 2, 5, &before));
    CHECK_EQ(before, 100);
    CHECK_OK(btree_delta(&b.cursor, text("n"), 2, -20, &before));
    CHECK_EQ(before, 100);
    CHECK_OK(btree_delta(&a.cursor, text("n"), 2, 1, &before));
    CHECK_EQ(before, 105);
    CHECK_EQ(number_of(&a, "n"), 106);
    CHECK_EQ(number_of(&b, "n"), 80);
    CHECK_EQ(number_of(&c, "n"), 100);
    CHECK_EQ(btree_replace(&b.cursor, text("n"), SLICE(data, 8), BTREE_PLAIN),
             JET_errWriteConflict);
    session_commit(&b);
    CHECK_EQ(number_of(&c, "n"), 100);
    session_rollback(&a, 1);
    session_commit(&c);
    CHECK_EQ(number_of(&c, "n"), 80);
    CHECK_OK(trx_begin(&c.trx));
    CHECK_EQ(btree_delta(&c.cursor, text("n"), 6, 1, NULL), JET_errInvalidParameter);
    CHECK_EQ(btree_delta(&c.cursor, text("m"), 0, 1, NULL), JET_errRecordDeleted);
    session_commit(&c);
    session_close(&a);
    session_close(&b);
    session_close(&c);
    world_end(w);
}

CASE(levels_roll_back_one_by_one)
{
    struct world *w = world_make(4096, 500, 0);
    struct session s;
    bool exact;
    session_open(&s, w, 10);
    CHECK_OK(trx_begin(&s.trx));
    CHECK_OK(btree_insert(&s.cursor, text("a"), text("first"), BTREE_PLAIN));
    CHECK_OK(trx_begin(&s.trx));
    CHECK_OK(btree_replace(&s.cursor, text("a"), text("second one"), BTREE_PLAIN));
    CHECK_OK(btree_insert(&s.cursor, text("b"), text("b"), BTREE_PLAIN));
    session_rollback(&s, 1);
    CHECK_OK(btree_seek(&s.cursor, text("a"), SLICE_EMPTY, false, SEEK_EQ, &exact));
    CHECK(slice_equal(s.cursor.data, text("first")));
    CHECK_EQ(btree_seek(&s.cursor, text("b"), SLICE_EMPTY, false, SEEK_EQ, &exact),
             JET_errRecordNotFound);
    session_commit(&s);
    CHECK_EQ(btree_first(&s.cursor), JET_errSuccess);
    CHECK_EQ(btree_next(&s.cursor), JET_errNoCurrentRecord);
    session_close(&s);
    world_end(w);
}

/* No space: the insert fails, nothing changed, and goes on when there is some again. */
CASE(out_of_space)
{
    struct world *w = world_make(2048, 500, 0);
    struct session s;
    uint8_t key[8], data[100] = {1};
    uint32_t i = 0;
    session_open(&s, w, 10);
    for (int pages = 0; pages < 40; pages++) {
        err_t err = JET_errSuccess;
        allocator.fail_after = pages % 3;
        CHECK_OK(trx_begin(&s.trx));
        while (err == JET_errSuccess) {
            err = btree_insert(&s.cursor, number_key(i * 7919 % 65536, key),
                               SLICE(data, sizeof data), BTREE_PLAIN);
            i += err == JET_errSuccess;
        }
        CHECK_EQ(err, JET_errOutOfDatabaseSpace);
        session_commit(&s);
        CHECK_EQ(check_tree(w).nodes, i);
    }
    allocator.fail_after = -1;
    session_close(&s);
    world_end(w);
}

/* A write to the log or the database fails: the change that meets it is not made, not even half a
 * split. */
CASE(writes_fail)
{
    for (uint64_t after = 0; after < 60; after += 7) {
        struct world *w = world_make(2048, 500, 0);
        struct session s;
        struct os_fault fault = {.ops = 1u << OS_OP_WRITE,
                                 .path_part = w->dir,
                                 .after = after,
                                 .count = UINT64_MAX,
                                 .error = 28};
        uint8_t key[8], data[120] = {1};
        err_t err = JET_errSuccess;
        uint32_t n = 0;
        session_open(&s, w, 10);
        os_fault_set(&fault);
        CHECK_OK(trx_begin(&s.trx));
        while (err == JET_errSuccess && n < 60000) {
            err = btree_insert(&s.cursor, number_key(n * 7919 % 65536, key),
                               SLICE(data, sizeof data), BTREE_PLAIN);
            n += err == JET_errSuccess;
        }
        CHECK(err < 0);
        os_fault_set(NULL);
        CHECK_EQ(check_tree(w).nodes, n);
        /* the log stopped for good, or it was the database file that could not grow and can again
         */
        err = btree_insert(&s.cursor, text("after"), text("x"), BTREE_PLAIN);
        CHECK_EQ(err < 0, log_poisoned(w->log) < 0);
        CHECK_EQ(check_tree(w).nodes, n + (err == JET_errSuccess));
        session_close(&s);
        world_end_log(w, false);
    }
}

/* A private tree, unversioned, as space uses them. */
CASE(private_and_unversioned)
{
    struct world *w = world_make(2048, 500, 0);
    struct session s;
    struct btree tree;
    struct btree_cursor c;
    uint8_t key[8];
    session_open(&s, w, 10);
    btree_init_private(&tree, w->db, ROOT_PAGE, OBJID, 0, true, &test_source);
    btree_cursor_init(&c, &tree, &s.inner);
    CHECK_OK(trx_begin(&s.inner));
    for (uint32_t i = 0; i < 3000; i++)
        CHECK_OK(
            btree_insert(&c, number_key(i * 7919 % 65536, key), text("data"), BTREE_UNVERSIONED));
    for (uint32_t i = 0; i < 3000; i++) {
        if (i % 3 == 0)
            CHECK_OK(btree_replace(&c, number_key(i * 7919 % 65536, key), text("more data"),
                                   BTREE_UNVERSIONED));
        else
            CHECK_OK(btree_delete(&c, number_key(i * 7919 % 65536, key), SLICE_EMPTY,
                                  BTREE_UNVERSIONED));
    }
    lgpos_t end;
    CHECK_OK(trx_commit(&s.inner, &end));
    int rows = 0;
    for (err_t err = btree_first(&c); err == JET_errSuccess; err = btree_next(&c), rows++)
        CHECK(slice_equal(c.data, text("more data")));
    CHECK_EQ(rows, 1000);
    check_tree(w);
    btree_cursor_term(&c);
    btree_term_private(&tree);
    session_close(&s);
    world_end(w);
}

/* ---- threads ---- */

enum { WRITERS = 3, READERS = 2, THREAD_ROWS = 400 };

struct worker {
    struct world *w;
    int id, rounds;
    _Atomic bool *stop;
    uint64_t conflicts, rows_seen;
};

/* Each transaction writes a pair of rows, "pair/n/a" and "pair/n/b", with one value: whoever reads
 * them in a snapshot must find both alike. Writers meet on the same pairs. */
static struct slice pair_key(uint32_t n, char half, uint8_t to[32])
{
    int size = snprintf((char *)to, 32, "pair/%05u/%c", n * 7 % 997, half);
    return SLICE(to, size);
}

static err_t write_pair(struct session *s, unsigned long long *state)
{
    uint8_t key[32], data[120];
    uint32_t n = (uint32_t)(ctest_random(state) % THREAD_ROWS);
    struct slice value = SLICE(data, 1 + ctest_random(state) % 119);
    bool exact, delete = ctest_random(state) % 4 == 0;
    memset(data, (int)ctest_random(state), sizeof data);
    err_t err = btree_seek(&s->cursor, pair_key(n, 'a', key), SLICE_EMPTY, false, SEEK_EQ, &exact);
    bool there = err == JET_errSuccess;
    CHECK(there || err == JET_errRecordNotFound);
    for (char half = 'a'; half <= 'b'; half++) {
        struct slice k = pair_key(n, half, key);
        err = !there   ? btree_insert(&s->cursor, k, value, BTREE_PLAIN)
              : delete ? btree_delete(&s->cursor, k, SLICE_EMPTY, BTREE_PLAIN)
                       : btree_replace(&s->cursor, k, value, BTREE_PLAIN);
        if (err < 0)
            return err;
    }
    return JET_errSuccess;
}

static void writer(void *context)
{
    struct worker *me = context;
    struct session s;
    unsigned long long state = 1000 + (unsigned)me->id;
    session_open(&s, me->w, (uint16_t)(100 + 10 * me->id));
    for (int round = 0; round < me->rounds; round++) {
        err_t err = JET_errSuccess;
        CHECK_OK(trx_begin(&s.trx));
        for (int i = 0; i < 5 && err == JET_errSuccess; i++)
            err = write_pair(&s, &state);
        if (err != JET_errSuccess) {
            CHECK_EQ(err, JET_errWriteConflict);
            me->conflicts++;
        }
        if (err < 0 || ctest_random(&state) % 8 == 0)
            session_rollback(&s, 1);
        else
            session_commit(&s);
    }
    session_close(&s);
}

static void read_all(struct worker *me, struct session *s, bool forward)
{
    struct row last = {0};
    uint64_t n = 0;
    err_t err = forward ? btree_first(&s->cursor) : btree_last(&s->cursor);
    for (; err == JET_errSuccess;
         err = forward ? btree_next(&s->cursor) : btree_prev(&s->cursor), n++) {
        struct slice key = buffer_slice(&s->cursor.key);
        if (n > 0)
            CHECK(forward ? slice_compare(key, key_of(&last)) > 0
                          : slice_compare(key, key_of(&last)) < 0);
        if (n % 2 == 1) { /* the other half of the pair */
            CHECK(key.n == last.key_n && memcmp(key.p, last.key, key.n - 1) == 0);
            CHECK(slice_equal(s->cursor.data, data_of(&last)));
        }
        last.key_n = (uint16_t)key.n;
        memcpy(last.key, key.p, key.n);
        last.data_n = (uint16_t)s->cursor.data.n;
        memcpy(last.data, s->cursor.data.p, s->cursor.data.n);
    }
    CHECK_EQ(err, JET_errNoCurrentRecord);
    CHECK_EQ(n % 2, 0);
    me->rows_seen += n;
}

static void reader(void *context)
{
    struct worker *me = context;
    struct session s;
    session_open(&s, me->w, (uint16_t)(300 + 10 * me->id));
    for (int round = 0; !*me->stop; round++) {
        CHECK_OK(trx_begin(&s.trx));
        read_all(me, &s, (round + me->id) % 2 == 0);
        session_commit(&s);
    }
    session_close(&s);
}

static void sweeper(void *context)
{
    struct worker *me = context;
    struct session s;
    session_open(&s, me->w, 400);
    while (!*me->stop) {
        session_sweep(&s);
        os_sleep_ms(1);
    }
    session_sweep(&s);
    session_close(&s);
}

static void page_writer(void *context)
{
    struct worker *me = context;
    while (!*me->stop) {
        uint32_t written;
        struct write_goal goal = {.older_than = LGPOS_MAX, .pages_max = 8, .random_steal = true};
        CHECK_OK(cache_write_back(me->w->cache, &goal, &written));
        os_sleep_ms(1);
    }
}

static void threads(uint32_t frames, int rounds)
{
    struct world *w = world_make(2048, frames, 0);
    struct os_thread *thread[WRITERS + READERS + 2];
    struct worker worker[WRITERS + READERS + 2];
    _Atomic bool stop = false;
    uint64_t conflicts = 0, rows = 0;
    int count = WRITERS + READERS + 2;
    for (int i = 0; i < count; i++) {
        worker[i] = (struct worker){.w = w, .id = i, .rounds = rounds, .stop = &stop};
        os_thread_fn fn = i < WRITERS             ? writer
                          : i < WRITERS + READERS ? reader
                          : i < count - 1         ? sweeper
                                                  : page_writer;
        CHECK_OK(os_thread_start("worker", fn, &worker[i], &thread[i]));
    }
    for (int i = 0; i < count; i++) {
        if (i == WRITERS)
            stop = true;
        os_thread_join(thread[i]);
        conflicts += worker[i].conflicts;
        rows += worker[i].rows_seen;
    }
    struct session s;
    struct btree_stats stats;
    session_open(&s, w, 10);
    session_sweep(&s);
    read_all(&worker[0], &s, true);
    check_tree(w);
    btree_stats(&stats);
    printf("%llu conflicts, %llu rows read, %llu retries, %llu undo after steal\n",
           (unsigned long long)conflicts, (unsigned long long)rows,
           (unsigned long long)stats.retries, (unsigned long long)stats.undo_after_steal);
    CHECK(conflicts > 0 && rows > 0);
    session_close(&s);
    world_end(w);
}

CASE(threads_with_room)
{
    threads(1000, 600);
}

CASE(threads_64_frames)
{
    threads(64, 300);
}

/* ---- the log ---- */

#include "btree/btree_format.h"

CASE(every_record_can_be_read)
{
    struct world *w = world_make(2048, 500, 0);
    struct session s;
    uint8_t key[8], data[90] = {1};
    int count[256] = {0};
    session_open(&s, w, 10);
    for (uint32_t i = 0; i < 4000; i++) {
        CHECK_OK(trx_begin(&s.trx));
        CHECK_OK(btree_insert(&s.cursor, number_key(i * 7919 % 65536, key),
                              SLICE(data, sizeof data), BTREE_PLAIN));
        if (i % 5 == 0)
            CHECK_OK(btree_replace(&s.cursor, number_key(i * 7919 % 65536, key),
                                   SLICE(data, 1 + i % 90), BTREE_PLAIN));
        if (i % 7 == 0)
            CHECK_OK(btree_delete(&s.cursor, number_key(i * 7919 % 65536, key), SLICE_EMPTY,
                                  BTREE_PLAIN));
        if (i % 11 == 0)
            session_rollback(&s, 1);
        else
            session_commit(&s);
        if (i % 500 == 0)
            session_sweep(&s);
    }
    CHECK_OK(log_flush_all(w->log));
    struct log_reader_config config = {
        .dirs = {w->dir}, .dir_count = 1, .base_name = "edb", .mode = LOG_READ_SOFT};
    struct log_reader *r;
    struct log_view view;
    bool end = false;
    dbtime_t last = 0;
    CHECK_OK(log_reader_open(&config, LGPOS(1, 1, 0), &r));
    for (;;) {
        CHECK_OK(log_reader_next(r, &view, &end));
        if (end)
            break;
        unsigned type = view.bytes.p[0];
        struct node_record node = {0};
        struct split_record split;
        struct macro_record macro;
        count[type]++;
        if (type == LOG_Split2) {
            CHECK_OK(btree_decode_split(view.bytes, &split));
            CHECK_EQ(split.root, ROOT_PAGE);
            CHECK_EQ(split.head.dbtime, last);
        } else if (type == LOG_MacroBegin || type == LOG_MacroCommit) {
            CHECK_OK(btree_decode_macro(view.bytes, &macro));
            CHECK(type == LOG_MacroBegin ? macro.dbtime > last : macro.dbtime == last);
            last = macro.dbtime;
        } else if (type == LOG_Insert || type == LOG_Replace || type == LOG_ReplaceD ||
                   type == LOG_FlagDelete || type == LOG_Delete || type == LOG_Undo ||
                   type == LOG_FlagInsert || type == LOG_FlagInsertAndReplaceData) {
            CHECK_OK(btree_decode_node(view.bytes, &node));
            CHECK_EQ(node.objid, OBJID);
            CHECK(node.head.before == DBTIME_NIL ? node.head.dbtime == last
                                                 : node.head.dbtime > last);
            last = node.head.dbtime;
        }
    }
    log_reader_close(r);
    CHECK(count[LOG_Insert] == 4000 && count[LOG_Undo] > 300 && count[LOG_Split2] > 200 &&
          count[LOG_Delete] > 500);
    CHECK(count[LOG_ReplaceD] + count[LOG_Replace] > 700 &&
          count[LOG_MacroBegin] == count[LOG_MacroCommit]);
    session_close(&s);
    world_end(w);
}

CTEST_MAIN
