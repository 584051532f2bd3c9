/* Reads records over generations, wherever their files lie, and checks that the files are one
 * chain. */
#include <stdio.h>

#include "log/log_private.h"

enum { DIRS_MAX = 3 };

struct log_reader {
    struct log_reader_config config;
    char *dirs[DIRS_MAX];
    char *base_name;
    struct log__listing listing[DIRS_MAX];
    uint32_t newest; /* highest generation in any folder */
    lgpos_t start;

    uint32_t generation; /* being read */
    bool current;
    char path[OS_PATH_MAX];
    struct log_header header;
    uint8_t *image;
    struct log__scan scan;
    struct log__walk walk;
    bool ended;
    lgpos_t end;
};

static const struct log__found *find(struct log_reader *r, uint32_t generation, int *dir)
{
    for (*dir = 0; *dir < r->config.dir_count; (*dir)++) {
        const struct log__found *f = log__listing_find(&r->listing[*dir], generation);
        if (f != NULL)
            return f;
    }
    return NULL;
}

static bool is_strict(const struct log_reader *r, uint32_t generation)
{
    return r->config.mode == LOG_READ_STRICT || generation <= r->config.gen_strict_last;
}

static err_t missing(struct log_reader *r, uint32_t generation)
{
    err_t err = RAISE(JET_errMissingLogFile);
    err_detail("generation %X of %s", generation, r->base_name);
    return err;
}

static err_t mismatch(struct log_reader *r, err_t code)
{
    err_t err = RAISE(code);
    err_detail("%.200s", r->path);
    return err;
}

/* log-format.md 2, chain rule; `before` is the header of the generation that ended with `sum`. */
static err_t check_chain(struct log_reader *r, const struct log_header *before, uint64_t sum)
{
    const struct log_header *h = &r->header;
    if (!signature_equal(&h->signature, &before->signature))
        return mismatch(r, JET_errBadLogSignature);
    if (memcmp(&h->created_previous, &before->created, sizeof h->created) != 0)
        return mismatch(r, JET_errInvalidLogSequence);
    if (h->update_minor >= LOG_CHAIN_CHECKSUM_SINCE && h->checksum_previous != sum)
        return mismatch(r, JET_errLogSequenceChecksumMismatch);
    return JET_errSuccess;
}

static err_t load(struct log_reader *r, uint32_t generation)
{
    int dir;
    const struct log__found *f = find(r, generation, &dir);
    if (f == NULL)
        return missing(r, generation);
    os_free_aligned(r->image);
    r->image = NULL;
    TRY_RETURN(os_join(r->path, sizeof r->path, r->dirs[dir], f->name));
    TRY_RETURN(log__image_read(r->path, &r->image, &r->header));
    if (r->header.generation != generation)
        return mismatch(r, JET_errLogGenerationMismatch);
    r->generation = generation;
    r->current = f->current;
    enum log__scan_as as = is_strict(r, generation)  ? SCAN_STRICT
                           : generation == r->newest ? SCAN_LAST
                                                     : SCAN_CLOSED;
    log__scan(r->image, r->header.file_size / LOG_SEGMENT, generation, as, &r->scan);
    buffer_free(&r->walk.joined);
    log__walk_start(&r->walk, r->image, generation, r->scan.end);
    return JET_errSuccess;
}

static err_t list_dirs(struct log_reader *r)
{
    uint32_t lowest = UINT32_MAX;
    for (int i = 0; i < r->config.dir_count; i++) {
        struct log__listing *l = &r->listing[i];
        TRY_RETURN(log__list(r->dirs[i], r->base_name, l));
        if (l->count == 0)
            continue;
        if (l->found[0].generation == 0) {
            err_t err = RAISE(JET_errLogFileCorrupt);
            err_detail("header of %.150s/%s", r->dirs[i], l->found[0].name);
            return err;
        }
        if (l->found[0].generation < lowest)
            lowest = l->found[0].generation;
        if (l->found[l->count - 1].generation > r->newest)
            r->newest = l->found[l->count - 1].generation;
    }
    if (r->newest == 0)
        return missing(r, LGPOS_GEN(r->start));
    if (r->start == LGPOS_MIN)
        r->start = LGPOS(lowest, 0, 0);
    return JET_errSuccess;
}

err_t log_reader_open(const struct log_reader_config *config, lgpos_t start,
                      struct log_reader **out)
{
    err_t err = JET_errSuccess;
    *out = NULL;
    if (config->dir_count < 1 || config->dir_count > DIRS_MAX || config->base_name == NULL)
        return RAISE(JET_errInvalidParameter);
    struct log_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return RAISE(JET_errOutOfMemory);
    r->config = *config;
    r->start = start;
    r->base_name = strdup(config->base_name);
    bool whole = r->base_name != NULL;
    for (int i = 0; i < config->dir_count; i++)
        whole &= (r->dirs[i] = strdup(config->dirs[i])) != NULL;
    if (!whole)
        FAIL(JET_errOutOfMemory);
    TRY(list_dirs(r));
    TRY(load(r, LGPOS_GEN(r->start)));
    r->end = LGPOS(r->generation, 1, 0);
out:
    if (err < 0)
        log_reader_close(r);
    else
        *out = r;
    return err;
}

void log_reader_close(struct log_reader *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < DIRS_MAX; i++) {
        log__listing_free(&r->listing[i]);
        free(r->dirs[i]);
    }
    free(r->base_name);
    buffer_free(&r->walk.joined);
    os_free_aligned(r->image);
    free(r);
}

/* The generation has been read: its own fault, the end of all, or the next one. */
static err_t advance(struct log_reader *r, bool *ended)
{
    *ended = false;
    r->end = log__walk_end(&r->walk);
    if (r->scan.verdict != 0) {
        err_t err = RAISE(r->scan.verdict);
        err_detail("%.140s: %s", r->path, r->scan.detail);
        return err;
    }
    bool stop = r->config.gen_stop != 0 && r->generation >= r->config.gen_stop;
    if (stop || r->generation >= r->newest) {
        *ended = r->ended = true;
        return JET_errSuccess;
    }
    struct log_header before = r->header;
    uint64_t sum = r->scan.accumulated;
    TRY_RETURN(load(r, r->generation + 1));
    return check_chain(r, &before, sum);
}

err_t log_reader_next(struct log_reader *r, struct log_view *out, bool *end)
{
    *end = r->ended;
    while (!*end) {
        lgpos_t physical;
        bool done;
        TRY_RETURN(log__walk_next(&r->walk, out, &physical, &done));
        if (done) {
            TRY_RETURN(advance(r, end));
            continue;
        }
        if (physical < r->start)
            continue;
        if (out->at <
            r->start) /* the NOPs before a writer's fresh segment: it counted from the segment */
            out->at = physical;
        return JET_errSuccess;
    }
    return JET_errSuccess;
}

const struct log_header *log_reader_header(struct log_reader *r)
{
    return &r->header;
}

const char *log_reader_path(struct log_reader *r)
{
    return r->path;
}

lgpos_t log_reader_end(struct log_reader *r, bool *in_current)
{
    *in_current = r->current;
    return r->end;
}
