/* Splits and merges: the pages after, built in memory, then put in place one by one. */
#include "btree/btree_apply.h"

#define PAGE_FDP_DELETE 0x40000u /* revert-snapshot leftover; a vertical split keeps it */

/* ---- split ---- */

/* The lines of the source with the operation applied: the numbering of Split2. */
struct lines {
    struct page page;
    const struct split_record *r;
    struct slice key;      /* inserted key */
    struct slice data;     /* inserted or replacing data */
    unsigned set, clear;   /* flags of the operation's node */
    uint8_t pointer[4];    /* child's pgno, the inserted pointer's data */
    uint8_t pointer_new[4];
    int line_new;          /* line whose data becomes pointer_new; -1 = none */
    int count;
};

struct line {
    struct node node; /* prefix and suffix: the key in two parts */
    struct slice data;
    unsigned flags;
};

static err_t get_line(const struct lines *l, int i, struct line *out)
{
    int oper = l->r->line_oper, at = i;
    bool changed = l->r->oper != SPLIT_OPER_NONE && i == oper;
    if (l->r->oper == SPLIT_OPER_INSERT && i > oper)
        at = i - 1;
    if (changed && l->r->oper == SPLIT_OPER_INSERT) {
        *out = (struct line){{.suffix = l->key}, l->data, l->set};
        return JET_errSuccess;
    }
    TRY_RETURN(page_node(l->page, at, &out->node));
    out->data = changed ? l->data : out->node.data;
    out->flags = changed ? (out->node.flags | l->set) & ~l->clear : out->node.flags;
    if (i == l->line_new)
        out->data = SLICE(l->pointer_new, 4);
    return JET_errSuccess;
}

static err_t set_leaf_oper(struct lines *l, const struct node_record *leaf, struct page_build *out)
{
    struct node node;
    l->set = leaf->head.flags & LOG_FLAG_VERSIONED ? NODE_VERSION : 0;
    l->key = btree__record_key(leaf);
    l->data = leaf->data;
    if (l->r->oper == SPLIT_OPER_INSERT)
        return leaf->head.type == LOG_Insert ? JET_errSuccess : btree__mismatch(l->page, "split without its insert");
    TRY_RETURN(page_node(l->page, l->r->line_oper, &node));
    if (l->r->oper == SPLIT_OPER_FLAG_INSERT_REPLACE) {
        l->clear = NODE_DELETED;
        return leaf->head.type == LOG_FlagInsertAndReplaceData ? JET_errSuccess : btree__mismatch(l->page, "split without its insert");
    }
    if ((leaf->head.type != LOG_Replace && leaf->head.type != LOG_ReplaceD) || node.data.n != leaf->old_size)
        return btree__mismatch(l->page, "split without its replace");
    return btree__record_after(leaf, node.data, out->data, &l->data);
}

static err_t set_child_oper(struct lines *l, const struct split_child *child)
{
    struct line next;
    if (l->r->oper != SPLIT_OPER_INSERT)
        return btree__mismatch(l->page, "split of a branch page without a pointer");
    l->key = child->separator;
    l->data = SLICE(l->pointer, 4);
    store_u32(l->pointer, child->pgno);
    store_u32(l->pointer_new, child->pgno_new);
    TRY_RETURN(get_line(l, l->r->line_oper + 1, &next));
    if (!slice_equal(next.data, l->data))
        return btree__mismatch(l->page, "split of a branch page at another child");
    l->line_new = l->r->line_oper + 1;
    return JET_errSuccess;
}

static err_t collect_lines(struct lines *l, struct page before, const struct split_record *r, const struct split_child *child,
                           const struct node_record *leaf, struct page_build *out)
{
    *l = (struct lines){.page = before, .r = r, .line_new = -1};
    l->count = page_line_count(before) + (r->oper == SPLIT_OPER_INSERT);
    if (page_objid(before) != r->objid)
        return btree__mismatch(before, "split of a page of another tree");
    if (r->type > SPLIT_APPEND || r->oper > SPLIT_OPER_FLAG_INSERT_REPLACE || l->count != r->lines || r->line_split > r->lines ||
        (r->oper != SPLIT_OPER_NONE && r->line_oper >= r->lines) || (r->type == SPLIT_VERTICAL && r->line_split != 0) ||
        (r->type != SPLIT_VERTICAL && (r->line_split == 0 || r->line_split == r->lines)))
        return btree__mismatch(before, "split at lines that are not there");
    if (child != NULL)
        return set_child_oper(l, child);
    if (r->oper == SPLIT_OPER_NONE)
        return JET_errSuccess;
    if (leaf == NULL)
        return btree__mismatch(before, "split without its operation");
    return set_leaf_oper(l, leaf, out);
}

