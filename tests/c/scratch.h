/* A new folder below TMPDIR for each case, gone with all that is in it when the next is made or the program ends; kept with CTEST_KEEP. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stdlib.h>
#include <unistd.h>

#include "ctest.h"
#include "os/os.h"
#include "remove.h"

static char scratch[OS_PATH_MAX];

static void remove_scratch(void)
{
    os_fault_set(NULL);
    if (scratch[0] != 0 && getenv("CTEST_KEEP") == NULL)
        remove_tree(scratch);
    scratch[0] = 0;
}

static void new_scratch(const char *room)
{
    static bool registered;
    const char *tmp = getenv("TMPDIR");
    char made[OS_PATH_MAX];
    if (!registered)
        atexit(remove_scratch);
    registered = true;
    remove_scratch();
    snprintf(made, sizeof made, "%.800s/pyjet-%s-XXXXXX", tmp != NULL ? tmp : "/tmp", room);
    CHECK(mkdtemp(made) != NULL);
    CHECK_OK(os_full_path(made, scratch, sizeof scratch));
}

#endif
