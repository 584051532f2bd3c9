#include <stdio.h>

#include "engine/engine_private.h"

/* An instance's life: created, initialised, running, terminated. */

static _Atomic int list_guard;
static struct list instances = {&instances, &instances};
static _Atomic uint64_t instance_count;

static void list_lock(void)
{
    int expected = 0;
    while (!atomic_compare_exchange_weak(&list_guard, &expected, 1)) {
        expected = 0;
        os_yield();
    }
}

static void list_unlock(void)
{
    atomic_store(&list_guard, 0);
}

struct instance *instance_next(struct instance *after)
{
    list_lock();
    struct list *link = after == NULL ? instances.next : after->in_process.next;
    struct instance *next = link == &instances ? NULL : LIST_ENTRY(link, struct instance, in_process);
    list_unlock();
    return next;
}

void instances__enter_running(struct instance **list, int room, int *count)
{
    *count = 0;
    list_lock(); /* an instance leaves the list before it is freed */
    LIST_FOR_EACH (link, &instances) {
        struct instance *inst = LIST_ENTRY(link, struct instance, in_process);
        atomic_fetch_add(&inst->inside, 1); /* one that is running now cannot end before we leave it */
        bool running = atomic_load(&inst->state) == INSTANCE_RUNNING && inst->process_id == os_process_id();
        if (running && *count < room)
            list[*count] = inst;
        else
            atomic_fetch_sub(&inst->inside, 1);
        *count += running;
    }
    list_unlock();
}

void instance_set_handle(struct instance *inst, uint64_t handle)
{
    atomic_store(&inst->handle, handle);
}

