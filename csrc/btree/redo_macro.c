/* Redo of macros: splits, merges, moved pages. Each page is tested by itself; a page that must be made anew from one that
 * is newer already is made from the image in the record. */
#include "btree/btree_redo.h"

/* Memory of one level's work, too large for the stack of a deep call. */
struct macro_room {
    uint8_t image[PAGE_SIZE_MAX];
    uint8_t source[PAGE_SIZE_MAX];
    uint8_t fresh[PAGE_SIZE_MAX];
    uint8_t data[PAGE_SIZE_MAX];
};

/* The pages of one level. */
struct level {
    struct redo_page source, fresh, left, right;
};

static void close_level(struct level *l)
{
    btree__redo_close(&l->right);
    btree__redo_close(&l->fresh);
    btree__redo_close(&l->source);
    btree__redo_close(&l->left);
}

static bool present(const struct redo_page *page)
{
    return page->ref.frame != NULL;
}

static void count_level(struct redo *redo, const struct level *l)
{
    const struct redo_page *pages[] = {&l->source, &l->fresh, &l->left, &l->right};
    int needed = 0, there = 0;
    for (int i = 0; i < 4; i++) {
        there += present(pages[i]);
        needed += pages[i]->needed;
    }
    if (needed != 0 && needed != there)
        atomic_fetch_add(&btree__counters.macro_redone_half, 1);
    uint64_t *at = needed != 0 ? redo->applied : redo->skipped;
    if (at != NULL)
        ++*at;
}

static void dirty_level(struct redo *redo, struct level *l)
{
    btree__redo_dirty(redo, &l->source);
    btree__redo_dirty(redo, &l->fresh);
    btree__redo_dirty(redo, &l->left);
    btree__redo_dirty(redo, &l->right);
}

static void done_level(struct redo *redo, struct level *l, dbtime_t dbtime)
{
    btree__redo_done(redo, &l->source, dbtime);
    btree__redo_done(redo, &l->fresh, dbtime);
    btree__redo_done(redo, &l->left, dbtime);
    btree__redo_done(redo, &l->right, dbtime);
}

/* ---- split ---- */

/* What a split level does, put together from the records around it. */
struct split_step {
    const struct split_record *s;
    const struct split_record *child; /* the level below, NULL at the last */
    const struct node_record *leaf;   /* its operation, NULL when there is none */
    struct split_operation oper;
    uint8_t pointer[4];
};

static err_t check_leaf_kind(const struct split_step *step)
{
    unsigned want = step->s->oper, type = step->leaf == NULL ? 0 : step->leaf->head.type;
    bool fits = want == SPLIT_OPER_INSERT ? type == LOG_Insert
                : want == SPLIT_OPER_REPLACE ? type == LOG_Replace || type == LOG_ReplaceD
                : want == SPLIT_OPER_FLAG_INSERT_REPLACE ? type == LOG_FlagInsertAndReplaceData
                : type == 0;
    return fits ? JET_errSuccess : RAISE(JET_errLogFileCorrupt);
}

/* before.p NULL: the source as it was is not known. *node: the replaced node in it, if it is. */
static err_t set_operation(struct split_step *step, struct page before, struct macro_room *room, struct node *node, bool *has_node)
{
    *has_node = false;
    if (step->child != NULL) {
        store_u32(step->pointer, step->child->head.pgno);
        step->oper = (struct split_operation){step->child->separator, SLICE(step->pointer, 4), false, step->child->pgno_new};
        return step->s->oper == SPLIT_OPER_INSERT || step->s->pgno_new == PGNO_NIL ? JET_errSuccess : RAISE(JET_errLogFileCorrupt);
    }
    TRY_RETURN(check_leaf_kind(step));
    if (step->leaf == NULL)
        return JET_errSuccess;
    const struct node_record *r = step->leaf;
    step->oper = (struct split_operation){btree__record_key(r), r->data, (r->head.flags & LOG_FLAG_VERSIONED) != 0, PGNO_NIL};
    if (step->s->oper == SPLIT_OPER_INSERT)
        return JET_errSuccess;
    if (before.p == NULL) {
        return RAISE(JET_errLogFileCorrupt);
    }
    TRY_RETURN(page_node(before, step->s->line_oper, node));
    *has_node = true;
    if (step->s->oper == SPLIT_OPER_REPLACE && node->data.n != r->old_size)
        return btree__mismatch(before, "replaced data is of another size");
    return btree__record_after(r, node->data, room->data, &step->oper.data);
}

