/* Group commit: the first who waits writes for all. flush_lock's owner is the leader; the others
 * sleep on `epoch`. */
#include "log/log_private.h"

err_t log_poisoned(struct log *log)
{
    return atomic_load(&log->poison);
}

err_t log__check(struct log *log)
{
    err_t poison = atomic_load(&log->poison);
    return poison == 0 ? JET_errSuccess : RAISE(poison);
}

err_t log__poison(struct log *log, err_t cause)
{
    err_t none = 0;
    struct err_origin origin = *err_last();
    if (atomic_compare_exchange_strong(&log->poison, &none, JET_errLogWriteFail))
        event_report(455, EVENT_ERROR, log->instance_name,
                     "writing the log failed; the instance must be restarted", origin.detail,
                     err_name(cause), NULL);
    err_t err = RAISE(atomic_load(&log->poison));
    err_detail("%s: %.200s", err_name(cause), origin.detail);
    return err;
}

static void raise_to(_Atomic lgpos_t *target, lgpos_t value)
{
    lgpos_t seen = atomic_load(target);
    while (seen < value && !atomic_compare_exchange_weak(target, &seen, value))
        ;
}

static void wake(struct log *log)
{
    atomic_fetch_add(&log->epoch, 1);
    if (atomic_load(&log->waiters) > 0)
        os_unpark(&log->epoch, INT32_MAX);
}

void log__flush_release(struct log *log)
{
    os_lock_release(&log->flush_lock);
    wake(log);
}

/* ---- the leader ---- */

struct batch {
    uint64_t target; /* write the segments before it */
    uint64_t border; /* first segment of the pending generation; UINT64_MAX when none */
    bool roll;       /* the pending generation itself is wanted */
};

/* Fixes what this flush writes. A segment that somebody waits for is filled up with NOP2, so that
 * it is never written twice; all later records go to later batches (lost_batch in segment.c relies
 * on that). */
static void choose_batch(struct log *log, struct batch *b)
{
    os_lock_take(&log->buffer_lock);
    lgpos_t wanted = atomic_load(&log->wanted);
    if (log->fill > 0 && wanted > LGPOS(log->cur_gen, log->cur_isec, 0)) {
        log__close_segment_locked(log, true);
        atomic_store(&log->tail, log->next_at);
    }
    b->target = log->cur_seq;
    b->border = log->pending ? log->border_seq : UINT64_MAX;
    b->roll = log->pending && wanted >= LGPOS(log->cur_gen, 1, 0);
    os_lock_release(&log->buffer_lock);
}

/* Its time is that of the flush: what was durable at a moment lies in segments up to it (log_find_time). */
static void seal(struct log *log, uint64_t seq, uint32_t isec, const struct logtime *now)
{
    uint8_t *segment = log__slot(log, seq);
    memcpy(segment + SEG_TIME, now->b, sizeof now->b);
    log->accumulated ^= log__seal_segment(segment, isec);
}

/* One write (two at the ring's end), then one sync. */
static err_t write_batch(struct log *log, uint64_t first, uint32_t n)
{
    struct logtime now;
    os_logtime_now(&now);
    for (uint32_t i = 0; i < n; i++)
        seal(log, first + i, log->disk_isec + i, &now);
    for (uint32_t i = 0; i < n;) {
        uint32_t to_wrap = log->ring_segments - (uint32_t)((first + i) % log->ring_segments);
        uint32_t some = n - i < to_wrap ? n - i : to_wrap;
        uint64_t offset = (uint64_t)(log->disk_isec + i) * LOG_SEGMENT;
        TRY_RETURN(os_file_write(log->file, offset, log__slot(log, first + i),
                                 (size_t)some * LOG_SEGMENT));
        i += some;
    }
    if (!PYJET_BREAK_FSYNC && !(PYJET_BREAK_RETRY && os_file_sync(log->file) >= 0))
        TRY_RETURN(os_file_sync(log->file));
    atomic_fetch_add_explicit(&log->flush_count, 1, memory_order_relaxed);
    log->disk_isec += n;
    atomic_store_explicit(&log->written_seq, first + n, memory_order_release);
    atomic_store(&log->flushed, LGPOS(atomic_load(&log->disk_gen), log->disk_isec, 0));
    return JET_errSuccess;
}

