/*
 * complete.h
 *		Fields that are made of others where the query left them out: fn and ln
 *		of name, fbc of fbclid.  Pure; called by payload.c.
 */
#ifndef CAPI_COMPLETE_H
#define CAPI_COMPLETE_H

#include "event/contents.h"
#include "event/event.h"

/*
 * Fills what is missing; event_time_s must be valid.  country: alpha-2 of the
 * customer's, or NULL.  Is told what could not be used, as in contents.h.
 */
extern void capi_complete_event(CapiEvent *ev, const char *country,
								CapiContentsReport report, void *arg);

#endif							/* CAPI_COMPLETE_H */
