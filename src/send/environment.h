/*
 * environment.h
 *		What the environment may not tell the libraries that send.
 */
#ifndef CAPI_ENVIRONMENT_H
#define CAPI_ENVIRONMENT_H

/* Before the first use of libcurl in a process. */
extern void capi_environment_clear(void);

#endif							/* CAPI_ENVIRONMENT_H */
