/*
 * country_text.c
 *		What people and shop systems write for a country (form.h).
 *
 * Beside a plain code or name: a name with its code, another name or a remark in
 * brackets, behind a mark or without one, and names turned round: Ireland,
 * Republic of.  Where two parts name two countries it is neither, but for a
 * territory and the country it belongs to.
 */
#include "postgres.h"

#include "event/country.h"
#include "event/form.h"
#include "event/text.h"

#define MAX_KEY_BYTES		128
#define MAX_TEXT_BYTES		200

/* An abbreviation in brackets is no longer. */
#define MAX_CODE_BYTES		3

/* A part of the text, not terminated. */
typedef struct Part
{
	const char *s;
	int			len;
} Part;

static Part
trim(Part part)
{
	capi_text_trim(&part.s, &part.len);
	return part;
}

static bool
is_either(char c, const char *marks)
{
	return strchr(marks, c) != NULL;
}

/* The code that two flags' letters make, as a key; false if there are none. */
static bool
key_of_flag(Part part, char *key)
{
	const char *p = part.s;
	const char *end = p + part.len;

	for (int i = 0; i < 2; i++)
	{
		uint32		c = p < end ? capi_text_next(&p, end) : 0;

		if (c < 0x1F1E6 || c > 0x1F1FF)
			return false;
		key[i] = 'a' + (c - 0x1F1E6);
	}
	key[2] = '\0';
	return p == end;
}

/* Letters of Latin script with marks, or marks on their own? */
static bool
has_accent(Part part)
{
	const char *p = part.s;
	const char *end = p + part.len;

	while (p < end)
	{
		uint32		c = capi_text_next(&p, end);

		if ((c >= 0xC0 && c < 0x370) || (c >= 0x1E00 && c < 0x1F00))
			return true;
	}
	return false;
}

/*
 * Names that without their accents are codes or like them: the USA are "Mỹ" in
 * Vietnamese, China is "Çin" in Turkish.  Codes have none.
 */
static const CapiCountry *
find_short(const char *key)
{
	static const char *const names[][2] = {
		{"ao", "at"}, {"bi", "be"}, {"cad", "td"}, {"cin", "cn"}, {"ira", "ir"},
		{"lao", "la"}, {"mon", "im"}, {"my", "us"}, {"oma", "om"}, {"sec", "cz"},
		{"sip", "cy"}, {"y", "it"}
	};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(names[i][0], key) == 0)
			return capi_country_find(names[i][1]);
	return NULL;
}

/* By the whole text, also when an article stands in front. */
static const CapiCountry *
find_whole(Part part)
{
	char		key[MAX_KEY_BYTES];
	const CapiCountry *country;

	part = trim(part);
	if (part.len == 0)
		return NULL;
	if (capi_text_key(key, sizeof(key), part.s, part.len) == 0 &&
		!key_of_flag(part, key))
		return NULL;
	if (strlen(key) <= MAX_CODE_BYTES && has_accent(part))
		return find_short(key);
	/* "n/a" is not Namibia */
	if (strcmp(key, "na") == 0 && part.len > 2)
		return NULL;
	country = capi_country_recognise(key);
	if (country == NULL && strncmp(key, "the", 3) == 0 && strlen(key) > 6)
		country = capi_country_recognise(key + 3);
	return country;
}

/* By two parts put together, the second in front. */
static const CapiCountry *
find_inverted(Part name, Part in_front)
{
	char		text[MAX_TEXT_BYTES];
	int			len = snprintf(text, sizeof(text), "%.*s %.*s",
							   in_front.len, in_front.s, name.len, name.s);

	return len < (int) sizeof(text) ? find_whole((Part) {text, len}) : NULL;
}

