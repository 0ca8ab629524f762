/*
 * pinned.c
 *		Settings of the server's that are not left to whoever set them.
 *
 * ALTER DATABASE and ALTER ROLE ... SET reach background workers, too, and need
 * no superuser; a session's own settings are its caller's.  None of them may
 * change what a statement of ours means or is allowed to do, whether it ends,
 * or what of it gets into a log.  What is pinned where, and why, and what is
 * left alone: doc/pinned-settings.md, in the order of the table here.
 *
 * Names that the server does not know are passed over, so the table is the same
 * for all versions.  Settings of the extension itself are in guc.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "base/database_settings.h"
#include "base/pinned.h"

#define PROCESS		(CAPI_PINNED_DISPATCHER | CAPI_PINNED_READER)
#define OURS		(PROCESS | CAPI_PINNED_OWNER)
#define ALL			(OURS | CAPI_PINNED_QUERY)

static const struct
{
	const char *name;
	const char *value;
	int			where;			/* of CapiPinned */
}			pinned[] = {
	/* what a statement and a value mean */
	{"array_nulls", "on", ALL},
	{"backslash_quote", "safe_encoding", ALL},
	{"bytea_output", "hex", ALL},
	{"datestyle", "ISO", ALL},
	{"escape_string_warning", "on", ALL},
	{"extra_float_digits", "1", ALL},
	{"gin_fuzzy_search_limit", "0", ALL},
	{"intervalstyle", "postgres", ALL},
	{"quote_all_identifiers", "off", ALL},
	{"standard_conforming_strings", "on", ALL},
	{"timezone", "UTC", CAPI_PINNED_TXN},
	{"transform_null_equals", "off", ALL},

	/* what is found and what may be done */
	{"default_table_access_method", "heap", OURS},
	{"default_tablespace", "", OURS},
	{"event_triggers", "off", PROCESS},
	{"restrict_nonsystem_relation_kind", "", CAPI_PINNED_DISPATCHER | CAPI_PINNED_OWNER},
	{"row_security", "off", OURS},
	{"row_security", "on", CAPI_PINNED_QUERY},
	{"search_path", "pg_catalog, pg_temp", OURS},
	{"session_replication_role", "origin", OURS},

	/* whether and when it ends */
	{"default_transaction_deferrable", "off", PROCESS},
	{"default_transaction_isolation", "read committed", PROCESS},
	{"default_transaction_read_only", "off", PROCESS},
	{"exit_on_error", "off", PROCESS},
	{"idle_in_transaction_session_timeout", "0", PROCESS},
	{"idle_session_timeout", "0", PROCESS},
	{"lock_timeout", "0", PROCESS},
	{"lock_timeout", "200ms", CAPI_PINNED_TXN},
	{"statement_timeout", "0", PROCESS},
	{"synchronous_commit", "on", PROCESS},
	{"synchronous_commit", "local", CAPI_PINNED_TXN},
	{"transaction_timeout", "0", PROCESS},

	/* what gets into a log */
	{"auto_explain.log_min_duration", "-1", PROCESS | CAPI_PINNED_SECRET},
	{"debug_print_parse", "off", ALL},
	{"debug_print_plan", "off", ALL},
	{"debug_print_rewritten", "off", ALL},
	{"log_duration", "off", PROCESS},
	{"log_executor_stats", "off", PROCESS},
	{"log_min_duration_sample", "-1", PROCESS},
	{"log_min_duration_statement", "-1", PROCESS},
	{"log_parameter_max_length_on_error", "0", PROCESS},
	{"log_parser_stats", "off", PROCESS},
	{"log_planner_stats", "off", PROCESS},
	{"log_statement", "none", PROCESS},
	{"log_statement_stats", "off", PROCESS},
	{"pgaudit.log_parameter", "off", CAPI_PINNED_SECRET},
	{"trace_sort", "off", PROCESS},

	/* how it is carried out; shops tune this for their queries */
	{"debug_parallel_query", "off", ALL},
	{"enable_bitmapscan", "on", CAPI_PINNED_DISPATCHER},
	{"enable_hashagg", "on", CAPI_PINNED_DISPATCHER},
	{"enable_hashjoin", "on", CAPI_PINNED_DISPATCHER},
	{"enable_indexonlyscan", "on", CAPI_PINNED_DISPATCHER},
	{"enable_indexscan", "on", CAPI_PINNED_DISPATCHER},
	{"enable_material", "on", CAPI_PINNED_DISPATCHER},
	{"enable_mergejoin", "on", CAPI_PINNED_DISPATCHER},
	{"enable_nestloop", "on", CAPI_PINNED_DISPATCHER},
	{"enable_partition_pruning", "on", CAPI_PINNED_DISPATCHER},
	{"enable_seqscan", "on", CAPI_PINNED_DISPATCHER},
	{"enable_sort", "on", CAPI_PINNED_DISPATCHER},
	{"enable_tidscan", "on", CAPI_PINNED_DISPATCHER},
	{"force_parallel_mode", "off", ALL},
	{"hash_mem_multiplier", "2", CAPI_PINNED_DISPATCHER},
	{"jit", "off", ALL},
	{"maintenance_work_mem", "16MB", CAPI_PINNED_DISPATCHER},
	{"max_parallel_maintenance_workers", "0", CAPI_PINNED_DISPATCHER},
	{"max_parallel_workers_per_gather", "0", CAPI_PINNED_DISPATCHER},
	{"plan_cache_mode", "auto", CAPI_PINNED_DISPATCHER},
	{"work_mem", "4MB", CAPI_PINNED_DISPATCHER},
};

static bool
is_known(const char *name)
{
	return GetConfigOption(name, true, false) != NULL;
}

/*
 * ALTER DATABASE ... SET role and SET session_authorization make a worker's
 * user another one.  The name of the superuser is looked up in the catalog,
 * and what the process got there when it connected is remembered.
 */
static void
pin_user(void)
{
	StartTransactionCommand();
	(void) capi_database_settings_changed();
	SetConfigOption("session_authorization",
					GetUserNameFromId(GetAuthenticatedUserId(), false),
					PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("role", "none", PGC_SUSET, PGC_S_OVERRIDE);
	CommitTransactionCommand();
}

void
capi_pinned_for_process(CapiPinned where, const char *name)
{
	SetConfigOption("application_name", name, PGC_SUSET, PGC_S_OVERRIDE);
	for (size_t i = 0; i < lengthof(pinned); i++)
		if ((pinned[i].where & where) != 0 && is_known(pinned[i].name))
			SetConfigOption(pinned[i].name, pinned[i].value, PGC_SUSET,
							PGC_S_OVERRIDE);
	pin_user();
}

void
capi_pinned_locally(CapiPinned where, GucAction action)
{
	for (size_t i = 0; i < lengthof(pinned); i++)
		if ((pinned[i].where & where) != 0 && is_known(pinned[i].name))
			(void) set_config_option(pinned[i].name, pinned[i].value, PGC_SUSET,
									 PGC_S_SESSION, action, true, 0, false);
}
