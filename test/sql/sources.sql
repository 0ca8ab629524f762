-- Sources: attaching, changing, pausing and detaching, and the one trigger that
-- all sources of a table share.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = warning;
CREATE ROLE regress_shop;
SELECT capi.grant_access('regress_shop', 'admin');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
\pset null '-'
SELECT capi.create_dataset(name => 'main', dataset_id => '1');
SELECT capi.create_dataset(name => 'other', dataset_id => '2');
CREATE TABLE orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    status     text NOT NULL DEFAULT 'pending',
    paid_at    timestamptz,
    total      numeric(12, 2),
    currency   char(3) DEFAULT 'EUR',
    email      text
);
CREATE VIEW trigger_of AS
    SELECT t.tgrelid::regclass AS table_name, t.tgname, t.tgenabled,
           pg_get_triggerdef(t.oid) AS definition
      FROM pg_trigger t WHERE t.tgname = 'capi_capture' ORDER BY t.tgrelid::regclass::text;

-- without a query: the usual names are recognised, and the query is shown
SET client_min_messages = notice;
SELECT capi.attach(source => 'placed', table_name => 'orders', dataset => 'main');
SET client_min_messages = warning;
SELECT * FROM trigger_of;
SELECT source, table_name, dataset, state, reason, captured_1h, missed_captures FROM capi.source_status;

-- more sources share the trigger
SELECT capi.attach(source => 'paid', table_name => 'orders', dataset => 'main', on_column => 'status', on_values => '{paid,settled}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders', hold => '2 hours', event_name => 'Subscribe',
                   action_source => 'physical_store');