/* Takes a calling code, +49, from either end. */
static Part
drop_calling_code(Part part)
{
	int			n;

	part = trim(part);
	if (part.len > 0 && part.s[part.len - 1] == ')')
	{
		/* Germany [DE] (+49) */
		n = part.len - 1;
		while (n > 0 && (capi_form_is_digit(part.s[n - 1]) || part.s[n - 1] == '+'))
			n--;
		if (n > 1 && n < part.len - 1 && part.s[n - 1] == '(')
			return trim((Part) {part.s, n - 1});
	}
	n = part.len;
	while (n > 0 && capi_form_is_digit(part.s[n - 1]))
		n--;
	if (n > 0 && n < part.len && part.s[n - 1] == '+')
		return trim((Part) {part.s, n - 1});
	if (part.len > 0 && *part.s == '+')
	{
		n = 1 + strspn(part.s + 1, "0123456789");
		if (n < part.len)
			return trim((Part) {part.s + n, part.len - n});
	}
	return part;
}

/* Territories that are named together with the country they belong to. */
static bool
belongs_to(const CapiCountry *territory, const CapiCountry *country)
{
	static const char *const pairs[] = {
		"ai gb", "as us", "aw nl", "ax fi", "bl fr", "bm gb", "bq nl", "bv no",
		"cc au", "ck nz", "cw nl", "cx au", "fk gb", "fo dk", "gf fr", "gg gb",
		"gi gb", "gl dk", "gp fr", "gu us", "hk cn", "hm au", "im gb", "io gb",
		"je gb", "ky gb", "mf fr", "mo cn", "mp us", "mq fr", "ms gb", "nc fr",
		"nf au", "nu nz", "pf fr", "pm fr", "pn gb", "pr us", "re fr", "sh gb",
		"sj no", "sx nl", "tc gb", "tf fr", "tk nz", "tw cn", "um us", "vg gb",
		"vi us", "wf fr", "yt fr"
	};

	for (int i = 0; i < (int) lengthof(pairs); i++)
		if (memcmp(pairs[i], territory->alpha2, 2) == 0 &&
			memcmp(pairs[i] + 3, country->alpha2, 2) == 0)
			return true;
	return false;
}

/* Do several countries have this name, told apart by what stands beside it? */
static bool
is_shared_name(const CapiCountry *country)
{
	static const char *const shared[] = {
		"cd", "cg", "cn", "cy", "gn", "ie", "kp", "kr", "mf", "sd", "sx", "vg",
		"vi", "ws"
	};

	for (int i = 0; i < (int) lengthof(shared); i++)
		if (strcmp(country->alpha2, shared[i]) == 0)
			return true;
	return false;
}

/* Only words of what a country is: Republic of, Federated States of. */
static bool
is_form_of_state(Part part)
{
	static const char *const words[] = {
		"arab", "bolivarian", "co", "commonwealth", "cooperative", "democratic",
		"duchy", "emirate", "federal", "federated", "federation", "federative",
		"former", "formerly", "grand", "independent", "islamic", "kingdom",
		"of", "people", "peoples", "plurinational", "principality", "republic",
		"s", "sar", "socialist", "sovereign", "state", "states", "sultanate",
		"the", "union", "united"
	};
	const char *p = part.s;
	const char *end = p + part.len;

	while (p < end)
	{
		const char *word = p;
		bool		known = false;

		while (p < end && capi_form_is_alnum(*p))
			p++;
		for (int i = 0; i < (int) lengthof(words) && p > word; i++)
			known |= (int) strlen(words[i]) == p - word &&
				pg_strncasecmp(words[i], word, p - word) == 0;
		if (p > word && !known)
			return false;
		if (p < end && p == word && IS_HIGHBIT_SET(*p))
			return false;
		if (p < end && p == word)
			p++;
	}
	return true;
}

/* The country that both parts name, or the one of a territory. */
static const CapiCountry *
agree(const CapiCountry *a, const CapiCountry *b)
{
	if (a == NULL || b == NULL)
		return NULL;
	if (a == b || belongs_to(a, b))
		return a;
	return belongs_to(b, a) ? b : NULL;
}

