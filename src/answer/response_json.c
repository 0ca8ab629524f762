/*
 * response_json.c
 *		Reads the few members of an answer that decide, with PostgreSQL's own
 *		JSON parser and without ever raising an error for what a peer sent.
 *
 * The parser is safe for a stranger's text only after preparation, which is
 * why every text passes prepare_text first:
 *	-	nesting is bounded, because the parser recurses and raises an error at
 *		the server's stack limit;
 *	-	\u escapes become UTF-8, because the parser would convert them to the
 *		database's encoding and raise an error for what that cannot hold;
 *	-	what is not UTF-8 becomes "?", so that it cannot survive.
 *
 * Pure.  Called by response.c; memory is freed before return.
 */
#include "postgres.h"

#include <errno.h>

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "answer/response.h"
#include "base/compat.h"

/* Known answers nest five deep; error_data is free, so leave some room. */
#define MAX_NESTING		32

/* More is no percentage that Meta would state. */
#define MAX_PERCENT		10000

/* Where in the text the parser is, and what the last member was called. */
typedef struct ReadState
{
	int			depth;			/* objects and arrays around */
	bool		in_array[MAX_NESTING + 1];
	bool		in_error;		/* somewhere inside member "error" of the top */
	char		member[64];		/* name of the member being read, cut */
	CapiAnswerJson *json;
} ReadState;

static bool prepare_text(const char *text, size_t len, StringInfo out);
static size_t append_character(StringInfo out, const char *p, size_t left);
static size_t append_escape(StringInfo out, const char *p, size_t left);
static bool read_unicode_escape(const char *p, size_t left, pg_wchar *unit);
static CAPI_JSON_ACTION on_object_start(void *arg);
static CAPI_JSON_ACTION on_array_start(void *arg);
static CAPI_JSON_ACTION on_end(void *arg);
static CAPI_JSON_ACTION on_member(void *arg, char *name, bool is_null);
static CAPI_JSON_ACTION on_member_end(void *arg, char *name, bool is_null);
static CAPI_JSON_ACTION on_scalar(void *arg, char *token, JsonTokenType type);
static void read_error_member(ReadState *s, const char *token,
							  JsonTokenType type);
static void read_usage_member(ReadState *s, const char *token);
static bool read_int(const char *token, int64 *value);
static int	find_event_index(const char *text);

/*
 * Fills json from text, which may be anything at all.  Members found before
 * the text breaks off count, since a long header may arrive cut.
 */
