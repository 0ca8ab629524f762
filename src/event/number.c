/*
 * number.c
 *		Whole numbers that were written as others (number.h).
 *
 * Digits that a float or a cell has dropped cannot be told from zeros, so what
 * has too few of them is refused: the rest would be somebody else's number.
 */
#include "postgres.h"

#include <unictype.h>

#include "event/number.h"
#include "event/text.h"

/* Whole numbers from 2^53 on are not told from their neighbours by a float8. */
#define MAX_EXACT			"9007199254740992"
#define MAX_EXACT_DIGITS	16

/* The same of a float4, from 2^24 on, of which nine digits are printed at most. */
#define MAX_EXACT_REAL			"16777216"
#define MAX_EXACT_REAL_DIGITS	8
#define MAX_REAL_DIGITS			9

#define MAX_EXPONENT_DIGITS	3

#define MAX_DIGITS			(CAPI_NUMBER_MAX_LEN - 1)	/* behind a sign */

/* Digits between two marks of thousands. */
#define GROUP_DIGITS		3
#define INDIAN_GROUP_DIGITS	2

static const char *const digits_lost =
"a number that lost digits in a column or spreadsheet of numbers";

/* The part in front of decimals or exponent, with what may stand in it. */
typedef struct Whole
{
	char	   *digits;			/* MAX_DIGITS */
	int			n;
	char		mark;			/* between groups, 0: there is none */
} Whole;

static inline bool
is_sign(char c)
{
	return c == '+' || c == '-';
}

static inline bool
is_decimal_mark(char c)
{
	return c == '.' || c == ',';
}

static inline bool
is_group_mark(char c)
{
	return is_decimal_mark(c) || c == ' ' || c == '\'';
}

/*
 * Reads digits, in a row or in groups with one and the same mark: of three, in
 * India all but the last of two.  False if there is anything else.
 */
static bool
read_whole(Whole *whole, const char *s, const char *end)
{
	char		mark = 0;
	int			group = 0;

	whole->n = 0;
	for (; s < end; s++)
	{
		if (capi_form_is_digit(*s))
		{
			if (whole->n == MAX_DIGITS)
				return false;
			whole->digits[whole->n++] = *s;
			group++;
			continue;
		}
		if (!is_group_mark(*s) || group == 0 || group > GROUP_DIGITS ||
			(mark != 0 && *s != mark) ||
			(mark != 0 && group < GROUP_DIGITS &&
			 (mark != ',' || group < INDIAN_GROUP_DIGITS)))
			return false;
		mark = *s;
		group = 0;
	}
	whole->mark = mark;
	return whole->n > 0 && (mark == 0 || group == GROUP_DIGITS);
}

/* May the digits be those of a float8's neighbour? */
static bool
is_inexact(const char *digits, int n)
{
	while (n > 0 && *digits == '0')
	{
		digits++;
		n--;
	}
	return n > MAX_EXACT_DIGITS ||
		(n == MAX_EXACT_DIGITS && memcmp(digits, MAX_EXACT, n) >= 0);
}

/* The same of a float4's.  More digits than those it is never printed with. */
static bool
is_inexact_real(const char *digits, int n)
{
	return n <= MAX_REAL_DIGITS &&
		(n > MAX_EXACT_REAL_DIGITS ||
		 (n == MAX_EXACT_REAL_DIGITS && memcmp(digits, MAX_EXACT_REAL, n) >= 0));
}

/* Puts the digits into the place of the text, behind the sign it had. */
static void
replace_text(CapiInput *in, char *digits, int n)
{
	bool		sign = is_sign(*in->s);

	digits[-1] = *in->s;
	in->s = digits - sign;
	in->len = n + sign;
}

