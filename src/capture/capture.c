/*
 * capture.c
 *		The row trigger capi.capture(): did this row become an event?
 *
 * Runs in the shop's transaction for every inserted and updated row of an
 * attached table, and for every deleted one of a partitioned table (moved.c).  It compares, writes one row into the queue, and leaves: no
 * SPI, no lock that is waited for, no error of ours (P1).  What it could not
 * note is counted: in the queue itself, or in shared memory when not even that
 * can be written.  What may raise an error, the equality or the output function
 * of a type that is not one of the server's plain ones, or a value that has to
 * be fetched from elsewhere, is called in a subtransaction.  What is allocated
 * goes with the row: the server calls triggers in a context that it resets for
 * each.
 *
 * It does not read the order; the dispatcher does, after the commit.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/transam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "base/attempt.h"
#include "base/capi.h"
#include "base/key.h"
#include "base/shmem.h"
#include "base/test_point.h"
#include "base/wake.h"
#include "capture/capture.h"
#include "capture/moved.h"
#include "capture/plain.h"
#include "capture/rule.h"
#include "store/queue.h"

PG_FUNCTION_INFO_V1(capi_sql_capture);

/* One rule and one row, and what is found out about them. */
typedef struct Question
{
	CapiRule   *rule;
	TupleTableSlot *old;		/* NULL for an inserted row */
	AttrNumber	old_on_att;		/* where it has the watched column */
	TupleTableSlot *new;
	Datum		before;
	Datum		now;
	bool		was_null;
	bool		is_event;
	char	   *key;			/* NULL: it has none that can be noted */
} Question;

/*
 * Stored values of a key longer than this are not looked at: no number of an
 * order has as many bytes, whatever its type makes of them.
 */
#define MAX_KEY_VALUE_BYTES		(16 * CAPI_MAX_KEY_BYTES)

static void apply_rule(CapiRule *rule, TupleTableSlot *old,
					   CapiMovedRow *moved, TupleTableSlot *new);
static bool became_event(Question *q);
static void find_key(Question *q);
static bool noted_before(CapiRule *rule);
static void note(int source_id, const char *key, int missed);

void
capi_capture_init(void)
{
	capi_wake_init();
	capi_rule_init();
	capi_renumber_init();
}

Datum
capi_sql_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CapiTableRules *entry;
	TupleTableSlot *old = NULL;
	TupleTableSlot *new;
	CapiMovedRow *moved = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capi.capture() works as an AFTER ROW trigger only"),
				 errhint("Let capi.attach() create the trigger.")));
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		new = trigger->tg_trigslot;
		moved = capi_moved_take(new);
	}
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		old = trigger->tg_trigslot;
		new = trigger->tg_newslot;
	}
	else
	{
		if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
			capi_moved_note(trigger->tg_relation, trigger->tg_trigslot);
		return PointerGetDatum(NULL);
	}

	entry = capi_rule_lookup(trigger->tg_relation);
	/* a trigger without a rule: restored without the sources, say */
	if (entry == NULL || entry->nrules == 0)
	{
		capi_shmem_count_missed(MyDatabaseId);
		return PointerGetDatum(NULL);
	}
	for (int i = 0; i < entry->nrules; i++)
		apply_rule(&entry->rules[i], old, moved, new);
	return PointerGetDatum(NULL);
}

