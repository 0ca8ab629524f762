/*
 * phone.c
 *		Telephone numbers -> digits with the calling code (form.h).
 *
 * Without a country Meta's rule is followed to the letter: the digits, without
 * leading zeros.  With one, the number is completed by the length and the
 * prefixes of the country's plan.  Whether a number is assigned is not asked:
 * the plans change too often for a table in an extension, and a wrong number
 * merely does not match.
 */
#include "postgres.h"

#include <unictype.h>

#include "event/country.h"
#include "event/form.h"
#include "event/number.h"
#include "event/text.h"

/* Far more than the 15 of E.164, which only numbers with "+" must keep to. */
#define MAX_DIGITS			64

/* ITU-T E.164: at most 15; the shortest in use have a code and four digits. */
#define MIN_E164_DIGITS		7
#define MAX_E164_DIGITS		15

/* Fewer digits do not make a number of a list, or one with an extension. */
#define MIN_LISTED_DIGITS	7
#define MIN_MAIN_DIGITS		4

/* So many digits and a fraction are no area code and a number behind a point. */
#define MIN_WHOLE_DIGITS	9

#define MAX_EXTENSION_DIGITS	3

#define MAX_ITALIAN_MOBILE	10

/* Of the largest integers of 32 bits. */
#define LIMIT_DIGITS		10

#define MAX_CODE_DIGITS		3
#define MAX_WORD_BYTES		32
#define MIN_VANITY_LETTERS	3

static const char *const no_digits = "no digits of a telephone number";
static const char *const too_long = "too many digits for a telephone number";
static const char *const clamped = "the largest integer, not a telephone number";
static const char *const too_short =
"too short for a telephone number of the country";

/* What a text says, up to its extension. */
typedef struct PhoneText
{
	char		digits[MAX_DIGITS];
	int			n;
	bool		plus;			/* a plus sign before the first digit */
	bool		overflow;
	char		keys[MAX_DIGITS];	/* digits, and letters as on a keypad */
	int			nkeys;
} PhoneText;

static inline bool
is_plus(uint32 c)
{
	return c == '+' || c == 0xFF0B;
}

static void
add_digit(PhoneText *phone, int digit)
{
	if (phone->n == MAX_DIGITS)
		phone->overflow = true;
	else
		phone->digits[phone->n++] = '0' + digit;
	if (phone->nkeys < MAX_DIGITS)
		phone->keys[phone->nkeys++] = '0' + digit;
}

/* Adds the letters of a word as the keys of a telephone that bear them. */
static void
add_letters(PhoneText *phone, const char *word, int len)
{
	static const char keypad[] = "22233344455566677778889999";

	for (int i = 0; i < len && phone->nkeys < MAX_DIGITS; i++)
		phone->keys[phone->nkeys++] = keypad[pg_ascii_tolower(word[i]) - 'a'];
}

/* Is what begins at p a digit, but for spaces and dots? */
static bool
digit_follows(const char *p, const char *end)
{
	uint32		c;

	while (p < end && (*p == ' ' || *p == '.' || *p == ':' || *p == '='))
		p++;
	return p < end && capi_text_digit(&p, end, &c) >= 0;
}

/* Words that stand before an extension, as capi_text_key writes them. */
static bool
is_extension_word(const char *key)
{
	static const char *const words[] = {
		"x", "ext", "extn", "xtn", "extension", "extensao", "anexo",
		"durchwahl", "dw", "int", "interno", "poste", "ramal", "toestel",
		"доб", "внутр"
	};

	for (int i = 0; i < (int) lengthof(words); i++)
		if (strcmp(words[i], key) == 0)
			return true;
	return false;
}

/*
 * Steps over a word whose first character begins at start.  True if an
 * extension follows, where the number ends.
 */
