/* JSON for people and scripts: headers, checkpoints, pages, log records. One object a call, keys in the order of the file. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "btree/btree_format.h"
#include "check/check_private.h"
#include "recovery/recovery_format.h"
#include "space/space_format.h"

/* A writer that remembers its first error: what is written after it is dropped. */
struct json {
    struct buffer *out;
    err_t err;
    bool comma;
};

static void put(struct json *j, const void *p, size_t n)
{
    if (j->err >= 0)
        j->err = buffer_append(j->out, SLICE(p, n));
}

static void format(struct json *j, const char *f, ...) __attribute__((format(printf, 2, 3)));
static void format(struct json *j, const char *f, ...)
{
    char text[256];
    va_list args;
    va_start(args, f);
    int n = vsnprintf(text, sizeof text, f, args);
    va_end(args);
    ASSERT(n >= 0 && n < (int)sizeof text);
    put(j, text, (size_t)n);
}

/* Bytes of one UTF-8 character at s; 0: these bytes make none. */
static uint32_t character_size(const unsigned char *s)
{
    uint32_t n = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
    for (uint32_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool too_long = n > 2 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90));
    bool outside = n > 2 && ((s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF4 && s[1] >= 0x90));
    return too_long || outside ? 0 : n;
}

/* A file name may hold any bytes: those that are no UTF-8 become lone surrogates, as Python's file names have them. */
static void text_value(struct json *j, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    put(j, "\"", 1);
    while (*p != '\0') {
        uint32_t n = character_size(p);
        if (n == 0)
            format(j, "\\udc%02x", *p);
        else if (*p < 0x20 || *p == '"' || *p == '\\')
            format(j, "\\u%04x", *p);
        else
            put(j, p, n);
        p += n == 0 ? 1 : n;
    }
    put(j, "\"", 1);
}

static void key(struct json *j, const char *name)
{
    if (j->comma)
        put(j, ", ", 2);
    if (name != NULL)
        format(j, "\"%s\": ", name);
    j->comma = true;
}

static void open_object(struct json *j, const char *name)
{
    key(j, name);
    put(j, "{", 1);
    j->comma = false;
}
static void close_object(struct json *j)
{
    put(j, "}", 1);
    j->comma = true;
}
static void open_list(struct json *j, const char *name)
{
    key(j, name);
    put(j, "[", 1);
    j->comma = false;
}
static void close_list(struct json *j)
{
    put(j, "]", 1);
    j->comma = true;
}

static void number(struct json *j, const char *name, uint64_t n)
{
    key(j, name);
    format(j, "%" PRIu64, n);
}
static void signed_number(struct json *j, const char *name, int64_t n)
{
    key(j, name);
    format(j, "%" PRId64, n);
}
static void text(struct json *j, const char *name, const char *s)
{
    key(j, name);
    text_value(j, s);
}
static void boolean(struct json *j, const char *name, bool b)
{
    key(j, name);
    put(j, b ? "true" : "false", b ? 4 : 5);
}
static void bytes(struct json *j, const char *name, struct slice s)
{
    static const char digits[] = "0123456789abcdef";
    key(j, name);
    put(j, "\"", 1);
    for (uint32_t i = 0; i < s.n; i++) {
        char two[2] = {digits[s.p[i] >> 4], digits[s.p[i] & 15]};
        put(j, two, 2);
    }
    put(j, "\"", 1);
}
/* Positions as ESE's tools print them: generation:segment:byte, hexadecimal. */
static void position(struct json *j, const char *name, lgpos_t at)
{
    key(j, name);
    format(j, "\"%08X:%04X:%04X\"", LGPOS_GEN(at), LGPOS_SEC(at), LGPOS_BYTE(at));
}
static void dbtime(struct json *j, const char *name, dbtime_t t)
{
    if (t == DBTIME_NIL)
        signed_number(j, name, -1);
    else
        number(j, name, t);
}
/* null: never. */
static void logtime(struct json *j, const char *name, const struct logtime *t)
{
    static const struct logtime never;
    key(j, name);
    if (memcmp(t, &never, sizeof never) == 0) {
        put(j, "null", 4);
        return;
    }
    unsigned ms = (unsigned)(t->b[6] >> 1) | (unsigned)(t->b[7] >> 1 & 7) << 7;
    format(j, "\"%04u-%02u-%02uT%02u:%02u:%02u.%03u%s\"", 1900u + t->b[5], t->b[4], t->b[3], t->b[2], t->b[1], t->b[0], ms, t->b[6] & 1 ? "Z" : "");
}
static void signature(struct json *j, const char *name, const struct signature *s)
{
    open_object(j, name);
    number(j, "random", load_u32(s->b));
    logtime(j, "created", (const struct logtime *)(const void *)(s->b + 4));
    close_object(j);
}
static void backup(struct json *j, const char *name, const struct bkinfo *b)
{
    open_object(j, name);
    position(j, "mark", b->mark);
    logtime(j, "time", &b->time);
    number(j, "gen_low", b->gen_low);
    number(j, "gen_high", b->gen_high);
    close_object(j);
}

