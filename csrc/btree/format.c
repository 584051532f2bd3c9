/* Bytes of btree's log records, both ways. */
#include "btree/btree_format.h"

static_assert(BTREE_RECORD_HEAD_MAX == 110, "Split2 has the longest head");

#define HEAD_SPLIT 110u
#define HEAD_MERGE 96u
#define HEAD_PAGE_MOVE 96u

static err_t corrupt(struct slice record, const char *why)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("%s record of %u bytes: %s", log_type_name(record.n > 0 ? record.p[0] : 0), record.n, why);
    return err;
}

/* ---- decode ---- */

/* Cuts the record's tail into its named pieces; the sum must be exact. */
struct tail {
    struct slice rest;
    bool bad;
};

static struct slice tail_cut(struct tail *t, uint32_t n)
{
    if (n > t->rest.n) {
        t->bad = true;
        return SLICE_EMPTY;
    }
    struct slice s = SLICE(t->rest.p, n);
    t->rest.p += n;
    t->rest.n -= n;
    return s;
}

static err_t tail_end(const struct tail *t, struct slice record)
{
    return t->bad || t->rest.n != 0 ? corrupt(record, "lengths do not add up") : JET_errSuccess;
}

static err_t tail_begin(struct slice record, uint32_t fixed, struct tail *t)
{
    if (record.n < fixed)
        return corrupt(record, "too short");
    *t = (struct tail){slice_after(record, fixed), false};
    return JET_errSuccess;
}

static void load_head(const uint8_t *p, struct record_head *h)
{
    *h = (struct record_head){
        .type = p[0],
        .procid = load_u16(p + 1),
        .dbid = p[3],
        .pgno = load_u32(p + 4),
        .dbtime = load_u64(p + 8),
        .before = load_u64(p + 16),
        .begin = load_u32(p + 24),
        .level = p[28],
        .line = load_u16(p + 29),
        .flags = p[31],
    };
}

err_t btree_decode_head(struct slice record, struct record_head *out)
{
    *out = (struct record_head){0};
    if (record.n < LOG_PAGE_HEAD)
        return corrupt(record, "too short");
    load_head(record.p, out);
    return JET_errSuccess;
}

/* Fixed size of a record with a NODE head; 0 = no such type. */
static uint32_t node_fixed_size(unsigned type)
{
    switch (type) {
    case LOG_Insert:
    case LOG_Replace:
    case LOG_ReplaceD:
        return 50;
    case LOG_FlagInsert:
        return 48;
    case LOG_FlagInsertAndReplaceData:
        return 52;
    case LOG_FlagDelete:
    case LOG_Delete:
        return 44;
    case LOG_UndoInfo:
        return 56;
    case LOG_Delta:
    case LOG_Scrub:
        return 54;
    case LOG_Delta64:
        return 58;
    case LOG_SetExternalHeader:
    case LOG_EmptyTree:
        return 46;
    case LOG_Undo:
        return 51;
    default:
        return 0;
    }
}

static void load_keyed(const uint8_t *p, struct tail *t, struct node_record *r)
{
    switch (r->head.type) {
    case LOG_Insert: {
        uint32_t suffix = load_u16(p + 44);
        r->prefix = tail_cut(t, load_u16(p + 46));
        r->suffix = tail_cut(t, suffix);
        r->data = tail_cut(t, load_u16(p + 48));
        break;
    }
    case LOG_FlagInsertAndReplaceData:
        r->rceid_replace = load_u32(p + 48);
        /* fallthrough */
    case LOG_FlagInsert:
        r->suffix = tail_cut(t, load_u16(p + 44));
        r->data = tail_cut(t, load_u16(p + 46));
        break;
    default: /* the bookmark forms: Delta, Delta64, Undo, UndoInfo */
        r->suffix = tail_cut(t, load_u16(p + 44));
        r->bookmark_data = tail_cut(t, load_u16(p + 46));
        break;
    }
}

