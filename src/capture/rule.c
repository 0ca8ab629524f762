/*
 * rule.c
 *		Per-backend cache: table -> rules of the sources attached to it.
 *
 * Filled from capi.source, or from its copy, by a plain scan (no SPI), whose
 * errors are caught without a subtransaction.  What may need a function of the
 * shop's or of another extension's, or may raise an error otherwise, an enum
 * label that was renamed say, runs in one, so that it becomes a problem of that
 * rule and not of the shop's statement (P1, P2, P6).  The usual types need none
 * (plain.c).  Locks are not waited for.  Columns are looked up by name and must have
 * the type they had when the source was attached.
 *
 * Nothing here runs code that a user wrote, whoever is asking: values are read
 * by the input function of the base type, which checks no domain (P9).
 *
 * Entries are marked invalid by relation cache callbacks, never freed there; a
 * fill that is overtaken by an invalidation is used once and marked again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/attempt.h"
#include "base/block.h"
#include "base/capi.h"
#include "base/key.h"
#include "base/lock.h"
#include "capture/plain.h"
#include "capture/rule.h"
#include "store/config.h"
#include "store/queue.h"

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

PG_FUNCTION_INFO_V1(capi_sql_hides_rows);
PG_FUNCTION_INFO_V1(capi_sql_rule_problem);

static HTAB *rule_cache = NULL;

/* Tables whose invalidation concerns every entry. */
static Oid	source_relid = InvalidOid;
static Oid	state_relid = InvalidOid;

/* Counts invalidations, to notice one that happens during a fill. */
static uint64 invalidations = 0;

/* What the steps of a fill work on. */
typedef struct Fill
{
	CapiTableRules *entry;
	Relation	rel;			/* the table that was written to */
	List	   *watched;		/* it, and the partitioned tables above it */
	Relation	catalog;		/* where the rules are read */
	Datum	   *values;			/* of the present row there */
	bool	   *nulls;
} Fill;

static void relation_changed(Datum arg, Oid relid);
static bool fill(CapiTableRules *entry, Relation rel);
static void read_rules(void *arg);
static void read_block(Fill *fill, BlockNumber block, Snapshot snapshot);
static CapiRule *add_rule(CapiTableRules *entry);
static void build_rule(Fill *fill, CapiRule *rule);
static const char *build_key(Fill *fill, CapiRule *rule);
static const char *build_condition(Fill *fill, CapiRule *rule);
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
	/* Entries stay where they are, and rows mostly come from one table. */
	static CapiTableRules *last = NULL;
	Oid			relid = RelationGetRelid(rel);
	CapiTableRules *entry;
	bool		found;

	if (last != NULL && last->relid == relid && last->valid)
		return last;
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
	last = entry;
	if (!entry->valid && !fill(entry, rel))
		return NULL;
	return entry;
}

/* Fills the entry afresh; false when the rules could not be read. */
static bool
fill(CapiTableRules *entry, Relation rel)
{
	Fill		fill = {.entry = entry, .rel = rel};
	uint64		before = invalidations;
	const char *problem;

	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	entry->context = AllocSetContextCreate(CacheMemoryContext, "capi rules of a table",
										   ALLOCSET_SMALL_SIZES);
	entry->nrules = 0;
	entry->rules = NULL;
	problem = capi_attempt_reading(read_rules, &fill);
	entry->valid = problem == NULL && before == invalidations;
	return problem == NULL;
}

/*
 * Where the rules are read: capi.source, or its copy while a stranger waits for
 * a lock on that (segment.c).  Locked, InvalidOid without the extension.
 */
static Oid
lock_rules(void)
{
	Oid			copy = capi_config_reserve_table("source");

	source_relid = capi_config_table("source");
	state_relid = capi_config_table("state");
	if (!OidIsValid(source_relid) || !OidIsValid(copy))
		return InvalidOid;
	if (capi_lock_at_once(source_relid, AccessShareLock))
		return source_relid;
	if (capi_lock_at_once(copy, AccessShareLock))
		return copy;
	elog(ERROR, "capi.source is locked");
}

