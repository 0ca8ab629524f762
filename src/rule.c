/*
 * rule.c
 *		Per-backend cache: table -> rules of the sources attached to it.
 *
 * Filled from capi.source by a plain scan (no SPI), inside a subtransaction,
 * so that an error (an enum label that was renamed, say) becomes a problem of
 * the rule and not of the shop's statement (P1, P2).  Columns are looked up by
 * name and must have the type they had when the source was attached.
 *
 * Entries are marked invalid by relation cache callbacks, never freed there; a
 * fill that is overtaken by an invalidation is used once and marked again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/typcache.h"

#include "config.h"
#include "queue.h"
#include "rule.h"

/* Columns of capi.source, in the order of sql/capi/tables.sql. */
#define S_ID				1
#define S_TABLE				3
#define S_KEY_COLUMNS		10
#define S_KEY_TYPES			11
#define S_QUERY_KEY_TYPE	12
#define S_ON_COLUMN			13
#define S_ON_TYPE			14
#define S_ON_VALUES			15
#define S_FIRE_ON_REPLICA	17
#define S_DETACHED_AT		23
#define S_COLUMNS			25

PG_FUNCTION_INFO_V1(capi_sql_rule_problem);

static HTAB *rule_cache = NULL;

/* Tables whose invalidation concerns every entry. */
static Oid	source_relid = InvalidOid;
static Oid	state_relid = InvalidOid;

/* Counts invalidations, to notice one that happens during a fill. */
static uint64 invalidations = 0;

static void relation_changed(Datum arg, Oid relid);
static bool fill(CapiTableRules *entry, Relation rel);
static void fill_from_catalog(CapiTableRules *entry, Relation rel);
static void build_rule(CapiRule *rule, Relation rel, Datum *values,
					   bool *nulls);
static void build_condition(CapiRule *rule, Relation rel, Datum *values,
							bool *nulls);
static AttrNumber find_column(Relation rel, const char *name, Oid type,
							  const char **problem);

void
capi_rule_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

static void
relation_changed(Datum arg, Oid relid)
{
	(void) arg;
	invalidations++;
	if (relid == InvalidOid || relid == source_relid || relid == state_relid)
		capi_queue_forget();
	if (rule_cache == NULL)
		return;
	if (relid == InvalidOid || relid == source_relid)
	{
		HASH_SEQ_STATUS seq;
		CapiTableRules *entry;

		hash_seq_init(&seq, rule_cache);
		while ((entry = hash_seq_search(&seq)) != NULL)
			entry->valid = false;
	}
	else
	{
		CapiTableRules *entry = hash_search(rule_cache, &relid, HASH_FIND, NULL);

		if (entry != NULL)
			entry->valid = false;
	}
}

CapiTableRules *
capi_rule_lookup(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	CapiTableRules *entry;
	bool		found;

	if (rule_cache == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(CapiTableRules)};

		rule_cache = hash_create("capi rules", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(rule_cache, &relid, HASH_ENTER, &found);
	if (!found)
	{
		entry->valid = false;
		entry->context = NULL;
		entry->nrules = 0;
	}
	if (!entry->valid && !fill(entry, rel))
		return NULL;
	return entry;
}

/* Builds the entry in a subtransaction; false if even that went wrong. */
static bool
fill(CapiTableRules *entry, Relation rel)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	uint64		before = invalidations;
	volatile bool ok = true;

	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	entry->context = AllocSetContextCreate(CacheMemoryContext, "capi rules of a table",
										   ALLOCSET_SMALL_SIZES);
	entry->nrules = 0;
	entry->rules = NULL;
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		fill_from_catalog(entry, rel);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	entry->valid = ok && before == invalidations;
	return ok;
}

