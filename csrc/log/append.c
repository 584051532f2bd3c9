/* The ring: records get their positions and bytes under buffer_lock. No I/O happens under it. */
#include "log/log_private.h"

/* ---- placing: where a record of n bytes goes, before any byte is written ---- */

struct place {
    uint32_t isec, fill; /* as cur_isec, fill */
    uint32_t begun;      /* segments that the plan begins */
};

static uint32_t room_in(const struct log *log, const struct place *p)
{
    if (p->isec > log->last_data)
        return 0;
    uint32_t room = LOG_SEGMENT - (p->fill == 0 ? LOG_SEGMENT_HEAD : p->fill);
    return p->isec == log->last_data ? room - 1
                                     : room; /* one byte of the last data segment stays NOP */
}

static void take(struct place *p, uint32_t n)
{
    if (p->fill == 0) {
        p->fill = LOG_SEGMENT_HEAD;
        p->begun++;
    }
    p->fill += n;
    if (p->fill == LOG_SEGMENT) {
        p->isec++;
        p->fill = 0;
    }
}

static void leave_segment(struct place *p)
{
    p->isec++;
    p->fill = 0;
}

/* False when the record does not end within the generation. */
static bool place_record(const struct log *log, struct place *p, uint32_t n)
{
    uint32_t room = room_in(log, p);
    if (n > room && room < FRAGMENT_ROOM_MIN && p->isec < log->last_data) {
        leave_segment(p);
        room = room_in(log, p);
    }
    if (n <= room) {
        take(p, n);
        return true;
    }
    if (p->isec >= log->last_data)
        return false;
    uint32_t rest = n - (room - FRAGMENT_BEGIN_HEAD);
    take(p, room);
    for (;;) {
        room = room_in(log, p);
        if (room == 0)
            return false;
        if (rest + FRAGMENT_HEAD <= room) {
            take(p, rest + FRAGMENT_HEAD);
            return true;
        }
        if (p->isec == log->last_data)
            return false;
        rest -= room - FRAGMENT_HEAD;
        take(p, room);
    }
}

static uint32_t record_bytes(const struct log_record *r)
{
    uint32_t n = 0;
    for (int i = 0; i < r->part_count; i++)
        n += r->part[i].n;
    return n;
}

static bool place_all(const struct log *log, struct place *p, const struct log_record *records,
                      int count)
{
    for (int i = 0; i < count; i++)
        if (!place_record(log, p, record_bytes(&records[i])))
            return false;
    return true;
}

/* ---- writing into the ring ---- */

static void begin_segment(struct log *log)
{
    uint8_t *s = log__slot(log, log->cur_seq);
    memset(s, 0, LOG_SEGMENT);
    store_u64(s + SEG_LGPOS, LGPOS(log->cur_gen, log->cur_isec, 0));
    store_u32(s + SEG_FLAGS, SEG_FLAG_NEW_CHECKSUM);
    log->fill = LOG_SEGMENT_HEAD;
}

static void end_segment(struct log *log)
{
    log->cur_seq++;
    log->cur_isec++;
    log->fill = 0;
}

/* The rest becomes a NOP2 (mark: somebody waits) or NOPs. After NOPs the next record's position is
 * the first NOP. */
void log__close_segment_locked(struct log *log, bool mark)
{
    uint32_t rest = LOG_SEGMENT - log->fill;
    if (mark && rest >= NOP2_HEAD && log->cur_isec < log->last_data) {
        uint8_t *p = log__slot(log, log->cur_seq) + log->fill;
        p[0] = LOG_NOP2;
        store_u32(p + 1, rest - NOP2_HEAD);
        log->next_at = LGPOS(log->cur_gen, log->cur_isec + 1, 0);
    }
    end_segment(log);
}

/* The parts of a record as one stream. */
struct source {
    const struct log_record *record;
    int part;
    uint32_t at;
};

static void copy_out(struct source *s, uint8_t *to, uint32_t n)
{
    while (n > 0) {
        struct slice part = s->record->part[s->part];
        uint32_t some = part.n - s->at < n ? part.n - s->at : n;
        if (some > 0)
            memcpy(to, part.p + s->at, some);
        to += some;
        n -= some;
        s->at += some;
        if (s->at == part.n) {
            s->part++;
            s->at = 0;
        }
    }
}

/* head bytes, then n bytes of the record, at the tail of the current segment. */
static void put(struct log *log, const uint8_t *head, uint32_t head_size, struct source *s,
                uint32_t n)
{
    if (log->fill == 0)
        begin_segment(log);
    uint8_t *to = log__slot(log, log->cur_seq) + log->fill;
    memcpy(to, head, head_size);
    copy_out(s, to + head_size, n);
    log->fill += head_size + n;
    if (log->fill == LOG_SEGMENT)
        end_segment(log);
}

