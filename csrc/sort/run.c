#include <stdio.h>

#include "sort/sort_private.h"

/* Runs lie in one unlinked file: nothing is left behind when the process dies. */

static err_t open_file(struct sort *sort)
{
    if (sort->file != NULL)
        return JET_errSuccess;
    char path[OS_PATH_MAX], name[64];
    const char *dir = sort->temp_dir != NULL ? sort->temp_dir : "/tmp";
    snprintf(name, sizeof name, "pyjet-sort-%d-%08x.tmp", os_process_id(), (unsigned)os_random_u32());
    TRY_RETURN(os_join(path, sizeof path, dir, name));
    TRY_RETURN(os_file_open(path, OS_WRITE | OS_CREATE | OS_EXCL, &sort->file));
    err_t err = os_unlink(path);
    if (err < 0) {
        os_file_close(sort->file);
        sort->file = NULL;
    }
    return err;
}

struct writer { /* buffered, appending */
    struct sort *sort;
    struct buffer out;
};

static err_t writer_flush(struct writer *w)
{
    if (w->out.n == 0)
        return JET_errSuccess;
    TRY_RETURN(os_file_write(w->sort->file, w->sort->file_size, w->out.p, w->out.n));
    w->sort->file_size += w->out.n;
    w->out.n = 0;
    return JET_errSuccess;
}

static err_t writer_put(struct writer *w, struct slice item)
{
    if (w->out.n + item.n > RUN_BUFFER)
        TRY_RETURN(writer_flush(w));
    return buffer_append(&w->out, item);
}

struct reader { /* buffered, over one run */
    struct os_file *file;
    uint64_t at, to; /* file offset of the bytes after the buffer; end of the run */
    struct buffer in;
    uint32_t used; /* bytes of `in` already handed out */
    const uint8_t *item; /* NULL at the end */
    uint32_t item_size;
};

static err_t reader_fill(struct reader *r, uint32_t wanted)
{
    uint32_t rest = r->in.n - r->used;
    if (rest >= wanted)
        return JET_errSuccess;
    if (rest > 0)
        memmove(r->in.p, r->in.p + r->used, rest);
    uint32_t room = wanted > RUN_BUFFER ? wanted : RUN_BUFFER;
    r->in.n = rest;
    r->used = 0;
    TRY_RETURN(buffer_reserve(&r->in, room));
    uint64_t left = r->to - r->at;
    uint32_t n = left < room - rest ? (uint32_t)left : room - rest;
    TRY_RETURN(os_file_read(r->file, r->at, r->in.p + rest, n));
    r->at += n;
    r->in.n = rest + n;
    return r->in.n >= wanted ? JET_errSuccess : RAISE(JET_errDiskIO);
}

static err_t reader_next(struct reader *r)
{
    r->used += r->item_size;
    r->item_size = 0;
    r->item = NULL;
    if (r->used == r->in.n && r->at == r->to)
        return JET_errSuccess;
    TRY_RETURN(reader_fill(r, ITEM_HEAD));
    uint32_t size = sort__item_size(r->in.p + r->used);
    TRY_RETURN(reader_fill(r, size));
    r->item = r->in.p + r->used;
    r->item_size = size;
    return JET_errSuccess;
}

static err_t write_memory_run(struct sort *sort)
{
    err_t err = JET_errSuccess;
    struct writer w = {.sort = sort};
    uint64_t from = sort->file_size;
    for (uint32_t i = 0; i < sort->count; i++) {
        const uint8_t *at = sort->arena.p + sort->order[i];
        TRY(writer_put(&w, SLICE(at, sort__item_size(at))));
    }
    TRY(writer_flush(&w));
    sort->runs[sort->run_count++] = (struct run_file){from, sort->file_size};
    sort->arena.n = 0;
    sort->count = 0;
    sort->spilled++;
out:
    buffer_free(&w.out);
    return err;
}

