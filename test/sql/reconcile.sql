-- Orders against records: each in one class, by the source's query, as the caller.
-- No worker runs; outcomes that need a network are written into the log by hand.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_shop;
CREATE ROLE regress_looker;
SELECT capi.grant_access('regress_shop', 'admin');
SELECT capi.grant_access('regress_looker', 'reader');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
\pset null '-'
\pset footer off
SET timezone = 'Europe/Berlin';
SET datestyle = ISO;

-- what a delivery of an order leaves, whatever became of it
CREATE FUNCTION public.record(src text, k text, outcome text, value numeric = NULL, currency text = NULL,
                       at timestamptz = NULL, captured timestamptz = now()) RETURNS void
    LANGUAGE sql AS $$
    DELETE FROM capi.backlog b USING capi.source s WHERE s.name = src AND b.source_id = s.id AND b.key = k;
    INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key, value, currency)
    SELECT now(), captured, at, s.id, s.dataset_id, 1, outcome, k, value, currency FROM capi.source s WHERE s.name = src
$$;

SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz NOT NULL, total numeric(12, 2), currency text, note text);
CREATE INDEX ON orders (created_at);
CREATE FUNCTION costly(int) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'contents were computed'; END $$;
SELECT capi.attach('orders', 'orders', 'main', query =>
    'SELECT id AS key, created_at AS event_time, total AS value, currency, note AS ignore_reason, costly(id) AS contents FROM orders');

-- nothing yet
SELECT * FROM capi.reconcile('orders');

-- not captured at all
ALTER TABLE orders DISABLE TRIGGER capi_capture;
INSERT INTO orders SELECT n, '2026-03-01 12:00+01'::timestamptz + n * interval '1 day', n, CASE n WHEN 3 THEN 'JPY' ELSE 'EUR' END FROM generate_series(1, 6) n;
ALTER TABLE orders ENABLE TRIGGER capi_capture;
SELECT * FROM capi.reconcile('orders', '2026-03-01', '2026-03-10');
SELECT * FROM capi.missing_orders('orders', '2026-03-01', '2026-03-10');
SELECT * FROM capi.drift('orders', '2026-03-01', '2026-03-10');

-- one of each, and the sum
RESET SESSION AUTHORIZATION;
SELECT public.record('orders', '1', 'delivered', 1, 'EUR', '2026-03-02 12:00+01');
SELECT public.record('orders', '2', 'rejected', 2, 'EUR', '2026-03-03 12:00+01');
SELECT public.record('orders', '3', 'expired', 3, 'JPY', '2026-03-04 12:00+01');
SELECT public.record('orders', '4', 'ignored');
INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at)
SELECT id, '5', dataset_id, 'retrying', now(), now() FROM capi.source WHERE name = 'orders';
SET SESSION AUTHORIZATION regress_shop;
SELECT * FROM capi.reconcile('orders', '2026-03-01', '2026-03-10', '1 month');
SELECT bucket, currency, orders, delivered, waiting, ignored, rejected, expired, missing FROM capi.reconcile('orders', '2026-03-01', '2026-03-10');
SELECT * FROM capi.missing_orders('orders', '2026-03-01', '2026-03-10');

-- delivered, and different today: another amount, another currency, no order, not to be sent
INSERT INTO orders SELECT n, '2026-03-20 12:00+01', 10, 'EUR' FROM generate_series(11, 15) n;
RESET SESSION AUTHORIZATION;
SELECT public.record('orders', n::text, 'delivered', 10, 'EUR', '2026-03-20 12:00+01') FROM generate_series(11, 15) n;
SET SESSION AUTHORIZATION regress_shop;
SELECT * FROM capi.drift('orders', '2026-03-20', '2026-03-21');
UPDATE orders SET total = 12 WHERE id = 11;
UPDATE orders SET currency = 'USD' WHERE id = 12;
DELETE FROM orders WHERE id = 13;
UPDATE orders SET note = 'cancelled' WHERE id = 14;
SELECT order_key, sent_value, current_value, what, sent_currency, current_currency FROM capi.drift('orders', '2026-03-20', '2026-03-21');
SELECT * FROM capi.reconcile('orders', '2026-03-20', '2026-03-21');
-- of another day today: counted there, and only there
UPDATE orders SET created_at = '2026-03-25 12:00+01' WHERE id = 15;
SELECT bucket, currency, orders, delivered FROM capi.reconcile('orders', '2026-03-20', '2026-03-21') WHERE currency = 'EUR';
SELECT bucket, currency, orders, delivered FROM capi.reconcile('orders', '2026-03-25', '2026-03-26');
SELECT bucket, currency, orders, delivered FROM capi.reconcile('orders', '2026-03-01', '2026-04-01', '1 month');

