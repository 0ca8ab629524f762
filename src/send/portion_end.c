/*
 * portion_end.c
 *		What comes back from a reader, and how a portion ends: done, broken, or
 *		with a reader that ended or hung (the rules are portions.c's).
 *
 * Called by the pool, through what portions.c gives it.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/txn.h"
#include "send/portions_state.h"

/* A portion read in less makes its source a quick one again. */
#define QUICK_MS			500

/* Readers in a row that end or hang, after which the source is broken. */
#define MAX_HANGS			5

/* What the step that notes a source's state works on. */
typedef struct StateNote
{
	int			source_id;
	const char *broken;			/* why, or NULL: it is not */
} StateNote;

/* Step for capi_txn_try(); a row that somebody has changed is left as it is. */
static void
note_state(void *arg)
{
	StateNote  *note = arg;

	capi_outcome_source_broken(note->source_id, note->broken);
}

/* Said once for each change; why is in capi.source_status. */
static void
log_state(const CapiDispatcher *d, const CapiSource *source)
{
	if (source->broken)
		ereport(LOG,
				(errmsg("source \"%s\" of database \"%s\" is broken: its query fails, and its orders wait",
						source->name, d->dbname),
				 errhint("capi.source_status says why.")));
	else
		ereport(LOG,
				(errmsg("source \"%s\" of database \"%s\" is no longer broken",
						source->name, d->dbname)));
}

static void
break_source(CapiPortionsPoll *poll, CapiPortion *portion, const char *text)
{
	CapiSource *source = capi_config_source(poll->d->config, portion->source_id);
	TimestampTz now = GetCurrentTimestamp();
	int64		spent = capi_portions_spent_ms(portion);
	StateNote	note = {.broken = text};

	if (source != NULL)
	{
		int64		delay_ms;

		source->failures++;
		delay_ms = capi_backoff_ceiling_ms(source->failures, 1000, 60000);
		if (spent >= CAPI_SLOW_MS)
			delay_ms = Max(delay_ms, CAPI_REST_FACTOR * spent);
		source->retry_at = TimestampTzPlusMilliseconds(now, delay_ms);
		source->hangs = 0;
		if (!source->broken)
		{
			source->broken = true;
			log_state(poll->d, source);
		}
		note.source_id = source->id;
		(void) capi_txn_try("capi: noting the state of a source", note_state, &note);
	}
	capi_role_let_rest(poll->d, portion->role, spent);
	capi_portions_put_back(poll, portion, "source broken", now);
	capi_portions_put_back_waiting(poll, portion->source_id, "source broken", now);
}

/* The query ran: whatever was said of the source is over. */
static void
note_success(CapiDispatcher *d, CapiSource *source)
{
	StateNote	note = {.source_id = source->id};

	source->hangs = 0;
	source->failures = 0;
	if (!source->broken)
		return;
	source->broken = false;
	log_state(d, source);
	(void) capi_txn_try("capi: noting the state of a source", note_state, &note);
	d->backlog_due_at = DT_NOBEGIN;
}

/* Orders read one by one: the first without a result is where the reader was. */
static void
fail_first(CapiPortionsPoll *poll, CapiPortion *portion, const char *text)
{
	CapiOrderResult result = {.kind = CAPI_RESULT_FAILED, .reason = pstrdup(text)};

	for (int i = 0; i < portion->n; i++)
	{
		if (portion->done[i])
			continue;
		capi_evaluate_result(&poll->chunk,
							 capi_config_source(poll->d->config, portion->source_id),
							 portion->items[i], &result);
		capi_portions_settle(poll->d, portion, i);
		break;
	}
	portion->deaths = 0;
	portion->has_ended = portion->ndone == portion->n;
}

/* So that they are read one by one, also after a time in the backlog. */
static void
read_alone(CapiPortion *portion)
{
	portion->one_by_one = true;
	for (int i = 0; i < portion->n; i++)
		portion->items[i]->attempts = Max(portion->items[i]->attempts, 1);
}

