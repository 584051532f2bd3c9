#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "os/os_private.h"

/* The trace's record header; README.rst describes it, tests/crash/trace.py reads it. */
struct trace_header {
    uint32_t magic;
    uint16_t op;
    uint16_t path_len;
    uint64_t seq;
    uint64_t offset;
    uint64_t length;
    uint32_t data_len;
    int32_t result;
};
static_assert(sizeof(struct trace_header) == 40, "in traces");
#define TRACE_MAGIC 0x31544a50u /* "PJT1" */

static pthread_mutex_t tables = PTHREAD_MUTEX_INITIALIZER;

/* Guarded by `tables`; `on` may be read without it as a hint. */
static struct {
    _Atomic bool on;
    int fd;
    uint64_t seq;
    char dir[OS_PATH_MAX];
} recorder = {.fd = -1};

void os__tables_lock(void) { ENFORCE(pthread_mutex_lock(&tables) == 0); }

void os__tables_unlock(void) { ENFORCE(pthread_mutex_unlock(&tables) == 0); }

bool os__record_enter(void)
{
    if (!atomic_load_explicit(&recorder.on, memory_order_relaxed))
        return false;
    os__tables_lock();
    if (recorder.on)
        return true;
    os__tables_unlock();
    return false;
}

/* The path relative to the recorded folder ("." for itself), NULL when it is not below. */
static const char *below(const char *path)
{
    size_t n = strlen(recorder.dir);
    if (strncmp(path, recorder.dir, n) != 0)
        return NULL;
    if (path[n] == '\0')
        return ".";
    return path[n] == '/' ? path + n + 1 : n == 1 ? path + 1 : NULL;
}

/* A trace with a hole would prove nothing, so a trace that cannot be written ends the process. */
static uint64_t emit(struct trace_header header, const char *path, const struct os_iovec *v,
                     int count, size_t n)
{
    size_t path_len = strlen(path), at = sizeof header + path_len, size = at + n;
    ENFORCE(n <= UINT32_MAX && path_len <= UINT16_MAX);
    char *record = malloc(size);
    ENFORCE(record != NULL);
    header.magic = TRACE_MAGIC;
    header.path_len = (uint16_t)path_len;
    header.data_len = (uint32_t)n;
    header.seq = ++recorder.seq;
    memcpy(record, &header, sizeof header);
    memcpy(record + sizeof header, path, path_len);
    for (int i = 0; i < count && at < size; i++) {
        size_t part = v[i].n < size - at ? v[i].n : size - at;
        memcpy(record + at, v[i].p, part);
        at += part;
    }
    for (size_t done = 0; done < size;) {
        ssize_t r = write(recorder.fd, record + done, size - done);
        ENFORCE(r > 0 || (r < 0 && errno == EINTR));
        done += r > 0 ? (size_t)r : 0;
    }
    free(record);
    return recorder.seq;
}

uint64_t os__record(enum os__trace_op op, const char *path, uint64_t offset, uint64_t length,
                    int result)
{
    const char *name = recorder.on ? below(path) : NULL;
    if (name == NULL)
        return 0;
    struct trace_header h = {
        .op = (uint16_t)op, .offset = offset, .length = length, .result = result};
    return emit(h, name, NULL, 0, 0);
}

void os__record_write(const char *path, uint64_t offset, const struct os_iovec *v, int count,
                      size_t n, int result)
{
    const char *name = recorder.on ? below(path) : NULL;
    if (name == NULL)
        return;
    struct trace_header h = {.op = TRACE_WRITE, .offset = offset, .length = n, .result = result};
    emit(h, name, v, count, n);
}

/* Across the border: leaving is an unlink; entering keeps the absolute old name, so that a replayer
 * sees that it cannot know the bytes. */
void os__record_rename(const char *from, const char *to)
{
    if (!recorder.on)
        return;
    const char *name_from = below(from), *name_to = below(to);
    struct trace_header h = {.op = TRACE_RENAME};
    if (name_to == NULL) {
        if (name_from != NULL)
            os__record(TRACE_UNLINK, from, 0, 0, 0);
        return;
    }
    struct os_iovec v = {name_to, strlen(name_to)};
    emit(h, name_from != NULL ? name_from : from, &v, 1, v.n);
}

static err_t start_locked(const char *dir, const char *trace, int flags)
{
    if (recorder.on)
        return RAISE(JET_errInvalidOperation);
    int fd = open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | flags, 0666);
    if (fd < 0)
        return OS__RAISE(OS_OP_OPEN, errno, trace);
    recorder.fd = fd;
    recorder.seq = 0;
    strcpy(recorder.dir, dir);
    struct trace_header h = {.op = TRACE_START, .length = (uint64_t)os_process_id()};
    emit(h, recorder.dir, NULL, 0, 0);
    recorder.on = true;
    return JET_errSuccess;
}

/* Not through the gate: the recorder is no part of what it watches. */
static err_t start(const char *dir, const char *trace, int flags)
{
    char full[OS_PATH_MAX], full_trace[OS_PATH_MAX];
    TRY_RETURN(os_full_path(dir, full, sizeof full));
    TRY_RETURN(os_full_path(trace, full_trace, sizeof full_trace));
    os__tables_lock();
    err_t err = start_locked(full, full_trace, flags);
    os__tables_unlock();
    return err;
}

err_t os_record_start(const char *dir, const char *trace) { return start(dir, trace, O_TRUNC); }

void os_record_stop(void)
{
    if (!os__record_enter())
        return;
    struct trace_header h = {.op = TRACE_STOP};
    emit(h, ".", NULL, 0, 0);
    recorder.on = false;
    close(recorder.fd);
    recorder.fd = -1;
    os__tables_unlock();
}

void os_record_mark(const char *text)
{
    if (!os__record_enter())
        return;
    struct os_iovec v = {text, strlen(text)};
    struct trace_header h = {.op = TRACE_MARK};
    emit(h, ".", &v, 1, v.n);
    os__tables_unlock();
}

/* ---- PYJET_RECORD=dir:trace ---- */

/* Appends, so that the process that recovers after a kill goes on in the same trace. */
static void start_from_environment(void)
{
    const char *wish = getenv("PYJET_RECORD");
    if (wish == NULL || wish[0] == '\0')
        return;
    char dir[OS_PATH_MAX];
    const char *colon = strrchr(wish, ':');
    if (colon == NULL || (size_t)(colon - wish) >= sizeof dir)
        assert_failed("PYJET_RECORD is not dir:trace", __FILE__, __LINE__);
    memcpy(dir, wish, (size_t)(colon - wish));
    dir[colon - wish] = '\0';
    if (start(dir, colon + 1, 0) < 0)
        assert_failed("PYJET_RECORD: the trace cannot be opened", __FILE__, __LINE__);
}

void os__record_from_environment(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_from_environment);
}

/* Two processes in one trace would have no common order; the trace stays the parent's. */
void os__record_after_fork(void)
{
    if (!recorder.on)
        return;
    recorder.on = false;
    close(recorder.fd);
    recorder.fd = -1;
}
