/* Instances for tests of engine and backup: a folder of its own for each case, one database "a.edb" with a table "t"
 * (id, k, pad; primary key on id, an index on k), rows by number, digests of what is there, events kept. */
#ifndef ENGINE_WORLD_H
#define ENGINE_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctest.h"
#include "engine/engine.h"
#include "remove.h"
#pragma GCC diagnostic ignored "-Wunused-function" /* a test file takes what it needs */

#define PATH_ROOM 512

/* ---- folders and files ---- */

static char world_root[128];

static int world_owner;

static void remove_world(void)
{
    if (world_owner == (int)getpid() && getenv("CTEST_KEEP") == NULL)
        remove_tree(world_root);
}

/* A path below the world's folder; four of them live at a time. */
static const char *at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *at(const char *format, ...)
{
    static _Thread_local char paths[8][PATH_ROOM];
    static _Thread_local int turn;
    char *path = paths[turn++ % 8];
    va_list args;
    va_start(args, format);
    int n = snprintf(path, PATH_ROOM, "%s/", world_root);
    vsnprintf(path + n, (size_t)(PATH_ROOM - n), format, args);
    va_end(args);
    return path;
}

/* An empty world. The one before is gone. */
static void world_begin(void)
{
    const char *tmp = getenv("TMPDIR");
    if (world_owner == (int)getpid())
        remove_tree(world_root);
    else
        atexit(remove_world);
    world_owner = (int)getpid();
    snprintf(world_root, sizeof world_root, "%s/pyjet-engine-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    CHECK(mkdtemp(world_root) != NULL);
    os_fault_set(NULL);
}

static void make_dir(const char *path)
{
    CHECK(mkdir(path, 0777) == 0);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    CHECK(fd >= 0);
    CHECK(write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static uint8_t *read_file(const char *path, size_t *n)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    *n = (size_t)file_bytes(path);
    uint8_t *bytes = malloc(*n + 1);
    CHECK(bytes != NULL && read(fd, bytes, *n) == (ssize_t)*n);
    close(fd);
    return bytes;
}

static void copy_tree(const char *from, const char *to)
{
    char command[3 * PATH_ROOM];
    snprintf(command, sizeof command, "cp -a '%s' '%s'", from, to);
    CHECK_EQ(system(command), 0);
}

/* Inverts n bytes. */
static void damage(const char *path, uint64_t offset, uint32_t n)
{
    uint8_t bytes[4096];
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && n <= sizeof bytes);
    CHECK(pread(fd, bytes, n, (off_t)offset) == (ssize_t)n);
    for (uint32_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)~bytes[i];
    CHECK(pwrite(fd, bytes, n, (off_t)offset) == (ssize_t)n);
    close(fd);
}

static void flip_bit(const char *path, uint64_t bit)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &byte, 1, (off_t)(bit / 8)) == 1);
    byte ^= (uint8_t)(1u << (bit % 8));
    CHECK(pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1);
    close(fd);
}

/* ---- folder listings, compared before and after ---- */

struct entry {
    char name[256];
    uint64_t size, hash;
};
struct folder {
    struct entry e[2048];
    int n;
    bool names_only;
};

static uint64_t fnv(uint64_t h, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211ull;
    return h;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void list_below(const char *dir, const char *prefix, struct folder *f)
{
    DIR *d = opendir(dir);
    struct dirent *de;
    CHECK(d != NULL);
    while ((de = readdir(d)) != NULL) {
        char path[2 * PATH_ROOM], name[2 * PATH_ROOM];
        struct stat st;
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, de->d_name);
        snprintf(name, sizeof name, "%s%s", prefix, de->d_name);
        CHECK(lstat(path, &st) == 0 && f->n < 2048 && strlen(name) < sizeof f->e[0].name);
        struct entry *e = &f->e[f->n++];
        memcpy(e->name, name, strlen(name) + 1);
        e->size = e->hash = 0;
        if (S_ISDIR(st.st_mode)) {
            strcat(name, "/");
            list_below(path, name, f);
            continue;
        }
        e->size = (uint64_t)st.st_size;
        if (f->names_only)
            continue;
        size_t n;
        uint8_t *bytes = read_file(path, &n);
        e->size = n;
        e->hash = fnv(14695981039346656037ull, bytes, n);
        free(bytes);
    }
    closedir(d);
}

