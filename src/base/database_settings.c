/*
 * database_settings.c
 *		What ALTER DATABASE and ALTER ROLE ... SET say for this process.
 *
 * Only compares: the server alone knows how to apply them, when a process
 * connects, so a worker that lives for long ends and is started again.  Called
 * by pinned.c when a worker begins, and then by the dispatcher.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/database_settings.h"

/* As they were at the first call. */
static char *first = NULL;

static void
append_settings(StringInfo out, Relation rel, Oid database, Oid role)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(role));
	scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
										  RelationGetDescr(rel), &isnull);
		Datum	   *settings;
		int			n;

		if (isnull)
			continue;
		deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false,
						  TYPALIGN_INT, &settings, NULL, &n);
		for (int i = 0; i < n; i++)
			appendStringInfo(out, "%s\n", TextDatumGetCString(settings[i]));
	}
	systable_endscan(scan);
	appendStringInfoChar(out, '\n');
}

bool
capi_database_settings_changed(void)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	Oid			role = GetAuthenticatedUserId();
	StringInfoData now;
	bool		changed;

	initStringInfo(&now);
	append_settings(&now, rel, MyDatabaseId, role);
	append_settings(&now, rel, MyDatabaseId, InvalidOid);
	append_settings(&now, rel, InvalidOid, role);
	append_settings(&now, rel, InvalidOid, InvalidOid);
	table_close(rel, AccessShareLock);
	if (first == NULL)
		first = MemoryContextStrdup(TopMemoryContext, now.data);
	changed = strcmp(first, now.data) != 0;
	pfree(now.data);
	return changed;
}
