#include "space/space_format.h"

static unsigned head_flags(bool unique)
{
    return unique ? LOG_FLAG_UNIQUE : 0;
}

void create_single_encode(const struct trx *trx, const struct create_record *r, uint8_t to[CREATE_SINGLE_SIZE])
{
    trx_stamp_page_head(trx, to, LOG_CreateSingleExtentFDP, r->dbid, r->root, DBTIME_NIL, 0, head_flags(r->unique));
    store_u32(to + 32, r->objid);
    store_u32(to + 36, r->parent);
    store_u32(to + 40, r->cpg_primary);
    store_u32(to + 44, r->page_flags);
}

void create_multiple_encode(const struct trx *trx, const struct create_record *r, uint8_t to[CREATE_MULTIPLE_SIZE])
{
    trx_stamp_page_head(trx, to, LOG_CreateMultipleExtentFDP, r->dbid, r->root, DBTIME_NIL, 0, head_flags(r->unique));
    store_u32(to + 32, r->objid);
    store_u32(to + 36, r->pgno_oe);
    store_u32(to + 40, r->pgno_ae);
    store_u32(to + 44, r->parent);
    store_u32(to + 48, r->cpg_primary);
    store_u32(to + 52, r->page_flags);
}

void convert_encode(const struct trx *trx, const struct convert_record *r, uint8_t to[CONVERT_SIZE])
{
    trx_stamp_page_head(trx, to, LOG_ConvertFDP2, r->dbid, r->root, r->before, 0, head_flags(r->unique));
    store_u32(to + 32, r->objid);
    store_u32(to + 36, r->pgno_oe);
    store_u32(to + 40, r->pgno_ae);
    store_u32(to + 44, r->parent);
    store_u32(to + 48, r->second_first);
    store_u32(to + 52, r->cpg_primary);
    store_u32(to + 56, r->cpg_second);
    store_u32(to + 60, r->avail_bits);
    store_u32(to + 64, r->page_flags);
}

void extend_encode(const struct extend_record *r, uint8_t to[EXTEND_SIZE])
{
    to[0] = LOG_ExtendDB;
    store_u32(to + 1, EXTEND_SIZE - 5);
    to[5] = r->dbid;
    store_u32(to + 6, r->last);
}

static err_t bad_record(const char *what)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("a log record (%s) makes no sense", what);
    return err;
}

static bool plausible_tree(pgno_t root, uint32_t cpg)
{
    return root != PGNO_NIL && root < UINT32_MAX / 4 && cpg > 0 && cpg < UINT32_MAX / 4;
}

err_t create_decode(struct slice record, struct create_record *out)
{
    bool single = record.n == CREATE_SINGLE_SIZE && record.p[0] == LOG_CreateSingleExtentFDP;
    if (!single && !(record.n == CREATE_MULTIPLE_SIZE && record.p[0] == LOG_CreateMultipleExtentFDP))
        return bad_record("create tree");
    const uint8_t *p = record.p;
    *out = (struct create_record){
        .dbid = p[3],
        .root = load_u32(p + 4),
        .dbtime = load_u64(p + 8),
        .unique = (p[31] & LOG_FLAG_UNIQUE) != 0,
        .objid = load_u32(p + 32),
        .pgno_oe = single ? 0 : load_u32(p + 36),
        .pgno_ae = single ? 0 : load_u32(p + 40),
        .parent = load_u32(p + (single ? 36 : 44)),
        .cpg_primary = load_u32(p + (single ? 40 : 48)),
        .page_flags = load_u32(p + (single ? 44 : 52)),
    };
    if (!plausible_tree(out->root, out->cpg_primary))
        return bad_record("create tree");
    if (!single && (out->pgno_oe == 0 || out->pgno_ae != out->pgno_oe + 1 || out->cpg_primary < 3))
        return bad_record("create tree");
    return JET_errSuccess;
}

err_t convert_decode(struct slice record, struct convert_record *out)
{
    if (record.n != CONVERT_SIZE || record.p[0] != LOG_ConvertFDP2)
        return bad_record("convert tree");
    const uint8_t *p = record.p;
    *out = (struct convert_record){
        .dbid = p[3],
        .root = load_u32(p + 4),
        .dbtime = load_u64(p + 8),
        .before = load_u64(p + 16),
        .unique = (p[31] & LOG_FLAG_UNIQUE) != 0,
        .objid = load_u32(p + 32),
        .pgno_oe = load_u32(p + 36),
        .pgno_ae = load_u32(p + 40),
        .parent = load_u32(p + 44),
        .second_first = load_u32(p + 48),
        .cpg_primary = load_u32(p + 52),
        .cpg_second = load_u32(p + 56),
        .avail_bits = load_u32(p + 60),
        .page_flags = load_u32(p + 64),
    };
    if (!plausible_tree(out->root, out->cpg_primary) || !plausible_tree(out->pgno_oe, out->cpg_second) ||
        out->pgno_ae != out->pgno_oe + 1 || out->second_first != out->pgno_oe || out->cpg_second < 2)
        return bad_record("convert tree");
    return JET_errSuccess;
}

err_t extend_decode(struct slice record, struct extend_record *out)
{
    if (record.n < EXTEND_SIZE || record.p[0] != LOG_ExtendDB)
        return bad_record("extend database");
    *out = (struct extend_record){.dbid = record.p[5], .last = load_u32(record.p + 6)};
    if (out->last == 0 || out->last > UINT32_MAX / 4)
        return bad_record("extend database");
    return JET_errSuccess;
}