static void
fill_from_catalog(CapiTableRules *entry, Relation rel)
{
	List	   *watched = list_make1_oid(RelationGetRelid(rel));
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			room = 4;

	if (rel->rd_rel->relispartition)
		watched = list_concat(watched, get_partition_ancestors(RelationGetRelid(rel)));
	source_relid = capi_config_table("source");
	state_relid = capi_config_table("state");
	if (!OidIsValid(source_relid))
		return;
	entry->rules = MemoryContextAllocZero(entry->context, room * sizeof(CapiRule));
	catalog = table_open(source_relid, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[S_COLUMNS];
		bool		nulls[S_COLUMNS];
		CapiRule   *rule;

		heap_deform_tuple(tuple, RelationGetDescr(catalog), values, nulls);
		if (!nulls[S_DETACHED_AT - 1] ||
			!list_member_oid(watched, DatumGetObjectId(values[S_TABLE - 1])))
			continue;
		if (entry->nrules == room)
		{
			entry->rules = repalloc(entry->rules, 2 * room * sizeof(CapiRule));
			memset(entry->rules + room, 0, room * sizeof(CapiRule));
			room *= 2;
		}
		rule = &entry->rules[entry->nrules++];
		rule->source_id = DatumGetInt32(values[S_ID - 1]);
		rule->fire_on_replica = DatumGetBool(values[S_FIRE_ON_REPLICA - 1]);
		MemoryContextSwitchTo(entry->context);
		build_rule(rule, rel, values, nulls);
		MemoryContextSwitchTo(CurTransactionContext);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

static void
build_rule(CapiRule *rule, Relation rel, Datum *values, bool *nulls)
{
	Datum	   *names;
	Datum	   *types;
	char	   *query_key = TextDatumGetCString(values[S_QUERY_KEY_TYPE - 1]);
	int			ntypes;

	deconstruct_array(DatumGetArrayTypeP(values[S_KEY_COLUMNS - 1]), TEXTOID, -1,
					  false, TYPALIGN_INT, &names, NULL, &rule->nkeys);
	deconstruct_array(DatumGetArrayTypeP(values[S_KEY_TYPES - 1]), REGTYPEOID,
					  sizeof(Oid), true, TYPALIGN_INT, &types, NULL, &ntypes);
	rule->key_form = strcmp(query_key, "record") == 0 ? CAPI_KEY_RECORD :
		strcmp(query_key, "array") == 0 ? CAPI_KEY_ARRAY : CAPI_KEY_SCALAR;
	for (int i = 0; i < rule->nkeys && i < CAPI_MAX_KEY_COLUMNS; i++)
	{
		Oid			type = DatumGetObjectId(types[i]);
		Oid			out;
		bool		varlena;

		rule->key_att[i] = find_column(rel, TextDatumGetCString(names[i]), type,
									   &rule->problem);
		if (rule->problem != NULL)
			return;
		getTypeOutputInfo(type, &out, &varlena);
		fmgr_info_cxt(out, &rule->key_out[i], CurrentMemoryContext);
	}
	if (!nulls[S_ON_COLUMN - 1])
		build_condition(rule, rel, values, nulls);
}

static void
build_condition(CapiRule *rule, Relation rel, Datum *values, bool *nulls)
{
	Oid			type = DatumGetObjectId(values[S_ON_TYPE - 1]);
	Datum	   *texts;
	Oid			input;
	Oid			ioparam;
	TypeCacheEntry *tce;

	rule->on_att = find_column(rel, TextDatumGetCString(values[S_ON_COLUMN - 1]),
							   type, &rule->problem);
	rule->nvalues = -1;
	if (rule->problem != NULL || nulls[S_ON_VALUES - 1])
		return;
	tce = lookup_type_cache(type, TYPECACHE_EQ_OPR_FINFO);
	if (!OidIsValid(tce->eq_opr_finfo.fn_oid))
	{
		rule->problem = "the type of the watched column has no equality";
		return;
	}
	fmgr_info_cxt(tce->eq_opr_finfo.fn_oid, &rule->eq, CurrentMemoryContext);
	rule->collation = TupleDescAttr(RelationGetDescr(rel), rule->on_att - 1)->attcollation;
	rule->on_byval = tce->typbyval;
	rule->on_len = tce->typlen;
	getTypeInputInfo(type, &input, &ioparam);
	deconstruct_array(DatumGetArrayTypeP(values[S_ON_VALUES - 1]), TEXTOID, -1,
					  false, TYPALIGN_INT, &texts, NULL, &rule->nvalues);
	rule->values = palloc(sizeof(Datum) * (rule->nvalues + 1));
	for (int i = 0; i < rule->nvalues; i++)
		rule->values[i] = OidInputFunctionCall(input, TextDatumGetCString(texts[i]),
											   ioparam, -1);
}

static AttrNumber
find_column(Relation rel, const char *name, Oid type, const char **problem)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		if (att->atttypid == type)
			return att->attnum;
		*problem = psprintf("column \"%s\" changed its type from %s to %s", name,
							format_type_be(type), format_type_be(att->atttypid));
		return InvalidAttrNumber;
	}
	*problem = psprintf("column \"%s\" is gone or was renamed", name);
	return InvalidAttrNumber;
}

/*
 * capi._rule_problem(source int): null, or why the rule of the source cannot be
 * applied to its table as it is now.
 */
Datum
capi_sql_rule_problem(PG_FUNCTION_ARGS)
{
	int			source_id = PG_GETARG_INT32(0);
	Oid			argtypes[1] = {INT4OID};
	Datum		args[1] = {PG_GETARG_DATUM(0)};
	Oid			relid = InvalidOid;
	Relation	rel;
	CapiTableRules *entry;
	text	   *result = NULL;

	SPI_connect();
	if (SPI_execute_with_args("SELECT table_name::oid FROM capi.source WHERE id = $1",
							  1, argtypes, args, NULL, true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
		relid = atooid(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	rel = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;
	if (rel == NULL)
		PG_RETURN_TEXT_P(cstring_to_text("the table is gone"));
	entry = capi_rule_lookup(rel);
	if (entry == NULL)
		result = cstring_to_text("the rule cannot be read");
	for (int i = 0; entry != NULL && i < entry->nrules; i++)
		if (entry->rules[i].source_id == source_id && entry->rules[i].problem != NULL)
			result = cstring_to_text(entry->rules[i].problem);
	relation_close(rel, AccessShareLock);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
