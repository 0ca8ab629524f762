/*
 * country.c
 *		Look-ups in the tables of countries (country.h).
 */
#include "postgres.h"

#include "event/country.h"

/* A name, and the code of what it names. */
typedef struct NamedCode
{
	const char *name;
	const char *code;
} NamedCode;

#include "event/country_foreign.h"
#include "event/country_names.h"
#include "event/country_tables.h"

/* The longest name in country_foreign.h. */
#define MAX_FOREIGN_BYTES		300

#define MAX_CALLING_CODE_DIGITS	3
#define MAX_CALLING_CODE		999

/* Places in the table plus 1, by the letters of the code; 0: no country. */
static uint8 by_alpha2[26 * 26];

StaticAssertDecl(lengthof(countries) < PG_UINT8_MAX, "places fit a byte");

static inline bool
is_letter(char c)
{
	return c >= 'a' && c <= 'z';
}

static inline int
alpha2_place(const char *alpha2)
{
	return (alpha2[0] - 'a') * 26 + (alpha2[1] - 'a');
}

const CapiCountry *
capi_country_find(const char *alpha2)
{
	static bool filled = false;
	int			at;

	if (!filled)
		for (int i = 0; i < (int) lengthof(countries); i++)
			by_alpha2[alpha2_place(countries[i].alpha2)] = i + 1;
	filled = true;
	if (!is_letter(alpha2[0]) || !is_letter(alpha2[1]) || alpha2[2] != '\0')
		return NULL;
	at = by_alpha2[alpha2_place(alpha2)];
	return at > 0 ? &countries[at - 1] : NULL;
}

/* Code of a name in a sorted table, or NULL. */
static const char *
find_named_code(const NamedCode *table, int n, const char *name)
{
	int			low = 0;
	int			high = n - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		int			cmp = strcmp(name, table[mid].name);

		if (cmp == 0)
			return table[mid].code;
		if (cmp < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return NULL;
}

/* Reads the name at *p into name, which holds the one before; moves *p on. */
static void
read_foreign(const char **p, char *name, char code[3])
{
	int			common = (unsigned char) *(*p)++;

	strcpy(name + common, *p);
	*p += strlen(*p) + 1;
	memcpy(code, *p, 2);
	code[2] = '\0';
	*p += 2;
}

/* Code of a name in another language; false if there is none such. */
static bool
find_foreign(const char *wanted, char code[3])
{
	int			low = 0;
	int			high = lengthof(foreign_blocks) - 1;
	const char *p;
	char		name[MAX_FOREIGN_BYTES];

	/* the last block whose first name is not behind the wanted one */
	while (low < high)
	{
		int			mid = (low + high + 1) / 2;

		if (strcmp(foreign_text + foreign_blocks[mid] + 1, wanted) <= 0)
			low = mid;
		else
			high = mid - 1;
	}
	p = foreign_text + foreign_blocks[low];
	for (int i = low * FOREIGN_BLOCK;
		 i < Min((low + 1) * FOREIGN_BLOCK, FOREIGN_NAMES); i++)
	{
		int			cmp;

		read_foreign(&p, name, code);
		cmp = strcmp(name, wanted);
		if (cmp >= 0)
			return cmp == 0;
	}
	return false;
}

const CapiCountry *
capi_country_recognise(const char *key)
{
	const CapiCountry *found = capi_country_find(key);
	const char *code;
	char		foreign[3];

	if (found != NULL)
		return found;
	if (strlen(key) == 3)
		for (int i = 0; i < (int) lengthof(countries); i++)
			if (strcmp(key, countries[i].alpha3) == 0)
				return &countries[i];
	code = find_named_code(country_names, lengthof(country_names), key);
	if (code != NULL)
		return capi_country_find(code);
	return find_foreign(key, foreign) ? capi_country_find(foreign) : NULL;
}

const char *
capi_country_us_state(const char *key)
{
	if (strlen(key) == 2)
	{
		for (int i = 0; i < (int) lengthof(us_state_codes); i++)
			if (strcmp(key, us_state_codes[i]) == 0)
				return us_state_codes[i];
		return NULL;
	}
	return find_named_code(us_states, lengthof(us_states), key);
}

/*
 * The country that gives a calling code its plan, of those that share one.  All
 * others have it to themselves.
 */
static const char *
main_country(int calling_code)
{
	static const struct
	{
		int			calling_code;
		const char *alpha2;
	}			shared[] = {
		{1, "us"}, {7, "ru"}, {39, "it"}, {44, "gb"}, {47, "no"}, {61, "au"},
		{64, "nz"}, {212, "ma"}, {262, "re"}, {358, "fi"}, {500, "fk"},
		{590, "gp"}, {599, "cw"}, {672, "nf"}
	};

	for (int i = 0; i < (int) lengthof(shared); i++)
		if (shared[i].calling_code == calling_code)
			return shared[i].alpha2;
	return NULL;
}

static const CapiCountry *
search_calling_code(int calling_code)
{
	const char *alpha2 = main_country(calling_code);

	if (alpha2 != NULL)
		return capi_country_find(alpha2);
	for (int i = 0; i < (int) lengthof(countries); i++)
		if (countries[i].calling_code == calling_code)
			return &countries[i];
	return NULL;
}

static const CapiCountry *
find_calling_code(int calling_code)
{
	static const CapiCountry *by_code[MAX_CALLING_CODE + 1];
	static bool filled = false;

	if (!filled)
		for (int code = 1; code <= MAX_CALLING_CODE; code++)
			by_code[code] = search_calling_code(code);
	filled = true;
	return by_code[calling_code];
}

const CapiCountry *
capi_country_by_number(const char *digits, int n, const CapiCountry *home,
					   int *code_len)
{
	int			code = 0;

	/* no calling code is the beginning of another */
	for (int i = 0; i < Min(n, MAX_CALLING_CODE_DIGITS); i++)
	{
		const CapiCountry *found;

		code = code * 10 + (digits[i] - '0');
		found = code == home->calling_code ? home : find_calling_code(code);
		if (found != NULL)
		{
			*code_len = i + 1;
			return found;
		}
	}
	return NULL;
}
