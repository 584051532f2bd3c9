#include "backup/backup_private.h"

/* Two buffers and a thread: while one chunk is written (direct where the file system allows), the next is read and verified. */

struct copier {
    struct os_file *file;
    struct os_thread *thread;
    struct os_lock lock; /* RANK_OS + 1 */
    struct os_cond changed;
    uint8_t *buffer[2];
    struct {
        bool full;
        uint64_t offset;
        uint32_t n;
    } slot[2];
    int next; /* slot that the caller fills */
    bool ending;
    err_t err; /* first failure of the writer */
};

static void write_slot(struct copier *c, int i)
{
    err_t err = c->err;
    os_lock_release(&c->lock);
    if (err >= 0)
        err = os_file_write(c->file, c->slot[i].offset, c->buffer[i], c->slot[i].n);
    os_lock_take(&c->lock);
    if (err < 0 && c->err >= 0)
        c->err = err;
    c->slot[i].full = false;
    os_cond_broadcast(&c->changed);
}

static void writer_loop(void *context)
{
    struct copier *c = context;
    os_lock_take(&c->lock);
    for (int i = 0;;) {
        while (!c->slot[i].full && !c->ending)
            os_cond_wait(&c->changed, &c->lock);
        if (!c->slot[i].full)
            break;
        write_slot(c, i);
        i ^= 1;
    }
    os_lock_release(&c->lock);
}

static void destroy(struct copier *c)
{
    if (c->thread != NULL) {
        os_lock_take(&c->lock);
        c->ending = true;
        os_cond_broadcast(&c->changed);
        os_lock_release(&c->lock);
        os_thread_join(c->thread);
    }
    os_file_close(c->file);
    os_free_aligned(c->buffer[0]);
    os_free_aligned(c->buffer[1]);
    os_cond_term(&c->changed);
    os_lock_term(&c->lock);
    free(c);
}

err_t copier__create(const char *path, bool exclusive, struct copier **out)
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
    for (int i = 0; i < 2; i++)
        if ((c->buffer[i] = os_alloc_aligned(CHUNK_BYTES)) == NULL)
            FAIL(JET_errOutOfMemory);
    TRY(os_thread_start("pyjet-copy", writer_loop, c, &c->thread));
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
    while (c->slot[c->next].full)
        os_cond_wait(&c->changed, &c->lock);
    err_t err = c->err;
    os_lock_release(&c->lock);
    *out = c->buffer[c->next];
    return err;
}

err_t copier__write(struct copier *c, uint64_t offset, uint32_t n)
{
    ASSERT(n <= CHUNK_BYTES);
    os_lock_take(&c->lock);
    c->slot[c->next].offset = offset;
    c->slot[c->next].n = n;
    c->slot[c->next].full = true;
    c->next ^= 1;
    err_t err = c->err;
    os_cond_broadcast(&c->changed);
    os_lock_release(&c->lock);
    return err;
}

static void drain(struct copier *c)
{
    os_lock_take(&c->lock);
    while (c->slot[0].full || c->slot[1].full)
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
