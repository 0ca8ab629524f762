/*
 * segment.c
 *		The segments of the queue, by number.
 *
 * Four take turns.  All that may name a table may wait for a lock on it before
 * the server asks whether they have a right to: CREATE RULE, CREATE TRIGGER
 * and a foreign key do.  Behind such a wait capture gets no lock, and readers
 * of the views, or a dump, can make it last.  So there is one segment more, in
 * a schema in which only the owner of the extension can name anything.
 *
 * Used by both sides of the queue.
 */
#include "postgres.h"

#include "base/capi.h"
#include "store/config.h"
#include "store/segment.h"

static const char *const names[CAPI_QUEUE_SEGMENTS] = {
	CAPI_SCHEMA ".queue_0",
	CAPI_SCHEMA ".queue_1",
	CAPI_SCHEMA ".queue_2",
	CAPI_SCHEMA ".queue_3",
	CAPI_RESERVE_SCHEMA ".queue"
};

Oid
capi_segment_relid(int segment)
{
	const char *name = strchr(names[segment], '.') + 1;

	return segment < CAPI_QUEUE_TURNS ? capi_config_table(name) :
		capi_config_reserve_table(name);
}

const char *
capi_segment_name(int segment)
{
	return names[segment];
}
