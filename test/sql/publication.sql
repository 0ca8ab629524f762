-- A publication of all tables takes capi's along.  What capi deletes and changes
-- must be allowed there: such tables need a replica identity.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi;
\pset null '-'
CREATE PUBLICATION regress_everything FOR ALL TABLES;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
CREATE TABLE orders (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), remark text);
SELECT capi.attach('placed', 'orders', 'main',
                   query => 'SELECT id AS key, created_at AS event_time, remark AS ignore_reason FROM orders');
INSERT INTO orders (id, remark) VALUES (1, 'first'), (2, 'first');
CALL capi.deliver();

-- an ignored order that is captured again replaces its outcome
DELETE FROM orders WHERE id = 1;
INSERT INTO orders (id, remark) VALUES (1, 'second');
CALL capi.deliver();
SELECT order_key, status, reason FROM capi.delivery_status ORDER BY order_key;
SELECT capi.redrive(status => 'ignored');
SELECT capi.set_context('1', '{"consent": true}');
SELECT capi.send('main', '{"event_name": "Lead", "event_id": "1"}');
SELECT capi.pause('placed');
SELECT capi.resume('placed');
CALL capi.deliver(max_time => '0');
SELECT order_key, status, reason FROM capi.delivery_status WHERE source = 'placed' ORDER BY order_key;

-- every table whose rows capi changes or deletes has one: none is named here
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'capi'::regnamespace AND c.relkind = 'r' AND c.relname !~ '^(queue_|request_)'
   AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary);

SELECT capi.detach('placed');
DROP TABLE orders;
DROP PUBLICATION regress_everything;
DROP EXTENSION capi CASCADE;
CREATE EXTENSION capi;