/* Step for capi_attempt_reading(). */
static void
read_rules(void *arg)
{
	Fill	   *fill = arg;
	Oid			relid = lock_rules();
	Snapshot	snapshot;
	BlockNumber nblocks;

	if (!OidIsValid(relid))
		return;
	fill->watched = list_make1_oid(RelationGetRelid(fill->rel));
	if (fill->rel->rd_rel->relispartition)
		fill->watched = list_concat(fill->watched,
									get_partition_ancestors(RelationGetRelid(fill->rel)));
	fill->catalog = table_open(relid, NoLock);
	if (RelationGetDescr(fill->catalog)->natts < S_COLUMNS)
		elog(ERROR, "capi.source is older than the library");
	snapshot = RegisterSnapshot(GetCatalogSnapshot(relid));
	nblocks = RelationGetNumberOfBlocks(fill->catalog);
	for (BlockNumber block = 0; block < nblocks; block++)
		read_block(fill, block, snapshot);
	UnregisterSnapshot(snapshot);
	table_close(fill->catalog, AccessShareLock);

	/* somebody attached the trigger, and then rules were loaded without copy */
	if (relid != source_relid && fill->entry->nrules == 0)
		elog(ERROR, "the copy of capi.source is not complete");
}

static void
read_block(Fill *fill, BlockNumber block, Snapshot snapshot)
{
	TupleDesc	desc = RelationGetDescr(fill->catalog);
	HeapTupleData *tuples = palloc(sizeof(HeapTupleData) * MaxHeapTuplesPerPage);
	char	   *page = palloc(BLCKSZ);
	int			n = capi_block_read(fill->catalog, block, snapshot, NULL, NULL,
									page, tuples);

	fill->values = palloc(sizeof(Datum) * desc->natts);
	fill->nulls = palloc(sizeof(bool) * desc->natts);
	for (int i = 0; i < n; i++)
	{
		heap_deform_tuple(&tuples[i], desc, fill->values, fill->nulls);
		if (fill->nulls[S_DETACHED_AT - 1] &&
			list_member_oid(fill->watched, DatumGetObjectId(fill->values[S_TABLE - 1])))
			build_rule(fill, add_rule(fill->entry));
	}
	pfree(page);
	pfree(tuples);
}

/* The array grows by doubling. */
static CapiRule *
add_rule(CapiTableRules *entry)
{
	int			n = entry->nrules++;

	if (n == 0)
		entry->rules = MemoryContextAllocZero(entry->context, sizeof(CapiRule));
	else if ((n & (n - 1)) == 0)
	{
		entry->rules = repalloc(entry->rules, 2 * n * sizeof(CapiRule));
		memset(entry->rules + n, 0, n * sizeof(CapiRule));
	}
	return &entry->rules[n];
}

/* Columns of capi.source that a rule is made of and that may be compressed. */
static const int texts[] = {
	S_KEY_COLUMNS, S_KEY_TYPES, S_QUERY_KEY_TYPE, S_ON_COLUMN, S_ON_VALUES
};

/* Step for capi_attempt(). */
static void
unpack_texts(void *arg)
{
	Fill	   *fill = arg;

	for (size_t i = 0; i < lengthof(texts); i++)
		if (!fill->nulls[texts[i] - 1])
			fill->values[texts[i] - 1] =
				PointerGetDatum(PG_DETOAST_DATUM(fill->values[texts[i] - 1]));
}

static bool
are_plain(const Fill *fill)
{
	for (size_t i = 0; i < lengthof(texts); i++)
		if (!fill->nulls[texts[i] - 1] && !capi_plain_value(fill->values[texts[i] - 1]))
			return false;
	return true;
}

/* The condition first: what it says holds even when the key is broken. */
static void
build_rule(Fill *fill, CapiRule *rule)
{
	MemoryContext old = MemoryContextSwitchTo(fill->entry->context);

	rule->source_id = DatumGetInt32(fill->values[S_ID - 1]);
	rule->fire_on_replica = DatumGetBool(fill->values[S_FIRE_ON_REPLICA - 1]);
	if (!are_plain(fill))
		rule->problem = capi_attempt(unpack_texts, fill);
	if (rule->problem == NULL && !fill->nulls[S_ON_COLUMN - 1])
		rule->problem = build_condition(fill, rule);
	rule->condition_broken = rule->problem != NULL;
	if (rule->problem == NULL)
		rule->problem = build_key(fill, rule);
	MemoryContextSwitchTo(old);
}

/* What find_function() works on. */
typedef struct Search
{
	Oid			oid;
	FmgrInfo   *function;
	MemoryContext context;
} Search;

/* Step for capi_attempt(): may load a library. */
static void
load_function(void *arg)
{
	Search	   *search = arg;

	fmgr_info_cxt(search->oid, search->function, search->context);
}

static const char *
find_function(Oid oid, FmgrInfo *function)
{
	Search		search = {oid, function, CurrentMemoryContext};

	if (!capi_plain_function(oid))
		return capi_attempt(load_function, &search);
	load_function(&search);
	return NULL;
}

/*
 * A collation that ICU decides may raise errors, and so may one that the system
 * has to open: a server that was moved may have left its locale behind.
 */
