\set ECHO none
-- What the views make of the logs: rows as the dispatcher writes them, without
-- a dispatcher.  Reads as a role with the duty of a reader.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(51);

CREATE ROLE regress_reader;
SELECT capi.grant_access('regress_reader', 'reader');
CREATE TABLE sold (id int PRIMARY KEY, created_at timestamptz);
SELECT capi.create_dataset(name := 'shop', dataset_id := '1001', access_token := 'not-a-token');
SELECT capi.create_dataset(name := 'other', dataset_id := '1002', access_token := 'not-a-token');
SELECT capi.attach(source := 'orders', table_name := 'sold', dataset := 'shop',
    query := 'SELECT id AS key, created_at AS event_time FROM sold');
SELECT capi.attach(source := 'leads', table_name := 'sold', dataset := 'other', event_name := 'Lead',
    query := 'SELECT id AS key, created_at AS event_time FROM sold');
INSERT INTO sold VALUES (1, now());

SELECT id AS shop FROM capi.dataset WHERE name = 'shop' \gset
SELECT id AS other FROM capi.dataset WHERE name = 'other' \gset
SELECT id AS orders FROM capi.source WHERE name = 'orders' \gset
SELECT id AS leads FROM capi.source WHERE name = 'leads' \gset

INSERT INTO capi.request (request_id, dataset_id, sent_at, duration_ms, events, bytes, http_status,
        error_code, error_subcode, class, message, fbtrace_id, usage_percent) VALUES
    (901, :shop, now() - interval '90 min', 80, 2, 900, 200, NULL, NULL, 'accepted', NULL, 'Aone', NULL),
    (902, :shop, now() - interval '30 min', 90, 2, 900, 200, NULL, NULL, 'accepted', NULL, 'Atwo', 12),
    (903, :shop, now() - interval '20 min', 70, 1, 500, 400, 100, 2804008, 'permanent', 'Invalid parameter', 'Athree', NULL),
    (904, :shop, now() - interval '10 min', 60000, 1, 500, NULL, NULL, NULL, 'transient', NULL, NULL, NULL),
    (905, :shop, now() - interval '5 min', 60, 1, 500, 400, 80004, NULL, 'throttled', 'too many calls', 'Afive', 99),
    (906, :other, now() - interval '4 min', 60, 1, 500, 401, 190, NULL, 'credential', 'expired', 'Asix', NULL),
    (907, :other, now() - interval '3 min', 60, 1, 500, 400, 2635, NULL, 'version', 'old', 'Aseven', NULL);
INSERT INTO capi.delivery (finished_at, captured_at, event_time, request_id, source_id, dataset_id, attempts,
        error_code, error_subcode, outcome, key, event_id, event_name, value, currency, reason) VALUES
    (now() - interval '89 min', now() - interval '91 min', now() - interval '2 h', 901, :orders, :shop, 1, NULL, NULL, 'delivered', 'long ago', NULL, 'Purchase', 10, 'EUR', NULL),
    (now() - interval '29 min', now() - interval '31 min', now() - interval '1 h', 902, :orders, :shop, 2, NULL, NULL, 'delivered', 'delivered', 'e-1', 'Purchase', 20, 'EUR', NULL),
    (now() - interval '29 min', now() - interval '31 min', now() - interval '1 h', 902, :orders, :other, 1, NULL, NULL, 'delivered', 'routed', NULL, 'Purchase', 20, 'EUR', NULL),
    (now() - interval '19 min', now() - interval '21 min', now() - interval '1 h', 903, :orders, :shop, 1, 100, 2804008, 'rejected', 'refused', NULL, 'Purchase', 30, 'EUR', 'refused'),
    (now() - interval '18 min', now() - interval '20 min', now() - interval '1 h', NULL, :orders, :shop, 0, 100, 2804050, 'rejected', 'nobody', NULL, 'Purchase', 30, 'EUR', 'no_customer_data'),
    (now() - interval '17 min', now() - interval '9 d', now() - interval '9 d', NULL, :orders, :shop, 0, 100, 2804003, 'expired', 'old', NULL, NULL, NULL, NULL, 'too_old'),
    (now() - interval '16 min', now() - interval '18 min', NULL, NULL, :orders, :shop, 0, NULL, NULL, 'ignored', 'test', NULL, NULL, NULL, NULL, 'test order'),
    (now() - interval '15 min', now() - interval '17 min', NULL, NULL, :leads, NULL, 0, NULL, NULL, 'rejected', 'lost', NULL, NULL, NULL, NULL, 'unknown_dataset');
INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, attempts, event_id,
        event_name, event_time, value, currency, reason, error_code, request_id) VALUES
    (:orders, 'again', :shop, 'retrying', now() - interval '3 d', now() + interval '1 min', 4, NULL, 'Purchase', now() - interval '3 d', 40, 'EUR', 'throttled', 80004, 905),
    (:orders, 'held', :shop, 'held', now() - interval '5 min', now() + interval '1 h', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (:orders, 'waits', :shop, 'queued', now() - interval '4 min', now(), 0, NULL, NULL, NULL, NULL, NULL, 'dataset paused', NULL, NULL);

-- no dispatcher runs here: somebody delivers now and then
UPDATE capi.state SET delivered_at = now();

SET LOCAL ROLE regress_reader;

-- capi.delivery_status: one row for each, with what was sent and what came back
SELECT results_eq($$SELECT order_key COLLATE "default", status, reason, attempts FROM capi.delivery_status
        WHERE source = 'orders' ORDER BY order_key COLLATE "C"$$, $$VALUES
    ('1', 'queued', NULL, 0), ('again', 'retrying', 'throttled', 4), ('delivered', 'delivered', NULL, 2),
    ('held', 'held', NULL, 0), ('long ago', 'delivered', NULL, 1), ('nobody', 'rejected', 'no_customer_data', 0),
    ('old', 'expired', 'too_old', 0), ('refused', 'rejected', 'refused', 1), ('routed', 'delivered', NULL, 1),
    ('test', 'ignored', 'test order', 0), ('waits', 'queued', 'dataset paused', 0)$$, 'every event and its status');
SELECT is(event_id, 'e-1', 'the event_id that was sent') FROM capi.delivery_status WHERE order_key = 'delivered';
SELECT is(event_id, 'long ago', 'the key where none was given') FROM capi.delivery_status WHERE order_key = 'long ago';
SELECT is(event_name, 'Lead', 'the name of the source where none was sent')
  FROM capi.delivery_status WHERE source = 'leads' AND order_key = '1';
SELECT is(dataset, want, 'dataset of ' || order_key)
  FROM capi.delivery_status JOIN (VALUES ('delivered', 'shop'), ('routed', 'other'), ('again', 'shop')) AS w (k, want) ON k = order_key
 ORDER BY k;
SELECT is(dataset, 'other', 'the source''s dataset where the query named an unknown one')
  FROM capi.delivery_status WHERE order_key = 'lost';
SELECT results_eq($$SELECT http_status, error_code, error_subcode, fbtrace_id, request_id, value, currency
        FROM capi.delivery_status WHERE order_key = 'refused'$$,
    $$VALUES (400, 100, 2804008, 'Athree', 903::bigint, 30::numeric, 'EUR')$$, 'what Meta refused, and how to tell them');
SELECT results_eq($$SELECT http_status, error_code, error_subcode, fbtrace_id, request_id
        FROM capi.delivery_status WHERE order_key = 'nobody'$$,
    $$VALUES (NULL::int, 100, 2804050, NULL::text, NULL::bigint)$$, 'what was not even sent');
SELECT results_eq($$SELECT http_status, error_code, fbtrace_id, next_attempt_at > now(), finished_at
        FROM capi.delivery_status WHERE order_key = 'again'$$,
    $$VALUES (400, 80004, 'Afive', true, NULL::timestamptz)$$, 'what is tried again, and when');
SELECT ok(next_attempt_at IS NULL AND finished_at IS NOT NULL, 'what ended is not tried again')
  FROM capi.delivery_status WHERE order_key = 'delivered';

-- What is known is not shown as queued beside it
RESET ROLE;
INSERT INTO capi.queue_0 SELECT pg_current_xact_id(), now(), :orders, NULL, k
  FROM unnest('{delivered,refused,old,again,held,waits,1}'::text[]) AS k;
SET LOCAL ROLE regress_reader;
SELECT is(count(*), 1::bigint, 'captured again, still one: ' || order_key)
  FROM capi.delivery_status WHERE source = 'orders' AND order_key IN ('delivered', 'refused', 'old', 'again', 'held', 'waits', '1')
 GROUP BY order_key ORDER BY order_key COLLATE "C";

-- An ignored order that is captured again, or waits again, is the later one
RESET ROLE;
SAVEPOINT again;
INSERT INTO capi.queue_0 VALUES (pg_current_xact_id(), now(), :orders, NULL, 'test');
SELECT results_eq($$SELECT status FROM capi.delivery_status WHERE source = 'orders' AND order_key = 'test'$$,
    $$VALUES ('queued')$$, 'ignored and captured again');
INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)
VALUES (:orders, 'test', :shop, 'held', now(), now());
SELECT results_eq($$SELECT status FROM capi.delivery_status WHERE source = 'orders' AND order_key = 'test'$$,
    $$VALUES ('held')$$, 'ignored and waiting again');
