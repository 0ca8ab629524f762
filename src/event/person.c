/*
 * person.c
 *		Names of people, and gender (form.h, person.h).
 *
 * A name in one column is split by what stands around and within it: titles,
 * a comma, particles, the script, and the country where the family name comes
 * first.  It is a guess by nature; a shop that has two columns gives them.
 */
#include "postgres.h"

#include <unictype.h>

#include "event/form.h"
#include "event/person.h"
#include "event/text.h"

#define FOLD_NAME	(CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE | CAPI_TEXT_NO_MARK)

#define MAX_NAME_BYTES		256
#define MAX_WORDS			16
#define MAX_WORD_BYTES		64

/* Words of a name, not terminated. */
typedef struct Words
{
	CapiSpan	word[MAX_WORDS];
	int			n;
} Words;

/* ---------- one name ---------- */

bool
capi_form_name(CapiInput *in, StringInfo out)
{
	int			start = out->len;

	capi_text_append(out, in->s, in->len, FOLD_NAME);
	return out->len > start || capi_form_refuse(in, "no letters");
}

/* ---------- gender ---------- */

/* Is the text, folded already, among the words of a list? */
static bool
is_among(const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(*words, text) == 0)
			return true;
	return false;
}

/* Words that Meta's libraries know. */
static const char *const female_words[] = {
	"f", "female", "woman", "girl", "lady", "queen", "madam", "maam", "miss",
	"mrs", "ms", "she", "her", "hers", NULL
};
static const char *const male_words[] = {
	"m", "male", "man", "boy", "gentleman", "king", "sir", "mr", "he", "him",
	"his", NULL
};

/*
 * Words of other languages, with and without their accents.  Initials are not
 * among them: "m" is a woman in Spanish and "h" a man.
 */
static const char *const foreign_female_words[] = {
	"donna", "femeie", "feminin", "féminin", "feminina", "femenino",
	"femminile", "femmina", "femme", "frau", "fraeulein", "fraulein",
	"fräulein", "kadin", "kadın", "kobieta", "kvinde", "kvinna", "kvinne",
	"madame", "mademoiselle", "mulher", "mujer", "nainen", "perempuan",
	"senhora", "senora", "senorita", "señora", "señorita", "signora", "vrouw",
	"wanita", "weiblich", "zena", "žena", "γυναίκα", "γυναικα", "жен",
	"женский", "женщина", "жінка", "אישה", "נקבה", "أنثى", "انثى", "महिला",
	"女", "女士", "女性", "여", "여성", "여자", NULL
};
static const char *const foreign_male_words[] = {
	"barbat", "bărbat", "erkek", "ferfi", "férfi", "herr", "homem", "hombre",
	"homme", "lakilaki", "maennlich", "mand", "mann", "mannlich", "männlich",
	"masculin", "masculino", "maschile", "maschio", "mezczyzna", "mężczyzna",
	"mies", "monsieur", "muz", "muž", "pria", "senhor", "senor", "señor",
	"signore", "uomo", "varon", "varón", "άνδρας", "ανδρας", "муж", "мужской",
	"мужчина", "чоловік", "גבר", "זכר", "ذكر", "पुरुष", "先生", "男", "男性",
	"남", "남성", "남자", NULL
};

bool
capi_form_gender(CapiInput *in, StringInfo out)
{
	int			start = out->len;
	const char *word;
	const char *initial = NULL;

	capi_text_append(out, in->s, in->len, FOLD_NAME);
	word = out->data + start;
	if (is_among(word, female_words) ||
		(in->country != NULL && is_among(word, foreign_female_words)))
		initial = "f";
	else if (is_among(word, male_words) ||
			 (in->country != NULL && is_among(word, foreign_male_words)))
		initial = "m";
	if (initial == NULL)
		return capi_form_refuse(in, "neither female nor male");
	out->len = start;
	appendStringInfoString(out, initial);
	return true;
}

/* ---------- a whole name in one text ---------- */

static const char *const titles[] = {
	"mr", "mister", "mrs", "ms", "miss", "mx", "madam", "sir", "dame", "lady",
	"lord", "dr", "doctor", "prof", "professor", "rev", "reverend", "hon",
	"capt", "captain", "herr", "frau", "fraulein", "hr", "fr", "dipl", "ing",
	"dipling", "mag", "magister", "familie", "fam", "m", "mme", "mlle",
	"monsieur", "madame", "mademoiselle", "sr", "sra", "srta", "senor",
	"senora", "senorita", "senhor", "senhora", "sig", "sigra", "signor",
	"signora", "signorina", "dott", "dottssa", "dottoressa", "avv", "dhr",
	"mevr", "mevrouw", "mw", "drs", "pan", "pani", "shri", "smt", "bay",
	"bayan", "господин", "госпожа", NULL
};

