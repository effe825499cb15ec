/* Preloaded by storage.py: calls on files below SLOW_BELOW take SLOW_MICROSECONDS longer, as over a network.
 *
 * Calls are those that ask a server: opening, reading, asking for a state, renaming. Closing and asking for the state
 * of an open file take no longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIPTORS = 1 << 16 };
static atomic_char below_root[DESCRIPTORS];
static const char *root;
static struct timespec delay;

__attribute__((constructor)) static void prepare(void) {
    const char *microseconds = getenv("SLOW_MICROSECONDS");
    long number = microseconds ? atol(microseconds) : 0;
    root = getenv("SLOW_BELOW");
    delay = (struct timespec){number / 1000000, number % 1000000 * 1000};
}

static int is_below(int folder, const char *path) {
    if (path && path[0] == '/') return root && strncmp(path, root, strlen(root)) == 0;
    return folder >= 0 && folder < DESCRIPTORS && below_root[folder];
}

static void hold_up(int applies) {
    if (applies && (delay.tv_sec || delay.tv_nsec)) nanosleep(&delay, NULL);
}

static int remember(int descriptor, int applies) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS) below_root[descriptor] = (char)applies;
    return descriptor;
}

#define NEXT(result, name, ...)                 \
    static result (*next)(__VA_ARGS__);         \
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name)

#define MODE                                    \
    mode_t mode = 0;                            \
    if (flags & (O_CREAT | O_TMPFILE)) {        \
        va_list rest;                           \
        va_start(rest, flags);                  \
        mode = va_arg(rest, mode_t);            \
        va_end(rest);                           \
    }

#define OPEN(name)                                               \
    int name(const char *path, int flags, ...) {                 \
        NEXT(int, name, const char *, int, ...);                 \
        MODE int applies = is_below(-1, path);                   \
        hold_up(applies);                                        \
        return remember(next(path, flags, mode), applies);       \
    }
#define OPEN_AT(name)                                              \
    int name(int folder, const char *path, int flags, ...) {       \
        NEXT(int, name, int, const char *, int, ...);              \
        MODE int applies = is_below(folder, path);                 \
        hold_up(applies);                                          \
        return remember(next(folder, path, flags, mode), applies); \
    }
#define READ_AT(name)                                                      \
    ssize_t name(int descriptor, void *bytes, size_t size, off_t offset) { \
        NEXT(ssize_t, name, int, void *, size_t, off_t);                   \
        hold_up(is_below(descriptor, NULL));                               \
        return next(descriptor, bytes, size, offset);                      \
    }
#define STATE(name, kind)                                      \
    int name(const char *path, kind *state) {     \
        NEXT(int, name, const char *, kind *);    \
        hold_up(is_below(-1, path));                     \
        return next(path, state);                        \
    }
#define STATE_AT(name, kind)                                                          \
    int name(int folder, const char *path, kind *state, int flags) {     \
        NEXT(int, name, int, const char *, kind *, int);                 \
        hold_up(path[0] && is_below(folder, path));                              \
        return next(folder, path, state, flags);                                \
    }

OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)
READ_AT(pread)
READ_AT(pread64)
STATE(stat, struct stat)
STATE(stat64, struct stat64)
STATE(lstat, struct stat)
STATE(lstat64, struct stat64)
STATE_AT(fstatat, struct stat)
STATE_AT(fstatat64, struct stat64)

/* Libraries built for older systems ask for a state by these names. */
#define OLD_STATE(name, kind)                                  \
    int name(int version, const char *path, kind *state) {     \
        NEXT(int, name, int, const char *, kind *);            \
        hold_up(is_below(-1, path));                           \
        return next(version, path, state);                     \
    }
OLD_STATE(__xstat, struct stat)
OLD_STATE(__xstat64, struct stat64)
OLD_STATE(__lxstat, struct stat)
OLD_STATE(__lxstat64, struct stat64)

ssize_t read(int descriptor, void *bytes, size_t size) {
    NEXT(ssize_t, read, int, void *, size_t);
    hold_up(is_below(descriptor, NULL));
    return next(descriptor, bytes, size);
}

int rename(const char *before, const char *after) {
    NEXT(int, rename, const char *, const char *);
    hold_up(is_below(-1, before) || is_below(-1, after));
    return next(before, after);
}

int close(int descriptor) {
    NEXT(int, close, int);
    remember(descriptor, 0);
    return next(descriptor);
}
