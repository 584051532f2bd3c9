/* Splits and merges: the pages after, built in other memory from the pages before. */
#include "btree/btree_apply.h"

#define PAGE_FDP_DELETE 0x40000u /* revert-snapshot leftover; a vertical split keeps it */

/* ---- split ---- */

/* The lines of the source with the operation applied: the numbering of Split2. */
struct lines {
    struct page page;
    const struct split_record *s;
    const struct split_operation *oper;
    uint8_t child_new[4];
    int line_new; /* line whose data becomes child_new; -1 = none */
    int count;
};

struct line {
    struct node node; /* prefix and suffix: the key in two parts */
    struct slice data;
    unsigned flags;
};

static err_t get_line(const struct lines *l, int i, struct line *out)
{
    unsigned oper = l->s->oper, set = oper != SPLIT_OPER_NONE && l->oper->versioned ? NODE_VERSION : 0;
    bool changed = oper != SPLIT_OPER_NONE && i == l->s->line_oper;
    if (changed && oper == SPLIT_OPER_INSERT) {
        *out = (struct line){{.suffix = l->oper->key}, l->oper->data, set};
        return JET_errSuccess;
    }
    if (l->page.p == NULL) { /* only what an append puts on a new page is known: the last pointer has an empty key */
        *out = (struct line){.data = SLICE(l->child_new, 4)};
        return i == l->line_new && i == l->count - 1 ? JET_errSuccess : RAISE(JET_errLogFileCorrupt);
    }
    TRY_RETURN(page_node(l->page, oper == SPLIT_OPER_INSERT && i > l->s->line_oper ? i - 1 : i, &out->node));
    out->data = changed ? l->oper->data : out->node.data;
    out->flags = changed ? out->node.flags | set : out->node.flags;
    if (changed && oper == SPLIT_OPER_FLAG_INSERT_REPLACE)
        out->flags &= ~(unsigned)NODE_DELETED;
    if (i == l->line_new)
        out->data = SLICE(l->child_new, 4);
    return JET_errSuccess;
}

static err_t collect_lines(struct lines *l, const struct split_record *s, const struct split_operation *oper, struct page before)
{
    *l = (struct lines){.page = before, .s = s, .oper = oper, .line_new = -1};
    l->count = before.p == NULL ? s->lines : page_line_count(before) + (s->oper == SPLIT_OPER_INSERT);
    if (before.p != NULL && page_objid(before) != s->objid)
        return btree__mismatch(before, "split of a page of another tree");
    if (s->type > SPLIT_APPEND || s->oper > SPLIT_OPER_FLAG_INSERT_REPLACE || l->count != s->lines)
        return btree__mismatch(before, "split of another number of lines");
    bool nothing_stays = s->line_split == 0, nothing_goes = s->line_split >= s->lines;
    if (s->type == SPLIT_VERTICAL ? !nothing_stays : nothing_stays || nothing_goes)
        return btree__mismatch(before, "split at a line that is not there");
    if (s->oper == SPLIT_OPER_NONE)
        return JET_errSuccess;
    if (oper == NULL || s->line_oper >= s->lines)
        return btree__mismatch(before, "split without its operation");
    if (oper->child_new != PGNO_NIL) {
        struct line next = {.data = oper->data};
        if (s->oper != SPLIT_OPER_INSERT)
            return btree__mismatch(before, "split of a branch page without a pointer");
        if (before.p != NULL)
            TRY_RETURN(get_line(l, s->line_oper + 1, &next));
        if (!slice_equal(next.data, oper->data))
            return btree__mismatch(before, "split of a branch page at another child");
        store_u32(l->child_new, oper->child_new);
        l->line_new = s->line_oper + 1;
    }
    return JET_errSuccess;
}

static err_t append_line(const struct lines *l, int i, struct page to)
{
    uint8_t key[PAGE_SIZE_MAX];
    struct line line;
    TRY_RETURN(get_line(l, i, &line));
    struct slice whole = line.node.suffix; /* one piece already: nothing to join */
    if (line.node.prefix.n != 0)
        whole = SLICE(key, node_key_copy(&line.node, key));
    if (!page_can_insert_reserved(to, whole, line.data))
        return btree__mismatch(l->page, "split leaves more than a page holds");
    page_insert(to, page_line_count(to), whole, line.data, line.flags);
    return JET_errSuccess;
}

static err_t set_new_prefix(const struct lines *l, struct page page)
{
    uint8_t key[PAGE_SIZE_MAX];
    struct line line;
    int64_t at = (int64_t)l->s->line_split + l->s->prefix_line_new;
    if (at < l->s->line_split || at >= l->count)
        return btree__mismatch(l->page, "split with the prefix of a line that is not there");
    TRY_RETURN(get_line(l, (int)at, &line));
    struct slice prefix = SLICE(key, node_key_copy(&line.node, key));
    if (prefix.n > page_free(page))
        return btree__mismatch(l->page, "split with a prefix larger than a page");
    page_set_external(page, prefix);
    return JET_errSuccess;
}

static err_t build_new(const struct lines *l, struct page page)
{
    const struct split_record *s = l->s;
    page_format(page, s->pgno_new, s->objid, s->new_flags, 0);
    if (s->prefix_line_new != -1)
        TRY_RETURN(set_new_prefix(l, page));
    for (int i = s->line_split; i < l->count; i++)
        TRY_RETURN(append_line(l, i, page));
    if (s->new_flags & PAGE_LEAF)
        btree__keep_free(page, s->free_new > 0 ? (uint32_t)s->free_new : 0);
    return JET_errSuccess;
}