static err_t split_before(const struct split_record *s, const struct level *l, uint32_t page_size, struct macro_room *room,
                          struct page *before)
{
    *before = (struct page){0};
    if (l->source.needed) {
        *before = l->source.ref.page;
    } else if (s->image.n != 0) {
        TRY_RETURN(btree_image_unpack(s->image, s->image_flags, page_size, s->head.before, room->image));
        *before = (struct page){room->image, page_size};
    }
    return JET_errSuccess;
}

static err_t build_and_put(struct redo *redo, struct split_step *step, struct level *l, struct macro_room *room)
{
    const struct split_record *s = step->s;
    uint32_t size = redo->db->page_size;
    struct page before, source = {0}, fresh = {0};
    struct node node;
    bool has_node;
    TRY_RETURN(split_before(s, l, size, room, &before));
    TRY_RETURN(set_operation(step, before, room, &node, &has_node));
    if (l->source.needed)
        source = (struct page){room->source, size};
    if (l->fresh.needed)
        fresh = (struct page){room->fresh, size};
    TRY_RETURN(btree__build_split(s, &step->oper, before, source, fresh));
    if (step->leaf != NULL)
        TRY_RETURN(btree__redo_versions(redo, step->leaf, has_node ? &node : NULL));
    dirty_level(redo, l);
    if (l->source.needed) {
        memcpy(l->source.ref.page.p, source.p, size);
        cache_note_undo(&l->source.ref);
    }
    if (l->fresh.needed) {
        memcpy(l->fresh.ref.page.p, fresh.p, size);
        cache_note_undo(&l->fresh.ref);
    }
    return JET_errSuccess;
}

static err_t redo_split_level(struct redo *redo, struct split_step *step, struct macro_room *room)
{
    err_t err = JET_errSuccess;
    const struct split_record *s = step->s;
    dbtime_t dbtime = s->head.dbtime;
    struct level l = {0};
    TRY(btree__redo_open(redo, s->head.pgno, dbtime, s->head.before, REDO_CHANGE, &l.source));
    TRY(btree__redo_open(redo, s->pgno_new, dbtime, DBTIME_NIL, REDO_CREATE, &l.fresh));
    TRY(btree__redo_open(redo, s->pgno_right, dbtime, s->right_before, REDO_CHANGE, &l.right));
    count_level(redo, &l);
    if (l.right.needed)
        TRY(btree__redo_check_objid(l.right.ref.page, s->objid));
    if (l.source.needed || l.fresh.needed) {
        TRY(build_and_put(redo, step, &l, room));
    } else {
        dirty_level(redo, &l);
        if (step->leaf != NULL)
            TRY(btree__redo_versions(redo, step->leaf, NULL));
    }
    if (l.right.needed)
        page_set_prev(l.right.ref.page, s->pgno_new);
    done_level(redo, &l, dbtime);
    btree__redo_note_moved(redo, s->objid, s->root, &l.fresh);
out:
    close_level(&l);
    return err;
}

/* The parent that takes the pointers and does not split. */
static err_t redo_split_parent(struct redo *redo, const struct split_record *s, const struct split_record *child)
{
    err_t err = JET_errSuccess;
    struct level l = {0};
    int line;
    if (child == NULL)
        return RAISE(JET_errLogFileCorrupt);
    TRY(btree__redo_open(redo, s->head.pgno, s->head.dbtime, s->head.before, REDO_CHANGE, &l.source));
    count_level(redo, &l);
    if (l.source.needed) {
        TRY(btree__redo_check_objid(l.source.ref.page, s->objid));
        TRY(btree__check_branch_insert(l.source.ref.page, child->separator, child->head.pgno, &line));
        dirty_level(redo, &l);
        btree__apply_branch_insert(l.source.ref.page, line, child->separator, child->head.pgno, child->pgno_new);
        done_level(redo, &l, s->head.dbtime);
    }
out:
    close_level(&l);
    return err;
}