static const char *const suffixes[] = {
	"jr", "sr", "jnr", "snr", "junior", "senior", "ii", "iii", "iv", "phd",
	"md", "dds", "esq", "mba", "msc", "bsc", "llm", "cpa", "rn", NULL
};

/* Words that belong to the family name that follows them. */
static const char *const particles[] = {
	"van", "von", "vom", "der", "den", "de", "het", "ter", "ten", "zu", "zum",
	"zur", "af", "av", "of", "la", "le", "les", "los", "las", "du", "des",
	"del", "della", "delle", "dello", "dei", "degli", "di", "da", "das", "do",
	"dos", "lo", "al", "el", "bin", "ibn", "bint", "ben", "abu", "st", "saint",
	"san", "santa", "t", NULL
};

/* Family names of East Asia with more than one character. */
static const char *const long_family_names[] = {
	"欧阳", "歐陽", "司马", "司馬", "上官", "诸葛", "諸葛", "司徒", "东方",
	"東方", "皇甫", "尉迟", "公孙", "公孫", "慕容", "令狐", "夏侯", "长孙",
	"남궁", "황보", "제갈", "선우", "독고", "사공", "서문", NULL
};

static bool
is_word(const CapiSpan *span, const char *const *words)
{
	char		key[MAX_WORD_BYTES];

	return capi_text_key(key, sizeof(key), span->s, span->len) > 0 &&
		is_among(key, words);
}

/* These are initials or names too, unless a dot follows. */
static bool
is_title(const CapiSpan *span)
{
	static const char *const need_dot[] = {
		"m", "fr", "mag", "pan", "ing", NULL
	};

	return is_word(span, titles) &&
		(span->s[span->len - 1] == '.' || !is_word(span, need_dot));
}

/* Is it one letter of ASCII, with or without a dot? */
static bool
is_initial(const CapiSpan *span)
{
	char		key[MAX_WORD_BYTES];

	return span->len <= 2 &&
		capi_text_key(key, sizeof(key), span->s, span->len) == 1;
}

/* Splits at white space; what stands in brackets is a remark. */
static void
split_words(const char *s, int len, Words *words)
{
	const char *p = s;
	const char *end = s + len;
	const char *from = NULL;	/* the word being read */
	bool		bracketed = false;

	words->n = 0;
	while (p < end && words->n < MAX_WORDS)
	{
		const char *start = p;
		uint32		c = capi_text_next(&p, end);

		if (c == '(' || c == '[')
			bracketed = true;
		if (bracketed || uc_is_property_white_space(c) || c == ',')
		{
			if (from != NULL)
				words->word[words->n++] = (CapiSpan) {from, start - from};
			from = NULL;
		}
		else if (from == NULL)
			from = start;
		if (c == ')' || c == ']')
			bracketed = false;
	}
	if (from != NULL && words->n < MAX_WORDS)
		words->word[words->n++] = (CapiSpan) {from, end - from};
}

/* Takes titles from the front and suffixes from the end; were there titles? */
static bool
strip_titles(Words *words)
{
	int			first = 0;

	while (first < words->n && is_title(&words->word[first]))
		first++;
	words->n -= first;
	memmove(words->word, words->word + first, sizeof(CapiSpan) * words->n);
	while (words->n > 1 && is_word(&words->word[words->n - 1], suffixes))
		words->n--;
	return first > 0;
}

/* The words from first up to, without, end. */
static CapiSpan
join(const Words *words, int first, int end)
{
	const char *s = words->word[first].s;
	const CapiSpan *last = &words->word[end - 1];

	return (CapiSpan) {s, last->s + last->len - s};
}

static inline bool
is_country(const char *country, const char *alpha2)
{
	return country != NULL && strcmp(country, alpha2) == 0;
}

/* Two family names are usual. */
static bool
is_spanish_speaking(const char *country)
{
	static const char *const countries[] = {
		"ar", "bo", "cl", "co", "cr", "cu", "do", "ec", "es", "gq", "gt", "hn",
		"mx", "ni", "pa", "pe", "pr", "py", "sv", "uy", "ve", NULL
	};

	return country != NULL && is_among(country, countries);
}

