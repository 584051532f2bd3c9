/* Pages: the vectors of the format, nodes against a model, single-bit repair, hostile bytes. */
#include "page/page.h"

#include "ctest.h"

static const uint32_t sizes[] = {2048, 4096, 8192, 16384, 32768};
#define FOR_EACH_SIZE(i) for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)

/* A page alone on the heap, so that a sanitizer sees each byte read beyond it. */
static struct page page_alone(uint32_t size)
{
    struct page page = {calloc(1, size), size};
    CHECK(page.p != NULL);
    return page;
}

static struct slice unhex(const char *text, uint8_t *to)
{
    uint32_t n = 0;
    unsigned byte;
    for (; *text != '\0'; text++) {
        if (*text == ' ')
            continue;
        CHECK(sscanf(text, "%2x", &byte) == 1);
        to[n++] = (uint8_t)byte;
        text++;
    }
    return SLICE(to, n);
}
#define HEX(text) unhex(text, (uint8_t[256]){0})

/* ---- the vectors of the format ---- */

static void fill(uint8_t *block, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        block[i] = (uint8_t)(7 * i + 3);
}

CASE(checksum_synthetic)
{
    static uint8_t block[8192];
    static const uint64_t header[] = {0x3FCA00352C3C2C0Eu, 0x7FCA00352C3C2C0Eu,
                                      0xFFCA00352C3C2C0Eu};
    for (int i = 0; i < 3; i++) {
        memset(block, 0, sizeof block);
        CHECK_EQ(checksum_ecc(block, sizes[i], 1, true), 1);
        fill(block, sizes[i]);
        CHECK(checksum_ecc(block, sizes[i], 0x12, true) == header[i]);
        CHECK(checksum_ecc(block, sizes[i], 0x12, false) == 0x12);
        CHECK_EQ(checksum_xor(block, sizes[i]), 0x91BAC7ECu);
    }
    memset(block, 0, sizeof block);
    block[100] = 1;
    CHECK(checksum_ecc(block, 4096, 0, true) == 0x7CDF032000000001u);
    block[100] = 0;
    block[8191] = 0x80;
    CHECK(checksum_ecc(block, 8192, 0, true) == 0x0000FFFF80000000u);
}

/* The rule as the format states it, bit by bit. */
static uint64_t checksum_by_the_book(const uint8_t *block, uint32_t n, uint32_t pgno,
                                     bool header_block)
{
    uint32_t sum = pgno, low = 0, high = 0;
    for (uint32_t i = header_block ? 64 : 0; i < n * 8; i++) {
        if ((block[i / 8] >> i % 8 & 1) == 0)
            continue;
        sum ^= 1u << i % 32;
        low ^= i;
        high ^= ~i & (n * 8 - 1);
    }
    return (uint64_t)(high << 16 | low) << 32 | sum;
}

CASE(checksum_equals_its_rule)
{
    unsigned long long seed = ctest_seed();
    static uint8_t block[8192 + 1];
    for (int round = 0; round < 60; round++) {
        uint8_t *at = block + round % 2; /* unaligned too */
        for (uint32_t i = 0; i < 8192; i++)
            at[i] = (uint8_t)(ctest_random(&seed) >> 13);
        uint32_t pgno = (uint32_t)ctest_random(&seed);
        for (int i = 0; i < 3; i++)
            for (int header = 0; header < 2; header++)
                CHECK(checksum_ecc(at, sizes[i], pgno, header) ==
                      checksum_by_the_book(at, sizes[i], pgno, header));
    }
}

CASE(checksum_of_a_real_page)
{
    struct page page = page_alone(4096);
    uint8_t *p = page.p;
    p[8] = 0x46;
    p[24] = 1;
    memcpy(p + 28, HEX("C40F 0000 1000 0100 03A80000 FE000000 00000000 01000000 02000000").p, 28);
    memcpy(p + 4092, HEX("10000000").p, 4);
    CHECK(checksum_ecc(p, 4096, 1, true) == 0x7FDF7FDF0001A77Cu);
    memcpy(p, HEX("7CA70100 DF7FDF7F").p, 8);
    bool corrected;
    CHECK_OK(page_verify(page, 1, &corrected));
    CHECK(!corrected);
    CHECK_OK(page_validate(page));
    CHECK_EQ(page_verify(page, 2, &corrected), JET_errReadVerifyFailure);
    struct space_header h;
    CHECK_OK(page_space_header(page, &h));
    CHECK_EQ(h.cpg_primary, 254);
    CHECK_EQ(h.parent, 0);
    CHECK_EQ(h.flags, SPACE_MULTIPLE);
    CHECK_EQ(h.avail_or_oe, 2);
    CHECK_EQ(page_line_count(page), 0);
    uint8_t stored[16];
    space_header_store(&h, stored);
    CHECK(slice_equal(SLICE_OF(stored), page_external(page)));
    free(page.p);
}

