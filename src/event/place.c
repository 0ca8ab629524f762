/*
 * place.c
 *		Cities, states and postcodes (form.h).
 */
#include "postgres.h"

#include "event/country.h"
#include "event/form.h"
#include "event/none.h"
#include "event/number.h"
#include "event/text.h"

#define FOLD_CODE	(CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE | CAPI_TEXT_NO_MARK)
#define FOLD_PLACE	(FOLD_CODE | CAPI_TEXT_NO_DIGIT)

#define MAX_KEY_BYTES		96
#define MAX_PREFIX_BYTES	3

#define ZIP_DIGITS			5
#define ZIP_PLUS_4_DIGITS	9

/* Of codes that points may group: 114.55, 1000.001. */
#define MIN_WHOLE_DIGITS	4
#define MAX_FRACTION_DIGITS	2

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

/* Postcodes of so many digits, of which the first may be zeros. */
typedef struct Postcode
{
	char		country[3];
	int			digits;
	int			zeros;			/* most that codes begin with */
} Postcode;

/*
 * The zeros in front get lost when a code passes through a column or
 * spreadsheet of numbers.  Lengths and first digits as the postal services
 * publish them (UPU, "Postal addressing systems"); sorted.
 */
static const Postcode postcodes[] = {
	{"am", 4, 3}, {"au", 4, 1}, {"az", 4, 1}, {"br", 8, 1}, {"cn", 6, 1},
	{"co", 6, 1}, {"de", 5, 1}, {"dk", 4, 1}, {"dz", 5, 1}, {"ec", 6, 1},
	{"ee", 5, 1}, {"es", 5, 1}, {"fi", 5, 4}, {"fr", 5, 1}, {"ge", 4, 1},
	{"gn", 3, 2}, {"gt", 5, 1}, {"it", 5, 3}, {"jp", 7, 2}, {"ke", 5, 2},
	{"kr", 5, 1}, {"kz", 6, 1}, {"la", 5, 1}, {"lk", 5, 2}, {"lt", 5, 2},
	{"mm", 5, 1}, {"mv", 5, 1}, {"mx", 5, 1}, {"my", 5, 1}, {"no", 4, 3},
	{"nz", 4, 1}, {"pa", 4, 1}, {"pe", 5, 1}, {"ph", 4, 1}, {"pl", 5, 4},
	{"pr", 5, 2}, {"ro", 6, 1}, {"sg", 6, 1}, {"sj", 4, 1}, {"sk", 5, 1},
	{"tr", 5, 1}, {"ua", 5, 1}, {"us", 5, 2}, {"va", 5, 2}, {"vi", 5, 2},
	{"vn", 5, 1}, {"za", 4, 3}
};

static const Postcode *
find_postcode(const char *country)
{
	for (int i = 0; i < (int) lengthof(postcodes); i++)
		if (memcmp(country, postcodes[i].country, 2) == 0)
			return &postcodes[i];
	return NULL;
}

/* Puts n zeros in front of what was appended from start on. */
static void
put_zeros(StringInfo out, int start, int n)
{
	int			len = out->len - start;

	for (int i = 0; i < n; i++)
		appendStringInfoChar(out, '0');
	memmove(out->data + start + n, out->data + start, len);
	memset(out->data + start, '0', n);
}

/* Puts back the zeros that a code has lost. */
static void
restore_zeros(const CapiInput *in, StringInfo out, int start)
{
	int			len = out->len - start;
	const Postcode *code = find_postcode(in->country);
	int			missing = code != NULL ? code->digits - len : 0;

	if (missing < 1 || missing > code->zeros || out->data[start] == '0' ||
		(int) strspn(out->data + start, "0123456789") != len)
		return;
	put_zeros(out, start, missing);
}

/*
 * Puts back the zeros that a code with its four further digits has lost: of
 * 2360-1234, or of 23601234.  False if it cannot be told whether it has.
 */
static bool
restore_long_zip(const CapiInput *in, StringInfo out, int start)
{
	const char *dash = memchr(in->s, '-', in->len);
	int			missing = ZIP_PLUS_4_DIGITS - (out->len - start);

	if (dash != NULL)
		missing = in->s + in->len - dash == 5 && dash - in->s < 5 ? missing : 0;
	else if (missing == 2 && out->data[start] < '5')
		return false;			/* codes with two zeros begin with 005 */
	if ((missing == 1 || missing == 2) && out->data[start] != '0')
		put_zeros(out, start, missing);
	return true;
}

/* In the USA, drops the state in front: CA 94035. */
static void
drop_state(StringInfo out, int start)
{
	char	   *zip = out->data + start;
	int			letters = strspn(zip, "abcdefghijklmnopqrstuvwxyz");

	if (letters != 2 || strspn(zip + letters, "0123456789") < 3)
		return;
	out->len -= letters;
	memmove(zip, zip + letters, out->len - start + 1);
}

static inline bool
has_zip_codes(const CapiInput *in)
{
	return is_country(in, "us") || is_country(in, "pr") || is_country(in, "vi");
}

/* ZIP codes have five digits, or nine in the form called ZIP+4. */
static bool
cut_zip(CapiInput *in, StringInfo out, int start)
{
	int			digits;

	if (is_country(in, "us"))
		drop_state(out, start);
	digits = strspn(out->data + start, "0123456789");
	if (has_zip_codes(in) && digits == out->len - start &&
		(digits == 7 || digits == 8))
	{
		if (!restore_long_zip(in, out, start))
			return capi_form_refuse(in, "neither five nor nine digits");
		digits = out->len - start;
	}
	if ((has_zip_codes(in) && digits > ZIP_DIGITS) ||
		(in->country == NULL && digits == ZIP_PLUS_4_DIGITS &&
		 out->len - start == ZIP_PLUS_4_DIGITS))
	{
		out->len = start + ZIP_DIGITS;
		out->data[out->len] = '\0';
	}
	return true;
}

/* 10115.5, which ZIP+4 with a point (94035.1234) is not. */
static bool
has_fraction(const CapiInput *in)
{
	CapiInput	number = *in;
	const char *mark;

	capi_number_to_ascii(&number);
	mark = memchr(number.s, '.', number.len);
	if (mark == NULL)
		mark = memchr(number.s, ',', number.len);
	return mark != NULL &&
		number.s + number.len - mark <= 1 + MAX_FRACTION_DIGITS &&
		capi_number_is_fraction(&number, MIN_WHOLE_DIGITS);
}

bool
capi_form_zip(CapiInput *in, StringInfo out)
{
	int			start = out->len;
	int			mark = mark_length(in);
	char		number[CAPI_NUMBER_MAX_LEN];

	in->s += mark;
	in->len -= mark;
	/* what a column of numbers prints for none; a code of zeros may be one */
	if (in->len > 0 && *in->s != '0' && capi_none_is(in->s, in->len))
		return capi_form_refuse(in, capi_none_problem);
	if (has_fraction(in))
		return capi_form_refuse(in, "a number with a fraction");
	if (!capi_number_mend(in, 1, number) ||
		!append_folded(in, out, FOLD_CODE, "no letters or digits"))
		return false;
	/* and the same in brackets, or with a comma behind it */
	if (out->data[start] != '0' &&
		capi_none_is(out->data + start, out->len - start))
		return capi_form_refuse(in, capi_none_problem);
	convert_digits(out, start);
	if (!cut_zip(in, out, start))
		return false;
	if (in->country != NULL)
		restore_zeros(in, out, start);
	return true;
}