err_t instance_create(const char *name, const char *display_name, struct instance **out)
{
    *out = NULL;
    if (atomic_load(&instance_count) >= params_number(params_global(), JET_paramMaxInstances)) {
        err_t err = RAISE(JET_errTooManyInstances);
        err_detail("%u instances are there; JET_paramMaxInstances allows no more", (unsigned)atomic_load(&instance_count));
        return err;
    }
    struct instance *inst = calloc(1, sizeof *inst);
    if (inst == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = params_create(&inst->params, params_global());
    if (err < 0) {
        free(inst);
        return err;
    }
    snprintf(inst->name, sizeof inst->name, "%s", name == NULL ? "" : name);
    snprintf(inst->display, sizeof inst->display, "%s", display_name == NULL ? inst->name : display_name);
    os_lock_init(&inst->lock, RANK_INSTANCE);
    os_cond_init(&inst->changed);
    os_lock_init(&inst->attach_lock, RANK_INSTANCE + 1);
    os_lock_init(&inst->sweep_lock, RANK_CHECKPOINT - 1);
    list_init(&inst->sessions);
    inst->process_id = os_process_id();
    atomic_fetch_add(&instance_count, 1);
    list_lock();
    list_add_back(&instances, &inst->in_process);
    list_unlock();
    *out = inst;
    return JET_errSuccess;
}

void instance_destroy(struct instance *inst)
{
    if (inst == NULL)
        return;
    list_lock();
    list_remove(&inst->in_process);
    list_unlock();
    atomic_fetch_sub(&instance_count, 1);
    event_gate_remove(&inst->event_gate); /* of a forked child, whose instance never ends */
    os_lock_term(&inst->sweep_lock);
    os_lock_term(&inst->attach_lock);
    os_cond_term(&inst->changed);
    os_lock_term(&inst->lock);
    params_destroy(inst->params);
    free(inst);
}

struct params *instance_params(struct instance *inst)
{
    return inst->params;
}

const char *instance_name(struct instance *inst)
{
    return inst->name;
}

bool instance_is_running(struct instance *inst)
{
    return atomic_load(&inst->state) == INSTANCE_RUNNING;
}

/* ---- the gate (backup-semantics.md section 3) ---- */

/* Never success. ESE has two codes: one tells that room is what it lacked. */
static err_t unavailable(struct instance *inst)
{
    err_t why = atomic_load(&inst->poison);
    if (why == 0)
        why = log_poisoned(inst->log);
    err_t err = why == JET_errLogDiskFull ? RAISE(JET_errInstanceUnavailableDueToFatalLogDiskFull) : RAISE(JET_errInstanceUnavailable);
    err_detail("%s stopped the instance: nothing more is written; terminate and initialise again", err_name(why));
    return err;
}

static bool is_poisoned(struct instance *inst)
{
    err_t failed = atomic_load(&inst->write_failed);
    if (failed < 0)
        instance_poison(inst, failed);
    return atomic_load(&inst->poison) < 0 || log_poisoned(inst->log) < 0;
}

err_t instance__check_available(struct instance *inst)
{
    return is_poisoned(inst) ? unavailable(inst) : JET_errSuccess;
}

static err_t refuse(struct instance *inst, bool for_backup)
{
    if (inst->process_id != os_process_id()) {
        err_t err = RAISE(JET_errInstanceUnavailable);
        err_detail("the instance belongs to the parent process; open one of your own after fork");
        return err;
    }
    bool running = atomic_load(&inst->state) == INSTANCE_RUNNING;
    if (running && for_backup && log_poisoned(inst->log) < 0) {
        err_t err = RAISE(JET_errLogWriteFail);
        err_detail("writing the log failed before; terminate and initialise again, then back up");
        return err;
    }
    if (running ? is_poisoned(inst) : atomic_load(&inst->poison) < 0)
        return unavailable(inst);
    switch (atomic_load(&inst->state)) {
    case INSTANCE_RUNNING:
        return JET_errSuccess;
    case INSTANCE_TERMINATING:
        return RAISE(JET_errTermInProgress);
    case INSTANCE_RESTORING:
        return RAISE(JET_errRestoreInProgress);
    case INSTANCE_INITIALISING:
        return for_backup ? RAISE(JET_errBackupNotAllowedYet) : RAISE(JET_errNotInitialized);
    default:
        return RAISE(JET_errNotInitialized);
    }
}

err_t instance_enter(struct instance *inst, bool for_backup)
{
    atomic_fetch_add(&inst->inside, 1);
    err_t err = instance__check_service(inst);
    if (err >= 0)
        err = refuse(inst, for_backup);
    if (err < 0)
        instance_leave(inst);
    return err;
}

err_t instance__enter_ending(struct instance *inst)
{
    atomic_fetch_add(&inst->inside, 1);
    err_t err = refuse(inst, false);
    if (err < 0)
        instance_leave(inst);
    return err;
}

void instance_leave(struct instance *inst)
{
    if (atomic_fetch_sub(&inst->inside, 1) != 1 || atomic_load(&inst->state) != INSTANCE_TERMINATING ||
        inst->process_id != os_process_id())
        return;
    os_lock_take(&inst->lock);
    os_cond_broadcast(&inst->changed);
    os_lock_release(&inst->lock);
}

void instance_poison(struct instance *inst, err_t why)
{
    err_t none = 0;
    if (!atomic_compare_exchange_strong(&inst->poison, &none, why))
        return;
    char number[16];
    snprintf(number, sizeof number, "%d", (int)why);
    event_report(104, EVENT_ERROR, inst->display, "the instance stops: a write failed, or a rollback", number, NULL);
}

bool instance__write_failed(struct instance *inst)
{
    return log_poisoned(inst->log) < 0 || atomic_load(&inst->write_failed) < 0;
}

err_t instance__judge(struct instance *inst, err_t err)
{
    if (err < 0 && instance__write_failed(inst))
        instance_poison(inst, err);
    return err;
}

/* ---- init ---- */

static err_t start_logging(struct instance *inst)
{
    if (!log_is_enabled(inst->log))
        return JET_errSuccess;
    TRY_RETURN(recovery_log_init(inst->log, &inst->init_at));
    return log_flush_all(inst->log);
}

static int pin_databases(void *context, struct dbfile **list)
{
    struct instance *inst = context;
    os_lock_take(&inst->attach_lock); /* an attach that began before the backup comes to its end first */
    int n = instance_databases(inst, list);
    for (int i = 0; i < n; i++)
        atomic_fetch_add(&list[i]->pins, 1);
    os_lock_release(&inst->attach_lock);
    return n;
}

static void unpin_databases(void *context)
{
    struct dbfile *list[DBID_MAX];
    int n = instance_databases(context, list);
    for (int i = 0; i < n; i++)
        atomic_fetch_sub(&list[i]->pins, 1);
}

static err_t sweep(void *context)
{
    enum { ROUNDS = 4096 }; /* millions of versions */
    return threads__sweep_rounds(context, ROUNDS);
}

static err_t make_backup(struct instance *inst)
{
    struct backup_host host = {
        .context = inst,
        .log = inst->log,
        .checkpointer = inst->checkpointer,
        .instance_name = inst->display,
        .base_name = inst->base_name,
        .log_dir = inst->log_dir,
        .system_dir = inst->system_dir,
        .legacy_names = (unsigned)params_number(inst->params, JET_paramLegacyFileNames),
        .page_size = (uint32_t)params_number(params_global(), JET_paramDatabasePageSize),
        .trx = &inst->system.trx,
        .scrub_trx = &inst->scrub.trx,
        .sweep = sweep,
        .pin_databases = pin_databases,
        .unpin_databases = unpin_databases,
    };
    return backup_create(&host, &inst->backup);
}

static err_t make_checkpointer(struct instance *inst)
{
    struct checkpointer_config config = {
        .cache = inst->cache,
        .log = inst->log,
        .versions = inst->versions,
        .depth_max = params_number(inst->params, JET_paramCheckpointDepthMax),
        .instance_name = inst->display,
    };
    TRY_RETURN(checkpointer_create(&config, &inst->checkpointer));
    /* a position from the first moment on: a backup pins the generation it names */
    return log_is_enabled(inst->log) ? checkpointer_run(inst->checkpointer, false) : JET_errSuccess;
}

static err_t init_rooms(struct instance *inst, const struct init_options *options)
{
    TRY_RETURN(rooms__open(inst));
    if (log_is_enabled(inst->log)) {
        struct recovery_config config;
        TRY_RETURN(rooms__recovery_config(inst, options, &config));
        TRY_RETURN(recovery_run(&config, &inst->recovery));
        rooms__drop_redo_cache(inst);
    }
    TRY_RETURN(start_logging(inst));
    TRY_RETURN(make_checkpointer(inst));
    TRY_RETURN(make_backup(inst));
    return threads__start(inst);
}

/* All rooms, or none. */
static err_t try_init(struct instance *inst, const struct init_options *options)
{
    err_t err = init_rooms(inst, options);
    if (err >= 0)
        return err;
    struct err_origin origin = *err_last();
    threads__stop(inst);
    rooms__close(inst);
    err_restore(&origin);
    return err;
}

static err_t check_settings(struct instance *inst)
{
    if (params_number(inst->params, JET_paramCleanupMismatchedLogFiles) == 0 || params_number(inst->params, JET_paramCircularLog) != 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errInvalidSettings);
    err_detail("JET_paramCleanupMismatchedLogFiles deletes logs: it goes with circular logging only");
    return err;
}

static err_t size_of_logs(struct instance *inst, uint32_t *kib)
{
    struct log_survey found;
    struct log_header header;
    char path[OS_PATH_MAX];
    TRY_RETURN(log_survey(inst->log_dir, inst->base_name, &found));
    if (!found.any)
        return RAISE(JET_errFileNotFound);
    bool alone = found.current && found.gen_first == found.gen_last;
    TRY_RETURN(log_find(inst->log_dir, inst->base_name, alone ? 0 : found.gen_first, path));
    TRY_RETURN(log_read_header(path, &header));
    *kib = header.file_size / 1024;
    return JET_errSuccess;
}

static err_t init_and_term(struct instance *inst, const struct init_options *options)
{
    TRY_RETURN(try_init(inst, options));
    return instance__term_rooms(inst, false);
}

/* Logs of another size than the one that is set: the databases are made consistent with them, no log of the new size is begun. */
static err_t make_consistent_only(struct instance *inst, const struct init_options *options)
{
    uint64_t asked = params_number(inst->params, JET_paramLogFileSize);
    struct err_origin origin = *err_last();
    uint32_t kib;
    if (size_of_logs(inst, &kib) < 0 || kib == asked) {
        err_restore(&origin);
        return origin.err;
    }
    TRY_RETURN(params_set(inst->params, JET_paramLogFileSize, kib, NULL, PARAMS_BEFORE_INIT));
    err_t err = init_and_term(inst, options);
    origin = *err_last();
    TRY_RETURN(params_set(inst->params, JET_paramLogFileSize, asked, NULL, PARAMS_BEFORE_INIT));
    if (err < 0) {
        err_restore(&origin);
        return err;
    }
    err = RAISE(JET_errLogFileSizeMismatchDatabasesConsistent);
    err_detail("the logs in %s have %u KiB, JET_paramLogFileSize says %u; the databases are consistent", inst->log_dir, kib, (unsigned)asked);
    return err;
}

static void add_event_gate(struct instance *inst)
{
    inst->event_gate = (struct event_gate){
        .instance = inst->display,
        .shut = params_number(inst->params, JET_paramEventLoggingLevel) == 0,
        .errors_and_warnings_only = params_number(inst->params, JET_paramNoInformationEvent) != 0,
    };
    event_gate_add(&inst->event_gate);
}

err_t instance_init(struct instance *inst, const struct init_options *options, struct recovery_result *result)
{
    int created = INSTANCE_CREATED;
    if (!atomic_compare_exchange_strong(&inst->state, &created, INSTANCE_INITIALISING))
        return RAISE(JET_errAlreadyInitialized);
    inst->process_id = os_process_id();
    atomic_store(&inst->poison, 0);
    atomic_store(&inst->write_failed, 0);
    atomic_store(&inst->service, 0);
    static const struct init_options none;
    add_event_gate(inst);
    err_t err = check_settings(inst);
    if (err >= 0)
        err = try_init(inst, options == NULL ? &none : options);
    if (err == JET_errLogFileSizeMismatch)
        err = make_consistent_only(inst, options == NULL ? &none : options);
    if (err < 0) {
        struct err_origin origin = *err_last();
        event_gate_remove(&inst->event_gate);
        atomic_store(&inst->state, INSTANCE_CREATED);
        err_restore(&origin);
        return err;
    }
    if (result != NULL)
        *result = inst->recovery;
    atomic_store(&inst->state, INSTANCE_RUNNING);
    event_report(105, EVENT_INFO, inst->display, "the instance is ready", NULL);
    return JET_errSuccess;
}

/* ---- backup, numbers ---- */

void instance_set_backup_pause(struct instance *inst, void (*fn)(void *context, uint32_t percent), void *context)
{
    inst->backup_pause = fn;
    inst->backup_pause_context = context;
}

void instance_backup_options(const struct instance *inst, struct backup_options *out)
{
    *out = (struct backup_options){
        .create_path = params_number(inst->params, JET_paramCreatePathIfNotExist) != 0,
        .zero_deleted = params_number(inst->params, JET_paramZeroDatabaseDuringBackup) != 0,
        .read_retries = (uint32_t)params_number(inst->params, PYJET_paramBackupReadRetries),
    };
}

err_t instance_look_at_backup(struct instance *inst, const struct backup_options *options, struct backup_result *result)
{
    struct backup_options o;
    instance_backup_options(inst, &o);
    o.path = options->path;
    o.grbit = options->grbit;
    o.create_path |= options->create_path;
    TRY_RETURN(instance_enter(inst, true));
    err_t err = backup_look(inst->backup, &o, result);
    instance_leave(inst);
    return err;
}

err_t instance_backup(struct instance *inst, const struct backup_options *options, struct backup_result *result)
{
    struct backup_options o;
    instance_backup_options(inst, &o);
    o.path = options->path;
    o.grbit = options->grbit;
    o.progress = options->progress;
    o.pause = inst->backup_pause;
    o.pause_context = inst->backup_pause_context;
    TRY_RETURN(instance_enter(inst, true));
    err_t err = backup_run(inst->backup, &o, result);
    if (err < 0 && log_poisoned(inst->log) < 0) /* a target that fails is no failure of the instance */
        instance_poison(inst, err);
    instance_leave(inst);
    return err;
}

err_t instance_enter_backup(struct instance *inst, struct backup **out)
{
    TRY_RETURN(instance_enter(inst, true));
    *out = inst->backup;
    return JET_errSuccess;
}

err_t instance_leave_backup(struct instance *inst, err_t err)
{
    if (err < 0 && log_poisoned(inst->log) < 0)
        instance_poison(inst, err);
    instance_leave(inst);
    return err;
}

err_t instance_stop_backup(struct instance *inst, err_t reason)
{
    err_t err = JET_errSuccess;
    atomic_fetch_add(&inst->inside, 1); /* no gate: a failed instance's backup can be stopped too */
    if (inst->process_id == os_process_id() && atomic_load(&inst->state) == INSTANCE_RUNNING)
        backup_stop(inst->backup, reason, false);
    else
        err = refuse(inst, true);
    instance_leave(inst);
    return err;
}

void instance_stats(struct instance *inst, struct instance_stats *out)
{
    memset(out, 0, sizeof *out);
    out->recovery = inst->recovery;
    btree_stats(&out->btree);
    if (inst->log == NULL)
        return;
    out->log_bytes = log_bytes_appended(inst->log);
    out->log_flushes = log_flush_count(inst->log);
    out->commits_durable = atomic_load(&inst->commits_durable);
    out->undo_info = version_undo_info_count(inst->versions);
    out->versions_bytes = versions_bytes(inst->versions);
    out->sweeps = atomic_load(&inst->sweeps);
    out->checkpoints = atomic_load(&inst->checkpoints);
    out->log_tail = log_tail(inst->log);
    if (inst->checkpointer != NULL)
        out->checkpoint = checkpointer_position(inst->checkpointer);
    cache_stats(inst->cache, &out->cache);
}
