/*
 * config.h
 *		What the dispatcher knows of datasets and sources, in memory.
 *		Loaded by capi_config_load() inside a transaction; see config.c.
 */
#ifndef CAPI_CONFIG_H
#define CAPI_CONFIG_H

#include "datatype/timestamp.h"
#include "executor/spi.h"

typedef enum CapiDatasetState
{
	CAPI_DATASET_ACTIVE,		/* sends */
	CAPI_DATASET_PAUSED,		/* a person paused it; a person resumes it */
	CAPI_DATASET_CREDENTIAL,	/* token refused; probed now and then */
	CAPI_DATASET_VERSION,		/* API version retired; probed likewise */
	CAPI_DATASET_REFUSED		/* every event is refused alike; probed by one */
} CapiDatasetState;

typedef struct CapiDataset
{
	int			id;
	char	   *name;
	char	   *endpoint;		/* where its url begins */
	char	   *url;			/* whole URL of the events edge, no secret */
	char	   *graph;			/* endpoint and version */
	char	   *meta_id;		/* Meta's number of it */
	char	   *test_event_code;	/* or NULL */
	char	   *token_file;		/* or NULL: the token is in capi.secret */
	char	   *token;			/* or NULL: see token_problem */
	char	   *proof;			/* appsecret_proof or NULL */
	const char *token_problem;
	char	   *stats_token;	/* or NULL: counts are read with the token */
	char	   *stats_proof;	/* appsecret_proof of what they are read with */
	CapiDatasetState state;
	TimestampTz state_since;
	int			events_per_hour;

	/* Not from the catalog; kept over a reload. */
	TimestampTz rest_until;		/* nothing is sent before */
	int			failures;		/* in a row; those under way together are one */
	bool		is_throttled;	/* the last of them was a throttle */
	TimestampTz failed_at;		/* the last of them; 0: none */
	TimestampTz accepted_at;	/* when the latest accepted request was sent */
	TimestampTz suspected_at;	/* refusals since, and nothing accepted; 0: none */
	TimestampTz refused_at;		/* an event was last put apart (suspect.c) */
	int			alike_code;		/* of single refusals that read alike, */
	int			alike_subcode;
	int			nalike;			/* and how many without an acceptance */
	int			nnamed;			/* named by answers without an acceptance */
	char		served_version[32]; /* that answered last, "" */
	int64		clock_ahead_ms; /* our clock to the endpoint's, as last told */
	TimestampTz clock_seen_at;	/* 0: never */
	int64		clock_noted_ms; /* as capi.dataset_state has it, since */
	TimestampTz clock_noted_at;
	bool		rest_noted;		/* capi.dataset_state says that it rests */
	bool		is_paced;		/* the last answer asked for slower requests */
	int			looked_up;		/* rows of the present look at the backlog */
	double		allowance;		/* events that may be sent now */
	TimestampTz allowance_at;
	int			in_flight;		/* requests under way */
	int			waiting;		/* events in batches, sent or not */
	TimestampTz progress_at;	/* last answer, or start after a rest */
	int64		duration_ms;	/* of the last answered request */
} CapiDataset;

typedef struct CapiSource
{
	int			id;
	char	   *name;
	int			dataset_id;
	char	   *event_name;
	char	   *action_source;
	char	   *query;
	char	   *search_path;
	Oid			run_as;
	char	   *key_type;		/* type name, or "record" / "array": by text */
	char	   *time_zone;		/* of naive timestamps, or NULL */
	int			minor_units;	/* CAPI_MINOR_*, or digits */
	int64		hold_us;
	bool		paused;
	bool		broken;
	bool		detached;
	bool		is_direct;		/* its events come from capi.send() */

	/* Not from the catalog; kept over a reload. */
	int			failures;		/* failed runs of the query in a row */
	TimestampTz retry_at;		/* a broken query is not run before */
	bool		is_slow;		/* its last portion took others' time */
	int			hangs;			/* readers in a row that ended or hung at it */
	bool		is_proven;		/* readers have read a portion of it to its end */
} CapiSource;

typedef struct CapiConfig
{
	int			ndatasets;
	CapiDataset *datasets;
	int			nsources;
	CapiSource *sources;
	bool		is_copy;		/* restored or cloned: sends nothing (P4) */
	bool		has_state;		/* capi.state has its row */
	MemoryContextCallback wipe; /* the tokens, when the memory goes */
} CapiConfig;

/* Registers the invalidation callback; once per process. */
extern void capi_config_init(void);

/* True once after something of the configuration changed. */
extern bool capi_config_stale(void);

/*
 * For the sender, below its own memory context: with tokens.  Inside a
 * transaction with SPI.  Frees old, keeps its run-time members.
 */
extern CapiConfig *capi_config_load(CapiConfig *old, MemoryContext parent);

/* For everybody else, in the current memory context; likewise. */
extern CapiConfig *capi_config_read(bool with_secrets);

/* Earlier than its memory context goes.  Safe on NULL. */
extern void capi_config_free(CapiConfig *config);

extern CapiDataset *capi_config_dataset(CapiConfig *config, int id);
extern CapiDataset *capi_config_dataset_by_name(CapiConfig *config,
												const char *name);
extern CapiSource *capi_config_source(CapiConfig *config, int id);

/* OID of a table of the extension, InvalidOid if it is not there. */
extern Oid	capi_config_table(const char *name);

/* The same in the schema that only the owner of the extension may use. */
extern Oid	capi_config_reserve_table(const char *name);

#endif							/* CAPI_CONFIG_H */
