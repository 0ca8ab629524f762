/*
 * init.c
 *		What happens when the library is loaded.
 *
 * Loaded into a session it gives settings and functions; preloaded by the
 * server it adds shared memory, the launcher and the hooks.  Nothing else
 * belongs here: every line is a call into the module that does the work.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "capture/capture.h"
#include "process/database_hook.h"
#include "process/event_trigger.h"
#include "process/launcher.h"

CAPI_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	/* Always, and first: pg_upgrade and pg_dump must know our settings. */
	capi_guc_init();

	if (process_shared_preload_libraries_in_progress)
	{
		capi_shmem_init();
		capi_hook_init();		/* callbacks; inherited by every process */
		capi_launcher_init();
	}

	/* Once per process, or once in the postmaster when preloading. */
	capi_capture_init();		/* wake at commit, cache invalidation */
	capi_event_trigger_init();
}
