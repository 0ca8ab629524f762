/*
 * role_rest.c
 *		Time that a role's queries have spent for nothing, and how long it goes
 *		without slow work for that (P6; the rules are portions.c's).
 *
 * Called by portions.c and portion_end.c.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "send/portions_state.h"

/* A role that has spent time for nothing. */
typedef struct RoleRest
{
	Oid			role;
	TimestampTz until;
} RoleRest;

static RoleRest *
find_rest(const CapiDispatcher *d, Oid role)
{
	ListCell   *lc;

	foreach(lc, d->resting_roles)
	{
		RoleRest   *rest = lfirst(lc);

		if (rest->role == role)
			return rest;
	}
	return NULL;
}

/* When slow work of the role may be done again; in the past: now. */
TimestampTz
capi_role_rest_until(const CapiDispatcher *d, Oid role)
{
	RoleRest   *rest = find_rest(d, role);

	return rest != NULL ? rest->until : DT_NOBEGIN;
}

void
capi_role_let_rest(CapiDispatcher *d, Oid role, int64 spent_ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													CAPI_REST_FACTOR * spent_ms);
	RoleRest   *rest = find_rest(d, role);
	MemoryContext old;

	if (spent_ms < CAPI_SLOW_MS)
		return;
	if (rest == NULL)
	{
		old = MemoryContextSwitchTo(d->context);
		rest = palloc0(sizeof(RoleRest));
		rest->role = role;
		d->resting_roles = lappend(d->resting_roles, rest);
		MemoryContextSwitchTo(old);
	}
	rest->until = Max(rest->until, until);
}
