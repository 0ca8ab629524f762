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

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "base/capi.h"
#include "event/complete.h"
#include "event/contents.h"
#include "event/country.h"
#include "event/currency.h"
#include "event/decimal.h"
#include "event/hash.h"
#include "event/list.h"
#include "event/member.h"
#include "event/normalize.h"
#include "event/payload.h"
#include "event/text.h"
#include "event/validate.h"

/* SPEC 2: numbers of states begin here. */
#define FIRST_STATE		1000

/*
 * Bounds of one field.  Meta documents none; they are far beyond what an order
 * has, so that a column filled by mistake costs this event a moment, and no
 * other its place in the request.  A customer has a handful of addresses; a
 * hundred values of one are not one customer's.
 */
#define MAX_CUSTOMER_VALUES	100
#define MAX_LIST_VALUES		10000
#define MAX_FIELD_BYTES		(1024 * 1024)
#define MAX_JSON_BYTES		(16 * 1024 * 1024)	/* before what is unknown goes */

/* State of one event being written. */
typedef struct Writer
{
	CapiEvent  *ev;
	StringInfo	out;
	StringInfoData scratch;		/* normal form of one value */
	const char *country;		/* alpha-2 of the customer's, or NULL */
	bool		country_unknown;	/* there is one, not recognised */
	int64		now_s;
	int			field;			/* being written */
	int			minor_digits;	/* decimals hidden in amounts */
	const char *doubt;			/* about the value in scratch, or NULL */
} Writer;

/* CapiContentsReport; an empty name means the field itself. */
static void
report_problem(void *arg, const char *where, const char *problem)
{
	Writer	   *w = arg;

	if (where[0] == '\0')
		where = capi_field_info(w->field)->name;
	capi_event_problem(w->ev, where, problem);
}

