#include "api/api_private.h"

/* The handle table. A slot's state word: generation 24 | kind 8 | use 32. use counts pins, or says that one call has the
 * handle for itself. Everything is lock-free, so that a fork in the middle of another thread's call leaves no lock taken. */

#define CHUNK_BITS 10u
#define CHUNK_SLOTS (1u << CHUNK_BITS)
#define CHUNKS 4096u
#define GENERATION_MASK 0xFFFFFFu
#define USE_BUSY 0x80000000u    /* one call is inside */
#define USE_CLOSING 0x40000000u /* nobody new gets in */
#define NO_SLOT UINT32_MAX

struct slot {
    _Atomic uint64_t state;
    void *_Atomic object;
    void *_Atomic owner;
    _Atomic uint32_t next_free;
};
static struct slot *_Atomic chunks[CHUNKS];
static _Atomic uint32_t slots_used;
static _Atomic uint64_t free_head = NO_SLOT; /* count 32 | slot 32: the count keeps a pop from being fooled by a push */

static uint64_t state_of(uint32_t generation, uint32_t kind, uint32_t use)
{
    return (uint64_t)generation << 40 | (uint64_t)kind << 32 | use;
}

static uint32_t use_of(uint64_t state)
{
    return (uint32_t)state;
}

static struct slot *slot_at(uint32_t index)
{
    struct slot *chunk = index >> CHUNK_BITS < CHUNKS ? atomic_load_explicit(&chunks[index >> CHUNK_BITS], memory_order_acquire) : NULL;
    return chunk == NULL ? NULL : &chunk[index & (CHUNK_SLOTS - 1)];
}

/* The slot, and what its state is but for the use, when the handle is alive. */
static struct slot *find(uint64_t handle, enum handle_kind kind, uint64_t *alive)
{
    if (handle >> 56 != (uint64_t)kind)
        return NULL;
    *alive = state_of((uint32_t)(handle >> 32) & GENERATION_MASK, kind, 0);
    return slot_at((uint32_t)handle);
}

static bool is_alive(uint64_t state, uint64_t alive)
{
    return state - use_of(state) == alive;
}

static err_t make_chunk(uint32_t number)
{
    if (number >= CHUNKS)
        return RAISE(JET_errOutOfMemory);
    if (atomic_load(&chunks[number]) != NULL)
        return JET_errSuccess;
    struct slot *fresh = calloc(CHUNK_SLOTS, sizeof *fresh), *none = NULL;
    if (fresh == NULL)
        return RAISE(JET_errOutOfMemory);
    if (!atomic_compare_exchange_strong(&chunks[number], &none, fresh))
        free(fresh); /* another thread was first */
    return JET_errSuccess;
}

static err_t take_slot(uint32_t *index)
{
    uint64_t head = atomic_load(&free_head);
    while ((uint32_t)head != NO_SLOT) {
        uint32_t next = atomic_load(&slot_at((uint32_t)head)->next_free);
        uint64_t after = ((head >> 32) + 1) << 32 | next;
        if (atomic_compare_exchange_weak(&free_head, &head, after)) {
            *index = (uint32_t)head;
            return JET_errSuccess;
        }
    }
    uint32_t fresh = atomic_load(&slots_used);
    do
        TRY_RETURN(make_chunk(fresh >> CHUNK_BITS));
    while (!atomic_compare_exchange_weak(&slots_used, &fresh, fresh + 1));
    *index = fresh;
    return JET_errSuccess;
}

static void give_slot(uint32_t index)
{
    uint64_t head = atomic_load(&free_head), after;
    do {
        atomic_store(&slot_at(index)->next_free, (uint32_t)head);
        after = ((head >> 32) + 1) << 32 | index;
    } while (!atomic_compare_exchange_weak(&free_head, &head, after));
}

