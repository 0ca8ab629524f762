/*
 * bucket.h
 *		Lengths of time as the clock on the wall shows them.  See bucket.c.
 */
#ifndef CAPI_BUCKET_H
#define CAPI_BUCKET_H

#include "utils/timestamp.h"

/* Minutes and hours up to a day, or days, or months: one of them, above 0. */
extern bool capi_bucket_is_usable(const Interval *length);

/* When the one of that length began which the time is in. */
extern TimestampTz capi_bucket_begin(const Interval *length, TimestampTz at);

#endif							/* CAPI_BUCKET_H */
