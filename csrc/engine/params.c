#include <ctype.h>
#include <stdio.h>

#include "engine/engine.h"

/* System parameters: one table, read once from jet_params.def, and a set of values for the process and for each instance. */

enum kind { KIND_NONE, KIND_NUMBER, KIND_TEXT, KIND_FOLDER, KIND_PATH, KIND_READ_ONLY };

struct entry {
    uint32_t id;
    enum kind kind;
    bool any_time;
    uint64_t dflt, min, max;
    const char *dflt_text;
};

struct source {
    uint32_t id;
    const char *kind, *dflt, *min, *max, *when;
};
static const struct source sources[] = {
#define JET_PARAM(name, id, kind, scope, dflt, min, max, when, text) {id, kind, dflt, min, max, when},
#include "include/jet_params.def"
#undef JET_PARAM
};

#define OWN_FIRST PYJET_paramDoubleWrite
#define OWN_COUNT 5u
#define ESE_COUNT 221u
#define PARAM_COUNT (ESE_COUNT + OWN_COUNT)

static const uint64_t own_defaults[OWN_COUNT] = {1, 0, 16, 0, 0};

struct params {
    uint64_t number[PARAM_COUNT];
    char *text[PARAM_COUNT];
};

static uint64_t parse(const char *text, uint64_t if_none)
{
    if (strncmp(text, "unlimited", 9) == 0 || strncmp(text, "mask", 4) == 0)
        return UINT64_MAX;
    return isdigit((unsigned char)text[0]) ? strtoull(text, NULL, 0) : if_none;
}

static bool slot_of(uint32_t id, uint32_t *slot)
{
    if (id < ESE_COUNT)
        *slot = id;
    else if (id >= OWN_FIRST && id < OWN_FIRST + OWN_COUNT)
        *slot = ESE_COUNT + (id - OWN_FIRST);
    else
        return false;
    return true;
}

/* Slots without an ESE name are accepted ids that hold nothing (gaps of the numbering). */
static bool describe(uint32_t id, struct entry *e)
{
    *e = (struct entry){.id = id};
    if (id >= OWN_FIRST) {
        *e = (struct entry){id, KIND_NUMBER, true, own_defaults[id - OWN_FIRST], 0, UINT64_MAX, NULL};
        return true;
    }
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const struct source *s = &sources[i];
        if (s->id != id)
            continue;
        bool text = strcmp(s->kind, "string") == 0;
        e->kind = text ? KIND_TEXT : KIND_NUMBER;
        if (id == JET_paramSystemPath || id == JET_paramLogFilePath || id == JET_paramAlternateDatabaseRecoveryPath)
            e->kind = KIND_FOLDER;
        if (id == JET_paramTempPath)
            e->kind = KIND_PATH;
        if (strncmp(s->when, "read-only", 9) == 0)
            e->kind = KIND_READ_ONLY;
        e->any_time = strncmp(s->when, "yes", 3) == 0;
        e->dflt = text ? 0 : parse(s->dflt, 0);
        e->min = parse(s->min, 0);
        e->max = parse(s->max, UINT64_MAX);
        e->dflt_text = text ? s->dflt : NULL;
        return true;
    }
    return false;
}

static err_t set_text(struct params *p, uint32_t slot, const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    if (text != NULL && copy == NULL)
        return RAISE(JET_errOutOfMemory);
    free(p->text[slot]);
    p->text[slot] = copy;
    return JET_errSuccess;
}

static err_t set_default(struct params *p, uint32_t id, uint32_t slot)
{
    struct entry e;
    if (!describe(id, &e))
        return JET_errSuccess;
    p->number[slot] = e.dflt;
    if (e.kind == KIND_FOLDER && id != JET_paramAlternateDatabaseRecoveryPath)
        return set_text(p, slot, "./");
    return set_text(p, slot, e.dflt_text);
}

err_t params_create(struct params **out, const struct params *copy_from)
{
    err_t err = JET_errSuccess;
    *out = NULL;
    struct params *p = calloc(1, sizeof *p);
    if (p == NULL)
        return RAISE(JET_errOutOfMemory);
    for (uint32_t slot = 0; slot < PARAM_COUNT; slot++) {
        uint32_t id = slot < ESE_COUNT ? slot : OWN_FIRST + (slot - ESE_COUNT);
        if (copy_from == NULL) {
            TRY(set_default(p, id, slot));
            continue;
        }
        p->number[slot] = copy_from->number[slot];
        TRY(set_text(p, slot, copy_from->text[slot]));
    }
    *out = p;
    return JET_errSuccess;
out:
    params_destroy(p);
    return err;
}

