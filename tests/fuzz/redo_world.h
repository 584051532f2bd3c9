/* Scenes for redo: a clean database and the records that an instance logged over it, taken apart so that a fuzzer may edit them and put
 * together again as a log with right checksums, positions and (unless it wants otherwise) dbtimes. */
#ifndef TESTS_FUZZ_REDO_WORLD_H
#define TESTS_FUZZ_REDO_WORLD_H

#include "fuzz.h"
#include "log/log.h"
#include "page/page.h"

#define REDO_PAGE 4096u
#define REDO_RECORDS_MOST 2048
#define REDO_SEGMENTS_MOST 160u
#define REDO_SCENES 4

struct redo_record {
    uint8_t *bytes;
    uint32_t n;
};
struct redo_scene {
    struct redo_record *record; /* the first is AttachDB */
    int count;
    uint8_t *image; /* the database, clean, before the first of them */
    size_t image_size;
};
struct redo_world {
    struct redo_scene scene[REDO_SCENES];
    uint8_t header[LOG_SEGMENT]; /* of a log of this stream */
    uint32_t generation;         /* above all that the database knows */
    char path[1024];             /* where AttachDB says that the database is */
};
/* Once a process. Scenes: 0 rows come until pages split; 1 updates, deletes, rollbacks, an unfinished transaction; 2 schema, another
 * database; 3 rows go until pages merge. */
const struct redo_world *redo_world_make(void);

/* A log of `segments` with these records laid from its second segment on, sealed; false when they do not fit. */
bool redo_lay(uint8_t *image, uint32_t segments, uint32_t generation, const struct redo_record *record, int count);

#endif
