#include <stdio.h>

#include "engine/engine_private.h"

/* ---- the process's one cache ---- */

static _Atomic int guard; /* a few instructions, or the mapping of the pool: no lock of ours can be initialised earlier */
static struct cache *shared_cache;
static uint32_t shared_page_size;
static int shared_users;

static void guard_take(void)
{
    int expected = 0;
    while (!atomic_compare_exchange_weak(&guard, &expected, 1)) {
        expected = 0;
        os_yield();
    }
}

static void guard_release(void)
{
    atomic_store(&guard, 0);
}

static uint64_t cache_bytes(uint32_t page_size)
{
    uint64_t pages = params_number(params_global(), JET_paramCacheSizeMax);
    uint64_t dflt = os_memory_total() / 4 < 1024ull << 20 ? os_memory_total() / 4 : 1024ull << 20;
    uint64_t bytes = pages > UINT64_MAX / page_size ? UINT64_MAX : pages * page_size;
    return bytes > os_memory_total() / 2 ? dflt : bytes;
}

static err_t acquire_locked(uint32_t page_size, struct cache **out)
{
    if (shared_users > 0 && shared_page_size != page_size) {
        err_t err = RAISE(JET_errPageSizeMismatch);
        err_detail("this process's cache has pages of %u bytes, not %u: one page size a process", shared_page_size, page_size);
        return err;
    }
    if (shared_users == 0) {
        uint64_t least = params_number(params_global(), JET_paramCacheSizeMin) * page_size;
        struct cache_config config = {.page_size = page_size, .bytes_max = cache_bytes(page_size), .bytes_min = least};
        TRY_RETURN(cache_create(&config, &shared_cache));
        shared_page_size = page_size;
    }
    shared_users++;
    *out = shared_cache;
    return JET_errSuccess;
}

err_t cache__acquire(uint32_t page_size, struct cache **out)
{
    *out = NULL;
    guard_take();
    err_t err = acquire_locked(page_size, out);
    guard_release();
    return err;
}

void cache__release_shared(void)
{
    guard_take();
    if (--shared_users == 0) {
        cache_destroy(shared_cache);
        shared_cache = NULL;
    }
    guard_release();
}

/* ---- an instance's folders ---- */

static void strip_slash(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
}

static err_t full_folder(const char *text, char out[OS_PATH_MAX])
{
    TRY_RETURN(os_full_path(text[0] == '\0' ? "." : text, out, OS_PATH_MAX));
    strip_slash(out);
    return JET_errSuccess;
}

static err_t need_folder(const struct instance *inst, const char *path, err_t missing)
{
    if (params_number(inst->params, JET_paramCreatePathIfNotExist) != 0)
        TRY_RETURN(os_dir_create_path(path));
    if (os_is_dir(path))
        return JET_errSuccess;
    err_t err = RAISE(missing);
    err_detail("%s is no folder; create it, or set JET_paramCreatePathIfNotExist", path);
    return err;
}

static err_t lock_folder(const char *path, err_t taken, struct os_dir_lock **out)
{
    err_t err = os_dir_lock(path, out);
    if (err != JET_errFileAccessDenied)
        return err;
    err = RAISE(taken);
    err_detail("%s is in use by another running instance", path);
    return err;
}

static err_t open_folders(struct instance *inst)
{
    TRY_RETURN(full_folder(params_text(inst->params, JET_paramLogFilePath), inst->log_dir));
    TRY_RETURN(full_folder(params_text(inst->params, JET_paramSystemPath), inst->system_dir));
    /* sort's spill file: beside the logs unless the temporary path names a folder that is there */
    TRY_RETURN(full_folder(params_text(inst->params, JET_paramTempPath), inst->temp_dir));
    if (!os_is_dir(inst->temp_dir))
        memcpy(inst->temp_dir, inst->log_dir, sizeof inst->temp_dir);
    snprintf(inst->base_name, sizeof inst->base_name, "%.3s", params_text(inst->params, JET_paramBaseName));
    TRY_RETURN(need_folder(inst, inst->system_dir, JET_errInvalidSystemPath));
    TRY_RETURN(need_folder(inst, inst->log_dir, JET_errInvalidLogDirectory));
    TRY_RETURN(lock_folder(inst->log_dir, JET_errLogFilePathInUse, &inst->log_lock));
    if (strcmp(inst->log_dir, inst->system_dir) != 0)
        TRY_RETURN(lock_folder(inst->system_dir, JET_errSystemPathInUse, &inst->system_lock));
    return JET_errSuccess;
}

/* ---- the rooms below ---- */

static bool logging_on(const struct instance *inst)
{
    const char *text = params_text(inst->params, JET_paramRecovery);
    return (text[0] == 'o' || text[0] == 'O') && (text[1] == 'n' || text[1] == 'N') && text[2] == '\0';
}

static uint64_t version_bytes(const struct instance *inst)
{
    uint64_t own = params_number(inst->params, PYJET_paramVersionStoreBytes);
    return own != 0 ? own : params_number(inst->params, JET_paramMaxVerPages) * 32768;
}

static err_t open_log(struct instance *inst, uint32_t page_size)
{
    struct log_config config = {
        .log_dir = inst->log_dir,
        .system_dir = inst->system_dir,
        .base_name = inst->base_name,
        .file_size = (uint32_t)params_number(inst->params, JET_paramLogFileSize) * 1024,
        .buffer_size = (uint32_t)params_number(inst->params, JET_paramLogBuffers) * LOG_SEGMENT,
        .page_size = page_size,
        .circular = params_number(inst->params, JET_paramCircularLog) != 0,
        .enabled = logging_on(inst),
        .legacy_names = (unsigned)params_number(inst->params, JET_paramLegacyFileNames),
        .instance_name = inst->display,
    };
    return log_create(&config, &inst->log);
}

