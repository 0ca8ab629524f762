\set ECHO none
-- Queries for tables of usual shape: what is recognised, and that it runs.
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP 1
SET client_min_messages = error;

BEGIN;
SELECT plan(53);
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
  FROM (VALUES ('em', 'c@d.de'), ('fn', 'Bill'), ('ct', 'Ulm'), ('country', 'DE'), ('external_id', '1')) AS v (field, want)
  JOIN capi.preview_fields('o') p USING (field);
SELECT is_empty($$SELECT FROM capi.preview_fields('o') WHERE field = 'ph'$$, 'but not the phone of whom it is shipped to');
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

-- a mirror of a shop's JSON, flattened
CREATE TABLE mirrored (id bigint PRIMARY KEY, processed_at timestamptz DEFAULT now(), email text DEFAULT 'a@b.de', billing_address__zip text DEFAULT '89073',
    billing_address__city text DEFAULT 'Ulm', billing_address__country_code text DEFAULT 'DE', billing_address__first_name text DEFAULT 'Anna',
    billing_address__last_name text DEFAULT 'Berg', billing_address__phone text DEFAULT '0171 2345678', shipping_address__zip text DEFAULT '53111',
    browser_ip text DEFAULT '203.0.113.9', client_details__user_agent text DEFAULT 'Mozilla/5.0', total_price numeric DEFAULT 9.5, currency text DEFAULT 'EUR');
INSERT INTO mirrored VALUES (1);
SELECT lives_ok($$SELECT capi.attach(source => 'mirrored', table_name => 'mirrored', dataset => 'main')$$, 'a flattened mirror');
SELECT is(raw, want, field || ' of a flattened mirror')
  FROM (VALUES ('zp', '89073'), ('ct', 'Ulm'), ('country', 'DE'), ('fn', 'Anna'), ('ln', 'Berg'), ('ph', '0171 2345678'),
        ('client_ip_address', '203.0.113.9'), ('client_user_agent', 'Mozilla/5.0'), ('value', '9.5')) AS v (field, want)
  JOIN capi.preview_fields('mirrored') p USING (field);
-- as WooCommerce names them
CREATE TABLE wc_orders (id bigint PRIMARY KEY, status text, currency text DEFAULT 'EUR', total_amount numeric DEFAULT 9.5, customer_id bigint DEFAULT 0,
    billing_email text DEFAULT 'a@b.de', billing_postcode text DEFAULT '89073', billing_country text DEFAULT 'DE', date_created_gmt timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
    customer_ip_address text DEFAULT '203.0.113.9', customer_user_agent text DEFAULT 'Mozilla/5.0');
INSERT INTO wc_orders VALUES (1);
SELECT alike(capi.suggest_query('wc_orders'), '%o.date_created_gmt AT TIME ZONE ''UTC'' AS event_time%', 'its time is in UTC, as it says');
SELECT lives_ok($$SELECT capi.attach(source => 'woo', table_name => 'wc_orders', dataset => 'main')$$, 'also for attach, which guesses no zone');
SELECT is(raw, want, field || ' of WooCommerce')
  FROM (VALUES ('em', 'a@b.de'), ('zp', '89073'), ('country', 'DE'), ('client_ip_address', '203.0.113.9'), ('client_user_agent', 'Mozilla/5.0')) AS v (field, want)
  JOIN capi.preview_fields('woo') p USING (field);
-- money in cents
CREATE TABLE cents (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), email text DEFAULT 'a@b.de', total_cents int DEFAULT 1250, currency text DEFAULT 'EUR');
CREATE TABLE cents_items (id int PRIMARY KEY, order_id int REFERENCES cents, sku text, quantity int, price_cents int);
INSERT INTO cents VALUES (1);
INSERT INTO cents_items VALUES (1, 1, 's', 2, 625);
SELECT alike(capi.suggest_query('cents'), '%-- amounts divided by 100%minor_units%', 'cents are explained');
SELECT lives_ok($$SELECT capi.attach(source => 'cents', table_name => 'cents', dataset => 'main'),
    capi.attach(source => 'minor', table_name => 'cents', dataset => 'main', minor_units => '2')$$, 'cents, divided here or by the source');
SELECT is((event -> 'custom_data') - 'currency', '{"value": 12.5, "contents": [{"id": "s", "quantity": 2, "item_price": 6.25}]}', source || ': cents are divided once')
  FROM (VALUES ('cents'), ('minor')) AS s (source), capi.preview(source);
