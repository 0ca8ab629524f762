/*
 * normalize.c
 *		Raw text of a field -> normal form (normalize.h).
 *
 * One small function per CapiFieldForm.  Each gets valid, trimmed, non-empty
 * UTF-8 text; capi_normalize_form has seen to that.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <sys/socket.h>

#include "contents.h"
#include "country.h"
#include "decimal.h"
#include "field.h"
#include "hash.h"
#include "normalize.h"
#include "text.h"

/* E.164 allows 15 digits; the documentation sets no limit (SPEC 3.5). */
#define MAX_PHONE_DIGITS	32

/*
 * SPEC 3.2: birth years run from 1900 to now.  The clock is not ours to read:
 * the SQL functions are immutable; payload.c refuses days that are yet to come.
 */
#define MIN_BIRTH_YEAR		1900
#define MAX_BIRTH_YEAR		2050

#define FOLD_NAME	(CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE | CAPI_TEXT_NO_MARK)
#define FOLD_PLACE	(FOLD_NAME | CAPI_TEXT_NO_DIGIT)

/* Arguments of a form's function. */
typedef struct Input
{
	const char *s;				/* not terminated */
	int			len;
	const char *country;		/* alpha-2 or NULL */
	const char *problem;		/* out */
} Input;

typedef bool (*FormFunction) (Input *in, StringInfo out);

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_country(const Input *in, const char *alpha2)
{
	return in->country != NULL && strcmp(in->country, alpha2) == 0;
}

static bool
refuse(Input *in, const char *problem)
{
	in->problem = problem;
	return false;
}

static bool
normalize_text(Input *in, StringInfo out)
{
	appendBinaryStringInfo(out, in->s, in->len);
	return true;
}

/* Appends the text folded; false with the problem if nothing is left. */
static bool
append_folded(Input *in, StringInfo out, int flags, const char *problem)
{
	int			start = out->len;

	capi_text_append(out, in->s, in->len, flags);
	return out->len > start || refuse(in, problem);
}

/* Domain part: two labels or more, none empty or beginning or ending in "-". */
static bool
is_domain(const char *s, const char *end)
{
	bool		dotted = false;
	const char *label = s;

	for (const char *p = s;; p++)
	{
		if (p < end && *p != '.')
			continue;
		if (p == label || *label == '-' || p[-1] == '-')
			return false;
		if (p == end)
			return dotted;
		dotted = true;
		label = p + 1;
	}
}

/* Characters that separate addresses or stand around them. */
static inline bool
is_email_delimiter(unsigned char c)
{
	switch (c)
	{
		case '"':
		case '(':
		case ')':
		case ',':
		case ':':
		case ';':
		case '<':
		case '>':
		case '[':
		case '\\':
		case ']':
		case 0x7F:
			return true;
		default:
			return false;
	}
}

/*
 * The documentation asks for no validity test; only what cannot be an address
 * is refused.  Letters beyond ASCII are legal today and stay.
 */
static bool
normalize_email(Input *in, StringInfo out)
{
	static const char *const message = "not an e-mail address";
	const char *at = NULL;
	const char *end = in->s + in->len;

	for (const char *p = in->s; p < end; p++)
	{
		unsigned char c = *p;

		if (c == '@')
		{
			if (at != NULL)
				return refuse(in, message);
			at = p;
		}
		else if (c <= ' ' || is_email_delimiter(c))
			return refuse(in, message);
	}
	if (at == NULL || at == in->s || !is_domain(at + 1, end))
		return refuse(in, message);
	capi_text_append(out, in->s, in->len, CAPI_TEXT_LOWER);
	return true;
}

/*
 * Collects the digits, those of full width (U+FF10 ..) too, and tells whether a
 * plus sign stood before them.  Returns their number, -1 if too many.
 */
static int
collect_digits(const char *s, int len, char *digits, bool *plus)
{
	int			n = 0;

	*plus = false;
	for (int i = 0; i < len; i++)
	{
		char		c = s[i];

		if (c == '\xEF' && i + 2 < len && s[i + 1] == '\xBC')
		{
			if (s[i + 2] == '\x8B')
				c = '+';
			else if (s[i + 2] >= '\x90' && s[i + 2] <= '\x99')
				c = s[i + 2] - '\x90' + '0';
		}
		if (c == '+' && n == 0)
			*plus = true;
		if (!is_digit(c))
			continue;
		if (n == MAX_PHONE_DIGITS)
			return -1;
		digits[n++] = c;
	}
	return n;
}

