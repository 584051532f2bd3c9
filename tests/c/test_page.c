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
    static const uint64_t header[] = {0x3FCA00352C3C2C0Eu, 0x7FCA00352C3C2C0Eu, 0xFFCA00352C3C2C0Eu};
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
static uint64_t checksum_by_the_book(const uint8_t *block, uint32_t n, uint32_t pgno, bool header_block)
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
    FOR_EACH_SIZE (i) {
        struct page page = page_alone(sizes[i]);
        page_format(page, 13, 2, PAGE_LEAF, 0x50);
        page_set_external(page, HEX("7F800000027F80027F80000001"));
        struct slice key = HEX("7F80000002 7F8001 7F80000002");
        struct slice data = HEX("08 80 2000 02000000 0100 02000000 04000000 50000000 000000C0 14000000 FF 00 0B00"
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
    CHECK(memcmp(page.p + 40 + 16, HEX("0D00 7F800000037F80027F80000104 0D000000 0000 0E000000").p, 25) == 0);
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

CTEST_MAIN
