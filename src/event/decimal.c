/*
 * decimal.c
 *		Numbers as JSON takes them, without loss (decimal.h).
 *
 * Works on the digits of the text.  Binary floating point would turn prices
 * into neighbours, and the server's numeric type keeps trailing zeros.
 */
#include "postgres.h"

#include <unictype.h>

#include "event/currency.h"
#include "event/decimal.h"
#include "event/text.h"

/* Exponents of numbers from float8 columns that are written out in full. */
#define MAX_EXPONENT		30

/* Of a number that is taken; moving its point may add some. */
#define MAX_DECIMAL_DIGITS	100
#define MAX_SHIFTED_DIGITS	(MAX_DECIMAL_DIGITS + MAX_EXPONENT)

#define MAX_UNIT_BYTES		16

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
			if (*n == MAX_SHIFTED_DIGITS)
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

/* Appends the number unless it needs more digits than max_digits. */
static bool
append_number(StringInfo out, const char *s, int len, bool integer,
			  int max_digits)
{
	char		digits[MAX_SHIFTED_DIGITS];
	int			n;
	int			point;
	int			first = 0;
	bool		sign = len > 0 && (s[0] == '-' || s[0] == '+');

	if (!scan_decimal(s + sign, len - sign, digits, &n, &point) ||
		Max(n, point) - Min(point - 1, 0) > max_digits)
		return false;
	while (n > 0 && n > point && digits[n - 1] == '0')
		n--;
	while (first < n && first < point && digits[first] == '0')
		first++;
	if (integer && n > point)
		return false;
	if (first == n)
	{
		appendStringInfoChar(out, '0');
		return true;
	}
	if (s[0] == '-')
		appendStringInfoChar(out, '-');
	if (first >= point)
		appendStringInfoChar(out, '0');
	for (int i = first; i < point; i++)
		appendStringInfoChar(out, i < n ? digits[i] : '0');
	if (n > point)
	{
		appendStringInfoChar(out, '.');
		for (int i = point; i < 0; i++)
			appendStringInfoChar(out, '0');
		for (int i = Max(first, point); i < n; i++)
			appendStringInfoChar(out, digits[i]);
	}
	return true;
}

bool
capi_decimal_append(StringInfo out, const char *s, int len, bool integer)
{
	return append_number(out, s, len, integer, MAX_DECIMAL_DIGITS);
}

void
capi_decimal_shift(StringInfo out, int start, int digits)
{
	char	   *shifted = psprintf("%se-%d", out->data + start, digits);

	out->len = start;
	(void) append_number(out, shifted, strlen(shifted), false,
						 MAX_SHIFTED_DIGITS);
	pfree(shifted);
}

/* ---------- amounts ---------- */

/* An amount's sign, digits and marks: "." and ",", and " " for all others. */
typedef struct Amount
{
	char		marks[CAPI_DECIMAL_MAX_LEN];
	int			len;
	bool		minus;
} Amount;

/* Is the key of a word (capi_text_key) that of a currency? */
static bool
is_unit(const char *key)
{
	static const char *const units[] = {
		"a", "au", "bs", "c", "ca", "din", "ft", "fr", "hk", "kc", "kn", "kr",
		"lei", "lv", "nt", "nz", "r", "rm", "rp", "rs", "s", "sfr", "sfrs",
		"tl", "us", "zl", "zł", "дин", "лв", "грн", "р", "руб", "円", "元",
		"\xE1\x84\x8B\xE1\x85\xAF\xE1\x86\xAB"	/* won, decomposed */
	};
	char		code[MAX_UNIT_BYTES];
	int			n = strlen(key);

	for (int i = 0; i <= n; i++)
		code[i] = pg_ascii_toupper(key[i]);
	if (capi_currency_exponent(code) >= 0)
		return true;
	for (int i = 0; i < (int) lengthof(units); i++)
		if (strcmp(units[i], key) == 0)
			return true;
	return false;
}

/* Steps over a currency in letters or signs; false if it is something else. */
static bool
skip_unit(const char **p, const char *end)
{
	const char *start = *p;
	bool		letters = false;
	char		key[MAX_UNIT_BYTES];

	while (*p < end)
	{
		const char *q = *p;
		uint32		c = capi_text_next(&q, end);

		if (uc_is_alpha(c))
			letters = true;
		else if (!uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Sc) &&
				 !(c == '.' && letters))
			break;
		*p = q;
	}
	if (!letters)
		return *p > start;
	return capi_text_key(key, sizeof(key), start, *p - start) > 0 &&
		is_unit(key);
}

