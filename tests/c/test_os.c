#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctest.h"
#include "os/os.h"

/* ---- a scratch folder a case ---- */

static char scratch[OS_PATH_MAX];

static err_t remove_entry(void *context, const char *name, bool is_dir)
{
    const char *dir = context;
    char path[OS_PATH_MAX];
    CHECK_OK(os_join(path, sizeof path, dir, name));
    struct stat st;
    if (is_dir && lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        CHECK(chmod(path, 0777) == 0);
        CHECK_OK(os_dir_list(path, remove_entry, path));
        return os_dir_remove(path);
    }
    return os_unlink(path);
}

static pid_t scratch_owner; /* a forked child that exits leaves the folder alone */
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

CASE(file_open_errors)
{
    new_scratch();
    struct os_file *f;
    CHECK_EQ(os_file_open(in("no"), OS_READ, &f), JET_errFileNotFound);
    CHECK(f == NULL);
    CHECK(strstr(err_last()->detail, "/no: No such file") != NULL);
    CHECK_EQ(os_file_open(in("no/such"), OS_READ, &f), JET_errInvalidPath);
    CHECK_EQ(os_file_open(in("no/such"), OS_WRITE | OS_CREATE, &f), JET_errInvalidPath);
    os_file_close(make("file", "x"));
    CHECK_EQ(os_file_open(in("file/under"), OS_READ, &f), JET_errInvalidPath);
    CHECK_EQ(os_file_open(in("file"), OS_WRITE | OS_CREATE | OS_EXCL, &f),
             JET_errFileAlreadyExists);
    CHECK_EQ(os_file_open(scratch, OS_READ, &f), JET_errFileAccessDenied);
    CHECK_EQ(os_file_open(scratch, OS_WRITE, &f), JET_errFileAccessDenied);
    CHECK_EQ(os_file_open("", OS_READ, &f), JET_errInvalidPath);
    CHECK(mkfifo(in("fifo"), 0600) == 0);
    CHECK_EQ(os_file_open(in("fifo"), OS_READ, &f), JET_errFileInvalidType); /* and does not hang */
    CHECK_EQ(os_file_open("/dev/null", OS_WRITE, &f), JET_errFileInvalidType);
    char name[400];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    CHECK_EQ(os_file_open(in(name), OS_WRITE | OS_CREATE, &f), JET_errInvalidPath);
    CHECK_OK(os_file_open(in("file"), OS_READ, &f));
    CHECK_EQ(os_file_write(f, 0, "y", 1), JET_errDiskIO); /* a handle that only reads */
    os_file_close(f);
    if (geteuid() != 0) { /* root may do all */
        CHECK(chmod(in("file"), 0400) == 0);
        CHECK_EQ(os_file_open(in("file"), OS_WRITE, &f), JET_errFileAccessDenied);
    }
}

CASE(file_out_of_handles)
{
    new_scratch();
    struct rlimit limit, tight;
    struct os_file *held[64];
    int n = 0;
    err_t err = JET_errSuccess;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    tight = limit;
    tight.rlim_cur = 32;
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    os_file_close(make("a", "x"));
    while (n < 64 && (err = os_file_open(in("a"), OS_READ, &held[n])) >= 0)
        n++;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_EQ(err, JET_errOutOfFileHandles);
    while (n > 0)
        os_file_close(held[--n]);
}

CASE(file_vectors)
{
    new_scratch();
    /* more parts than one kernel call takes, some empty, of uneven length */
    enum { PARTS = 200 };
    struct os_iovec v[PARTS];
    static unsigned char pattern[PARTS * 37], got[PARTS * 37];
    size_t at = 0;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)(i * 7 + i / 256);
    for (int i = 0; i < PARTS; i++) {
        size_t n = (size_t)i * 13 % 37;
        v[i] = (struct os_iovec){pattern + at, n};
        at += n;
    }
    struct os_file *f;
    CHECK_OK(os_file_open(in("v"), OS_WRITE | OS_CREATE, &f));
    CHECK_OK(os_file_writev(f, 5, v, PARTS));
    uint64_t size;
    CHECK_OK(os_file_size(f, &size));
    CHECK_EQ(size, at + 5);
    CHECK_OK(os_file_read(f, 5, got, at));
    CHECK(memcmp(got, pattern, at) == 0);
    CHECK_OK(os_file_writev(f, 0, v, 0));
    os_file_close(f);
}

CASE(file_zero_makes_blocks)
{
    new_scratch();
    struct os_file *f = make("z", "leading bytes");
    struct stat st;
    enum { TO = (3 << 20) + 17 };
    CHECK_OK(os_file_zero(f, 7, TO));
    CHECK_OK(os_file_sync(f));
    CHECK(stat(in("z"), &st) == 0);
    CHECK_EQ(st.st_size, TO);
    CHECK(st.st_blocks * 512 >= TO); /* no holes */
    char *got = malloc(TO);
    CHECK_OK(os_file_read(f, 0, got, TO));
    CHECK(memcmp(got, "leading", 7) == 0);
    for (int i = 7; i < TO; i++)
        CHECK(got[i] == 0);
    free(got);
    os_file_close(f);
}

static void use_direct(const char *path)
{
    struct os_file *f;
    char *page = os_alloc_aligned(8192);
    size_t n;
    CHECK(page != NULL && (uintptr_t)page % 4096 == 0);
    memset(page, 'd', 8192);
    CHECK_OK(os_file_open(path, OS_WRITE | OS_CREATE | OS_EXCL | OS_DIRECT, &f));
    CHECK_OK(os_file_write(f, 4096, page, 8192));
    memset(page, 0, 8192);
    CHECK_OK(os_file_read(f, 8192, page, 4096));
    CHECK(page[0] == 'd' && page[4095] == 'd');
    CHECK_OK(os_file_set_size(f, 8192 + 100)); /* an odd end: as many bytes as there are */
    CHECK_OK(os_file_read_some(f, 8192, page, 8192, &n));
    CHECK_EQ(n, 100);
    CHECK_OK(os_file_zero(f, 12288, 16384));
    CHECK_OK(os_file_sync(f));
    os_file_close(f);
    os_free_aligned(page);
}