static bool
equality_may_fail(TypeCacheEntry *type, Oid collation)
{
	if (OidIsValid(collation) && collation != DEFAULT_COLLATION_OID &&
		collation != C_COLLATION_OID)
		return true;
	return type->typtype != TYPTYPE_ENUM && !capi_plain_type(type->type_id);
}

static const char *
build_key(Fill *fill, CapiRule *rule)
{
	char	   *query_key = TextDatumGetCString(fill->values[S_QUERY_KEY_TYPE - 1]);
	const char *problem = NULL;
	ArrayType  *kinds;
	Datum	   *names;
	Datum	   *types;
	int			ntypes;

	deconstruct_array(DatumGetArrayTypeP(fill->values[S_KEY_COLUMNS - 1]), TEXTOID, -1,
					  false, TYPALIGN_INT, &names, NULL, &rule->nkeys);
	kinds = DatumGetArrayTypeP(fill->values[S_KEY_TYPES - 1]);
	deconstruct_array(kinds, ARR_ELEMTYPE(kinds), sizeof(Oid), true, TYPALIGN_INT,
					  &types, NULL, &ntypes);
	rule->nkeys = Min(Min(rule->nkeys, ntypes), CAPI_MAX_KEY_COLUMNS);
	rule->key_form = capi_key_form(query_key);
	for (int i = 0; i < rule->nkeys && problem == NULL; i++)
	{
		Oid			type = DatumGetObjectId(types[i]);
		Oid			out;
		bool		varlena;

		rule->key_att[i] = find_column(fill->rel, TextDatumGetCString(names[i]), type,
									   &problem);
		if (problem != NULL)
			break;
		getTypeOutputInfo(type, &out, &varlena);
		problem = find_function(out, &rule->key_out[i]);
		rule->key_varies |= capi_key_varies(type);
		rule->key_may_fail |= !capi_plain_type(type);
	}
	return problem;
}

/* What a value of the condition is made of, and becomes. */
typedef struct Reading
{
	Oid			type;
	char	   *text;
	Datum		value;
} Reading;

/* Step for capi_attempt(). */
static void
read_value(void *arg)
{
	Reading    *reading = arg;
	Oid			input;
	Oid			ioparam;

	getTypeInputInfo(reading->type, &input, &ioparam);
	reading->value = OidInputFunctionCall(input, reading->text, ioparam, -1);
}

/* The values of the condition; NULL, or the problem with one. */
static const char *
read_values(Fill *fill, CapiRule *rule)
{
	Reading		reading = {.type = getBaseType(DatumGetObjectId(fill->values[S_ON_TYPE - 1]))};
	const char *problem = NULL;
	Datum	   *values;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(fill->values[S_ON_VALUES - 1]), TEXTOID, -1,
					  false, TYPALIGN_INT, &values, NULL, &n);
	rule->values = palloc(sizeof(Datum) * (n + 1));
	for (int i = 0; i < n && problem == NULL; i++)
	{
		reading.text = TextDatumGetCString(values[i]);
		if (capi_plain_input(reading.type, reading.text))
			read_value(&reading);
		else
			problem = capi_attempt(read_value, &reading);
		rule->values[i] = reading.value;
	}
	rule->nvalues = n;
	return problem;
}

static const char *
build_condition(Fill *fill, CapiRule *rule)
{
	Oid			type = DatumGetObjectId(fill->values[S_ON_TYPE - 1]);
	const char *problem = NULL;
	TypeCacheEntry *tce;

	rule->nvalues = -1;
	rule->on_att = find_column(fill->rel,
							   TextDatumGetCString(fill->values[S_ON_COLUMN - 1]),
							   type, &problem);
	if (problem != NULL || fill->nulls[S_ON_VALUES - 1])
		return problem;
	tce = lookup_type_cache(type, TYPECACHE_EQ_OPR);
	if (!OidIsValid(tce->eq_opr))
		return "the type of the watched column has no equality";
	problem = find_function(get_opcode(tce->eq_opr), &rule->eq);
	if (problem != NULL)
		return problem;
	rule->collation = TupleDescAttr(RelationGetDescr(fill->rel),
									rule->on_att - 1)->attcollation;
	rule->eq_may_fail = equality_may_fail(tce, rule->collation);
	rule->on_byval = tce->typbyval;
	rule->on_len = tce->typlen;
	return read_values(fill, rule);
}

/* Of a type that may be gone. */
static char *
type_name(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_ALLOW_INVALID);
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
							type_name(type), type_name(att->atttypid));
		return InvalidAttrNumber;
	}
	*problem = psprintf("column \"%s\" is gone or was renamed", name);
	return InvalidAttrNumber;
}

