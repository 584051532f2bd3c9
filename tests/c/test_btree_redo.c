/* btree's log records, the changes that they stand for, and their redo. */
#include <sys/stat.h>
#include <unistd.h>

#include "btree/btree_apply.h"
#include "btree/btree_format.h"
#include "btree/btree_merge.h"
#include "ctest.h"

static unsigned long long dice;

static uint32_t roll(uint32_t n)
{
    return (uint32_t)(ctest_random(&dice) >> 11) % n;
}

static void start_dice(void)
{
    dice = ctest_seed();
    for (int i = 0; i < 8; i++)
        (void)ctest_random(&dice);
}

static void fill(uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)ctest_random(&dice);
}

/* ---- records ---- */

static const unsigned node_types[] = {LOG_Insert, LOG_FlagInsert, LOG_FlagInsertAndReplaceData, LOG_FlagDelete, LOG_Replace, LOG_ReplaceD,
                                      LOG_Delete, LOG_UndoInfo, LOG_Delta, LOG_Delta64, LOG_SetExternalHeader, LOG_Undo, LOG_EmptyTree, LOG_Scrub};

static uint8_t bytes[8][4096];

static struct slice some(int i, uint32_t most)
{
    uint32_t n = roll(most);
    fill(bytes[i], n);
    return SLICE(bytes[i], n);
}

static struct record_head some_head(unsigned type)
{
    return (struct record_head){(uint8_t)type, (uint16_t)roll(65536), (dbid_t)roll(7), roll(1u << 30), roll(1u << 30), roll(1u << 30),
                                roll(1u << 30), (uint8_t)roll(8), (uint16_t)roll(4000), (uint8_t)roll(16)};
}

static bool same_head(const struct record_head *a, const struct record_head *b)
{
    return a->type == b->type && a->procid == b->procid && a->dbid == b->dbid && a->pgno == b->pgno && a->dbtime == b->dbtime &&
           a->before == b->before && a->begin == b->begin && a->level == b->level && a->line == b->line && a->flags == b->flags;
}

static struct node_record some_node(unsigned type)
{
    struct node_record r = {.head = some_head(type), .rceid = roll(1u << 30), .root = roll(1u << 30), .objid = roll(1u << 30)};
    bool keyed = type == LOG_FlagInsert || type == LOG_FlagInsertAndReplaceData;
    bool marked = type == LOG_UndoInfo || type == LOG_Delta || type == LOG_Delta64 || type == LOG_Undo;
    if (type == LOG_Insert)
        r.prefix = some(0, 300);
    if (type == LOG_Insert || keyed || marked)
        r.suffix = some(1, 300);
    if (marked)
        r.bookmark_data = some(2, 300);
    if (type != LOG_FlagDelete && type != LOG_Delete && (!marked || type == LOG_UndoInfo))
        r.data = some(3, 2000);
    if (type == LOG_EmptyTree)
        r.data.n &= ~(EMPTY_PAGE_SIZE - 1);
    if (type == LOG_Replace || type == LOG_ReplaceD) {
        r.old_size = (uint16_t)roll(65536);
        r.new_size = (uint16_t)r.data.n;
        r.wide = type == LOG_ReplaceD && roll(2);
    }
    if (type == LOG_FlagInsertAndReplaceData)
        r.rceid_replace = roll(1u << 30);
    if (type == LOG_UndoInfo || type == LOG_Undo)
        r.oper = (uint16_t)roll(10);
    r.level_undone = type == LOG_Undo ? (uint8_t)roll(7) : 0;
    if (type == LOG_UndoInfo)
        r.max_size = (int16_t)roll(65536), r.delta_size = (int16_t)roll(65536);
    if (type == LOG_Delta || type == LOG_Delta64)
        r.delta = type == LOG_Delta ? (int32_t)ctest_random(&dice) : (int64_t)ctest_random(&dice), r.offset = (uint16_t)roll(65536);
    if (type == LOG_Scrub)
        r.scrub_flags = roll(4), r.scrub_count = roll(1000);
    return r;
}

static bool same_node(const struct node_record *a, const struct node_record *b)
{
    return same_head(&a->head, &b->head) && a->rceid == b->rceid && a->root == b->root && a->objid == b->objid &&
           slice_equal(a->prefix, b->prefix) && slice_equal(a->suffix, b->suffix) && slice_equal(a->data, b->data) &&
           slice_equal(a->bookmark_data, b->bookmark_data) && a->old_size == b->old_size && a->new_size == b->new_size && a->wide == b->wide &&
           a->rceid_replace == b->rceid_replace && a->oper == b->oper && a->level_undone == b->level_undone && a->max_size == b->max_size &&
           a->delta_size == b->delta_size && a->delta == b->delta && a->offset == b->offset && a->scrub_flags == b->scrub_flags &&
           a->scrub_count == b->scrub_count;
}

