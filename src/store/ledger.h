/*
 * ledger.h
 *		What became of many orders at once: those that the shop's query tells
 *		beside what the log, the backlog and the queue hold.  See ledger.c.
 */
#ifndef CAPI_LEDGER_H
#define CAPI_LEDGER_H

#include "executor/spi.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* A table in memory or, beyond work_mem, in a temporary file. */
typedef struct CapiRows
{
	TupleDesc	desc;
	Tuplestorestate *rows;
	int64		n;
	bool		with_raw_keys;	/* of orders: fill that column */
} CapiRows;

/*
 * Columns of orders as the query tells them today; amounts as they are sent.
 * The key is in the form in which keys compare, raw as the type prints it.
 */
enum
{
	ORDER_KEY, ORDER_AT, ORDER_VALUE, ORDER_CURRENCY, ORDER_IGNORED,
	ORDER_ACTION_SOURCE, ORDER_RAW_KEY, ORDER_COLUMNS
};

/* What is wanted of the orders. */
typedef enum CapiLedgerKind
{
	CAPI_LEDGER_SUMS,			/* of each time and currency */
	CAPI_LEDGER_MISSING,		/* orders without a record */
	CAPI_LEDGER_BACKFILL,		/* the same, for who is to queue them */
	CAPI_LEDGER_DRIFT			/* delivered ones that are different today */
} CapiLedgerKind;

typedef struct CapiLedger
{
	CapiLedgerKind kind;
	int			source_id;
	const char *key_type;		/* of the source's query */
	TimestampTz since;
	TimestampTz until;			/* itself not in it */
	Interval	bucket;			/* of sums: the length of time of each */
	CapiRows   *orders;			/* of that time, by the query */
	CapiRows   *known;			/* set by capi_ledger_look() */
	CapiRows   *elsewhere;		/* orders of some keys, of whatever time */
} CapiLedger;

/* Empty; in the current memory context. */
extern CapiRows *capi_ledger_orders(void);

/*
 * Locks what must not be emptied under a count, and takes the snapshot for it,
 * which stays the active one until capi_ledger_end().  Raises 40001 in a
 * transaction whose snapshot is too old.
 */
extern void capi_ledger_begin(Oid owner);
extern void capi_ledger_end(void);

/* Puts orders and records together by key.  Inside SPI, as the owner. */
extern void capi_ledger_look(CapiLedger *ledger);

/*
 * The next keys of records for which the query is to be asked, up to max of them;
 * returns their number.  A CapiKeySupply (read/orders.h).
 */
extern int	capi_ledger_strays(void *ledger, char **keys, int max);

/*
 * How a key of that type is compared, in SQL: as its text, where equal values
 * have one text.  Of a number the zeros at the end do not count, of char(n) the
 * blanks; the type citext, of an extension, has no regard for case.
 */
extern char *capi_ledger_key_sql(const char *type, const char *key);

/* Appends the answer; its columns are those of the SQL function. */
extern void capi_ledger_settle(CapiLedger *ledger, Tuplestorestate *result,
							   TupleDesc desc);

#endif							/* CAPI_LEDGER_H */
