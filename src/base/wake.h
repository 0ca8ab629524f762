/*
 * wake.h
 *		Waking the dispatcher of this database when the transaction commits.
 */
#ifndef CAPI_WAKE_H
#define CAPI_WAKE_H

extern void capi_wake_init(void);	/* once per process */
/* urgent: also a dispatcher that does not wait for orders just now. */
extern void capi_wake_at_commit(bool urgent);

#endif							/* CAPI_WAKE_H */