-- captured again after it was ignored; captured and since deleted: in the day of its capture
UPDATE orders SET note = NULL WHERE id = 4;
SELECT capi.alter_source('orders', on_column => 'note', on_values => '{paid}');
INSERT INTO orders VALUES (20, '2026-02-01 12:00+01', 5, 'EUR', 'paid'), (21, '2026-02-01 12:00+01', 5, 'EUR', 'paid');
UPDATE orders SET note = 'paid' WHERE id = 4;
DELETE FROM orders WHERE id = 20;
SELECT bucket, currency, orders, waiting, ignored FROM capi.reconcile('orders', '2026-03-05', '2026-03-06');
SELECT currency, orders, waiting FROM capi.reconcile('orders', '2026-02-01', '2026-02-02');
SELECT currency, orders, waiting, order_value FROM capi.reconcile('orders', now() - interval '1 hour', 'infinity');

-- days across the changes of summer time, hours that come twice, months and weeks
SELECT capi.attach('times', 'orders', 'main', on_column => 'note', on_values => '{never}', query =>
    'SELECT n AS key, ''2026-03-28 00:00+01''::timestamptz + n * interval ''1 hour'' AS event_time FROM generate_series(0, 71) n');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-28', '2026-03-31');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-28', '2026-03-31', '1 week');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-01', '2026-05-01', '1 month');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-29', '2026-03-29 04:00', '1 hour');
SET timezone = 'America/New_York';
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-28', '2026-03-31');
SET timezone = 'Europe/Berlin';
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, ''2026-10-25 00:00+02''::timestamptz + n * interval ''30 minutes'' AS event_time FROM generate_series(0, 9) n');
SELECT bucket, orders FROM capi.reconcile('times', '2026-10-25', '2026-10-25 05:00', '1 hour');
SELECT bucket, orders FROM capi.reconcile('times', '2026-10-25', '2026-10-25 05:00', '2 hours');
SELECT bucket, orders FROM capi.reconcile('times', '2026-10-25', '2026-10-25 05:00', '24 hours');

-- zones whose names are abbreviations, too, and offsets that are no quarters of an hour
SET timezone = 'CET';
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, ''2026-07-01 21:30+00''::timestamptz + n * interval ''20 minutes'' AS event_time FROM generate_series(0, 5) n');
SELECT bucket, orders FROM capi.reconcile('times', '2026-07-01', '2026-07-03');
SET timezone = '<odd>-05:17';
SELECT bucket, orders FROM capi.reconcile('times', '2026-07-02', '2026-07-03', '1 hour');
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, ''2026-07-01 18:43+00''::timestamptz + (n - 2) * interval ''1 second'' AS event_time FROM generate_series(0, 3) n');
SELECT bucket, orders FROM capi.reconcile('times', '2026-07-01', '2026-07-03');
SET timezone = 'Europe/Berlin';
-- other lengths; by the clock on the wall, also on the day of 23 hours
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, ''2026-03-28 23:00+01''::timestamptz + n * interval ''30 minutes'' AS event_time FROM generate_series(0, 49) n');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-28', '2026-03-31', '6 hours');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-28', '2026-03-31', '24 hours');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-29 01:00', '2026-03-29 04:00', '15 minutes');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-01', '2026-05-01', '14 days');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-01', '2026-05-01', '2 months');
SELECT bucket, orders FROM capi.reconcile('times', '2026-03-01', '2026-05-01', '10 years');

-- times without a zone, amounts in cents and as text, keys that are spelled in two ways
CREATE TABLE receipts (number numeric(12, 2) PRIMARY KEY);
SELECT capi.attach('receipts', 'receipts', 'main', time_zone => 'Europe/Berlin', minor_units => 'currency', query =>
    'SELECT number::numeric(12, 1) AS key, ''2026-10-25 00:00''::timestamp + number::int * interval ''1 hour'' AS event_time, ''1234'' AS value, CASE number WHEN 0 THEN ''jpy'' ELSE ''eur'' END AS currency FROM receipts');
INSERT INTO receipts SELECT generate_series(0, 4);
SELECT * FROM capi.reconcile('receipts', '2026-10-25', '2026-10-26');
RESET SESSION AUTHORIZATION;
SELECT public.record('receipts', '1', 'delivered', 12.34, 'EUR', '2026-10-25 00:00+02');
SELECT public.record('receipts', '2.00', 'delivered', 12.34, 'EUR', '2026-10-27 00:00+02');
SET SESSION AUTHORIZATION regress_shop;
SELECT currency, orders, delivered, missing, order_value, delivered_value FROM capi.reconcile('receipts', '2026-10-25', '2026-10-26');
SELECT * FROM capi.reconcile('receipts', '2026-10-27', '2026-10-28');
-- orders are named by the keys of capi.delivery_status
RESET SESSION AUTHORIZATION;
UPDATE capi.delivery SET value = 1 WHERE key = '2.00';
SET SESSION AUTHORIZATION regress_shop;
SELECT d.order_key, d.what, s.status FROM capi.drift('receipts', '2026-10-25', '2026-10-28') d
  LEFT JOIN capi.delivery_status s ON s.source = 'receipts' AND s.order_key = d.order_key;
