/*
 * country.c
 *		Look-ups in the tables of countries (country.h).
 *
 * Telephone numbers are completed by length and prefix alone.  Whether a
 * number is assigned is not asked: the plans change too often for a table in
 * an extension, and a wrong number merely does not match.
 */
#include "postgres.h"

#include "country.h"
#include "country_tables.h"

const CapiCountry *
capi_country_find(const char *alpha2)
{
	int			low = 0;
	int			high = lengthof(countries) - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		int			cmp = strcmp(alpha2, countries[mid].alpha2);

		if (cmp == 0)
			return &countries[mid];
		if (cmp < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return NULL;
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

const CapiCountry *
capi_country_recognise(const char *folded)
{
	const CapiCountry *found = capi_country_find(folded);
	const char *code;

	if (found != NULL)
		return found;
	if (strlen(folded) == 3)
		for (int i = 0; i < (int) lengthof(countries); i++)
			if (strcmp(folded, countries[i].alpha3) == 0)
				return &countries[i];
	code = find_named_code(country_names, lengthof(country_names), folded);
	return code != NULL ? capi_country_find(code) : NULL;
}

const char *
capi_country_us_state(const char *folded)
{
	if (strlen(folded) == 2)
	{
		for (int i = 0; i < (int) lengthof(us_state_codes); i++)
			if (strcmp(folded, us_state_codes[i]) == 0)
				return us_state_codes[i];
		return NULL;
	}
	return find_named_code(us_states, lengthof(us_states), folded);
}

bool
capi_country_has_currency(const char *code)
{
	int			low = 0;
	int			high = lengthof(currencies) - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		int			cmp = strcmp(code, currencies[mid]);

		if (cmp == 0)
			return true;
		if (cmp < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return false;
}

static bool
is_national_length(const CapiCountry *country, int n)
{
	return n >= country->min_digits && n <= country->max_digits;
}

/*
 * Length of the trunk prefix the digits begin with, or 0.  A "0" is always one
 * where the country has it.  Other digits also begin subscribers' numbers, so
 * there only a number that is too long with them and right without has one.
 */
static int
trunk_length(const CapiCountry *country, const char *digits, int n)
{
	const char *trunk = country->trunk;

	while (*trunk != '\0')
	{
		int			len = strcspn(trunk, "|");

		if (n > len && strncmp(digits, trunk, len) == 0 &&
			(trunk[0] == '0' ||
			 (n > country->max_digits && is_national_length(country, n - len))))
			return len;
		trunk += len;
		if (*trunk == '|')
			trunk++;
	}
	return 0;
}

/*
 * Does a number without any prefix already begin with the calling code?  Where
 * national numbers are written with a "0" in front, one that lacks it and
 * begins with the code is taken for complete; elsewhere only if its length
 * cannot be that of a national number.
 */
static bool
has_calling_code(const CapiCountry *country, const char *code,
				 const char *digits, int n)
{
	int			len = strlen(code);

	if (n <= len || strncmp(digits, code, len) != 0 ||
		!is_national_length(country, n - len))
		return false;
	return country->trunk[0] == '0' || !is_national_length(country, n);
}

bool
capi_country_phone_from_national(const CapiCountry *country,
								 const char *digits, int n, StringInfo out)
{
	char		code[12];
	int			trunk = trunk_length(country, digits, n);

	snprintf(code, sizeof(code), "%d", country->calling_code);
	digits += trunk;
	n -= trunk;
	if (trunk == 0 && has_calling_code(country, code, digits, n))
	{
		appendBinaryStringInfo(out, digits, n);
		return true;
	}
	if (n < country->min_digits)
		return false;
	appendStringInfoString(out, code);
	appendBinaryStringInfo(out, digits, n);
	return true;
}

int
capi_country_phone_stray_trunk(const CapiCountry *country,
							   const char *digits, int n, int *offset)
{
	char		code[12];
	int			len;
	int			trunk;

	snprintf(code, sizeof(code), "%d", country->calling_code);
	len = strlen(code);
	if (n <= len || strncmp(digits, code, len) != 0)
		return 0;
	trunk = trunk_length(country, digits + len, n - len);
	if (n - len - trunk < country->min_digits)
		return 0;
	*offset = len;
	return trunk;
}
