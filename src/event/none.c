/*
 * none.c
 *		Words that programs write where they have no value (none.h).
 *
 * Browsers, tag managers, form builders and analytics each have their own; the
 * worst come out of adding a missing value to a text.  An id of the browser's
 * is none of these.
 */
#include "postgres.h"

#include "event/form.h"
#include "event/none.h"

/* The longest of the words fits. */
#define MAX_NONE_BYTES	32

const char *const capi_none_problem = "a word for no value";

/* A text in lower case, and its length. */
typedef struct Word
{
	const char *s;
	int			len;
} Word;

#define WORD(s)			{s, sizeof(s) - 1}

static const Word words[] = {
	WORD("undefined"), WORD("null"), WORD("nil"), WORD("nan"), WORD("none"),
	WORD("n/a"), WORD("na"), WORD("-"), WORD("--"), WORD("---"), WORD("?"),
	WORD("false"), WORD("true"), WORD("unknown"), WORD("empty"),
	WORD("missing"), WORD("not set"), WORD("not_set"), WORD("notset"),
	WORD("not available"), WORD("not provided"), WORD("no value"),
	WORD("(not set)"), WORD("(none)"), WORD("(null)"), WORD("(undefined)"),
	WORD("(not provided)"), WORD("(empty)"), WORD("(direct)"), WORD("<null>"),
	WORD("<none>"), WORD("{}"), WORD("[]"), WORD("[null]"),
	WORD("[undefined]"), WORD("{null}"), WORD("()"), WORD("\\n"), WORD("#n/a"),
	WORD("#value!"), WORD("#ref!"), WORD("#name?"), WORD("infinity"),
	WORD("-infinity"), WORD("void 0"), WORD("about:blank"),
	WORD("about:client"), WORD("undefined undefined"), WORD("null null")
};

/* Objects of JavaScript, and templates that nobody filled. */
static const Word beginnings[] = {
	WORD("[object "), WORD("%5bobject"), WORD("{{"), WORD("${"), WORD("<%"),
	WORD("{%"), WORD("%7b%7b"), WORD("[["), WORD("function("),
	WORD("function (")
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

static inline bool
begins_with(const char *s, int len, const Word *word)
{
	return len >= word->len && pg_ascii_tolower(*s) == *word->s &&
		pg_strncasecmp(s, word->s, word->len) == 0;
}

bool
capi_none_is(const char *s, int len)
{
	/* nearly every text: a number, or long and without a sign in front */
	if (len > 0 && *s >= '1' && *s <= '9')
		return false;
	if (len > MAX_NONE_BYTES && capi_form_is_alnum(*s) && *s != '0' &&
		pg_ascii_tolower(*s) != 'f')
		return false;
	while (len > 0 && is_quote(*s))
	{
		s++;
		len--;
	}
	while (len > 0 && is_quote(s[len - 1]))
		len--;
	if (is_zero(s, len))
		return true;
	/* looked at by its length and first character: most are none */
	for (int i = 0; i < (int) lengthof(beginnings); i++)
		if (begins_with(s, len, &beginnings[i]))
			return true;
	if (len > MAX_NONE_BYTES)
		return false;
	for (int i = 0; i < (int) lengthof(words); i++)
		if (words[i].len == len && begins_with(s, len, &words[i]))
			return true;
	return false;
}