CASE(node_of_a_real_page)
{
    FOR_EACH_SIZE(i)
    {
        struct page page = page_alone(sizes[i]);
        page_format(page, 13, 2, PAGE_LEAF, 0x50);
        page_set_external(page, HEX("7F800000027F80027F80000001"));
        struct slice key = HEX("7F80000002 7F8001 7F80000002");
        struct slice data =
            HEX("08 80 2000 02000000 0100 02000000 04000000 50000000 000000C0 14000000 FF 00 0B00"
                "4D5379734F626A65637473");
        page_insert(page, 0, key, data, NODE_VERSION);
        struct slice line = HEX("0700 0600 017F80000002 088020000200000001000200000004000000"
                                "50000000000000C014000000FF000B004D5379734F626A65637473");
        const uint8_t *tag = page.p + page.size - 8;
        if (page_is_large(page)) {
            uint8_t *at = page.p + 80 + 13;
            CHECK_EQ(load_u16(at), 7 | 5 << 13);
            store_u16(at, 7);
            CHECK(memcmp(at, line.p, line.n) == 0);
            store_u16(at, 7 | 5 << 13);
            CHECK_EQ(load_u32(tag), 13u << 16 | 55);
        } else {
            CHECK(memcmp(page.p + 40 + 13, line.p, line.n) == 0);
            CHECK_EQ(load_u32(tag), 5u << 29 | 13u << 16 | 55);
        }
        struct node node;
        CHECK_OK(page_node(page, 0, &node));
        CHECK_EQ(node.flags, NODE_VERSION | NODE_COMPRESSED);
        CHECK_EQ(node.prefix.n, 7);
        CHECK(slice_equal(node.data, data));
        CHECK_EQ(node_compare_key(&node, key), 0);
        CHECK_OK(page_validate(page));
        free(page.p);
    }
}

CASE(branch_of_a_real_page)
{
    struct page page = page_alone(4096);
    page_format(page, 4, 2, PAGE_ROOT | PAGE_PARENT_OF_LEAF, 0x50);
    page_set_external(page, HEX("14000000 01000000 01000000 05000000"));
    page_insert(page, 0, HEX("7F800000037F80027F80000104"), HEX("0D000000"), 0);
    page_insert(page, 1, SLICE_EMPTY, HEX("0E000000"), 0);
    CHECK(memcmp(page.p + 40 + 16, HEX("0D00 7F800000037F80027F80000104 0D000000 0000 0E000000").p,
                 25) == 0);
    CHECK_OK(page_validate(page));
    CHECK_EQ(page_search_branch(page, HEX("7F800000037F80027F80000103")), 0);
    CHECK_EQ(page_search_branch(page, HEX("7F800000037F80027F80000104")), 1); /* equal goes right */
    CHECK_EQ(page_search_branch(page, HEX("FF")), 1);
    CHECK_EQ(page_search_branch(page, SLICE_EMPTY), 0);
    pgno_t child;
    CHECK_OK(page_child(page, 1, &child));
    CHECK_EQ(child, 14);
    CHECK_EQ(page_child(page, 2, &child), JET_errDatabaseCorrupted);
    free(page.p);
}

/* ---- nodes against a model: a sorted array of whole nodes ---- */

enum { KEY_MOST = 40, DATA_MOST = 600, MODEL_MOST = 4096 };
struct row {
    uint8_t key[KEY_MOST], data[DATA_MOST];
    uint32_t key_size, data_size;
    unsigned flags;
};
struct model {
    struct page page;
    struct row *rows[MODEL_MOST];
    int count;
    bool with_data; /* order by key and data as one string */
    uint32_t data_most;
    unsigned long long seed;
};

static uint32_t any(struct model *m, uint32_t below)
{
    return (uint32_t)((ctest_random(&m->seed) >> 11) % below);
}

/* Keys and data of few letters: long common parts, many equal keys, some prefixes of others. */
static void random_row(struct model *m, struct row *row)
{
    row->key_size = m->with_data ? 12 : any(m, 12) == 0 ? any(m, 4) : 3 + any(m, KEY_MOST - 3);
    for (uint32_t i = 0; i < row->key_size; i++)
        row->key[i] = (uint8_t)(i < 10 && any(m, 8) != 0 ? 'a'
                                : any(m, 3) == 0         ? 0xff
                                                         : 'a' + any(m, 3));
    row->data_size = any(m, 6) == 0 ? any(m, m->data_most) : any(m, 24);
    for (uint32_t i = 0; i < row->data_size; i++)
        row->data[i] = (uint8_t)any(m, i < 10 ? 3 : 256);
    row->flags = any(m, 4);
}

static struct slice row_key(const struct row *row)
{
    return SLICE(row->key, row->key_size);
}
static struct slice row_data(const struct row *row)
{
    return SLICE(row->data, row->data_size);
}

static int compare_rows(const struct model *m, const struct row *a, const struct row *b)
{
    uint8_t x[KEY_MOST + DATA_MOST], y[KEY_MOST + DATA_MOST];
    if (!m->with_data)
        return slice_compare(row_key(a), row_key(b));
    memcpy(x, a->key, a->key_size);
    memcpy(x + a->key_size, a->data, a->data_size);
    memcpy(y, b->key, b->key_size);
    memcpy(y + b->key_size, b->data, b->data_size);
    return slice_compare(SLICE(x, a->key_size + a->data_size),
                         SLICE(y, b->key_size + b->data_size));
}

