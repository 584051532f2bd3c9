/* The table room: cursors over hand-made tables. */
#include "table_fixture.h"

/* ---- the table of most cases: id (primary), n, text, long text ---- */

enum { ID = 1, N = 2, T = 128, B = 129, L = 256, M = 257 };
static const struct want_column columns[] = {
    {"i", ID, JET_coltypLong, COLUMN_NOT_NULL, 4, 0, NULL, 0},
    {"n", N, JET_coltypLong, 0, 4, 0, NULL, 0},
    {"t", T, JET_coltypText, 0, 255, 1252, NULL, 0},
    {"b", B, JET_coltypBinary, 0, 255, 0, NULL, 0},
    {"l", L, JET_coltypLongText, 0, 0, 1252, NULL, 0},
    {"m", M, JET_coltypText, COLUMN_MULTI_VALUED, 255, 1252, NULL, 0},
};
#define PLAIN 0x0Eu
static const struct want_index indexes[] = {
    {"primary", "+i", INDEX_PRIMARY | INDEX_UNIQUE | PLAIN, 0},
    {"by_n", "+n", PLAIN, 0},
    {"by_text", "+t", INDEX_UNIQUE, 0}, /* unique, without NULLs */
    {"by_m", "+m", PLAIN | INDEX_MULTI_VALUED, 0},
    {"by_nt", "-n+t", PLAIN, 0},
};

static struct fixture f;
static struct session s;
static struct table_cursor *cur;

static void begin_table(void)
{
    world_begin(4096);
    fixture_make(&f, columns, 6, indexes, 5);
    session_open(&s);
    CHECK_OK(cursor_open(&f.desc, &s.trx, 0, &cur));
}
static void end_table(void)
{
    cursor_close(cur);
    CHECK_EQ(s.trx.level, 0);
    session_close(&s);
    fixture_end(&f);
    world_end();
}

static err_t insert(struct table_cursor *at, int32_t id, int32_t n, const char *text)
{
    struct slice bookmark;
    CHECK_OK(cursor_prepare(at, JET_prepInsert));
    CHECK_OK(set_long(at, ID, id));
    CHECK_OK(set_long(at, N, n));
    if (text != NULL)
        CHECK_OK(set_text(at, T, text));
    err_t err = cursor_update(at, &bookmark);
    if (err < 0)
        CHECK_OK(cursor_prepare(at, JET_prepCancel));
    return err;
}

/* ids 10, 20, ... 10 * rows; n = id / 30, text = "row<id>" */
static void fill(int rows)
{
    char text[20];
    begin(&s);
    for (int i = 1; i <= rows; i++) {
        snprintf(text, sizeof text, "row%04d", 10 * i);
        CHECK_OK(insert(cur, 10 * i, 10 * i / 30, text));
    }
    commit(&s);
}

static int entries(const char *index)
{
    return world_count(table_find_index(&f.desc, index)->tree, &s.trx);
}

CASE(insert_and_read)
{
    begin_table();
    fill(200);
    CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
    for (int i = 1; i <= 200; i++) {
        char text[20];
        snprintf(text, sizeof text, "row%04d", 10 * i);
        CHECK_EQ(get_long(cur, ID), 10 * i);
        check_text(cur, T, 1, text);
        check_text(cur, B, 1, NULL);
        CHECK_EQ(cursor_move(cur, 1, 0), i < 200 ? JET_errSuccess : JET_errNoCurrentRecord);
    }
    CHECK_EQ(entries("by_n"), 200);
    CHECK_EQ(entries("by_text"), 200);
    CHECK_EQ(entries("by_m"), 200);
    end_table();
}

/* ---- moving: a script of moves on ids 10..50 ---- */

struct move {
    int32_t rows;
    JET_GRBIT grbit;
    err_t err;
    int32_t id; /* 0: no current record afterwards */
};

static void run_moves(const struct move *moves, int count)
{
    uint32_t actual;
    int32_t value;
    for (int i = 0; i < count; i++) {
        err_t err = cursor_move(cur, moves[i].rows, moves[i].grbit);
        if (err != moves[i].err)
            fprintf(stderr, "move %d: %d\n", i, err);
        CHECK_EQ(err, moves[i].err);
        if (moves[i].id != 0)
            CHECK_EQ(get_long(cur, ID), moves[i].id);
        else
            CHECK_EQ(cursor_retrieve(cur, ID, 1, 0, 0, &value, 4, &actual, NULL), JET_errNoCurrentRecord);
    }
}
#define NO JET_errNoCurrentRecord
#define RUN(moves) run_moves(moves, (int)(sizeof moves / sizeof *moves))

CASE(moves)
{
    static const struct move script[] = {
        {JET_MoveNext, 0, 0, 20}, /* a fresh cursor stands on the first record */
        {JET_MoveFirst, 0, 0, 10},
        {JET_MovePrevious, 0, NO, 0},
        {JET_MovePrevious, 0, NO, 0}, /* stays before the first */
        {0, 0, NO, 0},
        {JET_MoveNext, 0, 0, 10},
        {3, 0, 0, 40},
        {-2, 0, 0, 20},
        {0, 0, 0, 20},
        {10, 0, NO, 0}, /* after the last */
        {JET_MoveNext, 0, NO, 0},
        {JET_MovePrevious, 0, 0, 50},
        {JET_MoveLast, 0, 0, 50},
        {-4, 0, 0, 10},
        {-1, 0, NO, 0},
        {5, 0, 0, 50},
        {JET_MovePrevious, JET_bitMoveKeyNE, 0, 40},
    };
    begin_table();
    fill(5);
    RUN(script);
    end_table();
}

CASE(moves_by_key)
{
    /* n: 10,20 -> 0; 30,40,50 -> 1; 60,70,80 -> 2; 90..110 -> 3; 120 -> 4 */
    static const struct move script[] = {
        {JET_MoveFirst, 0, 0, 10},
        {JET_MoveNext, JET_bitMoveKeyNE, 0, 30},
        {2, JET_bitMoveKeyNE, 0, 90},
        {JET_MovePrevious, JET_bitMoveKeyNE, 0, 80},
        {JET_MoveLast, 0, 0, 120},
        {JET_MovePrevious, JET_bitMoveKeyNE, 0, 110},
        {JET_MoveNext, JET_bitMoveKeyNE, 0, 120},
        {JET_MoveNext, JET_bitMoveKeyNE, NO, 0},
        {JET_MovePrevious, JET_bitMoveKeyNE, 0, 120},
        {-5, JET_bitMoveKeyNE, NO, 0},
    };
    begin_table();
    fill(12);
    CHECK_OK(cursor_set_index(cur, "BY_N", 0, 0));
    RUN(script);
    /* long runs of equal keys are jumped over */
    begin(&s);
    for (int i = 0; i < 60; i++)
        CHECK_OK(insert(cur, 1000 + i, 77, NULL));
    commit(&s);
    CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
    CHECK_OK(cursor_move(cur, 5, JET_bitMoveKeyNE));
    CHECK_EQ(get_long(cur, ID), 1000);
    CHECK_EQ(cursor_move(cur, 1, JET_bitMoveKeyNE), NO);
    CHECK_OK(cursor_move(cur, -1, 0));
    CHECK_EQ(get_long(cur, ID), 1059);
    CHECK_OK(cursor_move(cur, -1, JET_bitMoveKeyNE));
    CHECK_EQ(get_long(cur, ID), 120);
    end_table();
}

CASE(moves_on_an_empty_table)
{
    static const struct move script[] = {
        {0, 0, NO, 0},          {JET_MoveNext, 0, NO, 0},     {JET_MovePrevious, 0, NO, 0},
        {JET_MoveFirst, 0, NO, 0}, {JET_MoveLast, 0, NO, 0},
    };
    begin_table();
    RUN(script);
    CHECK_OK(cursor_move(cur, JET_MoveFirst, 0) == NO ? 0 : -1);
    begin(&s);
    CHECK_OK(insert(cur, 7, 7, NULL)); /* does not move the cursor */
    CHECK_OK(cursor_move(cur, JET_MoveNext, 0));
    CHECK_EQ(get_long(cur, ID), 7);
    commit(&s);
    end_table();
}

static err_t retrieve_id(void)
{
    uint32_t actual;
    int32_t value;
    return cursor_retrieve(cur, ID, 1, 0, 0, &value, 4, &actual, NULL);
}

CASE(deleted_under_the_cursor)
{
    begin_table();
    fill(5);
    begin(&s);
    CHECK_OK(cursor_move(cur, 2, 0));
    CHECK_OK(cursor_delete(cur)); /* 30; the cursor stands on the gap */
    CHECK_EQ(retrieve_id(), JET_errRecordDeleted);
    CHECK_EQ(cursor_move(cur, 0, 0), JET_errRecordDeleted);
    CHECK_EQ(cursor_delete(cur), JET_errRecordDeleted);
    CHECK_OK(cursor_move(cur, 1, 0));
    CHECK_EQ(get_long(cur, ID), 40);
    CHECK_OK(cursor_delete(cur));
    CHECK_OK(cursor_move(cur, -1, 0));
    CHECK_EQ(get_long(cur, ID), 20);
    rollback(&s);
    cursor_trx_ended(cur, true, 0);
    CHECK_OK(cursor_move(cur, 1, 0));
    CHECK_EQ(get_long(cur, ID), 30);
    /* another session deletes it */
    struct session t;
    struct table_cursor *other;
    session_open(&t);
    CHECK_OK(cursor_open(&f.desc, &t.trx, 0, &other));
    begin(&t);
    CHECK_OK(make_long(other, 30, JET_bitNewKey) < 0 ? -1 : cursor_seek(other, JET_bitSeekEQ));
    CHECK_OK(cursor_delete(other));
    CHECK_EQ(get_long(cur, ID), 30);
    commit(&t);
    CHECK_EQ(retrieve_id(), JET_errRecordDeleted);
    CHECK_OK(cursor_move(cur, -1, 0));
    CHECK_EQ(get_long(cur, ID), 20);
    cursor_close(other);
    session_close(&t);
    end_table();
}

/* ---- seeking ---- */

struct seek {
    const char *index;
    int32_t key;
    JET_GRBIT grbit;
    err_t err;
    int32_t id;   /* record afterwards, or 0 */
    int32_t next; /* id after a move to the next, 0 = NoCurrentRecord */
    int32_t prev; /* instead: after a move to the previous */
};

static void seek_long(const char *index, int32_t key, JET_GRBIT grbit, err_t want)
{
    if (index != NULL)
        CHECK_OK(cursor_set_index(cur, index[0] == '\0' ? NULL : index, 0, 0));
    CHECK_OK(make_long(cur, key, JET_bitNewKey));
    CHECK_EQ(cursor_seek(cur, grbit), want);
}

static void check_after(int32_t move, int32_t id)
{
    CHECK_EQ(cursor_move(cur, move, 0), id == 0 ? NO : JET_errSuccess);
    if (id != 0)
        CHECK_EQ(get_long(cur, ID), id);
}

