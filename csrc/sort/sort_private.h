#ifndef SORT_SORT_PRIVATE_H
#define SORT_SORT_PRIVATE_H

#include "sort/sort.h"

#define ITEM_HEAD 8u
#define RUNS_MAX 64
#define RUN_BUFFER (256u * 1024)

struct run_file { /* items end to end in the spill file: [from, to) */
    uint64_t from, to;
};

struct sort {
    struct sort_config config;
    char *temp_dir;
    struct buffer arena; /* items in memory */
    uint32_t *order;     /* offsets into the arena, sorted once settled */
    uint32_t count, order_room;
    uint64_t total; /* items in all, repeated ones dropped as far as seen */
    bool finished;
    uint64_t next;
    /* spilled */
    struct os_file *file;
    uint64_t file_size;
    struct run_file runs[RUNS_MAX];
    int run_count;
    uint64_t spilled;
    uint64_t *index; /* finished: file offset of every INDEX_STEP-th item of the one merged run */
    struct buffer window; /* finished: bytes of the file from window_at on */
    uint64_t window_at;
    uint64_t item_known, offset_known; /* item number and offset of the last one read */
};
#define INDEX_STEP 256u

int sort__compare(const struct sort *sort, const uint8_t *a, const uint8_t *b);
uint32_t sort__item_size(const uint8_t *at);
err_t sort__settle(struct sort *sort) MUST_CHECK;
err_t sort__spill(struct sort *sort) MUST_CHECK;  /* settles and writes what is in memory as a run */
err_t sort__merge(struct sort *sort) MUST_CHECK;  /* all runs into one, with an index */
err_t sort__merged_item(struct sort *sort, uint64_t i, const uint8_t **at) MUST_CHECK;
void sort__runs_free(struct sort *sort);

#endif
