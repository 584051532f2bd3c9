#include <stdio.h>

#include "api/api_private.h"

/* System parameters: which set of values a call means (api-notes.md 5), and how values go in and out. */

struct target {
    struct params *params;
    enum params_stage stage;
    struct api_instance *pinned;
    struct api_session *entered;
    bool session_only; /* JET_paramCommitDefault of one session */
};

static bool is_global(uint32_t id)
{
    static const struct {
        uint32_t id;
        const char *scope;
    } scopes[] = {
#define JET_PARAM(name, id, kind, scope, dflt, min, max, when, text) {id, scope},
#include "include/jet_params.def"
#undef JET_PARAM
    };
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++)
        if (scopes[i].id == id)
            return strcmp(scopes[i].scope, "global") == 0;
    return false;
}

static void target_release(struct target *t)
{
    if (t->pinned != NULL)
        api_unpin_instance(t->pinned);
    if (t->entered != NULL)
        api_leave(t->entered);
}

static void target_instance(struct target *t, struct api_instance *i)
{
    t->params = instance_params(i->inst);
    t->stage = instance_is_running(i->inst) ? PARAMS_AFTER_INIT : PARAMS_BEFORE_INIT;
}

static err_t find_target(JET_INSTANCE instance, JET_SESID sesid, uint32_t id, struct target *t)
{
    enum api_mode mode = api_mode();
    bool has_session = sesid != 0 && sesid != JET_sesidNil, has_instance = instance != 0 && instance != JET_instanceNil;
    *t = (struct target){.params = params_global(), .stage = mode == MODE_NONE ? PARAMS_BEFORE_INIT : PARAMS_AFTER_INIT};
    if (has_session && mode != MODE_NONE) {
        TRY_RETURN(api_enter_writer(sesid, &t->entered));
        if (id == JET_paramCommitDefault)
            t->session_only = true;
        else if (!is_global(id))
            target_instance(t, t->entered->instance);
        return JET_errSuccess;
    }
    if (is_global(id))
        return JET_errSuccess;
    if (mode == MODE_SINGLE || (mode == MODE_MULTI && has_instance)) {
        TRY_RETURN(api_pin_instance(instance, false, &t->pinned));
        target_instance(t, t->pinned);
        return JET_errSuccess;
    }
    t->stage = PARAMS_BEFORE_INIT; /* defaults for instances to come */
    return JET_errSuccess;
}

/* Values that the engine has no use for yet are refused, not swallowed. */
static err_t refuse_unsupported(uint32_t id, uint64_t number)
{
    if ((id != JET_paramUnicodeIndexDefault && id != JET_paramRuntimeCallback && id != JET_paramDurableCommitCallback) || number == 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errFeatureNotAvailable);
    err_detail("system parameter %u cannot be set in this version", id);
    return err;
}

static err_t set_in(struct target *t, uint32_t id, uint64_t number, const char *text)
{
    TRY_RETURN(refuse_unsupported(id, number));
    if (!t->session_only)
        return params_set(t->params, id, number, text, t->stage);
    session_set_commit_default(t->entered->session, (JET_GRBIT)number);
    return JET_errSuccess;
}

JET_ERR JetSetSystemParameterA(JET_INSTANCE *pinstance, JET_SESID sesid, uint32_t paramid, JET_API_PTR lParam, JET_PCSTR szParam)
{
    struct target t;
    TRY_RETURN(find_target(pinstance == NULL ? 0 : *pinstance, sesid, paramid, &t));
    err_t err = set_in(&t, paramid, lParam, szParam);
    target_release(&t);
    return err;
}
PLAIN_IS_A(JetSetSystemParameter);

JET_ERR JetSetSystemParameterW(JET_INSTANCE *pinstance, JET_SESID sesid, uint32_t paramid, JET_API_PTR lParam, JET_PCWSTR szParam)
    WITH_TEXT(text, szParam, JetSetSystemParameterA(pinstance, sesid, paramid, lParam, text))

/* ---- get ---- */

static err_t error_to_string(const JET_API_PTR *number, bool wide, void *to, uint32_t room)
{
    char text[512];
    if (number == NULL)
        return api_invalid("JET_paramErrorToString wants the error's number in *plParam");
    err_t code = (err_t)*number;
    snprintf(text, sizeof text, "%s, %s", err_name(code), err_text(code));
    return text_give(text, wide, to, room);
}

/* Two that follow from the page size. */
static uint64_t derived(uint32_t id, uint64_t stored)
{
    uint64_t page_size = params_number(params_global(), JET_paramDatabasePageSize);
    if (id == JET_paramKeyMost)
        return page_size == 4096 ? JET_cbKeyMost4KBytePage : JET_cbKeyMostMost;
    return id == JET_paramLVChunkSizeMost ? longval_chunk_size((uint32_t)page_size) : stored;
}

