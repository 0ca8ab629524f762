/*
 * tap.h
 *		The little of TAP that the unit tests print.
 */
#ifndef CAPI_TEST_TAP_H
#define CAPI_TEST_TAP_H

static int	tap_count = 0;
static int	tap_failed = 0;

static inline void
ok(bool passed, const char *name)
{
	tap_count++;
	if (!passed)
		tap_failed++;
	printf("%sok %d - %s\n", passed ? "" : "not ", tap_count, name);
}

static inline void
is_int(int64 got, int64 expected, const char *name)
{
	ok(got == expected, name);
	if (got != expected)
		printf("#   got " INT64_FORMAT ", expected " INT64_FORMAT "\n",
			   got, expected);
}

static inline void
is_text(const char *got, const char *expected, const char *name)
{
	ok(strcmp(got, expected) == 0, name);
	if (strcmp(got, expected) != 0)
		printf("#        got: %s\n#   expected: %s\n", got, expected);
}

/* Exit status of the program. */
static inline int
done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed == 0 ? 0 : 1;
}

#endif							/* CAPI_TEST_TAP_H */
