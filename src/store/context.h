/*
 * context.h
 *		What the shop's web tier knows of an order and no table of it does:
 *		cookies, address, browser, page, consent.  See context.c.
 */
#ifndef CAPI_CONTEXT_H
#define CAPI_CONTEXT_H

#include "event/order.h"
#include "store/config.h"

/*
 * Fills fields that the query left null, and the reason to ignore an order
 * whose customer did not consent; notes in rows[i].has_context that there was
 * some.  Inside a transaction with SPI, as the owner of the extension.
 */
extern void capi_context_fill(const CapiSource *source, char **keys, int nkeys,
							  CapiOrder *rows);

/*
 * Deletes the contexts of orders that have their outcome: arrays int4[] and
 * text[] of sources and keys.  Inside a transaction with SPI.
 */
extern void capi_context_forget(Oid int_array, Datum source_ids,
								Oid text_array, Datum keys);

/*
 * Deletes what is older than capi.context_retention, and what takes too much
 * room; likewise.
 */
extern void capi_context_expire(void);

#endif							/* CAPI_CONTEXT_H */
