/* Open trees of a database: one struct btree a root, shared by all cursors; and private ones for
 * space trees. */
#include "btree/btree_private.h"

/* Parents lead to the system root in two or three steps; more is a loop on the disk. */
#define PARENTS_MAX 8

#define KIND_FLAGS (PAGE_SPACE_TREE | PAGE_INDEX | PAGE_LONG_VALUE | PAGE_NON_UNIQUE)

struct registry {
    struct os_lock lock; /* RANK_DBFILE: the list and refs; never held across I/O */
    struct list trees;
    const struct page_source *source;
    objid_t *retired; /* dropped since the database was opened; what versions they left is no work
                         any more */
    uint32_t retired_count, retired_room;
};

err_t btree_registry_create(struct dbfile *db, const struct page_source *source)
{
    struct registry *r = calloc(1, sizeof *r);
    if (r == NULL)
        return RAISE(JET_errOutOfMemory);
    os_lock_init(&r->lock, RANK_DBFILE);
    list_init(&r->trees);
    r->source = source;
    db->trees = r;
    return JET_errSuccess;
}

static void init_tree(struct btree *tree, struct dbfile *db, pgno_t root)
{
    *tree = (struct btree){.db = db, .root = root, .refs = 1};
    os_lock_init(&tree->split_lock, RANK_SPLIT);
    os_lock_init(&tree->space_lock, RANK_SPACE);
    list_init(&tree->in_registry);
}

/* The deeper the tree the higher the rank: a child's space is locked before its parent's. */
static void rank_space_lock(struct btree *tree)
{
    int depth = 0;
    for (const struct btree *t = tree->parent; t != NULL && depth < RANK_SPLIT - RANK_SPACE - 1;
         t = t->parent)
        depth++;
    os_lock_term(&tree->space_lock);
    os_lock_init(&tree->space_lock, (enum os_rank)(RANK_SPACE + depth));
}

static void free_tree(struct btree *tree)
{
    if (tree->source != NULL && tree->source->forget != NULL)
        tree->source->forget(tree);
    os_lock_term(&tree->split_lock);
    os_lock_term(&tree->space_lock);
    free(tree);
}

void btree_registry_destroy(struct dbfile *db)
{
    struct registry *r = db->trees;
    if (r == NULL)
        return;
    LIST_FOR_EACH_SAFE (link, after, &r->trees) {
        list_remove(link);
        free_tree(LIST_ENTRY(link, struct btree, in_registry));
    }
    os_lock_term(&r->lock);
    free(r->retired);
    free(r);
    db->trees = NULL;
}

/* ---- dropped trees ---- */

#define RETIRE_WAIT_MS 10000

