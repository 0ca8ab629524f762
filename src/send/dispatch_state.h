/*
 * dispatch_state.h
 *		The dispatcher's memory, shared by the files of the pipeline and by
 *		deliver.c.  Nobody else includes this.
 */
#ifndef CAPI_DISPATCH_STATE_H
#define CAPI_DISPATCH_STATE_H

#include "nodes/pg_list.h"
#include "utils/hsearch.h"

#include "read/pool.h"
#include "send/batch.h"
#include "send/transport.h"
#include "store/config.h"
#include "store/outcome.h"
#include "store/queue.h"

/* Failures in a row after which one event probes. */
#define CAPI_SMALL_PROBE_AFTER	4

/* A key that is being worked on. */
typedef struct CapiInFlight
{
	uint64		hash;			/* hash key */
	int			source_id;
	char	   *key;
	TimestampTz captured_at;	/* of its latest capture */
	int			generation;		/* of the queue's reader, and its pass; 0: */
	uint64		pass;			/* it was in the backlog */
	bool		again;			/* captured after it may have been read */
} CapiInFlight;

typedef struct CapiIntake CapiIntake;
typedef struct CapiAudiences CapiAudiences;
typedef struct CapiMeta CapiMeta;

typedef struct CapiDispatcher
{
	MemoryContext context;		/* lives as long as the dispatcher */
	MemoryContext turn_context; /* scratch, reset between chunks */
	char	   *dbname;			/* for messages; once config is there */
	CapiConfig *config;
	CapiQueueReader *reader;	/* NULL: nothing may be read (copy) */
	CapiTransport *transport;
	CapiPool   *pool;			/* readers */
	List	   *portions;		/* of CapiPortion, oldest first */
	int			nasked;			/* orders in them that have no result yet */
	List	   *resting_roles;	/* see role_rest.c */
	TimestampTz no_worker_since;	/* a reader could not be started; 0: could */
	bool		no_worker_logged;	/* and that was told */
	HTAB	   *in_flight;		/* of CapiInFlight */
	List	   *records;		/* of CapiRecord that wait for a lock */
	int			nrecords;		/* outcomes in them */
	TimestampTz records_at;		/* they are tried again then */
	CapiIntake *intake;			/* see intake.c */
	CapiAudiences *audiences;	/* see audiences.c */
	CapiMeta   *meta;			/* see meta.c */
	int			generation;		/* counts queue readers */
	List	   *suspects;		/* of CapiSuspect, see suspect.c */
	List	   *batches;		/* not sent yet; see capi_batch_is_open */
	int			nwaiting;		/* events in batches, sent or not */
	bool		backlog_crowded;	/* rows may be due that found no room */
	bool		backlog_was_last;	/* the last events taken up came from there */
	bool		reload;			/* settings changed */
	bool		draining;		/* nothing new is begun */
	bool		restart;		/* to end when nothing is under way */
	bool		look_at_queue;	/* something may have been captured */
	bool		armed;			/* the next order wakes us (dispatcher_wake.c) */
	bool		more_in_queue;	/* the reader is in the middle of a pass */
	TimestampTz backlog_due_at; /* earliest due row, as far as known */
	int64		known_datasets; /* another sum of ids: others than before */
	TimestampTz config_until;	/* configuration is read again then */
	TimestampTz config_locked_until;	/* and not before, somebody holds it */
	TimestampTz clock_at;		/* it is followed then; DT_NOEND: it was */
	int64		clock_back_us;	/* by so much it was set back, as was seen */
	TimestampTz settings_until; /* those of the database are looked at then */
	TimestampTz save_at;		/* cursor is saved, segments reclaimed then */
	bool		reclaim_again;	/* a past segment is still there */
	TimestampTz maintain_at;	/* partitions are looked at then */
	TimestampTz health_at;		/* states are not looked at before, */
	bool		health_again;	/* and are then */
} CapiDispatcher;

/* Outcomes that are decided together and recorded in one transaction. */
typedef struct CapiChunk
{
	CapiDispatcher *d;
	TimestampTz now;			/* when it was begun; to ask for each event is dear */
	CapiOutcome *outcomes;
	int			n;
	int			room;
} CapiChunk;