-- whose data: neither the recipient's nor those of staff, sellers or stores
CREATE TABLE stores (id int PRIMARY KEY, email text, phone text, city text);
CREATE TABLE gifts (id int PRIMARY KEY, created_at timestamptz DEFAULT now(), total numeric DEFAULT 5, currency text DEFAULT 'EUR', customer_id int REFERENCES customers,
    shipping_city text, ship_to_zip text, "recipientPhone" text, shipping_method text, created_by_id int REFERENCES customers, sales_user_id int REFERENCES customers,
    store_id int REFERENCES stores, delivery_address_id int REFERENCES addresses, address_id int REFERENCES addresses, country_id int REFERENCES countries);
SELECT is(array_agg(m[1] ORDER BY n), '{customer_id,address_id}', 'tables that are said to be the buyer''s')
  FROM regexp_matches(capi.suggest_query('gifts'), 'JOIN .* = o\.(\w+)', 'gn') WITH ORDINALITY AS u (m, n);
SELECT alike(capi.suggest_query('gifts'), '%-- left out, since it may be of somebody else than the buyer: shipping_city, ship_to_zip, "recipientPhone", created_by_id, sales_user_id, store_id, delivery_address_id%',
    'the others are named');
SELECT unalike(capi.suggest_query('gifts'), '%o.shipping%AS%', 'what is shipped to is no column of the query');
INSERT INTO gifts (id, customer_id, shipping_city, store_id, delivery_address_id, created_by_id) VALUES (1, 1, 'Bonn', NULL, 2, NULL);
SELECT lives_ok($$SELECT capi.attach(source => 'gifts', table_name => 'gifts', dataset => 'main')$$, 'attach without a query, the same');
SELECT is(ARRAY(SELECT jsonb_object_keys(event -> 'user_data') ORDER BY 1), '{em,external_id}', 'a present tells of its buyer alone') FROM capi.preview('gifts', '1');
CREATE TABLE walk_ins (id int PRIMARY KEY, created_at timestamptz, total numeric, currency text, shipping_name text, shipping_phone text, seller_id int REFERENCES customers);
SELECT unalike(capi.suggest_query('walk_ins'), '%AS em%', 'the seller''s address is nobody''s');
SELECT alike(capi.suggest_query('walk_ins'), '%no column was recognised as em%: shipping_name, shipping_phone, seller_id%', 'and is named');
SELECT unalike(capi.suggest_query('flat'), '%left out%', 'nothing is named where nothing is');
-- how far an order has come is no state of a country; whole numbers may be cents
CREATE TABLE paid (id int PRIMARY KEY, created timestamptz DEFAULT now(), state text DEFAULT 'complete', receipt_email text DEFAULT 'a@b.de', amount bigint DEFAULT 1250,
    order_currency_code text DEFAULT 'EUR', increment_id text DEFAULT '00017', livemode boolean DEFAULT true, country_id int DEFAULT 1 REFERENCES countries);
CREATE TABLE paid_items (id int PRIMARY KEY, paid_id int REFERENCES paid, sku text, qty_ordered numeric, price_incl_tax numeric);
INSERT INTO paid VALUES (1);
SELECT unalike(capi.suggest_query('paid'), '%AS st%', 'the state of an order');
SELECT alike(capi.suggest_query('paid'), '%-- value is a whole number: if that is cents, give attach() minor_units%', 'whole numbers');
SELECT unalike(capi.suggest_query('cents'), '%whole number%', 'which those in cents are, as their names say');
SELECT lives_ok($$SELECT capi.attach(source => 'paid', table_name => 'paid', dataset => 'main', minor_units => '2')$$, 'minor units');
SELECT is(array_agg(raw::text ORDER BY field), '{DE,EUR,a@b.de,00017,1250}', 'a country by the order''s own reference, and other usual names')
  FROM capi.preview_fields('paid') WHERE field IN ('em', 'value', 'currency', 'order_id', 'country');
SELECT alike(capi.suggest_query('paid'), '%''quantity'', i.qty_ordered, ''item_price'', i.price_incl_tax%WHEN NOT o.livemode THEN ''test order''%', 'items and a test mode');
-- what is not there is named in a comment
SELECT alike(capi.suggest_query('cents'), '%-- not found%: ph, fn, ln, ct, zp, country, external_id, client_ip_address, client_user_agent, fbc, fbp%', 'what was not found is named');

SELECT * FROM finish();
ROLLBACK;