static int model_search(const struct model *m, const struct row *row, bool *equal)
{
    for (int i = 0; i < m->count; i++) {
        int c = compare_rows(m, m->rows[i], row);
        if (c >= 0) {
            *equal = c == 0;
            return i;
        }
    }
    *equal = false;
    return m->count;
}

static int both_search(const struct model *m, const struct row *row, bool *equal)
{
    bool page_equal;
    int line = model_search(m, row, equal);
    int found = m->with_data
                    ? page_search_key_data(m->page, row_key(row), row_data(row), &page_equal)
                    : page_search(m->page, row_key(row), &page_equal);
    CHECK_EQ(found, line);
    CHECK_EQ(page_equal, *equal);
    return line;
}

static void step_insert(struct model *m)
{
    struct row *row = malloc(sizeof *row);
    bool equal;
    random_row(m, row);
    int line = both_search(m, row, &equal);
    bool fits = page_can_insert_reserved(m->page, row_key(row), row_data(row));
    CHECK_EQ(fits, page_node_cost(m->page, row_key(row), row_data(row)) <= page_free(m->page));
    if (equal || !fits || m->count == MODEL_MOST) {
        free(row);
        return;
    }
    page_insert(m->page, line, row_key(row), row_data(row), row->flags);
    memmove(m->rows + line + 1, m->rows + line, sizeof m->rows[0] * (size_t)(m->count - line));
    m->rows[line] = row;
    m->count++;
}

static void step_replace(struct model *m)
{
    struct row fresh;
    int line = (int)any(m, (uint32_t)m->count);
    struct row *row = m->rows[line];
    random_row(m, &fresh);
    uint32_t grows = fresh.data_size > row->data_size ? fresh.data_size - row->data_size : 0;
    CHECK_EQ(page_can_replace(m->page, line, fresh.data_size), grows <= page_free(m->page));
    if (grows > page_free(m->page) || m->with_data)
        return;
    page_replace(m->page, line, row_data(&fresh));
    memcpy(row->data, fresh.data, fresh.data_size);
    row->data_size = fresh.data_size;
}

static void step_delete(struct model *m)
{
    int line = (int)any(m, (uint32_t)m->count);
    page_delete(m->page, line);
    free(m->rows[line]);
    m->count--;
    memmove(m->rows + line, m->rows + line + 1, sizeof m->rows[0] * (size_t)(m->count - line));
}

static uint32_t cost_with(const struct model *m, int line)
{
    struct slice key = row_key(m->rows[line]);
    return page_lines_cost(m->page, 0, m->count, key) + key.n;
}

/* The chosen line is as good as the best of all, and none is chosen only when none pays. */
static void check_best_prefix(const struct model *m)
{
    uint32_t least = page_lines_cost(m->page, 0, m->count, SLICE_EMPTY), without = least;
    for (int i = 0; i < m->count; i++)
        least = cost_with(m, i) < least ? cost_with(m, i) : least;
    int best = page_best_prefix(m->page, 0, m->count);
    CHECK_EQ(best >= 0 ? cost_with(m, best) : without, least);
    if (best >= 0)
        CHECK(least < without);
}

static void step_prefix(struct model *m)
{
    struct slice prefix = SLICE_EMPTY;
    uint32_t area = m->page.size - (page_is_large(m->page) ? 80 : 40);
    int line =
        any(m, 2) == 0 ? page_best_prefix(m->page, 0, m->count) : (int)any(m, (uint32_t)m->count);
    if (any(m, 4) != 0 && line >= 0)
        prefix = row_key(m->rows[line]);
    uint32_t cost = page_lines_cost(m->page, 0, m->count, prefix) + prefix.n + 4;
    if (cost > area)
        return;
    page_change_prefix(m->page, prefix);
    CHECK_EQ(page_free(m->page), area - cost);
    CHECK(slice_equal(page_prefix(m->page), prefix));
}

static void step_flags(struct model *m)
{
    int line = (int)any(m, (uint32_t)m->count);
    m->rows[line]->flags = any(m, 4);
    page_set_node_flags(m->page, line, m->rows[line]->flags);
}

static int sign(int c)
{
    return (c > 0) - (c < 0);
}

/* The node's key beside others: its neighbour's, parts of its own, and one byte more. */
static void check_compare(const struct model *m, int i, const struct node *node)
{
    uint8_t bytes[KEY_MOST + 1];
    struct slice own = row_key(m->rows[i]), next = row_key(m->rows[(i + 1) % m->count]);
    memcpy(bytes, own.p, own.n);
    bytes[own.n] = 0;
    CHECK_EQ(node_compare_key(node, next), sign(slice_compare(own, next)));
    CHECK_EQ(node_compare_key(node, SLICE(bytes, own.n + 1)), -1);
    for (uint32_t n = 0; n < own.n; n += 1 + n / 4)
        CHECK_EQ(node_compare_key(node, SLICE(bytes, n)), 1);
    if (own.n > 0) {
        bytes[own.n / 2]++;
        CHECK_EQ(node_compare_key(node, SLICE(bytes, own.n)), sign(slice_compare(own, SLICE(bytes, own.n))));
    }
}

