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

CTEST_MAIN
