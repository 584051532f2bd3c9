#include "engine/engine_private.h"

/* Restore into an instance that is not running: its parameters say base name and folders; it is not running afterwards. */

static err_t make_folders(const struct instance *inst, const struct instance_restore *r)
{
    if (r->destination == NULL || params_number(inst->params, JET_paramCreatePathIfNotExist) == 0)
        return JET_errSuccess;
    return os_dir_create_path(r->destination);
}

static err_t find_stop(const struct instance_restore *r, const struct restore_set *set, lgpos_t *stop)
{
    *stop = r->stop;
    return r->stop_time == NULL ? JET_errSuccess : restore_find_time(set, r->roll_forward_dir, r->stop_time, stop);
}

static err_t restore_set(struct instance *inst, const struct restore_set *set, const struct instance_restore *r, struct restore_result *result)
{
    struct recovery_config config;
    lgpos_t stop;
    TRY_RETURN(find_stop(r, set, &stop));
    TRY_RETURN(make_folders(inst, r));
    /* the log goes on in the set's size, so that an init may follow at once */
    TRY_RETURN(params_set(inst->params, JET_paramLogFileSize, set->log_file_size / 1024, NULL, PARAMS_BEFORE_INIT));
    TRY_RETURN(rooms__open(inst));
    struct init_options init = {.progress = r->progress};
    TRY_RETURN(rooms__recovery_config(inst, &init, &config));
    struct restore_options options = {
        .set = set,
        .destination = r->destination,
        .rename = r->rename,
        .rename_count = r->rename_count,
        .stop = stop,
        .in_place = r->survey != NULL,
        .log_dir = inst->log_dir,
        .system_dir = inst->system_dir,
        .roll_forward_dir = r->roll_forward_dir,
        .roll_forward_last = r->roll_forward_last,
        .progress = r->progress,
    };
    return restore_run(&options, &config, result);
}

static err_t restore_surveyed(struct instance *inst, const struct instance_restore *r, struct restore_result *result)
{
    if (r->survey != NULL)
        return restore_set(inst, r->survey, r, result);
    struct restore_set *set = calloc(1, sizeof *set);
    err_t err = set == NULL ? RAISE(JET_errOutOfMemory) : restore_survey(r->set, set);
    if (err >= 0)
        err = restore_set(inst, set, r, result);
    free(set);
    return err;
}

err_t instance_restore(struct instance *inst, const struct instance_restore *r, struct restore_result *result)
{
    int created = INSTANCE_CREATED;
    if (!atomic_compare_exchange_strong(&inst->state, &created, INSTANCE_RESTORING)) {
        err_t err = RAISE(created == INSTANCE_RESTORING ? JET_errRestoreInProgress : JET_errAlreadyInitialized);
        err_detail("a restore wants an instance that is created and configured, but not started");
        return err;
    }
    atomic_store(&inst->poison, 0); /* of an earlier life */
    atomic_store(&inst->write_failed, 0);
    err_t err = restore_surveyed(inst, r, result);
    struct err_origin origin = *err_last();
    rooms__close(inst);
    if (err < 0) {
        err_restore(&origin);
    }
    atomic_store(&inst->state, INSTANCE_CREATED);
    return err;
}

err_t instance_roll_log(struct instance *inst, uint32_t *closed)
{
    *closed = 0;
    TRY_RETURN(instance_enter(inst, false));
    err_t err = log_roll(inst->log, closed);
    instance_leave(inst);
    return err;
}
