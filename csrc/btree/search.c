/* The way down: latch-coupled from the root to a leaf, and the path that structure changes walk. */
#include "btree/btree_private.h"

/* ---- bookmarks ---- */

err_t bookmark_init(struct bookmark *b, const struct btree *tree, struct slice key,
                    struct slice data)
{
    *b = (struct bookmark){.key = key, .joined = key};
    if (tree->unique || data.n == 0)
        return JET_errSuccess;
    err_t err = JET_errSuccess;
    b->data = data;
    TRY(buffer_reserve(&b->memory, key.n + data.n));
    TRY(buffer_set(&b->memory, key));
    TRY(buffer_append(&b->memory, data));
    b->joined = buffer_slice(&b->memory);
out:
    if (err < 0)
        bookmark_term(b);
    return err;
}

void bookmark_term(struct bookmark *b)
{
    buffer_free(&b->memory);
    *b = (struct bookmark){0};
}

struct version_key btree__where(const struct btree *tree, struct slice key, struct slice data)
{
    return (struct version_key){
        .dbid = tree->db->dbid,
        .objid = tree->objid,
        .root = tree->root,
        .key = key,
        .data = tree->unique ? SLICE_EMPTY : data,
    };
}

/* ---- pages of a tree ---- */

static err_t no_page_of(const struct btree *tree, pgno_t pgno, const char *why)
{
    err_t err = RAISE(JET_errDatabaseCorrupted);
    err_detail("page %u, met in tree %u (root %u) of %s, %s", pgno, tree->objid, tree->root,
               tree->db->path, why);
    return err;
}

err_t btree__check_page(const struct btree *tree, const struct page_ref *ref)
{
    uint32_t flags = page_flags(ref->page);
    if (page_objid(ref->page) != tree->objid)
        return no_page_of(tree, ref->pgno, "belongs to another object");
    if ((flags & PAGE_EMPTY) != 0)
        return no_page_of(tree, ref->pgno, "is a freed page");
    if (((flags & PAGE_ROOT) != 0) != (ref->pgno == tree->root))
        return no_page_of(tree, ref->pgno, "has a wrong root flag");
    if ((flags & PAGE_LEAF) == 0 && page_line_count(ref->page) == 0)
        return no_page_of(tree, ref->pgno, "is a branch page without children");
    return JET_errSuccess;
}

err_t btree__latch(struct btree *tree, pgno_t pgno, enum latch_mode mode, unsigned how,
                   struct page_ref *out)
{
    err_t err = cache_latch(tree->db, pgno, mode, how, out);
    if (err != JET_errSuccess)
        return err;
    err = btree__check_page(tree, out);
    if (err < 0)
        cache_release(out);
    return err;
}

err_t btree__latch_readable(struct dbfile *db, pgno_t pgno, enum latch_mode mode, struct page_ref *out, bool *damaged)
{
    err_t err = cache_latch(db, pgno, mode, CACHE_COLD, out);
    *damaged = err == JET_errReadVerifyFailure || err == JET_errDatabaseCorrupted;
    if (!*damaged && err != JET_errPageNotInitialized && err != JET_errFileIOBeyondEOF)
        return err;
    err_clear();
    return JET_errSuccess;
}

int btree__find_line(const struct btree *tree, struct page page, const struct bookmark *b,
                     bool *equal)
{
    return tree->unique ? page_search(page, b->key, equal)
                        : page_search_key_data(page, b->key, b->data, equal);
}

/* ---- descent ---- */

/* Is the separator behind all strings that start with `key`? */
static bool beyond_key(const struct node *node, struct slice key)
{
    uint32_t n = node_key_size(node);
    if (n == 0)
        return true; /* infinity */
    if (node_compare_key(node, key) <= 0)
        return false;
    if (n < key.n)
        return true;
    struct node cut = *node; /* its first key.n bytes */
    if (cut.prefix.n > key.n)
        cut.prefix.n = key.n;
    cut.suffix.n = key.n - cut.prefix.n;
    return node_compare_key(&cut, key) != 0;
}

