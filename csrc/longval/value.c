/* One value: its keys, its root, finding its chunks. */
#include "longval/longval_private.h"

uint32_t longval_chunk_size(uint32_t page_size)
{
    if (page_size <= 8192)
        return page_size - 82;
    return page_size == 16384 ? 4050 : 8150;
}

err_t longval_id_from_record(struct slice reference, struct longval_id *out)
{
    *out = (struct longval_id){0};
    if (reference.n == 4) {
        out->lid = load_u32(reference.p);
        return JET_errSuccess;
    }
    if (reference.n != 8)
        return RAISE(JET_errDatabaseCorrupted);
    out->lid = load_u64(reference.p);
    out->lid64 = true;
    return JET_errSuccess;
}

struct slice longval__root_key(const struct value *v)
{
    return SLICE(v->key, v->lid_size);
}

struct slice longval__chunk_key(struct value *v, uint32_t offset)
{
    store_be32(v->key + v->lid_size, offset);
    return SLICE(v->key, v->lid_size + 4);
}

err_t longval__damaged(const struct value *v)
{
    err_t err;
    bool may_change = v->tree != NULL && !v->tree->db->read_only; /* outside of a transaction others delete values meanwhile */
    if (may_change && (v->trx == NULL || v->trx->level == 0))
        return RAISE(JET_errRecordDeleted);
    err = RAISE(JET_errLVCorrupted);
    err_detail("long value %llx of the tree with root %u",
               (unsigned long long)(v->lid_size == 8 ? load_be64(v->key) : load_be32(v->key)),
               v->tree == NULL ? 0 : v->tree->root);
    return err;
}

static void prepare(struct value *v, struct longval_home *home, struct trx *trx,
                    struct longval_id id)
{
    *v = (struct value){.home = home, .trx = trx, .lid_size = id.lid64 ? 8 : 4};
    if (id.lid64)
        store_be64(v->key, id.lid);
    else
        store_be32(v->key, (uint32_t)id.lid);
}

static err_t attach(struct value *v, bool create)
{
    TRY_RETURN(v->home->tree(v->home->context, v->trx, create, &v->tree));
    if (v->tree == NULL)
        return longval__damaged(v);
    btree_cursor_init(&v->cursor, v->tree, v->trx);
    v->chunk_size =
        v->home->chunk_size != 0 ? v->home->chunk_size : longval_chunk_size(v->tree->db->page_size);
    return JET_errSuccess;
}

static err_t read_root(struct value *v)
{
    struct slice data = v->cursor.data;
    if (data.n != LONGVAL_ROOT_SIZE && data.n != LONGVAL_ROOT_SIZE_FLAGS)
        return longval__damaged(v);
    memcpy(v->root, data.p, data.n);
    v->root_size = data.n;
    v->refs = load_u32(v->root);
    v->size = load_u32(v->root + 4);
    if (v->size > (uint32_t)JET_cbLVColumnMost)
        return longval__damaged(v);
    if (data.n == LONGVAL_ROOT_SIZE_FLAGS && (v->root[8] & LONGVAL_ENCRYPTED) != 0)
        return RAISE(JET_errColumnNoEncryptionKey);
    return JET_errSuccess;
}

err_t longval__open(struct longval_home *home, struct trx *trx, struct longval_id id,
                    struct value *v)
{
    bool exact;
    prepare(v, home, trx, id);
    TRY_RETURN(attach(v, false));
    err_t err = btree_seek(&v->cursor, longval__root_key(v), SLICE_EMPTY, false, SEEK_EQ, &exact);
    if (err == JET_errRecordNotFound)
        return longval__damaged(v);
    TRY_RETURN(err);
    v->on_node = true;
    return read_root(v);
}

void longval__close(struct value *v)
{
    if (v->tree != NULL)
        btree_cursor_term(&v->cursor);
    buffer_free(&v->plain);
    buffer_free(&v->built);
}

/* ---- new LIDs ---- */

/* The largest LID32 of the tree that is committed. LID64s stand behind all of them. */
static err_t read_last_lid(struct btree *tree, uint32_t *lid)
{
    static const uint8_t lid64_first[1] = {0x80};
    struct btree_cursor cursor;
    bool exact;
    *lid = 0;
    btree_cursor_init(&cursor, tree, NULL);
    err_t err = btree_seek(&cursor, SLICE(lid64_first, 1), SLICE_EMPTY, false, SEEK_LT, &exact);
    if (err >= 0 && cursor.key.n >= 4)
        *lid = load_be32(cursor.key.p);
    else if (err >= 0)
        err = RAISE(JET_errLVCorrupted);
    btree_cursor_term(&cursor);
    return err == JET_errRecordNotFound ? JET_errSuccess : err;
}

static err_t next_lid(struct longval_home *home, struct btree *tree, uint32_t *lid)
{
    uint32_t now = atomic_load(&home->lid_last), base = now;
    if (now == 0)
        TRY_RETURN(read_last_lid(tree, &base));
    do {
        if (now != 0)
            base = now;
        if (base + 1 >= LONGVAL_LID_LIMIT)
            return RAISE(JET_errOutOfLongValueIDs);
    } while (!atomic_compare_exchange_weak(&home->lid_last, &now, base + 1));
    *lid = base + 1;
    return JET_errSuccess;
}

/* A LID that somebody used and has not committed, or whose value is deleted and not cleaned up yet,
 * is passed over: the counter starts from what is committed. */
#define LID_TRIES 4096

err_t longval__new(struct longval_home *home, struct trx *trx, uint32_t size, struct value *v)
{
    err_t err = JET_errSuccess;
    prepare(v, home, trx, (struct longval_id){0});
    TRY_RETURN(attach(v, true));
    v->refs = 1;
    store_u32(v->root, 1);
    store_u32(v->root + 4, size);
    v->root_size = LONGVAL_ROOT_SIZE;
    for (int i = 0; i < LID_TRIES; i++) {
        uint32_t lid = 0;
        TRY_RETURN(next_lid(home, v->tree, &lid));
        store_be32(v->key, lid);
        err = btree_insert(&v->cursor, longval__root_key(v), SLICE(v->root, v->root_size),
                           BTREE_APPEND);
        if (err != JET_errKeyDuplicate && err != JET_errWriteConflict)
            break;
    }
    return err;
}

/* ---- chunks ---- */

static err_t find_chunk(struct value *v, uint32_t offset)
{
    bool exact, near = v->on_node && v->next == offset;
    struct slice key = longval__chunk_key(v, offset);
    v->on_node = false;
    if (near) {
        err_t err = btree_next(&v->cursor);
        if (err >= 0 && slice_equal(buffer_slice(&v->cursor.key), key))
            return err;
        if (err < 0 && err != JET_errNoCurrentRecord)
            return err;
    }
    return btree_seek(&v->cursor, key, SLICE_EMPTY, false, SEEK_EQ, &exact);
}

err_t longval__chunk(struct value *v, uint32_t offset, struct slice *bytes)
{
    uint32_t expected = longval__expected(v, v->size, offset);
    err_t err = find_chunk(v, offset);
    if (err == JET_errRecordNotFound)
        return longval__damaged(v);
    TRY_RETURN(err);
    *bytes = v->cursor.data;
    if (bytes->n < expected) { /* compressed: there is no other sign of it */
        v->plain.n = 0;
        TRY_RETURN(record_decompress(*bytes, &v->plain));
        *bytes = buffer_slice(&v->plain);
    }
    if (bytes->n != expected)
        return longval__damaged(v);
    v->on_node = true;
    v->next = offset + v->chunk_size;
    return JET_errSuccess;
}
