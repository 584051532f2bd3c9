#include "engine/engine_private.h"

/* Stopping backups and services of a running instance (backup-semantics.md 9). From any thread; nothing here waits. */

#define PARTIAL (JET_bitStopServiceBackgroundUserTasks | JET_bitStopServiceQuiesceCaches)

/* No gate: the instance may have failed, or its service may be stopped. Left by instance_leave. */
static err_t enter_running(struct instance *inst)
{
    atomic_fetch_add(&inst->inside, 1);
    if (inst->process_id == os_process_id() && atomic_load(&inst->state) == INSTANCE_RUNNING)
        return JET_errSuccess;
    instance_leave(inst);
    err_t err = RAISE(JET_errInvalidParameter);
    err_detail("the instance is not running in this process");
    return err;
}

err_t instance_refuse_backups(struct instance *inst)
{
    TRY_RETURN(enter_running(inst));
    backup_refuse(inst->backup);
    instance_leave(inst);
    return JET_errSuccess;
}

err_t instance_allow_backups(struct instance *inst)
{
    TRY_RETURN(enter_running(inst));
    err_t err = backup_allow(inst->backup);
    instance_leave(inst);
    return err;
}

/* ---- service ---- */

err_t instance__check_service(struct instance *inst)
{
    if ((atomic_load(&inst->service) & SERVICE_STOPPED) == 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errClientRequestToStopJetService);
    err_detail("the application stopped this instance's service: only roll back, close and end, then terminate it");
    return err;
}

/* Quiet caches: every dirty page is due at once, so that an end has little left to write. */
static void set_depth(struct instance *inst, bool quiet)
{
    checkpointer_set_depth(inst->checkpointer, quiet ? 0 : params_number(inst->params, JET_paramCheckpointDepthMax));
    cache_ring(inst->cache);
}

static err_t resume_service(struct instance *inst, uint32_t bits)
{
    TRY_RETURN(instance__check_service(inst)); /* that stop is for good */
    uint32_t gone = bits == 0 ? PARTIAL : bits;
    atomic_fetch_and(&inst->service, ~gone);
    set_depth(inst, (atomic_load(&inst->service) & JET_bitStopServiceQuiesceCaches) != 0);
    return JET_errSuccess;
}

static err_t stop_service(struct instance *inst, uint32_t bits)
{
    if (bits == JET_bitStopServiceAll || bits == JET_bitStopServiceStopAndEmitLog)
        atomic_fetch_or(&inst->service, SERVICE_STOPPED);
    if (bits == JET_bitStopServiceStopAndEmitLog)
        return log_is_enabled(inst->log) ? instance__judge(inst, log_flush_all(inst->log)) : JET_errSuccess;
    atomic_fetch_or(&inst->service, bits);
    if ((bits & JET_bitStopServiceQuiesceCaches) != 0)
        set_depth(inst, true);
    return JET_errSuccess;
}

err_t instance_stop_service(struct instance *inst, JET_GRBIT grbit)
{
    bool resume = (grbit & JET_bitStopServiceResume) != 0;
    uint32_t bits = grbit & ~JET_bitStopServiceResume;
    bool known = (bits & ~PARTIAL) == 0 || grbit == JET_bitStopServiceStopAndEmitLog;
    if (!known) {
        err_t err = RAISE(JET_errInvalidGrbit);
        err_detail("a service takes JET_bitStopServiceBackgroundUserTasks, ...QuiesceCaches and ...Resume, or ...StopAndEmitLog alone");
        return err;
    }
    TRY_RETURN(enter_running(inst));
    err_t err = resume ? resume_service(inst, bits) : stop_service(inst, bits);
    instance_leave(inst);
    return err;
}
