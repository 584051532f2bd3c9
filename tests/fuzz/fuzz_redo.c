/* Recovery over a hostile log and a hostile database: redo, undo, clean-up, the end of the log, with right checksums, positions and
 * dbtimes, so that records reach what applies them. It ends with an error or with a database that can be checked; never with a crash.
 * Input: how, how the log's second file begins, then edits {what, which (2 bytes), ...} of the records of a scene (redo_world.h), of pages
 * of its database, of the attach list. Paths in records lead into this process's folder or the record is left out. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_world.h"
#include "include/pyjet.h"
#include "log/log_format.h"
#include "recovery/recovery.h"
#include "recovery/recovery_format.h"
#include "redo_world.h"

enum {
    HOW_LISTED = 4,      /* the database is dirty and in the log header's attach list, not attached by a record */
    HOW_TWO_LOGS = 8,    /* part of the records lie in a second generation */
    HOW_DBTIMES = 0x10,  /* dbtimes stay as the edits leave them */
    HOW_CHECK = 0x20,    /* the database is checked afterwards, if the second byte agrees */
    HOW_NO_UNDO = 0x40,
    HOW_RESTORE = 0x80,  /* as a backup set's logs */
};
enum { EDITS_MOST = 12, ARENA = 1 << 20, CHECKED_MOST = 16 << 20, DISK_MOST = 256 << 20, PAGES_MOST = 4096 };

static const struct redo_world *world;
static char dir[1024], root[1024];

static struct redo_record records[REDO_RECORDS_MOST + EDITS_MOST];
static int count;
static uint8_t arena[ARENA];
static uint32_t arena_used;
static uint8_t *image; /* the database */
static size_t image_size;
static uint8_t list_entry[ATT_NAMES];
static dbtime_t dbtimes[PAGES_MOST];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    world = redo_world_make();
    snprintf(root, sizeof root, "%s", fuzz_path("%s", ""));
    snprintf(dir, sizeof dir, "%s", fuzz_path("scene"));
    size_t most = 0;
    for (int i = 0; i < REDO_SCENES; i++)
        most = world->scene[i].image_size > most ? world->scene[i].image_size : most;
    image = malloc(most);
    FUZZ_ENFORCE(image != NULL && most / REDO_PAGE < PAGES_MOST);
    return 0;
}

/* ---- edits ---- */

static uint8_t *make_room(uint32_t n)
{
    if (n > ARENA - arena_used)
        return NULL;
    arena_used += n;
    return arena + arena_used - n;
}

/* A copy of its own of record i, as long as its lengths then say (zeros for what is missing); it goes when it is no record at all. */
static struct redo_record changed(struct redo_record r, uint32_t at, struct slice with, int type)
{
    static uint8_t bytes[1 << 17];
    uint32_t size = 0;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, r.bytes, r.n);
    if (type >= 0)
        bytes[0] = (uint8_t)type;
    if (at + with.n <= sizeof bytes && with.n != 0)
        memcpy(bytes + at, with.p, with.n);
    if (log_record_size(SLICE(bytes, sizeof bytes), &size) < 0 || size == 0 || size > sizeof bytes || bytes[0] == LOG_FragmentBegin ||
        bytes[0] == LOG_Fragment)
        return (struct redo_record){NULL, 0};
    uint8_t *to = make_room(size);
    if (to == NULL)
        return (struct redo_record){NULL, 0};
    memcpy(to, bytes, size);
    return (struct redo_record){to, size};
}

static void remove_at(int i)
{
    memmove(&records[i], &records[i + 1], (size_t)(count - i - 1) * sizeof records[0]);
    count--;
}

static void insert_at(int i, struct redo_record r)
{
    if (count == REDO_RECORDS_MOST + EDITS_MOST || r.bytes == NULL)
        return;
    memmove(&records[i + 1], &records[i], (size_t)(count - i) * sizeof records[0]);
    records[i] = r;
    count++;
}

static void put_at(int i, struct redo_record r)
{
    if (r.bytes == NULL)
        remove_at(i);
    else
        records[i] = r;
}