/* On the heap and no longer than the record: a read beyond it is seen by the address sanitizer. */
static uint8_t *flat(const struct encoded *e, uint32_t *n)
{
    *n = btree_encoded_size(e);
    uint8_t *p = malloc(*n);
    CHECK(p != NULL);
    btree_encoded_flatten(e, p);
    return p;
}

static void check_size_known(const uint8_t *p, uint32_t n)
{
    uint32_t size;
    CHECK_OK(log_record_size(SLICE(p, n), &size));
    CHECK_EQ(size, n);
}

CASE(node_records_come_back)
{
    start_dice();
    for (int round = 0; round < 200; round++) {
        for (size_t t = 0; t < sizeof node_types / sizeof *node_types; t++) {
            struct node_record r = some_node(node_types[t]), back;
            struct encoded e;
            uint32_t n;
            btree_encode_node(&r, &e);
            uint8_t *p = flat(&e, &n);
            check_size_known(p, n);
            CHECK_OK(btree_decode_node(SLICE(p, n), &back));
            CHECK(same_node(&r, &back));
            CHECK(btree_decode_node(SLICE(p, n - 1), &back) == JET_errLogFileCorrupt);
            free(p);
        }
    }
}

static struct split_record some_split(void)
{
    return (struct split_record){
        .head = some_head(LOG_Split2),
        .pgno_new = roll(1u << 30), .pgno_right = roll(1u << 30), .pgno_parent = roll(1u << 30),
        .right_before = ctest_random(&dice), .parent_before = ctest_random(&dice),
        .root = roll(1u << 30), .objid = roll(1u << 30),
        .type = (uint8_t)roll(3), .oper = (uint8_t)roll(4),
        .line_oper = (uint16_t)roll(4000), .line_split = (uint16_t)roll(4000), .lines = (uint16_t)roll(4000),
        .new_flags = roll(1u << 20), .split_flags = roll(1u << 20),
        .free_source = (int16_t)roll(65536), .free_new = (int16_t)roll(65536),
        .prefix_line_split = (int32_t)roll(100) - 1, .prefix_line_new = (int32_t)roll(100) - 1,
        .prefix_old = some(0, 300), .prefix_new = some(1, 300), .separator = some(2, 300),
        .image_flags = roll(4), .image = some(3, 4096),
    };
}

CASE(split_records_come_back)
{
    start_dice();
    for (int round = 0; round < 500; round++) {
        struct split_record r = some_split(), back;
        struct encoded e;
        uint32_t n;
        btree_encode_split(&r, &e);
        uint8_t *p = flat(&e, &n);
        check_size_known(p, n);
        CHECK_OK(btree_decode_split(SLICE(p, n), &back));
        CHECK(same_head(&r.head, &back.head));
        CHECK(r.pgno_new == back.pgno_new && r.pgno_right == back.pgno_right && r.pgno_parent == back.pgno_parent);
        CHECK(r.right_before == back.right_before && r.parent_before == back.parent_before && r.root == back.root && r.objid == back.objid);
        CHECK(r.type == back.type && r.oper == back.oper && r.line_oper == back.line_oper && r.line_split == back.line_split && r.lines == back.lines);
        CHECK(r.new_flags == back.new_flags && r.split_flags == back.split_flags && r.free_source == back.free_source && r.free_new == back.free_new);
        CHECK(r.prefix_line_split == back.prefix_line_split && r.prefix_line_new == back.prefix_line_new && r.image_flags == back.image_flags);
        CHECK(slice_equal(r.prefix_old, back.prefix_old) && slice_equal(r.prefix_new, back.prefix_new));
        CHECK(slice_equal(r.separator, back.separator) && slice_equal(r.image, back.image));
        free(p);
    }
}

CASE(merge_records_come_back)
{
    start_dice();
    for (int round = 0; round < 500; round++) {
        struct merge_record back, r = {
            .head = some_head(LOG_Merge2), .pgno_right = roll(1u << 30), .pgno_left = roll(1u << 30), .pgno_parent = roll(1u << 30),
            .right_before = ctest_random(&dice), .left_before = ctest_random(&dice), .parent_before = ctest_random(&dice),
            .root = roll(1u << 30), .objid = roll(1u << 30), .size_total = (uint16_t)roll(65536), .size_max_total = (uint16_t)roll(65536),
            .free_dest = (uint16_t)roll(65536), .line_merge = (uint16_t)roll(65536), .flags = (uint8_t)roll(8), .type = (uint8_t)roll(7),
            .separator = some(0, 300), .image_flags = roll(4), .image = some(1, 4096)};
        struct encoded e;
        uint32_t n;
        btree_encode_merge(&r, &e);
        uint8_t *p = flat(&e, &n);
        check_size_known(p, n);
        CHECK_OK(btree_decode_merge(SLICE(p, n), &back));
        CHECK(same_head(&r.head, &back.head) && r.pgno_right == back.pgno_right && r.pgno_left == back.pgno_left && r.pgno_parent == back.pgno_parent);
        CHECK(r.right_before == back.right_before && r.left_before == back.left_before && r.parent_before == back.parent_before);
        CHECK(r.root == back.root && r.objid == back.objid && r.size_total == back.size_total && r.size_max_total == back.size_max_total);
        CHECK(r.free_dest == back.free_dest && r.line_merge == back.line_merge && r.flags == back.flags && r.type == back.type);
        CHECK(r.image_flags == back.image_flags && slice_equal(r.separator, back.separator) && slice_equal(r.image, back.image));
        free(p);
    }
}

