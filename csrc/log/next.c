/* The next file: zero-written and synced ahead, then the roll that makes it current. */
#include <stdio.h>

#include "log/log_private.h"

enum { RESERVE_COUNT = 2, SHORT_WAIT_MS = 10, SHORT_TRIES = 300, HANDLE_TRIES = 30 };

static uint64_t file_bytes(const struct log *log)
{
    return (uint64_t)log->file_segments * LOG_SEGMENT;
}

/* Real blocks of zeros under a name, left open. Blocks that are there are overwritten, which needs
 * no new space. The zeros are written although a new file reads as zeros: what lies under the name
 * may be of another life, and a log ends at its first segment that is none; and a hole could meet a
 * full disk in the middle of a generation. */
static err_t make_zero_file(const char *path, uint64_t size, struct os_file **out)
{
    err_t err = JET_errSuccess;
    struct os_file *f = NULL;
    uint64_t present;
    *out = NULL;
    TRY(os_file_open(path, OS_WRITE | OS_CREATE | OS_DIRECT, &f));
    TRY(os_file_size(f, &present));
    if (present != size)
        TRY(os_file_set_size(f, size));
    if (!PYJET_BREAK_LOG_ZERO)
        TRY(os_file_zero(f, 0, size));
    TRY(os_file_sync(f));
    *out = f;
    return JET_errSuccess;
out:
    os_file_close(f);
    return err;
}

static err_t reserve_path(struct log *log, int i, char *path)
{
    char suffix[16];
    snprintf(suffix, sizeof suffix, "res%05X", (unsigned)i);
    return log__file_path(log, suffix, ".jrs", path);
}

static err_t reserve_size(const char *path, uint64_t *size)
{
    struct os_file *f;
    *size = 0;
    if (!os_exists(path))
        return JET_errSuccess;
    TRY_RETURN(os_file_open(path, OS_READ, &f));
    err_t err = os_file_size(f, size);
    os_file_close(f);
    return err;
}

err_t log__reserve_make(struct log *log, bool *worked)
{
    char path[OS_PATH_MAX];
    uint64_t size;
    bool made = false; /* *worked may tell of what another has made, and synced */
    for (int i = 1; i <= RESERVE_COUNT; i++) {
        TRY_RETURN(reserve_path(log, i, path));
        TRY_RETURN(reserve_size(path, &size));
        if (size == file_bytes(log))
            continue;
        struct os_file *f;
        err_t err = make_zero_file(path, file_bytes(log), &f);
        os_file_close(f);
        if (err < 0) {
            (void)!os_unlink(path); /* half a reserve is none, and takes the space that is short */
            return err == JET_errDiskFull ? RAISE(JET_errLogDiskFull) : err;
        }
        *worked = made = true;
    }
    return made ? os_dir_sync(log->log_dir) : JET_errSuccess;
}

/* Turns a reserve file into the next file: zeroed again, since what is there after a restart is not
 * known. */
static err_t take_reserve(struct log *log, const char *next_path)
{
    char path[OS_PATH_MAX];
    uint64_t size;
    for (int i = RESERVE_COUNT; i >= 1; i--) {
        TRY_RETURN(reserve_path(log, i, path));
        TRY_RETURN(reserve_size(path, &size));
        if (size != file_bytes(log))
            continue;
        TRY_RETURN(make_zero_file(path, size, &log->next_file));
        return os_file_rename(log->next_file, next_path);
    }
    return RAISE(JET_errLogDiskFull);
}

static bool is_short(err_t err)
{
    return err == JET_errOutOfFileHandles || err == JET_errOutOfMemory;
}

static bool passes(err_t err)
{
    return is_short(err) || err == JET_errDiskFull || err == JET_errLogDiskFull;
}

err_t log__hold_spare(struct log *log)
{
    char current[OS_PATH_MAX];
    if (log->spare != NULL)
        return JET_errSuccess;
    TRY_RETURN(log__file_path(log, "", log__extension(log->config.legacy_names), current));
    return os_file_open(current, OS_READ, &log->spare);
}

static bool give_up_spare(struct log *log)
{
    bool held = log->spare != NULL;
    os_file_close(log->spare);
    log->spare = NULL;
    return held;
}

static err_t try_next_file(struct log *log, const char *path, bool *from_reserve)
{
    os_file_close(log->next_file); /* of a try that failed */
    log->next_file = NULL;
    err_t err = make_zero_file(path, file_bytes(log), &log->next_file);
    if (err >= 0 || is_short(err)) /* what is short is told as it is, and passes */
        return err;
    if (err != JET_errDiskFull) {
        err_t cause = err;
        err = RAISE(JET_errLogWriteFail);
        err_detail("%s: %s", path, err_name(cause));
        return err;
    }
    (void)!os_unlink(
        path); /* gives back what it got; a failure only leaves the disk as full as it was */
    if (atomic_load(&log->use_reserve) == 0) {
        err = RAISE(JET_errLogDiskFull);
        err_detail("%s", path);
        return err;
    }
    TRY_RETURN(take_reserve(log, path));
    *from_reserve = true;
    return JET_errSuccess;
}

