/*
 * secret.c
 *		Seals and opens tokens (AES-256-GCM), reads token files, makes the
 *		appsecret_proof.  Called by the dataset functions and by config.c.
 *
 * The key is the SHA-256 of the content of the file capi.key_file, which must
 * hold at least 32 bytes.  A sealed value is a version byte, a 12 byte nonce, a
 * 16 byte tag and the cipher text.  Without a key file a secret is stored as it
 * is, with a WARNING; the table has no grants and such rows are not dumped.
 *
 * No message of this file contains a secret or a part of one (P8).
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "executor/spi.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/capi.h"
#include "base/guc.h"
#include "store/config.h"
#include "store/secret.h"

/* The oldest release the project is tried with. */
#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "capi requires OpenSSL 3 or newer"
#endif

#define SEAL_VERSION	1
#define NONCE_BYTES		12
#define TAG_BYTES		16
#define KEY_BYTES		32
#define SEAL_OVERHEAD	(1 + NONCE_BYTES + TAG_BYTES)

PG_FUNCTION_INFO_V1(capi_sql_seal);
PG_FUNCTION_INFO_V1(capi_sql_token_state);

static bool read_key(unsigned char key[KEY_BYTES], const char **problem);
static bytea *seal(const char *secret, const unsigned char key[KEY_BYTES]);

/*
 * capi._seal(secret text, OUT encrypted boolean, OUT value bytea)
 * Raises 58P01 when a key file is set but cannot be used: storing the secret in
 * clear would not be what the administrator asked for.
 */
Datum
capi_sql_seal(PG_FUNCTION_ARGS)
{
	char	   *secret = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TupleDesc	tupdesc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	bool		encrypt = capi_key_file != NULL && capi_key_file[0] != '\0';

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (encrypt)
	{
		unsigned char key[KEY_BYTES];
		const char *problem;

		if (!read_key(key, &problem))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FILE),
					 errmsg("could not use the file named by capi.key_file"),
					 errdetail("The key file %s.", problem),
					 errhint("It must be readable by the server and hold at least %d bytes.", KEY_BYTES)));
		values[1] = PointerGetDatum(seal(secret, key));
		explicit_bzero(key, sizeof(key));
	}
	else
	{
		ereport(WARNING,
				(errmsg("the secret is stored unencrypted"),
				 errdetail("capi.key_file is not set. Only the owner of the extension can read the secret, and pg_dump leaves it out."),
				 errhint("Set capi.key_file and set the secret again, or use access_token_file."),
				 errhidestmt(true), errhidecontext(true)));
		values[1] = PointerGetDatum(cstring_to_text(secret));
	}
	explicit_bzero(secret, strlen(secret));
	values[0] = BoolGetDatum(encrypt);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
													  values, nulls)));
}

/*
 * The token of dataset $1, where it is, and whether it was given for elsewhere.
 * No expression over a whole row: the copy that makes would stay in memory (P8).
 */
static const char *
token_query(void)
{
	/* 0.1.0 has no such column */
	if (get_attnum(capi_config_table("secret"), "endpoint") == InvalidAttrNumber)
		return "SELECT d.token_file, s.encrypted, s.value, false"
			" FROM capi.dataset d LEFT JOIN capi.secret s"
			" ON s.dataset_id = d.id AND s.kind = 'access_token'"
			" WHERE d.id = $1";
	return "SELECT d.token_file, s.encrypted, s.value, s.endpoint <> d.endpoint"
		" FROM capi.dataset d LEFT JOIN capi.secret s"
		" ON s.dataset_id = d.id AND s.kind = 'access_token'"
		" WHERE d.id = $1";
}

/*
 * capi._token_state(dataset int): null when the dataset has a token that can be
 * read now, else why not.
 */
