/*
 * delivery.h
 *		Appending finished events to the log capi.delivery.  See delivery.c.
 */
#ifndef CAPI_DELIVERY_H
#define CAPI_DELIVERY_H

#include "store/item.h"

/*
 * Adds one row for each outcome that is final (delivered, ignored, rejected,
 * expired) and passes over the others.  Inside a transaction.
 */
extern void capi_delivery_append(const CapiOutcome *outcomes, int n);

#endif							/* CAPI_DELIVERY_H */
