/* A file system that fails for one client: on rank FAIL_RANK no path that holds FAIL_NAME can be opened. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static int fails(const char *path)
{
    const char *name = getenv("FAIL_NAME"), *rank = getenv("FAIL_RANK"), *mine = getenv("OMPI_COMM_WORLD_RANK");
    if (!mine)
        mine = getenv("PMI_RANK");
    return name && rank && mine && strstr(path, name) && !strcmp(rank, mine);
}

#define OPENS(NAME)                                                        \
    int NAME(const char *path, int flags, ...)                             \
    {                                                                      \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #NAME);     \
        va_list more;                                                      \
        va_start(more, flags);                                             \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;          \
        va_end(more);                                                      \
        if (!(flags & O_CREAT) && fails(path)) {                           \
            errno = atoi(getenv("FAIL_ERRNO"));                            \
            return -1;                                                     \
        }                                                                  \
        return real(path, flags, mode);                                    \
    }

OPENS(open)
OPENS(open64)
