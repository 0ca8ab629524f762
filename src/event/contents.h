/*
 * contents.h
 *		The parts of an event that are JSON themselves: contents, custom_data
 *		and the objects that are passed on.  Pure; called by normalize.c and
 *		payload.c.
 */
#ifndef CAPI_CONTENTS_H
#define CAPI_CONTENTS_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "event/event.h"

/* Is told what was dropped: where ("contents[].name", not the value), why. */
typedef void (*CapiContentsReport) (void *arg, const char *where,
									const char *problem);

/* How much may be written of a field, and what could not be. */
typedef struct CapiContentsLimit
{
	int			items;			/* that may still be looked at */
	int			end;			/* length of the output behind which none begins */
	int			left_out;		/* items that were not looked at */
} CapiContentsLimit;

/* The text as jsonb, or NULL if it is no JSON.  Never raises for bad input. */
extern Jsonb *capi_contents_parse(const char *text);

/* The text of a scalar; "" for null and what is no scalar. */
extern char *capi_contents_scalar(const JsonbValue *v);

/*
 * Appends the items of a contents text, an array of objects or one object,
 * comma-separated; separate tells to begin with a comma.  Returns their
 * number.  Unknown keys and unusable items are dropped and reported.
 * minor_digits: decimals of prices given in the currency's minor unit.
 * need_quantity: an item without one is dropped.
 */
extern int	capi_contents_append_items(StringInfo out, const char *json,
									   bool separate, int minor_digits,
									   bool need_quantity,
									   CapiContentsLimit *limit,
									   CapiContentsReport report, void *arg);

/*
 * Appends the members of an object field of known members (member.h), each
 * with a comma in front if *separate, which is set once one was written.
 */
extern void capi_contents_append_object(StringInfo out, const char *json,
										int field, bool *separate,
										CapiContentsReport report, void *arg);

/*
 * Appends the members of a JSON object, each with a comma in front if
 * *separate, which is set once one was written.  reserve: names that belong to
 * a standard field of custom_data are dropped and reported.
 */
extern void capi_contents_append_members(StringInfo out, const char *json,
										 bool reserve, bool *separate,
										 CapiContentsReport report,
										 void *arg);

/*
 * Fills values with the member of that name of a JSON object, if it is there:
 * a scalar, or the scalars of an array, null ones as empty texts.
 */
extern void capi_contents_hoist(const char *json, const char *name,
								CapiValues *values);

#endif							/* CAPI_CONTENTS_H */
