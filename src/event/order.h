/*
 * order.h
 *		What is known of one order when its event is to be written: what the
 *		source's query said, completed by its browser context.
 */
#ifndef CAPI_ORDER_H
#define CAPI_ORDER_H

#include "event/event.h"

/* There is a browser context; lower bits, by context.c: fields taken from it. */
#define CAPI_CONTEXT_KNOWN	0x40

/* What the query said about one key. */
typedef struct CapiOrder
{
	int			found;			/* rows with this key: 0, 1, or more */
	const char *key;			/* as the first has it, not as it was asked for */
	CapiEvent	event;			/* of the first */
	char	   *dataset;		/* name, or NULL: the source's */
	char	   *ignore_reason;	/* or NULL */
	int			context;		/* CAPI_CONTEXT_...; set by context.c */
} CapiOrder;

#endif							/* CAPI_ORDER_H */
