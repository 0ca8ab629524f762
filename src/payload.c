/*
 * payload.c
 *		Raw event -> verdict and JSON (payload.h).
 *
 * An event is refused here only when Meta would refuse it, because there one
 * bad event sinks the other 999 of its request (SPEC 1.3).  A field that cannot
 * be used is left out and named among the event's problems, never with its
 * value.  Works without a transaction; the caller frees by memory context.
 *
 * event_source_url and client_user_agent of website events are documented as
 * required but not enforced (SPEC 2.1), so they are not asked for here.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"

#include "capi.h"
#include "contents.h"
#include "country.h"
#include "hash.h"
#include "normalize.h"
#include "payload.h"
#include "text.h"

#define MAX_CLOCK_AHEAD_S	60	/* SPEC 1.3: tolerance is not documented */

/* Seconds this large are milliseconds: as seconds they are the year 5138. */
#define MIN_TIME_IN_MS		INT64CONST(100000000000)

#define BIT(field)			(UINT64CONST(1) << (field))

#define USER_DATA_FIELDS \
	(BIT(CAPI_FIELD_FIRST_CUSTOM_DATA) - BIT(CAPI_FIELD_FIRST_USER_DATA))

StaticAssertDecl(CAPI_FIELD_COUNT <= 64, "a set of fields fits 64 bits");

/*
 * SPEC 3.1: an event is refused when all of its user_data is within one of
 * these sets.
 */
static const uint64 insufficient_sets[] = {
	BIT(CAPI_FIELD_CT) | BIT(CAPI_FIELD_COUNTRY) | BIT(CAPI_FIELD_ST) |
	BIT(CAPI_FIELD_ZP) | BIT(CAPI_FIELD_GE) | BIT(CAPI_FIELD_CLIENT_USER_AGENT),
	BIT(CAPI_FIELD_DB) | BIT(CAPI_FIELD_CLIENT_USER_AGENT),
	BIT(CAPI_FIELD_FN) | BIT(CAPI_FIELD_GE),
	BIT(CAPI_FIELD_LN) | BIT(CAPI_FIELD_GE)
};

/* State of one event being written. */
typedef struct Writer
{
	CapiEvent  *ev;
	StringInfo	out;
	StringInfoData scratch;		/* normal form of one value */
	const char *country;		/* alpha-2 of the customer's, or NULL */
	int64		now_s;
	uint64		written;		/* set of fields */
	int			field;			/* being written */
} Writer;

static void
add_problem(CapiEvent *ev, const char *where, const char *problem)
{
	if (ev->problems.data == NULL)
		initStringInfo(&ev->problems);
	else if (ev->problems.len > 0)
		appendStringInfoChar(&ev->problems, ',');
	appendStringInfoString(&ev->problems, "{\"field\":");
	capi_text_append_json(&ev->problems, where, strlen(where));
	appendStringInfoString(&ev->problems, ",\"problem\":");
	capi_text_append_json(&ev->problems, problem, strlen(problem));
	appendStringInfoChar(&ev->problems, '}');
}

/* CapiContentsReport; an empty name means the field itself. */
static void
report_problem(void *arg, const char *where, const char *problem)
{
	Writer	   *w = arg;

	if (where[0] == '\0')
		where = capi_field_info(w->field)->name;
	add_problem(w->ev, where, problem);
}

static void
judge(CapiEvent *ev, CapiVerdict verdict, const char *reason, int subcode)
{
	ev->verdict = verdict;
	ev->reason = reason;
	ev->error_code = 100;
	ev->error_subcode = subcode;
}

/* Is the day in scratch, unless that is a hash, after today? */
static bool
is_yet_to_come(Writer *w)
{
	int			year;
	int			month;
	int			day;
	char		today[32];

	j2date((int) (w->now_s / SECS_PER_DAY) + UNIX_EPOCH_JDATE,
		   &year, &month, &day);
	snprintf(today, sizeof(today), "%04d%02d%02d", year, month, day);
	return w->scratch.len == 8 && strcmp(w->scratch.data, today) > 0;
}

/*
 * Normal form of the field's i-th value in scratch; false if it is not usable.
 * Notes the problem.
 */