static void check_equal(const struct model *m)
{
    CHECK_OK(page_validate(m->page));
    CHECK_EQ(page_line_count(m->page), m->count);
    struct slice prefix = page_prefix(m->page);
    bool deleted = false;
    for (int i = 0; i < m->count; i++) {
        struct node node;
        uint8_t key[KEY_MOST];
        CHECK_OK(page_node(m->page, i, &node));
        CHECK(slice_equal(SLICE(key, node_key_copy(&node, key)), row_key(m->rows[i])));
        CHECK(slice_equal(node.data, row_data(m->rows[i])));
        CHECK_EQ(node.flags & (NODE_VERSION | NODE_DELETED), m->rows[i]->flags);
        uint32_t common = slice_common_prefix(prefix, row_key(m->rows[i]));
        CHECK_EQ(node.prefix.n, common > 2 ? common : 0);
        check_compare(m, i, &node);
        deleted |= (node.flags & NODE_DELETED) != 0;
    }
    CHECK_EQ(page_has_deleted(m->page), deleted);
}

/* What deletes, moves and shorter data left behind goes; not a byte of a node does. */
static bool check_wipe(const struct model *m)
{
    bool dirty = !page_unused_is_zero(m->page);
    page_wipe_unused(m->page);
    CHECK(page_unused_is_zero(m->page));
    check_equal(m);
    uint32_t used = 0, area = m->page.size - (page_is_large(m->page) ? 80u : 40u), zero = 0;
    for (uint32_t i = m->page.size - area; i < m->page.size; i++)
        zero += m->page.p[i] == 0;
    used = area - page_free(m->page);
    CHECK(zero >= area - used);
    page_set_flags(m->page, page_flags(m->page) | PAGE_SCRUBBED);
    page_set_dbtime(m->page, page_dbtime(m->page) + 1);
    CHECK((page_flags(m->page) & PAGE_SCRUBBED) == 0); /* the next change takes the mark away */
    return dirty;
}

static void run_model(uint32_t size, bool with_data, unsigned long long *seed, int batches)
{
    static struct model m;
    memset(&m, 0, sizeof m);
    m.page = page_alone(size);
    m.seed = ctest_random(seed);
    m.with_data = with_data;
    m.data_most = size / 8 < DATA_MOST ? size / 8 : DATA_MOST;
    page_format(m.page, 7, 9, PAGE_LEAF | (with_data ? PAGE_NON_UNIQUE : 0), 0x41);
    uint32_t empty = page_free(m.page);
    int wiped = 0;
    for (int batch = 0; batch < batches; batch++) {
        uint32_t deletes = batch % 5 == 4 ? 12 : 3; /* fill, then thin out */
        for (int i = 0; i < 60; i++) {
            uint32_t what = any(&m, 24);
            if (what < 12 - deletes / 2 || m.count == 0)
                step_insert(&m);
            else if (what < 23 - deletes)
                step_replace(&m);
            else if (what < 23)
                step_delete(&m);
            else if (any(&m, 3) == 0)
                step_prefix(&m);
            else
                step_flags(&m);
        }
        check_equal(&m);
        if (batch % 8 == 0)
            check_best_prefix(&m);
        if (batch % 6 == 5)
            wiped += check_wipe(&m);
    }
    CHECK(wiped > 0);
    page_clear_nodes(m.page);
    CHECK_OK(page_validate(m.page));
    CHECK_EQ(page_free(m.page), empty - page_external(m.page).n);
    for (int i = 0; i < m.count; i++)
        free(m.rows[i]);
    free(m.page.p);
}

CASE(model_unique)
{
    unsigned long long seed = ctest_seed();
    FOR_EACH_SIZE(i)
    run_model(sizes[i], false, &seed, 60);
}

CASE(model_non_unique)
{
    unsigned long long seed = ctest_seed();
    FOR_EACH_SIZE(i)
    run_model(sizes[i], true, &seed, 60);
}

CASE(search_shares_key_and_data_with_prefix)
{
    /* The prefix reaches from the key into the data of what is searched for. */
    struct page page = page_alone(4096);
    page_format(page, 7, 9, PAGE_LEAF | PAGE_NON_UNIQUE, 0x41);
    page_set_external(page, SLICE("abcdefgh", 8));
    page_insert(page, 0, SLICE("abcdefga", 8), SLICE("1", 1), 0);
    page_insert(page, 1, SLICE("abcdefgh", 8), SLICE("1", 1), 0);
    page_insert(page, 2, SLICE("abcdefgh", 8), SLICE("3", 1), 0);
    bool equal;
    CHECK_EQ(page_search_key_data(page, SLICE("abcd", 4), SLICE("efgh1", 5), &equal), 1);
    CHECK(equal);
    CHECK_EQ(page_search_key_data(page, SLICE("abcd", 4), SLICE("efgh2", 5), &equal), 2);
    CHECK(!equal);
    CHECK_EQ(page_search_key_data(page, SLICE("abcd", 4), SLICE("efg", 3), &equal), 0);
    CHECK_EQ(page_search_key_data(page, SLICE("abcd", 4), SLICE("efh", 3), &equal), 3);
    CHECK_EQ(page_search_key_data(page, SLICE("abcdefgh4", 9), SLICE_EMPTY, &equal), 3);
    free(page.p);
}

