/*
 * dispatch.h
 *		The delivery pipeline: queue -> query -> payload -> transport -> outcome.
 *		Called by worker.c (for ever) and by CALL capi.deliver() (until idle).
 */
#ifndef CAPI_DISPATCH_H
#define CAPI_DISPATCH_H

/*
 * Runs the pipeline in a process that has a database connection and no open
 * transaction.  Returns when the extension is gone (false) or should be looked
 * at again by the caller; throws on interrupts and on errors of the database.
 * The worker's caller treats any throw as "exit 1, restart later".
 */
extern bool capi_dispatch_forever(void);

#endif							/* CAPI_DISPATCH_H */