static err_t search_upper(struct page page, struct slice key, int *out)
{
    int low = 0, high = page_line_count(page);
    while (low < high) {
        int middle = low + (high - low) / 2;
        struct node node;
        TRY_RETURN(page_node(page, middle, &node));
        if (beyond_key(&node, key))
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return JET_errSuccess;
}

static err_t choose_child(struct page page, enum descend_to to, struct slice joined, int *line)
{
    int last = page_line_count(page) - 1;
    switch (to) {
    case DESCEND_FIRST:
        *line = 0;
        break;
    case DESCEND_LAST:
        *line = last;
        break;
    case DESCEND_KEY:
        *line = page_search_branch(page, joined);
        break;
    case DESCEND_UPPER:
        TRY_RETURN(search_upper(page, joined, line));
        break;
    }
    if (*line > last) /* only on a damaged page: the last separator is infinity, or the parent's */
        *line = last;
    return JET_errSuccess;
}

/* A root that is a leaf was latched for reading: have it in `mode`. It may become a branch page
 * meanwhile. */
static err_t upgrade_root(struct btree *tree, enum latch_mode mode, struct page_ref *at)
{
    if (mode == LATCH_READ || at->mode == LATCH_WRITE || cache_try_upgrade(at))
        return JET_errSuccess;
    cache_release(at);
    TRY_RETURN(btree__latch(tree, tree->root, LATCH_WRITE, CACHE_WAIT, at));
    if ((page_flags(at->page) & PAGE_LEAF) == 0)
        cache_downgrade(at);
    return JET_errSuccess;
}

err_t btree__descend(struct btree *tree, enum descend_to to, struct slice joined,
                     enum latch_mode mode, struct page_ref *leaf)
{
    err_t err = JET_errSuccess;
    struct page_ref at = PAGE_REF_NONE, child = PAGE_REF_NONE;

    *leaf = PAGE_REF_NONE;
    TRY(btree__latch(tree, tree->root, LATCH_READ, CACHE_WAIT, &at));
    if ((page_flags(at.page) & PAGE_LEAF) != 0)
        TRY(upgrade_root(tree, mode, &at));
    for (int depth = 1; (page_flags(at.page) & PAGE_LEAF) == 0; depth++) {
        bool to_leaf = (page_flags(at.page) & PAGE_PARENT_OF_LEAF) != 0;
        int line = 0;
        pgno_t pgno;
        if (depth >= BTREE_DEPTH_MAX) {
            err = no_page_of(tree, at.pgno, "lies too deep");
            goto out;
        }
        TRY(choose_child(at.page, to, joined, &line));
        TRY(page_child(at.page, line, &pgno));
        TRY(btree__latch(tree, pgno, to_leaf ? mode : LATCH_READ, CACHE_WAIT, &child));
        if (((page_flags(child.page) & PAGE_LEAF) != 0) != to_leaf) {
            err = no_page_of(tree, pgno, "is on a wrong level");
            goto out;
        }
        cache_release(&at);
        at = child;
        child = PAGE_REF_NONE;
    }
    *leaf = at;
    at = PAGE_REF_NONE;
out:
    cache_release(&child);
    cache_release(&at);
    return err;
}

err_t btree__path(struct btree *tree, struct slice joined, struct tree_path *path)
{
    err_t err = JET_errSuccess;
    struct page_ref at = PAGE_REF_NONE;
    pgno_t pgno = tree->root;
    bool leaf = false;

    path->depth = 0;
    while (!leaf) {
        if (path->depth >= BTREE_DEPTH_MAX) {
            err = no_page_of(tree, pgno, "lies too deep");
            goto out;
        }
        TRY(btree__latch(tree, pgno, LATCH_READ, CACHE_WAIT, &at));
        int i = path->depth++, line = 0;
        path->level[i].pgno = pgno;
        leaf = (page_flags(at.page) & PAGE_LEAF) != 0;
        if (!leaf) {
            bool above = (page_flags(at.page) & PAGE_PARENT_OF_LEAF) != 0;
            TRY(choose_child(at.page, DESCEND_KEY, joined, &line));
            TRY(page_child(at.page, line, &pgno));
            if (above && path->depth < BTREE_DEPTH_MAX) { /* the leaf is named, not visited */
                path->level[path->depth++].pgno = pgno;
                path->level[path->depth - 1].line = 0;
                leaf = true;
            }
        }
        path->level[i].line = line;
        cache_release(&at);
    }
out:
    cache_release(&at);
    return err;
}

/* ---- structure changes: their lock and their transaction ---- */

void btree__lock_structure(struct btree *tree)
{
    if (!tree->is_private)
        os_lock_take(&tree->split_lock);
}

void btree__unlock_structure(struct btree *tree)
{
    if (!tree->is_private)
        os_lock_release(&tree->split_lock);
}

err_t btree__inner_begin(struct trx *trx, struct inner_scope *scope)
{
    *scope = (struct inner_scope){.trx = trx->inner != NULL ? trx->inner : trx};
    if (scope->trx->level > 0)
        return JET_errSuccess;
    TRY_RETURN(trx_begin(scope->trx));
    scope->begun = true;
    return JET_errSuccess;
}

err_t btree__inner_end(struct inner_scope *scope)
{
    if (!scope->begun)
        return JET_errSuccess;
    lgpos_t end;
    scope->begun = false;
    return trx_commit(scope->trx, &end);
}