CASE(search_empty_separator_is_infinity)
{
    FOR_EACH_SIZE(i)
    for (int lines = 1; lines < 40; lines++) {
        struct page page = page_alone(sizes[i]);
        page_format(page, 7, 9, PAGE_PARENT_OF_LEAF, 0x41);
        uint8_t key[4], child[4] = {9, 0, 0, 0};
        for (int line = 0; line < lines; line++) {
            store_be32(key, (uint32_t)line + 1);
            page_insert(page, line, line == lines - 1 ? SLICE_EMPTY : SLICE_OF(key),
                        SLICE_OF(child), 0);
        }
        CHECK_OK(page_validate(page));
        for (int n = 0; n <= lines; n++) {
            store_be32(key, (uint32_t)n);
            bool equal;
            int after = n < lines - 1 ? n : lines - 1;
            CHECK_EQ(page_search_branch(page, SLICE_OF(key)), after);
            CHECK_EQ(page_search(page, SLICE_OF(key), &equal), n == 0      ? 0
                                                               : n < lines ? n - 1
                                                                           : lines - 1);
            CHECK_EQ(equal, n > 0 && n < lines);
        }
        free(page.p);
    }
}

CASE(room_and_its_reserve)
{
    FOR_EACH_SIZE(i)
    {
        struct page page = page_alone(sizes[i]);
        static uint8_t bytes[PAGE_SIZE_MAX];
        page_format(page, 7, 9, PAGE_LEAF, 0x41);
        uint32_t most = page_node_most(sizes[i]);
        struct slice key = SLICE("k", 1);
        CHECK(page_can_insert(page, key, SLICE(bytes, most - 3)));
        CHECK(!page_can_insert_reserved(page, key, SLICE(bytes, most - 2)));
        page_set_uncommitted_free(page, 100);
        CHECK(!page_can_insert(page, key, SLICE(bytes, most - 102)));
        CHECK(page_can_insert(page, key, SLICE(bytes, most - 103)));
        CHECK(page_can_insert_reserved(page, key, SLICE(bytes, most - 3)));
        page_insert(page, 0, key, SLICE(bytes, most - 203), 0);
        CHECK_EQ(page_free(page), 200);
        CHECK(page_can_replace(page, 0, most - 103));
        CHECK(!page_can_replace(page, 0, most - 102));
        CHECK(page_can_replace_reserved(page, 0, most - 63, 40));
        CHECK(!page_can_replace_reserved(page, 0, most - 62, 40));
        CHECK(page_can_replace_reserved(page, 0, most - 3, UINT32_MAX));
        CHECK(!page_can_replace_reserved(page, 0, most - 2, UINT32_MAX));
        CHECK(!page_can_replace(page, 1, 1));
        page_set_uncommitted_free(page, 0);
        page_replace(page, 0, SLICE(bytes, most - 3));
        CHECK_EQ(page_free(page), 0);
        CHECK_OK(page_validate(page));
        free(page.p);
    }
}

CASE(line_count_has_a_limit)
{
    struct page page = page_alone(32768);
    page_format(page, 7, 9, PAGE_LEAF, 0x41);
    uint8_t key[2];
    int line = 0;
    for (;; line++) {
        key[0] = (uint8_t)(line >> 8);
        key[1] = (uint8_t)line;
        if (!page_can_insert(page, SLICE_OF(key), SLICE_EMPTY))
            break;
        page_insert(page, line, SLICE_OF(key), SLICE_EMPTY, 0);
    }
    CHECK_EQ(line, (32768 - 80 - 4) / 8); /* by room */
    page_clear_nodes(page);
    for (line = 0; page_can_insert_reserved(page, SLICE(key, 0), SLICE_EMPTY); line++)
        page_insert(page, line, SLICE(key, 0), SLICE_EMPTY, 0);
    CHECK_EQ(line, 4094); /* by the header's count */
    CHECK(page_free(page) > 1000);
    CHECK_EQ(page_line_count(page), 4094);
    free(page.p);
}

