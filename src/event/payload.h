/*
 * payload.h
 *		Raw event -> verdict and JSON (SPEC sections 1 to 5).  Pure.
 *		Called by dispatch.c, and by the SQL functions that preview.
 */
#ifndef CAPI_PAYLOAD_H
#define CAPI_PAYLOAD_H

#include "event/event.h"

/*
 * Judges the event and appends its JSON object to out when the verdict is
 * CAPI_VERDICT_SEND.  now_s: Unix seconds.  Fields that cannot be used are
 * dropped and named in ev->problems.  On any other verdict out is unchanged.
 */
extern void capi_payload_event(CapiEvent *ev, int64 now_s, StringInfo out);

/*
 * Body around a list of already written events (comma-separated objects).
 * appsecret_proof and test_event_code may be NULL.  The token is not in it.
 */
extern void capi_payload_open(StringInfo out);
extern void capi_payload_close(StringInfo out, const char *test_event_code,
							   const char *appsecret_proof);

#endif							/* CAPI_PAYLOAD_H */