static err_t redo_split(struct redo *redo, const struct split_plan *plan, const struct node_record *leaf)
{
    err_t err = JET_errSuccess;
    struct macro_room *room = malloc(sizeof *room);
    if (room == NULL)
        return RAISE(JET_errOutOfMemory);
    for (int i = 0; i < plan->count; i++) {
        bool last = i == plan->count - 1;
        struct split_step step = {.s = &plan->level[i], .child = last ? NULL : &plan->level[i + 1], .leaf = last ? leaf : NULL};
        if (step.child != NULL && step.child->pgno_new == PGNO_NIL)
            FAIL(JET_errLogFileCorrupt);
        if (step.s->pgno_new == PGNO_NIL)
            TRY(redo_split_parent(redo, step.s, step.child));
        else
            TRY(redo_split_level(redo, &step, room));
    }
out:
    free(room);
    return err;
}

/* ---- merge ---- */

static err_t check_merge(const struct merge_record *m)
{
    bool left = merge_is_left(m->type);
    if (m->type == MERGE_NONE || m->type == 4 || m->type > MERGE_PARTIAL_LEFT)
        return RAISE(JET_errLogFileCorrupt);
    if (merge_moves(m->type) && (left ? m->pgno_left : m->pgno_right) == PGNO_NIL)
        return RAISE(JET_errLogFileCorrupt);
    return JET_errSuccess;
}

static err_t build_dest(const struct merge_record *m, const struct level *l, uint32_t page_size, struct macro_room *room)
{
    const struct redo_page *dest = merge_is_left(m->type) ? &l->left : &l->right;
    struct page source = l->source.ref.page;
    if (!merge_moves(m->type) || !dest->needed)
        return JET_errSuccess;
    if (!l->source.needed) {
        TRY_RETURN(btree_image_unpack(m->image, m->image_flags, page_size, m->head.before, room->image));
        source = (struct page){room->image, page_size};
    }
    return btree__build_merge_dest(source, dest->ref.page, m, (struct page){room->fresh, page_size});
}

static void put_merge(const struct merge_record *m, struct level *l, uint32_t page_size, const struct macro_room *room)
{
    struct redo_page *dest = merge_is_left(m->type) ? &l->left : &l->right;
    if (merge_moves(m->type) && dest->needed) {
        memcpy(dest->ref.page.p, room->fresh, page_size);
        cache_note_undo(&dest->ref);
    }
    if (l->source.needed)
        btree__apply_merge_source(l->source.ref.page, m);
    btree__apply_merge_links(m, redo_target(&l->left), redo_target(&l->right));
}

static err_t redo_merge_leaf(struct redo *redo, const struct merge_record *m)
{
    err_t err = JET_errSuccess;
    dbtime_t dbtime = m->head.dbtime;
    uint32_t size = redo->db->page_size;
    struct level l = {0};
    struct macro_room *room = malloc(sizeof *room);
    if (room == NULL)
        return RAISE(JET_errOutOfMemory);
    TRY(check_merge(m));
    TRY(btree__redo_open(redo, m->pgno_left, dbtime, m->left_before, REDO_CHANGE, &l.left));
    TRY(btree__redo_open(redo, m->head.pgno, dbtime, m->head.before, REDO_CHANGE, &l.source));
    TRY(btree__redo_open(redo, m->pgno_right, dbtime, m->right_before, REDO_CHANGE, &l.right));
    count_level(redo, &l);
    if (l.left.needed)
        TRY(btree__redo_check_objid(l.left.ref.page, m->objid));
    if (l.right.needed)
        TRY(btree__redo_check_objid(l.right.ref.page, m->objid));
    if (l.source.needed)
        TRY(btree__check_merge_source(l.source.ref.page, m));
    TRY(build_dest(m, &l, size, room));
    dirty_level(redo, &l);
    put_merge(m, &l, size, room);
    done_level(redo, &l, dbtime);
    if (merge_moves(m->type))
        btree__redo_note_moved(redo, m->objid, m->root, merge_is_left(m->type) ? &l.left : &l.right);
out:
    close_level(&l);
    free(room);
    return err;
}

static err_t redo_merge_upper(struct redo *redo, const struct merge_record *m, const struct merge_record *leaf)
{
    err_t err = JET_errSuccess;
    struct level l = {0};
    TRY(btree__redo_open(redo, m->head.pgno, m->head.dbtime, m->head.before, REDO_CHANGE, &l.source));
    count_level(redo, &l);
    if (l.source.needed) {
        TRY(btree__check_merge_upper(l.source.ref.page, m, leaf));
        dirty_level(redo, &l);
        btree__apply_merge_upper(l.source.ref.page, m, leaf);
        done_level(redo, &l, m->head.dbtime);
    }
out:
    close_level(&l);
    return err;
}

