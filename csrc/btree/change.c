/* One change of one leaf: its record, and the order in which it is logged, applied and published.
 */
#include "btree/btree_private.h"

struct btree_counters btree__counters;

static unsigned record_flags(const struct btree *tree, bool versioned)
{
    return (versioned ? LOG_FLAG_VERSIONED : 0u) | (tree->unique ? LOG_FLAG_UNIQUE : 0u) |
           ((tree->page_flags & PAGE_SPACE_TREE) != 0 ? LOG_FLAG_SPACE : 0u);
}

/* The after-image, or the differences from the data on the page when they are shorter. */
static void describe_replace(struct page page, int line, struct slice data, uint8_t *diff,
                             struct node_record *r)
{
    struct node node;
    bool wide = page_is_large(page);
    ENFORCE(page_node(page, line, &node) == JET_errSuccess); /* the caller has read it */
    r->old_size = (uint16_t)node.data.n;
    r->new_size = (uint16_t)data.n;
    r->data = data;
    uint32_t n = btree_diff_make(node.data, data, wide, diff, data.n);
    if (n != 0) {
        r->head.type = LOG_ReplaceD;
        r->wide = wide;
        r->data = SLICE(diff, n);
    }
}

static uint32_t share_of(struct page page, const struct change *change)
{
    return change->shared != 0 ? change->shared - 1 : page_share(page, change->key);
}

void btree__encode_change(const struct btree *tree, const struct trx *trx,
                          const struct page_ref *leaf, const struct change *change, dbtime_t before,
                          uint8_t *diff, struct encoded *out)
{
    struct node_record r = {
        .head = btree_record_head(trx, change->type, tree->db->dbid, leaf->pgno, before,
                                  change->line, record_flags(tree, change->version != NULL)),
        .rceid = change->version != NULL ? version_rceid(change->version) : 0,
        .root = tree->root,
        .objid = tree->objid,
    };
    uint32_t share;
    switch (change->type) {
    case LOG_Insert:
        share = share_of(leaf->page, change);
        r.prefix = SLICE(change->key.p, share);
        r.suffix = slice_after(change->key, share);
        r.data = change->data;
        break;
    case LOG_FlagInsertAndReplaceData:
        r.rceid_replace = change->second != NULL ? version_rceid(change->second) : 0;
        r.suffix = change->key;
        r.data = change->data;
        break;
    case LOG_FlagInsert:
        r.suffix = change->key;
        r.data = change->data;
        break;
    case LOG_Replace:
        describe_replace(leaf->page, change->line, change->data, diff, &r);
        break;
    case LOG_Delta:
        r.suffix = change->key;
        r.bookmark_data = change->data;
        r.delta = change->delta;
        r.offset = change->offset;
        break;
    case LOG_SetExternalHeader:
        r.data = change->data;
        break;
    default:
        ENFORCE(change->type == LOG_FlagDelete || change->type == LOG_Delete);
    }
    btree_encode_node(&r, out);
}

static void apply(struct page page, const struct change *change)
{
    bool versioned = change->version != NULL;
    switch (change->type) {
    case LOG_Insert:
        btree__apply_insert(page, change->line, change->key, share_of(page, change), change->data, versioned);
        break;
    case LOG_FlagInsert:
        btree__apply_flag_insert(page, change->line, versioned);
        break;
    case LOG_FlagInsertAndReplaceData:
        btree__apply_flag_insert_replace(page, change->line, change->data, versioned);
        break;
    case LOG_Replace:
        btree__apply_replace(page, change->line, change->data, versioned);
        break;
    case LOG_FlagDelete:
        btree__apply_flag_delete(page, change->line, versioned);
        break;
    case LOG_Delete:
        btree__apply_delete(page, change->line);
        break;
    case LOG_Delta:
        btree__apply_delta(page, change->line, change->offset, 4, change->delta, versioned);
        break;
    case LOG_SetExternalHeader:
        btree__apply_external(page, change->data);
        break;
    }
}

bool btree__needs_undo_info(const struct change *change)
{
    return change->version != NULL &&
           (change->type == LOG_Replace || change->type == LOG_FlagDelete ||
            change->type == LOG_FlagInsertAndReplaceData);
}

void btree__cancel_change(struct change *change)
{
    version_cancel(change->second);
    version_cancel(change->version);
    change->version = change->second = NULL;
}

void btree__publish_change(struct trx *trx, struct change *change)
{
    if (change->version != NULL)
        version_publish(trx, change->version);
    if (change->second != NULL)
        version_publish(trx, change->second);
    change->version = change->second = NULL;
}

err_t btree__change(struct btree *tree, struct trx *trx, struct page_ref *leaf,
                    struct change *change)
{
    uint8_t diff[PAGE_SIZE_MAX];
    struct encoded encoded;
    struct log_stamp stamp = {.dbtime_counter = &tree->db->dbtime};
    bool undo = btree__needs_undo_info(change);

    ASSERT(leaf->mode == LATCH_WRITE);
    btree__encode_change(tree, trx, leaf, change, page_dbtime(leaf->page), diff, &encoded);
    cache_mark_dirty(leaf, trx_begin_bound(trx));
    err_t err = trx_log(trx, &encoded.record, 1, &stamp);
    if (err < 0) {
        btree__cancel_change(change);
        return err;
    }
    apply(leaf->page, change);
    page_set_dbtime(leaf->page, stamp.dbtime);
    btree__publish_change(trx, change);
    if (undo)
        cache_note_undo(leaf);
    cache_set_lgpos(leaf, stamp.end);
    return JET_errSuccess;
}

err_t btree_set_external(struct btree *tree, struct trx *trx, struct page_ref *root,
                         struct slice data)
{
    struct change change = {.type = LOG_SetExternalHeader, .data = data};
    uint32_t old = page_external(root->page).n;
    if (data.n > old && data.n - old > page_free(root->page))
        return RAISE(JET_errRecordTooBig);
    return btree__change(tree, trx, root, &change);
}

void btree_stats(struct btree_stats *out)
{
    const struct btree_counters *c = &btree__counters;
    *out = (struct btree_stats){
        .splits = c->splits,
        .merges = c->merges,
        .empty_pages = c->empty_pages,
        .retries = c->retries,
        .undo_after_steal = c->undo_after_steal,
        .macro_redone_half = c->macro_redone_half,
    };
}