static err_t append_line(const struct lines *l, int i, struct page to, uint8_t *key)
{
    struct line line;
    TRY_RETURN(get_line(l, i, &line));
    struct slice whole = SLICE(key, node_key_copy(&line.node, key));
    if (!page_can_insert_reserved(to, whole, line.data))
        return btree__mismatch(l->page, "split leaves more than a page holds");
    page_insert(to, page_line_count(to), whole, line.data, line.flags);
    return JET_errSuccess;
}

static void set_free_kept(struct page page, int n)
{
    uint32_t want = n < 0 ? 0 : (uint32_t)n, all = page_free(page);
    page_set_uncommitted_free(page, want < all ? want : all);
}

static err_t build_new(const struct lines *l, struct page_build *out)
{
    const struct split_record *r = l->r;
    struct page page = {out->other, l->page.size};
    page_format(page, r->pgno_new, r->objid, r->new_flags, 0);
    if (r->prefix_line_new != -1) {
        struct line line;
        int64_t at = (int64_t)r->line_split + r->prefix_line_new;
        if (at < r->line_split || at >= l->count)
            return btree__mismatch(l->page, "split with the prefix of a line that is not there");
        TRY_RETURN(get_line(l, (int)at, &line));
        struct slice prefix = SLICE(out->key, node_key_copy(&line.node, out->key));
        if (prefix.n > page_free(page))
            return btree__mismatch(l->page, "split with a prefix larger than a page");
        page_set_external(page, prefix);
    }
    for (int i = r->line_split; i < l->count; i++)
        TRY_RETURN(append_line(l, i, page, out->key));
    if (page_flags(page) & PAGE_LEAF)
        set_free_kept(page, r->free_new);
    return JET_errSuccess;
}

static void build_vertical_source(const struct lines *l, struct page page)
{
    const struct split_record *r = l->r;
    uint8_t pointer[4];
    uint32_t keep = page_flags(page) & (PAGE_FDP_DELETE | PAGE_FLUSH_TYPE_MASK | PAGE_NEW_CHECKSUM | PAGE_NEW_RECORD_FORMAT);
    store_u32(pointer, r->pgno_new);
    page_clear_nodes(page);
    page_set_flags(page, r->split_flags | keep);
    page_set_uncommitted_free(page, 0);
    page_insert(page, 0, SLICE_EMPTY, SLICE(pointer, 4), 0);
}

static err_t build_source(const struct lines *l, struct page_build *out)
{
    const struct split_record *r = l->r;
    struct page page = {out->source, l->page.size};
    struct slice old = page_prefix(l->page), prefix = r->type == SPLIT_APPEND ? old : r->prefix_new;
    memcpy(page.p, l->page.p, page.size);
    if (r->type == SPLIT_VERTICAL) {
        build_vertical_source(l, page);
        return JET_errSuccess;
    }
    if (r->type == SPLIT_RIGHT && !slice_equal(old, r->prefix_old))
        return btree__mismatch(l->page, "split of a page with another prefix");
    bool oper_stays = r->oper != SPLIT_OPER_NONE && r->line_oper < r->line_split;
    if (slice_equal(old, prefix) && !oper_stays && l->line_new != r->line_split) {
        /* the lines that stay are as they were: cut the others off */
        for (int i = page_line_count(page) - 1; i >= r->line_split; i--)
            page_delete(page, i);
    } else {
        page_clear_nodes(page);
        if (page_flags(page) & PAGE_ROOT)
            return btree__mismatch(l->page, "split of a root beside itself");
        if (prefix.n > page_free(page) + old.n)
            return btree__mismatch(l->page, "split with a prefix larger than a page");
        page_set_external(page, prefix);
        for (int i = 0; i < r->line_split; i++)
            TRY_RETURN(append_line(l, i, page, out->key));
    }
    if (page_flags(page) & PAGE_LEAF)
        set_free_kept(page, r->free_source);
    return JET_errSuccess;
}

err_t btree__build_split(struct page before, const struct split_record *r, const struct split_child *child, const struct node_record *leaf,
                         struct page_build *out)
{
    struct lines l;
    TRY_RETURN(collect_lines(&l, before, r, child, leaf, out));
    TRY_RETURN(build_new(&l, out));
    return build_source(&l, out);
}

