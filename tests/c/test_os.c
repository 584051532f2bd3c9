#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctest.h"
#include "os/os.h"

/* ---- a scratch folder a case ---- */

static char scratch[OS_PATH_MAX];

static void remove_scratch(void);
static err_t remove_entry(void *context, const char *name, bool is_dir)
{
    const char *dir = context;
    char path[OS_PATH_MAX];
    CHECK_OK(os_join(path, sizeof path, dir, name));
    if (is_dir) {
        CHECK(chmod(path, 0777) == 0);
        CHECK_OK(os_dir_list(path, remove_entry, path));
        return os_dir_remove(path);
    }
    return os_unlink(path);
}

static pid_t scratch_owner;
static void remove_scratch(void)
{
    if (getpid() != scratch_owner)
        return;
    os_fault_set(NULL);
    os_record_stop();
    CHECK_OK(os_dir_list(scratch, remove_entry, scratch));
    CHECK_OK(os_dir_remove(scratch));
}

static const char *new_scratch(void)
{
    const char *tmp = getenv("TMPDIR");
    char made[OS_PATH_MAX];
    if (scratch_owner == 0)
        atexit(remove_scratch);
    else
        remove_scratch();
    snprintf(made, sizeof made, "%s/pyjet-os-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(made) != NULL);
    CHECK_OK(os_full_path(made, scratch, sizeof scratch));
    scratch_owner = getpid();
    return scratch;
}

/* Four buffers in turn: enough for one expression. */
static const char *in(const char *name)
{
    static char paths[4][OS_PATH_MAX];
    static int next;
    char *p = paths[next++ % 4];
    CHECK_OK(os_join(p, OS_PATH_MAX, scratch, name));
    return p;
}

static struct os_file *make(const char *name, const char *text)
{
    struct os_file *f;
    CHECK_OK(os_file_open(in(name), OS_WRITE | OS_CREATE, &f));
    CHECK_OK(os_file_write(f, 0, text, strlen(text)));
    return f;
}

static bool holds(const char *name, const char *text)
{
    struct os_file *f;
    char got[256];
    size_t n;
    CHECK_OK(os_file_open(in(name), OS_READ, &f));
    CHECK_OK(os_file_read_some(f, 0, got, sizeof got, &n));
    os_file_close(f);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

CASE(file_read_write)
{
    new_scratch();
    struct os_file *f = make("a", "hello world"), *g;
    char got[16] = {0};
    uint64_t size;
    size_t n;
    CHECK_OK(os_file_read(f, 6, got, 5));
    CHECK(strcmp(got, "world") == 0);
    CHECK_EQ(os_file_read(f, 6, got, 6), JET_errFileIOBeyondEOF);
    CHECK(strstr(err_last()->detail, "/a") != NULL);
    CHECK_OK(os_file_read_some(f, 6, got, 16, &n));
    CHECK_EQ(n, 5);
    CHECK_OK(os_file_read_some(f, 100, got, 16, &n));
    CHECK_EQ(n, 0);
    CHECK_OK(os_file_sync(f));
    CHECK_OK(os_file_size(f, &size));
    CHECK_EQ(size, 11);
    CHECK_OK(os_file_set_size(f, 5));
    CHECK(holds("a", "hello"));
    CHECK(strcmp(os_file_path(f), in("a")) == 0);
    os_file_drop_cache(f);
    CHECK_OK(os_file_open(in("a"), OS_WRITE | OS_TRUNCATE, &g));
    CHECK(holds("a", ""));
    os_file_close(g);
    os_file_close(f);
    os_file_close(NULL);
}
CTEST_MAIN
