/*
 * list.h
 *		Lists of values that came as one text: JSON, or an array as the server
 *		prints it.  Pure; called by payload.c and normalize_sql.c.
 */
#ifndef CAPI_LIST_H
#define CAPI_LIST_H

#include "event/contents.h"
#include "event/event.h"

/*
 * Puts the members of such texts in their place, among the values of a field
 * that is sent as a list.  A text that is another kind of structure is left
 * out; report is told, with an empty name for the field itself.
 */
extern void capi_list_expand(int field, CapiValues *values,
							 CapiContentsReport report, void *arg);

#endif							/* CAPI_LIST_H */
