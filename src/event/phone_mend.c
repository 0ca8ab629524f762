/*
 * phone_mend.c
 *		What columns and spreadsheets of numbers made of a telephone number.
 *
 * number.c undoes what they do to any number; here is what is so of telephone
 * numbers alone: the calling code beside it, remarks, columns that were too
 * small.  Never a guess: what is not all there is refused.  Pure; called by
 * phone.c.
 */
#include "postgres.h"

#include "event/form.h"
#include "event/number.h"
#include "event/phone.h"

/* Of the largest integers of 32 bits. */
#define LIMIT_DIGITS		10

bool
capi_phone_is_clamped(const char *s, int len)
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
		capi_phone_count_digits(s, s + len) <= CAPI_PHONE_MIN_LISTED)
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
		if (!capi_number_mend(&part, CAPI_PHONE_MIN_LISTED, buf))
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

bool
capi_phone_mend(CapiInput *in, char *buf)
{
	CapiInput	number;
	bool		plus;

	capi_number_to_ascii(in);
	if (!may_be_mended(in))
		return true;
	number = take_core(in);
	if (capi_number_is_fraction(&number, CAPI_PHONE_MIN_WHOLE))
		return capi_form_refuse(in, "a number with a fraction");
	if (!capi_number_mend(&number, CAPI_PHONE_MIN_MAIN, buf))
		return capi_form_refuse(in, number.problem);
	plus = number.len > 0 && *number.s == '+';
	if (capi_phone_is_clamped(number.s + plus, number.len - plus))
		return capi_form_refuse(in, CAPI_PHONE_CLAMPED);
	/* only what was changed: the rest may be more than a number */
	if (is_mended(&number, buf))
		*in = number;
	else if (!mend_parts(in, buf))
		return false;
	return !has_exponent(in) || capi_form_refuse(in, "an exponent, not a telephone number");
}
