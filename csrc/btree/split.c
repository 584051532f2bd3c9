/* Splits: planned under the tree's split lock, pages taken before any latch, then latched top down,
 * logged as one macro, copied into place.
 *
 * One call makes at most one macro. When it could not take the change along (the root had to move
 * its contents down first, the page had to be cut without it, somebody else changed the leaf) the
 * caller looks again from the start: it holds no promise about the node while no latch is held. */
#include "btree/split.h"
#include "btree/btree_apply.h"

struct level {
    struct page_ref ref;   /* a page of the path */
    struct page_ref fresh; /* its new right half; NONE: this page only gets the child's pointers */
    struct split_record record;
    struct split_operation oper;
    struct buffer separator; /* between ref and fresh */
    struct buffer prefix;    /* the source's new one */
    uint8_t child[4];
    uint8_t *images; /* both pages as they will be: ref's, fresh's */
    struct encoded encoded;
};

struct job {
    struct btree *tree;
    struct trx *trx;
    const struct bookmark *at;
    struct change *change;
    struct inner_scope inner;
    struct tree_path path;
    struct level level[BTREE_DEPTH_MAX]; /* as in the path; those from `cleared` on hold nothing yet, not even zeros */
    int cleared;
    int top;                             /* first latched level */
    int from, to;                        /* levels that the macro changes */
    int wanted;                          /* levels to latch above the leaf */
    int need;                            /* pages */
    pgno_t taken[BTREE_DEPTH_MAX + 1];
    int taken_count, used;
    bool with_change; /* the macro makes the change, too */
    struct page_ref right;
    pgno_t right_hint; /* to be in memory before latches are taken */
    err_t kept_err;
    struct encoded begin, leaf_record, commit;
    uint8_t diff[PAGE_SIZE_MAX]; /* scratch; all before it but the levels starts as zero */
};

enum verdict { STALE, FITS, MORE, SPLIT, ALONE };

/* ---- latches ---- */

static void release_all(struct job *j)
{
    cache_release(&j->right);
    for (int i = j->cleared - 1; i >= 0; i--) {
        if (j->level[i].fresh.frame != NULL)
            cache_release(&j->level[i].fresh);
        if (j->level[i].ref.frame != NULL)
            cache_release(&j->level[i].ref);
    }
}

static struct level *leaf_of(struct job *j)
{
    return &j->level[j->path.depth - 1];
}

/* Most trees have few levels, and most splits are of one page: the others are not worth being written. */
static void clear_levels(struct job *j)
{
    if (j->cleared < j->path.depth) {
        memset(&j->level[j->cleared], 0, (size_t)(j->path.depth - j->cleared) * sizeof j->level[0]);
        j->cleared = j->path.depth;
    }
}

static err_t latch_path(struct job *j)
{
    TRY_RETURN(btree__path(j->tree, j->at->joined, &j->path));
    clear_levels(j);
    int leaf = j->path.depth - 1;
    j->top = leaf > j->wanted ? leaf - j->wanted : 0;
    for (int i = j->top; i <= leaf; i++)
        TRY_RETURN(btree__latch(j->tree, j->path.level[i].pgno, LATCH_WRITE, CACHE_WAIT,
                                &j->level[i].ref));
    if ((page_flags(leaf_of(j)->ref.page) & PAGE_LEAF) == 0)
        return RAISE(JET_errDatabaseCorrupted);
    return JET_errSuccess;
}

/* ---- plan: the leaf ---- */

static err_t has_room(struct job *j, struct page page, bool *yes)
{
    const struct change *change = j->change;
    switch (change->type) {
    case LOG_Insert:
        *yes = page_can_insert(page, change->key, change->data);
        return JET_errSuccess;
    case LOG_Undo: /* the room kept for rollbacks is its own */
        *yes = page_can_replace_reserved(page, change->line, change->data.n, UINT32_MAX);
        return JET_errSuccess;
    default:
        return btree__can_replace(j->tree, page, change->line, change->data.n, yes);
    }
}

