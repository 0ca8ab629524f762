-- What is missing is queued, one order is redriven, one is forgotten.
-- No network is needed: the queries give every order a reason to be ignored.
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
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
SET client_min_messages = notice;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz NOT NULL, status text, total numeric, currency text, way text DEFAULT 'website');
SELECT capi.attach('orders', 'orders', 'main', on_column => 'status', on_values => '{paid,shipped}', query =>
    'SELECT id AS key, created_at AS event_time, total AS value, currency, way AS action_source, CASE status WHEN ''paid'' THEN ''read'' END AS ignore_reason FROM orders');

-- nothing is missing
CALL capi.backfill('orders', now() - interval '7 days');

-- written while the trigger was off: paid, not paid, too old, too old but for a shop of stone
ALTER TABLE orders DISABLE TRIGGER capi_capture;
INSERT INTO orders SELECT n, now() - interval '1 hour', 'paid', n, 'EUR' FROM generate_series(1, 2500) n;
INSERT INTO orders SELECT n, now() - interval '1 hour', 'cart', n, 'EUR' FROM generate_series(3001, 3004) n;
INSERT INTO orders SELECT n, now() - interval '8 days', 'paid', n, 'EUR' FROM generate_series(4001, 4003) n;
INSERT INTO orders SELECT n, now() - interval '60 days', 'paid', n, 'EUR', 'physical_store' FROM generate_series(5001, 5002) n;
INSERT INTO orders SELECT n, now() - interval '63 days', 'paid', n, 'EUR', 'physical_store' FROM generate_series(6001, 6001) n;
ALTER TABLE orders ENABLE TRIGGER capi_capture;
SELECT sum(orders) AS orders, sum(missing) AS missing FROM capi.reconcile('orders', now() - interval '70 days');
CALL capi.backfill('orders', now() - interval '70 days');
SELECT sum(orders) AS orders, sum(waiting) AS waiting, sum(missing) AS missing FROM capi.reconcile('orders', now() - interval '70 days');
-- once more: these wait already
CALL capi.backfill('orders', now() - interval '70 days');
CALL capi.deliver();
SELECT sum(orders) AS orders, sum(ignored) AS ignored, sum(missing) AS missing FROM capi.reconcile('orders', now() - interval '70 days');
SELECT source, state, total, done, queued, too_old, not_by_rule, per_second > 0 AS has_rate, time_left, finished_at >= started_at AS finished FROM capi.backfill_progress ORDER BY started_at;
-- paid by now
UPDATE orders SET status = 'paid' WHERE id = 3001;
ALTER TABLE orders DISABLE TRIGGER capi_capture;
UPDATE orders SET status = 'shipped' WHERE id = 3002;
ALTER TABLE orders ENABLE TRIGGER capi_capture;
CALL capi.backfill('orders', now() - interval '1 day');
SELECT order_key, status FROM capi.delivery_status WHERE order_key LIKE '300%' ORDER BY order_key;

-- keys of several columns, a child table, a rule without values
CREATE TABLE lines (order_id bigint, line int, paid_at timestamptz, PRIMARY KEY (order_id, line));
SELECT capi.attach('lines', 'lines', 'main', on_column => 'paid_at', query =>
    'SELECT ROW(order_id, line) AS key, coalesce(paid_at, now()) AS event_time FROM lines');
SELECT capi.attach('arrays', 'lines', 'main', on_column => 'paid_at', query =>
    'SELECT ARRAY[order_id, line] AS key, coalesce(paid_at, now()) AS event_time FROM lines');
SELECT capi.attach('payments', 'lines', 'main', on_column => 'paid_at', key_columns => '{order_id}', query =>
    'SELECT id AS key, created_at AS event_time FROM orders WHERE id < 10');
ALTER TABLE lines DISABLE TRIGGER capi_capture;
INSERT INTO lines VALUES (1, 1, now()), (2, 1, NULL), (2, 2, now()), (3, 1, NULL);
ALTER TABLE lines ENABLE TRIGGER capi_capture;
CALL capi.backfill('lines', now() - interval '1 day', 'infinity');
CALL capi.backfill('arrays', now() - interval '1 day', 'infinity');
CALL capi.backfill('payments', now() - interval '1 day');
SELECT source, order_key, status FROM capi.delivery_status WHERE source <> 'orders' ORDER BY 1, 2;

