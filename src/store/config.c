/*
 * config.c
 *		Datasets and sources as the dispatcher sees them, and the signal that
 *		they changed.
 *
 * The admin functions end with capi._config_changed(), which invalidates the
 * relation cache entry of capi.source: at their commit every process forgets
 * what it derived from the configuration.  Backends then read their rules
 * afresh (capture.c), the dispatcher loads this again.
 *
 * Tokens live only in the memory of the process that sends; whoever only reads
 * loads none.  They are wiped when that memory goes: when the configuration is
 * replaced, at the end of its owner, and by an error (P8).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/guc.h"
#include "base/txn.h"
#include "base/wake.h"
#include "event/event.h"
#include "store/config.h"
#include "store/event_name.h"
#include "store/secret.h"

PG_FUNCTION_INFO_V1(capi_sql_config_changed);

/* Set by the callback, cleared by whoever looks. */
static bool stale = true;

/* Table whose invalidation means "configuration changed". */
static Oid	watched = InvalidOid;

static void config_changed(Datum arg, Oid relid);
static void load_datasets(CapiConfig *config, CapiConfig *old);
static void load_secrets(CapiConfig *config);
static void load_sources(CapiConfig *config, CapiConfig *old, bool read_only);
static char *column_text(HeapTuple row, TupleDesc desc, int column,
						 MemoryContext context);

/* capi._config_changed(): tell every process at commit, and wake the dispatcher. */
Datum
capi_sql_config_changed(PG_FUNCTION_ARGS)
{
	Oid			relid = capi_config_table("source");

	(void) fcinfo;
	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
	capi_wake_at_commit(true);
	PG_RETURN_VOID();
}

void
capi_config_init(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(config_changed, (Datum) 0);
	registered = true;
	stale = true;
}

static void
config_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (relid == InvalidOid || relid == watched)
		stale = true;
}

bool
capi_config_stale(void)
{
	bool		was = stale;

	stale = false;
	return was;
}

static Oid
table_in(const char *schema, const char *name)
{
	Oid			space = get_namespace_oid(schema, true);

	return OidIsValid(space) ? get_relname_relid(name, space) : InvalidOid;
}

Oid
capi_config_table(const char *name)
{
	return table_in(CAPI_SCHEMA, name);
}

Oid
capi_config_reserve_table(const char *name)
{
	return table_in(CAPI_RESERVE_SCHEMA, name);
}

/* ---------- loading ---------- */

/*
 * The wipe belongs to the memory and not to a code path: an error that takes
 * the memory away wipes the tokens, too.
 */
static void
wipe_tokens(void *arg)
{
	CapiConfig *config = arg;

	for (int i = 0; i < config->ndatasets; i++)
	{
		CapiDataset *dataset = &config->datasets[i];

		if (dataset->token != NULL)
			explicit_bzero(dataset->token, strlen(dataset->token));
		if (dataset->stats_token != NULL)
			explicit_bzero(dataset->stats_token, strlen(dataset->stats_token));
	}
}

static CapiConfig *
create_config(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "capi configuration",
												  ALLOCSET_SMALL_SIZES);
	CapiConfig *config = MemoryContextAllocZero(context, sizeof(CapiConfig));

	config->wipe.func = wipe_tokens;
	config->wipe.arg = config;
	MemoryContextRegisterResetCallback(context, &config->wipe);
	return config;
}

static void
load_identity(CapiConfig *config)
{
	bool		isnull;

	if (capi_txn_execute("SELECT capi._is_copy() FROM capi.state", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read capi.state");
	config->has_state = SPI_processed == 1;
	if (config->has_state)
		config->is_copy = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
													 SPI_tuptable->tupdesc, 1,
													 &isnull));
	SPI_freetuptable(SPI_tuptable);
}

CapiConfig *
capi_config_load(CapiConfig *old, MemoryContext parent)
{
	/* an error on the way takes it with the memory of the moment */
	CapiConfig *config = create_config(CurrentMemoryContext);

	watched = capi_config_table("source");
	load_identity(config);
	if (config->has_state && !config->is_copy)
		capi_event_name_adopt();
	load_datasets(config, old);
	load_secrets(config);
	/* a new snapshot, which sees what was adopted */
	load_sources(config, old, false);
	capi_config_free(old);
	MemoryContextSetParent(GetMemoryChunkContext(config), parent);
	return config;
}