/* Nobody had the leaf since the change was checked; or it is an insert and its place is still free.
 */
static bool is_fresh(struct job *j)
{
    struct page page = leaf_of(j)->ref.page;
    bool equal;
    if (page_dbtime(page) == j->change->seen)
        return true;
    if (j->change->type != LOG_Insert)
        return false;
    j->change->line = btree__find_line(j->tree, page, j->at, &equal);
    return !equal;
}

static enum split_oper_kind oper_of(const struct change *change)
{
    switch (change->type) {
    case LOG_Insert:
        return SPLIT_OPER_INSERT;
    case LOG_FlagInsertAndReplaceData:
        return SPLIT_OPER_FLAG_INSERT_REPLACE;
    case LOG_Undo:
        return SPLIT_OPER_NONE;
    default:
        ENFORCE(change->type == LOG_Replace);
        return SPLIT_OPER_REPLACE;
    }
}

static uint32_t kept_of(const struct split_view *v, int first, int last)
{
    struct job *j = v->context;
    uint32_t n = 0;
    err_t err = btree__uncommitted_free(j->tree, v->page, first, last, &n);
    if (err < 0)
        j->kept_err = err;
    return n;
}

static err_t node_bytes(const struct node *node, bool with_data, struct buffer *out)
{
    TRY_RETURN(buffer_reserve(out, node_key_size(node) + node->data.n));
    out->n = node_key_copy(node, out->p);
    return with_data ? buffer_append(out, node->data) : JET_errSuccess;
}

static err_t line_key(const struct split_view *v, int line, struct buffer *out)
{
    struct node node;
    split_line_get(v, line, &node);
    return node_bytes(&node, false, out);
}

/* The shortest string above all up to `left` and not above `right`, its neighbour. */
static err_t make_separator(struct job *j, const struct node *left, const struct node *right,
                            struct buffer *out)
{
    err_t err = JET_errSuccess;
    struct buffer below = {0};
    bool joined = !j->tree->unique;

    TRY(node_bytes(left, joined, &below));
    TRY(node_bytes(right, joined, out));
    uint32_t n = slice_common_prefix(buffer_slice(&below), buffer_slice(out)) + 1;
    if (n > out->n)
        FAIL(JET_errDatabaseCorrupted); /* out of order */
    out->n = n;
out:
    buffer_free(&below);
    return err;
}

/* Fields of a level that is cut. */
static err_t fill_cut(struct level *l, const struct split_view *v, const struct split_cut *cut,
                      enum split_type type)
{
    struct split_record *r = &l->record;
    uint32_t flags = page_flags(l->ref.page);
    r->type = (uint8_t)type;
    r->oper = (uint8_t)v->oper;
    r->line_oper = (uint16_t)v->line_oper;
    r->line_split = (uint16_t)cut->line_split;
    r->lines = (uint16_t)split_view_lines(v);
    r->new_flags = flags & (PAGE_LEAF | PAGE_PARENT_OF_LEAF | PAGE_SPACE_TREE | PAGE_INDEX |
                            PAGE_LONG_VALUE | PAGE_NON_UNIQUE);
    r->split_flags = flags & ~(uint32_t)PAGE_FLUSH_TYPE_MASK;
    r->free_source = (int16_t)cut->kept_source;
    r->free_new = (int16_t)cut->kept_new;
    r->prefix_line_split = cut->prefix_split;
    r->prefix_line_new = cut->prefix_new;
    r->pgno_new = 1; /* to come */
    if (type == SPLIT_RIGHT) {
        r->prefix_old = page_prefix(l->ref.page);
        l->prefix.n = 0;
        if (cut->prefix_split >= 0)
            TRY_RETURN(line_key(v, cut->prefix_split, &l->prefix));
        r->prefix_new = buffer_slice(&l->prefix);
    }
    return JET_errSuccess;
}

/* At the right end of the tree the new page gets the new node alone and the left one stays full:
 * only its last node is looked at. */
