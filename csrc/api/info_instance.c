#include <stdio.h>

#include "api/api_private.h"

/* Facts about instances and log files (backup-semantics.md 12.3). */

/* ---- JetGetInstanceInfo: one block of memory: entries, pointers, then texts ---- */

struct snapshot {
    JET_INSTANCE handle;
    struct instance_facts facts;
};

static err_t take_snapshots(struct snapshot **out, uint32_t *count)
{
    uint32_t n = api_instances(NULL, 0), there;
    JET_INSTANCE *list = calloc(n + 1, sizeof *list);
    struct snapshot *s = calloc(n + 1, sizeof *s);
    err_t err = list == NULL || s == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    *count = 0;
    there = err < 0 ? 0 : api_instances(list, n);
    for (uint32_t k = 0; k < there && k < n && err >= 0; k++) {
        struct api_instance *i;
        if (api_pin_instance(list[k], false, &i) < 0) {
            err_clear(); /* it went meanwhile */
            continue;
        }
        s[*count].handle = list[k];
        err = instance_facts(i->inst, &s[(*count)++].facts);
        api_unpin_instance(i);
    }
    free(list);
    if (err < 0) {
        free(s);
        s = NULL;
    }
    *out = s;
    return err;
}

struct block { /* first without memory, to know the size */
    uint8_t *memory;
    size_t pointers, texts; /* where the next goes */
    bool wide;
};

static void *put_text(struct block *b, const char *text)
{
    void *at = b->memory == NULL ? NULL : b->memory + b->texts;
    size_t n = b->wide ? text_to_wide(text, NULL, 0) : strlen(text) + 1;
    if (at != NULL && b->wide)
        text_to_wide(text, at, (uint32_t)n);
    else if (at != NULL)
        memcpy(at, text, n);
    b->texts += (n + 7) & ~(size_t)7;
    return at;
}

static void **put_pointers(struct block *b, int n)
{
    void **at = b->memory == NULL ? NULL : (void **)(void *)(b->memory + b->pointers);
    b->pointers += (size_t)n * sizeof(void *);
    return at;
}

/* The A and W forms differ only in what the texts are made of. */
static_assert(sizeof(JET_INSTANCE_INFO_A) == sizeof(JET_INSTANCE_INFO_W), "pointers");

static int logged_count(const struct instance_facts *f)
{
    int n = 0;
    for (int i = 0; i < f->database_count; i++)
        n += f->databases[i].logged;
    return n;
}

static void put_instance(struct block *b, const struct snapshot *s, uint32_t index)
{
    int n = logged_count(&s->facts), k = 0;
    void *name = put_text(b, s->facts.name);
    void **paths = put_pointers(b, n), **displays = put_pointers(b, n), **obsolete = put_pointers(b, n);
    for (int i = 0; i < s->facts.database_count; i++) {
        if (!s->facts.databases[i].logged)
            continue;
        void *path = put_text(b, s->facts.databases[i].path), *empty = put_text(b, "");
        if (b->memory == NULL)
            continue;
        paths[k] = path;
        displays[k] = empty;
        obsolete[k++] = empty;
    }
    if (b->memory == NULL)
        return;
    JET_INSTANCE_INFO_A info = {
        .hInstanceId = s->handle,
        .szInstanceName = name,
        .cDatabases = (JET_API_PTR)n,
        .szDatabaseFileName = n == 0 ? NULL : (char **)(void *)paths,
        .szDatabaseDisplayName = n == 0 ? NULL : (char **)(void *)displays,
        .szDatabaseSLVFileName_Obsolete = n == 0 ? NULL : (char **)(void *)obsolete,
    };
    memcpy(b->memory + (size_t)index * sizeof info, &info, sizeof info);
}

static void put_all(struct block *b, const struct snapshot *s, uint32_t count)
{
    b->pointers = count * sizeof(JET_INSTANCE_INFO_A);
    b->texts = b->pointers;
    for (uint32_t i = 0; i < count; i++)
        b->texts += 3 * (size_t)logged_count(&s[i].facts) * sizeof(void *);
    for (uint32_t i = 0; i < count; i++)
        put_instance(b, &s[i], i);
}

static err_t get_instance_info(uint32_t *count, void **list, bool wide)
{
    struct snapshot *s;
    uint32_t n;
    if (count == NULL || list == NULL)
        return api_invalid("places for the count and the list are needed");
    *count = 0;
    *list = NULL;
    TRY_RETURN(take_snapshots(&s, &n));
    struct block b = {.wide = wide};
    put_all(&b, s, n);
    b.memory = n == 0 ? NULL : calloc(1, b.texts);
    if (n > 0 && b.memory == NULL) {
        free(s);
        return RAISE(JET_errOutOfMemory);
    }
    if (n > 0)
        put_all(&b, s, n);
    free(s);
    *count = n;
    *list = b.memory;
    return JET_errSuccess;
}

