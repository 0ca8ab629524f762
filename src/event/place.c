/*
 * place.c
 *		Cities, states, postcodes and countries (form.h).
 */
#include "postgres.h"

#include "event/country.h"
#include "event/form.h"
#include "event/text.h"

#define FOLD_CODE	(CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE | CAPI_TEXT_NO_MARK)
#define FOLD_PLACE	(FOLD_CODE | CAPI_TEXT_NO_DIGIT)

#define MAX_KEY_BYTES		96
#define MAX_PREFIX_BYTES	3

static const char *const no_letters = "no letters";

static inline bool
is_country(const CapiInput *in, const char *alpha2)
{
	return in->country != NULL && strcmp(in->country, alpha2) == 0;
}

/* Appends the text folded; false with the problem if nothing is left. */
static bool
append_folded(CapiInput *in, StringInfo out, int flags, const char *problem)
{
	int			start = out->len;

	capi_text_append(out, in->s, in->len, flags);
	return out->len > start || capi_form_refuse(in, problem);
}

bool
capi_form_city(CapiInput *in, StringInfo out)
{
	return append_folded(in, out, FOLD_PLACE, no_letters);
}

/* Drops the country of an ISO 3166-2 code: US-CA, and with Canada CA-ON. */
static void
drop_country(CapiInput *in)
{
	const char *country = in->country != NULL ? in->country : "us";

	if (in->len > 3 && in->len <= 6 && in->s[2] == '-' &&
		pg_strncasecmp(in->s, country, 2) == 0)
	{
		in->s += 3;
		in->len -= 3;
	}
}

bool
capi_form_state(CapiInput *in, StringInfo out)
{
	int			start = out->len;
	char		key[MAX_KEY_BYTES];
	const char *code = NULL;

	drop_country(in);
	if (!append_folded(in, out, FOLD_PLACE, no_letters))
		return false;
	if ((in->country == NULL || is_country(in, "us")) &&
		capi_text_key(key, sizeof(key), out->data + start,
					  out->len - start) > 0)
		code = capi_country_us_state(key);
	if (code != NULL)
	{
		out->len = start;
		appendStringInfoString(out, code);
	}
	return true;
}

/* Digits of other scripts and of full width -> 0 to 9, in what was appended. */
static void
convert_digits(StringInfo out, int start)
{
	const char *p = out->data + start;
	const char *end = out->data + out->len;
	char	   *to = out->data + start;

	while (p < end)
	{
		const char *from = p;
		uint32		c;
		int			digit = capi_text_digit(&p, end, &c);

		if (digit >= 0)
			*to++ = '0' + digit;
		else
		{
			memmove(to, from, p - from);
			to += p - from;
		}
	}
	*to = '\0';
	out->len = to - out->data;
}

/*
 * Length of a country's mark before the digits, with its dash or space:
 * D-10115, SE-114 55.  Where the official form has it (LV-1010) it belongs to the code.
 */
static int
mark_length(const CapiInput *in)
{
	static const char *const marks[][2] = {
		{"at", "a"}, {"be", "b"}, {"de", "d"}, {"es", "e"}, {"fi", "fin"},
		{"fr", "f"}, {"hu", "h"}, {"it", "i"}, {"lu", "l"}, {"no", "n"},
		{"pt", "p"}, {"se", "s"}, {"si", "slo"}
	};
	static const char official[] = "ad|az|bb|bn|ky|lt|lv|md|ms|tc|vc|vg|ws";
	int			len = 0;

	while (len < Min(in->len, MAX_PREFIX_BYTES) &&
		   pg_ascii_tolower(in->s[len]) >= 'a' &&
		   pg_ascii_tolower(in->s[len]) <= 'z')
		len++;
	if (in->country == NULL || len == 0 || len + 1 >= in->len ||
		(in->s[len] != '-' && in->s[len] != ' ') ||
		!capi_form_is_digit(in->s[len + 1]) ||
		strstr(official, in->country) != NULL)
		return 0;
	if (len == 2 && pg_strncasecmp(in->s, in->country, 2) == 0)
		return len + 1;
	for (int i = 0; i < (int) lengthof(marks); i++)
		if (is_country(in, marks[i][0]) && (int) strlen(marks[i][1]) == len &&
			pg_strncasecmp(in->s, marks[i][1], len) == 0)
			return len + 1;
	return 0;
}