static err_t plan_append(struct job *j, const struct split_view *v, bool *append)
{
    struct level *l = leaf_of(j);
    int count = page_line_count(v->page);
    struct node last, added = {.suffix = v->key, .data = v->data};
    *append = v->oper == SPLIT_OPER_INSERT && v->line_oper == count && count > 0 &&
              page_next(v->page) == PGNO_NIL;
    if (!*append)
        return JET_errSuccess;
    TRY_RETURN(page_node(v->page, count - 1, &last));
    uint8_t key[PAGE_SIZE_MAX];
    uint32_t n = node_key_copy(&last, key);
    uint32_t common = slice_common_prefix(SLICE(key, n), v->key),
             most = page_node_most(v->page.size);
    bool shares = common > 2 && 4 + v->key.n + 4 + v->data.n <= most;
    struct split_cut cut = {
        .line_split = count, .prefix_split = -1, .prefix_new = shares ? 0 : -1};
    cut.kept_source = page_uncommitted_free(v->page);
    TRY_RETURN(fill_cut(l, v, &cut, SPLIT_APPEND));
    return make_separator(j, &last, &added, &l->separator);
}

/* *alone: the leaf has one node, and a prefix beside which the new data has no place. */
static err_t plan_right(struct job *j, struct split_view *v, bool *alone)
{
    err_t err = JET_errSuccess;
    struct level *l = leaf_of(j);
    struct split_cut cut;
    TRY(split_view_open(v));
    if (!split_choose(v, 0, &cut)) {
        v->oper = SPLIT_OPER_NONE;
        v->line_oper = 0;
        *alone = !split_choose(v, 0, &cut);
    }
    TRY(j->kept_err);
    if (!*alone) {
        struct node left, right;
        split_line_get(v, cut.line_split - 1, &left);
        split_line_get(v, cut.line_split, &right);
        TRY(fill_cut(l, v, &cut, SPLIT_RIGHT));
        TRY(make_separator(j, &left, &right, &l->separator));
    }
out:
    split_view_close(v);
    return err;
}

static err_t plan_leaf(struct job *j, bool *alone)
{
    struct level *l = leaf_of(j);
    struct split_view v = {
        .page = l->ref.page,
        .oper = oper_of(j->change),
        .line_oper = oper_of(j->change) == SPLIT_OPER_NONE ? 0 : j->change->line,
        .key = j->change->key,
        .data = j->change->data,
        .kept = kept_of,
        .context = j,
    };
    bool append;
    *alone = false;
    TRY_RETURN(plan_append(j, &v, &append));
    if (!append)
        TRY_RETURN(plan_right(j, &v, alone));
    j->with_change = v.oper != SPLIT_OPER_NONE;
    l->record.separator = buffer_slice(&l->separator);
    l->oper = (struct split_operation){
        .key = v.key, .data = v.data, .versioned = j->change->version != NULL};
    return JET_errSuccess;
}

/* ---- plan: above the leaf ---- */

/* The root keeps its place: all it has goes to one new page, under it. Nothing else in this macro.
 */
