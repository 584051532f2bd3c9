/* Secondary indexes against their records. One pass over each compares sums of hashes (seeded by
 * chance, 64 bits); only when they differ the entries are looked up one by one, to tell which. */
#include <stdio.h>

#include "check/check_private.h"

static uint64_t hash_entry(const struct table_check *t, const struct index_check *x,
                           struct slice key, struct slice bookmark)
{
    uint64_t h = hash_bytes(bookmark, t->seed);
    return x->keys_known ? hash_u64(hash_bytes(key, h)) : h;
}

/* ---- what records ask for ---- */

struct expecting {
    struct table_check *t;
    struct index_check *x;
    struct slice bookmark;
};

static err_t expect_entry(void *context, struct slice key)
{
    struct expecting *e = context;
    e->x->expected++;
    e->x->expected_sum += hash_entry(e->t, e->x, key, e->bookmark);
    return JET_errSuccess;
}

err_t check__index_expect(struct table_check *t, struct index_check *x, struct slice key,
                          struct slice record)
{
    struct expecting e = {t, x, key};
    if (!t->c->options->indexes || !x->complete)
        return JET_errSuccess;
    err_t err = table_entries(t->desc, x->index, &t->c->trx, record, expect_entry, &e);
    if (err >= 0)
        return JET_errSuccess;
    x->failed = true;
    char what[CHECK_HEX_ROOM + 48];
    snprintf(what, sizeof what, "no key of record %s", check__hex(key, t->hex));
    return check__survive(t->c, x->tree, CHECK_INDEX, PGNO_NIL, what, err);
}

/* ---- what is there ---- */

struct finding {
    struct table_check *t;
    struct index_check *x;
};

static err_t find_entry(void *context, pgno_t pgno, struct slice key, struct slice bookmark)
{
    struct finding *f = context;
    (void)pgno;
    f->t->c->sum->index_entries++;
    f->x->found++;
    f->x->found_sum += hash_entry(f->t, f->x, key, bookmark);
    return JET_errSuccess;
}

/* ---- one by one ---- */

struct search {
    struct table_check *t;
    struct index_check *x;
    struct btree_cursor
        other; /* in the index while records are walked, in the records while entries are */
    struct slice key, bookmark;
    bool given;
    bool broken; /* a search failed in a damaged tree: told once, many more may fail at the same
                    page */
};

static err_t tell_entry(struct search *s, pgno_t pgno, struct slice key, struct slice bookmark,
                        const char *what)
{
    char one[CHECK_HEX_ROOM], two[CHECK_HEX_ROOM];
    return check__tell(s->t->c, s->x->tree, CHECK_INDEX, pgno, "entry %s of record %s %s",
                       check__hex(key, one), check__hex(bookmark, two), what);
}

static bool is_absent(err_t err)
{
    return err == JET_errRecordNotFound || err == JET_errNoCurrentRecord;
}

static err_t tell_broken(struct search *s, pgno_t pgno, err_t why)
{
    bool again = s->broken && s->t->c->stop >= 0 && why != JET_errOutOfMemory;
    s->broken = true;
    return again ? JET_errSuccess
                 : check__survive(s->t->c, s->x->tree, CHECK_INDEX, pgno,
                                  "some entries cannot be compared", why);
}

static err_t seek_entry(void *context, struct slice key)
{
    struct search *s = context;
    bool exact = false, unique = s->x->tree->unique;
    err_t err = btree_seek(&s->other, key, s->bookmark, !unique, SEEK_EQ, &exact);
    if (is_absent(err))
        return tell_entry(s, PGNO_NIL, key, s->bookmark, "is missing");
    if (err < 0)
        return tell_broken(s, PGNO_NIL, err);
    return unique && !slice_equal(s->other.data, s->bookmark)
               ? tell_entry(s, PGNO_NIL, key, s->bookmark, "is another record's")
               : JET_errSuccess;
}

