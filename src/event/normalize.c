/*
 * normalize.c
 *		Raw text of a field -> normal form (normalize.h).
 *
 * Chooses the function of the field's form, and has the forms that are too
 * small for a file of their own.  Each gets valid, trimmed, non-empty UTF-8
 * text; open_input has seen to that.
 */
#include "postgres.h"

#include "event/currency.h"
#include "event/decimal.h"
#include "event/entity.h"
#include "event/field.h"
#include "event/form.h"
#include "event/hash.h"
#include "event/none.h"
#include "event/normalize.h"
#include "event/number.h"
#include "event/text.h"

/* No name, address or id is longer; what is came into the column by mistake. */
#define MAX_HASHED_BYTES	2048

/* The same of what is sent as it is: no browser says more. */
#define MAX_PLAIN_BYTES		65536

/* Meta's ids are 64 bits wide. */
#define MAX_ID_DIGITS		19

/* Fewer digits with ".0" behind are not taken for a number of a product. */
#define MIN_PRODUCT_DIGITS	4

/* Unix time of so many digits is in milliseconds (SPEC 2, event_time). */
#define MILLISECONDS_DIGITS	13

static bool
normalize_text(CapiInput *in, StringInfo out)
{
	capi_text_put(out, in->s, in->len);
	return true;
}

/* An id that the shop gave: of an order, say. */
static bool
normalize_own_id(CapiInput *in, StringInfo out)
{
	char		number[CAPI_NUMBER_MAX_LEN];

	return capi_number_mend(in, 1, number) && normalize_text(in, out);
}

/* Of a product: 2.0 may be the version of one, and be called so. */
static bool
normalize_product_id(CapiInput *in, StringInfo out)
{
	char		number[CAPI_NUMBER_MAX_LEN];

	return capi_number_mend(in, MIN_PRODUCT_DIGITS, number) &&
		normalize_text(in, out);
}

/* What shops write for everybody without an account. */
static bool
is_guest(const char *s, int len)
{
	static const char *const words[] = {
		"-1", "anon", "anonymous", "guest", "nobody", "visitor", NULL
	};

	return capi_word_find(words, s, len) != NULL;
}

/*
 * The only library that hashes this field lower-cases it and drops white
 * space; the same is done here, as the id must be equal on every channel.
 */
static bool
normalize_external_id(CapiInput *in, StringInfo out)
{
	int			start = out->len;
	char		number[CAPI_NUMBER_MAX_LEN];

	/* an id that all guests share would make one person of them */
	if (capi_none_is(in->s, in->len))
		return capi_form_refuse(in, capi_none_problem);
	if (!capi_number_mend(in, 1, number))
		return false;
	capi_text_append(out, in->s, in->len, CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE);
	if (out->len == start)
		return capi_form_refuse(in, "no characters");
	return !(capi_none_is(out->data + start, out->len - start) ||
			 is_guest(out->data + start, out->len - start)) ||
		capi_form_refuse(in, capi_none_problem);
}

/* 6,48E+01, as spreadsheets print it where a comma parts the decimals. */
static bool
append_comma_exponent(CapiInput *in, StringInfo out)
{
	char		plain[CAPI_DECIMAL_MAX_LEN];
	char	   *comma;

	if (in->len >= (int) sizeof(plain) ||
		(memchr(in->s, 'E', in->len) == NULL && memchr(in->s, 'e', in->len) == NULL))
		return false;
	memcpy(plain, in->s, in->len);
	comma = memchr(plain, ',', in->len);
	if (comma != NULL)
		*comma = '.';
	return comma != NULL && capi_decimal_append(out, plain, in->len, false);
}

/* A number as programs write it, or an amount as money columns print it. */
static bool
normalize_decimal(CapiInput *in, StringInfo out)
{
	char		plain[CAPI_DECIMAL_MAX_LEN];
	int			len;

	capi_number_unwrap(in);
	if (capi_decimal_append(out, in->s, in->len, false) ||
		append_comma_exponent(in, out))
		return true;
	len = capi_decimal_from_amount(plain, in->s, in->len, &in->problem);
	return len > 0 && capi_decimal_append(out, plain, len, false);
}

static bool
normalize_integer(CapiInput *in, StringInfo out)
{
	char		number[CAPI_NUMBER_MAX_LEN];

	if (capi_decimal_append(out, in->s, in->len, true))
		return true;
	return capi_number_mend(in, 1, number) &&
		(capi_decimal_append(out, in->s, in->len, true) ||
		 capi_form_refuse(in, "not an integer"));
}

static bool
normalize_natural(CapiInput *in, StringInfo out)
{
	int			start = out->len;

	return normalize_integer(in, out) &&
		(out->data[start] != '-' || capi_form_refuse(in, "negative"));
}

/* No id of Meta's begins with 0, and JSON has no such numbers. */
static bool
normalize_id(CapiInput *in, StringInfo out)
{
	char		number[CAPI_NUMBER_MAX_LEN];

	if (!capi_number_mend(in, 1, number))
		return false;
	for (int i = 0; i < in->len; i++)
		if (!capi_form_is_digit(in->s[i]))
			return capi_form_refuse(in, "not an id of digits");
	if (in->s[0] == '0' || in->len > MAX_ID_DIGITS)
		return capi_form_refuse(in, "not an id of digits");
	return normalize_text(in, out);
}

