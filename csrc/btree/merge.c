/* Merges: an empty leaf leaves the tree, a sparse one moves into its right neighbour, three leaves that fit into two become
 * two (the middle one gives a part to the right, then takes the left one in), an empty tree shrinks to its root.
 *
 * Under the split lock branch pages and the links of leaves stand still, so the plan is made with short read latches; then the
 * pages are write-latched (parents top down, left, source, right) and what other sessions may have done to the leaves
 * meanwhile is looked at again. Pages go back to the source after the macro is logged, latches let go. */
#include "btree/btree_merge.h"

struct merge {
    struct btree *tree;
    struct trx *trx; /* inner */
    struct tree_path path;
    int parent;                      /* level of the leaf's parent */
    uint8_t flags[BTREE_DEPTH_MAX];  /* enum merge_flag of the upper levels */
    int top;                         /* first upper level that changes */
    enum merge_type type;
    int line_merge;                  /* lines of the source from here on move */
    bool whole_tree;                 /* nothing but this leaf: EmptyTree */
    bool stays;                      /* the leaf cannot go: see plan_removal */
    struct buffer separator;
    struct page_ref upper[BTREE_DEPTH_MAX], left, source, right;
    pgno_t freed[BTREE_DEPTH_MAX];
    int freed_count;
    struct merge_plan plan;
    struct encoded encoded[BTREE_DEPTH_MAX + 2];
    struct log_record records[BTREE_DEPTH_MAX + 2];
    uint8_t dest[PAGE_SIZE_MAX];
};

/* ---- plan ---- */

struct branch_line {
    int count;         /* lines of the page */
    pgno_t child;      /* of the line asked for */
    bool infinite;     /* its key is empty */
};

static err_t look_at_branch(struct merge *m, int level, int line, struct branch_line *out)
{
    err_t err = JET_errSuccess;
    struct page_ref ref = PAGE_REF_NONE;
    struct node node;
    TRY(btree__latch(m->tree, m->path.level[level].pgno, LATCH_READ, CACHE_WAIT, &ref));
    out->count = page_line_count(ref.page);
    TRY(page_child(ref.page, line, &out->child));
    TRY(page_node(ref.page, line, &node));
    out->infinite = node_key_size(&node) == 0;
out:
    cache_release(&ref);
    return err;
}

static err_t take_separator(struct merge *m, int level, int line)
{
    err_t err = JET_errSuccess;
    struct page_ref ref = PAGE_REF_NONE;
    struct node node;
    TRY(btree__latch(m->tree, m->path.level[level].pgno, LATCH_READ, CACHE_WAIT, &ref));
    TRY(page_node(ref.page, line, &node));
    TRY(buffer_reserve(&m->separator, node_key_size(&node)));
    m->separator.n = node_key_copy(&node, m->separator.p);
out:
    cache_release(&ref);
    return err;
}

/* The pointer to the leaf goes: a parent that held no other goes too; a page that loses its last pointer ends lower, and its
 * own separator above follows, up to where it is not the last. The last leaf of the tree stays while it is the only one of
 * its parent: the branch page to the left would become the rightmost one, whose last separators are empty, and its are not. */
static err_t plan_removal(struct merge *m)
{
    struct branch_line at;
    int i = m->parent;
    memset(m->flags, 0, sizeof m->flags);
    m->separator.n = 0;
    m->whole_tree = m->stays = false;
    for (;; i--) {
        TRY_RETURN(look_at_branch(m, i, m->path.level[i].line, &at));
        if (at.count > 1)
            break;
        m->flags[i] = MERGE_EMPTY;
        if (i == 0) {
            m->whole_tree = true;
            m->top = 0;
            return JET_errSuccess;
        }
    }
    m->flags[i] = MERGE_DELETE_NODE;
    m->top = i;
    if (m->path.level[i].line < at.count - 1)
        return JET_errSuccess;
    if (at.infinite) {
        m->stays = i < m->parent;
        return JET_errSuccess;
    }
    TRY_RETURN(take_separator(m, i, m->path.level[i].line - 1));
    while (m->top > 0) {
        m->top--;
        m->flags[m->top] = MERGE_KEY_CHANGE;
        TRY_RETURN(look_at_branch(m, m->top, m->path.level[m->top].line, &at));
        if (m->path.level[m->top].line < at.count - 1)
            return JET_errSuccess;
    }
    m->stays = true; /* the root's last separator is not empty: damage that the check names, and a descent lives with */
    return JET_errSuccess;
}

