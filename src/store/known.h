/*
 * known.h
 *		Is an order known already?  See known.c.
 */
#ifndef CAPI_KNOWN_H
#define CAPI_KNOWN_H

#include "store/item.h"

/* What an item's key is known as already. */
typedef enum CapiKnown
{
	CAPI_KNOWN_NOT,
	CAPI_KNOWN_IGNORED,			/* may be looked at again */
	CAPI_KNOWN_WAITING,			/* in the backlog */
	CAPI_KNOWN_FINISHED,
	CAPI_KNOWN_FORGOTTEN		/* finished by capi.forget() */
} CapiKnown;

/* Fills known[i] for items[i].  Inside a transaction with a snapshot. */
extern void capi_known_look_up(CapiItem **items, int n, CapiKnown *known);

/* The same of the log alone, and past what an order has besides. */
extern void capi_known_look_up_forgotten(CapiItem **items, int n, CapiKnown *known);

#endif							/* CAPI_KNOWN_H */
