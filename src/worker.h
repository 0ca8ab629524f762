/*
 * worker.h
 *		The dispatcher process of one database.
 */
#ifndef CAPI_WORKER_H
#define CAPI_WORKER_H

#include "capi.h"

/* Entry point, called by the server by its name. */
extern PGDLLEXPORT void capi_dispatcher_main(Datum main_arg);

/*
 * Ends the process without an error: what it works for is not there.  The
 * launcher starts another one when it comes back.
 */
extern void capi_worker_extension_gone(void) CAPI_NORETURN;

/*
 * Reads the configuration again if a reload was asked for; true if it was.
 * For the dispatcher's loop; does nothing in a session, where the server
 * itself does this between commands.
 */
extern bool capi_worker_reload_config(void);

#endif							/* CAPI_WORKER_H */
