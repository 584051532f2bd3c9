/* JSON for people and scripts: headers, checkpoints, pages. One object a call, keys in the order of
 * the file. */
#include "check/check_private.h"
#include "check/json.h"

/* ---- headers ---- */

static const char *state_name(enum db_state state)
{
    static const char *const names[] = {"",
                                        "just created",
                                        "dirty shutdown",
                                        "clean shutdown",
                                        "being converted",
                                        "force detach",
                                        "incremental reseed",
                                        "dirty and patched",
                                        "being reverted"};
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

err_t dump_text(const char *s, struct buffer *out)
{
    struct json j = {.out = out};
    text(&j, NULL, s);
    return j.err;
}

/* ---- pages ---- */

static void names(struct json *j, const char *name, uint32_t flags, const char *const *table,
                  uint32_t count)
{
    open_list(j, name);
    for (uint32_t i = 0; i < count; i++)
        if ((flags >> i & 1) != 0 && table[i] != NULL)
            text(j, NULL, table[i]);
    close_list(j);
}

static void page_flag_names(struct json *j, uint32_t flags)
{
    static const char *const table[] = {
        "root",   "leaf",         "parent_of_leaf", "empty",
        "repair", "space_tree",   "index",          "long_value",
        NULL,     NULL,           "non_unique",     "new_record_format",
        NULL,     "new_checksum", "scrubbed",       NULL,
        NULL,     "pre_init",     "fdp_delete"};
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
    if ((page_flags(page) & (PAGE_ROOT | PAGE_SPACE_TREE)) != PAGE_ROOT ||
        page_space_header(page, &h) < 0)
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
