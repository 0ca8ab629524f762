/*
 * validate.h
 *		Would Meta refuse the event?  (SPEC 1.3, 2.1, 2.3, 3.1, 5, 8.4)
 *		Pure; called by payload.c.
 *
 * One refused event sinks the other 999 of its request, so what can be known
 * beforehand is.  Each rule has its own reason word (doc/errors.md); nothing
 * else keeps an event from being sent.  False: the event is not to be sent, and
 * its verdict says why.  With ev->unchecked all are true, and the verdict is
 * noted nevertheless.
 */
#ifndef CAPI_VALIDATE_H
#define CAPI_VALIDATE_H

#include "event/event.h"

/* Before anything is written; turns milliseconds into seconds. */
extern bool capi_validate_time(CapiEvent *ev, int64 now_s);
extern bool capi_validate_head(CapiEvent *ev);

/* Afterwards: looks at ev->written. */
extern bool capi_validate_fields(CapiEvent *ev);

#endif							/* CAPI_VALIDATE_H */
