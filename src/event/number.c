/*
 * number.c
 *		Whole numbers that were written as others (number.h).
 *
 * Digits that a float or a cell has dropped cannot be told from zeros, so what
 * has too few of them is refused: the rest would be somebody else's number.
 */
#include "postgres.h"

#include "event/number.h"

/* Whole numbers beyond 2^53 are not told from their neighbours by a float8. */
#define MAX_EXACT			"9007199254740992"
#define MAX_EXACT_DIGITS	16

#define MAX_EXPONENT_DIGITS	3

#define MAX_DIGITS			(CAPI_NUMBER_MAX_LEN - 1)	/* behind a sign */

/* Digits between two marks of thousands. */
#define GROUP_DIGITS		3

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

/* Bytes of a mark of thousands at s, or 0. */
static int
group_mark_length(const char *s, const char *end)
{
	static const char *const marks[] = {
		".", ",", " ", "'", "\xC2\xA0", "\xE2\x80\xAF", "\xE2\x80\x99"
	};

	for (int i = 0; i < (int) lengthof(marks); i++)
	{
		int			len = strlen(marks[i]);

		if (end - s > len && memcmp(s, marks[i], len) == 0)
			return len;
	}
	return 0;
}

/*
 * Reads digits, in a row or in groups of three with one and the same mark.
 * False if there is anything else.
 */
static bool
read_whole(Whole *whole, const char *s, const char *end)
{
	const char *mark = NULL;
	int			mark_len = 0;
	int			group = 0;

	whole->n = 0;
	while (s < end)
	{
		int			len;

		if (capi_form_is_digit(*s))
		{
			if (whole->n == MAX_DIGITS)
				return false;
			whole->digits[whole->n++] = *s++;
			group++;
			continue;
		}
		len = group_mark_length(s, end);
		if (len == 0 || group > GROUP_DIGITS ||
			(mark == NULL ? group == 0 : group < GROUP_DIGITS) ||
			(mark != NULL && (len != mark_len || memcmp(s, mark, len) != 0)))
			return false;
		mark = s;
		mark_len = len;
		s += len;
		group = 0;
	}
	whole->mark = mark != NULL ? *mark : 0;
	return whole->n > 0 && (mark == NULL || group == GROUP_DIGITS);
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
		(n == MAX_EXACT_DIGITS && memcmp(digits, MAX_EXACT, n) > 0);
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

/* The text from e on, an "e", as an exponent; -1 if it is none. */
static int
read_exponent(const char *e, const char *end, bool *sign)
{
	const char *p = e + 1;
	int			exponent = 0;

	*sign = p < end && *p == '+';
	p += *sign;
	if (p == end || end - p > MAX_EXPONENT_DIGITS)
		return -1;
	for (; p < end; p++)
	{
		if (!capi_form_is_digit(*p))
			return -1;
		exponent = exponent * 10 + (*p - '0');
	}
	return exponent;
}

/* 4.917112345678E+12.  As mend_decimals; e is where the exponent begins. */
static bool
mend_exponent(CapiInput *in, const char *s, const char *e, char *digits)
{
	bool		sign;
	int			exponent = read_exponent(e, in->s + in->len, &sign);
	int			point = -1;		/* digits in front of it */
	int			n = 0;

	if (exponent < 0)
		return true;
	for (; s < e; s++)
	{
		if (capi_form_is_digit(*s) && n < MAX_DIGITS)
			digits[n++] = *s;
		else if (is_decimal_mark(*s) && point < 0 && n > 0)
			point = n;
		else
			return true;
	}
	/* 12345e67 is an id of somebody's */
	if (n == 0 || (point < 0 && !sign))
		return true;
	point = (point < 0 ? n : point) + exponent;
	while (n > point && digits[n - 1] == '0')
		n--;
	if (n != point || is_inexact(digits, n))
		return capi_form_refuse(in, digits_lost);
	replace_text(in, digits, n);
	return true;
}

bool
capi_number_mend(CapiInput *in, int min_digits, char *buf)
{
	const char *s = in->s;
	const char *end = s + in->len;
	const char *p = end;

	/* seen from the end, so that nearly every text is left at once */
	if (in->len < 3 || !capi_form_is_digit(end[-1]))
		return true;
	s += is_sign(*s);
	while (p > s && end - p <= MAX_EXPONENT_DIGITS && capi_form_is_digit(p[-1]))
		p--;
	if (p > s && p[-1] == '+')
		p--;
	if (p > s && (p[-1] == 'e' || p[-1] == 'E'))
		return mend_exponent(in, s, p - 1, buf + 1);
	return end[-1] != '0' || mend_decimals(in, s, min_digits, buf + 1);
}
