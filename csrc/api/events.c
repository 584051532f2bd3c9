#include "api/api_private.h"

/* Errors in words, events, and the hooks of tests. */

const char *PyjetErrorName(JET_ERR err)
{
    return err_name(err);
}

const char *PyjetErrorText(JET_ERR err)
{
    return err_text(err);
}

const char *PyjetErrorCategory(JET_ERR err)
{
    return err_category(err);
}

const char *PyjetErrorHint(JET_ERR err)
{
    return err_hint(err);
}

const char *PyjetErrorDetail(JET_ERR err)
{
    const struct err_origin *last = err_last();
    return last->err == err ? last->detail : "";
}

#define CATEGORY_DEPTH 4
struct category {
    const char *name;
    uint8_t path[CATEGORY_DEPTH]; /* most general first */
};
static const struct category categories[] = {
    {"Unknown", {JET_errcatUnknown}},
    {"Error", {JET_errcatError}},
    {"Operation", {JET_errcatError, JET_errcatOperation}},
    {"Fatal", {JET_errcatError, JET_errcatOperation, JET_errcatFatal}},
    {"IO", {JET_errcatError, JET_errcatOperation, JET_errcatIO}},
    {"Resource", {JET_errcatError, JET_errcatOperation, JET_errcatResource}},
    {"Memory", {JET_errcatError, JET_errcatOperation, JET_errcatResource, JET_errcatMemory}},
    {"Quota", {JET_errcatError, JET_errcatOperation, JET_errcatResource, JET_errcatQuota}},
    {"Disk", {JET_errcatError, JET_errcatOperation, JET_errcatResource, JET_errcatDisk}},
    {"Data", {JET_errcatError, JET_errcatData}},
    {"Corruption", {JET_errcatError, JET_errcatData, JET_errcatCorruption}},
    {"Inconsistent", {JET_errcatError, JET_errcatData, JET_errcatInconsistent}},
    {"Fragmentation", {JET_errcatError, JET_errcatData, JET_errcatFragmentation}},
    {"Api", {JET_errcatError, JET_errcatApi}},
    {"Usage", {JET_errcatError, JET_errcatApi, JET_errcatUsage}},
    {"State", {JET_errcatError, JET_errcatApi, JET_errcatState}},
    {"Obsolete", {JET_errcatError, JET_errcatApi, JET_errcatObsolete}},
};

static const struct category *category_of(err_t code)
{
    const char *name = err_category(code);
    for (size_t i = 0; i < sizeof categories / sizeof categories[0]; i++)
        if (strcmp(categories[i].name, name) == 0)
            return &categories[i];
    return &categories[0];
}

JET_ERR JetGetErrorInfoW(void *pvContext, void *pvResult, uint32_t cbMax, uint32_t InfoLevel, JET_GRBIT grbit)
{
    JET_ERRINFOBASIC_W info = {.cbStruct = sizeof info};
    if (pvContext == NULL || pvResult == NULL || InfoLevel != JET_ErrorInfoSpecificErr || grbit != 0)
        return api_invalid("JetGetErrorInfoW takes an error, level JET_ErrorInfoSpecificErr and no grbit");
    if (cbMax < sizeof info)
        return RAISE(JET_errInvalidBufferSize);
    memcpy(&info.errValue, pvContext, sizeof info.errValue);
    const struct category *c = category_of(info.errValue);
    memcpy(info.rgCategoricalHierarchy, c->path, sizeof c->path);
    for (int i = 0; i < CATEGORY_DEPTH; i++)
        if (c->path[i] != 0)
            info.errcatMostSpecific = c->path[i];
    memcpy(pvResult, &info, sizeof info);
    return JET_errSuccess;
}

JET_ERR JetFreeBuffer(char *pbBuf)
{
    free(pbBuf);
    return JET_errSuccess;
}

/* ---- events: two forms of the same entry. The sink is set before the pointer is used: event_set_sink waits for running calls. ---- */

struct sink {
    PYJET_EVENT_SINK fn;
    void *context;
};

static void pass_on(void *context, const struct event *event)
{
    const struct sink *sink = context;
    PYJET_EVENT out = {
        .id = event->id,
        .severity = (int32_t)event->severity,
        .instance = event->instance,
        .cParams = event->param_count,
        .rgszParams = event->params,
        .text = event->text,
    };
    sink->fn(sink->context, &out);
}

void PyjetSetEventSink(PYJET_EVENT_SINK sink, void *context)
{
    static struct sink now;
    static _Atomic int guard;
    int expected = 0;
    while (!atomic_compare_exchange_weak(&guard, &expected, 1)) {
        expected = 0;
        os_sleep_ms(1);
    }
    event_set_sink(NULL, NULL); /* nobody reads `now` when it returns */
    now = (struct sink){sink, context};
    if (sink != NULL)
        event_set_sink(pass_on, &now);
    atomic_store(&guard, 0);
}

/* ---- for tests ---- */

void PyjetSetFault(const PYJET_FAULT *fault)
{
    static char part[OS_PATH_MAX];
    if (fault == NULL) {
        os_fault_set(NULL);
        return;
    }
    os_fault_set(NULL);
    struct os_fault plan = {
        .ops = fault->ops,
        .after = fault->after,
        .count = fault->count,
        .error = fault->error,
        .delay_ms = fault->delay_ms,
    };
    if (fault->path_part != NULL) {
        size_t n = strnlen(fault->path_part, sizeof part - 1);
        memcpy(part, fault->path_part, n);
        part[n] = '\0';
        plan.path_part = part;
    }
    os_fault_set(&plan);
}

uint64_t PyjetFaultHits(void)
{
    return os_fault_hits();
}

JET_ERR PyjetRecordStart(const char *dir, const char *trace)
{
    return dir == NULL || trace == NULL ? api_invalid("a folder and a file for the trace are needed") : os_record_start(dir, trace);
}

void PyjetRecordStop(void)
{
    os_record_stop();
}

void PyjetRecordMark(const char *text)
{
    os_record_mark(text == NULL ? "" : text);
}