CASE(file_direct)
{
    new_scratch();
    use_direct(in("direct"));
    char shm[64]; /* tmpfs: may refuse O_DIRECT, must not matter */
    snprintf(shm, sizeof shm, "/dev/shm/pyjet-os-%d", os_process_id());
    if (os_is_dir("/dev/shm")) {
        use_direct(shm);
        CHECK_OK(os_unlink(shm));
    }
}

/* proc has no O_DIRECT: the open falls back; on a disk an odd size makes the kernel refuse later.
 */
CASE(file_direct_falls_back)
{
    new_scratch();
    struct os_file *f;
    char *page = os_alloc_aligned(4096);
    size_t n;
    CHECK_OK(os_file_open("/proc/version", OS_READ | OS_DIRECT, &f));
    CHECK_OK(os_file_read_some(f, 0, page, 4096, &n));
    CHECK(n > 5 && memcmp(page, "Linux", 5) == 0);
    os_file_close(f);
#ifndef PYJET_DEBUG
    CHECK_OK(os_file_open(in("a"), OS_WRITE | OS_CREATE | OS_DIRECT, &f));
    CHECK_OK(os_file_write(f, 3, "odd", 3));
    CHECK_OK(os_file_read(f, 3, page + 1, 3));
    CHECK(memcmp(page + 1, "odd", 3) == 0);
    os_file_close(f);
#endif
    os_free_aligned(page);
}

CASE(dirs_and_names)
{
    new_scratch();
    CHECK_OK(os_dir_create(in("d")));
    CHECK_OK(os_dir_create(in("d")));
    CHECK_EQ(os_dir_create(in("x/y")), JET_errInvalidPath);
    CHECK_OK(os_dir_create_path(in("p/q/r")));
    CHECK_OK(os_dir_create_path(in("p/q/r/")));
    CHECK(os_is_dir(in("p/q/r")) && !os_is_dir(in("nix")) && os_exists(in("p")) &&
          !os_exists(in("nix")));
    os_file_close(make("p/f", "1"));
    CHECK(!os_is_dir(in("p/f")) && os_exists(in("p/f")));
    CHECK_EQ(os_dir_create(in("p/f")), JET_errInvalidPath); /* a file is in the way */
    CHECK_EQ(os_dir_create_path(in("p/f/g")), JET_errInvalidPath);
    CHECK_EQ(os_dir_remove(in("p")), JET_errFileAccessDenied); /* not empty */
    CHECK_OK(os_dir_sync(in("p")));
    CHECK_EQ(os_dir_sync(in("nix")), JET_errInvalidPath);
    CHECK_EQ(os_dir_list(in("nix"), NULL, NULL), JET_errInvalidPath);
    CHECK_OK(os_dir_remove(in("p/q/r")));
    CHECK(!os_exists(in("p/q/r")));
    uint64_t bytes;
    CHECK_OK(os_disk_free(scratch, &bytes));
    CHECK(bytes > 0);
    CHECK_EQ(os_disk_free(in("nix"), &bytes), JET_errInvalidPath);
}

struct listing {
    int files, dirs, stop_after;
};
static err_t count_entry(void *context, const char *name, bool is_dir)
{
    struct listing *l = context;
    CHECK(name[0] != '.');
    is_dir ? l->dirs++ : l->files++;
    return l->stop_after != 0 && l->files + l->dirs == l->stop_after ? RAISE(JET_errRecordNotFound)
                                                                     : JET_errSuccess;
}

CASE(dir_list)
{
    new_scratch();
    CHECK_OK(os_dir_create(in("d")));
    os_file_close(make("f", "1"));
    os_file_close(make("g", "1"));
    CHECK(symlink(in("d"), in("link")) == 0); /* a link to a folder is a folder */
    struct listing l = {0};
    CHECK_OK(os_dir_list(scratch, count_entry, &l));
    CHECK(l.files == 2 && l.dirs == 2);
    l = (struct listing){.stop_after = 2};
    CHECK_EQ(os_dir_list(scratch, count_entry, &l), JET_errRecordNotFound);
    CHECK_EQ(l.files + l.dirs, 2);
    CHECK(unlink(in("link")) == 0);
}

CASE(rename_and_unlink)
{
    new_scratch();
    os_file_close(make("a", "from"));
    os_file_close(make("b", "to"));
    CHECK_OK(os_rename(in("a"), in("b")));
    CHECK(holds("b", "from") && !os_exists(in("a")));
    CHECK_EQ(os_rename(in("a"), in("c")), JET_errFileNotFound);
    CHECK_EQ(os_rename(in("b"), in("no/c")), JET_errInvalidPath);
    CHECK(strstr(err_last()->detail, "/no/c") != NULL);
    CHECK_EQ(os_unlink(in("a")), JET_errFileNotFound);
    CHECK_EQ(os_unlink(in("no/a")), JET_errFileNotFound);
    CHECK(symlink(in("b"), in("link")) == 0);
    CHECK_OK(os_unlink(in("link"))); /* the link, not what it points to */
    CHECK(holds("b", "from"));
    CHECK_OK(os_unlink(in("b")));
    CHECK(!os_exists(in("b")));
    CHECK_EQ(os_unlink(scratch), JET_errFileAccessDenied);
}