static struct json begin(struct buffer *out)
{
    struct json j = {.out = out};
    open_object(&j, NULL);
    return j;
}
static err_t end(struct json *j)
{
    close_object(j);
    return j->err;
}

/* ---- headers ---- */

static const char *state_name(enum db_state state)
{
    static const char *const names[] = {"",     "just created",  "dirty shutdown", "clean shutdown", "being converted",
                                        "force detach", "incremental reseed", "dirty and patched", "being reverted"};
    return state >= DB_JUST_CREATED && state <= DB_REVERTING ? names[state] : "unknown";
}

err_t dump_db_header(const struct db_header *h, struct buffer *out)
{
    struct json j = begin(out);
    text(&j, "state", state_name(h->state));
    number(&j, "page_size", h->page_size);
    key(&j, "version");
    format(&j, "\"0x%x,%u,%u\"", h->version, h->update_major, h->update_minor);
    dbtime(&j, "dbtime", h->dbtime);
    number(&j, "objid_last", h->objid_last);
    number(&j, "dbid", h->dbid);
    boolean(&j, "shadow_catalog", (h->db_flags0 & 1) == 0);
    signature(&j, "sign_db", &h->sign_db);
    signature(&j, "sign_log", &h->sign_log);
    position(&j, "lgpos_attach", h->lgpos_attach);
    position(&j, "lgpos_consistent", h->lgpos_consistent);
    position(&j, "lgpos_detach", h->lgpos_detach);
    logtime(&j, "time_attach", &h->time_attach);
    logtime(&j, "time_consistent", &h->time_consistent);
    logtime(&j, "time_detach", &h->time_detach);
    number(&j, "gen_min_required", h->gen_min_required);
    number(&j, "gen_max_required", h->gen_max_required);
    number(&j, "gen_min_consistent", h->gen_min_consistent);
    number(&j, "gen_max_committed", h->gen_max_committed);
    logtime(&j, "time_gen_max_created", &h->time_gen_max_created);
    backup(&j, "full_backup", &h->full_prev);
    backup(&j, "incremental_backup", &h->inc_prev);
    backup(&j, "current_full_backup", &h->full_cur);
    backup(&j, "current_snapshot", &h->snapshot_cur);
    backup(&j, "copy_backup", &h->copy_prev);
    backup(&j, "differential_backup", &h->diff_prev);
    return end(&j);
}

static void attached(struct json *j, const struct log_attach_info *list, int count)
{
    open_list(j, "attached");
    for (int i = 0; i < count && i < DBID_MAX; i++) {
        open_object(j, NULL);
        number(j, "dbid", list[i].dbid);
        text(j, "path", list[i].path);
        dbtime(j, "dbtime", list[i].dbtime);
        number(j, "objid_last", list[i].objid_last);
        position(j, "lgpos_attach", list[i].lgpos_attach);
        position(j, "lgpos_consistent", list[i].lgpos_consistent);
        signature(j, "sign_db", &list[i].sign_db);
        close_object(j);
    }
    close_list(j);
}

err_t dump_log_header(const struct log_header *h, struct buffer *out)
{
    struct json j = begin(out);
    number(&j, "generation", h->generation);
    number(&j, "file_size", h->file_size);
    number(&j, "page_size", h->page_size);
    key(&j, "version");
    format(&j, "\"%u.%u.%u.%u\"", h->major, h->minor, h->update_major, h->update_minor);
    logtime(&j, "created", &h->created);
    logtime(&j, "created_previous", &h->created_previous);
    signature(&j, "signature", &h->signature);
    number(&j, "flags", h->flags);
    position(&j, "checkpoint", h->checkpoint);
    key(&j, "checksum_previous");
    format(&j, "\"%016" PRIx64 "\"", h->checksum_previous);
    attached(&j, h->attached, h->attached_count);
    return end(&j);
}