SELECT capi.attach(source => 'paid_at', table_name => 'orders', dataset => 'other', on_column => 'paid_at',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT count(*) FROM trigger_of;
INSERT INTO orders (email) VALUES ('a@example.com');
UPDATE orders SET status = 'paid';
UPDATE orders SET paid_at = now();
SELECT source, order_key, dataset, event_name, status FROM capi.delivery_status ORDER BY source;

-- a replica's writes are wanted by one: the trigger fires always, for all
SELECT capi.alter_source(source => 'paid', fire_on_replica => true);
SELECT tgenabled FROM trigger_of;
SELECT capi.alter_source(source => 'paid', fire_on_replica => false);
SELECT tgenabled FROM trigger_of;

-- each part of a source can be changed
RESET SESSION AUTHORIZATION;
CREATE VIEW shop.source_row AS
    SELECT name, event_name, action_source, query, search_path, run_as, key_columns, key_types, query_key_type AS key_type,
           on_column, on_type, on_values, hold, fire_on_replica AS replica, paused, detached_at IS NOT NULL AS detached
      FROM capi.source;
\x on
SELECT * FROM shop.source_row WHERE name = 'paid';
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.alter_source(source => 'paid', event_name => 'Purchase', action_source => 'website', hold => '0', dataset => 'other',
                         query => 'SELECT o.id AS key, o.created_at AS event_time FROM shop.orders AS o',
                         on_values => '{settled}');
RESET SESSION AUTHORIZATION;
SELECT * FROM shop.source_row WHERE name = 'paid';
SET SESSION AUTHORIZATION regress_shop;
-- an empty list, or an empty column, takes the condition away
SELECT capi.alter_source(source => 'paid', on_values => '{}');
RESET SESSION AUTHORIZATION;
SELECT on_column, on_type, on_values FROM shop.source_row WHERE name = 'paid';
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.alter_source(source => 'paid', on_column => '');
RESET SESSION AUTHORIZATION;
SELECT on_column, on_type, on_values FROM shop.source_row WHERE name = 'paid';
SET SESSION AUTHORIZATION regress_shop;
\x off

-- values are kept in a form that every session reads alike
SET datestyle = 'SQL, DMY';
SET timezone = 'Europe/Berlin';
SELECT capi.alter_source(source => 'paid', on_column => 'paid_at', on_values => '{24/12/2025 18:00}');
RESET SESSION AUTHORIZATION;
SELECT on_values FROM shop.source_row WHERE name = 'paid';
SET SESSION AUTHORIZATION regress_shop;
RESET datestyle;
RESET timezone;

-- pausing and resuming; a paused source still captures
SELECT capi.pause('paid_at');
INSERT INTO orders (paid_at) VALUES (now());
SELECT source, state, reason FROM capi.source_status ORDER BY source;
SELECT source, order_key, status FROM capi.delivery_status WHERE source = 'paid_at' ORDER BY order_key;
SELECT capi.resume('paid_at');
SELECT source, state, reason FROM capi.source_status WHERE source = 'paid_at';

-- the last source takes the trigger with it
SELECT capi.detach('placed');
SELECT capi.detach('paid');
SELECT count(*) FROM trigger_of;
SELECT source FROM capi.source_status;
SELECT capi.detach('paid_at');
SELECT count(*) FROM trigger_of;

-- a name that was detached is free, keeps its history and may watch another table
CREATE TABLE baskets (id uuid PRIMARY KEY, created_at timestamptz);
SELECT capi.attach(source => 'paid', table_name => 'baskets', dataset => 'main',
                   query => 'SELECT id AS key, created_at AS event_time FROM baskets');
SELECT * FROM trigger_of;

-- a query is suggested for whoever wants to edit it
SELECT capi.suggest_query('orders');
SELECT capi.suggest_query('baskets');

-- the table goes, the source stays until it is detached
DROP TABLE baskets;
SELECT source, state, reason FROM capi.source_status;
SELECT capi.detach('paid');

-- partitioned tables: partitions have a copy of the trigger, also new ones and
-- those that their owner makes
CREATE TABLE log (id bigint, created_at timestamptz, status text, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (id);
SELECT capi.attach(source => 'one_partition', table_name => 'log_2024', dataset => 'main', key_columns => '{id}', fire_on_replica => true,
                   query => 'SELECT id AS key, created_at AS event_time FROM log');
SELECT table_name, tgenabled FROM trigger_of;
SELECT capi.attach(source => 'all', table_name => 'log', dataset => 'main', key_columns => '{id}',
                   query => 'SELECT id AS key, created_at AS event_time FROM log');
CREATE TABLE log_2025_rest PARTITION OF log_2025 DEFAULT;
CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
SELECT table_name, tgenabled FROM trigger_of;
ALTER TABLE log DETACH PARTITION log_2026;
SELECT table_name, tgenabled FROM trigger_of;
SELECT capi.detach('one_partition');
SELECT table_name, tgenabled FROM trigger_of;
SELECT capi.attach(source => 'one_partition', table_name => 'log_2024', dataset => 'main', key_columns => '{id}',
                   query => 'SELECT id AS key, created_at AS event_time FROM log');
SELECT capi.detach('all');
SELECT table_name, tgenabled FROM trigger_of;
SELECT capi.detach('one_partition');
SELECT table_name, tgenabled FROM trigger_of;

-- only owners of attached partitioned tables may use the trigger function
RESET SESSION AUTHORIZATION;
SELECT has_function_privilege('regress_shop', 'capi.capture()', 'EXECUTE');
SET SESSION AUTHORIZATION regress_shop;
SELECT capi.attach(source => 'all', table_name => 'log', dataset => 'main', key_columns => '{id}',
                   query => 'SELECT id AS key, created_at AS event_time FROM log');
SELECT has_function_privilege('regress_shop', 'capi.capture()', 'EXECUTE');
SELECT capi.detach('all');

-- attaching is undone with its transaction
BEGIN;
SELECT capi.attach(source => 'undone', table_name => 'orders', dataset => 'main');
INSERT INTO orders (email) VALUES ('b@example.com');
SELECT count(*) FROM capi.delivery_status WHERE source = 'undone';
ROLLBACK;
SELECT source FROM capi.source_status;
SELECT count(*) FROM trigger_of;

-- capi goes, the tables stay
SELECT capi.attach(source => 'placed', table_name => 'orders', dataset => 'main');
RESET SESSION AUTHORIZATION;
BEGIN;
DROP VIEW shop.source_row;
DROP EXTENSION capi;
SELECT count(*) FROM shop.trigger_of;
INSERT INTO shop.orders (email) VALUES ('c@example.com');
ROLLBACK;

SELECT capi.detach('placed');
SELECT capi.drop_dataset('main');
SELECT capi.drop_dataset('other');
RESET search_path;
DROP SCHEMA shop CASCADE;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
