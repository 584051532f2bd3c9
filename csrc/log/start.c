/* A log's life: create, begin a sequence or go on with one, stop. */
#include <stdio.h>

#include "log/log_private.h"

static err_t copy_text(const char *text, char **out)
{
    *out = strdup(text != NULL ? text : "");
    return *out != NULL ? JET_errSuccess : RAISE(JET_errOutOfMemory);
}

static err_t check_config(const struct log_config *c)
{
    if (!c->enabled)
        return JET_errSuccess;
    if (c->log_dir == NULL || c->system_dir == NULL || c->base_name == NULL ||
        strlen(c->base_name) != JET_BASE_NAME_LENGTH)
        return RAISE(JET_errInvalidParameter);
    if (c->file_size % LOG_SEGMENT != 0 || c->file_size / LOG_SEGMENT < LOG_SEGMENTS_MIN ||
        c->file_size / LOG_SEGMENT > LOG_SEGMENTS_MAX || !page_size_valid(c->page_size))
        return RAISE(JET_errInvalidParameter);
    return JET_errSuccess;
}

static void init_locks(struct log *log)
{
    os_lock_init(&log->buffer_lock, RANK_LOG_BUFFER);
    os_lock_init(&log->flush_lock, RANK_LOG_FLUSH);
    os_cond_init(&log->next_cond);
    os_cond_init(&log->roll_cond);
    os_cond_init(&log->full_cond);
}

static err_t make_memory(struct log *log)
{
    const struct log_config *c = &log->config;
    TRY_RETURN(copy_text(c->log_dir, &log->log_dir));
    TRY_RETURN(copy_text(c->system_dir, &log->system_dir));
    TRY_RETURN(copy_text(c->base_name, &log->base_name));
    TRY_RETURN(copy_text(c->instance_name, &log->instance_name));
    if (!c->enabled)
        return JET_errSuccess;
    uint32_t bytes = c->buffer_size > LOG_RING_MIN ? c->buffer_size : LOG_RING_MIN;
    log->ring_segments = bytes / LOG_SEGMENT + (bytes % LOG_SEGMENT != 0);
    log->ring = os_alloc_aligned((size_t)log->ring_segments * LOG_SEGMENT);
    log->header = os_alloc_aligned(LOG_SEGMENT);
    return log->ring != NULL && log->header != NULL ? JET_errSuccess : RAISE(JET_errOutOfMemory);
}

err_t log_create(const struct log_config *config, struct log **out)
{
    *out = NULL;
    TRY_RETURN(check_config(config));
    struct log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return RAISE(JET_errOutOfMemory);
    init_locks(log);
    log->config = *config;
    log->file_segments = config->file_size / LOG_SEGMENT;
    log->last_data = log->file_segments - 2;
    log->sequence.update_major = LOG_UPDATE_MAJOR;
    log->sequence.update_minor = LOG_UPDATE_MINOR;
    err_t err = make_memory(log);
    log->config.log_dir = log->log_dir;
    log->config.system_dir = log->system_dir;
    log->config.base_name = log->base_name;
    log->config.instance_name = log->instance_name;
    if (err < 0) {
        log_destroy(log);
        return err;
    }
    *out = log;
    return JET_errSuccess;
}

void log_destroy(struct log *log)
{
    if (log == NULL)
        return;
    os_file_close(log->file);
    os_file_close(log->next_file);
    os_file_close(log->spare);
    os_free_aligned(log->ring);
    os_free_aligned(log->header);
    free(log->log_dir);
    free(log->system_dir);
    free(log->base_name);
    free(log->instance_name);
    os_cond_term(&log->next_cond);
    os_cond_term(&log->roll_cond);
    os_cond_term(&log->full_cond);
    os_lock_term(&log->buffer_lock);
    os_lock_term(&log->flush_lock);
    free(log);
}

