/*
 * orders.h
 *		The orders of a time, as a source's query tells them today to the caller
 *		of a function.  See orders.c.
 */
#ifndef CAPI_ORDERS_H
#define CAPI_ORDERS_H

#include "read/caller.h"
#include "store/ledger.h"

/*
 * Adds the orders whose event_time is from since until, which itself is not in
 * it.  Inside SPI, in the active snapshot; an error of the query is raised.
 */
extern void capi_orders_add_window(CapiRows *orders, CapiCaller *reader,
								   TimestampTz since, TimestampTz until);

/* Gives the next keys, up to max of them; returns their number, 0 at the end. */
typedef int (*CapiKeySupply) (void *arg, char **keys, int max);

/* Adds those of the keys that the query returns, whatever their time. */
extern void capi_orders_add_keys(CapiRows *orders, CapiCaller *reader,
								 CapiKeySupply next_keys, void *arg);

#endif							/* CAPI_ORDERS_H */
