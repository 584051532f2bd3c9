/* One page: checksum, structure, every reader on any bytes; every writer on what passes page_validate.
 * Input: page size and how it is sealed, operations of writers, then the page's bytes from its end (where the tags are). */
#include "check/check.h"
#include "fuzz.h"
#include "page/page.h"

static void read_all(struct page page, struct slice key)
{
    struct node node;
    struct space_header space;
    uint8_t copy[PAGE_SIZE_MAX];
    bool equal;
    pgno_t child;
    int count = page_line_count(page);
    uint64_t seen = 0;
    for (int line = -1; line <= count && line < 5000; line++) {
        if (page_node(page, line, &node) < 0)
            continue;
        FUZZ_ENFORCE(node_key_size(&node) <= page.size * 2);
        if (node_key_size(&node) <= sizeof copy)
            seen += node_key_copy(&node, copy);
        for (uint32_t i = 0; i < node.data.n; i++)
            seen += node.data.p[i];
        seen += (uint64_t)node_compare_key(&node, key) + (uint64_t)node_compare_key_data(&node, key, key);
        seen += page_child(page, line, &child) >= 0;
    }
    struct slice external = page_external(page), prefix = page_prefix(page);
    for (uint32_t i = 0; i < external.n; i++)
        seen += external.p[i];
    for (uint32_t i = 0; i < prefix.n; i++)
        seen += prefix.p[i];
    seen += (uint64_t)page_search(page, key, &equal) + (uint64_t)page_search_key_data(page, key, key, &equal);
    seen += (uint64_t)page_search_branch(page, key) + page_node_cost(page, key, key) + page_share(page, key);
    seen += page_space_header(page, &space) >= 0;
    seen += (uint64_t)page_best_prefix(page, 0, count) + page_lines_cost(page, 0, count, prefix);
    volatile uint64_t sink = seen;
    (void)sink;
}

/* What is kept by each writer: the page stays sound. */
static void write_some(struct page page, struct input *in)
{
    for (int turn = 0; turn < 6 && in->n > 0; turn++) {
        uint32_t what = input_u8(in);
        int count = page_line_count(page), line = (int)input_below(in, (uint32_t)count + 1);
        struct slice key = input_bytes(in, input_u8(in) % 64), data = input_bytes(in, input_u8(in));
        struct node node;
        bool equal;
        switch (what % 5) {
        case 0:
            line = page_search(page, key, &equal);
            if (equal || (page_flags(page) & PAGE_LEAF) == 0 || (page_flags(page) & PAGE_SPACE_TREE) != 0)
                return;
            if (page_can_insert(page, key, data))
                page_insert(page, line, key, data, what >> 5);
            break;
        case 1:
            if (line < count && (page_flags(page) & PAGE_LEAF) != 0 && page_can_replace(page, line, data.n))
                page_replace(page, line, data);
            break;
        case 2:
            if (line < count && (page_flags(page) & PAGE_LEAF) != 0)
                page_delete(page, line);
            break;
        case 3:
            if (line < count && page_node(page, line, &node) >= 0)
                page_set_node_flags(page, line, node.flags ^ (what >> 5 & (NODE_VERSION | NODE_DELETED)));
            break;
        default:
            if ((page_flags(page) & PAGE_ROOT) == 0 && count > 0) {
                int best = page_best_prefix(page, 0, count);
                uint8_t copy[PAGE_SIZE_MAX];
                if (best < 0 || page_node(page, best, &node) < 0)
                    return;
                struct slice prefix = SLICE(copy, node_key_copy(&node, copy));
                if (page_lines_cost(page, 0, count, prefix) + prefix.n + 512 < page.size / 2)
                    page_change_prefix(page, prefix);
            }
        }
        err_t err = page_validate(page);
        if (err < 0)
            fprintf(stderr, "after operation %u: %s\n", what % 5, err_last()->detail);
        FUZZ_ENFORCE(err >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t bytes[PAGE_SIZE_MAX] __attribute__((aligned(4096)));
    struct input in = {data, n};
    uint32_t how = input_u8(&in);
    struct page page = {bytes, 2048u << how % 5};
    struct slice ops = input_bytes(&in, how & 0x40 ? input_u8(&in) : 0);
    struct slice key = input_bytes(&in, input_u8(&in) % 32);
    memset(bytes, 0, sizeof bytes);
    /* the head of the input is the page's header, its end the page's end */
    struct slice head = input_bytes(&in, 40), rest = input_bytes(&in, page.size);
    memcpy(bytes, head.p, head.n);
    uint32_t room = page.size - 40, tail = rest.n < room ? rest.n : room;
    memcpy(bytes + page.size - tail, rest.p, tail);
    if ((how & 0x20) == 0) { /* data from byte 40 on, tags at the end: halves of the rest */
        memset(bytes + 40, 0, room);
        uint32_t half = tail / 2;
        memcpy(bytes + 40, rest.p, half);
        memcpy(bytes + page.size - (tail - half), rest.p + half, tail - half);
    }
    pgno_t pgno = 5;
    bool corrected;
    if ((how & 0x80) == 0)
        page_seal(page, pgno);
    fuzz_error(page_verify(page, pgno, &corrected));
    read_all(page, key);
    if ((how & 0x18) == 0x18) { /* text takes ten times as long as all the rest */
        struct buffer out = {0};
        fuzz_error(dump_page(page, pgno, &out));
        buffer_free(&out);
    }
    if (page_validate(page) >= 0) {
        read_all(page, key);
        struct input more = {ops.p, ops.n};
        write_some(page, &more);
    }
    return 0;
}
