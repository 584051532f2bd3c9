/* Where to cut a page that is to be split, and which prefixes serve the two halves. Pure: reads one
 * latched page.
 *
 * Lines are counted with the operation in place. Some cut always exists when no operation is
 * applied and the page has two lines: each half needs no more than it took before, because the line
 * whose key shares most with the old prefix serves as prefix at no loss (its own suffix pays for
 * it). With an operation there may be none (a large node between two large ones); then the page is
 * split without it first. */
#include "btree/split.h"

/* Lines of no node are empty: a page that has some does not get this far. */
void split_line_get(const struct split_view *v, int line, struct node *out)
{
    bool inserts = v->oper == SPLIT_OPER_INSERT;
    if (inserts && line == v->line_oper) {
        *out = (struct node){.suffix = v->key, .data = v->data};
        return;
    }
    int before = inserts && line > v->line_oper ? line - 1 : line;
    *out = before >= 0 && before < v->count ? v->nodes[before] : (struct node){0};
    if (v->oper != SPLIT_OPER_NONE && line == v->line_oper)
        out->data = v->data;
}

err_t split_view_open(struct split_view *v)
{
    v->count = 0;
    int count = page_line_count(v->page);
    v->nodes = malloc(((size_t)count + 1) * sizeof *v->nodes);
    if (v->nodes == NULL)
        return RAISE(JET_errOutOfMemory);
    for (; v->count < count; v->count++)
        TRY_RETURN(page_node(v->page, v->count, &v->nodes[v->count]));
    return JET_errSuccess;
}

void split_view_close(struct split_view *v)
{
    free(v->nodes);
    v->nodes = NULL;
    v->count = 0;
}

int split_view_lines(const struct split_view *v)
{
    return page_line_count(v->page) + (v->oper == SPLIT_OPER_INSERT);
}

/* Takes n bytes off the front of a string in two pieces. */
static void advance(struct slice piece[2], uint32_t n)
{
    for (int i = 0; i < 2; i++) {
        uint32_t cut = n < piece[i].n ? n : piece[i].n;
        if (cut != 0)
            piece[i] = slice_after(piece[i], cut);
        n -= cut;
    }
}

/* Bytes that two keys, in two pieces each, have in common. */
static uint32_t common_with(const struct node *node, const struct node *prefix)
{
    struct slice a[2] = {node->prefix, node->suffix}, b[2] = {prefix->prefix, prefix->suffix};
    uint32_t common = 0;
    if (a[0].p == b[0].p) { /* both begin with a part of the page's prefix */
        common = a[0].n < b[0].n ? a[0].n : b[0].n;
        advance(a, common);
        advance(b, common);
    }
    for (;;) {
        struct slice x = a[0].n != 0 ? a[0] : a[1], y = b[0].n != 0 ? b[0] : b[1];
        uint32_t most = x.n < y.n ? x.n : y.n, n = slice_common_prefix(x, y);
        common += n;
        if (n < most || most == 0)
            return common;
        advance(a, n);
        advance(b, n);
    }
}

static uint32_t cost_of(const struct node *node, const struct node *prefix)
{
    uint32_t share = prefix != NULL ? common_with(node, prefix) : 0;
    uint32_t plain = 4 + 2 + node_key_size(node) + node->data.n;
    return share > 2 ? plain + 2 - share : plain;
}

/* Do lines [first, last) fit on an empty page with this line's key as prefix, beside what is kept
 * for rollbacks? */
static bool side_fits(const struct split_view *v, int first, int last, int prefix_line,
                      uint32_t kept)
{
    struct node prefix, node;
    uint32_t room = page_node_most(v->page.size) + 4, used = kept;
    if (prefix_line >= 0) {
        split_line_get(v, prefix_line, &prefix);
        used += node_key_size(&prefix);
    }
    for (int line = first; line < last && used <= room; line++) {
        split_line_get(v, line, &node);
        used += cost_of(&node, prefix_line >= 0 ? &prefix : NULL);
    }
    return used <= room;
}

static int to_before(const struct split_view *v, int line)
{
    return v->oper == SPLIT_OPER_INSERT && line > v->line_oper ? line - 1 : line;
}

/* The line whose key shares most with the page's present prefix. */
static int nearest_prefix(const struct split_view *v, int first, int last)
{
    struct node old = {.suffix = page_prefix(v->page)}, node;
    uint32_t most = 2;
    int best = -1;
    if (old.suffix.n == 0)
        return -1;
    for (int line = first; line < last; line++) {
        split_line_get(v, line, &node);
        uint32_t common = common_with(&node, &old);
        if (common > most) {
            most = common;
            best = line;
        }
    }
    return best;
}

static bool choose_prefix(const struct split_view *v, int first, int last, uint32_t kept, int *out)
{
    int best = page_best_prefix(v->page, to_before(v, first), to_before(v, last));
    if (best >= 0 && v->oper == SPLIT_OPER_INSERT && best >= v->line_oper)
        best++;
    *out = best;
    if (side_fits(v, first, last, best, kept))
        return true;
    *out = -1;
    if (best >= 0 && side_fits(v, first, last, -1, kept))
        return true;
    *out = nearest_prefix(v, first, last);
    return *out >= 0 && side_fits(v, first, last, *out, kept);
}

static bool try_cut(const struct split_view *v, int line, struct split_cut *cut)
{
    int lines = split_view_lines(v);
    if (line < 1 || line >= lines)
        return false;
    uint32_t left = 0, right = 0;
    if (v->kept != NULL) {
        left = v->kept(v, 0, to_before(v, line));
        right = v->kept(v, to_before(v, line), v->count);
    }
    int prefix_right;
    if (!choose_prefix(v, 0, line, left, &cut->prefix_split) ||
        !choose_prefix(v, line, lines, right, &prefix_right))
        return false;
    cut->line_split = line;
    cut->prefix_new = prefix_right < 0 ? -1 : prefix_right - line;
    cut->kept_source = left;
    cut->kept_new = right;
    return true;
}

static uint32_t cost_now(const struct split_view *v, int line)
{
    struct node node;
    split_line_get(v, line, &node);
    return 4 + 2 + (node.prefix.n != 0 ? 2 : 0) + node.suffix.n + node.data.n;
}

/* The cut that halves the bytes as they are stored now. */
static int middle_line(const struct split_view *v)
{
    int lines = split_view_lines(v);
    uint64_t total = 0, left = 0;
    for (int line = 0; line < lines; line++)
        total += cost_now(v, line);
    for (int line = 0; line < lines; line++) {
        uint32_t cost = cost_now(v, line);
        if (2 * left + cost >= total) /* nearer to the middle without this line, or with it? */
            return line > 0 && 2 * left + cost - total > total - 2 * left ? line : line + 1;
        left += cost;
    }
    return lines - 1;
}

bool split_choose(const struct split_view *v, int preferred, struct split_cut *cut)
{
    int lines = split_view_lines(v);
    if (preferred > 0 && try_cut(v, preferred, cut))
        return true;
    int middle = middle_line(v);
    for (int away = 0; away < lines; away++)
        if (try_cut(v, middle - away, cut) || (away > 0 && try_cut(v, middle + away, cut)))
            return true;
    return false;
}