static bool
normalize_value(Writer *w, int i)
{
	const char *name = capi_field_info(w->field)->name;
	const char *problem;
	bool		usable;

	resetStringInfo(&w->scratch);
	usable = capi_normalize(w->field, w->ev->values[w->field].v[i],
							w->country, &w->scratch, &problem);
	if (usable && w->field == CAPI_FIELD_DB && is_yet_to_come(w))
	{
		problem = "not a date of birth";
		usable = false;
	}
	if (problem != NULL)
		add_problem(w->ev, name, problem);
	return usable;
}

/* Is the hash among the quoted, comma-separated ones from start on? */
static bool
has_hash(StringInfo out, int start, const char *hex)
{
	for (int at = start; at < out->len; at += CAPI_HASH_HEX_LEN + 3)
		if (memcmp(out->data + at + 1, hex, CAPI_HASH_HEX_LEN) == 0)
			return true;
	return false;
}

/* Appends scratch hashed, unless equal to one from start on. */
static void
append_hash(Writer *w, int start)
{
	StringInfo	out = w->out;
	char		hex[CAPI_HASH_HEX_LEN];

	if (!capi_hash_recognise(w->scratch.data, w->scratch.len, hex))
		capi_hash_hex(w->scratch.data, w->scratch.len, hex);
	if (has_hash(out, start, hex))
		return;
	enlargeStringInfo(out, CAPI_HASH_HEX_LEN + 3);
	if (out->len > start)
		appendStringInfoCharMacro(out, ',');
	appendStringInfoCharMacro(out, '"');
	appendBinaryStringInfo(out, hex, sizeof(hex));
	appendStringInfoCharMacro(out, '"');
}

/* Appends the values of a list or a scalar; false if none is usable. */
static bool
append_values(Writer *w, const CapiFieldInfo *info)
{
	CapiValues *values = &w->ev->values[w->field];
	int			start = w->out->len;

	for (int i = 0; i < values->n; i++)
	{
		if (!normalize_value(w, i))
			continue;
		if (info->flags & CAPI_FIELD_HASHED)
		{
			append_hash(w, start);
			continue;
		}
		if (w->out->len > start)
			appendStringInfoChar(w->out, ',');
		if (info->flags & CAPI_FIELD_BARE)
			appendBinaryStringInfo(w->out, w->scratch.data, w->scratch.len);
		else
			capi_text_append_json(w->out, w->scratch.data, w->scratch.len);
		if (!(info->flags & CAPI_FIELD_LIST))
		{
			if (i + 1 < values->n)
				add_problem(w->ev, info->name,
							"takes one value, the first was sent");
			break;
		}
	}
	return w->out->len > start;
}

/* Appends what a field of JSON kind holds; false if nothing. */
static bool
append_json_field(Writer *w, const CapiFieldInfo *info)
{
	CapiValues *values = &w->ev->values[w->field];
	bool		separate = false;
	int			n = 0;

	if (info->form == CAPI_FORM_CONTENTS)
	{
		appendStringInfoChar(w->out, '[');
		for (int i = 0; i < values->n; i++)
			n += capi_contents_append_items(w->out, values->v[i], n > 0,
											report_problem, w);
		appendStringInfoChar(w->out, ']');
		return n > 0;
	}
	appendStringInfoChar(w->out, '{');
	capi_contents_append_members(w->out, values->v[0], false, &separate,
								 report_problem, w);
	appendStringInfoChar(w->out, '}');
	return separate;
}

/* Appends "name":value with a comma in front if *separate, or nothing. */
static void
append_field(Writer *w, int field, bool *separate)
{
	const CapiFieldInfo *info = capi_field_info(field);
	int			start = w->out->len;
	bool		any;

	w->field = field;
	if (*separate)
		appendStringInfoChar(w->out, ',');
	appendStringInfoChar(w->out, '"');
	appendStringInfoString(w->out, info->name);
	if (info->flags & CAPI_FIELD_LIST)
		appendBinaryStringInfo(w->out, "\":[", 3);
	else
		appendBinaryStringInfo(w->out, "\":", 2);
	if (info->flags & CAPI_FIELD_JSON)
		any = append_json_field(w, info);
	else
		any = append_values(w, info);
	if (!any)
	{
		w->out->len = start;
		w->out->data[start] = '\0';
		return;
	}
	if (info->flags & CAPI_FIELD_LIST)
		appendStringInfoChar(w->out, ']');
	w->written |= BIT(field);
	*separate = true;
}