static err_t plan_vertical(struct job *j)
{
    struct level *l = &j->level[0];
    bool leaf = (page_flags(l->ref.page) & PAGE_LEAF) != 0;
    struct split_view v = {.page = l->ref.page, .kept = NULL};
    struct split_cut cut = {.line_split = 0, .prefix_split = -1, .prefix_new = -1};
    int count = page_line_count(v.page);

    for (int line = 0; line < count; line++) { /* all of them move: each has to be one */
        struct node node;
        TRY_RETURN(page_node(v.page, line, &node));
    }
    cut.prefix_new = page_best_prefix(v.page, 0, count);
    if (cut.prefix_new >=
        0) { /* it was chosen to save bytes; a root that uses none must not lose */
        struct node node;
        TRY_RETURN(page_node(v.page, cut.prefix_new, &node));
        uint8_t key[PAGE_SIZE_MAX];
        uint32_t n = node_key_copy(&node, key);
        uint32_t kept = leaf ? page_uncommitted_free(v.page) : 0;
        if (n + page_lines_cost(v.page, 0, count, SLICE(key, n)) + kept >
            page_node_most(v.page.size) + 4)
            cut.prefix_new = -1;
    }
    cut.kept_new = leaf ? page_uncommitted_free(v.page) : 0;
    TRY_RETURN(fill_cut(l, &v, &cut, SPLIT_VERTICAL));
    l->record.split_flags &= ~(uint32_t)(PAGE_LEAF | PAGE_PARENT_OF_LEAF);
    if (leaf)
        l->record.split_flags |= PAGE_PARENT_OF_LEAF;
    l->oper = (struct split_operation){0};
    j->with_change = false;
    j->from = j->to = 0;
    return JET_errSuccess;
}

/* A branch page takes the pointer to its split child, and is cut if it must be. */
static err_t plan_branch(struct job *j, int i, bool append, bool *cut_it)
{
    struct level *l = &j->level[i], *below = &j->level[i + 1];
    struct page page = l->ref.page;
    int line = j->path.level[i].line, count = page_line_count(page);
    struct slice key = buffer_slice(&below->separator);
    pgno_t child;

    TRY_RETURN(page_child(page, line, &child));
    if (child != below->ref.pgno)
        return RAISE(JET_errDatabaseCorrupted);
    store_u32(l->child, child);
    l->oper = (struct split_operation){.key = key, .data = SLICE(l->child, 4)};
    l->record = (struct split_record){.line_oper = (uint16_t)line, .right_before = DBTIME_NIL};
    *cut_it = !page_can_insert(page, key, SLICE(l->child, 4));
    if (!*cut_it || i == 0)
        return JET_errSuccess;

    struct split_view v = {.page = page,
                           .oper = SPLIT_OPER_INSERT,
                           .line_oper = line,
                           .key = key,
                           .data = SLICE(l->child, 4)};
    struct split_cut cut;
    err_t err = JET_errSuccess;
    TRY(split_view_open(&v));
    /* Growing at the right end: leave the left page full. */
    if (!split_choose(&v, append && line == count - 1 ? count - 1 : 0, &cut))
        FAIL(JET_errDatabaseCorrupted); /* separators are at most half a page */
    TRY(fill_cut(l, &v, &cut, SPLIT_RIGHT));
    TRY(line_key(&v, cut.line_split - 1, &l->separator));
    l->record.separator = buffer_slice(&l->separator);
out:
    split_view_close(&v);
    return err;
}

static err_t plan(struct job *j, enum verdict *verdict)
{
    struct level *leaf = leaf_of(j);
    int i = j->path.depth - 1, pages = 1;
    bool fits;

    *verdict = STALE;
    if (!is_fresh(j))
        return JET_errSuccess;
    *verdict = FITS;
    TRY_RETURN(has_room(j, leaf->ref.page, &fits));
    if (fits)
        return JET_errSuccess;
    *verdict = MORE;
    if (i == 0) {
        TRY_RETURN(plan_vertical(j));
    } else {
        bool cut_it = true, alone;
        TRY_RETURN(plan_leaf(j, &alone));
        if (alone) {
            *verdict = ALONE;
            return JET_errSuccess;
        }
        for (i--; cut_it; i--) {
            if (i < j->top) {
                j->wanted++;
                return JET_errSuccess;
            }
            TRY_RETURN(plan_branch(j, i, leaf->record.type == SPLIT_APPEND, &cut_it));
            if (cut_it && i == 0) {
                TRY_RETURN(plan_vertical(j));
                pages = 1;
                break;
            }
            pages += cut_it;
            j->from = i;
        }
        if (!cut_it)
            j->to = j->path.depth - 1;
    }
    j->need = pages;
    if (j->taken_count < pages) {
        j->right_hint = page_next(leaf->ref.page);
        return JET_errSuccess;
    }
    *verdict = SPLIT;
    return JET_errSuccess;
}

