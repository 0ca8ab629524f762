/*
 * wake.h
 *		Waking the dispatcher of this database when the transaction commits.
 */
#ifndef CAPI_WAKE_H
#define CAPI_WAKE_H

extern void capi_wake_init(void);	/* once per process */
extern void capi_wake_at_commit(void);

#endif							/* CAPI_WAKE_H */