CASE(reserved_tags_of_newer_engines)
{
    /* Two tags before the first line. */
    struct page page = page_alone(16384);
    page_format(page, 7, 9, PAGE_LEAF, 0x41);
    page_insert(page, 0, SLICE("x", 1), SLICE("yz", 2), 0);
    page_insert(page, 1, SLICE("y", 1), SLICE("yz", 2), 0);
    store_u16(page.p + 34, 3 | 2 << 12);
    CHECK_EQ(page_line_count(page), 1);
    page_insert(page, 0, SLICE("a", 1), SLICE("b", 1), 0);
    CHECK_EQ(page_line_count(page), 2);
    bool equal;
    CHECK_EQ(page_search(page, SLICE("y", 1), &equal), 1);
    CHECK(equal);
    page_delete(page, 0);
    CHECK_EQ(load_u16(page.p + 34), 3 | 2 << 12);
    CHECK_OK(page_validate(page));
    free(page.p);
}

CASE(space_header_forms)
{
    struct page page = page_alone(4096);
    struct space_header h;
    page_format(page, 7, 9, PAGE_ROOT | PAGE_LEAF, 0x41);
    CHECK_EQ(page_space_header(page, &h), JET_errDatabaseCorrupted);
    page_set_external(page, HEX("03 0A000000 01000000 00000000 FC010000 1E00000000000000"));
    CHECK_OK(page_space_header(page, &h));
    CHECK_EQ(h.cpg_primary, 10);
    CHECK_EQ(h.avail_or_oe, 0x1fc);
    CHECK_OK(page_validate(page));
    page_set_external(page, HEX("01 0A000000 01000000 00000000 FC010000"));
    CHECK_OK(page_space_header(page, &h));
    CHECK_EQ(h.parent, 1);
    page_set_external(page, HEX("02 1E00000000000000"));
    CHECK_EQ(page_space_header(page, &h), JET_errDatabaseCorrupted);
    CHECK_EQ(page_validate(page), JET_errDatabaseCorrupted);
    page_set_flags(page, PAGE_ROOT | PAGE_LEAF | PAGE_SPACE_TREE);
    page_set_external(page, HEX("00000000 00000000 00000000 00000000 414243"));
    CHECK(slice_equal(page_prefix(page), SLICE("ABC", 3)));
    CHECK_EQ(page_space_header(page, &h), JET_errDatabaseCorrupted);
    free(page.p);
}

/* ---- verify, repair ---- */

static struct page filled_page(uint32_t size, uint32_t flags, unsigned long long *seed)
{
    struct page page = page_alone(size);
    page_format(page, 77, 9, flags, 0x123456789abcu);
    if ((flags & PAGE_ROOT) != 0)
        page_set_external(page, HEX("14000000 01000000 01000000 05000000"));
    else
        page_set_external(page, SLICE("key of the page", 15));
    uint8_t key[24] = "key of the pa", data[200];
    for (int line = 0;; line++) {
        bool leaf = (flags & PAGE_LEAF) != 0;
        uint32_t n = leaf ? 1 + (uint32_t)(ctest_random(seed) >> 20) % sizeof data : 4;
        for (uint32_t i = 0; i < n; i++)
            data[i] = (uint8_t)(1 + (ctest_random(seed) >> 20) % 200);
        store_be32(key + 12, (uint32_t)line);
        if (!page_can_insert(page, SLICE(key, 24), SLICE(data, n)))
            break;
        page_insert(page, line, SLICE(key, 24), SLICE(data, n), (unsigned)line % 3);
    }
    page_seal(page, 77);
    return page;
}

/* Flips bit `bit`, verifies, and says what came out; the page is as before afterwards. */
static err_t verify_flipped(struct page page, const uint8_t *sound, uint32_t bit, bool *same)
{
    bool corrected;
    page.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    err_t err = page_verify(page, 77, &corrected);
    *same = memcmp(page.p, sound, page.size) == 0;
    CHECK_EQ(corrected, err == JET_errSuccess);
    memcpy(page.p, sound, page.size);
    return err;
}

CASE(verify_repairs_one_bit)
{
    unsigned long long seed = ctest_seed();
    FOR_EACH_SIZE(i)
    {
        struct page page = filled_page(sizes[i], PAGE_LEAF, &seed);
        uint8_t *sound = malloc(page.size);
        bool corrected, same;
        memcpy(sound, page.p, page.size);
        CHECK_OK(page_verify(page, 77, &corrected));
        CHECK(!corrected);
        CHECK_EQ(page_verify(page, 76, &corrected), JET_errReadVerifyFailure); /* one bit off */
        CHECK(memcmp(page.p, sound, page.size) == 0);
        const uint32_t format_bit = 36 * 8 + 13;
        for (uint32_t bit = 0; bit < page.size * 8; bit += bit < 1024 ? 1 : 61) {
            err_t err = verify_flipped(page, sound, bit, &same);
            bool lost =
                bit < 32 || bit == format_bit; /* the stored XOR; the bit that names the checksum */
            if (lost)
                CHECK_EQ(err, JET_errReadVerifyFailure);
            else
                CHECK(err == JET_errSuccess && same);
        }
        free(sound);
        free(page.p);
    }
}