static err_t redo_merge(struct redo *redo, const struct merge_plan *plan)
{
    const struct merge_record *leaf = &plan->level[plan->count - 1];
    for (int i = 0; i < plan->count - 1; i++)
        TRY_RETURN(redo_merge_upper(redo, &plan->level[i], leaf));
    return redo_merge_leaf(redo, leaf);
}

/* ---- moved page ---- */

enum { MOVE_ROOT = 1 };

static err_t move_image(const struct page_move_record *r, const struct level *l, uint32_t page_size, uint8_t *to)
{
    if (l->source.needed) {
        memcpy(to, l->source.ref.page.p, page_size);
        return JET_errSuccess;
    }
    uint32_t head = r->image_head.n, tail = r->image_tail.n;
    if (head > page_size || tail > page_size - head || head < LOG_SEGMENT_HEAD)
        return RAISE(JET_errLogFileCorrupt);
    memcpy(to, r->image_head.p, head);
    memset(to + head, 0, page_size - head - tail);
    if (tail != 0)
        memcpy(to + page_size - tail, r->image_tail.p, tail);
    return page_validate((struct page){to, page_size});
}

static err_t redo_move_parent(struct redo *redo, const struct page_move_record *r)
{
    err_t err = JET_errSuccess;
    struct redo_page parent;
    uint8_t pointer[4];
    pgno_t child;
    TRY_RETURN(btree__redo_open(redo, r->pgno_parent, r->head.dbtime, r->parent_before, REDO_CHANGE, &parent));
    if (parent.needed) {
        TRY(btree__redo_check_objid(parent.ref.page, r->objid));
        TRY(page_child(parent.ref.page, r->line_parent, &child));
        if (child != r->head.pgno)
            TRY(btree__mismatch(parent.ref.page, "moved page is not where its parent says"));
        btree__redo_dirty(redo, &parent);
        store_u32(pointer, r->pgno_dest);
        page_replace(parent.ref.page, r->line_parent, SLICE(pointer, 4));
        btree__redo_done(redo, &parent, r->head.dbtime);
    }
out:
    btree__redo_close(&parent);
    return err;
}

err_t btree__redo_page_move(struct redo *redo, const struct page_move_record *r)
{
    err_t err = JET_errSuccess;
    dbtime_t dbtime = r->head.dbtime;
    uint32_t size = redo->db->page_size;
    struct level l = {0};
    uint8_t image[PAGE_SIZE_MAX];
    if (r->pgno_parent != PGNO_NIL && (r->flags & MOVE_ROOT) == 0)
        TRY_RETURN(redo_move_parent(redo, r));
    TRY(btree__redo_open(redo, r->pgno_left, dbtime, r->left_before, REDO_CHANGE, &l.left));
    TRY(btree__redo_open(redo, r->head.pgno, dbtime, r->head.before, REDO_CHANGE, &l.source));
    TRY(btree__redo_open(redo, r->pgno_right, dbtime, r->right_before, REDO_CHANGE, &l.right));
    TRY(btree__redo_open(redo, r->pgno_dest, dbtime, DBTIME_NIL, REDO_CREATE, &l.fresh));
    count_level(redo, &l);
    if (l.fresh.needed)
        TRY(move_image(r, &l, size, image));
    dirty_level(redo, &l);
    if (l.fresh.needed)
        memcpy(l.fresh.ref.page.p, image, size);
    if (l.source.needed)
        btree__apply_free(l.source.ref.page);
    if (l.left.needed)
        page_set_next(l.left.ref.page, r->pgno_dest);
    if (l.right.needed)
        page_set_prev(l.right.ref.page, r->pgno_dest);
    done_level(redo, &l, dbtime);
out:
    close_level(&l);
    return err;
}

/* ---- the macro ---- */

/* A macro's records, sorted by what they are. */
struct macro {
    struct split_plan split;
    struct merge_plan merge;
    struct node_record leaf;
    bool has_leaf, moves;
};

