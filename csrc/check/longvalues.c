/* Long values: each whole, each with as many references as records hold. */
#include "check/check_private.h"

/* ---- references by LID: open addressing; LID 0 does not occur ---- */

struct lid_entry {
    uint64_t lid;
    uint32_t refs;
    bool taken;
};
struct lid_map {
    struct lid_entry *entries;
    uint64_t room, count; /* room: a power of two */
};

err_t lid_map__create(struct lid_map **out)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
}

void lid_map__destroy(struct lid_map *map)
{
    if (map != NULL)
        free(map->entries);
    free(map);
}

/* The entry of a LID, or the free one where it belongs. */
static struct lid_entry *find(const struct lid_map *map, uint64_t lid)
{
    uint64_t at = hash_u64(lid) & (map->room - 1);
    while (map->entries[at].lid != 0 && map->entries[at].lid != lid)
        at = (at + 1) & (map->room - 1);
    return &map->entries[at];
}

static err_t grow(struct lid_map *map)
{
    struct lid_map bigger = {.room = map->room == 0 ? 64 : 2 * map->room, .count = map->count};
    bigger.entries = calloc(bigger.room, sizeof *bigger.entries);
    if (bigger.entries == NULL)
        return RAISE(JET_errOutOfMemory);
    for (uint64_t i = 0; i < map->room; i++)
        if (map->entries[i].lid != 0)
            *find(&bigger, map->entries[i].lid) = map->entries[i];
    free(map->entries);
    *map = bigger;
    return JET_errSuccess;
}

err_t lid_map__add(struct lid_map *map, uint64_t lid)
{
    if (lid == 0) {
        err_t err = RAISE(JET_errDatabaseCorrupted);
        err_detail("a reference to long value 0");
        return err;
    }
    if (4 * (map->count + 1) > 3 * map->room)
        TRY_RETURN(grow(map));
    struct lid_entry *e = find(map, lid);
    map->count += e->lid == 0;
    e->lid = lid;
    e->refs++;
    return JET_errSuccess;
}

uint32_t lid_map__take(struct lid_map *map, uint64_t lid)
{
    if (map->room == 0 || lid == 0)
        return 0;
    struct lid_entry *e = find(map, lid);
    if (e->lid == 0)
        return 0;
    e->taken = true;
    return e->refs;
}

err_t lid_map__visit_rest(const struct lid_map *map, err_t (*fn)(void *context, uint64_t lid),
                          void *context)
{
    for (uint64_t i = 0; i < map->room; i++)
        if (map->entries[i].lid != 0 && !map->entries[i].taken)
            TRY_RETURN(fn(context, map->entries[i].lid));
    return JET_errSuccess;
}

/* ---- the tree ---- */

#define REFS_DELETED UINT32_MAX /* being deleted: its chunks may be gone */
#define CHUNK_FLAG_ENCRYPTED 1u

struct values {
    struct table_check *t;
    uint64_t lid;      /* the value whose chunks come; 0: none */
    uint32_t size, at; /* at: what its chunks have so far */
    bool open;         /* its chunks are followed */
    bool encrypted;
};

static err_t tell(struct values *v, pgno_t pgno, uint64_t lid, const char *what)
{
    return check__tell(v->t->c, v->t->longval, CHECK_LONGVALUE, pgno, "long value %llu: %s",
                       (unsigned long long)lid, what);
}

static err_t end_value(struct values *v)
{
    bool short_of = v->open && v->at != v->size;
    v->open = false;
    return short_of ? check__tell(v->t->c, v->t->longval, CHECK_LONGVALUE, PGNO_NIL,
                                  "long value %llu: %u of its %u bytes are there",
                                  (unsigned long long)v->lid, v->at, v->size)
                    : JET_errSuccess;
}

