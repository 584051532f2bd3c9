/* Search keys, seeks, ranges, bookmarks. */
#include "table/table_private.h"

#define LIMITS_START (JET_bitFullColumnStartLimit | JET_bitPartialColumnStartLimit)
#define LIMITS_END                                                                                 \
    (JET_bitStrLimit | JET_bitSubStrLimit | JET_bitFullColumnEndLimit |                            \
     JET_bitPartialColumnEndLimit)
#define LIMITS_PREFIX                                                                              \
    (JET_bitSubStrLimit | JET_bitPartialColumnStartLimit | JET_bitPartialColumnEndLimit)

static uint32_t key_most(const struct index_def *def)
{
    uint32_t most = def->key_most == 0 ? 255 : def->key_most;
    return most < KEY_SIZE_MOST ? most : KEY_SIZE_MOST;
}

/* ---- making a key ---- */

static err_t take_normalized(struct table_cursor *c, struct slice data)
{
    if (data.n > key_most(&c->def) + 1)
        return RAISE(JET_errInvalidParameter);
    if (data.n != 0)
        memcpy(c->key, data.p, data.n);
    c->key_n = data.n;
    c->key_columns = c->def.segment_count;
    c->key_state = KEY_IS_MADE;
    return JET_errSuccess;
}

static bool takes_prefix(const struct column_def *column)
{
    if (coltyp_is_text(column->coltyp))
        return true;
    return (column->coltyp == JET_coltypBinary || column->coltyp == JET_coltypLongBinary) &&
           column->id > COLID_FIXED_LAST;
}

static err_t check_limits(const struct column_def *column, JET_GRBIT limits)
{
    if ((limits & (limits - 1)) != 0)
        return RAISE(JET_errInvalidGrbit);
    if ((limits & (JET_bitPartialColumnStartLimit | JET_bitPartialColumnEndLimit)) != 0 &&
        !takes_prefix(column))
        return RAISE(JET_errInvalidGrbit);
    return JET_errSuccess;
}

/* Sorts behind all that goes on from here. One FF is enough unless FF can be the next byte of a
 * key, as in the inverted segments of descending columns and in a value that goes on. */
static void put_end_limit(struct table_cursor *c, uint32_t column, bool prefix)
{
    uint32_t most = key_most(&c->def) + 1, n = prefix ? most : 1;
    for (uint32_t i = column; i < c->def.segment_count; i++)
        if (c->def.segments[i].descending)
            n = most;
    for (; n > 0 && c->key_n < most; n--)
        c->key[c->key_n++] = 0xff;
}

err_t cursor_make_key(struct table_cursor *c, struct slice data, bool null, JET_GRBIT grbit)
{
    JET_GRBIT limits = grbit & (LIMITS_START | LIMITS_END);
    bool truncated;
    if (c->def.segment_count == 0)
        return RAISE(JET_errNoCurrentIndex);
    if ((grbit & JET_bitNormalizedKey) != 0)
        return take_normalized(c, data);
    if ((grbit & JET_bitNewKey) != 0) {
        c->key_state = KEY_OPEN;
        c->key_n = c->key_columns = 0;
    }
    if (c->key_state == KEY_NOT_MADE)
        return RAISE(JET_errKeyNotMade);
    if (c->key_state == KEY_IS_MADE || c->key_columns == c->def.segment_count)
        return RAISE(JET_errKeyIsMade);
    const struct index_segment *segment = &c->def.segments[c->key_columns];
    const struct column_def *column = record_column(&c->desc->layout, segment->column);
    if (column == NULL)
        return RAISE(JET_errColumnNotFound);
    TRY_RETURN(check_limits(column, limits));
    null = null || (data.n == 0 && (grbit & JET_bitKeyDataZeroLength) == 0);
    bool prefix = (limits & LIMITS_PREFIX) != 0 && takes_prefix(column);
    if (prefix && !null && data.n == 0) { /* what every value begins with */
        if (c->key_n < key_most(&c->def))
            c->key[c->key_n++] =
                key_segment_bound(segment->descending, (limits & LIMITS_END) != 0);
    } else {
        TRY_RETURN(key_segment(column, &c->def, segment->descending, null ? SLICE_EMPTY : data,
                               null, prefix, c->key, &c->key_n, key_most(&c->def), &truncated));
    }
    if ((limits & LIMITS_END) != 0)
        put_end_limit(c, c->key_columns, prefix);
    c->key_columns++;
    if (limits != 0 || c->key_columns == c->def.segment_count)
        c->key_state = KEY_IS_MADE;
    return JET_errSuccess;
}

