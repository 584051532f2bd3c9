/* table, inside the room: the cursor and what its files share. */
#ifndef TABLE_TABLE_PRIVATE_H
#define TABLE_TABLE_PRIVATE_H

#include "table/table.h"

/* A search key is one byte longer than the longest index key: the limit byte. */
#define SEARCH_KEY_MOST (KEY_SIZE_MOST + 1)
#define INLINE_LONG_MOST 1023u /* longer values go to the long value tree */

enum key_state { KEY_NOT_MADE, KEY_OPEN /* takes more columns */, KEY_IS_MADE };

/* A long value that the prepared update made, or wrote in place: what a cancel takes back. */
struct lv_edit {
    struct longval_id id;
    bool made;
    uint32_t size_was, offset; /* written in place: */
    struct buffer was;         /* the bytes that were there */
};
/* A value that an update moved out of the record: put back when the update fails. */
struct lv_moved {
    colid_t id;
    uint32_t sequence, at, n; /* bytes in table_cursor.moved_bytes */
};

struct table_cursor {
    struct table_desc *desc;
    struct trx *trx;
    JET_GRBIT grbit;
    struct row_callback callback;

    /* ---- where it stands ---- */
    struct btree_cursor primary; /* on the records */
    struct btree_cursor index;   /* on the entries, when a secondary index is current */
    bool secondary;
    struct btree *index_tree; /* a reference of our own */
    struct index_def def;     /* of the current index; none for sequential order */
    objid_t index_objid;
    uint8_t index_level; /* transaction level at which the index was selected */
    bool deferred;       /* on the first entry, nobody has looked yet */
    bool nowhere; /* after a seek that found nothing: there is no record, and none was deleted */
    bool record_ready; /* secondary: `primary` stands on the entry's record */
    bool handed;       /* the current row was handed out by cursor_next_batch */

    /* ---- search key and range ---- */
    enum key_state key_state;
    uint32_t key_n, key_columns;
    uint8_t key[SEARCH_KEY_MOST];
    bool limited, limit_upper, limit_inclusive;
    uint32_t limit_n;
    uint8_t limit[SEARCH_KEY_MOST];

    /* ---- the prepared update ---- */
    uint32_t prep; /* JET_prep..., when prepared */
    bool prepared;
    uint32_t lock_rceid; /* of the write lock taken at prepare; 0 = none */
    uint8_t prep_level;
    struct record_builder *builder;
    struct buffer original; /* the record as it was at prepare */
    struct buffer target;   /* its bookmark */
    struct buffer packed;   /* the record to be written */
    struct lv_edit *edits;
    uint32_t edit_count, edit_room;
    struct lv_moved *moved;
    uint32_t moved_count, moved_room;
    struct buffer moved_bytes;
    colid_t *intrinsic; /* long columns that must stay in the record */
    uint32_t intrinsic_count;

    /* ---- memory of results ---- */
    struct buffer bookmark; /* of the last update */
    struct buffer scratch;  /* values being looked at */
    struct buffer value;    /* a long value being put together */
    struct buffer rows;     /* of a batch */
};

/* ---- currency (cursor.c) ---- */

static inline struct btree_cursor *table__main(struct table_cursor *c)
{
    return c->secondary ? &c->index : &c->primary;
}
/* A deferred cursor goes to the first entry: JET_errNoCurrentRecord when there is none. */
MUST_CHECK err_t table__settle(struct table_cursor *c);
/* What a move forgets. */
void table__leave(struct table_cursor *c);
/* Is there an entry under the cursor? JET_errNoCurrentRecord, JET_errRecordDeleted. */
MUST_CHECK err_t table__on_entry(struct table_cursor *c);
/* The current record; `primary` stands on it. */
MUST_CHECK err_t table__fetch(struct table_cursor *c, struct slice *record);
/* The current record's bookmark, without reading the record. */
MUST_CHECK err_t table__bookmark(struct table_cursor *c, struct slice *bookmark);
/* Puts a secondary cursor on the entry (number `sequence`, 1 = first) of the record on which
 * `primary` stands. */
