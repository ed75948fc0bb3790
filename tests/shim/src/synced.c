/* Records how much of each file was synced, for tests that play a power cut.
 *
 * Loaded before libc (LD_PRELOAD) into the program under test. For each file that it
 * syncs, the size it had when the sync began is kept in the file named by
 * STEPWELL_SYNCED, a table mapped into memory, so that it outlives a kill -9.
 * `sync_file_range` starts writing and promises nothing: it isn't recorded.
 *
 * Refuses to guess: when it cannot keep its record, the program ends with status 86.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
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

static int synced(long call, int fd) {
    pthread_once(&once, map_table);
    struct statx s;
    /* Before the sync: what is appended meanwhile may not be in it. */
    int known = syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO | STATX_SIZE | STATX_BTIME, &s) == 0;
    if (known && !(s.stx_mask & STATX_BTIME))
        GIVE_UP("the sync recorder needs a file system that keeps the time of birth");
    int result = (int)syscall(call, fd);
    int saved = errno;
    if (result == 0 && known && S_ISREG(s.stx_mode))
        record(&s);
    errno = saved;
    return result;
}

int fsync(int fd) { return synced(SYS_fsync, fd); }

int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