/* A field of 1, 2, 4 or 8 bytes that grows, shrinks, or becomes an odd value. */
static void change_number(int i, struct input *in)
{
    static const uint64_t odd[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX};
    uint32_t at = input_u8(in), how = input_u8(in), width = 1u << how % 4, by = input_u8(in);
    uint8_t bytes[8] = {0};
    if (at + width > records[i].n)
        at = records[i].n > width ? at % (records[i].n - width) : 0;
    if (at + width > records[i].n)
        return;
    memcpy(bytes, records[i].bytes + at, width);
    uint64_t value = how & 4 ? load_u64(bytes) + (uint64_t)(int64_t)(int8_t)by : odd[by % (sizeof odd / sizeof odd[0])];
    store_u64(bytes, value);
    put_at(i, changed(records[i], at, SLICE(bytes, width), -1));
}

static void change_page(uint32_t pick, struct input *in)
{
    uint32_t pages = (uint32_t)(image_size / REDO_PAGE);
    pgno_t pgno = 1 + pick % (pages - 2);
    static uint8_t bytes[REDO_PAGE] __attribute__((aligned(4096)));
    memcpy(bytes, image + (size_t)(pgno + 1) * REDO_PAGE, REDO_PAGE);
    db_world_change_page((struct page){bytes, REDO_PAGE}, pgno, in);
    memcpy(image + (size_t)(pgno + 1) * REDO_PAGE, bytes, REDO_PAGE);
}

/* One page's number where another's stood. */
static void point_elsewhere(int i, struct input *in)
{
    static const uint8_t places[] = {4, 32, 36, 40, 44, 48, 56, 60, 68, 72};
    uint32_t at = places[input_u8(in) % sizeof places], other = input_u8(in);
    uint8_t pointer[4];
    if (at + 4 > records[i].n)
        return;
    store_u32(pointer, other & 0x80 && records[i].n >= 36 ? load_u32(records[i].bytes + (other & 1 ? 4 : 32)) : other % 0x80);
    put_at(i, changed(records[i], at, SLICE(pointer, 4), -1));
}

/* Half of the numbers mean the few records that change several pages. */
static int choose_record(uint32_t pick)
{
    static int structural[REDO_RECORDS_MOST + EDITS_MOST];
    uint32_t n = 0;
    for (int i = 0; i < count && (pick & 1) != 0; i++) {
        unsigned type = records[i].bytes[0];
        if (type == LOG_Split2 || type == LOG_Merge2 || type == LOG_NewPage || type == LOG_EmptyTree || type == LOG_PageMove ||
            type == LOG_CreateMultipleExtentFDP || type == LOG_CreateSingleExtentFDP || type == LOG_ConvertFDP2 || type == LOG_ExtendDB)
            structural[n++] = i;
    }
    return n == 0 ? (int)(pick / 2 % (uint32_t)count) : structural[pick / 2 % n];
}

static void edit(struct input *in)
{
    uint32_t what = input_u8(in) % 12, pick = input_u16(in), at;
    int i = choose_record(pick), j;
    struct slice bytes;
    switch (what) {
    case 0:
        at = input_u16(in) % records[i].n;
        bytes = input_bytes(in, input_u8(in));
        put_at(i, changed(records[i], at, bytes, -1));
        break;
    case 1:
        if (count > 1)
            remove_at(i);
        break;
    case 2:
        j = (int)input_below(in, (uint32_t)count);
        insert_at(j, records[i]);
        break;
    case 3:
        put_at(i, changed(records[i], 0, SLICE_EMPTY, (int)input_u8(in)));
        break;
    case 4: /* of another type beside it, with its head */
        at = input_u8(in);
        bytes = input_bytes(in, input_u8(in));
        insert_at(i + 1, changed((struct redo_record){records[i].bytes, records[i].n < 44 ? records[i].n : 44}, 44, bytes, (int)at));
        break;
    case 5:
        count = i + 1;
        break;
    case 6:
    case 7:
        change_number(i, in);
        break;
    case 8:
        change_page(pick, in);
        break;
    case 9:
        j = (int)input_below(in, (uint32_t)count);
        struct redo_record r = records[i];
        records[i] = records[j];
        records[j] = r;
        break;
    case 10:
        at = input_u8(in) % ATT_NAME_SIZE;
        at += pick % 2 ? ATT_DBTIME : 0;
        bytes = input_bytes(in, input_u8(in));
        memcpy(list_entry + at, bytes.p, bytes.n < ATT_NAMES - at ? bytes.n : ATT_NAMES - at);
        break;
    default:
        point_elsewhere(i, in);
    }
    if (count == 0)
        insert_at(0, world->scene[0].record[0]);
}

