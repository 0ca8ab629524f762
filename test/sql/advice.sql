-- Advice: what is no error and probably a mistake is told at attach(), and by
-- diagnose() as long as it lasts.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_shop;
CREATE ROLE regress_clerk;
SELECT capi.grant_access('regress_shop', 'admin');
SELECT capi.grant_access('regress_clerk', 'admin');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
\pset tuples_only on
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token');
SELECT capi.create_dataset(name => 'trial', dataset_id => '2', access_token => 'a-token', test_event_code => 'TEST1');
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), placed timestamp DEFAULT now(), status text, amount numeric, note jsonb);
INSERT INTO orders (id, status) SELECT n, (ARRAY['open', 'paid', 'sent'])[n % 3 + 1] FROM generate_series(1, 30) AS n;
CREATE TABLE empty_orders (id int PRIMARY KEY, created_at timestamptz, status text);
CREATE VIEW advice AS SELECT ok, detail, hint FROM capi.diagnose() WHERE "check" = 'advice';
GRANT USAGE ON SCHEMA shop TO regress_clerk;
GRANT TRIGGER ON orders TO regress_clerk;
\set query 'SELECT id AS key, created_at AS event_time, \'https://shop/\' AS event_source_url, \'agent\' AS client_user_agent FROM orders'

-- nothing to say
SET client_min_messages = notice;
SELECT capi.attach('good', 'orders', 'main', on_column => 'status', on_values => '{paid}', query => :'query');
SELECT * FROM advice;

-- the name of the event
SELECT capi.attach('case', 'orders', 'main', event_name => 'purchase', query => :'query');
SELECT * FROM advice;
SELECT capi.alter_source('case', event_name => 'ADD_TO_CART');
SELECT capi.alter_source('case', event_name => 'Refund');
SELECT capi.alter_source('case', event_name => 'Lead');

-- values that no row has
SELECT capi.attach('values', 'orders', 'main', on_column => 'status', on_values => '{PAID}', query => :'query');
SELECT * FROM advice;
SELECT capi.alter_source('values', on_values => '{paid,settled}');
SELECT * FROM advice;
SELECT capi.alter_source('values', on_values => '{completed,settled}');
SELECT capi.detach('values');
SELECT capi.attach('values', 'orders', 'main', on_column => 'amount', on_values => '{12.50}', query => :'query');
SELECT capi.attach('none', 'empty_orders', 'main', on_column => 'status', on_values => '{paid}',
                   query => 'SELECT id AS key, created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM empty_orders');
-- to who may not read the table no value is shown
SET SESSION AUTHORIZATION regress_clerk;
SELECT capi.alter_source('values', on_column => 'status', on_values => '{complete}');
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.detach('values');

-- a query of some of the orders
SELECT capi.attach('limited', 'orders', 'main', query => :'query' || ' ORDER BY id DESC LIMIT 1000');
SELECT * FROM advice;
SELECT capi.alter_source('limited', query => 'SELECT x.* FROM (' || :'query' || ' OFFSET 5) AS x JOIN orders o ON o.id = x.key');
SELECT capi.alter_source('limited', query => 'WITH latest AS (' || :'query' || ' FETCH FIRST 10 ROWS ONLY) SELECT * FROM latest');
SELECT capi.alter_source('limited', query => :'query' || ' LIMIT ALL;');
SELECT capi.alter_source('limited', query => 'SELECT x.* FROM (' || :'query' || ') AS x LEFT JOIN LATERAL (SELECT note FROM orders LIMIT 1) AS n ON true');

SELECT capi.alter_source('limited', query => 'SELECT DISTINCT ON (status) id AS key, created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders ORDER BY status, id DESC');
SELECT * FROM advice;
SELECT capi.alter_source('limited', query => 'SELECT DISTINCT ON (o.id) o.id AS key, o.created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders o JOIN orders p USING (status) ORDER BY o.id');
SELECT capi.alter_source('limited', query => 'SELECT DISTINCT ON (status, 1) id AS key, created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders');
SELECT capi.alter_source('limited', query => 'SELECT DISTINCT id AS key, created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders');
SELECT capi.alter_source('limited', query => :'query' || ' TABLESAMPLE SYSTEM (50)');
SELECT capi.alter_source('limited', query => :'query' || ' WHERE created_at >= current_date');
SELECT * FROM advice;
SELECT capi.alter_source('limited', query => :'query' || ' WHERE created_at > (now() - interval ''7 days'')');
SELECT capi.alter_source('limited', query => :'query' || ' WHERE now() - created_at < interval ''7 days''');
SELECT capi.alter_source('limited', query => :'query' || ' WHERE created_at < now() - interval ''1 hour''');
SELECT capi.alter_source('limited', query => :'query' || ' WHERE created_at < current_date');
SELECT capi.alter_source('limited', query => :'query' || ' WHERE created_at <= now() AND now() >= created_at');
SELECT capi.alter_source('limited', query => 'SELECT id AS key, now() AS event_time, (SELECT 1 WHERE id > 0) AS event_source_url, CASE WHEN created_at > now() THEN 2 END AS client_user_agent FROM orders');
SELECT capi.alter_source('limited', query => 'SELECT id AS key, now() AS event_time, CASE WHEN created_at < now() THEN 1 END AS event_source_url, 2 AS client_user_agent FROM orders WHERE created_at <= placed');