-- of one order alone
RESET SESSION AUTHORIZATION;
UPDATE capi.delivery SET outcome = 'rejected', reason = 'no_customer_data' WHERE key IN ('1', '2', '3');
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.redrive(order_key => '1');
SELECT capi.redrive(order_key => '1');
SELECT capi.redrive(source => 'orders', status => 'rejected', order_key => '4');
SELECT capi.redrive(order_key => '5', status => 'ignored');
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'orders' AND order_key IN ('1', '2', '3', '4', '5') ORDER BY order_key;

-- forgotten before anything was known of it
SELECT capi.forget('unheard', 'orders');
SELECT step, detail FROM capi.explain_event('unheard', 'orders');

-- forgotten: one that was delivered, one that waits, one that is queued, and their contexts
RESET SESSION AUTHORIZATION;
UPDATE capi.delivery SET outcome = 'delivered', value = 7, currency = 'EUR', event_id = 'seven', event_name = 'Purchase', event_time = now() - interval '1 hour' WHERE key = '7';
SET SESSION AUTHORIZATION regress_shop;
INSERT INTO orders VALUES (9001, now(), 'paid', 5, 'EUR');
SELECT capi.set_context('9001', '{"client_ip_address": "198.51.100.7"}');
SELECT capi.set_context('1', '{"client_ip_address": "198.51.100.7"}');
SELECT capi.send('main', '{"event_name": "Lead", "user_data": {"em": "a@example.com"}}', '9001') IS NOT NULL AS sent;
SELECT source, order_key, status FROM capi.delivery_status WHERE order_key IN ('7', '9001') OR (source = 'orders' AND order_key = '1') ORDER BY 1, 2;
SELECT sum(delivered) AS delivered FROM capi.reconcile('orders', now() - interval '2 hours', 'infinity');
SELECT capi.forget('7', 'orders');
SELECT capi.forget('1', source => 'orders');
SELECT capi.forget('9001');
SELECT capi.forget('9001');
SELECT capi.forget('no such order');
SELECT source, order_key, event_name, event_id, value, currency, status, reason FROM capi.delivery_status WHERE order_key IN ('7', '9001') OR (source = 'orders' AND order_key = '1') ORDER BY 1, 2;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM capi.context;
SELECT count(*) FROM capi.direct_event;
SET SESSION AUTHORIZATION regress_shop;
-- not sent, not missed, not redriven, and not queued again, by a rule or a backfill
UPDATE orders SET status = 'cart' WHERE id IN (1, 7, 9001);
UPDATE orders SET status = 'paid' WHERE id IN (1, 7, 9001);
SELECT capi.redrive(status => 'ignored', order_key => '7');
CALL capi.backfill('orders', now() - interval '1 day', 'infinity');
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE order_key IN ('7', '9001') OR (source = 'orders' AND order_key = '1') ORDER BY source, 1;
-- what was under way and was recorded after that goes with the next maintenance
RESET SESSION AUTHORIZATION;
INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key, value, currency)
SELECT now(), now(), s.id, s.dataset_id, 1, 'delivered', '7', 7, 'EUR' FROM capi.source s WHERE s.name = 'orders';
SELECT sum(delivered) AS delivered, sum(ignored) AS ignored FROM capi.reconcile('orders', now() - interval '61 minutes', now() - interval '59 minutes');
-- before a partition goes, for which readers are locked out
SELECT capi._add_partition('delivery', now() - interval '300 days', now() - interval '299 days');
CREATE FUNCTION tell_lock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE NOTICE 'readers are locked out: %', EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid()
                                                        AND l.relation = 'capi.delivery'::regclass AND l.mode = 'AccessExclusiveLock');
    RETURN OLD; END $$;
CREATE TRIGGER tell_lock BEFORE DELETE ON capi.delivery FOR EACH ROW EXECUTE FUNCTION tell_lock();
SELECT capi._maintain_logs('90 days');
DROP FUNCTION tell_lock CASCADE;
SELECT count(*) FROM pg_inherits i WHERE i.inhparent = 'capi.delivery'::regclass AND capi._bound(i.inhrelid, 2) < now() - interval '90 days';
-- one that a view of somebody's needs stays, and keeps none from being made
BEGIN;
SELECT capi._add_partition('delivery', now() - interval '300 days', now() - interval '299 days');
DO $$ BEGIN
    EXECUTE (SELECT format('CREATE VIEW needs AS SELECT * FROM %s', i.inhrelid::regclass) FROM pg_inherits i
              WHERE i.inhparent = 'capi.delivery'::regclass AND capi._bound(i.inhrelid, 2) < now() - interval '90 days');
    EXECUTE (SELECT format('DROP TABLE %s', p.oid::regclass) FROM capi._partition_now('request') p);
