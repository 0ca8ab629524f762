/*
 * backoff.c
 *		When to try again: full-jitter exponential backoff with a ceiling.
 *
 * Pure arithmetic: no clock, no random generator, no state.  The caller keeps
 * the attempt number and brings the random number, so that the whole schedule
 * can be tested without sleeping.
 *
 * Ceilings with the defaults (attempt: milliseconds)
 *		1: 1000	2: 2000	3: 4000	4: 8000	5: 16000	6: 32000	7: 64000
 *		8: 128000	9: 256000	10: 512000	11 and later: 900000
 * The delay is uniform below the ceiling, half of it on average.  There is no
 * last attempt: a retry ends when the event is too old (SPEC 1.3).
 */
#include "postgres.h"

#include "base/backoff.h"

/*
 * Upper bound before jitter of attempt 1, 2, ...; an attempt below 1 counts as
 * the first.  Doubling stops at the cap, so no attempt number can overflow.
 */
int64
capi_backoff_ceiling_ms(int attempt, int64 base_ms, int64 cap_ms)
{
	int64		ceiling = Max(base_ms, 1);

	for (int i = 1; i < attempt && ceiling < cap_ms; i++)
	{
		if (ceiling > cap_ms / 2)
			return cap_ms;
		ceiling *= 2;
	}
	return Min(ceiling, Max(cap_ms, 1));
}

/*
 * Full jitter: uniform in [1, ceiling] for unit_random in [0, 1); a random
 * number outside of that range is clamped.  Never below floor_ms, which the
 * peer asked for and which may therefore exceed the ceiling.
 */
int64
capi_backoff_delay_ms(int attempt, double unit_random, int64 floor_ms)
{
	int64		ceiling;
	int64		delay;

	ceiling = capi_backoff_ceiling_ms(attempt, CAPI_BACKOFF_BASE_MS,
									  CAPI_BACKOFF_CEILING_MS);
	if (!(unit_random > 0.0))	/* also catches not-a-number */
		unit_random = 0.0;

	delay = 1 + (int64) (Min(unit_random, 1.0) * (double) ceiling);
	return Max(Min(delay, ceiling), floor_ms);
}
