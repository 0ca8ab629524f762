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
#include "event/phone.h"
#include "event/text.h"

/* Far more than the 15 of E.164, which only numbers with "+" must keep to. */
#define MAX_DIGITS			64

/* ITU-T E.164: at most 15; the shortest in use have a code and four digits. */
#define MIN_E164_DIGITS		7
#define MAX_E164_DIGITS		15

#define MAX_EXTENSION_DIGITS	3

#define MAX_ITALIAN_MOBILE	10

#define MAX_CODE_DIGITS		3
#define MAX_WORD_BYTES		32
#define MIN_VANITY_LETTERS	3

static const char *const no_digits = "no digits of a telephone number";
static const char *const too_long = "too many digits for a telephone number";
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
	if (phone->n >= CAPI_PHONE_MIN_MAIN &&
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
		else if (capi_phone_is_plus(c) && phone->n == 0)
			phone->plus = true;
		else if ((c == '#' || c == ';') && phone->n >= CAPI_PHONE_MIN_MAIN)
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
		else if (capi_phone_is_plus(c) && phone->n == 0)
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
	if (capi_phone_is_clamped(digits, phone.n))
		return capi_form_refuse(in, CAPI_PHONE_CLAMPED);
	if (zero && !international)
		in->problem = "sent without calling code, the country is not known";
	appendBinaryStringInfo(out, digits, phone.n);
	return true;
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
		capi_phone_count_digits(in->s, in->s + in->len) <= home->max_digits + 1)
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

	if (!capi_phone_mend(in, number))
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
	if (capi_phone_cut_remainder(&main, main.s[0] == '+' ? CAPI_PHONE_MIN_WHOLE + 1 : CAPI_PHONE_MIN_WHOLE,
					  MAX_EXTENSION_DIGITS) &&
		complete_phone(&main, home, out))
		return true;
	out->len = start;
	if (complete_phone(in, home, out))
		return true;
	if (in->problem != too_long ||
		!capi_phone_cut_remainder(in, CAPI_PHONE_MIN_LISTED, MAX_DIGITS))
		return false;
	in->problem = NULL;
	out->len = start;
	return complete_phone(in, home, out);
}
