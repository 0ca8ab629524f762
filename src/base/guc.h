/*
 * guc.h
 *		All settings of capi (DESIGN of the settings: doc/settings.md).
 *		Variables are named like the settings.
 */
#ifndef CAPI_GUC_H
#define CAPI_GUC_H

extern char *capi_api_version;
extern char *capi_ca_file;
extern char *capi_databases;
extern char *capi_key_file;
extern char *capi_only_on;
extern bool capi_allow_http;
extern bool capi_enabled;
extern bool capi_local_checks;
extern int	capi_connect_timeout;	/* ms */
extern int	capi_context_retention;	/* minutes */
extern int	capi_context_size;		/* kB */
extern int	capi_linger;			/* ms */
extern int	capi_max_in_flight;
extern int	capi_missing_wait;
extern int	capi_poll_interval;		/* ms */
extern int	capi_query_timeout;		/* ms */
extern int	capi_reader_memory;		/* kB */
extern int	capi_readers;
extern int	capi_request_timeout;	/* ms */
extern int	capi_retention;			/* minutes */
extern int	capi_stats_interval;	/* s; 0: nothing is asked */

/* Defines every setting; called from _PG_init whether preloaded or not. */
extern void capi_guc_init(void);

/* In a worker: reads the configuration again if it was told to; true if so. */
extern bool capi_guc_reload(void);

#endif							/* CAPI_GUC_H */
