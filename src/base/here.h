/*
 * here.h
 *		Is this server one of those that may send?  See here.c.
 */
#ifndef CAPI_HERE_H
#define CAPI_HERE_H

/* True when capi.only_on names places, and none of them is here. */
extern bool capi_is_elsewhere(void);

/* What this place is called, for messages; palloc'd. */
extern char *capi_place_name(void);

#endif							/* CAPI_HERE_H */
