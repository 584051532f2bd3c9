/* One run over a database: header, checksums, trees, space, catalog, records, indexes. */
#include <stdarg.h>
#include <stdio.h>

#include "check/check_private.h"

const char *check__hex(struct slice s, char hex[CHECK_HEX_ROOM])
{
    static const char digits[] = "0123456789abcdef";
    uint32_t n = s.n < 32 ? s.n : 32, at = 0;
    for (uint32_t i = 0; i < n; i++) {
        hex[at++] = digits[s.p[i] >> 4];
        hex[at++] = digits[s.p[i] & 15];
    }
    if (s.n > n) {
        hex[at++] = '.';
        hex[at++] = '.';
    }
    hex[at] = '\0';
    return hex;
}

static void describe(const struct check_tree *tree, char *to, size_t room)
{
    if (tree == NULL)
        to[0] = '\0';
    else if (tree->table[0] == '\0')
        snprintf(to, room, "system root: ");
    else
        snprintf(to, room, "table %s%s%s: ", tree->table, tree->part[0] != '\0' ? " " : "",
                 tree->part);
}

err_t check__tell(struct check *c, struct check_tree *tree, enum check_kind kind, pgno_t pgno,
                  const char *format, ...)
{
    char text[1024];
    uint32_t *said = tree != NULL ? &tree->said[kind] : &c->said[kind];
    if (c->stop < 0)
        return c->stop;
    if (kind == CHECK_NOTE)
        c->sum->notes++;
    else
        c->sum->findings++;
    if (++*said > CHECK_SAID_MOST || c->options->sink == NULL)
        return JET_errSuccess;
    describe(tree, text, sizeof text);
    size_t n = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + n, sizeof text - n, format, args);
    va_end(args);
    n = strlen(text);
    if (*said == CHECK_SAID_MOST)
        snprintf(text + n, sizeof text - n, " (more like this are counted, not told)");
    struct check_finding finding = {.kind = kind,
                                    .pgno = pgno,
                                    .objid = tree != NULL ? tree->objid : OBJID_NIL,
                                    .table =
                                        tree != NULL && tree->table[0] != '\0' ? tree->table : NULL,
                                    .text = text};
    err_t err = c->options->sink(c->options->sink_context, &finding);
    if (err < 0)
        c->stop = err;
    return c->stop;
}

err_t check__survive(struct check *c, struct check_tree *tree, enum check_kind kind, pgno_t pgno,
                     const char *what, err_t err)
{
    if (err >= 0)
        return JET_errSuccess;
    if (c->stop < 0 || err == JET_errOutOfMemory) {
        c->stop = c->stop < 0 ? c->stop : err;
        return c->stop;
    }
    struct err_origin why = *err_last();
    bool known = why.err == err && why.detail[0] != '\0';
    return check__tell(c, tree, kind, pgno, "%s: %s", what, known ? why.detail : err_text(err));
}

static err_t check_header(struct check *c)
{
    const struct db_header *h = &c->db->header;
    if (h->state != DB_CLEAN)
        TRY_RETURN(check__tell(c, NULL, CHECK_NOTE, PGNO_NIL,
                               "the database was not shut down cleanly (state %d): its logs may "
                               "mend what is told here",
                               (int)h->state));
    if (c->clean && (h->gen_min_required != 0 || h->gen_max_required != 0))
        TRY_RETURN(check__tell(c, NULL, CHECK_HEADER, PGNO_NIL,
                               "a clean database requires logs %u to %u", h->gen_min_required,
                               h->gen_max_required));
    if (h->objid_last == 0)
        TRY_RETURN(check__tell(c, NULL, CHECK_HEADER, PGNO_NIL, "the last object id is 0"));
    return JET_errSuccess;
}

static err_t check_system_root(struct check *c)
{
    struct check_tree like = {.root = SYSTEM_ROOT, .objid = SYSTEM_OBJID, .unique = true}, *tree;
    TRY_RETURN(check__tree_new(c, &like, &tree));
    struct check_walk_want want = {.tree = tree, .root = SYSTEM_ROOT, .hold = HOLD_TREE};
    TRY_RETURN(check__walk(c, &want));
    return check__space(c, tree);
}

static err_t make_maps(struct check *c)
{
    size_t n = (size_t)c->page_count + 1;
    c->holder = calloc(n, sizeof *c->holder);
    c->owner = calloc(n, sizeof *c->owner);
    c->bad = calloc(n, 1);
    return c->holder == NULL || c->owner == NULL || c->bad == NULL ? RAISE(JET_errOutOfMemory)
                                                                   : JET_errSuccess;
}

static void free_all(struct check *c)
{
    for (uint32_t i = 0; i < c->tree_count; i++)
        free(c->trees[i]);
    free(c->trees);
    free(c->rows);
    free(c->holder);
    free(c->owner);
    free(c->bad);
}

err_t check_database(struct dbfile *db, const struct check_options *options, struct check_sum *sum)
{
    err_t err = JET_errSuccess;
    struct check_options wanted = *options;
    wanted.records |= wanted.indexes; /* records tell what entries there must be */
    struct check c = {.db = db, .options = &wanted, .sum = sum};
    *sum = (struct check_sum){0};
    c.page_count = atomic_load(&db->page_count);
    c.clean = db->header.state == DB_CLEAN;
    trx_init(&c.trx, db->versions, db->log, CHECK_PROCID, false, NULL);
    TRY(make_maps(&c));
    TRY(check_header(&c));
    TRY(check__raw(&c));
    TRY(check_system_root(&c));
    TRY(check__catalog(&c));
    TRY(check__account(&c));
    sum->pages = c.page_count;
    sum->trees = c.tree_count;
out:
    trx_term(&c.trx);
    free_all(&c);
    return err;
}