static bool
read_word(PhoneText *phone, const char *start, const char **p, const char *end)
{
	char		key[MAX_WORD_BYTES];
	bool		ascii = true;

	*p = start;
	while (*p < end)
	{
		const char *q = *p;
		uint32		c;

		if (capi_text_digit(&q, end, &c) >= 0 || !uc_is_alpha(c))
			break;
		ascii &= c < 0x80;
		*p = q;
	}
	if (phone->n >= MIN_MAIN_DIGITS &&
		capi_text_key(key, sizeof(key), start, *p - start) > 0 &&
		is_extension_word(key) && digit_follows(*p, end))
		return true;
	if (phone->n > 0 && ascii)
		add_letters(phone, start, *p - start);
	return false;
}

static inline bool
begins_with(const char *digits, int n, const char *prefix, int len)
{
	return n > len && strncmp(digits, prefix, len) == 0;
}

/*
 * Is this the "(0)" of +49 (0)171, dialled at home only?  Italian numbers have
 * their zero abroad too, but not those of mobiles, which begin with 3.
 */
static bool
is_home_zero(const PhoneText *phone, const char *p, const char *end)
{
	if (end - p < 3 || strncmp(p, "(0)", 3) != 0 || phone->n == 0)
		return false;
	if (!phone->plus && !begins_with(phone->digits, phone->n, "00", 2) &&
		!begins_with(phone->digits, phone->n, "011", 3))
		return false;
	if (phone->n < 2 ||
		strncmp(phone->digits + phone->n - 2, "39", 2) != 0)
		return true;
	for (p += 3; p < end && *p == ' '; p++)
		 /* to the next digit */ ;
	return p < end && *p == '3';
}

/* Reads a text whose country is known. */
static void
read_phone(const CapiInput *in, PhoneText *phone)
{
	const char *p = in->s;
	const char *end = in->s + in->len;

	while (p < end)
	{
		const char *start = p;
		uint32		c;
		int			digit = capi_text_digit(&p, end, &c);

		if (c == '(' && is_home_zero(phone, start, end))
			p += 2;
		else if (digit >= 0)
			add_digit(phone, digit);
		else if (is_plus(c) && phone->n == 0)
			phone->plus = true;
		else if ((c == '#' || c == ';') && phone->n >= MIN_MAIN_DIGITS)
			break;
		else if (uc_is_alpha(c) && read_word(phone, start, &p, end))
			break;
	}
}

