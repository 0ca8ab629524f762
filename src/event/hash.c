/*
 * hash.c
 *		SHA-256 through OpenSSL (hash.h).
 *
 * The digest is fetched once and one context reused for the life of the
 * process: fetching and allocating cost more than hashing an e-mail address.
 * Does not normalise, and never sees which field it hashes.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "event/hash.h"

#define SHA256_BYTES	32

static EVP_MD *digest = NULL;	/* SHA-256, fetched at first use */
static EVP_MD_CTX *context = NULL;	/* reused by every call */
static char byte_hex[256][2];	/* both digits of each byte */

/* Value of a hexadecimal digit of either case, or -1. */
static inline int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* ".AQ" or ".AQQCAQMC": two or eight characters of base64url. */
static bool
is_appendix(const char *text, int len)
{
	if (text[0] != '.' || (len != 3 && len != 9))
		return false;
	for (int i = 1; i < len; i++)
	{
		char		c = text[i];

		if (!(hex_value(c) >= 0 || (c >= 'g' && c <= 'z') ||
			  (c >= 'G' && c <= 'Z') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

bool
capi_hash_recognise(const char *text, int len, char *hex)
{
	if (len < CAPI_HASH_HEX_LEN)
		return false;
	if (len > CAPI_HASH_HEX_LEN &&
		!is_appendix(text + CAPI_HASH_HEX_LEN, len - CAPI_HASH_HEX_LEN))
		return false;
	for (int i = 0; i < CAPI_HASH_HEX_LEN; i++)
	{
		int			v = hex_value(text[i]);

		if (v < 0)
			return false;
		hex[i] = "0123456789abcdef"[v];
	}
	return true;
}

static void
prepare_digest(void)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 256; i++)
	{
		byte_hex[i][0] = digits[i >> 4];
		byte_hex[i][1] = digits[i & 15];
	}
	if (digest == NULL)
		digest = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (digest != NULL && context == NULL)
		context = EVP_MD_CTX_new();
	if (context == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not prepare SHA-256"),
				 errdetail("OpenSSL does not provide the digest."),
				 errhint("Check the OpenSSL configuration of the server.")));
}

static void
hash(const char *text, int len, char *hex)
{
	unsigned char md[SHA256_BYTES];

	if (context == NULL)
		prepare_digest();
	if (EVP_DigestInit_ex2(context, digest, NULL) != 1 ||
		EVP_DigestUpdate(context, text, len) != 1 ||
		EVP_DigestFinal_ex(context, md, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not compute SHA-256"),
				 errdetail("OpenSSL reported a failure."),
				 errhint("Check the OpenSSL configuration of the server.")));
	for (int i = 0; i < SHA256_BYTES; i++)
		memcpy(hex + 2 * i, byte_hex[md[i]], 2);
}

/*
 * Two letters are a country or a state: nobody's secret, in nearly every
 * order, and few, so what they hash to is kept.
 */
static void
hash_code(const char *text, char *hex)
{
	static char known[26 * 26][CAPI_HASH_HEX_LEN];
	char	   *at = known[(text[0] - 'a') * 26 + (text[1] - 'a')];

	if (at[0] == '\0')
		hash(text, 2, at);
	memcpy(hex, at, CAPI_HASH_HEX_LEN);
}

static inline bool
is_letter(char c)
{
	return c >= 'a' && c <= 'z';
}

void
capi_hash_hex(const char *text, int len, char *hex)
{
	Assert(len > 0);
	if (len == 2 && is_letter(text[0]) && is_letter(text[1]))
		hash_code(text, hex);
	else
		hash(text, len, hex);
}