void btree__put_split(const struct split_record *r, const struct page_build *build, struct page source, struct page fresh, struct page right,
                      dbtime_t dbtime)
{
    bool link = (r->new_flags & PAGE_LEAF) != 0 && r->type != SPLIT_VERTICAL;
    if (fresh.p != NULL) {
        memcpy(fresh.p, build->other, fresh.size);
        page_set_dbtime(fresh, dbtime);
        if (link) {
            page_set_prev(fresh, r->head.pgno);
            page_set_next(fresh, r->pgno_right);
        }
    }
    if (source.p != NULL) {
        memcpy(source.p, build->source, source.size);
        page_set_dbtime(source, dbtime);
        if (link)
            page_set_next(source, r->pgno_new);
    }
    if (right.p != NULL) {
        page_set_prev(right, r->pgno_new);
        page_set_dbtime(right, dbtime);
    }
}

err_t btree__check_parent(struct page page, const struct split_record *r, const struct split_child *child, int *line)
{
    pgno_t pgno = PGNO_NIL;
    uint8_t pointer[4];
    store_u32(pointer, child->pgno);
    *line = page_search_branch(page, child->separator);
    if (page_objid(page) != r->objid || page_flags(page) & PAGE_LEAF)
        return btree__mismatch(page, "parent of a split is no page above it");
    if (*line < page_line_count(page))
        TRY_RETURN(page_child(page, *line, &pgno));
    if (pgno != child->pgno)
        return btree__mismatch(page, "parent of a split does not name the page");
    if (!page_can_insert_reserved(page, child->separator, SLICE(pointer, 4)))
        return btree__mismatch(page, "no room for a separator");
    return JET_errSuccess;
}

void btree__apply_parent(struct page page, int line, const struct split_child *child, dbtime_t dbtime)
{
    uint8_t pointer[4];
    store_u32(pointer, child->pgno_new);
    page_replace(page, line, SLICE(pointer, 4));
    store_u32(pointer, child->pgno);
    page_insert(page, line, child->separator, SLICE(pointer, 4), 0);
    page_set_dbtime(page, dbtime);
}

bool btree__split_needs_image(const struct split_record *r)
{
    if (r->pgno_new == PGNO_NIL || r->type == SPLIT_APPEND)
        return false;
    return !(r->type == SPLIT_RIGHT && r->oper == SPLIT_OPER_INSERT && r->line_split == r->line_oper && r->line_oper + 1 == r->lines);
}

/* ---- merge ---- */

static void moved_range(struct page source, const struct merge_record *r, int *first, int *last)
{
    int count = page_line_count(source);
    *first = merge_is_left(r->type) ? 0 : r->line_merge;
    *last = merge_is_left(r->type) ? r->line_merge + 1 : count;
}

err_t btree__check_merge_source(struct page source, const struct merge_record *r)
{
    int first, last;
    if (page_objid(source) != r->objid || (page_flags(source) & PAGE_LEAF) == 0)
        return btree__mismatch(source, "merge of a page of another tree");
    if (!merge_moves(r->type))
        return JET_errSuccess;
    moved_range(source, r, &first, &last);
    if (first >= last || last > page_line_count(source))
        return btree__mismatch(source, "merge at lines that are not there");
    return JET_errSuccess;
}

err_t btree__build_merge_dest(struct page source, struct page dest, const struct merge_record *r, struct page_build *out)
{
    int first, last;
    struct page to = {out->other, dest.size};
    TRY_RETURN(btree__check_merge_source(source, r));
    if (page_objid(dest) != r->objid || (page_flags(dest) & PAGE_LEAF) == 0)
        return btree__mismatch(dest, "merge into a page of another tree");
    moved_range(source, r, &first, &last);
    memcpy(to.p, dest.p, dest.size);
    int at = merge_is_left(r->type) ? page_line_count(to) : 0;
    for (int i = first; i < last; i++) {
        struct node node;
        TRY_RETURN(page_node(source, i, &node));
        if (node.flags & NODE_DELETED)
            continue;
        struct slice key = SLICE(out->key, node_key_copy(&node, out->key));
        if (!page_can_insert_reserved(to, key, node.data))
            return btree__mismatch(dest, "merge of more than a page holds");
        page_insert(to, at++, key, node.data, node.flags);
    }
    set_free_kept(to, r->free_dest);
    return JET_errSuccess;
}

static void put_merge_source(const struct merge_record *r, struct page source, dbtime_t dbtime)
{
    if (merge_is_partial(r->type)) {
        int first, last;
        moved_range(source, r, &first, &last);
        for (int i = last - 1; i >= first; i--)
            page_delete(source, i);
        set_free_kept(source, (int)page_uncommitted_free(source));
        page_set_dbtime(source, dbtime);
    }
    if (r->flags & MERGE_EMPTY)
        btree__apply_freed(source, dbtime);
    page_set_dbtime(source, dbtime);
}

