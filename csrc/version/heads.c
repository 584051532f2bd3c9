/* The heads that every page and node record begins with (log-format.md 6.2). */
#include "version/version_private.h"

void trx_stamp_page_head(const struct trx *trx, uint8_t head[LOG_PAGE_HEAD], unsigned type,
                         dbid_t dbid, pgno_t pgno, dbtime_t dbtime_before, int line, unsigned flags)
{
    head[0] = (uint8_t)type;
    store_u16(head + 1, trx->procid);
    head[3] = dbid;
    store_u32(head + 4, pgno);
    store_u64(head + 8, 0);
    store_u64(head + 16, dbtime_before);
    store_u32(head + 24, (uint32_t)trx->begin_number);
    head[28] = trx->level;
    store_u16(head + 29, (uint16_t)line);
    head[31] = (uint8_t)flags;
}

void log_node_head(uint8_t head[LOG_NODE_HEAD], uint32_t rceid, pgno_t root, objid_t objid)
{
    store_u32(head + 32, rceid);
    store_u32(head + 36, root);
    store_u32(head + 40, objid);
}
