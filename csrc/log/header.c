/* Log headers, attach lists and instance parameters as bytes. */
#include <stdio.h>

#include "log/log_private.h"

/* ---- paths: UTF-16 on disk, UTF-8 here. Bytes that are no UTF-8 go through lone low surrogates
 * and back. ---- */

static uint32_t utf8_next(const uint8_t *s, uint32_t *used)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t n = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
    bool good = n == 1 || (s[0] >= 0xC2 && s[0] <= 0xF4);
    for (uint32_t i = 1; good && i < n; i++) {
        good = (s[i] & 0xC0) == 0x80; /* the NUL ends the string before s[n] is read */
        c = c << 6 | (s[i] & 0x3F);
    }
    if (!good || c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        *used = 1;
        return 0xDC00u + s[0];
    }
    *used = n;
    return c;
}

uint32_t log_path_store(const char *path, uint8_t *to, uint32_t room)
{
    const uint8_t *s = (const uint8_t *)path;
    uint32_t n = 0, used;
    while (*s != 0) {
        uint32_t c = utf8_next(s, &used);
        if (n + 4 > room)
            return 0;
        if (c > 0xFFFF) {
            store_u16(to + n, (uint16_t)(0xD7C0 + (c >> 10)));
            n += 2;
            c = 0xDC00 + (c & 0x3FF);
        }
        store_u16(to + n, (uint16_t)c);
        n += 2;
        s += used;
    }
    if (n + 2 > room)
        return 0;
    store_u16(to + n, 0);
    return n + 2;
}

static uint32_t utf8_put(uint32_t c, uint8_t *to)
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    if (c >= 0xDC80 && c <= 0xDCFF) {
        to[0] = (uint8_t)(c - 0xDC00);
        return 1;
    }
    uint32_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (uint8_t)(0x80 | (c & 0x3F));
    to[0] = (uint8_t)((0xF00u >> n) | c);
    return n;
}

bool log_path_load(const uint8_t *from, uint32_t n, bool wide, char *to, uint32_t room)
{
    uint32_t out = 0, step = wide ? 2 : 1;
    for (uint32_t i = 0; i + step <= n; i += step) {
        uint32_t c = wide ? load_u16(from + i) : from[i];
        if (c == 0)
            break;
        if (wide && c >= 0xD800 && c <= 0xDBFF && i + 4 <= n) {
            uint32_t low = load_u16(from + i + 2);
            if (low >= 0xDC00 && low <= 0xDFFF) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                i += 2;
            }
        }
        if (out + 5 > room)
            return false;
        out += utf8_put(c, (uint8_t *)to + out);
    }
    to[out] = 0;
    return true;
}

/* ---- attach lists ---- */

uint32_t log__pack_attached(const struct log_attach_info *info, uint8_t *to, uint32_t room)
{
    if (room < ATT_NAMES + 1)
        return 0;
    /* one byte stays: the zero dbid that ends the list */
    uint32_t names = log_path_store(info->path, to + ATT_NAMES, room - ATT_NAMES - 1);
    if (names == 0)
        return 0;
    memset(to, 0, ATT_NAMES);
    to[ATT_DBID] = info->dbid;
    to[ATT_FLAGS] = ATT_UTF16;
    store_u16(to + ATT_NAME_SIZE, (uint16_t)names);
    store_u64(to + ATT_DBTIME, info->dbtime);
    store_u32(to + ATT_OBJID, info->objid_last);
    store_u64(to + ATT_LGPOS_ATTACH, info->lgpos_attach);
    store_u64(to + ATT_LGPOS_CONSISTENT, info->lgpos_consistent);
    memcpy(to + ATT_SIGNATURE, info->sign_db.b, sizeof info->sign_db.b);
    return ATT_NAMES + names;
}

err_t log__unpack_attached(const uint8_t *area, struct log_attach_info *list, int *count)
{
    uint32_t at = 0;
    *count = 0;
    while (at < LOG_ATTACH_ROOM && area[at] != 0) {
        const uint8_t *p = area + at;
        if (*count == DBID_MAX || at + ATT_NAMES > LOG_ATTACH_ROOM)
            return RAISE(JET_errLogFileCorrupt);
        uint32_t names = load_u16(p + ATT_NAME_SIZE);
        if (names > LOG_ATTACH_ROOM - at - ATT_NAMES)
            return RAISE(JET_errLogFileCorrupt);
        struct log_attach_info *info = &list[(*count)++];
        info->dbid = p[ATT_DBID];
        info->dbtime = load_u64(p + ATT_DBTIME);
        info->objid_last = load_u32(p + ATT_OBJID);
        info->lgpos_attach = load_u64(p + ATT_LGPOS_ATTACH);
        info->lgpos_consistent = load_u64(p + ATT_LGPOS_CONSISTENT);
        memcpy(info->sign_db.b, p + ATT_SIGNATURE, sizeof info->sign_db.b);
        if (!log_path_load(p + ATT_NAMES, names, (p[ATT_FLAGS] & ATT_UTF16) != 0, info->path,
                           sizeof info->path))
            return RAISE(JET_errLogFileCorrupt);
        at += ATT_NAMES + names;
    }
    return JET_errSuccess;
}

