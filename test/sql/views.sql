-- Views: the columns that users rely on, with nothing in them, with captured rows,
-- and after a delivery that needs no network.  No worker runs, no preload is needed.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_shop;
SELECT capi.grant_access('regress_shop', 'admin');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
\pset null '-'
\pset footer off

-- columns, in their order
SELECT c.relname AS view, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), E'\n' ORDER BY a.attnum) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'capi'::regnamespace AND c.relkind = 'v' AND c.relname !~ '^_'
 GROUP BY c.relname ORDER BY c.relname COLLATE "C";
SELECT p.proname AS function, pg_get_function_result(p.oid) AS result
  FROM pg_proc p WHERE p.pronamespace = 'capi'::regnamespace AND p.proretset AND p.proname !~ '^_' ORDER BY 1;

SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
\x on
-- before anything was created
SELECT * FROM capi.delivery_status;
SELECT * FROM capi.request_log;
SELECT * FROM capi.source_status;
SELECT * FROM capi.health;
SELECT "check", ok, detail, hint FROM capi.diagnose() WHERE "check" IN ('enabled', 'identity', 'sources');

-- a dataset without a token, and one that is paused
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SELECT capi.create_dataset(name => 'second', dataset_id => '2');
SELECT capi.pause_dataset('main');
SELECT dataset, state, reason, queued, retrying, oldest_waiting, expires_in, delivered_1h, rejected_1h, last_delivered_at,
       last_error, token_expires_at, usage_percent, endpoint, since <= clock_timestamp() AS since_before_now
  FROM capi.health ORDER BY dataset;
SELECT "check", ok, detail, hint FROM capi.diagnose() WHERE "check" LIKE 'dataset %';
SELECT capi.resume_dataset('main');

-- captured, and not yet looked at
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), total numeric, ignored text);
SELECT capi.attach('placed', 'orders', 'main',
                   query => 'SELECT id AS key, created_at AS event_time, total AS value, ignored AS ignore_reason FROM orders');
SELECT capi.attach('held', 'orders', 'second', hold => '1 hour', event_name => 'Subscribe',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
INSERT INTO orders (id, total, ignored) VALUES (1, 9.50, 'test order'), (2, 7, NULL);
INSERT INTO orders (id) VALUES (1) ON CONFLICT DO NOTHING;
DELETE FROM orders WHERE id = 2;
SELECT source, order_key, dataset, event_name, event_id, event_time, value, currency, status, reason, attempts,
       captured_at BETWEEN now() - interval '10 minutes' AND clock_timestamp() AS captured_now, next_attempt_at, finished_at,
       http_status, error_code, error_subcode, fbtrace_id, request_id
  FROM capi.delivery_status WHERE order_key = '1' ORDER BY source;
SELECT * FROM capi.source_status ORDER BY source;
SELECT dataset, state, queued, retrying, oldest_waiting IS NOT NULL AS has_oldest,
       expires_in BETWEEN interval '6 days 23 hours' AND interval '7 days' AS expires_in_a_week
  FROM capi.health ORDER BY dataset;

-- ... and looked at
CALL capi.deliver();
SELECT source, order_key, dataset, event_name, value, status, reason, attempts, next_attempt_at - captured_at AS waits, finished_at >= captured_at AS finished
  FROM capi.delivery_status ORDER BY source, order_key;
SELECT * FROM capi.source_status ORDER BY source;
SELECT dataset, state, queued, retrying, delivered_1h, rejected_1h, last_delivered_at, last_error FROM capi.health ORDER BY dataset;

-- an order that was ignored and is captured again is looked at again
DELETE FROM orders WHERE id = 1;
INSERT INTO orders (id, ignored) VALUES (1, 'seen twice');
SELECT order_key, status FROM capi.delivery_status WHERE source = 'placed' AND status = 'queued';
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'placed' ORDER BY order_key, status;
SELECT * FROM capi.preview('placed');
SELECT * FROM capi.preview('placed', order_key => '2');
SELECT count(*) FROM capi.preview('placed', max_rows => 0);

-- one that was ignored is shown once, also where a restored copy had it to be read again
RESET SESSION AUTHORIZATION;
UPDATE capi.state SET database_oid = 1;
SET SESSION AUTHORIZATION regress_shop;
DELETE FROM orders WHERE id = 1;
INSERT INTO orders (id, total) VALUES (1, 5);
SELECT capi.confirm_identity();
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'placed' ORDER BY order_key, status;
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'placed' ORDER BY order_key, status;

-- what waits for a source that is detached is ignored
SELECT capi.detach('held');
CALL capi.deliver();
SELECT source, order_key, status, reason FROM capi.delivery_status WHERE source = 'held' ORDER BY order_key;

-- sending stopped by the setting
RESET SESSION AUTHORIZATION;
SET capi.enabled = off;
SELECT state, reason FROM capi.health WHERE dataset = 'main';
SELECT "check", ok, detail, hint FROM capi.diagnose() WHERE "check" = 'enabled';
INSERT INTO shop.orders (id) VALUES (3);
CALL capi.deliver();
SELECT order_key, status FROM capi.delivery_status WHERE source = 'placed' AND order_key = '3';
RESET capi.enabled;

-- a copy of another database
UPDATE capi.state SET system_identifier = 'another';
SELECT state, reason FROM capi.health WHERE dataset = 'main';
SELECT "check", ok, detail, hint FROM capi.diagnose() WHERE "check" = 'identity';
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'placed' AND order_key = '3';
SELECT capi.confirm_identity();
SELECT state, reason FROM capi.health WHERE dataset = 'main';
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'placed' AND order_key = '3';
SELECT capi.confirm_identity();

\x off
SELECT capi.detach('placed');
SELECT capi.drop_dataset('main');
SELECT capi.drop_dataset('second');
RESET search_path;
DROP SCHEMA shop CASCADE;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;

-- the logs are parted at midnight of UTC, whoever's session makes the parts
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Kolkata';
DROP EXTENSION capi CASCADE;
CREATE EXTENSION capi;
SELECT capi.create_dataset(name => 'main', dataset_id => '1');
RESET datestyle;
SET timezone = 'UTC';
SELECT parent, every(bounds[1]::timestamptz::time = '00:00' AND bounds[2]::timestamptz::time = '00:00') AS at_midnight,
       min(bounds[1]::timestamptz) <= now() - interval '1 day' AND max(bounds[2]::timestamptz) > now() + interval '1 day' AS covers_today
  FROM (SELECT i.inhparent::regclass AS parent,
               regexp_match(pg_get_expr(c.relpartbound, c.oid), '\(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent IN ('capi.delivery'::regclass, 'capi.request'::regclass)) AS p
 GROUP BY parent ORDER BY parent::text;
