/*
 * database_hook.h
 *		Keeps dispatchers out of the way of database commands, and tells them
 *		when the extension comes or goes.
 */
#ifndef CAPI_DATABASE_HOOK_H
#define CAPI_DATABASE_HOOK_H

/* Sets the hooks and the transaction callback; from _PG_init, preloading. */
extern void capi_hook_init(void);

#endif							/* CAPI_DATABASE_HOOK_H */