CapiConfig *
capi_config_read(bool with_secrets)
{
	CapiConfig *config = create_config(CurrentMemoryContext);

	load_identity(config);
	load_datasets(config, NULL);
	if (with_secrets)
		load_secrets(config);
	load_sources(config, NULL, true);
	return config;
}

void
capi_config_free(CapiConfig *config)
{
	if (config != NULL)
		MemoryContextDelete(GetMemoryChunkContext(config));
}

CapiDataset *
capi_config_dataset(CapiConfig *config, int id)
{
	for (int i = 0; i < config->ndatasets; i++)
		if (config->datasets[i].id == id)
			return &config->datasets[i];
	return NULL;
}

CapiDataset *
capi_config_dataset_by_name(CapiConfig *config, const char *name)
{
	for (int i = 0; i < config->ndatasets; i++)
		if (strcmp(config->datasets[i].name, name) == 0)
			return &config->datasets[i];
	return NULL;
}

CapiSource *
capi_config_source(CapiConfig *config, int id)
{
	for (int i = 0; i < config->nsources; i++)
		if (config->sources[i].id == id)
			return &config->sources[i];
	return NULL;
}

static char *
column_text(HeapTuple row, TupleDesc desc, int column, MemoryContext context)
{
	char	   *text = SPI_getvalue(row, desc, column);

	return text != NULL ? MemoryContextStrdup(context, text) : NULL;
}

/* What a column of capi.secret holds, in clear, to be wiped; NULL: problem. */
static char *
open_secret(HeapTuple row, TupleDesc desc, const char **problem)
{
	bool		isnull;
	bool		encrypted = DatumGetBool(SPI_getbinval(row, desc, 3, &isnull));
	Datum		value = SPI_getbinval(row, desc, 4, &isnull);
	bytea	   *sealed = DatumGetByteaPP(value);
	char	   *secret = capi_secret_open(encrypted, sealed, problem);

	if ((Pointer) sealed != DatumGetPointer(value))
		explicit_bzero(sealed, VARSIZE_ANY(sealed));
	return secret;
}

/* Takes over and wipes the token. */
static void
set_token(char **target, char *token, MemoryContext context)
{
	if (token == NULL)
		return;
	*target = MemoryContextStrdup(context, token);
	explicit_bzero(token, strlen(token));
}

static void
set_proof(CapiDataset *dataset, char *secret, MemoryContext context)
{
	if (secret == NULL)
		return;
	if (dataset->token != NULL)
		dataset->proof = MemoryContextStrdup(context,
											 capi_secret_proof(dataset->token, secret));
	if (dataset->stats_token != NULL)
		dataset->stats_proof = MemoryContextStrdup(context,
												   capi_secret_proof(dataset->stats_token, secret));
	explicit_bzero(secret, strlen(secret));
}

/* Was it given for where the dataset sends now? */
static bool
is_meant_for(const CapiDataset *dataset, HeapTuple row, TupleDesc desc)
{
	char	   *endpoint = SPI_getvalue(row, desc, 5);

	return endpoint == NULL || strcmp(endpoint, dataset->endpoint) == 0;
}

/* Tokens first: the proof is made of both. */
static void
load_secret_rows(CapiConfig *config, const char *kind)
{
	MemoryContext context = GetMemoryChunkContext(config);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		CapiDataset *dataset = capi_config_dataset(config, atoi(SPI_getvalue(row, desc, 1)));
		const char *problem = NULL;

		if (dataset == NULL || strcmp(SPI_getvalue(row, desc, 2), kind) != 0)
			continue;
		if (!is_meant_for(dataset, row, desc))
		{
			if (strcmp(kind, "access_token") == 0 && dataset->token_file == NULL)
				dataset->token_problem = CAPI_TOKEN_OF_ANOTHER_ENDPOINT;
		}
		else if (strcmp(kind, "app_secret") == 0)
			set_proof(dataset, open_secret(row, desc, &problem), context);
		else if (strcmp(kind, "stats_token") == 0)
			set_token(&dataset->stats_token, open_secret(row, desc, &problem), context);
		else if (dataset->token_file == NULL)
		{
			set_token(&dataset->token, open_secret(row, desc, &problem), context);
			dataset->token_problem = problem;
		}
	}
}