/* By all parts of a list, which name one country: Suisse/Schweiz/Svizzera. */
static const CapiCountry *
find_listed(Part text)
{
	const CapiCountry *found = NULL;
	int			from = 0;

	for (int i = 0; i <= text.len; i++)
	{
		const CapiCountry *country;

		if (i < text.len && !is_either(text.s[i], "/|;"))
			continue;
		if (from == 0 && i == text.len)
			return NULL;		/* one part */
		country = find_whole((Part) {text.s + from, i - from});
		if (country == NULL || (found != NULL && country != found))
			return NULL;
		found = country;
		from = i + 1;
	}
	return found;
}

/* By what stands in a bracket and around it. */
static const CapiCountry *
find_around_bracket(Part text, int open, int close)
{
	Part		inside = {text.s + open + 1, close - open - 1};
	char		around[MAX_TEXT_BYTES];
	Part		name = {around, 0};
	const CapiCountry *country;

	name.len = snprintf(around, sizeof(around), "%.*s %.*s", open, text.s,
						text.len - close - 1, text.s + close + 1);
	if (name.len >= (int) sizeof(around))
		return NULL;
	inside = trim(inside);
	name = drop_calling_code(name);
	country = find_inverted(name, inside);
	if (country != NULL)
		return country;
	country = find_whole(name);
	/* a calling code in the brackets, or nothing that names a country */
	if (strspn(inside.s, "+0123456789 -") >= (size_t) inside.len)
		return country;
	if (country != NULL && !is_shared_name(country) &&
		(is_form_of_state(inside) ||
		 (inside.len <= MAX_CODE_BYTES && find_whole(inside) == NULL)))
		return country;
	return agree(country, find_whole(inside) != NULL ? find_whole(inside) :
				 find_listed(inside));
}

/* By what stands on both sides of the n bytes of a mark. */
static const CapiCountry *
find_divided(Part text, int at, int n)
{
	Part		before = trim((Part) {text.s, at});
	Part		behind = trim((Part) {text.s + at + n, text.len - at - n});
	const CapiCountry *country;

	if (before.len == 0 || behind.len == 0)
		return NULL;
	if (n == 1 && text.s[at] == ',')
	{
		country = find_inverted(before, behind);
		if (country != NULL)
			return country;
		country = find_whole(before);
		if (country != NULL && is_form_of_state(behind) && !is_shared_name(country))
			return country;
	}
	return agree(find_whole(before), find_whole(behind));
}

/* By a code of two or three capitals in front or behind, without a mark. */
static const CapiCountry *
find_beside_code(Part text)
{
	for (int n = 2; n <= 3 && n + 1 < text.len; n++)
	{
		const CapiCountry *country;

		country = NULL;
		if (text.s[n] == ' ')
			country = find_divided(text, n, 1);
		else if (text.s[text.len - n - 1] == ' ')
			country = find_divided(text, text.len - n - 1, 1);
		if (country != NULL)
			return country;
	}
	return NULL;
}

/* By one of the brackets, the last one first: it may hold the code. */
static const CapiCountry *
find_bracketed(Part text)
{
	for (int open = text.len - 1; open >= 0; open--)
	{
		int			close = open + 1;
		const CapiCountry *country = NULL;

		if (!is_either(text.s[open], "([{"))
			continue;
		while (close < text.len && !is_either(text.s[close], ")]}"))
			close++;
		if (close < text.len)
			country = find_around_bracket(text, open, close);
		if (country != NULL)
			return country;
	}
	return NULL;
}

static const CapiCountry *
find_composed(Part text)
{
	static const char *const dashes[] = {"\xE2\x80\x93", "\xE2\x80\x94"};
	const CapiCountry *bracketed = find_bracketed(text);

	if (bracketed != NULL)
		return bracketed;
	for (int i = 0; i < text.len; i++)
	{
		const CapiCountry *country = NULL;

		if (is_either(text.s[i], ",-:|/;=\t\n"))
			country = find_divided(text, i, 1);
		for (int d = 0; d < (int) lengthof(dashes); d++)
			if (text.len - i > 3 && memcmp(text.s + i, dashes[d], 3) == 0)
				country = find_divided(text, i, 3);
		if (country != NULL)
			return country;
	}
	return find_beside_code(text);
}