static void pack_list(const struct log_attached *list, int count, uint8_t *area, uint32_t *at,
                      int *packed)
{
    uint32_t n = 0;
    memset(area, 0, LOG_ATTACH_ROOM);
    for (*packed = 0; *packed < count; (*packed)++) {
        const struct log_attached *a = &list[*packed];
        struct log_attach_info info = {.dbid = a->dbid,
                                       .lgpos_attach = a->lgpos_attach,
                                       .lgpos_consistent = a->lgpos_consistent,
                                       .sign_db = a->sign_db};
        if (strlen(a->path) >= sizeof info.path)
            return;
        memcpy(info.path, a->path, strlen(a->path) + 1);
        uint32_t size = log__pack_attached(&info, area + n, LOG_ATTACH_ROOM - n);
        if (size == 0)
            return;
        at[*packed] = n;
        n += size;
    }
}

err_t log_check_attached(const struct log_attached *list, int count)
{
    uint8_t area[LOG_ATTACH_ROOM];
    uint32_t at[DBID_MAX];
    int packed = 0;
    if (count <= DBID_MAX)
        pack_list(list, count, area, at, &packed);
    if (packed == count)
        return JET_errSuccess;
    err_t err = RAISE(JET_errTooManyAttachedDatabases);
    err_detail("the paths of %d databases do not fit in a log header", count);
    return err;
}

void log_set_attached(struct log *log, const struct log_attached *list, int count)
{
    uint8_t area[LOG_ATTACH_ROOM];
    uint32_t at[DBID_MAX];
    int packed = 0;
    ENFORCE(count <= DBID_MAX);
    pack_list(list, count, area, at, &packed);
    ENFORCE(packed == count); /* the caller asked log_check_attached before it attached */
    os_lock_take(&log->buffer_lock);
    memcpy(log->attach_area, area, sizeof area);
    memcpy(log->attached_at, at, sizeof at);
    for (int i = 0; i < count; i++) {
        log->attached[i] = list[i];
        log->attached[i].path = NULL; /* the area holds it */
    }
    log->attached_count = count;
    os_lock_release(&log->buffer_lock);
}

/* ---- headers ---- */

void log_store_params(const struct log *log, uint8_t *to)
{
    memset(to, 0, DBMS_SIZE_ON_DISK);
    snprintf((char *)to + DBMS_SYSTEM_PATH, DBMS_PATH_ROOM, "%s", log->system_dir);
    snprintf((char *)to + DBMS_LOG_PATH, DBMS_PATH_ROOM, "%s", log->log_dir);
    to[DBMS_FLAGS] = log->config.circular;
    store_u32(to + DBMS_LOG_BUFFERS, log->ring_segments);
    store_u32(to + DBMS_FILE_SEGMENTS, log->file_segments);
}

void log__header_build_locked(struct log *log, const struct logtime *created_previous)
{
    uint8_t *h = log->header;
    struct log_sequence *s = &log->sequence;
    memset(h, 0, LOG_SEGMENT);
    s->flags =
        (uint8_t)((s->flags & (HDR_CIRCULAR | HDR_CIRCULAR_ONCE)) != 0 ? HDR_CIRCULAR_ONCE : 0);
    s->flags |= (uint8_t)((log->config.circular ? HDR_CIRCULAR : 0) |
                          (log->next_from_reserve ? HDR_FROM_RESERVE : 0));
    os_logtime_now(&s->created);
    store_u32(h + HDR_GENERATION, log->cur_gen);
    store_u16(h + HDR_SEGMENT, LOG_SEGMENT);
    store_u16(h + HDR_HEADER_SEGMENTS, 1);
    store_u16(h + HDR_FILE_SEGMENTS, (uint16_t)log->file_segments);
    store_u16(h + HDR_PAGE_SIZE, (uint16_t)log->config.page_size);
    memcpy(h + HDR_CREATED, s->created.b, 8);
    memcpy(h + HDR_CREATED_PREVIOUS, created_previous->b, 8);
    store_u32(h + HDR_MAJOR, LOG_MAJOR);
    store_u32(h + HDR_MINOR, LOG_MINOR);
    store_u32(h + HDR_UPDATE_MAJOR, s->update_major);
    memcpy(h + HDR_SIGNATURE, s->signature.b, sizeof s->signature.b);
    log_store_params(log, h + HDR_DBMS);
    h[HDR_FLAGS] = s->flags;
    store_u64(h + HDR_CHECKPOINT, atomic_load(&log->checkpoint_hint));
    store_u32(h + HDR_UPDATE_MINOR, s->update_minor);
    store_u32(h + HDR_FILE_TYPE, LOG_FILE_TYPE);
    memcpy(h + HDR_ATTACH, log->attach_area, LOG_ATTACH_ROOM);
    /* Under buffer_lock no dbtime can be drawn: these are exact for the first position of the
     * generation. */
    for (int i = 0; i < log->attached_count; i++) {
        uint8_t *entry = h + HDR_ATTACH + log->attached_at[i];
        store_u64(entry + ATT_DBTIME, atomic_load(log->attached[i].dbtime));
        store_u32(entry + ATT_OBJID, atomic_load(log->attached[i].objid_last));
    }
}