/* Chinese or Japanese characters, or Korean syllables? */
static bool
is_east_asian(uint32 c)
{
	return (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
		(c >= 0x20000 && c <= 0x3FFFF) || (c >= 0xAC00 && c <= 0xD7A3) ||
		(c >= 0x3040 && c <= 0x30FF);
}

/* Bytes of the first n characters. */
static int
char_bytes(const char *s, int len, int n)
{
	const char *p = s;

	while (n-- > 0 && p < s + len)
		(void) capi_text_next(&p, s + len);
	return p - s;
}

/* Number of characters if all are East Asian, else 0. */
static int
east_asian_length(const CapiSpan *span)
{
	const char *p = span->s;
	const char *end = p + span->len;
	int			n = 0;

	for (; p < end; n++)
		if (!is_east_asian(capi_text_next(&p, end)))
			return 0;
	return n;
}

/*
 * An East Asian name without a space: the family name has one character in
 * China and Korea, bar the long ones, and mostly two in Japan.
 */
static bool
split_east_asian(const CapiSpan *span, const char *country, CapiName *name)
{
	int			n = east_asian_length(span);
	int			family = 1;
	int			bytes;

	if (n < 2 || n > 6)
		return false;
	if (n > 2 && is_country(country, "jp"))
		family = 2;
	for (const char *const *known = long_family_names; *known != NULL; known++)
		if (n > 2 && strncmp(span->s, *known, strlen(*known)) == 0)
			family = 2;
	if (n == 4)
		family = 2;
	bytes = char_bytes(span->s, span->len, family);
	name->last = (CapiSpan) {span->s, bytes};
	name->first = (CapiSpan) {span->s + bytes, span->len - bytes};
	return true;
}

/* Index of the first word of the family name, where that comes last. */
static int
find_family_name(const Words *words, const char *country)
{
	int			i = words->n - 1;

	if (words->n > 2 && is_spanish_speaking(country))
		i--;
	while (i > 1 && is_word(&words->word[i - 1], particles))
		i--;
	return i;
}

/* First and last name of words in their order. */
static void
split_ordered(const Words *words, const char *country, CapiName *name)
{
	int			first = 0;

	if (east_asian_length(&words->word[0]) > 0 ||
		is_country(country, "hu") || is_country(country, "vn"))
	{
		name->last = words->word[0];
		name->first = join(words, 1, words->n);
		return;
	}
	/* J. Robert Oppenheimer */
	while (first + 2 < words->n && is_initial(&words->word[first]))
		first++;
	name->first = words->word[first];
	name->last = join(words, find_family_name(words, country), words->n);
}

/* Berg, Anna: the comma parts family name and first names. */
static bool
split_at_comma(const char *s, int len, CapiName *name)
{
	const char *comma = memchr(s, ',', len);
	Words		family;
	Words		given;

	if (comma == NULL)
		return false;
	split_words(s, comma - s, &family);
	split_words(comma + 1, s + len - comma - 1, &given);
	(void) strip_titles(&family);
	(void) strip_titles(&given);
	if (family.n == 0 || given.n == 0 || is_word(&given.word[0], suffixes))
		return false;
	name->last = join(&family, 0, family.n);
	name->first = given.word[0];
	return true;
}

bool
capi_person_split(const char *s, int len, const char *country, CapiName *name)
{
	Words		words;
	bool		titled;

	memset(name, 0, sizeof(*name));
	if (len > MAX_NAME_BYTES || memchr(s, '@', len) != NULL)
		return false;
	if (split_at_comma(s, len, name))
		return true;
	split_words(s, len, &words);
	titled = strip_titles(&words);
	if (words.n == 0)
		return false;
	if (words.n > 1)
		split_ordered(&words, country, name);
	else if (split_east_asian(&words.word[0], country, name))
		 /* done */ ;
	else if (titled)
		name->last = words.word[0];	/* Frau Berg */
	else
		name->first = words.word[0];
	return true;
}

/* Appends a part of the name in its normal form. */
static void
append_part(StringInfo out, const CapiSpan *part)
{
	if (part->len > 0)
		capi_text_append(out, part->s, part->len, FOLD_NAME);
}

/* First name, a space, last name, for a look at what would be sent. */
bool
capi_form_full_name(CapiInput *in, StringInfo out)
{
	CapiName	name;
	int			start = out->len;
	int			middle;

	if (!capi_person_split(in->s, in->len, in->country, &name))
		return capi_form_refuse(in, "not the name of a person");
	append_part(out, &name.first);
	middle = out->len;
	if (middle > start && name.last.len > 0)
		appendStringInfoChar(out, ' ');
	append_part(out, &name.last);
	return out->len > start || capi_form_refuse(in, "no letters");
}
