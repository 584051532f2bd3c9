/* btree, inside the room: choosing where a page is cut. */
#ifndef BTREE_SPLIT_H
#define BTREE_SPLIT_H

#include "btree/btree_private.h"

/* A page as it will be after the operation, before it is cut. */
struct split_view {
    struct page page; /* as it is */
    struct node *nodes; /* its nodes, taken apart once: split_view_open */
    int count;          /* of them */
    enum split_oper_kind oper;
    int line_oper;
    struct slice key, data; /* of the operation; key: insert only */
    /* Bytes to be kept for rollbacks of lines [first, last) of the page as it is; NULL: none. */
    uint32_t (*kept)(const struct split_view *v, int first, int last);
    void *context;
};
struct split_cut {
    int line_split;   /* this line and those behind it go to the new page */
    int prefix_split; /* line whose key becomes the source's prefix, -1 none */
    int prefix_new;   /* the new page's, counted from line_split */
    uint32_t kept_source, kept_new;
};
MUST_CHECK err_t split_view_open(struct split_view *v); /* then split_view_close, also after an error */
void split_view_close(struct split_view *v);
int split_view_lines(const struct split_view *v);
void split_line_get(const struct split_view *v, int line, struct node *out);
/* preferred: tried first when > 0; else the middle of the bytes and away from it. false: no cut
 * serves. */
bool split_choose(const struct split_view *v, int preferred, struct split_cut *cut);

#endif
