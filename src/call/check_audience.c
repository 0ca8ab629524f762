/*
 * check_audience.c
 *		The check of an audience's query when it is given.
 *
 * Called by the functions of sql/capi/audiences.sql, as the owner of the
 * extension.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "read/people.h"
#include "read/query.h"

PG_FUNCTION_INFO_V1(capi_sql_check_audience_query);

/*
 * capi._check_audience_query(query, search_path, run_as): runs the query for
 * nobody, as the role and read-only, and looks at its columns.
 */
Datum
capi_sql_check_audience_query(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *path = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *sql = psprintf("SELECT q.* FROM (%s\n) AS q LIMIT 0",
							   capi_query_single_select(query));
	CapiQueryScope scope;

	SPI_connect();
	capi_query_enter(&scope, PG_GETARG_OID(2), path);
	/* not as SPI's "read-only", whose errors speak of functions */
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query");
	capi_people_check_columns(SPI_tuptable->tupdesc);
	capi_query_leave(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}
