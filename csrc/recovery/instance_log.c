#include <stdio.h>

#include "recovery/recovery.h"
#include "recovery/recovery_format.h"

/* The records of an instance's and a database's life. */

#define RECORD_UTF16 0x08  /* in records: names are UTF-16 */
#define RECORD_VERSION 0x04 /* CreateDB: a version follows */
#define CREATE_FIXED 43u
#define ATTACH_FIXED 75u
#define DETACH_FIXED 7u
#define CREATE_VERSION 2u /* "everything that follows is logged" */

struct piece { /* one record of bytes */
    uint8_t bytes[LOG_PARAMS_SIZE + 1200];
    uint32_t n;
};

static err_t append(struct log *log, struct piece *piece, lgpos_t *at)
{
    struct log_record record = {.part_count = 1, .part = {SLICE(piece->bytes, piece->n)}, .head = piece->bytes};
    struct log_stamp stamp = {0};
    TRY_RETURN(log_append(log, &record, 1, &stamp));
    if (at != NULL)
        *at = stamp.first;
    return JET_errSuccess;
}

static err_t put_path(struct piece *piece, uint32_t fixed, const char *path, uint32_t *size)
{
    *size = log_path_store(path, piece->bytes + fixed, (uint32_t)sizeof piece->bytes - fixed);
    if (*size == 0) {
        err_t err = RAISE(JET_errInvalidPath);
        err_detail("%s: a path of a database has at most 259 characters", path);
        return err;
    }
    return JET_errSuccess;
}

err_t recovery_log_create_db(struct log *log, uint16_t procid, dbid_t dbid, const char *path, const struct signature *sign_db,
                             JET_GRBIT grbit, lgpos_t *at)
{
    struct piece piece = {{0}, 0};
    uint32_t names;
    TRY_RETURN(put_path(&piece, CREATE_FIXED + 4, path, &names));
    uint8_t *p = piece.bytes;
    p[0] = LOG_CreateDB;
    store_u16(p + 1, procid);
    p[3] = dbid;
    store_u32(p + 4, grbit);
    memcpy(p + 12, sign_db->b, sizeof sign_db->b);
    store_u16(p + 40, (uint16_t)names);
    p[42] = RECORD_VERSION | RECORD_UTF16;
    store_u16(p + CREATE_FIXED, CREATE_VERSION);
    piece.n = CREATE_FIXED + 4 + names;
    return append(log, &piece, at);
}

err_t recovery_log_create_db_finish(struct log *log, uint16_t procid, dbid_t dbid)
{
    struct piece piece = {.n = 4};
    piece.bytes[0] = LOG_CreateDBFinish;
    store_u16(piece.bytes + 1, procid);
    piece.bytes[3] = dbid;
    return append(log, &piece, NULL);
}

err_t recovery_log_attach_db(struct log *log, uint16_t procid, dbid_t dbid, const char *path, const struct db_header *before,
                             lgpos_t *at)
{
    struct piece piece = {{0}, 0};
    uint32_t names;
    TRY_RETURN(put_path(&piece, ATTACH_FIXED, path, &names));
    uint8_t *p = piece.bytes;
    p[0] = LOG_AttachDB;
    store_u16(p + 1, procid);
    p[3] = dbid;
    store_u64(p + 8, before->lgpos_consistent);
    memcpy(p + 16, before->sign_db.b, sizeof before->sign_db.b);
    memcpy(p + 44, before->sign_log.b, sizeof before->sign_log.b);
    store_u16(p + 72, (uint16_t)names);
    p[74] = RECORD_UTF16;
    piece.n = ATTACH_FIXED + names;
    return append(log, &piece, at);
}

err_t recovery_log_detach_db(struct log *log, uint16_t procid, dbid_t dbid, const char *path, lgpos_t *at)
{
    struct piece piece = {{0}, 0};
    uint32_t names;
    TRY_RETURN(put_path(&piece, DETACH_FIXED, path, &names));
    uint8_t *p = piece.bytes;
    p[0] = LOG_DetachDB;
    store_u16(p + 1, procid);
    p[3] = dbid;
    store_u16(p + 4, (uint16_t)names);
    p[6] = RECORD_UTF16;
    piece.n = DETACH_FIXED + names;
    return append(log, &piece, at);
}

err_t recovery_log_init(struct log *log, lgpos_t *at)
{
    struct piece piece = {.n = 1 + LOG_PARAMS_SIZE + 8};
    struct logtime now;
    os_logtime_now(&now);
    piece.bytes[0] = LOG_Init2;
    log_store_params(log, piece.bytes + 1);
    memcpy(piece.bytes + 1 + LOG_PARAMS_SIZE, now.b, sizeof now.b);
    return append(log, &piece, at);
}

err_t recovery_log_shutdown_mark(struct log *log, lgpos_t *at)
{
    struct piece piece = {.n = 1};
    piece.bytes[0] = LOG_ShutDownMark;
    return append(log, &piece, at);
}

static err_t log_quit(struct log *log, enum log_type type, lgpos_t undo, lgpos_t redo_from, bool hard, lgpos_t *at)
{
    struct piece piece = {.n = 26};
    struct logtime now;
    os_logtime_now(&now);
    piece.bytes[0] = (uint8_t)type;
    store_u64(piece.bytes + 1, undo);
    store_u64(piece.bytes + 9, redo_from);
    piece.bytes[17] = hard;
    memcpy(piece.bytes + 18, now.b, sizeof now.b);
    return append(log, &piece, at);
}

