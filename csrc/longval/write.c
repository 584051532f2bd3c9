/* Creating, writing and cutting values: only the chunks concerned are touched. */
#include "longval/longval_private.h"

err_t longval__set_size(struct value *v, uint32_t size)
{
    v->on_node = false;
    if (size == v->size)
        return btree_lock(&v->cursor, longval__root_key(v), SLICE_EMPTY);
    store_u32(v->root + 4, size);
    return btree_replace(&v->cursor, longval__root_key(v), SLICE(v->root, v->root_size),
                         BTREE_PLAIN);
}

static err_t insert_chunk(struct value *v, uint32_t offset, struct slice bytes)
{
    bool newest =
        v->lid_size == 4 &&
        load_be32(v->key) == atomic_load_explicit(&v->home->lid_last, memory_order_relaxed);
    return btree_insert(&v->cursor, longval__chunk_key(v, offset), bytes,
                        newest ? BTREE_APPEND : BTREE_PLAIN);
}

static err_t replace_chunk(struct value *v, uint32_t offset, struct slice bytes)
{
    err_t err = btree_replace(&v->cursor, longval__chunk_key(v, offset), bytes, BTREE_PLAIN);
    return err == JET_errRecordDeleted ? longval__damaged(v) : err;
}

/* One chunk: its first `keep` bytes, old ones, stay; then comes `bytes` at `at` in the chunk, then
 * what was behind it. */
static err_t build_chunk(struct value *v, uint32_t offset, uint32_t old, uint32_t at,
                         struct slice bytes)
{
    uint32_t end = at + bytes.n > old ? at + bytes.n : old;
    TRY_RETURN(buffer_reserve(&v->built, end));
    if (old != 0 && (at > 0 || at + bytes.n < old)) {
        struct slice was;
        TRY_RETURN(longval__chunk(v, offset, &was));
        memcpy(v->built.p, was.p, old);
    }
    if (bytes.p != NULL && bytes.n != 0)
        memcpy(v->built.p + at, bytes.p, bytes.n);
    else if (bytes.n != 0)
        memset(v->built.p + at, 0, bytes.n);
    v->built.n = end;
    return JET_errSuccess;
}

err_t longval__put(struct value *v, uint32_t had, uint32_t at, struct slice bytes)
{
    ASSERT(at <= had);
    v->size = had; /* what longval__chunk expects of the chunks that are there */
    while (bytes.n > 0) {
        uint32_t offset = at - at % v->chunk_size, in_chunk = at - offset;
        uint32_t room = v->chunk_size - in_chunk, n = bytes.n < room ? bytes.n : room;
        uint32_t old = longval__expected(v, had, offset);
        struct slice whole = SLICE(bytes.p, n);
        if (bytes.p == NULL || in_chunk != 0 || n < old) {
            TRY_RETURN(build_chunk(v, offset, old, in_chunk, SLICE(bytes.p, n)));
            whole = buffer_slice(&v->built);
        }
        v->on_node = false;
        TRY_RETURN(old != 0 ? replace_chunk(v, offset, whole) : insert_chunk(v, offset, whole));
        at += n;
        bytes.n -= n;
        if (bytes.p != NULL)
            bytes.p += n;
    }
    return JET_errSuccess;
}

err_t longval_create(struct longval_home *home, struct trx *trx, struct slice value, uint32_t *lid)
{
    err_t err = JET_errSuccess;
    struct value v = {0};
    *lid = 0;
    if (value.n > (uint32_t)JET_cbLVColumnMost)
        return RAISE(JET_errColumnTooBig);
    TRY(longval__new(home, trx, value.n, &v));
    TRY(longval__put(&v, 0, 0, value));
    *lid = load_be32(v.key);
out:
    longval__close(&v);
    return err;
}

/* Another's reference that we do not see yet makes btree refuse the root's change: a value that is
 * shared is never written in place. */
static err_t open_own(struct longval_home *home, struct trx *trx, struct longval_id id,
                      struct value *v)
{
    TRY_RETURN(longval__open(home, trx, id, v));
    return v->refs == 1 ? JET_errSuccess : RAISE(JET_errInvalidOperation);
}

err_t longval_write(struct longval_home *home, struct trx *trx, struct longval_id id,
                    uint32_t offset, struct slice bytes)
{
    err_t err = JET_errSuccess;
    struct value v = {0};
    TRY(open_own(home, trx, id, &v));
    uint32_t had = v.size;
    if (offset > had)
        FAIL(JET_errInvalidParameter);
    if (bytes.n > (uint32_t)JET_cbLVColumnMost - offset)
        FAIL(JET_errColumnTooBig);
    TRY(longval__set_size(&v, offset + bytes.n > had ? offset + bytes.n : had));
    TRY(longval__put(&v, had, offset, bytes));
out:
    longval__close(&v);
    return err;
}