/*
 * Behind what the state is, as official names begin in some languages:
 * République du Cameroun.  Not where another state has the rest of the name.
 */
static const CapiCountry *
find_behind_form(Part text)
{
	static const char *const forms[] = {
		"republic of ", "state of ", "kingdom of ", "principality of ",
		"république de ", "république du ", "république d'", "république des ",
		"royaume de ", "royaume du ", "principauté de ", "grand-duché de ",
		"república de ", "república del ", "república da ", "república do ",
		"reino de ", "principado de ", "reino da ", "repubblica di ",
		"repubblica del ", "repubblica d'", "regno di ", "principato di ",
		"republik ", "bundesrepublik ", "königreich ", "fürstentum ",
		"großherzogtum ", "staat ", "republiek ", "koninkrijk ", "republiken ",
		"konungariket ", "kongeriget ", "kongeriket ", "republika "
	};

	for (int i = 0; i < (int) lengthof(forms); i++)
	{
		int			len = strlen(forms[i]);

		if (text.len > len && pg_strncasecmp(text.s, forms[i], len) == 0)
		{
			const CapiCountry *country =
				find_whole((Part) {text.s + len, text.len - len});

			if (country != NULL && text.len - len > MAX_CODE_BYTES &&
				!is_shared_name(country))
				return country;
		}
	}
	return NULL;
}

static const CapiCountry *
find_any(Part text)
{
	const CapiCountry *country = find_whole(text);

	if (country == NULL)
		country = find_behind_form(text);
	if (country == NULL)
		country = find_listed(text);
	return country != NULL ? country : find_composed(text);
}

/*
 * Writes the text with its abbreviations spelled out: Dominican Rep., Cayman
 * Is.  Returns the length, 0 if there are none or no room.
 */
static int
expand(Part text, char *out, int size)
{
	static const char *const words[][2] = {
		{"br", "British"}, {"dem", "Democratic"}, {"fed", "Federation"},
		{"is", "Islands"}, {"isl", "Islands"}, {"rep", "Republic"},
		{"st", "Saint"}, {"terr", "Territories"}
	};
	const char *p = text.s;
	const char *end = p + text.len;
	bool		any = false;
	int			n = 0;

	while (p < end)
	{
		const char *word = p;
		const char *put = p;
		int			len;

		while (p < end && (capi_form_is_alnum(*p) || IS_HIGHBIT_SET(*p)))
			p++;
		p += p == word;
		len = p - word;
		for (int i = 0; i < (int) lengthof(words); i++)
			if ((int) strlen(words[i][0]) == len &&
				pg_strncasecmp(words[i][0], word, len) == 0)
			{
				put = words[i][1];
				len = strlen(put);
				any = true;
				break;
			}
		if (n + len >= size)
			return 0;
		memcpy(out + n, put, len);
		n += len;
	}
	return any ? n : 0;
}

const CapiCountry *
capi_country_read(const char *s, int len)
{
	Part		text = {s, len};
	const CapiCountry *country = find_whole(text);
	char		expanded[MAX_TEXT_BYTES];
	int			n;

	if (country != NULL || len >= MAX_TEXT_BYTES)
		return country;
	text = drop_calling_code(text);
	country = find_any(text);
	n = country == NULL ? expand(text, expanded, sizeof(expanded)) : 0;
	return n > 0 ? find_any((Part) {expanded, n}) : country;
}

/* Names that Meta's libraries agree to refuse; telephone numbers need them. */
static bool
is_not_sent(const CapiInput *in)
{
	static const char *const names[] = {"Россия", "日本"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if ((int) strlen(names[i]) == in->len && memcmp(names[i], in->s, in->len) == 0)
			return true;
	return false;
}

bool
capi_form_country(CapiInput *in, StringInfo out)
{
	const CapiCountry *country = is_not_sent(in) ? NULL :
		capi_country_read(in->s, in->len);

	if (country == NULL)
		return capi_form_refuse(in,
								"not an ISO 3166-1 alpha-2 code or known name");
	appendStringInfoString(out, country->alpha2);
	return true;
}