/* A record that ends in the current segment. */
static void put_whole(struct log *log, const struct log_record *r)
{
    if (log->fill == 0)
        begin_segment(log);
    uint8_t *to = log__slot(log, log->cur_seq);
    for (int i = 0; i < r->part_count; i++) {
        if (r->part[i].n > 0)
            memcpy(to + log->fill, r->part[i].p, r->part[i].n);
        log->fill += r->part[i].n;
    }
    if (log->fill == LOG_SEGMENT)
        end_segment(log);
}

static uint32_t room_now(const struct log *log)
{
    return room_in(log, &(struct place){log->cur_isec, log->fill, 0});
}

/* Mirrors place_record, which has proved that it fits. Returns the record's position. */
static lgpos_t put_record(struct log *log, const struct log_record *r, uint32_t n)
{
    struct source s = {.record = r};
    uint8_t head[FRAGMENT_BEGIN_HEAD] = {0};
    uint32_t room = room_now(log);
    if (n > room && room < FRAGMENT_ROOM_MIN) {
        log__close_segment_locked(log, false);
        room = room_now(log);
    }
    lgpos_t at = log->next_at;
    if (n <= room) {
        put_whole(log, r);
    } else {
        uint32_t rest = n, piece = room - FRAGMENT_BEGIN_HEAD;
        head[0] = LOG_FragmentBegin;
        store_u32(head + 1, n);
        store_u16(head + 5, (uint16_t)piece);
        put(log, head, FRAGMENT_BEGIN_HEAD, &s, piece);
        head[0] = LOG_Fragment;
        for (rest -= piece; rest > 0; rest -= piece) {
            room = room_now(log) - FRAGMENT_HEAD;
            piece = rest < room ? rest : room;
            store_u16(head + 1, (uint16_t)piece);
            put(log, head, FRAGMENT_HEAD, &s, piece);
        }
    }
    log->next_at = LGPOS(log->cur_gen, log->cur_isec, log->fill);
    return at;
}

/* ---- stamps ---- */

static void stamp_records(struct log_record *records, int count, struct log_stamp *stamp)
{
    if (stamp->dbtime_counter != NULL) { /* moves under this lock only */
        stamp->dbtime = atomic_load_explicit(stamp->dbtime_counter, memory_order_relaxed) + 1;
        atomic_store_explicit(stamp->dbtime_counter, stamp->dbtime, memory_order_release);
    }
    if (stamp->commit_counter != NULL)
        stamp->commit_number =
            atomic_load_explicit(stamp->commit_counter, memory_order_relaxed) + 4;
    for (int i = 0; i < count; i++) {
        struct log_record *r = &records[i];
        ASSERT(r->dbtime_at == 0 || stamp->dbtime_counter != NULL);
        ASSERT(r->commit_at == 0 || stamp->commit_counter != NULL);
        if (r->dbtime_at > 0)
            store_u64(r->head + r->dbtime_at, stamp->dbtime);
        if (r->commit_at > 0)
            store_u32(r->head + r->commit_at, (uint32_t)stamp->commit_number);
    }
}

/* Whoever sees the counter sees what on_commit did, and its record has its place in the log. */
static void publish_commit(struct log_stamp *stamp)
{
    if (stamp->commit_counter == NULL)
        return;
    if (stamp->on_commit != NULL)
        stamp->on_commit(stamp->context, stamp->commit_number);
    atomic_store_explicit(stamp->commit_counter, stamp->commit_number, memory_order_release);
}

/* ---- append ---- */

enum want { WANT_NOTHING, WANT_RING, WANT_ROLL, WANT_NEXT };

/* What is missing before the call can go in; with WANT_NOTHING the tail stands where placing may
 * begin. The call stays within one generation: when the rest of this one is too small, the next
 * begins here. */
static err_t make_ready_locked(struct log *log, const struct log_record *records, int count,
                               enum want *want)
{
    struct place p = {log->cur_isec, log->fill, log->fill > 0 ? 1 : 0};
    bool roll = !place_all(log, &p, records, count);
    uint32_t needed = p.begun;
    if (roll) {
        p = (struct place){1, 0, 0};
        bool fits = place_all(log, &p, records, count);
        needed = p.begun + (log->fill > 0 ? 1 : 0);
        if (!fits) {
            err_t err = RAISE(JET_errLogBufferTooSmall);
            err_detail("records of one change do not fit in a log of %u bytes",
                       log->config.file_size);
            return err;
        }
    }
    *want = WANT_NOTHING;
    if (needed > log->ring_segments)
        return RAISE(JET_errLogBufferTooSmall);
    uint64_t used = log__unwritten_locked(log);
    bool reserved = log->cur_from_reserve && atomic_load(&log->use_reserve) == 0; /* not for new changes */
    if ((roll || reserved) && log->next != NEXT_READY)
        *want = log->pending ? WANT_ROLL : WANT_NEXT;
    else if (used + needed > log->ring_segments)
        *want = WANT_RING;
    else if (roll)
        return log__begin_generation_locked(log);
    return JET_errSuccess;
}

