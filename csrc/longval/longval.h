/* longval: values too big for a record: a tree of chunks with reference counts (edb-format.md 11,
 * 12). LID32, update 20; nodes in the table's LV tree: LID (4 BE) -> {refcount, size}; LID+offset
 * -> chunk. */
#ifndef LONGVAL_LONGVAL_H
#define LONGVAL_LONGVAL_H

#include "record/record.h"
#include "txn/txn.h"

/* Socket longval_home (longval <- catalog): the table's LV tree, made on demand. *tree stays owned
 * by the home. */
struct longval_home {
    void *context;
    MUST_CHECK err_t (*tree)(void *context, struct trx *trx, bool create,
                             struct btree **tree); /* not there, not create: *tree = NULL */
    uint32_t chunk_size;                           /* of this table */
    _Atomic uint32_t lid_last;                     /* 0 = not known yet: read from the tree */
};

struct longval_id {
    uint64_t lid;
    bool lid64;
};
/* From a record's separated value (4 or 8 bytes LE). JET_errDatabaseCorrupted for other sizes. */
MUST_CHECK err_t longval_id_from_record(struct slice reference, struct longval_id *out);

MUST_CHECK err_t longval_create(struct longval_home *home, struct trx *trx, struct slice value,
                                uint32_t *lid);
MUST_CHECK err_t longval_size(struct longval_home *home, struct trx *trx, struct longval_id id,
                              uint32_t *size, uint32_t *refs);
/* Up to n bytes from offset; *got = bytes copied. */
MUST_CHECK err_t longval_read(struct longval_home *home, struct trx *trx, struct longval_id id,
                              uint32_t offset, void *to, uint32_t n, uint32_t *got);
/* The same, and the size of the whole value. */
MUST_CHECK err_t longval_fetch(struct longval_home *home, struct trx *trx, struct longval_id id,
                               uint32_t offset, void *to, uint32_t n, uint32_t *got,
                               uint32_t *size);
/* Overwrite or append at offset (<= size); grows the value. The value must have one reference
 * (longval_unshare first). */
MUST_CHECK err_t longval_write(struct longval_home *home, struct trx *trx, struct longval_id id,
                               uint32_t offset, struct slice bytes);
MUST_CHECK err_t longval_resize(struct longval_home *home, struct trx *trx, struct longval_id id,
                                uint32_t size); /* zero-filled growth */
MUST_CHECK err_t longval_add_ref(struct longval_home *home, struct trx *trx, struct longval_id id);
/* Drops one reference; the last one deletes the value. */
MUST_CHECK err_t longval_release(struct longval_home *home, struct trx *trx, struct longval_id id);
/* A new value with the first `keep` bytes (UINT32_MAX: all) and one reference; the old one is left
 * alone. */
MUST_CHECK err_t longval_copy(struct longval_home *home, struct trx *trx, struct longval_id id,
                              uint32_t keep, uint32_t *lid);
/* A private copy when others refer to it too: *lid is the same or a new one (whose reference
 * replaces ours). */
MUST_CHECK err_t longval_unshare(struct longval_home *home, struct trx *trx, struct longval_id id,
                                 uint32_t *lid);
uint32_t longval_chunk_size(uint32_t page_size);

#endif
