/*
 * outcome.h
 *		What became of events, on its way into the tables.  See outcome.c.
 */
#ifndef CAPI_OUTCOME_H
#define CAPI_OUTCOME_H

#include "config.h"
#include "response.h"

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
	bool		has_context;	/* capi.context has a row to delete */
	bool		was_ignored;	/* an older row of the log says "ignored" */
	int			segment;		/* of the queue row, -1: none */
	uint64		pass;

	/* Known once evaluated; pinned once sent (P5). */
	char	   *event_id;		/* NULL: the key */
	char	   *event_name;
	bool		has_time;
	int64		event_time_s;
	char	   *value;			/* decimal text as sent, or NULL */
	char	   *currency;
	char	   *problems;		/* JSON array text, or NULL */

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

/* "delivered", "queued", ...: the word of the tables and views. */
extern const char *capi_outcome_word(CapiOutcomeKind kind);

/* The event's time; false if it has none that a timestamp can hold. */
extern bool capi_item_event_time(const CapiItem *item, TimestampTz *time);

/* All inside a transaction with SPI. */
extern void capi_outcome_record(CapiOutcome *outcomes, int n);
extern int64 capi_outcome_next_request(void);
extern void capi_outcome_request(int64 request_id, int dataset_id,
								 TimestampTz sent_at, int64 duration_ms,
								 int events, size_t bytes,
								 const CapiResult *result);
extern void capi_outcome_missed(int source_id, int count);

/*
 * Due rows of the backlog of one source and dataset (0: any); items and texts are
 * allocated in the current context.  *next: when the next one is due.
 */
extern int	capi_outcome_due(int source_id, int dataset_id, int max,
							 CapiItem **items, TimestampTz *next);

extern void capi_outcome_dataset_state(int dataset_id, const char *state,
									   const char *reason);
extern void capi_outcome_source_broken(int source_id, const char *reason);
extern void capi_outcome_maintain(void);

#endif							/* CAPI_OUTCOME_H */