err_t handle_create(enum handle_kind kind, void *object, void *owner, uint64_t *out)
{
    uint32_t index;
    TRY_RETURN(take_slot(&index));
    struct slot *s = slot_at(index);
    uint32_t generation = (uint32_t)(atomic_load(&s->state) >> 40);
    atomic_store(&s->object, object);
    atomic_store(&s->owner, owner);
    atomic_store(&s->state, state_of(generation, kind, 0));
    *out = (uint64_t)kind << 56 | (uint64_t)generation << 32 | index;
    return JET_errSuccess;
}

static enum handle_answer refusal(uint64_t state, uint64_t alive)
{
    if (!is_alive(state, alive))
        return HANDLE_BAD;
    return (use_of(state) & USE_CLOSING) != 0 ? HANDLE_CLOSING : HANDLE_BUSY;
}

static enum handle_answer change_use(uint64_t handle, enum handle_kind kind, uint32_t use, void **object)
{
    uint64_t alive;
    struct slot *s = find(handle, kind, &alive);
    if (s == NULL)
        return HANDLE_BAD;
    uint64_t state = alive;
    if (!atomic_compare_exchange_strong(&s->state, &state, alive | use))
        return refusal(state, alive);
    if (object != NULL)
        *object = atomic_load_explicit(&s->object, memory_order_relaxed);
    return HANDLE_OK;
}

enum handle_answer handle_take(uint64_t handle, enum handle_kind kind, void **object)
{
    return change_use(handle, kind, USE_BUSY, object);
}

enum handle_answer handle_begin_close(uint64_t handle)
{
    return change_use(handle, (enum handle_kind)(handle >> 56), USE_CLOSING, NULL);
}

void handle_give(uint64_t handle)
{
    uint64_t alive;
    struct slot *s = find(handle, (enum handle_kind)(handle >> 56), &alive);
    ENFORCE(s != NULL && is_alive(atomic_load(&s->state), alive));
    atomic_store_explicit(&s->state, alive, memory_order_release);
}

void handle_retire(uint64_t handle)
{
    uint64_t alive;
    struct slot *s = find(handle, (enum handle_kind)(handle >> 56), &alive);
    ENFORCE(s != NULL && is_alive(atomic_load(&s->state), alive));
    uint32_t generation = ((uint32_t)(alive >> 40) + 1) & GENERATION_MASK;
    atomic_store(&s->state, state_of(generation, 0, 0));
    atomic_store(&s->owner, NULL);
    give_slot((uint32_t)handle);
}

enum handle_answer handle_pin(uint64_t handle, enum handle_kind kind, void **object)
{
    uint64_t alive;
    struct slot *s = find(handle, kind, &alive);
    if (s == NULL)
        return HANDLE_BAD;
    uint64_t state = atomic_load(&s->state);
    do {
        if (!is_alive(state, alive) || (use_of(state) & USE_CLOSING) != 0)
            return refusal(state, alive);
    } while (!atomic_compare_exchange_weak(&s->state, &state, state + 1));
    *object = atomic_load_explicit(&s->object, memory_order_relaxed);
    return HANDLE_OK;
}

void handle_unpin(uint64_t handle)
{
    atomic_fetch_sub(&slot_at((uint32_t)handle)->state, 1);
}

enum handle_answer handle_drain(uint64_t handle)
{
    struct slot *s = slot_at((uint32_t)handle);
    uint64_t state = atomic_load(&s->state);
    do {
        if ((use_of(state) & USE_CLOSING) != 0)
            return HANDLE_CLOSING;
    } while (!atomic_compare_exchange_weak(&s->state, &state, state | USE_CLOSING));
    while ((use_of(atomic_load(&s->state)) & ~USE_CLOSING) > 1)
        os_sleep_ms(1);
    handle_retire(handle);
    return HANDLE_OK;
}

enum handle_answer handle_peek(uint64_t handle, enum handle_kind kind, const void *owner, void **object)
{
    uint64_t alive;
    struct slot *s = find(handle, kind, &alive);
    if (s == NULL || atomic_load(&s->state) != alive)
        return HANDLE_BAD;
    if (atomic_load(&s->owner) != owner)
        return HANDLE_BUSY;
    *object = atomic_load_explicit(&s->object, memory_order_relaxed);
    return HANDLE_OK;
}
