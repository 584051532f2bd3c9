/* The batch path: many rows a call. Forwards on the primary index rows lie in the cursor's copy of
 * a leaf; otherwise they are put into memory of the cursor's. */
#include "table/table_private.h"

#define BATCH_MOST 256

/* Goes on behind what the last batch handed out; JET_errNoCurrentRecord at the end. */
static err_t go_on(struct table_cursor *c, bool forward)
{
    bool first = c->deferred;
    TRY_RETURN(table__settle(c));
    struct btree_cursor *main = table__main(c);
    if (first || (main->place == BTREE_ON && !c->handed))
        return JET_errSuccess;
    c->record_ready = c->nowhere = c->handed = false;
    return table__step(c, forward);
}

static err_t end_is_no_error(err_t err)
{
    return err == JET_errNoCurrentRecord ? JET_errSuccess : err;
}

/* Entries from the current one on, cut at the end of the range. */
static err_t entries_forward(struct table_cursor *c, struct btree_row *entries, int max, int *count)
{
    struct btree_cursor *main = table__main(c);
    TRY_RETURN(btree_next_batch(main, entries, max, count));
    int inside = *count;
    if (c->limited && c->limit_upper)
        while (inside > 0 && !table__in_range(c, entries[inside - 1].key))
            inside--;
    if (inside < *count)
        main->place = BTREE_AFTER_LAST;
    *count = inside;
    return JET_errSuccess;
}

/* Rows are remembered by offset while the memory grows. */
static err_t keep(struct table_cursor *c, struct slice s, struct slice *kept)
{
    kept->p = (const uint8_t *)(uintptr_t)c->rows.n;
    kept->n = s.n;
    return buffer_append(&c->rows, s);
}

static void settle_rows(struct table_cursor *c, struct cursor_row *rows, int count)
{
    for (int i = 0; i < count; i++) {
        rows[i].bookmark.p = c->rows.p + (uintptr_t)rows[i].bookmark.p;
        rows[i].record.p = c->rows.p + (uintptr_t)rows[i].record.p;
    }
}

/* The record of an entry; *there = false: it was deleted since the entry was read. */
static err_t keep_record_of(struct table_cursor *c, struct slice bookmark, struct cursor_row *row,
                            bool *there)
{
    bool exact;
    err_t err = btree_seek(&c->primary, bookmark, SLICE_EMPTY, false, SEEK_EQ, &exact);
    *there = err != JET_errRecordNotFound;
    if (!*there)
        return JET_errSuccess;
    TRY_RETURN(err);
    TRY_RETURN(keep(c, buffer_slice(&c->primary.key), &row->bookmark));
    return keep(c, c->primary.data, &row->record);
}

static err_t secondary_forward(struct table_cursor *c, struct cursor_row *rows, int max, int *count)
{
    struct btree_row entries[BATCH_MOST];
    int got = 0;
    bool there;
    TRY_RETURN(entries_forward(c, entries, max, &got));
    for (int i = 0; i < got; i++) {
        TRY_RETURN(keep_record_of(c, entries[i].data, &rows[*count], &there));
        *count += there;
    }
    return JET_errSuccess;
}

static err_t primary_forward(struct table_cursor *c, struct cursor_row *rows, int max, int *count)
{
    struct btree_row entries[BATCH_MOST];
    TRY_RETURN(entries_forward(c, entries, max, count));
    for (int i = 0; i < *count; i++)
        rows[i] = (struct cursor_row){entries[i].key, entries[i].data};
    return JET_errSuccess;
}

static err_t any_backwards(struct table_cursor *c, struct cursor_row *rows, int max, int *count)
{
    struct btree_cursor *main = table__main(c);
    for (int i = 0; i < max; i++) {
        bool there = true;
        if (i > 0) {
            err_t err = table__step(c, false);
            if (err == JET_errNoCurrentRecord)
                return JET_errSuccess;
            TRY_RETURN(err);
        }
        if (c->secondary) {
            TRY_RETURN(keep_record_of(c, main->data, &rows[*count], &there));
        } else {
            TRY_RETURN(keep(c, buffer_slice(&main->key), &rows[*count].bookmark));
            TRY_RETURN(keep(c, main->data, &rows[*count].record));
        }
        *count += there;
    }
    return JET_errSuccess;
}

err_t cursor_next_batch(struct table_cursor *c, bool backwards, struct cursor_row *rows, int max,
                        int *count)
{
    *count = 0;
    if (max > BATCH_MOST)
        max = BATCH_MOST;
    if (c->prepared)
        TRY_RETURN(table__cancel(c));
    do {
        err_t err = go_on(c, !backwards);
        if (err < 0)
            return end_is_no_error(err);
        c->rows.n = 0;
        if (backwards)
            TRY_RETURN(any_backwards(c, rows, max, count));
        else if (c->secondary)
            TRY_RETURN(secondary_forward(c, rows, max, count));
        else
            TRY_RETURN(primary_forward(c, rows, max, count));
        c->handed = true;
        c->record_ready = false;
    } while (*count == 0 && table__main(c)->place == BTREE_ON);
    if (backwards || c->secondary)
        settle_rows(c, rows, *count);
    return JET_errSuccess;
}