void
capi_response_read_json(const char *text, size_t len, CapiAnswerJson *json)
{
	MemoryContext context;
	MemoryContext old;
	StringInfoData prepared;
	ReadState	state = {0};
	JsonSemAction actions = {0};

	memset(json, 0, sizeof(*json));
	json->event_index = -1;
	json->events_received = -1;
	json->usage_percent = -1;
	if (text == NULL || len == 0)
		return;
	/* a byte order mark is no part of it (RFC 8259, 8.1) */
	if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
	{
		text += 3;
		len -= 3;
	}

	context = AllocSetContextCreate(CurrentMemoryContext, "capi answer context",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);

	initStringInfo(&prepared);
	if (prepare_text(text, len, &prepared))
	{
		state.json = json;
		actions.semstate = &state;
		actions.object_start = on_object_start;
		actions.object_end = on_end;
		actions.array_start = on_array_start;
		actions.array_end = on_end;
		actions.object_field_start = on_member;
		actions.object_field_end = on_member_end;
		actions.scalar = on_scalar;
		json->valid =
			pg_parse_json(CAPI_JSON_LEXER(prepared.data, prepared.len, PG_UTF8),
						  &actions) == JSON_SUCCESS &&
			prepared.data[strspn(prepared.data, " \t\r\n")] == '{';
	}

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* False when the text nests too deep to be an answer. */
static bool
prepare_text(const char *text, size_t len, StringInfo out)
{
	bool		in_string = false;
	int			depth = 0;
	size_t		i = 0;

	while (i < len)
	{
		char		c = text[i];

		if (in_string && c == '\\')
		{
			i += append_escape(out, text + i, len - i);
			continue;
		}
		if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
		{
			if (++depth > MAX_NESTING)
				return false;
		}
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		i += append_character(out, text + i, len - i);
	}
	return true;
}

/* Copies one character, or "?" for a byte that is none; returns bytes eaten. */
static size_t
append_character(StringInfo out, const char *p, size_t left)
{
	size_t		n = pg_utf_mblen((const unsigned char *) p);

	if (*p == '\0' || n > left ||
		!pg_utf8_islegal((const unsigned char *) p, (int) n))
	{
		appendStringInfoChar(out, '?');
		return 1;
	}
	appendBinaryStringInfo(out, p, (int) n);
	return n;
}

/* Copies an escape of a JSON string; \u becomes UTF-8 or "?". */
static size_t
append_escape(StringInfo out, const char *p, size_t left)
{
	pg_wchar	unit;
	size_t		eaten = 6;
	unsigned char utf8[5] = {0};

	if (left >= 2 && p[1] != 'u')
	{
		appendBinaryStringInfo(out, p, 1);
		return 1 + append_character(out, p + 1, left - 1);
	}
	if (!read_unicode_escape(p, left, &unit))
	{
		appendStringInfoChar(out, '?');
		return 1;
	}

	if (is_utf16_surrogate_first(unit))
	{
		pg_wchar	second;

		if (read_unicode_escape(p + 6, left - 6, &second) &&
			is_utf16_surrogate_second(second))
		{
			unit = surrogate_pair_to_codepoint(unit, second);
			eaten = 12;
		}
	}
	if (unit < ' ' || unit == '"' || unit == '\\' ||
		(unit >= 0xD800 && unit <= 0xDFFF))
		unit = '?';
	unicode_to_utf8(unit, utf8);
	appendStringInfoString(out, (char *) utf8);
	return eaten;
}

static bool
read_unicode_escape(const char *p, size_t left, pg_wchar *unit)
{
	char		digits[5] = {0};

	if (left < 6 || p[0] != '\\' || p[1] != 'u')
		return false;
	memcpy(digits, p + 2, 4);
	if (strspn(digits, "0123456789abcdefABCDEF") != 4)
		return false;
	*unit = (pg_wchar) strtoul(digits, NULL, 16);
	return true;
}

static CAPI_JSON_ACTION
on_object_start(void *arg)
{
	ReadState  *s = arg;

	s->in_array[++s->depth] = false;
	CAPI_JSON_ACTION_DONE();
}

static CAPI_JSON_ACTION
on_array_start(void *arg)
{
	ReadState  *s = arg;

	s->in_array[++s->depth] = true;
	CAPI_JSON_ACTION_DONE();
}

static CAPI_JSON_ACTION
on_end(void *arg)
{
	ReadState  *s = arg;

	s->depth--;
	CAPI_JSON_ACTION_DONE();
}

static CAPI_JSON_ACTION
on_member(void *arg, char *name, bool is_null)
{
	ReadState  *s = arg;

	strlcpy(s->member, name, sizeof(s->member));
	if (s->depth == 1 && strcmp(name, "error") == 0 && !is_null)
	{
		s->json->has_error = true;
		s->in_error = true;
	}
	CAPI_JSON_ACTION_DONE();
}

static CAPI_JSON_ACTION
on_member_end(void *arg, char *name, bool is_null)
{
	ReadState  *s = arg;

	if (s->depth == 1)
		s->in_error = false;
	CAPI_JSON_ACTION_DONE();
}

static CAPI_JSON_ACTION
on_scalar(void *arg, char *token, JsonTokenType type)
{
	ReadState  *s = arg;
	int64		number;

	if (s->depth < 1 || s->in_array[s->depth])
		CAPI_JSON_ACTION_DONE();

	if (s->in_error)
		read_error_member(s, token, type);
	else
	{
		read_usage_member(s, token);
		if (s->depth == 1 && (strcmp(s->member, "events_received") == 0 ||
							  strcmp(s->member, "num_received") == 0) &&
			read_int(token, &number) && number >= 0)
			s->json->events_received = (int) Min(number, PG_INT32_MAX);
		if (s->depth == 1 && strcmp(s->member, "num_invalid_entries") == 0 &&
			read_int(token, &number) && number >= 0)
			s->json->invalid_entries = (int) Min(number, PG_INT32_MAX);
		if (s->depth == 1 && strcmp(s->member, "fbtrace_id") == 0)
			strlcpy(s->json->fbtrace_id, token, sizeof(s->json->fbtrace_id));
	}
	CAPI_JSON_ACTION_DONE();
}

/* Members of "error"; numbers may come as strings (SPEC 8.2). */
static void
read_error_member(ReadState *s, const char *token, JsonTokenType type)
{
	CapiAnswerJson *json = s->json;
	const char *name = s->member;
	bool		top = s->depth == 2;
	int64		number;

	if (top && strcmp(name, "code") == 0 && read_int(token, &number))
	{
		json->has_code = true;
		json->code = (int) Max(Min(number, PG_INT32_MAX), PG_INT32_MIN);
	}
	else if (top && strcmp(name, "error_subcode") == 0 &&
			 read_int(token, &number))
		json->subcode = (int) Max(Min(number, PG_INT32_MAX), PG_INT32_MIN);
	else if (top && strcmp(name, "is_transient") == 0)
		json->is_transient = type == JSON_TOKEN_TRUE;
	else if (top && strcmp(name, "message") == 0)
		strlcpy(json->message, token, sizeof(json->message));
	else if (top && strcmp(name, "error_user_msg") == 0)
		strlcpy(json->user_msg, token, sizeof(json->user_msg));
	else if (top && strcmp(name, "fbtrace_id") == 0)
		strlcpy(json->fbtrace_id, token, sizeof(json->fbtrace_id));
	else if (strcmp(name, "event_index") == 0)
	{
		if (json->event_index < 0 && read_int(token, &number) &&
			number >= 0 && number < PG_INT32_MAX)
			json->event_index = (int) number;
	}
	else if (top && strcmp(name, "error_data") == 0 &&
			 type == JSON_TOKEN_STRING && json->event_index < 0)
		json->event_index = find_event_index(token);
}

/* Members of the usage headers, which nest differently but share no names. */
static void
read_usage_member(ReadState *s, const char *token)
{
	static const char *const percentages[] = {
		"call_count", "total_time", "total_cputime", "acc_id_util_pct",
	};
	CapiAnswerJson *json = s->json;
	double		percent;
	int64		number;

	for (size_t i = 0; i < lengthof(percentages); i++)
	{
		if (strcmp(s->member, percentages[i]) != 0)
			continue;
		percent = strtod(token, NULL);
		if (percent > json->usage_percent && percent >= 0 && percent <= MAX_PERCENT)
			json->usage_percent = percent;
	}
	if (strcmp(s->member, "estimated_time_to_regain_access") == 0 &&
		read_int(token, &number))
		json->regain_minutes = Max(json->regain_minutes, number);
	if (strcmp(s->member, "reset_time_duration") == 0 &&
		read_int(token, &number))
		json->reset_seconds = Max(json->reset_seconds, number);
}

/* A whole number that fits, perhaps with a fraction that is cut off. */
static bool
read_int(const char *token, int64 *value)
{
	char	   *end;

	errno = 0;
	*value = strtoll(token, &end, 10);
	return errno == 0 && end != token && (*end == '\0' || *end == '.');
}

/* error_data may be JSON written into a string (SPEC 8.2). */
static int
find_event_index(const char *text)
{
	const char *p = strstr(text, "event_index");
	int64		number;

	if (p == NULL)
		return -1;
	p += strlen("event_index");
	p += strspn(p, "\": ");
	if (*p < '0' || *p > '9')
		return -1;
	number = strtoll(p, NULL, 10);
	return number < PG_INT32_MAX ? (int) number : -1;
}
