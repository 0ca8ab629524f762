/*
 * dispatch.h
 *		The delivery pipeline: queue -> query -> payload -> transport -> outcome.
 *		Called by worker.c (for good) and by CALL capi.deliver() (until idle).
 */
#ifndef CAPI_DISPATCH_H
#define CAPI_DISPATCH_H

#include "base/capi.h"

/*
 * Runs the pipeline in a process that has a database connection and no open
 * transaction.  Ends only with the process: by an interrupt, by an error of the
 * database, or by extension_gone, which is called when the extension is not
 * there any more.
 */
extern void capi_dispatch_forever(void (*extension_gone) (void)) CAPI_NORETURN;

#endif							/* CAPI_DISPATCH_H */