CASE(unlink_in_a_real_folder_only)
{
    uint64_t size;
    new_scratch();
    CHECK_OK(os_dir_create(in("dir")));
    os_file_close(make("dir/a", "kept"));
    os_file_close(make("dir/b", "goes"));
    CHECK(symlink(in("dir"), in("link")) == 0);
    CHECK_EQ(os_unlink_in(in("link"), "a"), JET_errInvalidPath);
    CHECK(holds("dir/a", "kept"));
    CHECK_OK(os_unlink_in(in("dir"), "b"));
    CHECK_EQ(os_unlink_in(in("dir"), "b"), JET_errFileNotFound);
    CHECK_EQ(os_unlink_in(in("no"), "b"), JET_errFileNotFound);
    CHECK_EQ(os_kind_of(in("dir/a"), &size), OS_KIND_FILE);
    CHECK_EQ(size, 4);
    CHECK_EQ(os_kind_of(in("link"), NULL), OS_KIND_LINK);
    CHECK_EQ(os_kind_of(in("dir"), NULL), OS_KIND_FOLDER);
    CHECK_EQ(os_kind_of(in("dir/b"), &size), OS_KIND_NONE);
    CHECK_EQ(size, 0);
    CHECK_EQ(os_kind_of("/dev/null", NULL), OS_KIND_OTHER);
}

CASE(full_path)
{
    new_scratch();
    char out[OS_PATH_MAX], small[8];
    CHECK_OK(os_dir_create(in("d")));
    CHECK(symlink(in("d"), in("link")) == 0);
    CHECK_OK(os_full_path(in("link/./x//y/../z"), out, sizeof out));
    CHECK(strcmp(out, in("d/x/z")) == 0);
    CHECK_OK(os_full_path(in("x/../../../../../../../../.."), out, sizeof out));
    CHECK(strcmp(out, "/") == 0);
    CHECK_OK(os_full_path("/", out, sizeof out));
    CHECK(strcmp(out, "/") == 0);
    CHECK_OK(os_full_path("/nosuchtop/a", out, sizeof out));
    CHECK(strcmp(out, "/nosuchtop/a") == 0);
    CHECK(chdir(scratch) == 0);
    CHECK_OK(os_full_path("d/..", out, sizeof out));
    CHECK(strcmp(out, scratch) == 0);
    CHECK_OK(os_full_path("new", out, sizeof out));
    CHECK(strcmp(out, in("new")) == 0);
    CHECK(chdir("/") == 0);
    CHECK_EQ(os_full_path("", out, sizeof out), JET_errInvalidPath);
    static char longest[2 * OS_PATH_MAX];
    memset(longest, '/', sizeof longest - 1);
    CHECK_EQ(os_full_path(longest, out, sizeof out), JET_errInvalidPath);
    longest[0] = 'a';
    CHECK_EQ(os_full_path(longest, out, sizeof out), JET_errInvalidPath);
    memset(longest, 'a', sizeof longest - 1);
    CHECK_EQ(os_unlink(longest), JET_errInvalidPath);
    CHECK_EQ(os_rename(in("d"), longest), JET_errInvalidPath);
    CHECK_EQ(os_join(small, sizeof small, "abcd", "efgh"), JET_errInvalidPath);
    CHECK_OK(os_join(small, sizeof small, "ab/", "efgh"));
    CHECK(strcmp(small, "ab/efgh") == 0);
    CHECK_OK(os_unlink(in("link")));
}

/* ---- locks between processes ---- */

static int exit_of(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* The error of a lock taken in another process, as its exit code. */
static int lock_in_child(bool dir, bool exclusive)
{
    fflush(NULL);
    pid_t child = fork();
    if (child != 0)
        return exit_of(child);
    err_t err;
    struct os_file *f;
    struct os_dir_lock *lock;
    if (dir)
        err = os_dir_lock(scratch, &lock);
    else if ((err = os_file_open(in("f"), OS_WRITE, &f)) >= 0)
        err = os_file_lock(f, exclusive);
    _exit(err == JET_errSuccess ? 0 : err == JET_errFileAccessDenied ? 1 : 2);
}

CASE(file_lock_between_processes)
{
    new_scratch();
    struct os_file *f = make("f", "x"), *g;
    CHECK_OK(os_file_lock(f, true));
    CHECK_EQ(lock_in_child(false, true), 1);
    CHECK_EQ(lock_in_child(false, false), 1);
    CHECK_OK(os_file_open(in("f"), OS_WRITE, &g)); /* another handle counts as another */
    CHECK_EQ(os_file_lock(g, true), JET_errFileAccessDenied);
    CHECK_OK(os_file_lock(f, false));
    CHECK_EQ(lock_in_child(false, false), 0);
    CHECK_EQ(lock_in_child(false, true), 1);
    os_file_unlock(f);
    CHECK_EQ(lock_in_child(false, true), 0);
    os_file_close(g);
    os_file_close(f);
    CHECK_OK(os_file_open(in("f"), OS_READ, &f));
    CHECK_EQ(os_file_lock(f, true),
             JET_errFileAccessDenied); /* exclusive wants a writable handle */
    CHECK_OK(os_file_lock(f, false));
    os_file_close(f);
}

CASE(dir_lock_between_processes)
{
    new_scratch();
    struct os_dir_lock *lock, *second;
    CHECK_OK(os_dir_lock(scratch, &lock));
    CHECK_EQ(os_dir_lock(scratch, &second), JET_errFileAccessDenied);
    CHECK(second == NULL && strstr(err_last()->detail, "another instance") != NULL);
    CHECK_EQ(lock_in_child(true, true), 1);
    os_dir_unlock(lock);
    CHECK_EQ(lock_in_child(true, true), 0);
    CHECK_EQ(os_dir_lock(in("nix"), &lock), JET_errInvalidPath);
    os_dir_unlock(NULL);
}

/* The part of forked_child_does_not_hold_locks that lives on: its parent is gone, its copies of the
 * locked handles are dead, the others work. Ends with the pipe. */
static int outlive(struct os_file *locked, struct os_file *other, struct os_dir_lock *lock,
                   int ready, int end)
{
    char c;
    int bad = os_file_write(locked, 0, "z", 1) >= 0;
    bad |= os_file_write(other, 0, "y", 1) < 0;
    bad |= os_thread_id() != (uint64_t)os_process_id();
    bad |= write(ready, bad ? "b" : "g", 1) != 1;
    bad |= read(end, &c, 1) != 0;
    os_file_close(locked);
    os_dir_unlock(lock);
    return bad;
}

/* A child that outlives its parent must not keep the parent's locks. */
CASE(forked_child_does_not_hold_locks)
{
    new_scratch();
    int ready[2], end[2];
    char verdict;
    CHECK(pipe(ready) == 0 && pipe(end) == 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct os_dir_lock *lock;
        struct os_file *f = make("f", "x"), *g = make("g", "y");
        CHECK_OK(os_dir_lock(scratch, &lock));
        CHECK_OK(os_file_lock(f, true));
        close(end[1]);
        if (fork() == 0)
            _exit(outlive(f, g, lock, ready[1], end[0]));
        _exit(0); /* without unlocking, as a killed process would */
    }
    CHECK_EQ(exit_of(child), 0);
    CHECK_EQ(read(ready[0], &verdict, 1), 1);
    CHECK_EQ(verdict, 'g');
    CHECK_EQ(lock_in_child(true, true), 0);
    CHECK_EQ(lock_in_child(false, true), 0);
    close(end[1]);
    close(end[0]);
    close(ready[1]);
    CHECK_EQ(read(ready[0], &verdict, 1), 0); /* the grandchild is gone */
    close(ready[0]);
}

/* Forks while other threads are inside calls: the child must find the room's mutexes free. */
static _Atomic int forks_done;
static char in_thread[OS_PATH_MAX + 2];

static void open_and_fail(void *context)
{
    (void)context;
    struct os_file *f;
    while (!forks_done)
        if (os_file_open(in_thread, OS_READ, &f) >= 0)
            os_file_close(f);
}

CASE(fork_finds_mutexes_free)
{
    new_scratch();
    os_file_close(make("a", "x"));
    snprintf(in_thread, sizeof in_thread, "%s/a", scratch);
    struct os_fault plan = {
        .ops = 1u << OS_OP_OPEN, .path_part = "/a", .after = 1000000, .count = 1, .error = EIO};
    struct os_thread *threads[2];
    struct os_file *f;
    forks_done = 0;
    os_fault_set(&plan);
    for (int i = 0; i < 2; i++)
        CHECK_OK(os_thread_start("opener", open_and_fail, NULL, &threads[i]));
    for (int i = 0; i < 50; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            _exit(os_file_open(in_thread, OS_READ, &f) < 0);
        }
        CHECK_EQ(exit_of(child), 0);
    }
    forks_done = 1;
    for (int i = 0; i < 2; i++)
        os_thread_join(threads[i]);
    os_fault_set(NULL);
}