/* Steps over leading zeros. */
static void
skip_zeros(const char **digits, int *n)
{
	while (*n > 0 && **digits == '0')
	{
		(*digits)++;
		(*n)--;
	}
}

/* Appends the digits of a number with its calling code. */
static bool
append_international(Input *in, const CapiCountry *country,
					 const char *digits, int n, StringInfo out)
{
	int			offset = 0;
	int			trunk = 0;

	skip_zeros(&digits, &n);
	if (n == 0)
		return refuse(in, "no digits of a telephone number");
	if (country != NULL)
		trunk = capi_country_phone_stray_trunk(country, digits, n, &offset);
	appendBinaryStringInfo(out, digits, offset);
	appendBinaryStringInfo(out, digits + offset + trunk, n - offset - trunk);
	return true;
}

static bool
normalize_phone(Input *in, StringInfo out)
{
	char		buf[MAX_PHONE_DIGITS];
	const char *digits = buf;
	const CapiCountry *country = NULL;
	bool		plus;
	int			n = collect_digits(in->s, in->len, buf, &plus);
	int			idd;

	if (n == 0)
		return refuse(in, "no digits of a telephone number");
	if (n < 0)
		return refuse(in, "too many digits for a telephone number");
	if (in->country != NULL)
		country = capi_country_find(in->country);
	if (country != NULL && country->calling_code == 0)
		country = NULL;

	if (plus)
		return append_international(in, country, digits, n, out);
	idd = country != NULL ? strlen(country->idd) : 0;
	if (idd > 0 && n > idd && strncmp(digits, country->idd, idd) == 0)
		return append_international(in, country, digits + idd, n - idd, out);
	if (n >= 2 && digits[0] == '0' && digits[1] == '0')
		return append_international(in, country, digits, n, out);

	if (country == NULL)
	{
		if (n > 0 && digits[0] == '0')
			in->problem = "sent without calling code, the country is not known";
		skip_zeros(&digits, &n);
		appendBinaryStringInfo(out, digits, n);
		return n > 0 || refuse(in, "no digits of a telephone number");
	}
	if (!capi_country_phone_from_national(country, digits, n, out))
		return refuse(in, "too short for a telephone number of the country");
	return true;
}

static bool
normalize_name(Input *in, StringInfo out)
{
	return append_folded(in, out, FOLD_NAME, "no letters");
}

static bool
normalize_gender(Input *in, StringInfo out)
{
	static const char *const words[][2] = {
		{"f", "f"}, {"female", "f"}, {"woman", "f"},
		{"m", "m"}, {"male", "m"}, {"man", "m"}
	};
	int			start = out->len;

	capi_text_append(out, in->s, in->len, FOLD_NAME);
	for (int i = 0; i < (int) lengthof(words); i++)
		if (strcmp(out->data + start, words[i][0]) == 0)
		{
			out->len = start;
			appendStringInfoString(out, words[i][1]);
			return true;
		}
	return refuse(in, "neither female nor male");
}

static bool
is_day(int year, int month, int day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (year < MIN_BIRTH_YEAR || year > MAX_BIRTH_YEAR ||
		month < 1 || month > 12 || day < 1)
		return false;
	if (month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)))
		return day <= 29;
	return day <= days[month - 1];
}

/*
 * Reads three numbers of at most width digits with one separator, the same
 * twice; what follows may only be a time of day.  Returns it, or 0.
 */
static char
scan_date(const char *s, int len, int part[3], int width[3])
{
	int			i = 0;
	char		separator = 0;

	for (int k = 0; k < 3; k++)
	{
		part[k] = width[k] = 0;
		while (i < len && is_digit(s[i]) && width[k] < 5)
		{
			part[k] = part[k] * 10 + (s[i++] - '0');
			width[k]++;
		}
		if (width[k] == 0 || width[k] > 4)
			return 0;
		if (k == 2)
			break;
		if (i == len || strchr("-/. ", s[i]) == NULL ||
			(k == 1 && s[i] != separator))
			return 0;
		separator = s[i++];
	}
	if (i < len && !(i + 1 < len && (s[i] == ' ' || s[i] == 'T') &&
					 is_digit(s[i + 1])))
		return 0;
	return separator;
}

