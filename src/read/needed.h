/*
 * needed.h
 *		Planning a statement around a source's query so that columns it does not
 *		ask for are not computed.  See needed.c.
 */
#ifndef CAPI_NEEDED_H
#define CAPI_NEEDED_H

#include "executor/spi.h"

/*
 * SPI_execute_plan_extended() for a plan that is run for the first time.  Its
 * statement reads from subqueries; of them and those below them, columns that
 * nobody asks for become null.
 */
extern int	capi_needed_execute(SPIPlanPtr plan, SPIExecuteOptions *options);

#endif							/* CAPI_NEEDED_H */