void btree__put_merge(const struct merge_record *r, const struct page_build *build, struct page source, struct page left, struct page right,
                      dbtime_t dbtime)
{
    struct page dest = merge_is_left(r->type) ? left : right;
    if (merge_moves(r->type) && dest.p != NULL) {
        pgno_t prev = page_prev(dest), next = page_next(dest);
        memcpy(dest.p, build->other, dest.size);
        page_set_prev(dest, prev);
        page_set_next(dest, next);
    }
    if (source.p != NULL)
        put_merge_source(r, source, dbtime);
    if (left.p != NULL) {
        if (!merge_is_partial(r->type))
            page_set_next(left, r->pgno_right);
        page_set_dbtime(left, dbtime);
    }
    if (right.p != NULL) {
        if (!merge_is_partial(r->type))
            page_set_prev(right, r->pgno_left);
        page_set_dbtime(right, dbtime);
    }
}

/* The line of an upper page that gets the separator; -1 = none. */
static int key_change_line(const struct merge_record *r, const struct merge_record *leaf)
{
    if ((r->flags & MERGE_KEY_CHANGE) == 0 || (r->flags & MERGE_DELETE_NODE) != 0)
        return -1;
    return leaf->type == MERGE_PARTIAL_LEFT ? r->head.line - 1 : r->head.line;
}

err_t btree__check_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf)
{
    struct node node;
    int line = r->head.line, change = key_change_line(r, leaf);
    bool to_left = (r->flags & MERGE_DELETE_NODE) != 0 && leaf->type == MERGE_FULL_LEFT && (r->flags & MERGE_KEY_CHANGE) != 0;
    if (page_objid(page) != r->objid || (page_flags(page) & PAGE_LEAF) != 0)
        return btree__mismatch(page, "merge below a page of another tree");
    if (r->flags & MERGE_EMPTY)
        return JET_errSuccess;
    if (line >= page_line_count(page) || (to_left && line == 0))
        return btree__mismatch(page, "merge below a line that is not there");
    pgno_t child;
    TRY_RETURN(page_child(page, line, &child));
    if ((r->flags & MERGE_DELETE_NODE) && page_line_count(page) < 2)
        return btree__mismatch(page, "merge below the only line of a page");
    if ((r->flags & MERGE_DELETE_NODE) && line > 0)
        TRY_RETURN(page_child(page, line - 1, &child));
    if ((r->flags & (MERGE_KEY_CHANGE | MERGE_DELETE_NODE)) == MERGE_KEY_CHANGE) {
        if (change < 0)
            return btree__mismatch(page, "merge with a key change before the first line");
        TRY_RETURN(page_child(page, change, &child));
        TRY_RETURN(page_node(page, change, &node));
        uint32_t gain = node.suffix.n + 8; /* tag, counters */
        if (page_node_cost(page, leaf->separator, node.data) > page_free(page) + gain + node.data.n)
            return btree__mismatch(page, "no room for a separator");
    }
    return JET_errSuccess;
}

/* Removes the pointer at `line`; the last pointer of a rightmost page hands its empty key on. */
static void delete_pointer(struct page page, int line)
{
    struct node node;
    bool infinite = false;
    uint8_t pointer[4];
    int count = page_line_count(page);
    if (line == count - 1 && count > 1) {
        ENFORCE(page_node(page, line, &node) == JET_errSuccess);
        infinite = node_key_size(&node) == 0;
    }
    page_delete(page, line);
    if (!infinite)
        return;
    ENFORCE(page_node(page, line - 1, &node) == JET_errSuccess && node.data.n == 4);
    memcpy(pointer, node.data.p, 4);
    page_delete(page, line - 1);
    page_insert(page, line - 1, SLICE_EMPTY, SLICE(pointer, 4), 0);
}

static void change_key(struct page page, int line, struct slice key)
{
    struct node node;
    uint8_t pointer[4];
    ENFORCE(page_node(page, line, &node) == JET_errSuccess && node.data.n == 4);
    memcpy(pointer, node.data.p, 4);
    page_delete(page, line);
    page_insert(page, line, key, SLICE(pointer, 4), 0);
}

void btree__apply_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf, dbtime_t dbtime)
{
    int line = r->head.line, change = key_change_line(r, leaf);
    if (r->flags & MERGE_EMPTY) {
        btree__apply_freed(page, dbtime);
        return;
    }
    if ((r->flags & MERGE_DELETE_NODE) && (r->flags & MERGE_KEY_CHANGE) && leaf->type == MERGE_FULL_LEFT) {
        uint8_t pointer[4];
        store_u32(pointer, leaf->pgno_left);
        page_replace(page, line, SLICE(pointer, 4));
        page_delete(page, line - 1);
    } else if (r->flags & MERGE_DELETE_NODE) {
        delete_pointer(page, line);
    }
    if (change >= 0)
        change_key(page, change, leaf->separator);
    page_set_dbtime(page, dbtime);
}
