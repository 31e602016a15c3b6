/*
 * A stub of a disk, put before a server with LD_PRELOAD. A sync of the log takes WPCLONE_DISK_MS milliseconds, does not
 * end while there is a file WPCLONE_DISK_HOLD, and is noted in WPCLONE_DISK_NOTES, with the file and how much of it is
 * safe, before the server hears that it is done. No real disk is asked: what is not noted is taken away when the power is
 * cut.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int is_log(int fd) {
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, ".incr.aof") != NULL;
}

static int stub_sync(int fd) {
    const char *ms = getenv("WPCLONE_DISK_MS"), *notes = getenv("WPCLONE_DISK_NOTES");
    const char *hold = getenv("WPCLONE_DISK_HOLD");
    struct stat file;
    if (!is_log(fd)) return 0;
    if (ms == NULL || notes == NULL || hold == NULL || fstat(fd, &file) != 0) abort();
    long time = atol(ms);
    struct timespec pause = {time / 1000, time % 1000 * 1000000};
    nanosleep(&pause, NULL);
    const struct timespec moment = {0, 5000000};
    while (access(hold, F_OK) == 0) nanosleep(&moment, NULL);
    char note[64];
    int length = snprintf(note, sizeof note, "%lu %ld\n", (unsigned long)file.st_ino, (long)file.st_size);
    int book = open(notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (book < 0 || write(book, note, (size_t)length) != length) abort();
    close(book);
    return 0;
}

int fdatasync(int fd) { return stub_sync(fd); }
int fsync(int fd) { return stub_sync(fd); }
