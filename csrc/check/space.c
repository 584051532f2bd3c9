/* The accounting rule (edb-format.md 7.5): each page belongs to one tree, which uses it in one way.
 */
#include <stdio.h>

#include "check/check_private.h"

static const char *const hold_names[] = {"", "in use", "in its space trees", "available",
                                         "a split buffer"};

static const char *holder_text(const struct check *c, uint32_t holder, char *to, size_t room)
{
    if (holder == 0) {
        snprintf(to, room, "nobody");
        return to;
    }
    const struct check_tree *t = c->trees[(holder >> 3) - 1];
    snprintf(to, room, "%s%s%s (%s)", t->table[0] != '\0' ? t->table : "the system root",
             t->part[0] != '\0' ? " " : "", t->part, hold_names[holder & 7]);
    return to;
}

err_t check__hold(struct check *c, struct check_tree *tree, enum check_hold how, pgno_t pgno,
                  bool *taken)
{
    uint32_t mine = tree->number << 3 | (uint32_t)how;
    *taken = c->holder[pgno] == 0;
    if (*taken) {
        c->holder[pgno] = mine;
        if (how <= HOLD_SPACE)
            c->sum->pages_used++;
        else
            c->sum->pages_available++;
        return JET_errSuccess;
    }
    char one[2 * CHECK_NAME_ROOM + 64], two[2 * CHECK_NAME_ROOM + 64];
    return check__tell(c, tree, CHECK_SPACE, pgno, "page %u is held twice: by %s and by %s", pgno,
                       holder_text(c, c->holder[pgno], one, sizeof one),
                       holder_text(c, mine, two, sizeof two));
}

/* ---- extents ---- */

struct loader {
    struct check *c;
    struct check_tree *tree;
    bool available;
};

/* Takes over from the parent, who owned the pages until now. The first page that is not to be had
 * ends the extent, so the work is bounded by the number of pages whatever the entries say. */
static err_t own(struct check *c, struct check_tree *tree, pgno_t first, uint32_t count)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i < c->tree_count && tree->parent != PGNO_NIL; i++)
        if (c->trees[i]->root == tree->parent)
            from = c->trees[i]->number;
    for (pgno_t p = first; p < first + count; p++) {
        if (c->owner[p] != from) {
            tree->damaged = true;
            return check__tell(c, tree, CHECK_SPACE, p, "page %u of the owned extent %u-%u is %s",
                               p, first, first + count - 1,
                               c->owner[p] == tree->number ? "owned twice"
                                                           : "not its parent's to give");
        }
        c->owner[p] = tree->number;
    }
    return JET_errSuccess;
}

static err_t spare(struct check *c, struct check_tree *tree, enum check_hold how, pgno_t first,
                   uint32_t count)
{
    bool taken = true;
    for (pgno_t p = first; p < first + count && taken; p++)
        TRY_RETURN(check__hold(c, tree, how, p, &taken));
    return JET_errSuccess;
}

static err_t see_extent(void *context, pgno_t pgno, struct slice key, struct slice data)
{
    enum { POOL_KEY = 0x80, POOL_MASK = 7, POOL_SHELVED = 2 };
    struct loader *l = context;
    uint32_t pool = 0;
    char hex[CHECK_HEX_ROOM];
    if (key.n == 5 && (key.p[0] & POOL_KEY) != 0) {
        pool = key.p[0] & POOL_MASK;
        key = SLICE(key.p + 1, 4);
    }
    if (key.n != 4 || data.n != 4)
        return check__tell(l->c, l->tree, CHECK_SPACE, pgno, "page %u: %s is no extent", pgno,
                           check__hex(key, hex));
    uint32_t last = load_be32(key.p), count = load_u32(data.p);
    if (count == 0 || pool == POOL_SHELVED)
        return JET_errSuccess;
    if (count > last || last > l->c->page_count) {
        l->tree->damaged = true;
        return check__tell(l->c, l->tree, CHECK_SPACE, pgno,
                           "page %u: an extent of %u pages ends at page %u of %u", pgno, count,
                           last, l->c->page_count);
    }
    return l->available ? spare(l->c, l->tree, HOLD_AVAILABLE, last - count + 1, count)
                        : own(l->c, l->tree, last - count + 1, count);
}

/* Two pairs of {last page, count} in tag 0 of a space tree's root; -1: never filled. */
static err_t load_split_buffer(struct check *c, struct check_tree *tree, pgno_t root)
{
    uint8_t *bytes = malloc(c->db->page_size);
    bool ok = false;
    if (bytes == NULL)
        return c->stop = RAISE(JET_errOutOfMemory);
    err_t err = check__read(c, tree, root, true, bytes, &ok);
    struct slice external =
        ok ? page_external((struct page){bytes, c->db->page_size}) : SLICE_EMPTY;
    for (uint32_t at = 0; at < 16 && external.n >= 16 && err >= 0; at += 8) {
        uint32_t last = load_u32(external.p + at), count = load_u32(external.p + at + 4);
        if (count == 0 || count == UINT32_MAX)
            continue;
        if (count > last || last > c->page_count)
            err = check__tell(c, tree, CHECK_SPACE, root,
                              "page %u: a split buffer of %u pages ends at page %u", root, count,
                              last);
        else
            err = spare(c, tree, HOLD_BUFFER, last - count + 1, count);
    }
    free(bytes);
    return err;
}

