/*
 * tally.h
 *		Orders and records put together by key, in memory.  See tally.c.
 */
#ifndef CAPI_TALLY_H
#define CAPI_TALLY_H

#include "store/ledger.h"

/* Columns of a record. */
enum
{
	RECORD_KEY, RECORD_RANK, RECORD_IGNORED_AT, RECORD_UNREAD_AT,
	RECORD_EVENT_TIME, RECORD_SEEN_AT, RECORD_SENT_VALUE, RECORD_SENT_CURRENCY,
	RECORD_COLUMNS
};

/* Columns of what is known of an order; or of a sum, which has no key. */
enum
{
	KNOWN_KEY, KNOWN_AT, KNOWN_VALUE, KNOWN_CURRENCY, KNOWN_IGNORED,
	KNOWN_ACTION_SOURCE, KNOWN_RAW_KEY, KNOWN_RANK, KNOWN_IGNORED_AT, KNOWN_UNREAD_AT,
	KNOWN_EVENT_TIME, KNOWN_SEEN_AT, KNOWN_SENT_VALUE, KNOWN_SENT_CURRENCY,
	KNOWN_CLASS, KNOWN_ORDERS, KNOWN_COLUMNS
};

/* What a record says of its order; the higher counts. */
enum
{
	RANK_UNREAD, RANK_IGNORED, RANK_WAITING, RANK_EXPIRED, RANK_REJECTED,
	RANK_DELIVERED, RANK_FORGOTTEN
};

typedef struct CapiTally CapiTally;

/*
 * How often all orders and records have to be gone through, see tally.c: by the
 * number of orders; and, once both were added, by all that came, which is more
 * than the present number of parts if there was no room for some.
 */
extern int	capi_tally_parts(int64 orders);
extern int	capi_tally_needed_parts(const CapiTally *tally);

/*
 * For one part of all keys.  Orders and then records are added, those of other
 * parts passed over; finish puts sums and what is not clear into known.
 */
extern CapiTally *capi_tally_begin(CapiLedger *ledger, int part, int parts);
extern void capi_tally_orders(CapiTally *tally);
extern DestReceiver *capi_tally_records(CapiTally *tally);
extern void capi_tally_finish(CapiTally *tally);
extern void capi_tally_drop(CapiTally *tally);

#endif							/* CAPI_TALLY_H */