/* ---- what keeps the input within bounds, and lets it in ---- */

static bool lies_inside(const char *path)
{
    return strncmp(path, root, strlen(root)) == 0 && strstr(path, "/..") == NULL;
}

static bool leads_out(const struct redo_record *r)
{
    static struct create_db_record c;
    static struct attach_db_record a;
    static struct detach_db_record d;
    struct slice bytes = SLICE(r->bytes, r->n);
    switch (r->bytes[0]) {
    case LOG_CreateDB:
        return create_db_decode(bytes, &c) >= 0 && !lies_inside(c.path);
    case LOG_AttachDB:
        return attach_db_decode(bytes, &a) >= 0 && !lies_inside(a.path);
    case LOG_DetachDB:
        return detach_db_decode(bytes, &d) >= 0 && !lies_inside(d.path);
    default:
        return false;
    }
}

static dbtime_t *dbtime_of(pgno_t pgno)
{
    return pgno != 0 && pgno < PAGES_MOST ? &dbtimes[pgno] : NULL;
}

/* A record's `before` fields as the pages will be when it is met, `now` for them after it. */
static void fit(uint8_t *bytes, uint32_t n, uint32_t pgno_at, uint32_t before_at)
{
    if (n < before_at + 8 || load_u64(bytes + before_at) == DBTIME_NIL)
        return;
    dbtime_t *now = dbtime_of(load_u32(bytes + pgno_at));
    if (now != NULL)
        store_u64(bytes + before_at, *now);
}

static void pass(const uint8_t *bytes, uint32_t n, uint32_t pgno_at)
{
    dbtime_t *now = n >= pgno_at + 4 ? dbtime_of(load_u32(bytes + pgno_at)) : NULL;
    if (now != NULL && *now < load_u64(bytes + 8))
        *now = load_u64(bytes + 8);
}

static void fit_dbtimes(struct redo_record *r)
{
    unsigned type = r->bytes[0];
    bool page = (type >= LOG_CreateMultipleExtentFDP && type <= LOG_Undo) || type == LOG_EmptyTree || type == LOG_ConvertFDP2 ||
                (type >= LOG_Split2 && type <= LOG_PageMove) || type == LOG_Delta64;
    if (!page || r->n < 32 || r->bytes[3] != 1)
        return;
    struct redo_record own = changed(*r, 0, SLICE_EMPTY, -1);
    if (own.bytes == NULL)
        return;
    *r = own;
    dbtime_t *now = dbtime_of(load_u32(r->bytes + 4));
    if (now != NULL && load_u64(r->bytes + 8) <= *now && load_u64(r->bytes + 16) != DBTIME_NIL)
        store_u64(r->bytes + 8, *now + 1);
    fit(r->bytes, r->n, 4, 16);
    if (type == LOG_Split2) {
        fit(r->bytes, r->n, 36, 40);
        fit(r->bytes, r->n, 48, 52);
        pass(r->bytes, r->n, 32);
        pass(r->bytes, r->n, 36);
    } else if (type == LOG_Merge2) {
        fit(r->bytes, r->n, 32, 36);
        fit(r->bytes, r->n, 44, 48);
        fit(r->bytes, r->n, 56, 60);
        pass(r->bytes, r->n, 32);
        pass(r->bytes, r->n, 44);
    } else if (type == LOG_PageMove) {
        fit(r->bytes, r->n, 36, 48);
        fit(r->bytes, r->n, 40, 56);
        fit(r->bytes, r->n, 44, 64);
        pass(r->bytes, r->n, 32);
    }
    if (type == LOG_CreateMultipleExtentFDP || type == LOG_ConvertFDP2) {
        pass(r->bytes, r->n, 36);
        pass(r->bytes, r->n, 40);
    }
    pass(r->bytes, r->n, 4);
}

