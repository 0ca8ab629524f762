/*
 * event_name.c
 *		Names of events of capi.send(): which source each of them is.
 *
 * DESIGN
 *
 * Each name of event of a dataset is a source, so that one order_key is one
 * event of that name (P5).  Two transactions that use a new name at once must
 * agree on its source, and neither may wait for the other.  So the number is
 * computed from the names, and is the same for both; each leaves a row in
 * capi.direct_name, and the dispatcher makes the source when it meets the first
 * event of it (capi._adopt_event_names).  Numbers of these sources are
 * negative.  When the number is another's already, the next one is taken.
 *
 * The tables are read by plain scans with a dirty snapshot: it sees what is
 * committed now, whatever snapshot the caller's transaction has, waits for no
 * row, and leaves nothing behind that would fail a serializable transaction.
 * What others have not committed counts towards the limit, but is not relied
 * upon: it may be rolled back.
 *
 * Called by send.c and config.c.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "base/nearest.h"
#include "base/txn.h"
#include "event/hash.h"
#include "store/config.h"
#include "store/event_name.h"
#include "store/soon.h"

/* Columns, in the order of sql/capi/tables.sql. */
#define D_ID			1
#define D_NAME			2
#define D_DROPPED_AT	13
#define S_ID			1
#define S_DATASET_ID	4
#define S_EVENT_NAME	5
#define S_DETACHED_AT	23
#define N_SOURCE_ID		1
#define N_DATASET_ID	2
#define N_EVENT_NAME	3

/* What the scans look for, and what they found. */
typedef struct Search
{
	const char *dataset;
	const char *event_name;
	int			dataset_id;		/* 0: unknown */
	List	   *datasets;		/* names of all */
	int			wanted;			/* number of the name */
	bool		in_use;			/* it is a source */
	bool		noted;			/* it is in capi.direct_name, for certain */
	bool		taken;			/* the number is another name's */
	int			n;
	int			ids[CAPI_MAX_EVENT_NAMES];	/* other names of the dataset */
} Search;

/* settled: the row is committed, or this transaction's own */
typedef void (*RowVisitor) (Search *search, TupleTableSlot *slot, bool settled);

static void
visit_rows(const char *table, RowVisitor visit, Search *search)
{
	Relation	rel = table_open(capi_config_table(table), NoLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	SnapshotData dirty;
	TableScanDesc scan;

	InitDirtySnapshot(dirty);
	scan = table_beginscan(rel, &dirty, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		visit(search, slot, !TransactionIdIsValid(dirty.xmin));
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
}

static int
int_column(TupleTableSlot *slot, int column)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(slot, column, &isnull));
}

static bool
column_is(TupleTableSlot *slot, int column, const char *wanted)
{
	bool		isnull;
	text	   *value = DatumGetTextPP(slot_getattr(slot, column, &isnull));
	size_t		len = VARSIZE_ANY_EXHDR(value);

	return len == strlen(wanted) && memcmp(VARDATA_ANY(value), wanted, len) == 0;
}

static bool
is_null(TupleTableSlot *slot, int column)
{
	bool		isnull;

	(void) slot_getattr(slot, column, &isnull);
	return isnull;
}

/* ---------- the dataset ---------- */

static void
visit_dataset(Search *search, TupleTableSlot *slot, bool settled)
{
	bool		isnull;

	if (!settled || !is_null(slot, D_DROPPED_AT))
		return;
	if (column_is(slot, D_NAME, search->dataset))
		search->dataset_id = int_column(slot, D_ID);
	search->datasets = lappend(search->datasets,
							   TextDatumGetCString(slot_getattr(slot, D_NAME, &isnull)));
}

/* In the words of capi._dataset(). */
static void
unknown_dataset(Search *search)
{
	int			n = 0;
	const char **names = palloc(sizeof(char *) * (list_length(search->datasets) + 1));
	StringInfoData known;
	const char *nearest;
	ListCell   *lc;

	initStringInfo(&known);
	foreach(lc, search->datasets)
	{
		appendStringInfo(&known, "%s%s", n > 0 ? ", " : "", (char *) lfirst(lc));
		names[n++] = lfirst(lc);
	}
	nearest = capi_nearest(search->dataset, names, n);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("dataset \"%s\" does not exist", search->dataset),
			 n == 0 ? errdetail("There are no datasets yet.") :
			 errdetail("Known datasets: %s.", known.data),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("Create it with capi.create_dataset().")));
}

/* ---------- the name ---------- */

