/*
 * segment.h
 *		The segments of the queue: how many, what they are called, their columns.
 */
#ifndef CAPI_SEGMENT_H
#define CAPI_SEGMENT_H

/* Those that take turns, capi.queue_0 .. capi.queue_3, and one in reserve. */
#define CAPI_QUEUE_TURNS		4
#define CAPI_QUEUE_SEGMENTS		(CAPI_QUEUE_TURNS + 1)

/* Columns of each. */
#define Q_XID			1
#define Q_CAPTURED_AT	2
#define Q_SOURCE_ID		3
#define Q_MISSED		4
#define Q_KEY			5
#define Q_COLUMNS		5

/* InvalidOid when the extension is not there, or older than the library. */
extern Oid	capi_segment_relid(int segment);

/* Qualified, for SQL. */
extern const char *capi_segment_name(int segment);

#endif							/* CAPI_SEGMENT_H */
