/* Moving: by entries, by keys, within a range; counts and positions. */
#include "table/table_private.h"

/* So many equal keys are stepped over before a seek jumps behind the rest. */
#define EQUAL_STEPS 4
#define BATCH 64

bool table__in_range(const struct table_cursor *c, struct slice key)
{
    if (!c->limited)
        return true;
    int order = slice_compare(key, SLICE(c->limit, c->limit_n));
    if (order == 0)
        return c->limit_inclusive;
    return c->limit_upper ? order < 0 : order > 0;
}

/* The range ends here: as at the end of the index. */
static err_t leave_range(struct table_cursor *c)
{
    table__main(c)->place = c->limit_upper ? BTREE_AFTER_LAST : BTREE_BEFORE_FIRST;
    return RAISE(JET_errNoCurrentRecord);
}

/* Back in from beyond the limit: the nearest entry inside. */
static err_t reenter_range(struct table_cursor *c)
{
    struct btree_cursor *main = table__main(c);
    enum seek_mode mode = c->limit_upper ? (c->limit_inclusive ? SEEK_LE : SEEK_LT)
                                         : (c->limit_inclusive ? SEEK_GE : SEEK_GT);
    bool exact;
    err_t err = btree_seek(main, SLICE(c->limit, c->limit_n), SLICE_EMPTY, false, mode, &exact);
    if (err != JET_errRecordNotFound)
        return err;
    main->place = c->limit_upper ? BTREE_BEFORE_FIRST : BTREE_AFTER_LAST;
    return RAISE(JET_errNoCurrentRecord);
}

err_t table__step(struct table_cursor *c, bool forward)
{
    struct btree_cursor *main = table__main(c);
    enum btree_place behind = c->limit_upper ? BTREE_AFTER_LAST : BTREE_BEFORE_FIRST;
    if (c->limited && main->place == behind && forward != c->limit_upper)
        return reenter_range(c);
    if (main->place == BTREE_NOWHERE)
        return RAISE(JET_errNoCurrentRecord);
    TRY_RETURN(forward ? btree_next(main) : btree_prev(main));
    if (!table__in_range(c, buffer_slice(&main->key)))
        return leave_range(c);
    return JET_errSuccess;
}

/* The next entry with another key. */
static err_t step_key(struct table_cursor *c, bool forward)
{
    struct btree_cursor *main = table__main(c);
    bool exact;
    if (main->place != BTREE_ON && main->place != BTREE_BETWEEN)
        return table__step(c, forward);
    TRY_RETURN(buffer_set(&c->scratch, buffer_slice(&main->key)));
    for (int i = 0; i < EQUAL_STEPS; i++) {
        TRY_RETURN(table__step(c, forward));
        if (!slice_equal(buffer_slice(&main->key), buffer_slice(&c->scratch)))
            return JET_errSuccess;
    }
    err_t err = btree_seek(main, buffer_slice(&c->scratch), SLICE_EMPTY, false,
                           forward ? SEEK_GT : SEEK_LT, &exact);
    if (err == JET_errRecordNotFound) {
        main->place = forward ? BTREE_AFTER_LAST : BTREE_BEFORE_FIRST;
        return RAISE(JET_errNoCurrentRecord);
    }
    TRY_RETURN(err);
    return table__in_range(c, buffer_slice(&main->key)) ? JET_errSuccess : leave_range(c);
}

static err_t move_to_end(struct table_cursor *c, bool first)
{
    struct btree_cursor *main = table__main(c);
    table__leave(c);
    c->limited = false;
    err_t err = first ? btree_first(main) : btree_last(main);
    if (err == JET_errNoCurrentRecord)
        main->place = first ? BTREE_BEFORE_FIRST : BTREE_AFTER_LAST;
    return err;
}

static err_t check_current(struct table_cursor *c)
{
    TRY_RETURN(table__on_entry(c));
    return btree_refresh(table__main(c));
}