END $$;
SELECT capi._maintain_logs('90 days');
SELECT capi._partition_now('request') IS NOT NULL AS made;
ROLLBACK;
SELECT status, count(*) FROM capi.delivery_status WHERE source = 'orders' AND order_key = '7' GROUP BY status;
SET SESSION AUTHORIZATION regress_shop;

-- what is asked wrongly
BEGIN;
CALL capi.backfill('orders', now());
ROLLBACK;
CALL capi.backfill('orders', NULL);
CALL capi.backfill('orders', now(), now() - interval '1 day');
CALL capi.backfill('payed', now());
CALL capi.backfill('send:main:Lead', now());
SELECT capi.forget(NULL);
SELECT capi.forget('1', 'payed');
ALTER TABLE orders RENAME COLUMN status TO state;
CALL capi.backfill('orders', now() - interval '1 day');
ALTER TABLE orders RENAME COLUMN state TO status;
DROP TABLE orders;
CALL capi.backfill('orders', now() - interval '1 day');
SELECT capi.detach('orders');
CALL capi.backfill('orders', now() - interval '1 day');
SELECT capi.forget('2', 'orders');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_looker;
CALL capi.backfill('lines', now());
SELECT capi.forget('1');
SELECT count(*) > 0 AS runs FROM capi.backfill_progress;
RESET SESSION AUTHORIZATION;

SET SESSION AUTHORIZATION regress_shop;
-- by keys that are spelled otherwise, but not by another value
SET client_min_messages = warning;
CREATE TABLE parcels (id uuid PRIMARY KEY, number char(6) UNIQUE, price numeric(6, 2) UNIQUE);
SELECT capi.attach('parcels', 'parcels', 'main', query => 'SELECT id AS key, now() AS event_time FROM parcels'),
       capi.attach('numbers', 'parcels', 'main', key_columns => '{number}', query => 'SELECT number AS key, now() AS event_time FROM parcels'),
       capi.attach('prices', 'parcels', 'main', key_columns => '{price}', query => 'SELECT price AS key, now() AS event_time FROM parcels');
INSERT INTO parcels VALUES ('0a000000-0000-4000-8000-000000000001', 'ab', 7);
SELECT source_name, step FROM capi.explain_event('0A000000-0000-4000-8000-000000000001') WHERE step = 'captured'
UNION ALL SELECT source_name, step FROM capi.explain_event('ab') WHERE step = 'captured'
UNION ALL SELECT source_name, step FROM capi.explain_event('7.0', 'prices') WHERE step = 'captured';
-- what another source knows by the text that this one makes of it is another order
BEGIN;
CREATE TABLE labels (id text PRIMARY KEY);
SELECT capi.attach('labels', 'labels', 'main', query => 'SELECT id AS key, now() AS event_time FROM labels');
SELECT capi.set_context('7.00', '{"client_user_agent": "of the label"}', 'labels'), capi.set_context('7.00', '{"client_user_agent": "of the price"}', 'prices');
SELECT capi.forget('7') > 0 AS forgotten;
RESET SESSION AUTHORIZATION;
SELECT fields ->> 'client_user_agent' AS "left" FROM capi.context WHERE key = '7.00';
ROLLBACK;
SELECT capi.forget('ab      x', 'numbers'), capi.forget('7.004', 'prices'), capi.forget('nonsense', 'parcels');
SELECT source, status, reason FROM capi.delivery_status WHERE source IN ('parcels', 'numbers', 'prices') AND status = 'queued' ORDER BY source;
SELECT capi.forget('0A000000-0000-4000-8000-000000000001'), capi.forget('ab', 'numbers'), capi.forget('7', 'prices');
SELECT source, status, reason FROM capi.delivery_status WHERE source IN ('parcels', 'numbers', 'prices') AND status = 'queued' ORDER BY source;
RESET SESSION AUTHORIZATION;
INSERT INTO capi.delivery (finished_at, captured_at, source_id, dataset_id, attempts, outcome, key)
SELECT now(), now(), id, dataset_id, 1, 'rejected', '0a000000-0000-4000-8000-000000000002' FROM capi.source WHERE name = 'parcels';
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.redrive('parcels', order_key => '0A000000-0000-4000-8000-000000000002');
SELECT capi.detach('parcels'), capi.detach('numbers'), capi.detach('prices');
RESET SESSION AUTHORIZATION;

SET client_min_messages = error;
DROP SCHEMA shop CASCADE;
DROP EXTENSION capi;
DROP OWNED BY regress_shop, regress_looker;
DROP ROLE regress_shop, regress_looker;