Datum
capi_sql_token_state(PG_FUNCTION_ARGS)
{
	Oid			argtypes[1] = {INT4OID};
	Datum		args[1] = {PG_GETARG_DATUM(0)};
	const char *problem = NULL;
	MemoryContext caller = CurrentMemoryContext;
	bool		isnull;
	text	   *result = NULL;

	SPI_connect();
	if (SPI_execute_with_args(token_query(), 1, argtypes, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the dataset");
	if (SPI_processed == 1)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *file = SPI_getvalue(row, desc, 1);
		Datum		value = SPI_getbinval(row, desc, 3, &isnull);
		char	   *token = NULL;

		if (file != NULL)
			token = capi_secret_read_file(file, &problem);
		else if (isnull)
			problem = "no access token is set";
		else if (DatumGetBool(SPI_getbinval(row, desc, 4, &isnull)) && !isnull)
			problem = CAPI_TOKEN_OF_ANOTHER_ENDPOINT;
		else
			token = capi_secret_open(DatumGetBool(SPI_getbinval(row, desc, 2, &isnull)),
									 DatumGetByteaPP(value), &problem);
		if (token != NULL)
			explicit_bzero(token, strlen(token));
		explicit_bzero(row->t_data, row->t_len);
	}
	if (problem != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		result = cstring_to_text(problem);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

char *
capi_secret_open(bool encrypted, bytea *value, const char **problem)
{
	const unsigned char *data = (unsigned char *) VARDATA_ANY(value);
	int			len = VARSIZE_ANY_EXHDR(value);
	unsigned char key[KEY_BYTES];
	EVP_CIPHER_CTX *ctx;
	char	   *secret = NULL;
	int			n;

	*problem = NULL;
	if (!encrypted)
		return pnstrdup((const char *) data, len);
	if (!read_key(key, problem))
	{
		*problem = "the token is encrypted and capi.key_file cannot be read";
		return NULL;
	}
	ctx = EVP_CIPHER_CTX_new();
	if (ctx != NULL && len > SEAL_OVERHEAD && data[0] == SEAL_VERSION &&
		len <= SEAL_OVERHEAD + CAPI_MAX_SECRET_BYTES)
	{
		int			cipher_len = len - SEAL_OVERHEAD;

		secret = palloc0(cipher_len + 1);
		if (EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, data + 1) != 1 ||
			EVP_DecryptUpdate(ctx, (unsigned char *) secret, &n,
							  data + SEAL_OVERHEAD, cipher_len) != 1 ||
			EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES,
								unconstify(unsigned char *, data + 1 + NONCE_BYTES)) != 1 ||
			EVP_DecryptFinal_ex(ctx, (unsigned char *) secret + n, &n) != 1)
		{
			explicit_bzero(secret, cipher_len);
			secret = NULL;
		}
	}
	EVP_CIPHER_CTX_free(ctx);
	explicit_bzero(key, sizeof(key));
	if (secret == NULL)
		*problem = "the token was encrypted with another key than capi.key_file holds";
	return secret;
}

/*
 * Content of a file that holds a token or a key, without white space at its
 * end, to be wiped; NULL, with errno, when it cannot be read.  *len exceeds
 * CAPI_MAX_SECRET_BYTES when the file does.  No stream reads it: its buffer
 * would keep a copy.
 */
static char *
read_secret_file(const char *path, size_t *len)
{
	struct stat st;
	int			fd;
	char	   *buf;
	ssize_t		got;

	/* opening a pipe would wait for somebody to write to it */
	if (stat(path, &st) != 0)
		return NULL;
	if (!S_ISREG(st.st_mode))
	{
		errno = EINVAL;
		return NULL;
	}
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return NULL;
	buf = palloc0(CAPI_MAX_SECRET_BYTES + 2);
	*len = 0;
	do
	{
		got = read(fd, buf + *len, CAPI_MAX_SECRET_BYTES + 1 - *len);
		if (got > 0)
			*len += got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	CloseTransientFile(fd);
	while (*len > 0 && isspace((unsigned char) buf[*len - 1]))
		buf[--*len] = '\0';
	return buf;
}

char *
capi_secret_read_file(const char *path, const char **problem)
{
	size_t		len = 0;
	char	   *buf = read_secret_file(path, &len);

	if (buf == NULL)
	{
		*problem = errno == ENOENT ? "the token file does not exist" :
			errno == EACCES ? "the token file may not be read by the server's user" :
			"the token file cannot be read";
		return NULL;
	}
	*problem = NULL;
	if (len > CAPI_MAX_SECRET_BYTES)
		*problem = "the token file is longer than 4096 bytes";
	else if (len == 0)
		*problem = "the token file is empty";
	for (size_t i = 0; i < len && *problem == NULL; i++)
		if (buf[i] < '!' || buf[i] > '~')
			*problem = "the token file holds other characters than a token has";
	if (*problem == NULL)
		return buf;
	explicit_bzero(buf, CAPI_MAX_SECRET_BYTES + 2);
	return NULL;
}

char *
capi_secret_proof(const char *token, const char *app_secret)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	char	   *hex;

	if (HMAC(EVP_sha256(), app_secret, strlen(app_secret),
			 (const unsigned char *) token, strlen(token), mac, &len) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the appsecret_proof")));
	hex = palloc(len * 2 + 1);
	for (unsigned int i = 0; i < len; i++)
		sprintf(hex + i * 2, "%02x", mac[i]);
	return hex;
}

/* Key from the content of capi.key_file; trailing white space does not count. */
static bool
read_key(unsigned char key[KEY_BYTES], const char **problem)
{
	char	   *content;
	size_t		content_len;
	unsigned int len;
	bool		ok;

	if (capi_key_file == NULL || capi_key_file[0] == '\0')
	{
		*problem = "is not set";
		return false;
	}
	content = read_secret_file(capi_key_file, &content_len);
	if (content == NULL || content_len < KEY_BYTES ||
		content_len > CAPI_MAX_SECRET_BYTES)
	{
		*problem = content == NULL ? "cannot be read" :
			content_len < KEY_BYTES ? "is too short" :
			"is longer than 4096 bytes";
		if (content != NULL)
			explicit_bzero(content, content_len);
		return false;
	}
	ok = EVP_Digest(content, content_len, key, &len, EVP_sha256(), NULL) == 1;
	explicit_bzero(content, content_len);
	if (!ok)
		*problem = "could not be hashed";
	return ok;
}

static bytea *
seal(const char *secret, const unsigned char key[KEY_BYTES])
{
	int			len = strlen(secret);
	bytea	   *value = palloc(VARHDRSZ + SEAL_OVERHEAD + len);
	unsigned char *out = (unsigned char *) VARDATA(value);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			n;
	bool		ok;

	SET_VARSIZE(value, VARHDRSZ + SEAL_OVERHEAD + len);
	out[0] = SEAL_VERSION;
	ok = ctx != NULL && pg_strong_random(out + 1, NONCE_BYTES) &&
		EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out + 1) == 1 &&
		EVP_EncryptUpdate(ctx, out + SEAL_OVERHEAD, &n,
						  (const unsigned char *) secret, len) == 1 &&
		EVP_EncryptFinal_ex(ctx, out + SEAL_OVERHEAD + n, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES,
							out + 1 + NONCE_BYTES) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not encrypt the secret")));
	return value;
}