err_t cursor_move(struct table_cursor *c, int32_t rows, JET_GRBIT grbit)
{
    TRY_RETURN(table__cancel(c));
    if (rows == JET_MoveFirst || rows == JET_MoveLast)
        return move_to_end(c, rows == JET_MoveFirst);
    if (rows == 0)
        return check_current(c);
    TRY_RETURN(table__settle(c));
    bool forward = rows > 0;
    uint32_t n = forward ? (uint32_t)rows : 0u - (uint32_t)rows;
    table__leave(c);
    for (; n > 0; n--)
        TRY_RETURN((grbit & JET_bitMoveKeyNE) != 0 ? step_key(c, forward)
                                                   : table__step(c, forward));
    return JET_errSuccess;
}

/* ---- counting ---- */

/* Entries from where `at` stands to the end (or the range's), at most `limit` (0 = no limit). */
static err_t count_on(const struct table_cursor *c, struct btree_cursor *at, uint64_t limit,
                      bool ranged, uint64_t *count)
{
    struct btree_row rows[BATCH];
    int got = 0;
    bool first = true;
    *count = 0;
    while (limit == 0 || *count < limit) {
        if (!first) {
            err_t err = btree_next(at);
            if (err == JET_errNoCurrentRecord)
                break;
            TRY_RETURN(err);
        }
        first = false;
        TRY_RETURN(btree_next_batch(at, rows, BATCH, &got));
        if (got == 0)
            break;
        int inside = got;
        while (ranged && inside > 0 && !table__in_range(c, rows[inside - 1].key))
            inside--;
        *count += (uint64_t)inside;
        if (inside < got)
            break;
    }
    if (limit != 0 && *count > limit)
        *count = limit;
    return JET_errSuccess;
}

err_t cursor_count(struct table_cursor *c, uint64_t limit, uint64_t *count)
{
    err_t err = JET_errSuccess;
    struct btree_cursor copy;
    *count = 0;
    TRY_RETURN(table__on_entry(c));
    struct btree_cursor *main = table__main(c);
    btree_cursor_init(&copy, main->tree, c->trx);
    btree_cursor_copy(&copy, main, &err);
    if (err >= 0)
        err = count_on(c, &copy, limit, c->limited && c->limit_upper, count);
    btree_cursor_term(&copy);
    return err;
}

/* Exact, by counting: what callers take for an estimate. */
err_t cursor_position(struct table_cursor *c, uint32_t *entries_before, uint32_t *entries_total)
{
    err_t err = JET_errSuccess;
    struct btree_cursor copy;
    uint64_t total = 0, rest = 0;
    *entries_before = *entries_total = 0;
    TRY_RETURN(table__on_entry(c));
    struct btree_cursor *main = table__main(c);
    btree_cursor_init(&copy, main->tree, c->trx);
    copy.place = BTREE_BEFORE_FIRST;
    TRY(count_on(c, &copy, 0, false, &total));
    btree_cursor_copy(&copy, main, &err);
    if (err < 0)
        goto out;
    TRY(count_on(c, &copy, 0, false, &rest));
    *entries_total = (uint32_t)(total > UINT32_MAX ? UINT32_MAX : total);
    *entries_before = (uint32_t)(total - rest > UINT32_MAX ? UINT32_MAX : total - rest);
out:
    btree_cursor_term(&copy);
    return err;
}

err_t cursor_goto_position(struct table_cursor *c, uint32_t entries_before, uint32_t entries_total)
{
    uint64_t total = 0;
    struct btree_cursor *main = table__main(c);
    struct btree_row rows[BATCH];
    int got = 0;
    if (entries_total == 0 || entries_before > entries_total)
        return RAISE(JET_errInvalidParameter);
    TRY_RETURN(table__cancel(c));
    table__leave(c);
    c->limited = false;
    main->place = BTREE_BEFORE_FIRST;
    TRY_RETURN(count_on(c, main, 0, false, &total));
    if (total == 0)
        return RAISE(JET_errRecordNotFound);
    uint64_t skip = total * entries_before / entries_total;
    skip = skip < total ? skip : total - 1;
    TRY_RETURN(btree_first(main));
    while (skip > 0) {
        int want = skip < BATCH ? (int)skip : BATCH;
        TRY_RETURN(btree_next_batch(main, rows, want, &got));
        if (got == 0)
            return RAISE(JET_errRecordNotFound);
        skip -= (uint64_t)got;
        TRY_RETURN(btree_next(main));
    }
    return JET_errSuccess;
}
