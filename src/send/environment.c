/*
 * environment.c
 *		Takes away what the environment would tell the libraries that send.
 *
 * The server was started by somebody's script, and libcurl and OpenSSL obey
 * variables that nobody meant for us: SSLKEYLOGFILE writes the keys of every
 * connection to a file, SSL_CERT_FILE says whom to trust, *_proxy where to
 * connect to, OPENSSL_MODULES which code to load.  Settings of capi's say what
 * may be chosen (capi.ca_file).
 *
 * Called before libcurl is initialized, in the process that sends, for good:
 * the dispatcher, or a session that delivers or tests a dataset.  The server
 * itself, and so OpenSSL's configuration, which it has read when it started,
 * are not touched; see doc/security.md.
 */
#include "postgres.h"

#include "send/environment.h"

extern char **environ;

/* Names, and beginnings of names that end with a "*". */
static const char *const unwanted[] = {
	"CARES_*", "CTLOG_FILE", "CURL*", "GNUTLS_*", "HOSTALIASES",
	"LOCALDOMAIN", "NETRC", "NGHTTP2_*", "NSS_*", "NTLMUSER", "OPENSSL_*",
	"OSSL_*", "QLOGDIR", "RANDFILE", "RES_OPTIONS", "RESOLV_*", "SSLKEYLOGFILE",
	"SSL_CERT_*", "SSL_DIR",
};

static bool
ends_with_proxy(const char *name, size_t len)
{
	return len >= 6 && pg_strncasecmp(name + len - 6, "_proxy", 6) == 0;
}

static bool
is_unwanted(const char *name, size_t len)
{
	if (ends_with_proxy(name, len))
		return true;
	for (size_t i = 0; i < lengthof(unwanted); i++)
	{
		size_t		n = strlen(unwanted[i]);

		if (unwanted[i][n - 1] == '*' ?
			len >= n - 1 && strncmp(name, unwanted[i], n - 1) == 0 :
			len == n && strncmp(name, unwanted[i], n) == 0)
			return true;
	}
	return false;
}

void
capi_environment_clear(void)
{
	int			i = 0;

	while (environ != NULL && environ[i] != NULL)
	{
		size_t		len = strcspn(environ[i], "=");
		char	   *name;

		if (!is_unwanted(environ[i], len))
		{
			i++;
			continue;
		}
		/* the next one takes its place */
		name = pnstrdup(environ[i], len);
		if (unsetenv(name) != 0)
			i++;
		pfree(name);
	}
}
