/*
 * event_trigger.h
 *		Keeps event triggers out of the transactions of who sends.  See
 *		event_trigger.c.
 */
#ifndef CAPI_EVENT_TRIGGER_H
#define CAPI_EVENT_TRIGGER_H

extern void capi_event_trigger_init(void);

#endif							/* CAPI_EVENT_TRIGGER_H */