static err_t add_retired_locked(struct registry *r, objid_t objid)
{
    if (r->retired_count == r->retired_room) {
        uint32_t room = r->retired_room == 0 ? 16 : r->retired_room * 2;
        objid_t *grown = realloc(r->retired, room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        r->retired = grown;
        r->retired_room = room;
    }
    r->retired[r->retired_count++] = objid;
    return JET_errSuccess;
}

bool btree__is_retired(struct dbfile *db, objid_t objid)
{
    struct registry *r = db->trees;
    bool found = false;
    os_lock_take(&r->lock);
    for (uint32_t i = 0; i < r->retired_count && !found; i++)
        found = r->retired[i] == objid;
    os_lock_release(&r->lock);
    return found;
}

err_t btree_retire(struct btree *tree)
{
    struct registry *r = tree->db->trees;
    os_lock_take(&r->lock);
    err_t err = add_retired_locked(r, tree->objid);
    os_lock_release(&r->lock);
    for (uint32_t ms = 0; err >= 0; ms++) {
        os_lock_take(&r->lock);
        bool alone = tree->refs == 1;
        if (alone)
            list_remove(&tree->in_registry); /* its root page may soon be another tree's */
        os_lock_release(&r->lock);
        if (alone)
            break;
        if (ms == RETIRE_WAIT_MS)
            return RAISE(JET_errTableInUse);
        os_sleep_ms(1);
    }
    return err;
}

static struct btree *find_locked(struct registry *r, pgno_t root)
{
    LIST_FOR_EACH (link, &r->trees) {
        struct btree *tree = LIST_ENTRY(link, struct btree, in_registry);
        if (tree->root == root) {
            tree->refs++;
            return tree;
        }
    }
    return NULL;
}

static struct btree *find(struct registry *r, pgno_t root)
{
    os_lock_take(&r->lock);
    struct btree *tree = find_locked(r, root);
    os_lock_release(&r->lock);
    return tree;
}

/* What the root page tells: object, kind, uniqueness; *parent = 0 for the system root. */
static err_t read_root(struct btree *tree, pgno_t *parent)
{
    err_t err = JET_errSuccess;
    struct page_ref root = PAGE_REF_NONE;
    struct space_header header;

    TRY(cache_latch(tree->db, tree->root, LATCH_READ, CACHE_WAIT, &root));
    uint32_t flags = page_flags(root.page);
    if ((flags & PAGE_ROOT) == 0 || (flags & (PAGE_SPACE_TREE | PAGE_EMPTY)) != 0) {
        err = RAISE(JET_errDatabaseCorrupted);
        err_detail("page %u of %s is no root of a tree", tree->root, tree->db->path);
        goto out;
    }
    TRY(page_space_header(root.page, &header));
    tree->objid = page_objid(root.page);
    tree->page_flags = flags & KIND_FLAGS;
    tree->unique = (flags & PAGE_NON_UNIQUE) == 0;
    *parent = header.parent;
out:
    cache_release(&root);
    return err;
}

static err_t open_tree(struct dbfile *db, pgno_t root, int depth, struct btree **out)
{
    err_t err = JET_errSuccess;
    struct registry *r = db->trees;
    struct btree *tree = NULL, *parent = NULL;
    pgno_t parent_root = PGNO_NIL;

    *out = find(r, root);
    if (*out != NULL)
        return JET_errSuccess;
    tree = malloc(sizeof *tree);
    if (tree == NULL)
        return RAISE(JET_errOutOfMemory);
    init_tree(tree, db, root);
    TRY(read_root(tree, &parent_root));
    if (parent_root != PGNO_NIL) {
        if (depth >= PARENTS_MAX || parent_root == root) {
            err = RAISE(JET_errDatabaseCorrupted);
            err_detail("the parents of root %u of %s never end", root, db->path);
            goto out;
        }
        TRY(open_tree(db, parent_root, depth + 1, &parent));
    }
    tree->parent = parent;
    rank_space_lock(tree);
    tree->source = r->source;

    os_lock_take(&r->lock);
    *out = find_locked(r, root); /* somebody was quicker */
    if (*out == NULL) {
        list_add_front(&r->trees, &tree->in_registry);
        *out = tree;
        tree = parent = NULL;
    }
    os_lock_release(&r->lock);
out:
    if (tree != NULL) {
        tree->source = NULL;
        free_tree(tree);
    }
    if (parent != NULL)
        btree_close(parent);
    return err;
}

err_t btree_open(struct dbfile *db, pgno_t root, struct btree **out)
{
    return open_tree(db, root, 0, out);
}

void btree_close(struct btree *tree)
{
    while (tree != NULL) {
        struct registry *r = tree->db->trees;
        os_lock_take(&r->lock);
        bool last = --tree->refs == 0;
        if (last)
            list_remove(&tree->in_registry);
        os_lock_release(&r->lock);
        if (!last)
            return;
        struct btree *parent = tree->parent;
        free_tree(tree);
        tree = parent;
    }
}

void btree_init_private(struct btree *tree, struct dbfile *db, pgno_t root, objid_t objid,
                        uint32_t page_flags_, bool unique, const struct page_source *source)
{
    init_tree(tree, db, root);
    tree->objid = objid;
    tree->page_flags = page_flags_ & KIND_FLAGS;
    tree->unique = unique;
    tree->source = source;
    tree->is_private = true;
}

void btree_term_private(struct btree *tree)
{
    os_lock_term(&tree->split_lock);
    os_lock_term(&tree->space_lock);
}