/* The same without a country: all digits count, as the documentation has it. */
static void
read_digits(const CapiInput *in, PhoneText *phone)
{
	const char *p = in->s;
	const char *end = in->s + in->len;

	while (p < end)
	{
		uint32		c;
		int			digit = capi_text_digit(&p, end, &c);

		if (digit >= 0)
			add_digit(phone, digit);
		else if (is_plus(c) && phone->n == 0)
			phone->plus = true;
	}
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

static inline bool
is_national_length(const CapiCountry *country, int n)
{
	return n >= country->min_digits && n <= country->max_digits;
}

/*
 * Length of the trunk prefix the digits begin with, or 0.  One that begins with
 * "0" is always one where the country has it.  Other digits also begin
 * subscribers' numbers, so there only a number that is too long with them and
 * right without has one.
 */
static int
trunk_length(const CapiCountry *country, const char *digits, int n)
{
	const char *trunk = country->trunk;

	while (*trunk != '\0')
	{
		int			len = strcspn(trunk, "|");

		if (begins_with(digits, n, trunk, len) &&
			(trunk[0] == '0' ||
			 (n > country->max_digits && is_national_length(country, n - len))))
			return len;
		trunk += len;
		if (*trunk == '|')
			trunk++;
	}
	return 0;
}

/*
 * Argentine mobile numbers have "15" behind the area code at home, and instead
 * a "9" in front of it abroad.  Area codes have two digits in Buenos Aires,
 * else three or four.  Returns the new length.
 */
static int
move_argentine_mobile(char *digits, int n)
{
	int			area;

	if (n != 12)
		return n;
	if (digits[0] == '1')
		area = 2;
	else
		area = strncmp(digits + 3, "15", 2) == 0 ? 3 : 4;
	if (strncmp(digits + area, "15", 2) != 0)
		return n;
	memmove(digits + 1, digits, area);
	digits[0] = '9';
	memmove(digits + area + 1, digits + area + 2, n - area - 2);
	return n - 1;
}

/*
 * The national significant number in place of one written at home or behind
 * the calling code: without trunk prefix, and what else is not dialled from
 * abroad.  Returns its length.
 */
static int
strip_national(const CapiCountry *country, char *digits, int n)
{
	int			trunk = trunk_length(country, digits, n);
	const char *rest = digits + trunk;

	n -= trunk;
	/* a zero from a habit of elsewhere, where numbers have none in front */
	if (n > country->max_digits && *rest == '0')
		skip_zeros(&rest, &n);
	/* Brazil: the digits of a long-distance carrier come behind the trunk */
	if (trunk > 0 && country->calling_code == 55 && (n == 12 || n == 13))
	{
		rest += 2;
		n -= 2;
	}
	memmove(digits, rest, n);
	return country->calling_code == 54 ? move_argentine_mobile(digits, n) : n;
}

/* Are all digits the same, as people type to get past a form? */
static bool
is_placeholder(const char *digits, int n)
{
	for (int i = 1; i < n; i++)
		if (digits[i] != digits[0])
			return false;
	return true;
}

/* Writes the digits of the calling code, not terminated; returns their number. */
static int
calling_code_digits(const CapiCountry *country, char *digits)
{
	int			n = 1 + (country->calling_code > 9) + (country->calling_code > 99);

	for (int i = n - 1, rest = country->calling_code; i >= 0; i--, rest /= 10)
		digits[i] = '0' + rest % 10;
	return n;
}

/*
 * Does the number lack the zero that it has at home and abroad?  It gets lost in
 * columns of numbers.  In Italy mobiles begin with 3, services with 1, 4, 5
 * and 8; in Ivory Coast and Congo all numbers have one length.
 */
static bool
lacks_zero(const CapiCountry *country, const char *digits, int n)
{
	switch (country->calling_code)
	{
		case 39:
			return n < country->max_digits && strchr("2679", digits[0]) != NULL;
		case 225:
		case 242:
			return n == country->min_digits - 1 &&
				country->min_digits == country->max_digits && digits[0] != '0';
		default:
			return false;
	}
}

/* Appends calling code and national number; NULL, or why it is none. */
static const char *
append_national(const CapiCountry *country, const char *digits, int n,
				StringInfo out)
{
	char		code[MAX_CODE_DIGITS + 1];
	int			code_len;
	bool		zero = n > 0 && lacks_zero(country, digits, n);

	if (n + zero < country->min_digits)
		return too_short;
	if (n > country->max_digits)
		return too_long;
	/* the North American plan: no area code begins with 0 or 1 */
	if (is_placeholder(digits, n) ||
		(country->calling_code == 1 && digits[0] < '2'))
		return "not a telephone number";
	code_len = calling_code_digits(country, code);
	if (zero)
		code[code_len++] = '0';
	capi_text_put(out, code, code_len);
	capi_text_put(out, digits, n);
	return NULL;
}

/* Appends a number that begins with a calling code; NULL or the problem. */
static const char *
append_international(const CapiCountry *home, char *digits, int n,
					 StringInfo out)
{
	const CapiCountry *country;
	int			code_len;

	for (; n > 0 && *digits == '0'; n--)
		digits++;
	if (n == 0)
		return no_digits;
	country = capi_country_by_number(digits, n, home, &code_len);
	if (country != NULL)
	{
		digits += code_len;
		n = strip_national(country, digits, n - code_len);
		return append_national(country, digits, n, out);
	}
	if (n < MIN_E164_DIGITS)
		return too_short;
	if (n > MAX_E164_DIGITS)
		return too_long;
	appendBinaryStringInfo(out, digits, n);
	return NULL;
}

/*
 * Does a number without any prefix already begin with the calling code?  Where
 * national numbers are written with a "0" in front, one that lacks it and
 * begins with the code is taken for complete; elsewhere only if its length
 * cannot be that of a national number.
 */
static bool
has_calling_code(const CapiCountry *country, const char *digits, int n)
{
	char		code[MAX_CODE_DIGITS];
	int			len = calling_code_digits(country, code);
	int			rest = n - len;

	if (!begins_with(digits, n, code, len))
		return false;
	/* Italian numbers that begin with 39 are mobiles, of ten digits at most */
	if (country->calling_code == 39 && n > MAX_ITALIAN_MOBILE)
		return is_national_length(country, rest);
	rest -= trunk_length(country, digits + len, rest);
	if (!is_national_length(country, rest))
		return false;
	return country->trunk[0] == '0' || !is_national_length(country, n);
}

/* Appends a number dialled in that country; NULL or the problem. */
static const char *
append_dialled(const CapiCountry *home, char *digits, int n, StringInfo out)
{
	const CapiCountry *country;
	int			idd = strlen(home->idd);
	int			code_len;
	int			stripped;

	if (idd > 0 && begins_with(digits, n, home->idd, idd))
		return append_international(home, digits + idd, n - idd, out);
	if (begins_with(digits, n, "00", 2))
		return append_international(home, digits + 2, n - 2, out);
	if (has_calling_code(home, digits, n))
		return append_international(home, digits, n, out);

	/* a foreign number without plus sign is too long and has its own length */
	if (n > home->max_digits && digits[0] != '0' &&
		trunk_length(home, digits, n) == 0)
	{
		country = capi_country_by_number(digits, n, home, &code_len);
		if (country != NULL && is_national_length(country, n - code_len))
			return append_international(home, digits, n, out);
	}
	stripped = strip_national(home, digits, n);
	return append_national(home, digits, stripped, out);
}

/*
 * Letters stand for digits in North America; elsewhere they are remarks, and
 * with few of them also there.
 */
static bool
may_be_vanity(const CapiCountry *home, const PhoneText *phone)
{
	return home->calling_code == 1 &&
		phone->nkeys - phone->n >= MIN_VANITY_LETTERS;
}

/*
 * Appends the number; NULL or the problem.  No calling code begins with 0, so a
 * plus sign in front of one is a mistake.
 */
static const char *
append_phone(const CapiCountry *home, char *digits, int n, bool plus,
			 StringInfo out)
{
	return plus && digits[0] != '0' ?
		append_international(home, digits, n, out) :
		append_dialled(home, digits, n, out);
}

/* A number of a customer whose country is known. */
static bool
complete_phone(CapiInput *in, const CapiCountry *home, StringInfo out)
{
	PhoneText	phone = {.n = 0};
	bool		vanity;
	const char *problem;

	read_phone(in, &phone);
	if (phone.n == 0)
		return capi_form_refuse(in, no_digits);
	if (phone.overflow)
		return capi_form_refuse(in, too_long);
	vanity = may_be_vanity(home, &phone);
	problem = append_phone(home, phone.digits, phone.n, phone.plus, out);
	if (problem != NULL && vanity)
	{
		int			n = phone.nkeys;

		/* of longer words only as many letters are dialled as count */
		n = Min(n, home->max_digits + (phone.keys[0] == '1' ? 1 : 0));
		problem = append_phone(home, phone.keys, n, phone.plus, out);
	}
	return problem == NULL || capi_form_refuse(in, problem);
}

/* What a column of integers holds when a number was too large for it. */
static bool
is_clamped(const char *s, int len)
{
	static const char *const limits[] = {
		"2147483647", "2,147,483,647", "2.147.483.647", "-2147483648",
		"4294967295", "9223372036854775807", "18446744073709551615"
	};

	for (int i = 0; i < (int) lengthof(limits); i++)
		if (len == (int) strlen(limits[i]) && memcmp(s, limits[i], len) == 0)
			return true;
	return false;
}

/* Meta's rule to the letter. */
static bool
append_digits(CapiInput *in, StringInfo out)
{
	PhoneText	phone = {.n = 0};
	const char *digits = phone.digits;
	bool		international;
	bool		zero;

	read_digits(in, &phone);
	if (phone.overflow)
		return capi_form_refuse(in, too_long);
	zero = phone.n > 0 && digits[0] == '0';
	international = phone.plus || begins_with(digits, phone.n, "00", 2);
	skip_zeros(&digits, &phone.n);
	if (phone.n == 0)
		return capi_form_refuse(in, no_digits);
	if (international && phone.n < MIN_E164_DIGITS)
		return capi_form_refuse(in, "too short for a telephone number");
	if (international && phone.n > MAX_E164_DIGITS)
		return capi_form_refuse(in, too_long);
	if (is_clamped(digits, phone.n))
		return capi_form_refuse(in, clamped);
	if (zero && !international)
		in->problem = "sent without calling code, the country is not known";
	appendBinaryStringInfo(out, digits, phone.n);
	return true;
}

/* ---------- several numbers in one text ---------- */

static int
count_digits(const char *p, const char *end)
{
	int			n = 0;
	uint32		c;

	while (p < end)
		if (capi_text_digit(&p, end, &c) >= 0)
			n++;
	return n;
}

/*
 * Length of what may part two numbers at p, or 0: a mark, or a word between
 * spaces.
 */
static int
separator_length(const char *p, const char *end)
{
	static const char *const words[] = {" or ", " and ", " oder ", " und "};

	if (*p == ',' || *p == '|' || *p == '/' || *p == '\n' || *p == ';')
		return 1;
	if (*p == ' ' && end - p > 1 && pg_ascii_tolower(p[1]) >= 'a')
		for (int i = 0; i < (int) lengthof(words); i++)
		{
			int			len = strlen(words[i]);

			if (end - p > len && pg_strncasecmp(p, words[i], len) == 0)
				return len;
		}
	return 0;
}

/* Enough digits up to the next thing that may part numbers? */
static bool
number_follows(const char *p, const char *end)
{
	const char *q = p;

	while (q < end && separator_length(q, end) == 0)
		q++;
	return count_digits(p, q) >= MIN_LISTED_DIGITS;
}

/* Where a number begins with its first digit or plus sign. */
static const char *
first_of_number(const char *p, const char *end)
{
	while (p < end && *p != '+' && !capi_form_is_digit(*p))
		p++;
	return p;
}

/* Does it begin with a plus sign or a zero, as one that is complete? */
static bool
begins_complete(const char *p, const char *end)
{
	p = first_of_number(p, end);
	return p < end && (*p == '+' || *p == '0');
}

/*
 * Is what begins at p, behind n digits from "from" on, a number of its own?  Not
 * behind a complete one when it is none: it may be the end of that one, as in
 * +49 (0) 6421 / 2828282, or lack its area code.
 */
static bool
is_own_number(const char *from, const char *p, const char *end)
{
	return number_follows(p, end) &&
		(begins_complete(p, end) || !begins_complete(from, p));
}

/* Does the comma at p part thousands: 1,712,345,678.0000? */
static bool
parts_thousands(const char *from, const char *p, const char *end)
{
	if (*p != ',' || p == from || !capi_form_is_digit(p[-1]) || end - p < 4)
		return false;
	for (int i = 1; i <= 3; i++)
		if (!capi_form_is_digit(p[i]))
			return false;
	return end - p == 4 || !capi_form_is_digit(p[4]);
}

bool
capi_phone_next(const char **s, int *len, CapiInput *in)
{
	const char *end = *s + *len;
	const char *p = *s;
	const char *from = *s;
	int			n = 0;			/* digits from there on */
	int			separator = 0;

	if (*len == 0)
		return false;
	while (p < end)
	{
		const char *start = p;
		uint32		c;

		if (n >= MIN_LISTED_DIGITS)
		{
			separator = separator_length(p, end);
			if (separator > 0 && !parts_thousands(from, p, end) &&
				is_own_number(from, p + separator, end))
				break;
			separator = 0;
		}
		if (capi_text_digit(&p, end, &c) >= 0)
			n++;
		else if (is_plus(c) && n >= MIN_LISTED_DIGITS &&
				 number_follows(p, end))
		{
			p = start;
			break;
		}
	}
	in->s = from;
	in->len = p - from;
	*s = p + separator;
	*len = end - *s;
	return true;
}

/* ---------- one number ---------- */

/*
 * Cuts what follows a number of so many digits behind a mark that parts numbers,
 * when it is not enough for another one: 512-555-0100 / 12.  False if there is
 * nothing, or more than max_rest digits.
 */
static bool
cut_remainder(CapiInput *in, int min_digits, int max_rest)
{
	const char *p = in->s;
	const char *end = in->s + in->len;
	int			n = 0;

	while (p < end)
	{
		uint32		c;

		if (n >= min_digits && separator_length(p, end) > 0)
		{
			in->len = p - in->s;
			return count_digits(p, end) <= max_rest;
		}
		if (capi_text_digit(&p, end, &c) >= 0)
			n++;
	}
	return false;
}

/* Is there a mark of decimals or an exponent, or the length of a limit? */
static bool
may_be_mended(const CapiInput *in)
{
	for (int i = 0; i < in->len; i++)
		if (in->s[i] == '.' || in->s[i] == ',' || in->s[i] == 'E' ||
			in->s[i] == 'e' || in->s[i] == '^' || in->s[i] == 'D')
			return true;
	return in->len >= LIMIT_DIGITS;
}

static inline bool
is_mended(const CapiInput *number, const char *buf)
{
	return number->s >= buf && number->s < buf + CAPI_NUMBER_MAX_LEN;
}

/* A digit, or what may stand between those of a number with an exponent? */
static bool
is_of_number(const char *s, int at)
{
	return capi_form_is_digit(s[at]) || s[at] == '.' || s[at] == ',' ||
		((s[at] == 'e' || s[at] == 'E') && at > 0 && capi_form_is_digit(s[at - 1])) ||
		(s[at] == '+' && at > 1 && (s[at - 1] == 'e' || s[at - 1] == 'E'));
}

/* Is what is left of a number with digits on both sides of an "E"? */
static bool
has_exponent(const CapiInput *in)
{
	for (int i = 1; i + 1 < in->len; i++)
	{
		bool		sign = in->s[i + 1] == '+' || in->s[i + 1] == '-';
		int			at = i - 1;

		if (in->s[i] != 'e' && in->s[i] != 'E')
			continue;
		if (in->s[i + 1] == ' ')
		{
			/* 4.9171E +11 */
			if (i + 3 < in->len && in->s[i + 2] == '+' && in->s[i - 1] != ' ' &&
				capi_form_is_digit(in->s[i - 1]) && capi_form_is_digit(in->s[i + 3]))
				return true;
			continue;
		}
		while (at > 0 && in->s[at] == ' ')
			at--;
		if (capi_form_is_digit(in->s[at]) && i + 1 + sign < in->len &&
			capi_form_is_digit(in->s[i + 1 + sign]))
			return true;
	}
	return false;
}

/*
 * Length without a last ".0", when it ends a long number in groups: no group
 * has one digit, but of those of pairs behind marks (06.12.34.56.0).
 */
static int
without_zero(const char *s, int run, int len)
{
	int			marks = 0;

	if (len - run < 3 || s[len - 1] != '0' || capi_form_is_digit(s[len - 2]) ||
		count_digits(s, s + len) <= MIN_LISTED_DIGITS)
		return len;
	for (int i = run; i < len; i++)
		marks += !capi_form_is_digit(s[i]);
	return marks == 1 ? len - 2 : len;
}

/*
 * Mends the long numbers within a text: a calling code and a column of numbers
 * put together, +49 1712345678.0, or one with a remark behind it.
 */
static bool
mend_parts(CapiInput *in, char *buf)
{
	StringInfoData text;
	int			at = 0;

	initStringInfo(&text);
	while (at < in->len)
	{
		CapiInput	part = {.s = in->s + at};
		int			from = text.len;

		while (at < in->len && is_of_number(in->s, at))
			at++;
		part.len = in->s + at - part.s;
		if (part.len == 0)
		{
			appendStringInfoChar(&text, in->s[at++]);
			continue;
		}
		if (!capi_number_mend(&part, MIN_LISTED_DIGITS, buf))
			return capi_form_refuse(in, part.problem);
		appendBinaryStringInfo(&text, part.s, part.len);
		if (!is_mended(&part, buf))
			text.len = without_zero(text.data, from, text.len);
	}
	in->s = text.data;
	in->len = text.len;
	return true;
}

/* From the first digit or plus sign to the last digit. */
static CapiInput
take_core(const CapiInput *in)
{
	CapiInput	core = *in;

	while (core.len > 0 && !capi_form_is_digit(*core.s) && *core.s != '+')
	{
		core.s++;
		core.len--;
	}
	while (core.len > 0 && !capi_form_is_digit(core.s[core.len - 1]))
		core.len--;
	return core;
}

/*
 * A number that passed through a column or spreadsheet of numbers, in buf or
 * as it was, also beside a remark.  False with the problem if not all of it is
 * left.
 */
static bool
mend_number(CapiInput *in, char *buf)
{
	CapiInput	number;
	bool		plus;

	capi_number_to_ascii(in);
	if (!may_be_mended(in))
		return true;
	number = take_core(in);
	if (capi_number_is_fraction(&number, MIN_WHOLE_DIGITS))
		return capi_form_refuse(in, "a number with a fraction");
	if (!capi_number_mend(&number, MIN_MAIN_DIGITS, buf))
		return capi_form_refuse(in, number.problem);
	plus = number.len > 0 && *number.s == '+';
	if (is_clamped(number.s + plus, number.len - plus))
		return capi_form_refuse(in, clamped);
	/* only what was changed: the rest may be more than a number */
	if (is_mended(&number, buf))
		*in = number;
	else if (!mend_parts(in, buf))
		return false;
	return !has_exponent(in) || capi_form_refuse(in, "an exponent, not a telephone number");
}

/*
 * Cuts decimals of zeros from one that is too long with them: 6 12 34 56 78.00.
 * False if there are none.
 */
static bool
cut_decimals(CapiInput *in, const CapiCountry *home)
{
	int			n = in->len;

	while (n > 0 && in->s[n - 1] == '0')
		n--;
	if (n == in->len || n < 2 || (in->s[n - 1] != '.' && in->s[n - 1] != ',') ||
		count_digits(in->s, in->s + in->len) <= home->max_digits + 1)
		return false;
	in->len = n - 1;
	return true;
}

bool
capi_form_phone(CapiInput *in, StringInfo out)
{
	const CapiCountry *home = NULL;
	CapiInput	main;
	int			start = out->len;
	char		number[CAPI_NUMBER_MAX_LEN];

	if (!mend_number(in, number))
		return false;
	if (in->country != NULL)
		home = capi_country_find(in->country);
	if (home == NULL)
		return append_digits(in, out);
	main = *in;
	if (cut_decimals(&main, home) && complete_phone(&main, home, out))
		return true;
	out->len = start;
	/* a foreign number is not made of a complete one and an extension */
	main = *in;
	if (cut_remainder(&main, main.s[0] == '+' ? MIN_WHOLE_DIGITS + 1 : MIN_WHOLE_DIGITS,
					  MAX_EXTENSION_DIGITS) &&
		complete_phone(&main, home, out))
		return true;
	out->len = start;
	if (complete_phone(in, home, out))
		return true;
	if (in->problem != too_long ||
		!cut_remainder(in, MIN_LISTED_DIGITS, MAX_DIGITS))
		return false;
	in->problem = NULL;
	out->len = start;
	return complete_phone(in, home, out);
}
