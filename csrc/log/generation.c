/* Log files by name: what lies in a folder, names, deletion. Names of a foreign folder are matched
 * without regard to case, and a generation is what the header says, not the name. */
#include <stdio.h>

#include "log/log_private.h"

const char *log__extension(unsigned legacy_names)
{
    return (legacy_names & JET_bitESE98FileNames) != 0 ? ".log" : ".jtx";
}

err_t log_name(const char *base_name, uint32_t generation, unsigned legacy_names, char *name,
               size_t room)
{
    int digits =
        (legacy_names & JET_bitEightDotThreeSoftCompat) != 0 && generation <= 0xFFFFF ? 5 : 8;
    const char *extension = log__extension(legacy_names);
    int n = generation == 0
                ? snprintf(name, room, "%s%s", base_name, extension)
                : snprintf(name, room, "%s%0*X%s", base_name, digits, generation, extension);
    return n > 0 && (size_t)n < room ? JET_errSuccess : RAISE(JET_errInvalidPath);
}

err_t log__file_path(struct log *log, const char *suffix, const char *extension, char *path)
{
    char name[32];
    int n = snprintf(name, sizeof name, "%s%s%s", log->base_name, suffix, extension);
    if (n < 0 || (size_t)n >= sizeof name)
        return RAISE(JET_errInvalidPath);
    return os_join(path, OS_PATH_MAX, log->log_dir, name);
}

err_t log_path(struct log *log, uint32_t generation, char *path)
{
    char name[32];
    if (generation == atomic_load(&log->disk_gen))
        generation = 0;
    TRY_RETURN(log_name(log->base_name, generation, log->config.legacy_names, name, sizeof name));
    return os_join(path, OS_PATH_MAX, log->log_dir, name);
}

/* ---- reading names ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same_text(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

static int hex_digit(char c)
{
    c = lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* True for <base>.log and <base>XXXXX.log (8 digits, .jtx too). *generation 0 = the current file.
 */
static bool parse_name(const char *name, const char *base_name, uint32_t *generation)
{
    size_t n = strlen(name), base = strlen(base_name);
    if (n < base + 4 || !same_text(name, base_name, base))
        return false;
    if (!same_text(name + n - 4, ".log", 4) && !same_text(name + n - 4, ".jtx", 4))
        return false;
    size_t digits = n - base - 4;
    *generation = 0;
    if (digits != 0 && digits != 5 && digits != 8)
        return false;
    for (size_t i = 0; i < digits; i++) {
        int d = hex_digit(name[base + i]);
        if (d < 0)
            return false;
        *generation = *generation << 4 | (uint32_t)d;
    }
    return digits == 0 || (*generation != 0 && *generation <= INT32_MAX);
}

bool log_is_own_name(const char *base_name, const char *name)
{
    static const char *const ends[] = {".chk", ".jcp", "tmp.log", "tmp.jtx"};
    uint32_t generation;
    size_t n = strlen(name), base = strlen(base_name);
    if (parse_name(name, base_name, &generation))
        return true;
    if (n < base || !same_text(name, base_name, base))
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (n - base == strlen(ends[i]) && same_text(name + base, ends[i], n - base))
            return true;
    return n - base > 7 && same_text(name + base, "res", 3) && same_text(name + n - 4, ".jrs", 4);
}

struct listing_context {
    struct log__listing *listing;
    const char *base_name;
};

static err_t visit_name(void *context, const char *name, bool is_dir)
{
    struct listing_context *c = context;
    struct log__listing *l = c->listing;
    uint32_t generation;
    if (is_dir || strlen(name) >= sizeof l->found->name ||
        !parse_name(name, c->base_name, &generation))
        return JET_errSuccess;
    if (l->count == l->room) {
        int room = l->room == 0 ? 16 : l->room * 2;
        struct log__found *grown = realloc(l->found, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        l->found = grown;
        l->room = room;
    }
    struct log__found *f = &l->found[l->count++];
    *f = (struct log__found){.generation = generation, .current = generation == 0};
    memcpy(f->name, name, strlen(name) + 1);
    return JET_errSuccess;
}

static int compare_found(const void *a, const void *b)
{
    const struct log__found *x = a, *y = b;
    if (x->generation != y->generation)
        return x->generation < y->generation ? -1 : 1;
    return x->current != y->current ? (x->current ? 1 : -1) : strcmp(x->name, y->name);
}

static err_t list_names(const char *dir, const char *base_name, struct log__listing *out)
{
    *out = (struct log__listing){0};
    struct listing_context context = {out, base_name};
    if (!os_is_dir(dir))
        return JET_errSuccess;
    err_t err = os_dir_list(dir, visit_name, &context);
    if (err < 0)
        log__listing_free(out);
    return err;
}

static void sort_listing(struct log__listing *l)
{
    if (l->count > 1)
        qsort(l->found, (size_t)l->count, sizeof *l->found, compare_found);
}

/* Only the fields that a listing needs: a broken header is the business of who opens the file. */
static err_t header_generation(const char *dir, struct log__found *f)
{
    err_t err = JET_errSuccess;
    struct os_file *file = NULL;
    char path[OS_PATH_MAX];
    uint8_t block[LOG_SEGMENT];
    size_t got;

    TRY(os_join(path, sizeof path, dir, f->name));
    TRY(os_file_open(path, OS_READ, &file));
    TRY(os_file_read_some(file, 0, block, sizeof block, &got));
    if (got == sizeof block && load_u32(block) == checksum_xor(block, LOG_SEGMENT)) {
        uint32_t generation = load_u32(block + HDR_GENERATION);
        if (generation != 0 && generation <= INT32_MAX)
            f->generation = generation;
    }
out:
    os_file_close(file);
    return err;
}

err_t log__list(const char *dir, const char *base_name, struct log__listing *out)
{
    TRY_RETURN(list_names(dir, base_name, out));
    for (int i = 0; i < out->count; i++) {
        err_t err = header_generation(dir, &out->found[i]);
        if (err < 0) {
            log__listing_free(out);
            return err;
        }
    }
    sort_listing(out);
    return JET_errSuccess;
}

void log__listing_free(struct log__listing *listing)
{
    free(listing->found);
    *listing = (struct log__listing){0};
}

const struct log__found *log__listing_find(const struct log__listing *listing, uint32_t generation)
{
    int low = 0, high = listing->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (listing->found[middle].generation < generation)
            low = middle + 1;
        else
            high = middle;
    }
    bool hit = low < listing->count && listing->found[low].generation == generation;
    return hit ? &listing->found[low] : NULL;
}