static void read_dbtimes(void)
{
    memset(dbtimes, 0, sizeof dbtimes);
    for (uint32_t at = 2; at < image_size / REDO_PAGE; at++)
        dbtimes[at - 1] = page_dbtime((struct page){image + (size_t)at * REDO_PAGE, REDO_PAGE});
}

/* ---- files ---- */

static err_t remove_file(void *context, const char *name, bool is_dir)
{
    char path[2048];
    (void)context;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!is_dir)
        (void)!unlink(path);
    return JET_errSuccess;
}

static void write_database(bool listed)
{
    static struct db_header h;
    static uint8_t page[REDO_PAGE];
    fuzz_write(world->path, image, image_size);
    if (!listed)
        return;
    FUZZ_ENFORCE(db_header_read_path(world->path, &h) >= 0);
    h.state = DB_DIRTY;
    h.lgpos_attach = LGPOS(world->generation - 1, 1, 0);
    h.gen_min_required = h.gen_min_consistent = h.gen_max_required = h.gen_max_committed = world->generation;
    memcpy(h.time_gen_max_created.b, world->header + HDR_CREATED, sizeof h.time_gen_max_created.b);
    db_header_image(&h, page);
    int fd = open(world->path, O_RDWR | O_CLOEXEC);
    FUZZ_ENFORCE(fd >= 0 && pwrite(fd, page, REDO_PAGE, 0) == REDO_PAGE && pwrite(fd, page, REDO_PAGE, REDO_PAGE) == REDO_PAGE);
    close(fd);
    memset(list_entry, 0, sizeof list_entry);
    list_entry[ATT_DBID] = 1;
    list_entry[ATT_FLAGS] = ATT_UTF16;
    store_u64(list_entry + ATT_DBTIME, h.dbtime);
    store_u32(list_entry + ATT_OBJID, h.objid_last);
    store_u64(list_entry + ATT_LGPOS_ATTACH, h.lgpos_attach);
    store_u64(list_entry + ATT_LGPOS_CONSISTENT, h.lgpos_consistent);
    memcpy(list_entry + ATT_SIGNATURE, h.sign_db.b, sizeof h.sign_db.b);
}

static void write_list(uint8_t *log)
{
    uint8_t *at = log + HDR_ATTACH;
    memcpy(at, list_entry, ATT_NAMES);
    store_u16(at + ATT_NAME_SIZE, (uint16_t)log_path_store(world->path, at + ATT_NAMES, LOG_ATTACH_ROOM - ATT_NAMES - 1));
}

/* *segments: of each file. */
static bool write_logs(uint32_t how, int second, uint32_t *segments)
{
    static uint8_t log[REDO_SEGMENTS_MOST * LOG_SEGMENT];
    uint64_t bytes = 0;
    uint32_t generation = world->generation;
    for (int i = 0; i < count; i++)
        bytes += records[i].n + 2 * FRAGMENT_BEGIN_HEAD;
    *segments = (uint32_t)(bytes / (LOG_SEGMENT - LOG_SEGMENT_HEAD)) + 5;
    if (*segments > REDO_SEGMENTS_MOST)
        *segments = REDO_SEGMENTS_MOST;
    if ((how & HOW_TWO_LOGS) == 0)
        second = count;
    for (int from = 0; from < count || from == 0; from = second, second = count, generation++) {
        bool current = second == count && (how & HOW_RESTORE) == 0;
        char path[2048], name[32] = "edb.log";
        if (!redo_lay(log, *segments, generation, records + from, second - from))
            return false;
        if (how & HOW_LISTED)
            write_list(log);
        if (from != 0)
            memcpy(log + HDR_CREATED_PREVIOUS, world->header + HDR_CREATED, 8);
        store_u32(log + HDR_CHECKSUM, checksum_xor(log, LOG_SEGMENT));
        if (!current)
            snprintf(name, sizeof name, "edb%05X.log", generation);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        fuzz_write(path, log, (size_t)*segments * LOG_SEGMENT);
    }
    return true;
}

/* ---- recovery ---- */

static struct recovery_result result;

