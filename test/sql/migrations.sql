-- Migrations: the shop changes its tables as if capi were not there.  What can no
-- longer be captured is counted, what can no longer be read waits, both show, and
-- capi.alter_source() mends it.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = warning;
CREATE ROLE regress_shop;
CREATE ROLE regress_heir;
SELECT capi.grant_access('regress_shop', 'admin');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
CREATE SCHEMA sales AUTHORIZATION regress_shop;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
\pset null '-'
\pset footer off
SET client_min_messages = error;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SET client_min_messages = warning;
CREATE TYPE order_state AS ENUM ('open', 'paid');
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), status text, state order_state, email text);
CREATE FUNCTION sources(OUT source text, OUT state text, OUT missed bigint, OUT reason text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT source, state, missed_captures, reason FROM capi.source_status ORDER BY source COLLATE "C" $$;
CREATE FUNCTION events(OUT source text, OUT key text, OUT status text, OUT reason text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT source, order_key, status, reason FROM capi.delivery_status ORDER BY source COLLATE "C", order_key COLLATE "C" $$;
SELECT capi.attach('placed', 'orders', 'main',
                   query => 'SELECT id AS key, created_at AS event_time, email AS em, ''read'' AS ignore_reason FROM orders');
SELECT capi.attach('status', 'orders', 'main', on_column => 'status', on_values => '{paid}',
                   query => 'SELECT id AS key, created_at AS event_time, ''read'' AS ignore_reason FROM orders');
SELECT capi.attach('state', 'orders', 'main', on_column => 'state', on_values => '{paid}',
                   query => 'SELECT id AS key, created_at AS event_time, ''read'' AS ignore_reason FROM orders');

-- a watched column is renamed, dropped, made again with another type, retyped
ALTER TABLE orders RENAME COLUMN status TO condition;
INSERT INTO orders (id, condition) VALUES (1, 'open');
UPDATE orders SET condition = 'paid';
SELECT * FROM sources();
ALTER TABLE orders DROP COLUMN condition;
INSERT INTO orders (id) VALUES (2);
SELECT * FROM sources();
ALTER TABLE orders ADD COLUMN status order_state;
INSERT INTO orders (id, status) VALUES (3, 'paid');
SELECT * FROM sources();
SELECT capi.alter_source('status');
UPDATE orders SET status = 'paid' WHERE id = 1;
ALTER TABLE orders ALTER COLUMN status TYPE varchar(10);
INSERT INTO orders (id, status) VALUES (4, 'paid');
SELECT * FROM sources();
SELECT capi.alter_source('status');
ALTER TABLE orders ALTER COLUMN status TYPE varchar(20);
INSERT INTO orders (id, status) VALUES (5, 'paid');
SELECT * FROM sources();
SELECT * FROM events();

-- an update of the whole table is not noted row by row while nobody can tell
ALTER TABLE orders RENAME COLUMN status TO condition;
UPDATE orders SET email = 'a@example.com';
BEGIN;
UPDATE orders SET email = 'b@example.com';
SAVEPOINT a;
UPDATE orders SET email = 'c@example.com';
ROLLBACK TO a;
UPDATE orders SET email = 'd@example.com';
COMMIT;
SELECT * FROM sources();
ALTER TABLE orders RENAME COLUMN condition TO status;
SELECT * FROM sources();

-- a label of an enum is renamed: new sessions cannot read it
ALTER TYPE order_state RENAME VALUE 'paid' TO 'settled';
\c -
SET client_min_messages = warning;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
INSERT INTO orders (id, state, status) VALUES (6, 'settled', 'paid');
SELECT * FROM sources();
SELECT capi.alter_source('state', on_values => '{settled}');
UPDATE orders SET state = NULL;
UPDATE orders SET state = 'settled' WHERE id = 6;
SELECT * FROM sources();
SELECT key FROM events() WHERE source IN ('state', 'status');

-- the key is renamed, retyped, dropped: what is an event is known, which is not
SELECT capi.detach('state');
ALTER TABLE orders RENAME COLUMN id TO number;
INSERT INTO orders (number, status) VALUES (7, 'open'), (8, 'paid');
UPDATE orders SET status = 'paid' WHERE number = 7;
UPDATE orders SET email = 'e@example.com';
SELECT * FROM sources();
SELECT capi.alter_source('placed', key_columns => '{number}');
SELECT capi.alter_source(source, key_columns => '{number}',
                         query => 'SELECT number AS key, created_at AS event_time, ''read'' AS ignore_reason FROM orders')
  FROM capi.source_status;
INSERT INTO orders (number, status) VALUES (9, 'paid');
ALTER TABLE orders ALTER COLUMN number TYPE bigint;
INSERT INTO orders (number, status) VALUES (10, 'paid');
SELECT * FROM sources();
SELECT capi.alter_source(source) FROM capi.source_status;
INSERT INTO orders (number, status) VALUES (11, 'paid');
SELECT * FROM sources();

-- what was captured before is found after the key became wider
CALL capi.deliver();
SELECT * FROM events() WHERE key IN ('9', '11');
SELECT count(*) FROM events() WHERE status <> 'ignored';

-- what the query reads is renamed: captures go on, events wait
ALTER TABLE orders RENAME COLUMN created_at TO placed_at;
INSERT INTO orders (number, status) VALUES (12, 'open');
CALL capi.deliver();
SELECT source, state, reason FROM sources();
SELECT * FROM events() WHERE status = 'queued';
SELECT capi.alter_source('placed', query => 'SELECT number AS key, placed_at AS event_time, ''read'' AS ignore_reason FROM orders');
SELECT source, state, reason FROM sources();
CALL capi.deliver();
SELECT * FROM events() WHERE key = '12';

-- the table is renamed and moved: it is the same table; a query that named it
-- waits, one that did not mend it is tried again
ALTER TABLE orders RENAME TO purchases;
ALTER TABLE purchases SET SCHEMA sales;
INSERT INTO sales.purchases (number, status) VALUES (13, 'open');
SELECT source, state, reason FROM sources();
CALL capi.deliver();
SELECT source, state, reason FROM sources();
ALTER TABLE sales.purchases SET SCHEMA shop;
ALTER TABLE purchases RENAME TO orders;
SELECT capi.resume('placed');
CALL capi.deliver();
SELECT * FROM events() WHERE key = '13';

-- rewriting and emptying
RESET SESSION AUTHORIZATION;
VACUUM FULL shop.orders;
SET SESSION AUTHORIZATION regress_shop;
CLUSTER orders USING orders_pkey;
TRUNCATE orders;
ALTER TABLE orders SET UNLOGGED;
ALTER TABLE orders SET LOGGED;
INSERT INTO orders (number, status) VALUES (14, 'open');
SELECT * FROM events() WHERE key = '14';

-- the role that attached goes, by the usual recipe: its query does not run
RESET SESSION AUTHORIZATION;
SELECT capi.detach('status');
REASSIGN OWNED BY regress_shop TO regress_heir;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
SET search_path = shop;
INSERT INTO orders (number) VALUES (15);
CALL capi.deliver();
SELECT * FROM events() WHERE key = '15';
SELECT state, reason FROM sources();
SELECT capi.alter_source('placed', hold => '1 hour');
SELECT capi.grant_access('regress_heir', 'admin');
SET SESSION AUTHORIZATION regress_heir;
SELECT capi.alter_source('placed', query => 'SELECT number AS key, placed_at AS event_time, ''read'' AS ignore_reason FROM orders');
CALL capi.deliver();
SELECT * FROM events() WHERE key = '15';

-- the table goes
DROP TABLE orders;
SELECT * FROM sources();
CALL capi.deliver();
SELECT capi.alter_source('placed', hold => '1 hour');
SELECT capi.detach('placed');

RESET SESSION AUTHORIZATION;
SELECT capi.drop_dataset('main');
RESET search_path;
SET client_min_messages = error;
DROP SCHEMA shop, sales CASCADE;
DROP OWNED BY regress_heir;
DROP ROLE regress_heir;