CASE(seeks)
{
    enum { EQ = JET_bitSeekEQ, LT = JET_bitSeekLT, LE = JET_bitSeekLE, GE = JET_bitSeekGE, GT = JET_bitSeekGT };
    static const struct seek cases[] = {
        {"", 30, EQ, 0, 30, 40, 20},
        {"", 30, GE, 0, 30, 40, 20},
        {"", 30, LE, 0, 30, 40, 20},
        {"", 30, GT, 0, 40, 50, 30},
        {"", 30, LT, 0, 20, 30, 10},
        {"", 35, EQ, JET_errRecordNotFound, 0, 40, 30},
        {"", 35, GE, JET_wrnSeekNotEqual, 40, 50, 30},
        {"", 35, LE, JET_wrnSeekNotEqual, 30, 40, 20},
        {"", 35, GT, 0, 40, 50, 30},
        {"", 35, LT, 0, 30, 40, 20},
        {"", 5, LT, JET_errRecordNotFound, 0, 10, 0},
        {"", 5, LE, JET_errRecordNotFound, 0, 10, 0},
        {"", 130, GE, JET_errRecordNotFound, 0, 0, 120},
        {"", 120, GT, JET_errRecordNotFound, 0, 0, 120},
        {"", 130, EQ, JET_errRecordNotFound, 0, 0, 120},
        /* n: 10,20 -> 0; 30,40,50 -> 1; 60,70,80 -> 2; 90,100,110 -> 3; 120 -> 4 */
        {"by_n", 1, EQ, 0, 30, 40, 20},
        {"by_n", 1, GE, 0, 30, 40, 20},
        {"by_n", 1, GT, 0, 60, 70, 50},
        {"by_n", 1, LT, 0, 20, 30, 10},
        {"by_n", 1, LE, 0, 50, 60, 40}, /* closest to the end of the index */
        {"by_n", -1, EQ, JET_errRecordNotFound, 0, 10, 0},
        {"by_n", -1, GE, JET_wrnSeekNotEqual, 10, 20, 0},
        {"by_n", 9, LE, JET_wrnSeekNotEqual, 120, 0, 110},
        {"by_n", 4, EQ | JET_bitCheckUniqueness, JET_wrnUniqueKey, 120, 0, 110},
        {"by_n", 3, EQ | JET_bitCheckUniqueness, 0, 90, 100, 80},
        {"", 30, EQ | JET_bitCheckUniqueness, JET_wrnUniqueKey, 30, 40, 20},
    };
    begin_table();
    fill(12);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct seek *k = &cases[i];
        for (int way = 0; way < 2; way++) {
            seek_long(k->index, k->key, k->grbit, k->err);
            if (k->id != 0)
                CHECK_EQ(get_long(cur, ID), k->id);
            else
                CHECK_EQ(retrieve_id(), NO);
            check_after(way == 0 ? 1 : -1, way == 0 ? k->next : k->prev);
        }
    }
    end_table();
}

CASE(seek_rules)
{
    begin_table();
    fill(5);
    CHECK_EQ(cursor_seek(cur, JET_bitSeekEQ), JET_errKeyNotMade);
    CHECK_EQ(make_long(cur, 10, 0), JET_errKeyNotMade);
    CHECK_OK(make_long(cur, 10, JET_bitNewKey));
    CHECK_EQ(make_long(cur, 10, 0), JET_errKeyIsMade);
    CHECK_EQ(cursor_seek(cur, 0), JET_errInvalidParameter);
    CHECK_EQ(cursor_seek(cur, JET_bitSeekEQ), JET_errSuccess);
    CHECK_EQ(cursor_seek(cur, JET_bitSeekEQ), JET_errKeyNotMade); /* consumed */
    CHECK_EQ(cursor_make_key(cur, SLICE("abc", 3), false, JET_bitNewKey), JET_errInvalidBufferSize);
    CHECK_EQ(make_long(cur, 1, JET_bitNewKey | JET_bitStrLimit | JET_bitFullColumnEndLimit), JET_errInvalidGrbit);
    CHECK_EQ(make_long(cur, 1, JET_bitNewKey | JET_bitPartialColumnEndLimit), JET_errInvalidGrbit);
    /* a prepared update is cancelled */
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(make_long(cur, 20, JET_bitNewKey));
    CHECK_OK(cursor_seek(cur, JET_bitSeekEQ));
    CHECK_EQ(cursor_prepared(cur), PREP_NONE);
    /* keys as they are stored */
    struct slice key, again;
    uint8_t bytes[300];
    CHECK_OK(cursor_key(cur, 0, &key));
    CHECK(slice_equal(key, SLICE("\x7f\x80\0\0\x14", 5)));
    memcpy(bytes, key.p, key.n);
    CHECK_OK(cursor_move(cur, 1, 0));
    CHECK_OK(cursor_make_key(cur, SLICE(bytes, 5), false, JET_bitNormalizedKey));
    CHECK_OK(cursor_key(cur, JET_bitRetrieveCopy, &again));
    CHECK(slice_equal(again, SLICE(bytes, 5)));
    CHECK_OK(cursor_seek(cur, JET_bitSeekEQ));
    CHECK_EQ(get_long(cur, ID), 20);
    memset(bytes, 1, sizeof bytes);
    CHECK_EQ(cursor_make_key(cur, SLICE(bytes, 257), false, JET_bitNormalizedKey), JET_errInvalidParameter);
    CHECK_OK(cursor_make_key(cur, SLICE(bytes, 256), false, JET_bitNormalizedKey));
    /* NULL and zero length are different keys */
    CHECK_OK(cursor_set_index(cur, "by_nt", 0, 0));
    CHECK_OK(cursor_make_key(cur, SLICE_EMPTY, true, JET_bitNewKey));
    CHECK_OK(cursor_make_key(cur, SLICE_EMPTY, false, JET_bitKeyDataZeroLength));
    CHECK_OK(cursor_key(cur, JET_bitRetrieveCopy, &key));
    CHECK(slice_equal(key, SLICE("\xff\x40", 2)));
    end_table();
}

/* ---- ranges ---- */

static int count_range(int step, int32_t *first, int32_t *last)
{
    int n = 1;
    err_t err;
    *first = *last = get_long(cur, ID);
    while ((err = cursor_move(cur, step, 0)) >= 0) {
        *last = get_long(cur, ID);
        n++;
    }
    CHECK_EQ(err, NO);
    return n;
}

CASE(ranges)
{
    int32_t first, last;
    uint64_t count;
    begin_table();
    fill(12);
    struct {
        JET_GRBIT grbit;
        int32_t from, to;
        int step, n;
        int32_t last;
    } cases[] = {
        {JET_bitRangeUpperLimit | JET_bitRangeInclusive, 30, 60, 1, 4, 60},
        {JET_bitRangeUpperLimit, 30, 60, 1, 3, 50},
        {JET_bitRangeUpperLimit, 30, 65, 1, 4, 60},
        {JET_bitRangeInclusive, 90, 60, -1, 4, 60},
        {0, 90, 60, -1, 3, 70},
        {0, 90, 55, -1, 4, 60},
        {JET_bitRangeUpperLimit | JET_bitRangeInclusive, 30, 30, 1, 1, 30},
        {JET_bitRangeUpperLimit, 30, 31, 1, 1, 30},
        {JET_bitRangeUpperLimit, 100, 999, 1, 3, 120},
        {0, 20, -5, -1, 2, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        seek_long("", cases[i].from, JET_bitSeekEQ, 0);
        CHECK_OK(make_long(cur, cases[i].to, JET_bitNewKey));
        CHECK_OK(cursor_set_range(cur, cases[i].grbit));
        if ((cases[i].grbit & JET_bitRangeUpperLimit) != 0) {
            CHECK_OK(cursor_count(cur, 0, &count));
            CHECK_EQ(count, cases[i].n);
        }
        CHECK_EQ(count_range(cases[i].step, &first, &last), cases[i].n);
        CHECK_EQ(first, cases[i].from);
        CHECK_EQ(last, cases[i].last);
        CHECK_EQ(cursor_move(cur, cases[i].step, 0), NO); /* stays outside */
        check_after(-cases[i].step, cases[i].last);       /* and comes back in */
    }
    /* outside already: no range */
    seek_long("", 30, JET_bitSeekEQ, 0);
    CHECK_OK(make_long(cur, 30, JET_bitNewKey));
    CHECK_EQ(cursor_set_range(cur, JET_bitRangeUpperLimit), NO);
    CHECK_EQ(cursor_set_range(cur, JET_bitRangeRemove), JET_errInvalidOperation);
    CHECK_EQ(cursor_set_range(cur, JET_bitRangeUpperLimit), JET_errKeyNotMade);
    CHECK_OK(make_long(cur, 50, JET_bitNewKey));
    CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit | JET_bitRangeInstantDuration));
    CHECK_EQ(cursor_set_range(cur, JET_bitRangeRemove), JET_errInvalidOperation);
    CHECK_OK(make_long(cur, 50, JET_bitNewKey));
    CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit));
    CHECK_OK(cursor_set_range(cur, JET_bitRangeRemove));
    CHECK_EQ(count_range(1, &first, &last), 10);
    /* First and Last drop the range; so does a seek */
    seek_long("", 30, JET_bitSeekEQ, 0);
    CHECK_OK(make_long(cur, 50, JET_bitNewKey));
    CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit));
    CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
    CHECK_EQ(count_range(1, &first, &last), 12);
    /* a seek for equal keys can set it */
    seek_long("by_n", 2, JET_bitSeekEQ | JET_bitSetIndexRange, 0);
    CHECK_OK(cursor_count(cur, 0, &count));
    CHECK_EQ(count, 3);
    CHECK_OK(cursor_count(cur, 2, &count));
    CHECK_EQ(count, 2);
    CHECK_EQ(count_range(1, &first, &last), 3);
    CHECK(first == 60 && last == 80);
    end_table();
}

