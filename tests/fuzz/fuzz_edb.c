/* A whole database file of a stranger through the public read-only open: headers and pages of all kinds are changed, the checksums made
 * right, then schema, rows, long values and indexes are read by every call that reads. Files: our own of four page sizes; after them small
 * real ones, where PYJET_FUZZ_FILES names a folder of them.
 * Input: which file, then edits {what, page (2 bytes), ...}. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache.h"
#include "db_world.h"

enum { FILES_MOST = 12, EDITS_MOST = 10, FILE_MOST = 12 << 20, HEADER_READ = 700 };

static struct file {
    char path[1024];
    uint8_t *bytes;
    size_t n;
    uint32_t page_size;
    int fd;
} files[FILES_MOST];
static int file_count;
static size_t changed[2 * EDITS_MOST];
static int changed_count;

static void add_file(const char *from)
{
    struct file *f = &files[file_count];
    struct db_header h;
    if (file_count == FILES_MOST || db_header_read_path(from, &h) < 0)
        return;
    f->bytes = fuzz_read(from, &f->n);
    f->page_size = h.page_size;
    if (f->n > FILE_MOST || f->n % f->page_size != 0) {
        free(f->bytes);
        return;
    }
    snprintf(f->path, sizeof f->path, "%s", fuzz_path("file-%d", file_count));
    fuzz_write(f->path, f->bytes, f->n);
    f->fd = open(f->path, O_RDWR | O_CLOEXEC);
    FUZZ_ENFORCE(f->fd >= 0);
    file_count++;
}

static char names[64][256];
static int name_count;
static err_t note_name(void *context, const char *name, bool is_dir)
{
    (void)context;
    if (!is_dir && name_count < 64)
        snprintf(names[name_count++], sizeof names[0], "%s", name);
    return JET_errSuccess;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint32_t sizes[] = {4096, 8192, 16384, 32768};
    (void)argc, (void)argv;
    for (int i = 0; i < 4; i++) {
        char dir[1024], path[1100];
        snprintf(dir, sizeof dir, "%s", fuzz_path("own-%u", sizes[i]));
        db_world_create(dir, sizes[i], 12);
        snprintf(path, sizeof path, "%s/a.edb", dir);
        add_file(path);
    }
    FUZZ_ENFORCE(file_count == 4);
    const char *real = getenv("PYJET_FUZZ_FILES");
    if (real != NULL && os_dir_list(real, note_name, NULL) >= 0)
        qsort(names, (size_t)name_count, sizeof names[0], by_name);
    for (int i = 0; i < name_count; i++) {
        char path[1400];
        snprintf(path, sizeof path, "%.1000s/%s", real, names[i]);
        add_file(path);
    }
    return 0;
}

/* ---- changes ---- */

static uint8_t page_bytes[PAGE_SIZE_MAX] __attribute__((aligned(4096)));

static void load(const struct file *f, size_t offset)
{
    FUZZ_ENFORCE(pread(f->fd, page_bytes, f->page_size, (off_t)offset) == (ssize_t)f->page_size);
}

static void store(const struct file *f, size_t offset)
{
    FUZZ_ENFORCE(pwrite(f->fd, page_bytes, f->page_size, (off_t)offset) == (ssize_t)f->page_size);
    changed[changed_count++] = offset;
}

/* Both copies of the header, or one. */
static void change_header(const struct file *f, uint32_t which, struct input *in)
{
    uint32_t at = input_u16(in) % HEADER_READ;
    struct slice with = input_bytes(in, input_u8(in));
    for (uint32_t copy = 0; copy < 2; copy++) {
        if (which % 3 == copy + 1)
            continue;
        load(f, copy * f->page_size);
        memcpy(page_bytes + at, with.p, with.n);
        store_u32(page_bytes, checksum_xor(page_bytes, f->page_size));
        store(f, copy * f->page_size);
    }
}

static size_t offset_of(const struct file *f, pgno_t pgno)
{
    return (size_t)(pgno + 1) * f->page_size;
}

/* A used page: most of a real file is not. */
static pgno_t choose(const struct file *f, uint32_t pick)
{
    uint32_t pages = (uint32_t)(f->n / f->page_size) - 2, at = pick % pages;
    for (uint32_t i = 0; i < pages; i++, at = (at + 1) % pages)
        if (!page_is_all_zero((struct page){f->bytes + (size_t)(at + 2) * f->page_size, f->page_size}))
            break;
    return at + 1;
}

static void change(const struct file *f, struct input *in)
{
    uint32_t what = input_u8(in) % 10, pick = input_u16(in);
    if (what == 9) {
        change_header(f, pick, in);
        return;
    }
    pgno_t pgno = choose(f, pick), from = what == 8 ? choose(f, input_u16(in)) : pgno;
    struct page page = {page_bytes, f->page_size};
    load(f, offset_of(f, from));
    if (what == 8) {
        page_seal(page, pgno); /* another page, whole, where this one should be */
    } else {
        struct input one = *in;
        db_world_change_page(page, pgno, &one);
        *in = one;
    }
    store(f, offset_of(f, pgno));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    const struct file *f = &files[input_u8(&in) % (uint32_t)file_count];
    changed_count = 0;
    for (int i = 0; i < EDITS_MOST && in.n > 3; i++)
        change(f, &in);
    db_world_read_file(f->path, &(struct db_reading){.rows = 12, .system_rows = 2, .index_rows = 3, .singly = n % 2 == 0, .check = n % 16 == 15});
    while (changed_count > 0) {
        size_t at = changed[--changed_count];
        FUZZ_ENFORCE(pwrite(f->fd, f->bytes + at, f->page_size, (off_t)at) == (ssize_t)f->page_size);
    }
    return 0;
}