/* Tells a preview what became of a value. */
static inline void
observe(Writer *w, const char *raw, const char *sent, const char *problem)
{
	CapiEvent  *ev = w->ev;

	if (unlikely(ev->observer != NULL))
		ev->observer(ev->observer_arg, w->field, raw,
					 sent != NULL ? w->scratch.data : NULL, sent, problem);
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

/* Does a telephone number say itself that it has its calling code? */
static bool
begins_international(const char *s)
{
	while (*s == ' ' || *s == '(' || *s == '\'' || *s == '"')
		s++;
	return *s == '+' || strncmp(s, "00", 2) == 0;
}

/*
 * Normal form of the next value in *rest, a part of raw, in scratch; false if
 * it is not usable.  Notes the problem.
 */
static bool
normalize_value(Writer *w, const char *raw, const char **rest)
{
	const char *name = capi_field_info(w->field)->name;
	const char *problem;
	bool		usable;
	bool		national = w->field == CAPI_FIELD_PH && !begins_international(*rest);

	resetStringInfo(&w->scratch);
	usable = capi_normalize_next(w->field, rest, w->country, &w->scratch,
								 &problem);
	if (usable && w->field == CAPI_FIELD_DB && is_yet_to_come(w))
	{
		problem = "not a date of birth";
		usable = false;
	}
	if (usable && national && w->country_unknown)
		problem = "the country was not recognised, so no calling code was added";
	if (problem != NULL)
		capi_event_problem(w->ev, name, problem);
	w->doubt = problem;
	if (!usable)
		observe(w, raw, NULL, problem != NULL ? problem : "empty");
	else if (w->minor_digits > 0 &&
			 capi_field_info(w->field)->form == CAPI_FORM_DECIMAL)
		capi_decimal_shift(&w->scratch, 0, w->minor_digits);
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

/*
 * Appends scratch hashed, unless equal to one from start on.  Written in place:
 * what is not added to the length is not there.
 */
static void
append_hash(Writer *w, int start, const char *raw)
{
	StringInfo	out = w->out;
	char	   *to;

	enlargeStringInfo(out, CAPI_HASH_HEX_LEN + 3);
	to = out->data + out->len;
	if (out->len > start)
		*to++ = ',';
	*to++ = '"';
	if (!capi_hash_recognise(w->scratch.data, w->scratch.len, to))
		capi_hash_hex(w->scratch.data, w->scratch.len, to);
	if (has_hash(out, start, to))
	{
		out->data[out->len] = '\0';
		observe(w, raw, NULL, "the same as another");
		return;
	}
	to[CAPI_HASH_HEX_LEN] = '\0';
	observe(w, raw, to, w->doubt);
	to[CAPI_HASH_HEX_LEN] = '"';
	to[CAPI_HASH_HEX_LEN + 1] = '\0';
	out->len = to + CAPI_HASH_HEX_LEN + 1 - out->data;
}

/* Appends scratch, behind a comma if there is something from start on. */
static void
append_value(Writer *w, int start, const char *raw)
{
	const CapiFieldInfo *info = capi_field_info(w->field);

	if (info->flags & CAPI_FIELD_HASHED)
	{
		append_hash(w, start, raw);
		return;
	}
	if (w->out->len > start)
		capi_text_put_literal(w->out, ",");
	if (info->flags & CAPI_FIELD_BARE)
		capi_text_put(w->out, w->scratch.data, w->scratch.len);
	else
		capi_text_append_json(w->out, w->scratch.data, w->scratch.len);
	observe(w, raw, w->scratch.data, w->doubt);
}

/* Says that the last n values or items are not sent; raw: the first of them. */
static void
leave_out(Writer *w, const char *raw, int n, int max, const char *what)
{
	char		problem[128];

	if (max > 0)
		snprintf(problem, sizeof(problem), "more than %d %s, %d were left out", max, what, n);
	else
		snprintf(problem, sizeof(problem), "more than 1 MB, %d %s were left out", n, what);
	capi_event_problem(w->ev, capi_field_info(w->field)->name, problem);
	observe(w, raw, NULL, "beyond what is sent of one field");
}

/*
 * May one more value be looked at, of which there were so many?  If not, says
 * so of it and those behind.
 */
static bool
has_room(Writer *w, int start, int seen, int max, int i)
{
	CapiValues *values = &w->ev->values[w->field];

	CHECK_FOR_INTERRUPTS();
	if (seen < max && w->out->len - start < MAX_FIELD_BYTES)
		return true;
	leave_out(w, values->v[i], values->n - i, seen < max ? 0 : max, "values");
	return false;
}

/* Appends the values of a list; false if none is usable. */
static bool
append_list(Writer *w, const CapiFieldInfo *info)
{
	CapiValues *values = &w->ev->values[w->field];
	int			max = info->flags & CAPI_FIELD_HASHED ? MAX_CUSTOMER_VALUES : MAX_LIST_VALUES;
	int			start = w->out->len;
	int			seen = 0;		/* several may be in one text */

	for (int i = 0; i < values->n; i++)
	{
		const char *rest = values->v[i];

		do
		{
			if (!has_room(w, start, seen++, max, i))
				return w->out->len > start;
			if (normalize_value(w, values->v[i], &rest))
				append_value(w, start, values->v[i]);
			else if (info->flags & CAPI_FIELD_PLACES)
			{
				resetStringInfo(&w->scratch);
				append_value(w, start, values->v[i]);
			}
		} while (*rest != '\0');
	}
	return w->out->len > start;
}

/* Appends the first usable value of a scalar; false if there is none. */
static bool
append_scalar(Writer *w, const CapiFieldInfo *info)
{
	CapiValues *values = &w->ev->values[w->field];

	for (int i = 0; i < values->n; i++)
	{
		const char *rest = values->v[i];

		if (!has_room(w, w->out->len, i, MAX_CUSTOMER_VALUES, i))
			return false;
		if (!normalize_value(w, values->v[i], &rest))
			continue;
		append_value(w, w->out->len, values->v[i]);
		if (i + 1 < values->n)
			capi_event_problem(w->ev, info->name,
							   "takes one value, the first was sent");
		return true;
	}
	return false;
}

/* SPEC 4.1: offline events need the number of each item. */
static bool
is_offline(const CapiEvent *ev)
{
	return ev->action_source != NULL && strcmp(ev->action_source, "physical_store") == 0;
}

/* Appends the items of contents, in brackets; false if there is none. */
static bool
append_contents(Writer *w)
{
	CapiValues *values = &w->ev->values[w->field];
	CapiContentsLimit limit = {MAX_LIST_VALUES, w->out->len + MAX_FIELD_BYTES, 0};
	int			n = 0;

	capi_text_put_literal(w->out, "[");
	for (int i = 0; i < values->n; i++)
		n += capi_contents_append_items(w->out, values->v[i], n > 0,
										w->minor_digits, is_offline(w->ev),
										&limit, report_problem, w);
	capi_text_put_literal(w->out, "]");
	if (limit.left_out > 0)
		leave_out(w, values->v[0], limit.left_out,
				  limit.items > 0 ? 0 : MAX_LIST_VALUES, "items");
	return n > 0;
}

/*
 * Appends the members of an object field, each with a comma in front if
 * *separate.
 */
static void
append_members(Writer *w, bool *separate)
{
	CapiValues *values = &w->ev->values[w->field];
	int			start = w->out->len;
	bool		before = *separate;

	if (values->n == 0)
		return;
	if (capi_member_list(w->field) != NULL)
		capi_contents_append_object(w->out, values->v[0], w->field, separate,
									report_problem, w);
	else
		capi_contents_append_members(w->out, values->v[0],
									 w->field == CAPI_FIELD_CUSTOM_DATA,
									 separate, report_problem, w);
	if (w->out->len - start > MAX_FIELD_BYTES)
	{
		report_problem(w, "", "too long");
		w->out->len = start;
		w->out->data[start] = '\0';
		*separate = before;
	}
}

/* Appends what a field of JSON kind holds; false if nothing. */
static bool
append_json_field(Writer *w, const CapiFieldInfo *info)
{
	bool		any = false;
	int			start = w->out->len;

	if (info->form == CAPI_FORM_CONTENTS)
		any = append_contents(w);
	else
	{
		capi_text_put_literal(w->out, "{");
		append_members(w, &any);
		capi_text_put_literal(w->out, "}");
	}
	if (w->ev->observer != NULL)
	{
		resetStringInfo(&w->scratch);
		appendStringInfoString(&w->scratch, w->out->data + start);
		observe(w, w->ev->values[w->field].v[0], any ? w->scratch.data : NULL,
				any ? NULL : "nothing usable in it");
	}
	return any;
}

/* Is it an empty list, and does that say more than null would? */
static bool
is_telling_list(const CapiEvent *ev, int field)
{
	return ev->values[field].is_empty_list &&
		(capi_field_info(field)->flags & CAPI_FIELD_EMPTY) != 0;
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
		capi_text_put_literal(w->out, ",\"");
	else
		capi_text_put_literal(w->out, "\"");
	capi_text_put(w->out, info->name, info->name_len);
	if (info->flags & CAPI_FIELD_LIST)
		capi_text_put_literal(w->out, "\":[");
	else
		capi_text_put_literal(w->out, "\":");
	if (info->flags & CAPI_FIELD_JSON)
		any = append_json_field(w, info);
	else if (info->flags & CAPI_FIELD_LIST)
		any = append_list(w, info) || is_telling_list(w->ev, field);
	else
		any = append_scalar(w, info);
	if (!any)
	{
		w->out->len = start;
		w->out->data[start] = '\0';
		return;
	}
	if (info->flags & CAPI_FIELD_LIST)
		capi_text_put_literal(w->out, "]");
	w->ev->written[field] = true;
	*separate = true;
}

/* Appends the fields from first up to, without, end. */
static void
append_fields(Writer *w, int first, int end, bool *separate)
{
	for (int field = first; field < end; field++)
	{
		const CapiValues *values = &w->ev->values[field];
		int			start = w->out->len;

		if (values->is_too_long)
			capi_event_problem(w->ev, capi_field_info(field)->name, "too long");
		if (values->n == 0 &&
			(!values->is_empty_list || !is_telling_list(w->ev, field)))
			continue;
		append_field(w, field, separate);
		if (field == CAPI_FIELD_VALUE && w->out->len > start)
			w->ev->value_text = pstrdup(w->scratch.data);
		else if (field == CAPI_FIELD_CURRENCY && w->out->len > start)
			w->ev->currency = pstrdup(w->scratch.data);
	}
}

/* The members that are not fields. */
static void
append_head(Writer *w)
{
	CapiEvent  *ev = w->ev;
	char		seconds[MAXINT8LEN + 1];

	capi_text_put_literal(w->out, "{\"event_name\":");
	if (ev->event_name != NULL && capi_text_is_valid(ev->event_name, strlen(ev->event_name)))
		capi_text_append_json(w->out, ev->event_name, strlen(ev->event_name));
	else
		capi_text_put_literal(w->out, "\"\"");
	if (ev->has_event_time)
	{
		pg_lltoa(ev->event_time_s, seconds);
		capi_text_put_literal(w->out, ",\"event_time\":");
		appendStringInfoString(w->out, seconds);
	}
	if (ev->event_id != NULL && ev->event_id[0] != '\0' &&
		capi_text_is_valid(ev->event_id, strlen(ev->event_id)))
	{
		capi_text_put_literal(w->out, ",\"event_id\":");
		capi_text_append_json(w->out, ev->event_id, strlen(ev->event_id));
	}
	if (ev->action_source != NULL &&
		capi_text_is_valid(ev->action_source, strlen(ev->action_source)))
	{
		capi_text_put_literal(w->out, ",\"action_source\":");
		capi_text_append_json(w->out, ev->action_source, strlen(ev->action_source));
	}
}

/*
 * Limited data use needs both places; 0 lets Meta find them (SPEC 5).  Has the
 * event's fields behind it.
 */
static void
complete_data_use(Writer *w)
{
	if (!w->ev->written[CAPI_FIELD_DATA_PROCESSING_OPTIONS] ||
		w->ev->values[CAPI_FIELD_DATA_PROCESSING_OPTIONS].n == 0)
		return;
	if (!w->ev->written[CAPI_FIELD_DATA_PROCESSING_OPTIONS_COUNTRY])
		appendStringInfoString(w->out,
							   ",\"data_processing_options_country\":0");
	if (!w->ev->written[CAPI_FIELD_DATA_PROCESSING_OPTIONS_STATE])
		appendStringInfoString(w->out,
							   ",\"data_processing_options_state\":0");
}

/* Drops a field that has a value, and says why. */
static void
drop_field(CapiEvent *ev, int field, const char *problem)
{
	if (ev->values[field].n > 0)
		capi_event_problem(ev, capi_field_info(field)->name, problem);
	ev->values[field].n = 0;
}

/*
 * Places without limited data use mean nothing, and a state is one of the USA,
 * whatever the country says (SPEC 2).  Before anything is written.
 */
static void
settle_data_use(CapiEvent *ev)
{
	CapiValues *country = &ev->values[CAPI_FIELD_DATA_PROCESSING_OPTIONS_COUNTRY];
	CapiValues *state = &ev->values[CAPI_FIELD_DATA_PROCESSING_OPTIONS_STATE];

	if (ev->values[CAPI_FIELD_DATA_PROCESSING_OPTIONS].n == 0)
	{
		drop_field(ev, CAPI_FIELD_DATA_PROCESSING_OPTIONS_COUNTRY, "given without LDU");
		drop_field(ev, CAPI_FIELD_DATA_PROCESSING_OPTIONS_STATE, "given without LDU");
	}
	else if (state->n > 0 && atoi(state->v[0]) >= FIRST_STATE)
	{
		if (country->n == 0)
			country->v = palloc(sizeof(char *));
		country->v[0] = pstrdup("1");
		country->n = 1;
	}
}

/* Lists that came as one text. */
static void
expand_lists(Writer *w)
{
	for (w->field = 0; w->field < CAPI_FIELD_COUNT; w->field++)
		if (w->ev->values[w->field].n > 0 && capi_field_is_list(w->field))
			capi_list_expand(w->field, &w->ev->values[w->field], report_problem, w);
}

/* What the rules of other fields need: the customer's country. */
static void
find_country(Writer *w)
{
	CapiValues *country = &w->ev->values[CAPI_FIELD_COUNTRY];
	const char *problem;

	const char *text;
	const CapiCountry *found = NULL;

	if (country->n == 0)
		return;
	text = country->v[0];
	if (capi_normalize_form(CAPI_FORM_COUNTRY, text, strlen(text), NULL,
							&w->scratch, &problem))
		found = capi_country_find(w->scratch.data);
	else if (capi_text_is_valid(text, strlen(text)))
		found = capi_country_read(text, strlen(text));
	if (found != NULL)
		w->country = found->alpha2;
	w->country_unknown = found == NULL && problem != NULL;
}

/* How many decimals the amounts hide; before the currency itself is written. */
static void
find_minor_digits(Writer *w)
{
	CapiValues *currency = &w->ev->values[CAPI_FIELD_CURRENCY];
	const char *problem;

	w->minor_digits = w->ev->minor_units;
	if (w->minor_digits != CAPI_MINOR_BY_CURRENCY)
		return;
	w->minor_digits = 0;
	resetStringInfo(&w->scratch);
	if (currency->n > 0 &&
		capi_normalize_form(CAPI_FORM_CURRENCY, currency->v[0],
							strlen(currency->v[0]), NULL, &w->scratch, &problem))
		w->minor_digits = Max(capi_currency_exponent(w->scratch.data), 0);
}

/*
 * Appends ,"name":{...} with the fields from first up to merged, without it,
 * and the members of the object field merged; nothing if all are empty, unless
 * Meta wants the object all the same.
 */
static void
append_group(Writer *w, const char *name, int first, int end, int merged,
			 bool required)
{
	int			start = w->out->len;
	bool		separate = false;

	capi_text_put_literal(w->out, ",\"");
	capi_text_put(w->out, name, strlen(name));
	capi_text_put_literal(w->out, "\":{");
	append_fields(w, first, end, &separate);
	if (merged >= 0)
	{
		w->field = merged;
		append_members(w, &separate);
	}
	if (separate || required)
		capi_text_put_literal(w->out, "}");
	else
	{
		w->out->len = start;
		w->out->data[start] = '\0';
	}
}

/* What is not even to be parsed. */
static void
drop_long_json(CapiEvent *ev)
{
	for (int f = 0; f < CAPI_FIELD_COUNT; f++)
		for (int i = 0; i < ev->values[f].n; i++)
			if ((capi_field_info(f)->flags & CAPI_FIELD_JSON) != 0 &&
				strlen(ev->values[f].v[i]) > MAX_JSON_BYTES)
				drop_field(ev, f, "too long");
}

/* Members of app_data that have columns: taken from the object if null there. */
static void
hoist_app_data(CapiEvent *ev)
{
	CapiValues *object = &ev->values[CAPI_FIELD_APP_DATA];

	for (int f = CAPI_FIELD_FIRST_APP_DATA; f < CAPI_FIELD_APP_DATA && object->n > 0; f++)
		if (ev->values[f].n == 0)
			capi_contents_hoist(object->v[0], capi_field_info(f)->name, &ev->values[f]);
	/* any other number of places is refused, also where none are needed */
	if (ev->values[CAPI_FIELD_EXTINFO].n != CAPI_EXTINFO_PLACES)
		drop_field(ev, CAPI_FIELD_EXTINFO, "not sixteen places");
}

/* Writes the whole object. */
static void
append_event(Writer *w)
{
	bool		separate = true;
	int			start;

	append_head(w);
	append_fields(w, 0, CAPI_FIELD_FIRST_APP_DATA, &separate);
	complete_data_use(w);
	start = w->out->len;
	append_group(w, "app_data", CAPI_FIELD_FIRST_APP_DATA, CAPI_FIELD_APP_DATA,
				 CAPI_FIELD_APP_DATA, false);
	w->ev->written[CAPI_FIELD_APP_DATA] = w->out->len > start;
	append_group(w, "user_data", CAPI_FIELD_FIRST_USER_DATA,
				 CAPI_FIELD_FIRST_CUSTOM_DATA, -1, true);
	append_group(w, "custom_data", CAPI_FIELD_FIRST_CUSTOM_DATA,
				 CAPI_FIELD_CUSTOM_DATA, CAPI_FIELD_CUSTOM_DATA, false);
	capi_text_put_literal(w->out, "}");
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
	ev->nproblems = 0;
	memset(ev->written, 0, sizeof(ev->written));
	if (ev->id_is_too_long)
		capi_event_problem(ev, "event_id", "too long");

	if (!capi_validate_time(ev, now_s) || !capi_validate_head(ev))
		return;
	initStringInfo(&w.scratch);
	expand_lists(&w);
	find_country(&w);
	find_minor_digits(&w);
	capi_complete_event(ev, w.country, report_problem, &w);
	settle_data_use(ev);
	drop_long_json(ev);
	hoist_app_data(ev);
	append_event(&w);
	if (!capi_validate_fields(ev))
	{
		out->len = start;
		out->data[start] = '\0';
	}
	else
		ev->verdict = CAPI_VERDICT_SEND;
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
