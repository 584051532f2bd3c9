/* catalog, inside the room: rows of MSysObjects, descriptions and who uses them, schema changes
 * that can be taken back. */
#ifndef CATALOG_PRIVATE_H
#define CATALOG_PRIVATE_H

#include "catalog/catalog.h"

/* ---- what is hard-coded (edb-format.md 8, 9) ---- */

enum {
    OBJECTS_ROOT = 4,
    NAMES_ROOT = 7,
    ROOTS_ROOT = 10,
    SHADOW_ROOT = 24,
    OBJIDS_ROOT = 29, /* new databases only */
    LOCALES_ROOT = 30,
};
enum {
    OBJECTS_OBJID = 2,
    SHADOW_OBJID = 3,
    NAMES_OBJID = 4,
    ROOTS_OBJID = 5,
    OBJIDS_OBJID = 6,
    LOCALES_OBJID = 7,
};
enum row_type {
    ROW_TABLE = 1,
    ROW_COLUMN = 2,
    ROW_INDEX = 3,
    ROW_LONG_VALUES = 4,
    ROW_CALLBACK = 5
};
enum table_flag {
    TABLE_SYSTEM = 0x80000000,
    TABLE_FIXED_DDL = 0x40000000,
    TABLE_TEMPLATE = 0x20000000,
    TABLE_DERIVED = 0x10000000,
    TABLE_DYNAMIC = 0x08000000,
};
/* Columns of MSysObjects by id. */
enum row_column {
    COL_TABLE = 1,
    COL_TYPE = 2,
    COL_ID = 3,
    COL_ROOT_OR_COLTYP = 4,
    COL_SPACE_USAGE = 5,
    COL_FLAGS = 6,
    COL_PAGES_OR_LOCALE = 7,
    COL_ROOT_FLAG = 8,
    COL_RECORD_OFFSET = 9,
    COL_LCMAP_FLAGS = 10,
    COL_KEY_MOST = 11,
    COL_LV_CHUNK_MAX = 12,
    COL_NAME = 128,
    COL_TEMPLATE = 130,
    COL_DEFAULT = 131,
    COL_KEY_IDS = 132,
    COL_VAR_SEG_MAC = 133,
    COL_CONDITIONS = 134,
    COL_TUPLE_LIMITS = 135,
    COL_VERSION = 136,
    COL_SORT_ID = 137,
    COL_LOCALE_NAME = 261,
};
#define DENSITY_DEFAULT 80u
#define LCMAP_DEFAULT 0x00030401u
#define LOCALE_DEFAULT "en-US"
#define SORT_VERSION_OURS                                                                          \
    0x0000000100000001ull /* no Windows has it: Windows deletes such an index instead of trusting  \
                             it */
#define KEY_MOST_DEFAULT 255u
#define BYTES_255 255u
#define LOCALE_ROOM 86u

struct row_column_def {
    uint16_t id;
    uint8_t coltyp;
    bool not_null;
    bool at_update_20; /* part of what we write */
    const char *name;
};
extern const struct row_column_def catalog__columns[];
extern const uint32_t catalog__column_count;

/* ---- state of a database ---- */

struct catalog {
    struct dbfile *db;
    struct txn_databases *dbs;
    char *temp_dir;
    struct os_lock lock; /* RANK_SCHEMA: the list, refs, uses, serial; never held across I/O */
    struct list tables;  /* descriptions, struct catalog_table */
    uint32_t table_count;
    uint64_t serial;  /* grows when committed rows may differ from what a loader read before */
    uint32_t pending; /* actions that still point here, and who closes it */
    uint32_t inside;  /* actions that are run, and need it open: catalog_close waits for them */
    struct os_cond nobody_inside;
    bool closed;
    unsigned how; /* BTREE_UNVERSIONED while the database is being made */
    bool has_shadow;
    struct btree *system, *objects, *names, *roots, *shadow;
    struct record_layout layout; /* of MSysObjects' rows: the columns that this file has */
    struct column_def fixed[COLID_FIXED_LAST],
        variable[COLID_VARIABLE_LAST - COLID_VARIABLE_FIRST + 1], tagged[8];
    struct table_desc *self[2]; /* MSysObjects, MSysObjectsShadow */
    struct table_desc *objids;  /* NULL: the file has none */
};
static inline struct catalog *catalog_of(struct dbfile *db)
{
    return db->catalog;
}

/* ---- rows (rows.c) ---- */

