/*
 * test_point.c
 *		Stopping at a place that a test has named; see test_point.h.
 *
 * Files in the data directory, which is every process's folder, hold all there
 * is to say, so that it outlives the process and the server:
 *
 *		capi_test_point		written by the test: the name of the place
 *		capi_test_stopped	the same file, renamed by the one process that stops
 *		capi_test_pid		who that is
 *		capi_test_looks		made by the test, has a byte for each look of the dispatcher
 *
 * It stays while capi_test_stopped is there.
 */
#include "postgres.h"

#ifdef CAPI_TEST_POINTS

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/pmsignal.h"

/* for ShutdownRequestPending */
#include "postmaster/interrupt.h"

#include "base/test_point.h"

#define WANTED_FILE		"capi_test_point"
#define STOPPED_FILE	"capi_test_stopped"
#define PID_FILE		"capi_test_pid"
#define LOOKS_FILE		"capi_test_looks"

#define LOOK_US			5000

static bool
is_wanted(const char *name)
{
	char		wanted[256];
	int			fd = open(WANTED_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t		len;

	if (fd < 0)
		return false;
	len = read(fd, wanted, sizeof(wanted) - 1);
	close(fd);
	if (len <= 0)
		return false;
	wanted[len] = '\0';
	return strcmp(wanted, name) == 0;
}

static void
write_pid(void)
{
	char		text[32];
	int			fd = open(PID_FILE ".new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int			len = snprintf(text, sizeof(text), "%d", MyProcPid);

	if (fd < 0 || write(fd, text, len) != len)
		_exit(3);
	close(fd);
	(void) rename(PID_FILE ".new", PID_FILE);
}

/* One that is asked to end does so where the server's rules let it. */
static void
stay(void)
{
	while (access(STOPPED_FILE, F_OK) == 0 && !ShutdownRequestPending)
	{
		if (!PostmasterIsAlive())
			_exit(2);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(LOOK_US);
	}
}

void
capi_test_point(const char *name)
{
	int			save_errno = errno;

	if (is_wanted(name) && rename(WANTED_FILE, STOPPED_FILE) == 0)
	{
		write_pid();
		stay();
	}
	errno = save_errno;
}

void
capi_test_point_of(const char *activity, const char *moment)
{
	char		name[256];

	if (strncmp(activity, "capi: ", 6) == 0)
		activity += 6;
	snprintf(name, sizeof(name), "%s: %s", activity, moment);
	capi_test_point(name);
}

void
capi_test_look(void)
{
	int			save_errno = errno;
	int			fd = open(LOOKS_FILE, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd >= 0 && write(fd, ".", 1) != 1)
		_exit(3);
	if (fd >= 0)
		close(fd);
	errno = save_errno;
}

#endif							/* CAPI_TEST_POINTS */
