/*
 * direct.h
 *		Events that no table shows, given by capi.send().  See direct.c.
 */
#ifndef CAPI_DIRECT_H
#define CAPI_DIRECT_H

#include "store/item.h"

/* One of them, as capi.send() stored it. */
typedef struct CapiDirectEvent
{
	bool		found;
	bool		deferred;		/* others came first: its turn is later */
	char	   *json;			/* UTF-8, hashed; NULL: not to be sent */
	int			json_len;
	const char *reason;			/* why not, or NULL */
	bool		expired;		/* that reason is its age */
	int			error_code;
	int			error_subcode;
} CapiDirectEvent;

/*
 * Reads the events of the items and completes the items by what is stored of
 * id, name, time and value.  When those before have that many bytes, the
 * others are deferred.  Texts in the current context.  Inside a transaction
 * with SPI, as the owner of the extension.
 */
extern void capi_direct_read(CapiItem **items, int n, int64 max_bytes,
							 CapiDirectEvent *events);

/* Deletes the events of items that have their outcome; likewise. */
extern void capi_direct_forget(Oid int_array, Datum source_ids,
							   Oid text_array, Datum keys);

/*
 * Gives the space of many events back when none is left; likewise.  True when
 * it is to be called once more, soon.
 */
extern bool capi_direct_shrink(void);

#endif							/* CAPI_DIRECT_H */