CASE(verify_refuses_more)
{
    unsigned long long seed = ctest_seed();
    FOR_EACH_SIZE(i)
    {
        struct page page = filled_page(sizes[i], PAGE_LEAF, &seed);
        uint8_t *sound = malloc(page.size);
        bool corrected;
        memcpy(sound, page.p, page.size);
        uint32_t block = page_is_large(page) ? page.size / 4 : page.size;
        for (int round = 0; round < 400; round++) {
            /* two bits of one block */
            uint32_t base =
                block * ((uint32_t)(ctest_random(&seed) >> 20) % (page.size / block)) * 8;
            uint32_t a = base + (uint32_t)(ctest_random(&seed) >> 20) % (block * 8);
            uint32_t b = base + (uint32_t)(ctest_random(&seed) >> 20) % (block * 8);
            if (a == b)
                continue;
            page.p[a / 8] ^= (uint8_t)(1u << a % 8);
            page.p[b / 8] ^= (uint8_t)(1u << b % 8);
            CHECK_EQ(page_verify(page, 77, &corrected), JET_errReadVerifyFailure);
            memcpy(page.p, sound, page.size);
            /* a torn write: zeros from some sector on */
            uint32_t torn =
                512 * (1 + (uint32_t)(ctest_random(&seed) >> 20) % (page.size / 512 - 1));
            memset(page.p + torn, 0, page.size - torn);
            CHECK_EQ(page_verify(page, 77, &corrected), JET_errReadVerifyFailure);
            memcpy(page.p, sound, page.size);
        }
        memset(page.p, 0, page.size);
        CHECK_EQ(page_verify(page, 77, &corrected), JET_errPageNotInitialized);
        page.p[page.size - 1] = 1;
        CHECK_EQ(page_verify(page, 77, &corrected), JET_errReadVerifyFailure);
        free(sound);
        free(page.p);
    }
}

CASE(verify_old_format)
{
    unsigned long long seed = ctest_seed();
    struct page page = filled_page(4096, PAGE_LEAF, &seed);
    bool corrected;
    page_set_flags(page, page_flags(page) & ~(uint32_t)PAGE_NEW_CHECKSUM);
    store_u32(page.p + 4, 77);
    store_u32(page.p, checksum_xor(page.p, 4096));
    CHECK_OK(page_verify(page, 77, &corrected));
    CHECK_EQ(page_verify(page, 78, &corrected), JET_errReadVerifyFailure);
    page.p[2000] ^= 4;
    CHECK_EQ(page_verify(page, 77, &corrected), JET_errReadVerifyFailure);
    free(page.p);
}

CASE(checksum_corrects_log_segments)
{
    static uint8_t block[4096], sound[4096];
    fill(block, sizeof block);
    memcpy(sound, block, sizeof block);
    uint64_t stored = checksum_ecc(block, sizeof block, 5, false);
    for (uint32_t bit = 0; bit < sizeof block * 8; bit += 37) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(checksum_ecc_correct(block, sizeof block, stored,
                                   checksum_ecc(block, sizeof block, 5, false)));
        CHECK(memcmp(block, sound, sizeof block) == 0);
    }
    CHECK(!checksum_ecc_correct(block, sizeof block, stored, stored ^ 1));
    CHECK(!checksum_ecc_correct(block, sizeof block, stored, stored ^ (uint64_t)1 << 40));
    CHECK(memcmp(block, sound, sizeof block) == 0);
}

/* ---- the structure check, and readers on any bytes ---- */

CASE(validate_names_the_damage)
{
    unsigned long long seed = ctest_seed();
    FOR_EACH_SIZE(i)
    {
        struct page page = filled_page(sizes[i], PAGE_LEAF, &seed);
        uint8_t *sound = malloc(page.size);
        memcpy(sound, page.p, page.size);
        CHECK_OK(page_validate(page));
        uint8_t *tag2 = page.p + page.size - 12;
        struct {
            const char *what;
            uint8_t *at;
            uint16_t value;
        } damage[] = {
            {"wrong count of free bytes", page.p + 28, (uint16_t)(page_free(page) + 1)},
            {"more reserved than free", page.p + 30, (uint16_t)(page_free(page) + 1)},
            {"data and tags overlap", page.p + 32, 0xffff},
            {"points outside the data", page.p + 32, 20},
            {"impossible number of tags", page.p + 34, 0},
            {"impossible number of tags", page.p + 34, 0x8000 | load_u16(page.p + 34)},
            {"overlap", tag2 + 2, load_u16(tag2 + 6)},
            {"leaf and branch", page.p + 36, PAGE_LEAF | PAGE_PARENT_OF_LEAF},
            {"no child page", page.p + 36, PAGE_PARENT_OF_LEAF},
            {"size of the space header", page.p + 36, PAGE_ROOT | PAGE_LEAF},
        };
        for (unsigned d = 0; d < sizeof damage / sizeof damage[0]; d++) {
            store_u16(damage[d].at, damage[d].value);
            CHECK_EQ(page_validate(page), JET_errDatabaseCorrupted);
            if (strstr(err_last()->detail, damage[d].what) == NULL) {
                fprintf(stderr, "%s, not %s\n", err_last()->detail, damage[d].what);
                CHECK(false);
            }
            memcpy(page.p, sound, page.size);
        }
        struct node node;
        CHECK_OK(page_node(page, 1, &node));
        page.p[node.suffix.p - page.p] ^= 0x80; /* first byte after the shared ones */
        CHECK_EQ(page_validate(page), JET_errDatabaseCorrupted);
        CHECK(strstr(err_last()->detail, "keys out of order") != NULL);
        free(sound);
        free(page.p);
    }
}