/* What is written in one transaction after an answer, or without one. */
typedef struct CapiRecord
{
	MemoryContext context;		/* of a copy that waits */
	int			n;
	CapiOutcome *outcomes;
	bool		has_request;	/* the members below are known */
	int64		request_id;		/* 0: not numbered yet */
	int			dataset_id;
	TimestampTz sent_at;
	int64		duration_ms;
	int			events;
	size_t		bytes;
	CapiResult	result;
	bool		has_rest;		/* rest_until changed, to 0 when it rests no more */
	TimestampTz rest_until;
	bool		has_version;	/* another version of the API answered */
	bool		has_clock;		/* the clock's difference is worth noting */
	int64		clock_ahead_ms;
	bool		suspect;		/* its event, or the named one, is judged later */
	const char *state;			/* what the dataset's becomes, or NULL */
	char	   *state_reason;
} CapiRecord;

/* in dispatch.c */
extern CapiDispatcher *capi_dispatch_create(void);
extern void capi_dispatch_destroy(CapiDispatcher *d);
extern bool capi_dispatch_lock(void);
extern void capi_dispatch_unlock(void);
extern bool capi_dispatch_turn(CapiDispatcher *d);
extern void capi_dispatch_reload(CapiDispatcher *d);
extern bool capi_dispatch_idle(CapiDispatcher *d);
extern void capi_dispatch_finish(CapiDispatcher *d);
extern int64 capi_dispatch_wait_ms(CapiDispatcher *d);

extern void capi_dispatch_flush_wal(void);

/* in audiences.c */
extern CapiAudiences *capi_audiences_create(MemoryContext parent);
/* has_word: somebody changed something, so what failed is tried at once */
extern void capi_audiences_reload(CapiAudiences *a, bool has_word);
extern void capi_audiences_work(CapiDispatcher *d, bool may_begin);
extern void capi_audiences_answer(CapiDispatcher *d, const CapiAnswer *answer);
extern TimestampTz capi_audiences_deadline(CapiDispatcher *d);
extern bool capi_audiences_idle(CapiDispatcher *d);
extern bool capi_audiences_have_room(const CapiAudiences *a);
extern void capi_audiences_take_page(CapiAudiences *a, const CapiPage *page);
extern void capi_audiences_reading_ended(CapiAudiences *a, CapiPortionEnd how,
										 const char *text);

/* in intake.c */
extern CapiIntake *capi_intake_create(MemoryContext parent);
extern void capi_intake_reset(CapiIntake *intake);
extern int	capi_intake_take(CapiDispatcher *d, CapiItem **items, bool *worked);
extern TimestampTz capi_intake_retry_at(const CapiIntake *intake);
extern TimestampTz capi_intake_not_before(const CapiIntake *intake);

/* in backlog.c */
extern int	capi_backlog_take(CapiDispatcher *d, CapiItem **items, int room);

/* in meta.c */
extern CapiMeta *capi_meta_create(MemoryContext parent);
extern void capi_meta_destroy(CapiMeta *meta);
extern void capi_meta_work(CapiDispatcher *d);
extern bool capi_meta_answer(CapiDispatcher *d, const CapiAnswer *answer);
extern void capi_meta_look(CapiMeta *meta);
extern TimestampTz capi_meta_look_at(const CapiMeta *meta);
extern int	capi_meta_in_flight(const CapiMeta *meta);

/* in record.c */
extern void capi_record(CapiDispatcher *d, CapiRecord *record);
extern void capi_record_again(CapiDispatcher *d);
extern bool capi_record_is_full(const CapiDispatcher *d);

/* in in_flight.c */
extern bool capi_in_flight_add(CapiDispatcher *d, CapiItem *item);
extern bool capi_in_flight_has(CapiDispatcher *d, const CapiItem *item);
extern void capi_in_flight_captured(CapiDispatcher *d, const CapiItem *item);
extern void capi_in_flight_revise(CapiDispatcher *d, CapiOutcome *outcomes,
								  int n);
extern void capi_in_flight_settled(CapiDispatcher *d, CapiOutcome *outcomes,
								   int n);