/*
 * Eight digits, year first with separators, or year last: then with dots the
 * day comes first, as everywhere dots are used, otherwise the month, as in the
 * documentation's example, unless it can only be the day.
 */
static bool
normalize_date(Input *in, StringInfo out)
{
	int			part[3];
	int			width[3];
	int			year;
	int			month;
	int			day;
	char		separator;

	if (in->len == 8 && strspn(in->s, "0123456789") >= 8)
	{
		int			number = 0;

		for (int i = 0; i < 8; i++)
			number = number * 10 + (in->s[i] - '0');
		year = number / 10000;
		month = number / 100 % 100;
		day = number % 100;
	}
	else if ((separator = scan_date(in->s, in->len, part, width)) == 0)
		return refuse(in, "not a date");
	else if (width[0] == 4)
	{
		year = part[0];
		month = part[1];
		day = part[2];
	}
	else
	{
		bool		day_first = separator == '.' || part[0] > 12;

		year = width[2] == 4 ? part[2] : 0;
		day = part[day_first ? 0 : 1];
		month = part[day_first ? 1 : 0];
	}
	if (!is_day(year, month, day))
		return refuse(in, "not a date of birth");
	appendStringInfo(out, "%04d%02d%02d", year, month, day);
	return true;
}

static bool
normalize_city(Input *in, StringInfo out)
{
	return append_folded(in, out, FOLD_PLACE, "no letters");
}

static bool
normalize_state(Input *in, StringInfo out)
{
	int			start = out->len;
	const char *code;

	if (in->country != NULL && !is_country(in, "us"))
		return append_folded(in, out, FOLD_PLACE, "no letters");
	/* ISO 3166-2, as some shops have it: US-CA */
	if (in->len == 5 && pg_strncasecmp(in->s, "us-", 3) == 0)
	{
		in->s += 3;
		in->len -= 3;
	}
	if (!append_folded(in, out, FOLD_PLACE, "no letters"))
		return false;
	code = capi_country_us_state(out->data + start);
	if (code != NULL)
	{
		out->len = start;
		appendStringInfoString(out, code);
	}
	return true;
}

/* ZIP codes have five digits, or nine in the form called ZIP+4. */
static bool
normalize_zip(Input *in, StringInfo out)
{
	int			start = out->len;
	int			len;
	const char *zip;

	if (!append_folded(in, out, FOLD_NAME, "no letters or digits"))
		return false;
	zip = out->data + start;
	len = out->len - start;
	if ((is_country(in, "us") && len > 5 && strspn(zip, "0123456789") >= 5) ||
		(in->country == NULL && len == 9 && strspn(zip, "0123456789") == 9))
	{
		out->len = start + 5;
		out->data[out->len] = '\0';
	}
	return true;
}

static bool
normalize_country(Input *in, StringInfo out)
{
	int			start = out->len;
	const CapiCountry *country;

	capi_text_append(out, in->s, in->len, FOLD_NAME);
	country = capi_country_recognise(out->data + start);
	out->len = start;
	if (country == NULL)
		return refuse(in, "not an ISO 3166-1 alpha-2 code or known name");
	appendStringInfoString(out, country->alpha2);
	return true;
}

/*
 * The only library that hashes this field lower-cases it and drops white
 * space; the same is done here, as the id must be equal on every channel.
 */
static bool
normalize_external_id(Input *in, StringInfo out)
{
	return append_folded(in, out, CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE,
						 "no characters");
}

/*
 * One address.  Of a forwarding chain the first, without port, brackets and
 * the mask that inet values are printed with.
 */
