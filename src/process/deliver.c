/*
 * deliver.c
 *		CALL capi.deliver(): the dispatcher's work in this session.
 *
 * Needs no preload and no worker.  Works until nothing is due or max_time is
 * over; then no request is begun any more, but those under way are waited for,
 * because only a recorded answer keeps an event from being sent again (P5).
 * Takes the same lock as the dispatcher, so there is only ever one
 * sender.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/entry.h"
#include "base/guc.h"
#include "base/here.h"
#include "base/sender_lock.h"
#include "base/txn.h"
#include "send/dispatch_state.h"
#include "send/remains.h"

/* How long beyond max_time answers wait for somebody's lock to be recorded. */
#define RECORD_LIMIT_MS	30000

PG_FUNCTION_INFO_V1(capi_sql_deliver);

/* Of the call that is under way, there is one in a session. */
static CapiDispatcher *present = NULL;

static void deliver(TimestampTz until);
static void destroy_present(void);
static void work(CapiDispatcher *d, TimestampTz until);

Datum
capi_sql_deliver(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	MemoryContext caller = CurrentMemoryContext;
	volatile TimestampTz until = DT_NOEND;

	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("capi.deliver() cannot run inside a transaction block"),
				 errhint("Use CALL capi.deliver() on its own: it commits what it has done as it goes.")));

	/* events that were sent and cannot be recorded would be sent again */
	PreventCommandDuringRecovery("CALL capi.deliver()");
	PreventCommandIfReadOnly("CALL capi.deliver()");
	if (!PG_ARGISNULL(0))
		until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
														TimestampTzGetDatum(GetCurrentTimestamp()),
														PG_GETARG_DATUM(0)));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	capi_txn_setup(true, capi_function_owner(fcinfo->flinfo->fn_oid), NULL);
	SPI_commit();
	PG_TRY();
	{
		deliver(until);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		/* what a transaction holds goes before the memory it may be in */
		capi_txn_clear();
		MemoryContextSwitchTo(caller);
		destroy_present();
		/* the lock is the session's: it would outlive the error */
		capi_sender_lock_release();
		capi_remains_wipe();
		ReThrowError(error);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}

/* Step for capi_txn_try(). */
static void
note_end(void *arg)
{
	(void) arg;
	/* 0.1.0 has no such column, and nothing was sent from it */
	if (get_attnum(capi_config_table("state"), "delivered_at") == InvalidAttrNumber)
		return;
	if (capi_txn_execute("UPDATE capi.state SET delivered_at = now()", false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not note a delivery");
}

static void
destroy_present(void)
{
	CapiDispatcher *d = present;

	present = NULL;
	if (d != NULL)
		capi_dispatch_destroy(d);
}

static void
deliver(TimestampTz until)
{
	CapiDispatcher *d;
	bool		no_worker;
	bool		lacks_memory;

	if (!capi_dispatch_lock())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another process is already delivering in this database"),
				 errdetail("It is the dispatcher, or another session in capi.deliver()."),
				 errhint("Its progress is in capi.health.")));
	d = present = capi_dispatch_create();
	work(d, until);
	capi_dispatch_finish(d);
	no_worker = d->no_worker_since != 0;
	lacks_memory = capi_pool_lacks_memory(d->pool);
	if (d->records != NIL)
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("answers to %d events could not be recorded", d->nrecords),
				 errdetail("Another session holds a lock on a table of capi's; these events will be sent once more."),
				 errhint("See pg_locks for who holds it.")));
	if (capi_is_elsewhere())
		ereport(NOTICE,
				(errmsg("capi.only_on does not name this server: nothing is sent")));
	else if (!capi_enabled)
		ereport(NOTICE,
				(errmsg("capi.enabled is off: nothing is sent")));
	destroy_present();
	(void) capi_txn_try("capi: noting a delivery", note_end, NULL);
	capi_dispatch_unlock();
	capi_remains_wipe();
	if (no_worker)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no reader could be started: orders that were to be read wait"),
				 lacks_memory ? errdetail("The server has no shared memory for it.") :
				 errdetail("The server has no free background worker."),
				 lacks_memory ? errhint("Give it more: in a container, /dev/shm is small.") :
				 errhint("Raise max_worker_processes.")));
}

static void
work(CapiDispatcher *d, TimestampTz until)
{
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		int64		wait;

		d->look_at_queue = true;
		d->draining = now >= until;
		(void) capi_dispatch_turn(d);
		if (capi_dispatch_idle(d) || !capi_enabled || capi_is_elsewhere() || d->reader == NULL)
			break;
		/* an answer that is not recorded is a repeat: worth some waiting */
		if (d->draining && capi_transport_in_flight(d->transport) == 0 &&
			(d->records == NIL || TimestampDifferenceExceeds(until, now, RECORD_LIMIT_MS)))
			break;
		wait = capi_dispatch_wait_ms(d);
		if (until != DT_NOEND && !d->draining)
			wait = Min(wait, TimestampDifferenceMilliseconds(now, until) + 1);
		capi_transport_wait(d->transport, wait);
	}
}