/* The made key goes to `to`. */
static err_t take_key(struct table_cursor *c, uint8_t *to, uint32_t *n)
{
    if (c->key_state == KEY_NOT_MADE)
        return RAISE(JET_errKeyNotMade);
    memcpy(to, c->key, c->key_n);
    *n = c->key_n;
    c->key_state = KEY_NOT_MADE;
    return JET_errSuccess;
}

err_t cursor_key(struct table_cursor *c, JET_GRBIT grbit, struct slice *key)
{
    *key = SLICE_EMPTY;
    if ((grbit & JET_bitRetrieveCopy) != 0) {
        if (c->key_state == KEY_NOT_MADE)
            return RAISE(JET_errKeyNotMade);
        *key = SLICE(c->key, c->key_n);
        return JET_errSuccess;
    }
    if (c->def.segment_count == 0)
        return RAISE(JET_errNoCurrentIndex);
    TRY_RETURN(table__on_entry(c));
    *key = buffer_slice(&table__main(c)->key);
    return JET_errSuccess;
}

/* ---- seek ---- */

static err_t seek_mode_of(JET_GRBIT grbit, enum seek_mode *mode)
{
    switch (grbit &
            (JET_bitSeekEQ | JET_bitSeekLT | JET_bitSeekLE | JET_bitSeekGE | JET_bitSeekGT)) {
    case JET_bitSeekEQ:
        *mode = SEEK_EQ;
        return JET_errSuccess;
    case JET_bitSeekLT:
        *mode = SEEK_LT;
        return JET_errSuccess;
    case JET_bitSeekLE:
        *mode = SEEK_LE;
        return JET_errSuccess;
    case JET_bitSeekGE:
        *mode = SEEK_GE;
        return JET_errSuccess;
    case JET_bitSeekGT:
        *mode = SEEK_GT;
        return JET_errSuccess;
    default:
        return RAISE(JET_errInvalidParameter);
    }
}

static void set_limit(struct table_cursor *c, struct slice key, bool upper, bool inclusive)
{
    memcpy(c->limit, key.p, key.n);
    c->limit_n = key.n;
    c->limit_upper = upper;
    c->limit_inclusive = inclusive;
    c->limited = true;
}

/* Is the entry that was found the only one with its key? */
static err_t is_only(struct table_cursor *c, bool *only)
{
    err_t err = JET_errSuccess;
    struct btree_cursor copy, *main = table__main(c);
    *only = true;
    if (main->tree->unique)
        return JET_errSuccess;
    btree_cursor_init(&copy, main->tree, c->trx);
    btree_cursor_copy(&copy, main, &err);
    if (err >= 0)
        err = btree_next(&copy);
    if (err >= 0)
        *only = !slice_equal(buffer_slice(&copy.key), buffer_slice(&main->key));
    btree_cursor_term(&copy);
    return err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}

static err_t found(struct table_cursor *c, struct slice key, enum seek_mode mode, bool exact,
                   JET_GRBIT grbit)
{
    bool only = false;
    if (mode != SEEK_EQ)
        return (mode == SEEK_GE || mode == SEEK_LE) && !exact ? JET_wrnSeekNotEqual
                                                              : JET_errSuccess;
    if ((grbit & JET_bitSetIndexRange) != 0)
        set_limit(c, key, true, true);
    if ((grbit & JET_bitCheckUniqueness) != 0)
        TRY_RETURN(is_only(c, &only));
    return only ? JET_wrnUniqueKey : JET_errSuccess;
}

err_t cursor_seek(struct table_cursor *c, JET_GRBIT grbit)
{
    uint8_t bytes[SEARCH_KEY_MOST];
    struct slice key = {bytes, 0};
    enum seek_mode mode = SEEK_EQ;
    bool exact = false;
    struct btree_cursor *main = table__main(c);
    TRY_RETURN(table__cancel(c));
    if (c->def.segment_count == 0)
        return RAISE(JET_errNoCurrentIndex);
    TRY_RETURN(seek_mode_of(grbit, &mode));
    TRY_RETURN(take_key(c, bytes, &key.n));
    table__leave(c);
    c->limited = false;
    err_t err = btree_seek(main, key, SLICE_EMPTY, false, mode, &exact);
    if (err >= 0)
        return found(c, key, mode, exact, grbit);
    if (err != JET_errRecordNotFound)
        return err;
    c->nowhere = true;
    if (mode == SEEK_GE || mode == SEEK_GT)
        main->place = BTREE_AFTER_LAST;
    else if (mode != SEEK_EQ)
        main->place = BTREE_BEFORE_FIRST;
    return err;
}