MUST_CHECK err_t table__enter_index(struct table_cursor *c, struct slice record, uint32_t sequence);
/* Back to the primary index, position lost. */
void table__use_primary(struct table_cursor *c);
MUST_CHECK err_t table__cancel(struct table_cursor *c); /* a prepared update, if there is one */
/* Is main's entry inside the range? */
bool table__in_range(const struct table_cursor *c, struct slice key);
MUST_CHECK err_t table__step(struct table_cursor *c, bool forward);

/* ---- keys of records (index.c) ---- */

/* Keys of one record in one index, each once, in the order in which they are made. */
struct key_set {
    struct buffer bytes;
    struct {
        uint32_t offset; /* of the key; that of [count] is the end */
        uint32_t entry;  /* key_make's number: that of the value in a multi-valued index, from 0 */
    } *at;
    uint32_t count, room;
};
void key_set__term(struct key_set *set);
static inline struct slice key_set__key(const struct key_set *set, uint32_t i)
{
    return SLICE(set->bytes.p + set->at[i].offset, set->at[i + 1].offset - set->at[i].offset);
}
MUST_CHECK err_t key_set__collect(struct table_desc *desc, const struct index_def *def,
                                  struct trx *trx, struct slice record, struct key_set *set);
/* The key that value number `sequence` makes; JET_errNoCurrentRecord when it makes none. key: room
 * KEY_SIZE_MOST. */
MUST_CHECK err_t table__key_of_value(struct table_desc *desc, const struct index_def *def,
                                     struct trx *trx, struct slice record, uint32_t sequence,
                                     uint8_t *key, uint32_t *n);
/* The bookmark of a record by its primary index; key: room KEY_SIZE_MOST. */
MUST_CHECK err_t table__primary_key(struct table_desc *desc, struct trx *trx, struct slice record,
                                    uint8_t *key, uint32_t *n);
/* Takes old's entries out of all secondary indexes and puts new's in; either may be empty. builder
 * (may be NULL): indexes whose columns it has not changed are left alone. */
MUST_CHECK err_t table__update_indexes(struct table_desc *desc, struct trx *trx, struct slice old,
                                       struct slice new_record, struct slice bookmark,
                                       const struct record_builder *builder);
bool table__index_has_column(const struct index_def *def, colid_t id);

/* ---- values (retrieve.c) ---- */

/* The whole value of a record: in place, or in scratch when it is long or compressed. most: no more
 * bytes are needed. */
MUST_CHECK err_t table__whole_value(struct table_desc *desc, struct trx *trx,
                                    const struct record_value *v, uint32_t most,
                                    struct buffer *scratch, struct slice *data);

/* ---- counters (number.c) ---- */

MUST_CHECK err_t table__next_sequence(struct table_desc *desc, uint32_t *out);
MUST_CHECK err_t table__next_autoincrement(struct table_desc *desc, uint64_t *out);

/* ---- long values of the prepared update (lv.c) ---- */

/* A new value; it belongs to the prepared update until that is done. */
MUST_CHECK err_t lv__make(struct table_cursor *c, struct slice bytes, uint32_t *lid);
bool lv__is_made(const struct table_cursor *c, struct longval_id id);
/* Set in the middle or at the end of a separated value; *id becomes another one where the old must
 * not change. */
MUST_CHECK err_t lv__write(struct table_cursor *c, colid_t column, struct longval_id *id,
                           uint32_t offset, struct slice bytes);
MUST_CHECK err_t lv__resize(struct table_cursor *c, colid_t column, struct longval_id *id,
                            uint32_t size);
/* Moves values out until the record fits. */
MUST_CHECK err_t lv__separate(struct table_cursor *c);
/* The update failed: what lv__separate moved comes back into the copy buffer. */
MUST_CHECK err_t lv__put_back(struct table_cursor *c);
/* References that the new record adds, before it is written. */
MUST_CHECK err_t lv__add_refs(struct table_cursor *c, struct slice old, struct slice new_record);
/* References that went with the old record, and values made and not used, after. */
MUST_CHECK err_t lv__release(struct table_cursor *c, struct slice old, struct slice new_record);
MUST_CHECK err_t lv__undo(struct table_cursor *c); /* a cancel */
void lv__forget(struct table_cursor *c);
/* Edits from number `first` on are undone already. */
void lv__forget_from(struct table_cursor *c, uint32_t first);

#endif
