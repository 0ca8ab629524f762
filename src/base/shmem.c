/*
 * shmem.c
 *		Shared memory of capi: asked for when the library is preloaded, and set up.
 *
 * What is in it stands in shared.h; slot.c, dispatcher_wake.c and missed.c work
 * on it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "base/capi.h"
#include "base/shared.h"
#include "base/shmem.h"

CapiShared *capi_shared = NULL;

int			capi_my_slot = -1;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void request_memory(void);
static void set_up_memory(void);

void
capi_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = set_up_memory;
}

bool
capi_shmem_available(void)
{
	return capi_shared != NULL;
}

static void
request_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(MAXALIGN(sizeof(CapiShared)));
	RequestNamedLWLockTranche("capi", 1);
}

static void
set_up_memory(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	capi_shared = ShmemInitStruct("capi", sizeof(CapiShared), &found);
	if (!found)
	{
		memset(capi_shared, 0, sizeof(CapiShared));
		capi_shared->lock = &(GetNamedLWLockTranche("capi"))->lock;
		ConditionVariableInit(&capi_shared->detached);
		pg_atomic_init_u32(&capi_shared->launcher_procno, 0);
		pg_atomic_init_u32(&capi_shared->wake_changes, 0);
		pg_atomic_init_u32(&capi_shared->wanted_by, InvalidOid);
		pg_atomic_init_u64(&capi_shared->wanted_at, 0);
		for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		{
			pg_atomic_init_u64(&capi_shared->wake[i], 0);
			pg_atomic_init_u32(&capi_shared->armed[i], 0);
			pg_atomic_init_u32(&capi_shared->missed[i].dboid, 0);
			pg_atomic_init_u64(&capi_shared->missed[i].rows, 0);
			pg_atomic_init_u32(&capi_shared->slots[i].recheck, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}