/*
 * Tokens of all datasets, each from its file if it names one, else from its row
 * of capi.secret.  A statement of its own, and a plain one, so that nothing but
 * these rows holds what may stand there in clear; they are wiped.
 */
static void
load_secrets(CapiConfig *config)
{
	if (capi_txn_execute("SELECT dataset_id, kind, encrypted, value, endpoint FROM capi.secret",
						 true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the secrets");
	for (int i = 0; i < config->ndatasets; i++)
	{
		CapiDataset *dataset = &config->datasets[i];

		if (dataset->token_file != NULL)
			set_token(&dataset->token, capi_secret_read_file(dataset->token_file,
															 &dataset->token_problem),
					  GetMemoryChunkContext(config));
		else
			dataset->token_problem = "no access token is set";
	}
	load_secret_rows(config, "access_token");
	load_secret_rows(config, "stats_token");
	load_secret_rows(config, "app_secret");
	for (uint64 i = 0; i < SPI_processed; i++)
		explicit_bzero(SPI_tuptable->vals[i]->t_data, SPI_tuptable->vals[i]->t_len);
	SPI_freetuptable(SPI_tuptable);
}

/* What is not in the catalog goes on as it was. */
static void
keep_run_time_members(CapiDataset *dataset, const CapiDataset *before)
{
	dataset->allowance = Min(before->allowance, dataset->events_per_hour);
	dataset->allowance_at = before->allowance_at;
	dataset->in_flight = before->in_flight;
	dataset->waiting = before->waiting;
	dataset->progress_at = before->progress_at;
	dataset->duration_ms = before->duration_ms;
	dataset->rest_noted = before->rest_noted;
	strlcpy(dataset->served_version, before->served_version, sizeof(dataset->served_version));
	dataset->clock_ahead_ms = before->clock_ahead_ms;
	dataset->clock_seen_at = before->clock_seen_at;
	dataset->clock_noted_ms = before->clock_noted_ms;
	dataset->clock_noted_at = before->clock_noted_at;
	dataset->accepted_at = before->accepted_at;
	dataset->suspected_at = before->suspected_at;
	dataset->refused_at = before->refused_at;
	dataset->alike_code = before->alike_code;
	dataset->alike_subcode = before->alike_subcode;
	dataset->nalike = before->nalike;
	dataset->nnamed = before->nnamed;
	/* whoever set it active again wants it tried now */
	if (before->state == dataset->state &&
		(dataset->state != CAPI_DATASET_ACTIVE || before->state_since == dataset->state_since))
	{
		dataset->rest_until = before->rest_until;
		dataset->failures = before->failures;
		dataset->is_throttled = before->is_throttled;
		dataset->failed_at = before->failed_at;
		dataset->is_paced = before->is_paced;
	}
}

/* To ask again too early would lengthen the block: a restart is no reason. */
static void
note_old_rest(CapiDataset *dataset, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	Datum		rest = SPI_getbinval(row, desc, 10, &isnull);

	if (isnull || DatumGetTimestampTz(rest) <= GetCurrentTimestamp())
		return;
	dataset->rest_until = DatumGetTimestampTz(rest);
	dataset->failures = 1;
	dataset->is_throttled = true;
	dataset->rest_noted = true;
}

static void
load_datasets(CapiConfig *config, CapiConfig *old)
{
	MemoryContext context = GetMemoryChunkContext(config);

	if (capi_txn_execute("SELECT d.id, d.name, d.dataset_id, d.endpoint, d.api_version,"
						 " d.test_event_code, d.events_per_hour, d.token_file, d.state,"
						 " n.rest_until, d.state_since FROM capi.dataset d LEFT JOIN capi.dataset_state n"
						 " ON n.dataset_id = d.id AND n.throttled AND d.state = 'active' WHERE d.dropped_at IS NULL", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the datasets");
	config->datasets = MemoryContextAllocZero(context,
											  sizeof(CapiDataset) * (SPI_processed + 1));
	config->ndatasets = SPI_processed;
	for (int i = 0; i < config->ndatasets; i++)
	{
		CapiDataset *dataset = &config->datasets[i];
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		CapiDataset *before;
		char	   *version = SPI_getvalue(row, desc, 5);
		char	   *state = SPI_getvalue(row, desc, 9);
		bool		isnull;

		dataset->id = atoi(SPI_getvalue(row, desc, 1));
		dataset->name = column_text(row, desc, 2, context);
		dataset->endpoint = column_text(row, desc, 4, context);
		dataset->meta_id = column_text(row, desc, 3, context);
		dataset->graph = MemoryContextStrdup(context,
											 psprintf("%s/%s", dataset->endpoint,
													  version != NULL ? version : capi_api_version));
		dataset->url = MemoryContextStrdup(context,
										   psprintf("%s/%s/events", dataset->graph, dataset->meta_id));
		dataset->test_event_code = column_text(row, desc, 6, context);
		dataset->events_per_hour = atoi(SPI_getvalue(row, desc, 7));
		dataset->token_file = column_text(row, desc, 8, context);
		dataset->state =
			strcmp(state, "active") == 0 ? CAPI_DATASET_ACTIVE :
			strcmp(state, "paused") == 0 ? CAPI_DATASET_PAUSED :
			strcmp(state, "credential") == 0 ? CAPI_DATASET_CREDENTIAL :
			strcmp(state, "refused") == 0 ? CAPI_DATASET_REFUSED :
			CAPI_DATASET_VERSION;
		dataset->state_since = DatumGetTimestampTz(SPI_getbinval(row, desc, 11, &isnull));
		dataset->allowance = dataset->events_per_hour;
		dataset->allowance_at = GetCurrentTimestamp();
		before = old != NULL ? capi_config_dataset(old, dataset->id) : NULL;
		if (before != NULL)
			keep_run_time_members(dataset, before);
		else
			note_old_rest(dataset, row, desc);
	}
	SPI_freetuptable(SPI_tuptable);
}

static int
read_minor_units(const char *text)
{
	if (text == NULL)
		return CAPI_MINOR_NONE;
	return strcmp(text, "currency") == 0 ? CAPI_MINOR_BY_CURRENCY : atoi(text);
}

static void
load_sources(CapiConfig *config, CapiConfig *old, bool read_only)
{
	MemoryContext context = GetMemoryChunkContext(config);

	if (capi_txn_execute("SELECT id, name, dataset_id, event_name, action_source, query,"
					" search_path, run_as::oid, query_key_type,"
					" (extract(epoch FROM hold) * 1000000)::bigint, paused,"
					" broken_since IS NOT NULL, detached_at IS NOT NULL,"
					" time_zone, minor_units, table_name = 'capi.direct_event'::regclass"
					" FROM capi.source", read_only, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the sources");
	config->nsources = SPI_processed;
	config->sources = MemoryContextAllocZero(context,
											 sizeof(CapiSource) * (SPI_processed + 1));
	for (int i = 0; i < config->nsources; i++)
	{
		CapiSource *source = &config->sources[i];
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		CapiSource *before;

		source->id = atoi(SPI_getvalue(row, desc, 1));
		source->name = column_text(row, desc, 2, context);
		source->dataset_id = atoi(SPI_getvalue(row, desc, 3));
		source->event_name = column_text(row, desc, 4, context);
		source->action_source = column_text(row, desc, 5, context);
		source->query = column_text(row, desc, 6, context);
		source->search_path = column_text(row, desc, 7, context);
		source->run_as = atooid(SPI_getvalue(row, desc, 8));
		source->key_type = column_text(row, desc, 9, context);
		source->hold_us = strtoi64(SPI_getvalue(row, desc, 10), NULL, 10);
		source->paused = SPI_getvalue(row, desc, 11)[0] == 't';
		source->broken = SPI_getvalue(row, desc, 12)[0] == 't';
		source->detached = SPI_getvalue(row, desc, 13)[0] == 't';
		source->time_zone = column_text(row, desc, 14, context);
		source->is_direct = SPI_getvalue(row, desc, 16)[0] == 't';
		source->minor_units = read_minor_units(SPI_getvalue(row, desc, 15));
		before = old != NULL ? capi_config_source(old, source->id) : NULL;
		if (before == NULL)
			continue;
		/* whoever changed the query wants it tried now */
		if (strcmp(source->query, before->query) != 0)
			continue;
		source->is_slow = before->is_slow;
		source->hangs = before->hangs;
		source->is_proven = before->is_proven && source->run_as == before->run_as;
		if (source->broken)
		{
			source->failures = before->failures;
			source->retry_at = before->retry_at;
		}
	}
	SPI_freetuptable(SPI_tuptable);
}
