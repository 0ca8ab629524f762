/*
 * txn.h
 *		Short transactions of the dispatcher, in a worker or in a session.
 *
 * Every one has a snapshot and SPI at hand; none is open while the network is
 * waited for (P11).
 */
#ifndef CAPI_TXN_H
#define CAPI_TXN_H

/*
 * Says how transactions are made from now on.  In a session (CALL
 * capi.deliver()) the caller is connected to SPI non-atomically and owner is
 * the owner of the extension; in a worker owner is InvalidOid.
 */
extern void capi_txn_setup(bool in_session, Oid owner);

/* activity: shown in pg_stat_activity; a constant. */
extern void capi_txn_begin(const char *activity);
extern void capi_txn_commit(void);

/* After an error was caught and flushed. */
extern void capi_txn_abort(void);

#endif							/* CAPI_TXN_H */