/* 10115.0, 1.712.345.678,00.  As capi_number_mend, s without the sign. */
static bool
mend_decimals(CapiInput *in, const char *s, int min_digits, char *digits)
{
	const char *end = in->s + in->len;
	const char *p = end;
	Whole		whole = {.digits = digits};
	int			zeros;

	while (p > s && p[-1] == '0')
		p--;
	zeros = end - p;
	if (zeros == 0 || p == s || !is_decimal_mark(*--p) ||
		!read_whole(&whole, s, p) || whole.mark == *p ||
		whole.n < min_digits)
		return true;
	/* 10.000 may be ten thousand */
	if (zeros == GROUP_DIGITS && whole.n <= GROUP_DIGITS && whole.mark == 0)
		return true;
	if (zeros == 1 && is_inexact(whole.digits, whole.n))
		return capi_form_refuse(in, digits_lost);
	replace_text(in, digits, whole.n);
	return true;
}

/* What stands behind the digits: E+12, e9, D+09, x10^9. */
typedef struct Exponent
{
	const char *begins;			/* where the digits end */
	int			value;
	bool		explicit;		/* nobody's id has it */
	bool		real;			/* written as float4 columns are printed: e+07 */
} Exponent;

static const char *
skip_spaces_back(const char *s, const char *p)
{
	while (p > s && p[-1] == ' ')
		p--;
	return p;
}

/* Looks from the end for an exponent; false if there is none. */
static bool
find_exponent(const char *s, const char *end, Exponent *exponent)
{
	const char *p = end;
	bool		sign = false;
	bool		minus = false;

	while (p > s && end - p <= MAX_EXPONENT_DIGITS && capi_form_is_digit(p[-1]))
		p--;
	if (p == end || end - p > MAX_EXPONENT_DIGITS)
		return false;
	exponent->value = 0;
	for (const char *q = p; q < end; q++)
		exponent->value = exponent->value * 10 + (*q - '0');
	if (p > s && is_sign(p[-1]))
	{
		sign = true;
		minus = *--p == '-';
	}
	if (minus)
		exponent->value = -exponent->value;
	exponent->explicit = sign && !minus;
	exponent->real = end - p == 3 && *p == '+' && p > s && p[-1] == 'e';
	if (p - s > 3 && p[-1] == '^' && p[-2] == '0' && p[-3] == '1')
	{
		p = skip_spaces_back(s, p - 3);
		if (p == s || strchr("xX*", p[-1]) == NULL)
			return false;
		exponent->explicit = true;
	}
	else if (p == s || strchr(sign ? "eEdD" : "eE", p[-1]) == NULL)
		return false;
	p--;
	exponent->begins = exponent->explicit ? skip_spaces_back(s, p) : p;
	return exponent->begins > s;
}

/* 4.917112345678E+12.  As mend_decimals. */
static bool
mend_exponent(CapiInput *in, const char *s, const Exponent *exponent,
			  char *digits)
{
	int			point = -1;		/* digits in front of it */
	int			n = 0;

	for (; s < exponent->begins; s++)
	{
		if (capi_form_is_digit(*s) && n < MAX_DIGITS)
			digits[n++] = *s;
		else if (is_decimal_mark(*s) && point < 0 && n > 0)
			point = n;
		else
			return true;
	}
	/* 12345e67 is an id of somebody's */
	if (n == 0 || (point < 0 && !exponent->explicit))
		return true;
	point = (point < 0 ? n : point) + exponent->value;
	/* Ruby's way: 0.1712345678e10 */
	for (; n > 1 && *digits == '0'; n--, point--)
		digits++;
	while (n > 1 && n > point && digits[n - 1] == '0')
		n--;
	if (*digits == '0')
		n = point = 1;
	if (n != point || is_inexact(digits, n) ||
		(exponent->real && is_inexact_real(digits, n)))
		return capi_form_refuse(in, digits_lost);
	replace_text(in, digits, n);
	return true;
}