static err_t lead(struct log *log, bool waited)
{
    while (atomic_load(&log->frozen) != 0)
        os_park(&log->frozen, 1);
    /* Where others commit too, one yield lets them append first: more records for one sync. */
    if (waited || log->group_last > 1)
        os_yield();
    struct batch b;
    choose_batch(log, &b);
    uint64_t written = atomic_load(&log->written_seq);
    while (written < b.target || (written == b.border && b.roll)) {
        if (written == b.border) {
            TRY_RETURN(log__roll_files(log));
            b.border = UINT64_MAX;
            continue;
        }
        uint64_t end = b.target < b.border ? b.target : b.border;
        uint32_t n = end - written < LOG_WINDOW ? (uint32_t)(end - written) : LOG_WINDOW;
        TRY_RETURN(write_batch(log, written, n));
        written += n;
        if (written < b.target)
            wake(log); /* who waits for room or an earlier record need not wait for the rest */
    }
    log->group_last = atomic_load(&log->waiters) + 1;
    return JET_errSuccess;
}

err_t log_flush(struct log *log, lgpos_t end)
{
    if (!log->config.enabled)
        return JET_errSuccess;
    lgpos_t tail = atomic_load(&log->tail);
    if (end > tail)
        end = tail;
    bool waited = false;
    raise_to(&log->wanted, end);
    while (atomic_load(&log->flushed) < end) {
        TRY_RETURN(log__check(log));
        uint32_t seen = atomic_load(&log->epoch);
        if (os_lock_try(&log->flush_lock)) {
            err_t err = log__check(
                log); /* nothing is written after a failure, not even by who was waiting */
            if (err >= 0 && atomic_load(&log->flushed) < end)
                err = lead(log, waited);
            if (err < 0)
                err = log__poison(log, err);
            log__flush_release(log);
            TRY_RETURN(err);
        } else {
            atomic_fetch_add(&log->waiters, 1);
            if (atomic_load(&log->flushed) < end)
                os_park(&log->epoch, seen);
            atomic_fetch_sub(&log->waiters, 1);
            waited = true;
        }
    }
    return JET_errSuccess;
}

err_t log_flush_all(struct log *log)
{
    return log_flush(log, LGPOS_MAX);
}

/* ---- the flusher: full segments go out while others append ---- */

uint64_t log__unwritten_locked(const struct log *log)
{
    return log->cur_seq - atomic_load_explicit(&log->written_seq, memory_order_acquire);
}

err_t log_flush_full(struct log *log)
{
    if (!log->config.enabled || !log->started)
        return JET_errSuccess;
    os_lock_take(&log->buffer_lock);
    bool due = log__unwritten_locked(log) >= LOG_FLUSH_AHEAD;
    lgpos_t full = LGPOS(log->cur_gen, log->cur_isec, 0);
    os_lock_release(&log->buffer_lock);
    return due ? log_flush(log, full) : JET_errSuccess;
}

void log_wait_full(struct log *log, uint32_t ms)
{
    os_lock_take(&log->buffer_lock);
    while (log__unwritten_locked(log) < LOG_FLUSH_AHEAD && !log->stopped && !log->flusher_rung) {
        log->flusher_waits = true;
        if (!os_cond_wait_ms(&log->full_cond, &log->buffer_lock, ms))
            break;
    }
    log->flusher_waits = log->flusher_rung = false;
    os_lock_release(&log->buffer_lock);
}

/* ---- a freeze ---- */

void log_freeze(struct log *log)
{
    os_lock_take(&log->flush_lock); /* no leader is in the middle of a write */
    atomic_store(&log->frozen, 1);
    log__flush_release(log);
}

void log_thaw(struct log *log)
{
    atomic_store(&log->frozen, 0);
    os_unpark(&log->frozen, INT32_MAX);
}

/* ---- numbers ---- */

lgpos_t log_flushed(struct log *log)
{
    return atomic_load(&log->flushed);
}

lgpos_t log_last_end(struct log *log)
{
    return atomic_load(&log->last_end);
}

lgpos_t log_tail(struct log *log)
{
    return atomic_load(&log->tail);
}

uint32_t log_current_generation(struct log *log)
{
    return atomic_load(&log->generation);
}

uint64_t log_bytes_appended(struct log *log)
{
    return atomic_load(&log->bytes_appended);
}

uint64_t log_flush_count(struct log *log)
{
    return atomic_load(&log->flush_count);
}

bool log_is_enabled(struct log *log)
{
    return log->config.enabled;
}

uint32_t log_file_size(struct log *log)
{
    return log->config.file_size;
}

bool log_is_circular(struct log *log)
{
    return log->config.circular;
}

const struct signature *log_signature(struct log *log)
{
    return &log->sequence.signature;
}

void log_set_checkpoint_hint(struct log *log, lgpos_t checkpoint)
{
    atomic_store(&log->checkpoint_hint, checkpoint);
}
