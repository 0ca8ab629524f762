-- Capture: which rows become events, under which key, however they are written.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
SET client_min_messages = warning;
CREATE ROLE regress_shop;
SELECT capi.grant_access('regress_shop', 'admin');
CREATE SCHEMA shop AUTHORIZATION regress_shop;
-- what was noted since the last look, each row of the queue
CREATE FUNCTION shop.noted(OUT source text, OUT key text, OUT missed int) RETURNS SETOF record
    LANGUAGE sql SECURITY DEFINER AS $$
    WITH q0 AS (DELETE FROM capi.queue_0 RETURNING *), q1 AS (DELETE FROM capi.queue_1 RETURNING *),
         q2 AS (DELETE FROM capi.queue_2 RETURNING *), q3 AS (DELETE FROM capi.queue_3 RETURNING *)
    SELECT s.name, q.key, q.missed
      FROM (SELECT * FROM q0 UNION ALL SELECT * FROM q1 UNION ALL SELECT * FROM q2 UNION ALL SELECT * FROM q3) AS q
      JOIN capi.source s ON s.id = q.source_id
     ORDER BY s.name COLLATE "C", q.key COLLATE "C" $$;
SET SESSION AUTHORIZATION regress_shop;
SET search_path = shop;
\pset null '-'
\pset footer off
SELECT capi.create_dataset(name => 'main', dataset_id => '1');
CREATE TYPE order_state AS ENUM ('open', 'paid', 'settled');
CREATE TABLE orders (
    id int PRIMARY KEY, created_at timestamptz DEFAULT now(), status text, state order_state, step int,
    is_paid boolean, paid_at timestamptz, amount numeric, note text);

-- without a condition: every inserted row, no updated one
SELECT capi.attach('placed', 'orders', 'main', query => 'SELECT id AS key, created_at AS event_time FROM orders');
INSERT INTO orders (id) VALUES (1), (2);
UPDATE orders SET note = 'x', id = id + 10;
DELETE FROM orders;
SELECT * FROM noted();
SELECT capi.detach('placed');

