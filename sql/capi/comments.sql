----------------------------------------------------------------------------
-- Comments on everything a user can see.
----------------------------------------------------------------------------

COMMENT ON SEQUENCE capi.dataset_id_seq IS 'numbers of datasets';
COMMENT ON SEQUENCE capi.source_id_seq IS 'numbers of sources';
COMMENT ON SEQUENCE capi.request_id_seq IS 'numbers of requests';
COMMENT ON TABLE capi.dataset IS 'datasets of Meta that events go to';
COMMENT ON TABLE capi.secret IS 'access tokens and app secrets, encrypted under capi.key_file';
COMMENT ON TABLE capi.source IS 'rules that say when a row means an event, and queries that say what the event is';
COMMENT ON TABLE capi.state IS 'how far the queue was read, and whose copy of the database this is';
COMMENT ON TABLE capi.queue_0 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.queue_1 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.queue_2 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.queue_3 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.backlog IS 'events that wait: for a retry, a hold time, a paused or broken thing';
COMMENT ON TABLE capi.context IS 'browser contexts of orders that have no outcome yet';
COMMENT ON TABLE capi.consent IS 'refusals of consent, and what was said after them';
COMMENT ON SEQUENCE capi.direct_event_id_seq IS 'numbers of events of capi.send()';
COMMENT ON TABLE capi.direct_event IS 'events of capi.send() that have no outcome yet, in their final form';
COMMENT ON TABLE capi.direct_name IS 'names of events that capi.send() met first, until they are sources';
COMMENT ON TABLE capi.delivery IS 'one row per finished event with its outcome, partitioned by time';
COMMENT ON TABLE capi.request IS 'one row per HTTP request, partitioned by time';

COMMENT ON SCHEMA capi_reserve IS 'what capture uses while locks on the tables of capi cannot be had';
COMMENT ON TABLE capi_reserve.queue IS 'segment of the queue for when the others cannot be locked';
COMMENT ON TABLE capi_reserve.source IS 'copy of the rules in capi.source, kept by its trigger';
COMMENT ON TRIGGER copy_source ON capi.source IS 'keeps the copy in capi_reserve';
COMMENT ON VIEW capi._queue IS 'all segments of the queue';
COMMENT ON VIEW capi._sources IS 'sources, and those to be made of new names of events';
COMMENT ON VIEW capi._unread IS 'queue rows behind the saved cursor';
COMMENT ON VIEW capi._finished IS 'the delivery log without ignored orders that were captured again';
COMMENT ON VIEW capi._queued IS 'captured events that have neither an outcome nor a place in the backlog';
COMMENT ON VIEW capi.delivery_status IS 'one row per captured event: where it is, and what became of it';
COMMENT ON VIEW capi.request_log IS 'one row per HTTP request to Meta';
COMMENT ON VIEW capi.source_status IS 'one row per source: does it work, and what did it capture';
COMMENT ON VIEW capi.health IS 'one row per dataset: does it send, what waits, and why';

COMMENT ON FUNCTION capi.create_dataset(text, text, text, text, text, text, text, text, int) IS 'makes a dataset known, with its token';
COMMENT ON FUNCTION capi.alter_dataset(text, text, text, text, text, text, text, text, int) IS 'changes a dataset; null leaves a setting as it is, an empty text removes an optional one';
COMMENT ON FUNCTION capi.set_access_token(text, text, text) IS 'sets a new token; a dataset that was paused, or whose token was refused, goes on';
COMMENT ON FUNCTION capi.test_dataset(text, text) IS 'one request to a dataset: connection, token, version, and a test event if it has a code';
COMMENT ON FUNCTION capi.pause_dataset(text) IS 'stops sending to a dataset; its events wait';
COMMENT ON FUNCTION capi.resume_dataset(text) IS 'goes on sending to a dataset';
COMMENT ON FUNCTION capi.drop_dataset(text, text) IS 'forgets a dataset that no source uses; its history stays';
COMMENT ON FUNCTION capi.attach(text, regclass, text, text, text, text[], text, text[], text, interval, boolean, text, text) IS 'watches a table: when a row means an event, and which query reads it';
COMMENT ON FUNCTION capi.alter_source(text, text, text, text[], text, text[], text, interval, boolean, text, text, text, regclass) IS 'changes a source and checks it again; null leaves a setting as it is';
COMMENT ON FUNCTION capi.detach(text) IS 'stops watching; its history stays, waiting events become ignored';
COMMENT ON FUNCTION capi.forget_history(text) IS 'forgets which orders of a source were reported: their keys may come again';
COMMENT ON FUNCTION capi.pause(text) IS 'stops reading the orders of a source; captures go on and wait';
COMMENT ON FUNCTION capi.resume(text) IS 'goes on reading the orders of a source, also of a broken one';
COMMENT ON FUNCTION capi.suggest_query(regclass) IS 'a query for a table whose columns have usual names';
COMMENT ON FUNCTION capi.preview(text, text, int) IS 'what would be sent for real orders, without sending; runs the query as the caller';
COMMENT ON PROCEDURE capi.deliver(interval) IS 'delivers in this session until nothing is due or the time is over; needs no preload';
COMMENT ON FUNCTION capi.normalize(text, text, text) IS 'a value as Meta wants it before hashing; null if it cannot be used';
COMMENT ON FUNCTION capi.hash(text, text, text) IS 'SHA-256 in hexadecimal of the normalised value; null if it cannot be used';
COMMENT ON FUNCTION capi.preview_fields(text, text, int) IS 'capi.preview() with a row for each value: as it is, normalised, as sent, and what is wrong with it';
COMMENT ON FUNCTION capi.match_quality(text, timestamptz) IS 'share of orders that have each match key in a usable form';
COMMENT ON FUNCTION capi.pixel_event(text, text) IS 'name, id and parameters for the browser pixel, equal to what the server sends';
COMMENT ON FUNCTION capi.send(text, jsonb, text) IS 'reports an event that no table shows, in Meta''s own shape; hashed inside the call';
COMMENT ON FUNCTION capi.set_context(text, jsonb, text) IS 'what the web tier knows of an order: cookies, address, browser, page, consent';
COMMENT ON FUNCTION capi.confirm_identity() IS 'after restore or clone: yes, this copy may send';
COMMENT ON FUNCTION capi.redrive(text, text, timestamptz) IS 'sends finished events again: the rejected, expired or ignored ones';
COMMENT ON FUNCTION capi.diagnose() IS 'checks everything that can keep events from being sent, with hints';
COMMENT ON FUNCTION capi.grant_access(regrole, text) IS 'grants a role the duty of writer, reader, operator or admin';
COMMENT ON FUNCTION capi.capture() IS 'trigger function of attached tables; capi.attach() creates the trigger';

SELECT capi._installed();
