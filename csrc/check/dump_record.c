/* JSON of log records: what their decoders know, else their bytes. */
#include "btree/btree_format.h"
#include "check/json.h"
#include "recovery/recovery_format.h"
#include "space/space_format.h"

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
    case LOG_Begin:
    case LOG_Begin0:
    case LOG_Commit:
    case LOG_Commit0:
    case LOG_Rollback:
        return transaction_fields;
    case LOG_MacroBegin:
    case LOG_MacroCommit:
    case LOG_MacroAbort:
        return macro_fields;
    case LOG_Insert:
    case LOG_FlagInsert:
    case LOG_FlagInsertAndReplaceData:
    case LOG_FlagDelete:
    case LOG_Replace:
    case LOG_ReplaceD:
    case LOG_Delete:
    case LOG_UndoInfo:
    case LOG_Delta:
    case LOG_Delta64:
    case LOG_SetExternalHeader:
    case LOG_Undo:
    case LOG_EmptyTree:
    case LOG_Scrub:
        return node_fields;
    case LOG_Split2:
        return split_fields;
    case LOG_Merge2:
        return merge_fields;
    case LOG_PageMove:
    case LOG_NewPage:
    case LOG_RootPageMove:
        return page_fields;
    case LOG_CreateSingleExtentFDP:
    case LOG_CreateMultipleExtentFDP:
    case LOG_ConvertFDP2:
    case LOG_ExtendDB:
        return space_fields;
    case LOG_CreateDB:
    case LOG_AttachDB:
    case LOG_DetachDB:
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
        text(&j, "error",
             err_last()->detail[0] != '\0' ? err_last()->detail : "its bytes make no record");
    return end(&j);
}