/* Prefixes of text and whole columns as limits, ascending and descending. */
CASE(limits)
{
    static const char *const words[] = {"Ap", "apple", "applet", "apply", "b", "Banana", "cherry"};
    int32_t first, last;
    begin_table();
    begin(&s);
    for (int i = 0; i < 7; i++)
        CHECK_OK(insert(cur, i + 1, i % 2, words[i]));
    for (int i = 0; i < 3; i++)
        CHECK_OK(insert(cur, 100 + i, 5, i == 0 ? "zz" : NULL));
    commit(&s);
    CHECK_OK(cursor_set_index(cur, "by_text", 0, 0));
    struct {
        const char *low, *high;
        JET_GRBIT low_bit, high_bit;
        int n, first, last;
    } cases[] = {
        {"app", "app", JET_bitPartialColumnStartLimit, JET_bitPartialColumnEndLimit, 3, 2, 4},
        {"app", "app", JET_bitPartialColumnStartLimit, JET_bitSubStrLimit, 3, 2, 4},
        {"apple", "apple", JET_bitPartialColumnStartLimit, JET_bitSubStrLimit, 2, 2, 3},
        {"apple", "apple", JET_bitFullColumnStartLimit, JET_bitFullColumnEndLimit, 1, 2, 2},
        {"apple", "b", JET_bitFullColumnStartLimit, JET_bitStrLimit, 4, 2, 5},
        {"apple", "b", 0, JET_bitSubStrLimit, 5, 2, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(make_text(cur, cases[i].low, JET_bitNewKey | cases[i].low_bit));
        CHECK_OK(cursor_seek(cur, JET_bitSeekGE));
        CHECK_OK(make_text(cur, cases[i].high, JET_bitNewKey | cases[i].high_bit));
        CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit));
        CHECK_EQ(count_range(1, &first, &last), cases[i].n);
        CHECK_EQ(first, cases[i].first);
        CHECK_EQ(last, cases[i].last);
    }
    /* -n +t: all with n = 1, then all with n = 0: the limit byte of a descending column */
    CHECK_OK(cursor_set_index(cur, "by_nt", 0, 0));
    for (int32_t n = 0; n < 2; n++) {
        CHECK_OK(make_long(cur, n, JET_bitNewKey | JET_bitFullColumnStartLimit));
        CHECK_OK(cursor_seek(cur, JET_bitSeekGE));
        CHECK_OK(make_long(cur, n, JET_bitNewKey | JET_bitFullColumnEndLimit));
        CHECK_EQ(make_text(cur, "x", 0), JET_errKeyIsMade);
        CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit));
        CHECK_EQ(count_range(1, &first, &last), n == 0 ? 4 : 3);
        CHECK_EQ(first, n == 0 ? 1 : 2);
    }
    /* n = 5 has NULL texts first */
    CHECK_OK(make_long(cur, 5, JET_bitNewKey));
    CHECK_OK(cursor_make_key(cur, SLICE_EMPTY, true, 0));
    CHECK_OK(cursor_seek(cur, JET_bitSeekEQ | JET_bitSetIndexRange));
    CHECK_EQ(count_range(1, &first, &last), 2);
    end_table();
}

/* ---- index switches and bookmarks ---- */

CASE(indexes_and_bookmarks)
{
    struct slice bookmark, key, primary;
    uint8_t mark[300], entry[300];
    uint32_t mark_n, entry_n;
    begin_table();
    fill(12);
    CHECK(cursor_current_index(cur) == &f.indexes[0]);
    CHECK_EQ(cursor_set_index(cur, "nothing", 0, 0), JET_errIndexNotFound);
    CHECK_EQ(cursor_set_index(cur, "by_n", 64, 0), JET_errInvalidGrbit);
    seek_long("", 70, JET_bitSeekEQ, 0);
    CHECK_OK(cursor_set_index(cur, "by_n", JET_bitNoMove, 0));
    CHECK_EQ(get_long(cur, ID), 70);
    check_after(1, 80);
    CHECK_OK(cursor_bookmark(cur, &bookmark));
    memcpy(mark, bookmark.p, mark_n = bookmark.n);
    CHECK_OK(cursor_secondary_bookmark(cur, &key, &primary));
    memcpy(entry, key.p, entry_n = key.n);
    CHECK(slice_equal(primary, SLICE(mark, mark_n)));
    CHECK_OK(cursor_move(cur, 2, 0));
    CHECK_OK(cursor_goto_secondary_bookmark(cur, SLICE(entry, entry_n), SLICE(mark, mark_n), 0));
    CHECK_EQ(get_long(cur, ID), 80);
    CHECK_OK(cursor_set_index(cur, NULL, JET_bitNoMove, 0));
    CHECK_EQ(get_long(cur, ID), 80);
    CHECK_EQ(cursor_secondary_bookmark(cur, &key, &primary), JET_errNoCurrentIndex);
    check_after(1, 90);
    CHECK_OK(cursor_set_index(cur, "by_n", 0, 0));
    CHECK_EQ(get_long(cur, ID), 10);
    CHECK_OK(cursor_goto_bookmark(cur, SLICE(mark, mark_n)));
    CHECK_EQ(get_long(cur, ID), 80);
    check_after(1, 90);
    CHECK_EQ(cursor_goto_bookmark(cur, SLICE_EMPTY), JET_errInvalidBookmark);
    CHECK_OK(cursor_set_index(cur, "by_n", 0, 0)); /* the same again moves to the first */
    CHECK_EQ(get_long(cur, ID), 10);
    /* a record without entry in the index */
    begin(&s);
    CHECK_OK(insert(cur, 500, 50, NULL)); /* by_text ignores NULL */
    seek_long("", 500, JET_bitSeekEQ, 0);
    CHECK_OK(cursor_bookmark(cur, &bookmark));
    memcpy(mark, bookmark.p, mark_n = bookmark.n);
    CHECK_EQ(cursor_set_index(cur, "by_text", JET_bitNoMove, 0), NO);
    CHECK_EQ(cursor_goto_bookmark(cur, SLICE(mark, mark_n)), NO);
    seek_long("", 500, JET_bitSeekEQ, 0);
    CHECK_OK(cursor_delete(cur));
    CHECK_EQ(cursor_goto_bookmark(cur, SLICE(mark, mark_n)), JET_errRecordDeleted);
    CHECK_EQ(retrieve_id(), JET_errRecordDeleted);
    commit(&s);
    CHECK_EQ(cursor_goto_secondary_bookmark(cur, SLICE(entry, entry_n), SLICE("x", 1), 0), JET_errNoCurrentIndex);
    CHECK_OK(cursor_set_index(cur, "by_n", 0, 0));
    CHECK_EQ(cursor_goto_secondary_bookmark(cur, SLICE(entry, entry_n), SLICE("x", 1), 0), JET_errRecordDeleted);
    /* an index selected in a level that is undone falls back to the primary one */
    begin(&s);
    CHECK_OK(cursor_set_index(cur, "by_text", 0, 0));
    rollback(&s);
    cursor_trx_ended(cur, true, 0);
    CHECK(cursor_current_index(cur) == &f.indexes[0]);
    CHECK_EQ(get_long(cur, ID), 10);
    end_table();
}

CASE(positions)
{
    uint32_t before, total;
    begin_table();
    fill(200);
    seek_long("", 510, JET_bitSeekEQ, 0);
    CHECK_OK(cursor_position(cur, &before, &total));
    CHECK(before == 50 && total == 200);
    CHECK_OK(cursor_goto_position(cur, 1, 2));
    CHECK_EQ(get_long(cur, ID), 1010);
    CHECK_OK(cursor_goto_position(cur, 7, 7));
    CHECK_EQ(get_long(cur, ID), 2000);
    CHECK_OK(cursor_goto_position(cur, 0, 7));
    CHECK_EQ(get_long(cur, ID), 10);
    CHECK_EQ(cursor_goto_position(cur, 2, 1), JET_errInvalidParameter);
    CHECK_EQ(cursor_goto_position(cur, 0, 0), JET_errInvalidParameter);
    end_table();
}

/* ---- updates ---- */

static void select_id(int32_t id)
{
    seek_long("", id, JET_bitSeekEQ, 0);
}

CASE(update_rules)
{
    struct slice bookmark;
    struct session t;
    struct table_cursor *other;
    begin_table();
    fill(12);
    session_open(&t);
    CHECK_OK(cursor_open(&f.desc, &t.trx, 0, &other));
    CHECK_EQ(cursor_update(cur, NULL), JET_errUpdateNotPrepared);
    CHECK_EQ(set_long(cur, N, 1), JET_errUpdateNotPrepared);
    CHECK_EQ(cursor_prepare(cur, JET_prepCancel), JET_errUpdateNotPrepared);
    CHECK_EQ(cursor_prepare(cur, 1), JET_errInvalidParameter);
    begin(&s);
    select_id(50);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_EQ(cursor_prepare(cur, JET_prepReplace), JET_errAlreadyPrepared);
    CHECK_EQ(cursor_delete(cur), JET_errAlreadyPrepared);
    CHECK_OK(set_long(cur, ID, 51));
    CHECK_EQ(cursor_update(cur, NULL), JET_errRecordPrimaryChanged);
    CHECK_EQ(cursor_prepared(cur), PREP_REPLACE); /* still prepared, to be mended */
    CHECK_OK(set_long(cur, ID, 50));
    CHECK_EQ(cursor_set(cur, ID, 1, 0, SLICE_EMPTY, true, 0), JET_errNullInvalid);
    CHECK_OK(set_long(cur, N, 99));
    CHECK_OK(set_text(cur, T, "row0060"));
    CHECK_EQ(cursor_update(cur, NULL), JET_errKeyDuplicate);
    CHECK_EQ(get_long(cur, N), 1); /* nothing of it is left */
    seek_long("by_n", 99, JET_bitSeekEQ, JET_errRecordNotFound);
    select_id(50);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(set_long(cur, N, 99));
    CHECK_OK(set_text(cur, T, "new"));
    /* locked since prepare */
    begin(&t);
    CHECK_OK(make_long(other, 50, JET_bitNewKey));
    CHECK_OK(cursor_seek(other, JET_bitSeekEQ));
    CHECK_EQ(cursor_prepare(other, JET_prepReplace), JET_errWriteConflict);
    CHECK_EQ(cursor_delete(other), JET_errWriteConflict);
    CHECK_OK(cursor_update(cur, &bookmark));
    CHECK(slice_equal(bookmark, SLICE("\x7f\x80\0\0\x32", 5)));
    CHECK_EQ(get_long(cur, N), 99);
    CHECK_EQ(get_long(other, N), 1); /* its snapshot */
    commit(&s);
    CHECK_EQ(get_long(other, N), 1);
    commit(&t);
    CHECK_EQ(get_long(other, N), 99);
    /* without lock: the change is met at update */
    begin(&s);
    select_id(50);
    CHECK_OK(cursor_prepare(cur, JET_prepReplaceNoLock));
    CHECK_OK(set_long(cur, N, 98));
    commit(&s);
    begin(&t);
    CHECK_OK(cursor_prepare(other, JET_prepReplace));
    CHECK_OK(set_long(other, N, 97));
    CHECK_OK(cursor_update(other, NULL));
    commit(&t);
    begin(&s);
    CHECK_EQ(cursor_update(cur, NULL), JET_errWriteConflict);
    CHECK_OK(cursor_prepare(cur, JET_prepCancel));
    CHECK_EQ(get_long(cur, N), 97);
    seek_long("by_n", 98, JET_bitSeekEQ, JET_errRecordNotFound);
    seek_long("by_n", 97, JET_bitSeekEQ, 0);
    commit(&s);
    /* nor may a second cursor of the same session change it in between, lock or not */
    struct table_cursor *second;
    begin(&s);
    CHECK_OK(cursor_open(&f.desc, &s.trx, 0, &second));
    for (int way = 0; way < 3; way++) {
        select_id(60);
        CHECK_OK(cursor_prepare(cur, way == 1 ? JET_prepReplaceNoLock : JET_prepReplace));
        CHECK_OK(set_long(cur, N, 3));
        CHECK_OK(make_long(second, 60, JET_bitNewKey));
        CHECK_OK(cursor_seek(second, JET_bitSeekEQ));
        if (way < 2) {
            CHECK_OK(cursor_prepare(second, JET_prepReplace));
            CHECK_OK(set_long(second, N, 200 + way));
            CHECK_OK(cursor_update(second, NULL));
        } else {
            CHECK_OK(cursor_delete(second));
        }
        CHECK_EQ(cursor_update(cur, NULL), way == 2 ? JET_errRecordDeleted : JET_errWriteConflict);
        CHECK_OK(cursor_prepare(cur, JET_prepCancel));
    }
    cursor_close(second);
    rollback(&s);
    cursor_trx_ended(cur, true, 0);
    select_id(50);
    /* read only, and no transaction */
    CHECK_EQ(cursor_delete(cur), JET_errNotInTransaction);
    CHECK_EQ(cursor_lock(cur, JET_bitWriteLock), JET_errNotInTransaction);
    begin(&s);
    CHECK_EQ(cursor_lock(cur, 0), JET_errInvalidGrbit);
    CHECK_OK(cursor_lock(cur, JET_bitWriteLock));
    begin(&t);
    CHECK_OK(cursor_move(other, JET_MoveFirst, 0));
    CHECK_OK(make_long(other, 50, JET_bitNewKey));
    CHECK_OK(cursor_seek(other, JET_bitSeekEQ));
    CHECK_EQ(cursor_lock(other, JET_bitWriteLock), JET_errWriteConflict);
    commit(&t);
    commit(&s);
    CHECK_OK(txn_begin(&s.trx, true));
    CHECK_EQ(cursor_prepare(cur, JET_prepInsert), JET_errTransReadOnly);
    CHECK_EQ(cursor_delete(cur), JET_errTransReadOnly);
    commit(&s);
    cursor_close(other);
    CHECK_OK(cursor_open(&f.desc, &t.trx, JET_bitTableReadOnly, &other));
    CHECK_EQ(cursor_prepare(other, JET_prepInsert), JET_errPermissionDenied);
    cursor_close(other);
    session_close(&t);
    end_table();
}

