/*
 * worker.h
 *		The dispatcher process of one database.
 */
#ifndef CAPI_WORKER_H
#define CAPI_WORKER_H

/* Entry point, called by the server by its name. */
extern PGDLLEXPORT void capi_dispatcher_main(Datum main_arg);

#endif							/* CAPI_WORKER_H */