/* ---- latches ---- */

static void release_all(struct merge *m)
{
    cache_release(&m->right);
    cache_release(&m->source);
    cache_release(&m->left);
    for (int i = BTREE_DEPTH_MAX - 1; i >= 0; i--)
        cache_release(&m->upper[i]);
}

static err_t latch_all(struct merge *m, pgno_t left, pgno_t source, pgno_t right)
{
    err_t err = JET_errSuccess;
    for (int i = m->top; i <= m->parent; i++)
        TRY(btree__latch(m->tree, m->path.level[i].pgno, LATCH_WRITE, CACHE_WAIT, &m->upper[i]));
    if (left != PGNO_NIL)
        TRY(btree__latch(m->tree, left, LATCH_WRITE, CACHE_WAIT, &m->left));
    TRY(btree__latch(m->tree, source, LATCH_WRITE, CACHE_WAIT, &m->source));
    if (right != PGNO_NIL)
        TRY(btree__latch(m->tree, right, LATCH_WRITE, CACHE_WAIT, &m->right));
out:
    if (err < 0)
        release_all(m);
    return err;
}

/* ---- records ---- */

static struct record_head head_of(const struct merge *m, enum log_type type, const struct page_ref *ref, int line)
{
    const struct btree *tree = m->tree;
    unsigned flags = (tree->unique ? LOG_FLAG_UNIQUE : 0u) | (tree->page_flags & PAGE_SPACE_TREE ? LOG_FLAG_SPACE : 0u);
    return btree_record_head(m->trx, type, tree->db->dbid, ref->pgno, page_dbtime(ref->page), line, flags);
}

static dbtime_t before_of(const struct page_ref *ref)
{
    return ref->frame == NULL ? DBTIME_NIL : page_dbtime(ref->page);
}

static struct merge_record *add_level(struct merge *m, const struct page_ref *ref, const struct page_ref *parent, int line)
{
    struct merge_record *r = &m->plan.level[m->plan.count++];
    *r = (struct merge_record){
        .head = head_of(m, LOG_Merge2, ref, line),
        .right_before = DBTIME_NIL,
        .left_before = DBTIME_NIL,
        .pgno_parent = parent == NULL ? PGNO_NIL : parent->pgno,
        .parent_before = parent == NULL ? DBTIME_NIL : before_of(parent),
        .root = m->tree->root,
        .objid = m->tree->objid,
    };
    return r;
}

static void plan_records(struct merge *m, uint32_t free_dest)
{
    m->plan.count = 0;
    for (int i = m->top; i <= m->parent; i++) {
        struct merge_record *r = add_level(m, &m->upper[i], i > m->top ? &m->upper[i - 1] : NULL, m->path.level[i].line);
        r->flags = m->flags[i];
    }
    struct merge_record *leaf = add_level(m, &m->source, &m->upper[m->parent], 0);
    leaf->type = (uint8_t)m->type;
    leaf->flags = merge_is_partial(m->type) ? 0 : MERGE_EMPTY;
    leaf->line_merge = (uint16_t)m->line_merge;
    leaf->pgno_left = m->left.pgno;
    leaf->left_before = before_of(&m->left);
    leaf->pgno_right = m->right.pgno;
    leaf->right_before = before_of(&m->right);
    leaf->separator = buffer_slice(&m->separator);
    if (merge_moves(m->type)) {
        uint32_t moved = btree__area(m->source.page) - page_free(m->source.page);
        leaf->size_total = leaf->size_max_total = (uint16_t)moved;
        leaf->free_dest = (uint16_t)free_dest;
        leaf->image = SLICE(m->source.page.p, m->source.page.size);
    }
}

