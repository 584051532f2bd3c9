#include <stdio.h>

#include "api/api_private.h"

/* Files without an instance: reading, checking, headers as text. */

JET_ERR PyjetOpenFile(const char *path, JET_GRBIT grbit, JET_SESID *psesid, JET_DBID *pdbid)
{
    if (path == NULL || psesid == NULL || pdbid == NULL)
        return api_invalid("a path and places for the handles are needed");
    *psesid = JET_sesidNil;
    *pdbid = JET_dbidNil;
    if ((grbit & ~PYJET_bitAllowDirty) != 0)
        return RAISE(JET_errInvalidGrbit);
    struct api_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RAISE(JET_errOutOfMemory);
    list_init(&s->cursors);
    err_t err = reader_open(path, (grbit & PYJET_bitAllowDirty) != 0, &s->reader);
    if (err >= 0) {
        err = handle_create(HANDLE_SESSION, s, NULL, &s->handle);
        if (err < 0)
            reader_close(s->reader);
    }
    if (err < 0) {
        free(s);
        return err;
    }
    *psesid = s->handle;
    *pdbid = 1;
    return err;
}

JET_ERR PyjetCloseFile(JET_SESID sesid)
{
    struct api_session *s;
    TRY_RETURN(api_enter(sesid, &s));
    if (s->reader == NULL) {
        api_leave(s);
        err_t err = RAISE(JET_errInvalidSesid);
        err_detail("this session belongs to an instance; end it with JetEndSession");
        return err;
    }
    LIST_FOR_EACH_SAFE (link, after, &s->cursors) {
        struct api_cursor *c = LIST_ENTRY(link, struct api_cursor, in_session);
        struct table_cursor *cursor = c->cursor;
        api_drop_cursor(c);
        reader_close_table(s->reader, cursor);
    }
    reader_close(s->reader);
    api_forget_session(s);
    return JET_errSuccess;
}

/* ---- check ---- */

struct checking {
    JET_ERR (*sink)(void *context, const PYJET_FINDING *finding);
    void *context;
};

static err_t pass_finding(void *context, const struct check_finding *f)
{
    const struct checking *c = context;
    PYJET_FINDING out = {.kind = (int32_t)f->kind, .pgno = f->pgno, .objid = f->objid, .table = f->table, .text = f->text};
    return c->sink == NULL ? JET_errSuccess : c->sink(c->context, &out);
}

static err_t pass_alive(void *context, uint32_t done, uint32_t total)
{
    const struct checking *c = context;
    (void)done, (void)total;
    return c->sink(c->context, NULL);
}

static bool is_damage(err_t err)
{
    return strcmp(err_category(err), "Corruption") == 0 || err == JET_errFileIOBeyondEOF;
}

/* The file does not even open: that is a finding, and its checksums tell the rest. */
static err_t check_unopened(const char *path, err_t why, const struct check_options *options, struct check_sum *sum)
{
    char text[sizeof err_last()->detail + 128];
    snprintf(text, sizeof text, "the database cannot be opened: %s. %s", err_name(why), err_last()->detail);
    struct check_finding f = {.kind = CHECK_HEADER, .text = text};
    TRY_RETURN(options->sink(options->sink_context, &f));
    TRY_RETURN(check_checksums(path, options, sum));
    sum->findings++;
    return JET_errSuccess;
}

static err_t check_path(const char *path, bool allow_dirty, const struct check_options *options, struct check_sum *sum)
{
    struct reader *reader;
    err_t err = reader_open(path, allow_dirty, &reader);
    if (err < 0)
        return is_damage(err) ? check_unopened(path, err, options, sum) : err;
    err = check_database(reader_db(reader), options, sum);
    struct err_origin origin = *err_last();
    reader_close(reader);
    if (err < 0) {
        err_restore(&origin);
    }
    return err;
}

JET_ERR PyjetCheckFile(const char *path, JET_GRBIT grbit, JET_ERR (*sink)(void *context, const PYJET_FINDING *finding), void *context,
                       PYJET_CHECK *sum)
{
    struct checking c = {sink, context};
    struct check_options options = {.records = true, .indexes = true, .sink = pass_finding, .sink_context = &c};
    struct check_sum s = {0};
    if (path == NULL)
        return api_invalid("a path is needed");
    if ((grbit & ~(PYJET_bitAllowDirty | PYJET_bitCheckAlive)) != 0)
        return RAISE(JET_errInvalidGrbit);
    if (sink != NULL && (grbit & PYJET_bitCheckAlive) != 0) {
        options.progress = pass_alive;
        options.progress_context = &c;
    }
    err_t err = check_path(path, (grbit & PYJET_bitAllowDirty) != 0, &options, &s);
    if (sum != NULL)
        *sum = (PYJET_CHECK){s.pages,   s.pages_used,    s.pages_available, s.pages_leaked, s.trees, s.tables,
                             s.records, s.index_entries, s.long_values,     s.findings,     s.notes};
    return err;
}

/* ---- headers ---- */

static err_t dump_database(const char *path, struct buffer *out)
{
    struct db_header h;
    TRY_RETURN(db_header_read_path(path, &h));
    return dump_db_header(&h, out);
}

static err_t dump_log(const char *path, struct buffer *out)
{
    struct log_header *h = malloc(sizeof *h);
    if (h == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = log_read_header(path, h);
    if (err >= 0)
        err = dump_log_header(h, out);
    free(h);
    return err;
}

static err_t dump_checkpoint_file(const char *path, struct buffer *out)
{
    struct checkpoint *c = malloc(sizeof *c);
    if (c == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = log_checkpoint_read(path, c);
    if (err >= 0)
        err = dump_checkpoint(c, out);
    free(c);
    return err;
}

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    if (n < m)
        return false;
    for (size_t i = 0; i < m; i++)
        if ((path[n - m + i] | 0x20) != end[i])
            return false;
    return true;
}

/* What a file's header says that it is, when it can be read; else what its name says. */
static uint32_t kind_of(const char *path)
{
    enum { AT_TYPE = 667 };
    struct os_file *f;
    uint8_t head[AT_TYPE + 4];
    size_t got = 0;
    if (os_file_open(path, OS_READ, &f) >= 0) {
        if (os_file_read_some(f, 0, head, sizeof head, &got) < 0)
            got = 0;
        os_file_close(f);
    }
    err_clear();
    uint32_t type = got == sizeof head ? load_u32(head + AT_TYPE) : 0;
    if (type == JET_filetypeDatabase || type == JET_filetypeLog || type == JET_filetypeCheckpoint)
        return type;
    if (ends_with(path, ".log") || ends_with(path, ".jtx") || ends_with(path, ".jrs"))
        return JET_filetypeLog;
    return ends_with(path, ".chk") || ends_with(path, ".jcp") ? JET_filetypeCheckpoint : JET_filetypeDatabase;
}

JET_ERR PyjetDumpHeader(const char *path, char **ppsz)
{
    struct buffer out = {0};
    if (path == NULL || ppsz == NULL)
        return api_invalid("a path and a place for the text are needed");
    *ppsz = NULL;
    uint32_t kind = kind_of(path);
    err_t err = kind == JET_filetypeLog          ? dump_log(path, &out)
                : kind == JET_filetypeCheckpoint ? dump_checkpoint_file(path, &out)
                                                 : dump_database(path, &out);
    if (err >= 0)
        err = buffer_append(&out, SLICE("", 1));
    if (err < 0) {
        buffer_free(&out);
        return err;
    }
    *ppsz = (char *)out.p;
    return JET_errSuccess;
}
