/* The checkpoint file: two copies of 4096 bytes, the first good one counts (log-format.md 5). */
#include "log/log_private.h"

enum { COPIES = 2 };

static err_t path_by(const struct log *log, bool legacy, char *path)
{
    char name[16];
    uint32_t n = (uint32_t)strlen(log->base_name);
    memcpy(name, log->base_name, n);
    memcpy(name + n, legacy ? ".chk" : ".jcp", 5);
    return os_join(path, OS_PATH_MAX, log->system_dir, name);
}

static bool is_legacy(const struct log *log)
{
    return (log->config.legacy_names & JET_bitESE98FileNames) != 0;
}

err_t log_checkpoint_path(struct log *log, char *path)
{
    return path_by(log, is_legacy(log), path);
}

err_t log_checkpoint_adopt(struct log *log)
{
    char ours[OS_PATH_MAX], other[OS_PATH_MAX];
    TRY_RETURN(path_by(log, is_legacy(log), ours));
    TRY_RETURN(path_by(log, !is_legacy(log), other));
    if (os_exists(ours) || !os_exists(other))
        return JET_errSuccess;
    TRY_RETURN(os_rename(other, ours));
    return os_dir_sync(log->system_dir);
}

static err_t decode(const uint8_t *b, struct checkpoint *out)
{
    *out = (struct checkpoint){0};
    uint32_t type = load_u32(b + CHK_FILE_TYPE);
    if (load_u32(b + CHK_CHECKSUM) != checksum_xor(b, LOG_SEGMENT) ||
        (type != LOG_CHECKPOINT_TYPE && type != 0))
        return RAISE(JET_errCheckpointCorrupt);
    out->last_full_checkpoint = load_u64(b + CHK_LAST_FULL);
    out->checkpoint = load_u64(b + CHK_CHECKPOINT);
    memcpy(out->signature.b, b + CHK_SIGNATURE, sizeof out->signature.b);
    out->full_backup = load_u64(b + CHK_FULL_BACKUP);
    memcpy(out->full_time.b, b + CHK_FULL_TIME, 8);
    out->inc_backup = load_u64(b + CHK_INC_BACKUP);
    memcpy(out->inc_time.b, b + CHK_INC_TIME, 8);
    out->attached_valid = (b[CHK_VERSION] & 1) != 0;
    out->db_consistency = load_u64(b + CHK_CONSISTENCY);
    if (out->db_consistency == 0)
        out->db_consistency = out->checkpoint;
    if (!out->attached_valid)
        return JET_errSuccess;
    err_t err = log__unpack_attached(b + CHK_ATTACH, out->attached, &out->attached_count);
    return err < 0 ? RAISE(JET_errCheckpointCorrupt) : JET_errSuccess;
}

err_t log_checkpoint_read(const char *path, struct checkpoint *out)
{
    uint8_t bytes[COPIES * LOG_SEGMENT] = {0};
    struct os_file *f;
    size_t got;
    err_t err = os_file_open(path, OS_READ, &f);
    if (err < 0)
        return err == JET_errFileNotFound || err == JET_errInvalidPath
                   ? RAISE(JET_errCheckpointFileNotFound)
                   : err;
    err = os_file_read_some(f, 0, bytes, sizeof bytes, &got);
    os_file_close(f);
    TRY_RETURN(err);
    err = RAISE(JET_errCheckpointCorrupt);
    for (uint32_t copy = 0; err < 0 && (copy + 1) * LOG_SEGMENT <= got; copy++)
        err = decode(bytes + copy * LOG_SEGMENT, out);
    if (err < 0)
        err_detail("%s", path);
    return err;
}

static err_t encode(const struct log *log, const struct checkpoint *c, uint8_t *b)
{
    memset(b, 0, LOG_SEGMENT);
    store_u64(b + CHK_LAST_FULL, c->last_full_checkpoint);
    store_u64(b + CHK_CHECKPOINT, c->checkpoint);
    memcpy(b + CHK_SIGNATURE, c->signature.b, sizeof c->signature.b);
    log_store_params(log, b + CHK_DBMS);
    store_u64(b + CHK_FULL_BACKUP, c->full_backup);
    memcpy(b + CHK_FULL_TIME, c->full_time.b, 8);
    store_u64(b + CHK_INC_BACKUP, c->inc_backup);
    memcpy(b + CHK_INC_TIME, c->inc_time.b, 8);
    b[CHK_VERSION] = c->attached_valid;
    store_u64(b + CHK_CONSISTENCY, c->db_consistency);
    store_u32(b + CHK_FILE_TYPE, LOG_CHECKPOINT_TYPE);
    uint32_t at = 0;
    for (int i = 0; c->attached_valid && i < c->attached_count; i++) {
        uint32_t n = log__pack_attached(&c->attached[i], b + CHK_ATTACH + at, LOG_ATTACH_ROOM - at);
        if (n == 0)
            return RAISE(JET_errTooManyAttachedDatabases);
        at += n;
    }
    memset(b + CHK_ATTACH + at, 0, LOG_ATTACH_ROOM - at);
    store_u32(b + CHK_CHECKSUM, checksum_xor(b, LOG_SEGMENT));
    return JET_errSuccess;
}

err_t log_checkpoint_write(struct log *log, const struct checkpoint *c)
{
    err_t err = JET_errSuccess;
    struct os_file *f = NULL;
    char path[OS_PATH_MAX];
    uint8_t block[LOG_SEGMENT];
    TRY(encode(log, c, block));
    TRY(log_checkpoint_path(log, path));
    bool made = !os_exists(path);
    TRY(os_file_open(path, OS_WRITE | OS_CREATE, &f));
    for (uint32_t copy = 0; copy < COPIES; copy++) {
        TRY(os_file_write(f, copy * LOG_SEGMENT, block, sizeof block));
        TRY(os_file_sync(f));
    }
    /* No commit depends on this name: without the file, redo begins at the lowest log, which may be hours of them. When the folder is
     * not the logs' own, nobody else syncs it. */
    if (made && !PYJET_BREAK_CHECKPOINT_NAME)
        TRY(os_dir_sync(log->system_dir));
out:
    os_file_close(f);
    return err;
}
