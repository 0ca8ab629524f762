/*
 * pool.h
 *		The readers of one sending process: started when there is work, watched,
 *		ended when there is none.  See pool.c.
 */
#ifndef CAPI_POOL_H
#define CAPI_POOL_H

#include "datatype/timestamp.h"

#include "read/portion.h"

typedef struct CapiPool CapiPool;

/* How a portion ended. */
typedef enum CapiPortionEnd
{
	CAPI_END_DONE,				/* orders without a result were not read */
	CAPI_END_BROKEN,			/* the query as such fails: text */
	CAPI_END_AGAIN,				/* its memory was full of what others left */
	CAPI_END_ALONE,				/* or of what some of the portion's orders did */
	CAPI_END_DIED,				/* the reader ended while it read */
	CAPI_END_HUNG,				/* it did not answer in time and was given up */
	CAPI_END_LOST				/* the reader ended before it began: nobody's fault */
} CapiPortionEnd;

/* What happens to portions; each portion has one call of ended. */
typedef struct CapiPoolEvents
{
	void	   *arg;
	bool		(*has_room) (void *arg, void *tag); /* for what one more message holds */
	void		(*result) (void *arg, void *tag, CapiOrderResult *result);
	void		(*page) (void *arg, void *tag, const CapiPage *page);
	void		(*ended) (void *arg, void *tag, CapiPortionEnd how, const char *text);
} CapiPoolEvents;

typedef enum CapiGiven
{
	CAPI_GIVEN,
	CAPI_GIVEN_BUSY,			/* all readers work, or this role's is stuck */
	CAPI_GIVEN_NO_WORKER		/* the server has no free worker slot, or no memory */
} CapiGiven;

extern CapiPool *capi_pool_create(MemoryContext parent);

/* Ends all readers; also after an error, and without a transaction. */
extern void capi_pool_destroy(CapiPool *pool);

/*
 * Gives a portion to a reader of the source's role.  tag comes back in the
 * events.  Waits for nothing.  An audience has a reader of its own, beside those
 * of capi.readers, one at a time.
 */
extern CapiGiven capi_pool_give(CapiPool *pool, const CapiRequest *request, void *tag);

/* Was it memory to share that the server did not have for the last reader? */
extern bool capi_pool_lacks_memory(const CapiPool *pool);

/* Ends those that have nothing to do, if another database has none. */
extern void capi_pool_yield(CapiPool *pool);

/* Asks the reader to leave the rest of a portion; it ends with done. */
extern void capi_pool_stop(CapiPool *pool, const void *tag);

/*
 * Takes what readers have answered and looks after their time.  Waits for
 * nothing; a reader that has something sets the latch.  Texts of the events
 * live until the current memory context is reset.
 */
extern void capi_pool_poll(CapiPool *pool, const CapiPoolEvents *events);

/* When poll has to be called again, whatever happens; DT_NOEND: never. */
extern TimestampTz capi_pool_deadline(const CapiPool *pool);

/* The process that reads a portion; 0: none has begun. */
extern int	capi_pool_reader_pid(const CapiPool *pool, const void *tag);

/* Does a reader of the role hang, so that nothing can be given? */
extern bool capi_pool_is_stuck(const CapiPool *pool, Oid role);

#endif							/* CAPI_POOL_H */