/* Appends the fields from first up to, without, end. */
static void
append_fields(Writer *w, int first, int end, bool *separate)
{
	for (int field = first; field < end; field++)
	{
		int			start = w->out->len;

		if (w->ev->values[field].n == 0)
			continue;
		append_field(w, field, separate);
		if (field == CAPI_FIELD_VALUE && w->out->len > start)
			w->ev->value_text = pstrdup(w->scratch.data);
		else if (field == CAPI_FIELD_CURRENCY && w->out->len > start)
			w->ev->currency = pstrdup(w->scratch.data);
	}
}

/* event_time: present, seconds, neither too old nor yet to come (SPEC 1.3). */
static bool
check_time(CapiEvent *ev, int64 now_s)
{
	int64		max_age_s = CAPI_MAX_AGE_S;

	if (!ev->has_event_time)
	{
		judge(ev, CAPI_VERDICT_REJECT, "no_event_time", 0);
		return false;
	}
	if (ev->event_time_s >= MIN_TIME_IN_MS)
	{
		ev->event_time_s /= 1000;
		add_problem(ev, "event_time", "in milliseconds, sent in seconds");
	}
	if (ev->action_source != NULL &&
		pg_strcasecmp(ev->action_source, "physical_store") == 0)
		max_age_s = CAPI_MAX_AGE_STORE_S;
	if (now_s - ev->event_time_s > max_age_s)
		judge(ev, CAPI_VERDICT_EXPIRED, "too_old", 2804003);
	else if (ev->event_time_s - now_s > MAX_CLOCK_AHEAD_S)
		judge(ev, CAPI_VERDICT_REJECT, "in_the_future", 2804004);
	else
		return true;
	return false;
}

/* SPEC 2.1, lower-cased as the Node library does; NULL if not among them. */
static const char *
find_action_source(const char *text)
{
	static const char *const sources[] = {
		"website", "email", "app", "phone_call", "chat", "physical_store",
		"system_generated", "business_messaging", "other"
	};

	for (int i = 0; i < (int) lengthof(sources); i++)
		if (text != NULL && pg_strcasecmp(text, sources[i]) == 0)
			return sources[i];
	return NULL;
}

/* The members that are not fields; false if one that must be is missing. */
static bool
append_head(Writer *w)
{
	CapiEvent  *ev = w->ev;
	const char *source = find_action_source(ev->action_source);
	char		seconds[MAXINT8LEN + 1];

	if (ev->event_name == NULL || ev->event_name[0] == '\0' ||
		!capi_text_is_valid(ev->event_name, strlen(ev->event_name)))
	{
		judge(ev, CAPI_VERDICT_REJECT, "no_event_name", 0);
		return false;
	}
	if (source == NULL)
	{
		judge(ev, CAPI_VERDICT_REJECT, "unknown_action_source", 0);
		return false;
	}
	ev->action_source = source;
	appendStringInfoString(w->out, "{\"event_name\":");
	capi_text_append_json(w->out, ev->event_name, strlen(ev->event_name));
	pg_lltoa(ev->event_time_s, seconds);
	appendStringInfoString(w->out, ",\"event_time\":");
	appendStringInfoString(w->out, seconds);
	if (ev->event_id != NULL && ev->event_id[0] != '\0' &&
		capi_text_is_valid(ev->event_id, strlen(ev->event_id)))
	{
		appendStringInfoString(w->out, ",\"event_id\":");
		capi_text_append_json(w->out, ev->event_id, strlen(ev->event_id));
	}
	appendStringInfoString(w->out, ",\"action_source\":\"");
	appendStringInfoString(w->out, source);
	appendStringInfoChar(w->out, '"');
	return true;
}

/*
 * Limited data use needs both places; 0 lets Meta find them (SPEC 5).  Has the
 * event's fields behind it.
 */
static void
complete_data_use(Writer *w)
{
	if (!(w->written & BIT(CAPI_FIELD_DATA_PROCESSING_OPTIONS)))
		return;
	if (!(w->written & BIT(CAPI_FIELD_DATA_PROCESSING_OPTIONS_COUNTRY)))
		appendStringInfoString(w->out,
							   ",\"data_processing_options_country\":0");
	if (!(w->written & BIT(CAPI_FIELD_DATA_PROCESSING_OPTIONS_STATE)))
		appendStringInfoString(w->out,
							   ",\"data_processing_options_state\":0");
}

