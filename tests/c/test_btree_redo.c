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

/* ---- macros over pages of which some are newer already ---- */

#define OBJID 10u
#define BEFORE 0x50u
#define AFTER 0x90u
#define PAGES 6 /* 0 is unused; 1 the root; 2, 3, 4 leaves; 5 the new page of splits */

struct set {
    uint8_t page[PAGES][4096];
};
struct small_world {
    char dir[OS_PATH_MAX], path[OS_PATH_MAX];
    struct cache *cache;
    struct versions *versions;
    struct dbfile *db;
    struct trx trx;
};

static struct page page_of(struct set *set, pgno_t pgno)
{
    return (struct page){set->page[pgno], 4096};
}

static void open_small(struct small_world *w)
{
    const char *tmp = getenv("TMPDIR");
    *w = (struct small_world){0};
    snprintf(w->dir, 200, "%s/pyjet-redo-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(w->dir) != NULL);
    CHECK_OK(os_join(w->path, sizeof w->path, w->dir, "a.edb"));
    struct cache_config cc = {.page_size = 4096, .bytes_max = 64 * 4096};
    CHECK_OK(cache_create(&cc, &w->cache));
    CHECK_OK(versions_create(1 << 20, &w->versions));
    struct dbfile_config dc = {.cache = w->cache, .versions = w->versions, .dbid = 1};
    CHECK_OK(dbfile_create(&dc, w->path, 16, false, &w->db));
    trx_init(&w->trx, w->versions, NULL, 7, false, NULL);
    trx_redo_begin0(&w->trx, 8, 1, LGPOS(1, 1, 0));
}

static void close_small(struct small_world *w)
{
    trx_redo_end(&w->trx);
    trx_term(&w->trx);
    dbfile_close(w->db);
    versions_destroy(w->versions);
    cache_destroy(w->cache);
    CHECK_OK(os_unlink(w->path));
    CHECK_OK(os_dir_remove(w->dir));
}

static void load_set(struct small_world *w, const struct set *set)
{
    for (pgno_t pgno = 1; pgno < PAGES; pgno++) {
        struct page_ref ref;
        CHECK_OK(cache_latch(w->db, pgno, LATCH_WRITE, CACHE_NO_READ, &ref));
        cache_mark_dirty(&ref, LGPOS(1, 1, 0));
        memcpy(ref.page.p, set->page[pgno], 4096);
        cache_set_lgpos(&ref, LGPOS(1, 1, 0));
        cache_release(&ref);
    }
}

static void save_set(struct small_world *w, struct set *set)
{
    for (pgno_t pgno = 1; pgno < PAGES; pgno++) {
        struct page_ref ref;
        CHECK_OK(cache_latch(w->db, pgno, LATCH_READ, CACHE_REDO, &ref));
        memcpy(set->page[pgno], ref.page.p, 4096);
        cache_release(&ref);
    }
}

static void check_same(struct page a, struct page b, pgno_t pgno)
{
    if (pgno == 5 && page_is_all_zero(a) && page_is_all_zero(b))
        return;
    CHECK_OK(page_validate(a));
    CHECK_OK(page_validate(b));
    CHECK_EQ(page_dbtime(a), page_dbtime(b));
    CHECK(page_prev(a) == page_prev(b) && page_next(a) == page_next(b) && page_flags(a) == page_flags(b));
    CHECK(slice_equal(page_external(a), page_external(b)));
    CHECK_EQ(page_line_count(a), page_line_count(b));
    for (int i = 0; i < page_line_count(a); i++) {
        struct node x, y;
        uint8_t kx[4096], ky[4096];
        CHECK_OK(page_node(a, i, &x));
        CHECK_OK(page_node(b, i, &y));
        CHECK(slice_equal(SLICE(kx, node_key_copy(&x, kx)), SLICE(ky, node_key_copy(&y, ky))) && slice_equal(x.data, y.data));
        CHECK_EQ(x.flags & NODE_DELETED, y.flags & NODE_DELETED);
    }
}

static void key_of(int i, uint8_t key[16])
{
    memcpy(key, "prefix/", 8);
    store_be32(key + 8, (uint32_t)i);
}

static void add_row(struct page page, int i, unsigned flags)
{
    uint8_t key[16], data[24];
    key_of(i, key);
    memset(data, i, sizeof data);
    page_insert(page, page_line_count(page), SLICE(key, 12), SLICE(data, sizeof data), flags);
}

static void add_pointer(struct page page, int below, pgno_t child)
{
    uint8_t key[16], pointer[4];
    key_of(below, key);
    store_u32(pointer, child);
    page_insert(page, page_line_count(page), SLICE(key, below == 0 ? 0 : 12), SLICE(pointer, 4), 0);
}

/* Root over leaves 2 (rows 0..), 3 (100..) and 4 (200..); `source_rows` on 3, of which each seventh is deleted. */
static void make_set(struct set *set, int rows, int source_rows)
{
    memset(set, 0, sizeof *set);
    page_format(page_of(set, 1), 1, OBJID, PAGE_ROOT | PAGE_PARENT_OF_LEAF, BEFORE);
    uint8_t header[16] = {1};
    page_set_external(page_of(set, 1), SLICE(header, 16));
    add_pointer(page_of(set, 1), 100, 2);
    add_pointer(page_of(set, 1), 200, 3);
    add_pointer(page_of(set, 1), 0, 4);
    for (pgno_t pgno = 2; pgno <= 4; pgno++) {
        struct page page = page_of(set, pgno);
        page_format(page, pgno, OBJID, PAGE_LEAF, BEFORE);
        page_set_prev(page, pgno == 2 ? 0 : pgno - 1);
        page_set_next(page, pgno == 4 ? 0 : pgno + 1);
        uint8_t key[16];
        key_of((int)pgno * 7, key);
        page_set_external(page, SLICE(key, 9 + pgno));
        for (int i = 0; i < (pgno == 3 ? source_rows : rows); i++)
            add_row(page, ((int)pgno - 2) * 100 + i, pgno == 3 && i % 7 == 6 ? NODE_DELETED : 0);
    }
}

struct macro {
    struct encoded e[4];
    uint8_t *flat[4];
    struct slice record[4];
    int count;
};

static void seal_macro(struct macro *m)
{
    for (int i = 0; i < m->count; i++) {
        uint32_t n;
        m->flat[i] = flat(&m->e[i], &n);
        m->record[i] = SLICE(m->flat[i], n);
        check_size_known(m->flat[i], n);
    }
}

static void free_macro(struct macro *m)
{
    for (int i = 0; i < m->count; i++)
        free(m->flat[i]);
}

static struct redo redo_of(struct small_world *w)
{
    return (struct redo){.db = w->db, .trx = &w->trx, .at = LGPOS(1, 2, 0), .end = LGPOS(1, 2, 100), .in_range = true};
}

/* Whatever pages are new already, redo ends at the same ones. */
static void check_all_halves(struct small_world *w, const struct set *before, struct macro *m, struct set *after)
{
    struct redo redo = redo_of(w);
    load_set(w, before);
    CHECK_OK(btree_redo_macro(&redo, m->record, m->count));
    save_set(w, after);
    for (unsigned mask = 1; mask < 1u << (PAGES - 1); mask++) {
        struct set mixed = *before, got;
        for (pgno_t pgno = 1; pgno < PAGES; pgno++)
            if (mask >> (pgno - 1) & 1)
                memcpy(mixed.page[pgno], after->page[pgno], 4096);
        load_set(w, &mixed);
        CHECK_OK(btree_redo_macro(&redo, m->record, m->count));
        save_set(w, &got);
        for (pgno_t pgno = 1; pgno < PAGES; pgno++)
            check_same(page_of(&got, pgno), page_of(after, pgno), pgno);
    }
}

static struct record_head head_for(unsigned type, pgno_t pgno, int line)
{
    return (struct record_head){.type = (uint8_t)type, .procid = 7, .dbid = 1, .pgno = pgno, .dbtime = AFTER, .before = BEFORE, .begin = 8,
                                .level = 1, .line = (uint16_t)line, .flags = LOG_FLAG_UNIQUE};
}

static void make_merge(struct macro *m, struct set *before, unsigned type, int line_merge, unsigned upper_flags, int separator)
{
    uint8_t key[16];
    key_of(separator, key);
    bool partial = merge_is_partial(type);
    struct merge_record upper = {.head = head_for(LOG_Merge2, 1, 1), .right_before = DBTIME_NIL, .left_before = DBTIME_NIL, .parent_before = DBTIME_NIL,
                                 .root = 1, .objid = OBJID, .flags = (uint8_t)upper_flags};
    struct merge_record leaf = {.head = head_for(LOG_Merge2, 3, 0), .pgno_left = 2, .pgno_right = 4, .pgno_parent = 1, .left_before = BEFORE,
                                .right_before = BEFORE, .parent_before = BEFORE, .root = 1, .objid = OBJID, .type = (uint8_t)type,
                                .line_merge = (uint16_t)line_merge, .flags = partial ? 0 : MERGE_EMPTY, .separator = SLICE(key, separator == 0 ? 0 : 12)};
    if (type != MERGE_EMPTY_PAGE)
        leaf.image = SLICE(before->page[3], 4096);
    uint8_t *image = malloc(4096);
    memcpy(image, before->page[3], 4096);
    page_set_dbtime((struct page){image, 4096}, AFTER); /* as Windows has it: content before, dbtime after */
    if (leaf.image.n != 0)
        leaf.image.p = image;
    m->count = 2;
    btree_encode_merge(&upper, &m->e[0]);
    btree_encode_merge(&leaf, &m->e[1]);
    seal_macro(m);
    free(image);
}

static int live_rows(struct set *set)
{
    int n = 0;
    for (pgno_t pgno = 2; pgno < PAGES; pgno++) {
        for (int i = 0; i < page_line_count(page_of(set, pgno)); i++) {
            struct node node;
            CHECK_OK(page_node(page_of(set, pgno), i, &node));
            n += (node.flags & NODE_DELETED) == 0;
        }
    }
    return n;
}

CASE(merges_half_redone)
{
    static const struct {
        unsigned type, flags;
        int line, separator, lines_left, lines_source, lines_right, pointers;
    } cases[] = {
        {MERGE_EMPTY_PAGE, MERGE_DELETE_NODE, 0, 0, 20, 0, 20, 2},
        {MERGE_FULL_RIGHT, MERGE_DELETE_NODE, 0, 0, 20, 0, 38, 2},
        {MERGE_PARTIAL_RIGHT, MERGE_KEY_CHANGE, 10, 110, 20, 10, 29, 3},
        {MERGE_FULL_LEFT, MERGE_KEY_CHANGE | MERGE_DELETE_NODE, 20, 0, 38, 0, 20, 2},
        {MERGE_PARTIAL_LEFT, MERGE_KEY_CHANGE, 9, 110, 29, 11, 20, 3},
    };
    struct small_world w;
    open_small(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct set before, after;
        struct macro m = {0};
        make_set(&before, 20, cases[i].type == MERGE_EMPTY_PAGE ? 0 : 21);
        int live = live_rows(&before);
        make_merge(&m, &before, cases[i].type, cases[i].line, cases[i].flags, cases[i].separator);
        check_all_halves(&w, &before, &m, &after);
        CHECK_EQ(page_line_count(page_of(&after, 2)), cases[i].lines_left);
        CHECK_EQ(page_line_count(page_of(&after, 3)), cases[i].lines_source);
        CHECK_EQ(page_line_count(page_of(&after, 4)), cases[i].lines_right);
        CHECK_EQ(page_line_count(page_of(&after, 1)), cases[i].pointers);
        CHECK_EQ(live_rows(&after), live);
        pgno_t child;
        for (int row = 0; row < 220; row += 3) { /* the parent leads to each row that is still there */
            uint8_t key[16];
            bool equal, there = false;
            key_of(row, key);
            for (pgno_t pgno = 2; pgno < PAGES; pgno++) {
                (void)page_search(page_of(&after, pgno), SLICE(key, 12), &equal);
                there = there || equal;
            }
            CHECK_OK(page_child(page_of(&after, 1), page_search_branch(page_of(&after, 1), SLICE(key, 12)), &child));
            (void)page_search(page_of(&after, child), SLICE(key, 12), &equal);
            CHECK_EQ(equal, there);
        }
        CHECK_EQ((page_flags(page_of(&after, 3)) & PAGE_EMPTY) != 0, !merge_is_partial(cases[i].type));
        free_macro(&m);
    }
    close_small(&w);
}

/* A split of leaf 3 into 3 and 5; with_image as the record must have it. */
static void make_split(struct macro *m, struct set *before, const struct split_record *shape, const struct node_record *leaf)
{
    struct split_record upper = {.head = head_for(LOG_Split2, 1, 0), .root = 1, .objid = OBJID, .line_oper = 1, .right_before = DBTIME_NIL,
                                 .parent_before = DBTIME_NIL};
    struct split_record r = *shape;
    uint8_t key[16], *image = malloc(4096);
    key_of(150, key);
    r.head = head_for(LOG_Split2, 3, 0);
    r.pgno_new = 5, r.pgno_right = 4, r.pgno_parent = 1, r.root = 1, r.objid = OBJID;
    r.right_before = r.parent_before = BEFORE;
    r.new_flags = PAGE_LEAF;
    r.separator = SLICE(key, 12);
    memcpy(image, before->page[3], 4096);
    page_set_dbtime((struct page){image, 4096}, AFTER);
    if (btree__split_needs_image(&r))
        r.image = SLICE(image, 4096);
    m->count = 2 + (leaf != NULL);
    btree_encode_split(&upper, &m->e[0]);
    btree_encode_split(&r, &m->e[1]);
    if (leaf != NULL)
        btree_encode_node(leaf, &m->e[2]);
    seal_macro(m);
    free(image);
}

static struct node_record insert_of(int row, uint8_t key[16], const uint8_t *data, uint32_t n)
{
    key_of(row, key);
    struct node_record r = {.head = head_for(LOG_Insert, 3, 0), .rceid = 4, .root = 1, .objid = OBJID, .suffix = SLICE(key, 12), .data = SLICE(data, n)};
    r.head.before = DBTIME_NIL;
    r.head.flags |= LOG_FLAG_VERSIONED;
    return r;
}

CASE(splits_half_redone)
{
    static struct set before, after;
    static const uint8_t data[40] = "new";
    struct small_world w;
    uint8_t key[16];
    struct version_undo u;
    open_small(&w);
    make_set(&before, 20, 60);
    struct slice prefix = page_external(page_of(&before, 3));
    struct split_record shapes[] = {
        {.type = SPLIT_RIGHT, .oper = SPLIT_OPER_INSERT, .line_oper = 40, .line_split = 30, .lines = 61, .prefix_line_split = 1, .prefix_line_new = 2},
        {.type = SPLIT_RIGHT, .oper = SPLIT_OPER_INSERT, .line_oper = 10, .line_split = 30, .lines = 61, .prefix_line_split = -1, .prefix_line_new = -1},
        {.type = SPLIT_RIGHT, .oper = SPLIT_OPER_INSERT, .line_oper = 60, .line_split = 60, .lines = 61, .prefix_line_split = -1, .prefix_line_new = 0},
        {.type = SPLIT_APPEND, .oper = SPLIT_OPER_INSERT, .line_oper = 60, .line_split = 60, .lines = 61, .prefix_line_split = -1, .prefix_line_new = -1},
        {.type = SPLIT_RIGHT, .oper = SPLIT_OPER_NONE, .line_oper = 0, .line_split = 30, .lines = 60, .prefix_line_split = -1, .prefix_line_new = 4},
        {.type = SPLIT_RIGHT, .oper = SPLIT_OPER_REPLACE, .line_oper = 33, .line_split = 30, .lines = 60, .prefix_line_split = -1, .prefix_line_new = 4},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct split_record *s = &shapes[i];
        struct macro m = {0};
        uint8_t chosen[16];
        int line = s->line_oper;
        struct node_record leaf = insert_of(100 + line, key, data, sizeof data);
        if (s->oper == SPLIT_OPER_INSERT && line < 60) { /* between two rows */
            key[11]--;
            memset(key + 12, 1, 2);
            leaf.suffix.n = 14;
        }
        if (s->oper == SPLIT_OPER_REPLACE) {
            leaf.head.type = LOG_Replace, leaf.suffix.n = 0;
            leaf.old_size = 24, leaf.new_size = sizeof data;
        }
        s->prefix_old = prefix;
        key_of(101, chosen);
        if (s->type == SPLIT_RIGHT && s->prefix_line_split == 1)
            s->prefix_new = SLICE(chosen, 12);
        make_split(&m, &before, s, s->oper == SPLIT_OPER_NONE ? NULL : &leaf);
        check_all_halves(&w, &before, &m, &after);
        CHECK_EQ(page_line_count(page_of(&after, 3)), s->line_split);
        CHECK_EQ(page_line_count(page_of(&after, 5)), s->lines - s->line_split);
        CHECK(page_next(page_of(&after, 3)) == 5 && page_prev(page_of(&after, 5)) == 3 && page_next(page_of(&after, 5)) == 4 && page_prev(page_of(&after, 4)) == 5);
        CHECK_EQ(page_line_count(page_of(&after, 1)), 4);
        CHECK_EQ(version_redo_find(&w.trx, 4, &u), s->oper != SPLIT_OPER_NONE);
        if (s->oper != SPLIT_OPER_NONE) {
            CHECK_EQ(u.oper, s->oper == SPLIT_OPER_INSERT ? VERSION_INSERT : VERSION_REPLACE);
            CHECK_EQ(u.before.n, s->oper == SPLIT_OPER_INSERT ? 0 : 24);
            version_remove(w.versions, u.version);
        }
        /* neither page needs it: the inserted row's version comes back all the same (log-format.md 12.1) */
        struct redo redo = redo_of(&w);
        load_set(&w, &after);
        CHECK_OK(btree_redo_macro(&redo, m.record, m.count));
        CHECK_EQ(version_redo_find(&w.trx, 4, &u), s->oper == SPLIT_OPER_INSERT);
        if (s->oper == SPLIT_OPER_INSERT)
            version_remove(w.versions, u.version);
        free_macro(&m);
    }
    close_small(&w);
}

CASE(hostile_macros_are_refused)
{
    static struct set before, after;
    struct small_world w;
    int refused = 0;
    start_dice();
    open_small(&w);
    for (int round = 0; round < 1500; round++) {
        struct macro m = {0};
        struct redo redo = redo_of(&w);
        bool merge = roll(2);
        make_set(&before, 20, merge ? 21 : 60);
        if (merge) {
            make_merge(&m, &before, MERGE_FULL_RIGHT + roll(2), 0, MERGE_DELETE_NODE, 0);
        } else {
            struct split_record s = {.type = SPLIT_RIGHT, .oper = SPLIT_OPER_NONE, .line_split = 30, .lines = 60, .prefix_line_split = -1,
                                     .prefix_line_new = 4, .prefix_old = page_external(page_of(&before, 3))};
            make_split(&m, &before, &s, NULL);
        }
        for (int hits = 1 + (int)roll(4); hits > 0; hits--) {
            uint8_t *p = m.flat[roll((uint32_t)m.count)];
            uint32_t at = 28 + roll(p[0] == LOG_Merge2 ? 60 : 74);
            if (at >= 32 && at < 40) /* page numbers: a file of 4 TB is no test */
                continue;
            p[at] = (uint8_t)ctest_random(&dice);
        }
        if (roll(2)) /* the source is newer: the image is wanted */
            page_set_dbtime(page_of(&before, 3), AFTER);
        load_set(&w, &before);
        err_t err = btree_redo_macro(&redo, m.record, m.count);
        refused += err < 0;
        save_set(&w, &after);
        for (pgno_t pgno = 1; err >= 0 && pgno < PAGES; pgno++)
            if (!page_is_all_zero(page_of(&after, pgno)) && page_line_count(page_of(&after, pgno)) > 0)
                CHECK(page_free(page_of(&after, pgno)) < 4096);
        free_macro(&m);
    }
    CHECK(refused > 300);
    close_small(&w);
}

/* ---- images ---- */

static uint32_t dehydrate(struct page page, uint8_t *to)
{
    uint32_t tags = 4 * (load_u16(page.p + 34) & 0xfff), end = 40 + load_u16(page.p + 32), gap = page.size - tags - end;
    memcpy(to, page.p, end);
    memcpy(to + end, page.p + page.size - tags, tags);
    store_u16(to + 28, (uint16_t)(page_free(page) - gap));
    return end + tags;
}

/* Xpress without a match: groups of a zero flag word and 32 literals. */
static uint32_t as_literals(const uint8_t *from, uint32_t n, uint8_t *to)
{
    uint32_t at = 3;
    to[0] = 3 << 3;
    store_u16(to + 1, (uint16_t)n);
    for (uint32_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            memset(to + at, 0, 4);
            at += 4;
        }
        to[at++] = from[i];
    }
    return at;
}

