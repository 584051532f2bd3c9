#include "backup/backup_private.h"

/* A ring of buffers and two threads: while chunks are written (direct where the file system allows), the next is read and
 * verified. Two writes are in flight, so that the device is never idle between them. */

enum { SLOTS = 4, WRITERS = 2 };

enum slot_state { SLOT_FREE, SLOT_FULL, SLOT_WRITING };

struct copier {
    struct os_file *file;
    struct os_thread *writer[WRITERS];
    struct os_lock lock; /* RANK_OS + 1 */
    struct os_cond changed;
    struct {
        uint8_t *bytes;
        enum slot_state state;
        uint64_t offset;
        uint32_t n;
    } slot[SLOTS];
    int next;  /* slot that the caller fills */
    int first; /* slot that is written next; those from here to `next` are full */
    bool ending;
    err_t err; /* first failure of a writer */
};

static void write_slot(struct copier *c, int i)
{
    err_t err = c->err;
    c->slot[i].state = SLOT_WRITING;
    os_lock_release(&c->lock);
    if (err >= 0)
        err = os_file_write(c->file, c->slot[i].offset, c->slot[i].bytes, c->slot[i].n);
    os_lock_take(&c->lock);
    if (err < 0 && c->err >= 0)
        c->err = err;
    c->slot[i].state = SLOT_FREE;
    os_cond_broadcast(&c->changed);
}

static void writer_loop(void *context)
{
    struct copier *c = context;
    os_lock_take(&c->lock);
    for (;;) {
        int i = c->first;
        if (c->slot[i].state == SLOT_FULL) {
            c->first = (i + 1) % SLOTS;
            write_slot(c, i);
        } else if (c->ending) {
            break;
        } else {
            os_cond_wait(&c->changed, &c->lock);
        }
    }
    os_lock_release(&c->lock);
}

static void destroy(struct copier *c)
{
    os_lock_take(&c->lock);
    c->ending = true;
    os_cond_broadcast(&c->changed);
    os_lock_release(&c->lock);
    for (int i = 0; i < WRITERS; i++)
        if (c->writer[i] != NULL)
            os_thread_join(c->writer[i]);
    os_file_close(c->file);
    for (int i = 0; i < SLOTS; i++)
        os_free_aligned(c->slot[i].bytes);
    os_cond_term(&c->changed);
    os_lock_term(&c->lock);
    free(c);
}

err_t copier__create(const char *path, bool exclusive, uint64_t size, struct copier **out)
{
    err_t err = JET_errSuccess;
    bool made = false;
    *out = NULL;
    struct copier *c = calloc(1, sizeof *c);
    if (c == NULL)
        return RAISE(JET_errOutOfMemory);
    os_lock_init(&c->lock, RANK_OS + 1);
    os_cond_init(&c->changed);
    unsigned flags = OS_WRITE | OS_CREATE | OS_DIRECT | (exclusive ? OS_EXCL : OS_TRUNCATE);
    TRY(os_file_open(path, flags, &c->file));
    made = exclusive;
    TRY(os_file_set_size(c->file, size)); /* file systems let two write at a time only before the end */
    for (int i = 0; i < SLOTS; i++)
        if ((c->slot[i].bytes = os_alloc_aligned(CHUNK_BYTES)) == NULL)
            FAIL(JET_errOutOfMemory);
    for (int i = 0; i < WRITERS; i++)
        TRY(os_thread_start("pyjet-copy", writer_loop, c, &c->writer[i]));
    *out = c;
    return JET_errSuccess;
out:
    destroy(c);
    if (made && os_unlink(path) < 0)
        err_clear(); /* the caller does not know of a file that never came to be */
    return err;
}

err_t copier__buffer(struct copier *c, uint8_t **out)
{
    os_lock_take(&c->lock);
    while (c->slot[c->next].state != SLOT_FREE)
        os_cond_wait(&c->changed, &c->lock);
    err_t err = c->err;
    os_lock_release(&c->lock);
    *out = c->slot[c->next].bytes;
    return err;
}

err_t copier__write(struct copier *c, uint64_t offset, uint32_t n)
{
    ASSERT(n <= CHUNK_BYTES);
    os_lock_take(&c->lock);
    c->slot[c->next].offset = offset;
    c->slot[c->next].n = n;
    c->slot[c->next].state = SLOT_FULL;
    c->next = (c->next + 1) % SLOTS;
    err_t err = c->err;
    os_cond_broadcast(&c->changed);
    os_lock_release(&c->lock);
    return err;
}

static void drain(struct copier *c)
{
    os_lock_take(&c->lock);
    for (int i = 0; i < SLOTS; i++)
        while (c->slot[i].state != SLOT_FREE)
            os_cond_wait(&c->changed, &c->lock);
    os_lock_release(&c->lock);
}

err_t copier__finish(struct copier *c)
{
    drain(c);
    err_t err = c->err;
    if (err >= 0)
        err = os_file_sync(c->file);
    destroy(c);
    return err;
}

void copier__abandon(struct copier *c)
{
    if (c == NULL)
        return;
    drain(c);
    destroy(c);
}
