/* One operation, one page: may the page be changed so (redo asks), and the change (do and redo). */
#include "btree/btree_apply.h"

err_t btree__mismatch(struct page page, const char *why)
{
    err_t err = RAISE(JET_errLogOperationInconsistentWithDatabase);
    err_detail("tree %u: %s", page.p == NULL ? OBJID_NIL : page_objid(page), why);
    return err;
}

struct slice btree__record_key(const struct node_record *r)
{
    if (r->prefix.n == 0)
        return r->suffix;
    ASSERT(r->suffix.n == 0 || r->prefix.p + r->prefix.n == r->suffix.p);
    return SLICE(r->prefix.p, r->prefix.n + r->suffix.n);
}

err_t btree__record_after(const struct node_record *r, struct slice before, uint8_t *scratch, struct slice *after)
{
    *after = r->data;
    if (r->head.type != LOG_ReplaceD)
        return JET_errSuccess;
    TRY_RETURN(btree_diff_apply(before, r->data, r->wide, scratch, PAGE_SIZE_MAX, r->new_size));
    *after = SLICE(scratch, r->new_size);
    return JET_errSuccess;
}

/* ---- checks ---- */

static int compare_in(struct page page, const struct node *node, struct slice key, struct slice data)
{
    return page_flags(page) & PAGE_NON_UNIQUE ? node_compare_key_data(node, key, data) : node_compare_key(node, key);
}

/* A branch page's empty separator is above all keys. */
static bool is_infinite(struct page page, const struct node *node)
{
    return (page_flags(page) & PAGE_LEAF) == 0 && node_key_size(node) == 0;
}

static err_t check_insert(struct page page, const struct node_record *r)
{
    struct slice key = btree__record_key(r), prefix = page_prefix(page);
    struct node node;
    int line = r->head.line;
    if (line > page_line_count(page))
        return btree__mismatch(page, "insert behind the last line");
    if (r->prefix.n > prefix.n || slice_common_prefix(prefix, r->prefix) != r->prefix.n)
        return btree__mismatch(page, "insert with another prefix than the page's");
    if (line > 0) {
        TRY_RETURN(page_node(page, line - 1, &node));
        if (is_infinite(page, &node) || compare_in(page, &node, key, r->data) >= 0)
            return btree__mismatch(page, "insert not above the line before");
    }
    if (line < page_line_count(page)) {
        TRY_RETURN(page_node(page, line, &node));
        if (!is_infinite(page, &node) && compare_in(page, &node, key, r->data) <= 0)
            return btree__mismatch(page, "insert not below the line after");
    }
    if (!page_can_insert_reserved(page, key, r->data))
        return btree__mismatch(page, "no room for an insert");
    return JET_errSuccess;
}

static err_t check_flag_insert(struct page page, const struct node_record *r, const struct node *node)
{
    if ((node->flags & NODE_DELETED) == 0 || node_compare_key(node, r->suffix) != 0)
        return btree__mismatch(page, "insert over a node that is not the deleted one");
    if (r->head.type == LOG_FlagInsertAndReplaceData && !page_can_replace_reserved(page, r->head.line, r->data.n, UINT32_MAX))
        return btree__mismatch(page, "no room for an insert over a deleted node");
    return JET_errSuccess;
}

static uint32_t delta_width(unsigned type)
{
    return type == LOG_Delta64 || type == VERSION_DELTA64 ? 8 : 4;
}

err_t btree__check_record(struct page page, const struct node_record *r)
{
    struct node node;
    if (page_objid(page) != r->objid)
        return btree__mismatch(page, "page of another tree");
    if (r->head.type == LOG_Insert)
        return check_insert(page, r);
    if (r->head.type == LOG_SetExternalHeader) {
        struct slice old = page_external(page);
        return r->data.n <= old.n + page_free(page) ? JET_errSuccess : btree__mismatch(page, "no room for an external header");
    }
    if (r->head.line >= page_line_count(page))
        return btree__mismatch(page, "line beyond the last");
    TRY_RETURN(page_node(page, r->head.line, &node));
    switch (r->head.type) {
    case LOG_FlagInsert:
    case LOG_FlagInsertAndReplaceData:
        return check_flag_insert(page, r, &node);
    case LOG_FlagDelete:
        return node.flags & NODE_DELETED ? btree__mismatch(page, "node is deleted already") : JET_errSuccess;
    case LOG_Replace:
    case LOG_ReplaceD:
        if (node.data.n != r->old_size)
            return btree__mismatch(page, "replaced data is of another size");
        if (!page_can_replace_reserved(page, r->head.line, r->new_size, UINT32_MAX))
            return btree__mismatch(page, "no room for a replace");
        return JET_errSuccess;
    case LOG_Delete:
        return JET_errSuccess;
    case LOG_Delta:
    case LOG_Delta64:
        return r->offset + delta_width(r->head.type) <= node.data.n ? JET_errSuccess : btree__mismatch(page, "no number to add to");
    default:
        return btree__mismatch(page, "not a node operation");
    }
}

