/* catalog: tables, columns and indexes by name: keeps MSysObjects and its shadow, MSysObjids,
 * MSysLocales; creates and drops; builds indexes. Facts: edb-format.md 8, 9. Invariants, locks and
 * what a client must know of schema changes: README.rst.
 *
 * All names that come in are UTF-8, and so is catalog_table_info.name; names inside a description
 * are 1252. A call that changes a schema needs level >= 1, is one statement, and makes its
 * transaction the table's ddl_owner until the transaction ends: a second one gets
 * JET_errWriteConflict, and so do other sessions' row changes (table_may_update). */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include "table/table.h"

/* The tree that owns the whole file, and of which all others have their space. */
enum { SYSTEM_ROOT = 1, SYSTEM_OBJID = 1 };

/* Names between UTF-8 (our API) and code page 1252 (on disk). JET_errInvalidName. out: NAME_ROOM
 * (1252), or 3 * NAME_ROOM (UTF-8). */
MUST_CHECK err_t catalog_name_from_utf8(const char *utf8, char *name1252);
void catalog_name_to_utf8(const char *name1252, char *utf8);

/* A new database: pages 1-30 of edb-format.md 8, all logged (log-format.md 9.6). trx at level 0. */
MUST_CHECK err_t catalog_bootstrap(struct dbfile *db, struct trx *trx,
                                   const struct txn_databases *dbs, pgno_t pages);
/* Opens the catalog of an attached database; the system trees and hard-coded descriptions. Adds
 * MSysObjids/MSysLocales when a writable file lacks them. temp_dir for index builds. */
MUST_CHECK err_t catalog_open(struct dbfile *db, struct txn_databases *dbs, const char *temp_dir,
                              struct trx *trx);
/* No table open. Sweep before: the space of a dropped tree that is not swept yet leaks until
 * catalog_reconcile. */
void catalog_close(struct dbfile *db);

/* The description by name as trx sees it; JET_errObjectNotFound. Release with catalog_release. */
MUST_CHECK err_t catalog_table(struct dbfile *db, struct trx *trx, const char *name,
                               struct table_desc **out);
void catalog_release(struct table_desc *desc);
struct table_desc *catalog_system_table(struct dbfile *db,
                                        bool shadow); /* MSysObjects; not to be released */
/* Opening for use with deny bits: JET_errTableLocked, JET_errTableInUse
 * (JET_bitTableDenyRead/DenyWrite). */
MUST_CHECK err_t catalog_table_use(struct table_desc *desc, struct trx *trx, JET_GRBIT grbit);
void catalog_table_unuse(struct table_desc *desc, struct trx *trx, JET_GRBIT grbit);

struct catalog_column_want {
    const char *name;
    JET_COLTYP coltyp;
    uint32_t cb_max;
    JET_GRBIT grbit;
    uint16_t code_page;
    struct slice default_value;
    bool has_default;
};
struct catalog_index_want {
    const char *name;
    const char *key; /* "+a\0-b\0\0" in 1252 or UTF-8 of column names */
    uint32_t key_size;
    JET_GRBIT grbit;
    uint32_t density;
    uint32_t key_most; /* 0 = 255 */
    uint32_t var_seg_mac;
    const char *locale; /* NULL = default */
    uint32_t lcmap_flags;
    const struct {
        const char *column;
        JET_GRBIT grbit;
    } *conditions;
    uint32_t condition_count;
};
MUST_CHECK err_t catalog_create_table(struct dbfile *db, struct trx *trx, const char *name,
                                      uint32_t pages, uint32_t density, struct table_desc **out);
MUST_CHECK err_t catalog_drop_table(struct dbfile *db, struct trx *trx, const char *name);
MUST_CHECK err_t catalog_rename_table(struct dbfile *db, struct trx *trx, const char *from,
                                      const char *to);
MUST_CHECK err_t catalog_add_column(struct table_desc *desc, struct trx *trx,
                                    const struct catalog_column_want *want, colid_t *id);
MUST_CHECK err_t catalog_drop_column(struct table_desc *desc, struct trx *trx, const char *name,
                                     JET_GRBIT grbit);
MUST_CHECK err_t catalog_rename_column(struct table_desc *desc, struct trx *trx, const char *from,
                                       const char *to);
MUST_CHECK err_t catalog_set_default(struct table_desc *desc, struct trx *trx, const char *column,
                                     struct slice value, bool none);
MUST_CHECK err_t catalog_create_index(struct table_desc *desc, struct trx *trx,
                                      const struct catalog_index_want *want);
MUST_CHECK err_t catalog_drop_index(struct table_desc *desc, struct trx *trx, const char *name);

/* Names of tables in name order as trx sees them; stops at the first error of visit. */
struct catalog_table_info {
    const char *name; /* UTF-8 */
    objid_t objid;
    pgno_t root;
    uint32_t flags;
    uint32_t pages, density;
};
typedef err_t (*catalog_visit_fn)(void *context, const struct catalog_table_info *info);
MUST_CHECK err_t catalog_visit_tables(struct dbfile *db, struct trx *trx, catalog_visit_fn visit,
                                      void *context);

/* The trees that the committed rows name: tables, their indexes and long values. */
typedef err_t (*catalog_tree_fn)(void *context, objid_t objid, pgno_t root);
MUST_CHECK err_t catalog_visit_trees(struct dbfile *db, catalog_tree_fn visit, void *context);
/* The same as a list, by objid. */
struct catalog_trees {
    struct catalog_tree {
        objid_t objid;
        pgno_t root;
    } *list; /* free() it, after an error too */
    uint32_t n, room;
};
MUST_CHECK err_t catalog_list_trees(struct dbfile *db, struct catalog_trees *out);
const struct catalog_tree *catalog_find_tree(const struct catalog_trees *trees, objid_t objid); /* NULL: none */

/* After a recovery that undid something: frees trees that no row names, gives leaked pages back
 * (decision 8). */
MUST_CHECK err_t catalog_reconcile(struct dbfile *db, struct trx *trx, uint32_t *pages_found);
/* Before a clean end: the same when errors left pages to nobody (space_has_lost). Nobody uses the database, nothing of it waits
 * for the sweep. */
MUST_CHECK err_t catalog_reclaim(struct dbfile *db, struct trx *trx);

#endif
