/* table: a cursor over one described table: seek, move, filter, prepare-set-update, keep indexes in
 * step.
 *
 * Invariants
 *  1. table/ never looks up a name in the catalog: it works on the struct table_desc handed to it.
 *  2. A description is shared by all cursors of a database. Running updates hold desc->lock shared;
 * DDL that changes the description takes it exclusive, builds a new column/index array and
 * publishes it. A cursor keeps the generation it prepared with.
 *  3. One update = one statement: record, long values and every index entry change or none
 * (txn_statement_*).
 *  4. A cursor holds no latch between calls, only bookmarks (btree_cursor). */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H

#include "longval/longval.h"
#include "sort/sort.h"

#define NAME_ROOM 65 /* 64 bytes of code page 1252, NUL */

struct table_column {
    struct column_def def;
    char name[NAME_ROOM]; /* UTF-8 is longer than 1252: names are kept as 1252 bytes, see
                             catalog_name_* */
};
struct table_index {
    struct index_def def; /* objid, flags, segments */
    char name[NAME_ROOM];
    struct btree *tree; /* primary: the table's own */
    uint32_t density;
    uint32_t lcmap_flags;
    bool foreign_sort;     /* claims a Windows sort version: read in order only, updates refused
                              (decision 12) */
    _Atomic bool building; /* being filled: not for seeks yet */
    _Atomic uint64_t created_commit; /* snapshots older than it do not see the index; 0 = old;
                                      * UINT64_MAX = uncommitted: for desc->ddl_owner only */
    char locale[86];                 /* UTF-8 */
};
struct table_desc {
    struct dbfile *db;
    struct txn_databases *databases;
    objid_t objid;
    char name[NAME_ROOM];
    uint32_t flags; /* catalog table flags: 0x80000000 system, ... */
    uint32_t density, initial_pages;
    struct btree *tree;             /* records: by primary key, or by the 4-byte sequence number */
    bool sequential;                /* no primary index */
    _Atomic uint32_t sequence_last; /* sequential tables: last number used; 0 = not read yet */
    _Atomic uint64_t autoinc_last;  /* 0 = not read yet */
    struct record_layout layout;
    struct table_column
        *columns; /* in id order: fixed, variable, tagged; deleted ones with COLUMN_DELETED */
    uint32_t column_count;
    struct table_index *indexes; /* [0] is the primary one unless sequential */
    uint32_t index_count;
    struct table_index *primary; /* NULL when sequential */
    struct longval_home longval;
    struct btree *longval_tree; /* NULL until there is one */
    colid_t autoinc_column, version_column;
    uint32_t key_most_page; /* largest key this page size allows */
    struct os_rwlock lock;  /* RANK_TABLE_DESC */
    uint32_t generation;    /* grows with every published change */
    /* The transaction with uncommitted schema changes (NULL: none; the catalog's own mark:
     * dropped). Under desc->lock, either way, a statement that changes rows asks table_may_update
     * first: JET_errWriteConflict. */
    _Atomic(const void *) ddl_owner;
    uint32_t refs;  /* catalog's, under the schema lock */
    bool exclusive; /* opened DenyRead/DenyWrite or being created/dropped */
    void *owner;    /* catalog's own */
    struct list in_catalog;
};
static inline bool table_may_update(struct table_desc *desc, const struct trx *trx)
{
    const void *owner = atomic_load(&desc->ddl_owner);
    return owner == NULL || owner == trx;
}
/* May trx seek and move on this index? Updates maintain it in any case. */
static inline bool table_index_is_visible(struct table_desc *desc, const struct table_index *index,
                                          const struct trx *trx)
{
    uint64_t created = atomic_load(&index->created_commit);
    if (created == 0 || (created == UINT64_MAX && atomic_load(&desc->ddl_owner) == trx))
        return true;
    return created != UINT64_MAX && (trx == NULL || created <= atomic_load(&trx->snapshot));
}
const struct table_column *
table_find_column(const struct table_desc *desc,
                  const char *name); /* case-insensitive, NULL when none */
const struct table_column *table_column_by_id(const struct table_desc *desc, colid_t id);
const struct table_index *table_find_index(const struct table_desc *desc, const char *name);

enum table_prep { PREP_NONE, PREP_INSERT, PREP_REPLACE, PREP_REPLACE_NO_LOCK };

struct table_cursor; /* heap object; used by one session's thread at a time */

MUST_CHECK err_t cursor_open(struct table_desc *desc, struct trx *trx, JET_GRBIT grbit,
                             struct table_cursor **out);
void cursor_close(struct table_cursor *c); /* cancels a prepared update */
MUST_CHECK err_t cursor_dup(struct table_cursor *c, struct table_cursor **out);
struct table_desc *cursor_table(struct table_cursor *c);
struct trx *cursor_trx(struct table_cursor *c);
/* A level ended; `level` = the level that is left. After a rollback: an update prepared above it is
 * dropped, an index selected above it falls back to the primary one. */
void cursor_trx_ended(struct table_cursor *c, bool rolled_back, uint8_t level);

/* Row callbacks are a socket (table <- api). */
struct row_callback {
    void *context;
    err_t (*fn)(void *context, struct table_cursor *c, JET_CBTYP type);
};
void cursor_set_callback(struct table_cursor *c, struct row_callback cb);

/* ---- moving. Errors as api-notes.md section 8. ---- */
MUST_CHECK err_t cursor_move(struct table_cursor *c, int32_t rows,
                             JET_GRBIT grbit); /* JET_MoveFirst/Last/Next/Previous, n; MoveKeyNE */
