/*
 * context.h
 *		What the shop's web tier knows of an order and no table of it does:
 *		cookies, address, browser, page, consent.  See context.c.
 */
#ifndef CAPI_CONTEXT_H
#define CAPI_CONTEXT_H

#include "event/order.h"
#include "store/config.h"

/* Fields that a context may hold; context.c has the list. */
#define CAPI_CONTEXT_FIELDS	6

/* What is known of one order. */
typedef struct CapiContext
{
	bool		is_known;		/* there is a row of capi.context */
	bool		is_refused;		/* the customer did not consent */
	char	   *values[CAPI_CONTEXT_FIELDS];	/* UTF-8, or NULL */
} CapiContext;

/*
 * Contexts of the keys, or NULL when there is none at all.  Inside a
 * transaction with SPI, as the owner of the extension.
 */
extern CapiContext *capi_context_read(const CapiSource *source, char **keys, int nkeys);

/*
 * Fills fields that the query left null, and the reason to ignore an order
 * whose customer did not consent.  Pure; the order then points into context.
 */
extern void capi_context_complete(const CapiContext *context, CapiOrder *order);

/*
 * Deletes the contexts of orders that have their outcome: arrays int4[] and
 * text[] of sources and keys.  Inside a transaction with SPI.
 */
extern void capi_context_forget(Oid int_array, Datum source_ids,
								Oid text_array, Datum keys);

/*
 * Deletes what is older than capi.context_retention, a bounded number of rows at
 * once, and what takes too much room; likewise.  True when more is left.
 */
extern bool capi_context_expire(void);

/* Deletes what was said of consent and is not needed, likewise; always false. */
extern bool capi_context_tidy_consent(void);

#endif							/* CAPI_CONTEXT_H */