ALTER TABLE receipts ADD COLUMN code char(8);
ALTER TABLE receipts DISABLE TRIGGER capi_capture;
UPDATE receipts SET code = number::int;
SELECT capi.attach('codes', 'receipts', 'main', key_columns => '{code}', query =>
    'SELECT code AS key, ''2026-10-25 00:00+00''::timestamptz AS event_time, number AS value, ''EUR'' AS currency FROM receipts');
SELECT concat('"', order_key, '"') AS order_key FROM capi.missing_orders('codes', '2026-10-25', '2026-10-26') WHERE value > 3;
ALTER TABLE receipts ENABLE TRIGGER capi_capture;
DELETE FROM receipts WHERE number = 4;
INSERT INTO receipts VALUES (4, '4');
SELECT concat('"', order_key, '"') AS order_key FROM capi.delivery_status WHERE source = 'codes';
SELECT capi.detach('codes'), capi.detach('receipts');

-- seconds
SELECT capi.alter_source('times', minor_units => '', query =>
    'SELECT n AS key, 1773000000 + n AS event_time, 5 AS value, ''EUR'' AS currency FROM generate_series(1, 4) n');
SELECT order_key, extract(epoch FROM event_time) AS at, value, currency FROM capi.missing_orders('times', to_timestamp(1773000002), to_timestamp(1773000003.5));
-- milliseconds, which are sent as seconds; numbers that are no time of the server's, infinite times
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, 1773000000999 + 1000 * n AS event_time, 5 AS value, ''EUR'' AS currency FROM generate_series(1, 4) n');
SELECT order_key, extract(epoch FROM event_time) AS at FROM capi.missing_orders('times', to_timestamp(1773000002), to_timestamp(1773000004));
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, CASE n WHEN 1 THEN 1773000000 WHEN 2 THEN ''NaN'' WHEN 3 THEN ''Infinity'' ELSE 1e300 END AS event_time FROM generate_series(1, 4) n');
SELECT orders, missing FROM capi.reconcile('times', '-infinity', 'infinity');
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, 1773000000 + n AS event_time FROM generate_series(1, 4) n');
SELECT orders, missing FROM capi.reconcile('times', '1800-01-01', '2100-01-01', '100 years');
SELECT capi.alter_source('times', query =>
    'SELECT n AS key, CASE n WHEN 1 THEN now() WHEN 2 THEN ''infinity'' ELSE ''-infinity'' END AS event_time FROM generate_series(1, 3) n');
RESET SESSION AUTHORIZATION;
SELECT public.record('times', '2', 'rejected'), public.record('times', '3', 'rejected');
SET SESSION AUTHORIZATION regress_shop;
SELECT orders, rejected, missing FROM capi.reconcile('times', now() - interval '1 hour', 'infinity', '1 year');
SELECT sum(orders) AS orders, sum(rejected) AS rejected FROM capi.reconcile('times', '-infinity', 'infinity');
RESET SESSION AUTHORIZATION;
DELETE FROM capi.delivery d USING capi.source s WHERE s.name = 'times' AND d.source_id = s.id;
SET SESSION AUTHORIZATION regress_shop;

-- one row too many for a key is one order; a key that is null is none
SELECT capi.alter_source('times', query =>
    'SELECT nullif(n / 2, 0) AS key, 1773000000 + n AS event_time, 5 AS value, ''EUR'' AS currency FROM generate_series(1, 4) n');
SELECT currency, orders, missing, order_value FROM capi.reconcile('times', to_timestamp(1773000000), to_timestamp(1773000010));
-- keys that were captured when they had another type
SELECT capi.alter_source('times', query => 'SELECT id AS key, created_at AS event_time FROM orders WHERE id = 1');
RESET SESSION AUTHORIZATION;
SELECT public.record('times', k, 'delivered', 1, 'EUR', '2026-01-05 12:00+01') FROM unnest('{ORD-1,7,99999999999}'::text[]) k;
SET SESSION AUTHORIZATION regress_shop;
SELECT bucket, orders, delivered, missing FROM capi.reconcile('times', '2026-01-05', '2026-01-06');
SELECT order_key, what FROM capi.drift('times', '2026-01-05', '2026-01-06');