JET_ERR JetGetInstanceInfoA(uint32_t *pcInstanceInfo, JET_INSTANCE_INFO_A **paInstanceInfo)
{
    void *list = NULL;
    err_t err = get_instance_info(pcInstanceInfo, paInstanceInfo == NULL ? NULL : &list, false);
    if (paInstanceInfo != NULL)
        *paInstanceInfo = list;
    return err;
}
PLAIN_IS_A(JetGetInstanceInfo);

JET_ERR JetGetInstanceInfoW(uint32_t *pcInstanceInfo, JET_INSTANCE_INFO_W **paInstanceInfo)
{
    void *list = NULL;
    err_t err = get_instance_info(pcInstanceInfo, paInstanceInfo == NULL ? NULL : &list, true);
    if (paInstanceInfo != NULL)
        *paInstanceInfo = list;
    return err;
}

/* ---- one instance ---- */

static err_t with_facts(JET_INSTANCE instance, err_t (*give)(const struct instance_facts *facts, void *to), void *to)
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, false, &i));
    struct instance_facts *facts = malloc(sizeof *facts);
    err_t err = facts == NULL ? RAISE(JET_errOutOfMemory) : instance_facts(i->inst, facts);
    if (err >= 0)
        err = give(facts, to);
    free(facts);
    api_unpin_instance(i);
    return err;
}

static err_t give_signature(const struct instance_facts *facts, void *to)
{
    if (!facts->running)
        return RAISE(JET_errNotInitialized);
    memcpy(to, &facts->sign_log, sizeof facts->sign_log);
    return JET_errSuccess;
}

JET_ERR JetGetInstanceMiscInfo(JET_INSTANCE instance, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    JET_SIGNATURE signature = {0};
    if (InfoLevel == JET_InstanceMiscInfoRBS)
        return info_not_available(InfoLevel);
    if (InfoLevel != JET_InstanceMiscInfoLogSignature)
        return info_unknown_level(InfoLevel);
    TRY_RETURN(info_give_at_least(&signature, sizeof signature, pvResult == NULL ? NULL : &signature, cbMax)); /* the buffer first */
    TRY_RETURN(with_facts(instance, give_signature, &signature));
    memcpy(pvResult, &signature, sizeof signature);
    return JET_errSuccess;
}

/* ---- one instance as JSON ---- */

static err_t put(struct buffer *out, const char *text)
{
    return buffer_append(out, SLICE(text, (uint32_t)strlen(text)));
}

static err_t put_string(struct buffer *out, const char *key, const char *text)
{
    TRY_RETURN(put(out, key));
    return dump_text(text, out);
}

static const char *truth(bool b)
{
    return b ? "true" : "false";
}

static err_t put_numbers(const struct instance_facts *f, struct buffer *out)
{
    char line[512], sign[2 * sizeof f->sign_log.b + 1];
    for (size_t i = 0; i < sizeof f->sign_log.b; i++)
        snprintf(sign + 2 * i, 3, "%02x", f->sign_log.b[i]);
    snprintf(line, sizeof line,
             ", \"running\": %s, \"logging\": %s, \"circular_log\": %s, \"backup_running\": %s, \"log_file_size\": %u, \"log_signature\": \"%s\", "
             "\"generation_lowest\": %u, \"generation\": %u, \"checkpoint\": \"%08X:%04X:%04X\", \"log_tail\": \"%08X:%04X:%04X\"",
             truth(f->running), truth(f->logging), truth(f->circular), truth(f->backup_running), f->log_file_size, sign, f->gen_lowest, f->gen_current,
             LGPOS_GEN(f->checkpoint), LGPOS_SEC(f->checkpoint), LGPOS_BYTE(f->checkpoint), LGPOS_GEN(f->log_tail), LGPOS_SEC(f->log_tail),
             LGPOS_BYTE(f->log_tail));
    return put(out, line);
}

static err_t put_database(const struct database_facts *d, bool first, struct buffer *out)
{
    char line[96];
    TRY_RETURN(put_string(out, first ? "{\"path\": " : ", {\"path\": ", d->path));
    snprintf(line, sizeof line, ", \"pages\": %u, \"read_only\": %s, \"logged\": %s, \"header\": ", d->pages, truth(d->read_only), truth(d->logged));
    TRY_RETURN(put(out, line));
    TRY_RETURN(dump_db_header(&d->header, out));
    return put(out, "}");
}