/* ---- ranks, conditions, threads ---- */

static int abort_status(void (*fn)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        CHECK(freopen("/dev/null", "w", stderr) != NULL);
        fn();
        _exit(0);
    }
    return exit_of(child);
}

static struct os_lock low, low2, high;
static struct os_rwlock middle;
static struct os_cond bell;

static void init_locks(void)
{
    os_lock_init(&low, RANK_LOG_BUFFER);
    os_lock_init(&low2, RANK_LOG_BUFFER);
    os_lock_init(&high, RANK_SESSION);
    os_rwlock_init(&middle, RANK_TABLE_DESC);
    os_cond_init(&bell);
}

static void term_locks(void)
{
    os_lock_term(&low);
    os_lock_term(&low2);
    os_lock_term(&high);
    os_rwlock_term(&middle);
    os_cond_term(&bell);
}

static void rising(void)
{
    os_lock_take(&low);
    os_lock_take(&high);
}
static void rising_rwlock(void)
{
    os_lock_take(&low);
    os_rwlock_read(&middle);
}
static void rising_try(void)
{
    os_lock_take(&low);
    (void)os_lock_try(&high);
}
static void rising_under_two(void) /* lower than the last, not than the first but one */
{
    os_lock_take(&high);
    os_lock_take(&low);
    os_lock_release(&high);
    os_rwlock_write(&middle);
}
static void same_rank(void)
{
    os_lock_take(&low);
    os_lock_take(&low2);
}
static void wait_above(void) /* waiting ends by taking the lock again, above a lower one */
{
    os_lock_take(&high);
    os_lock_take(&low);
    (void)os_cond_wait_ms(&bell, &high, 1);
}
static void release_not_held(void)
{
    os_lock_take(&high);
    os_lock_release(&low);
}
static void falling(void)
{
    os_lock_take(&high);
    os_rwlock_write(&middle);
    os_lock_take(&low);
    if (!os_lock_try(&low2)) /* the same rank, by try */
        _exit(9);
    os_lock_release(&high); /* any order of release */
    os_lock_release(&low2);
    os_rwlock_release(&middle);
    os_lock_release(&low);
    os_lock_take(&high);
    (void)os_cond_wait_ms(&bell, &high, 1);
    os_lock_take(&low);
    (void)os_cond_wait_ms(&bell, &low, 1);
    os_lock_release(&low);
    os_lock_release(&high);
}

CASE(lock_ranks)
{
    init_locks();
    CHECK_EQ(abort_status(falling), 0);
#ifdef PYJET_DEBUG
    void (*const bad[])(void) = {rising,    rising_rwlock, rising_try,      rising_under_two,
                                 same_rank, wait_above,    release_not_held};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(abort_status(bad[i]), 100 + SIGABRT);
#else
    /* free in release builds: the order that debug refuses passes */
    CHECK_EQ(abort_status(rising), 0);
    (void)rising_rwlock, (void)rising_try, (void)rising_under_two, (void)same_rank;
    (void)wait_above, (void)release_not_held;
#endif
    term_locks();
}

enum { WORKERS = 4, ROUNDS = 5000 };
static uint64_t counter;
static _Atomic int finished;

static void count_up(void *context)
{
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 3 != 0)
            os_lock_take(&low);
        else
            while (!os_lock_try(&low))
                os_yield();
        counter++;
        os_lock_release(&low);
    }
    finished++;
}

static void run_workers(os_thread_fn fn)
{
    struct os_thread *threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        CHECK_OK(os_thread_start("a worker with a long name", fn, NULL, &threads[i]));
    for (int i = 0; i < WORKERS; i++)
        os_thread_join(threads[i]);
}