static err_t load_tree(struct check *c, struct check_tree *tree, pgno_t root, bool available)
{
    struct loader l = {c, tree, available};
    struct check_walk_want want = {
        .tree = tree, .root = root, .hold = HOLD_SPACE, .fn = see_extent, .context = &l};
    TRY_RETURN(check__walk(c, &want));
    return load_split_buffer(c, tree, root);
}

static err_t load_single(struct check *c, struct check_tree *tree, const struct space_header *h)
{
    uint32_t cpg = h->cpg_primary;
    if (cpg == 0 || cpg > c->page_count || tree->root > c->page_count - cpg + 1)
        return check__tell(c, tree, CHECK_SPACE, tree->root,
                           "a first extent of %u pages from page %u on", cpg, tree->root);
    TRY_RETURN(own(c, tree, tree->root, cpg));
    if (cpg <= 32 && h->avail_or_oe >> (cpg - 1) != 0)
        TRY_RETURN(check__tell(c, tree, CHECK_SPACE, tree->root,
                               "pages beyond its %u are marked available (0x%x)", cpg,
                               h->avail_or_oe));
    for (uint32_t j = 0; j + 1 < cpg; j++)
        if (j >= 32 || (h->avail_or_oe >> j & 1) != 0)
            TRY_RETURN(spare(c, tree, HOLD_AVAILABLE, tree->root + 1 + j, 1));
    return JET_errSuccess;
}

static err_t check_header(struct check *c, struct check_tree *tree, const struct space_header *h)
{
    if ((h->flags & ~(uint32_t)(SPACE_MULTIPLE | SPACE_NON_UNIQUE | SPACE_V2)) != 0)
        TRY_RETURN(check__tell(c, tree, CHECK_SPACE, tree->root, "flags 0x%x in the space header",
                               h->flags));
    if (h->parent != tree->parent)
        TRY_RETURN(check__tell(c, tree, CHECK_SPACE, tree->root,
                               "its parent is page %u, the space header says %u", tree->parent,
                               h->parent));
    if (((h->flags & SPACE_NON_UNIQUE) != 0) == tree->unique)
        TRY_RETURN(check__tell(c, tree, CHECK_SPACE, tree->root,
                               "the space header is wrong on repeated keys"));
    return JET_errSuccess;
}

err_t check__space(struct check *c, struct check_tree *tree)
{
    err_t err = JET_errSuccess;
    struct space_header h;
    bool ok;
    uint8_t *bytes = malloc(c->db->page_size);
    if (bytes == NULL)
        return c->stop = RAISE(JET_errOutOfMemory);
    TRY(check__read(c, tree, tree->root, true, bytes, &ok));
    if (!ok)
        goto out;
    err = page_space_header((struct page){bytes, c->db->page_size}, &h);
    if (err < 0) {
        err = check__survive(c, tree, CHECK_SPACE, tree->root, "its space is not known", err);
        goto out;
    }
    TRY(check_header(c, tree, &h));
    if ((h.flags & SPACE_MULTIPLE) == 0) {
        TRY(load_single(c, tree, &h));
        goto out;
    }
    TRY(load_tree(c, tree, h.avail_or_oe, false));
    TRY(load_tree(c, tree, h.avail_or_oe + 1, true));
out:
    free(bytes);
    return err;
}

/* ---- the sum ---- */

static err_t tell_run(struct check *c, pgno_t first, pgno_t last)
{
    uint32_t holder = c->holder[first], owner = c->owner[first];
    struct check_tree *tree = owner != 0 ? c->trees[owner - 1] : c->trees[(holder >> 3) - 1];
    char text[2 * CHECK_NAME_ROOM + 64];
    if (holder == 0) {
        c->sum->pages_leaked += last - first + 1;
        return check__tell(c, tree, CHECK_NOTE, first,
                           "pages %u-%u are owned and not in use (leaked)", first, last);
    }
    return check__tell(c, tree, CHECK_SPACE, first,
                       "pages %u-%u are held by %s, which does not own them", first, last,
                       holder_text(c, holder, text, sizeof text));
}

err_t check__account(struct check *c)
{
    for (pgno_t p = 1, first; p <= c->page_count; p++) {
        if (c->holder[p] >> 3 == c->owner[p])
            continue;
        for (first = p; p < c->page_count && c->holder[p + 1] == c->holder[first] &&
                        c->owner[p + 1] == c->owner[first];)
            p++;
        TRY_RETURN(tell_run(c, first, p));
    }
    return JET_errSuccess;
}