static err_t see_root(struct values *v, pgno_t pgno, uint64_t lid, struct slice data)
{
    struct table_check *t = v->t;
    TRY_RETURN(end_value(v));
    v->lid = lid;
    t->c->sum->long_values++;
    if (data.n < 8)
        return tell(v, pgno, lid, "its root is too short");
    uint32_t refs = load_u32(data.p), held = lid_map__take(t->lids, lid);
    v->size = load_u32(data.p + 4);
    v->at = 0;
    v->encrypted = data.n > 8 && (data.p[8] & CHUNK_FLAG_ENCRYPTED) != 0;
    v->open = refs != REFS_DELETED;
    bool known = t->desc != NULL && !t->tree->damaged && t->c->options->records;
    if (!known || refs == REFS_DELETED || refs == held)
        return JET_errSuccess;
    bool note = t->deleted_columns && refs > held;
    return check__tell(t->c, t->longval, note ? CHECK_NOTE : CHECK_LONGVALUE, pgno,
                       "long value %llu: %u references counted, records hold %u",
                       (unsigned long long)lid, refs, held);
}

static err_t see_chunk(struct values *v, pgno_t pgno, uint64_t lid, uint32_t offset,
                       struct slice data)
{
    struct table_check *t = v->t;
    if (lid != v->lid)
        return tell(v, pgno, lid, "a chunk without a root");
    if (!v->open || t->desc == NULL)
        return JET_errSuccess;
    if (offset != v->at || offset >= v->size) {
        v->open = false;
        return check__tell(t->c, t->longval, CHECK_LONGVALUE, pgno,
                           "long value %llu: a chunk at byte %u, expected at %u of %u",
                           (unsigned long long)lid, offset, v->at, v->size);
    }
    uint32_t rest = v->size - offset, chunk = t->desc->longval.chunk_size,
             expected = rest < chunk ? rest : chunk, n = data.n;
    v->at += expected;
    if (v->encrypted)
        return JET_errSuccess;
    if (n < expected) { /* what is shorter than it must be is compressed */
        err_t err = record_decompress(data, &t->plain);
        if (err == JET_errFeatureNotAvailable)
            return JET_errSuccess;
        if (err < 0)
            return check__survive(t->c, t->longval, CHECK_LONGVALUE, pgno,
                                  "a chunk cannot be decompressed", err);
        n = t->plain.n;
    }
    return n == expected ? JET_errSuccess : tell(v, pgno, lid, "a chunk has the wrong size");
}

static err_t see_node(void *context, pgno_t pgno, struct slice key, struct slice data)
{
    struct values *v = context;
    bool wide = key.n > 0 && (key.p[0] & 0x80) != 0;
    uint32_t width = wide ? 8 : 4;
    char hex[CHECK_HEX_ROOM];
    if (key.n != width && key.n != width + 4)
        return check__tell(v->t->c, v->t->longval, CHECK_LONGVALUE, pgno,
                           "the key %s is of no long value", check__hex(key, hex));
    uint64_t lid = wide ? load_be64(key.p) : load_be32(key.p);
    return key.n == width ? see_root(v, pgno, lid, data)
                          : see_chunk(v, pgno, lid, load_be32(key.p + width), data);
}

static err_t tell_missing(void *context, uint64_t lid)
{
    struct table_check *t = context;
    return check__tell(t->c, t->tree, CHECK_LONGVALUE, PGNO_NIL,
                       "a record refers to long value %llu, which does not exist",
                       (unsigned long long)lid);
}

err_t check__long_values(struct table_check *t)
{
    if (t->longval != NULL) {
        struct values v = {.t = t};
        struct check_walk_want want = {.tree = t->longval,
                                       .root = t->longval->root,
                                       .hold = HOLD_TREE,
                                       .fn = see_node,
                                       .context = &v};
        TRY_RETURN(check__walk(t->c, &want));
        TRY_RETURN(end_value(&v));
        TRY_RETURN(check__space(t->c, t->longval));
        if (t->longval->damaged)
            return JET_errSuccess; /* what is missing lies in what could not be read */
    }
    return lid_map__visit_rest(t->lids, tell_missing, t);
}
