/*
 * compat.h
 *		Differences between PostgreSQL 15 and 18, and nothing else.
 *
 * The only file with #if PG_VERSION_NUM.  One section per module that needs
 * one; everything is a macro or a static inline function.
 */
#ifndef CAPI_COMPAT_H
#define CAPI_COMPAT_H

#include "access/genam.h"
#include "catalog/pg_database.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 180000
#include "storage/aio_subsys.h"
#endif

#if PG_VERSION_NUM < 150000
#error "capi needs PostgreSQL 15 or newer"
#endif

/* init.c: the version comes from capi.control through the Makefile. */
#ifndef CAPI_VERSION
#define CAPI_VERSION	"unknown"
#endif

#if PG_VERSION_NUM >= 180000
#define CAPI_MODULE_MAGIC	PG_MODULE_MAGIC_EXT(.name = "capi", .version = CAPI_VERSION)
#else
#define CAPI_MODULE_MAGIC	PG_MODULE_MAGIC
#endif

/*
 * attempt.c: what a backend may have been doing with a block when an error was
 * raised.  Up to 15 it says so itself, from 16 on a resource owner knows, and
 * 18 has reads besides that go on meanwhile.
 */
static inline void
capi_give_up_io(void)
{
#if PG_VERSION_NUM >= 180000
	pgaio_error_cleanup();
#elif PG_VERSION_NUM < 160000
	AbortBufferIO();
#endif
}

/*
 * Wait events: named from 17 on, the common "Extension" before.  From 17 on
 * this is a look-up under a lock, so callers keep the number in a static
 * variable.
 */
static inline uint32
capi_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* slot.c: index of this process among the server's PGPROC structures. */
static inline uint32
capi_my_procno(void)
{
#if PG_VERSION_NUM >= 170000
	return (uint32) MyProcNumber;
#else
	return (uint32) MyProc->pgprocno;
#endif
}

/* holders.c: the id of a process's transaction among its own. */
#if PG_VERSION_NUM >= 170000
#define CAPI_PROC_TRANSACTION(proc)	((proc)->vxid.lxid)
#else
#define CAPI_PROC_TRANSACTION(proc)	((proc)->lxid)
#endif

/* lock.c: no waiting and no error; 18 can also log who was in the way. */
static inline LockAcquireResult
capi_lock_acquire_at_once(const LOCKTAG *tag, LOCKMODE mode, LOCALLOCK **local)
{
#if PG_VERSION_NUM >= 180000
	return LockAcquireExtended(tag, mode, false, true, false, local, false);
#else
	return LockAcquireExtended(tag, mode, false, true, false, local);
#endif
}

/* queue.c: the name of a relation's file got a new name in 16. */
#if PG_VERSION_NUM >= 160000
#define CAPI_RELATION_FILE(rel)	((rel)->rd_locator)
#else
#define CAPI_RELATION_FILE(rel)	((rel)->rd_node)
#endif

/* database_hook.c: superusers own every database. */
static inline bool
capi_owns_database(Oid dboid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, dboid, roleid);
#else
	return pg_database_ownercheck(dboid, roleid);
#endif
}

/* delivery.c: index entries of a new row. */
static inline List *
capi_insert_index_tuples(ResultRelInfo *target, TupleTableSlot *slot,
						 EState *estate)
{
#if PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL, false);
#else
	return ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL);
#endif
}

/* sender_lock.c */
static inline bool
capi_lock_held(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, mode, false);
#else
	return LockHeldByMe(tag, mode);
#endif
}

/* known.c: 18 counts index searches for EXPLAIN. */
static inline IndexScanDesc
capi_index_beginscan(Relation rel, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/*
 * response.c: semantic actions of the JSON parser return a code from 16 on,
 * and the lexer's constructor takes a lexer to fill from 17 on.
 */
#if PG_VERSION_NUM >= 160000
#define CAPI_JSON_ACTION			JsonParseErrorType
#define CAPI_JSON_ACTION_DONE()		return JSON_SUCCESS
#else
#define CAPI_JSON_ACTION			void
#define CAPI_JSON_ACTION_DONE()		return
#endif

#if PG_VERSION_NUM >= 170000
#define CAPI_JSON_LEXER(json, len, encoding) \
	makeJsonLexContextCstringLen(NULL, (json), (len), (encoding), true)
#else
#define CAPI_JSON_LEXER(json, len, encoding) \
	makeJsonLexContextCstringLen((json), (len), (encoding), true)
#endif

#endif							/* CAPI_COMPAT_H */
