#include "backup/restore_private.h"

#include <stdio.h>

/* Databases from the set to their places, each page verified; or, where they lie already, the trailer off. */

static uint32_t kib(uint64_t bytes)
{
    return (uint32_t)(bytes / 1024);
}

err_t restore__tell(const struct job *job, JET_SNT snt)
{
    const struct progress *p = &job->o->progress;
    uint64_t done = job->done < job->total ? job->done : job->total;
    return p->fn == NULL ? JET_errSuccess : p->fn(p->context, JET_snpRestore, snt, kib(done), kib(job->total));
}

static err_t bad_page(const char *path, pgno_t pgno)
{
    err_t err = RAISE(JET_errReadVerifyFailure);
    err_detail("%s: page %u of the set is damaged", path, pgno);
    return err;
}

static err_t verify_chunk(const struct plan *plan, pgno_t first, uint32_t count, uint8_t *bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        bool corrected;
        struct page page = {bytes + (size_t)i * plan->header.page_size, plan->header.page_size};
        err_t err = page_verify(page, first + i, &corrected);
        if (err < 0 && err != JET_errPageNotInitialized)
            return bad_page(plan->from, first + i);
    }
    return JET_errSuccess;
}

#define AHEAD_BYTES (4u * CHUNK_BYTES)

static err_t copy_pages(struct job *job, struct plan *plan, struct os_file *from, struct copier *c)
{
    uint32_t ps = plan->header.page_size, chunk = CHUNK_BYTES / ps;
    pgno_t last = (pgno_t)(plan->size / ps) - 3;
    for (pgno_t first = 1; first <= last; first += chunk) {
        uint32_t count = last - first + 1 < chunk ? last - first + 1 : chunk;
        uint64_t at = ((uint64_t)first + 1) * ps;
        uint8_t *bytes;
        os_file_will_read(from, at + AHEAD_BYTES, CHUNK_BYTES);
        TRY_RETURN(copier__buffer(c, &bytes));
        TRY_RETURN(os_file_read(from, at, bytes, (size_t)count * ps));
        TRY_RETURN(verify_chunk(plan, first, count, bytes));
        TRY_RETURN(copier__write(c, at, count * ps));
        job->done += (uint64_t)count * ps;
        TRY_RETURN(restore__tell(job, JET_sntProgress));
    }
    return JET_errSuccess;
}

static err_t put_header(const struct job *job, struct plan *plan)
{
    static const struct logtime never;
    struct db_header h = plan->header;
    uint32_t high = job->gen_high;
    h.full_cur.gen_high = high;
    if (h.gen_max_required < high)
        h.gen_max_required = high;
    if (h.gen_max_committed < high)
        h.gen_max_committed = high;
    h.time_gen_max_created = never;
    struct os_file *file;
    TRY_RETURN(os_file_open(plan->to, OS_WRITE, &file));
    err_t err = db_header_write(file, &h);
    os_file_close(file);
    return err;
}

static err_t copy_database(struct job *job, struct plan *plan)
{
    struct os_file *from = NULL;
    struct copier *c = NULL;
    err_t err = JET_errSuccess;
    TRY(os_file_open(plan->from, OS_READ, &from));
    TRY(copier__create(plan->to, false, plan->size - plan->header.page_size, &c));
    TRY(copy_pages(job, plan, from, c));
    err = copier__finish(c);
    c = NULL;
    if (err >= 0)
        err = put_header(job, plan);
    job->result->bytes += plan->size;
    job->result->files++;
out:
    copier__abandon(c);
    os_file_close(from);
    return err;
}

/* ---- in place ---- */

static err_t verify_pages(struct job *job, struct plan *plan)
{
    uint32_t ps = plan->header.page_size, chunk = CHUNK_BYTES / ps;
    pgno_t last = (pgno_t)(plan->size / ps) - 3;
    struct os_file *file = NULL;
    uint8_t *bytes = os_alloc_aligned(CHUNK_BYTES);
    err_t err = bytes == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    TRY(err);
    TRY(os_file_open(plan->to, OS_READ, &file));
    for (pgno_t first = 1; first <= last; first += chunk) {
        uint32_t count = last - first + 1 < chunk ? last - first + 1 : chunk;
        TRY(os_file_read(file, ((uint64_t)first + 1) * ps, bytes, (size_t)count * ps));
        TRY(verify_chunk(plan, first, count, bytes));
        job->done += (uint64_t)count * ps;
        TRY(restore__tell(job, JET_sntProgress));
    }
out:
    os_file_close(file);
    os_free_aligned(bytes);
    return err;
}

/* The header takes over the trailer's range before the page goes: a try that is cut off between can be repeated. */
static err_t move_trailer(struct job *job, struct plan *plan)
{
    struct os_file *file;
    TRY_RETURN(verify_pages(job, plan));
    TRY_RETURN(put_header(job, plan));
    TRY_RETURN(os_file_open(plan->to, OS_WRITE, &file));
    err_t err = os_file_set_size(file, plan->size - plan->header.page_size);
    if (err >= 0)
        err = os_file_sync(file);
    os_file_close(file);
    job->result->bytes += plan->size;
    job->result->files++;
    return err;
}

err_t restore__put_database(struct job *job, struct plan *plan)
{
    if (plan->moved)
        return JET_errSuccess;
    return job->o->in_place ? move_trailer(job, plan) : copy_database(job, plan);
}

err_t restore__copy_file(const char *from, const char *to)
{
    struct os_file *in = NULL, *out = NULL;
    uint8_t *bytes = malloc(CHUNK_BYTES);
    uint64_t at = 0;
    size_t got = CHUNK_BYTES;
    err_t err = bytes == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    TRY(err);
    TRY(os_file_open(from, OS_READ, &in));
    TRY(os_file_open(to, OS_WRITE | OS_CREATE | OS_TRUNCATE, &out));
    while (got == CHUNK_BYTES) {
        TRY(os_file_read_some(in, at, bytes, CHUNK_BYTES, &got));
        TRY(os_file_write(out, at, bytes, got));
        at += got;
    }
    TRY(os_file_sync(out));
out:
    os_file_close(out);
    os_file_close(in);
    free(bytes);
    return err;
}