/* ---- the macro ---- */

static err_t latch_new_pages(struct job *j)
{
    bool leaf = j->to == j->path.depth - 1 && j->to > 0;
    j->used = 0;
    for (int i = j->from; i <= j->to; i++) {
        struct level *l = &j->level[i];
        if (l->record.pgno_new == PGNO_NIL)
            continue;
        l->record.pgno_new = j->taken[j->used++];
        TRY_RETURN(
            cache_latch(j->tree->db, l->record.pgno_new, LATCH_WRITE, CACHE_NO_READ, &l->fresh));
        if (l->images == NULL)
            l->images = malloc((size_t)l->ref.page.size * 2);
        if (l->images == NULL)
            return RAISE(JET_errOutOfMemory);
    }
    if (!leaf)
        return JET_errSuccess;
    pgno_t right = page_next(j->level[j->to].ref.page);
    if (right != PGNO_NIL)
        TRY_RETURN(btree__latch(j->tree, right, LATCH_WRITE, CACHE_WAIT, &j->right));
    return JET_errSuccess;
}

static struct page image_of(const struct level *l, int which)
{
    uint32_t size = l->ref.page.size;
    return (struct page){l->images + (size_t)which * size, size};
}

static err_t build_level(struct job *j, int i)
{
    struct level *l = &j->level[i];
    struct split_record *r = &l->record;
    struct btree *tree = j->tree;
    unsigned flags = (tree->unique ? LOG_FLAG_UNIQUE : 0u) |
                     ((tree->page_flags & PAGE_SPACE_TREE) != 0 ? LOG_FLAG_SPACE : 0u);

    r->head = btree_record_head(j->trx, LOG_Split2, tree->db->dbid, l->ref.pgno,
                                page_dbtime(l->ref.page), 0, flags);
    r->root = tree->root;
    r->objid = tree->objid;
    r->right_before = r->parent_before = DBTIME_NIL;
    r->pgno_parent = PGNO_NIL;
    l->oper.child_new = i < j->to ? j->level[i + 1].record.pgno_new : PGNO_NIL;
    if (r->pgno_new != PGNO_NIL && i > j->from) {
        r->pgno_parent = j->level[i - 1].ref.pgno;
        r->parent_before = page_dbtime(j->level[i - 1].ref.page);
    }
    if (j->right.frame != NULL && i == j->to) {
        r->pgno_right = j->right.pgno;
        r->right_before = page_dbtime(j->right.page);
    }
    if (r->pgno_new != PGNO_NIL) {
        TRY_RETURN(btree__build_split(r, &l->oper, l->ref.page, image_of(l, 0), image_of(l, 1)));
        if (btree__split_needs_image(r))
            r->image = SLICE(l->ref.page.p, l->ref.page.size);
    }
    btree_encode_split(r, &l->encoded);
    return JET_errSuccess;
}

static void mark_dirty(struct job *j)
{
    lgpos_t bound = trx_begin_bound(j->trx);
    for (int i = j->from; i <= j->to; i++) {
        cache_mark_dirty(&j->level[i].ref, bound);
        if (j->level[i].fresh.frame != NULL)
            cache_mark_dirty(&j->level[i].fresh, bound);
    }
    if (j->right.frame != NULL)
        cache_mark_dirty(&j->right, bound);
}

static err_t log_macro(struct job *j, struct log_stamp *stamp)
{
    struct log_record records[BTREE_DEPTH_MAX + 3];
    int n = 0;
    struct macro_record macro = {.type = LOG_MacroBegin, .procid = j->trx->procid};

    btree_encode_macro(&macro, &j->begin);
    records[n++] = j->begin.record;
    for (int i = j->from; i <= j->to; i++)
        records[n++] = j->level[i].encoded.record;
    if (j->with_change) {
        btree__encode_change(j->tree, j->trx, &j->level[j->to].ref, j->change, DBTIME_NIL, j->diff,
                             &j->leaf_record);
        records[n++] = j->leaf_record.record;
    }
    macro.type = LOG_MacroCommit;
    btree_encode_macro(&macro, &j->commit);
    records[n++] = j->commit.record;
    return trx_log(j->trx, records, n, stamp);
}