CASE(threads_and_mutex)
{
    init_locks();
    counter = 0;
    finished = 0;
    run_workers(count_up);
    CHECK_EQ(counter, WORKERS * ROUNDS);
    CHECK_EQ(finished, WORKERS);
    term_locks();
    os_thread_join(NULL);
}

static uint64_t pair[2];

static void read_and_write(void *context)
{
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 8 == 0) {
            os_rwlock_write(&middle);
            pair[0]++;
            os_cpu_relax();
            pair[1]++;
        } else if (i % 8 == 1) {
            if (!os_rwlock_try_write(&middle))
                continue;
            pair[0]++;
            pair[1]++;
        } else {
            os_rwlock_read(&middle);
            CHECK(pair[0] == pair[1]);
        }
        os_rwlock_release(&middle);
    }
}

CASE(rwlock_excludes)
{
    init_locks();
    pair[0] = pair[1] = 0;
    run_workers(read_and_write);
    CHECK(pair[0] == pair[1] && pair[0] >= WORKERS * ROUNDS / 8);
    term_locks();
}

static _Atomic int readers_stop, reader_rounds;

static void read_always(void *context)
{
    (void)context;
    while (!readers_stop) {
        os_rwlock_read(&middle);
        os_sleep_ms(1);
        reader_rounds++;
        os_rwlock_release(&middle);
    }
}

static void write_once(void *context)
{
    _Atomic int *done = context;
    os_rwlock_write(&middle);
    *done = 1;
    os_rwlock_release(&middle);
    readers_stop = 1;
}

/* Readers overlap without a gap; a lock that prefers them would never let the writer in. */
CASE(rwlock_writer_is_not_starved)
{
    init_locks();
    struct os_thread *threads[3], *writer;
    _Atomic int done = 0;
    readers_stop = reader_rounds = 0;
    for (int i = 0; i < 3; i++)
        CHECK_OK(os_thread_start("reader", read_always, NULL, &threads[i]));
    while (reader_rounds < 10)
        os_sleep_ms(1);
    uint64_t start = os_now_ns();
    CHECK_OK(os_thread_start("writer", write_once, (void *)&done, &writer));
    while (!done && os_now_ns() - start < 5000000000u)
        os_sleep_ms(1);
    CHECK(done);
    readers_stop = 1;
    os_thread_join(writer);
    for (int i = 0; i < 3; i++)
        os_thread_join(threads[i]);
    term_locks();
}

static _Atomic uint32_t word;
static int turn;

static void ping(void *context)
{
    (void)context;
    for (int i = 0; i < 200; i++) {
        os_lock_take(&low);
        while (turn != 1)
            os_cond_wait(&bell, &low);
        turn = 0;
        os_cond_signal(&bell);
        os_lock_release(&low);
    }
    word = 7;
    os_unpark(&word, 1);
}

CASE(cond_and_park)
{
    init_locks();
    struct os_thread *t;
    word = 0;
    turn = 0;
    CHECK_OK(os_thread_start("ping", ping, NULL, &t));
    for (int i = 0; i < 200; i++) {
        os_lock_take(&low);
        turn = 1;
        os_cond_broadcast(&bell);
        while (turn != 0)
            os_cond_wait(&bell, &low);
        os_lock_release(&low);
    }
    while (word == 0)
        os_park(&word, 0);
    CHECK_EQ(word, 7);
    os_park(&word, 0); /* not what it holds: returns at once */
    os_thread_join(t);
    uint64_t start = os_now_ns();
    os_lock_take(&low);
    while (os_cond_wait_ms(&bell, &low, 30))
        ; /* early wakes are allowed, time's up is certain */
    os_lock_release(&low);
    CHECK(os_now_ns() - start >= 29000000u);
    term_locks();
}

static void note_signals(void *context)
{
    sigset_t *set = context;
    pthread_sigmask(SIG_SETMASK, NULL, set);
}

CASE(thread_blocks_signals)
{
    sigset_t set, mine;
    struct os_thread *t;
    CHECK_OK(os_thread_start("signals", note_signals, &set, &t));
    os_thread_join(t);
    CHECK(sigismember(&set, SIGINT) == 1 && sigismember(&set, SIGTERM) == 1);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    CHECK(sigismember(&mine, SIGINT) == 0);
}

/* ---- clock, chance, memory ---- */

CASE(clock_and_chance)
{
    struct logtime t;
    time_t now = time(NULL);
    os_logtime_now(&t);
    struct tm tm = {.tm_sec = t.b[0],
                    .tm_min = t.b[1],
                    .tm_hour = t.b[2],
                    .tm_mday = t.b[3],
                    .tm_mon = t.b[4] - 1,
                    .tm_year = t.b[5]};
    CHECK(llabs((long long)timegm(&tm) - (long long)now) <= 1);
    CHECK_EQ(t.b[6] & 1, 1);
    CHECK((t.b[7] & 0xf1) == 0 && ((t.b[6] >> 1) | (t.b[7] >> 1) << 7) < 1000);
    struct signature a, b;
    os_signature_new(&a);
    os_signature_new(&b);
    CHECK(memcmp(a.b, b.b, 4) != 0 || os_random_u32() != os_random_u32());
    for (int i = 12; i < 28; i++)
        CHECK_EQ(a.b[i], 0);
    CHECK(a.b[4 + 3] >= 1 && a.b[4 + 4] >= 1 && a.b[4 + 5] > 100);
    uint64_t before = os_now_ns();
    os_sleep_ms(5);
    CHECK(os_now_ns() - before >= 5000000u);
    CHECK(os_cpu_count() >= 1 && os_memory_total() > (16u << 20) && os_process_id() == getpid());
}

CASE(memory_maps)
{
    for (int huge = 0; huge < 2; huge++) {
        size_t n = (5u << 20) + 12345;
        unsigned char *p = os_map(n, huge);
        CHECK(p != NULL && (uintptr_t)p % (huge ? 2u << 20 : 4096u) == 0);
        CHECK(p[0] == 0 && p[n - 1] == 0);
        p[0] = p[n - 1] = 1;
        os_unmap(p, n);
    }
    CHECK(os_map(SIZE_MAX, false) == NULL && os_map(SIZE_MAX - (1 << 20), true) == NULL &&
          os_map(0, false) == NULL);
    CHECK(os_alloc_aligned(SIZE_MAX - 10) == NULL);
    os_unmap(NULL, 5);
}

