#include "engine/engine_private.h"

/* Background threads: pages and checkpoint, the next log file, full log segments, old versions. Each waits on a bell of its room. */

#define TICK_MS 200u
#define DIRTY_HIGH_PERCENT 60u
#define DIRTY_LOW_PERCENT 40u
#define WRITE_BATCH 512u
#define SWEEP_BATCH 2048u
#define BACKUP_TICK_MS 20u
#define NEXT_WAITS_MS 5000u
#define NEXT_WAITS_BYTES (1u << 20)
#define NEXT_WAITS_PERCENT 12u

/* Errors that say "try again later": nothing is lost, the work stays queued. */
static bool passes(err_t err)
{
    return err == JET_errDiskFull || err == JET_errLogDiskFull || err == JET_errOutOfMemory ||
           err == JET_errOutOfFileHandles ||
           err == JET_errVersionStoreOutOfMemory || err == JET_errBackupInProgress;
}

static err_t note(struct instance *inst, err_t err)
{
    if (err < 0 && !passes(err))
        instance_poison(inst, err);
    return err;
}

static uint32_t dirty_percent(struct instance *inst)
{
    struct cache_stats stats;
    cache_stats(inst->cache, &stats);
    return stats.frames == 0 ? 0 : (uint32_t)(stats.dirty * 100 / stats.frames);
}

static err_t write_some(struct instance *inst, bool random_steal, uint32_t *written)
{
    struct write_goal goal = {.log = inst->log,
                              .older_than = LGPOS_MAX,
                              .pages_max = random_steal ? 16 : WRITE_BATCH,
                              .random_steal = random_steal};
    return cache_write_back(inst->cache, &goal, written);
}

static void write_down(struct instance *inst)
{
    uint32_t written = 1;
    err_t err = JET_errSuccess;
    if (params_number(inst->params, PYJET_paramRandomSteal) != 0)
        err = note(inst, write_some(inst, true, &written));
    if (err < 0 || dirty_percent(inst) < DIRTY_HIGH_PERCENT)
        return;
    while (written > 0 && dirty_percent(inst) > DIRTY_LOW_PERCENT && !atomic_load(&inst->stop))
        if (note(inst, write_some(inst, false, &written)) < 0)
            return;
}

static void writer_loop(void *context)
{
    struct instance *inst = context;
    uint32_t tick = params_number(inst->params, PYJET_paramRandomSteal) != 0 ? 2 : TICK_MS;
    while (!atomic_load(&inst->stop)) {
        cache_wait_work(inst->cache, tick);
        if (atomic_load(&inst->stop) || atomic_load(&inst->poison) != 0)
            continue;
        gate__enter(&inst->gate);
        write_down(inst);
        if (log_is_enabled(inst->log) && note(inst, checkpointer_run(inst->checkpointer, false)) >= 0)
            atomic_fetch_add(&inst->checkpoints, 1);
        gate__leave(&inst->gate);
    }
}

/* While a backup copies, the device is its own: the next file of a large log is as good a little later, unless the current one
 * fills up. */
static bool next_can_wait(struct instance *inst, uint32_t waited_ms)
{
    uint32_t fill;
    return waited_ms < NEXT_WAITS_MS && log_file_size(inst->log) >= NEXT_WAITS_BYTES && backup_is_running(inst->backup) &&
           log_lacks_next(inst->log, &fill) && fill < NEXT_WAITS_PERCENT;
}

static void preparer_loop(void *context)
{
    struct instance *inst = context;
    uint32_t waited_ms = 0;
    while (!atomic_load(&inst->stop)) {
        log_wait_roll(inst->log, waited_ms > 0 ? BACKUP_TICK_MS : TICK_MS);
        if (next_can_wait(inst, waited_ms)) {
            waited_ms += BACKUP_TICK_MS;
            continue;
        }
        waited_ms = 0;
        gate__enter(&inst->gate);
        bool worked = !atomic_load(&inst->stop) && atomic_load(&inst->poison) == 0;
        while (worked)
            if (note(inst, log_prepare_next(inst->log, &worked)) < 0)
                break;
        gate__leave(&inst->gate);
    }
}

/* Ends with the instance's first poison: nothing is written after it. */
static void flusher_loop(void *context)
{
    struct instance *inst = context;
    while (!atomic_load(&inst->stop) && atomic_load(&inst->poison) == 0) {
        log_wait_full(inst->log, TICK_MS);
        gate__enter(&inst->gate);
        if (!atomic_load(&inst->stop) && atomic_load(&inst->poison) == 0)
            (void)note(inst, log_flush_full(inst->log));
        gate__leave(&inst->gate);
    }
}

static err_t sweep_round(struct instance *inst, bool *worked)
{
    *worked = false;
    gate__enter(&inst->gate);
    os_lock_take(&inst->sweep_lock);
    err_t err = txn_sweep(&inst->sweep.trx, &inst->finder, SWEEP_BATCH, worked);
    os_lock_release(&inst->sweep_lock);
    gate__leave(&inst->gate);
    if (*worked)
        atomic_fetch_add(&inst->sweeps, 1);
    return err;
}

static void sweeper_loop(void *context)
{
    struct instance *inst = context;
    while (!atomic_load(&inst->stop)) {
        versions_wait_work(inst->versions, TICK_MS);
        bool worked = atomic_load(&inst->poison) == 0;
        while (worked && !atomic_load(&inst->stop))
            if (instance__judge(inst, sweep_round(inst, &worked)) < 0)
                break; /* a page that cannot be read now: what waits for it stays queued */
    }
}

err_t threads__sweep_rounds(struct instance *inst, uint32_t most)
{
    bool worked = true;
    for (uint32_t i = 0; i < most && worked; i++)
        TRY_RETURN(sweep_round(inst, &worked));
    return JET_errSuccess;
}

err_t threads__sweep_all(struct instance *inst)
{
    return threads__sweep_rounds(inst, UINT32_MAX);
}

err_t threads__start(struct instance *inst)
{
    atomic_store(&inst->stop, false);
    if (params_number(inst->params, PYJET_paramPageWriterOff) == 0)
        TRY_RETURN(os_thread_start("pyjet-writer", writer_loop, inst, &inst->writer));
    if (log_is_enabled(inst->log)) {
        TRY_RETURN(os_thread_start("pyjet-log", preparer_loop, inst, &inst->preparer));
        TRY_RETURN(os_thread_start("pyjet-flush", flusher_loop, inst, &inst->flusher));
    }
    return os_thread_start("pyjet-sweep", sweeper_loop, inst, &inst->sweeper);
}

static void join(struct os_thread **thread)
{
    if (*thread != NULL)
        os_thread_join(*thread);
    *thread = NULL;
}

void threads__stop(struct instance *inst)
{
    atomic_store(&inst->stop, true);
    if (inst->cache != NULL)
        cache_ring(inst->cache);
    if (inst->versions != NULL)
        versions_ring(inst->versions);
    if (inst->log != NULL && log_is_enabled(inst->log))
        log_ring(inst->log);
    join(&inst->writer);
    join(&inst->preparer);
    join(&inst->flusher);
    join(&inst->sweeper);
}
