/*
 * guc.c
 *		Every setting of capi, sorted by name; described in doc/settings.md in
 *		the same words.
 *
 * Defines and checks settings, acts on none: each module reads the variables
 * of guc.h when it needs them, so a reload takes effect with the next use.
 * All can be defined in any session, so the library also works when it was
 * not preloaded.  Called from init.c only.
 */
#include "postgres.h"

#include <limits.h>

#include "postmaster/interrupt.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "base/capi.h"
#include "base/guc.h"

#define MS_PER_S			1000
#define MS_PER_MIN			(60 * MS_PER_S)
#define MS_PER_HOUR			(60 * MS_PER_MIN)
#define MIN_PER_DAY			(24 * 60)
#define KB_PER_MB			1024

/* Settings, in the order of guc.h. */
char	   *capi_api_version = NULL;
char	   *capi_ca_file = NULL;
char	   *capi_databases = NULL;
char	   *capi_key_file = NULL;
char	   *capi_only_on = "";
bool		capi_allow_http = false;
bool		capi_enabled = true;
bool		capi_local_checks = true;
int			capi_connect_timeout = 10 * MS_PER_S;
int			capi_context_retention;
int			capi_context_size;
int			capi_linger = 200;
int			capi_max_in_flight = 4;
int			capi_missing_wait = 3 * MS_PER_MIN;
int			capi_poll_interval = 10 * MS_PER_S;
int			capi_query_timeout = 30 * MS_PER_S;
int			capi_reader_memory = 256 * KB_PER_MB;
int			capi_readers = 2;
int			capi_request_timeout = 60 * MS_PER_S;
int			capi_retention = 90 * MIN_PER_DAY;
int			capi_stats_interval = 3600;

static void define_strings(void);
static void define_switches(void);
static void define_numbers_to_m(void);
static void define_numbers_from_p(void);
static void define_retention(void);
static void define_stats(void);
static bool check_api_version(char **newval, void **extra, GucSource source);
static bool check_databases(char **newval, void **extra, GucSource source);
static bool check_only_on(char **newval, void **extra, GucSource source);

void
capi_guc_init(void)
{
	define_strings();
	define_switches();
	define_numbers_to_m();
	define_numbers_from_p();
	define_retention();
	define_stats();

	MarkGUCPrefixReserved("capi");
}