/* Adds a digit or mark; false if there is no room or it is neither. */
static bool
read_mark(Amount *amount, const char **p, const char *end)
{
	uint32		c;
	int			digit = capi_text_digit(p, end, &c);
	char		mark;

	if (digit >= 0)
		mark = '0' + digit;
	else if (c == '.' || c == 0x066B)	/* Arabic decimal separator */
		mark = '.';
	else if (c == ',')
		mark = ',';
	else if (c == '\'' || c == 0x2019 || c == 0x066C ||
			 uc_is_property_white_space(c))
		mark = ' ';
	else
		return false;
	if (amount->len == CAPI_DECIMAL_MAX_LEN - 2)
		return false;
	amount->marks[amount->len++] = mark;
	return true;
}

static bool
is_minus(uint32 c)
{
	return c == '-' || c == 0x2212;
}

/* Reads sign and unit in either order, the number, and a unit behind it. */
static bool
read_amount(Amount *amount, const char *p, const char *end)
{
	bool		unit = false;

	while (p < end)
	{
		const char *q = p;
		uint32		c = capi_text_next(&q, end);

		if (is_digit(*p) || uc_decimal_value(c) >= 0 ||
			(c == '.' && q < end && is_digit(*q)))
			break;
		if (is_minus(c) && !amount->minus)
			amount->minus = true;
		else if (!uc_is_property_white_space(c))
		{
			if (unit || !skip_unit(&p, end))
				return false;
			unit = true;
			continue;
		}
		p = q;
	}
	while (p < end)
	{
		const char *q = p;

		if (!read_mark(amount, &q, end))
			break;
		p = q;
	}
	while (amount->len > 0 && amount->marks[amount->len - 1] == ' ')
		amount->len--;
	return amount->len > 0 && (p == end || (!unit && skip_unit(&p, end) &&
											p == end));
}

static int
count_mark(const Amount *amount, char mark)
{
	int			n = 0;

	for (int i = 0; i < amount->len; i++)
		n += amount->marks[i] == mark;
	return n;
}

/*
 * The mark before the decimals, 0 if there is none, or -1 if that cannot be
 * told: of a point and a comma the one that comes last, a mark that comes twice
 * never, a point alone, a comma alone unless three digits follow.
 */
static int
decimal_mark(const Amount *amount)
{
	int			points = count_mark(amount, '.');
	int			commas = count_mark(amount, ',');
	char		last = 0;
	int			behind = 0;

	for (int i = 0; i < amount->len; i++)
	{
		behind++;
		if (!is_digit(amount->marks[i]) && amount->marks[i] != ' ')
		{
			last = amount->marks[i];
			behind = 0;
		}
	}
	if (points > 0 && commas > 0)
		return (last == '.' ? points : commas) == 1 ? last : -1;
	if (points + commas != 1)
		return 0;
	if (last == ',' && behind == 3 && amount->marks[0] != '0')
		return -1;
	return last;
}

/*
 * Keeps the digits and the decimal mark, as a point.  Returns the length, or 0
 * if the other marks do not part thousands: in threes, in India all but the
 * last in twos.
 */
static int
write_plain(const Amount *amount, char mark, char *plain)
{
	bool		grouped = false;
	bool		decimals = false;
	int			group = 0;		/* digits since the last mark */
	int			n = 0;

	if (amount->minus)
		plain[n++] = '-';
	for (int i = 0; i < amount->len; i++)
	{
		char		c = amount->marks[i];

		if (is_digit(c))
		{
			plain[n++] = c;
			group++;
			continue;
		}
		if (decimals)
			return 0;
		if (c == mark)
		{
			if (grouped && group != 3)
				return 0;
			decimals = true;
			plain[n++] = '.';
		}
		else if (group > 3 || group < (grouped ? 2 : 1))
			return 0;
		else
			grouped = true;
		group = 0;
	}
	return !decimals && grouped && group != 3 ? 0 : n;
}

int
capi_decimal_from_amount(char *plain, const char *s, int len,
						 const char **problem)
{
	Amount		amount = {.len = 0};
	int			mark;
	int			n;

	*problem = "not a decimal number";
	if (!read_amount(&amount, s, s + len))
		return 0;
	mark = decimal_mark(&amount);
	if (mark < 0)
	{
		*problem = "a comma that may part decimals or thousands";
		return 0;
	}
	n = write_plain(&amount, mark, plain);
	if (n > 0)
		*problem = NULL;
	return n;
}
