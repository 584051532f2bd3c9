#include "backup/backup_private.h"

/* One database into the set's folder. */

static void pause_hook(struct run *run, uint32_t count)
{
    run->pages_done += count;
    while (run->o->pause != NULL && run->paused < 3 &&
           (uint64_t)run->pages_done * 4 >= (uint64_t)run->pages_total * (run->paused + 1)) {
        run->paused++;
        run->o->pause(run->o->pause_context, run->paused * 25);
    }
}

static err_t copy_stream(struct run *run, struct stream *st, struct copier *c)
{
    for (;;) {
        uint8_t *bytes;
        uint32_t n;
        uint64_t at = st->at;
        TRY_RETURN(copier__buffer(c, &bytes));
        TRY_RETURN(stream__read(st, bytes, CHUNK_BYTES, &n));
        if (n == 0)
            return JET_errSuccess;
        TRY_RETURN(copier__write(c, at, n));
        pause_hook(run, n / st->page_size);
        TRY_RETURN(run__progress(run, n));
    }
}

static err_t copy_file(struct run *run, struct stream *st, const char *to)
{
    struct copier *c = NULL;
    err_t err = JET_errSuccess;
    TRY(copier__create(to, true, st->size, &c));
    err = run__note_created(run, to);
    if (err < 0 && os_unlink(to) < 0)
        err_clear();
    TRY(err);
    TRY(copy_stream(run, st, c));
    err = copier__finish(c);
    c = NULL;
out:
    copier__abandon(c);
    return err;
}

err_t pages__copy_database(struct run *run, struct member *m)
{
    struct series *s = &run->series;
    char to[OS_PATH_MAX];
    struct stream st;
    TRY_RETURN(os_join(to, sizeof to, run->target, os_last_name(m->db->path)));
    err_t err = scrub__database(s, m->db);
    if (err >= 0) {
        stream__open(&st, s, m);
        err = copy_file(run, &st, to);
        stream__close(&st);
    }
    if (err < 0) {
        series__event_file(s, 217, EVENT_ERROR, "copy of a database failed", err, m->db->path);
        return err;
    }
    m->copied = true;
    run->result->bytes += st.size;
    run->result->databases++;
    run->result->files++;
    series__event(s, 221, EVENT_INFO, "copy of a database ended", m->db->path, NULL);
    return JET_errSuccess;
}