/* The spare is given up only when the table of handles is full: then its number is the only one free, and who else in the
 * process takes it at that moment (the checkpoint, a backup) most likely gives it back soon. */
static err_t try_with_spare(struct log *log, const char *path, bool *from_reserve)
{
    err_t err = try_next_file(log, path, from_reserve);
    if (err != JET_errOutOfFileHandles || !give_up_spare(log))
        return err;
    err = try_next_file(log, path, from_reserve);
    for (int i = 0; i < HANDLE_TRIES && err == JET_errOutOfFileHandles; i++) {
        os_sleep_ms(SHORT_WAIT_MS);
        err = try_next_file(log, path, from_reserve);
    }
    return err;
}

/* A rollback has nothing to fall back on when handles, memory or the reserve's space are short: it waits for them a while. */
static err_t make_next_file(struct log *log, bool *from_reserve)
{
    char path[OS_PATH_MAX];
    *from_reserve = false;
    TRY_RETURN(log__file_path(log, "tmp", log__extension(log->config.legacy_names), path));
    err_t err = try_with_spare(log, path, from_reserve);
    for (int i = 0; i < SHORT_TRIES && passes(err) && atomic_load(&log->use_reserve) != 0; i++) {
        os_sleep_ms(SHORT_WAIT_MS);
        err = try_next_file(log, path, from_reserve);
    }
    if (err >= 0)
        (void)give_up_spare(log);
    return err;
}

err_t log__next_make(struct log *log)
{
    os_lock_take(&log->buffer_lock);
    while (log->next == NEXT_MAKING)
        os_cond_wait(&log->next_cond, &log->buffer_lock);
    bool mine = log->next == NEXT_NONE;
    if (mine)
        log->next = NEXT_MAKING;
    os_lock_release(&log->buffer_lock);
    if (!mine)
        return JET_errSuccess;

    /* Its name must last before a roll moves the current file away: without a current file, the next
     * one is what tells a roll cut in half from a lost log. The roll's own first sync comes too late: until it ends, a power cut may
     * leave the rename and not this name. */
    bool from_reserve;
    err_t err = make_next_file(log, &from_reserve);
    if (err >= 0 && !PYJET_BREAK_NEXT_NAME)
        err = os_dir_sync(log->log_dir);

    os_lock_take(&log->buffer_lock);
    log->next = err < 0 ? NEXT_NONE : NEXT_READY;
    log->next_from_reserve = from_reserve;
    os_cond_broadcast(&log->next_cond);
    os_lock_release(&log->buffer_lock);
    return err;
}

err_t log_prepare_next(struct log *log, bool *worked)
{
    *worked = false;
    if (!log->config.enabled || !log->started)
        return JET_errSuccess;
    TRY_RETURN(log__check(log));
    os_lock_take(&log->buffer_lock);
    bool needed = log->next == NEXT_NONE && !log->stopped;
    os_lock_release(&log->buffer_lock);
    if (needed) {
        TRY_RETURN(log__next_make(log));
        *worked = true;
    }
    return atomic_load(&log->use_reserve) > 0 ? JET_errSuccess : log__reserve_make(log, worked);
}

bool log_lacks_next(struct log *log, uint32_t *fill_percent)
{
    os_lock_take(&log->buffer_lock);
    bool lacks = log->next == NEXT_NONE;
    *fill_percent = log->cur_isec * 100 / log->last_data;
    os_lock_release(&log->buffer_lock);
    return lacks;
}

void log_wait_roll(struct log *log, uint32_t ms)
{
    if (!log->config.enabled) {
        os_sleep_ms(ms);
        return;
    }
    os_lock_take(&log->buffer_lock);
    while (log->rolls == log->rolls_seen && !log->stopped && !log->rung)
        if (!os_cond_wait_ms(&log->roll_cond, &log->buffer_lock, ms))
            break;
    log->rolls_seen = log->rolls;
    log->rung = false;
    os_lock_release(&log->buffer_lock);
}

void log_ring(struct log *log)
{
    os_lock_take(&log->buffer_lock);
    log->rung = log->flusher_rung = true;
    os_cond_broadcast(&log->roll_cond);
    os_cond_broadcast(&log->full_cond);
    os_lock_release(&log->buffer_lock);
}

void log_use_reserve(struct log *log, bool on)
{
    atomic_fetch_add(&log->use_reserve, on ? 1 : -1);
}

/* ---- the roll ---- */

