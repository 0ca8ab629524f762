/*
 * secret.h
 *		Tokens and app secrets at rest.  See secret.c.
 */
#ifndef CAPI_SECRET_H
#define CAPI_SECRET_H

/* Longest secret taken from SQL or from a file. */
#define CAPI_MAX_SECRET_BYTES	4096

/* What is said of a token that is not sent, for its giver did not mean this. */
#define CAPI_TOKEN_OF_ANOTHER_ENDPOINT \
	"the access token was given for another endpoint; it must be given again"

/*
 * Opens what capi._seal() made.  Returns a palloc'ed string, which the caller
 * wipes, or NULL with a static reason in *problem.  Never raises for bad keys
 * or files.
 */
extern char *capi_secret_open(bool encrypted, bytea *value,
							  const char **problem);

/* Reads a token file, trimmed; likewise.  NULL with a static reason in *problem. */
extern char *capi_secret_read_file(const char *path, const char **problem);

/* Lower-case hex HMAC-SHA256 of token keyed with app_secret (SPEC 1.2). */
extern char *capi_secret_proof(const char *token, const char *app_secret);

#endif							/* CAPI_SECRET_H */
