/*
 * capi.h
 *		Names and limits shared by every module of capi.
 *
 * Holds no prototypes of modules and includes nothing: each module has its own
 * header.  Limits carry their unit in the name and the reason beside them.
 */
#ifndef CAPI_H
#define CAPI_H

/* Schema of nearly every object of the extension; fixed in capi.control. */
#define CAPI_SCHEMA				"capi"
#define CAPI_EXTENSION			"capi"

/* Schema of what is never to be locked by a stranger: see segment.c. */
#define CAPI_RESERVE_SCHEMA		"capi_reserve"

/* Name of the trigger on each attached table. */
#define CAPI_TRIGGER			"capi_capture"

/* SPEC 1.3: a request carries at most 1,000 events. */
#define CAPI_MAX_BATCH_EVENTS	1000

/*
 * No maximum body size is documented (SPEC 1.1).  A thousand usual events are
 * about one megabyte; twice that keeps four requests in flight well inside the
 * memory promised for a dispatcher.
 */
#define CAPI_MAX_BODY_BYTES		(2 * 1024 * 1024)

/* An answer is a few hundred bytes (SPEC 8); anything longer is cut off. */
#define CAPI_MAX_ANSWER_BYTES	(64 * 1024)

/* SPEC 1.3: age limits of event_time, in seconds. */
#define CAPI_MAX_AGE_S			(INT64CONST(7) * 86400)
#define CAPI_MAX_AGE_STORE_S	(INT64CONST(62) * 86400)

/* SPEC 1.3: how far ahead event_time may be is not documented; others use this. */
#define CAPI_CLOCK_TOLERANCE_S	60

/* An event that is further ahead is none that waits for its time. */
#define CAPI_MAX_AHEAD_S		(3600 + CAPI_CLOCK_TOLERANCE_S)

/* A smaller step of the clock back than this only makes a wait longer. */
#define CAPI_CLOCK_STEP_MS		2000

/* Databases that may have a dispatcher; sizes the shared memory. */
#define CAPI_MAX_DATABASES		64

/*
 * Longest text of an order key.  Longer ones would not fit into an index entry
 * (a third of a page), and nobody numbers orders like that.
 */
#define CAPI_MAX_KEY_BYTES		1024

/*
 * Largest event of capi.send(), as it is given and as it is sent.  A usual one
 * has a kilobyte, a cart of five hundred lines forty.
 */
#define CAPI_MAX_EVENT_BYTES	(64 * 1024)

/* Most values of one field in it; nobody has a thousand addresses. */
#define CAPI_MAX_LIST_VALUES	1000

/*
 * Most names of events that capi.send() takes for one dataset.  Meta has 17
 * standard ones, and its own statistics show a dataset's first hundred (SPEC
 * 9); each is a source, which the dispatcher keeps in memory.
 */
#define CAPI_MAX_EVENT_NAMES	100

/* After a prototype; the server's own macro for it changed its place in 18. */
#define CAPI_NORETURN			__attribute__((noreturn))

#endif							/* CAPI_H */
