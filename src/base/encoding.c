/*
 * encoding.c
 *		Texts between the database's encoding and UTF-8.
 *
 * One rule: an event and all that is known of it, its id, name, reason and
 * problems, is UTF-8 in memory, from the row of the query to the request and
 * the answer.  What comes out of a table becomes UTF-8 when it is read, and
 * goes into one in the database's encoding.  Keys alone are what the database
 * wrote, for they are compared with what it writes.
 *
 * The server's own functions raise an error for a character that the other
 * side lacks; an outcome must be recorded all the same.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/encoding.h"

/* No encoding needs more for a character of another. */
#define MAX_GROWTH	4

static char *
convert(const char *text, int from, int to)
{
	int			len = strlen(text);
	Oid			proc;
	StringInfoData out;
	unsigned char *part;

	if (from == to || from == PG_SQL_ASCII || to == PG_SQL_ASCII || len == 0)
		return unconstify(char *, text);
	proc = FindDefaultConversionProc(from, to);
	if (!OidIsValid(proc))
		return unconstify(char *, text);
	initStringInfo(&out);
	part = palloc((Size) len * MAX_GROWTH + 1);
	while (len > 0)
	{
		int			done = pg_do_encoding_conversion_buf(proc, from, to,
														 unconstify(unsigned char *, (const unsigned char *) text),
														 len, part, len * MAX_GROWTH + 1, true);

		appendStringInfoString(&out, (char *) part);
		text += done;
		len -= done;
		if (len > 0)
		{
			int			skip = Min(pg_encoding_mblen(from, text), len);

			appendStringInfoChar(&out, '?');
			text += skip;
			len -= skip;
		}
	}
	pfree(part);
	return out.data;
}

char *
capi_to_utf8(const char *text)
{
	return convert(text, GetDatabaseEncoding(), PG_UTF8);
}

char *
capi_from_utf8(const char *text)
{
	return convert(text, PG_UTF8, GetDatabaseEncoding());
}
