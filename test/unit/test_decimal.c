/*
 * test_decimal.c
 *		Decimals at their limits: a number that is sent is one in JSON's sense,
 *		however its point is moved.
 */
#include "postgres.h"

#include "event/decimal.h"

#include "tap.h"

#define DIGITS_10	"1234567890"
#define DIGITS_50	DIGITS_10 DIGITS_10 DIGITS_10 DIGITS_10 DIGITS_10
#define DIGITS_90	DIGITS_50 DIGITS_10 DIGITS_10 DIGITS_10 DIGITS_10

static const struct
{
	const char *text;
	const char *normal;			/* NULL: refused */
	const char *shifted;		/* by two digits */
}			cases[] = {
	{"6480", "6480", "64.8"},
	{"0", "0", "0"},
	{"0e5", "0", "0"},
	{"-0.00e3", "0", "0"},
	{"0e-5", "0", "0"},
	{"-5", "-5", "-0.05"},
	{"0.5", "0.5", "0.005"},
	{"1e2", "100", "1"},
	{"1e30", "1000000000000000000000000000000",
	"10000000000000000000000000000"},
	{"1e-30", "0.000000000000000000000000000001",
	"0.00000000000000000000000000000001"},
	{"1e31", NULL, NULL},
	{"1e99999999999", NULL, NULL},
	{DIGITS_90 DIGITS_10, DIGITS_90 DIGITS_10,
	DIGITS_90 "12345678.9"},
	{DIGITS_90 DIGITS_10 "1", NULL, NULL},
	{DIGITS_90 "e30", NULL, NULL},
	{"0." DIGITS_90 "e-30", NULL, NULL},
	{"." DIGITS_90 DIGITS_10, NULL, NULL},
	{"", NULL, NULL},
	{".", NULL, NULL},
	{"-", NULL, NULL},
	{"1e", NULL, NULL},
	{"1e+", NULL, NULL},
	{"1.2.3", NULL, NULL},
};

int
main(void)
{
	for (size_t i = 0; i < lengthof(cases); i++)
	{
		StringInfoData out;
		bool		usable;

		initStringInfo(&out);
		appendStringInfoString(&out, "before ");
		usable = capi_decimal_append(&out, cases[i].text,
									 strlen(cases[i].text), false);
		is_text(out.data + 7, cases[i].normal != NULL ? cases[i].normal : "",
				cases[i].text);
		ok(usable == (cases[i].normal != NULL), "usable or not");
		if (!usable || cases[i].shifted == NULL)
			continue;
		capi_decimal_shift(&out, 7, 2);
		is_text(out.data + 7, cases[i].shifted, "in minor units");
	}
	return done_testing();
}