static bool
check_user_data(Writer *w)
{
	uint64		user_data = w->written & USER_DATA_FIELDS;

	for (int i = 0; i < (int) lengthof(insufficient_sets); i++)
		if ((user_data & ~insufficient_sets[i]) == 0)
		{
			judge(w->ev, CAPI_VERDICT_REJECT, "no_customer_data", 2804050);
			return false;
		}
	return true;
}

/* SPEC 2.3 and 4. */
static bool
check_custom_data(Writer *w)
{
	bool		has_value = (w->written & BIT(CAPI_FIELD_VALUE)) != 0;
	bool		has_currency = (w->written & BIT(CAPI_FIELD_CURRENCY)) != 0;
	bool		purchase = strcmp(w->ev->event_name, "Purchase") == 0;

	if (purchase && !has_value)
		judge(w->ev, CAPI_VERDICT_REJECT, "no_value", 2804009);
	else if ((purchase || has_value) && !has_currency)
		judge(w->ev, CAPI_VERDICT_REJECT, "no_currency", 2804023);
	else
		return true;
	return false;
}

/* What the rules of other fields need: the customer's country. */
static void
find_country(Writer *w)
{
	CapiValues *country = &w->ev->values[CAPI_FIELD_COUNTRY];
	const char *problem;

	if (country->n > 0 &&
		capi_normalize_form(CAPI_FORM_COUNTRY, country->v[0],
							strlen(country->v[0]), NULL, &w->scratch, &problem))
		w->country = capi_country_find(w->scratch.data)->alpha2;
}

/* Writes the whole object; false if the event is not to be sent. */
static bool
append_event(Writer *w)
{
	CapiEvent  *ev = w->ev;
	bool		separate = true;
	int			start;

	if (!append_head(w))
		return false;
	append_fields(w, 0, CAPI_FIELD_FIRST_USER_DATA, &separate);
	complete_data_use(w);

	appendStringInfoString(w->out, ",\"user_data\":{");
	separate = false;
	append_fields(w, CAPI_FIELD_FIRST_USER_DATA, CAPI_FIELD_FIRST_CUSTOM_DATA,
				  &separate);
	if (!check_user_data(w))
		return false;

	appendStringInfoChar(w->out, '}');
	start = w->out->len;
	appendStringInfoString(w->out, ",\"custom_data\":{");
	separate = false;
	append_fields(w, CAPI_FIELD_FIRST_CUSTOM_DATA, CAPI_FIELD_CUSTOM_DATA,
				  &separate);
	w->field = CAPI_FIELD_CUSTOM_DATA;
	if (ev->values[CAPI_FIELD_CUSTOM_DATA].n > 0)
		capi_contents_append_members(w->out,
									 ev->values[CAPI_FIELD_CUSTOM_DATA].v[0],
									 true, &separate, report_problem, w);
	if (separate)
		appendStringInfoChar(w->out, '}');
	else
		w->out->len = start;
	appendStringInfoChar(w->out, '}');
	return check_custom_data(w);
}

void
capi_payload_event(CapiEvent *ev, int64 now_s, StringInfo out)
{
	Writer		w = {.ev = ev, .out = out, .now_s = now_s};
	int			start = out->len;

	ev->verdict = CAPI_VERDICT_SEND;
	ev->reason = NULL;
	ev->error_code = 0;
	ev->error_subcode = 0;
	ev->value_text = NULL;
	ev->currency = NULL;
	memset(&ev->problems, 0, sizeof(ev->problems));

	if (!check_time(ev, now_s))
		return;
	initStringInfo(&w.scratch);
	find_country(&w);
	if (!append_event(&w))
	{
		out->len = start;
		out->data[start] = '\0';
	}
	pfree(w.scratch.data);
}

void
capi_payload_open(StringInfo out)
{
	appendStringInfoString(out, "{\"data\":[");
}

void
capi_payload_close(StringInfo out, const char *test_event_code,
				   const char *appsecret_proof)
{
	appendStringInfoChar(out, ']');
	if (test_event_code != NULL)
	{
		appendStringInfoString(out, ",\"test_event_code\":");
		capi_text_append_json(out, test_event_code, strlen(test_event_code));
	}
	if (appsecret_proof != NULL)
	{
		appendStringInfoString(out, ",\"appsecret_proof\":");
		capi_text_append_json(out, appsecret_proof, strlen(appsecret_proof));
	}
	appendStringInfoChar(out, '}');
}
