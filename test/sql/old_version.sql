-- The library is newer than the extension in this database: nothing is sent, and
-- capi.deliver() says why, until the extension is updated.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
CREATE EXTENSION capi VERSION '0.1.0';
SELECT capi.create_dataset('main', '1');
CREATE TABLE orders (id text PRIMARY KEY, created_at timestamptz DEFAULT now());
SELECT capi.attach('placed', 'orders', 'main',
    query => 'SELECT id AS key, created_at AS event_time, ''read'' AS ignore_reason FROM orders');
SET client_min_messages = warning;
INSERT INTO orders VALUES ('one');
CALL capi.deliver();
SELECT order_key, status FROM capi.delivery_status;
ALTER EXTENSION capi UPDATE;
CALL capi.deliver();
SELECT order_key, status FROM capi.delivery_status;

DROP TABLE orders;
DROP EXTENSION capi;
