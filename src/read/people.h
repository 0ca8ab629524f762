/*
 * people.h
 *		In a reader: all people of a custom audience, hashed.  See people.c.
 */
#ifndef CAPI_PEOPLE_H
#define CAPI_PEOPLE_H

#include "read/portion.h"

/*
 * Inside a transaction with SPI: runs the query to its end and keeps what it
 * returned, hashed and in order; only_look: looks at its columns and rights.
 * Raises what is wrong.
 */
extern void capi_people_read(const CapiSource *source, bool only_look);

/*
 * Fills the next page of what was kept, allocated in the current context; no
 * transaction is needed.  The last one says so.
 */
extern void capi_people_page(CapiPage *page);

/* Lets go of what is kept; also after an error. */
extern void capi_people_forget(void);

/*
 * Raises 42703 or 42804 unless rows of this shape say who consents and who it
 * is, and nothing that a list has no place for.
 */
extern void capi_people_check_columns(TupleDesc desc);

#endif							/* CAPI_PEOPLE_H */