/* The tail is where the first record will go: `at` is its position, isec the segment. */
static void tail_is(struct log *log, lgpos_t at, uint32_t isec)
{
    log->cur_isec = isec;
    log->next_at = at;
    log->started = true;
    log->rolls++; /* the preparer has something to do */
    atomic_store(&log->generation, log->cur_gen);
    atomic_store(&log->tail, at);
    atomic_store(&log->flushed, LGPOS(log->cur_gen, isec, 0));
}

err_t log_start_new(struct log *log, uint32_t generation)
{
    bool worked = false;
    struct log__listing l;
    if (!log->config.enabled)
        return JET_errSuccess;
    if (log->started || generation == 0 || generation >= LOG_GENERATION_LAST)
        return RAISE(JET_errInvalidParameter);
    TRY_RETURN(log__list(log->log_dir, log->base_name, &l));
    int present = l.count;
    log__listing_free(&l);
    if (present > 0)
        return RAISE(JET_errFileAlreadyExists);
    TRY_RETURN(log__reserve_make(log, &worked));
    os_signature_new(&log->sequence.signature);
    log->cur_gen = generation;
    TRY_RETURN(log__install_first(log, 0, &(struct logtime){{0}}));
    TRY_RETURN(log__hold_spare(log));
    tail_is(log, LGPOS(generation, 1, 0), 1);
    return JET_errSuccess;
}

/* ---- going on ---- */

static bool segment_is_zero(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, LOG_SEGMENT - 1) == 0;
}

/* What recovery has read becomes what is on disk: repaired segments are written back; then
 * everything from `fresh` on is zeroed, so that a torn batch cannot shine through behind what will
 * be written now. */
static err_t clean_tail(const char *path, const uint8_t *image, uint32_t segments, uint32_t fresh,
                        bool repaired)
{
    err_t err = JET_errSuccess;
    struct os_file *f = NULL;
    bool dirty = false;
    TRY(os_file_open(path, OS_WRITE, &f));
    if (repaired && fresh > 1) {
        TRY(os_file_write(f, LOG_SEGMENT, image + LOG_SEGMENT, (size_t)(fresh - 1) * LOG_SEGMENT));
        TRY(os_file_sync(f));
    }
    for (uint32_t s = fresh; s < segments; s++) {
        if (segment_is_zero(image + (size_t)s * LOG_SEGMENT))
            continue;
        TRY(os_file_zero(f, (uint64_t)s * LOG_SEGMENT, (uint64_t)(s + 1) * LOG_SEGMENT));
        dirty = true;
    }
    if (dirty)
        TRY(os_file_sync(f));
out:
    os_file_close(f);
    return err;
}

static void take_sequence(struct log *log, const struct log_header *h)
{
    struct log_sequence *s = &log->sequence;
    s->signature = h->signature;
    s->created = h->created;
    s->flags = h->flags;
    /* the version never goes down within a sequence */
    if (h->update_major > s->update_major ||
        (h->update_major == s->update_major && h->update_minor > s->update_minor)) {
        s->update_major = h->update_major;
        s->update_minor = h->update_minor;
    }
}

/* A current file of foreign spelling gets the name that this instance uses. */
static err_t adopt_name(struct log *log, const struct log__found *last, char *path)
{
    char ours[OS_PATH_MAX];
    if (!last->current)
        return JET_errSuccess;
    TRY_RETURN(log__file_path(log, "", log__extension(log->config.legacy_names), ours));
    if (strcmp(ours, path) == 0)
        return JET_errSuccess;
    TRY_RETURN(os_rename(path, ours));
    memcpy(path, ours, strlen(ours) + 1);
    return os_dir_sync(log->log_dir);
}

/* The next file that a run with the other names (JET_paramLegacyFileNames) had ready. */
static err_t drop_foreign_next(struct log *log)
{
    char path[OS_PATH_MAX];
    TRY_RETURN(log__file_path(log, "tmp", log__extension(log->config.legacy_names ^ JET_bitESE98FileNames), path));
    return os_exists(path) ? os_unlink(path) : JET_errSuccess;
}