static void
reader_gone(CapiPortionsPoll *poll, CapiPortion *portion, bool hung)
{
	CapiSource *source = capi_config_source(poll->d->config, portion->source_id);
	const char *text = hung ? "the query took longer than capi.query_timeout and could not be stopped" :
		"the reader ended while it ran the query";

	portion->deaths++;
	if (source != NULL && ++source->hangs >= MAX_HANGS)
	{
		break_source(poll, portion, text);
		return;
	}
	if (!hung && portion->deaths < 2)
		return;
	if (portion->one_by_one)
		fail_first(poll, portion, text);
	read_alone(portion);
	if (!hung)
		return;
	capi_role_let_rest(poll->d, portion->role, capi_portions_spent_ms(portion));
	if (source != NULL)
	{
		source->is_slow = true;
		source->is_proven = false;
	}
	capi_portions_put_back(poll, portion, text, capi_role_rest_until(poll->d, portion->role));
	capi_portions_put_back_of_role(poll, portion->role, "source is slow", GetCurrentTimestamp());
}

/* CapiPoolEvents.has_room: events that are large fill memory before they are many. */
static bool
has_room(void *arg, void *tag)
{
	CapiDispatcher *d = ((CapiPortionsPoll *) arg)->d;

	if (tag == d->audiences)
		return capi_audiences_have_room(d->audiences);
	return capi_share_free_bytes() > 0;
}

/* CapiPoolEvents.page: of an audience, which is audiences.c's. */
static void
take_page(void *arg, void *tag, const CapiPage *page)
{
	capi_audiences_take_page(((CapiPortionsPoll *) arg)->d->audiences, page);
}

/* CapiPoolEvents.result */
static void
take_result(void *arg, void *tag, CapiOrderResult *result)
{
	CapiPortionsPoll *poll = arg;
	CapiPortion *portion = tag;
	CapiSource *source = capi_config_source(poll->d->config, portion->source_id);

	poll->any = true;
	if (result->at < 0 || result->at >= portion->n || portion->done[result->at])
		return;
	if (source != NULL && result->kind != CAPI_RESULT_FAILED)
		note_success(poll->d, source);
	capi_evaluate_result(&poll->chunk, source, portion->items[result->at], result);
	capi_portions_settle(poll->d, portion, result->at);
}

/* All that the reader was to do is done, or it was stopped before. */
static void
portion_done(CapiPortionsPoll *poll, CapiPortion *portion)
{
	CapiSource *source = capi_config_source(poll->d->config, portion->source_id);

	if (portion->ndone == portion->n)
		portion->has_ended = true;
	if (portion->has_ended && source != NULL)
		source->is_proven = true;
	if (source == NULL)
		capi_portions_put_back(poll, portion, "source detached", GetCurrentTimestamp());
	else if (portion->has_ended && capi_portions_spent_ms(portion) < QUICK_MS)
		source->is_slow = false;
	else if (!portion->has_ended && !portion->is_stopped)
		/* a reader leaves orders out for a word of ours, and when it cannot see their contexts */
		capi_portions_put_back(poll, portion, "not read: browser contexts are locked",
							   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CAPI_NO_WORKER_RETRY_MS));
	portion->is_stopped = false;
}

/* CapiPoolEvents.ended */
static void
take_end(void *arg, void *tag, CapiPortionEnd how, const char *text)
{
	CapiPortionsPoll *poll = arg;
	CapiPortion *portion = tag;

	poll->any = true;
	if (tag == poll->d->audiences)
	{
		capi_audiences_reading_ended(poll->d->audiences, how, text);
		return;
	}
	portion->is_given = false;
	if (how != CAPI_END_DONE)
		portion->is_stopped = false;
	switch (how)
	{
		case CAPI_END_DONE:
			portion_done(poll, portion);
			break;
		case CAPI_END_BROKEN:
			break_source(poll, portion, text);
			break;
		case CAPI_END_ALONE:
			portion->one_by_one = true;
			break;
		case CAPI_END_AGAIN:
			break;				/* a new one will be there for it */
		case CAPI_END_DIED:
		case CAPI_END_HUNG:
			reader_gone(poll, portion, how == CAPI_END_HUNG);
			break;
		case CAPI_END_LOST:
			if (++portion->losses >= 3)
				capi_portions_put_back(poll, portion, CAPI_LOST_REASON,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CAPI_NO_WORKER_RETRY_MS));
			break;
	}
}

CapiPoolEvents
capi_portions_events(CapiPortionsPoll *poll)
{
	return (CapiPoolEvents) {poll, has_room, take_result, take_page, take_end};
}