-- paused: the same answer; events of capi.send(): their records
SELECT capi.pause('orders');
SELECT bucket, currency, orders, waiting, ignored FROM capi.reconcile('orders', '2026-03-05', '2026-03-06');
SELECT capi.resume('orders');
SELECT capi.send('main', '{"event_name": "Lead", "event_time": 1773000000, "user_data": {"em": "a@example.com"}}', 'lead-1') IS NOT NULL AS sent;
RESET SESSION AUTHORIZATION;
SELECT capi._adopt_event_names();
SET SESSION AUTHORIZATION regress_shop;
SELECT currency, orders, waiting, missing FROM capi.reconcile('send:main:Lead', now() - interval '1 hour', 'infinity');

-- in a view, too, and behind a join, what nobody asks for is not computed
CREATE VIEW seen AS SELECT o.id, o.created_at, o.total, costly(o.id) AS contents, costly(o.id)::text AS email FROM orders o LEFT JOIN orders p USING (id);
SELECT capi.attach('seen', 'orders', 'main', on_column => 'note', on_values => '{never}', query =>
    'SELECT s.id AS key, s.created_at AS event_time, s.total AS value, s.contents, s.email AS em FROM seen s JOIN orders o USING (id)');
SELECT sum(orders) AS orders, sum(missing) AS missing, sum(order_value) AS value FROM capi.reconcile('seen', '2026-03-01', '2026-03-10');
SELECT order_key FROM capi.missing_orders('seen', '2026-03-03', '2026-03-04');
-- what decides which rows there are is
SELECT capi.alter_source('seen', query => 'SELECT DISTINCT id AS key, created_at AS event_time, costly(id) AS contents FROM orders');
SELECT orders FROM capi.reconcile('seen', '2026-03-01', '2026-03-10');
SELECT capi.detach('seen');

-- what is asked wrongly
\set SHOW_CONTEXT never
SELECT * FROM capi.reconcile(NULL);
SELECT * FROM capi.reconcile('ordres');
SELECT * FROM capi.reconcile('orders', NULL);
SELECT * FROM capi.reconcile('orders', '2026-03-02', '2026-03-01');
SELECT * FROM capi.reconcile('orders', bucket => NULL);
SELECT * FROM capi.reconcile('orders', bucket => '30 seconds');
SELECT * FROM capi.reconcile('orders', bucket => '0');
SELECT * FROM capi.reconcile('orders', bucket => '-1 day');
SELECT * FROM capi.reconcile('orders', bucket => '25 hours');
SELECT * FROM capi.reconcile('orders', bucket => '1 month 1 day');
SELECT capi.alter_source('times', query => 'SELECT 1 AS key, ''1999-12-31''::timestamptz AS event_time');
\set SHOW_CONTEXT errors
SELECT * FROM capi.reconcile('times', '-infinity', bucket => '2000000000 days');
\set SHOW_CONTEXT never
-- a query that fails for one order, or altogether
SELECT capi.alter_source('times', query => 'SELECT id AS key, created_at AS event_time, (1 / (id - 2))::text AS currency FROM orders');
SELECT * FROM capi.reconcile('times', '2026-03-01', '2026-03-10');
ALTER TABLE orders RENAME COLUMN total TO amount;
SELECT * FROM capi.reconcile('orders');
SELECT * FROM capi.drift('orders');
-- of all sources: what could be counted, and why the rest could not
SELECT source, orders, reason FROM capi.reconciliation;
ALTER TABLE orders RENAME COLUMN amount TO total;
SELECT source, currency, sum(orders) AS orders, sum(waiting) AS waiting, reason FROM capi.reconciliation GROUP BY source, currency, reason ORDER BY 1, 2;
-- an error of a run is told without its words, which quote an order
SELECT capi.alter_source('times', query => 'SELECT id AS key, now() - interval ''1 hour'' AS event_time, (''somebody '' || id)::int::text AS currency FROM orders');
SELECT source, orders, reason FROM capi.reconciliation WHERE source = 'times';
SELECT capi.detach('times');
SELECT * FROM capi.reconcile('times');
SELECT capi.pause('times');
-- who may not read the shop's tables sees nothing of them
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_looker;
SELECT * FROM capi.reconcile('orders');
SELECT * FROM capi.missing_orders('orders');
RESET SESSION AUTHORIZATION;
GRANT USAGE ON SCHEMA shop TO regress_looker;
GRANT SELECT ON shop.orders TO regress_looker;
SET SESSION AUTHORIZATION regress_looker;
SELECT bucket, currency, orders, delivered FROM capi.reconcile('orders', '2026-03-01', '2026-03-03');
RESET SESSION AUTHORIZATION;

SET client_min_messages = error;
DROP SCHEMA shop CASCADE;
DROP FUNCTION public.record(text, text, text, numeric, text, timestamptz, timestamptz);
DROP EXTENSION capi;
DROP OWNED BY regress_shop, regress_looker;
DROP ROLE regress_shop, regress_looker;
