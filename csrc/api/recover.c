/* What the command line needs beside ESE's calls: recovery under other names with a result, and the records of a log. */
#include "api/api_private.h"

JET_ERR PyjetInitMapped(JET_INSTANCE *pinstance, const JET_RSTMAP_A *rgrstmap, uint32_t crstmap, JET_GRBIT grbit,
                        PYJET_PROGRESS progress, void *context, PYJET_RECOVERY *result)
{
    struct recovery_map map[INIT_MAP_MOST];
    struct init_options options = {.grbit = grbit, .map = map};
    struct api_progress p = {.progress = progress, .context = context};
    struct recovery_result recovery = {0};
    if ((grbit & ~(JET_GRBIT)(JET_bitReplayIgnoreMissingDB | JET_bitReplayIgnoreLostLogs)) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (crstmap > INIT_MAP_MOST || (crstmap > 0 && rgrstmap == NULL))
        return api_invalid("recovery takes up to 14 pairs of names");
    for (uint32_t i = 0; i < crstmap; i++) {
        if (rgrstmap[i].szDatabaseName == NULL || rgrstmap[i].szNewDatabaseName == NULL)
            return api_invalid("a pair of names has one missing");
        map[i] = (struct recovery_map){rgrstmap[i].szDatabaseName, rgrstmap[i].szNewDatabaseName, 0};
    }
    options.map_count = (int32_t)crstmap;
    err_t err = api_init(pinstance, &options, &p, &recovery);
    if (result != NULL)
        api_recovery_out(&recovery, result);
    return err;
}

struct dumping {
    JET_ERR (*line)(void *context, const char *json);
    void *context;
    uint32_t last; /* generation */
};

static err_t tell_record(const struct dumping *d, const struct log_view *view)
{
    struct buffer text = {0};
    err_t err = dump_log_record(view, &text);
    if (err >= 0)
        err = buffer_append(&text, SLICE("", 1));
    if (err >= 0)
        err = d->line(d->context, (const char *)text.p);
    buffer_free(&text);
    return err;
}

static err_t tell_records(const struct dumping *d, struct log_reader *reader)
{
    for (bool end = false;;) {
        struct log_view view;
        TRY_RETURN(log_reader_next(reader, &view, &end));
        if (end || LGPOS_GEN(view.at) > d->last)
            return JET_errSuccess;
        TRY_RETURN(tell_record(d, &view));
    }
}

JET_ERR PyjetDumpLog(const char *dir, const char *base_name, uint32_t first, uint32_t last,
                     JET_ERR (*line)(void *context, const char *json), void *context)
{
    struct log_reader *reader;
    struct dumping d = {line, context, last == 0 ? UINT32_MAX : last};
    if (dir == NULL || base_name == NULL || line == NULL)
        return api_invalid("a folder, a base name and a function are needed");
    struct log_reader_config config = {
        .dirs = {dir}, .dir_count = 1, .base_name = base_name, .mode = LOG_READ_SOFT, .gen_stop = last};
    TRY_RETURN(log_reader_open(&config, first == 0 ? LGPOS_MIN : LGPOS(first, 0, 0), &reader));
    err_t err = tell_records(&d, reader);
    struct err_origin origin = *err_last();
    log_reader_close(reader);
    if (err < 0) {
        err_restore(&origin);
    }
    return err;
}
