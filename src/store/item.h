/*
 * item.h
 *		One event of one order on its way through the pipeline, and what becomes
 *		of it.
 */
#ifndef CAPI_ITEM_H
#define CAPI_ITEM_H

#include "datatype/timestamp.h"

/* One event of one order, from the queue or the backlog to its outcome. */
typedef struct CapiItem
{
	int			source_id;
	int			dataset_id;
	char	   *key;
	TimestampTz captured_at;
	int			attempts;		/* requests it was in */
	bool		from_backlog;
	bool		is_direct;		/* capi.direct_event has a row to delete */
	bool		apart;			/* refused before, nobody knows why; sent alone */
	bool		failed_before;	/* its data made the query fail; read alone */
	bool		is_routed;		/* its query named the dataset */
	bool		was_ignored;	/* an older row of the log says "ignored" */
	int			segment;		/* of the queue row, -1: none */
	uint64		pass;
	int			generation;		/* of the reader that emitted the row */

	/* Known once evaluated; pinned once sent (P5). */
	char	   *event_id;		/* NULL: the key */
	char	   *event_name;
	bool		has_time;
	int64		event_time_s;
	bool		is_store;		/* physical_store: Meta takes it for longer */
	char	   *value;			/* decimal text as sent, or NULL */
	char	   *currency;
	char	   *problems;		/* JSON array text, or NULL */
	int			context;		/* order.h; known: capi.context has a row to delete */
	bool		is_evaluated;	/* by a reader, which asked for a context */

	/* Its JSON inside the body of its batch. */
	size_t		json_offset;
	size_t		json_len;
} CapiItem;

typedef enum CapiOutcomeKind
{
	CAPI_OUTCOME_DELIVERED,
	CAPI_OUTCOME_IGNORED,
	CAPI_OUTCOME_REJECTED,
	CAPI_OUTCOME_EXPIRED,
	CAPI_OUTCOME_QUEUED,		/* these three wait in the backlog */
	CAPI_OUTCOME_HELD,
	CAPI_OUTCOME_RETRYING,
	CAPI_OUTCOME_NONE			/* known already; only settled */
} CapiOutcomeKind;

typedef struct CapiOutcome
{
	CapiItem   *item;
	CapiOutcomeKind kind;
	TimestampTz next_attempt_at;	/* of those that wait */
	const char *reason;			/* or NULL */
	int			error_code;		/* 0: none */
	int			error_subcode;
	int64		request_id;		/* 0: none */
} CapiOutcome;

/*
 * Reasons of an event that is sent alone until it is known whether it is to
 * blame; they mark its row (due.c).
 */
#define CAPI_REASON_UNCLEAR_REFUSAL	"unclear refusal"
#define CAPI_REASON_UNCLEAR_ANSWER	"unclear answer"

/* Reason of an event whose query names a dataset that does not exist. */
#define CAPI_REASON_MISSING			"not returned by the query"
#define CAPI_REASON_UNKNOWN_DATASET	"unknown_dataset"

/* "delivered", "queued", ...: the word of the tables and views. */
extern const char *capi_outcome_word(CapiOutcomeKind kind);

/* A copy in the current memory context, with its texts. */
extern CapiItem *capi_item_copy(const CapiItem *item);

/* Was it in a request, after which its id, name and time stay as they were? */
extern bool capi_item_was_sent(const CapiItem *item);

/*
 * Since when an event is due that waits for its dataset and not for a time of
 * its own: what expires first is due the longest.
 */
extern TimestampTz capi_item_due_since(const CapiItem *item, TimestampTz now);

/* When Meta will not take it any more; DT_NOEND if that is not known. */
extern TimestampTz capi_item_expires_at(const CapiItem *item);

/* The event's time; false if it has none that a timestamp can hold. */
extern bool capi_item_event_time(const CapiItem *item, TimestampTz *time);

#endif							/* CAPI_ITEM_H */
