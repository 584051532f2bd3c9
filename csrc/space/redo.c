#include "space/space_private.h"

/* Redo: each page is tested by itself; what is new enough stays (log-format.md 7.3, 8.4). */

static err_t latch_new(struct redo *redo, pgno_t pgno, dbtime_t dbtime, struct page_ref *ref, struct page *wanted)
{
    TRY_RETURN(cache_latch(redo->db, pgno, LATCH_WRITE, CACHE_REDO, ref));
    *wanted = (struct page){0};
    if (page_is_all_zero(ref->page) || page_dbtime(ref->page) < dbtime) {
        *wanted = ref->page;
        cache_mark_dirty(ref, trx_begin_bound(redo->trx));
        (*redo->applied)++;
    } else {
        (*redo->skipped)++;
    }
    return JET_errSuccess;
}

static void finish(struct redo *redo, struct page_ref refs[3], const struct page wanted[3])
{
    for (int i = 2; i >= 0; i--) {
        if (refs[i].frame != NULL && wanted[i].p != NULL)
            cache_set_lgpos(&refs[i], redo->end);
        cache_release(&refs[i]);
    }
}

static err_t redo_create(struct redo *redo, struct slice record)
{
    struct create_record r;
    TRY_RETURN(create_decode(record, &r));
    TRY_RETURN(dbfile_cover(redo->db, r.root + r.cpg_primary - 1));
    struct page_ref refs[3] = {PAGE_REF_NONE, PAGE_REF_NONE, PAGE_REF_NONE};
    struct page wanted[3] = {{0}, {0}, {0}};
    err_t err = JET_errSuccess;
    TRY(latch_new(redo, r.root, r.dbtime, &refs[0], &wanted[0]));
    if (r.pgno_oe != 0) {
        TRY(latch_new(redo, r.pgno_oe, r.dbtime, &refs[1], &wanted[1]));
        TRY(latch_new(redo, r.pgno_ae, r.dbtime, &refs[2], &wanted[2]));
    }
    space__build_created(&r, wanted[0], wanted[1], wanted[2], r.dbtime);
out:
    finish(redo, refs, wanted);
    return err;
}

static err_t redo_convert(struct redo *redo, struct slice record)
{
    struct convert_record r;
    TRY_RETURN(convert_decode(record, &r));
    TRY_RETURN(dbfile_cover(redo->db, r.second_first + r.cpg_second - 1));
    struct page_ref refs[3] = {PAGE_REF_NONE, PAGE_REF_NONE, PAGE_REF_NONE};
    struct page wanted[3] = {{0}, {0}, {0}};
    bool needed = false;
    err_t err = JET_errSuccess;
    TRY(cache_latch(redo->db, r.root, LATCH_WRITE, CACHE_REDO, &refs[0]));
    if (!page_is_all_zero(refs[0].page))
        TRY(btree_redo_needed(redo, refs[0].page, r.dbtime, r.before, &needed));
    if (needed) {
        wanted[0] = refs[0].page;
        cache_mark_dirty(&refs[0], trx_begin_bound(redo->trx));
        (*redo->applied)++;
    } else {
        (*redo->skipped)++;
    }
    TRY(latch_new(redo, r.pgno_oe, r.dbtime, &refs[1], &wanted[1]));
    TRY(latch_new(redo, r.pgno_ae, r.dbtime, &refs[2], &wanted[2]));
    space__build_converted(&r, wanted[0], wanted[1], wanted[2], r.dbtime);
out:
    finish(redo, refs, wanted);
    return err;
}

err_t space_redo(struct redo *redo, struct slice record)
{
    if (record.n == 0)
        return RAISE(JET_errLogFileCorrupt);
    struct extend_record extend;
    switch (record.p[0]) {
    case LOG_CreateSingleExtentFDP:
    case LOG_CreateMultipleExtentFDP:
        return redo_create(redo, record);
    case LOG_ConvertFDP2:
        return redo_convert(redo, record);
    case LOG_ExtendDB:
        TRY_RETURN(extend_decode(record, &extend));
        return dbfile_cover(redo->db, extend.last);
    default: {
        err_t err = RAISE(JET_errLogFileCorrupt);
        err_detail("log record type %u (%s) is not one of space", record.p[0], log_type_name(record.p[0]));
        return err;
    }
    }
}
