/*
 * missed.c
 *		Rows that could not even be noted in the queue (P1), counted in shared memory.
 *
 * Called by capture in the shop's transaction, so nothing here can fail.
 */
#include "postgres.h"

#include "base/capi.h"
#include "base/shared.h"
#include "base/shmem.h"

static int	find_missed(Oid dboid, bool create);

/*
 * Counts a row that could not be noted.  When more databases count than there
 * is room for, the count of the latest is lost; reconciliation finds the row.
 */
void
capi_shmem_count_missed(Oid dboid)
{
	int			at = find_missed(dboid, true);

	if (at >= 0)
		pg_atomic_fetch_add_u64(&capi_shared->missed[at].rows, 1);
}

uint64
capi_shmem_missed(Oid dboid)
{
	int			at = find_missed(dboid, false);

	return at < 0 ? 0 : pg_atomic_read_u64(&capi_shared->missed[at].rows);
}

/* Gives the counter of a dropped database back. */
void
capi_shmem_forget_missed(Oid dboid)
{
	int			at = find_missed(dboid, false);

	if (at < 0)
		return;
	pg_atomic_write_u64(&capi_shared->missed[at].rows, 0);
	pg_atomic_write_u32(&capi_shared->missed[at].dboid, InvalidOid);
}

/*
 * Finds the counter of a database, or takes a free one.  Two sessions that
 * come at once try the free ones in the same order, so the loser of the
 * exchange finds the winner's entry.
 */
static int
find_missed(Oid dboid, bool create)
{
	if (capi_shared == NULL)
		return -1;

	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		if (pg_atomic_read_u32(&capi_shared->missed[i].dboid) == dboid)
			return i;

	for (int i = 0; create && i < CAPI_MAX_DATABASES; i++)
	{
		uint32		expected = InvalidOid;

		if (pg_atomic_compare_exchange_u32(&capi_shared->missed[i].dboid,
										   &expected, dboid) ||
			expected == dboid)
			return i;
	}
	return -1;
}
