#include "api/api_private.h"

/* Instances: the process's mode, JetCreateInstance, JetInit, JetTerm (api-notes.md 5, backup-semantics.md 3). */

static _Atomic int guard; /* mode, count, single; held for a few instructions */
static _Atomic int mode = MODE_NONE;
static uint32_t instance_count;
static struct api_instance *instances; /* under guard */
static JET_INSTANCE _Atomic single;

static void lock(void)
{
    int expected = 0;
    while (!atomic_compare_exchange_weak(&guard, &expected, 1)) {
        expected = 0;
        os_yield();
    }
}

static void unlock(void)
{
    atomic_store(&guard, 0);
}

err_t api_invalid(const char *what)
{
    err_t err = RAISE(JET_errInvalidParameter);
    err_detail("%s", what);
    return err;
}

enum api_mode api_mode(void)
{
    return (enum api_mode)atomic_load(&mode);
}

err_t api_set_mode(enum api_mode wanted)
{
    int now = MODE_NONE;
    if (atomic_compare_exchange_strong(&mode, &now, wanted) || now == (int)wanted)
        return JET_errSuccess;
    return now == MODE_SINGLE ? RAISE(JET_errRunningInOneInstanceMode) : RAISE(JET_errRunningInMultiInstanceMode);
}

err_t api_require_single(void)
{
    switch (api_mode()) {
    case MODE_SINGLE:
        return JET_errSuccess;
    case MODE_MULTI:
        return RAISE(JET_errRunningInMultiInstanceMode);
    default:
        return api_invalid("no instance has been started in this process");
    }
}

