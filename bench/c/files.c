/* Folders of files, for engines whose backup or restore is made of such. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static struct timespec walk_since;
static uint64_t walk_bytes;

static int add_if_newer(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path, (void)at;
    struct timespec m = st->st_mtim, since = walk_since;
    bool newer = m.tv_sec > since.tv_sec || (m.tv_sec == since.tv_sec && m.tv_nsec >= since.tv_nsec);
    if (type == FTW_F && newer)
        walk_bytes += (uint64_t)st->st_size;
    return 0;
}

struct timespec folder_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t); /* the clock that files are stamped by */
    return t;
}

uint64_t folder_bytes_since(const char *folder, struct timespec since)
{
    walk_since = since;
    walk_bytes = 0;
    if (nftw(folder, add_if_newer, 16, FTW_PHYS) != 0)
        die("nftw", 0, folder);
    return walk_bytes;
}

static void sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        die("fsync", 0, path);
    close(fd);
}

static int sync_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)at;
    if (type == FTW_F || type == FTW_DP)
        sync_path(path);
    return 0;
}

void folder_sync(const char *folder)
{
    if (nftw(folder, sync_one, 16, FTW_PHYS | FTW_DEPTH) != 0)
        die("nftw", 0, folder);
}

static uint64_t copy_file(const char *from, const char *to, uint64_t bytes)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
    if (in < 0 || out < 0)
        die("open", 0, in < 0 ? from : to);
    for (uint64_t done = 0; done < bytes;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, bytes - done, 0);
        if (n <= 0)
            die("copy_file_range", n, to);
        done += (uint64_t)n;
    }
    close(in);
    close(out);
    return bytes;
}

uint64_t folder_copy(const char *from, const char *to)
{
    char source[4096], target[4096];
    uint64_t bytes = 0;
    struct dirent *entry;
    struct stat st;
    DIR *folder = opendir(from);
    if (folder == NULL)
        die("opendir", 0, from);
    while ((entry = readdir(folder)) != NULL) {
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        if (stat(source, &st) != 0)
            die("stat", 0, source);
        if (S_ISREG(st.st_mode))
            bytes += copy_file(source, target, (uint64_t)st.st_size);
    }
    closedir(folder);
    folder_sync(to);
    return bytes;
}
