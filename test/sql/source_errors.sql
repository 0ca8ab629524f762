-- Sources: everything that is refused, and with which words.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
CREATE ROLE regress_shop;
SELECT capi.grant_access('regress_shop', 'admin');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
\pset tuples_only on
SELECT capi.create_dataset(name => 'main', dataset_id => '1');
CREATE TYPE order_state AS ENUM ('open', 'paid');
CREATE TABLE orders (
    id         bigint PRIMARY KEY,
    created_at timestamptz,
    placed_on  timestamp,
    state      order_state,
    amount     int,
    address    json,
    email      text,
    "Total"    numeric
);
CREATE TABLE lines (order_id bigint, line int, created_at timestamptz, PRIMARY KEY (order_id, line));

-- names of sources
SELECT capi.pause('paid');
SELECT capi.attach('paid', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('paid', 'lines', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders', key_columns => '{order_id}');
SELECT capi.resume('payed');
SELECT capi.detach('orders');
SELECT capi.alter_source('Paid', hold => '1 hour');
SELECT capi.attach('', 'orders', 'main');
SELECT capi.attach(NULL, 'orders', 'main');
SELECT capi.attach(E'a\tb', 'orders', 'main');
SELECT capi.attach('send:main:Lead', 'orders', 'main');
SELECT capi.attach('new', 'orders', 'man');
SELECT capi.attach('new', 'orders', NULL);
SELECT capi.alter_source('paid', dataset => 'mein');

-- tables
SELECT capi.attach('new', 'order', 'main');
SELECT capi.attach('new', NULL, 'main');
CREATE VIEW order_view AS SELECT * FROM orders;
CREATE MATERIALIZED VIEW order_store AS SELECT * FROM orders;
CREATE TEMPORARY TABLE order_draft (id int PRIMARY KEY);
CREATE SEQUENCE order_number;
SELECT capi.attach('new', 'order_view', 'main');
SELECT capi.attach('new', 'order_store', 'main');
SELECT capi.attach('new', 'order_draft', 'main');
SELECT capi.attach('new', 'order_number', 'main');
SELECT capi.attach('new', 'pg_class', 'main');
SELECT capi.attach('new', 'capi.delivery', 'main');
RESET SESSION AUTHORIZATION;
CREATE TABLE shop.foreign_orders (id int PRIMARY KEY, created_at timestamptz);
GRANT SELECT ON shop.foreign_orders TO regress_shop;
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.attach('new', 'foreign_orders', 'main');

-- key columns
CREATE TABLE keyless (id int, created_at timestamptz);
SELECT capi.attach('new', 'keyless', 'main', query => 'SELECT id AS key, created_at AS event_time FROM keyless');
SELECT capi.attach('new', 'orders', 'main', key_columns => '{}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', key_columns => '{id,id,id,id,id,id,id,id,id}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', key_columns => '{number}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', key_columns => '{total}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', key_columns => '{xmin}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', key_columns => '{NULL}', query => 'SELECT id AS key, created_at AS event_time FROM orders');

-- the condition
SELECT capi.attach('new', 'orders', 'main', on_column => 'status', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', on_values => '{paid}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', on_column => 'state', on_values => '{}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', on_column => 'state', on_values => '{paid,NULL}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', on_column => 'state', on_values => '{payed}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', on_column => 'amount', on_values => '{lots}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
-- the hint's spelling differs between servers
\set VERBOSITY terse
SELECT capi.attach('new', 'orders', 'main', on_column => 'created_at', on_values => '{31/31/2025}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
\set VERBOSITY default
SELECT capi.attach('new', 'orders', 'main', on_column => 'address', on_values => '{1}', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.alter_source('paid', on_values => '{paid}');

-- the other arguments
SELECT capi.attach('new', 'orders', 'main', action_source => 'web', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', action_source => 'physicalstore', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', event_name => '', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', event_name => repeat('x', 51), query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', hold => '-1 second', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', hold => '6 days 1 second', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', hold => NULL, query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', event_name => NULL, query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.alter_source('paid', action_source => 'shop');
SELECT capi.alter_source('paid', hold => '7 days');

-- the query: its columns
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT 1');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time, email AS emal FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time, email AS em, email AS em FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, placed_on AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, placed_on::date AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', time_zone => 'Mars/Olympus', query => 'SELECT id AS key, placed_on AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', minor_units => '5', query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id::text AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT address AS key, created_at AS event_time FROM orders', key_columns => '{address}');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT ROW(id) AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT ARRAY[id] AS key, created_at AS event_time FROM orders');
SELECT capi.attach('new', 'lines', 'main', query => 'SELECT order_id AS key, created_at AS event_time FROM lines');
\set VERBOSITY terse
SELECT capi.alter_source('paid', query => 'SELECT id AS key, created_at AS event_time, "Total" AS total FROM orders');
\set VERBOSITY default

-- the query: only one SELECT, which writes nothing
SELECT capi.attach('new', 'orders', 'main', query => '');
SELECT capi.attach('new', 'orders', 'main', query => '-- nothing');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders; SELECT 1');
SELECT capi.attach('new', 'orders', 'main', query => 'DELETE FROM orders RETURNING id AS key, created_at AS event_time');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time INTO x FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders FOR UPDATE');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT * FROM (SELECT id AS key, created_at AS event_time FROM orders FOR UPDATE) AS o');
SELECT capi.attach('new', 'orders', 'main', query => 'WITH gone AS (DELETE FROM orders RETURNING *) SELECT id AS key, created_at AS event_time FROM gone');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders WHERE id = $1');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT 1) AS q; DROP TABLE orders; --');
SELECT capi.attach('new', 'orders', 'main', query => 'COPY orders TO STDOUT');

-- the query: errors point into it
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key,
       created_at AS event_time,
  FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key,
       created_at AS event_time,
       emial AS em
  FROM orders');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM order_table');
SELECT capi.attach('new', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM capi.secret');

-- a function that writes is found out when it is run, and writes nothing
CREATE TABLE tracks (id bigint);
CREATE FUNCTION track(bigint) RETURNS bigint LANGUAGE sql AS 'INSERT INTO shop.tracks VALUES ($1) RETURNING id';
SELECT capi.attach('tracked', 'orders', 'main', query => 'SELECT track(id) AS key, created_at AS event_time FROM orders');
INSERT INTO orders (id) VALUES (1);
SELECT * FROM capi.preview('tracked');
SELECT count(*) FROM tracks;

-- without a query: nothing looks like the time of an order
CREATE TABLE timeless (id int PRIMARY KEY);
SELECT capi.attach('new', 'timeless', 'main');
SELECT capi.suggest_query('timeless');
SELECT capi.suggest_query('keyless');

-- preview
SELECT * FROM capi.preview('payed');
SELECT * FROM capi.preview(NULL);
SELECT * FROM capi.preview('paid', max_rows => -1);
SELECT * FROM capi.preview('paid', max_rows => 1001);

-- the trigger function is no use by itself
RESET SESSION AUTHORIZATION;
CREATE TRIGGER wrong BEFORE INSERT ON shop.timeless FOR EACH ROW EXECUTE FUNCTION capi.capture();
INSERT INTO shop.timeless VALUES (1);
CREATE TRIGGER right_but_alone AFTER INSERT OR UPDATE OR DELETE ON shop.keyless FOR EACH ROW EXECUTE FUNCTION capi.capture();
INSERT INTO shop.keyless VALUES (1);
DELETE FROM shop.keyless;

-- what the web tier says, and events without a table
SELECT capi.set_context('1', '[]');
SELECT capi.set_context('1', NULL);
SELECT capi.set_context('1', '{"email": "a@example.com"}');
SELECT capi.set_context('1', '{"fbp": 1}');
SELECT capi.set_context('1', '{"consent": "yes"}');
SELECT capi.set_context('', '{}');
SELECT capi.set_context('1', '{}', 'payed');
SELECT capi.send(NULL, '{}');
SELECT capi.send('main', '[]');
SELECT capi.send('main', '{}');
SELECT capi.send('man', '{"event_name": "Lead"}');
SELECT capi.send('main', '{"event_name": "Lead", "email": "a@example.com"}');
SELECT capi.send('main', '{"event_name": "Lead", "user_data": {"email": "a@example.com"}}');
SELECT capi.send('main', '{"event_name": "Lead", "user_data": []}');
SELECT capi.send('main', '{"event_name": ["Lead"]}');
SELECT capi.send('main', '{"event_name": "Lead", "custom_data": {"contents": 5}}');
SELECT capi.send('main', '{"event_name": "Lead"}', order_key => '');
SELECT capi.send('main', jsonb_build_object('event_name', 'Lead', 'event_id', repeat('x', 1025)));
SELECT capi.send('main', '{"event_name": "Lead", "event_time": "yesterday noonish"}');
SELECT capi.send('main', '{"event_name": "Lead", "event_time": "2026-01-31 12:00:00"}');
SELECT capi.pixel_event(NULL, '1');
SELECT capi.pixel_event('payed', '1');
SELECT * FROM capi.match_quality('payed');

-- the duties
SELECT capi.grant_access('regress_shop', 'administrator');
SELECT capi.grant_access('regress_shop', 'raeder');
SELECT capi.grant_access('regress_shop', NULL);
SELECT capi.grant_access(NULL, 'reader');
SELECT capi.grant_access('-', 'reader');
SELECT capi.grant_access('public', 'reader');

-- normalising and sending again
\set VERBOSITY terse
SELECT capi.normalize('e-mail', 'x');
SELECT capi.normalize(NULL, 'x');
\set VERBOSITY default
SELECT capi.hash('value', 'x');
SELECT capi.hash(NULL, 'x');
SELECT capi.redrive(source => 'paid', status => 'delivered');
SELECT capi.redrive(source => 'payed');
BEGIN;
CALL capi.deliver();
ROLLBACK;

-- a join without its condition: each order once, and why it is none
SELECT capi.attach('crossed', 'orders', 'main', query => 'SELECT o.id AS key, now() AS event_time FROM orders o, generate_series(1, 300)');
SELECT order_key, outcome, reason FROM capi.preview('crossed', max_rows => 5);
INSERT INTO orders (id) VALUES (-1);
SELECT capi.preview('crossed', max_rows => 1000);
DELETE FROM orders WHERE id = -1;
SELECT capi.detach('crossed');

-- what the query needs and its role may not, also where only a function of it needs that
RESET SESSION AUTHORIZATION;
CREATE SCHEMA hidden;
CREATE TABLE hidden.rates (rate numeric);
CREATE TABLE shop.coupons (code text);
CREATE FUNCTION shop.rate() RETURNS numeric LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT max(rate) FROM hidden.rates); END';
CREATE FUNCTION shop.coupon() RETURNS numeric LANGUAGE sql STABLE AS 'SELECT count(*) FROM shop.coupons';
CREATE FUNCTION shop.own() RETURNS numeric LANGUAGE sql STABLE AS 'SELECT 1.0';
REVOKE EXECUTE ON FUNCTION shop.own() FROM PUBLIC;
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, (SELECT max(rate) FROM hidden.rates) AS value FROM orders');
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, (SELECT count(*) FROM coupons) AS value FROM orders');
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, own() AS value FROM orders');
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, rate() AS value FROM orders');
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, coupon() AS value FROM orders');
RESET SESSION AUTHORIZATION;
-- a right that the transaction has granted, of which a reader knows nothing, and one that it has not
BEGIN;
GRANT USAGE ON SCHEMA hidden TO regress_shop;
GRANT SELECT ON hidden.rates TO regress_shop;
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, rate() AS value, ''u'' AS client_user_agent, ''https://a.example/'' AS event_source_url FROM orders');
SELECT capi.alter_source('paid', query => 'SELECT id AS key, now() AS event_time, coupon() AS value FROM orders');
ROLLBACK;
-- a superuser's query runs as the owner of the table
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, rate() AS value FROM orders');
SELECT capi.alter_source('paid', query => 'SELECT id AS key, now() AS event_time, coupon() AS value FROM orders');
-- a column that is called as in the shop
SELECT capi.alter_source('paid', query => 'SELECT id AS key, now() AS event_time, ''a'' AS "Phone_Number" FROM orders');
SELECT capi.normalize('first_name', 'a');
SELECT capi.send('main', '{"event_name": "Lead", "user_data": {"ZipCode": "1"}}');
SELECT capi.send('main', '{"event_name": "Lead", "em": "a@shop.example"}');
-- a value that one order has wrong is no reason
SELECT capi.attach('rights', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, 1 / (id - id) AS value, ''u'' AS client_user_agent, ''https://a.example/'' AS event_source_url FROM orders');
SELECT capi.detach('rights');
-- what the query does when it is tried is undone; the caller's own stays
CREATE FUNCTION shop.grasp() RETURNS numeric LANGUAGE sql AS
    'SELECT count(pg_advisory_lock(n)) + count(pg_advisory_xact_lock(-n)) FROM generate_series(1, 1000000) n';
SELECT capi.attach('grasping', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, grasp() AS value, ''u'' AS client_user_agent, ''https://a.example/'' AS event_source_url FROM orders');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT pg_advisory_lock(42);
SELECT capi.alter_source('grasping', query => 'SELECT id AS key, now() AS event_time, 1 AS value, ''u'' AS client_user_agent, ''https://a.example/'' AS event_source_url FROM orders');
SELECT pg_advisory_unlock(42);
SELECT capi.detach('grasping');
-- what a function says in its own words is nobody's business
CREATE FUNCTION shop.tell() RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_lock(43);
    RAISE insufficient_privilege USING MESSAGE = 'permission denied for customer jane@example.com'; END $$;
SELECT capi.attach('telling', 'orders', 'main', query => 'SELECT id AS key, now() AS event_time, tell() AS value, ''u'' AS client_user_agent, ''https://a.example/'' AS event_source_url FROM orders');
-- nor does it run here
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
DROP SCHEMA hidden CASCADE;

SELECT capi.detach('paid');
SELECT capi.detach('tracked');
SELECT capi.drop_dataset('main');
\pset tuples_only off
RESET search_path;
DROP SCHEMA shop CASCADE;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