/* in dataset.c */
extern bool capi_dataset_may_send(CapiDataset *dataset, TimestampTz now);
extern bool capi_dataset_is_careful(const CapiDataset *dataset);
extern int	capi_dataset_probe_size(const CapiDataset *dataset);
extern bool capi_dataset_awaits_probe(const CapiDataset *dataset, TimestampTz now);
extern const char *capi_dataset_obstacle(const CapiDataset *dataset);

/* in share.c */
extern void capi_share_count(CapiDispatcher *d, int dataset_id, int events);
extern void capi_share_started(CapiDataset *dataset, TimestampTz now);
extern void capi_share_answered(CapiDataset *dataset, int64 duration_ms);
extern bool capi_share_may_start(const CapiDispatcher *d,
								 const CapiDataset *dataset);
extern bool capi_share_has_room(const CapiDispatcher *d,
								const CapiDataset *dataset);
extern int64 capi_share_free_bytes(void);
extern int	capi_share_rows(const CapiDispatcher *d);
extern bool capi_share_is_slow(const CapiDispatcher *d,
							   const CapiDataset *dataset, TimestampTz now);
extern TimestampTz capi_share_queue_blocked_until(const CapiDispatcher *d);

/* in clock.c */
extern void capi_clock_read(CapiDataset *dataset, const CapiBatch *batch,
							int64 duration_ms, CapiRecord *record);
extern TimestampTz capi_clock_early_until(const CapiDataset *dataset, const CapiItem *item,
										  TimestampTz now);
extern int	capi_clock_part_early(CapiDataset *dataset, CapiBatch *batch, bool *early);
extern bool capi_clock_was_ahead(const CapiItem *item, TimestampTz now);
extern bool capi_clock_has_waited(const CapiItem *item, int64 us, TimestampTz now);
extern TimestampTz capi_clock_waits_until(const CapiItem *item, int64 us, TimestampTz now);

/* in health.c */
extern void capi_health_look(CapiDispatcher *d);
extern TimestampTz capi_health_look_at(const CapiDispatcher *d);

/* in suspect.c */
extern bool capi_suspect_is_guilty(const CapiDataset *dataset, const CapiBatch *batch);
extern bool capi_suspect_is_due_again(const CapiItem *item, const CapiResult *result);
extern void capi_suspect_add(CapiDispatcher *d, CapiDataset *dataset, CapiBatch *batch,
							 const CapiResult *result, int64 request_id);
extern void capi_suspects_judge(CapiDispatcher *d);
extern void capi_suspect_probe_refused(CapiDataset *dataset);

/* in portions.c */
extern void capi_portions_add(CapiDispatcher *d, CapiSource *source,
							  CapiItem **items, int n);
extern bool capi_portions_work(CapiDispatcher *d);
extern bool capi_portions_read_again(const CapiDispatcher *d, int dataset_id);
extern bool capi_portions_have_room(const CapiDispatcher *d);
extern const char *capi_portions_obstacle(const CapiDispatcher *d,
										  const CapiSource *source,
										  TimestampTz now, TimestampTz *next);
extern bool capi_portions_are_arriving(const CapiDispatcher *d);
extern TimestampTz capi_portions_deadline(const CapiDispatcher *d);
extern const char *capi_portions_no_reader(const CapiDispatcher *d);

/* in evaluate.c */
extern void capi_evaluate_result(CapiChunk *chunk, CapiSource *source, CapiItem *item,
								 CapiOrderResult *result);
extern CapiOutcome *capi_evaluate_decide(CapiChunk *chunk, CapiItem *item,
										 CapiOutcomeKind kind, const char *reason);
extern void capi_evaluate_items(CapiDispatcher *d, CapiItem **items, int n);
extern bool capi_batch_is_open(const CapiBatch *batch);

/* in answer.c */
extern void capi_answer_handle(CapiDispatcher *d, const CapiAnswer *answer);
extern void capi_answer_put_back(CapiDispatcher *d, CapiBatch *batch,
								 CapiDataset *dataset);
extern void capi_answer_commit(CapiDispatcher *d, CapiOutcome *outcomes, int n);

#endif							/* CAPI_DISPATCH_STATE_H */