static err_t recover(uint32_t how, uint32_t segments)
{
    struct cache_config cache = {.page_size = REDO_PAGE, .bytes_max = 512 * REDO_PAGE};
    struct log_config log = {
        .log_dir = dir, .system_dir = dir, .base_name = "edb", .file_size = segments * LOG_SEGMENT, .buffer_size = 1 << 20,
        .page_size = REDO_PAGE, .enabled = true, .legacy_names = JET_bitESE98FileNames | JET_bitEightDotThreeSoftCompat, .instance_name = "fuzz",
    };
    struct recovery_config config = {
        .page_size = REDO_PAGE, .log_dir = dir, .system_dir = dir, .base_name = "edb", .instance_name = "fuzz", .undo = (how & HOW_NO_UNDO) == 0,
    };
    static char live[1100];
    if (how & HOW_RESTORE) {
        snprintf(live, sizeof live, "%s/live", dir);
        fuzz_remove_tree(live);
        FUZZ_ENFORCE(os_dir_create(live) >= 0);
        config.set_dir = dir;
        config.set_gen_low = world->generation;
        config.set_gen_high = world->generation + (how & HOW_TWO_LOGS ? 1 : 0);
        config.log_dir = config.system_dir = log.log_dir = log.system_dir = live;
    }
    FUZZ_ENFORCE(cache_create(&cache, &config.cache) >= 0 && log_create(&log, &config.log) >= 0);
    FUZZ_ENFORCE(versions_create(4 << 20, &config.versions) >= 0);
    err_t err = recovery_run(&config, &result);
    fuzz_error(err);
    if (getenv("PYJET_FUZZ_TELL") != NULL)
        fprintf(stderr, "%s %s; %llu records, %llu applied, %llu skipped, %llu undone\n", err_name(err), err < 0 ? err_last()->detail : "",
                (unsigned long long)result.records, (unsigned long long)result.applied, (unsigned long long)result.skipped,
                (unsigned long long)result.undone);
    versions_destroy(config.versions);
    log_destroy(config.log);
    cache_destroy(config.cache);
    return err;
}

static JET_ERR ignore(void *context, const PYJET_FINDING *finding)
{
    (void)context, (void)finding;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    uint32_t how = input_u8(&in), second = input_u8(&in), segments;
    const struct redo_scene *s = &world->scene[how % REDO_SCENES];
    FUZZ_ENFORCE(os_dir_list(dir, remove_file, NULL) >= 0);
    image_size = s->image_size;
    memcpy(image, s->image, image_size);
    count = s->count;
    memcpy(records, s->record, (size_t)count * sizeof records[0]);
    arena_used = 0;
    write_database((how & HOW_LISTED) != 0);
    if (how & HOW_LISTED)
        remove_at(0);
    bool pages = false;
    for (int i = 0; i < EDITS_MOST && in.n > 2; i++) {
        pages |= in.p[0] % 12 == 8;
        edit(&in);
    }
    if (pages) /* the header stays as it was written */
        for (size_t at = 2 * REDO_PAGE; at < image_size; at += REDO_PAGE)
            if (memcmp(image + at, s->image + at, REDO_PAGE) != 0) {
                int fd = open(world->path, O_RDWR | O_CLOEXEC);
                FUZZ_ENFORCE(fd >= 0 && pwrite(fd, image + at, REDO_PAGE, (off_t)at) == REDO_PAGE);
                close(fd);
            }
    read_dbtimes();
    for (int i = count - 1; i >= 0; i--)
        if (leads_out(&records[i]))
            remove_at(i);
    for (int i = 0; i < count && (how & HOW_DBTIMES) == 0; i++)
        fit_dbtimes(&records[i]);
    if (count == 0 || !write_logs(how, count > 1 ? 1 + (int)second * (count - 1) / 256 : count, &segments))
        return 0;
    (void)recover(how, segments);
    struct stat st = {0}; /* pages that the log makes up are holes in the file; they need not take the disk */
    FUZZ_ENFORCE(stat(world->path, &st) != 0 || st.st_blocks <= DISK_MOST / 512);
    if (how & HOW_CHECK && second % 4 == 0 && st.st_size < CHECKED_MOST)
        fuzz_error(PyjetCheckFile(world->path, PYJET_bitAllowDirty, ignore, NULL, NULL));
    return 0;
}
