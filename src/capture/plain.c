/*
 * plain.c
 *		What is known never to raise an error, of types, functions and values.
 *
 * Says no in any doubt: then the step runs in a subtransaction (attempt.c).
 *
 * Called by rule.c when the rules of a table are read, and for each row by
 * capture.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "capture/plain.h"

bool
capi_plain_type(Oid type)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
		case BPCHAROID:
		case BYTEAOID:
		case CHAROID:
		case DATEOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NAMEOID:
		case NUMERICOID:
		case OIDOID:
		case TEXTOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
		case VARCHAROID:
			return true;
		default:
			return false;
	}
}

/* So few digits that they are a number of the type. */
static bool
is_small_number(const char *text, int most_digits)
{
	int			digits = strspn(text, "0123456789");

	return digits > 0 && digits <= most_digits && text[digits] == '\0';
}

/*
 * Would enum_in() take it?  A label that was renamed it refuses, and one that
 * was added by a transaction of which it is not known that it committed.
 */
static bool
is_label(Oid type, const char *text)
{
	HeapTuple	label;
	bool		committed;

	if (strlen(text) >= NAMEDATALEN)
		return false;
	label = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(text));
	if (!HeapTupleIsValid(label))
		return false;
	committed = HeapTupleHeaderXminCommitted(label->t_data);
	ReleaseSysCache(label);
	return committed;
}

bool
capi_plain_input(Oid type, const char *text)
{
	bool		value;

	switch (type)
	{
		case BPCHAROID:
		case TEXTOID:
		case VARCHAROID:
			return true;
		case BOOLOID:
			return parse_bool(text, &value);
		case INT2OID:
			return is_small_number(text, 4);
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
			return is_small_number(text, 9);
		default:
			return get_typtype(type) == TYPTYPE_ENUM && is_label(type, text);
	}
}

bool
capi_plain_function(Oid function)
{
	return function < FirstNormalObjectId;
}

bool
capi_plain_value(Datum varlena)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(varlena);

	return !VARATT_IS_EXTERNAL(value) && !VARATT_IS_COMPRESSED(value);
}
