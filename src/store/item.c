/*
 * item.c
 *		Words and times of items (item.h).  Pure.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "store/item.h"

static const char *const kind_words[] = {
	"delivered", "ignored", "rejected", "expired", "queued", "held", "retrying", ""
};

const char *
capi_outcome_word(CapiOutcomeKind kind)
{
	return kind_words[kind];
}

static char *
copy_text(const char *text)
{
	return text != NULL ? pstrdup(text) : NULL;
}

CapiItem *
capi_item_copy(const CapiItem *item)
{
	CapiItem   *copy = palloc(sizeof(CapiItem));

	*copy = *item;
	copy->key = pstrdup(item->key);
	copy->event_id = copy_text(item->event_id);
	copy->event_name = copy_text(item->event_name);
	copy->value = copy_text(item->value);
	copy->currency = copy_text(item->currency);
	copy->problems = copy_text(item->problems);
	return copy;
}

/* An attempt that ended in the query told nobody of a time. */
bool
capi_item_was_sent(const CapiItem *item)
{
	return item->attempts > 0 && item->has_time;
}

TimestampTz
capi_item_expires_at(const CapiItem *item)
{
	TimestampTz time;

	if (!capi_item_event_time(item, &time))
		return DT_NOEND;
	return time + (item->is_store ? CAPI_MAX_AGE_STORE_S : CAPI_MAX_AGE_S) * USECS_PER_SEC;
}

TimestampTz
capi_item_due_since(const CapiItem *item, TimestampTz now)
{
	TimestampTz expires = capi_item_expires_at(item);

	if (expires == DT_NOEND)
		return Min(item->captured_at, now);
	return Min(expires - CAPI_MAX_AGE_S * USECS_PER_SEC, now);
}

/* A time PostgreSQL can store; an absurd one is left out of the tables. */
bool
capi_item_event_time(const CapiItem *item, TimestampTz *time)
{
	*time = (item->event_time_s - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)
		* USECS_PER_SEC;
	return item->has_time && item->event_time_s > 0 &&
		item->event_time_s < INT64CONST(253402300800);
}