static void
define_strings(void)
{
	DefineCustomStringVariable("capi.api_version",
							   "Sets the version of Meta's API that requests are sent to.",
							   "A dataset may set its own.",
							   &capi_api_version,
							   "v25.0",
							   PGC_SUSET,
							   0,
							   check_api_version, NULL, NULL);

	DefineCustomStringVariable("capi.ca_file",
							   "Sets the file of certificate authorities that the endpoint's certificate is verified with.",
							   "Empty means the system's own.",
							   &capi_ca_file,
							   "",
							   PGC_SUSET,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomStringVariable("capi.databases",
							   "Lists the databases that get a dispatcher.",
							   "Names are separated by commas and quoted like identifiers.",
							   &capi_databases,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_databases, NULL, NULL);

	DefineCustomStringVariable("capi.key_file",
							   "Sets the file with the key that access tokens are encrypted with.",
							   NULL,
							   &capi_key_file,
							   "",
							   PGC_SUSET,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomStringVariable("capi.only_on",
							   "Lists the places where this configuration may send.",
							   "A place is the name of a host, a data directory, or both as host:directory. Empty means anywhere.",
							   &capi_only_on,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_only_on, NULL, NULL);
}

static void
define_switches(void)
{
	DefineCustomBoolVariable("capi.allow_http",
							 "Allows endpoints without TLS on the loopback interface.",
							 "Meant for tests; plain http to any other address is always refused.",
							 &capi_allow_http,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("capi.enabled",
							 "Sends events.",
							 "When off, orders are still captured and their events wait.",
							 &capi_enabled,
							 true,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("capi.local_checks",
							 "Keeps back events that Meta would refuse.",
							 "Off only to test the endpoint: one refused event holds up the others of its request.",
							 &capi_local_checks,
							 true,
							 PGC_SUSET,
							 GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
}

/* Sizes and times, of which there are too many for one function. */
static void
define_numbers_to_m(void)
{
	DefineCustomIntVariable("capi.connect_timeout",
							"Sets the longest time to wait for a connection to the endpoint.",
							NULL,
							&capi_connect_timeout,
							10 * MS_PER_S, 100, 10 * MS_PER_MIN,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.context_retention",
							"Sets how long a browser context is kept for an order that has no outcome.",
							"capi.set_context() writes it; it is deleted with the outcome of the order.",
							&capi_context_retention,
							7 * MIN_PER_DAY, 1, 62 * MIN_PER_DAY,
							PGC_SUSET,
							GUC_UNIT_MIN,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.context_size",
							"Sets how much disk space browser contexts of orders that have no outcome may take.",
							"From half of it on, the oldest that no event waits for are deleted; beyond it, new ones are not kept.",
							&capi_context_size,
							256 * KB_PER_MB, KB_PER_MB, MAX_KILOBYTES,
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.linger",
							"Sets the longest time an event waits for others to share its request.",
							NULL,
							&capi_linger,
							200, 0, 10 * MS_PER_MIN,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.max_in_flight",
							"Sets how many requests a dispatcher may have under way at once.",
							NULL,
							&capi_max_in_flight,
							4, 1, 32,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.missing_wait",
							"Sets how long after its capture an order is looked for that its query does not return.",
							"What a transaction writes last, or another connection of a distributed one commits, may come later; after that it is ignored.",
							&capi_missing_wait,
							3 * MS_PER_MIN, 0, MS_PER_HOUR,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

static void
define_numbers_from_p(void)
{
	DefineCustomIntVariable("capi.poll_interval",
							"Sets the longest time between two looks at the queue.",
							"New orders wake the dispatcher at once; this covers prepared transactions.",
							&capi_poll_interval,
							10 * MS_PER_S, 100, MS_PER_HOUR,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.query_timeout",
							"Sets the longest time one run of a source's query may take.",
							NULL,
							&capi_query_timeout,
							30 * MS_PER_S, 100, MS_PER_HOUR,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.reader_memory",
							"Sets the memory that a reader may use.",
							"A query that wants more fails with an ordinary error.  A reader that runs keeps what it had at its start.",
							&capi_reader_memory,
							256 * KB_PER_MB, 64 * KB_PER_MB, MAX_KILOBYTES,
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.readers",
							"Sets how many processes may run the queries of a database's sources at once.",
							"They start when there is work and end after a minute without; each takes one of max_worker_processes.",
							&capi_readers,
							2, 1, 32,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("capi.request_timeout",
							"Sets the longest time to wait for the answer to a request.",
							"After a timeout it is unknown whether the events arrived, so they are sent again.",
							&capi_request_timeout,
							60 * MS_PER_S, MS_PER_S, MS_PER_HOUR,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

/*
 * The lower bound keeps the promise of one event per order: what is no longer
 * remembered must be too old to be sent again.
 */
static void
define_retention(void)
{
	DefineCustomIntVariable("capi.retention",
							"Sets how long the outcome of an event is kept.",
							"At least 8 days: an order is remembered for as long as Meta would take it again, which is 7 days, or 62 where events may be sales of a physical store.",
							&capi_retention,
							90 * MIN_PER_DAY, 8 * MIN_PER_DAY, 3650 * MIN_PER_DAY,
							PGC_SUSET,
							GUC_UNIT_MIN,
							NULL, NULL, NULL);
}

static void
define_stats(void)
{
	DefineCustomIntVariable("capi.stats_interval",
							"Sets how often Meta is asked what it counted.",
							"Zero asks nothing: neither for counts, nor for match quality, nor for the end of the token.",
							&capi_stats_interval,
							3600, 0, 24 * 3600,
							PGC_SUSET,
							GUC_UNIT_S,
							NULL, NULL, NULL);
}

/* Accepts "v", digits, a dot, digits: the value becomes part of a URL. */
static bool
check_api_version(char **newval, void **extra, GucSource source)
{
	const char *s = *newval;
	size_t		major;
	size_t		minor;

	(void) extra;
	(void) source;

	major = (s[0] == 'v') ? strspn(s + 1, "0123456789") : 0;
	if (major > 0 && s[1 + major] == '.')
	{
		minor = strspn(s + 2 + major, "0123456789");
		if (minor > 0 && s[2 + major + minor] == '\0')
			return true;
	}

	GUC_check_errdetail("A version is the letter v and two numbers.");
	GUC_check_errhint("Write it like \"v25.0\".");
	return false;
}

/* Accepts an identifier list with no more names than there are slots. */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names = NIL;
	bool		ok = true;

	(void) extra;
	(void) source;

	if (!SplitIdentifierString(copy, ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		GUC_check_errhint("Separate names by commas, and put those with upper-case letters or spaces in double quotes.");
		ok = false;
	}
	else if (list_length(names) > CAPI_MAX_DATABASES)
	{
		GUC_check_errdetail("At most %d databases can be listed.",
							CAPI_MAX_DATABASES);
		ok = false;
	}

	list_free(names);
	pfree(copy);
	return ok;
}

/* Whether a place is this one is here.c's business. */
static bool
check_only_on(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *places = NIL;
	bool		ok;

	(void) extra;
	(void) source;

	ok = SplitGUCList(copy, ',', &places);
	if (!ok)
	{
		GUC_check_errdetail("List syntax is invalid.");
		GUC_check_errhint("Separate places by commas.");
	}
	list_free(places);
	pfree(copy);
	return ok;
}

bool
capi_guc_reload(void)
{
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}