err_t btree__check_undo(struct page page, int line, const struct version_undo *u)
{
    struct node node;
    if (line < 0 || line >= page_line_count(page))
        return btree__mismatch(page, "undo beyond the last line");
    TRY_RETURN(page_node(page, line, &node));
    switch (u->oper) {
    case VERSION_INSERT:
    case VERSION_DELETE:
        return JET_errSuccess;
    case VERSION_REPLACE:
        return page_can_replace_reserved(page, line, u->before.n, UINT32_MAX) ? JET_errSuccess : btree__mismatch(page, "no room for an undo");
    case VERSION_DELTA:
    case VERSION_DELTA64:
        return u->delta_offset + delta_width(u->oper) <= node.data.n ? JET_errSuccess : btree__mismatch(page, "no number to subtract from");
    default:
        return btree__mismatch(page, "undo of an unknown operation");
    }
}

/* ---- changes ---- */

static void insert_record(struct page page, int line, const struct node_record *r, bool versioned)
{
    struct slice key = btree__record_key(r);
    btree__apply_insert(page, line, key, page_share(page, key), r->data, versioned);
}

static struct node node_at(struct page page, int line)
{
    struct node node;
    ENFORCE(page_node(page, line, &node) == JET_errSuccess);
    return node;
}

static void change_flags(struct page page, int line, unsigned set, unsigned clear)
{
    unsigned old = node_at(page, line).flags, flags = (old | set) & ~clear;
    if (flags != old)
        page_set_node_flags(page, line, flags);
}

static unsigned version_flag(bool versioned)
{
    return versioned ? NODE_VERSION : 0;
}

void btree__apply_insert(struct page page, int line, struct slice key, uint32_t share, struct slice data, bool versioned)
{
    page_insert_share(page, line, key, share, data, version_flag(versioned));
}

void btree__apply_flag_insert(struct page page, int line, bool versioned)
{
    change_flags(page, line, version_flag(versioned), NODE_DELETED);
}

void btree__apply_replace(struct page page, int line, struct slice data, bool versioned)
{
    uint32_t before = node_at(page, line).data.n;
    page_replace(page, line, data);
    change_flags(page, line, version_flag(versioned), 0);
    if (versioned && data.n < before)
        btree__keep_free(page, page_uncommitted_free(page) + (before - data.n));
    else if (data.n > before) /* may have taken what was kept for this node */
        btree__keep_free(page, page_uncommitted_free(page));
}

void btree__apply_flag_insert_replace(struct page page, int line, struct slice data, bool versioned)
{
    btree__apply_replace(page, line, data, versioned);
    btree__apply_flag_insert(page, line, versioned);
}

void btree__apply_flag_delete(struct page page, int line, bool versioned)
{
    change_flags(page, line, version_flag(versioned) | NODE_DELETED, 0);
}

void btree__apply_delete(struct page page, int line)
{
    page_delete(page, line);
}

/* In place: the data's size stays, so nothing else on the page moves. */
void btree__apply_delta(struct page page, int line, uint16_t offset, uint32_t size, int64_t delta, bool versioned)
{
    struct node node = node_at(page, line);
    ENFORCE(offset + size <= node.data.n && (size == 4 || size == 8));
    uint8_t *at = page.p + (node.data.p - page.p) + offset;
    if (size == 8)
        store_u64(at, load_u64(at) + (uint64_t)delta);
    else
        store_u32(at, load_u32(at) + (uint32_t)delta);
    change_flags(page, line, version_flag(versioned), 0);
}