static err_t seek_entries_of(void *context, pgno_t pgno, struct slice key, struct slice record)
{
    struct search *s = context;
    (void)pgno;
    s->bookmark = key;
    if (record_validate(&s->t->desc->layout, record) < 0)
        return JET_errSuccess; /* told */
    err_t err = table_entries(s->t->desc, s->x->index, &s->t->c->trx, record, seek_entry, s);
    return s->t->c->stop < 0 || err == JET_errOutOfMemory ? err : JET_errSuccess;
}

static err_t compare_key(void *context, struct slice key)
{
    struct search *s = context;
    s->given |= slice_equal(key, s->key);
    return JET_errSuccess;
}

static err_t seek_record_of(void *context, pgno_t pgno, struct slice key, struct slice bookmark)
{
    struct search *s = context;
    bool exact = false;
    err_t err = btree_seek(&s->other, bookmark, SLICE_EMPTY, false, SEEK_EQ, &exact);
    if (is_absent(err))
        return tell_entry(s, pgno, key, bookmark, "points to no record");
    if (err < 0)
        return tell_broken(s, pgno, err);
    if (!s->x->keys_known)
        return JET_errSuccess;
    s->key = key;
    s->given = false;
    err = table_entries(s->t->desc, s->x->index, &s->t->c->trx, s->other.data, compare_key, s);
    if (err < 0)
        return err == JET_errOutOfMemory ? err
                                         : JET_errSuccess; /* told when the records were read */
    return s->given ? JET_errSuccess
                    : tell_entry(s, pgno, key, bookmark, "is not what the record gives");
}

static err_t search_records(struct table_check *t, struct index_check *x)
{
    struct search s = {.t = t, .x = x};
    struct check_walk_want want = {.tree = t->tree,
                                   .root = t->tree->root,
                                   .quiet = true,
                                   .fn = seek_entries_of,
                                   .context = &s};
    btree_cursor_init(&s.other, x->index->tree, &t->c->trx);
    err_t err = check__walk(t->c, &want);
    btree_cursor_term(&s.other);
    return err;
}

static err_t search_entries(struct table_check *t, struct index_check *x)
{
    struct search s = {.t = t, .x = x};
    struct check_walk_want want = {
        .tree = x->tree, .root = x->tree->root, .quiet = true, .fn = seek_record_of, .context = &s};
    btree_cursor_init(&s.other, t->desc->tree, &t->c->trx);
    err_t err = check__walk(t->c, &want);
    btree_cursor_term(&s.other);
    return err;
}

static err_t compare(struct table_check *t, struct index_check *x)
{
    struct check *c = t->c;
    if (x->complete && !x->failed && x->expected == x->found && x->expected_sum == x->found_sum)
        return JET_errSuccess;
    uint64_t told = c->sum->findings;
    if (x->complete && x->keys_known)
        TRY_RETURN(search_records(t, x));
    TRY_RETURN(search_entries(t, x));
    if (!x->complete || x->failed || x->tree->damaged || t->tree->damaged ||
        c->sum->findings != told)
        return JET_errSuccess;
    return check__tell(c, x->tree, CHECK_INDEX, PGNO_NIL,
                       "%llu entries for records that ask for %llu, or of other records",
                       (unsigned long long)x->found, (unsigned long long)x->expected);
}

err_t check__index(struct table_check *t, struct index_check *x)
{
    struct finding f = {t, x};
    bool compared = t->desc != NULL && x->index != NULL && t->c->options->indexes;
    struct check_walk_want want = {.tree = x->tree,
                                   .root = x->tree->root,
                                   .hold = HOLD_TREE,
                                   .fn = compared ? find_entry : NULL,
                                   .context = &f};
    TRY_RETURN(check__walk(t->c, &want));
    TRY_RETURN(check__space(t->c, x->tree));
    return compared ? compare(t, x) : JET_errSuccess;
}