static bool
normalize_ip(Input *in, StringInfo out)
{
	static const char *const message = "not an IP address";
	char		buf[INET6_ADDRSTRLEN + 8];
	char		addr[16];
	char	   *start = buf;
	char	   *colon;
	size_t		len = 0;

	while (len < (size_t) in->len && in->s[len] != ',' &&
		   !isspace((unsigned char) in->s[len]))
		len++;
	if (len == 0 || len >= sizeof(buf))
		return refuse(in, message);
	memcpy(buf, in->s, len);
	buf[len] = '\0';
	if (buf[0] == '[')
	{
		start++;
		start[strcspn(start, "]")] = '\0';
	}
	colon = strchr(start, ':');
	if (colon != NULL && strchr(colon + 1, ':') == NULL)
		*colon = '\0';			/* IPv4 with a port */
	else if (colon == NULL && strlen(start) > 3 &&
			 strcmp(start + strlen(start) - 3, "/32") == 0)
		start[strlen(start) - 3] = '\0';
	else if (colon != NULL && strlen(start) > 4 &&
			 strcmp(start + strlen(start) - 4, "/128") == 0)
		start[strlen(start) - 4] = '\0';
	if (pg_strncasecmp(start, "::ffff:", 7) == 0 && strchr(start, '.') != NULL)
		start += 7;
	if (inet_pton(AF_INET, start, addr) != 1 &&
		inet_pton(AF_INET6, start, addr) != 1)
		return refuse(in, message);
	appendStringInfoString(out, start);
	return true;
}

/*
 * fb.<index>.<milliseconds>.<id>, and perhaps an appendix of two or eight
 * characters (SPEC 3.2).  A bad one would fail the batch; the id's alphabet is
 * not documented, so only what cannot be in a cookie is refused.
 */
static bool
normalize_browser_id(Input *in, StringInfo out)
{
	int			segment = 0;
	int			len = 0;		/* of the segment */
	bool		bad = in->len < 4 || strncmp(in->s, "fb.", 3) != 0;

	for (int i = 0; i <= in->len && !bad; i++)
	{
		char		c = i < in->len ? in->s[i] : '.';

		if (c == '.')
		{
			bad = len == 0 || segment > 4 ||
				(segment == 4 && len != 2 && len != 8) ||
				(segment == 3 && len == 2 &&
				 strncmp(in->s + i - 2, "fb", 2) == 0);
			segment++;
			len = 0;
			continue;
		}
		len++;
		if (c <= ' ' || c >= 0x7F ||
			c == '"' || c == '\\' || c == ',' || c == ';' ||
			((segment == 1 || segment == 2) && !is_digit(c)))
			bad = true;
	}
	if (bad || segment < 4)
		return refuse(in, "not of the form fb.1.<milliseconds>.<id>");
	return normalize_text(in, out);
}

static bool
normalize_url(Input *in, StringInfo out)
{
	if (!(in->len > 8 && pg_strncasecmp(in->s, "https://", 8) == 0) &&
		!(in->len > 7 && pg_strncasecmp(in->s, "http://", 7) == 0))
		return refuse(in, "does not begin with http:// or https://");
	return normalize_text(in, out);
}

static bool
append_number(Input *in, StringInfo out, bool integer)
{
	if (capi_decimal_append(out, in->s, in->len, integer))
		return true;
	return refuse(in, integer ? "not an integer" : "not a decimal number");
}

static bool
normalize_decimal(Input *in, StringInfo out)
{
	return append_number(in, out, false);
}

static bool
normalize_integer(Input *in, StringInfo out)
{
	return append_number(in, out, true);
}

static bool
normalize_boolean(Input *in, StringInfo out)
{
	static const char *const words[][2] = {
		{"t", "true"}, {"true", "true"}, {"1", "true"}, {"yes", "true"},
		{"f", "false"}, {"false", "false"}, {"0", "false"}, {"no", "false"}
	};

	for (int i = 0; i < (int) lengthof(words); i++)
		if ((int) strlen(words[i][0]) == in->len &&
			pg_strncasecmp(words[i][0], in->s, in->len) == 0)
		{
			appendStringInfoString(out, words[i][1]);
			return true;
		}
	return refuse(in, "neither true nor false");
}

/* SPEC 5: the tracking flags are 0 and 1 there. */
static bool
normalize_flag(Input *in, StringInfo out)
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