static void build_vertical_source(const struct lines *l, struct page page)
{
    uint8_t pointer[4];
    uint32_t keep = page_flags(page) & (PAGE_FDP_DELETE | PAGE_FLUSH_TYPE_MASK | PAGE_NEW_CHECKSUM | PAGE_NEW_RECORD_FORMAT);
    store_u32(pointer, l->s->pgno_new);
    page_clear_nodes(page);
    page_set_flags(page, l->s->split_flags | keep);
    page_set_uncommitted_free(page, 0);
    page_insert(page, 0, SLICE_EMPTY, SLICE(pointer, 4), 0);
}

/* `page` is a copy of the page before. */
static err_t build_source(const struct lines *l, struct page page)
{
    const struct split_record *s = l->s;
    struct slice old = page_prefix(l->page), prefix = s->type == SPLIT_APPEND ? old : s->prefix_new;
    if (page_flags(page) & PAGE_ROOT)
        return btree__mismatch(l->page, "split of a root beside itself");
    if (s->type == SPLIT_RIGHT && !slice_equal(old, s->prefix_old))
        return btree__mismatch(l->page, "split of a page with another prefix");
    bool oper_stays = s->oper != SPLIT_OPER_NONE && s->line_oper < s->line_split;
    if (slice_equal(old, prefix) && !oper_stays) {
        /* the lines that stay are as they were: cut the others off */
        for (int i = page_line_count(page) - 1; i >= s->line_split; i--)
            page_delete(page, i);
    } else {
        page_clear_nodes(page);
        if (prefix.n > page_free(page) + old.n)
            return btree__mismatch(l->page, "split with a prefix larger than a page");
        page_set_external(page, prefix);
        for (int i = 0; i < s->line_split; i++)
            TRY_RETURN(append_line(l, i, page));
    }
    if (page_flags(page) & PAGE_LEAF)
        btree__keep_free(page, s->free_source > 0 ? (uint32_t)s->free_source : 0);
    return JET_errSuccess;
}

err_t btree__build_split(const struct split_record *s, const struct split_operation *oper, struct page before, struct page source,
                         struct page fresh)
{
    struct lines l;
    bool link = (s->new_flags & PAGE_LEAF) != 0 && s->type != SPLIT_VERTICAL;
    TRY_RETURN(collect_lines(&l, s, oper, before));
    if (fresh.p != NULL) {
        TRY_RETURN(build_new(&l, fresh));
        if (link) {
            page_set_prev(fresh, s->head.pgno);
            page_set_next(fresh, s->pgno_right);
        }
    }
    if (source.p != NULL) {
        memcpy(source.p, before.p, before.size);
        if (s->type == SPLIT_VERTICAL)
            build_vertical_source(&l, source);
        else
            TRY_RETURN(build_source(&l, source));
        if (link)
            page_set_next(source, s->pgno_new);
    }
    return JET_errSuccess;
}

err_t btree__check_branch_insert(struct page page, struct slice key, pgno_t child, int *line)
{
    pgno_t pgno = PGNO_NIL;
    uint8_t pointer[4];
    store_u32(pointer, child);
    *line = page_search_branch(page, key);
    if (page_flags(page) & PAGE_LEAF)
        return btree__mismatch(page, "parent of a split is a leaf");
    if (*line < page_line_count(page))
        TRY_RETURN(page_child(page, *line, &pgno));
    if (pgno != child)
        return btree__mismatch(page, "parent of a split does not name the page");
    if (!page_can_insert_reserved(page, key, SLICE(pointer, 4)))
        return btree__mismatch(page, "no room for a separator");
    return JET_errSuccess;
}

void btree__apply_branch_insert(struct page page, int line, struct slice key, pgno_t child, pgno_t child_new)
{
    uint8_t pointer[4];
    store_u32(pointer, child_new);
    page_replace(page, line, SLICE(pointer, 4));
    store_u32(pointer, child);
    page_insert(page, line, key, SLICE(pointer, 4), 0);
}

bool btree__split_needs_image(const struct split_record *s)
{
    if (s->pgno_new == PGNO_NIL || s->type == SPLIT_APPEND)
        return false;
    return !(s->type == SPLIT_RIGHT && s->oper == SPLIT_OPER_INSERT && s->line_split == s->line_oper && s->line_oper + 1 == s->lines);
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

err_t btree__build_merge_dest(struct page source, struct page dest, const struct merge_record *r, struct page to)
{
    uint8_t memory[PAGE_SIZE_MAX];
    int first, last;
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
        struct slice key = SLICE(memory, node_key_copy(&node, memory));
        if (!page_can_insert_reserved(to, key, node.data))
            return btree__mismatch(dest, "merge of more than a page holds");
        page_insert(to, at++, key, node.data, node.flags);
    }
    btree__keep_free(to, r->free_dest);
    return JET_errSuccess;
}

void btree__apply_merge_source(struct page source, const struct merge_record *r)
{
    if (merge_is_partial(r->type)) {
        int first, last;
        moved_range(source, r, &first, &last);
        for (int i = last - 1; i >= first; i--)
            page_delete(source, i);
    }
    if (r->flags & MERGE_EMPTY)
        btree__apply_free(source);
}

void btree__apply_merge_links(const struct merge_record *r, struct page left, struct page right)
{
    if (merge_is_partial(r->type))
        return;
    if (left.p != NULL)
        page_set_next(left, r->pgno_right);
    if (right.p != NULL)
        page_set_prev(right, r->pgno_left);
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

void btree__apply_merge_upper(struct page page, const struct merge_record *r, const struct merge_record *leaf)
{
    int line = r->head.line, change = key_change_line(r, leaf);
    if (r->flags & MERGE_EMPTY) {
        btree__apply_free(page);
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
}