static void load_node_body(const uint8_t *p, struct tail *t, struct node_record *r)
{
    switch (r->head.type) {
    case LOG_Replace:
    case LOG_ReplaceD: {
        uint32_t n = load_u16(p + 44);
        r->wide = (n & 0x8000) != 0;
        r->old_size = load_u16(p + 46);
        r->new_size = load_u16(p + 48);
        r->data = tail_cut(t, n & 0x7fff);
        break;
    }
    case LOG_SetExternalHeader:
    case LOG_EmptyTree:
        r->data = tail_cut(t, load_u16(p + 44));
        break;
    case LOG_Scrub:
        r->scrub_flags = load_u32(p + 44);
        r->scrub_count = load_u32(p + 48);
        r->data = tail_cut(t, load_u16(p + 52));
        break;
    case LOG_FlagDelete:
    case LOG_Delete:
        break;
    default:
        load_keyed(p, t, r);
        if (r->head.type == LOG_UndoInfo) {
            r->oper = load_u16(p + 48);
            r->max_size = (int16_t)load_u16(p + 50);
            r->delta_size = (int16_t)load_u16(p + 52);
            r->data = tail_cut(t, load_u16(p + 54));
        } else if (r->head.type == LOG_Undo) {
            r->oper = load_u16(p + 48);
            r->level_undone = p[50];
        } else if (r->head.type == LOG_Delta) {
            r->delta = (int32_t)load_u32(p + 48);
            r->offset = load_u16(p + 52);
        } else if (r->head.type == LOG_Delta64) {
            r->delta = (int64_t)load_u64(p + 48);
            r->offset = load_u16(p + 56);
        }
    }
}

err_t btree_decode_node(struct slice record, struct node_record *out)
{
    *out = (struct node_record){0};
    uint32_t fixed = record.n == 0 ? 0 : node_fixed_size(record.p[0]);
    if (fixed == 0)
        return corrupt(record, "not a node record");
    struct tail t = {0};
    TRY_RETURN(tail_begin(record, fixed, &t));
    load_head(record.p, &out->head);
    out->rceid = load_u32(record.p + 32);
    out->root = load_u32(record.p + 36);
    out->objid = load_u32(record.p + 40);
    load_node_body(record.p, &t, out);
    TRY_RETURN(tail_end(&t, record));
    if (out->head.type == LOG_Replace && out->data.n != out->new_size)
        return corrupt(record, "data is not of the size it names");
    if (out->head.type == LOG_EmptyTree && out->data.n % EMPTY_PAGE_SIZE != 0)
        return corrupt(record, "half an entry in the page list");
    return JET_errSuccess;
}

err_t btree_decode_split(struct slice record, struct split_record *out)
{
    *out = (struct split_record){0};
    struct tail t = {0};
    TRY_RETURN(tail_begin(record, HEAD_SPLIT, &t));
    const uint8_t *p = record.p;
    if (p[0] != LOG_Split2)
        return corrupt(record, "not a split");
    load_head(p, &out->head);
    out->pgno_new = load_u32(p + 32);
    out->pgno_right = load_u32(p + 36);
    out->right_before = load_u64(p + 40);
    out->pgno_parent = load_u32(p + 48);
    out->parent_before = load_u64(p + 52);
    out->root = load_u32(p + 60);
    out->objid = load_u32(p + 64);
    out->type = p[68];
    out->oper = p[69];
    out->line_oper = load_u16(p + 70);
    out->line_split = load_u16(p + 72);
    out->lines = load_u16(p + 74);
    out->new_flags = load_u32(p + 76);
    out->split_flags = load_u32(p + 80);
    out->free_source = (int16_t)load_u16(p + 84);
    out->free_new = (int16_t)load_u16(p + 86);
    out->prefix_line_split = (int32_t)load_u32(p + 88);
    out->prefix_line_new = (int32_t)load_u32(p + 92);
    out->image_flags = load_u32(p + 102);
    uint32_t old_size = load_u16(p + 96), new_size = load_u16(p + 98);
    out->separator = tail_cut(&t, load_u16(p + 100));
    out->prefix_old = tail_cut(&t, old_size);
    out->prefix_new = tail_cut(&t, new_size);
    out->image = tail_cut(&t, load_u32(p + 106));
    return tail_end(&t, record);
}

