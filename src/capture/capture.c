/*
 * capture.c
 *		The row trigger capi.capture(): did this row become an event?
 *
 * Runs in the shop's transaction for every inserted and updated row of an
 * attached table.  It compares, writes one row into the queue, and leaves: no
 * SPI, no lock that is waited for, no error of ours (P1).  What it could not
 * note is counted: in the queue itself, or in shared memory when not even that
 * can be written.  What it allocates goes with the row: the server calls
 * triggers in a context that it resets for each.
 *
 * It does not read the order; the dispatcher does, after the commit.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "base/capi.h"
#include "base/key.h"
#include "base/shmem.h"
#include "base/wake.h"
#include "capture/capture.h"
#include "capture/rule.h"
#include "store/queue.h"

PG_FUNCTION_INFO_V1(capi_sql_capture);

static void apply_rule(CapiRule *rule, TupleTableSlot *old,
					   TupleTableSlot *new);
static bool became_event(CapiRule *rule, TupleTableSlot *old,
						 TupleTableSlot *new);
static bool noted_before(CapiRule *rule);
static char *steady_key_text(CapiRule *rule, TupleTableSlot *slot);
static void note(int source_id, const char *key, int missed);

void
capi_capture_init(void)
{
	capi_wake_init();
	capi_rule_init();
}

Datum
capi_sql_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CapiTableRules *entry;
	TupleTableSlot *old = NULL;
	TupleTableSlot *new;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capi.capture() works as an AFTER ROW trigger only"),
				 errhint("Let capi.attach() create the trigger.")));
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		new = trigger->tg_trigslot;
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		old = trigger->tg_trigslot;
		new = trigger->tg_newslot;
	}
	else
		return PointerGetDatum(NULL);

	entry = capi_rule_lookup(trigger->tg_relation);
	if (entry == NULL)
	{
		capi_shmem_count_missed(MyDatabaseId);
		return PointerGetDatum(NULL);
	}
	for (int i = 0; i < entry->nrules; i++)
		apply_rule(&entry->rules[i], old, new);
	return PointerGetDatum(NULL);
}

static void
apply_rule(CapiRule *rule, TupleTableSlot *old, TupleTableSlot *new)
{
	char	   *key = NULL;

	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		!rule->fire_on_replica)
		return;
	if (rule->condition_broken)
	{
		/* nobody can tell which of its rows are events */
		if (!noted_before(rule))
			note(rule->source_id, NULL, 1);
		return;
	}
	if (!became_event(rule, old, new))
		return;
	if (rule->problem == NULL)
		key = steady_key_text(rule, new);
	if (key != NULL && strlen(key) > CAPI_MAX_KEY_BYTES)
		key = NULL;
	note(rule->source_id, key, key == NULL ? 1 : 0);
}

/*
 * Has the (sub)transaction told already that it may have missed something?  A
 * migration that rewrites a large table must not fill the queue.
 */
static bool
noted_before(CapiRule *rule)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());
	SubTransactionId subxid = GetCurrentSubTransactionId();

	if (rule->noted_xid == xid && rule->noted_subxid == subxid)
		return true;
	rule->noted_xid = xid;
	rule->noted_subxid = subxid;
	return false;
}

static bool
has_value(CapiRule *rule, Datum value)
{
	for (int i = 0; i < rule->nvalues; i++)
		if (DatumGetBool(FunctionCall2Coll(&rule->eq, rule->collation, value,
										   rule->values[i])))
			return true;
	return false;
}

/*
 * Inserted with, or updated into, one of the values, coming from another;
 * without values, the column becoming non-null; without a column, every
 * inserted row (DESIGN 4.2).  The old value is compared bytewise first: the
 * usual update does not touch the column.
 */
static bool
became_event(CapiRule *rule, TupleTableSlot *old, TupleTableSlot *new)
{
	bool		was_null = true;
	bool		is_null;
	Datum		before = (Datum) 0;
	Datum		now;

	if (rule->on_att == 0)
		return old == NULL;
	now = slot_getattr(new, rule->on_att, &is_null);
	if (is_null)
		return false;
	if (old != NULL)
		before = slot_getattr(old, rule->on_att, &was_null);
	if (rule->nvalues < 0)
		return was_null;
	if (!was_null && datumIsEqual(before, now, rule->on_byval, rule->on_len))
		return false;
	if (!has_value(rule, now))
		return false;
	return was_null || !DatumGetBool(FunctionCall2Coll(&rule->eq, rule->collation,
													   before, now));
}

/* Text of the order key, or NULL when a part of it is null. */
static char *
key_text(CapiRule *rule, TupleTableSlot *slot)
{
	StringInfoData buf;

	for (int i = 0; i < rule->nkeys; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, rule->key_att[i], &isnull);
		char	   *part;

		if (isnull)
			return NULL;
		part = OutputFunctionCall(&rule->key_out[i], value);
		if (rule->key_form == CAPI_KEY_SCALAR)
			return part;
		if (i == 0)
			initStringInfo(&buf);
		capi_key_append_part(&buf, rule->key_form, part);
	}
	capi_key_append_end(&buf, rule->key_form);
	return buf.data;
}

/* The same, whatever the settings of the shop's session are. */
static char *
steady_key_text(CapiRule *rule, TupleTableSlot *slot)
{
	CapiKeySettings saved;
	char	   *volatile key = NULL;

	if (!rule->key_varies)
		return key_text(rule, slot);
	capi_key_use_settings(&saved);
	PG_TRY();
	{
		key = key_text(rule, slot);
	}
	PG_FINALLY();
	{
		capi_key_restore_settings(&saved);
	}
	PG_END_TRY();
	return key;
}

static void
note(int source_id, const char *key, int missed)
{
	if (capi_queue_append(source_id, key, missed))
		capi_wake_at_commit(false);
	else
		capi_shmem_count_missed(MyDatabaseId);
}