static void finish_append(struct log *log, uint64_t bytes, struct log_stamp *stamp)
{
    stamp->end = log->next_at;
    atomic_store_explicit(&log->last_end, log->next_at, memory_order_release);
    atomic_store_explicit(&log->tail, log->next_at, memory_order_release);
    bytes += atomic_load_explicit(&log->bytes_appended, memory_order_relaxed); /* written under the lock only */
    atomic_store_explicit(&log->bytes_appended, bytes, memory_order_relaxed);
    publish_commit(stamp);
}

/* One record in the segment that is begun, as nearly all: nothing to place, no room to look for. */
static bool is_plain_locked(const struct log *log, int count, uint32_t bytes)
{
    return count == 1 && log->fill > 0 && log->fill + bytes < LOG_SEGMENT && log->cur_isec < log->last_data && !log->cur_from_reserve;
}

static void append_locked(struct log *log, struct log_record *records, int count,
                          struct log_stamp *stamp)
{
    stamp_records(records, count, stamp);
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        uint32_t n = record_bytes(&records[i]);
        stamp->last = put_record(log, &records[i], n);
        if (i == 0)
            stamp->first = stamp->last;
        bytes += n;
    }
    finish_append(log, bytes, stamp);
}

static void append_plain_locked(struct log *log, struct log_record *record, uint32_t bytes, struct log_stamp *stamp)
{
    stamp_records(record, 1, stamp);
    stamp->first = stamp->last = log->next_at;
    put_whole(log, record);
    log->next_at = LGPOS(log->cur_gen, log->cur_isec, log->fill);
    finish_append(log, bytes, stamp);
}

static err_t append_disabled(struct log *log, struct log_record *records, int count,
                             struct log_stamp *stamp)
{
    os_lock_take(&log->buffer_lock);
    stamp_records(records, count, stamp);
    stamp->first = stamp->last = stamp->end = LGPOS_MIN;
    publish_commit(stamp);
    os_lock_release(&log->buffer_lock);
    return JET_errSuccess;
}

/* Who waits for room waits for the older half of the ring, where it lies in this generation; else for all that is full. */
static lgpos_t room_behind_locked(const struct log *log)
{
    uint32_t half = log->ring_segments / 2;
    bool long_ring = log->cur_isec > half + 1 && log__unwritten_locked(log) > half;
    return LGPOS(log->cur_gen, long_ring ? log->cur_isec - half : log->cur_isec, 0);
}

static bool flusher_due_locked(struct log *log)
{
    bool due = log->flusher_waits && log__unwritten_locked(log) >= LOG_FLUSH_AHEAD;
    if (due)
        log->flusher_waits = false;
    return due;
}

static void check_records(const struct log_record *records, int count)
{
    for (int i = 0; i < count; i++) {
        const struct log_record *r = &records[i];
        uint32_t size;
        ENFORCE(r->part_count > 0 && r->part_count <= LOG_PARTS_MAX);
        ASSERT(log_record_size(r->part[0], &size) >= 0 && size == record_bytes(r));
        (void)r;
        (void)size;
    }
}

err_t log_append(struct log *log, struct log_record *records, int count, struct log_stamp *stamp)
{
    stamp->dbtime = 0;
    stamp->commit_number = 0;
    if (!log->config.enabled)
        return append_disabled(log, records, count, stamp);
    check_records(records, count);
    uint32_t bytes = record_bytes(&records[0]);
    for (;;) {
        enum want want = WANT_NOTHING;
        TRY_RETURN(log__check(log));
        os_lock_take(&log->buffer_lock);
        if (is_plain_locked(log, count, bytes) && !log->stopped) {
            append_plain_locked(log, records, bytes, stamp);
            os_lock_release(&log->buffer_lock);
            return JET_errSuccess;
        }
        err_t err = log->stopped ? RAISE(JET_errTermInProgress)
                                 : make_ready_locked(log, records, count, &want);
        if (err >= 0 && want == WANT_NOTHING)
            append_locked(log, records, count, stamp);
        bool appended = err >= 0 && want == WANT_NOTHING;
        lgpos_t room = appended ? LGPOS_MIN : room_behind_locked(log), begun = LGPOS(log->cur_gen, 1, 0);
        bool ring = flusher_due_locked(log);
        os_lock_release(&log->buffer_lock);
        if (ring)
            os_cond_signal(&log->full_cond);
        if (err < 0 || appended)
            return err;
        if (want == WANT_NEXT)
            TRY_RETURN(log__next_make(log));
        else
            TRY_RETURN(log_flush(log, want == WANT_ROLL ? begun : room));
    }
}