void params_destroy(struct params *p)
{
    if (p == NULL)
        return;
    for (uint32_t slot = 0; slot < PARAM_COUNT; slot++)
        free(p->text[slot]);
    free(p);
}

static err_t refuse(uint32_t id, const char *why)
{
    err_t err = RAISE(JET_errInvalidParameter);
    err_detail("system parameter %u: %s", id, why);
    return err;
}

/* Folders are kept absolute, with a slash at the end. */
static err_t set_folder(struct params *p, uint32_t slot, const char *text)
{
    char full[OS_PATH_MAX + 1];
    if (text[0] == '\0')
        return set_text(p, slot, "");
    TRY_RETURN(os_full_path(text, full, OS_PATH_MAX));
    size_t n = strlen(full);
    if (n > 0 && full[n - 1] != '/') {
        full[n] = '/';
        full[n + 1] = '\0';
    }
    return set_text(p, slot, full);
}

static err_t check_base_name(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (*c == '/' || *c == '\\' || *c == ':' || (unsigned char)*c < 0x21)
            return refuse(JET_paramBaseName, "a base name is three characters that may stand in a file name");
    return JET_errSuccess;
}

static err_t store_text(struct params *p, const struct entry *e, uint32_t slot, const char *text)
{
    if (text == NULL)
        return refuse(e->id, "a text is needed");
    size_t n = strlen(text);
    if (n < e->min || n > e->max)
        return refuse(e->id, "the text is too short or too long");
    if (e->id == JET_paramBaseName)
        TRY_RETURN(check_base_name(text));
    if (e->kind == KIND_FOLDER)
        return set_folder(p, slot, text);
    if (e->kind == KIND_PATH && text[0] != '\0') {
        char full[OS_PATH_MAX];
        TRY_RETURN(os_full_path(text, full, sizeof full));
        return set_text(p, slot, full);
    }
    return set_text(p, slot, text);
}

err_t params_set(struct params *p, uint32_t id, uint64_t number, const char *text, enum params_stage stage)
{
    uint32_t slot;
    struct entry e;
    if (!slot_of(id, &slot) || !describe(id, &e))
        return refuse(id, "there is no such parameter");
    if (e.kind == KIND_READ_ONLY)
        return refuse(id, "it can only be read");
    bool is_text = e.kind == KIND_TEXT || e.kind == KIND_FOLDER || e.kind == KIND_PATH;
    bool same = is_text ? text != NULL && p->text[slot] != NULL && strcmp(text, p->text[slot]) == 0 : number == p->number[slot];
    if (same)
        return JET_errSuccess;
    if (stage == PARAMS_AFTER_INIT && !e.any_time) {
        err_t err = RAISE(JET_errAlreadyInitialized);
        err_detail("system parameter %u can only be set before the instance is initialised", id);
        return err;
    }
    if (is_text)
        return store_text(p, &e, slot, text);
    if (number < e.min || number > e.max)
        return refuse(id, "the number is out of range");
    if (id == JET_paramDatabasePageSize && !page_size_valid((uint32_t)number))
        return refuse(id, "a page has 4096, 8192, 16384 or 32768 bytes");
    p->number[slot] = number;
    return JET_errSuccess;
}

err_t params_get(const struct params *p, uint32_t id, uint64_t *number, const char **text)
{
    uint32_t slot;
    struct entry e;
    if (!slot_of(id, &slot) || !describe(id, &e))
        return refuse(id, "there is no such parameter");
    *number = p->number[slot];
    *text = p->text[slot];
    return JET_errSuccess;
}

uint64_t params_number(const struct params *p, uint32_t id)
{
    uint32_t slot;
    ENFORCE(slot_of(id, &slot));
    return p->number[slot];
}

const char *params_text(const struct params *p, uint32_t id)
{
    uint32_t slot;
    ENFORCE(slot_of(id, &slot));
    return p->text[slot] == NULL ? "" : p->text[slot];
}

struct params *params_global(void)
{
    static struct params *global;
    static _Atomic int state; /* 0 none, 1 being made, 2 there */
    while (atomic_load(&state) != 2) {
        int expected = 0;
        if (atomic_compare_exchange_strong(&state, &expected, 1)) {
            err_t err = params_create(&global, NULL);
            ENFORCE(err >= 0); /* a few kilobytes at the first call of the process */
            atomic_store(&state, 2);
        } else {
            os_yield();
        }
    }
    return global;
}
