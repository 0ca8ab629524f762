/*
 * people.c
 *		All people of a custom audience (people.h): the query's rows, hashed as
 *		they come, sorted, and kept until they are handed over.
 *
 * What is kept is hashes, and beyond a few megabytes in temporary files, so that
 * memory does not depend on the length of the list.  It outlives the transaction
 * that ran the query: while the other side takes its time, no snapshot is held.
 * In the order of their keys, people can be compared with those that are known
 * page by page, and nothing but differences is written.
 *
 * Called by run.c in a reader, and for the columns by the check of a new query.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplesort.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "event/customer.h"
#include "event/hash.h"
#include "read/people.h"
#include "read/query.h"
#include "read/row.h"

/* Memory of the sort, and of what is kept after it, in kilobytes. */
#define SORT_KB			(4 * 1024)

/* Different things that can be wrong, and rows that are named for each. */
#define MAX_PROBLEMS	20
#define MAX_NAMED		5

/* One thing that is wrong with values, or rows. */
typedef struct Problem
{
	char	   *field;			/* or "" */
	char	   *what;
	int64		rows;
	int			nnamed;
	char	   *named[MAX_NAMED];	/* keys of the first rows */
} Problem;

/* What is kept of one reading, all in its context. */
typedef struct People
{
	MemoryContext context;
	Tuplesortstate *sort;		/* until the query is read */
	Tuplestorestate *store;		/* from then on */
	TupleDesc	desc;
	TupleTableSlot *slot;
	ResourceOwner owner;		/* of the sort's files, for the transaction */
	int64		people;
	int64		no_consent;
	int64		unusable;
	int			nproblems;
	Problem		problems[MAX_PROBLEMS];
} People;

/* The query's columns that are no fields, and its rows while it runs. */
typedef struct Reading
{
	People	   *people;
	MemoryContext row_context;
	TupleDesc	desc;
	CapiRowReader *reader;
	CapiOrder	order;			/* too large for the stack */
	int			consent;		/* number of the column */
	int			key;			/* of the one by which rows are named, or 0 */
	FmgrInfo	key_out;
	char	   *name;			/* of the present row, or NULL */
} Reading;

/* Of this process: there is one at a time. */
static People *kept = NULL;

/* ---------- columns ---------- */

static int
column_number(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return i + 1;
	return 0;
}

static void
unknown_column(const char *name)
{
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfoString(&list, "consent, key");
	for (int field = 0; field < CAPI_FIELD_COUNT; field++)
		if (capi_customer_cells(field) != 0)
			appendStringInfo(&list, ", %s", capi_field_info(field)->name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("an audience has no use for the column \"%s\"", name),
			 errdetail("Known columns: %s.", list.data),
			 errhint("Leave it out of the query, or name it with AS.")));
}

static void
check_consent(TupleDesc desc)
{
	int			consent = column_number(desc, "consent");

	if (consent == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query does not return a column \"%s\"", "consent"),
				 errdetail("Who has not consented is not in the list: consent is true, false or null for each customer."),
				 errhint("If all have consented say so: true AS consent.")));
	if (getBaseType(TupleDescAttr(desc, consent - 1)->atttypid) != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("consent has type %s", format_type_be(TupleDescAttr(desc, consent - 1)->atttypid)),
				 errdetail("It must be boolean."),
				 errhint("For example: consented_at IS NOT NULL AS consent.")));
}

void
capi_people_check_columns(TupleDesc desc)
{
	int			cells = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);
		int			field = capi_field_lookup(name);
		bool		own = strcmp(name, "consent") == 0 || strcmp(name, "key") == 0;

		if (column_number(desc, name) != i + 1)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the query returns column \"%s\" twice", name),
					 errhint("Name each column once.")));
		if (!own && (field < 0 || capi_customer_cells(field) == 0))
			unknown_column(name);
		if (field >= 0)
			cells |= capi_customer_cells(field);
	}
	check_consent(desc);
	if (!capi_customer_is_enough(cells))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query does not tell who the customers are"),
				 errdetail("Meta finds nobody by a place, a gender, a date of birth or half a name alone."),
				 errhint("Return em, ph or external_id.")));
}

/* Rows are named by numbers, not by what may be a name or an address (P7). */
static bool
may_name(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == UUIDOID ||
		type == NUMERICOID;
}

/* ---------- problems ---------- */

static Problem *
find_problem(People *people, const char *field, const char *what)
{
	Problem    *problem;
	MemoryContext old;

	for (int i = 0; i < people->nproblems; i++)
		if (strcmp(people->problems[i].field, field) == 0 &&
			strcmp(people->problems[i].what, what) == 0)
			return &people->problems[i];
	if (people->nproblems == MAX_PROBLEMS)
		return NULL;
	old = MemoryContextSwitchTo(people->context);
	problem = &people->problems[people->nproblems++];
	problem->field = pstrdup(field);
	problem->what = pstrdup(what);
	MemoryContextSwitchTo(old);
	return problem;
}

