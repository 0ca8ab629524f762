/*
 * dispatch.h
 *		The delivery pipeline: queue -> query -> payload -> transport -> outcome.
 *		Called by worker.c (for good) and by CALL capi.deliver() (until idle).
 */
#ifndef CAPI_DISPATCH_H
#define CAPI_DISPATCH_H

/*
 * Runs the pipeline in a process that has a database connection and no open
 * transaction.  Returns when the caller should look again whether the
 * extension is there; throws on interrupts and on errors of the database, and
 * the process then ends, to be started again later.
 */
extern void capi_dispatch_until_recheck(void);

#endif							/* CAPI_DISPATCH_H */