/* The newest file, checked against `end`, cleaned behind it and its checksums summed up. */
static err_t take_last_file(struct log *log, const struct log__found *last, lgpos_t end,
                            uint32_t fresh)
{
    err_t err = JET_errSuccess;
    struct log_header header;
    struct log__scan scan;
    uint8_t *image = NULL;
    char path[OS_PATH_MAX];

    TRY(os_join(path, sizeof path, log->log_dir, last->name));
    TRY(log__image_read(path, &image, &header));
    if (header.file_size != log->config.file_size)
        FAIL(JET_errLogFileSizeMismatch);
    log__scan(image, log->file_segments, header.generation, SCAN_LAST, &scan);
    if (scan.verdict != 0) {
        err = RAISE(scan.verdict);
        err_detail("%.150s: %s", path, scan.detail);
        goto out;
    }
    if (LGPOS_GEN(end) != header.generation || fresh == 0 || fresh > scan.end)
        FAIL(JET_errInvalidLogSequence);
    TRY(clean_tail(path, image, log->file_segments, fresh, scan.repaired));
    for (uint32_t s = 1; s < fresh; s++)
        log->accumulated ^= load_u64(image + (size_t)s * LOG_SEGMENT + SEG_CHECKSUM);
    take_sequence(log, &header);
    TRY(adopt_name(log, last, path));
    if (last->current && fresh <= log->last_data)
        TRY(os_file_open(path, OS_WRITE | OS_DIRECT, &log->file));
out:
    os_free_aligned(image);
    return err;
}

err_t log_start_append(struct log *log, lgpos_t end)
{
    err_t err = JET_errSuccess;
    struct log__listing l;
    bool worked = false;
    if (!log->config.enabled)
        return JET_errSuccess;
    if (log->started)
        return RAISE(JET_errInvalidParameter);
    TRY_RETURN(log__list(log->log_dir, log->base_name, &l));
    if (l.count == 0)
        FAIL(JET_errMissingPreviousLogFile);
    const struct log__found *last = &l.found[l.count - 1];
    if (last->generation != LGPOS_GEN(end)) {
        err = RAISE(JET_errInvalidLogSequence);
        err_detail("the newest log is generation %X, recovery ended in %X", last->generation,
                   LGPOS_GEN(end));
        goto out;
    }
    TRY(log__reserve_make(log, &worked));
    TRY(drop_foreign_next(log));
    uint32_t fresh = LGPOS_SEC(end) + (LGPOS_BYTE(end) > 0);
    TRY(take_last_file(log, last, end, fresh));
    if (log->file != NULL) {
        log->cur_gen = last->generation;
        log->disk_isec = fresh;
        atomic_store(&log->disk_gen, log->cur_gen);
        TRY(log__hold_spare(log));
        tail_is(log, end, fresh);
    } else {
        struct logtime created_previous = log->sequence.created;
        log->cur_gen = last->generation + 1;
        if (log->cur_gen >= LOG_GENERATION_LAST)
            FAIL(JET_errLogSequenceEnd);
        TRY(log__install_first(log, last->current ? last->generation : 0, &created_previous));
        TRY(log__hold_spare(log));
        tail_is(log, LGPOS(log->cur_gen, 1, 0), 1);
    }
out:
    log__listing_free(&l);
    return err;
}

err_t log_stop(struct log *log)
{
    if (!log->config.enabled || !log->started)
        return JET_errSuccess;
    err_t err = log__check(log);
    if (err >= 0)
        err = log_flush_all(log);
    os_lock_take(&log->buffer_lock);
    log->stopped = true;
    os_cond_broadcast(&log->roll_cond);
    os_cond_broadcast(&log->next_cond);
    os_cond_broadcast(&log->full_cond);
    os_lock_release(&log->buffer_lock);
    return err;
}