/* ---- faults ---- */

CASE(fault_nth_write_fails)
{
    new_scratch();
    struct os_file *f = make("a.edb", "0123456789"), *g = make("b.log", "x");
    struct os_fault plan = {
        .ops = 1u << OS_OP_WRITE, .path_part = ".edb", .after = 2, .count = 1, .error = ENOSPC};
    os_fault_set(&plan);
    CHECK_OK(os_file_write(f, 0, "a", 1));
    CHECK_OK(os_file_write(g, 0, "a", 1)); /* does not match, does not count */
    CHECK_OK(os_file_write(f, 1, "b", 1));
    CHECK_EQ(os_fault_hits(), 0);
    CHECK_EQ(os_file_write(f, 2, "c", 1), JET_errDiskFull);
    CHECK(strstr(err_last()->detail, "a.edb") != NULL);
    CHECK_OK(os_file_write(f, 3, "d", 1));
    CHECK_EQ(os_fault_hits(), 1);
    CHECK(holds("a.edb", "ab2d456789"));
    os_fault_set(NULL);
    os_file_close(f);
    os_file_close(g);
}

CASE(fault_short_write)
{
    new_scratch();
    struct os_file *f = make("a", "..........");
    struct os_fault plan = {.ops = 1u << OS_OP_WRITE, .count = 1, .error = -1};
    os_fault_set(&plan);
    struct os_iovec v[2] = {{"abc", 3}, {"defgh", 5}};
    CHECK_EQ(os_file_writev(f, 1, v, 2), JET_errDiskIO);
    CHECK(holds("a", ".abcd....."));
    CHECK_OK(os_file_writev(f, 1, v, 2));
    os_fault_set(NULL);
    CHECK(holds("a", ".abcdefgh."));
    os_file_close(f);
}

CASE(fault_every_kind)
{
    new_scratch();
    struct os_file *f = make("a", "x"), *g;
    struct os_dir_lock *lock;
    uint64_t size;
    char c;
    struct os_fault plan = {.ops = (1u << OS_OP_COUNT) - 1, .count = UINT64_MAX, .error = EIO};
    os_fault_set(&plan);
    CHECK_EQ(os_file_open(in("a"), OS_READ, &g), JET_errDiskIO);
    CHECK_EQ(os_file_read(f, 0, &c, 1), JET_errDiskIO);
    CHECK_EQ(os_file_write(f, 0, "y", 1), JET_errDiskIO);
    CHECK_EQ(os_file_zero(f, 0, 1), JET_errDiskIO);
    CHECK_EQ(os_file_sync(f), JET_errDiskIO);
    CHECK_EQ(os_file_size(f, &size), JET_errDiskIO);
    CHECK_EQ(os_file_set_size(f, 0), JET_errDiskIO);
    CHECK_EQ(os_file_lock(f, true), JET_errDiskIO);
    CHECK_EQ(os_rename(in("a"), in("b")), JET_errDiskIO);
    CHECK_EQ(os_unlink(in("a")), JET_errDiskIO);
    CHECK_EQ(os_dir_create(in("d")), JET_errDiskIO);
    CHECK_EQ(os_dir_remove(in("d")), JET_errDiskIO);
    CHECK_EQ(os_dir_list(scratch, NULL, NULL), JET_errDiskIO);
    CHECK_EQ(os_dir_sync(scratch), JET_errDiskIO);
    CHECK_EQ(os_dir_lock(scratch, &lock), JET_errDiskIO);
    CHECK_EQ(os_disk_free(scratch, &size), JET_errDiskIO);
    CHECK_EQ(os_fault_hits(), 16);
    os_fault_set(NULL);
    CHECK(holds("a", "x") && !os_exists(in("d")));
    os_file_close(f);
}

CASE(fault_errno_map)
{
    new_scratch();
    static const struct {
        int error;
        err_t err;
    } map[] = {
        {ENOSPC, JET_errDiskFull},
        {EDQUOT, JET_errDiskFull},
        {EFBIG, JET_errDiskFull},
        {EMFILE, JET_errOutOfFileHandles},
        {ENFILE, JET_errOutOfFileHandles},
        {EACCES, JET_errFileAccessDenied},
        {EPERM, JET_errFileAccessDenied},
        {EROFS, JET_errFileAccessDenied},
        {EISDIR, JET_errFileAccessDenied},
        {ENOTDIR, JET_errInvalidPath},
        {ENAMETOOLONG, JET_errInvalidPath},
        {ELOOP, JET_errInvalidPath},
        {EIO, JET_errDiskIO},
        {ENOMEM, JET_errOutOfMemory},
        {EUCLEAN, JET_errFileSystemCorruption},
        {EINVAL, JET_errNTSystemCallFailed},
    };
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++) {
        struct os_fault plan = {.ops = 1u << OS_OP_OPEN, .count = 1, .error = map[i].error};
        struct os_file *f;
        os_fault_set(&plan);
        CHECK_EQ(os_file_open(in("a"), OS_READ, &f), map[i].err);
    }
    os_fault_set(NULL);
}

static struct os_file *shared_file;
static _Atomic int failed_writes;

static void write_many(void *context)
{
    (void)context;
    for (int i = 0; i < 200; i++)
        if (os_file_write(shared_file, 0, "a", 1) < 0)
            failed_writes++;
}

CASE(fault_counts_over_threads)
{
    new_scratch();
    shared_file = make("a", "x");
    struct os_fault plan = {.ops = 1u << OS_OP_WRITE, .after = 100, .count = 55, .error = EIO};
    uint64_t before = os_op_total(OS_OP_WRITE);
    failed_writes = 0;
    os_fault_set(&plan);
    run_workers(write_many);
    os_fault_set(NULL);
    CHECK_EQ(failed_writes, 55);
    CHECK_EQ(os_op_total(OS_OP_WRITE) - before, WORKERS * 200);
    os_file_close(shared_file);
}

