/*
 * fuzz_normalize.c
 *		Any bytes as any field: first byte the field, second the country, the
 *		rest the value.
 *
 * Besides memory: what comes out is valid UTF-8, a number where a number is
 * sent without quotes, never empty where it is hashed, and its own normal form.
 */
#include "postgres.h"

#include "event/field.h"
#include "fuzz.h"
#include "event/hash.h"
#include "event/normalize.h"
#include "event/text.h"

#define MD5_HEX_LEN		32

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const countries[] = {
	NULL, "us", "de", "gb", "it", "ru", "hu", "br", "ar", "mx", "jp", "kr",
	"cn", "es", "fr", "lv", "au", "by", "vn", "zz"
};

/* Once normalised, nothing changes, unless it looks like MD5 then. */
static void
check_stable(int field, const char *country, StringInfo normal)
{
	StringInfoData again;
	const char *problem;

	if (normal->len == MD5_HEX_LEN)
		return;
	initStringInfo(&again);
	require(capi_normalize(field, normal->data, country, &again, &problem));
	require(strcmp(again.data, normal->data) == 0);
}

static void
check_normal(int field, const char *country, StringInfo normal)
{
	const CapiFieldInfo *info = capi_field_info(field);
	char		hex[CAPI_HASH_HEX_LEN];

	require(normal->len == (int) strlen(normal->data));
	require(capi_text_is_valid(normal->data, normal->len));
	if (info->flags & CAPI_FIELD_HASHED)
	{
		require(normal->len > 0);
		if (!capi_hash_recognise(normal->data, normal->len, hex))
			capi_hash_hex(normal->data, normal->len, hex);
	}
	if (info->flags & CAPI_FIELD_BARE)
		require(is_json_number(normal->data) ||
				strcmp(normal->data, "true") == 0 ||
				strcmp(normal->data, "false") == 0);
	if (info->form == CAPI_FORM_PHONE)
		require(strspn(normal->data, "0123456789abcdef") ==
				(size_t) normal->len);
	/*
	 * A full name has lost its comma, a telephone its plus sign, a click id the
	 * URL that said what it is, an id the spaces within a reference of HTML.
	 */
	if (info->form != CAPI_FORM_FULL_NAME && info->form != CAPI_FORM_PHONE &&
		info->form != CAPI_FORM_CLICK_ID && info->form != CAPI_FORM_EXTERNAL_ID)
		check_stable(field, country, normal);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	StringInfoData out;
	const char *problem;
	const char *country;
	const char *rest;
	char	   *raw;
	int			field;

	if (size < 2)
		return 0;
	field = data[0] % CAPI_FIELD_COUNT;
	/* which fuzz_payload tries, with the server's parser */
	if (capi_field_info(field)->flags & CAPI_FIELD_JSON)
		return 0;
	country = countries[data[1] % lengthof(countries)];
	/* in memory of just its size, so that reading beyond it shows */
	raw = pnstrdup((const char *) data + 2, size - 2);
	initStringInfo(&out);
	appendStringInfoString(&out, "before");
	rest = raw;
	do
	{
		const char *from = rest;
		int			start = out.len;

		if (capi_normalize_next(field, &rest, country, &out, &problem))
		{
			StringInfoData normal;

			initStringInfo(&normal);
			appendStringInfoString(&normal, out.data + start);
			check_normal(field, country, &normal);
		}
		else
			require(out.len == start && out.data[start] == '\0');
		require(rest > from || *rest == '\0');
	} while (*rest != '\0');
	require(strncmp(out.data, "before", 6) == 0);
	free_all();
	return 0;
}
