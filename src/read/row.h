/*
 * row.h
 *		From a row that a source's query returned to the raw values of an order.
 *		See row.c.
 */
#ifndef CAPI_ROW_H
#define CAPI_ROW_H

#include "executor/tuptable.h"

#include "event/order.h"
#include "store/config.h"

typedef struct CapiRowReader CapiRowReader;

/* For rows of this shape; lives in the current memory context. */
extern CapiRowReader *capi_row_open(const CapiSource *source, TupleDesc desc);

/*
 * Text of the row's key, or NULL for none; *value is the key itself, *type and
 * *collation those of its column.
 */
extern char *capi_row_key(CapiRowReader *reader, TupleTableSlot *row, Datum *value,
						  Oid *type, Oid *collation);

/*
 * Fills the order, which is zeroed, with copies in the current memory context.
 * Values that are longer than what is ever sent are not even fetched.
 */
extern void capi_row_read(CapiRowReader *reader, TupleTableSlot *row, CapiOrder *order);

#endif							/* CAPI_ROW_H */