static bool
normalize_seconds(CapiInput *in, StringInfo out)
{
	int			start = out->len;

	if (!normalize_natural(in, out))
		return false;
	if (out->len - start == MILLISECONDS_DIGITS)
		out->len -= 3;
	out->data[out->len] = '\0';
	return true;
}

static bool
normalize_boolean(CapiInput *in, StringInfo out)
{
	static const char *const words[][2] = {
		{"t", "true"}, {"true", "true"}, {"1", "true"}, {"yes", "true"},
		{"f", "false"}, {"false", "false"}, {"0", "false"}, {"no", "false"}
	};
	char		number[CAPI_NUMBER_MAX_LEN];

	if (!capi_number_mend(in, 1, number))
		return false;
	for (int i = 0; i < (int) lengthof(words); i++)
		if ((int) strlen(words[i][0]) == in->len &&
			pg_strncasecmp(words[i][0], in->s, in->len) == 0)
		{
			appendStringInfoString(out, words[i][1]);
			return true;
		}
	return capi_form_refuse(in, "neither true nor false");
}

/* SPEC 5: the tracking flags are 0 and 1 there. */
static bool
normalize_flag(CapiInput *in, StringInfo out)
{
	int			start = out->len;
	bool		on;

	if (!normalize_boolean(in, out))
		return false;
	on = out->data[start] == 't';
	out->len = start;
	appendStringInfoChar(out, on ? '1' : '0');
	return true;
}

/*
 * The pages show both cases; upper is how ISO 4217 writes them.  Spaces inside
 * are dropped as all libraries do.
 */
static bool
normalize_currency(CapiInput *in, StringInfo out)
{
	char		code[4] = "";
	int			n = 0;

	for (int i = 0; i < in->len; i++)
	{
		if (in->s[i] == ' ')
			continue;
		if (n == 3)
			return capi_form_refuse(in, "not an ISO 4217 code");
		code[n++] = pg_ascii_toupper(in->s[i]);
	}
	if (capi_currency_exponent(code) < 0)
		return capi_form_refuse(in, "not an ISO 4217 code");
	appendStringInfoString(out, code);
	return true;
}

static const CapiFormFunction functions[CAPI_FORM_COUNT] = {
	[CAPI_FORM_TEXT] = normalize_text,
	[CAPI_FORM_WORDS] = normalize_text,
	[CAPI_FORM_EMAIL] = capi_form_email,
	[CAPI_FORM_PHONE] = capi_form_phone,
	[CAPI_FORM_NAME] = capi_form_name,
	[CAPI_FORM_FULL_NAME] = capi_form_full_name,
	[CAPI_FORM_GENDER] = capi_form_gender,
	[CAPI_FORM_DATE] = capi_form_date,
	[CAPI_FORM_CITY] = capi_form_city,
	[CAPI_FORM_STATE] = capi_form_state,
	[CAPI_FORM_ZIP] = capi_form_zip,
	[CAPI_FORM_COUNTRY] = capi_form_country,
	[CAPI_FORM_EXTERNAL_ID] = normalize_external_id,
	[CAPI_FORM_OWN_ID] = normalize_own_id,
	[CAPI_FORM_PRODUCT_ID] = normalize_product_id,
	[CAPI_FORM_IP] = capi_form_ip,
	[CAPI_FORM_BROWSER_ID] = capi_form_browser_id,
	[CAPI_FORM_BROWSER_TEXT] = capi_form_browser_text,
	[CAPI_FORM_CLICK_ID] = capi_form_click_id,
	[CAPI_FORM_URL] = capi_form_url,
	[CAPI_FORM_DECIMAL] = normalize_decimal,
	[CAPI_FORM_INTEGER] = normalize_integer,
	[CAPI_FORM_NATURAL] = normalize_natural,
	[CAPI_FORM_ID] = normalize_id,
	[CAPI_FORM_SECONDS] = normalize_seconds,
	[CAPI_FORM_BOOLEAN] = normalize_boolean,
	[CAPI_FORM_FLAG] = normalize_flag,
	[CAPI_FORM_CURRENCY] = normalize_currency
	/* CAPI_FORM_CONTENTS and _OBJECT are JSON: contents.c */
};

/*
 * Where HTML may have got into a text, and how much of it is decoded.  Numbers
 * and ids hold none by themselves; what people write may hold an ampersand.
 */
static const CapiEntityUse entity_use[CAPI_FORM_COUNT] = {
	[CAPI_FORM_WORDS] = CAPI_ENTITY_WORD,
	[CAPI_FORM_EMAIL] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_PHONE] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_NAME] = CAPI_ENTITY_TEXT,
	[CAPI_FORM_FULL_NAME] = CAPI_ENTITY_TEXT,
	[CAPI_FORM_GENDER] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_DATE] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_CITY] = CAPI_ENTITY_TEXT,
	[CAPI_FORM_STATE] = CAPI_ENTITY_TEXT,
	[CAPI_FORM_ZIP] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_COUNTRY] = CAPI_ENTITY_TEXT,
	[CAPI_FORM_EXTERNAL_ID] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_OWN_ID] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_PRODUCT_ID] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_URL] = CAPI_ENTITY_AMPERSAND,
	[CAPI_FORM_DECIMAL] = CAPI_ENTITY_CLOSED,
	[CAPI_FORM_CURRENCY] = CAPI_ENTITY_CLOSED
};

