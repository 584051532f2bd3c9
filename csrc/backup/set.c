#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "backup/backup_private.h"

/* What lies in a backup folder: found, and its logs held against each other, before anything is touched. */

struct found_log {
    uint32_t generation;
    char path[OS_PATH_MAX];
};
struct listing {
    const char *dir;
    char base_name[4];
    struct found_log *logs;
    uint32_t n, room;
    char (*markers)[256]; /* .pat files: names without the extension */
    uint32_t marker_count;
    bool mixed; /* logs of two base names */
};

/* <base>XXXXX.log or <base>XXXXXXXX.log (or .jtx), X hexadecimal. */
bool set__is_log(const char *name, uint32_t *generation)
{
    size_t n = strlen(name);
    if (n != 3 + 5 + 4 && n != 3 + 8 + 4)
        return false;
    const char *extension = name + n - 4;
    char lower[5] = {0};
    for (int i = 0; i < 4; i++)
        lower[i] = (char)tolower((unsigned char)extension[i]);
    if (strcmp(lower, ".log") != 0 && strcmp(lower, ".jtx") != 0)
        return false;
    *generation = 0;
    for (const char *c = name + 3; c < extension; c++) {
        if (!isxdigit((unsigned char)*c))
            return false;
        *generation = *generation * 16 + (uint32_t)(isdigit((unsigned char)*c) ? *c - '0' : tolower((unsigned char)*c) - 'a' + 10);
    }
    return true;
}

static bool has_extension(const char *name, const char *extension)
{
    size_t n = strlen(name), m = strlen(extension);
    if (n < m)
        return false;
    for (size_t i = 0; i < m; i++)
        if (tolower((unsigned char)name[n - m + i]) != extension[i])
            return false;
    return true;
}

bool set__is_marker(const char *name)
{
    return has_extension(name, ".pat");
}

bool set__is_log_beside(const char *name)
{
    char log[32];
    uint32_t generation;
    size_t n = strlen(name);
    if (n < 4 || n >= sizeof log || !has_extension(name, ".tmp"))
        return false;
    memcpy(log, name, n - 4);
    log[n - 4] = '\0';
    return set__is_log(log, &generation);
}

err_t set__marker_path(const char *database, char *path)
{
    size_t n = strlen(database);
    const char *dot = strrchr(os_last_name(database), '.');
    if (dot != NULL)
        n = (size_t)(dot - database);
    if (n + sizeof ".pat" > OS_PATH_MAX)
        return RAISE(JET_errInvalidPath);
    memcpy(path, database, n);
    memcpy(path + n, ".pat", sizeof ".pat");
    return JET_errSuccess;
}

static bool is_double_write(const char *base_name, const char *name)
{
    size_t n = strlen(base_name);
    return strncasecmp(name, base_name, n) == 0 && strcasecmp(name + n, ".dwr") == 0;
}

/* .jfm: the flush map of the database beside it, which goes when that is attached. */
err_t backup_check_name(const char *base_name, const char *path)
{
    uint32_t generation;
    const char *name = os_last_name(path);
    if (!log_is_own_name(base_name, name) && !is_double_write(base_name, name) && !set__is_log(name, &generation) && !set__is_log_beside(name) &&
        !set__is_marker(name) && !has_extension(name, ".jfm"))
        return JET_errSuccess;
    err_t err = RAISE(JET_errDatabaseInvalidName);
    err_detail("%s is a name that the engine gives to files of its own (logs, checkpoint, markers of a backup); name the database "
               "otherwise, such as data.edb", name);
    return err;
}

