/*
 * link.h
 *		The shared memory between a sending process and one reader: plain data
 *		and two queues of messages.  Made by pool.c, attached by
 *		process/reader.c; what the messages hold is in portion.h.
 */
#ifndef CAPI_LINK_H
#define CAPI_LINK_H

#include "port/atomics.h"
#include "storage/shm_mq.h"
#include "storage/shm_toc.h"

#define CAPI_LINK_MAGIC		0x63617069

/* Entries of the table of contents. */
#define CAPI_LINK_SHARED	0
#define CAPI_LINK_REQUESTS	1
#define CAPI_LINK_ANSWERS	2

/*
 * Whole messages need not fit: a queue hands them on in pieces.  A thousand usual
 * events do, so that a reader need not wait for room in the middle of them.
 */
#define CAPI_LINK_REQUEST_BYTES	(64 * 1024)
#define CAPI_LINK_ANSWER_BYTES	(1536 * 1024)

typedef struct CapiLinkShared
{
	Oid			dboid;
	Oid			role;			/* whose queries it runs, for all its life */
	bool		apart;			/* it reads audiences, beside the others */
	pg_atomic_uint32 stop;		/* leave the rest of the portion */
} CapiLinkShared;

#endif							/* CAPI_LINK_H */