static struct folder *folder_of(const char *dir)
{
    struct folder *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    list_below(dir, "", f);
    qsort(f->e, (size_t)f->n, sizeof f->e[0], by_name);
    return f;
}

static struct folder *names_of(const char *dir)
{
    struct folder *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->names_only = true;
    list_below(dir, "", f);
    return f;
}

static bool folder_equal(const struct folder *a, const struct folder *b)
{
    bool same = a->n == b->n;
    for (int i = 0; i < a->n && i < b->n; i++)
        if (strcmp(a->e[i].name, b->e[i].name) != 0 || a->e[i].size != b->e[i].size || a->e[i].hash != b->e[i].hash) {
            fprintf(stderr, "first difference: %s (%llu) / %s (%llu)\n", a->e[i].name, (unsigned long long)a->e[i].size,
                    b->e[i].name, (unsigned long long)b->e[i].size);
            same = false;
            break;
        }
    if (a->n != b->n)
        fprintf(stderr, "%d entries / %d entries\n", a->n, b->n);
    return same;
}

static const struct entry *folder_find(const struct folder *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->e[i].name, name) == 0)
            return &f->e[i];
    return NULL;
}

/* ---- events ---- */

struct seen_event {
    int id;
    enum event_severity severity;
    char param[2][PATH_ROOM];
};
static struct seen_event events[512];
static _Atomic int event_count;

static void keep_event(void *context, const struct event *e)
{
    (void)context;
    int i = atomic_fetch_add(&event_count, 1);
    if (i >= 512)
        return;
    events[i].id = e->id;
    events[i].severity = e->severity;
    for (int p = 0; p < 2; p++)
        snprintf(events[i].param[p], PATH_ROOM, "%s", p < e->param_count ? e->params[p] : "");
}

static void events_begin(void)
{
    event_set_sink(keep_event, NULL);
    atomic_store(&event_count, 0);
}

static const struct seen_event *event_find(int id)
{
    for (int i = 0; i < atomic_load(&event_count) && i < 512; i++)
        if (events[i].id == id)
            return &events[i];
    return NULL;
}

/* ---- an instance ---- */

struct live {
    struct instance *inst;
    struct session *s;
    JET_DBID d;
    struct table_cursor *c;
    colid_t id, k, pad;
    char db[PATH_ROOM + 8];
};

enum start { START_PLAIN = 0, START_CIRCULAR = 1, START_NO_LOG = 2, START_STEAL = 4, START_NO_WRITER = 8, START_ZERO = 16, START_LARGE_LOGS = 32 };