/*
 * Digits of a country's postcodes where they may begin with a zero, which gets
 * lost when a code passes through a column or spreadsheet of numbers.
 */
static int
postcode_digits(const char *country)
{
	static const struct
	{
		const char *country;
		int			digits;
	}			known[] = {
		{"br", 8}, {"de", 5}, {"ee", 5}, {"es", 5}, {"fi", 5}, {"fr", 5},
		{"it", 5}, {"jp", 7}, {"kr", 5}, {"mx", 5}, {"pl", 5}, {"pr", 5},
		{"tr", 5}, {"ua", 5}, {"us", 5}
	};

	for (int i = 0; i < (int) lengthof(known); i++)
		if (memcmp(country, known[i].country, 2) == 0)
			return known[i].digits;
	return 0;
}

/* Puts back one lost zero, in the USA two (Puerto Rico is 006 to 009). */
static void
restore_zeros(const CapiInput *in, StringInfo out, int start)
{
	int			len = out->len - start;
	int			missing = postcode_digits(in->country) - len;
	int			most = is_country(in, "us") || is_country(in, "pr") ? 2 : 1;

	if (missing < 1 || missing > most ||
		(int) strspn(out->data + start, "0123456789") != len)
		return;
	for (int i = 0; i < missing; i++)
		appendStringInfoChar(out, '0');
	memmove(out->data + start + missing, out->data + start, len);
	memset(out->data + start, '0', missing);
}

/* In the USA, drops the state in front: CA 94035. */
static void
drop_state(StringInfo out, int start)
{
	char	   *zip = out->data + start;
	int			letters = strspn(zip, "abcdefghijklmnopqrstuvwxyz");

	if (letters != 2 || strspn(zip + letters, "0123456789") < 5)
		return;
	out->len -= letters;
	memmove(zip, zip + letters, out->len - start + 1);
}

/* ZIP codes have five digits, or nine in the form called ZIP+4. */
bool
capi_form_zip(CapiInput *in, StringInfo out)
{
	int			start = out->len;
	int			mark = mark_length(in);
	int			digits;

	in->s += mark;
	in->len -= mark;
	if (!append_folded(in, out, FOLD_CODE, "no letters or digits"))
		return false;
	convert_digits(out, start);
	if (is_country(in, "us"))
		drop_state(out, start);
	digits = strspn(out->data + start, "0123456789");
	if ((is_country(in, "us") && digits > 5) ||
		(in->country == NULL && digits == 9 && out->len - start == 9))
	{
		out->len = start + 5;
		out->data[out->len] = '\0';
	}
	if (in->country != NULL)
		restore_zeros(in, out, start);
	return true;
}

/* By key, also when an article stands in front. */
static const CapiCountry *
recognise(const char *key)
{
	const CapiCountry *country = capi_country_recognise(key);

	if (country == NULL && strncmp(key, "the", 3) == 0 && strlen(key) > 6)
		country = capi_country_recognise(key + 3);
	return country;
}

bool
capi_form_country(CapiInput *in, StringInfo out)
{
	char		key[MAX_KEY_BYTES];
	const CapiCountry *country = NULL;

	/* "n/a" is not Namibia */
	if (capi_text_key(key, sizeof(key), in->s, in->len) > 0 &&
		!(strcmp(key, "na") == 0 && in->len > 2))
		country = recognise(key);
	if (country == NULL)
		return capi_form_refuse(in,
								"not an ISO 3166-1 alpha-2 code or known name");
	appendStringInfoString(out, country->alpha2);
	return true;
}
