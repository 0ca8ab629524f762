/*
 * remains.h
 *		What is left of secrets in memory that nobody owns any more.
 *
 * transport_curl.c has freed memory watched while it lives; whoever had a
 * session send wipes what is left when all of it is gone.
 */
#ifndef CAPI_REMAINS_H
#define CAPI_REMAINS_H

/* While on, larger blocks are overwritten as they are freed. */
extern void capi_remains_watch(bool on);

/*
 * Overwrites the free part of the heap and of the stack.  For a function that
 * was itself under way while the libraries were called: what lies in the frames
 * of others that call this cannot be reached.  Takes as long as clearing what is
 * free, a few milliseconds, or half a second for a gigabyte.  Raises no error.
 */
extern void capi_remains_wipe(void);

#endif							/* CAPI_REMAINS_H */
