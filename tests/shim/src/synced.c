/* Records how much of each file was synced, and which names each directory had then, for tests
 * that play a power cut.
 *
 * Loaded before libc (LD_PRELOAD) into the program under test. For each file that it
 * syncs, the size it had when the sync began is kept in the file named by
 * STEPWELL_SYNCED, a table mapped into memory, so that it outlives a kill -9.
 * `sync_file_range` starts writing and promises nothing: it isn't recorded.
 *
 * For each directory that it syncs below those of STEPWELL_SYNCED_DIRS (between colons), the
 * entries that it had when the sync began are kept in STEPWELL_SYNCED_NAMES/KEY, where KEY tells
 * the directory: a file as a hard link, so that its bytes outlive its removal, and a directory as
 * a symbolic link to its own KEY.
 *
 * Refuses to guess: when it cannot keep its record, the program ends with status 86.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same numbers stand in lib.rs. */
#define SLOTS (1u << 16)

/* A free slot has the key 0. */
struct slot {
    _Atomic uint64_t key;
    _Atomic uint64_t size;
};

static struct slot *table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void give_up(const char *why, size_t length) {
    ssize_t ignored = write(2, why, length);
    (void)ignored;
    _exit(86);
}
#define GIVE_UP(why) give_up(why "\n", sizeof(why))

static void map_table(void) {
    const char *path = getenv("STEPWELL_SYNCED");
    if (!path)
        GIVE_UP("the sync recorder is loaded, but STEPWELL_SYNCED names no file");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        GIVE_UP("the sync recorder cannot open the file that STEPWELL_SYNCED names");
    void *at = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        GIVE_UP("the sync recorder cannot map its file");
    close(fd);
    table = at;
}

/* Inodes are used again: the time of birth tells the new file from the old. */
static uint64_t key_of(const struct statx *s) {
    uint64_t k = s->stx_ino * 0x9e3779b97f4a7c15u;
    k ^= (uint64_t)s->stx_btime.tv_sec * 0xbf58476d1ce4e5b9u;
    k ^= (uint64_t)s->stx_btime.tv_nsec * 0x94d049bb133111ebu;
    return k ? k : 1;
}

static void record(const struct statx *s) {
    uint64_t key = key_of(s);
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &table[(key + i) % SLOTS];
        uint64_t found = 0;
        /* On failure `found` is what is there. */
        if (__atomic_compare_exchange_n((uint64_t *)&slot->key, &found, key, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST) ||
            found == key) {
            slot->size = s->stx_size;
            return;
        }
    }
    GIVE_UP("the sync recorder's table is full");
}

static int look(int fd, const char *name, struct statx *s) {
    int flags = *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    unsigned wanted = STATX_TYPE | STATX_INO | STATX_SIZE | STATX_BTIME;
    if (syscall(SYS_statx, fd, name, flags, wanted, s) != 0)
        return 0;
    if (!(s->stx_mask & STATX_BTIME))
        GIVE_UP("the sync recorder needs a file system that keeps the time of birth");
    return 1;
}

/* Whether the directory is one whose names count. */
static int is_watched(int fd) {
    const char *dirs = getenv("STEPWELL_SYNCED_DIRS");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || !dirs)
        return 0;
    path[length] = 0;
    while (*dirs) {
        size_t n = strcspn(dirs, ":");
        if (n && strncmp(path, dirs, n) == 0 && (path[n] == 0 || path[n] == '/'))
            return 1;
        dirs += n + (dirs[n] == ':');
    }
    return 0;
}

static void empty(int at, const char *name) {
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    DIR *dir = fdopendir(fd);
    if (!dir)
        GIVE_UP("the sync recorder cannot read its directory");
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(fd, e->d_name, 0);
    closedir(dir);
    unlinkat(at, name, AT_REMOVEDIR);
}

/* One sync of a directory after the other, in all processes. */
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

/* What the directory has now, as `new` in the directory of names. */
static void copy_names(int names, int fd) {
    empty(names, "new");
    if (mkdirat(names, "new", 0700) != 0)
        GIVE_UP("the sync recorder cannot make a directory");
    int new = openat(names, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int there = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = there < 0 ? NULL : fdopendir(there);
    if (new < 0 || !dir)
        GIVE_UP("the sync recorder cannot read a directory that is synced");
    for (struct dirent *e; (e = readdir(dir));) {
        struct statx s;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        /* What has gone meanwhile is not synced either way. */
        if (!look(there, e->d_name, &s))
            continue;
        int done;
        if (S_ISDIR(s.stx_mode)) {
            char key[32];
            snprintf(key, sizeof key, "%016llx", (unsigned long long)key_of(&s));
            done = symlinkat(key, new, e->d_name);
        } else if (S_ISREG(s.stx_mode)) {
            done = linkat(there, e->d_name, new, e->d_name, 0);
        } else {
            continue;
        }
        if (done != 0 && errno != ENOENT)
            GIVE_UP("the sync recorder cannot link a name");
    }
    closedir(dir);
    close(new);
}

static int synced_directory(long call, int fd, const struct statx *s) {
    const char *path = getenv("STEPWELL_SYNCED_NAMES");
    if (!path || !is_watched(fd))
        return (int)syscall(call, fd);
    pthread_mutex_lock(&one);
    int names = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (names < 0 || flock(names, LOCK_EX) != 0)
        GIVE_UP("the sync recorder cannot open the directory that STEPWELL_SYNCED_NAMES names");
    copy_names(names, fd);
    int result = (int)syscall(call, fd);
    int saved = errno;
    if (result == 0) {
        char key[32];
        snprintf(key, sizeof key, "%016llx", (unsigned long long)key_of(s));
        /* At once, whenever the program is killed. */
        if (renameat2(names, "new", names, key, RENAME_EXCHANGE) == 0)
            empty(names, "new");
        else if (renameat(names, "new", names, key) != 0)
            GIVE_UP("the sync recorder cannot keep the names of a directory");
    }
    close(names);
    pthread_mutex_unlock(&one);
    errno = saved;
    return result;
}

static int synced(long call, int fd) {
    pthread_once(&once, map_table);
    struct statx s;
    /* Before the sync: what is appended meanwhile may not be in it. */
    int known = look(fd, "", &s);
    if (known && S_ISDIR(s.stx_mode))
        return synced_directory(call, fd, &s);
    int result = (int)syscall(call, fd);
    int saved = errno;
    if (result == 0 && known && S_ISREG(s.stx_mode))
        record(&s);
    errno = saved;
    return result;
}

int fsync(int fd) { return synced(SYS_fsync, fd); }

int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
