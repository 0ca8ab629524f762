/*
 * batch.c
 *		Events of one dataset on their way into one request.
 *
 * A batch owns its memory: items are copied into it, so that what they came
 * from can go.  Called by dispatch.c only; pure bookkeeping.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "event/payload.h"
#include "send/batch.h"

/* Room that capi_payload_close() may need at the end of the body. */
#define TAIL_BYTES	512

static void batch_gone(void *arg);

/* In the bodies of all batches of this process. */
static size_t body_bytes = 0;

size_t
capi_batch_bytes(void)
{
	return body_bytes;
}

CapiBatch *
capi_batch_create(MemoryContext parent, int dataset_id)
{
	MemoryContext context = AllocSetContextCreate(parent, "capi batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CapiBatch  *batch = palloc0(sizeof(CapiBatch));

	batch->context = context;
	batch->dataset_id = dataset_id;
	batch->gone.func = batch_gone;
	batch->gone.arg = batch;
	MemoryContextRegisterResetCallback(context, &batch->gone);
	batch->items = palloc(sizeof(CapiItem *) * CAPI_MAX_BATCH_EVENTS);
	initStringInfo(&batch->body);
	capi_payload_open(&batch->body);
	batch->opened_at = GetCurrentTimestamp();
	MemoryContextSwitchTo(old);
	return batch;
}

/* However it goes, also by an error. */
static void
batch_gone(void *arg)
{
	body_bytes -= ((CapiBatch *) arg)->counted;
}

void
capi_batch_free(CapiBatch *batch)
{
	MemoryContextDelete(batch->context);
}

bool
capi_batch_add(CapiBatch *batch, const CapiItem *item, const char *json,
			   size_t json_len)
{
	MemoryContext old;
	CapiItem   *copy;

	if (batch->n == CAPI_MAX_BATCH_EVENTS ||
		(batch->n > 0 &&
		 batch->body.len + json_len + TAIL_BYTES > CAPI_MAX_BODY_BYTES))
		return false;
	old = MemoryContextSwitchTo(batch->context);
	copy = capi_item_copy(item);
	if (batch->n > 0)
		appendStringInfoChar(&batch->body, ',');
	copy->json_offset = batch->body.len;
	copy->json_len = json_len;
	appendBinaryStringInfo(&batch->body, json, json_len);
	batch->items[batch->n++] = copy;
	batch->counted += json_len;
	body_bytes += json_len;
	MemoryContextSwitchTo(old);
	return true;
}

void
capi_batch_close(CapiBatch *batch, const CapiDataset *dataset)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	capi_payload_close(&batch->body, dataset->test_event_code, dataset->proof);
	batch->closed = true;
	MemoryContextSwitchTo(old);
}

/* An empty batch for some of the events: what is known of the whole holds for it. */
static CapiBatch *
create_part(const CapiBatch *batch)
{
	CapiBatch  *part = capi_batch_create(MemoryContextGetParent(batch->context),
										 batch->dataset_id);

	part->expires_soon = batch->expires_soon;
	part->suspected_at = batch->suspected_at;
	part->depth = batch->depth;
	return part;
}

CapiBatch *
capi_batch_split(const CapiBatch *batch, int from, int until, int without)
{
	CapiBatch  *part = create_part(batch);

	for (int i = from; i < until; i++)
		if (i != without)
			capi_batch_add(part, batch->items[i],
						   batch->body.data + batch->items[i]->json_offset,
						   batch->items[i]->json_len);
	return part;
}

CapiBatch *
capi_batch_pick(const CapiBatch *batch, const bool *leave_out)
{
	CapiBatch  *part = create_part(batch);

	for (int i = 0; i < batch->n; i++)
		if (!leave_out[i])
			capi_batch_add(part, batch->items[i],
						   batch->body.data + batch->items[i]->json_offset,
						   batch->items[i]->json_len);
	return part;
}
