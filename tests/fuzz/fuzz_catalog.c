/* A whole database, opened read-only as an untrusted file and checked, with changes in the trees of its catalog and its space.
 * Input: a list of changes, see db_world_change; one length in eight is checked too. */
#include "db_world.h"
#include "fuzz.h"

static bool wanted(uint32_t flags, objid_t objid)
{
    return objid <= 10 || (flags & (PAGE_SPACE_TREE | PAGE_INDEX)) != 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    db_world_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    db_world_change(wanted, &in);
    db_world_read(&(struct db_reading){.rows = 2, .system_rows = 2, .index_rows = 1, .check = n % 8 == 7});
    db_world_restore();
    return 0;
}
