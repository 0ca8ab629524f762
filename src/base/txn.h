/*
 * txn.h
 *		Short transactions of the dispatcher, in a worker or in a session.
 *
 * Every one has a snapshot and SPI at hand; none is open while the network is
 * waited for (P11).  In a worker, each holds a lock that keeps the extension
 * from being dropped under it; when it was dropped, the worker ends there and
 * then, without an error.
 *
 * None waits long for a lock: after 200 ms the statement fails with SQLSTATE
 * 55P03 (lock_not_available).  Whoever can put off or repeat what he does in
 * the transaction catches that:
 *
 *		capi_txn_begin("capi: ...");
 *		PG_TRY();
 *		{
 *			...
 *			capi_txn_commit();
 *		}
 *		PG_CATCH();
 *		{
 *			if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
 *				PG_RE_THROW();
 *			MemoryContextSwitchTo(context of before);
 *			FlushErrorState();
 *			capi_txn_abort();
 *		}
 *		PG_END_TRY();
 *
 * The abort leaves nothing of the transaction, its memory included, and the
 * sender's lock where it was.
 */
#ifndef CAPI_TXN_H
#define CAPI_TXN_H

/*
 * Says how transactions are made from now on.  In a session (CALL
 * capi.deliver()) the caller is connected to SPI non-atomically and owner is
 * the owner of the extension; in a worker owner is InvalidOid, and gone is
 * called when the extension is not there any more, and does not return.
 */
extern void capi_txn_setup(bool in_session, Oid owner, void (*gone) (void));

/*
 * Called, if set, while a worker waits for somebody who drops the extension:
 * what it has others do in the shop's tables is in his way.
 */
extern void (*capi_txn_busy_hook) (void);

/* activity: shown in pg_stat_activity; a constant. */
extern void capi_txn_begin(const char *activity);

extern void capi_txn_commit(void);

/*
 * A transaction around the step.  False when somebody holds a lock that it
 * needs, or, in a worker, when the server lacks something (a full disk): nothing
 * of it has happened, and it may be tried again.
 */
extern bool capi_txn_try(const char *activity, void (*step) (void *arg), void *arg);

/*
 * The same, in a worker after any error: for what must be written down because
 * it has happened elsewhere.
 */
extern bool capi_txn_try_whatever(const char *activity, void (*step) (void *arg),
								  void *arg);

/* The same for a step that notifies; false also when the queue for that is full. */
extern bool capi_txn_try_notify(const char *activity, void (*step) (void *arg), void *arg);

/* Is this process in one of these transactions? */
extern bool capi_txn_is_open(void);

/* After an error since begin was caught and flushed. */
extern void capi_txn_abort(void);

/*
 * The same, in a session, for an error that goes on and ends the CALL: the
 * server would not look for the subtransaction that the bracket is.
 */
extern void capi_txn_clear(void);

/*
 * SPI_execute and SPI_execute_with_args for such a transaction.  SPI leaves a
 * memory context current that ends with the transaction; after these, what the
 * caller allocates lives where it did before.
 */
extern int	capi_txn_execute(const char *sql, bool read_only, long max_rows);
extern int	capi_txn_execute_with_args(const char *sql, int nargs,
									   Oid *types, Datum *args,
									   const char *nulls, bool read_only,
									   long max_rows);

/*
 * A statement that a process runs again and again, planned once; the server
 * plans it anew when what it reads has changed, or was made anew.  Only for
 * statements that have one good plan, however large the tables are.
 */
#define CAPI_TXN_MAX_ARGS	16

typedef struct CapiStatement
{
	const char *sql;
	int			nargs;
	Oid			types[CAPI_TXN_MAX_ARGS];
	struct _SPI_plan *plan;		/* NULL: not yet planned */
} CapiStatement;

extern int	capi_txn_execute_saved(CapiStatement *statement, Datum *args,
								   const char *nulls, bool read_only,
								   long max_rows);

#endif							/* CAPI_TXN_H */