/*
 * Decodes HTML in the text; false if nothing is left.  Hashes and all that has
 * no ampersand stay as they are.
 */
static bool
decode_entities(int form, CapiInput *in)
{
	const char *decoded;

	if (memchr(in->s, '&', in->len) == NULL)
		return true;
	decoded = capi_entity_decode(in->s, &in->len, entity_use[form]);
	if (decoded != in->s)
	{
		in->s = decoded;
		capi_text_trim(&in->s, &in->len);
	}
	return in->len > 0;
}

/* Runs a form's function on trimmed, valid text. */
static bool
run_form(int form, CapiInput *in, StringInfo out, const char **problem)
{
	int			start = out->len;
	bool		usable = decode_entities(form, in) && functions[form] (in, out);

	if (!usable)
	{
		out->len = start;
		out->data[start] = '\0';
	}
	*problem = in->problem;
	return usable;
}

/* Checks and trims; false if there is nothing to normalise. */
static bool
open_input(CapiInput *in, const char **problem)
{
	*problem = NULL;
	if (!capi_text_is_valid(in->s, in->len))
	{
		*problem = "not valid UTF-8";
		return false;
	}
	capi_text_trim(&in->s, &in->len);
	return in->len > 0;
}

bool
capi_normalize_word(const char *const *words, StringInfo out, int start,
					const char **problem)
{
	const char *word;

	if (words == NULL)
		return true;
	word = capi_word_find(words, out->data + start, out->len - start);
	out->len = start;
	out->data[start] = '\0';
	if (word == NULL)
		*problem = "not one of the values that Meta knows";
	else
		appendStringInfoString(out, word);
	return word != NULL;
}

bool
capi_normalize_form(int form, const char *raw, int len, const char *country,
					StringInfo out, const char **problem)
{
	CapiInput	in = {raw, len, country, NULL};

	return open_input(&in, problem) && run_form(form, &in, out, problem);
}

/* 32 hexadecimal digits, and not a word that happens to consist of a to f. */
static bool
is_md5(const char *s, int len)
{
	bool		digit = false;

	if (len != 32)
		return false;
	for (int i = 0; i < len; i++)
	{
		char		c = pg_ascii_tolower(s[i]);

		if (!capi_form_is_digit(c) && !(c >= 'a' && c <= 'f'))
			return false;
		digit |= capi_form_is_digit(c);
	}
	return digit;
}

/* capi_normalize_form for a hashed field, where a hash is no text. */
static bool
normalize_hashed(int field, CapiInput *in, StringInfo out,
				 const char **problem)
{
	char		hex[CAPI_HASH_HEX_LEN];

	if (!open_input(in, problem))
		return false;
	if (capi_hash_recognise(in->s, in->len, hex))
	{
		appendBinaryStringInfo(out, hex, sizeof(hex));
		return true;
	}
	/* Meta takes SHA-256 only, and hashing a hash never matches */
	if (field != CAPI_FIELD_EXTERNAL_ID && is_md5(in->s, in->len))
	{
		*problem = "an MD5 hash, only SHA-256 is accepted";
		return false;
	}
	return run_form(capi_field_info(field)->form, in, out, problem);
}

bool
capi_normalize_next(int field, const char **rest, const char *country,
					StringInfo out, const char **problem)
{
	const CapiFieldInfo *info = capi_field_info(field);
	int			len = strlen(*rest);
	CapiInput	in = {*rest, len, country, NULL};
	int			start = out->len;

	*rest += len;
	if (len > (info->flags & CAPI_FIELD_HASHED ? MAX_HASHED_BYTES :
			   MAX_PLAIN_BYTES))
	{
		*problem = "too long";
		return false;
	}
	if (!(info->flags & CAPI_FIELD_HASHED))
		return capi_normalize_form(info->form, in.s, len, country, out,
								   problem) &&
			capi_normalize_word(info->words, out, start, problem);
	if (info->form == CAPI_FORM_EMAIL || info->form == CAPI_FORM_PHONE)
	{
		/* before what parts them is looked for: a semicolon ends references */
		*rest = in.s = capi_entity_decode(in.s, &len, CAPI_ENTITY_CLOSED);
		if (info->form == CAPI_FORM_EMAIL)
			capi_email_next(rest, &len, &in);
		else
			capi_phone_next(rest, &len, &in);
	}
	return normalize_hashed(field, &in, out, problem);
}

bool
capi_normalize(int field, const char *raw, const char *country,
			   StringInfo out, const char **problem)
{
	const char *rest = raw;

	*problem = NULL;
	do
	{
		if (capi_normalize_next(field, &rest, country, out, problem))
			return true;
	} while (*rest != '\0');
	return false;
}