static void mark(struct merge *m, struct page_ref *ref)
{
    if (ref->frame != NULL)
        cache_mark_dirty(ref, trx_begin_bound(m->trx));
}

static void finish(struct page_ref *ref, const struct log_stamp *stamp)
{
    if (ref->frame == NULL)
        return;
    page_set_dbtime(ref->page, stamp->dbtime);
    cache_set_lgpos(ref, stamp->end);
}

static void mark_all(struct merge *m)
{
    for (int i = m->top; i <= m->parent; i++)
        mark(m, &m->upper[i]);
    mark(m, &m->left);
    mark(m, &m->source);
    mark(m, &m->right);
}

static void finish_all(struct merge *m, const struct log_stamp *stamp)
{
    for (int i = m->top; i <= m->parent; i++)
        finish(&m->upper[i], stamp);
    finish(&m->left, stamp);
    finish(&m->source, stamp);
    finish(&m->right, stamp);
}

static void apply_merge(struct merge *m)
{
    const struct merge_record *leaf = &m->plan.level[m->plan.count - 1];
    m->freed_count = 0;
    for (int i = m->top; i <= m->parent; i++) {
        const struct merge_record *r = &m->plan.level[i - m->top];
        btree__apply_merge_upper(m->upper[i].page, r, leaf);
        if (r->flags & MERGE_EMPTY)
            m->freed[m->freed_count++] = m->upper[i].pgno;
    }
    if (merge_moves(m->type)) {
        memcpy(m->right.page.p, m->dest, m->right.page.size);
        cache_note_undo(&m->right);
    }
    btree__apply_merge_source(m->source.page, leaf);
    btree__apply_merge_links(leaf, m->left.page, m->right.page);
    if (leaf->flags & MERGE_EMPTY)
        m->freed[m->freed_count++] = m->source.pgno;
}

static err_t log_merge(struct merge *m)
{
    struct log_stamp stamp = {.dbtime_counter = &m->tree->db->dbtime};
    struct macro_record macro = {LOG_MacroBegin, m->trx->procid, 0};
    int n = 0;
    btree_encode_macro(&macro, &m->encoded[n++]);
    for (int i = 0; i < m->plan.count; i++)
        btree_encode_merge(&m->plan.level[i], &m->encoded[n++]);
    macro.type = LOG_MacroCommit;
    btree_encode_macro(&macro, &m->encoded[n++]);
    for (int i = 0; i < n; i++)
        m->records[i] = m->encoded[i].record;
    mark_all(m);
    TRY_RETURN(trx_log(m->trx, m->records, n, &stamp));
    apply_merge(m);
    finish_all(m, &stamp);
    return JET_errSuccess;
}

/* ---- the three ways ---- */

/* Room for a longer separator above? Without it the leaf stays. */
static bool uppers_take_it(struct merge *m)
{
    const struct merge_record *leaf = &m->plan.level[m->plan.count - 1];
    for (int i = m->top; i <= m->parent; i++) {
        struct node node;
        if ((m->flags[i] & MERGE_KEY_CHANGE) == 0)
            continue;
        if (page_node(m->upper[i].page, m->path.level[i].line, &node) < 0 || leaf->separator.n > node.suffix.n + page_free(m->upper[i].page))
            return false;
    }
    return true;
}

