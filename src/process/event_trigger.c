/*
 * event_trigger.c
 *		Keeps event triggers out of the transactions of who sends (P13).
 *
 * Partitions of the logs are made and dropped by ordinary commands, and an
 * event trigger is code of whoever runs the database: one that refuses
 * commands would end the dispatcher again and again, one that waits would keep
 * it.  From 17 on there is a setting, event_triggers, for processes that have
 * no client; before, and in a session that delivers, commands of ours run as
 * the server runs parts of a command, for which no event trigger is called.
 *
 * Not for functions that users call: what these do is theirs.
 */
#include "postgres.h"

#include "tcop/utility.h"

#include "base/txn.h"
#include "process/event_trigger.h"

static ProcessUtility_hook_type prev_process_utility = NULL;

static void
process_utility(PlannedStmt *pstmt, const char *queryString,
				bool readOnlyTree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *queryEnv,
				DestReceiver *dest, QueryCompletion *qc)
{
	if (capi_txn_is_open())
		context = PROCESS_UTILITY_SUBCOMMAND;
	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)
		(pstmt, queryString, readOnlyTree, context, params, queryEnv,
		 dest, qc);
}

void
capi_event_trigger_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
