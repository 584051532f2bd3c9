#include <stdio.h>

#include "engine/engine_private.h"

/* What an instance is at this moment, copied out: nothing of it is held when the caller reads it. */

static void copy_databases(struct instance *inst, struct instance_facts *out)
{
    os_lock_take(&inst->lock);
    for (int i = 0; i < DBID_MAX; i++) {
        struct dbfile *db = inst->dbs[i].db;
        if (db == NULL || inst->dbs[i].busy)
            continue;
        struct database_facts *d = &out->databases[out->database_count++];
        snprintf(d->path, sizeof d->path, "%s", db->path);
        d->logged = db->logged;
        d->read_only = db->read_only;
        d->pages = atomic_load(&db->page_count);
        dbfile_copy_header(db, &d->header);
        d->header.dbtime = atomic_load(&db->dbtime);
        d->header.objid_last = atomic_load(&db->objid_last);
    }
    os_lock_release(&inst->lock);
}

static err_t copy_log(struct instance *inst, struct instance_facts *out)
{
    out->backup_running = backup_is_running(inst->backup);
    out->logging = log_is_enabled(inst->log);
    snprintf(out->log_dir, sizeof out->log_dir, "%s", inst->log_dir);
    snprintf(out->system_dir, sizeof out->system_dir, "%s", inst->system_dir);
    if (!out->logging)
        return JET_errSuccess;
    out->circular = log_is_circular(inst->log);
    out->sign_log = *log_signature(inst->log);
    out->log_file_size = log_file_size(inst->log);
    out->gen_current = log_current_generation(inst->log);
    out->log_tail = log_tail(inst->log);
    out->checkpoint = checkpointer_position(inst->checkpointer);
    return log_lowest_generation(inst->log, &out->gen_lowest);
}

err_t instance_facts(struct instance *inst, struct instance_facts *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", inst->name);
    snprintf(out->base_name, sizeof out->base_name, "%.3s", params_text(inst->params, JET_paramBaseName));
    if (instance_enter(inst, false) < 0) { /* created only, or on its way: nothing is attached */
        err_clear();
        return JET_errSuccess;
    }
    out->running = true;
    copy_databases(inst, out);
    err_t err = copy_log(inst, out);
    instance_leave(inst);
    return err;
}