ROLLBACK TO again;
INSERT INTO capi.queue_0 SELECT pg_current_xact_id(), captured_at, source_id, NULL, key
  FROM capi.delivery WHERE outcome = 'ignored';
SELECT results_eq($$SELECT status FROM capi.delivery_status WHERE source = 'orders' AND order_key = 'test'$$,
    $$VALUES ('ignored')$$, 'the capture that was ignored is not another one');
SET LOCAL ROLE regress_reader;

-- capi.health
SELECT results_eq($$SELECT queued, retrying, delivered_1h, rejected_1h FROM capi.health WHERE dataset = 'shop'$$,
    $$VALUES (3::bigint, 1::bigint, 1::bigint, 2::bigint)$$, 'what waits, and what became of the last hour''s');
SELECT results_eq($$SELECT queued, retrying, delivered_1h, rejected_1h FROM capi.health WHERE dataset = 'other'$$,
    $$VALUES (1::bigint, 0::bigint, 1::bigint, 0::bigint)$$, 'the same of the other dataset');
SELECT is(oldest_waiting, now() - interval '3 d', 'since when the oldest waits') FROM capi.health WHERE dataset = 'shop';
SELECT is(expires_in, interval '4 d', 'how long it may still wait') FROM capi.health WHERE dataset = 'shop';
RESET ROLE;
SAVEPOINT times;
UPDATE capi.backlog SET event_time = now() - interval '6 d' WHERE key = 'waits';
SELECT is(expires_in, interval '1 d', 'an event that was captured late is as old as it is') FROM capi.health WHERE dataset = 'shop';
UPDATE capi.source SET action_source = 'physical_store' WHERE id = :orders;
SELECT is(expires_in, interval '56 d', 'and sales of a store may wait longer') FROM capi.health WHERE dataset = 'shop';
ROLLBACK TO times;
SET LOCAL ROLE regress_reader;
SELECT is(last_delivered_at, now() - interval '30 min', 'when Meta last took something') FROM capi.health WHERE dataset = 'shop';
SELECT is(last_error, 'too many calls', 'the last error') FROM capi.health WHERE dataset = 'shop';
SELECT is(usage_percent, 99, 'how much of its limit the dataset has used') FROM capi.health WHERE dataset = 'shop';
SELECT is(state, 'ok', 'and its state') FROM capi.health WHERE dataset = 'shop';
RESET ROLE;
UPDATE capi.dataset SET state = 'credential', reason = 'error 190: expired' WHERE name = 'other';
SET LOCAL ROLE regress_reader;
SELECT results_eq($$SELECT state, reason FROM capi.health WHERE dataset = 'other'$$,
    $$VALUES ('credential', 'error 190: expired')$$, 'a refused token');