/* The pages show both cases; upper is how ISO 4217 writes them. */
static bool
normalize_currency(Input *in, StringInfo out)
{
	char		code[4] = "";

	if (in->len == 3)
		for (int i = 0; i < 3; i++)
			code[i] = (in->s[i] >= 'a' && in->s[i] <= 'z') ?
				in->s[i] - 32 : in->s[i];
	if (!capi_country_has_currency(code))
		return refuse(in, "not an ISO 4217 code");
	appendStringInfoString(out, code);
	return true;
}

static void
keep_problem(void *arg, const char *where, const char *problem)
{
	((Input *) arg)->problem = problem;
}

static bool
normalize_contents(Input *in, StringInfo out)
{
	int			start = out->len;

	appendStringInfoChar(out, '[');
	if (capi_contents_append_items(out, pnstrdup(in->s, in->len), false, 0,
								   keep_problem, in) == 0)
	{
		out->len = start;
		return refuse(in, in->problem);
	}
	appendStringInfoChar(out, ']');
	return true;
}

static bool
normalize_object(Input *in, StringInfo out)
{
	int			start = out->len;
	bool		separate = false;

	appendStringInfoChar(out, '{');
	capi_contents_append_members(out, pnstrdup(in->s, in->len), false,
								 &separate, keep_problem, in);
	if (!separate)
	{
		out->len = start;
		return refuse(in, in->problem);
	}
	appendStringInfoChar(out, '}');
	return true;
}

static const FormFunction functions[CAPI_FORM_COUNT] = {
	[CAPI_FORM_TEXT] = normalize_text,
	[CAPI_FORM_EMAIL] = normalize_email,
	[CAPI_FORM_PHONE] = normalize_phone,
	[CAPI_FORM_NAME] = normalize_name,
	[CAPI_FORM_GENDER] = normalize_gender,
	[CAPI_FORM_DATE] = normalize_date,
	[CAPI_FORM_CITY] = normalize_city,
	[CAPI_FORM_STATE] = normalize_state,
	[CAPI_FORM_ZIP] = normalize_zip,
	[CAPI_FORM_COUNTRY] = normalize_country,
	[CAPI_FORM_EXTERNAL_ID] = normalize_external_id,
	[CAPI_FORM_IP] = normalize_ip,
	[CAPI_FORM_BROWSER_ID] = normalize_browser_id,
	[CAPI_FORM_URL] = normalize_url,
	[CAPI_FORM_DECIMAL] = normalize_decimal,
	[CAPI_FORM_INTEGER] = normalize_integer,
	[CAPI_FORM_BOOLEAN] = normalize_boolean,
	[CAPI_FORM_FLAG] = normalize_flag,
	[CAPI_FORM_CURRENCY] = normalize_currency,
	[CAPI_FORM_CONTENTS] = normalize_contents,
	[CAPI_FORM_OBJECT] = normalize_object
};

/* Runs a form's function on trimmed, valid text. */
static bool
run_form(int form, Input *in, StringInfo out, const char **problem)
{
	int			start = out->len;
	bool		usable = functions[form] (in, out);

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
open_input(Input *in, const char **problem)
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
	Input		in = {raw, len, country, NULL};

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
		if (!isxdigit((unsigned char) s[i]))
			return false;
		digit |= is_digit(s[i]);
	}
	return digit;
}

bool
capi_normalize(int field, const char *raw, const char *country,
			   StringInfo out, const char **problem)
{
	const CapiFieldInfo *info = capi_field_info(field);
	Input		in = {raw, strlen(raw), country, NULL};
	char		hex[CAPI_HASH_HEX_LEN];
	int			start = out->len;

	if (!open_input(&in, problem))
		return false;
	if (info->flags & CAPI_FIELD_HASHED)
	{
		if (capi_hash_recognise(in.s, in.len, hex))
		{
			appendBinaryStringInfo(out, hex, sizeof(hex));
			return true;
		}
		/* Meta takes SHA-256 only, and hashing a hash never matches */
		if (field != CAPI_FIELD_EXTERNAL_ID && is_md5(in.s, in.len))
		{
			*problem = "an MD5 hash, only SHA-256 is accepted";
			return false;
		}
	}
	return run_form(info->form, &in, out, problem) &&
		capi_normalize_word(info->words, out, start, problem);
}