static err_t empty_leaf(struct merge *m, pgno_t left, pgno_t source, pgno_t right, bool *done)
{
    err_t err = JET_errSuccess;
    TRY(latch_all(m, left, source, right));
    if (!btree__all_settled(m->tree, m->source.page))
        goto out;
    m->type = MERGE_EMPTY_PAGE;
    m->line_merge = 0;
    plan_records(m, 0);
    if (!uppers_take_it(m))
        goto out;
    TRY(log_merge(m));
    atomic_fetch_add(&btree__counters.empty_pages, 1);
    *done = true;
out:
    release_all(m);
    return err;
}

static err_t move_right(struct merge *m, pgno_t left, pgno_t source, pgno_t right, bool *done)
{
    err_t err = JET_errSuccess;
    uint32_t kept_source, kept_dest;
    TRY(latch_all(m, left, source, right));
    if (!btree__fits(m->source.page, m->right.page))
        goto out;
    /* before-images must be in the log before their nodes leave the page that the log knows them on */
    TRY(cache_log_undo_info(&m->source));
    TRY(btree__uncommitted_free(m->tree, m->source.page, 0, page_line_count(m->source.page), &kept_source));
    TRY(btree__uncommitted_free(m->tree, m->right.page, 0, page_line_count(m->right.page), &kept_dest));
    m->type = MERGE_FULL_RIGHT;
    m->line_merge = 0;
    plan_records(m, kept_source + kept_dest);
    TRY(btree__build_merge_dest(m->source.page, m->right.page, &m->plan.level[m->plan.count - 1], (struct page){m->dest, m->right.page.size}));
    TRY(log_merge(m));
    atomic_fetch_add(&btree__counters.merges, 1);
    *done = true;
out:
    release_all(m);
    return err;
}

static void encode_empty_tree(struct merge *m, uint8_t *list)
{
    uint32_t n = 0;
    m->freed_count = 0;
    for (int i = 1; i <= m->parent + 1; i++) {
        const struct page_ref *ref = i <= m->parent ? &m->upper[i] : &m->source;
        empty_page_store(&(struct empty_page){page_dbtime(ref->page), ref->pgno, 0}, list + n);
        m->freed[m->freed_count++] = ref->pgno;
        n += EMPTY_PAGE_SIZE;
    }
    struct node_record r = {
        .head = head_of(m, LOG_EmptyTree, &m->upper[0], 0),
        .root = m->tree->root,
        .objid = m->tree->objid,
        .data = SLICE(list, n),
    };
    btree_encode_node(&r, &m->encoded[0]);
}

static err_t empty_tree(struct merge *m, pgno_t source, bool *done)
{
    err_t err = JET_errSuccess;
    uint8_t list[BTREE_DEPTH_MAX * EMPTY_PAGE_SIZE];
    struct log_stamp stamp = {.dbtime_counter = &m->tree->db->dbtime};
    TRY(latch_all(m, PGNO_NIL, source, PGNO_NIL));
    if (!btree__all_settled(m->tree, m->source.page))
        goto out;
    encode_empty_tree(m, list);
    mark_all(m);
    m->records[0] = m->encoded[0].record;
    TRY(trx_log(m->trx, m->records, 1, &stamp));
    for (int i = 1; i <= m->parent; i++)
        btree__apply_free(m->upper[i].page);
    btree__apply_free(m->source.page);
    btree__apply_emptied_root(m->upper[0].page);
    finish_all(m, &stamp);
    atomic_fetch_add(&btree__counters.empty_pages, 1);
    *done = true;
out:
    release_all(m);
    return err;
}

/* ---- which way ---- */

struct leaf_look {
    pgno_t left, right;
    bool empty;
    bool fits_right;
};

static err_t look_at_leaf(struct merge *m, pgno_t pgno, pgno_t right_of_parent, struct leaf_look *out)
{
    err_t err = JET_errSuccess;
    struct page_ref leaf = PAGE_REF_NONE, right = PAGE_REF_NONE;
    TRY(btree__latch(m->tree, pgno, LATCH_READ, CACHE_WAIT, &leaf));
    *out = (struct leaf_look){page_prev(leaf.page), page_next(leaf.page), btree__all_settled(m->tree, leaf.page), false};
    if (!out->empty && right_of_parent != PGNO_NIL && right_of_parent == out->right) {
        TRY(btree__latch(m->tree, right_of_parent, LATCH_READ, CACHE_WAIT, &right));
        out->fits_right = btree__fits(leaf.page, right.page);
    }
out:
    cache_release(&right);
    cache_release(&leaf);
    return err;
}

