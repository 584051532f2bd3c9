/* Reading a value, from any offset. */
#include "longval/longval_private.h"

err_t longval_size(struct longval_home *home, struct trx *trx, struct longval_id id, uint32_t *size,
                   uint32_t *refs)
{
    struct value v = {0};
    *size = 0;
    *refs = 0;
    err_t err = longval__open(home, trx, id, &v);
    if (err >= 0) {
        *size = v.size;
        *refs = v.refs;
    }
    longval__close(&v);
    return err;
}

err_t longval_fetch(struct longval_home *home, struct trx *trx, struct longval_id id,
                    uint32_t offset, void *to, uint32_t n, uint32_t *got, uint32_t *size)
{
    err_t err = JET_errSuccess;
    struct value v = {0};
    uint32_t done = 0;
    *got = *size = 0;
    TRY(longval__open(home, trx, id, &v));
    *size = v.size;
    if (offset >= v.size)
        goto out;
    if (n > v.size - offset)
        n = v.size - offset;
    while (done < n) {
        uint32_t at = offset + done, chunk = at - at % v.chunk_size;
        struct slice bytes;
        TRY(longval__chunk(&v, chunk, &bytes));
        uint32_t part = bytes.n - (at - chunk);
        part = part < n - done ? part : n - done;
        memcpy((uint8_t *)to + done, bytes.p + (at - chunk), part);
        done += part;
    }
    *got = done;
out:
    longval__close(&v);
    return err;
}

err_t longval_read(struct longval_home *home, struct trx *trx, struct longval_id id,
                   uint32_t offset, void *to, uint32_t n, uint32_t *got)
{
    uint32_t size;
    return longval_fetch(home, trx, id, offset, to, n, got, &size);
}