err_t log_survey(const char *dir, const char *base_name, struct log_survey *out)
{
    struct log__listing l;
    *out = (struct log_survey){0};
    TRY_RETURN(log__list(dir, base_name, &l));
    err_t err = JET_errSuccess;
    for (int i = 0; i < l.count; i++) {
        const struct log__found *f = &l.found[i];
        if (f->generation == 0) { /* a current file without a good header */
            err = RAISE(JET_errLogFileCorrupt);
            err_detail("header of %s/%s", dir, f->name);
            break;
        }
        if (out->any && f->generation > out->gen_last + 1) {
            out->gen_missing = out->gap ? out->gen_missing : out->gen_last + 1;
            out->gap = true;
            out->gen_whole = f->generation;
        }
        if (!out->any)
            out->gen_first = out->gen_whole = f->generation;
        out->current = f->current && (!out->any || f->generation > out->gen_last);
        out->any = true;
        out->gen_last = f->generation;
    }
    log__listing_free(&l);
    return err;
}

static err_t find_by_listing(const char *dir, const char *base_name, uint32_t generation, char *path)
{
    struct log__listing l;
    TRY_RETURN(list_names(dir, base_name, &l));
    err_t err = JET_errFileNotFound;
    for (int i = 0; i < l.count && err == JET_errFileNotFound; i++)
        if (l.found[i].generation == generation)
            err = os_join(path, OS_PATH_MAX, dir, l.found[i].name);
    log__listing_free(&l);
    return err;
}

err_t log_find(const char *dir, const char *base_name, uint32_t generation, char *path)
{
    char name[32];
    for (unsigned legacy = LOG_NAMES_DEFAULT + 1; legacy-- > 0;) {
        TRY_RETURN(log_name(base_name, generation, legacy, name, sizeof name));
        TRY_RETURN(os_join(path, OS_PATH_MAX, dir, name));
        if (os_exists(path))
            return JET_errSuccess;
    }
    err_t err = find_by_listing(dir, base_name, generation, path);
    if (err != JET_errFileNotFound)
        return err;
    TRY_RETURN(log_name(base_name, generation, LOG_NAMES_DEFAULT, name, sizeof name));
    TRY_RETURN(os_join(path, OS_PATH_MAX, dir, name));
    err = RAISE(JET_errFileNotFound);
    err_detail("%s", path);
    return err;
}

/* ---- the instance's own files, by name ---- */

err_t log_lowest_generation(struct log *log, uint32_t *generation)
{
    struct log__listing l;
    *generation = atomic_load(&log->disk_gen);
    if (!log->config.enabled)
        return JET_errSuccess;
    TRY_RETURN(list_names(log->log_dir, log->base_name, &l));
    for (int i = 0; i < l.count; i++)
        if (!l.found[i].current && l.found[i].generation < *generation)
            *generation = l.found[i].generation;
    log__listing_free(&l);
    return JET_errSuccess;
}

err_t log_delete_range(struct log *log, uint32_t first, uint32_t end, uint32_t *deleted)
{
    err_t err = JET_errSuccess;
    struct log__listing l;
    char path[OS_PATH_MAX];
    *deleted = 0;
    if (!log->config.enabled)
        return JET_errSuccess;
    TRY_RETURN(list_names(log->log_dir, log->base_name, &l));
    sort_listing(&l);
    for (int i = 0; i < l.count; i++) {
        const struct log__found *f = &l.found[i];
        if (f->current || f->generation < first || f->generation >= end)
            continue;
        TRY(os_join(path, sizeof path, log->log_dir, f->name));
        TRY(os_unlink(path));
        (*deleted)++;
    }
out:
    log__listing_free(&l);
    if (*deleted > 0) {
        err_t synced = os_dir_sync(log->log_dir);
        err = err < 0 ? err : synced;
    }
    return err;
}

err_t log_generation_time(struct log *log, uint32_t generation, struct logtime *out)
{
    char path[OS_PATH_MAX];
    struct log_header header;
    os_lock_take(&log->buffer_lock);
    bool newest = generation == log->cur_gen;
    if (newest)
        *out = log->sequence.created;
    os_lock_release(&log->buffer_lock);
    if (newest)
        return JET_errSuccess;
    /* A roll between naming and opening moves the file to its archive name, for good: look there next. (While the
     * roll runs, log_path still says the old name.) */
    TRY_RETURN(log_path(log, generation, path));
    err_t err = log_read_header(path, &header);
    if (err < 0 || header.generation != generation) {
        char name[32];
        TRY_RETURN(log_name(log->base_name, generation, log->config.legacy_names, name, sizeof name));
        TRY_RETURN(os_join(path, sizeof path, log->log_dir, name));
        TRY_RETURN(log_read_header(path, &header));
        if (header.generation != generation)
            return RAISE(JET_errFileNotFound);
    }
    *out = header.created;
    return JET_errSuccess;
}