-- amounts in cents
CREATE TABLE cents (id int PRIMARY KEY, created_at timestamptz, total_cents int, "Total Minor" int);
CREATE FUNCTION query_of(value text) RETURNS text LANGUAGE sql AS $$ SELECT 'SELECT id AS key, created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent, ' || value || ' AS value FROM cents' $$;
SELECT capi.attach('cents', 'cents', 'main', query => query_of('total_cents'));
SELECT capi.alter_source('cents', query => query_of('coalesce(cents."total_cents", 0)::numeric'));
SELECT capi.alter_source('cents', query => query_of('cents.id'));
SELECT capi.alter_source('cents', query => query_of('total_cents / 100'));
SELECT capi.alter_source('cents', query => query_of('total_cents / 100.0'));
SELECT capi.alter_source('cents', query => query_of('total_cents / 100::numeric'));
ALTER TABLE cents ADD fee_cents numeric;
SELECT capi.alter_source('cents', query => query_of('fee_cents / 100'));
SELECT capi.alter_source('cents', query => query_of('total_cents / 100.0'));
SELECT capi.alter_source('cents', minor_units => '2');
SELECT capi.alter_source('cents', query => query_of('total_cents'));
SELECT capi.detach('cents');
SELECT capi.attach('cents', 'cents', 'main', minor_units => '2', query => query_of('total_cents'));
SELECT capi.detach('cents');

-- zones by the rules of POSIX, and slips in names of events
SELECT capi.attach('posix', 'orders', 'main', time_zone => 'UTC+2', event_name => 'Purchse', query => 'SELECT id AS key, placed AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders');
SELECT capi.alter_source('posix', time_zone => '+02:00', event_name => 'Donation');
SELECT capi.alter_source('posix', time_zone => 'Europe/Berlin', event_name => 'Purchases');
SELECT capi.alter_source('posix', event_name => 'Reservation');
SELECT capi.detach('posix');
-- values of a type that is written in two ways
CREATE TABLE flags (id int PRIMARY KEY, created_at timestamptz, paid boolean);
INSERT INTO flags SELECT n, now(), true FROM generate_series(1, 300) AS n;
ANALYZE flags;
SELECT capi.attach('flags', 'flags', 'main', on_column => 'paid', on_values => '{no}', query => 'SELECT id AS key, created_at AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM flags');
SELECT capi.detach('flags');

-- a dataset for tests
SELECT capi.alter_source('limited', dataset => 'trial');
SELECT * FROM advice;
SELECT capi.alter_dataset('trial', test_event_code => '');
SELECT * FROM advice;

