/*
 * query_text.c
 *		What the text of a query tells before it is run: mistakes that no check
 *		without orders finds, because only an order makes them an error.
 *
 * Looks at the tree of the grammar, reads nothing and runs nothing of the
 * shop's.  Called by check.c and look.c.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/pinned.h"
#include "call/query_text.h"

/* A constant that stands where a time zone does. */
typedef struct Zone
{
	char	   *name;
	int			location;		/* in the query, bytes */
} Zone;

static SelectStmt *
parse(const char *query)
{
	int			nest_level = NewGUCNestLevel();
	List	   *parsed;

	/* with the meaning that it has when it is run */
	capi_pinned_locally(CAPI_PINNED_QUERY, GUC_ACTION_SAVE);
	parsed = raw_parser(query, RAW_PARSE_DEFAULT);
	AtEOXact_GUC(false, nest_level);
	return (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
}

/* ---------- time zones ---------- */

/* Which argument of the function is a time zone; -1: none. */
static int
zone_argument(FuncCall *call)
{
	const char *name = strVal(llast(call->funcname));
	int			nargs = list_length(call->args);

	if (strcmp(name, "timezone") == 0 && nargs == 2)
		return 0;				/* AT TIME ZONE, too */
	if (strcmp(name, "date_trunc") == 0 && nargs == 3)
		return 2;
	if (strcmp(name, "make_timestamptz") == 0 && nargs == 7)
		return 6;
	return -1;
}

/* The text that an argument is, if it is one that can be read here. */
static A_Const *
text_constant(Node *arg)
{
	if (IsA(arg, TypeCast))
	{
		TypeCast   *cast = (TypeCast *) arg;
		const char *type = strVal(llast(cast->typeName->names));

		if (strcmp(type, "text") != 0 && strcmp(type, "varchar") != 0)
			return NULL;
		arg = cast->arg;
	}
	if (!IsA(arg, A_Const) || ((A_Const *) arg)->isnull ||
		!IsA(&((A_Const *) arg)->val, String))
		return NULL;
	return (A_Const *) arg;
}

/* Walker of the tree; context: the list of zones. */
static bool
find_zones(Node *node, void *context)
{
	List	  **zones = context;

	if (node == NULL)
		return false;
	if (IsA(node, FuncCall))
	{
		FuncCall   *call = (FuncCall *) node;
		int			at = zone_argument(call);
		A_Const    *text = at < 0 ? NULL : text_constant(list_nth(call->args, at));

		if (text != NULL)
		{
			Zone	   *zone = palloc(sizeof(Zone));

			zone->name = text->val.sval.sval;
			zone->location = text->location;
			*zones = lappend(*zones, zone);
		}
	}
	return raw_expression_tree_walker(node, find_zones, context);
}

/* What find_all_zones() works on. */
typedef struct ZoneSearch
{
	SelectStmt *select;
	List	   *zones;
} ZoneSearch;

static void
find_all_zones(void *arg)
{
	ZoneSearch *search = arg;

	(void) find_zones((Node *) search->select, &search->zones);
}

static void
use_zone(void *arg)
{
	(void) DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum((char *) arg),
							   TimestampTzGetDatum(GetCurrentTimestamp()));
}

void
capi_query_text_check_zones(const char *query)
{
	ZoneSearch	search = {.select = parse(query)};
	ListCell   *lc;

	/* a node that the server's walker does not know is no error of the query */
	(void) capi_attempt(find_all_zones, &search);
	foreach(lc, search.zones)
	{
		Zone	   *zone = lfirst(lc);

		if (capi_attempt(use_zone, zone->name) == NULL)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query names an unknown time zone \"%s\"", zone->name),
				 errhint("Take a name from pg_timezone_names, for example Europe/Berlin or UTC."),
				 zone->location < 0 ? 0 :
				 internalerrposition(pg_mbstrlen_with_len(query, zone->location) + 1),
				 zone->location < 0 ? 0 : internalerrquery(query)));
	}
}

/* ---------- some of the orders ---------- */

static bool
is_absent(Node *count)
{
	return count == NULL || (IsA(count, A_Const) && ((A_Const *) count)->isnull);
}

/* The query that WITH gives the name, or NULL. */
static SelectStmt *
find_with(WithClause *with, const char *name)
{
	ListCell   *lc;

	foreach(lc, with != NULL ? with->ctes : NIL)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (strcmp(cte->ctename, name) == 0 && IsA(cte->ctequery, SelectStmt))
			return (SelectStmt *) cte->ctequery;
	}
	return NULL;
}

/* What the orders are read from: the first of what is joined. */
static Node *
first_from(SelectStmt *select)
{
	Node	   *from = select->fromClause != NIL ? linitial(select->fromClause) : NULL;

	while (from != NULL && IsA(from, JoinExpr))
		from = ((JoinExpr *) from)->larg;
	return from;
}

/* The expression of the target of that name or number, or NULL. */
static Node *
find_target(SelectStmt *select, const char *name, int number)
{
	ListCell   *lc;

	foreach(lc, select->targetList)
	{
		ResTarget  *target = lfirst_node(ResTarget, lc);

		if (--number == 0 ||
			(name != NULL && target->name != NULL && strcmp(target->name, name) == 0))
			return target->val;
	}
	return NULL;
}

/* What an expression of DISTINCT ON means: a target's name or number. */
static Node *
resolve(SelectStmt *select, Node *expression)
{
	Node	   *target = NULL;

	if (IsA(expression, ColumnRef) &&
		list_length(((ColumnRef *) expression)->fields) == 1 &&
		IsA(linitial(((ColumnRef *) expression)->fields), String))
		target = find_target(select, strVal(linitial(((ColumnRef *) expression)->fields)), 0);
	else if (IsA(expression, A_Const) && IsA(&((A_Const *) expression)->val, Integer))
		target = find_target(select, NULL, intVal(&((A_Const *) expression)->val));
	return target != NULL ? target : expression;
}

/* DISTINCT ON something else than the key: of several orders one is left. */
static bool
drops_orders(SelectStmt *select)
{
	Node	   *key = find_target(select, "key", 0);
	ListCell   *lc;

	/* of plain DISTINCT the list holds NULL */
	if (select->distinctClause == NIL || linitial(select->distinctClause) == NULL ||
		key == NULL)
		return false;
	foreach(lc, select->distinctClause)
		if (equal(resolve(select, lfirst(lc)), key))
			return false;
	return true;
}

const char *
capi_query_text_limit(const char *query)
{
	SelectStmt *select = parse(query);

	/* one that names itself would go round; nobody nests as deeply */
	for (int depth = 0; select != NULL && depth < 20; depth++)
	{
		Node	   *from;

		if (!is_absent(select->limitCount) || !is_absent(select->limitOffset))
			return "LIMIT";
		if (drops_orders(select))
			return "DISTINCT ON";
		from = first_from(select);
		if (from != NULL && IsA(from, RangeTableSample))
			return "TABLESAMPLE";
		if (from != NULL && IsA(from, RangeSubselect) &&
			IsA(((RangeSubselect *) from)->subquery, SelectStmt))
			select = (SelectStmt *) ((RangeSubselect *) from)->subquery;
		else if (from != NULL && IsA(from, RangeVar) &&
				 ((RangeVar *) from)->schemaname == NULL)
			select = find_with(select->withClause, ((RangeVar *) from)->relname);
		else
			return NULL;
	}
	return NULL;
}
