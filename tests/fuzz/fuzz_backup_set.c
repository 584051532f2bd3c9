/* A backup set: a folder with a database (header, trailer) and logs, changed under right checksums.
 * Input: changes {file, how, where, n, n bytes}. */
#include <fcntl.h>
#include <unistd.h>

#include "backup/backup_private.h"
#include "db_world.h"
#include "fuzz.h"
#include "include/pyjet.h"

#define FILES_MOST 16
static struct file {
    char path[1024];
    uint8_t *bytes;
    size_t n;
    bool changed;
} files[FILES_MOST];
static int file_count;
static char set_dir[1024];

static err_t note(void *context, const char *name, bool is_dir)
{
    (void)context;
    FUZZ_ENFORCE(!is_dir && file_count < FILES_MOST);
    struct file *f = &files[file_count++];
    snprintf(f->path, sizeof f->path, "%.600s/%.200s", set_dir, name);
    f->bytes = fuzz_read(f->path, &f->n);
    return JET_errSuccess;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    db_world_make();
    snprintf(set_dir, sizeof set_dir, "%s", fuzz_path("set"));
    FUZZ_ENFORCE(os_dir_list(set_dir, note, NULL) >= 0 && file_count >= 2);
    qsort(files, (size_t)file_count, sizeof files[0], by_name);
    return 0;
}

/* Blocks that have a checksum of 32 bits over themselves: headers of logs and databases, trailers. */
static void seal(uint8_t *block)
{
    store_u32(block, checksum_xor(block, WORLD_PAGE));
}

static void change(struct input *in)
{
    struct file *f = &files[input_below(in, (uint32_t)file_count)];
    uint32_t how = input_u8(in), at = input_u16(in);
    struct slice with = input_bytes(in, input_u8(in));
    f->changed = true;
    if (how % 16 == 15) {
        (void)!unlink(f->path);
        return;
    }
    if (how % 16 == 14) {
        (void)!truncate(f->path, (off_t)(f->n * at / 65536));
        return;
    }
    if (f->n < 2 * WORLD_PAGE)
        return;
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    /* first block, second (the shadow of a database's header), or the last one (its trailer) */
    off_t block = how % 4 == 0 ? WORLD_PAGE : how % 4 == 1 ? (off_t)(f->n - WORLD_PAGE) : 0;
    uint8_t bytes[WORLD_PAGE];
    if (pread(fd, bytes, sizeof bytes, block) == sizeof bytes) {
        at = at % 1024; /* what is read of these blocks lies in front */
        memcpy(bytes + at, with.p, with.n);
        if ((how & 0x80) == 0)
            seal(bytes);
        FUZZ_ENFORCE(pwrite(fd, bytes, sizeof bytes, block) == sizeof bytes);
    }
    close(fd);
}

static void read_trailers(const struct restore_set *set)
{
    for (int i = 0; i < set->database_count; i++) {
        size_t n;
        struct trailer t;
        uint8_t *bytes = fuzz_read(set->databases[i], &n);
        if (n >= WORLD_PAGE)
            fuzz_error(trailer__load(bytes + n - WORLD_PAGE, WORLD_PAGE, &t));
        free(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    static struct restore_set set;
    for (int i = 0; i < 6 && in.n > 0; i++)
        change(&in);
    err_t err = restore_survey(set_dir, &set);
    fuzz_error(err);
    if (err >= 0) {
        struct logtime now;
        lgpos_t stop;
        FUZZ_ENFORCE(set.database_count > 0 && set.database_count <= DBID_MAX && set.gen_low <= set.gen_high);
        read_trailers(&set);
        os_logtime_now(&now);
        fuzz_error(restore_find_time(&set, NULL, &now, &stop));
    }
    fuzz_error(restore_survey_logs(set_dir, 1, 2, &set));
    for (int i = 0; i < file_count; i++)
        if (files[i].changed) {
            fuzz_write(files[i].path, files[i].bytes, files[i].n);
            files[i].changed = false;
        }
    return 0;
}