void trx_pair_init(struct trx_pair *pair, struct instance *inst, uint16_t procid, uint16_t inner_procid, bool internal, const char *label)
{
    trx_init(&pair->inner, inst->versions, inst->log, inner_procid, true, NULL);
    trx_init(&pair->trx, inst->versions, inst->log, procid, internal, &pair->inner);
    trx_set_label(&pair->trx, label);
}

void trx_pair_term(struct trx_pair *pair)
{
    trx_term(&pair->trx);
    trx_term(&pair->inner);
}

static uint32_t page_size_now(void)
{
    return (uint32_t)params_number(params_global(), JET_paramDatabasePageSize);
}

/* Log, versions, and the transactions of our own. */
static err_t open_changes(struct instance *inst)
{
    TRY_RETURN(open_log(inst, page_size_now()));
    inst->version_bytes = version_bytes(inst);
    TRY_RETURN(versions_create(inst->version_bytes, &inst->versions));
    inst->finder = (struct txn_databases){.context = inst, .find = databases__find};
    trx_pair_init(&inst->system, inst, PROCID_SYSTEM, PROCID_SYSTEM + 1, false, "system");
    trx_pair_init(&inst->sweep, inst, PROCID_SWEEP, PROCID_SYSTEM + 2, true, "clean-up");
    trx_pair_init(&inst->scrub, inst, PROCID_SCRUB, PROCID_SCRUB + 1, true, "scrub");
    inst->trx_ready = true;
    return JET_errSuccess;
}

err_t rooms__open(struct instance *inst)
{
    memset(&inst->recovery, 0, sizeof inst->recovery);
    TRY_RETURN(open_folders(inst));
    TRY_RETURN(cache__acquire(page_size_now(), &inst->cache));
    return open_changes(inst);
}

static void close_changes(struct instance *inst)
{
    if (inst->trx_ready) {
        trx_pair_term(&inst->scrub);
        trx_pair_term(&inst->sweep);
        trx_pair_term(&inst->system);
        inst->trx_ready = false;
    }
    double_write_close(inst->double_write, atomic_load(&inst->poison) == 0);
    inst->double_write = NULL;
    versions_destroy(inst->versions);
    inst->versions = NULL;
    log_destroy(inst->log);
    inst->log = NULL;
}

void rooms__drop_redo_cache(struct instance *inst)
{
    cache_destroy(inst->redo_cache);
    inst->redo_cache = NULL;
}

/* Four times the last one. The whole memory is the limit: what redo keeps there is little beside it, for somebody has written the log. */
static err_t larger_cache(void *context, struct recovery_config *c)
{
    struct instance *inst = context;
    struct cache_stats stats;
    cache_stats(c->cache, &stats);
    uint64_t bytes = stats.frames * 4 * page_size_now();
    if (bytes > os_memory_total()) {
        err_t err = RAISE(JET_errOutOfMemory);
        err_detail("recovery has no room in %llu pages of cache, and the machine has no memory for four times as many",
                   (unsigned long long)stats.frames);
        return err;
    }
    close_changes(inst);
    rooms__drop_redo_cache(inst);
    struct cache_config config = {.page_size = page_size_now(), .bytes_max = bytes};
    TRY_RETURN(cache_create(&config, &inst->redo_cache));
    TRY_RETURN(open_changes(inst));
    c->cache = inst->redo_cache;
    c->log = inst->log;
    c->versions = inst->versions;
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)stats.frames * 4);
    event_report(300, EVENT_INFO, inst->display, "recovery begins anew with a larger cache of its own", number, NULL);
    return JET_errSuccess;
}

void rooms__close(struct instance *inst)
{
    backup_destroy(inst->backup);
    inst->backup = NULL;
    checkpointer_destroy(inst->checkpointer);
    inst->checkpointer = NULL;
    close_changes(inst);
    rooms__drop_redo_cache(inst);
    if (inst->cache != NULL)
        cache__release_shared();
    inst->cache = NULL;
    os_dir_unlock(inst->system_lock);
    os_dir_unlock(inst->log_lock);
    inst->system_lock = inst->log_lock = NULL;
}

err_t rooms__recovery_config(struct instance *inst, const struct init_options *options, struct recovery_config *out)
{
    *out = (struct recovery_config){
        .cache = inst->cache,
        .log = inst->log,
        .versions = inst->versions,
        .double_write = params_number(inst->params, PYJET_paramDoubleWrite) != 0 ? &inst->double_write : NULL,
        .page_size = page_size_now(),
        .log_dir = inst->log_dir,
        .system_dir = inst->system_dir,
        .base_name = inst->base_name,
        .instance_name = inst->display,
        .map = options->map,
        .map_count = options->map_count,
        .stop = options->stop,
        .ignore_missing_db = (options->grbit & JET_bitReplayIgnoreMissingDB) != 0,
        .ignore_lost_logs = (options->grbit & JET_bitReplayIgnoreLostLogs) != 0,
        .undo = (options->grbit & JET_bitRecoveryWithoutUndo) == 0,
        .progress = options->progress,
        .larger_cache = larger_cache,
        .larger_context = inst,
    };
    return JET_errSuccess;
}