CASE(other_records_come_back)
{
    struct encoded e;
    uint32_t n;
    uint8_t *p;
    start_dice();

    struct macro_record macro = {LOG_MacroCommit, 77, 0x123456789aull}, macro_back;
    btree_encode_macro(&macro, &e);
    p = flat(&e, &n);
    check_size_known(p, n);
    CHECK_OK(btree_decode_macro(SLICE(p, n), &macro_back));
    CHECK(macro.type == macro_back.type && macro.procid == macro_back.procid && macro.dbtime == macro_back.dbtime);
    free(p);

    struct page_move_record back, move = {.head = some_head(LOG_PageMove), .pgno_dest = 1, .pgno_left = 2, .pgno_right = 3, .pgno_parent = 4,
                                          .left_before = 5, .right_before = 6, .parent_before = 7, .root = 8, .objid = 9, .line_parent = -1,
                                          .flags = 11, .image_head = some(0, 900), .image_tail = some(1, 900)};
    btree_encode_page_move(&move, &e);
    p = flat(&e, &n);
    check_size_known(p, n);
    CHECK_OK(btree_decode_page_move(SLICE(p, n), &back));
    CHECK(same_head(&move.head, &back.head) && back.pgno_dest == 1 && back.pgno_left == 2 && back.pgno_right == 3 && back.pgno_parent == 4);
    CHECK(back.left_before == 5 && back.right_before == 6 && back.parent_before == 7 && back.root == 8 && back.objid == 9);
    CHECK(back.line_parent == -1 && back.flags == 11 && slice_equal(back.image_head, move.image_head) && slice_equal(back.image_tail, move.image_tail));
    free(p);

    struct new_page_record fresh = {1, 2, 3, 4, 5}, fresh_back;
    btree_encode_new_page(&fresh, &e);
    p = flat(&e, &n);
    check_size_known(p, n);
    CHECK_OK(btree_decode_new_page(SLICE(p, n), &fresh_back));
    CHECK(fresh_back.procid == 1 && fresh_back.dbid == 2 && fresh_back.pgno == 3 && fresh_back.objid == 4 && fresh_back.dbtime == 5);
    free(p);

    struct root_move_record root = {1, 2, 3, 4}, root_back;
    btree_encode_root_move(&root, &e);
    p = flat(&e, &n);
    check_size_known(p, n);
    CHECK_OK(btree_decode_root_move(SLICE(p, n), &root_back));
    CHECK(root_back.dbtime == 1 && root_back.dbid == 2 && root_back.objid == 3 && root_back.procid == 4);
    free(p);

    uint8_t pgnos[8] = {1, 0, 0, 0, 2, 0, 0, 0};
    for (unsigned type = LOG_MacroInfo; type <= LOG_MacroInfo2; type += LOG_MacroInfo2 - LOG_MacroInfo) {
        struct macro_info_record info = {(uint8_t)type, type == LOG_MacroInfo ? 1 : 3, SLICE(pgnos, 8)}, info_back;
        btree_encode_macro_info(&info, &e);
        p = flat(&e, &n);
        check_size_known(p, n);
        CHECK_OK(btree_decode_macro_info(SLICE(p, n), &info_back));
        CHECK(info_back.type == type && info_back.dbid == info.dbid && slice_equal(info_back.pgnos, info.pgnos));
        free(p);
    }
}

static void decode_any(struct slice record)
{
    struct record_head head;
    struct node_record node;
    struct split_record split;
    struct merge_record merge;
    struct macro_record macro;
    struct page_move_record move;
    struct new_page_record fresh;
    struct root_move_record root;
    struct macro_info_record info;
    err_t errs[] = {btree_decode_head(record, &head),      btree_decode_node(record, &node),       btree_decode_split(record, &split),
                    btree_decode_merge(record, &merge),    btree_decode_macro(record, &macro),     btree_decode_page_move(record, &move),
                    btree_decode_new_page(record, &fresh), btree_decode_root_move(record, &root),  btree_decode_macro_info(record, &info)};
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++)
        CHECK(errs[i] == JET_errSuccess || errs[i] == JET_errLogFileCorrupt);
}