err_t dump_checkpoint(const struct checkpoint *c, struct buffer *out)
{
    struct json j = begin(out);
    position(&j, "checkpoint", c->checkpoint);
    position(&j, "db_consistency", c->db_consistency);
    position(&j, "last_full_checkpoint", c->last_full_checkpoint);
    position(&j, "full_backup", c->full_backup);
    logtime(&j, "full_time", &c->full_time);
    position(&j, "incremental_backup", c->inc_backup);
    logtime(&j, "incremental_time", &c->inc_time);
    signature(&j, "signature", &c->signature);
    if (c->attached_valid)
        attached(&j, c->attached, c->attached_count);
    return end(&j);
}

/* ---- pages ---- */

static void names(struct json *j, const char *name, uint32_t flags, const char *const *table, uint32_t count)
{
    open_list(j, name);
    for (uint32_t i = 0; i < count; i++)
        if ((flags >> i & 1) != 0 && table[i] != NULL)
            text(j, NULL, table[i]);
    close_list(j);
}

static void page_flag_names(struct json *j, uint32_t flags)
{
    static const char *const table[] = {"root",  "leaf",       "parent_of_leaf",    "empty", "repair",       "space_tree", "index",
                                        "long_value", NULL, NULL, "non_unique", "new_record_format", NULL, "new_checksum", "scrubbed", NULL, NULL,
                                        "pre_init", "fdp_delete"};
    number(j, "flags", flags);
    names(j, "flag_names", flags, table, sizeof table / sizeof table[0]);
}

static void page_node_object(struct json *j, struct page page, int line)
{
    static const char *const table[] = {"version", "deleted", "compressed"};
    struct node node;
    uint8_t whole[CHECK_KEY_ROOM];
    open_object(j, NULL);
    number(j, "line", (uint64_t)line);
    if (page_node(page, line, &node) < 0) {
        text(j, "error", err_last()->detail);
    } else {
        names(j, "flags", node.flags, table, 3);
        bytes(j, "key", SLICE(whole, node_key_copy(&node, whole)));
        if ((page_flags(page) & PAGE_LEAF) == 0 && node.data.n == 4)
            number(j, "child", load_u32(node.data.p));
        else
            bytes(j, "data", node.data);
    }
    close_object(j);
}

static void page_space(struct json *j, struct page page)
{
    struct space_header h;
    if ((page_flags(page) & (PAGE_ROOT | PAGE_SPACE_TREE)) != PAGE_ROOT || page_space_header(page, &h) < 0)
        return;
    open_object(j, "space");
    number(j, h.flags & SPACE_V2 ? "last_extent" : "first_extent", h.cpg_primary);
    number(j, "parent", h.parent);
    boolean(j, "unique", (h.flags & SPACE_NON_UNIQUE) == 0);
    number(j, h.flags & SPACE_MULTIPLE ? "owned_root" : "available", h.avail_or_oe);
    close_object(j);
}

err_t dump_page(struct page page, pgno_t pgno, struct buffer *out)
{
    struct json j = begin(out);
    number(&j, "page", pgno);
    if (page_is_all_zero(page)) {
        boolean(&j, "written", false);
        return end(&j);
    }
    err_t sound = page_validate(page);
    if (sound < 0)
        text(&j, "error", err_last()->detail);
    dbtime(&j, "dbtime", page_dbtime(page));
    number(&j, "objid", page_objid(page));
    page_flag_names(&j, page_flags(page));
    number(&j, "previous", page_prev(page));
    number(&j, "next", page_next(page));
    number(&j, "free", page_free(page));
    number(&j, "uncommitted_free", page_uncommitted_free(page));
    bytes(&j, "external", page_external(page));
    page_space(&j, page);
    open_list(&j, "nodes");
    for (int line = 0; line < page_line_count(page); line++)
        page_node_object(&j, page, line);
    close_list(&j);
    return end(&j);
}

/* ---- log records ---- */

static void record_head_fields(struct json *j, const struct record_head *h)
{
    number(j, "procid", h->procid);
    number(j, "dbid", h->dbid);
    number(j, "page", h->pgno);
    dbtime(j, "dbtime", h->dbtime);
    dbtime(j, "before", h->before);
    number(j, "begin", h->begin);
    number(j, "level", h->level);
    number(j, "line", h->line);
    number(j, "flags", h->flags);
}

