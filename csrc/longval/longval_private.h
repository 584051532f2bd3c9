/* longval, inside the room: one value that is being worked on. */
#ifndef LONGVAL_LONGVAL_PRIVATE_H
#define LONGVAL_LONGVAL_PRIVATE_H

#include "longval/longval.h"

#define LONGVAL_ROOT_SIZE 8u       /* refs, size */
#define LONGVAL_ROOT_SIZE_FLAGS 9u /* the same and a flag byte, of newer engines */
#define LONGVAL_ENCRYPTED 1u
#define LONGVAL_LID_LIMIT 0x7FFFFF00u /* LIDs are below it */
#define LONGVAL_KEY_MOST 12u

/* A value and the cursor that walks over its nodes. */
struct value {
    struct longval_home *home;
    struct trx *trx;
    struct btree *tree;
    struct btree_cursor cursor;
    uint8_t key[LONGVAL_KEY_MOST]; /* LID, big-endian; room for a chunk's offset behind it */
    uint32_t lid_size;             /* 4 or 8 */
    uint32_t chunk_size;
    uint32_t refs, size; /* as the root node says */
    uint8_t root[LONGVAL_ROOT_SIZE_FLAGS];
    uint32_t root_size;
    bool on_node; /* the cursor stands on the node before chunk `next` */
    uint32_t next;
    struct buffer plain; /* a decompressed chunk */
    struct buffer built; /* a chunk being put together */
};
/* Without the tree or the root: JET_errLVCorrupted, or JET_errRecordDeleted to a reader without a
 * snapshot: the record that led here may be gone by now. To be closed in any case. */
MUST_CHECK err_t longval__open(struct longval_home *home, struct trx *trx, struct longval_id id,
                               struct value *v);
void longval__close(struct value *v);
/* The root of a new value of that size with one reference; its chunks are still to be put. */
MUST_CHECK err_t longval__new(struct longval_home *home, struct trx *trx, uint32_t size,
                              struct value *v);

struct slice longval__root_key(const struct value *v);
struct slice longval__chunk_key(struct value *v, uint32_t offset);
err_t longval__damaged(const struct value *v);
/* Bytes of the chunk at offset if the value has `size` bytes. */
static inline uint32_t longval__expected(const struct value *v, uint32_t size, uint32_t offset)
{
    if (offset >= size)
        return 0;
    return size - offset < v->chunk_size ? size - offset : v->chunk_size;
}
/* The plain bytes of the chunk at offset (a multiple of the chunk size); they live until the next
 * call. */
MUST_CHECK err_t longval__chunk(struct value *v, uint32_t offset, struct slice *bytes);
/* Writes the root with this size; without a change it only takes the root's write lock. */
MUST_CHECK err_t longval__set_size(struct value *v, uint32_t size);
/* Puts bytes (p NULL: zeros) at `at`, which is at most had; `had` is the size that the chunks have
 * so far. */
MUST_CHECK err_t longval__put(struct value *v, uint32_t had, uint32_t at, struct slice bytes);

#endif