CASE(hostile_records_are_refused)
{
    start_dice();
    for (int round = 0; round < 4000; round++) {
        struct encoded e;
        uint32_t n;
        struct node_record node = some_node(node_types[roll(sizeof node_types / sizeof *node_types)]);
        struct split_record split = some_split();
        if (roll(2))
            btree_encode_node(&node, &e);
        else
            btree_encode_split(&split, &e);
        uint8_t *p = flat(&e, &n);
        for (uint32_t hits = 1 + roll(6); hits > 0; hits--)
            p[roll(n < 112 ? n : 112)] = (uint8_t)ctest_random(&dice);
        uint32_t cut = roll(4) == 0 ? roll(n + 1) : n;
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, p, cut);
        decode_any(SLICE(exact, cut));
        free(exact);
        free(p);
    }
    uint8_t none = 0;
    decode_any(SLICE(&none, 0));
}

/* ---- differences ---- */

static uint32_t mutate(uint8_t *to, const uint8_t *from, uint32_t n)
{
    memcpy(to, from, n);
    for (uint32_t i = roll(6); i > 0 && n > 0; i--)
        to[roll(n)] ^= (uint8_t)(1 + roll(255));
    switch (roll(4)) {
    case 0: { /* cut a piece out */
        uint32_t at = roll(n + 1), len = roll(n - at + 1);
        memmove(to + at, to + at + len, n - at - len);
        return n - len;
    }
    case 1: { /* put a piece in */
        uint32_t at = roll(n + 1), len = roll(600);
        memmove(to + at + len, to + at, n - at);
        fill(to + at, len);
        return n + len;
    }
    default:
        return n;
    }
}

CASE(differences_lead_from_old_to_new)
{
    static uint8_t old[8192], new[9000], diff[9000], got[9000];
    int used = 0;
    start_dice();
    for (int round = 0; round < 20000; round++) {
        uint32_t n = roll(4) == 0 ? roll(8192) : roll(300);
        bool wide = roll(2);
        fill(old, n);
        uint32_t m = mutate(new, old, n);
        uint32_t size = btree_diff_make(SLICE(old, n), SLICE(new, m), wide, diff, m);
        if (size == 0)
            continue;
        used++;
        CHECK(size < m);
        CHECK_OK(btree_diff_apply(SLICE(old, n), SLICE(diff, size), wide, got, sizeof got, m));
        CHECK(memcmp(got, new, m) == 0);
        CHECK(btree_diff_apply(SLICE(old, n), SLICE(diff, size), wide, got, sizeof got, m + 1) == JET_errLogFileCorrupt);
    }
    CHECK(used > 10000);
}

CASE(differences_of_the_facts)
{
    /* offset 2, same length, 1 byte; offset 4, insert of 2; offset 5, two-byte lengths: 1 new for 3 old; from log-format.md 7.5 */
    static const uint8_t diff[] = {0x02, 0x20, 1, 'X', 0x04, 0x40, 2, 'Y', 'Z', 0x05, 0x80, 1, 0, 3, 0, 'W'};
    uint8_t got[32];
    CHECK_OK(btree_diff_apply(SLICE("abcdefghij", 10), SLICE(diff, sizeof diff), false, got, sizeof got, 10));
    CHECK(memcmp(got, "abXdYZeWij", 10) == 0);
    static const uint8_t wide[] = {0x02, 0x00, 0x20, 1, 'X', 0x03, 0x00, 0x00, 0, 7};
    CHECK_OK(btree_diff_apply(SLICE("abcdefghij", 10), SLICE(wide, sizeof wide), true, got, sizeof got, 3));
    CHECK(memcmp(got, "abX", 3) == 0);
    static const uint8_t back[] = {0x04, 0x20, 1, 'X', 0x02, 0x20, 1, 'Y'};
    CHECK(btree_diff_apply(SLICE("abcdefghij", 10), SLICE(back, sizeof back), false, got, sizeof got, 10) == JET_errLogFileCorrupt);
}

CASE(hostile_differences_are_refused)
{
    static uint8_t old[300], got[400];
    start_dice();
    for (int round = 0; round < 20000; round++) {
        uint32_t n = roll(40);
        uint8_t *diff = malloc(n + 1);
        fill(old, sizeof old);
        fill(diff, n);
        for (uint32_t i = 1; i < n; i += 3)
            diff[i] &= 0xe0; /* offsets that lie in the data */
        err_t err = btree_diff_apply(SLICE(old, sizeof old), SLICE(diff, n), roll(2), got, sizeof got, 300 + roll(40));
        CHECK(err == JET_errSuccess || err == JET_errLogFileCorrupt);
        free(diff);
    }
}

CTEST_MAIN
