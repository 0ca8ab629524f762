/*
 * bucket.c
 *		Lengths of time as the clock on the wall shows them, in the session's time
 *		zone: where the hour, the week, or six hours began in which an order was
 *		placed.
 *
 * Minutes and hours are counted from midnight, days from a Monday, months from a
 * January; so a week begins on Monday, and a day has 23 or 25 hours when summer
 * time begins or ends.  Up to an hour the offset from UTC stays that of the time
 * itself: an hour that comes twice is two.  What is longer and would begin in such
 * an hour begins the first time.
 *
 * By date_trunc(), and by its name of the zone, it would not do: names such as
 * CET are abbreviations to it, without summer time.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#include "store/bucket.h"

PG_FUNCTION_INFO_V1(capi_sql_bucket);

static void
out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("timestamp out of range")));
}

bool
capi_bucket_is_usable(const Interval *length)
{
	if (length->month != 0)
		return length->month > 0 && length->day == 0 && length->time == 0;
	if (length->day != 0)
		return length->day > 0 && length->time == 0;
	return length->time >= USECS_PER_MINUTE && length->time <= USECS_PER_DAY;
}

/* The multiple of step that is not above n. */
static int64
floor_to(int64 n, int64 step)
{
	int64		rest = n % step;

	return n - (rest < 0 ? rest + step : rest);
}

static void
to_first_month(struct pg_tm *tm, int months)
{
	int64		first = floor_to((int64) tm->tm_year * MONTHS_PER_YEAR + tm->tm_mon - 1, months);

	tm->tm_year = (int) (floor_to(first, MONTHS_PER_YEAR) / MONTHS_PER_YEAR);
	tm->tm_mon = (int) (first - (int64) tm->tm_year * MONTHS_PER_YEAR) + 1;
	tm->tm_mday = 1;
}

static void
to_first_day(struct pg_tm *tm, int days)
{
	int			monday = date2j(2000, 1, 3);
	int64		first = floor_to(date2j(tm->tm_year, tm->tm_mon, tm->tm_mday) - monday, days);

	if (monday + first < 0)
		out_of_range();
	j2date((int) (monday + first), &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
}

/* Where the clock on the wall shows that twice, the first time. */
static TimestampTz
first_of(struct pg_tm *tm, fsec_t fsec, TimestampTz at)
{
	struct pg_tm shown;
	fsec_t		shown_fsec;
	int			before;
	int			tz;
	TimestampTz earlier;

	if (timestamp2tm(at - USECS_PER_DAY, &before, &shown, &shown_fsec, NULL, NULL) != 0 ||
		tm2timestamp(tm, fsec, &before, &earlier) != 0 || earlier >= at ||
		timestamp2tm(earlier, &tz, &shown, &shown_fsec, NULL, NULL) != 0)
		return at;
	return tz == before ? earlier : at;
}

TimestampTz
capi_bucket_begin(const Interval *length, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;
	int64		of_day;
	TimestampTz result;

	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (timestamp2tm(at, &tz, &tm, &fsec, NULL, NULL) != 0)
		out_of_range();
	of_day = ((tm.tm_hour * MINS_PER_HOUR + tm.tm_min) * SECS_PER_MINUTE + tm.tm_sec) *
		USECS_PER_SEC + fsec;
	if (length->time > 0 && length->time <= USECS_PER_HOUR)
		return at - of_day % length->time;
	of_day = length->time > 0 ? floor_to(of_day, length->time) : 0;
	if (length->month > 0)
		to_first_month(&tm, length->month);
	else if (length->day > 0)
		to_first_day(&tm, length->day);
	tm.tm_hour = (int) (of_day / USECS_PER_HOUR);
	tm.tm_min = (int) (of_day % USECS_PER_HOUR / USECS_PER_MINUTE);
	tm.tm_sec = (int) (of_day % USECS_PER_MINUTE / USECS_PER_SEC);
	fsec = (fsec_t) (of_day % USECS_PER_SEC);
	tz = DetermineTimeZoneOffset(&tm, session_timezone);
	if (tm2timestamp(&tm, fsec, &tz, &result) != 0)
		out_of_range();
	return length->time > 0 ? first_of(&tm, fsec, result) : result;
}

/* capi._bucket(at timestamptz, length interval) */
Datum
capi_sql_bucket(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(capi_bucket_begin(PG_GETARG_INTERVAL_P(1), PG_GETARG_TIMESTAMPTZ(0)));
}
