/*
 * here.c
 *		Is this server one of those that may send?
 *
 * A physical copy, be it a base backup or the snapshot of a disk, has the same
 * system identifier, the same tables and the same postgresql.conf as the server
 * it was made of, and so has a standby that is promoted, which shall send.  What
 * differs is outside of the files: the machine, the folder, and the environment
 * that whoever starts the server gives it.  So capi.only_on lists the places
 * where this configuration may send, and everywhere else it is silent.
 *
 * A place is the name of a host ("db1", "db1.shop.example"), a data directory
 * ("/srv/pg"), or both ("db1:/srv/pg").  Where hosts of production and staging
 * have the same name, as containers do, the environment variable CAPI_PLACE of
 * the server takes the place of the host's name.
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "miscadmin.h"
#include "port.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "base/guc.h"
#include "base/here.h"

#define HOST_BYTES	256

static void
read_host(char *host)
{
	const char *place = getenv("CAPI_PLACE");

	if (place != NULL && place[0] != '\0')
		strlcpy(host, place, HOST_BYTES);
	else if (gethostname(host, HOST_BYTES) != 0)
		strlcpy(host, "", HOST_BYTES);
	host[HOST_BYTES - 1] = '\0';
}

/* "db1" is also db1.shop.example. */
static bool
is_this_host(const char *name, size_t len)
{
	char		host[HOST_BYTES];
	size_t		label;

	read_host(host);
	label = strcspn(host, ".");
	return (len == strlen(host) || len == label) && len > 0 &&
		pg_strncasecmp(name, host, len) == 0;
}

static bool
is_this_directory(const char *path)
{
	char		wanted[PATH_MAX];
	char		present[PATH_MAX];

	return realpath(path, wanted) != NULL && realpath(DataDir, present) != NULL &&
		strcmp(wanted, present) == 0;
}

static bool
is_here(const char *place)
{
	const char *path = strchr(place, '/');
	size_t		len = path == NULL ? strlen(place) : (size_t) (path - place);

	if (path != NULL && len > 0 && path[-1] == ':')
		len--;
	return (path == NULL || is_this_directory(path)) &&
		(path == place || is_this_host(place, len));
}

/* A list that cannot be read, which check_only_on() keeps away, names no place. */
static bool
is_listed(const char *places)
{
	char	   *copy = pstrdup(places);
	List	   *list = NIL;
	ListCell   *lc;
	bool		found = false;

	if (SplitGUCList(copy, ',', &list))
		foreach(lc, list)
			found |= is_here(lfirst(lc));
	list_free(list);
	pfree(copy);
	return found;
}

/* Asked in each turn of the dispatcher, answered anew when the setting changes. */
bool
capi_is_elsewhere(void)
{
	static char *judged = NULL;
	static bool elsewhere = false;

	if (capi_only_on[0] == '\0')
		return false;
	if (judged == NULL || strcmp(judged, capi_only_on) != 0)
	{
		if (judged != NULL)
			pfree(judged);
		judged = NULL;
		elsewhere = !is_listed(capi_only_on);
		judged = MemoryContextStrdup(TopMemoryContext, capi_only_on);
	}
	return elsewhere;
}

/* The directory only if the setting is about directories. */
char *
capi_place_name(void)
{
	char		host[HOST_BYTES];

	read_host(host);
	return strchr(capi_only_on, '/') == NULL ? pstrdup(host) :
		psprintf("%s:%s", host, DataDir);
}