/* Merges the leaf under `line` of the parent, if it is empty or fits into its right neighbour under the same parent. */
static err_t merge_line(struct merge *m, int line, bool *done)
{
    struct branch_line at, next = {.child = PGNO_NIL};
    struct leaf_look look;
    TRY_RETURN(look_at_branch(m, m->parent, line, &at));
    if (line + 1 < at.count)
        TRY_RETURN(look_at_branch(m, m->parent, line + 1, &next));
    TRY_RETURN(look_at_leaf(m, at.child, next.child, &look));
    if (!look.empty && !look.fits_right)
        return JET_errSuccess;
    m->path.level[m->parent].line = line;
    TRY_RETURN(plan_removal(m));
    if (m->stays)
        return JET_errSuccess;
    if (m->whole_tree)
        return look.empty ? empty_tree(m, at.child, done) : JET_errSuccess;
    if (look.empty)
        return empty_leaf(m, look.left, at.child, look.right, done);
    return move_right(m, look.left, at.child, look.right, done);
}

/* ---- three into two ---- */

static err_t look_at_three(struct merge *m, pgno_t left, pgno_t middle, pgno_t right, int *cut)
{
    err_t err = JET_errSuccess;
    struct page_ref l = PAGE_REF_NONE, c = PAGE_REF_NONE, r = PAGE_REF_NONE;
    *cut = -1;
    TRY(btree__latch(m->tree, left, LATCH_READ, CACHE_WAIT, &l));
    TRY(btree__latch(m->tree, middle, LATCH_READ, CACHE_WAIT, &c));
    TRY(btree__latch(m->tree, right, LATCH_READ, CACHE_WAIT, &r));
    if (btree__is_sparse(c.page) && page_next(l.page) == middle && page_next(c.page) == right)
        *cut = btree__cut_of_three(l.page, c.page, r.page);
out:
    cache_release(&r);
    cache_release(&c);
    cache_release(&l);
    return err;
}

static err_t joined_node(struct merge *m, struct page page, int line, struct buffer *out)
{
    struct node node;
    TRY_RETURN(page_node(page, line, &node));
    TRY_RETURN(buffer_reserve(out, node_key_size(&node) + node.data.n));
    out->n = node_key_copy(&node, out->p);
    return m->tree->unique ? JET_errSuccess : buffer_append(out, node.data);
}

/* The shortest string above the line before the cut, and not above the cut. */
static err_t separate_at(struct merge *m, struct page page, int cut)
{
    err_t err = JET_errSuccess;
    struct buffer before = {0};
    TRY(joined_node(m, page, cut - 1, &before));
    TRY(joined_node(m, page, cut, &m->separator));
    uint32_t n = slice_common_prefix(buffer_slice(&before), buffer_slice(&m->separator)) + 1;
    if (n < m->separator.n)
        m->separator.n = n;
out:
    buffer_free(&before);
    return err;
}

