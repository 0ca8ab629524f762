/*
 * nearest.c
 *		The known name that a wrong one was probably meant to be.
 *
 * Pure but for capi._nearest(), by which the functions in SQL ask the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "base/nearest.h"

/* As the server's own hints: at most three edits, and not half of the name. */
#define MAX_DISTANCE	3

/* Longer names are not looked at: the distance costs the product of lengths. */
#define MAX_NAME_BYTES	255

PG_FUNCTION_INFO_V1(capi_sql_nearest);

const char *
capi_nearest(const char *given, const char *const *known, int n)
{
	const char *best = NULL;
	int			best_distance = MAX_DISTANCE + 1;
	int			len = strlen(given);

	if (len == 0 || len > MAX_NAME_BYTES)
		return NULL;
	for (int i = 0; i < n; i++)
	{
		int			known_len = strlen(known[i]);
		int			distance;

		if (known_len > MAX_NAME_BYTES)
			continue;
		distance = varstr_levenshtein_less_equal(given, len, known[i], known_len,
												 1, 1, 1, best_distance - 1, true);
		if (distance < best_distance && distance <= len / 2)
		{
			best_distance = distance;
			best = known[i];
		}
	}
	return best;
}

/* capi._nearest(given text, known text[]) returns text */
Datum
capi_sql_nearest(PG_FUNCTION_ARGS)
{
	Datum	   *texts;
	bool	   *nulls;
	const char **known;
	const char *best;
	int			ntexts;
	int			n = 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &texts, &nulls, &ntexts);
	known = palloc(sizeof(char *) * (ntexts + 1));
	for (int i = 0; i < ntexts; i++)
		if (!nulls[i])
			known[n++] = TextDatumGetCString(texts[i]);
	best = capi_nearest(text_to_cstring(PG_GETARG_TEXT_PP(0)), known, n);
	if (best == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(best));
}
