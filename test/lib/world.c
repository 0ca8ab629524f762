/*
 * world.c
 *		Preloaded into a server by test/perl/CapiTest/World.pm: another clock, and
 *		disks that are full.
 *
 * The file named by CAPI_TEST_WORLD is mapped by each process.  Its first eight
 * bytes are seconds to be added to the clock; the text that follows is a list of
 * parts of paths, separated by spaces.  A file whose path has one of them does
 * not grow: whatever would write beyond its end gets ENOSPC, as on a full disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct World
{
	int64_t		clock_s;
	char		full[1016];
} World;

static const World *world;

static __attribute__((constructor)) void
open_world(void)
{
	const char *path = getenv("CAPI_TEST_WORLD");
	int			fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void	   *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(World), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		world = map;
}

#define REAL(name) \
	static __typeof__(&name) real = NULL; \
	if (real == NULL) \
		real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

/* ---------- the clock ---------- */

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	int			result;

	REAL(gettimeofday);
	result = real(tv, zone);
	if (world != NULL)
		tv->tv_sec += world->clock_s;
	return result;
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int			result;

	REAL(clock_gettime);
	result = real(clock, ts);
	if (world != NULL && clock == CLOCK_REALTIME)
		ts->tv_sec += world->clock_s;
	return result;
}

time_t
time(time_t *t)
{
	struct timeval tv;

	gettimeofday(&tv, NULL);
	if (t != NULL)
		*t = tv.tv_sec;
	return tv.tv_sec;
}

/* ---------- the disk ---------- */

static int
path_is_full(int fd)
{
	char		link[64];
	char		path[4096];
	char		full[sizeof(world->full)];
	char	   *rest = full;
	char	   *part;
	ssize_t		len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return 0;
	path[len] = '\0';
	memcpy(full, world->full, sizeof(full));
	full[sizeof(full) - 1] = '\0';
	while ((part = strsep(&rest, " ")) != NULL)
		if (part[0] != '\0' && strstr(path, part) != NULL)
			return 1;
	return 0;
}

static int
is_beyond(int fd, off_t end)
{
	struct stat st;

	return world != NULL && world->full[0] != '\0' && fstat(fd, &st) == 0 &&
		S_ISREG(st.st_mode) && end > st.st_size && path_is_full(fd);
}

static off_t
length(const struct iovec *iov, int n)
{
	off_t		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (off_t) iov[i].iov_len;
	return sum;
}

#define REFUSE(fd, end) \
	if (is_beyond(fd, end)) \
	{ \
		errno = ENOSPC; \
		return -1; \
	}

ssize_t
write(int fd, const void *buf, size_t n)
{
	REAL(write);
	REFUSE(fd, lseek(fd, 0, SEEK_CUR) + (off_t) n);
	return real(fd, buf, n);
}

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t at)
{
	REAL(pwrite);
	REFUSE(fd, at + (off_t) n);
	return real(fd, buf, n, at);
}

ssize_t
pwrite64(int fd, const void *buf, size_t n, off_t at)
{
	return pwrite(fd, buf, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
	REAL(pwritev);
	REFUSE(fd, at + length(iov, n));
	return real(fd, iov, n, at);
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int n, off_t at)
{
	return pwritev(fd, iov, n, at);
}

int
posix_fallocate(int fd, off_t at, off_t n)
{
	REAL(posix_fallocate);
	if (is_beyond(fd, at + n))
		return ENOSPC;
	return real(fd, at, n);
}

int
posix_fallocate64(int fd, off_t at, off_t n)
{
	return posix_fallocate(fd, at, n);
}