/* The source's lines from the cut on go to the right neighbour; the parent's separator between them follows. */
static err_t move_part_right(struct merge *m, pgno_t left, pgno_t source, pgno_t right, bool *done)
{
    err_t err = JET_errSuccess;
    uint32_t kept_stays, kept_moves, kept_dest;
    int cut;
    TRY(latch_all(m, left, source, right));
    cut = btree__cut_of_three(m->left.page, m->source.page, m->right.page); /* anew: now nobody changes them */
    if (cut < 0)
        goto out;
    cache_release(&m->left); /* it does not change, and its links do not either */
    TRY(cache_log_undo_info(&m->source));
    TRY(btree__uncommitted_free(m->tree, m->source.page, 0, cut, &kept_stays));
    TRY(btree__uncommitted_free(m->tree, m->source.page, cut, page_line_count(m->source.page), &kept_moves));
    TRY(btree__uncommitted_free(m->tree, m->right.page, 0, page_line_count(m->right.page), &kept_dest));
    TRY(separate_at(m, m->source.page, cut));
    m->type = MERGE_PARTIAL_RIGHT;
    m->line_merge = cut;
    plan_records(m, kept_moves + kept_dest);
    if (!uppers_take_it(m))
        goto out;
    TRY(btree__build_merge_dest(m->source.page, m->right.page, &m->plan.level[m->plan.count - 1], (struct page){m->dest, m->right.page.size}));
    TRY(log_merge(m));
    btree__keep_free(m->source.page, kept_stays);
    atomic_fetch_add(&btree__counters.merges, 1);
    *done = true;
out:
    release_all(m);
    return err;
}

static err_t merge_three(struct merge *m, int line, bool *done)
{
    struct branch_line left, middle, right;
    bool moved = false;
    int cut;
    TRY_RETURN(look_at_branch(m, m->parent, line, &middle));
    if (line == 0 || line + 1 >= middle.count)
        return JET_errSuccess;
    TRY_RETURN(look_at_branch(m, m->parent, line - 1, &left));
    TRY_RETURN(look_at_branch(m, m->parent, line + 1, &right));
    TRY_RETURN(look_at_three(m, left.child, middle.child, right.child, &cut));
    if (cut < 0)
        return JET_errSuccess;
    m->path.level[m->parent].line = line;
    memset(m->flags, 0, sizeof m->flags);
    m->flags[m->parent] = MERGE_KEY_CHANGE;
    m->top = m->parent;
    TRY_RETURN(move_part_right(m, left.child, middle.child, right.child, &moved));
    return moved ? merge_line(m, line - 1, done) : JET_errSuccess;
}

/* The merge is made, whatever the source says: it keeps in mind what it could not take. */
static void give_back(struct merge *m)
{
    struct btree *tree = m->tree;
    struct err_origin origin = *err_last();
    for (int i = 0; i < m->freed_count; i++) {
        pgno_t hint = m->freed[i];
        atomic_compare_exchange_strong(&tree->last_leaf, &hint, PGNO_NIL);
        (void)!tree->source->give(tree, m->trx, m->freed[i]);
    }
    err_restore(&origin);
}

static err_t merge_around(struct merge *m, struct slice joined)
{
    bool done = false;
    TRY_RETURN(btree__path(m->tree, joined, &m->path));
    m->parent = m->path.depth - 2;
    if (m->parent < 0)
        return JET_errSuccess;
    int line = m->path.level[m->parent].line;
    TRY_RETURN(merge_line(m, line, &done));
    if (!done && line > 0)
        TRY_RETURN(merge_line(m, line - 1, &done));
    if (!done)
        TRY_RETURN(merge_three(m, line, &done));
    if (done)
        give_back(m);
    return JET_errSuccess;
}

err_t btree__merge(struct btree *tree, struct trx *trx, struct slice joined)
{
    err_t err = JET_errSuccess;
    struct inner_scope scope = {0};
    struct merge *m = calloc(1, sizeof *m);
    if (m == NULL)
        return RAISE(JET_errOutOfMemory);
    btree__lock_structure(tree);
    TRY(btree__inner_begin(trx, &scope));
    m->tree = tree;
    m->trx = scope.trx;
    err = merge_around(m, joined);
out:
    if (scope.trx != NULL) {
        err_t end = btree__inner_end(&scope);
        err = err < 0 ? err : end;
    }
    btree__unlock_structure(tree);
    buffer_free(&m->separator);
    free(m);
    return err;
}
