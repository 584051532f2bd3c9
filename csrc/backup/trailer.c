#include "backup/backup_private.h"

enum { AT_INFO = 40, AT_SIGN_DB = 64, AT_SIGN_LOG = 92, TRAILER_USED = 148 };

void trailer__store(const struct trailer *t, uint8_t *page, uint32_t page_size)
{
    memset(page, 0, page_size);
    memcpy(page + AT_INFO, &t->info, sizeof t->info);
    memcpy(page + AT_SIGN_DB, t->sign_db.b, sizeof t->sign_db.b);
    memcpy(page + AT_SIGN_LOG, t->sign_log.b, sizeof t->sign_log.b);
    /* required range and its times stay zero: that is their form below format 0x620.160 */
    store_u32(page, checksum_xor(page, page_size));
}

err_t trailer__load(const uint8_t *page, uint32_t page_size, struct trailer *out)
{
    if (load_u32(page) != checksum_xor(page, page_size))
        return RAISE(JET_errBadPatchPage);
    memcpy(&out->info, page + AT_INFO, sizeof out->info);
    memcpy(out->sign_db.b, page + AT_SIGN_DB, sizeof out->sign_db.b);
    memcpy(out->sign_log.b, page + AT_SIGN_LOG, sizeof out->sign_log.b);
    return out->info.gen_low == 0 ? RAISE(JET_errBadPatchPage) : JET_errSuccess;
}