err_t api_add_instance(const char *name, const char *display, struct api_instance **out)
{
    *out = NULL;
    struct api_instance *i = calloc(1, sizeof *i);
    if (i == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = instance_create(name, display, &i->inst);
    if (err < 0) {
        free(i);
        return err;
    }
    os_lock_init(&i->lock, RANK_OS);
    list_init(&i->sessions);
    i->process_id = os_process_id();
    lock();
    if (api_mode() == MODE_SINGLE && instance_count > 0)
        err = RAISE(JET_errAlreadyInitialized);
    else
        instance_count++;
    unlock();
    if (err >= 0) {
        err = handle_create(HANDLE_INSTANCE, i, NULL, &i->handle);
        if (err >= 0) {
            instance_set_handle(i->inst, i->handle);
            if (api_mode() == MODE_SINGLE)
                atomic_store(&single, i->handle);
            lock();
            i->next_in_process = instances;
            instances = i;
            unlock();
            *out = i;
            return JET_errSuccess;
        }
        lock();
        instance_count--;
        unlock();
    }
    os_lock_term(&i->lock);
    instance_destroy(i->inst);
    free(i);
    return err;
}

err_t api_remove_instance(struct api_instance *i)
{
    if (handle_drain(i->handle) != HANDLE_OK) {
        api_unpin_instance(i);
        return RAISE(JET_errTermInProgress);
    }
    lock();
    for (struct api_instance **at = &instances; *at != NULL; at = &(*at)->next_in_process)
        if (*at == i) {
            *at = i->next_in_process;
            break;
        }
    if (atomic_load(&single) == i->handle)
        atomic_store(&single, 0);
    if (--instance_count == 0)
        atomic_store(&mode, MODE_NONE);
    unlock();
    os_lock_term(&i->lock);
    instance_destroy(i->inst);
    free(i);
    return JET_errSuccess;
}

static bool is_nil(JET_INSTANCE handle)
{
    return handle == 0 || handle == JET_instanceNil;
}

static err_t no_such_instance(JET_INSTANCE handle, bool backup)
{
    if (backup)
        return api_invalid("the instance handle is nil, or its instance is gone");
    if (is_nil(handle))
        return RAISE(JET_errNotInitialized);
    err_t err = RAISE(JET_errInvalidInstance);
    err_detail("no instance has this handle; it may have been terminated");
    return err;
}

err_t api_pin_instance(JET_INSTANCE handle, bool backup, struct api_instance **out)
{
    void *object;
    *out = NULL;
    if (api_mode() == MODE_SINGLE) {
        handle = atomic_load(&single);
        backup = false;
    }
    switch (handle_pin(handle, HANDLE_INSTANCE, &object)) {
    case HANDLE_OK:
        *out = object;
        return JET_errSuccess;
    case HANDLE_CLOSING:
        return RAISE(JET_errTermInProgress);
    default:
        return no_such_instance(handle, backup);
    }
}

void api_unpin_instance(struct api_instance *i)
{
    handle_unpin(i->handle);
}

uint32_t api_instances(JET_INSTANCE *list, uint32_t room)
{
    uint32_t n = 0;
    lock();
    for (struct api_instance *i = instances; i != NULL; i = i->next_in_process, n++)
        if (n < room)
            list[n] = i->handle;
    unlock();
    return n;
}

/* ---- create ---- */

static bool name_is_used(const char *name)
{
    for (struct instance *i = instance_next(NULL); i != NULL; i = instance_next(i))
        if (name != NULL && name[0] != '\0' && strcmp(instance_name(i), name) == 0)
            return true;
    return false;
}

JET_ERR JetCreateInstance2A(JET_INSTANCE *pinstance, JET_PCSTR szInstanceName, JET_PCSTR szDisplayName, JET_GRBIT grbit)
{
    struct api_instance *i;
    if (pinstance == NULL)
        return api_invalid("a place for the instance handle is needed");
    *pinstance = JET_instanceNil;
    if (grbit != 0)
        return RAISE(JET_errInvalidGrbit);
    if (name_is_used(szInstanceName)) {
        err_t err = RAISE(JET_errInstanceNameInUse);
        err_detail("an instance named %s is there already", szInstanceName);
        return err;
    }
    TRY_RETURN(api_set_mode(MODE_MULTI));
    TRY_RETURN(api_add_instance(szInstanceName, szDisplayName, &i));
    *pinstance = i->handle;
    return JET_errSuccess;
}
PLAIN_IS_A(JetCreateInstance2);

JET_ERR JetCreateInstance2W(JET_INSTANCE *pinstance, JET_PCWSTR szInstanceName, JET_PCWSTR szDisplayName, JET_GRBIT grbit)
    WITH_TEXTS(name, szInstanceName, display, szDisplayName, JetCreateInstance2A(pinstance, name, display, grbit))

JET_ERR JetCreateInstanceA(JET_INSTANCE *pinstance, JET_PCSTR szInstanceName)
{
    return JetCreateInstance2A(pinstance, szInstanceName, NULL, 0);
}
PLAIN_IS_A(JetCreateInstance);

JET_ERR JetCreateInstanceW(JET_INSTANCE *pinstance, JET_PCWSTR szInstanceName)
{
    return JetCreateInstance2W(pinstance, szInstanceName, NULL, 0);
}

/* ---- init ---- */

/* The instance that JetInit is about, pinned; *made when the call has to make it (and to unmake it when it fails). */
static err_t instance_for_init(JET_INSTANCE *pinstance, struct api_instance **out, bool *made)
{
    void *object;
    *made = false;
    if (api_mode() == MODE_MULTI) {
        if (pinstance == NULL)
            return RAISE(JET_errRunningInMultiInstanceMode);
        if (!is_nil(*pinstance))
            return api_pin_instance(*pinstance, false, out);
    } else {
        TRY_RETURN(api_set_mode(MODE_SINGLE));
        if (handle_pin(atomic_load(&single), HANDLE_INSTANCE, &object) == HANDLE_OK) {
            *out = object;
            return JET_errSuccess;
        }
    }
    TRY_RETURN(api_add_instance(NULL, NULL, out));
    ENFORCE(handle_pin((*out)->handle, HANDLE_INSTANCE, &object) == HANDLE_OK);
    *made = true;
    return JET_errSuccess;
}

static err_t check_stop(struct api_instance *i, const struct init_options *o)
{
    if (o->stop == LGPOS_MIN || params_number(instance_params(i->inst), JET_paramDeleteOutOfRangeLogs) == 0)
        return JET_errSuccess;
    return api_invalid("JET_RSTINFO.lgposStop and JET_paramDeleteOutOfRangeLogs exclude each other: logs behind the stop would be deleted");
}

err_t api_init(JET_INSTANCE *pinstance, const struct init_options *options, struct api_progress *progress,
               struct recovery_result *result)
{
    struct api_instance *i = NULL;
    bool made;
    TRY_RETURN(instance_for_init(pinstance, &i, &made));
    struct init_options o = *options;
    o.progress = api_progress_socket(progress);
    err_t err = check_stop(i, &o);
    if (err >= 0)
        err = api_progress_end(progress, instance_init(i->inst, &o, result));
    if (err < 0 && made) {
        struct err_origin origin = *err_last();
        if (api_remove_instance(i) < 0 || err != origin.err)
            return err;
        err_restore(&origin);
        return err;
    }
    if (pinstance != NULL)
        *pinstance = i->handle;
    api_unpin_instance(i);
    return err;
}

err_t api_check_init_grbit(JET_GRBIT grbit)
{
    const JET_GRBIT known = JET_bitReplayIgnoreMissingDB | JET_bitRecoveryWithoutUndo | JET_bitTruncateLogsAfterRecovery |
                            JET_bitReplayMissingMapEntryDB | JET_bitLogStreamMustExist | JET_bitReplayIgnoreLostLogs |
                            JET_bitKeepDbAttachedAtEndOfRecovery;
    return (grbit & ~known) != 0 ? RAISE(JET_errInvalidGrbit) : JET_errSuccess;
}

void api_recovery_out(const struct recovery_result *from, PYJET_RECOVERY *to)
{
    *to = (PYJET_RECOVERY){
        .redone = from->redone,
        .clean_end = from->clean_end,
        .gen_first = from->gen_first,
        .gen_last = from->gen_last,
        .records = from->records,
        .applied = from->applied,
        .skipped = from->skipped,
        .bytes = from->bytes,
        .undone = from->undone,
        .sessions_undone = from->sessions_undone,
        .pages_restored = from->pages_restored,
        .pages_reconciled = from->pages_reconciled,
        .undo_after_steal = from->undo_after_steal,
        .macros_half_redone = from->macros_half_redone,
        .records_filtered = from->records_filtered,
    };
}

JET_ERR PyjetInit(JET_INSTANCE *pinstance, JET_GRBIT grbit, PYJET_PROGRESS progress, void *context, PYJET_RECOVERY *result)
{
    struct init_options options = {.grbit = grbit};
    struct api_progress p = {.progress = progress, .context = context};
    struct recovery_result recovery = {0};
    TRY_RETURN(api_check_init_grbit(grbit));
    err_t err = api_init(pinstance, &options, &p, &recovery);
    if (result != NULL)
        api_recovery_out(&recovery, result);
    return err;
}

/* ---- term ---- */

/* Shuts every session's handle: calls inside come to their end first, new ones get JET_errTermInProgress. */
static void close_sessions(struct api_instance *i)
{
    for (bool busy = true; busy;) {
        busy = false;
        os_lock_take(&i->lock);
        LIST_FOR_EACH (link, &i->sessions)
            busy |= handle_begin_close(LIST_ENTRY(link, struct api_session, in_instance)->handle) == HANDLE_BUSY;
        os_lock_release(&i->lock);
        if (busy)
            os_sleep_ms(1);
    }
}

static void reopen_sessions(struct api_instance *i)
{
    os_lock_take(&i->lock);
    i->terminating = false;
    LIST_FOR_EACH (link, &i->sessions)
        handle_give(LIST_ENTRY(link, struct api_session, in_instance)->handle);
    os_lock_release(&i->lock);
}

static void forget_sessions(struct api_instance *i)
{
    while (!list_is_empty(&i->sessions)) {
        struct api_session *s = LIST_ENTRY(i->sessions.next, struct api_session, in_instance);
        list_remove(&s->in_instance);
        api_forget_session(s);
    }
}

static err_t term_refused(struct api_instance *i, err_t err)
{
    os_lock_take(&i->lock);
    i->terminating = false;
    os_lock_release(&i->lock);
    api_unpin_instance(i);
    return err;
}

static err_t term_pinned(struct api_instance *i, JET_GRBIT grbit)
{
    if (i->process_id != os_process_id()) {
        err_t err = RAISE(JET_errInstanceUnavailable);
        err_detail("the instance belongs to the parent process");
        api_unpin_instance(i);
        return err;
    }
    os_lock_take(&i->lock);
    bool already = i->terminating;
    i->terminating = true;
    os_lock_release(&i->lock);
    if (already) {
        api_unpin_instance(i);
        return RAISE(JET_errTermInProgress);
    }
    err_t err = instance_leave_snapshots(i->inst, grbit);
    if (err < 0)
        return term_refused(i, err);
    close_sessions(i);
    err = instance_term(i->inst, grbit);
    if (instance_is_running(i->inst)) {
        reopen_sessions(i);
        api_unpin_instance(i);
        return err;
    }
    if (err == JET_errNotInitialized)
        err = JET_errSuccess; /* created, never started: it is only taken away */
    struct err_origin origin = *err_last();
    forget_sessions(i);
    TRY_RETURN(api_remove_instance(i));
    if (err < 0) {
        err_restore(&origin);
    }
    return err;
}

JET_ERR JetTerm2(JET_INSTANCE instance, JET_GRBIT grbit)
{
    const JET_GRBIT known = JET_bitTermComplete | JET_bitTermAbrupt | JET_bitTermStopBackup | JET_bitTermDirty;
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, false, &i));
    if ((grbit & ~known) != 0) {
        api_unpin_instance(i);
        return RAISE(JET_errInvalidGrbit);
    }
    return term_pinned(i, grbit);
}

JET_ERR JetTerm(JET_INSTANCE instance)
{
    return JetTerm2(instance, JET_bitTermAbrupt);
}