CASE(images_come_back)
{
    static struct set set;
    static uint8_t cut[4096], packed[8192], got[PAGE_SIZE_MAX];
    make_set(&set, 20, 40);
    struct page page = page_of(&set, 3), back = {got, 4096};
    uint32_t n = dehydrate(page, cut);
    CHECK(n < 4096);
    CHECK_OK(btree_image_unpack(SLICE(page.p, 4096), 0, 4096, BEFORE, got));
    check_same(page, back, 3);
    CHECK_OK(btree_image_unpack(SLICE(cut, n), IMAGE_DEHYDRATED, 4096, BEFORE, got));
    check_same(page, back, 3);
    uint32_t m = as_literals(cut, n, packed);
    CHECK_OK(btree_image_unpack(SLICE(packed, m), IMAGE_DEHYDRATED | IMAGE_COMPRESSED, 4096, BEFORE, got));
    check_same(page, back, 3);
    packed[0] = 6 << 3;
    CHECK(btree_image_unpack(SLICE(packed, m), IMAGE_DEHYDRATED | IMAGE_COMPRESSED, 4096, BEFORE, got) == JET_errLogFileCorrupt);
    CHECK(btree_image_unpack(SLICE(cut, n), 0, 4096, BEFORE, got) == JET_errLogFileCorrupt);
    CHECK(btree_image_unpack(SLICE(cut, 20), IMAGE_DEHYDRATED, 4096, BEFORE, got) < 0);
    start_dice();
    for (int round = 0; round < 3000; round++) {
        static uint8_t bad[8192];
        bool inflate = roll(2);
        uint32_t size = inflate ? m : n;
        memcpy(bad, inflate ? packed : cut, size);
        bad[0] = inflate ? 3 << 3 : bad[0];
        for (int hits = 1 + (int)roll(5); hits > 0; hits--)
            bad[roll(2) ? roll(64) : roll(size)] = (uint8_t)ctest_random(&dice);
        (void)!btree_image_unpack(SLICE(bad, roll(3) ? size : roll(size)), IMAGE_DEHYDRATED | (inflate ? IMAGE_COMPRESSED : 0), 4096, BEFORE, got);
    }
}

CTEST_MAIN