static struct instance *new_instance(const char *dir, unsigned how)
{
    struct instance *inst;
    char folder[PATH_ROOM];
    snprintf(folder, sizeof folder, "%s/", dir);
    CHECK_OK(instance_create("test", NULL, &inst));
    struct params *p = instance_params(inst);
    CHECK_OK(params_set(p, JET_paramCreatePathIfNotExist, 1, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(params_set(p, JET_paramLogFilePath, 0, folder, PARAMS_BEFORE_INIT));
    CHECK_OK(params_set(p, JET_paramSystemPath, 0, folder, PARAMS_BEFORE_INIT));
    CHECK_OK(params_set(p, JET_paramLogFileSize, (how & START_LARGE_LOGS) ? 1024 : 64, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(params_set(p, JET_paramCheckpointDepthMax, 128 << 10, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(params_set(p, PYJET_paramVersionStoreBytes, 32 << 20, NULL, PARAMS_BEFORE_INIT));
    CHECK_OK(params_set(p, PYJET_paramBackupReadRetries, 0, NULL, PARAMS_BEFORE_INIT));
    if (how & START_CIRCULAR)
        CHECK_OK(params_set(p, JET_paramCircularLog, 1, NULL, PARAMS_BEFORE_INIT));
    if (how & START_NO_LOG)
        CHECK_OK(params_set(p, JET_paramRecovery, 0, "off", PARAMS_BEFORE_INIT));
    if (how & START_STEAL)
        CHECK_OK(params_set(p, PYJET_paramRandomSteal, 1, NULL, PARAMS_BEFORE_INIT));
    if (how & START_ZERO)
        CHECK_OK(params_set(p, JET_paramZeroDatabaseDuringBackup, 1, NULL, PARAMS_BEFORE_INIT));
    if (how & START_NO_WRITER)
        CHECK_OK(params_set(p, PYJET_paramPageWriterOff, 1, NULL, PARAMS_BEFORE_INIT));
    return inst;
}

static void enter_session(struct live *l)
{
    CHECK_OK(session_begin(l->inst, &l->s));
    CHECK_OK(session_enter(l->s));
}

static void leave_session(struct live *l)
{
    session_leave(l->s);
    CHECK_OK(session_end(l->s));
    l->s = NULL;
}

static void add_column(struct live *l, struct table_desc *t, const char *name, JET_COLTYP type)
{
    colid_t id;
    struct catalog_column_want w = {.name = name, .coltyp = type};
    CHECK_OK(catalog_add_column(t, session_trx(l->s), &w, &id));
}

static struct table_desc *create_table(struct live *l, const char *name)
{
    struct dbfile *db;
    struct table_desc *t;
    CHECK_OK(session_database(l->s, l->d, &db));
    CHECK_OK(catalog_create_table(db, session_trx(l->s), name, 1, 0, &t));
    add_column(l, t, "id", JET_coltypLong);
    add_column(l, t, "k", JET_coltypLong);
    add_column(l, t, "pad", JET_coltypLongBinary);
    struct catalog_index_want pk = {.name = "pk", .key = "+id\0", .key_size = 5, .grbit = JET_bitIndexPrimary | JET_bitIndexUnique};
    struct catalog_index_want by_k = {.name = "by_k", .key = "+k\0", .key_size = 4};
    CHECK_OK(catalog_create_index(t, session_trx(l->s), &pk));
    CHECK_OK(catalog_create_index(t, session_trx(l->s), &by_k));
    return t;
}

static void find_columns(struct live *l)
{
    struct table_desc *t = cursor_table(l->c);
    l->id = table_find_column(t, "id")->def.id;
    l->k = table_find_column(t, "k")->def.id;
    l->pad = table_find_column(t, "pad")->def.id;
}

static void open_t(struct live *l)
{
    CHECK_OK(session_open_table(l->s, l->d, "t", 0, &l->c));
    find_columns(l);
}

/* Creates the database with its table, or attaches it. */
static void open_db(struct live *l, const char *path)
{
    snprintf(l->db, sizeof l->db, "%s", path);
    err_t err = exists(path) ? session_attach_database(l->s, path, 0) : JET_errFileNotFound;
    if (err >= 0) {
        CHECK_OK(session_open_database(l->s, path, 0, &l->d));
    } else { /* not there, or what a killed create left */
        CHECK_OK(session_create_database(l->s, path, 0, &l->d));
    }
    err = session_open_table(l->s, l->d, "t", 0, &l->c);
    if (err == JET_errObjectNotFound) { /* new, or killed before it had one */
        CHECK_OK(session_begin_transaction(l->s, 0));
        struct table_desc *t = create_table(l, "t");
        CHECK_OK(session_adopt_table(l->s, l->d, t, 0, &l->c));
        CHECK_OK(session_close_cursor(l->s, l->c));
        CHECK_OK(session_commit(l->s, 0));
        err = session_open_table(l->s, l->d, "t", 0, &l->c);
    }
    CHECK_OK(err);
    find_columns(l);
}

static void start(struct live *l, const char *dir, unsigned how)
{
    memset(l, 0, sizeof *l);
    l->inst = new_instance(dir, how);
    CHECK_OK(instance_init(l->inst, NULL, NULL));
    enter_session(l);
    char path[PATH_ROOM + 8];
    snprintf(path, sizeof path, "%s/a.edb", dir);
    open_db(l, path);
}

static void finish(struct live *l)
{
    CHECK_OK(session_close_cursor(l->s, l->c));
    leave_session(l);
    CHECK_OK(instance_term(l->inst, 0));
    instance_destroy(l->inst);
    l->inst = NULL;
}

/* ---- rows ---- */

static err_t run_update(void *context, struct trx *trx)
{
    (void)trx;
    return cursor_update(context, NULL);
}

static err_t run_delete(void *context, struct trx *trx)
{
    (void)trx;
    return cursor_delete(context);
}

static void pad_bytes(uint8_t *pad, size_t n, int id, int version)
{
    unsigned long long seed = (unsigned long long)id * 2654435761u + (unsigned long long)version * 97 + 1;
    for (size_t i = 0; i < n; i++)
        pad[i] = (uint8_t)ctest_random(&seed);
}

static err_t seek_row(struct live *l, int id)
{
    TRY_RETURN(cursor_set_index(l->c, NULL, 0, 1));
    TRY_RETURN(cursor_make_key(l->c, SLICE(&id, 4), false, JET_bitNewKey));
    return cursor_seek(l->c, JET_bitSeekEQ);
}

static err_t set_row(struct live *l, int id, int version, size_t size)
{
    uint8_t pad[9000];
    int k = (id * 7 + version) % 101;
    CHECK(size <= sizeof pad);
    pad_bytes(pad, size, id, version);
    TRY_RETURN(cursor_set(l->c, l->k, 1, 0, SLICE(&k, 4), false, 0));
    TRY_RETURN(cursor_set(l->c, l->pad, 1, 0, SLICE(pad, size), false, JET_bitSetZeroLength));
    return session_atomically(l->s, run_update, l->c);
}

static err_t insert_row(struct live *l, int id, size_t size)
{
    TRY_RETURN(cursor_prepare(l->c, JET_prepInsert));
    err_t err = cursor_set(l->c, l->id, 1, 0, SLICE(&id, 4), false, 0);
    if (err >= 0)
        err = set_row(l, id, 0, size);
    if (err < 0 && cursor_prepared(l->c) != PREP_NONE) {
        struct err_origin origin = *err_last();
        err_t cancelled = cursor_prepare(l->c, JET_prepCancel);
        (void)cancelled;
        err_raise(origin.err, origin.file, origin.line);
        err_detail("%s", origin.detail);
    }
    return err;
}

static err_t replace_row(struct live *l, int id, int version, size_t size)
{
    TRY_RETURN(seek_row(l, id));
    TRY_RETURN(cursor_prepare(l->c, JET_prepReplace));
    err_t err = set_row(l, id, version, size);
    if (err < 0 && cursor_prepared(l->c) != PREP_NONE) {
        err_t cancelled = cursor_prepare(l->c, JET_prepCancel);
        (void)cancelled;
    }
    return err;
}

static err_t delete_row(struct live *l, int id)
{
    TRY_RETURN(seek_row(l, id));
    return session_atomically(l->s, run_delete, l->c);
}

/* [first, end) in one transaction; every eighth row has a long value. */
static void insert_rows(struct live *l, int first, int end)
{
    CHECK_OK(session_begin_transaction(l->s, 0));
    for (int id = first; id < end; id++)
        CHECK_OK(insert_row(l, id, id % 8 == 0 ? 3000 : 60));
    CHECK_OK(session_commit(l->s, 0));
}

static uint64_t digest_cursor(struct table_cursor *c, uint64_t *rows)
{
    struct table_desc *t = cursor_table(c);
    colid_t id = table_find_column(t, "id")->def.id, k = table_find_column(t, "k")->def.id, pad = table_find_column(t, "pad")->def.id;
    uint64_t h = 14695981039346656037ull;
    *rows = 0;
    CHECK_OK(cursor_set_index(c, NULL, 0, 1));
    err_t err = cursor_move(c, JET_MoveFirst, 0);
    for (; err >= 0; err = cursor_move(c, JET_MoveNext, 0)) {
        uint8_t bytes[9000];
        uint32_t n;
        int numbers[2];
        CHECK_OK(cursor_retrieve(c, id, 1, 0, 0, &numbers[0], 4, &n, NULL));
        CHECK_OK(cursor_retrieve(c, k, 1, 0, 0, &numbers[1], 4, &n, NULL));
        CHECK_OK(cursor_retrieve(c, pad, 1, 0, 0, bytes, sizeof bytes, &n, NULL));
        h = fnv(h, numbers, sizeof numbers);
        h = fnv(h, bytes, n);
        (*rows)++;
    }
    CHECK_EQ(err, JET_errNoCurrentRecord);
    uint64_t by_k = 0;
    CHECK_OK(cursor_set_index(c, "by_k", 0, 1));
    for (err = cursor_move(c, JET_MoveFirst, 0); err >= 0; err = cursor_move(c, JET_MoveNext, 0))
        by_k++;
    CHECK_EQ(by_k, *rows);
    CHECK_OK(cursor_set_index(c, NULL, 0, 1));
    return h;
}

static uint64_t digest(struct live *l)
{
    uint64_t rows;
    return digest_cursor(l->c, &rows);
}

static err_t print_finding(void *context, const struct check_finding *f)
{
    (void)context;
    if (f->kind != CHECK_NOTE)
        fprintf(stderr, "check: page %u object %u: %s\n", f->pgno, f->objid, f->text);
    return JET_errSuccess;
}

/* Of a file that no instance has open; the file is sound, and no page leaked. */
static uint64_t digest_file(const char *path, uint64_t *rows)
{
    struct reader *r;
    struct table_cursor *c;
    struct check_sum sum;
    struct check_options options = {.records = true, .indexes = true, .sink = print_finding};
    CHECK_OK(reader_open(path, false, &r));
    CHECK_OK(check_database(reader_db(r), &options, &sum));
    CHECK_EQ(sum.findings, 0);
    CHECK_EQ(sum.pages_leaked, 0);
    CHECK_OK(reader_open_table(r, "t", &c));
    uint64_t h = digest_cursor(c, rows);
    reader_close_table(r, c);
    reader_close(r);
    return h;
}

/* Until the background thread has moved the checkpoint into this generation. */
static void wait_checkpoint(struct live *l, uint32_t generation)
{
    struct instance_stats stats;
    for (int i = 0; i < 500; i++) {
        instance_stats(l->inst, &stats);
        if (LGPOS_GEN(stats.checkpoint) >= generation)
            return;
        os_sleep_ms(10);
    }
    fprintf(stderr, "the checkpoint stays in generation %u\n", LGPOS_GEN(stats.checkpoint));
    exit(1);
}

/* ---- backup and restore ---- */

static err_t backup_to(struct live *l, const char *path, JET_GRBIT grbit)
{
    struct backup_result result;
    struct backup_options o = {.path = path, .grbit = grbit};
    return instance_backup(l->inst, &o, &result);
}

/* Into world/dest, its logs in world/dest/logs (or log_dir). */
static err_t restore_into(const char *set, const char *dest, const char *log_dir, const char *roll_forward)
{
    struct instance *inst = new_instance(log_dir == NULL ? at("%s/logs", dest) : log_dir, 0);
    struct restore_result result;
    err_t err = instance_restore(inst, &(struct instance_restore){.set = set, .destination = dest == NULL ? NULL : at("%s", dest), .roll_forward_dir = roll_forward}, &result);
    instance_destroy(inst);
    return err;
}

static err_t restore_to(const char *set, const char *dest)
{
    return restore_into(set, dest, NULL, NULL);
}

static void read_header(const char *path, struct db_header *h)
{
    CHECK_OK(db_header_read_path(path, h));
}

/* ---- the independent judges, where they are at hand (PYJET_JUDGES: their folder) ---- */

static void judge(const char *tool, const char *arguments, const char *files)
{
    const char *tools = getenv("PYJET_JUDGES");
    char command[4 * PATH_ROOM];
    if (tools == NULL)
        return;
    snprintf(command, sizeof command, "python3 '%s/%s' %s %s > '%s/verdict' 2>&1 || { head -30 '%s/verdict' >&2; false; }", tools, tool,
             arguments, files, world_root, world_root);
    CHECK_EQ(system(command), 0);
}

static void judge_database(const char *path)
{
    judge("edbcheck.py", "check", path);
}

static void judge_logs(const char *dir)
{
    char files[2 * PATH_ROOM];
    snprintf(files, sizeof files, "%s/edb.log $(ls %s/edb0*.log 2>/dev/null | tail -20)", dir, dir);
    judge("edblog.py", "check", files);
}

/* ---- another process ---- */

/* Runs fn in a child, from a process without a running instance; its exit code. */
static int in_child(void (*fn)(void *), void *context)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        fn(context);
        fflush(NULL);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status)) {
        fprintf(stderr, "child: signal %d\n", WTERMSIG(status));
        return -1;
    }
    return WEXITSTATUS(status);
}

#endif