-- an event of a website without what the browser says
SELECT capi.attach('bare', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT * FROM advice;
SELECT capi.alter_source('bare', query => 'SELECT id AS key, created_at AS event_time, ''u'' AS event_source_url FROM orders');
SELECT capi.alter_source('bare', action_source => 'physical_store');
SELECT capi.alter_source('bare', action_source => 'website', query => 'SELECT id AS key, created_at AS event_time, ''other'' AS action_source FROM orders');
SELECT capi.set_context('1', '{"client_user_agent": "a"}');
SELECT capi.alter_source('bare', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.detach('bare');

-- rule and query that disagree are told by preview()
CREATE TABLE sales (id int PRIMARY KEY, created_at timestamptz, status text, is_test boolean DEFAULT false);
INSERT INTO sales SELECT n, now() - interval '8 days' - n * interval '1 minute', CASE WHEN n > 4 THEN 'paid' ELSE 'open' END FROM generate_series(1, 12) AS n;
SELECT capi.attach('sales', 'sales', 'main', on_column => 'status', on_values => '{paid}', action_source => 'other',
                   query => 'SELECT id AS key, created_at AS event_time, CASE WHEN is_test THEN ''test order'' END AS ignore_reason FROM sales');
CREATE FUNCTION told(VARIADIC keys text[] = '{}') RETURNS TABLE (order_key text, outcome text, reason text, problem text) LANGUAGE sql
    AS $$ SELECT p.order_key, p.outcome, p.reason, (SELECT string_agg(v, ' ') FROM unnest(p.problems) AS v WHERE v LIKE '%"key"%')
            FROM unnest(CASE keys WHEN '{}' THEN '{NULL}' ELSE keys END) AS k, capi.preview('sales', k, 3) p ORDER BY p.order_key::int $$;
SELECT order_key, problem FROM told('3', '5');
SELECT count(*), count(problem) FROM told();
SELECT capi.alter_source('sales', query => 'SELECT id AS key, created_at AS event_time, CASE WHEN is_test THEN ''test order'' END AS ignore_reason FROM sales WHERE id <= 4');
SELECT order_key, outcome, reason, problem FROM told('3', '5');
SELECT order_key, reason, problem FROM told() WHERE outcome = 'ignored';
SELECT capi.alter_source('sales', query => 'SELECT id AS key, created_at AS event_time, CASE WHEN is_test THEN ''test order'' END AS ignore_reason FROM sales');
UPDATE sales SET is_test = true WHERE id IN (5, 6);
SELECT count(*), count(problem) FROM told();
UPDATE sales SET is_test = true WHERE id BETWEEN 5 AND 11;
SELECT count(problem), min(problem) FROM told();
-- what is known was captured, when the rule did fit
UPDATE sales SET status = 'paid', is_test = false WHERE id IN (1, 2);
UPDATE sales SET status = 'sent' WHERE id = 1;
SELECT order_key, problem FROM told('1', '2', '3');
SELECT capi.detach('sales');

-- time zones that do not exist are errors, wherever in the query
SELECT capi.attach('zone', 'orders', 'main', time_zone => 'Europe/Wien', query => 'SELECT id AS key, placed AS event_time FROM orders');
SELECT capi.attach('zone', 'orders', 'main', query => 'SELECT id AS key, placed AT TIME ZONE ''Europe/Wien'' AS event_time FROM orders');
SELECT capi.attach('zone', 'orders', 'main', query => 'WITH o AS (SELECT *, timezone(''CETI''::text, placed) AS at FROM orders) SELECT id AS key, at AS event_time FROM o');
SELECT capi.alter_source('good', query => 'SELECT id AS key, date_trunc(''day'', created_at, ''Vienna'') AS event_time FROM orders');
SELECT capi.alter_source('good', query => 'SELECT id AS key, (SELECT placed AT TIME ZONE ''cet'') AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders WHERE placed AT TIME ZONE ''Europe/Vienna'' > ''-infinity''');

-- and abbreviations have no summer time
SELECT capi.attach('zone', 'orders', 'main', time_zone => 'CET', query => 'SELECT id AS key, placed AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders');
SELECT capi.alter_source('zone', time_zone => 'Asia/Tokyo');
SELECT capi.alter_source('zone', time_zone => 'JST');
SELECT capi.detach('zone');
-- attach() goes by all that it was given
SELECT capi.attach('zone', 'orders', 'main', time_zone => 'UTC+2', query => 'SELECT id AS key, placed AS event_time, 1 AS event_source_url, 2 AS client_user_agent FROM orders');
SELECT capi.detach('zone');
SELECT capi.attach('zone', 'orders', 'main', minor_units => '2', query => 'SELECT id AS key, created_at AS event_time, total_cents AS value, 1 AS event_source_url, 2 AS client_user_agent FROM (SELECT *, amount AS total_cents FROM orders) o');
SELECT capi.detach('zone');

-- a long query keeps nobody waiting who asks
SET statement_timeout = '20s';
SELECT capi.attach('long', 'orders', 'main', query => '/* ' || repeat('cents ', 1000000) || '*/ ' || :'query');
SELECT count(*) FROM advice;
RESET statement_timeout;
SELECT capi.detach('long');

-- of many only some are told at once
SELECT count(capi.attach('many' || n, 'orders', 'main', event_name => 'lead', query => :'query')) FROM generate_series(1, 7) n;
SELECT detail, hint FROM advice;
SELECT count(capi.detach('many' || n)) FROM generate_series(1, 7) n;

RESET SESSION AUTHORIZATION;
SET client_min_messages = error;
DROP EXTENSION capi CASCADE;
DROP OWNED BY regress_shop, regress_clerk CASCADE;
DROP ROLE regress_shop, regress_clerk;