err_t btree_decode_merge(struct slice record, struct merge_record *out)
{
    *out = (struct merge_record){0};
    struct tail t = {0};
    TRY_RETURN(tail_begin(record, HEAD_MERGE, &t));
    const uint8_t *p = record.p;
    if (p[0] != LOG_Merge2)
        return corrupt(record, "not a merge");
    load_head(p, &out->head);
    out->pgno_right = load_u32(p + 32);
    out->right_before = load_u64(p + 36);
    out->pgno_left = load_u32(p + 44);
    out->left_before = load_u64(p + 48);
    out->pgno_parent = load_u32(p + 56);
    out->parent_before = load_u64(p + 60);
    out->root = load_u32(p + 68);
    out->objid = load_u32(p + 72);
    out->size_total = load_u16(p + 76);
    out->size_max_total = load_u16(p + 78);
    out->free_dest = load_u16(p + 80);
    out->line_merge = load_u16(p + 82);
    out->flags = p[84];
    out->type = p[85];
    out->image_flags = load_u32(p + 88);
    out->separator = tail_cut(&t, load_u16(p + 86));
    out->image = tail_cut(&t, load_u32(p + 92));
    return tail_end(&t, record);
}

err_t btree_decode_macro(struct slice record, struct macro_record *out)
{
    *out = (struct macro_record){0};
    if (record.n != 11 || record.p[0] < LOG_MacroBegin || record.p[0] > LOG_MacroAbort)
        return corrupt(record, "not a macro record");
    *out = (struct macro_record){record.p[0], load_u16(record.p + 1), load_u64(record.p + 3)};
    return JET_errSuccess;
}

err_t btree_decode_page_move(struct slice record, struct page_move_record *out)
{
    *out = (struct page_move_record){0};
    struct tail t = {0};
    TRY_RETURN(tail_begin(record, HEAD_PAGE_MOVE, &t));
    const uint8_t *p = record.p;
    if (p[0] != LOG_PageMove)
        return corrupt(record, "not a page move");
    load_head(p, &out->head);
    out->pgno_dest = load_u32(p + 32);
    out->pgno_left = load_u32(p + 36);
    out->pgno_right = load_u32(p + 40);
    out->pgno_parent = load_u32(p + 44);
    out->left_before = load_u64(p + 48);
    out->right_before = load_u64(p + 56);
    out->parent_before = load_u64(p + 64);
    out->root = load_u32(p + 72);
    out->objid = load_u32(p + 76);
    out->line_parent = (int32_t)load_u32(p + 80);
    out->flags = load_u32(p + 84);
    out->image_head = tail_cut(&t, load_u32(p + 88));
    out->image_tail = tail_cut(&t, load_u32(p + 92));
    return tail_end(&t, record);
}

err_t btree_decode_new_page(struct slice record, struct new_page_record *out)
{
    *out = (struct new_page_record){0};
    const uint8_t *p = record.p;
    if (record.n != 20 || p[0] != LOG_NewPage)
        return corrupt(record, "not a new page");
    *out = (struct new_page_record){load_u16(p + 1), p[3], load_u32(p + 4), load_u32(p + 8), load_u64(p + 12)};
    return JET_errSuccess;
}

err_t btree_decode_root_move(struct slice record, struct root_move_record *out)
{
    *out = (struct root_move_record){0};
    const uint8_t *p = record.p;
    if (record.n != 16 || p[0] != LOG_RootPageMove)
        return corrupt(record, "not a root move");
    *out = (struct root_move_record){load_u64(p + 1), p[9], load_u32(p + 10), load_u16(p + 14)};
    return JET_errSuccess;
}

