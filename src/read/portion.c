/*
 * portion.c
 *		Messages between dispatcher and reader, to bytes and back (portion.h).
 *
 * Knows neither side.  The bytes are the server's own message format with one
 * addition: a text has its length in front, -1 for NULL.  Nothing is converted
 * between encodings; both processes are of the same database.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "port/pg_bswap.h"

#include "read/portion.h"

static void
put_text(StringInfo out, const char *text)
{
	int			len = text != NULL ? (int) strlen(text) : -1;

	pq_sendint32(out, len);
	if (len > 0)
		appendBinaryStringInfo(out, text, len);
}

static char *
get_text(StringInfo in)
{
	int			len = (int32) pq_getmsgint(in, 4);

	return len < 0 ? NULL : pnstrdup(pq_getmsgbytes(in, len), len);
}

static int
get_int(StringInfo in)
{
	return (int32) pq_getmsgint(in, 4);
}

static void
open_message(StringInfo in, char *data, int len)
{
	in->data = data;
	in->len = len;
	in->maxlen = len;
	in->cursor = 0;
}

/* ---------- request ---------- */

void
capi_portion_write_request(StringInfo out, const CapiRequest *request)
{
	const CapiSource *source = &request->source;

	resetStringInfo(out);
	pq_sendint32(out, source->id);
	put_text(out, source->event_name);
	put_text(out, source->action_source);
	put_text(out, source->query);
	put_text(out, source->search_path);
	pq_sendint32(out, source->run_as);
	put_text(out, source->key_type);
	put_text(out, source->time_zone);
	pq_sendint32(out, source->minor_units);
	pq_sendint32(out, request->limit_ms);
	pq_sendint32(out, request->part_limit_ms);
	pq_sendbyte(out, request->local_checks);
	pq_sendbyte(out, request->one_by_one);
	pq_sendbyte(out, request->is_audience);
	pq_sendbyte(out, request->is_trial);
	pq_sendint32(out, request->n);
	for (int i = 0; i < request->n; i++)
	{
		const CapiAsked *asked = &request->asked[i];

		put_text(out, asked->key);
		pq_sendint32(out, asked->at);
		put_text(out, asked->event_id);
		put_text(out, asked->event_name);
		pq_sendbyte(out, asked->has_time);
		pq_sendint64(out, asked->event_time_s);
		pq_sendbyte(out, asked->not_ahead);
	}
}

void
capi_portion_read_request(char *data, int len, CapiRequest *request)
{
	StringInfoData in;
	CapiSource *source = &request->source;

	open_message(&in, data, len);
	memset(request, 0, sizeof(*request));
	source->id = get_int(&in);
	source->event_name = get_text(&in);
	source->action_source = get_text(&in);
	source->query = get_text(&in);
	source->search_path = get_text(&in);
	source->run_as = (Oid) get_int(&in);
	source->key_type = get_text(&in);
	source->time_zone = get_text(&in);
	source->minor_units = get_int(&in);
	request->limit_ms = get_int(&in);
	request->part_limit_ms = get_int(&in);
	request->local_checks = pq_getmsgbyte(&in) != 0;
	request->one_by_one = pq_getmsgbyte(&in) != 0;
	request->is_audience = pq_getmsgbyte(&in) != 0;
	request->is_trial = pq_getmsgbyte(&in) != 0;
	request->n = get_int(&in);
	request->asked = palloc0(sizeof(CapiAsked) * (request->n + 1));
	for (int i = 0; i < request->n; i++)
	{
		CapiAsked  *asked = &request->asked[i];

		asked->key = get_text(&in);
		asked->at = get_int(&in);
		asked->event_id = get_text(&in);
		asked->event_name = get_text(&in);
		asked->has_time = pq_getmsgbyte(&in) != 0;
		asked->event_time_s = pq_getmsgint64(&in);
		asked->not_ahead = pq_getmsgbyte(&in) != 0;
	}
	pq_getmsgend(&in);
}

/* ---------- answer ---------- */

void
capi_portion_write_begin(StringInfo out, int limit_ms)
{
	resetStringInfo(out);
	pq_sendbyte(out, CAPI_MESSAGE_BEGIN);
	pq_sendint32(out, limit_ms);
}

void
capi_portion_write_broken(StringInfo out, const char *text)
{
	resetStringInfo(out);
	pq_sendbyte(out, CAPI_MESSAGE_BROKEN);
	put_text(out, text);
}

void
capi_portion_write_again(StringInfo out, bool one_by_one)
{
	resetStringInfo(out);
	pq_sendbyte(out, CAPI_MESSAGE_AGAIN);
	pq_sendbyte(out, one_by_one);
}

void
capi_portion_write_done(StringInfo out)
{
	resetStringInfo(out);
	pq_sendbyte(out, CAPI_MESSAGE_DONE);
}

/* Kind of message and length of the JSON, in front of it. */
#define RESULT_HEAD		(1 + (int) sizeof(uint32))