CASE(fault_delay)
{
    new_scratch();
    struct os_file *f = make("a", "x");
    char c;
    struct os_fault plan = {.ops = 1u << OS_OP_READ, .count = 1, .delay_ms = 40};
    os_fault_set(&plan);
    uint64_t start = os_now_ns();
    CHECK_OK(os_file_read(f, 0, &c, 1));
    CHECK(os_now_ns() - start >= 40000000u);
    CHECK_EQ(os_fault_hits(), 1);
    os_fault_set(NULL);
    os_file_close(f);
}

/* ---- recorder: the bytes of the format here, the Python reader in tests/crash/test_trace.py ----
 */

struct trace_record {
    unsigned op;
    unsigned long long seq, offset, length;
    int result;
    char path[256], data[256];
};

/* Reads a whole trace into out; returns how many records there are. */
static int read_trace(const char *path, struct trace_record *out, int room)
{
    FILE *f = fopen(path, "rb");
    unsigned char h[40];
    int n = 0;
    CHECK(f != NULL);
    while (fread(h, 1, sizeof h, f) == sizeof h) {
        CHECK(n < room && load_u32(h) == 0x31544a50u);
        struct trace_record *r = &out[n++];
        unsigned path_len = load_u16(h + 6), data_len = load_u32(h + 32);
        CHECK(path_len < sizeof r->path && data_len < sizeof r->data);
        *r = (struct trace_record){.op = load_u16(h + 4),
                                   .seq = load_u64(h + 8),
                                   .offset = load_u64(h + 16),
                                   .length = load_u64(h + 24),
                                   .result = (int)load_u32(h + 36)};
        CHECK(fread(r->path, 1, path_len, f) == path_len &&
              fread(r->data, 1, data_len, f) == data_len);
        CHECK_EQ(r->seq, n);
    }
    fclose(f);
    return n;
}

static struct trace_record trace[64];
static int trace_at;

static const struct trace_record *expect(unsigned op, const char *path, unsigned long long offset,
                                         unsigned long long length)
{
    const struct trace_record *r = &trace[trace_at++];
    CHECK_EQ(r->op, op);
    CHECK(path != NULL);
    if (strcmp(r->path, path) != 0)
        fprintf(stderr, "record %llu: path %s, not %s\n", r->seq, r->path, path);
    CHECK(strcmp(r->path, path) == 0);
    CHECK_EQ(r->offset, offset);
    CHECK_EQ(r->length, length);
    return r;
}

CASE(record_round_trip)
{
    new_scratch();
    struct os_file *f, *g, *old = make("old", "was here"), *outside;
    struct os_iovec v[2] = {{"ab", 2}, {"cde", 3}};
    CHECK_OK(os_dir_create(in("db")));
    CHECK_OK(os_record_start(in("db"), in("trace")));
    CHECK_EQ(os_record_start(in("db"), in("trace2")), JET_errInvalidOperation);
    CHECK_OK(os_file_open(in("db/a"), OS_WRITE | OS_CREATE, &f));
    CHECK_OK(os_file_writev(f, 10, v, 2));
    CHECK_OK(os_file_zero(f, 100, 300));
    CHECK_OK(os_file_sync(f));
    CHECK_OK(os_file_set_size(f, 200));
    CHECK_OK(os_dir_create(in("db/sub")));
    CHECK_OK(os_rename(in("db/a"), in("db/sub/b")));
    CHECK_OK(os_file_write(f, 0, "z", 1)); /* the handle has moved with its file */
    CHECK_OK(os_dir_sync(in("db")));
    os_record_mark("transaction 17 acknowledged");
    CHECK_OK(os_file_write(old, 0, "not below db", 12));
    CHECK_OK(os_rename(in("old"), in("db/in")));
    CHECK_OK(os_file_open(in("db/in"), OS_WRITE | OS_TRUNCATE, &g));
    CHECK_OK(os_unlink(in("db/in")));
    CHECK_OK(os_file_write(g, 0, "unlinked: nobody can see it", 27));
    CHECK_OK(os_rename(in("db/sub"), in("db/sub2"))); /* moves a file's path from above */
    CHECK_OK(os_file_sync(f));
    CHECK_OK(os_rename(in("db/sub2/b"), in("out")));
    CHECK_OK(os_dir_remove(in("db/sub2")));
    struct os_fault plan = {
        .ops = 1u << OS_OP_WRITE, .path_part = "/db/c", .count = 1, .error = -1};
    CHECK_OK(os_file_open(in("db/c"), OS_WRITE | OS_CREATE, &outside));
    os_fault_set(&plan);
    CHECK_EQ(os_file_write(outside, 4, "abcdef", 6), JET_errDiskIO);
    os_record_stop();
    CHECK_OK(os_file_write(outside, 0, "after the stop", 14));
    os_file_close(f);
    os_file_close(g);
    os_file_close(old);
    os_file_close(outside);

    int n = read_trace(in("trace"), trace, 64);
    trace_at = 0;
    expect(1, in("db"), 0, (unsigned)getpid());
    expect(2, "a", 0, 0);
    CHECK(strcmp(expect(3, "a", 10, 5)->data, "abcde") == 0);
    CHECK_EQ(expect(4, "a", 100, 200)->data[0], 0);
    unsigned long long token = expect(6, "a", 0, 0)->seq;
    CHECK_EQ(expect(7, "a", token, 0)->result, 0);
    expect(5, "a", 200, 0);
    expect(10, "sub", 0, 0);
    CHECK(strcmp(expect(8, "a", 0, 0)->data, "sub/b") == 0);
    CHECK(strcmp(expect(3, "sub/b", 0, 1)->data, "z") == 0);
    token = expect(12, ".", 0, 0)->seq;
    expect(13, ".", token, 0);
    CHECK(strcmp(expect(14, ".", 0, 0)->data, "transaction 17 acknowledged") == 0);
    CHECK(strcmp(expect(8, in("old"), 0, 0)->data, "in") == 0);
    expect(5, "in", 0, 0);
    expect(9, "in", 0, 0);
    CHECK(strcmp(expect(8, "sub", 0, 0)->data, "sub2") == 0);
    token = expect(6, "sub2/b", 0, 0)->seq;
    expect(7, "sub2/b", token, 0);
    expect(9, "sub2/b", 0, 0);
    expect(11, "sub2", 0, 0);
    expect(2, "c", 0, 0);
    const struct trace_record *half = expect(3, "c", 4, 3);
    CHECK(strcmp(half->data, "abc") == 0 && half->result == EIO);
    expect(15, ".", 0, 0);
    CHECK_EQ(trace_at, n);
}