static err_t node_fields(struct json *j, struct slice record)
{
    struct node_record r;
    TRY_RETURN(btree_decode_node(record, &r));
    record_head_fields(j, &r.head);
    number(j, "rceid", r.rceid);
    number(j, "root", r.root);
    number(j, "objid", r.objid);
    bytes(j, "prefix", r.prefix);
    bytes(j, "key", r.suffix);
    bytes(j, "data", r.data);
    bytes(j, "bookmark_data", r.bookmark_data);
    if (r.head.type == LOG_Replace || r.head.type == LOG_ReplaceD) {
        number(j, "old_size", r.old_size);
        number(j, "new_size", r.new_size);
    }
    if (r.head.type == LOG_UndoInfo || r.head.type == LOG_Undo)
        number(j, "oper", r.oper);
    if (r.head.type == LOG_Delta || r.head.type == LOG_Delta64) {
        signed_number(j, "delta", r.delta);
        number(j, "offset", r.offset);
    }
    return JET_errSuccess;
}

static err_t split_fields(struct json *j, struct slice record)
{
    struct split_record r;
    TRY_RETURN(btree_decode_split(record, &r));
    record_head_fields(j, &r.head);
    number(j, "new", r.pgno_new);
    number(j, "right", r.pgno_right);
    number(j, "parent", r.pgno_parent);
    dbtime(j, "right_before", r.right_before);
    dbtime(j, "parent_before", r.parent_before);
    number(j, "root", r.root);
    number(j, "objid", r.objid);
    number(j, "type_of_split", r.type);
    number(j, "oper", r.oper);
    number(j, "line_oper", r.line_oper);
    number(j, "line_split", r.line_split);
    number(j, "lines", r.lines);
    bytes(j, "separator", r.separator);
    number(j, "image_flags", r.image_flags);
    number(j, "image_size", r.image.n);
    return JET_errSuccess;
}

static err_t merge_fields(struct json *j, struct slice record)
{
    struct merge_record r;
    TRY_RETURN(btree_decode_merge(record, &r));
    record_head_fields(j, &r.head);
    number(j, "right", r.pgno_right);
    number(j, "left", r.pgno_left);
    number(j, "parent", r.pgno_parent);
    dbtime(j, "right_before", r.right_before);
    dbtime(j, "left_before", r.left_before);
    dbtime(j, "parent_before", r.parent_before);
    number(j, "root", r.root);
    number(j, "objid", r.objid);
    number(j, "type_of_merge", r.type);
    number(j, "merge_flags", r.flags);
    number(j, "line_merge", r.line_merge);
    bytes(j, "separator", r.separator);
    number(j, "image_flags", r.image_flags);
    number(j, "image_size", r.image.n);
    return JET_errSuccess;
}

static err_t page_fields(struct json *j, struct slice record)
{
    if (record.p[0] == LOG_NewPage) {
        struct new_page_record r;
        TRY_RETURN(btree_decode_new_page(record, &r));
        number(j, "procid", r.procid);
        number(j, "dbid", r.dbid);
        number(j, "page", r.pgno);
        number(j, "objid", r.objid);
        dbtime(j, "dbtime", r.dbtime);
    } else if (record.p[0] == LOG_PageMove) {
        struct page_move_record r;
        TRY_RETURN(btree_decode_page_move(record, &r));
        record_head_fields(j, &r.head);
        number(j, "destination", r.pgno_dest);
        number(j, "left", r.pgno_left);
        number(j, "right", r.pgno_right);
        number(j, "parent", r.pgno_parent);
    } else {
        struct root_move_record r;
        TRY_RETURN(btree_decode_root_move(record, &r));
        number(j, "procid", r.procid);
        number(j, "dbid", r.dbid);
        number(j, "objid", r.objid);
        dbtime(j, "dbtime", r.dbtime);
    }
    return JET_errSuccess;
}

static err_t macro_fields(struct json *j, struct slice record)
{
    struct macro_record r;
    TRY_RETURN(btree_decode_macro(record, &r));
    number(j, "procid", r.procid);
    dbtime(j, "dbtime", r.dbtime);
    return JET_errSuccess;
}

static err_t space_fields(struct json *j, struct slice record)
{
    if (record.p[0] == LOG_ExtendDB) {
        struct extend_record r;
        TRY_RETURN(extend_decode(record, &r));
        number(j, "dbid", r.dbid);
        number(j, "last", r.last);
    } else if (record.p[0] == LOG_ConvertFDP2) {
        struct convert_record r;
        TRY_RETURN(convert_decode(record, &r));
        number(j, "dbid", r.dbid);
        number(j, "root", r.root);
        number(j, "owned_root", r.pgno_oe);
        number(j, "parent", r.parent);
        number(j, "objid", r.objid);
        number(j, "pages", r.cpg_primary);
        number(j, "second_first", r.second_first);
        number(j, "second_pages", r.cpg_second);
        dbtime(j, "dbtime", r.dbtime);
        dbtime(j, "before", r.before);
    } else {
        struct create_record r;
        TRY_RETURN(create_decode(record, &r));
        number(j, "dbid", r.dbid);
        number(j, "root", r.root);
        number(j, "owned_root", r.pgno_oe);
        number(j, "parent", r.parent);
        number(j, "objid", r.objid);
        number(j, "pages", r.cpg_primary);
        number(j, "page_flags", r.page_flags);
        boolean(j, "unique", r.unique);
        dbtime(j, "dbtime", r.dbtime);
    }
    return JET_errSuccess;
}