static err_t note_log(struct listing *l, const char *name, uint32_t generation)
{
    if (l->base_name[0] == '\0')
        memcpy(l->base_name, name, 3);
    if (strncasecmp(l->base_name, name, 3) != 0) {
        l->mixed = true;
        return JET_errSuccess;
    }
    if (l->n == l->room) {
        uint32_t room = l->room == 0 ? 16 : l->room * 2;
        struct found_log *grown = realloc(l->logs, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return RAISE(JET_errOutOfMemory);
        l->logs = grown;
        l->room = room;
    }
    l->logs[l->n].generation = generation;
    return os_join(l->logs[l->n++].path, OS_PATH_MAX, l->dir, name);
}

static err_t note_marker(struct listing *l, const char *name)
{
    size_t n = strlen(name) - 4;
    char(*grown)[256] = realloc(l->markers, (l->marker_count + 1) * sizeof *grown);
    if (grown == NULL)
        return RAISE(JET_errOutOfMemory);
    l->markers = grown;
    if (n >= sizeof *grown)
        return RAISE(JET_errInvalidPath);
    memcpy(grown[l->marker_count], name, n);
    grown[l->marker_count++][n] = '\0';
    return JET_errSuccess;
}

static err_t note_entry(void *context, const char *name, bool is_dir)
{
    struct listing *l = context;
    uint32_t generation;
    if (is_dir)
        return JET_errSuccess;
    if (set__is_log(name, &generation))
        return note_log(l, name, generation);
    return set__is_marker(name) ? note_marker(l, name) : JET_errSuccess;
}

static int by_generation(const void *a, const void *b)
{
    uint32_t x = ((const struct found_log *)a)->generation, y = ((const struct found_log *)b)->generation;
    return (x > y) - (x < y);
}

static err_t list_folder(const char *dir, struct listing *l)
{
    l->dir = dir;
    l->n = l->marker_count = 0;
    if (!os_is_dir(dir))
        return JET_errSuccess;
    TRY_RETURN(os_dir_list(dir, note_entry, l));
    if (l->n > 1)
        qsort(l->logs, l->n, sizeof *l->logs, by_generation);
    return JET_errSuccess;
}

/* The folder itself, else new, else old below it. */
static err_t locate(const char *path, struct restore_set *set, struct listing *l)
{
    static const char *const below[] = {NULL, "new", "old"};
    char full[OS_PATH_MAX];
    TRY_RETURN(os_full_path(path, full, sizeof full));
    for (int i = 0; i < 3; i++) {
        if (below[i] == NULL)
            memcpy(set->dir, full, sizeof set->dir);
        else
            TRY_RETURN(os_join(set->dir, sizeof set->dir, full, below[i]));
        TRY_RETURN(list_folder(set->dir, l));
        if (l->n > 0)
            return JET_errSuccess;
    }
    memcpy(set->dir, full, sizeof set->dir);
    err_t err = RAISE(JET_errFileNotFound);
    err_detail("%s holds no backup set: no log file lies there, in new/ or in old/", full);
    return err;
}

static err_t refuse(err_t code, int event, const char *path, const char *text)
{
    event_report(event, EVENT_ERROR, "", text, path, NULL);
    err_t err = RAISE(code);
    err_detail("%s: %s", path, text);
    return err;
}

/* The path of a log that is not there. */
static err_t name_missing(const struct listing *l, uint32_t generation, char path[OS_PATH_MAX])
{
    err_t err = log_find(l->dir, l->base_name, generation, path);
    return err == JET_errFileNotFound ? JET_errSuccess : err;
}

static err_t check_log(struct listing *l, uint32_t i, struct log_header *before, struct log_header *h)
{
    if (i > 0 && l->logs[i].generation != l->logs[i - 1].generation + 1) {
        char missing[OS_PATH_MAX];
        TRY_RETURN(name_missing(l, l->logs[i - 1].generation + 1, missing));
        return refuse(JET_errMissingRestoreLogFiles, 435, missing, "a log file of the set is missing");
    }
    err_t err = log_read_header(l->logs[i].path, h);
    if (err < 0)
        return err;
    if (i == 0)
        return JET_errSuccess;
    if (!signature_equal(&h->signature, &before->signature))
        return refuse(JET_errGivenLogFileHasBadSignature, 433, l->logs[i].path, "a log file of another sequence lies in the set");
    if (memcmp(h->created_previous.b, before->created.b, sizeof before->created.b) != 0) {
        char number[16];
        snprintf(number, sizeof number, "%u", l->logs[i].generation);
        event_report(434, EVENT_ERROR, "", "a log file does not continue the one before it", number, NULL);
        err = RAISE(JET_errGivenLogFileIsNotContiguous);
        err_detail("%s does not continue the log before it", l->logs[i].path);
        return err;
    }
    return JET_errSuccess;
}

static err_t check_logs(struct listing *l, struct restore_set *set)
{
    if (l->mixed)
        return refuse(JET_errGivenLogFileHasBadSignature, 433, l->dir, "logs of two base names lie in the set");
    struct log_header *headers = calloc(2, sizeof *headers);
    if (headers == NULL)
        return RAISE(JET_errOutOfMemory);
    err_t err = JET_errSuccess;
    for (uint32_t i = 0; i < l->n && err >= 0; i++)
        err = check_log(l, i, &headers[(i + 1) % 2], &headers[i % 2]);
    if (err >= 0) {
        const struct log_header *h = &headers[(l->n - 1) % 2];
        set->gen_low = l->logs[0].generation;
        set->gen_high = l->logs[l->n - 1].generation;
        set->page_size = h->page_size;
        set->log_file_size = h->file_size;
        memcpy(set->base_name, l->base_name, 3);
        set->base_name[3] = '\0';
    }
    free(headers);
    return err;
}

static bool is_of_marker(const char *name, const char *marker)
{
    size_t n = strlen(marker);
    return strncasecmp(name, marker, n) == 0 && (name[n] == '\0' || (name[n] == '.' && strchr(name + n + 1, '.') == NULL));
}

/* Every marker stands for a database: one that is gone is not passed over. */
static err_t check_markers(const struct listing *l, const struct restore_set *set)
{
    for (uint32_t i = 0; i < l->marker_count; i++) {
        bool found = false;
        for (int k = 0; k < set->database_count && !found; k++)
            found = is_of_marker(os_last_name(set->databases[k]), l->markers[i]);
        if (found)
            continue;
        err_t err = RAISE(JET_errFileNotFound);
        err_detail("%s/%s.pat stands for a database, which is missing from the set", set->dir, l->markers[i]);
        return err;
    }
    return JET_errSuccess;
}

static err_t note_database(void *context, const char *name, bool is_dir)
{
    struct restore_set *set = context;
    uint32_t generation;
    struct db_header h;
    char path[OS_PATH_MAX];
    if (is_dir || set__is_log(name, &generation) || set__is_marker(name) || set__is_log_beside(name))
        return JET_errSuccess;
    TRY_RETURN(os_join(path, sizeof path, set->dir, name));
    err_t err = db_header_read_path(path, &h);
    if (backup__is_unread(err))
        return err;
    if (err < 0 && name[0] == '.') /* .DS_Store, .nfs...: a hidden database that is damaged is missed by its marker */
        return JET_errSuccess;
    if (err < 0) {
        err = RAISE(JET_errDatabaseCorrupted);
        err_detail("%s: neither copy of its header can be read, or it is no database", path);
        return err;
    }
    if (set->database_count == DBID_MAX) {
        err = RAISE(JET_errTooManyAttachedDatabases);
        err_detail("%s holds more than %d databases", set->dir, DBID_MAX);
        return err;
    }
    memcpy(set->databases[set->database_count], path, sizeof path);
    TRY_RETURN(recovery_find_database(set->dir, set->base_name, set->gen_low, &h.sign_db, set->originals[set->database_count],
                                      OS_PATH_MAX));
    set->database_count++;
    return JET_errSuccess;
}

/* Logs outside the range are left out of account. */
static err_t narrow(struct listing *l, uint32_t low, uint32_t high)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->logs[i].generation >= low && l->logs[i].generation <= high)
            l->logs[n++] = l->logs[i];
    l->n = n;
    uint32_t missing = n == 0 || l->logs[0].generation != low ? low : l->logs[n - 1].generation != high ? l->logs[n - 1].generation + 1 : 0;
    if (missing == 0)
        return JET_errSuccess;
    char path[OS_PATH_MAX];
    TRY_RETURN(name_missing(l, missing, path));
    return refuse(JET_errMissingRestoreLogFiles, 435, path, "a log file of the given range is missing");
}

err_t restore_survey_logs(const char *path, uint32_t gen_low, uint32_t gen_high, struct restore_set *out)
{
    memset(out, 0, sizeof *out);
    struct listing l = {0};
    err_t err = JET_errSuccess;
    TRY(locate(path, out, &l));
    if (gen_low != 0 || gen_high != 0)
        TRY(narrow(&l, gen_low, gen_high));
    TRY(check_logs(&l, out));
out:
    free(l.markers);
    free(l.logs);
    return err;
}

err_t restore_survey(const char *path, struct restore_set *out)
{
    memset(out, 0, sizeof *out);
    if (path == NULL || path[0] == '\0')
        return RAISE(JET_errInvalidParameter);
    struct listing l = {0};
    err_t err = JET_errSuccess;
    TRY(locate(path, out, &l));
    TRY(check_logs(&l, out));
    TRY(os_dir_list(out->dir, note_database, out));
    TRY(check_markers(&l, out));
    if (out->database_count == 0) {
        err = RAISE(JET_errPatchFileMissing);
        err_detail("%s holds logs but no database: an increment alone cannot be restored", out->dir);
    }
out:
    free(l.markers);
    free(l.logs);
    return err;
}