static void put_page(struct page_ref *ref, const uint8_t *bytes, const struct log_stamp *stamp)
{
    if (bytes != NULL)
        memcpy(ref->page.p, bytes, ref->page.size);
    page_set_dbtime(ref->page, stamp->dbtime);
    cache_set_lgpos(ref, stamp->end);
}

/* After the log: nothing here can fail. */
static void put_in_place(struct job *j, const struct log_stamp *stamp)
{
    bool undo = cache_has_undo(&j->level[j->to].ref) ||
                (j->with_change && btree__needs_undo_info(j->change));
    if (j->with_change)
        btree__publish_change(j->trx, j->change);
    for (int i = j->from; i <= j->to; i++) {
        struct level *l = &j->level[i];
        if (l->fresh.frame != NULL) {
            put_page(&l->ref, l->images, stamp);
            put_page(&l->fresh, l->images + l->ref.page.size, stamp);
        } else {
            btree__apply_branch_insert(l->ref.page, l->record.line_oper, l->oper.key,
                                       j->level[i + 1].ref.pgno, l->oper.child_new);
            put_page(&l->ref, NULL, stamp);
        }
    }
    struct level *last = &j->level[j->to];
    if ((last->record.new_flags & PAGE_LEAF) != 0) {
        if (undo) {
            cache_note_undo(&last->ref);
            cache_note_undo(&last->fresh);
        }
        if (page_next(last->fresh.page) == PGNO_NIL)
            j->tree->last_leaf = last->fresh.pgno;
    }
    if (j->right.frame != NULL) {
        page_set_prev(j->right.page, last->fresh.pgno);
        put_page(&j->right, NULL, stamp);
    }
}

static err_t make_macro(struct job *j)
{
    struct log_stamp stamp = {.dbtime_counter = &j->tree->db->dbtime};
    TRY_RETURN(latch_new_pages(j));
    for (int i = j->from; i <= j->to; i++)
        TRY_RETURN(build_level(j, i));
    if ((j->level[j->to].record.new_flags & PAGE_LEAF) != 0 && cache_has_undo(&j->level[j->to].ref))
        TRY_RETURN(cache_log_undo_info(&j->level[j->to].ref));
    mark_dirty(j);
    TRY_RETURN(log_macro(j, &stamp));
    put_in_place(j, &stamp);
    btree__counters.splits++;
    for (int i = 0; i < j->taken_count - j->used; i++)
        j->taken[i] = j->taken[i + j->used];
    j->taken_count -= j->used;
    return JET_errSuccess;
}

/* The only node of a leaf wants to grow: the part of the page's prefix that it does not use makes
 * way. */
static err_t cut_prefix(struct job *j)
{
    struct page_ref *leaf = &leaf_of(j)->ref;
    struct node node;
    uint8_t prefix[PAGE_SIZE_MAX];
    TRY_RETURN(page_node(leaf->page, 0, &node));
    if (page_line_count(leaf->page) != 1 || page_prefix(leaf->page).n <= node.prefix.n) {
        err_t err = RAISE(JET_errRecordTooBig);
        err_detail("a node of page %u of %s has no room to grow", leaf->pgno, j->tree->db->path);
        return err;
    }
    if (node.prefix.n != 0)
        memcpy(prefix, node.prefix.p, node.prefix.n);
    struct change change = {.type = LOG_SetExternalHeader, .data = SLICE(prefix, node.prefix.n)};
    return btree__change(j->tree, j->trx, leaf, &change);
}

/* ---- pages, and the whole ---- */

