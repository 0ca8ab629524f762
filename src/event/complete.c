/*
 * complete.c
 *		Fields made of others (complete.h).
 *
 * fbc has the time of the click in it.  A time of our own would differ at each
 * sending, so it is the one that the query gives, or that of the event, which
 * an event keeps however often it is sent.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "event/browser.h"
#include "event/complete.h"
#include "event/entity.h"
#include "event/form.h"
#include "event/none.h"
#include "event/normalize.h"
#include "event/number.h"
#include "event/person.h"
#include "event/text.h"

/* Seconds this large are milliseconds: as seconds they are the year 5138. */
#define MIN_TIME_IN_MS		INT64CONST(100000000000)
#define MAX_TIME_IN_MS		(MIN_TIME_IN_MS * 1000)
#define MAX_TIME_DIGITS		14

/* SPEC 3.2: thirteen digits in an fbc. */
#define MIN_CLICK_TIME		INT64CONST(1000000000000)
#define MAX_CLICK_TIME		INT64CONST(10000000000000)

/* A span of the first value that says something; false if there is none. */
static bool
get_text(const CapiEvent *ev, int field, CapiSpan *span)
{
	const CapiValues *values = &ev->values[field];

	for (int i = 0; i < values->n; i++)
	{
		span->s = values->v[i];
		span->len = strlen(span->s);
		if (!capi_text_is_valid(span->s, span->len))
			return false;
		capi_text_trim(&span->s, &span->len);
		if (span->len > 0)
			return true;
	}
	return false;
}

static void
set_text(CapiEvent *ev, int field, char *text)
{
	memset(&ev->values[field], 0, sizeof(ev->values[field]));
	ev->values[field].n = 1;
	ev->values[field].v = palloc(sizeof(char *));
	ev->values[field].v[0] = text;
}

/* fn and ln, each where the query has none. */
static void
complete_name(CapiEvent *ev, const char *country, CapiContentsReport report,
			  void *arg)
{
	CapiSpan	text;
	CapiSpan	given;
	CapiName	name;
	bool		has_first;
	bool		has_last;

	if (ev->values[CAPI_FIELD_NAME].n == 0)
		return;
	has_first = get_text(ev, CAPI_FIELD_FN, &given);
	has_last = get_text(ev, CAPI_FIELD_LN, &given);
	if ((has_first && has_last) || !get_text(ev, CAPI_FIELD_NAME, &text))
		return;
	text.s = capi_entity_decode(text.s, &text.len, CAPI_ENTITY_TEXT);
	if (!capi_person_split(text.s, text.len, country, &name))
	{
		report(arg, "name", "not the name of a person");
		return;
	}
	if (!has_first && name.first.len > 0)
		set_text(ev, CAPI_FIELD_FN, pnstrdup(name.first.s, name.first.len));
	if (!has_last && name.last.len > 0)
		set_text(ev, CAPI_FIELD_LN, pnstrdup(name.last.s, name.last.len));
}

/* Unix milliseconds of a number of seconds or milliseconds, or 0. */
static int64
time_from_digits(const CapiSpan *text)
{
	int64		number = 0;

	for (int i = 0; i < text->len; i++)
	{
		if (text->s[i] == '.' && i > 0)
			break;				/* fractions of a second */
		if (text->s[i] < '0' || text->s[i] > '9' || i == MAX_TIME_DIGITS)
			return 0;
		number = number * 10 + (text->s[i] - '0');
	}
	if (number < MIN_TIME_IN_MS)
		number *= 1000;
	return number < MAX_TIME_IN_MS ? number : 0;
}

/* Unix milliseconds of what a timestamp column prints, or 0. */
static int64
time_from_timestamp(const CapiSpan *text)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *copy = pnstrdup(text->s, text->len);
	volatile TimestampTz at = DT_NOBEGIN;

	PG_TRY();
	{
		Datum		read = DirectFunctionCall3(timestamptz_in,
											   CStringGetDatum(copy),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1));

		at = DatumGetTimestampTz(read);
	}
	PG_CATCH();
	{
		/* only what the text is to blame for */
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(geterrcode()) !=
			ERRCODE_TO_CATEGORY(ERRCODE_CONFIG_FILE_ERROR))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	if (TIMESTAMP_NOT_FINITE(at))
		return 0;
	return at / 1000 + INT64CONST(1000) * SECS_PER_DAY *
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);
}