struct catalog_row {
    objid_t table;
    uint32_t type, id;
    uint32_t root_or_coltyp, space_usage, flags, pages_or_locale;
    bool is_root;
    bool has_offset, has_lcmap, has_tuples, has_version;
    uint16_t record_offset;
    uint32_t lcmap_flags;
    uint32_t key_most, var_seg_mac, lv_chunk_max; /* 0: not stored */
    uint64_t version;
    uint32_t default_n, key_ids_n, conditions_n;
    uint8_t default_value[BYTES_255], key_ids[BYTES_255], conditions[BYTES_255];
    char name[NAME_ROOM];
    char template_name[256];
    char locale[LOCALE_ROOM]; /* UTF-8; "": not stored */
};
#define ROW_KEY_SIZE 13u
#define NAME_KEY_ROOM (16u + NAME_ROOM)
void catalog__row_key(objid_t table, uint32_t type, uint32_t id, uint8_t key[ROW_KEY_SIZE]);
uint32_t catalog__name_key(objid_t table, uint32_t type, const char *name,
                           uint8_t key[NAME_KEY_ROOM]);
uint32_t catalog__root_key(const char *name, uint8_t key[NAME_KEY_ROOM]);
void catalog__init_layout(struct catalog *cat);
/* JET_errCatalogCorrupted for rows that no engine writes. */
MUST_CHECK err_t catalog__decode_row(const struct catalog *cat, struct slice record,
                                     struct catalog_row *row);
MUST_CHECK err_t catalog__encode_row(const struct catalog *cat, const struct catalog_row *row,
                                     struct buffer *record);

/* Reading. trx NULL: what is committed. JET_errRecordNotFound. */
MUST_CHECK err_t catalog__read_row(struct catalog *cat, struct trx *trx, objid_t table,
                                   uint32_t type, uint32_t id, struct catalog_row *row);
MUST_CHECK err_t catalog__find_table_row(struct catalog *cat, struct trx *trx, const char *name,
                                         struct catalog_row *row);
typedef err_t (*catalog__row_fn)(void *context, const struct catalog_row *row);
/* Rows of one table (0: all) in key order. */
MUST_CHECK err_t catalog__visit_rows(struct catalog *cat, struct trx *trx, objid_t table,
                                     catalog__row_fn fn, void *context);

/* Writing: MSysObjects, its two indexes, the shadow. Needs level >= 1. JET_errKeyDuplicate: the
 * name is taken. */
MUST_CHECK err_t catalog__insert_row(struct catalog *cat, struct trx *trx,
                                     const struct catalog_row *row);
MUST_CHECK err_t catalog__delete_row(struct catalog *cat, struct trx *trx, objid_t table,
                                     uint32_t type, uint32_t id);
struct row_edit {
    colid_t column;
    struct slice data;
    bool null;
};
MUST_CHECK err_t catalog__edit_row(struct catalog *cat, struct trx *trx, objid_t table,
                                   uint32_t type, uint32_t id, const struct row_edit *edits,
                                   int count);

/* ---- MSysObjids, MSysLocales (objids.c) ---- */
MUST_CHECK err_t catalog__objid_add(struct catalog *cat, struct trx *trx, objid_t objid,
                                    objid_t table, enum row_type type);
MUST_CHECK err_t catalog__objid_remove(struct catalog *cat, struct trx *trx, objid_t objid);
/* Makes the two tables where they are missing; fixed_root: at their pages of a new database. */
MUST_CHECK err_t catalog__add_system_tables(struct catalog *cat, struct trx *trx, bool fixed_root);

/* ---- descriptions (load.c, describe.c) ---- */

struct catalog_use {
    const struct trx *trx; /* a session */
    uint32_t count, deny_read, deny_write, writers;
};
struct memory_block {
    struct memory_block *next;
    _Alignas(16) uint8_t bytes[];
};
struct catalog_table {
    struct table_desc desc; /* desc.owner points back */
    struct catalog *cat;
    uint32_t columns_room, tagged_room;
    struct memory_block
        *memory; /* arrays live as long as the description: readers may hold old ones */
    struct catalog_use *uses; /* under cat->lock */
    uint32_t use_count, use_room;
    const struct trx *creator; /* created by it, uncommitted */
    bool dropped;              /* rows are gone, or the creation was rolled back */
    bool linked;               /* in cat->tables */
    _Atomic uint32_t longval_busy;
};
static inline struct catalog_table *catalog_table_of(struct table_desc *desc)
{
    return desc->owner;
}
MUST_CHECK err_t catalog__table_new(struct catalog *cat, const struct catalog_row *row,
                                    struct catalog_table **out);
void catalog__table_destroy(struct catalog_table *t);       /* closes its trees */
void *catalog__alloc(struct catalog_table *t, size_t size); /* zeroed; NULL: no memory */
/* Room for one more column; after it catalog__put_column cannot fail. */
MUST_CHECK err_t catalog__reserve_column(struct catalog_table *t, colid_t id);
void catalog__put_column(struct catalog_table *t,
                         const struct table_column *column); /* new, or in place of its id */
