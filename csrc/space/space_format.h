/* What space writes into the log: CreateSingleExtentFDP, CreateMultipleExtentFDP, ConvertFDP2, ExtendDB (log-format.md 6.5, 6.8). */
#ifndef SPACE_SPACE_FORMAT_H
#define SPACE_SPACE_FORMAT_H

#include "btree/btree.h"

#define CREATE_SINGLE_SIZE 48u
#define CREATE_MULTIPLE_SIZE 56u
#define CONVERT_SIZE 68u
#define EXTEND_SIZE 10u

struct create_record { /* single: pgno_oe and pgno_ae are 0 */
    dbid_t dbid;
    pgno_t root, pgno_oe, pgno_ae, parent;
    objid_t objid;
    uint32_t cpg_primary, page_flags;
    bool unique;
    dbtime_t dbtime;
};
struct convert_record {
    dbid_t dbid;
    pgno_t root, pgno_oe, pgno_ae, parent, second_first;
    objid_t objid;
    uint32_t cpg_primary, cpg_second, avail_bits, page_flags;
    bool unique;
    dbtime_t dbtime, before;
};
struct extend_record {
    dbid_t dbid;
    pgno_t last;
};

void create_single_encode(const struct trx *trx, const struct create_record *r, uint8_t to[CREATE_SINGLE_SIZE]);
void create_multiple_encode(const struct trx *trx, const struct create_record *r, uint8_t to[CREATE_MULTIPLE_SIZE]);
void convert_encode(const struct trx *trx, const struct convert_record *r, uint8_t to[CONVERT_SIZE]);
void extend_encode(const struct extend_record *r, uint8_t to[EXTEND_SIZE]);
/* JET_errLogFileCorrupt when the bytes are no such record. */
MUST_CHECK err_t create_decode(struct slice record, struct create_record *out);
MUST_CHECK err_t convert_decode(struct slice record, struct convert_record *out);
MUST_CHECK err_t extend_decode(struct slice record, struct extend_record *out);

#endif