err_t btree_decode_macro_info(struct slice record, struct macro_info_record *out)
{
    *out = (struct macro_info_record){0};
    bool second = record.n > 0 && record.p[0] == LOG_MacroInfo2;
    struct tail t = {0};
    TRY_RETURN(tail_begin(record, second ? 10 : 5, &t));
    if (!second && record.p[0] != LOG_MacroInfo)
        return corrupt(record, "not a macro info");
    uint32_t count = load_u32(record.p + (second ? 6 : 1));
    if (second && count > UINT32_MAX / 4)
        return corrupt(record, "lengths do not add up");
    out->type = record.p[0];
    out->dbid = second ? record.p[5] : 1;
    out->pgnos = tail_cut(&t, second ? 4 * count : count);
    return tail_end(&t, record);
}

struct empty_page empty_page_load(const uint8_t *p)
{
    return (struct empty_page){load_u64(p), load_u32(p + 8), load_u32(p + 12)};
}

void empty_page_store(const struct empty_page *e, uint8_t p[EMPTY_PAGE_SIZE])
{
    store_u64(p, e->before);
    store_u32(p + 8, e->pgno);
    store_u32(p + 12, e->flags);
}

/* ---- encode ---- */

static void begin_record(struct encoded *out, uint32_t fixed, int16_t dbtime_at)
{
    memset(out->head, 0, sizeof out->head);
    out->record = (struct log_record){.part_count = 1, .head = out->head, .dbtime_at = dbtime_at};
    out->record.part[0] = SLICE(out->head, fixed);
}

static void add_part(struct encoded *out, struct slice s)
{
    if (s.n != 0)
        out->record.part[out->record.part_count++] = s;
}

static void store_head(const struct record_head *h, uint8_t *p)
{
    p[0] = h->type;
    store_u16(p + 1, h->procid);
    p[3] = h->dbid;
    store_u32(p + 4, h->pgno);
    store_u64(p + 8, h->dbtime);
    store_u64(p + 16, h->before);
    store_u32(p + 24, h->begin);
    p[28] = h->level;
    store_u16(p + 29, h->line);
    p[31] = h->flags;
}

struct record_head btree_record_head(const struct trx *trx, enum log_type type, dbid_t dbid, pgno_t pgno, dbtime_t before, int line, unsigned flags)
{
    return (struct record_head){
        .type = (uint8_t)type,
        .procid = trx->procid,
        .dbid = dbid,
        .pgno = pgno,
        .before = before,
        .begin = (uint32_t)trx->begin_number,
        .level = trx->level,
        .line = (uint16_t)line,
        .flags = (uint8_t)flags,
    };
}

static void store_keyed(const struct node_record *r, uint8_t *p, struct encoded *out)
{
    switch (r->head.type) {
    case LOG_Insert:
        store_u16(p + 44, (uint16_t)r->suffix.n);
        store_u16(p + 46, (uint16_t)r->prefix.n);
        store_u16(p + 48, (uint16_t)r->data.n);
        add_part(out, r->prefix);
        add_part(out, r->suffix);
        add_part(out, r->data);
        break;
    case LOG_FlagInsertAndReplaceData:
        store_u32(p + 48, r->rceid_replace);
        /* fallthrough */
    case LOG_FlagInsert:
        store_u16(p + 44, (uint16_t)r->suffix.n);
        store_u16(p + 46, (uint16_t)r->data.n);
        add_part(out, r->suffix);
        add_part(out, r->data);
        break;
    default:
        store_u16(p + 44, (uint16_t)r->suffix.n);
        store_u16(p + 46, (uint16_t)r->bookmark_data.n);
        add_part(out, r->suffix);
        add_part(out, r->bookmark_data);
        break;
    }
}

