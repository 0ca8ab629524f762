/*
 * run.h
 *		A reader's work on one portion.  See run.c.
 */
#ifndef CAPI_RUN_H
#define CAPI_RUN_H

#include "read/link.h"
#include "read/portion.h"

/* Once, when the process is connected. */
extern void capi_run_init(CapiLinkShared *shared, shm_mq_handle *answers);

/*
 * Reads the orders of a request and answers it.  No transaction is open before
 * or after.  What the shop's code does is answered, not raised; ends the process
 * when it is told to, or when nobody listens any more.
 */
extern void capi_run_portion(const CapiRequest *request);

#endif							/* CAPI_RUN_H */
