/*
 * reader_lock.c
 *		The lock that tells of the life of a reader, to whoever would start
 *		another one for the same role.
 *
 * A reader that serves no interrupt outlives the process that started it.  The
 * next process that sends knows nothing of it, and without preload there is no
 * shared memory of ours to write it down in; so it is written down in the
 * server's table of locks, by the reader itself.  The lock is of a type that no
 * command takes (see sender_lock.c), and is held in a way that no function can
 * give back: the abort of a transaction does, after which nothing of the shop's
 * runs until it is taken again.
 *
 * No reader slips through between the end of one sender and the beginning of the
 * next: one that has not taken its lock when the next one looks has not run the
 * shop's query yet, and finds then that it is to leave it (CapiLinkShared.stop,
 * set before the sender's lock is given back).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"

#include "base/compat.h"
#include "read/reader_lock.h"

/* Any number will do; this is "capr". */
#define READER_LOCK	0x63617072

static Oid	my_role = InvalidOid;
static bool my_apart = false;

static LOCKTAG
tag_of(Oid role, bool apart)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, READER_LOCK, role, apart ? 1 : 0);
	tag.locktag_type = LOCKTAG_USERLOCK;
	tag.locktag_lockmethodid = DEFAULT_LOCKMETHOD;
	return tag;
}

/* The server does not, for a process that ends outside of a transaction. */
static void
release_at_exit(int code, Datum arg)
{
	LOCKTAG		tag = tag_of(my_role, my_apart);

	if (capi_lock_held(&tag, ShareLock))
		(void) LockRelease(&tag, ShareLock, true);
}

void
capi_reader_lock_keep(Oid role, bool apart)
{
	LOCKTAG		tag = tag_of(role, apart);

	if (!OidIsValid(my_role))
		before_shmem_exit(release_at_exit, (Datum) 0);
	my_role = role;
	my_apart = apart;
	if (!capi_lock_held(&tag, ShareLock))
		(void) LockAcquire(&tag, ShareLock, true, false);
}

/* Of those that are in a transaction; others run nothing. */
bool
capi_reader_lock_held(Oid role, bool apart)
{
	LOCKTAG		tag = tag_of(role, apart);
	int			n;

	pfree(GetLockConflicts(&tag, ExclusiveLock, &n));
	return n > 0;
}
