/*
 * subxacts.c
 *		A stand-in for an extension that hears of every subtransaction of its
 *		session: it counts them, and refuses them when it is told to.
 *
 * CapiTest::Subxacts builds it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(begun);
PG_FUNCTION_INFO_V1(refuse);

void		_PG_init(void);

static int	number = 0;
static bool refusing = false;

static void
changed(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_START_SUB)
		return;
	number++;
	if (refusing)
		ereport(ERROR, (errmsg("another command is already in progress")));
}

void
_PG_init(void)
{
	RegisterSubXactCallback(changed, NULL);
}

/* begun() int: how many since it was asked last. */
Datum
begun(PG_FUNCTION_ARGS)
{
	int			result = number;

	number = 0;
	PG_RETURN_INT32(result);
}

/* refuse(bool) */
Datum
refuse(PG_FUNCTION_ARGS)
{
	refusing = PG_GETARG_BOOL(0);
	PG_RETURN_VOID();
}