static err_t put_facts(const struct instance_facts *f, void *context)
{
    struct buffer *out = context;
    TRY_RETURN(put_string(out, "{\"name\": ", f->name));
    TRY_RETURN(put_string(out, ", \"base_name\": ", f->base_name));
    TRY_RETURN(put_string(out, ", \"log_path\": ", f->log_dir));
    TRY_RETURN(put_string(out, ", \"system_path\": ", f->system_dir));
    TRY_RETURN(put_numbers(f, out));
    TRY_RETURN(put(out, ", \"databases\": ["));
    for (int i = 0; i < f->database_count; i++)
        TRY_RETURN(put_database(&f->databases[i], i == 0, out));
    TRY_RETURN(put(out, "]}"));
    return buffer_append(out, SLICE("", 1));
}

JET_ERR PyjetDumpInstance(JET_INSTANCE instance, char **ppsz)
{
    struct buffer out = {0};
    if (ppsz == NULL)
        return api_invalid("a place for the text is needed");
    err_t err = with_facts(instance, put_facts, &out);
    if (err < 0)
        buffer_free(&out);
    *ppsz = (char *)out.p;
    return err;
}

/* ---- log files ---- */

static void log_misc(const struct log_header *h, JET_LOGINFOMISC2 *m)
{
    *m = (JET_LOGINFOMISC2){
        .ulGeneration = h->generation,
        .ulFlags = h->flags,
        .ulVersionMajor = h->major,
        .ulVersionMinor = h->minor,
        .ulVersionUpdate = h->update_major,
        .cbSectorSize = LOG_SEGMENT,
        .cbHeader = 1, /* in sectors, as the file: ESE's names lie */
        .cbFile = h->file_size / LOG_SEGMENT,
        .cbDatabasePageSize = h->page_size,
    };
    memcpy(&m->signLog, &h->signature, sizeof m->signLog);
    memcpy(&m->logtimeCreate, &h->created, sizeof m->logtimeCreate);
    memcpy(&m->logtimePreviousGeneration, &h->created_previous, sizeof m->logtimePreviousGeneration);
    memcpy(&m->lgposCheckpoint, &h->checkpoint, sizeof m->lgposCheckpoint);
}

static void log_misc3(const struct log_header *h, const JET_LOGINFOMISC2 *two, JET_LOGINFOMISC3 *m)
{
    memset(m, 0, sizeof *m);
    memcpy(m, two, sizeof *two); /* the same beginning, but for the meaning of the version's parts */
    m->ulVersionUpdateMajor = h->update_major;
    m->ulVersionUpdateMinor = h->update_minor;
    m->ulVersionMinorDeprecated = h->minor;
    m->checksumPrevLogAllSegments = h->checksum_previous;
}

static err_t log_file_info(const char *path, void *to, uint32_t room, uint32_t level)
{
    static const uint32_t sizes[] = {
        [JET_LogInfoMisc] = sizeof(JET_LOGINFOMISC), [JET_LogInfoMisc2] = sizeof(JET_LOGINFOMISC2), [JET_LogInfoMisc3] = sizeof(JET_LOGINFOMISC3)};
    JET_LOGINFOMISC2 two;
    JET_LOGINFOMISC3 three;
    if (level >= sizeof sizes / sizeof sizes[0])
        return info_unknown_level(level);
    if (to == NULL)
        return api_invalid("a buffer for the answer is needed");
    if (room != sizes[level])
        return RAISE(JET_errInvalidBufferSize);
    struct log_header *h = malloc(sizeof *h);
    err_t err = h == NULL ? RAISE(JET_errOutOfMemory) : log_read_header(path, h);
    if (err == JET_errLogFileSizeMismatch) {
        err = RAISE(JET_errLogFileCorrupt);
        err_detail("%s is not as long as its header says", path);
    }
    if (err >= 0) {
        log_misc(h, &two);
        log_misc3(h, &two, &three);
        memcpy(to, level == JET_LogInfoMisc3 ? (const void *)&three : &two, room);
    }
    free(h);
    return err;
}

JET_ERR JetGetLogFileInfoA(JET_PCSTR szLog, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    if (szLog == NULL || szLog[0] == '\0')
        return api_invalid("a path is needed");
    return log_file_info(szLog, pvResult, cbMax, InfoLevel);
}
PLAIN_IS_A(JetGetLogFileInfo);

JET_ERR JetGetLogFileInfoW(JET_PCWSTR szLog, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
    WITH_TEXT(path, szLog, JetGetLogFileInfoA(path, pvResult, cbMax, InfoLevel))