/* Merges runs [0, n) into one at the end of the file; *kept counts its items. `index` may be NULL. */
static err_t merge_runs(struct sort *sort, int n, uint64_t *kept, uint64_t **index)
{
    err_t err = JET_errSuccess;
    struct writer w = {.sort = sort};
    struct buffer last = {0};
    uint64_t from = sort->file_size, items = 0, index_room = 0;
    struct reader *readers = calloc((size_t)n, sizeof *readers);
    if (readers == NULL)
        return RAISE(JET_errOutOfMemory);
    for (int i = 0; i < n; i++) {
        readers[i] = (struct reader){.file = sort->file, .at = sort->runs[i].from, .to = sort->runs[i].to};
        TRY(reader_next(&readers[i]));
    }
    for (;;) {
        struct reader *least = NULL; /* the earliest run wins a tie: stable */
        for (int i = 0; i < n; i++)
            if (readers[i].item != NULL && (least == NULL || sort__compare(sort, readers[i].item, least->item) < 0))
                least = &readers[i];
        if (least == NULL)
            break;
        bool repeated = sort->config.unique && items > 0 && sort__compare(sort, last.p, least->item) == 0;
        if (!repeated) {
            if (index != NULL && items % INDEX_STEP == 0) {
                if (items / INDEX_STEP == index_room) {
                    index_room = index_room == 0 ? 64 : index_room * 2;
                    uint64_t *grown = realloc(*index, (size_t)index_room * sizeof **index);
                    if (grown == NULL)
                        FAIL(JET_errOutOfMemory);
                    *index = grown;
                }
                (*index)[items / INDEX_STEP] = sort->file_size + w.out.n;
            }
            struct slice item = SLICE(least->item, least->item_size);
            if (sort->config.unique)
                TRY(buffer_set(&last, item));
            /* an item that makes the writer flush moves the end: the index was taken before, of the same byte */
            TRY(writer_put(&w, item));
            items++;
        }
        TRY(reader_next(least));
    }
    TRY(writer_flush(&w));
    memmove(sort->runs, sort->runs + n, (size_t)(sort->run_count - n) * sizeof sort->runs[0]);
    sort->run_count -= n;
    sort->runs[sort->run_count++] = (struct run_file){from, sort->file_size};
    *kept = items;
out:
    for (int i = 0; i < n; i++)
        buffer_free(&readers[i].in);
    free(readers);
    buffer_free(&last);
    buffer_free(&w.out);
    return err;
}

err_t sort__spill(struct sort *sort)
{
    TRY_RETURN(open_file(sort));
    TRY_RETURN(sort__settle(sort));
    if (sort->run_count == RUNS_MAX) {
        uint64_t kept;
        TRY_RETURN(merge_runs(sort, RUNS_MAX, &kept, NULL));
    }
    return write_memory_run(sort);
}

err_t sort__merge(struct sort *sort)
{
    free(sort->index);
    sort->index = NULL;
    TRY_RETURN(merge_runs(sort, sort->run_count, &sort->total, &sort->index));
    sort->item_known = UINT64_MAX;
    sort->window.n = 0;
    return JET_errSuccess;
}

/* The bytes [at, at + n) of the file, through the window. */
static err_t window_bytes(struct sort *sort, uint64_t at, uint32_t n, const uint8_t **out)
{
    if (at < sort->window_at || at + n > sort->window_at + sort->window.n) {
        uint32_t room = n > RUN_BUFFER ? n : RUN_BUFFER;
        uint64_t left = sort->file_size - at;
        uint32_t wanted = left < room ? (uint32_t)left : room;
        sort->window.n = 0;
        TRY_RETURN(buffer_reserve(&sort->window, room));
        TRY_RETURN(os_file_read(sort->file, at, sort->window.p, wanted));
        sort->window_at = at;
        sort->window.n = wanted;
    }
    if (at + n > sort->window_at + sort->window.n)
        return RAISE(JET_errDiskIO);
    *out = sort->window.p + (at - sort->window_at);
    return JET_errSuccess;
}

static err_t item_size_at(struct sort *sort, uint64_t at, uint32_t *size)
{
    const uint8_t *head;
    TRY_RETURN(window_bytes(sort, at, ITEM_HEAD, &head));
    *size = sort__item_size(head);
    return JET_errSuccess;
}

err_t sort__merged_item(struct sort *sort, uint64_t i, const uint8_t **at)
{
    uint64_t item = i / INDEX_STEP * INDEX_STEP, offset = sort->index[i / INDEX_STEP];
    if (sort->item_known <= i && sort->item_known > item && sort->item_known != UINT64_MAX) {
        item = sort->item_known;
        offset = sort->offset_known;
    }
    uint32_t size;
    for (; item < i; item++) {
        TRY_RETURN(item_size_at(sort, offset, &size));
        offset += size;
    }
    sort->item_known = i;
    sort->offset_known = offset;
    TRY_RETURN(item_size_at(sort, offset, &size));
    return window_bytes(sort, offset, size, at);
}

void sort__runs_free(struct sort *sort)
{
    os_file_close(sort->file);
    free(sort->index);
    buffer_free(&sort->window);
}