err_t log__begin_generation_locked(struct log *log)
{
    ASSERT(log->next == NEXT_READY && !log->pending);
    if (log->cur_gen + 1 >= LOG_GENERATION_LAST)
        return RAISE(JET_errLogSequenceEnd);
    if (log->fill > 0)
        log__close_segment_locked(log, false);
    log->cur_from_reserve = log->next_from_reserve;
    struct logtime created_previous = log->sequence.created;
    log->cur_gen++;
    log->cur_isec = 1;
    log->next_at = LGPOS(log->cur_gen, 1, 0);
    log__header_build_locked(log, &created_previous);
    log->next = NEXT_TAKEN;
    log->pending = true;
    log->border_seq = log->cur_seq;
    atomic_store(&log->generation, log->cur_gen);
    atomic_store(&log->tail, log->next_at);
    return JET_errSuccess;
}

/* Header into the next file; current -> archive name of `archive` (0: there is none); next ->
 * current. The folder is synced after each rename (decision 4): after the first, so that a crash
 * leaves the old file under one of its two names also where a disk does not keep the order of
 * renames; after the second, since the next file after it takes the name <base>tmp, and where that
 * lasts and the rename does not, all that was committed since is gone. Nothing is opened: neither a
 * full disk nor a lack of handles can stop a roll on its way. Nothing is closed: the old file's
 * handle is the spare for the next file. */
static err_t switch_files(struct log *log, uint32_t archive)
{
    char current[OS_PATH_MAX], archived[OS_PATH_MAX], name[32];
    unsigned legacy = log->config.legacy_names;
    TRY_RETURN(log__file_path(log, "", log__extension(legacy), current));
    log__header_seal(log);
    TRY_RETURN(os_file_write(log->next_file, 0, log->header, LOG_SEGMENT));
    if (!PYJET_BREAK_LOG_HEADER)
        TRY_RETURN(os_file_sync(log->next_file));
    os_file_close(log->spare);
    log->spare = log->file;
    log->file = NULL;
    if (archive != 0) {
        TRY_RETURN(log_name(log->base_name, archive, legacy, name, sizeof name));
        TRY_RETURN(os_join(archived, sizeof archived, log->log_dir, name));
        TRY_RETURN(os_rename(current, archived));
        if (!PYJET_BREAK_ARCHIVE_NAME)
            TRY_RETURN(os_dir_sync(log->log_dir));
    }
    TRY_RETURN(os_file_rename(log->next_file, current));
    log->file = log->next_file;
    log->next_file = NULL;
    return PYJET_BREAK_CURRENT_NAME ? JET_errSuccess : os_dir_sync(log->log_dir);
}

static void file_is_current(struct log *log, uint32_t generation)
{
    log->accumulated = 0;
    log->disk_isec = 1;
    atomic_store(&log->disk_gen, generation);
    os_lock_take(&log->buffer_lock);
    log->pending = false;
    log->next = NEXT_NONE;
    log->rolls++;
    os_cond_broadcast(&log->next_cond);
    os_cond_broadcast(&log->roll_cond);
    os_lock_release(&log->buffer_lock);
    atomic_store(&log->flushed, LGPOS(generation, 1, 0));
}

err_t log__roll_files(struct log *log)
{
    uint32_t generation = atomic_load(&log->disk_gen);
    TRY_RETURN(switch_files(log, generation));
    file_is_current(log, generation + 1);
    return JET_errSuccess;
}

err_t log__install_first(struct log *log, uint32_t archive, const struct logtime *created_previous)
{
    TRY_RETURN(log__next_make(log));
    log__header_build_locked(log, created_previous); /* nobody else is there yet */
    TRY_RETURN(switch_files(log, archive));
    file_is_current(log, log->cur_gen);
    return JET_errSuccess;
}

err_t log_roll(struct log *log, uint32_t *closed)
{
    *closed = 0;
    if (!log->config.enabled)
        return RAISE(JET_errLoggingDisabled);
    for (;;) {
        TRY_RETURN(log__check(log));
        os_lock_take(&log->buffer_lock);
        lgpos_t start = LGPOS(log->cur_gen, 1, 0);
        bool empty = log->next_at <= start, pending = log->pending;
        err_t err = JET_errSuccess;
        bool begun = !empty && !pending && log->next == NEXT_READY;
        if (begun)
            err = log__begin_generation_locked(log);
        *closed = log->cur_gen - 1;
        os_lock_release(&log->buffer_lock);
        TRY_RETURN(err);
        if (begun)
            return log_flush(log, LGPOS(*closed + 1, 1, 0));
        if (empty || pending)
            TRY_RETURN(log_flush(log, start));
        if (empty)
            return JET_errSuccess;
        if (!pending)
            TRY_RETURN(log__next_make(log));
    }
}