/* Words like "now" would mean another time whenever the order is read. */
static bool
has_digit(const CapiSpan *text)
{
	for (int i = 0; i < text->len; i++)
		if (capi_form_is_digit(text->s[i]))
			return true;
	return false;
}

/* When the ad was clicked, in Unix milliseconds, or 0. */
static int64
click_time(const CapiEvent *ev, CapiContentsReport report, void *arg)
{
	CapiSpan	text;
	int64		at;

	if (get_text(ev, CAPI_FIELD_FBCLID_TIME, &text))
	{
		char		number[CAPI_NUMBER_MAX_LEN];
		CapiInput	in = {.s = text.s, .len = text.len};

		if (capi_number_mend(&in, 1, number))
		{
			text.s = in.s;
			text.len = in.len;
		}
		at = time_from_digits(&text);
		if (at == 0 && has_digit(&text))
			at = time_from_timestamp(&text);
		/* of thirteen digits, as it is written, and no click of days to come */
		if (at >= MIN_CLICK_TIME && at < MAX_CLICK_TIME &&
			(!ev->has_event_time || at / 1000 <= ev->event_time_s + SECS_PER_DAY))
			return at;
		report(arg, "fbclid_time", "not a time, that of the event was taken");
	}
	return ev->has_event_time ? ev->event_time_s * 1000 : 0;
}

/* Is the text a whole fbc?  If not, *problem tells why. */
static bool
is_fbc(const CapiSpan *text, const char **problem)
{
	StringInfoData normal;
	bool		whole;

	initStringInfo(&normal);
	whole = capi_normalize_form(CAPI_FORM_BROWSER_ID, text->s, text->len, NULL,
								&normal, problem);
	pfree(normal.data);
	return whole;
}

/* Makes fbc of a text that is one, or has the id of a click; false if not. */
static bool
make_fbc(CapiEvent *ev, const CapiSpan *text, CapiContentsReport report,
		 void *arg)
{
	const char *problem;
	char	   *id;
	int64		at;

	if (is_fbc(text, &problem))
	{
		set_text(ev, CAPI_FIELD_FBC, pnstrdup(text->s, text->len));
		return true;
	}
	id = capi_browser_click_id(text->s, text->len);
	if (id == NULL)
		return false;
	at = click_time(ev, report, arg);
	if (at > 0)
		set_text(ev, CAPI_FIELD_FBC, psprintf("fb.1." INT64_FORMAT ".%s", at, id));
	return true;
}

/*
 * fbc from a click id or a URL with one, in place of the fbc itself or in the
 * column fbclid, which also helps where the fbc is a bad one.  A good fbc is
 * never touched.
 */
static void
complete_click(CapiEvent *ev, CapiContentsReport report, void *arg)
{
	CapiSpan	text;
	const char *problem = NULL;

	/* as a rule there is one, or nothing to make it of */
	if (ev->values[CAPI_FIELD_FBCLID].n == 0 &&
		(ev->values[CAPI_FIELD_FBC].n == 0 ||
		 strncmp(ev->values[CAPI_FIELD_FBC].v[0], "fb.", 3) == 0))
		return;
	if (get_text(ev, CAPI_FIELD_FBC, &text))
	{
		if (is_fbc(&text, &problem) || make_fbc(ev, &text, report, arg))
			return;
	}
	if (!get_text(ev, CAPI_FIELD_FBCLID, &text))
		return;
	if (capi_none_is(text.s, text.len))
		report(arg, "fbclid", capi_none_problem);
	else if (!make_fbc(ev, &text, report, arg))
		report(arg, "fbclid", "not a click id, nor a URL with fbclid");
	else if (problem != NULL)
		report(arg, "fbc", problem);
}

void
capi_complete_event(CapiEvent *ev, const char *country,
					CapiContentsReport report, void *arg)
{
	complete_name(ev, country, report, arg);
	complete_click(ev, report, arg);
}
