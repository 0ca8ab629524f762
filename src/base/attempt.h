/*
 * attempt.h
 *		Doing something whose errors must not be the caller's statement's.
 */
#ifndef CAPI_ATTEMPT_H
#define CAPI_ATTEMPT_H

#include "utils/elog.h"

/*
 * Does a step in a subtransaction.  NULL, or the message of what went wrong,
 * in the current memory context.  A cancelled statement stays cancelled.
 */
extern const char *capi_attempt(void (*step) (void *arg), void *arg);

/* The same, with all that is known of the error. */
extern ErrorData *capi_attempt_error(void (*step) (void *arg), void *arg);

#endif							/* CAPI_ATTEMPT_H */