static void store_node_body(const struct node_record *r, uint8_t *p, struct encoded *out)
{
    switch (r->head.type) {
    case LOG_Replace:
    case LOG_ReplaceD:
        store_u16(p + 44, (uint16_t)(r->data.n | (r->wide ? 0x8000 : 0)));
        store_u16(p + 46, r->old_size);
        store_u16(p + 48, r->new_size);
        add_part(out, r->data);
        break;
    case LOG_SetExternalHeader:
    case LOG_EmptyTree:
        store_u16(p + 44, (uint16_t)r->data.n);
        add_part(out, r->data);
        break;
    case LOG_Scrub:
        store_u32(p + 44, r->scrub_flags);
        store_u32(p + 48, r->scrub_count);
        store_u16(p + 52, (uint16_t)r->data.n);
        add_part(out, r->data);
        break;
    case LOG_FlagDelete:
    case LOG_Delete:
        break;
    default:
        store_keyed(r, p, out);
        if (r->head.type == LOG_UndoInfo) {
            store_u16(p + 48, r->oper);
            store_u16(p + 50, (uint16_t)r->max_size);
            store_u16(p + 52, (uint16_t)r->delta_size);
            store_u16(p + 54, (uint16_t)r->data.n);
            add_part(out, r->data);
        } else if (r->head.type == LOG_Undo) {
            store_u16(p + 48, r->oper);
            p[50] = r->level_undone;
        } else if (r->head.type == LOG_Delta) {
            store_u32(p + 48, (uint32_t)r->delta);
            store_u16(p + 52, r->offset);
        } else if (r->head.type == LOG_Delta64) {
            store_u64(p + 48, (uint64_t)r->delta);
            store_u16(p + 56, r->offset);
        }
    }
}

void btree_encode_node(const struct node_record *r, struct encoded *out)
{
    uint32_t fixed = node_fixed_size(r->head.type);
    ASSERT(fixed != 0);
    /* UndoInfo keeps dbtime nil: it changes no page */
    begin_record(out, fixed, r->head.type == LOG_UndoInfo ? 0 : 8);
    store_head(&r->head, out->head);
    store_u32(out->head + 32, r->rceid);
    store_u32(out->head + 36, r->root);
    store_u32(out->head + 40, r->objid);
    store_node_body(r, out->head, out);
}

void btree_encode_split(const struct split_record *r, struct encoded *out)
{
    begin_record(out, HEAD_SPLIT, 8);
    uint8_t *p = out->head;
    store_head(&r->head, p);
    store_u32(p + 32, r->pgno_new);
    store_u32(p + 36, r->pgno_right);
    store_u64(p + 40, r->right_before);
    store_u32(p + 48, r->pgno_parent);
    store_u64(p + 52, r->parent_before);
    store_u32(p + 60, r->root);
    store_u32(p + 64, r->objid);
    p[68] = r->type;
    p[69] = r->oper;
    store_u16(p + 70, r->line_oper);
    store_u16(p + 72, r->line_split);
    store_u16(p + 74, r->lines);
    store_u32(p + 76, r->new_flags);
    store_u32(p + 80, r->split_flags);
    store_u16(p + 84, (uint16_t)r->free_source);
    store_u16(p + 86, (uint16_t)r->free_new);
    store_u32(p + 88, (uint32_t)r->prefix_line_split);
    store_u32(p + 92, (uint32_t)r->prefix_line_new);
    store_u16(p + 96, (uint16_t)r->prefix_old.n);
    store_u16(p + 98, (uint16_t)r->prefix_new.n);
    store_u16(p + 100, (uint16_t)r->separator.n);
    store_u32(p + 102, r->image_flags);
    store_u32(p + 106, r->image.n);
    add_part(out, r->separator);
    add_part(out, r->prefix_old);
    add_part(out, r->prefix_new);
    add_part(out, r->image);
}

