/*
 * reference.c
 *		The types capi.role_ref, table_ref and type_ref: what a source refers to
 *		in the shop, so that a dump of the table of sources can be restored where
 *		a part of it is missing.
 *
 * They are regrole, regclass and regtype but for one thing: a name that is not
 * known is no error, which would take all sources away, but no reference, and
 * its source is broken until somebody mends it.  Neither is a number, which
 * means what was dropped before the dump, and something else here.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

PG_FUNCTION_INFO_V1(capi_sql_role_ref_in);
PG_FUNCTION_INFO_V1(capi_sql_table_ref_in);
PG_FUNCTION_INFO_V1(capi_sql_type_ref_in);
PG_FUNCTION_INFO_V1(capi_sql_role_ref_out);
PG_FUNCTION_INFO_V1(capi_sql_table_ref_out);
PG_FUNCTION_INFO_V1(capi_sql_type_ref_out);

/* By to_regrole() and its like, which give null for what is not there. */
static Datum
read_reference(PGFunction look_up, const char *text)
{
	LOCAL_FCINFO(call, 1);
	Datum		found;

	if (text[strspn(text, "0123456789")] == '\0' || strcmp(text, "-") == 0)
		return ObjectIdGetDatum(InvalidOid);
	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = CStringGetTextDatum(text);
	call->args[0].isnull = false;
	found = look_up(call);
	return call->isnull ? ObjectIdGetDatum(InvalidOid) : found;
}

Datum
capi_sql_role_ref_in(PG_FUNCTION_ARGS)
{
	return read_reference(to_regrole, PG_GETARG_CSTRING(0));
}

Datum
capi_sql_table_ref_in(PG_FUNCTION_ARGS)
{
	return read_reference(to_regclass, PG_GETARG_CSTRING(0));
}

Datum
capi_sql_type_ref_in(PG_FUNCTION_ARGS)
{
	return read_reference(to_regtype, PG_GETARG_CSTRING(0));
}

Datum
capi_sql_role_ref_out(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(regroleout, PG_GETARG_DATUM(0));
}

Datum
capi_sql_table_ref_out(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(regclassout, PG_GETARG_DATUM(0));
}

Datum
capi_sql_type_ref_out(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(regtypeout, PG_GETARG_DATUM(0));
}