/* A duplicate in the last index takes everything back: record, entries, long values. */
CASE(failed_insert_leaves_nothing)
{
    static char big[5000];
    begin_table();
    fill(12);
    memset(big, 'x', sizeof big);
    begin(&s);
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 55));
    CHECK_OK(set_text(cur, T, "row0060"));
    CHECK_OK(set_bytes(cur, L, big, sizeof big));
    CHECK_EQ(cursor_update(cur, NULL), JET_errKeyDuplicate);
    CHECK_EQ(world_count(f.desc.tree, &s.trx), 12);
    CHECK_EQ(entries("by_n"), 12);
    CHECK_EQ(entries("by_nt"), 12);
    CHECK_EQ(world_count(f.lv, &s.trx), 0);
    /* mended, the same update succeeds: the value is still in the copy buffer */
    CHECK_OK(set_text(cur, T, "mended"));
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(world_count(f.lv, &s.trx), 3);
    select_id(55);
    static char got[6000];
    uint32_t actual;
    CHECK_OK(cursor_retrieve(cur, L, 1, 0, 0, got, sizeof got, &actual, NULL));
    CHECK(actual == sizeof big && memcmp(got, big, actual) == 0);
    CHECK_EQ(insert(cur, 10, 1, NULL), JET_errKeyDuplicate);
    CHECK_EQ(entries("by_n"), 13);
    commit(&s);
    end_table();
}

/* ---- values ---- */

/* Every column type through a record, a key, and back out of the index. */
CASE(every_type)
{
    static const struct {
        uint32_t coltyp, size;
        const char *low, *high; /* low sorts first */
    } types[] = {
        {JET_coltypBit, 1, "\0", "\xff"},
        {JET_coltypUnsignedByte, 1, "\1", "\xfe"},
        {JET_coltypShort, 2, "\xff\xff", "\1\0"},
        {JET_coltypLong, 4, "\0\0\0\x80", "\xff\xff\xff\x7f"},
        {JET_coltypCurrency, 8, "\xfe\xff\xff\xff\xff\xff\xff\xff", "\1\0\0\0\0\0\0\0"},
        {JET_coltypIEEESingle, 4, "\0\0\x80\xbf", "\0\0\0\x3f"},
        {JET_coltypIEEEDouble, 8, "\0\0\0\0\0\0\xf0\xbf", "\0\0\0\0\0\0\xe0\x3f"},
        {JET_coltypDateTime, 8, "\0\0\0\0\0\0\xe0\x40", "\0\0\0\0\0\0\xe1\x40"},
        {JET_coltypBinary, 0, "abc\0", "abd"},
        {JET_coltypText, 0, "Abc", "abd"},
        {JET_coltypLongBinary, 0, "abc\0", "abd"},
        {JET_coltypLongText, 0, "Abc", "abd"},
        {JET_coltypUnsignedLong, 4, "\1\0\0\0", "\0\0\0\x80"},
        {JET_coltypLongLong, 8, "\xfe\xff\xff\xff\xff\xff\xff\xff", "\1\0\0\0\0\0\0\0"},
        {JET_coltypGUID, 16, "zzzzzzzzzz000000", "aaaaaaaaaa000001"},
        {JET_coltypUnsignedShort, 2, "\1\0", "\0\x80"},
        {JET_coltypUnsignedLongLong, 8, "\1\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\x80"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        uint32_t low_n = types[i].size ? types[i].size : (uint32_t)strlen(types[i].low);
        uint32_t high_n = types[i].size ? types[i].size : (uint32_t)strlen(types[i].high);
        for (int tagged = 0; tagged < 2; tagged++) {
            bool is_long = coltyp_is_long(types[i].coltyp);
            colid_t id = tagged || is_long ? 256 : types[i].size ? 1 : 128;
            struct want_column col[] = {{"v", id, types[i].coltyp, 0, types[i].size, 1252, NULL, 0}};
            struct want_index ind[] = {{"by_v", "+v", PLAIN, 0}, {"down", "-v", PLAIN, 0}};
            uint8_t got[32];
            uint32_t actual;
            struct slice key;
            world_begin(i % 2 ? 4096 : 16384);
            fixture_make(&f, col, 1, ind, 2);
            session_open(&s);
            CHECK_OK(cursor_open(&f.desc, &s.trx, 0, &cur));
            begin(&s);
            for (int n = 0; n < 3; n++) {
                CHECK_OK(cursor_prepare(cur, JET_prepInsert));
                if (n < 2)
                    CHECK_OK(set_bytes(cur, id, n ? types[i].high : types[i].low, n ? high_n : low_n));
                CHECK_OK(cursor_update(cur, NULL));
            }
            if (types[i].size != 0) {
                CHECK_OK(cursor_prepare(cur, JET_prepInsert));
                CHECK_EQ(set_bytes(cur, id, "0123456789abcdefgh", types[i].size + 1), JET_errInvalidBufferSize);
                CHECK_OK(cursor_prepare(cur, JET_prepCancel));
            }
            for (int down = 0; down < 2; down++) {
                CHECK_OK(cursor_set_index(cur, down ? "down" : "by_v", 0, 0));
                for (int n = 0; n < 3; n++) { /* NULL, low, high or the other way round */
                    int which = down ? 2 - n : n;
                    for (int from = 0; from < 3; from++) {
                        JET_GRBIT grbit = from == 1 ? JET_bitRetrieveFromIndex : from == 2 ? JET_bitRetrieveFromPrimaryBookmark : 0;
                        err_t err = cursor_retrieve(cur, id, 1, 0, grbit, got, sizeof got, &actual, NULL);
                        if (which == 0) {
                            CHECK_EQ(err, JET_wrnColumnNull);
                        } else {
                            CHECK_EQ(err, JET_errSuccess);
                            CHECK(slice_equal(SLICE(got, actual), which == 1 ? SLICE(types[i].low, low_n) : SLICE(types[i].high, high_n)));
                        }
                    }
                    CHECK_EQ(cursor_move(cur, 1, 0), n < 2 ? 0 : NO);
                }
            }
            CHECK_OK(cursor_set_index(cur, "by_v", 0, 0));
            CHECK_OK(cursor_make_key(cur, SLICE(types[i].high, high_n), false, JET_bitNewKey));
            CHECK_OK(cursor_seek(cur, JET_bitSeekEQ));
            CHECK_OK(cursor_bookmark(cur, &key));
            CHECK(slice_equal(key, SLICE("\0\0\0\2", 4)));
            CHECK_OK(cursor_set_index(cur, NULL, 0, 0));
            CHECK_EQ(cursor_make_key(cur, SLICE("x", 1), false, JET_bitNewKey), JET_errNoCurrentIndex);
            CHECK_EQ(cursor_seek(cur, JET_bitSeekEQ), JET_errNoCurrentIndex);
            CHECK_EQ(cursor_key(cur, 0, &key), JET_errNoCurrentIndex);
            commit(&s);
            end_table();
        }
    }
}

CASE(retrieve_rules)
{
    uint32_t actual, used, count;
    char to[40];
    begin_table();
    fill(2);
    begin(&s);
    CHECK_EQ(cursor_retrieve(cur, 99, 1, 0, 0, to, 4, &actual, NULL), JET_errColumnNotFound);
    CHECK_EQ(cursor_retrieve(cur, 0, 1, 0, 0, to, 4, &actual, NULL), JET_errBadColumnId);
    CHECK_EQ(cursor_retrieve(cur, ID, 0, 0, 0, to, 4, &actual, NULL), JET_errBadItagSequence);
    CHECK_EQ(cursor_retrieve(cur, T, 1, 0, 0, to, 3, &actual, NULL), JET_wrnBufferTruncated);
    CHECK(actual == 7 && memcmp(to, "row", 3) == 0);
    CHECK_EQ(cursor_retrieve(cur, T, 1, 5, 0, to, 3, &actual, &used), 0);
    CHECK(actual == 2 && memcmp(to, "10", 2) == 0 && used == 1);
    CHECK_EQ(cursor_retrieve(cur, T, 1, 50, 0, to, 3, &actual, NULL), 0);
    CHECK_EQ(actual, 0);
    CHECK_EQ(cursor_retrieve(cur, T, 2, 0, 0, to, 3, &actual, NULL), JET_wrnColumnNull);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(set_text(cur, T, "copy"));
    check_text(cur, T, 1, "row0010");
    CHECK_EQ(cursor_retrieve(cur, T, 1, 0, JET_bitRetrieveCopy, to, 40, &actual, NULL), 0);
    CHECK(actual == 4 && memcmp(to, "copy", 4) == 0);
    CHECK_OK(cursor_set(cur, M, 0, 0, SLICE("a", 1), false, 0));
    CHECK_OK(cursor_set(cur, M, 0, 0, SLICE("b", 1), false, 0));
    CHECK_OK(cursor_count_values(cur, M, JET_bitRetrieveCopy, &count));
    CHECK_EQ(count, 2);
    CHECK_OK(cursor_count_values(cur, M, 0, &count));
    CHECK_EQ(count, 0);
    colid_t id;
    CHECK_OK(cursor_next_tagged(cur, 0, JET_bitRetrieveCopy, &id));
    CHECK_EQ(id, M);
    /* length 0 is NULL, or empty where that is asked for */
    CHECK_OK(cursor_set(cur, B, 1, 0, SLICE("", 0), false, JET_bitSetZeroLength));
    CHECK_OK(cursor_set(cur, T, 1, 0, SLICE("", 0), false, 0));
    CHECK_OK(cursor_set(cur, L, 1, 0, SLICE("", 0), false, JET_bitSetZeroLength));
    CHECK_OK(cursor_set(cur, N, 1, 0, SLICE("", 0), false, JET_bitSetZeroLength)); /* fixed: NULL */
    CHECK_OK(cursor_update(cur, NULL));
    check_text(cur, B, 1, "");
    check_text(cur, L, 1, "");
    check_text(cur, T, 1, NULL);
    CHECK_EQ(get_long(cur, N), -1000000);
    CHECK_EQ(cursor_retrieve(cur, T, 1, 0, JET_bitRetrieveCopy, to, 40, &actual, NULL), JET_wrnColumnNull);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    memset(to, 'x', sizeof to);
    static char wide[256];
    CHECK_EQ(set_bytes(cur, T, wide, 256), JET_errColumnTooBig);
    CHECK_EQ(cursor_set(cur, T, 2, 0, SLICE("x", 1), false, 0), JET_errBadItagSequence);
    CHECK_EQ(cursor_set(cur, 300, 1, 0, SLICE("x", 1), false, 0), JET_errColumnNotFound);
    CHECK_EQ(cursor_set(cur, 0, 1, 0, SLICE("x", 1), false, 0), JET_errBadColumnId);
    commit(&s);
    end_table();
}

CASE(multi_values)
{
    uint32_t actual, used;
    char to[10];
    begin_table();
    begin(&s);
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 1));
    static const char *const words[] = {"red", "blue", "red", "green"};
    for (int i = 0; i < 4; i++)
        CHECK_OK(cursor_set(cur, M, 0, 0, SLICE(words[i], strlen(words[i])), false, 0));
    CHECK_EQ(cursor_set(cur, M, 0, 0, SLICE("blue", 4), false, JET_bitSetUniqueMultiValues), JET_errMultiValuedDuplicate);
    CHECK_OK(cursor_set(cur, M, 2, 0, SLICE("blue", 4), false, JET_bitSetUniqueMultiValues)); /* itself */
    CHECK_EQ(cursor_set(cur, M, 0, 0, SLICE("BLUE", 4), false, JET_bitSetUniqueNormalizedMultiValues), JET_errMultiValuedDuplicate);
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(entries("by_m"), 3); /* "red" once */
    CHECK_OK(cursor_set_index(cur, "by_m", 0, 0));
    static const char *const order[] = {"blue", "green", "red"};
    for (int i = 0; i < 3; i++) {
        CHECK_OK(cursor_retrieve(cur, M, 1, 0, JET_bitRetrieveFromIndex | JET_bitRetrieveTag, to, 10, &actual, &used));
        CHECK(actual == strlen(order[i]) && memcmp(to, order[i], actual) == 0);
        CHECK_EQ(get_long(cur, ID), 1);
        CHECK_EQ(cursor_move(cur, 1, 0), i < 2 ? 0 : NO);
    }
    CHECK_OK(cursor_set_index(cur, NULL, 0, 0));
    CHECK_OK(cursor_set_index(cur, "by_m", JET_bitNoMove, 2)); /* by its second value */
    CHECK_OK(cursor_move(cur, 1, 0));
    CHECK_OK(cursor_retrieve(cur, M, 1, 0, JET_bitRetrieveFromIndex, to, 10, &actual, &used));
    CHECK(actual == 5 && memcmp(to, "green", 5) == 0);
    CHECK_OK(cursor_set_index(cur, NULL, 0, 0));
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(cursor_set(cur, M, 1, 0, SLICE_EMPTY, true, 0)); /* the others move up */
    CHECK_OK(cursor_set(cur, M, 1, 0, SLICE("black", 5), false, 0));
    CHECK_OK(cursor_update(cur, NULL));
    check_text(cur, M, 1, "black");
    check_text(cur, M, 2, "red");
    check_text(cur, M, 3, "green");
    check_text(cur, M, 4, NULL);
    CHECK_EQ(entries("by_m"), 3);
    CHECK_OK(cursor_set_index(cur, "by_m", 0, 0));
    CHECK_OK(make_text(cur, "blue", JET_bitNewKey));
    CHECK_EQ(cursor_seek(cur, JET_bitSeekEQ), JET_errRecordNotFound);
    CHECK_OK(make_text(cur, "BLACK", JET_bitNewKey));
    CHECK_OK(cursor_seek(cur, JET_bitSeekEQ));
    CHECK_OK(cursor_delete(cur));
    CHECK_EQ(entries("by_m"), 0);
    commit(&s);
    end_table();
}

