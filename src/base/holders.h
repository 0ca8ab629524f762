/*
 * holders.h
 *		Who holds a snapshot in this database: whom it concerns when something is
 *		taken away that only the newest snapshots do without.
 */
#ifndef CAPI_HOLDERS_H
#define CAPI_HOLDERS_H

#include "access/transam.h"

/* A transaction with a snapshot. */
typedef struct CapiHolder
{
	int			proc;
	LocalTransactionId transaction;
	TransactionId xmin;			/* the oldest id that ran when it was taken */
} CapiHolder;

typedef struct CapiHolders
{
	int			n;
	CapiHolder	holders[FLEXIBLE_ARRAY_MEMBER];
} CapiHolders;

/* All but this process, as they are now. */
extern CapiHolders *capi_holders_now(void);

/*
 * Does anybody hold a snapshot that may be older than the id, besides those
 * that are known (or NULL)?  The id is one that was to be given out next: a snapshot that
 * is not older sees everything that had been committed at that time.
 */
extern bool capi_holders_before(FullTransactionId id, const CapiHolders *known);

#endif							/* CAPI_HOLDERS_H */