SELECT results_eq($$SELECT ok, detail, hint FROM capi.diagnose() WHERE "check" = 'dataset other'$$,
    $$VALUES (false, 'State credential: error 190: expired.', 'Set a working token with capi.set_access_token().')$$,
    'and what to do about it');
SELECT results_eq($$SELECT ok FROM capi.diagnose() WHERE "check" = 'dataset shop'$$, $$VALUES (true)$$, 'nothing about the other');
RESET ROLE;
UPDATE capi.dataset SET reason = 'error 100/33: Unsupported post request' WHERE name = 'other';
SET LOCAL ROLE regress_reader;
SELECT matches(hint, 'alter_dataset\(''other'', dataset_id => .*set_access_token', 'or it is another dataset''s number') FROM capi.diagnose() WHERE "check" = 'dataset other';

-- capi.request_log
SELECT results_eq($$SELECT request_id, is_transient FROM capi.request_log ORDER BY request_id$$,
    $$VALUES (901::bigint, false), (902, false), (903, false), (904, true), (905, true), (906, false), (907, false)$$,
    'which answers another try can change');
SELECT results_eq($$SELECT dataset, duration_ms, events, bytes, http_status, error_code, message, fbtrace_id
        FROM capi.request_log WHERE request_id = 904$$,
    $$VALUES ('shop', 60000, 1, 500, NULL::int, NULL::int, NULL::text, NULL::text)$$, 'a request without an answer');

-- capi.source_status
SELECT results_eq($$SELECT source, captured_1h, missed_captures FROM capi.source_status ORDER BY source$$,
    $$VALUES ('leads', 2::bigint, 0::bigint), ('orders', 8, 0)$$, 'captured in the last hour');
SELECT is(count(*), 0::bigint, 'no source of somebody else''s') FROM capi.source_status WHERE source NOT IN ('orders', 'leads');

-- capi.redrive: what ended is looked at again, but nothing that was delivered
RESET ROLE;
SELECT is(capi.redrive('orders', 'rejected', now() - interval '20.5 min'), 1::bigint, 'the rejected ones since then');
SELECT results_eq($$SELECT status, reason, attempts FROM capi.delivery_status WHERE order_key = 'nobody'$$,
    $$VALUES ('queued', 'redriven', 0)$$, 'is queued again');
SELECT is(status, 'rejected', 'an earlier one is not') FROM capi.delivery_status WHERE order_key = 'refused';
SELECT is(capi.redrive(), 2::bigint, 'all that were rejected, of every source');
SELECT is(capi.redrive(source := 'orders', status := 'expired'), 1::bigint, 'an expired one');
SELECT is(capi.redrive(source := 'leads', status := 'ignored'), 0::bigint, 'none of another source');
SELECT is(capi.redrive(status := 'ignored'), 1::bigint, 'an ignored one');
SELECT throws_ok($$SELECT capi.redrive(status := 'delivered')$$, '22023', NULL, 'never what was delivered');
SELECT is(count(*), 3::bigint, 'which is all that is left of the log') FROM capi.delivery;

-- Names stay in the history
SELECT capi.detach('orders');
SELECT capi.detach('leads');
DELETE FROM capi.backlog;
SELECT capi.drop_dataset('other');
SELECT results_eq($$SELECT source, dataset FROM capi.delivery_status WHERE order_key = 'routed'$$,
    $$VALUES ('orders', 'other')$$, 'of a source and a dataset that are gone');
SELECT is(count(*), 0::bigint, 'which no longer show themselves')
  FROM (SELECT FROM capi.health WHERE dataset = 'other' UNION ALL SELECT FROM capi.source_status WHERE source IN ('orders', 'leads')) AS t;

SELECT * FROM finish();
ROLLBACK;
