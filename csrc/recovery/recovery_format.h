/* What an instance writes about itself and its databases (log-format.md 6.4, 6.5): encoded by whoever runs it (engine,
 * recovery's own end), decoded by redo. */
#ifndef RECOVERY_RECOVERY_FORMAT_H
#define RECOVERY_RECOVERY_FORMAT_H

#include "catalog/catalog.h"

struct create_db_record {
    uint16_t procid;
    dbid_t dbid;
    uint32_t grbit;
    uint32_t cpg_max;
    struct signature sign_db;
    uint8_t flags;
    char path[1040]; /* UTF-8 */
};
struct attach_db_record {
    uint16_t procid;
    dbid_t dbid;
    uint32_t cpg_max;
    lgpos_t lgpos_consistent;
    struct signature sign_db, sign_log;
    uint8_t flags;
    char path[1040];
};
struct detach_db_record {
    uint16_t procid;
    dbid_t dbid;
    uint8_t flags;
    char path[1040];
};
/* JET_errLogFileCorrupt when the bytes are no such record. */
MUST_CHECK err_t create_db_decode(struct slice record, struct create_db_record *out);
MUST_CHECK err_t attach_db_decode(struct slice record, struct attach_db_record *out);
MUST_CHECK err_t detach_db_decode(struct slice record, struct detach_db_record *out);

#endif
