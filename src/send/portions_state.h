/*
 * portions_state.h
 *		What portions.c, portion_end.c and role_rest.c share, and nobody else.
 */
#ifndef CAPI_PORTIONS_STATE_H
#define CAPI_PORTIONS_STATE_H

#include "send/dispatch_state.h"

/* Others do not wait longer for a portion of a source not known to be slow. */
#define CAPI_SLOW_MS		1000

/* Time paid for each that was spent for nothing. */
#define CAPI_REST_FACTOR	9

/* Events that no reader could be started for wait so long. */
#define CAPI_NO_WORKER_RETRY_MS	5000
#define CAPI_NO_WORKER_REASON	"no reader can be started: max_worker_processes are used up"
#define CAPI_NO_MEMORY_REASON	"no reader can be started: the server has no shared memory for it"
#define CAPI_LOST_REASON		"no reader can be started: it ends at once, and the server's log says why"

typedef struct CapiPortion
{
	MemoryContext context;		/* everything of the portion, itself included */
	int			source_id;
	Oid			role;
	int			n;
	CapiItem  **items;
	bool	   *done;			/* has its result */
	int			ndone;
	bool		one_by_one;		/* orders that made the query fail before */
	bool		is_given;
	bool		is_stopped;
	bool		is_passed_over; /* there is no reader for it just now */
	bool		has_ended;
	int			deaths;			/* of readers at it, or at its first order */
	int			losses;			/* of readers before they began */
	TimestampTz given_at;
} CapiPortion;

/* What the pool's events work on. */
typedef struct CapiPortionsPoll
{
	CapiDispatcher *d;
	CapiChunk	chunk;
	bool		any;
} CapiPortionsPoll;

/* in portions.c: its order has a result; those without one go back to wait */
extern void capi_portions_settle(CapiDispatcher *d, CapiPortion *portion, int at);
extern void capi_portions_put_back(CapiPortionsPoll *poll, CapiPortion *portion,
								   const char *reason, TimestampTz next);
extern void capi_portions_put_back_waiting(CapiPortionsPoll *poll, int source_id,
										   const char *reason, TimestampTz next);
extern void capi_portions_put_back_of_role(CapiPortionsPoll *poll, Oid role,
										   const char *reason, TimestampTz next);
extern int64 capi_portions_spent_ms(const CapiPortion *portion);

/* in portion_end.c: what the pool is to tell */
extern CapiPoolEvents capi_portions_events(CapiPortionsPoll *poll);

/* in role_rest.c */
extern TimestampTz capi_role_rest_until(const CapiDispatcher *d, Oid role);
extern void capi_role_let_rest(CapiDispatcher *d, Oid role, int64 spent_ms);

#endif							/* CAPI_PORTIONS_STATE_H */
