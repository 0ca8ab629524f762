\set ECHO none
-- Queries for tables of usual shape: what is recognised, and that it runs.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(17);
SELECT capi.create_dataset(name => 'main', dataset_id => '1001', access_token => 'not-a-token');

-- a flat table
CREATE TABLE flat (id bigint PRIMARY KEY, created_at timestamptz DEFAULT now(), email text, phone text, first_name text,
    "lastName" text, city text, zip text, country_code text, total numeric, currency text, customer_id int,
    ip_address inet, is_test boolean);
INSERT INTO flat VALUES (1, now(), 'a@b.de', '0171 2345678', 'A', 'B', 'Ulm', '89073', 'DE', 5, 'EUR', 7, '203.0.113.9', false),
    (2, now(), 'a@b.de', NULL, NULL, NULL, NULL, NULL, NULL, 5, 'EUR', 7, NULL, true);
SELECT lives_ok($$SELECT capi.attach(source => 'flat', table_name => 'flat', dataset => 'main')$$, 'attach without a query');
SELECT is(ARRAY(SELECT jsonb_object_keys(event -> 'user_data') ORDER BY 1),
    '{client_ip_address,country,ct,em,external_id,fn,ln,ph,zp}', 'the usual columns are recognised')
  FROM capi.preview('flat', '1');
SELECT is(event -> 'custom_data', '{"value": 5, "currency": "EUR"}', 'value and currency too') FROM capi.preview('flat', '1');
SELECT is(reason, 'test order', 'a test flag keeps an order back') FROM capi.preview('flat', '2');

-- tables around it
CREATE TABLE countries (id int PRIMARY KEY, iso text, name text);
CREATE TABLE addresses (id int PRIMARY KEY, firstname text, lastname text, city text, zipcode text, phone text,
    country_id int REFERENCES countries);
CREATE TABLE customers (id int PRIMARY KEY, email text, phone text);
CREATE TABLE "Orders" (id uuid PRIMARY KEY, number text, "completedAt" timestamp, grand_total numeric, currency text,
    customer_id int REFERENCES customers, ship_address_id int REFERENCES addresses, bill_address_id int REFERENCES addresses);
CREATE TABLE order_notes (id int PRIMARY KEY, order_id uuid REFERENCES "Orders", note text);
CREATE TABLE order_items (id int PRIMARY KEY, order_id uuid REFERENCES "Orders", sku text, quantity int, unit_price numeric);
INSERT INTO countries VALUES (1, 'DE', 'Germany');
INSERT INTO addresses VALUES (1, 'Bill', 'Er', 'Ulm', '89073', '', 1), (2, 'Ship', 'Er', 'Bonn', '53111', '0228 123456', 1);
INSERT INTO customers VALUES (1, 'c@d.de', NULL);
INSERT INTO "Orders" VALUES ('11111111-1111-1111-1111-111111111111', 'R1', now() AT TIME ZONE 'UTC', 9.5, 'EUR', 1, 2, 1);
INSERT INTO order_items VALUES (1, '11111111-1111-1111-1111-111111111111', 's', 2, 4.75);
SELECT capi.suggest_query('"Orders"') AS suggested \gset
SELECT lives_ok(format('SELECT capi.attach(source => ''o'', table_name => ''"Orders"'', dataset => ''main'', query => %L)', :'suggested'),
    'what is printed runs as it is');
SELECT is(raw, want, field || ' is found through foreign keys')
  FROM (VALUES ('em', 'c@d.de'), ('fn', 'Bill'), ('ct', 'Ulm'), ('ph', '0228 123456'), ('country', 'DE'), ('external_id', '1')) AS v (field, want)
  JOIN capi.preview_fields('o') p USING (field);
SELECT is(event -> 'custom_data', '{"value": 9.5, "currency": "EUR", "order_id": "R1",
    "contents": [{"id": "s", "quantity": 2, "item_price": 4.75}]}', 'items are found through a foreign key')
  FROM capi.preview('o');
SELECT alike(:'suggested'::text, '%o."completedAt" AT TIME ZONE ''UTC''%', 'a naive time gets a zone to see and edit');
SELECT throws_like($$SELECT capi.attach(source => 'n', table_name => '"Orders"', dataset => 'main')$$,
    '%without time zone%', 'attach does not guess a zone');
SELECT lives_ok($$SELECT capi.attach(source => 'n', table_name => '"Orders"', dataset => 'main', time_zone => 'UTC')$$,
    'but takes one');
CREATE TABLE bare (a int, b text, created_at timestamptz, PRIMARY KEY (a, b));
SELECT alike(capi.suggest_query('bare'), 'SELECT ROW(o.a, o.b) AS key,%-- no column was recognised as em%', 'a key of two columns; what is missing is said');
SELECT throws_like($$SELECT capi.suggest_query('countries')$$, 'no column of table%looks like the time%', 'no time, no query');

SELECT * FROM finish();
ROLLBACK;
