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

static int compare_row(const struct model *m, const struct row *r, struct slice key, struct slice data)
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
    static const char *const groups[] = {"apple/orchard/north/", "apple/orchard/south/", "b", "warehouse-of-long-names-0001/shelf/", ""};
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

static void check_seek(struct btree_cursor *c, const struct model *m, struct slice key, struct slice data, bool with_data,
                       enum seek_mode mode)
{
    bool equal, exact;
    int low, high; /* [low, high): rows equal to the bookmark */
    low = high = model_find(m, key, with_data && !m->unique ? data : SLICE_EMPTY, &equal);
    while (high < m->count && slice_equal(key_of(&m->rows[high]), key) &&
           (m->unique || !with_data || slice_equal(data_of(&m->rows[high]), data)))
        high++;
    int want = mode == SEEK_EQ ? (low < high ? low : -1)
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

static void change_once(struct session *s, struct model *m, unsigned long long *state, int insert_share)
{
    uint8_t kb[KEY_MAX], db[DATA_MAX];
    struct slice key = random_key(state, kb), data = random_data(state, db, m->unique ? DATA_MAX : 60);
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
        int share = m.count < 300 ? 80 : m.count > 1200 ? 25 : 30 + (int)(ctest_random(&state) % 40);
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
    printf("%d rows, depth %d, %d pages, %d nodes, %llu splits, %llu merges\n", m.count, c.leaf_depth, c.pages, c.nodes,
           (unsigned long long)(stats.splits - splits_before), (unsigned long long)stats.merges);
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

CTEST_MAIN