static err_t database_fields(struct json *j, struct slice record)
{
    if (record.p[0] == LOG_CreateDB) {
        struct create_db_record r;
        TRY_RETURN(create_db_decode(record, &r));
        number(j, "procid", r.procid);
        number(j, "dbid", r.dbid);
        text(j, "path", r.path);
        signature(j, "sign_db", &r.sign_db);
    } else if (record.p[0] == LOG_AttachDB) {
        struct attach_db_record r;
        TRY_RETURN(attach_db_decode(record, &r));
        number(j, "procid", r.procid);
        number(j, "dbid", r.dbid);
        text(j, "path", r.path);
        position(j, "lgpos_consistent", r.lgpos_consistent);
        signature(j, "sign_db", &r.sign_db);
        signature(j, "sign_log", &r.sign_log);
    } else {
        struct detach_db_record r;
        TRY_RETURN(detach_db_decode(record, &r));
        number(j, "procid", r.procid);
        number(j, "dbid", r.dbid);
        text(j, "path", r.path);
    }
    return JET_errSuccess;
}

/* Sizes: log-format.md 6.6. Shorter records come from damaged logs. */
static err_t transaction_fields(struct json *j, struct slice record)
{
    unsigned type = record.p[0];
    bool outer = type == LOG_Begin0 || type == LOG_Commit0;
    if (record.n < (outer ? 8u : 4u))
        return RAISE(JET_errLogFileCorrupt);
    number(j, "procid", load_u16(record.p + 1));
    if (type == LOG_Rollback)
        number(j, "levels", record.p[3]);
    else if (type == LOG_Commit || type == LOG_Commit0)
        number(j, "level", record.p[3]);
    else {
        number(j, "level", record.p[3] & 15);
        number(j, "levels", record.p[3] >> 4);
    }
    if (outer)
        number(j, "number", load_u32(record.p + 4));
    return JET_errSuccess;
}

typedef err_t (*fields_fn)(struct json *j, struct slice record);

static fields_fn fields_of(unsigned type)
{
    switch (type) {
    case LOG_Begin: case LOG_Begin0: case LOG_Commit: case LOG_Commit0: case LOG_Rollback:
        return transaction_fields;
    case LOG_MacroBegin: case LOG_MacroCommit: case LOG_MacroAbort:
        return macro_fields;
    case LOG_Insert: case LOG_FlagInsert: case LOG_FlagInsertAndReplaceData: case LOG_FlagDelete: case LOG_Replace:
    case LOG_ReplaceD: case LOG_Delete: case LOG_UndoInfo: case LOG_Delta: case LOG_Delta64: case LOG_SetExternalHeader:
    case LOG_Undo: case LOG_EmptyTree: case LOG_Scrub:
        return node_fields;
    case LOG_Split2:
        return split_fields;
    case LOG_Merge2:
        return merge_fields;
    case LOG_PageMove: case LOG_NewPage: case LOG_RootPageMove:
        return page_fields;
    case LOG_CreateSingleExtentFDP: case LOG_CreateMultipleExtentFDP: case LOG_ConvertFDP2: case LOG_ExtendDB:
        return space_fields;
    case LOG_CreateDB: case LOG_AttachDB: case LOG_DetachDB:
        return database_fields;
    default:
        return NULL;
    }
}

err_t dump_log_record(const struct log_view *view, struct buffer *out)
{
    struct json j = begin(out);
    struct slice record = view->bytes;
    position(&j, "at", view->at);
    if (record.n == 0) {
        text(&j, "error", "an empty record");
        return end(&j);
    }
    number(&j, "type", record.p[0]);
    text(&j, "name", log_type_name(record.p[0]));
    number(&j, "size", record.n);
    fields_fn fields = fields_of(record.p[0]);
    if (fields == NULL)
        bytes(&j, "bytes", record);
    else if (fields(&j, record) < 0)
        text(&j, "error", err_last()->detail[0] != '\0' ? err_last()->detail : "its bytes make no record");
    return end(&j);
}
