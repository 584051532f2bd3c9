/* sort: external merge sort, for index builds and temporary tables. In memory, spilling runs to an unlinked file. */
#ifndef SORT_SORT_H
#define SORT_SORT_H

#include "os/os.h"

struct sort;
struct sort_config {
    uint64_t memory_max;   /* bytes before runs are spilled */
    const char *temp_dir;  /* where the unlinked file is made */
    bool unique;           /* drop items whose key equals the one before */
    bool with_data;        /* compare key, then data */
};
MUST_CHECK err_t sort_create(const struct sort_config *config, struct sort **out);
void sort_destroy(struct sort *sort);
MUST_CHECK err_t sort_add(struct sort *sort, struct slice key, struct slice data);
/* No more items; the reader stands before the first. */
MUST_CHECK err_t sort_finish(struct sort *sort);
/* Next in order; slices live until the next call; *end at the end. */
MUST_CHECK err_t sort_next(struct sort *sort, struct slice *key, struct slice *data, bool *end);
MUST_CHECK err_t sort_rewind(struct sort *sort);
uint64_t sort_count(const struct sort *sort);
uint64_t sort_spilled_runs(const struct sort *sort);
/* Random access once finished (temporary tables): item number i in order. */
MUST_CHECK err_t sort_item(struct sort *sort, uint64_t i, struct slice *key, struct slice *data);

#endif