static err_t get_from(const struct target *t, uint32_t id, JET_API_PTR *number, bool wide, void *to, uint32_t room)
{
    uint64_t value;
    const char *text;
    TRY_RETURN(params_get(t->params, id, &value, &text));
    if (text != NULL && to != NULL)
        TRY_RETURN(text_give(text, wide, to, room));
    if (text == NULL && number == NULL)
        return api_invalid("a place for the number is needed");
    if (number != NULL && text == NULL)
        *number = derived(id, value);
    return JET_errSuccess;
}

static err_t get_parameter(JET_INSTANCE instance, JET_SESID sesid, uint32_t id, JET_API_PTR *number, bool wide, void *to, uint32_t room)
{
    struct target t;
    if (id == JET_paramErrorToString)
        return error_to_string(number, wide, to, room);
    TRY_RETURN(find_target(instance, sesid, id, &t));
    if (t.session_only)
        target_instance(&t, t.entered->instance);
    err_t err = get_from(&t, id, number, wide, to, room);
    target_release(&t);
    return err;
}

JET_ERR JetGetSystemParameterA(JET_INSTANCE instance, JET_SESID sesid, uint32_t paramid, JET_API_PTR *plParam, JET_PSTR szParam, uint32_t cbMax)
{
    return get_parameter(instance, sesid, paramid, plParam, false, szParam, cbMax);
}
PLAIN_IS_A(JetGetSystemParameter);

JET_ERR JetGetSystemParameterW(JET_INSTANCE instance, JET_SESID sesid, uint32_t paramid, JET_API_PTR *plParam, JET_PWSTR szParam, uint32_t cbMax)
{
    return get_parameter(instance, sesid, paramid, plParam, true, szParam, cbMax);
}

/* ---- JetEnableMultiInstance ---- */

static bool equals(uint32_t id, uint64_t number, const char *text)
{
    uint64_t has;
    const char *has_text;
    if (params_get(params_global(), id, &has, &has_text) < 0)
        return false;
    return has_text != NULL ? text != NULL && strcmp(text, has_text) == 0 : number == has;
}

static err_t compare_all(JET_SETSYSPARAM_A *list, uint32_t count, uint32_t *same)
{
    for (uint32_t i = 0; i < count; i++) {
        bool equal = equals(list[i].paramid, list[i].lParam, list[i].sz);
        list[i].err = equal ? JET_errSuccess : JET_errSystemParameterConflict;
        *same += equal;
    }
    return *same == count ? RAISE(JET_errSystemParamsAlreadySet) : RAISE(JET_errSystemParameterConflict);
}

static err_t enable_multi(JET_SETSYSPARAM_A *list, uint32_t count, uint32_t *done)
{
    enum api_mode before = api_mode();
    if (list == NULL && count > 0)
        return api_invalid("the list of parameters is missing");
    if (before == MODE_SINGLE)
        return RAISE(JET_errRunningInOneInstanceMode);
    if (before == MODE_MULTI)
        return compare_all(list, count, done);
    for (uint32_t i = 0; i < count; i++, ++*done) {
        list[i].err = refuse_unsupported(list[i].paramid, list[i].lParam);
        if (list[i].err >= 0)
            list[i].err = params_set(params_global(), list[i].paramid, list[i].lParam, list[i].sz, PARAMS_BEFORE_INIT);
        TRY_RETURN(list[i].err);
    }
    return api_set_mode(MODE_MULTI);
}

JET_ERR JetEnableMultiInstanceA(JET_SETSYSPARAM_A *psetsysparam, uint32_t csetsysparam, uint32_t *pcsetsucceed)
{
    uint32_t done = 0;
    err_t err = enable_multi(psetsysparam, csetsysparam, &done);
    if (pcsetsucceed != NULL)
        *pcsetsucceed = done;
    return err;
}
PLAIN_IS_A(JetEnableMultiInstance);

JET_ERR JetEnableMultiInstanceW(JET_SETSYSPARAM_W *psetsysparam, uint32_t csetsysparam, uint32_t *pcsetsucceed)
{
    err_t err = JET_errSuccess;
    if (psetsysparam == NULL || csetsysparam == 0)
        return JetEnableMultiInstanceA(NULL, csetsysparam, pcsetsucceed);
    JET_SETSYSPARAM_A *list = calloc(csetsysparam, sizeof *list);
    if (list == NULL)
        return RAISE(JET_errOutOfMemory);
    for (uint32_t i = 0; i < csetsysparam; i++) {
        char *text;
        TRY(text_from_wide(psetsysparam[i].sz, &text));
        list[i] = (JET_SETSYSPARAM_A){.paramid = psetsysparam[i].paramid, .lParam = psetsysparam[i].lParam, .sz = text};
    }
    err = JetEnableMultiInstanceA(list, csetsysparam, pcsetsucceed);
    for (uint32_t i = 0; i < csetsysparam; i++)
        psetsysparam[i].err = list[i].err;
out:
    for (uint32_t i = 0; i < csetsysparam; i++)
        free((void *)(uintptr_t)list[i].sz);
    free(list);
    return err;
}