-- with a column and values: inserted with, or updated into, one of them
SELECT capi.attach('status', 'orders', 'main', on_column => 'status', on_values => '{paid,settled}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
INSERT INTO orders (id, status) VALUES (1, 'open'), (2, 'paid'), (3, NULL), (4, 'Paid'), (5, 'settled');
SELECT * FROM noted();
UPDATE orders SET status = 'paid' WHERE id IN (1, 2, 3);    -- 2 had it
SELECT * FROM noted();
UPDATE orders SET status = 'settled' WHERE id = 1;          -- from one to another
SELECT * FROM noted();
UPDATE orders SET status = status, note = repeat('x', 10000);
UPDATE orders SET status = 'cancelled' WHERE id = 1;
UPDATE orders SET status = NULL WHERE id = 2;
SELECT * FROM noted();
UPDATE orders SET status = 'paid' WHERE id IN (1, 2);       -- again
SELECT * FROM noted();

-- long values live outside of the row, and are compared all the same
SELECT capi.alter_source('status', on_values => ARRAY[repeat('paid', 5000)]);
UPDATE orders SET status = repeat('paid', 5000) WHERE id = 1;
UPDATE orders SET status = repeat('paid', 5000), note = 'x' WHERE id = 1;
SELECT * FROM noted();
SELECT capi.detach('status');

-- other types
SELECT capi.attach('state', 'orders', 'main', on_column => 'state', on_values => '{paid}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('step', 'orders', 'main', on_column => 'step', on_values => '{3," 4"}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('is_paid', 'orders', 'main', on_column => 'is_paid', on_values => '{yes}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('paid_at', 'orders', 'main', on_column => 'paid_at', on_values => '{2026-01-01 00:00+00,infinity}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
SELECT capi.attach('amount', 'orders', 'main', on_column => 'amount', on_values => '{1.50}',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
TRUNCATE orders;
INSERT INTO orders (id, state, step, is_paid, paid_at, amount) VALUES
    (1, 'open', 1, false, '2025-12-31', 1), (2, 'paid', 3, true, '2026-01-01 02:00+02', 1.5), (3, 'settled', 4, NULL, NULL, NULL);
SELECT * FROM noted();
UPDATE orders SET state = 'paid', step = 4, is_paid = true, paid_at = 'infinity', amount = 1.500 WHERE id = 1;
UPDATE orders SET paid_at = '2026-01-01 00:00+00', amount = 1.50 WHERE id = 2;     -- equal, spelled differently
UPDATE orders SET step = 3 WHERE id = 3;
SELECT * FROM noted();
SELECT capi.detach(source) FROM capi.source_status;

-- with a column alone: becoming non-null
SELECT capi.attach('paid_at', 'orders', 'main', on_column => 'paid_at',
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
INSERT INTO orders (id, paid_at) VALUES (4, NULL), (5, now());
UPDATE orders SET paid_at = now() WHERE id IN (3, 4);
UPDATE orders SET paid_at = now() + interval '1 s' WHERE id = 5;
UPDATE orders SET paid_at = NULL WHERE id = 5;
SELECT * FROM noted();
UPDATE orders SET paid_at = now() WHERE id = 5;
SELECT * FROM noted();

-- ways to write: COPY, INSERT ... SELECT, WITH, ON CONFLICT, MERGE, a view
COPY orders (id, paid_at) FROM STDIN;
10	2026-01-01
11	\N
\.
INSERT INTO orders (id, paid_at) SELECT n, now() FROM generate_series(12, 14) n;
WITH placed AS (INSERT INTO orders (id) VALUES (15) RETURNING id),
     paid AS (UPDATE orders SET paid_at = now() WHERE id = 11 RETURNING id)
SELECT * FROM placed, paid;
INSERT INTO orders (id, paid_at) VALUES (15, now()), (16, now())
    ON CONFLICT (id) DO UPDATE SET paid_at = excluded.paid_at;
INSERT INTO orders (id, paid_at) VALUES (16, now()) ON CONFLICT DO NOTHING;
MERGE INTO orders o USING (VALUES (16), (17), (18)) AS n (id) ON o.id = n.id
    WHEN MATCHED THEN DELETE
    WHEN NOT MATCHED AND n.id = 17 THEN INSERT (id, paid_at) VALUES (n.id, now())
    WHEN NOT MATCHED THEN INSERT (id) VALUES (n.id);
MERGE INTO orders o USING (VALUES (18)) AS n (id) ON o.id = n.id
    WHEN MATCHED THEN UPDATE SET paid_at = now();
CREATE VIEW open_orders AS SELECT id, paid_at FROM orders WHERE paid_at IS NULL;
INSERT INTO open_orders (id) VALUES (19);
UPDATE open_orders SET paid_at = now() WHERE id = 19;
SELECT * FROM noted();

-- the shop's own triggers: what counts is the row as it was written
CREATE FUNCTION pay_at_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.paid_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER pay_at_once BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pay_at_once();
INSERT INTO orders (id) VALUES (20);
DROP TRIGGER pay_at_once ON orders;
CREATE FUNCTION pay_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET paid_at = now() WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER pay_later AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pay_later();
BEGIN;
INSERT INTO orders (id) VALUES (21);
SELECT * FROM noted();
COMMIT;
SELECT * FROM noted();
DROP TRIGGER pay_later ON orders;

-- what is rolled back was never there: transactions, savepoints, handled errors,
-- constraints that are checked at the end
BEGIN;
INSERT INTO orders (id, paid_at) VALUES (30, now());
ROLLBACK;
BEGIN;
INSERT INTO orders (id, paid_at) VALUES (31, now());
SAVEPOINT a;
INSERT INTO orders (id, paid_at) VALUES (32, now());
ROLLBACK TO a;
INSERT INTO orders (id, paid_at) VALUES (33, now());
RELEASE a;
COMMIT;
DO $$
BEGIN
    INSERT INTO orders (id, paid_at) VALUES (34, now()), (34, now());
EXCEPTION WHEN unique_violation THEN
    INSERT INTO orders (id, paid_at) VALUES (35, now());
END $$;
ALTER TABLE orders ADD COLUMN slot int UNIQUE DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO orders (id, paid_at, slot) VALUES (36, now(), 7), (37, now(), 7);
COMMIT;
SELECT * FROM noted();

-- triggers that are off; replicas
ALTER TABLE orders DISABLE TRIGGER capi_capture;
INSERT INTO orders (id, paid_at) VALUES (40, now());
SELECT source, state, reason FROM capi.source_status;
SELECT split_part(hint, '. ', 1) AS hint FROM capi.diagnose() WHERE "check" = 'sources';
ALTER TABLE orders ENABLE REPLICA TRIGGER capi_capture;
INSERT INTO orders (id, paid_at) VALUES (41, now());
SELECT source, state, reason FROM capi.source_status;
SELECT * FROM noted();
SELECT capi.alter_source('paid_at');
SELECT source, state, reason FROM capi.source_status;
INSERT INTO orders (id, paid_at) VALUES (42, now());
SELECT capi.attach('replica', 'orders', 'main', fire_on_replica => true,
                   query => 'SELECT id AS key, created_at AS event_time FROM orders');
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
INSERT INTO shop.orders (id, paid_at) VALUES (43, now());
SET session_replication_role = local;
INSERT INTO shop.orders (id, paid_at) VALUES (44, now());
RESET session_replication_role;
SET SESSION AUTHORIZATION regress_shop;
SELECT * FROM noted();
SELECT capi.detach('replica');

-- a column computed from others
CREATE TABLE computed (id int PRIMARY KEY, created_at timestamptz, paid int, total int,
                       settled boolean GENERATED ALWAYS AS (paid >= total) STORED);
SELECT capi.attach('computed', 'computed', 'main', on_column => 'settled', on_values => '{true}',
                   query => 'SELECT id AS key, created_at AS event_time FROM computed');
INSERT INTO computed (id, paid, total) VALUES (1, 5, 10), (2, 10, 10);
UPDATE computed SET paid = paid + 5;
SELECT * FROM noted();
SELECT capi.detach('computed');

-- inheritance: rows of the table itself, as for any trigger
CREATE TABLE archived () INHERITS (orders);
INSERT INTO archived (id, paid_at) VALUES (50, now()), (51, NULL);
UPDATE orders SET paid_at = now() WHERE id = 51;
SELECT * FROM noted();
DROP TABLE archived;
SELECT capi.detach('paid_at');

-- partitions whose columns stand in another order; rows that move
CREATE TABLE log (id int, day date, status text, note text) PARTITION BY RANGE (day);
CREATE TABLE log_1 (gone int, note text, status text, day date NOT NULL, id int);
ALTER TABLE log_1 DROP COLUMN gone;
ALTER TABLE log ATTACH PARTITION log_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT capi.attach('log', 'log', 'main', key_columns => '{id}', on_column => 'status', on_values => '{paid}',
                   query => 'SELECT id AS key, day::timestamptz AS event_time FROM log');
CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (status);
CREATE TABLE log_2_rest PARTITION OF log_2 DEFAULT;
CREATE TABLE log_3 (status text, id int, note text, day date);
ALTER TABLE log ATTACH PARTITION log_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
INSERT INTO log (id, day, status) VALUES (1, '2026-01-01', 'paid'), (2, '2026-02-01', 'paid'), (3, '2026-03-01', 'paid'), (4, '2026-01-02', 'open');
SELECT * FROM noted();
INSERT INTO log_3 (id, day, status) VALUES (5, '2026-03-02', 'paid');
UPDATE log SET status = 'paid' WHERE id = 4;
UPDATE log_1 SET note = 'x';
SELECT * FROM noted();
UPDATE log SET day = '2026-02-02' WHERE id = 1;             -- moves: no event
INSERT INTO log (id, day, status) VALUES (7, '2026-01-07', 'open'), (8, '2026-01-08', 'paid'), (9, '2026-01-09', 'open');
SELECT * FROM noted();
UPDATE log SET day = '2026-02-07', status = CASE id WHEN 7 THEN 'paid' ELSE status END WHERE id IN (7, 8, 9);
SELECT * FROM noted();
BEGIN;                                                      -- written and moved in one transaction, back and forth
INSERT INTO log (id, day, status) VALUES (10, '2026-01-10', 'open');
UPDATE log SET day = '2026-03-10' WHERE id = 10;
SAVEPOINT s;
UPDATE log SET day = '2026-01-10', status = 'paid' WHERE id = 10;
ROLLBACK TO s;
UPDATE log SET day = '2026-02-10' WHERE id = 10;
UPDATE log SET day = '2026-01-10' WHERE id IN (7, 10);
COMMIT;
SELECT * FROM noted();
BEGIN;                                                      -- taken out and put in again is new
DELETE FROM log WHERE id = 8;
INSERT INTO log (id, day, status) VALUES (8, '2026-01-08', 'paid');
COMMIT;
SELECT * FROM noted();
-- a move that a trigger turns into a deletion does not hide the next order
CREATE FUNCTION refuse_nine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.id = 9 THEN NULL ELSE NEW END; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON log_1 FOR EACH ROW EXECUTE FUNCTION refuse_nine();
MERGE INTO log l USING (VALUES (9), (11)) AS v (id) ON l.id = v.id
 WHEN MATCHED THEN UPDATE SET day = '2026-01-09'
 WHEN NOT MATCHED THEN INSERT (id, day, status) VALUES (v.id, '2026-01-11', 'paid');
SELECT * FROM noted();
DROP TRIGGER refuse ON log_1;
ALTER TABLE log DETACH PARTITION log_3;
INSERT INTO log_3 (id, day, status) VALUES (6, '2026-03-02', 'paid');
SELECT * FROM noted();
SELECT source, state FROM capi.source_status;
SELECT capi.detach('log');

-- keys of all kinds, and what the query makes of them later: written under the
-- shop's settings, found under others
CREATE DOMAIN order_number AS text CHECK (VALUE <> '');
CREATE TABLE keyed (i bigint, u uuid, t text, c char(6), n numeric, n2 numeric(10, 2), d date, ts timestamptz, f float8,
                    b bytea, e order_state, dom order_number, v interval, s int, PRIMARY KEY (i, ts));
CREATE FUNCTION try_key(source text, key_columns text[], expression text) RETURNS void LANGUAGE sql AS $$
    SELECT capi.attach(source, 'keyed', 'main', key_columns => key_columns,
                       query => format('SELECT %s AS key, now() AS event_time, ''found'' AS ignore_reason FROM keyed', expression)) $$;
SELECT try_key(col, ARRAY[col], col) FROM unnest('{i,u,t,c,n,n2,d,ts,f,b,e,dom,v}'::text[]) AS col;
SELECT try_key('record', '{i,t,c,ts,v}', 'ROW(i, t, c, ts, v)');
SELECT try_key('primary key', NULL, 'ROW(i, ts)');
SELECT try_key('array', '{t,dom}', 'ARRAY[t, dom::text]');
SELECT try_key('wider', '{s}', 's::bigint');
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Kathmandu';
SET intervalstyle = sql_standard;
SET extra_float_digits = -5;
SET bytea_output = escape;
INSERT INTO keyed VALUES
    (1, '0E37DF36-F698-11E6-8DD4-CB9CED3DF976', E'a "q", \\ b', 'ab', 1.50, 1.5, '31/12/2025', '31/12/2025 23:30', 0.1::float8 + 0.2::float8,
     E'\\x00ff', 'paid', 'R-1', '-1 day +02:03:04', 7),
    (9223372036854775807, '00000000-0000-0000-0000-000000000000', '', 'null', 'NaN', 0, 'infinity', '-infinity', 'Infinity',
     '', 'open', 'NULL', '1 year 2 mons', -1);
SELECT order_key, source FROM capi.delivery_status ORDER BY source COLLATE "C", order_key COLLATE "C";
RESET datestyle;
RESET timezone;
RESET intervalstyle;
RESET extra_float_digits;
RESET bytea_output;
CALL capi.deliver();
SELECT status, reason, count(*) FROM capi.delivery_status GROUP BY 1, 2;
SELECT source, order_key, status, reason FROM capi.delivery_status WHERE reason IS DISTINCT FROM 'found';
SELECT source, (SELECT string_agg(outcome || ' ' || reason, ', ') FROM capi.preview(source)) FROM capi.source_status ORDER BY source COLLATE "C";
SELECT capi.detach(source) FROM capi.source_status;

-- the key of a child, which has its own spelling of it; parts that are null;
-- keys longer than any
CREATE TABLE payments (id int PRIMARY KEY, order_number numeric, state text);
SELECT capi.attach('payments', 'payments', 'main', key_columns => '{order_number}', on_column => 'state', on_values => '{captured}',
                   query => 'SELECT n2 AS key, now() AS event_time, ''found'' AS ignore_reason FROM keyed');
INSERT INTO payments VALUES (1, 1.5, 'captured'), (2, 1.500, 'captured'), (3, 7, 'captured'), (4, NULL, 'captured');
SELECT capi.attach('long', 'keyed', 'main', key_columns => '{t}', query => 'SELECT t AS key, now() AS event_time FROM keyed');
INSERT INTO keyed (i, ts, t) VALUES (2, now(), repeat('x', 1024)), (3, now(), repeat('x', 1025));
SELECT source, length(order_key) AS length, status FROM capi.delivery_status WHERE source = 'long';
SELECT source, missed_captures FROM capi.source_status ORDER BY source;
CALL capi.deliver();
SELECT source, order_key, status, reason FROM capi.delivery_status WHERE source = 'payments' ORDER BY order_key;
SELECT source, missed_captures FROM capi.source_status ORDER BY source;
SELECT capi.detach(source) FROM capi.source_status;

RESET SESSION AUTHORIZATION;
SELECT capi.drop_dataset('main');
RESET search_path;
SET client_min_messages = error;
DROP SCHEMA shop CASCADE;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