CASE(empty_tag_may_point_anywhere)
{
    /* As Windows leaves a page that a merge emptied. */
    struct page page = page_alone(4096);
    page_format(page, 85, 9, PAGE_LEAF | PAGE_EMPTY, 35136);
    store_u32(page.p + 4092, 3346u << 16);
    CHECK_OK(page_validate(page));
    CHECK_EQ(page_external(page).n, 0);
    page_insert(page, 0, SLICE("key", 3), SLICE("data", 4), 0);
    page_set_external(page, SLICE("prefix", 6));
    page_set_external(page, SLICE_EMPTY);
    page_change_prefix(page, SLICE("ke", 2));
    CHECK_OK(page_validate(page));
    free(page.p);
}

static uint32_t touch(struct slice s)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < s.n; i++)
        sum += s.p[i];
    return sum;
}

/* Calls every reader and touches every byte that it gives. */
static uint32_t read_all(struct page page, const uint8_t *key, uint32_t key_size)
{
    static uint8_t whole[2 * PAGE_SIZE_MAX];
    bool equal;
    pgno_t child;
    struct space_header h;
    struct slice k = SLICE(key, key_size), d = SLICE(key, key_size / 2);
    uint32_t sum = touch(page_external(page)) + touch(page_prefix(page));
    int count = page_line_count(page);
    for (int line = -1; line <= count; line++) {
        struct node node;
        if (page_node(page, line, &node) != JET_errSuccess)
            CHECK_EQ(node.prefix.n + node.suffix.n + node.data.n, 0);
        sum += touch(node.prefix) + touch(node.suffix) + touch(node.data);
        CHECK(node_key_copy(&node, whole) == node_key_size(&node));
        sum += (uint32_t)node_compare_key(&node, k) + (uint32_t)node_compare_key_data(&node, k, d);
        sum += (uint32_t)page_child(page, line, &child);
        sum += page_can_replace(page, line, 100);
    }
    int found[] = {page_search(page, k, &equal), page_search_key_data(page, k, d, &equal),
                   page_search_branch(page, k)};
    for (int i = 0; i < 3; i++)
        CHECK(found[i] >= 0 && found[i] <= count);
    sum += page_share(page, k) + page_can_insert(page, k, d) + page_can_insert_reserved(page, k, d);
    int best = page_best_prefix(page, 0, count);
    CHECK(best >= -1 && best < count);
    sum += page_lines_cost(page, 0, count, k);
    sum += (uint32_t)page_space_header(page, &h);
    return sum + (uint32_t)page_validate(page);
}

CASE(hostile_bytes)
{
    unsigned long long seed = ctest_seed();
    static const uint32_t kinds[] = {PAGE_LEAF, PAGE_ROOT | PAGE_LEAF, PAGE_PARENT_OF_LEAF,
                                     PAGE_LEAF | PAGE_NON_UNIQUE,
                                     PAGE_ROOT | PAGE_LEAF | PAGE_SPACE_TREE};
    uint32_t sum = 0;
    FOR_EACH_SIZE(i)
    for (unsigned kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        struct page page = filled_page(sizes[i], kinds[kind], &seed);
        uint8_t *sound = malloc(page.size), *key = malloc(16);
        memcpy(sound, page.p, page.size);
        memcpy(key, "key of the page!", 16);
        CHECK_OK(page_validate(page));
        for (int round = 0; round < 120; round++) {
            memcpy(page.p, sound, page.size);
            int hits = 1 + round % 12;
            for (int hit = 0; hit < hits; hit++) {
                uint64_t r = ctest_random(&seed) >> 7;
                /* the header, the tags, line heads, or anywhere */
                uint32_t at = r % 4 == 0   ? 16 + (r >> 8) % 24
                              : r % 4 == 1 ? page.size - 1 - (r >> 8) % 200
                              : r % 4 == 2 ? 40 + (r >> 8) % 300
                                           : (uint32_t)((r >> 8) % page.size);
                page.p[at] = (uint8_t)(r >> 40);
            }
            sum += read_all(page, key, (uint32_t)round % 17);
            page_wipe_unused(page);
            CHECK(page_unused_is_zero(page));
        }
        for (uint32_t b = 0; b < page.size; b++)
            page.p[b] = (uint8_t)(ctest_random(&seed) >> 13);
        sum += read_all(page, key, 16);
        memset(page.p, 0xff, page.size);
        sum += read_all(page, key, 16);
        free(key);
        free(sound);
        free(page.p);
    }
    printf("sum %u\n", sum);
}

CTEST_MAIN
