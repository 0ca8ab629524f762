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

/*
 * The same as capi_attempt() without a subtransaction, for a step that reads
 * and adds blocks, looks into the catalogs and takes locks, or makes shared memory
 * that is kept, and does nothing else: it runs no function of a type, changes no row, setting or snapshot that
 * is active, and holds no interrupt.  It may call the others.
 */
extern const char *capi_attempt_reading(void (*step) (void *arg), void *arg);

#endif							/* CAPI_ATTEMPT_H */