void log__header_seal(struct log *log)
{
    store_u64(log->header + HDR_CHECKSUM_PREVIOUS, log->accumulated);
    store_u32(log->header + HDR_CHECKSUM, checksum_xor(log->header, LOG_SEGMENT));
}

static err_t check_version(const struct log_header *h)
{
    if (h->major == LOG_MAJOR && h->minor == LOG_MINOR && h->update_major <= LOG_UPDATE_MAJOR_READ)
        return JET_errSuccess;
    err_t err = RAISE(JET_errBadLogVersion);
    err_detail("log generation %X has format %u.%u.%u.%u", h->generation, h->major, h->minor,
               h->update_major, h->update_minor);
    return err;
}

err_t log__header_decode(const uint8_t *b, struct log_header *out)
{
    memset(out, 0, sizeof *out);
    if (load_u32(b + HDR_CHECKSUM) != checksum_xor(b, LOG_SEGMENT))
        return RAISE(JET_errLogFileCorrupt);
    out->generation = load_u32(b + HDR_GENERATION);
    out->major = load_u32(b + HDR_MAJOR);
    out->minor = load_u32(b + HDR_MINOR);
    out->update_major = load_u32(b + HDR_UPDATE_MAJOR);
    out->update_minor = load_u32(b + HDR_UPDATE_MINOR);
    uint32_t type = load_u32(b + HDR_FILE_TYPE), segments = load_u16(b + HDR_FILE_SEGMENTS);
    if (out->generation == 0 || out->generation > INT32_MAX || (type != LOG_FILE_TYPE && type != 0))
        return RAISE(JET_errLogFileCorrupt);
    TRY_RETURN(check_version(out));
    if (load_u16(b + HDR_SEGMENT) != LOG_SEGMENT || load_u16(b + HDR_HEADER_SEGMENTS) != 1)
        return RAISE(JET_errLogSectorSizeMismatch);
    if (segments < LOG_SEGMENTS_MIN)
        return RAISE(JET_errLogFileCorrupt);
    out->file_size = segments * LOG_SEGMENT;
    out->page_size = load_u16(b + HDR_PAGE_SIZE);
    if (out->page_size == 0)
        out->page_size = 4096;
    memcpy(out->created.b, b + HDR_CREATED, 8);
    memcpy(out->created_previous.b, b + HDR_CREATED_PREVIOUS, 8);
    memcpy(out->signature.b, b + HDR_SIGNATURE, sizeof out->signature.b);
    out->flags = b[HDR_FLAGS];
    out->checkpoint = load_u64(b + HDR_CHECKPOINT);
    out->checksum_previous = load_u64(b + HDR_CHECKSUM_PREVIOUS);
    return log__unpack_attached(b + HDR_ATTACH, out->attached, &out->attached_count);
}

err_t log_read_header(const char *path, struct log_header *out)
{
    err_t err = JET_errSuccess;
    struct os_file *f = NULL;
    uint8_t block[LOG_SEGMENT];
    uint64_t size;
    size_t got;

    TRY(os_file_open(path, OS_READ, &f));
    TRY(os_file_read_some(f, 0, block, sizeof block, &got));
    if (got < sizeof block)
        FAIL(JET_errLogFileCorrupt);
    TRY(log__header_decode(block, out));
    TRY(os_file_size(f, &size));
    if (size != out->file_size)
        FAIL(JET_errLogFileSizeMismatch);
out:
    if (err < 0 && err_last()->detail[0] == 0)
        err_detail("log %s", path);
    os_file_close(f);
    return err;
}