void
capi_portion_begin_result(StringInfo out)
{
	pq_sendbyte(out, CAPI_MESSAGE_RESULT);
	pq_sendint32(out, 0);
}

void
capi_portion_end_result(StringInfo out, int start, const CapiOrderResult *result)
{
	uint32		json_len = pg_hton32(out->len - start - RESULT_HEAD);

	memcpy(out->data + start + 1, &json_len, sizeof(json_len));
	pq_sendint32(out, result->at);
	pq_sendbyte(out, result->kind);
	put_text(out, result->reason);
	pq_sendint32(out, result->error_code);
	pq_sendint32(out, result->error_subcode);
	put_text(out, result->event_id);
	put_text(out, result->event_name);
	pq_sendbyte(out, result->has_time);
	pq_sendint64(out, result->event_time_s);
	put_text(out, result->value);
	put_text(out, result->currency);
	put_text(out, result->problems);
	put_text(out, result->dataset);
	pq_sendbyte(out, result->context);
	pq_sendbyte(out, result->is_store);
}

void
capi_portion_write_result(StringInfo out, const CapiOrderResult *result)
{
	resetStringInfo(out);
	capi_portion_begin_result(out);
	capi_portion_end_result(out, 0, result);
}

void
capi_portion_write_page(StringInfo out, const CapiPage *page)
{
	resetStringInfo(out);
	pq_sendbyte(out, CAPI_MESSAGE_PAGE);
	pq_sendint32(out, page->n);
	for (int i = 0; i < page->n; i++)
	{
		appendBinaryStringInfo(out, (char *) page->keys[i], CAPI_PERSON_KEY_BYTES);
		pq_sendint32(out, page->packed_len[i]);
		appendBinaryStringInfo(out, (char *) page->packed[i], page->packed_len[i]);
	}
	pq_sendbyte(out, page->is_last);
	pq_sendint64(out, page->people);
	pq_sendint64(out, page->no_consent);
	pq_sendint64(out, page->unusable);
	put_text(out, page->problems);
}

static void
read_page(StringInfo in, CapiPage *page)
{
	page->n = get_int(in);
	if (page->n < 0 || page->n > CAPI_PAGE_PEOPLE)
		elog(ERROR, "a reader sent what is no page");
	page->keys = palloc(CAPI_PERSON_KEY_BYTES * (page->n + 1));
	page->packed = palloc(sizeof(uint8 *) * (page->n + 1));
	page->packed_len = palloc(sizeof(int) * (page->n + 1));
	for (int i = 0; i < page->n; i++)
	{
		memcpy(page->keys[i], pq_getmsgbytes(in, CAPI_PERSON_KEY_BYTES), CAPI_PERSON_KEY_BYTES);
		page->packed_len[i] = get_int(in);
		page->packed[i] = palloc(Max(page->packed_len[i], 1));
		memcpy(page->packed[i], pq_getmsgbytes(in, page->packed_len[i]), page->packed_len[i]);
	}
	page->is_last = pq_getmsgbyte(in) != 0;
	page->people = pq_getmsgint64(in);
	page->no_consent = pq_getmsgint64(in);
	page->unusable = pq_getmsgint64(in);
	page->problems = get_text(in);
}

static void
read_result(StringInfo in, CapiOrderResult *result)
{
	result->json_len = get_int(in);
	result->json = pq_getmsgbytes(in, result->json_len);
	result->at = get_int(in);
	result->kind = (CapiResultKind) pq_getmsgbyte(in);
	result->reason = get_text(in);
	result->error_code = get_int(in);
	result->error_subcode = get_int(in);
	result->event_id = get_text(in);
	result->event_name = get_text(in);
	result->has_time = pq_getmsgbyte(in) != 0;
	result->event_time_s = pq_getmsgint64(in);
	result->value = get_text(in);
	result->currency = get_text(in);
	result->problems = get_text(in);
	result->dataset = get_text(in);
	result->context = pq_getmsgbyte(in);
	result->is_store = pq_getmsgbyte(in) != 0;
}

void
capi_portion_read(char *data, int len, CapiMessage *message)
{
	StringInfoData in;

	open_message(&in, data, len);
	memset(message, 0, sizeof(*message));
	message->kind = (CapiMessageKind) pq_getmsgbyte(&in);
	switch (message->kind)
	{
		case CAPI_MESSAGE_BEGIN:
			message->limit_ms = get_int(&in);
			break;
		case CAPI_MESSAGE_RESULT:
			read_result(&in, &message->result);
			break;
		case CAPI_MESSAGE_PAGE:
			read_page(&in, &message->page);
			break;
		case CAPI_MESSAGE_BROKEN:
			message->text = get_text(&in);
			break;
		case CAPI_MESSAGE_AGAIN:
			message->one_by_one = pq_getmsgbyte(&in) != 0;
			break;
		case CAPI_MESSAGE_DONE:
			break;
		default:
			elog(ERROR, "a reader sent what is no message");
	}
	pq_getmsgend(&in);
}
