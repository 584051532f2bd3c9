#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[256];
static int owner;

void fuzz_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

void fuzz_error(err_t err)
{
    FUZZ_ENFORCE(err >= 0 || err_name(err)[0] != '\0');
    FUZZ_ENFORCE(err >= 0 || err_hint(err)[0] != '\0');
    FUZZ_ENFORCE(err != JET_errOutOfMemory); /* inputs are small */
}

/* ---- files ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void fuzz_remove_tree(const char *path)
{
    (void)!nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void leave(void)
{
    if (owner == (int)getpid())
        fuzz_remove_tree(root);
}

static void enter(void)
{
    const char *tmp = getenv("TMPDIR");
    if (tmp == NULL)
        tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(root, sizeof root, "%s/pyjet-fuzz-XXXXXX", tmp);
    FUZZ_ENFORCE(mkdtemp(root) != NULL);
    owner = (int)getpid();
    atexit(leave);
}

const char *fuzz_path(const char *format, ...)
{
    static char paths[8][1024];
    static int turn;
    if (owner != (int)getpid())
        enter();
    char *path = paths[turn++ % 8];
    int n = snprintf(path, sizeof paths[0], "%s/", root);
    va_list args;
    va_start(args, format);
    vsnprintf(path + n, sizeof paths[0] - (size_t)n, format, args);
    va_end(args);
    return path;
}

void fuzz_write(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    FUZZ_ENFORCE(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

uint8_t *fuzz_read(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_ENFORCE(fd >= 0 && fstat(fd, &st) == 0);
    *n = (size_t)st.st_size;
    uint8_t *bytes = malloc(*n + 1);
    FUZZ_ENFORCE(bytes != NULL && read(fd, bytes, *n) == (ssize_t)*n);
    close(fd);
    return bytes;
}

/* ---- inputs ---- */

uint32_t input_u8(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

uint32_t input_u16(struct input *in)
{
    uint32_t low = input_u8(in);
    return low | input_u8(in) << 8;
}

struct slice input_bytes(struct input *in, uint32_t n)
{
    struct slice s = SLICE(in->p, in->n < n ? in->n : n);
    in->p += s.n;
    in->n -= s.n;
    return s;
}

uint32_t input_below(struct input *in, uint32_t limit)
{
    uint32_t value = limit <= 256 ? input_u8(in) : input_u16(in);
    return limit == 0 ? 0 : value % limit;
}
