/*
 * pinned.h
 *		Settings of the server's that are not left to whoever set them.
 */
#ifndef CAPI_PINNED_H
#define CAPI_PINNED_H

#include "utils/guc.h"

/* Where a setting is pinned; see pinned.c. */
typedef enum CapiPinned
{
	CAPI_PINNED_DISPATCHER = 1 << 0,	/* in the process that sends */
	CAPI_PINNED_READER = 1 << 1,	/* in a process that runs shops' queries */
	CAPI_PINNED_OWNER = 1 << 2, /* while code runs as the extension's owner */
	CAPI_PINNED_TXN = 1 << 3,	/* in the transactions of txn.c */
	CAPI_PINNED_QUERY = 1 << 4, /* around a source's query */
	CAPI_PINNED_SECRET = 1 << 5 /* while a function of ours has a secret */
} CapiPinned;

/*
 * For a background worker that is connected, outside of a transaction: all of
 * the process's life.  name: shown as application_name.
 */
extern void capi_pinned_for_process(CapiPinned where, const char *name);

/*
 * Inside a transaction, until its end (GUC_ACTION_LOCAL) or that of a level of
 * settings (GUC_ACTION_SAVE).
 */
extern void capi_pinned_locally(CapiPinned where, GucAction action);

#endif							/* CAPI_PINNED_H */