static void
apply_rule(CapiRule *rule, TupleTableSlot *old, CapiMovedRow *moved,
		   TupleTableSlot *new)
{
	Question	q = {.rule = rule, .old = old, .old_on_att = rule->on_att, .new = new};

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
	if (moved != NULL)
		q.old = capi_moved_slot(moved, rule, new, &q.old_on_att);
	if (!became_event(&q))
		return;
	if (rule->problem == NULL)
		find_key(&q);
	note(rule->source_id, q.key, q.key == NULL ? 1 : 0);
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

/* Is the column's value now one of those that count, and was another before? */
static void
compare(void *arg)
{
	Question   *q = arg;
	CapiRule   *rule = q->rule;

	q->is_event = false;
	for (int i = 0; i < rule->nvalues && !q->is_event; i++)
		q->is_event = DatumGetBool(FunctionCall2Coll(&rule->eq, rule->collation, q->now,
													 rule->values[i]));
	if (q->is_event && !q->was_null)
		q->is_event = !DatumGetBool(FunctionCall2Coll(&rule->eq, rule->collation,
													  q->before, q->now));
}

/* The same where comparing may go wrong: then nobody can tell, as above. */
static bool
compare_guarded(Question *q)
{
	if (capi_attempt(compare, q) == NULL)
		return q->is_event;
	if (!noted_before(q->rule))
		note(q->rule->source_id, NULL, 1);
	return false;
}

/*
 * Inserted with, or updated into, one of the values, coming from another;
 * without values, the column becoming non-null; without a column, every
 * inserted row (DESIGN 4.2).  The old value is compared bytewise first: the
 * usual update does not touch the column.
 */
static bool
became_event(Question *q)
{
	CapiRule   *rule = q->rule;
	bool		is_null;

	if (rule->on_att == 0)
		return q->old == NULL;
	q->now = slot_getattr(q->new, rule->on_att, &is_null);
	if (is_null)
		return false;
	q->was_null = true;
	if (q->old != NULL)
		q->before = slot_getattr(q->old, q->old_on_att, &q->was_null);
	if (rule->nvalues < 0)
		return q->was_null;
	if (!q->was_null && datumIsEqual(q->before, q->now, rule->on_byval, rule->on_len))
		return false;
	if (rule->eq_may_fail ||
		(rule->on_len == -1 && !(capi_plain_value(q->now) &&
								 (q->was_null || capi_plain_value(q->before)))))
		return compare_guarded(q);
	compare(q);
	return q->is_event;
}

/* Writes the text of the order key; none when a part of it is null. */
static void
key_text(Question *q)
{
	CapiRule   *rule = q->rule;
	StringInfoData buf;

	for (int i = 0; i < rule->nkeys; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(q->new, rule->key_att[i], &isnull);
		char	   *part;

		if (isnull)
			return;
		part = OutputFunctionCall(&rule->key_out[i], value);
		if (rule->key_form == CAPI_KEY_SCALAR)
		{
			q->key = part;
			return;
		}
		if (i == 0)
			initStringInfo(&buf);
		capi_key_append_part(&buf, rule->key_form, part);
	}
	capi_key_append_end(&buf, rule->key_form);
	q->key = buf.data;
}

/* The same, whatever the settings of the shop's session are. */
static void
steady_key_text(void *arg)
{
	Question   *q = arg;
	CapiKeySettings saved;

	if (!q->rule->key_varies)
	{
		key_text(q);
		return;
	}
	capi_key_use_settings(&saved);
	PG_TRY();
	{
		key_text(q);
	}
	PG_FINALLY();
	{
		capi_key_restore_settings(&saved);
	}
	PG_END_TRY();
}

/*
 * The key, unless it is too long.  Sizes come first, and are known without
 * fetching anything: the text of half a gigabyte cannot even be made.
 */
static void
find_key(Question *q)
{
	CapiRule   *rule = q->rule;
	bool		guarded = rule->key_may_fail;

	for (int i = 0; i < rule->nkeys; i++)
	{
		TupleDesc	desc = q->new->tts_tupleDescriptor;
		bool		isnull;
		Datum		value = slot_getattr(q->new, rule->key_att[i], &isnull);

		if (isnull)
			return;
		if (TupleDescAttr(desc, rule->key_att[i] - 1)->attlen != -1)
			continue;
		if (toast_raw_datum_size(value) > MAX_KEY_VALUE_BYTES)
			return;
		guarded |= !capi_plain_value(value);
	}
	if (!guarded)
		steady_key_text(q);
	else if (capi_attempt(steady_key_text, q) != NULL)
		q->key = NULL;
	if (q->key != NULL && strlen(q->key) > CAPI_MAX_KEY_BYTES)
		q->key = NULL;
}

static void
note(int source_id, const char *key, int missed)
{
	CAPI_TEST_POINT("before the row in the queue");
	if (capi_queue_append(source_id, key, missed))
		capi_wake_at_commit(false);
	else
		capi_shmem_count_missed(MyDatabaseId);
	CAPI_TEST_POINT("after the row in the queue");
}
