/*
 * needed.c
 *		Columns that nobody asks for are not computed.
 *
 * The planner drops an unused column of a subquery by itself, but not one that
 * calls a volatile function, which every function is that nobody declared
 * otherwise.  Here it may: what such a function does besides is none of a
 * report's business, and it may take a second for each order.  So in the tree
 * that the planner is given, those columns become null: in the source's query,
 * and in the views that it reads.
 *
 * Columns that decide which rows there are stay: what is sorted, grouped or made
 * distinct by, sets of rows, parts of a UNION.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"

#include "read/needed.h"

/* Looks for columns of one entry of a query's range table. */
typedef struct Search
{
	Query	   *query;
	int			rtindex;
	int			depth;			/* of queries below it */
	Bitmapset  *used;			/* numbers of columns */
	bool		all;
} Search;

static planner_hook_type previous_planner;

static void drop_unused(Query *query);

static bool find_used(Node *node, Search *search);

static bool
note_var(Var *var, Search *search)
{
	RangeTblEntry *rte;

	if ((int) var->varlevelsup != search->depth)
		return false;
	if (var->varno == search->rtindex)
	{
		search->all |= var->varattno <= 0;
		search->used = bms_add_member(search->used, Max(var->varattno, 0));
		return false;
	}
	rte = rt_fetch(var->varno, search->query->rtable);
	if (rte->rtekind == RTE_JOIN)
	{
		int			depth = search->depth;

		/* what stands behind a column of a join is of the join's own query */
		search->depth = 0;
		if (var->varattno <= 0)
			find_used((Node *) rte->joinaliasvars, search);
		else
			find_used(list_nth(rte->joinaliasvars, var->varattno - 1), search);
		search->depth = depth;
	}
	return false;
}

static bool
find_used(Node *node, Search *search)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return note_var((Var *) node, search);
	if (IsA(node, Query))
	{
		search->depth++;
		query_tree_walker((Query *) node, find_used, search, QTW_IGNORE_JOINALIASES);
		search->depth--;
		return false;
	}
	return expression_tree_walker(node, find_used, search);
}

static void
drop_columns(Query *subquery, const Search *search)
{
	ListCell   *lc;

	if (search->all || subquery->setOperations != NULL)
		return;
	foreach(lc, subquery->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		Node	   *expr = (Node *) tle->expr;

		if (!bms_is_member(tle->resno, search->used) && tle->ressortgroupref == 0 &&
			!expression_returns_set(expr))
			tle->expr = (Expr *) makeNullConst(exprType(expr), exprTypmod(expr),
											   exprCollation(expr));
	}
}

static void
drop_unused(Query *query)
{
	int			rtindex = 0;
	ListCell   *lc;

	if (query->commandType != CMD_SELECT || query->setOperations != NULL)
		return;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		Search		search = {.query = query, .rtindex = ++rtindex};

		if (rte->rtekind != RTE_SUBQUERY)
			continue;
		query_tree_walker(query, find_used, &search, QTW_IGNORE_JOINALIASES);
		drop_columns(rte->subquery, &search);
		drop_unused(rte->subquery);
	}
}

/* Of the one statement that it was set for. */
static PlannedStmt *
plan_needed(Query *parse, const char *query_string, int cursor_options,
			ParamListInfo params)
{
	planner_hook = previous_planner;
	drop_unused(parse);
	return planner_hook != NULL ?
		planner_hook(parse, query_string, cursor_options, params) :
		standard_planner(parse, query_string, cursor_options, params);
}

static void
remove_hook(void)
{
	if (planner_hook == plan_needed)
		planner_hook = previous_planner;
}

int
capi_needed_execute(SPIPlanPtr plan, SPIExecuteOptions *options)
{
	int			result;

	previous_planner = planner_hook;
	planner_hook = plan_needed;
	PG_TRY();
	{
		result = SPI_execute_plan_extended(plan, options);
	}
	PG_CATCH();
	{
		remove_hook();
		PG_RE_THROW();
	}
	PG_END_TRY();
	remove_hook();
	return result;
}
