/*
 * sender_lock.c
 *		The lock that makes one process of a database the only sender.
 *
 * It is the session's, for it is held across transactions, and nobody else can
 * take or keep busy what it locks: no function and no command of the server's
 * takes a lock of type "userlock".
 *
 * It consists of two, because the server gives each kind of session's lock
 * back in some case: one at the abort of a transaction, the other when any
 * function calls pg_advisory_unlock_all(), a trigger's say.  To become the
 * sender one needs both, so who has lost one is still the only sender.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"

#include "base/compat.h"
#include "base/sender_lock.h"

/* Any number will do; this is "capi". */
#define SENDER_LOCK	0x63617069

static const uint8 methods[] = {DEFAULT_LOCKMETHOD, USER_LOCKMETHOD};

static bool is_sender = false;
static bool held[lengthof(methods)];

static LOCKTAG
tag_of(int i)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, SENDER_LOCK, 0, 0);
	tag.locktag_type = LOCKTAG_USERLOCK;
	tag.locktag_lockmethodid = methods[i];
	return tag;
}

static void
release(void)
{
	for (size_t i = 0; i < lengthof(methods); i++)
	{
		LOCKTAG		tag = tag_of(i);

		/* what is not there any more is warned about */
		if (held[i] && capi_lock_held(&tag, ExclusiveLock))
			(void) LockRelease(&tag, ExclusiveLock, true);
		held[i] = false;
	}
}

/*
 * One of the two the server gives back when a process ends inside a
 * transaction, but not when it is in none.
 */
static void
release_at_exit(int code, Datum arg)
{
	capi_sender_lock_release();
}

/* Those of the two that are missing and free; true when none is missing. */
static bool
take_missing(void)
{
	bool		all = true;

	for (size_t i = 0; i < lengthof(methods); i++)
	{
		LOCKTAG		tag = tag_of(i);

		held[i] = capi_lock_held(&tag, ExclusiveLock) ||
			LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
		all &= held[i];
	}
	return all;
}

bool
capi_sender_lock_take(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(release_at_exit, (Datum) 0);
	registered = true;
	is_sender = take_missing();
	if (!is_sender)
		release();
	return is_sender;
}

/* If somebody tries to become the sender just now, the next time will do. */
void
capi_sender_lock_keep(void)
{
	if (is_sender)
		(void) take_missing();
}

void
capi_sender_lock_release(void)
{
	release();
	is_sender = false;
}
