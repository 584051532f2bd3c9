/* A test's own folder below TMPDIR: empty at the beginning of a case, gone at its end. For rooms above os that keep their files in
 * one folder without others in it. */
#ifndef FOLDER_H
#define FOLDER_H

#include "ctest.h"
#include "os/os.h"

static char folder[OS_PATH_MAX];

static err_t folder_unlink(void *context, const char *name, bool is_dir)
{
    char path[OS_PATH_MAX];
    (void)context;
    if (is_dir)
        return JET_errSuccess;
    TRY_RETURN(os_join(path, sizeof path, folder, name));
    return os_unlink(path);
}

static void folder_begin(const char *name)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.800s/pyjet-%s-%d", tmp != NULL ? tmp : "/tmp", name, os_process_id());
    CHECK_OK(os_dir_create_path(folder));
    CHECK_OK(os_dir_list(folder, folder_unlink, NULL));
}

static void folder_end(void)
{
    CHECK_OK(os_dir_list(folder, folder_unlink, NULL));
    CHECK_OK(os_dir_remove(folder));
}

/* A path in it; `path` has room for OS_PATH_MAX. */
static inline void folder_join(char *path, const char *name)
{
    CHECK_OK(os_join(path, OS_PATH_MAX, folder, name));
}

#endif
