/*
 * reader.c
 *		The process that runs the shop's queries (P13): connects, takes portions
 *		of orders from the process that sends, and hands them to read/run.c.
 *
 * Started by read/pool.c as a dynamic background worker with a segment of
 * shared memory (read/link.h).  Ends when the other side lets go of it.  Holds
 * no token and no connection; its memory is limited, so that a query which wants
 * more gets an ordinary error and the server none.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/resource.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* for background workers */
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"

#include "base/guc.h"
#include "base/pinned.h"
#include "base/test_point.h"
#include "process/reader.h"
#include "read/link.h"
#include "read/run.h"

/* Takes the queues of the segment; does not return when it is gone. */
static CapiLinkShared *
attach_link(dsm_handle handle, shm_mq_handle **requests, shm_mq_handle **answers)
{
	dsm_segment *segment = dsm_attach(handle);
	shm_toc    *toc;
	shm_mq	   *mq;

	if (segment == NULL)
		proc_exit(0);
	dsm_pin_mapping(segment);
	toc = shm_toc_attach(CAPI_LINK_MAGIC, dsm_segment_address(segment));
	if (toc == NULL)
		proc_exit(0);
	mq = shm_toc_lookup(toc, CAPI_LINK_REQUESTS, false);
	shm_mq_set_receiver(mq, MyProc);
	*requests = shm_mq_attach(mq, segment, NULL);
	mq = shm_toc_lookup(toc, CAPI_LINK_ANSWERS, false);
	shm_mq_set_sender(mq, MyProc);
	*answers = shm_mq_attach(mq, segment, NULL);
	return shm_toc_lookup(toc, CAPI_LINK_SHARED, false);
}

/*
 * Memory of this process alone; shared memory does not count.  What cannot be
 * limited is not: it is one of several bounds.
 */
static void
limit_memory(void)
{
#ifdef RLIMIT_DATA
	struct rlimit limit;

	if (getrlimit(RLIMIT_DATA, &limit) != 0)
		return;
	limit.rlim_cur = Min(limit.rlim_max, (rlim_t) capi_reader_memory * 1024);
	(void) setrlimit(RLIMIT_DATA, &limit);
#endif
}

void
capi_reader_main(Datum main_arg)
{
	MemoryContext request_context;
	CapiLinkShared *shared;
	shm_mq_handle *requests;
	shm_mq_handle *answers;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "capi reader");
	shared = attach_link(DatumGetUInt32(main_arg), &requests, &answers);
	BackgroundWorkerInitializeConnectionByOid(shared->dboid, InvalidOid, 0);
	capi_pinned_for_process(CAPI_PINNED_READER, "capi reader");
	/* a migration that holds a table of the shop is not waited for longer */
	SetConfigOption("lock_timeout", "1s", PGC_SUSET, PGC_S_OVERRIDE);
	limit_memory();
	capi_run_init(shared, answers);
	CAPI_TEST_POINT("a reader connected");
	request_context = AllocSetContextCreate(TopMemoryContext, "capi request",
											ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		CapiRequest request;
		Size		len;
		void	   *data;

		(void) capi_guc_reload();
		pgstat_report_activity(STATE_IDLE, NULL);
		if (shm_mq_receive(requests, &len, &data, false) != SHM_MQ_SUCCESS)
			proc_exit(0);
		CAPI_TEST_POINT("a reader got a portion");
		MemoryContextReset(request_context);
		MemoryContextSwitchTo(request_context);
		capi_portion_read_request(data, (int) len, &request);
		capi_run_portion(&request);
		CAPI_TEST_POINT("a reader has answered");
	}
}