/* Defaults, autoincrement, version, escrow, a table without primary index. */
CASE(special_columns)
{
    static const struct want_column col[] = {
        {"a", 1, JET_coltypLong, COLUMN_AUTOINCREMENT | COLUMN_NOT_NULL, 4, 0, NULL, 0},
        {"v", 2, JET_coltypLong, COLUMN_VERSION, 4, 0, NULL, 0},
        {"e", 3, JET_coltypLong, COLUMN_ESCROW | COLUMN_NOT_NULL, 4, 0, "\5\0\0\0", 4},
        {"d", 4, JET_coltypShort, 0, 2, 0, "\x11\x22", 2},
        {"t", 128, JET_coltypText, 0, 255, 1252, "dflt", 4},
        {"l", 256, JET_coltypLongText, 0, 0, 1252, "long", 4},
    };
    for (int with_index = 0; with_index < 3; with_index++) {
        struct want_index ind[] = {{"by_a", with_index == 1 ? "+a" : "-a", PLAIN, 0}};
        struct session t;
        struct table_cursor *other;
        struct slice bookmark;
        uint64_t number;
        uint32_t actual;
        int32_t before;
        char to[20];
        world_begin(4096);
        fixture_make(&f, col, 6, ind, with_index > 0);
        session_open(&s);
        session_open(&t);
        CHECK_OK(cursor_open(&f.desc, &s.trx, 0, &cur));
        CHECK_OK(cursor_open(&f.desc, &t.trx, 0, &other));
        begin(&s);
        for (uint32_t i = 1; i <= 3; i++) {
            CHECK_OK(cursor_prepare(cur, JET_prepInsert));
            CHECK_OK(cursor_autoincrement(cur, &number));
            CHECK_EQ(number, i);
            CHECK_EQ(set_long(cur, 1, 9), JET_errColumnNotUpdatable);
            CHECK_OK(cursor_update(cur, &bookmark));
            CHECK(bookmark.n == 4 && load_be32(bookmark.p) == i);
        }
        commit(&s);
        CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
        CHECK(get_long(cur, 1) == 1 && get_long(cur, 2) == 0 && get_long(cur, 3) == 5);
        check_text(cur, 128, 1, "dflt");
        check_text(cur, 256, 1, "long");
        CHECK_EQ(cursor_retrieve(cur, 128, 1, 0, JET_bitRetrieveIgnoreDefault, to, 20, &actual, NULL), JET_wrnColumnNull);
        begin(&s);
        CHECK_OK(cursor_prepare(cur, JET_prepReplace));
        CHECK_OK(cursor_set(cur, 128, 1, 0, SLICE_EMPTY, true, 0));
        CHECK_OK(cursor_set(cur, 256, 1, 0, SLICE_EMPTY, true, 0));
        CHECK_EQ(set_long(cur, 3, 1), JET_errInvalidOperation);
        CHECK_OK(cursor_update(cur, NULL));
        check_text(cur, 128, 1, NULL);
        check_text(cur, 256, 1, NULL);
        CHECK_EQ(get_long(cur, 2), 1);
        CHECK_OK(cursor_prepare(cur, JET_prepReplace));
        CHECK_OK(cursor_set(cur, 128, 1, 0, SLICE_EMPTY, true, JET_bitSetRevertToDefaultValue));
        CHECK_OK(cursor_update(cur, NULL));
        check_text(cur, 128, 1, "dflt");
        CHECK_EQ(get_long(cur, 2), 2);
        commit(&s);
        /* additions of two sessions at once */
        begin(&s);
        begin(&t);
        CHECK_OK(cursor_move(other, JET_MoveFirst, 0));
        CHECK_OK(cursor_escrow(cur, 3, 10, &before));
        CHECK_EQ(before, 5);
        CHECK_OK(cursor_escrow(other, 3, 100, &before));
        CHECK_EQ(before, 5);
        CHECK_EQ(get_long(cur, 3), 15);
        CHECK_EQ(get_long(other, 3), 105);
        CHECK_EQ(cursor_prepare(other, JET_prepReplace), JET_errWriteConflict);
        CHECK_EQ(cursor_escrow(cur, 4, 1, &before), JET_errInvalidOperation);
        commit(&s);
        rollback(&t);
        cursor_trx_ended(other, true, 0);
        CHECK_EQ(get_long(other, 3), 15);
        /* numbers after the description is read anew: largest + 1; a rollback gives none back */
        begin(&s);
        CHECK_OK(cursor_prepare(cur, JET_prepInsert));
        CHECK_OK(cursor_update(cur, NULL));
        rollback(&s);
        cursor_trx_ended(cur, true, 0);
        CHECK_EQ(f.desc.autoinc_last, 4);
        f.desc.autoinc_last = 0;
        f.desc.sequence_last = 0;
        begin(&s);
        CHECK_OK(cursor_prepare(cur, JET_prepInsert));
        CHECK_OK(cursor_autoincrement(cur, &number));
        CHECK_EQ(number, 4);
        CHECK_OK(cursor_update(cur, &bookmark));
        /* a copy has a number of its own */
        CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
        CHECK_OK(cursor_prepare(cur, JET_prepInsertCopy));
        CHECK_OK(cursor_update(cur, NULL));
        CHECK_OK(cursor_move(cur, JET_MoveLast, 0));
        CHECK(get_long(cur, 1) == 5 && get_long(cur, 2) == 0 && get_long(cur, 3) == 15);
        f.desc.autoinc_last = INT32_MAX;
        CHECK_EQ(cursor_prepare(cur, JET_prepInsert), JET_errOutOfAutoincrementValues);
        commit(&s);
        cursor_close(other);
        session_close(&t);
        end_table();
    }
}

