/*
 * rule.h
 *		The rules that watch one table, ready to be asked for each row.
 */
#ifndef CAPI_RULE_H
#define CAPI_RULE_H

#include "fmgr.h"
#include "utils/rel.h"

#include "base/key.h"

#define CAPI_MAX_KEY_COLUMNS	8

typedef struct CapiRule
{
	int			source_id;
	bool		fire_on_replica;
	const char *problem;		/* NULL, or why the rule cannot be applied */
	bool		condition_broken;	/* the problem is in the members below */
	AttrNumber	on_att;			/* 0: every insert */
	int			nvalues;		/* -1: becoming non-null */
	Datum	   *values;
	FmgrInfo	eq;
	Oid			collation;
	bool		on_byval;
	int16		on_len;
	CapiKeyForm key_form;
	int			nkeys;
	AttrNumber	key_att[CAPI_MAX_KEY_COLUMNS];
	FmgrInfo	key_out[CAPI_MAX_KEY_COLUMNS];
	bool		key_varies;		/* see capi_key_varies() */
	bool		key_may_fail;	/* a key's output function may raise an error */
	bool		eq_may_fail;	/* and eq */
	uint64		noted_xid;		/* capture.c: who noted a miss last */
	SubTransactionId noted_subxid;
} CapiRule;

typedef struct CapiTableRules
{
	Oid			relid;			/* hash key */
	bool		valid;
	int			nrules;
	CapiRule   *rules;
	MemoryContext context;
} CapiTableRules;

extern void capi_rule_init(void);

/*
 * Rules of a table, or of the partitioned tables above it.  Never raises for
 * anything the shop's tables look like.  NULL when they could not be read.
 */
extern CapiTableRules *capi_rule_lookup(Relation rel);

#endif							/* CAPI_RULE_H */