void btree__apply_external(struct page page, struct slice data)
{
    page_set_external(page, data);
}

static void undo_replace(struct page page, int line, struct slice before)
{
    uint32_t now = node_at(page, line).data.n, kept = page_uncommitted_free(page);
    page_replace(page, line, before);
    if (before.n > now)
        btree__keep_free(page, kept > before.n - now ? kept - (before.n - now) : 0);
    else /* an older version of the node may need what this one gives back */
        btree__keep_free(page, kept + (now - before.n));
}

void btree__apply_undo(struct page page, int line, const struct version_undo *u)
{
    switch (u->oper) {
    case VERSION_INSERT:
        change_flags(page, line, NODE_DELETED, 0);
        break;
    case VERSION_DELETE:
        change_flags(page, line, 0, NODE_DELETED);
        break;
    case VERSION_REPLACE:
        undo_replace(page, line, u->before);
        break;
    case VERSION_DELTA:
    case VERSION_DELTA64:
        btree__apply_delta(page, line, u->delta_offset, delta_width(u->oper), (int64_t)(0 - (uint64_t)u->delta), false);
        break;
    case VERSION_LOCK:
        break;
    }
}

void btree__apply_record(struct page page, const struct node_record *r, struct slice after)
{
    int line = r->head.line;
    bool versioned = (r->head.flags & LOG_FLAG_VERSIONED) != 0;
    switch (r->head.type) {
    case LOG_Insert:
        insert_record(page, line, r, versioned);
        break;
    case LOG_FlagInsertAndReplaceData:
        btree__apply_flag_insert_replace(page, line, r->data, versioned);
        break;
    case LOG_FlagInsert:
        btree__apply_flag_insert(page, line, versioned);
        break;
    case LOG_FlagDelete:
        btree__apply_flag_delete(page, line, versioned);
        break;
    case LOG_Replace:
    case LOG_ReplaceD:
        btree__apply_replace(page, line, after, versioned);
        break;
    case LOG_Delete:
        btree__apply_delete(page, line);
        break;
    case LOG_Delta:
    case LOG_Delta64:
        btree__apply_delta(page, line, r->offset, delta_width(r->head.type), r->delta, versioned);
        break;
    case LOG_SetExternalHeader:
        btree__apply_external(page, r->data);
        break;
    default:
        ENFORCE(!"a node operation");
    }
}

/* ---- whole pages ---- */

void btree__keep_free(struct page page, uint32_t n)
{
    uint32_t all = page_free(page);
    page_set_uncommitted_free(page, n < all ? n : all);
}

void btree__apply_free(struct page page)
{
    page_clear_nodes(page);
    if ((page_flags(page) & PAGE_ROOT) == 0)
        page_set_external(page, SLICE_EMPTY);
    page_set_uncommitted_free(page, 0);
    page_set_flags(page, page_flags(page) | PAGE_EMPTY);
}

/* What scrubbing leaves in place of data: never read again, but alike wherever the log is redone. */
enum { SCRUB_FILL_RECORD = 'D', SCRUB_FILL_CHUNK = 'L' };

static void scrub_lines(struct page page, const struct node_record *r)
{
    int lines = page_line_count(page);
    for (int i = 0; i < lines && (uint32_t)i < r->data.n && (uint32_t)i < r->scrub_count; i++) {
        struct node node;
        if (r->data.p[i] == SCRUB_NOTHING || page_node(page, i, &node) < 0)
            continue;
        memset(page.p + (node.data.p - page.p), r->data.p[i] == SCRUB_RECORD ? SCRUB_FILL_RECORD : SCRUB_FILL_CHUNK, node.data.n);
    }
}

void btree__apply_scrub(struct page page, const struct node_record *r)
{
    if ((r->scrub_flags & SCRUB_UNUSED_PAGE) != 0)
        btree__apply_free(page);
    else
        scrub_lines(page, r);
    page_wipe_unused(page);
}

void btree__apply_emptied_root(struct page root)
{
    page_clear_nodes(root);
    page_set_uncommitted_free(root, 0);
    page_set_flags(root, (page_flags(root) & ~(uint32_t)PAGE_PARENT_OF_LEAF) | PAGE_LEAF);
}
