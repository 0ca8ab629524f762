/*
 * test_backoff.c
 *		The whole schedule of backoff.c, without sleeping.
 */
#include "postgres.h"

#include <math.h>

#include "base/backoff.h"
#include "tap.h"

int
main(void)
{
	static const int64 ceilings[] = {
		1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000,
		900000, 900000,
	};
	bool		in_range = true;

	for (size_t i = 0; i < lengthof(ceilings); i++)
		is_int(capi_backoff_ceiling_ms((int) i + 1, CAPI_BACKOFF_BASE_MS,
									   CAPI_BACKOFF_CEILING_MS),
			   ceilings[i], psprintf("ceiling of attempt %zu", i + 1));

	is_int(capi_backoff_ceiling_ms(0, 1000, 5000), 1000,
		   "attempt 0 is the first");
	is_int(capi_backoff_ceiling_ms(-5, 1000, 5000), 1000, "so is one below");
	is_int(capi_backoff_ceiling_ms(PG_INT32_MAX, 1000, 5000), 5000,
		   "no attempt overflows");
	is_int(capi_backoff_ceiling_ms(100, 1, PG_INT64_MAX),
		   PG_INT64_MAX, "not even with the highest cap");
	is_int(capi_backoff_ceiling_ms(1, 9000, 5000), 5000, "base above the cap");
	is_int(capi_backoff_ceiling_ms(1, 0, 5000), 1, "base of zero");

	is_int(capi_backoff_delay_ms(1, 0.0, 0), 1, "shortest delay");
	is_int(capi_backoff_delay_ms(1, 0.5, 0), 501, "middle");
	is_int(capi_backoff_delay_ms(1, 0.9999999, 0), 1000, "longest delay");
	is_int(capi_backoff_delay_ms(1, 1.0, 0), 1000, "random of 1 is clamped");
	is_int(capi_backoff_delay_ms(1, -1.0, 0), 1, "negative random is clamped");
	is_int(capi_backoff_delay_ms(1, NAN, 0), 1, "so is not-a-number");
	is_int(capi_backoff_delay_ms(3, 0.0, 2500), 2500, "floor counts");
	is_int(capi_backoff_delay_ms(1, 0.5, 86400000), 86400000,
		   "floor above the ceiling counts too");

	for (int attempt = 1; attempt < 40; attempt++)
	{
		for (double r = 0; r < 1; r += 0.013)
		{
			int64		delay = capi_backoff_delay_ms(attempt, r, 0);

			if (delay < 1 || delay > CAPI_BACKOFF_CEILING_MS)
				in_range = false;
		}
	}
	ok(in_range, "every delay is between 1 and the ceiling");
	return done_testing();
}
