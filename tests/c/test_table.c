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

CTEST_MAIN