static void write_own_place(void *context)
{
    uint64_t offset = (uint64_t)(uintptr_t)context * 8;
    char text[9];
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "%d.%06d", (int)(offset / 8), i);
        CHECK_OK(os_file_write(shared_file, offset, text, 8));
        if (i == 2)
            CHECK_OK(os_file_sync(shared_file));
    }
}

/* Replaying the records gives the file: the order of the trace is the order of the kernel. */
CASE(record_over_threads)
{
    new_scratch();
    struct os_thread *threads[WORKERS];
    char file[64] = {0}, replayed[64] = {0};
    shared_file = make("a", "");
    CHECK_OK(os_record_start(scratch, in("trace")));
    for (uintptr_t i = 0; i < WORKERS; i++) /* pairs share a place */
        CHECK_OK(os_thread_start("writer", write_own_place, (void *)(i / 2), &threads[i]));
    for (int i = 0; i < WORKERS; i++)
        os_thread_join(threads[i]);
    os_record_stop();
    CHECK_OK(os_file_read(shared_file, 0, file, 16));
    os_file_close(shared_file);
    int n = read_trace(in("trace"), trace, 64), writes = 0, begins = 0, ends = 0;
    for (int i = 0; i < n; i++) {
        begins += trace[i].op == 6;
        ends += trace[i].op == 7 && trace[trace[i].offset - 1].op == 6;
        if (trace[i].op != 3)
            continue;
        memcpy(replayed + trace[i].offset, trace[i].data, trace[i].length);
        writes++;
    }
    CHECK(writes == 20 && begins == WORKERS && ends == WORKERS);
    CHECK(memcmp(file, replayed, 16) == 0);
}

/* A fresh process, since the variable is read once. */
CASE(record_from_environment)
{
    new_scratch();
    char self[OS_PATH_MAX], wish[3 * OS_PATH_MAX];
    snprintf(wish, sizeof wish, "%s:%s", in("later"), in("trace"));
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    self[n] = '\0';
    for (int round = 0; round < 2; round++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            setenv("PYJET_RECORD", wish, 1);
            setenv("PYJET_TEST_FOLDER", in("later"), 1);
            CHECK(freopen("/dev/null", "w", stdout) != NULL);
            execl(self, self, "helper_of_environment", (char *)NULL);
            _exit(9);
        }
        CHECK_EQ(exit_of(child), 0);
    }
    /* the second process goes on in the trace of the first, with numbers from 1 */
    FILE *f = fopen(in("trace"), "rb");
    unsigned char bytes[4096];
    CHECK(f != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    int starts = 0, writes = 0, mkdirs = 0;
    for (size_t at = 0; at < size;) {
        unsigned op = load_u16(bytes + at + 4);
        CHECK_EQ(load_u32(bytes + at), 0x31544a50u);
        starts += op == 1;
        writes += op == 3;
        mkdirs += op == 10;
        at += 40 + load_u16(bytes + at + 6) + load_u32(bytes + at + 32);
    }
    CHECK(starts == 2 && writes == 2 && mkdirs == 1);
}

CASE(helper_of_environment)
{
    const char *dir = getenv("PYJET_TEST_FOLDER");
    char path[OS_PATH_MAX];
    struct os_file *f;
    if (dir == NULL)
        return; /* it is run by record_from_environment */
    CHECK_OK(os_dir_create(dir));
    CHECK_OK(os_join(path, sizeof path, dir, "f"));
    CHECK_OK(os_file_open(path, OS_WRITE | OS_CREATE, &f));
    CHECK_OK(os_file_write(f, 0, "x", 1));
    os_file_close(f);
}

/* Writes the trace that tests/crash/test_trace.py reads, into the folder named by PYJET_TEST_TRACE.
 */
CASE(sample_trace)
{
    const char *dir = getenv("PYJET_TEST_TRACE");
    struct os_file *f;
    if (dir == NULL)
        dir = new_scratch();
    else
        snprintf(scratch, sizeof scratch, "%s", dir);
    CHECK_OK(os_dir_create(in("db")));
    CHECK_OK(os_record_start(in("db"), in("trace")));
    CHECK_OK(os_file_open(in("db/a\xc3\xa4"), OS_WRITE | OS_CREATE, &f));
    CHECK_OK(os_file_write(f, 3, "\0\1\2\xff", 4));
    CHECK_OK(os_file_zero(f, 8, 16));
    CHECK_OK(os_file_sync(f));
    CHECK_OK(os_file_set_size(f, 12));
    CHECK_OK(os_rename(in("db/a\xc3\xa4"), in("db/b")));
    CHECK_OK(os_dir_sync(in("db")));
    os_record_mark("acknowledged 1");
    CHECK_OK(os_dir_create(in("db/d")));
    CHECK_OK(os_dir_remove(in("db/d")));
    struct os_fault plan = {.ops = 1u << OS_OP_WRITE, .count = 1, .error = -1};
    os_fault_set(&plan);
    CHECK_EQ(os_file_write(f, 0, "abcd", 4), JET_errDiskIO);
    os_fault_set(NULL);
    CHECK_OK(os_unlink(in("db/b")));
    os_record_stop();
    os_file_close(f);
}

CTEST_MAIN
