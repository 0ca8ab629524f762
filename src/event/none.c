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

/* The longest of the words fits, and some of them in a row. */
#define MAX_NONE_BYTES	64
#define MAX_WORD_BYTES	16

const char *const capi_none_problem = "a word for no value";

/* A text in lower case, and its length. */
typedef struct Word
{
	const char *s;
	int			len;
} Word;

#define WORD(s)			{s, sizeof(s) - 1}

/* Without what stands around them: brackets, percent signs, underscores. */
static const Word words[] = {
	WORD("undefined"), WORD("null"), WORD("nil"), WORD("nan"), WORD("none"),
	WORD("n/a"), WORD("n.a"), WORD("na"), WORD("false"), WORD("true"),
	WORD("unknown"), WORD("empty"), WORD("missing"), WORD("blank"),
	WORD("not set"), WORD("not-set"), WORD("not_set"), WORD("notset"),
	WORD("unset"), WORD("not available"), WORD("not provided"),
	WORD("unavailable"), WORD("no value"), WORD("direct"), WORD("nul"),
	WORD("nulo"), WORD("nulle"), WORD("void"), WORD("void 0"),
	WORD("nothing"), WORD("nonetype"), WORD("dbnull"), WORD("u0000"),
	WORD("ref!"), WORD("value!"), WORD("name?"), WORD("n.a."),
	WORD("infinity"), WORD("about:blank"), WORD("about:client"),
	/* in words of people */
	WORD("leer"), WORD("keine"), WORD("nichts"), WORD("unbekannt"),
	WORD("vide"), WORD("aucun"), WORD("inconnu"), WORD("vacio"),
	WORD("vacío"), WORD("ninguno"), WORD("indefinido"), WORD("desconocido"),
	WORD("vazio"), WORD("nenhum"), WORD("vuoto"), WORD("nessuno"),
	WORD("geen"), WORD("leeg"), WORD("puste"), WORD("brak"), WORD("ingen"),
	WORD("нет"), WORD("пусто"), WORD("なし"), WORD("空"), WORD("无"),
	/* of who gave no consent */
	WORD("denied"), WORD("declined"), WORD("rejected"), WORD("refused"),
	WORD("optout"), WORD("opt-out"), WORD("blocked"), WORD("redacted"),
	WORD("hidden"), WORD("deleted"), WORD("expired"), WORD("yes"),
	WORD("no"), WORD("on"), WORD("off"),
	/* the name in the place of the value, as in templates */
	WORD("fbc"), WORD("fbp"), WORD("fbclid")
};

/* Objects of programs, and templates that nobody filled. */
static const Word beginnings[] = {
	WORD("[object "), WORD("{{"), WORD("${"), WORD("<%"), WORD("{%"),
	WORD("[["), WORD("function("), WORD("function ("), WORD("java.lang."),
	WORD("optional."), WORD("%!s("), WORD("<null>"), WORD("<none>")
};

/* What means something only with the sign in front. */
static const Word signed_words[] = {WORD("\\n"), WORD("%s"), WORD("%d")};


/* Of a program that adds missing values to one another. */
static const Word repeated[] = {
	WORD("undefined"), WORD("null"), WORD("nan"), WORD("none")
};

/* What may stand around a word. */
static bool
is_around(char c)
{
	return c != '\0' && strchr("\"'` ;,\\(){}[]<>%$@#_", c) != NULL;
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

/* Neither a letter nor a digit? */
static bool
is_marks(const char *s, int len)
{
	for (int i = 0; i < len; i++)
		if (capi_form_is_alnum(s[i]) || IS_HIGHBIT_SET(s[i]))
			return false;
	return true;
}

/* One character over and over, or one of those words? */
static bool
is_repeated(const char *s, int len)
{
	int			same = 1;

	while (same < len && s[same] == s[0])
		same++;
	if (same == len && len > 3)
		return true;
	for (int i = 0; i < (int) lengthof(repeated); i++)
	{
		const Word *word = &repeated[i];
		int			at = 0;

		while (len - at >= word->len &&
			   memcmp(s + at, word->s, word->len) == 0)
		{
			at += word->len;
			while (at < len && !capi_form_is_alnum(s[at]) && !IS_HIGHBIT_SET(s[at]))
				at++;
		}
		if (at == len)
			return true;
	}
	return false;
}

static int
hex_value(char c)
{
	if (capi_form_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Writes the text in lower case, with %20 and the plus signs of a URL decoded;
 * returns its length.
 */
static int
write_plain(char *plain, const char *s, int len)
{
	int			n = 0;

	for (int i = 0; i < len; i++)
		plain[i] = pg_ascii_tolower(s[i]);
	for (int i = 0; i < len; i++)
	{
		char		c = plain[i];

		if (c == '%' && i + 2 < len && hex_value(plain[i + 1]) >= 0 &&
			hex_value(plain[i + 2]) >= 0)
		{
			c = hex_value(plain[i + 1]) << 4 | hex_value(plain[i + 2]);
			i += 2;
		}
		else if (c == '+')
			c = ' ';
		plain[n++] = c == '\0' ? ' ' : c;
	}
	return n;
}

static bool
is_among(const Word *list, int n, const char *s, int len)
{
	/* looked at by its length and first character: most are none */
	for (int i = 0; i < n; i++)
		if (list[i].len == len && *list[i].s == *s &&
			memcmp(list[i].s, s, len) == 0)
			return true;
	return false;
}

static bool
begins_as_none(const char *s, int len)
{
	for (int i = 0; i < (int) lengthof(beginnings); i++)
		if (len >= beginnings[i].len && *beginnings[i].s == *s &&
			memcmp(s, beginnings[i].s, beginnings[i].len) == 0)
			return true;
	return false;
}

/*
 * Is it none of the words at a first look?  Nearly every text is one that begins
 * with a letter and is long, or has a digit in it.
 */
static bool
is_surely_some(const char *s, int len)
{
	char		first = pg_ascii_tolower(*s);
	bool		digit = false;

	if (!capi_form_is_alnum(first) || first == '0')
		return false;
	if (len > MAX_WORD_BYTES)
		return strchr("fjnou", first) == NULL && (s[1] != s[0] || s[2] != s[0]);
	if (first == 'u' || first == 'v')
		return false;			/* u0000, void 0 */
	for (int i = 0; i < len; i++)
	{
		if (s[i] == '%')
			return false;
		digit |= capi_form_is_digit(s[i]);
	}
	return digit;
}

bool
capi_none_is(const char *s, int len)
{
	char		buf[MAX_NONE_BYTES];
	char	   *plain = buf;
	int			n;

	if (len > 0 && ((*s >= '1' && *s <= '9') || is_surely_some(s, len)))
		return false;
	if (is_zero(s, len))
		return true;
	n = write_plain(plain, s, Min(len, MAX_NONE_BYTES));
	if (begins_as_none(plain, n))
		return true;
	if (len > MAX_NONE_BYTES)
		return false;
	if (is_marks(plain, n) ||
		is_among(signed_words, lengthof(signed_words), plain, n))
		return true;
	while (n > 0 && is_around(*plain))
	{
		plain++;
		n--;
	}
	while (n > 0 && is_around(plain[n - 1]))
		n--;
	return is_zero(plain, n) || is_among(words, lengthof(words), plain, n) ||
		is_repeated(plain, n);
}
