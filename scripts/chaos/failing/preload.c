/* Lists the file system calls of a process, or makes one fail. Loaded before the C library (LD_PRELOAD).

   CALLS_PLACES   name=path, separated by ":": calls on anything else are let through unseen
   CALLS_TRACE    a file: a line for each call, "rank kind place/path occurrence size", separated by tabs
   CALLS_FAIL     "rank kind place/path occurrence mode errno", separated by tabs: the call that fails
   CALLS_HIT      a file, made when it has failed

   A call is named by what it does and to what, and which of those it is in its process: threads change
   nothing in that. Modes: "once"; "stays": every one like it from then on; "full": from then on every call
   that needs space, of any rank; "own": likewise, of this rank alone; "short": half of the bytes are read or
   written, once.

   "full" and "own" last while CALLS_HIT is there: who makes that file fills the disk, and who removes it frees it. So
   does "slow": as long as it is there flushing a file in "run" takes as many milliseconds as the errno says.
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS, FAIL, HALF };
enum { KINDS = 1 << 14, NAME = PATH_MAX + 64 };

static struct { char *name; int count; } counted[KINDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char places[4 * PATH_MAX], fail_name[NAME], fail_mode[16], hit_path[PATH_MAX];
static int rank, fail_rank = -1, fail_at, fail_errno, trace_fd = -1;

/* A process without a launcher is rank 0. */
static int own_rank(void) {
    const char *names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK"};
    for (int i = 0; i < 2; i++)
        if (getenv(names[i])) return atoi(getenv(names[i]));
    return 0;
}

static void copy(char *out, size_t size, const char *text) { snprintf(out, size, "%s", text ? text : ""); }

/* Open a file to append to, by the system itself. */
static int appending(const char *path) {
    return syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void begin(void) {
    rank = own_rank();
    copy(places, sizeof places, getenv("CALLS_PLACES"));
    copy(hit_path, sizeof hit_path, getenv("CALLS_HIT"));
    if (getenv("CALLS_TRACE")) trace_fd = appending(getenv("CALLS_TRACE"));
    char kind[32], path[PATH_MAX];
    const char *fault = getenv("CALLS_FAIL"), *form = "%d\t%31[^\t]\t%4095[^\t]\t%d\t%15[^\t]\t%d";
    if (fault && sscanf(fault, form, &fail_rank, kind, path, &fail_at, fail_mode, &fail_errno) == 6)
        snprintf(fail_name, sizeof fail_name, "%s\t%s", kind, path);
}

/* Names that hold this process's number, or a random one, are the same in every run. */
static void without_numbers(char *path) {
    char own[32], *at;
    snprintf(own, sizeof own, "-%d", getpid());
    if ((at = strstr(path, own)) && !at[strlen(own)]) strcpy(at, "-#");
    if ((at = strstr(path, ".tmp."))) strcpy(at, ".tmp.#");
}

/* Put "place/rest" of an absolute path into `out`; return whether it lies in a place. */
static int placed(const char *path, char *out) {
    char all[sizeof places], *rest = all;
    copy(all, sizeof all, places);
    for (char *one; (one = strsep(&rest, ":"));) {
        char *root = strchr(one, '=');
        if (!root) continue;
        *root++ = 0;
        size_t size = strlen(root);
        if (strncmp(path, root, size) || (path[size] && path[size] != '/')) continue;
        snprintf(out, NAME, "%s%s", one, path + size);
        without_numbers(out);
        return 1;
    }
    return 0;
}

static int place_of_fd(int fd, char *out) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (size <= 0 || *path != '/') return 0;
    path[size] = 0;
    return placed(path, out);
}

static int place_of(int directory, const char *path, char *out) {
    if (!path) return 0;
    if (*path == '/') return placed(path, out);
    char whole[2 * PATH_MAX];
    ssize_t size;
    if (directory == AT_FDCWD) {
        if (!getcwd(whole, PATH_MAX)) return 0;
        size = strlen(whole);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        size = syscall(SYS_readlinkat, AT_FDCWD, link, whole, PATH_MAX - 1);
    }
    if (size <= 0) return 0;
    snprintf(whole + size, sizeof whole - size, "/%s", path);
    return placed(whole, out);
}

/* Count a call; return which of its name it is, from 1. */
static int count(const char *name) {
    unsigned hash = 5381;
    for (const char *c = name; *c; c++) hash = hash * 33 + (unsigned char)*c;
    pthread_mutex_lock(&lock);
    int i = hash % KINDS, free_left = KINDS;
    while (counted[i].name && strcmp(counted[i].name, name) && --free_left) i = (i + 1) % KINDS;
    if (!counted[i].name) counted[i].name = strdup(name);
    int found = ++counted[i].count;
    pthread_mutex_unlock(&lock);
    return found;
}