/* Counts a name of the dataset once; more than fit need not be told apart. */
static void
count_name(Search *search, int id)
{
	for (int i = 0; i < search->n; i++)
		if (search->ids[i] == id)
			return;
	if (search->n < CAPI_MAX_EVENT_NAMES && id != search->wanted)
		search->ids[search->n++] = id;
}

static void
visit_source(Search *search, TupleTableSlot *slot, bool settled)
{
	int			id = int_column(slot, S_ID);
	bool		detached = !is_null(slot, S_DETACHED_AT);
	bool		ours = int_column(slot, S_DATASET_ID) == search->dataset_id;

	if (id > 0)
		return;
	if (column_is(slot, S_EVENT_NAME, search->event_name) &&
		(ours || (id == search->wanted && detached)))
	{
		/* a dataset of that name may have been dropped and made again */
		search->wanted = id;
		search->in_use |= settled && ours && !detached;
	}
	else if (id == search->wanted)
		search->taken = true;
	else if (ours && !detached)
		count_name(search, id);
}

static void
visit_name(Search *search, TupleTableSlot *slot, bool settled)
{
	int			id = int_column(slot, N_SOURCE_ID);
	bool		ours = int_column(slot, N_DATASET_ID) == search->dataset_id;

	if (ours && column_is(slot, N_EVENT_NAME, search->event_name))
	{
		search->wanted = id;
		search->noted |= settled;
	}
	else if (id == search->wanted)
		search->taken = true;
	else if (ours)
		count_name(search, id);
}

/* The same on every machine: a dump may be restored on another. */
static int
compute_number(const Search *search)
{
	char	   *both = psprintf("%s\001%s", search->dataset, search->event_name);
	char	   *text = capi_to_utf8(both);
	char		hex[CAPI_HASH_HEX_LEN + 1] = "";

	capi_hash_hex(text, strlen(text), hex);
	hex[8] = '\0';
	return -1 - (int) (strtoul(hex, NULL, 16) & 0x3fffffff);
}

static void
find_name(Search *search)
{
	search->wanted = compute_number(search);
	do
	{
		if (search->taken)
			search->wanted--;
		search->taken = false;
		search->n = 0;
		visit_rows("source", visit_source, search);
		if (!search->in_use)
			visit_rows("direct_name", visit_name, search);
	} while (search->taken && !search->in_use);
}

static void
note_name(const Search *search)
{
	Relation	rel = table_open(capi_config_table("direct_name"), NoLock);
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	values[N_SOURCE_ID - 1] = Int32GetDatum(search->wanted);
	values[N_DATASET_ID - 1] = Int32GetDatum(search->dataset_id);
	values[N_EVENT_NAME - 1] = CStringGetTextDatum(search->event_name);
	simple_heap_insert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
}

static void
lock_tables(void)
{
	static const char *const read[] = {"dataset", "source"};
	static const char *const written[] = {"direct_name", "direct_event", "direct_event_id_seq"};
	const char *locked = NULL;

	for (size_t i = 0; i < lengthof(read) && locked == NULL; i++)
		if (!capi_lock_soon(read[i], AccessShareLock))
			locked = read[i];
	for (size_t i = 0; i < lengthof(written) && locked == NULL; i++)
		if (!capi_lock_soon(written[i], RowExclusiveLock))
			locked = written[i];
	if (locked != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not store the event"),
				 errdetail("Another session holds a lock on table \"capi.%s\".", locked),
				 errhint("Try again when it is done.")));
}

int
capi_event_name_source(const char *dataset, const char *event_name)
{
	Search		search = {.dataset = dataset, .event_name = event_name};

	lock_tables();
	visit_rows("dataset", visit_dataset, &search);
	if (search.dataset_id == 0)
		unknown_dataset(&search);
	find_name(&search);
	if (search.in_use || search.noted)
		return search.wanted;
	if (search.n >= CAPI_MAX_EVENT_NAMES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("dataset \"%s\" has too many names of events", dataset),
				 errdetail("capi.send() takes %d names of events for a dataset; \"%s\" would be one more.",
						   CAPI_MAX_EVENT_NAMES, event_name),
				 errhint("Put what differs from event to event into custom_data.")));
	note_name(&search);
	return search.wanted;
}

/* ---------- the dispatcher ---------- */

void
capi_event_name_adopt(void)
{
	Relation	rel = table_open(capi_config_table("direct_name"), AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, AccessShareLock);
	if (empty)
		return;
	if (capi_txn_execute("SELECT capi._adopt_event_names() FROM capi.direct_name LIMIT 1",
						 false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not make sources of names of events");
	SPI_freetuptable(SPI_tuptable);
}
