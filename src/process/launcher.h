/*
 * launcher.h
 *		The process that starts and restarts dispatchers.
 */
#ifndef CAPI_LAUNCHER_H
#define CAPI_LAUNCHER_H

/* Registers the launcher; from _PG_init, when preloading. */
extern void capi_launcher_init(void);

/* Entry point, called by the server by its name. */
extern PGDLLEXPORT void capi_launcher_main(Datum main_arg);

#endif							/* CAPI_LAUNCHER_H */
