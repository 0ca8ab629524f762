/*
 * backoff.h
 *		When to try again: full-jitter exponential backoff with a ceiling.
 *		Pure.  Called by dispatch.c; the dispatcher's restarts (launcher.c) use
 *		capi_backoff_ceiling_ms without jitter.
 */
#ifndef CAPI_BACKOFF_H
#define CAPI_BACKOFF_H

#define CAPI_BACKOFF_BASE_MS	1000
#define CAPI_BACKOFF_CEILING_MS	(15 * 60 * 1000)

/* Upper bound before jitter of attempt 1, 2, ...: base * 2^(attempt-1), capped. */
extern int64 capi_backoff_ceiling_ms(int attempt, int64 base_ms, int64 cap_ms);

/* Full jitter: uniform in [1, ceiling] for unit_random in [0,1); never below floor_ms. */
extern int64 capi_backoff_delay_ms(int attempt, double unit_random,
								   int64 floor_ms);

#endif							/* CAPI_BACKOFF_H */