err_t cursor_set_range(struct table_cursor *c, JET_GRBIT grbit)
{
    uint8_t bytes[SEARCH_KEY_MOST];
    struct slice key = {bytes, 0};
    if ((grbit & JET_bitRangeRemove) != 0) {
        if (!c->limited)
            return RAISE(JET_errInvalidOperation);
        c->limited = false;
        return JET_errSuccess;
    }
    if (c->def.segment_count == 0)
        return RAISE(JET_errNoCurrentIndex);
    TRY_RETURN(take_key(c, bytes, &key.n));
    TRY_RETURN(table__on_entry(c));
    set_limit(c, key, (grbit & JET_bitRangeUpperLimit) != 0, (grbit & JET_bitRangeInclusive) != 0);
    bool inside = table__in_range(c, buffer_slice(&table__main(c)->key));
    if (!inside || (grbit & JET_bitRangeInstantDuration) != 0)
        c->limited = false;
    return inside ? JET_errSuccess : RAISE(JET_errNoCurrentRecord);
}

/* ---- bookmarks ---- */

err_t cursor_bookmark(struct table_cursor *c, struct slice *bookmark)
{
    return table__bookmark(c, bookmark);
}

err_t cursor_secondary_bookmark(struct table_cursor *c, struct slice *key, struct slice *primary)
{
    *key = *primary = SLICE_EMPTY;
    if (!c->secondary)
        return RAISE(JET_errNoCurrentIndex);
    TRY_RETURN(table__on_entry(c));
    *key = buffer_slice(&c->index.key);
    *primary = c->index.data;
    return JET_errSuccess;
}

err_t cursor_goto_bookmark(struct table_cursor *c, struct slice bookmark)
{
    bool exact;
    if (bookmark.p == NULL || bookmark.n == 0)
        return RAISE(JET_errInvalidBookmark);
    TRY_RETURN(table__cancel(c));
    TRY_RETURN(buffer_set(&c->scratch, bookmark)); /* it may be the cursor's own */
    table__leave(c);
    c->limited = false;
    if (c->secondary)
        c->index.place = BTREE_NOWHERE;
    err_t err =
        btree_seek(&c->primary, buffer_slice(&c->scratch), SLICE_EMPTY, false, SEEK_EQ, &exact);
    if (err == JET_errRecordNotFound)
        return RAISE(JET_errRecordDeleted);
    TRY_RETURN(err);
    if (!c->secondary)
        return JET_errSuccess;
    TRY_RETURN(buffer_set(&c->value, c->primary.data));
    return table__enter_index(c, buffer_slice(&c->value), 1);
}

err_t cursor_goto_secondary_bookmark(struct table_cursor *c, struct slice key, struct slice primary,
                                     JET_GRBIT grbit)
{
    bool exact;
    (void)grbit; /* JET_bitBookmarkPermitVirtualCurrency: the cursor stands on the gap in either
                    case */
    if (!c->secondary)
        return RAISE(JET_errNoCurrentIndex);
    if (key.p == NULL || key.n == 0 || primary.p == NULL || primary.n == 0)
        return RAISE(JET_errInvalidBookmark);
    TRY_RETURN(table__cancel(c));
    TRY_RETURN(
        buffer_set(&c->scratch, primary)); /* seek copies the key, the data are compared after it */
    table__leave(c);
    c->limited = false;
    err_t err = btree_seek(&c->index, key, buffer_slice(&c->scratch), true, SEEK_EQ, &exact);
    if (err == JET_errRecordNotFound)
        return RAISE(JET_errRecordDeleted);
    TRY_RETURN(err);
    if (!slice_equal(c->index.data, buffer_slice(&c->scratch))) {
        c->index.place = BTREE_BETWEEN;
        return RAISE(JET_errRecordDeleted);
    }
    return JET_errSuccess;
}