/* CapiContentsReport */
static void
note_problem(void *arg, const char *field, const char *what)
{
	Reading    *reading = arg;
	Problem    *problem = find_problem(reading->people, field, what);

	if (problem == NULL)
		return;
	problem->rows++;
	if (reading->name != NULL && problem->nnamed < MAX_NAMED)
		problem->named[problem->nnamed++] = MemoryContextStrdup(reading->people->context,
																reading->name);
}

/* JSON array of what was wrong, or NULL. */
static char *
write_problems(const People *people)
{
	StringInfoData json;

	if (people->nproblems == 0)
		return NULL;
	initStringInfo(&json);
	for (int i = 0; i < people->nproblems; i++)
	{
		const Problem *problem = &people->problems[i];

		appendStringInfoString(&json, i == 0 ? "[{\"field\": " : ", {\"field\": ");
		escape_json(&json, problem->field);
		appendStringInfoString(&json, ", \"problem\": ");
		escape_json(&json, problem->what);
		appendStringInfo(&json, ", \"rows\": " INT64_FORMAT ", \"keys\": [", problem->rows);
		for (int k = 0; k < problem->nnamed; k++)
		{
			appendStringInfoString(&json, k > 0 ? ", " : "");
			escape_json(&json, problem->named[k]);
		}
		appendStringInfoString(&json, "]}");
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}

/* ---------- one row ---------- */

/* Key of a person: a hash of his hashes, as long as that it is no one else's. */
static void
set_key(pg_uuid_t *key, const uint8 *packed, int len)
{
	char		hex[CAPI_HASH_HEX_LEN];

	capi_hash_hex((const char *) packed, len, hex);
	for (int i = 0; i < UUID_LEN; i++)
	{
		char		byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		key->data[i] = (unsigned char) strtol(byte, NULL, 16);
	}
}

static void
keep_person(People *people, const CapiCustomer *customer)
{
	union
	{
		struct varlena varlena;
		char		bytes[VARHDRSZ + CAPI_CUSTOMER_MAX_BYTES];
	}			packed;
	ResourceOwner portal_owner = CurrentResourceOwner;
	pg_uuid_t	key;
	int			len = capi_customer_pack(customer, (uint8 *) VARDATA(&packed.varlena));

	SET_VARSIZE(&packed.varlena, VARHDRSZ + len);
	set_key(&key, (uint8 *) VARDATA(&packed.varlena), len);
	ExecClearTuple(people->slot);
	people->slot->tts_values[0] = UUIDPGetDatum(&key);
	people->slot->tts_values[1] = PointerGetDatum(&packed);
	people->slot->tts_isnull[0] = people->slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(people->slot);
	/* rows come while the portal's is current, and that ends before the sort */
	CurrentResourceOwner = people->owner;
	tuplesort_puttupleslot(people->sort, people->slot);
	CurrentResourceOwner = portal_owner;
	ExecClearTuple(people->slot);
}

static void
take_person(Reading *reading, TupleTableSlot *row)
{
	People	   *people = reading->people;
	CapiCustomer customer;
	bool		isnull;
	Datum		consent = slot_getattr(row, reading->consent, &isnull);

	people->people++;
	if (isnull || !DatumGetBool(consent))
	{
		people->no_consent++;
		return;
	}
	reading->name = NULL;
	if (reading->key > 0)
	{
		Datum		key = slot_getattr(row, reading->key, &isnull);

		reading->name = isnull ? NULL : OutputFunctionCall(&reading->key_out, key);
	}
	memset(&reading->order, 0, sizeof(reading->order));
	capi_row_read(reading->reader, row, &reading->order);
	capi_customer_hash(&reading->order.event, &customer, note_problem, reading);
	if (capi_customer_is_enough(customer.present))
	{
		keep_person(people, &customer);
		return;
	}
	people->unusable++;
	note_problem(reading, "", "nothing that says who it is");
}

/* CapiRowTaker; arg: the reading. */
static bool
take_row(void *arg, TupleTableSlot *row)
{
	Reading    *reading = arg;
	MemoryContext old = MemoryContextSwitchTo(reading->row_context);

	take_person(reading, row);
	MemoryContextSwitchTo(old);
	MemoryContextReset(reading->row_context);
	return true;
}

/* ---------- a reading ---------- */

static void
open_people(People *people)
{
	MemoryContext old = MemoryContextSwitchTo(people->context);
	AttrNumber	column = 1;
	Oid			operator = lookup_type_cache(UUIDOID, TYPECACHE_LT_OPR)->lt_opr;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	people->desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(people->desc, 1, "key", UUIDOID, -1, 0);
	TupleDescInitEntry(people->desc, 2, "packed", BYTEAOID, -1, 0);
	people->slot = MakeSingleTupleTableSlot(people->desc, &TTSOpsVirtual);
	people->sort = tuplesort_begin_heap(people->desc, 1, &column, &operator, &collation,
										&nulls_first, SORT_KB, NULL, TUPLESORT_NONE);
	MemoryContextSwitchTo(old);
}

/* What was sorted goes where it outlives the transaction, each person once. */
static void
store_people(People *people)
{
	MemoryContext old = MemoryContextSwitchTo(people->context);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(people->desc, &TTSOpsMinimalTuple);
	pg_uuid_t	last = {{0}};
	bool		any = false;

	tuplesort_performsort(people->sort);
	people->store = tuplestore_begin_heap(false, true, SORT_KB);
	while (tuplesort_gettupleslot(people->sort, true, false, slot, NULL))
	{
		bool		isnull;
		pg_uuid_t  *key = DatumGetUUIDP(slot_getattr(slot, 1, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (any && memcmp(key, &last, UUID_LEN) == 0)
			continue;
		last = *key;
		any = true;
		tuplestore_puttupleslot(people->store, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplesort_end(people->sort);
	people->sort = NULL;
	ExecDropSingleTupleTableSlot(people->slot);
	people->slot = MakeSingleTupleTableSlot(people->desc, &TTSOpsMinimalTuple);
	/* what is written is written now, with this transaction's resources */
	(void) tuplestore_gettupleslot(people->store, true, false, people->slot);
	ExecClearTuple(people->slot);
	tuplestore_rescan(people->store);
	MemoryContextSwitchTo(old);
}

/* CapiRowsOpener; arg: the reading. */
static void
open_rows(void *arg, TupleDesc desc)
{
	Reading    *reading = arg;
	static const CapiSource nobody = {0};

	capi_people_check_columns(desc);
	reading->desc = desc;
	reading->consent = column_number(desc, "consent");
	reading->key = column_number(desc, "key");
	if (reading->key > 0 && !may_name(TupleDescAttr(desc, reading->key - 1)->atttypid))
		reading->key = 0;
	if (reading->key > 0)
	{
		Oid			out;
		bool		varlena;

		getTypeOutputInfo(TupleDescAttr(desc, reading->key - 1)->atttypid, &out, &varlena);
		fmgr_info(out, &reading->key_out);
	}
	reading->reader = capi_row_open(&nobody, desc);
}

void
capi_people_read(const CapiSource *source, bool only_look)
{
	MemoryContext context;
	Reading    *reading = palloc0(sizeof(Reading));

	capi_people_forget();
	context = AllocSetContextCreate(TopMemoryContext, "capi people", ALLOCSET_DEFAULT_SIZES);
	kept = MemoryContextAllocZero(context, sizeof(People));
	kept->context = context;
	kept->owner = CurrentResourceOwner;
	reading->people = kept;
	if (!only_look)
		open_people(kept);
	reading->row_context = AllocSetContextCreate(CurrentMemoryContext, "capi person",
												 ALLOCSET_DEFAULT_SIZES);
	capi_query_rows(source, only_look, open_rows, take_row, reading);
	MemoryContextDelete(reading->row_context);
	if (!only_look)
		store_people(kept);
}

/*
 * The next of what is kept, in the slot.  What comes from a file is allocated in
 * the context of the moment, and freed with the next one: not in one of a page.
 */
static bool
next_person(void)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);
	bool		any = tuplestore_gettupleslot(kept->store, true, false, kept->slot);

	MemoryContextSwitchTo(old);
	return any;
}

void
capi_people_page(CapiPage *page)
{
	memset(page, 0, sizeof(*page));
	page->keys = palloc(CAPI_PERSON_KEY_BYTES * CAPI_PAGE_PEOPLE);
	page->packed = palloc(sizeof(uint8 *) * CAPI_PAGE_PEOPLE);
	page->packed_len = palloc(sizeof(int) * CAPI_PAGE_PEOPLE);
	while (page->n < CAPI_PAGE_PEOPLE && next_person())
	{
		bool		isnull;
		pg_uuid_t  *key = DatumGetUUIDP(slot_getattr(kept->slot, 1, &isnull));
		bytea	   *packed = DatumGetByteaPP(slot_getattr(kept->slot, 2, &isnull));
		int			len = VARSIZE_ANY_EXHDR(packed);

		memcpy(page->keys[page->n], key->data, UUID_LEN);
		page->packed_len[page->n] = len;
		page->packed[page->n] = palloc(len);
		memcpy(page->packed[page->n++], VARDATA_ANY(packed), len);
	}
	page->is_last = page->n < CAPI_PAGE_PEOPLE;
	page->people = kept->people;
	page->no_consent = kept->no_consent;
	page->unusable = kept->unusable;
	page->problems = page->is_last ? write_problems(kept) : NULL;
}

void
capi_people_forget(void)
{
	People	   *people = kept;

	kept = NULL;
	if (people == NULL)
		return;
	/* its files are the process's; those of a sort went with the transaction */
	if (people->store != NULL)
		tuplestore_end(people->store);
	MemoryContextDelete(people->context);
}
