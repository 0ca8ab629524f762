/*
 * context.c
 *		Reads and deletes capi.context, which capi.set_context() writes.
 *
 * These values cannot be hashed (SPEC 3.2), so they stand in the table as they
 * are until the order has its outcome; nobody has rights on it, and no dump
 * holds it (P7).
 *
 * Called by run.c in a reader, by outcome.c and caller.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/guc.h"
#include "base/txn.h"
#include "store/context.h"

static const CapiField context_fields[CAPI_CONTEXT_FIELDS] = {
	CAPI_FIELD_FBP, CAPI_FIELD_FBC, CAPI_FIELD_CLIENT_IP_ADDRESS,
	CAPI_FIELD_CLIENT_USER_AGENT, CAPI_FIELD_EVENT_SOURCE_URL,
	CAPI_FIELD_REFERRER_URL
};

/* Most shops have none: then a look at the size of the table is enough. */
static bool
table_is_empty(void)
{
	Relation	rel = table_open(capi_config_table("context"), AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, AccessShareLock);
	return empty;
}

/* What one row of the table says; row: see the SELECT below. */
static void
add_row(HeapTuple tuple, TupleDesc desc, CapiContext *found, MemoryContext context)
{
	char	   *consent = SPI_getvalue(tuple, desc, 2);

	found->is_known = true;
	if (consent != NULL && consent[0] == 'f')
		found->is_refused = true;
	for (int i = 0; i < CAPI_CONTEXT_FIELDS; i++)
	{
		char	   *text = SPI_getvalue(tuple, desc, 3 + i);

		if (text != NULL && found->values[i] == NULL)
			found->values[i] = MemoryContextStrdup(context, capi_event_utf8(text));
	}
}

CapiContext *
capi_context_read(const CapiSource *source, char **keys, int nkeys)
{
	MemoryContext context = CurrentMemoryContext;
	CapiContext *found;
	Datum	   *texts;
	Oid			types[2] = {TEXTARRAYOID, INT4OID};
	Datum		args[2];

	if (table_is_empty())
		return NULL;
	found = palloc0(sizeof(CapiContext) * (nkeys + 1));
	texts = palloc(sizeof(Datum) * (nkeys + 1));
	for (int i = 0; i < nkeys; i++)
		texts[i] = CStringGetTextDatum(keys[i]);
	args[0] = PointerGetDatum(construct_array(texts, nkeys, TEXTOID, -1, false, TYPALIGN_INT));
	args[1] = Int32GetDatum(source->id);
	/* what was said of this source goes before what was said of all */
	if (capi_txn_execute_with_args("SELECT u.n::int4, c.consent, c.fields->>'fbp', c.fields->>'fbc',"
							  " c.fields->>'client_ip_address', c.fields->>'client_user_agent',"
							  " c.fields->>'event_source_url', c.fields->>'referrer_url'"
							  " FROM pg_catalog.unnest($1) WITH ORDINALITY AS u (key, n)"
							  " JOIN capi.context c ON c.key = u.key AND c.source_id IN (0, $2)"
							  " ORDER BY c.source_id DESC", 2, types, args, NULL, true, 0)
		!= SPI_OK_SELECT)
		elog(ERROR, "could not read the browser contexts");
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		bool		isnull;
		int			at = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[r],
													 SPI_tuptable->tupdesc, 1, &isnull)) - 1;

		add_row(SPI_tuptable->vals[r], SPI_tuptable->tupdesc, &found[at], context);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
capi_context_complete(const CapiContext *context, CapiOrder *order)
{
	if (context == NULL || !context->is_known)
		return;
	order->has_context = true;
	if (context->is_refused && order->ignore_reason == NULL)
		order->ignore_reason = pstrdup("no consent");
	for (int i = 0; i < CAPI_CONTEXT_FIELDS; i++)
	{
		CapiValues *values = &order->event.values[context_fields[i]];

		if (context->values[i] == NULL || values->n > 0)
			continue;
		values->v = palloc(sizeof(char *));
		values->v[0] = context->values[i];
		values->n = 1;
	}
}

/*
 * A context that was said of all sources stays while another one may still
 * need it: one whose order has no outcome yet.
 */
void
capi_context_forget(Oid int_array, Datum source_ids, Oid text_array, Datum keys)
{
	Oid			types[2] = {int_array, text_array};
	Datum		args[2] = {source_ids, keys};

	if (capi_txn_execute_with_args("DELETE FROM capi.context c"
							  " USING unnest($1, $2) AS u (source_id, key)"
							  " WHERE c.key = u.key AND (c.source_id = u.source_id"
							  " OR (c.source_id = 0 AND NOT EXISTS ("
							  "SELECT FROM capi.source s WHERE s.detached_at IS NULL"
							  " AND s.id <> u.source_id AND NOT EXISTS ("
							  "SELECT FROM capi.delivery d"
							  " WHERE d.key = u.key AND d.source_id = s.id))))",
							  2, types, args, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete browser contexts");
}

void
capi_context_expire(void)
{
	char	   *sql = psprintf("DELETE FROM capi.context"
							   " WHERE set_at < pg_catalog.now() - interval '%d minutes'",
							   capi_context_retention);

	if (!table_is_empty() && capi_txn_execute(sql, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete old browser contexts");
}
