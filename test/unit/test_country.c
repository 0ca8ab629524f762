/*
 * test_country.c
 *		The tables of country.c: sorted, as the look-ups need them, in the form
 *		that is looked up, and complete.
 */
#include "../../src/event/country.c"

#include "tap.h"
#include "event/text.h"

/* Entries of ISO 3166-1; each has a calling code. */
#define COUNTRIES	249

static void
check_countries(void)
{
	bool		sorted = true;
	bool		codes = true;
	bool		lengths = true;

	for (int i = 0; i < (int) lengthof(countries); i++)
	{
		const CapiCountry *c = &countries[i];

		sorted &= i == 0 || strcmp(countries[i - 1].alpha2, c->alpha2) < 0;
		codes &= strlen(c->alpha2) == 2 && strlen(c->alpha3) == 3 &&
			c->calling_code > 0 && c->calling_code < 1000;
		lengths &= c->min_digits >= 4 && c->min_digits <= c->max_digits &&
			c->max_digits <= 15;
	}
	is_int(lengthof(countries), COUNTRIES, "every country of ISO 3166-1");
	ok(sorted, "countries are sorted");
	ok(codes, "each has two codes and a calling code");
	ok(lengths, "and lengths that can be");
}

/* No calling code begins with another: capi_country_by_number relies on it. */
static void
check_calling_codes(void)
{
	bool		free_of_prefixes = true;
	bool		one_each = true;

	for (int i = 0; i < (int) lengthof(countries); i++)
		for (int j = 0; j < (int) lengthof(countries); j++)
		{
			int			a = countries[i].calling_code;
			int			b = countries[j].calling_code;

			if (a / 10 == b || a / 100 == b)
				free_of_prefixes = false;
			if (i != j && a == b && main_country(a) == NULL)
				one_each = false;
		}
	ok(free_of_prefixes, "no calling code begins with another");
	ok(one_each, "shared calling codes have a main country");
}

static void
check_names(const char *what, const NamedCode *table, int n)
{
	bool		sorted = true;
	bool		folded = true;
	char		key[128];

	for (int i = 0; i < n; i++)
	{
		sorted &= i == 0 || strcmp(table[i - 1].name, table[i].name) < 0;
		if (capi_text_key(key, sizeof(key), table[i].name,
						  strlen(table[i].name)) == 0 ||
			strcmp(key, table[i].name) != 0)
		{
			printf("# %s is looked up as %s\n", table[i].name, key);
			folded = false;
		}
	}
	ok(sorted, what);
	ok(folded, "in the form that is looked up");
}

/* Names in other languages: every one is found, and sorted over the blocks. */
static void
check_foreign(void)
{
	const char *p = foreign_text;
	char		name[MAX_FOREIGN_BYTES] = "";
	char		code[3];
	bool		sorted = true;
	bool		folded = true;
	bool		found = true;
	int			n;

	for (n = 0; p < foreign_text + sizeof(foreign_text) - 1; n++)
	{
		char		before[MAX_FOREIGN_BYTES];
		char		found_code[3];
		char		key[MAX_FOREIGN_BYTES];

		strcpy(before, name);
		if (n % FOREIGN_BLOCK == 0 &&
			p != foreign_text + foreign_blocks[n / FOREIGN_BLOCK])
			sorted = false;
		read_foreign(&p, name, code);
		sorted &= strcmp(before, name) < 0;
		folded &= capi_text_key(key, sizeof(key), name, strlen(name)) > 0 &&
			strcmp(key, name) == 0;
		found &= capi_country_find(code) != NULL &&
			find_foreign(name, found_code) && strcmp(code, found_code) == 0 &&
			find_named_code(country_names, lengthof(country_names), name) == NULL;
	}
	is_int(n, FOREIGN_NAMES, "names in other languages");
	ok(sorted, "are sorted, in blocks");
	ok(folded, "are in the form that is looked up");
	ok(found, "and are found, each in one table");
	ok(!find_foreign("a", code) && !find_foreign("zzzz", code) &&
	   !find_foreign("\xF4\x8F\xBF\xBF", code), "others are not");
}

static void
check_look_ups(void)
{
	int			named = 0;

	for (int i = 0; i < (int) lengthof(countries); i++)
	{
		bool		has_name = false;

		for (int j = 0; j < (int) lengthof(country_names) && !has_name; j++)
			has_name = strcmp(country_names[j].code, countries[i].alpha2) == 0;
		named += has_name;
	}
	is_int(named, COUNTRIES, "every country has a name");
	ok(capi_country_find("de") != NULL, "a code is found");
	ok(capi_country_find("zz") == NULL, "one that is none is not");
	ok(capi_country_recognise("deu") == capi_country_find("de"), "alpha-3");
	ok(capi_country_recognise("zzz") == NULL, "alpha-3 that is none");
	is_text(capi_country_us_state("tx"), "tx", "code of a state");
	is_text(capi_country_us_state("texas"), "tx", "name of a state");
	ok(capi_country_us_state("zz") == NULL, "no code of a state");
}

int
main(void)
{
	check_countries();
	check_calling_codes();
	check_names("names of countries are sorted", country_names,
				lengthof(country_names));
	check_names("names of states are sorted", us_states, lengthof(us_states));
	check_foreign();
	check_look_ups();
	return done_testing();
}
