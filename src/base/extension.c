/*
 * extension.c
 *		The extension as an object of this database: who owns it, and the lock
 *		that keeps it from being dropped.
 *
 * DROP EXTENSION, and whatever else drops it, first locks the extension and
 * then every object that belongs to it.  The lock on the extension itself is
 * not to be waited for: ALTER FUNCTION ... DEPENDS ON EXTENSION takes it, needs
 * no right on the extension, and holds it as long as its transaction lasts.
 * One of capi's functions serves instead: nobody but who drops it can hold a
 * lock on a function of another's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "base/capi.h"
#include "base/extension.h"

/* It has no arguments, and is there as long as the extension is. */
#define ANCHOR_FUNCTION	"_installed"

/* Oid of the extension, or InvalidOid. */
static Oid
find_extension(Oid *owner)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			found = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(CAPI_EXTENSION));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	*owner = InvalidOid;
	if (HeapTupleIsValid(tuple))
	{
		found = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static Oid
find_anchor(void)
{
	Oid			space = get_namespace_oid(CAPI_SCHEMA, true);

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum(ANCHOR_FUNCTION),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(space));
}

static bool
try_lock(Oid classid, Oid objid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, classid, objid, 0);
	return LockAcquire(&tag, AccessShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* As this process knew them last: to lock first and to look then. */
static Oid	known_extension = InvalidOid;
static Oid	known_anchor = InvalidOid;

CapiExtensionLock
capi_extension_lock(Oid *owner)
{
	if (!OidIsValid(known_extension))
		known_extension = find_extension(owner);
	if (!OidIsValid(known_anchor))
		known_anchor = find_anchor();
	if (!OidIsValid(known_extension) || !OidIsValid(known_anchor))
		return CAPI_EXTENSION_GONE;

	/* makes who drops it wait before he locks tables that we then want */
	(void) try_lock(ExtensionRelationId, known_extension);
	if (!try_lock(ProcedureRelationId, known_anchor))
		return CAPI_EXTENSION_BUSY;
	AcceptInvalidationMessages();
	if (find_extension(owner) == known_extension && find_anchor() == known_anchor)
		return CAPI_EXTENSION_LOCKED;
	known_extension = known_anchor = InvalidOid;
	return CAPI_EXTENSION_GONE;
}

Oid
capi_extension_owner(void)
{
	Oid			owner;

	(void) find_extension(&owner);
	return owner;
}
