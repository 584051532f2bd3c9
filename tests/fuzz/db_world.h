/* A small database of our own, made when the fuzzer starts, changed a page at a time under right checksums, read, put back.
 *
 * A change: {what, page, line, at, n, n bytes}. what % 8: 0-1 raw bytes anywhere in the page; 2-4 bytes inside a node's data; 5 other
 * data for a node; 6 a node gone; 7 another node with the key of one here. Only 0-1 break the page's own structure, so that the
 * rest reaches what reads nodes. */
#ifndef TESTS_FUZZ_DB_WORLD_H
#define TESTS_FUZZ_DB_WORLD_H

#include "fuzz.h"
#include "page/page.h"

#define WORLD_PAGE 4096u

/* Folder fuzz_path("world") with a.edb, clean; fuzz_path("dirty"): its files in mid-work; fuzz_path("set"): a backup. */
void db_world_make(void);
typedef bool (*db_world_wants)(uint32_t page_flags, objid_t objid);
void db_world_change(db_world_wants wants, struct input *in);
/* What reads a file of a stranger: schema, rows with long values, some by every index, then check with all options. An input can pay for
 * a few thousand values only, if there are to be hundreds of inputs a second: each target names what its own bytes reach. */
struct db_reading {
    uint32_t rows, system_rows, index_rows; /* of each table, of each of the catalog's own, of each index */
    bool singly; /* rows, values and places by the calls that ask for one */
    bool check;
};
void db_world_read(const struct db_reading *reading);
void db_world_read_file(const char *path, const struct db_reading *reading);
/* dir/a.edb: one table with all sorts of columns and indexes, closed in good order. */
void db_world_create(const char *dir, uint32_t page_size, int rows);
void db_world_restore(void);
/* One change of the same kind to any page in memory, sealed; from `what` on. */
void db_world_change_page(struct page page, pgno_t pgno, struct input *in);

#endif
