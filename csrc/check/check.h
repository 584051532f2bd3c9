/* check: reads a whole database and says whether it is sound; dumps pages, headers and logs for humans.
 * Works on a read-only dbfile, clean or not, of any update it knows how to read. */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H

#include "catalog/catalog.h"

enum check_kind { CHECK_HEADER, CHECK_CHECKSUM, CHECK_PAGE, CHECK_TREE, CHECK_SPACE, CHECK_CATALOG, CHECK_RECORD, CHECK_LONGVALUE, CHECK_INDEX, CHECK_NOTE };
struct check_finding {
    enum check_kind kind;
    pgno_t pgno;      /* 0 = none */
    objid_t objid;
    const char *table; /* UTF-8 or NULL */
    const char *text;
};
typedef err_t (*check_sink_fn)(void *context, const struct check_finding *finding); /* < 0 stops */
struct check_options {
    bool records;  /* parse every record, follow long values */
    bool indexes;  /* every index entry against its record; implies records */
    check_sink_fn sink;
    void *sink_context;
    err_t (*progress)(void *context, uint32_t done, uint32_t total);
    void *progress_context;
};
struct check_sum {
    uint64_t pages, pages_used, pages_available, pages_leaked, trees, tables, records, index_entries, long_values, findings, notes;
};
MUST_CHECK err_t check_database(struct dbfile *db, const struct check_options *options, struct check_sum *sum);
/* Checksums alone, over a file that need not open. */
MUST_CHECK err_t check_checksums(const char *path, const struct check_options *options, struct check_sum *sum);
/* JSON texts for people and scripts; appended to out. */
MUST_CHECK err_t dump_db_header(const struct db_header *h, struct buffer *out);
MUST_CHECK err_t dump_log_header(const struct log_header *h, struct buffer *out);
MUST_CHECK err_t dump_checkpoint(const struct checkpoint *c, struct buffer *out);
/* A JSON string, quoted. */
MUST_CHECK err_t dump_text(const char *text, struct buffer *out);
MUST_CHECK err_t dump_page(struct page page, pgno_t pgno, struct buffer *out);
MUST_CHECK err_t dump_log_record(const struct log_view *view, struct buffer *out);

#endif