static err_t delete_chunks(struct value *v, uint32_t from)
{
    for (uint64_t offset = from; offset < v->size; offset += v->chunk_size) {
        err_t err = btree_delete(&v->cursor, longval__chunk_key(v, (uint32_t)offset), SLICE_EMPTY,
                                 BTREE_PLAIN);
        if (err == JET_errRecordDeleted)
            return longval__damaged(v);
        TRY_RETURN(err);
    }
    return JET_errSuccess;
}

static err_t cut(struct value *v, uint32_t size)
{
    uint32_t offset = size - size % v->chunk_size;
    if (size != offset) {
        struct slice was;
        TRY_RETURN(longval__chunk(v, offset, &was));
        TRY_RETURN(buffer_set(&v->built, SLICE(was.p, size - offset)));
        v->on_node = false;
        TRY_RETURN(replace_chunk(v, offset, buffer_slice(&v->built)));
        offset += v->chunk_size;
    }
    return delete_chunks(v, offset);
}

err_t longval_resize(struct longval_home *home, struct trx *trx, struct longval_id id,
                     uint32_t size)
{
    err_t err = JET_errSuccess;
    struct value v = {0};
    TRY(open_own(home, trx, id, &v));
    uint32_t had = v.size;
    if (size > (uint32_t)JET_cbLVColumnMost)
        FAIL(JET_errColumnTooBig);
    TRY(longval__set_size(&v, size));
    if (size < had)
        TRY(cut(&v, size));
    else
        TRY(longval__put(&v, had, had, (struct slice){NULL, size - had}));
out:
    longval__close(&v);
    return err;
}

static err_t copy_chunks(struct value *from, struct value *to, uint32_t size)
{
    for (uint64_t offset = 0; offset < size; offset += from->chunk_size) {
        struct slice bytes;
        uint32_t had = (uint32_t)offset;
        TRY_RETURN(longval__chunk(from, had, &bytes));
        if (bytes.n > size - had)
            bytes.n = size - had;
        TRY_RETURN(longval__put(to, had, had, bytes));
    }
    return JET_errSuccess;
}

err_t longval_copy(struct longval_home *home, struct trx *trx, struct longval_id id, uint32_t keep,
                   uint32_t *lid)
{
    err_t err = JET_errSuccess;
    struct value from = {0}, to = {0};
    *lid = 0;
    TRY(longval__open(home, trx, id, &from));
    uint32_t size = keep < from.size ? keep : from.size;
    TRY(longval__new(home, trx, size, &to));
    TRY(copy_chunks(&from, &to, size));
    *lid = load_be32(to.key);
out:
    longval__close(&from);
    longval__close(&to);
    return err;
}

/* ---- references ---- */

err_t longval_add_ref(struct longval_home *home, struct trx *trx, struct longval_id id)
{
    err_t err = JET_errSuccess;
    struct value v = {0};
    TRY(longval__open(home, trx, id, &v));
    TRY(btree_delta(&v.cursor, longval__root_key(&v), 0, 1, NULL));
out:
    longval__close(&v);
    return err;
}

/* Who takes a reference away locks the root: an addition that he does not see is a write conflict,
 * so the count that he read is the true one, and a value is deleted when, and only when, nobody
 * refers to it. */
err_t longval_release(struct longval_home *home, struct trx *trx, struct longval_id id)
{
    err_t err = JET_errSuccess;
    struct value v = {0};
    TRY(longval__open(home, trx, id, &v));
    if (v.refs > 1) {
        TRY(btree_lock(&v.cursor, longval__root_key(&v), SLICE_EMPTY));
        TRY(btree_delta(&v.cursor, longval__root_key(&v), 0, -1, NULL));
    } else {
        TRY(btree_delete(&v.cursor, longval__root_key(&v), SLICE_EMPTY, BTREE_PLAIN));
        TRY(delete_chunks(&v, 0));
    }
out:
    longval__close(&v);
    return err;
}

err_t longval_unshare(struct longval_home *home, struct trx *trx, struct longval_id id,
                      uint32_t *lid)
{
    uint32_t refs, size;
    *lid = (uint32_t)id.lid;
    TRY_RETURN(longval_size(home, trx, id, &size, &refs));
    if (refs == 1 && !id.lid64)
        return JET_errSuccess;
    TRY_RETURN(longval_copy(home, trx, id, UINT32_MAX, lid));
    return longval_release(home, trx, id);
}
