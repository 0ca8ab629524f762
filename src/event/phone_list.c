/*
 * phone_list.c
 *		Where one of several telephone numbers in a text ends.
 *
 * Shops write two numbers into one column, and extensions and remarks behind a
 * number.  Whether the digits are a number is for phone.c.  Pure.
 */
#include "postgres.h"

#include "event/form.h"
#include "event/phone.h"
#include "event/text.h"

int
capi_phone_count_digits(const char *p, const char *end)
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
	return capi_phone_count_digits(p, q) >= CAPI_PHONE_MIN_LISTED;
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

		if (n >= CAPI_PHONE_MIN_LISTED)
		{
			separator = separator_length(p, end);
			if (separator > 0 && !parts_thousands(from, p, end) &&
				is_own_number(from, p + separator, end))
				break;
			separator = 0;
		}
		if (capi_text_digit(&p, end, &c) >= 0)
			n++;
		else if (capi_phone_is_plus(c) && n >= CAPI_PHONE_MIN_LISTED &&
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
bool
capi_phone_cut_remainder(CapiInput *in, int min_digits, int max_rest)
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
			return capi_phone_count_digits(p, end) <= max_rest;
		}
		if (capi_text_digit(&p, end, &c) >= 0)
			n++;
	}
	return false;
}