static int needs_space(const char *kind) {
    return !strcmp(kind, "write") || !strcmp(kind, "create") || !strcmp(kind, "mkdir");
}

static void say(int fd, const char *name, int occurrence, long size) {
    char line[NAME + 64];
    int length = snprintf(line, sizeof line, "%d\t%s\t%d\t%ld\n", rank, name, occurrence, size);
    syscall(SYS_write, fd, line, length);
}

static void mark_hit(const char *name, int occurrence, long size) {
    int fd = appending(hit_path);
    if (fd < 0) return;
    say(fd, name, occurrence, size);
    syscall(SYS_close, fd);
}

static int is_hit(void) { return syscall(SYS_faccessat, AT_FDCWD, hit_path, F_OK) == 0; }

/* Let flushing what lies in the run directory take its time, while the disk is slow. */
static int wait_if_slow(const char *kind, const char *where) {
    if (!strcmp(kind, "fsync") && !strncmp(where, "run", 3) && is_hit()) usleep(1000 * fail_errno);
    return PASS;
}

/* Count a call on what lies in a place, and say what becomes of it; errno is set if it fails. */
static int judge(const char *kind, const char *where, long size) {
    char name[NAME];
    snprintf(name, sizeof name, "%s\t%s", kind, where);
    int occurrence = count(name);
    if (trace_fd >= 0) say(trace_fd, name, occurrence, size);
    if (fail_rank < 0) return PASS;
    if (!strcmp(fail_mode, "slow")) return wait_if_slow(kind, where);
    int this = rank == fail_rank && !strcmp(name, fail_name);
    int fails = this && (occurrence == fail_at || (occurrence > fail_at && !strcmp(fail_mode, "stays")));
    int full = !strcmp(fail_mode, "full") || (!strcmp(fail_mode, "own") && rank == fail_rank);
    if (!fails && full && needs_space(kind) && !strncmp(where, "run", 3))
        fails = is_hit();
    if (!fails) return PASS;
    if (this) mark_hit(name, occurrence, size);
    if (!strcmp(fail_mode, "short")) return HALF;
    errno = fail_errno;
    return FAIL;
}

static int judge_path(const char *kind, int directory, const char *path) {
    char where[NAME];
    int kept = errno, what = place_of(directory, path, where) ? judge(kind, where, 0) : PASS;
    if (what != FAIL) errno = kept;
    return what;
}

static int judge_fd(const char *kind, int fd, long size) {
    char where[NAME];
    int kept = errno, what = place_of_fd(fd, where) ? judge(kind, where, size) : PASS;
    if (what != FAIL) errno = kept;
    return what;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MAKES(flags) ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE)
#define MODE(flags) mode_t mode = 0; if (MAKES(flags)) { \
    va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define OPENING(flags) ((flags) & O_CREAT ? "create" : (flags) & O_DIRECTORY ? "opendir" : "open")

#define OPEN(name) int name(const char *path, int flags, ...) { REAL(name); MODE(flags) \
    return judge_path(OPENING(flags), AT_FDCWD, path) == FAIL ? -1 : real(path, flags, mode); }
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { REAL(name); MODE(flags) \
    return judge_path(OPENING(flags), at, path) == FAIL ? -1 : real(at, path, flags, mode); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

#define BYTES(name, kind, ...) { REAL(name); int what = judge_fd(kind, fd, size); \
    return what == FAIL ? -1 : real(fd, data, what == HALF && size > 1 ? size / 2 : size __VA_ARGS__); }
ssize_t read(int fd, void *data, size_t size) BYTES(read, "read")
ssize_t pread(int fd, void *data, size_t size, off_t at) BYTES(pread, "read", , at)
ssize_t pread64(int fd, void *data, size_t size, off64_t at) BYTES(pread64, "read", , at)
ssize_t write(int fd, const void *data, size_t size) BYTES(write, "write")
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) BYTES(pwrite, "write", , at)
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) BYTES(pwrite64, "write", , at)

/* Of half a call with several buffers the first is moved, by half. */
#define BUFFERS(name, kind, types, ...) ssize_t name types { REAL(name); struct iovec half = *data; \
    int what = judge_fd(kind, fd, data->iov_len), size = what == HALF ? 1 : count; half.iov_len /= 2; \
    const struct iovec *moved = what == HALF && half.iov_len ? &half : data; \
    return what == FAIL ? -1 : real(fd, moved, size __VA_ARGS__); }