MUST_CHECK err_t cursor_make_key(struct table_cursor *c, struct slice data, bool null,
                                 JET_GRBIT grbit);
MUST_CHECK err_t
cursor_seek(struct table_cursor *c,
            JET_GRBIT grbit); /* JET_wrnSeekNotEqual, JET_wrnUniqueKey, JET_errRecordNotFound ... */
MUST_CHECK err_t cursor_set_range(struct table_cursor *c, JET_GRBIT grbit);
MUST_CHECK err_t cursor_set_index(struct table_cursor *c, const char *name /* NULL = primary */,
                                  JET_GRBIT grbit, uint32_t sequence);
const struct table_index *cursor_current_index(struct table_cursor *c); /* NULL: sequential order */
MUST_CHECK err_t cursor_bookmark(struct table_cursor *c,
                                 struct slice *bookmark); /* lives until the next call */
MUST_CHECK err_t cursor_secondary_bookmark(struct table_cursor *c, struct slice *key,
                                           struct slice *primary);
MUST_CHECK err_t cursor_goto_bookmark(struct table_cursor *c, struct slice bookmark);
MUST_CHECK err_t cursor_goto_secondary_bookmark(struct table_cursor *c, struct slice key,
                                                struct slice primary, JET_GRBIT grbit);
MUST_CHECK err_t cursor_goto_position(struct table_cursor *c, uint32_t entries_before,
                                      uint32_t entries_total);
MUST_CHECK err_t cursor_position(struct table_cursor *c, uint32_t *entries_before,
                                 uint32_t *entries_total);
MUST_CHECK err_t cursor_count(struct table_cursor *c, uint64_t limit,
                              uint64_t *count); /* JetIndexRecordCount */
/* JetRetrieveKey: current entry's key, or the made key (JET_bitRetrieveCopy). */
MUST_CHECK err_t cursor_key(struct table_cursor *c, JET_GRBIT grbit, struct slice *key);

/* ---- retrieving ---- */
/* Data of a column of the current record (or of the copy buffer: JET_bitRetrieveCopy). Long values
 * are read through, from `offset`, at most room bytes. *actual = bytes from offset to the end.
 * JET_wrnColumnNull, JET_wrnBufferTruncated. sequence as JetRetrieveColumn; *sequence_used = its
 * number. grbits: RetrieveCopy, FromIndex, FromPrimaryBookmark, IgnoreDefault, ... */
MUST_CHECK err_t cursor_retrieve(struct table_cursor *c, colid_t id, uint32_t sequence,
                                 uint32_t offset, JET_GRBIT grbit, void *to, uint32_t room,
                                 uint32_t *actual, uint32_t *sequence_used);
MUST_CHECK err_t cursor_count_values(struct table_cursor *c, colid_t id, JET_GRBIT grbit,
                                     uint32_t *count);
MUST_CHECK err_t cursor_next_tagged(struct table_cursor *c, colid_t after, JET_GRBIT grbit,
                                    colid_t *id);
/* The whole current record as bytes, for readers that decode many columns at once; lives until the
 * next call. */
MUST_CHECK err_t cursor_record(struct table_cursor *c, struct slice *record);
/* A value of a record handed out by cursor_record or cursor_next_batch: in place when inline and
 * plain, else copied to scratch (long values whole). */
MUST_CHECK err_t cursor_record_value(struct table_cursor *c, struct slice record, colid_t id,
                                     uint32_t sequence, struct buffer *scratch, struct slice *data,
                                     bool *null);
/* Batch path: up to max records from the current one on (within the range), moving on; slices live
 * until the next call. */
struct cursor_row {
    struct slice bookmark, record;
};
MUST_CHECK err_t cursor_next_batch(struct table_cursor *c, bool backwards, struct cursor_row *rows,
                                   int max, int *count);

/* ---- changing ---- */
MUST_CHECK err_t cursor_prepare(struct table_cursor *c, uint32_t prep /* JET_prep... */);
/* JetSetColumn: grbits SetAppendLV, SetOverwriteLV, SetSizeLV, SetZeroLength, SetUniqueMultiValues,
 * ... */
MUST_CHECK err_t cursor_set(struct table_cursor *c, colid_t id, uint32_t sequence, uint32_t offset,
                            struct slice data, bool null, JET_GRBIT grbit);
/* Does the prepared update. *bookmark (may be NULL) lives until the next call. Needs trx level >= 1
 * (api wraps it). */
MUST_CHECK err_t cursor_update(struct table_cursor *c, struct slice *bookmark);
MUST_CHECK err_t cursor_delete(struct table_cursor *c);
MUST_CHECK err_t cursor_lock(struct table_cursor *c, JET_GRBIT grbit);
MUST_CHECK err_t cursor_escrow(struct table_cursor *c, colid_t id, int32_t delta, int32_t *before);
enum table_prep cursor_prepared(struct table_cursor *c);
MUST_CHECK err_t cursor_autoincrement(struct table_cursor *c,
                                      uint64_t *value); /* of the prepared insert */

/* ---- for catalog: filling a new index from the table's rows (sorted through sort/) ---- */
MUST_CHECK err_t table_build_index(struct table_desc *desc, struct table_index *index,
                                   struct trx *trx, const char *temp_dir);
/* All index entries of one record, for check and index builds. */
typedef err_t (*table_entry_fn)(void *context, struct slice key);
MUST_CHECK err_t table_entries(struct table_desc *desc, const struct table_index *index,
                               struct trx *trx, struct slice record, table_entry_fn fn,
                               void *context);

#endif
