/*
 * decimal.c
 *		Numbers as JSON takes them, without loss (decimal.h).
 *
 * Works on the digits of the text.  Binary floating point would turn prices
 * into neighbours, and the server's numeric type keeps trailing zeros.
 */
#include "postgres.h"

#include "decimal.h"

/* Exponents of numbers from float8 columns that are written out in full. */
#define MAX_EXPONENT		30

#define MAX_DECIMAL_DIGITS	100

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Splits a number into digits and the position of the point among them.
 * False if it is not a number written with digits, point and exponent.
 */
static bool
scan_decimal(const char *s, int len, char *digits, int *n, int *point)
{
	int			i = 0;
	int			exponent = 0;

	*n = 0;
	*point = -1;
	for (; i < len && (is_digit(s[i]) || s[i] == '.'); i++)
	{
		if (s[i] != '.')
		{
			if (*n == MAX_DECIMAL_DIGITS)
				return false;
			digits[(*n)++] = s[i];
		}
		else if (*point >= 0)
			return false;
		else
			*point = *n;
	}
	if (*n == 0)
		return false;
	if (*point < 0)
		*point = *n;
	if (i < len && (s[i] == 'e' || s[i] == 'E'))
	{
		bool		minus = ++i < len && s[i] == '-';

		if (i < len && (s[i] == '-' || s[i] == '+'))
			i++;
		if (i == len)
			return false;
		for (; i < len && is_digit(s[i]) && exponent <= MAX_EXPONENT; i++)
			exponent = exponent * 10 + (s[i] - '0');
		*point += minus ? -exponent : exponent;
	}
	return i == len && exponent <= MAX_EXPONENT;
}

bool
capi_decimal_append(StringInfo out, const char *s, int len, bool integer)
{
	char		digits[MAX_DECIMAL_DIGITS];
	int			n;
	int			point;
	int			first = 0;
	bool		sign = len > 0 && (s[0] == '-' || s[0] == '+');

	if (!scan_decimal(s + sign, len - sign, digits, &n, &point))
		return false;
	while (n > 0 && n > point && digits[n - 1] == '0')
		n--;
	while (first < n && first < point && digits[first] == '0')
		first++;
	if (integer && n > point)
		return false;
	for (int i = first; i < n && s[0] == '-'; i++)
		if (digits[i] != '0')
		{
			appendStringInfoChar(out, '-');
			break;
		}
	if (first >= point)
		appendStringInfoChar(out, '0');
	for (int i = first; i < point; i++)
		appendStringInfoChar(out, i < n ? digits[i] : '0');
	if (n > point && n > 0)
	{
		appendStringInfoChar(out, '.');
		for (int i = point; i < 0; i++)
			appendStringInfoChar(out, '0');
		for (int i = Max(first, point); i < n; i++)
			appendStringInfoChar(out, digits[i]);
	}
	return true;
}

void
capi_decimal_shift(StringInfo out, int start, int digits)
{
	char	   *shifted = psprintf("%se-%d", out->data + start, digits);

	out->len = start;
	(void) capi_decimal_append(out, shifted, strlen(shifted), false);
	pfree(shifted);
}