void catalog__take_column(struct catalog_table *t, colid_t id);
MUST_CHECK err_t catalog__column_from_row(struct catalog_table *t, const struct catalog_row *row,
                                          struct table_column *out);
MUST_CHECK err_t catalog__index_from_row(struct catalog_table *t, const struct catalog_row *row,
                                         struct table_index *out);
void catalog__publish_indexes(struct catalog_table *t, struct table_index *indexes, uint32_t count);
MUST_CHECK err_t catalog__load(struct catalog *cat, objid_t objid, struct catalog_table **out);
MUST_CHECK err_t catalog__create(struct dbfile *db, struct txn_databases *dbs, const char *temp_dir,
                                 struct catalog **out);
void catalog__free(struct catalog *cat);
MUST_CHECK err_t catalog__open_trees(struct catalog *cat);
MUST_CHECK err_t catalog__open_system_tables(struct catalog *cat);
MUST_CHECK err_t catalog__longval_tree(void *context, struct trx *trx, bool create,
                                       struct btree **tree);

/* The cache of descriptions (use.c). */
MUST_CHECK err_t catalog__get(struct catalog *cat, struct trx *trx, objid_t objid,
                              struct catalog_table **out); /* refs + 1 */
void catalog__link(struct catalog_table *t);
void catalog__unlink(struct catalog_table *t);
void catalog__add_ref(struct catalog_table *t);
bool catalog__used_by_others(struct catalog_table *t, const struct trx *trx);
bool catalog__denies_read(struct catalog_table *t,
                          const struct trx *trx); /* trx has it for itself */

/* ---- schema changes (change.c) ---- */

/* One change of a description or of a tree, taken back when its level is rolled back. */
enum change_kind {
    CHANGE_OWNER, /* trx became the table's ddl_owner; the oldest change of a table in a transaction
                   */
    CHANGE_COLUMN_NEW,
    CHANGE_COLUMN,     /* `column` is the former state */
    CHANGE_INDEX_NEW,  /* `indexes` the former array, tree the new one */
    CHANGE_INDEX_GONE, /* `indexes` the former array, tree the dropped one */
    CHANGE_NAME,
    CHANGE_CREATED,
    CHANGE_DROPPED,
    CHANGE_LONGVAL,
};
struct change_action {
    struct trx_action action;
    enum change_kind kind;
    struct catalog *cat;
    struct catalog_table *table; /* a reference */
    struct table_column column;
    struct table_index *indexes;
    uint32_t index_count;
    struct btree *tree;
    objid_t index_objid;
    char name[NAME_ROOM];
};
MUST_CHECK err_t catalog__change_new(struct catalog_table *t, enum change_kind kind,
                                     struct change_action **out);
void catalog__change_add(
    struct trx *trx, struct change_action *change); /* it happened: to be taken back from now on */
void catalog__change_cancel(struct change_action *change); /* it did not; NULL is fine */
/* Checks that trx may change this table's schema and makes it the owner. JET_errWriteConflict. */
MUST_CHECK err_t catalog__own(struct catalog_table *t, struct trx *trx);
MUST_CHECK err_t catalog__check_writable(const struct catalog *cat, const struct trx *trx);
/* No uncommitted or unseen change of rows by others. */
MUST_CHECK err_t catalog__check_quiet(struct catalog_table *t, struct trx *trx);
/* Gives a tree's space back; takes the caller's reference. */
MUST_CHECK err_t catalog__free_tree(struct btree *tree, struct trx *trx);
/* A tree was made, and then an error came: it goes again. Returns err, whatever comes of it. */
MUST_CHECK err_t catalog__give_up_tree(struct dbfile *db, struct trx *trx, pgno_t root, err_t err);

MUST_CHECK err_t catalog__parse_name(const char *utf8, char name[NAME_ROOM]);
void catalog__set_name(char to[NAME_ROOM], const char *from);
bool catalog__same_name(const char *a, const char *b);

/* A table and its parts without checks of a user's wishes (create.c): also for system tables. */
struct table_parts {
    const char *name;
    uint32_t flags, density, pages;
    objid_t objid;
    pgno_t fixed_root;
};
MUST_CHECK err_t catalog__make_table(struct catalog *cat, struct trx *trx,
                                     const struct table_parts *parts, struct catalog_table **out);
MUST_CHECK err_t catalog__make_column(struct catalog_table *t, struct trx *trx,
                                      const struct table_column *column);
MUST_CHECK err_t catalog__make_index(struct catalog_table *t, struct trx *trx,
                                     struct catalog_row *row);
MUST_CHECK err_t catalog__next_column_id(const struct catalog_table *t, colid_t first, colid_t last,
                                         colid_t *id);
uint32_t catalog__fixed_end(const struct catalog_table *t);

#endif