/* The ASCII that stands for a character in numbers, or 0. */
static char
ascii_of(uint32 c)
{
	if (c > 0xFF00 && c < 0xFF5F)
		return c - 0xFF00 + ' ';	/* full width */
	if (uc_is_property_white_space(c))
		return ' ';
	switch (c)
	{
		case 0x066B:			/* Arabic decimal separator */
			return '.';
		case 0x066C:			/* and that of thousands */
		case 0x2018:
		case 0x2019:
			return '\'';
		case 0x201C:
		case 0x201D:
			return '"';
		case 0x2212:
			return '-';
		case 0x00D7:
			return 'x';
		default:
			return 0;
	}
}

void
capi_number_to_ascii(CapiInput *in)
{
	const char *p = in->s;
	const char *end = p + in->len;
	char	   *copy;
	char	   *to;

	while (p < end && !IS_HIGHBIT_SET(*p))
		p++;
	if (p == end)
		return;
	copy = to = palloc(in->len + 1);
	for (p = in->s; p < end;)
	{
		const char *from = p;
		uint32		c;
		int			digit = capi_text_digit(&p, end, &c);
		char		ascii = digit >= 0 ? '0' + digit : ascii_of(c);

		if (IS_HIGHBIT_SET(*from) && ascii != 0)
			*to++ = ascii;
		else
		{
			memcpy(to, from, p - from);
			to += p - from;
		}
	}
	in->s = copy;
	in->len = to - copy;
}

/* Only what a number is written with? */
static bool
is_plain(const char *s, int len)
{
	for (int i = 0; i < len; i++)
		if (strchr("0123456789.,+-", s[i]) == NULL)
			return false;
	return true;
}

void
capi_number_unwrap(CapiInput *in)
{
	const char *s = in->s;
	int			len = in->len;

	if (len > 3 && s[0] == '=' && s[1] == '"' && s[len - 1] == '"')
	{
		s += 2;
		len -= 3;
		/* of a file that nobody has parsed */
		if (len > 2 && s[0] == '"' && s[len - 1] == '"')
		{
			s++;
			len -= 2;
		}
	}
	else if (len > 1 && s[0] == '\'' && is_plain(s + 1, len - 1))
	{
		s++;
		len--;
	}
	else if (len > 2 && s[0] == '"' && s[len - 1] == '"' && is_plain(s + 1, len - 2))
	{
		s++;
		len -= 2;
	}
	in->s = s;
	in->len = len;
}

bool
capi_number_is_fraction(const CapiInput *in, int min_digits)
{
	const char *end = in->s + in->len;
	const char *mark = end;
	char		digits[MAX_DIGITS];
	Whole		whole = {.digits = digits};

	while (mark > in->s && capi_form_is_digit(mark[-1]))
		mark--;
	if (mark == end || mark == in->s || !is_decimal_mark(*--mark) ||
		!read_whole(&whole, in->s + is_sign(*in->s), mark) ||
		whole.mark == *mark || whole.n < min_digits)
		return false;
	for (const char *p = mark + 1; p < end; p++)
		if (*p != '0')
			return true;
	return false;
}

bool
capi_number_mend(CapiInput *in, int min_digits, char *buf)
{
	CapiInput	plain;
	Exponent	exponent;
	const char *s;
	const char *end;
	bool		whole;

	capi_number_unwrap(in);
	/* seen from the end, so that nearly every text is left at once */
	if (in->len < 3 || !(capi_form_is_digit(in->s[in->len - 1]) ||
						 IS_HIGHBIT_SET(in->s[in->len - 1])))
		return true;
	plain = *in;
	capi_number_to_ascii(&plain);
	s = plain.s + is_sign(*plain.s);
	end = plain.s + plain.len;
	if (find_exponent(s, end, &exponent))
		whole = mend_exponent(&plain, s, &exponent, buf + 1);
	else
		whole = end[-1] != '0' || mend_decimals(&plain, s, min_digits, buf + 1);
	if (!whole)
		return capi_form_refuse(in, plain.problem);
	if (plain.s >= buf && plain.s < buf + CAPI_NUMBER_MAX_LEN)
		*in = plain;
	return true;
}