static err_t add_record(struct macro *m, struct slice record)
{
    switch (record.n == 0 ? LOG_NOP : record.p[0]) {
    case LOG_Split2:
        if (m->split.count == BTREE_DEPTH_MAX || m->has_leaf)
            return RAISE(JET_errLogFileCorrupt);
        return btree_decode_split(record, &m->split.level[m->split.count++]);
    case LOG_Merge2:
        if (m->merge.count == BTREE_DEPTH_MAX)
            return RAISE(JET_errLogFileCorrupt);
        return btree_decode_merge(record, &m->merge.level[m->merge.count++]);
    case LOG_PageMove:
    case LOG_RootPageMove:
        m->moves = true;
        return JET_errSuccess;
    case LOG_MacroBegin:
    case LOG_MacroCommit:
    case LOG_MacroInfo:
    case LOG_MacroInfo2:
        return JET_errSuccess;
    case LOG_NOP:
        return RAISE(JET_errLogFileCorrupt);
    default:
        m->has_leaf = true;
        return btree_decode_node(record, &m->leaf);
    }
}

/* Several records of a root move may change one page, all with one dbtime: once the page is needed for the first of them it
 * is for all. Set back by one, it lets the next record in. */
struct moved_page {
    pgno_t pgno;
    bool needed;
};

static err_t open_again(struct redo *redo, struct moved_page *seen, int *seen_count, pgno_t pgno, dbtime_t dbtime)
{
    struct redo_page page;
    struct moved_page *at = seen;
    while (at < seen + *seen_count && at->pgno != pgno)
        at++;
    if (at < seen + *seen_count && !at->needed)
        return JET_errSuccess;
    TRY_RETURN(btree__redo_open(redo, pgno, at < seen + *seen_count ? UINT64_MAX - 4 : dbtime, DBTIME_NIL, REDO_CHANGE, &page));
    if (at < seen + *seen_count)
        page_set_dbtime(page.ref.page, dbtime - 1);
    else
        seen[(*seen_count)++] = (struct moved_page){pgno, page.needed};
    btree__redo_close(&page);
    return JET_errSuccess;
}

static err_t redo_one_of_move(struct redo *redo, struct slice record, struct moved_page *seen, int *seen_count)
{
    struct page_move_record move;
    struct node_record node;
    if (record.p[0] == LOG_PageMove) {
        TRY_RETURN(btree_decode_page_move(record, &move));
        TRY_RETURN(open_again(redo, seen, seen_count, move.pgno_dest, move.head.dbtime));
        return btree__redo_page_move(redo, &move);
    }
    TRY_RETURN(btree_decode_node(record, &node));
    TRY_RETURN(open_again(redo, seen, seen_count, node.head.pgno, node.head.dbtime));
    node.head.before = DBTIME_NIL;
    return btree__redo_node(redo, &node);
}

static bool is_frame_of_macro(unsigned type)
{
    return type == LOG_RootPageMove || (type >= LOG_MacroBegin && type <= LOG_MacroAbort) || type == LOG_MacroInfo || type == LOG_MacroInfo2;
}

static err_t redo_moves(struct redo *redo, const struct slice *records, int count)
{
    err_t err = JET_errSuccess;
    int seen_count = 0;
    struct moved_page *seen = calloc((size_t)count, sizeof *seen);
    if (seen == NULL)
        return RAISE(JET_errOutOfMemory);
    for (int i = 0; i < count; i++)
        if (!is_frame_of_macro(records[i].p[0]))
            TRY(redo_one_of_move(redo, records[i], seen, &seen_count));
out:
    free(seen);
    return err;
}

err_t btree_redo_macro(struct redo *redo, const struct slice *records, int count)
{
    err_t err = JET_errSuccess;
    struct macro *m = calloc(1, sizeof *m);
    if (m == NULL)
        return RAISE(JET_errOutOfMemory);
    for (int i = 0; i < count; i++)
        TRY(add_record(m, records[i]));
    if (m->moves) {
        if (m->split.count != 0 || m->merge.count != 0)
            FAIL(JET_errLogFileCorrupt);
        TRY(redo_moves(redo, records, count));
    } else if (m->split.count != 0) {
        if (m->merge.count != 0)
            FAIL(JET_errLogFileCorrupt);
        TRY(redo_split(redo, &m->split, m->has_leaf ? &m->leaf : NULL));
    } else if (m->merge.count != 0) {
        TRY(redo_merge(redo, &m->merge));
    } else if (m->has_leaf) {
        TRY(redo_moves(redo, records, count));
    }
out:
    free(m);
    return err;
}
