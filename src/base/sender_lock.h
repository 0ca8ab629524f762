/*
 * sender_lock.h
 *		The lock that makes one process of a database the only sender.
 */
#ifndef CAPI_SENDER_LOCK_H
#define CAPI_SENDER_LOCK_H

/* Inside a transaction; false when another process is the sender. */
extern bool capi_sender_lock_take(void);

/* What may have got lost of it is taken again; at the start of transactions. */
extern void capi_sender_lock_keep(void);

/* Needs no transaction that works: also for use after an error. */
extern void capi_sender_lock_release(void);

#endif							/* CAPI_SENDER_LOCK_H */
