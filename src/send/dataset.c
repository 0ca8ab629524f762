/*
 * dataset.c
 *		May events of a dataset be sent now, and if not, why and until when.
 *
 * Its share of the dispatcher is another matter: share.c.  Called by dispatch.c,
 * evaluate.c and answer.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "send/dispatch_state.h"

/* May a request of this dataset start now? */
bool
capi_dataset_may_send(CapiDataset *dataset, TimestampTz now)
{
	double		hours = (double) (now - dataset->allowance_at) / USECS_PER_HOUR;

	dataset->allowance = Min((double) dataset->events_per_hour,
							 dataset->allowance + hours * dataset->events_per_hour);
	dataset->allowance_at = now;
	if (dataset->token == NULL || dataset->state == CAPI_DATASET_PAUSED ||
		dataset->rest_until > now)
		return false;
	if (dataset->allowance < 1)
	{
		/* come back when a hundredth of an hour's worth has gathered */
		dataset->rest_until = TimestampTzPlusMilliseconds(now, 36000);
		return false;
	}
	/* a refused token is tried with one request at a time */
	return dataset->state == CAPI_DATASET_ACTIVE || dataset->in_flight == 0;
}

/*
 * Why events of the dataset (NULL: dropped) wait, and from when on they may be
 * tried.  What a person or a probe must lift has no time of its own: such
 * events are due at once, and fetch_backlog() passes over them meanwhile, so
 * that nothing needs to be rewritten when the obstacle is gone.
 */
const char *
capi_dataset_obstacle(const CapiDataset *dataset, TimestampTz now,
					  TimestampTz *next)
{
	*next = now;
	if (dataset == NULL)
		return "dataset dropped";
	if (dataset->token == NULL)
		return dataset->token_problem;
	if (dataset->state == CAPI_DATASET_PAUSED)
		return "dataset paused";
	if (dataset->state != CAPI_DATASET_ACTIVE)
		return "dataset waits for its token";
	*next = Max(now, dataset->rest_until);
	return "dataset rests";
}