/* NULL rules of indexes and of columns. */
CASE(null_rules)
{
    static const struct want_column col[] = {
        {"a", 1, JET_coltypLong, 0, 4, 0, NULL, 0},
        {"b", 2, JET_coltypLong, 0, 4, 0, NULL, 0},
        {"r", 3, JET_coltypLong, COLUMN_NOT_NULL, 4, 0, NULL, 0},
    };
    static const struct want_index ind[] = {
        {"all", "+a+b", PLAIN, 0},
        {"none_null", "+a+b", 0, 0},
        {"not_all", "+a+b", INDEX_FIRST_NULL | INDEX_ANY_NULL, 0},
        {"first", "+a+b", INDEX_ANY_NULL, 0},
        {"high", "+a", PLAIN | INDEX_SORT_NULLS_HIGH, 0},
        {"strict", "+r", INDEX_NO_NULL, 0},
    };
    static const int want[] = {4, 1, 3, 2, 4, 4};
    world_begin(4096);
    fixture_make(&f, col, 3, ind, 6);
    session_open(&s);
    CHECK_OK(cursor_open(&f.desc, &s.trx, 0, &cur));
    begin(&s);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(cursor_prepare(cur, JET_prepInsert));
        if (i & 1)
            CHECK_OK(set_long(cur, 1, i));
        if (i & 2)
            CHECK_OK(set_long(cur, 2, i));
        CHECK_EQ(cursor_update(cur, NULL), JET_errNullInvalid);
        CHECK_OK(set_long(cur, 3, i));
        CHECK_OK(cursor_update(cur, NULL));
    }
    for (int i = 0; i < 6; i++)
        CHECK_EQ(world_count(f.indexes[i].tree, &s.trx), want[i]);
    CHECK_OK(cursor_set_index(cur, "high", 0, 0));
    CHECK_EQ(get_long(cur, 1), 1);
    CHECK_OK(cursor_move(cur, JET_MoveLast, 0));
    CHECK_EQ(get_long(cur, 1), -1000000);
    /* the index alone refuses too */
    f.columns[2].def.flags = 0;
    f.fixed[2].flags = 0;
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_EQ(cursor_update(cur, NULL), JET_errNullKeyDisallowed);
    CHECK_OK(cursor_prepare(cur, JET_prepCancel));
    CHECK_EQ(world_count(f.desc.tree, &s.trx), 4);
    commit(&s);
    end_table();
}

/* ---- long values ---- */

static char *pattern(uint32_t n, uint32_t seed)
{
    char *p = malloc(n + 1);
    for (uint32_t i = 0; i < n; i++)
        p[i] = (char)(32 + (i * 31 + i / 251 + seed) % 90);
    return p;
}

static void check_long(JET_GRBIT grbit, const char *want, uint32_t n)
{
    char *to = malloc(n + 10);
    uint32_t actual;
    CHECK_EQ(cursor_retrieve(cur, L, 1, 0, grbit, to, n + 10, &actual, NULL), JET_errSuccess);
    CHECK_EQ(actual, n);
    CHECK(memcmp(to, want, n) == 0);
    free(to);
}

static int values_left(void)
{
    struct btree_cursor c;
    int n = 0;
    btree_cursor_init(&c, f.lv, &s.trx);
    for (err_t err = btree_first(&c); err >= 0; err = btree_next(&c))
        n += c.key.n == 4;
    btree_cursor_term(&c);
    return n;
}

CASE(long_values)
{
    static const uint32_t sizes[] = {0, 1, 1023, 1024, 3000, 4014, 4015, 100000};
    begin_table();
    begin(&s);
    char *v = pattern(200000, 1);
    int separated = 0;
    for (int i = 0; i < 8; i++) {
        CHECK_OK(cursor_prepare(cur, JET_prepInsert));
        CHECK_OK(set_long(cur, ID, i));
        CHECK_OK(cursor_set(cur, L, 1, 0, SLICE(v, sizes[i]), false, JET_bitSetZeroLength));
        check_long(JET_bitRetrieveCopy, v, sizes[i]);
        CHECK_OK(cursor_update(cur, NULL));
        select_id(i);
        check_long(0, v, sizes[i]);
        separated += sizes[i] > 1023;
    }
    CHECK_EQ(values_left(), separated);
    /* many of 1000 bytes do not fit in one record: the largest go out */
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 100));
    for (int i = 0; i < 6; i++)
        CHECK_OK(cursor_set(cur, L, 0, 0, SLICE(v + i, 1000 + (uint32_t)i), false, 0));
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(values_left(), separated + 3);
    select_id(100);
    for (uint32_t i = 0; i < 6; i++) {
        char to[1100];
        uint32_t actual;
        CHECK_EQ(cursor_retrieve(cur, L, i + 1, 0, 0, to, sizeof to, &actual, NULL), 0);
        CHECK(actual == 1000 + i && memcmp(to, v + i, actual) == 0);
    }
    /* replaced, set to NULL, deleted: the old values go */
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    for (int i = 0; i < 6; i++)
        CHECK_OK(cursor_set(cur, L, 1, 0, SLICE_EMPTY, true, 0));
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(values_left(), separated);
    select_id(7);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(set_bytes(cur, L, v, 150000));
    CHECK_OK(cursor_prepare(cur, JET_prepCancel));
    check_long(0, v, 100000);
    CHECK_EQ(values_left(), separated);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(set_bytes(cur, L, v + 5, 150000));
    CHECK_OK(set_bytes(cur, L, v + 6, 150000)); /* the first one is not used in the end */
    CHECK_OK(cursor_update(cur, NULL));
    check_long(0, v + 6, 150000);
    CHECK_EQ(values_left(), separated);
    CHECK_OK(cursor_delete(cur));
    CHECK_EQ(values_left(), separated - 1);
    /* stays in the record by wish, or goes by wish */
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 200));
    CHECK_OK(cursor_set(cur, L, 1, 0, SLICE(v, 2000), false, JET_bitSetIntrinsicLV));
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(values_left(), separated - 1);
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 201));
    CHECK_EQ(cursor_set(cur, L, 1, 0, SLICE(v, 5000), false, JET_bitSetIntrinsicLV), JET_errColumnDoesNotFit);
    CHECK_OK(cursor_set(cur, L, 1, 0, SLICE(v, 3950), false, JET_bitSetIntrinsicLV));
    CHECK_EQ(cursor_update(cur, NULL), JET_errRecordTooBig);
    CHECK_OK(cursor_prepare(cur, JET_prepCancel));
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 202));
    CHECK_OK(cursor_set(cur, L, 1, 0, SLICE(v, 10), false, JET_bitSetSeparateLV));
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(values_left(), separated);
    select_id(202);
    check_long(0, v, 10);
    commit(&s);
    free(v);
    end_table();
}

/* Edits by offset against an array, cancelled now and then. */
CASE(long_value_edits)
{
    unsigned long long dice = ctest_seed();
    uint32_t n = 0, n_was, most = 20000;
    char *model = calloc(1, most), *was = malloc(most);
    begin_table();
    fill(1);
    for (int round = 0; round < 300; round++) {
        memcpy(was, model, most);
        n_was = n;
        begin(&s);
        CHECK_OK(cursor_prepare(cur, JET_prepReplace));
        int edits = 1 + (int)((ctest_random(&dice) >> 20) % 3);
        for (int e = 0; e < edits; e++) {
            static const JET_GRBIT ways[] = {JET_bitSetAppendLV, JET_bitSetOverwriteLV, JET_bitSetSizeLV, JET_bitSetOverwriteLV | JET_bitSetSizeLV, 0};
            JET_GRBIT way = ways[(ctest_random(&dice) >> 20) % 5];
            uint32_t len = (uint32_t)(ctest_random(&dice) >> 20) % (round % 4 ? 600 : 6000);
            uint32_t at = (uint32_t)(ctest_random(&dice) >> 20) % (n + 50);
            uint32_t from = way == JET_bitSetAppendLV ? n : way == 0 || way == JET_bitSetSizeLV ? 0 : at;
            if (from + len > most)
                len = from < most ? most - from : 0;
            char *v = pattern(len, (uint32_t)round);
            CHECK_OK(cursor_set(cur, L, 1, at, SLICE(v, len), false, way | JET_bitSetZeroLength));
            if (way == JET_bitSetSizeLV || way == 0) {
                if (len > n)
                    memset(model + n, 0, len - n);
                n = len;
                if (way == 0)
                    memcpy(model, v, len);
            } else {
                if (from > n && len > 0)
                    memset(model + n, 0, from - n);
                memcpy(model + from, v, len);
                uint32_t end = from + len;
                if (len == 0 && from > n) /* nothing to write: only the size may change */
                    memset(model + n, 0, from - n);
                n = (way & JET_bitSetSizeLV) != 0 || end > n ? end : n;
            }
            check_long(JET_bitRetrieveCopy, model, n);
            free(v);
        }
        uint32_t end = (uint32_t)(ctest_random(&dice) >> 20) % 6;
        if (end == 0)
            CHECK_OK(cursor_prepare(cur, JET_prepCancel));
        else if (end != 1)
            CHECK_OK(cursor_update(cur, NULL));
        if (end == 1 || end == 2) {
            rollback(&s);
            cursor_trx_ended(cur, true, 0);
        } else {
            commit(&s);
            cursor_trx_ended(cur, false, 0);
        }
        if (end <= 2) {
            memcpy(model, was, most);
            n = n_was;
        }
        if (n == 0 && n_was == 0 && round == 0)
            check_text(cur, L, 1, NULL);
        else if (n > 0)
            check_long(0, model, n);
        CHECK(f.lv == NULL || values_left() <= 1);
    }
    free(model);
    free(was);
    end_table();
}

/* Copies share values until one is written. */
CASE(shared_long_values)
{
    char *v = pattern(9000, 5), *w = malloc(9100);
    begin_table();
    begin(&s);
    CHECK_OK(cursor_prepare(cur, JET_prepInsert));
    CHECK_OK(set_long(cur, ID, 1));
    CHECK_OK(set_bytes(cur, L, v, 9000));
    CHECK_OK(cursor_update(cur, NULL));
    for (int32_t id = 2; id <= 4; id++) {
        select_id(1);
        CHECK_OK(cursor_prepare(cur, JET_prepInsertCopy));
        CHECK_OK(set_long(cur, ID, id));
        CHECK_OK(cursor_update(cur, NULL));
    }
    CHECK_EQ(values_left(), 1);
    select_id(2);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(cursor_set(cur, L, 1, 100, SLICE("hello", 5), false, JET_bitSetOverwriteLV));
    CHECK_OK(cursor_update(cur, NULL));
    memcpy(w, v, 9000);
    memcpy(w + 100, "hello", 5);
    check_long(0, w, 9000);
    CHECK_EQ(values_left(), 2);
    select_id(3);
    CHECK_OK(cursor_prepare(cur, JET_prepInsertCopy));
    CHECK_OK(set_long(cur, ID, 5));
    CHECK_OK(cursor_set(cur, L, 1, 0, SLICE("tail", 4), false, JET_bitSetAppendLV));
    CHECK_OK(cursor_update(cur, NULL));
    CHECK_EQ(values_left(), 3);
    select_id(5);
    memcpy(w, v, 9000);
    memcpy(w + 9000, "tail", 4);
    check_long(0, w, 9004);
    for (int32_t id = 1; id <= 4; id++) {
        if (id == 2)
            continue;
        select_id(id);
        check_long(0, v, 9000);
        if (id == 4)
            CHECK_EQ(values_left(), 3); /* the last one to use it */
        CHECK_OK(cursor_delete(cur));
    }
    CHECK_EQ(values_left(), 2);
    /* a copy that takes its original's place, with and without its key */
    select_id(5);
    CHECK_OK(cursor_prepare(cur, JET_prepInsertCopyDeleteOriginal));
    CHECK_OK(set_long(cur, ID, 6));
    CHECK_OK(cursor_update(cur, NULL));
    seek_long("", 5, JET_bitSeekEQ, JET_errRecordNotFound);
    select_id(6);
    check_long(0, w, 9004);
    CHECK_OK(cursor_prepare(cur, JET_prepInsertCopyReplaceOriginal));
    CHECK_OK(set_long(cur, N, 3));
    CHECK_OK(cursor_update(cur, NULL));
    select_id(6);
    check_long(0, w, 9004);
    CHECK_EQ(get_long(cur, N), 3);
    CHECK_EQ(values_left(), 2);
    commit(&s);
    free(v);
    free(w);
    end_table();
}