err_t recovery_log_term(struct log *log, lgpos_t init_at, lgpos_t *at)
{
    return log_quit(log, LOG_Term2, init_at, LGPOS_MIN, false, at);
}

err_t recovery_log_quit(struct log *log, lgpos_t undo, lgpos_t redo_from, bool hard, lgpos_t *at)
{
    return log_quit(log, LOG_RecoveryQuit2, undo, redo_from, hard, at);
}

err_t recovery_log_undo(struct log *log, lgpos_t *at)
{
    struct piece piece = {.n = 9};
    struct logtime now;
    os_logtime_now(&now);
    piece.bytes[0] = LOG_RecoveryUndo2;
    memcpy(piece.bytes + 1, now.b, sizeof now.b);
    return append(log, &piece, at);
}

/* ---- decoding ---- */

static err_t bad_record(const char *what)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("a log record (%s) makes no sense", what);
    return err;
}

static bool load_names(struct slice record, uint32_t at, uint32_t n, bool wide, char *to, uint32_t room)
{
    return at <= record.n && n <= record.n - at && log_path_load(record.p + at, n, wide, to, room) && to[0] != 0;
}

err_t create_db_decode(struct slice record, struct create_db_record *out)
{
    if (record.n < CREATE_FIXED || record.p[0] != LOG_CreateDB)
        return bad_record("CreateDB");
    const uint8_t *p = record.p;
    *out = (struct create_db_record){
        .procid = load_u16(p + 1), .dbid = p[3], .grbit = load_u32(p + 4), .cpg_max = load_u32(p + 8), .flags = p[42]};
    memcpy(out->sign_db.b, p + 12, sizeof out->sign_db.b);
    uint32_t at = CREATE_FIXED + ((p[42] & RECORD_VERSION) != 0 ? 4 : 0);
    if (!load_names(record, at, load_u16(p + 40), (p[42] & RECORD_UTF16) != 0, out->path, sizeof out->path))
        return bad_record("CreateDB");
    return JET_errSuccess;
}

err_t attach_db_decode(struct slice record, struct attach_db_record *out)
{
    if (record.n < ATTACH_FIXED || record.p[0] != LOG_AttachDB)
        return bad_record("AttachDB");
    const uint8_t *p = record.p;
    *out = (struct attach_db_record){.procid = load_u16(p + 1),
                                     .dbid = p[3],
                                     .cpg_max = load_u32(p + 4),
                                     .lgpos_consistent = load_u64(p + 8),
                                     .flags = p[74]};
    memcpy(out->sign_db.b, p + 16, sizeof out->sign_db.b);
    memcpy(out->sign_log.b, p + 44, sizeof out->sign_log.b);
    if (!load_names(record, ATTACH_FIXED, load_u16(p + 72), (p[74] & RECORD_UTF16) != 0, out->path, sizeof out->path))
        return bad_record("AttachDB");
    return JET_errSuccess;
}

err_t detach_db_decode(struct slice record, struct detach_db_record *out)
{
    if (record.n < DETACH_FIXED || record.p[0] != LOG_DetachDB)
        return bad_record("DetachDB");
    const uint8_t *p = record.p;
    *out = (struct detach_db_record){.procid = load_u16(p + 1), .dbid = p[3], .flags = p[6]};
    if (!load_names(record, DETACH_FIXED, load_u16(p + 4), (p[6] & RECORD_UTF16) != 0, out->path, sizeof out->path))
        return bad_record("DetachDB");
    return JET_errSuccess;
}

/* ---- finding a database by its signature ---- */

struct find {
    const struct signature *sign_db;
    char *path;
    size_t room;
};

static void match(struct find *f, const struct signature *sign, const char *path)
{
    if (signature_equal(sign, f->sign_db))
        snprintf(f->path, f->room, "%s", path);
}

static err_t look_at(struct find *f, struct slice record)
{
    if (record.p[0] == LOG_CreateDB) {
        struct create_db_record r;
        TRY_RETURN(create_db_decode(record, &r));
        match(f, &r.sign_db, r.path);
    } else if (record.p[0] == LOG_AttachDB) {
        struct attach_db_record r;
        TRY_RETURN(attach_db_decode(record, &r));
        match(f, &r.sign_db, r.path);
    }
    return JET_errSuccess;
}

err_t recovery_find_database(const char *dir, const char *base_name, uint32_t gen_low, const struct signature *sign_db, char *path,
                             size_t room)
{
    struct find f = {sign_db, path, room};
    struct log_reader_config config = {.dirs = {dir}, .dir_count = 1, .base_name = base_name, .mode = LOG_READ_SOFT};
    struct log_reader *reader;
    struct log_view view;
    bool end = false, listed = false;
    path[0] = '\0';
    TRY_RETURN(log_reader_open(&config, LGPOS(gen_low, 1, 0), &reader));
    err_t err = JET_errSuccess;
    while (!end && path[0] == '\0') {
        TRY(log_reader_next(reader, &view, &end));
        const struct log_header *h = end ? NULL : log_reader_header(reader);
        for (int i = 0; !listed && h != NULL && i < h->attached_count; i++)
            match(&f, &h->attached[i].sign_db, h->attached[i].path);
        listed = listed || h != NULL;
        if (!end)
            TRY(look_at(&f, view.bytes));
    }
out:
    log_reader_close(reader);
    return err;
}