static err_t take_pages(struct job *j)
{
    struct page_ref right = PAGE_REF_NONE;
    while (j->taken_count < j->need) {
        pgno_t near = j->path.depth > 0 ? j->path.level[j->path.depth - 1].pgno : j->tree->root;
        TRY_RETURN(j->tree->source->take(j->tree, j->inner.trx, near, &j->taken[j->taken_count]));
        j->taken_count++;
    }
    if (j->right_hint != PGNO_NIL) { /* read it in while no latch is held */
        TRY_RETURN(cache_latch(j->tree->db, j->right_hint, LATCH_READ, CACHE_WAIT, &right));
        cache_release(&right);
        j->right_hint = PGNO_NIL;
    }
    return JET_errSuccess;
}

/* The source keeps in mind what it could not take: the change itself may have been made, and says so. */
static void give_back(struct job *j)
{
    if (j->taken_count == 0)
        return;
    struct err_origin origin = *err_last();
    while (j->taken_count > 0)
        (void)!j->tree->source->give(j->tree, j->inner.trx, j->taken[--j->taken_count]);
    err_restore(&origin);
}

/* Nearly every call needs one page: it is taken at once, and the leaf's right neighbour read in, so
 * that one plan is enough. A rollback first looks whether it can do without. */
static err_t look_ahead(struct job *j)
{
    struct page_ref leaf = PAGE_REF_NONE;
    if (j->change->type == LOG_Undo)
        return JET_errSuccess;
    j->need = 1;
    if (j->change->behind_all)
        return JET_errSuccess;
    TRY_RETURN(btree__path(j->tree, j->at->joined, &j->path));
    pgno_t pgno = j->path.level[j->path.depth - 1].pgno;
    TRY_RETURN(btree__latch(j->tree, pgno, LATCH_READ, CACHE_WAIT, &leaf));
    j->right_hint = page_next(leaf.page);
    cache_release(&leaf);
    return JET_errSuccess;
}

static err_t run(struct job *j, bool *done)
{
    enum verdict verdict = MORE;
    TRY_RETURN(look_ahead(j));
    while (verdict == MORE) {
        release_all(j);
        TRY_RETURN(take_pages(j));
        TRY_RETURN(latch_path(j));
        TRY_RETURN(plan(j, &verdict));
    }
    if (verdict == FITS && j->change->type != LOG_Undo) {
        TRY_RETURN(btree__change(j->tree, j->trx, &leaf_of(j)->ref, j->change));
        *done = true;
    } else if (verdict == ALONE) {
        TRY_RETURN(cut_prefix(j));
    } else if (verdict == SPLIT) {
        TRY_RETURN(make_macro(j));
        *done = j->with_change;
    } else {
        btree__counters.retries++;
    }
    return JET_errSuccess;
}

err_t btree__split(struct btree *tree, struct trx *trx, const struct bookmark *at,
                   struct change *change, bool *done)
{
    err_t err = JET_errSuccess, ended;
    bool locked = false;
    struct job *j = malloc(sizeof *j);

    *done = false;
    if (j == NULL)
        FAIL(JET_errOutOfMemory);
    memset(j, 0, offsetof(struct job, level));
    memset(&j->cleared, 0, offsetof(struct job, diff) - offsetof(struct job, cleared));
    j->tree = tree;
    j->trx = trx;
    j->at = at;
    j->change = change;
    j->change->shared = 0; /* the leaf was let go */
    j->wanted = 1;
    btree__lock_structure(tree);
    locked = true;
    TRY(btree__inner_begin(trx, &j->inner));
    err = run(j, done);
    release_all(j);
    give_back(j);
    ended = btree__inner_end(&j->inner);
    if (err >= 0)
        err = ended;
out:
    if (locked)
        btree__unlock_structure(tree);
    btree__cancel_change(change);
    for (int i = 0; j != NULL && i < j->cleared; i++) {
        buffer_free(&j->level[i].separator);
        buffer_free(&j->level[i].prefix);
        free(j->level[i].images);
    }
    free(j);
    return err;
}