/* Why the table's trigger does not fire, or NULL. */
static const char *
trigger_problem(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (strcmp(trigger->tgname, CAPI_TRIGGER) != 0)
			continue;
		if (trigger->tgenabled == TRIGGER_DISABLED)
			return "the trigger " CAPI_TRIGGER " of the table is disabled";
		if (trigger->tgenabled == TRIGGER_FIRES_ON_REPLICA)
			return "the trigger " CAPI_TRIGGER " of the table fires on replicas only";
		return NULL;
	}
	return "the trigger " CAPI_TRIGGER " of the table is gone";
}

/* The rule as a session that begins now would see it. */
static const char *
table_problem(Relation rel, int source_id)
{
	CapiTableRules *entry;
	const char *problem = trigger_problem(rel);

	relation_changed((Datum) 0, RelationGetRelid(rel));
	entry = capi_rule_lookup(rel);
	if (entry == NULL)
		return "the rule cannot be read";
	for (int i = 0; i < entry->nrules; i++)
		if (entry->rules[i].source_id == source_id && entry->rules[i].problem != NULL)
			problem = entry->rules[i].problem;
	return problem;
}

/* What capi.source says of the table; false without the source. */
typedef struct SourceTable
{
	Oid			relid;
	Oid			run_as;
	char	   *schema_was;		/* when it was attached; NULL: not known */
	char	   *name_was;
} SourceTable;

static bool
find_source_table(int source_id, SourceTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			argtypes[1] = {INT4OID};
	Datum		args[1] = {Int32GetDatum(source_id)};
	char	   *texts[4] = {NULL};
	bool		found;

	SPI_connect();
	found = SPI_execute_with_args("SELECT s.table_name::oid, s.run_as::oid,"
								  " to_jsonb(s) #>> '{table_was,0}',"	/* 0.1.0 has none */
								  " to_jsonb(s) #>> '{table_was,1}'"
								  " FROM capi.source s WHERE s.id = $1",
								  1, argtypes, args, NULL, true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1;
	for (int i = 0; found && i < 4; i++)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		texts[i] = text != NULL ? MemoryContextStrdup(context, text) : NULL;
	}
	SPI_finish();
	table->relid = texts[0] != NULL ? atooid(texts[0]) : InvalidOid;
	table->run_as = texts[1] != NULL ? atooid(texts[1]) : InvalidOid;
	table->schema_was = texts[2];
	table->name_was = texts[3];
	return found;
}

/*
 * Has another table the name that this one had?  So it is after a change of a
 * schema that makes a new table, copies and renames.
 */
static bool
is_replaced(const SourceTable *table)
{
	Oid			schema;
	Oid			other;

	if (table->schema_was == NULL || table->name_was == NULL)
		return false;
	schema = get_namespace_oid(table->schema_was, true);
	other = OidIsValid(schema) ? get_relname_relid(table->name_was, schema) : InvalidOid;
	return OidIsValid(other) && other != table->relid;
}

/*
 * capi._rule_problem(source int): null, or why the rule of the source cannot be
 * applied to its table as it is now.  Null also while the table is locked by
 * somebody who changes it: who looks must not wait for that.
 */
Datum
capi_sql_rule_problem(PG_FUNCTION_ARGS)
{
	int			source_id = PG_GETARG_INT32(0);
	SourceTable table = {0};
	Oid			relid;
	Oid			run_as;
	Relation	rel;
	const char *problem;

	(void) find_source_table(source_id, &table);
	relid = table.relid;
	run_as = table.run_as;
	if (is_replaced(&table))
		PG_RETURN_TEXT_P(cstring_to_text(psprintf("another table has the name \"%s\" now",
												  quote_qualified_identifier(table.schema_was,
																			 table.name_was))));
	/* events of capi.send() come without a rule */
	if (OidIsValid(relid) && (relid == capi_config_table("direct_event") ||
							  !capi_lock_at_once(relid, AccessShareLock)))
		PG_RETURN_NULL();
	rel = OidIsValid(relid) ? try_relation_open(relid, NoLock) : NULL;
	if (rel == NULL)
		PG_RETURN_TEXT_P(cstring_to_text("the table is gone"));
	problem = table_problem(rel, source_id);
	if (problem == NULL && !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(run_as)))
		problem = "the role that the query of the source runs as does not exist";
	relation_close(rel, AccessShareLock);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/*
 * capi._hides_rows(table_name oid, role oid): does row security of the table
 * apply to what the role reads?
 */
Datum
capi_sql_hides_rows(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			role = PG_GETARG_OID(1);

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) ||
		!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(check_enable_rls(relid, role, true) == RLS_ENABLED);
}
