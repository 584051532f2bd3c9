#include "api/api_private.h"

/* Memory of one batch of rows: pieces stay where they are until the next batch. */

#define CHUNK_LEAST 65536u

struct arena_chunk {
    struct arena_chunk *next;
    uint32_t used, room;
    _Alignas(8) uint8_t bytes[];
};

err_t arena_take(struct arena *a, uint32_t n, void **out)
{
    *out = NULL;
    if (n > UINT32_MAX - 64)
        return RAISE(JET_errOutOfMemory);
    n = (n + 7) & ~7u;
    struct arena_chunk *c = a->chunks;
    if (c == NULL || c->room - c->used < n) {
        uint32_t room = n > CHUNK_LEAST ? n : CHUNK_LEAST;
        c = malloc(sizeof *c + room);
        if (c == NULL)
            return RAISE(JET_errOutOfMemory);
        *c = (struct arena_chunk){.next = a->chunks, .room = room};
        a->chunks = c;
    }
    *out = c->bytes + c->used;
    c->used += n;
    return JET_errSuccess;
}

static void free_from(struct arena_chunk *c)
{
    while (c != NULL) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->chunks == NULL)
        return;
    free_from(a->chunks->next);
    a->chunks->next = NULL;
    a->chunks->used = 0;
    if (a->chunks->room > 16 * CHUNK_LEAST)
        arena_free(a);
}

void arena_free(struct arena *a)
{
    free_from(a->chunks);
    a->chunks = NULL;
}
