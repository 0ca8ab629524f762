/*
 * customer.h
 *		One customer of a custom audience: the hashes that Meta's list takes of
 *		him (SPEC 9.4), made of the values a query returned.  Pure.
 *
 * Normalised as in events; other are only the names of the keys, and that a date
 * of birth is three.  Called by read/ (hashing) and send/ (the request).
 */
#ifndef CAPI_CUSTOMER_H
#define CAPI_CUSTOMER_H

#include "lib/stringinfo.h"

#include "event/contents.h"
#include "event/event.h"

typedef enum CapiCell
{
	CAPI_CELL_EMAIL,
	CAPI_CELL_PHONE,
	CAPI_CELL_FN,
	CAPI_CELL_LN,
	CAPI_CELL_GEN,
	CAPI_CELL_DOBY,
	CAPI_CELL_DOBM,
	CAPI_CELL_DOBD,
	CAPI_CELL_CT,
	CAPI_CELL_ST,
	CAPI_CELL_ZIP,
	CAPI_CELL_COUNTRY,
	CAPI_CELL_EXTERN_ID,
	CAPI_CELL_COUNT
} CapiCell;

#define CAPI_CELL_BYTES		32	/* of SHA-256 */
#define CAPI_CELL_BIT(cell)	(1 << (cell))

/* Packed: two bytes that say which cells there are, and these. */
#define CAPI_CUSTOMER_MAX_BYTES	(2 + CAPI_CELL_COUNT * CAPI_CELL_BYTES)

typedef struct CapiCustomer
{
	int			present;		/* CAPI_CELL_BIT of each cell there is */
	uint8		cells[CAPI_CELL_COUNT][CAPI_CELL_BYTES];
} CapiCustomer;

/* Meta's names of the keys, by CapiCell. */
extern const char *const capi_cell_names[CAPI_CELL_COUNT];

/* Cells that a field (CapiField) is sent as, bits; 0: a list has none for it. */
extern int	capi_customer_cells(int field);

/* Do these cells say who it is?  By the rule for events, SPEC 3.1. */
extern bool capi_customer_is_enough(int present);

/*
 * Hashes what values hold, in the current memory context.  Is told what could
 * not be used; never with a value.
 */
extern void capi_customer_hash(CapiEvent *values, CapiCustomer *customer,
							   CapiContentsReport report, void *arg);

/* Into, and out of, CAPI_CUSTOMER_MAX_BYTES at most; false for other bytes. */
extern int	capi_customer_pack(const CapiCustomer *customer, uint8 *packed);
extern bool capi_customer_unpack(const uint8 *packed, int len,
								 CapiCustomer *customer);

#endif							/* CAPI_CUSTOMER_H */
