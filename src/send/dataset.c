/*
 * dataset.c
 *		May events of a dataset be sent now, and if not, why and until when.
 *
 * Its share of the dispatcher is another matter: share.c.  Called by dispatch.c,
 * evaluate.c and answer.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/capi.h"
#include "send/dispatch_state.h"

/*
 * Is there doubt whether the endpoint takes requests, or takes so many?  Then
 * one goes at a time, and tells.
 */
bool
capi_dataset_is_careful(const CapiDataset *dataset)
{
	return dataset->state != CAPI_DATASET_ACTIVE || dataset->failures > 0 ||
		dataset->is_paced || dataset->suspected_at != 0;
}

/*
 * How many events go in a probe.  After some failures in a row it is one, each
 * time another: one among a full batch may be what the endpoint fails for.
 */
int
capi_dataset_probe_size(const CapiDataset *dataset)
{
	return dataset->state == CAPI_DATASET_REFUSED ||
		dataset->failures >= CAPI_SMALL_PROBE_AFTER ? 1 : CAPI_MAX_BATCH_EVENTS;
}

static void
grow_allowance(CapiDataset *dataset, TimestampTz now)
{
	double		hours = (double) (now - dataset->allowance_at) / USECS_PER_HOUR;

	dataset->allowance = Min((double) dataset->events_per_hour,
							 dataset->allowance + hours * dataset->events_per_hour);
	dataset->allowance_at = now;
}

/* May a request of this dataset start now? */
bool
capi_dataset_may_send(CapiDataset *dataset, TimestampTz now)
{
	grow_allowance(dataset, now);
	if (dataset->token == NULL || dataset->state == CAPI_DATASET_PAUSED ||
		dataset->rest_until > now)
		return false;
	if (dataset->allowance < 1)
	{
		/* come back when a hundredth of an hour's worth has gathered */
		dataset->rest_until = TimestampTzPlusMilliseconds(now, 36000);
		return false;
	}
	return !capi_dataset_is_careful(dataset) || dataset->in_flight == 0;
}

/* May one start as soon as the answer is there that decides? */
bool
capi_dataset_awaits_probe(const CapiDataset *dataset, TimestampTz now)
{
	return dataset->token != NULL && dataset->state != CAPI_DATASET_PAUSED &&
		dataset->rest_until <= now && dataset->in_flight > 0 &&
		capi_dataset_is_careful(dataset);
}

/*
 * Why events of the dataset (NULL: dropped) wait.  An event that waits for its dataset has no time of its own:
 * it is due at once, and backlog.c passes over it meanwhile, so that
 * nothing needs to be rewritten when the obstacle is gone.
 */
const char *
capi_dataset_obstacle(const CapiDataset *dataset)
{
	if (dataset == NULL)
		return "dataset dropped";
	if (dataset->token == NULL)
		return dataset->token_problem;
	if (dataset->state == CAPI_DATASET_PAUSED)
		return "dataset paused";
	if (dataset->state == CAPI_DATASET_REFUSED)
		return "dataset refuses every event";
	if (dataset->state != CAPI_DATASET_ACTIVE)
		return "dataset waits for its token";
	return "dataset rests";
}