/* A set, an update, that run out of version store in the middle of a long value leave nothing of it. */
CASE(long_value_without_room)
{
    char *v = pattern(400000, 9);
    begin_table();
    fill(2);
    begin(&s);
    select_id(10);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(cursor_set(cur, L, 1, 0, SLICE(v, 5000), false, JET_bitSetSeparateLV));
    for (int way = 0; way < 4; way++) {
        versions_set_max(world_versions, versions_bytes(world_versions) + 1000);
        err_t err = way == 0   ? set_bytes(cur, L, v, 400000)
                    : way == 1 ? cursor_set(cur, L, 1, 0, SLICE(v, 100000), false, JET_bitSetAppendLV)
                    : way == 2 ? cursor_set(cur, L, 1, 0, SLICE(v, 300000), false, JET_bitSetSizeLV)
                               : set_bytes(cur, L, v, 60000);
        if (way == 3) {
            CHECK_OK(err); /* kept in the copy buffer until the update */
            err = cursor_update(cur, NULL);
        }
        CHECK_EQ(err, JET_errVersionStoreOutOfMemory);
        versions_set_max(world_versions, 256u << 20);
        CHECK_EQ(world_count(f.lv, &s.trx), 3);
        check_long(JET_bitRetrieveCopy, v, way == 3 ? 60000 : 5000);
    }
    CHECK_OK(cursor_update(cur, NULL));
    check_long(0, v, 60000);
    CHECK_EQ(values_left(), 1);
    commit(&s);
    free(v);
    end_table();
}

/* ---- batches ---- */

static int batch_all(bool backwards, int max, int32_t *ids)
{
    struct cursor_row rows[300];
    int n = 0, got;
    do {
        CHECK_OK(cursor_next_batch(cur, backwards, rows, max, &got));
        for (int i = 0; i < got; i++) {
            struct buffer scratch = {0};
            struct slice data;
            bool null;
            CHECK_OK(cursor_record_value(cur, rows[i].record, ID, 1, &scratch, &data, &null));
            CHECK(!null && rows[i].bookmark.n == 5);
            ids[n++] = (int32_t)load_u32(data.p);
            CHECK_EQ(load_be32(rows[i].bookmark.p + 1) ^ 0x80000000u, (uint32_t)ids[n - 1]);
            buffer_free(&scratch);
        }
    } while (got > 0);
    return n;
}

CASE(batches)
{
    int32_t ids[1000];
    begin_table();
    fill(500);
    static const int maxes[] = {1, 7, 64, 300};
    for (int m = 0; m < 4; m++) {
        CHECK_OK(cursor_set_index(cur, NULL, 0, 0));
        CHECK_EQ(batch_all(false, maxes[m], ids), 500);
        for (int i = 0; i < 500; i++)
            CHECK_EQ(ids[i], 10 * (i + 1));
        CHECK_EQ(batch_all(true, maxes[m], ids), 500); /* from after the last back */
        for (int i = 0; i < 500; i++)
            CHECK_EQ(ids[i], 10 * (500 - i));
        CHECK_OK(cursor_set_index(cur, "by_text", 0, 0));
        CHECK_EQ(batch_all(false, maxes[m], ids), 500);
        CHECK(ids[0] == 10 && ids[499] == 5000);
        /* in ranges, from the current entry on */
        seek_long("by_n", 20, JET_bitSeekEQ, 0);
        CHECK_OK(make_long(cur, 30, JET_bitNewKey));
        CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit | JET_bitRangeInclusive));
        CHECK_EQ(batch_all(false, maxes[m], ids), 33);
        CHECK(ids[0] == 600 && ids[32] == 920);
        seek_long("", 600, JET_bitSeekEQ, 0);
        CHECK_OK(make_long(cur, 900, JET_bitNewKey));
        CHECK_OK(cursor_set_range(cur, JET_bitRangeUpperLimit));
        CHECK_EQ(batch_all(false, maxes[m], ids), 30);
        CHECK(ids[0] == 600 && ids[29] == 890);
        seek_long("", 600, JET_bitSeekEQ, 0);
        CHECK_OK(make_long(cur, 300, JET_bitNewKey));
        CHECK_OK(cursor_set_range(cur, JET_bitRangeInclusive));
        CHECK_EQ(batch_all(true, maxes[m], ids), 31);
        CHECK(ids[0] == 600 && ids[30] == 300);
    }
    /* a move between batches counts from the last row handed out */
    struct cursor_row rows[8];
    int got;
    CHECK_OK(cursor_set_index(cur, NULL, 0, 0));
    CHECK_OK(cursor_next_batch(cur, false, rows, 8, &got));
    CHECK_EQ(got, 8);
    CHECK_EQ(get_long(cur, ID), 80);
    CHECK_OK(cursor_move(cur, 1, 0));
    CHECK_OK(cursor_next_batch(cur, false, rows, 8, &got));
    CHECK_EQ(load_be32(rows[0].bookmark.p + 1) ^ 0x80000000u, 90u);
    end_table();
    begin_table();
    CHECK_EQ(batch_all(false, 8, ids), 0);
    CHECK_EQ(batch_all(true, 8, ids), 0);
    end_table();
}

/* ---- index builds ---- */

CASE(build_index)
{
    begin_table();
    fill(3000);
    begin(&s);
    select_id(50);
    CHECK_OK(cursor_delete(cur));
    static const struct want_index late[] = {
        {"late", "+t-n", PLAIN, 0}, {"late_unique", "+t", INDEX_UNIQUE, 0}, {"late_bad", "+n", INDEX_UNIQUE, 0}};
    for (int i = 0; i < 3; i++)
        fixture_index(&f, &late[i]);
    CHECK_OK(table_build_index(&f.desc, &f.indexes[5], &s.trx, folder));
    CHECK_OK(table_build_index(&f.desc, &f.indexes[6], &s.trx, folder));
    CHECK_EQ(table_build_index(&f.desc, &f.indexes[7], &s.trx, folder), JET_errKeyDuplicate);
    f.desc.index_count = 7;
    btree_close(f.indexes[7].tree);
    commit(&s);
    CHECK_EQ(entries("late"), 2999);
    CHECK_EQ(entries("late_unique"), 2999);
    CHECK_OK(cursor_set_index(cur, "late", 0, 0));
    CHECK_OK(make_text(cur, "row0060", JET_bitNewKey));
    CHECK_OK(cursor_seek(cur, JET_bitSeekGE) >= 0 ? 0 : -1);
    CHECK_EQ(get_long(cur, ID), 60);
    check_after(-1, 40);
    /* and it is kept in step from now on */
    begin(&s);
    CHECK_OK(insert(cur, 50, 1, "row0050"));
    CHECK_EQ(insert(cur, 51, 1, "row0060"), JET_errKeyDuplicate);
    CHECK_EQ(entries("late"), 3000);
    commit(&s);
    /* created later than a snapshot: not for that one */
    f.indexes[5].created_commit = UINT64_MAX;
    CHECK_OK(cursor_set_index(cur, NULL, 0, 0));
    CHECK_EQ(cursor_set_index(cur, "late", 0, 0), JET_errIndexNotFound);
    end_table();
}

/* Changing what one iterates over, on a secondary index. */
CASE(changes_while_moving)
{
    int n = 0;
    begin_table();
    fill(60);
    begin(&s);
    CHECK_OK(cursor_set_index(cur, "by_n", 0, 0));
    CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
    err_t err;
    do { /* every second one goes, the others fall behind the cursor */
        int32_t id = get_long(cur, ID);
        if (n++ % 2 == 0) {
            CHECK_OK(cursor_delete(cur));
            CHECK_EQ(retrieve_id(), JET_errRecordDeleted);
        } else {
            CHECK_OK(cursor_prepare(cur, JET_prepReplace));
            CHECK_OK(set_long(cur, N, -5));
            CHECK_OK(cursor_update(cur, NULL));
            CHECK_EQ(get_long(cur, ID), id); /* still the current record */
            CHECK_EQ(get_long(cur, N), -5);
        }
        err = cursor_move(cur, 1, 0);
    } while (err >= 0);
    CHECK_EQ(err, NO);
    CHECK_EQ(n, 60);
    CHECK_EQ(entries("by_n"), 30);
    seek_long("by_n", -5, JET_bitSeekEQ | JET_bitSetIndexRange, 0);
    uint64_t count;
    CHECK_OK(cursor_count(cur, 0, &count));
    CHECK_EQ(count, 30);
    /* backwards, deleting all */
    CHECK_OK(cursor_move(cur, JET_MoveLast, 0));
    for (n = 0, err = 0; err >= 0; n++, err = cursor_move(cur, -1, 0))
        CHECK_OK(cursor_delete(cur));
    CHECK_EQ(n, 30);
    CHECK_EQ(world_count(f.desc.tree, &s.trx), 0);
    for (uint32_t i = 1; i < f.desc.index_count; i++)
        CHECK_EQ(world_count(f.indexes[i].tree, &s.trx), 0);
    commit(&s);
    end_table();
}

/* A statement that meets another's uncommitted entry in a unique index. */
CASE(unique_between_sessions)
{
    struct session t;
    struct table_cursor *other;
    begin_table();
    session_open(&t);
    CHECK_OK(cursor_open(&f.desc, &t.trx, 0, &other));
    begin(&s);
    begin(&t);
    CHECK_OK(insert(cur, 1, 1, "same"));
    CHECK_EQ(insert(other, 2, 2, "same"), JET_errWriteConflict);
    CHECK_EQ(world_count(f.desc.tree, &t.trx), 0);
    CHECK_OK(insert(other, 2, 2, "other"));
    rollback(&s);
    cursor_trx_ended(cur, true, 0);
    CHECK_OK(insert(other, 3, 3, "same"));
    commit(&t);
    begin(&s);
    CHECK_EQ(insert(cur, 1, 1, "same"), JET_errKeyDuplicate);
    CHECK_EQ(insert(cur, 2, 1, NULL), JET_errKeyDuplicate);
    /* taken over from a row deleted in the same transaction */
    select_id(3);
    CHECK_OK(cursor_delete(cur));
    CHECK_OK(insert(cur, 4, 1, "same"));
    commit(&s);
    CHECK_OK(cursor_set_index(cur, "by_text", 0, 0));
    CHECK_OK(make_text(cur, "same", JET_bitNewKey));
    CHECK_OK(cursor_seek(cur, JET_bitSeekEQ));
    CHECK_EQ(get_long(cur, ID), 4);
    cursor_close(other);
    session_close(&t);
    end_table();
}

