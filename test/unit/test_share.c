/*
 * test_share.c
 *		Datasets share nothing: one that hangs, throttles or is paused changes the
 *		delay of another by less than a tenth.
 *
 * share.c and dataset.c decide as in a server; queue, backlog and endpoint are
 * counters here, and the clock is a variable that goes on by ten milliseconds, so
 * that the same happens on any machine.  turn() is the loop of dispatch.c: answers,
 * backlog and queue, batches.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/guc.h"
#include "send/dispatch_state.h"
#include "tap.h"

#define TICK_MS			10
#define MINUTES			3
#define TICKS			(MINUTES * 60 * 1000 / TICK_MS)
#define MAX_EVENTS		2000000
#define MAX_BATCHES		64
#define TIMEOUT_MS		30000
#define THROTTLE_MS		60000
#define EVENT_BYTES		600

enum
{
	GOOD, BAD, DATASETS
};

typedef enum Trouble
{
	NONE, HANGS, SLOW, THROTTLES, PAUSED
} Trouble;

/* Times at which events were captured, first come first. */
typedef struct Line
{
	int			first;
	int			n;
	int			at[MAX_EVENTS];
} Line;

typedef struct Batch
{
	int			dataset;
	int			n;
	int			at[CAPI_MAX_BATCH_EVENTS];
	int			opened_ms;
	int			sent_ms;
	int			answer_ms;		/* 0: not sent */
} Batch;

int			capi_max_in_flight = 4;
int			capi_linger = 200;

static CapiDispatcher d;
static CapiConfig config;
static CapiDataset datasets[DATASETS];
static int	now_ms;
static Line queue[1];			/* at: time, and dataset in the last bit */
static Line backlog[DATASETS];
static Batch batches[MAX_BATCHES];
static Trouble trouble;
static int	latency_ms;
static bool backlog_was_last;
static double delay_sum;
static int	delivered;

/* ---------- what share.c asks of the rest ---------- */

TimestampTz
GetCurrentTimestamp(void)
{
	/* far from 0, which means never */
	return INT64CONST(1000000000) + now_ms * INT64CONST(1000);
}

CapiDataset *
capi_config_dataset(CapiConfig *c, int id)
{
	return &c->datasets[id];
}

int
capi_transport_in_flight(const CapiTransport *t)
{
	return datasets[GOOD].in_flight + datasets[BAD].in_flight;
}

int
capi_meta_in_flight(const CapiMeta *meta)
{
	return 0;
}

size_t
capi_batch_bytes(void)
{
	return (size_t) d.nwaiting * EVENT_BYTES;
}

/* ---------- events ---------- */

static void
put(Line *line, int at)
{
	line->at[line->first + line->n++] = at;
}

static int
take(Line *line)
{
	line->n--;
	return line->at[line->first++];
}

static Batch *
open_batch(int dataset)
{
	Batch	   *free_one = NULL;

	for (int i = 0; i < MAX_BATCHES; i++)
	{
		Batch	   *batch = &batches[i];

		if (batch->n == 0)
			free_one = batch;
		else if (batch->dataset == dataset && batch->answer_ms == 0 &&
				 batch->n < CAPI_MAX_BATCH_EVENTS)
			return batch;
	}
	free_one->dataset = dataset;
	free_one->opened_ms = now_ms;
	return free_one;
}

static void
put_back(Batch *batch)
{
	capi_share_count(&d, batch->dataset, -batch->n);
	for (int i = 0; i < batch->n; i++)
		put(&backlog[batch->dataset], batch->at[i]);
	batch->n = batch->answer_ms = 0;
}

/* As evaluate.c: passed over, put off, or into a batch. */
static void
evaluate(int dataset, int at)
{
	CapiDataset *target = &datasets[dataset];
	TimestampTz now = GetCurrentTimestamp();
	Batch	   *batch;

	if (capi_share_is_slow(&d, target, now) ||
		!(capi_dataset_may_send(target, now) ||
		  (target->state != CAPI_DATASET_PAUSED && target->rest_until <= now &&
		   target->in_flight == 0)))
	{
		put(&backlog[dataset], at);
		return;
	}
	batch = open_batch(dataset);
	batch->at[batch->n++] = at;
	capi_share_count(&d, dataset, 1);
}

/* ---------- one turn ---------- */

static void
answer(Batch *batch)
{
	CapiDataset *dataset = &datasets[batch->dataset];
	bool		failed = batch->dataset == BAD && (trouble == HANGS || trouble == THROTTLES);

	capi_share_answered(dataset, now_ms - batch->sent_ms);
	if (failed)
	{
		dataset->failures++;
		dataset->rest_until = GetCurrentTimestamp() +
			(trouble == THROTTLES ? THROTTLE_MS : 1000 << Min(dataset->failures, 6)) * INT64CONST(1000);
		put_back(batch);
		return;
	}
	capi_share_count(&d, batch->dataset, -batch->n);
	for (int i = 0; batch->dataset == GOOD && i < batch->n; i++)
		delay_sum += now_ms - batch->at[i];
	if (batch->dataset == GOOD)
		delivered += batch->n;
	batch->n = batch->answer_ms = 0;
}