BUFFERS(writev, "write", (int fd, const struct iovec *data, int count))
BUFFERS(readv, "read", (int fd, const struct iovec *data, int count))
BUFFERS(preadv, "read", (int fd, const struct iovec *data, int count, off_t at), , at)
BUFFERS(preadv64, "read", (int fd, const struct iovec *data, int count, off64_t at), , at)
BUFFERS(preadv2, "read", (int fd, const struct iovec *data, int count, off_t at, int how), , at, how)
BUFFERS(preadv64v2, "read", (int fd, const struct iovec *data, int count, off64_t at, int how), , at, how)
BUFFERS(pwritev, "write", (int fd, const struct iovec *data, int count, off_t at), , at)
BUFFERS(pwritev64, "write", (int fd, const struct iovec *data, int count, off64_t at), , at)

#define ON_FD(name, kind, types, ...) int name types { REAL(name); \
    return judge_fd(kind, fd, 0) == FAIL ? -1 : real(__VA_ARGS__); }
#define ON_PATH(name, kind, at, types, ...) int name types { REAL(name); \
    return judge_path(kind, at, path) == FAIL ? -1 : real(__VA_ARGS__); }
ON_FD(fsync, "fsync", (int fd), fd)
ON_FD(fdatasync, "fsync", (int fd), fd)
ON_FD(ftruncate, "truncate", (int fd, off_t size), fd, size)
ON_FD(ftruncate64, "truncate", (int fd, off64_t size), fd, size)
ON_FD(flock, "lock", (int fd, int operation), fd, operation)
ON_FD(fstat, "stat", (int fd, struct stat *out), fd, out)
ON_FD(fstat64, "stat", (int fd, struct stat64 *out), fd, out)
ON_PATH(stat, "stat", AT_FDCWD, (const char *path, struct stat *out), path, out)
ON_PATH(stat64, "stat", AT_FDCWD, (const char *path, struct stat64 *out), path, out)
ON_PATH(lstat, "stat", AT_FDCWD, (const char *path, struct stat *out), path, out)
ON_PATH(lstat64, "stat", AT_FDCWD, (const char *path, struct stat64 *out), path, out)
ON_PATH(fstatat, "stat", at, (int at, const char *path, struct stat *out, int flags), at, path, out, flags)
ON_PATH(fstatat64, "stat", at, (int at, const char *path, struct stat64 *out, int flags),
        at, path, out, flags)
ON_PATH(access, "access", AT_FDCWD, (const char *path, int how), path, how)
ON_PATH(mkdir, "mkdir", AT_FDCWD, (const char *path, mode_t mode), path, mode)
ON_PATH(mkdirat, "mkdir", at, (int at, const char *path, mode_t mode), at, path, mode)
ON_PATH(rmdir, "rmdir", AT_FDCWD, (const char *path), path)
ON_PATH(unlink, "unlink", AT_FDCWD, (const char *path), path)
ON_PATH(unlinkat, flags & AT_REMOVEDIR ? "rmdir" : "unlink", at,
        (int at, const char *path, int flags), at, path, flags)
ON_PATH(rename, "rename", AT_FDCWD, (const char *path, const char *to), path, to)
ON_PATH(renameat, "rename", at, (int at, const char *path, int to_at, const char *to), at, path, to_at, to)
ON_PATH(link, "link", AT_FDCWD, (const char *path, const char *to), path, to)
ON_PATH(linkat, "link", at, (int at, const char *path, int to_at, const char *to, int flags),
        at, path, to_at, to, flags)
ON_PATH(utimensat, "touch", at, (int at, const char *path, const struct timespec times[2], int flags),
        at, path, times, flags)

/* As libraries call them that were built with a C library before 2.33. */
int __fxstat64(int version, int fd, struct stat64 *out) {
    static int (*real)(int, int, struct stat64 *);
    if (!real) real = dlsym(RTLD_NEXT, "__fxstat64");
    return judge_fd("stat", fd, 0) == FAIL ? -1 : real(version, fd, out);
}
#define XSTAT(name) int name(int version, const char *path, struct stat64 *out) { \
    static int (*real)(int, const char *, struct stat64 *); if (!real) real = dlsym(RTLD_NEXT, #name); \
    return judge_path("stat", AT_FDCWD, path) == FAIL ? -1 : real(version, path, out); }
XSTAT(__xstat64) XSTAT(__lxstat64)

DIR *opendir(const char *path) {
    REAL(opendir);
    return judge_path("list", AT_FDCWD, path) == FAIL ? NULL : real(path);
}

DIR *fdopendir(int fd) {
    REAL(fdopendir);
    return judge_fd("list", fd, 0) == FAIL ? NULL : real(fd);
}

/* The descriptor is gone, whatever the call returns; its error is that of an earlier write. */
int close(int fd) {
    REAL(close);
    int what = judge_fd("close", fd, 0), kept = errno, result = real(fd);
    if (what == FAIL) errno = kept;
    return what == FAIL ? -1 : result;
}
