/*
 * none.c
 *		Words that programs write where they have no value (none.h).
 *
 * Browsers, tag managers, form builders and analytics each have their own; the
 * worst come out of adding a missing value to a text.  An id of the browser's
 * is none of these.
 */
#include "postgres.h"

#include "event/none.h"

/* The longest of the words fits. */
#define MAX_NONE_BYTES	32

const char *const capi_none_problem = "a word for no value";

static const char *const words[] = {
	"undefined", "null", "nil", "nan", "none", "n/a", "na", "-", "--", "---",
	"?", "false", "true", "unknown", "empty", "missing", "not set", "not_set",
	"notset", "not available", "not provided", "no value", "(not set)",
	"(none)", "(null)", "(undefined)", "(not provided)", "(empty)", "(direct)",
	"<null>", "<none>", "{}", "[]", "[null]", "[undefined]", "{null}", "()",
	"\\n", "#n/a", "#value!", "#ref!", "#name?", "infinity", "-infinity",
	"void 0", "about:blank", "about:client", "undefined undefined", "null null"
};

/* Objects of JavaScript, and templates that nobody filled. */
static const char *const beginnings[] = {
	"[object ", "%5bobject", "{{", "${", "<%", "{%", "%7b%7b", "[[", "function(",
	"function ("
};

static bool
is_quote(char c)
{
	return c == '"' || c == '\'' || c == '`' || c == ' ';
}

/* Only zeros, as phones say that refuse an advertising id? */
static bool
is_zero(const char *s, int len)
{
	for (int i = 0; i < len; i++)
		if (s[i] != '0' && s[i] != '-')
			return false;
	return true;
}

bool
capi_none_is(const char *s, int len)
{
	while (len > 0 && is_quote(*s))
	{
		s++;
		len--;
	}
	while (len > 0 && is_quote(s[len - 1]))
		len--;
	if (is_zero(s, len))
		return true;
	for (int i = 0; i < (int) lengthof(beginnings); i++)
	{
		int			n = strlen(beginnings[i]);

		if (len >= n && pg_strncasecmp(s, beginnings[i], n) == 0)
			return true;
	}
	if (len > MAX_NONE_BYTES)
		return false;
	for (int i = 0; i < (int) lengthof(words); i++)
		if ((int) strlen(words[i]) == len &&
			pg_strncasecmp(s, words[i], len) == 0)
			return true;
	return false;
}