static bool
is_open(int id)
{
	CapiDataset *dataset = &datasets[id];

	return backlog[id].n > 0 && capi_dataset_may_send(dataset, GetCurrentTimestamp()) &&
		capi_share_has_room(&d, dataset) &&
		(!capi_dataset_is_careful(dataset) || dataset->waiting == 0);
}

static int
take_from_backlog(void)
{
	int			n = 0;

	for (int id = 0; id < DATASETS; id++)
		for (int rows = is_open(id) ? backlog[id].n : 0;
			 rows > 0 && n < capi_share_rows(&d) && n < CAPI_MAX_BATCH_EVENTS; rows--, n++)
			evaluate(id, take(&backlog[id]));
	return n;
}

static int
take_from_queue(void)
{
	int			n = 0;

	if (capi_share_queue_blocked_until(&d) > GetCurrentTimestamp())
		return 0;
	for (; queue->n > 0 && n < CAPI_MAX_BATCH_EVENTS; n++)
	{
		int			row = take(queue);

		evaluate(row % DATASETS, row / DATASETS);
	}
	return n;
}

static int
fetch(void)
{
	bool		queue_first = backlog_was_last;
	int			n = queue_first ? take_from_queue() : 0;

	backlog_was_last = n == 0 && (n = take_from_backlog()) > 0;
	return n == 0 && !queue_first ? take_from_queue() : n;
}

static void
submit_ready(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < MAX_BATCHES; i++)
	{
		Batch	   *batch = &batches[i];
		CapiDataset *dataset = &datasets[batch->dataset];

		if (batch->n == 0 || batch->answer_ms != 0 || capi_dataset_awaits_probe(dataset, now) ||
			(batch->n < CAPI_MAX_BATCH_EVENTS && now_ms < batch->opened_ms + capi_linger))
			continue;
		if (!capi_dataset_may_send(dataset, now))
			put_back(batch);
		else if (capi_share_may_start(&d, dataset))
		{
			capi_share_started(dataset, now);
			batch->sent_ms = now_ms;
			batch->answer_ms = now_ms + (batch->dataset == GOOD ? latency_ms :
										 trouble == HANGS ? TIMEOUT_MS :
										 trouble == SLOW ? 20 * latency_ms : latency_ms);
		}
	}
}

static void
turn(void)
{
	for (int i = 0; i < MAX_BATCHES; i++)
		if (batches[i].answer_ms != 0 && batches[i].answer_ms <= now_ms)
			answer(&batches[i]);
	while (submit_ready(), fetch() > 0)
		;
}

/* ---------- minutes of it ---------- */

static void
begin(void)
{
	memset(&d, 0, sizeof(d));
	memset(datasets, 0, sizeof(datasets));
	memset(batches, 0, sizeof(batches));
	queue->first = queue->n = 0;
	for (int id = 0; id < DATASETS; id++)
	{
		backlog[id].first = backlog[id].n = 0;
		datasets[id].id = id;
		datasets[id].token = "token";
		datasets[id].events_per_hour = 1000000000;
		datasets[id].allowance = 1000000000;
	}
	if (trouble == PAUSED)
		datasets[BAD].state = CAPI_DATASET_PAUSED;
	config.datasets = datasets;
	config.ndatasets = DATASETS;
	d.config = &config;
	delay_sum = delivered = 0;
}

/* Mean delay, in ms, of the good one's events; so many a second of each come. */
static double
delay(Trouble which, int latency, int good, int bad)
{
	double		due[DATASETS] = {0};
	int			rates[DATASETS] = {good, bad};

	trouble = which;
	latency_ms = latency;
	begin();
	for (now_ms = 0; now_ms < TICKS * TICK_MS; now_ms += TICK_MS)
	{
		for (int id = 0; id < DATASETS; id++)
			for (due[id] += rates[id] * TICK_MS / 1000.0; due[id] >= 1; due[id]--)
				put(queue, now_ms * DATASETS + id);
		turn();
	}
	return delay_sum / delivered;
}

static void
shares_nothing(Trouble which, const char *what, int latency, int good, int bad)
{
	double		alone = delay(NONE, latency, good, 0);
	double		beside = delay(which, latency, good, bad);
	bool		all = delivered > 0.98 * good * MINUTES * 60;

	ok(all && beside < 1.1 * alone,
	   psprintf("P6: %d orders a second, answered in %d ms, beside one that %s, of %d a second",
				good, latency, what, bad));
	printf("# delay %.0f ms, alone %.0f ms\n", beside, alone);
}

int
main(void)
{
	static const int latencies[] = {50, 150, 400};
	static const int rates[] = {1, 50, 1000};

	for (size_t i = 0; i < lengthof(latencies); i++)
		for (size_t j = 0; j < lengthof(rates); j++)
			for (size_t k = 0; k < lengthof(rates); k++)
			{
				shares_nothing(HANGS, "hangs", latencies[i], rates[j], rates[k]);
				shares_nothing(SLOW, "answers 20 times slower", latencies[i], rates[j], rates[k]);
				shares_nothing(THROTTLES, "throttles", latencies[i], rates[j], rates[k]);
				shares_nothing(PAUSED, "is paused", latencies[i], rates[j], rates[k]);
			}
	return done_testing();
}