/* A description that changes: rows of other transactions stay away, tables with foreign order refuse changes. */
CASE(refusals)
{
    static int somebody;
    begin_table();
    fill(3);
    begin(&s);
    CHECK_OK(cursor_move(cur, JET_MoveFirst, 0));
    atomic_store(&f.desc.ddl_owner, &somebody);
    CHECK_EQ(insert(cur, 1, 1, NULL), JET_errWriteConflict);
    CHECK_EQ(cursor_delete(cur), JET_errWriteConflict);
    CHECK_EQ(get_long(cur, ID), 10);
    atomic_store(&f.desc.ddl_owner, &s.trx);
    CHECK_OK(insert(cur, 1, 1, NULL));
    atomic_store(&f.desc.ddl_owner, NULL);
    f.indexes[2].foreign_sort = true;
    CHECK_EQ(cursor_prepare(cur, JET_prepInsert), JET_errPermissionDenied);
    CHECK_EQ(cursor_delete(cur), JET_errPermissionDenied);
    f.indexes[2].building = true;
    CHECK_EQ(cursor_set_index(cur, "by_text", 0, 0), JET_errIndexNotFound);
    commit(&s);
    end_table();
}

/* Callbacks may refuse; the after ones see what was done. */
struct calls {
    JET_CBTYP seen[16];
    int count;
    JET_CBTYP refuse;
};
static err_t note_call(void *context, struct table_cursor *at, JET_CBTYP type)
{
    struct calls *calls = context;
    CHECK(at == cur && calls->count < 16);
    calls->seen[calls->count++] = type;
    return type == calls->refuse ? RAISE(JET_errCallbackFailed) : JET_errSuccess;
}

CASE(callbacks)
{
    static const JET_CBTYP want[] = {JET_cbtypBeforeInsert,  JET_cbtypAfterInsert, JET_cbtypBeforeReplace,
                                     JET_cbtypAfterReplace,  JET_cbtypBeforeDelete, JET_cbtypBeforeDelete,
                                     JET_cbtypAfterDelete};
    struct calls calls = {.count = 0};
    begin_table();
    cursor_set_callback(cur, (struct row_callback){&calls, note_call});
    begin(&s);
    CHECK_OK(insert(cur, 1, 1, "x"));
    select_id(1);
    CHECK_OK(cursor_prepare(cur, JET_prepReplace));
    CHECK_OK(set_long(cur, N, 2));
    CHECK_OK(cursor_update(cur, NULL));
    calls.refuse = JET_cbtypBeforeDelete;
    CHECK_EQ(cursor_delete(cur), JET_errCallbackFailed);
    CHECK_EQ(get_long(cur, N), 2);
    calls.refuse = 0;
    CHECK_OK(cursor_delete(cur));
    CHECK_EQ(calls.count, 7);
    CHECK(memcmp(calls.seen, want, sizeof want) == 0);
    commit(&s);
    end_table();
}

/* ---- model: random changes against arrays, a snapshot kept by another session ---- */

#define MODEL_IDS 150
struct model_row {
    bool there;
    int32_t n;
    int text; /* -1: NULL */
    uint32_t long_n, seed;
};
struct model {
    struct model_row row[MODEL_IDS];
};

static int text_owner(const struct model *m, int text)
{
    for (int i = 0; i < MODEL_IDS; i++)
        if (m->row[i].there && m->row[i].text == text)
            return i;
    return -1;
}

static uint32_t rolled(unsigned long long *dice, uint32_t n)
{
    return (uint32_t)(ctest_random(dice) >> 20) % n;
}

static void set_row(struct table_cursor *at, const struct model_row *row)
{
    char text[20], *v = pattern(row->long_n, row->seed);
    snprintf(text, sizeof text, "t%03d", row->text);
    CHECK_OK(set_long(at, N, row->n));
    CHECK_OK(cursor_set(at, T, 1, 0, SLICE(text, row->text < 0 ? 0 : strlen(text)), row->text < 0, 0));
    CHECK_OK(set_bytes(at, L, v, row->long_n));
    free(v);
}

/* One random statement; the model follows what came out of it. */
static void model_step(struct model *m, unsigned long long *dice)
{
    int i = (int)rolled(dice, MODEL_IDS);
    struct model_row row = {true, (int32_t)rolled(dice, 9), (int)rolled(dice, 60) - 10, 0, rolled(dice, 50)};
    row.text = row.text < 0 ? -1 : row.text;
    row.long_n = rolled(dice, 4) == 0 ? rolled(dice, 9000) : rolled(dice, 30);
    int owner = row.text < 0 ? -1 : text_owner(m, row.text);
    if (!m->row[i].there || rolled(dice, 12) == 0) {
        CHECK_OK(cursor_prepare(cur, JET_prepInsert));
        CHECK_OK(set_long(cur, ID, i));
        set_row(cur, &row);
        bool bad = m->row[i].there || owner >= 0;
        CHECK_EQ(cursor_update(cur, NULL), bad ? JET_errKeyDuplicate : 0);
        if (bad)
            CHECK_OK(cursor_prepare(cur, JET_prepCancel));
        else
            m->row[i] = row;
        return;
    }
    select_id(i);
    if (rolled(dice, 3) == 0) {
        CHECK_OK(cursor_delete(cur));
        m->row[i].there = false;
        return;
    }
    CHECK_OK(cursor_prepare(cur, rolled(dice, 2) ? JET_prepReplace : JET_prepReplaceNoLock));
    set_row(cur, &row);
    bool bad = owner >= 0 && owner != i;
    CHECK_EQ(cursor_update(cur, NULL), bad ? JET_errKeyDuplicate : 0);
    if (bad)
        CHECK_OK(cursor_prepare(cur, JET_prepCancel));
    else
        m->row[i] = row;
}

static void check_row(struct table_cursor *at, const struct model_row *row, int id)
{
    char text[20], *v = pattern(row->long_n, row->seed), *to = malloc(row->long_n + 1);
    uint32_t actual;
    CHECK_EQ(get_long(at, ID), id);
    CHECK_EQ(get_long(at, N), row->n);
    snprintf(text, sizeof text, "t%03d", row->text);
    check_text(at, T, 1, row->text < 0 ? NULL : text);
    err_t err = cursor_retrieve(at, L, 1, 0, 0, to, row->long_n + 1, &actual, NULL);
    CHECK_EQ(err, row->long_n == 0 ? JET_wrnColumnNull : 0);
    CHECK(actual == row->long_n && memcmp(to, v, actual) == 0);
    free(to);
    free(v);
}

static void check_index(const struct model *m, struct table_cursor *at, const char *index, int want)
{
    int n = 0;
    int32_t before = -1;
    CHECK_OK(cursor_set_index(at, index, 0, 0));
    for (err_t err = cursor_move(at, JET_MoveFirst, 0); err >= 0; err = cursor_move(at, 1, 0), n++) {
        int32_t id = get_long(at, ID);
        CHECK(id >= 0 && id < MODEL_IDS && m->row[id].there);
        check_row(at, &m->row[id], id);
        int32_t order = index == NULL ? id : index[3] == 'n' ? m->row[id].n * MODEL_IDS + id : m->row[id].text;
        CHECK(order > before);
        before = order;
    }
    CHECK_EQ(n, want);
}

static void check_model(const struct model *m, struct table_cursor *at)
{
    int rows = 0, texts = 0;
    for (int i = 0; i < MODEL_IDS; i++) {
        rows += m->row[i].there;
        texts += m->row[i].there && m->row[i].text >= 0;
    }
    check_index(m, at, NULL, rows);
    check_index(m, at, "by_n", rows);
    check_index(m, at, "by_text", texts);
}

CASE(model)
{
    unsigned long long dice = ctest_seed();
    static struct model now, level1, level2, snapshot;
    struct session t;
    struct table_cursor *reader;
    begin_table();
    session_open(&t);
    CHECK_OK(cursor_open(&f.desc, &t.trx, JET_bitTableReadOnly, &reader));
    begin(&t);
    memset(&now, 0, sizeof now);
    snapshot = now;
    for (int round = 0; round < 120; round++) {
        level1 = now;
        begin(&s);
        for (int i = 0; i < 10; i++)
            model_step(&now, &dice);
        level2 = now;
        begin(&s);
        for (int i = 0; i < 6; i++)
            model_step(&now, &dice);
        if (rolled(&dice, 3) == 0) {
            rollback(&s);
            cursor_trx_ended(cur, true, 1);
            now = level2;
        } else {
            commit(&s);
        }
        if (round % 8 == 0) {
            check_model(&now, cur);
            check_model(&snapshot, reader);
        }
        if (rolled(&dice, 4) == 0) {
            rollback(&s);
            now = level1;
        } else {
            commit(&s);
        }
        cursor_trx_ended(cur, false, 0);
        if (round % 20 == 19) {
            check_model(&snapshot, reader);
            commit(&t);
            world_sweep();
            begin(&t);
            snapshot = now;
        }
    }
    check_model(&snapshot, reader);
    commit(&t);
    check_model(&now, reader);
    world_sweep();
    int longs = 0, rows = 0;
    for (int i = 0; i < MODEL_IDS; i++) {
        longs += now.row[i].there && now.row[i].long_n > 1023;
        rows += now.row[i].there;
    }
    CHECK_EQ(values_left(), longs);
    CHECK_EQ(entries("by_m"), rows);
    cursor_close(reader);
    session_close(&t);
    end_table();
}

/* Two sessions on disjoint rows of one table, with their long values and indexes. */
struct worker {
    int base;
    int done;
};

static void work(void *context)
{
    struct worker *w = context;
    struct session mine;
    struct table_cursor *at;
    session_open(&mine);
    CHECK_OK(cursor_open(&f.desc, &mine.trx, 0, &at));
    char *v = pattern(3000, (uint32_t)w->base);
    for (int round = 0; round < 150; round++) {
        begin(&mine);
        int id = w->base + round % 30;
        CHECK_OK(make_long(at, id, JET_bitNewKey));
        err_t err = cursor_seek(at, JET_bitSeekEQ);
        if (err == JET_errRecordNotFound) {
            CHECK_OK(cursor_prepare(at, JET_prepInsert));
            CHECK_OK(set_long(at, ID, id));
        } else if (round % 7 == 0) {
            CHECK_OK(cursor_delete(at));
            commit(&mine);
            continue;
        } else {
            CHECK_OK(cursor_prepare(at, JET_prepReplace));
        }
        CHECK_OK(set_long(at, N, round));
        CHECK_OK(set_bytes(at, L, v, 1000 + (uint32_t)round * 10));
        CHECK_OK(cursor_update(at, NULL));
        commit(&mine);
        w->done++;
    }
    free(v);
    cursor_close(at);
    session_close(&mine);
}

CASE(two_threads)
{
    struct worker w[2] = {{1000, 0}, {2000, 0}};
    struct os_thread *threads[2];
    struct btree *lv;
    begin_table();
    CHECK_OK(fixture_lv(&f, NULL, true, &lv)); /* the fixture makes it without a lock */
    for (int i = 0; i < 2; i++)
        CHECK_OK(os_thread_start("worker", work, &w[i], &threads[i]));
    for (int i = 0; i < 2; i++)
        os_thread_join(threads[i]);
    int rows = 0;
    for (err_t err = cursor_move(cur, JET_MoveFirst, 0); err >= 0; err = cursor_move(cur, 1, 0))
        rows++;
    CHECK(rows > 40);
    CHECK_EQ(entries("by_n"), rows);
    CHECK_EQ(w[0].done, w[1].done);
    end_table();
}

CTEST_MAIN