void btree_encode_merge(const struct merge_record *r, struct encoded *out)
{
    begin_record(out, HEAD_MERGE, 8);
    uint8_t *p = out->head;
    store_head(&r->head, p);
    store_u32(p + 32, r->pgno_right);
    store_u64(p + 36, r->right_before);
    store_u32(p + 44, r->pgno_left);
    store_u64(p + 48, r->left_before);
    store_u32(p + 56, r->pgno_parent);
    store_u64(p + 60, r->parent_before);
    store_u32(p + 68, r->root);
    store_u32(p + 72, r->objid);
    store_u16(p + 76, r->size_total);
    store_u16(p + 78, r->size_max_total);
    store_u16(p + 80, r->free_dest);
    store_u16(p + 82, r->line_merge);
    p[84] = r->flags;
    p[85] = r->type;
    store_u16(p + 86, (uint16_t)r->separator.n);
    store_u32(p + 88, r->image_flags);
    store_u32(p + 92, r->image.n);
    add_part(out, r->separator);
    add_part(out, r->image);
}

void btree_encode_macro(const struct macro_record *r, struct encoded *out)
{
    begin_record(out, 11, 3);
    out->head[0] = r->type;
    store_u16(out->head + 1, r->procid);
    store_u64(out->head + 3, r->dbtime);
}

void btree_encode_page_move(const struct page_move_record *r, struct encoded *out)
{
    begin_record(out, HEAD_PAGE_MOVE, 8);
    uint8_t *p = out->head;
    store_head(&r->head, p);
    store_u32(p + 32, r->pgno_dest);
    store_u32(p + 36, r->pgno_left);
    store_u32(p + 40, r->pgno_right);
    store_u32(p + 44, r->pgno_parent);
    store_u64(p + 48, r->left_before);
    store_u64(p + 56, r->right_before);
    store_u64(p + 64, r->parent_before);
    store_u32(p + 72, r->root);
    store_u32(p + 76, r->objid);
    store_u32(p + 80, (uint32_t)r->line_parent);
    store_u32(p + 84, r->flags);
    store_u32(p + 88, r->image_head.n);
    store_u32(p + 92, r->image_tail.n);
    add_part(out, r->image_head);
    add_part(out, r->image_tail);
}

void btree_encode_new_page(const struct new_page_record *r, struct encoded *out)
{
    begin_record(out, 20, 12);
    uint8_t *p = out->head;
    p[0] = LOG_NewPage;
    store_u16(p + 1, r->procid);
    p[3] = r->dbid;
    store_u32(p + 4, r->pgno);
    store_u32(p + 8, r->objid);
    store_u64(p + 12, r->dbtime);
}

void btree_encode_root_move(const struct root_move_record *r, struct encoded *out)
{
    begin_record(out, 16, 1);
    uint8_t *p = out->head;
    p[0] = LOG_RootPageMove;
    store_u64(p + 1, r->dbtime);
    p[9] = r->dbid;
    store_u32(p + 10, r->objid);
    store_u16(p + 14, r->procid);
}

void btree_encode_macro_info(const struct macro_info_record *r, struct encoded *out)
{
    bool second = r->type == LOG_MacroInfo2;
    begin_record(out, second ? 10 : 5, 0);
    out->head[0] = r->type;
    store_u32(out->head + 1, second ? r->pgnos.n + 5 : r->pgnos.n);
    if (second) {
        out->head[5] = r->dbid;
        store_u32(out->head + 6, r->pgnos.n / 4);
    }
    add_part(out, r->pgnos);
}

uint32_t btree_encoded_size(const struct encoded *e)
{
    uint32_t n = 0;
    for (int i = 0; i < e->record.part_count; i++)
        n += e->record.part[i].n;
    return n;
}

void btree_encoded_flatten(const struct encoded *e, uint8_t *to)
{
    for (int i = 0; i < e->record.part_count; i++) {
        memcpy(to, e->record.part[i].p, e->record.part[i].n);
        to += e->record.part[i].n;
    }
}
